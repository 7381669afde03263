"""The sweep over ODIN's temperature and magnitude: outputs on perturbed images, and what every score makes of them.

T temperatures, E magnitudes, N images, C known classes. Images and magnitudes are on the scale 0 to 1; what a
perturbation is stands at evaluate.steps, here with distances to the run's class means. A batch costs one forward, one
backward a temperature and one forward a cell; magnitude 0 is the plain image.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cac_core import data, metrics, runs
from cac_core.batches import on_device
from cac_core.evaluate import BATCH, Network, load, steps
from cac_core.runs import Run
from cac_core.scorers import Verdict, class_means, distances, moved_by, positive, rejection, softmax

TEMPERATURES = (0.5, 1.0, 2.0, 5.0, 10.0, 100.0, 1000.0)
MAGNITUDES = (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.004)
SCORES = ("gamma", "distance", "msp")
SPLITS = ("validation", "test")


def sweep(
    run: Run,
    root: Path,
    *,
    temperatures: tuple[float, ...] = TEMPERATURES,
    magnitudes: tuple[float, ...] = MAGNITUDES,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Perturb the run's validation and test images at every (T, epsilon), keep the logits, and report on them.

    sweep/<digest>/ in the run's directory holds a file a batch until all are there, so a sweep that was stopped goes
    on; then sweep.npz holds everything. Raises ValueError where a temperature or a magnitude is out of range.
    """
    temperatures = tuple(positive(float(t), "temperature") for t in temperatures)
    magnitudes = tuple(float(e) for e in magnitudes)
    if wrong := [e for e in magnitudes if not (np.isfinite(e) and 0 <= e <= 1)]:
        raise ValueError(f"A magnitude lies between 0 and 1, not {wrong[0]}.")
    if not temperatures or not magnitudes:
        raise ValueError("A sweep needs at least one temperature and one magnitude.")
    weights = (run.path / "best.safetensors").read_bytes() if (run.path / "best.safetensors").is_file() else b""
    stamp = hashlib.sha256(repr((temperatures, magnitudes)).encode() + weights).hexdigest()[:16]
    if _stamp(run) != stamp:
        _write(run, root, temperatures, magnitudes, stamp, device, progress)
    return report(run)


def _stamp(run: Run) -> str:
    try:
        with np.load(run.path / "sweep.npz") as stored:
            return str(stored["stamp"])
    except data.DAMAGED:
        return ""


def _write(run, root, temperatures, magnitudes, stamp, device, progress) -> None:
    network = load(run, device)
    recipe, record = run.recipe, run.record
    images = data.load(recipe.dataset, root, recipe.size)
    parts = data.parts_of(images, run.trial, recipe.seed, run.row, whole=record.get("trains_on") == "all")
    centres = moved_by(run.outputs("train"))
    if centres is not None:
        centres = torch.as_tensor(centres, dtype=torch.float32, device=network.device)
    total = sum(len(parts[split]) for split in SPLITS)
    done, arrays, folder = 0, {}, run.path / "sweep" / stamp
    for split in SPLITS:
        pixels, chunks = parts[split].pixels, []
        for start in range(0, len(pixels), BATCH):
            file = folder / f"{split}-{start:06}.npz"
            try:
                with np.load(file) as stored:
                    chunks.append(stored["logits"])
            except data.DAMAGED:
                chunks.append(cells(network, pixels[start : start + BATCH], centres, temperatures, magnitudes))
                runs.write_npz(file, logits=chunks[-1])
            done += len(pixels[start : start + BATCH])
            if progress:
                progress("sweep", done, total)
        arrays[f"{split}_logits"] = np.concatenate(chunks, 2)
        arrays[f"{split}_labels"] = parts[split].labels.astype(np.int16)
    runs.write_npz(
        run.path / "sweep.npz",
        temperatures=np.array(temperatures),
        magnitudes=np.array(magnitudes),
        stamp=np.array(stamp),
        **arrays,
    )
    for file in folder.glob("*.npz"):
        file.unlink()
    folder.rmdir()
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()


def cells(network: Network, pixels: np.ndarray, centres, temperatures, magnitudes) -> np.ndarray:
    """Logits [T, E, N, C] of one batch of images [N, H, W, K] uint8."""
    x = on_device(pixels, network.device).float() / 255
    with torch.no_grad():
        plain = network(x)[0]
    out = torch.empty(len(temperatures), len(magnitudes), *plain.shape)
    for t, step in enumerate(steps(network, x, temperatures, centres)):
        for e, magnitude in enumerate(magnitudes):
            with torch.no_grad():
                out[t, e] = (network(x - magnitude * step)[0] if magnitude else plain).cpu()
    return out.numpy()


# --- what the scores make of it --------------------------------------------------------------------------------------


def scored(logits: np.ndarray, centres: np.ndarray, score: str) -> tuple[np.ndarray, np.ndarray]:
    """Score [N], up = more unknown, and nearest class [N] of logits [N, C]."""
    if score == "msp":
        p = np.sort(softmax(logits.astype(np.float64)), 1)
        return p[:, :-1].sum(1), logits.argmax(1)
    d = distances(logits, centres)
    values = rejection(d) if score == "gamma" else d
    return values.min(1), values.argmin(1)


def report(run: Run) -> dict[str, Any]:
    """AUROC, FPR at 95 % of knowns kept and OSCR of each cell and score, and two choices of a cell for each score.

    "chosen" looks at validation knowns alone: one known class after the other plays the unknown, without its centre.
    "oracle" looks at the test unknowns: how good a choice could be, not how good one will be.
    """
    with np.load(run.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    temperatures, magnitudes = arrays["temperatures"].tolist(), arrays["magnitudes"].tolist()
    centres = class_means(run.outputs("train"))
    cells = [
        {"temperature": temperature, "magnitude": magnitude, "scores": {}}
        for temperature in temperatures
        for magnitude in magnitudes
    ]
    for n, cell in enumerate(cells):
        t, e = divmod(n, len(magnitudes))
        for score in SCORES:
            value, label = scored(arrays["test_logits"][t, e], centres, score)
            numbers = metrics.report(Verdict(value, label), arrays["test_labels"])
            pseudo = leave_one_out(arrays["validation_logits"][t, e], arrays["validation_labels"], centres, score)
            wanted = ("accuracy", "auroc", "fpr_at_95_knowns_kept", "oscr")
            cell["scores"][score] = {name: numbers[name] for name in wanted} | {"pseudo_auroc": pseudo}
    return {
        "run": run.id,
        "temperatures": temperatures,
        "magnitudes": magnitudes,
        "cells": cells,
        "chosen": {score: _best(cells, score, "pseudo_auroc") for score in SCORES},
        "oracle": {score: _best(cells, score, "auroc") for score in SCORES},
    }


def leave_one_out(logits: np.ndarray, labels: np.ndarray, centres: np.ndarray, score: str) -> float:
    """Mean AUROC of telling each known class from the others once its centre is taken away. No unknown is looked at."""
    found = []
    for c in range(len(centres)):
        rest = np.delete(np.arange(len(centres)), c)
        left = logits[:, rest] if score == "msp" else logits
        value, _ = scored(left, centres[rest], score)
        found.append(metrics.Curve(value[labels != c], value[labels == c]).auroc())
    return float(np.nanmean(found))


def _best(cells: list[dict], score: str, by: str) -> dict[str, float] | None:
    """The cell with the largest value; among equals the one nearest to no perturbation."""
    able = [cell for cell in cells if np.isfinite(cell["scores"][score][by])]
    if not able:
        return None
    best = max(able, key=lambda cell: (cell["scores"][score][by], -cell["magnitude"], -cell["temperature"]))
    return {"temperature": best["temperature"], "magnitude": best["magnitude"], **best["scores"][score]}
