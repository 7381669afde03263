"""Scores in torch: each formula is the scorer's, and its gradient by the pixels is that of small steps."""

import numpy as np
import pytest
import torch

from cac_core import recipe
from cac_core.results import evaluate, formulas
from cac_core.scoring.distances import centres_of
from cac_core.scoring.logits import likeliest_temperature
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import DIFFERENTIABLE, judge_of, scorer_options
from cac_core.training import loop

LOGITS = np.random.default_rng(0).normal(0, 6, (40, 6)).astype(np.float32)
SURE = np.concatenate([LOGITS, 40 * np.eye(6, dtype=np.float32)])  # images of whose class a network is all but certain


def test_each_differentiable_score_has_its_formula():
    assert {*formulas.BY_DISTANCES, *formulas.FORMULAS, *formulas.BY_DUMMIES} == set(DIFFERENTIABLE)


@pytest.mark.parametrize("scorer", DIFFERENTIABLE)
def test_every_formula_is_the_scorers(scorer):
    """The torch form against the numpy form of the scorer, also of images that it is sure of."""
    labels = SURE.argmax(1)
    labels[::7] = (labels[::7] + 1) % 6
    rng = np.random.default_rng(1)
    features, dummies = rng.normal(0, 1, (46, 4)).astype(np.float32), rng.normal(0, 6, (3, 5)).astype(np.float32)
    train = Outputs(SURE, features, labels, labels, np.arange(46), np.zeros(46, bool), dummies=dummies)
    options = scorer_options(scorer)
    expected = judge_of(scorer, train, train, **options)(Outputs.of_images(SURE, features))
    if scorer == "temperature_scaling":
        options = {"temperature": likeliest_temperature(SURE, labels)}

    class Gives:
        method = torch.nn.Identity()
        method.pooled = method

        def __call__(self, x):
            return torch.from_numpy(SURE), torch.from_numpy(features)

    centres = centres_of(train, options.get("centres", "means"))
    module = formulas.Scoring(Gives(), scorer, options, centres, dummies)
    *_, score, label = module(torch.zeros(46, 1, 1, 1, dtype=torch.uint8))
    np.testing.assert_allclose(score.numpy(), expected.score, rtol=1e-6, atol=1e-14)
    np.testing.assert_array_equal(label.numpy(), expected.label)


@pytest.fixture(scope="module")
def of_method(tmp_path_factory):
    """of_method(method): a run of one epoch on the digits."""
    place, made = tmp_path_factory.mktemp("formulas"), {}

    def of(method):
        if method not in made:
            given = recipe.compose("quick", {}, dataset="digits", method=method, epochs=1, batch=128)
            made[method] = loop.train(given, place / "runs", place / "data", device="cpu")
        return made[method]

    return of


@pytest.mark.long
@pytest.mark.parametrize("scorer", DIFFERENTIABLE)
def test_the_gradient_is_that_of_small_steps(of_method, scorer):
    run = of_method("proser" if scorer in formulas.BY_DUMMIES else "cac")
    options = scorer_options(scorer) | ({"temperature": 2.0} if scorer == "gamma" else {})
    scoring = formulas.of_run(run, evaluate.load(run, "cpu"), scorer, options)
    row = run.row
    pixels = np.random.default_rng(0).integers(0, 256, (1, row.size, row.size, row.channels), np.uint8)
    found = formulas.gradient(scoring, pixels)[0, ..., 0]
    method, (mean, std) = scoring.method.double(), scoring.network.scale
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
    judge = judge_of(scorer, run.outputs("train"), run.outputs("validation"), **options)

    def score(image):
        with torch.no_grad():
            maps = method.backbone((image - mean.double()) / std.double())
            features = method.backbone.pooled(maps)
            logits = method.classify(features if method.pools else maps)
        return judge(Outputs.of_images(logits.numpy(), features.numpy())).score[0]

    for at in ((3, 4), (8, 8), (12, 5)):
        step = torch.zeros_like(x)
        step[0, 0, at[0], at[1]] = 1e-5
        small = (score(x + step) - score(x - step)) / 2e-5
        assert found[at] == pytest.approx(small, rel=2e-2, abs=1e-3 * float(np.abs(found).max()))
