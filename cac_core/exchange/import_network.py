"""A classifier that was trained elsewhere, as an ONNX file, becomes a run on a data set that is here.

It is evaluated like a network of our own: uploads, drawing, scores and θ work; what needs a gradient does not. Which of
the known training images it has learnt from nobody knows, so θ rests on half of the known test images.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.exchange import own_data
from cac_core.networks import foreign
from cac_core.recipe import FOREIGN, Recipe
from cac_core.results import evaluate
from cac_core.runs import Run
from cac_core.sentences import say
from cac_core.training.loop import record_of

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std that most networks for photographs take
MAKING = ".making"


def import_network(
    file: Path,
    store: Path,
    root: Path,
    dataset: str,
    name: str,
    *,
    trial: str = "",
    family: str = "osrci",
    classes: list[str] | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    size: int = 0,
    features: str = "",
) -> tuple[Run, bool]:
    """The run of an ONNX file, evaluated, and whether it is new: the same of the same stays as it is.

    trial: of the family; empty where the network knows all classes of the data set. classes: the names in the order of
    the logits; without them they are those that the trial knows, in the data set's order. mean and std by which an
    image's channels on the scale 0 to 1 are normalised: IMAGENET where nothing is said, of a grey image 0 and 1. size:
    the side of an image where the graph takes any. features: the value of the graph that they are; see
    networks.foreign. Raises ValueError where the file is no network that could run here, or does not fit the trial.
    """
    own_data.data_set_name(name)
    content = _content(file)
    graph = foreign.read(content, features)
    if graph.side and size not in (0, graph.side):
        raise ValueError(say("The network takes images of {side} pixels, not of {size}.", side=graph.side, size=size))
    row = datasets.row_of(dataset, root, graph.side or size)
    if graph.channels not in (0, row.channels):
        raise ValueError(say("The network takes images of {count} channels; those of {dataset} have {other}.",
                             count=graph.channels, dataset=dataset, other=row.channels))  # fmt: skip
    split = _split(dataset, family, trial, row)
    scale = _scale(mean, std, row.channels)
    count = _count(graph, row, scale)
    order = _order(count, split, row, classes)
    recipe = Recipe(
        dataset=dataset, family=split.family, trial=split.index, method=FOREIGN, backbone=FOREIGN,
        size=row.size if row.size != datasets.row_of(dataset, root).size else 0,
        hyper={"order": " ".join(map(str, order))}, trunk={"features": features} if features else {},
        known=split.known if split.family == "custom" else (),
    )  # fmt: skip
    images = datasets.load(dataset, root, row.size)
    run = Run(store / f"{FOREIGN}-{name}"[:64].rstrip("-"))
    record = record_of(recipe, split, row, scale, *datasets.identity(images))
    record |= {"imported_from": file.name, "validated_on": datasets.SET_ASIDE}
    kept = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
    if os.path.lexists(run.path):
        if not run.problem() and run.recipe == recipe and run.written and _same(run, kept, scale):
            return run, False
        raise ValueError(say("{path} is there already, and is another network. Give another name, or delete it on the "
                             "page Runs.", path=run.path))  # fmt: skip
    fresh = Run(store / MAKING / run.id)
    shutil.rmtree(fresh.path, ignore_errors=True)  # what an interruption left
    try:
        runs.write_json(fresh.path / "recipe.json", record)
        weights = save({evaluate.GRAPH: kept}, evaluate.weights_metadata(recipe, split, 0))
        runs.in_one_step(fresh.path / "best.safetensors", lambda into: into.write(weights))
        evaluate.evaluate(fresh, root, device="cpu")
        about = say("Imported from {file}: a network that was trained elsewhere.", file=file.name)
        runs.write_json(fresh.path / "status.json", {"state": "finished", "reason": about})
        fresh.path.rename(run.path)
    finally:
        shutil.rmtree(fresh.path, ignore_errors=True)
    return run, True


def _content(file: Path) -> bytes:
    with records.opened(file, links=True) as source:
        content = source.read(foreign.MOST + 1)
    if len(content) > foreign.MOST:
        raise ValueError(say("The network is larger than {most} MB.", most=foreign.MOST >> 20))
    return content


def _split(dataset: str, family: str, trial: str, row: datasets.Dataset) -> datasets.Trial:
    if trial:
        return datasets.trial_of(Recipe(dataset=dataset, family=family, trial=trial), row)
    every = tuple(range(row.unknown_from or len(row.classes)))
    return datasets.Trial(dataset, "custom", "all", every, ())


def _scale(mean: tuple[float, ...], std: tuple[float, ...], channels: int):
    mean = mean or (IMAGENET[0] if channels == 3 else (0.0,))
    std = std or (IMAGENET[1] if channels == 3 else (1.0,))
    if not len(mean) == len(std) == channels or min(std) <= 0 or not np.isfinite([*mean, *std]).all():
        raise ValueError(say("mean and std are {count} numbers each, one a channel, std above 0.", count=channels))
    return mean, std


def _count(graph: foreign.Graph, row: datasets.Dataset, scale) -> int:
    """How many logits the network gives for an image of this data set."""
    network = foreign.Foreign(graph, [0])
    blank = np.zeros((1, row.size, row.size, row.channels), np.uint8)
    evaluate.Network(network, scale, torch.device("cpu")).outputs(blank)
    return network.width_of_logits


def _order(count: int, split: datasets.Trial, row: datasets.Dataset, classes: list[str] | None) -> list[int]:
    """The place among the logits of each known class."""
    known = [row.classes[c] for c in split.known]
    if classes is None:
        if count != len(known):
            raise ValueError(say(
                "The network gives {count} logits, and {known} classes are known: {names}. Name another trial, or give "
                "--classes FILE: the names in the order of the logits, one a line.",
                count=count, known=len(known), names=known,
            ))  # fmt: skip
        return list(range(count))
    if len(classes) != count:
        raise ValueError(say("{count} logits need as many different class names; {given} are given.", count=count,
                             given=len(classes)))  # fmt: skip
    if lacking := [name for name in known if classes.count(name) != 1]:
        raise ValueError(say("Of the known classes the list names not once: {names}.", names=lacking))
    learnt = [row.classes[c] for c in split.unknown if row.classes[c] in classes]
    if learnt:
        raise ValueError(say("The network has learnt classes that would be unknown: {names}. Name another trial, or "
                             "none, where all are known.", names=learnt))  # fmt: skip
    return [classes.index(name) for name in known]


def _same(run: Run, kept: torch.Tensor, scale) -> bool:
    there = load_file(run.path / "best.safetensors").get(evaluate.GRAPH)
    return there is not None and torch.equal(there, kept) and run.stats == tuple(map(tuple, scale))
