"""Maps of a network's fixed part: computed once, kept whole, the same ones by whatever way."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from cac_core.data import datasets
from cac_core.networks.backbones import Backbone
from cac_core.networks.inputs import normalised, on_device, scale_of
from cac_core.results import frozen

ROW = dataclasses.replace(datasets.FOLDER, size=8, grain=8)


class Small(Backbone):
    """Two numbers an image, and a count of how many images it has been shown."""

    fixed_by, width, thaw, crops, input_size = "weights", 6, 0, 0, 8

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.shown = nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, 6)), 0

    def maps(self, x):
        self.shown += len(x)
        return self.before(x)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(frozen, "CHUNK", 16)
    monkeypatch.setattr(frozen, "BATCH", 8)
    return Small()


SCALE = scale_of(((0.5,) * 3, (0.5,) * 3), torch.device("cpu"))


def kept(small, pixels, root, views=(0, 1), **more):
    return frozen.kept(small, pixels, list(views), root=root, dataset="pets", row=ROW, scale=SCALE, **more)


def files(root):
    return sorted((root / ".cache" / "maps").rglob("*.*"))


def test_maps_are_those_of_the_network_on_the_image_and_its_mirror_image(small, pixels, tmp_path):
    got = kept(small, pixels, tmp_path)
    x = on_device(pixels, torch.device("cpu")).float() / 255
    for view, seen in enumerate((x, x.flip(3))):
        want = small.maps(normalised(seen, SCALE))
        assert torch.allclose(got.rows(np.full(40, view), np.arange(40)), want, atol=1e-5)
    some = got.rows(np.array([1, 0, 1]), np.array([39, 0, 7]))
    assert torch.equal(some[2], got.rows(np.array([1]), np.array([7]))[0])
    assert all(isinstance(file, np.memmap) for file in got.files)  # read from disk as needed


def test_nothing_is_computed_twice_and_what_is_new_alone(small, pixels, tmp_path):
    first = kept(small, pixels[:30], tmp_path)
    assert small.shown == 60
    again = kept(small, pixels[:30][::-1], tmp_path)  # in another order
    assert small.shown == 60
    one, other = (k.rows(np.zeros(30, int), np.arange(30)) for k in (first, again))
    assert torch.equal(one, other.flip(0))
    kept(small, pixels, tmp_path)
    assert small.shown == 80
    small.thaw = 1  # cut elsewhere
    kept(small, pixels, tmp_path)
    assert small.shown == 160


def test_equal_images_are_one(small, pixels, tmp_path):
    pixels[:] = pixels[0]
    got = kept(small, pixels, tmp_path, views=[0])
    assert small.shown == 1 and len(got) == 40
    assert got.rows(np.zeros(40, int), np.arange(40)).unique(dim=0).shape == (1, 6)


def test_what_was_interrupted_goes_on(small, pixels, tmp_path):
    def stop(done, of, rate):
        assert of == 80 and (rate > 0 or not done)
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(small, pixels, tmp_path, tell=stop)
    assert small.shown == 32 and len(files(tmp_path)) == 4
    kept(small, pixels, tmp_path)
    assert small.shown == 80
    assert not [file for file in files(tmp_path) if "tmp" in file.name]


def test_every_batch_is_told_and_none_is_lost_that_was_computed(small, pixels, tmp_path):
    heard = []

    def stop(done, of, rate):
        heard.append(done)
        if done == 24:  # within a chunk
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(small, pixels, tmp_path, tell=stop)
    assert heard == [0, 8, 16, 24] and small.shown == 24
    kept(small, pixels, tmp_path, tell=lambda done, of, rate: heard.append(done))
    assert heard[4:] == list(range(24, 81, 8)) and small.shown == 80
    kept(small, pixels, tmp_path, tell=lambda *told: pytest.fail("there is nothing to do"))


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_bytes(b"torn"), lambda f: f.unlink(), lambda f: f.write_bytes(b"")]
)
@pytest.mark.parametrize("ending", [".npy", ".ids"])
def test_a_damaged_file_is_made_again(small, pixels, tmp_path, damage, ending):
    want = kept(small, pixels, tmp_path).rows(np.zeros(40, int), np.arange(40))
    damage(next(file for file in files(tmp_path) if file.suffix == ending))
    before = small.shown
    got = kept(small, pixels, tmp_path).rows(np.zeros(40, int), np.arange(40))
    assert torch.allclose(got, want, atol=1e-6) and small.shown == before + 16


def test_a_disk_that_takes_nothing_costs_only_time(small, pixels, tmp_path):
    (tmp_path / ".cache").write_text("no folder")
    with pytest.warns(UserWarning, match="could not be kept"):
        got = kept(small, pixels, tmp_path)
    assert got.rows(np.zeros(40, int), np.arange(40)).shape == (40, 6)


def test_crops_are_the_same_ones_for_ever_and_not_the_image(small, pixels, tmp_path):
    got = kept(small, pixels, tmp_path, views=[0, 2, 3])
    again = kept(small, pixels, tmp_path / "elsewhere", views=[0, 2, 3])
    rows = [k.rows(np.repeat([0, 1, 2], 40), np.tile(np.arange(40), 3)) for k in (got, again)]
    assert torch.allclose(*rows, atol=1e-6)
    image, one, two = rows[0].chunk(3)
    assert not torch.allclose(image, one, atol=1e-2) and not torch.allclose(one, two, atol=1e-2)


def test_memory_is_bounded_by_a_chunk(small, tmp_path, monkeypatch):
    """20 000 photos: pixels come one by one from an array on disk, maps go there chunk by chunk."""
    most, real = 0, small.maps

    def maps(x):
        nonlocal most
        most = max(most, x.numel() * 4)
        return real(x)

    monkeypatch.setattr(small, "maps", maps)
    monkeypatch.setattr(frozen, "CHUNK", 4096)
    monkeypatch.setattr(frozen, "BATCH", 256)
    file = np.lib.format.open_memmap(tmp_path / "pixels.npy", "w+", np.uint8, (20_000, 8, 8, 3))
    file[:] = np.random.default_rng(0).integers(0, 256, file.shape, np.uint8)
    got = kept(small, file, tmp_path, views=[0])
    assert small.shown == len(got) == 20_000 and len(got.files) == 5
    assert most == 256 * 8 * 8 * 3 * 4


def test_an_image_is_known_by_its_pixels_and_its_view(pixels):
    names = [one for image in pixels for one in frozen._ids(image, [0, 1, 2], "0.8 10.0 True")]
    assert len(set(names)) == len(names) == 120 and {len(one) for one in names} == {2 * frozen.ID}
    assert frozen._ids(pixels[0], [2], "0.7 10.0 True") != frozen._ids(pixels[0], [2], "0.8 10.0 True")
    assert frozen._ids(pixels[0], [0], "0.7 10.0 True") == frozen._ids(pixels[0], [0], "0.8 10.0 True")
    assert hashlib.sha256(pixels[0].tobytes()).hexdigest()[:32].encode() not in names
