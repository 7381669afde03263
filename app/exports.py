"""The ONNX file of what is set for a run, as Export shows it: where it lies, who makes it, what is in it.

<run>/exported/<digest>/ holds threshold.json, network.onnx and network.prepare.py; digest is of what decides and what
prepares. The newest KEPT of a run stay.
"""

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app import jobs
from app.words import phrases
from cac_core import runs
from cac_core.files import changed
from cac_core.results.judge import Threshold
from cac_core.runs import Run
from cac_core.serving import deciders

FOLDER = "exported"
KEPT = 5
WORDS = ("rule", "quality")  # of a threshold: they differ by language, and decide nothing
MEANING = phrases({
    "image": "prepared images, as the preparation makes them",
    "photo": "photos of one size, upright and on white; they are cut and reduced inside",
    "logits": "what the network puts out",
    "distances": "to the centre of each class",
    "gamma": "γ of each class",
    "score": "how unknown the image looks",
    "label": "the number of the nearest class",
    "unknown": "whether it is rejected",
})  # fmt: skip

JAVASCRIPT = """\
// npm install onnxruntime-node
const ort = require("onnxruntime-node");

async function judge(pixels) {{ // Uint8Array of {bytes} bytes, prepared as by network.prepare.py
  const session = await ort.InferenceSession.create("network.onnx");
  const image = new ort.Tensor("uint8", pixels, {shape});
  const {{ unknown, label, score }} = await session.run({{ image }});
  const names = {names};
  return [unknown.data[0] ? "unknown" : names[Number(label.data[0])], score.data[0]];
}}
"""


JAVASCRIPT_PHOTO = """\
// npm install onnxruntime-node sharp
// for JPEG, PNG, WebP and GIF of 8 bits a channel; not for print colours (CMYK), nor what is enlarged pixel by pixel
const ort = require("onnxruntime-node");
const sharp = require("sharp");

async function judge(file) {{
  const session = await ort.InferenceSession.create("network.onnx");
  const picture = sharp(file).rotate().flatten({{ background: "white" }}).toColourspace("srgb");
  const {{ data, info }} = await picture.raw().toBuffer({{ resolveWithObject: true }});
  const photo = new ort.Tensor("uint8", {pixels}, [1, info.height, info.width, {channels}]);
  const {{ unknown, label, score }} = await session.run({{ photo }});
  const names = {names};
  return [unknown.data[0] ? "unknown" : names[Number(label.data[0])], score.data[0]];
}}
"""
GREY = """\
Uint8Array.from({ length: data.length / 3 }, (_, i) => // as Pillow does
    (19595 * data[3 * i] + 38470 * data[3 * i + 1] + 7471 * data[3 * i + 2] + 32768) >> 16)"""


def file_of(run: Run, threshold: Threshold, resize: bool = False) -> Path:
    """Where the file of this threshold lies, or will; resize: that takes photos of any size."""
    said = {name: value for name, value in dataclasses.asdict(threshold).items() if name not in WORDS}
    what = [run.written, said, resize, deciders.PREPARATION.read_text("utf-8")]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
    return run.path.absolute() / FOLDER / digest / "network.onnx"


def preparation(file: Path) -> Path:
    return file.with_suffix(".prepare.py")


def make(run: Run, threshold: Threshold, resize: bool = False) -> None:
    """Have it made by a process of its own."""
    file = file_of(run, threshold, resize)
    runs.write_json(file.with_name("threshold.json"), threshold.record(run))
    others = sorted((one for one in file.parents[1].iterdir() if one != file.parent), key=changed)
    for folder in others[: max(len(others) - KEPT + 1, 0)]:
        shutil.rmtree(folder, ignore_errors=True)
    given = ["--onnx", str(file), "--threshold", str(file.with_name("threshold.json"))]
    jobs.use(run, "export", given + ["--resize"] * resize)


@dataclass(frozen=True)
class Inside:
    """What an ONNX file says of itself: its metadata, and name, type and shape of what goes in and comes out."""

    said: dict[str, Any]
    ports: tuple[tuple[str, str, str], ...]
    size: int

    @property
    def row(self) -> dict[str, Any]:
        return self.said["threshold"]["prepare"]

    @property
    def javascript(self) -> str:
        side, channels = self.row["size"], self.row["channels"]
        names = json.dumps(self.said["threshold"]["classes"], ensure_ascii=False)
        if self.ports[0][0] == "photo":
            return JAVASCRIPT_PHOTO.format(pixels=GREY if channels == 1 else "data", channels=channels, names=names)
        return JAVASCRIPT.format(bytes=side * side * channels, shape=[1, side, side, channels], names=names)


def inside(file: Path) -> Inside:
    """Raises ValueError where the file is none of ours."""
    return _inside(str(file), changed(file))


@st.cache_data(max_entries=8, show_spinner=False)
def _inside(file: str, stamp: int) -> Inside:
    decider = deciders.OfOnnx(Path(file))
    ports = [*decider.session.get_inputs(), *decider.session.get_outputs()]
    said = tuple((one.name, one.type.removeprefix("tensor(").rstrip(")"), " × ".join(map(str, one.shape)))
                 for one in ports)  # fmt: skip
    return Inside(decider.said, said, Path(file).stat().st_size)
