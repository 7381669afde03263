"""Where to look first in a data set of one's own: images that are nearly the same, and such as lie among another class.

Neighbours are told by the features of a network that has seen ImageNet and has learnt nothing of this data set, those
that preset `photos` trains on. They are kept as <root>/.cache/looks/<name>.npz, each under the mark of its file, so
that an image which moves to another class need not be seen again. N images, D features, unit length; C classes.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.records import Array
from cac_core.sentences import say

NEIGHBOURS = 5
TWIN = 0.1  # 1 - cosine: as near are copies, mirror images, brighter and slightly cropped ones
SIDE = 224  # pixels, as preset photos has it for image folders
ARRAYS = {"marks": Array("U", "N"), "features": Array("f", "N D")}
BLOCK = 512  # images compared with all others at a time


@dataclass(frozen=True)
class Doubts:
    """Of each image [N]: its nearest other one and how far that is, 1 - cosine; the class among whose images it seems
    to belong; and how much it is in doubt, above 0.5 where it lies nearer to that class than to its own."""

    nearest: np.ndarray
    distance: np.ndarray
    other: np.ndarray
    doubt: np.ndarray

    @property
    def twin(self) -> np.ndarray:
        return self.distance < TWIN

    def first(self) -> np.ndarray:
        """The order [N] to look in: what lies among another class, the worst first; then twins; then the others."""
        kind = np.where(self.doubt > 0.5, 0, np.where(self.twin, 1, 2))
        within = np.where(kind == 1, self.distance, -self.doubt)
        return np.lexsort((np.arange(len(kind)), within, kind))


def doubts(features: np.ndarray, classes: np.ndarray) -> Doubts:
    """From features [N, D] of unit length and class numbers [N].

    An image is as far from a class as the mean of 1 - cosine to its NEIGHBOURS nearest other images there, to all where
    there are fewer. With s of its own class and o of the nearest other one, doubt = s / (s + o); of an image that is
    alone in its class it is 0, since nothing speaks against it.
    """
    x = features.astype(np.float32)
    count, labels = len(x), np.unique(classes)
    nearest, distance = np.zeros(count, int), np.full(count, np.inf, np.float32)
    far = np.full((count, len(labels)), np.inf, np.float32)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        d = np.maximum(1 - x[rows] @ x.T, 0)
        d[np.arange(len(rows)), rows] = np.inf
        nearest[rows], distance[rows] = d.argmin(1), d.min(1)
        for n, label in enumerate(labels):
            there = d[:, classes == label]
            k = min(NEIGHBOURS, there.shape[1])
            some = np.sort(np.partition(there, k - 1, axis=1)[:, :k], axis=1)
            here = np.isfinite(some)  # not the image itself
            mean = np.where(here, some, 0).sum(1) / np.maximum(here.sum(1), 1)
            far[rows, n] = np.where(here.any(1), mean, np.inf)
    own = np.searchsorted(labels, classes)
    mine = far[np.arange(count), own]
    far[np.arange(count), own] = np.inf
    other = far.argmin(1)
    theirs = far[np.arange(count), other]
    with np.errstate(invalid="ignore", divide="ignore"):
        doubt = np.where(np.isfinite(mine) & np.isfinite(theirs), mine / (mine + theirs), 0.0)
    doubt = np.nan_to_num(doubt, nan=0.5)  # all the same
    return Doubts(nearest, distance, labels[other], doubt)


def kept(root: Path, name: str, marks: Sequence[str]) -> np.ndarray | None:
    """The features [N, D] of the images with these marks; None where some have not been seen yet."""
    try:
        stored = records.arrays(file_of(root, name), ARRAYS)
        places = {mark: n for n, mark in enumerate(stored["marks"].tolist())}
        if all(mark in places for mark in marks):
            return stored["features"][[places[mark] for mark in marks]]
    except (OSError, records.Unfit):  # not there yet, or torn
        pass
    return None


def compute(
    root: Path, name: str, marks: Sequence[str], tell: Callable[[int, int, float], None] = lambda done, of, rate: None
) -> None:
    """See to it that the features of all images of an image folder are kept; marks [N] are those of its files."""
    from cac_core.networks.inputs import scale_of
    from cac_core.recipe import compose
    from cac_core.results import evaluate, frozen

    row = datasets.row_of(name, root, SIDE)
    given = compose("photos", {"thaw": 0, "input_size": SIDE}, dataset=name)
    backbone = evaluate.build(given, 2, row.channels, row.size).backbone
    scale = scale_of(backbone.scale, next(backbone.parameters()).device)

    def told(done: int, of: int, rate: float) -> None:
        runs.write_json(_progress(root, name), {"done": done, "of": of, "rate": rate, "time": time.time()})
        tell(done, of, rate)

    parts = [part[0] for part in datasets.as_listed(name, root, SIDE).values()]
    if sum(map(len, parts)) != len(marks):
        raise ValueError(say("The images of {name} have changed meanwhile. Look again.", name=name))
    told(0, len(marks), 0.0)
    features = []
    for pixels in parts:
        before = sum(map(len, features))
        maps = frozen.kept(
            backbone, pixels, [0], root=root, dataset=name, row=row, scale=scale,
            tell=lambda done, of, rate, before=before: told(before + done, len(marks), rate),
        )  # fmt: skip
        for start in range(0, len(pixels), BLOCK):
            places = np.arange(start, min(start + BLOCK, len(pixels)))
            some = backbone.of_maps(maps.rows(np.zeros(len(places), int), places)).numpy()
            features.append(some / np.maximum(np.linalg.norm(some, axis=1, keepdims=True), 1e-12))
    runs.write_npz(file_of(root, name), marks=np.array(marks), features=np.concatenate(features).astype(np.float16))
    _progress(root, name).unlink(missing_ok=True)


def under_way(root: Path, name: str) -> dict[str, Any]:
    """How far the work is that somebody does: done, of, rate; empty where nothing is said."""
    with contextlib.suppress(OSError, ValueError):
        return records.read(_progress(root, name), dict[str, float])
    return {}


def file_of(root: Path, name: str) -> Path:
    """Where the features are kept."""
    return root / ".cache" / "looks" / f"{name}.npz"


def _progress(root: Path, name: str) -> Path:
    return root / ".cache" / "looks" / f"{name}.json"
