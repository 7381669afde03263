"""A watch over what is judged: what is kept of it, whether it drifts, and what the rejected pictures have in common.

Nothing is kept unless somebody asks for it. One SQLite file a run holds scores and decisions, and small pictures of
what was rejected only where these are asked for, too; both are bounded, the oldest go first, and all can be deleted.

Drift is looked for by a conformal test martingale, which may be read after every image: if the images are exchangeable,
so that their order tells nothing, it exceeds 1 / RATE ever, at any time, with a probability of RATE at most (Ville's
inequality; Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, chapter 8).
"""

import bisect
import contextlib
import io
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cac_core.files import is_file
from cac_core.results.judge import UNKNOWN
from cac_core.runs import ID
from cac_core.scoring import metrics
from cac_core.scoring.scorers import SCORERS, scorer_options
from cac_core.sentences import say

FOLDER = ".watch"
MOST = 1_000_000  # rows of a run
PICTURES = 5000  # rejected pictures of a run
SAID = ("decision", "label", "score", "theta")
SWEPT = 1000  # rows between two times that the oldest are let go
RATE = 0.01  # of false alarms, ever
JUMP = 0.001  # of the martingale between its bets
BETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
TESTED = 100_000  # newest images of a version that drift is looked for in

_TABLES = """
create table if not exists judged (
  id integer primary key, time real not null, source text not null, name text not null, decision text not null,
  label text not null, score real not null, theta real not null, version text not null
);
create index if not exists by_time on judged (time);
create table if not exists taken (file text primary key, rows integer not null);
create table if not exists pictures (
  id integer primary key references judged (id) on delete cascade, png blob not null, vector blob not null
);
"""


@dataclass(frozen=True)
class Judged:
    """An image that was judged: where its name comes from, and what was decided. picture [H, W, C] uint8 is what the
    network saw, vector [D] what it made of it; both None where pictures are not kept."""

    name: str
    decision: str
    label: str
    score: float
    theta: float
    picture: np.ndarray | None = None
    vector: np.ndarray | None = None


def of_rows(rows: Iterable[dict[str, Any]]) -> list[Judged]:
    """The rows of `score`, or of its output, that could be judged, by a score that is a number."""
    return [
        Judged(row["path"], row["decision"], row["label"], float(row["score"]), float(row["theta"]))
        for row in rows if not row.get("error") and row["score"] not in (None, "")
    ]  # fmt: skip


def file_of(store: Path, run: str) -> Path:
    """Raises ValueError for what is no run's id."""
    if not ID.fullmatch(run):
        raise ValueError(say("There is no run {name!r}.", name=run[:80]))
    return store / FOLDER / f"{run}.sqlite"


def version_in(about: dict[str, Any]) -> str:
    """What is watched apart from all else of a run: its weights, and the score that it is judged by, with
    the options that are not at their defaults, and the perturbation."""
    usual = scorer_options(about["scorer"]) if about["scorer"] in SCORERS else {}
    options = {name: value for name, value in (about.get("options") or {}).items() if value != usual.get(name)}
    if about.get("magnitude"):
        options |= {"magnitude": about["magnitude"], "odin_temperature": about["temperature"]}
    said = [f"{name}={value}" for name, value in sorted(options.items())]
    return " ".join(filter(None, (about["version"], about["scorer"], *said)))


class Keeper:
    """Writes what is judged, for one run and version. Several processes may keep at the same time."""

    def __init__(self, store: Path, run: str, version: str, source: str, pictures: bool = False):
        self.version, self.source, self.pictures = version, source, pictures
        file = file_of(store, run)
        file.parent.mkdir(parents=True, exist_ok=True)
        self.base = sqlite3.connect(file, timeout=30, check_same_thread=False, isolation_level=None)
        try:
            self.base.executescript(
                "pragma journal_mode = wal; pragma synchronous = normal; pragma foreign_keys = on;" + _TABLES
            )
        except sqlite3.Error as error:
            self.base.close()
            raise ValueError(say("{file} cannot be read ({error}).", file=file, error=error)) from error
        self.added = SWEPT  # one that goes on may find too much

    def keep(self, judged: Sequence[Judged], when: float | None = None, taken: tuple[str, int] | None = None) -> None:
        """All of them or none, whatever happens. when: seconds since 1970, now where it is not said. taken: of which
        output of `score` these are, and how many of its rows have been taken with them."""
        now = time.time() if when is None else when
        with self._whole():
            for one in judged:
                if math.isnan(one.score):  # of a network that gave no number: it would take the others with it
                    continue
                row = self.base.execute(
                    "insert into judged (time, source, name, decision, label, score, theta, version) "
                    "values (?, ?, ?, ?, ?, ?, ?, ?)",
                    (now, self.source, _text(one.name), one.decision, one.label, one.score, one.theta, self.version),
                )
                if self.pictures and one.decision == UNKNOWN and one.picture is not None and one.vector is not None:
                    vector = np.asarray(one.vector, "<f2").tobytes()
                    self.base.execute(
                        "insert into pictures values (?, ?, ?)", (row.lastrowid, _png(one.picture), vector)
                    )
            if taken:
                self.base.execute("insert or replace into taken values (?, ?)", taken)
            self.added += len(judged)
            if self.added > SWEPT:
                self.added = 0
                for table, most in (("judged", MOST), ("pictures", PICTURES)):
                    self.base.execute(
                        f"delete from {table} where id < "
                        f"(select id from {table} order by id desc limit 1 offset {most - 1})"
                    )

    def taken(self, file: str) -> int:
        """How many rows of this output of `score` have been taken."""
        found = self.base.execute("select rows from taken where file = ?", (file,)).fetchone()
        return found[0] if found else 0

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        self.base.execute("begin immediate")
        try:
            yield
        except BaseException:
            self.base.execute("rollback")
            raise
        self.base.execute("commit")

    def close(self) -> None:
        self.base.close()


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()[:1000]


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


# --- what was kept ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What was judged by one version of a run, oldest first: times [N] in seconds since 1970, scores and thetas [N],
    labels and decisions [N], and the ids of the rows. versions: of all that is kept, the newest first."""

    ids: np.ndarray
    times: np.ndarray
    scores: np.ndarray
    thetas: np.ndarray
    labels: np.ndarray
    rejected: np.ndarray
    versions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read(store: Path, run: str, version: str | None = None) -> Kept | None:
    """What is kept of a run, of its newest version where none is said; None where nothing is.

    Raises ValueError where the file is none of these, or damaged.
    """
    file = file_of(store, run)
    if not is_file(file):
        return None
    try:
        with contextlib.closing(_reading(file)) as base:
            versions = tuple(v for (v,) in base.execute("select version from judged group by version "
                                                        "order by max(id) desc"))  # fmt: skip
            if not versions:
                return None
            rows = base.execute(
                "select id, time, score, theta, label, decision from judged where version = ? order by id",
                (version if version in versions else versions[0],),
            ).fetchall()
    except sqlite3.Error as error:
        raise ValueError(say("{file} cannot be read ({error}).", file=file, error=error)) from error
    ids, times, scores, thetas, labels, decisions = zip(*rows, strict=True)
    return Kept(np.array(ids), np.array(times, float), np.array(scores, float), np.array(thetas, float),
                np.array(labels, object), np.array(decisions, object) == UNKNOWN, versions)  # fmt: skip


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)


@dataclass(frozen=True)
class Picture:
    id: int
    name: str
    time: float
    label: str
    score: float
    png: bytes
    vector: np.ndarray


def pictures(store: Path, run: str, version: str, most: int = 2000) -> list[Picture]:
    """The newest rejected pictures that are kept, newest first."""
    file = file_of(store, run)
    if not is_file(file):
        return []
    try:
        with contextlib.closing(_reading(file)) as base:
            rows = base.execute(
                "select p.id, name, time, label, score, png, vector from pictures p join judged j on j.id = p.id "
                "where version = ? order by p.id desc limit ?",
                (version, most),
            ).fetchall()
    except sqlite3.Error as error:
        raise ValueError(say("{file} cannot be read ({error}).", file=file, error=error)) from error
    return [Picture(*row[:-1], np.frombuffer(row[-1], "<f2").astype(np.float32)) for row in rows]


def delete(store: Path, run: str) -> None:
    """All that was kept of a run. The file stays: a service that runs goes on keeping into it. One that cannot be read
    is removed."""
    file = file_of(store, run)
    if not is_file(file):
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as base:
            base.executescript(
                _TABLES + "pragma secure_delete = on; begin immediate; delete from pictures; delete from judged;"
                "delete from taken; commit; pragma wal_checkpoint(truncate);"
            )
            with contextlib.suppress(sqlite3.OperationalError):  # somebody reads: the room is used again
                base.execute("vacuum")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, or not to be written
            raise ValueError(say("{file} cannot be read ({error}).", file=file, error=error)) from error
        for ending in ("", "-wal", "-shm"):
            file.with_name(file.name + ending).unlink(missing_ok=True)


# --- does it drift? --------------------------------------------------------------------------------------------------


def places(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each value [N] its place among itself and those before, as a share: uniform on 0 to 1, and independent, if
    the values are exchangeable. Ties are split at random."""
    seen: list[float] = []
    found = np.empty(len(values))
    for n, (value, split) in enumerate(zip(values.tolist(), rng.random(len(values)).tolist(), strict=True)):
        low, high = bisect.bisect_left(seen, value), bisect.bisect_right(seen, value)
        found[n] = (low + split * (high - low + 1)) / (n + 1)
        seen.insert(high, value)
    return found


def martingale(shares: np.ndarray) -> np.ndarray:
    """The logarithm of the simple jumper's capital after each of these shares [N]: Vovk et al., 2021.

    A fifth of 1 goes on each bet: on large shares, on small ones, each by half or whole, and on nothing. At each step
    JUMP of all is divided anew. A bet of e multiplies by 1 + e (share - 1/2).
    """
    capital, log = np.full(len(BETS), 1 / len(BETS)), 0.0
    course, bets = np.empty(len(shares)), np.array(BETS)
    for n, share in enumerate(shares.tolist()):
        capital = (1 - JUMP) * capital + JUMP / len(BETS)
        capital *= 1 + bets * (share - 0.5)
        total = capital.sum()
        log += np.log(total)
        capital /= total
        course[n] = log
    return course


@dataclass(frozen=True)
class Drift:
    """course [N]: the martingale's logarithm, to the base 10, after each image; alarm: the first that exceeds
    1 / RATE, -1 while none does."""

    course: np.ndarray
    alarm: int


def drift(values: np.ndarray, seed: int = 0) -> Drift:
    """Whether values [N] that came one after another have changed: of scores, or of what was rejected (0 and 1)."""
    course = martingale(places(values[-TESTED:].astype(float), np.random.default_rng(seed))) / np.log(10)
    beyond = np.flatnonzero(course >= -np.log10(RATE))
    return Drift(course, int(beyond[0]) + max(len(values) - TESTED, 0) if len(beyond) else -1)


@dataclass(frozen=True)
class Hour:
    """A stretch of time: its beginning, how many were judged and rejected in it, and the interval of the share."""

    begin: float
    count: int
    rejected: int
    low: float
    high: float


def by_time(kept: Kept, seconds: float) -> list[Hour]:
    """The share that was rejected in each stretch of so many seconds in which anything was judged."""
    slots = np.floor(kept.times / seconds).astype(int)
    found = []
    for slot in np.unique(slots):
        mine = slots == slot
        count, rejected = int(mine.sum()), int(kept.rejected[mine].sum())
        found.append(Hour(slot * seconds, count, rejected, *metrics.wilson(rejected, count)))
    return found


# --- what do the rejected have in common? ----------------------------------------------------------------------------

NEAR = 0.3  # 1 - cosine: so far two pictures of a group may lie apart on average
FEWEST = 3


def groups(vectors: np.ndarray) -> list[np.ndarray]:
    """Which of these vectors [N, D] lie near to each other: the places of each group of FEWEST or more, largest first.

    Average linkage on the cosine of vectors less their mean, cut at NEAR.
    """
    if len(vectors) < FEWEST:
        return []
    from scipy.cluster import hierarchy

    centred = vectors - vectors.mean(0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    gaps = np.clip(1 - unit @ unit.T, 0, 2)
    tree = hierarchy.linkage(gaps[np.triu_indices(len(gaps), 1)], "average")
    number = hierarchy.fcluster(tree, NEAR, "distance")
    found = [np.flatnonzero(number == n) for n in np.unique(number)]
    return sorted((some for some in found if len(some) >= FEWEST), key=lambda some: (-len(some), int(some[0])))
