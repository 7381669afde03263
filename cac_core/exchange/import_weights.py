"""Published weights as runs: the files of cac-openset (Miller et al., WACV 2021), for all its data sets.

A file holds {"net": state, ...}: CAC's with the anchors, under the old key "means" or the new one "anchors", or the
closed-set network's without. It is read without unpickling, checked key by key, and becomes an ordinary run that can be
evaluated, with the normalisation it was published with.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.recipe import Recipe, compose, slug
from cac_core.results import evaluate
from cac_core.results.table import LAYOUT
from cac_core.runs import Run
from cac_core.sentences import say
from cac_core.training.loop import record_of

# mean and std of the channels that the published networks were trained with, trial by trial (cac-openset's
# config.json; those of the class lists of 2020, which the weights belong to)
PUBLISHED = json.loads((Path(__file__).parent / "published_scales.json").read_text("utf-8"))
FAMILY = "cac-2020"


def found(path: Path) -> list[Path]:
    """The weight files of a path: itself, or, in a folder of cac-openset's layout, all of them.

    The repository keeps networks/weights/<dataset>/<dataset>_<trial>_<kind>.pth.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(say("There is no file or folder {path}.", path=path))
    files = sorted(f for f in path.rglob("*.pth") if LAYOUT.fullmatch(f.name))
    if not files:
        raise FileNotFoundError(
            say("{path} holds no weight file named like CIFAR10_0_CACclassifierAnchorLoss.pth.", path=path)
        )
    return files


STATES = ("imported", "already there", "failed")


@dataclass(frozen=True)
class Imported:
    """What became of a weight file: state is one of STATES; where it failed, why says the reason and run is None."""

    file: Path
    state: str
    run: Run | None = None
    why: str = ""


def import_all(files: list[Path], store: Path, root: Path, **how: str | None) -> list[Imported]:
    """`import_weights` for each file; one that cannot be imported keeps none of the others out."""
    done = []
    for file in files:
        try:
            run, fresh = _imported(file, store, root, **how)
            done.append(Imported(file, "imported" if fresh else "already there", run))
        except (ValueError, OSError) as error:
            done.append(Imported(file, "failed", why=str(error)))
    return done


def import_weights(file: Path, store: Path, root: Path, **how: str | None) -> Run:
    """Make a run of a published weight file, without its outputs; `evaluate` writes those.

    dataset and trial are read from the file's name where they are not said; family is FAMILY where it is not. A run of
    the same weights that is there already is left as it is. Raises ValueError where the file is no such network, or
    where the split is not the one that it was trained on.
    """
    return _imported(file, store, root, **how)[0]


def _imported(
    file: Path, store: Path, root: Path, *, dataset: str | None = None, trial: str | None = None, family: str = FAMILY
) -> tuple[Run, bool]:
    """The run, and whether it was not there before."""
    named = LAYOUT.fullmatch(file.name)
    dataset, trial = dataset or (named and named["dataset"]), trial or (named and named["trial"])
    if not dataset or trial is None:
        raise ValueError(say(
            "{file} does not say which data set and trial it belongs to; give --dataset and --trial.",
            file=file.name,
        ))  # fmt: skip
    if dataset not in PUBLISHED:
        raise ValueError(say(
            "No weights are published for {dataset!r}; there are some for {names}.",
            dataset=dataset, names=list(PUBLISHED),
        ))  # fmt: skip
    state = _read(file)
    method = "cac" if "anchors" in state else "cross_entropy"
    recipe = compose("paper", dataset=dataset, trial=str(trial), family=family, method=method, backbone="plain")
    row = datasets.row_of(dataset, root)
    split = datasets.trial_of(recipe, row)
    _check_family(recipe, row, split)
    _check_name(named, recipe, row, split)
    weights = _renamed(state, file)
    network = evaluate.build(recipe, len(split.known), row.channels, row.size)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            say("{file} is not the network of CAC's {dataset}: {error}", file=file, dataset=dataset, error=error)
        ) from error
    kind = slug(named["kind"] if named else file.stem)
    run = Run(store / f"published-{slug(dataset)}-{family}-{recipe.trial}-{kind}"[:64].rstrip("-"))
    if _holds(run, weights):
        return run, False
    images = datasets.load(dataset, root)
    scales = PUBLISHED[dataset]
    scale = scales[min(int(recipe.trial), len(scales) - 1)]  # those of CIFAR+N are one for all trials
    record = record_of(recipe, split, row, (scale["mean"], scale["std"]), *datasets.identity(images))
    # "all": which of the training images were held out is decided, and recorded, when the run is evaluated
    runs.write_json(run.path / "recipe.json", record | {"imported_from": file.name, "trains_on": "all"})
    fresh = run.path / ".best.safetensors.tmp"
    save_file(weights, fresh, evaluate.weights_metadata(recipe, split, recipe.epochs))
    fresh.replace(run.path / "best.safetensors")
    runs.write_json(
        run.path / "status.json", {"state": "finished", "reason": say("Imported from {file}.", file=file.name)}
    )
    return run, True


def _check_family(recipe: Recipe, row: datasets.Dataset, split: datasets.Trial) -> None:
    """The weights were trained on the class lists of 2020: another family's is theirs only if the knowns agree."""
    trained = datasets.trial_of(
        compose("paper", dataset=recipe.dataset, trial=recipe.trial, family=FAMILY, backbone="plain"), row
    )
    if trained.known == split.known:
        return
    seen = [row.classes[c] for c in split.unknown if c in trained.known]
    raise ValueError(say(
        "The published weights of {dataset} were trained on the class lists of the family {published}, in which trial "
        "{trial} knows {known}. In the family {family} {seen} would count as unknown, although the network has seen "
        "them. Import them with --family {published}.",
        dataset=recipe.dataset, published=FAMILY, trial=recipe.trial, known=[row.classes[c] for c in trained.known],
        family=recipe.family, seen=seen or say("some of them"),
    ))  # fmt: skip


def _check_name(named: re.Match | None, recipe: Recipe, row: datasets.Dataset, split: datasets.Trial) -> None:
    """A file whose name says another data set or trial than was asked for is refused, unless it knows the same."""
    if named is None or named["dataset"] not in PUBLISHED or (named["dataset"], named["trial"]) == (
        recipe.dataset, recipe.trial
    ):  # fmt: skip
        return
    own = compose("paper", dataset=named["dataset"], trial=named["trial"], family=FAMILY, backbone="plain")
    same = named["dataset"] == recipe.dataset or {named["dataset"], recipe.dataset} == {"CIFAR+10", "CIFAR+50"}
    if same and (trained := datasets.trial_of(own, row)).known == split.known:
        return
    mine, its = ({"dataset": one.dataset, "trial": one.trial} for one in (recipe, own))
    if same:
        its["known"] = [row.classes[c] for c in trained.known]
        named_as = say("{dataset}, trial {trial}, which knows {known}", **its)
    else:
        named_as = say("{dataset}, trial {trial}", **its)
    raise ValueError(say(
        "{file} is named as the network of {named_as}, not of {asked}: its outputs stand for other classes. Leave out "
        "--dataset and --trial, or rename the file if its name is wrong.",
        file=named.string, named_as=named_as, asked=say("{dataset}, trial {trial}", **mine),
    ))  # fmt: skip


def _holds(run: Run, weights: dict[str, torch.Tensor]) -> bool:
    """Whether the run is there, whole, with these weights."""
    if run.problem() or run.state != "finished":
        return False
    try:
        there = load_file(run.path / "best.safetensors")
    except (OSError, ValueError, SafetensorError):
        return False
    return there.keys() == weights.keys() and all(torch.equal(there[key], weights[key]) for key in weights)


def _read(file: Path) -> dict[str, torch.Tensor]:
    """The state of the network in a weight file; anchors under one name. Nothing in the file is run."""
    try:
        records.opened(file, links=True).close()
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes torch.load say
        raise ValueError(say(
            "{file} cannot be read as weights: damaged, or holding more than numbers, which is not run. ({error})",
            file=file, error=error,
        )) from error  # fmt: skip
    state = stored.get("net") if isinstance(stored, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and plain(v) for k, v in state.items()):
        raise ValueError(say(
            "{file} is no weight file of cac-openset: it must hold {example}.",
            file=file, example='{"net": weights by name, ...}',
        ))  # fmt: skip
    state = dict(state)
    if "means" in state:
        state["anchors"] = state.pop("means")
    return state


def plain(value: Any) -> bool:
    """Whether it is a tensor that holds as many numbers as it says: one that repeats a few would fill the memory."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _renamed(state: dict[str, Any], file: Path) -> dict[str, torch.Tensor]:
    """cac-openset's keys to ours; its second names for the same weights, and its covariances, are left out."""
    weights = {}
    for key, value in state.items():
        if re.fullmatch(r"encoder\.(conv|bn)\d\.\w+", key):
            weights["backbone." + key.removeprefix("encoder.")] = value
        elif key in ("classify.weight", "classify.bias"):
            weights[key] = value
        elif key == "anchors":
            weights[key] = value.float()
        elif not re.fullmatch(r"encoder\.encoder\d\.[\w.]+|covars|invcovars", key):
            raise ValueError(say(
                "{file} holds {key!r}, which CAC's network does not have: it is another architecture.",
                file=file, key=key,
            ))  # fmt: skip
    return {key: value.contiguous() for key, value in weights.items()}
