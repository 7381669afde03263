"""The scores beyond the first ten, against plain loops, at the edges, and what they do not depend on."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from cac_core.scoring import scorers
from cac_core.scoring.arrays import log_softmax
from cac_core.scoring.features import COVARIANCES
from cac_core.scoring.logits import COLDEST, HOTTEST, likeliest_temperature
from cac_core.scoring.outputs import Outputs, known_only, only
from cac_core.scoring.scorers import judge_of
from tests import reference
from tests.scoring.test_scorers import with_mirrors

NEW = [name for name in scorers.SCORERS if name not in scorers.REPORTED]
# not the score that came with outputs, nor what one method alone reads: its latents, a class for the unknown
COMMON = [name for name in scorers.SCORERS if name not in ("given", "latent_openmax", "unknown_class")]
FEW_WEIGHTS = {"dice": {"sparsity": 50}}  # of 24 weights that the toy head has


def against(name, train, test, want, **options):
    """The verdict, after its score has been held against the oracle's."""
    verdict = judge_of(name, train, known_only(train), **options)(test)
    np.testing.assert_allclose(verdict.score, want, rtol=1e-9, atol=1e-9)
    return verdict


@pytest.fixture(params=range(4))
def pair(request, toy_outputs):
    """Training and test outputs; among the latter an image without features."""
    train, test = toy_outputs(request.param, unknown=0), toy_outputs(request.param + 100)
    test.features[3] = 0
    return train, test


def lists(out):
    return out.features.tolist(), out.logits.tolist()


def head_of(train):
    return train.head.astype(float).tolist()


@pytest.mark.parametrize("top", [1, 3, 100])
@pytest.mark.parametrize("power", [0.1, 0.5])
def test_gen_is_the_papers(pair, top, power):
    train, test = pair
    verdict = against("gen", train, test, reference.gen(test.logits.tolist(), power, top), power=power, top=top)
    np.testing.assert_array_equal(verdict.label, test.logits.argmax(1))


def test_entropy_margin_and_kl_matching_are_the_plain_loops(pair):
    train, test = pair
    against("entropy", train, test, reference.entropy(test.logits.tolist()))
    against("margin", train, test, reference.margin(test.logits.tolist()))
    against("kl_matching", train, test, reference.kl_matching(test.logits.tolist(), train.logits.tolist()))


def test_kl_matching_leaves_out_a_class_that_is_never_predicted(pair):
    train, test = pair
    never = replace(train, logits=np.where(np.arange(4) == 2, -50, train.logits).astype(np.float32))
    against("kl_matching", never, test, reference.kl_matching(test.logits.tolist(), never.logits.tolist()))


@pytest.mark.parametrize("times", [0.02, 0.5, 1.0, 7.0])
def test_temperature_scaling_takes_the_likeliest_temperature(toy_outputs, times):
    train, test = toy_outputs(1, unknown=0), toy_outputs(2)
    held = toy_outputs(3, known=80)  # with unknowns, which do not count
    held, test = (replace(out, logits=(times * out.logits).astype(np.float32)) for out in (held, test))
    known = held.labels >= 0
    best = likeliest_temperature(held.logits[known], held.labels[known])
    want = reference.likeliest_temperature(held.logits[known].tolist(), held.labels[known].tolist())
    assert best == pytest.approx(want, rel=1e-5)  # so near the loss is flat to its last digit
    score = judge_of("temperature_scaling", train, held)(test).score
    np.testing.assert_allclose(score, reference.msp(test.logits.tolist(), best), rtol=1e-9)


def test_temperature_scaling_stays_within_bounds_and_says_what_it_lacks(toy_outputs):
    right = np.eye(4)[np.arange(8) % 4]
    assert likeliest_temperature(right, np.arange(8) % 4) == pytest.approx(COLDEST, rel=1e-3)
    assert likeliest_temperature(-right, np.arange(8) % 4) == pytest.approx(HOTTEST, rel=1e-3)
    train = toy_outputs(unknown=0)
    for held in (None, only(toy_outputs(1), toy_outputs(1).labels < 0)):
        with pytest.raises(ValueError, match="fitted on validation images of known classes"):
            judge_of("temperature_scaling", train, held)


def test_rmds_and_she_are_the_plain_loops(pair):
    train, test = pair
    (features, logits), (bank, bank_logits), labels = lists(test), lists(train), train.labels.tolist()
    rows = reference.rmds(features, bank, labels, 4)
    verdict = judge_of("rmds", train)(test)
    np.testing.assert_allclose(verdict.score, [min(row) for row in rows], rtol=1e-7, atol=1e-7)
    np.testing.assert_array_equal(verdict.label, [row.index(min(row)) for row in rows])
    against("she", train, test, reference.she(features, logits, bank, bank_logits, labels))


def test_she_takes_all_images_of_a_class_of_which_none_is_right(toy_outputs):
    train = toy_outputs(unknown=0)
    wrong = replace(train, logits=np.roll(train.logits, 1, 1))
    none = ~((wrong.logits.argmax(1) == wrong.labels) & (wrong.labels == 2))
    train = only(wrong, none)
    test = Outputs.of_images(np.eye(4, dtype=np.float32)[2:3], train.features[:1])
    want = -train.features[:1].astype(float) @ train.features[train.labels == 2].mean(0, dtype=float)
    np.testing.assert_allclose(judge_of("she", train)(test).score, want, rtol=1e-9)
    with pytest.raises(ValueError, match="no image of class 3"):
        judge_of("she", replace(train, labels=train.labels % 3))


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_gmm_is_the_plain_loop(pair, covariance):
    train, test = pair
    bank = train.features.tolist()
    want = reference.gmm(test.features.tolist(), bank, train.labels.tolist(), 4, covariance)
    verdict = judge_of("gmm", train, covariance=covariance)(test)
    np.testing.assert_allclose(verdict.score, [score for score, _ in want], rtol=1e-7)
    np.testing.assert_array_equal(verdict.label, [label for _, label in want])


def test_gmm_holds_where_a_class_has_one_image_and_where_features_are_constant(toy_outputs):
    train, test = toy_outputs(unknown=0), toy_outputs(1)
    alone = only(train, (train.labels != 3) | (np.arange(len(train)) == 3))
    for one in (alone, replace(train, features=np.full_like(train.features, 0.3))):
        for covariance in COVARIANCES:
            assert np.isfinite(judge_of("gmm", one, covariance=covariance)(test).score).all()


def test_gmm_refuses_covariances_that_take_too_much_memory():
    train = Outputs.of_images(np.eye(70, dtype=np.float32), np.ones((70, 1500), np.float32))
    with pytest.raises(ValueError, match="70 matrices of 1500 by 1500"):
        judge_of("gmm", replace(train, labels=np.arange(70)), covariance="full")


@pytest.mark.parametrize("k", [1, 10, 60])
def test_nnguide_is_the_plain_loop(pair, k):
    train, test = pair
    (features, logits), (bank, bank_logits) = lists(test), lists(train)
    against("nnguide", train, test, reference.nnguide(features, logits, bank, bank_logits, k), k=k)


@pytest.mark.parametrize("dim", [1, 4, 5])
def test_residual_and_vim_are_the_plain_loops(toy_outputs, dim):
    train, test = toy_outputs(1, unknown=0), toy_outputs(2, known=20, unknown=10)
    # directions of different lengths, so that the power iteration tells them apart
    uneven = np.array([3.0, 2.4, 1.9, 1.5, 0.7, 0.4], np.float32)
    train, test = (replace(out, features=out.features * uneven) for out in (train, test))
    (features, logits), (bank, bank_logits), head = lists(test), lists(train), head_of(train)
    want, _ = reference.residual(features, bank, head, dim)
    np.testing.assert_allclose(judge_of("residual", train, dim=dim)(test).score, want, rtol=1e-6)
    want = reference.vim(features, logits, bank, bank_logits, head, dim)
    np.testing.assert_allclose(judge_of("vim", train, dim=dim)(test).score, want, rtol=1e-6)


@pytest.mark.parametrize(("width", "classes", "dim"), [(6, 4, 4), (20, 4, 10), (800, 4, 512), (5, 9, 4)])
def test_the_principal_space_has_the_authors_width_but_holds_the_classes(width, classes, dim):
    rng = np.random.default_rng(width)
    train = Outputs.of_images(rng.normal(5, 1, (40, classes)), rng.normal(size=(40, width)))
    train = replace(train, labels=np.arange(40) % classes, head=rng.normal(size=(classes, width + 1)))
    for name in ("residual", "vim"):
        np.testing.assert_allclose(
            judge_of(name, train)(train).score, judge_of(name, train, dim=dim)(train).score, rtol=1e-12
        )


def test_fdbd_react_dice_and_gradnorm_are_the_plain_loops(pair):
    train, test = pair
    (features, logits), bank, head = lists(test), train.features.tolist(), head_of(train)
    against("fdbd", train, test, reference.fdbd(features, logits, bank, head))
    for clip in (90.0, 50.0):
        verdict = judge_of("react", train, clip=clip)(test)
        np.testing.assert_allclose(verdict.score, reference.react(features, bank, head, clip), rtol=1e-6)
    uneven = train.head + np.random.default_rng(1).normal(size=train.head.shape).astype(np.float32)
    for given in (train.head, uneven):
        mine = replace(train, head=given)
        want = reference.dice(features, bank, head_of(mine), 60)
        against("dice", mine, test, want, sparsity=60)
    want = reference.gradnorm(features, logits)
    np.testing.assert_allclose(judge_of("gradnorm", train)(test).score, want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("prune", [0.0, 30.0, 65.0, 99.0])
@pytest.mark.parametrize(("name", "how"), [("ash_p", "p"), ("ash_b", "b"), ("ash_s", "s"), ("scale", "scale")])
def test_shaped_activations_are_the_papers(pair, name, how, prune):
    train, test = pair
    test.features[5, 2:5] = test.features[5, 1]  # ties
    test.features[6, :5] = 0  # fewer are above 0 than are kept
    against(name, train, test, reference.ash(test.features.tolist(), head_of(train), prune, how), prune=prune)


def test_nothing_pruned_is_the_energy_of_the_heads_logits(toy_outputs):
    train, test = toy_outputs(unknown=0), toy_outputs(1)
    z = test.features.astype(float) @ train.head[:, :-1].T.astype(float) + train.head[:, -1]
    energy = judge_of("energy", train)(replace(test, logits=z)).score
    np.testing.assert_allclose(judge_of("ash_p", train, prune=0)(test).score, energy, rtol=1e-9)


# --- what no score may depend on --------------------------------------------------------------------------------------


def shuffled(out, order):
    head = None if out.head is None else np.column_stack([out.head[:, :-1][:, order], out.head[:, -1]])
    dummies = np.column_stack([out.dummies[:, :-1][:, order], out.dummies[:, -1]])
    features = np.column_stack([out.features[:, order], out.features[:, len(order) :]])  # behind them latents
    return replace(out, features=features, head=head, dummies=dummies)


@pytest.mark.parametrize("name", COMMON)
def test_the_order_of_the_features_does_not_count(toys_for, name):
    toy_outputs = toys_for(name)
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    test.features[4] = np.round(test.features[4])  # ties
    test.features[5, 1:] = 0
    order, options = np.array([3, 5, 0, 1, 4, 2]), FEW_WEIGHTS.get(name, {})
    plain = judge_of(name, train, known_only(train), **options)(test).score
    moved = shuffled(train, order)
    np.testing.assert_allclose(
        judge_of(name, moved, known_only(moved), **options)(shuffled(test, order)).score, plain, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", COMMON)
def test_judging_leaves_the_outputs_as_they_are(toy_outputs, name):
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    before = [{key: np.copy(value) for key, value in vars(out).items() if value is not None} for out in (train, test)]
    judge_of(name, train, known_only(train))(test)
    for out, kept in zip((train, test), before, strict=True):
        for key, value in kept.items():
            np.testing.assert_array_equal(getattr(out, key), value)


UNSCALED = ("knn", "nnguide", "mahalanobis", "rmds", "cosine")
SCALED = [*(name for name in scorers.READ["logits"] if name in COMMON), *UNSCALED]


@pytest.mark.parametrize("name", SCALED)
def test_the_scale_of_the_features_does_not_count(toy_outputs, name):
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    plain = judge_of(name, train, known_only(train))(test).score
    larger = [replace(out, features=(64 * out.features).astype(np.float32)) for out in (train, test)]
    score = judge_of(name, larger[0], known_only(larger[0]))(larger[1]).score
    np.testing.assert_allclose(score, plain, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["gmm", "she", "residual", "fdbd", "gradnorm"])
def test_the_scale_of_the_features_moves_all_scores_alike(toy_outputs, name):
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    train = replace(train, head=train.head * np.array([*[1] * 6, 0], np.float32))  # no biases, which have a scale
    plain = judge_of(name, train)(test).score
    score = judge_of(name, replace(train, features=64 * train.features))(
        replace(test, features=64 * test.features)
    ).score
    some = np.abs(np.subtract.outer(plain, plain)) > 1e-5
    assert (np.sign(np.subtract.outer(plain, plain)) == np.sign(np.subtract.outer(score, score)))[some].all()


@pytest.mark.parametrize("name", NEW)
def test_mirrored_copies_are_left_out(toys_for, name):
    toy_outputs = toys_for(name)
    train, test = toy_outputs(known=320, unknown=0), toy_outputs(1)
    alone, both = (judge_of(name, one, known_only(train))(test).score for one in (train, with_mirrors(train)))
    np.testing.assert_allclose(both, alone, rtol=1e-9)


def test_sure_images_still_differ_in_what_reads_the_softmax():
    logits = np.array([[50.0, 0, 0], [60.0, 0, 0], [60.0, 1, 0]])
    out = Outputs.of_images(logits, logits)
    for name in ("entropy", "gen"):
        sure, surer, less = judge_of(name, out)(out).score
        assert sure > less > surer > 0, name
    np.testing.assert_allclose(log_softmax(logits)[0, 0], -2 * np.exp(-50), rtol=1e-12)


# --- what a score needs, and says -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMON)
def test_what_outputs_lack_is_said_before_a_score_is_asked_for(toys_for, name):
    toy_outputs = toys_for(name)
    train = toy_outputs(known=320, unknown=0)
    assert scorers.lacking(name, train) == ""
    small = replace(train, features=train.features[:, :0], head=None)
    headless, negative = replace(train, head=None), replace(train, features=train.features - 1)
    for out, says in (
        (small, "kept without features"),
        (headless, "no linear head"),
        (negative, "none may be below 0"),
    ):
        why = scorers.lacking(name, out)
        if not why:
            judge_of(name, out, known_only(out))
        else:
            assert says in why
            with pytest.raises(ValueError, match=says):
                judge_of(name, out, known_only(out))
    assert bool(scorers.lacking(name, small)) == (name in scorers.BY_FEATURES)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("gen", {"power": 0}, "power must be a positive number"),
        ("gen", {"top": 0}, "top must be a whole number of at least 1"),
        ("gmm", {"covariance": "none"}, "no kind of covariance 'none'.*shared, full"),
        ("nnguide", {"k": 61}, "k=61 needs 61 training images or more; this run has 60"),
        ("residual", {"dim": 6}, "dim=6 leaves nothing of features of width 6"),
        ("vim", {"dim": -1}, "dim must be a whole number of at least 0"),
        ("react", {"clip": 100}, "clip must be at least 0 and below 100"),
        *[(name, {"prune": -1}, "prune must be at least 0") for name in ("ash_p", "ash_b", "ash_s", "scale")],
        ("dice", {"sparsity": float("nan")}, "sparsity must be at least 0"),
    ],
)
def test_an_option_that_cannot_be_met_is_refused(toy_outputs, name, options, says):
    with pytest.raises(ValueError, match=says):
        judge_of(name, toy_outputs(unknown=0), **options)


def test_energies_and_logits_below_zero_are_refused_where_they_are_multiplied(toy_outputs):
    train = toy_outputs(unknown=0)
    low = replace(train, logits=train.logits - 100)
    for name in ("nnguide", "vim"):
        with pytest.raises(ValueError, match="must be positive"):
            judge_of(name, low)


@pytest.mark.parametrize("method", ["cac", "cross_entropy", "supcon", "proser", "vos", "distance_ensemble"])
def test_groups_hold_each_score_once_and_the_methods_own_first(method):
    groups = scorers.grouped(method)
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(scorers.scorers_for(method)) and next(iter(groups)) == "own"
    assert names[0] == scorers.default_for(method)


def test_what_each_score_reads_is_said_once():
    assert sorted(name for names in scorers.READ.values() for name in names) == sorted(scorers.SCORERS)


@pytest.mark.parametrize("name", [n for n in NEW if n in scorers.BY_FEATURES])
def test_two_hundred_thousand_wide_features_stay_within_two_gigabytes(name):
    rng = np.random.default_rng(0)
    labels = np.arange(20_000) % 10  # a tenth as many, within a tenth as much
    features = rng.random((20_000, 512), np.float32)
    logits = 9 * np.eye(10, dtype=np.float32)[labels]
    head = rng.standard_normal((10, 513)).astype(np.float32)
    train = replace(Outputs.of_images(logits, features), labels=labels, head=head)
    test = only(train, np.arange(300))
    tracemalloc.start()
    score = judge_of(name, train)(test).score
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(score).all()
    assert peak < 0.16e9  # beside the outputs' own 0.04 GB
