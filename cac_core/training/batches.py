"""Batches: images that stay on the device, augmented as whole batches.

Everything random of an epoch is drawn from (seed, epoch) at its start, on the processor, so any batch of any epoch
can be made again: a run that went on from a checkpoint sees what it would have seen.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cac_core.data.datasets import Dataset, Part
from cac_core.networks.inputs import Stats, normalised, on_device, scale_of
from cac_core.results.frozen import Kept
from cac_core.sentences import say
from cac_core.training.augment import AUGMENTATIONS


class Batches:
    """The training images [N, C, H, W] uint8 on the device, and their augmented, normalised batches.

    With several views a batch holds each of its images so many times, each augmented by itself: all in their first
    view, then all in their second, and the labels as often.

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
        least: int = 0,
        augment: str = "affine",
        cutout: int = 0,
        views: int = 1,
    ):
        self.images, self.labels = on_device(part.pixels[:], device), torch.as_tensor(part.labels).to(device)
        self.scale, self.seed, self.views = scale_of(stats, device), seed, views
        self.augment = AUGMENTATIONS[augment](row, part.pixels.shape[1], cutout, self.scale[0])
        self.batch, self.steps, self.mine = _sizes(len(part), batch, least, rank, processes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Float[Tensor, "N C H W"], Int[Tensor, " N"]]]:
        """The batches of an epoch, from the one numbered start."""
        generator, count = _generator(self.seed, epoch), len(self.images)
        rounds = [
            (
                torch.randperm(count, generator=generator),
                *(self.augment.draw(count, generator) for _ in range(self.views)),
            )
            for _ in range(_rounds(self, count))
        ]
        order, *drawn = (torch.cat(parts).to(self.images.device) for parts in zip(*rounds, strict=True))
        for step in range(start, self.steps):
            at = slice(step * self.batch + self.mine.start, step * self.batch + self.mine.stop)
            chosen = order[at]
            x = torch.cat([self.augment(self.images[chosen], view[at]) for view in drawn])
            yield normalised(x, self.scale), self.labels[chosen].repeat(self.views)

    def plain(self, size: int) -> Iterator[tuple[Float[Tensor, "N C H W"], Int[Tensor, " N"]]]:
        """All images as they are, in their order, so many at a time."""
        for start in range(0, len(self.images), size):
            x = self.images[start : start + size].float() / 255
            yield normalised(x, self.scale), self.labels[start : start + size]


class MapBatches:
    """Batches of maps that were computed before, each image in one of its views, with the label and the fold of each.

    Otherwise as Batches. kept holds the maps of the training images in all views.
    """

    def __init__(
        self,
        kept: Kept,
        labels: np.ndarray,
        folds: np.ndarray,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        processes: int = 1,
        least: int = 0,
    ):
        self.kept, self.seed, self.device = kept, seed, device
        self.labels = torch.as_tensor(np.stack([labels, folds], 1).astype(np.int64)).to(device)
        self.batch, self.steps, self.mine = _sizes(len(labels), batch, least, rank, processes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Float[Tensor, "N ..."], Int[Tensor, "N 2"]]]:
        """The batches of an epoch, from the one numbered start."""
        generator, count = _generator(self.seed, epoch), len(self.labels)
        drawn = [
            (torch.randperm(count, generator=generator), torch.randint(self.kept.views, (count,), generator=generator))
            for _ in range(_rounds(self, count))
        ]
        order, views = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        for step in range(start, self.steps):
            at = slice(step * self.batch + self.mine.start, step * self.batch + self.mine.stop)
            x = self.kept.rows(views[at].numpy(), order[at].numpy())
            yield x.to(self.device), self.labels[order[at].to(self.device)]


def _sizes(count: int, batch: int, least: int, rank: int, processes: int) -> tuple[int, int, slice]:
    """The images of a batch, the steps of an epoch, and which images of each batch are this process's.

    least: of so many steps at least an epoch is, and a batch then has a quarter of the images at most.
    """
    batch = min(batch, max(2, count // 4) if least else count, count)
    if batch < processes:
        raise ValueError(say(
            "A batch of {batch} cannot be shared by {processes} processes: each needs an image. Give --batch at "
            "least {processes} (there are {count} training images), or torchrun a smaller --nproc-per-node.",
            batch=batch, processes=processes, count=count,
        ))  # fmt: skip
    return batch, max(count // batch, least), slice(batch * rank // processes, batch * (rank + 1) // processes)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + epoch)


def _rounds(batches: Batches | MapBatches, count: int) -> int:
    """How often the images are gone through in an epoch."""
    return -(-batches.steps * batches.batch // count)
