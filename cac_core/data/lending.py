"""Which images of a folder without a test part are its test images: about a fifth of each class, by their content.

An image has a place between 0 and 1 that hangs on its file's content alone, and is a test image where that is below
SHARE. So it stays one whatever its file is called, wherever it is moved, and whatever images come or go. A class of N
images has at least N / 10 test images, at most 3 N / 10, and one of two images or more at least one and not all: where
chance would have it otherwise, those with the lowest places are taken. There alone, in small classes most of all,
images that come or go may make a test image of another one.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SHARE = 0.2
LEAST, MOST = 0.1, 0.3
READ = 16_384  # bytes at either end of a file that tell it from others, besides its length: photos are large


def lent(places: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A mask [N] of the test images among images with these places [N] and classes [N]."""
    mask = np.zeros(len(places), bool)
    for cls in np.unique(classes):
        mine = np.flatnonzero(classes == cls)
        count = len(mine)
        least, most = max(round(LEAST * count), 1), max(int(MOST * count + 1e-9), 1)
        taken = min(np.clip((places[mine] < SHARE).sum(), least, most), count - 1)
        mask[mine[np.argsort(places[mine], kind="stable")[:taken]]] = True
    return mask


def places(files: Sequence[Path], root: Path, name: str) -> np.ndarray:
    """The places [N] of these files of a data set. <root>/.cache keeps them by what changes with a file."""
    kept = root / ".cache" / f"{name}.places.json"
    known = _read(kept)
    stamps = [_stamp(file) for file in files]
    found = {stamp: known[stamp] if stamp in known else place(file)
             for file, stamp in zip(files, stamps, strict=True)}  # fmt: skip
    if found.keys() != known.keys():
        _write(kept, found)
    return np.array([found[stamp] for stamp in stamps])


def place(file: Path) -> float:
    """Where an image lies between 0 and 1 by its content: its length and both ends. 0.5 where it cannot be read."""
    h = hashlib.sha256()
    try:
        with open(file, "rb") as content:
            size = content.seek(0, os.SEEK_END)
            h.update(size.to_bytes(8, "big"))
            for start in (0, max(size - READ, 0)):
                content.seek(start)
                h.update(content.read(READ))
    except OSError:  # whoever reads its pixels says so
        return 0.5
    return int.from_bytes(h.digest()[:6], "big") / 2**48


def _stamp(file: Path) -> str:
    with contextlib.suppress(OSError):
        stat = file.stat()
        return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"
    return str(file)


def _read(file: Path) -> dict[str, float]:
    with contextlib.suppress(OSError, ValueError):  # not there yet, or damaged: read from the images again
        said = json.loads(file.read_text("utf-8"))
        if isinstance(said, dict) and all(isinstance(value, float) and 0 <= value < 1 for value in said.values()):
            return said
    return {}


def _write(file: Path, found: dict[str, float]) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # a data root that cannot be written: read from the images each time
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_text(json.dumps(found), "utf-8")
            os.replace(fresh, file)
        finally:
            fresh.unlink(missing_ok=True)
