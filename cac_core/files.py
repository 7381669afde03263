"""Files and folders that somebody else made: read as far as they can be, and never waited for. Standard library only.

A folder may hold what systems leave behind, folders that belong to others, pipes, devices, links to nowhere, and names
that are no text. A file may be any of these, or endless.
"""

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac_core.sentences import say

# what archivers, disks and file servers leave in a folder, beside names that begin with a full stop
LEFT_BEHIND = (
    "__macosx", "thumbs.db", "desktop.ini", "lost+found", "$recycle.bin", "system volume information", "@eadir"
)  # fmt: skip


def content(file: Path, most: int) -> bytes:
    """What is in an ordinary file of at most so many bytes.

    Raises FileNotFoundError where there is none, and ValueError that says why for all else that cannot be read.
    """
    try:
        status = os.stat(file)
        if stat.S_ISDIR(status.st_mode):
            raise ValueError(say("it is a folder, not a file"))
        if not stat.S_ISREG(status.st_mode):  # opened, a pipe waits for a writer, and a device may never end
            raise ValueError(say("it is a pipe or a device, not a file"))
        if status.st_size <= most:
            with open(file, "rb") as opened:  # a size of 0 may be that of a file that the system makes up as it is read
                found = opened.read(status.st_size + 1 if status.st_size else most + 1)
                if len(found) <= most:
                    return found
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(say("the file cannot be read ({error})", error=error.strerror or error)) from error
    raise ValueError(say("the file is larger than {most} MB", most=most // 1_000_000))


def hidden(name: str) -> bool:
    """Whether a system left it behind, and nobody would miss it: .DS_Store, ._1.png, __MACOSX, lost+found."""
    return name.startswith(".") or name.lower() in LEFT_BEHIND


@dataclass(frozen=True)
class Listing:
    """The names in a folder, each sorted: those of folders and of files, and what is passed over.

    closed cannot be opened; odd is neither file nor folder, or has a name that is no text.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()


def listed(folder: Path) -> Listing:
    """What lies in a folder; nothing where it is none. Raises ValueError where it cannot be read."""
    found = {kind: [] for kind in Listing.__dataclass_fields__}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found[_kind(entry)].append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return Listing()
    except OSError as error:
        raise ValueError(
            say("The folder {folder} cannot be read ({error}).", folder=folder, error=error.strerror or error)
        ) from error
    return Listing(**{kind: tuple(sorted(names)) for kind, names in found.items()})


def _kind(entry: os.DirEntry) -> str:
    """The field of Listing that an entry belongs to."""
    if hidden(entry.name):
        return "hidden"
    try:
        if entry.is_dir():
            if not _is_text(entry.name):
                return "odd"
            return "folders" if opens(Path(entry.path)) else "closed"
        return "files" if entry.is_file() else "odd"
    except OSError:  # a link that leads round in a circle, or through a closed folder
        return "odd"


def opens(folder: Path) -> bool:
    """Whether what lies in a folder can be listed, and read."""
    with contextlib.suppress(OSError), os.scandir(folder):
        os.stat(os.path.join(folder, "."))  # there are folders that tell names and nothing else
        return True
    return False


def is_folder(path: Path) -> bool:
    """Path.is_dir, and False where nobody lets one look."""
    return os.path.isdir(path)


def is_file(path: Path) -> bool:
    """Path.is_file, and False where nobody lets one look."""
    return os.path.isfile(path)


def changed(path: Path) -> int:
    """When a file was changed, in nanoseconds; 0 where there is none, or where nobody lets one look."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def stamp_of(file: Path) -> tuple[str, int, int, int]:
    """Another one when a file has changed. Unpacking sets the time of its content back, but not that of its change."""
    status = os.stat(file)
    return str(file), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_text(name: str) -> bool:
    try:
        name.encode()
        return True
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return False


def no_formula(value: Any) -> Any:
    """A cell of a CSV: a spreadsheet would take a text that begins with one of these for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value
