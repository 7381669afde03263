"""Maps: a run's logits in two dimensions, and what lies next to what. Numpy; UMAP and scikit-learn only in functions.

The order of the classes around the anchor wheel, PCA and the nearest training images are computed when asked for. A
UMAP takes from seconds to a minute, so it is made once, by a process of its own, and kept in the run's directory:

<run>/maps/umap-<digest>.npz      places of images, anchors and class means, and how far the map can be believed
<run>/maps/.progress.json         how far a map has come that is being made right now

N, M images, C known classes, K logits of an image. UMAP: McInnes, Healy and Melville, arXiv:1802.03426; dense is
densMAP, Narayan et al., Nature Biotechnology 2021. Distances are Euclidean, as CAC's are, and no label is looked at.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import signal
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, TypedDict

import filelock
import numpy as np

from cac_core import records, runs
from cac_core.data.datasets import DAMAGED
from cac_core.records import FINITE, Array, Count, Curve, Unfit
from cac_core.runs import Run
from cac_core.scoring.arrays import at_least, blocks
from cac_core.scoring.distances import class_means, distances
from cac_core.scoring.outputs import Outputs
from cac_core.sentences import say

# --- the anchor wheel ------------------------------------------------------------------------------------------------

EXACT = 8  # classes up to which every order is tried
STARTS = 20  # classes from which the search for an order sets out, where there are more
TIE = 9  # decimals, of the largest distance, to which two lengths are told apart


def wheel_order(means: np.ndarray) -> list[int]:
    """The shortest round through all class means [C, K], so that classes that are alike are next to each other.

    It begins with class 0 and goes the way that has the smaller number second; among equals the first by number. Up to
    EXACT classes it is the shortest there is. With more it is one that no turning around of a stretch makes shorter
    (2-opt), the best from several greedy starts. Raises ValueError where a mean is not finite.
    """
    if not np.isfinite(means).all():
        raise ValueError(say("A class mean is not finite (NaN or infinite): its place on the wheel cannot be found."))
    gaps = distances(means, means)
    gaps = np.round(gaps / (gaps.max() or 1), TIE)
    count = len(means)
    if count <= EXACT:
        orders = np.array([(0, *rest) for rest in permutations(range(1, count)) if rest[:1] <= rest[-1:]])
        lengths = gaps[orders, np.roll(orders, -1, 1)].sum(1)
        return orders[lengths.round(TIE).argmin()].tolist()
    found = [_from_zero(_untangled(_greedy(gaps, start), gaps)) for start in range(min(count, STARTS))]
    return min(found, key=lambda order: (gaps[order, np.roll(order, -1)].sum().round(TIE), order))


def _greedy(gaps: np.ndarray, start: int) -> np.ndarray:
    """From class to the nearest class that was not yet visited."""
    order, left = [start], np.ones(len(gaps), bool)
    while len(order) < len(gaps):
        left[order[-1]] = False
        order.append(int(np.where(left, gaps[order[-1]], np.inf).argmin()))
    return np.array(order)


def _untangled(order: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Turn around the stretch whose turning shortens the round the most, until none does."""
    while True:
        after = np.roll(order, -1)
        step = gaps[order, after]
        gain = np.triu(step[:, None] + step - gaps[np.ix_(order, order)] - gaps[np.ix_(after, after)], 1)
        i, j = np.unravel_index(gain.argmax(), gain.shape)
        if gain[i, j] < 10.0**-TIE:
            return order
        order[i + 1 : j + 1] = order[i + 1 : j + 1][::-1].copy()


def _from_zero(order: np.ndarray) -> list[int]:
    order = np.roll(order, -int(order.argmin()))
    return (order if order[1] < order[-1] else np.roll(order[::-1], 1)).tolist()


# --- PCA -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """A flat view: mean [K], axes [K, 2] of length 1, and the share of the variance along each, shares [2]."""

    mean: np.ndarray
    axes: np.ndarray
    shares: np.ndarray

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Places [N, 2] of logits [N, K], of any image, anchor or mean."""
        return (logits - self.mean) @ self.axes


def pca(logits: np.ndarray, points: np.ndarray) -> Linear:
    """The two directions along which logits [N, K], with the anchors or class means [C, K], spread out the most.

    Of each direction the largest component is positive. Raises ValueError where logits are not finite, or all equal.
    """
    _check_finite(logits, say("given"))
    _check_spread(logits)
    x = np.concatenate([logits, points]).astype(np.float64)
    mean = x.mean(0)
    variance, axes = np.linalg.eigh((x - mean).T @ (x - mean))
    variance, axes = np.maximum(variance[::-1], 0), axes[:, :-3:-1]
    largest = np.abs(axes).round(TIE).argmax(0)
    return Linear(mean, axes * np.sign(axes[largest, [0, 1]]), variance[:2] / variance.sum())


def _check_finite(logits: np.ndarray, of: str) -> None:
    wrong = ~np.isfinite(logits).all(1)
    if wrong.any():
        raise ValueError(say(
            "The logits of {count} of {all} {part} images are not finite (NaN or infinite): they have no place on a "
            "map. The training has diverged; train again with a lower learning rate.",
            count=wrong.sum(), all=len(logits), part=say(of),
        ))  # fmt: skip


def _check_spread(logits: np.ndarray) -> None:
    if not np.ptp(logits, axis=0).any():
        raise ValueError(say("The logits of all images are equal: there is nothing to map. Train for longer."))


# --- the nearest training images -------------------------------------------------------------------------------------


def nearest(train: Outputs, logits: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """The k training images nearest to each of logits [M, K]: their rows in train [M, k], and distances [M, k].

    Nearest first. By differences in float64, so exact also next to a training image. Mirrored copies are left out.
    Raises ValueError where k is below 1 or above the number of training images, or logits are not finite.
    """
    rows = np.flatnonzero(~train.mirrored)
    if at_least(k, 1, "k") > len(rows):
        raise ValueError(say(
            "k={k} needs {k} training images or more; this run has {count}. Take a smaller k.",
            k=k, count=len(rows),
        ))  # fmt: skip
    if not np.isfinite(logits).all():
        raise ValueError(say("These logits are not finite (NaN or infinite): nothing is nearest to them."))
    bank, x = train.logits[rows].astype(np.float64), logits.astype(np.float64)
    index, distance = np.empty((len(x), k), np.int64), np.empty((len(x), k))
    for block in blocks(len(x), 3 * bank[:, 0].nbytes):
        squares = np.zeros((len(x[block]), len(bank)))
        for own, other in zip(x[block].T, bank.T, strict=True):
            squares += (own[:, None] - other) ** 2
        found = np.sort(np.argpartition(squares, k - 1, 1)[:, :k], 1)
        d = np.sqrt(np.take_along_axis(squares, found, 1))
        order = np.argsort(d, 1, kind="stable")
        index[block] = rows[np.take_along_axis(found, order, 1)]
        distance[block] = np.take_along_axis(d, order, 1)
    return index, distance


# --- UMAP, written once ----------------------------------------------------------------------------------------------

SPREAD = 1.0  # UMAP's own scale of the map, which min_dist cannot exceed
JUDGED_BY = 15  # neighbours by which a map is judged
JUDGED_ON = 2000  # images on which trustworthiness is computed: it holds tables of all pairs
STAGES = ("loading", "neighbours", "embedding", "checking")
MADE_FROM = ("logits.npy", "labels.npy", "anchors.npy")  # what of the outputs a map depends on


@dataclass(frozen=True)
class Map:
    """A UMAP of M of a run's images, as it was written.

    xy [M, 2]; split [M], a place in splits, and row [M], the place in that split's outputs; means [C, 2] and
    anchors [C, 2], or None where the method has none. images is how many there were to choose the M from.
    trustworthiness lies between 0 and 1, 1 = neighbours in the map are neighbours in logit space (Venna and Kaski,
    ICANN 2001). same_class: of an image's 15 nearest images the share of its own class, unknown being one class, as
    {"logits": ..., "map": ...}. stale: the outputs were written anew with other numbers, so rows mean other images.
    """

    path: Path
    parameters: dict[str, Any]
    xy: np.ndarray
    splits: tuple[str, ...]
    split: np.ndarray
    row: np.ndarray
    means: np.ndarray
    anchors: np.ndarray | None
    images: int
    trustworthiness: float
    same_class: dict[str, float]
    versions: dict[str, str]
    stale: bool


ARRAYS = {
    "xy": Array("f", "M 2", -FINITE), "split": Array("iu", "M", 0), "row": Array("iu", "M", 0),
    "means": Array("f", "C 2", -FINITE), "anchors": Array("f", "C 2", -FINITE, needed=False), "about": Array("U"),
}  # fmt: skip


class _Parameters(TypedDict):
    neighbours: int
    min_dist: float
    seed: int
    dense: bool
    most: int


class _About(TypedDict):
    """What a map's file says in words."""

    parameters: _Parameters
    splits: list[str]
    images: Count
    trustworthiness: Curve
    same_class: dict[str, Curve]
    versions: dict[str, str]
    made_from: dict[str, list[int]]


def maps(run: Run) -> list[Map]:
    """The maps there are, the stale ones last; a damaged file is passed over."""
    stamps, found = _stamps(run), []
    for file in (run.path / "maps").glob("umap-*.npz"):
        with contextlib.suppress(OSError, Unfit):
            found.append(_read(run, file, stamps))
    return sorted(found, key=lambda one: (one.stale, *one.parameters.values(), one.path))


def _read(run: Run, file: Path, stamps: dict[str, list[int]]) -> Map:
    arrays = records.arrays(file, ARRAYS, C=len(run.trial.known))
    about = records.parsed(str(arrays.pop("about")), _About)
    made_from, splits = about.pop("made_from"), tuple(about.pop("splits"))
    stale = any(stamps.get(split) != stamp for split, stamp in made_from.items())
    if (arrays["split"] >= len(splits)).any() or not set(splits) <= made_from.keys():
        raise Unfit(say("it has no {names}", names=["splits"]))
    for number, split in enumerate(() if stale else splits):
        there = records.arrays(run.path / "outputs" / f"{split}.npz", {"labels": Array("iu", "N")})["labels"]
        if (arrays["row"][arrays["split"] == number] >= len(there)).any():
            raise Unfit(say("it has no {names}", names=["rows"]))
    kept = {name: about[name] for name in _About.__annotations__ if name in about}
    return Map(path=file, **arrays | {"anchors": arrays.get("anchors")}, splits=splits, stale=stale, **kept)


def under_way(run: Run) -> runs.Progress | None:
    """The map being made right now: stage, done, of, seconds_left (None: not known), parameters. None without one."""
    return runs.under_way(run.path / "maps" / ".progress.json")


def umap_map(
    run: Run,
    *,
    neighbours: int = 15,
    min_dist: float = 0.1,
    seed: int = 0,
    dense: bool = False,
    most: int = 10_000,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Make a UMAP of the run's validation and test images, and of data sets evaluated as unknown; give its file.

    Nothing is done where the file is there already. Class means and anchors lie among the images, so that they get
    places too. Of more than `most` images an even sample is taken, the same for every seed. neighbours counts the
    image itself; they are searched exactly. dense keeps crowded regions crowded (densMAP). The same seed gives the same
    map on one machine with the same versions, at the price of one core at a time.

    progress receives (stage of STAGES, done, of). SIGTERM ends the process and leaves no half map. Raises ValueError
    where a parameter or a logit is wrong or a map of this run is being made already; as run.outputs without outputs.
    """
    parameters = {
        "neighbours": int(neighbours), "min_dist": float(min_dist), "seed": int(seed), "dense": bool(dense),
        "most": int(most),
    }  # fmt: skip
    stamps = _stamps(run)
    digest = hashlib.sha256(json.dumps([parameters, stamps], sort_keys=True).encode()).hexdigest()[:12]
    file = run.path / "maps" / f"umap-{digest}.npz"
    with contextlib.suppress(OSError, Unfit):
        _read(run, file, stamps)
        return file
    train = run.outputs("train")
    splits = ["validation", "test", *(split for split in stamps if split.startswith("unknown-"))]
    outputs = [run.outputs(split) for split in splits]
    for split, out in zip(("train", *splits), (train, *outputs), strict=True):
        _check_finite(out.logits, split)
    logits, labels = (np.concatenate([getattr(out, name) for out in outputs]) for name in ("logits", "labels"))
    _check_spread(logits)
    chosen = _even(len(logits), at_least(most, 3, "most"))
    _check(parameters, len(chosen))
    split = np.repeat(np.arange(len(outputs), dtype=np.int8), [len(out) for out in outputs])
    row = np.concatenate([np.arange(len(out), dtype=np.int32) for out in outputs])
    marks = {"means": class_means(train)} | ({} if train.anchors is None else {"anchors": train.anchors})
    points = np.concatenate([logits[chosen], *marks.values()]).astype(np.float32)
    with _at_work(run, parameters, progress) as told:
        places = _fitted(points, parameters, run.path.parent, told)
        told("checking", 0, 1)
        about = {
            "parameters": parameters,
            "splits": splits,
            "images": len(logits),
            **_quality(logits[chosen], places[: len(chosen)], labels[chosen]),
            "versions": _versions(),
            "made_from": stamps,
        }
        ends = np.cumsum([len(chosen), *(len(mark) for mark in marks.values())])
        arrays = dict(zip(("xy", *marks), np.split(places, ends[:-1]), strict=True))
        run.there()
        runs.write_npz(file, **arrays, split=split[chosen], row=row[chosen], about=np.array(json.dumps(about)))
        for one in maps(run):
            if one.stale:  # of outputs that are no more: nobody can see it again
                one.path.unlink(missing_ok=True)
        told("checking", 1, 1)
    return file


def _stamps(run: Run) -> dict[str, list[int]]:
    """By split, the checksums of what maps are made from: the same in a copy of the run, others for other numbers.

    They stand in the file's table of contents, so nothing large is read. A damaged file has none.
    """
    stamps = {}
    for file in sorted((run.path / "outputs").glob("*.npz")):
        stamps[file.stem] = []
        with contextlib.suppress(*DAMAGED), records.opened(file) as raw, zipfile.ZipFile(raw) as stored:
            stamps[file.stem] = [stored.getinfo(name).CRC for name in MADE_FROM if name in stored.namelist()]
    return stamps


def _even(count: int, most: int) -> np.ndarray:
    """Which of count images are taken where at most so many are: all, or a sample, always the same one."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _check(parameters: dict[str, Any], count: int) -> None:
    neighbours, min_dist, seed = (parameters[name] for name in ("neighbours", "min_dist", "seed"))
    if not 2 <= neighbours < count:
        raise ValueError(say(
            "neighbours must be at least 2 and less than the {count} images of the map, not {neighbours}.",
            count=count, neighbours=neighbours,
        ))  # fmt: skip
    if not 0 <= min_dist <= SPREAD:
        raise ValueError(
            say("min_dist must lie between 0 and {most}, not {min_dist}.", most=f"{SPREAD:g}", min_dist=min_dist)
        )
    if not 0 <= seed < 2**32:
        raise ValueError(
            say("seed must be a whole number between 0 and {most}, not {seed}.", most=2**32 - 1, seed=seed)
        )


@contextlib.contextmanager
def _at_work(run: Run, parameters: dict[str, Any], progress) -> Iterator[Callable]:
    """While open, this process alone makes a map of the run; what it tells is on disk for whoever did not start it."""
    folder = run.there() / "maps"
    folder.mkdir(exist_ok=True)
    shown, lock = folder / ".progress.json", filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        pid = (under_way(run) or {}).get("pid", say("unknown"))
        raise ValueError(say(
            "A map of {run} is being made by another process ({pid}). Wait for it, or stop it.",
            run=run.id, pid=pid,
        )) from error  # fmt: skip
    who, stopped = runs.process_now(), threading.Event()

    def told(stage: str, done: int, of: int, seconds_left: float | None = None) -> None:
        if stopped.is_set():
            sys.exit(TERMINATED)
        at = {"stage": stage, "done": done, "of": of, "seconds_left": seconds_left, "parameters": parameters}
        run.there()
        runs.write_json(shown, at | who)
        if progress:
            progress(stage, done, of)

    try:
        with _sigterm_is_an_exit(stopped):
            yield told
    finally:
        shown.unlink(missing_ok=True)
        lock.release()


TERMINATED = 128 + signal.SIGTERM


@contextlib.contextmanager
def _sigterm_is_an_exit(stopped: threading.Event) -> Iterator[None]:
    """While open, SIGTERM unwinds as an exception does, so that what was begun is taken away.

    In the middle of compiling the exception may be swallowed; stopped tells afterwards.
    """

    def stop(*_) -> None:
        stopped.set()
        sys.exit(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Epochs(io.TextIOBase):
    """The file that UMAP's own progress bar is written to, as "done of seconds_left": the one view of its work."""

    FORMAT = "{n} {total} {remaining_s}"

    def __init__(self, told: Callable):
        self.told = told

    def write(self, text: str) -> int:
        numbers = text.split()
        if len(numbers) == 3:
            done, of, left = int(numbers[0]), int(numbers[1]), float(numbers[2])
            if not done:
                self.told("neighbours", 1, 1)
            self.told("embedding", done, of, round(left, 1) if done else None)
        return len(text)


def _fitted(points: np.ndarray, parameters: dict[str, Any], store: Path, told: Callable) -> np.ndarray:
    """Places [N, 2] of points [N, K] float32."""
    told("loading", 0, 1)
    _give_numba_a_place(store)
    import umap
    from sklearn.neighbors import NearestNeighbors

    told("loading", 1, 1)
    told("neighbours", 0, 1)
    # exact, and without the half minute in which UMAP compiles its own search, an approximate one
    d, index = NearestNeighbors(n_neighbors=parameters["neighbours"]).fit(points).kneighbors(points)
    mapped = umap.UMAP(
        n_neighbors=parameters["neighbours"],
        min_dist=parameters["min_dist"],
        spread=SPREAD,
        metric="euclidean",
        init="pca",  # as good as the spectral one, and the same each time; that one is not where many images coincide
        densmap=parameters["dense"],
        random_state=parameters["seed"],
        n_jobs=1,
        precomputed_knn=(index.astype(np.int32), d.astype(np.float32)),
        tqdm_kwds={"disable": False, "file": _Epochs(told), "bar_format": _Epochs.FORMAT, "mininterval": 0.5},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"precomputed_knn\[2\]")  # that uploads could not be placed: they are not
        places = mapped.fit_transform(points)
    assert np.isfinite(places).all()  # only a distance at which neighbours no longer count would leave images out
    return places.astype(np.float32)


def _give_numba_a_place(store: Path) -> None:
    """For UMAP's compiled code, where it cannot lie beside the source: without one UMAP cannot even be imported."""
    (source,) = importlib.util.find_spec("umap").submodule_search_locations
    if not os.access(source, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(store.absolute() / ".numba"))


def _quality(logits: np.ndarray, xy: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How far a map xy [M, 2] of logits [M, K] can be believed."""
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    k = min(JUDGED_BY, (len(xy) - 1) // 2)

    def same_class(places: np.ndarray) -> float:
        near = NearestNeighbors(n_neighbors=k).fit(places).kneighbors(return_distance=False)
        return float((labels[near] == labels[:, None]).mean())

    some = _even(len(xy), JUDGED_ON)
    return {
        "trustworthiness": float(trustworthiness(logits[some], xy[some], n_neighbors=k)),
        "same_class": {"logits": same_class(logits), "map": same_class(xy)},
    }


def _versions() -> dict[str, str]:
    """What else than the parameters decides where an image lies."""
    packages = ("umap-learn", "numba", "scikit-learn", "numpy")
    return {name: importlib.metadata.version(name) for name in packages} | {"machine": platform.machine()}
