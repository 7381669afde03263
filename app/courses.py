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
from app.words import t
from cac_core import recipe, runs
from cac_core.runs import Run


@dataclass(frozen=True)
class Course:
    """How a training went so far: epochs [E], terms {(split, name): [E]}, learning rate [E], the last event, the best
    epoch, the most memory that it took, in bytes (0: not told), and what it said that somebody should know."""

    epochs: tuple[int, ...]
    terms: dict[tuple[str, str], tuple[float, ...]]
    lr: tuple[float, ...]
    last: dict[str, Any]
    best: int
    memory: int
    warnings: tuple[str, ...] = ()


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
        tuple(run.warnings()),
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
