"""Who decides: a run's network with a threshold, or an exported ONNX file alone. In two steps, so that the network can
run in many processes and the score, which may hold all training images, in one."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cac_core import shell
from cac_core.data import images
from cac_core.data.images import Format
from cac_core.files import is_file
from cac_core.results.judge import UNKNOWN, Threshold
from cac_core.runs import Run
from cac_core.scoring.distances import moved_by
from cac_core.scoring.scorers import DIFFERENTIABLE, scorers_for
from cac_core.sentences import say


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

    def vectors(self, looked: tuple[np.ndarray, ...]) -> np.ndarray:
        """For each image a vector [N, D] by which images that look alike to the network lie near to each other."""


@dataclass(frozen=True)
class OfRun:
    """A run's own network and its score at a threshold. Both are loaded when they are first needed, and can be sent to
    another process until then."""

    path: Path
    threshold: Threshold
    device: str = "cpu"
    version: str = ""  # of the weights as this began

    def __post_init__(self):
        object.__setattr__(self, "version", self.version or version_of(self.run))

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
        return {"run": t.run, "version": self.version, "scorer": t.scorer, "options": t.options,
                "theta": t.theta, "thetas": t.thetas and list(t.thetas), "magnitude": t.magnitude,
                "temperature": t.temperature, "as": self.way}  # fmt: skip

    def looks(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        kept = self.__dict__
        if "network" not in kept:
            from cac_core.results import evaluate

            kept["network"] = evaluate.load(self.run, self.device)
            kept["centres"] = moved_by(self.run.outputs("train")) if self.threshold.magnitude else None
            if version_of(self.run) != self.version:  # others have been loaded, here or in another process
                raise ValueError(say("{run} has been written anew meanwhile. Begin again.", run=self.path.name))
        t = self.threshold
        return kept["network"].outputs(
            pixels, magnitude=t.magnitude, temperature=t.temperature, centres=kept["centres"]
        )

    def says(self, looked: tuple[np.ndarray, ...]) -> list[dict[str, Any]]:
        if "saying" not in self.__dict__:
            self.__dict__["saying"] = self.threshold.saying(self.run)
        return self.__dict__["saying"](*looked)

    def vectors(self, looked: tuple[np.ndarray, ...]) -> np.ndarray:
        return looked[1] if looked[1].shape[1] else looked[0]

    def __reduce__(self):
        return OfRun, (self.path, self.threshold, self.device, self.version)


KEY = "anchorscope"  # of the metadata of an exported file
MOST = 1 << 30  # bytes of such a file
PREPARATION = Path(__file__).with_name("prepare.py.txt")  # goes with each, as FILE.prepare.py


def engine():
    """ONNX Runtime. Raises ValueError where it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            say("ONNX files are run by a package that is not installed here. Get it with:\n    pip install onnxruntime")
        ) from error
    return onnxruntime


def takes_photos(row: Format, way: str) -> bool:
    """Whether a graph can cut and reduce a photo as images.prepare does: not where ink is looked for."""
    return not row.ink and not row.made and way == "picture"


PERTURBED = say("A perturbation needs a gradient, which an ONNX file does not give: export a threshold without one.")


def unexportable(run: Run, threshold: Threshold) -> str:
    """Why no ONNX file can say what this threshold decides; empty where one can."""
    if threshold.magnitude:
        return PERTURBED
    if threshold.scorer not in DIFFERENTIABLE:
        return say(
            "No file holds the score {scorer}: export a threshold of {names}.",
            scorer=threshold.scorer, names=exported_for(run.recipe.method),
        )  # fmt: skip
    if run.recipe.is_graph:
        return say("{run} is of an ONNX file already, and judges by it.", run=run.id)
    return ""


def exported_for(method: str) -> list[str]:
    """The scores of a method's outputs that a file can hold."""
    return [name for name in DIFFERENTIABLE if name in scorers_for(method)]


def check_exportable(run: Run, threshold: Threshold) -> None:
    """Raises ValueError for what no ONNX file can say, or where none can be made here."""
    if why := unexportable(run, threshold):
        raise ValueError(why)
    if not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        raise ValueError(
            say("To export takes packages that are not installed here. Get them with:\n    pip install '.[onnx]'")
        )


def session_of(content: bytes):
    """A graph, to be run on the processor by one thread."""
    options = engine().SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return engine().InferenceSession(content, options, ["CPUExecutionProvider"])


class OfOnnx:
    """An exported ONNX file: its network, score and theta, without torch and without its run. said: its metadata."""

    def __init__(self, file: Path):
        if not is_file(file):
            raise ValueError(say("there is no such file: {file}", file=file))
        self._read(file.read_bytes() if file.stat().st_size <= MOST else b"")

    @classmethod
    def of(cls, content: bytes) -> "OfOnnx":
        """The same of a file's content."""
        decider = cls.__new__(cls)
        decider._read(content)
        return decider

    def _read(self, content: bytes) -> None:
        self.content = content  # other processes get the same, whatever becomes of the file
        engine()
        try:
            self.session = session_of(content)
            self.said = said = json.loads(self.session.get_modelmeta().custom_metadata_map[KEY])
            threshold, how = said["threshold"], said["threshold"]["prepare"]
            self.names, self.way = list(map(str, threshold["classes"])), str(how["as"])
            self.row = Format(
                size=int(how["size"]), grain=int(how["grain"]), channels=int(how["channels"]), ink=bool(how["ink"]),
                made=int(how["made"]), drawn=str(said["drawn"]),
            )  # fmt: skip
            self.limits = np.broadcast_to(np.array(said["theta_in_graph"], float), len(self.names))
            self.about = {
                "run": str(threshold["run"]), "version": str(said["version"]), "scorer": str(threshold["scorer"]),
                "options": dict(threshold.get("options") or {}), "theta": float(threshold["theta"]),
                "thetas": threshold.get("thetas"), "as": self.way, "onnx": True,
            }  # fmt: skip
        except Exception as error:  # whatever a file that is none of ours makes the engine, or the reading, say
            raise ValueError(say(
                "This is no ONNX file that was exported by Anchorscope ({error}). Export one with:\n"
                "    {command}",
                error=str(error)[:200], command=shell.command("export", "RUN", "--onnx", "FILE"),
            )) from error  # fmt: skip

    def looks(self, pixels: np.ndarray) -> tuple[np.ndarray, ...]:
        into = self.session.get_inputs()[0].name  # "photo" takes a prepared image as it is, too
        logits, _, gamma, score, label, unknown = self.session.run(None, {into: pixels})
        return gamma, score, label, unknown, logits

    def says(self, looked: tuple[np.ndarray, ...]) -> list[dict[str, Any]]:
        return [
            {
                "decision": UNKNOWN if unknown else self.names[label], "label": self.names[label], "score": score,
                "theta": float(self.limits[label]), "gamma": dict(zip(self.names, gamma, strict=True)),
            }
            for gamma, score, label, unknown in zip(*(array.tolist() for array in looked[:4]), strict=True)
        ]  # fmt: skip

    def vectors(self, looked: tuple[np.ndarray, ...]) -> np.ndarray:
        return looked[4]

    def __reduce__(self):
        return OfOnnx.of, (self.content,)


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
