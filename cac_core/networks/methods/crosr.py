"""CROSR, classification-reconstruction learning. Yoshihashi et al., CVPR 2019."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cac_core.networks.methods import Method
from cac_core.recipe import checked
from cac_core.sentences import say


class CROSR(Method):
    """Cross-entropy, and a reconstruction of the image from a bottleneck at each stage of the backbone (DHRNet).

    x_l is the map after stage l of L, x_0 the image. z_l = relu(down_l x_l) has `latent` channels, and from the last
    stage on g_(l-1) = relu(out_l(up_l z_l + g_l)), without a g_L; g_0, without relu, is the reconstruction. total =
    softmax + weight reconstruction, the mean squared error over all numbers of the normalised images. With weight 0 it
    is cross-entropy, and nothing is reconstructed. The latents are the means of z_L to z_1 over their places; they are
    kept behind the features. Rejected by `latent_openmax`, which compares classes by logits and latents.

    Deviates from the code that is about (saketd403/CROSR): no relu on the logits nor on the reconstruction, whose
    target has negative numbers; dropout in training alone; out is a 3 x 3 convolution of an enlarged map, so that any
    size of image and stage has its own; pooled features under a linear head, in the place of two layers of 4096.
    """

    pools = True
    criterion = "softmax"

    def __init__(self, backbone, classes, *, weight: float = 1.0, latent: int = 8):
        super().__init__(backbone, classes)
        if not backbone.map_widths:
            raise ValueError(say(
                "crosr reads what each stage of a network makes of an image, and this backbone is not cut into stages. "
                "Take small, plain, fast or wide_resnet-40-2."
            ))  # fmt: skip
        self.weight, latent = checked("weight", weight), checked("latent", latent)
        below, stages = backbone.map_widths[:-1], backbone.map_widths[1:]
        self.down = nn.ModuleList(_conv(width, latent) for width in stages)
        self.up = nn.ModuleList(_conv(latent, width) for width in stages)
        self.out = nn.ModuleList(_conv(width, lower) for width, lower in zip(stages, below, strict=True))
        self.latents = latent * len(stages)

    def bare(self):
        return [p for part in (self.down, self.up, self.out) for p in part.parameters()]

    @property
    def rebuilds(self) -> bool:
        return self.weight > 0

    def coded(self, x: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N D"], list[Tensor]]:
        """The pooled features, and z_1 to z_L."""
        maps = self.backbone.stages(x)
        codes = [down(each).relu() for down, each in zip(self.down, maps, strict=True)]
        return self.backbone.pooled(self.backbone.ended(maps[-1]).float()), codes

    def decoded(self, codes: list[Tensor], size: torch.Size) -> Float[Tensor, "N C H W"]:
        """The images of this size, on the scale of the normalised ones, that z_1 to z_L stand for."""
        sizes, built = [size, *(code.shape[2:] for code in codes)], None
        for stage in reversed(range(len(codes))):
            built = self.up[stage](codes[stage]) + (0 if built is None else built.relu())
            built = self.out[stage](F.interpolate(built, sizes[stage]))
        return built.float()

    def seen(self, x, how=None):
        with torch.autocast(x.device.type, self.half, enabled=self.half is not None):
            return self._joined(*self.coded(x))

    def _joined(self, features: Float[Tensor, "N D"], codes: list[Tensor]) -> Float[Tensor, "N E"]:
        means = [code.float().mean((2, 3)) for code in reversed(codes)]
        return torch.cat([features, *means], 1)

    def forward(self, x):
        features = self.seen(x)
        return self.classify(features[:, : self.width]), features

    def rebuilt(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The reconstruction of normalised images."""
        with torch.autocast(x.device.type, self.half, enabled=self.half is not None):
            return self.decoded(self.coded(x)[1], x.shape[2:])

    def terms(self, logits, y):
        loss = F.cross_entropy(logits, y)
        return {"total": loss, "softmax": loss}

    def losses(self, x, y):
        with torch.autocast(x.device.type, self.half, enabled=self.half is not None):
            features, codes = self.coded(x)
            image = self.decoded(codes, x.shape[2:]) if self.weight else None
        terms = self.terms(self.classify(features), y)
        if image is not None:
            error = F.mse_loss(image, x)
            terms |= {"total": terms["softmax"] + self.weight * error, "reconstruction": error}
        yield "net", terms


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)
