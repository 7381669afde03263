"""Many pictures of one's own, up to MOST, that a process of its own has judged: a zip, a folder, or files uploaded.

<run>/judged/<pile>/ holds pile.json (what it is), threshold.json, verdicts.jsonl as `score` writes it, and what was
uploaded. N pictures.
"""

import dataclasses
import io
import itertools
import json
import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import streamlit as st

from app import gallery, holdings, jobs, sheet
from app.words import t
from cac_core import records, runs, shell
from cac_core.data import images
from cac_core.files import changed
from cac_core.records import Count, Seconds, Unfit
from cac_core.results import judge
from cac_core.results.judge import Threshold
from cac_core.runs import Progress, Run
from cac_core.scoring import metrics
from cac_core.sentences import Sentence, say, together
from cac_core.serving import sources, written

FOLDER = "judged"
MOST = 20_000
PAGE = 60
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


class _Said(TypedDict):
    """pile.json. source: what `score` is given; count: pictures in it as it began; passed_over: as many images of each
    kind lie there that are not read."""

    name: str
    source: str
    count: Count
    when: Seconds
    passed_over: NotRequired[dict[str, Count]]


@dataclass(frozen=True)
class Pile:
    """Pictures that were given together, and where what is said of them lies."""

    run: Run
    folder: Path
    name: str
    source: str
    count: int
    when: float
    passed_over: dict[str, int]

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def out(self) -> Path:
        return self.folder / "verdicts.jsonl"

    @property
    def threshold(self) -> Threshold:
        """Raises ValueError where the run is no longer what these pictures were judged by."""
        return judge.threshold_from(self.folder / "threshold.json", self.run)


def every(run: Run) -> list[Pile]:
    """The newest first."""
    place, found = run.path.absolute() / FOLDER, []
    for folder in sorted(place.iterdir(), reverse=True) if place.is_dir() else ():
        if ID.fullmatch(folder.name):
            try:
                found.append(_pile(run, folder, records.read(folder / "pile.json", _Said)))
            except (OSError, Unfit):
                continue  # is being made, or has just been deleted
    return found


def _pile(run: Run, folder: Path, said: _Said) -> Pile:
    over = said.get("passed_over", {})
    return Pile(run, folder, said["name"], said["source"], said["count"], said["when"], over)


# --- how one begins --------------------------------------------------------------------------------------------------


def of_zip(run: Run, threshold: Threshold, name: str, content: Any, keep: bool) -> Pile:
    """Of an uploaded zip, a file to be read."""

    def fill(folder: Path) -> str:
        file = folder / "pictures.zip"
        with open(file, "wb") as copy:
            shutil.copyfileobj(content, copy)
        return str(file)

    return _begun(run, threshold, name, fill, keep)


def of_files(run: Run, threshold: Threshold, brought: Sequence[tuple[str, bytes]], keep: bool = False) -> Pile:
    """Of pictures that were uploaded one by one; those of the same name are told apart by their numbers."""

    def fill(folder: Path) -> str:
        place, seen = folder / "pictures", set()
        place.mkdir()
        for n, (name, content) in enumerate(brought):
            safe = re.sub(r"[\x00-\x1f/\\]", "_", name).lstrip(".")[-120:] or "picture"
            safe = f"{n:05}-{safe}" if safe.casefold() in seen else safe
            safe += "" if safe.lower().endswith(images.ENDINGS) else ".png"  # what it is, its content says
            seen.add(safe.casefold())
            (place / safe).write_bytes(content)
        return str(place)

    return _begun(run, threshold, t("{count} files", count=len(brought)), fill, keep)


def of_folder(run: Run, threshold: Threshold, said: str, keep: bool) -> Pile:
    """Of a folder of this machine, as it lies there; of those that a user of the app may name."""
    place, below = Path(os.path.expanduser(said)).resolve(), holdings.folders_allowed()
    if below is not None and not any(place.is_relative_to(one.resolve()) for one in below):
        where = [str(one) for one in below] or say("none")
        raise ValueError(say("Here folders are taken only from: {folders}.", folders=where))
    if not place.is_dir():
        raise ValueError(say("There is no folder {folder}.", folder=said))
    return _begun(run, threshold, place.name, lambda folder: str(place), keep)


def _begun(run: Run, threshold: Threshold, name: str, fill, keep: bool) -> Pile:
    folder = run.path.absolute() / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    try:
        source, over = fill(folder), Counter[str]()
        count = sum(1 for _ in itertools.islice(sources.found([source], over=over), MOST + 1))
        if not count:
            none = say("There are no pictures in it: files that end in {endings}.", endings=images.ENDINGS)
            raise ValueError(together([none, *passed_over(over)]))
        if count > MOST:
            raise ValueError(say(
                "There are more than {most} pictures in it. The command line takes any number:\n"
                "    {command}",
                most=MOST, command=shell.command("score", run.id, "FOLDER", "--out", "verdicts.parquet"),
            ))  # fmt: skip
        runs.write_json(folder / "threshold.json", threshold.record(run))
        when = round(time.time(), 3)
        said: _Said = {
            "name": name[:200], "source": source, "count": count, "when": when, "passed_over": dict(over.most_common()),
        }  # fmt: skip
        runs.write_json(folder / "pile.json", said)
        pile = _pile(run, folder, said)
        go_on(pile, keep)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return pile


def passed_over(over: dict[str, int]) -> list[Sentence]:
    """A sentence for each kind of image that is not read, with the way out."""
    return [
        say("{count} images are passed over ({names}): {way}.", count=count, names=kind, way=images.way_out(kind))
        for kind, count in over.items()
    ]  # fmt: skip


def go_on(pile: Pile, keep: bool = False) -> None:
    """Have those judged that are not yet."""
    given = [pile.source, "--threshold", str(pile.folder / "threshold.json"), "--out", str(pile.out), "--json"]
    jobs.use(pile.run, "score", given + ["--keep"] * keep)


def progress(pile: Pile) -> Progress | None:
    return runs.under_way(written.progress_of(pile.out))


def delete(pile: Pile) -> None:
    """With what was uploaded; a folder that was only named stays. A job that judges it is to be stopped first."""
    shutil.rmtree(pile.folder)


# --- what came of it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """What is said of each picture, in order: its name, score [N] and theta [N] as it was judged, both NaN where it
    could not be, the place of its nearest class [N], -1 then; notes, and errors, empty where there is none."""

    names: tuple[str, ...]
    scores: np.ndarray
    thetas: np.ndarray
    nearest: np.ndarray
    notes: tuple[str, ...]
    errors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


def rows(pile: Pile) -> Rows:
    """Those that are written so far."""
    return _rows(str(pile.out), changed(pile.out), pile.source, tuple(pile.run.known_names))


@st.cache_resource(max_entries=8, show_spinner=False)
def _rows(file: str, stamp: int, source: str, names: tuple[str, ...]) -> Rows:
    said = []
    if stamp:
        with open(file, encoding="utf-8", newline="\n") as lines:
            said = [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written
    place = {name: n for n, name in enumerate(names)}
    number = {name: np.array([one.get(name, np.nan) for one in said], float) for name in ("score", "theta")}
    return Rows(
        tuple(one["path"].removeprefix(source).lstrip("/") for one in said), number["score"], number["theta"],
        np.array([place.get(one.get("label"), -1) for one in said], int),
        tuple("; ".join(one.get("notes", ())) for one in said), tuple(one.get("error", "") for one in said),
    )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """Which of them, in which order. show: all, accepted, rejected or failed; near: the place of a class."""

    show: str = "all"
    near: int | None = None
    text: str = ""
    order: str = "given"


def rejected(rows: Rows, limits: np.ndarray | None) -> np.ndarray:
    """[N] by these thetas of the classes [C], or as they were judged; what could not be judged is not."""
    thetas = rows.thetas if limits is None else np.append(limits, np.nan)[rows.nearest]
    return metrics.rejected(rows.scores, thetas) & (rows.nearest >= 0)


def chosen(rows: Rows, no: np.ndarray, limits: np.ndarray | None, asked: Asked) -> np.ndarray:
    """The places of those that are asked for, in order; no [N] is whether each is rejected."""
    failed = rows.nearest < 0
    keep = {"all": np.ones(len(rows), bool), "accepted": ~no & ~failed, "rejected": no, "failed": failed}[asked.show]
    if asked.near is not None:
        keep = keep & (rows.nearest == asked.near)
    if text := asked.text.strip().casefold():
        keep = keep & np.array([text in name.casefold() for name in rows.names], bool)
    places = np.flatnonzero(keep)
    thetas = rows.thetas if limits is None else np.append(limits, np.nan)[rows.nearest]
    by = {"high": -rows.scores, "low": rows.scores, "near": np.abs(rows.scores - thetas)}
    if asked.order in by:  # what could not be judged comes last
        return places[np.argsort(by[asked.order][places], kind="stable")]
    return np.array(sorted(places, key=rows.names.__getitem__), int) if asked.order == "name" else places


def table(rows: Rows, places: np.ndarray, no: np.ndarray, names: list[str], limits: np.ndarray | None) -> dict:
    """Columns of these pictures."""
    thetas = rows.thetas if limits is None else np.append(limits, np.nan)[rows.nearest]
    judged = rows.nearest >= 0
    nearest = [names[rows.nearest[n]] if judged[n] else None for n in places]
    return {
        "file": [rows.names[n] for n in places],
        "decision": [None if not judged[n] else judge.UNKNOWN if no[n] else names[rows.nearest[n]] for n in places],
        "nearest": nearest,
        "score": [float(rows.scores[n]) if judged[n] else None for n in places],
        "theta": [float(thetas[n]) if judged[n] else None for n in places],
        "notes": [rows.notes[n] for n in places],
        "error": [rows.errors[n] for n in places],
    }


def as_parquet(columns: dict[str, list]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {"score": pa.float64(), "theta": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns])
    file = io.BytesIO()
    parquet.write_table(pa.table(columns, schema=schema), file, compression="zstd")
    return file.getvalue()


def as_csv(columns: dict[str, list]) -> str:
    return gallery.as_csv(columns)


def picture(pile: Pile, name: str) -> images.Prepared:
    """One of them as it was given, and as the network saw it. Raises ValueError where it cannot be read."""
    listed = _listed(pile.source, changed(Path(pile.source)))
    if name not in listed:
        raise ValueError(say("The picture is no longer there."))
    return images.prepare(sources.Reader().content(listed[name]), pile.run.row, pile.threshold.way)


@st.cache_resource(max_entries=4, show_spinner=False)
def _listed(source: str, stamp: int) -> dict[str, sources.Source]:
    found = itertools.islice(sources.found([source]), MOST)
    return {one.name.removeprefix(source).lstrip("/"): one for one in found}


def small(pile: Pile, name: str) -> str | None:
    """A small picture as an address; None where there is none."""
    return _small(str(pile.folder), name, pile)


@st.cache_data(max_entries=3000, show_spinner=False)
def _small(folder: str, name: str, _pile: Pile) -> str | None:
    try:
        return sheet.small(picture(_pile, name).preview)
    except (ValueError, OSError):
        return None


def same(pile: Pile, threshold: Threshold) -> bool:
    """Whether the pile was judged as this threshold says, but for theta."""
    names = ("scorer", "options", "magnitude", "temperature", "way")
    try:
        own = dataclasses.asdict(pile.threshold)
    except ValueError:
        return False
    other = dataclasses.asdict(threshold)
    own["temperature"], other["temperature"] = (
        one["temperature"] if one["magnitude"] else None for one in (own, other)
    )
    return all(own[name] == other[name] for name in names)
