"""What changes of the preset `fast` bring, told without any unknown class of a trial and without any test image.

PYTHONPATH=. python benchmarks/recipes.py --kept DIR [--data DIR] [--dataset CIFAR10] [--epochs 12] [--folds 3]
    [--only NAME ...]

Of the first trials one known class each is left out, the first of trial 0, the second of trial 1 and so on: the others
are learnt, and its training images play the unknown. Accuracy and AUROC are those on the validation images, judged with
the mirror image as the preset says; class means are those of 5000 training images. The difference is that to the preset
by the same score, paired by fold, Student's interval, 95 %. A line is printed as soon as it is there, and kept in
--kept, where it is read again.
"""

import argparse
import json
import time
from pathlib import Path

import machine
import numpy as np
import torch
from systems import difference, spread
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cac_core import runs
from cac_core.data import datasets
from cac_core.recipe import Recipe, compose
from cac_core.results import evaluate
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import default_for, judge_of
from cac_core.training.loop import Steps, rate_at

EVERY = 5  # steps from one average to the next
SCORES = ("gamma", "msp", "max_logit", "energy", "knn")
RECIPES = {  # name: method, what is changed, times the epochs, share of the average of weights that stays
    "CAC": ("cac", {}, 1, 0.0),
    "CAC, no cut-outs": ("cac", {"cutout": 0}, 1, 0.0),
    "CAC, RandAugment": ("cac", {"augment": "randaugment"}, 1, 0.0),
    "CAC, RandAugment, twice as long": ("cac", {"augment": "randaugment"}, 2, 0.0),
    "CAC, twice as long": ("cac", {}, 2, 0.0),
    "CAC, half as wide again": ("cac", {"options": {"widen": 1.5}}, 1, 0.0),
    "CAC, averaged weights": ("cac", {}, 1, 0.98),
    "CAC, anchors at 5": ("cac", {"options": {"alpha": 5.0}}, 1, 0.0),
    "cross-entropy": ("cross_entropy", {}, 1, 0.0),
    "cross-entropy, smoothed labels (0.1)": ("cross_entropy", {"options": {"smoothing": 0.1}}, 1, 0.0),
    "cross-entropy, RandAugment": ("cross_entropy", {"augment": "randaugment"}, 1, 0.0),
}


def without(dataset: str, fold: int, root: Path) -> tuple[list[int], int]:
    """The known classes of a trial but one, and that one."""
    recipe = Recipe(dataset=dataset, trial=str(fold))
    known = list(datasets.trial_of(recipe, datasets.row_of(dataset, root)).known)
    return known[:fold] + known[fold + 1 :], known[fold]


def tried(name: str, fold: int, dataset: str, epochs: int, root: Path) -> dict[str, float]:
    """Train a recipe on the classes of a fold; accuracy and the AUROC of each score, in percent, and seconds."""
    method, changes, times, stays = RECIPES[name]
    known, left = without(dataset, fold, root)
    recipe = compose(
        "fast", dataset=dataset, family="custom", trial=f"without {left}", known=known, unknown=[left], method=method,
        epochs=times * epochs, **changes,
    )  # fmt: skip
    row = datasets.row_of(dataset, root)
    images = datasets.load(dataset, root)
    steps = Steps(recipe, datasets.trial_of(recipe, row), row, images, torch.device("cpu"))
    steps.begin(root)
    steps.method.first(steps.batches.plain(evaluate.BATCH))
    mean = None
    if stays:
        mean = AveragedModel(steps.method, multi_avg_fn=get_ema_multi_avg_fn(stays), use_buffers=True)
    began = time.perf_counter()
    for epoch in range(recipe.epochs):
        steps.method.way = epoch / recipe.epochs
        steps.method.train()
        for step, (x, y) in enumerate(steps.batches.epoch(epoch)):
            steps.learn(x, y, rate_at(recipe, epoch + step / steps.batches.steps))
            if mean is not None and step % EVERY == 0:
                mean.update_parameters(steps.method)
    took = time.perf_counter() - began

    judged = mean.module if mean is not None else steps.method
    network = evaluate.Network(judged, steps.stats, torch.device("cpu"), mirror=recipe.tta == "mirror")
    some = np.random.default_rng(0).permutation(len(steps.train))[:5000]

    def outputs(pixels, labels) -> Outputs:
        logits, features = network.outputs(pixels)
        anchors = network.method.anchors.numpy() if method == "cac" else None
        count = np.arange(len(pixels))
        return Outputs(logits, features, labels, labels, count, np.zeros(len(pixels), bool), anchors)

    strange = images["train"].only(np.flatnonzero(images["train"].classes == left)).pixels[:]
    learnt = outputs(steps.train.pixels[np.sort(some)], steps.train.labels[np.sort(some)])
    fresh = outputs(steps.validation.pixels[:], steps.validation.labels)
    new = outputs(strange, np.full(len(strange), -1))
    accuracy = float((judge_of(default_for(method), learnt)(fresh).label == fresh.labels).mean())
    found = {"accuracy": 100 * accuracy, "seconds": took}
    for score in SCORES[method != "cac" :]:
        judge = judge_of(score, learnt)
        found[score] = 100 * metrics.Curve(judge(fresh).score, judge(new).score).auroc()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dataset", default="CIFAR10")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--kept", type=Path, required=True)
    a = parser.parse_args()
    a.kept.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, float]]] = {}
    for name in a.only:
        for fold in range(a.folds):
            file = a.kept / f"{a.dataset}-{a.epochs}-{fold}-{name.replace(' ', '-')}.json"
            if not file.exists():
                runs.write_json(file, tried(name, fold, a.dataset, a.epochs, datasets.root_of(a.data)))
            results.setdefault(name, []).append(json.loads(file.read_text()))
            print(name, fold, results[name][-1], flush=True)
    print(f"\n{machine.described()}\n{a.dataset}, {a.epochs} epochs, {a.folds} folds\n")
    print("| recipe | accuracy | " + " | ".join(SCORES) + " | its score, beside the preset's | seconds |")
    print("|-|-|" + "-|" * (len(SCORES) + 2))
    for name, some in results.items():
        method = RECIPES[name][0]
        preset, own = results.get("CAC" if method == "cac" else "cross-entropy"), default_for(method)
        cells = [spread([one[what] for one in some]) if what in some[0] else "" for what in ("accuracy", *SCORES)]
        gap = [[one[own] for one in each] for each in (some, preset or some)]
        beside = difference(*gap) if gap[0] != gap[1] else ""
        print(f"| {name} | " + " | ".join([*cells, beside, f"{np.mean([one['seconds'] for one in some]):.0f}"]) + " |")
