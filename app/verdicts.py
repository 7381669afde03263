"""What a run says of its images: verdicts, report, perturbations, read once and kept.

Cached functions are keyed by where a run lies and when its outputs were written, never by arrays."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import charts
from app.words import t
from cac_core.files import changed
from cac_core.results import judge, quality, sweep
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import judge_of


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
    judge_one, validation, test = (
        judge_of(scorer, train, **dict(options)),
        run.outputs("validation"),
        run.outputs("test"),
    )
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
    held = sweep.cube(run, moved.temperature)
    place = [] if held is None else np.flatnonzero(held[0] == moved.magnitude)
    if not len(place):
        raise ValueError(
            f"The sweep of this run holds no perturbation of {moved.magnitude:g} at temperature {moved.temperature:g}."
        )
    return replace(out, logits=held[1][split][place[0]].astype(np.float32))


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
