"""The sweep over temperature and magnitude against a plain nested loop, and that its choice is blind to unknowns."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cac_core import runs
from cac_core.data import datasets
from cac_core.recipe import compose
from cac_core.results import evaluate, sweep
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means, distances, rejection
from cac_core.scoring.outputs import Verdict
from cac_core.training import loop

AXES = {"temperatures": (1.0, 10.0), "magnitudes": (0.0, 0.01, 0.05)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module", params=["cac", "cross_entropy"])
def run(request, tmp_path_factory, data):
    store = tmp_path_factory.mktemp(request.param)
    run = loop.train(compose(method=request.param, epochs=2, batch=128), store, data, device="cpu")
    sweep.sweep(run, data, **AXES, device="cpu")
    return run


@pytest.fixture
def kept(run):
    with np.load(run.path / "sweep.npz") as stored:
        return {name: stored[name] for name in stored.files}


def test_every_cell_is_that_of_the_plain_nested_loop(run, kept, data):
    """Forward, backward, forward, for each cell by itself."""
    network = evaluate.load(run, "cpu")
    pixels = datasets.parts_of(datasets.load("digits", data), run.trial, 0)["test"].pixels[:40]
    x = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255
    means = torch.as_tensor(class_means(run.outputs("train")), dtype=torch.float32)
    for t, temperature in enumerate(AXES["temperatures"]):
        for e, magnitude in enumerate(AXES["magnitudes"]):
            start = x.clone().requires_grad_()
            z = network(start)[0]
            affinity = -(z[:, None] - means[None]).norm(dim=2) if run.recipe.method == "cac" else z
            F.cross_entropy(affinity / temperature, affinity.argmax(1), reduction="sum").backward()
            moved = network((start - magnitude * start.grad.sign()).detach())[0].numpy()
            got = kept["test_logits"][t, e, :40]
            # where a gradient is nothing but rounding, its sign means nothing
            assert np.abs(got - moved).max(1).mean() < 0.02 and np.median(np.abs(got - moved)) < 1e-3


def test_magnitude_zero_is_the_plain_score_bit_for_bit(run, kept):
    plain = run.outputs("test")
    for t in range(2):
        assert np.array_equal(kept["test_logits"][t, 0], plain.logits)
    cell = sweep.report(run)["cells"][0]["scores"]["gamma"]
    g = rejection(distances(plain.logits, class_means(run.outputs("train"))))
    assert cell["auroc"] == metrics.report(Verdict(g.min(1), g.argmin(1)), plain.labels)["auroc"]


def test_the_report_names_every_cell_and_both_choices(run):
    report = json.loads(json.dumps(sweep.report(run)))
    assert len(report["cells"]) == 6 and set(report["chosen"]) == set(report["oracle"]) == set(sweep.SCORES)
    for score in sweep.SCORES:
        best = max(cell["scores"][score]["auroc"] for cell in report["cells"])
        assert report["oracle"][score]["auroc"] == best >= report["chosen"][score]["auroc"]


def test_the_choice_never_looks_at_test_unknowns(run, tmp_path):
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    with np.load(copy.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["test_logits"] = (
        np.random.default_rng(0).permutation(arrays["test_logits"].ravel()).reshape(arrays["test_logits"].shape)
    )
    runs.write_npz(copy.path / "sweep.npz", **arrays)
    (copy.path / "sweep.json").unlink()
    chosen = [sweep.report(r)["chosen"] for r in (run, copy)]
    for score in sweep.SCORES:
        for name in ("temperature", "magnitude", "pseudo_auroc"):
            assert chosen[0][score][name] == chosen[1][score][name]


def test_pseudo_unknowns_are_judged_without_their_own_class():
    centres = 10 * np.eye(3)
    labels = np.arange(60) % 3
    logits = centres[labels] + np.random.default_rng(0).normal(0, 0.5, (60, 3))
    assert sweep.leave_one_out(logits, labels, centres, "gamma") == 1.0  # far from every other class
    slow = []
    for c in range(3):
        rest = [k for k in range(3) if k != c]
        score = [min(rejection(distances(z[None], centres[rest]))[0]) for z in logits]
        pairs = [(score[u] > score[k]) + 0.5 * (score[u] == score[k]) for u in range(60) for k in range(60)
                 if labels[u] == c and labels[k] != c]  # fmt: skip
        slow.append(sum(pairs) / len(pairs))
    assert sweep.leave_one_out(logits, labels, centres, "gamma") == pytest.approx(np.mean(slow))


def test_a_sweep_that_was_stopped_goes_on(run, data, tmp_path, monkeypatch):
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    (copy.path / "sweep.npz").unlink()
    (copy.path / "sweep.json").unlink()
    real, done = sweep.cells, []

    def until_the_power_fails(*arguments):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(sweep, "cells", until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        sweep.sweep(copy, data, **AXES, device="cpu")
    monkeypatch.setattr(sweep, "cells", lambda *arguments: done.append(2) or real(*arguments))
    told = []
    sweep.sweep(copy, data, **AXES, device="cpu", progress=lambda *p: told.append(p))
    assert done == [1, 2, 2]  # a batch of validation before, two of test after
    assert told[-1][1] == told[-1][2] and not (copy.path / "sweep").exists()
    with np.load(run.path / "sweep.npz") as one, np.load(copy.path / "sweep.npz") as other:
        assert np.array_equal(one["test_logits"], other["test_logits"])


@pytest.fixture(scope="module")
def cac_run(tmp_path_factory, data):
    run = loop.train(compose(epochs=2, batch=128), tmp_path_factory.mktemp("one"), data, device="cpu")
    sweep.sweep(run, data, **AXES, as_published=True, device="cpu")
    return run


def test_as_published_is_the_listing_image_by_image(cac_run, data):
    """The listing in plain steps, on the normalised image: true labels, and three images of a batch scaled."""
    network = evaluate.load(cac_run, "cpu")
    part = datasets.parts_of(datasets.load("digits", data), cac_run.trial, 0)["test"]
    mean, std = network.scale
    with np.load(cac_run.path / "sweep-as-published.npz") as stored:
        kept = stored["test_logits"]
    anchors = network.method.anchors
    x = (torch.from_numpy(part.pixels[:128].copy()).permute(0, 3, 1, 2).float() / 255 - mean) / std
    for t, temperature in enumerate(AXES["temperatures"]):
        start = x.clone().requires_grad_()
        d = (network.method(start)[0][:, None] - anchors[None]).norm(dim=2) / temperature
        target = torch.tensor(
            [y if y >= 0 else c % 6 for y, c in zip(part.labels[:128], part.classes[:128], strict=True)]
        )
        own = d[torch.arange(128), target]
        ((1 + (torch.exp(own[:, None] - d).sum(1) - 1)).log().sum() + network.method.lam * own.sum()).backward()
        g = start.grad.sign()
        g[0], g[1], g[2] = g[0] / (63 / 255), g[1] / (62.1 / 255), g[2] / (66.7 / 255)
        for e, magnitude in enumerate(AXES["magnitudes"]):
            moved = network.method((x - magnitude * g).detach())[0].detach().numpy()
            gap = np.abs(kept[t, e, :128] - moved)
            assert np.median(gap) < 1e-3 and gap.max(1).mean() < 0.02


def test_as_published_is_named_a_leak_and_offers_no_choice(cac_run, data):
    report = sweep.report(cac_run, as_published=True)
    assert "LEAK" in report["leak"] and "chosen" not in report
    assert all(list(cell["scores"]) == ["distance"] for cell in report["cells"])
    with pytest.raises(FileNotFoundError, match=r"no sweep yet(?s:.*)cac_core sweep"):
        sweep.report(cac_run)


def test_as_published_needs_anchors(run, data):
    if run.recipe.method == "cac":
        assert sweep.sweep(run, data, temperatures=(1.0,), magnitudes=(0.0,), as_published=True, device="cpu")["leak"]
    else:
        with pytest.raises(ValueError, match="has no anchors"):
            sweep.sweep(run, data, **AXES, as_published=True, device="cpu")


def test_the_gain_is_over_the_plain_images_and_zero_without_a_perturbation(run):
    for cell in sweep.report(run)["cells"]:
        for numbers in cell["scores"].values():
            low, high = numbers["gain_interval"]
            assert low <= numbers["gain"] <= high
            if cell["magnitude"] == 0:
                assert (low, numbers["gain"], high) == (0, 0, 0)


def test_the_cube_of_a_temperature_holds_its_logits(run, kept):
    magnitudes, logits = sweep.cube(run, 10.0)
    assert magnitudes.tolist() == list(AXES["magnitudes"])
    assert np.array_equal(logits["test"], kept["test_logits"][1])
    assert sweep.cube(run, 3.0) is None


def test_a_report_is_read_again_only_while_its_sweep_is_the_same(run, tmp_path, monkeypatch):
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    first = sweep.report(copy)
    monkeypatch.setattr(sweep, "_report", lambda *_: {"computed": "again"})
    assert sweep.report(copy) == first
    with np.load(copy.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files} | {"stamp": np.array("another")}
    runs.write_npz(copy.path / "sweep.npz", **arrays)
    assert sweep.report(copy)["computed"] == "again"


def test_what_is_there_is_not_computed_again(run, data, monkeypatch):
    monkeypatch.setattr(sweep, "cells", None)
    assert sweep.sweep(run, data, **AXES, device="cpu")["run"] == run.id


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"temperatures": (0.0,)}, "temperature must be a positive number"),
        ({"temperatures": (-1.0,)}, "temperature must be a positive number"),
        ({"temperatures": (float("nan"),)}, "temperature must be a positive number"),
        ({"magnitudes": (-0.1,)}, "magnitude lies between 0 and 1"),
        ({"magnitudes": (2.0,)}, "magnitude lies between 0 and 1"),
        ({"temperatures": ()}, "at least one temperature"),
    ],
)
def test_axes_out_of_range_are_refused(run, data, axes, said):
    with pytest.raises(ValueError, match=said):
        sweep.sweep(run, data, **(AXES | axes), device="cpu")
