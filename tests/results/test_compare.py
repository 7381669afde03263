"""Comparing runs: the bootstrap against a plain loop, intervals that hold what they should, nothing paired wrongly."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cac_core import runs
from cac_core.recipe import compose
from cac_core.results import compare
from cac_core.results.compare import Member, Scored
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from cac_core.sentences import Sentence
from tests import reference

SPLIT = ("digits", "osrci", "0", (0, 1), (2, 3), "d")


def made(seed=0, known=60, unknown=40, gap=1.0, split=SPLIT, run_seed=0, wrong=0.1, ties=True) -> Scored:
    """Scores of knowns about 0 and of unknowns about gap, rounded so that some tie."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(known) % 2, np.full(unknown, -1)]
    score = rng.normal(np.where(labels < 0, gap, 0.0))
    label = np.where(rng.random(len(labels)) < wrong, 1 - labels % 2, labels % 2)
    validation = rng.normal(size=33)
    score, validation = (x.round(1) if ties else x for x in (score, validation))
    return Scored(
        f"run-{seed}", run_seed, split, validation, Verdict(score, label), labels, labels % 10, np.arange(len(labels))
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
    draw_validation, knowns = np.random.default_rng([3, 2, run.seed]), np.r_[run.validation, run.test.score[:known]]
    k, u = np.flatnonzero(run.labels >= 0), np.flatnonzero(run.labels < 0)
    for b in range(resamples):
        rows = np.r_[k[draws[0].integers(0, known, known)], u[draws[1].integers(0, unknown, unknown)]]
        labels, scores, named = (x[rows].tolist() for x in (run.labels, run.test.score, run.test.label))
        theta = metrics.theta_at(0.95, knowns[draw_validation.integers(0, 33 + known, 33)])
        sides = [[s for s, y in zip(scores, labels, strict=True) if (y < 0) == side] for side in (False, True)]
        assert got["accuracy"][b] == pytest.approx(sum(map(int.__eq__, named, labels)) / known)
        assert got["oscr"][b] == pytest.approx(reference.oscr(scores, named, labels))
        assert got["fpr_at_95_knowns_kept"][b] == pytest.approx(reference.fpr_at_95_knowns_kept(scores, labels))
        assert got["knowns_kept"][b] == pytest.approx(sum(s <= theta for s in sides[0]) / known)
        assert got["unknowns_caught"][b] == pytest.approx(sum(s > theta for s in sides[1]) / unknown)


def test_the_same_seed_draws_the_same_images_for_every_run():
    same = compare.resampled(made(), 10, seed=1)
    moved = compare.resampled(made(), 10, seed=2)
    assert all((same[m] == compare.resampled(made(), 10, seed=1)[m]).all() for m in same)
    assert any((same[m] != moved[m]).any() for m in same)
    other = replace(made(), seed=1)  # another seed has other validation images, and the same test images
    apart = {m for m in same if (same[m] != compare.resampled(other, 10, seed=1)[m]).any()}
    assert apart == set(compare.AT_THETA)


def test_without_unknowns_or_knowns_what_cannot_be_said_is_nan():
    assert np.isnan(compare.resampled(made(unknown=0), 5)["oscr"]).all()
    assert np.isnan(compare.resampled(made(known=0), 5)["accuracy"]).all()
    found = compare.differences(one(made(unknown=0)), one(made(1, unknown=0), "other"))
    assert [d.measure for d in found if not np.isnan(d.gap)] == ["accuracy", "knowns_kept"]
    assert "do not give" in compare.said(found[0])[0]


def test_intervals_of_paired_runs_hold_the_truth_about_as_often_as_they_say():
    """Two scores of the same images that share half of their noise; 95 % intervals, 150 simulated tests of each.

    Each run has 40 validation images of its own, so that their theta keep 88 to 99 % of the knowns: what differs at
    theta is the luck of the validation images too.
    """
    hits = dict.fromkeys(set(compare.MEASURES) - {"accuracy"}, 0)
    for trial in range(150):
        rng = np.random.default_rng(trial)
        labels = np.r_[np.arange(120) % 2, np.full(80, -1)]
        common = rng.normal(size=200) + np.where(labels < 0, 1.5, 0)
        verdicts = [Verdict(common + rng.normal(size=200), labels % 2) for _ in "ab"]
        pair = [Scored("r", seed, SPLIT, rng.normal(size=40) * 2**0.5, verdict, labels, labels % 10, np.arange(200))
                for seed, verdict in enumerate(verdicts)]  # fmt: skip
        found = compare.differences(one(pair[0]), one(pair[1], "other"), lambda run: compare.resampled(run, 300))
        for d in found:
            if d.measure in hits:
                hits[d.measure] += not d.sure
    assert all(0.88 <= hit / 150 <= 1.0 for hit in hits.values()), hits
    assert hits["auroc"] < 150  # and they are not so wide that they say nothing


def test_seeds_of_one_recipe_are_not_told_apart_by_the_luck_of_their_validation_images():
    """Six times ten pairs of runs with scores that are alike. With theta held as it is, half of them catch more for
    sure; at an equal share of knowns kept, and with theta drawn too, about one in twenty does."""
    sure = dict.fromkeys(compare.MEASURES, 0)
    for world in range(6):
        rng = np.random.default_rng(world)
        labels = np.r_[np.arange(215) % 2, np.full(144, -1)]
        common = rng.normal(size=359) + np.where(labels < 0, 3.2, 0)
        runs = [
            replace(made(known=215, unknown=144), seed=seed, labels=labels, validation=rng.normal(size=60),
                    test=Verdict(common + 0.2 * rng.normal(size=359), labels % 2))
            for seed in range(5)
        ]  # fmt: skip
        kept = [run.numbers()["knowns_kept"] for run in runs]
        assert max(kept) - min(kept) > 0.03
        found = compare.every_difference([one(run, f"seed {run.seed}") for run in runs])
        assert len(found) == 10 * len(compare.MEASURES)
        for d in found:
            sure[d.measure] += d.sure
    assert max(sure.values()) <= 6, sure  # of 60


# --- differences -----------------------------------------------------------------------------------------------------


def test_a_run_against_itself_is_exactly_nothing():
    run = made()
    for d in compare.differences(one(run), one(run, "again")):
        assert d.gap == d.low == d.high == 0 and not d.sure and d.over == "images" and not d.speaks
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
    assert (found.over, found.count) == ("trials", 3) and found.speaks and found.gap == pytest.approx(0.3)
    assert found.high - found.gap == pytest.approx(4.3027 * 0.26458 / 3**0.5, rel=1e-4)
    assert found.gap - found.low == pytest.approx(found.high - found.gap)


def accurate(right: int, split: tuple, seed: int = 0) -> Scored:
    """Ten known images of which so many are named right, and two unknown ones."""
    labels = np.r_[np.zeros(10, int), -1, -1]
    verdict = Verdict(np.arange(12.0), np.where(np.arange(12) < right, 0, 1))
    return Scored("r", seed, split, np.array([9.5]), verdict, labels, labels % 10, np.arange(12))


def test_seeds_of_a_trial_count_once():
    """Two seeds on trial 0 are averaged before trials are compared: gaps (0.1 + 0.3) / 2 and 0.2."""
    mine = (accurate(7, other_trial(0)), accurate(9, other_trial(0), 1), accurate(8, other_trial(1)))
    theirs = (accurate(6, other_trial(0)), accurate(6, other_trial(0), 1), accurate(6, other_trial(1)))
    found = compare.differences(Member("a", mine), Member("b", theirs))[1]
    assert found.gap == pytest.approx(0.2) and found.count == 2 and found.low == pytest.approx(found.high, abs=1e-12)
    assert not found.speaks  # two trials are too few


def test_one_weighting_for_the_table_and_the_difference():
    """Three seeds on trial 0 and one on trial 1 against one and three: over runs 0.625 and 0.675, over trials 0.65 and
    0.6. Each trial counts once, so that the table and the difference point the same way."""
    easy, hard = other_trial(0), other_trial(1)
    mine = Member("a", (*(accurate(5, hard, seed) for seed in range(3)), accurate(8, easy)))
    theirs = Member("b", (accurate(4, hard), *(accurate(8, easy, seed) for seed in range(3))))
    assert mine.splits == theirs.splits and mine.trials == ["0", "1"]
    assert np.mean([run.numbers()["accuracy"] for run in mine.runs]) < np.mean(
        [run.numbers()["accuracy"] for run in theirs.runs]
    )
    (mean, sd), (other, _) = (member.spread()["accuracy"] for member in (mine, theirs))
    assert (mean, other) == pytest.approx((0.65, 0.6)) and sd == pytest.approx(0.3 / 2**0.5)
    found = compare.differences(mine, theirs)[1]
    assert (found.over, found.count, found.gap) == ("trials", 2, pytest.approx(0.05))


def test_what_stands_in_one_table_differs_as_its_differences_say():
    rng = np.random.default_rng(0)
    for _ in range(20):
        members = [
            Member(name, tuple(made(int(rng.integers(1e6)), split=other_trial(n), run_seed=seed)
                               for n in range(3) for seed in range(rng.integers(1, 4)))) for name in "ab"
        ]  # fmt: skip
        for d in compare.differences(*members):
            table = [member.spread()[d.measure][0] for member in members]
            assert d.gap == pytest.approx(table[0] - table[1])


def test_on_one_trial_the_same_seeds_are_paired_and_others_stand_apart():
    """gaps 0.1, 0.2, 0.3 by seed; apart, Welch's interval by SciPy, about the difference of the table."""
    from scipy import stats

    rights = (7, 8, 9), (6, 6, 6)
    mine, theirs = (tuple(accurate(right, SPLIT, seed) for seed, right in enumerate(side)) for side in rights)
    found = compare.differences(Member("a", mine), Member("b", theirs[::-1]))[1]
    assert (found.over, found.count, found.gap) == ("seeds", 3, pytest.approx(0.2)) and found.speaks
    assert found.high - found.gap == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    others = tuple(accurate(right, SPLIT, seed) for seed, right in ((7, 4), (8, 7), (9, 5), (3, 5)))
    found = compare.differences(Member("a", mine), Member("b", others))[1]
    welch = stats.ttest_ind([0.7, 0.8, 0.9], [0.4, 0.7, 0.5, 0.5], equal_var=False).confidence_interval()
    assert (found.over, found.count, found.gap) == ("seeds", 3, pytest.approx(0.275))
    assert (found.low, found.high) == pytest.approx(tuple(welch))
    alone = compare.differences(Member("a", mine), one(accurate(6, SPLIT, 7)))[1]
    assert (alone.over, alone.why) == ("", compare.TOO_FEW) and np.isnan(alone.low) and not alone.sure


def test_seeds_that_all_give_the_same_differ_by_a_point():
    sides = [tuple(accurate(right, SPLIT, seed) for seed in seeds) for right, seeds in ((7, (0, 1)), (6, (2, 3)))]
    found = compare.differences(Member("a", sides[0]), Member("b", sides[1]))[1]
    assert found.gap == found.low == found.high == pytest.approx(0.1)


def test_what_speaks_about_methods_is_over_three_trials_or_seeds():
    mine, theirs = (tuple(accurate(right, SPLIT, seed) for seed in range(3)) for right in (7, 6))
    members = [Member("a", mine), Member("b", theirs), Member("c", theirs[:2]), one(theirs[0], "d")]
    found = compare.over_recipes(members)
    assert {(d.one, d.other, d.over, d.count) for d in found} == {("a", "b", "seeds", 3)}
    assert compare.over_recipes(members[1:]) == []


@pytest.mark.parametrize("place, value, why", [
    (0, "MNIST", compare.OTHER_FIELD), (1, "cac", compare.OTHER_FIELD), (2, "1", compare.OTHER_TRIALS),
    (3, (0, 4), compare.OTHER_TRIALS), (4, (5,), compare.OTHER_TRIALS), (5, "e", compare.OTHER_TRIALS),
])  # fmt: skip
def test_runs_on_other_splits_are_never_paired(place, value, why):
    other = made(1, split=(*SPLIT[:place], value, *SPLIT[place + 1 :]))
    for d in compare.differences(one(made()), one(other, "other")):
        assert (d.over, d.why) == ("", why) and np.isnan([d.low, d.high]).all() and not d.sure
        assert "cannot be compared" in compare.said(d)[0]
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


@pytest.mark.parametrize("gap, low, high, measure, phrase, values", [
    (0.031, 0.012, 0.05, "unknowns_caught", compare.BETTER["unknowns_caught"],
     {"better": "a", "worse": "b", "points": 3.1, "low": 1.2, "high": 5.0}),
    (-0.031, -0.05, -0.012, "knowns_kept", compare.BETTER["knowns_kept"],
     {"better": "b", "worse": "a", "points": 3.1, "low": 1.2, "high": 5.0}),
    (-0.031, -0.05, -0.012, "fpr_at_95_knowns_kept", compare.BETTER["fpr_at_95_knowns_kept"],
     {"better": "a", "worse": "b", "points": 3.1, "low": 1.2, "high": 5.0}),
    (0.01, 0.0, 0.02, "auroc", compare.ALIKE["auroc"], {"one": "a", "other": "b", "gap": 1, "low": 0, "high": 2}),
])  # fmt: skip
def test_a_difference_in_words(gap, low, high, measure, phrase, values):
    words, found = compare.said(compare.Difference("a", "b", measure, gap, low, high, "images", 9))
    assert words == phrase and found == pytest.approx(values) and words.format(**values)


def test_only_the_share_caught_at_an_equal_share_kept_is_said_to_be_better():
    assert "95 % of the test knowns are kept" in compare.BETTER["fpr_at_95_knowns_kept"]
    assert "each at its own θ" in compare.BETTER["unknowns_caught"]
    assert not set(compare.AT_THETA) & set(compare.RANKED)


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
        assert value == pytest.approx((report["at_theta"] if name in compare.AT_THETA else report)[name])
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
        "CAC (lam 0.1)": ["a", "b", "c"], "CAC (lam 0.5)": ["d", "f"], "Cross-entropy": ["e"],
    }  # fmt: skip
    alone = compare.grouped(every, together=False, titles={"d": "My *own*"})
    assert [len(group) for group in alone.values()] == [1] * 6 and "My *own*" in alone
    assert "CAC (lam 0.1, trial 1, seed 0)" in alone and "Cross-entropy" in alone


def test_a_name_holds_only_what_its_method_has_and_what_tells_it_from_others_of_the_same(store_of):
    """In the reader's language; names that hold commas are still told apart in a list."""
    kinds = {
        "a": {"method": "osrci"}, "b": {"method": "osrci", "hyper": {"images": "noise"}},
        "c": {"method": "crosr"}, "d": {"method": "crosr", "hyper": {"weight": 0.0}},
        "e": {"method": "cross_entropy", "epochs": 3, "trunk": {"dropout": 0.5}},
    }  # fmt: skip
    assert list(compare.grouped(store_of(kinds))) == [
        "OSRCI (images made)", "OSRCI (images noise)", "CROSR (weight 1)", "CROSR (weight 0)", "Cross-entropy",
    ]  # fmt: skip
    two = store_of({"a": {"method": "cross_entropy"}, "b": {"method": "cross_entropy", "backbone": "fast", "seed": 1}})
    assert list(compare.grouped(two)) == ["Cross-entropy (small)", "Cross-entropy (fast)"]  # no option of one alone
    shout = lambda said: f"{said!s}!" if isinstance(said, Sentence) else said  # noqa: E731
    assert list(compare.grouped(two, False, told=shout)) == [
        "Cross-entropy! (small, seed 0!)", "Cross-entropy! (fast, seed 1!)"
    ]  # fmt: skip


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
        ("CAC (trained here)", [every[2]]), ("CAC (weights Kind.pth)", published),
    ]  # fmt: skip


def test_other_networks_are_no_seeds_of_one_recipe_because_their_files_have_one_name(store_of):
    every = store_of({"a": {}, "b": {}})
    for run in every:
        record = json.loads((run.path / "recipe.json").read_text())
        runs.write_json(run.path / "recipe.json", record | {"imported_from": "outputs.npz"})
    assert list(compare.grouped(every).items()) == [("CAC (weights a)", [every[0]]), ("CAC (weights b)", [every[1]])]


def test_copies_of_a_run_are_no_further_seeds():
    """A training that was packed and brought in again scatters by nothing."""

    def member(gap: float, seeds: tuple[int, ...], copies: int = 1, split=SPLIT) -> Member:
        some = [made(seed, gap=gap, run_seed=seed, split=split) for seed in seeds]
        return Member(f"{gap}", tuple(replace(run, id=f"{run.id}-{n}") for run in some for n in range(copies)))

    def numbers(one: Member, other: Member) -> list[tuple]:
        return [(d.over, d.count, pytest.approx((d.gap, d.low, d.high), nan_ok=True))
                for d in compare.differences(one, other)]  # fmt: skip

    for seeds, theirs in (((0,), (0,)), ((0, 1, 2), (0, 1, 2)), ((0, 1, 2), (3, 4))):
        plain, copied = ([member(1.0, seeds, copies), member(1.4, theirs)] for copies in (1, 3))
        assert [(d.over, d.count, (d.gap, d.low, d.high)) for d in compare.differences(*copied)] == numbers(*plain)
        for measure, (mean, sd) in plain[0].spread().items():
            assert copied[0].spread()[measure] == (pytest.approx(mean), pytest.approx(sd, nan_ok=True))
    other = (*SPLIT[:2], "1", *SPLIT[3:])
    versus = Member("versus", member(1.4, (0, 1)).runs + member(1.2, (0, 1), split=other).runs)
    sides = [Member("both", member(1.0, (0, 1), n).runs + member(1.0, (0, 1), split=other).runs) for n in (1, 3)]
    needed = [compare.needed(side, versus) for side in sides]
    assert needed[0].seeds == needed[1].seeds and needed[1].within == pytest.approx(needed[0].within)


def test_runs_without_unknown_images_are_compared_by_what_there_is():
    members = [Member(name, tuple(made(seed, unknown=0, run_seed=seed) for seed in seeds))
               for name, seeds in (("one", (0, 1)), ("other", (2, 3)))]  # fmt: skip
    found = {d.measure: d for d in compare.differences(*members)}
    assert np.isnan(found["auroc"].gap) and np.isnan(members[0].spread()["auroc"]).all()
    assert np.isfinite([found["accuracy"].gap, found["accuracy"].low, found["accuracy"].high]).all()


def test_options_of_a_method_stand_once_in_a_recipe():
    recipe = compose("quick", {"dropout": 0.3, "alpha": 5.0}, dataset="MNIST", method="cac")
    for said in (compare.flat(recipe), compare.differing(recipe)):
        assert said["dropout"] == 0.3 and said["alpha"] == 5.0 and not {"hyper", "trunk"} & said.keys()


def test_every_two_members_are_compared_once():
    members = [one(made(seed, gap=seed), f"m{seed}") for seed in range(3)]
    found = compare.every_difference(members)
    assert {(d.one, d.other) for d in found} == {("m0", "m1"), ("m0", "m2"), ("m1", "m2")}
    assert found[: len(compare.MEASURES)] == compare.differences(*members[:2])


# --- runs of a data set that has changed between them ----------------------------------------------------------------


def grown(names, known, unknown, marks, data, seed=0, **more) -> Scored:
    """A run on test images of which marks says (mark, class name): it is right about most."""
    rng = np.random.default_rng(seed)
    classes = np.array([names.index(cls) for _, cls in marks])
    known_numbers = tuple(sorted(names.index(cls) for cls in known))
    labels = np.array([known_numbers.index(c) if c in known_numbers else -1 for c in classes])
    split = ("pets", "custom", f"t{data}", known_numbers, tuple(names.index(cls) for cls in unknown), data)
    said_of = {"names": tuple(names), "marks": np.array([mark for mark, _ in marks])} | more
    wrong = rng.random(len(labels)) < 0.2
    label = np.where((labels < 0) | wrong, rng.integers(0, len(known), len(labels)), labels)
    score = rng.normal(np.where(labels < 0, 1.5, 0.0))
    return Scored(f"run-{data}", 0, split, rng.normal(size=30), Verdict(score, label), labels, classes,
                  np.arange(len(labels)), **said_of)  # fmt: skip


def before_and_after() -> tuple[Scored, Scored, list, list]:
    """bee was unknown and is known, ant is new: before all other classes, so that every class has another number."""
    then = [(n, ("bee", "cat", "dog", "eel")[n % 4]) for n in range(80)]
    now = [(n, "cat" if n == 2 else cls) for n, cls in then if n != 5] + [(100 + n, "ant") for n in range(7)]
    now = [now[n] for n in np.random.default_rng(3).permutation(len(now))]
    one = grown(["bee", "cat", "dog", "eel"], ["cat", "dog"], ["bee", "eel"], then, "then")
    other = grown(["ant", "bee", "cat", "dog", "eel"], ["ant", "bee", "cat", "dog"], ["eel"], now, "now", seed=1)
    return one, other, then, now


def test_runs_of_a_data_set_that_has_grown_are_compared_on_the_images_that_both_have():
    first, second, then, now = before_and_after()
    found = compare.in_common(first, second)
    by_mark = {mark: (place, cls) for place, (mark, cls) in enumerate(now)}
    both = [(place, *by_mark[mark], cls) for place, (mark, cls) in enumerate(then) if mark in by_mark]
    assert found.shared == len(both) == 79 and found.apart == (1, 7) and found.moved == 1
    kept = [(i, j) for i, j, new, cls in both if new == cls and cls in ("cat", "dog", "eel")]
    assert found.rows.T.tolist() == [list(pair) for pair in kept]
    assert found.names == ("ant", "bee", "cat", "dog") and compare.same_images(found.one, found.other)
    for run, part, column in ((first, found.one, 0), (second, found.other, 1)):
        rows = [pair[column] for pair in kept]
        assert part.numbers()["auroc"] == pytest.approx(
            reference.auroc(run.test.score[rows].tolist(), run.labels[rows].tolist())
        )
        right = [run.test.label[r] == run.labels[r] for r in rows if run.labels[r] >= 0]
        assert part.numbers()["accuracy"] == pytest.approx(np.mean(right)) and part.theta == run.theta
        decisions = ["" if run.decision[r] < 0 else run.names[run.split[3][run.decision[r]]] for r in rows]
        assert [found.names[d] if d >= 0 else "" for d in part.decision] == decisions
    differences = compare.differences(Member("then", (first,)), Member("now", (second,)))
    assert {d.over for d in differences} == {"images"} and not any(d.why for d in differences)
    known = sum(then[i][1] != "eel" for i, _ in kept)
    assert {d.measure: d.count for d in differences}["accuracy"] == known
    swapped = compare.differences(Member("now", (second,)), Member("then", (first,)))
    assert [d.gap for d in swapped] == pytest.approx([-d.gap for d in differences])
    apart = compare.disagreement(found.one, found.other)
    assert set(apart.truth) <= {-1, 2, 3} and len(apart.rows)


def test_what_becomes_of_the_images_of_a_class_that_is_known_to_one_run_alone():
    first, second, then, now = before_and_after()
    found = compare.in_common(first, second)
    assert list(found.fates) == ["ant", "bee"] and found.fates["ant"][0] == compare.Fate(0, 0, 0, {})
    for run, column, of in ((first, 0, then), (second, 1, now)):
        for cls, fates in found.fates.items():
            fate, mine = fates[column], [n for n, (_, c) in enumerate(of) if c == cls]
            names = [run.names[c] for c in run.split[3]]
            said = ["" if run.test.score[n] > run.theta else names[run.test.label[n]] for n in mine]
            taken = {name: said.count(name) for name in names if name in said and name != cls}
            assert fate == compare.Fate(len(mine), said.count(cls), said.count(""), taken)


def test_runs_without_a_word_about_their_images_are_compared_where_these_are_the_same():
    first, second, *_ = before_and_after()
    assert compare.in_common(replace(first, marks=None), second) is None
    (d, *_) = compare.differences(one(replace(first, marks=None)), one(second, "other"))
    assert d.why == compare.OTHER_FIELD
    fewer = grown(list(first.names), ["cat", "dog", "bee"], ["eel"], [(n, first.names[c]) for n, c in
                  enumerate(first.classes)], "then", seed=5)  # fmt: skip
    found = compare.in_common(replace(first, marks=None), replace(fewer, marks=None))
    assert found.shared == 80 and found.apart == (0, 0) and list(found.fates) == ["bee"]


def test_runs_that_share_no_image_or_class_or_are_of_published_trials_are_not_compared_so():
    first, second, *_ = before_and_after()
    assert compare.in_common(first, first) is None
    assert compare.in_common(first, replace(second, marks=second.marks + 1000)) is None
    assert compare.in_common(first, replace(second, split=("fish", *second.split[1:]))) is None
    published = [replace(run, split=("pets", "osrci", *run.split[2:])) for run in (first, second)]
    assert compare.in_common(*published) is None
    other = grown(["bee", "cat", "dog", "eel"], ["bee", "eel"], ["cat", "dog"],
                  [(n, first.names[c]) for n, c in enumerate(first.classes)], "now")  # fmt: skip
    assert compare.in_common(first, other) is None  # no class is known to both


def test_of_pictures_that_are_there_several_times_each_has_one_partner():
    assert compare._same_marks(np.array([5, 7, 5, 9]), np.array([5, 9, 8, 5, 5])).tolist() == [[0, 2, 3], [0, 3, 1]]
    assert compare._same_marks(np.array([1]), np.array([2])).shape == (2, 0)


# --- how many more ---------------------------------------------------------------------------------------------------


class Numbered(Scored):
    """A run whose AUROC, in percent, is its id."""

    def numbers(self):
        return dict.fromkeys(compare.MEASURES, float(self.id) / 100)


def members_of(values: np.ndarray) -> list[Member]:
    """values [2, trials, seeds] of two members."""
    plain = made()

    def run(value, trial, seed):
        fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
        return Numbered(
            **fields | {"id": repr(float(value)), "seed": seed, "split": (*SPLIT[:2], str(trial), *SPLIT[3:])}
        )

    return [
        Member(name, tuple(run(x, trial, seed) for trial, row in enumerate(side) for seed, x in enumerate(row)))
        for name, side in zip(("one", "other"), values, strict=True)
    ]


def drawn(rng, between, within, trials, seeds, gap=0.0):
    """AUROCs [2, trials, seeds]: trials that all share, what a trial does to the difference, and what a seed does."""
    shared, apart = rng.normal(80, 5, trials), rng.normal(gap, between, trials)
    noise = rng.normal(0, within / np.sqrt(2), (2, trials, seeds))
    return np.stack([shared[:, None] + apart[:, None], np.repeat(shared[:, None], 1, 1)]) + noise


def test_the_scatter_over_trials_and_over_seeds_is_told_apart():
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        found.append(compare.needed(*members_of(drawn(rng, 0.8, 1.5, 5, 3))))
    between, within = (np.mean([getattr(f, name) ** 2 for f in found]) for name in ("between", "within"))
    assert within == pytest.approx(1.5**2, rel=0.1)
    assert between == pytest.approx(0.8**2, rel=0.25)  # never below 0, so a little above
    assert all(f.count == 5 for f in found)


def exactly(between, within, trials=5, seeds=3):
    """AUROCs whose sample moments are these."""
    rng = np.random.default_rng(1)

    def standard(*shape, axis):
        x = rng.normal(size=shape)
        x -= x.mean(axis, keepdims=True)
        return x / x.std(axis, ddof=1, keepdims=True)

    noise = standard(2, trials, seeds, axis=2) * within / np.sqrt(2)
    apart = standard(trials, axis=0) * np.sqrt(between**2 + within**2 / seeds)
    return np.stack([80 + np.repeat(apart[:, None], seeds, 1), np.full((trials, seeds), 80.0)]) + noise


@pytest.mark.parametrize(("between", "within"), [(0.2, 2.0), (0.4, 1.0), (0.0, 3.0)])
def test_so_many_seeds_show_a_point_four_times_out_of_five(between, within):
    found = compare.needed(*members_of(exactly(between, within)))
    assert (found.between, found.within) == (pytest.approx(between, abs=1e-6), pytest.approx(within))
    rng, t = np.random.default_rng(2), 2.776445  # Student's .975 at 4 degrees of freedom
    shown = 0
    for _ in range(2000):
        one_, other_ = drawn(rng, between, within, 5, found.seeds, gap=1.0).mean(2)
        gaps = one_ - other_
        shown += gaps.mean() / (gaps.std(ddof=1) / np.sqrt(5)) > t
    assert 0.76 < shown / 2000 < 0.93  # whole seeds, and so a little more than 80 % where few suffice


def test_where_trials_differ_too_much_more_trials_are_asked_for():
    found = compare.needed(*members_of(exactly(3.0, 0.5)))
    assert found.seeds is None and 60 < found.trials < 90
    alone = compare.needed(*members_of(exactly(3.0, 0.5)[:, :, :1]))
    assert alone.within is None and alone.seeds is None and alone.trials


def test_nothing_is_said_of_a_single_trial_or_of_other_classes():
    one_, other_ = members_of(exactly(1.0, 1.0)[:, :1])
    assert compare.needed(one_, other_) is None
    moved = Member("m", tuple(replace(run, split=("MNIST", *run.split[1:])) for run in other_.runs))
    assert compare.needed(one_, moved) is None
