"""What a run says of its images: verdicts, report, perturbations, read once and kept.

Cached functions are keyed by where a run lies and when its outputs were written, never by arrays."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import charts, wording
from app.words import t
from cac_core.files import changed
from cac_core.results import judge, quality, sweep
from cac_core.runs import SPLITS, Run
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import judge_of, scorers_for
from cac_core.scoring.scorers import lacking as lacking_of


@dataclass(frozen=True)
class Judged:
    """A scorer's verdicts on the validation and test images of a run; each as in `judged`."""

    run: Run
    each: float | None
    validation: Verdict
    test: Verdict
    known: Outputs  # of the validation images
    outputs: Outputs  # of the test images
    means: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.outputs.labels

    @property
    def unknowns(self) -> bool:
        return bool((self.labels < 0).any())

    @property
    def right(self) -> np.ndarray:
        """Test images whose nearest class is theirs."""
        return self.test.label == self.labels

    def theta_at(self, kept: float) -> float:
        """The theta that keeps this share of new knowns; 0 where scores are less the theta of their class already."""
        return metrics.theta_at(kept, self.validation.score) if self.each is None else 0.0

    @property
    def scale(self) -> charts.Scale:
        known = self.labels >= 0
        return charts.Scale.of(np.concatenate([self.validation.score, self.test.score[known]]), self.test.score[~known])


@dataclass(frozen=True)
class Perturbation:
    """ODIN's: the magnitude of the step, and the temperature of the gradient that says where it goes."""

    magnitude: float = 0.0
    temperature: float = 1.0


def judged(
    run: Run, scorer: str, moved: Perturbation | None = None, each: float | None = None, **options: Any
) -> Judged:
    """each: scores less the theta of the nearest class that keeps this share of its knowns."""
    moved = moved if moved and moved.magnitude else None
    with st.spinner(t("Reading the run…")):
        return _judged(str(run.path), run.written, scorer, moved, each, tuple(sorted(options.items())))


@st.cache_data(max_entries=24, show_spinner=False)
def _judged(
    path: str, written: str, scorer: str, moved: Perturbation | None, each: float | None, options: tuple
) -> Judged:
    run = Run(Path(path))
    train = run.outputs("train")
    validation, test = run.outputs("validation"), run.outputs("test")
    judge_one = judge_of(scorer, train, validation, **dict(options))
    if moved:
        validation, test = (
            moved_outputs(run, out, split, moved) for out, split in ((validation, "validation"), (test, "test"))
        )
    verdicts = judge_one(validation), judge_one(test)
    means = class_means(train)
    if each is not None:
        thetas = judge.thetas_at(each, verdicts[0], len(means))
        verdicts = tuple(judge.beyond(thetas, verdict) for verdict in verdicts)
    return Judged(run, each, *verdicts, validation, test, means)


def moved_outputs(run: Run, out: Outputs, split: str, moved: Perturbation) -> Outputs:
    """The outputs on the perturbed images, out of the run's sweep."""
    found = sweep.moved(run, out, split, moved.magnitude, moved.temperature)
    if found is None:
        raise ValueError(
            f"The sweep of this run holds no perturbation of {moved.magnitude:g} at temperature {moved.temperature:g}."
        )
    return found


@st.cache_data(max_entries=24, show_spinner=False)
def _report(path: str, written: str) -> dict[str, Any]:
    run = Run(Path(path))
    said = run.report()
    if said and said.get("numbers") != judge.NUMBERS:  # written when a number was defined otherwise
        return judge.plain(judge.report_all(run, said))
    return said


def report(run: Run) -> dict[str, Any]:
    return _report(str(run.path), run.written)


def worth(run: Run) -> quality.Quality | None:
    """What a finished run is worth by its own score at the theta of the rule; None where it has no report."""
    said = report(run)
    numbers = said.get("scorers", {}).get(said.get("default"), {})
    return quality.of_report(numbers, run) if "confusion" in numbers else None


def lacking(run: Run) -> dict[str, str]:
    """The scores of a run's method that cannot be had from its outputs, and why."""
    return _lacking(str(run.path), run.written)


@st.cache_data(max_entries=50, show_spinner=False)
def _lacking(path: str, written: str) -> dict[str, str]:
    run = Run(Path(path))
    train = run.outputs("train")
    return {name: why for name in scorers_for(run.recipe.method) if (why := lacking_of(name, train))}


@dataclass(frozen=True)
class Numbers:
    """What a score is worth on the test images at its defaults, and the seconds that it took; or why it is not."""

    report: dict[str, float]
    auroc: tuple[float, float]
    accuracy: tuple[float, float]
    caught: float
    seconds: float
    error: str = ""


def all_scores(run: Run, names: list[str]) -> dict[str, Numbers]:
    """The numbers of these scores, each computed once; while that takes time it is said which."""
    bar, found = st.empty(), {}
    for number, name in enumerate(names, 1):
        said = t("{score}: {number} of {count}", score=t(wording.SHORT[name]), number=number, count=len(names))
        bar.progress(number / len(names), said)
        found[name] = _numbers(str(run.path), run.written, name)
    bar.empty()
    return found


@st.cache_data(max_entries=100, show_spinner=False)
def _numbers(path: str, written: str, name: str) -> Numbers:
    train, validation, test = (Run(Path(path)).outputs(split) for split in SPLITS)
    began = time.perf_counter()
    try:
        judge_one = judge_of(name, train, validation)
        kept, verdict = judge_one(validation), judge_one(test)
    except ValueError as error:
        nothing = (math.nan, math.nan)
        why = str(error)  # a sentence, which the page says in its reader's language
        return Numbers({}, nothing, nothing, math.nan, math.nan, why)
    seconds = time.perf_counter() - began
    theta, spread = metrics.theta_at(judge.KEPT, kept.score), metrics.intervals(verdict, test.labels, 0.0)
    caught = metrics.at(theta, verdict, test.labels, train.logits.shape[1])["unknowns_caught"]
    said = metrics.report(verdict, test.labels)
    return Numbers(said, metrics.delong(verdict, test.labels), spread["accuracy"], caught, seconds)


def held(run: Run) -> list[float]:
    """The temperatures whose perturbed logits the run's sweep holds."""
    return list(_swept(str(run.path), _sweep_stamp(run))[0])


def magnitudes(run: Run) -> list[float]:
    """The magnitudes of the run's sweep, 0 first; empty without one."""
    return list(_swept(str(run.path), _sweep_stamp(run))[1])


def _sweep_stamp(run: Run) -> str:
    stamp = changed(run.path / "sweep.npz")
    return f"{stamp} {run.written}" if stamp else ""


@st.cache_data(max_entries=50, show_spinner=False)
def _swept(path: str, stamp: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    temperatures, found = sweep.held(Run(Path(path)))
    return tuple(temperatures), tuple(sorted({0.0, *found})) if temperatures else ()
