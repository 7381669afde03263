"""The shelf: what people put on a run, and runs put away, brought back, packed and unpacked. Numpy and disk.

<store>/<id>/shelf.json         {title, note, tags, archived}; a run without it has none of them
<store>/.trash/<id>-<time>/     a run that was deleted, whole, until somebody purges it
<store>/.incoming-<letters>/   what is being unpacked

Nothing here is done where ANCHORSCOPE_READONLY is set; reading is.
"""

import contextlib
import os
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from cac_core import files, records, runs
from cac_core.exchange import names, share
from cac_core.jobs import launch, queue
from cac_core.records import Unfit
from cac_core.results import project, sweep
from cac_core.runs import ALIVE, ID, Run
from cac_core.sentences import say

FILE, TRASH = "shelf.json", ".trash"
TITLE, NOTE, TAG, TAGS = 120, 2000, 40, 20  # characters of a title, a note and a tag; tags of a run


@dataclass(frozen=True)
class Shelf:
    """What people put on a run. Each text is theirs: it may hold anything but control characters."""

    title: str = ""
    note: str = ""
    tags: tuple[str, ...] = ()
    archived: bool = False


def read(run: Run) -> Shelf:
    """What is on a run; what cannot be read, or is not of this kind, counts as nothing."""
    try:
        said = records.read(run.path / FILE, dict[str, object])
    except (OSError, Unfit):
        return Shelf()
    tags = said.get("tags") if isinstance(said.get("tags"), list) else []
    words = [_clean(tag)[:TAG] for tag in tags if isinstance(tag, str)]
    title, note = (said.get(name) if isinstance(said.get(name), str) else "" for name in ("title", "note"))
    return Shelf(
        _clean(title)[:TITLE],
        _clean(note, lines=True)[:NOTE],
        tuple(dict.fromkeys(word for word in words if word))[:TAGS],
        said.get("archived") is True,
    )


def write(run: Run, shelf: Shelf) -> Shelf:
    """Put this on a run, in one step. Raises ValueError where it is too long, or where nothing may be written."""
    check_writable()
    tags = tuple(dict.fromkeys(tag for tag in map(_clean, shelf.tags) if tag))
    shelf = Shelf(_clean(shelf.title), _clean(shelf.note, lines=True), tags, bool(shelf.archived))
    if len(shelf.title) > TITLE:
        raise ValueError(
            say("A title has at most {most} characters; this one has {count}.", most=TITLE, count=len(shelf.title))
        )
    if len(shelf.note) > NOTE:
        raise ValueError(
            say("A note has at most {most} characters; this one has {count}.", most=NOTE, count=len(shelf.note))
        )
    if len(tags) > TAGS or any(len(tag) > TAG for tag in tags):
        raise ValueError(
            say("A run has at most {most} tags of at most {length} characters each.", most=TAGS, length=TAG)
        )
    if not files.is_folder(run.path):
        raise ValueError(say("The run {run} is not there any more.", run=run.id))
    with _said(say("{file} cannot be written", file=run.path / FILE)):
        runs.write_json(run.path / FILE, asdict(shelf))
    return shelf


def _clean(text: str, lines: bool = False) -> str:
    """Without control characters; a note keeps its line ends."""
    kept = (c for c in text if unicodedata.category(c) not in ("Cc", "Cs") or (lines and c == "\n"))
    return "".join(kept).strip()


def check_writable() -> None:
    """Raises ReadOnly, a ValueError, where ANCHORSCOPE_READONLY is set."""
    if os.environ.get("ANCHORSCOPE_READONLY", "") not in ("", "0"):
        raise queue.ReadOnly(say(
            "Here one can look at everything and change nothing: this Anchorscope was started with "
            "ANCHORSCOPE_READONLY set. Start it without, on a machine of your own, to change runs."
        ))  # fmt: skip


@contextlib.contextmanager
def _said(what: str):
    """What a disk refuses becomes a sentence."""
    try:
        yield
    except OSError as error:
        raise ValueError(say(
            "{what} ({error}). Look at the folder's permissions and space.",
            what=what, error=error.strerror or error,
        )) from error  # fmt: skip


# --- away and back ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trashed:
    """A deleted run: where it lies, the id it had, and when it was deleted."""

    path: Path
    id: str
    when: datetime


def delete(run: Run) -> Trashed:
    """Move a run to the trash. Raises ValueError where another process works on it, or where nothing may be written."""
    check_writable()
    if not files.is_folder(run.path) or not ID.fullmatch(run.id):
        raise ValueError(say("There is no run {run!r} to delete.", run=run.id))
    busy = [
        job for job in launch.jobs(run.path.parent)
        if job.run == run.id and job.state in launch.UNDER_WAY and not launch.is_own(job)
    ]  # fmt: skip
    if run.state in ALIVE or busy or sweep.under_way(run) or project.under_way(run):
        raise ValueError(say("A process works on {run}. Stop it, or wait for it, and delete the run then.", run=run.id))
    when = datetime.now()
    trash = run.path.parent / TRASH / f"{run.id}-{when:%Y%m%dT%H%M%S%f}"
    with _said(say("{run} cannot be moved to the trash", run=run.id)):
        trash.parent.mkdir(exist_ok=True)
        run.path.rename(trash)
    return Trashed(trash, run.id, when)


def trashed(store: Path) -> list[Trashed]:
    """The runs in the trash of a store, the newest first."""
    found = []
    with contextlib.suppress(ValueError):  # a trash that somebody else closed
        for folder in files.listed(store / TRASH).folders:
            with contextlib.suppress(ValueError):  # no run that was deleted here
                name, _, time = folder.rpartition("-")
                when = datetime.strptime(time, "%Y%m%dT%H%M%S%f")
                if ID.fullmatch(name) and not (store / TRASH / folder).is_symlink():
                    found.append(Trashed(store / TRASH / folder, name, when))
    return sorted(found, key=lambda one: one.when, reverse=True)


def restore(one: Trashed) -> Run:
    """Bring a run back from the trash. Raises ValueError where another has taken its place, or it is gone."""
    check_writable()
    store = one.path.parents[1]
    if not files.is_folder(one.path):
        raise ValueError(say("{run} is not in the trash any more.", run=one.id))
    if (store / one.id).exists():
        raise ValueError(
            say("There is a run {run} again. Delete that one first; the one in the trash stays there.", run=one.id)
        )
    with _said(say("{run} cannot be brought back", run=one.id)):
        one.path.rename(store / one.id)
    return Run(store / one.id)


def purge(one: Trashed) -> None:
    """Remove a deleted run for good."""
    check_writable()
    if one not in trashed(one.path.parents[1]):
        raise ValueError(say("{run} is not in the trash any more.", run=one.id))
    with _said(say("{run} cannot be removed", run=one.id)):
        shutil.rmtree(one.path)


# --- in and out ------------------------------------------------------------------------------------------------------

FILES = re.compile(
    r"recipe\.json|status\.json|events\.jsonl|report\.json|best\.safetensors|(snapshots|made|pictures|rebuilt)\.npz|shelf\.json"
    r"|sweep(-as-published)?\.(json|npz)|(outputs|maps)/[a-z0-9-]{1,80}\.(npz|json)"
)
LEFT_OUT = re.compile(
    r"((outputs|maps)/)?(\.(DS_Store|lock|progress\.json)|\.[^/]+\.tmp)|last\.pt|log\.txt|stop"
    r"|(tensorboard|sweep|judged|exported)/.+"
)
MOST_FILES, MOST_BYTES, MOST_JSON = 2000, 2 << 30, 32 << 20  # of an upload; bytes of it unpacked; of one text in it


DIRECTORY = 400 * MOST_FILES  # bytes of a zip's list of files: names of ordinary length


def pack(chosen: list[Run], into: BinaryIO) -> None:
    """Write small copies of runs into a zip, each below its id. Raises FileNotFoundError where one has no outputs."""
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as packed:
        for run in chosen:
            copy = share.share(run, Path(place))
            if (run.path / FILE).is_file():
                records.copied(run.path / FILE, copy.path / FILE)
            for file in sorted(copy.path.rglob("*")):
                if file.is_file():
                    packed.write(file, file.relative_to(place))
            shutil.rmtree(copy.path)


def unpack(file: BinaryIO, store: Path) -> list[Run]:
    """Bring the runs of a zip, each a folder in it, into the store; a taken id gets a number. Nothing in it is run.

    Raises ValueError that says what is wrong; the store is then as it was.
    """
    check_writable()
    try:
        names.check_directory(file, DIRECTORY)
        packed = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(say("This is no zip file, or a damaged one ({error}).", error=error)) from error
    with packed, _said(say("The runs cannot be written to {store}", store=store)):
        entries = _checked(packed)
        store.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".incoming-", dir=store))
        try:
            _extract(packed, entries, place)
            arrived = [Run(path) for path in sorted(place.iterdir())]
            for run in arrived:
                if problem := run.problem():
                    raise ValueError(
                        say("{run} in this zip is no run that can be shown. {problem}", run=run.id, problem=problem)
                    )
                _settle(run)
            return [_moved_in(run, store) for run in arrived]
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _checked(packed: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files to unpack by where they go; raises ValueError for whatever no run has."""
    entries = {}
    if len(packed.infolist()) > MOST_FILES:
        raise ValueError(say(
            "This zip holds {count} files; a zip of runs has at most {most}.",
            count=len(packed.infolist()), most=MOST_FILES,
        ))  # fmt: skip
    for entry in packed.infolist():
        folder, _, name = entry.filename.partition("/")
        if entry.is_dir() or folder == "__MACOSX" or LEFT_OUT.fullmatch(name):
            continue
        if stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & 1:
            raise ValueError(
                say("{file!r} in this zip is a link or encrypted; a run holds plain files alone.", file=entry.filename)
            )
        if not ID.fullmatch(folder) or not FILES.fullmatch(name):
            raise ValueError(say(
                "{file!r} in this zip is no file of a run. Zip the folder of the run itself, as the page Runs or the "
                "command share makes it: <id>/recipe.json and so on.",
                file=entry.filename,
            ))  # fmt: skip
        if entry.filename in entries:
            raise ValueError(say("{file!r} is in this zip twice.", file=entry.filename))
        entries[entry.filename] = entry
    if not entries:
        raise ValueError(say("This zip holds no run: it should have a folder with a recipe.json in it."))
    return entries


def _extract(packed: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], place: Path) -> None:
    """By the bytes that really come, whatever the zip says of their number."""
    left = MOST_BYTES
    for name, entry in entries.items():
        target, most = place / name, left if not name.endswith((".json", ".jsonl")) else min(left, MOST_JSON)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with packed.open(entry) as source, open(target, "xb") as to:
                size = 0
                while part := source.read(1 << 20):
                    size += len(part)
                    if size > most:
                        raise ValueError(
                            say("{file!r} in this zip is larger than any file of a run may be.", file=name)
                        )
                    to.write(part)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
            raise ValueError(say("{file!r} in this zip is damaged ({error}).", file=name, error=error)) from error
        left -= size


def _settle(run: Run) -> None:
    """No process here works on a run that has just come."""
    status: dict[str, Any] = run.status
    if status["state"] in ALIVE:
        runs.write_json(run.path / "status.json", {"state": "stopped", "reason": say("It came before it had ended.")})


def _moved_in(run: Run, store: Path) -> Run:
    ids = (run.id, *(f"{run.id[: 63 - len(str(n))]}-{n}" for n in range(2, 10_000)))
    for name in ids:
        if not (store / name).exists():
            run.path.rename(store / name)
            return Run(store / name)
    raise ValueError(say("There are too many runs called {run}.", run=run.id))
