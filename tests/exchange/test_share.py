"""Small copies of runs: what they keep, and that they say the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from cac_core import runs
from cac_core.exchange import share
from cac_core.recipe import compose
from cac_core.results import judge, sweep
from cac_core.training import loop

AXES = {"temperatures": (1.0, 10.0, 100.0), "magnitudes": (0.0, 0.01)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("share")
    run = loop.train(compose(epochs=3, batch=64), place / "runs", place / "data", device="cpu")
    sweep.sweep(run, place / "data", **AXES, device="cpu")
    return run


@pytest.fixture(scope="module")
def copy(run, tmp_path_factory):
    return share.share(run, tmp_path_factory.mktemp("copies"))


def test_a_copy_says_the_same_numbers(run, copy):
    full, slim = run.report()["scorers"], copy.report()["scorers"]
    for name in full:
        for key in ("accuracy", "auroc", "oscr", "fpr_at_95_knowns_kept"):
            assert slim[name][key] == pytest.approx(full[name][key], abs=1e-4)
    fresh = judge.plain(judge.report(copy, "gamma"))
    assert fresh == slim["gamma"]  # theta too goes with the logits that the copy holds


def test_a_copy_is_smaller_and_holds_no_features_and_no_state(run, copy):
    def size(r):
        return sum(f.stat().st_size for f in r.path.rglob("*") if f.is_file())

    assert size(copy) < size(run) / 2
    assert not (copy.path / "last.pt").exists() and not (copy.path / "log.txt").exists()
    assert copy.outputs("train").features.shape[1] == 0
    assert (copy.path / "best.safetensors").read_bytes() == (run.path / "best.safetensors").read_bytes()


def test_a_score_by_features_says_what_a_copy_lacks(copy):
    for name in ("knn", "mahalanobis"):
        with pytest.raises(ValueError, match=r"without features(?s:.*)eval RUN --again"):
            judge.report(copy, name)


def test_the_sweep_of_a_copy_holds_what_its_choices_name(run, copy):
    report = sweep.report(copy)
    assert report == sweep.report(run)
    for choice in ("chosen", "oracle"):
        temperature = report[choice]["gamma"]["temperature"]
        magnitudes, logits = sweep.cube(copy, temperature)
        np.testing.assert_allclose(logits["test"], sweep.cube(run, temperature)[1]["test"], rtol=1e-3, atol=1e-3)
        assert magnitudes.tolist() == [0.0, 0.01]
    with np.load(copy.path / "sweep.npz") as stored:
        held = stored["held"].tolist()
    (copy.path / "sweep.json").unlink()
    assert sweep.report(copy)["temperatures"] == held  # without the report, what is held is reported


def test_half_precision_is_not_taken_where_it_would_change_a_number(run, tmp_path, monkeypatch):
    monkeypatch.setattr(share, "_same", lambda full, slim: False)
    copy = share.share(run, tmp_path)
    assert np.array_equal(copy.outputs("test").logits, run.outputs("test").logits)


def test_a_copy_takes_no_other_runs_place(run, copy):
    with pytest.raises(FileExistsError, match="is there already"):
        share.share(run, copy.path.parent)


BUNDLED = sorted(p for p in (Path(__file__).parents[2] / "checkpoints").glob("*-s0*") if p.is_dir())


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_a_bundled_run_is_small_whole_and_without_images(path):
    run, files = runs.Run(path), [f for f in path.rglob("*") if f.is_file()]
    assert not run.problem() and run.state == "finished" and run.written
    assert sum(f.stat().st_size for f in files) <= 8_000_000
    assert {f.suffix for f in files} <= {".json", ".jsonl", ".npz", ".safetensors"}
    for file in path.rglob("*.npz"):
        with np.load(file) as stored:
            assert all(stored[name].dtype != np.uint8 for name in stored.files)
    default = run.report()["scorers"][run.report()["default"]]
    assert judge.plain(judge.report(run))["auroc"] == pytest.approx(default["auroc"], abs=1e-9)


def test_a_run_without_outputs_is_not_shared(store, tmp_path):
    run = runs.Run(store / "bare")
    runs.write_json(run.path / "recipe.json", json.loads('{"recipe": {}, "classes": {}, "prepare": {}}'))
    with pytest.raises(FileNotFoundError, match="no outputs on 'test' yet"):
        share.share(run, tmp_path / "copies")
    assert not (tmp_path / "copies").exists()
