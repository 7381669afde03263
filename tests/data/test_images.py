"""Drawings: brought to size and place as the makers of MNIST and of the digits did with theirs."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cac_core.data import datasets, images, sources

RING = (60, 80, 160, 220)  # left, top, right, bottom


def paper(*draw, side: int = 280) -> bytes:
    """A PNG, white, with what the functions draw on it in black."""
    image = Image.new("L", (side, side), 255)
    for one in draw:
        one(ImageDraw.Draw(image))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def ring(by: int = 0):
    return lambda d: d.ellipse([at + by for at in RING], outline=0, width=20)


def line(*points: int):
    return lambda d: d.line(points, fill=0, width=20)


def dot(x: int, y: int):
    return lambda d: d.ellipse((x - 9, y - 9, x + 9, y + 9), fill=0)


def ink_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png))) < 128


def box(small: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of what is not black, by plain loops."""
    lit = [(y, x) for y, row in enumerate(small) for x, value in enumerate(row) if value]
    return min(y for y, _ in lit), max(y for y, _ in lit), min(x for _, x in lit), max(x for _, x in lit)


def centre(small: np.ndarray) -> tuple[float, float]:
    """The centre of mass, row and column, by plain loops."""
    mass = sum(float(value) for row in small for value in row)
    rows = sum(y * float(value) for y, row in enumerate(small) for value in row)
    columns = sum(x * float(value) for row in small for x, value in enumerate(row))
    return rows / mass, columns / mass


SHAPES = {
    "ring": paper(ring()),
    "one": paper(line(140, 20, 130, 250)),
    "dash": paper(line(20, 140, 250, 150)),
    "hook": paper(line(40, 40, 120, 40), line(120, 40, 80, 130)),
    "dot": paper(dot(250, 30)),
    "at the border": paper(line(0, 0, 0, 279), line(0, 279, 279, 279)),
    "small": paper(lambda d: d.ellipse((200, 10, 220, 40), outline=0, width=6)),
    "full": paper(lambda d: d.rectangle((0, 0, 279, 279), fill=0)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_mnist_centres_the_mass_and_fits_twenty_pixels(shape):
    small = images.as_mnist(ink_of(SHAPES[shape]))
    top, bottom, left, right = box(small)
    assert small.shape == (28, 28) and small.max() > 200
    assert max(bottom - top, right - left) + 1 == 20
    for middle, low, high in zip(centre(small), (top, left), (bottom, right), strict=True):
        # whole pixels are moved; what would leave the image stays at its border
        assert abs(middle - 14) <= 0.5 or low == 0 or high == 27


@pytest.mark.parametrize("shape", SHAPES)
def test_digits_fill_their_box_and_have_one_amount_of_ink(shape):
    small = images.as_digits(ink_of(SHAPES[shape]))
    assert small.shape == (8, 8)
    assert set(small.ravel()) <= {round(n * 255 / 16) for n in range(17)}
    top, bottom, left, right = box(small)
    assert abs((top + bottom) / 2 - 3.5) <= 0.5 and abs((left + right) / 2 - 3.5) <= 0.5
    assert (small[:, [0, 7]] == 0).all()  # 20 of 32 columns
    if shape != "dash":
        assert (top, bottom) == (0, 7)
    if shape in ("ring", "hook", "small"):
        assert 16 <= small.sum() / 255 <= 23  # as in 90 % of the data set


@pytest.mark.parametrize("normalised", [images.as_mnist, images.as_digits])
def test_place_does_not_matter_nor_does_size_much(normalised):
    there = normalised(ink_of(paper(ring())))
    np.testing.assert_array_equal(normalised(ink_of(paper(ring(40)))), there)
    half = ink_of(paper(lambda d: d.ellipse([at // 2 for at in RING], outline=0, width=10)))
    assert np.abs(normalised(half).astype(int) - there).mean() < 8


def test_digits_stay_thick_or_thin_alike():
    masses = [
        images.as_digits(ink_of(paper(lambda d, w=width: d.ellipse(RING, outline=0, width=w)))).sum() / 255
        for width in (8, 20, 30)
    ]
    assert max(masses) - min(masses) < 3
    drawn = [ink_of(paper(lambda d, w=width: d.ellipse(RING, outline=0, width=w))).sum() for width in (8, 20, 30)]
    assert max(drawn) > 2.5 * min(drawn)


def test_digits_of_the_data_set_come_back_as_they_are(tmp_path):
    """What has been brought to size is hardly changed by being drawn large, anywhere, and brought to size again."""
    pixels, _ = sources.read_digits(tmp_path, "digits", datasets.DIGITS)["all"]
    gaps = []
    for image in pixels[:50, :, :, 0]:
        large = Image.fromarray(image).resize((128, 128), Image.Resampling.BICUBIC)
        small = images.as_digits(np.pad(np.asarray(large) > 110, ((30, 90), (70, 20))))
        again = images.at_size(Image.fromarray(small), datasets.DIGITS)[:, :, 0]
        gaps.append(
            np.abs(again.astype(int) - image).mean() / np.abs(image.astype(int) - pixels[::-1][0, :, :, 0]).mean()
        )
    assert np.median(gaps) < 0.5


@pytest.mark.parametrize("dataset", ["digits", "MNIST"])
def test_a_drawing_is_prepared_as_the_data_set_is_and_says_so(dataset):
    row = datasets.DATASETS[dataset]
    prepared = images.drawn(SHAPES["ring"], row, dataset)
    assert prepared.pixels.shape == (row.size, row.size, row.channels) and prepared.pixels.max() > 200
    assert prepared.pixels[0, 0, 0] == 0  # bright on black, though it was drawn dark on white
    assert prepared.notes == (images.DRAWN[dataset][1],)
    assert prepared.preview.size == (280, 280)


def test_a_drawing_for_colour_images_is_taken_as_it_is():
    row = datasets.DATASETS["CIFAR10"]
    one, other = images.drawn(SHAPES["ring"], row, "CIFAR10"), images.prepare(SHAPES["ring"], row)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.notes == other.notes


def hair(side: int) -> bytes:
    """Two single pixels in opposite corners: the least ink that a box of this size can hold."""
    return paper(lambda d: d.point([(0, 0), (side - 1, side - 1)], fill=0), side=side)


@pytest.mark.parametrize("dataset", ["digits", "MNIST"])
@pytest.mark.parametrize("png", [hair(320), hair(8), hair(1)], ids=["320", "8", "1"])
def test_the_thinnest_line_is_no_fault(dataset, png):
    row = datasets.DATASETS[dataset]
    assert images.drawn(png, row, dataset).pixels.shape == (row.size, row.size, 1)


@pytest.mark.parametrize("dataset", ["digits", "MNIST"])
@pytest.mark.parametrize("png, why", [(paper(), "nothing is drawn"), (b"", "not an image"),
                                      (SHAPES["ring"][:80], "damaged|not an image")])  # fmt: skip
def test_what_is_no_drawing_is_told(dataset, png, why):
    with pytest.raises(ValueError, match=why):
        images.drawn(png, datasets.DATASETS[dataset], dataset)
