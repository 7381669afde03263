"""Outputs of a network that was trained elsewhere, as a run: logits, perhaps features and the head, or scores alone.

A file is an .npz, Parquet or CSV, told by its content. Names of what it holds for the images of a part:

    logits [N, C], features [N, D]     a column each in a table: logit_0 ..., feature_0 ...; or a column of lists
    labels [N]                         the place of the class among the logits from 0 on, negative for unknown; or names
    scores [N], or conf [N]            how unknown, or how known, an image looks; for a run of scores alone
    predictions [N]                    the class that it is taken for, beside scores
    files [N]                          the images' files, below a folder that is told; small pictures of them are kept

in an .npz with train_, validation_ (val_) or test_ in front, in a table with a column split; test, where nothing is
said. weight [C, D] and bias [C] are the head, classes [C] the names. So OpenOOD's score files (pred, conf, label) are
read as they are. Nothing is unpickled. Sizes are bounded, tables are read in pieces.
"""

import hashlib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.data.images import brought
from cac_core.exchange import own_data
from cac_core.recipe import IMPORTED, IMPORTED_SCORES, Recipe
from cac_core.records import MOST_ARRAYS, Array, Unfit
from cac_core.results import judge
from cac_core.runs import SPLITS, Run
from cac_core.scoring.heads import linear
from cac_core.scoring.outputs import Outputs
from cac_core.sentences import say

CALLED = {  # what a file may call it: what it is
    "logits": "logits", "logit": "logits", "features": "features", "feature": "features", "labels": "labels",
    "label": "labels", "scores": "scores", "score": "scores", "conf": "conf", "predictions": "predictions",
    "prediction": "predictions", "pred": "predictions", "files": "files", "file": "files", "paths": "files",
    "path": "files",
}  # fmt: skip
PARTS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
WIDE = ("logits", "features")
NAME = re.compile(rf"(?:({'|'.join(PARTS)})_)?({'|'.join(CALLED)})", re.IGNORECASE)
COLUMN = re.compile(r"(logit|feature)s?_?(\d{1,6})", re.IGNORECASE)
PIECE = 50_000  # rows of a table at a time
MOST_CLASSES = 10_000
LONGEST = 120  # characters of a class name
LONGEST_LINE = 1 << 20  # bytes of a table's line in which commas are looked for
MISSING = ("", "nan", "NaN")  # in a table; a class may be called NA, None or null
LEAST_P = 1e-12  # below which a probability is taken for this: its logarithm is no number otherwise


@dataclass(frozen=True)
class Given:
    """What a file holds: by part, and in it by name as in CALLED, an array over its images; the head; class names."""

    parts: dict[str, dict[str, np.ndarray]]
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = field(default=())


# --- reading ---------------------------------------------------------------------------------------------------------


def read(files: list[Path]) -> Given:
    """What these files hold together: parts that several have are joined.

    Raises ValueError for what cannot be read, naming the file.
    """
    every = [_read(file) for file in files]
    parts: dict[str, dict[str, np.ndarray]] = {}
    for split in dict.fromkeys(split for one in every for split in one.parts):
        some = [one.parts[split] for one in every if split in one.parts]
        if any(one.keys() != some[0].keys() for one in some):
            raise ValueError(say("The files do not hold the same of the part {part}: {names}.", part=split,
                                 names=[sorted(one) for one in some]))  # fmt: skip
        for name in WIDE:
            if len({one[name].shape[1] for one in some if name in one}) > 1:
                raise ValueError(say("The {name} of the part {part} are not as wide in each file: {widths}.",
                                     name=name, part=split, widths=[one[name].shape[1] for one in some]))  # fmt: skip
        parts[split] = {name: np.concatenate([one[name] for one in some]) for name in some[0]}
    if len(said := list(dict.fromkeys(one.classes for one in every if one.classes is not None))) > 1:
        raise ValueError(say("The files do not name the same classes in one order: {names}.", names=said[:2]))
    first = {name: next((v for one in every if (v := getattr(one, name)) is not None), None)
             for name in ("weight", "bias", "classes")}  # fmt: skip
    return Given(parts, **first, notes=tuple(note for one in every for note in one.notes))


def _read(file: Path) -> Given:
    try:
        with records.opened(file, links=True) as content:
            start = content.read(4)
        if start[:2] == b"PK":
            return _of_npz(file)
        return _of_table(file, _parquet(file) if start == b"PAR1" else _csv(file))
    except Unfit as error:
        raise ValueError(say("{file} cannot be imported: {error}.", file=file.name, error=error)) from error


def _of_npz(file: Path) -> Given:
    shapes: dict[str, Array] = {}
    meant: dict[str, tuple[str, str]] = {}
    beside = {"weight": Array("f", "C D"), "bias": Array("f", "C"), "classes": Array("U", "C")}
    passed = []
    for name in records.names(file, links=True):
        if named := NAME.fullmatch(name):
            split, what = PARTS[(named[1] or "test").lower()], CALLED[named[2].lower()]
            if (split, what) in meant.values():
                raise Unfit(say("it holds {what} of the part {part} under two names", what=what, part=split))
            meant[name] = split, what
            sides = split.capitalize() + {"logits": " C", "features": " D"}.get(what, "")
            shapes[name] = Array({"labels": "fiuU", "files": "U"}.get(what, "fiu"), sides)
        elif name not in beside:
            passed.append(name)
    if not meant:
        raise Unfit(say("it holds none of {names}, such as test_logits and test_labels", names=sorted(set(CALLED))))
    shapes |= {name: Array(one.kinds, one.sides, needed=False) for name, one in beside.items()}
    found = records.arrays(file, shapes, links=True)
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, (split, what) in meant.items():
        parts.setdefault(split, {})[what] = found[name]
    classes = tuple(found["classes"].tolist()) if "classes" in found else None
    notes = (say("Passed over in {file}: {names}.", file=file.name, names=passed),) if passed else ()
    return Given(parts, found.get("weight"), found.get("bias"), classes, notes)


def _of_table(file: Path, pieces: Iterator) -> Given:
    """pieces are data frames of some rows each."""
    parts: dict[str, dict[str, list[np.ndarray]]] = {}
    plan, size, passed = None, 0, ()
    for piece in filter(len, pieces):
        plan = plan or _plan([str(name) for name in piece.columns])
        wide, single, split, passed = plan
        told = piece[split].map(str).str.strip().str.lower() if split else None  # of a missing one, "nan"
        if told is not None and (wrong := sorted(set(told) - PARTS.keys())):
            raise Unfit(say("the column {column} says {wrong}, and may say {parts}", column=split, wrong=wrong[:3],
                            parts=list(PARTS)))  # fmt: skip
        arrays = {what: _numbers(piece[columns], columns[0]) for what, columns in wide.items()}
        arrays |= {what: _single(piece[column], what) for what, column in single.items()}
        size += sum(array.nbytes for array in arrays.values())
        if size > MOST_ARRAYS:
            raise Unfit(say("its arrays are larger than {most} MB", most=MOST_ARRAYS >> 20))
        for name in dict.fromkeys(told) if told is not None else ["test"]:
            mine = slice(None) if told is None else (told == name).to_numpy()
            into = parts.setdefault(PARTS[name], {what: [] for what in arrays})
            for what, array in arrays.items():
                into[what].append(array[mine])
    if plan is None:
        raise Unfit(say("it has no rows"))
    notes = (say("Passed over in {file}: {names}.", file=file.name, names=list(passed)),) if passed else ()
    try:
        whole = {name: {what: np.concatenate(some) for what, some in part.items()} for name, part in parts.items()}
    except ValueError as error:  # lists of different lengths
        raise Unfit(str(error)) from error
    return Given(whole, notes=notes)


def _plan(columns: list[str]) -> tuple[dict[str, list[str]], dict[str, str], str, tuple[str, ...]]:
    """Which columns are what: those of each wide array in order, the single ones, that of the part, the rest."""
    wide: dict[str, dict[int, str]] = {}
    single: dict[str, str] = {}
    split, rest = "", []
    for name in columns:
        plain = name.strip().lower()
        if plain in ("split", "part"):
            _not_twice(split, name)
            split = name
        elif named := COLUMN.fullmatch(plain):
            places, n = wide.setdefault(CALLED[named[1]], {}), int(named[2])
            _not_twice(places.get(n), name)
            places[n] = name
        elif plain in CALLED:
            _not_twice(single.get(CALLED[plain]), name)
            single[CALLED[plain]] = name
        else:
            rest.append(name)
    for what, places in wide.items():
        _not_twice(single.get(what), next(iter(places.values())))
        if sorted(places) != list(range(len(places))):
            raise Unfit(say("its columns of {what} are not numbered from 0 on without a gap", what=what))
    if not (wide or single):
        raise Unfit(say("it has no columns such as label, logit_0, logit_1, split; its columns are {names}",
                        names=columns[:12]))  # fmt: skip
    return {what: [places[n] for n in sorted(places)] for what, places in wide.items()}, single, split, tuple(rest)


def _not_twice(one: str | None, other: str) -> None:
    if one:
        raise Unfit(say("its columns {one} and {other} are the same thing", one=one, other=other))


def _numbers(frame, first: str) -> np.ndarray:
    for name, kind in [(first, frame.dtype)] if frame.ndim == 1 else frame.dtypes.items():
        if kind.kind in "mM":  # which would become nanoseconds
            raise Unfit(say("the columns from {name} on hold something else than numbers ({error})", name=name,
                            error=kind))  # fmt: skip
    try:
        return frame.to_numpy(np.float32)
    except (ValueError, TypeError) as error:
        raise Unfit(say("the columns from {name} on hold something else than numbers ({error})", name=first,
                        error=error)) from error  # fmt: skip


def _single(column, what: str) -> np.ndarray:
    if what in WIDE:  # a list in each row
        try:
            return np.stack([np.asarray(row, np.float32) for row in column])
        except (ValueError, TypeError) as error:
            raise Unfit(say("{what} are not lists of numbers, equally long", what=what)) from error
    if what == "labels" and column.isna().any():
        raise Unfit(say("{n} of its images have no label; an unknown one has the label -1, or the name of its class",
                        n=int(column.isna().sum())))  # fmt: skip
    if column.dtype.kind in "fiu" and what != "files":
        return column.to_numpy()
    if what in ("labels", "files"):  # a list, since pandas cuts all texts short where one is missing
        return np.array(["" if missing else str(one) for one, missing in zip(column, column.isna(), strict=True)])
    return _numbers(column, what)


def _csv(file: Path) -> Iterator:
    import pandas as pd

    try:
        with records.opened(file, links=True) as content:
            sep, decimal = _marks(content.readline(LONGEST_LINE), content.readline(LONGEST_LINE))
            how = {"sep": sep, "encoding": "utf-8-sig", "keep_default_na": False}
            content.seek(0)
            for head in pd.read_csv(content, header=None, nrows=1, dtype=str, **how).itertuples(index=False):
                _plan(list(head))  # as it is written: below, the second of one name gets another
            content.seek(0)
            yield from pd.read_csv(content, chunksize=PIECE, decimal=decimal, na_values=MISSING, **how)
    except Unfit:
        raise
    except Exception as error:  # whatever a file that is no table makes pandas say
        raise Unfit(say("it is no .npz, no Parquet and no table: {error}", error=error)) from error


def _marks(head: bytes, row: bytes) -> tuple[str, str]:
    """What stands between two columns and in a number, by the first two lines: spreadsheets in many languages write
    semicolons and decimal commas."""
    sep = max((b",", b";", b"\t"), key=head.count)
    comma = sep != b"," and re.search(rb"\d,\d", row) and not re.search(rb"\d\.\d", row)
    return sep.decode(), "," if comma else "."


def _parquet(file: Path) -> Iterator:
    import pyarrow.parquet

    try:
        with records.opened(file, links=True) as content:
            for batch in pyarrow.parquet.ParquetFile(content).iter_batches(PIECE):
                yield batch.to_pandas()
    except Unfit:
        raise
    except Exception as error:  # whatever a damaged file makes pyarrow say
        raise Unfit(say("its content is not whole: {error}", error=error)) from error


# --- as outputs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """What a run is made of: outputs by part, names of the known and the unknown classes, what was noticed."""

    outputs: dict[str, Outputs]
    known: tuple[str, ...]
    unknown: tuple[str, ...]
    method: str
    validated_on: str
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()  # of the test images


def outputs_of(given: Given, classes: list[str] | None = None) -> Read:
    """The outputs that were given, checked. classes names the known classes in the order of the logits.

    Raises ValueError, with what is wrong and what to do, where they cannot be a run.
    """
    notes, alone = list(given.notes), not any("logits" in part for part in given.parts.values())
    if "test" not in given.parts:
        raise ValueError(say("There is nothing for the part test. Give test_logits and test_labels."))
    if alone:
        given = _of_scores(given)
    for split, part in given.parts.items():
        _check_whole(split, part)
    count = given.parts["test"]["logits"].shape[1]
    names = tuple(map(_called, classes or given.classes or map(str, range(count))))
    _check_names(names, count)
    parts: dict[str, dict[str, np.ndarray]] = {}
    foreign: dict[str, int] = {}
    for split in SPLITS:
        if split in given.parts:
            part = dict(given.parts[split])
            part["logits"] = part["logits"] if alone else _logits(part["logits"], split, count, notes)
            part["labels"], part["classes"] = _labels(part["labels"], split, names, foreign)
            if split != "test" and (part["labels"] < 0).any():
                keep = part["labels"] >= 0
                notes.append(say("{n} unknown images of the part {part} are left out: it holds known ones alone.",
                                 n=int((~keep).sum()), part=split))  # fmt: skip
                part = {name: values[keep] for name, values in part.items()}
            parts[split] = part
    validated_on = datasets.HELD_OUT
    if not len(parts.get("validation", {}).get("labels", ())):
        validated_on = datasets.SET_ASIDE
        parts["test"], parts["validation"] = _halves(parts["test"])
        notes.append(say("There is no validation part: half of the known test images of each class are set aside for "
                         "θ, and the numbers are of the others."))  # fmt: skip
    if not len(parts.get("train", {}).get("labels", ())):
        parts["train"], parts["validation"] = _halves(parts["validation"], one=alone)
        if not alone:
            notes.append(say("There is no training part: half of the images of each class that θ would rest on stand "
                             "in for it, where scores are fitted, as to class means."))  # fmt: skip
    for split in SPLITS[:2]:
        if lacking := [names[c] for c in range(count) if not (parts[split]["labels"] == c).any()]:
            raise ValueError(say("There are too few images to judge by: the part {part} would have none of {names}.",
                                 part=split, names=lacking[:5]))  # fmt: skip
    if not (parts["test"]["labels"] >= 0).any():
        raise ValueError(say("The part test has no image of a known class, so there is nothing to keep."))
    width = {part["features"].shape[1] if "features" in part else 0 for part in parts.values()}
    if len(width) > 1:
        raise ValueError(say("The features are not as wide in each part: {widths}.", widths=sorted(width)))
    made = {split: _outputs(parts[split]) for split in SPLITS}
    if given.weight is not None:
        made["train"] = _with_head(made, given, notes)
    unknown = tuple(foreign)
    method = IMPORTED_SCORES if alone else IMPORTED
    files = tuple(parts["test"]["files"].tolist()) if "files" in parts["test"] else ()
    return Read(made, names, unknown, method, validated_on, tuple(notes), files)


def _of_scores(given: Given) -> Given:
    """The same with logits that hold the class each image is taken for, and scores that rise with the unknown."""
    taken = [part["predictions"] for part in given.parts.values() if "predictions" in part]
    if len(taken) < len(given.parts) or any(not {"scores", "conf"} & part.keys() for part in given.parts.values()):
        raise ValueError(say("There are no logits, and no scores (or conf) with predictions in each part either."))
    every = np.concatenate([*taken, *(part["labels"] for part in given.parts.values() if _whole(part.get("labels")))])
    if not _whole(every) or every.min() < -1 or every.max() >= MOST_CLASSES:
        raise ValueError(say("predictions are classes, counted from 0; labels, too, or -1 for unknown."))
    count = max(int(every.max()) + 1, 2)
    parts = {}
    for split, part in given.parts.items():
        scores = np.asarray(part["scores"] if "scores" in part else -part["conf"].astype(float), np.float64)
        if not np.isfinite(scores).all():
            raise ValueError(say("{n} of {all} scores of the part {part} are not finite.",
                                 n=int((~np.isfinite(scores)).sum()), all=len(scores), part=split))  # fmt: skip
        predictions = part["predictions"].astype(int)
        if (predictions < 0).any():
            raise ValueError(say("predictions are classes, counted from 0; labels, too, or -1 for unknown."))
        logits = np.zeros((len(scores), count), np.float32)
        logits[np.arange(len(scores)), predictions] = 1
        parts[split] = {"logits": logits, "given": scores} | {
            n: part[n] for n in ("labels", "features", "files") if n in part
        }
    return Given(parts, classes=given.classes, notes=given.notes)


def _whole(values: np.ndarray | None) -> bool:
    """Whether they are whole numbers, however they are kept."""
    if values is None or values.dtype.kind not in "fiu":
        return False
    return values.dtype.kind in "iu" or bool(np.isfinite(values).all() and (values == np.round(values)).all())


def _check_whole(split: str, part: dict[str, np.ndarray]) -> None:
    if "logits" not in part:
        raise ValueError(say("The part {part} has no logits, which other parts have.", part=split))
    if "labels" not in part:
        raise ValueError(say("The part {part} has no labels.", part=split))


def _check_names(names: tuple[str, ...], count: int) -> None:
    if not 2 <= count <= MOST_CLASSES:
        raise ValueError(say("Logits are of 2 to {most} classes, not of {count}.", most=MOST_CLASSES, count=count))
    if len(names) != count or len(set(names)) < count:
        raise ValueError(say("{count} logits need as many different class names; {given} are given.",
                             count=count, given=len(set(names))))  # fmt: skip


def _logits(logits: np.ndarray, split: str, count: int, notes: list[str]) -> np.ndarray:
    """float32 [N, C]; probabilities become their logarithms, which softmax takes back to them."""
    if logits.shape[1] != count:
        raise ValueError(say("The part {part} has {count} logits an image, the part test {other}.", part=split,
                             count=logits.shape[1], other=count))  # fmt: skip
    logits = logits.astype(np.float32)
    if len(wrong := np.flatnonzero(~np.isfinite(logits).all(1))):
        raise ValueError(say(
            "The logits of {n} of {all} images of the part {part} are not finite, first those of image {first}.",
            n=len(wrong), all=len(logits), part=split, first=int(wrong[0]),
        ))  # fmt: skip
    if len(logits) and logits.min() >= 0 and logits.max() <= 1 and np.abs(logits.sum(1) - 1).max() < 1e-2:
        if ((logits == 0) | (logits == 1)).all():
            raise ValueError(say("The logits of the part {part} are 0 and 1 alone: they are decisions. Give what the "
                                 "network puts out before softmax.", part=split))  # fmt: skip
        notes.append(say("The rows of the part {part} sum to 1: they are taken for probabilities, and their logarithms "
                         "for logits. Energy, the same for all of them, says nothing then.", part=split))  # fmt: skip
        return np.log(np.maximum(logits, LEAST_P))
    return logits


def _labels(
    labels: np.ndarray, split: str, names: tuple[str, ...], foreign: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N], the place of the class or -1, and classes [N], unknown ones numbered behind the known; foreign grows
    by their names."""
    count = len(names)
    if labels.dtype.kind == "U":
        words, places = np.unique(labels, return_inverse=True)
        if not set(words.tolist()) & set(names):
            raise ValueError(say(
                "None of the labels of the part {part}, such as {some}, is a class name, which are {names}. Give "
                "--classes FILE: the names of the known classes, one a line, in the order of the logits.",
                part=split, some=words[:3].tolist(), names=list(names[:5]),
            ))  # fmt: skip
        own = {name: n for n, name in enumerate(names)}
        numbers = [own[word] if word in own else count + foreign.setdefault(_called(word), len(foreign))
                   for word in words.tolist()]  # fmt: skip
        classes = np.array(numbers, np.int64)[places.reshape(-1)]
        return np.where(classes < count, classes, -1), classes
    if not _whole(labels):
        raise ValueError(say("The labels of the part {part} are neither whole numbers nor names.", part=split))
    labels = labels.astype(np.int64)
    known = labels[labels >= 0]
    if known.size and known.max() >= count:
        if known.max() == count and not (known == 0).any():
            raise ValueError(say(
                "The labels of the part {part} go from {low} to {high}, with {count} logits: count classes from 0.",
                part=split, low=int(known.min()), high=count, count=count,
            ))  # fmt: skip
        raise ValueError(say("The part {part} has the label {label}, and there are {count} logits. Classes are "
                             "counted from 0 in the order of the logits; an unknown image has the label -1.",
                             part=split, label=int(known.max()), count=count))  # fmt: skip
    if (labels < 0).any():
        labels = np.where(labels < 0, -1, labels)
        foreign.setdefault(_nameless(names), 0)
    return labels, np.where(labels < 0, count, labels)


def _nameless(names: tuple[str, ...]) -> str:
    """The name of the class of images of which nobody says more than that they are unknown."""
    return "unknown" if "unknown" not in names else "unknown images"


def _called(word: str) -> str:
    """A class name from elsewhere, which may be shown anywhere: what cannot be seen becomes a line below."""
    return "".join(c if c.isprintable() else "_" for c in word.strip())[:LONGEST] or "_"


def class_list(file: Path) -> list[str]:
    """Class names from a file: a JSON list of texts, or one a line. Raises ValueError where it is neither."""
    with records.opened(file, links=True) as content:
        text = content.read(MOST_CLASSES * 4 * LONGEST + 1)
    try:
        said = text.decode("utf-8-sig")
        return records.parsed(said, list[str]) if said.lstrip().startswith("[") else said.split("\n")[: _last(said)]
    except ValueError as error:
        raise ValueError(say("{file} is no list of class names: {error}.", file=file.name, error=error)) from error


def _last(text: str) -> int | None:
    """Where lines end that say something: an empty one behind the last is none."""
    return -1 if text.endswith("\n") else None


def _halves(part: dict[str, np.ndarray], one: bool = False) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All but half of the known images of each class, and that half; of an odd number, the larger part is the first.
    one: the first holds a single image of each class, where nothing is fitted on it."""
    rng, aside = np.random.default_rng(0), np.zeros(len(part["labels"]), bool)
    for label in np.unique(part["labels"][part["labels"] >= 0]):
        mine = rng.permutation(np.flatnonzero(part["labels"] == label))
        aside[mine[: len(mine) - 1 if one else len(mine) // 2]] = True
    return tuple({name: values[mask] for name, values in part.items()} for mask in (~aside, aside))


def _outputs(part: dict[str, np.ndarray]) -> Outputs:
    n = len(part["labels"])
    features = part["features"] if "features" in part else np.zeros((n, 0))
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise ValueError(say("Some features are not finite."))
    return Outputs(part["logits"], features, part["labels"], part["classes"], np.arange(n), np.zeros(n, bool),
                   given=part.get("given"))  # fmt: skip


def _with_head(made: dict[str, Outputs], given: Given, notes: list[str]) -> Outputs:
    """The training outputs with the head, where it makes the logits of the features; said where it does not."""
    train, test = made["train"], made["test"]
    bias = np.zeros(len(given.weight)) if given.bias is None else given.bias
    head = np.column_stack([given.weight, bias]).astype(np.float32)
    fits = len(bias) == len(given.weight) and linear(head, test.logits, test.features)
    if not fits:
        notes.append(say("weight and bias do not make the logits of the features, so what needs the head is not "
                         "offered."))  # fmt: skip
        return train
    return replace(train, head=head)


def new_outputs(given: Given, run: Run) -> Outputs:
    """Outputs on new images for a run of that network, whose labels nobody says or asks for."""
    part, train = given.parts.get("test", {}), run.outputs("train")
    count, width = train.logits.shape[1], train.features.shape[1]
    if run.recipe.method == IMPORTED_SCORES:
        few = {"labels": np.full(len(next(iter(part.values()), ())), -1)}
        part = _of_scores(Given({"test": few | part})).parts["test"]
        part["logits"] = np.pad(part["logits"], ((0, 0), (0, max(count - part["logits"].shape[1], 0))))
    if "logits" not in part:
        raise ValueError(say("There are no logits of new images: give logits, or test_logits."))
    logits = part["logits"] if "given" in part else _logits(part["logits"], "test", count, [])
    if logits.shape[1] != count:
        raise ValueError(say("The file has {count} logits an image, and {run} has {other}.", count=logits.shape[1],
                             run=run.id, other=count))  # fmt: skip
    features = part.get("features", np.zeros((len(logits), 0), np.float32))
    if len(features) != len(logits) or (features.shape[1] and features.shape[1] != width):
        raise ValueError(say("The file has {count} features an image, and {run} has {other}.", count=features.shape[1],
                             run=run.id, other=width))  # fmt: skip
    return replace(Outputs.of_images(logits, features.astype(np.float32)), given=part.get("given"))


# --- as a run --------------------------------------------------------------------------------------------------------


def make(
    found: Read, name: str, store: Path, source: str, images: Path | None = None, of: str = ""
) -> tuple[Run, bool]:
    """The run of what was read, under a name of its own, and whether it is new: the same of the same stays as it is.

    source is the file's name; images the folder that the images' files lie in; of the name of the data set that they
    are of, the run's own where nobody says. Outputs on one data set with the same labels, files and names of classes,
    in the same order, are taken for outputs on the same images, and are compared image by image. Raises ValueError
    where another run has this name, or the name is none.
    """
    own_data.data_set_name(name)
    of = own_data.data_set_name(of or name)
    known = tuple(range(len(found.known)))
    unknown = tuple(range(len(known), len(known) + len(found.unknown)))
    recipe = Recipe(dataset=of, family="custom", trial="0", method=found.method, backbone=IMPORTED, known=known,
                    unknown=unknown)  # fmt: skip
    run, digest, content = (
        Run(store / f"{IMPORTED}-{name}"[:64].rstrip("-")),
        _digest(found, False),
        _digest(found, True),
    )
    if run.path.exists():
        if not run.problem() and run.recipe == recipe and run.record.get("outputs") == content and run.written:
            return run, False
        raise ValueError(say("{path} is there already, and is of other outputs. Give another name, or delete it on "
                             "the page Runs.", path=run.path))  # fmt: skip
    pixels, notes = pictures(found.files, images) if found.files and images else (None, ())
    record = {
        "recipe": recipe.to_json(),
        "classes": {"known": known, "unknown": unknown, "names": [*found.known, *found.unknown]},
        "prepare": {},  # nobody knows how: there is no network to show an image to
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "data": digest,
        "outputs": content,
        "images": {"train": len(found.outputs["train"]) + len(found.outputs["validation"]),
                   "test": len(found.outputs["test"])},
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "imported_from": source,
        "validated_on": found.validated_on,
        "notes": [*found.notes, *notes],
    }  # fmt: skip
    with runs.made_whole(run) as fresh:
        runs.write_json(fresh.path / "recipe.json", record)
        for split, out in found.outputs.items():
            runs.write_outputs(fresh, split, out, weights="none", images=digest)
        if pixels is not None:
            runs.write_npz(fresh.path / "pictures.npz", pixels=pixels)
        runs.write_json(fresh.path / "report.json", judge.plain(judge.report_all(fresh)))
        about = say("Imported from {file}: outputs alone, without a network.", file=source)
        runs.write_json(fresh.path / "status.json", {"state": "finished", "reason": about})
    return run, True


SIDE, MOST_PICTURES = 32, 20_000  # pixels of a picture that is kept; of so many images at most


def pictures(names: tuple[str, ...], folder: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Small pictures [N, SIDE, SIDE, 3] of these files below a folder, black where there is none; and what was noticed.

    Nothing outside of the folder is read, whatever a name says or a link leads to. None where there is none at all.
    """
    inside, row = folder.resolve(), replace(datasets.FOLDER, size=SIDE, grain=SIDE)
    pixels = np.zeros((min(len(names), MOST_PICTURES), SIDE, SIDE, 3), np.uint8)
    outside = lacking = 0
    for n, name in enumerate(names[: len(pixels)]):
        try:
            file = (folder / name).resolve()
            if not file.is_relative_to(inside):
                outside += 1
                continue
            pixels[n] = brought(file, row)
        except (ValueError, OSError):
            lacking += 1
    notes = []
    if outside:
        notes.append(say("{n} files lie outside of {folder}, and are not looked at.", n=outside, folder=folder.name))
    if lacking:
        notes.append(say("{n} files are not there or no images: their pictures stay black.", n=lacking))
    if len(names) > len(pixels):
        notes.append(say("Pictures are kept of the first {n} images alone.", n=len(pixels)))
    return (pixels if outside + lacking < len(pixels) else None), tuple(notes)


def _digest(found: Read, whole: bool) -> str:
    """Of the images, by all that tells them apart: labels, files, names of classes; or of all that was put out."""
    h = hashlib.sha256(repr((found.known, found.unknown, found.files)).encode())
    for split in SPLITS:
        out = found.outputs[split]
        for values in (out.classes, *((out.logits, out.features, out.given, out.head) if whole else ())):
            if values is not None:
                h.update(np.ascontiguousarray(values).tobytes())
    return h.hexdigest()[:16]
