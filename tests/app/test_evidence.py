"""What is shown beside a verdict is of the score that decided, for every score: numbers by class, limit, pixels."""

import re

import numpy as np
import pytest

from app import charts, evidence
from cac_core.results import judge
from cac_core.scoring.scorers import BY_LATENTS, DIFFERENTIABLE, SCORERS, judge_of
from tests.app.test_results_pages import app, fine, text  # noqa: F401

JUDGING = [name for name in SCORERS if name != "given"]
METHODS = {"unknown_class": "osrci", "placeholder": "proser", "latent_openmax": "crosr"}
TRY = "app/pages/try.py"


@pytest.fixture
def run_for(make_run):
    """run_for(scorer): a run by whose method it can be had."""
    return lambda scorer: make_run(
        scorer.replace("_", "-"), method=METHODS.get(scorer, "cac"), latents=2 if scorer in BY_LATENTS else 0
    )


@pytest.mark.parametrize("scorer", JUDGING)
def test_the_numbers_by_class_decide_as_the_score_does(run_for, scorer):
    run = run_for(scorer)
    out = run.outputs("test")
    scores = [one["score"] for one in judge.said_of(run, out.logits, out.features, scorer, 0.0)]
    said = judge.said_of(run, out.logits, out.features, scorer, float(np.median(scores)))
    known = set(evidence.BY_CLASS)
    assert known == set(evidence.RULES) and (scorer in known) == (said[0]["by_class"] is not None)
    assert {one["decision"] == judge.UNKNOWN for one in said} == {False, True}
    for one in said if scorer in known else []:
        values, unknown = one["by_class"], one["of_unknown"]
        nearest = (min if scorer in evidence.RISING else max)(values, key=values.get)
        assert values[nearest] == pytest.approx(values[one["label"]])
        if found := evidence.limit(one, scorer):
            if "openmax" in scorer:
                accepted = unknown - found[0]
            else:
                accepted = (values[nearest] - found[0]) * (1 if scorer in evidence.RISING else -1)
            assert (accepted > 1e-9) <= (one["decision"] == judge.UNKNOWN) <= (accepted > -1e-9)


def test_each_pixel_that_pushes_has_numbers_by_class():
    assert set(DIFFERENTIABLE) < set(evidence.BY_CLASS)


def test_what_is_unknown_always_has_its_bar_and_the_largest_stands_first():
    values = {str(n): n / 100 for n in range(12)}
    drawn = charts.bars(values, "11", (0.5, "unknown − θ"), charts.LIGHT, "share", falling=True, unknown=0.001)
    assert drawn["yAxis"]["data"] == [*map(str, range(11, 1, -1)), "unknown"]
    bars, beyond = drawn["series"]
    assert bars["markLine"]["data"] == [{"xAxis": 0.5}] == [{"xAxis": beyond["data"][0][0]}]
    assert bars["data"][-1]["itemStyle"]["color"] == charts.LIGHT.unknown


@pytest.mark.long
@pytest.mark.parametrize("scorer", ["unknown_class", "knn", "msp", "gamma"])
def test_the_page_explains_a_verdict_by_its_own_score(run_for, app, scorer):  # noqa: F811
    run_for(scorer)
    at = fine(app(TRY))
    at.session_state["scorer"], at.session_state["why_0"] = scorer, True
    at = fine(at.run())
    said = text(at)
    assert ("Pixels that push the score" in said) == (scorer in DIFFERENTIABLE)
    assert ("No numbers by class are behind this score" in said) == (scorer == "knn")
    rule = {"unknown_class": "Accepted where the largest known one is at least unknown − θ.",
            "msp": "Accepted where the largest is at least 1 − θ.",
            "gamma": "Accepted where the smallest is not above θ."}  # fmt: skip
    assert scorer == "knn" or rule[scorer] in said
    (table,) = [one.value for one in at.table]
    assert (list(table.iloc[:, 0])[-1] == "unknown") == (scorer == "unknown_class")
    own = ["share of K + 1 classes"] if scorer == "unknown_class" else []
    assert list(table.columns) == ["class", *own, "γ", "distance", "softmax"]


@pytest.mark.long
def test_a_comparison_on_the_start_page_holds_as_it_reads(run_for, app):  # noqa: F811
    run = run_for("gamma")
    scores = judge_of("gamma", run.outputs("train"))(run.outputs("test")).score
    at = app("app/pages/home.py")
    shown = [float(score) for score, _, _ in compared(at)]
    near = scores[np.abs(scores - shown[0]).argmin()]
    for theta in (near * (1 - 1e-6), near, near * (1 + 1e-6)):
        at.session_state["theta"] = float(theta)
        said = compared(fine(at.run()))
        assert len(said) == len(shown)
        for score, sign, limit in said:
            assert (float(score) > float(limit)) == (sign == ">"), (score, sign, limit)


def compared(at) -> list[tuple[str, str, str]]:
    return re.findall(r"score (\S+) ([>≤]) θ (\S+)", text(at))
