"""The maps that the fixed part of a network makes of images: computed once for each image, kept on disk.

<root>/.cache/maps/<data set>-<digest>/<digest>.npy and .ids, the folder's digest of what the maps hang on but the
image: the weights, where the network is cut, the input size and the scale of pixels. An image is known by the digest
of its pixels and of the view of it, so that images that are added, moved or split otherwise cost what is new among
them. A file holds CHUNK maps and is moved into place whole, its .ids last: whatever was interrupted goes on, and
several processes do no harm to each other. What is read is mapped, not loaded: memory stays bounded by a chunk.

A view is 0, the image; 1, its mirror image; from 2 on, random crops as training draws them, the same ones for ever.
"""

import contextlib
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cac_core import runs
from cac_core.data.datasets import Dataset
from cac_core.networks.backbones import Backbone
from cac_core.networks.inputs import Scale, normalised, on_device, random_affine, warped
from cac_core.recipe import slug
from cac_core.sentences import say

BATCH = 32  # images in work at one time
CHUNK = 256  # maps in a file
ID = 16  # bytes


@dataclass(frozen=True)
class Kept:
    """The maps of N images in V views: files, and for each view and image (file, row) [V, N, 2]."""

    files: Sequence[np.ndarray]
    places: np.ndarray

    def __len__(self) -> int:
        return self.places.shape[1]

    @property
    def views(self) -> int:
        return len(self.places)

    def tiled(self, count: int) -> "Kept":
        """As if there were so many images: the same again and again."""
        return Kept(self.files, self.places[:, np.arange(count) % len(self)])

    def rows(self, views: np.ndarray, images: np.ndarray) -> torch.Tensor:
        """The maps [n, ...] of images [n], each in the view [n] that is asked for."""
        wanted = self.places[views, images]
        out = np.empty((len(images), *self.files[0].shape[1:]), np.float32)
        for file in np.unique(wanted[:, 0]):
            mine = wanted[:, 0] == file
            out[mine] = self.files[file][wanted[mine, 1]]
        return torch.from_numpy(out)


def views_of(backbone: Backbone, row: Dataset) -> list[int]:
    """The views that training takes of each image."""
    return [0, *([1] if row.flip else []), *range(2, 2 + backbone.crops)]


def kept(
    backbone: Backbone,
    pixels: np.ndarray,
    views: Sequence[int],
    *,
    root: Path,
    dataset: str,
    row: Dataset,
    scale: Scale,
    tell: Callable[[int, int, float], None] = lambda done, of, rate: None,
) -> Kept:
    """The maps of images [N, H, W, C] uint8 in these views; what is not on disk yet is computed, in chunks.

    tell hears before the first and after every BATCH how many there are of how many, and images a second, 0 before it
    is known; what it raises ends the work, which goes on from there another time. Where the disk takes nothing, the
    maps stay in memory, with a warning.
    """
    shelf = _Shelf(_folder(backbone, root, dataset, scale))
    geometry = f"{row.crop} {row.turn} {row.flip}"
    ids = np.array([_ids(image, views, geometry) for image in pixels], f"S{2 * ID}").reshape(-1, len(views)).T
    missing = [(v, n) for v, n in np.ndindex(ids.shape) if ids[v, n] not in shelf.places]
    missing = list({ids[v, n]: (v, n) for v, n in missing}.values())  # equal images are one
    began, here = time.monotonic(), ids.size - len(missing)
    if missing:
        tell(here, ids.size, 0.0)
    for start in range(0, len(missing), CHUNK):
        some, parts, done = missing[start : start + CHUNK], [], start
        try:
            for at in range(0, len(some), BATCH):
                x = torch.cat([_seen(pixels[n], views[v], row, ids[v, n]) for v, n in some[at : at + BATCH]])
                parts.append(_maps(backbone, x, scale))
                done += len(parts[-1])
                tell(here + done, ids.size, done / max(time.monotonic() - began, 1e-9))
        finally:
            if parts:
                shelf.add([ids[v, n] for v, n in some[: done - start]], np.concatenate(parts))
    places = [[shelf.places[one] for one in of] for of in ids]
    return Kept(shelf.files, np.array(places, int).reshape(len(views), -1, 2))


def computed(backbone: Backbone, pixels: np.ndarray, scale: Scale) -> np.ndarray:
    """The maps of some images [N, H, W, C] uint8, kept nowhere."""
    return _maps(backbone, on_device(pixels, torch.device("cpu")).float() / 255, scale)


def _maps(backbone: Backbone, x: torch.Tensor, scale: Scale) -> np.ndarray:
    with torch.no_grad():
        return backbone.maps(normalised(x.to(scale[0].device), scale)).float().cpu().numpy()


def _folder(backbone: Backbone, root: Path, dataset: str, scale: Scale) -> Path:
    how = [backbone.fixed_by, backbone.thaw, backbone.input_size, [part.flatten().tolist() for part in scale]]
    digest = hashlib.sha256(json.dumps(how).encode()).hexdigest()[:12]
    return root / ".cache" / "maps" / f"{slug(dataset)[:40]}-{digest}"


def _ids(image: np.ndarray, views: Sequence[int], geometry: str) -> list[bytes]:
    """Of an image in each view: hexadecimal digits, of which numpy drops none."""
    pixels = hashlib.sha256(np.ascontiguousarray(image)).hexdigest()
    named = (f"{view if view < 2 else f'{view} {geometry}'} {image.shape} {pixels}" for view in views)
    return [hashlib.sha256(one.encode()).hexdigest()[: 2 * ID].encode() for one in named]


def _seen(image: np.ndarray, view: int, row: Dataset, one: bytes) -> torch.Tensor:
    """The image in a view, [1, C, H, W] on the scale 0 to 1."""
    x = on_device(image[None], torch.device("cpu")).float() / 255
    if view == 0:
        return x
    if view == 1:
        return x.flip(3)
    return warped(x, random_affine(1, row, torch.Generator().manual_seed(int(one[:15], 16))))


class _Shelf:
    """The chunks in a folder: files of maps, and where the map of each id stands among them."""

    def __init__(self, folder: Path):
        self.folder, self.files, self.places = folder, [], {}
        for listed in sorted(folder.glob("*.ids")):
            try:
                ids = np.frombuffer(listed.read_bytes(), f"S{2 * ID}")
                maps = np.load(listed.with_suffix(".npy"), mmap_mode="r")
                if len(maps) != len(ids) or maps.dtype != np.float32:
                    raise ValueError(say("it holds something else"))
            except (FileNotFoundError, ValueError, EOFError):  # torn, or removed meanwhile: made again
                with contextlib.suppress(OSError):
                    listed.unlink(missing_ok=True)
                continue
            except OSError:  # not to be had now, as where too many files are open
                continue
            self._take(ids, maps)

    def add(self, ids: list[bytes], maps: np.ndarray) -> None:
        names = np.array(ids, f"S{2 * ID}")
        file = self.folder / f"{hashlib.sha256(names.tobytes()).hexdigest()[:24]}.npy"
        try:
            runs.in_one_step(file, lambda out: np.save(out, maps))
            runs.in_one_step(file.with_suffix(".ids"), lambda out: out.write(names.tobytes()))
            maps = np.load(file, mmap_mode="r")
        except OSError as error:
            warnings.warn(f"The features of images could not be kept in {self.folder} ({error}).", stacklevel=2)
        self._take(names, maps)

    def _take(self, ids: np.ndarray, maps: np.ndarray) -> None:
        self.places |= {one: (len(self.files), row) for row, one in enumerate(ids.tolist())}
        self.files.append(maps)
