"""OSRCI and G-OpenMax: the losses, the search and the penalty against values of the official code and plain loops, and
what is made, of images of every size.

Values as in test_sphere: computed in double precision by the formulas of lwneal/counterfactual-open-set on sines.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from cac_core.networks import losses
from cac_core.networks.generator import PIECES, Critic, Encoder, Generator, on_spheres, penalty
from cac_core.networks.methods.openset import MOMENTS, walk
from cac_core.recipe import compose
from cac_core.results.evaluate import build
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import judge_of
from tests import reference
from tests.networks.test_sphere import sines, told

SMALL = {"count": 12, "maps": 6, "latent": 3}
BOTH = pytest.mark.parametrize("method", ["osrci", "g_openmax"])


def made(method="osrci", classes=4, channels=1, size=16, **options):
    torch.manual_seed(0)
    walk = {"walk": 3} if method == "osrci" else {"unsure": 1.0}
    return build(compose(method=method, options=SMALL | walk | options), classes, channels, size)


def trained_on(net, x, y):
    """A step of the first stage, after which all has been made."""
    net.way = 0.0
    net.eval().first(iter([(x, y)]))
    for _, terms in net.train().losses(x, y):
        terms["total"].backward()
    net.eval()
    while net.done() < 1:
        net.make(x, y)
    return net


# --- the formulas ----------------------------------------------------------------------------------------------------


def test_the_terms_of_k_plus_one_classes_are_the_official_ones():
    real = (2 * sines((5, 4), (1.7, 0.9), 0.37, 0.3)).requires_grad_()
    fake = (0.5 + 2 * sines((3, 4), (0.8, 1.1), 0.41, 0.6)).requires_grad_()
    y = torch.tensor([0, 2, 3, 1, 2])
    terms = made().open_terms(real, y, fake)
    wanted = {"known": 2.270236300478, "unknown": 3.001311923951, "total": 5.271548224429}
    for name, value in wanted.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-9), name
    terms["total"].backward()
    told(real, 0.4229206114232, -0.09537628546659, [-0.1777087119078, 0.07961748203037, 0.06937830798504])
    told(fake, 0.3860635212077, 0.9497700829714, [0.07827280823785, 0.1838729334809, 0.04944651693783])
    assert (terms["known"].item(), terms["unknown"].item()) == pytest.approx(
        reference.open_set(real.tolist(), y.tolist(), fake.tolist())
    )


def test_one_vs_rest_is_the_plain_sum_and_its_slope_is_that_of_differences():
    logits = (2 * sines((5, 4), (1.7, 0.9), 0.37, 0.3)).requires_grad_()
    y = torch.tensor([0, 2, 3, 1, 2])
    assert losses.one_vs_rest(logits, y).item() == pytest.approx(reference.one_vs_rest(logits.tolist(), y.tolist()))
    assert torch.autograd.gradcheck(lambda z: losses.one_vs_rest(z, y), logits)
    assert torch.autograd.gradcheck(lambda z: made().open_terms(z, y, z)["total"], logits)


def test_the_search_goes_the_official_way():
    z0 = on_spheres(sines((3, 64), (1.7, 0.9), 0.13, 0.3))
    z = on_spheres(sines((3, 64), (0.8, 1.3), 0.17, 0.6))
    weight = 0.5 * sines((12, 64), (0.7, 1.1), 0.19, 0.2)
    last = 2 * sines((3, 12), (1.3, 0.8), 0.23, 0.5)
    more = 0.5 * torch.sin(1.1 * torch.arange(3, dtype=torch.double) + 0.3)
    bias = 0.2 * torch.sin(0.9 * torch.arange(12, dtype=torch.double) + 0.1)

    def generate(z):
        return (z @ weight.T + bias).sigmoid()

    def classify(x):
        return x @ last.T + more

    of_unknown = losses.of_unknown(classify(generate(z)))
    assert np.allclose(of_unknown, [3.79734134642, 3.669799032504, 2.777887621874], rtol=1e-9)
    far = (z - z0).square().sum(1)
    assert np.allclose(of_unknown + far, [35.63136520955, 32.99684916868, 34.90430576584], rtol=1e-9)

    ways = {
        False: (4.0, [2.310776585384, 3.400284433085, 2.780718662517], [
            [0.09551651442611, 0.6488251826927, 0.7474372259197], [0.5167686524668, 0.03568865903975, -0.4583976158042],
            [-0.4715366034402, -0.7069626244739, -0.08409626024984],
        ], [0.5273755885888, 0.3973805732568, 0.4160831874698]),
        True: (2.0, [2.227740055077, 2.904704835275, 2.626067521887], [
            [-0.01801007779835, 0.2903019577591, 0.4124527603836], [0.1705031935654, -0.009776757143456,
             -0.1601228699848], [-0.3048069383413, -0.3889451525467, 0.00279306897607],
        ], [0.4750397259186, 0.3912922727571, 0.4133785121187]),
    }  # fmt: skip
    for released, (length, loss, first, image) in ways.items():
        *_, end = walk(z0, generate, classify, steps=2, speed=0.1, distance=1.0, released=released)
        assert np.allclose(end[:, :3], first, rtol=1e-7), released
        assert np.allclose(end.norm(dim=1), length)
        assert np.allclose(losses.of_unknown(classify(generate(end))), loss, rtol=1e-8)
        assert np.allclose(generate(end)[0, :3], image, rtol=1e-8)


class Bend(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Parameter(0.5 * sines((10, 48), (0.7, 1.1), 0.19, 0.2))
        self.bias = 0.2 * torch.sin(0.9 * torch.arange(10, dtype=torch.double) + 0.1)
        self.out = 0.8 * sines((4, 10), (1.3, 0.8), 0.23, 0.5)

    def forward(self, x):
        return (x.flatten(1) @ self.hidden.T + self.bias).tanh() @ self.out.T


@pytest.mark.parametrize(
    ("released", "value", "gradient"),
    [
        (True, 4.268216968801, (4.221062419844, -15.96325868002, [0.06092599611485, -0.2305878187358])),
        (False, 40.61025424131, (93.2101584188, -112.6561125664, [1.66967655925, 1.819060984264])),
    ],
)
def test_the_penalty_is_the_official_and_the_standard_one(released, value, gradient):
    real = 0.5 + 0.5 * sines((3, 3, 4, 4), (1.7, 0.9, 0.6, 1.1), 0.31, 0.3)
    fake = 0.5 + 0.5 * sines((3, 3, 4, 4), (0.8, 1.3, 0.5, 0.9), 0.27, 0.6)
    critic, share = Bend(), torch.tensor([0.2, 0.55, 0.9], dtype=torch.double)
    found = penalty(critic, real, fake, share, released=released)
    assert found.item() == pytest.approx(value, rel=1e-9)
    found.backward()
    told(critic.hidden, *gradient)

    def at(step):
        with torch.no_grad():
            critic.hidden[0, 0] += step
        return penalty(critic, real, fake, share, released=released).item()

    slope = (at(1e-5) - at(-2e-5)) / 2e-5
    assert slope == pytest.approx(gradient[2][0], rel=1e-5)


def test_the_score_is_the_share_of_the_unknown_less_the_largest_known_one():
    logits = (3 * sines((8, 4), (1.7, 0.9), 0.37, 0.3)).numpy()
    out = Outputs(logits, np.zeros((8, 2)), np.arange(8) % 4, np.arange(8) % 4, np.arange(8), np.zeros(8, bool),
                  dummies=np.zeros((1, 3)))  # fmt: skip
    found = judge_of("unknown_class", out)(out)
    assert np.allclose(found.score, reference.unknown_class(logits.tolist()))
    assert (found.label == logits.argmax(1)).all()
    bare = dataclasses.replace(out, features=out.features[:, :0])  # as in a small copy: the head reads none
    assert np.array_equal(judge_of("unknown_class", bare)(bare).score, found.score)
    with pytest.raises(ValueError, match="has no dummy heads, which unknown_class reads: train one by osrci"):
        judge_of("unknown_class", dataclasses.replace(out, dummies=None))


# --- the networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 20, 28, 32, 48, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_encoder_generator_and_critic_follow_the_size_of_the_image(size, channels):
    x = torch.rand(2, channels, size, size)
    z = Encoder(channels, size, 6, 5)(x)
    assert z.shape == (2, 5 * PIECES)
    assert torch.allclose(z.unflatten(1, (PIECES, 5)).norm(dim=2), torch.ones(2, PIECES), atol=1e-5)
    image = Generator(channels, size, 6, 5)(z)
    assert image.shape == x.shape and 0 <= image.min() <= image.max() <= 1
    assert Critic(channels, size, 6, 3)(x).shape == (2, 3)


def test_a_piece_of_a_latent_is_a_place():
    net = Generator(1, 32, 6, 5).eval()
    z = on_spheres(torch.randn(1, 5 * PIECES))
    moved = z.clone()
    moved[:, :5] *= -1  # the first place, above on the left
    change = (net(moved) - net(z)).abs()[0, 0]
    assert change[:8, :8].max() > 0 and change[20:].max() == 0 and change[:, 20:].max() == 0


# --- what is learnt and made -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("channels", "size", "batch"), [(1, 16, 8), (3, 28, 5), (3, 64, 2), (1, 16, 1)])
def test_images_are_made_of_every_kind_and_by_batches_of_one(method, channels, size, batch):
    x, y = torch.randn(batch, channels, size, size), torch.arange(batch) % 4
    net = trained_on(made(method, channels=channels, size=size), x, y)
    shown = net.shown()
    if method == "g_openmax" and batch == 1:  # of one image nothing is mixed
        assert not len(shown["made"])
        assert "candidates only 0 were" in " ".join(net.doubts())
        return
    assert shown["made"].shape == (12, channels, size, size) and len(shown["begun"]) == 12
    assert shown["way"].shape == (MOMENTS, batch, channels, size, size)
    assert torch.allclose(shown["before"].sum(2), torch.ones(MOMENTS, batch), atol=1e-5)
    assert x.amin() - 0.1 <= shown["made"].min() and shown["made"].max() <= x.amax() + 0.1
    assert (shown["way"][0] - x[: shown["way"].shape[1]]).abs().max() < 0.05 or batch > 4  # the real image first
    net.way = 0.9
    for part, terms in net.train().losses(x, y):
        assert part == "net" and torch.isfinite(terms["total"]) and set(terms) == {"total", "known", "unknown"}


@BOTH
def test_the_two_controls_make_noise_or_nothing_and_train_no_generator(method):
    x, y = torch.randn(6, 1, 16, 16), torch.arange(6) % 4
    none, noise = (trained_on(made(method, images=images), x, y) for images in ("none", "noise"))
    assert set(none.parts()) == set(noise.parts()) == {"net"}
    assert none.done() == 1 and none.shown() == {} and not list(none.doubts())
    pixels = noise.painted(noise.shown()["made"])
    assert abs(pixels.mean() - 0.5) < 0.05 and abs(pixels.std() - 12**-0.5) < 0.05
    for net, names in ((none, {"total", "known"}), (noise, {"total", "known", "unknown"})):
        net.way = 0.9
        ((_, terms),) = net.train().losses(x, y)
        assert set(terms) == names


@BOTH
def test_each_part_learns_by_its_own_loss_alone(method):
    net, x, y = made(method), torch.randn(6, 1, 16, 16), torch.arange(6) % 4
    net.way = 0.0
    net.eval().first(iter([(x, y)]))
    parts = net.parts()
    assert list(parts) == ["critic", "rebuilt", "net"]
    for part, terms in net.train().losses(x, y):
        for p in net.parameters():
            p.grad = None
        terms["total"].backward()
        for other, some in parts.items():
            assert any(p.grad is not None for p in some) == (other == part), (part, other)
    assert all(p.requires_grad for some in parts.values() for p in some)
    assert net.optimizer("net", parts["net"]) is None
    assert isinstance(net.optimizer("critic", parts["critic"]), torch.optim.Adam)


@BOTH
@pytest.mark.parametrize("form", ["paper", "released"])
def test_the_released_code_is_there_by_option(method, form):
    own = {"search": form} if method == "osrci" else {"blend": form}
    x, y = torch.randn(6, 1, 16, 16), torch.arange(6) % 4
    net = made(method, gan=form, **own)
    assert net.gan["critic"].last.out_features == (4 if form == "released" else 1)
    assert len(trained_on(net, x, y).shown()["made"]) == 12 and not net.training


def test_only_mixtures_of_which_the_classifier_is_unsure_are_kept():
    x, y = torch.randn(8, 1, 16, 16), torch.arange(8) % 4

    def largest(unsure):
        net = made("g_openmax", unsure=unsure)
        net.classify.weight.data.normal_(std=0.5)
        net = trained_on(net, x, y)
        with torch.no_grad():
            return net._shares(net.painted(net.shown()["made"]))[:, :-1].amax(1), net

    every, net = largest(1.0)
    limit = every.median().item()
    kept, fewer = largest(limit)
    assert 0 < len(kept) <= 12 and kept.max() < limit + 0.003  # to the rounding of pixels
    assert every.max() > limit + 0.003 and fewer.found[1] > net.found[1]  # more candidates for as many


def test_constant_images_and_a_generator_that_paints_one_image_are_told_apart():
    y = torch.arange(8) % 4
    flat = trained_on(made(), torch.full((8, 1, 16, 16), 0.3), y)
    assert torch.isfinite(flat.made.float()).all() and "collapsed" not in " ".join(flat.doubts())
    net = made()
    for p in net.gan["generator"].layers[0].parameters():
        nn.init.zeros_(p)  # whatever the latent
    said = " ".join(trained_on(net, torch.randn(8, 1, 16, 16), y).doubts())
    assert "The generator has collapsed: the images that it rebuilds differ from each other by 0% of what real" in said


@BOTH
def test_fixed_features_are_refused(method):
    with pytest.raises(ValueError, match="is not trained on what efficientnet-lite0 makes of an image once"):
        build(compose(method=method, backbone="efficientnet-lite0", options={"input_size": 32}), 3, 3, 32)
