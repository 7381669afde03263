"""Every method trained whole: the same after a stop as without one, judged by its own score, or refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cac_core.recipe import METHODS, compose
from cac_core.results import evaluate, judge
from cac_core.training import distributed, loop

pytestmark = pytest.mark.long

SHORT = {"dataset": "digits", "epochs": 3, "batch": 128}
OPTIONS = {"vos": {"queue": 20, "draws": 50, "start": 0.3}, "proser": {"start": 0.3}}
OWN = {
    "cac": "gamma",
    "cross_entropy": "msp",
    "supcon": "knn",
    "cider": "knn",
    "vos": "energy",
    "proser": "placeholder",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("data")


def recipe_of(method, **more):
    return compose(options=OPTIONS.get(method), method=method, **(SHORT | more))


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_stopped_in_every_stage_is_the_undisturbed_one(method, data, tmp_path, monkeypatch):
    recipe = recipe_of(method)
    whole = loop.train(recipe, tmp_path / "whole", data, device="cpu")
    monkeypatch.setattr(loop, "BEAT", 0.0)  # an event every batch
    seen = []

    def tell(event):
        if event["kind"] == "progress":
            seen.append(event["step"])
            if len(seen) in (2, 8, 13):  # in each of the three epochs
                (tmp_path / "again" / recipe.id / "stop").touch()

    states = [loop.train(recipe, tmp_path / "again", data, device="cpu", tell=tell).state for _ in range(4)]
    assert states == ["stopped"] * 3 + ["finished"]
    run = loop.train(recipe, tmp_path / "again", data, device="cpu")
    one, two = (load_file(r.path / "best.safetensors") for r in (whole, run))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert np.array_equal(whole.outputs("test").logits, run.outputs("test").logits)
    # it is judged by its paper's score, from its outputs and from the network alike
    assert judge.default_of(run) == OWN[method] and "auroc" in run.report()["scorers"][OWN[method]]
    out = run.outputs("test")
    from cac_core.data import datasets

    pixels = datasets.parts_of(datasets.load("digits", data), run.trial, 0)["test"].pixels[:9]
    logits, features = evaluate.load(run, "cpu").outputs(pixels)
    assert np.allclose(logits, out.logits[:9], atol=1e-3) and np.allclose(
        features, out.features[:9], atol=1e-2, rtol=1e-2
    )
    assert (out.dummies is not None) == (method == "proser")
    # a linear head reads what is kept of the features: not on the sphere, nor where it reads every place
    assert (run.outputs("train").head is not None) == (method in ("vos", "proser"))
    assert len(judge.said_of(run, logits, features, OWN[method])) == 9


def test_no_epoch_before_the_whole_loss_acts_is_the_best(data, tmp_path):
    run = loop.train(recipe_of("proser", epochs=4), tmp_path, data, device="cpu")
    assert [event["best_epoch"] for event in run.epochs()][:2] == [-1, -1]  # starts at 0.3 of four: with the third
    assert run.epochs()[-1]["best_epoch"] >= 3
    dummy = load_file(run.path / "best.safetensors")["dummy.weight"]
    assert torch.isfinite(dummy).all()


@pytest.mark.parametrize("method", ["supcon", "cider", "vos", "proser"])
def test_what_looks_across_a_batch_refuses_several_processes(method, data, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)  # torchrun's processes stand apart in test_distributed
    from cac_core.data import datasets

    recipe = recipe_of(method)
    row = datasets.row_of("digits", data)
    with pytest.raises(
        ValueError, match=f"{method} compares all images of a batch.*by one process. Leave out torchrun"
    ):
        loop.Steps(recipe, datasets.trial_of(recipe, row), row, datasets.load("digits", data), torch.device("cpu"))


@pytest.mark.parametrize("method", METHODS)
def test_two_classes_and_few_images_are_learnt(method, image_folder, tmp_path):
    root = image_folder("pets", {"cat": 10, "dog": 10, "eel": 5}, side=16)
    recipe = compose(
        options=OPTIONS.get(method), method=method, dataset="pets", family="custom", trial="t", known=(0, 1),
        unknown=(2,), epochs=2, batch=4, size=16,
    )  # fmt: skip
    run = loop.train(recipe, tmp_path / "store", root, device="cpu")
    assert run.state == "finished" and np.isfinite(run.outputs("test").logits).all()
