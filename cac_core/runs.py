"""Runs: directories that hold everything about one training, and the only truth about it. Numpy and disk.

<store>/<id>/
    recipe.json       the recipe, the classes, how images are prepared, versions, commit, the images' digest and how
                      many there were; written first
    status.json       {state, started, device, ...}; states: starting running finished stopped failed
    events.jsonl      one object a line, append-only; a torn last line is passed over
    log.txt           what the training process said
    last.pt  best.safetensors     the newest state to go on from; the weights that are evaluated
    snapshots.npz     validation logits [E, N, C] of a fixed sample, every few epochs
    outputs/{train,validation,test}.npz  report.json
    pictures.npz      of a run of imported outputs: small pictures of its test images
    outputs/unknown-NAME.npz      outputs on another data set, taken as unknown
    made.npz          images that a method made up, and the ways that led to some of them; see MADE
    rebuilt.npz       some test images as a network that reconstructs them gave them back, and the errors of all
    stop              its presence asks the run to stop after the batch

Every file is written beside itself and moved into place, so a reader sees the old one or the new one. Outputs, and a
sweep, say which images they are of and which weights made them; see `made_of` and data.datasets.digest.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import statistics
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Annotated, Any, Literal, Required, TypedDict

import numpy as np

from cac_core import files, records, shell
from cac_core.data import datasets
from cac_core.data.datasets import DATASETS, FOLDER, FOLDS, HELD_OUT, PUBLISHED, SEEN, SET_ASIDE, Dataset, Trial
from cac_core.recipe import Recipe, slug
from cac_core.records import Array, Count, Curve, Seconds, Unfit, Within
from cac_core.scoring.outputs import ABOUT, ARRAYS, MARKS, Outputs
from cac_core.sentences import Sentence, say

SPLITS = ("train", "validation", "test")
MOST_HALF = 60_000  # of a number in half precision
ID = re.compile(r"[a-z0-9-]{1,64}")
ALIVE = ("starting", "running")
FOLDERS = ("outputs", "maps", "sweep")  # below a run


# --- what its records hold; all else that stands in them is kept as it is --------------------------------------------


class Classes(TypedDict):
    """Class numbers, and the names of all classes by number."""

    known: list[Count]
    unknown: list[Count]
    names: list[str]


Side = Annotated[int, Within(1, 4096)]


class Prepare(TypedDict, total=False):
    """How images are prepared: of `data.datasets.Dataset` what a record may say."""

    size: Side
    grain: Side
    channels: Literal[1, 3]
    flip: bool
    ink: bool


class Part(TypedDict):
    """A run that an ensemble is made of: its id, recipe, scale of pixels and the digest of its weights."""

    run: str
    recipe: dict[str, object]
    mean: list[Annotated[float, Within(-1e3, 1e3)]]
    std: list[Annotated[float, Within(1e-9, 1e3)]]
    weights: str


class Record(TypedDict, total=False):
    """recipe.json."""

    recipe: Required[dict[str, object]]
    classes: Required[Classes]
    prepare: Required[Prepare]
    mean: list[Annotated[float, Within(-1e3, 1e3)]]
    std: list[Annotated[float, Within(1e-9, 1e3)]]
    data: str
    images: dict[str, Count]
    versions: dict[str, str]
    commit: str | None
    imported_from: str
    outputs: str
    notes: list[str]
    parts: list[Part]
    trains_on: str
    validated_on: Literal[HELD_OUT, PUBLISHED, SET_ASIDE, SEEN, FOLDS]


class Process(TypedDict, total=False):
    """Who is at work, see `process_now`."""

    pid: Annotated[int, Within(0, 2**31 - 1)]
    process_started: Seconds
    host: str
    job: str


class Progress(Process, total=False):
    """How far a sweep, a map or a judging of many images is."""

    stage: Required[str]
    done: Required[Count]
    of: Required[Count]
    seconds_left: Seconds | None
    per_second: Annotated[float, Within(0, 1e9)]
    parameters: dict[str, object]


class Status(Process, total=False):
    """status.json."""

    state: Required[Literal["starting", "running", "finished", "stopped", "failed", "lost"]]
    reason: str
    device: str
    machine: str
    started: Seconds
    changed: Seconds


class Event(TypedDict, total=False):
    """A line of events.jsonl."""

    kind: Required[str]
    time: Seconds
    epoch: Count
    epochs: Count
    step: Count
    steps: Count
    train: dict[str, Curve]
    validation: dict[str, Curve]
    beside: dict[str, Curve]
    lr: Curve
    best_epoch: Annotated[int, Within(-1, 10**12)]
    images_per_second: float
    seconds_left: float
    memory: Count
    done: Count
    of: Count
    text: str


class Scored(TypedDict, total=False):
    """The numbers of one scorer, or why there are none."""

    error: str
    accuracy: float | None
    auroc: float | None
    aupr_known: float | None
    aupr_unknown: float | None
    fpr_at_95_knowns_kept: float | None
    fpr_at_95_unknowns_caught: float | None
    oscr: float | None
    theta: float | None
    level: float | None
    at_theta: dict[str, float | None]
    intervals: dict[str, tuple[float | None, float | None]]
    confusion: list[list[Count]]


class Choice(TypedDict):
    """The score that a run is judged by, see `judge.choice_of`."""

    scorer: str
    classes: Count
    aurocs: dict[str, float]


class LeftOut(TypedDict):
    """Of each class that was left out: its label, its images, and by score how many are caught at each level."""

    classes: list[Count]
    images: list[Count]
    caught: dict[str, list[list[Count]]]
    aurocs: dict[str, list[Annotated[float, Within(0, 1)]]]


class Shuffled(TypedDict):
    """Of pictures whose patches were shuffled: how many, and by score how many are caught at each level."""

    images: Count
    caught: dict[str, list[Count]]


class StandIns(TypedDict, total=False):
    """What stands in for unknown images, see results.stand_ins; levels are shares of new knowns that are kept."""

    levels: Required[list[float]]
    left_out: LeftOut
    shuffled: Shuffled


class Report(TypedDict, total=False):
    """report.json."""

    numbers: Count
    default: str
    scorers: dict[str, Scored]
    choice: Choice
    stand_ins: StandIns


SNAPSHOTS = {
    "epochs": Array("iu", "E", 0), "logits": Array("f", "E N C"), "labels": Array("iu", "N", 0, "C"),
    "index": Array("iu", "N", 0),
}  # fmt: skip

REBUILT = {
    "error": Array("f", "N", 0), "rows": Array("iu", "M", 0, "N"), "images": Array("iu", "M H H K", 0, 255),
    "made": Array("iu", "M H H K", 0, 255),
}  # fmt: skip


MADE = {  # images [M] made from ones of the classes begun, -1 for none; and the ways of P images of these classes
    "made": Array("u", "m H W c", 0, 255), "begun": Array("iu", "m", -1, "K"),
    "way": Array("u", "S p H W c", 0, 255), "classes": Array("iu", "p", 0, "K"),
    "steps": Array("iu", "S", -1, 10**6),  # of the way, -1 for the real image
    # the shares of K known classes and, last, of being unknown, by the classifier before the last stage and by the last
    "before": Array("f", "S p n", 0, 1), "after": Array("f", "S p n", 0, 1),
}  # fmt: skip


class Broken(ValueError):
    """A run directory that cannot be read; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Run:
    """A run directory. Everything is read when asked for; nothing is kept."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def record(self) -> Record:
        """recipe.json, whole. Raises Broken where it is missing, torn or not ours, and where the run holds a link."""
        file = self.path / "recipe.json"
        self._check_links()
        try:
            return records.read(file, Record)
        except FileNotFoundError as error:
            if files.is_file(self.path / "status.json") and self.state in ("failed", "lost", "stopped"):
                reason = self.status.get("reason") or say(self.state)
                raise Broken(say(
                    "{run} ended before its training had begun ({reason}). Train it again, or delete it.",
                    run=self.id, reason=reason,
                )) from error  # fmt: skip
            raise Broken(
                say("{path} holds no recipe.json: it is no run, or was never finished writing.", path=self.path)
            ) from error
        except (OSError, Unfit) as error:
            raise Broken(
                say("{file} cannot be read ({error}). Delete the run or train it again.", file=file, error=error)
            ) from error

    def once(self) -> "Once":
        """This run as it is now, for several questions in a row."""
        return Once(self.path)

    def there(self) -> Path:
        """Its folder. Raises FileNotFoundError where somebody has removed it, which writing into it would undo."""
        if not files.is_folder(self.path):
            raise FileNotFoundError(say(
                "The run {run} is not here any more: it was deleted or moved. Choose another, or bring it back from "
                "the trash on the page Runs.",
                run=self.id,
            ))  # fmt: skip
        return self.path

    def _check_links(self) -> None:
        """Whoever gave us this folder must not have us read, write or pack what lies outside of it."""
        if os.path.islink(self.path):
            raise Broken(say(
                "{path} is a link, and links are not followed. Put the folder itself there, or name the store that it "
                "lies in.",
                path=self.path,
            ))  # fmt: skip
        for folder in (self.path, *(self.path / name for name in FOLDERS)):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                if found := next((entry.path for entry in entries if entry.is_symlink()), None):
                    raise Broken(say(
                        "{path} is a link, and links are not followed. Put the file itself there, or remove it.",
                        path=found,
                    ))  # fmt: skip

    @property
    def recipe(self) -> Recipe:
        try:
            return Recipe.from_json(self.record["recipe"])
        except Broken:
            raise
        except ValueError as error:
            raise Broken(say("{file}: {error}", file=self.path / "recipe.json", error=error)) from error

    @property
    def trial(self) -> Trial:
        """The classes that this run was trained on, as written when it began."""
        recipe, classes = self.recipe, self.record["classes"]
        known, unknown = classes["known"], classes["unknown"]
        both = [*known, *unknown]
        if len(known) < 2 or max(both) >= len(classes["names"]) or len(set(both)) < len(both):
            raise Broken(say(
                "{file}: its known and unknown classes are not among those it names.",
                file=self.path / "recipe.json",
            ))  # fmt: skip
        return Trial(recipe.dataset, recipe.family, recipe.trial, tuple(known), tuple(unknown))

    @property
    def class_names(self) -> list[str]:
        """Of all classes of the data set, by class number."""
        return self.record["classes"]["names"]

    @property
    def known_names(self) -> list[str]:
        """Of the known classes, by network label."""
        return [self.class_names[c] for c in self.trial.known]

    @property
    def stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the channels, on the scale 0 to 1, that the network's images are scaled by."""
        record = self.record
        mean, std = (tuple(record.get(name, ())) for name in ("mean", "std"))
        if not len(mean) == len(std) == self.row.channels:
            raise Broken(say("{file} gives no mean and std of the images.", file=self.path / "recipe.json"))
        return mean, std

    @property
    def validated_on(self) -> str:
        """What its validation images are, which theta rests on: one of the four names in data.datasets.

        A run that was imported says so once it is evaluated; of one from before, all images were trained on.
        """
        record = self.record
        return record.get("validated_on") or (SEEN if record.get("trains_on") == "all" else HELD_OUT)

    @property
    def row(self) -> Dataset:
        """How images are prepared for this run's network, from the record alone: the data set need not be here."""
        row, how = DATASETS.get(self.recipe.dataset, FOLDER), self.record["prepare"]
        if wrong := sorted(how.keys() - Prepare.__annotations__.keys()):
            raise Broken(say(
                "{file} does not say how images are prepared ({error}).",
                file=self.path / "recipe.json", error=say("it has no {names}; it takes {fields}", names=wrong,
                                                          fields=list(Prepare.__annotations__)),
            ))  # fmt: skip
        return replace(row, classes=tuple(self.class_names), **how)

    @property
    def status(self) -> Status:
        """status.json, with the state "lost" where it cannot be read, or the process is gone that should be at work."""
        try:
            status = self._status()
        except FileNotFoundError:
            return {
                "state": "lost",
                "reason": say("It was never started, or its status is gone. Train it again to go on."),
            }
        except (OSError, Unfit) as error:
            reason = say("status.json cannot be read ({error}). Train it again to go on.", error=error)
            return {"state": "lost", "reason": reason}
        here = status.get("host") == socket.gethostname() and not status.get("job")
        if status["state"] in ALIVE and here and not alive(status):
            why = say("Its process ended without a word: killed, or the machine went down. Train it again to go on.")
            return {**status, "state": "lost", "reason": why}
        return status

    def _status(self) -> Status:
        return records.read(self.path / "status.json", Status)

    @property
    def state(self) -> str:
        return self.status["state"]

    @property
    def beginning(self) -> bool:
        """Whether a process is at work on it that has not come to write the recipe yet: it reads the images first."""
        return not files.is_file(self.path / "recipe.json") and self.state in ALIVE

    def events(self) -> list[Event]:
        """Signs of life, then the epochs. Where a run went on from an older epoch, what it did again counts, once.

        A line that is torn or not of our making is passed over. Raises Broken where the file cannot be read.
        """
        file, events, epochs = self.path / "events.jsonl", [], {}
        try:
            for event in records.lines(file, Event):
                if event["kind"] != "epoch":
                    events.append(event)
                elif "epoch" in event:
                    epochs[event["epoch"]] = event
        except FileNotFoundError:
            return []
        except (OSError, Unfit) as error:
            raise Broken(self.unreadable(file, error)) from error
        return events + [epochs[e] for e in sorted(epochs)]

    def warnings(self) -> list[str]:
        """What training said that somebody should know, each once. Raises Broken where the file cannot be read."""
        return list(dict.fromkeys(e["text"] for e in self.events() if e["kind"] == "warning" and e.get("text")))

    def _first_event(self) -> Event | None:
        """Which tells whether the file can be read, without reading it."""
        return next(records.lines(self.path / "events.jsonl", Event), None)

    def epochs(self) -> list[Event]:
        """The events of the epochs, by epoch."""
        return [event for event in self.events() if event["kind"] == "epoch"]

    def snapshots(self) -> dict[str, np.ndarray] | None:
        """epochs [E], logits [E, N, C], labels [N], index [N]; None where there are none, or damaged ones."""
        try:
            return records.arrays(self.path / "snapshots.npz", SNAPSHOTS, C=len(self.trial.known))
        except (OSError, Unfit):
            return None

    def made(self) -> dict[str, np.ndarray] | None:
        """What a method made up, see MADE; None where there is none, or a damaged file."""
        known = len(self.trial.known)
        try:
            return records.arrays(self.path / "made.npz", MADE, K=known, n=known + 1, c=self.row.channels)
        except (OSError, Unfit):
            return None

    def rebuilt(self) -> dict[str, np.ndarray] | None:
        """Of the test images error [N], the mean squared one of the normalised pixels; of some, `rows` [M] among them,
        images and made [M, H, H, K] uint8. None where nothing was rebuilt, or it is damaged."""
        try:
            return records.arrays(self.path / "rebuilt.npz", REBUILT)
        except (OSError, Unfit):
            return None

    def outputs(self, split: str) -> Outputs:
        """Raises FileNotFoundError with the command that writes them where there are none; Broken where damaged."""
        file = self.there() / "outputs" / f"{split}.npz"
        if not files.is_file(file):
            raise FileNotFoundError(say(
                "{run} has no outputs on {split!r} yet. Write them with:\n"
                "    {command}",
                run=self.id, split=split, command=shell.command("eval", self.path),
            ))  # fmt: skip
        known = len(self.trial.known)
        try:
            arrays = records.arrays(file, ARRAYS, C=known)
            for name in {"logits", "features", "out_of_fold"} & arrays.keys():
                arrays[name] = arrays[name].astype(np.float32, copy=False)
            if "latents" in arrays:
                arrays["latents"] = int(arrays["latents"])
            for name in ("labels", "classes", "index"):  # kept narrow, and reckoned with
                arrays[name] = arrays[name].astype(np.int64, copy=False)
            return Outputs(**{name: values for name, values in arrays.items() if name not in (*ABOUT, MARKS)})
        except (OSError, ValueError) as error:  # also of arrays that are well each and do not belong together
            raise self.damaged(file, error) from error

    def pictures(self) -> np.ndarray | None:
        """Small pictures [N, H, W, 3] of the test images, which a run of imported outputs may keep; None without."""
        try:
            return records.arrays(self.path / "pictures.npz", {"pixels": Array("u", "N H W 3", 0, 255)})["pixels"]
        except (OSError, Unfit):
            return None

    def marks(self) -> np.ndarray | None:
        """What each of its test images is known by [N], in the order of its outputs; None where they do not say."""
        try:
            return records.arrays(self.path / "outputs" / "test.npz", ARRAYS, (MARKS,)).get(MARKS)
        except (OSError, Unfit):
            return None

    def made_of(self, split: str) -> str:
        """The digest of the images that the outputs on a split are of; empty where they do not say."""
        return said_in(self.path / "outputs" / f"{split}.npz", "images")

    def changed(self, digest: str, counts: dict[str, int]) -> tuple[str, str] | None:
        """What this run's images were and what the data set's are now, by `datasets.identity`, in words.

        None where these are the same, or nobody knows.
        """
        record = self.record
        if datasets.fits(record.get("data"), digest):
            return None
        return datasets.told(record["data"], record.get("images")), datasets.told(digest, counts)

    def unknown_split(self, name: str) -> str:
        """The split under which this run's outputs on another data set, taken as unknown, lie.

        `unknown_split`, or where there are none the name by which an older version kept them, unless those say that
        they are on another data set.
        """
        split, before = unknown_split(name), f"unknown-{slug(name)}"
        here = [(self.path / "outputs" / f"{each}.npz").is_file() for each in (split, before)]
        if here == [False, True] and said_in(self.path / "outputs" / f"{before}.npz", "dataset") in ("", name):
            return before
        return split

    @property
    def written(self) -> str:
        """Changes whenever the outputs do; what is computed from them is kept under it. Empty without outputs."""
        stamps = []
        for split in SPLITS:
            with contextlib.suppress(OSError):
                stat = (self.path / "outputs" / f"{split}.npz").stat()
                stamps.append(f"{stat.st_mtime_ns}-{stat.st_size}")
        return "/".join(stamps) if len(stamps) == len(SPLITS) else ""

    def report(self) -> Report:
        """report.json: the numbers of each scorer, as evaluation left them; empty where there are none.

        Raises Broken where it cannot be read.
        """
        file = self.path / "report.json"
        try:
            return records.read(file, Report, most=4 * records.MOST)
        except FileNotFoundError:
            return {}
        except (OSError, Unfit) as error:
            raise self.damaged(file, error) from error

    def damaged(self, file: Path, error: Exception) -> Broken:
        """What to raise where a file that evaluation writes is not what it should be."""
        return Broken(say(
            "{file} is damaged ({error}). Write it again with:\n"
            "    {command}",
            file=file, error=error, command=shell.command("eval", self.path, "--again"),
        ))  # fmt: skip

    @staticmethod
    def unreadable(file: Path, error: Exception) -> str:
        """What to say where a file that is nobody's loss is not what it should be."""
        return say("{file} cannot be read ({error}). Remove it; the run stays.", file=file, error=error)

    def problem(self) -> str:
        """What keeps this run from being shown, in a sentence; empty where nothing does."""
        once = self.once()
        try:
            _ = once.trial, once.row, once.stats, once.report()
        except Broken as error:
            return error.args[0]
        for name, look in (("status.json", once._status), ("events.jsonl", once._first_event)):
            try:
                look()
            except FileNotFoundError:
                continue
            except (OSError, Unfit) as error:
                return self.unreadable(self.path / name, error)
        return ""


class Once(Run):
    """A run of which each record is read once, for several questions in a row."""

    record, recipe = cached_property(Run.record.fget), cached_property(Run.recipe.fget)
    _report = cached_property(Run.report)

    def once(self) -> "Once":
        return self

    def report(self) -> Report:
        return self._report


def seconds_trained(epochs: list[Event]) -> float | None:
    """From the times at which epochs ended; a pause, in which nothing was trained, counts as an epoch of usual length.

    The first epoch has no beginning among the events: it, too, counts as one of usual length.
    """
    times = [e["time"] for e in epochs if "time" in e]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    if not gaps:
        return None
    usual = statistics.median(gaps)
    return usual + sum(gap if 0 <= gap <= 10 * usual else usual for gap in gaps)


def unknown_split(name: str) -> str:
    """The split under which outputs on another data set, taken as unknown, are written: one for each name.

    A digest, behind a sign that no slug holds, keeps what the slug forgets.
    """
    name = unicodedata.normalize("NFC", name)  # macOS writes the letters of a folder's name apart
    short = slug(name)
    if short == name and len(name) <= 48:
        return f"unknown-{short}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"unknown-{short[:48].strip('-')}--{digest}"


def said_in(file: Path, name: str) -> str:
    """A word that an .npz says of itself, such as which weights or images it is of; empty where it does not."""
    try:
        return str(records.arrays(file, {name: Array("U", needed=False)}).get(name, ""))
    except (OSError, Unfit):
        return ""


BUNDLED = Path(__file__).parents[1] / "checkpoints"  # the runs that come with Anchorscope


def store_of(given: str | Path | None = None) -> Path:
    return Path(given or os.environ.get("ANCHORSCOPE_RUNS") or "checkpoints").expanduser()


def find(name: str | Path, store: Path) -> Run:
    """A run by path, or by id below the store. Raises FileNotFoundError that lists the ids there are."""
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):  # a name no file system takes
        if (path / "recipe.json").is_file():
            return Run(path)
    if ID.fullmatch(str(name)) and files.is_folder(store / name):
        return Run(store / name)
    ids = [run.id for run in every(store)] or say("none yet")
    raise FileNotFoundError(
        say("There is no run {name!r} in {store}; there are: {ids}.", name=str(name), store=store, ids=ids)
    )


def every(store: Path) -> list[Run]:
    """All runs of a store, broken ones and those of somebody else too, by id; none of one that cannot be read."""
    try:
        there = files.listed(store)
    except ValueError:
        return []
    return [Run(store / name) for name in sorted((*there.folders, *there.closed)) if ID.fullmatch(name)]


def passed_over(store: Path) -> Sentence | None:
    """Why a store shows no runs where it cannot be read."""
    try:
        files.listed(store)
    except ValueError as error:
        return error.args[0]
    return None


def write(path: Path, content: str | bytes) -> None:
    """Put content into place in one step: a reader, or a crash, finds the old file or the new one."""
    in_one_step(path, lambda file: file.write(content.encode() if isinstance(content, str) else content))


def write_json(path: Path, record: Any) -> None:
    write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    in_one_step(path, lambda file: np.savez_compressed(file, **arrays))


def write_outputs(run: Run, split: str, out: Outputs, **about: str | np.ndarray) -> None:
    """about says what the outputs are of: outputs.ABOUT and MARKS. Features are kept in half precision, but for large
    ones."""
    arrays = {
        "logits": out.logits.astype(np.float32),
        "features": out.features.astype(np.float16 if np.abs(out.features).max(initial=0) < MOST_HALF else np.float32),
        "labels": out.labels.astype(np.int16),
        "classes": out.classes.astype(np.int16),
        "index": out.index.astype(np.int32),
        "mirrored": out.mirrored,
        **{name: np.array(said) for name, said in about.items()},
    }
    if out.fold is not None:
        arrays["fold"] = out.fold.astype(np.int16)
    for name in ("anchors", "out_of_fold", "dummies", "prototypes", "given", "head", "heads_out_of_fold"):
        if getattr(out, name) is not None:
            arrays[name] = getattr(out, name)
    if out.latents:
        arrays["latents"] = np.array(out.latents)
    write_npz(run.there() / "outputs" / f"{split}.npz", **arrays)


MAKING = ".making"  # beside the runs of a store, where none is looked for
FORGOTTEN = 24 * 3600  # seconds after which nobody is at work there any more


@contextlib.contextmanager
def made_whole(run: Run) -> Iterator[Run]:
    """A run to be filled out of sight, which takes this one's place once it is whole; else nothing of it is left.

    Of several who make the same at once one is first. Raises FileExistsError for the others.
    """
    (making := run.path.parent / MAKING).mkdir(parents=True, exist_ok=True)
    for old in making.glob(f"{run.id}-*"):  # what an interruption left
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(old)
    place = Path(tempfile.mkdtemp(prefix=f"{run.id}-", dir=making))
    fresh = Run(place / run.id)
    try:
        yield fresh
        try:
            fresh.path.rename(run.path)
        except OSError as error:
            if not os.path.lexists(run.path):
                raise
            raise FileExistsError(
                say("{folder} is there already. Remove it, or give another folder.", folder=run.path)
            ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def in_one_step(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Let fill write a file anew: whoever reads it finds the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")  # a session is a thread
    try:
        with open(fresh, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # of a full disk nobody says where it is
        raise
    finally:
        fresh.unlink(missing_ok=True)


HALF = re.compile(r"\..+\.(\d+)-\d+\.tmp")  # as in_one_step calls it


def remove_half_written(run: Run) -> None:
    """Remove what processes that were killed left half written; for whoever alone is at work on the run."""
    import psutil

    for file in (*run.path.glob(".*.tmp"), *(run.path / "outputs").glob(".*.tmp")):
        if (named := HALF.fullmatch(file.name)) and not psutil.pid_exists(int(named[1])):
            file.unlink(missing_ok=True)


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a line. One that a kill has torn before is ended first, so that it tears nothing else."""
    with open(path, "a+b") as file:
        if file.seekable() and file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
            file.write(b"\n" * torn)
        file.write(json.dumps({"time": round(time.time(), 3), **record}).encode() + b"\n")


def process_now() -> dict[str, Any]:
    """Who is at work: pid, when that process began, and the host; a pid alone is soon somebody else's.

    The beginning is told in seconds after the machine's own: the time of day may be set while a run goes on. job is a
    cluster's ticket: then that alone knows whether it lives, for of two machines both may have one name.
    """
    import psutil

    began = psutil.Process().create_time() - psutil.boot_time()
    who = {"pid": os.getpid(), "process_started": round(began, 2), "host": socket.gethostname()}
    return {**who, "job": os.environ.get("ANCHORSCOPE_JOB", "")}


def under_way(file: Path) -> Progress | None:
    """What is told in a file by a process that is at work right now; None without one."""
    try:
        said = records.read(file, Progress)
    except (OSError, Unfit):
        return None
    return said if alive(said) else None


def alive(status: Process) -> bool:
    """Whether the process that `process_now` described is at work still, on this machine."""
    import psutil

    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - psutil.boot_time() - float(status["process_started"])) < 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
