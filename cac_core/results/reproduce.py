"""The papers' tables again: what was measured here, beside what has been published, cell by cell. Numpy only.

A cell is a data set with its family of class lists and a published method, measured by the method and the score of ours
that it is to be held against. AUROCs are in percent. Every trial counts once: a measured value is the mean over the
trials of the means over their seeds. Runs of different recipes, or of different images, are different measurements.

What is to be measured is the grid: the preset `fast`, CAC and cross-entropy, the five trials of osrci. Of CIFAR+10 and
CIFAR+50 all trials know the same four classes, so there the trial is the seed, too: otherwise the five networks of
CIFAR+50 were one.
"""

import csv
import io
import itertools
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from cac_core import records, runs
from cac_core.recipe import Recipe, compose
from cac_core.records import Unfit
from cac_core.results.table import recipe_words
from cac_core.runs import Run
from cac_core.sentences import Sentence, say

PRESET = "fast"
TRIALS = ("0", "1", "2", "3", "4")
METHODS = {"cac": "gamma", "cross_entropy": "msp"}  # and the score that each is measured by
SEEDS = {"digits": (0, 1, 2)}  # of each trial; one otherwise
GRID = ("digits", "MNIST", "SVHN", "CIFAR10", "CIFAR+10", "CIFAR+50", "TinyImageNet")
BY_TRIAL = ("CIFAR+10", "CIFAR+50")
PUBLISHED_TRIALS = 5  # that a published mean and deviation are over
LEVEL = 0.95
NAMES = {"cac": "CAC", "cross_entropy": "Softmax"}  # of the published methods that ours are held against

ABOVE, WITHIN, BELOW = PLACES = ("above", "within", "below")


class Entry(TypedDict):
    """A published AUROC, as published.json holds it."""

    dataset: str
    family: str
    method: str
    auroc: float
    sd: NotRequired[float]
    measured_as: NotRequired[list[str]]
    source: str
    note: NotRequired[str]


@dataclass(frozen=True)
class Measured:
    """What runs of one recipe on the same images measured, over trials and seeds.

    auroc and accuracy in percent; sd over the trials, or over the seeds of a single trial, None of a single run. low
    and high bound the AUROC's difference from the published value, over says what by; place is where it lies, seen from
    the published value. minutes [runs] of training, None where nobody knows; machines and commits of them.
    """

    recipe: str
    runs: tuple[str, ...]
    trials: tuple[str, ...]
    seeds: int
    auroc: float
    sd: float | None
    accuracy: float
    accuracy_sd: float | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    over: str = ""
    place: str = ""
    minutes: tuple[float | None, ...] = ()
    machines: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """Published and measured. missing: the recipes of the grid without a finished run; under_way: ids and states of
    those that are begun; broken: ids of runs that would belong here and cannot be read, with the reason."""

    dataset: str
    family: str
    method: str
    scorer: str
    published: tuple[Entry, ...]
    measured: tuple[Measured, ...]
    missing: tuple[Recipe, ...] = ()
    under_way: tuple[tuple[str, str], ...] = ()

    @property
    def best_known(self) -> Measured | None:
        """The measurement over most trials, of these the one with most runs."""
        return max(self.measured, key=lambda one: (len(one.trials), len(one.runs), one.auroc), default=None)


@dataclass(frozen=True)
class Tables:
    cells: tuple[Cell, ...]
    others: tuple[Entry, ...]  # published, and by nothing of ours to be held against
    broken: tuple[tuple[str, Sentence | str], ...] = field(default=())  # runs that cannot be read, and why


def published(file: Path = Path(__file__).parent / "published.json") -> tuple[list[Entry], list[int]]:
    """The entries of a file of published values, and the places of those that are none and are left out."""
    try:
        every = records.read(file, list[dict[str, object]], links=True)
    except (OSError, Unfit) as error:
        raise ValueError(say("{file} holds no published values ({error}).", file=file, error=error)) from error
    good, wrong = [], []
    for place, entry in enumerate(every):
        try:
            good.append(records.fitted(entry, Entry))
        except Unfit:
            wrong.append(place)
    return good, wrong


def grid(dataset: str | None = None, method: str | None = None) -> list[Recipe]:
    """What the tables need, trial by trial."""
    found = []
    for name, trial, way in itertools.product(GRID, TRIALS, METHODS):
        if (dataset in (None, name)) and (method in (None, way)):
            seeds = (int(trial),) if name in BY_TRIAL else SEEDS.get(name, (0,))
            found += [compose(PRESET, dataset=name, trial=trial, method=way, seed=seed) for seed in seeds]
    return found


def tables(store: Path, dataset: str | None = None, method: str | None = None) -> Tables:
    """Every cell that is published for a method of ours, or in the grid, with what the runs of the store measured."""
    said, _ = published()
    wanted = grid(dataset, method)
    keys = [(r.dataset, r.family, r.method, METHODS[r.method]) for r in wanted]
    keys += [
        (entry["dataset"], entry["family"], *entry["measured_as"])
        for entry in said
        if entry.get("measured_as")
        and dataset in (None, entry["dataset"])
        and method in (None, entry["measured_as"][0])
    ]
    groups, states, broken = _groups(store)
    cells = []
    for key in dict.fromkeys(keys):
        name, family, way, scorer = key
        here = tuple(e for e in said if (e["dataset"], e["family"], *e.get("measured_as", ())) == key)
        found = [
            _measured(words, members, scorer, here) for (*at, words, _), members in groups.items() if at == [*key[:3]]
        ]
        mine = [r for r in wanted if (r.dataset, r.family, r.method) == key[:3]] if scorer == METHODS.get(way) else []
        cells.append(Cell(
            name, family, way, scorer, here, tuple(one for one in found if one),
            tuple(r for r in mine if states.get(r.id) != "finished"),
            tuple((r.id, states[r.id]) for r in mine if states.get(r.id) not in (None, "finished")),
        ))  # fmt: skip
    order = {name: place for place, name in enumerate(GRID)}
    cells.sort(
        key=lambda cell: (order.get(cell.dataset, len(order)), cell.dataset, cell.family != "osrci", cell.family)
    )
    others = [e for e in said if not e.get("measured_as") and dataset in (None, e["dataset"]) and method is None]
    return Tables(tuple(cells), tuple(others), tuple(broken))


def _groups(store: Path) -> tuple[dict[tuple, list[Run]], dict[str, str], list[tuple[str, Sentence | str]]]:
    """Finished runs by data set, family, method, recipe and images; the state of every run; what cannot be read."""
    groups, states, broken = {}, {}, []
    for run in runs.every(store):
        if run.beginning:
            states[run.id] = run.state
            continue
        once = runs.Once(run.path)
        if problem := once.problem():
            broken.append((run.id, problem))
            continue
        states[run.id] = "finished" if once.report().get("scorers") else once.state
        if states[run.id] == "finished":
            dataset, family, method, words = recipe_words(once)
            key = (dataset, family, _stands_for(once, method), words, once.record.get("data"))
            groups.setdefault(key, []).append(once)
    return groups, states, broken


def _stands_for(run: Run, method: str) -> str:
    """The method that an ensemble's score is comparable with: CAC by distances, cross-entropy by softmax."""
    parts = {part["recipe"].get("method") for part in run.record.get("parts", [])}
    return {"distance_ensemble": "cac", "softmax_ensemble": "cross_entropy"}.get(method, method) if (
        method == "distance_ensemble" or parts == {"cross_entropy"}
    ) else method  # fmt: skip


def _measured(words: str, members: list[Run], scorer: str, entries: tuple[Entry, ...]) -> Measured | None:
    numbers = [(run, run.report()["scorers"].get(scorer, {})) for run in members]
    numbers = [(run, found) for run, found in numbers if None not in (found.get("auroc"), found.get("accuracy"))]
    if not numbers:
        return None
    values = {name: _by_trial(numbers, name) for name in ("auroc", "accuracy")}
    (auroc, sd), (accuracy, accuracy_sd) = (_spread(values[name]) for name in ("auroc", "accuracy"))
    every = [run for run, _ in numbers]
    trials = sorted({run.recipe.trial for run in every}, key=lambda trial: (len(trial), trial))
    gap = {}
    if entries:
        ends = numbers[0][1].get("intervals", {}).get("auroc") if len(numbers) == 1 else None
        gap = against(auroc, sd, len(values["auroc"]), len(trials), entries[0], ends)
    minutes = (runs.seconds_trained(run.epochs()) for run in every)
    return Measured(
        words, tuple(run.id for run in every), tuple(trials), len({run.recipe.seed for run in every}), auroc, sd,
        accuracy, accuracy_sd, minutes=tuple(None if m is None else m / 60 for m in minutes),
        machines=tuple(dict.fromkeys(m for run in every if (m := str(run.status.get("machine", ""))))),
        commits=tuple(dict.fromkeys(c for run in every if (c := run.record.get("commit")))), **gap,
    )  # fmt: skip


def _by_trial(numbers: list[tuple[Run, dict]], name: str) -> list[float]:
    """In percent: a value for each trial, or of a single trial for each of its seeds."""
    found: dict[str, list[float]] = {}
    for run, of in numbers:
        found.setdefault(run.recipe.trial, []).append(100 * of[name])
    return [statistics.fmean(some) for some in found.values()] if len(found) > 1 else next(iter(found.values()))


def _spread(values: list[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


TRIALS_BOTH = "trials, of both"
TRIALS_OURS = "trials measured here; the published value is taken as exact"
SEEDS_OURS = "seeds of one trial; other trials are not in it"
IMAGES = "test images of one run; other trials and seeds are not in it"


def against(
    mean: float, sd: float | None, count: int, trials: int, entry: Entry, ends: list[float] | None = None
) -> dict[str, Any]:
    """Measured less published, its 95 % interval, what this is over, and where the measured value lies.

    Over two or more trials, Welch's interval where a deviation is published, of five trials (Biometrika 1947), and
    Student's otherwise. Of one run the interval ends, in shares, that its test images give; without them none. One
    trial says nothing of the others, which differ by points: it is placed neither above nor below.
    """
    from scipy.special import stdtrit

    value, gap = entry["auroc"], mean - entry["auroc"]
    if count < 2 or sd is None:
        if not ends or None in ends:
            return {"difference": gap}
        low, high = (100 * end - value for end in ends)
        return {"difference": gap, "low": low, "high": high, "over": IMAGES}
    parts, freedom = [sd**2 / count], count - 1
    if trials > 1 and "sd" in entry:
        parts.append(entry["sd"] ** 2 / PUBLISHED_TRIALS)
        below = sum(p**2 / (n - 1) for p, n in zip(parts, (count, PUBLISHED_TRIALS), strict=True))
        freedom = sum(parts) ** 2 / below if below else math.inf
    half = math.sqrt(sum(parts)) * float(stdtrit(min(freedom, 1e6), (1 + LEVEL) / 2))
    over = TRIALS_BOTH if len(parts) == 2 else TRIALS_OURS if trials > 1 else SEEDS_OURS
    return {
        "difference": gap,
        "low": gap - half,
        "high": gap + half,
        "over": over,
        "place": _place(gap - half, gap + half),
    }


def _place(low: float, high: float) -> str:
    """Where the measured value lies, seen from the published one."""
    return ABOVE if low > 0 else BELOW if high < 0 else WITHIN


def command(recipe: Recipe) -> str:
    """What makes a run of the grid."""
    seed = f" --seed {recipe.seed}" if recipe.seed else ""
    return (
        f"python -m cac_core train --preset {PRESET} --dataset {recipe.dataset} --trial {recipe.trial} "
        f"--method {recipe.method}{seed}"
    )


# --- as others read them ---------------------------------------------------------------------------------------------


def record(cell: Cell) -> dict[str, Any]:
    """A cell for JSON."""
    said = {name: getattr(cell, name) for name in ("dataset", "family", "method", "scorer", "published")}
    said["measured"] = [vars(one) for one in cell.measured]
    said["missing"] = [{"run": r.id, "command": command(r)} for r in cell.missing]
    return said | {"under_way": [{"run": name, "state": state} for name, state in cell.under_way]}


def lines(found: Tables) -> list[str]:
    """The cells as Markdown, a line for each measurement."""
    head = ["data set", "family", "method, score", "measured AUROC, %", "accuracy, %", "over", "published AUROC, %",
            "difference (95 % interval)", "minutes a run", "recipe", "source"]  # fmt: skip
    said = [f"| {' | '.join(head)} |", "|" + "-|" * len(head)]
    for cell in found.cells:
        entry = cell.published[0] if cell.published else None
        value = pm(entry["auroc"], entry.get("sd"), 1) if entry else ""
        source = "; ".join(part for part in (entry.get("source"), entry.get("note")) if part) if entry else ""
        named = [cell.dataset, cell.family, f"{cell.method}, {cell.scorer}"]
        for one in cell.measured or [None]:
            if one is None:
                said.append("| " + " | ".join([*named, "", "", _lacking(cell), value, "", "", "", source]) + " |")
                continue
            cells = [pm(one.auroc, one.sd, 2), pm(one.accuracy, one.accuracy_sd, 2), over(one), value, difference(one),
                     minutes(one), one.recipe, source]  # fmt: skip
            said.append("| " + " | ".join([*named, *cells]) + " |")
    return said


def _lacking(cell: Cell) -> str:
    return f"not measured: {len(cell.missing)} runs are missing" if cell.missing else "not measured"


def over(one: Measured) -> str:
    runs_, trials = len(one.runs), f"trial{'s' * (len(one.trials) > 1)} {', '.join(one.trials)}"
    return f"{runs_} run{'s' * (runs_ > 1)}: {trials}" + (f"; {one.seeds} seeds" if one.seeds > 1 else "")


def pm(mean: float, sd: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def difference(one: Measured) -> str:
    if one.difference is None:
        return ""
    if one.low is None:
        return f"{one.difference:+.1f}"
    return f"{one.difference:+.1f} ({one.low:+.1f} to {one.high:+.1f}; over {one.over})"


def minutes(one: Measured) -> str:
    known = [m for m in one.minutes if m is not None]
    if not known:
        return ""
    return f"{statistics.median(known):.1f}" + (f" on {', '.join(one.machines)}" if one.machines else "")


def as_csv(found: Tables) -> str:
    """A row for each measurement, and for each published value that nothing was measured against."""
    names = ["dataset", "family", "method", "scorer", "recipe", "runs", "trials", "seeds", "auroc", "auroc_sd",
             "accuracy", "accuracy_sd", "published_method", "published_auroc", "published_sd", "source", "note",
             "difference", "low", "high", "interval_over", "median_minutes", "machines", "commits"]  # fmt: skip
    text = io.StringIO()
    rows = csv.DictWriter(text, names)
    rows.writeheader()
    for cell in found.cells:
        entry = cell.published[0] if cell.published else {}
        base = {"dataset": cell.dataset, "family": cell.family, "method": cell.method, "scorer": cell.scorer}
        for one in cell.measured or [None]:
            known = [m for m in one.minutes if m is not None] if one else []
            own = {} if one is None else {
                "recipe": one.recipe, "runs": " ".join(one.runs), "trials": " ".join(one.trials), "seeds": one.seeds,
                "auroc": one.auroc, "auroc_sd": one.sd, "accuracy": one.accuracy, "accuracy_sd": one.accuracy_sd,
                "difference": one.difference, "low": one.low, "high": one.high, "interval_over": one.over,
                "median_minutes": statistics.median(known) if known else None, "machines": "; ".join(one.machines),
                "commits": " ".join(one.commits),
            }  # fmt: skip
            rows.writerow(base | own | _of_entry(entry))
    for entry in found.others:
        rows.writerow({"dataset": entry["dataset"], "family": entry["family"]} | _of_entry(entry))
    return text.getvalue()


def _of_entry(entry: Entry | dict) -> dict[str, Any]:
    return {
        "published_method": entry.get("method"), "published_auroc": entry.get("auroc"), "published_sd": entry.get("sd"),
        "source": entry.get("source"), "note": entry.get("note"),
    }  # fmt: skip


TEX = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
                                                        "\\": r"\textbackslash{}"})  # fmt: skip


def as_latex(found: Tables, family: str = "osrci") -> str:
    """One family as a table: data sets across, methods down, measured over trials above published.

    Needs booktabs. A dagger marks a value over fewer than the five trials.
    """
    cells = [cell for cell in found.cells if cell.family == family]
    columns = list(dict.fromkeys(cell.dataset for cell in cells))
    ways = list(dict.fromkeys((cell.method, cell.scorer) for cell in cells))
    at = {(cell.dataset, cell.method, cell.scorer): cell for cell in cells}
    head = " & ".join(["", *(name.translate(TEX) for name in columns)])
    said = [r"\begin{tabular}{l" + "c" * len(columns) + "}", r"\toprule", head + r" \\", r"\midrule"]
    for way, scorer in ways:
        ours, theirs = [], []
        for name in columns:
            cell = at.get((name, way, scorer))
            one, entry = (cell.best_known, next(iter(cell.published), None)) if cell else (None, None)
            few = r"$^\dagger$" if one and len(one.trials) < len(TRIALS) else ""
            ours.append(_tex(one.auroc, one.sd, 1) + few if one else "--")
            theirs.append(_tex(entry["auroc"], entry.get("sd"), 1) if entry else "--")
        label = f"{way}, {scorer}".translate(TEX)
        said.append(" & ".join([f"{label} (measured)", *ours]) + r" \\")
        said.append(" & ".join([f"{NAMES.get(way, way)} (published)", *theirs]) + r" \\")
    return "\n".join([*said, r"\bottomrule", r"\end{tabular}", ""])


def _tex(mean: float, sd: float | None, digits: int) -> str:
    return f"${mean:.{digits}f}" + (f" \\pm {sd:.{digits}f}$" if sd is not None else "$")
