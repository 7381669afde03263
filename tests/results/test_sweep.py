"""The sweep over temperature and magnitude against a plain nested loop, and that its choice is blind to unknowns."""

import hashlib
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cac_core import runs
from cac_core.data import datasets
from cac_core.recipe import compose
from cac_core.results import evaluate, sweep
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means, distances, moved_by, rejection
from cac_core.scoring.outputs import Verdict
from cac_core.training import loop
from tests import reference

pytestmark = pytest.mark.long

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


class Toy:
    """A network of one hidden layer on images of 2 x 2 pixels, called as evaluate.Network is, and in plain loops."""

    device = torch.device("cpu")

    def __init__(self, classes: int = 3):
        rng = np.random.default_rng(1)
        self.w, self.v = rng.normal(0, 2, (6, 4)), rng.normal(0, 3, (classes, 6))
        self.method = SimpleNamespace(affinity=lambda logits: logits, learns=True)

    def __call__(self, x):
        hidden = torch.tanh((x.flatten(1) - 0.5) @ torch.tensor(self.w.T, dtype=x.dtype))
        return hidden @ torch.tensor(self.v.T, dtype=x.dtype), hidden

    def plain(self, x):
        hidden = [math.tanh(sum(a * (b - 0.5) for a, b in zip(row, x, strict=True))) for row in self.w]
        return [sum(a * b for a, b in zip(row, hidden, strict=True)) for row in self.v]


@pytest.mark.parametrize("pulled", [True, False], ids=["centres", "logits"])
def test_the_class_that_plays_the_unknown_is_away_from_gradient_and_score(pulled):
    """Against loops that know nothing of tensors: what the choice rests on, at every cell and by every score."""
    network, rng = Toy(), np.random.default_rng(0)
    pixels = rng.integers(0, 256, (45, 2, 2, 1), np.uint8)
    images = (pixels.reshape(45, 4) / 255).tolist()
    labels = np.array([np.argmax(network.plain(x)) for x in images])
    labels[:9] = rng.integers(0, 3, 9)  # some wrong
    centres = np.array([np.mean([network.plain(x) for x, y in zip(images, labels, strict=True) if y == c], 0)
                        for c in range(3)])  # fmt: skip
    pulls = torch.tensor(centres, dtype=torch.float32) if pulled else None
    temperatures, magnitudes = (1.0, 50.0), (0.0, 0.1)
    found = [
        sweep.without_one(
            sweep.cells(network, pixels, pulls, temperatures, magnitudes, c), labels, c, centres, temperatures
        )
        for c in range(3)
    ]
    for s, score in enumerate(sweep.SCORES):
        for t, temperature in enumerate(temperatures):
            for e, eps in enumerate(magnitudes):
                slow = reference.odin_blind(
                    images, labels.tolist(), network.plain, centres.tolist() if pulled else None, centres.tolist(),
                    score, temperature, eps,
                )  # fmt: skip
                assert np.mean([area[s, t, e] for area in found]) == pytest.approx(slow, abs=1e-9)


def test_a_push_towards_the_left_out_class_would_have_looked_like_a_gain():
    """What was wrong before: with its own class still in the gradient, a pseudo-unknown gives in to it as knowns do."""
    network, rng = Toy(), np.random.default_rng(0)
    pixels = rng.integers(0, 256, (300, 2, 2, 1), np.uint8)
    labels = np.array([np.argmax(network.plain(x)) for x in (pixels.reshape(300, 4) / 255).tolist()])

    def area(c, without):
        logits = sweep.cells(network, pixels, None, (1000.0,), (0.0, 0.05), without)
        return sweep.without_one(logits, labels, c, np.eye(3), (1000.0,))[list(sweep.SCORES).index("msp"), 0]

    plain, right = np.mean([area(c, c) for c in range(3)], 0)
    also_plain, wrong = np.mean([area(c, None) for c in range(3)], 0)
    assert also_plain == plain
    assert wrong - plain > right - plain + 0.02


def test_what_the_choice_rests_on_is_what_the_network_says_without_each_class(run, kept, data):
    """The stored AUROCs of a run, from its network and its validation images, class by class."""
    network = evaluate.load(run, "cpu")
    part = datasets.parts_of(datasets.load("digits", data), run.trial, 0)["validation"]
    train = run.outputs("train")
    means, pulls = class_means(train), moved_by(train)
    pulls = None if pulls is None else torch.as_tensor(pulls, dtype=torch.float32)
    assert np.array_equal(kept["sample"], np.arange(len(part)))  # so few that all are looked at
    for c in (0, 5):
        logits = sweep.cells(network, part.pixels, pulls, AXES["temperatures"], AXES["magnitudes"], c)
        areas = sweep.without_one(logits, part.labels, c, means, AXES["temperatures"])
        np.testing.assert_allclose(kept["blind"][c], areas, atol=5e-3)  # where a gradient is but rounding, see above
    report = sweep.report(run)
    assert report["choice"] == {"images": len(part), "of": len(part)}
    for s, score in enumerate(sweep.SCORES):
        pseudo = [cell["scores"][score]["pseudo_auroc"] for cell in report["cells"]]
        np.testing.assert_allclose(np.reshape(pseudo, (2, 3)), kept["blind"][:, s].mean(0), rtol=1e-12)


def test_the_sample_for_the_choice_is_even_over_the_classes_and_drawn_by_the_seed():
    labels = np.repeat([0, 1, 2], [50, 7, 100])
    some = sweep.even_sample(labels, 40, seed=3)
    assert len(set(some)) == 40 and (np.diff(some) > 0).all()
    counts = np.bincount(labels[some])
    assert counts[1] == 7 and abs(counts[0] - counts[2]) <= 1  # a small class gives all that it has
    assert np.array_equal(some, sweep.even_sample(labels, 40, seed=3))
    assert not np.array_equal(some, sweep.even_sample(labels, 40, seed=4))
    assert np.array_equal(sweep.even_sample(labels, 500, seed=3), np.arange(157))


def test_fewer_images_for_the_choice_are_taken_and_said(run, data, tmp_path):
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    report = sweep.sweep(copy, data, **AXES, most=30, device="cpu")
    assert report["choice"] == {"images": 30, "of": len(run.outputs("validation"))}
    with np.load(copy.path / "sweep.npz") as stored:
        assert np.bincount(run.outputs("validation").labels[stored["sample"]]).tolist() == [5] * 6


def test_the_temperature_is_in_the_score_of_softmax_and_in_no_other(run, kept):
    """Liang et al.: softmax at T after the perturbation. At magnitude 0 the gradient's T does nothing at all."""
    plain, labels = run.outputs("test"), run.outputs("test").labels
    report = sweep.report(run)
    for t, temperature in enumerate(AXES["temperatures"]):
        cell = report["cells"][3 * t]["scores"]
        for score, at in (("msp", temperature), ("msp_at_1", 1.0)):
            slow = [reference.odin_score(z, None, "msp", at) for z in plain.logits.astype(float).tolist()]
            assert cell[score]["auroc"] == pytest.approx(reference.auroc(slow, labels.tolist()), abs=1e-6)
        for score in ("gamma", "distance", "msp_at_1"):
            assert cell[score] == report["cells"][0]["scores"][score]
    assert report["cells"][3]["scores"]["msp"]["auroc"] != report["cells"][0]["scores"]["msp"]["auroc"]


def as_before(run, tmp_path):
    """A copy of the run with a sweep as an older version left it."""
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    with np.load(copy.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name not in ("format", "blind", "sample")}
    weights = (copy.path / "best.safetensors").read_bytes()
    axes = repr((AXES["temperatures"], AXES["magnitudes"])).encode()
    stamp = hashlib.sha256(axes + weights).hexdigest()[:16]
    runs.write_npz(copy.path / "sweep.npz", **arrays | {"stamp": np.array(stamp)})
    report = json.loads((copy.path / "sweep.json").read_text())
    runs.write_json(copy.path / "sweep.json", report | {"stamp": stamp})
    return copy


def test_a_sweep_of_the_older_definition_is_not_shown_as_blind(run, data, tmp_path):
    copy = as_before(run, tmp_path)
    assert sweep.outdated(copy) and not sweep.outdated(run)
    with pytest.raises(FileNotFoundError, match=r"made by an older definition(?s:.*)\n    python -m cac_core sweep"):
        sweep.report(copy)
    assert sweep.cube(copy, 10.0) is not None  # its perturbed logits are what they were
    again = sweep.sweep(copy, data, **AXES, device="cpu")
    assert not sweep.outdated(copy) and set(again["chosen"]) == set(sweep.SCORES)


def test_a_sweep_is_of_the_images_that_the_run_was_trained_on(run, data, tmp_path, monkeypatch):
    real = datasets.load("digits", data)
    monkeypatch.setattr(
        datasets, "load", lambda *_: {k: datasets.Images(np.roll(v.pixels, 1, 0), v.classes) for k, v in real.items()}
    )
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    (copy.path / "sweep.npz").unlink()
    with pytest.raises(ValueError, match="data set has changed since"):
        sweep.sweep(copy, data, **AXES, device="cpu")


def test_a_sweep_of_a_run_that_is_gone_ends_and_does_not_bring_its_folder_back(run, data, tmp_path):
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    with pytest.raises(FileNotFoundError, match="is not here any more"):
        sweep.sweep(
            copy, data, temperatures=(3.0,), magnitudes=(0.0,), device="cpu",
            progress=lambda *_: copy.path.rename(tmp_path / "trash"),
        )  # fmt: skip
    assert not copy.path.exists()


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
    (folder,) = (one for one in (copy.path / "sweep").iterdir() if one.is_dir())
    (folder / ".test-000000.npz.1-1.tmp").write_bytes(b"half")  # as a kill leaves it
    monkeypatch.setattr(sweep, "cells", lambda *arguments: done.append(2) or real(*arguments))
    told = []
    sweep.sweep(copy, data, **AXES, device="cpu", progress=lambda *p: told.append(p))
    # a batch of validation before; after it two of test, and one for each class left out
    assert done == [1] + [2] * 8
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
        for score, numbers in cell["scores"].items():
            low, high = numbers["gain_interval"]
            assert low <= numbers["gain"] <= high
            if cell["magnitude"] == 0 and (score != "msp" or cell["temperature"] == 1):
                assert (low, numbers["gain"], high) == (0, 0, 0)


def test_nothing_is_gained_without_a_perturbation_where_a_copy_holds_logits_in_half_precision(run, tmp_path):
    copy = runs.Run(tmp_path / run.id)
    shutil.copytree(run.path, copy.path)
    with np.load(copy.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["test_logits"] = arrays["test_logits"].astype(np.float16)
    runs.write_npz(copy.path / "sweep.npz", **arrays)
    (copy.path / "sweep.json").unlink()
    for cell, same in zip(sweep.report(copy)["cells"], sweep.report(run)["cells"], strict=True):
        if cell["magnitude"] == 0:
            assert cell == same


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
        ({"most": 1}, "most must be a whole number of at least 2"),
    ],
)
def test_axes_out_of_range_are_refused(run, data, axes, said):
    with pytest.raises(ValueError, match=said):
        sweep.sweep(run, data, **(AXES | axes), device="cpu")
