"""Augmentations: how training changes images, whole batches at once. Each is a row of AUGMENTATIONS.

What is random is drawn for all images of an epoch before its first batch, as numbers [N, K], a row an image; applying
them is a function of the images and their rows. N images, C channels, H x W pixels, on the scale 0 to 1.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from cac_core.data.datasets import Dataset
from cac_core.networks.inputs import random_affine, warped


class Affine:
    """A random crop, mirror image and rotation as the data set's row has them, in one bilinear sampling."""

    def __init__(self, row: Dataset, side: int, cutout: int, fill: Tensor):
        self.row = row

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "N K"]:
        return random_affine(count, self.row, generator).flatten(1)

    def __call__(self, x: UInt8[Tensor, "N C H W"], drawn: Float[Tensor, "N K"]) -> Float[Tensor, "N C H W"]:
        return warped(x.float() / 255, drawn.view(-1, 2, 3))


class Shift:
    """A shift by whole pixels, of a sixteenth of the side at most, and every other time, drawn, the mirror image.

    What the shift brings in from beyond the edge is the image mirrored there. With cutout, a square of so many pixels,
    somewhere within the image, is the mean colour, fill (DeVries and Taylor, 2017, whose squares may reach beyond the
    edge).
    """

    def __init__(self, row: Dataset, side: int, cutout: int, fill: Tensor):
        self.row, self.side, self.fill = row, side, fill
        self.most, self.cutout = max(1, side // 16), min(cutout, side)

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "N K"]:
        shifts = torch.randint(-self.most, self.most + 1, (count, 2), generator=generator)
        corners = torch.randint(0, self.side - self.cutout + 1, (count, 2), generator=generator)
        mirrored = torch.randint(1 + self.row.flip, (count, 1), generator=generator)
        return torch.cat([shifts, corners, mirrored], 1).float()

    def __call__(self, x: UInt8[Tensor, "N C H W"], drawn: Float[Tensor, "N K"]) -> Float[Tensor, "N C H W"]:
        down, right, top, left, mirror = drawn.long().T[:, :, None]  # [N, 1] each
        along = torch.arange(self.side, device=x.device)[None]
        rows, columns = (_reflected(along + by, self.side) for by in (down, right))
        columns = torch.where(mirror > 0, self.side - 1 - columns, columns)
        every = torch.arange(len(x), device=x.device)[:, None, None]
        seen = x[every, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float() / 255
        if self.cutout:
            high, wide = ((along >= corner) & (along < corner + self.cutout) for corner in (top, left))
            seen = torch.where((high[:, :, None] & wide[:, None, :])[:, None], self.fill, seen)
        return seen


class RandAugment(Shift):
    """One of RandAugment's fourteen changes to each image, drawn alike, and then what `Shift` makes of it.

    Magnitude 6 of 30, one change an image, as Vaze et al. (ICLR 2022) have it for CIFAR10; the changes and their ranges
    are torchvision's (Cubuk et al., 2020), the sign of one that has a direction is drawn. What a turn or a shear brings
    in from beyond the edge is black. All images of a batch with the same change are changed at once.
    """

    MAGNITUDE = 6 / 30

    def __init__(self, row: Dataset, side: int, cutout: int, fill: Tensor):
        super().__init__(row, side, cutout, fill)
        self.changes = _changes(self.MAGNITUDE, side)

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "N K"]:
        which = torch.randint(len(self.changes), (count, 1), generator=generator)
        return torch.cat([super().draw(count, generator), which.float()], 1)

    def __call__(self, x: UInt8[Tensor, "N C H W"], drawn: Float[Tensor, "N K"]) -> Float[Tensor, "N C H W"]:
        x, which = x.clone(), drawn[:, -1].long()
        for number, change in enumerate(self.changes):
            some = which == number
            if some.any():
                x[some] = change(x[some])
        return super().__call__(x, drawn[:, :-1])


class Colour(Affine):
    """Affine, then colours: jitter in four of five images, grey in one of five, as SupContrast has them.

    Brightness, contrast and saturation times 0.6 to 1.4, hue turned by up to a tenth of the circle, in this order,
    where torchvision's ColorJitter draws the order too (Khosla et al., NeurIPS 2020). One channel stays as it is.
    """

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "N K"]:
        places = super().draw(count, generator)
        factors = 0.6 + 0.8 * torch.rand(count, 3, generator=generator)
        hue = 0.2 * torch.rand(count, 1, generator=generator) - 0.1
        jitter, grey = (torch.rand(count, 2, generator=generator) < torch.tensor([0.8, 0.2])).float().T[..., None]
        factors = torch.where(jitter > 0, factors, torch.ones(()))
        return torch.cat([places, factors, hue * jitter, grey], 1)

    def __call__(self, x: UInt8[Tensor, "N C H W"], drawn: Float[Tensor, "N K"]) -> Float[Tensor, "N C H W"]:
        x = super().__call__(x, drawn[:, :6])
        if x.shape[1] == 1:
            return x
        brightness, contrast, saturation, hue, grey = drawn[:, 6:].T[:, :, None, None, None]
        x = (x * brightness).clamp(0, 1)
        x = _mixed(x, luma(x).mean((2, 3), keepdim=True), contrast)
        x = turned_hue(_mixed(x, luma(x), saturation), hue)
        return torch.where(grey > 0, luma(x), x)


def luma(x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 1 H W"]:
    """The brightness that an eye sees, as torchvision weighs it."""
    return (x * torch.tensor([0.2989, 0.587, 0.114], device=x.device)[:, None, None]).sum(1, keepdim=True)


def _mixed(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return (share * x + (1 - share) * other).clamp(0, 1)


def turned_hue(x: Float[Tensor, "N 3 H W"], by: Float[Tensor, "N 1 1 1"]) -> Float[Tensor, "N 3 H W"]:
    """Each image with its hues turned by this share of the circle; value and saturation (of HSV) stay."""
    red, green, blue = x.unbind(1)
    high, low = x.amax(1), x.amin(1)
    spread = high - low
    part = torch.where(spread > 0, spread, torch.ones(()))
    hue = torch.where(
        high == red,
        (green - blue) / part,
        torch.where(high == green, 2 + (blue - red) / part, 4 + (red - green) / part),
    )
    hue = (hue / 6 + by[:, 0]) % 1
    channels = []
    for n in (5, 3, 1):
        k = (n + 6 * hue) % 6
        channels.append(high - spread * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)


def _reflected(places: Tensor, side: int) -> Tensor:
    """Places from -side + 1 to 2 side - 2 brought into the image, mirrored at the middle of its outermost pixels."""
    places = places.abs()
    return torch.where(places >= side, 2 * (side - 1) - places, places)


def _changes(magnitude: float, side: int) -> list[Callable[[UInt8[Tensor, "N C H W"]], UInt8[Tensor, "N C H W"]]]:
    """RandAugment's changes of images of this side, those that have a direction in both, each as often as the others.

    magnitude is from 0, none, to 1.
    """
    from torchvision.transforms.v2 import functional as v2

    def affine(angle=0.0, across=0.0, down=0.0, shear=(0.0, 0.0), center=None):
        how = {"angle": angle, "translate": [int(across), int(down)], "scale": 1.0, "shear": list(shear)}
        return lambda x: v2.affine(x, **how, interpolation=v2.InterpolationMode.BILINEAR, center=center)

    def saturated(factor):  # of one channel there is no colour to change
        return lambda x: v2.adjust_saturation(x, factor) if x.shape[1] == 3 else x

    by, far, slant = 0.9 * magnitude, 150 / 331 * side * magnitude, math.degrees(math.atan(0.3 * magnitude))
    directed = [
        change
        for sign in (1, -1)
        for change in (
            affine(shear=(sign * slant, 0.0), center=[0, 0]),
            affine(shear=(0.0, sign * slant), center=[0, 0]),
            affine(across=sign * far),
            affine(down=sign * far),
            affine(angle=sign * 30 * magnitude),
            partial(v2.adjust_brightness, brightness_factor=1 + sign * by),
            saturated(1 + sign * by),
            partial(v2.adjust_contrast, contrast_factor=1 + sign * by),
            partial(v2.adjust_sharpness, sharpness_factor=1 + sign * by),
        )
    ]
    rest = [
        lambda x: x,
        partial(v2.posterize, bits=8 - round(4 * magnitude)),
        partial(v2.solarize, threshold=255 * (1 - magnitude)),
        v2.autocontrast,
        v2.equalize,
    ]
    return directed + rest * 2


AUGMENTATIONS: dict[str, Callable] = {"affine": Affine, "shift": Shift, "randaugment": RandAugment, "colour": Colour}
