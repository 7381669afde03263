"""Evaluation: a run's network on its images, written once as Outputs; everything after that is numpy."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.networks import losses
from cac_core.networks.inputs import device_of, normalised, on_device, scale_of
from cac_core.networks.methods import Method
from cac_core.recipe import BACKBONES, METHODS, Recipe, find
from cac_core.records import Array, Unfit
from cac_core.results import judge
from cac_core.runs import Broken, Run
from cac_core.scoring.arrays import positive
from cac_core.scoring.outputs import Outputs
from cac_core.sentences import say

BATCH = 256
FORMAT = "anchorscope 1"
BROUGHT = "2"  # the way in which another data set's images are brought to size; another one gives other outputs


def build(recipe: Recipe, classes: int, channels: int, size: int) -> Method:
    """The untrained network of a recipe, with the loss that trains it."""
    backbone = find(BACKBONES, recipe.backbone)(recipe.backbone, channels, size, **recipe.trunk)
    return find(METHODS, recipe.method)(backbone, classes, **recipe.hyper)


class Network:
    """A trained network with what it needs to judge images: its scale of pixel values and its device."""

    def __init__(self, method: Method, stats: tuple, device: torch.device):
        self.method, self.device = method.to(device, memory_format=torch.channels_last).eval(), device
        self.method.requires_grad_(False)
        self.scale = scale_of(stats, device)

    def __call__(self, x: Float[Tensor, "N C H W"]) -> tuple[Tensor, Tensor]:
        """Logits and features of images on the scale 0 to 1."""
        return self.method(normalised(x, self.scale))

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
                features.append(self.method.backbone.pooled(f).cpu().numpy())
            if progress:
                progress(min(start + BATCH, len(pixels)), len(pixels))
        if not logits:
            raise ValueError(say("There is no image to judge."))
        return np.concatenate(logits), np.concatenate(features)


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


def gamma_gradient(network: Network, pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """By how much the least gamma, to centres [C, C], grows with each pixel [N, H, W, K] of images uint8, scale 0 to 1.

    One forward and one backward; no parameter gets a gradient.
    """
    x = (on_device(pixels, network.device).float() / 255).requires_grad_()
    d = losses.distances(network(x)[0], torch.as_tensor(centres, dtype=torch.float32, device=network.device))
    gamma = d * (1 - F.softmax(-d, 1))
    (gradient,) = torch.autograd.grad(gamma.min(1).values.sum(), x)
    return gradient.permute(0, 2, 3, 1).cpu().numpy()


def weights_metadata(recipe: Recipe, trial: datasets.Trial, epoch: int) -> dict[str, str]:
    """What a weights file says of itself, so that it cannot be taken for another run's."""
    split = {"family": trial.family, "trial": trial.index, "known": trial.known, "unknown": trial.unknown}
    return {"format": FORMAT, "recipe": recipe.id, "split": json.dumps(split), "epoch": str(epoch)}


def load(run: Run, device: str = "auto") -> Network:
    """A run's best network. Raises FileNotFoundError where it has no weights yet, Broken where they do not fit."""
    file, recipe, trial = run.path / "best.safetensors", run.recipe, run.trial
    if not file.is_file():
        raise FileNotFoundError(
            say("{run} has no weights yet. Train it with:\n    {command}", run=run.id, command=train_command(run))
        )
    try:
        records.opened(file).close()
        with safe_open(file, framework="pt") as stored:
            said = stored.metadata() or {}
            weights = {key: stored.get_tensor(key) for key in list(stored.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise Broken(say(
            "{file} is damaged ({error}). Train the run again with:\n"
            "    {command}",
            file=file, error=error, command=train_command(run),
        )) from error  # fmt: skip
    want = weights_metadata(recipe, trial, 0)
    for key, what in {"recipe": say("recipe"), "split": say("known and unknown classes")}.items():
        if said.get(key) != want[key]:
            raise Broken(say(
                "The weights and the recipe of {run} disagree about the {what}: {said} against {wanted}. They do "
                "not belong together; put the right file back, or train the run again.",
                run=run.id, what=what, said=said.get(key), wanted=want[key],
            ))  # fmt: skip
    row = run.row
    method = build(recipe, len(trial.known), row.channels, row.size)
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise Broken(say("The weights of {run} do not fit its recipe: {error}", run=run.id, error=error)) from error
    return Network(method, run.stats, device_of(device))


def train_command(run: Run) -> str:
    return f"python -m cac_core train --resume {run.path}"


def evaluate(
    run: Run,
    root: Path,
    *,
    device: str = "auto",
    again: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write the run's outputs on its train, validation and test images, and report.json; what is there stays.

    Data sets that are mirrored in training have their training outputs on the mirrored images too, behind the others.
    Outputs of other weights than the newest are written again. What the validation images of an imported run are is
    decided where all its outputs are written, see `_divide`.
    """
    weights = _digest(run.path / "best.safetensors")
    folder = run.path / "outputs"
    stale = [split for split in runs.SPLITS if again or _written_by(folder / f"{split}.npz") != weights]
    if stale:
        network, images = load(run, device), images_of(run, root)
        if len(stale) == len(runs.SPLITS) and run.record.get("trains_on") == "all":
            _divide(run, root, images)
        parts = parts_of(run, root, images)
        for split in stale:
            outputs = _outputs(network, parts[split], split == "train" and run.row.flip, _told(progress, split))
            _write(folder / f"{split}.npz", outputs, weights)
    if stale or _reported(run) != judge.NUMBERS:
        runs.write_json(run.path / "report.json", judge.plain(judge.report_all(run)))


def images_of(run: Run, root: Path) -> dict[str, datasets.Images]:
    """The images of a run's data set. Raises ValueError where they are not those that it was trained on."""
    recipe = run.recipe
    images = datasets.load(recipe.dataset, root, recipe.size)
    if datasets.digest(images) != run.record["data"]:
        raise ValueError(say(
            "The images of {dataset} under {root} are not those that {run} was trained on: the data set has changed "
            "since. Put the old images back, or train a new run.",
            dataset=recipe.dataset, root=root, run=run.id,
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
                "    python -m cac_core eval {path} --again",
                run=run.id, folder=root / datasets.LISTS, path=run.path,
            ))  # fmt: skip
    return datasets.parts_of(
        images, run.trial, recipe.seed, run.row, share=recipe.held_out, validated_on=validated_on, listed=listed
    )


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


def _reported(run: Run) -> int | None:
    """By which definition the numbers of the run's report were made; None where it cannot be read."""
    try:
        return run.report().get("numbers")
    except Broken:
        return None


def evaluate_unknown(run: Run, name: str, root: Path, *, device: str = "auto", progress=None) -> str:
    """Write the run's outputs on the test images of another data set, all of them unknown; gives the split's name.

    What is there and of the newest weights stays. Raises ValueError where that data set holds classes the run knows.
    """
    split, weights = runs.unknown_split(name), f"{_digest(run.path / 'best.safetensors')} {BROUGHT}"
    file = run.path / "outputs" / f"{split}.npz"
    if _written_by(file) == weights:
        return split
    if name == run.recipe.dataset:
        raise ValueError(say(
            "{run} was trained on {dataset}: its images cannot all be unknown. Name another data set.",
            run=run.id, dataset=name,
        ))  # fmt: skip
    names, known = datasets.row_of(name, root).classes, set(run.known_names)
    if seen := sorted(known & set(names)):
        raise ValueError(say(
            "{dataset} holds {classes}, which {run} knows: not all of its images are unknown.",
            dataset=name, classes=seen, run=run.id,
        ))  # fmt: skip
    images = datasets.strangers(name, root, run.row)
    part = datasets.Part(images.pixels, np.full(len(images), -1), images.classes, np.arange(len(images)))
    _write(file, _outputs(load(run, device), part, False, _told(progress, name)), weights)
    return split


def _outputs(network: Network, part: datasets.Part, mirror: bool, progress) -> Outputs:
    logits, features = network.outputs(part.pixels, progress=progress)
    labels, classes, index = part.labels, part.classes, part.index
    mirrored = np.zeros(len(part), bool)
    if mirror:
        more = network.outputs(part.pixels, mirror=True, progress=progress)
        logits, features = np.concatenate([logits, more[0]]), np.concatenate([features, more[1]])
        labels, classes, index = np.tile(labels, 2), np.tile(classes, 2), np.tile(index, 2)
        mirrored = np.repeat([False, True], len(part))
    anchors = getattr(network.method, "anchors", None)
    return Outputs(
        logits, features, labels, classes, index, mirrored, None if anchors is None else anchors.cpu().numpy()
    )


def _write(file: Path, out: Outputs, weights: str) -> None:
    arrays = {
        "logits": out.logits.astype(np.float32),
        "features": out.features.astype(np.float16),
        "labels": out.labels.astype(np.int16),
        "classes": out.classes.astype(np.int16),
        "index": out.index.astype(np.int32),
        "mirrored": out.mirrored,
        "weights": np.array(weights),
    }
    runs.write_npz(file, **arrays, **({} if out.anchors is None else {"anchors": out.anchors}))


def _told(progress, split: str):
    return (lambda done, of: progress(split, done, of)) if progress else None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else "none"


def _written_by(file: Path) -> str:
    try:
        return str(records.arrays(file, {"weights": Array("U")})["weights"])
    except (OSError, Unfit):
        return ""
