"""Batches: images that stay on the device, augmented as whole batches by one affine sampling each.

Everything random of an epoch is drawn from (seed, epoch) at its start, on the processor, so any batch of any epoch
can be made again: a run that went on from a checkpoint sees what it would have seen.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cac_core.data.datasets import Dataset, Part
from cac_core.networks.inputs import Stats, normalised, on_device, scale_of
from cac_core.sentences import say


class Batches:
    """The training images [N, C, H, W] uint8 on the device, and their augmented, normalised batches.

    A last batch that would not be full is left out of its epoch; other images are, in the next. Of several processes
    that train together each makes its share of the same batches: the images mine of each, as even as can be.
    Raises ValueError where there are fewer images in a batch than processes.
    """

    def __init__(
        self,
        part: Part,
        row: Dataset,
        stats: Stats,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
    ):
        self.images, self.labels = on_device(part.pixels, device), torch.as_tensor(part.labels).to(device)
        self.row, self.scale, self.seed = row, scale_of(stats, device), seed
        self.batch = min(batch, len(part))
        self.steps = len(part) // self.batch
        if self.batch < processes:
            raise ValueError(say(
                "A batch of {batch} cannot be shared by {processes} processes: each needs an image. Give --batch at "
                "least {processes} (there are {count} training images), or torchrun a smaller --nproc-per-node.",
                batch=self.batch, processes=processes, count=len(part),
            ))  # fmt: skip
        self.mine = slice(self.batch * rank // processes, self.batch * (rank + 1) // processes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Float[Tensor, "N C H W"], Int[Tensor, " N"]]]:
        """The batches of an epoch, from the one numbered start."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        count = len(self.images)
        order = torch.randperm(count, generator=generator)
        places = random_affine(count, self.row, generator)
        order, places = order.to(self.images.device), places.to(self.images.device)
        for step in range(start, self.steps):
            at = slice(step * self.batch + self.mine.start, step * self.batch + self.mine.stop)
            chosen = order[at]
            x = warped(self.images[chosen].float() / 255, places[at])
            yield normalised(x, self.scale), self.labels[chosen]


def warped(x: Float[Tensor, "N C H W"], affine: Float[Tensor, "N 2 3"]) -> Float[Tensor, "N C H W"]:
    """Each image seen through its own affine map, bilinear; outside the image is black."""
    return F.grid_sample(x, F.affine_grid(affine, list(x.shape), align_corners=False), align_corners=False)


def random_affine(count: int, row: Dataset, generator: torch.Generator) -> Float[Tensor, "N 2 3"]:
    """For each image a random crop, mirror and rotation as one map from output to input, coordinates -1 to 1.

    The draws are those of torchvision's RandomResizedCrop (scale row.crop to 1, ratio 3/4 to 4/3, ten tries),
    RandomHorizontalFlip(0.5) and RandomRotation(row.turn), in that order. One bilinear sampling instead of three
    deviates in two ways: sides are not rounded to pixels, and a rotation shows what lies beside the crop, not black.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    area = uniform(row.crop, 1.0, count, 10)
    ratio = torch.exp(uniform(float(np.log(3 / 4)), float(np.log(4 / 3)), count, 10))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.int().argmax(1, keepdim=True)
    none = ~fits.any(1)
    width = width.gather(1, first)[:, 0].masked_fill(none, 1)
    height = height.gather(1, first)[:, 0].masked_fill(none, 1)
    x, y = (1 - width) * uniform(-1.0, 1.0, count), (1 - height) * uniform(-1.0, 1.0, count)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0) if row.flip else torch.ones(count)
    angle = torch.deg2rad(uniform(-row.turn, row.turn, count))
    cos, sin = angle.cos(), angle.sin()
    rows = [width * mirror * cos, -width * mirror * sin, x, height * sin, height * cos, y]
    return torch.stack(rows, 1).view(count, 2, 3)
