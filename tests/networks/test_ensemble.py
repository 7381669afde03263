"""Ensembles: both means against plain loops, and the module as one network."""

import numpy as np
import pytest
import torch

from cac_core.networks import losses
from cac_core.networks.ensemble import Ensemble, mean_distances, mean_softmax
from cac_core.recipe import compose
from cac_core.results.evaluate import build
from tests import reference

M, N, C, ALPHA = 3, 7, 5, 10.0


def drawn(seed=0, count=M):
    return 4 * torch.randn(count, N, C, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_softmax_of_the_mean_is_the_mean_of_the_softmax(count):
    logits = drawn(count=count)
    shares, sums = reference.mean_softmax(logits.tolist())
    made = mean_softmax(logits)
    assert np.allclose(made.softmax(1), shares, rtol=0, atol=1e-12)
    assert np.allclose(made.logsumexp(1), sums, rtol=1e-12)
    if count == 1:
        assert torch.allclose(made, logits[0], atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_distances_to_the_anchors_are_the_roots_of_the_mean_squares(count, scale):
    anchors = losses.anchors(C, ALPHA).double()
    logits = anchors[torch.arange(N) % C] + scale * drawn(count=count)  # near the anchors' plane and far from it
    want = reference.root_mean_square_distances(logits.tolist(), anchors.tolist())
    assert np.allclose(losses.distances(mean_distances(logits, ALPHA), anchors), want, rtol=1e-9, atol=1e-9)
    if count == 1:
        assert torch.allclose(mean_distances(logits, ALPHA), logits[0], atol=1e-9)


def test_what_networks_disagree_on_is_farther_from_every_anchor():
    anchors, logits = losses.anchors(C, ALPHA).double(), drawn()
    alike, apart = (losses.distances(z, anchors) for z in (logits.mean(0), mean_distances(logits, ALPHA)))
    assert (apart > alike).all()


def test_its_gradient_is_a_number_where_the_networks_agree_on_the_plane():
    logits = losses.anchors(C, ALPHA)[None].repeat(2, 1, 1).requires_grad_()
    mean_distances(logits, ALPHA).sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("by_distances", [False, True])
def test_it_judges_as_its_networks_do_each_with_its_own_scale(by_distances):
    torch.manual_seed(0)
    methods = ["cac", "cac"] if by_distances else ["cac", "cross_entropy"]
    networks = [build(compose(method=method), C, 1, 16).eval() for method in methods]
    scales = [((0.3,), (0.5,)), ((0.4,), (0.2,))]
    joint = Ensemble(networks, scales, [False, True], by_distances).eval()
    pixels = torch.rand(N, 1, 16, 16)

    def seen(number, x):
        (mean,), (std,) = scales[number]
        return networks[number]((x - mean) / std)

    with torch.no_grad():
        logits, features = joint((pixels - 0.3) / 0.5)
        ways = [seen(1, pixels), seen(1, pixels.flip(3))]
        each = torch.stack([seen(0, pixels)[0], (ways[0][0] + ways[1][0]) / 2])
        if by_distances:
            anchors = networks[0].anchors.double()
            want = reference.root_mean_square_distances(each.tolist(), anchors.tolist())
            assert np.allclose(losses.distances(logits, networks[0].anchors), want, atol=1e-4)
            assert torch.equal(joint.affinity(logits).argmax(1), torch.tensor(want).argmin(1))
        else:
            affinities = torch.stack([n.affinity(z) for n, z in zip(networks, each, strict=True)])
            assert np.allclose(logits.softmax(1), reference.mean_softmax(affinities.tolist())[0], atol=1e-5)
            assert torch.equal(joint.affinity(logits), logits)
    assert features.shape == (N, 2 * networks[0].backbone.pooled(seen(0, pixels)[1]).shape[1])


def test_latents_which_few_scores_read_are_not_among_its_features():
    torch.manual_seed(0)
    networks = [build(compose(method="crosr"), C, 1, 16).eval() for _ in range(2)]
    joint = Ensemble(networks, [((0.3,), (0.5,))] * 2, [False, True], by_distances=False).eval()
    with torch.no_grad():
        x = torch.rand(N, 1, 16, 16)
        own, features = networks[0](x)[1], joint(x)[1]
    read = own.shape[1] - networks[0].latents
    assert features.shape == (N, 2 * read) and torch.equal(features[:, :read], own[:, :read])


def test_an_ensemble_is_not_trained():
    with pytest.raises(ValueError, match=r"softmax_ensemble is not trained: .*cac_core ensemble RUN RUN"):
        build(compose(method="cac").__class__(method="softmax_ensemble"), C, 1, 16)
