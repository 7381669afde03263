"""A user's own images and trials: what is right goes in whole, and no upload reaches beyond its own folder."""

import contextlib
import io
import json
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets, images
from cac_core.exchange import own_data


def picture(colour=(200, 30, 30), side=12, kind="PNG", seed=0):
    noise = np.random.default_rng(seed).integers(-20, 20, (side, side, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).save(file, kind)
    return file.getvalue()


def zip_of(files, how=zipfile.ZIP_DEFLATED):
    """files: name, or a ZipInfo, -> content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


def pets(prefix="", classes=("cat", "dog"), count=5):
    return {
        f"{prefix}{cls}/{n}.png": picture((60 * c, 90, 200 - 40 * c), seed=100 * c + n)
        for c, cls in enumerate(classes) for n in range(count)
    }  # fmt: skip


def checked(files):
    upload = own_data.zipped(zip_of(files))
    return own_data.check(upload), upload


# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["", "pets/", "a/b/pets/", "./pets/"])
def test_a_zip_of_class_folders_becomes_a_data_set(tmp_path, around):
    files = pets(around) | {f"{around}README.txt": b"hello", f"__MACOSX/{around}cat/._0.png": b"x",
                            f"{around}cat/.DS_Store": b"x"}  # fmt: skip
    found, upload = checked(files)
    assert found.counts() == {"": {"cat": 5, "dog": 5}} and found.ignored == 2
    assert [why for _, why in found.refused] == ["it is no image by its ending"]
    assert own_data.problems(found) == []
    own_data.write(found, upload, tmp_path, "my-pets", {"size": 16, "channels": 1, "flip": False})
    assert datasets.folders(tmp_path) == ["my-pets"] and [p.name for p in tmp_path.iterdir()] == ["my-pets"]
    row = datasets.row_of("my-pets", tmp_path)
    assert (row.classes, row.size, row.channels, row.flip) == (("cat", "dog"), 16, 1, False)
    read = datasets.load("my-pets", tmp_path)
    assert len(read["train"]) == 8 and len(read["test"]) == 2
    mine = {images.prepare(content, row).pixels.tobytes() for content in files.values() if len(content) > 10}
    assert {image.tobytes() for part in read.values() for image in part.pixels} == mine


@pytest.mark.parametrize("other", ["test", "val", "Test"])
def test_train_and_test_stay_apart(tmp_path, other):
    found, upload = checked(pets("set/train/") | pets(f"set/{other}/", count=2))
    assert found.counts() == {"train": {"cat": 5, "dog": 5}, "test": {"cat": 2, "dog": 2}}
    own_data.write(found, upload, tmp_path, "pets", {})
    assert {part: len(some) for part, some in datasets.load("pets", tmp_path).items()} == {"train": 10, "test": 4}


def test_train_alone_is_no_part(tmp_path):
    assert checked(pets("train/"))[0].counts() == {"": {"cat": 5, "dog": 5}}


@pytest.mark.parametrize("train, test", [("Train", "Validation"), ("training", "testing"), ("TRAIN", "valid")])
def test_parts_go_by_many_names(train, test):
    found, _ = checked(pets(f"set/{train}/") | pets(f"set/{test}/", count=2))
    assert found.counts() == {"train": {"cat": 5, "dog": 5}, "test": {"cat": 2, "dog": 2}}


def test_of_three_parts_validation_is_left_out(tmp_path):
    found, upload = checked(pets("x/train/") | pets("x/val/", count=3) | pets("x/test/", count=2))
    assert found.counts() == {"train": {"cat": 5, "dog": 5}, "test": {"cat": 2, "dog": 2}}
    assert len(found.refused) == 6 and all("validation images are taken from" in why for _, why in found.refused)
    own_data.write(found, upload, tmp_path, "pets", {})
    assert {part: len(some) for part, some in datasets.load("pets", tmp_path).items()} == {"train": 10, "test": 4}


def test_tiff_and_heic_are_told_the_way_out():
    found, _ = checked(pets() | {"cat/a.tif": b"II*\0", "dog/b.HEIC": b"x", "cat/c.png": b"\0\0\0\x18ftypheic"})
    why = dict(found.refused)
    assert why["cat/a.tif"] == "TIFF images are not read; save it as PNG or JPEG"
    assert "save it as JPEG (an iPhone" in why["dog/b.HEIC"] and "save it as JPEG (an iPhone" in why["cat/c.png"]


def test_a_class_whose_name_no_folder_bears_is_left_out_and_not_the_rest():
    found, _ = checked(pets(classes=("cat", "dog", "a?b")))
    assert found.classes == ["cat", "dog"] and len(found.refused) == 5
    assert all('none of < > : " / \\ | ? *' in why for _, why in found.refused)


def test_classes_are_named_anew_and_put_together(tmp_path):
    found, upload = checked(pets(classes=("cat", "dog", "kitten")))
    new = own_data.renamed(found, {"cat": " Katze ", "kitten": "Katze", "dog": "dog"})
    assert new.counts() == {"": {"Katze": 10, "dog": 5}} and set(new.shown) == {"Katze", "dog"}
    own_data.write(new, upload, tmp_path, "pets", {})
    assert datasets.row_of("pets", tmp_path).classes == ("Katze", "dog")
    with pytest.raises(ValueError, match="A class"):
        own_data.renamed(found, {"cat": "a/b"})


def test_classes_are_left_out(tmp_path):
    files = pets(classes=("cat", "dog", "puppy")) | {"bird/": b"", "fish/": b""}
    found, upload = checked(files | {"puppy/same.png": files["dog/0.png"]})
    left = own_data.without(found, {"puppy", "bird"})
    assert left.counts() == {"": {"cat": 5, "dog": 5}} and set(left.shown) == {"cat", "dog"}
    assert left.empty == ("fish",) and own_data.copies(left) == []
    own_data.write(own_data.without(left, {"fish"}), upload, tmp_path, "pets", {})
    assert datasets.row_of("pets", tmp_path).classes == ("cat", "dog")


def test_an_empty_class_is_named_anew_too():
    found, _ = checked(pets() | {"bird/": b"", "fish/": b""})
    assert own_data.renamed(found, {"bird": "cat", "fish": "Fisch"}).empty == ("Fisch",)


# --- names that do not say how they are written ----------------------------------------------------------------------


def zip_in(encoding, classes, *, around="", flag=0, extra=None, count=3):
    """A zip as an archiver writes it that takes names as bytes in its system's encoding."""
    entries, listed = b"", b""
    for c, cls in enumerate(classes):
        for n in range(count):
            content, name = picture(seed=10 * c + n), f"{around}{cls}/{n}.png".encode(encoding)
            more = extra(name, f"{around}{cls}/{n}.png") if extra else b""
            head = struct.pack("<HHHHLLL", flag, 0, 0, 0, zlib.crc32(content), len(content), len(content))
            sizes = struct.pack("<HH", len(name), len(more))
            listed += (
                b"PK\1\2" + struct.pack("<HH", 20, 20) + head + sizes + struct.pack("<HHHLL", 0, 0, 0, 0, len(entries))
            )
            listed += name + more
            entries += b"PK\3\4" + struct.pack("<H", 20) + head + sizes + name + more + content
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, len(classes) * count, len(classes) * count, len(listed), len(entries), 0
    )
    return io.BytesIO(entries + listed + end)


WRITTEN = [
    (encoding, classes.split(", "))
    for encoding, every in {
        "utf-8": "猫, 犬; Käse, Brot",
        "gb18030": "猫, 狗; 鸟类, 飞机; 正常, 缺陷; 人, 车",
        "cp932": "ソファ, 椅子; 犬, 猫; 表, 予定; 良品, 不良品",
        "cp949": "고양이, 개; 정상, 불량; 꽃, 나무",
        "big5": "貓, 狗; 正常, 異常",
        "cp437": "Käse, Äpfel; crème brûlée, thé",
        "cp866": "кошка, собака",
        "cp1252": "Größe, Äpfel",
    }.items()
    for classes in every.split("; ")
]


@pytest.mark.parametrize("encoding, classes", WRITTEN)
def test_names_are_read_by_the_likeliest_encoding(tmp_path, encoding, classes):
    upload = own_data.zipped(zip_in(encoding, classes, around="set/"))
    assert upload.encoding == upload.encodings[0] == encoding
    found = own_data.check(upload)
    assert found.classes == sorted(classes) and not found.refused
    own_data.write(found, upload, tmp_path, "set", {})
    assert datasets.row_of("set", tmp_path).classes == tuple(sorted(classes))


def test_another_encoding_is_taken_where_it_is_said():
    file = zip_in("cp932", ["ソファ", "椅子"])
    wrong = own_data.zipped(file, "cp437")
    assert wrong.encoding == "cp437" and wrong.names[-1] != "椅子/2.png"
    assert own_data.zipped(file, "cp932").names[-1] == "椅子/2.png"
    with pytest.raises(ValueError, match=r"cannot be read as utf-8; they may be cp932, "):
        own_data.zipped(file, "utf-8")


def test_what_the_zip_says_of_its_names_is_believed():
    assert own_data.zipped(zip_in("utf-8", ["猫", "犬"], flag=0x800), "cp932").names[0] == "猫/0.png"
    for upload in (own_data.zipped(zip_in("ascii", ["cat", "dog"])), own_data.zipped(zip_of(pets()))):
        assert (upload.encoding, upload.encodings) == ("", ())

    def beside(raw, name):
        said = b"\1" + struct.pack("<L", zlib.crc32(raw)) + name.encode()
        return struct.pack("<HH", 0x7075, len(said)) + said

    upload = own_data.zipped(zip_in("cp949", ["고양이", "개"], extra=beside))
    assert (upload.names[0], upload.encoding) == ("고양이/0.png", "")


def test_images_picked_class_by_class_become_a_data_set(tmp_path):
    upload = own_data.picked(
        {c: [("../../x/1.png", picture(seed=n + 10 * i)) for n in range(3)] for i, c in enumerate(("un chat", "猫 🐈"))}
    )
    found = own_data.check(upload)
    own_data.write(found, upload, tmp_path / "data", "pets", {})
    assert datasets.row_of("pets", tmp_path / "data").classes == ("un chat", "猫 🐈")
    assert len(datasets.load("pets", tmp_path / "data")["train"]) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_every_kind_of_image_is_kept_by_what_it_is_not_by_its_name(tmp_path):
    kinds = ("PNG", "JPEG", "WEBP", "BMP")
    files = {f"{cls}/{n}.png": picture(kind=kind, seed=ord(cls) + n) for cls in "ab" for n, kind in enumerate(kinds)}
    found, upload = checked(files | {"a/anim.gif": picture(kind="GIF")})
    assert [(name, "GIF" in why) for name, why in found.refused] == [("a/anim.gif", True)]
    own_data.write(found, upload, tmp_path, "kinds", {})
    endings = sorted(p.suffix for p in (tmp_path / "kinds" / "a").iterdir())
    assert endings == [".bmp", ".jpg", ".png", ".webp"]


# --- what is wrong with the images -----------------------------------------------------------------------------------


def test_what_is_no_image_is_listed_and_left_out(tmp_path):
    good = pets()
    cut = picture(seed=9)[:60]
    page = b"<html><script>alert(1)</script>"
    bad = {"cat/no.png": b"no image", "cat/cut.png": cut, "dog/0.jpg": b"", "dog/p.png": page, "loose.png": picture()}
    found, upload = checked(good | bad)
    assert {name for name, _ in found.refused} == set(bad)
    assert len(found.pictures) == len(good)
    own_data.write(found, upload, tmp_path, "pets", {})
    assert len(list((tmp_path / "pets").rglob("*.*"))) == len(good)


def test_an_empty_class_one_class_and_too_few_are_told(tmp_path):
    empty, _ = checked(pets() | {"bird/": b""})
    assert empty.empty == ("bird",) and "bird" in own_data.problems(empty)[0]
    broken, _ = checked(pets() | {"bird/1.png": b"no image"})
    assert broken.empty == ("bird",)
    one, upload = checked(pets(classes=("cat",)))
    assert "two classes" in own_data.problems(one)[0]
    few, _ = checked(pets(count=2))
    assert "at least 3 images; too few have: cat, dog" in own_data.problems(few)[0]
    untested, _ = checked(pets("train/") | pets("test/", classes=("cat",)))
    assert "at least one image in test; none have: dog" in own_data.problems(untested)[0]
    none, _ = checked({"readme.txt": b"x"})
    assert own_data.problems(none)
    alike, _ = checked(pets(classes=("Cat", "cat")))
    assert "Cat and cat" in own_data.problems(alike)[0]
    with pytest.raises(ValueError, match="two classes"):
        own_data.write(one, upload, tmp_path, "pets", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count, split", [(3, False), (2, True)])
def test_as_few_as_are_let_in_can_be_trained_on(tmp_path, count, split):
    found, upload = checked(pets("train/", count=2) | {f"test/{c}/0.png": picture(seed=n + 50) for n, c in
                            enumerate(("cat", "dog"))} if split else pets(count=count))  # fmt: skip
    own_data.write(found, upload, tmp_path, "pets", {})
    parts = datasets.parts_of(datasets.load("pets", tmp_path), datasets.Trial("pets", "custom", "x", (0, 1), ()), 0)
    assert all(len(part) for part in parts.values())


def test_copies_are_found_and_the_test_image_stays():
    same, wrong = picture(seed=77), picture(seed=78)
    found, _ = checked(pets("train/") | pets("test/", count=1) | {
        "train/cat/copy.png": same, "test/cat/copy.png": same, "train/dog/both.png": wrong, "train/cat/both.png": wrong,
    })  # fmt: skip
    names = [sorted(p.name for p in group) for group in own_data.copies(found)]
    assert sorted(names) == sorted([
        ["test/cat/0.png", "train/cat/0.png"], ["test/dog/0.png", "train/dog/0.png"],
        ["test/cat/copy.png", "train/cat/copy.png"], ["train/cat/both.png", "train/dog/both.png"],
    ])  # fmt: skip
    left = own_data.without_copies(found)
    assert own_data.copies(left) == []
    assert {p.name for p in found.pictures} - {p.name for p in left.pictures} == {
        "train/cat/0.png", "train/dog/0.png", "train/cat/copy.png", "train/cat/both.png", "train/dog/both.png",
    }  # fmt: skip
    assert {own_data.kept(group).name for group in own_data.copies(found) if own_data.kept(group)} == {
        "test/cat/0.png", "test/dog/0.png", "test/cat/copy.png",
    }  # fmt: skip


def test_a_class_that_is_there_in_another_one_too_is_told_and_does_not_vanish():
    files = pets()
    found, _ = checked(files | {f"puppy/{n}.png": files[f"dog/{n}.png"] for n in range(5)})
    left = own_data.without_copies(found)
    assert left.counts() == {"": {"cat": 5}} and left.empty == ("dog", "puppy")
    assert any("No image can be taken of: dog, puppy" in said for said in own_data.problems(left))
    one = own_data.without_copies(own_data.renamed(found, {"puppy": "dog"}))
    assert one.counts() == {"": {"cat": 5, "dog": 5}} and own_data.problems(one) == []


# --- attacks ---------------------------------------------------------------------------------------------------------


OUT = [
    "../evil/1.png",
    "cat/../../evil.png",
    "/etc/1.png",
    "C:\\cat\\1.png",
    "..\\cat\\1.png",
    "cat/..",
    "\\\\s\\cat\\1.png",
]


@pytest.mark.parametrize("name", OUT)
def test_a_name_that_leads_out_is_refused(name):
    with pytest.raises(ValueError, match="lead out"):
        own_data.zipped(zip_of(pets() | {name: picture()}))


def test_a_name_cut_by_a_zero_is_refused():
    made = zip_of(pets() | {"cat/evil_.png": picture()}).getvalue().replace(b"evil_.png", b"evil\0.png")
    with pytest.raises(ValueError, match=r"lead out|cannot be read"):
        own_data.zipped(io.BytesIO(made))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(kind):
    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = (kind | 0o777) << 16
    with pytest.raises(ValueError, match="link or a device"):
        own_data.zipped(zip_of(pets() | {link: "/etc/passwd"}))


def test_a_hundred_thousand_entries_are_refused():
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as archive:
        for n in range(own_data.FILES + 1):
            archive.writestr(f"cat/{n}.png", b"")
    with pytest.raises(ValueError, match=f"{own_data.FILES + 1} files"):
        own_data.zipped(many)


def test_a_long_list_of_files_is_refused_before_it_is_read(monkeypatch):
    entry = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0) + b"cat/1.png"
    )
    listed = entry * (own_data.DIRECTORY // len(entry) + 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), 0, 0)  # it claims one entry
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ValueError, match="list of files alone"):
        own_data.zipped(io.BytesIO(listed + end))
    locator = b"PK\6\7" + bytes(16)
    with pytest.raises(ValueError, match="zip64"):
        own_data.zipped(io.BytesIO(locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)))


def test_zeros_are_unpacked_no_further_than_an_image_may_be(monkeypatch):
    """A small zip of 30 MB files of zeros: each is read to the limit of an image, and all to that of the whole."""
    monkeypatch.setattr(own_data, "BYTES", 100_000_000)
    bomb = zip_of({"cat/0.png": bytes(30_000_000)})
    assert len(bomb.getvalue()) < 100_000
    upload = own_data.zipped(bomb)
    assert len(upload.read(0)) == images.MAX_BYTES + 1
    found = own_data.check(upload)
    assert found.pictures == () and "larger than" in found.refused[0][1]
    zeros = {f"cat/{n}.png": bytes(30_000_000) for n in range(6)}
    with pytest.raises(ValueError, match="more than 100 MB"):
        own_data.check(own_data.zipped(zip_of(zeros)))


@pytest.mark.parametrize("claimed", [10, 10_000_000_000 % 2**32])
def test_a_size_that_lies_is_not_believed(claimed):
    honest = zip_of({"cat/0.png": bytes(5_000_000)}).getvalue()
    lying = honest.replace(struct.pack("<L", 5_000_000), struct.pack("<L", claimed))
    upload = own_data.zipped(io.BytesIO(lying))
    found = own_data.check(upload)
    assert found.pictures == () and len(found.refused) == 1


def test_a_picture_of_too_many_pixels_is_not_decoded():
    huge = io.BytesIO()
    Image.new("1", (9000, 9000)).save(huge, "PNG")
    found, _ = checked(pets() | {"cat/huge.png": huge.getvalue()})
    assert [name for name, _ in found.refused] == ["cat/huge.png"] and "million" in found.refused[0][1]


@pytest.mark.parametrize("name", ["cat/more.zip", "more.tar.gz", "cat/x.7z"])
def test_archives_within_are_refused(name):
    with pytest.raises(ValueError, match="within the archive"):
        own_data.zipped(zip_of(pets() | {name: zip_of(pets()).getvalue()}))


def test_an_archive_that_says_it_is_an_image_is_none():
    found, _ = checked(pets() | {"cat/inner.png": zip_of(pets()).getvalue()})
    assert [name for name, _ in found.refused] == ["cat/inner.png"]


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_without_a_bound_are_refused(how):
    with pytest.raises(ValueError, match="unusual"):
        own_data.zipped(zip_of(pets(), how))


def test_a_password_and_damage_are_told():
    good = zip_of(pets()).getvalue()
    locked = good.replace(b"PK\1\2\x14\x03\x14\x00\x00\x00", b"PK\1\2\x14\x03\x14\x00\x01\x00")
    assert locked != good
    with pytest.raises(ValueError, match="password"):
        own_data.zipped(io.BytesIO(locked))
    for wrong in (b"", b"PK", b"no zip", good[:-30], good[200:] + b"x" * 70_000):
        with pytest.raises(ValueError, match="cannot be read"):
            own_data.zipped(io.BytesIO(wrong))


def test_a_zip_damaged_at_random_never_does_more_than_be_refused():
    rng, good = np.random.default_rng(0), zip_of(pets(count=3)).getvalue()
    for _ in range(300):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), rng.integers(1, 12)):
            bad[place] = rng.integers(0, 256)
        with contextlib.suppress(ValueError):
            own_data.check(own_data.zipped(io.BytesIO(bytes(bad))))


TAKEN = {"cat": "cat", " cat ": "cat", "my cat 2": "my cat 2", "猫": "猫", "cafe\u0301": "caf\u00e9", "🐈": "🐈",
         "👩\u200d🚀": "👩\u200d🚀", "a.b": "a.b", "[x](y)": "[x](y)"}  # fmt: skip


@pytest.mark.parametrize("good, kept", TAKEN.items())
def test_class_names_of_people_are_taken(good, kept):
    assert own_data.class_name(good) == kept


REFUSED = ["", " ", ".", "..", ".hidden", "dot.", "a/b", "a\\b", "a:b", "<b>cat</b>", 'a"b', "a|b", "a?b", "a*b",
           "a\nb", "a\0b", "a\u202eb", "x" * 61, "猫" * 70, "CON", "nul.txt", "\ud800"]  # fmt: skip


@pytest.mark.parametrize("bad", REFUSED)
def test_class_names_that_no_folder_should_bear_are_refused(bad):
    with pytest.raises(ValueError, match=r"[Cc]lass"):
        own_data.class_name(bad)


@pytest.mark.parametrize("name", ["", "My Pets", "../pets", "a/b", "猫", "digits", "mnist", "trials", "dtd", "-x",
                                  "x" * 41, ".cache", "cifar-10-batches-py"])  # fmt: skip
def test_a_data_set_is_named_narrowly(tmp_path, name):
    found, upload = checked(pets())
    with pytest.raises(ValueError):
        own_data.write(found, upload, tmp_path, name, {})
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_write_that_fails(tmp_path, monkeypatch):
    found, upload = checked(pets())
    own_data.write(found, upload, tmp_path, "pets", {})
    with pytest.raises(ValueError, match="there already"):
        own_data.write(found, upload, tmp_path, "pets", {})
    other = own_data.zipped(zip_of({name: picture(seed=500) for name in pets()}))
    with pytest.raises(ValueError, match="has changed"):
        own_data.write(found, other, tmp_path, "others", {})

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(ValueError, match="No space left"):
        own_data.write(found, upload, tmp_path, "others", {})
    assert [p.name for p in tmp_path.iterdir()] == ["pets"]


# --- trials ----------------------------------------------------------------------------------------------------------


def test_a_trial_is_kept_and_read_back(tmp_path):
    row = datasets.row_of("digits", tmp_path)
    trial = datasets.Trial("digits", "custom", "odd-ones", (1, 3, 5), (0, 2))
    file = own_data.save_trial(trial, row, tmp_path)
    assert datasets.trial_from_file(file, "digits", row) == trial
    assert own_data.trials(tmp_path, "digits", row) == {"odd-ones": trial}
    assert own_data.trials(tmp_path, "MNIST", datasets.row_of("MNIST", tmp_path)) == {}
    own_data.save_trial(datasets.Trial("digits", "custom", "odd-ones", (1, 3), (0,)), row, tmp_path)
    assert own_data.trials(tmp_path, "digits", row)["odd-ones"].known == (1, 3)
    with pytest.raises(ValueError, match="of digits already"):
        own_data.save_trial(datasets.Trial("MNIST", "custom", "odd-ones", (1, 3), ()), row, tmp_path)
    file.write_text(json.dumps({"Known": ["1", "cat"], "Dataset": "digits"}))
    assert "no class 'cat'" in own_data.trials(tmp_path, "digits", row)["odd-ones"]


def test_a_class_that_is_never_learnt_is_said_in_dataset_json_and_known_in_no_trial(image_folder):
    root = image_folder("pets", {"ant": 5, "bee": 5, "cat": 5})
    file = root / "pets/dataset.json"
    own_data.never_learn(root, "pets", [])
    assert not file.exists()
    file.write_text('{"size": 16}')
    own_data.never_learn(root, "pets", ["cat"])
    assert json.loads(file.read_text()) == {"size": 16, "unknown": ["cat"]}
    row = datasets.row_of("pets", root)
    own_data.save_trial(datasets.Trial("pets", "custom", "pets", (0, 1), (2,)), row, root)
    with pytest.raises(ValueError, match=r"All images of cat are test images.*none is left to learn from"):
        own_data.save_trial(datasets.Trial("pets", "custom", "pets", (0, 2), (1,)), row, root)
    own_data.never_learn(root, "pets", [])
    assert json.loads(file.read_text()) == {"size": 16}


@pytest.mark.parametrize("name", ["", "Odd ones", "../odd", "a/b", "奇数", "x" * 41])
def test_a_trial_is_named_narrowly(tmp_path, name):
    with pytest.raises(ValueError, match="small letters"):
        own_data.save_trial(
            datasets.Trial("digits", "custom", name, (1, 3), ()), datasets.row_of("digits", tmp_path), tmp_path
        )
    with pytest.raises(ValueError, match="two known"):
        own_data.save_trial(
            datasets.Trial("digits", "custom", "x", (1,), ()), datasets.row_of("digits", tmp_path), tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_trials_come_and_go_as_cac_openset_writes_them(tmp_path):
    row = datasets.row_of("digits", tmp_path)
    trial = datasets.Trial("digits", "custom", "mine", (1, 3, 5), (0, 2))
    said = own_data.trial_json(trial, row)
    assert json.loads(said) == {"Known": [1, 3, 5], "Unknown": [0, 2]}
    assert own_data.trial_from_bytes(said.encode(), "mine.json", "digits", row) == trial
    for wrong in (b"", b"[]", b"{}", b'{"Known": [1, 99]}', b"[" * 100_000, b'{"Known": [1, 3], "Unknown": [1]}'):
        with pytest.raises(ValueError) as told:
            own_data.trial_from_bytes(wrong, "mine.json", "digits", row)
        assert str(tmp_path.parent) not in str(told.value) and "/trial.json" not in str(told.value)


def test_class_folders_on_this_machine_are_taken_where_they_may_be(tmp_path):
    folder = tmp_path / "mine" / "pets"
    for cls in ("ant", "bee"):
        (folder / cls).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (8, 8), (40 * n, 0, 0)).save(folder / cls / f"{n}.png")
    (tmp_path / "secret.png").write_bytes((folder / "ant" / "0.png").read_bytes())
    (folder / "ant" / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    (folder / "empty").mkdir()
    upload = own_data.lying(folder)
    assert not [name for name in upload.names if "link" in name or "secret" in name]
    found = own_data.check(upload)
    assert found.counts() == {"": {"ant": 3, "bee": 3}} and found.empty == ("empty",)
    assert own_data.lying(folder, [tmp_path / "mine"]).names == upload.names
    for below in ([], [tmp_path / "min"], [folder / "ant"]):
        with pytest.raises(ValueError, match="only from"):
            own_data.lying(folder, below)
    with pytest.raises(ValueError, match="only from"):
        own_data.lying(folder / ".." / ".." / "other", [tmp_path / "mine"])
    with pytest.raises(ValueError, match="no folder"):
        own_data.lying(folder / "ant" / "0.png")
    with pytest.raises(ValueError, match="no folder"):
        own_data.lying(Path("~nobody/pictures"))
