"""The course of a training: its state, losses by epoch, logits on the wheel, and their charts.

Everything is read behind a look at the file's time and size, so that a page that looks again every two seconds reads
only what has changed. E epochs, N images, C classes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import charts, picker
from app.words import phrases, t
from cac_core import recipe, runs
from cac_core.runs import Run

SYMBOLS = 12  # of a line, at most
PARTS = phrases({"net": "classifier", "rebuilt": "encoder and generator", "critic": "critic"})  # that have losses
TERMS = phrases({  # of the losses of all methods: a word, and what it is
    "total": ("total", "what is minimised: the terms, each by its weight"),
    "tuplet": ("tuplet", "cross-entropy of a softmax on the distances to the anchors, the smallest for the own class"),
    "anchor": ("anchor", "distance to the anchor of the own class"),
    "softmax": ("cross-entropy", "of the softmax over the known classes"),
    "one_vs_rest": ("one against the rest", "each class's logit is to be above 0 for its own images, below for others"),
    "known": ("known images", "cross-entropy of K + 1 classes, of which the true one is to win"),
    "unknown": ("made images", "cross-entropy of K + 1 classes, of which that of the unknowns is to win"),
    "placeholder": ("placeholder", "cross-entropy without the true class: the placeholder is to come second"),
    "mixed": ("mixed images", "cross-entropy of K + 1 classes, of which the placeholder is to win"),
    "outlier": ("virtual outliers", "images are to be told from them by the energy"),
    "reconstruction": ("reconstruction", "mean squared error of the rebuilt image"),
    "contrast": ("contrast", "images of one class are to be nearer to each other than to those of others"),
    "compactness": ("compactness", "cross-entropy of the cosines to the prototypes: images are to be near their own"),
    "dispersion": ("dispersion", "the lower, the farther the prototypes are from one another"),
    "prototype": ("prototypes", "cross-entropy of the cosines to them"),
    "rebuilt_total": ("generator, total", "what encoder and generator minimise: the pixels less the critic's word"),
    "rebuilt_away": ("pixels", "mean distance between those of an image and of the rebuilt one"),
    "critic_total": ("critic, total", "what the critic minimises: real images are to score above made ones"),
    "critic_penalty": ("slope", "what is added where the critic is too steep, or too flat"),
})  # fmt: skip
STAGES = phrases({  # by the method, what the last stage of a training learns
    "osrci": "known classes, and one more of all that is unknown",
    "g_openmax": "known classes, and one more of all that is unknown",
    "proser": "a placeholder, and images that are mixed of two",
    "vos": "to tell images from virtual outliers",
})  # fmt: skip


@dataclass(frozen=True)
class Course:
    """How a training went so far: epochs [E], terms {(split, name): [E]}, learning rate [E], the last event, the best
    epoch, the most memory that it took, in bytes (0: not told), what it said that somebody should know, and the first
    epoch of the last stage (0: there is one stage, or it has yet to begin)."""

    epochs: tuple[int, ...]
    terms: dict[tuple[str, str], tuple[float, ...]]
    lr: tuple[float, ...]
    last: dict[str, Any]
    best: int
    memory: int
    warnings: tuple[str, ...] = ()
    turn: int = 0

    @property
    def parts(self) -> list[str]:
        """What learns here: the classifier, and where images are made what makes them."""
        return [part for part in PARTS if part == "net" or any(_part(name) == part for _, name in self.terms)]


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
    early = [e for e in epochs if e.get("best_epoch", 0) < 0]  # none of them can be the best
    return Course(
        tuple(e["epoch"] for e in epochs), terms, tuple(e.get("lr", math.nan) for e in epochs), last,
        epochs[-1].get("best_epoch", 0) if epochs else 0, max((e.get("memory", 0) for e in epochs), default=0),
        tuple(run.warnings()),
        len(early) + 1 if 0 < len(early) < len(epochs) and run.recipe.method in STAGES else 0,
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
    return not picker.problem_of(run)


def term(name: str) -> str:
    """A term of a loss, in words."""
    return t(TERMS[name][0]) if name in TERMS else name


def _part(name: str) -> str:
    return next((part for part in PARTS if name.startswith(f"{part}_")), "net")


def curves(
    epochs: tuple[int, ...],
    lines: dict[str, tuple[tuple[float, ...], int, bool]],
    palette: charts.Palette,
    total: int,
    *,
    log: bool = False,
    share: bool = False,
    marks: dict[str, float] | None = None,
    legend: bool = True,
) -> dict[str, Any]:
    """Values by epoch: name -> (values, number of its colour and its shape, dashed). share: in per cent; marks: epochs
    at which a line stands, by what is said there."""
    every = math.ceil(len(epochs) / SYMBOLS) or 1

    def point(n: int, epoch: int, value: float, number: int) -> Any:
        place = [epoch, _shown(value, share)]
        return place if n % every == number % every else {"value": place, "symbol": "none"}

    series = [
        {
            "type": "line", "name": name, "symbol": charts.SHAPES[number % len(charts.SHAPES)], "symbolSize": 6,
            "lineStyle": {"color": palette.of(number), "width": 2, "type": "dashed" if dashed else "solid"},
            "itemStyle": {"color": palette.of(number)},
            "data": [point(n, e, v, number) for n, (e, v) in enumerate(zip(epochs, values, strict=True))],
        }
        for name, (values, number, dashed) in lines.items()
    ]  # fmt: skip
    end, rows = reach(epochs, total), charts.ROW * len(series) if legend else 0
    if marks and series:
        series[0]["markLine"] = {
            "symbol": "none", "silent": True, "animation": False,
            "lineStyle": {"color": palette.text, "type": "dotted", "width": 1},
            "data": [{"xAxis": at,
                      "label": {"formatter": name, "color": palette.text, "position": "end", "distance": 5 + 15 * row,
                                "align": "right" if 2 * at > end else "left"}}
                     for row, (name, at) in enumerate(marks.items())],
        }  # fmt: skip
    axis = {"axisLabel": {"hideOverlap": True}, "splitNumber": 4, "splitLine": {"lineStyle": {"color": palette.faint}}}
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "confine": True},
        "legend": charts.below(26) | {"show": legend},
        "grid": {"left": 52, "right": 16, "top": 12 + 15 * len(marks or ()), "bottom": 46 + rows, **charts.EXACT},
        "xAxis": {"type": "value", "min": 0, "max": end, "minInterval": 1, "name": t("epoch"),
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


def loss_curves(said: Course, palette: charts.Palette, total: int, part: str = "net") -> dict[str, Any]:
    """The terms of what one part learns; one that is all of the total, wherever it is, would only lie on it."""
    whole = "total" if part == "net" else f"{part}_total"
    names = dict.fromkeys(name for _, name in said.terms if name != "accuracy" and _part(name) == part)
    drawn = {
        (name, split): said.terms[split, name] for name in names for split in ("train", "validation")
        if (split, name) in said.terms and (name == whole or not _within(said.terms, split, name, whole))
    }  # fmt: skip
    numbers = {name: n for n, name in enumerate(dict.fromkeys(name for name, _ in drawn))}
    lines = {
        f"{term(name)}, {t(split)}": (values, numbers[name], split == "validation")
        for (name, split), values in drawn.items()
    }
    every = [v for values, *_ in lines.values() for v in values]
    marks = _turn(said) | ({t("best"): said.best} if said.best > 0 and part == "net" else {})
    return curves(said.epochs, lines, palette, total, log=wide(every), marks=marks)


def explained(said: Course, parts: list[str]) -> str:
    """What each term is that these parts learn by, as a list."""
    every = dict.fromkeys(name for _, name in said.terms if name in TERMS)
    names = sorted(every, key=lambda name: parts.index(_part(name)))
    return "\n".join(f"- **{term(name)}**: {t(TERMS[name][1])}" for name in names)


def last(option: dict[str, Any]) -> dict[str, float]:
    """Where the lines of such a chart end that reach its end, by their names."""
    ends = {line["name"]: line["data"][-1] for line in option["series"]}
    places = {name: end["value"] if isinstance(end, dict) else end for name, end in ends.items()}
    return {name: value for name, (_, value) in places.items() if value is not None}


def _within(terms: dict[tuple[str, str], tuple[float, ...]], split: str, name: str, whole: str) -> bool:
    pairs = zip(terms[split, name], terms.get((split, whole), ()), strict=False)
    return all(mine == its or math.isnan(mine) for mine, its in pairs)


def _turn(said: Course) -> dict[str, float]:
    """The mark between the last two stages."""
    return {t("last stage"): said.turn - 0.5} if said.turn else {}


def accuracy_curve(said: Course, palette: charts.Palette, total: int) -> dict[str, Any]:
    lines = {f"{t('accuracy')}, {t(split)}, %": (values, 2, False) for (split, name), values in said.terms.items()
             if name == "accuracy"}  # fmt: skip
    return curves(said.epochs, lines, palette, total, share=True, marks=_turn(said), legend=False)


def rate_curve(said: Course, palette: charts.Palette, total: int) -> dict[str, Any]:
    return curves(said.epochs, {t("learning rate"): (said.lr, 1, False)}, palette, total, legend=False)


def cloud(said: Snapshot, names: list[str], palette: charts.Palette) -> dict[str, Any]:
    """The wheel of a snapshot; every image of it is of a known class, and none is rejected yet."""
    words = [names[label] for label in said.labels]
    every = charts.Cloud(said.xy, said.labels, np.zeros(len(said.labels), bool), words)
    return charts.wheel(every, names, said.means, said.anchors, palette)
