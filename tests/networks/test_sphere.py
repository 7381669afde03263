"""SupCon and CIDER: the losses against plain loops and against values of the official code, and what training needs.

The values were computed in double precision with the formulas of the released code (HobbitLong/SupContrast and
deeplearning-wisc/cider) on inputs that sines make, so that they can be made again: value[i, j, ..] = sin(coef0 i +
coef1 j + .. + cross (i j + j k + ..) + phase).
"""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cac_core.networks import losses
from cac_core.recipe import compose
from cac_core.results.evaluate import build
from tests import reference


def sines(shape, coef, cross, phase):
    """The inputs of the stored values."""
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    mixed = sum(a * b for a, b in itertools.pairwise(grid))
    return torch.tensor(np.sin(sum(c * g for c, g in zip(coef, grid, strict=True)) + cross * mixed + phase))


def told(tensor, norm, total, first):
    """Whether a gradient has this norm, this sum and these first entries."""
    g = tensor.grad.flatten()
    assert g.norm().item() == pytest.approx(norm, rel=1e-8)
    assert g.sum().item() == pytest.approx(total, rel=1e-8, abs=1e-10)
    assert np.allclose(g[: len(first)], first, rtol=1e-8, atol=1e-10)


def test_sup_con_is_the_official_value():
    u = sines((5, 2, 4), (1.7, 0.9, 0.5), 0.37, 0.3).requires_grad_()
    z = F.normalize(u, dim=2)
    y = torch.tensor([0, 1, 0, 2, 1]).repeat(2)
    loss = losses.sup_con(torch.cat([z[:, 0], z[:, 1]]), y, temperature=0.1)
    assert loss.item() == pytest.approx(19.1403990946, rel=1e-10)
    (loss * losses.BASE / 0.1).backward()
    told(u, 2.178744872846, -2.642517089915, [0.3402481058822, 0.09103388002083, -0.06892364090122])


def test_compactness_is_the_official_value():
    u = sines((6, 5), (1.7, 0.9), 0.37, 0.3).requires_grad_()
    mu = sines((4, 5), (0.8, 1.3), 0.41, 0.6)
    near = F.cross_entropy(F.normalize(u) @ F.normalize(mu).T / 0.1, torch.tensor([0, 1, 2, 3, 1, 0]))
    assert near.item() == pytest.approx(2.600629838217, rel=1e-10)
    assert (near * 0.1 / losses.BASE).item() == pytest.approx(3.715185483166, rel=1e-10)


def test_cider_moves_prototypes_and_sums_its_terms_as_the_official_code():
    before = F.normalize(sines((4, 6), (0.7, 1.9), 0.43, 0.2))
    assert losses.dispersion(before, temperature=0.1).item() == pytest.approx(2.781817013324, rel=1e-10)
    net = build(compose(method="cider", options={"temperature": 0.1, "lam": 2.0, "ema": 0.95}), 4, 1, 16).double()
    net.prototypes = before.clone()
    wanted = [
        (sines((6, 6), (1.1, 0.8), 0.31, 0.5), [2, 0, 0, 3, 2, 0], 2.75326366274, 2.409504210775, 7.572272084289,
         [0.1487160186113, 0.516611398837], 0.7965693804644),
        (sines((5, 6), (0.6, 1.4), 0.53, 0.9), [1, 1, 3, 0, 1], 2.923239238779, 4.784954898215, 12.49314903521,
         [0.1597427944828, 0.4952248746793], 0.8244466215581),
    ]  # fmt: skip
    net.seen, net.z = (lambda x: x), F.normalize  # the loss alone
    for n, (u, y, apart, near, total, first, largest) in enumerate(wanted):
        u.requires_grad_()
        ((part, terms),) = net.losses(u, torch.tensor(y))
        assert part == "net" and set(terms) == {"total", "compactness", "dispersion"}
        assert terms["dispersion"].item() == pytest.approx(apart, rel=1e-10)
        assert terms["compactness"].item() == pytest.approx(near, rel=1e-10)
        assert terms["total"].item() == pytest.approx(total, rel=1e-10)
        assert np.allclose(net.prototypes[0, :2], first, rtol=1e-10)
        cosines = net.prototypes @ net.prototypes.T - 2 * torch.eye(4, dtype=torch.float64)
        assert cosines.max().item() == pytest.approx(largest, rel=1e-10)
        terms["total"].backward()
        if n == 0:
            told(u, 6.025685239906, -0.7450250313593, [-0.4714432522302, 0.604986156032, -1.457638147172])


def drawn(count, width, seed=0):
    return F.normalize(torch.randn(count, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def test_losses_are_those_of_plain_loops():
    z, y, mu = drawn(12, 5), torch.arange(12) % 3, drawn(4, 5, seed=1)  # class 3 has no view
    want = reference.sup_con(z.tolist(), y.tolist(), 0.2) * 0.2 / 0.07
    assert losses.sup_con(z, y, temperature=0.2).item() == pytest.approx(want, rel=1e-12)
    moved = losses.moved_prototypes(mu, z, y, ema=0.8)
    assert np.allclose(moved, reference.moved_prototypes(mu.tolist(), z.tolist(), y.tolist(), 0.8), atol=1e-12)
    assert torch.equal(moved[3], mu[3])
    want = reference.dispersion(moved.tolist(), 0.2)
    assert losses.dispersion(moved, temperature=0.2).item() == pytest.approx(want, rel=1e-12)


def test_gradients_are_those_of_finite_differences():
    y, mu = torch.tensor([0, 1, 0, 1, 2, 0]), drawn(3, 4, seed=1)

    def moved(u):
        return losses.dispersion(losses.moved_prototypes(mu, F.normalize(u), y, ema=0.7), temperature=0.3)

    def contrast(u):
        return losses.sup_con(F.normalize(u), y, temperature=0.3)

    for loss in (moved, contrast):
        assert torch.autograd.gradcheck(loss, (drawn(6, 4).requires_grad_(),))


def test_a_view_that_is_alone_in_its_class_counts_for_nothing():
    z, y = drawn(5, 4), torch.tensor([0, 0, 1, 1, 2])
    each = []
    for i in range(4):  # those that have another, which is the one next to it
        s = {a: float(z[i] @ z[a]) / 0.1 for a in range(5) if a != i}
        each.append(math.log(sum(map(math.exp, s.values()))) - s[i ^ 1])
    lone = losses.sup_con(z, y, temperature=0.1).item()
    assert lone == pytest.approx(sum(each) / 4 * 0.1 / losses.BASE, rel=1e-12)
    nothing = losses.sup_con(drawn(3, 4).requires_grad_(), torch.arange(3), temperature=0.1)
    assert nothing.item() == 0
    nothing.backward()


@pytest.mark.parametrize("classes", [2, 3])
def test_two_classes_disperse_to_opposite_ends(classes):
    mu = drawn(classes, 6).requires_grad_()
    for _ in range(300):
        (gradient,) = torch.autograd.grad(losses.dispersion(F.normalize(mu), temperature=0.5), mu)
        mu = (mu - 0.2 * gradient).detach().requires_grad_()
    cosines = (F.normalize(mu) @ F.normalize(mu).T)[~torch.eye(classes, dtype=torch.bool)]
    assert torch.allclose(cosines, torch.full_like(cosines, -1 / (classes - 1)), atol=0.02)  # the simplex


@pytest.mark.parametrize("method", ["supcon", "cider"])
def test_the_loss_reaches_the_network_and_prototypes_begin_at_class_means(method):
    torch.manual_seed(0)
    net = build(compose(method=method), 3, 1, 16).train()
    x, y = torch.randn(12, 1, 16, 16), torch.arange(12) % 3
    for _, terms in net.losses(x, y):
        terms["total"].backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    net.eval().first([(x[:7], y[:7]), (x[7:], y[7:])])
    with torch.no_grad():
        directions = net.direction(net.seen(x))
    for c in range(3):
        mean = directions[y == c].sum(0)
        assert torch.allclose(net.prototypes[c], mean / mean.norm(), atol=1e-5)
    logits = net(x)[0]
    assert torch.allclose(logits, directions @ net.prototypes.T / net.temperature, atol=1e-4)
    assert math.isclose(net.prototypes.norm(dim=1).mean().item(), 1, rel_tol=1e-5)


@pytest.mark.parametrize(("option", "value"), [("temperature", 0), ("ema", 1), ("projection", 1)])
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(ValueError, match=f"{option} must be"):
        compose(method="cider", options={option: value})
