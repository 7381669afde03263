"""The published data sets, from small files of the real formats (made here), and the real ones where they are."""

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets, sources
from cac_core.recipe import Recipe

RNG = np.random.default_rng(0)


def noise(count, side=32):
    return RNG.integers(0, 256, (count, side, side, 3), np.uint8)


def folder_of(place, classes, count, ending="png", side=32):
    """count images of each class below place; gives them by class."""
    made = {}
    for cls in classes:
        made[cls] = noise(count, side)
        (place / cls).mkdir(parents=True)
        for i, image in enumerate(made[cls]):
            Image.fromarray(image).save(
                place / cls / f"{i}.{ending}", **({"lossless": True} if ending == "webp" else {})
            )
    return made


def rows(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


@pytest.fixture
def official(tmp_path, monkeypatch):
    """CIFAR-10 and CIFAR-100 as torchvision keeps them; only its checksums are those of these small files."""
    from torchvision import datasets

    sums, images = {}, {}

    def batch(folder, name, pixels, labels, key):
        (tmp_path / folder).mkdir(exist_ok=True)
        content = pickle.dumps({"data": rows(pixels), key: labels})
        (tmp_path / folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
        return pixels

    names = [f"data_batch_{i}" for i in range(1, 6)]
    images["train"] = np.concatenate(
        [batch("cifar-10-batches-py", n, noise(10), list(range(10)), "labels") for n in names]
    )
    images["test"] = batch("cifar-10-batches-py", "test_batch", noise(20), list(range(10)) * 2, "labels")
    images["hundred"] = batch("cifar-100-python", "test", noise(100), list(range(100)), "fine_labels")
    for folder, name, key, classes in (
        ("cifar-10-batches-py", "batches.meta", "label_names", sources.CIFAR10),
        ("cifar-100-python", "meta", "fine_label_names", sources.CIFAR100),
    ):
        content = pickle.dumps({key: list(classes)})
        (tmp_path / folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    for cls, train, test, meta in (
        (datasets.CIFAR10, names, "test_batch", "batches.meta"),
        (datasets.CIFAR100, [], "test", "meta"),
    ):
        monkeypatch.setattr(cls, "train_list", [[n, sums[n]] for n in train])
        monkeypatch.setattr(cls, "test_list", [[test, sums[test]]])
        monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": sums[meta]})
    return tmp_path, images


def trial(dataset, root, family="osrci", index="0"):
    return datasets.trial_of(Recipe(dataset=dataset, family=family, trial=index), datasets.row_of(dataset, root))


def test_cifar10_comes_from_the_official_files(official):
    root, images = official
    parts = datasets.load("CIFAR10", root)
    np.testing.assert_array_equal(parts["train"].pixels, images["train"])
    np.testing.assert_array_equal(parts["test"].pixels, images["test"])
    assert parts["test"].classes.tolist() == list(range(10)) * 2


def test_cifar_plus_takes_its_unknowns_from_cifar100_and_its_knowns_from_cifar10(official):
    root, images = official
    split = trial("CIFAR+10", root)
    row = datasets.row_of("CIFAR+10", root)
    assert [row.classes[c] for c in split.known] == ["airplane", "automobile", "ship", "truck"]
    assert min(split.unknown) >= 10 and row.classes[split.unknown[0]] == sources.CIFAR100[split.unknown[0] - 10]
    test = datasets.parts_of(datasets.load("CIFAR+10", root), split, 0)["test"]
    assert (test.labels >= 0).sum() == 8 and (test.labels < 0).sum() == 10
    for number, pixels in zip(test.classes, test.pixels, strict=True):
        if number >= 10:
            np.testing.assert_array_equal(pixels, images["hundred"][number - 10])


def test_the_unknown_ids_of_cifar_plus_are_the_published_fine_labels(official):
    root, _ = official
    assert [c - 10 for c in trial("CIFAR+10", root).unknown] == [26, 31, 34, 44, 45, 63, 65, 77, 93, 98]
    assert len(trial("CIFAR+50", root, "cac-2020", "4").unknown) == 50


@pytest.mark.parametrize("damage", ["cut", "junk"])
def test_damaged_official_files_are_named(official, damage):
    root, _ = official
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:500] if damage == "cut" else b"junk")
    with pytest.raises(ValueError, match=r"cifar-10-batches-py are damaged(?s:.*)fetch CIFAR10"):
        datasets.load("CIFAR10", root)


def test_cifar_as_image_folders(tmp_path):
    train = folder_of(tmp_path / "cifar10/train", sources.CIFAR10, 3, "webp")
    test = folder_of(tmp_path / "cifar10/test", sources.CIFAR10, 2, "webp")
    hundred = folder_of(tmp_path / "cifar100/test", sources.CIFAR100, 1, "webp")
    parts = datasets.load("CIFAR+50", tmp_path)
    assert len(parts["train"]) == 30 and len(parts["test"]) == 20 + 100
    np.testing.assert_array_equal(parts["train"].pixels[3:6], train["automobile"])
    np.testing.assert_array_equal(parts["test"].pixels[2 * 9 : 20], test["truck"])
    np.testing.assert_array_equal(parts["test"].pixels[20 + 99], hundred["worm"][0])
    assert datasets.folders(tmp_path) == []  # they are the data sets above, not the user's own


@pytest.mark.parametrize("place", ["dtd/dtd/images", "dtd/images"])
def test_textures_are_all_test_images(tmp_path, place):
    drawn = folder_of(tmp_path / place, sources.TEXTURES, 2, "jpg", side=80)
    parts = datasets.load("Textures", tmp_path)
    assert list(parts) == ["test"] and parts["test"].pixels.shape == (94, 64, 64, 3)
    assert parts["test"].classes.tolist() == [c for c in range(47) for _ in range(2)]
    mean = drawn["zigzagged"].mean((0, 1, 2))
    assert np.abs(parts["test"].pixels[-2:].mean((0, 1, 2)) - mean).max() < 3  # jpg and the smaller size keep colours
    assert datasets.folders(tmp_path) == []


def test_textures_with_a_class_missing_are_refused(tmp_path):
    folder_of(tmp_path / "dtd/images", sources.TEXTURES[1:], 1)
    with pytest.raises(ValueError, match=r"47 class folders banded to zigzagged; it has 46"):
        datasets.load("Textures", tmp_path)


@pytest.mark.parametrize("name", ["CIFAR100", "Textures"])
def test_a_data_set_of_test_images_is_not_trained_on(tmp_path, name):
    folder_of(tmp_path / "cifar100/test", sources.CIFAR100, 1, "webp")
    folder_of(tmp_path / "dtd/images", sources.TEXTURES, 1)
    split = datasets.Trial(name, "custom", "mine", (0, 1), (2,))
    with pytest.raises(ValueError, match=rf"{name} has test images alone(?s:.*)--unknown {name}"):
        datasets.parts_of(datasets.load(name, tmp_path), split, 0)


def test_a_cifar_folder_with_other_classes_is_refused(tmp_path):
    for part in ("train", "test"):
        folder_of(tmp_path / "cifar10" / part, ("cat", "dog", "zebra"), 1)
    with pytest.raises(ValueError, match=r"ten class folders airplane, .*it has cat, dog, zebra"):
        datasets.load("CIFAR10", tmp_path)
    folder_of(tmp_path / "cifar100/test", ("apple", "bear"), 1)
    with pytest.raises(ValueError, match=r"100 class folders of CIFAR-100; it has 2"):
        sources.read_cifar100(tmp_path, "CIFAR100", datasets.row_of("CIFAR+10", tmp_path))


def test_svhn_is_read_from_its_matlab_files(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    images, sums = {}, {}
    (tmp_path / "SVHN").mkdir()
    for part in ("train", "test"):
        images[part] = noise(20)
        file = tmp_path / "SVHN" / f"{part}_32x32.mat"
        labels = np.array([10, *range(1, 10)] * 2)[:, None]  # its zero is called 10
        savemat(file, {"X": images[part].transpose(1, 2, 3, 0), "y": labels})
        sums[part] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", sums)
    parts = datasets.load("SVHN", tmp_path)
    np.testing.assert_array_equal(parts["test"].pixels, images["test"])
    assert parts["train"].classes.tolist() == list(range(10)) * 2
    assert trial("SVHN", tmp_path).known == (0, 1, 2, 4, 5, 9)
    (tmp_path / "SVHN/test_32x32.mat").write_bytes(b"cut")
    with pytest.raises(ValueError, match="SVHN are damaged"):
        datasets.load("SVHN", tmp_path)


@pytest.fixture
def tiny(tmp_path):
    """Tiny ImageNet's official layout with 200 classes, of which the first three have training images."""
    folder = tmp_path / "tiny-imagenet-200"
    wnids = [f"n{i:08}" for i in range(200)]
    (folder / "val/images").mkdir(parents=True)
    (folder / "wnids.txt").write_text("\n".join(reversed(wnids)))
    (folder / "words.txt").write_text("\n".join(f"{w}\tname {i}, more" for i, w in enumerate(wnids)))
    lines = []
    for i in range(200):
        Image.fromarray(noise(1, 64)[0]).save(folder / f"val/images/val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{wnids[i]}\t0\t0\t9\t9")
    (folder / "val/val_annotations.txt").write_text("\n".join(lines))
    for i in range(3):
        (folder / f"train/{wnids[i]}/images").mkdir(parents=True)
        for j in range(4):
            Image.fromarray(noise(1, 64)[0]).save(folder / f"train/{wnids[i]}/images/{j}.JPEG")
    return tmp_path


def test_tinyimagenet_is_read_from_its_official_layout(tiny):
    parts = datasets.load("TinyImageNet", tiny)
    assert parts["train"].classes.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert parts["test"].classes.tolist() == list(range(200)) and parts["test"].pixels.shape == (200, 64, 64, 3)
    row = datasets.row_of("TinyImageNet", tiny)
    assert row.classes[7] == "name 7" and len(row.classes) == 200
    split = trial("TinyImageNet", tiny)
    assert len(split.known) == 20 and len(split.unknown) == 180


def test_a_training_class_that_is_not_here_is_named(tiny):
    with pytest.raises(ValueError, match=r"no train image of name 10 \(class 10\)"):
        datasets.parts_of(
            datasets.load("TinyImageNet", tiny), trial("TinyImageNet", tiny), 0, datasets.row_of("TinyImageNet", tiny)
        )


@pytest.mark.parametrize("line", ["val_0.JPEG\tn99999999\t0", "val_0.JPEG", ""])
def test_a_wrong_line_of_annotations_is_named(tiny, line):
    file = tiny / "tiny-imagenet-200/val/val_annotations.txt"
    file.write_text(line + "\n" + file.read_text())
    with pytest.raises(ValueError, match=r"val_annotations.txt, line 1: .* names no class of wnids.txt"):
        datasets.load("TinyImageNet", tiny)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("SVHN", "train_32x32.mat"),
        ("CIFAR10", "data_batch_1"),
        ("CIFAR+10", "data_batch_1"),
        ("TinyImageNet", "wnids.txt"),
        ("CIFAR100", "cifar-100-python/test"),
        ("Textures", "images"),
    ],
)
def test_a_data_set_that_is_not_here_says_how_to_get_it(tmp_path, name, missing):
    with pytest.raises(FileNotFoundError, match=rf"{missing} is missing(?s:.*)python -m cac_core fetch"):
        datasets.load(name, tmp_path)


@pytest.mark.parametrize("name", sources.BY_HAND)
def test_a_download_without_internet_says_what_to_put_where(tmp_path, name, monkeypatch):
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # nobody listens there, whether or not there is internet
    with pytest.raises(FileNotFoundError, match=rf"{name} could not be downloaded(?s:.*)into {tmp_path}"):
        sources.download(name, tmp_path)


def test_only_data_sets_that_there_are_can_be_fetched(tmp_path):
    with pytest.raises(ValueError, match="no data set that can be downloaded 'cifar'"):
        datasets.fetch("cifar", tmp_path)


# the real ones, once decoded


@pytest.mark.parametrize(
    ("name", "here", "counts"),
    [
        ("CIFAR10", ("cifar10", "cifar-10-batches-py"), (50_000, 10_000, 6_000)),
        ("CIFAR+50", ("cifar100", "cifar-100-python"), (50_000, 20_000, 4_000 + 5_000)),
        ("TinyImageNet", ("tiny-imagenet-200",), (None, 10_000, 10_000)),
    ],
)
def test_the_real_data_sets_have_their_published_counts(data_root, name, here, counts):
    if not any((data_root / folder).is_dir() for folder in here):
        pytest.skip(f"{data_root} holds no {' or '.join(here)}")
    parts = datasets.load(name, data_root)
    test = datasets.parts_of(parts, trial(name, data_root), 0)["test"]
    train, all_test, chosen = counts
    assert len(parts["test"]) == all_test and (train is None or len(parts["train"]) == train)
    assert len(test) == (10_000 if name == "CIFAR10" else chosen)
