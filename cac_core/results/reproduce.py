"""The papers' tables again: what was measured here, beside what has been published, cell by cell. Numpy only.

A cell is a data set with its family of class lists and a published method, measured by the method and the score of ours
that it is to be held against. AUROCs are in percent. Every trial counts once: a measured value is the mean over the
trials of the means over their seeds. Runs of different recipes, or of different images, are different measurements. A
run counts where it is finished, evaluated, and knows the published classes of its trial. The project's own runs of the
grid come with it, without weights: they are measured values like others, and nobody's trainings: what is missing is
missing from a store.

What is to be measured is the grid: the preset `fast`, CAC and cross-entropy, the five trials of osrci. Of CIFAR+10 and
CIFAR+50 all trials know the same four classes, so there the trial is the seed, too: otherwise the five networks of
CIFAR+50 were one.
"""

import csv
import io
import itertools
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from cac_core import recipe as recipes
from cac_core import records, runs, shell
from cac_core.data import datasets
from cac_core.data.datasets import DATASETS
from cac_core.files import no_formula
from cac_core.recipe import Recipe, compose
from cac_core.records import Unfit, Within
from cac_core.results.table import recipe_words, words_of
from cac_core.runs import ALIVE, Broken, Run
from cac_core.scoring.scorers import default_for
from cac_core.sentences import Sentence, say

PRESET = "fast"
TRIALS = ("0", "1", "2", "3", "4")
METHODS = {"cac": "gamma", "cross_entropy": "msp"}  # of the grid, and the score that each is measured by
SEEDS = {"digits": (0, 1, 2)}  # of each trial; one otherwise
GRID = ("digits", "MNIST", "SVHN", "CIFAR10", "CIFAR+10", "CIFAR+50", "TinyImageNet")
BY_TRIAL = ("CIFAR+10", "CIFAR+50")
PUBLISHED_TRIALS = 5  # that a published mean and deviation are over
LEVEL = 0.95
SHIPPED = Path(__file__).parents[2] / "benchmarks" / "grid"
UNEVALUATED = "not evaluated"  # of a run that is finished and has no numbers

ABOVE, WITHIN, BELOW = ("above", "within", "below")


class Entry(TypedDict):
    """A published AUROC, as published.json holds it."""

    dataset: str
    family: str
    method: str
    auroc: Annotated[float, Within(0, 100)]
    sd: NotRequired[Annotated[float, Within(0, 100)]]
    measured_as: NotRequired[tuple[str, str]]
    source: str
    note: NotRequired[str]


@dataclass(frozen=True)
class Reading:
    """What the tables need of a run, so that whoever asks again can keep it.

    state as the run has it, or "broken", with the problem. recipe is the id of its recipe, words the rest of it.
    numbers are by score: AUROC, accuracy, and the ends of the AUROC's interval over the test images, as shares.
    shipped: whether it is one of the project's own runs. epochs: how many were trained; warnings: what the training
    doubted.
    """

    run: str
    state: str
    problem: str = ""
    recipe: str = ""
    dataset: str = ""
    family: str = ""
    method: str = ""
    words: str = ""
    trial: str = ""
    seed: int = 0
    data: str = ""
    numbers: dict[str, tuple[float, float, float | None, float | None]] = field(default_factory=dict)
    minutes: float | None = None
    machine: str = ""
    commit: str = ""
    shipped: bool = False
    epochs: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def counts(self) -> bool:
        return self.state == "finished" and bool(self.numbers)


@dataclass(frozen=True)
class Measured:
    """What runs of one recipe on the same images measured, over trials and seeds.

    auroc and accuracy in percent; sd over the trials, or over the seeds of a single trial, None of a single one. seeds:
    of the trial that has most. low and high bound the AUROC's difference from the published value, over says what by;
    place is where it lies, seen from the published value. minutes [runs] of training, None where nobody knows; machines
    [runs], empty where nobody knows; the commits of them, and the digest of their images. shipped: how many of the runs
    are the project's own. epochs: the most that one was trained for, 0 where nobody knows; warnings: what their
    trainings doubted, each once.
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
    images: str = ""
    shipped: int = 0
    epochs: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """Published and measured, the measurement over most trials first, of these the one of most runs, then the grid's.

    wanted: the recipes of the grid; missing: those of them without a run that counts in the store; under_way: the ids
    and states of those of the missing that are begun; shipped: the ids of those that the project's own runs are of.
    """

    dataset: str
    family: str
    method: str
    scorer: str
    published: tuple[Entry, ...]
    measured: tuple[Measured, ...]
    wanted: tuple[Recipe, ...] = ()
    missing: tuple[Recipe, ...] = ()
    under_way: tuple[tuple[str, str], ...] = ()
    shipped: frozenset[str] = frozenset()

    @property
    def first(self) -> Measured | None:
        return next(iter(self.measured), None)

    @property
    def to_train(self) -> tuple[Recipe, ...]:
        """What of the missing a training would bring: not what is being trained, lacks numbers alone, or is broken."""
        left = {name for name, state in self.under_way if state in (*ALIVE, UNEVALUATED, "broken")}
        return tuple(one for one in self.missing if one.id not in left)


@dataclass(frozen=True)
class Tables:
    """others: published, and by nothing of ours to be held against. broken: runs that cannot be counted, and why;
    unfit: places in published.json that hold no entry."""

    cells: tuple[Cell, ...]
    others: tuple[Entry, ...]
    broken: tuple[tuple[str, Sentence | str], ...] = ()
    unfit: tuple[int, ...] = ()


PUBLISHED = Path(__file__).parent / "published.json"


def published(file: Path = PUBLISHED) -> tuple[list[Entry], list[int]]:
    """The entries of a file of published values, and the places of those that are none and are left out."""
    try:
        every = records.read(file, list[object], links=True)
    except (OSError, Unfit) as error:
        raise ValueError(say("{file} holds no published values ({error}).", file=file, error=error)) from error
    good, wrong = [], []
    for place, entry in enumerate(every):
        try:
            good.append(records.fitted(entry, Entry))
        except Unfit:
            wrong.append(place)
    return good, wrong


@cache
def grid(dataset: str | None = None, method: str | None = None) -> tuple[Recipe, ...]:
    """What the tables need, trial by trial."""
    found = []
    for name, trial, way in itertools.product(GRID, TRIALS, METHODS):
        if (dataset in (None, name)) and (method in (None, way)):
            seeds = (int(trial),) if name in BY_TRIAL else SEEDS.get(name, (0,))
            found += [compose(PRESET, dataset=name, trial=trial, method=way, seed=seed) for seed in seeds]
    return tuple(found)


def readings(store: Path) -> list[Reading]:
    return [reading(run) for run in runs.every(store)]


def with_shipped(own: list[Reading], shipped: Iterable[Reading]) -> list[Reading]:
    """The readings of a store, and those of the project's own runs that do not count there already."""
    there = {(one.run, one.data, one.words) for one in own if one.counts}
    theirs = (one for one in shipped if one.counts and (one.run, one.data, one.words) not in there)
    return [*own, *(replace(one, shipped=True) for one in theirs)]


def tables(
    readings: Iterable[Reading], dataset: str | None = None, method: str | None = None, file: Path = PUBLISHED
) -> Tables:
    """Every cell that is published for a method of ours, in the grid, or measured on published classes by the method's
    own score; of a data set or a method alone, where they are named."""
    said, unfit = published(file)
    wanted, readings = grid(dataset, method), list(readings)
    keys = [(r.dataset, r.family, r.method, METHODS[r.method]) for r in wanted]
    keys += [(e["dataset"], e["family"], *e["measured_as"]) for e in said if e.get("measured_as")]
    families, groups = datasets.published(), _groups(readings)
    keys += [(*at, default_for(at[2])) for *at, _, _ in groups if at[1] in families and at[2] in recipes.METHODS]
    keys = [key for key in dict.fromkeys(keys) if dataset in (None, key[0]) and method in (None, key[2])]
    own = [one for one in readings if not one.shipped]
    states = {one.recipe or one.run: _state(one) for one in own if not one.counts}
    states |= {one.recipe: "finished" for one in own if one.counts}
    theirs = {one.recipe for one in readings if one.shipped}
    named = [(r, r.id) for r in wanted]
    cells = []
    for key in keys:
        name, family, way, scorer = key
        here = tuple(e for e in said if (e["dataset"], e["family"], *e.get("measured_as", ())) == key)
        mine = [(r, ours) for r, ours in named if (r.dataset, r.family, r.method) == key[:3]]
        of_grid = {ours for _, ours in mine}
        found = [
            (one, not of_grid & {run.recipe for run in members})
            for (*at, words, _), members in groups.items()
            if at == [*key[:3]] and (one := _measured(words, members, scorer, here))
        ]
        found.sort(key=lambda pair: (-len(pair[0].trials), -len(pair[0].runs), pair[1], pair[0].recipe))
        left = [(r, ours) for r, ours in mine if states.get(ours) != "finished"]
        cells.append(
            Cell(
                name,
                family,
                way,
                scorer,
                here,
                tuple(one for one, _ in found),
                tuple(r for r, _ in mine),
                tuple(r for r, _ in left),
                tuple((ours, states[ours]) for _, ours in left if ours in states),
                frozenset(ours for _, ours in left if ours in theirs),
            )
        )
    order = {name: place for place, name in enumerate(GRID)}
    cells.sort(
        key=lambda cell: (order.get(cell.dataset, len(order)), cell.dataset, cell.family != "osrci", cell.family)
    )
    others = [e for e in said if not e.get("measured_as") and dataset in (None, e["dataset"]) and method is None]
    broken = tuple((one.run, one.problem) for one in readings if one.problem)
    return Tables(tuple(cells), tuple(others), broken, tuple(unfit))


def _state(one: Reading) -> str:
    return UNEVALUATED if one.state == "finished" else one.state


def reading(run: Run) -> Reading:
    """Raises nothing for a run that cannot be read: it says so."""
    if run.beginning:
        return Reading(run.id, run.state)
    once = run.once()
    try:
        if problem := once.problem() or _other_classes(once):
            raise Broken(problem)
        recipe, report, epochs, status = once.recipe, once.report(), once.epochs(), once.status
    except Broken as error:
        return Reading(run.id, "broken", error.args[0])
    dataset, family, method, words = recipe_words(once)
    numbers = {
        name: (one["auroc"], one["accuracy"], *one.get("intervals", {}).get("auroc", (None, None)))
        for name, one in report.get("scorers", {}).items()
        if None not in (one.get("auroc"), one.get("accuracy"))
    }
    seconds = runs.seconds_trained(epochs)
    return Reading(
        run.id, status["state"], "", recipe.id, dataset, family, _stands_for(once, method), words, recipe.trial,
        recipe.seed, once.record.get("data") or "", numbers, None if seconds is None else seconds / 60,
        status.get("machine", ""), once.record.get("commit") or "", epochs=max((e["epoch"] for e in epochs), default=0),
        warnings=tuple(once.warnings()),
    )  # fmt: skip


def _other_classes(run: Run) -> Sentence | str:
    """Why a run that names a published trial is none of it; empty where it is, or names none."""
    recipe, trial = run.recipe, run.trial
    if recipe.family == "custom":
        return ""
    row = DATASETS.get(recipe.dataset)
    lists = datasets.published().get(recipe.family, {}).get(row.trials or "" if row else "", [])
    listed = next((one for place, one in enumerate(lists) if str(place) == recipe.trial), None)
    if listed and set(trial.known) == set(listed["known"]):
        unknown = listed["unknown"]
        if unknown == "rest":
            unknown = set(range(len(run.class_names))) - set(trial.known)
        else:
            unknown = {row.unknown_from + c for c in unknown}
        if set(trial.unknown) == unknown:
            return ""
    return say(
        "It says that it is of trial {trial} of {family} on {dataset}, and its classes are not those of that trial.",
        trial=recipe.trial, family=recipe.family, dataset=recipe.dataset,
    )  # fmt: skip


def _stands_for(run: Run, method: str) -> str:
    """The method that an ensemble's score is comparable with: CAC by distances, cross-entropy by softmax."""
    parts = {part["recipe"].get("method") for part in run.record.get("parts", [])}
    if method == "distance_ensemble":
        return "cac"
    return "cross_entropy" if method == "softmax_ensemble" and parts == {"cross_entropy"} else method


def _groups(readings: Iterable[Reading]) -> dict[tuple[str, ...], list[Reading]]:
    """Runs that count, by data set, family, method, recipe and images."""
    groups: dict[tuple[str, ...], list[Reading]] = {}
    for one in readings:
        if one.counts:
            groups.setdefault((one.dataset, one.family, one.method, one.words, one.data), []).append(one)
    return groups


def _measured(words: str, members: list[Reading], scorer: str, entries: tuple[Entry, ...]) -> Measured | None:
    every = [one for one in members if scorer in one.numbers]
    if not every:
        return None
    aurocs, accuracies = (_by_trial([(one, 100 * one.numbers[scorer][n]) for one in every]) for n in (0, 1))
    (auroc, sd), (accuracy, accuracy_sd) = _spread(aurocs), _spread(accuracies)
    seeds: dict[str, set[int]] = {}
    for one in every:
        seeds.setdefault(one.trial, set()).add(one.seed)
    trials = sorted(seeds, key=lambda trial: (len(trial), trial))
    gap = {}
    if entries:
        ends = every[0].numbers[scorer][2:] if len(every) == 1 else None
        gap = against(auroc, sd, len(aurocs), len(trials), entries[0], ends)
    return Measured(
        words, tuple(one.run for one in every), tuple(trials), max(map(len, seeds.values())), auroc, sd, accuracy,
        accuracy_sd, minutes=tuple(one.minutes for one in every),
        machines=tuple(one.machine for one in every),
        commits=tuple(dict.fromkeys(one.commit for one in every if one.commit)), images=every[0].data,
        shipped=sum(one.shipped for one in every), epochs=max(one.epochs for one in every),
        warnings=tuple(dict.fromkeys(text for one in every for text in one.warnings)), **gap,
    )  # fmt: skip


def _by_trial(numbers: list[tuple[Reading, float]]) -> list[float]:
    """A value for each trial, the mean of its seeds; of a single trial one for each seed. A run that is there twice, or
    was trained again, counts as one."""
    found: dict[str, dict[int, list[float]]] = {}
    for one, value in numbers:
        found.setdefault(one.trial, {}).setdefault(one.seed, []).append(value)
    trials = [[statistics.fmean(same) for same in seeds.values()] for seeds in found.values()]
    return [statistics.fmean(seeds) for seeds in trials] if len(trials) > 1 else trials[0]


def _spread(values: list[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


TRIALS_BOTH = "trials, of both"
TRIALS_OURS = "trials measured here; the published value is taken as exact"
SEEDS_OURS = "seeds of one trial; other trials are not in it"
IMAGES = "test images of one run; other trials and seeds are not in it"


def against(
    mean: float, sd: float | None, count: int, trials: int, entry: Entry, ends: tuple[float | None, ...] | None = None
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
    place = _place(gap - half, gap + half) if trials > 1 else ""
    return {"difference": gap, "low": gap - half, "high": gap + half, "over": over, "place": place}


def _place(low: float, high: float) -> str:
    """Where the measured value lies, seen from the published one."""
    return ABOVE if low > 0 else BELOW if high < 0 else WITHIN


def command(recipe: Recipe) -> str:
    """What makes a run of the grid."""
    what = {"preset": PRESET, "dataset": recipe.dataset, "trial": recipe.trial, "method": recipe.method}
    what |= {"seed": recipe.seed} if recipe.seed else {}
    return shell.command("train", *(word for name, value in what.items() for word in (f"--{name}", str(value))))


# --- as others read them ---------------------------------------------------------------------------------------------


def record(cell: Cell) -> dict[str, Any]:
    """A cell for JSON."""
    said = {name: getattr(cell, name) for name in ("dataset", "family", "method", "scorer", "published")}
    said["measured"] = [vars(one) for one in cell.measured]
    said["missing"] = [{"run": r.id, "command": command(r), "shipped": r.id in cell.shipped} for r in cell.missing]
    return said | {"under_way": [{"run": name, "state": state} for name, state in cell.under_way]}


def lines(found: Tables) -> list[str]:
    """The cells as Markdown, a line for each measurement."""
    head = ["data set", "family", "method, score", "measured AUROC, %", "accuracy, %", "over", "published AUROC, %",
            "difference (95 % interval)", "minutes a run", "recipe", "source"]  # fmt: skip
    said = [_line(head), "|" + "-|" * len(head)]
    for cell in found.cells:
        entry = cell.published[0] if cell.published else None
        value = pm(entry["auroc"], entry.get("sd"), 1) if entry else ""
        source = "; ".join(part for part in (entry.get("source"), entry.get("note")) if part) if entry else ""
        named = [cell.dataset, cell.family, f"{cell.method}, {cell.scorer}"]
        for one in cell.measured or [None]:
            if one is None:
                said.append(_line([*named, "", "", _lacking(cell), value, "", "", "", source]))
                continue
            cells = [pm(one.auroc, one.sd, 2), pm(one.accuracy, one.accuracy_sd, 2), over(one), value, difference(one),
                     minutes(one), "; ".join([one.recipe, *one.warnings]), source]  # fmt: skip
            said.append(_line([*named, *cells]))
    return said


def _line(cells: list[str]) -> str:
    safe = (" ".join(cell.replace("\\", "\\\\").replace("|", "\\|").split()) for cell in cells)
    return f"| {' | '.join(safe)} |"


def _lacking(cell: Cell) -> str:
    return f"not measured: {len(cell.missing)} runs are missing here" if cell.missing else "not measured"


def over(one: Measured) -> str:
    runs_, trials = len(one.runs), f"trial{'s' * (len(one.trials) > 1)} {', '.join(one.trials)}"
    words = f"{runs_} run{'s' * (runs_ > 1)}: {trials}" + (f"; {one.seeds} seeds" if one.seeds > 1 else "")
    return words + (f"; {one.shipped} of them the project's own" if one.shipped else "")


def pm(mean: float, sd: float | None, digits: int) -> str:
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def difference(one: Measured) -> str:
    if one.difference is None:
        return ""
    if one.low is None:
        return f"{one.difference:+.1f}"
    return f"{one.difference:+.1f} ({one.low:+.1f} to {one.high:+.1f}; over {one.over})"


def by_machine(one: Measured) -> dict[str, float]:
    """The median minutes of a run on each machine, and of those on none that they name: a mean over machines, or over
    what else they had to do, would be nobody's time."""
    found: dict[str, list[float]] = {}
    for machine, took in zip(one.machines, one.minutes, strict=True):
        if took is not None:
            found.setdefault(machine, []).append(took)
    return {machine: statistics.median(took) for machine, took in found.items()}


def minutes(one: Measured) -> str:
    return "; ".join(f"{took:.1f}" + (f" on {machine}" if machine else "") for machine, took in by_machine(one).items())


def as_csv(found: Tables) -> str:
    """A row for each measurement, and for each published value that nothing was measured against."""
    names = ["dataset", "family", "method", "scorer", "recipe", "runs", "trials", "seeds", "auroc", "auroc_sd",
             "accuracy", "accuracy_sd", "published_method", "published_auroc", "published_sd", "source", "note",
             "difference", "low", "high", "interval_over", "median_minutes", "machines", "commits",
             "images", "shipped", "warnings"]  # fmt: skip
    text = io.StringIO()
    table = csv.DictWriter(text, names)
    table.writeheader()
    for cell in found.cells:
        entry = cell.published[0] if cell.published else {}
        base = {"dataset": cell.dataset, "family": cell.family, "method": cell.method, "scorer": cell.scorer}
        for one in cell.measured or [None]:
            known = [m for m in one.minutes if m is not None] if one else []
            own = {} if one is None else {
                "recipe": one.recipe, "runs": " ".join(one.runs), "trials": " ".join(one.trials), "seeds": one.seeds,
                "auroc": one.auroc, "auroc_sd": one.sd, "accuracy": one.accuracy, "accuracy_sd": one.accuracy_sd,
                "difference": one.difference, "low": one.low, "high": one.high, "interval_over": one.over,
                "median_minutes": statistics.median(known) if known else None,
                "machines": "; ".join(filter(None, dict.fromkeys(one.machines))),
                "commits": " ".join(one.commits), "images": one.images,
                "shipped": one.shipped, "warnings": "; ".join(one.warnings),
            }  # fmt: skip
            row = base | own | _of_entry(entry)
            table.writerow({name: no_formula(cell) for name, cell in row.items()})
    for entry in found.others:
        table.writerow({"dataset": entry["dataset"], "family": entry["family"]} | _of_entry(entry))
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

    Needs booktabs. A dagger marks a value over fewer than the five trials, an asterisk one with a caveat, which stands
    in a comment below.
    """
    cells = [cell for cell in found.cells if cell.family == family]
    others = [entry for entry in found.others if entry["family"] == family]
    every = {cell.dataset for cell in cells} | {entry["dataset"] for entry in others}
    columns = sorted(every, key=lambda name: (GRID.index(name) if name in GRID else len(GRID), name))
    ways = list(dict.fromkeys((cell.method, cell.scorer) for cell in cells))
    at = {(cell.dataset, cell.method, cell.scorer): cell for cell in cells}
    head = " & ".join(["", *(name.translate(TEX) for name in columns)])
    said = [f"% {family}; AUROC in percent, mean and standard deviation over the trials".replace("\n", " ")]
    said += [r"\begin{tabular}{l" + "c" * len(columns) + "}", r"\toprule", head + r" \\", r"\midrule"]
    notes: dict[str, None] = {}

    def theirs(label: str, entries: list[Entry | None]) -> str:
        notes.update(dict.fromkeys(f"{label}: {e['note']}" for e in entries if e and e.get("note")))
        values = [_tex(e["auroc"], e.get("sd"), 1) + (r"$^\ast$" if e.get("note") else "") if e else "--"
                  for e in entries]  # fmt: skip
        return " & ".join([f"{label} (published)".translate(TEX), *values]) + r" \\"

    for way, scorer in ways:
        row = [at.get((name, way, scorer)) for name in columns]
        measured = [cell.first if cell else None for cell in row]
        notes.update(dict.fromkeys(f"{way}, {scorer}: {text}" for one in measured if one for text in one.warnings))
        ours = [
            _tex(one.auroc, one.sd, 1) + (r"$^\dagger$" if len(one.trials) < len(TRIALS) else "")
            + (r"$^\ast$" if one.warnings else "") if one else "--"
            for one in measured
        ]  # fmt: skip
        said.append(" & ".join([f"{way}, {scorer} (measured)".translate(TEX), *ours]) + r" \\")
        entries = [next(iter(cell.published), None) if cell else None for cell in row]
        if label := next((entry["method"] for entry in entries if entry), ""):
            said.append(theirs(label, entries))
    for label in dict.fromkeys(entry["method"] for entry in others):
        mine = {entry["dataset"]: entry for entry in others if entry["method"] == label}
        said.append(theirs(label, [mine.get(name) for name in columns]))
    said += [r"\bottomrule", r"\end{tabular}", *(f"% * {' '.join(note.split())}" for note in notes), ""]
    return "\n".join(said)


def _tex(mean: float, sd: float | None, digits: int) -> str:
    return f"${mean:.{digits}f}" + (f" \\pm {sd:.{digits}f}$" if sd is not None else "$")


# --- two tables beside the benchmarks --------------------------------------------------------------------------------

REPORT = {"CIFAR10": "report-cifar10", "TinyImageNet": "report-tinyimagenet"}  # the presets of its networks
ON_REPORT = "CAC on EfficientNet-B5"
WITH_ODIN = f"{ON_REPORT}, with ODIN"


def of_report(readings: Iterable[Reading], odin: dict[str, float], file: Path = PUBLISHED) -> list[Cell]:
    """The EfficientNet report's values, beside what runs of its presets measured.

    It names no class lists: ours are over osrci. odin: by run, the AUROC in percent, of distance, at the best cell of a
    sweep that moves images as the report does, with their true labels.
    """
    said, _ = published(file)
    groups, found = _groups(readings), []
    for name, preset in REPORT.items():
        alike = {words_of(compose(preset, trial=trial)) for trial in TRIALS}
        for label, scorer in ((ON_REPORT, "gamma"), (WITH_ODIN, "distance")):
            here = tuple(e for e in said if (e["dataset"], e["method"]) == (name, label))
            mine = []
            for (dataset, family, method, words, _), members in groups.items():
                if (dataset, family, method) != (name, "osrci", "cac") or words not in alike:
                    continue
                if label == WITH_ODIN:
                    members = [_moved(one, odin[one.run]) for one in members if one.run in odin]
                mine += [one] if (one := _measured(words, members, scorer, here)) else []
            found.append(Cell(name, "not stated", "cac", label, here, tuple(mine)))
    return found


def _moved(one: Reading, auroc: float) -> Reading:
    return replace(one, numbers={"distance": (auroc / 100, one.numbers["distance"][1], None, None)})


def report_commands(cell: Cell) -> list[str]:
    """What makes the runs of a cell of the report."""
    preset, trials = REPORT[cell.dataset], TRIALS
    every = [compose(preset, trial=trial) for trial in trials]
    if cell.scorer == WITH_ODIN:
        return [shell.command("sweep", one.id, "--as-published") for one in every]
    return [shell.command("train", "--preset", preset, "--trial", trial) for trial in trials]


class Tutorial(TypedDict):
    """A published value of a network that knows all classes of a data set, against the images of another."""

    dataset: str
    unknown: str
    method: str
    auroc: float
    accuracy: float
    source: str
    note: str


TUTORIAL: Tutorial = {
    "dataset": "CIFAR10", "unknown": "Textures", "method": "CAC", "auroc": 89.58, "accuracy": 93.80,
    "source": "the tutorial on CAC of pytorch-ood",
    "note": "a WideResNet-40-2 that had been trained on small ImageNet images; it knows all ten classes, and learned "
    "by a loss that is not the paper's",
}  # fmt: skip
STAND_IN = "CIFAR100"  # where Textures is not here


def sets_of(run: Run) -> list[str]:
    """The data sets that a run was evaluated on as unknowns, by `eval --unknown`."""
    files = sorted((run.path / "outputs").glob("unknown-*.npz"))
    return list(dict.fromkeys(name for file in files if (name := runs.said_in(file, "dataset"))))
