"""What stands in for unknown images where a run is tested on none: known classes left out, and shuffled pictures.

A class that a head has not learnt is new to it as an unknown one is, where the network below the head has not learnt it
either. It is as like the classes that stay as these are like each other: unknown things that are more alike are caught
less often, others more. Pictures whose patches were shuffled are like no class, and easier: told beside it, no more.

What is caught hangs on theta. So it is counted at LEVELS, shares of new knowns that a theta keeps, and kept with the
report. C classes left out, L levels. Numpy only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cac_core.runs import StandIns
from cac_core.scoring import metrics

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0)
MOST = 100  # pictures to shuffle
GRID = 4  # patches to a side


@dataclass(frozen=True)
class Estimate:
    """What one score catches of stand-ins at a level: of each class left out, (its label, caught, of so many), and the
    AUROC of each; shuffled, (caught, of so many), or None without any."""

    classes: tuple[tuple[int, int, int], ...]
    aurocs: tuple[float, ...]
    shuffled: tuple[int, int] | None


def caught(new: np.ndarray, strangers: np.ndarray) -> list[int]:
    """How many strangers score above the theta that keeps each of LEVELS of new knowns [N]."""
    return [int((strangers > metrics.theta_at(level, new)).sum()) for level in LEVELS]


def level_of(theta: float, scores: np.ndarray) -> float | None:
    """The least of LEVELS that keeps as many knowns as theta does, by the scores [N] of new ones; None beyond all.

    At a level between two, what the higher one catches is less: nothing is promised that is not there. Where several
    levels have the same theta, as of few images, it is the usual one if that is among them.
    """
    thetas = [metrics.theta_at(level, scores) for level in LEVELS]
    usual = LEVELS.index(0.95)
    if thetas[usual] == theta:
        return LEVELS[usual]
    return next((level for level, at in zip(LEVELS, thetas, strict=True) if at >= theta), None)


def estimate(kept: StandIns, scorer: str, level: float, classes: int) -> Estimate | None:
    """What a report says of stand-ins, for a run of so many classes; None where it says nothing, or nothing sound."""
    if level not in (levels := kept.get("levels", [])):
        return None
    place, left, shuffled = levels.index(level), kept.get("left_out"), kept.get("shuffled")
    some, aurocs, beside = [], [], None
    if left and scorer in left["caught"] and scorer in left["aurocs"]:
        rows, aurocs = left["caught"][scorer], left["aurocs"][scorer]
        if not len(rows) == len(aurocs) == len(left["classes"]) == len(left["images"]):
            return None
        some = [(c, row[place], of) for c, row, of in zip(left["classes"], rows, left["images"], strict=True)
                if len(row) == len(levels)]  # fmt: skip
    if shuffled and len(row := shuffled["caught"].get(scorer, [])) == len(levels):
        beside = (row[place], shuffled["images"])
    if len(some) < len(aurocs) or any(not (c < classes and hits <= of and of) for c, hits, of in some):
        return None
    if beside and not (beside[0] <= beside[1] and beside[1]):
        return None
    return Estimate(tuple(some), tuple(aurocs), beside)


def shuffled(pixels: np.ndarray) -> np.ndarray:
    """MOST images, evenly of [N, H, W, K] uint8, each cut into GRID x GRID patches that change places, always alike.

    What does not divide by GRID is filled with the image itself.
    """
    chosen = np.unique(np.linspace(0, len(pixels) - 1, min(MOST, len(pixels))).round().astype(int))
    whole = np.asarray(pixels[chosen])  # of images that lie on disk these alone are read
    out = whole.copy()
    height, width = (side // GRID for side in whole.shape[1:3])
    corners = [(row * height, column * width) for row in range(GRID) for column in range(GRID)]
    for n, image, before in zip(chosen, out, whole, strict=True):
        order = np.random.default_rng([GRID, int(n)]).permutation(len(corners))
        for (top, left), (row, column) in zip(corners, (corners[place] for place in order), strict=True):
            image[top : top + height, left : left + width] = before[row : row + height, column : column + width]
    return out


def counted(
    new: dict[str, list[np.ndarray]], strangers: dict[str, list[np.ndarray]], classes: Sequence[int]
) -> StandIns:
    """What is kept of classes [C] that were left out: by score, for each, its scores of new knowns and of that class.

    Theta is that of all heads' new knowns together, as that of a cross-validated run is. Scores that could not be had
    of every class are not there; a class of which there is no image is passed over.
    """
    whole = [name for name in new if len(new[name]) == len(classes) and sum(map(len, new[name]))]
    there = [n for n in range(len(classes)) if whole and len(strangers[whole[0]][n])]
    if not there:
        return {}
    hits, aurocs = {}, {}
    for name in whole:
        known, some = np.concatenate(new[name]), [strangers[name][n] for n in there]
        hits[name] = [caught(known, one) for one in some]
        aurocs[name] = [metrics.Curve(known, one).auroc() for one in some]
    images = [len(strangers[whole[0]][n]) for n in there]
    return {"levels": list(LEVELS), "left_out": {"classes": [int(classes[n]) for n in there], "images": images,
                                                 "caught": hits, "aurocs": aurocs}}  # fmt: skip
