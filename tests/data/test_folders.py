"""Image folders as others make them: parts by many names, and all that lies in them beside images."""

import os
import shutil
import warnings

import pytest
from PIL import Image

from cac_core import files
from cac_core.data import datasets, sources


def said(root, name="pets"):
    return " ".join(sources.passed_over(root / name))


def read(root, name="pets"):
    """part -> how many images; and what was said while they were read."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        parts = datasets.load(name, root)
    return {part: len(some) for part, some in parts.items()}, " ".join(str(one.message) for one in told)


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train, test", [("Train", "Validation"), ("training", "testing"), ("TRAIN", "Test"),
                                         ("train", "val"), ("train", "valid")])  # fmt: skip
def test_parts_go_by_many_names(image_folder, train, test):
    root = image_folder("pets", {"cat": 3, "dog": 3}, train)
    image_folder("pets", {"cat": 2, "dog": 2}, test)
    assert datasets.folders(root) == ["pets"] and datasets.row_of("pets", root).classes == ("cat", "dog")
    assert read(root) == ({"train": 6, "test": 4}, "")


def test_of_three_parts_validation_is_left_out_and_it_is_said(image_folder):
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        root = image_folder("pets", {"cat": count, "dog": count}, part)
    counts, told = read(root)
    assert counts == {"train": 6, "test": 2}
    assert "val is left out: validation images are taken from the training images." in told


def test_a_class_may_be_called_train(image_folder):
    root = image_folder("vehicles", {"car": 3, "train": 3, "test": 3})
    assert datasets.row_of("vehicles", root).classes == ("car", "test", "train")
    assert read(root, "vehicles")[0] == {"train": 6, "test": 3}


@pytest.mark.parametrize("part", ["train", "testing", "validation"])
def test_a_part_alone_names_what_is_missing(image_folder, part):
    root = image_folder("pets", {"cat": 3, "dog": 3}, part)
    missing = "test" if part == "train" else "train"
    with pytest.raises(ValueError, match=f"a folder {part} but no folder {missing}"):
        datasets.load("pets", root)
    trial = root / "trial.json"
    trial.write_text('{"Known": ["cat", "dog"]}')
    with pytest.raises(ValueError, match=f"a folder {part} but no folder {missing}"):
        datasets.trial_from_file(trial, "pets", datasets.row_of("pets", root))


# --- what else lies there --------------------------------------------------------------------------------------------


def test_what_systems_leave_behind_is_passed_over_and_counted(image_folder):
    root = image_folder("pets", {"cat": 3, "dog": 3})
    for file in list((root / "pets").rglob("*.png")):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7")
    for folder in ("__MACOSX", "lost+found", "@eaDir", "$RECYCLE.BIN", ".git"):
        (root / "pets" / folder).mkdir()
        shutil.copy(root / "pets/cat/000.png", root / "pets" / folder)
    assert datasets.row_of("pets", root).classes == ("cat", "dog")
    counts, told = read(root)
    assert counts == {"train": 4, "test": 2}
    assert "11 files or folders are such as systems leave behind" in told


def test_pipes_devices_and_broken_links_are_passed_over_and_counted(image_folder):
    root = image_folder("pets", {"cat": 3, "dog": 3})
    os.mkfifo(root / "pets/cat/pipe.png")
    os.mkfifo(root / "pets/pipe")
    (root / "pets/cat/zero.png").symlink_to("/dev/zero")
    (root / "pets/dog/gone.png").symlink_to(root / "nowhere.png")
    (root / "pets/dog/round.png").symlink_to("round.png")
    counts, told = read(root)
    assert counts == {"train": 4, "test": 2}
    assert "5 are neither folders nor files" in told


def test_a_link_to_an_image_or_to_a_class_is_one(image_folder):
    root = image_folder("pets", {"cat": 3, "dog": 3})
    (root / "pets/cow").symlink_to(root / "pets/cat")
    (root / "pets/dog/more.png").symlink_to(root / "pets/cat/000.png")
    assert read(root)[0] == {"train": 7, "test": 3}


def test_images_that_are_not_read_and_other_files_are_counted(image_folder):
    root = image_folder("pets", {"cat": 3, "dog": 3})
    for name in ("a.tif", "b.TIFF", "c.heic"):
        (root / "pets/cat" / name).write_bytes(b"")
    (root / "pets/dog/notes.txt").write_text("")
    shutil.copytree(root / "pets/cat", root / "pets/dog/puppies.png")
    told = read(root)[1]
    assert "3 images are passed over (cat/a.tif, cat/b.TIFF, cat/c.heic): TIFF images are not read; save it as" in told
    assert "1 files are no images by their endings: dog/notes.txt." in told
    assert "1 folders within class folders are passed over: dog/puppies.png." in told


@pytest.mark.parametrize("ending, says", [(".tif", "TIFF images are not read; save it as PNG"),
                                          (".HEIC", "HEIC images are not read; save it as JPEG")])  # fmt: skip
def test_a_class_of_images_that_are_not_read_says_the_way_out(image_folder, ending, says):
    root = image_folder("pets", {"cat": 3, "dog": 2})
    for file in list((root / "pets/dog").iterdir()):
        file.rename(file.with_suffix(ending))
    assert datasets.folders(root) == ["pets"]
    with pytest.raises(ValueError, match=f"class folder .*dog holds no image .* but 2 of another kind: {says}"):
        datasets.load("pets", root)
    shutil.rmtree(root / "pets/cat")
    assert datasets.folders(root) == ["pets"] and says in datasets.here("pets", root)[1]


def test_names_that_are_no_text_harm_nothing(image_folder):
    root = image_folder("pets", {"cat": 3, "dog": 3})
    odd = os.fsdecode(b"caf\xe9")
    shutil.copytree(root / "pets/cat", root / "pets" / odd)
    os.rename(root / "pets/dog/000.png", root / "pets/dog" / f"{odd}.png")
    shutil.copytree(root / "pets", root / odd)
    assert datasets.folders(root) == ["pets"]
    counts, told = read(root)
    assert counts == {"train": 4, "test": 2}
    assert "no name that is text" in told and told.encode() and r"caf\udce9" in told
    (root / "pets/dog" / f"{odd}.png").write_text("no image")
    with pytest.raises(ValueError) as error:
        datasets.load("pets", root)
    assert str(error.value).encode()


# --- what belongs to somebody else -----------------------------------------------------------------------------------


@pytest.fixture
def shared(image_folder):
    """The data root, with pets (cat, cow, dog) and more (a, b)."""
    image_folder("pets", {"cat": 3, "cow": 3, "dog": 3})
    return image_folder("more", {"a": 2, "b": 2})


def test_a_disk_with_its_lost_and_found_and_a_closed_data_set(shared, closed):
    (shared / "lost+found").mkdir()
    closed(shared / "lost+found", 0o700)
    closed(shared / "more", 0o700)
    assert datasets.folders(shared) == ["pets"]
    assert [str(one) for one in datasets.passed_over(shared)] == [
        f"The folder {shared / 'more'} cannot be read, and is passed over."
    ]
    assert read(shared)[0] == {"train": 6, "test": 3}
    with pytest.raises(ValueError, match="no data set 'more'"):
        datasets.load("more", shared)


@pytest.mark.parametrize("mode", [0o700, 0o744, 0o711])
def test_a_closed_class_folder_is_passed_over_and_counted(shared, closed, mode):
    closed(shared / "pets/cow", mode)
    assert datasets.row_of("pets", shared).classes == ("cat", "dog")
    counts, told = read(shared)
    assert counts == {"train": 4, "test": 2} and "1 folders cannot be read and are passed over: cow." in told


def test_a_class_that_is_closed_in_one_part_is_passed_over_in_both(shared, closed):
    for part in ("train", "test"):
        shutil.copytree(shared / "pets", shared / "both" / part)
    closed(shared / "both/test/cow", 0o700)
    counts, told = read(shared, "both")
    assert counts == {"train": 6, "test": 6} and "test/cow" in told


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o744])
def test_a_closed_data_root_is_told(shared, closed, mode):
    closed(shared, mode)
    assert datasets.folders(shared) == []
    for name in datasets.DATASETS:
        found, why = datasets.here(name, shared)
        assert bool(found) != bool(why)
    assert mode == 0o711 or "cannot be read" in datasets.here("MNIST", shared)[1]
    assert "cannot be read" in str(datasets.passed_over(shared)[0])


def test_a_closed_image_is_named(shared, closed):
    closed(shared / "pets/cow/001.png", 0o600)
    with pytest.raises(ValueError, match=r"cow/001.png: the file cannot be read \(Permission denied\)"):
        datasets.load("pets", shared)


def test_a_listing_sorts_everything_once(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    (tmp_path / ".y").write_text("")
    os.mkfifo(tmp_path / "pipe")
    assert files.listed(tmp_path) == files.Listing(("a", "b"), ("x.png",), (".y",), (), ("pipe",))
    assert files.listed(tmp_path / "nowhere") == files.listed(tmp_path / "x.png") == files.Listing()
