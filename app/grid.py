"""The papers' tables as grids: data sets across, methods down, what was measured above what was published.

Where a value lies is told by a colour and a shape, and in words. A grid is drawn as a table of buttons; the same lines
make the table view and the page that stands alone.
"""

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import streamlit as st

from app import charts, wording
from app.words import phrases, said, t
from cac_core.results import reproduce
from cac_core.results.reproduce import Cell, Entry, Measured, Tables

KINDS = phrases(
    {
        "above": "above the published value",
        "within": "the published value lies within the interval",
        "below": "below the published value",
        "one": "one trial only: placed nowhere",
        "alone": "several trials, and nothing published beside them",
        "none": "not measured",
    }
)
SHAPES = {"above": "▲", "within": "●", "below": "▼", "one": "◇", "alone": "□", "none": "–"}
CAVEAT = "*"

_component = st.components.v2.component(
    "anchorscope_grid",
    html="<div class='frame'><table></table></div><ul></ul>",
    css="""
    .frame { overflow-x: auto; }
    table { border-collapse: separate; border-spacing: 4px; width: 100%; font: inherit; color: var(--st-text-color); }
    th { font-weight: 600; text-align: left; font-size: .875rem; padding: .25rem .375rem; white-space: nowrap; }
    th:first-child { position: sticky; left: 0; z-index: 1; background: var(--st-background-color); max-width: 11rem; }
    tbody th { white-space: normal; min-width: 5.5rem; }
    th small { display: block; font-weight: 400; opacity: .75; }
    td { padding: 0; min-width: 6.25rem; height: 3.25rem; }
    .above { --mark: var(--above); } .within { --mark: var(--within); } .below { --mark: var(--below); }
    .one, .alone, .none { --mark: var(--other); }
    button { display: grid; grid-template-columns: 1.1rem 1fr; align-items: baseline; align-content: start; width: 100%;
             height: 100%; padding: .375rem; font: inherit; font-size: .875rem; text-align: left; cursor: pointer;
             font-variant-numeric: tabular-nums; color: inherit; border-radius: var(--st-base-radius);
             border: 1px solid var(--st-border-color); border-left: 4px solid var(--mark);
             background: color-mix(in srgb, var(--mark) 13%, transparent); }
    button.one, button.alone { background: transparent; }
    button.none { background: transparent; border-left-style: dotted; }
    button:hover { border-color: var(--st-primary-color); }
    button:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
    button[aria-pressed=true] { outline: 2px solid var(--st-text-color); outline-offset: 1px; }
    button .shape, li .shape { color: var(--mark); }
    button .measured { font-weight: 600; white-space: nowrap; }
    button.none .measured { font-weight: 400; font-size: .8125rem; opacity: .8; }
    button .published { grid-column: 2; font-size: .8125rem; opacity: .85; white-space: nowrap; }
    ul { display: flex; flex-wrap: wrap; gap: .125rem 1.25rem; margin: .375rem 0 0; padding: 0 .25rem; list-style: none;
         font-size: .8125rem; color: var(--st-text-color); }
    li .shape { display: inline-block; width: 1.1rem; }
    """,
    js=(Path(__file__).parent / "grid.js").read_text("utf-8"),
)


@dataclass(frozen=True)
class Square:
    """A place of a grid: a cell, or what is published alone; at least one of the two is there."""

    key: str
    dataset: str
    cell: Cell | None
    entries: tuple[Entry, ...]

    @property
    def measured(self) -> Measured | None:
        return self.cell.first if self.cell else None

    @property
    def kind(self) -> str:
        return kind_of(self.measured, bool(self.entries))

    @property
    def notes(self) -> list[str]:
        """What is to be said of the published values, and what the trainings of the measured one doubted."""
        return [entry["note"] for entry in self.entries if entry.get("note")] + self.doubts

    @property
    def doubts(self) -> list[str]:
        return list(self.measured.warnings) if self.measured else []


@dataclass(frozen=True)
class Line:
    """A method: what it is called, and by which score ours is measured; its squares by data set."""

    name: str
    by: str
    squares: dict[str, Square]


def kind_of(one: Measured | None, published: bool) -> str:
    if one is None:
        return "none"
    if len(one.trials) < 2:
        return "one"
    return one.place or "alone" if published else "alone"


def key_of(cell: Cell) -> str:
    return ".".join((cell.dataset, cell.family, cell.method, cell.scorer))


def lines_of(cells: Iterable[Cell], others: Iterable[Entry]) -> list[Line]:
    """A line for each method and score of these cells, of one family, and for each method that is published alone."""
    found: dict[tuple[str, str], dict[str, Square]] = {}
    for cell in cells:
        line = found.setdefault((cell.method, cell.scorer), {})
        line[cell.dataset] = Square(key_of(cell), cell.dataset, cell, cell.published)
    lines = []
    for (method, scorer), squares in found.items():
        named = next((e["method"] for square in squares.values() for e in square.entries), None)
        by = t("measured by {score}", score=t(wording.SHORT[scorer])) if scorer in wording.SHORT else ""
        lines.append(Line(named or wording.method(method), by, squares))
    alone: dict[str, dict[str, Square]] = {}
    for entry in others:
        key = ".".join((entry["dataset"], entry["family"], entry["method"]))
        alone.setdefault(entry["method"], {})[entry["dataset"]] = Square(key, entry["dataset"], None, (entry,))
    return lines + [Line(name, t("published only"), squares) for name, squares in alone.items()]


def columns_of(lines: Iterable[Line]) -> list[str]:
    order = reproduce.GRID
    every = {name for line in lines for name in line.squares}
    return sorted(every, key=lambda name: (order.index(name) if name in order else len(order), name))


# --- in words --------------------------------------------------------------------------------------------------------


def spread(mean: float, sd: float | None, digits: int = 1) -> str:
    return charts.fixed(mean, digits) + ("" if sd is None else f"\u00a0±\u00a0{charts.fixed(sd, digits)}")


def said_by(entry: Entry) -> str:
    """A published value with as many digits as it was published with."""
    digits = max(1, len(f"{entry['auroc']:g}".partition(".")[2]))
    return spread(entry["auroc"], entry.get("sd"), digits)


def published(square: Square) -> str:
    """The first value that is published, with a mark where it has a caveat."""
    entry = next(iter(square.entries), None)
    return "" if entry is None else said_by(entry) + (CAVEAT if entry.get("note") else "")


def measured(square: Square) -> str:
    one = square.measured
    return t("not measured") if one is None else spread(one.auroc, one.sd) + (CAVEAT if square.doubts else "")


def tip(line: Line, square: Square) -> str:
    """All that the square says by its place, its colour and its shape, in words."""
    parts = [f"{line.name}, {square.dataset}"]
    if one := square.measured:
        parts.append(t("measured {value}", value=spread(one.auroc, one.sd)) + f" ({over(one)})")
        parts.append(t(KINDS[square.kind]))
    else:
        parts.append(t("not measured"))
    if square.entries:
        parts.append(t("published {value}", value=said_by(square.entries[0])))
    return ". ".join([*parts, *map(said, square.notes)])


def over(one: Measured) -> str:
    """Over how many runs, trials and seeds."""
    words = t("{count} runs", count=len(one.runs)) if len(one.runs) > 1 else t("one run")
    trials = t("trials {trials}") if len(one.trials) > 1 else t("trial {trials}")
    words += ": " + trials.format(trials=", ".join(one.trials))
    words += "; " + t("up to {count} seeds each", count=one.seeds) if one.seeds > 1 else ""
    return words + ("; " + t("{count} of them Anchorscope's own", count=one.shipped) if one.shipped else "")


def difference(one: Measured) -> str:
    """The difference from the published value, its interval and what this is over; empty where nothing is published.

    As many decimals as tell each end of the interval from 0.
    """
    if one.difference is None:
        return ""
    if one.low is None:
        gap = charts.points(one.difference)
        return t("{difference} points from the published value; one run without an interval", difference=gap)
    ends = one.low, one.high
    digits = next((n for n in range(1, 5) if all(float(charts.fixed(end, n)) for end in ends)), 1)
    gap, low, high = (charts.points(value, digits) for value in (one.difference, *ends))
    return t(
        "{difference} points from the published value; 95 % interval {low} to {high}, over {over}",
        difference=gap, low=low, high=high, over=t(one.over),
    )  # fmt: skip


# --- drawn -----------------------------------------------------------------------------------------------------------


def draw(lines: list[Line], chosen: str | None, key: str, opened: Callable[[], None], palette: charts.Palette) -> None:
    """The grid; opened is called when a square is clicked, whose key then stands in st.session_state[key]["cell"]."""
    columns = columns_of(lines)
    rows = [
        {"name": line.name, "by": line.by, "squares": [_drawn(line, line.squares.get(name)) for name in columns]}
        for line in lines
    ]
    used = {square.kind for line in lines for square in line.squares.values()}
    legend = [[kind, SHAPES[kind], t(words)] for kind, words in KINDS.items() if kind in used]
    caveats = any(square.notes for line in lines for square in line.squares.values())
    data: dict[str, Any] = {
        "columns": columns, "rows": rows, "chosen": chosen, "legend": legend,
        "method": t("AUROC, %"), "note": [CAVEAT, t("has a caveat: open the cell")] if caveats else None,
        "colours": {"above": palette.known[2], "within": palette.known[0], "below": palette.unknown,
                    "other": palette.known[7]},
    }  # fmt: skip
    _component(key=key, data=data, on_cell_change=opened)


def _drawn(line: Line, square: Square | None) -> dict[str, str] | None:
    if square is None:
        return None
    return {
        "key": square.key, "kind": square.kind, "shape": SHAPES[square.kind], "measured": measured(square),
        "published": published(square), "tip": tip(line, square),
    }  # fmt: skip


def as_table(lines: list[Line]) -> dict[str, list[str]]:
    """A row for each square, for a reader of tables."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for name in columns_of(lines):
            if (square := line.squares.get(name)) is None:
                continue
            one, entry = square.measured, next(iter(square.entries), None)
            for title, value in {
                t("Data set"): name,
                t("Method"): line.name,
                t("Score"): line.by,
                t("Measured AUROC, %"): spread(one.auroc, one.sd) if one else "",
                t("Published AUROC, %"): said_by(entry) if entry else "",
                t("Place"): f"{SHAPES[square.kind]} {t(KINDS[square.kind])}",
                t("Over"): over(one) if one else "",
                t("Difference"): difference(one) if one else "",
                t("Source"): t(entry["source"]) if entry else "",
                t("Caveat"): "; ".join(map(said, square.notes)),
            }.items():
                found.setdefault(title, []).append(value)
    return found


# --- to take along ---------------------------------------------------------------------------------------------------

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1b2430 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid #d5dbe3; padding: .35rem .6rem; text-align: left; font-variant-numeric: tabular-nums;
         vertical-align: top }
td.above { background: #e0f1ec } td.within { background: #e0eef6 } td.below { background: #faece0 }
.above b { color: #00875f } .within b { color: #0072b2 } .below b { color: #d55e00 }
small { color: #4a5560 } code { font-size: 13px }
"""


def as_html(found: Tables, families: Iterable[str]) -> str:
    """One page that stands alone: a grid for each family, then every measurement with its recipe and its interval."""
    safe = html.escape
    body = [f"<h1>{safe(t('Measured and published'))}</h1>"]
    body.append(f"<p>{safe(t(HOW))}</p><p>{safe(t(PLACED))}</p>")
    legend = "".join(f'<li class="{kind}"><b>{SHAPES[kind]}</b> {safe(t(words))}</li>' for kind, words in KINDS.items())
    body.append(f"<ul>{legend}</ul>")
    for family in families:
        lines = lines_of(*of_family(found, family))
        if not lines:
            continue
        columns = columns_of(lines)
        heads = "".join(f"<th>{safe(name)}</th>" for name in ["", *columns])
        rows = []
        for line in lines:
            cells = [f"<th>{safe(line.name)}<br><small>{safe(line.by)}</small></th>"]
            for name in columns:
                square = line.squares.get(name)
                cells.append(_in_html(line, square) if square else "<td></td>")
            rows.append(f"<tr>{''.join(cells)}</tr>")
        body.append(f"<h2>{safe(family)}</h2><table><tr>{heads}</tr>{''.join(rows)}</table>")
        notes = dict.fromkeys(
            f"{line.name}: {said(note)}" for line in lines for square in line.squares.values() for note in square.notes
        )
        body.append("".join(f"<p><small>{CAVEAT} {safe(note)}</small></p>" for note in notes))
        body += _measurements(lines)
    version = metadata.version("streamlit")
    body.append(f"<p>{safe(t('Made by Anchorscope with {versions}.', versions=f'streamlit {version}'))}</p>")
    title = safe(t("Measured and published"))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(body)}</body></html>"


def _in_html(line: Line, square: Square) -> str:
    safe = html.escape
    said = f"<b>{SHAPES[square.kind]}</b> {safe(measured(square))}<br><small>{safe(published(square))}</small>"
    return f'<td class="{square.kind}" title="{safe(tip(line, square))}">{said}</td>'


def _measurements(lines: list[Line]) -> list[str]:
    safe, body = html.escape, []
    for line in lines:
        for square in line.squares.values():
            for one in square.cell.measured if square.cell else ():
                said = [t("AUROC {auroc}, accuracy {accuracy}", auroc=spread(one.auroc, one.sd),
                          accuracy=spread(one.accuracy, one.accuracy_sd)), over(one), difference(one), one.recipe,
                        effort(one), ", ".join(one.commits), ", ".join(one.runs)]  # fmt: skip
                named = f"<strong>{safe(line.name)}, {safe(square.dataset)}</strong>"
                body.append(f"<li>{named}: {safe('; '.join(part for part in said if part))}</li>")
    return [f"<ul>{''.join(body)}</ul>"] if body else []


def effort(one: Measured) -> str:
    """How long a run was trained for, and where."""
    took = reproduce.by_machine(one)
    if not took and one.epochs:
        return t("epochs of training: {n}; how long they took is not known", n=one.epochs)
    if not took:
        return t("how long it was trained for is not known")
    nameless = t("a machine that the runs do not name")
    return "; ".join(
        t("{minutes} min of training a run, on {machine}", minutes=f"{minutes:.1f}", machine=machine or nameless)
        for machine, minutes in took.items()
    )


def of_family(found: Tables, family: str) -> tuple[list[Cell], list[Entry]]:
    """What stands in the grid of a family of class lists; the report's values have a table of their own."""
    apart = (reproduce.ON_REPORT, reproduce.WITH_ODIN)
    others = [e for e in found.others if e["family"] == family and e["method"] not in apart]
    return [cell for cell in found.cells if cell.family == family], others


HOW = phrases(
    "AUROC in percent, of known against unknown test images. Measured: the mean ± standard deviation over the trials, "
    "each the mean of its seeds. Below it, smaller: the published value. Class lists of different families are "
    "different tasks, so they never stand in one table."
)
SHIPPED = phrases(
    "The project's own trainings of the grid come with it, without weights, and count beside yours where you have not "
    "trained the same. What is missing is what your own runs lack."
)
PLACED = phrases(
    "A value is above or below where the 95 % interval of the difference leaves out 0: Welch's over the trials of both "
    "where a deviation is published, taken to be over five trials, and Student's over the trials measured here where "
    "none is. One trial says nothing of the others."
)
