"""What the pages of Train share: what is here of each data set, estimates, the queue, and the charts of a training.

Everything is read behind a look at the file's time and size, so that a page that looks again every two seconds reads
only what has changed. E epochs, N images, C classes.
"""

import dataclasses
import itertools
import math
import re
import shlex
import socket
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import charts, shared
from app.words import phrases, t
from cac_core import recipe, runs
from cac_core.data import datasets, sources
from cac_core.data.datasets import Dataset, Trial
from cac_core.exchange import own_data
from cac_core.jobs import launch
from cac_core.recipe import Recipe
from cac_core.runs import Run
from cac_core.training import probe

MANY = 60  # runs that are started in one go, at most
PICTURES = 6  # of each class that are shown
OWN = phrases(("an image folder of your own", "yours"))  # about a data set, and its licence
LOOK = shared.LOOK | {
    "queued": ("gray", ":material/schedule:"),
    "stopping": ("orange", ":material/stop:"),
}


def store() -> Path:
    return runs.store_of().absolute()


def root() -> Path:
    return datasets.root_of().absolute()


def badge(state: str) -> None:
    colour, icon = LOOK.get(state, ("gray", ":material/help:"))
    st.badge(shared.plain(t(state)), color=colour, icon=icon)


def span(seconds: float) -> str:
    """A time in words: 40 s, 3 min, 2 h 5 min, 1.5 days."""
    if seconds < 90:
        return t("{s:.0f} s", s=seconds)
    minutes = round(seconds / 60)
    if minutes < 90:
        return t("{m} min", m=minutes)
    if minutes < 48 * 60:
        return t("{h} h {m} min", h=minutes // 60, m=minutes % 60)
    return t("{d:.1f} days", d=minutes / 1440)


def megabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.{1 if count < 1e7 else 0}f} MB"


# --- data sets -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shelf:
    """What is here of a data set: bytes on disk, and where it is missing, why and how to get it."""

    name: str
    own: bool
    size: int
    missing: str
    about: str
    licence: str


def shelves() -> list[Shelf]:
    """All data sets and image folders. Looked at again after ten minutes, or after look_again()."""
    with st.spinner(t("Looking at the data folder…")):
        return _shelves(str(root()))


def look_again() -> None:
    _shelves.clear()


@st.cache_data(ttl=600, max_entries=4, show_spinner=False)
def _shelves(root: str) -> list[Shelf]:
    found = []
    for name in (*datasets.DATASETS, *datasets.folders(Path(root))):
        about, licence = sources.ABOUT.get(name, OWN)
        files, missing = datasets.here(name, Path(root))
        size = sum(file.stat().st_size for file in files)
        found.append(Shelf(name, name not in datasets.DATASETS, size, missing, about, licence))
    return found


def by_hand(name: str) -> list[str]:
    """Where to put the files of a data set, one sentence for each of its sources."""
    parts = datasets.NEEDS.get(name, (name,))
    return [sources.BY_HAND[part].format(root=root()) for part in parts if part in sources.BY_HAND]


def row(name: str) -> Dataset:
    """The row of a data set; of one that is not here, what is known without its files."""
    try:
        return datasets.row_of(name, root())
    except FileNotFoundError:
        return datasets.DATASETS[name]


def samples(name: str) -> tuple[dict[int, np.ndarray], dict[str, int]] | str:
    """Some images [n, H, W, C] of each class, and how many there are of each part; or why there is nothing to see."""
    if name not in datasets.DATASETS or name == "digits":
        with shared.explained():
            datasets.load(name, root())  # small; kept decoded
    kept = _decoded(name)
    if kept is None:
        return t("Its images can be seen here after the first training has read them.")
    with st.spinner(t("Reading the images…")):
        return _samples(str(kept), kept.stat().st_mtime_ns)


def _decoded(name: str) -> Path | None:
    """The file of a data set's decoded images, where it has been read once."""
    found = list((root() / ".cache").glob(f"{name}-{row(name).size}.*.npz"))
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


@st.cache_data(max_entries=8, show_spinner=False)
def _samples(file: str, stamp: int) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    with zipfile.ZipFile(file) as stored:
        names = set(stored.namelist())
        parts = [p for p in ("train", "test", "all") if f"{p}_pixels.npy" in names]
        found, counts = {}, {}
        for part in parts:
            with stored.open(f"{part}_classes.npy") as content:
                classes = np.lib.format.read_array(content)
            counts[part] = len(classes)
            fresh = [c for c in np.unique(classes) if c not in found]
            first = {int(c): np.flatnonzero(classes == c)[:PICTURES] for c in fresh}
            found |= _rows_of(stored, f"{part}_pixels.npy", first) if first else {}
    return found, counts


def _rows_of(stored: zipfile.ZipFile, member: str, wanted: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Some rows of an array in an .npz, read in passing: the whole may be larger than the memory."""
    with stored.open(member) as content:
        version = np.lib.format.read_magic(content)
        assert version == (1, 0), version
        shape, _, dtype = np.lib.format.read_array_header_1_0(content)
        size, at, rows = int(np.prod(shape[1:])) * dtype.itemsize, 0, {}
        for place in sorted(int(i) for some in wanted.values() for i in some):
            while at < place:
                at += len(content.read(min(place - at, 4096) * size)) // size
            rows[place] = np.frombuffer(content.read(size), dtype).reshape(shape[1:])
            at += 1
    return {c: np.stack([rows[int(i)] for i in some]) for c, some in wanted.items()}


def fetch(name: str) -> None:
    """Put a download into the queue; it goes on beside what is trained, and trainings of its images wait for it."""
    launch.submit(store(), "fetch", ["fetch", name, "--data", str(root())])
    launch.ensure_worker(store())


def fetching(name: str) -> launch.Job | None:
    """The last download of a data set that waits, runs or went wrong."""
    mine = [j for j in launch.jobs(store()) if j.kind == "fetch" and j.arguments[1:2] == (name,)]
    return mine[-1] if mine and mine[-1].state != "finished" else None


def going(job: launch.Job | None) -> bool:
    return job is not None and (job.state == "queued" or job.state in launch.UNDER_WAY)


# --- trials ----------------------------------------------------------------------------------------------------------


def published(name: str) -> dict[tuple[str, str], Trial]:
    """The published trials of a data set: (family, index) -> trial."""
    mine, found = row(name), {}
    for family, lists in datasets.published().items():
        for index in range(len(lists.get(mine.trials or "", []))):
            given = Recipe(dataset=name, family=family, trial=str(index))
            found[family, str(index)] = datasets.trial_of(given, mine)
    return found


def kept(name: str) -> dict[tuple[str, str], Trial]:
    """The trials that users have kept for a data set."""
    every = own_data.trials(root(), name, row(name))
    return {("custom", index): trial for index, trial in every.items() if isinstance(trial, Trial)}


def trial_name(key: tuple[str, str]) -> str:
    family, index = key
    return t("yours: {name}", name=index) if family == "custom" else t("{family}, trial {n}", family=family, n=index)


def openness(trial: Trial) -> str:
    return t(
        "{known} known, {unknown} unknown classes · openness {share}",
        known=len(trial.known), unknown=len(trial.unknown), share=charts.percent(trial.openness),
    )  # fmt: skip


# --- recipes ---------------------------------------------------------------------------------------------------------


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
        if kind is int and dash and low.isdigit() and high.isdigit() and int(high) - int(low) < 1000:
            found += range(int(low), int(high) + 1)
            continue
        try:
            found.append(kind(word))
        except ValueError as error:
            raise ValueError(t("“{word}” is no such number. Several are written: 1, 5, 10", word=word[:40])) from error
    if not found:
        raise ValueError(t("Say at least one number."))
    return list(dict.fromkeys(found))


def command(preset: str, one: Recipe) -> str:
    """The command line that trains this recipe."""
    return shlex.join(["python", "-m", "cac_core", "train", *flags(preset, one)])


def flags(preset: str, one: Recipe) -> list[str]:
    """What says this recipe on a command line, by what differs from the preset."""
    base = recipe.compose(preset, dataset=one.dataset, method=one.method, backbone=one.backbone)
    line = ["--dataset", one.dataset]
    if one.family == "custom":
        line += ["--trial", str(root() / own_data.TRIALS / f"{one.trial}.json")]
    else:
        line += ["--family", one.family, "--trial", one.trial]
    line += ["--method", one.method, "--backbone", one.backbone, "--preset", preset, "--seed", str(one.seed)]
    said = {"dataset", "family", "trial", "method", "backbone", "seed", "hyper", "trunk", "known", "unknown"}
    for field in dataclasses.fields(one):
        if field.name not in said and (value := getattr(one, field.name)) != getattr(base, field.name):
            line += [f"--{field.name.replace('_', '-')}", f"{value}"]
    defaults = recipe.method_options(one.method) | recipe.backbone_options(one.backbone)
    here, there = (defaults | r.hyper | r.trunk for r in (one, base))
    for name, value in here.items():
        if value != there[name]:
            line += [f"--{name.replace('_', '-')}", str(value).lower() if isinstance(value, bool) else str(value)]
    return line


# --- what it will take -----------------------------------------------------------------------------------------------


def probes(every: list[Recipe], trials: dict[str, Trial], device: str) -> dict[Path, list[Recipe]]:
    """Where what a probe measures is kept, with the recipes that it serves: seeds and weights of a loss share one."""
    found: dict[Path, list[Recipe]] = {}
    on_disk = {shelf.name: shelf.size for shelf in shelves()}
    rows = {name: row(name) for name in {one.dataset for one in every}}
    for one in every:
        file = probe.file_of(store(), one, trials[one.id], rows[one.dataset], on_disk[one.dataset], device)
        found.setdefault(file, []).append(one)
    return found


def begin_probe(preset: str, one: Recipe, file: Path, device: str) -> probe.Probing:
    """Start to measure what this recipe takes; file is where probes says it will be kept."""
    where = ["--device", device, "--runs", str(store()), "--data", str(root())]
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
    mine = {job.run for job in launch.jobs(store()) if job.kind == "train" and job.host == host}
    found: dict[tuple, Measured] = {}
    for run in runs.every(store()):
        file = run.path / "events.jsonl"
        if not file.exists() or not (run.path / "report.json").exists():
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


# --- the queue -------------------------------------------------------------------------------------------------------


@st.cache_data(ttl=300, max_entries=1, show_spinner=False)
def devices() -> list[str]:
    return list(launch.devices())


def waiting(every: list[launch.Job]) -> list[launch.Job]:
    """What is queued, in the order in which it is taken."""
    return sorted((j for j in every if j.state == "queued"), key=lambda j: (-j.priority, j.id))


def moved(queue: list[launch.Job], job: launch.Job, by: int) -> dict[str, int]:
    """The priorities that change when a queued job moves by so many places towards the end: job id -> priority."""
    ids = [one.id for one in queue]
    place = ids.index(job.id)
    order = [one for one in queue if one.id != job.id]
    order.insert(max(place + by, 0), job)
    wanted = {one.id: len(order) - n for n, one in enumerate(order)}
    return {one.id: wanted[one.id] for one in queue if wanted[one.id] != one.priority}


def start(every: list[Recipe], device: str) -> int:
    """Put the training of each into the queue, of those that have not ended; how many."""
    left = [one for one in every if Run(store() / one.id).state != "finished"]
    for one in left:
        launch.submit_recipe(store(), one, root=root(), device=device)
    if left:
        launch.ensure_worker(store())
    return len(left)


def go_on(job: launch.Job | None, run: Run | None) -> None:
    """Back into the queue with what stopped, failed or was lost, begun here or elsewhere."""
    if job is not None:
        launch.resume(job)
    else:
        launch.submit_recipe(store(), run.recipe, root=root(), device=slot(run))
    launch.ensure_worker(store())


def smaller(run: Run, reason: str) -> Recipe | None:
    """The recipe in the batch that a run's last words propose where its memory did not suffice; else None."""
    proposed = re.search(r"--batch (\d+)", reason) if reason.startswith("Out of memory") else None
    return dataclasses.replace(run.recipe, batch=int(proposed[1])) if proposed else None


def slot(run: Run) -> str:
    """The device that a run was on, as the queue names it; the processor where it is not here."""
    device = str(run.status.get("device", "cpu"))
    device = "cuda:0" if device == "cuda" else device
    return device if device in devices() else "cpu"


def stop_waiting() -> None:
    """Take everything out of the queue that has not begun."""
    for job in waiting(launch.jobs(store())):
        launch.stop(job)


def stop(job: launch.Job | None, run: Run | None) -> None:
    if job is not None:
        launch.stop(job)
    else:
        runs.write(run.path / "stop", "")


# --- one training ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """How a training went so far: epochs [E], terms {(split, name): [E]}, learning rate [E], the last event, the best
    epoch, and the most memory that it took, in bytes (0: not told)."""

    epochs: tuple[int, ...]
    terms: dict[tuple[str, str], tuple[float, ...]]
    lr: tuple[float, ...]
    last: dict[str, Any]
    best: int
    memory: int


def course(run: Run) -> Course | None:
    """None before the first sign of life."""
    try:
        stat = (run.path / "events.jsonl").stat()
    except OSError:
        return None
    return _course(str(run.path), stat.st_mtime_ns, stat.st_size)


@st.cache_data(max_entries=16, show_spinner=False)
def _course(path: str, stamp: int, size: int) -> Course | None:
    run = Run(Path(path))
    events, epochs = run.events(), run.epochs()
    if not events:
        return None
    names = dict.fromkeys(
        (split, name) for e in epochs for split in ("train", "validation") for name in e.get(split, {})
    )
    terms = {(s, n): tuple(e.get(s, {}).get(n, math.nan) for e in epochs) for s, n in names}
    last = max(events, key=lambda event: event.get("time", 0))
    return Course(
        tuple(e["epoch"] for e in epochs), terms, tuple(e.get("lr", math.nan) for e in epochs), last,
        epochs[-1].get("best_epoch", 0) if epochs else 0, max((e.get("memory", 0) for e in epochs), default=0),
    )  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """Validation logits on the wheel: places [N, 2] and labels [N], class means on the wheel [C, 2], the epoch."""

    xy: np.ndarray
    labels: np.ndarray
    means: np.ndarray
    anchors: bool
    epoch: int


def snapshot(run: Run) -> Snapshot | None:
    """The newest one of a training."""
    try:
        stamp = (run.path / "snapshots.npz").stat().st_mtime_ns
    except OSError:
        return None
    return _snapshot(str(run.path), stamp)


@st.cache_data(max_entries=8, show_spinner=False)
def _snapshot(path: str, stamp: int) -> Snapshot | None:
    run = Run(Path(path))
    stored = run.snapshots()
    if not stored:
        return None
    logits, labels, given = stored["logits"][-1].astype(np.float64), stored["labels"].astype(int), run.recipe
    count = logits.shape[1]
    means = np.stack([logits[labels == c].mean(0) if (labels == c).any() else np.zeros(count) for c in range(count)])
    alpha = (recipe.method_options(given.method) | given.hyper).get("alpha")
    anchors = None if alpha is None else float(alpha) * np.eye(count)
    frame = charts.wheel_frame(means, anchors)
    return Snapshot(
        charts.on_wheel(logits, *frame), labels, charts.on_wheel(means, *frame), anchors is not None,
        int(stored["epochs"][-1]),
    )  # fmt: skip


def status(run: Run) -> dict[str, Any]:
    """status.json, read again only where it has changed or its process could have gone."""
    try:
        stamp = (run.path / "status.json").stat().st_mtime_ns
    except OSError:
        return run.status
    said = _status(str(run.path), stamp)
    return run.status if said["state"] in runs.ALIVE else said


@st.cache_data(max_entries=1000, show_spinner=False)
def _status(path: str, stamp: int) -> dict[str, Any]:
    return Run(Path(path)).status


def sound(run: Run) -> bool:
    """Whether the run can be shown."""
    try:
        return _sound(str(run.path), (run.path / "recipe.json").stat().st_mtime_ns)
    except OSError:
        return False


@st.cache_data(max_entries=1000, show_spinner=False)
def _sound(path: str, stamp: int) -> bool:
    return not Run(Path(path)).problem()


def log_of(job: launch.Job | None, run: Run | None) -> str:
    """The last lines of what a job or, without one, a training has said."""
    if job is not None and (said := launch.log(job, last=40)):
        return said
    try:
        return "\n".join((run.path / "log.txt").read_text("utf-8", "replace").splitlines()[-40:]) if run else ""
    except OSError:
        return ""


# --- charts ----------------------------------------------------------------------------------------------------------


def curves(
    epochs: tuple[int, ...],
    lines: dict[str, tuple[tuple[float, ...], int, bool]],
    palette: charts.Palette,
    total: int,
    *,
    log: bool = False,
    share: bool = False,
    best: int = 0,
) -> dict[str, Any]:
    """Values by epoch: name -> (values, number of its colour, dashed). share: in per cent; best: the marked epoch."""
    series = [
        {
            "type": "line", "name": name, "showSymbol": len(epochs) < 3, "symbolSize": 5,
            "lineStyle": {"color": palette.of(colour), "width": 2, "type": "dashed" if dashed else "solid"},
            "itemStyle": {"color": palette.of(colour)},
            "data": [[e, _shown(v, share)] for e, v in zip(epochs, values, strict=True)],
        }
        for name, (values, colour, dashed) in lines.items()
    ]  # fmt: skip
    if best and series:
        series[0]["markLine"] = {
            "symbol": "none", "silent": True, "animation": False,
            "lineStyle": {"color": palette.text, "type": "dotted", "width": 1},
            "label": {"formatter": t("best"), "color": palette.text, "position": "end"},
            "data": [{"xAxis": best}],
        }  # fmt: skip
    axis = {"axisLabel": {"hideOverlap": True}, "splitNumber": 4, "splitLine": {"lineStyle": {"color": palette.faint}}}
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "confine": True},
        "legend": {"bottom": 0, "itemHeight": 8, "itemWidth": 22, "show": len(series) > 1},
        "grid": {"left": 52, "right": 16, "top": 22, "bottom": 96 if len(series) > 1 else 40, **charts.EXACT},
        "xAxis": {"type": "value", "min": 0, "max": reach(epochs, total), "minInterval": 1, "name": t("epoch"),
                  "nameLocation": "middle", "nameGap": 24, "splitLine": {"show": False}},
        "yAxis": axis | ({"type": "log"} if log else {"type": "value", "scale": True, "max": 100 if share else None}),
        "series": series,
    }  # fmt: skip


def reach(epochs: tuple[int, ...], total: int) -> int:
    """Where the axis of epochs ends: it doubles as a long training goes on, so that its beginning can be seen."""
    end = 10
    while end < max(epochs, default=0):
        end *= 2
    return max(min(end, total), 1)


def _shown(value: float, share: bool) -> float | None:
    return None if not math.isfinite(value) else round(100 * value, 2) if share else float(f"{value:.5g}")


def wide(values: list[float]) -> bool:
    """Whether values are told apart on a logarithmic axis only."""
    positive = [v for v in values if math.isfinite(v)]
    return bool(positive) and min(positive) > 0 and max(positive) > 30 * min(positive)


def loss_curves(said: Course, palette: charts.Palette, total: int) -> dict[str, Any]:
    names = list(dict.fromkeys(n for _, n in said.terms if n != "accuracy"))
    lines = {
        f"{t(name)}, {t(split)}": (said.terms[split, name], n, split == "validation")
        for n, name in enumerate(names) for split in ("train", "validation") if (split, name) in said.terms
    }  # fmt: skip
    every = [v for values, *_ in lines.values() for v in values]
    return curves(said.epochs, lines, palette, total, log=wide(every), best=said.best)


def accuracy_curve(said: Course, palette: charts.Palette, total: int) -> dict[str, Any]:
    lines = {f"{t('accuracy')}, {t(split)}, %": (values, 2, False) for (split, name), values in said.terms.items()
             if name == "accuracy"}  # fmt: skip
    return curves(said.epochs, lines, palette, total, share=True)


def rate_curve(said: Course, palette: charts.Palette, total: int) -> dict[str, Any]:
    return curves(said.epochs, {t("learning rate"): (said.lr, 1, False)}, palette, total)


def cloud(said: Snapshot, names: list[str], palette: charts.Palette) -> dict[str, Any]:
    """The wheel of a snapshot; every image of it is of a known class, and none is rejected yet."""
    words = [names[label] for label in said.labels]
    every = charts.Cloud(said.xy, said.labels, np.zeros(len(said.labels), bool), words)
    return charts.wheel(every, names, said.means, said.anchors, palette)


def strip(pixels: np.ndarray, side: int = 56) -> Image.Image:
    """Images [n, H, W, C] in a row, enlarged."""
    gap = 4
    sheet = Image.new("RGBA", (len(pixels) * (side + gap) - gap, side), (0, 0, 0, 0))
    for n, image in enumerate(pixels):
        sheet.paste(shared.enlarged(image, side), (n * (side + gap), 0))
    return sheet


def pixel_note(name: str) -> str:
    mine = row(name)
    colour = t("colour") if mine.channels == 3 else t("grey")
    return t("{side} × {side} pixels, {colour}", side=mine.size, colour=colour)
