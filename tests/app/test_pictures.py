"""What the app shows of an image, saved and dropped in, is that image again: the same pixels and the same verdict."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from app import thumbnails
from cac_core.data import datasets, images

pytestmark = pytest.mark.long

SIDES = (56, 72, 88, 96, 120, 128, 160, 220)  # how large the pages show images


def saved(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def of_address(address: str) -> bytes:
    kind, _, content = address.partition(";base64,")
    assert kind in ("data:image/png", "data:image/jpeg")
    return base64.b64decode(content)


def noise(row: datasets.Dataset, count: int = 3) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (count, row.size, row.size, row.channels), np.uint8)
    if row.ink:
        pixels[:, [0, -1]] = pixels[:, :, [0, -1]] = 0
    return pixels


def some(name: str, root, count: int = 300) -> np.ndarray:
    pixels = datasets.load(name, root)["test"].pixels
    return pixels[:: max(1, len(pixels) // count)]


def check_all(pixels: np.ndarray, row: datasets.Dataset) -> None:
    """Every way in which a page makes a picture of an image."""
    for n, image in enumerate(pixels):
        for way in [None, *images.WAYS[: 1 + bool(row.drawn)]]:
            seen = images.prepare(of_address(thumbnails.as_seen(image)), row, way)
            np.testing.assert_array_equal(seen.pixels, image)
        picture = thumbnails.enlarged(image, SIDES[n % len(SIDES)])
        np.testing.assert_array_equal(images.prepare(saved(picture), row).pixels, image)
        yours = thumbnails.inline(
            images.prepare(saved(picture), row).preview, most=50_000
        )  # an uploaded file beside it
        np.testing.assert_array_equal(images.prepare(of_address(yours), row).pixels, image)
    for n in range(0, len(pixels) - 2, 3):
        sheet = thumbnails.strip(pixels[n : n + 3])
        side = sheet.height
        for i in range(3):
            tile = sheet.crop((i * (side + 4), 0, i * (side + 4) + side, side))
            np.testing.assert_array_equal(images.prepare(saved(tile), row).pixels, pixels[n + i])


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "TinyImageNet"])
def test_noise_of_its_size_comes_back(name):
    check_all(noise(datasets.DATASETS[name], 12), datasets.DATASETS[name])


def test_every_digit_comes_back(tmp_path):
    check_all(some("digits", tmp_path, 1_000), datasets.DIGITS)


@pytest.mark.parametrize(("name", "folder"), [("MNIST", "MNIST"), ("CIFAR10", "cifar10")])
def test_real_images_come_back(data_root, name, folder):
    if not (data_root / folder).is_dir():
        pytest.skip(f"{data_root} holds no {folder}")
    check_all(some(name, data_root), datasets.DATASETS[name])


@pytest.mark.parametrize("side", [16, 32, 64, 100, 224])
def test_pictures_are_about_as_large_as_asked_and_never_blurred(side):
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    for asked in SIDES:
        picture = thumbnails.enlarged(image, asked)
        if 2 * asked > side:
            assert picture.width % side == 0 and abs(picture.width - asked) <= side / 2
            np.testing.assert_array_equal(
                np.asarray(picture)[:: picture.width // side, :: picture.width // side], image
            )
    assert Image.open(io.BytesIO(of_address(thumbnails.as_seen(image)))).width >= side


def test_a_photograph_is_shown_as_jpeg():
    photograph = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8))
    assert thumbnails.inline(photograph, most=50_000).startswith("data:image/jpeg")
    assert thumbnails.inline(photograph).startswith("data:image/png")
