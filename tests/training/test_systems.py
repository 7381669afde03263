"""Every method trained whole: the same after a stop as without one, judged by its own score, or refused."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cac_core.exchange import shelf
from cac_core.networks.methods import openset
from cac_core.recipe import METHODS, compose
from cac_core.results import evaluate, judge
from cac_core.training import distributed, loop

pytestmark = pytest.mark.long

SHORT = {"dataset": "digits", "epochs": 3, "batch": 128}
OPTIONS = {"vos": {"queue": 20, "draws": 50, "start": 0.3}, "proser": {"start": 0.3},
           "osrci": {"start": 0.5, "count": 100, "walk": 3, "maps": 6, "latent": 3},
           "g_openmax": {"start": 0.5, "count": 100, "unsure": 0.9, "maps": 6, "latent": 3}}  # fmt: skip
MAKES = ["osrci", "g_openmax"]
OWN = {
    "cac": "gamma",
    "cross_entropy": "msp",
    "supcon": "knn",
    "cider": "knn",
    "vos": "energy",
    "proser": "placeholder",
    "crosr": "latent_openmax",
    "osrci": "unknown_class",
    "g_openmax": "unknown_class",
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
    assert (out.dummies is not None) == (method in ("proser", *MAKES))
    # a linear head reads what is kept of the features: not on the sphere, nor where it reads every place
    assert (run.outputs("train").head is not None) == (method in ("vos", "proser", "crosr"))
    assert (out.prototypes is not None) == (method in ("supcon", "cider"))
    assert out.latents == (16 if method == "crosr" else 0)
    beside = [event.get("beside", {}).keys() for event in run.epochs()]
    assert beside == [{"own", "between", "closest"} if method in ("supcon", "cider") else set()] * 3
    assert (run.rebuilt() is not None) == (method == "crosr")
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
        ValueError, match=f"{method} learns from a batch as a whole.*by one process. Leave out torchrun"
    ):
        loop.Steps(recipe, datasets.trial_of(recipe, row), row, datasets.load("digits", data), torch.device("cpu"))


@pytest.mark.parametrize("method", MAKES)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_run_that_ended_in_every_stage_is_the_undisturbed_one(method, how, data, tmp_path, monkeypatch):
    recipe = recipe_of(method, batch=32)
    whole = loop.train(recipe, tmp_path / "whole", data, device="cpu")
    monkeypatch.setattr(loop, "BEAT", 0.0)
    ended = []

    def tell(event):
        stage = {"progress": f"epoch {event.get('epoch')}", "making": f"making {event.get('done', 0) > 50}"}.get(
            event["kind"]
        )
        if stage and stage not in ended:
            ended.append(stage)
            if how == "kill":
                raise KeyError  # nothing more is saved
            (tmp_path / "again" / recipe.id / "stop").touch()

    for _ in range(5):  # the three epochs, and twice between the second and the third
        if how == "kill":
            with pytest.raises(loop.TrainingFailed):
                loop.train(recipe, tmp_path / "again", data, device="cpu", tell=tell)
        else:
            assert loop.train(recipe, tmp_path / "again", data, device="cpu", tell=tell).state == "stopped"
    assert ended == ["epoch 1", "epoch 2", "making False", "making True", "epoch 3"]
    run = loop.train(recipe, tmp_path / "again", data, device="cpu", tell=tell)
    assert run.state == "finished"
    for name in ("best.safetensors", "last.pt"):
        one, two = (
            load_file(r.path / name) if name.startswith("best") else torch.load(r.path / name)["method"]
            for r in (whole, run)
        )
        assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one), name
    one, two = whole.made(), run.made()
    assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("method", MAKES)
def test_what_was_made_is_kept_with_the_run_and_the_time_left_counts_it(method, data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BEAT", 0.0)
    told = []
    run = loop.train(recipe_of(method, batch=32), tmp_path, data, device="cpu", tell=told.append)
    kinds = [event["kind"] for event in told if event["kind"] in ("progress", "making", "epoch")]
    first, last = kinds.index("making"), len(kinds) - 1 - kinds[::-1].index("making")
    assert set(kinds[first : last + 1]) == {"making"} and kinds[:first].count("epoch") == 2
    makes = [event for event in told if event["kind"] == "making"]
    assert makes[-1]["done"] == 100 and all(event["seconds_left"] > 0 for event in makes)
    made = run.made()
    assert made["made"].shape == (100, 16, 16, 1) and made["way"].shape == (6, 12, 16, 16, 1)
    assert np.allclose(made["before"].sum(2), 1, atol=1e-3) and np.allclose(made["after"].sum(2), 1, atol=1e-3)
    assert made["steps"][0] == -1 and set(made["classes"].tolist()) == set(range(6))
    assert run.outputs("test").dummies.tolist() == [[0.0] * 97]  # the logit of the further class is 0
    packed = io.BytesIO()
    shelf.pack([run], packed)
    (copy,) = shelf.unpack(packed, tmp_path / "other")  # small, without features
    assert all(np.array_equal(copy.made()[name], made[name]) for name in made)
    for name in ("accuracy", "auroc"):
        one, two = (r.report()["scorers"]["unknown_class"][name] for r in (run, copy))
        assert one == pytest.approx(two, abs=1e-4)


def test_a_generator_that_has_collapsed_is_said(data, tmp_path, monkeypatch):
    monkeypatch.setattr(openset, "ALIKE", 1e9)
    told = []
    run = loop.train(recipe_of("osrci"), tmp_path, data, device="cpu", tell=told.append)
    (warning,) = run.warnings()
    assert warning.startswith("The generator has collapsed: the images that it rebuilds differ")
    assert [event["text"] for event in told if event["kind"] == "warning"] == [warning]


def test_what_is_said_of_made_images_is_said_however_often_their_making_was_stopped(data, tmp_path, monkeypatch):
    monkeypatch.setattr(openset, "ALIKE", 1e9)
    monkeypatch.setattr(loop, "BEAT", 0.0)
    recipe, stops = recipe_of("osrci", batch=32), []

    def tell(event):
        if event["kind"] == "making":
            stops.append(event["done"])
            (tmp_path / recipe.id / "stop").touch()

    while (run := loop.train(recipe, tmp_path, data, device="cpu", tell=tell)).state == "stopped":
        assert len(stops) < 10
    assert stops[-1] == 100 and len(stops) == len(set(stops)) > 1
    (warning,) = run.warnings()
    assert warning.startswith("The generator has collapsed")


@pytest.mark.parametrize("method", ["g_openmax", "crosr"])
def test_a_kill_while_a_finished_training_is_judged_loses_nothing(method, data, tmp_path, monkeypatch):
    recipe = recipe_of(method, epochs=1)
    whole = loop.train(recipe, tmp_path / "whole", data, device="cpu")
    store = tmp_path / "killed"
    name = "_write_made" if method == "g_openmax" else "_write_rebuilt"

    def killed(*_):
        raise KeyError

    monkeypatch.setattr(evaluate, name, killed)
    with pytest.raises(loop.TrainingFailed):
        loop.train(recipe, store, data, device="cpu")
    monkeypatch.undo()
    run = loop.train(recipe, store, data, device="cpu")
    one, two = whole.report(), run.report()
    assert run.state == "finished" and two.pop("weights") == evaluate.weights_of(run) and one.pop("weights")
    assert one == two
    assert (run.made() is None) == (whole.made() is None) and (run.rebuilt() is None) == (whole.rebuilt() is None)


def test_what_is_made_between_stages_is_kept_now_and_then(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BEAT", 0.0)
    monkeypatch.setattr(loop, "KEPT", 0.0)
    recipe, makes = recipe_of("osrci", batch=32), []

    def killed(event):
        if event["kind"] == "making":
            makes.append(event["done"])
            if len(makes) == 2:
                raise KeyError

    with pytest.raises(loop.TrainingFailed):
        loop.train(recipe, tmp_path, data, device="cpu", tell=killed)
    assert torch.load(tmp_path / recipe.id / "last.pt", weights_only=True)["makings"] == 1


def test_the_last_stage_begins_where_the_method_says_so_whatever_a_product_rounds_to():
    assert 0.28 * 25 > 7
    for begins in (n / 100 for n in range(100)):
        for epochs in range(1, 101):
            turn = loop.turn_of(begins, epochs)
            assert all((epoch / epochs >= begins) == (epoch >= turn) for epoch in range(epochs - 1)), (begins, epochs)
            assert 0 <= turn < epochs  # the last epoch is of the last stage, whatever its share


@pytest.mark.parametrize("method", MAKES)
def test_what_makes_images_refuses_several_processes(method, data, monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    from cac_core.data import datasets

    recipe, row = recipe_of(method), datasets.row_of("digits", data)
    with pytest.raises(ValueError, match=f"{method} makes images up between two stages.*one process. Leave out torch"):
        loop.Steps(recipe, datasets.trial_of(recipe, row), row, datasets.load("digits", data), torch.device("cpu"))


@pytest.mark.parametrize("method", ["proser", "osrci"])
def test_fine_epochs_that_begin_before_the_last_stage_go_on_from_where_training_is(method, data, tmp_path):
    recipe = compose(options=OPTIONS[method] | {"start": 0.7}, method=method, **(SHORT | {"epochs": 2}), fine_epochs=2)
    run = loop.train(recipe, tmp_path, data, device="cpu")
    assert run.state == "finished" and [e["best_epoch"] for e in run.epochs()] == [-1, -1, -1, 4]


@pytest.mark.parametrize("method", METHODS)
def test_two_classes_and_few_images_are_learnt(method, image_folder, tmp_path):
    root = image_folder("pets", {"cat": 10, "dog": 10, "eel": 5}, side=16)
    recipe = compose(
        options=OPTIONS.get(method), method=method, dataset="pets", family="custom", trial="t", known=(0, 1),
        unknown=(2,), epochs=2, batch=4, size=16,
    )  # fmt: skip
    run = loop.train(recipe, tmp_path / "store", root, device="cpu")
    assert run.state == "finished" and np.isfinite(run.outputs("test").logits).all()


def test_what_a_network_rebuilt_is_kept_with_the_run(data, tmp_path):
    from cac_core.data import datasets

    run = loop.train(recipe_of("crosr", epochs=2), tmp_path / "one", data, device="cpu")
    kept, test = run.rebuilt(), run.outputs("test")
    pixels = datasets.parts_of(datasets.load("digits", data), run.trial, 0)["test"].pixels
    network = evaluate.load(run, "cpu")
    mean, std = (value.numpy().ravel() for value in network.scale)
    x = (pixels / 255 - mean) / std
    with torch.no_grad():
        image = network.method.rebuilt(torch.tensor(x, dtype=torch.float32).permute(0, 3, 1, 2))
    image = image.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(kept["error"], ((image - x) ** 2).mean((1, 2, 3)), rtol=1e-3)
    np.testing.assert_array_equal(kept["images"], pixels[kept["rows"]])
    shown = np.clip(image[kept["rows"]] * std + mean, 0, 1) * 255
    assert np.abs(kept["made"] - shown).max() <= 0.51
    for known in (True, False):  # from the best rebuilt to the worst
        mine = kept["error"][kept["rows"]][(test.labels[kept["rows"]] >= 0) == known]
        whole = kept["error"][(test.labels >= 0) == known]
        assert len(mine) == evaluate.REBUILT and (np.diff(mine) >= 0).all()
        assert mine[0] == whole.min() and mine[-1] == whole.max()
    without = loop.train(
        compose(options={"weight": 0.0}, method="crosr", **(SHORT | {"epochs": 1})), tmp_path, data, device="cpu"
    )
    assert without.rebuilt() is None


@pytest.mark.parametrize("method", MAKES)
@pytest.mark.parametrize(("side", "batch", "flat"), [(64, 2, False), (20, 4, False), (16, 4, True)])
def test_images_are_made_from_one_image_of_a_class_from_constant_ones_and_at_any_size(
    method, side, batch, flat, image_folder, tmp_path
):
    root = image_folder("pets", {"cat": 10, "dog": 3, "eel": 5}, side=side)  # of the dogs one is learnt from
    for file in root.rglob("*.png") if flat else []:
        Image.new("RGB", (side, side), (90, 90, 90)).save(file)
    small = {name: value for name, value in OPTIONS[method].items() if name in ("walk", "maps", "latent")}
    recipe = compose(
        options=small | {"count": 6}, method=method, dataset="pets", family="custom", trial="t", known=(0, 1),
        unknown=(2,), epochs=2, batch=batch, size=side,
    )  # fmt: skip
    run = loop.train(recipe, tmp_path / "store", root, device="cpu")
    assert run.state == "finished" and np.isfinite(run.outputs("test").logits).all()
    made = run.made()
    assert made["made"].shape[1:] == (side, side, 3) and len(made["made"]) <= 6
