"""Many pictures of one's own on Try: the contact sheet, what their labels say, and a theta from them."""

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import charts, labels, sheet, uploads
from app.sheet import LEFT_OUT, UNKNOWN, Tile
from cac_core import runs
from cac_core.data import datasets, images
from cac_core.results import judge
from cac_core.runs import Run
from tests.app.seen import components, sheet_of
from tests.waiting import LONG

HERE = Path(__file__).parents[2]
RUN = Run(HERE / "checkpoints" / "digits-osrci-0-cac-small-s0")


def tile(name: str, score: float, nearest: int = 0, base: float = 0.0, error: str = "") -> Tile:
    return Tile(name, name, "", error, nearest, score, base)


def test_a_mark_follows_the_content_and_tells_the_same_picture_twice_apart():
    one, other = sheet.marked([b"one", b"two", b"one"]), sheet.marked([b"two", b"one"])
    assert one[:2] == other[::-1] and len(set(one)) == 3 and one[2].startswith(one[0])


@pytest.mark.parametrize("size", [(8, 8), (32, 20), (3, 400), (900, 700)])
def test_a_small_picture_fits_its_tile_whatever_it_was(size):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))
    url = sheet.small(picture)
    shown = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert max(shown.size) <= sheet.SIDE and (max(size) >= 16 or max(shown.size) > max(size))


def test_only_labelled_pictures_that_could_be_judged_count():
    tiles = [tile("a", 1.0), tile("b", 2.0, 1, 0.5), tile("c", 3.0), tile("d", 0.0, error="no image"), tile("e", 4.0)]
    verdict, truth = labels.counted(tiles, {"a": 0, "b": UNKNOWN, "c": LEFT_OUT, "d": 1})
    assert verdict.score.tolist() == [1.0, 1.5] and verdict.label.tolist() == [0, 1] and truth.tolist() == [0, -1]
    assert [labels.named(one, ["x", "y"]) for one in (None, 1, UNKNOWN, LEFT_OUT)] == ["", "y", "unknown", "left out"]


def test_decisions_by_another_theta_are_those_that_judging_anew_gives():
    test = RUN.outputs("test")
    logits, features = test.logits[:60], test.features[:60]
    zero = judge.said_of(RUN, logits, features, "gamma", 0.0)
    base = np.linspace(-0.01, 0.02, len(RUN.known_names))
    for theta in (0.0, 0.006, zero[7]["score"]):
        for thetas in (np.full(len(base), theta), base + theta):
            anew = judge.said_of(RUN, logits, features, "gamma", theta, thetas)
            assert uploads.decided(zero, RUN.known_names, thetas) == anew


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def app(store, tmp_path, monkeypatch):
    shutil.copytree(RUN.path, store / RUN.id)
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path))

    def open_page(**query: str) -> AppTest:
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
        for key, value in query.items():
            at.query_params[key] = value
        return fine(at.run().switch_page("app/pages/try.py").run())

    return open_page


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    return at


def text(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.warning, *at.error]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def given(at: AppTest, count: int) -> tuple[AppTest, list[int]]:
    """So many test images as files, and one that is none; and what digit each is."""
    test = datasets.load("digits", datasets.root_of())["test"]
    files = []
    for n in range(count):
        file = io.BytesIO()
        Image.fromarray(test.pixels[n, :, :, 0]).save(file, "PNG")
        files.append((f"{n:03d}.png", file.getvalue(), "image/png"))
    at.file_uploader(key="files").set_value([*files, ("bad.png", b"no image", "image/png")])
    return fine(at.run()), [int(c) for c in test.classes[:count]]


def labelled(at: AppTest, digits: list[int]) -> AppTest:
    """Labels all pictures as what they are, the first one as not counted."""
    names, rows = RUN.known_names, sheet_of(at)["rows"]
    said = {
        row["mark"]: names.index(str(digit)) if str(digit) in names else UNKNOWN
        for row, digit in zip(rows, digits, strict=False)
    }
    at.session_state["own_labels"] = {RUN.id: said | {rows[0]["mark"]: LEFT_OUT}}
    return fine(at.run())


def test_the_sheet_says_of_each_picture_what_judging_it_alone_says(app):
    from cac_core.results import evaluate

    at, _ = given(app(), 12)
    said = sheet_of(at)
    assert [row["name"] for row in said["rows"]][-1] == "bad.png" and said["rows"][-1]["error"]
    network, test = evaluate.load(RUN, "cpu"), datasets.load("digits", datasets.root_of())["test"]
    for n, row in enumerate(said["rows"][:12]):
        file = io.BytesIO()
        Image.fromarray(test.pixels[n, :, :, 0]).save(file, "PNG")
        seen = network.outputs(images.prepare(file.getvalue(), RUN.row).pixels[None])
        (alone,) = judge.said_of(RUN, *seen, "gamma")
        assert said["names"][row["nearest"]] == alone["label"] and row["said"] == charts.number(row["score"])
        assert row["score"] == pytest.approx(alone["score"], rel=1e-3, abs=1e-6)  # several together end otherwise
        assert row["base"] == 0 and said["theta"] == alone["theta"]
    (sent,) = [one for one in components(at, "anchorscope_sheet") if "shown" in json.loads(one.json)]
    assert set(json.loads(sent.json)["shown"]) == {row["mark"] for row in said["rows"][:12]}
    assert not at.subheader  # no card before one is opened


def test_theta_moves_without_judging_or_sending_pictures_anew(app, monkeypatch):
    at, _ = given(app(), 6)
    before = [one.json for one in components(at, "anchorscope_sheet") if "shown" in json.loads(one.json)]
    monkeypatch.setattr(uploads, "looked_at", lambda *a, **k: pytest.fail("judged anew"))
    monkeypatch.setattr(uploads, "looked_through", lambda *a, **k: pytest.fail("judged anew"))
    monkeypatch.setattr(judge, "said_of", lambda *a, **k: pytest.fail("judged anew"))
    rows = sheet_of(at)["rows"]
    theta = sorted(row["score"] for row in rows if not row["error"])[2]
    at.number_input(key="theta").set_value(theta)
    at = fine(at.run())
    assert "**6** of 7 judged, **3** of them unknown" in text(at) and sheet_of(at)["theta"] == theta
    assert [one.json for one in components(at, "anchorscope_sheet") if "shown" in json.loads(one.json)] == before


def test_a_theta_for_each_class_is_what_the_sheet_decides_by(app):
    at, _ = given(app(each="true"), 30)
    said = sheet_of(at)
    rows = [row for row in said["rows"] if not row["error"]]
    rejected = sum(row["score"] > row["base"] + said["theta"] for row in rows)
    assert len({row["base"] for row in rows}) > 1 and f"**{rejected}** of them unknown" in text(at)


def test_one_picture_is_opened_and_one_goes_on_from_there(app):
    at, _ = given(app(), 3)
    marks = [row["mark"] for row in sheet_of(at)["rows"]]
    at.session_state["own_open"] = marks[1]
    at = fine(at.run())
    assert len(at.subheader) == 1 and [one.value for one in at.text] == ["001.png"]
    at = fine(at.button(key="open_after").click().run())
    assert [one.value for one in at.text] == ["002.png"] and sheet_of(at)["open"] == marks[2]
    at = fine(at.button(key="open_after").click().run())
    assert [one.value for one in at.text] == ["bad.png"] and len(at.error) == 1
    assert at.button(key="open_after").disabled
    at = fine(at.button(key="open_none").click().run())
    assert not at.subheader and not at.text


def test_labels_give_numbers_and_a_theta_to_use_and_to_take_along(app, tmp_path):
    at, digits = given(app(), 60)
    assert "Choose pictures above and label them" in text(at)
    at = labelled(at, digits)
    known = sum(str(digit) in RUN.known_names for digit in digits[1:])
    shown = {one.label: one.value for one in at.metric}
    assert set(shown) >= {"Closed-set accuracy", "AUROC"}
    said = text(at)
    assert f"{known} known and {59 - known} unknown pictures" in said and f"by {known} known pictures of your" in said

    at = fine(at.button(key="own_theta_balanced").click().run())
    theta = sheet_of(at)["theta"]
    assert f"best balance of {59 - known} unknown pictures of your own caught" in text(at)
    assert at.number_input(key="theta").value == theta
    at = fine(at.switch_page("app/pages/thresholds.py").run())  # and there it is called so as well
    assert f"θ = {charts.number(theta)}: best balance of" in text(at)


def test_a_threshold_of_own_pictures_is_one_that_predict_takes(app, tmp_path):
    at, digits = given(app(), 60)
    at = labelled(at, digits)
    tiles = [Tile(r["name"], r["mark"], "", r["error"], r["nearest"], r["score"], r["base"]) for r in
             sheet_of(at)["rows"]]  # fmt: skip
    verdict, truth = labels.counted(tiles, at.session_state["own_labels"][RUN.id])
    run = runs.find(RUN.id, runs.store_of())
    from cac_core.results import labelled as core

    theta = core.theta_balanced(verdict, truth)
    found = core.measured(verdict, truth, theta, len(run.known_names))

    class Now:
        run, scorer, options, each = (
            Run(runs.store_of() / RUN.id),
            "gamma",
            {"centres": "means", "temperature": 1.0},
            0.9,
        )
        base, thetas = np.arange(6.0), np.arange(6.0) + 1

        class moved:
            magnitude, temperature = 0.0, 1.0

    for thetas in (None, np.arange(6.0) + theta):
        Now.thetas = thetas
        threshold = labels.threshold(Now, theta, "by hand", found)
        file = tmp_path / "threshold.json"
        file.write_text(json.dumps(threshold.record(run)))
        back = judge.threshold_from(file, run)
        assert back == threshold and back.quality["rests_on"] == str(core.OWN)
        assert back.thetas == (None if thetas is None else tuple(thetas.tolist()))


def test_how_the_sheet_is_shown_stands_in_the_address(app):
    query = {"own_as": "table", "own_order": "near", "own_show": "rejected", "own_near": "4"}
    at, _ = given(app(**query), 4)
    assert sheet_of(at)["view"] == {"as": "table", "order": "near", "show": "rejected", "near": "4"}
    said = {}
    for one in components(at, "anchorscope_address"):
        said |= json.loads(one.json)["parameters"]
    assert {name: said.get(name) for name in query} == query
    at, _ = given(app(own_as="pie", own_show="all", own_near="nobody"), 4)
    assert sheet_of(at)["view"] == {"as": "grid", "order": "given", "show": "all", "near": ""}
