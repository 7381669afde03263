"""What data there is: data sets here and missing, some of their images, published and own trials."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from app import charts, wording
from app.words import phrases, t
from cac_core.data import datasets, decoded, sources
from cac_core.data.datasets import Dataset, Trial
from cac_core.data.images import brought
from cac_core.exchange import own_data
from cac_core.files import stamp_of
from cac_core.recipe import Recipe
from cac_core.runs import Run
from cac_core.sentences import Sentence, say

PICTURES = 6  # of each class that are shown
OWN = phrases(("an image folder of your own", "yours"))  # about a data set, and its licence


def root() -> Path:
    return datasets.root_of().absolute()


def folders_allowed() -> list[Path] | None:
    """The folders of this machine that a user of the app may name, and all below; None: any, where only people at this
    machine reach the app. ANCHORSCOPE_FOLDERS lists them."""
    said = os.environ.get("ANCHORSCOPE_FOLDERS", "")
    if said:
        return [Path(one) for one in said.split(os.pathsep) if one]
    return None if st.get_option("server.address") in ("localhost", "127.0.0.1", "::1") else []


@dataclass(frozen=True)
class Shelf:
    """What is here of a data set: bytes on disk, and where it is missing, why and how to get it.

    passed says what lies in its folder and is not read."""

    name: str
    own: bool
    size: int
    missing: str
    about: str
    licence: str
    passed: tuple[str, ...] = ()


def shelves() -> list[Shelf]:
    """All data sets and image folders. Looked at again after ten minutes, or after look_again()."""
    with st.spinner(t("Looking at the data folder…")):
        return _shelves(str(root()))


def look_again() -> None:
    for looked in (_shelves, _state, _gone):
        looked.clear()


@st.cache_data(ttl=600, max_entries=4, show_spinner=False)
def _shelves(root: str) -> list[Shelf]:
    found = []
    for name in (*datasets.DATASETS, *datasets.folders(Path(root))):
        about, licence = sources.ABOUT.get(name, OWN)
        files, missing = datasets.here(name, Path(root))
        size = sum(file.stat().st_size for file in files)
        own = name not in datasets.DATASETS
        passed = tuple(sources.passed_over(Path(root) / name)) if own else ()
        found.append(Shelf(name, own, size, missing, about, licence, passed))
    return found


def here(name: str) -> bool:
    """Whether the images of a data set of the table are here."""
    return next((not shelf.missing for shelf in shelves() if shelf.name == name), False)


def gone(name: str) -> bool:
    """Whether nothing of a data set is here."""
    return _gone(name, str(root()))


@st.cache_data(ttl=10, max_entries=50, show_spinner=False)
def _gone(name: str, root: str) -> bool:
    return datasets.gone(name, Path(root))


def closed() -> list[Sentence]:
    """Which folders in the data root cannot be read, in sentences."""
    return datasets.passed_over(root())


def by_hand(name: str) -> list[str]:
    """Where to put the files of a data set, one sentence for each of its sources."""
    parts = datasets.NEEDS.get(name, (name,))
    return [say(sources.BY_HAND[part], root=root()) for part in parts if part in sources.BY_HAND]


def row(name: str) -> Dataset:
    """The row of a data set; of one that is not here, what is known without its files."""
    try:
        return datasets.row_of(name, root())
    except FileNotFoundError:
        return datasets.DATASETS[name]


def changed(run: Run) -> tuple[str, str] | None:
    """What a run's images were and what they are here now, in words; None where they are the same or nobody knows."""
    with contextlib.suppress(ValueError, OSError):  # not here, or damaged: whoever trains it is told
        name, size, place = run.recipe.dataset, run.recipe.size, str(root())
        with st.spinner(t("Reading the images…")):
            return run.changed(*_identity(name, size, place, _state(name, place), run.record.get("data")))
    return None


@st.cache_data(ttl=10, max_entries=50, show_spinner=False)
def _state(name: str, root: str) -> int:
    return state_of(datasets.here(name, Path(root))[0])


def state_of(files: Iterable[Path]) -> int:
    """Another number when one of these files has come, gone or changed."""
    return hash(tuple(map(_stamp, files)))


def _stamp(file: Path) -> tuple:
    try:
        return stamp_of(file)
    except OSError:  # it has gone meanwhile, or nobody lets one look
        return (str(file),)


@st.cache_data(max_entries=50, show_spinner=False)
def _identity(name: str, size: int, root: str, state: int, of: str | None) -> tuple[str, dict[str, int]]:
    return datasets.identity(datasets.load(name, Path(root), size, of))


def pixel_note(name: str) -> str:
    mine = row(name)
    colour = t("colour") if mine.channels == 3 else t("grey")
    return t("{side} × {side} pixels, {colour}", side=mine.size, colour=colour)


def samples(name: str) -> tuple[dict[int, np.ndarray], dict[str, int]] | str:
    """Some images [n, H, W, C] of each class, and how many there are of each part; or why there is nothing to see."""
    if name not in datasets.DATASETS:
        with wording.explained(), st.spinner(t("Reading the images…")):
            return _few(name, str(root()), _state(name, str(root())))
    if name == "digits":
        with wording.explained():
            datasets.load(name, root())  # small; kept decoded
    kept = _decoded(name)
    if kept is None:
        return t("Its images can be seen here after the first training has read them.")
    with st.spinner(t("Reading the images…")):
        return _samples(str(kept), kept.stat().st_mtime_ns)


@st.cache_data(max_entries=8, show_spinner=False)
def _few(name: str, place: str, state: int) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    """Of an image folder: the first images of each class alone are decoded, however many there are."""
    mine, found = datasets.row_of(name, Path(place)), {}
    parts = sources.folder_files(Path(place), name)
    for file, cls in (one for some in parts.values() for one in some):
        if len(found.setdefault(cls, [])) < PICTURES:
            with contextlib.suppress(ValueError):  # training names it
                found[cls].append(brought(file, mine))
    counts = {part: len(some) for part, some in parts.items()}
    return {cls: np.stack(some) for cls, some in found.items() if some}, counts


def ahead(name: str, size: int) -> decoded.Ahead | None:
    """What decoding an image folder takes before a training at this size can begin; None where that is nothing."""
    if name in datasets.DATASETS:
        return None
    with contextlib.suppress(ValueError, OSError):  # whoever trains it is told
        return _ahead(name, size, str(root()), _state(name, str(root())))
    return None


@st.cache_data(ttl=10, max_entries=20, show_spinner=False)
def _ahead(name: str, size: int, place: str, state: int) -> decoded.Ahead | None:
    return sources.ahead(Path(place), name, datasets.row_of(name, Path(place), size))


SOON = 10  # seconds: what takes less is not announced


def tell_ahead(found: decoded.Ahead | None) -> None:
    """Say what decoding takes, where that is long, and whether it fits on the disk."""
    if found is None or found.seconds < SOON:
        return
    st.info(
        t("{count} images are decoded first, once: about **{time}**, and {disk} of disk.", count=found.images,
          time=wording.span(found.seconds), disk=wording.megabytes(found.size)),
        icon=":material/photo_library:",
    )  # fmt: skip
    if found.size > found.free:
        st.warning(
            t("There is too little disk: it takes about {disk}, and {free} are free.",
              disk=wording.megabytes(found.size), free=wording.megabytes(found.free)),
            icon=":material/hard_drive:",
        )  # fmt: skip


def _decoded(name: str) -> Path | None:
    """The file of a data set's decoded images, where it has been read once."""
    found = list((root() / ".cache").glob(f"{name}-{row(name).size}.*.npz"))
    return max(found, key=lambda file: file.stat().st_mtime_ns, default=None)


@st.cache_data(max_entries=8, show_spinner=False)
def _samples(file: str, stamp: int) -> tuple[dict[int, np.ndarray], dict[str, int]]:
    arrays, found, counts = datasets.mapped(Path(file)), {}, {}
    for part in datasets.parts_in(arrays):
        pixels, classes = arrays[f"{part}_pixels"], arrays[f"{part}_classes"]
        counts[part] = len(classes)
        fresh = [c for c in np.unique(classes) if c not in found]
        found |= {int(c): np.array(pixels[np.flatnonzero(classes == c)[:PICTURES]]) for c in fresh}
    return found, counts


def published(name: str) -> dict[tuple[str, str], Trial]:
    """The published trials of a data set: (family, index) -> trial."""
    mine, found = row(name), {}
    for family, lists in datasets.published().items():
        for index in range(len(lists.get(mine.trials or "", []))):
            given = Recipe(dataset=name, family=family, trial=str(index))
            found[family, str(index)] = datasets.trial_of(given, mine)
    return found


def kept(name: str) -> dict[tuple[str, str], Trial]:
    """The trials that users have kept for a data set."""
    every = own_data.trials(root(), name, row(name))
    return {("custom", index): trial for index, trial in every.items() if isinstance(trial, Trial)}


def trial_name(key: tuple[str, str]) -> str:
    family, index = key
    return t("yours: {name}", name=index) if family == "custom" else t("{family}, trial {n}", family=family, n=index)


def fewest(name: str, trial: Trial) -> int:
    """The number of training images in the smallest known class of an image folder; 0 where nobody has counted."""
    if name in datasets.DATASETS:
        return 0
    counts = datasets.counts(name, root())
    return min(counts.get(c, 0) for c in trial.known)


def openness(trial: Trial) -> str:
    return t(
        "{known} known, {unknown} unknown classes · openness {share}",
        known=len(trial.known), unknown=len(trial.unknown), share=charts.percent(trial.openness),
    )  # fmt: skip
