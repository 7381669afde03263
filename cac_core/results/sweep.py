"""The sweep over ODIN's temperature and magnitude: outputs on perturbed images, and what every score makes of them.

T temperatures, E magnitudes, N images, C known classes. Images and magnitudes are on the scale 0 to 1; what a
perturbation is stands at evaluate.steps, here with distances to the run's class means. A batch costs one forward, one
backward a temperature and one forward a cell; magnitude 0 is the plain image. Torch is imported where a sweep is
computed; reading one needs numpy alone.

The choice of a cell is blind: it looks at validation images alone, and each known class in turn plays the unknown, away
from the score AND from the gradient, or the network would still push its images towards the class that they are of. So
the images of every class are perturbed anew for each class left out: C times the cost, on at most MOST images.

T divides what the gradient is taken of. In ODIN (Liang et al., ICLR 2018, section 3) it divides the logits of the score
too: "msp" is softmax at T after the perturbation, "msp_at_1" at T = 1. gamma and distance have no T of the sweep in
them: gamma's own temperature, inside its softmin, is another quantity, an option of that scorer, and 1 here.

"As published" is the other way of a report that put ODIN on CAC: see `cells_as_published`. It LEAKS the true labels of
the test images, and says so wherever its numbers are shown.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Required, TypedDict

import numpy as np

from cac_core import records, runs, shell
from cac_core.data import datasets
from cac_core.records import Array, Count, Unfit
from cac_core.results import judge
from cac_core.runs import Run
from cac_core.scoring import metrics, outputs
from cac_core.scoring.arrays import at_least, positive, softmax
from cac_core.scoring.distances import class_means, distances, moved_by, rejection
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import default_for
from cac_core.sentences import say

TEMPERATURES = (0.5, 1.0, 2.0, 5.0, 10.0, 100.0, 1000.0)
MAGNITUDES = (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.004)
SCORES = {  # and what the sweep's T does in each
    "gamma": "T in the gradient alone; the temperature inside gamma's softmin is another quantity, here 1",
    "distance": "T in the gradient alone",
    "msp": "T in the gradient, then in the score's softmax, as ODIN's paper has it",
    "msp_at_1": "T in the gradient alone; the score's softmax at T = 1",
}
MOST = 2000  # validation images that the choice looks at, as many of each class
FORMAT = 2  # in 1 a class that played the unknown was still in the gradient, and no score had T in it
NUMBERS = 2  # of what a report holds: a kept one whose numbers are defined otherwise is made again
SPLITS = ("validation", "test")
OF = ("images", "weights")  # digests of what it is of
ARRAYS = {  # H of the T temperatures are held, all of them but in a copy to give away; V and N images, E magnitudes
    "temperatures": Array("f", "T", 1e-9), "magnitudes": Array("f", "E", 0, 1), "stamp": Array("U"),
    **{name: Array("U", needed=False) for name in OF},
    "held": Array("f", "H", 1e-9, needed=False), "format": Array("iu", needed=False),
    "blind": Array("f", "C S T E", needed=False), "sample": Array("iu", "M", 0, "V", needed=False),
    "validation_logits": Array("f", "H E V C"), "validation_labels": Array("iu", "V", 0, "C"),
    "test_logits": Array("f", "H E N C"), "test_labels": Array("iu", "N", -1, "C"),
}  # fmt: skip
BATCHED = {"logits": Array("f", "T E N C")}  # of a file in sweep/<digest>/
PROGRESS = ".progress.json"  # in sweep/, how far the sweep is that is being computed


class Numbers(TypedDict, total=False):
    """What a report says of one score in one cell."""

    accuracy: Required[float | None]
    auroc: Required[float | None]
    fpr_at_95_knowns_kept: Required[float | None]
    oscr: Required[float | None]
    gain: Required[float | None]
    gain_interval: Required[list[float | None]]
    pseudo_auroc: float | None


class Cell(TypedDict):
    temperature: float
    magnitude: float
    scores: dict[str, Numbers]


class Best(Numbers):
    temperature: float
    magnitude: float


class Choice(TypedDict):
    images: Count
    of: Count


class Report(TypedDict, total=False):
    """sweep.json."""

    stamp: Required[str]
    numbers: Required[Count]
    temperatures: Required[list[float]]
    magnitudes: Required[list[float]]
    cells: Required[list[Cell]]
    oracle: Required[dict[str, Best | None]]
    chosen: dict[str, Best | None]
    choice: Choice
    leak: str


LEAK = (
    "As published, and a LEAK: every image is moved towards its true class, which nobody knows of a new image, and the "
    "unknowns towards a class they are not of. Do not take these numbers for what the method can do."
)


def sweep(
    run: Run,
    root: Path,
    *,
    temperatures: tuple[float, ...] = TEMPERATURES,
    magnitudes: tuple[float, ...] = MAGNITUDES,
    most: int = MOST,
    as_published: bool = False,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Perturb the run's validation and test images at every (T, epsilon), keep the logits, and report on them.

    most: so many validation images at most are perturbed for the choice, once for each class left out. sweep/<digest>/
    in the run's directory holds a file a batch until all are there, so a sweep that was stopped goes on; then sweep.npz
    holds everything but the logits of the choice, of which only the AUROCs stay. Raises ValueError where a temperature,
    a magnitude or most is out of range, or the images are not those that the run was trained on, or that its outputs
    are of.
    """
    temperatures = tuple(positive(float(t), "temperature") for t in temperatures)
    magnitudes = tuple(float(e) for e in magnitudes)
    if wrong := [e for e in magnitudes if not (np.isfinite(e) and 0 <= e <= 1)]:
        raise ValueError(say("A magnitude lies between 0 and 1, not {magnitude}.", magnitude=wrong[0]))
    if not temperatures or not magnitudes:
        raise ValueError(say("A sweep needs at least one temperature and one magnitude."))
    at_least(most, 2, "most")
    if run.validated_on == datasets.FOLDS:
        raise ValueError(say(
            "{run} has learnt from all its training images, and a sweep is chosen by images that its network has not "
            "seen. Train a run that holds some out: --folds 0.",
            run=run.id,
        ))  # fmt: skip
    if as_published and run.outputs("train").anchors is None:
        raise ValueError(say("{run} has no anchors; as published, the sweep is of CAC alone.", run=run.id))
    weights = (run.path / "best.safetensors").read_bytes() if (run.path / "best.safetensors").is_file() else b""
    axes = (temperatures, magnitudes) if as_published else (FORMAT, temperatures, magnitudes, most)
    stamp = hashlib.sha256(repr(axes).encode() + weights).hexdigest()[:16]
    if _stamp(run, as_published) != stamp or not of_outputs(run, as_published):
        _write(run, root, temperatures, magnitudes, most, as_published, stamp, device, progress)
    return report(run, as_published)


def _file(run: Run, as_published: bool, ending: str) -> Path:
    return run.path / f"sweep{'-as-published' if as_published else ''}.{ending}"


def _arrays(run: Run, as_published: bool, *only: str, **sizes: int) -> dict[str, np.ndarray]:
    """The arrays of a sweep, or only some of them. Raises OSError where there is none, Unfit where it is damaged."""
    sizes |= {"C": len(run.trial.known), "S": len(SCORES)}
    arrays = records.arrays(_file(run, as_published, "npz"), ARRAYS, only, **sizes)
    if any(len(arrays[name]) != len(_held(arrays)) for name in arrays if name.endswith("_logits")):
        raise Unfit(say("it has no {names}", names=[say("logits at each temperature")]))
    return arrays


def _held(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The temperatures whose logits are there: of a shared run, some."""
    return arrays.get("held", arrays["temperatures"])


def _stamp(run: Run, as_published: bool) -> str:
    try:
        return str(_arrays(run, as_published, "stamp")["stamp"])
    except (OSError, Unfit):
        return ""


def of_outputs(run: Run, as_published: bool = False) -> bool:
    """Whether the run's sweep and its outputs can be of the same images and weights, by what both say of themselves."""
    try:
        swept = _arrays(run, as_published, "test_labels", *OF)
        kept = records.arrays(run.path / "outputs" / "test.npz", outputs.ARRAYS, ("labels", *OF))
    except (OSError, Unfit):
        return False
    both = [[str(one.get(name, "")) for one in (swept, kept)] for name in OF]
    return np.array_equal(swept["test_labels"], kept["labels"]) and all(datasets.fits(*pair) for pair in both)


def outdated(run: Run) -> bool:
    """Whether the run's sweep was made by an older definition, whose choice was not blind. Its logits hold."""
    try:
        return _arrays(run, False, "format").get("format") != FORMAT
    except (OSError, Unfit):
        return False


def _write(run, root, temperatures, magnitudes, most, as_published, stamp, device, progress) -> None:
    import torch

    from cac_core.results.evaluate import BATCH, images_of, load, parts_of

    network, images = load(run, device), images_of(run, root)
    parts, digest = parts_of(run, root, images), run.record.get("data") or datasets.digest(images)
    for split in runs.SPLITS:
        index = run.outputs(split).index
        if not datasets.fits(run.made_of(split), digest) or not np.array_equal(np.unique(index), parts[split].index):
            raise ValueError(say(
                "The outputs of {run} are of other images than those under {root}, so a sweep would mix the two. Write "
                "them again with:\n"
                "    {command}",
                run=run.id, root=root, command=shell.command("eval", run.path, "--again"),
            ))  # fmt: skip
    centres = moved_by(run.outputs("train"))
    if centres is not None:
        centres = torch.as_tensor(centres, dtype=torch.float32, device=network.device)
    sample = even_sample(parts["validation"].labels, most, run.recipe.seed)
    passes = [(split, parts[split], None) for split in SPLITS]
    if not as_published:
        held_out = parts["validation"]
        some = datasets.Part(*(getattr(held_out, f.name)[sample] for f in dataclasses.fields(held_out)))
        passes += [(f"without-{c:03}", some, c) for c in range(len(run.trial.known))]
    total, batch = sum(len(part) for _, part, _ in passes), PUBLISHED_BATCH if as_published else BATCH
    done, fresh, began, arrays, blind = 0, 0, time.monotonic(), {}, []
    folder = run.path / "sweep" / f"{stamp}-{digest}{'-as-published' if as_published else ''}"
    for name, part, without in passes:
        chunks = []
        for start in range(0, len(part), batch):
            file, at = folder / f"{name}-{start:06}.npz", slice(start, start + batch)
            sizes = {"T": len(temperatures), "E": len(magnitudes), "N": len(part.pixels[at])}
            try:
                chunks.append(records.arrays(file, BATCHED, **sizes)["logits"])
                done += len(part.pixels[at])
                continue
            except (OSError, Unfit):
                if as_published:
                    towards = np.where(part.labels[at] >= 0, part.labels[at], part.classes[at] % len(run.trial.known))
                    logits = cells_as_published(network, part.pixels[at], towards, temperatures, magnitudes)
                else:
                    logits = cells(network, part.pixels[at], centres, temperatures, magnitudes, without)
                chunks.append(logits)
                run.there()
                runs.write_npz(file, logits=logits)
            done += len(part.pixels[at])
            fresh += len(part.pixels[at])
            left = (total - done) * (time.monotonic() - began) / fresh
            said = {"stage": "perturbing", "done": done, "of": total, "seconds_left": round(left), **runs.process_now()}
            runs.write_json(folder.parent / PROGRESS, said)
            if progress:
                progress("sweep", done, total)
        logits = np.concatenate(chunks, 2)
        if without is None:
            arrays[f"{name}_logits"] = logits
            arrays[f"{name}_labels"] = part.labels.astype(np.int16)
        else:
            blind.append(without_one(logits, part.labels, without, class_means(run.outputs("train")), temperatures))
    if blind:
        arrays |= {"format": np.array(FORMAT), "blind": np.array(blind), "sample": sample.astype(np.int32)}
    axes = {"temperatures": np.array(temperatures), "magnitudes": np.array(magnitudes), "stamp": np.array(stamp)}
    about = {"images": digest, "weights": runs.said_in(run.path / "outputs" / "test.npz", "weights")}
    about = {name: np.array(said) for name, said in about.items()}
    run.there()
    _file(run, as_published, "json").unlink(missing_ok=True)  # of the sweep before, which may have had the same stamp
    runs.write_npz(_file(run, as_published, "npz"), **axes, **arrays, **about)
    (folder.parent / PROGRESS).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # with what a kill left of a file half written
    with contextlib.suppress(OSError):  # another sweep's is there
        folder.parent.rmdir()


def even_sample(labels: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Places of at most `most` of N images, drawn by seed: as many of each class, as far as it has them."""
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty(len(labels), int)
    for c in np.unique(labels):
        mine = order[labels[order] == c]
        rank[mine] = np.arange(len(mine))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:most])


def under_way(run: Run) -> runs.Progress | None:
    """The sweep being computed right now: stage, done and of images, seconds_left. None without one."""
    return runs.under_way(run.path / "sweep" / PROGRESS)


def cells(network, pixels: np.ndarray, centres, temperatures, magnitudes, without: int | None = None) -> np.ndarray:
    """Logits [T, E, N, C] of one batch of images [N, H, W, K] uint8; network is evaluate's, centres a tensor or None.

    without: a class that the gradient does not see, see evaluate.steps; the logits given are of all classes. All in
    float32: gradients in bfloat16 save a fifth of the time and move AUROCs by up to 0.0007.
    """
    import torch

    from cac_core.networks.inputs import on_device
    from cac_core.results.evaluate import steps

    x = on_device(pixels, network.device).float() / 255
    with torch.no_grad():
        plain = network(x)[0]
    out = torch.empty(len(temperatures), len(magnitudes), *plain.shape)
    for t, step in enumerate(steps(network, x, temperatures, centres, without)):
        for e, magnitude in enumerate(magnitudes):
            with torch.no_grad():
                out[t, e] = (network(x - magnitude * step)[0] if magnitude else plain).cpu()
    return out.numpy()


PUBLISHED_BATCH = 128
# the listing's divisors of the gradient, by the place in the batch, where the channel's was meant
PUBLISHED_SCALES = (63.0 / 255, 62.1 / 255, 66.7 / 255)


def cells_as_published(network, pixels: np.ndarray, towards: np.ndarray, temperatures, magnitudes) -> np.ndarray:
    """Logits [T, E, N, C] of one batch, perturbed as the published listing of ODIN on CAC does it. For study only.

    The gradient is that of CAC's loss at distances d / T to the fixed anchors and the TRUE label, towards [N] (which an
    unknown does not have: there, its class number modulo C, since the listing does not say); its sign is divided by a
    number in the first three images of a batch and by none in the others; and the magnitude counts in units of the
    normalised image. The listing's score is the least distance to an anchor.
    """
    import torch
    import torch.nn.functional as F

    from cac_core.networks import losses
    from cac_core.networks.inputs import on_device

    x = (on_device(pixels, network.device).float() / 255).requires_grad_()
    target = torch.as_tensor(towards, device=network.device)
    d = losses.distances(network(x)[0], network.method.anchors)
    pull = network.method.lam * d.gather(1, target[:, None]).sum()
    scale = network.scale[1].expand(len(x), -1, 1, 1).clone()  # the normalised image's unit, in that of x
    for place, divisor in enumerate(PUBLISHED_SCALES[: len(x)]):
        scale[place] /= divisor
    out = torch.empty(len(temperatures), len(magnitudes), *d.shape)
    for t, temperature in enumerate(temperatures):
        loss = F.cross_entropy(-d / temperature, target, reduction="sum") + pull / temperature
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        with torch.no_grad():
            for e, magnitude in enumerate(magnitudes):
                out[t, e] = network(x - magnitude * scale * gradient.sign())[0].cpu()
    return out.numpy()


# --- what the scores make of it --------------------------------------------------------------------------------------


def scored(logits: np.ndarray, centres: np.ndarray, score: str, temperature: float) -> Verdict:
    """The verdict on logits [N, C] by one of SCORES; temperature is the sweep's T, which "msp" alone has in it."""
    if score in ("msp", "msp_at_1"):
        p = np.sort(softmax(logits.astype(np.float64) / (temperature if score == "msp" else 1)), 1)
        return Verdict(p[:, :-1].sum(1), logits.argmax(1))
    d = distances(logits, centres)
    values = rejection(d) if score == "gamma" else d
    return Verdict(values.min(1), values.argmin(1))


def first_of(report: dict[str, Any], method: str) -> str:
    """The score of a sweep that is shown first: the method's own, else 1 - softmax, which all logits have."""
    there = list(report["cells"][0]["scores"])
    return next(name for name in (default_for(method), "msp", *there) if name in there)


def report(run: Run, as_published: bool = False) -> dict[str, Any]:
    """AUROC, FPR at 95 % of knowns kept and OSCR of each cell and score, and two choices of a cell for each score.

    gain is the AUROC less that of the plain score, softmax at T = 1 on images as they are, with its 95 % interval
    (paired, DeLong). "chosen" looks at validation knowns alone: one known class after the other plays the unknown, see
    without_one; its pseudo_auroc is the mean over the classes, on choice["images"] of choice["of"] validation images.
    "oracle" looks at the test unknowns: how good a choice could be, not how good one will be. As published there is no
    choice but the oracle's, and "leak" says why. Kept in sweep.json; raises FileNotFoundError where there is no sweep,
    or one of an older definition.
    """
    stamp, made = _stamp(run, as_published), command(run, as_published)
    if not stamp:
        what = say("sweep as published") if as_published else say("sweep")
        raise FileNotFoundError(
            say("{run} has no {what} yet. Write it with:\n    {command}", run=run.id, what=what, command=made)
        )
    if not as_published and outdated(run):
        raise FileNotFoundError(say(
            "The sweep of {run} was made by an older definition, whose choice was not blind: the class that played the "
            "unknown was still in the gradient. Compute it again with:\n"
            "    {command}",
            run=run.id, command=made,
        ))  # fmt: skip
    if not of_outputs(run, as_published):
        raise FileNotFoundError(say(
            "The sweep of {run} is of other images or weights than its outputs. Compute it again with:\n"
            "    {command}",
            run=run.id, command=made,
        ))  # fmt: skip
    with contextlib.suppress(OSError, Unfit):
        kept = records.read(_file(run, as_published, "json"), Report)
        if (kept["stamp"], kept["numbers"]) == (stamp, NUMBERS) and _complete(kept, as_published):
            return kept
    result = _report(run, as_published) | {"stamp": stamp, "numbers": NUMBERS}
    with contextlib.suppress(OSError):  # a store that cannot be written is read all the same
        run.there()
        runs.write_json(_file(run, as_published, "json"), judge.plain(result))
    return judge.plain(result)


def command(run: Run, as_published: bool) -> str:
    return shell.command("sweep", run.path, *["--as-published"] * as_published)


def _complete(kept: Report, as_published: bool) -> bool:
    """Whether a kept report has every cell, every score in each, and its choices among them."""
    names, choices = set(SCORES), [kept["oracle"], kept.get("chosen", {})]
    if as_published:
        names, choices = {"distance"}, choices[:1]
    axes = list(itertools.product(kept["temperatures"], kept["magnitudes"]))
    there = [(cell["temperature"], cell["magnitude"]) for cell in kept["cells"]]
    chosen = [best for choice in choices for best in choice.values() if best is not None]
    return (
        there == axes != []
        and all(some.keys() == names for some in (*choices, *(cell["scores"] for cell in kept["cells"])))
        and all((best["temperature"], best["magnitude"]) in axes for best in chosen)
        and ("leak" if as_published else "choice") in kept
    )


def whole(run: Run, as_published: bool = False) -> dict[str, np.ndarray]:
    """All arrays of a run's sweep, `held` among them.

    Raises Broken where they are damaged, or do not go with the run's outputs.
    """
    sizes = {letter: len(run.outputs(split)) for letter, split in (("V", "validation"), ("N", "test"))}
    try:
        arrays = _arrays(run, as_published, **sizes)
        if not as_published and (lacking := {"blind", "sample"} - arrays.keys()):
            raise Unfit(say("it has no {names}", names=sorted(lacking)))
    except (OSError, Unfit) as error:
        raise runs.Broken(say(
            "{file} is damaged ({error}). Remove it, and compute the sweep again with:\n"
            "    {command}",
            file=_file(run, as_published, "npz"), error=error, command=command(run, as_published),
        )) from error  # fmt: skip
    return {"held": _held(arrays), **arrays}


def _report(run: Run, as_published: bool) -> dict[str, Any]:
    arrays = whole(run, as_published)
    rows = np.flatnonzero(np.isin(arrays["temperatures"], arrays["held"]))
    temperatures = arrays["temperatures"][rows].tolist()  # of a shared run, those that it holds
    magnitudes = arrays["magnitudes"].tolist()
    train = run.outputs("train")
    centres, names = (train.anchors, ("distance",)) if as_published else (class_means(train), tuple(SCORES))
    labels, cells = arrays["test_labels"], []
    as_they_are = run.outputs("test").logits
    plain = {name: scored(as_they_are, centres, name, 1.0) for name in names}
    for t, temperature in enumerate(temperatures):
        for e, magnitude in enumerate(magnitudes):
            cell = {"temperature": temperature, "magnitude": magnitude, "scores": {}}
            logits = arrays["test_logits"][t, e] if magnitude else as_they_are  # which a copy may hold rounded
            for s, name in enumerate(names):
                verdict = scored(logits, centres, name, temperature)
                numbers = metrics.report(verdict, labels)
                gain, *interval = metrics.delong_difference(verdict, plain[name], labels)
                wanted = ("accuracy", "auroc", "fpr_at_95_knowns_kept", "oscr")
                cell["scores"][name] = {key: numbers[key] for key in wanted} | {"gain": gain, "gain_interval": interval}
                if not as_published:
                    cell["scores"][name]["pseudo_auroc"] = float(np.nanmean(arrays["blind"][:, s, rows[t], e]))
            cells.append(cell)
    result = {"run": run.id, "temperatures": temperatures, "magnitudes": magnitudes, "cells": cells}
    result["scores"] = {name: SCORES[name] for name in names}
    result["oracle"] = {name: _best(cells, name, "auroc") for name in names}
    if as_published:
        return result | {"leak": LEAK}
    choice = {"images": len(arrays["sample"]), "of": len(arrays["validation_labels"])}
    return result | {"chosen": {name: _best(cells, name, "pseudo_auroc") for name in names}, "choice": choice}


def held(run: Run) -> tuple[list[float], list[float]]:
    """The temperatures and the magnitudes whose logits a run's sweep holds; empty without a sweep of its outputs."""
    if not of_outputs(run):
        return [], []
    try:
        found = _arrays(run, False, "held", "temperatures", "magnitudes")
    except (OSError, Unfit):
        return [], []
    return _held(found).tolist(), found["magnitudes"].tolist()


def cube(run: Run, temperature: float) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """Magnitudes [E] and logits [E, N, C] by split, at one temperature of the gradient; None where it is not held."""
    if not of_outputs(run):
        return None
    try:
        arrays = _arrays(run, False, "held", "temperatures", "magnitudes", *(f"{split}_logits" for split in SPLITS))
        place = _held(arrays).tolist().index(temperature)
    except (OSError, ValueError):
        return None
    return arrays["magnitudes"], {split: arrays[f"{split}_logits"][place] for split in SPLITS}


def moved(run: Run, out: Outputs, split: str, magnitude: float, temperature: float) -> Outputs | None:
    """The run's outputs on the images of a split with the logits that they have as ODIN's step has moved them, out of
    its sweep; None where this does not hold them. Features are those of the images as they are."""
    held = cube(run, temperature)
    place = [] if held is None else np.flatnonzero(held[0] == magnitude)
    return dataclasses.replace(out, logits=held[1][split][place[0]].astype(np.float32)) if len(place) else None


def moved_validation(run: Run, root: Path, magnitude: float, temperature: float, device: str = "auto") -> Outputs:
    """What the run's network puts out for its validation images as ODIN's step has moved them: out of its sweep, or
    where this does not hold them, of the images under root.

    Raises ValueError where these are not here, or where the network has learnt from them.
    """
    if run.validated_on == datasets.FOLDS:
        raise ValueError(say(
            "{run} has learnt from all its training images, and θ for perturbed images is taken from perturbed ones "
            "that its network has not seen. Give it with --theta, or train a run that holds some out: --folds 0.",
            run=run.id,
        ))  # fmt: skip
    found = moved(run, run.outputs("validation"), "validation", magnitude, temperature)
    if found is not None:
        return found
    from cac_core.results.evaluate import images_of, load, parts_of

    network = load(run, device)
    try:
        part = parts_of(run, root, images_of(run, root))["validation"]
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(say(
            "θ for perturbed images is taken from perturbed validation images, and these cannot be had here: {error}\n"
            "Put them there, or give --theta.",
            error=error,
        )) from error  # fmt: skip
    centres = moved_by(run.outputs("train"))
    how = {"magnitude": magnitude, "temperature": temperature, "centres": centres}
    return Outputs.of_images(*network.outputs(part.pixels, **how))


def without_one(
    logits: np.ndarray, labels: np.ndarray, c: int, centres: np.ndarray, temperatures: Sequence[float]
) -> np.ndarray:
    """AUROCs [S, T, E] of telling class c, which plays the unknown, from the other classes, by each of the S SCORES.

    logits [T, E, N, C] are those of known images perturbed without c, see `cells`; c's centre, and for softmax its
    logit, are away from the scores too. No unknown is looked at.
    """
    rest = np.delete(np.arange(len(centres)), c)
    found = np.empty((len(SCORES), *logits.shape[:2]))
    for (s, score), (t, temperature), e in itertools.product(
        enumerate(SCORES), enumerate(temperatures), range(logits.shape[1])
    ):
        some = logits[t, e][:, rest] if score in ("msp", "msp_at_1") else logits[t, e]
        value = scored(some, centres[rest], score, temperature).score
        found[s, t, e] = metrics.Curve(value[labels != c], value[labels == c]).auroc()
    return found


def _best(cells: list[dict], score: str, by: str) -> dict[str, float] | None:
    """The cell with the largest value; among equals the one nearest to the plain score."""
    able = [cell for cell in cells if np.isfinite(cell["scores"][score][by])]
    if not able:
        return None
    best = max(
        able, key=lambda cell: (cell["scores"][score][by], -cell["magnitude"], -abs(np.log(cell["temperature"])))
    )
    return {"temperature": best["temperature"], "magnitude": best["magnitude"], **best["scores"][score]}
