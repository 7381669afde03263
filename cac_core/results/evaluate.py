"""Evaluation: a run's network on its images, written once as Outputs; everything after that is numpy."""

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cac_core import records, runs, shell
from cac_core.data import datasets
from cac_core.data.decoded import taken
from cac_core.networks import foreign, losses
from cac_core.networks.ensemble import Ensemble
from cac_core.networks.inputs import Stats, device_of, normalised, on_device, scale_of
from cac_core.networks.methods import Method
from cac_core.recipe import BACKBONES, ENSEMBLES, FOREIGN, IMPORTED, METHODS, Recipe, find, slug
from cac_core.results import frozen, judge, stand_ins
from cac_core.runs import Broken, Run
from cac_core.scoring import metrics
from cac_core.scoring.arrays import positive
from cac_core.scoring.heads import linear
from cac_core.scoring.outputs import MARKS, Outputs, joined, only
from cac_core.scoring.scorers import judge_of, reported_for
from cac_core.sentences import Sentence, say

BATCH = 256
FORMAT = "anchorscope 1"
FIXED = "backbone.before."  # in the names of weights that come from elsewhere
BROUGHT = "2"  # the way in which another data set's images are brought to size; another one gives other outputs


def build(recipe: Recipe, classes: int, channels: int, size: int) -> Method:
    """The untrained network of a recipe, with the loss that trains it."""
    if recipe.method in ENSEMBLES:
        raise ValueError(say(
            "{method} is not trained: it is made of trained runs, with {command}",
            method=recipe.method, command=shell.command("ensemble", "RUN", "RUN", "..."),
        ))  # fmt: skip
    if recipe.backbone in (IMPORTED, FOREIGN):
        raise ValueError(say("This run came from elsewhere, and is not trained here."))
    backbone = find(BACKBONES, recipe.backbone)(recipe.backbone, channels, size, **recipe.trunk)
    backbone.takes = channels, size
    if recipe.folds and not (backbone.fixed_by and not [*backbone.after.parameters()]):
        raise ValueError(say(
            "Cross-validation takes a network of which the head alone learns: efficientnet-lite0 to 2 with thaw 0. "
            "Give folds 0, and a share is held out instead."
        ))  # fmt: skip
    if backbone.fixed_by and (recipe.tta, recipe.augment) != ("none", "affine"):
        raise ValueError(say(
            "What {backbone} makes of an image is computed once, so it takes tta none and augment affine, not {tta} "
            "and {augment}.",
            backbone=recipe.backbone, tta=recipe.tta, augment=recipe.augment,
        ))  # fmt: skip
    method = find(METHODS, recipe.method)(backbone, classes, **recipe.hyper)
    if backbone.fixed_by and type(method).losses is not Method.losses:
        raise ValueError(say(
            "{method} is not trained on what {backbone} makes of an image once and for all. Give another backbone.",
            method=recipe.method, backbone=recipe.backbone,
        ))  # fmt: skip
    if backbone.fixed_by:
        method.add_sides(sides_of(recipe, classes))
    return method


LEFT_OUT = 10  # classes, at most: a head for each


def sides_of(recipe: Recipe, classes: int) -> list[tuple[int, int]]:
    """The (fold, class) that each side head of a network on fixed features leaves out, -1 for none.

    One head a fold; then one for each class that plays the unknown, which leaves out a fold, too, so that the knowns
    that it is tried on are new to it. Of two classes none can be left out.
    """
    folds = [(fold, -1) for fold in range(recipe.folds)]
    some = np.unique(np.linspace(0, classes - 1, min(classes, LEFT_OUT)).round().astype(int)) if classes > 2 else []
    return folds + [(n % recipe.folds if recipe.folds else -1, int(c)) for n, c in enumerate(some)]


def learnt(method: Method) -> dict[str, Tensor]:
    """The state of a network without its fixed part, whose weights come from elsewhere."""
    return {key: value for key, value in method.state_dict().items() if FIXED not in key}


def load_learnt(method: Method, weights: dict[str, Tensor]) -> None:
    """Put what `learnt` gave into a network of the same recipe. Raises RuntimeError where it does not fit."""
    fixed = {key: value for key, value in method.state_dict().items() if FIXED in key}
    method.load_state_dict(fixed | weights)


def both_ways(recipe: Recipe, row: datasets.Dataset) -> bool:
    """Whether a network judges an image together with its mirror image: as the recipe says, where that may be one.

    Those of an ensemble say it each for itself."""
    return recipe.tta == "mirror" and row.flip and recipe.method not in ENSEMBLES


def ensemble_of(run: Run, networks: list[Method]) -> Ensemble:
    """An ensemble's networks as one, as its record says."""
    parts, row = parts_in(run), run.row
    return Ensemble(
        networks, [stats for _, stats in parts], [both_ways(recipe, row) for recipe, _ in parts],
        by_distances=run.recipe.method == "distance_ensemble",
    )  # fmt: skip


def parts_in(run: Run) -> list[tuple[Recipe, Stats]]:
    """The recipes and the scales of pixels of an ensemble's networks, by its record; none of another run."""
    if run.recipe.method not in ENSEMBLES:
        return []
    said = run.record.get("parts", [])
    try:
        parts = [(Recipe.from_json(one["recipe"]), (tuple(one["mean"]), tuple(one["std"]))) for one in said]
    except ValueError as error:
        raise Broken(say("{file}: {error}", file=run.path / "recipe.json", error=error)) from error
    if len(parts) < 2 or any(len(values) != run.row.channels for _, stats in parts for values in stats):
        raise Broken(say("{file} does not say what the ensemble is made of.", file=run.path / "recipe.json"))
    return parts


class Network:
    """A trained network with what it needs to judge images: its scale of pixel values and its device.

    With mirror it judges an image by the mean of what it gives for it and for its mirror image.
    """

    def __init__(self, method: Method, stats: tuple, device: torch.device, *, mirror: bool = False):
        self.mirror = mirror
        self.method, self.device = method.to(device, memory_format=torch.channels_last).eval(), device
        self.method.requires_grad_(False)
        self.scale = scale_of(stats, device)

    def __call__(self, x: Float[Tensor, "N C H W"]) -> tuple[Tensor, Tensor]:
        """Logits and features of images on the scale 0 to 1."""
        x = normalised(x, self.scale)
        if not self.mirror:
            return self.method(x)
        (logits, features), (mirrored, others) = self.method(x), self.method(x.flip(3))
        return (logits + mirrored) / 2, (features + others) / 2

    def outputs(
        self,
        pixels: np.ndarray,
        *,
        mirror: bool = False,
        magnitude: float = 0.0,
        temperature: float = 1.0,
        centres: np.ndarray | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logits [N, C] and pooled features [N, P], float32, of images [N, H, W, C] uint8.

        mirror turns every image left to right first. A magnitude above 0 perturbs them first, as `perturbed` does.
        """
        logits, features = [], []
        if centres is not None:
            centres = torch.as_tensor(centres, dtype=torch.float32, device=self.device)
        for start in range(0, len(pixels), BATCH):
            x = on_device(pixels[start : start + BATCH], self.device).float() / 255
            x = x.flip(3) if mirror else x
            x = perturbed(self, x, magnitude=magnitude, temperature=temperature, centres=centres)
            with torch.no_grad():
                z, f = self(x)
                logits.append(z.cpu().numpy())
                features.append(self.method.pooled(f).cpu().numpy())
            if progress:
                progress(min(start + BATCH, len(pixels)), len(pixels))
        if not logits:
            raise ValueError(say("There is no image to judge."))
        return np.concatenate(logits), np.concatenate(features)

    def of_maps(self, kept: frozen.Kept, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits and features as `outputs` gives them, of the images whose maps these are, in this view of them."""
        trunk, features, logits = self.method.backbone, [], []
        for start in range(0, len(kept), BATCH):
            images = np.arange(start, min(start + BATCH, len(kept)))
            with torch.no_grad():
                f = trunk.of_maps(kept.rows(np.full(len(images), view), images).to(self.device))
                features.append(f.cpu().numpy())
                logits.append(self.method.classify(f).cpu().numpy())
        return np.concatenate(logits), np.concatenate(features)

    def side(self, head: int, features: np.ndarray) -> np.ndarray:
        """The logits that a side head gives for features [N, D]."""
        with torch.no_grad():
            return self.method.side(head, torch.from_numpy(features).to(self.device)).cpu().numpy()


def perturbed(
    network: Network,
    x: Float[Tensor, "N C H W"],
    *,
    magnitude: float,
    temperature: float = 1.0,
    centres: Float[Tensor, "C C"] | None = None,
) -> Float[Tensor, "N C H W"]:
    """ODIN's input perturbation: every pixel a step of this magnitude towards the predicted class, see `steps`.

    Images and magnitude are on the scale 0 to 1. Magnitude 0 gives x itself.
    """
    if not (np.isfinite(magnitude) and magnitude >= 0):
        raise ValueError(
            say("The magnitude of a perturbation is a number of at least 0, not {magnitude}.", magnitude=magnitude)
        )
    if magnitude == 0:
        return x
    (step,) = steps(network, x, (positive(temperature, "temperature"),), centres)
    return (x - magnitude * step).detach()


def steps(
    network: Network,
    x: Float[Tensor, "N C H W"],
    temperatures: Sequence[float],
    centres: Float[Tensor, "C C"] | None = None,
    without: int | None = None,
) -> Iterator[Float[Tensor, "N C H W"]]:
    """For each temperature T the sign of the gradient of cross-entropy(affinity / T, predicted class).

    Liang et al., ICLR 2018, with -d in the place of the logits for CAC, d the distances to centres (without any: the
    method's own anchors). The gradient is taken before the normalisation, which is the paper's division by each
    channel's standard deviation. One forward for all temperatures, one backward for each; no parameter gets a gradient.
    without: a class that is taken away, from the affinity and so from what can be predicted.
    """
    need_gradient(network)
    x = x.detach().requires_grad_()
    logits = network(x)[0]
    affinity = network.method.affinity(logits) if centres is None else -losses.distances(logits, centres)
    if without is not None:
        affinity = torch.cat([affinity[:, :without], affinity[:, without + 1 :]], 1)
    label = affinity.argmax(1)
    for n, temperature in enumerate(temperatures, 1):
        loss = F.cross_entropy(affinity / temperature, label, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=n < len(temperatures))
        yield gradient.sign()


def moved_images(
    network: Network, pixels: np.ndarray, *, magnitude: float, temperature: float, centres: np.ndarray | None
) -> np.ndarray:
    """Images [N, H, W, K] uint8 as `perturbed` leaves them, on the scale 0 to 1, slightly beyond it at the ends."""
    x = on_device(pixels, network.device).float() / 255
    if centres is not None:
        centres = torch.as_tensor(centres, dtype=torch.float32, device=network.device)
    moved = perturbed(network, x, magnitude=magnitude, temperature=temperature, centres=centres)
    return moved.permute(0, 2, 3, 1).cpu().numpy()


def need_gradient(network: Network) -> None:
    if not network.method.learns:
        raise ValueError(say("A network from an ONNX file gives no gradient, which ODIN's step and this picture need."))


def fixed_by(*networks: Method) -> str:
    """The digests of the weights of networks' fixed parts; empty where they have none."""
    return " ".join(network.backbone.fixed_by for network in networks).strip()


def weights_metadata(recipe: Recipe, trial: datasets.Trial, epoch: int, fixed_by: str = "") -> dict[str, str]:
    """What a weights file says of itself, so that it cannot be taken for another run's.

    fixed_by: the digest of the weights of its fixed part, which it does not hold."""
    split = {"family": trial.family, "trial": trial.index, "known": trial.known, "unknown": trial.unknown}
    return {"format": FORMAT, "recipe": recipe.id, "split": json.dumps(split), "epoch": str(epoch)} | (
        {"fixed_by": fixed_by} if fixed_by else {}
    )


def load(run: Run, device: str = "auto") -> Network:
    """A run's best network. Raises FileNotFoundError where it has no weights yet, Broken where they do not fit."""
    recipe, trial = run.recipe, run.trial
    if recipe.backbone == IMPORTED:
        raise FileNotFoundError(say(
            "{run} was imported as outputs alone: there is no network here that could judge an image. Judge new "
            "outputs of that network with:\n"
            "    {command}",
            run=run.id, command=shell.command("judge", run.path, "FILE", "--threshold", "threshold.json"),
        ))  # fmt: skip
    said, weights = stored(run)
    want = weights_metadata(recipe, trial, 0)
    for key, what in {"recipe": say("recipe"), "split": say("known and unknown classes")}.items():
        if said.get(key) != want[key]:
            raise Broken(say(
                "The weights and the recipe of {run} disagree about the {what}: {said} against {wanted}. They do "
                "not belong together; put the right file back, or train the run again.",
                run=run.id, what=what, said=said.get(key), wanted=want[key],
            ))  # fmt: skip
    row = run.row
    if recipe.backbone == FOREIGN:
        return _foreign(run, weights)
    parts = [part for part, _ in parts_in(run)]
    networks = [build(part, len(trial.known), row.channels, row.size) for part in parts or [recipe]]
    method = ensemble_of(run, networks) if parts else networks[0]
    if said.get("fixed_by", "") != fixed_by(*networks):
        raise Broken(say(
            "{run} was trained on other weights of {backbone} than those that are installed here. Install the package "
            "that it was trained with, or train it again.",
            run=run.id, backbone=recipe.backbone,
        ))  # fmt: skip
    try:
        load_learnt(method, weights)
    except RuntimeError as error:
        raise Broken(say("The weights of {run} do not fit its recipe: {error}", run=run.id, error=error)) from error
    return Network(method, run.stats, device_of(device), mirror=both_ways(recipe, row))


def stored(run: Run) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What a run's weights file says of itself, and the weights. Raises FileNotFoundError without one, Broken where it
    is damaged."""
    file = run.path / "best.safetensors"
    if not file.is_file():
        raise FileNotFoundError(say("{run} has no weights yet. {advice}", run=run.id, advice=anew(run)))
    try:
        records.opened(file).close()
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}, {key: opened.get_tensor(key) for key in list(opened.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise Broken(say("{file} is damaged ({error}). {advice}", file=file, error=error, advice=anew(run))) from error


def opens(run: Run) -> bool:
    """Whether the run's best weights are there, whole, and fit its recipe."""
    try:
        with torch.random.fork_rng(devices=[]):  # a training that begins after it draws what it would have drawn
            load(run, "cpu")
    except Broken:
        return False
    except FileNotFoundError:  # those of its fixed part, perhaps, which are not the run's own
        return (run.path / "best.safetensors").is_file()
    return True


def _foreign(run: Run, weights: dict[str, Tensor]) -> Network:
    """A network that was trained elsewhere, and runs on the processor."""
    try:
        order = [int(place) for place in str(run.recipe.hyper["order"]).split()]
        if len(order) != len(run.trial.known) or min(order) < 0:
            raise ValueError(say("it does not say which logit is which class"))
        method = foreign.network_of(weights, run.recipe.trunk, run.row.channels, order)
    except (KeyError, ValueError) as error:
        raise Broken(say("{run} holds no network that could run: {error}", run=run.id, error=error)) from error
    return Network(method, run.stats, torch.device("cpu"))


def anew(run: Run) -> Sentence:
    """How to come by a run's weights."""
    if file := run.record.get("imported_from"):
        return say("Delete the run, and import {file} again.", file=file)
    if run.recipe.method in ENSEMBLES:
        return say("Delete the run, and make it again with:\n    {command}", command=train_command(run))
    return say("Train it with:\n    {command}", command=train_command(run))


def train_command(run: Run) -> str:
    """What makes the run again."""
    if run.recipe.method in ENSEMBLES:
        parts = [part["run"] for part in run.record.get("parts", [])]
        mean = "distances" if run.recipe.method == "distance_ensemble" else "softmax"
        return shell.command("ensemble", *parts, "--mean", mean)
    return shell.command("train", "--resume", run.path)


def evaluate(
    run: Run,
    root: Path,
    *,
    device: str = "auto",
    again: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    parts: dict[str, datasets.Part] | None = None,
) -> None:
    """Write the run's outputs on its train, validation and test images, and report.json; what is there stays.

    parts are these images, where somebody has them: those on the disk may have changed meanwhile.

    Data sets that are mirrored in training have their training outputs on the mirrored images too, behind the others,
    unless each image is judged together with its mirror image, or by an ensemble.
    Outputs of other weights than the newest, or of other images, are written again. What the validation images of an
    imported run are is decided where all its outputs are written, see `_divide`.
    """
    weights = _digest(run.path / "best.safetensors")
    folder, own = run.path / "outputs", run.record.get("data")
    stale = [
        split for split in runs.SPLITS
        if again or runs.said_in(folder / f"{split}.npz", "weights") != weights
        or not datasets.fits(run.made_of(split), own)
    ]  # fmt: skip
    beside = _kept_report(run)
    if weights == "none" and not beside and run.written:
        stale = []  # there is no network: the outputs are all that a report can be made of
    unfinished = weights != "none" and beside.get("weights", weights if beside else "") != weights
    if stale or unfinished:
        network = load(run, device)
        if parts is None or not own:
            images = images_of(run, root)
            if len(stale) == len(runs.SPLITS) and run.record.get("trains_on") == "all":
                _divide(run, root, images)
            parts, own = parts_of(run, root, images), own or datasets.digest(images)
        for split in stale:
            mirror = split == "train" and run.row.flip and not network.mirror and not network.method.of_several
            outputs = _outputs(run, root, network, parts[split], split, mirror, _told(progress, split))
            known_by = {MARKS: datasets.marks(parts[split].pixels)} if split == "test" else {}
            _check_same(run, weights)
            runs.write_outputs(run, split, outputs, weights=weights, images=own, **known_by)
        if network.method.rebuilds:
            _write_rebuilt(run, network, parts["test"])
        _write_made(run, network)
        choice, left = left_out(run, network)
        beside = {"choice": choice, "stand_ins": left | _shuffled(run, network, parts["test"]), "weights": weights}
    _check_same(run, weights)
    if stale or unfinished or _kept_report(run).get("numbers") != judge.NUMBERS:
        _write_report(run, beside)


def _write_made(run: Run, network: Network) -> None:
    """The images that a method made up, and what the network says of the ways that led to some of them: made.npz."""
    made = {name: value.detach() for name, value in network.method.shown().items()}
    if not made:
        return
    mean, std = network.scale

    def pixels(x: Tensor) -> np.ndarray:
        return ((x * std + mean).clamp(0, 1) * 255).round().to(torch.uint8).movedim(-3, -1).cpu().numpy()

    flat = made["way"].flatten(0, 1)
    with torch.no_grad():
        logits = network.method(flat)[0] if len(flat) else flat.new_zeros(0, made["before"].shape[2] - 1)
    after = losses.with_unknown(logits).softmax(1).view(made["before"].shape)
    images = {name: pixels(made[name]) for name in ("made", "way")}
    small = {name: made[name].cpu().numpy().astype(np.int16) for name in ("begun", "steps", "classes")}
    shares = {"before": made["before"], "after": after}
    runs.write_npz(
        run.path / "made.npz", **images, **small, **{n: s.cpu().numpy().astype(np.float32) for n, s in shares.items()}
    )


REBUILT = 12  # images of knowns, and as many of unknowns, that are kept with what was made of them


def _write_rebuilt(run: Run, network: Network, part: datasets.Part) -> None:
    """The errors of all images, and of some what was made of them: from the best rebuilt to the worst, evenly."""

    def made(pixels: np.ndarray) -> tuple[Tensor, Tensor]:
        x = normalised(on_device(pixels, network.device).float() / 255, network.scale)
        with torch.no_grad():
            return x, network.method.rebuilt(x)

    error = np.empty(len(part), np.float32)
    for start in range(0, len(part), BATCH):
        x, image = made(part.pixels[start : start + BATCH])
        error[start : start + BATCH] = (image - x).square().mean((1, 2, 3)).cpu().numpy()
    rows = []
    for mine in (np.flatnonzero(part.labels >= 0), np.flatnonzero(part.labels < 0)):
        order = mine[error[mine].argsort(kind="stable")]
        rows += order[np.unique(np.linspace(0, len(order) - 1, min(REBUILT, len(order))).round().astype(int))].tolist()
    images = taken(part.pixels, np.array(rows, int))[:]
    mean, std = network.scale
    image = ((made(images)[1] * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    runs.write_npz(
        run.path / "rebuilt.npz",
        error=error, rows=np.array(rows, np.int32), images=images, made=image.permute(0, 2, 3, 1).cpu().numpy(),
    )  # fmt: skip


def left_out(run: Run, network: Network) -> tuple[dict[str, Any] | None, runs.StandIns]:
    """What side heads say of classes that they have not learnt: the score that tells these best, and what it catches.

    Each such class plays the unknown, on images that this head has not learnt from. No image of an unknown class is
    looked at. Nothing where no class was left out; nothing of what is caught where the network below has learnt them.
    """
    train, validation = run.outputs("train"), run.outputs("validation")
    scorers = reported_for(run.recipe.method)
    new, strange = {name: [] for name in scorers}, {name: [] for name in scorers}
    sides = [(n, fold, cls) for n, (fold, cls) in enumerate(network.method.left_out) if cls >= 0]
    for head, fold, cls in sides:
        learnt_from = only(train, (train.labels != cls) & (True if train.fold is None else train.fold != fold))
        fresh = validation if validation.fold is None else only(validation, validation.fold == fold)
        strangers = only(validation, validation.labels == cls)
        if validation.fold is None:  # otherwise the training images are among them
            strangers = joined(only(train, ~train.mirrored & (train.labels == cls)), strangers)
        parts = [
            _without(network, head, cls, part) for part in (learnt_from, only(fresh, fresh.labels != cls), strangers)
        ]
        for name in scorers:
            with contextlib.suppress(ValueError):  # such as openmax by few images
                one = judge_of(name, parts[0], parts[1])
                scores = [one(part).score for part in parts[1:]]
                new[name].append(scores[0])
                strange[name].append(scores[1])
    aurocs = {
        name: [metrics.Curve(*pair).auroc() for pair in zip(new[name], strange[name], strict=True)]
        for name in scorers
        if sides and len(new[name]) == len(sides)
    }
    aurocs = {name: some for name, some in aurocs.items() if np.isfinite(some).all()}  # nan without an image
    choice = judge.choice_of(run.recipe.method, aurocs, len(sides)) if aurocs else None
    if not sides or [*network.method.backbone.after.parameters()]:
        return choice, {}
    return choice, stand_ins.counted(new, strange, [cls for *_, cls in sides])


def _shuffled(run: Run, network: Network, test: datasets.Part) -> runs.StandIns:
    """What is caught of known test images whose patches were shuffled, where the run is tested on no unknown ones."""
    if (test.labels < 0).any() or not len(test):
        return {}
    train, validation = run.outputs("train"), run.outputs("validation")
    pixels = stand_ins.shuffled(test.pixels)
    seen, caught = Outputs.of_images(*network.outputs(pixels)), {}
    for name in reported_for(run.recipe.method):
        with contextlib.suppress(ValueError):
            one = judge_of(name, train, validation)
            caught[name] = stand_ins.caught(one(validation).score, one(seen).score)
    return {"levels": list(stand_ins.LEVELS), "shuffled": {"images": len(pixels), "caught": caught}}


def _without(network: Network, head: int, cls: int, out: Outputs) -> Outputs:
    """Outputs of a side head that has not learnt a class: without its label and its anchor, and with its weights."""
    labels = np.where(out.labels == cls, -1, out.labels - (out.labels > cls))
    anchors = None if out.anchors is None else out.anchors[:-1, :-1]
    given = network.side(head, out.features)
    own = None if out.head is None else network.method.side_head(head)
    return replace(
        out, logits=given, labels=labels, anchors=anchors, fold=None, out_of_fold=None, head=own, heads_out_of_fold=None
    )  # fmt: skip


def images_of(run: Run, root: Path) -> dict[str, datasets.Images]:
    """The images of a run's data set. Raises ValueError where they are not those that it was trained on."""
    recipe = run.recipe
    images = datasets.load(recipe.dataset, root, recipe.size, run.record.get("data"))
    if changed := run.changed(*datasets.identity(images)):
        then, now = changed
        raise ValueError(say(
            "The images of {dataset} under {root} are not those that {run} was trained on: the data set has changed "
            "since. Then: {then}; now: {now}. Put the old images back, or train it again on the new ones:\n"
            "    {command} --again",
            dataset=recipe.dataset, root=root, run=run.id, then=then, now=now, command=train_command(run),
        ))  # fmt: skip
    return images


def parts_of(run: Run, root: Path, images: dict[str, datasets.Images]) -> dict[str, datasets.Part]:
    """The train, validation and test images of a run, as its record says they are told apart."""
    recipe, validated_on = run.recipe, run.validated_on
    listed = None
    if validated_on == datasets.PUBLISHED:
        listed = datasets.published_hold_out(recipe.dataset, root, images["train"].classes)
        if listed is None:
            raise ValueError(say(
                "The validation images of {run} are those that its authors held out, and no list of them that fits "
                "the images lies in {folder}. Put it back, or let half of the test images stand in:\n"
                "    {command}",
                run=run.id, folder=root / datasets.LISTS, command=shell.command("eval", run.path, "--again"),
            ))  # fmt: skip
    of_each = [
        datasets.parts_of(
            images, run.trial, one.divided_by, run.row, share=one.held_out, validated_on=validated_on, listed=listed
        )
        for one in [part for part, _ in parts_in(run)] or [recipe]
    ]
    return functools.reduce(_common, of_each)


def _common(one: dict[str, datasets.Part], other: dict[str, datasets.Part]) -> dict[str, datasets.Part]:
    """What two networks both learnt from, held out and are tested on."""
    both = {}
    for name, part in one.items():
        keep = np.isin(part.index, other[name].index)
        kept = (values[keep] for values in (part.labels, part.classes, part.index))
        both[name] = datasets.Part(taken(part.pixels, keep), *kept)
    return both


def _divide(run: Run, root: Path, images: dict[str, datasets.Images]) -> None:
    """Record which images an imported run is validated on, and forget what was made of others.

    Those that the authors held out, where a list of them fits the images; else half of the test images. On images that
    the network was trained on, a theta that keeps 95 % keeps fewer of new ones.
    """
    listed = datasets.published_hold_out(run.recipe.dataset, root, images["train"].classes)
    validated_on = datasets.SET_ASIDE if listed is None else datasets.PUBLISHED
    if validated_on == run.validated_on:
        return
    for file in [*(run.path / "outputs" / f"{split}.npz" for split in runs.SPLITS), *run.path.glob("sweep*.*")]:
        file.unlink(missing_ok=True)
    shutil.rmtree(run.path / "sweep", ignore_errors=True)
    runs.write_json(run.path / "recipe.json", run.record | {"validated_on": validated_on})


def _kept_report(run: Run) -> runs.Report:
    """The run's report; empty where it is missing or cannot be read, to be made anew."""
    try:
        return run.report()
    except Broken:
        return {}


def write_report(run: Run, root: Path, device: str = "auto") -> None:
    """Write report.json of a run that has outputs and no such file.

    Where its network cannot judge its images here, it is of the outputs alone: what stands beside the numbers (how the
    score was chosen, what stands in for unknowns) comes with the next evaluation.
    """
    try:
        evaluate(run, root, device=device)
    except (OSError, ValueError):
        _write_report(run, {"weights": "none"})


def _write_report(run: Run, beside: runs.Report) -> None:
    if not _kept_report(run):
        (run.path / "report.json").unlink(missing_ok=True)  # a damaged one, of which nothing can be kept
    runs.write_json(run.path / "report.json", judge.plain(judge.report_all(run, beside)))


def evaluate_unknown(
    run: Run, name: str, root: Path, *, device: str = "auto", again: bool = False, progress=None
) -> str:
    """Write the run's outputs on the test images of another data set, all of them unknown; gives the split's name.

    What is there, of the newest weights and of the images that the data set holds now, stays; of the newest weights
    alone where that data set is not here. Raises ValueError where that data set holds classes the run knows.
    """
    kept, split = run.unknown_split(name), runs.unknown_split(name)
    weights = f"{_digest(run.path / 'best.safetensors')} {BROUGHT}"
    current = not again and runs.said_in(run.path / "outputs" / f"{kept}.npz", "weights") == weights
    if current and datasets.gone(name, root):
        return kept
    if name == run.recipe.dataset:
        raise ValueError(say(
            "{run} was trained on {dataset}: its images cannot all be unknown. Name another data set.",
            run=run.id, dataset=name,
        ))  # fmt: skip
    known = {datasets.same_class(cls) for cls in run.known_names}
    if seen := [cls for cls in datasets.row_of(name, root).classes if datasets.same_class(cls) in known]:
        raise ValueError(say(
            "{dataset} holds {classes}, which {run} knows: not all of its images are unknown.",
            dataset=name, classes=seen, run=run.id,
        ))  # fmt: skip
    digest = datasets.digest({"test": datasets.as_made(name, root)})
    if current and run.made_of(kept) == digest:
        return kept
    images = datasets.strangers(name, root, run.row)
    part = datasets.Part(images.pixels, np.full(len(images), -1), images.classes, np.arange(len(images)))
    outputs = _outputs(run, root, load(run, device), part, split, False, _told(progress, name))
    runs.write_outputs(run, split, outputs, weights=weights, images=digest, dataset=name)
    if kept != split and datasets.called(slug(name), root) == [name]:
        (run.path / "outputs" / f"{kept}.npz").unlink(missing_ok=True)  # an older version's, surely on the same data
    return split


def _outputs(
    run: Run, root: Path, network: Network, part: datasets.Part, split: str, mirror: bool, progress
) -> Outputs:
    """A network's outputs on a part; mirror: on its mirror images, too, behind the others."""
    method, views = network.method, [0, 1] if mirror else [0]
    if method.backbone.fixed_by:
        kept = frozen.kept(
            method.backbone, part.pixels, views, root=root, dataset=run.recipe.dataset, row=run.row,
            scale=network.scale, tell=lambda done, of, _: progress(done, of) if progress else None,
        )  # fmt: skip
        found = [network.of_maps(kept, view) for view in range(len(views))]
    else:
        found = [network.outputs(part.pixels, mirror=bool(view), progress=progress) for view in views]
    logits, features = (np.concatenate(some) for some in zip(*found, strict=True))
    labels, classes, index = (np.tile(some, len(views)) for some in (part.labels, part.classes, part.index))
    beside = {name: getattr(method, name, None) for name in ("anchors", "prototypes")} | {"dummies": method.dummies()}
    out = Outputs(
        logits, features, labels, classes, index, np.repeat(np.array(views) > 0, len(part)), latents=method.latents,
        **{name: v.detach().float().cpu().numpy() for name, v in beside.items() if v is not None},
    )  # fmt: skip
    read = features[:, : features.shape[1] - method.latents]
    if split == "train" and (head := method.head()) is not None and linear(head, logits, read):
        out = replace(out, head=head)
    if not run.recipe.folds or split not in ("train", "validation"):
        return out
    fold = np.tile(datasets.folds_of(part.labels, run.recipe.folds, run.recipe.divided_by), len(views))
    every = np.stack([network.side(n, features) for n in range(run.recipe.folds)])
    if split == "train":
        heads = np.stack([method.side_head(n) for n in range(run.recipe.folds)]) if out.head is not None else None
        return replace(out, fold=fold, out_of_fold=every, heads_out_of_fold=heads)
    return replace(out, logits=every[fold, np.arange(len(fold))], fold=fold)


def write_outputs(run: Run, split: str, out: Outputs, images: str, **more: np.ndarray) -> None:
    """Outputs of the run's newest weights on a split of the images with this digest."""
    runs.write_outputs(run, split, out, weights=weights_of(run), images=images, **more)


def _check_same(run: Run, weights: str) -> None:
    """A training beside this may have found better ones: what was computed is then not of the run's weights."""
    if weights_of(run) != weights:
        raise ValueError(say("{run} has been written anew meanwhile. Begin again.", run=run.id))


def weights_of(run: Run) -> str:
    """The digest of the run's weights, "none" where there are none."""
    return _digest(run.path / "best.safetensors")


def _told(progress, split: str):
    return (lambda done, of: progress(split, done, of)) if progress else None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else "none"
