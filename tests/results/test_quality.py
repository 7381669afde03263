"""What a run is worth, in a word: its limits, and how often the word is wrong."""

import re

import numpy as np
import pytest

from cac_core.results import judge, quality
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from tests.test_house import ROOT

SURE = {"auroc": (0.8, 0.9), "accuracy": (0.8, 0.95), "classes": 4}


def word(right, knowns, caught, unknowns, **more):
    return quality.of(quality.Evidence(right, knowns, caught, unknowns, **(SURE | more))).word


@pytest.mark.parametrize("seen, wanted", [
    ((90, 100, 60, 100), quality.USABLE),
    ((79, 100, 43, 100), quality.USABLE),  # 70.0 % and 33.7 % at least
    ((78, 100, 43, 100), quality.WEAK),  # 68.9 %, and close enough to tell
    ((600, 1000, 900, 1000), quality.WEAK),
    ((990, 1000, 50, 1000), quality.WEAK),
    ((9, 10, 9, 10), quality.FEW),
    ((24, 24, 3, 8), quality.FEW),
    ((20, 20, 20, 20), quality.USABLE),  # so few are enough where all is right
    ((0, 0, 5, 10), quality.FEW),
    ((9, 10, 0, 0), quality.FEW),
    ((1, 20, 20, 20), quality.WEAK),  # that it is bad is sure
])  # fmt: skip
def test_the_words_go_by_the_ends_of_intervals(seen, wanted):
    assert word(*seen) == wanted


def test_chance_is_said_where_it_may_be_and_more_cannot():
    assert word(12, 24, 0, 16, auroc=(0.2, 0.57), accuracy=(0.31, 0.69), classes=3) == quality.CHANCE
    assert word(12, 24, 0, 16, auroc=(0.2, 0.8)) != quality.CHANCE  # too wide to say so
    assert word(12, 24, 0, 16, auroc=(0.51, 0.7)) != quality.CHANCE
    assert word(30, 100, 90, 100, accuracy=(0.2, 0.4), classes=4) == quality.CHANCE  # names by guessing
    assert word(95, 100, 90, 100, auroc=(0.45, 0.55)) == quality.USABLE  # theta does what it should


def test_how_many_images_are_missing_is_enough():
    found = quality.of(quality.Evidence(14, 18, 3, 7, **SURE))
    said = re.search(r"take (\d+) more known test images and (\d+) more unknown test images$", found.why)
    more = int(said[1]), int(said[2])
    assert found.word == quality.FEW and all(more)
    for hits, of, lacking in ((14, 18, more[0]), (3, 7, more[1])):
        for n, close in ((of + lacking, True), (of + lacking - 1, False)):
            low, high = metrics.wilson(round(hits * n / of), n)
            assert (high - low <= 0.2) is close


def test_only_the_images_that_are_missing_are_asked_for():
    """23 of 24 knowns are enough for an interval of ± 10 points, 5 of 16 unknowns are not."""
    why = quality.of(quality.Evidence(23, 24, 5, 16, **SURE)).why
    assert why.endswith("; intervals of ± 10 points take 64 more unknown test images")


@pytest.mark.parametrize("known, caught, good", [(0.62, 0.6, False), (0.9, 0.25, False), (0.5, 0.1, False)])
@pytest.mark.parametrize("n", [8, 20, 50, 200])
def test_what_is_not_usable_is_seldom_called_so(known, caught, good, n):
    rng = np.random.default_rng(0)
    drawn = zip(rng.binomial(n, known, 2000), rng.binomial(n, caught, 2000), strict=True)
    assert np.mean([word(r, n, c, n) == quality.USABLE for r, c in drawn]) <= 0.05


@pytest.mark.parametrize("n", [100, 400])
def test_random_scores_are_called_no_better_than_chance(n):
    rng, found = np.random.default_rng(1), []
    labels = np.r_[np.arange(n) % 4, np.full(n, -1)]
    for _ in range(100):
        verdict = Verdict(rng.normal(size=2 * n), np.r_[labels[:n], np.zeros(n, int)])
        theta = metrics.theta_at(0.95, rng.normal(size=n))
        sure = metrics.intervals(verdict, labels, theta)
        table = metrics.confusion(theta, verdict, labels, 4)
        seen = quality.Evidence(
            int(np.trace(table[:4, :4])), n, int(table[4, 4]), n, sure["auroc"], sure["accuracy"], 4
        )
        found.append(quality.of(seen).word)
    assert np.mean([w == quality.CHANCE for w in found]) >= 0.9 and quality.USABLE not in found


def test_a_good_run_is_usable_from_its_report_and_says_what_it_keeps_and_catches():
    run = Run(ROOT / "checkpoints" / "mnist-osrci-0-cac-plain-s0-5ee7dbb1")
    numbers = run.report()["scorers"]["gamma"]
    found = quality.of_report(numbers, run)
    assert found.word == quality.USABLE and found.advice is None
    assert f"{numbers['knowns']} known" in found.why and f"{numbers['unknowns']} unknown" in found.why
    assert found.record() == {"word": "usable", "why": str(found.why)}


def test_advice_names_the_class_that_is_told_worst():
    run = Run(ROOT / "checkpoints" / "digits-osrci-0-cac-small-s0")
    names = run.known_names
    classes = len(names)
    confusion = [[10 if c == row else 0 for c in range(classes + 1)] for row in range(classes + 1)]
    confusion[2] = [0, 0, 3, 6, *[0] * (classes - 4), 1]
    said = quality.advice(confusion, run)
    assert f"More images of {names[2]} " in said and "3 of its 10" in said and f"taken for {names[3]}" in said
    colours = Run(ROOT / "checkpoints" / "cifar10-osrci-0-cac-plain-s0-fbb51db0")
    assert "trained on many photographs before" in quality.advice(confusion, colours)


def test_every_bundled_run_has_a_word():
    for path in sorted((ROOT / "checkpoints").iterdir()):
        if (path / "report.json").exists():
            run = Run(path)
            report = judge.report(run)
            assert quality.of_report(report, run) == quality.of_report(judge.plain(report), run)
