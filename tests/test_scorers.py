"""Scorers against the papers' formulas, written as loops, and at the edges."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cac_core import scorers
from cac_core.scorers import Outputs, judge_of
from tests import reference

SEEDS = range(5)
# scores that a paper defines from logits alone: name, options, oracle
FROM_LOGITS = [
    ("msp", {}, reference.msp),
    ("msp", {"temperature": 3.0}, lambda z: reference.msp(z, 3.0)),
    ("max_logit", {}, reference.max_logit),
    ("energy", {}, reference.energy),
    ("energy", {"temperature": 0.5}, lambda z: reference.energy(z, 0.5)),
]


def argmin(row):
    return row.index(min(row))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("centres", scorers.CENTRES)
def test_gamma_is_the_papers(toy_outputs, seed, centres):
    train, test = toy_outputs(seed, unknown=0), toy_outputs(seed + 100)
    points = reference.class_means(train.logits.tolist(), train.labels.tolist(), 4)
    points = points if centres == "means" else train.anchors.tolist()
    rows = reference.cac_gamma(test.logits.tolist(), points)
    verdict = judge_of("gamma", train, centres=centres)(test)
    np.testing.assert_allclose(verdict.score, [min(row) for row in rows], rtol=1e-9)
    np.testing.assert_array_equal(verdict.label, [argmin(row) for row in rows])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("centres", scorers.CENTRES)
def test_distance_is_to_the_nearest_centre(toy_outputs, seed, centres):
    train, test = toy_outputs(seed, unknown=0), toy_outputs(seed + 100)
    points = reference.class_means(train.logits.tolist(), train.labels.tolist(), 4)
    rows = reference.cac_distances(test.logits.tolist(), points if centres == "means" else train.anchors.tolist())
    verdict = judge_of("distance", train, centres=centres)(test)
    np.testing.assert_allclose(verdict.score, [min(row) for row in rows], rtol=1e-9)
    np.testing.assert_array_equal(verdict.label, [argmin(row) for row in rows])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "options", "oracle"), FROM_LOGITS)
def test_scores_from_logits_are_the_papers(toy_outputs, seed, name, options, oracle):
    test = toy_outputs(seed)
    verdict = judge_of(name, toy_outputs(unknown=0), **options)(test)
    np.testing.assert_allclose(verdict.score, oracle(test.logits.tolist()), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(verdict.label, test.logits.argmax(1))


def test_gamma_at_a_temperature_divides_the_distances_in_the_softmin_only():
    d = np.array([[3.0, 4.0, 9.0]])
    softmin = np.exp(-d / 2) / np.exp(-d / 2).sum()
    np.testing.assert_allclose(scorers.rejection(d, 2.0), d * (1 - softmin))
    np.testing.assert_allclose(scorers.rejection(d), d * (1 - np.exp(-d) / np.exp(-d).sum()))


@pytest.mark.parametrize("name", scorers.SCORERS)
def test_unknowns_near_the_origin_score_higher(toy_outputs, name):
    test = toy_outputs(1, spread=0.5)
    score = judge_of(name, toy_outputs(unknown=0))(test).score
    assert np.median(score[test.labels < 0]) > np.quantile(score[test.labels >= 0], 0.9)


@pytest.mark.parametrize("name", scorers.SCORERS)
def test_an_image_is_judged_alone(toy_outputs, name):
    judge, test = judge_of(name, toy_outputs(unknown=0)), toy_outputs(1)
    together = judge(test)
    for i in (0, 7, len(test) - 1):
        alone = judge(Outputs.of_images(test.logits[i : i + 1], test.features[i : i + 1]))
        assert alone.score[0] == pytest.approx(together.score[i], rel=1e-12)
        assert alone.label[0] == together.label[i]


@pytest.mark.parametrize("name", scorers.SCORERS)
def test_no_images_give_an_empty_verdict(toy_outputs, name):
    verdict = judge_of(name, toy_outputs(unknown=0))(Outputs.of_images(np.zeros((0, 4)), np.zeros((0, 6))))
    assert len(verdict.score) == len(verdict.label) == 0


@pytest.mark.parametrize("name", scorers.SCORERS)
def test_logits_of_a_thousand_do_not_overflow(toy_outputs, name):
    logits = np.array([[1e3, -1e3, 0, 0], [-1e4, -1e4, -1e4, -1e4]], np.float32)
    score = judge_of(name, toy_outputs(unknown=0))(Outputs.of_images(logits, np.zeros((2, 6)))).score
    assert np.isfinite(score).all()


def test_scores_of_half_precision_are_those_of_the_same_numbers_in_double(toy_outputs):
    test = toy_outputs(1)  # logits are halves: exact in every precision
    for name in scorers.SCORERS:
        judge = judge_of(name, toy_outputs(unknown=0))
        half = judge(replace(test, logits=test.logits.astype(np.float16))).score
        double = judge(replace(test, logits=test.logits.astype(np.float64))).score
        np.testing.assert_allclose(half, double, rtol=1e-9, err_msg=name)


def test_sure_images_still_differ_in_msp():
    logits = np.array([[50.0, 0, 0], [60.0, 0, 0]])
    sure, surer = scorers.msp(None)(Outputs.of_images(logits, logits)).score
    assert sure == pytest.approx(2 * math.exp(-50), rel=1e-12)
    assert surer == pytest.approx(2 * math.exp(-60), rel=1e-12)


def test_distances_are_exact_beside_a_centre():
    centre = np.array([[1000.0, -2000.0, 500.0]])
    beside = np.array([[1000.0 + 1e-9, -2000.0, 500.0]])
    assert scorers.distances(beside, centre)[0, 0] == pytest.approx(1e-9, rel=1e-3)
    assert scorers.distances(centre, centre)[0, 0] == 0


def test_class_means_are_over_the_images_classified_right():
    logits = np.array([[4.0, 0], [2.0, 0], [0, 9.0], [0, 3.0]])
    train = replace(Outputs.of_images(logits, logits), labels=np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(scorers.class_means(train), [[3, 0], [0, 3]])


def test_a_class_that_is_never_right_takes_the_mean_over_all_its_images():
    logits = np.array([[4.0, 0], [2.0, 0], [6.0, 1]])
    train = replace(Outputs.of_images(logits, logits), labels=np.array([0, 1, 1]))
    np.testing.assert_array_equal(scorers.class_means(train), [[4, 0], [4, 0.5]])


def test_a_class_without_training_images_is_named():
    logits = np.zeros((2, 3))
    train = replace(Outputs.of_images(logits, logits), labels=np.array([0, 2]))
    with pytest.raises(ValueError, match="no image of class 1"):
        judge_of("gamma", train)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("gama", {}, r"no scorer 'gama'.*gamma, distance, msp, max_logit, energy"),
        ("gamma", {"heat": 1}, "gamma has no option heat; it takes centres, temperature"),
        ("max_logit", {"temperature": 1}, "max_logit has no option temperature; it takes none"),
        ("gamma", {"centres": "middle"}, "no kind of centres 'middle'.*means, anchors"),
        ("gamma", {"temperature": "warm"}, "gamma's temperature must be a number, not 'warm'"),
        *[(name, {"temperature": 0}, "temperature must be a positive number") for name in ("gamma", "msp", "energy")],
        *[("energy", {"temperature": t}, "temperature must be a positive") for t in (-1, math.nan, math.inf, "nan")],
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(toy_outputs, name, options, says):
    with pytest.raises(ValueError, match=says):
        judge_of(name, toy_outputs(unknown=0), **options)


def test_a_run_without_anchors_is_told_to_take_the_means(toy_outputs):
    train = replace(toy_outputs(unknown=0), anchors=None)
    with pytest.raises(ValueError, match="without anchors; take centres=means"):
        judge_of("gamma", train, centres="anchors")


def test_options_come_from_the_signature():
    assert scorers.scorer_options("gamma") == {"centres": "means", "temperature": 1.0}
    assert scorers.scorer_options("max_logit") == {}


def test_an_option_in_words_is_its_number(toy_outputs):
    train, test = toy_outputs(unknown=0), toy_outputs(1)
    in_words, number = (judge_of("energy", train, temperature=t)(test).score for t in ("2", 2.0))
    np.testing.assert_array_equal(in_words, number)


@pytest.mark.parametrize(("method", "scorer"), [("cac", "gamma"), ("cross_entropy", "msp"), ("a new one", "gamma")])
def test_each_method_has_the_score_of_its_paper(method, scorer):
    assert scorers.default_for(method) == scorer


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": np.zeros(3, int)}, "3 labels for 5 images"),
        ({"features": np.zeros((4, 6))}, "4 features for 5 images"),
        ({"features": np.zeros(5)}, "features are"),
        ({"mirrored": np.zeros(0, bool)}, "0 mirrored for 5 images"),
        ({"anchors": np.eye(3)}, r"anchors \[4, 4\], not \(3, 3\)"),
        ({"labels": np.array([0, 1, 2, 3, 4])}, "between -1 and 3; these go from 0 to 4"),
        ({"labels": np.array([0, 1, 2, 3, -2])}, "between -1 and 3; these go from -2 to 3"),
    ],
)
def test_outputs_that_do_not_belong_together_are_refused(toy_outputs, change, says):
    with pytest.raises(ValueError, match=says):
        replace(toy_outputs(known=5, unknown=0), **change)
