"""Images of files, decoded once: on disk, resumed, never all in memory."""

import concurrent.futures
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets, decoded, sources
from cac_core.data.images import prepare

PETS = {"ant": 5, "bee": 7, "cat": 4}


@pytest.fixture
def root(image_folder, monkeypatch):
    monkeypatch.setattr(decoded, "CHUNK", 4)
    return image_folder("pets", PETS, side=40)


@pytest.fixture
def seen(monkeypatch):
    """The names of the files that are decoded, as they are."""
    names, real = [], decoded.brought

    def counted(file, row):
        names.append(file.name)
        return real(file, row)

    monkeypatch.setattr(decoded, "brought", counted)
    return names


def png(value=128):
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (value, 10, 20)).save(file, "PNG")
    return file.getvalue()


def listed(root):
    return [file for file, _ in sources.folder_files(root, "pets")["all"]]


def load(root, **more):
    return datasets.load("pets", root, 16, **more)


def test_rows_are_what_prepare_gives_and_are_indexed_like_an_array(root):
    row, files = datasets.row_of("pets", root, 16), listed(root)
    plain = np.stack([prepare(file, row).pixels for file in files])
    rows = decoded.kept(files, root / "pets", row)
    assert isinstance(rows, decoded.Rows) and rows.shape == plain.shape and rows.dtype == plain.dtype
    mask = np.arange(len(files)) % 3 == 1
    for places in (0, -1, slice(2, 9), slice(None), [3, 1, 3], mask):
        np.testing.assert_array_equal(rows[places], plain[places])
        assert type(rows[places]) is np.ndarray and rows[places].flags.writeable  # torch warns of arrays that are not
    np.testing.assert_array_equal(np.asarray(rows), plain)
    np.testing.assert_array_equal(list(rows), plain)
    np.testing.assert_array_equal(decoded.taken(decoded.taken(rows, mask), [1, 0]), plain[mask][[1, 0]])
    assert isinstance(decoded.taken(rows, mask), decoded.Rows)
    with pytest.raises(IndexError):
        rows[len(files)]


def test_nothing_is_read_to_divide_images_into_parts(root):
    images = load(root)
    trial = datasets.Trial("pets", "custom", "mine", (0, 1), (2,))
    parts = datasets.parts_of(images, trial, 0)
    assert all(isinstance(some.pixels, decoded.Rows) for some in (*images.values(), *parts.values()))
    for part in parts.values():
        source = images["test" if part is parts["test"] else "train"]
        np.testing.assert_array_equal(part.pixels[:], np.asarray(source.pixels)[part.index])


def test_digest_and_statistics_are_those_of_the_whole_whatever_the_pieces(root, monkeypatch):
    images = load(root)
    whole = {part: datasets.Images(np.asarray(some.pixels), some.classes) for part, some in images.items()}
    said = datasets.digest(whole), datasets.statistics(whole["train"].pixels)
    monkeypatch.setattr(decoded, "BLOCK", 2 * 16 * 16 * 3)
    assert (datasets.digest(images), datasets.statistics(images["train"].pixels)) == said


def test_what_was_decoded_before_a_kill_is_not_decoded_again(root, seen):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from cac_core.data import datasets, decoded\n"
        "decoded.CHUNK = 4\n"
        "datasets.load('pets', Path(sys.argv[1]), 16,\n"
        "              tell=lambda done, of, rate: os._exit(9) if done == 8 else None)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(root)], check=False).returncode == 9
    told = []
    images = load(root, tell=lambda *said: told.append(said[:2]))
    assert len(seen) == 8 and told == [(12, 16), (16, 16)]
    row = datasets.row_of("pets", root, 16)
    plain = [prepare(file, row).pixels for file in listed(root)]
    whole = decoded.kept(listed(root), root / "pets", row)
    np.testing.assert_array_equal(np.asarray(whole), plain)
    assert sum(map(len, images.values())) == 16
    load(root)
    assert len(seen) == 8


def test_an_image_more_costs_one(root, seen):
    before = load(root)
    (root / "pets" / "bee" / "zz.png").write_bytes(png())
    seen.clear()
    after = load(root)
    assert seen == ["zz.png"] and sum(map(len, after.values())) == 17
    np.testing.assert_array_equal(before["test"].pixels[:], before["test"].pixels[:])  # what is open stays
    assert len([*(root / ".cache" / "decoded").glob("*/*.pixels")]) == 1


def test_a_file_that_changes_is_decoded_again(root, seen):
    load(root)
    seen.clear()
    file = listed(root)[3]
    file.write_bytes(png(77))
    load(root)
    assert seen == [file.name]


def test_files_that_cannot_be_read_are_named_and_the_others_are_kept(root, seen):
    bad = listed(root)[5]
    good = bad.read_bytes()
    bad.write_bytes(b"no image")
    for _ in range(2):
        seen.clear()
        with pytest.raises(ValueError, match=f"(?s)1 of 16 files .*{bad.name}"):
            load(root)
    assert seen == [bad.name]
    bad.write_bytes(good)
    seen.clear()
    assert sum(map(len, load(root).values())) == 16 and seen == [bad.name]


def test_a_full_disk_is_told_and_a_small_set_stays_in_memory(root, monkeypatch):
    whole = {part: np.asarray(some.pixels) for part, some in load(root).items()}
    for file in (root / ".cache" / "decoded").glob("*/*"):
        file.unlink()
    monkeypatch.setattr(decoded._Shelf, "free", lambda self: 10)
    with pytest.warns(UserWarning, match="could not be kept"):
        small = load(root)
    assert all(isinstance(some.pixels, np.ndarray) for some in small.values())
    for part, pixels in whole.items():
        np.testing.assert_array_equal(small[part].pixels, pixels)
    monkeypatch.setattr(decoded, "MEMORY", 100)
    with pytest.raises(ValueError, match=r"cannot be written to .*0 MB are free.* Free some space"):
        load(root)


def test_of_several_at_once_one_decodes(root, seen):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: datasets.digest(load(root)), range(3)))
    assert len(set(found)) == 1 and len(seen) == 16


def test_who_waits_for_another_process_hears_how_far_it_is(root, seen, monkeypatch):
    waits, told = [], []

    class Lock:
        def __init__(self, file, timeout):
            pass

        def __enter__(self):
            if not waits:
                waits.append(1)
                raise decoded.filelock.Timeout("held")

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(decoded.filelock, "FileLock", Lock)
    load(root, tell=lambda *said: told.append(said))
    assert told[0] == (0, 16, 0.0) and told[-1][:2] == (16, 16)


def test_a_torn_file_is_made_again(root, seen):
    load(root)
    (pixels,) = (root / ".cache" / "decoded").glob("*/*.pixels")
    with open(pixels, "r+b") as file:
        file.truncate(100)
    seen.clear()
    load(root)
    assert len(seen) == 16 and os.stat(pixels).st_size == 16 * 16 * 16 * 3


def test_an_estimate_counts_what_is_missing(root):
    row = datasets.row_of("pets", root, 16)
    found = sources.ahead(root, "pets", row)
    assert found.images == 16 and found.size == 16 * 16 * 16 * 3 and found.seconds > 0 and found.free > 0
    load(root)
    assert sources.ahead(root, "pets", row) is None
    (root / "pets" / "ant" / "zz.png").write_bytes(png())
    assert sources.ahead(root, "pets", row).images == 1


def test_other_ways_to_see_the_files_are_kept_apart(root, seen):
    one = load(root)
    datasets.load("pets", root, 24)
    seen.clear()
    assert datasets.digest(load(root)) == datasets.digest(one) and not seen


def test_images_of_many_sizes_and_modes(root):
    for n, (size, mode) in enumerate([((7, 90), "RGB"), ((300, 20), "L"), ((40, 40), "RGBA"), ((1, 1), "P")]):
        Image.new(mode, size, 3).save(root / "pets" / "cat" / f"odd-{n}.png")
    assert sum(map(len, load(root).values())) == 20
