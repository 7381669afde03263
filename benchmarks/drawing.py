"""Drawn digits: how many are named right and accepted, taken as drawings and as pictures, see images.WAYS.

PYTHONPATH=. python benchmarks/drawing.py [--each 100] [--data DIR]

A drawing is a test digit of MNIST thinned to its skeleton and drawn again on white paper of 280 x 280 pixels with a
round pen, 12 to 24 pixels wide, 120 to 240 pixels large, anywhere on the paper: somebody's hand, no more that data
set's look. Photographed: the same paper, grey on grey, with uneven light and noise, as a JPEG. Printed: in the font
that comes with Pillow, 24 to 200 pixels. For the digits of scikit-learn, their own test images are drawn large as well,
70 to 100 % of their width. Scribbles are smooth random lines, photographs the test images of CIFAR-100, seven times as
large. θ keeps 95 % of new knowns; a run's own test images stand beside.
"""

import argparse
import io
from pathlib import Path

import machine
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from scipy.interpolate import make_interp_spline

from cac_core import runs
from cac_core.data import datasets, images
from cac_core.results import evaluate, judge

HERE = Path(__file__).parent.parent
RUNS = ("digits-osrci-0-cac-small-s0", "mnist-osrci-0-cac-plain-s0-5ee7dbb1")
SIDE = 280


def thinned(ink: np.ndarray) -> np.ndarray:
    """The skeleton of ink [H, W] bool, Zhang and Suen, CACM 1984."""
    ink = np.pad(ink, 1).astype(int)
    while True:
        before = ink.sum()
        for corner in (0, 1):
            around = [
                np.roll(ink, s, (0, 1)) for s in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
            ]
            north, east, south, west = around[::2]
            count = sum(around)
            turns = sum((a == 0) & (b == 1) for a, b in zip(around, around[1:] + around[:1], strict=True))
            if corner:
                open_side = (north * east * west == 0) & (north * south * west == 0)
            else:
                open_side = (north * east * south == 0) & (east * south * west == 0)
            ink[(count >= 2) & (count <= 6) & (turns == 1) & open_side] = 0
        if ink.sum() == before:
            return ink[1:-1, 1:-1] > 0


def anywhere(height: float, width: float, rng: np.random.Generator, margin: float = 0) -> tuple[int, int]:
    return tuple(int(rng.uniform(margin, SIDE - margin - side)) for side in (height, width))


def by_pen(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image [H, W], bright on black, drawn again with a pen: [SIDE, SIDE] uint8, dark on white."""
    large = np.asarray(Image.fromarray(image).resize((96, 96), Image.Resampling.BICUBIC)) > 110
    points = np.argwhere(thinned(large))
    points = points - points.min(0)
    pen = rng.uniform(12, 24)
    points = points * ((rng.uniform(120, 240) - pen) / max(points.max(), 1))
    free = np.ones((SIDE, SIDE), bool)
    free[tuple((points + anywhere(*points.max(0), rng, pen / 2)).astype(int).T)] = False
    return np.where(ndimage.distance_transform_edt(free) <= pen / 2, 0, 255).astype(np.uint8)


def large(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image [H, W], bright on black, as it is but large, narrower and anywhere: as by_pen."""
    height = int(rng.uniform(120, 240))
    size = int(height * rng.uniform(0.7, 1)), height
    ink = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) > 110
    paper, (top, left) = np.full((SIDE, SIDE), 255, np.uint8), anywhere(*ink.shape, rng)
    paper[top : top + ink.shape[0], left : left + ink.shape[1]][ink] = 0
    return paper


def scribble(rng: np.random.Generator) -> np.ndarray:
    points = make_interp_spline(np.arange(7), rng.uniform(30, 250, (7, 2)))(np.linspace(0, 6, 200))
    paper, pen = Image.new("L", (SIDE, SIDE), 255), rng.uniform(6, 12)
    for x, y in points:
        ImageDraw.Draw(paper).ellipse((x - pen, y - pen, x + pen, y + pen), fill=0)
    return np.asarray(paper)


def photographed(paper: np.ndarray, rng: np.random.Generator) -> bytes:
    """A paper [H, W] as a camera may see it: 70 for ink, 220 for paper, darker to one side, noise of 6."""
    height, width = paper.shape
    light = np.linspace(*rng.uniform(0.6, 1, 2), width) * np.linspace(rng.uniform(0.7, 1), 1, height)[:, None]
    seen = (70 + paper * (150 / 255)) * light + rng.normal(0, 6, paper.shape)
    return saved(seen.clip(0, 255).astype(np.uint8), "JPEG")


def printed(digit: str, rng: np.random.Generator) -> np.ndarray:
    size = int(rng.uniform(24, 200))
    paper = Image.new("L", (int(1.6 * size),) * 2, 255)
    at = size * rng.uniform(0.2, 0.7), size * rng.uniform(0.1, 0.4)
    ImageDraw.Draw(paper).text(at, digit, fill=0, font=ImageFont.load_default(size))
    return np.asarray(paper)


def saved(picture: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def measured(run: runs.Run, network: evaluate.Network, files: list[bytes], truth: list[str], way: str) -> str:
    pixels = np.stack([images.prepare(file, run.row, way).pixels for file in files])
    said = judge.said_of(run, *network.outputs(pixels), "gamma")
    pairs = list(zip(said, truth, strict=True))
    known = [(one["label"] == name, one["decision"] == name) for one, name in pairs if name in run.known_names]
    rejected = [one["decision"] == judge.UNKNOWN for one, name in pairs if name not in run.known_names]
    parts = [f"{np.mean(rejected):6.1%} of {len(rejected)} unknown rejected"]
    if known:
        nearest, right = np.mean(known, 0)
        parts = [f"{right:6.1%} of {len(known)} known right and accepted ({nearest:.1%} nearest to theirs)", *parts]
    return ", ".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=100, help="drawings of each digit")
    parser.add_argument("--data", type=Path, default=datasets.root_of())
    a = parser.parse_args()
    print(machine.described())
    rng = np.random.default_rng(0)
    mnist, digits = datasets.load("MNIST", a.data)["test"], datasets.load("digits", a.data)["test"]
    some = np.concatenate([np.flatnonzero(mnist.classes == digit)[: a.each] for digit in range(10)])
    papers, truth = [by_pen(mnist.pixels[i, :, :, 0], rng) for i in some], [str(c) for c in mnist.classes[some]]
    sets = {
        "by pen": (list(map(saved, papers)), truth),
        "own, large": ([saved(large(image[:, :, 0], rng)) for image in digits.pixels], list(map(str, digits.classes))),
        "scribbles": ([saved(scribble(rng)) for _ in some], ["scribble"] * len(some)),
        "photographed": ([photographed(paper, rng) for paper in papers], truth),
        "printed": ([saved(printed(digit, rng)) for digit in truth], truth),
    }
    if (a.data / "cifar100").is_dir() or (a.data / "cifar-100-python").is_dir():
        photographs = datasets.load("CIFAR100", a.data)["test"].pixels[: len(some)].repeat(7, 1).repeat(7, 2)
        sets["photographs"] = [saved(picture, "JPEG") for picture in photographs], ["photograph"] * len(photographs)
    for name in RUNS:
        run = runs.Run(HERE / "checkpoints" / name)
        network = evaluate.load(run, "cpu")
        at = run.report()["scorers"]["gamma"]["at_theta"]
        print(f"{name}: own test images {at['knowns_kept_and_right']:.1%} right, {at['unknowns_caught']:.1%} rejected")
        for kind, (files, truth) in sets.items():
            if kind != "own, large" or run.recipe.dataset == "digits":
                for way in images.WAYS[::-1]:
                    print(f"  {kind:12} {way:8} {measured(run, network, files, truth, way)}")
