"""Outputs of a trained network: written once, the same for an image alone, and perturbed as ODIN's paper says."""

import shutil

import numpy as np
import pytest
import torch

from cac_core import runs
from cac_core.data import datasets
from cac_core.networks.inputs import normalised
from cac_core.recipe import compose
from cac_core.results import evaluate, judge
from cac_core.scoring.distances import class_means
from cac_core.training import loop
from tests import reference

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def run(tmp_path_factory, data):
    return loop.train(compose(epochs=2, batch=128), tmp_path_factory.mktemp("store"), data, device="cpu")


@pytest.fixture(scope="module")
def network(run):
    return evaluate.load(run, "cpu")


@pytest.fixture(scope="module")
def parts(run, data):
    return datasets.parts_of(datasets.load("digits", data), run.trial, 0)


def test_outputs_are_of_the_right_images(run, parts):
    for split in runs.SPLITS:
        outputs, part = run.outputs(split), parts[split]
        assert np.array_equal(outputs.labels, part.labels) and np.array_equal(outputs.index, part.index)
        assert np.array_equal(outputs.classes, part.classes)
        assert outputs.features.shape == (len(part), 96) and not outputs.mirrored.any()
    assert (run.outputs("validation").labels >= 0).all()
    assert np.array_equal(run.outputs("train").anchors, 10 * np.eye(6, dtype=np.float32))


def test_an_image_is_judged_alone(network, parts, run):
    """Its logits do not depend on the images beside it."""
    pixels = parts["test"].pixels[:300]
    together, _ = network.outputs(pixels)
    for i in (0, 7, 255, 256, 299):
        alone, _ = network.outputs(pixels[i : i + 1])
        assert np.allclose(alone[0], together[i], atol=1e-4)
    assert np.allclose(run.outputs("test").logits[:300], together, atol=1e-4)


def test_data_sets_that_mirror_have_mirrored_training_outputs(image_folder, tmp_path):
    root = image_folder("pets", {"cat": 12, "dog": 12, "eel": 6}, side=32)
    recipe = compose(dataset="pets", family="custom", trial="t", known=(0, 1), unknown=(2,), epochs=1, backbone="small")
    run = loop.train(recipe, tmp_path / "store", root, device="cpu")
    out = run.outputs("train")
    half = len(out) // 2
    assert out.mirrored.sum() == half and out.mirrored[half:].all()
    assert np.array_equal(out.index[:half], out.index[half:]) and np.array_equal(out.labels[:half], out.labels[half:])
    pixels = datasets.parts_of(datasets.load("pets", root), run.trial, 0)["train"].pixels[:]
    flipped, _ = evaluate.load(run, "cpu").outputs(np.ascontiguousarray(pixels[:, :, ::-1]))
    assert np.allclose(out.logits[half:], flipped, atol=1e-4)
    assert run.known_names == ["cat", "dog"] and run.row.channels == 3


def test_outputs_are_written_once_and_again_for_other_weights(run, data):
    before = run.written
    evaluate.evaluate(run, data, device="cpu")
    assert run.written == before
    file = run.path / "best.safetensors"
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    old = weights["classify.bias"].clone()
    weights["classify.bias"] += 1
    save_file(weights, file, evaluate.weights_metadata(run.recipe, run.trial, 9))
    evaluate.evaluate(run, data, device="cpu")
    assert run.written != before
    weights["classify.bias"] = old
    save_file(weights, file, evaluate.weights_metadata(run.recipe, run.trial, 2))
    evaluate.evaluate(run, data, device="cpu")


def test_what_was_computed_with_weights_that_a_training_has_replaced_is_not_kept(run, data, tmp_path, monkeypatch):
    copy = type(run)(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    before, weights = copy.outputs("test").logits, copy.path / "best.safetensors"
    real = evaluate._outputs

    def meanwhile(*given):
        found = real(*given)
        weights.write_bytes(weights.read_bytes() + b" ")
        return found

    monkeypatch.setattr(evaluate, "_outputs", meanwhile)
    with pytest.raises(ValueError, match="written anew meanwhile"):
        evaluate.evaluate(copy, data, device="cpu", again=True)
    assert np.array_equal(copy.outputs("test").logits, before)


def test_changed_images_are_noticed(run, data, monkeypatch):
    real = datasets.load("digits", data)
    changed = {k: datasets.Images(np.roll(v.pixels, 1, 0), v.classes) for k, v in real.items()}
    monkeypatch.setattr(datasets, "load", lambda *_: changed)
    with pytest.raises(ValueError, match="data set has changed since"):
        evaluate.evaluate(run, data, device="cpu", again=True)


# --- ODIN's perturbation ---------------------------------------------------------------------------------------------


def batch(parts):
    return torch.from_numpy(parts["test"].pixels[:8].copy()).permute(0, 3, 1, 2).float() / 255


def test_magnitude_zero_is_the_image_itself_bit_for_bit(network, parts):
    x = batch(parts)
    assert evaluate.perturbed(network, x, magnitude=0.0) is x
    plain, _ = network.outputs(parts["test"].pixels[:8])
    assert np.array_equal(network.outputs(parts["test"].pixels[:8], magnitude=0.0)[0], plain)


def test_perturbation_is_the_papers_step_in_normalised_space(network, parts):
    """x_norm - eps * sign(gradient) / std, the gradient of the tuplet loss to the predicted class."""
    x, eps = batch(parts), 0.01
    mean, std = network.scale
    z = normalised(x, network.scale).detach().requires_grad_()
    logits = network.method(z)[0]
    d = (logits[:, None] - network.method.anchors[None]).norm(dim=2) / 2.0
    label = d.argmin(1)
    torch.stack([torch.logsumexp(-row, 0) + row[k] for row, k in zip(d, label, strict=True)]).sum().backward()
    got = evaluate.perturbed(network, x, magnitude=eps, temperature=2.0)
    for i in range(2):
        for c in range(1):
            image, grad = z[i, c].detach().flatten().tolist(), z.grad[i, c].flatten().tolist()
            want = reference.odin_step([image], [grad], [std[c].item()], eps)[0]
            mine = ((got[i, c] - mean[c]) / std[c]).flatten().tolist()
            far = [abs(g) > 1e-7 for g in grad]  # where the gradient is nothing but rounding, its sign means nothing
            assert [m for m, f in zip(mine, far, strict=True) if f] == pytest.approx(
                [w for w, f in zip(want, far, strict=True) if f], abs=1e-4
            )


def test_perturbation_moves_towards_the_predicted_class(network, parts):
    x = batch(parts)
    near = network.method.affinity(network(x)[0]).max(1).values
    nearer = network.method.affinity(network(evaluate.perturbed(network, x, magnitude=0.002))[0]).max(1).values
    assert (nearer > near).float().mean() > 0.8


def test_perturbation_leaves_no_gradient_behind(network, parts):
    evaluate.perturbed(network, batch(parts), magnitude=0.01)
    assert all(p.grad is None for p in network.method.parameters())


def test_moved_images_go_the_way_that_the_perturbed_outputs_went(network, parts, run):
    pixels, centres = parts["test"].pixels[:5], class_means(run.outputs("train"))
    how = {"magnitude": 0.02, "temperature": 10.0, "centres": centres}
    moved = evaluate.moved_images(network, pixels, **how)
    assert np.abs(np.abs(moved - pixels / 255) - 0.02).max() < 1e-6
    with torch.no_grad():
        logits = network(torch.from_numpy(moved).permute(0, 3, 1, 2))[0].numpy()
    np.testing.assert_allclose(logits, network.outputs(pixels, **how)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"magnitude": -0.1}, "magnitude"), ({"magnitude": float("nan")}, "magnitude"),
     ({"magnitude": 0.1, "temperature": 0}, "temperature"), ({"magnitude": 0.1, "temperature": -1}, "temperature")],
)  # fmt: skip
def test_impossible_perturbations_are_refused(network, parts, wrong, said):
    with pytest.raises(ValueError, match=said):
        evaluate.perturbed(network, batch(parts), **wrong)


def test_no_image_is_an_error(network):
    with pytest.raises(ValueError, match="no image"):
        network.outputs(np.zeros((0, 16, 16, 1), np.uint8))


def test_a_run_is_refused_on_another_split(run):
    for wrong in ({"family": "cac-2020"}, {"trial": "1"}, {"dataset": "MNIST"}):
        with pytest.raises(ValueError, match="cannot be evaluated on"):
            judge.check_split(run, **wrong)
    judge.check_split(run, family="osrci", trial="0", dataset="digits")
