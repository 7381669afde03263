"""What was judged in use, as Watch shows it: read once for each state of its file; its charts."""

import datetime
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import charts
from app.charts import Palette, Scale
from app.words import t
from cac_core.files import changed
from cac_core.serving import watch
from cac_core.serving.watch import Drift, Hour, Kept

STRETCHES = {"hour": 3600.0, "day": 86400.0}
BINS = 32


def kept(store: Path, run: str, version: str | None) -> Kept | None:
    return _kept(str(store), run, version, _stamp(store, run))


@st.cache_resource(max_entries=8, show_spinner=False)
def _kept(store: str, run: str, version: str | None, stamp: tuple[int, int]) -> Kept | None:
    return watch.read(Path(store), run, version)


def _stamp(store: Path, run: str) -> tuple[int, int]:
    """Of the file, and of what stands beside it that has not come into it yet."""
    file = watch.file_of(store, run)
    return changed(file), changed(file.with_name(f"{file.name}-wal"))


def drifts(store: Path, run: str, version: str | None, kept: Kept) -> tuple[Drift, Drift]:
    """Of the scores, and of what was rejected."""
    return _drifts(str(store), run, version, _stamp(store, run), kept)


@st.cache_resource(max_entries=16, show_spinner=False)
def _drifts(store: str, run: str, version: str | None, stamp: tuple[int, int], _kept: Kept) -> tuple[Drift, Drift]:
    return watch.drift(_kept.scores), watch.drift(_kept.rejected)


def grouped(store: Path, run: str, version: str) -> list[list[watch.Picture]]:
    """The rejected pictures that are kept, in groups that look alike to the network."""
    return _grouped(str(store), run, version, _stamp(store, run))


@st.cache_resource(max_entries=4, show_spinner=False)
def _grouped(store: str, run: str, version: str, stamp: tuple[int, int]) -> list[list[watch.Picture]]:
    every = watch.pictures(Path(store), run, version)
    vectors = np.stack([one.vector for one in every]) if every else np.zeros((0, 1))
    return [[every[n] for n in group] for group in watch.groups(vectors)]


def zipped(group: list[watch.Picture]) -> bytes:
    """The pictures as they were kept, for the page Data or another program."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for one in group:
            archive.writestr(f"rejected/{one.id}.png", one.png)
    return file.getvalue()


def moment(seconds: float, digits: int = 16) -> str:
    """A time in UTC, to the minute; of 13 characters to the hour, of 10 to the day."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")[:digits]


def by_time(hours: list[Hour], digits: int, palette: Palette) -> dict[str, Any]:
    """The share that was rejected, with its interval as a band."""
    at = [moment(hour.begin, digits) for hour in hours]
    share = [100 * hour.rejected / hour.count for hour in hours]
    low, high = ([100 * getattr(hour, end) for hour in hours] for end in ("low", "high"))
    band = {"type": "line", "stack": "interval", "symbol": "none", "lineStyle": {"opacity": 0}, "silent": True,
            "tooltip": {"show": False}}  # fmt: skip
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "confine": True},
        "grid": {"top": 20, "bottom": 56, "left": 60, "right": 20},
        "xAxis": {"type": "category", "data": at, "axisLabel": {"hideOverlap": True}},
        "yAxis": {"type": "value", "name": t("rejected, %"), "nameLocation": "middle", "nameGap": 40, "min": 0,
                  "max": 100},
        "series": [
            band | {"data": low},
            band | {"data": [b - a for a, b in zip(low, high, strict=True)],
                    "areaStyle": {"color": palette.unknown, "opacity": 0.2}},
            {"type": "line", "name": t("rejected, %"), "data": [round(value, 2) for value in share], "symbolSize": 7,
             "lineStyle": {"color": palette.unknown}, "itemStyle": {"color": palette.unknown}},
        ],
    }  # fmt: skip


def beside(validation: np.ndarray, judged: np.ndarray, theta: float, name: str, palette: Palette) -> dict[str, Any]:
    """Scores of validation images above, of what was judged below: the share of each that lies in a bin."""
    scale = Scale.of(np.concatenate([validation, judged[judged <= theta]]), judged)
    edges = scale.steps(BINS + 1)

    def steps(title: str, scores: np.ndarray, colour: str, grid: int) -> dict[str, Any]:
        counts = 100 * np.histogram(scale.clip(scores), edges)[0] / max(len(scores), 1)
        return {
            "type": "line", "name": title, "step": "end", "symbol": "none", "xAxisIndex": grid, "yAxisIndex": grid,
            "lineStyle": {"width": 1, "color": colour}, "itemStyle": {"color": colour},
            "areaStyle": {"color": colour, "opacity": 0.7},
            "data": [[float(x), round(float(n), 3)] for x, n in zip(edges, [*counts, counts[-1]], strict=True)],
            "markLine": charts.theta_line(theta, scale, palette, not grid),
        }  # fmt: skip

    height = {"type": "value", "nameLocation": "middle", "nameGap": 40, "name": "%"}
    return {
        "animation": False,
        "tooltip": {"trigger": "axis", "confine": True},
        "legend": {"top": 0, "left": 40, "icon": "rect", "itemHeight": 10},
        "grid": [{"top": 76, "bottom": "46%", "left": 60, "right": 20},
                 {"top": "54%", "bottom": 52, "left": 60, "right": 20}],
        "xAxis": [scale.axis(name) | {"axisLabel": {"show": False}, "name": ""},
                  scale.axis(name) | {"gridIndex": 1, "position": "bottom", "axisLine": {"onZero": False}}],
        "yAxis": [height, height | {"gridIndex": 1, "inverse": True}],
        "series": [steps(t("validation images, all known"), validation, palette.known[0], 0),
                   steps(t("what was judged"), judged, palette.unknown, 1)],
    }  # fmt: skip
