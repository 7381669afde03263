"""The plan of new runs: recipes out of trials, methods and values, their command lines, and what they will take."""

import dataclasses
import itertools
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import holdings, jobs
from app.words import t
from cac_core import recipe, runs, shell
from cac_core.data.datasets import Trial
from cac_core.exchange import own_data
from cac_core.files import is_file
from cac_core.jobs import launch
from cac_core.jobs.engines import USUAL, Needs
from cac_core.recipe import Recipe
from cac_core.runs import Run
from cac_core.training import probe

MANY = 60  # runs that are started in one go, at most


def product(
    preset: str,
    base: dict[str, Any],
    trials: list[Trial],
    methods: list[str],
    seeds: list[int],
    axes: dict[str, dict[str, list[Any]]],
    trunk: dict[str, Any],
) -> list[Recipe]:
    """Every recipe out of the trials, methods, seeds and values of the methods' options; each once, in this order.

    axes: method -> option -> values. Raises ValueError as compose does, and where there are more than MANY.
    """
    every = {}
    for trial, method in itertools.product(trials, methods):
        mine = axes.get(method, {})
        for values in itertools.product(*mine.values()):
            for seed in seeds:
                own = {"known": trial.known, "unknown": trial.unknown} if trial.family == "custom" else {}
                made = recipe.compose(
                    preset, trunk | dict(zip(mine, values, strict=True)), **base, **own,
                    dataset=trial.dataset, family=trial.family, trial=trial.index, method=method, seed=seed,
                )  # fmt: skip
                every[made.id] = made
                if len(every) > MANY:
                    raise ValueError(t("These are more than {many} runs. Take fewer at a time.", many=MANY))
    return list(every.values())


def numbers(text: str, kind: Callable[[str], Any]) -> list[Any]:
    """Values out of "1, 5 10" and, of whole numbers, "0-4". Raises ValueError that names what is none."""
    found = []
    for word in text.replace(",", " ").split():
        low, dash, high = word.partition("-")
        if kind is int and dash and low.isdecimal() and high.isdecimal() and int(high) - int(low) < 1000:
            found += range(int(low), int(high) + 1)
            continue
        try:
            found.append(kind(word))
        except ValueError as error:
            raise ValueError(t("“{word}” is no such number. Several are written: 1, 5, 10", word=word[:40])) from error
    if not found:
        raise ValueError(t("Say at least one number."))
    return list(dict.fromkeys(found))


def command(preset: str, one: Recipe, on: str = "", needs: Needs | None = None, usual: Needs = USUAL) -> str:
    """The command line that trains this recipe, here or, where needs are given, on that cluster.

    usual: what a job asks for there where nothing is said.
    """
    there = [] if needs is None else ["--on", on, "--cpus", str(needs.cpus), "--gpus", str(needs.gpus)]
    if needs is not None and needs.memory != usual.memory:
        there += ["--memory", f"{needs.memory}M"]
    if needs is not None and needs.minutes != usual.minutes:
        there += ["--time", str(needs.minutes)]
    if needs is not None and needs.nodes != usual.nodes:
        there += ["--nodes", str(needs.nodes)]
    return shell.command("train", *flags(preset, one), *there)


def import_command(run: Run) -> str:
    """The command line that imports this run once more."""
    record, one = run.record, run.recipe
    split = [] if one.family == "custom" else ["--family", one.family, "--trial", one.trial]
    file, name = record["imported_from"], run.id.removeprefix(f"{one.backbone}-")
    if one.backbone == recipe.IMPORTED:
        words = ["import-outputs", file, "--name", name, *(["--of", one.dataset] if one.dataset != name else [])]
    elif one.backbone == recipe.FOREIGN:
        words = ["import-network", file, "--dataset", one.dataset, "--name", name, *split]
        words += [f"--{option}={value}" for option, value in one.trunk.items()]
        words += [word for scale in ("mean", "std") for word in (f"--{scale}", *map(str, record[scale]))]
    else:
        words = ["import-weights", file, "--dataset", one.dataset, *split]
    return shell.command(*words)


def flags(preset: str, one: Recipe) -> list[str]:
    """What says this recipe on a command line, by what differs from the preset."""
    base = recipe.compose(preset, dataset=one.dataset, method=one.method, backbone=one.backbone)
    line = ["--dataset", one.dataset]
    if one.family == "custom":
        line += ["--trial", str(holdings.root() / own_data.TRIALS / f"{one.trial}.json")]
    else:
        line += ["--family", one.family, "--trial", one.trial]
    line += ["--method", one.method, "--backbone", one.backbone, "--preset", preset, "--seed", str(one.seed)]
    said = {"dataset", "family", "trial", "method", "backbone", "seed", "hyper", "trunk", "known", "unknown"}
    counted = recipe.COUNTED.get(preset, ())  # said whatever they are: the command would count the images
    for field in dataclasses.fields(one):
        if field.name not in said and (
            (value := getattr(one, field.name)) != getattr(base, field.name) or field.name in counted
        ):
            line += [f"--{field.name.replace('_', '-')}", f"{value}"]
    defaults = recipe.method_options(one.method) | recipe.backbone_options(one.backbone)
    here, there = (defaults | r.hyper | r.trunk for r in (one, base))
    for name, value in here.items():
        if value != there[name] or name in counted:
            line += [f"--{name.replace('_', '-')}", str(value).lower() if isinstance(value, bool) else str(value)]
    return line


def probes(every: list[Recipe], trials: dict[str, Trial], device: str) -> dict[Path, list[Recipe]]:
    """Where what a probe measures is kept, with the recipes that it serves: seeds and weights of a loss share one."""
    found: dict[Path, list[Recipe]] = {}
    on_disk = {shelf.name: shelf.size for shelf in holdings.shelves()}
    rows = {name: holdings.row(name) for name in {one.dataset for one in every}}
    for one in every:
        file = probe.file_of(jobs.store(), one, trials[one.id], rows[one.dataset], on_disk[one.dataset], device)
        found.setdefault(file, []).append(one)
    return found


def begin_probe(preset: str, one: Recipe, file: Path, device: str) -> probe.Probing:
    """Start to measure what this recipe takes; file is where probes says it will be kept."""
    where = ["--device", device, "--runs", str(jobs.store()), "--data", str(holdings.root())]
    return probe.begin([*flags(preset, one), *where], file)


@dataclass(frozen=True)
class Measured:
    """A finished run as a measure for others: seconds an epoch, known classes, bytes on disk, and where it ran."""

    run: str
    seconds: float
    known: int
    size: int
    device: str
    here: bool


def measures() -> dict[tuple, Measured]:
    """By data set, image side, backbone and kind of device: the last run that tells how long an epoch takes."""
    host = socket.gethostname()
    mine = {job.run for job in launch.jobs(jobs.store()) if job.kind == "train" and job.host == host}
    found: dict[tuple, Measured] = {}
    for run in runs.every(jobs.store()):
        file = run.path / "events.jsonl"
        if not is_file(file) or not is_file(run.path / "report.json"):
            continue
        stat = file.stat()
        measured = _measured(str(run.path), stat.st_mtime_ns, stat.st_size)
        if measured is None:
            continue
        key, one = measured[0], dataclasses.replace(measured[1], here=run.id in mine)
        if key not in found or one.here >= found[key].here:
            found[key] = one
    return found


@st.cache_data(max_entries=500, show_spinner=False)
def _measured(path: str, stamp: int, size: int) -> tuple[tuple, Measured] | None:
    run = Run(Path(path))
    if run.problem():
        return None
    times = [event["time"] for event in run.epochs()]
    if len(times) < 3:
        return None
    given, device = run.recipe, str(run.status.get("device", ""))
    seconds = float(np.median(np.diff(times)))
    bytes_ = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
    key = (given.dataset, given.size, given.backbone, device.split(":")[0])
    return key, Measured(run.id, seconds, len(run.trial.known), bytes_, device, False)


def estimate(every: list[Recipe], trials: dict[str, Trial], device: str) -> tuple[float, float, Measured] | None:
    """Seconds and bytes that all of them take, one after the other, and by what run that is told; None if unknown.

    Epochs go by the images of the known classes. The evaluation at the end is not counted.
    """
    known, seconds, size, one = measures(), 0.0, 0.0, None
    for given in every:
        one = known.get((given.dataset, given.size, given.backbone, device.split(":")[0]))
        if one is None:
            return None
        share = len(trials[given.id].known) / one.known
        seconds += one.seconds * share * (given.epochs + given.fine_epochs)
        size += one.size
    return (seconds, size, one) if one else None
