"""CIFAR+10 and CIFAR+50 share images and known classes: a network of one is that of the other, and is trained once."""

import dataclasses

import numpy as np
import pytest
import torch

from cac_core import runs
from cac_core.data import datasets
from cac_core.recipe import compose
from cac_core.results import evaluate, reproduce
from cac_core.training import loop

pytestmark = pytest.mark.long
PAIR = ("CIFAR+10", "CIFAR+50")
GIVEN = {"epochs": 2, "backbone": "small", "batch": 32, "trial": "1", "seed": 1}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Small images in the place of the two data sets' own: noise around a shade of the class."""
    rng = np.random.default_rng(0)

    def made(classes, each):
        classes = np.repeat(classes, each)
        shades = (classes[:, None, None, None] * 23) % 200
        return np.clip(shades + rng.integers(0, 50, (len(classes), 32, 32, 3)), 0, 255).astype(np.uint8), classes

    parts = {"train": made(np.arange(10), 40), "test": made(np.arange(110), 4)}
    (tmp_path / "source").touch()
    rows = {
        name: dataclasses.replace(row, read=read, source=source)
        for read, source in [(lambda *_: parts, lambda *_: [tmp_path / "source"])]
        for name, row in datasets.DATASETS.items() if name in PAIR
    }  # fmt: skip
    for name, row in rows.items():
        monkeypatch.setitem(datasets.DATASETS, name, row)
    return tmp_path / "data"


def trained(dataset, store, root, **more):
    told = []
    run = loop.train(compose(dataset=dataset, **GIVEN | more), store, root, device="cpu", tell=told.append)
    return run, [event["kind"] for event in told]


def test_what_is_trained_on_the_one_is_not_trained_again_on_the_other(store, root, tmp_path):
    one, told = trained(PAIR[0], store, root)
    assert told.count("epoch") == 2
    other, told = trained(PAIR[1], store, root)
    alone, _ = trained(PAIR[1], tmp_path / "alone", root)
    assert "epoch" not in told and "evaluation" in told and one.id in other.status["reason"]
    assert other.state == alone.state == "finished" and other.recipe == alone.recipe and not other.problem()

    # as if it had been trained: weights, outputs, report, curves
    nets = [evaluate.learnt(evaluate.load(run, "cpu").method) for run in (other, alone)]
    assert nets[0].keys() == nets[1].keys() and all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])
    for split in runs.SPLITS:
        np.testing.assert_array_equal(other.outputs(split).logits, alone.outputs(split).logits)
        np.testing.assert_array_equal(other.outputs(split).labels, alone.outputs(split).labels)
    reports = [run.report() for run in (one, other, alone)]
    for run, report in zip((one, other, alone), reports, strict=True):
        assert report.pop("weights") == evaluate.weights_of(run)  # of the file, whose header comes in any order
    assert reports[1] == reports[2] != reports[0]
    assert (one.outputs("test").labels < 0).sum() == 40 and (other.outputs("test").labels < 0).sum() == 200
    curves = [[(e["epoch"], e["train"]) for e in run.epochs()] for run in (one, other, alone)]
    assert curves[0] == curves[1] == curves[2]
    read = [reproduce.reading(run) for run in (one, other)]
    assert all(one.counts for one in read) and read[1].machine == read[0].machine
    assert trained(PAIR[1], store, root)[1] == []  # finished


@pytest.mark.parametrize("change", [{"seed": 2}, {"lr": 0.02}, {"trial": "2"}, {"method": "cross_entropy"}])
def test_another_recipe_is_trained(store, root, change):
    trained(PAIR[0], store, root)
    assert trained(PAIR[1], store, root, **change)[1].count("epoch") == 2


@pytest.mark.parametrize("spoilt", ["images", "unfinished", "weights", "torn", "record", "begun"])
def test_nothing_is_taken_from_a_run_that_is_not_whole_or_of_other_images(store, root, spoilt):
    one, _ = trained(PAIR[0], store, root)
    if spoilt == "images":
        runs.write_json(one.path / "recipe.json", one.record | {"data": "0" * 16})
    elif spoilt == "unfinished":
        runs.write_json(one.path / "status.json", {"state": "failed"})
    elif spoilt == "weights":
        (one.path / "best.safetensors").unlink()
    elif spoilt == "torn":
        (one.path / "best.safetensors").write_bytes((one.path / "best.safetensors").read_bytes()[:1000])
    elif spoilt == "record":
        (one.path / "recipe.json").write_text("{")
    else:
        mine = runs.Run(store / compose(dataset=PAIR[1], **GIVEN).id)
        trained(PAIR[1], store.parent / "elsewhere", root)
        (store.parent / "elsewhere" / mine.id).rename(mine.path)
        for name in ("status.json", "report.json"):
            (mine.path / name).unlink()
    other, told = trained(PAIR[1], store, root)
    assert other.state == "finished" and one.id not in str(other.status.get("reason"))
    assert spoilt == "begun" or told.count("epoch") == 2


def test_other_data_sets_have_no_twin(store, tmp_path):
    run, _ = trained("digits", store, tmp_path / "data")
    assert "reason" not in run.status
