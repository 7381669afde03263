"""Which images of a folder are test images: about a fifth, by content, and the same ones whatever comes and goes."""

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets, lending
from cac_core.data.lending import lent


def chosen(images: dict[str, float]) -> set[str]:
    """The test images of one class: name -> place."""
    names = list(images)
    return {names[n] for n in np.flatnonzero(lent(np.array(list(images.values())), np.zeros(len(images), int)))}


@pytest.mark.parametrize("count", range(1, 41))
def test_every_class_has_a_sensible_count_whatever_the_places(count):
    for seed in range(50):
        rng = np.random.default_rng([count, seed])
        for places in (rng.random(count), rng.random(count) * 0.2, 0.2 + rng.random(count) * 0.8, np.full(count, 0.1)):
            found = lent(places, np.zeros(count, int)).sum()
            assert found == 0 if count == 1 else max(1, count // 11) <= found <= max(1, 0.3 * count)
            assert count < 2 or found <= count - 1


def test_the_classes_are_each_for_themselves():
    places, classes = np.random.default_rng(0).random(60), np.arange(60) % 3
    mask = lent(places, classes)
    for c in range(3):
        assert (mask[classes == c] == lent(places[classes == c], np.zeros(20, int))).all()


def test_a_fifth_are_test_images_on_average():
    shares = [lent(np.random.default_rng(seed).random(200), np.zeros(200, int)).mean() for seed in range(100)]
    assert np.mean(shares) == pytest.approx(0.2, abs=0.01)


def test_the_order_of_images_does_not_matter():
    rng = np.random.default_rng(1)
    images = {f"{n}": float(rng.random()) for n in range(30)}
    assert chosen(images) == chosen(dict(sorted(images.items(), key=lambda one: rng.random())))


@pytest.mark.parametrize("seed", range(20))
def test_a_test_image_stays_one_as_others_come_and_go(seed):
    """Where chance gives a class between a tenth and three tenths of test images, only its own place says what an image
    is; in all the random changes here, at most one in fifty changes sides."""
    rng = np.random.default_rng(seed)
    images, changes, kept = {f"{n}": float(rng.random()) for n in range(40)}, 0, 0
    for step in range(60):
        before, present = chosen(images), set(images)
        if rng.random() < 0.5:
            images |= {f"new {step} {n}": float(rng.random()) for n in range(rng.integers(1, 8))}
        else:
            images = {name: place for name, place in images.items() if rng.random() > 0.1}
        after, stayed = chosen(images), present & set(images)
        changes += len((before ^ after) & stayed)
        kept += len(stayed)
        drawn = sum(place < lending.SHARE for place in images.values())
        if lending.LEAST * len(images) < drawn < 0.3 * len(images) - 1:
            assert after == {name for name, place in images.items() if place < lending.SHARE}
    assert changes <= kept / 50


@pytest.mark.parametrize("count", range(2, 10))
def test_in_tiny_classes_an_image_more_moves_at_most_one_of_the_others(count):
    for seed in range(200):
        rng = np.random.default_rng([count, seed])
        images = {f"{n}": float(rng.random()) for n in range(count)}
        more = chosen(images | {"new": float(rng.random())})
        assert len((chosen(images) ^ more) - {"new"}) <= 1


def pets(root, counts: dict[str, int], seed: int):
    """An image folder whose files are the same bytes whatever writes images here."""
    rng = np.random.default_rng(seed)
    for cls, count in counts.items():
        (root / "pets" / cls).mkdir(parents=True, exist_ok=True)
        for n in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(root / "pets" / cls / f"{seed}-{n}.bmp")


def test_what_is_moved_renamed_or_left_out_keeps_its_side(tmp_path):
    def marks() -> dict[str, set]:
        return {part: set(datasets.marks(some.pixels)) for part, some in datasets.load("pets", tmp_path).items()}

    pets(tmp_path, {"cat": 40, "dog": 40, "eel": 40}, seed=0)
    before = marks()
    (tmp_path / "pets/eel").rename(tmp_path / "pets/ant")  # the first of the classes now, and not the last
    files = sorted((tmp_path / "pets/cat").iterdir())
    files[3].rename(tmp_path / "pets/dog/000-moved.bmp")
    files[7].unlink()
    pets(tmp_path, {"cat": 6}, seed=1)
    after = marks()
    assert not before["test"] & after["train"] and not before["train"] & after["test"]
    assert sum(len(before[part] - after[part]) for part in before) == 1
    for size in (16, 64):  # nor does it hang on the size at which images are read
        other = datasets.load("pets", tmp_path, size)
        assert [len(other[part]) for part in ("train", "test")] == [len(after[part]) for part in ("train", "test")]


def test_the_images_of_a_run_from_before_are_divided_as_they_were(image_folder):
    root = image_folder("pets", {"cat": 20, "dog": 15})
    pixels, classes = datasets.as_listed("pets", root)["all"]
    test = datasets._drawn(classes, 0.2, seed=0)
    then = {"train": datasets.Images(pixels[~test], classes[~test]),
            "test": datasets.Images(pixels[test], classes[test])}  # fmt: skip
    old, now = datasets.digest(then), datasets.digest(datasets.load("pets", root))
    assert old != now
    assert datasets.digest(datasets.load("pets", root, of=old)) == old
    for other in (None, "", now, "of another data set"):
        assert datasets.digest(datasets.load("pets", root, of=other)) == now


def test_of_a_class_that_is_never_learnt_all_images_are_test_images(image_folder):
    root = image_folder("pets", {"cat": 20, "dog": 15, "eel": 12})
    before = datasets.load("pets", root)
    old, lent = datasets.digest(before), np.bincount(before["test"].classes)
    (root / "pets/dataset.json").write_text('{"size": 16, "unknown": ["eel", "gone"]}')
    assert datasets.never_learnt("pets", root) == ("eel",) and datasets.row_of("pets", root).size == 16
    after = datasets.load("pets", root, 32)
    assert np.bincount(after["test"].classes).tolist() == [lent[0], lent[1], 12]
    assert np.bincount(after["train"].classes, minlength=3).tolist() == [20 - lent[0], 15 - lent[1], 0]
    assert datasets.counts("pets", root) == {0: 20 - lent[0], 1: 15 - lent[1]}
    trial = datasets.Trial("pets", "custom", "t", (0, 1), (2,))
    assert (datasets.parts_of(after, trial, 0)["test"].labels < 0).sum() == 12
    files = datasets.paths("pets", root)["test"]
    assert len(files) == len(after["test"]) and sum("/eel/" in f"/{file}" for file in files) == 12
    assert datasets.digest(datasets.load("pets", root, 32, of=old)) == old  # a run from before finds its own
    for wrong in ('{"unknown": "eel"}', '{"unknown": [1]}', '{"unknown": null}'):
        (root / "pets/dataset.json").write_text(wrong)
        with pytest.raises(ValueError, match="unknown is a list of classes"):
            datasets.row_of("pets", root)


def test_a_data_set_with_a_test_part_of_its_own_keeps_it(image_folder):
    for part in ("train", "test"):
        root = image_folder("pets", {"cat": 20, "dog": 15}, part)
    (root / "pets/dataset.json").write_text('{"unknown": ["dog"]}')
    assert datasets.never_learnt("pets", root) == ()
    assert (datasets.load("pets", root)["train"].classes == 1).any()


def test_images_are_counted_without_decoding_them(image_folder):
    root = image_folder("pets", {"cat": 23, "dog": 9})
    for _ in range(2):  # read, and from what was kept
        counted = datasets.counts("pets", root)
        assert counted == dict(enumerate(np.bincount(datasets.load("pets", root)["train"].classes).tolist()))
    kept = root / ".cache" / "pets.places.json"
    for damaged in ("", "[]", '{"x": 2.0}', '{"x": "y"}'):
        kept.write_text(damaged)
        assert datasets.counts("pets", root) == counted


def test_digits_are_divided_as_ever(tmp_path):
    """Runs that come with the app rest on it."""
    assert datasets.digest(datasets.load("digits", tmp_path)) == "51d9a74ef62c3f0e"
