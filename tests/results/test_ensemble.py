"""An ensemble is a run like any other: made of outputs, evaluated again, judged, told what does not belong together."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from cac_core import runs
from cac_core.__main__ import main
from cac_core.data import datasets
from cac_core.recipe import compose
from cac_core.results import ensemble, evaluate, judge, reproduce, sweep
from cac_core.training import loop

pytestmark = pytest.mark.long

SHORT = {"dataset": "digits", "epochs": 3, "batch": 64}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def store(tmp_path_factory, data):
    """Two seeds of CAC that hold out the same, two that do not, and cross-entropy."""
    torch.set_num_threads(1)
    store = tmp_path_factory.mktemp("store")
    for more in ({}, {"seed": 1, "divide": 0}, {"seed": 2}, {"seed": 3}, {"method": "cross_entropy"}):
        loop.train(compose(**(SHORT | more)), store, data, device="cpu")
    return store


def test_latents_which_few_scores_read_are_not_among_its_features(tmp_path, data):
    """As of one network: the scores that read features see none of them."""
    made = [
        loop.train(compose(**SHORT | {"method": "crosr", "epochs": 1, "seed": seed, "divide": 0}), tmp_path, data,
                   device="cpu")
        for seed in range(2)
    ]  # fmt: skip
    run, _ = ensemble.make(made, tmp_path, "softmax")
    kept = run.outputs("test").features
    mine = [run.outputs("test") for run in made]
    assert kept.shape[1] == sum(out.features.shape[1] - out.latents for out in mine)
    evaluate.evaluate(run, data, device="cpu", again=True)
    assert np.allclose(run.outputs("test").features, kept, atol=2e-2)


def named(store, *numbers):
    every = sorted(runs.every(store), key=lambda run: (run.recipe.method, run.recipe.seed))
    every = [run for run in every if "ensemble" not in run.recipe.method]
    return [every[number] for number in numbers]


@pytest.fixture(params=["softmax", "distances"])
def made(request, store, tmp_path):
    run, new = ensemble.make(named(store, 0, 1), tmp_path / "made", request.param)
    assert new
    return run


def test_it_puts_out_what_its_network_does(made, data):
    """From the parts' outputs, and from the images through all networks: the same, on the same images."""
    kept = {split: made.outputs(split) for split in runs.SPLITS}
    evaluate.evaluate(made, data, device="cpu", again=True)
    for split, before in kept.items():
        after = made.outputs(split)
        for name in ("labels", "classes", "index", "mirrored"):
            assert np.array_equal(getattr(before, name), getattr(after, name)), name
        assert np.allclose(before.logits, after.logits, atol=1e-3)
        assert np.allclose(before.features, after.features, atol=2e-2)
    images = datasets.load("digits", data)["test"].pixels[kept["test"].index[:20]]
    logits, features = evaluate.load(made, "cpu").outputs(images)
    assert np.allclose(logits, kept["test"].logits[:20], atol=1e-3)
    said = judge.said_of(made, logits, features, judge.default_of(made))
    assert len(said) == 20 and {one["decision"] for one in said} <= {*made.known_names, "unknown"}


def test_the_papers_tables_hold_it_against_what_its_score_is_comparable_with(made):
    """Distances of CAC's networks are CAC's; the mean of their softmax is neither CAC's nor cross-entropy's."""
    found = reproduce.reading(made)
    assert found.counts and not found.problem
    cells = reproduce.tables([found]).cells
    mine = [c for c in cells if c.measured]
    distances = made.recipe.method == "distance_ensemble"
    assert [(c.dataset, c.method, c.scorer) for c in mine] == ([("digits", "cac", "gamma")] if distances else [])


def test_it_stands_without_its_parts_and_pages_find_what_they_need(made, data):
    assert not made.problem() and made.state == "finished"
    assert [part["run"] for part in made.record["parts"]] == [run.id for run in named_of(made)]
    assert (
        made.report()["default"]
        == judge.default_of(made)
        == {"softmax": "msp", "distance": "gamma"}[made.recipe.method.split("_")[0]]
    )
    assert made.validated_on == "held_out" or made.validated_on == datasets.HELD_OUT
    assert ensemble.cost(made)["networks"] == 2
    found = sweep.sweep(made, data, temperatures=(1.0,), magnitudes=(0.0, 0.01), most=20, device="cpu")
    assert found is not None  # ODIN's gradient goes through all of its networks


def test_one_whose_weights_are_damaged_says_how_to_have_it_anew(made, store, capsys):
    file, parts = made.path / "best.safetensors", [str(store / run.id) for run in named_of(made)]
    file.write_bytes(file.read_bytes()[:1000])
    mean = ["--mean", "distances" if made.recipe.method.startswith("distance") else "softmax"]
    assert main(["ensemble", *parts, *mean, "--runs", str(made.path.parent)]) == 1
    said = capsys.readouterr().err
    assert "is damaged" in said and "Delete the run, and make it again with:\n" in said and "cac_core ensemble" in said
    assert main(["train", "--resume", str(made.path), "--device", "cpu"]) == 1
    assert "is made of trained runs" in capsys.readouterr().err and made.state == "finished"


def named_of(made):
    return [runs.Run(made.path.parent / part["run"]) for part in made.record["parts"]]


def test_the_same_of_the_same_weights_stays_and_another_is_refused(store, made):
    mean = {"softmax_ensemble": "softmax", "distance_ensemble": "distances"}[made.recipe.method]
    before = made.written
    again, new = ensemble.make(named(store, 0, 1), made.path.parent, mean)
    assert not new and again.path == made.path and made.written == before
    record = made.record
    record["parts"][0]["weights"] = "0" * 16
    runs.write_json(made.path / "recipe.json", record)
    with pytest.raises(ValueError, match=r"is there already, and is of other weights. Delete it"):
        ensemble.make(named(store, 0, 1), made.path.parent, mean)
    assert [run.id for run in runs.every(made.path.parent)] == [made.id]


def test_seeds_that_hold_out_others_are_validated_on_what_all_held_out(store, tmp_path, data):
    parts = named(store, 0, 2)
    run, _ = ensemble.make(parts, tmp_path)
    held, learnt = (set.intersection(*(set(part.outputs(split).index.tolist()) for part in parts))
                    for split in ("validation", "train"))  # fmt: skip
    assert set(run.outputs("validation").index.tolist()) == held and 19 <= len(held) < 60
    assert set(run.outputs("train").index.tolist()) == learnt
    evaluate.evaluate(run, data, device="cpu", again=True)
    assert set(run.outputs("validation").index.tolist()) == held


def test_methods_can_be_mixed_by_softmax_alone(store, tmp_path):
    run, _ = ensemble.make(named(store, 0, 4), tmp_path)
    assert run.recipe.hyper == {"parts": "method cac cross_entropy"} and run.outputs("test").anchors is None
    with pytest.raises(ValueError, match=r"the same anchors; .*cross-entropy.* has none or others. Take the mean of"):
        ensemble.make(named(store, 0, 4), tmp_path, "distances")


def changed(run, into, **of_record):
    copy = runs.Run(into / f"{run.id[:40]}-{len(list(into.iterdir()))}")
    shutil.copytree(run.path, copy.path)
    runs.write_json(copy.path / "recipe.json", copy.record | of_record)
    return copy


def test_runs_that_do_not_belong_together_are_named_with_the_way_out(store, tmp_path):
    first, second, apart, further = named(store, 0, 1, 2, 3)
    with pytest.raises(ValueError, match=r"(?s)validation images in common.*--seed 1 --divide 0"):
        ensemble.make([first, apart, further], tmp_path / "out")
    with pytest.raises(ValueError, match="takes 2 to 20 different runs, not 1"):
        ensemble.make([first], tmp_path / "out")
    with pytest.raises(ValueError, match="takes 2 to 20 different runs, not 2"):
        ensemble.make([first, first], tmp_path / "out")
    with pytest.raises(ValueError, match="There is no mean 'median'; there are: softmax, distances"):
        ensemble.make([first, second], tmp_path / "out", "median")
    there = tmp_path / "changed"
    there.mkdir()
    classes = second.record["classes"]
    wrong = {
        "known and unknown classes": {"classes": classes | {"known": [*classes["known"][:-1], classes["unknown"][0]],
                                                            "unknown": classes["unknown"][1:]}},
        "images": {"data": "other"},
        "size and preparation": {"prepare": second.record["prepare"] | {"ink": False}},
    }  # fmt: skip
    for said, record in wrong.items():
        other = changed(second, there, **record)
        with pytest.raises(ValueError, match=f"{first.id} and .* differ in their {said}|{other.id}"):
            ensemble.make([first, other], tmp_path / "out")
    going = changed(second, there)
    runs.write_json(going.path / "status.json", {"state": "stopped"})
    with pytest.raises(ValueError, match="is not finished, so it cannot be part of an ensemble"):
        ensemble.make([first, going], tmp_path / "out")
    folded = changed(second, there, recipe=dataclasses.replace(second.recipe, folds=2).to_json())
    with pytest.raises(ValueError, match="is cross-validated"):
        ensemble.make([first, folded], tmp_path / "out")
    broken = changed(second, there)
    (broken.path / "recipe.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot be part of an ensemble: .*recipe.json"):
        ensemble.make([first, broken], tmp_path / "out")
    joint, _ = ensemble.make([first, second], tmp_path / "out")
    with pytest.raises(ValueError, match=r"is an ensemble itself. Name its parts"):
        ensemble.make([first, joint], tmp_path / "out")
    assert {run.id for run in runs.every(tmp_path / "out")} == {joint.id}


def test_a_record_that_does_not_say_its_parts_is_broken(store, tmp_path):
    run, _ = ensemble.make(named(store, 0, 1), tmp_path)
    record = run.record
    for parts in ([], record["parts"][:1], [record["parts"][0] | {"mean": [0.1, 0.2]}] * 2,
                  [record["parts"][0] | {"recipe": {"epochs": 0}}] * 2):  # fmt: skip
        runs.write_json(run.path / "recipe.json", record | {"parts": parts})
        with pytest.raises(runs.Broken, match=r"does not say what the ensemble is made of|recipe.json: epochs must be"):
            evaluate.load(run, "cpu")


def test_the_command(store, capsys, tmp_path):
    out = tmp_path / "store"
    shutil.copytree(store, out)
    ids = [run.id for run in named(store, 0, 1)]
    assert main(["ensemble", *ids, "--runs", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["new"] and said["cost"]["networks"] == 2 and said["report"]["scorer"] == "msp"
    assert said["report"]["quality"]["word"] and (out / said["run"] / "best.safetensors").is_file()
    assert main(["ensemble", *ids, "--runs", str(out)]) == 0
    assert "is there already" in capsys.readouterr().out
