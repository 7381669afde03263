"""A measure over ODIN's temperature and step, as a table of cells that one takes by a click or by keys."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import streamlit as st

from app import charts
from app.words import phrases, t

HERE = Path(__file__).parent
SIGNS = {"chosen": "▲", "oracle": "★"}
SAID = phrases({"chosen": "chosen without unknowns", "oracle": "oracle, the best on the test unknowns"})

_component = st.components.v2.component(
    "anchorscope_heat",
    html="<div class='frame'><table></table></div>",
    css="""
    .frame { overflow-x: auto; }
    table { border-collapse: separate; border-spacing: 2px; width: 100%; font: inherit; color: var(--st-text-color);
            font-variant-numeric: tabular-nums; font-size: .875rem; }
    th { font-weight: 400; padding: .25rem .375rem; white-space: nowrap; }
    th.across { font-size: .8125rem; }
    th[scope=row] { text-align: end; width: 1%; }
    th[scope=row], th[scope=col]:first-child { position: sticky; left: 0; background: var(--st-background-color); }
    tbody td { padding: 0; height: 2.75rem; min-width: 3.75rem; text-align: center; border-radius: 3px;
         background: color-mix(in srgb, var(--strong) calc(100% * var(--depth)), var(--st-background-color)); }
    tbody td.taken { box-shadow: inset 0 0 0 3px var(--st-text-color); font-weight: 700; }
    button { display: block; width: 100%; height: 100%; min-height: 2.75rem; border: 0; background: none;
             color: inherit; font: inherit; font-variant-numeric: inherit; cursor: pointer; }
    button:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
    """,
    js="\n".join((HERE / name).read_text("utf-8") for name in ("live/theme.js", "live/roving.js", "heat.js")),
)


def show(
    values: np.ndarray, temperatures: list[float], magnitudes: list[float], marks: dict[str, tuple[int, int]],
    picked: tuple[int, int], palette: charts.Palette, key: str, measure: str, better_low: bool = False,
    on_take: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Values [T, E] in cells, rows temperatures, columns magnitudes; the chosen one ▲, the oracle ★, picked in a frame.

    measure: what the values are. on_take: called for a cell that is taken; `taken(key)` says which.
    """
    finite = values[np.isfinite(values)]
    high = float(finite.max()) if len(finite) else 1.0
    low = min(float(finite.min()), high - 0.02) if len(finite) else 0.0  # less than two points is hardly a difference

    def cell(row: int, column: int) -> dict[str, str | float]:
        value = values[row, column]
        depth = 0.5 if not np.isfinite(value) else float((value - low) / (high - low))
        depth = 1 - depth if better_low else depth
        here = [name for name, place in marks.items() if place == (row, column)]
        number = charts.share(value, 2)
        label = t("T = {t:g}, ε = {e:g}: {measure} {value} %", t=temperatures[row], e=magnitudes[column],
                  measure=measure, value=number)  # fmt: skip
        return {
            "said": " ".join([number, *(SIGNS[name] for name in here)]),
            "label": t(", ").join([label, *(t(SAID[name]) for name in here)]),
            "depth": round(0.08 + 0.62 * depth, 3),
        }

    rows = [
        {"name": f"{temperature:g}", "cells": [cell(row, column) for column in range(len(magnitudes))]}
        for row, temperature in enumerate(temperatures)
    ]
    data = {
        "columns": [f"{e:g}" for e in magnitudes], "rows": rows, "picked": picked, "strong": palette.known[0],
        "across": t("ε, of a pixel's range"), "takes": on_take is not None,
        "label": t("{measure} by temperature and step", measure=measure),
    }  # fmt: skip
    _component(key=key, data=data, on_cell_change=on_take or _nothing)


def taken(key: str) -> tuple[int, int] | None:
    """The row and the column of the cell that was taken just now."""
    cell = (st.session_state.get(key) or {}).get("cell")
    return None if cell is None else (int(cell[0]), int(cell[1]))


def _nothing() -> None:
    """Where cells are only read."""
