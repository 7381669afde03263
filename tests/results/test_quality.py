"""What a run is worth, in a word: its limits, and how often the word is wrong."""

import re

import numpy as np
import pytest

from cac_core.results import judge, quality, stand_ins
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


# --- without unknown images ------------------------------------------------------------------------------------------


def stood_in(right, knowns, left_out, auroc=(0.8, 0.9)):
    return quality.of(quality.Evidence(right, knowns, 0, 0, auroc, SURE["accuracy"], 4, tuple(left_out)))


@pytest.mark.parametrize("left_out, wanted", [
    ([(19, 20), (18, 20), (20, 20), (19, 20)], quality.USABLE),
    ([(20, 20)] * 3, quality.USABLE),
    ([(19, 20), (20, 20)], quality.FEW),  # of two classes nothing is sure
    ([(12, 20), (10, 20), (14, 20)], quality.FEW),
    ([(12, 20), (10, 20), (14, 20), (13, 20), (9, 20), (11, 20), (12, 20), (10, 20), (13, 20), (12, 20)],
     quality.USABLE),
    ([(20, 20), (0, 20), (20, 20), (0, 20)], quality.FEW),  # it hangs on the class
    ([(1, 20), (0, 20), (2, 20), (1, 20), (0, 20), (0, 20), (1, 20), (2, 20), (0, 20), (1, 20)], quality.WEAK),
])  # fmt: skip
def test_classes_left_out_stand_in_for_unknown_ones_each_as_one_draw(left_out, wanted):
    found = stood_in(95, 100, left_out)
    assert found.word == wanted and found.rests_on == quality.LEFT_OUT
    assert "no unknown images are here, so this is estimated by leaving " in found.why
    assert stood_in(50, 100, left_out).word in (quality.WEAK, quality.FEW) and stood_in(0, 0, left_out).rests_on is None
    assert stood_in(60, 100, [(20, 20)] * 6).word != quality.USABLE


def test_chance_is_said_by_the_aurocs_of_classes_left_out():
    assert stood_in(95, 100, [(1, 20)] * 6, auroc=(0.4, 0.6)).word == quality.CHANCE
    assert stood_in(95, 100, [(1, 20)] * 6, auroc=(0.4, 0.8)).word == quality.WEAK


def test_how_many_unknown_images_would_tell_is_said_where_it_cannot_be_told():
    said = stood_in(95, 100, [(12, 20), (10, 20), (14, 20)]).advice
    count = int(re.search(r"tell: (\d+) of them", said)[1])
    share = 36 / 60
    for n, close in ((count, True), (count - 1, False)):
        low, high = metrics.wilson(share * n, n)
        assert (high - low <= 0.2) is close


@pytest.mark.parametrize("classes", [3, 6, 10])
@pytest.mark.parametrize("images", [10, 50])
@pytest.mark.parametrize("right, caught", [(0.95, 0.3), (0.62, 0.8), (0.95, 0.1), (0.69, 0.33)])
@pytest.mark.parametrize("alike", [0.5, 3, 30])
def test_without_unknown_images_what_is_not_usable_is_seldom_called_so(classes, images, right, caught, alike):
    """True quality is known: the share of an unknown class that is caught is drawn from a Beta with this mean, from all
    or nothing to much alike; the classes left out are draws from the same."""
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        shares = rng.beta(alike * caught, alike * (1 - caught), classes)
        hits = rng.binomial(images, shares)
        knowns = classes * images
        found.append(stood_in(int(rng.binomial(knowns, right)), knowns, [(int(h), images) for h in hits]).word)
    assert np.mean([w == quality.USABLE for w in found]) < 0.05


@pytest.mark.parametrize("classes, least", [(3, 0.5), (6, 0.9), (10, 0.95)])
def test_without_unknown_images_what_is_good_is_called_usable(classes, least):
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        hits = rng.binomial(40, rng.beta(30 * 0.9, 30 * 0.1, classes))
        found.append(stood_in(int(rng.binomial(200, 0.95)), 200, [(int(h), 40) for h in hits]).word)
    assert np.mean([w == quality.USABLE for w in found]) >= least and quality.WEAK not in found


def test_random_scores_are_never_usable_by_classes_left_out():
    rng, found = np.random.default_rng(1), []
    for _ in range(200):
        new, strangers = rng.normal(size=120), [rng.normal(size=20) for _ in range(6)]
        one = stand_ins.estimate(_counted(new, strangers), "msp", 0.95, 6)
        ends = metrics.over_classes(one.aurocs, 120)
        found.append(stood_in(114, 120, [(h, of) for _, h, of in one.classes], auroc=ends).word)
    assert quality.USABLE not in found and np.mean([w == quality.CHANCE for w in found]) > 0.5


def _counted(new, strangers):
    parts = np.array_split(new, len(strangers))
    return stand_ins.counted({"msp": parts}, {"msp": strangers}, range(len(strangers)))


def test_a_good_run_is_usable_from_its_report_and_says_what_it_keeps_and_catches():
    run = Run(ROOT / "checkpoints" / "mnist-osrci-0-cac-plain-s0-5ee7dbb1")
    numbers = run.report()["scorers"]["gamma"]
    found = quality.of_report(numbers, run)
    assert found.word == quality.USABLE and found.advice is None
    assert f"{numbers['knowns']} known" in found.why and f"{numbers['unknowns']} unknown" in found.why
    assert found.record() == {"word": "usable", "why": str(found.why), "rests_on": "the unknown test images"}


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


def test_an_interval_holds_the_share_that_it_is_of_in_words_too():
    for n in (5, 19, 144, 3000):
        assert str(quality._share(n, n, metrics.wilson(n, n))).startswith("100 % (")
        assert str(quality._share(n, n, metrics.wilson(n, n))).endswith("to 100 %)")
        assert "(0 % to" in str(quality._share(0, n, metrics.wilson(0, n)))
    assert "to 99 %)" in str(quality._share(2990, 3000, (0.99, 0.999)))


def test_a_run_that_loses_a_class_for_sure_is_not_usable_however_few_its_images(make_run):
    run, sure = make_run(), {"auroc": (0.9, 0.95), "accuracy": (0.9, 0.99)}
    good = [[50, 0, 0, 0, 2], [0, 50, 0, 0, 1], [0, 0, 50, 0, 2], [0, 0, 0, 5, 0], [0, 0, 0, 0, 40]]
    assert quality.of_counts(good, sure, run, "gamma", None).word == quality.USABLE
    lost = [*good[:3], [0, 5, 0, 0, 1], good[4]]  # 150 of 161 are right: 93 %
    found = quality.of_counts(lost, sure, run, "gamma", None)
    assert found.word == quality.WEAK and found.why.endswith("but of 3 only 0 of 6 are kept and named right")
    assert "More images of 3" in found.advice
    perhaps = [*good[:3], [0, 2, 0, 3, 1], good[4]]  # may be 81 %
    assert quality.of_counts(perhaps, sure, run, "gamma", None).word == quality.USABLE
