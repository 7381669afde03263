"""Records: JSON and arrays that somebody else may have written, read so that nothing in them can do harm.

A run store, an import, an upload hold files from anywhere. Each is read within bounds of size, depth and time, as a
plain file and never through a link, and is checked once, here, against the shape that its reader declares: what comes
out of this module can be worked with, and everything else is an `Unfit` that says in a sentence what is wrong.

A shape is a type: str, bool, int, float (finite), None, object (any JSON), Literal, X | Y, list[X], tuple[X, ...],
dict[str, X], a TypedDict (what it does not name is kept), a dataclass (which is made), Annotated[X, Within(low, high)].
Of an .npz it is a dictionary of `Array`.
"""

import dataclasses
import json
import math
import os
import reprlib
import shutil
import stat
import types
import typing
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np

from cac_core.sentences import say

MOST = 32 << 20  # bytes of a record
MOST_NESTED, MOST_VALUES = 200_000, 10_000_000  # lists and objects in a record; all that it holds
MOST_DEPTH = 32  # lists and objects inside one another
MOST_TEXT = 100_000  # characters of one text
MOST_WHOLE = 2**63 - 1
MOST_LINES, MOST_LINE = 500_000, 1 << 16  # of a record that grows by lines; bytes of one of them
MOST_ARRAYS, MOST_MEMBERS = 1 << 30, 64  # bytes of all arrays that are read from a file; arrays in it


class Unfit(ValueError):
    """A file that is not the record it should be; the message ends no sentence and says what is wrong."""


# --- the file itself -------------------------------------------------------------------------------------------------


def opened(file: Path, *, links: bool = False) -> BinaryIO:
    """A plain file to read from. A link, a pipe, a folder or a device is Unfit, and nothing waits for it to speak.

    links: whether the file, or its folder, may be a link, as one that a user named may.
    """
    if not links and os.path.islink(file):
        raise Unfit(say("it is a link, and links are not followed"))
    if not links and os.path.islink(os.path.dirname(file)):
        raise Unfit(say("its folder is a link, and links are not followed"))
    try:
        number = os.open(file, _HOW if links else _HOW | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if os.path.isdir(file):  # which Windows does not open
            raise Unfit(say("it is no plain file")) from error
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Unfit(say("it is no plain file"))
    return os.fdopen(number, "rb")


_HOW = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def copied(file: Path, to: Path) -> None:
    """Copy a plain file."""
    try:
        with opened(file) as source, open(to, "wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        error.filename = error.filename or str(to)  # of a full disk nobody says where it is
        raise


def _content(file: Path, most: int, links: bool) -> bytes:
    with opened(file, links=links) as source:
        content = source.read(most + 1)
    if len(content) > most:
        raise Unfit(say("it is larger than {most} MB", most=f"{most / (1 << 20):g}"))
    return content


# --- JSON ------------------------------------------------------------------------------------------------------------


def read(file: Path, shape: Any, *, links: bool = False, most: int = MOST, **given: Any) -> Any:
    """The record in a JSON file, of this shape. Raises Unfit where it does not fit, OSError where it cannot be read.

    given are fields of a dataclass that do not stand in the file.
    """
    return parsed(_content(file, most, links), shape, **given)


def lines(file: Path, shape: Any, *, most: int = 2 * MOST) -> Iterator[Any]:
    """The records of a file that holds one in a line; a line that is none, torn by a kill or foreign, is passed over.

    Raises as `read` does, of the file as a whole.
    """
    fit, left = _fit(shape), MOST_LINES
    with opened(file) as source:
        if os.fstat(source.fileno()).st_size > most:
            raise Unfit(say("it is larger than {most} MB", most=f"{most / (1 << 20):g}"))
        while line := source.readline(MOST_LINE):
            if not (left := left - 1):
                raise Unfit(say("it has more than {most} lines", most=MOST_LINES))
            try:
                yield fit(json.loads(line.decode("utf-8", "replace")))
            except (_Misfit, ValueError, RecursionError):
                continue


def parsed(content: str | bytes, shape: Any, **given: Any) -> Any:
    """The record in a JSON text, or in its bytes, of this shape. Raises Unfit where it does not fit."""
    comma, square, curly = (",", "[", "{") if isinstance(content, str) else (b",", b"[", b"{")
    nested = content.count(square) + content.count(curly)
    if nested > MOST_NESTED or nested + content.count(comma) > MOST_VALUES:
        raise Unfit(say("it holds more than any record does"))
    try:
        said = json.loads(content)
    except RecursionError as error:
        raise Unfit(say("it is nested too deeply")) from error
    except ValueError as error:  # of the letters, of the numbers, or of the JSON
        raise Unfit(say("it is no JSON: {error}", error=error)) from error
    return fitted(said, shape, **given)


def fitted(said: Any, shape: Any, **given: Any) -> Any:
    """What has been read from JSON, of this shape. Raises Unfit where it does not fit."""
    try:
        return _fit(shape, frozenset(given))(said, **given)
    except _Misfit as error:
        value, where = _short(error.value), ".".join(_short(name).strip("'") for name in reversed(error.where))
        if where:
            wrong = say("{where} must be {what}, not {value}", where=where, what=error.what, value=value)
        else:
            wrong = say("it must be {what}, not {value}", what=error.what, value=value)
        raise Unfit(wrong) from error
    except ValueError as error:  # what a dataclass itself refuses
        raise Unfit(str(error)) from error


@dataclass(frozen=True)
class Within:
    """Of a number: from low to high, both taken in."""

    low: float
    high: float


Count = Annotated[int, Within(0, 10**12)]
Seconds = Annotated[float, Within(0, 1e11)]  # a time of day, or how long something takes
Share = Annotated[float, Within(0, 1)]
Curve = Annotated[float, None]  # a number that may be NaN or infinite, as of a training that diverged


class _Misfit(Exception):
    """What a value must be and is not, and where, the innermost name first."""

    def __init__(self, what: str, value: Any):
        self.what, self.value, self.where = what, value, []


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
_short = _short.repr


@cache
def _fit(shape: Any, given: frozenset[str] = frozenset()) -> Callable[..., Any]:
    """A function that gives back a value of the shape, or raises _Misfit."""
    if shape in _PLAIN:
        return _PLAIN[shape]
    if typing.is_typeddict(shape):
        return _by_name(typing.get_type_hints(shape, include_extras=True), shape.__required_keys__, dict, True)
    if dataclasses.is_dataclass(shape):
        hints = typing.get_type_hints(shape, include_extras=True)
        fields = [field for field in dataclasses.fields(shape) if field.name not in given]
        lacking = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
        return _by_name({f.name: hints[f.name] for f in fields}, lacking, shape, False)
    origin, inner = typing.get_origin(shape), typing.get_args(shape)
    if origin is Annotated:
        return _number if inner[1] is None else _within(*inner)
    if origin is Literal:
        return _one_of(inner)
    if origin in (typing.NotRequired, typing.Required):
        return _fit(inner[0])
    if origin in (types.UnionType, typing.Union):
        return _either([_fit(one) for one in inner])
    if origin is dict:
        return _table(_fit(inner[1]))
    if origin is list or (origin is tuple and inner[1:] == (...,)):
        return _row(_fit(inner[0]), origin)
    assert origin is tuple, shape
    return _fixed([_fit(one) for one in inner])


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > MOST_TEXT:
        raise _Misfit(say("a text"), value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:  # half a letter
            raise _Misfit(say("a text"), value) from error
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise _Misfit(say("true or false"), value)
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not -MOST_WHOLE <= value <= MOST_WHOLE:
        raise _Misfit(say("a whole number"), value)
    return value


def _number(value: Any) -> float:
    if type(value) is float or (type(value) is int and -MOST_WHOLE <= value <= MOST_WHOLE):
        return value
    raise _Misfit(say("a number"), value)


def _finite(value: Any) -> float:
    if (type(value) is float and value - value == 0) or (type(value) is int and -MOST_WHOLE <= value <= MOST_WHOLE):
        return value
    raise _Misfit(say("a number"), value)


def _none(value: Any) -> None:
    if value is not None:
        raise _Misfit(say("nothing"), value)


_HARMLESS = {float, bool, types.NoneType}


def _anything(value: Any, depth: int = MOST_DEPTH, name: str = "") -> Any:
    _text(name)
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return _whole(value)
    if kind is not list and kind is not dict:
        return value
    if not depth:
        raise _Misfit(say("nested less deeply"), value)
    if kind is dict:
        for name in value:
            _text(name)
    elif (kinds := set(map(type, value))) <= _HARMLESS or (kinds == {int} and max(map(abs, value)) <= MOST_WHOLE):
        return value
    for one in value.values() if kind is dict else value:
        if type(one) not in _HARMLESS:
            _anything(one, depth - 1)
    return value


_PLAIN = {
    str: _text, bool: _truth, int: _whole, float: _finite, None: _none, types.NoneType: _none, object: _anything
}  # fmt: skip


def _within(kind: type, bounds: Within) -> Callable[[Any], Any]:
    fit, least, most = _PLAIN[kind], f"{bounds.low:g}", f"{bounds.high:g}"
    what = say("a number from {low} to {high}", low=least, high=most)
    if kind is int:
        what = say("a whole number from {low} to {high}", low=least, high=most)

    def bounded(value: Any) -> Any:
        if not bounds.low <= fit(value) <= bounds.high:
            raise _Misfit(what, value)
        return value

    return bounded


def _one_of(names: tuple) -> Callable[[Any], Any]:
    def one_of(value: Any) -> Any:
        if not any(value is name or (type(value) is type(name) and value == name) for name in names):
            raise _Misfit(say("one of {names}", names=list(names)), value)
        return value

    return one_of


def _either(fits: list[Callable]) -> Callable[[Any], Any]:
    def either(value: Any) -> Any:
        if value is None and _none in fits:
            return None
        rest = [fit for fit in fits if fit is not _none]
        for fit in rest[:-1]:
            try:
                return fit(value)
            except _Misfit:
                continue
        return rest[-1](value)

    return either


def _row(fit: Callable, kind: type) -> Callable[[Any], Any]:
    def row(value: Any) -> Any:
        if type(value) is not list:
            raise _Misfit(say("a list"), value)
        fitting = []
        for place, one in enumerate(value):
            try:
                fitting.append(fit(one))
            except _Misfit as error:
                error.where.append(place)
                raise
        return kind(fitting)

    return row


def _fixed(fits: list[Callable]) -> Callable[[Any], tuple]:
    def fixed(value: Any) -> tuple:
        if type(value) is not list or len(value) != len(fits):
            raise _Misfit(say("a list of {count}", count=len(fits)), value)
        return tuple(fit(one) for fit, one in zip(fits, value, strict=True))

    return fixed


def _table(fit: Callable) -> Callable[[Any], dict]:
    def table(value: Any) -> dict:
        if type(value) is not dict:
            raise _Misfit(say("an object"), value)
        fitting, name = {}, ""
        try:
            for name, one in value.items():
                fitting[_text(name)] = fit(one)
        except _Misfit as error:
            error.where.append(name)
            raise
        return fitting

    return table


def _by_name(hints: dict[str, Any], needed: set[str], make: Callable, more: bool) -> Callable[..., Any]:
    fits = {name: _fit(hint) for name, hint in hints.items()}

    def by_name(value: Any, **given: Any) -> Any:
        if type(value) is not dict:
            raise _Misfit(say("an object"), value)
        if lacking := needed - value.keys():
            raise _Misfit(say("an object with {names}", names=sorted(lacking)), value)
        if not more and value.keys() - fits.keys():
            raise _Misfit(say("an object of {names} alone", names=list(fits)), value)
        fitting, name = {}, ""
        try:
            for name, one in value.items():
                fitting[name] = fits[name](one) if name in fits else _anything(one, name=name)
        except _Misfit as error:
            error.where.append(name)
            raise
        return fitting if make is dict else make(**given, **fitting)

    return by_name


# --- arrays ----------------------------------------------------------------------------------------------------------

FINITE = 1e300


@dataclass(frozen=True)
class Array:
    """How an array of an .npz must be.

    kinds: those of numpy's dtypes, f fractions, i whole numbers, b truth, U text. sides: a letter each, which stands
    for the same number in all arrays of the file, at least 1 where it is a capital; or the number itself. low, high:
    between what its numbers lie, both taken in, high perhaps a letter, which is not; without them they may be NaN.
    """

    kinds: str
    sides: str = ""
    low: float | None = None
    high: float | str = FINITE
    needed: bool = True


def names(file: Path, *, links: bool = False) -> list[str]:
    """The names of the arrays in an .npz. Raises as `arrays` does."""
    with opened(file, links=links) as raw:
        try:
            with zipfile.ZipFile(raw) as packed:
                if len(packed.infolist()) > MOST_MEMBERS:
                    raise Unfit(say("it holds more than any record does"))
                return [entry.filename.removesuffix(".npy") for entry in packed.infolist()]
        except (zipfile.BadZipFile, NotImplementedError) as error:  # damaged, or of a later version
            raise Unfit(say("its content is not whole: {error}", error=error)) from error


def arrays(
    file: Path, shapes: dict[str, Array], only: tuple[str, ...] = (), *, links: bool = False, **sizes: int
) -> dict[str, np.ndarray]:
    """The arrays of an .npz that shapes names, or only some; what else the file holds is passed over.

    All headers are looked at before anything is allocated. sizes gives letters beforehand. Raises Unfit where an array
    is missing or is not as its shape says, where it would run code, and where the file is damaged or too large; OSError
    where it cannot be read.
    """
    with opened(file, links=links) as raw:
        try:
            with zipfile.ZipFile(raw) as packed:
                entries = {entry.filename.removesuffix(".npy"): entry for entry in packed.infolist()}
                if len(packed.infolist()) > MOST_MEMBERS:
                    raise Unfit(say("it holds more than any record does"))
                heads = {name: _head(packed, entries[name], name) for name in shapes if name in entries}
                _check(heads, shapes, sizes)
                wanted = [name for name in heads if name in (only or shapes)]
                if sum(math.prod(sides) * dtype.itemsize for sides, dtype in map(heads.get, wanted)) > MOST_ARRAYS:
                    raise Unfit(say("its arrays are larger than {most} MB", most=MOST_ARRAYS >> 20))
                found = {}
                for name in wanted:
                    with packed.open(entries[name]) as content:
                        found[name] = np.lib.format.read_array(content, allow_pickle=False)
        except Unfit:
            raise
        except Exception as error:  # whatever a damaged file makes zipfile, zlib and numpy say
            raise Unfit(say("its content is not whole: {error}", error=error)) from error
    for name, values in found.items():
        _check_range(name, values, shapes[name], sizes)
    return found


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = {"f": "float", "iu": "int", "b": "bool", "U": "str", "fiu": "number", "fiuU": "number or str"}


def _head(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Sides and dtype of an array, where it is as long as these say."""
    with packed.open(entry) as content:
        sides, _, dtype = _HEADERS[np.lib.format.read_magic(content)](content)
        if dtype.hasobject:
            raise Unfit(say("{name} holds more than numbers, which is not run", name=name))
        if min(sides, default=0) < 0 or entry.file_size != content.tell() + math.prod(sides) * dtype.itemsize:
            raise Unfit(say("{name} is not as large as it says", name=name))
        return sides, dtype


def _check(heads: dict[str, tuple], shapes: dict[str, Array], sizes: dict[str, int]) -> None:
    if lacking := [name for name, shape in shapes.items() if shape.needed and name not in heads]:
        raise Unfit(say("it has no {names}", names=lacking))
    for name, (sides, dtype) in heads.items():
        shape = shapes[name]
        letters = shape.sides.split()
        right = dtype.kind in shape.kinds and dtype.isnative and (dtype.kind == "U" or dtype.itemsize <= 8)
        for letter, side in zip(letters, sides, strict=False):
            known = int(letter) if letter.isdigit() else sizes.setdefault(letter, side)
            right = right and side == known and (side > 0 or letter.islower())
        if not right or len(letters) != len(sides):
            said = [f"{letter}={sizes[letter]}" if letter in sizes else letter for letter in letters]
            what = f"{_KINDS[shape.kinds]} [{', '.join(said)}]"
            raise Unfit(say("{where} must be {what}, not {value}", where=name, what=what, value=f"{dtype} {[*sides]}"))


def _check_range(name: str, values: np.ndarray, shape: Array, sizes: dict[str, int]) -> None:
    if shape.low is None or not values.size:
        return
    high = sizes[shape.high] - 1 if isinstance(shape.high, str) else shape.high
    least, most = float(values.min()), float(values.max())
    if not shape.low <= least <= most <= high:
        raise Unfit(say(
            "{names} lie between {low} and {high}; these go from {least} to {most}",
            names=name, low=f"{shape.low:g}", high=f"{high:g}", least=f"{least:g}", most=f"{most:g}",
        ))  # fmt: skip
