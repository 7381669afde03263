"""A classifier that was trained elsewhere becomes a run on a data set that is here: an ONNX file, or the weights of a
network of torchvision's or timm's.

It is evaluated like a network of our own: uploads, drawing, scores and θ work; what needs a gradient does not. Which of
the known training images it has learnt from nobody knows, so θ rests on half of the known test images.
"""

import io
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, load_file, save

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.exchange import own_data
from cac_core.exchange.import_weights import plain
from cac_core.networks import foreign
from cac_core.recipe import FOREIGN, Recipe
from cac_core.results import evaluate
from cac_core.runs import Run
from cac_core.sentences import say
from cac_core.training.loop import record_of

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std that most networks for photographs take


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
    architecture: str = "",
) -> tuple[Run, bool]:
    """The run of a network's file, evaluated, and whether it is new: the same of the same stays as it is.

    trial: of the family; empty where the network knows all classes of the data set. classes: the names in the order of
    the logits; without them they are those that the trial knows, in the data set's order. mean and std by which an
    image's channels on the scale 0 to 1 are normalised: IMAGENET where nothing is said, of a grey image 0 and 1. size:
    the side of an image where the network takes any. features: the value of an ONNX graph that they are. architecture:
    of a file of weights, as timm/NAME or torchvision/NAME. See networks.foreign. Raises ValueError where the file is no
    network that could run here, or does not fit the trial.
    """
    own_data.data_set_name(name)
    weights, side, channels = _weights(file, architecture, features)
    if side and size not in (0, side):
        raise ValueError(say("The network takes images of {side} pixels, not of {size}.", side=side, size=size))
    row = datasets.row_of(dataset, root, side or size)
    if channels not in (0, row.channels):
        raise ValueError(say("The network takes images of {count} channels; those of {dataset} have {other}.",
                             count=channels, dataset=dataset, other=row.channels))  # fmt: skip
    how = {name: said for name, said in {"features": features, "architecture": architecture}.items() if said}
    split = _split(dataset, family, trial, row)
    scale = _scale(mean, std, row.channels)
    order = _order(_count(weights, how, row, scale), split, row, classes)
    recipe = Recipe(
        dataset=dataset, family=split.family, trial=split.index, method=FOREIGN, backbone=FOREIGN,
        size=row.size if row.size != datasets.row_of(dataset, root).size else 0,
        hyper={"order": " ".join(map(str, order))}, trunk=how,
        known=split.known if split.family == "custom" else (),
    )  # fmt: skip
    images = datasets.load(dataset, root, row.size)
    run = Run(store / f"{FOREIGN}-{name}"[:64].rstrip("-"))
    record = record_of(recipe, split, row, scale, *datasets.identity(images))
    record |= {"imported_from": file.name, "validated_on": datasets.SET_ASIDE}
    if os.path.lexists(run.path):
        if not run.problem() and run.recipe == recipe and run.written and _same(run, weights, scale):
            return run, False
        raise ValueError(say("{path} is there already, and is another network. Give another name, or delete it on the "
                             "page Runs.", path=run.path))  # fmt: skip
    with runs.made_whole(run) as fresh:
        runs.write_json(fresh.path / "recipe.json", record)
        content = save(weights, evaluate.weights_metadata(recipe, split, 0))
        runs.in_one_step(fresh.path / "best.safetensors", lambda into: into.write(content))
        evaluate.evaluate(fresh, root, device="cpu")
        about = say("Imported from {file}: a network that was trained elsewhere.", file=file.name)
        runs.write_json(fresh.path / "status.json", {"state": "finished", "reason": about})
    return run, True


def _weights(file: Path, architecture: str, features: str) -> tuple[dict[str, torch.Tensor], int, int]:
    """What a run keeps of the file, and the side and the channels of the images that it takes, 0 where it takes any."""
    with records.opened(file, links=True) as source:
        content = source.read(foreign.MOST + 1)
    if len(content) > foreign.MOST:
        raise ValueError(say("The network is larger than {most} MB.", most=foreign.MOST >> 20))
    if architecture:
        if features:
            raise ValueError(say("Features are named in an ONNX file alone; of {name} they are what its last linear "
                                 "layer reads.", name=architecture))  # fmt: skip
        return _state(content, file), 0, 0
    graph = foreign.read(content, features)
    return {foreign.GRAPH: torch.from_numpy(np.frombuffer(content, np.uint8).copy())}, graph.side, graph.channels


WITHIN = ("state_dict", "model", "net", "model_state_dict")  # under which a training script keeps the weights


def _state(content: bytes, file: Path) -> dict[str, torch.Tensor]:
    """The weights in a file of safetensors or of torch.save. Nothing in the file is run."""
    try:
        if content[:2] == b"PK":
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        else:
            state = load(content)
    except Exception as error:  # whatever a damaged or hostile file makes them say
        raise ValueError(say(
            "{file} cannot be read as weights: damaged, or holding more than numbers, which is not run. ({error})",
            file=file.name, error=str(error)[:300],
        )) from error  # fmt: skip
    for name in WITHIN:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not state or not all(plain(v) for v in state.values()):
        raise ValueError(say("{file} holds no weights by name.", file=file.name))
    return {str(key).removeprefix("module."): value.detach().clone().contiguous() for key, value in state.items()}


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


def _count(weights: dict[str, torch.Tensor], how: dict[str, str], row: datasets.Dataset, scale) -> int:
    """How many logits the network gives for an image of this data set."""
    network = foreign.network_of(weights, how, row.channels, [0])
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


def _same(run: Run, weights: dict[str, torch.Tensor], scale) -> bool:
    there = load_file(run.path / "best.safetensors")
    alike = there.keys() == weights.keys() and all(torch.equal(there[key], weights[key]) for key in weights)
    return alike and run.stats == tuple(map(tuple, scale))
