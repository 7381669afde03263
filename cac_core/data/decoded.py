"""Images of files decoded once, however many: kept on disk as one array, and read from there as they are asked for.

<root>/.cache/decoded/<name>-<size>-<digest>/, the digest that of the format that they are brought to, holds two files
for a list of image files: <digest>.pixels, the images [N, H, W, C] uint8 one after the other, and <digest>.marks, for
each of them what its file was when it was decoded, or zeros where it has not been. A mark is written behind its image:
whatever was interrupted goes on, and an image that was decoded for another list is copied. One process decodes; others
wait for it. Memory holds a chunk of images, whatever N is.
"""

import concurrent.futures
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np

from cac_core import files
from cac_core.data.images import Format, brought
from cac_core.sentences import say, together

CHUNK = 64  # images
MARK = 16  # bytes
WORKERS = 2  # photographs in work at one time: each takes up to 300 MB
BLOCK = 2**24  # bytes that are read at one time
MEMORY = 1_000_000_000  # bytes that are held in memory where the disk takes nothing
TRIED = 3  # images that are decoded for an estimate
VERSION = 1  # of the way from a file to an image; another one decodes anew
Tell = Callable[[int, int, float], None]


def _nothing(done: int, of: int, rate: float) -> None:
    pass


@dataclass(frozen=True)
class Rows:
    """Some images of an array [M, H, W, C] on disk, those at index [N]: indexed like an array, and read only then."""

    array: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.index), *self.array.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def __getitem__(self, places) -> np.ndarray:
        found = self.array[self.index[places]]
        return (
            np.asarray(found) if found.flags.writeable else np.array(found)
        )  # of one image: nobody writes to the disk

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.array[self.index], dtype)


def taken(pixels: np.ndarray | Rows, places) -> np.ndarray | Rows:
    """The images at these places; of images on disk nothing is read."""
    return Rows(pixels.array, pixels.index[places]) if isinstance(pixels, Rows) else pixels[places]


def blocks(pixels: np.ndarray | Rows) -> Iterator[np.ndarray]:
    """Images [N, H, W, C] in pieces of bounded size."""
    step = max(1, BLOCK // max(int(np.prod(pixels.shape[1:])), 1))
    for start in range(0, len(pixels), step):
        yield pixels[start : start + step]


@dataclass(frozen=True)
class Ahead:
    """What decoding takes before anything else can begin: images that nobody has decoded yet, seconds, and bytes on
    disk; and how many bytes are free there."""

    images: int
    seconds: float
    size: int
    free: int


def kept(found: Sequence[Path], folder: Path, row: Format, tell: Tell = _nothing) -> np.ndarray | Rows:
    """The images of these files, as `images.prepare` brings them to a format; folder is that of the data set.

    tell hears after each chunk how many there are of how many, and images a second; what it raises ends the work, which
    goes on from there another time. Where the disk takes nothing, they stay in memory, with a warning. Raises
    ValueError that names the files which cannot be read, or where images do not fit on the disk nor into memory.
    """
    shelf = _Shelf(found, folder, row)
    try:
        while not shelf.whole():
            try:
                shelf.place.mkdir(parents=True, exist_ok=True)
                with filelock.FileLock(shelf.place / ".lock", timeout=1):
                    if not shelf.whole():
                        shelf.fill(tell)
            except filelock.Timeout:  # another process is at it
                tell(shelf.done(), len(found), 0.0)
        return Rows(shelf.mapped(), np.arange(len(found)))
    except OSError as error:
        if shelf.size > MEMORY:
            raise ValueError(say(
                "The {count} images of {name} take {size} MB once they are decoded, and cannot be written to {place} "
                "({error}). Free some space there, or give another --data.",
                count=len(found), name=folder.name, size=round(shelf.size / 1e6), place=shelf.place,
                error=error.strerror or str(error),
            )) from error  # fmt: skip
        warnings.warn(f"The images of {folder.name} could not be kept in {shelf.place} ({error}).", stacklevel=2)
        return decode(found, folder, row, tell)


def decode(found: Sequence[Path], folder: Path, row: Format, tell: Tell = _nothing) -> np.ndarray:
    """The same, kept nowhere."""
    pixels, broken, began = np.empty(_shape(len(found), row), np.uint8), {}, time.monotonic()
    for places, images in _chunks(found, np.arange(len(found)), row, broken):
        pixels[places] = images
        done = int(places[-1]) + 1
        tell(done, len(found), done / max(time.monotonic() - began, 1e-9))
    _complain(broken, found, folder)
    return pixels


def ahead(found: Sequence[Path], folder: Path, row: Format) -> Ahead:
    """What decoding these files will take, by a few of them that are tried now."""
    shelf = _Shelf(found, folder, row)
    missing = np.flatnonzero(~(shelf.right() | np.isin(shelf.marks, list(shelf.elsewhere()))))
    tried = missing[np.linspace(0, len(missing) - 1, min(TRIED, len(missing))).astype(int)]
    times = []
    for n in tried:
        began = time.perf_counter()
        _brought(found[n], row)
        times.append(time.perf_counter() - began)
    seconds = float(np.mean(times)) * len(missing) / min(WORKERS, os.cpu_count() or 1) if times else 0.0
    return Ahead(len(missing), seconds, len(missing) * shelf.one, shelf.free())


class _Shelf:
    """The two files of a list of image files, and what lies beside them."""

    def __init__(self, found: Sequence[Path], folder: Path, row: Format):
        how = hashlib.sha256(json.dumps([dataclasses.astuple(_format(row)), VERSION]).encode()).hexdigest()[:8]
        self.found, self.folder, self.row = found, folder, row
        self.place = folder.parent / ".cache" / "decoded" / f"{folder.name}-{row.size}-{how}"
        stamps = (json.dumps(files.stamp_of(file)).encode("utf-8", "surrogateescape") for file in found)
        self.marks = np.array([hashlib.sha256(one).hexdigest()[:MARK].encode() for one in stamps], f"S{MARK}")
        digest = hashlib.sha256(self.marks.tobytes()).hexdigest()[:16]
        self.pixels_file, self.marks_file = (self.place / f"{digest}.{kind}" for kind in ("pixels", "marks"))
        self.one = int(np.prod(_shape(1, row)))
        self.size = self.one * len(found)

    def right(self) -> np.ndarray:
        """Which images [N] are there."""
        written = _marks_in(self.marks_file)
        if len(written) != len(self.marks) or _size(self.pixels_file) != self.size:
            return np.zeros(len(self.marks), bool)
        return written == self.marks

    def whole(self) -> bool:
        return bool(self.right().all())

    def done(self) -> int:
        return int(self.right().sum())

    def mapped(self) -> np.ndarray:
        return np.memmap(self.pixels_file, np.uint8, "r", shape=_shape(len(self.found), self.row))

    def elsewhere(self) -> dict[bytes, tuple[Path, int]]:
        """Where images lie that were decoded for other lists: mark -> file and place in it."""
        others = {}
        for file in sorted(self.place.glob("*.marks")):
            written, pixels = _marks_in(file), file.with_suffix(".pixels")
            if file != self.marks_file and _size(pixels) == len(written) * self.one:
                others |= {mark: (pixels, n) for n, mark in enumerate(written.tolist()) if mark}
        return others

    def free(self) -> int:
        return shutil.disk_usage(next(p for p in (self.place, *self.place.parents) if files.is_folder(p))).free

    def fill(self, tell: Tell) -> None:
        """Decode what is missing. Raises OSError where it cannot be written."""
        right, others = self.right(), self.elsewhere()
        missing, broken, began = np.flatnonzero(~right), {}, time.monotonic()
        if (needed := len(missing) * (self.one + MARK)) > self.free():
            raise OSError(errno.ENOSPC, say("{needed} MB are needed, {free} MB are free",
                                            needed=round(needed / 1e6), free=round(self.free() / 1e6)))  # fmt: skip
        if not right.any():
            with open(self.marks_file, "wb") as marks, open(self.pixels_file, "wb") as pixels:
                marks.truncate(MARK * len(self.found))
                pixels.truncate(self.size)
        with open(self.pixels_file, "r+b") as pixels, open(self.marks_file, "r+b") as marks:

            def put(places: np.ndarray, images: Sequence[np.ndarray]) -> None:
                for n, image in zip(places, images, strict=True):
                    pixels.seek(int(n) * self.one)
                    pixels.write(image.tobytes())
                pixels.flush()
                os.fsync(pixels.fileno())
                for n in places:
                    if int(n) not in broken:
                        marks.seek(int(n) * MARK)
                        marks.write(self.marks[n])
                marks.flush()

            known = np.isin(self.marks[missing], list(others))
            for places in _pieces(missing[known]):
                put(places, [_stored(*others[self.marks[n]], self.one) for n in places])
            missing = missing[~known]
            for done, (places, images) in enumerate(_chunks(self.found, missing, self.row, broken), 1):
                put(places, images)
                done = min(done * CHUNK, len(missing))
                rate = done / max(time.monotonic() - began, 1e-9)
                tell(len(self.found) - len(missing) + done, len(self.found), rate)
        _complain(broken, self.found, self.folder)
        for other in self.place.glob("*.*"):
            if other.stem != self.marks_file.stem and other.suffix in (".pixels", ".marks"):
                other.unlink(missing_ok=True)


def _format(row: Format) -> Format:
    """The row of a data set without what has nothing to do with the way from a file to an image."""
    return Format(**{field.name: getattr(row, field.name) for field in dataclasses.fields(Format)})


def _shape(count: int, row: Format) -> tuple[int, int, int, int]:
    return count, row.size, row.size, row.channels


def _marks_in(file: Path) -> np.ndarray:
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    return np.frombuffer(content[: len(content) // MARK * MARK], f"S{MARK}")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _stored(file: Path, place: int, size: int) -> np.ndarray:
    return np.fromfile(file, np.uint8, size, offset=place * size)


def _pieces(places: np.ndarray) -> Iterator[np.ndarray]:
    return (places[start : start + CHUNK] for start in range(0, len(places), CHUNK))


def _chunks(
    found: Sequence[Path], places: np.ndarray, row: Format, broken: dict[int, str]
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """The images at these places, decoded chunk by chunk; one that cannot be read is black, and broken says why."""
    with concurrent.futures.ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as workers:
        for some in _pieces(places):
            images = list(workers.map(lambda n: _brought(found[n], row), some))
            broken |= {int(n): image for n, image in zip(some, images, strict=True) if isinstance(image, str)}
            black = np.zeros(_shape(1, row)[1:], np.uint8)
            yield some, [black if isinstance(image, str) else image for image in images]


def _brought(file: Path, row: Format) -> np.ndarray | str:
    """The image of a file, or why it cannot be read."""
    try:
        return brought(file, row)
    except ValueError as error:
        return error.args[0]


def _complain(broken: dict[int, str], found: Sequence[Path], folder: Path) -> None:
    """Raises ValueError that names the files which cannot be read, where there are any."""
    if not broken:
        return
    said = [say("{file}: {error}", file=found[n].relative_to(folder), error=error) for n, error in broken.items()]
    more = [say("... and {count} more", count=len(said) - 5)] if len(said) > 5 else []
    raise ValueError(say(
        "{count} of {all} files in {folder} cannot be read as images:\n{files}\nMend or remove them, and start "
        "again.",
        count=len(said), all=len(found), folder=folder, files=together(said[:5] + more, "\n"),
    ))  # fmt: skip
