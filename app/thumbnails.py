"""A data set's images, for a page to show: the pixels of a run's own, and pictures made of them.

N images of H x W pixels, C channels."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app.words import t
from cac_core.data import datasets
from cac_core.recipe import IMPORTED
from cac_core.runs import Run
from cac_core.sentences import say


@st.cache_resource(max_entries=2, show_spinner=False)
def _pixels(dataset: str, root: str, size: int | None, digest: str | None) -> dict[str, np.ndarray] | str:
    """Of all parts; without a size, the test images as their makers left them."""
    try:
        place = Path(root)
        if size is None:
            images = {"test": datasets.as_made(dataset, place)}
        else:
            images = datasets.load(dataset, place, size, digest)
    except (ValueError, FileNotFoundError) as error:
        return str(error)  # with the command that gets them
    if not datasets.fits(digest, datasets.digest(images)):
        said = {"dataset": dataset, "root": root}
        if size is None:
            return say("The images of {dataset} under {root} are not those that its outputs are of.", **said)
        return say("The images of {dataset} under {root} are not those that this run was trained on.", **said)
    return {part: some.pixels for part, some in images.items()}


def pixels(run: Run, part: str = "test") -> np.ndarray | str:
    """The data set's own test or training images [N, H, W, C], or why they cannot be shown."""
    if run.recipe.backbone == IMPORTED:
        if part == "test" and (kept := run.pictures()) is not None and len(kept) == len(run.outputs("test")):
            return kept
        return t("The run was imported as outputs alone, and holds no images.")
    said = {run.made_of("test"), run.record.get("data") or ""} - {""}  # where these are two, no images fit both
    return _part_of(part, run.recipe.dataset, run.recipe.size, "/".join(sorted(said)))


def pixels_of(dataset: str, digest: str) -> np.ndarray | str:
    """The test images of another data set, which outputs are of that say this digest, or why they cannot be shown."""
    return _part_of("test", dataset, None, digest)


def _part_of(part: str, *said: Any) -> np.ndarray | str:
    root = str(datasets.root_of().absolute())
    dataset, size, digest = said
    with st.spinner(t("Reading the images…")):
        found = _pixels(dataset, root, size, digest)
    if isinstance(found, str):
        _pixels.clear(dataset, root, size, digest)  # it may come to be there
        return found
    return found[part]


def enlarged(image: np.ndarray, side: int = 128) -> Image.Image:
    """A square image [H, W, C] as a picture whose pixels can be seen, about so many wide.

    Every pixel becomes a square of whole pixels, so that the picture, saved and dropped in, comes back exactly; see
    `images.small_of`. One that is more than twice as large is reduced.
    """
    picture, times = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), round(side / len(image))
    if not times:
        return picture.resize((side, side), Image.Resampling.BILINEAR)
    return picture.resize((times * len(image), times * len(image)), Image.Resampling.NEAREST)


def as_seen(image: np.ndarray) -> str:
    """What a network saw [H, W, C], for a page to show: never reduced."""
    return inline(enlarged(image, max(128, len(image))))


def inline(picture: Image.Image, most: int | None = None) -> str:
    """A small picture as an address that holds it: Streamlit's own is gone where another picture follows soon, and is
    no longer the same, reduced to its place on the page.

    A PNG of more bytes than `most`, as of a photograph, becomes a JPEG.
    """
    file, kind = io.BytesIO(), "png"
    picture.save(file, kind)
    if most and file.tell() > most:
        file, kind = io.BytesIO(), "jpeg"
        picture.save(file, kind)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def strip(pixels: np.ndarray, side: int = 56) -> Image.Image:
    """Images [n, H, W, C] in a row, enlarged."""
    gap, tiles = 4, [enlarged(image, side) for image in pixels]
    side = tiles[0].width
    sheet = Image.new("RGBA", (len(pixels) * (side + gap) - gap, side), (0, 0, 0, 0))
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n * (side + gap), 0))
    return sheet
