"""The contact sheet of Try: 2 to 200 pictures of one's own as tiles or as a table, judged by one theta.

Theta, the filters, the order and what is chosen move in the browser; Python hears of them once they have come to rest,
and judges nothing anew. The small pictures travel once, apart from the rest.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import charts, setting, thumbnails
from app.setting import Setting
from app.words import phrases, t

HERE = Path(__file__).parent
VIEWS = ("grid", "table")
ORDERS = ("given", "high", "low", "near", "name", "class")
SHOWN = ("all", "accepted", "rejected", "failed")
LEFT_OUT, UNKNOWN = -2, -1  # labels; 0 and on are the classes of the run
BARS = 48  # of the test images behind the strip
SIDE, BYTES = 104, 4000  # of a small picture
WORDS = phrases({
    "all": "all", "accepted": "accepted", "rejected": "rejected", "failed": "failed",
    "accepted one": "accepted", "rejected one": "rejected", "failed one": "cannot be judged",
    "by near": "Nearest class", "every class": "every class", "by order": "Order",
    "order given": "as they came", "order high": "most unknown first", "order low": "most known first",
    "order near": "nearest to θ first", "order name": "by file name", "order class": "by nearest class",
    "grid": "Tiles", "table": "Table", "show": "Which pictures are shown", "view": "How they are shown",
    "label as": "Label as …", "unknown": "unknown", "left out": "not counted", "no label": "no label", "label": "Label",
    "choose all": "Choose all shown", "choose none": "Choose none",
    "chosen": "{n} chosen, {shown} shown", "nothing": "No picture is like this.",
    "sheet": "Pictures of your own", "picture": "picture", "file": "file", "decision": "decision",
    "nearest": "nearest class", "score": "score", "margin": "from θ", "short margin": "from θ", "truth": "label",
    "near": "nearest: {name}",
    "one": "{file}: {decision}, nearest class {nearest}, score {score}, from θ {margin}.",
    "labelled": "Labelled: {truth}.",
    "summary": "θ = {theta}: {accepted} accepted, {rejected} rejected",
    "slider": "θ: reject a picture when its score is above it",
    "legend": "Bars: the run's test images, known above, never seen below. Marks: your pictures; ● labelled known, "
              "× labelled unknown. Drag θ, or move it with the arrow keys.",
    "keys": "A click opens a picture. Arrow keys go through them, Enter opens one, Space chooses it, Shift with Space "
            "or a click chooses all up to it, Ctrl+A all that are shown.",
})  # fmt: skip

_component = st.components.v2.component(
    "anchorscope_sheet",
    css=(HERE / "sheet.css").read_text("utf-8"),
    js="\n".join((HERE / name).read_text("utf-8") for name in ("live/arithmetic.js", "live/theme.js", "sheet.js")),
)


@dataclass(frozen=True)
class Tile:
    """A picture: its file's name, what it is known by, and what was said of it, or why nothing could be.

    nearest: the label of its nearest class; base: what theta is put on top of, with a theta for each class.
    note: which part of the file was judged, where that is not all of it.
    """

    name: str
    mark: str
    picture: str = ""
    error: str = ""
    nearest: int = -1
    score: float = 0.0
    base: float = 0.0
    note: str = ""

    def rejected(self, theta: float) -> bool:
        return not self.error and not self.score <= self.base + theta


def marked(contents: list[bytes]) -> list[str]:
    """What each picture is known by, whatever it is called and wherever it stands; the same one twice is told apart."""
    found: dict[str, int] = {}
    marks = []
    for content in contents:
        digest = hashlib.sha256(content).hexdigest()[:16]
        found[digest] = found.get(digest, 0) + 1
        marks.append(digest if found[digest] == 1 else f"{digest}-{found[digest]}")
    return marks


def small(picture: Image.Image) -> str:
    """A picture for a tile; one of a few pixels is enlarged so that they can be seen."""
    picture = picture.convert("RGB")
    if max(picture.size) * 2 <= SIDE:
        times = SIDE // max(picture.size)
        picture = picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)
    picture.thumbnail((SIDE, SIDE))
    return thumbnails.inline(picture, most=BYTES)


def show(tiles: list[Tile], now: Setting, labels: dict[str, int], opened: str, key: str = "sheet") -> None:
    """The sheet. What happens there stands in the session: `own_*` how it is shown, theta, and by `take_label` and
    `take_open` what was labelled and opened."""
    pictures = {tile.mark: tile.picture for tile in tiles if tile.picture}
    set_id = hashlib.sha256("".join(pictures).encode()).hexdigest()[:16]
    _component(key=f"unseen_{key}_pictures", data={"set": set_id, "shown": pictures})
    rows = [
        {"mark": tile.mark, "name": tile.name, "nearest": tile.nearest, "score": tile.score, "base": tile.base,
         "said": "" if tile.error else charts.number(tile.score), "error": tile.error, "note": tile.note}
        for tile in tiles
    ]  # fmt: skip
    data = {
        "rows": rows, "names": now.run.known_names, "pictures": set_id, "theta": now.theta,
        "choices": choices(now), "scale": asdict(now.said.scale), "bars": bars(now),
        "labels": labels, "open": opened, "view": view(now.run.known_names),
        "heard": st.session_state.get("own_heard", 0),
        "words": {name: t(phrase) for name, phrase in WORDS.items()},
        "palettes": {"light": asdict(charts.LIGHT), "dark": asdict(charts.DARK)},
    }  # fmt: skip
    same = [data[name] for name in ("rows", "names", "choices", "scale", "bars")]
    data["id"] = hashlib.sha256(json.dumps(same).encode()).hexdigest()[:16]
    _component(key=key, data=data, on_word_change=_heard, on_label_change=_labelled, on_open_change=_opened)


def choices(now: Setting) -> list[float]:
    """Where theta may be put."""
    return sorted({float(x) for x in now.said.scale.choices()})


def bars(now: Setting) -> dict[str, list[int]]:
    """How many test images lie in each part of the scale, known and never seen, each as a share of its fullest."""
    score, known, edges = now.said.scale.clip(now.said.test.score), now.said.labels >= 0, now.said.scale.steps(BARS + 1)
    edges[0], edges[-1] = now.said.scale.low, now.said.scale.high  # to the last digit
    sides = {"known": score[known], "unknown": score[~known]}
    counts = {name: np.histogram(side, edges)[0] for name, side in sides.items()}
    return {name: np.rint(100 * some / max(some.max(), 1)).astype(int).tolist() for name, some in counts.items()}


def view(names: list[str]) -> dict[str, str]:
    """How the sheet is shown, by what the session and the address say; near is one of the names of the classes."""
    state = st.session_state
    kinds = {"as": VIEWS, "order": ORDERS, "show": SHOWN, "near": ("", *names)}
    said = {name: state.get(f"own_{name}") for name in kinds}
    return {name: value if value in kinds[name] else kinds[name][0] for name, value in said.items()}


# --- what comes from the browser -------------------------------------------------------------------------------------


def _said(name: str) -> dict[str, Any]:
    word = (st.session_state.get("sheet") or {}).get(name)
    word = word if isinstance(word, dict) else {}
    if isinstance(number := word.get("number"), int):
        st.session_state.own_heard = max(st.session_state.get("own_heard", 0), number)
    return word


def _heard() -> None:
    """Theta and the view, as they have come to rest."""
    word = _said("word")
    for name in ("as", "order", "show", "near"):
        if isinstance(word.get(name), str):
            st.session_state[f"own_{name}"] = word[name]
    theta = word.get("theta")
    if isinstance(theta, int | float) and math.isfinite(theta):
        setting.by_hand(float(theta))


def _labelled() -> None:
    word = _said("label")
    marks, to = word.get("marks"), word.get("to")
    if isinstance(marks, list) and (to is None or isinstance(to, int)):
        put_labels(st.session_state.run, [mark for mark in marks if isinstance(mark, str)], to)


def _opened() -> None:
    st.session_state.own_open = str(_said("open").get("mark", ""))


def labels_of(run: str) -> dict[str, int]:
    """What pictures were labelled as, by mark; of one run, since another one knows other classes."""
    return st.session_state.setdefault("own_labels", {}).setdefault(run, {})


def put_labels(run: str, marks: list[str], to: int | None) -> None:
    """Label pictures as a class of the run, UNKNOWN or LEFT_OUT; None takes their labels away."""
    labels = labels_of(run)
    for mark in marks:
        if to is None:
            labels.pop(mark, None)
        else:
            labels[mark] = to
