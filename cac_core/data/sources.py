"""Where the images of each data set are and how they are read: files in, uint8 arrays out.

Each data set has two functions. X_source(root, name) lists the files that it reads, or raises FileNotFoundError that
says how to get them. read_X(root, name, row) gives {"train": (pixels, classes), "test": ...}, or {"all": ...} where
there is no test part of its own: pixels [N, size, size, channels] uint8 and class numbers [N]. Where the images are
files of any size (made == 0), row may be another data set's: they are then read as its network sees them.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cac_core import files, shell
from cac_core.data import decoded
from cac_core.data.images import ENDINGS, FOREIGN, Format, at_size, way_out
from cac_core.sentences import Sentence, say, together

SETTINGS = "dataset.json"  # beside the class folders, if their owner wants another size, channels, flip, crop or turn,
# or classes that are never learnt
# what the folders around the class folders may be called, in small letters or capitals
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
         "validation": "val"}  # fmt: skip
Parts = dict[str, tuple[np.ndarray | decoded.Rows, np.ndarray]]


def counted_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as they are: ink counts [1797, 8, 8] from 0 to 16, and class numbers [1797]."""
    # its own file, read without importing scikit-learn, which would take two seconds
    table = np.loadtxt(digits_source(Path(), "digits")[0], delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)


def read_digits(root: Path, name: str, row: Format) -> Parts:
    counts, classes = counted_digits()
    small = (counts * (255 / 16)).round().astype(np.uint8)
    return {"all": (np.stack([at_size(Image.fromarray(image), row) for image in small]), classes)}


def digits_source(root: Path, name: str) -> list[Path]:
    import importlib.util

    package = Path(importlib.util.find_spec("sklearn").origin).parent
    return [package / "datasets" / "data" / "digits.csv.gz"]


def mnist_source(root: Path, name: str) -> list[Path]:
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    return _all_here("MNIST", root, [root / "MNIST" / "raw" / f"{p}-{k}" for p in ("train", "t10k") for k in kinds])


def read_mnist(root: Path, name: str, row: Format) -> Parts:
    from torchvision import datasets

    parts = {}
    for part in ("train", "test"):
        with _named_where_damaged("MNIST", root / "MNIST" / "raw", root):
            raw = datasets.MNIST(str(root), train=part == "train")
            images, classes = _checked(raw.data.numpy(), raw.targets.numpy(), 10)
            parts[part] = np.stack([at_size(Image.fromarray(image), row) for image in images]), classes
    return parts


def read_folder(root: Path, name: str, row: Format, tell: decoded.Tell | None = None) -> Parts:
    """The images of an image folder, on disk once they are decoded; tell hears how far that is, see `decoded.kept`."""
    parts = folder_files(root, name)
    with _told(root / name, tell, lambda: passed_over(root / name)) as tell:
        pixels = decoded.kept([file for some in parts.values() for file, _ in some], root / name, row, tell)
    found, start = {}, 0
    for part, some in parts.items():
        places = np.arange(start, start + len(some))
        found[part], start = (decoded.taken(pixels, places), _labels(some)), start + len(some)
    return found


def ahead(root: Path, name: str, row: Format) -> decoded.Ahead | None:
    """What decoding an image folder takes before anything else can begin; None where nothing is left to do."""
    every = [file for some in folder_files(root, name).values() for file, _ in some]
    found = decoded.ahead(every, root / name, row)
    return found if found.images else None


@contextlib.contextmanager
def _told(
    folder: Path, tell: decoded.Tell | None = None, passed: Callable[[], list[Sentence]] = list
) -> Iterator[decoded.Tell]:
    """A listener that warns first of what is passed over, and draws a bar on a terminal where nobody else listens."""
    from tqdm import tqdm

    bar = None

    def told(done: int, of: int, rate: float) -> None:
        nonlocal bar
        if bar is None:
            if said := passed():
                warnings.warn(f"{folder}: {together(said)}", stacklevel=2)
            bar = tqdm(total=of, desc=f"reading {folder.name}", unit="image", disable=True if tell else None)
        bar.update(done - bar.n)
        if tell:
            tell(done, of, rate)

    try:
        yield told
    finally:
        if bar is not None:
            bar.close()


def _decoded(found: list[tuple[Path, int]], folder: Path, row: Format) -> tuple[np.ndarray, np.ndarray]:
    """Image files with their class numbers, read into memory; the error names those that cannot be."""
    with _told(folder) as tell:
        return decoded.decode([file for file, _ in found], folder, row, tell), _labels(found)


def _labels(found: list[tuple[Path, int]]) -> np.ndarray:
    return np.array([label for _, label in found])


def folder_files(root: Path, name: str) -> dict[str, list[tuple[Path, int]]]:
    """Each part's files with their class numbers; the classes are those of the train part, in alphabetical order."""
    folder = root / name
    classes = folder_classes(folder)
    return {part: _class_files(folders, classes) for part, folders in (_parts_of(folder) or {"all": [folder]}).items()}


def parts_in(names: Iterable[str]) -> dict[str, str]:
    """Which of these folders are parts of a data set, by their names: name -> "train", "test", or "" if it is left out.

    Validation images are test images where there are no others. Where there are, they are left out, since a run takes
    its own validation images from the training images.
    """
    parts = {name: PARTS[name.lower()] for name in names if name.lower() in PARTS}
    val = "" if {"train", "test"} <= set(parts.values()) else "test"
    return {name: val if part == "val" else part for name, part in parts.items()}


def _parts_of(folder: Path) -> dict[str, list[Path]]:
    """train and test, with the folders of each; one alone, or none, where there are no more.

    A part holds folders and no images: a class may be called train, too.
    """
    named = (name for name in files.listed(folder).folders if name.lower() in PARTS)
    holding = {name: files.listed(folder / name) for name in named}
    apart = parts_in(name for name, it in holding.items() if it.folders and not any(map(_is_image, it.files)))
    parts = {part: [folder / name for name, of in apart.items() if of == part] for part in ("train", "test")}
    return {part: folders for part, folders in parts.items() if folders}


def parted(folder: Path) -> bool:
    """Whether an image folder has a train and a test part of its own."""
    return len(_parts_of(folder)) == 2


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _class_files(folders: list[Path], classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The image files of each class in these folders of class folders, with the class's number."""
    found = []
    for label, cls in enumerate(classes):
        lying = [folder / cls / name for folder in folders for name in files.listed(folder / cls).files]
        images = [(file, label) for file in lying if _is_image(file.name)]
        if not images:
            others = [kind for file in lying if (kind := FOREIGN.get(file.suffix.lower()))]
            if others:
                raise ValueError(say(
                    "The class folder {folder} holds no image ({endings}) but {count} of another kind: {way}.",
                    folder=folders[0] / cls, endings=ENDINGS, count=len(others), way=way_out(others[0]),
                ))  # fmt: skip
            raise ValueError(say(
                "The class folder {folder} holds no image ({endings}). Put some in, or remove the class everywhere.",
                folder=folders[0] / cls, endings=ENDINGS,
            ))  # fmt: skip
        found += images
    return found


def folder_classes(folder: Path) -> tuple[str, ...]:
    """The classes of an image folder, in alphabetical order: those that can be read in each of its parts."""
    parts = _parts_of(folder)
    if len(parts) == 1:
        missing = "test" if "train" in parts else "train"
        raise ValueError(say(
            "{folder} has a folder {part} but no folder {missing}. Add it, or put the class folders right into "
            "{folder}; then a fifth of the images become test images.",
            folder=folder, part=next(iter(parts.values()))[0].name, missing=missing,
        ))  # fmt: skip
    if not parts:
        return files.listed(folder).folders
    train, test = ([files.listed(one) for one in parts[part]] for part in ("train", "test"))
    return tuple(sorted({cls for one in train for cls in one.folders} - {cls for one in test for cls in one.closed}))


def folder_source(root: Path, name: str) -> list[Path]:
    found = [file for part in folder_files(root, name).values() for file, _ in part]
    settings = root / name / SETTINGS
    return [*found, settings] if files.is_file(settings) else found


def holds_images(folder: Path) -> bool:
    """Whether there are images where an image folder has them, of kinds that are read or are not."""
    parts, wanted = _parts_of(folder), (*ENDINGS, *FOREIGN)
    for base in parts.get("train", parts.get("test", [folder])):
        for cls in files.listed(base).folders:
            with contextlib.suppress(OSError), os.scandir(base / cls) as entries:  # which may be many: to the first
                if any(one.name.lower().endswith(wanted) and not files.hidden(one.name) for one in entries):
                    return True
    return False


def passed_over(folder: Path) -> list[Sentence]:
    """What lies in an image folder and is not read, counted, in sentences; empty where nothing does."""
    parts = _parts_of(folder)
    bases = [base for some in parts.values() for base in some] if len(parts) == 2 else [folder]
    places = {folder, *bases, *(base / cls for base in bases for cls in files.listed(base).folders)}
    within = {place: files.listed(place) for place in sorted(places)}

    def called(kind: str, places: Iterable[Path]) -> list[str]:
        return [str((place / name).relative_to(folder)) for place in places for name in getattr(within[place], kind)]

    classes = [place for place in within if place.parent in bases]
    hidden, closed, odd = (called(kind, within) for kind in ("hidden", "closed", "odd"))
    deeper, every = called("folders", classes), [name for name in called("files", classes) if not _is_image(name)]
    foreign = [name for name in every if Path(name).suffix.lower() in FOREIGN]
    others = [name for name in every if name not in set(foreign)]
    said = []
    if len(parts) == 2:
        left = [name for name, part in parts_in(within[folder].folders).items() if not part]
        said += [say("{name} is left out: validation images are taken from the training images.", name=name)
                 for name in left]  # fmt: skip
    if closed:
        said.append(say("{count} folders cannot be read and are passed over: {names}.", **_counted(closed)))
    if odd:
        said.append(say(
            "{count} are neither folders nor files, or have no name that is text, and are passed over: {names}.",
            **_counted(odd),
        ))  # fmt: skip
    if foreign:
        way = way_out(FOREIGN[Path(foreign[0]).suffix.lower()])
        said.append(say("{count} images are passed over ({names}): {way}.", **_counted(foreign), way=way))
    if others:
        said.append(say("{count} files are no images by their endings: {names}.", **_counted(others)))
    if deeper:
        said.append(say("{count} folders within class folders are passed over: {names}.", **_counted(deeper)))
    if hidden:
        said.append(say("{count} files or folders are such as systems leave behind: {names}.", **_counted(hidden)))
    return said


def _counted(names: list[str]) -> dict[str, object]:
    return {"count": len(names), "names": [*names[:3], *["..."] * (len(names) > 3)]}


# --- data sets that torchvision reads --------------------------------------------------------------------------------


def svhn_source(root: Path, name: str) -> list[Path]:
    return _all_here("SVHN", root, [root / "SVHN" / f"{part}_32x32.mat" for part in ("train", "test")])


def read_svhn(root: Path, name: str, row: Format) -> Parts:
    from torchvision import datasets

    parts = {}
    for part in ("train", "test"):
        with _named_where_damaged("SVHN", root / "SVHN", root):
            raw = datasets.SVHN(str(root / "SVHN"), split=part)
            parts[part] = _checked(raw.data.transpose(0, 2, 3, 1), raw.labels, 10)
    return parts


FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""
DESCRIBED = """
banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched crystalline dotted fibrous flecked freckled
frilly gauzy grid grooved honeycombed interlaced knitted lacelike lined marbled matted meshed paisley perforated pitted
pleated polka-dotted porous potholed scaly smeared spiralled sprinkled stained stratified striped studded swirly veined
waffled woven wrinkled zigzagged
"""
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = tuple(FINE.split())  # its fine classes, in the order of their numbers
TEXTURES = tuple(DESCRIBED.split())


def cifar10_source(root: Path, name: str) -> list[Path]:
    """torchvision's files, or an image folder named cifar10."""
    official = root / "cifar-10-batches-py"
    if not files.is_folder(official) and files.is_folder(root / "cifar10"):
        return folder_source(root, "cifar10")
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]
    return _all_here("CIFAR10", root, [official / name for name in names], root / "cifar10")


def read_cifar10(root: Path, name: str, row: Format) -> Parts:
    if files.is_folder(root / "cifar-10-batches-py"):
        from torchvision import datasets

        with _named_where_damaged("CIFAR10", root / "cifar-10-batches-py", root):
            raw = {part: datasets.CIFAR10(str(root), train=part == "train") for part in ("train", "test")}
            return {part: _checked(r.data, np.array(r.targets), 10) for part, r in raw.items()}
    if (found := folder_classes(root / "cifar10")) != CIFAR10:
        raise ValueError(say(
            "{folder} must hold the ten class folders {classes} in train and in test; it has {found}.",
            folder=root / "cifar10", classes=CIFAR10, found=found or say("none"),
        ))  # fmt: skip
    return {part: _decoded(found, root / "cifar10", row) for part, found in folder_files(root, "cifar10").items()}


def cifar100_source(root: Path, name: str) -> list[Path]:
    """The test images: torchvision's files, or the image folder cifar100/test."""
    official, folder = root / "cifar-100-python", root / "cifar100" / "test"
    if not files.is_folder(official) and files.is_folder(folder):
        return [file for file, _ in _class_files([folder], folder_classes(folder))]
    return _all_here("CIFAR100", root, [official / f for f in ("test", "meta")], folder)


def read_cifar100(root: Path, name: str, row: Format) -> Parts:
    if files.is_folder(root / "cifar-100-python"):
        from torchvision import datasets

        with _named_where_damaged("CIFAR100", root / "cifar-100-python", root):
            raw = datasets.CIFAR100(str(root), train=False)
            return {"test": _checked(raw.data, np.array(raw.targets), 100)}
    folder = root / "cifar100" / "test"
    if (count := len(folder_classes(folder))) != 100:
        raise ValueError(
            say("{folder} must hold the 100 class folders of CIFAR-100; it has {count}.", folder=folder, count=count)
        )
    return {"test": _decoded(_class_files([folder], CIFAR100), root / "cifar100", row)}


def textures_source(root: Path, name: str) -> list[Path]:
    """The image files of DTD, as its archive or torchvision lays them out."""
    folder = _textures_folder(root)
    return [file for file, _ in _class_files([folder], folder_classes(folder))]


def read_textures(root: Path, name: str, row: Format) -> Parts:
    """All 5640 images as test images: DTD serves as unknowns, as in the comparisons that use it."""
    folder = _textures_folder(root)
    if (found := folder_classes(folder)) != TEXTURES:
        raise ValueError(say(
            "{folder} must hold the 47 class folders {first} to {last}; it has {count}.",
            folder=folder, first=TEXTURES[0], last=TEXTURES[-1], count=len(found),
        ))  # fmt: skip
    return {"test": _decoded(_class_files([folder], TEXTURES), folder, row)}


def _textures_folder(root: Path) -> Path:
    folders = [root / "dtd" / "dtd" / "images", root / "dtd" / "images"]
    here = [folder for folder in folders if files.is_folder(folder)]
    return here[0] if here else _all_here("Textures", root, folders[:1])[0]


def cifar_plus_source(root: Path, name: str) -> list[Path]:
    return cifar10_source(root, name) + cifar100_source(root, name)


def read_cifar_plus(root: Path, name: str, row: Format) -> Parts:
    """CIFAR-10, and behind its test images those of CIFAR-100, whose classes count from 10 on."""
    parts, more = read_cifar10(root, name, row), read_cifar100(root, name, row)["test"]
    pixels, classes = parts["test"]
    return parts | {"test": (np.concatenate([pixels, more[0]]), np.concatenate([classes, more[1] + 10]))}


def tinyimagenet_source(root: Path, name: str) -> list[Path]:
    folder = root / "tiny-imagenet-200"
    lists = _all_here(
        "TinyImageNet", root, [folder / "wnids.txt", folder / "words.txt", folder / "val" / "val_annotations.txt"]
    )
    return [
        *lists,
        *_photographs(folder / "train", "*/images/*.JPEG"),
        *_photographs(folder / "val/images", "*.JPEG"),
    ]


def _photographs(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if not files.hidden(file.name))


def tinyimagenet_classes(root: Path) -> tuple[str, ...]:
    """The names of the 200 classes in the order of their WordNet numbers, which is that of their class numbers."""
    folder = root / "tiny-imagenet-200"
    _all_here("TinyImageNet", root, [folder / "wnids.txt", folder / "words.txt"])
    words = dict(line.split("\t", 1) for line in (folder / "words.txt").read_text("utf-8").splitlines() if "\t" in line)
    numbers = _wnids(folder)
    names = [words.get(number, number).split(",")[0].strip() for number in numbers]
    return tuple(n if names.count(n) == 1 else f"{n} ({number})" for n, number in zip(names, numbers, strict=True))


def read_tinyimagenet(root: Path, name: str, row: Format) -> Parts:
    """Its val images are the test images; a training class that is not here has no training images."""
    folder = root / "tiny-imagenet-200"
    numbers = {wnid: i for i, wnid in enumerate(_wnids(folder))}
    train = [(f, numbers[f.parent.parent.name]) for f in _photographs(folder / "train", "*/images/*.JPEG")
             if f.parent.parent.name in numbers]  # fmt: skip
    test = []
    for number, line in enumerate((folder / "val" / "val_annotations.txt").read_text("utf-8").splitlines(), 1):
        file, *rest = line.split("\t")
        if not rest or rest[0] not in numbers:
            raise ValueError(say(
                "{file}, line {number}: {text!r} names no class of wnids.txt.",
                file=folder / "val" / "val_annotations.txt", number=number, text=line[:60],
            ))  # fmt: skip
        test.append((folder / "val" / "images" / file, numbers[rest[0]]))
    if not train or not test:
        if test:
            raise ValueError(say("{folder} holds no training images.", folder=folder))
        raise ValueError(say("{folder} holds no validation images.", folder=folder))
    return {"train": _decoded(train, folder, row), "test": _decoded(test, folder, row)}


def _wnids(folder: Path) -> list[str]:
    wnids = sorted((folder / "wnids.txt").read_text("utf-8").split())
    if len(wnids) != 200:
        raise ValueError(
            say("{file} must name 200 classes; it names {count}.", file=folder / "wnids.txt", count=len(wnids))
        )
    return wnids


# --- getting them ----------------------------------------------------------------------------------------------------

# where they come from, and under what licence
ABOUT = {
    "digits": ("UCI's optical recognition of handwritten digits, test part, as in scikit-learn", "CC BY 4.0"),
    "MNIST": ("LeCun, Cortes and Burges, 1998", "CC BY-SA 3.0"),
    "SVHN": ("Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers", "for non-commercial use only"),
    "CIFAR10": ("Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html", "none stated"),
    "CIFAR+10": ("knowns of CIFAR-10, ten unknown classes of CIFAR-100", "none stated"),
    "CIFAR+50": ("knowns of CIFAR-10, fifty unknown classes of CIFAR-100", "none stated"),
    "TinyImageNet": ("Stanford CS231n, http://cs231n.stanford.edu", "ImageNet's: for non-commercial research"),
    "CIFAR100": ("Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html; serves as unknowns", "none stated"),
    "Textures": (
        "DTD, Cimpoi et al., 2014, https://www.robots.ox.ac.uk/~vgg/data/dtd; serves as unknowns",
        "for research only",
    ),
}
# what to put where by hand, where there is no internet
BY_HAND = {
    "MNIST": say(
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte into "
        "{root}/MNIST/raw"
    ),
    "SVHN": say("train_32x32.mat and test_32x32.mat from http://ufldl.stanford.edu/housenumbers into {root}/SVHN"),
    "CIFAR10": say("cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpacked, into {root}"),
    "CIFAR100": say("cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpacked, into {root}"),
    "TinyImageNet": say("http://cs231n.stanford.edu/tiny-imagenet-200.zip, unpacked, into {root}"),
    "Textures": say("dtd-r1.0.1.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/dtd, unpacked, into {root}"),
}


def download(name: str, root: Path) -> None:
    """One of BY_HAND into the data root, with a progress bar and its checksum tested; torchvision does the work. Raises
    FileNotFoundError where it cannot be had."""
    from torchvision import datasets
    from torchvision.datasets.utils import download_and_extract_archive

    try:
        root.mkdir(parents=True, exist_ok=True)
        if name == "MNIST":
            datasets.MNIST(str(root), download=True)
        elif name == "SVHN":
            for part in ("train", "test"):
                datasets.SVHN(str(root / "SVHN"), split=part, download=True)
        elif name == "CIFAR10":
            datasets.CIFAR10(str(root), download=True)
        elif name == "CIFAR100":
            datasets.CIFAR100(str(root), train=False, download=True)
        elif name == "Textures":
            datasets.DTD(str(root), download=True)
        elif name == "TinyImageNet":
            url, md5 = "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"
            download_and_extract_archive(url, str(root), md5=md5)
        else:
            raise KeyError(name)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(say(
            "{name} could not be downloaded ({error}). Without internet, put {files}.",
            name=name, error=error, files=say(BY_HAND[name], root=root),
        )) from error  # fmt: skip


def _all_here(name: str, root: Path, wanted: list[Path], instead: Path | None = None) -> list[Path]:
    if missing := [file for file in wanted if not files.is_file(file)]:
        lacking = say("{file} is missing", file=missing[0])
        shut = [folder for folder in missing[0].parents if files.is_folder(folder) and not files.opens(folder)]
        if shut:
            lacking = say("the folder {folder} cannot be read", folder=shut[0])
        elif instead:
            lacking = say("{file} is missing, or an image folder {folder} too", file=missing[0], folder=instead)
        raise FileNotFoundError(say(
            "{name} is not under {root} ({lacking}). Get it with:\n"
            "    {command}\n"
            "or put {files}.",
            name=name, root=root, lacking=lacking, files=say(BY_HAND[name], root=root),
            command=shell.command("fetch", name, "--data", root),
        ))  # fmt: skip
    return wanted


@contextlib.contextmanager
def _named_where_damaged(name: str, folder: Path, root: Path) -> Iterator[None]:
    """What a damaged file makes a reader raise becomes an error that says which data set, and how to mend it."""
    try:
        yield
    except Exception as error:  # each format has its own
        raise ValueError(say(
            "The files in {folder} are damaged ({error}). Delete them and get them again:\n"
            "    {command}",
            folder=folder, error=str(error) or type(error).__name__,
            command=shell.command("fetch", name, "--data", root),
        )) from error  # fmt: skip


def _checked(pixels: np.ndarray, classes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    if len(pixels) != len(classes) or not len(classes) or classes.min() < 0 or classes.max() >= count:
        raise ValueError(say(
            "{labels} labels below {count} do not go with images {shape}",
            labels=len(classes), count=count, shape=str(pixels.shape),
        ))  # fmt: skip
    return np.ascontiguousarray(pixels), classes
