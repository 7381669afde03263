"""The preset fast as a whole: stopped and gone on with, judged with the mirror image, and what does not go together."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cac_core.data import datasets
from cac_core.recipe import Recipe, compose
from cac_core.results import evaluate
from cac_core.training import loop

pytestmark = pytest.mark.long

FOLDER = {"dataset": "pets", "family": "custom", "trial": "t", "known": (0, 1), "unknown": (2,)}
SHORT = {"epochs": 2, "batch": 8, "lr": 0.05, "cutout": 4}


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A data root with an image folder: noise, brighter to one side, in a colour for each class."""
    root, random = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    for cls, (name, count) in enumerate({"cat": 24, "dog": 24, "eel": 10}.items()):
        (root / "pets" / name).mkdir(parents=True)
        for n in range(count):
            colour = np.roll([200, 90, 30], cls) + np.linspace(-60, 60, 16)[None, :, None]
            pixels = np.clip(colour + random.integers(-30, 30, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "pets" / name / f"{n:03}.png")
    return root


def trained(store, root, tell=lambda event: None, **more):
    return loop.train(compose("fast", size=16, **(FOLDER | SHORT | more)), store, root, device="cpu", tell=tell)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pets):
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("whole"), pets)


def test_stopped_and_gone_on_with_it_is_the_same_run(whole, pets, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BEAT", 0.0)  # an event every batch
    seen = []

    def tell(event):
        if event["kind"] == "progress":
            seen.append(event["step"])
            if len(seen) in (2, 5):
                (tmp_path / whole.id / "stop").touch()

    assert [trained(tmp_path, pets, tell).state for _ in range(3)] == ["stopped", "stopped", "finished"]
    run = trained(tmp_path, pets)
    one, two = (load_file(r.path / "best.safetensors") for r in (whole, run))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert np.array_equal(whole.outputs("test").logits, run.outputs("test").logits)


def test_the_whitening_is_that_of_the_training_images_and_does_not_learn(whole, pets):
    from cac_core.networks import fast, inputs

    train = datasets.parts_of(datasets.load("pets", pets, 16), whole.trial, 0)["train"]
    x = inputs.on_device(train.pixels[:], torch.device("cpu")).float() / 255
    want = fast.whitening(inputs.normalised(x, inputs.scale_of(whole.stats, torch.device("cpu"))))
    stored = load_file(whole.path / "best.safetensors")["backbone.whiten.weight"]
    assert torch.allclose(stored, want, atol=1e-3)
    bias = load_file(whole.path / "best.safetensors")["backbone.whiten.bias"]
    assert bias.abs().sum() > 0  # this learns


def test_an_image_is_judged_by_the_mean_with_its_mirror_image(whole, pets):
    network, out = evaluate.load(whole, "cpu"), whole.outputs("test")
    pixels = datasets.parts_of(datasets.load("pets", pets, 16), whole.trial, 0)["test"].pixels[:]
    alone = evaluate.Network(network.method, whole.stats, torch.device("cpu"))
    ways = [alone.outputs(np.ascontiguousarray(some)) for some in (pixels, pixels[:, :, ::-1])]
    assert not np.allclose(ways[0][0], ways[1][0], atol=1e-3)
    assert np.allclose(out.logits, (ways[0][0] + ways[1][0]) / 2, atol=1e-4)
    assert np.allclose(out.features, (ways[0][1] + ways[1][1]) / 2, atol=1e-3, rtol=1e-3)  # kept in half precision
    flipped, _ = network.outputs(np.ascontiguousarray(pixels[:, :, ::-1]))
    assert np.allclose(flipped, out.logits, atol=1e-4)
    assert not whole.outputs("train").mirrored.any()  # they would be the same again


def test_a_data_set_with_sides_is_judged_by_the_image_itself():
    assert not evaluate.both_ways(compose("fast", dataset="MNIST", tta="mirror"), datasets.DATASETS["MNIST"])
    assert evaluate.both_ways(compose("fast", dataset="CIFAR10"), datasets.DATASETS["CIFAR10"])


def test_biases_and_batch_norm_do_not_decay(whole):
    last = torch.load(whole.path / "last.pt", weights_only=True)["optimizers"]["net"]["param_groups"]
    # the biases of the whitening, of the head and of the batch norms, and their weights; six convolutions and the head
    assert [(group["weight_decay"], len(group["params"])) for group in last] == [(0.0, 14), (whole.recipe.decay, 7)]
    assert all(group["nesterov"] and group["momentum"] == 0.9 for group in last)


def test_what_no_batch_norm_follows_bears_the_rate_of_the_preset(tmp_path):
    """CROSR's decoder at the full rate is no finite number within an epoch."""
    recipe = compose("fast", dataset="digits", method="crosr", epochs=3)
    run = loop.train(recipe, tmp_path, tmp_path / "data", device="cpu")
    groups = torch.load(run.path / "last.pt", weights_only=True)["optimizers"]["net"]["param_groups"]
    assert sorted((group["times"], len(group["params"])) for group in groups) == [
        (0.025, 9), (0.025, 9), (1.0, 7), (1.0, 14),
    ]  # fmt: skip
    errors = [epoch["train"]["reconstruction"] for epoch in run.epochs()]
    assert errors == sorted(errors, reverse=True)
    plain = compose("quick", dataset="digits", method="crosr", epochs=1)
    run = loop.train(plain, tmp_path, tmp_path / "data", device="cpu")
    groups = torch.load(run.path / "last.pt", weights_only=True)["optimizers"]["net"]["param_groups"]
    assert {group["times"] for group in groups} == {1.0}


def test_the_triangle():
    recipe = compose("fast", dataset="CIFAR10", epochs=10)
    rates = [loop.rate_at(recipe, epoch) for epoch in (0, 1, 2, 6, 10 - 1e-9)]
    assert rates == pytest.approx([0, recipe.lr / 2, recipe.lr, recipe.lr / 2, 0], abs=1e-9)


def test_choices_that_do_not_go_together_are_named():
    with pytest.raises(ValueError, match="Nesterov's steps need a momentum above 0"):
        Recipe(optimizer="nesterov", momentum=0.0)
    with pytest.raises(ValueError, match="A cut-out goes with the augmentations shift and randaugment"):
        Recipe(cutout=4)
    for wrong in ({"tta": "mirror"}, {"augment": "shift"}):
        with pytest.raises(ValueError, match=r"efficientnet-lite0 makes of an image is computed once, so it takes tta"):
            evaluate.build(compose("photos", images=10, **wrong), 3, 3, 32)
