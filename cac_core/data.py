"""Data sets as uint8 arrays, published trials, and the way one image takes to the network.

An image set is one array [N, H, W, C] of uint8 with labels [N], the class numbers of the data set. A trial names the
known classes; the network's label of a known class is its position among them, sorted, and -1 means unknown.

To add a data set: a function that reads it and a row in DATASETS. A folder <root>/<name>/{train,test}/<class>/* needs
neither.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cac_core.recipe import Recipe, known_name

HERE = Path(__file__).parent
MAX_PIXELS = 50_000_000  # a photograph of 50 megapixels; more is refused before it is decoded
MAX_BYTES = 20_000_000
PREVIEW = 320  # pixels a side, at most
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
UNKNOWN = -1
# what reading a damaged .npz can raise: numpy, zipfile and zlib have each their own
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Dataset:
    """What is fixed about a data set.

    read(root, name, row) gives {"train": (pixels, classes), "test": ...}, or {"all": ...} where there is no test part
    of its own; source(root, name) the files that it reads. grain is the side in pixels that the images had before
    they were brought to size; an image from elsewhere goes through both. ink: bright strokes on black, so a dark
    drawing on light paper is inverted. crop is the smallest area share of a random crop, turn the largest rotation in
    degrees.
    """

    read: Callable[[Path, str, "Dataset"], dict]
    source: Callable[[Path, str], list[Path]]
    classes: tuple[str, ...]
    size: int
    grain: int
    channels: int
    flip: bool
    crop: float
    turn: float
    ink: bool
    trials: str | None = None  # the data set in trials.json whose class lists apply


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

    pixels: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def only(self, index: np.ndarray) -> "Images":
        return Images(self.pixels[index], self.classes[index])


@dataclass(frozen=True)
class Prepared:
    """One image as the network sees it, [H, W, C] uint8, what was done to it on the way, in words, and the image
    itself, upright and small enough to be shown."""

    pixels: np.ndarray
    notes: tuple[str, ...]
    preview: Image.Image


# --- reading the data sets -------------------------------------------------------------------------------------------


def _read_digits(root: Path, name: str, row: Dataset) -> dict:
    # scikit-learn's own file, read without importing scikit-learn, which would take two seconds
    table = np.loadtxt(_digits_source(root, name)[0], delimiter=",")
    small = (table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)  # it counts from 0 to 16
    return {
        "all": (np.stack([_at_size(Image.fromarray(image), row) for image in small]), table[:, -1].astype(np.int64))
    }


def _digits_source(root: Path, name: str) -> list[Path]:
    import importlib.util

    package = Path(importlib.util.find_spec("sklearn").origin).parent
    return [package / "datasets" / "data" / "digits.csv.gz"]


def _read_mnist(root: Path, name: str, row: Dataset) -> dict:
    from torchvision import datasets

    parts = {}
    for part in ("train", "test"):
        try:
            raw = datasets.MNIST(str(root), train=part == "train", download=False)
            images, labels = raw.data.numpy(), raw.targets.numpy()
            if images.shape[1:] != (28, 28) or len(images) != len(labels) or not 0 <= labels.min() <= labels.max() <= 9:
                raise ValueError(f"{len(labels)} labels do not go with images {images.shape}")
        except (RuntimeError, AssertionError, ValueError, TypeError, IndexError, KeyError) as error:
            raise ValueError(
                f"The files in {root / 'MNIST' / 'raw'} are damaged ({error}). Delete them and get them again with:\n"
                f"    python -m cac_core fetch MNIST --data {root}"
            ) from error
        parts[part] = np.stack([_at_size(Image.fromarray(image), row) for image in images]), labels
    return parts


def _mnist_source(root: Path, name: str) -> list[Path]:
    raw = root / "MNIST" / "raw"
    files = [
        raw / f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    if missing := [file.name for file in files if not file.is_file()]:
        raise FileNotFoundError(
            f"MNIST is not under {root} ({', '.join(missing)} missing in {raw}). Get it with:\n"
            f"    python -m cac_core fetch MNIST --data {root}\n"
            f"or put the four *-ubyte files into {raw}."
        )
    return files


def _read_folder(root: Path, name: str, row: Dataset) -> dict:
    parts = {}
    for part, files in _folder_files(root, name).items():
        pixels, labels, broken = [], [], []
        for file, label in files:
            try:
                pixels.append(prepare(file, row).pixels)
                labels.append(label)
            except ValueError as error:
                broken.append(f"{file.relative_to(root / name)}: {error}")
        if broken:
            more = f"\n... and {len(broken) - 5} more" if len(broken) > 5 else ""
            raise ValueError(
                f"{len(broken)} of {len(files)} files in {root / name} cannot be read as images:\n"
                + "\n".join(broken[:5])
                + more
                + "\nMend or remove them, and start again."
            )
        parts[part] = np.stack(pixels), np.array(labels)
    return parts


def _folder_files(root: Path, name: str) -> dict[str, list[tuple[Path, int]]]:
    """Each part's files with their class numbers; the classes are those of the train part, in alphabetical order."""
    folder = root / name
    here = [part for part in ("train", "test") if (folder / part).is_dir()]
    if len(here) == 1:
        missing = "test" if here == ["train"] else "train"
        raise ValueError(
            f"{folder} has a folder {here[0]} but no folder {missing}. Add it, or put the class folders right into "
            f"{folder}; then a fifth of the images become test images."
        )
    split = len(here) == 2
    classes = _folder_classes(folder)
    parts = {}
    for part in ("train", "test") if split else ("all",):
        parts[part] = []
        for label, cls in enumerate(classes):
            here = (folder / part if split else folder) / cls
            files = sorted(f for f in here.glob("*") if f.suffix.lower() in ENDINGS) if here.is_dir() else []
            if not files:
                raise ValueError(
                    f"The class folder {here} holds no image ({', '.join(ENDINGS)}). Put some in, or remove the folder"
                    f"{' from train and test' if split else ''}."
                )
            parts[part] += [(file, label) for file in files]
    return parts


def _folder_classes(folder: Path) -> tuple[str, ...]:
    base = folder / "train" if (folder / "train").is_dir() and (folder / "test").is_dir() else folder
    return tuple(sorted(d.name for d in base.iterdir() if d.is_dir() and not d.name.startswith(".")))


def _folder_source(root: Path, name: str) -> list[Path]:
    files = [file for part in _folder_files(root, name).values() for file, _ in part]
    settings = root / name / SETTINGS
    return [*files, settings] if settings.is_file() else files


SETTINGS = "dataset.json"  # beside the class folders, if their owner wants another size, channels, flip, crop or turn
TEN = tuple("0123456789")
DIGITS = Dataset(_read_digits, _digits_source, TEN, 16, 8, 1, False, 0.7, 10.0, True, "MNIST")
MNIST = Dataset(_read_mnist, _mnist_source, TEN, 32, 28, 1, False, 0.7, 0.0, True, "MNIST")
FOLDER = Dataset(_read_folder, _folder_source, (), 32, 0, 3, True, 0.8, 10.0, False)
DATASETS = {"digits": DIGITS, "MNIST": MNIST}


def folder_row(root: Path, name: str) -> Dataset:
    """The row of an image folder: colour, 32 pixels, unless its dataset.json says otherwise."""
    folder = root / name
    row = dataclasses.replace(FOLDER, classes=_folder_classes(folder))
    if (folder / SETTINGS).is_file():
        try:
            said = json.loads((folder / SETTINGS).read_text("utf-8"))
            kinds = {"size": int, "channels": int, "flip": bool, "crop": float, "turn": float}
            if wrong := sorted(set(said) - set(kinds)):
                raise ValueError(f"it has no {', '.join(wrong)}; it takes {', '.join(kinds)}")
            if "flip" in said and not isinstance(said["flip"], bool):
                raise ValueError("flip is true or false")
            row = dataclasses.replace(row, **{key: kinds[key](value) for key, value in said.items()})
            right = row.channels in (1, 3) and 8 <= row.size <= 1024 and 0 < row.crop <= 1 and 0 <= row.turn <= 180
            if not right:
                raise ValueError(
                    "channels is 1 or 3, size 8 to 1024, crop above 0 and at most 1, turn 0 to 180 degrees"
                )
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{folder / SETTINGS}: {error}.") from error
    return dataclasses.replace(row, grain=row.size)


def row_of(name: str, root: Path, size: int = 0) -> Dataset:
    """The data set called name: a row of the table, or the image folder <root>/<name>; size in pixels overrides."""
    if name in DATASETS:
        row = DATASETS[name]
    elif name in folders(root):
        row = folder_row(root, name)
    else:
        own = ", ".join(folders(root)) or "none"
        raise ValueError(
            f"There is no data set {name!r}; there are: {', '.join(DATASETS)}; image folders under {root}: {own}. "
            f"A folder of your own is {root}/<name>/{{train,test}}/<class>/*.png."
        )
    return row if not size or size == row.size else dataclasses.replace(row, size=size, grain=min(row.grain, size))


def folders(root: Path) -> list[str]:
    """The image folders under the data root: those whose folders hold images at the depth of a class."""
    if not root.is_dir():
        return []
    found = []
    for folder in sorted(root.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in DATASETS:
            base = folder / "train" if (folder / "train").is_dir() else folder
            if any(f.suffix.lower() in ENDINGS for d in base.iterdir() if d.is_dir() for f in d.iterdir()):
                found.append(folder.name)
    return found


def root_of(given: str | Path | None = None) -> Path:
    """The data root: what was given, else ANCHORSCOPE_DATA, else data/."""
    return Path(given or os.environ.get("ANCHORSCOPE_DATA") or "data").expanduser()


def fetch(name: str, root: Path) -> None:
    """Download a data set into the data root; the error says what to do where there is no internet."""
    if name == "digits":
        return
    if name != "MNIST":
        row_of(name, root)
        return
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        datasets.MNIST(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"MNIST could not be downloaded ({error}). Without internet, put the four files train-images-idx3-ubyte, "
            f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte into {root / 'MNIST' / 'raw'}."
        ) from error


# --- the arrays, read once -------------------------------------------------------------------------------------------


def load(name: str, root: Path, size: int = 0) -> dict[str, Images]:
    """The train and test part of a data set. Decoded once; then it comes from <root>/.cache until its source changes.

    A data set without a test part of its own lends every fifth image of each class, in a fixed random order, as test
    images: the same ones for every seed and trial, so that runs can be compared.
    """
    row = row_of(name, root, size)
    parts = _cached(name, root, row)
    if "all" in parts:
        pixels, classes = parts["all"]
        test = _drawn(classes, 0.2, seed=0)
        parts = {"train": (pixels[~test], classes[~test]), "test": (pixels[test], classes[test])}
    return {part: Images(pixels, classes.astype(np.int64)) for part, (pixels, classes) in parts.items()}


def digest(parts: dict[str, Images]) -> str:
    """What the images and labels are, as 16 hexadecimal digits; a run remembers it."""
    h = hashlib.sha256()
    for part in sorted(parts):
        h.update(np.ascontiguousarray(parts[part].pixels))
        h.update(parts[part].classes.tobytes())
    return h.hexdigest()[:16]


def _cached(name: str, root: Path, row: Dataset) -> dict:
    state = [[str(f), f.stat().st_size, f.stat().st_mtime_ns] for f in row.source(root, name)]
    stamp = hashlib.sha256(json.dumps([state, row.size, row.channels, 1]).encode()).hexdigest()[:16]
    folder = root / ".cache"
    stem = f"{name}-{row.size}."
    file = folder / f"{stem}{stamp}.npz"
    try:
        with np.load(file) as stored:
            return {part: (stored[f"{part}_pixels"], stored[f"{part}_classes"]) for part in stored["parts"]}
    except DAMAGED:
        pass  # not there yet, or damaged: read the source again
    parts = row.read(root, name, row)
    arrays = {
        f"{p}_{kind}": a for p, pair in parts.items() for kind, a in zip(("pixels", "classes"), pair, strict=True)
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{stem}{stamp}.{os.getpid()}.npz"
        try:
            np.savez(fresh, parts=np.array(list(parts)), **arrays)
            os.replace(fresh, file)
        finally:
            fresh.unlink(missing_ok=True)
        for old in folder.glob(f"{stem}*.npz"):
            if old != file:
                old.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"The decoded images of {name} could not be kept in {folder} ({error}).", stacklevel=2)
    return parts


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
    known_name(recipe.family, [*families, "custom"], "family", "A split of your own: --trial FILE.json.")
    lists = families[recipe.family].get(row.trials or "")
    if lists is None:
        raise ValueError(
            f"No trials are published for {recipe.dataset}. Choose known and unknown classes in a file and give it as "
            f'--trial FILE.json: {{"Known": [...], "Unknown": [...]}}. The classes are {", ".join(row.classes)}.'
        )
    if recipe.trial not in [str(i) for i in range(len(lists))]:
        raise ValueError(
            f"{recipe.dataset} has trials 0 to {len(lists) - 1} in family {recipe.family}, not {recipe.trial!r}. "
            'A split of your own goes into a file {"Known": [...], "Unknown": [...]}: --trial FILE.json.'
        )
    chosen = lists[int(recipe.trial)]
    known, unknown = chosen["known"], chosen["unknown"]
    if unknown == "rest":
        unknown = sorted(set(range(len(row.classes))) - set(known))
    return Trial(recipe.dataset, recipe.family, recipe.trial, tuple(sorted(known)), tuple(sorted(unknown)))


def trial_from_file(file: Path, dataset: str, row: Dataset) -> Trial:
    """A user's own trial: {"Known": [...], "Unknown": [...]} with class numbers or names, as cac-openset writes it."""
    try:
        said = json.loads(Path(file).read_text("utf-8"))
        known, unknown = said["Known"], said.get("Unknown", [])
        if not isinstance(known, list) or not isinstance(unknown, list):
            raise TypeError("Known and Unknown are lists")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no trial file {file}.") from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f'{file} is not a trial: it must hold {{"Known": [...], "Unknown": [...]}}, with class numbers or names.'
        ) from error
    numbers = [tuple(sorted(_class_number(c, row, file) for c in part)) for part in (known, unknown)]
    return checked_trial(Trial(dataset, "custom", Path(file).stem, *numbers), row)


def _class_number(said, row: Dataset, file: Path) -> int:
    if isinstance(said, str) and said in row.classes:
        return row.classes.index(said)
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said < len(row.classes):
        return said
    names = ", ".join(f"{i} {name}" if name != str(i) else name for i, name in enumerate(row.classes))
    raise ValueError(f"{file}: there is no class {said!r}; there are: {names}.")


def checked_trial(trial: Trial, row: Dataset) -> Trial:
    """The trial itself if it makes sense for the data set; otherwise ValueError says what does not."""
    known, unknown = trial.known, trial.unknown
    if len(known) < 2:
        raise ValueError(f"A trial needs at least two known classes to tell apart; this one has {len(known)}.")
    if both := sorted(set(known) & set(unknown)):
        raise ValueError(f"A class is known or unknown, not both: {', '.join(row.classes[c] for c in both)}.")
    if len(set(known)) < len(known) or len(set(unknown)) < len(unknown):
        raise ValueError("A trial names each class once.")
    if wrong := [c for c in (*known, *unknown) if not 0 <= c < len(row.classes)]:
        raise ValueError(f"There is no class {wrong[0]}; {trial.dataset} has classes 0 to {len(row.classes) - 1}.")
    return trial


@dataclass(frozen=True)
class Part:
    """Images [N, H, W, C] of one part of a run, their network labels [N] (-1 unknown), their class numbers [N] and
    their places [N] in the data set's own train or test images."""

    pixels: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def parts_of(images: dict[str, Images], trial: Trial, seed: int) -> dict[str, Part]:
    """train, validation and test of a run. Unknown classes are in test alone; a fifth of the known training images of
    each class, drawn by the seed, is validation."""

    def part(source: Images, keep: np.ndarray) -> Part:
        index = np.flatnonzero(keep)
        classes = source.classes[index]
        return Part(source.pixels[index], trial.labels(classes), classes, index)

    train, test = images["train"], images["test"]
    known = np.isin(train.classes, trial.known)
    held_out = _drawn(train.classes, 0.2, seed)
    parts = {
        "train": part(train, known & ~held_out),
        "validation": part(train, known & held_out),
        "test": part(test, np.isin(test.classes, trial.known + trial.unknown)),
    }
    for name in ("train", "validation"):
        if missing := sorted(set(range(len(trial.known))) - set(parts[name].labels.tolist())):
            raise ValueError(
                f"{trial.dataset} has no {name} image of class {trial.known[missing[0]]}: a known class needs at least "
                "two training images, one to learn from and one to validate on."
            )
    return parts


def _drawn(classes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A mask [N] of share of each class's images, at least one of two or more, drawn by the seed."""
    mask = np.zeros(len(classes), bool)
    for cls in np.unique(classes):
        places = np.flatnonzero(classes == cls)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        mask[np.random.default_rng([seed, int(cls)]).permutation(places)[:count]] = True
    return mask


def statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of [N, H, W, C] uint8, on the scale 0 to 1, exactly."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(pixels.shape[-1]):
        share = np.bincount(pixels[..., channel].ravel(), minlength=256) / pixels[..., channel].size
        mean = float(share @ values)
        std = math.sqrt(float(share @ (values - mean) ** 2))
        means.append(mean)
        stds.append(std if std > 1e-6 else 1.0)  # one flat colour: nothing to scale
    return tuple(means), tuple(stds)


# --- one image -------------------------------------------------------------------------------------------------------


def prepare(source: Path | str | bytes, row: Dataset) -> Prepared:
    """An image file, or its bytes, to what the network sees, by the way the training images took.

    Raises ValueError that names the cause for what is no image, damaged, or too large.
    """
    image, notes = _decoded(source)
    preview = image.copy()
    preview.thumbnail((PREVIEW, PREVIEW))
    image = image.convert("RGB" if row.channels == 3 else "L")
    width, height = image.size
    if max(width, height) ** 2 > MAX_PIXELS and row.ink:
        raise ValueError(f"it has {width} × {height} pixels, too slim to be padded to a square")
    if row.ink:
        border = _border(image)
        if border > 127:
            image = ImageOps.invert(image)
            border = 255 - border
            notes.append("colours inverted: the network learned bright strokes on black")
        if width != height:
            side = max(width, height)
            square = Image.new("L", (side, side), border)
            square.paste(image, ((side - width) // 2, (side - height) // 2))
            image = square
            notes.append("padded to a square")
    elif width != height:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        notes.append("cut to the square in its middle")
    if image.size[0] != row.grain:
        notes.append(
            f"{width} × {height} pixels reduced to {row.grain} × {row.grain}"
            if min(width, height) > row.grain
            else f"{width} × {height} pixels enlarged to {row.grain} × {row.grain}"
        )
    return Prepared(_at_size(image, row), tuple(notes), preview)


def _at_size(image: Image.Image, row: Dataset) -> np.ndarray:
    """A square L or RGB image to [size, size, channels] uint8, through the grain of the data set."""
    for side in (row.grain, row.size):
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.array(image).reshape(row.size, row.size, row.channels)


def _border(image: Image.Image) -> int:
    pixels = np.asarray(image)
    return int(np.median(np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])))


Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# what Pillow raises at damaged files, found by damaging them at random
_DAMAGE = (OSError, SyntaxError, EOFError, MemoryError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def _decoded(source: Path | str | bytes) -> tuple[Image.Image, list[str]]:
    """8-bit L or RGB, upright and opaque, and what was done to make it so."""
    notes = []
    try:
        if not isinstance(source, bytes):
            if Path(source).stat().st_size > MAX_BYTES:
                raise ValueError(f"the file is larger than {MAX_BYTES // 1_000_000} MB")
            source = Path(source).read_bytes()
        if len(source) > MAX_BYTES:
            raise ValueError(f"the file is larger than {MAX_BYTES // 1_000_000} MB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(source), formats=("PNG", "JPEG", "WEBP", "BMP", "GIF"))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"it has {image.width} × {image.height} pixels, more than {MAX_PIXELS // 1_000_000} million"
            )
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notes.append(f"the first of {image.n_frames} frames")
        image.load()
    except FileNotFoundError as error:
        raise ValueError(f"there is no such file: {source}") from error
    except UnidentifiedImageError as error:
        raise ValueError("this is not an image that can be read; PNG, JPEG, WebP, BMP and GIF can") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has more than {MAX_PIXELS // 1_000_000} million pixels") from error
    except _DAMAGE as error:
        raise ValueError(f"the image is damaged or cut short ({error})") from error
    with contextlib.suppress(*_DAMAGE):  # a damaged camera note does not cost the picture
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            image = ImageOps.exif_transpose(image)
            notes.append("turned upright, as its camera noted")
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        notes.append("16 bits reduced to 8")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        notes.append("transparent parts shown on white")
    if image.mode == "CMYK":
        notes.append("print colours (CMYK) brought to RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB"), notes
