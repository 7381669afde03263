"""What the pages Runs and Compare share: reads of many runs, kept by the stamps of their files, charts and exports.

Nothing is read twice that has not changed: a run's row is kept under the times and sizes of the files that it rests on,
in memory and, so that a server that has just begun is quick with hundreds of runs, in <store>/.cache/rows.json, a file
that can be deleted at any time.
"""

import contextlib
import csv
import html
import io
import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import streamlit as st

from app import charts, jobs, wording
from app.words import phrases, t
from cac_core import records, runs
from cac_core.exchange import shelf
from cac_core.exchange.shelf import Shelf
from cac_core.files import no_formula
from cac_core.records import Unfit
from cac_core.results import compare, judge, quality, reproduce
from cac_core.results.compare import GRID, Band, Difference, Member, Scored
from cac_core.runs import Broken, Run
from cac_core.scoring.scorers import default_for

MEASURES = phrases(
    {
        "auroc": "AUROC",
        "accuracy": "Accuracy on knowns",
        "oscr": "OSCR",
        "fpr_at_95_knowns_kept": "FPR at 95 % of knowns kept",
        "knowns_kept": "Knowns kept",
        "unknowns_caught": "Unknowns caught",
    }
)
FILES = ("recipe.json", "status.json", "report.json", "events.jsonl", shelf.FILE)
WORTH = 20  # rows read anew from which on they are kept on disk
LINES = ("solid", "dashed", "dotted")


# --- the rows of the table -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What the table says of a run: shares from 0 to 1, None where nothing is known, problem where it is broken.

    worth is the word of its quality, in English; empty where it has no report. reading is for the page
    Reproduce.
    """

    run: Run
    problem: str
    state: str
    shelf: Shelf
    dataset: str = ""
    family: str = ""
    trial: str = ""
    seed: int | None = None
    method: str = ""
    options: str = ""
    backbone: str = ""
    differs: str = ""
    best: float | None = None
    last: float | None = None
    auroc: float | None = None
    accuracy: float | None = None
    oscr: float | None = None
    seconds: float | None = None
    worth: str = ""
    reading: reproduce.Reading | None = None

    @property
    def name(self) -> str:
        return self.shelf.title or self.run.id


@st.cache_resource(max_entries=4, show_spinner=False)
def _kept(store: str) -> dict[str, tuple[tuple, Row]]:
    """The rows of a store by id, each beside the stamps that it was read under."""
    return {}


def rows(store: Path) -> list[Row]:
    """A row for every run of the store, broken ones too, by id. Only what has changed is read again."""
    kept, found, fresh = _kept(str(store.absolute())), {}, 0
    before = kept or _stored(store)
    for run in runs.every(store):
        stamps = tuple(_stamp(run.path / name) for name in FILES)
        known = before.get(run.id)
        if not known or known[0] != stamps:
            known, fresh = (stamps, row_of(run)), fresh + 1
        found[run.id] = known
    kept.clear()
    kept.update(found)
    if fresh >= WORTH and not jobs.read_only():
        with contextlib.suppress(OSError):  # a store that cannot be written: read again next time
            content = {name: [stamps, _fields(row)] for name, (stamps, row) in found.items()}
            runs.write(_file(store), json.dumps({"code": _code(), "rows": content}))
    return [_as_of_now(row) for _, row in found.values()]


def _file(store: Path) -> Path:
    return store / ".cache" / "rows.json"


class _Kept(TypedDict):
    """rows.json: by id the stamps of the files that a row rests on, and the row."""

    code: int
    rows: dict[str, tuple[tuple[tuple[int, int] | None, ...], dict[str, object]]]


def _fields(row: Row) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name != "run"}


def _stored(store: Path) -> dict[str, tuple[tuple, Row]]:
    """The rows that a server before this one has kept, where it was of the same code; what is torn is none."""
    try:
        said = records.read(_file(store), _Kept)
        if said["code"] != _code():
            return {}
        return {
            name: (stamps, records.fitted(row, Row, run=Run(store / name)))
            for name, (stamps, row) in said["rows"].items()
        }
    except (OSError, Unfit):
        return {}


def _code() -> int:
    """Changes when the code does: other code may say another thing of the same files."""
    return max(
        file.stat().st_mtime_ns for place in (__file__, runs.__file__) for file in Path(place).parent.rglob("*.py")
    )


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _as_of_now(row: Row) -> Row:
    """A process may be gone without a word: whether it lives stands in no file."""
    return replace(row, state=row.run.state) if row.state in runs.ALIVE else row


def row_of(run: Run) -> Row:
    on_it = shelf.read(run)
    if run.beginning:
        return Row(run, "", run.state, on_it, reading=reproduce.reading(run))
    once = run.once()
    try:
        if problem := once.problem():
            raise Broken(problem)
        recipe, report, epochs = once.recipe, once.report(), once.epochs()
    except Broken as error:
        return Row(run, error.args[0], "broken", on_it, reading=reproduce.Reading(run.id, "broken", error.args[0]))
    numbers = _numbers(report, recipe.method)
    accuracies = [x for epoch in epochs if (x := validated(epoch, "accuracy")) is not None]
    differs = compare.differing(recipe)
    return Row(
        run, "", run.state, on_it, recipe.dataset, recipe.family, recipe.trial, recipe.seed,
        recipe.method, wording.options(recipe.hyper), recipe.backbone, wording.options(differs),
        max(accuracies, default=None), accuracies[-1] if accuracies else None,
        *(numbers.get(name) for name in ("auroc", "accuracy", "oscr")),
        runs.seconds_trained(epochs),
        str(quality.of_report(numbers, once).word) if "confusion" in numbers and "intervals" in numbers else "",
        reproduce.reading(once),
    )  # fmt: skip


def _numbers(report: runs.Report, method: str) -> runs.Scored:
    """Of the score that the method rejects by."""
    return report.get("scorers", {}).get(report.get("default") or default_for(method), {})


def validated(epoch: runs.Event, measure: str) -> float | None:
    """A measure of the validation images in the event of an epoch, where it is there and finite."""
    value = epoch.get("validation", {}).get(measure)
    return value if value is not None and math.isfinite(value) else None


def readings(store: Path) -> list[reproduce.Reading]:
    """What the papers' tables need of every run, as it is now."""
    every = [row for row in rows(store) if row.reading]
    return [replace(row.reading, state=row.state) if row.reading.state in runs.ALIVE else row.reading for row in every]


# --- what is compared ------------------------------------------------------------------------------------------------


@st.cache_data(max_entries=200, show_spinner=False)
def _scored(path: str, written: str, scorer: str | None) -> Scored:
    return compare.scored(Run(Path(path)), scorer)


def members(groups: dict[str, list[Run]], scorer: str | None) -> list[Member]:
    """A member for each group of runs, judged by one score, or by each method's own where none is named."""
    with st.spinner(t("Reading the runs…")):
        return [
            Member(name, tuple(_scored(str(run.path), run.written, scorer) for run in group))
            for name, group in groups.items()
        ]


def scores(members: list[Member]) -> dict[str, list[str]]:
    """A column of a table that names what each is judged by, where not all are by the same score."""
    named = [", ".join(t(wording.SHORT[scorer]) for scorer in member.scorers) for member in members]
    return {t("score"): named} if len(set(named)) > 1 else {}


def differences(groups: dict[str, list[Run]], scorer: str | None) -> list[Difference]:
    key = tuple((name, tuple((str(run.path), run.written) for run in group)) for name, group in groups.items())
    with st.spinner(t("Drawing the images again, 2000 times…")):
        return _differences(key, scorer)


@st.cache_data(max_entries=24, show_spinner=False)
def _differences(key: tuple, scorer: str | None) -> list[Difference]:
    return compare.every_difference(
        [Member(name, tuple(_scored(*run, scorer) for run in group)) for name, group in key]
    )


def sentence(difference: Difference) -> str:
    """A difference in words, in the reader's language; one between two networks says that it is no more than that.

    As many decimals as tell each end of the interval from 0, so that one sees on which side of it 0 lies.
    """
    phrase, values = compare.said(difference)
    least = min((abs(end) for name in ("low", "high") if (end := values.get(name, 0))), default=0)
    digits = next((n for n in range(1, 6) if float(charts.fixed(least, n))), 5) if least else 1
    write = charts.fixed if difference.sure else charts.points
    said = {name: value if isinstance(value, str) else write(value, digits) for name, value in values.items()}
    words = t(phrase, **said | ({"why": t(said["why"])} if "why" in said else {}))
    alone = difference.sure and difference.over == "images"
    return f"{words} {t(compare.ONE_PAIR)}" if alone else words


@dataclass(frozen=True)
class Ranking:
    """Members that were tested on the same trials, by AUROC, the highest first: only these stand in one table."""

    field: tuple[str, str]
    trials: list[str]
    members: list[Member]

    @property
    def title(self) -> str:
        """Data set, family and trials in words; a custom family's name says its trial."""
        if self.field[1].startswith("custom"):
            return ", ".join(self.field)
        some = t("trials {trials}") if len(self.trials) > 1 else t("trial {trials}")
        return ", ".join((*self.field, some.format(trials=", ".join(self.trials))))


def rankings(some: Iterable[Member]) -> list[Ranking]:
    found: dict[frozenset, list[Member]] = {}
    for member in some:
        found.setdefault(member.splits, []).append(member)
    order = lambda member: -np.nan_to_num(member.spread()["auroc"][0])  # noqa: E731
    return [Ranking(min(ours[0].fields), ours[0].trials, sorted(ours, key=order)) for ours in found.values()]


def spread(mean: float, sd: float, sign: str = "\u00a0±\u00a0") -> str:
    """In percent: the mean, and the standard deviation where there is one."""
    return charts.share(mean) + ("" if np.isnan(mean) or np.isnan(sd) else f"{sign}{charts.fixed(100 * sd, 1)}")


# --- charts ----------------------------------------------------------------------------------------------------------


def bands(curves: dict[str, Band], across: str, up: str, file: str, palette: charts.Palette) -> dict[str, Any]:
    """Mean curves over GRID, each within one standard deviation where there are several runs."""
    series = []
    for n, (name, band) in enumerate(curves.items()):
        colour = palette.of(n)
        line = {"color": colour, "width": 2.5, "type": LINES[n % len(LINES)]}
        if band.sd.any():
            low, high = np.clip(band.mean - band.sd, 0, 1), np.clip(band.mean + band.sd, 0, 1)
            unseen = {"type": "line", "symbol": "none", "silent": True, "stack": f"band {n}",
                      "tooltip": {"show": False}, "lineStyle": {"opacity": 0}}  # fmt: skip
            series.append({**unseen, "data": _percents(low)})
            series.append({**unseen, "data": _percents(high - low), "areaStyle": {"color": colour, "opacity": 0.18}})
        series.append({"type": "line", "name": name, "symbol": "none", "lineStyle": line,
                       "itemStyle": {"color": colour}, "data": _percents(band.mean)})  # fmt: skip
    axis = {"nameLocation": "middle", "splitLine": {"lineStyle": {"color": palette.faint}}}
    return {
        "animation": False,
        "color": list(palette.known),
        "toolbox": saved_as(file),
        "tooltip": {"trigger": "axis", "confine": True, "valueFormatter": "%.1f %%"},
        "legend": legend(curves),
        "grid": {"top": 16, "bottom": 48 + charts.ROW * len(curves), "left": 74, "right": 18, **charts.EXACT},
        "xAxis": {**axis, "type": "category", "boundaryGap": False, "name": across, "nameGap": 26,
                  "data": [f"{100 * x:g} %" for x in GRID], "axisLabel": {"interval": 39},
                  "axisTick": {"interval": 39}},
        "yAxis": {**axis, "type": "value", "min": 0, "max": 100, "name": up, "nameGap": 50,
                  "axisLabel": {"formatter": "{value} %"}},
        "series": series,
    }  # fmt: skip


def _percents(shares: np.ndarray) -> list[float]:
    return (100 * shares).round(2).tolist()


def saved_as(file: str) -> dict[str, Any]:
    """The button that saves the picture; PNG or SVG as the chart is drawn."""
    return {"left": 0, "bottom": 0, "feature": {"saveAsImage": {"name": file, "title": t("Save"), "pixelRatio": 3}}}


def legend(names: Iterable[str]) -> dict[str, Any]:
    """Below the picture, lines as they are drawn."""
    return charts.below(34) | {"data": list(names), "itemStyle": {"opacity": 0}}


def training(groups: dict[str, list[Run]], measure: str, palette: charts.Palette) -> dict[str, Any]:
    """A measure of the validation images by epoch: a line a group, the mean of its runs within one standard deviation.

    A group's mean is over the epochs that all of its runs have.
    """
    courses = {name: [_course(run, measure) for run in group] for name, group in groups.items()}
    last = max((epoch for some in courses.values() for course in some for epoch in course), default=0)
    series = []
    for n, (name, some) in enumerate(courses.items()):
        some = [course for course in some if course]
        shared = sorted(set.intersection(*map(set, some))) if some else []
        shown = [shared[i] for i in np.unique(np.linspace(0, len(shared) - 1, 400).astype(int))] if shared else []
        values = np.array([[course[epoch] for epoch in shown] for course in some])
        colour = palette.of(n)
        if len(some) > 1:
            mean, sd = values.mean(0), values.std(0, ddof=1)
            low, high = mean - sd, mean + sd
            if measure == "accuracy":
                high = np.minimum(high, 1)
            unseen = {"type": "line", "symbol": "none", "silent": True, "stack": f"band {n}", "connectNulls": True,
                      "tooltip": {"show": False}, "lineStyle": {"opacity": 0}}  # fmt: skip
            series.append({**unseen, "data": _by_epoch(shown, low, last)})
            series.append({**unseen, "data": _by_epoch(shown, high - low, last),
                           "areaStyle": {"color": colour, "opacity": 0.18}})  # fmt: skip
        series.append({
            "type": "line", "name": name, "symbol": "none" if len(shown) > 1 else "circle", "connectNulls": True,
            "data": _by_epoch(shown, values.mean(0), last) if shown else [], "itemStyle": {"color": colour},
            "lineStyle": {"color": colour, "width": 2, "type": LINES[n % len(LINES)]},
        })  # fmt: skip
    axis = {"nameLocation": "middle", "splitLine": {"lineStyle": {"color": palette.faint}}}
    share = measure == "accuracy"
    return {
        "animation": False,
        "toolbox": saved_as("training"),
        "legend": legend(groups),
        "grid": {"top": 16, "bottom": 48 + charts.ROW * len(groups), "left": 74, "right": 18, **charts.EXACT},
        "xAxis": {**axis, "type": "category", "name": t("epoch"), "nameGap": 26, "boundaryGap": last < 2,
                  "data": list(range(1, last + 1))},
        "yAxis": {**axis, "type": "value", "name": t("validation accuracy") if share else t("validation loss"),
                  "nameGap": 50, "scale": True, "max": 1 if share else None},
        "series": series,
    }  # fmt: skip


def _course(run: Run, measure: str) -> dict[int, float]:
    return {e["epoch"]: y for e in run.epochs() if (y := validated(e, measure)) is not None}


def _by_epoch(epochs: list[int], values: np.ndarray, last: int) -> list[float | None]:
    """A value for each epoch from 1 to last, None where there is none."""
    at = dict(zip(epochs, values.round(5).tolist(), strict=True))
    return [at.get(epoch) for epoch in range(1, last + 1)]


def by_accuracy(rows: list[Row], palette: charts.Palette) -> dict[str, Any]:
    """AUROC against closed-set accuracy, a mark a run, a shape and colour a method (Vaze et al., ICLR 2022)."""
    shapes, axis = ("circle", "triangle", "rect", "diamond", "pin", "arrow"), {"type": "value", "scale": True}
    series = []
    for n, method in enumerate(dict.fromkeys(row.method for row in rows)):
        mine = [row for row in rows if row.method == method]
        series.append({
            "type": "scatter", "name": wording.method(method), "symbol": shapes[n % len(shapes)], "symbolSize": 12,
            "itemStyle": {"color": palette.of(n)}, "selectedMode": "single",
            "data": [{"value": [round(100 * row.accuracy, 2), round(100 * row.auroc, 2)], "name": row.name}
                     for row in mine],
        })  # fmt: skip
    return {
        "animation": False,
        "toolbox": saved_as("accuracy-auroc"),
        "tooltip": {"formatter": "{a}: {b}"},
        "legend": {"bottom": 0, "left": 44, "type": "scroll"},
        "grid": {"top": 16, "bottom": 78, "left": 74, "right": 18, **charts.EXACT},
        "xAxis": {**axis, "name": t("Accuracy, %"), "nameLocation": "middle", "nameGap": 26,
                  "splitLine": {"lineStyle": {"color": palette.faint}}},
        "yAxis": {**axis, "name": t("AUROC, %"), "nameLocation": "middle", "nameGap": 50,
                  "splitLine": {"lineStyle": {"color": palette.faint}}},
        "series": series,
    }  # fmt: skip


def picked(event: Any, rows: list[Row]) -> Row | None:
    """The row whose mark is chosen in `by_accuracy`, None where none is."""
    for one in event["selection"]["selected"] if event else []:
        mine = [row for row in rows if wording.method(row.method) == one.get("series_name")]
        for place in one.get("data_indices", []):
            if 0 <= place < len(mine):
                return mine[place]
    return None


# --- exports ---------------------------------------------------------------------------------------------------------


def as_csv(some: list[Member]) -> str:
    """The table of numbers, as shares between 0 and 1."""
    file = io.StringIO()
    line = csv.writer(file)
    numbers = [f"{measure} {what}" for measure in compare.MEASURES for what in ("mean", "sd")]
    line.writerow(["data set", "family", "trials", "member", "runs", *numbers, "validated on", "score"])
    for ranking in rankings(some):
        for member in ranking.members:
            numbers = itertools.chain(*(member.spread()[m] for m in compare.MEASURES))
            said = ["" if np.isnan(x) else f"{x:.6f}" for x in numbers]
            names = (*ranking.field, " ".join(ranking.trials), member.name)
            kinds = "; ".join(dict.fromkeys(run.validated_on for run in member.runs))
            line.writerow([*map(no_formula, names), len(member.runs), *said, kinds, "; ".join(member.scorers)])
    return file.getvalue()


SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
})  # fmt: skip


def as_latex(some: list[Member]) -> str:
    """One tabular for each ranking, in percent, mean ± sd, the best of what can be ranked bold; for booktabs."""
    heads = ["AUROC", "Accuracy", "OSCR", r"FPR@95 $\downarrow$", "Knowns kept", "Unknowns caught"]
    lines = []
    for ranking in rankings(some):
        ours = ranking.members
        best = {m: _best([member.spread()[m][0] for member in ours], m) for m in compare.RANKED}
        where = f"{', '.join(ranking.field)}; trials {', '.join(ranking.trials)}"
        lines += [f"% {where}; percent, mean and standard deviation over the trials".replace("\n", " ")]
        lines += [r"\begin{tabular}{lr" + "r" * len(heads) + "}", r"\toprule"]
        lines += [" & ".join(["", "runs", *heads]) + r" \\", r"\midrule"]
        for member in ours:
            cells = []
            for m in compare.MEASURES:
                cell = spread(*member.spread()[m], sign=r" \pm ").replace("≥", r"\geq ").replace("≤", r"\leq ")
                cells.append(rf"$\mathbf{{{cell}}}$" if member.spread()[m][0] == best.get(m) else f"${cell}$")
            lines.append(" & ".join([member.name.translate(SPECIAL), str(len(member.runs)), *cells]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in theta_notes(ours)), ""]
    return "\n".join(lines)


def _best(values: list[float], measure: str) -> float | None:
    there = [x for x in values if not np.isnan(x)]
    if len(there) < 2:
        return None
    return min(there) if measure in compare.LOWER_IS_BETTER else max(there)


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b2430 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #d5dbe3; padding: .35rem .7rem; text-align: left; font-variant-numeric: tabular-nums }
pre { background: #f3f5f8; padding: .7rem; overflow-x: auto; font-size: 13px }
"""


def as_html(groups: dict[str, list[Run]], some: list[Member], found: list[Difference], scorer: str | None) -> str:
    """One page that stands alone: the table, the differences in words, the curves, every run's recipe, the versions."""
    safe = html.escape
    body = [f"<h1>{safe(t('Comparison'))}</h1>"]
    score = t("each method's own score") if scorer is None else t(wording.SAID[scorer])
    how = t("Score: {score}. {spread}", score=score, spread=t(SPREAD))
    body.append(f"<p>{safe(how)}</p>")
    if apart := split_note(some):
        body.append(f"<p><strong>{safe(apart)}</strong></p>")
    for ranking in rankings(some):
        body.append(f"<h2>{safe(ranking.title)}</h2>")
        judged = scores(ranking.members)
        heads = ["", t("runs"), *judged, *(t(title) for title in MEASURES.values())]
        lines = [[m.name, str(len(m.runs)), *(column[n] for column in judged.values()),
                  *(spread(*m.spread()[name]) for name in MEASURES)]
                 for n, m in enumerate(ranking.members)]  # fmt: skip
        body.append(_table(heads, lines))
        body += [f"<p>{safe(note)}</p>" for note in theta_notes(ranking.members)]
    said = dict.fromkeys(sentence(d) for d in sorted(found, key=lambda d: not d.speaks))
    if said:
        body.append(f"<h2>{safe(t('Differences'))}</h2><ul>{''.join(f'<li>{safe(line)}</li>' for line in said)}</ul>")
        body.append(f"<p>{safe(t(HOW_SURE))}</p>")
    body += _figures(some)
    body.append(f"<h2>{safe(t('Recipes'))}</h2>")
    for name, group in groups.items():
        for run in group:
            record = {part: run.record.get(part) for part in ("recipe", "classes", "versions", "commit", "data")}
            text = json.dumps(record, ensure_ascii=False, indent=1)
            body.append(f"<h3>{safe(name)}: {safe(run.id)}</h3><pre>{safe(text)}</pre>")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("streamlit", "numpy", "plotly"))
    body.append(f"<p>{safe(t('Made by Anchorscope with {versions}.', versions=versions))}</p>")
    head = f'<meta charset="utf-8"><title>{safe(t("Comparison"))}</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(body)}</body></html>"


def _table(heads: list[str], lines: list[list[str]]) -> str:
    def row(kind: str, cells: list[str]) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    return f"<table>{row('th', heads)}{''.join(row('td', line) for line in lines)}</table>"


def _figures(some: list[Member]) -> list[str]:
    """ROC and OSCR curves as Plotly's own, its program inline in the first."""
    import plotly.graph_objects as go

    parts: list[str] = []
    for title, across, up, draw in (
        (t("ROC"), t("knowns rejected"), t("unknowns caught"), compare.roc_band),
        (t("OSCR"), t("unknowns accepted"), t("knowns kept and named right"), compare.oscr_band),
    ):
        figure = go.Figure()
        for n, member in enumerate(some):
            if (band := draw(member)) is None:
                continue
            colour, name = charts.LIGHT.of(n), html.escape(member.name)
            if band.sd.any():
                low, high = np.clip(band.mean - band.sd, 0, 1), np.clip(band.mean + band.sd, 0, 1)
                around = {"x": np.r_[GRID, GRID[::-1]], "y": np.r_[high, low[::-1]], "fill": "toself"}
                figure.add_scatter(**around, fillcolor=f"{colour}2E", line_width=0, hoverinfo="skip", showlegend=False)
            line = {"color": colour, "dash": ("solid", "dash", "dot")[n % len(LINES)]}
            figure.add_scatter(x=GRID, y=band.mean, name=name, line=line)
        if figure.data:
            percent = {"tickformat": ".0%", "range": [0, 1.005]}
            figure.update_layout(template="plotly_white", height=440, margin_t=16)
            figure.update_layout(legend={"orientation": "h", "y": -0.2})
            figure.update_layout(xaxis={"title": across, **percent}, yaxis={"title": up, **percent})
            drawn = figure.to_html(full_html=False, include_plotlyjs=not parts, div_id=f"figure{len(parts)}")
            parts.append(f"<h2>{html.escape(title)}</h2>{drawn}")
    return parts


# --- words -----------------------------------------------------------------------------------------------------------

SPREAD = phrases(
    "Shares in percent: the mean ± standard deviation over the trials, each the mean of its seeds; on a single trial, "
    "over its seeds."
)
HOW_SURE = phrases(
    "In brackets 95 % intervals. A t interval over trials or seeds has the noise of training in it and speaks about "
    "methods. An interval over images is about two networks alone: DeLong's for the AUROC and the bootstrap's for the "
    "other numbers (2000 draws of the test images; for θ, of the known validation and test images together); AUROC and "
    "OSCR count one image more that was not seen. Of many differences a few leave out 0 by chance alone."
)


def split_note(some: list[Member]) -> str:
    """What to say where not all runs were tested on the same classes and images; empty where they were."""
    if not (apart := compare.differences_of_splits(some)):
        return ""
    return t(
        "These runs were tested on different splits: {what}. They stand in tables of their own, and are compared only "
        "over trials that both have.",
        what=wording.listed([t(name) for name in apart]),
    )


def theta_notes(some: Iterable[Member]) -> list[str]:
    """What the members' θ promises and by which images, a sentence for those of which the same is to be said."""
    found: dict[str, list[str]] = {}
    for member in some:
        for run in member.runs:
            names = found.setdefault(judge.rule_of(run, judge.KEPT, len(run.validation), say=t), [])
            names += [] if member.name in names else [member.name]
    return [t("θ of {names}: {rule}.", names=t(", ").join(names), rule=rule).replace("\n", " ")
            for rule, names in found.items()]  # fmt: skip
