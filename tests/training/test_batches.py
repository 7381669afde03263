"""Augmentation as one affine sampling, against torchvision's transforms, and the order of the batches."""

import dataclasses

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cac_core.data import datasets
from cac_core.networks import inputs
from cac_core.training import batches

pytestmark = pytest.mark.long

ROW = dataclasses.replace(datasets.FOLDER, classes=("a", "b"), grain=32)
STATS = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def part(n=64, side=32, channels=3, seed=0):
    random = np.random.default_rng(seed)
    smooth = random.random((n, side, side, channels))
    for axis in (1, 2):
        smooth = (smooth + np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis)) / 3
    labels = np.arange(n) % 2
    return datasets.Part((smooth * 255).astype(np.uint8), labels, labels, np.arange(n))


def made(row=ROW, batch=16, seed=0, **more):
    return batches.Batches(part(**more), row, STATS, batch=batch, seed=seed, device=torch.device("cpu"))


def affine(width=1.0, height=1.0, x=0.0, y=0.0, mirror=1.0, degrees=0.0):
    a = torch.deg2rad(torch.tensor(degrees))
    rows = [[width * mirror * a.cos(), -width * mirror * a.sin(), x], [height * a.sin(), height * a.cos(), y]]
    return torch.tensor(rows)[None]


@pytest.fixture
def image():
    return torch.from_numpy(part(1).pixels).permute(0, 3, 1, 2).float() / 255


def inner(x, edge=6):
    return x[..., edge:-edge, edge:-edge]


def test_crop_is_torchvisions(image):
    top, left, height, width = 3, 5, 24, 26
    want = v2.functional.resized_crop(image, top, left, height, width, [32, 32], antialias=False)
    x, y = (2 * left + width) / 32 - 1, (2 * top + height) / 32 - 1
    got = inputs.warped(image, affine(width / 32, height / 32, x, y))
    assert torch.allclose(inner(got), inner(want), atol=1e-5)


def test_mirror_is_torchvisions(image):
    assert torch.allclose(inputs.warped(image, affine(mirror=-1.0)), v2.functional.hflip(image), atol=1e-5)


def test_rotation_is_torchvisions(image):
    want = v2.functional.rotate(image, 10.0, interpolation=v2.InterpolationMode.BILINEAR)
    got = {sign: inputs.warped(image, affine(degrees=sign * 10.0)) for sign in (-1, 1)}
    assert any(torch.allclose(inner(g), inner(want), atol=1e-4) for g in got.values())


def test_crop_then_mirror_then_rotation_is_that_order(image):
    top, left, height, width = 2, 4, 26, 25
    x, y = (2 * left + width) / 32 - 1, (2 * top + height) / 32 - 1
    cropped = inputs.warped(image, affine(width / 32, height / 32, x, y))
    in_turn = inputs.warped(inputs.warped(cropped, affine(mirror=-1.0)), affine(degrees=8.0))
    at_once = inputs.warped(image, affine(width / 32, height / 32, x, y, -1.0, 8.0))
    assert (inner(in_turn, 8) - inner(at_once, 8)).abs().mean() < 0.02  # two samplings more blur a little


def test_draws_are_distributed_as_torchvisions():
    row, n = dataclasses.replace(ROW, turn=20.0), 20_000
    a = inputs.random_affine(n, row, torch.Generator().manual_seed(0))
    linear = a[:, :, :2]
    area = torch.linalg.det(linear).abs()
    assert row.crop - 1e-4 <= area.min() and area.max() <= 1 + 1e-4
    assert torch.linalg.det(linear).lt(0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    torch.manual_seed(0)
    empty = torch.empty(1, 1000, 1000)
    boxes = [v2.RandomResizedCrop.make_params(v2.RandomResizedCrop(32, (0.8, 1.0)), [empty]) for _ in range(2000)]
    want = torch.tensor([box["height"] * box["width"] for box in boxes]) / 1e6
    assert area.mean().item() == pytest.approx(want.mean().item(), abs=0.005)
    assert area.std().item() == pytest.approx(want.std().item(), abs=0.005)
    corners = torch.tensor([[-1.0, -1.0], [-1, 1], [1, -1], [1, 1]])
    unturned = inputs.random_affine(n, dataclasses.replace(row, turn=0.0), torch.Generator().manual_seed(0))
    reach = (unturned[:, :, :2] @ corners.T).abs().amax(2) + unturned[:, :, 2].abs()
    assert reach.max() <= 1 + 1e-5  # a crop lies inside the image


def test_no_flip_where_the_data_set_has_sides():
    a = inputs.random_affine(1000, datasets.DATASETS["digits"], torch.Generator().manual_seed(0))
    assert (torch.linalg.det(a[:, :, :2]) > 0).all()


def test_an_epoch_sees_each_image_once_and_another_order_next_time():
    b = made(n=70, batch=16)
    b.images[:] = torch.arange(70)[:, None, None, None].to(torch.uint8)  # flat images that say their number
    b.scale = inputs.scale_of(((0.0,) * 3, (1.0,) * 3), torch.device("cpu"))

    def order(epoch):
        return [round(v) for x, _ in b.epoch(epoch) for v in (x[:, 0, 16, 16] * 255).tolist()]

    first = order(0)
    assert b.steps == 4 and len(first) == len(set(first)) == 64
    assert first == order(0) and first != order(1)


def test_labels_stay_with_their_images():
    b = made(n=40, batch=8)
    b.images[:] = (b.labels * 200)[:, None, None, None].to(torch.uint8)
    b.scale = inputs.scale_of(((0.0,) * 3, (1.0,) * 3), torch.device("cpu"))
    for x, y in b.epoch(3):
        assert torch.equal((x[:, 0, 16, 16] > 0.5).long(), y)


def test_an_epoch_gone_on_with_is_the_rest_of_the_same():
    whole, rest = list(made().epoch(5)), list(made().epoch(5, start=2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(whole[2:], rest, strict=True))


def test_normalisation_is_by_channel():
    x = torch.rand(2, 3, 4, 4)
    got = inputs.normalised(x, inputs.scale_of(STATS, torch.device("cpu")))
    for c in range(3):
        assert torch.allclose(got[:, c], (x[:, c] - STATS[0][c]) / STATS[1][c])


def test_fewer_images_than_a_batch_are_one_batch():
    assert [len(y) for _, y in made(n=5, batch=16).epoch(0)] == [5]


def test_unknown_device_is_named():
    with pytest.raises(ValueError, match=r"no device 'tpu'.*cpu"):
        inputs.device_of("tpu")


def test_precision_follows_what_was_asked():
    cpu = torch.device("cpu")
    assert inputs.half_of(cpu, "bfloat16", "small") is torch.bfloat16
    assert inputs.half_of(cpu, "float32", "plain") is None
    assert inputs.half_of(cpu, "auto", "small") is None  # too little to multiply
