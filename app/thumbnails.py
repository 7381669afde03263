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
from cac_core.runs import Run
from cac_core.sentences import say


@st.cache_resource(max_entries=2, show_spinner=False)
def _pixels(dataset: str, root: str, size: int, digest: str | None) -> dict[str, np.ndarray] | str:
    try:
        images = datasets.load(dataset, Path(root), size)
    except (ValueError, FileNotFoundError) as error:
        return str(error)  # with the command that gets them
    if digest and datasets.digest(images) != digest:
        return say(
            "The images of {dataset} under {root} are not those that this run was trained on.",
            dataset=dataset, root=root,
        )  # fmt: skip
    return {part: some.pixels for part, some in images.items()}


def pixels(run: Run, part: str = "test") -> np.ndarray | str:
    """The data set's own test or training images [N, H, W, C], or why they cannot be shown."""
    return _part_of(part, run.recipe.dataset, run.recipe.size, run.record.get("data"))


def pixels_of(dataset: str) -> np.ndarray | str:
    """The test images of another data set, at its own size, or why they cannot be shown."""
    return _part_of("test", dataset, 0, None)


def _part_of(part: str, *said: Any) -> np.ndarray | str:
    dataset, size, digest = said
    root = str(datasets.root_of().absolute())
    with st.spinner(t("Reading the images…")):
        found = _pixels(dataset, root, size, digest)
    if isinstance(found, str):
        _pixels.clear(dataset, root, size, digest)  # it may come to be there
        return found
    return found[part]


def enlarged(image: np.ndarray, side: int = 128) -> Image.Image:
    """[H, W, C] as a picture whose pixels can be seen."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.resize(
        (side, side), Image.Resampling.NEAREST if image.shape[0] < side else Image.Resampling.BILINEAR
    )


def inline(picture: Image.Image) -> str:
    """A small picture as an address that holds it: Streamlit's own is gone where another picture follows soon."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def strip(pixels: np.ndarray, side: int = 56) -> Image.Image:
    """Images [n, H, W, C] in a row, enlarged."""
    gap = 4
    sheet = Image.new("RGBA", (len(pixels) * (side + gap) - gap, side), (0, 0, 0, 0))
    for n, image in enumerate(pixels):
        sheet.paste(enlarged(image, side), (n * (side + gap), 0))
    return sheet
