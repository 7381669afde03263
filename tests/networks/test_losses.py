"""The losses against the papers' sums."""

import pytest
import torch
import torch.nn.functional as F

from cac_core.networks import losses
from tests import reference


def made(n=32, c=5, seed=0, scale=4.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, generator=generator) * scale, torch.arange(n) % c, losses.anchors(c, 10.0)


@pytest.mark.parametrize("seed", range(3))
def test_terms_are_the_papers_sums(seed):
    logits, target, anchors = made(seed=seed)
    got = losses.cac(logits, target, anchors, lam=0.1)
    said = logits.tolist(), target.tolist(), anchors.tolist()
    assert got["tuplet"].item() == pytest.approx(reference.cac_tuplet(*said), rel=1e-5)
    assert got["anchor"].item() == pytest.approx(reference.cac_anchor(*said), rel=1e-5)
    assert got["total"].item() == pytest.approx(got["tuplet"].item() + 0.1 * got["anchor"].item())


@pytest.mark.parametrize("n", [3, 25, 26, 200])
def test_distances_are_exact_next_to_an_anchor_in_batches_of_every_size(n):
    _, target, anchors = made(n)
    near = anchors[target] + 1e-3
    want = 1e-3 * 5**0.5
    got = losses.distances(near, anchors).gather(1, target[:, None])
    assert torch.allclose(got, torch.full_like(got, want), rtol=1e-3)


def test_far_logits_do_not_overflow():
    _, target, anchors = made()
    got = losses.cac(torch.full((32, 5), 1e6), target, anchors, lam=0.1)
    assert all(torch.isfinite(value) for value in got.values())


def test_gradient_is_finite_on_the_anchor_itself():
    _, target, anchors = made()
    logits = anchors[target].clone().requires_grad_()
    losses.cac(logits, target, anchors, lam=0.1)["total"].backward()
    assert torch.isfinite(logits.grad).all()


def test_gradient_is_that_of_the_plain_formula():
    logits, target, anchors = made()
    fast, slow = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    losses.cac(fast, target, anchors, lam=0.3)["total"].backward()
    d = (slow[:, None] - anchors[None]).norm(dim=2)
    own = d.gather(1, target[:, None])
    others = ~F.one_hot(target, 5).bool()
    ((1 + (torch.exp(own - d) * others).sum(1)).log().mean() + 0.3 * own.mean()).backward()
    assert torch.allclose(fast.grad, slow.grad, atol=1e-6)


def test_anchors_lie_alpha_along_the_axes():
    assert torch.equal(losses.anchors(3, 7.0), torch.tensor([[7.0, 0, 0], [0, 7, 0], [0, 0, 7]]))


def test_cross_entropy_is_its_sum():
    logits, target, _ = made()
    got = losses.cross_entropy(logits, target)["total"].item()
    assert got == pytest.approx(reference.cross_entropy_reference(logits.tolist(), target.tolist()), rel=1e-5)
