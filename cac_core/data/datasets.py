"""Data sets as uint8 arrays, published trials, and the three parts of a run.

An image set is one array [N, H, W, C] of uint8 with labels [N], the class numbers of the data set. A trial names the
known classes; the network's label of a known class is its position among them, sorted, and -1 means unknown.

To add a data set: two functions in sources.py and a row in DATASETS. An image folder needs neither:
<root>/<name>/{train,test}/<class>/*.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import secrets
import struct
import unicodedata
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict

import filelock
import numpy as np

from cac_core import files, records, shell
from cac_core.data import decoded, lending, sources
from cac_core.data.images import Format, converted
from cac_core.recipe import Recipe, known_name, slug
from cac_core.records import Count, Unfit
from cac_core.sentences import Sentence, say

HERE = Path(__file__).parent
UNKNOWN = -1
EXAMPLE = '{"Known": [...], "Unknown": [...]}'  # what a file with a trial holds
# what reading a damaged .npz can raise: numpy, zipfile and zlib have each their own
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Dataset(Format):
    """What is fixed about a data set.

    read and source are of sources.py. crop is the smallest area share of a random crop, turn the largest rotation in
    degrees, flip whether images may be mirrored. trials names the data set in trials.json whose class lists apply;
    their unknown classes count from `unknown_from` on, where they come from a second data set.
    """

    read: Callable[[Path, str, Format], sources.Parts]
    source: Callable[[Path, str], list[Path]]
    classes: tuple[str, ...]
    flip: bool
    crop: float
    turn: float
    trials: str | None = None
    unknown_from: int = 0


@dataclass(frozen=True)
class Trial:
    """Which classes of a data set are known and which unknown, by class number."""

    dataset: str
    family: str
    index: str
    known: tuple[int, ...]
    unknown: tuple[int, ...]

    @property
    def openness(self) -> float:
        """1 - sqrt(2 K / (2 K + U)), Scheirer et al., TPAMI 2013: K known classes, U unknown ones; 0 is closed."""
        return 1 - math.sqrt(2 * len(self.known) / (2 * len(self.known) + len(self.unknown)))

    def labels(self, classes: np.ndarray) -> np.ndarray:
        """Class numbers [N] to network labels [N]: the place among the known, -1 for every other class."""
        table = np.full(max([*self.known, *self.unknown, int(classes.max(initial=0))]) + 1, UNKNOWN)
        table[list(self.known)] = np.arange(len(self.known))
        return table[classes]


@dataclass(frozen=True)
class Images:
    """Images [N, H, W, C] uint8 and their class numbers [N] of one part of a data set."""

    pixels: np.ndarray | decoded.Rows
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, index: np.ndarray) -> "Images":
        return Images(decoded.taken(self.pixels, index), self.classes[index])


# --- the data sets ----------------------------------------------------------------------------------------------------

TEN = tuple("0123456789")
DIGITS = Dataset(
    16, 8, 1, True, sources.read_digits, sources.digits_source, TEN, flip=False, crop=0.7, turn=10.0, trials="MNIST",
    made=8, drawn="digits",
)  # fmt: skip
FOLDER = Dataset(32, 32, 3, False, sources.read_folder, sources.folder_source, (), flip=True, crop=0.8, turn=10.0)
_CIFAR_PLUS = Dataset(
    32, 32, 3, False, sources.read_cifar_plus, sources.cifar_plus_source, sources.CIFAR10 + sources.CIFAR100,
    flip=True, crop=0.8, turn=0.0, unknown_from=10, made=32,
)  # fmt: skip
# crops, mirrors and rotations are those of cac-openset
DATASETS = {
    "digits": DIGITS,
    "MNIST": Dataset(
        32, 28, 1, True, sources.read_mnist, sources.mnist_source, TEN, flip=False, crop=0.7, turn=0.0, trials="MNIST",
        made=28, drawn="MNIST",
    ),
    "SVHN": Dataset(
        32, 32, 3, False, sources.read_svhn, sources.svhn_source, TEN, flip=False, crop=0.7, turn=0.0, trials="SVHN",
        made=32,
    ),
    "CIFAR10": Dataset(
        32, 32, 3, False, sources.read_cifar10, sources.cifar10_source, sources.CIFAR10,
        flip=True, crop=0.8, turn=10.0, trials="CIFAR10", made=32,
    ),
    "CIFAR+10": dataclasses.replace(_CIFAR_PLUS, trials="CIFAR+10"),
    "CIFAR+50": dataclasses.replace(_CIFAR_PLUS, trials="CIFAR+50"),
    "TinyImageNet": Dataset(
        64, 64, 3, False, sources.read_tinyimagenet, sources.tinyimagenet_source, (),
        flip=True, crop=0.7, turn=20.0, trials="TinyImageNet", made=64,
    ),
    # test images only, to serve as unknowns
    "CIFAR100": Dataset(
        32, 32, 3, False, sources.read_cifar100, sources.cifar100_source, sources.CIFAR100,
        flip=True, crop=0.8, turn=0.0, made=32,
    ),
    "Textures": Dataset(
        64, 64, 3, False, sources.read_textures, sources.textures_source, sources.TEXTURES,
        flip=True, crop=0.8, turn=0.0,
    ),
}  # fmt: skip
NEEDS = {"CIFAR+10": ("CIFAR10", "CIFAR100"), "CIFAR+50": ("CIFAR10", "CIFAR100")}  # what to download for them
OWN_FOLDERS = ("cifar10", "cifar100", "tiny-imagenet-200", "SVHN", "dtd")  # under the root, read as the data sets above


def folder_row(root: Path, name: str) -> Dataset:
    """The row of an image folder: colour, 32 pixels, unless its dataset.json says otherwise."""
    folder = root / name
    row = dataclasses.replace(FOLDER, classes=sources.folder_classes(folder))
    if files.is_file(folder / sources.SETTINGS):
        try:
            said = records.read(folder / sources.SETTINGS, object, links=True)
            kinds = {"size": int, "channels": int, "flip": bool, "crop": float, "turn": float}
            if not isinstance(said, dict):
                raise ValueError(say("it must hold {example}", example='{"size": 32, ...}'))
            if wrong := sorted(set(said) - {*kinds, "unknown"}):
                fields = [*kinds, "unknown"]
                raise ValueError(say("it has no {names}; it takes {fields}", names=wrong, fields=fields))
            never = said.pop("unknown", [])
            if not isinstance(never, list) or not all(isinstance(cls, str) for cls in never):
                raise ValueError(say("unknown is a list of classes"))
            if "flip" in said and not isinstance(said["flip"], bool):
                raise ValueError(say("flip is true or false"))
            for key, value in said.items():
                if key != "flip" and (isinstance(value, bool) or not isinstance(value, int | float)):
                    raise ValueError(say("{name} is a number, not {value!r}", name=key, value=str(value)[:40]))
            try:
                row = dataclasses.replace(row, **{key: kinds[key](value) for key, value in said.items()})
                right = row.channels in (1, 3) and 8 <= row.size <= 1024 and 0 < row.crop <= 1 and 0 <= row.turn <= 180
            except (ValueError, OverflowError):  # NaN, infinite, or of five hundred digits
                right = False
            if not right:
                raise ValueError(
                    say("channels is 1 or 3, size 8 to 1024, crop above 0 and at most 1, turn 0 to 180 degrees")
                )
        except ValueError as error:
            raise ValueError(say("{file}: {error}.", file=folder / sources.SETTINGS, error=error)) from error
    return dataclasses.replace(row, grain=row.size)


def never_learnt(name: str, root: Path) -> tuple[str, ...]:
    """The classes of an image folder without a test part of which all images are test images, as dataset.json says."""
    said = said_never(name, root)
    if not said or sources.parted(root / name):
        return ()
    classes = folder_row(root, name).classes  # which also says what is wrong with dataset.json
    return tuple(cls for cls in said if cls in classes)


def said_never(name: str, root: Path) -> tuple[str, ...]:
    """The classes that dataset.json says are never learnt, whether they are there or not."""
    file = root / name / sources.SETTINGS
    said = records.read(file, dict[str, object], links=True).get("unknown") if files.is_file(file) else None
    return tuple(said) if isinstance(said, list) else ()


def row_of(name: str, root: Path, size: int = 0) -> Dataset:
    """The data set called name: a row of the table, or the image folder <root>/<name>; size in pixels overrides."""
    if name in DATASETS:
        row = DATASETS[name]
        if name == "TinyImageNet":
            row = dataclasses.replace(row, classes=sources.tinyimagenet_classes(root))
    elif name in folders(root):
        row = folder_row(root, name)
    else:
        raise ValueError(say(
            "There is no data set {name!r}; there are: {names}; image folders under {root}: {folders}. A folder of "
            "your own is {example}.",
            name=name, names=list(DATASETS), root=root, folders=folders(root) or say("none"),
            example=f"{root}/<name>/{{train,test}}/<class>/*.png",
        ))  # fmt: skip
    if not size or size == row.size:
        return row
    # files of any size are read at that size; what came at a size of its own is brought to it from there
    return dataclasses.replace(row, size=size, grain=min(row.grain, size) if row.made else size)


def folders(root: Path) -> list[str]:
    """The image folders under the data root: those whose folders hold images at the depth of a class."""
    try:
        names = files.listed(root).folders
    except ValueError:
        return []
    return [name for name in names if name not in (*DATASETS, *OWN_FOLDERS) and sources.holds_images(root / name)]


def passed_over(root: Path) -> list[Sentence]:
    """Which folders in the data root may be data sets and cannot be read, in sentences."""
    try:
        closed = files.listed(root).closed
    except ValueError as error:
        return [error.args[0]]
    return [say("The folder {folder} cannot be read, and is passed over.", folder=root / name) for name in closed]


def root_of(given: str | Path | None = None) -> Path:
    """The data root: what was given, else ANCHORSCOPE_DATA, else data/."""
    return Path(given or os.environ.get("ANCHORSCOPE_DATA") or "data").expanduser()


def here(name: str, root: Path) -> tuple[list[Path], str]:
    """The files of a data set, and what is missing and how to get it; the one or the other is empty."""
    try:
        return DATASETS.get(name, FOLDER).source(root, name), ""
    except (OSError, ValueError) as error:
        return [], str(error)


def fetch(name: str, root: Path) -> None:
    """Download a data set into the data root; the error says what to do where there is no internet.

    Of several processes or machines one downloads; the others find it there then.
    """
    known_name(name, DATASETS, say("data set that can be downloaded"))
    for part in NEEDS.get(name, () if name == "digits" else (name,)):
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # which the download will say
                root.mkdir(parents=True, exist_ok=True)
                stack.enter_context(filelock.FileLock(root / f".{part}.lock"))
            sources.download(part, root)


# --- the arrays, read once -------------------------------------------------------------------------------------------


def load(
    name: str, root: Path, size: int = 0, of: str | None = None, tell: decoded.Tell | None = None
) -> dict[str, Images]:
    """The train and test part of a data set. Decoded once; then it comes from <root>/.cache until its source changes.

    Those of an image folder stay on disk, and tell hears how far decoding is, see `decoded.kept`.

    A data set without a test part of its own lends about a fifth of the images of each class as test images: the same
    ones for every seed and trial, so that runs can be compared. Those of an image folder hang on their content, see
    `lending`; before, on their order. Of a class that is said to be never learnt all are test images. of: the digest of
    the images that a run is of, which may be of before that was said, or of that time.
    """
    parts = _cached(name, root, row_of(name, root, size), tell)
    images = _divided(parts, name, root)
    if of and "all" in parts and not fits(of, digest(images)):
        earlier = [_drawn(parts["all"][1], 0.2, seed=0)]
        if name not in DATASETS and never_learnt(name, root):
            earlier.insert(0, _lent(name, root, ())[0])
        divided = (_parted(parts["all"], test) for test in earlier)
        return next((one for one in divided if fits(of, digest(one))), images)
    return images


def counts(name: str, root: Path) -> dict[int, int]:
    """How many training images there are of each class; of an image folder without decoding any."""
    if name in DATASETS:
        return dict(enumerate(np.bincount(load(name, root)["train"].classes).tolist()))
    parts = sources.folder_files(root, name)
    if "train" in parts:
        classes = np.array([cls for _, cls in parts["train"]], int)
    else:
        test, classes = _lent(name, root)
        classes = classes[~test]
    return dict(enumerate(np.bincount(classes).tolist()))


def as_listed(name: str, root: Path, size: int = 0) -> sources.Parts:
    """The images of an image folder in the order of its files, none of them lent as test images yet."""
    return _cached(name, root, row_of(name, root, size))


def strangers(name: str, root: Path, row: Format) -> Images:
    """The test images of another data set as a network of this row sees them: by the way that a file of each takes.

    They come as their makers left them, before they were brought to the size of their own networks.
    """
    own = row_of(name, root)
    if own.made:
        images = as_made(name, root)
        return Images(converted(images.pixels, row), images.classes)
    same = all(getattr(own, field.name) == getattr(row, field.name) for field in dataclasses.fields(Format))
    return (load(name, root) if same else _divided(own.read(root, name, row), name, root))["test"]


def paths(name: str, root: Path) -> dict[str, list[str]]:
    """The images of each part of an image folder, in order, as paths below it; {} for a data set of the table."""
    if name in DATASETS:
        return {}
    parts = {part: [file.relative_to(root / name).as_posix() for file, _ in some]
             for part, some in sources.folder_files(root, name).items()}  # fmt: skip
    if "all" not in parts:
        return parts
    test, _ = _lent(name, root)
    return {part: np.array(parts["all"], object)[mine].tolist() for part, mine in (("train", ~test), ("test", test))}


def as_made(name: str, root: Path) -> Images:
    """The test images of a data set as its makers left them; of files of any size, at its own.

    What outputs on it as unknowns are of is the digest of these: it does not hang on the network that judged them.
    """
    return load(name, root, row_of(name, root).made)["test"]


def gone(name: str, root: Path) -> bool:
    """Whether a data set is not here at all; one that is here and cannot be read is another matter."""
    return bool(here(name, root)[1]) if name in DATASETS else not files.is_folder(root / name)


def called(short: str, root: Path) -> list[str]:
    """The data sets and image folders whose slug this is."""
    return [name for name in (*DATASETS, *folders(root)) if slug(name) == short]


def same_class(name: str) -> str:
    """A class's name as it counts where two data sets are compared: "Cat " is "cat", however its letters are coded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def no_class(name: str) -> bool:
    """Whether a class is called as images of no class are."""
    return same_class(name) == "unknown"


def _divided(parts: sources.Parts, name: str, root: Path) -> dict[str, Images]:
    if "all" not in parts:
        return {part: Images(pixels, classes.astype(np.int64)) for part, (pixels, classes) in parts.items()}
    classes = parts["all"][1]
    if name in DATASETS:
        return _parted(parts["all"], _drawn(classes, 0.2, seed=0))
    test, listed = _lent(name, root)
    if not np.array_equal(listed, classes):
        raise ValueError(say("The images of {name} have changed meanwhile. Look again.", name=name))
    return _parted(parts["all"], test)


def _parted(every: tuple[np.ndarray, np.ndarray], test: np.ndarray) -> dict[str, Images]:
    pixels, classes = every[0], every[1].astype(np.int64)
    return {part: Images(decoded.taken(pixels, mine), classes[mine]) for part, mine in
            (("train", ~test), ("test", test))}  # fmt: skip


def _lent(name: str, root: Path, never: tuple[str, ...] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which images of an image folder without parts are test images, a mask [N], and the class numbers [N] of all.

    never: the classes that are all test images; None for those of dataset.json.
    """
    found = sources.folder_files(root, name).get("all", [])
    classes = np.array([cls for _, cls in found], int)
    test = lending.lent(lending.places([file for file, _ in found], root, name), classes)
    named = sources.folder_classes(root / name)
    never = never_learnt(name, root) if never is None else never
    return test | np.isin(classes, [named.index(cls) for cls in never]), classes


def digest(parts: dict[str, Images]) -> str:
    """What the images and labels are, as 16 hexadecimal digits.

    A run remembers it, and so does everything that is kept of images: outputs, on other data sets too, a sweep, the
    state to go on from. Wherever that is read together with images, or with something else that is kept, the two are
    compared by `fits`.
    """
    h = hashlib.sha256()
    for part in sorted(parts):
        for some in decoded.blocks(parts[part].pixels):
            h.update(np.ascontiguousarray(some))
        h.update(parts[part].classes.tobytes())
    return h.hexdigest()[:16]


def marks(pixels: np.ndarray) -> np.ndarray:
    """What each of images [N, H, W, C] is known by, [N] int64: equal where all pixels are."""
    found = (hashlib.sha256(np.ascontiguousarray(image)).digest()[:8] for image in pixels)
    return np.array([int.from_bytes(one, "big") >> 1 for one in found], np.int64)


def fits(kept: str | None, images: str | None) -> bool:
    """Whether what was kept can be of these images, by the digests of both; empty is not known, and speaks against
    nothing: what was kept by an older version says none."""
    return not kept or not images or kept == images


def identity(parts: dict[str, Images]) -> tuple[str, dict[str, int]]:
    """The digest of the images, and how many of them each part has."""
    return digest(parts), {part: len(some) for part, some in parts.items()}


def told(digest: str | None, counts: dict[str, int] | None) -> str:
    """Images in words: how many, where that is known, and their digest."""
    counts = counts if isinstance(counts, dict) else {}
    if {"train", "test"} <= set(counts):
        return say("{train} training and {test} test images, digest {digest}", digest=digest, **counts)
    return say("images of digest {digest}", digest=digest)


def _cached(name: str, root: Path, row: Dataset, tell: decoded.Tell | None = None) -> sources.Parts:
    if row.read is sources.read_folder:  # which keeps them itself, as there may be more than fit into memory
        return sources.read_folder(root, name, row, tell)
    state = [files.stamp_of(file) for file in row.source(root, name)]
    stamp = hashlib.sha256(json.dumps([state, row.size, row.channels, 2 if row.made else 3]).encode()).hexdigest()[:16]
    folder = root / ".cache"
    stem = f"{name}-{row.size}."
    file = folder / f"{stem}{stamp}.npz"
    if parts := _kept(file):
        return parts
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(filelock.FileLock(folder / f".{name}-{row.size}.lock"))
            if parts := _kept(file):  # somebody else has read it meanwhile
                return parts
        except OSError:
            pass  # which writing will say
        parts = row.read(root, name, row)
        try:
            _keep(parts, file)
            for old in folder.glob(f"{stem}*.npz"):
                if old != file:
                    old.unlink(missing_ok=True)
        except OSError as error:
            warnings.warn(f"The decoded images of {name} could not be kept in {folder} ({error}).", stacklevel=2)
    return parts


def _keep(parts: sources.Parts, file: Path) -> None:
    arrays = {
        f"{p}_{kind}": a for p, pair in parts.items() for kind, a in zip(("pixels", "classes"), pair, strict=True)
    }
    fresh = file.with_name(f".{file.stem}.{secrets.token_hex(8)}.npz")  # many machines may share this folder
    try:
        np.savez(fresh, **arrays)
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)


def _kept(file: Path) -> sources.Parts | None:
    """The parts in a file of the cache, on disk until they are used; None where it is not there, or damaged."""
    try:
        with zipfile.ZipFile(file) as stored:
            if stored.testzip():
                return None
        arrays = mapped(file)
        return {part: (arrays[f"{part}_pixels"], np.array(arrays[f"{part}_classes"])) for part in parts_in(arrays)}
    except DAMAGED:
        return None


def mapped(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of the cache by name, read from disk as they are used: processes share what they read."""
    arrays = {}
    with zipfile.ZipFile(file) as stored, open(file, "rb") as content:
        for entry in stored.infolist():
            content.seek(entry.header_offset + 26)
            lengths = struct.unpack("<HH", content.read(4))  # of the name and of what else comes before the array
            content.seek(sum(lengths), os.SEEK_CUR)
            if entry.compress_type != zipfile.ZIP_STORED or np.lib.format.read_magic(content) != (1, 0):
                raise ValueError(say("{file} is not as numpy.savez writes it", file=file))
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(content)
            order = "F" if fortran else "C"
            arrays[entry.filename.removesuffix(".npy")] = np.memmap(file, dtype, "r", content.tell(), shape, order)
    return arrays


def parts_in(arrays: dict[str, np.ndarray]) -> list[str]:
    return [part for part in ("train", "test", "all") if f"{part}_pixels" in arrays]


# --- trials and the three parts of a run -----------------------------------------------------------------------------


def published() -> dict[str, dict[str, list[dict]]]:
    """The published class lists: family -> data set -> trials, each {"known": [...], "unknown": [...] or "rest"}."""
    return json.loads((HERE / "trials.json").read_text("utf-8"))


def trial_of(recipe: Recipe, row: Dataset) -> Trial:
    """The trial that a recipe names, with its class numbers. Raises ValueError that lists the right names."""
    if recipe.family == "custom":
        known, unknown = tuple(sorted(recipe.known)), tuple(sorted(recipe.unknown))
        return checked_trial(Trial(recipe.dataset, "custom", recipe.trial, known, unknown), row)
    families = published()
    known_name(recipe.family, [*families, "custom"], say("family"), say("A split of your own: --trial FILE.json."))
    lists = families[recipe.family].get(row.trials or "")
    if lists is None:
        raise ValueError(say(
            "No trials are published for {dataset}. Choose known and unknown classes in a file and give it as --trial "
            "FILE.json: {example}. The classes are {classes}.",
            dataset=recipe.dataset, example=EXAMPLE, classes=row.classes,
        ))  # fmt: skip
    if recipe.trial not in [str(i) for i in range(len(lists))]:
        raise ValueError(say(
            "{dataset} has trials 0 to {last} in family {family}, not {trial!r}. A split of your own goes into a file "
            "{example}: --trial FILE.json.",
            dataset=recipe.dataset, last=len(lists) - 1, family=recipe.family, trial=recipe.trial, example=EXAMPLE,
        ))  # fmt: skip
    chosen = lists[int(recipe.trial)]
    known, unknown = chosen["known"], chosen["unknown"]
    if unknown == "rest":
        unknown = sorted(set(range(len(row.classes))) - set(known))
    unknown = [row.unknown_from + c for c in unknown]
    return Trial(recipe.dataset, recipe.family, recipe.trial, tuple(sorted(known)), tuple(sorted(unknown)))


class _Said(TypedDict, total=False):
    """A trial in a file: class numbers or names."""

    Known: Required[list[object]]
    Unknown: list[object]


def trial_from_file(file: Path, dataset: str, row: Dataset) -> Trial:
    """A user's own trial: {"Known": [...], "Unknown": [...]} with class numbers or names, as cac-openset writes it."""
    try:
        said = records.read(Path(file), _Said, links=True)
        known, unknown = said["Known"], said.get("Unknown", [])
    except FileNotFoundError as error:
        raise FileNotFoundError(say("There is no trial file {file}.", file=file)) from error
    except (OSError, Unfit) as error:
        raise ValueError(say(
            "{file} is not a trial ({error}): it must hold {example}, with class numbers or names.",
            file=file, error=error, example=EXAMPLE,
        )) from error  # fmt: skip
    numbers = [tuple(sorted(_class_number(c, row, file) for c in part)) for part in (known, unknown)]
    return checked_trial(Trial(dataset, "custom", Path(file).stem, *numbers), row)


def _class_number(said, row: Dataset, file: Path) -> int:
    if isinstance(said, str) and said in row.classes:
        return row.classes.index(said)
    if isinstance(said, int) and not isinstance(said, bool):
        if (place := named_by_number(row, said)) is not None:
            raise ValueError(say(
                "{file}: {number} may be a name or a number of a class: {name!r} is the name of number {place}. Write "
                "names, in quotation marks.",
                file=file, number=said, name=row.classes[place], place=place,
            ))  # fmt: skip
        if 0 <= said < len(row.classes):
            return said
    names = [f"{i} {name}" if name != str(i) else name for i, name in enumerate(row.classes)]
    raise ValueError(say("{file}: there is no class {name!r}; there are: {names}.", file=file, name=said, names=names))


def named_by_number(row: Dataset, number: int) -> int | None:
    """The class that is named by this number and has another, if there is one: of folders 0 to 11, 10 is number 2."""
    called = (place for place, name in enumerate(row.classes) if name.isdecimal() and int(name[:40]) == number)
    return next((place for place in called if place != number), None)


def checked_trial(trial: Trial, row: Dataset) -> Trial:
    """The trial itself if it makes sense for the data set; otherwise ValueError says what does not."""
    known, unknown = trial.known, trial.unknown
    if len(known) < 2:
        raise ValueError(
            say("A trial needs at least two known classes to tell apart; this one has {count}.", count=len(known))
        )
    if both := sorted(set(known) & set(unknown)):
        raise ValueError(
            say("A class is known or unknown, not both: {classes}.", classes=[row.classes[c] for c in both])
        )
    if len(set(known)) < len(known) or len(set(unknown)) < len(unknown):
        raise ValueError(say("A trial names each class once."))
    if wrong := [c for c in (*known, *unknown) if not 0 <= c < len(row.classes)]:
        raise ValueError(say(
            "There is no class {number}; {dataset} has classes 0 to {last}.",
            number=wrong[0], dataset=trial.dataset, last=len(row.classes) - 1,
        ))  # fmt: skip
    if misleading := [row.classes[c] for c in known if no_class(row.classes[c])]:
        raise ValueError(say(
            "A known class cannot be called {name!r}: that is what a rejected image is called. Have it among the "
            "unknown ones, or give it another name.",
            name=misleading[0],
        ))  # fmt: skip
    return trial


# what validation, and with it theta, rests on, as a run records it: images held out of its training; those that the
# authors of published weights held out; where nobody knows which these are, half of the test images, set aside; or, in
# runs imported before these were told apart, images that the network was trained on; or, where there are few, all of
# the training images, each judged by a network that has not learnt from its fold
HELD_OUT, PUBLISHED, SET_ASIDE, SEEN, FOLDS = (
    "held out of training", "published hold-out", "half of the test images", "images that were trained on",
    "out of fold",
)  # fmt: skip
LISTS = "cac-openset-trainval"  # the folder of the published lists, under the data root


def published_hold_out(name: str, root: Path, classes: np.ndarray) -> np.ndarray | None:
    """A mask [N] of the training images that cac-openset's networks were validated on; classes [N] are theirs.

    The list is <root>/cac-openset-trainval/NAME.json, {"Train": {class: [place]}, "Val": ...}, over torchvision's order
    of the images. None where there is none, or where the images lie in another order, as those of a folder do. Raises
    ValueError for a file that is no such list.
    """
    file = root / LISTS / f"{'CIFAR+10' if name == 'CIFAR+50' else name}.json"
    if not files.is_file(file):
        return None
    try:
        listed = records.read(file, dict[str, dict[str, list[Count]]], links=True)
        said = [(part == "Val", int(c), np.array(places, int)) for part in ("Train", "Val")
                for c, places in listed[part].items()]  # fmt: skip
        places = np.concatenate([places for *_, places in said])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(say(
            "{file} is no list of training and validation images ({error}): it must hold {example}. Put the published "
            "one there, or remove it.",
            file=file, error=error, example='{"Train": {class: [place, ...]}, "Val": {...}}',
        )) from error  # fmt: skip
    if not np.array_equal(np.sort(places), np.arange(len(classes))):
        return None  # of more images or of fewer
    if any((classes[mine] != c).any() for _, c, mine in said):
        return None
    mask = np.zeros(len(classes), bool)
    for validation, _, mine in said:
        mask[mine] = validation
    return mask


@dataclass(frozen=True)
class Part:
    """Images [N, H, W, C] of one part of a run, their network labels [N] (-1 unknown), their class numbers [N] and
    their places [N] in the data set's own train or test images."""

    pixels: np.ndarray | decoded.Rows
    labels: np.ndarray
    classes: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def parts_of(
    images: dict[str, Images],
    trial: Trial,
    seed: int,
    row: Dataset | None = None,
    *,
    share: float = 0.2,
    validated_on: str = HELD_OUT,
    listed: np.ndarray | None = None,
) -> dict[str, Part]:
    """train, validation and test of a run. Unknown classes are in test alone.

    validation is by validated_on: HELD_OUT, this share of the known training images of each class, drawn by the seed,
    and not in train; PUBLISHED, the same with those `listed` [N] of the training images; SET_ASIDE, half of the known
    test images of each class, drawn by the seed, and not in test, with all known training images in train; SEEN, as
    HELD_OUT but in train, too; FOLDS, all known training images, which train has as well.
    """

    def part(source: Images, keep: np.ndarray) -> Part:
        index = np.flatnonzero(keep)
        classes = source.classes[index]
        return Part(decoded.taken(source.pixels, index), trial.labels(classes), classes, index)

    if "train" not in images:
        raise ValueError(say(
            "{dataset} has test images alone: it serves as the unknowns of a run on other data. Use\n"
            "    {command}",
            dataset=trial.dataset, command=shell.command("eval", "RUN", "--unknown", trial.dataset),
        ))  # fmt: skip
    train, test = images["train"], images["test"]
    known, tested = np.isin(train.classes, trial.known), np.isin(test.classes, trial.known + trial.unknown)
    if validated_on == SET_ASIDE:
        aside = np.isin(test.classes, trial.known) & _drawn(test.classes, 0.5, seed)
        parts = {"train": part(train, known), "validation": part(test, aside), "test": part(test, tested & ~aside)}
    elif validated_on == FOLDS:
        parts = {"train": part(train, known), "validation": part(train, known), "test": part(test, tested)}
    else:
        held_out = _drawn(train.classes, share, seed) if validated_on != PUBLISHED else listed
        learnt = known if validated_on == SEEN else known & ~held_out
        parts = {"train": part(train, learnt), "validation": part(train, known & held_out), "test": part(test, tested)}
    for name in ("train", "validation"):
        least = 1 + (validated_on == FOLDS)  # one in a fold, one in the others
        counts = np.bincount(parts[name].labels, minlength=len(trial.known))
        if len(missing := np.flatnonzero(counts < least).tolist()):
            number = trial.known[missing[0]]
            called = say("class {number}", number=number)
            if row:
                called = say("{name} (class {number})", name=row.classes[number], number=number)
            raise ValueError(say(
                "{dataset} has no {part} image of {name}: a known class needs at least two training images, one to "
                "learn from and one to validate on.",
                dataset=trial.dataset, part=say(name), name=called,
            ))  # fmt: skip
    return parts


def _drawn(classes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A mask [N] of share of each class's images, at least one of two or more, drawn by the seed."""
    mask = np.zeros(len(classes), bool)
    for cls in np.unique(classes):
        places = np.flatnonzero(classes == cls)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        mask[np.random.default_rng([seed, int(cls)]).permutation(places)[:count]] = True
    return mask


def folds_of(labels: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold [N] of each image: as many of each class in every fold as can be, drawn by the seed."""
    found = np.empty(len(labels), int)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        found[np.random.default_rng([seed, int(label)]).permutation(places)] = np.arange(len(places)) % folds
    return found


def statistics(pixels: np.ndarray | decoded.Rows) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of [N, H, W, C] uint8, on the scale 0 to 1, exactly."""
    values = np.arange(256) / 255
    means, stds = [], []
    counts = np.zeros((pixels.shape[-1], 256))
    for some in decoded.blocks(pixels):
        counts += [np.bincount(some[..., channel].ravel(), minlength=256) for channel in range(len(counts))]
    for share in counts / max(counts[0].sum(), 1):
        mean = float(share @ values)
        std = math.sqrt(float(share @ (values - mean) ** 2))
        means.append(mean)
        stds.append(std if std > 1e-6 else 1.0)  # one flat colour: nothing to scale
    return tuple(means), tuple(stds)
