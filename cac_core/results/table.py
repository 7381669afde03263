"""The table of results: what the runs of a store measured, beside what has been published. Numpy only.

AUROCs are in percent here, as papers print them. A row is a data set, the family of its class lists, a method, a scorer
and a recipe; runs that differ in trial and seed alone share it, and every trial counts once. Numbers on different
families are on different classes: they never share a row, and a row says which trials it is over. published.json holds
the published numbers, each with its source; "measured_as" names the method and scorer of ours that they are to be held
against.
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

from cac_core import runs
from cac_core.recipe import Recipe
from cac_core.runs import Run

PER_RUN = {"trial", "seed", "known", "unknown"}  # what runs of a row may differ in


def published() -> list[dict[str, Any]]:
    """The published AUROCs: dataset, family, method, auroc, sd, measured_as, source, note."""
    return json.loads((Path(__file__).parent / "published.json").read_text("utf-8"))


def rows(store: Path) -> list[dict[str, Any]]:
    """Measured rows, then the published ones that nothing here was measured against, by data set and family.

    Means and sample standard deviations are over the trials, each the mean of its seeds, as in `compare`; on a single
    trial over its seeds, and a single run has none.
    """
    groups: dict[tuple, list[tuple[Run, dict]]] = {}
    for run in runs.every(store):
        if run.problem() or not (report := run.report()):
            continue
        for scorer, numbers in report.get("scorers", {}).items():
            if None not in (numbers.get("auroc"), numbers.get("accuracy")):
                groups.setdefault((*recipe_words(run), scorer), []).append((run, numbers))
    said, matched, table = published(), set(), []
    for (dataset, family, method, recipe, scorer), measured in groups.items():
        row = {"dataset": dataset, "family": family, "method": method, "scorer": scorer, "recipe": recipe}
        row["runs"] = [run.id for run, _ in measured]
        for name in ("accuracy", "auroc"):
            by_trial: dict[str, list[float]] = {}
            for run, numbers in measured:
                by_trial.setdefault(run.recipe.trial, []).append(100 * numbers[name])
            (*values,) = map(statistics.mean, by_trial.values()) if len(by_trial) > 1 else next(iter(by_trial.values()))
            row[name] = statistics.mean(values)
            row[f"{name}_sd"] = statistics.stdev(values) if len(values) > 1 else None
        row["trials"] = sorted({run.recipe.trial for run, _ in measured}, key=lambda trial: (len(trial), trial))
        seeds: dict[str, set[int]] = {}
        for run, _ in measured:
            seeds.setdefault(run.recipe.trial, set()).add(run.recipe.seed)
        row["seeds"] = max(map(len, seeds.values()))  # of the trial that has most
        for place, entry in enumerate(said):
            if entry.get("measured_as") == [method, scorer] and (entry["dataset"], entry["family"]) == (
                dataset,
                family,
            ):
                row["published"] = entry
                matched.add(place)
        table.append(row)
    table += [
        {"dataset": entry["dataset"], "family": entry["family"], "method": entry["method"], "published": entry}
        for place, entry in enumerate(said)
        if place not in matched
    ]
    order = list(dict.fromkeys(entry["dataset"] for entry in said))
    return sorted(
        table,
        key=lambda r: (r["dataset"] not in order, order.index(r["dataset"]) if r["dataset"] in order else r["dataset"],
                       r["family"], "runs" not in r),
    )  # fmt: skip


# a file of cac-openset's weights
LAYOUT = re.compile(r"(?P<dataset>[A-Za-z0-9+]+)_(?P<trial>\d+)_(?P<kind>\w+)\.pth")


def source_of(run: Run) -> str:
    """What an imported network is told apart by: the kind of weights, where they are those published with CAC for each
    trial, or else the run itself, since files of different networks may have one name. Empty of what was trained here.
    """
    if not (file := run.record.get("imported_from")):
        return ""
    return str(file).split("_")[-1] if LAYOUT.fullmatch(str(file)) else run.id


def recipe_words(run: Run) -> tuple[str, str, str, str]:
    """Data set, family, method, and the rest of the recipe in words."""
    recipe = run.recipe
    if came_from := source_of(run):
        published = "published weights" if came_from != run.id else "imported"
        return recipe.dataset, recipe.family, recipe.method, f"{published} ({came_from})"
    family = recipe.family if recipe.family != "custom" else f"custom ({recipe.trial})"
    return recipe.dataset, family, recipe.method, words_of(recipe)


def words_of(recipe: Recipe) -> str:
    """A recipe in words, without data set, family, trial, method and seed."""
    rest = {
        k: v for k, v in recipe.differences().items() if k not in PER_RUN | {"dataset", "family", "method", "backbone"}
    }
    shown = {"epochs": recipe.epochs, **{k: v for k, v in rest.items() if k not in ("hyper", "trunk")}}
    shown |= recipe.hyper | recipe.trunk
    words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())
    return f"{recipe.backbone}, {words}"


def lines(table: list[dict[str, Any]]) -> list[str]:
    """The table as Markdown; what nobody measured stays empty."""
    head = ["data set", "family", "method", "scorer", "network and recipe", "runs", "accuracy, %", "AUROC, %",
            "published AUROC, %", "source"]  # fmt: skip
    said = [f"| {' | '.join(head)} |", "|" + "-|" * len(head)]
    for row in table:
        entry = row.get("published", {})
        cells = [row["dataset"], row["family"], row["method"], row.get("scorer", ""), row.get("recipe", "")]
        if "runs" in row:
            trials = f"trial{'s' * (len(row['trials']) > 1)} {', '.join(row['trials'])}"
            over = f"{trials}; {row['seeds']} seeds" if row["seeds"] > 1 else trials
            cells += [f"{len(row['runs'])} ({over})", _spread(row["accuracy"], row["accuracy_sd"], 2)]
            cells += [_spread(row["auroc"], row["auroc_sd"], 2)]
        else:
            cells += ["", "", ""]
        cells += [_spread(entry["auroc"], entry.get("sd"), 1) if entry else ""]
        cells += ["; ".join(part for part in (entry.get("source"), entry.get("note")) if part)]
        said.append("| " + " | ".join(cells) + " |")
    return said


def _spread(mean: float, sd: float | None, digits: int) -> str:
    digits = max(digits, len(str(mean).partition(".")[2]) if digits == 1 else digits)
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")
