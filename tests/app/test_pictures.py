"""What the app shows of an image, saved and dropped in, is that image again: the same pixels and the same verdict."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import feeds, thumbnails
from cac_core import runs
from cac_core.data import datasets, images
from cac_core.runs import Run
from tests.app.test_app import app, fine, png, text, trained  # noqa: F401

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


def test_small_pictures_of_a_feed_are_the_images(app, trained):  # noqa: F811
    app("cac")
    run = Run(runs.store_of() / "cac")
    every = feeds.rows(run)
    atlas, tile, tiles = feeds._atlas(run, every, datasets.root_of())
    sheet, parts = Image.open(io.BytesIO(atlas)).convert("L"), datasets.load("digits", datasets.root_of())
    assert tile == 16 and tiles == math.isqrt(len(every.outputs) - 1) + 1
    for n in range(0, len(every.outputs), 7):
        x, y = n % tiles * tile, n // tiles * tile
        for side in (tile, 44, 96, 104, 208):  # as drawSprite enlarges it, on screens of one and of two points a pixel
            small = sheet.crop((x, y, x + tile, y + tile)).resize((side, side), Image.Resampling.NEAREST)
            part = parts["train" if every.split[n] == 0 else "test"]
            pixels = part.pixels[every.outputs.index[n]]
            np.testing.assert_array_equal(images.prepare(saved(small), run.row).pixels, pixels)


def pictures_on(at: AppTest) -> list[bytes]:
    shown = [image.url for element in at.get("imgs") for image in element.proto.imgs]
    assert all(url.startswith("data:image/png;base64,") for url in shown), "Streamlit would make a JPEG of it"
    return [of_address(url) for url in shown]


@pytest.mark.parametrize("page", ["home", "try"])
def test_what_a_page_shows_gets_the_verdict_that_the_run_has_written(app, page):  # noqa: F811
    from cac_core.results import evaluate

    at = fine(app("cac", page=page))
    run = Run(runs.store_of() / "cac")
    test, out = datasets.load("digits", datasets.root_of())["test"], run.outputs("test")
    network, shown = evaluate.load(run, "cpu"), pictures_on(at)
    assert len(shown) >= 6
    for content in shown:
        pixels = images.prepare(content, run.row).pixels
        (place,) = np.flatnonzero((test.pixels == pixels).all((1, 2, 3)))[:1]
        logits, _ = network.outputs(pixels[None])
        np.testing.assert_allclose(logits[0], out.logits[out.index == place][0], rtol=1e-3, atol=1e-3)


def test_as_the_network_saw_it_and_your_picture_come_back_as_well(app):  # noqa: F811
    at = fine(app("cac", page="try"))
    image = datasets.load("digits", datasets.root_of())["test"].pixels[3]
    at = fine(at.file_uploader(key="files").upload("3.png", saved(thumbnails.enlarged(image)), "image/png").run())
    shown = pictures_on(at)
    assert len(shown) == 2 and "taken back to the 16 × 16 pixels" in text(at)
    for content in shown:
        np.testing.assert_array_equal(images.prepare(content, datasets.DIGITS).pixels, image)


# --- one bad picture --------------------------------------------------------------------------------------------------


def test_a_slim_picture_ends_no_batch(app):  # noqa: F811
    at = fine(app("cac", page="try"))
    slim = [png(np.full((10, 5000), 200, np.uint8)), png(np.tile([[0], [255]], (3, 5000)).astype(np.uint8)),
            png(np.random.default_rng(0).integers(0, 256, (5000, 2, 3), np.uint8))]  # fmt: skip
    digit = saved(thumbnails.enlarged(datasets.load("digits", datasets.root_of())["test"].pixels[0]))
    files = [*((f"{n}.png", content, "image/png") for n, content in enumerate(slim)), ("digit.png", digit, "image/png")]
    at.file_uploader(key="files").set_value(files)
    at = fine(at.run())
    assert "**4** of 4 judged" in text(at) and not at.error


@pytest.mark.parametrize("where", ["cac_core.data.images._decoded", "app.charts.bars", "app.thumbnails.as_seen"])
@pytest.mark.parametrize("kind", [ValueError, TypeError, ZeroDivisionError, MemoryError, KeyError])
def test_whatever_one_picture_does_the_others_are_judged(app, monkeypatch, where, kind):  # noqa: F811
    at = fine(app("cac", page="try"))
    pixels = datasets.load("digits", datasets.root_of())["test"].pixels
    files = [(f"{n}.png", saved(thumbnails.enlarged(pixels[n])), "image/png") for n in range(10, 13)]
    module, _, name = where.rpartition(".")
    target = {"cac_core.data.images": images, "app.thumbnails": thumbnails}.get(module) or __import__(
        module, fromlist=["x"]
    )
    real, calls = getattr(target, name), []

    def second_fails(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            raise kind("the second one")
        return real(*arguments, **more)

    monkeypatch.setattr(target, name, second_fails)
    at.file_uploader(key="files").set_value(files)
    at = fine(at.run())
    assert len(at.error) == 1 and "the second one" in at.error[0].value and "**2** of 3 judged" in text(at)
    assert {shown.value for shown in at.text} == {name for name, *_ in files}


def test_a_run_without_weights_is_said_once(app):  # noqa: F811
    at = fine(app("cac", page="try"))
    (runs.store_of() / "cac" / "best.safetensors").unlink()
    pixels = datasets.load("digits", datasets.root_of())["test"].pixels
    files = [(f"{n}.png", saved(thumbnails.enlarged(pixels[n])), "image/png") for n in range(20, 23)]
    at.file_uploader(key="files").set_value(files)
    at = fine(at.run())
    assert len(at.error) == 1 and "has no weights yet" in at.error[0].value


# --- what pictures are taken for --------------------------------------------------------------------------------------


def test_a_page_takes_pictures_for_drawings_or_for_pictures(app):  # noqa: F811
    at = fine(app("cac", page="try"))
    page = Image.new("L", (150, 120), 255)
    page.paste(0, (40, 30, 52, 100))
    at = fine(at.file_uploader(key="files").upload("1.png", saved(page), "image/png").run())
    assert images.DRAWN["digits"][1] in text(at)
    at = fine(at.segmented_control(key="as").set_value("picture").run())
    assert images.DRAWN["digits"][1] not in text(at) and "reduced to 8 × 8" in text(at)
    at = fine(app("cac", page="try", **{"as": "picture"}))
    assert at.segmented_control(key="as").value == "picture"
    assert not fine(app("three", page="try", run="three")).error
