"""Few photos a class: CIFAR-10's, enlarged, six known and four unknown classes, by every score of the preset photos.

python benchmarks/photos.py --data DIR [--images 20 50] [--trials 0] [--draws 1] [--methods cac cross_entropy]
                            [--side 128] [--backbone efficientnet-lite0] [--thaw 0|1] [--control] [--work DIR]

Every run is one of the product, on an image folder: so many photos a known class to learn from, drawn by the draw's
seed, and 200 of each of the ten classes to be tested on, the same for all, each enlarged to 300 pixels. Features are
computed once for each photo and kept in --work, where finished runs are read from, too. ImageNet has cats, frogs, ships
and horses: the network knew these unknowns, so that its AUROC here is not that of classes which nobody has seen.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import machine
import numpy as np
import torch
from PIL import Image
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression

from cac_core.data import datasets
from cac_core.data.sources import CIFAR10
from cac_core.networks.inputs import scale_of
from cac_core.recipe import Recipe, compose
from cac_core.results import evaluate, frozen
from cac_core.runs import Run
from cac_core.scoring import metrics
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
    """The image folder of a draw below a data root of its own: links to photos, so many of each class in train."""
    root = work / "data" / f"{count}-{draw}"
    shared, own = work / "maps", root / ".cache" / "maps"
    shared.mkdir(parents=True, exist_ok=True)
    own.parent.mkdir(parents=True, exist_ok=True)
    if not own.exists():
        os.symlink(shared, own)  # what the network makes of a photo is computed once, whatever the draw
    for part, many in {"train": count, "test": TESTED}.items():
        for number, name in enumerate(CIFAR10):
            mine = np.flatnonzero(images[part].classes == number)
            seed = [draw, number] if part == "train" else [0, number]
            chosen = np.random.default_rng(seed).permutation(mine)[:many]
            folder = root / NAME / part / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in files_of(part, images[part], chosen, work / "pool"):
                if not (folder / file.name).exists():
                    os.symlink(file, folder / file.name)
    return root


def learnt(recipe: Recipe, count: int, draw: int, cifar: dict[str, datasets.Images], work: Path) -> tuple[dict, float]:
    """The report of a run, and the seconds of processor that it took: read where it has been finished before."""
    run = Run(work / f"runs-{count}" / recipe.id)
    if run.state != "finished":
        root, began = lay_out(cifar, count, draw, work), time.process_time()
        run = train(recipe, run.path.parent, root, device="cpu")
        (run.path / "processor.txt").write_text(f"{time.process_time() - began:.1f}")
    took = run.path / "processor.txt"
    return run.report(), float(took.read_text()) if took.exists() else float("nan")


def control(
    recipe: Recipe, count: int, draw: int, cifar: dict[str, datasets.Images], work: Path
) -> tuple[float, float]:
    """Accuracy and AUROC by energy of scikit-learn's logistic regression, C = 1, on the frozen features of the same
    photos, all of the known ones and their mirror images, as long as the network gives them: nothing is tuned."""
    kept = work / f"control-{count}" / f"{recipe.id}.json"
    if not kept.exists():
        root = lay_out(cifar, count, draw, work)
        row = datasets.row_of(NAME, root, recipe.size)
        images, trial = datasets.load(NAME, root, recipe.size), datasets.trial_of(recipe, row)
        backbone = evaluate.build(recipe, len(trial.known), row.channels, row.size).backbone
        scale = scale_of(backbone.scale, torch.device("cpu"))
        labels = {part: trial.labels(some.classes) for part, some in images.items()}
        maps = {part: frozen.kept(backbone, some.pixels, [0, 1] if part == "train" else [0], root=root, dataset=NAME,
                                  row=row, scale=scale) for part, some in images.items()}  # fmt: skip
        every = {part: np.arange(len(some)) for part, some in images.items()}
        known = labels["train"] >= 0
        x = np.concatenate([maps["train"].rows(every["train"] * 0 + view, every["train"])[known] for view in (0, 1)])
        head = LogisticRegression(max_iter=2000).fit(x, np.tile(labels["train"][known], 2))
        logits, truth = head.decision_function(maps["test"].rows(every["test"] * 0, every["test"])), labels["test"]
        energy = -logsumexp(logits, 1)
        curve = metrics.Curve(energy[truth >= 0], energy[truth < 0])
        said = {"accuracy": float((logits.argmax(1) == truth)[truth >= 0].mean()), "auroc": float(curve.auroc())}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(said))
    said = json.loads(kept.read_text())
    return said["accuracy"], said["auroc"]


def cell(pairs: list[tuple[float | None, float | None]]) -> str:
    """Accuracy / AUROC in %, the mean of each with the standard deviation over trials and draws."""
    said = []
    for values in zip(*pairs, strict=True):
        if None in values:  # a score that cannot be applied to so few
            return ""
        spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
        said.append(f"{100 * statistics.mean(values):.1f}{spread}")
    return " / ".join(said)


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
    parser.add_argument("--control", action="store_true", help="scikit-learn's logistic regression beside them")
    a = parser.parse_args()
    work = (a.work or Path(tempfile.mkdtemp())).absolute()
    cifar = datasets.load("CIFAR10", datasets.root_of(a.data))
    print(machine.described(), flush=True)
    print(
        f"{a.backbone} at {a.side} pixels; trials {a.trials} x {a.draws} draws; accuracy / AUROC by each score, %, "
        "with the standard deviation over trials and draws\n"
    )
    print(f"| images a class | method | learns | {' | '.join(SHOWN)} | chosen blind | processor, s a run |")
    print("|-|-|-|" + "-|" * len(SHOWN) + "-|-|")
    for count in a.images:
        found, beside = {method: [] for method in a.methods}, []
        for draw, trial in itertools.product(range(a.draws), a.trials):
            said = datasets.published()["osrci"]["CIFAR10"][trial]
            for method in a.methods:
                options = {"input_size": a.side} | ({} if a.thaw is None else {"thaw": a.thaw})
                recipe = compose(
                    "photos", options, images=count, dataset=NAME, family="custom", trial=f"{trial}-{draw}",
                    **{kind: tuple(classes) for kind, classes in said.items()}, method=method, backbone=a.backbone,
                    size=a.side, seed=draw, folds=0 if a.thaw else None,
                )  # fmt: skip
                found[method].append((recipe, *learnt(recipe, count, draw, cifar, work)))
                print(recipe.id, found[method][-1][-1], file=sys.stderr, flush=True)
            if a.control:
                beside.append(control(recipe, count, draw, cifar, work))
        for method, every in found.items():
            reports = [report for _, report, _ in every]
            cells = [cell([(one["scorers"][score].get("accuracy"), one["scorers"][score].get("auroc"))
                           for one in reports]) for score in SHOWN]  # fmt: skip
            chosen = [(one["scorers"][one["default"]]["accuracy"], one["scorers"][one["default"]]["auroc"])
                      for one in reports]  # fmt: skip
            names = ", ".join(f"{name} {n}" for name, n in Counter(one["default"] for one in reports).most_common())
            learns = "last stage" if every[0][0].trunk.get("thaw") else "head"
            seconds = statistics.median(took for *_, took in every)
            print(
                f"| {count} | {method} | {learns} | {' | '.join(cells)} | {cell(chosen)} ({names}) | {seconds:.0f} |",
                flush=True,
            )
        if beside:
            blank = " |" * (len(SHOWN) - 1 - SHOWN.index("energy"))
            print(f"| {count} | scikit-learn | head |{' |' * SHOWN.index('energy')} {cell(beside)} |{blank} | |")
