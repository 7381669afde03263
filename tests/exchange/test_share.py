"""Small copies of runs: what they keep, and that they say the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cac_core import runs
from cac_core.exchange import share, shelf
from cac_core.recipe import compose
from cac_core.results import judge, sweep
from cac_core.training import loop

pytestmark = pytest.mark.long

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
    assert fresh == judge.plain(slim["gamma"])  # theta too goes with the logits that the copy holds


def test_a_copy_is_smaller_and_holds_no_features_and_no_state(run, copy):
    def size(r):
        return sum(f.stat().st_size for f in r.path.rglob("*") if f.is_file())

    assert size(copy) < size(run) / 2
    assert not (copy.path / "last.pt").exists() and not (copy.path / "log.txt").exists()
    assert copy.outputs("train").features.shape[1] == 0
    assert (copy.path / "best.safetensors").read_bytes() == (run.path / "best.safetensors").read_bytes()


def test_a_copy_without_weights_says_the_same_numbers(run, copy, tmp_path):
    slim = share.share(run, tmp_path, weights=False)
    assert not (slim.path / "best.safetensors").exists() and not slim.problem()
    assert judge.plain(judge.report(slim, "gamma")) == judge.plain(judge.report(copy, "gamma"))


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


def test_a_copy_is_given_on_as_it_is(run, tmp_path):
    """Also one whose sweep holds fewer temperatures than it has, and also in a zip."""
    copy = share.share(run, tmp_path / "copy")
    again = share.share(copy, tmp_path / "again")
    with open(tmp_path / "runs.zip", "w+b") as file:
        shelf.pack([copy], file)
        (unpacked,) = shelf.unpack(file, tmp_path / "unpacked")
    assert sweep.held(copy)[0] != sweep.whole(copy)["temperatures"].tolist()
    for one in (again, unpacked):
        assert one.report() == copy.report() and sweep.report(one) == sweep.report(run)
        for temperature in sweep.held(copy)[0]:
            for split, logits in sweep.cube(copy, temperature)[1].items():
                assert np.array_equal(sweep.cube(one, temperature)[1][split], logits)


def test_the_sweep_of_a_copy_chooses_as_the_whole_one_did(run, copy):
    """Also from what it holds alone: the AUROCs of the choice are in it, though not the logits that they are of."""
    whole, held = sweep.report(run), sweep._report(copy, False)
    for score in sweep.SCORES:
        for choice in ("chosen", "oracle"):
            if whole[choice][score]["temperature"] in held["temperatures"]:
                assert held[choice][score]["pseudo_auroc"] == whole[choice][score]["pseudo_auroc"]
    assert held["choice"] == whole["choice"]


def test_half_precision_of_a_sweep_is_not_taken_where_it_would_change_a_number(run, tmp_path, monkeypatch):
    """Logits of a thousand lose in half precision what tells images apart."""
    far = runs.Run(tmp_path / "runs" / run.id)
    shutil.copytree(run.path, far.path)
    with np.load(far.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["test_logits"] = arrays["test_logits"] + np.float32(1000)  # by as much in each class: 1 - softmax stays
    runs.write_npz(far.path / "sweep.npz", **arrays)
    (far.path / "sweep.json").unlink()
    whole = sweep.report(far)
    copy = share.share(far, tmp_path / "copies")
    with np.load(copy.path / "sweep.npz") as stored:
        assert stored["test_logits"].dtype == np.float32
        kept = np.isin(stored["temperatures"], stored["held"])
        assert np.array_equal(stored["test_logits"], arrays["test_logits"][kept])
    (copy.path / "sweep.json").unlink()
    for cell in sweep.report(copy)["cells"]:
        (same,) = (c for c in whole["cells"] if c["temperature"] == cell["temperature"]
                   and c["magnitude"] == cell["magnitude"])  # fmt: skip
        assert cell["scores"]["msp"]["auroc"] == pytest.approx(same["scores"]["msp"]["auroc"], abs=share.TOLERANCE)


def test_a_sweep_of_an_older_definition_is_left_out(run, tmp_path):
    old = runs.Run(tmp_path / "runs" / run.id)
    shutil.copytree(run.path, old.path)
    with np.load(old.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name != "format"}
    runs.write_npz(old.path / "sweep.npz", **arrays)
    copy = share.share(old, tmp_path / "copies")
    assert not (copy.path / "sweep.npz").exists() and not (copy.path / "sweep.json").exists()


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
    assert (
        sum(f.stat().st_size for f in files) <= 9_000_000
    )  # a sweep whose numbers half precision would change is kept whole
    assert {f.suffix for f in files} <= {".json", ".jsonl", ".npz", ".safetensors"}
    for file in path.rglob("*.npz"):
        with np.load(file) as stored:
            assert all(stored[name].dtype != np.uint8 for name in stored.files)
    default = run.report()["scorers"][run.report()["default"]]
    assert judge.plain(judge.report(run))["auroc"] == pytest.approx(default["auroc"], abs=1e-9)


def test_a_copy_is_there_whole_or_not_at_all(make_run, tmp_path, monkeypatch):
    """Whoever is killed on the way leaves nothing in its place, and nothing that is in the way."""
    run, there, write = make_run(), [], share._write

    def killed(*which):
        write(*which)
        there.append((tmp_path / "copies" / run.id).exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(share, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        share.share(run, tmp_path / "copies")
    assert there == [False] and runs.every(tmp_path / "copies") == []
    monkeypatch.undo()
    copy = share.share(run, tmp_path / "copies")
    assert copy.report()["scorers"] and not copy.problem()
    assert list((tmp_path / "copies" / runs.MAKING).iterdir()) == []


def test_a_run_without_outputs_is_not_shared(make_run, store, tmp_path):
    run = runs.Run(store / "bare")
    runs.write_json(run.path / "recipe.json", json.loads('{"recipe": {}, "classes": {}, "prepare": {}}'))
    with pytest.raises(runs.Broken, match=r"recipe.json cannot be read"):
        share.share(run, tmp_path / "copies")
    run = make_run()
    (run.path / "outputs" / "test.npz").unlink()
    with pytest.raises(FileNotFoundError, match="no outputs on 'test' yet"):
        share.share(run, tmp_path / "copies")
    assert not (tmp_path / "copies").exists()


def test_damaged_weights_are_not_given_away(make_run, tmp_path):
    run = make_run()
    (run.path / "best.safetensors").write_bytes(b"cut")
    with pytest.raises(runs.Broken, match=r"best.safetensors is damaged"):
        share.share(run, tmp_path / "copies")
    assert not (tmp_path / "copies").exists() and share.share(run, tmp_path / "copies", weights=False)


def test_a_copy_without_features_has_no_head_on_them_either(make_run, tmp_path):
    run = make_run()
    assert run.outputs("train").head is not None
    assert share.share(run, tmp_path / "copies").outputs("train").head is None


def test_a_sweep_goes_along_where_the_methods_own_score_is_none_of_the_sweeps(tmp_path):
    recipe = compose(epochs=2, batch=128, method="vos", options={"queue": 4, "draws": 10})
    run = loop.train(recipe, tmp_path / "runs", tmp_path / "data", device="cpu")
    sweep.sweep(run, tmp_path / "data", **AXES, device="cpu")
    copy = share.share(run, tmp_path / "copies")
    full, slim = sweep.report(run), sweep.report(copy)
    assert slim["chosen"].keys() == full["chosen"].keys() and "energy" not in full["chosen"]
    held = sweep.whole(copy)["held"].tolist()
    assert sweep.first_of(full, "vos") == "msp"
    assert all(full[choice]["msp"]["temperature"] in held for choice in ("chosen", "oracle"))
