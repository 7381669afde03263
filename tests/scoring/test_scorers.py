"""Scorers against the papers' formulas, written as loops, and at the edges."""

import math
import sys
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import ledoit_wolf_shrinkage

from cac_core import runs
from cac_core.results import judge
from cac_core.runs import Run
from cac_core.scoring import arrays, metrics, scorers, weibull
from cac_core.scoring.distances import CENTRES, class_means, distances, rejection
from cac_core.scoring.features import shrinkage
from cac_core.scoring.logits import METRICS, msp
from cac_core.scoring.outputs import Outputs, joined, known_only, only
from cac_core.scoring.scorers import explaining, judge_of
from tests import reference

SEEDS = range(5)
JUDGING = [name for name in scorers.SCORERS if name != "given"]  # which judges nothing: it came with the outputs
# scores that a paper defines from logits alone: name, options, oracle
FROM_LOGITS = [
    ("msp", {}, reference.msp),
    ("msp", {"temperature": 3.0}, lambda z: reference.msp(z, 3.0)),
    ("max_logit", {}, reference.max_logit),
    ("energy", {}, reference.energy),
    ("energy", {"temperature": 0.5}, lambda z: reference.energy(z, 0.5)),
]


def fitted(name, train, **options):
    """A judge; those that are fitted on validation images take the training images for these, too."""
    options = {"dice": {"sparsity": 50}}.get(name, {}) | options  # of the 24 weights of the toy head
    return judge_of(name, train, known_only(train), **options)


def argmin(row):
    return row.index(min(row))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("centres", CENTRES)
def test_gamma_is_the_papers(toy_outputs, seed, centres):
    train, test = toy_outputs(seed, unknown=0), toy_outputs(seed + 100)
    points = reference.class_means(train.logits.tolist(), train.labels.tolist(), 4)
    points = points if centres == "means" else train.anchors.tolist()
    rows = reference.cac_gamma(test.logits.tolist(), points)
    verdict = judge_of("gamma", train, centres=centres)(test)
    np.testing.assert_allclose(verdict.score, [min(row) for row in rows], rtol=1e-9)
    np.testing.assert_array_equal(verdict.label, [argmin(row) for row in rows])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("centres", CENTRES)
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
    verdict = fitted(name, toy_outputs(unknown=0), **options)(test)
    np.testing.assert_allclose(verdict.score, oracle(test.logits.tolist()), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(verdict.label, test.logits.argmax(1))


def test_gamma_at_a_temperature_divides_the_distances_in_the_softmin_only():
    d = np.array([[3.0, 4.0, 9.0]])
    softmin = np.exp(-d / 2) / np.exp(-d / 2).sum()
    np.testing.assert_allclose(rejection(d, 2.0), d * (1 - softmin))
    np.testing.assert_allclose(rejection(d), d * (1 - np.exp(-d) / np.exp(-d).sum()))


@pytest.mark.parametrize("name", JUDGING)
def test_unknowns_near_the_origin_score_higher(toys_for, name):
    toy_outputs = toys_for(name)
    test = toy_outputs(1, spread=0.5)
    score = fitted(name, toy_outputs(known=320, unknown=0))(test).score
    assert np.median(score[test.labels < 0]) > np.quantile(score[test.labels >= 0], 0.9)


@pytest.mark.parametrize("name", JUDGING)
def test_an_image_is_judged_alone(toys_for, name):
    toy_outputs = toys_for(name)
    verdict_of, test = fitted(name, toy_outputs(known=320, unknown=0)), toy_outputs(1)
    together = verdict_of(test)
    for i in (0, 7, len(test) - 1):
        alone = verdict_of(Outputs.of_images(test.logits[i : i + 1], test.features[i : i + 1]))
        assert alone.score[0] == pytest.approx(together.score[i], rel=1e-12)
        assert alone.label[0] == together.label[i]


@pytest.mark.parametrize("name", JUDGING)
def test_no_images_give_an_empty_verdict(toys_for, name):
    toy_outputs = toys_for(name)
    verdict = fitted(name, toy_outputs(known=320, unknown=0))(Outputs.of_images(np.zeros((0, 4)), np.zeros((0, 6))))
    assert len(verdict.score) == len(verdict.label) == 0


@pytest.mark.parametrize("name", JUDGING)
def test_logits_of_a_thousand_do_not_overflow(toys_for, name):
    toy_outputs = toys_for(name)
    logits = np.array([[1e3, -1e3, 0, 0], [-1e4, -1e4, -1e4, -1e4]], np.float32)
    score = fitted(name, toy_outputs(known=320, unknown=0))(Outputs.of_images(logits, np.zeros((2, 6)))).score
    assert np.isfinite(score).all()


def test_scores_of_half_precision_are_those_of_the_same_numbers_in_double(toys_for):
    for name in JUDGING:
        toy_outputs = toys_for(name)
        test = toy_outputs(1)  # logits are halves: exact in every precision
        verdict_of = fitted(name, toy_outputs(known=320, unknown=0))
        half = verdict_of(replace(test, logits=test.logits.astype(np.float16))).score
        double = verdict_of(replace(test, logits=test.logits.astype(np.float64))).score
        np.testing.assert_allclose(half, double, rtol=1e-9, err_msg=name)


def test_sure_images_still_differ_in_msp():
    logits = np.array([[50.0, 0, 0], [60.0, 0, 0]])
    sure, surer = msp(None)(Outputs.of_images(logits, logits)).score
    assert sure == pytest.approx(2 * math.exp(-50), rel=1e-12)
    assert surer == pytest.approx(2 * math.exp(-60), rel=1e-12)


def test_distances_are_exact_beside_a_centre():
    centre = np.array([[1000.0, -2000.0, 500.0]])
    beside = np.array([[1000.0 + 1e-9, -2000.0, 500.0]])
    assert distances(beside, centre)[0, 0] == pytest.approx(1e-9, rel=1e-3)
    assert distances(centre, centre)[0, 0] == 0


def test_class_means_are_over_the_images_classified_right():
    logits = np.array([[4.0, 0], [2.0, 0], [0, 9.0], [0, 3.0]])
    train = replace(Outputs.of_images(logits, logits), labels=np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(class_means(train), [[3, 0], [0, 3]])


def test_a_class_that_is_never_right_takes_the_mean_over_all_its_images():
    logits = np.array([[4.0, 0], [2.0, 0], [6.0, 1]])
    train = replace(Outputs.of_images(logits, logits), labels=np.array([0, 1, 1]))
    np.testing.assert_array_equal(class_means(train), [[4, 0], [4, 0.5]])


def test_a_class_without_training_images_is_named():
    logits = np.zeros((2, 3))
    train = replace(Outputs.of_images(logits, logits), labels=np.array([0, 2]))
    with pytest.raises(ValueError, match="no image of class 1"):
        judge_of("gamma", train)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "gama",
            {},
            r"no scorer 'gama'.*gamma, distance, msp, max_logit.*cosine, placeholder.*openmax.*ash_s, scale, dice",
        ),
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
        fitted(name, toy_outputs(unknown=0), **options)


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
        ({"head": np.zeros((4, 6))}, r"a head \[4, 7\], not \(4, 6\)"),
        ({"anchors": np.eye(3)}, r"anchors \[4, 4\], not \(3, 3\)"),
        ({"labels": np.array([0, 1, 2, 3, 4])}, "between -1 and 3; these go from 0 to 4"),
        ({"labels": np.array([0, 1, 2, 3, -2])}, "between -1 and 3; these go from -2 to 3"),
    ],
)
def test_outputs_that_do_not_belong_together_are_refused(toy_outputs, change, says):
    with pytest.raises(ValueError, match=says):
        replace(toy_outputs(known=5, unknown=0), **change)


# --- by features, and OpenMax ----------------------------------------------------------------------------------------


@pytest.fixture(params=["numpy", "torch"])
def ranking(request, monkeypatch):
    """Both ways to find neighbours: with torch loaded, and without."""
    if request.param == "torch":
        pytest.importorskip("torch")
    else:
        monkeypatch.delitem(sys.modules, "torch", raising=False)
    return request.param


def with_mirrors(train):
    """The same with a mirrored copy of every image, far from it."""
    n = len(train)
    double = {f: np.concatenate([getattr(train, f)] * 2) for f in ("logits", "features", "labels", "classes", "index")}
    double["features"][n:] += 5
    double["logits"][n:] *= 1.5
    return replace(train, **double, mirrored=np.arange(2 * n) >= n)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 2, 9, 30, 60])
def test_knn_is_the_kth_distance(toy_outputs, ranking, seed, k):
    train, test = toy_outputs(seed, unknown=0), toy_outputs(seed + 100)
    test.features[3], test.features[4], train.features[5] = train.features[0], 0, 0
    verdict = judge_of("knn", train, k=k)(test)
    expected = reference.knn(test.features.tolist(), train.features.tolist(), k)
    np.testing.assert_allclose(verdict.score, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(verdict.label, test.logits.argmax(1))


def test_knn_counts_each_of_images_that_are_the_same(toy_outputs, ranking):
    train = toy_outputs(unknown=0)
    train.features[:40] = train.features[0]
    test = Outputs.of_images(train.logits[:1], 3 * train.features[:1])
    assert judge_of("knn", train, k=40)(test).score[0] < 1e-7
    assert judge_of("knn", train, k=41)(test).score[0] > 1e-3


def test_knn_is_the_same_with_and_without_torch_and_in_pieces(toy_outputs, monkeypatch):
    pytest.importorskip("torch")
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    with_torch = judge_of("knn", train)(test).score
    monkeypatch.setattr(arrays, "BLOCK", 40_000)
    in_pieces = judge_of("knn", train)(test).score
    monkeypatch.delitem(sys.modules, "torch")
    np.testing.assert_allclose(in_pieces, with_torch, rtol=1e-12)
    np.testing.assert_allclose(judge_of("knn", train)(test).score, with_torch, rtol=1e-12)
    assert "torch" not in sys.modules


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("width", [2, 3, 6])
def test_mahalanobis_is_the_papers(toy_outputs, seed, width):
    train, test = toy_outputs(seed, unknown=0), toy_outputs(seed + 100)
    train, test = (replace(out, dummies=None, head=None, features=out.features[:, :width]) for out in (train, test))
    rows = reference.mahalanobis(test.features.tolist(), train.features.tolist(), train.labels.tolist(), 4)
    verdict = judge_of("mahalanobis", train)(test)
    np.testing.assert_allclose(verdict.score, [min(row) for row in rows], rtol=1e-8)
    np.testing.assert_array_equal(verdict.label, [argmin(row) for row in rows])


@pytest.mark.parametrize(("count", "width"), [(8, 30), (60, 6), (3000, 4)])
def test_the_covariance_is_shrunk_as_scikit_learn_does_it(count, width):
    rng = np.random.default_rng(count)
    gaps = rng.normal(size=(count, width)) * rng.uniform(0.1, 3, width)
    assert shrinkage(gaps.T @ gaps / count, (gaps**2).sum(1)) == pytest.approx(
        ledoit_wolf_shrinkage(gaps, assume_centered=True), rel=1e-9
    )
    if count < 100:
        assert shrinkage(gaps.T @ gaps / count, (gaps**2).sum(1)) == pytest.approx(
            reference.ledoit_wolf(gaps.tolist())[0], rel=1e-9
        )


def test_mahalanobis_holds_where_there_are_fewer_images_than_features_and_where_features_are_constant(toy_outputs):
    train, test = toy_outputs(known=20, unknown=0), toy_outputs(1)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 40)).astype(np.float32)

    def widened(out):
        flat = np.full((len(out), 2), 0.3, np.float32)
        return replace(out, dummies=None, head=None, features=np.column_stack([out.features, noise[: len(out)], flat]))

    verdict = judge_of("mahalanobis", widened(train))(widened(test))
    known = test.labels >= 0
    assert np.isfinite(verdict.score).all() and (verdict.label[known] == test.labels[known]).mean() > 0.9
    constant = replace(train, dummies=None, head=None, features=np.full((len(train), 3), 0.3, np.float32))
    score = judge_of("mahalanobis", constant)(
        replace(test, dummies=None, head=None, features=test.features[:, :3])
    ).score
    np.testing.assert_array_equal(score, 0)


@pytest.mark.parametrize(("count", "k"), [(3, 3), (20, 5), (1200, 6), (20_000, 50)])
def test_knn_goes_by_the_number_of_images_where_no_k_is_said(count, k):
    rng = np.random.default_rng(count)
    logits = np.eye(4, dtype=np.float32)[np.arange(count) % 4]
    train = Outputs.of_images(logits, rng.normal(size=(count, 5)).astype(np.float32))
    train = replace(train, labels=np.arange(count) % 4)
    test = Outputs.of_images(logits[:3], rng.normal(size=(3, 5)).astype(np.float32))
    want = judge_of("knn", train, k=k)(test)
    np.testing.assert_array_equal(judge_of("knn", train)(test).score, want.score)


def cross_validated(run):
    """The run with outputs of one that is; its training and validation outputs."""
    outputs = folded(run.outputs("train"))
    for split, out in zip(("train", "validation"), outputs, strict=True):
        runs.write_outputs(run, split, out)
    return outputs


def folded(train, folds=3, seed=0):
    """Training outputs of a cross-validated run, and the validation outputs on the same images."""
    rng = np.random.default_rng(seed)
    fold = np.arange(len(train)) % folds
    every = train.logits + rng.normal(size=(folds, *train.logits.shape)).astype(np.float32)
    heads = train.head + rng.normal(0, 0.1, (folds, *train.head.shape)).astype(np.float32)
    train = replace(train, fold=fold, out_of_fold=every, heads_out_of_fold=heads)
    held = every[fold, np.arange(len(fold))]
    return train, replace(train, logits=held, out_of_fold=None, head=None, heads_out_of_fold=None)


@pytest.mark.parametrize("name", JUDGING)
def test_an_image_of_a_fold_is_judged_by_what_has_not_seen_it(toys_for, name):
    toy_outputs = toys_for(name)
    train, validation = folded(toy_outputs(known=240, unknown=0))
    got = explaining(name, train, validation)(validation)
    for f in range(3):
        own = {"logits": train.out_of_fold[f], "head": train.heads_out_of_fold[f]}
        rest = only(replace(train, **own, fold=None, out_of_fold=None, heads_out_of_fold=None), train.fold != f)
        alone = explaining(name, rest, validation)(replace(only(validation, validation.fold == f), fold=None))
        np.testing.assert_allclose(got.score[validation.fold == f], alone.score, rtol=1e-9)
        np.testing.assert_array_equal(got.label[validation.fold == f], alone.label)
        assert (got.by_class is None) == (alone.by_class is None)
        if alone.by_class is not None:
            np.testing.assert_allclose(got.by_class[validation.fold == f], alone.by_class, rtol=1e-9)
    test = toy_outputs(1)
    plain = judge_of(name, replace(train, fold=None, out_of_fold=None), validation)(test)
    np.testing.assert_allclose(judge_of(name, train, validation)(test).score, plain.score, rtol=1e-9)
    both = joined(validation, test)
    score = judge_of(name, train, validation)(both).score
    np.testing.assert_allclose(score, np.r_[got.score, plain.score], rtol=1e-9)


def test_mahalanobis_names_a_class_without_images(toy_outputs):
    train = toy_outputs(unknown=0)
    with pytest.raises(ValueError, match="no image of class 3"):
        judge_of("mahalanobis", replace(train, labels=train.labels % 3))


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "openmax", "latent_openmax"])
def test_mirrored_copies_are_left_out(toys_for, name):
    toy_outputs = toys_for(name)
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    np.testing.assert_allclose(
        fitted(name, with_mirrors(train))(test).score, fitted(name, train)(test).score, rtol=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("alpha", [1, 2, 4, 10])
@pytest.mark.parametrize("metric", METRICS)
def test_openmax_is_the_papers(toy_outputs, seed, alpha, metric):
    train, test = toy_outputs(seed, known=120, unknown=0), toy_outputs(seed + 100)
    test.logits[5] = 0
    points = reference.class_means(train.logits.tolist(), train.labels.tolist(), 4)
    distance = {"euclidean": reference._distance, "eucos": reference.eucos}[metric]
    cdfs = []
    for c in range(4):
        mine = train.logits[(train.labels == c) & (train.logits.argmax(1) == c)]
        tail = np.sort([distance(z, points[c]) for z in mine.tolist()])[-15:]
        place, scale = stats.gumbel_l.fit(tail - tail[0])
        cdfs.append(partial(stats.gumbel_l.cdf, loc=tail[0] + place, scale=scale))
    rows = reference.openmax(test.logits.tolist(), points, distance, cdfs, min(alpha, 4))
    verdict = judge_of("openmax", train, tail=15, alpha=alpha, metric=metric)(test)
    np.testing.assert_allclose(verdict.score, [row[0] for row in rows], rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(verdict.label, [row[1:].index(max(row[1:])) for row in rows])


def test_openmax_revises_no_more_classes_than_there_are(toy_outputs):
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    np.testing.assert_array_equal(*(judge_of("openmax", train, alpha=alpha)(test).score for alpha in (4, 1000)))


@pytest.mark.parametrize("name", JUDGING)
def test_classes_in_another_order_give_the_same_scores(toys_for, name):
    toy_outputs = toys_for(name)
    order = np.array([2, 0, 3, 1])  # class order[i] becomes class i
    place = order.argsort()
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    sure = [len(set(row)) == len(row) for row in test.logits.tolist()]  # ties are broken by the order of the classes
    test = replace(test, **{f: getattr(test, f)[sure] for f in ("logits", "features", "labels", "classes", "index")},
                   mirrored=test.mirrored[sure])  # fmt: skip
    moved = [
        replace(out, logits=out.logits[:, order], head=out.head[order],
                labels=np.where(out.labels < 0, -1, place[out.labels]))
        for out in (train, test)
    ]  # fmt: skip
    before, after = fitted(name, train)(test), fitted(name, moved[0])(moved[1])
    np.testing.assert_allclose(after.score, before.score, rtol=1e-9)
    np.testing.assert_array_equal(after.label, place[before.label])


def test_a_tail_of_equal_distances_gives_finite_numbers(toy_outputs):
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    at_anchors = replace(train, logits=10 * np.eye(4, dtype=np.float32)[train.labels])
    for metric in METRICS:
        score = judge_of("openmax", at_anchors, metric=metric)(test).score
        assert np.isfinite(score).all()
        assert score.min() >= 0
        assert score.max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("spread", [0.01, 1.0, 20.0])
def test_the_tail_fit_is_scipys_and_libmrs_to_its_precision(seed, spread):
    rng = np.random.default_rng(seed)
    tails = [np.sort(rng.gamma(3, spread, 500))[-20:] for _ in range(3)]
    fitted = weibull.fit_high(np.array([rng.permutation(t) for t in tails]))
    for c, tail in enumerate(tails):
        place, scale = stats.gumbel_l.fit(tail - tail[0])
        np.testing.assert_allclose([fitted.place[c], fitted.scale[c]], [place, scale], rtol=1e-6)
        x = tail[0] + spread * np.array([-3, -1, -0.3, 0, 0.3, 1, 3])
        cdf = fitted.cdf(np.tile(x[:, None], 3))[:, c]
        np.testing.assert_allclose(cdf, stats.gumbel_l.cdf(x - tail[0], place, scale), atol=1e-6)
        if spread >= 1:  # with less, scipy's own fit at 10000 runs out of digits
            shape, _, size = stats.weibull_min.fit(tail + 10000 - tail[0], floc=0)
            libmrs = stats.weibull_min.cdf(x + 10000 - tail[0], shape, 0, size)
            np.testing.assert_allclose(cdf, libmrs, atol=2e-4 * max(1, spread))


def test_the_tail_fit_is_the_likeliest():
    tail = np.random.default_rng(0).gamma(3, 1, (1, 20))
    fitted = weibull.fit_high(tail)

    def likelihood(place, scale):
        return stats.gumbel_l.logpdf(tail[0] - tail[0].min(), place, scale).sum()

    best = likelihood(fitted.place[0], fitted.scale[0])
    for place, scale in [(1.001, 1), (0.999, 1), (1, 1.001), (1, 0.999)]:
        assert likelihood(fitted.place[0] * place, fitted.scale[0] * scale) < best


@pytest.mark.parametrize("tail", [[3.0, 3, 3], [0.0, 0, 0], [0.0, 0, 1e9], [1e-300, 0, 0], [5.0, 5 + 1e-15, 5]])
@pytest.mark.filterwarnings("error")
def test_a_degenerate_tail_fit_is_finite_and_rises(tail):
    fitted = weibull.fit_high(np.array([tail]))
    cdf = fitted.cdf(np.array([[0.0], [3], [5], [1e10]]))[:, 0]
    assert np.isfinite([*fitted.place, *fitted.scale, *cdf]).all()
    assert (np.diff(cdf) >= 0).all()
    assert cdf[-1] == 1


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("knn", {"k": -1}, "k must be a whole number of at least 0, not -1"),
        ("knn", {"k": 61}, "k=61 needs 61 training images or more; this run has 60"),
        ("knn", {"k": 2.5}, "knn's k must be a whole number"),
        ("mahalanobis", {"tolerance": 0}, "has no option tolerance"),
        ("openmax", {"tail": 1}, "tail must be a whole number of at least 2, not 1"),
        ("openmax", {"alpha": 0}, "alpha must be a whole number of at least 1, not 0"),
        ("openmax", {"metric": "cosine"}, "no metric 'cosine'.*euclidean, eucos"),
        ("openmax", {"tail": 16}, r"tail=16 needs 16 .*; class \d has 1\d\."),
    ],
)
def test_an_option_that_cannot_be_met_is_refused_with_the_count(toy_outputs, name, options, says):
    with pytest.raises(ValueError, match=says):
        fitted(name, toy_outputs(unknown=0), **options)


@pytest.mark.parametrize("name", JUDGING)
@pytest.mark.parametrize("field", ["logits", "features"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(toys_for, name, field, value):
    toy_outputs = toys_for(name)
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    broken = {}
    for key, out in (("train", train), ("test", test)):
        values = getattr(out, field).copy()
        values[[7, 9], 1] = value
        broken[key] = replace(out, **{field: values})
    says = rf"{field} of 2 of \d+ images are not finite.*image 7"
    with pytest.raises(ValueError, match=says):
        fitted(name, broken["train"])
    with pytest.raises(ValueError, match=says):
        fitted(name, train)(broken["test"])


@pytest.mark.parametrize("name", ["knn", "mahalanobis"])
def test_fifty_thousand_wide_features_stay_within_two_gigabytes(ranking, name):
    rng = np.random.default_rng(0)
    labels = np.arange(50_000) % 10
    features = rng.standard_normal((50_000, 512), np.float32)
    logits = np.eye(10, dtype=np.float32)[labels]
    train = replace(Outputs.of_images(logits, features), labels=labels)
    test = Outputs.of_images(logits[:300], features[:300] + 1)
    tracemalloc.start()
    score = fitted(name, train)(test).score
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(score).all()
    assert peak < 1.2e9  # beside what the outputs themselves take, 0.1 GB


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "openmax"])
def test_the_bundled_run_tells_its_unknowns(name):
    run = Run(Path(__file__).parents[2] / "checkpoints" / "digits-osrci-0-cac-small-s0")
    test = run.outputs("test")
    verdict = fitted(name, run.outputs("train"))(test)
    report = metrics.report(verdict, test.labels)
    assert report["auroc"] > 0.9
    assert report["accuracy"] > 0.95


def test_a_scorer_that_cannot_be_applied_says_so_in_the_report(make_run):
    run = make_run()
    short = run.outputs("train")
    fields = ("logits", "features", "labels", "classes", "index", "mirrored")
    runs.write_npz(
        run.path / "outputs" / "train.npz", **{f: getattr(short, f)[:40] for f in fields}, anchors=short.anchors
    )
    scored = judge.report_all(run)["scorers"]
    assert list(scored) == scorers.reported_for("cac") and "placeholder" not in scored
    assert "tail=20" in scored["openmax"]["error"]
    assert all("auroc" in scored[name] for name in scored if name != "openmax")


@pytest.mark.parametrize("width", [2000, 2007, 640])
def test_ranks_of_a_wide_table_are_those_of_sorting_it(width):
    table = np.random.default_rng(width).normal(size=(9, width)).astype(np.float32)
    table[3] = table[3].round()  # ties
    found = arrays.ranked(table, 5, 12)
    want = -np.sort(-table, 1)[:, 5:12]
    np.testing.assert_array_equal(np.sort(np.take_along_axis(table, found, 1), 1)[:, ::-1], want)


def test_cosine_is_the_plain_loop(toy_outputs):
    train, test = toy_outputs(seed=1), toy_outputs(seed=2)
    test.features[0] = 0  # no direction
    found = judge_of("cosine", train)(test)
    seen = ~train.mirrored & (train.labels >= 0)
    want = reference.cosine(test.features.tolist(), train.features[seen].tolist(), train.labels[seen].tolist(),
                            train.logits.shape[1])  # fmt: skip
    assert np.allclose(found.score, [score for score, _ in want], atol=1e-9)
    assert found.score[0] == 1 and found.label[1:].tolist() == [label for _, label in want][1:]
