"""A network of our own time for images of 16 to 64 pixels, which learns in minutes on a processor.

After Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024 (airbench94), of which the whitening, the
identity start and the widths are; batch norm learns its weights here, and images are what training.augment makes.
N images, C channels, H x W pixels, D features.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cac_core.networks.backbones import Backbone
from cac_core.recipe import checked
from cac_core.sentences import say

LEAST = 16  # pixels: three poolings leave one place of these
SIDE = 2  # of a patch


class Fast(Backbone):
    """A fixed whitening, three groups of convolutions, and the largest of each map as the feature."""

    bare_rate = 0.025

    def __init__(self, channels: int, widths: tuple[int, int, int]):
        super().__init__()
        patch = channels * SIDE * SIDE
        self.whiten = nn.Conv2d(channels, 2 * patch, SIDE)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)
        pairs = zip((2 * patch, *widths), widths, strict=False)
        self.groups = nn.Sequential(*(_Group(before, after) for before, after in pairs))
        self.width, self.map_widths = widths[-1], (channels, *widths)

    def prepare(self, x: Float[Tensor, "N C H W"]) -> None:
        self.whiten.weight.data.copy_(whitening(x))

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return self.late(self.early(x))

    def early(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N ..."]:
        return self.groups[:-1](F.gelu(self.whiten(x)))

    def late(self, maps: Float[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        return self.ended(self.groups[-1](maps))

    def stages(self, x: Float[Tensor, "N C H W"]) -> list[Tensor]:
        maps = [F.gelu(self.whiten(x))]
        for group in self.groups:
            maps.append(group(maps[-1]))
        return maps[1:]

    def ended(self, last: Float[Tensor, "N W h w"]) -> Float[Tensor, "N D"]:
        return last.amax((2, 3))


class _Group(nn.Module):
    """Two 3 x 3 convolutions, the first of which halves the image; each with batch norm and GELU."""

    def __init__(self, before: int, after: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = (nn.BatchNorm2d(after, momentum=0.4) for _ in range(2))
        for conv in (self.conv1, self.conv2):  # what comes in goes on as it is, as far as there are channels for it
            shared = min(conv.in_channels, conv.out_channels)
            nn.init.dirac_(conv.weight.data[:shared, :shared])

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.bn2(self.conv2(x)))


def whitening(x: Float[Tensor, "N C H W"]) -> Float[Tensor, "K C 2 2"]:
    """The eigenvectors of the covariance of all 2 x 2 patches, each over its standard deviation, and their negatives.

    K = 8 C; largest variance first; the largest entry of each is positive, so that every machine has the same. A
    convolution with them gives uncorrelated channels of variance 1 (5e-4 is added to each variance, as in airbench).
    """
    patches = F.unfold(x.float(), SIDE).transpose(1, 2).flatten(0, 1).double()  # [patches, P]
    variances, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    variances, vectors = variances.flip(0), vectors.flip(1).T
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign() / torch.sqrt(variances + 5e-4)[:, None]
    return torch.cat([vectors, -vectors]).view(-1, x.shape[1], SIDE, SIDE).to(x.dtype)


def fast(name: str, channels: int, size: int, *, widen: float = 1.0) -> Backbone:
    """Six 3 x 3 convolutions behind a whitening one, 2.0 M parameters; widen times as many channels in each."""
    if size < LEAST:
        raise ValueError(say(
            "The backbone {name} takes images of at least {least} pixels, not {size}. Give --size {least}, or the "
            "backbone small.",
            name=name, least=LEAST, size=size,
        ))  # fmt: skip
    return Fast(channels, tuple(round(width * checked("widen", widen)) for width in (64, 256, 256)))
