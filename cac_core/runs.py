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
    outputs/unknown-NAME.npz      outputs on another data set, taken as unknown
    stop              its presence asks the run to stop after the batch

Every file is written beside itself and moved into place, so a reader sees the old one or the new one. Outputs, and a
sweep, say which images they are of and which weights made them; see `made_of` and data.datasets.digest.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from cac_core import files
from cac_core.data import datasets
from cac_core.data.datasets import DAMAGED, DATASETS, FOLDER, HELD_OUT, SEEN, Dataset, Trial
from cac_core.recipe import Recipe, slug
from cac_core.scoring.outputs import Outputs
from cac_core.sentences import Sentence, say

SPLITS = ("train", "validation", "test")
ID = re.compile(r"[a-z0-9-]{1,64}")
ALIVE = ("starting", "running")
ABOUT = ("weights", "images", "dataset")  # what outputs say of themselves: digests, and which data set they are on


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
    def record(self) -> dict[str, Any]:
        """recipe.json, whole. Raises Broken where it is missing, torn or not ours."""
        try:
            record = json.loads((self.path / "recipe.json").read_text("utf-8"))
            if not isinstance(record, dict) or not {"recipe", "classes", "prepare"} <= set(record):
                raise ValueError(say("it is not the record of a run"))
            if not all(isinstance(record[part], dict) for part in ("recipe", "classes", "prepare")):
                raise ValueError(say("its recipe, classes and prepare must be objects"))
            return record
        except FileNotFoundError as error:
            raise Broken(
                say("{path} holds no recipe.json: it is no run, or was never finished writing.", path=self.path)
            ) from error
        except (OSError, ValueError) as error:
            raise Broken(say(
                "{file} cannot be read ({error}). Delete the run or train it again.",
                file=self.path / "recipe.json", error=error,
            )) from error  # fmt: skip

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
        known, unknown = (self._numbers(classes.get(part)) for part in ("known", "unknown"))
        if len(known) < 2 or max(known + unknown) >= len(self.class_names):
            raise Broken(say(
                "{file}: its known and unknown classes are not among those it names.",
                file=self.path / "recipe.json",
            ))  # fmt: skip
        return Trial(recipe.dataset, recipe.family, recipe.trial, known, unknown)

    def _numbers(self, said: Any) -> tuple[int, ...]:
        if not isinstance(said, list) or not all(isinstance(c, int) and c >= 0 for c in said):
            raise Broken(say(
                "{file}: its known and unknown classes are not lists of class numbers.",
                file=self.path / "recipe.json",
            ))  # fmt: skip
        return tuple(said)

    @property
    def class_names(self) -> list[str]:
        """Of all classes of the data set, by class number."""
        names = self.record["classes"].get("names")
        if not isinstance(names, list):
            raise Broken(say("{file} does not name its classes.", file=self.path / "recipe.json"))
        return [str(name) for name in names]

    @property
    def known_names(self) -> list[str]:
        """Of the known classes, by network label."""
        return [self.class_names[c] for c in self.trial.known]

    @property
    def stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the channels, on the scale 0 to 1, that the network's images are scaled by."""
        record = self.record
        try:
            return tuple(record["mean"]), tuple(record["std"])
        except (KeyError, TypeError) as error:
            raise Broken(say("{file} gives no mean and std of the images.", file=self.path / "recipe.json")) from error

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
        try:
            return replace(row, classes=tuple(self.class_names), **how)
        except TypeError as error:
            raise Broken(say(
                "{file} does not say how images are prepared ({error}).",
                file=self.path / "recipe.json", error=error,
            )) from error  # fmt: skip

    @property
    def status(self) -> dict[str, Any]:
        """status.json, with the state "lost" where the process that should be at work is gone."""
        try:
            status = json.loads((self.path / "status.json").read_text("utf-8"))
            if not isinstance(status, dict) or not isinstance(status.get("state"), str):
                raise ValueError(say("it names no state"))
        except FileNotFoundError:
            return {
                "state": "lost",
                "reason": say("It was never started, or its status is gone. Train it again to go on."),
            }
        except (OSError, ValueError) as error:
            reason = say("status.json cannot be read ({error}). Train it again to go on.", error=error)
            return {"state": "lost", "reason": reason}
        if status["state"] in ALIVE and status.get("host") == socket.gethostname() and not alive(status):
            why = say("Its process ended without a word: killed, or the machine went down. Train it again to go on.")
            return {**status, "state": "lost", "reason": why}
        return status

    @property
    def state(self) -> str:
        return self.status["state"]

    @property
    def beginning(self) -> bool:
        """Whether a process is at work on it that has not come to write the recipe yet: it reads the images first."""
        return not files.is_file(self.path / "recipe.json") and self.state in ALIVE

    def events(self) -> list[dict[str, Any]]:
        """Signs of life, then the epochs. Where a run went on from an older epoch, what it did again counts, once."""
        try:
            lines = (self.path / "events.jsonl").read_text("utf-8", "replace").splitlines()
        except OSError:
            return []
        events, epochs = [], {}
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # torn by a kill
            if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
                continue  # not of our making
            if event["kind"] != "epoch":
                events.append(event)
            elif isinstance(event.get("epoch"), int):
                epochs[event["epoch"]] = event
        return events + [epochs[e] for e in sorted(epochs)]

    def epochs(self) -> list[dict[str, Any]]:
        """The events of the epochs, by epoch."""
        return [event for event in self.events() if event["kind"] == "epoch"]

    def snapshots(self) -> dict[str, np.ndarray] | None:
        """epochs [E], logits [E, N, C], labels [N], index [N]; None where there are none."""
        try:
            with np.load(self.path / "snapshots.npz") as stored:
                return {name: stored[name] for name in stored.files}
        except DAMAGED:
            return None

    def outputs(self, split: str) -> Outputs:
        """Raises FileNotFoundError with the command that writes them where there are none; Broken where damaged."""
        file = self.path / "outputs" / f"{split}.npz"
        if not files.is_folder(self.path):
            raise FileNotFoundError(say(
                "The run {run} is not here any more: it was deleted or moved. Choose another, or bring it back from "
                "the trash on the page Runs.",
                run=self.id,
            ))  # fmt: skip
        if not files.is_file(file):
            raise FileNotFoundError(say(
                "{run} has no outputs on {split!r} yet. Write them with:\n"
                "    python -m cac_core eval {path}",
                run=self.id, split=split, path=self.path,
            ))  # fmt: skip
        try:
            with np.load(file) as stored:
                arrays = {name: stored[name] for name in stored.files if name not in ABOUT}
            arrays["logits"] = arrays["logits"].astype(np.float32, copy=False)
            arrays["features"] = arrays["features"].astype(np.float32, copy=False)
            for name in ("labels", "classes", "index"):  # kept narrow, and reckoned with
                arrays[name] = arrays[name].astype(np.int64, copy=False)
            if "out_of_fold" in arrays:
                arrays["out_of_fold"] = arrays["out_of_fold"].astype(np.float32, copy=False)
            return Outputs(**arrays)
        except DAMAGED as error:
            raise Broken(say(
                "{file} is damaged ({error}). Write it again with:\n"
                "    python -m cac_core eval {path} --again",
                file=file, error=error, path=self.path,
            )) from error  # fmt: skip

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

    def report(self) -> dict[str, Any]:
        """report.json: the numbers of each scorer, as evaluation left them; empty where there are none."""
        try:
            return json.loads((self.path / "report.json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def problem(self) -> str:
        """What keeps this run from being shown, in a sentence; empty where nothing does."""
        once = _Once(self.path)
        try:
            _ = once.trial, once.row, once.stats
            return ""
        except Broken as error:
            return str(error)


class _Once(Run):
    """A run whose record is read once, for several questions in a row."""

    record, recipe = cached_property(Run.record.fget), cached_property(Run.recipe.fget)


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
        with np.load(file) as stored:
            return str(stored[name]) if name in stored.files else ""
    except DAMAGED:
        return ""


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


def in_one_step(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Let fill write a file anew: whoever reads it finds the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(fresh, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


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

    The beginning is told in seconds after the machine's own: the time of day may be set while a run goes on.
    """
    import psutil

    began = psutil.Process().create_time() - psutil.boot_time()
    return {"pid": os.getpid(), "process_started": round(began, 2), "host": socket.gethostname()}


def alive(status: dict[str, Any]) -> bool:
    """Whether the process that `process_now` described is at work still, on this machine."""
    import psutil

    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - psutil.boot_time() - float(status["process_started"])) < 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
