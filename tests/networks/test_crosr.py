"""CROSR: the network that rebuilds images against plain loops and differences, and its score against given values.

The values of the score were computed in double precision by the corrected rule of saketd403/CROSR; its F is that of
libmr, compiled, to 3e-6. Inputs are sines, as in test_sphere.
"""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cac_core.recipe import compose
from cac_core.results.evaluate import build
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import judge_of
from tests import reference
from tests.networks.test_sphere import sines


def made(classes=3, channels=1, size=8, backbone="small", **options):
    torch.manual_seed(0)
    return build(compose(method="crosr", backbone=backbone, options=options), classes, channels, size)


def parameters(convs):
    return [(conv.weight.tolist(), conv.bias.tolist()) for conv in convs]


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (7, 3)])
def test_the_image_is_rebuilt_as_by_plain_loops(size, channels):
    net = made(channels=channels, size=size, latent=2).double().eval()
    x = torch.randn(1, channels, size, size, dtype=torch.double)
    maps, (_, codes) = net.backbone.stages(x), net.coded(x)
    for code, each, (weight, bias) in zip(codes, maps, parameters(net.down), strict=True):
        loops = reference._convolved(each[0].tolist(), weight, bias)
        assert np.allclose(code[0].detach(), np.maximum(loops, 0))
    sizes = [tuple(each.shape[2:]) for each in (x, *codes)]
    image = reference.rebuilt([code[0].tolist() for code in codes], parameters(net.up), parameters(net.out), sizes)
    assert np.allclose(net.rebuilt(x)[0].detach(), image, rtol=1e-5, atol=1e-6)


def test_the_loss_is_cross_entropy_and_the_weighted_error_of_the_normalised_images():
    net, x, y = made(weight=0.3, dropout=0.0), torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    ((part, terms),) = net.losses(x, y)
    with torch.no_grad():
        logits, features = net(x)
        image = net.rebuilt(x)
    assert part == "net" and terms["softmax"] == F.cross_entropy(logits, y)
    assert terms["reconstruction"].item() == pytest.approx(((image - x) ** 2).sum().item() / x.numel(), rel=1e-5)
    assert terms["total"].item() == pytest.approx((terms["softmax"] + 0.3 * terms["reconstruction"]).item())
    codes = net.coded(x)[1]
    means = torch.cat([codes[1].mean((2, 3)), codes[0].mean((2, 3))], 1)  # the last stage first
    assert torch.allclose(features[:, -16:], means) and torch.allclose(logits, net.classify(features[:, :-16]))


def test_gradients_are_those_of_differences():
    net = made(size=4, latent=2, dropout=0.0).double()
    x, y = torch.randn(5, 1, 4, 4, dtype=torch.double), torch.arange(5) % 3

    def total() -> torch.Tensor:
        maps, built = net.backbone.stages(x), None  # in double throughout, which training is not
        codes = [down(each).relu() for down, each in zip(net.down, maps, strict=True)]
        for stage in (1, 0):
            built = net.up[stage](codes[stage]) + (0 if built is None else built.relu())
            built = net.out[stage](F.interpolate(built, (x, codes[0])[stage].shape[2:]))
        features = net.backbone.pooled(net.backbone.ended(maps[-1]))
        return F.cross_entropy(net.classify(features), y) + F.mse_loss(built, x)

    given = list(net.parameters())
    gradients = torch.autograd.grad(total(), given)
    ((_, terms),) = net.float().losses(x.float(), y)
    for one, other in zip(torch.autograd.grad(terms["total"], given), gradients, strict=True):
        assert torch.allclose(one, other.float(), rtol=1e-3, atol=1e-5)
    net.double()
    rng = np.random.default_rng(0)
    for parameter, gradient in zip(given, gradients, strict=True):
        for at in rng.integers(0, parameter.numel(), 3):
            flat = parameter.data.view(-1)
            before = flat[at].item()
            flat[at] = before + 1e-6
            up = total().item()
            flat[at] = before - 1e-6
            down = total().item()
            flat[at] = before
            assert (up - down) / 2e-6 == pytest.approx(gradient.reshape(-1)[at].item(), rel=1e-4, abs=1e-7)


def test_with_weight_0_nothing_is_reconstructed():
    net = made(weight=0.0)
    ((_, terms),) = net.losses(torch.randn(6, 1, 8, 8), torch.arange(6) % 3)
    assert set(terms) == {"total", "softmax"}
    terms["total"].backward()
    assert all(p.grad is None for part in (net.down, net.up, net.out) for p in part.parameters())


@pytest.mark.parametrize("backbone", ["small", "plain", "fast", "wide_resnet-40-2"])
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (17, 3), (28, 1), (64, 3)])
def test_any_size_and_colour_is_rebuilt_also_of_one_image_and_of_constant_ones(backbone, size, channels):
    net = made(2, channels, size, backbone).eval()
    for x in (torch.randn(1, channels, size, size), torch.zeros(2, channels, size, size)):
        assert net.rebuilt(x).shape == x.shape and torch.isfinite(net.rebuilt(x)).all()
        ((_, terms),) = net.losses(x, torch.zeros(len(x), dtype=torch.long))
        assert torch.isfinite(terms["total"])
    assert torch.equal(net.backbone.ended(net.backbone.stages(x)[-1]), net.backbone(x))


# --- the score -------------------------------------------------------------------------------------------------------


def outputs(logits, features, labels, latents):
    n = len(logits)
    return Outputs(logits, features, labels, labels, np.arange(n), np.zeros(n, bool), latents=latents)


def test_the_score_is_that_of_the_corrected_rule():
    of, of_test = np.arange(60) % 3, np.array([0, 1, 2, 1, 0, -1])
    labels = of.copy()
    labels[7], labels[30] = 2, 1

    def put_out(noise, classes, *maps):
        logits = noise.numpy() + 4 * (np.arange(3) == classes[:, None])
        means = [(each.numpy() + 0.5 * classes[:, None, None, None]).mean((2, 3)) for each in maps]
        return logits, np.column_stack([np.zeros((len(logits), 2)), *means])  # two features that it does not read

    train = put_out(
        sines((60, 3), (1.7, 0.9), 0.37, 0.3), of, sines((60, 2, 2, 2), (0.7, 1.2, 0.3, 0.9), 0.27, 0.8),
        sines((60, 2, 2, 2), (1.1, 0.8, 0.6, 0.5), 0.33, 0.5), sines((60, 2, 2, 2), (0.9, 1.3, 0.4, 0.7), 0.21, 0.2),
    )  # fmt: skip
    test = put_out(
        1.15 * sines((6, 3), (1.2, 2.1), 0.53, 0.4), of_test, sines((6, 2, 2, 2), (0.5, 1.4, 0.9, 0.3), 0.31, 0.3),
        sines((6, 2, 2, 2), (1.3, 0.7, 0.4, 0.8), 0.23, 0.6), sines((6, 2, 2, 2), (0.8, 1.1, 0.5, 0.6), 0.29, 0.1),
    )  # fmt: skip
    found = judge_of("latent_openmax", outputs(*train, labels, 6), tail=10)(outputs(*test, of_test, 6))
    assert np.allclose(found.score, [
        0.9561285773131, 0.9291582015482, 0.05154378596012, 0.8635388540794, 0.1314331922888, 0.2199751469434,
    ], rtol=1e-6, atol=0)  # fmt: skip
    assert found.label.tolist() == [0, 2, 2, 1, 0, 0]


def test_it_reads_latents_and_the_others_do_not(toy_outputs):
    train, test = toy_outputs(known=320, unknown=0, latents=2), toy_outputs(1, latents=2)
    other = dataclasses.replace(test, features=test.features + np.r_[np.zeros(6), 3.0, 3.0])
    for name in ("knn", "mahalanobis", "cosine", "placeholder", "openmax", "latent_openmax"):
        judge = judge_of(name, train)
        assert np.array_equal(judge(test).score, judge(other).score) == (name != "latent_openmax"), name


def test_a_number_over_its_spread_counts_the_same_in_any_unit(toy_outputs):
    train, test = toy_outputs(known=320, unknown=0, latents=2), toy_outputs(1, latents=2)
    unit = np.r_[np.ones(6), 100.0, 0.01]
    moved = [dataclasses.replace(out, features=out.features * unit) for out in (train, test)]
    scores = {scale: [judge_of("latent_openmax", a, scaling=scale)(b).score for a, b in ((train, test), moved)]
              for scale in ("none", "each")}  # fmt: skip
    assert np.allclose(*scores["each"]) and not np.allclose(*scores["none"])
    assert not np.allclose(scores["each"][0], scores["none"][0])
    flat = [dataclasses.replace(out, features=out.features * np.r_[np.ones(6), 0, 0]) for out in (train, test)]
    assert np.isfinite(judge_of("latent_openmax", flat[0], scaling="each")(flat[1]).score).all()


def test_a_class_of_few_or_of_none_classified_right_gives_what_it_has():
    logits = 5 * np.eye(3)[[0, 0, 0, 1, 0]] + 0.1 * np.arange(15).reshape(5, 3)
    train = outputs(logits, np.ones((5, 2)), np.array([0, 0, 0, 1, 2]), 1)
    found = judge_of("latent_openmax", train)(outputs(-logits, np.zeros((5, 2)), np.full(5, -1), 1))
    assert np.isfinite(found.score).all()
    with pytest.raises(ValueError, match="no image of class 2"):
        judge_of("latent_openmax", dataclasses.replace(train, labels=np.array([0, 0, 0, 1, 1])))


def test_what_cannot_be_is_said(toy_outputs):
    with pytest.raises(ValueError, match="has no latents, which latent_openmax reads: train one by crosr"):
        judge_of("latent_openmax", toy_outputs())
    with pytest.raises(ValueError, match=r"no scaling 'all'.*none, each"):
        judge_of("latent_openmax", toy_outputs(latents=2), scaling="all")
    with pytest.raises(ValueError, match=r"is not cut into stages. Take small, plain, fast or wide_resnet-40-2"):
        made(backbone="resnet18")
