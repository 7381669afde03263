"""Rows on disk as they come, in a file that is whole after a kill at any moment, and that a further call goes on with.

Beside FILE lies .FILE.state, which says by what was judged and how far the file is right; whatever a kill or a full
disk has left behind that place is cut off. A Parquet file cannot be added to, so it is made of parts in .FILE.parts at
the end. What was judged by another run, threshold or version is not mixed in.
"""

import csv
import hashlib
import io
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import filelock
import numpy as np

from cac_core import records, runs
from cac_core.files import is_file
from cac_core.records import Count, Unfit
from cac_core.scoring.scorers import SCORERS, scorer_options
from cac_core.sentences import say

FORMATS = (".jsonl", ".csv", ".parquet")
EVERY = 1.0  # seconds between two times that rows are made safe
PART = 5.0  # and for parts of a Parquet file
COLUMNS = ("path", "decision", "label", "score", "theta", "notes", "error")
MERGED = b"merged"
Row = dict[str, Any]


class _State(TypedDict):
    """What stands beside a file: what was judged by, and how many of its bytes and rows are right."""

    about: dict[str, object]
    bytes: Count
    rows: Count


def opened(file: Path, about: dict[str, Any], gamma: list[str] | None = None) -> "_Lines | _Parquet":
    """The file to add rows to, a context manager; gamma: the names of the classes whose gammas are columns, too.

    Raises ValueError for a file that somebody else wrote, one of another run or threshold, one at which another process
    is at work, and an ending that is none of FORMATS; OSError where it cannot be written.
    """
    if file.suffix not in FORMATS:
        raise ValueError(say("{file} must end in one of {endings}.", file=file, endings=list(FORMATS)))
    if not file.parent.is_dir():
        raise ValueError(say("There is no folder {folder} to write into.", folder=file.parent))
    return (_Parquet if file.suffix == ".parquet" else _Lines)(file, about | {"gamma": gamma is not None}, gamma or [])


class _Output:
    """What is common to all: the state beside the file, and one writer at a time."""

    def __init__(self, file: Path, about: dict[str, Any], classes: list[str]):
        self.file, self.about, self.classes = file, json.loads(json.dumps(about)), classes
        self.state_file = _state_of(file)
        self.lock = filelock.FileLock(file.with_name(f".{file.name}.lock"), timeout=0)
        self.saved, self.waiting = time.monotonic(), 0
        self.follow: Callable[[list[Row]], None] | None = None  # is given the rows that have just been made safe
        self.fresh: list[Row] = []

    def __enter__(self):
        try:
            self.lock.acquire()
        except filelock.Timeout as error:
            raise ValueError(say("Another process writes {file}. Wait for it, or name another file.", file=self.file)) \
                from error  # fmt: skip
        try:
            self.state = self._found()
            self.begin()
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.end()
        finally:
            self.close()
            self.lock.release()

    def _found(self) -> _State:
        if not is_file(self.state_file):
            if os.path.lexists(self.file):
                raise ValueError(
                    say("{file} was not written by score, and is left as it is. Name another file.", file=self.file)
                )
            self.state = {"about": self.about | {"id": secrets.token_hex(8)}, "bytes": 0, "rows": 0}
            self._write_state()  # before the file: one without it is somebody else's
            return self.state
        try:
            state = records.read(self.state_file, _State)
        except (OSError, Unfit) as error:
            raise ValueError(say("{file} cannot be read ({error}).", file=self.state_file, error=error)) from error
        before, here = whole(state["about"]), whole(self.about)
        if wrong := [name for name, value in here.items() if before.get(name) != value]:
            raise ValueError(say(
                "{file} holds verdicts of {run}, and its {names} are others than here. Name another file.",
                file=self.file, run=str(state["about"].get("run"))[:80], names=wrong,
            ))  # fmt: skip
        return state

    @property
    def id(self) -> str:
        """Of this output and no other, also of the same name."""
        return str(self.state["about"].get("id", self.file.absolute()))

    def add(self, row: Row) -> None:
        self.put(row)
        self.waiting += 1
        if self.follow:
            self.fresh.append(row)
        if time.monotonic() - self.saved > self.every:
            self.save()

    def save(self) -> None:
        if self.waiting:
            try:
                self.keep()
                self.state["rows"] += self.waiting
                self._write_state()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.file)) from error
        self.saved, self.waiting = time.monotonic(), 0
        if self.fresh:
            fresh, self.fresh = self.fresh, []
            self.follow(fresh)

    def _write_state(self) -> None:
        runs.write_json(self.state_file, self.state)

    def known(self) -> np.ndarray:
        """Digests of the paths that have a row, sorted."""
        return np.sort(np.fromiter((digest_of(row["path"]) for row in self.rows_of("path")), np.uint64))

    def flat(self, row: Row) -> Row:
        """As columns."""
        said = {name: row.get(name, "" if name in ("notes", "error") else None) for name in COLUMNS}
        said["notes"] = "; ".join(row.get("notes", ()))
        said["path"] = row["path"].encode("utf-8", "backslashreplace").decode()
        return said | {f"gamma {name}": row.get("gamma", {}).get(name) for name in self.classes}


def progress_of(file: Path) -> Path:
    """Where a process that adds rows to a file tells how far it is; see runs.under_way."""
    return file.with_name(f".{file.name}.progress")


def rows_in(file: Path) -> int:
    """How many of its rows are safe; 0 where nobody can say."""
    try:
        return records.read(_state_of(file), _State)["rows"]
    except (OSError, Unfit):
        return 0


def whole(about: dict[str, Any]) -> dict[str, Any]:
    """What was judged by, with the options, too, that files of before do not say: they are at their defaults."""
    scorer = about.get("scorer")
    return about | {"options": scorer_options(scorer) | about.get("options", {})} if scorer in SCORERS else about


def _state_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.state")


def digest_of(path: str) -> int:
    path = path.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little")


class _Lines(_Output):
    """JSON lines, or CSV."""

    every = EVERY

    def begin(self) -> None:
        self.out = open(self.file, "r+b" if is_file(self.file) else "w+b", buffering=0)  # noqa: SIM115 (close closes it)
        there = self.out.seek(0, os.SEEK_END)
        if there < self.state["bytes"]:
            raise ValueError(say(
                "{file} was cut short: {there} of {bytes} bytes are there. Delete it and {state} to judge all again.",
                file=self.file, there=there, bytes=self.state["bytes"], state=self.state_file.name,
            ))  # fmt: skip
        self.out.truncate(self.state["bytes"])
        self.out.seek(self.state["bytes"])
        self.buffer = io.StringIO(newline="")
        self.table = None
        if self.file.suffix == ".csv":
            columns = [*COLUMNS, *(f"gamma {name}" for name in self.classes)]
            self.table = csv.DictWriter(self.buffer, columns)
            if not self.state["bytes"]:
                self.table.writeheader()
        if not self.state["bytes"]:
            self.keep()
            self._write_state()

    def put(self, row: Row) -> None:
        if self.table:
            self.table.writerow(self.flat(row))
        else:
            said = row if self.classes else {name: value for name, value in row.items() if name != "gamma"}
            path = row["path"].encode("utf-8", "backslashreplace").decode()
            self.buffer.write(json.dumps(said | {"path": path}, ensure_ascii=False) + "\n")

    def keep(self) -> None:
        left = memoryview(self.buffer.getvalue().encode())
        while left:
            left = left[self.out.write(left) :]
        os.fsync(self.out.fileno())
        self.state["bytes"] = self.out.tell()
        self.buffer.seek(0)
        self.buffer.truncate()

    def end(self) -> None:
        self.save()

    def close(self) -> None:
        self.out.close()

    def rows_of(self, *columns: str) -> Iterator[Row]:
        """All rows that are safe, in order, with these columns at least; of CSV all is text."""
        csv.field_size_limit(2**31 - 1)  # a path on standard input may have any length
        with open(self.file, encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file) if self.table else map(json.loads, file)


class _Parquet(_Output):
    """Parts of some seconds each, made one file at the end."""

    every = PART

    def begin(self) -> None:
        import pyarrow as pa

        text, number = pa.string(), pa.float64()
        kinds = {"score": number, "theta": number}
        self.schema = pa.schema(
            [(name, kinds.get(name, text)) for name in COLUMNS] + [(f"gamma {name}", number) for name in self.classes]
        )
        self.folder = self.file.with_name(f".{self.file.name}.parts")
        self.folder.mkdir(exist_ok=True)
        for name in self._merged():  # a kill came before they were deleted
            (self.folder / name).unlink(missing_ok=True)
        self.rows: list[Row] = []

    def _merged(self) -> list[str]:
        """The names of the parts that the file was made of last."""
        from pyarrow import parquet

        if not is_file(self.file):
            return []
        with parquet.ParquetFile(self.file) as read:
            return json.loads(read.metadata.metadata.get(MERGED, b"[]"))

    def put(self, row: Row) -> None:
        self.rows.append(self.flat(row))

    def parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.parquet"))

    def keep(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        name = f"{time.time_ns():020}.parquet"
        table = pa.Table.from_pylist(self.rows, self.schema)
        runs.in_one_step(self.folder / name, lambda file: parquet.write_table(table, file))
        self.rows = []

    def end(self) -> None:
        from pyarrow import parquet

        self.save()
        parts = self.parts()
        if not parts and is_file(self.file):
            shutil.rmtree(self.folder, ignore_errors=True)
            return

        def fill(file) -> None:
            with parquet.ParquetWriter(file, self.schema, compression="zstd") as writer:
                for one in [*([self.file] if is_file(self.file) else []), *parts]:
                    with parquet.ParquetFile(one) as read:
                        for some in read.iter_batches(64_000):
                            writer.write_batch(some)
                writer.add_key_value_metadata({MERGED.decode(): json.dumps([part.name for part in parts])})

        runs.in_one_step(self.file, fill)
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        pass

    def rows_of(self, *columns: str) -> Iterator[Row]:
        from pyarrow import parquet

        for one in [*([self.file] if is_file(self.file) else []), *self.parts()]:
            with parquet.ParquetFile(one) as read:
                for some in read.iter_batches(64_000, columns=list(columns)):
                    yield from some.to_pylist()


def unseen(sources: Iterable[Any], known: np.ndarray) -> Iterator[Any]:
    """The sources whose names have no row yet, by the digests of those that have one."""
    for source in sources:
        digest = np.uint64(digest_of(source.name))
        at = int(np.searchsorted(known, digest))
        if at == len(known) or known[at] != digest:
            yield source
