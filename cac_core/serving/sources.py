"""Where images to be judged lie, one after another: files, folders, zips, patterns, paths on standard input."""

import glob
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cac_core import files
from cac_core.data import images
from cac_core.exchange import own_data
from cac_core.sentences import say
from cac_core.serving import written

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """One image: what it is called in the output, its file, and its place in it where that is a zip."""

    name: str
    file: str
    place: int | None = None


def found(said: Iterable[str], lines: Iterable[str] = (), over: Counter[str] | None = None) -> Iterator[Source]:
    """The images in what a user named, in the order of what he named, folders and patterns by name; each image once.

    A folder gives the images in it and below, but for hidden files and linked folders; a zip those in it; "-" the paths
    in lines, one a line. What is named and is not there is given too, so that its row can say so. over counts, by kind,
    what lies in folders and zips and is passed over, of `images.FOREIGN`. Raises ValueError where a zip cannot be read.
    """
    said, over = list(said), Counter() if over is None else over
    anew = _Anew(filter(os.path.isdir, said))
    for one in said:
        if one == STANDARD_INPUT:
            yield from (Source(path, path) for line in lines if (path := line.rstrip("\r\n")) and anew(path))
        elif os.path.isdir(one):
            if anew(one):
                yield from _in_folder(one, over)
        elif one.lower().endswith(".zip") and os.path.isfile(one):
            if anew(one):
                yield from _in_zip(one, over)
        elif glob.has_magic(one) and not os.path.lexists(one):
            matches = sorted(path for path in glob.iglob(one, recursive=True) if not os.path.isdir(path))
            if not matches:
                raise ValueError(say("No file is like {pattern}.", pattern=one))
            yield from (Source(path, path) for path in matches if anew(path))
        elif anew(one):
            yield Source(one, one)


class _Anew:
    """Whether a path was not named before, and none of these folders gives what lies there."""

    def __init__(self, folders: Iterable[str]):
        self.folders = set(map(_place, folders))
        self.before: set[int] = set()  # digests of what is named by itself, which may be very much

    def __call__(self, path: str) -> bool:
        place, count = _place(path), len(self.before)
        self.before.add(written.digest_of(place))
        return count < len(self.before) and not (self.folders and self._is_given(place))

    def _is_given(self, place: str) -> bool:
        walked = os.path.isdir(place)
        if not walked and not (place.lower().endswith(images.ENDINGS) and os.path.lexists(place)):
            return False
        above, name = os.path.split(place)
        while name and not files.hidden(name) and not (walked and os.path.islink(place)):
            if above in self.folders:
                return True
            place, walked = above, True
            above, name = os.path.split(place)
        return False


def _place(path: str) -> str:
    return os.path.realpath(path) if os.pardir in path.split(os.sep) and "\0" not in path else os.path.abspath(path)


def _in_folder(folder: str, over: Counter[str]) -> Iterator[Source]:
    def tell(error: OSError) -> None:
        raise ValueError(
            say("{folder} cannot be read: {error}.", folder=error.filename, error=error.strerror)
        ) from error

    for base, folders, here in os.walk(folder, onerror=tell):
        folders[:] = sorted(name for name in folders if not files.hidden(name))
        for name in sorted(here):
            if files.hidden(name):
                continue
            if name.lower().endswith(images.ENDINGS):
                path = os.path.join(base, name)
                yield Source(path, path)
            elif kind := images.foreign(name):
                over[kind] += 1


def _in_zip(file: str, over: Counter[str]) -> Iterator[Source]:
    with open(file, "rb") as opened:
        inside = own_data.zipped(opened)
    for place, name in enumerate(inside.names):
        if any(map(files.hidden, name.split("/"))):
            continue
        if name.lower().endswith(images.ENDINGS):
            yield Source(f"{file}/{name}", file, place)
        elif kind := images.foreign(name):
            over[kind] += 1


class Reader:
    """Reads the images of sources; of a zip that it has open it reads one image after another."""

    def __init__(self):
        self.zip: str | None = None

    def content(self, source: Source) -> Path | bytes:
        """What `images.prepare` takes. Raises ValueError where a zip has changed, or its image cannot be unpacked."""
        if source.place is None:
            return Path(source.file)
        if self.zip != source.file:
            try:
                self.inside = own_data.zipped(open(source.file, "rb"))  # noqa: SIM115 (it stays open while it is read)
            except (OSError, zipfile.BadZipFile) as error:
                raise ValueError(say("it cannot be unpacked ({error})", error=error)) from error
            self.zip = source.file
        if not source.name.endswith(f"/{self.inside.names[source.place]}"):
            raise ValueError(say("the zip has changed since it was listed"))
        return self.inside.read(source.place)
