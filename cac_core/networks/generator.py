"""Images out of numbers and back: an encoder, a generator and a critic, for methods that make images up.

N images of C channels and H x W pixels between 0 and 1. A latent [N, D] is PIECES vectors of D / PIECES numbers, one
after the other, each the latent of one of 4 x 4 places and at unit length, so that a latent lies on a product of
spheres. An image of another side than 4, 8, 16, .. is continued by its edge to the next of them, and cut again.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

PLACES = 4  # in each direction
PIECES = PLACES**2
SLOPE = 0.2


def on_spheres(z: Float[Tensor, "N D"], pieces: int = PIECES) -> Float[Tensor, "N D"]:
    """z with each of its pieces brought to unit length, Neal et al., ECCV 2018."""
    return F.normalize(z.unflatten(1, (pieces, -1)), dim=2).flatten(1)


class _Down(nn.Module):
    """Convolutions from an image down to maps of 4 x 4 places, the first one at the image's own size."""

    def __init__(self, channels: int, size: int, maps: int, norm: bool):
        super().__init__()
        self.margin = _margin(size)
        before, after, layers = channels, math.ceil(maps / 2), []
        for n in range(_doublings(size) + 1):
            layers += [nn.Conv2d(before, after, 3, 2 if n else 1, padding=1, bias=not norm)]
            layers += [nn.BatchNorm2d(after)] * norm + [nn.LeakyReLU(SLOPE)]
            before, after = after, maps
        self.layers, self.width = nn.Sequential(*layers), before

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N M P P"]:
        return self.layers(F.pad(x, self.margin, "replicate"))


class Encoder(nn.Module):
    """Images to latents."""

    def __init__(self, channels: int, size: int, maps: int, latent: int):
        super().__init__()
        self.down = _Down(channels, size, maps, norm=True)
        self.last = nn.Conv2d(self.down.width, latent, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return on_spheres(self.last(self.down(x)).flatten(2).transpose(1, 2).flatten(1))


class Generator(nn.Module):
    """Latents to images: transposed convolutions, each followed by LeakyReLU and batch norm, and a sigmoid."""

    def __init__(self, channels: int, size: int, maps: int, latent: int):
        super().__init__()
        self.cut, before = _margin(size), math.ceil(maps * 4 / 3)
        layers: list[nn.Module] = [nn.Conv2d(latent, before, 1, bias=False)]
        for n in range(_doublings(size)):
            last = n == _doublings(size) - 1
            layers.append(nn.ConvTranspose2d(before, channels if last else maps, 4, 2, padding=1, bias=last))
            layers += [] if last else [nn.LeakyReLU(0.01), nn.BatchNorm2d(maps)]
            before = maps
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "N D"]) -> Float[Tensor, "N C H W"]:
        places = z.unflatten(1, (PIECES, -1)).transpose(1, 2).unflatten(2, (PLACES, PLACES))
        return F.pad(self.layers(places), [-margin for margin in self.cut]).sigmoid()


class Critic(nn.Module):
    """How real an image looks; without batch norm, since its gradient is asked of each image by itself."""

    def __init__(self, channels: int, size: int, maps: int, outputs: int):
        super().__init__()
        self.down = _Down(channels, size, maps, norm=False)
        self.last = nn.Linear(self.down.width * PIECES, outputs, bias=outputs > 1)  # it falls out of a difference

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N O"]:
        return self.last(self.down(x).flatten(1))


def _doublings(size: int) -> int:
    """From 4 pixels to a side of at least this."""
    return max(1, math.ceil(math.log2(size / PLACES)))


def _margin(size: int) -> list[int]:
    """Pixels left, right, above and below that the next doubling of 4 has more."""
    more = PLACES * 2 ** _doublings(size) - size
    return [more // 2, more - more // 2] * 2


def penalty(
    critic: nn.Module,
    real: Float[Tensor, "N C H W"],
    fake: Float[Tensor, "N C H W"],
    share: Float[Tensor, " N"],
    *,
    released: bool = False,
) -> Float[Tensor, ""]:
    """How far the critic's slope is from 1 between real and made images: 10 mean (length - 1)^2.

    The slope is the gradient of the critic's first output by the image share real + (1 - share) fake, its length that
    of the whole image (Gulrajani et al., NeurIPS 2017). released: as the code of Neal et al. has it, of the sum of all
    outputs, and the length over the channels at each pixel, a mean over pixels too.
    """
    between = (fake + share[:, None, None, None] * (real - fake)).detach().requires_grad_()
    out = critic(between)
    (slope,) = torch.autograd.grad((out if released else out[:, 0]).sum(), between, create_graph=True)
    slope = slope if released else slope.flatten(1)
    # the root has no derivative at 0, where a critic that has died sits
    return 10 * ((slope.square().sum(1) + 1e-24).sqrt() - 1).square().mean()
