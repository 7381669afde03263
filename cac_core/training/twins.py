"""One network for two data sets. CIFAR+10 and CIFAR+50 have the same images and the same known classes: they differ in
the unknown ones alone, which no training sees. So a recipe trains to the same weights on both, and is trained once."""

import dataclasses
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save

from cac_core import runs
from cac_core.data import datasets
from cac_core.data.datasets import Trial
from cac_core.recipe import Recipe
from cac_core.results import evaluate
from cac_core.runs import Broken, Run

CURVES = ("events.jsonl", "snapshots.npz")  # how the training went


def twin_of(recipe: Recipe, trial: Trial, digest: str, store: Path) -> Run | None:
    """A finished run in the store that has this recipe, these images and known classes on another data set."""
    if recipe.dataset not in datasets.DATASETS:
        return None
    alike = dataclasses.replace(datasets.DATASETS[recipe.dataset], trials=None)
    for name, row in datasets.DATASETS.items():
        if name == recipe.dataset or dataclasses.replace(row, trials=None) != alike:
            continue
        wanted = dataclasses.replace(recipe, dataset=name)
        other = Run(store / wanted.id)
        try:
            if (
                not other.problem()
                and other.state == "finished"
                and other.recipe == wanted
                and other.trial.known == trial.known
                and other.record.get("data") == digest
                and other.written
                and evaluate.opens(other)
            ):
                return other
        except (Broken, OSError):
            continue
    return None


def take_from(other: Run, run: Run) -> None:
    """Give a run the weights of its twin, and the record of how they were trained."""
    for name in CURVES:
        if (other.path / name).exists():
            shutil.copyfile(other.path / name, run.path / name)
    file = other.path / "best.safetensors"
    with safe_open(file, framework="pt") as stored:
        said = stored.metadata() or {}
    about = evaluate.weights_metadata(run.recipe, run.trial, said.get("epoch", "0"), said.get("fixed_by", ""))
    content = save(load_file(file), about)
    runs.in_one_step(run.path / "best.safetensors", lambda fresh: fresh.write(content))
