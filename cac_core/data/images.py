"""Images from files: any PNG, JPEG, WebP, BMP or GIF to the array that the network sees. Numpy and Pillow.

A drawing of a character can be brought to what the makers of a data set made of theirs (`drawn`).
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cac_core.sentences import say

MAX_PIXELS = 50_000_000  # a photograph of 50 megapixels; more is refused before it is decoded
MAX_BYTES = 20_000_000
PREVIEW = 320  # pixels a side, at most
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Format:
    """What the images of a data set look like to the network.

    size is the side in pixels that the network sees; grain the side that the images had before they were brought to it,
    so that an image from elsewhere goes through both. ink: bright strokes on black, so a dark drawing on light paper is
    inverted.
    """

    size: int
    grain: int
    channels: int
    ink: bool


@dataclass(frozen=True)
class Note:
    """What was done to an image: a phrase of NOTES or DRAWN, and the values of its {names}."""

    phrase: str
    values: dict[str, int]

    def __str__(self) -> str:
        return self.phrase.format(**self.values)


@dataclass(frozen=True)
class Prepared:
    """One image as the network sees it, [H, W, C] uint8, what was done to it on the way, and the image itself, upright
    and small enough to be shown."""

    pixels: np.ndarray
    done: tuple[Note, ...]
    preview: Image.Image

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(map(str, self.done))


NOTES = {  # by what was done
    "inverted": "colours inverted: the network learned bright strokes on black",
    "padded": "padded to a square",
    "cut": "cut to the square in its middle",
    "reduced": "{width} × {height} pixels reduced to {side} × {side}",
    "enlarged": "{width} × {height} pixels enlarged to {side} × {side}",
    "frame": "the first of {count} frames",
    "upright": "turned upright, as its camera noted",
    "bits": "16 bits reduced to 8",
    "white": "transparent parts shown on white",
    "print": "print colours (CMYK) brought to RGB",
}


def _note(what: str, **values: int) -> Note:
    return Note(NOTES[what], values)


def prepare(source: Path | str | bytes, row: Format) -> Prepared:
    """An image file, or its bytes, to what the network sees, by the way the training images took.

    Raises ValueError that names the cause for what is no image, damaged, or too large.
    """
    image, done = _decoded(source)
    preview = image.copy()
    preview.thumbnail((PREVIEW, PREVIEW))
    image = image.convert("RGB" if row.channels == 3 else "L")
    width, height = image.size
    if max(width, height) ** 2 > MAX_PIXELS and row.ink:
        raise ValueError(
            say("it has {width} × {height} pixels, too slim to be padded to a square", width=width, height=height)
        )
    if row.ink:
        border = _border(image)
        if border > 127:
            image = ImageOps.invert(image)
            border = 255 - border
            done.append(_note("inverted"))
        if width != height:
            side = max(width, height)
            square = Image.new("L", (side, side), border)
            square.paste(image, ((side - width) // 2, (side - height) // 2))
            image = square
            done.append(_note("padded"))
    elif width != height:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        done.append(_note("cut"))
    if image.size[0] != row.grain:
        what = "reduced" if min(width, height) > row.grain else "enlarged"
        done.append(_note(what, width=width, height=height, side=row.grain))
    return Prepared(at_size(image, row), tuple(done), preview)


def converted(pixels: np.ndarray, row: Format) -> np.ndarray:
    """Images [N, H, W, C] of another data set to [N, size, size, channels], as `prepare` does it with one."""
    if pixels.shape[1:] == (row.size, row.size, row.channels):
        return pixels
    mode = "RGB" if row.channels == 3 else "L"
    images = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert(mode) for image in pixels)
    return np.stack([at_size(image, row) for image in images])


def at_size(image: Image.Image, row: Format) -> np.ndarray:
    """A square L or RGB image to [size, size, channels] uint8, through the grain of the data set."""
    for side in (row.grain, row.size):
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.array(image).reshape(row.size, row.size, row.channels)


def _border(image: Image.Image) -> int:
    pixels = np.asarray(image)
    return int(np.median(np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])))


# --- drawings --------------------------------------------------------------------------------------------------------


def drawn(source: Path | str | bytes, row: Format, dataset: str) -> Prepared:
    """A drawing, dark on white, as the network sees it, after what the data set's makers did to theirs; see DRAWN.

    For other data sets it is taken as it is, by `prepare`. Raises ValueError as that does, and where nothing is drawn.
    """
    if dataset not in DRAWN:
        return prepare(source, row)
    image, _ = _decoded(source)
    image.thumbnail((PREVIEW, PREVIEW))
    ink = np.asarray(image.convert("L")) < 128
    if not ink.any():
        raise ValueError(say("nothing is drawn on it"))
    normalised, phrase = DRAWN[dataset]
    return Prepared(at_size(Image.fromarray(normalised(ink)), row), (Note(phrase, {}),), image)


def as_mnist(ink: np.ndarray) -> np.ndarray:
    """Ink [H, W] bool to [28, 28] uint8: its box fits 20 x 20, its centre of mass lies at pixel 14, 14 of 28 x 28.

    LeCun et al., 1998, section III-A: the aspect ratio is kept, grey comes of the resizing, and whole pixels are moved;
    the centre of mass of MNIST's images is 14.0, with a standard deviation of 0.29, that of rounding.
    """
    box = _cut(ink)
    height, width = box.shape
    scale = 20 / max(box.shape)
    small, out = _resized(box, width * scale, height * scale), np.zeros((28, 28), np.uint8)
    centre = (np.argwhere(box).mean(0) + 0.5) * scale - 0.5
    top, left = (min(max(round(14 - c), 0), 28 - side) for c, side in zip(centre, small.shape, strict=True))
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


FINE = 4  # so many points to a pixel of the bitmap, a side, where strokes are made thicker or thinner
INKED = 0.305  # the median share of ink in the digits; from the 5th to the 95th percentile 0.255 to 0.360


def as_digits(ink: np.ndarray) -> np.ndarray:
    """Ink [H, W] bool to [8, 8] uint8: a bitmap of 32 x 32, its ink counted in blocks of 4 x 4, as 0 to 255.

    NIST's programs made the digits of the UCI repository (Garris et al., NISTIR 5469, 1994). What they did is read off
    their images: all fill the height, and 20 of the 32 columns, as far as that takes no more than twice the width; and
    strokes are made thicker or thinner until all have nearly the same ink, a 1 as much as a 0.
    """
    from scipy import ndimage  # 0.2 s, which only a drawing needs

    fitted = _in_bitmap(ink)
    depth = ndimage.distance_transform_edt(fitted) - ndimage.distance_transform_edt(~fitted)
    most = round(INKED * depth.size)
    bitmap = _in_bitmap(depth >= np.partition(depth, -most, axis=None)[-most])
    counted = bitmap.reshape(8, 4 * FINE, 8, 4 * FINE).mean((1, 3))
    return (np.rint(counted * 16) * (255 / 16)).round().astype(np.uint8)  # as sources.read_digits does with its counts


def _in_bitmap(ink: np.ndarray) -> np.ndarray:
    """Stretched to 20 x 32 pixels, no side more than twice what the other asks for, in the middle of 32 x 32."""
    box = _cut(ink)
    height, width = box.shape
    even = min(20 * FINE / width, 32 * FINE / height)
    small = _resized(box, min(20 * FINE, 2 * even * width), min(32 * FINE, 2 * even * height))
    small = small > small.max() // 2  # half of 255, but for a line too thin to fill a pixel
    out = np.zeros((32 * FINE, 32 * FINE), bool)
    top, left = ((len(out) - side) // 2 for side in small.shape)
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


def _cut(ink: np.ndarray) -> np.ndarray:
    """The part within the ink's bounding box."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resized(ink: np.ndarray, width: float, height: float) -> np.ndarray:
    """[height, width] uint8, rounded, at least one pixel each."""
    size = max(1, round(width)), max(1, round(height))
    return np.asarray(Image.fromarray(ink.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR))


DRAWN: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {  # by data set: what is done, and how it is said
    "digits": (as_digits, "centred, and brought to the size and the thickness that the digits of the data set have"),
    "MNIST": (as_mnist, "brought to 20 × 20 pixels, and centred in 28 × 28, as the digits of MNIST are"),
}


# --- reading ---------------------------------------------------------------------------------------------------------


Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# what Pillow raises at damaged files, found by damaging them at random
_DAMAGE = (OSError, SyntaxError, EOFError, MemoryError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def _decoded(source: Path | str | bytes) -> tuple[Image.Image, list[Note]]:
    """8-bit L or RGB, upright and opaque, and what was done to make it so."""
    done = []
    try:
        if not isinstance(source, bytes):
            if Path(source).stat().st_size > MAX_BYTES:
                raise ValueError(say("the file is larger than {most} MB", most=MAX_BYTES // 1_000_000))
            source = Path(source).read_bytes()
        if len(source) > MAX_BYTES:
            raise ValueError(say("the file is larger than {most} MB", most=MAX_BYTES // 1_000_000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(source), formats=("PNG", "JPEG", "WEBP", "BMP", "GIF"))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                say(
                    "it has {width} × {height} pixels, more than {most} million",
                    width=image.width,
                    height=image.height,
                    most=MAX_PIXELS // 1_000_000,
                )
            )
        if getattr(image, "is_animated", False) and image.format != "MPO":
            done.append(_note("frame", count=image.n_frames))
        image.load()
    except FileNotFoundError as error:
        raise ValueError(say("there is no such file: {file}", file=source)) from error
    except UnidentifiedImageError as error:
        raise ValueError(say("this is not an image that can be read; PNG, JPEG, WebP, BMP and GIF can")) from error
    except Image.DecompressionBombError as error:
        raise ValueError(say("it has more than {most} million pixels", most=MAX_PIXELS // 1_000_000)) from error
    except _DAMAGE as error:
        raise ValueError(say("the image is damaged or cut short ({error})", error=error)) from error
    with contextlib.suppress(*_DAMAGE):  # a damaged camera note does not cost the picture
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            image = ImageOps.exif_transpose(image)
            done.append(_note("upright"))
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        done.append(_note("bits"))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        done.append(_note("white"))
    if image.mode == "CMYK":
        done.append(_note("print"))
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB"), done
