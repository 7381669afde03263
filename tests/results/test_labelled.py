"""What labelled pictures of one's own say, against plain loops."""

import math

import numpy as np
import pytest

from cac_core.results import labelled, quality
from cac_core.scoring.outputs import Verdict


def some(knowns: int, unknowns: int, seed: int = 0, gap: float = 1.0) -> tuple[Verdict, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.r_[rng.integers(0, 3, knowns), np.full(unknowns, -1)].astype(int)
    score = rng.normal(size=knowns + unknowns) + gap * (labels < 0)
    return Verdict(score, rng.integers(0, 3, knowns + unknowns)), labels


def by_loops(verdict: Verdict, labels: np.ndarray, theta: float) -> dict[str, float]:
    right = kept = named = knowns = caught = unknowns = pairs = 0
    for score, nearest, label in zip(verdict.score, verdict.label, labels, strict=True):
        if label >= 0:
            knowns += 1
            right += nearest == label
            kept += score <= theta
            named += nearest == label and score <= theta
        else:
            unknowns += 1
            caught += score > theta
            for other, known in zip(verdict.score, labels, strict=True):
                pairs += (known >= 0) * (1.0 if score > other else 0.5 if score == other else 0.0)
    return {"accuracy": right / knowns, "kept": kept / knowns, "kept_and_right": named / knowns,
            "caught": caught / unknowns, "auroc": pairs / (knowns * unknowns)}  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_the_numbers_are_those_of_plain_loops(seed):
    verdict, labels = some(23, 9, seed)
    found = labelled.measured(verdict, labels, 0.3, 3)
    for name, value in by_loops(verdict, labels, 0.3).items():
        assert getattr(found, name) == pytest.approx(value), name
    assert (found.knowns, found.unknowns) == (23, 9)
    low, high = found.intervals["auroc"]
    assert low < found.auroc < high and found.quality.rests_on == labelled.OWN


@pytest.mark.parametrize(("knowns", "unknowns"), [(0, 3), (3, 0), (1, 1), (0, 1)])
def test_of_few_labels_what_cannot_be_said_is_not_said(knowns, unknowns):
    found = labelled.measured(*some(knowns, unknowns), 0.0, 3)
    assert math.isnan(found.accuracy) == (not knowns) and math.isnan(found.caught) == (not unknowns)
    assert math.isnan(found.auroc) == (not knowns or not unknowns)
    assert found.quality.word == quality.FEW


def test_many_labels_that_are_told_well_are_called_usable():
    verdict, labels = some(120, 80, gap=6.0)
    found = labelled.measured(Verdict(verdict.score, np.maximum(labels, 0)), labels, 3.0, 3)
    assert found.quality.word == quality.USABLE and "labelled by hand" in found.quality.why


@pytest.mark.parametrize("seed", range(20))
def test_a_theta_keeps_the_share_of_the_labelled_and_decides_as_the_one_that_it_was_raised_from(seed):
    verdict, labels = some(40, 12, seed)
    known = verdict.score[labels >= 0]
    theta = labelled.theta_kept(0.9, verdict, labels)
    assert (known <= theta).sum() == math.ceil(0.9 * 41) and theta not in verdict.score
    best = max(
        (np.mean(verdict.score[labels < 0] > t) - np.mean(known > t) for t in verdict.score), default=0
    )  # fmt: skip
    theta = labelled.theta_balanced(verdict, labels)
    assert np.mean(verdict.score[labels < 0] > theta) - np.mean(known > theta) == pytest.approx(best)
    assert theta not in verdict.score


def test_a_raised_theta_passes_no_score():
    scores = np.array([1.0, 1.0 + 1e-7, 5.0])
    assert scores[0] < labelled.raised(1.0, scores) < scores[1]
    assert 5.0 < labelled.raised(5.0, scores) <= 5.0 * (1 + labelled.RAISED)
    assert 0.0 < labelled.raised(0.0, np.zeros(3)) < 1e-9


def test_without_known_pictures_no_theta_is_to_be_had():
    with pytest.raises(ValueError, match="at least one known image"):
        labelled.theta_kept(0.95, *some(0, 4))
