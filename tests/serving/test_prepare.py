"""What goes with an exported file prepares pictures elsewhere as they are prepared here, to the pixel."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from cac_core.data import datasets, images
from cac_core.serving import deciders
from tests.data.test_foreign import encoded, png16, profile

pytestmark = pytest.mark.long
SCRIPT = deciders.PREPARATION.read_text("utf-8")
NEAREST = Image.Resampling.NEAREST
ROWS = {
    **{name: datasets.DATASETS[name] for name in ("digits", "MNIST", "CIFAR10", "TinyImageNet", "Textures")},
    "a folder": datasets.FOLDER,
    "pretrained": dataclasses.replace(datasets.FOLDER, size=224, grain=224),
    "CIFAR10 pretrained": dataclasses.replace(datasets.DATASETS["CIFAR10"], size=224),
    "TinyImageNet small": dataclasses.replace(datasets.DATASETS["TinyImageNet"], size=32, grain=32),
}
WAYS = [(name, way) for name, row in ROWS.items() for way in images.WAYS if way == "picture" or row.drawn]


@functools.cache
def photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return Image.fromarray(
        (np.asarray(rough) + rng.integers(-20, 20, (height, width, 3))).clip(0, 255).astype(np.uint8)
    )


def drawing(width: int, height: int, ink: int = 30, paper: int = 230, thick: int = 12) -> Image.Image:
    image = Image.new("L", (width, height), paper)
    draw = ImageDraw.Draw(image)
    draw.ellipse((width * 0.3, height * 0.2, width * 0.6, height * 0.5), outline=ink, width=thick)
    draw.line((width * 0.55, height * 0.4, width * 0.4, height * 0.8), fill=ink, width=thick)
    return image


def pictures_of(row: images.Format) -> dict[str, bytes]:
    """Of one data set's sizes, and of many kinds."""
    shapes = (640, 480), (50, 40), (33, 31), (97, 97), (20, 20), (7, 5), (1, 1), (3, 200)
    some = {f"{width} x {height}": encoded(photo(width, height)) for width, height in shapes}
    for side in {row.made, row.grain, row.size} - {0}:
        own = photo(side, side).convert("L" if row.channels == 1 else "RGB")
        pixels, corner = np.asarray(own), np.arange(3 * side // 2 + 1) * side // (3 * side // 2 + 1)
        some |= {
            f"at {side}": encoded(own),
            f"at {side}, four times": encoded(own.resize((4 * side, 4 * side), NEAREST)),
            f"at {side}, by middles": encoded(own.resize((8 * side // 3, 8 * side // 3), NEAREST)),
            f"at {side}, by corners": encoded(Image.fromarray(pixels[np.ix_(corner, corner)])),
            f"at {side}, to the network's size": encoded(own.resize((row.size, row.size), NEAREST)),
            f"at {side}, upside down": encoded(own, exif=turned(3)),
            f"at {side}, not quite": encoded(own.resize((4 * side, 4 * side), NEAREST), "JPEG", quality=95),
        }
    image, grey = photo(120, 90), np.asarray(photo(120, 90).convert("L"))
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (90, 1)))
    clear = image.copy()
    clear.putalpha(alpha)
    palette = image.quantize(16)
    some |= {f"turned {n}": encoded(image, "JPEG", exif=turned(n)) for n in range(10)}
    some |= {f"16 bits, {bits} used": png16(grey.astype(int) << (bits - 8)) for bits in (8, 12, 16)}
    some |= {mode: encoded(image.convert(mode)) for mode in ("L", "P", "1")}
    some |= {kind: encoded(image, kind) for kind in ("WEBP", "BMP", "GIF")}
    some |= {
        "alpha": encoded(clear), "alpha in WebP": encoded(clear, "WEBP"), "grey alpha": encoded(clear.convert("LA")),
        "opaque alpha": encoded(image.convert("RGBA")), "palette with a hole": encoded(palette, transparency=3),
        "colours of 16 bits": png16(np.asarray(image).astype(int) * 257),
        "print": encoded(image.convert("CMYK"), "JPEG"),
        "print with a profile": encoded(image.convert("CMYK"), "JPEG", icc_profile=profile("RGB ", 1.8)),
        "profile near to sRGB": encoded(image, icc_profile=profile("RGB ", 2.1)),
        "profile": encoded(image, icc_profile=profile("RGB ", 1.4)),
        "grey profile": encoded(image.convert("L"), icc_profile=profile("GRAY", 1.4)),
        "sRGB": encoded(image, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
        "torn profile": encoded(image, icc_profile=b"none"),
        "frames": encoded(image, "GIF", save_all=True, append_images=[photo(120, 90).rotate(90)]),
    }  # fmt: skip
    some |= {
        "drawn": encoded(drawing(300, 300)), "drawn large": encoded(drawing(900, 700, thick=40)),
        "drawn light on dark": encoded(drawing(200, 200, 240, 10)), "drawn slim": encoded(drawing(60, 400)),
        "drawn small": encoded(drawing(40, 50, thick=3)), "drawn thin": encoded(drawing(500, 500, thick=1)),
        "drawn thick": encoded(drawing(300, 300, thick=60)), "nothing drawn": encoded(Image.new("L", (50, 60), 200)),
        "drawn at an angle": encoded(drawing(320, 240), "JPEG", exif=turned(6)),
    }  # fmt: skip
    return some


def turned(note: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = note
    return exif


def prepared_elsewhere(folder: Path, contents: list[bytes], row: images.Format, way: str) -> list[np.ndarray | str]:
    """What a process makes of these pictures that has neither this project nor torch; an error where it refuses."""
    for n, content in enumerate(contents):
        (folder / str(n)).write_bytes(content)
    kept = ("size", "grain", "channels", "ink", "made", "drawn")
    how = {name: getattr(row, name) for name in kept} | {"as": way}
    code = SCRIPT.split("\nsession = ")[0].replace("import onnxruntime\n", "") + (
        "\nhow, made = json.loads(sys.argv[1]), []\n"
        "for n in range(int(sys.argv[2])):\n"
        "    try:\n"
        "        made.append(prepared(str(n), how).tobytes().hex())\n"
        "    except ValueError as error:\n"
        "        made.append([str(error)])\n"
        "assert not {'torch', 'scipy', 'cac_core', 'onnxruntime'} & sys.modules.keys()\n"
        "json.dump(made, sys.stdout)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(how), str(len(contents))], cwd=folder,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    shape = row.size, row.size, row.channels
    return [one[0] if isinstance(one, list) else np.frombuffer(bytes.fromhex(one), np.uint8).reshape(shape)
            for one in json.loads(done.stdout)]  # fmt: skip


@pytest.mark.parametrize("name, way", WAYS)
def test_pictures_are_prepared_elsewhere_as_here(tmp_path, name, way):
    row = ROWS[name]
    some = pictures_of(row)
    made = prepared_elsewhere(tmp_path, list(some.values()), row, way)
    differ = {}
    for (kind, content), theirs in zip(some.items(), made, strict=True):
        mine = images.seen(content, row, way)[0]
        if isinstance(theirs, str) or not np.array_equal(theirs, mine):
            differ[kind] = theirs if isinstance(theirs, str) else int(np.abs(theirs.astype(int) - mine).max())
    assert not differ


def test_a_large_picture_is_reduced_at_first_elsewhere_too(tmp_path):
    image = photo(640, 480).convert("L").resize((5001, 3403))
    content = encoded(image, "JPEG", exif=turned(6))
    for row in (ROWS["a folder"], ROWS["MNIST"]):
        (theirs,) = prepared_elsewhere(tmp_path, [content], row, "picture")
        np.testing.assert_array_equal(theirs, images.seen(content, row, "picture")[0])


def test_few_of_sixteen_bits_in_colour_are_refused_with_a_way_out(tmp_path):
    content = png16(np.asarray(photo(40, 40)).astype(int))
    (said,) = prepared_elsewhere(tmp_path, [content], ROWS["a folder"], "picture")
    assert "save it with 8 bits" in said
