"""An image from elsewhere, and the network that looks at it. Torch is imported in `_network` and below alone."""

import dataclasses
import hashlib
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import charts, verdicts, wording
from app.setting import Setting
from app.words import t
from cac_core.data import images
from cac_core.results import judge
from cac_core.runs import Run
from cac_core.scoring.distances import moved_by
from cac_core.scoring.outputs import Outputs

evaluating = threading.Lock()


@st.cache_resource(max_entries=2, show_spinner=False)
def _network(path: str, written: str):
    from cac_core.results import evaluate

    return evaluate.load(Run(Path(path)), "cpu")


def load(run: Run) -> None:
    """Loads the run's network, so that what is wrong with it is said once, and not of every picture."""
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        _network(str(run.path), run.written)


@dataclass(frozen=True)
class Looked:
    """An image or a drawing: a small picture of it, what the network saw, what was done to it, and what came out."""

    original: Image.Image
    pixels: np.ndarray
    done: tuple[images.Note, ...]
    logits: np.ndarray
    features: np.ndarray


def looked_at(
    run: Run, image: bytes, moved: verdicts.Perturbation, way: str | None = None, drawn: bool = False
) -> Looked:
    """What the network puts out for an image after ODIN's step. Raises ValueError that says why it is no image.

    way: what it is taken for, see `images.way_of`. drawn: it comes from the paper of this page, see `images.drawn`.
    """
    return _looked_at(str(run.path), run.written, hashlib.sha256(image).hexdigest(), moved, way, drawn, image)


def looked_through(run: Run, some: list[images.Prepared], moved: verdicts.Perturbation) -> list[Looked]:
    """The same for several prepared images at once: one by one a busy machine takes many times as long."""
    path, written = str(run.path), run.written
    how = dataclasses.asdict(moved) | {"centres": _centres(path, written)}
    with evaluating:
        logits, features = _network(path, written).outputs(np.stack([one.pixels for one in some]), **how)
    return [
        Looked(one.preview, one.pixels, one.done, logits[n : n + 1], features[n : n + 1]) for n, one in enumerate(some)
    ]


@st.cache_data(max_entries=256, show_spinner=False)
def _looked_at(
    path: str, written: str, digest: str, moved: verdicts.Perturbation, way: str | None, drawn: bool, _image: bytes
) -> Looked:
    run = Run(Path(path))
    prepared = images.drawn(_image, run.row) if drawn else images.prepare(_image, run.row, way)
    how = dataclasses.asdict(moved) | {"centres": _centres(path, written)}
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        logits, features = _network(path, written).outputs(prepared.pixels[None], **how)
    return Looked(prepared.preview, prepared.pixels, prepared.done, logits, features)


@st.cache_data(max_entries=4, show_spinner=False)
def _centres(path: str, written: str) -> np.ndarray:
    """Where ODIN's step goes to: read once, not for each of many pictures."""
    return moved_by(Run(Path(path)).outputs("train"))


def outputs_of(run: Run, pixels: np.ndarray) -> Outputs:
    """What the network puts out for images [N, H, W, C] uint8 as it sees them."""
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        return Outputs.of_images(*_network(str(run.path), run.written).outputs(pixels))


def moved_image(run: Run, pixels: np.ndarray, magnitude: float, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """An image [H, W, C] uint8 after ODIN's step, on the scale 0 to 1, and the logits [1, K] that it gives then."""
    return _moved_image(str(run.path), run.written, pixels.tobytes(), pixels.shape, magnitude, temperature)


@st.cache_data(max_entries=64, show_spinner=False)
def _moved_image(
    path: str, written: str, content: bytes, shape: tuple, magnitude: float, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        from cac_core.results import evaluate

        network, pixels = _network(path, written), np.frombuffer(content, np.uint8).reshape(1, *shape).copy()
        how = {
            "magnitude": magnitude,
            "temperature": temperature,
            "centres": moved_by(Run(Path(path)).outputs("train")),
        }
        return evaluate.moved_images(network, pixels, **how)[0], network.outputs(pixels, **how)[0]


def pushing(now: Setting, pixels: np.ndarray) -> np.ndarray:
    """By how much the score, one of DIFFERENTIABLE, grows with each pixel of an image [H, W, C], summed over the
    channels: [H, W]."""
    options = tuple(sorted(now.options.items()))
    return _pushing(str(now.run.path), now.run.written, now.scorer, options, pixels.tobytes(), pixels.shape)


@st.cache_data(max_entries=64, show_spinner=False)
def _pushing(path: str, written: str, scorer: str, options: tuple, content: bytes, shape: tuple) -> np.ndarray:
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        from cac_core.results import formulas

        pixels = np.frombuffer(content, np.uint8).reshape(1, *shape).copy()
        scoring = formulas.of_run(Run(Path(path)), _network(path, written), scorer, dict(options))
        return formulas.gradient(scoring, pixels)[0].sum(-1)


def said_of(now: Setting, logits: np.ndarray, features: np.ndarray, fold: np.ndarray | None = None) -> list[dict]:
    """What is said of images with these logits [N, C] and features [N, D], as it is set; see `judge.said_of`."""
    return judge.said_of(now.run, logits, features, now.scorer, now.theta, now.thetas, fold=fold, **now.options)


def said_at_zero(now: Setting, looks: list[Looked], of: str) -> list[dict[str, Any]]:
    """`said_of` these pictures at a theta of 0, kept; of names them and what was done to them. See `decided`."""
    options = tuple(sorted(now.options.items()))
    return _said_at_zero(str(now.run.path), now.run.written, now.scorer, options, of, looks)


@st.cache_data(max_entries=8, show_spinner=False)
def _said_at_zero(
    path: str, written: str, scorer: str, options: tuple, of: str, _looks: list[Looked]
) -> list[dict[str, Any]]:
    logits, features = (np.concatenate([getattr(look, part) for look in _looks]) for part in ("logits", "features"))
    return judge.said_of(Run(Path(path)), logits, features, scorer, 0.0, **dict(options))


def decided(said: list[dict[str, Any]], names: list[str], limits: np.ndarray) -> list[dict[str, Any]]:
    """The same by another theta, that of the nearest class out of limits [C]; as `judge.said_of` says it."""
    thetas = dict(zip(names, limits.tolist(), strict=True))
    return [
        one | {"decision": one["label"] if one["score"] <= thetas[one["label"]] else judge.UNKNOWN,
               "theta": thetas[one["label"]]}
        for one in said
    ]  # fmt: skip


def say(verdict: dict[str, Any]) -> None:
    """The verdict on an image, one of `said_of`, in words."""
    score, theta, label = verdict["score"], verdict["theta"], wording.plain(verdict["label"])
    unknown = not score <= theta  # also where the score is no number
    st.subheader(t("Unknown") if unknown else t("Known: {name}", name=label), anchor=False)
    said = zip(("score", "theta"), charts.apart(score, theta), strict=True)
    numbers = dict(said, margin=charts.number(abs(score - theta)))
    if math.isnan(score):
        said_so = t("The score is no number, and an image without one is rejected.")
    elif unknown:
        said_so = t("Score **{score}** is above θ **{theta}**; the margin is {margin}.", **numbers)
        said_so += " " + t("The nearest class is {name}.", name=label)
    else:
        said_so = t("Score **{score}** is not above θ **{theta}**; the margin is {margin}.", **numbers)
    st.markdown(said_so)
    best = max(verdict["softmax"], key=verdict["softmax"].get)
    share = charts.percent(verdict["softmax"][best])
    st.markdown(t("Softmax alone says **{name}** with {share}.", name=wording.plain(best), share=share))
