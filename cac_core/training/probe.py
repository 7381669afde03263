"""Probe: what training a recipe takes on this machine, in time, memory and disk, told by a few of its own steps.

    python -m cac_core probe --dataset CIFAR10 --epochs 30

The network and its batches are training's own (loop.Steps). What was measured is kept in <store>/.probes, so nothing
is measured twice; epochs, seeds and the weights of a loss are arithmetic on it. Whoever only reads what is kept, and
starts a probe as a process of its own, as the app does, loads no torch. Times in seconds, sizes in bytes.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import math
import os
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, Any

import filelock
import psutil

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.data.datasets import Dataset, Trial
from cac_core.jobs import launch, worker
from cac_core.recipe import Recipe, method_options, slug
from cac_core.records import Unfit
from cac_core.sentences import say

SPAN = 2.5  # seconds of training steps,
FEWEST = 3  # at least so many, unless one alone takes
SLOW = 10.0  # seconds
FEW = 32  # images whose maps stand in for those of all, where a part of the network is fixed
PACKED = 0.9  # what is left of outputs and snapshots when they are compressed: float noise hardly gets smaller
RECORDS = 20_000  # of recipe, status and report,
EPOCH_RECORD = 500  # and of the events and the log of an epoch
WAIT = 300.0  # that one probe waits for another on the same device
FILES = ".probes"


@dataclass(frozen=True)
class Measured:
    """What a few steps took on a device.

    start: from nothing to the first step. step: of training. validation and evaluation: of one image. memory: of the
    process on a processor, of the card on a card; room: all that a card has, 0 on a processor. steps: of an epoch.
    images: in validation, and in the evaluation at the end. weights, and those of them that are trained. outputs: of
    all parts. snapshots: the most there are, and the size of one. beside: other work was under way on the device.
    """

    device: str
    start: float
    step: float
    validation: float
    evaluation: float
    memory: int
    room: int
    steps: int
    images: tuple[int, int]
    weights: int
    trained: int
    outputs: int
    snapshots: tuple[int, int]
    beside: bool

    def epoch(self) -> float:
        """An epoch of training and its validation."""
        return self.steps * self.step + self.images[0] * self.validation

    def seconds(self, recipe: Recipe) -> float:
        """The whole run, from the start of its process to the end of its evaluation."""
        epochs = recipe.epochs + recipe.fine_epochs
        return self.start + epochs * self.epoch() + self.images[1] * self.evaluation

    def disk(self, recipe: Recipe) -> int:
        """The run's directory: best weights, last state with its momentum, outputs, snapshots and records."""
        epochs = recipe.epochs + recipe.fine_epochs
        state = self.weights + self.trained * (recipe.momentum > 0)
        shots = min(epochs + 1, self.snapshots[0]) * self.snapshots[1]
        return round(self.weights + state + PACKED * (self.outputs + shots) + RECORDS + EPOCH_RECORD * epochs)


# --- what is kept ----------------------------------------------------------------------------------------------------

FACTORS = ("alpha", "lam", "smoothing")  # numbers in a loss, by which nothing takes longer


def file_of(store: Path, recipe: Recipe, trial: Trial, row: Dataset, images: int, device: str) -> Path:
    """Where a measurement is kept: under everything that it hangs on. images: bytes of the data set's files."""
    what = {
        "dataset": recipe.dataset, "images": images, "size": recipe.size or row.size,
        "classes": [len(trial.known), len(trial.unknown)], "method": recipe.method, "backbone": recipe.backbone,
        "trunk": recipe.trunk, "hyper": {name: v for name, v in recipe.hyper.items() if name not in FACTORS},
        "held_out": recipe.held_out, "augment": recipe.augment, "cutout": recipe.cutout, "batch": recipe.batch,
        "precision": recipe.precision, "device": _slot(device),
        "host": socket.gethostname(), "torch": _version(), "threads": os.environ.get("OMP_NUM_THREADS"),
    }  # fmt: skip
    if "start" in method_options(recipe.method):  # a training in stages, which do not take the same
        what["epochs"] = recipe.epochs + recipe.fine_epochs
    if recipe.tta != "none":
        what["tta"] = recipe.tta
    if recipe.steps or recipe.folds:  # which the steps of an epoch and the heads hang on
        what |= {"steps": [recipe.steps, recipe.epochs + recipe.fine_epochs], "folds": recipe.folds}
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return store.absolute() / FILES / f"{slug(recipe.dataset)[:20]}-{slug(recipe.backbone)}-{digest}.json"


def kept(file: Path) -> Measured | None:
    """What was measured before; None where nothing was, or where it cannot be read."""
    try:
        return records.read(file, Measured)
    except (OSError, Unfit):
        return None


def busy(store: Path, device: str) -> str:
    """The run or the job that is at work on this device of this machine; empty where there is none known."""
    working = [job for job in launch.jobs(store) if job.state in launch.UNDER_WAY]
    for job in working:
        if job.device == _slot(device) and job.host in ("", socket.gethostname()):
            return job.run or job.id
    known = {job.run for job in working}
    for run in runs.every(store):
        status = run.status
        here = status.get("host") == socket.gethostname() and _slot(str(status.get("device", ""))) == _slot(device)
        if status["state"] in runs.ALIVE and here and run.id not in known:
            return run.id
    return ""


@cache
def _version() -> str:
    return metadata.version("torch")  # without importing it


def _slot(device: str) -> str:
    return "cuda:0" if device == "cuda" else device


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(recipe: Recipe, store: Path, root: Path, *, device: str = "auto", again: bool = False) -> Measured:
    """Take a few steps of the recipe's training and keep what they took; what is kept already is given, unless again.

    Of several probes on one device each waits for the one before. Raises ValueError for a wrong recipe,
    FileNotFoundError for missing images or weights, RuntimeError with the cause where it cannot be trained here.
    """
    row = datasets.row_of(recipe.dataset, root, recipe.size)
    trial = datasets.trial_of(recipe, row)
    files, missing = datasets.here(recipe.dataset, root)
    if missing:
        raise FileNotFoundError(missing)
    began = time.perf_counter()
    with _Memory() as memory:
        from cac_core.networks.inputs import device_of
        from cac_core.training import loop

        place = device_of(device)
        loaded = time.perf_counter() - began
        file = file_of(store, recipe, trial, row, sum(f.stat().st_size for f in files), str(place))
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.parent / f"{slug(str(place))}.lock", timeout=WAIT):
            beside = bool(busy(store, str(place)))
            known = None if again else kept(file)
            if known and known.beside <= beside:
                return known
            try:
                took = _steps(recipe, trial, row, root, place)
            except Exception as error:
                if isinstance(error, ValueError | FileNotFoundError):
                    raise
                raise RuntimeError(loop.cause(error, recipe)) from error
            took["start"] += loaded
            memory.look()
            took.setdefault("memory", memory.most)
            measured = Measured(device=str(place), beside=beside, **took)
            runs.write_json(file, dataclasses.asdict(measured))
    return measured


def _steps(recipe: Recipe, trial: Trial, row: Dataset, root: Path, device) -> dict[str, Any]:
    """The fields of Measured; without memory on a processor, where the whole process counts."""
    import torch

    from cac_core.results import evaluate
    from cac_core.training import loop

    began = time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps = loop.Steps(recipe, trial, row, datasets.load(recipe.dataset, root, recipe.size), device)
    steps.begin(root, few=FEW)
    maps = _maps(steps) if steps.fixed else {}
    took = {"start": time.perf_counter() - began + maps.get("start", 0), "room": 0, "step": _mean_step(steps)}
    if device.type == "cuda":
        took["memory"] = torch.cuda.max_memory_allocated(device)
        took["room"] = torch.cuda.get_device_properties(device).total_memory

    method, images, classes = steps.method, steps.images, len(trial.known)
    sizes = [t.numel() * t.element_size() for t in evaluate.learnt(method).values()]
    trained = sum(p.numel() * p.element_size() for part in method.parts().values() for p in part)
    method.backbone.given_maps = False
    mirror = evaluate.both_ways(recipe, row)
    network = evaluate.Network(method, steps.stats, device)
    took["validation"], width = _forward(network, steps.validation.pixels)
    if steps.fixed:
        took |= {name: maps[name] for name in ("validation", "evaluation")}
    elif method.half is not None or mirror:  # the evaluation at the end is in single precision
        method.half, network.mirror = None, mirror
        took["evaluation"], width = _forward(network, steps.validation.pixels)
    judged = images["train"] * (1 + (row.flip and not mirror)) + images["validation"] + images["test"]
    one = 4 * classes + 2 * width + 9  # logits, features in half precision, label, class, place, mirrored or not
    return {"evaluation": took["validation"], **took} | {
        "steps": steps.batches.steps,
        "images": (images["validation"], judged),
        "weights": sum(sizes),
        "trained": trained,
        "outputs": judged * one,
        "snapshots": (loop.SNAPSHOTS, min(loop.SNAPSHOT_IMAGES, images["validation"]) * 2 * classes),
    }


def _maps(steps) -> dict[str, float]:
    """Seconds that the fixed part of a network takes for all training and validation images, before the first step; of
    a validation image from its map on; and of an image in the evaluation, where only those of test are new."""
    from cac_core.results import frozen

    pixels, trunk, count = steps.train.pixels[: frozen.BATCH], steps.method.backbone, steps.images
    views = len(frozen.views_of(trunk, steps.row))
    one = min(_timed(lambda: frozen.computed(trunk, pixels, steps.scale)) for _ in range(2)) / len(pixels)
    learnt = count["train"] * views + (0 if steps.recipe.folds else count["validation"])
    judged = count["train"] * (1 + steps.row.flip) + count["validation"] + count["test"]
    place = min(_timed(lambda: steps.judged(0, len(pixels))) for _ in range(2)) / len(pixels)
    return {"start": one * learnt, "validation": place, "evaluation": one * count["test"] / judged + place}


def _timed(work) -> float:
    import torch

    began = time.perf_counter()
    with torch.no_grad():
        work()
    return time.perf_counter() - began


def _mean_step(steps) -> float:
    """Seconds of a training step: the mean over all stages, and over what is made between them."""
    early, late, making = costs = steps.method.costs()
    if costs == (1.0, 1.0, 0.0):
        return _step(steps)
    steps.method.way, share, r = 0.0, steps.method.begins, steps.recipe
    images = steps.batches.batch * steps.batches.steps * (r.epochs + r.fine_epochs)
    return _step(steps) * (share + (1 - share) * late / early + making / early / images)


def _step(steps) -> float:
    """Seconds of a training step, after one to warm up: of those at a stretch that went fastest.

    What else a machine does can only make steps slower. The learning rate is 0: the weights stay as they are.
    """
    import torch

    batches = itertools.chain.from_iterable(steps.batches.epoch(epoch) for epoch in itertools.count())
    steps.method.train()

    def take(count: int) -> float:
        began = time.perf_counter()
        for x, y in itertools.islice(batches, count):
            steps.learn(x, y, 0.0)
        if steps.device.type != "cpu":  # where steps are only queued until somebody waits for them
            torch.accelerator.synchronize(steps.device)
        return time.perf_counter() - began

    count = FEWEST if take(1) < SLOW else 1
    best, spent = math.inf, 0.0
    while spent < SPAN:
        took = take(count)
        best, spent = min(best, took / count), spent + took
        count = max(FEWEST, min(2 * count, int((SPAN - spent) / best)))
    return best


def _forward(network, pixels) -> tuple[float, int]:
    """Seconds for an image through the network, and the width of the features that it gives."""
    from cac_core.results.evaluate import BATCH

    times = []
    while not times or (len(times) < 4 and sum(times) < SPAN / 2):
        began = time.perf_counter()
        features = network.outputs(pixels[:BATCH])[1]
        times.append((time.perf_counter() - began) / len(features))
    return min(times), features.shape[1]


class _Memory:
    """While open, looks every few milliseconds how much this process holds; most: above what it held when opened."""

    def __enter__(self):
        self.process, self.end, self.most = psutil.Process(), threading.Event(), 0
        self.before = self.process.memory_info().rss
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def look(self) -> None:
        self.most = max(self.most, self.process.memory_info().rss - self.before)

    def _watch(self) -> None:
        while not self.end.wait(0.01):
            self.look()

    def __exit__(self, *_):
        self.end.set()


# --- as a process of its own -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Probing:
    """A probe that was begun: its process, what it says, the file that it will leave, and since when it goes on."""

    file: Path
    process: Any
    said: IO[bytes]
    began: float

    @property
    def going(self) -> bool:
        return self.process.poll() is None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def end(self) -> None:
        """Kill it; what has ended stays as it is."""
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()

    def complaint(self) -> str:
        """Why it left nothing: its own words, or how it ended."""
        self.said.seek(0)
        lines = self.said.read().decode("utf-8", "replace").splitlines()
        error = [n for n, line in enumerate(lines) if line.startswith("error: ")]
        if error:
            return "\n".join(lines[error[-1] :]).removeprefix("error: ")
        if code := self.process.poll():
            return say("It ended without a word ({code}): killed, or out of memory. Try a smaller batch.", code=code)
        return say("The images have changed meanwhile.")


def begin(arguments: list[str], file: Path) -> Probing:
    """Start `python -m cac_core probe` with the options of a recipe; file is where file_of says it will be kept."""
    said = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process is
    environment = worker.environment() | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # the order in which devices are listed
    command = [sys.executable, "-m", "cac_core", "probe", *arguments]
    return Probing(file, worker.detached(command, said, environment), said, time.monotonic())
