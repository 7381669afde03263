"""PROSER: its terms and its score against values of the official code, which images are mixed, and where.

Values as in test_sphere: computed in double precision by the formulas of zhoudw-zdw/CVPR21-Proser on inputs of sines.
"""

import dataclasses

import numpy as np
import pytest
import torch

from cac_core.recipe import compose
from cac_core.results.evaluate import build
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import judge_of
from tests.networks.test_sphere import sines, told


def made(**options):
    torch.manual_seed(0)
    return build(compose(method="proser", options=options), 4, 1, 16)


def test_the_terms_and_their_gradients_are_those_of_one_further_class():
    known = (2 * sines((5, 4), (1.7, 0.9), 0.37, 0.3)).requires_grad_()
    dummy = (1.5 * sines((5, 3), (0.6, 1.4), 0.45, 0.8)).requires_grad_()
    mixed_known = (2 * sines((4, 4), (0.9, 1.2), 0.39, 0.1)).requires_grad_()
    mixed_dummy = (1.5 * sines((4, 3), (1.5, 0.7), 0.35, 0.4)).requires_grad_()
    terms = made(dummies=3).placed(known, dummy, torch.tensor([0, 3, 1, 2, 3]), mixed_known, mixed_dummy)
    wanted = {"placeholder": 1.267269160548, "known": 2.589030088762, "mixed": 1.649026996759, "total": 4.021201948985}
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-9), name
    terms["total"].backward()
    told(known, 0.5948044873302, 0.4394371485587, [-0.1805456229961, 0.1464570791092])
    told(dummy, 0.2162963552346, -0.4394371485587, [0.0, -0.1236445932896])
    told(mixed_known, 0.02690925591191, 0.07684829835869, [0.001901092018192])
    told(mixed_dummy, 0.03876629572609, -0.07684829835869, [0.0, 0.0, -0.01829044197633])


def outputs(logits, features, dummies):
    n = len(logits)
    return Outputs(logits, features, np.arange(n) % 4, np.arange(n) % 4, np.arange(n), np.zeros(n, bool),
                   dummies=dummies)  # fmt: skip


def test_the_score_ranks_as_the_official_one_at_temperature_1024():
    known = (3 * sines((8, 4), (1.7, 0.9), 0.37, 0.3)).numpy()
    dummy = (2 * sines((8, 2), (0.6, 1.4), 0.45, 0.8)).numpy()
    heads = np.concatenate([np.eye(2), np.zeros((2, 1))], 1)  # whose features are the dummy logits
    found = judge_of("placeholder", outputs(known, dummy, heads))(outputs(known, dummy, heads))
    assert np.allclose(found.score, [
        -1.179124450262, -0.7569928205001, -0.3434353283867, -1.678142939256, -2.751053606257, -1.121309541166,
        -1.010695932189, -1.223179414607,
    ])  # fmt: skip
    assert found.score.argsort().tolist() == [4, 3, 7, 0, 5, 6, 1, 2] and (found.label == known.argmax(1)).all()
    heads[:, 2] = 5.0  # biases count
    assert np.allclose(judge_of("placeholder", outputs(known, dummy, heads))(outputs(known, dummy, heads)).score - 5,
                       found.score)  # fmt: skip


def test_without_dummies_the_score_says_what_to_train(toy_outputs):
    with pytest.raises(ValueError, match="has no dummy heads, which placeholder reads: train one by proser"):
        judge_of("placeholder", dataclasses.replace(toy_outputs(), dummies=None))


def test_dummies_that_do_not_fit_the_features_are_refused(toy_outputs):
    out = toy_outputs()
    with pytest.raises(ValueError, match=r"features need dummies of \d+ numbers"):
        dataclasses.replace(out, dummies=np.zeros((1, out.features.shape[1])))


@pytest.mark.parametrize("backbone", ["small", "plain", "fast", "wide_resnet-40-2"])
def test_a_backbone_is_what_its_two_halves_are(backbone):
    torch.manual_seed(0)
    net = build(compose(backbone=backbone), 3, 1, 16).backbone.eval()
    x = torch.randn(2, 1, 16, 16)
    assert torch.equal(net(x), net.late(net.early(x)))
    assert net.early(x).ndim == 4 and not torch.equal(net.early(x), x)


@pytest.mark.parametrize(("mixing", "same"), [("apart", True), ("all", True), ("apart", False)])
def test_pairs_of_one_class_are_left_out_unless_asked_for(mixing, same):
    net = made(mixing=mixing)
    y = torch.zeros(12, dtype=torch.long) if same else torch.arange(12)[:, None].repeat(1, 1)[:, 0] % 4
    x = torch.randn(12, 1, 16, 16)
    seen = []
    plain = net.placed
    net.placed = lambda *given: seen.append(given) or plain(*given)
    ((_, terms),) = net.losses(x, y)
    clean, mixed = seen[0][0], seen[0][3]
    assert len(clean) == 6 and torch.isfinite(terms["total"])
    assert len(mixed) == (0 if mixing == "apart" and same else 6 if mixing == "all" else len(mixed))
    if not same:
        assert 0 < len(mixed) <= 6


def test_before_its_start_it_is_cross_entropy_and_no_dummy_learns():
    net = made()
    net.way = 0.5
    ((_, terms),) = net.losses(torch.randn(8, 1, 16, 16), torch.arange(8) % 4)
    assert set(terms) == {"total", "softmax"}
    terms["total"].backward()
    assert net.dummy.weight.grad is None and net.classify.weight.grad is not None
