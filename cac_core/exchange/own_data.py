"""A user's own images and trials: everything is checked before anything is written. Pillow and the standard library.

An upload is a zip of class folders, or images picked class by class. It is read twice, image by image and never whole:
once to be checked, once to be written as an image folder <root>/<name>/[train|test/]<class>/<number>.<ending>. No name
of a file in it becomes a path; only the names of classes do, and those are narrow. A trial of one's own is kept as
<root>/trials/<name>.json.
"""

import hashlib
import io
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from cac_core import files, records, runs
from cac_core.data import datasets, images, sources
from cac_core.data.datasets import Dataset, Trial
from cac_core.exchange import names
from cac_core.recipe import slug
from cac_core.records import Unfit
from cac_core.sentences import say, together

FILES = 20_000
BYTES = 500_000_000  # of all images, unpacked
DIRECTORY = 400 * FILES  # bytes of a zip's list of files: names of ordinary length
CLASSES = 1000
SHOWN = 8  # images kept of each class to be looked at
TRIALS = "trials"  # the folder below the data root
ENDING = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp", "BMP": ".bmp"}  # by what Pillow says it is
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
TAKEN = {
    name.lower()
    for name in (*datasets.DATASETS, *datasets.OWN_FOLDERS, TRIALS, "cifar-10-batches-py", "cifar-100-python")
}


@dataclass(frozen=True)
class Upload:
    """What somebody brings: the names of its files, a "/" after those of folders, and the content of each, by place.

    encodings are those in which the names of a zip may be written that does not say so, of names.ENCODINGS, the
    likeliest first; encoding is the one that they were read by, "" where there is nothing to choose.
    """

    names: tuple[str, ...]
    read: Callable[[int], bytes]
    encoding: str = ""
    encodings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """An image that can be read: its place and name in the upload, where it goes, and the digest of its file.

    part is "train" or "test", or "" where the upload has no such parts.
    """

    place: int
    name: str
    part: str
    cls: str
    ending: str
    width: int
    height: int
    size: int
    digest: str


@dataclass(frozen=True)
class Checked:
    """An upload that was looked through: what can be read, what cannot and why, and some pixels [n, S, S, 3] a class.

    empty names the classes without an image that can be taken; ignored counts what no one would miss (hidden files).
    """

    pictures: tuple[Picture, ...]
    refused: tuple[tuple[str, str], ...]
    empty: tuple[str, ...]
    ignored: int
    shown: dict[str, np.ndarray]

    @property
    def classes(self) -> list[str]:
        return sorted({picture.cls for picture in self.pictures})

    @property
    def named(self) -> list[str]:
        """The classes, also those without an image that can be taken."""
        return sorted({*self.classes, *self.empty})

    def counts(self) -> dict[str, dict[str, int]]:
        """part -> class -> how many."""
        parts = sorted({picture.part for picture in self.pictures}, reverse=True)
        table = {part: dict.fromkeys(self.classes, 0) for part in parts}
        for picture in self.pictures:
            table[picture.part][picture.cls] += 1
        return table


# --- what is brought -------------------------------------------------------------------------------------------------


def zipped(file: BinaryIO, encoding: str = "") -> Upload:
    """A zip of class folders; encoding: of its names, where it does not say, instead of the likeliest.

    Raises ValueError where it is no zip, or one that nobody should unpack.
    """
    try:
        names.check_directory(file, DIRECTORY)
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ValueError(say("This zip cannot be read: {error}.", error=error)) from error
    entries = archive.infolist()
    if (count := sum(not entry.is_dir() for entry in entries)) > FILES:
        raise ValueError(
            say("It holds {count} files; {most} at most. Put a part of them into another zip.", count=count, most=FILES)
        )
    raw = [names.raw_name(entry) for entry in entries]
    encodings = names.fitting(name for name in raw if name) if any(raw) else []
    if encoding and encodings and encoding not in encodings:
        raise ValueError(say(
            "Its names cannot be read as {encoding}; they may be {others}.",
            encoding=encoding, others=encodings or say("none"),
        ))  # fmt: skip
    chosen = (encoding or encodings[0]) if encodings else ""
    said = [name.decode(chosen) if name else names.said_apart(entry) or entry.orig_filename
            for name, entry in zip(raw, entries, strict=True)]  # fmt: skip

    def read(place: int) -> bytes:
        try:
            with archive.open(entries[place]) as content:
                return content.read(images.MAX_BYTES + 1)  # whatever size it claims to have
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
            raise ValueError(say("it cannot be unpacked ({error})", error=error)) from error

    every = tuple(_safe(entry, name) for entry, name in zip(entries, said, strict=True))
    return Upload(every, read, chosen, tuple(encodings))


def picked(classes: dict[str, list[tuple[str, bytes]]]) -> Upload:
    """Images chosen class by class: class -> (file name, content)."""
    every = [(class_name(cls), name, content) for cls, files in classes.items() for name, content in files]
    if len(every) > FILES:
        raise ValueError(say("These are {count} files; {most} at most.", count=len(every), most=FILES))
    flat = (f"{cls}/{name.replace(chr(92), '/').split('/')[-1]}" for cls, name, _ in every)
    return Upload(tuple(flat), lambda place: every[place][2])


def of_one_class(cls: str, brought: list[tuple[str, bytes]]) -> Upload:
    """Images for one class, (file name, content) of each; what lies in a zip comes out of it.

    Raises ValueError where a zip has images in several folders: these are classes of their own.
    """
    cls, every = class_name(cls), []
    for name, content in brought:
        if not name.lower().endswith(".zip"):
            every.append((name, lambda _, content=content: content, 0))
            continue
        archive = zipped(io.BytesIO(content))
        inside = [(n, one.split("/")) for n, one in enumerate(archive.names) if not one.endswith("/")]
        inside = [(n, parts) for n, parts in inside if not _hidden(parts)]
        folders = sorted({"/".join(parts[:-1]) for _, parts in inside if parts[-1].lower().endswith(images.ENDINGS)})
        if len(folders) > 1:
            raise ValueError(say(
                "{file} has images in several folders ({names}), and what is added is of one class. Bring them one "
                "after the other.",
                file=name, names=[folder or "." for folder in folders[:5]],
            ))  # fmt: skip
        every += [(parts[-1], archive.read, n) for n, parts in inside]
    if len(every) > FILES:
        raise ValueError(say("These are {count} files; {most} at most.", count=len(every), most=FILES))
    flat = (f"{cls}/{name.replace(chr(92), '/').split('/')[-1]}" for name, *_ in every)
    return Upload(tuple(flat), lambda place: every[place][1](every[place][2]))


def lying(folder: Path, below: Iterable[Path] | None = None) -> Upload:
    """Class folders on this machine; below: the folders that it must lie in, None for anywhere. Links are passed over.

    Raises ValueError where there is no such folder, or it may not be read.
    """
    place = Path(os.path.realpath(os.path.expanduser(folder)))
    if below is not None and not any(place.is_relative_to(os.path.realpath(one)) for one in below):
        where = [str(one) for one in below] or say("none")
        raise ValueError(say("Here folders are taken only from: {folders}.", folders=where))
    if not place.is_dir():
        raise ValueError(say("There is no folder {folder}.", folder=folder))
    found: list[str] = []
    for base, folders, here in os.walk(place):
        folders[:] = sorted(name for name in folders if not os.path.islink(os.path.join(base, name)))
        inside = Path(base).relative_to(place).as_posix()
        paths = (os.path.join(base, name) for name in sorted(here))
        said = [f"{inside}/{os.path.basename(path)}" for path in paths if not os.path.islink(path)]
        found += [name.removeprefix("./") for name in said] or ([f"{inside}/"] if inside != "." else [])
        if len(found) > FILES:
            raise ValueError(say("{folder} holds more than {most} files.", folder=folder, most=FILES))
    return Upload(tuple(found), lambda n: files.content(place / found[n], images.MAX_BYTES))


def _safe(entry: zipfile.ZipInfo, said: str) -> str:
    """The name of an entry, with "/" between its parts; ValueError where it is no ordinary file of an ordinary zip."""
    name = said.replace("\\", "/")
    parts = name.rstrip("/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in name or name.startswith("/") or ".." in parts or (len(parts[0]) > 1 and parts[0][1] == ":"):
        raise ValueError(
            say("{name!r} would lead out of the folder it is unpacked to. Such a zip is not taken.", name=said)
        )
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(say("{name!r} is a link or a device, not a file. Such a zip is not taken.", name=said))
    if entry.flag_bits & 1:
        raise ValueError(say("This zip has a password. Make one without."))
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(say("This zip is packed in an unusual way. Make an ordinary one (deflate)."))
    if name.lower().endswith(ARCHIVES) and not _hidden(parts):
        raise ValueError(say("{name!r} is an archive within the archive. Unpack it first.", name=said))
    return "/".join(part for part in parts if part not in ("", ".")) + "/" * entry.is_dir()


def _hidden(parts: list[str]) -> bool:
    return any(map(files.hidden, parts))


def class_name(said: str) -> str:
    """The name of a class as a folder may bear it, on any system. Raises ValueError that says what is wrong with it."""
    name = unicodedata.normalize("NFC", said).strip()
    printable = all(c.isprintable() or c == "\u200d" for c in name)  # it joins emoji
    if not name or len(name) > 60 or len(name.encode("utf-8", "replace")) > 200 or not printable:
        raise ValueError(say("A class is named by 1 to 60 characters that can be seen, not {name!r}.", name=said[:80]))
    if any(c in '<>:"/\\|?*' for c in name) or name.startswith(".") or name.endswith("."):
        raise ValueError(say(
            'A class name has none of < > : " / \\ | ? * and no full stop at its ends; {name!r} has.',
            name=said[:80],
        ))  # fmt: skip
    if name.split(".")[0].lower() in DEVICES:
        raise ValueError(say("{name!r} is a name that Windows keeps for itself. Name the class otherwise.", name=name))
    return name


def data_set_name(said: str) -> str:
    """The name itself, if an image folder below the data root may bear it."""
    if said != slug(said) or not 1 <= len(said) <= 40:
        near = slug(said)[:40].strip("-")
        raise ValueError(say(
            "A name is of 1 to 40 small letters, digits and dashes, such as {near!r}, not {name!r}.",
            near=near, name=said[:80],
        ))  # fmt: skip
    if said in TAKEN:
        raise ValueError(say("{name!r} belongs to a data set that is known by this name. Choose another.", name=said))
    return said


# --- looking it through ----------------------------------------------------------------------------------------------


def check(upload: Upload, *, progress: Callable[[int, int], None] = lambda done, of: None) -> Checked:
    """Look at every image once. Raises ValueError where the whole cannot be taken."""
    places, refused, named, ignored = _laid_out(upload.names)
    pictures, shown, read = [], {}, 0
    for done, (place, (part, cls)) in enumerate(places.items()):
        progress(done, len(places))
        name = upload.names[place]
        try:
            content = upload.read(place)
            read += len(content)
            if read > BYTES:
                raise OverflowError
            pixels = images.prepare(content, datasets.FOLDER).pixels
            with Image.open(io.BytesIO(content)) as image:
                kind, (width, height) = image.format, image.size
            if kind not in ENDING:
                raise ValueError(say("{kind} images are not read from folders; save it as PNG or JPEG", kind=kind))
        except OverflowError as error:
            raise ValueError(say(
                "Unpacked, the images have more than {most} MB. Make them smaller, or leave some out; or put them "
                "into the data folder yourself.",
                most=BYTES // 1_000_000,
            )) from error  # fmt: skip
        except ValueError as error:
            refused.append((name, str(error)))
            continue
        digest = hashlib.sha256(content).hexdigest()
        pictures.append(Picture(place, name, part, cls, ENDING[kind], width, height, len(content), digest))
        if len(shown.setdefault(cls, [])) < SHOWN:
            shown[cls].append(pixels)
    empty = tuple(sorted(named - {picture.cls for picture in pictures}))
    return Checked(tuple(pictures), tuple(refused), empty, ignored, {c: np.stack(some) for c, some in shown.items()})


def _laid_out(named_files: Iterable[str]) -> tuple[dict[int, tuple[str, str]], list[tuple[str, str]], set[str], int]:
    """Where each image goes: place -> (part, class); what cannot be placed and why; all classes; how many ignored."""
    every = {place: name.split("/") for place, name in enumerate(named_files)}
    ignored = {place for place, parts in every.items() if parts[-1] and _hidden(parts)}
    wanted = {place: parts for place, parts in every.items() if place not in ignored and not _hidden(parts)}
    inside = {place: parts for place, parts in wanted.items() if parts[-1].lower().endswith((*images.ENDINGS, ".gif"))}
    refused = [("/".join(parts), _no_image(parts[-1])) for place, parts in wanted.items()
               if parts[-1] and place not in inside]  # fmt: skip
    strip = 0  # folders around the class folders: the one that was packed
    while inside and all(len(p) > 2 + strip for p in inside.values()) and len({p[strip] for p in inside.values()}) == 1:
        strip += 1
    inside = {place: parts[strip:] for place, parts in inside.items()}
    folders = [p[strip:] for p in wanted.values() if not p[-1] and len(p) > 1 + strip]
    first = {p[0] for p in inside.values() if len(p) > 2}
    parts_of = sources.parts_in(first)
    split = set(parts_of) == first and {"train", "test"} <= set(parts_of.values())
    depth = 3 if split else 2
    placed, named, wrong = {}, set(), {}
    for cls in {p[depth - 2] for p in (*inside.values(), *folders) if len(p) == depth}:
        try:
            class_name(cls)
        except ValueError as error:
            wrong[cls] = error.args[0]
    for place, parts in inside.items():
        if len(parts) != depth or (split and parts[0] not in parts_of):
            where = say("train/<class>/ or test/<class>/") if split else "<class>/"
            why = say("it does not lie in {folders}, as the others do", folders=where)
        elif split and not parts_of[parts[0]]:
            why = say("validation images are taken from the training images, so these are left out")
        elif parts[-2] in wrong:
            why = wrong[parts[-2]]
        else:
            placed[place] = parts_of[parts[0]] if split else "", class_name(parts[-2])
            named.add(class_name(parts[-2]))
            continue
        refused.append(("/".join(parts), why))
    apart = [p for p in folders if len(p) == depth and p[-2] not in wrong and (not split or parts_of.get(p[0]))]
    named |= {class_name(p[-2]) for p in apart}
    if len(named) > CLASSES:
        raise ValueError(say("It has {count} class folders; {most} at most.", count=len(named), most=CLASSES))
    return placed, refused, named, len(ignored)


def _no_image(name: str) -> str:
    """Why a file is left out that is no image by its name."""
    kind = images.foreign(name)
    return images.way_out(kind) if kind else say("it is no image by its ending")


def without(checked: Checked, classes: Collection[str]) -> Checked:
    """Without these classes."""
    pictures = tuple(p for p in checked.pictures if p.cls not in classes)
    empty = tuple(cls for cls in checked.empty if cls not in classes)
    shown = {cls: some for cls, some in checked.shown.items() if cls not in classes}
    return replace(checked, pictures=pictures, empty=empty, shown=shown)


def renamed(checked: Checked, called: dict[str, str]) -> Checked:
    """With other names for classes: old -> new. Two of one name become one class. Raises ValueError for no name."""
    called = {old: class_name(new) for old, new in called.items()}
    pictures = tuple(replace(p, cls=called.get(p.cls, p.cls)) for p in checked.pictures)
    empty = {called.get(cls, cls) for cls in checked.empty} - {picture.cls for picture in pictures}
    shown: dict[str, np.ndarray] = {}
    for cls, some in checked.shown.items():
        new = called.get(cls, cls)
        shown[new] = np.concatenate([shown[new], some])[:SHOWN] if new in shown else some
    return replace(checked, pictures=pictures, empty=tuple(sorted(empty)), shown=shown)


def problems(checked: Checked) -> list[str]:
    """What keeps these images from being a data set, in sentences; empty where nothing does."""
    found = []
    if len(checked.classes) < 2:
        count = len(checked.classes)
        found.append(say("A data set needs at least two classes with images; this has {count}.", count=count))
    if checked.empty:
        found.append(say("No image can be taken of: {names}. Add some, or leave the class out.", names=checked.empty))
    for part, counts in checked.counts().items():
        least = {"": 3, "train": 2, "test": 1}[part]
        if few := [cls for cls, count in counts.items() if count < least]:
            said = {"least": least, "part": part, "names": few}
            found.append({
                "": say("Each class needs at least {least} images; too few have: {names}. Add some, or leave the class "
                        "out.", **said),
                "train": say("Each class needs at least {least} images in {part}; too few have: {names}. Add some, or "
                             "leave the class out.", **said),
                "test": say("Each class needs at least one image in {part}; none have: {names}. Add some, or leave the "
                            "class out.", **said),
            }[part])  # fmt: skip
    alike = {}
    for cls in checked.named:
        alike.setdefault(cls.casefold(), set()).add(cls)
    if same := [together(sorted(group), say(" and ")) for group in alike.values() if len(group) > 1]:
        found.append(say("Some systems take these for one folder: {names}.", names=same))
    return found


def copies(checked: Checked) -> list[tuple[Picture, ...]]:
    """The images that are there more than once, byte for byte, grouped."""
    groups: dict[str, list[Picture]] = {}
    for picture in checked.pictures:
        groups.setdefault(picture.digest, []).append(picture)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def kept(group: tuple[Picture, ...]) -> Picture | None:
    """Of copies the one to keep: for testing rather than for training; none where they lie in several classes."""
    if len({picture.cls for picture in group}) > 1:  # nobody knows which is right
        return None
    return min(group, key=lambda picture: (picture.part != "test", picture.place))


def without_copies(checked: Checked) -> Checked:
    """One of each image, and none of what lies in several classes."""
    drop = set()
    for group in copies(checked):
        stays = kept(group)
        drop |= {picture.place for picture in group if picture is not stays}
    left = replace(checked, pictures=tuple(p for p in checked.pictures if p.place not in drop))
    return replace(left, empty=tuple(sorted({*checked.named} - {*left.classes})))


# --- writing ---------------------------------------------------------------------------------------------------------


def write(checked: Checked, upload: Upload, root: Path, name: str, settings: dict[str, Any]) -> Path:
    """Write checked images as the image folder root/name, in one step: all of it or nothing. settings: dataset.json."""
    data_set_name(name)
    if found := problems(checked):
        raise ValueError(together(found))
    folder, fresh = root / name, root / f".{name}-{secrets.token_hex(4)}"
    if os.path.lexists(folder):
        raise ValueError(say("{folder} is there already. Choose another name.", folder=folder))
    try:
        fresh.mkdir(parents=True)
        for number, picture in enumerate(checked.pictures):
            content = upload.read(picture.place)
            if hashlib.sha256(content).hexdigest() != picture.digest:
                raise ValueError(say("{file} has changed since it was checked. Upload it again.", file=picture.name))
            target = fresh / picture.part / picture.cls
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{number:05}{picture.ending}").write_bytes(content)
        if settings:
            runs.write_json(fresh / sources.SETTINGS, settings)
        datasets.folder_row(root, fresh.name)  # the settings make sense
        os.rename(fresh, folder)
    except OSError as error:
        raise ValueError(
            say("The images could not be written to {folder}: {error}.", folder=folder, error=error.strerror or error)
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def never_learn(root: Path, name: str, classes: Sequence[str]) -> None:
    """Have all images of these classes of an image folder as test images, and of no others, by its dataset.json."""
    if set(datasets.said_never(name, root)) != set(classes):
        _say_never(root, name, classes)


def _say_never(root: Path, name: str, classes: Sequence[str]) -> None:
    file = root / name / sources.SETTINGS
    said = records.read(file, dict[str, object], links=True) if files.is_file(file) else {}
    said.pop("unknown", None)
    if said or classes:
        runs.write_json(file, said | ({"unknown": list(classes)} if classes else {}))
    else:
        file.unlink(missing_ok=True)


# --- trials ----------------------------------------------------------------------------------------------------------


def trial_json(trial: Trial, row: Dataset) -> str:
    """As cac-openset writes a trial: class numbers; or names, where numbers may be taken for names."""
    said = {"Known": trial.known, "Unknown": trial.unknown}
    if any(datasets.named_by_number(row, c) is not None for c in (*trial.known, *trial.unknown)):
        said = {part: [row.classes[c] for c in numbers] for part, numbers in said.items()}
    return json.dumps(said)


def trial_from_bytes(content: bytes, name: str, dataset: str, row: Dataset) -> Trial:
    """A trial out of an uploaded file; the errors are those of data.trial_from_file."""
    if len(content) > 1_000_000:
        raise ValueError(say("A trial is a short list of classes; this file has more than 1 MB."))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.json"
        file.write_bytes(content)
        try:
            return replace(datasets.trial_from_file(file, dataset, row), index=slug(Path(name).stem)[:40])
        except ValueError as error:
            said = error.args[0]
            raise ValueError(say(said.phrase, **said.values | {"file": name})) from error


def save_trial(trial: Trial, row: Dataset, root: Path) -> Path:
    """Keep a trial under its index as root/trials/<index>.json, by the names of its classes."""
    name = trial.index
    if name != slug(name) or not 1 <= len(name) <= 40:
        near = slug(name)[:40].strip("-")
        raise ValueError(say(
            "A name is of 1 to 40 small letters, digits and dashes, such as {near!r}, not {name!r}.",
            near=near, name=name[:80],
        ))  # fmt: skip
    datasets.checked_trial(trial, row)
    never = datasets.never_learnt(trial.dataset, root) if trial.dataset not in datasets.DATASETS else ()
    if both := [cls for cls in never if row.classes.index(cls) in trial.known]:
        raise ValueError(say(
            "All images of {names} are test images, as {file} says, so that none is left to learn from. Choose the "
            "known classes on the page Data under Look through, or take them out there.",
            names=both, file=root / trial.dataset / sources.SETTINGS,
        ))  # fmt: skip
    file = root / TRIALS / f"{name}.json"
    if os.path.lexists(file) and (other := _dataset_of(file)) != trial.dataset:
        other = other or say("another data set")
        raise ValueError(
            say("There is a trial {name!r} of {dataset} already. Choose another name.", name=name, dataset=other)
        )
    names = {part: [row.classes[c] for c in numbers] for part, numbers in
             (("Known", trial.known), ("Unknown", trial.unknown))}  # fmt: skip
    try:
        runs.write_json(file, {**names, "Dataset": trial.dataset})
    except OSError as error:
        raise ValueError(
            say("The trial could not be written to {file}: {error}.", file=file, error=error.strerror or error)
        ) from error
    return file


def trials(root: Path, dataset: str, row: Dataset) -> dict[str, Trial | str]:
    """The trials kept for a data set by name; in place of one that does not fit it any more, why."""
    found = {}
    try:
        every = [root / TRIALS / name for name in files.listed(root / TRIALS).files if name.endswith(".json")]
    except ValueError:  # a folder that somebody else closed, which the page Data names
        every = []
    for file in every:
        if file.stem == slug(file.stem) and _dataset_of(file) == dataset:
            try:
                found[file.stem] = datasets.trial_from_file(file, dataset, row)
            except ValueError as error:
                found[file.stem] = str(error)
    return found


def rename_in_trials(root: Path, dataset: str, old: str, new: str) -> None:
    """A class of a data set has another name, in its dataset.json and the trials that are kept for it, too."""
    if old in (never := datasets.said_never(dataset, root)):
        _say_never(root, dataset, [new if cls == old else cls for cls in never])
    for file in sorted((root / TRIALS).glob("*.json")):
        if _dataset_of(file) == dataset:
            said = records.read(file, dict[str, object])
            for part in ("Known", "Unknown"):
                if isinstance(classes := said.get(part), list):
                    said[part] = [new if cls == old else cls for cls in classes]
            runs.write_json(file, said)


def trial_name(root: Path, dataset: str) -> str:
    """The name of the trial that goes with a data set of one's own: the data set's, as far as that is free."""
    stem = slug(dataset)[:36].strip("-")
    for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))):
        if not os.path.lexists(file := root / TRIALS / f"{name}.json") or _dataset_of(file) == dataset:
            return name
    return stem


def free_trial_name(root: Path, near: str) -> str:
    """The name of a trial that is not there yet: near-2, near-3, ..."""
    stem = re.sub(r"-\d+$", "", near)[:36].strip("-") or "x"
    return next(
        name for n in itertools.count(2) if not os.path.lexists(root / TRIALS / f"{(name := f'{stem}-{n}')}.json")
    )


def _dataset_of(file: Path) -> str | None:
    try:
        said = records.read(file, dict[str, object]).get("Dataset")
    except (OSError, Unfit):
        return None
    return said if isinstance(said, str) else None
