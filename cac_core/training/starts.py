"""A start from another run's weights, as the pipelines of some methods have it: a classifier first, then what is new.

The other run must have learnt on the same division of the same images: the weights of one that has seen this run's
unknown classes, or the images that it validates on, would make every number too good, and nothing would show it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from cac_core import runs
from cac_core.data.datasets import Trial
from cac_core.files import is_file
from cac_core.recipe import Recipe
from cac_core.runs import Run
from cac_core.sentences import say

if TYPE_CHECKING:
    from torch import Tensor

    from cac_core.networks.methods import Method

SAME = ("dataset", "size", "backbone", "trunk", "held_out", "folds")
NORMS = ("running_mean", "running_var", "num_batches_tracked")  # what batch norm has besides its parameters


def start_of(recipe: Recipe, trial: Trial, store: Path) -> Run:
    """The run that a recipe begins with. Raises ValueError where there is none, or where it does not fit, and why."""
    name = recipe.begun_with
    try:
        other = runs.find(name, store)
    except FileNotFoundError as error:
        raise ValueError(say("The run to begin with is not here: {error}", error=error)) from error
    if other.id == recipe.id or not is_file(other.path / "best.safetensors"):
        raise ValueError(say("{run} has no weights to begin with. Train it first.", run=other.id))
    if other.state != "finished":
        raise ValueError(say("{run} cannot be begun with: its training has not ended. Train it to its end first.",
                             run=other.id))  # fmt: skip
    theirs, known = other.recipe, other.trial.known
    for field in SAME:
        if getattr(theirs, field) != getattr(recipe, field):
            raise ValueError(say(
                "{run} cannot be begun with: its {field} is {theirs}, and here it is {mine}.",
                run=other.id, field=field, theirs=getattr(theirs, field) or "-", mine=getattr(recipe, field) or "-",
            ))  # fmt: skip
    if known != trial.known:
        raise ValueError(say(
            "{run} cannot be begun with: it knows the classes {theirs}, and here {mine} are known. What has been "
            "learnt is not unknown any more.",
            run=other.id, theirs=list(known), mine=list(trial.known),
        ))  # fmt: skip
    if theirs.divided_by != recipe.divided_by:
        raise ValueError(say(
            "{run} cannot be begun with: it has learnt from images that are held out here. Give --divide {seed}, which "
            "holds out the same.",
            run=other.id, seed=theirs.divided_by,
        ))  # fmt: skip
    return other


def taken(other: Run, method: "Method", digest: str) -> dict[str, "Tensor"]:
    """Of the parameters of a new network, its batch norms and the state of its backbone, what the other run has alike.

    Alike is in the same shape. What a method has gathered besides (queues, made images) it gathers anew. digest is that
    of the data set's images, which must be those of the other run. Raises ValueError where they differ, or where
    nothing fits, and Broken where its weights cannot be read.
    """
    from cac_core.data import datasets
    from cac_core.results import evaluate

    if not datasets.fits(other.record.get("data"), digest):
        raise ValueError(say("{run} cannot be begun with: it was trained on other images.", run=other.id))
    learnt = evaluate.learnt(evaluate.load(other, "cpu").method)
    own = {name for name, _ in method.named_parameters()}
    found = {
        name: learnt[name] for name, mine in evaluate.learnt(method).items()
        if (name in own or name.startswith("backbone.") or name.endswith(NORMS))
        and name in learnt and learnt[name].shape == mine.shape
    }  # fmt: skip
    if not found:
        raise ValueError(say("{run} cannot be begun with: none of its weights fits this network.", run=other.id))
    return found
