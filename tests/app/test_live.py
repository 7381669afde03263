"""The browser's arithmetic against Python's, in node; the blob that carries a run to it; the words to be translated.

tests/e2e/test_live_browser.py asks the same of a real browser, with the same cases.
"""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app import charts, feeds, live
from cac_core import runs
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means
from cac_core.scoring.outputs import Outputs, Verdict, joined, only
from cac_core.scoring.scorers import judge_of, scorer_options
from tests.scoring.test_scorers import cross_validated, folded

RUNS = Path(__file__).parents[2] / "checkpoints"
BROWSER_SCORERS = ("gamma", "distance", "msp", "max_logit", "energy")
# what the scripts say of a case: plain numbers, so that they can be compared here
GOLDEN = """
function golden({ blob, cases, spoken = [], beside = [], shares = [], axes = [], looks = [], films = 0 }) {
  const bytes = Uint8Array.from(atob(blob), (letter) => letter.charCodeAt(0));
  const feed = unpacked(bytes);
  const { width } = feed;
  const list = (values) => Array.from(values, (x) => (Number.isFinite(x) ? x : null));
  const results = cases.map(({ thetas, scores, share, ...state }) => {
    const judged = judgedOf(feed, null, { kept: 0.95, eps: 0, sets: [1], ...state });
    const edges = edgesOf(judged.scale, 48);
    const of = (rows) => list(histogram(rows.map((i) => judged.score[i]), judged.scale, edges));
    return {
      score: list(judged.score), label: list(judged.label), rule: judged.rule, scale: judged.scale, edges: list(edges),
      known: of(judged.known), unknown: of(judged.unknown), auroc: list([auroc(judged.curve)])[0],
      thetas: judged.curve.thetas, kept: judged.curve.kept, accepted: judged.curve.accepted,
      tables: [judged.rule, ...thetas].map((theta) => list(judged.at(theta).table)),
      among: list([judged.rule, ...thetas].map((theta) => unknownAmongAccepted(judged.at(theta).counts, share))),
      on: scores.map((theta) => list(judged.at(onScore(theta, Object.values(judged.sorted))).table)),
      borderline: thetas.map((theta) => borderline(theta, judged.score, judged.rows, 7)),
      spread: thetas.map((theta) => {
        const { counts } = judged.at(theta);
        return list(wilson(counts.kept, counts.knowns));
      }),
    };
  });
  const frame = wheelFrame(feed.centres, feed.anchors ?? null, width);
  const order = Array.from({ length: width }, (_, c) => c);
  const { along, up } = wheelAxes(order, frame.reach);
  const packed = packedRows([...feed.labels.keys()].filter((i) => feed.labels[i] < 0));
  return {
    packed, unpacked: unpackedRows(packed),
    results, reach: frame.reach, wheel: list(projected(feed.logits, width, frame.centre, along, up)),
    nearest: list(nearestDistances(feed.logits, width, centresOf(feed, { centres: "means" }, feed.fold))),
    films: feed.snapshots
      ? cases.map((state) => list(Film.prototype.cast.call({ space: { feed, state }, at: films }).score))
      : null,
    halves: feed.halves ? list(feed.halves) : null,
    columns: [2, 60, 61, 1000].map((wide) =>
      [[0, 0], [0, 1], [0, wide], [wide, wide], [wide, 1]].map(([truth, called]) => columnOf(truth, called, wide)),
    ),
    said: spoken.map((x) => number(x)), apart: beside.map((pair) => apart(...pair)),
    axes: axes.map(({ known, unknown, places }) => {
      const scale = quantileScaleOf(ascending(known), ascending(unknown));
      const plain = scaleOf(ascending(known), ascending(unknown));
      return {
        knots: list(scale.knots.x), ends: [scale.low, scale.high], crowded: crowded(known, plain),
        places: list(places.map((x) => placeOn(scale, x))),
        back: list(places.map((x) => scoreAt(scale, placeOn(scale, x)))),
        counts: list(histogram(known, scale, edgesOf(scale, 48))),
      };
    }),
    looked: looks.map(({ moves, place }) => {
      const camera = new Camera();
      for (const [name, ...how] of moves) camera[name](...how);
      const lens = camera.lens(800, 600);
      return { scale: camera.scale, seen: lens.at(place), back: lens.back(...lens.at(place)) };
    }),
    mixed: [...shuffled(1000)],
    shares: shares.flatMap((x) => [0, 1, 2].map((digits) => percent(x, digits))),
    between: shares.map((x) => between([x, 1 - x])),
    note: PICTURES.wheel({
      feed, state: { order }, width: 400, height: 400, extent: feed.logits, palette: {}, say: (phrase) => phrase,
    }).note,
  };
}
"""


def feed_of(
    train: Outputs, validation: Outputs, test: Outputs, known: list[str] | None = None, **more: np.ndarray
) -> bytes:
    split = np.r_[np.zeros(len(validation)), np.ones(len(test))].astype(np.uint8)
    every = feeds.Rows(joined(validation, test), split, ("validation", "test"), train)
    columns = feeds.columns(every, every.outputs) | more
    count = train.logits.shape[1]
    names = [f"class {c}" for c in range(max(10, count))]
    header = {"dataset": "toy", "known": known or names[:count], "names": names, "sets": ["validation", "test"]}
    return live.packed(columns, header | {"tile": 8, "tiles": 32})


def without(out: Outputs, which: np.ndarray) -> Outputs:
    return only(out, ~which)


def toy(toy_outputs, seed: int, unknown: int, spread: float = 2.5) -> Outputs:
    """Toy outputs whose ties are equal rows, of both sides: rounded ones tie by symmetry, up to the last digit only."""
    out = toy_outputs(seed=seed, known=200, unknown=unknown)
    rng = np.random.default_rng(seed)
    logits = np.where(out.labels[:, None] >= 0, out.anchors[out.labels], 1.5) + rng.normal(0, spread, out.logits.shape)
    logits[rng.permutation(len(logits))[:60]] = logits[rng.permutation(len(logits))[:60]]
    return replace(out, logits=logits.astype(np.float32))


def situations(toy_outputs) -> dict[str, tuple[Outputs, Outputs, Outputs]]:
    """Train, validation and test: a real run, ties, no unknowns, one known class in the test, few, near anchors, and
    cross-validated."""
    digits = [Run(RUNS / "digits-osrci-0-cac-small-s0").outputs(split) for split in ("train", "validation", "test")]
    train, validation, test = (toy(toy_outputs, seed, unknown) for seed, unknown in ((0, 0), (1, 0), (2, 90)))
    return {
        "digits": tuple(digits),
        "ties": (train, validation, test),
        "no unknowns": (train, validation, without(test, test.labels < 0)),
        "one class": (train, validation, without(test, test.labels > 0)),
        "few": (train, without(validation, np.arange(len(validation)) >= 8), test),
        "near anchors": tuple(toy(toy_outputs, seed, unknown, 0.02) for seed, unknown in ((3, 0), (4, 0), (5, 80))),
        "folds": (*folded(train), test),
    }


def cases() -> list[dict]:
    found = []
    for scorer in BROWSER_SCORERS:
        options = scorer_options(scorer)
        for centres in ("means", "anchors") if "centres" in options else ("means",):
            for temperature in (1.0, 0.4, 7.0) if "temperature" in options else (1.0,):
                found.append({"scorer": scorer, "centres": centres, "temperature": temperature})
    return found


def asked(situation: tuple[Outputs, Outputs, Outputs], blob: bytes) -> dict:
    """What to ask the scripts: every scorer with its options, at thetas across its scale and on exact scores."""
    return {
        "blob": base64.b64encode(blob).decode(),
        "cases": [
            case | {name: expected(situation, case)[name] for name in ("thetas", "scores")} | {"share": 0.2}
            for case in cases()
        ],
    }


def expected(situation: tuple[Outputs, Outputs, Outputs], case: dict) -> dict:
    train, validation, test = situation
    allowed = scorer_options(case["scorer"])
    judge = judge_of(case["scorer"], train, **{k: v for k, v in case.items() if k in allowed})
    kept, said = judge(validation), judge(test)
    known = test.labels >= 0
    sides = [np.concatenate([kept.score, said.score[known]]), said.score[~known]]
    scale = charts.Scale.of(*[side for side in sides if len(side)])
    thetas = [float(x) for x in scale.steps(23)]
    scores = np.sort(said.score)[:: max(1, len(said.score) // 40)].tolist()
    return {"validation": kept, "test": said, "scale": scale, "thetas": thetas, "scores": scores}


def compare(situation: tuple[Outputs, Outputs, Outputs], answer: dict) -> None:
    """Every number of the scripts' answer against Python's."""
    train, validation, test = situation
    classes, known = train.logits.shape[1], test.labels >= 0
    logits = np.concatenate([validation.logits, test.logits]).astype(np.float32)
    for case, got in zip(cases(), answer["results"], strict=True):
        want = expected(situation, case)
        kept, said, scale = want["validation"], want["test"], want["scale"]
        score = np.concatenate([kept.score, said.score])
        np.testing.assert_allclose(got["score"], score, rtol=1e-6, atol=1e-12, err_msg=str(case))
        assert got["label"] == np.concatenate([kept.label, said.label]).tolist(), case
        rule = metrics.theta_at(0.95, kept.score)
        assert got["rule"] == pytest.approx(rule, rel=1e-6, abs=1e-12)
        assert got["scale"]["log"] == scale.log
        assert [got["scale"]["low"], got["scale"]["high"]] == pytest.approx([scale.low, scale.high], rel=1e-6)
        edges = scale.steps(49)
        np.testing.assert_allclose(got["edges"], edges, rtol=1e-9)
        assert got["known"] == np.histogram(scale.clip(said.score[known]), edges)[0].tolist(), case
        assert got["unknown"] == np.histogram(scale.clip(said.score[~known]), edges)[0].tolist(), case
        curve = metrics.Curve(said.score[known], said.score[~known])
        if known.all():
            assert got["auroc"] is None
        else:
            assert got["auroc"] == pytest.approx(curve.auroc(), rel=1e-12)
        assert (got["kept"], got["accepted"]) == (curve.kept.tolist(), curve.accepted.tolist()), case
        # theta by rule is a score, so each side counts at its own
        for theta, table, among in zip([rule, *want["thetas"]], got["tables"], got["among"], strict=True):
            right = metrics.confusion(theta, said, test.labels, classes)
            assert table == right.ravel().tolist(), (case, theta)
            assert among == pytest.approx(among_accepted(theta, said, test.labels, classes, 0.2)), (case, theta)
        # so is theta by a rule that looks at the test images; it comes from Python, and its image is accepted
        for theta, table in zip(want["scores"], got["on"], strict=True):
            assert table == metrics.confusion(theta, said, test.labels, classes).ravel().tolist(), (case, theta)
        for theta, spread in zip(want["thetas"], got["spread"], strict=True):
            assert spread == pytest.approx(list(metrics.intervals(said, test.labels, theta)["knowns_kept"]), rel=1e-9)
        for theta, sides in zip(want["thetas"], got["borderline"], strict=True):
            first = len(validation)  # rows of the feed begin with the validation images
            for side, rows in (("below", said.score <= theta), ("above", said.score > theta)):
                away = np.abs(said.score - theta)
                order = np.flatnonzero(rows)[np.argsort(away[rows], kind="stable")][:7]
                np.testing.assert_allclose(away[np.array(sides[side], int) - first], away[order], rtol=1e-6, atol=1e-9)
    centre, reach = charts.wheel_frame(class_means(train), train.anchors)
    assert answer["reach"] == pytest.approx(reach)
    places = charts.on_wheel(logits.astype(np.float64), centre, reach).ravel()
    np.testing.assert_allclose(answer["wheel"], places, rtol=1e-6, atol=1e-9)
    nearest = judge_of("distance", train)(joined(validation, test)).score
    np.testing.assert_allclose(answer["nearest"], nearest, rtol=1e-6)
    unseen = np.flatnonzero(np.r_[validation.labels, test.labels] < 0)
    assert answer["packed"] == live.packed_rows(unseen) and answer["unpacked"] == unseen.tolist()


def among_accepted(theta: float, verdict: Verdict, labels: np.ndarray, classes: int, share: float) -> float | None:
    shares = metrics.at(theta, verdict, labels, classes)
    wrong, fine = share * (1 - shares["unknowns_caught"]), (1 - share) * shares["knowns_kept"]
    return None if not wrong + fine > 0 else wrong / (wrong + fine)


def plain_script() -> str:
    """The scripts without the way in, which needs a page."""
    return "\n".join([*((live.HERE / f"{name}.js").read_text("utf-8") for name in live.SCRIPTS[:-1]), GOLDEN])


@pytest.fixture(scope="module")
def in_node(tmp_path_factory):
    """in_node(question): what the scripts answer in node."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on the PATH, so the browser's arithmetic is only checked in a browser")
    script = tmp_path_factory.mktemp("node") / "golden.js"
    ask = 'console.log(JSON.stringify(golden(JSON.parse(require("fs").readFileSync(0, "utf-8")))));'
    script.write_text(f"{plain_script()}\n{ask}", "utf-8")

    def run(question: dict) -> dict:
        done = subprocess.run([node, script], input=json.dumps(question), capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("name", ["digits", "ties", "no unknowns", "one class", "few", "near anchors", "folds"])
def test_the_scripts_compute_what_python_does(name, toy_outputs, in_node):
    situation = situations(toy_outputs)[name]
    compare(situation, in_node(asked(situation, feed_of(*situation))))


def test_a_film_of_a_cross_validated_run_is_judged_as_its_validation_images_are(make_run, in_node):
    run = make_run()
    train, validation = cross_validated(run)
    sample = np.arange(len(validation))[::-3]
    logits = np.stack([some.logits[sample].astype(np.float16) for some in (train, validation)])
    runs.write_npz(run.path / "snapshots.npz", epochs=np.arange(2), logits=logits, labels=validation.labels[sample],
                   index=validation.index[sample])  # fmt: skip
    blob = base64.b64encode(feeds.run_feed(run)).decode()
    asked_of = [case | {"thetas": [], "scores": [], "share": 0.2} for case in cases()]
    said = in_node({"blob": blob, "cases": asked_of, "films": 1})["films"]
    shown = replace(only(validation, sample), logits=logits[1].astype(np.float32))
    for case, film in zip(cases(), said, strict=True):
        options = {name: value for name, value in case.items() if name in scorer_options(case["scorer"])}
        np.testing.assert_allclose(film, judge_of(case["scorer"], train, **options)(shown).score, rtol=1e-6)


def crowded(classes: int) -> tuple[Outputs, Outputs, Outputs]:
    """Two training images of each of many classes, one to validate on and one to test on, and a hundred unknowns."""
    rng, anchors = np.random.default_rng(classes), 10 * np.eye(classes, dtype=np.float32)

    def drawn(each: int, unknown: int) -> Outputs:
        labels = np.r_[np.tile(np.arange(classes), each), np.full(unknown, -1)].astype(np.int16)
        logits = np.where(labels[:, None] >= 0, anchors[labels], 0.4) + rng.normal(0, 0.5, (len(labels), classes))
        n = len(labels)
        return Outputs(
            logits.astype(np.float32), np.zeros((n, 0), np.float32), labels, labels, np.arange(n), np.zeros(n, bool),
            anchors,
        )  # fmt: skip

    return drawn(2, 0), drawn(1, 0), drawn(1, 100)


@pytest.mark.parametrize("classes", [200, pytest.param(1000, marks=pytest.mark.long)])
def test_the_scripts_count_many_classes_as_python_does(classes, in_node):
    """Every count, the theta by rule and the shares at it, by the score that costs least to compute."""
    situation = train, validation, test = crowded(classes)
    blob = base64.b64encode(feed_of(*situation)).decode()
    said, share = judge_of("max_logit", train)(test), 0.2
    theta, scores = float(np.quantile(said.score, 0.6)), np.sort(said.score)[:: len(said.score) // 3].tolist()
    case = {"scorer": "max_logit", "centres": "means", "temperature": 1.0, "thetas": [theta], "scores": scores}
    (got,) = in_node({"blob": blob, "cases": [case | {"share": share}]})["results"]
    rule = metrics.theta_at(0.95, judge_of("max_logit", train)(validation).score)
    assert got["rule"] == pytest.approx(rule, rel=1e-6)
    for at, table, among in zip((rule, theta), got["tables"], got["among"], strict=True):
        assert table == metrics.confusion(at, said, test.labels, classes).ravel().tolist()
        assert among == pytest.approx(among_accepted(at, said, test.labels, classes, share))
    for at, table in zip(scores, got["on"], strict=True):
        assert table == metrics.confusion(at, said, test.labels, classes).ravel().tolist()


def test_numbers_and_shares_read_as_python_says_them(toy_outputs, in_node):
    """Ties, what rounds up to the next power of ten, what is next to nothing and next to everything."""
    rng = np.random.default_rng(0)
    spoken = [0, 1, 0.5, 123.456, 1e-5, 1.4e-6, 5.4e-6, 1e-9, 12345678, -0.00123, 999.6, 9.996, 0.99996, 0.1925, 0.9995]
    spoken += [-0.0004, 1e-30, 1 - 1e-16, 2.125, -2.125, 0.996, 0.004, 1e300, 999999.5, 9999999.5, 1000, 0.001, 1.005]
    spoken += [n / 1000 for n in range(0, 1001, 7)] + [n / 1024 for n in range(0, 1025, 5)] + rng.random(200).tolist()
    spoken += (rng.normal(size=300) * 10.0 ** rng.integers(-9, 9, 300)).tolist()
    out = toy_outputs()
    blob = base64.b64encode(feed_of(out, out, out)).decode()
    shares = [x for x in spoken if abs(x) < 1e9]
    beside = [[x, x + gap] for x in (-0.977, 0.5, 3.0, 12345.678, 2e-7) for gap in (0, 1e-9, 1e-6, 1e-3, 1)]
    answer = in_node({"blob": blob, "cases": [], "spoken": spoken, "shares": shares, "beside": beside})
    assert answer["said"] == [charts.number(x) for x in spoken]
    assert answer["apart"] == [charts.apart(*pair) for pair in beside]
    assert answer["shares"] == [charts.percent(x, digits) for x in shares for digits in (0, 1, 2)]
    assert answer["between"] == [charts.between((x, 1 - x)) for x in shares]


def test_an_axis_by_quantiles_gives_the_tail_of_the_knowns_room(toy_outputs, in_node):
    rng = np.random.default_rng(0)
    crowd = np.r_[rng.normal(-5, 0.01, 5000), rng.uniform(-4, 10, 1000)]
    cases = {
        "a crowd": (crowd, rng.uniform(0, 20, 900)),  # on a linear axis; a logarithmic one spreads it
        "ties at the least": (np.r_[np.zeros(600), rng.uniform(0, 1, 400)], rng.uniform(0, 1, 50)),
        "no unknowns": (rng.normal(size=300), np.zeros(0)),
        "all the same": (np.full(20, 3.0), np.zeros(0)),
        "one": (np.array([0.5]), np.array([0.1, 0.9])),
    }
    situation = situations(toy_outputs)["few"]
    axes = [
        {"known": k.tolist(), "unknown": u.tolist(), "places": np.quantile(k, [0.2, 0.5, 0.9, 0.95, 0.99, 1]).tolist()}
        for k, u in cases.values()
    ]
    said = in_node(asked(situation, feed_of(*situation)) | {"axes": axes})["axes"]
    for (known, unknown), one, asked_of in zip(cases.values(), said, axes, strict=True):
        knots, places = np.array(one["knots"]), np.array(one["places"])
        assert (np.diff(knots) > 0).all() and one["ends"][0] == min([*known, *unknown])
        assert (np.diff(places) >= 0).all() and places.min() >= 0 and places.max() <= 1
        assert sum(one["counts"]) == len(known)
        near = max(abs(x) for x in asked_of["places"]) * 0.02
        assert one["back"] == pytest.approx(asked_of["places"], rel=0.02, abs=near)
    tail = said[0]
    assert tail["crowded"] and max(tail["counts"]) < len(crowd) / 2
    assert tail["places"][4] - tail["places"][2] > 0.1  # of 90 % to 99 %, where theta is set
    assert not said[2]["crowded"]


def test_a_camera_keeps_what_is_pointed_at_and_never_looks_beyond(toy_outputs, in_node):
    situation = situations(toy_outputs)["few"]
    looks = [
        {"moves": [], "place": [10, 20]},
        {"moves": [["zoom", 4, 0.25, 0.5]], "place": [200, 300]},  # the place at a quarter stays there
        {"moves": [["zoom", 2], ["pan", 5, -5]], "place": [0, 600]},  # the corner, and no farther
        {"moves": [["zoom", 1e9]], "place": [400, 300]},
        {"moves": [["zoom", 8], ["zoom", 1 / 100]], "place": [7, 7]},
        {"moves": [["zoom", 8], ["whole"]], "place": [7, 7]},
    ]
    answer = in_node(asked(situation, feed_of(*situation)) | {"looks": looks})
    said = answer["looked"]
    assert [one["scale"] for one in said] == [1, 4, 2, 64, 1, 1]
    assert [one["seen"] for one in said] == [[10, 20], [200, 300], [0, 600], [400, 300], [7, 7], [7, 7]]
    assert all(one["back"] == pytest.approx(asked_of["place"]) for one, asked_of in zip(said, looks, strict=True))
    order = np.array(answer["mixed"])
    assert sorted(order) == list(range(1000)) and abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.1


def test_a_table_of_many_classes_has_three_columns(toy_outputs, in_node):
    """Right, wrong and unknown, for every truth; a table of all by all would be a million cells."""
    out = toy_outputs()
    got = in_node({"blob": base64.b64encode(feed_of(out, out, out)).decode(), "cases": []})["columns"]
    assert got == [[0, 1, 2, 2, 1], [0, 1, 60, 60, 1], [0, 1, 2, 2, 1], [0, 1, 2, 2, 1]]


def test_the_wheel_says_that_the_middle_is_for_what_is_unknown_only_where_training_made_it_so(toy_outputs, in_node):
    for out in (toy_outputs(), replace(toy_outputs(), anchors=None)):
        said = in_node({"blob": base64.b64encode(feed_of(out, out, out)).decode(), "cases": []})["note"]
        assert ("what resembles none stays in the middle" in said[0]) == (out.anchors is not None)
        assert ("the middle of the class means" in said[0]) == (out.anchors is None)


def test_half_precision_by_the_table_is_numpys(toy_outputs, in_node):
    out = toy_outputs()
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    answer = in_node({"blob": base64.b64encode(feed_of(out, out, out, halves=finite)).decode(), "cases": []})
    assert answer["halves"] == finite.astype(np.float64).tolist()


def test_a_packed_feed_is_read_back_by_its_header():
    columns = {
        "logits": np.arange(6, dtype=np.float32).reshape(3, 2), "split": np.array([0, 1, 1], np.uint8),
        "centres": np.eye(2), "labels": np.array([0, 1, -1], ">i2"),
    }  # fmt: skip
    blob = live.packed(columns, {"known": ["a", "ü"]})
    length = int.from_bytes(blob[:4], "little")
    header = json.loads(blob[4 : 4 + length])
    assert (4 + length) % 8 == 0 and header["known"] == ["a", "ü"] and live.id_of(blob) == header["id"]
    for entry in header["columns"]:
        values, place = columns[entry["name"]], 4 + length + entry["offset"]
        assert place % 8 == 0
        kind = np.dtype(entry["dtype"]).newbyteorder("<")
        back = np.frombuffer(blob, kind, values.size, place).reshape(entry["shape"])
        np.testing.assert_array_equal(back, values)


def test_a_feed_is_named_by_what_is_in_it():
    one = live.packed({"a": np.zeros(3)}, {"known": []})
    assert one == live.packed({"a": np.zeros(3)}, {"known": []})
    others = [live.packed({"a": np.ones(3)}, {"known": []}), live.packed({"a": np.zeros(3)}, {"known": ["x"]}),
              live.packed({"b": np.zeros(3)}, {"known": []})]  # fmt: skip
    assert len({live.id_of(blob) for blob in [one, *others]}) == 4


def test_a_column_the_browser_cannot_read_is_refused():
    with pytest.raises(ValueError, match=r"'labels' is int64; a feed holds .*int16"):
        live.packed({"labels": np.zeros(3, np.int64)}, {})


@pytest.mark.parametrize("rows", [[], [0], [7, 8], [2, 9_999], list(range(5000))])
def test_rows_travel_packed(rows):
    assert live.unpacked_rows(live.packed_rows(rows)) == rows and len(live.packed_rows(rows)) <= 1670
    assert live.unpacked_rows("no rows at all!") == live.unpacked_rows(None) == []


def test_a_state_no_view_knows_is_refused():
    with pytest.raises(ValueError, match="no tau; it takes feed"):
        live.lab({"feed": "x", "tau": 1}, key="lab", height=300)


def test_every_phrase_that_a_view_says_can_be_translated():
    phrases = re.findall(r"\bsay\(\s*([^\s\"(){}]+|\")", live.SCRIPT)
    assert len(phrases) > 40
    # a phrase as it stands, the parameter of the speaker itself, or the name of a set, of live.SETS
    assert {said.split("[")[0] for said in phrases} <= {'"', "phrase,", "header.sets", "header.sets?."}
    assert "Loading the numbers of this run…" in live.WORDS


def test_nothing_from_data_becomes_html():
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment", live.SCRIPT
    )
