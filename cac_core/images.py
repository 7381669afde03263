"""Images from files: any PNG, JPEG, WebP, BMP or GIF to the array that the network sees. Numpy and Pillow."""

import contextlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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
class Prepared:
    """One image as the network sees it, [H, W, C] uint8, what was done to it on the way, in words, and the image
    itself, upright and small enough to be shown."""

    pixels: np.ndarray
    notes: tuple[str, ...]
    preview: Image.Image


def prepare(source: Path | str | bytes, row: Format) -> Prepared:
    """An image file, or its bytes, to what the network sees, by the way the training images took.

    Raises ValueError that names the cause for what is no image, damaged, or too large.
    """
    image, notes = _decoded(source)
    preview = image.copy()
    preview.thumbnail((PREVIEW, PREVIEW))
    image = image.convert("RGB" if row.channels == 3 else "L")
    width, height = image.size
    if max(width, height) ** 2 > MAX_PIXELS and row.ink:
        raise ValueError(f"it has {width} × {height} pixels, too slim to be padded to a square")
    if row.ink:
        border = _border(image)
        if border > 127:
            image = ImageOps.invert(image)
            border = 255 - border
            notes.append("colours inverted: the network learned bright strokes on black")
        if width != height:
            side = max(width, height)
            square = Image.new("L", (side, side), border)
            square.paste(image, ((side - width) // 2, (side - height) // 2))
            image = square
            notes.append("padded to a square")
    elif width != height:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        notes.append("cut to the square in its middle")
    if image.size[0] != row.grain:
        notes.append(
            f"{width} × {height} pixels reduced to {row.grain} × {row.grain}"
            if min(width, height) > row.grain
            else f"{width} × {height} pixels enlarged to {row.grain} × {row.grain}"
        )
    return Prepared(at_size(image, row), tuple(notes), preview)


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


Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# what Pillow raises at damaged files, found by damaging them at random
_DAMAGE = (OSError, SyntaxError, EOFError, MemoryError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def _decoded(source: Path | str | bytes) -> tuple[Image.Image, list[str]]:
    """8-bit L or RGB, upright and opaque, and what was done to make it so."""
    notes = []
    try:
        if not isinstance(source, bytes):
            if Path(source).stat().st_size > MAX_BYTES:
                raise ValueError(f"the file is larger than {MAX_BYTES // 1_000_000} MB")
            source = Path(source).read_bytes()
        if len(source) > MAX_BYTES:
            raise ValueError(f"the file is larger than {MAX_BYTES // 1_000_000} MB")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(source), formats=("PNG", "JPEG", "WEBP", "BMP", "GIF"))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(
                f"it has {image.width} × {image.height} pixels, more than {MAX_PIXELS // 1_000_000} million"
            )
        if getattr(image, "is_animated", False) and image.format != "MPO":
            notes.append(f"the first of {image.n_frames} frames")
        image.load()
    except FileNotFoundError as error:
        raise ValueError(f"there is no such file: {source}") from error
    except UnidentifiedImageError as error:
        raise ValueError("this is not an image that can be read; PNG, JPEG, WebP, BMP and GIF can") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has more than {MAX_PIXELS // 1_000_000} million pixels") from error
    except _DAMAGE as error:
        raise ValueError(f"the image is damaged or cut short ({error})") from error
    with contextlib.suppress(*_DAMAGE):  # a damaged camera note does not cost the picture
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            image = ImageOps.exif_transpose(image)
            notes.append("turned upright, as its camera noted")
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        notes.append("16 bits reduced to 8")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
        notes.append("transparent parts shown on white")
    if image.mode == "CMYK":
        notes.append("print colours (CMYK) brought to RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB"), notes
