"""An ensemble: runs of one trial as one run, made of what they have put out; no image is looked at.

It holds its networks' weights itself, and its record names the runs that they came from, so that it stays when those
are gone. recipe.json has them under "parts".
"""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from cac_core import runs, shell
from cac_core.networks.ensemble import Ensemble
from cac_core.recipe import ENSEMBLES, Recipe, known_name
from cac_core.results import evaluate, judge
from cac_core.runs import SPLITS, Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import MARKS, Outputs, only
from cac_core.sentences import say

MOST = 20  # networks
MEANS = {"softmax": "softmax_ensemble", "distances": "distance_ensemble"}


def make(parts: list[Run], store: Path, mean: str = "softmax") -> tuple[Run, bool]:
    """The ensemble of these finished runs, and whether it is new: the same of the same weights stays as it is.

    mean: "softmax", of any methods, or "distances", the root of the mean square, of runs by CAC with equal anchors; see
    networks.ensemble. Raises ValueError for runs that do not belong together, naming the run and what to do, and
    for an ensemble that is there with damaged weights.
    """
    method = MEANS[known_name(mean, MEANS, say("mean"))]
    _check(parts)
    networks = [evaluate.load(run, "cpu").method for run in parts]
    if mean == "distances":
        _check_anchors(parts)
    recipe = _recipe(parts, method)
    run, first, said = Run(store / recipe.id), parts[0], [_part(part) for part in parts]
    if os.path.lexists(run.path):
        if not run.problem() and run.record.get("parts") == said and run.written:
            evaluate.load(run, "cpu")
            return run, False
        raise ValueError(say(
            "{path} is there already, and is of other weights. Delete it on the page Runs, or move it away.",
            path=run.path,
        ))  # fmt: skip
    kept = ("classes", "prepare", "mean", "std", "data", "images")
    record = {name: first.record[name] for name in kept if name in first.record}
    record |= {"recipe": recipe.to_json(), "parts": said, "validated_on": first.validated_on}
    with runs.made_whole(run) as fresh:
        runs.write_json(fresh.path / "recipe.json", record)
        joint = evaluate.ensemble_of(fresh, networks)
        outputs = _outputs([{split: part.outputs(split) for split in SPLITS} for part in parts], joint)
        weights = {key: value.contiguous() for key, value in evaluate.learnt(joint).items()}
        content = save(weights, evaluate.weights_metadata(recipe, fresh.trial, 0, evaluate.fixed_by(*networks)))
        runs.in_one_step(fresh.path / "best.safetensors", lambda file: file.write(content))
        for split, out in outputs.items():
            known_by = {} if split != "test" or (marks := first.marks()) is None else {MARKS: marks}
            evaluate.write_outputs(fresh, split, out, first.record.get("data") or first.made_of(split), **known_by)
        runs.write_json(fresh.path / "report.json", judge.plain(judge.report_all(fresh)))
        about = say("An ensemble of {runs}.", runs=[part.id for part in parts])
        runs.write_json(fresh.path / "status.json", {"state": "finished", "reason": about})
    return run, True


def cost(run: Run) -> dict[str, int]:
    """How many networks an image goes through, each once or, with its mirror image, twice; and their parameters."""
    parts = run.record.get("parts", [])
    passes = sum(1 + evaluate.both_ways(Recipe.from_json(part["recipe"]), run.row) for part in parts)
    _, weights = evaluate.stored(run)
    learnt = sum(value.numel() for key, value in weights.items() if "running_" not in key and "num_batches" not in key)
    return {"networks": len(parts), "passes": passes, "parameters": learnt}


def _part(run: Run) -> dict[str, Any]:
    mean, std = run.stats
    weights = evaluate.weights_of(run)
    said = {"run": run.id, "recipe": run.recipe.to_json(), "mean": mean, "std": std, "weights": weights}
    return json.loads(json.dumps(said))  # as it is read again


def _check(parts: list[Run]) -> None:
    if not 2 <= len({run.path.resolve() for run in parts}) <= MOST or len({run.id for run in parts}) < len(parts):
        raise ValueError(say("An ensemble takes 2 to {most} different runs, not {count}.", most=MOST, count=len(parts)))
    for run in parts:
        if problem := run.problem():
            raise ValueError(say("{run} cannot be part of an ensemble: {why}", run=run.id, why=problem))
        if run.state != "finished" or not run.written:
            raise ValueError(say(
                "{run} is not finished, so it cannot be part of an ensemble. Finish it with:\n    {command}",
                run=run.id, command=evaluate.train_command(run),
            ))  # fmt: skip
        if run.recipe.method in ENSEMBLES:
            raise ValueError(say("{run} is an ensemble itself. Name its parts: {parts}.", run=run.id,
                                 parts=[part["run"] for part in run.record.get("parts", [])]))  # fmt: skip
        if run.recipe.folds:
            raise ValueError(say(
                "{run} is cross-validated: its validation images are its training images, each judged by a head of its "
                "own, which an ensemble has not. Train it with --folds 0.",
                run=run.id,
            ))  # fmt: skip
    first = parts[0]
    for run in parts[1:]:
        for what, of in {
            say("known and unknown classes"): lambda r: (r.trial.known, r.trial.unknown, r.class_names),
            say("data set"): lambda r: (r.recipe.dataset, r.recipe.family),
            say("size and preparation of images"): lambda r: r.record["prepare"],
            say("images"): lambda r: r.record.get("data"),
            say("kind of validation images"): lambda r: r.validated_on,
        }.items():
            if of(run) != of(first):
                raise ValueError(say(
                    "{run} and {other} differ in their {what}: an ensemble is of runs of one trial, on the same "
                    "images.",
                    run=first.id, other=run.id, what=what,
                ))  # fmt: skip


def _check_anchors(parts: list[Run]) -> None:
    anchors = [run.outputs("validation").anchors for run in parts]
    for run, own in zip(parts, anchors, strict=True):
        if own is None or anchors[0] is None or not np.array_equal(own, anchors[0]):
            raise ValueError(say(
                "Distances can be averaged where all runs have the same anchors; {run} has none or others. Take the "
                "mean of softmax.",
                run=run.id,
            ))  # fmt: skip


def _recipe(parts: list[Run], method: str) -> Recipe:
    """That of the first run, as an ensemble: its options say in what the parts differ, alike over trials."""
    every = [run.recipe.to_json() for run in parts]
    for record in every:
        record["divide"] = Recipe.from_json(record).divided_by
    varied = [name for name in every[0] if any(record[name] != every[0][name] for record in every)]
    words = [f"{name} {' '.join(str(record[name]) for record in every)}" for name in varied]
    hyper = every[0]["hyper"] if method == MEANS["distances"] else {}
    own = {"method": method, "hyper": hyper | {"parts": ", ".join(words) or str(len(parts))}}
    return Recipe.from_json(every[0] | own)


def _outputs(outputs: list[dict[str, Outputs]], joint: Ensemble) -> dict[str, Outputs]:
    """What the ensemble puts out, from what its parts did: on the training images that all learnt from, on the
    validation images that all held out, on the test images. Mirror images are left out."""
    found = {}
    for split in SPLITS:
        mine = [only(part[split], ~part[split].mirrored) for part in outputs]
        index = mine[0].index
        for other in mine[1:]:
            index = np.intersect1d(index, other.index)
        mine = [only(out, np.argsort(out.index)[np.searchsorted(np.sort(out.index), index)]) for out in mine]
        if split == "validation" and metrics.lacking(judge.KEPT, len(index)):
            raise ValueError(say(
                "These runs have {count} validation images in common, too few for a threshold: each has learnt from "
                "images that another held out. Train the seeds with the same --divide, such as:\n"
                "    {command}",
                count=len(index), command=shell.command("train", "--seed", "1", "--divide", "0"),
            ))  # fmt: skip
        if any(not np.array_equal(a.labels, b.labels) for a, b in itertools.pairwise(mine)):
            raise ValueError(say("The outputs of these runs are on other images than they say. Evaluate them again."))
        with torch.no_grad():
            logits = joint.together(torch.from_numpy(np.stack([out.logits for out in mine])).float()).numpy()
        read = [out.features[:, : out.features.shape[1] - out.latents] for out in mine]
        features = np.concatenate(read, 1) if all(some.shape[1] for some in read) else read[0][:, :0]
        anchors = mine[0].anchors if joint.alpha is not None else None
        first = mine[0]
        found[split] = Outputs(logits, features, first.labels, first.classes, first.index, first.mirrored, anchors)
    return found
