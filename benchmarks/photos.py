"""Few photos a class: CIFAR-10's, enlarged, six known and four unknown classes, by every score of the preset photos.

python benchmarks/photos.py --data DIR [--images 20 50] [--trials 0] [--draws 1] [--methods cac cross_entropy]
                            [--side 128] [--backbone efficientnet-lite0] [--thaw 0|1] [--work DIR]

Every run is one of the product, on an image folder: so many photos a known class to learn from, drawn by the draw's
seed, and 200 of each of the ten classes to be tested on, the same for all, each enlarged to 300 pixels. Features are
computed once for each photo and kept in --work. ImageNet has cats, frogs, ships and horses: the network knew these
unknowns, so that its AUROC here is not that of classes which nobody has seen.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
from PIL import Image

from cac_core.data import datasets
from cac_core.data.sources import CIFAR10
from cac_core.recipe import compose
from cac_core.training.loop import train

SIDE = 300  # of the photos, in pixels
TESTED = 200  # of each class
NAME = "cifar10-photos"
SHOWN = ("gamma", "msp", "energy", "knn", "mahalanobis")


def files_of(part: str, images: datasets.Images, places: np.ndarray, pool: Path) -> list[Path]:
    """The photos at these places, enlarged, each written once."""
    files = []
    for place in places:
        file = pool / part / f"{place:05}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            large = Image.fromarray(images.pixels[place]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            fresh = file.with_name(f".{file.name}")
            large.save(fresh, "PNG", compress_level=1)
            fresh.rename(file)
        files.append(file)
    return files


def lay_out(images: dict[str, datasets.Images], count: int, draw: int, work: Path) -> Path:
    """The image folder of a draw below a data root: links to photos, so many of each class in train."""
    root = work / "data"
    for part, many in {"train": count, "test": TESTED}.items():
        for number, name in enumerate(CIFAR10):
            mine = np.flatnonzero(images[part].classes == number)
            seed = [draw, number] if part == "train" else [0, number]
            chosen = np.random.default_rng(seed).permutation(mine)[:many]
            folder = root / NAME / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            for file in files_of(part, images[part], chosen, work / "pool"):
                os.symlink(file, folder / file.name)
    return root


def numbers(values: list[float | None]) -> str:
    return "" if None in values or not values else f"{100 * statistics.mean(values):.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[10, 20, 50, 200, 500])
    parser.add_argument("--trials", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["cac", "cross_entropy"])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--thaw", type=int)
    a = parser.parse_args()
    work = (a.work or Path(tempfile.mkdtemp())).absolute()
    cifar = datasets.load("CIFAR10", datasets.root_of(a.data))
    print(machine.described(), flush=True)
    print(f"{a.backbone} at {a.side} pixels; trials {a.trials} x {a.draws} draws; accuracy / AUROC by each score, %\n")
    print(f"| images a class | method | learns | {' | '.join(SHOWN)} | chosen blind | seconds a run |")
    print("|-|-|-|" + "-|" * len(SHOWN) + "-|-|")
    for count in a.images:
        found = {method: [] for method in a.methods}
        for draw in range(a.draws):
            root = lay_out(cifar, count, draw, work)
            row = datasets.row_of(NAME, root)
            for trial in a.trials:
                said = datasets.published()["osrci"]["CIFAR10"][trial]
                known, unknown = (tuple(row.classes.index(CIFAR10[c]) for c in said[kind]) for kind in said)
                for method in a.methods:
                    options = {"input_size": a.side} | ({} if a.thaw is None else {"thaw": a.thaw})
                    recipe = compose(
                        "photos", options, images=count, dataset=NAME, family="custom", trial=f"{trial}-{draw}",
                        known=known, unknown=unknown, method=method, backbone=a.backbone, size=a.side, seed=draw,
                        folds=0 if a.thaw else None,
                    )  # fmt: skip
                    began = time.perf_counter()
                    run = train(recipe, work / f"runs-{count}", root, device="cpu")
                    found[method].append((recipe, run.report(), time.perf_counter() - began))
        for method, every in found.items():
            cells = []
            for score in SHOWN:
                mine = [report["scorers"][score] for _, report, _ in every]
                cells.append(" / ".join(numbers([one.get(key) for one in mine]) for key in ("accuracy", "auroc")))
            chosen = [report["scorers"][report["default"]] for _, report, _ in every]
            names = ", ".join(dict.fromkeys(report["default"] for _, report, _ in every))
            cells.append(
                f"{' / '.join(numbers([one[key] for one in chosen]) for key in ('accuracy', 'auroc'))} ({names})"
            )
            learns = "last stage" if every[0][0].trunk.get("thaw") else "head"
            seconds = statistics.median(took for *_, took in every)
            print(f"| {count} | {method} | {learns} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)
