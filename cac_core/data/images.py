"""Images from files: any PNG, JPEG, WebP, BMP or GIF to the array that the network sees. Numpy and Pillow.

An image of the data set, or one enlarged pixel by pixel, as the app shows it, comes back exactly. Every other picture
takes the way that the makers of the data set took with theirs:

- digits: bitmaps of 32 x 32 whose ink is counted in blocks of 4 x 4, a mean over areas (Alpaydin and Kaynak, 1998, in
  the description of the UCI repository). The network sees 16 x 16.
- MNIST: characters brought to 20 x 20 by the exact overlap of the pixels, a mean over areas, and laid into 28 x 28 by
  their centre of mass (LeCun et al., 1998, III-A; found out by Yadav and Bottou, NeurIPS 2019, whose
  making_qmnist/xnist.lsh does it again). The network sees 32 x 32.
- CIFAR and SVHN: photographs reduced to 32 x 32 by a filter that is not published (Torralba et al., TPAMI 2008;
  Netzer et al., 2011), Tiny ImageNet to 64 x 64 likewise. A mean over areas stands for it, as in the photographs that
  were reduced to be like CIFAR's: ImageNet32 (Chrabaszcz et al., 2017) and CINIC-10 (Darlow et al., 2018) take Pillow's
  Box. Pillow's bilinear filter, twice as wide, blurs: images of CIFAR-10 that come back through it are other images.
- Image folders are read from their files by Pillow's bilinear filter, and so is an uploaded file.

A picture of a character, drawn, scanned or printed, is brought to size and place as the data set's makers did theirs,
where they did (`DRAWN`), since the network knows no others; see WAYS.
"""

import contextlib
import functools
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from cac_core import files
from cac_core.sentences import say

MAX_PIXELS = 50_000_000  # a photograph of 50 megapixels; more is refused before it is decoded
MAX_WEBP = 25_000_000  # whose decoder takes 16 bytes a pixel, others 4
LARGE = 2**24  # above so many pixels, what is done to a picture is done to bands of it, and each is reduced at once
MAX_BYTES = 20_000_000
PREVIEW = 320  # pixels a side, at most
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# what a picture from elsewhere is taken for: the whole of it is reduced, or what is drawn on it is brought to size
WAYS = ("picture", "drawing")


@dataclass(frozen=True)
class Format:
    """What the images of a data set look like to the network.

    size is the side in pixels that the network sees; grain the side that the images had before they were brought to it,
    so that an image from elsewhere goes through both. ink: bright strokes on black, so a dark drawing on light paper is
    inverted. made: the side to which the makers of the data set reduced larger pictures, by a mean over areas; 0 where
    that was done here, by Pillow's bilinear filter. drawn: in whose way a drawing is brought to size, a key of DRAWN.
    """

    size: int
    grain: int
    channels: int
    ink: bool
    made: int = field(default=0, kw_only=True)
    drawn: str = field(default="", kw_only=True)


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
    "exact": "taken back to the {side} × {side} pixels that it shows enlarged",
    "frame": "the first of {count} frames",
    "upright": "turned upright, as its camera noted",
    "bits": "16 bits reduced to 8",
    "used": "the {bits} bits brought to 8 that are used of its 16",
    "large": "{width} × {height} pixels reduced to {across} × {down} at first",
    "profile": "colours brought to sRGB, as its colour profile says",
    "white": "transparent parts shown on white",
    "print": "print colours (CMYK) brought to RGB",
}


def _note(what: str, **values: int) -> Note:
    return Note(NOTES[what], values)


def way_of(row: Format, way: str | None = None) -> str:
    """What pictures are taken for, one of WAYS: what is said, or else a drawing where the data set is of drawings."""
    if way not in (None, *WAYS):
        raise ValueError(say("A picture is taken as a picture or as a drawing, not as {way!r}.", way=way))
    if way == "drawing" and not row.drawn:
        raise ValueError(say(
            "How drawings are brought to size is known for {names} alone. Take it as a picture.", names=list(DRAWN)
        ))  # fmt: skip
    return way or ("drawing" if row.drawn else "picture")


def prepare(source: Path | str | bytes, row: Format, way: str | None = None) -> Prepared:
    """An image file, or its bytes, to what the network sees; way: what it is taken for, see `way_of`.

    Raises ValueError that names the cause for what is no image, damaged, or too large.
    """
    image, done = _decoded(source)
    preview = image.copy()
    preview.thumbnail((PREVIEW, PREVIEW))
    pixels, more = _brought(image, row, way_of(row, way))
    return Prepared(pixels, (*done, *more), preview)


def seen(source: Path | str | bytes, row: Format, way: str | None = None) -> tuple[np.ndarray, tuple[Note, ...]]:
    """`prepare` without the image to be shown: the pixels, and what was done."""
    image, done = _decoded(source)
    pixels, more = _brought(image, row, way_of(row, way))
    return pixels, (*done, *more)


def brought(source: Path | str | bytes, row: Format) -> np.ndarray:
    """The pixels of `prepare` alone."""
    return seen(source, row)[0]


def converted(pixels: np.ndarray, row: Format, way: str | None = None) -> np.ndarray:
    """Images [N, H, W, C] of another format to [N, size, size, channels], as `prepare` does it with a file of each."""
    if pixels.shape[1:] == (row.size, row.size, row.channels) and not row.ink:
        return pixels
    way = way_of(row, way)
    images = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in pixels)
    return np.stack([_brought(image, row, way)[0] for image in images])


def _brought(image: Image.Image, row: Format, way: str) -> tuple[np.ndarray, list[Note]]:
    """An upright and opaque L or RGB image to [size, size, channels], and what was done to make it so."""
    mode, done = "RGB" if row.channels == 3 else "L", []
    image = image if image.mode == mode else image.convert(mode)
    width, height = image.size
    shown = _shown(np.asarray(image), row) if width == height else None
    if way == "drawing" and shown is None:
        small = image.copy()
        small.thumbnail((PREVIEW, PREVIEW))
        if (ink := _ink(np.asarray(small))).any():
            return _normalised(ink, row)
    if max(width, height) ** 2 > MAX_PIXELS and row.ink:
        raise ValueError(say(
            "it has {width} × {height} pixels, too slim to be padded to a square", width=width, height=height
        ))  # fmt: skip
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
    side = image.size[0]
    shown = _shown(np.asarray(image), row)
    if shown is not None and len(shown) != side:
        done.append(_note("exact", side=len(shown)))
    elif shown is None:
        what = "reduced" if min(width, height) > row.grain else "enlarged"
        done.append(_note(what, width=width, height=height, side=row.grain))
    return at_size(image, row), done


def at_size(image: Image.Image, row: Format) -> np.ndarray:
    """A square L or RGB image to [size, size, channels] uint8, by the steps that the data set's own images took.

    These are reduced to `made` by a mean over areas, and brought to `grain` and to `size` by Pillow's bilinear filter;
    an image that is, or shows, one of the data set at one of these sides goes on from there.
    """
    pixels = whole = np.asarray(image)
    shown = _shown(pixels, row)
    if shown is not None:
        steps = [] if len(shown) == row.size else [row.size] if len(shown) == row.grain else [row.grain, row.size]
        pixels = shown
    else:
        pixels = area_mean(pixels, row.made) if 0 < row.made < len(pixels) else pixels
        steps = [row.grain, row.size]
    for side in steps:
        if len(pixels) != side:
            picture = image if pixels is whole else Image.fromarray(pixels)  # which would copy a photograph
            pixels = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
    return np.array(pixels).reshape(row.size, row.size, row.channels)


def _shown(pixels: np.ndarray, row: Format) -> np.ndarray | None:
    """The image of the data set's size, or of a side that it had before, that a square one is or shows enlarged."""
    n, sides = len(pixels), {row.made, row.grain, row.size} - {0}
    for side in sorted(side for side in sides if side <= n):  # the smallest first, as the larger show it too
        # of 32 pixels that the network sees, four rows may be alike as if 28 had been enlarged
        if n not in sides or n % side == 0:
            small = pixels if side == n else small_of(pixels, side)
            if small is not None:
                return small
    return None


def small_of(pixels: np.ndarray, side: int) -> np.ndarray | None:
    """The [side, side] image that a square one [n, n] or [n, n, C] shows enlarged to nearest pixels, or None.

    n / side >= 1 need not be whole. A pixel of the large image takes the value that lies under its middle, as in Pillow
    and in a browser, or under its corner, as in OpenCV and PyTorch; for whole factors these are one. A middle that lies
    between two is rounded either way.
    """
    n, every = len(pixels), np.arange(len(pixels))
    middle = 2 * every + 1
    for low, high in (((middle * side - 1) // (2 * n), middle * side // (2 * n)), [every * side // n] * 2):
        sure = np.flatnonzero(low == high)
        first = sure[np.searchsorted(low[sure], np.arange(side))]
        small = pixels[np.ix_(first, first)]
        one = slice(side // 2, side // 2 + 1)  # a line through the middle, in which a photograph is none already
        if _either(pixels[first[one]].swapaxes(0, 1), small[one].swapaxes(0, 1), low, high) is None:
            continue
        down = _either(pixels[:, first], small, low, high)
        across = _either(pixels[first].swapaxes(0, 1), small.swapaxes(0, 1), low, high)
        if down is not None and across is not None and np.array_equal(small[np.ix_(down, across)], pixels):
            return small
    return None


def _either(lines: np.ndarray, small: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray | None:
    """Which line of the small image each of the large one is, of the two that it may be; None where one is neither."""
    is_low, is_high = ((lines == small[which]).reshape(len(lines), -1).all(1) for which in (low, high))
    return np.where(is_low, low, high) if (is_low | is_high).all() else None


def area_mean(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image [H, W] or [H, W, C] uint8 reduced to [side, side]: each pixel the mean of the area that it covers.

    A pixel that lies under two of them counts for each by its share, unlike in Pillow's Box. Halves are rounded up.
    """
    down, across = (_cover(n, side) for n in pixels.shape[:2])
    rows = []
    for share in down:  # row by row: as floating point numbers a photograph would take a gigabyte
        under = np.flatnonzero(share)
        rows.append(np.tensordot(share[under], pixels[under[0] : under[-1] + 1], 1))
    mean = np.einsum("jw,iw...->ij...", across, np.stack(rows))
    return np.floor(mean + 0.5 + 1e-9).astype(np.uint8)


def _cover(n: int, side: int) -> np.ndarray:
    """The share [side, n] that each of n pixels has in each of side equal parts of them; the rows sum to 1."""
    edges = np.arange(side + 1) * n / side
    low, high = np.maximum(edges[:-1, None], np.arange(n)), np.minimum(edges[1:, None], np.arange(n) + 1)
    return (high - low).clip(0) * side / n


def _border(image: Image.Image | np.ndarray) -> int:
    pixels = np.asarray(image)
    return int(np.median(np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])))


# --- drawings --------------------------------------------------------------------------------------------------------


def drawn(source: Path | str | bytes, row: Format) -> Prepared:
    """A drawing, dark on white, as the network sees it, after what the data set's makers did to theirs; see DRAWN.

    For other data sets it is taken as it is, by `prepare`. Raises ValueError as that does, and where nothing is drawn.
    """
    if not row.drawn:
        return prepare(source, row)
    image, _ = _decoded(source)
    image.thumbnail((PREVIEW, PREVIEW))
    ink = np.asarray(image.convert("L")) < 128
    if not ink.any():
        raise ValueError(say("nothing is drawn on it"))
    pixels, done = _normalised(ink, row)
    return Prepared(pixels, tuple(done), image)


def _normalised(ink: np.ndarray, row: Format) -> tuple[np.ndarray, list[Note]]:
    """Ink [H, W] bool, some of it True, to [size, size, 1] as the data set's makers did, and how that is said."""
    normalised, phrase = DRAWN[row.drawn]
    return at_size(Image.fromarray(normalised(ink)), row), [Note(phrase, {})]


def _ink(grey: np.ndarray) -> np.ndarray:
    """What is drawn on a picture [H, W] uint8, dark on light or light on dark: what is nearer to the ink than to the
    paper, which is the grey of the border. Nowhere where the picture is of one grey."""
    paper, low, high = _border(grey), int(grey.min()), int(grey.max())
    dark = paper - low > high - paper
    level = (paper + (low if dark else high)) / 2
    return grey < level if dark else grey > level


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
_DAMAGE = (
    OSError, SyntaxError, EOFError, MemoryError, IndexError, KeyError, TypeError, ValueError, struct.error, zlib.error
)  # fmt: skip


def _decoded(source: Path | str | bytes) -> tuple[Image.Image, list[Note]]:
    """8-bit L or RGB, upright and opaque, and what was done to make it so."""
    content, done = source if isinstance(source, bytes) else _content(Path(source)), []
    if len(content) > MAX_BYTES:
        raise ValueError(say("the file is larger than {most} MB", most=MAX_BYTES // 1_000_000))
    image, sixteen = _opened(content), None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(say(
            "it has {width} × {height} pixels, more than {most} million",
            width=image.width, height=image.height, most=MAX_PIXELS // 1_000_000,
        ))  # fmt: skip
    if image.format == "WEBP" and image.width * image.height > MAX_WEBP:
        raise ValueError(say(
            "it has {width} × {height} pixels; a WebP of more than {most} million takes too much memory: save it as "
            "JPEG or PNG",
            width=image.width, height=image.height, most=MAX_WEBP // 1_000_000,
        ))  # fmt: skip
    with _damage_told():
        if getattr(image, "is_animated", False) and image.format != "MPO":
            done.append(_note("frame", count=image.n_frames))
        if image.format == "PNG" and image.tile and image.tile[0].args in ("RGB;16B", "RGBA;16B"):
            sixteen = image.tile[0].args
        image.load()
    turned = 1
    with contextlib.suppress(*_DAMAGE):  # a damaged camera note does not cost the picture
        turned = image.getexif().get(ExifTags.Base.Orientation, 1)
    if turned in TURNS:
        done.append(_note("upright"))
    with _damage_told():
        low = _low_bytes(content, sixteen) if sixteen and max(high for _, high in image.getextrema()[:3]) < 16 else None
        image = _made_plain(image, low, done)
        return image.transpose(TURNS[turned]) if turned in TURNS else image, done


TURNS = {  # by the orientation that a camera notes
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def _content(file: Path) -> bytes:
    try:
        return files.content(file, MAX_BYTES)
    except FileNotFoundError as error:
        raise ValueError(say("there is no such file: {file}", file=file)) from error


def _opened(content: bytes) -> Image.Image:
    """The image, not decoded yet; ValueError where it is of a kind that is not read, with the way out."""
    try:
        with _damage_told(), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "BMP", "GIF"))
    except ValueError as error:
        if kind := _foreign(content):
            raise ValueError(way_out(kind)) from error
        raise


# kinds of images that are not read, by what their files begin with, and by the endings of their names
BEGINNINGS = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"\0\0\0\x0cjP": "JPEG 2000",
              b"\0\0\0\x0cJXL": "JPEG XL", b"\xff\x0a": "JPEG XL", b"8BPS": "Photoshop"}  # fmt: skip
BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"heim": "HEIC", b"heis": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC",
          b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}  # fmt: skip
FOREIGN = {".tif": "TIFF", ".tiff": "TIFF", ".heic": "HEIC", ".heif": "HEIC", ".avif": "AVIF", ".gif": "GIF",
           ".jp2": "JPEG 2000", ".jxl": "JPEG XL", ".psd": "Photoshop", ".svg": "SVG", ".dng": "DNG"}  # fmt: skip


def _foreign(content: bytes) -> str:
    if content[4:8] == b"ftyp":
        return BRANDS.get(content[8:12], "")
    return next((kind for beginning, kind in BEGINNINGS.items() if content.startswith(beginning)), "")


def foreign(name: str) -> str:
    """Of which kind that is not read a file is by the ending of its name; empty where it is of none."""
    return FOREIGN.get(Path(name).suffix.lower(), "")


def way_out(kind: str) -> str:
    """What to do with an image of a kind that is not read, one of FOREIGN."""
    if kind == "HEIC":
        return say(
            "HEIC images are not read; save it as JPEG (an iPhone takes JPEG by Settings, Camera, Formats, Most "
            "Compatible)"
        )
    if kind == "GIF":  # one that is given by itself is read
        return say("{kind} images are not read from folders; save it as PNG or JPEG", kind=kind)
    return say("{kind} images are not read; save it as PNG or JPEG", kind=kind)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """What Pillow raises at a file, as a ValueError that names the cause."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ValueError(say("this is not an image that can be read; PNG, JPEG, WebP and BMP can")) from error
    except Image.DecompressionBombError as error:
        raise ValueError(say("it has more than {most} million pixels", most=MAX_PIXELS // 1_000_000)) from error
    except _DAMAGE as error:
        raise ValueError(say("the image is damaged or cut short ({error})", error=error)) from error


def _low_bytes(content: bytes, sixteen: str) -> Image.Image:
    """Of a PNG with three or four channels of 16 bits the low ones, which Pillow leaves out."""
    image = _opened(content)
    image.tile = [tile._replace(args=sixteen.replace("16B", "16L")) for tile in image.tile]
    image.load()
    return image


def _made_plain(image: Image.Image, low: Image.Image | None, done: list[Note]) -> Image.Image:
    """A decoded image to 8-bit L or RGB, opaque, in the colours of sRGB. low: see `_low_bytes`.

    A large one is reduced, by means over squares of pixels, so that it has no more than LARGE: band by band, since an
    image of 50 million pixels takes 200 MB, and so does each copy of it.
    """
    width, height = image.size
    if low:
        bits = 12 if max(high for _, high in image.getextrema()[:3]) else 8
    elif image.mode.startswith("I"):  # 16 bits a pixel
        bits = next((some for some in (8, 12) if image.getextrema()[1] < 2**some), 16)
    else:
        bits = 0
    if bits:
        done.append(_note("bits") if bits == 16 else _note("used", bits=bits))
    side = 1
    while (width // side) * (height // side) > LARGE:
        side += 1
    if side == 1 or side > min(width, height):  # too slim to be reduced
        image, notes = _opaque(image, low, bits)
    else:
        rows, made, notes = 64 * side, None, {}
        for top in range(0, height - height % side, rows):
            box = (0, top, width - width % side, min(top + rows, height - height % side))
            band, more = _opaque(image.crop(box), low.crop(box) if low else None, bits)
            made = made or Image.new(band.mode, (width // side, height // side))
            made.paste(band.reduce(side), (0, top // side))
            notes |= more
        image = made
        done.append(_note("large", width=width, height=height, across=image.width, down=image.height))
    done += map(_note, notes)
    return image


def _opaque(image: Image.Image, low: Image.Image | None, bits: int) -> tuple[Image.Image, dict[str, None]]:
    """An image, or a band of one, to 8-bit L or RGB, and which of NOTES tell what was done; bits: as many are used."""
    notes, profile = {}, image.info.get("icc_profile")
    if low:
        high, below = np.asarray(image), np.asarray(low)
        pixels = high << (16 - bits) | below >> (bits - 8)
        pixels[..., 3:] = high[..., 3:]
        image = Image.fromarray(pixels)
    elif bits:
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> (bits - 8)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:  # a screenshot has an alpha, and nothing that is transparent
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            notes["white"] = None
        image = image.convert("RGB")
    if image.mode == "CMYK":
        notes["print"] = None
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile and (change := _to_srgb(profile, image.mode)):
        notes["profile"] = None
        return change.apply(image), notes
    return image.convert("RGB") if image.mode == "CMYK" else image, notes


@functools.lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str):
    """The way from an ICC profile to sRGB for images of this mode; None where it is sRGB, or cannot be read."""
    from PIL import ImageCms  # few images have a profile

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if own.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        change = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return change
        axis = np.arange(0, 256, 17 if mode == "RGB" else 1, dtype=np.uint8)
        some = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(16, -1, 3) if mode == "RGB" else axis[None]
        seen = np.asarray(change.apply(Image.fromarray(some))).astype(int)
        return change if np.abs(seen - some.reshape(*some.shape[:2], -1)).max() > 1 else None
    except (ImageCms.PyCMSError, *_DAMAGE):
        return None
