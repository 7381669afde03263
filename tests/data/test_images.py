"""Pictures from elsewhere: exactly the data set's where they show it, else brought to size as its makers did theirs."""

import dataclasses
import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cac_core.data import datasets, images, sources
from tests import reference

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
    prepared = images.drawn(SHAPES["ring"], row)
    assert prepared.pixels.shape == (row.size, row.size, row.channels) and prepared.pixels.max() > 200
    assert prepared.pixels[0, 0, 0] == 0  # bright on black, though it was drawn dark on white
    assert prepared.notes == (images.DRAWN[dataset][1],)
    assert prepared.preview.size == (280, 280)


def test_a_drawing_for_colour_images_is_taken_as_it_is():
    row = datasets.DATASETS["CIFAR10"]
    one, other = images.drawn(SHAPES["ring"], row), images.prepare(SHAPES["ring"], row)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.notes == other.notes


def hair(side: int) -> bytes:
    """Two single pixels in opposite corners: the least ink that a box of this size can hold."""
    return paper(lambda d: d.point([(0, 0), (side - 1, side - 1)], fill=0), side=side)


@pytest.mark.parametrize("dataset", ["digits", "MNIST"])
@pytest.mark.parametrize("png", [hair(320), hair(8), hair(1)], ids=["320", "8", "1"])
def test_the_thinnest_line_is_no_fault(dataset, png):
    row = datasets.DATASETS[dataset]
    assert images.drawn(png, row).pixels.shape == (row.size, row.size, 1)


@pytest.mark.parametrize("dataset", ["digits", "MNIST"])
@pytest.mark.parametrize("png, why", [(paper(), "nothing is drawn"), (b"", "not an image"),
                                      (SHAPES["ring"][:80], "damaged|not an image")])  # fmt: skip
def test_what_is_no_drawing_is_told(dataset, png, why):
    with pytest.raises(ValueError, match=why):
        images.drawn(png, datasets.DATASETS[dataset])


# --- by what way a picture from elsewhere goes ------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 3, 8])
@pytest.mark.parametrize("shape", [(8, 8), (12, 12), (20, 13), (9, 31), (8, 8, 3), (11, 17, 3)])
def test_an_area_is_averaged_as_the_fractions_say(shape, side):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    planes = [pixels] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    expected = np.stack([reference.area_mean(plane.tolist(), side) for plane in planes], -1)
    np.testing.assert_array_equal(images.area_mean(pixels, side).reshape(expected.shape), expected)


def test_halves_are_rounded_up():
    pixels = np.array([[0, 1, 254, 255], [1, 0, 255, 254], [7, 7, 8, 8], [8, 8, 7, 7]], np.uint8)
    np.testing.assert_array_equal(images.area_mean(pixels, 2), [[1, 255], [8, 8]])


def test_counting_ink_in_blocks_is_such_a_mean():
    bitmap = np.random.default_rng(1).random((32, 32)) < 0.4
    counts = [[int(bitmap[4 * i : 4 * i + 4, 4 * j : 4 * j + 4].sum()) for j in range(8)] for i in range(8)]
    by_counts = (np.array(counts) * (255 / 16)).round()
    assert np.abs(images.area_mean(np.uint8(255) * bitmap, 8) - by_counts).max() <= 1


def test_a_photograph_is_averaged_in_little_memory():
    pixels = np.zeros((3000, 3000, 3), np.uint8)
    tracemalloc.start()
    images.area_mean(pixels, 32)
    assert tracemalloc.get_traced_memory()[1] < 60_000_000
    tracemalloc.stop()


def noise(side: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """[side, side, channels], with the black border of an image of bright strokes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, channels), np.uint8)
    if channels == 1:
        pixels[[0, -1]] = pixels[:, [0, -1]] = 0
    return pixels


def picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("middle", [True, False])
@pytest.mark.parametrize(("side", "n"), [(8, 8), (8, 9), (8, 13), (8, 128), (28, 32), (28, 49), (28, 128), (32, 128)])
def test_an_enlargement_is_taken_back_whatever_point_it_goes_by(side, n, middle):
    small = noise(side)[..., 0]
    large = np.array(reference.nearest(small.tolist(), n, middle), np.uint8)
    np.testing.assert_array_equal(images.small_of(large, side), small)


@pytest.mark.parametrize("side", [8, 16, 28, 32])
def test_what_pillow_enlarges_is_taken_back(side):
    small = noise(side, 3)
    for n in (side, side + 1, 3 * side // 2, 72, 88, 96, 100, 128, 160, 220, 5 * side, 7 * side + 3):
        large = np.asarray(picture(small).resize((n, n), Image.Resampling.NEAREST))
        np.testing.assert_array_equal(images.small_of(large, side), small)


def test_what_is_no_enlargement_is_not_taken_for_one():
    small = noise(8)[..., 0]
    large = np.asarray(Image.fromarray(small).resize((128, 128), Image.Resampling.NEAREST)).copy()
    large[77, 5] ^= 1
    assert images.small_of(large, 8) is None
    for filter in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        assert images.small_of(np.asarray(Image.fromarray(small).resize((128, 128), filter)), 8) is None
    assert images.small_of(noise(128)[..., 0], 8) is None


ROWS = {
    **{name: datasets.DATASETS[name] for name in ("digits", "MNIST", "CIFAR10", "TinyImageNet")},
    "folder": datasets.FOLDER, "smaller": dataclasses.replace(datasets.DATASETS["TinyImageNet"], size=32, grain=32),
    "larger": dataclasses.replace(datasets.DATASETS["CIFAR10"], size=64),
    "grey": dataclasses.replace(datasets.FOLDER, channels=1, size=20, grain=20),
}  # fmt: skip


def ways_of(row: datasets.Dataset) -> list[str | None]:
    return [None, "picture"] + (["drawing"] if row.drawn else [])


@pytest.mark.parametrize("name", ROWS)
def test_an_image_of_the_data_set_comes_back_exactly_and_its_enlargement_too(name):
    row = ROWS[name]
    pixels = noise(row.size, row.channels)
    for n in (row.size, row.size + 5, 2 * row.size, 128, 320):
        large = picture(pixels).resize((n, n), Image.Resampling.NEAREST)
        for content in (saved(large), saved(large, "WEBP", lossless=True), saved(large, "BMP"),
                        saved(large.convert("RGBA"))):  # fmt: skip
            for way in ways_of(row):
                prepared = images.prepare(content, row, way)
                np.testing.assert_array_equal(prepared.pixels, pixels)
                assert len(prepared.notes) == (n != row.size), prepared.notes


@pytest.mark.parametrize("name", ["digits", "MNIST", "larger"])
def test_so_does_what_it_was_before_it_was_brought_to_size(name):
    row = ROWS[name]
    before = noise(row.grain, row.channels)
    pixels = images.at_size(picture(before), row)
    np.testing.assert_array_equal(
        pixels[..., 0] if row.channels == 1 else pixels,
        picture(before).resize((row.size, row.size), Image.Resampling.BILINEAR),
    )
    for n in (row.grain, row.grain + 3, 128, 160):
        large = picture(before).resize((n, n), Image.Resampling.NEAREST)
        for way in ways_of(row):
            np.testing.assert_array_equal(images.prepare(saved(large), row, way).pixels, pixels)


@pytest.mark.parametrize(("name", "reduced"), [("CIFAR10", True), ("TinyImageNet", True), ("smaller", True),
                                               ("digits", True), ("MNIST", True), ("folder", False)])  # fmt: skip
def test_other_pictures_are_reduced_as_the_data_set_was_made(name, reduced):
    row = ROWS[name]
    large = picture(noise(150, row.channels))
    pixels = images.prepare(saved(large), row, "picture").pixels
    expected = large
    if reduced:
        planes = [np.asarray(plane).tolist() for plane in large.split()]
        expected = picture(np.stack([reference.area_mean(plane, row.made) for plane in planes], -1).astype(np.uint8))
    for side in (row.grain, row.size):
        if expected.width != side:
            expected = expected.resize((side, side), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels, np.asarray(expected).reshape(pixels.shape))


FORMATS = [(8, 1), (16, 1), (28, 1), (32, 1), (32, 3), (40, 3), (64, 3), (64, 1)]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(("side", "channels"), FORMATS)
def test_another_data_sets_image_goes_one_way_as_a_file_and_in_an_array(name, side, channels):
    row = ROWS[name]
    dark = np.random.default_rng(side).integers(0, 256, (5, side, side, channels), np.uint8)
    many = np.concatenate([dark // 3, 255 - dark // 3, dark])
    many[0], many[1] = 0, 255  # nothing on it
    for way in ways_of(row):
        together = images.converted(many, row, way)
        assert together.shape == (15, row.size, row.size, row.channels) and together.dtype == np.uint8
        for one, content in zip(together, map(saved, map(picture, many)), strict=True):
            np.testing.assert_array_equal(images.prepare(content, row, way).pixels, one)


def test_an_image_that_is_brought_to_size_stays_so():
    """What the network saw of another data set's image is shown, and may be dropped in."""
    for row in ROWS.values():
        once = images.converted(np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), np.uint8), row)
        np.testing.assert_array_equal(images.converted(once, row), once)


def test_strangers_come_from_their_files_as_they_would_one_by_one(image_folder, tmp_path):
    root = image_folder("shapes", {"a": 3, "b": 3}, part="train", side=50)
    image_folder("shapes", {"a": 2, "b": 2}, part="test", side=50, seed=1)
    files = sorted((root / "shapes" / "test").glob("*/*.png"))
    for row in ROWS.values():
        seen = datasets.strangers("shapes", root, row)
        np.testing.assert_array_equal(seen.pixels, np.stack([images.prepare(file, row).pixels for file in files]))
        assert seen.classes.tolist() == [0, 0, 1, 1]
    counts, _ = sources.counted_digits()
    small = (counts * (255 / 16)).round().astype(np.uint8)
    seen = {image.tobytes() for image in datasets.strangers("digits", tmp_path, ROWS["MNIST"]).pixels}
    assert seen < {images.prepare(saved(Image.fromarray(image)), ROWS["MNIST"]).pixels.tobytes() for image in small}


def test_strangers_alike_come_from_the_decoded_ones(image_folder, monkeypatch):
    root = image_folder("shapes", {"a": 10, "b": 10}, side=50)
    first = datasets.strangers("shapes", root, datasets.row_of("shapes", root)).pixels
    monkeypatch.setattr(sources, "_decoded", None)
    np.testing.assert_array_equal(datasets.strangers("shapes", root, datasets.row_of("shapes", root)).pixels, first)


# --- a picture of a character -----------------------------------------------------------------------------------------


def printed(text: str = "2", paper: int = 255, ink: int = 0, size=(120, 90)) -> Image.Image:
    image = Image.new("L", size, paper)
    ImageDraw.Draw(image).text((60, 15), text, fill=ink, font=ImageFont.load_default(50))
    return image


@pytest.mark.parametrize("name", ["digits", "MNIST"])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (120, 20), (100, 220), (250, 200)])
def test_a_printed_character_is_brought_to_size_dark_or_bright(name, paper, ink):
    row = ROWS[name]
    drawing = images.drawn(saved(printed()), row)
    prepared = images.prepare(saved(printed(paper=paper, ink=ink)), row)
    assert prepared.notes == drawing.notes == (images.DRAWN[row.drawn][1],)
    assert np.abs(prepared.pixels.astype(int) - drawing.pixels).mean() < 6
    assert "reduced" in " ".join(images.prepare(saved(printed()), row, "picture").notes)


@pytest.mark.parametrize("name", ["digits", "MNIST"])
def test_a_drawing_from_a_file_is_one_from_the_paper(name):
    for shape in ("ring", "one", "dash", "hook", "dot", "small"):
        one, other = images.prepare(SHAPES[shape], ROWS[name]), images.drawn(SHAPES[shape], ROWS[name])
        np.testing.assert_array_equal(one.pixels, other.pixels)


def test_an_empty_page_is_a_picture():
    for row in ROWS.values():
        for shade in (0, 90, 255):
            prepared = images.prepare(saved(Image.new("L", (50, 40), shade)), row)
            assert len(np.unique(prepared.pixels)) == 1 and images.DRAWN["MNIST"][1] not in prepared.notes


def test_what_a_picture_is_taken_for_is_told_where_it_makes_no_sense():
    assert [images.way_of(ROWS[name]) for name in ("digits", "MNIST", "CIFAR10")] == ["drawing", "drawing", "picture"]
    with pytest.raises(ValueError, match="known for digits, MNIST alone"):
        images.prepare(saved(printed()), ROWS["CIFAR10"], "drawing")
    with pytest.raises(ValueError, match="as a picture or as a drawing, not as 'scan'"):
        images.prepare(saved(printed()), ROWS["digits"], "scan")


# --- the real ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "folder"), [("digits", "."), ("MNIST", "MNIST"), ("CIFAR10", "cifar10")])
def test_real_images_come_back_from_their_enlargements(name, folder, tmp_path, request):
    root = tmp_path if name == "digits" else request.getfixturevalue("data_root")
    if not (root / folder).is_dir():
        pytest.skip(f"{root} holds no {folder}")
    row = datasets.DATASETS[name]
    pixels = datasets.load(name, root)["test"].pixels
    np.testing.assert_array_equal(images.converted(pixels, row), pixels)
    some = pixels if name == "digits" else pixels[::25]
    large = some.repeat(128 // row.size, 1).repeat(128 // row.size, 2)
    for image, shown in zip(some, large, strict=True):
        np.testing.assert_array_equal(images.prepare(saved(picture(shown)), row).pixels, image)
