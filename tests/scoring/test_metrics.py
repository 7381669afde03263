"""Metrics against the definitions, written as loops, and against scikit-learn."""

import math
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sk

from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from tests import reference

SEEDS = range(6)
AREAS = ("auroc", "aupr_known", "aupr_unknown", "fpr_at_95_knowns_kept", "fpr_at_95_unknowns_caught", "oscr")


def drawn(seed, known=61, unknown=37, classes=4):
    """A random verdict and labels; two seeds of three have rounded scores, so that many tie."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.r_[rng.integers(0, classes, known), np.full(unknown, -1)])
    score = (rng.normal(0, 1, len(labels)) + (labels < 0)).round((16, 1, 0)[seed % 3])
    label = np.where(rng.random(len(labels)) < 0.8, labels % classes, rng.integers(0, classes, len(labels)))
    return Verdict(score, label), labels


def separated(known=20, unknown=10):
    """Every unknown above every known, every class right."""
    labels = np.r_[np.arange(known) % 4, np.full(unknown, -1)]
    return Verdict(np.arange(known + unknown, dtype=float), labels % 4), labels


def fields(verdict, labels):
    return verdict.score.tolist(), verdict.label.tolist(), labels.tolist()


def test_the_random_sets_are_with_and_without_ties():
    distinct = [len(np.unique(drawn(seed)[0].score)) for seed in range(3)]
    assert distinct[0] == 98
    assert max(distinct[1:]) < 60


@pytest.mark.parametrize("seed", SEEDS)
def test_report_is_the_definitions(seed):
    verdict, labels = drawn(seed)
    score, label, truth = fields(verdict, labels)
    knowns = [(p, y) for p, y in zip(label, truth, strict=True) if y >= 0]
    assert metrics.report(verdict, labels) == pytest.approx(
        {
            "accuracy": sum(p == y for p, y in knowns) / len(knowns),
            "auroc": reference.auroc(score, truth),
            "aupr_known": reference.average_precision([-s for s in score], [y >= 0 for y in truth]),
            "aupr_unknown": reference.average_precision(score, [y < 0 for y in truth]),
            "fpr_at_95_knowns_kept": reference.fpr_at_95_knowns_kept(score, truth),
            "fpr_at_95_unknowns_caught": reference.fpr_at_95_unknowns_caught(score, truth),
            "oscr": reference.oscr(score, label, truth),
        },
        rel=1e-12,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_report_is_scikit_learns(seed):
    verdict, labels = drawn(seed)
    got, unknown = metrics.report(verdict, labels), labels < 0
    assert got["auroc"] == pytest.approx(sk.roc_auc_score(unknown, verdict.score))
    assert got["aupr_unknown"] == pytest.approx(sk.average_precision_score(unknown, verdict.score))
    assert got["aupr_known"] == pytest.approx(sk.average_precision_score(~unknown, -verdict.score))
    for name, positive, score in (
        ("fpr_at_95_unknowns_caught", unknown, verdict.score),
        ("fpr_at_95_knowns_kept", ~unknown, -verdict.score),
    ):
        fpr, tpr, _ = sk.roc_curve(positive, score, drop_intermediate=False)
        assert got[name] == pytest.approx(fpr[tpr >= 0.95][0])


@pytest.mark.parametrize("counts", [(20, 20), (100, 40), (19, 21), (1, 1), (1, 30), (30, 1)])
def test_exactly_95_percent_is_enough(counts):
    verdict, labels = drawn(7, *counts)
    score, _, truth = fields(verdict, labels)
    got = metrics.report(verdict, labels)
    assert got["fpr_at_95_knowns_kept"] == reference.fpr_at_95_knowns_kept(score, truth)
    assert got["fpr_at_95_unknowns_caught"] == reference.fpr_at_95_unknowns_caught(score, truth)
    assert got["auroc"] == pytest.approx(reference.auroc(score, truth))


@pytest.mark.parametrize("theta", [-9.0, -0.5, 0.0, 0.37, 1.0, 9.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_theta_does_is_the_definition_and_scikit_learns(seed, theta):
    verdict, labels = drawn(seed)
    score, label, truth = fields(verdict, labels)
    got = metrics.at(theta, verdict, labels, 4)
    table = metrics.confusion(theta, verdict, labels, 4)
    assert table.tolist() == reference.confusion(theta, score, label, truth, 4)
    decision, true = np.where(verdict.score > theta, 4, verdict.label), np.where(labels < 0, 4, labels)
    np.testing.assert_array_equal(table, sk.confusion_matrix(true, decision, labels=range(5)))
    assert got["macro_f1"] == pytest.approx(reference.macro_f1(theta, score, label, truth, 4))
    assert got["macro_f1"] == pytest.approx(sk.f1_score(true, decision, average="macro"))
    known, kept = labels >= 0, verdict.score <= theta
    assert got["knowns_kept"] == pytest.approx(kept[known].mean())
    assert got["knowns_kept_and_right"] == pytest.approx((kept & (verdict.label == labels))[known].mean())
    assert got["unknowns_caught"] == pytest.approx((~kept)[~known].mean())


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64])
@pytest.mark.parametrize("classes", [180, 181, 200, 1000])
def test_many_classes_are_counted_whatever_integers_the_labels_are(classes, kind):
    """From 181 classes on the places in the table are more than int16 holds, in which a run keeps its labels."""
    rng = np.random.default_rng(classes)
    truth, label = rng.integers(-1, classes, 3000), rng.integers(0, classes, 3000)
    truth[:2], label[:2] = classes - 1, classes - 1
    verdict = Verdict(rng.normal(size=3000), label.astype(kind))
    table = metrics.confusion(0.1, verdict, truth.astype(kind), classes)
    assert table.tolist() == reference.confusion(0.1, verdict.score.tolist(), label.tolist(), truth.tolist(), classes)
    shares = metrics.at(0.1, verdict, truth.astype(kind), classes)
    slow = reference.macro_f1(0.1, verdict.score.tolist(), label.tolist(), truth.tolist(), classes)
    assert shares["macro_f1"] == pytest.approx(slow)


def test_an_image_at_theta_itself_is_kept():
    verdict, labels = Verdict(np.array([2.0, 2.0]), np.array([0, 0])), np.array([0, -1])
    assert metrics.at(2.0, verdict, labels, 1) == {
        "knowns_kept": 1, "knowns_kept_and_right": 1, "unknowns_caught": 0, "macro_f1": pytest.approx(1 / 3)
    }  # fmt: skip
    assert metrics.at(1.999, verdict, labels, 1)["unknowns_caught"] == 1


def test_a_class_that_is_neither_there_nor_named_does_not_lower_the_macro_f1():
    verdict, labels = drawn(0)
    few, many = (metrics.at(0.5, verdict, labels, classes)["macro_f1"] for classes in (4, 9))
    assert few == pytest.approx(many)
    assert many == pytest.approx(reference.macro_f1(0.5, *fields(verdict, labels), 9))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "change", [lambda s: 7 * s - 3, np.exp, lambda s: s**3, np.arctan, lambda s: np.unique(s, return_inverse=True)[1]]
)
def test_only_the_order_of_the_scores_counts(seed, change):
    verdict, labels = drawn(seed)
    changed = Verdict(change(verdict.score).astype(float), verdict.label)
    assert metrics.report(changed, labels) == pytest.approx(metrics.report(verdict, labels), rel=1e-12)
    assert metrics.delong(changed, labels) == pytest.approx(metrics.delong(verdict, labels), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_images_does_not_count(seed):
    verdict, labels = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = Verdict(verdict.score[order], verdict.label[order])
    assert metrics.report(shuffled, labels[order]) == pytest.approx(metrics.report(verdict, labels), rel=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_opposite_score_has_the_opposite_auroc(seed):
    verdict, labels = drawn(seed)
    opposite = Verdict(-verdict.score, verdict.label)
    assert metrics.report(opposite, labels)["auroc"] == pytest.approx(1 - metrics.report(verdict, labels)["auroc"])


@pytest.mark.parametrize("seed", SEEDS)
def test_oscr_is_at_most_the_auroc_and_equals_it_where_every_class_is_right(seed):
    verdict, labels = drawn(seed)
    got = metrics.report(verdict, labels)
    assert got["oscr"] < got["auroc"]
    assert got["oscr"] <= got["accuracy"]
    right = metrics.report(Verdict(verdict.score, labels % 4 * (labels >= 0)), labels)
    assert right["oscr"] == pytest.approx(right["auroc"])


def test_perfectly_separated_scores_are_perfect():
    got = metrics.report(*separated())
    assert got == {
        "accuracy": 1, "auroc": 1, "aupr_known": pytest.approx(1), "aupr_unknown": pytest.approx(1),
        "fpr_at_95_knowns_kept": 0, "fpr_at_95_unknowns_caught": 0, "oscr": 1,
    }  # fmt: skip


def test_a_constant_score_tells_nothing():
    labels = np.r_[np.zeros(30, int), np.full(10, -1)]
    got = metrics.report(Verdict(np.full(40, 2.5), np.zeros(40, int)), labels)
    assert got == {
        "accuracy": 1, "auroc": 0.5, "aupr_known": 0.75, "aupr_unknown": 0.25,
        "fpr_at_95_knowns_kept": 1, "fpr_at_95_unknowns_caught": 1, "oscr": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("counts", [(12, 0), (0, 12), (1, 0), (0, 1), (0, 0)])
def test_without_one_side_what_compares_the_two_is_nan(counts):
    verdict, labels = drawn(3, *counts)
    got = metrics.report(verdict, labels)
    assert all(math.isnan(got[name]) for name in AREAS)
    assert math.isnan(got["accuracy"]) == (counts[0] == 0)
    at = metrics.at(0.0, verdict, labels, 4)
    assert math.isnan(at["knowns_kept"]) == math.isnan(at["knowns_kept_and_right"]) == (counts[0] == 0)
    assert math.isnan(at["unknowns_caught"]) == (counts[1] == 0)
    assert math.isnan(at["macro_f1"]) == (sum(counts) == 0)
    intervals = metrics.intervals(verdict, labels, 0.0)
    assert math.isnan(intervals["auroc"][0])
    assert math.isnan(intervals["accuracy"][0]) == (counts[0] == 0)
    assert math.isnan(intervals["unknowns_caught"][1]) == (counts[1] == 0)


def test_one_image_of_each_side_is_enough():
    verdict, labels = Verdict(np.array([1.0, 2.0]), np.array([0, 0])), np.array([0, -1])
    assert metrics.report(verdict, labels)["auroc"] == 1
    assert metrics.report(Verdict(-verdict.score, verdict.label), labels)["auroc"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("call", [metrics.report, metrics.roc, metrics.theta_youden])
def test_a_score_that_is_no_number_is_an_error(call, bad):
    verdict, labels = drawn(0)
    verdict.score[5] = bad
    with pytest.raises(ValueError, match="1 of 98 scores are not finite"):
        call(verdict, labels)


@pytest.mark.parametrize("seed", SEEDS)
def test_roc_is_scikit_learns(seed):
    verdict, labels = drawn(seed)
    curve = metrics.roc(verdict, labels)
    fpr, tpr, at_or_above = sk.roc_curve(labels < 0, verdict.score, drop_intermediate=False)
    np.testing.assert_allclose(curve["rejected_knowns"], fpr, atol=1e-12)
    np.testing.assert_allclose(curve["caught_unknowns"], tpr, atol=1e-12)
    # scikit-learn rejects score >= t, we score > theta: its next threshold down is our theta
    np.testing.assert_array_equal(curve["thetas"][:-1], at_or_above[1:])
    assert curve["thetas"][-1] == -math.inf


# --- theta -----------------------------------------------------------------------------------------------------------


SHARES = [0.01, 0.07, 0.5, 0.55, 0.8, 0.9, 0.95, 0.99, 1.0]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 18, 19, 20, 21, 40, 98, 99, 100, 101, 1000])
@pytest.mark.parametrize("kept", SHARES)
def test_theta_is_the_conformal_one(n, kept):
    scores = np.random.default_rng(n).permutation(n).astype(float) // 2  # some are equal
    assert metrics.theta_at(kept, scores) == reference.theta_at(str(kept), scores.tolist())


@pytest.mark.parametrize("kept", SHARES)
def test_the_images_that_lack_are_as_many_as_make_it_possible(kept):
    for n in (1, 5, 8, 18, 19, 24, 98, 99, 1000):
        assert metrics.lacking(kept, n) == reference.lacking(str(kept), n), n
    assert metrics.lacking(0.95, 8) == 11 and metrics.lacking(0.95, 19) == 0 and metrics.lacking(1, 8) == math.inf


@pytest.mark.parametrize("n", [19, 24, 100])
def test_theta_keeps_the_share_of_new_images_on_average(n):
    """Of new images of the same kind, on average over what was drawn to set theta."""
    rng = np.random.default_rng(n)
    drawn = rng.gamma(2, 1, (4000, n))
    new = rng.gamma(2, 1, 20_000)
    shares = np.array([(new <= metrics.theta_at(0.95, scores)).mean() for scores in drawn])
    error = shares.std() / math.sqrt(len(drawn)) + math.sqrt(0.95 * 0.05 / len(new))
    assert shares.mean() >= 0.95 - 3 * error
    assert shares.mean() <= 0.95 + 1 / (n + 1) + 3 * error  # no more than the next rank would need


def test_where_the_images_are_too_few_theta_is_the_largest_score():
    assert metrics.theta_at(0.95, np.arange(18, 0, -1.0)) == 18
    assert metrics.theta_at(0.95, np.arange(39, 0, -1.0)) == 38  # 0.95 * 40


def test_theta_for_a_share_next_to_nothing_is_the_lowest_score():
    assert metrics.theta_at(1e-10, np.array([3.0, 1.0, 2.0])) == 1


def test_theta_among_ties_keeps_them_all():
    assert metrics.theta_at(0.95, np.r_[np.zeros(10), np.ones(10)]) == 1


@pytest.mark.parametrize("kept", [0, -0.1, 1.0001, math.nan])
def test_theta_refuses_a_share_that_is_none(kept):
    with pytest.raises(ValueError, match="share of knowns to keep"):
        metrics.theta_at(kept, np.ones(3))


def test_theta_needs_an_image():
    with pytest.raises(ValueError, match="at least one known"):
        metrics.theta_at(0.95, np.zeros(0))


@pytest.mark.parametrize("seed", SEEDS)
def test_youdens_theta_is_the_best_there_is(seed):
    verdict, labels = drawn(seed)
    at = metrics.at(metrics.theta_youden(verdict, labels), verdict, labels, 4)
    best = reference.youden(verdict.score.tolist(), labels.tolist())
    assert at["unknowns_caught"] - (1 - at["knowns_kept"]) == pytest.approx(best)


@pytest.mark.parametrize("accepted", [0.0, 0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_theta_at_fpr_is_the_highest_score_that_accepts_few_enough(seed, accepted):
    verdict, labels = drawn(seed, unknown=40)
    theta = metrics.theta_at_fpr(accepted, verdict, labels)
    unknown = verdict.score[labels < 0]
    assert (unknown <= theta).mean() <= accepted + 1e-12
    higher = verdict.score[verdict.score > theta]
    assert not len(higher) or (unknown <= higher.min()).mean() > accepted


@pytest.mark.parametrize("accepted", [-0.1, 1.1, math.nan])
def test_theta_at_fpr_refuses_a_share_that_is_none(accepted):
    with pytest.raises(ValueError, match="share of unknowns to accept"):
        metrics.theta_at_fpr(accepted, *separated())


# --- how sure --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe, Statistics in Medicine 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(hits, of, low, high):
    assert metrics.wilson(hits, of) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (9500, 10000)])
def test_wilson_is_the_formula_and_stays_between_0_and_1(hits, of):
    low, high = metrics.wilson(hits, of)
    assert (low, high) == pytest.approx(reference.wilson(hits, of), abs=1e-12)
    assert 0 <= low <= hits / of <= high <= 1


def test_wilson_of_none_and_of_all_ends_at_0_and_1_itself():
    for n in range(1, 300):
        assert metrics.wilson(0, n)[0] == 0 and metrics.wilson(n, n)[1] == 1


T = {1: 12.7062047, 2: 4.30265273, 3: 3.18244631, 6: 2.44691185, 10: 2.22813885}  # 0.975 quantiles of Student's


@pytest.mark.parametrize("shares", [
    [0.5], [1, 1, 1], [0, 0, 0], [0.5, 0.5], [0, 1], [0.9, 0.95, 0.85], [0.1, 0.9, 0.4, 0.7, 0.2, 0.3],
    [0.05 * n for n in range(10)],
])  # fmt: skip
@pytest.mark.parametrize("each", [2, 40])
def test_the_interval_over_classes_is_the_formula(shares, each):
    images = each * len(shares)
    low, high = metrics.over_classes(shares, images)
    assert (low, high) == pytest.approx(reference.over_classes(shares, images, T[len(shares)]), abs=1e-7)
    assert 0 <= low <= sum(shares) / len(shares) <= high <= 1


def test_the_interval_over_classes_is_that_of_one_image_a_class_at_worst_and_of_none_is_none():
    assert metrics.over_classes([1, 0, 1, 0], 400) == metrics.wilson(2, 4)
    assert np.isnan(metrics.over_classes([], 0)).all()


@pytest.mark.parametrize("count", [3, 6, 10])
@pytest.mark.parametrize("alike", [0.5, 2, 20])
@pytest.mark.parametrize("mean", [0.15, 1 / 3, 0.6, 0.9])
def test_the_interval_over_classes_seldom_misses_the_mean_of_all_classes(count, alike, mean):
    """Shares of classes by a Beta, from all or nothing to nearly alike; 20 images of each."""
    rng = np.random.default_rng(0)
    shares = rng.binomial(20, rng.beta(alike * mean, alike * (1 - mean), (1500, count))) / 20
    found = np.array([metrics.over_classes(some, 20 * count) for some in shares])
    assert (found[:, 0] > mean).mean() < 0.04 and (found[:, 1] < mean).mean() < 0.04


@pytest.mark.parametrize("apart", [0, 2.5, -1, -2.5])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_interval_of_the_auroc_is_the_plain_loops(seed, apart):
    verdict, labels = drawn(seed)
    verdict = Verdict(verdict.score + apart * (labels < 0), verdict.label)
    want = reference.auroc_interval(verdict.score.tolist(), labels.tolist())
    assert metrics.delong(verdict, labels) == pytest.approx(want, rel=1e-9)
    low, high = metrics.delong(Verdict(-verdict.score, verdict.label), labels)
    assert (1 - high, 1 - low) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(("ratio", "share"), [(1.0, 0.5), (5.0, 0.2), (0.1, 0.9)])
@pytest.mark.parametrize("seed", range(3))
def test_the_theta_of_the_least_cost_is_that_of_trying_all(seed, ratio, share):
    verdict, labels = drawn(seed)
    known = labels >= 0

    def cost(theta):
        rejected, accepted = (verdict.score[known] > theta).mean(), (verdict.score[~known] <= theta).mean()
        return round((1 - share) * rejected + ratio * share * accepted, 12)

    tried = [-np.inf, *np.unique(verdict.score)]
    least = min(map(cost, tried))
    assert metrics.theta_at_cost(ratio, share, verdict, labels) == max(t for t in tried if cost(t) == least)


@pytest.mark.parametrize(("ratio", "share"), [(0, 0.5), (-1, 0.5), (float("nan"), 0.5), (1, 1.5)])
def test_costs_out_of_range_are_refused(ratio, share):
    with pytest.raises(ValueError, match="cost ratio is above 0"):
        metrics.theta_at_cost(ratio, share, *drawn(0))


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_of_a_difference_is_the_plain_loops(seed):
    one, labels = drawn(seed)
    other = Verdict(one.score + np.random.default_rng(seed).normal(0, 1, len(labels)).round(1), one.label)
    want = reference.auroc_difference_interval(one.score.tolist(), other.score.tolist(), labels.tolist())
    assert metrics.delong_difference(one, other, labels) == pytest.approx(want, rel=1e-9)
    assert metrics.delong_difference(one, one, labels) == (0, 0, 0)
    assert metrics.delong_difference(one, Verdict(np.exp(one.score), one.label), labels) == (0, 0, 0)


def apart(shape, area, knowns, unknowns, rng, shared=None):
    """Scores of so many knowns and unknowns whose true AUROC is area; shared: normal numbers [N], half of the noise."""
    from scipy.special import ndtr, ndtri

    x = rng.normal(size=knowns + unknowns)
    x = x if shared is None else (x + shared) / math.sqrt(2)
    k, u = x[:knowns], x[knowns:]
    if shape == "normal":
        u = u + ndtri(area) * math.sqrt(2)
    elif shape == "wide":  # the unknowns spread three times as much
        u = 3 * u + ndtri(area) * math.sqrt(10)
    else:  # some unknowns look just like knowns, the others like none
        k, u = ndtr(k), np.where(u < ndtri(2 * (1 - area)), rng.random(unknowns), 2.0)
    return Verdict(np.r_[k, u], np.zeros(knowns + unknowns, int)), np.r_[np.zeros(knowns, int), np.full(unknowns, -1)]


@pytest.mark.parametrize("shape", ["normal", "wide", "some"])
@pytest.mark.parametrize(("area", "knowns", "unknowns"), [
    (0.76, 60, 40), (0.986, 20, 20), (0.986, 215, 144), (0.995, 215, 144), (0.97, 30, 200), (0.999, 500, 500),
])  # fmt: skip
def test_the_interval_covers_the_true_auroc_as_often_as_it_says_near_1_too(shape, area, knowns, unknowns):
    """In 500 draws 0.925 is two and a half standard errors below 0.95; it may be too wide where little is seen."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(500):
        low, high = metrics.delong(*apart(shape, area, knowns, unknowns, rng))
        covered += low <= area <= high
    assert covered / 500 >= 0.925


@pytest.mark.parametrize("shape", ["normal", "wide", "some"])
@pytest.mark.parametrize(("one", "other", "knowns", "unknowns"), [
    (0.85, 0.9, 120, 80), (0.98, 0.995, 20, 20), (0.97, 0.99, 60, 40), (0.995, 0.995, 215, 144),
    (0.98, 0.995, 215, 144),
])  # fmt: skip
def test_the_interval_of_a_difference_covers_it_near_1_too(shape, one, other, knowns, unknowns):
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        shared = rng.normal(size=knowns + unknowns)
        (a, labels), (b, _) = (apart(shape, area, knowns, unknowns, rng, shared) for area in (one, other))
        _, low, high = metrics.delong_difference(a, b, labels)
        covered += low <= one - other <= high
    assert covered / 300 >= 0.91


def test_the_interval_of_separated_scores_is_no_point():
    """By hand: mean 1/40, variance (1/40)^2, so Beta(0.95, 37.05); its 0.975 quantile is 0.0922."""
    low, high = metrics.delong(*separated(unknown=20))
    assert high == 1 and low == pytest.approx(0.9078, abs=1e-4)
    lows = [metrics.delong(*separated(n, n))[0] for n in (2, 5, 20, 100, 1000)]
    assert lows == sorted(lows) and 0 < lows[0] < 0.5 and lows[-1] > 0.998
    verdict, labels = separated()
    assert metrics.delong(Verdict(-verdict.score, verdict.label), labels)[0] == 0
    assert all(map(math.isnan, metrics.delong(*separated(unknown=1))))


def test_two_scores_that_separate_all_images_are_not_the_same_for_sure():
    one, labels = separated(20, 20)
    other = Verdict(one.score[::-1] + 100 * (labels < 0), one.label)
    gap, low, high = metrics.delong_difference(one, other, labels)
    assert gap == 0 and low == -high and 0.05 < high < 0.2


def test_a_score_that_tells_nothing_has_a_narrow_interval_about_a_half():
    labels = np.r_[np.zeros(30, int), np.full(10, -1)]
    assert metrics.delong(Verdict(np.full(40, 2.5), np.zeros(40, int)), labels) == (0.5, 0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_intervals_hold_their_shares(seed):
    verdict, labels = drawn(seed)
    shares = metrics.report(verdict, labels) | metrics.at(0.5, verdict, labels, 4)
    intervals = metrics.intervals(verdict, labels, 0.5)
    assert set(intervals) == {"auroc", "accuracy", "knowns_kept", "knowns_kept_and_right", "unknowns_caught"}
    for name, (low, high) in intervals.items():
        assert low < shares[name] < high, name
    n = int((labels >= 0).sum())
    assert intervals["accuracy"] == pytest.approx(reference.wilson(round(shares["accuracy"] * n), n))


# --- how fast --------------------------------------------------------------------------------------------------------


def cost_of_a_report(known, unknown):
    """How many functions are called, Python's and numpy's, and the most bytes that are held meanwhile."""
    verdict, labels = drawn(0, known=known, unknown=unknown)
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(event) if event in ("call", "c_call") else None)
    metrics.report(verdict, labels)
    sys.setprofile(None)
    tracemalloc.start()
    metrics.report(verdict, labels)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return len(calls), most


def test_a_report_on_ten_thousand_images_has_no_loop_over_them_and_no_table_of_pairs():
    """So it takes milliseconds."""
    few, _ = cost_of_a_report(60, 40)
    many, most = cost_of_a_report(6000, 4000)
    assert many <= few + 10 and most < 200 * 10_000  # one byte a pair would be 24 000 000


def test_a_score_that_is_no_number_rejects_its_image():
    verdict, labels = Verdict(np.array([0.0, 1.0, 2.0, np.nan, np.nan]), np.zeros(5, int)), np.array([0, 0, 0, 0, -1])
    assert metrics.rejected(verdict.score, 1.0).tolist() == [False, False, True, True, True]
    assert metrics.confusion(1.0, verdict, labels, 1).tolist() == [[2, 2], [0, 1]]
