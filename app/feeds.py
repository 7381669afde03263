"""What the live pictures are fed with: a run's images as rows, their logits, and small pictures of them in one atlas.

Rows are the validation images, then the test images, then those of further data sets that were evaluated as unknown.
Everything is kept under when the outputs were written, so a rewritten run is read again.
"""

import contextlib
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import holdings, live, thumbnails, verdicts
from app.setting import Setting
from app.words import t
from cac_core import runs
from cac_core.data import datasets, images
from cac_core.files import changed
from cac_core.results import judge, project, sweep
from cac_core.runs import Run
from cac_core.scoring.distances import class_means
from cac_core.scoring.outputs import Outputs, Verdict, joined, without_fold
from cac_core.scoring.scorers import judge_of

IN_BROWSER = ("gamma", "distance", "msp", "max_logit", "energy")  # scores that arithmetic.js computes from logits
ATLAS_BYTES = 3_200_000  # of a payload that stays below 5 MB but for large sweeps
EXACT = 2_000_000  # values of all pixels that are sent as they are; of more than these, small pictures with losses
TILE = 32  # pixels a side, at most: an image that is made smaller than it was looks like another one to the network
SHEET = 4400  # pixels a side of them all, which a browser unpacks


@dataclass(frozen=True)
class Rows:
    """A run's images in the order of the feed: outputs of all N, split [N], a place in splits, and their names.

    As a text, rows are the same images whichever further sets there are: those of validation and test as
    `live.packed_rows`, then those of each further set as "<split>.<rows>", counted from its first one.
    """

    outputs: Outputs
    split: np.ndarray
    splits: tuple[str, ...]
    train: Outputs

    def start(self, split: int) -> int:
        """The row at which a split begins."""
        return int(np.searchsorted(self.split, split))

    def learnt(self, row: int) -> Outputs:
        """The training outputs that an image is judged by: of one that is of a fold, those without it."""
        fold = self.outputs.fold
        return self.train if fold is None or fold[row] < 0 else without_fold(self.train, fold[row])

    def _spans(self) -> dict[str, tuple[int, int]]:
        """The rows that a part of a text can mean, by what it begins with: from, to below."""
        further = {split: (self.start(n), self.start(n + 1)) for n, split in enumerate(self.splits) if n >= 2}
        return {"": (0, self.start(2))} | further

    def packed(self, rows: Sequence[int]) -> str:
        rows, parts = np.asarray(rows, int), []
        for split, (start, end) in self._spans().items():
            if len(mine := rows[(rows >= start) & (rows < end)]):
                parts.append(f"{split}{'.' if split else ''}{live.packed_rows(mine - start)}")
        return " ".join(parts)

    def unpacked(self, text: str) -> list[int]:
        """The rows that are there of such a text, in order."""
        found, spans = [], self._spans()
        for part in text.split():
            split, _, some = part.rpartition(".")
            start, end = spans.get(split, (0, 0))
            found += [start + row for row in live.unpacked_rows(some) if start + row < end]
        return sorted(found)


def rows_in(text: str) -> str:
    """Rows as a link has them; ValueError where it is no such text."""
    if not text.split() or not all(live.unpacked_rows(part.rpartition(".")[2]) for part in text.split()):
        raise ValueError
    return text


def moved_rows(every: Rows, run: Run, moved: verdicts.Perturbation | None) -> Outputs:
    """The outputs of all rows, of the validation and test images as a perturbation has moved them."""
    if moved is None:
        return every.outputs
    logits = every.outputs.logits.copy()
    for number, split in enumerate(every.splits[:2]):
        mine = every.split == number
        logits[mine] = verdicts.moved_outputs(run, run.outputs(split), split, moved).logits
    return replace(every.outputs, logits=logits)


def further(run: Run) -> dict[str, str]:
    """Data sets evaluated as unknown for this run: the split's name and the data set's."""
    found = {}
    for file in sorted((run.path / "outputs").glob("unknown-*.npz")):
        short = file.stem.removeprefix("unknown-")
        if said := runs.said_in(file, "dataset"):
            found[file.stem] = said
        else:  # an older version's, which says it by the slug alone
            names = datasets.called(short, datasets.root_of())
            found[file.stem] = names[0] if len(names) == 1 else short
    return found


def written(run: Run, sets: tuple[str, ...]) -> str:
    """Another text when the outputs of the run or of one of these sets have been written anew."""
    stamps = [changed(run.path / "outputs" / f"{split}.npz") for split in sets]
    return "/".join([run.written, *(str(stamp) for stamp in stamps if stamp)])


def rows(run: Run, sets: tuple[str, ...] = ()) -> Rows:
    return _rows(str(run.path), written(run, sets), sets)


@st.cache_resource(max_entries=4, show_spinner=False)
def _rows(path: str, written: str, sets: tuple[str, ...]) -> Rows:
    run = Run(Path(path))
    parts = [run.outputs(split) for split in ("validation", "test", *sets)]
    together = parts[0]
    for part in parts[1:]:
        together = joined(together, part)
    split = np.repeat(np.arange(len(parts), dtype=np.uint8), [len(part) for part in parts])
    return Rows(together, split, ("validation", "test", *sets), run.outputs("train"))


def scored(now: Setting, sets: tuple[str, ...] = ()) -> Verdict:
    """The verdict on all rows, with `each` less the theta of the nearest class. Further sets are in no sweep."""
    options, moved = tuple(sorted(now.options.items())), now.moved if now.moved.magnitude else None
    with st.spinner(t("Scoring the images…")):
        return _scored(str(now.run.path), written(now.run, sets), now.scorer, options, moved, now.each, sets)


@st.cache_data(max_entries=12, show_spinner=False)
def _scored(
    path: str, written: str, scorer: str, options: tuple, moved: verdicts.Perturbation | None, each: float | None,
    sets: tuple[str, ...],
) -> Verdict:  # fmt: skip
    run = Run(Path(path))
    every = rows(run, sets)
    judge_one = judge_of(scorer, every.train, run.outputs("validation"), **dict(options))
    verdict = judge_one(moved_rows(every, run, moved))
    if each is None:
        return verdict
    first = every.split == 0
    validation = Verdict(verdict.score[first], verdict.label[first])
    return judge.beyond(judge.thetas_at(each, validation, every.outputs.logits.shape[1]), verdict)


def _there(run: Run, sets: tuple[str, ...]) -> tuple[bool, ...]:
    """Whose images are here: with those that come meanwhile, a feed has pictures."""
    called = further(run)
    return tuple(not holdings.gone(name) for name in (run.recipe.dataset, *(called[split] for split in sets)))


def in_browser(now: Setting) -> bool:
    """Whether a live picture can compute the scores by itself."""
    return now.scorer in IN_BROWSER and now.each is None


def score_feed(verdict: Verdict) -> bytes:
    """An extra feed, for a score that the browser cannot compute."""
    return live.packed({"score": verdict.score.astype(np.float64), "label": verdict.label.astype(np.int16)}, {})


def columns(every: Rows, out: Outputs) -> dict[str, np.ndarray]:
    """What every feed of a run holds, of its images as `out` has them: logits, what they are, what they are judged by.

    An image that is of a fold is judged by the class means without that fold, as in `scorers.explaining`.
    """
    train = every.train
    found = {
        "logits": out.logits.astype(np.float32),
        "labels": out.labels.astype(np.int16),
        "classes": np.where(every.split >= 2, -1, out.classes).astype(np.int16),
        "split": every.split,
        "centres": class_means(train),
    }
    if out.anchors is not None:
        found["anchors"] = out.anchors.astype(np.float32)
    if out.fold is not None and train.fold is not None:
        folds = range(train.fold.max() + 1)
        found["fold"] = out.fold.astype(np.int16)
        found["fold_centres"] = np.stack([class_means(without_fold(train, fold)) for fold in folds])
    return found


def run_feed(
    run: Run, *, odin: float | None = None, sets: tuple[str, ...] = (), umap: project.Map | None = None
) -> bytes:
    """The feed of a run: with the perturbed logits at one temperature `odin` of the sweep, with a UMAP."""
    stamp = run.path / "sweep.npz"
    swept = changed(stamp) if odin else 0
    root = str(datasets.root_of().absolute())
    with st.spinner(t("Reading the run…")):
        return _run_feed(str(run.path), written(run, sets), odin if swept else None, swept, sets,
                         str(umap.path) if umap else None, root, _there(run, sets))  # fmt: skip


@st.cache_data(max_entries=6, show_spinner=False)
def _run_feed(
    path: str, written: str, odin: float | None, swept: int, sets: tuple[str, ...], umap: str | None, root: str,
    there: tuple[bool, ...],
) -> bytes:  # fmt: skip
    run = Run(Path(path))
    every = rows(run, sets)
    out = every.outputs
    found = columns(every, out)
    flat = project.pca(out.logits, found["centres"] if out.anchors is None else out.anchors)
    found |= {"pca_mean": flat.mean.astype(np.float32), "pca_axes": flat.axes.T.astype(np.float32)}
    header: dict[str, Any] = {
        "dataset": run.recipe.dataset,
        "known": run.known_names,
        "names": run.class_names,
        "sets": [*live.SETS, *(further(run)[split] for split in sets)],
        "pca_share": flat.shares.tolist(),
    }
    if odin is not None and not sets and (held := sweep.cube(run, odin)) is not None:
        magnitudes, cube = held
        _, some = np.unique(magnitudes, return_index=True)  # ascending, as verdicts.magnitudes has them
        some = some[magnitudes[some] > 0]
        both = np.concatenate([cube["validation"][some], cube["test"][some]], 1)
        if both.shape[1] == len(out):
            found["eps_logits"], header["eps"] = both, magnitudes[some].tolist()  # as held: θ is the same everywhere
    if umap is not None:
        found["umap"] = _umap_places(Path(umap), every, run)
    if stored := run.snapshots():
        found |= {
            "snapshots": stored["logits"].astype(np.float16),
            "snapshot_epochs": stored["epochs"].astype(np.int32),
            "snapshot_labels": stored["labels"].astype(np.int16),
        }
        if "fold" in found:
            first = every.split == 0
            fold_of = dict(zip(out.index[first].tolist(), found["fold"][first].tolist(), strict=True))
            found["snapshot_fold"] = np.array([fold_of.get(i, -1) for i in stored["index"].tolist()], np.int16)
    if (pictures := _atlas(run, every, Path(root))) is not None:
        atlas, header["tile"], header["tiles"] = pictures
        found["atlas"] = np.frombuffer(atlas, np.uint8)
    return live.packed(found, header)


def plain_feed(now: Setting) -> bytes:
    """The feed of a run's images alone, as they are moved: no other perturbations, no film, pictures where few."""
    moved = now.moved if now.moved.magnitude else None
    with st.spinner(t("Reading the run…")):
        root = str(datasets.root_of().absolute())
        return _plain_feed(str(now.run.path), now.run.written, moved, root, _there(now.run, ()))


@st.cache_data(max_entries=6, show_spinner=False)
def _plain_feed(
    path: str, written: str, moved: verdicts.Perturbation | None, root: str, there: tuple[bool, ...]
) -> bytes:
    run = Run(Path(path))
    every = rows(run)
    out = moved_rows(every, run, moved)
    found = columns(every, out)
    header = {
        "dataset": run.recipe.dataset,
        "known": run.known_names,
        "names": run.class_names,
        "sets": list(live.SETS),
    }
    if _exact(run, len(out)) and (pictures := _atlas(run, every, Path(root))) is not None:
        atlas, header["tile"], header["tiles"] = pictures
        found["atlas"] = np.frombuffer(atlas, np.uint8)
    return live.packed(found, header)


def order_of(run: Run) -> list[int]:
    """The classes as they stand around the wheel: like beside like."""
    return _order_of(str(run.path), run.written)


@st.cache_data(max_entries=20, show_spinner=False)
def _order_of(path: str, written: str) -> list[int]:
    return project.wheel_order(class_means(Run(Path(path)).outputs("train")))


def _umap_places(file: Path, every: Rows, run: Run) -> np.ndarray:
    """Places [N, 2] of a map, nan for the images that are not in it."""
    places = np.full((len(every.outputs), 2), np.nan, np.float32)
    for one in project.maps(run):
        if one.path == file and not one.stale:
            for number, split in enumerate(one.splits):
                if split in every.splits:
                    mine = one.split == number
                    places[every.start(every.splits.index(split)) + one.row[mine]] = one.xy[mine]
    return places


# --- pictures --------------------------------------------------------------------------------------------------------


def _exact(run: Run, count: int) -> bool:
    """Whether so many images are few enough to be sent as the network sees them."""
    return count * run.row.size**2 * run.row.channels <= EXACT


def _atlas(run: Run, every: Rows, root: Path) -> tuple[bytes, int, int] | None:
    """A WebP of all images side by side, the side of a tile and how many stand in a row; None where there are none.

    Where there are few images they are in it as the network saw them; else they have losses, and one that is saved and
    dropped in may get another verdict. Kept beside the decoded images of the data root.
    """
    row, count = run.row, len(every.outputs)
    exact = _exact(run, count)
    tiles = math.isqrt(count - 1) + 1
    tile = row.size if exact else min(row.size, TILE, SHEET // tiles)
    said = [run.record.get("data"), tile, exact, every.splits, every.outputs.index.tobytes()]
    said += [run.validated_on] if run.validated_on == datasets.SET_ASIDE else []
    said += [run.made_of(split) for split in every.splits[2:]]
    file = root / ".cache" / f"atlas-{hashlib.sha256(repr(said).encode()).hexdigest()[:16]}.webp"
    try:
        return file.read_bytes(), tile, tiles
    except OSError:
        pass
    pictures = _pictures(run, every)
    if pictures is None:
        return None
    mode = "L" if row.channels == 1 else "RGB"
    sheet = Image.new(mode, (tiles * tile, tiles * tile))
    for n, picture in enumerate(pictures):
        small = Image.fromarray(picture[..., 0] if row.channels == 1 else picture)
        small = small if small.size == (tile, tile) else small.resize((tile, tile), Image.Resampling.BILINEAR)
        sheet.paste(small, (n % tiles * tile, n // tiles * tile))
    atlas = b""
    for quality in (80, 60, 40, 20, 10):
        target = io.BytesIO()
        sheet.save(target, "WEBP", quality=quality, method=2, lossless=exact)
        atlas = target.getvalue()
        if len(atlas) <= ATLAS_BYTES:
            break
    with contextlib.suppress(OSError):  # a data root that cannot be written: made again next time
        runs.write(file, atlas)
    return atlas, tile, tiles


def _pictures(run: Run, every: Rows) -> np.ndarray | None:
    """The images [N, H, W, C] of all rows; None where one of the data sets is not here."""
    parts = []
    for number, split in enumerate(every.splits):
        index = every.outputs.index[every.split == number]
        if number < 2:
            trained = split == "validation" and run.validated_on != datasets.SET_ASIDE
            found = thumbnails.pixels(run, "train" if trained else "test")
        else:
            found = thumbnails.pixels_of(further(run)[split], run.made_of(split))
            found = found if isinstance(found, str) else images.converted(found[index], run.row)
            index = slice(None)
        if isinstance(found, str):
            return None
        parts.append(found[index])
    return np.concatenate(parts)
