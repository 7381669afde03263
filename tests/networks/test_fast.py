"""The backbone fast: its whitening against plain loops, its identity start, and what it refuses."""

import numpy as np
import pytest
import torch

from cac_core.networks import fast, losses
from cac_core.recipe import compose
from cac_core.results.evaluate import build
from tests import reference


def images(count=6, channels=3, side=6):
    x = torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(0))
    return x + torch.roll(x, 1, 3) + torch.roll(x, 1, 2)  # neighbours are alike, as in pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_whitening_makes_channels_of_variance_1_that_are_not_correlated(channels):
    x = images(channels=channels)
    weights = fast.whitening(x).double()
    half = 4 * channels
    assert weights.shape == (2 * half, channels, 2, 2) and torch.equal(weights[:half], -weights[half:])
    rows, covariance = weights[:half].flatten(1).numpy(), np.array(reference.patch_covariance(x.tolist()))
    made = rows @ covariance @ rows.T
    variances = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    assert np.allclose(made, np.diag(variances / (variances + 5e-4)), atol=1e-5)
    assert all(row[np.abs(row).argmax()] > 0 for row in rows)  # the sign is everywhere the same
    # and a convolution with them is that product
    out = torch.nn.functional.conv2d(x.double(), weights[:half])
    flat = out.transpose(0, 1).flatten(1)
    assert np.allclose((flat @ flat.T / flat.shape[1]).numpy(), made, atol=1e-5)


def test_convolutions_begin_as_the_identity_on_the_channels_that_they_share():
    net = build(compose(backbone="fast"), 4, 3, 32)
    for group in net.backbone.groups:
        for conv in (group.conv1, group.conv2):
            x = torch.randn(2, conv.in_channels, 5, 5)
            shared = min(conv.in_channels, conv.out_channels)
            assert torch.allclose(conv(x)[:, :shared], x[:, :shared], atol=1e-6)


@pytest.mark.parametrize(("side", "channels"), [(16, 1), (28, 1), (32, 3), (64, 3)])
def test_it_takes_images_of_16_to_64_pixels(side, channels):
    net = build(compose(backbone="fast"), 4, channels, side).eval()
    logits, features = net(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 4) and features.shape == (2, 256)


def test_widen_is_times_as_many_channels():
    one, two = (build(compose(backbone="fast", options={"widen": w}), 4, 3, 32).backbone for w in (1.0, 2.0))
    assert two.width == 2 * one.width == 512
    assert sum(p.numel() for p in one.parameters()) == pytest.approx(2.0e6, rel=0.05)
    with pytest.raises(ValueError, match="widen must be above 0 and at most 8"):
        build(compose(backbone="fast", options={"widen": 0}), 4, 3, 32)


def test_images_that_are_too_small_are_named_with_a_way_out():
    with pytest.raises(ValueError, match=r"at least 16 pixels, not 8. Give --size 16, or the backbone small"):
        build(compose(backbone="fast"), 4, 1, 8)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_labels_are_the_slow_formulas(smoothing):
    logits, y = torch.randn(7, 5, dtype=torch.float64), torch.arange(7) % 5
    want = reference.smoothed_cross_entropy(logits.tolist(), y.tolist(), smoothing)
    assert losses.cross_entropy(logits, y, smoothing=smoothing)["total"].item() == pytest.approx(want, rel=1e-12)
    net = build(compose(method="cross_entropy", options={"smoothing": smoothing}), 5, 1, 16)
    assert net.terms(logits, y)["total"].item() == pytest.approx(want, rel=1e-12)
