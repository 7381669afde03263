"""Changes to an image folder of one's own that can be taken back: images move, classes are renamed, images come in.

Nothing is deleted. What is left out moves to <root>/.changes/<name>/, where changes.json says of every change which
files it moved, [from, to] below the data root. A change is written there before the first file moves, so whatever is
interrupted is taken back by whoever comes next. Numpy and filelock.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import filelock
import numpy as np

from cac_core import records, runs
from cac_core.data import datasets, sources
from cac_core.exchange import own_data
from cac_core.jobs import queue
from cac_core.records import Unfit
from cac_core.sentences import Sentence, say

FOLDER = ".changes"  # below the data root; what begins with a full stop is no data set
WAIT = 30.0  # seconds for somebody else's change to end


@dataclass(frozen=True)
class Photo:
    """An image file of a data set: its path below the data set's folder, its class, and what it is known by when it
    moves."""

    path: str
    cls: str
    mark: str


class Change(TypedDict):
    """What the journal says of a change: in words, which files it moves, the old and new name of a class in trials,
    and whether it has begun and not ended."""

    phrase: str
    values: dict[str, object]
    moves: list[tuple[str, str]]
    trials: list[str]
    begun: bool


def photos(root: Path, name: str) -> list[Photo]:
    """The images of an image folder, in the order in which its data set has them."""
    classes, found = sources.folder_classes(root / name), []
    for part in sources.folder_files(root, name).values():
        for file, number in part:
            found.append(Photo(file.relative_to(root / name).as_posix(), classes[number], mark_of(file)))
    return found


def numbered(every: Sequence[Photo]) -> tuple[list[str], np.ndarray]:
    """The classes of these images, in order, and the place of each image's among them."""
    classes = sorted({photo.cls for photo in every})
    return classes, np.array([classes.index(photo.cls) for photo in every], int)


def mark_of(file: Path) -> str:
    """What stays the same as a file is moved, and is another of another file."""
    stat = file.stat()
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


def move(root: Path, name: str, paths: Sequence[str], cls: str) -> None:
    """Put images into another class of the data set, or into a new one."""
    _check_known(root, name, paths)
    cls = own_data.class_name(cls)
    _check_alike(root, name, cls)
    with _changing(root, name) as journal:
        taken = set()
        moves = [(f"{name}/{path}", _free(root, f"{name}/{_base(path)}{cls}", Path(path).name, taken)) for path in paths
                 if _class_of(path) != cls]  # fmt: skip
        words = say("{count} images moved to {cls}", count=len(moves), cls=cls)
        _apply(root, name, journal, words, moves)


def leave_out(root: Path, name: str, paths: Sequence[str]) -> None:
    """Take images out of the data set. They are kept."""
    _check_known(root, name, paths)
    with _changing(root, name) as journal:
        place, taken = f"{FOLDER}/{name}/{len(journal) + 1:05}", set()
        moves = [(f"{name}/{path}", _free(root, f"{place}/{_base(path)}{_class_of(path)}", Path(path).name, taken))
                 for path in paths]  # fmt: skip
        _apply(root, name, journal, say("{count} images left out", count=len(moves)), moves)


def rename(root: Path, name: str, old: str, new: str) -> None:
    """Give a class another name; in the trials that are kept for the data set, too. One that is there is joined."""
    new = own_data.class_name(new)
    paths = [photo.path for photo in photos(root, name) if photo.cls == old]
    if not paths:
        raise ValueError(say("There is no class {old!r} in {name}.", old=old, name=name))
    if new == old:
        return
    _check_alike(root, name, new, but=old)
    with _changing(root, name) as journal:
        taken = set()
        moves = [(f"{name}/{path}", _free(root, f"{name}/{_base(path)}{new}", Path(path).name, taken))
                 for path in paths]  # fmt: skip
        trials = [] if new in sources.folder_classes(root / name) else [old, new]
        words = say("class {old} renamed {new}", old=old, new=new)
        _apply(root, name, journal, words, moves, trials)


@dataclass(frozen=True)
class Added:
    """How many images have come into a class, how many of those brought were in it before, and in other classes."""

    count: int
    there: int
    elsewhere: dict[str, int]


def add(root: Path, name: str, cls: str, contents: Iterable[tuple[str, bytes]]) -> Added:
    """Put new images into a class, one that is there or a new one. A picture that is in the data set is passed over.

    contents: (ending, content) of each, as `own_data.check` has found them good.
    """
    cls = own_data.class_name(cls)
    with _changing(root, name) as journal:
        _check_alike(root, name, cls)
        here: dict[int, list[Photo]] = {}  # by length: only such as long as a new one are read
        for photo in photos(root, name):
            here.setdefault((root / name / photo.path).stat().st_size, []).append(photo)
        known: dict[str, str] = {}  # digest -> class
        place, taken, moves = f"{FOLDER}/{name}/{len(journal) + 1:05}", set(), []
        bases, there, elsewhere = _bases(root, name), 0, {}
        fresh = len(bases) > 1 and cls not in sources.folder_classes(root / name)
        for ending, content in contents:
            for photo in here.pop(len(content), ()):
                known[hashlib.sha256((root / name / photo.path).read_bytes()).hexdigest()] = photo.cls
            digest = hashlib.sha256(content).hexdigest()
            if (other := known.setdefault(digest, "")) not in ("", cls):
                elsewhere[other] = elsewhere.get(other, 0) + 1
                continue
            if other == cls:
                there += 1
                continue
            known[digest] = cls
            source = root / place / "new" / f"{digest[:12]}{ending}"
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(content)
            part = "test" if fresh and len(moves) % 5 == 1 else "train"  # a new class has both
            goal = _free(root, f"{name}/{bases.get(part, '')}{cls}", source.name, taken)
            moves.append((source.relative_to(root).as_posix(), goal))
        if fresh and len(moves) == 1:
            shutil.rmtree(root / place, ignore_errors=True)
            raise ValueError(say("A new class of {name} takes two images or more: one to learn from and one to test "
                                 "on.", name=name))  # fmt: skip
        _apply(root, name, journal, say("{count} images added to {cls}", count=len(moves), cls=cls), moves)
    return Added(len(moves), there, elsewhere)


def last(root: Path, name: str) -> Sentence | str:
    """The last change in words; empty where there is none that could be taken back."""
    journal = _read(_journal(root, name))
    return own_words(journal[-1]) if journal else ""


def own_words(change: Change) -> Sentence:
    return say(change["phrase"], **change["values"])


def mend(root: Path) -> None:
    """Take back what was interrupted, in whatever data set: until then it may be one that cannot be read."""
    for file in sorted((root / FOLDER).glob("*/changes.json")):
        if (journal := _read(file)) and journal[-1]["begun"]:
            with _changing(root, file.parent.name):
                pass


def undo(root: Path, name: str) -> None:
    """Take the last change back."""
    there = _read(_journal(root, name))
    interrupted = bool(there and there[-1]["begun"])
    with _changing(root, name) as journal:
        if journal and not interrupted:
            _take_back(root, name, journal)


# --- how -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _changing(root: Path, name: str):
    """The journal, for one at a time, after what was interrupted has been taken back."""
    queue.check_writable()
    if name not in datasets.folders(root):
        raise ValueError(say("There is no image folder {name!r} under {root}.", name=name, root=root))
    file = _journal(root, name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.with_suffix(".lock"), timeout=WAIT):
            journal = _read(file)
            if journal and journal[-1]["begun"]:
                _take_back(root, name, journal)
            yield journal
    except filelock.Timeout as error:
        raise ValueError(say("Somebody else is changing {name} right now. Try again.", name=name)) from error
    except OSError as error:
        raise ValueError(
            say("The images of {name} could not be changed ({error}).", name=name, error=error.strerror or error)
        ) from error


def _journal(root: Path, name: str) -> Path:
    return root / FOLDER / name / "changes.json"


def _read(file: Path) -> list[Change]:
    try:
        journal = records.read(file, list[Change])
    except FileNotFoundError:
        return []
    except Unfit as error:
        raise ValueError(say("{file} is no record of changes: {error}.", file=file, error=error)) from error
    for path in (path for change in journal for pair in change["moves"] for path in pair):
        parts = path.split("/")
        name = parts[1] if parts[0] == FOLDER and len(parts) > 1 else parts[0]
        if ".." in parts or "\\" in path or name != file.parent.name:
            raise ValueError(say("{file} names {path}, which is not of this data set.", file=file, path=path))
    return journal


def _apply(root: Path, name: str, journal: list, words: Sentence, moves: list, trials: Sequence[str] = ()) -> None:
    """Move files as one change; class folders that hold no image then go out of the way, with what else is in them."""
    if not moves:
        return
    place = f"{FOLDER}/{name}/{len(journal) + 1:05}/folders"
    gone = {source for source, _ in moves}
    left: dict[str, int] = {}
    for photo in photos(root, name):
        folder = f"{name}/{Path(photo.path).parent.as_posix()}"
        left[folder] = left.get(folder, 0) + (f"{name}/{photo.path}" not in gone)
    filled = {Path(goal).parent.as_posix() for _, goal in moves}
    moves = [*moves, *((folder, f"{place}/{n}") for n, (folder, count) in enumerate(left.items())
                       if not count and folder not in filled)]  # fmt: skip
    change = {"phrase": words.phrase, "values": words.values, "moves": moves, "trials": list(trials), "begun": True}
    journal.append(change)
    runs.write_json(_journal(root, name), journal)
    try:
        for source, goal in moves:
            (root / goal).parent.mkdir(parents=True, exist_ok=True)
            _rename(root / source, root / goal)
        if trials:
            own_data.rename_in_trials(root, name, *trials)
        photos(root, name)  # none of train and test lacks a class now
    except (OSError, ValueError):
        _take_back(root, name, journal)
        raise
    change["begun"] = False
    runs.write_json(_journal(root, name), journal)


def _take_back(root: Path, name: str, journal: list) -> None:
    change = journal[-1]
    change["begun"] = True  # until all of it is back
    runs.write_json(_journal(root, name), journal)
    if change["trials"]:
        own_data.rename_in_trials(root, name, *reversed(change["trials"]))
    for source, goal in reversed(change["moves"]):
        if os.path.lexists(root / goal) and not os.path.lexists(root / source):
            (root / source).parent.mkdir(parents=True, exist_ok=True)
            _rename(root / goal, root / source)
        with contextlib.suppress(OSError):  # it holds others
            (root / goal).parent.rmdir()
    journal.pop()
    runs.write_json(_journal(root, name), journal)
    shutil.rmtree(root / FOLDER / name / f"{len(journal) + 1:05}" / "folders", ignore_errors=True)


def _rename(source: Path, goal: Path) -> None:
    if os.path.lexists(goal):  # on some systems a rename would take its place
        raise FileExistsError(errno.EEXIST, say("something is there already"), str(goal))
    os.rename(source, goal)


def _free(root: Path, folder: str, file: str, taken: set[str]) -> str:
    """A path in a folder where nothing is yet, near to this name."""
    stem, ending, n = Path(file).stem, Path(file).suffix, 1
    goal = f"{folder}/{file}"
    while goal in taken or os.path.lexists(root / goal):
        n += 1
        goal = f"{folder}/{stem}-{n}{ending}"
    taken.add(goal)
    return goal


def _class_of(path: str) -> str:
    return path.split("/")[-2]


def _base(path: str) -> str:
    """The folder of the part, "train/", where there are parts."""
    return "".join(f"{part}/" for part in path.split("/")[:-2])


def _bases(root: Path, name: str) -> dict[str, str]:
    """The folder of each part: {"train": "train/", "test": "test/"}, or {"all": ""}."""
    return {part: _base(some[0][0].relative_to(root / name).as_posix())
            for part, some in sources.folder_files(root, name).items()}  # fmt: skip


def _check_known(root: Path, name: str, paths: Sequence[str]) -> None:
    if name not in datasets.folders(root):
        raise ValueError(say("There is no image folder {name!r} under {root}.", name=name, root=root))
    there = {photo.path for photo in photos(root, name)}
    if wrong := [path for path in paths if path not in there]:
        raise ValueError(say("{name} has no image {path} any more. Look again.", name=name, path=wrong[0]))


def _check_alike(root: Path, name: str, cls: str, but: str = "") -> None:
    """A class that differs from another in small and large letters alone is one folder on some systems."""
    for other in sources.folder_classes(root / name):
        if other not in (cls, but) and other.casefold() == cls.casefold():
            raise ValueError(say("Some systems take these for one folder: {names}.", names=[other, cls]))
