"""The live pictures: theta, the temperature and the cloud of logits move in the browser while a finger moves them.

Plain JavaScript, as components of Streamlit's. `feed` brings a run's numbers and the scripts to the page, once, and
shows nothing; `lab` (where to put theta), `space` (the cloud of logits) and `front` (its wheel alone) draw from it.
What moves stays in the browser; Python hears of it once it has come to rest.

arithmetic.js  Python's arithmetic again          lab.js     the threshold lab, of histogram, roc and decisions
feed.js        the blob, and what the page keeps  space.js   the cloud, of pictures (the six), cloud (how it is drawn),
theme.js       colours, signs, small images                  camera (from how close), marks (which of them), legend,
names.js       class names, cut and still distinct           film, picks and pointer; front.js, its wheel alone
roving.js      a table as one stop of the Tab key main.js    the way in; door.js is all that a view itself brings
view.js        what all views share

N images, C known classes, E magnitudes of a perturbation, S epochs with V images each.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

HERE = Path(__file__).parent
SCRIPTS = (
    "arithmetic", "feed", "theme", "names", "roving", "view", "histogram", "roc", "decisions", "lab", "camera", "cloud",
    "marks", "pictures", "legend", "film", "picks", "pointer", "space", "front", "main",
)  # fmt: skip
STYLE = (HERE / "live.css").read_text("utf-8")
SCRIPT = "\n".join(
    [f"const STYLE = {json.dumps(STYLE)};", *((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)]
)
# every phrase that the views show: what a page gives as state["words"] for another language, {phrase: translated}
SETS = ("validation images", "test images")  # in a feed's header; the views translate them
WORDS = tuple(sorted({*SETS, *re.findall(r'\bsay\(\s*"([^"]+)"', SCRIPT)}))
DTYPES = ("float64", "float32", "float16", "uint8", "int8", "int16", "int32")
STATE = (
    "feed", "extra", "scorer", "name", "centres", "theta", "kept", "each", "temperature", "eps", "share", "sets",
    "selection", "view", "order", "pair", "triple", "hidden", "epoch", "decision", "top", "opacity",
    "density", "axis", "palettes", "words", "bare", "asks",
)  # fmt: skip

_feed = st.components.v2.component("anchorscope_feed", js=SCRIPT)
_view = st.components.v2.component("anchorscope_view", js=(HERE / "door.js").read_text("utf-8"))


def packed(columns: dict[str, np.ndarray], header: dict[str, Any]) -> bytes:
    """One blob for `feed`: uint32 length of a JSON header, the header, the columns, each at a multiple of 8 bytes.

    The header gains the columns' names, types, shapes and places, and an id, a digest of everything. Little-endian.
    Raises ValueError for a column of a type that the browser does not read.

    A run's columns: logits float32 [N, C]; labels int16 [N], -1 for unknown; classes int16 [N], class numbers, -1 where
    nobody has said; split uint8 [N], 0 validation, 1 test, 2 and on further unknown sets; centres float64 [C, C], the
    class means (in float32 the distance to a centre close by would be off). Where there are: anchors float32 [C, C];
    fold int16 [N], -1 for none, and fold_centres float64 [K, C, C], by which images of each of K folds are judged;
    eps_logits float32 or float16 [E, N, C]; umap float32 [N, 2], nan where not in the map; pca_mean [C] and pca_axes
    [2, C] float32; snapshots float16 [S, V, C], snapshot_epochs int32 [S], snapshot_labels int16 [V], and where there
    are folds snapshot_fold int16 [V]; atlas uint8, the bytes of a WebP or PNG, a tile for each row.

    Its header: known, the names of the known classes; names, those of all classes by class number; sets, the names of
    the splits by number; and where there are: eps, the E magnitudes; pca_share, two shares of the variance; tile, the
    side of a tile in pixels, and tiles, how many stand side by side in the atlas.

    The columns of an extra feed, for a score that the browser does not compute: score float64 [N], label int16 [N].
    """
    offset, entries, parts = 0, [], []
    for name, values in columns.items():
        if values.dtype.name not in DTYPES:
            raise ValueError(f"Column {name!r} is {values.dtype.name}; a feed holds {', '.join(DTYPES)}.")
        data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
        entries.append({"name": name, "dtype": values.dtype.name, "shape": values.shape, "offset": offset})
        parts.append(data + bytes(-len(data) % 8))
        offset += len(parts[-1])
    body = b"".join(parts)
    digest = hashlib.sha256(body + json.dumps([entries, header]).encode()).hexdigest()[:16]
    head = _header(header | {"id": digest, "columns": entries})
    return len(head).to_bytes(4, "little") + head + body


def _header(header: dict[str, Any]) -> bytes:
    """As JSON, filled up so that the columns begin at a multiple of 8; their offsets count from there."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-(4 + len(text)) % 8)


def id_of(blob: bytes) -> str:
    """The id of a packed feed."""
    return json.loads(blob[4 : 4 + int.from_bytes(blob[:4], "little")])["id"]


def feed(blob: bytes, key: str) -> str:
    """Brings a packed feed to the page, shows nothing, and gives its id. The same bytes travel only once."""
    _feed(key=f"unseen_{key}", data=blob)
    return id_of(blob)


def packed_rows(rows: Sequence[int]) -> str:
    """Rows as a text, a bit each: that of row r is bit r % 8 of byte r // 8. In base64, of 10 000 rows 1.7 kB."""
    bits = np.zeros(max(rows, default=-1) + 1, np.uint8)
    bits[np.asarray(rows, int)] = 1
    return base64.b64encode(np.packbits(bits, bitorder="little")).decode()


def unpacked_rows(text: str) -> list[int]:
    """The rows of `packed_rows`, in order; none of what is no such text."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        return []
    return np.flatnonzero(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tolist()


def lab(
    state: dict[str, Any], key: str, height: int, on_change: Callable[[], None] | None = None,
    on_asked: Callable[[], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The threshold lab: histogram with theta in it, ROC, confusion, borderline images. Gives where it came to rest.

    state: see `_mounted`. height: of its first row, in pixels. Gives {} until somebody has moved something; then theta
    (None = by rule), temperature, eps, sets, axis, and selection, the row of an image that was picked. Where
    on_asked is given, its numbers lead to their images: it is called for one, and `asked(key)` says which these are.
    """
    return _mounted("lab", state | {"asks": on_asked is not None}, key, height, on_change, on_asked)


def space(state: dict[str, Any], key: str, height: int, on_change: Callable[[], None] | None = None) -> dict[str, Any]:
    """The cloud of logits in exact and other views. Gives where it came to rest.

    state: see `_mounted`. height: of the picture, in pixels. Gives {} until somebody has moved something; then theta
    (None = by rule), temperature, eps, sets, view, order, pair, triple, hidden, epoch (None = no film), decision, top,
    opacity, density, and selection, all rows that were chosen.
    """
    return _mounted("space", state, key, height, on_change)


def front(
    state: dict[str, Any], key: str, height: int, on_change: Callable[[], None] | None = None,
    on_asked: Callable[[], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The wheel of the test images with theta, and what theta does to them; for two classes the plane of their logits.

    state: see `_mounted`. height: of the picture, in pixels. Gives {} until somebody has moved theta; then theta (None
    = by rule). on_asked: as of `lab`.
    """
    return _mounted("front", state | {"asks": on_asked is not None}, key, height, on_change, on_asked)


def settled(key: str) -> dict[str, Any]:
    """What the view with this key has come to rest at; for on_change, which runs before the page does."""
    return _read(_said(key))


def asked(key: str) -> dict[str, Any]:
    """What the images have in common that somebody asks for; for on_asked.

    truth: a known class, "known" or "never"; called: a known class, "accepted", "rejected", "right" (accepted and of
    that class, or rejected and of none), "another", or of the nearest class whatever theta is, "near" (it is right) or
    "far"; low, high: scores from low to below high, None for no end; order: "up" or "down"; row: the image that is to
    be opened. What is not said is free.
    """
    return dict((st.session_state.get(key) or {}).get("asked") or {})


def _said(key: str) -> dict[str, Any]:
    return dict((st.session_state.get(key) or {}).get("settled") or {})


def _read(word: dict[str, Any]) -> dict[str, Any]:
    return word | ({"selection": unpacked_rows(word["selection"])} if "selection" in word else {})


def _mounted(
    kind: str,
    state: dict[str, Any],
    key: str,
    height: int,
    on_change: Callable[[], None] | None,
    on_asked: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Mounts a view.

    What the state names is the page's: a page that gives theta must take it back from `settled(key)` in on_change,
    before its run, or the view goes back. What it leaves out is the view's own. A message that was written before the
    view's latest word had been heard changes nothing that a person can move, and none does while a finger is down.

    feed: id. extra: id of an extra feed, or None. scorer: gamma, distance, msp, max_logit or energy; with an extra
    feed, any. name: what the score is called on its axis. centres: means or anchors. theta: None = the lowest that
    keeps the share `kept` of new knowns, by the validation images; each: 0, since scores are less the theta of their
    class. temperature; eps: 0 = none, e = the e-th of the feed; whoever moves one of these lets theta go. share: of
    unknowns in use. sets: the splits whose images count. selection: rows. view: wheel, solid, plane, strip, pca or
    umap. order: of the classes around the wheel; pair, triple: classes of the plane and the solid; hidden: entries of
    the legend. decision: all, accepted, rejected or mistakes, the images that are drawn; top: mixed, unknown or known,
    what lies on top; opacity: 0.05 to 1; density: whether it is drawn in the marks' place. axis: of the histogram, by
    score, quantiles or auto. bare: the lab leaves out its tiles, T and epsilon, for a projector. asks: see `lab`.
    palettes: {"light": colours, "dark": colours} as charts.Palette. words: {phrase of WORDS: translated}.

    Raises ValueError for a name that no view knows.
    """
    if wrong := sorted(set(state) - set(STATE)):
        raise ValueError(f"A live view has no {', '.join(wrong)}; it takes {', '.join(STATE)}.")
    before = _said(key)
    if "selection" in state:
        state = state | {"selection": packed_rows(state["selection"])}
    data = {"kind": kind, "height": height, "state": state, "settled": before or None}
    _view(key=key, data=data, on_settled_change=on_change or _nothing, on_asked_change=on_asked or _nothing)
    return _read(before)


def _nothing() -> None:
    """A view's word is heard only where a callback stands for it."""
