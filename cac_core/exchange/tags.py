"""Tags: words that people put on single images of a data set, such as that one is mislabelled.

<data root>/.tags/<data set>.json         {tag: [image, ...]}, each image once, in order

An image is known by its path below an image folder, cat/3.jpg, else by its part and its place there, test-17. So every
run on a data set has the same tags. Where ANCHORSCOPE_READONLY is set nothing is written; reading is.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import filelock

from cac_core import records, runs
from cac_core.files import no_formula
from cac_core.jobs import queue
from cac_core.records import Unfit
from cac_core.sentences import say

FOLDER = ".tags"  # below the data root; what begins with a full stop is no data set
USUAL = ("mislabelled", "interesting")
LONGEST, MOST = 40, 50  # characters of a tag; tags of a data set
WAIT = 10.0  # seconds for somebody else to end

Tags = dict[str, frozenset[str]]


def file_of(root: Path, dataset: str) -> Path:
    if not dataset or dataset.startswith(".") or set(dataset) & set("/\\:\0"):  # a run from anywhere may say so
        raise ValueError(say("{name!r} is no name of a data set.", name=dataset))
    return root / FOLDER / f"{dataset}.json"


def read(root: Path, dataset: str) -> Tags:
    """The images that bear each tag. Raises ValueError where the file holds something else."""
    file = file_of(root, dataset)
    try:
        said = records.read(file, dict[str, list[str]])
    except FileNotFoundError:
        return {}
    except Unfit as error:
        raise ValueError(say("{file} is no record of tags: {error}.", file=file, error=error)) from error
    return {tag: frozenset(images) for tag, images in said.items() if images}


def put(root: Path, dataset: str, tag: str, images: Iterable[str]) -> None:
    """Put a tag on images, in one step. Raises ValueError where it is no word, or nothing may be written."""
    word = cleaned(tag)
    _change(root, dataset, lambda there: there | {word: there.get(word, frozenset()) | set(images)})


def take(root: Path, dataset: str, tag: str, images: Iterable[str]) -> None:
    """Take a tag off images; of what does not bear it nothing is taken."""
    _change(root, dataset, lambda there: there | {tag: there.get(tag, frozenset()) - set(images)})


def cleaned(tag: str) -> str:
    """A tag as it is kept: one line, without control characters and spaces around it."""
    whole = unicodedata.normalize("NFC", " ".join(tag.split()))
    word = "".join(letter for letter in whole if unicodedata.category(letter)[0] != "C")
    if not word:
        raise ValueError(say("A tag is a word; this one is empty."))
    if len(word) > LONGEST:
        raise ValueError(say("A tag has at most {most} characters; this one has {count}.",
                             most=LONGEST, count=len(word)))  # fmt: skip
    return word


def as_csv(tags: Tags) -> str:
    """A line for each tag of each image, by image."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image", "tag"])
    lines = sorted((image, tag) for tag, images in tags.items() for image in images)
    writer.writerows(map(no_formula, line) for line in lines)
    return text.getvalue()


def _change(root: Path, dataset: str, changed) -> None:
    queue.check_writable()
    file = file_of(root, dataset)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(file.with_suffix(".lock"), timeout=WAIT):
            after = {tag: sorted(images) for tag, images in sorted(changed(read(root, dataset)).items()) if images}
            if len(after) > MOST:
                raise ValueError(say("A data set has at most {most} tags.", most=MOST))
            runs.write_json(file, after)
    except filelock.Timeout as error:
        raise ValueError(
            say("Somebody else is tagging images of {name} right now. Try again.", name=dataset)
        ) from error
    except OSError as error:
        raise ValueError(say("The tags of {name} could not be written ({error}).", name=dataset,
                             error=error.strerror or error)) from error  # fmt: skip
