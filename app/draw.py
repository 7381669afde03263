"""A square of paper to draw on, with mouse, pen, finger or keys, and what a run's network takes the drawing for.

The paper lives in the browser and remembers its strokes there, so that no rerun clears it. It sends a picture of them,
dark on white, while a stroke goes on and after it, one at a time: the next when Python has heard of the last.
"""

import base64
import binascii
from pathlib import Path
from typing import Any

import streamlit as st

from app import thumbnails, uploads, verdicts, wording
from app.words import t
from cac_core.results import judge
from cac_core.runs import Run

MOST = 300_000  # characters of a drawing in base64; one that fills the paper with lines takes some 20 000
PNG = b"\x89PNG\r\n\x1a\n"

_component = st.components.v2.component(
    "anchorscope_draw",
    html="""
    <div class="desk">
      <canvas tabindex="0" role="application"></canvas>
      <div class="tools">
        <button type="button" class="undo"></button>
        <button type="button" class="clear"></button>
        <label><span></span><input type="range" min="8" max="40" step="2" value="20"></label>
      </div>
      <p role="status"></p>
    </div>
    """,
    css="""
    .desk { width: 280px; max-width: 100%; font: inherit; color: var(--st-text-color); }
    canvas { display: block; box-sizing: border-box; width: 100%; aspect-ratio: 1; touch-action: none;
             cursor: crosshair; background: #fff; border: 1px solid var(--st-border-color);
             border-radius: var(--st-base-radius); }
    canvas:focus-visible, button:focus-visible, input:focus-visible {
      outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
    .tools { display: flex; align-items: center; gap: .5rem; margin-top: .5rem; }
    button { min-height: 2.75rem; padding: 0 .75rem; border-radius: var(--st-base-radius); font: inherit;
             cursor: pointer; color: inherit; background: transparent; border: 1px solid var(--st-border-color); }
    button:hover:enabled { border-color: var(--st-primary-color); color: var(--st-primary-color); }
    button:disabled { opacity: .45; cursor: default; }
    label { flex: 1; display: flex; align-items: center; gap: .5rem; min-width: 0; font-size: .875rem; }
    input { flex: 1; min-width: 0; height: 2.75rem; margin: 0; accent-color: var(--st-primary-color); }
    p { margin: .25rem 0 0; font-size: .8125rem; opacity: .75; }
    p:empty { margin: 0; }
    @media (max-width: 640px) { .desk { width: 100%; } }
    """,
    js=(Path(__file__).parent / "draw.js").read_text("utf-8"),
)


def canvas(key: str) -> bytes | None:
    """Shows the paper. Gives what is drawn on it, as a PNG, dark on white; None while it is empty."""
    said = (st.session_state.get(key) or {}).get("drawing")
    number, drawing = read(said)
    data = {
        "key": key,
        "heard": number,
        "words": {
            "paper": t("Paper to draw on. The arrow keys move a pen, Space puts it down and lifts it."),
            "undo": t("Undo"),
            "clear": t("Clear"),
            "pen": t("Pen"),
            "down": t("The pen is down."),
            "up": t("The pen is up."),
        },
    }
    _component(key=key, data=data, on_drawing_change=_heard)
    return drawing


def read(said: Any) -> tuple[int, bytes | None]:
    """The number of a drawing and its PNG, of what the browser said; 0 and None where that is neither."""
    if not isinstance(said, dict):
        return 0, None
    number, text = said.get("number"), said.get("png")
    number = number if isinstance(number, int) else 0
    if not isinstance(text, str) or len(text) > MOST:
        return number, None
    try:
        drawing = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return number, None
    return number, drawing if drawing.startswith(PNG) else None


def _heard() -> None:
    """What the paper says is heard only where a callback stands for it."""


def verdict(run: Run, drawing: bytes, scorer: str | None = None, theta: float | None = None, **options: Any) -> None:
    """Shows what a run takes a drawing for: as the network saw it, and the verdict in words.

    scorer: by default the run's own; theta: by default the one that keeps 95 % of new knowns.
    """
    with wording.explained():
        looked = uploads.looked_at(run, drawing, verdicts.Perturbation(), drawn=True)
        scorer = scorer or judge.default_of(run)
        (said,) = judge.said_of(run, looked.logits, looked.features, scorer, theta, **options)
        with st.container(horizontal=True, gap="medium"):
            st.image(
                thumbnails.as_seen(looked.pixels), t("as the network saw it"), width=92, alt=t("What the network saw")
            )
            with st.container(gap="small"):
                uploads.say(said)
