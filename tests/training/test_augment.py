"""Shifts, mirror images and cut-outs, against plain loops."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from cac_core.data import datasets
from cac_core.training import augment, batches
from tests import reference

ROW = dataclasses.replace(datasets.FOLDER, classes=("a", "b"), grain=32)
FILL = torch.tensor([0.2, 0.4, 0.6])[:, None, None]
COUNT = 40


def drawn(shift: augment.Shift, count=COUNT):
    return shift.draw(count, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("side", "cutout", "flip"), [(32, 12, True), (32, 0, True), (16, 5, False), (64, 24, True)])
def test_shifts_mirrors_and_cuts_are_those_of_plain_loops(side, cutout, flip):
    pixels = np.random.default_rng(side).integers(0, 256, (COUNT, 3, side, side), np.uint8)
    shift = augment.Shift(dataclasses.replace(ROW, flip=flip), side, cutout, FILL)
    rows = drawn(shift)
    got = shift(torch.from_numpy(pixels), rows)
    assert rows[:, 4].any() == flip
    for image, out, (down, right, top, left, mirrored) in zip(pixels, got, rows.int().tolist(), strict=True):
        want = np.array([reference.shifted(channel.tolist(), down, right, mirrored) for channel in image]) / 255
        want[:, top : top + cutout, left : left + cutout] = FILL
        assert np.allclose(out.numpy(), want, atol=1e-6)


def test_every_shift_and_every_corner_is_drawn_and_none_beyond():
    rows = drawn(augment.Shift(ROW, 32, 12, FILL), count=20_000)
    for column, ends in zip(rows.T, [(-2, 2), (-2, 2), (0, 20), (0, 20)], strict=False):
        values, counts = column.unique(return_counts=True)
        assert values.tolist() == list(range(ends[0], ends[1] + 1))
        assert counts.max() / counts.min() < 1.35


def test_an_image_is_mirrored_every_other_time_whatever_its_other_views_are():
    labels = np.arange(400) % 2
    pixels = np.zeros((400, 32, 32, 3), np.uint8)
    pixels[:, :, 16:] = 255  # bright on the right
    part = datasets.Part(pixels, labels, labels, np.arange(400))
    stats, cpu = datasets.statistics(pixels), torch.device("cpu")
    made = batches.Batches(part, ROW, stats, batch=400, seed=0, device=cpu, augment="shift", views=2)
    (first,), (second,) = made.epoch(0), made.epoch(1)
    mirrored = [x[:, 0, :, 8].mean(1) > 0 for batch in (first[0], second[0]) for x in batch.split(400)]
    assert all(160 < some.sum() < 240 for some in mirrored)
    assert all(140 < (one ^ other).sum() < 260 for one, other in itertools.combinations(mirrored, 2))


def test_a_cut_is_the_mean_colour_of_the_batch():
    labels = np.arange(16) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    part = datasets.Part(pixels, labels, labels, np.arange(16))
    stats, cpu = datasets.statistics(pixels), torch.device("cpu")
    made = batches.Batches(part, ROW, stats, batch=16, seed=0, device=cpu, augment="shift", cutout=8)
    (batch,) = made.epoch(0)
    zero = (batch[0].abs() < 1e-5).all(1).flatten(1).sum(1)
    assert (zero == 64).all()


def test_a_cut_larger_than_the_image_is_all_of_it():
    shift = augment.Shift(ROW, 16, 100, FILL)
    out = shift(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), drawn(shift, count=2))
    assert torch.equal(out, FILL.expand(2, 3, 16, 16))


def test_colours_change_as_torchvisions_do():
    from torchvision.transforms.v2 import functional as v2

    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8)
    pixels[0], pixels[1, 1:] = 128, 0  # grey, and pure red
    colour = augment.Colour(dataclasses.replace(ROW, crop=1.0, turn=0.0, flip=False), 16, 0, FILL)
    rows = drawn(colour)
    got = colour(torch.from_numpy(pixels), rows)
    assert 20 < (rows[:, 6] != 1).sum() < 40 and 0 < rows[:, 10].sum() < 20
    plain = torch.from_numpy(pixels).float() / 255
    same = augment.Affine(colour.row, 16, 0, FILL)(torch.from_numpy(pixels), rows[:, :6])
    assert torch.allclose(same, plain, atol=1e-5)
    for x, out, (brightness, contrast, saturation, hue, grey) in zip(same, got, rows[:, 6:].tolist(), strict=True):
        want = v2.adjust_contrast(v2.adjust_brightness(x, brightness), contrast)
        want = v2.adjust_hue(v2.adjust_saturation(want, saturation), hue)
        want = v2.rgb_to_grayscale(want, 3) if grey else want
        assert torch.allclose(out, want, atol=2e-3)


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (64, 3), (28, 1)])
def test_randaugments_changes_are_torchvisions_each_drawn_as_often(side, channels):
    from torchvision.transforms.v2 import InterpolationMode, RandAugment

    published = RandAugment(1, 6, 31, InterpolationMode.BILINEAR)
    pixels = torch.randint(0, 256, (9, channels, side, side), dtype=torch.uint8)
    ours = [change(pixels) for change in augment._changes(augment.RandAugment.MAGNITUDE, side)]
    found = 0
    for name, (magnitudes, signed) in published._AUGMENTATION_SPACE.items():
        of = magnitudes(31, side, side)
        amount = 0.0 if of is None else float(of[6])
        for sign in (1, -1) if signed else (1,):
            want = published._apply_image_or_video_transform(
                pixels, name, sign * amount, published.interpolation, published._fill
            )  # fmt: skip
            off = [(got.int() - want.int()).abs() for got in ours]  # a slant may round a pixel otherwise
            same = sum(int(of.max()) <= 1 and float(of.float().mean()) < 0.01 for of in off)
            assert same >= (1 if signed else 2), name
            found += 1 if signed else 2
    assert len(ours) == found == 28


def test_randaugment_changes_each_image_by_its_own_row_and_then_shifts_it():
    pixels = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8)
    ours, shift = (kind(ROW, 32, 12, FILL) for kind in (augment.RandAugment, augment.Shift))
    rows = drawn(ours, count=COUNT)
    before = pixels.clone()
    got = ours(pixels, rows)
    for image, row, out in zip(pixels, rows, got, strict=True):
        changed = ours.changes[int(row[-1])](image[None])
        assert torch.equal(shift(changed, row[None, :-1])[0], out)
    assert torch.equal(pixels, before)  # the data set itself stays
    often = drawn(ours, count=28_000)[:, -1].unique(return_counts=True)[1]
    assert len(often) == 28 and often.max() / often.min() < 1.35


def test_grey_images_keep_their_one_channel():
    colour = augment.Colour(datasets.DATASETS["digits"], 16, 0, FILL)
    x, rows = torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8), drawn(colour, count=4)
    affine = augment.Affine(datasets.DATASETS["digits"], 16, 0, FILL)
    assert torch.equal(colour(x, rows), affine(x, rows[:, :6]))


def test_views_are_augmented_each_by_itself_and_one_view_is_as_before():
    labels = np.arange(32) % 2
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), np.uint8)
    part, stats = datasets.Part(pixels, labels, labels, np.arange(32)), ((0.0,) * 3, (1.0,) * 3)

    def made(views):
        return batches.Batches(part, ROW, stats, batch=8, seed=0, device=torch.device("cpu"), views=views)

    for (x, y), (xs, ys) in zip(made(1).epoch(1), made(2).epoch(1), strict=True):
        assert torch.equal(x, xs[:8]) and torch.equal(y, ys[:8]) and torch.equal(ys[:8], ys[8:])
        assert not torch.allclose(xs[:8], xs[8:], atol=1e-3)
        assert (xs[:8].mean((2, 3)) - xs[8:].mean((2, 3))).abs().max() < 0.2  # of the same image
    (x, y), *_ = made(2).plain(10)
    assert (
        torch.allclose(x, torch.from_numpy(pixels[:10]).permute(0, 3, 1, 2) / 255)
        and y.tolist() == labels[:10].tolist()
    )
