"""What goes into a network: pixels as tensors, scaled; the device they are on; the precision it works in.

N images, C channels, H x W pixels.
"""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from cac_core.sentences import say

Stats = tuple[tuple[float, ...], tuple[float, ...]]
Scale = tuple[Tensor, Tensor]


@runtime_checkable
class Geometry(Protocol):
    """How training may change an image: the smallest area share of a crop, the largest rotation in degrees, whether it
    may be mirrored. A data set says it."""

    crop: float
    turn: float
    flip: bool


def on_device(pixels: np.ndarray, device: torch.device) -> UInt8[Tensor, "N C H W"]:
    """Images [N, H, W, C] uint8 as a tensor on the device."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2).contiguous()


def scale_of(stats: Stats, device: torch.device) -> Scale:
    """Mean and standard deviation of the channels as tensors [C, 1, 1]."""
    mean, std = (torch.tensor(value, dtype=torch.float32, device=device)[:, None, None] for value in stats)
    return mean, std


def normalised(x: Float[Tensor, "N C H W"], scale: Scale) -> Float[Tensor, "N C H W"]:
    """Images on the scale 0 to 1, less the mean, over the standard deviation, in the layout that convolutions like."""
    mean, std = scale
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def device_of(name: str) -> torch.device:
    """The device called so; "auto" is the best there is. Raises ValueError where it is not to be had."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind = name.split(":")[0]
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not have.get(kind):
        raise ValueError(say(
            "There is no device {name!r} here; there are: {names}, auto.",
            name=name, names=[k for k in have if have[k]],
        ))  # fmt: skip
    return torch.device(name)


def half_of(device: torch.device, precision: str, backbone: str) -> torch.dtype | None:
    """bfloat16 where it is asked for, or where "auto" gains from it; otherwise None, float32.

    A processor gains where it multiplies bfloat16 in hardware, and only on networks with enough to multiply.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else None
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    able = torch.cpu.get_capabilities()
    hardware = able.get("avx512_bf16", False) or able.get("amx_bf16", False) or able.get("amx_tile", False)
    return torch.bfloat16 if device.type == "cpu" and hardware and backbone != "small" else None


def warped(x: Float[Tensor, "N C H W"], affine: Float[Tensor, "N 2 3"]) -> Float[Tensor, "N C H W"]:
    """Each image seen through its own affine map, bilinear; outside the image is black."""
    return F.grid_sample(x, F.affine_grid(affine, list(x.shape), align_corners=False), align_corners=False)


def random_affine(count: int, row: Geometry, generator: torch.Generator) -> Float[Tensor, "N 2 3"]:
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
