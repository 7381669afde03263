"""A run that begins with another run's weights: which fit, which may not, and that a kill changes nothing."""

import json
import shutil

import pytest
import torch

from cac_core import runs
from cac_core.__main__ import main
from cac_core.recipe import Recipe, compose
from cac_core.results import evaluate
from cac_core.training import loop, starts

pytestmark = pytest.mark.long
GIVEN = {"dataset": "digits", "epochs": 3, "batch": 32, "trial": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("starts")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def first(place):
    return loop.train(compose(method="cross_entropy", **GIVEN), place / "runs", place / "data", device="cpu")


def recipe_of(first, options=None, **more) -> Recipe:
    return compose("quick", options, **({"method": "proser", "begun_with": first.id} | GIVEN | more))


def weights(run) -> dict:
    return evaluate.learnt(evaluate.load(run, "cpu").method)


def test_what_fits_is_taken_and_nothing_else(first, place):
    told = []
    run = loop.train(
        recipe_of(first, epochs=1, lr=1e-9, decay=0.0, method="cac"),
        place / "runs",
        place / "data",
        device="cpu",
        tell=told.append,
    )
    (begun,) = [event for event in told if event["kind"] == "begun"]
    before, after = weights(first), weights(run)
    fits = [name for name, value in before.items() if name in after and after[name].shape == value.shape]
    assert "classify.weight" in fits and "anchors" not in fits
    assert (begun["run"], begun["tensors"], begun["of"]) == (first.id, len(fits), len(after))
    assert 0 < len(fits) < len(after)
    for name in fits:
        if before[name].is_floating_point() and "running" not in name:  # which go on by themselves
            torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=1e-6)
    could = first.epochs()[first.epochs()[-1]["best_epoch"] - 1]["validation"]["accuracy"]
    assert run.epochs()[0]["validation"]["accuracy"] == pytest.approx(could, abs=0.1) and could > 0.5
    assert run.recipe.begun_with == first.id and run.id != compose(method="cac", **GIVEN).id


def test_it_goes_on_after_a_stop_as_if_it_had_not_been_stopped(first, place):
    recipe = recipe_of(first)
    whole = loop.train(recipe, place / "runs", place / "data", device="cpu")
    store = place / "again"
    store.mkdir()
    shutil.copytree(first.path, store / first.id)

    def stop(event):
        if event["kind"] == "epoch":
            (store / recipe.id / "stop").touch()

    run = loop.train(recipe, store, place / "data", device="cpu", tell=stop)
    assert run.state == "stopped"
    shutil.rmtree(store / first.id)  # it is not needed any more
    told = []
    run = loop.train(recipe, store, place / "data", device="cpu", tell=told.append)
    assert run.state == "finished" and "begun" not in [event["kind"] for event in told]
    one, two = weights(whole), weights(run)
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    "more, why",
    [
        ({"trial": "2"}, "knows the classes"),
        ({"seed": 1}, "--divide 0"),
        ({"held_out": 0.3}, "held_out is 0.2"),
        ({"backbone": "plain"}, "backbone is small"),
        ({"begun_with": "not-there"}, "not here"),
    ],
)
def test_a_run_that_has_seen_too_much_or_does_not_fit_is_refused(first, place, more, why):
    recipe = recipe_of(first, **more)
    with pytest.raises(ValueError, match=why):
        loop.train(recipe, place / "runs", place / "data", device="cpu")
    assert not (place / "runs" / recipe.id).exists()


def test_a_finished_run_is_finished_although_what_it_began_with_is_gone(first, place, capsys):
    store, recipe = place / "alone", recipe_of(first, epochs=1)
    store.mkdir()
    shutil.copytree(first.path, store / first.id)
    (place / "recipe.json").write_text(json.dumps(recipe.to_json()))
    given = ["train", "--recipe", str(place / "recipe.json"), "--runs", str(store), "--data", str(place / "data"),
             "--device", "cpu", "--json"]  # fmt: skip
    assert main(given) == 0
    shutil.rmtree(store / first.id)
    capsys.readouterr()
    assert main(given) == 0 and json.loads(capsys.readouterr().out)["state"] == "finished"
    assert main([*given, "--again"]) == 1 and "The run to begin with is not here" in capsys.readouterr().err
    assert runs.Run(store / recipe.id).state == "finished"  # what was there stays


def test_with_the_same_division_another_seed_may_begin_with_it(first, place):
    recipe = recipe_of(first, seed=1, divide=0)
    assert starts.start_of(recipe, first.trial, place / "runs").id == first.id


def test_a_start_of_other_images_is_refused(first, place):
    with pytest.raises(ValueError, match="other images"):
        starts.taken(first, evaluate.load(first, "cpu").method, "0" * 64)


def test_what_a_method_has_gathered_is_gathered_anew(place):
    drawn = loop.train(compose(**GIVEN | {"method": "vos", "epochs": 1}), place / "runs", place / "data", device="cpu")
    method = evaluate.build(drawn.recipe, 6, 1, 16)
    found = starts.taken(drawn, method, drawn.record["data"])
    assert "classify.weight" in found and "queues" in evaluate.learnt(method) and "queues" not in found
    assert any("running_mean" in name for name in found)


def test_a_generator_that_is_taken_paints_as_it_did(place):
    """Its batch norms judge by what they have gathered, which belongs to its weights."""
    options = {"start": 0.7, "count": 20, "walk": 2, "maps": 6, "latent": 3}
    first = loop.train(
        compose(options=options, **GIVEN | {"method": "osrci"}), place / "runs", place / "data", device="cpu"
    )
    again = loop.train(
        compose(options=options | {"start": 0.0}, **GIVEN | {"method": "osrci", "epochs": 1, "begun_with": first.id}),
        place / "runs", place / "data", device="cpu",
    )  # fmt: skip
    before, after = weights(first), weights(again)
    gathered = [name for name in before if name.startswith("gan.") and "running" in name]
    assert gathered and all(torch.equal(before[name], after[name]) for name in gathered)


def test_a_run_without_weights_is_none(first, place):
    bare = runs.Run(place / "runs" / "bare")
    bare.path.mkdir()
    (bare.path / "recipe.json").write_bytes((first.path / "recipe.json").read_bytes())
    with pytest.raises(ValueError, match="no weights"):
        starts.start_of(recipe_of(bare), first.trial, place / "runs")


def test_a_training_that_has_not_ended_is_none(place):
    """What it has learnt by then would be another network tomorrow, under the same name."""
    begun = compose(method="cross_entropy", **GIVEN | {"seed": 4})
    stop = place / "runs" / begun.id / "stop"
    stopped = loop.train(
        begun, place / "runs", place / "data", device="cpu",
        tell=lambda event: stop.touch() if event["kind"] == "epoch" else None,
    )  # fmt: skip
    assert stopped.state == "stopped" and (stopped.path / "best.safetensors").exists()
    with pytest.raises(ValueError, match=r"cannot be begun with: its training has not ended"):
        starts.start_of(recipe_of(stopped, seed=4), stopped.trial, place / "runs")


@pytest.mark.parametrize("name", ["../other", "a/b", "A", "x" * 65, 3, None])
def test_a_name_that_is_no_id_is_refused(name):
    with pytest.raises(ValueError, match="begun_with"):
        Recipe(begun_with=name)
