"""Comparing runs: the bootstrap against a plain loop, intervals that hold what they should, nothing paired wrongly."""

import json

import numpy as np
import pytest

from cac_core import runs
from cac_core.results import compare
from cac_core.results.compare import Member, Scored
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from tests import reference

SPLIT = ("digits", "osrci", "0", (0, 1), (2, 3), "d")


def made(seed=0, known=60, unknown=40, gap=1.0, split=SPLIT, run_seed=0, wrong=0.1, ties=True) -> Scored:
    """Scores of knowns about 0 and of unknowns about gap, rounded so that some tie."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(known) % 2, np.full(unknown, -1)]
    score = rng.normal(np.where(labels < 0, gap, 0.0))
    label = np.where(rng.random(len(labels)) < wrong, 1 - labels % 2, labels % 2)
    score = score.round(1) if ties else score
    return Scored(
        f"run-{seed}", run_seed, split, 1.0, Verdict(score, label), labels, labels % 10, np.arange(len(labels))
    )


def one(run: Scored, name="one") -> Member:
    return Member(name, (run,))


# --- the bootstrap ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known, unknown", [(60, 40), (7, 31), (40, 3)])
def test_the_bootstrap_is_the_plain_loop(known, unknown, monkeypatch):
    run, resamples = made(known=known, unknown=unknown), 25
    monkeypatch.setattr(compare, "CHUNK", 4 * (known + unknown))  # several chunks, the last of them not full
    got = compare.resampled(run, resamples, seed=3)
    draws = [np.random.default_rng([3, side]) for side in (0, 1)]
    k, u = np.flatnonzero(run.labels >= 0), np.flatnonzero(run.labels < 0)
    for b in range(resamples):
        rows = np.r_[k[draws[0].integers(0, known, known)], u[draws[1].integers(0, unknown, unknown)]]
        labels, scores, named = (x[rows].tolist() for x in (run.labels, run.test.score, run.test.label))
        unknown_scores = [s for s, y in zip(scores, labels, strict=True) if y < 0]
        assert got["accuracy"][b] == pytest.approx(sum(map(int.__eq__, named, labels)) / known)
        assert got["oscr"][b] == pytest.approx(reference.oscr(scores, named, labels))
        assert got["fpr_at_95_knowns_kept"][b] == pytest.approx(reference.fpr_at_95_knowns_kept(scores, labels))
        assert got["unknowns_caught"][b] == pytest.approx(sum(s > run.theta for s in unknown_scores) / unknown)


def test_the_same_seed_draws_the_same_images_for_every_run():
    same = compare.resampled(made(), 10, seed=1)
    moved = compare.resampled(made(), 10, seed=2)
    assert all((same[m] == compare.resampled(made(), 10, seed=1)[m]).all() for m in same)
    assert any((same[m] != moved[m]).any() for m in same)


def test_without_unknowns_or_knowns_what_cannot_be_said_is_nan():
    assert np.isnan(compare.resampled(made(unknown=0), 5)["oscr"]).all()
    assert np.isnan(compare.resampled(made(known=0), 5)["accuracy"]).all()
    found = compare.differences(one(made(unknown=0)), one(made(1, unknown=0), "other"))
    assert [d.measure for d in found if not np.isnan(d.gap)] == ["accuracy"]
    assert "do not give" in compare.said(found[0])[0]


def test_intervals_of_paired_runs_hold_the_truth_about_as_often_as_they_say():
    """Two scores of the same images that share half of their noise; 95 % intervals, 150 simulated tests of each."""
    truth = {"unknowns_caught": 0.0, "auroc": 0.0}
    hits = dict.fromkeys(truth, 0)
    for trial in range(150):
        rng = np.random.default_rng(trial)
        labels = np.r_[np.arange(120) % 2, np.full(80, -1)]
        common = rng.normal(size=200) + np.where(labels < 0, 1.5, 0)
        pair = [Scored("r", 0, SPLIT, 1.0, Verdict(common + rng.normal(size=200), labels % 2), labels, labels % 10,
                       np.arange(200)) for _ in "ab"]  # fmt: skip
        found = compare.differences(one(pair[0]), one(pair[1], "other"), lambda run: compare.resampled(run, 300))
        for d in found:
            hits[d.measure] = hits.get(d.measure, 0) + (d.low <= truth.get(d.measure, 0.0) <= d.high)
    for name in truth:
        assert 0.88 <= hits[name] / 150 <= 1.0, (name, hits[name])
    assert hits["unknowns_caught"] < 150  # and they are not so wide that they say nothing


# --- differences -----------------------------------------------------------------------------------------------------


def test_a_run_against_itself_is_exactly_nothing():
    run = made()
    for d in compare.differences(one(run), one(run, "again")):
        assert d.gap == d.low == d.high == 0 and not d.sure and d.paired == "images"
        assert compare.said(d)[0].endswith("exactly the same.")


def test_differences_turn_their_sign_with_the_order():
    a, b = one(made(0)), one(made(1, gap=2.0), "other")
    for there, back in zip(compare.differences(a, b), compare.differences(b, a), strict=True):
        assert (there.gap, there.low, there.high) == pytest.approx((-back.gap, -back.high, -back.low))
        assert there.low <= there.gap <= there.high
        assert compare.said(there)[1].get("better") == compare.said(back)[1].get("better")


def test_the_auroc_of_two_runs_is_delongs():
    a, b = made(0), made(1, gap=2.0)
    found = compare.differences(one(a), one(b, "other"))[0]
    assert (found.gap, found.low, found.high) == metrics.delong_difference(a.test, b.test, a.labels)


def other_trial(n: int) -> tuple:
    return (*SPLIT[:2], str(n), (n, n + 1), (2, 3), "d")


def test_groups_are_paired_by_trial_with_a_t_interval():
    """gaps 0.1, 0.2, 0.6 of accuracy: mean 0.3, sd 0.2646, t(2) 4.303, so 0.3 ± 0.657."""
    mine = tuple(accurate(right, other_trial(n)) for n, right in enumerate((7, 8, 9)))
    theirs = tuple(accurate(right, other_trial(n)) for n, right in enumerate((6, 6, 3)))
    found = {d.measure: d for d in compare.differences(Member("a", mine), Member("b", theirs))}["accuracy"]
    assert (found.paired, found.pairs) == ("trials", 3) and found.gap == pytest.approx(0.3)
    assert found.high - found.gap == pytest.approx(4.3027 * 0.26458 / 3**0.5, rel=1e-4)
    assert found.gap - found.low == pytest.approx(found.high - found.gap)


def accurate(right: int, split: tuple, seed: int = 0) -> Scored:
    """Ten known images of which so many are named right, and two unknown ones."""
    labels = np.r_[np.zeros(10, int), -1, -1]
    verdict = Verdict(np.arange(12.0), np.where(np.arange(12) < right, 0, 1))
    return Scored("r", seed, split, 9.5, verdict, labels, labels % 10, np.arange(12))


def test_seeds_of_a_trial_count_once():
    """Two seeds on trial 0 are averaged before trials are compared: gaps (0.1 + 0.3) / 2 and 0.2."""
    mine = (accurate(7, other_trial(0)), accurate(9, other_trial(0), 1), accurate(8, other_trial(1)))
    theirs = (accurate(6, other_trial(0)), accurate(6, other_trial(0), 1), accurate(6, other_trial(1)))
    found = compare.differences(Member("a", mine), Member("b", theirs))[1]
    assert found.gap == pytest.approx(0.2) and found.pairs == 2 and found.low == pytest.approx(found.high, abs=1e-12)


def test_on_one_trial_groups_are_paired_by_seed_or_not_at_all():
    mine = tuple(accurate(right, SPLIT, seed) for seed, right in enumerate((7, 8, 9)))
    theirs = tuple(accurate(6, SPLIT, seed) for seed in (0, 1))
    found = compare.differences(Member("a", mine), Member("b", theirs))[1]
    assert (found.paired, found.pairs, found.gap) == ("seeds", 2, pytest.approx(0.15))
    apart = compare.differences(Member("a", mine), Member("b", (accurate(6, SPLIT, 7), accurate(6, SPLIT, 8))))[1]
    assert (apart.paired, apart.why) == ("", compare.TOO_FEW) and np.isnan(apart.low) and not apart.sure


@pytest.mark.parametrize("place, value, why", [
    (0, "MNIST", compare.OTHER_FIELD), (1, "cac", compare.OTHER_FIELD), (2, "1", compare.OTHER_TRIALS),
    (3, (0, 4), compare.OTHER_TRIALS), (4, (5,), compare.OTHER_TRIALS), (5, "e", compare.OTHER_TRIALS),
])  # fmt: skip
def test_runs_on_other_splits_are_never_paired(place, value, why):
    other = made(1, split=(*SPLIT[:place], value, *SPLIT[place + 1 :]))
    for d in compare.differences(one(made()), one(other, "other")):
        assert (d.paired, d.why) == ("", why) and np.isnan([d.low, d.high]).all() and not d.sure
        assert "cannot be paired" in compare.said(d)[0]
    with pytest.raises(ValueError, match="not tested on the same images"):
        compare.disagreement(made(), other)
    assert compare.differences_of_splits([one(made()), one(other)]) != []


def test_runs_on_other_images_are_not_paired_whatever_the_split_says():
    short = made(1, known=58)
    assert compare.differences(one(made()), one(short, "other"))[0].why == compare.OTHER_TRIALS


def test_groups_over_the_same_trials_are_on_the_same_splits():
    mine, theirs = (Member(n, tuple(made(i, split=other_trial(i)) for i in range(3))) for n in "ab")
    assert compare.differences_of_splits([mine, theirs]) == []
    fewer = Member("c", theirs.runs[:2])
    assert compare.differences_of_splits([mine, fewer]) == ["trial", "classes"]


@pytest.mark.parametrize("gap, low, high, measure, phrase", [
    (0.031, 0.012, 0.05, "unknowns_caught",
     "a catches 3.1 points more unknowns than b at 95 % of knowns kept (1.2 to 5.0)."),
    (-0.031, -0.05, -0.012, "unknowns_caught",
     "b catches 3.1 points more unknowns than a at 95 % of knowns kept (1.2 to 5.0)."),
    (-0.031, -0.05, -0.012, "fpr_at_95_knowns_kept",
     "a accepts 3.1 points fewer unknowns than b where 95 % of the test knowns are kept (1.2 to 5.0)."),
    (0.01, 0.0, 0.02, "auroc", "AUROC: no difference for sure between a and b (+1.0 points, +0.0 to +2.0)."),
])  # fmt: skip
def test_a_difference_in_words(gap, low, high, measure, phrase):
    words, values = compare.said(compare.Difference("a", "b", measure, gap, low, high, "images", 9))
    assert words.format(**values) == phrase


# --- curves and images -----------------------------------------------------------------------------------------------


def test_bands_are_the_mean_and_spread_of_the_curves_at_each_place():
    """On a fine grid the mean of ROC curves has the mean of their areas; each place against a plain loop."""
    member = Member("m", tuple(made(seed, split=other_trial(seed), ties=False) for seed in range(4)))
    areas = [run.numbers() for run in member.runs]
    for band, name in ((compare.roc_band(member), "auroc"), (compare.oscr_band(member), "oscr")):
        assert np.trapezoid(band.mean, compare.GRID) == pytest.approx(np.mean([a[name] for a in areas]), abs=0.01)
        assert (np.diff(band.mean) >= -1e-12).all() and (band.sd >= 0).all() and band.sd.any()
    x = 40  # of the grid: the most unknowns caught where 20 % of the knowns are rejected, of 60: 12
    caught = []
    for run in member.runs:
        k, u = (np.sort(run.test.score[mine]) for mine in (run.labels >= 0, run.labels < 0))
        caught.append(np.mean(u > k[-13]))
    assert compare.roc_band(member).mean[x] == pytest.approx(np.mean(caught))
    assert compare.roc_band(member).sd[x] == pytest.approx(np.std(caught, ddof=1))


def test_one_run_has_a_curve_and_no_band_and_no_unknowns_no_curve():
    assert not compare.roc_band(one(made())).sd.any()
    assert compare.roc_band(one(made(unknown=0))) is None and compare.oscr_band(one(made(known=0))) is None


def test_disagreement_lists_each_image_with_both_decisions():
    a, b = made(0), made(1)
    found = compare.disagreement(a, b)
    listed = {row: (x, y) for row, x, y in zip(found.rows, found.one, found.other, strict=True)}
    for row in range(len(a.labels)):
        said = [-1 if r.test.score[row] > r.theta else r.test.label[row] for r in (a, b)]
        assert (row in listed) == (said[0] != said[1])
        assert row not in listed or listed[row] == tuple(said)
    assert (found.one_right & found.other_right).sum() == 0
    assert not len(compare.disagreement(a, a).rows)


# --- members ---------------------------------------------------------------------------------------------------------


def test_means_and_deviations_over_a_group():
    group = Member("g", tuple(accurate(right, other_trial(n)) for n, right in enumerate((6, 7, 9))))
    mean, sd = group.spread()["accuracy"]
    assert mean == pytest.approx(0.7333, abs=1e-4) and sd == pytest.approx(0.15275, abs=1e-4)
    assert np.isnan(one(accurate(6, SPLIT)).spread()["accuracy"][1])


def test_a_run_is_scored_as_its_report_says(make_run):
    from cac_core.results import judge

    run = make_run()
    mine, report = compare.scored(run), judge.report(run)
    assert mine.theta == report["theta"]
    for name, value in mine.numbers().items():
        assert value == pytest.approx(report["at_theta"][name] if name == "unknowns_caught" else report[name])
    assert compare.scored(run, "distance").numbers()["auroc"] == pytest.approx(judge.report(run, "distance")["auroc"])


@pytest.fixture
def store_of(make_run):
    """store_of({"name": {recipe field: value}}): runs with these recipes."""

    def make(kinds: dict[str, dict]) -> list[runs.Run]:
        made = []
        for name, fields in kinds.items():
            run = make_run(name)
            record = json.loads((run.path / "recipe.json").read_text())
            published = {"family": "osrci", "trial": "0", "known": [], "unknown": []}
            record["recipe"] |= published | fields
            runs.write_json(run.path / "recipe.json", record)
            made.append(run)
        return made

    return make


def test_runs_of_one_recipe_are_one_group_and_a_name_says_what_differs(store_of):
    every = store_of({
        "a": {}, "b": {"trial": "1"}, "c": {"seed": 3}, "d": {"hyper": {"lam": 0.5}},
        "e": {"method": "cross_entropy"}, "f": {"hyper": {"lam": 0.5}, "seed": 1},
    })  # fmt: skip
    groups = compare.grouped(every)
    assert {name: [run.id for run in group] for name, group in groups.items()} == {
        "cac, lam default": ["a", "b", "c"], "cac, lam 0.5": ["d", "f"], "cross_entropy, lam default": ["e"],
    }  # fmt: skip
    alone = compare.grouped(every, together=False, titles={"d": "My *own*"})
    assert [len(group) for group in alone.values()] == [1] * 6 and "My *own*" in alone
    assert "cac, trial 1, seed 0, lam default" in alone


def test_equal_names_are_told_apart_by_id_and_too_many_are_refused(store_of):
    every = store_of({name: {"seed": n} for n, name in enumerate("abcdefg")})
    twice = compare.grouped(every[:2], together=False, titles={"a": "same", "b": "same"})
    assert list(twice) == ["same", "same (b)"]
    assert len(compare.grouped(every)) == 1
    with pytest.raises(ValueError, match="6 at most"):
        compare.grouped(every, together=False)


def test_custom_trials_and_imported_weights_are_groups_of_their_own(store_of):
    every = store_of({
        "a": {"family": "custom", "trial": "mine", "known": [0, 1, 2, 3], "unknown": [4]},
        "b": {"family": "custom", "trial": "yours", "known": [0, 1, 2, 3], "unknown": [4]}, "c": {},
    })  # fmt: skip
    assert len(compare.grouped(every)) == 3
    assert compare.scored(every[0]).field == ("digits", "custom (mine)")
    published = store_of({"d": {}, "e": {"trial": "1"}})
    for run, file in zip(published, ("digits_0_Kind.pth", "digits_1_Kind.pth"), strict=True):
        record = json.loads((run.path / "recipe.json").read_text())
        runs.write_json(run.path / "recipe.json", record | {"imported_from": file})
    assert list(compare.grouped([every[2], *published]).items()) == [
        ("cac, weights trained here", [every[2]]), ("cac, weights Kind.pth", published),
    ]  # fmt: skip


def test_every_two_members_are_compared_once():
    members = [one(made(seed, gap=seed), f"m{seed}") for seed in range(3)]
    found = compare.every_difference(members)
    assert {(d.one, d.other) for d in found} == {("m0", "m1"), ("m0", "m2"), ("m1", "m2")}
    assert found[: len(compare.MEASURES)] == compare.differences(*members[:2])
