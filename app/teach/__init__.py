"""The anchor lab: a small network that is trained in the page while one watches, and the picture of the lessons.

Plain JavaScript, one component of Streamlit's. It trains on points of a plane, or on three of scikit-learn's digits, in
three classes: logit space has three dimensions, so every picture of it is exact.

network.js   the network, CAC's loss and softmax cross-entropy, gradient descent
toys.js      what it learns from, and the unknowns      course.js    one training, epoch by epoch, and what is known
link.js      the state in the address                   paint.js     canvas, signs, boxes: what the parts are made of
plane.js     the plane, its points and tools            gallery.js   the digits, and a pad to draw one's own
solid.js     the space of the three logits              formulas.js  the formulas, filled in
controls.js  what is learned, the player, the settings  numbers.js   the numbers of each epoch, the scores
exercise.js  the box to hand it out                     bench.js     the lab itself: what is trained, and when drawn

arithmetic.js and theme.js are app/live's.
"""

import dataclasses
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import charts, live
from app.words import t
from cac_core.data import sources

HERE = Path(__file__).parent
PURE = "\n".join(  # without a page, as the tests run it
    [
        (live.HERE / "arithmetic.js").read_text("utf-8"),
        *((HERE / f"{name}.js").read_text("utf-8") for name in ("network", "toys", "course", "link")),
    ]
)
PAGE = ("paint", "plane", "gallery", "solid", "formulas", "controls", "numbers", "exercise", "bench")
STYLE = (live.HERE / "live.css").read_text("utf-8") + (HERE / "teach.css").read_text("utf-8")
SCRIPT = "\n".join(
    [
        f"const STYLE = {json.dumps(STYLE)};",
        (live.HERE / "theme.js").read_text("utf-8"),
        PURE,
        *((HERE / f"{name}.js").read_text("utf-8") for name in PAGE),
    ]
)
WORDS = tuple(sorted(set(re.findall(r'\bsay\(\s*"([^"]+)"', SCRIPT))))
PARTS = ("input", "logits", "loss", "curves", "scores")

_bench = st.components.v2.component("anchorscope_bench", js=SCRIPT)


@cache
def digits() -> dict[str, str]:
    """scikit-learn's digits as text: 64 letters each, a to q for ink from 0 to 16, and their ten labels."""
    images, classes = sources.counted_digits()
    return {
        "pixels": (images.reshape(len(images), -1).astype(np.uint8) + ord("a")).tobytes().decode("ascii"),
        "labels": "".join(map(str, classes)),
    }


def lab(
    preset: dict[str, Any],
    show: tuple[str, ...],
    key: str,
    height: int,
    hide: tuple[str, ...] = (),
    link: bool = False,
    bare: bool = False,
) -> None:
    """Shows the lab.

    preset: what differs from course.js's STATE, and play to begin at once. show: of PARTS. height: of a picture at
    most, in pixels. hide: controls to leave out (data, classes, method, unknown, stranger, play, epoch, alpha, lambda,
    rate, noise, width, seed, kept, draw, share). link: the address has the state, and ?hide= more to leave out.
    bare: no more than a window holds, for a projector.
    """
    _bench(
        key=key,
        data={
            "key": key, "preset": preset, "show": list(show), "hide": list(hide), "height": height, "link": link,
            "bare": bare,
            "digits": digits() if link or preset.get("data") == "digits" else None,
            "words": {phrase: t(phrase) for phrase in WORDS},
            "palettes": {"light": dataclasses.asdict(charts.LIGHT), "dark": dataclasses.asdict(charts.DARK)},
        },
    )  # fmt: skip
