"""One address on every page: what it sets means the same everywhere, and every number that pages share agrees.

The numbers are computed here from the run's stored outputs, and read from the pages: from what Python writes, and from
what a live picture is told (its feed and its state), by the arithmetic that test_live.py holds the browser to.
"""

import csv
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from app import charts, live
from cac_core.results import judge, sweep
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import judge_of, scorer_options
from tests.app.seen import components

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
RUN = Run(ROOT / "checkpoints" / "digits-osrci-0-cac-small-s0")
SOFTMAX = Run(ROOT / "checkpoints" / "mnist-osrci-0-cross-entropy-plain-s0-6929dbae")
PAGES = ("home", "space", "thresholds", "sweep", "try")
T, E = 10.0, 0.01  # a temperature and a magnitude that the run's sweep holds
MOVED = {"epsilon": f"{E:g}", "odin": f"{T:g}"}
ADDRESSES: dict[str, dict[str, str]] = {
    "plain": {},
    "theta": {"theta": "0.02"},
    "kept": {"kept": "80"},
    "scorer and temperature": {"scorer": "msp", "temperature": "2"},
    "temperature and theta": {"temperature": "0.5", "theta": "0.01"},
    "other centres": {"centres": "anchors"},
    "distance to anchors": {"scorer": "distance", "centres": "anchors", "theta": "2.5"},
    "each": {"each": "true"},
    "each and theta": {"each": "true", "theta": "0.005"},
    "each and kept": {"each": "true", "kept": "80"},
    "moved": MOVED,
    "moved and theta": MOVED | {"theta": "0.02"},
    "moved and each": MOVED | {"each": "true"},
    "moved, by a score of the server": MOVED | {"scorer": "openmax"},
    "by features": {"scorer": "knn", "k": "3"},
    "by features, with its covariances": {"scorer": "gmm", "covariance": "full"},
    "by shares": {"scorer": "gen", "power": "0.5", "top": "3"},
    "accept at most": {"rule": "fpr", "accept": "10"},
    "least cost": {"rule": "cost", "ratio": "2", "share": "50"},
    "Youden": {"rule": "youden", "scorer": "distance"},
    "Youden, moved, each": MOVED | {"rule": "youden", "each": "true"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run on digits in a store of its own, with a sweep."""
    place = tmp_path_factory.mktemp("address")
    for one in (RUN, SOFTMAX):
        shutil.copytree(one.path, place / "runs" / one.id, ignore=shutil.ignore_patterns("sweep*"))
    swept = Run(place / "runs" / RUN.id)
    sweep.sweep(swept, place / "data", temperatures=(1.0, T), magnitudes=(0.0, E), device="cpu")
    return swept


@pytest.fixture
def opened(run, monkeypatch, tmp_path):
    """opened(page, run=RUN, **address) opens a page of the app over that store."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(run.path.parent))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path))

    def at_page(page: str, run: Run = RUN, state: dict[str, Any] | None = None, **address: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=60)
        for name, value in {"run": run.id, **address}.items():
            at.query_params[name] = value
        for name, value in (state or {}).items():
            at.session_state[name] = value
        at.run()
        return fine(at if page == "home" else at.switch_page(f"app/pages/{page}.py").run())

    return at_page


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    assert not at.error, [e.value for e in at.error]
    return at


def text(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.subheader, *at.button]
    return "\n".join(str(getattr(part, "value", "")) + getattr(part, "label", "") for part in parts).replace("\\", "")


# --- what the numbers are --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Right:
    """What an address asks for, computed from the stored outputs: verdicts on the test images, theta, and the rest."""

    verdict: Verdict  # with `each`, less the theta of the nearest class
    labels: np.ndarray
    theta: float
    thetas: np.ndarray | None

    @property
    def rejected(self) -> np.ndarray:
        return self.verdict.score > self.theta

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        known = self.labels >= 0
        right = known & (self.verdict.label == self.labels)
        return {
            "Knowns kept": (int((known & ~self.rejected).sum()), int(known.sum())),
            "Knowns kept and named right": (int((right & ~self.rejected).sum()), int(known.sum())),
            "Unknowns caught": (int((~known & self.rejected).sum()), int((~known).sum())),
        }

    @property
    def auroc(self) -> float:
        known = self.labels >= 0
        return metrics.Curve(self.verdict.score[known], self.verdict.score[~known]).auroc()


def outputs_of(run: Run, address: dict[str, str]) -> tuple[Outputs, Outputs]:
    validation, test = run.outputs("validation"), run.outputs("test")
    if "epsilon" in address:
        magnitudes, logits = sweep.cube(run, float(address["odin"]))
        place = list(magnitudes).index(float(address["epsilon"]))
        validation, test = (
            Outputs(**vars(out) | {"logits": logits[split][place].astype(np.float32)})
            for out, split in ((validation, "validation"), (test, "test"))
        )
    return validation, test


def right(address: dict[str, str], run: Run) -> Right:
    scorer, kept = address.get("scorer", "gamma"), float(address.get("kept", 95)) / 100
    given = {name: type(default)(address[name]) for name, default in scorer_options(scorer).items() if name in address}
    one = judge_of(scorer, run.outputs("train"), **given)
    outputs = outputs_of(run, address)
    validation, test = map(one, outputs)
    theta, thetas = metrics.theta_at(kept, validation.score), None
    if address.get("each") == "true":
        thetas = judge.thetas_at(kept, validation, len(run.known_names))
        test, theta = judge.beyond(thetas, test), 0.0
    labels = outputs[1].labels
    theta = {
        "fpr": lambda: metrics.theta_at_fpr(float(address["accept"]) / 100, test, labels),
        "cost": lambda: metrics.theta_at_cost(float(address["ratio"]), float(address["share"]) / 100, test, labels),
        "youden": lambda: metrics.theta_youden(test, labels),
    }.get(address.get("rule"), lambda: float(address.get("theta", theta)))()
    return Right(test, labels, theta, None if thetas is None else thetas + theta)


# --- what the pages say ----------------------------------------------------------------------------------------------


def tiles(at: AppTest) -> dict[str, tuple[str, int, int]]:
    """The three numbers that theta decides, each with the counts below it."""
    found = {}
    for metric in at.metric:
        if counts := re.match(r"(\d+) of (\d+)", metric.delta or ""):
            found[metric.label] = metric.value, int(counts[1]), int(counts[2])
    return found


def theta_of(at: AppTest) -> float:
    """Theta as the page has it in its field: by hand, or the rule's, which is written with three digits."""
    field = at.number_input(key="theta")
    return float(field.proto.placeholder) if field.value is None else field.value


def parameters(at: AppTest) -> dict[str, str]:
    """What the page puts into the address."""
    said = {}
    for proto in components(at, "anchorscope_address"):
        said |= json.loads(proto.json)["parameters"]
    return {name: value for name, value in said.items() if value is not None}


def unpacked(blob: bytes) -> dict[str, Any]:
    length = int.from_bytes(blob[:4], "little")
    header = json.loads(blob[4 : 4 + length])
    feed = {"header": header}
    for c in header["columns"]:
        count = int(np.prod(c["shape"]))
        feed[c["name"]] = np.frombuffer(blob, c["dtype"], count, 4 + length + c["offset"]).reshape(c["shape"])
    return feed


def live_view(at: AppTest) -> Right:
    """What a live picture draws from what it is told, as view.js has it."""
    feeds = {live.id_of(proto.bytes): unpacked(proto.bytes) for proto in components(at, "anchorscope_feed")}
    state = json.loads(components(at, "anchorscope_view")[0].json)["state"]
    feed = feeds[state["feed"]]
    if state["extra"]:
        score, label = feeds[state["extra"]]["score"], feeds[state["extra"]]["label"].astype(int)
    else:
        logits = feed["eps_logits"][state["eps"] - 1] if state["eps"] else feed["logits"]
        options = {"centres": state["centres"], "temperature": state["temperature"]}
        one = judge_of(
            state["scorer"], RUN.outputs("train"),
            **{k: v for k, v in options.items() if k in scorer_options(state["scorer"])},
        )  # fmt: skip
        verdict = one(Outputs.of_images(logits.astype(np.float32), np.zeros((len(logits), 1), np.float32)))
        score, label = verdict.score, verdict.label
    validation, test = feed["split"] == 0, feed["split"] == 1
    rule = 0.0 if state["each"] else metrics.theta_at(state["kept"], score[validation])
    theta = rule if state["theta"] is None else state["theta"]
    return Right(Verdict(score[test], label[test]), feed["labels"][test].astype(int), theta, None)


@pytest.mark.parametrize("name", ADDRESSES)
def test_one_address_says_the_same_on_every_page(opened, run, name, monkeypatch):
    address, want = ADDRESSES[name], right(ADDRESSES[name], run)
    shares = {title: (charts.percent(hits / of), hits, of) for title, (hits, of) in want.counts.items()}
    files = {}
    monkeypatch.setattr(
        streamlit,
        "download_button",
        lambda label, data, *_, **__: files.update({label: data() if callable(data) else data}),
    )

    home = opened("home", **address)
    assert tiles(home) == shares
    seen = live_view(home)
    assert (seen.counts, seen.theta) == (want.counts, pytest.approx(want.theta, rel=1e-5))

    thresholds = opened("thresholds", state={"lab_tables": True}, **address)
    assert tiles(thresholds) == shares
    assert charts.number(theta_of(thresholds)) == charts.number(want.theta)
    seen = live_view(thresholds)
    assert (seen.counts, seen.theta) == (want.counts, pytest.approx(want.theta, rel=1e-5))
    assert seen.auroc == pytest.approx(want.auroc, abs=1e-4)
    (row,) = [line for line in thresholds.table[0].value.itertuples(index=False) if line[0] == "AUROC"]
    assert row[1].startswith(charts.percent(want.auroc))
    record = json.loads(files["threshold.json"])
    assert record["theta"] == pytest.approx(want.theta)
    assert record["thetas"] == (None if want.thetas is None else pytest.approx(want.thetas.tolist()))
    assert (record["magnitude"], record["scorer"]) == (float(address.get("epsilon", 0)), address.get("scorer", "gamma"))

    first, count = len(RUN.outputs("validation")), len(want.labels)
    chosen = {"marks": live.packed_rows(np.arange(first, first + count))}
    space = opened("space", state=chosen, **address)
    assert charts.number(theta_of(space)) == charts.number(want.theta)
    seen = live_view(space)
    assert (seen.counts, seen.theta) == (want.counts, pytest.approx(want.theta, rel=1e-5))
    rows = list(csv.DictReader(io.StringIO(files["As CSV"])))
    rejected = {int(row["image"]): row["decision"] == "unknown" for row in rows}  # sorted by score
    assert [rejected[number] for number in RUN.outputs("test").index.tolist()] == want.rejected.tolist()

    for i in np.unique(np.r_[np.flatnonzero(want.rejected)[:1], np.flatnonzero(~want.rejected)[:1], count - 1]):
        page = opened("try", state={"example": int(i)}, **address)
        assert page.session_state["slide"] == pytest.approx(want.theta)
        verdict = "Unknown" if want.rejected[i] else f"Known: {RUN.known_names[want.verdict.label[i]]}"
        assert [s.value for s in page.subheader] == [verdict]

    page = opened("sweep", **address)
    said = [m.value for m in page.markdown]
    cell = next(n for n, value in enumerate(said) if value.startswith("**This cell**"))
    if "epsilon" in address and address.get("scorer", "gamma") in sweep.SCORES and "each" not in address:
        assert said[cell] == f"**This cell**: T = {T:g}, ε = {E:g}"
        assert f"AUROC **{charts.percent(want.auroc)}**" in said[cell + 1]
        assert "The other pages judge by" in text(page)

    for at in (home, thresholds, space, page):
        assert parameters(at).items() >= address.items()  # and the address stays what it was


# --- theta belongs to the scores that it was set for -----------------------------------------------------------------

LET_GO = "θ was set for other scores than these"
CHANGES = {
    "temperature": lambda at: at.number_input(key="temperature").set_value(2.0),
    "epsilon": lambda at: at.selectbox(key="epsilon").set_value(E),
    "centres": lambda at: at.segmented_control(key="centres").set_value("anchors"),
    "each": lambda at: at.toggle(key="each").set_value(True),
    "scorer": lambda at: at.selectbox(key="scorer").set_value("distance"),
}


@pytest.mark.parametrize("set_by", [{"theta": "0.02"}, {"rule": "fpr"}], ids=["hand", "rule"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("page", ["home", "space", "thresholds", "try"])
def test_theta_goes_back_to_the_rule_with_other_scores_and_that_is_said(opened, run, page, change, set_by):
    at = opened(page, **set_by)
    assert set_by.items() <= parameters(at).items() and LET_GO not in text(at)
    at = fine(CHANGES[change](at).run())
    assert not {"theta", "rule"} & set(parameters(at)) and LET_GO in text(at)
    want = right({name: value for name, value in parameters(at).items() if name != "run"}, run)
    assert charts.number(theta_of(at)) == charts.number(want.theta)
    at.number_input(key="theta").set_value(0.5).run()
    assert parameters(at)["theta"] == "0.5" and LET_GO not in text(at)


def heard(told: dict, word: dict, before: dict) -> dict:
    """What a page has set after a live view that it had told so has said that."""

    def page(told, word, before):
        import streamlit as st

        from app import controls

        if "told_view" not in st.session_state:
            st.session_state.update(before | {"told_view": told})
            controls.take(word)

    at = fine(AppTest.from_function(page, args=(told, word, before)).run())
    names = ("theta", "rule", "temperature", "epsilon", "theta_for")
    return {name: at.session_state[name] for name in names if name in at.session_state}


def test_what_is_moved_in_a_live_view_is_taken_and_what_it_was_told_is_not():
    told = {"theta": 0.3, "temperature": 1.0, "eps": 0, "magnitudes": [0.0, 0.1]}
    before = {"theta": None, "rule": "youden", "temperature": 1.0, "epsilon": 0.0, "theta_for": "these scores"}
    # nothing but a selection: theta stays the oracle's
    assert heard(told, {"theta": 0.3, "temperature": 1.0, "eps": 0}, before) == before
    # dragged: by hand, and for the scores that are set
    by_hand = before | {"theta": 0.4, "rule": None, "theta_for": None}
    assert heard(told, {"theta": 0.4, "temperature": 1.0, "eps": 0}, before) == by_hand
    assert heard(told, {"theta": None, "temperature": 1.0, "eps": 0}, before) == by_hand | {"theta": None}
    # another T or epsilon: set_up finds that the scores are others, lets theta go and says so
    assert heard(told, {"theta": None, "temperature": 2.0, "eps": 0}, before) == before | {"temperature": 2.0}
    assert heard(told, {"theta": None, "temperature": 1.0, "eps": 1}, before) == before | {"epsilon": 0.1}
    # one that was set after that counts for the new ones
    assert heard(told, {"theta": 0.7, "temperature": 2.0, "eps": 0}, before) == by_hand | {
        "theta": 0.7, "temperature": 2.0
    }  # fmt: skip


# --- what a page cannot show it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["home", "space", "thresholds", "try"])
def test_what_an_address_asks_for_and_cannot_be_had_is_said(opened, page):
    assert "does not hold images moved by ε = 0.3 at T = 7" in text(opened(page, epsilon="0.3", odin="7"))
    said = text(opened(page, scorer="knn", **MOVED))
    assert f"without the step of ε = {E:g} that is set" in said
    assert f"Each image is moved first: ε = {E:g}, T = {T:g}" in text(opened(page, **MOVED))
    assert "Each class has a θ of its own" in text(opened(page, each="true"))
    assert "This run has no anchors" in text(opened(page, SOFTMAX, scorer="gamma", centres="anchors"))
    assert "This run has no anchors" not in text(opened(page, SOFTMAX, scorer="msp", centres="anchors"))


def test_the_sweep_says_what_other_pages_are_set_to_and_its_grid_does_not_have(opened):
    assert "which this grid does not have" not in text(opened("sweep", **MOVED))
    for address, said in (
        ({"centres": "anchors"}, "distances to the anchors"), ({"temperature": "2"}, "T = 2 within the score"),
        ({"scorer": "knn"}, "the score k nearest"), ({"each": "true"}, "a θ of its own for each class"),
    ):  # fmt: skip
        assert f"Other pages are set to {said}, which this grid does not have" in text(opened("sweep", **address))


def test_the_axis_names_the_centres_that_distances_are_taken_to(opened):
    for address, name in (({}, "class mean"), ({"centres": "anchors"}, "anchor")):
        at = opened("space", scorer="distance", **address)
        said = json.loads(components(at, "anchorscope_view")[0].json)["state"]["name"]
        assert said == f"distance to the nearest {name}"


def test_only_a_run_with_anchors_was_pulled_to_them(opened):
    assert "**anchor**" in text(opened("space")) and "anchor" not in text(opened("space", SOFTMAX))


def test_a_sweep_as_published_that_is_missing_is_called_so(opened):
    at = opened("sweep", published="true")
    assert "no sweep as published yet" in text(at) and "This run has no sweep yet" not in text(at)


@pytest.mark.parametrize("page", PAGES)
def test_what_was_set_for_a_run_that_is_not_here_is_not_taken_for_another(opened, page):
    asked = {"theta": "0.5", "scorer": "distance", "each": "true", "kept": "70", "rule": "youden", "temperature": "3"}
    at = opened(page, run=Run(RUN.path.with_name("gone")), view="strip", **MOVED, **asked)
    assert "There is no run called “gone”" in text(at) and "are not taken for this one" in text(at)
    shown = at.selectbox(key="run").value
    assert shown != "gone" and not {"epsilon", "odin", *asked} & set(parameters(at))
    assert parameters(at)["view"] == "strip"
    if page == "home":
        assert tiles(at) == tiles(opened("home", Run(RUN.path.with_name(shown))))
    assert "are not taken" not in text(opened(page, run=Run(RUN.path.with_name("gone"))))


def test_a_page_that_is_left_before_its_widgets_have_heard_their_values_changes_nothing(opened):
    at = opened("thresholds", scorer="distance", theta="1.5", kept="80", each="false")
    said, shown = parameters(at), tiles(fine(at.switch_page("app/pages/home.py").run()))
    at = fine(at.switch_page("app/pages/thresholds.py").run())
    at.number_input(key="theta").set_value(None)
    at.number_input(key="kept").set_value(95.0)
    at = fine(at.switch_page("app/pages/home.py").run())
    assert parameters(at) == said and tiles(at) == shown
    at.number_input(key="theta").set_value(None).run()  # here somebody has emptied it
    assert "theta" not in parameters(at)
    assert "theta" not in parameters(fine(at.switch_page("app/pages/thresholds.py").run()))


def test_a_link_to_another_run_means_the_same_in_a_session_that_has_set_other_things(opened):
    fresh = opened("home", SOFTMAX, theta="0.3")
    at = opened("space", each="true", kept="80", view="strip", without="validation", rule="youden", **MOVED)
    at.query_params.clear()
    for name, value in {"run": SOFTMAX.id, "theta": "0.3"}.items():
        at.query_params[name] = value
    at = fine(at.switch_page("app/pages/home.py").run())
    assert parameters(at) == parameters(fresh) and tiles(at) == tiles(fresh)


# --- what is moved in the cloud, and what is chosen there ------------------------------------------------------------


def test_the_order_of_classes_and_the_images_shown_are_in_the_address(opened):
    at = opened("space", without="validation", order="own", around="3,0,1,2,5,4")
    state = json.loads(components(at, "anchorscope_view")[0].json)["state"]
    assert (state["sets"], state["order"]) == ([1], [3, 0, 1, 2, 5, 4])
    said = parameters(at)
    assert (said["without"], said["order"], said["around"]) == ("validation", "own", "3,0,1,2,5,4")
    at = fine(at.segmented_control(key="order").set_value("number").run())
    assert json.loads(components(at, "anchorscope_view")[0].json)["state"]["order"] == list(range(6))
    assert "around" not in parameters(at)
    for nonsense in ("3,0,1", "a,b", "0,0,0,0,0,0"):
        at = opened("space", order="own", around=nonsense)
        assert at.segmented_control(key="order").value == "similar" and "around" not in parameters(at)


def test_the_file_of_a_selection_holds_all_that_is_chosen(opened, monkeypatch):
    files = {}
    monkeypatch.setattr(streamlit, "download_button", lambda label, data, *_, **__: files.update({label: data}))
    count = sum(len(SOFTMAX.outputs(split)) for split in ("validation", "test"))
    chosen = {"marks": live.packed_rows(np.arange(5, count))}
    at = opened("space", SOFTMAX, state=chosen)
    rows = list(csv.DictReader(io.StringIO(files["As CSV"]())))
    assert len(rows) == count - 5 > 17_000 and f"{count - 5} images chosen" in text(at)
    assert {int(row["image"]) for row in rows} >= set(SOFTMAX.outputs("test").index.tolist())


def view_state(at: AppTest) -> dict:
    return json.loads(components(at, "anchorscope_view")[0].json)["state"]


def test_what_is_set_in_the_cloud_goes_with_the_link(opened):
    marks = live.packed_rows([3, 4, 300])
    said = {"pair": "2,1", "triple": "0,2,4", "hidden": "known:0,class:3", "decision": "mistakes", "on_top": "unknown",
            "opacity": "0.4", "density": "true", "view": "plane", "marks": marks}  # fmt: skip
    at = opened("space", **said)
    state = view_state(at)
    assert {name: state[name] for name in ("pair", "triple", "hidden", "decision", "top", "opacity", "density")} == {
        "pair": [2, 1], "triple": [0, 2, 4], "hidden": ["known:0", "class:3"], "decision": "mistakes", "top": "unknown",
        "opacity": 0.4, "density": True,
    }  # fmt: skip
    assert live.unpacked_rows(state["selection"]) == [3, 4, 300] and "3 images chosen" in text(at)
    (written,) = [c for c in components(at, "anchorscope_address") if "marks" in c.json]
    assert json.loads(written.json)["parameters"].items() >= said.items()


def test_what_an_address_asks_for_and_cannot_be_is_said_and_left(opened):
    at = opened("home", kept="400", theta="abc")
    (said,) = [w.value.replace("\\", "") for w in at.warning if "The link asks for what cannot be here" in w.value]
    assert "**kept=400**" in said and "**theta=abc**" in said
    wrong = {"pair": "1,1", "triple": "0,1,99", "marks": "%%%", "opacity": "7", "further": "nowhere"}
    at = opened("space", **wrong)
    (said,) = [w.value.replace("\\", "") for w in at.warning if "The link asks for what cannot be here" in w.value]
    assert [asked for asked in map("=".join, wrong.items()) if f"**{asked}**" not in said] == []
    state = view_state(at)
    assert (state["pair"], state["triple"], state["opacity"]) == ([0, 1], [0, 1, 2], 1.0)
    at = fine(at.switch_page("app/pages/thresholds.py").run())  # another page says nothing of it any more
    assert not [w for w in at.warning if "The link asks" in w.value]
    at = opened("images", images_low="high", images_page="two")
    (said,) = [w.value.replace("\\", "") for w in at.warning if "The link asks" in w.value]
    assert "**images_low=high**" in said and "**images_page=two**" in said
    for page, asked in (("sweep", "measure=best"), ("try", "example=100000"), ("home", "axis=up")):
        at = opened(page, **dict([asked.split("=")]))
        assert f"**{asked}**" in "".join(w.value for w in at.warning).replace("\\", ""), page


# --- the rule of theta, taken along ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "rule"),
    [({"rule": "fpr", "accept": "7"}, "accepts at most 7 % of the test unknowns"),
     ({"rule": "cost", "ratio": "3", "share": "40"}, "least cost at 40 % unknowns in use, where an accepted unknown"),
     ({"rule": "youden"}, "(Youden)")],
)  # fmt: skip
def test_an_exported_threshold_says_by_which_rule_and_that_it_looked_at_unknowns(opened, monkeypatch, address, rule):
    files = {}
    monkeypatch.setattr(streamlit, "download_button", lambda label, data, *_, **__: files.update({label: data}))
    at = opened("thresholds", **address)
    record = json.loads(files["threshold.json"])
    assert rule in record["rule"] and "looked at the test unknowns" in record["rule"] and record["oracle"] is True
    assert record["rule"] in text(at) and "oracle: looks at the test unknowns" in text(at)
    for page in ("home", "space", "try"):
        assert "oracle: looks at the test unknowns" in text(opened(page, **address))
    at = fine(at.button(key="by_rule").click().run())
    record = json.loads(files["threshold.json"])
    assert "oracle" not in record["rule"] and record["oracle"] is False and "rule" not in parameters(at)
    at = fine(at.number_input(key="theta").set_value(0.5).run())
    record = json.loads(files["threshold.json"])
    assert record["rule"] == "set by hand" and record["oracle"] is False


def test_a_rule_is_taken_by_a_click_and_followed(opened, run):
    at = opened("thresholds")
    at = fine(at.button(key="rule_fpr").click().run())
    assert parameters(at)["rule"] == "fpr" and "theta" not in parameters(at)
    at = fine(at.number_input(key="accept").set_value(20.0).run())
    assert parameters(at)["accept"] == "20"
    want = right({"rule": "fpr", "accept": "20"}, run)
    assert charts.number(theta_of(at)) == charts.number(want.theta)
    at = fine(at.number_input(key="kept").set_value(90.0).run())  # whoever says what to keep, goes by that
    assert "rule" not in parameters(at)
