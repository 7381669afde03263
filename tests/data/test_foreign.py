"""Pictures and files as others make them: pipes and devices, few bits in many, colour profiles, large ones."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets, images
from cac_core.data.images import prepare

COLOUR = datasets.FOLDER


def png16(pixels: np.ndarray) -> bytes:
    """Values [H, W] or [H, W, C] as a PNG of 16 bits, which Pillow does not write in colour."""
    height, width = pixels.shape[:2]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2] if pixels.ndim == 3 else 1]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)), (b"IDAT", zlib.compress(lines)),
              (b"IEND", b""))  # fmt: skip
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
                    for name, data in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + body


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# --- what is no ordinary file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fifo", "link to a fifo", "device", "link to a device", "folder", "link round"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
    file, says = tmp_path / "x.png", "a pipe or a device, not a file"
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "link to a fifo":
        os.mkfifo(tmp_path / "pipe")
        file.symlink_to(tmp_path / "pipe")
    elif kind == "link to a device":
        file.symlink_to("/dev/zero")
    elif kind == "device":
        file = "/dev/zero"
    elif kind == "folder":
        file.mkdir()
        says = "it is a folder, not a file"
    else:
        file.symlink_to(file)
        says = "cannot be read"
    with pytest.raises(ValueError, match=says) as told:
        prepare(file, COLOUR)
    assert "damaged" not in str(told.value)


def test_a_file_that_tells_no_size_is_read_so_far(tmp_path):
    with pytest.raises(ValueError, match="not an image"):
        prepare("/proc/self/status", COLOUR)


# --- few bits in many ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_of_sixteen_bits_those_count_that_are_used(bits, channels):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 2**bits, (32, 32, channels))
    pixels[0, 0, :3] = 2**bits - 1
    if channels == 4:
        pixels[..., 3] = 65535
    prepared = prepare(png16(pixels.squeeze()), COLOUR)
    right = np.broadcast_to(pixels[..., : min(channels, 3)] >> (bits - 8), (32, 32, 3))
    np.testing.assert_array_equal(prepared.pixels, right)
    notes = " ".join(prepared.notes)
    if bits < 16:
        assert f"the {bits} bits" in notes
    else:
        assert ("16 bits reduced" in notes) == (channels == 1)


# --- colour profiles -------------------------------------------------------------------------------------------------


def profile(space: str, gamma: float, order: tuple[int, ...] = (0, 1, 2)) -> bytes:
    """An ICC profile, version 2: sRGB's primaries in this order, or grey, with a curve that is a plain power."""
    primaries = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)]

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"desc": name, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(0.9642, 1, 0.8249)}
    if space == "RGB ":
        tags |= {bytes([c]) + b"XYZ": xyz(*primaries[i]) for c, i in zip(b"rgb", order, strict=True)}
        tags |= {bytes([c]) + b"TRC": curve for c in b"rgb"}
    else:
        tags[b"kTRC"] = curve
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data
    size = struct.pack(">I", at + len(body))
    header = size + b"lcms" + struct.pack(">I", 0x02400000) + b"mntr" + space.encode() + b"XYZ " + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header + bytes(128 - len(header)) + table + body


def srgb(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: linear light to the values of sRGB, 0 to 1."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_colours_are_those_that_a_viewer_shows(kind):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16], pixels[:, 16:] = (200, 40, 90), (10, 120, 250)
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    turned = profile("RGB ", 1.8, (1, 2, 0))  # its red is sRGB's green, and so on
    prepared = prepare(encoded(Image.fromarray(pixels), kind, icc_profile=turned, **options), COLOUR)
    right = np.round(srgb((pixels / 255) ** 1.8) * 255)[..., [2, 0, 1]]
    assert np.abs(prepared.pixels.astype(int) - right).max() <= (4 if kind == "JPEG" else 2)
    assert "colours brought to sRGB, as its colour profile says" in prepared.notes


def test_grey_has_profiles_too():
    pixels = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) // 4
    grey = Image.fromarray(pixels.astype(np.uint8))
    prepared = prepare(encoded(grey, icc_profile=profile("GRAY", 1.4)), COLOUR)
    assert np.abs(prepared.pixels[..., 0] - np.round(srgb((pixels / 255) ** 1.4) * 255)).max() <= 3


def test_what_is_srgb_or_damaged_is_left_as_it_is():
    from PIL import ImageCms

    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    odd = {"srgb": own, "junk": b"no profile", "cut": own[:300], "empty": b"", "grey": profile("GRAY", 1.0)}
    odd |= {f"torn {n}": own[:n] + b"\xff\xff\xff\xff" + own[n + 4 :] for n in range(0, len(own), 16)}
    for name, said in odd.items():
        prepared = prepare(encoded(Image.fromarray(pixels), icc_profile=said), COLOUR)
        if not name.startswith("torn"):
            np.testing.assert_array_equal(prepared.pixels, pixels, err_msg=name)
            assert prepared.notes == ()


def test_print_colours_go_by_their_profile_where_it_can_be_read():
    image = Image.new("CMYK", (32, 32), (0, 200, 200, 0))
    plain = prepare(encoded(image, "JPEG"), COLOUR)
    other = prepare(encoded(image, "JPEG", icc_profile=profile("RGB ", 1.8)), COLOUR)
    np.testing.assert_array_equal(plain.pixels, other.pixels)  # a profile for other channels


# --- large ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["I;16", "RGB", "RGBA", "P", "L", "CMYK", "1"])
def test_a_large_picture_is_reduced_in_bands_to_what_it_was_as_a_whole(monkeypatch, mode):
    small = rough_picture(mode)
    content = encoded(small, "JPEG" if mode == "CMYK" else "PNG", **({"quality": 100} if mode == "CMYK" else {}))
    row = datasets.DATASETS["CIFAR10"] if mode != "L" else datasets.DATASETS["MNIST"]
    whole = prepare(content, row, "picture")
    monkeypatch.setattr(images, "LARGE", small.width * small.height // 4)
    banded = prepare(content, row, "picture")
    assert f"{small.width} × {small.height} pixels reduced to {small.width // 2} × {small.height // 2} at first" in (
        banded.notes
    )
    assert np.abs(whole.pixels.astype(int) - banded.pixels).max() <= 1


def rough_picture(mode: str, side: int = 1024) -> Image.Image:
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).resize((side, side))
    if mode == "I;16":
        return Image.fromarray(np.asarray(rough.convert("L")).astype(np.uint16) * 257)
    if mode == "RGBA":
        rough.putalpha(Image.fromarray(np.linspace(0, 255, side * side).reshape(side, side).astype(np.uint8)))
        return rough
    return rough.quantize(16) if mode == "P" else rough.convert(mode)


def test_a_slim_picture_is_not_reduced_to_nothing(monkeypatch):
    monkeypatch.setattr(images, "LARGE", 100)
    assert prepare(encoded(Image.new("RGB", (2, 4000), "red")), COLOUR).pixels[0, 0].tolist() == [255, 0, 0]


def test_a_webp_that_takes_too_much_memory_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_WEBP", 1000)
    with pytest.raises(ValueError, match=r"WebP of more than .* million takes too much memory: save it as JPEG or PNG"):
        prepare(encoded(Image.new("RGB", (40, 40)), "WEBP"), COLOUR)


@pytest.mark.parametrize("kind", ["16 bits", "colour"])
def test_fifty_megapixels_take_little_memory(tmp_path, kind):
    """The decoded image, 4 bytes a pixel in colour and 2 in 16 bits, and little more."""
    grey = np.arange(7071 * 7071, dtype=np.uint32).reshape(7071, 7071) >> 10
    image = Image.fromarray(grey.astype(np.uint16) if kind == "16 bits" else (grey >> 8).astype(np.uint8))
    (image if kind == "16 bits" else image.convert("RGB")).save(tmp_path / "x.png", compress_level=1)
    script = (
        "import resource, sys\n"
        "from cac_core.data import datasets, images\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "images.prepare(sys.argv[1], datasets.FOLDER)\n"
        "print((peak() - before) * 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "x.png"], capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert int(done.stdout) < 350_000_000
