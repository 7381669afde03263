"""VOS: its Gaussian and its loss against values of the official code, and that the loss reaches the network.

Values as in test_sphere: computed in double precision by the formulas of deeplearning-wisc/vos on inputs of sines.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from cac_core.recipe import compose
from cac_core.results.evaluate import build
from tests.networks.test_sphere import sines, told

LABELS = torch.tensor([0, 2, 0, 1, 0])


def made(**options):
    torch.manual_seed(0)
    return build(compose(method="vos", options={"queue": 8} | options), 3, 1, 16)


@pytest.fixture
def filled():
    """VOS over four features, with the queue and the batch of the stored values."""
    net = made()
    queue = (sines((3, 8, 4), (0.9, 1.7, 0.6), 0.29, 0.3) + 0.4).clamp_min(0)
    net.double()
    net.queues, net.filled, net.length = queue, torch.full((3,), 8), torch.tensor(8)
    features = (sines((5, 4), (1.3, 0.7), 0.33, 0.1) + 0.5).clamp_min(0)
    net.remember(features, LABELS)
    return net, features.requires_grad_()


def test_the_gaussian_is_that_of_the_official_code(filled):
    net, _ = filled
    assert np.allclose(net.queues[0, -1], [0.0, 1.360787387899, 0.5846764431147, 0.0], atol=1e-10)
    assert np.allclose(net.queues[0, 0], [0.0, 0.95371140361, 1.284199719702, 0.02423508690106], atol=1e-10)
    means, covariance = net.gaussian()
    assert np.allclose(means[2], [0.5814040171961, 0.6595062803749, 0.4851041362553, 0.5558297848965], atol=1e-10)
    assert np.allclose(
        covariance[0], [0.2425091349917, -0.01743465984356, -0.1138742987771, 0.01364370052057], atol=1e-10
    )
    assert torch.logdet(covariance).item() == pytest.approx(-5.386050100063, rel=1e-10)


@pytest.mark.parametrize("draws", [1, 50])
def test_the_least_likely_of_many_draws_is_distributed_as_if_they_were_made(filled, draws):
    """Against drawing them all: how unlikely it is, and where it lies from its class mean."""
    net, _ = filled
    net.draws, rounds = draws, 1000
    torch.manual_seed(3)
    found = torch.stack([net.outliers() for _ in range(rounds)])
    means, covariance = net.gaussian()
    candidates = torch.distributions.MultivariateNormal(means, covariance).sample((rounds, draws))
    for c, mean in enumerate(means):
        density = torch.distributions.MultivariateNormal(mean, covariance).log_prob
        least = candidates[:, :, c][torch.arange(rounds), density(candidates[:, :, c]).argmin(1)]
        assert stats.ks_2samp(density(found[:, c]), density(least)).pvalue > 0.01
        for mine, theirs in zip((found[:, c] - mean).T, (least - mean).T, strict=True):
            assert stats.ks_2samp(mine, theirs).pvalue > 0.01
    assert len({tuple(row) for row in found.flatten(0, 1).tolist()}) == 3 * rounds


def test_the_best_epoch_is_one_in_which_all_of_its_loss_acts():
    assert made(start=0.3).begins == 0.3 and made(start=0.3, weight=0.0).begins == 0


def test_the_loss_and_its_gradients_are_those_of_the_official_code(filled):
    net, features = filled
    candidates = 1.5 * sines((3, 7, 4), (0.5, 1.1, 0.9), 0.47, 0.7) + 0.3
    virtual = torch.stack([candidates[0, 4], candidates[1, 6], candidates[2, 6]])  # which have the lowest density
    net.classify = nn.Linear(4, 3).double()
    given = {
        net.classify.weight: 1.2 * sines((3, 4), (1.9, 0.8), 0.51, 0.2),
        net.classify.bias: 0.3 * sines((3,), (0.7,), 0.0, 0.4),
        net.energies: 0.5 * sines((3,), (1.3,), 0.0, 0.5) + 0.4,
        net.tell.weight: 0.8 * sines((2, 1), (2.0, 0.0), 0.0, 0.6),
        net.tell.bias: 0.2 * sines((2,), (1.0,), 0.0, 0.2),
    }
    with torch.no_grad():
        for parameter, value in given.items():
            parameter.copy_(value)
    logits = net.classify(features)
    assert np.allclose(net.energy(logits).detach()[:2], [3.631228518659, 1.969959390607], rtol=1e-10)
    term = net.uncertainty(logits, net.classify(virtual))
    assert term.item() == pytest.approx(0.6940111257091, rel=1e-9)
    assert F.cross_entropy(logits, LABELS).item() == pytest.approx(1.844095363046, rel=1e-9)
    term.backward()
    told(features, 0.006536714062949, 0.02294948182022, [0.0005236909322672, 0.002368463665807])
    told(net.energies, 0.005562536760802, 0.006709435664514, [0.005481195618669, 0.0003457704374517])
    told(net.tell.weight, 0.6217668191023, 0.0, [0.439655534104, -0.439655534104])


def test_queues_fill_before_anything_is_updated_and_hold_the_newest():
    net = made(queue=2)
    rows = torch.arange(1.0, 9).repeat_interleave(net.width).view(8, -1)
    net.remember(rows[:3], torch.tensor([0, 0, 0]))
    assert net.filled.tolist() == [2, 0, 0] and net.queues[0, :, 0].tolist() == [2, 3]
    net.remember(rows[3:6], torch.tensor([0, 1, 2]))  # class 0 is full and waits for the others
    assert net.filled.tolist() == [2, 1, 1] and net.queues[0, :, 0].tolist() == [2, 3]
    net.remember(rows[4:6], torch.tensor([1, 2]))
    net.remember(rows[6:7], torch.tensor([0]))
    assert net.queues[0, :, 0].tolist() == [3, 7]


def test_a_queue_is_no_longer_than_the_smallest_class():
    net = made(queue=50)
    net.first([(torch.zeros(9, 1, 16, 16), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2]))])
    assert net.length == 2
    net.first([(torch.zeros(3, 1, 16, 16), torch.arange(3))])
    assert net.length == 2  # of one image there is no spread, two stand in the queue


@pytest.mark.parametrize("way", [0.1, 0.9])
def test_the_term_reaches_the_network_from_its_start_on(way):
    net, y = made(queue=2, start=0.4, weight=10.0), torch.arange(12) % 3
    net.way, x = way, torch.randn(12, 1, 16, 16)
    gradients = []
    for weight in (0.0, 10.0):
        net.weight = weight
        torch.manual_seed(1)
        net.zero_grad()
        ((_, terms),) = net.eval().losses(x, y)
        terms["total"].backward()
        gradients.append(net.backbone.conv1.weight.grad.clone())
    assert torch.equal(*gradients) == (way < 0.4)
    assert (terms["outlier"] > 0) == (way >= 0.4)
