"""Who decides: a run's network with a threshold, or an exported ONNX file alone. In two steps, so that the network can
run in many processes and the score, which may hold all training images, in one."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cac_core.data import images
from cac_core.data.images import Format
from cac_core.files import is_file
from cac_core.results.judge import Threshold
from cac_core.runs import Run
from cac_core.scoring.distances import moved_by


class Decider(Protocol):
    """row and way say how an image is prepared; about, what decides: run, version, score and theta."""

    row: Format
    way: str
    names: Sequence[str]
    about: dict[str, Any]

    def looks(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the network puts out for prepared images [N, H, W, C], a row of each array for each image."""

    def says(self, looked: tuple[np.ndarray, ...]) -> list[dict[str, Any]]:
        """For each image, from what the network put out: decision, label, score, theta, gamma by class."""


@dataclass(frozen=True)
class OfRun:
    """A run's own network and its score at a threshold. Both are loaded when they are first needed, and can be sent to
    another process until then."""

    path: Path
    threshold: Threshold
    device: str = "cpu"

    @property
    def run(self) -> Run:
        return Run(self.path)

    @property
    def row(self) -> Format:
        return self.run.row

    @property
    def way(self) -> str:
        return images.way_of(self.run.row, self.threshold.way)

    @property
    def names(self) -> list[str]:
        return self.run.known_names

    @property
    def about(self) -> dict[str, Any]:
        t = self.threshold
        return {"run": t.run, "version": version_of(self.run), "scorer": t.scorer, "options": t.options,
                "theta": t.theta, "thetas": t.thetas and list(t.thetas), "magnitude": t.magnitude,
                "temperature": t.temperature, "as": self.way}  # fmt: skip

    def looks(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        kept = self.__dict__
        if "network" not in kept:
            from cac_core.results import evaluate

            kept["network"] = evaluate.load(self.run, self.device)
            kept["centres"] = moved_by(self.run.outputs("train")) if self.threshold.magnitude else None
        t = self.threshold
        return kept["network"].outputs(
            pixels, magnitude=t.magnitude, temperature=t.temperature, centres=kept["centres"]
        )

    def says(self, looked: tuple[np.ndarray, ...]) -> list[dict[str, Any]]:
        if "saying" not in self.__dict__:
            self.__dict__["saying"] = self.threshold.saying(self.run)
        return self.__dict__["saying"](*looked)

    def __reduce__(self):
        return OfRun, (self.path, self.threshold, self.device)


def version_of(run: Run) -> str:
    """The beginning of the SHA-256 of a run's weights; empty where it has none."""
    file = run.path / "best.safetensors"
    if not is_file(file):
        return ""
    with open(file, "rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:12]


def one_thread() -> None:
    """To be called in a process before its network is loaded: more threads than one a process wait for each other."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
