"""Published weights as runs: files of cac-openset's format (made here), and the real ones where they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cac_core import runs
from cac_core.__main__ import main
from cac_core.data import datasets, sources
from cac_core.exchange.import_weights import PUBLISHED, STATES, found, import_all, import_weights
from cac_core.recipe import PAPER, compose
from cac_core.results import evaluate, judge
from cac_core.scoring import metrics
from cac_core.scoring.outputs import joined
from cac_core.scoring.scorers import judge_of

ROOT = Path(__file__).parents[2]
NAME = "CIFAR10_0_CACclassifierAnchorLoss.pth"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """CIFAR-10 as an image folder, with few images."""
    place, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for part, count in (("train", 5), ("test", 2)):
        for cls in sources.CIFAR10:
            (place / "cifar10" / part / cls).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
                    place / "cifar10" / part / cls / f"{i}.png"
                )
    return place


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return evaluate.build(compose(backbone="plain"), 6, 3, 32)


def published(network, **changes):
    """A state as cac-openset saves it, second names and covariances included."""
    state = {}
    for key, value in network.state_dict().items():
        if key.startswith("backbone."):
            state[key.replace("backbone.", "encoder.")] = value
            state["encoder.encoder1.0.weight"] = value
        elif key != "anchors":
            state[key] = value
    old = {"means": 10 * torch.eye(6, dtype=torch.float64), "covars": torch.zeros(6, 6), "invcovars": torch.zeros(6, 6)}
    state |= {**old, **changes}
    return {"net": {k: v for k, v in state.items() if v is not None}, "acc": 93.3, "epoch": 5}


@pytest.fixture
def file(tmp_path, network):
    path = tmp_path / NAME
    torch.save(published(network), path)
    return path


def test_a_file_becomes_a_run_that_is_evaluated_like_any_other(file, network, root, tmp_path):
    run = import_weights(file, tmp_path / "runs", root)
    assert run.problem() == "" and run.state == "finished" and run.recipe.family == "cac-2020"
    assert run.known_names == ["bird", "cat", "deer", "frog", "ship", "truck"]
    assert run.stats == ((0.4858, 0.4771, 0.4326), (0.2422, 0.2374, 0.2547))
    weights = load_file(run.path / "best.safetensors")
    assert all(torch.equal(weights[k], v) for k, v in network.state_dict().items())
    evaluate.evaluate(run, root, device="cpu")
    train = run.outputs("train")
    assert len(train) == 2 * 30 and train.mirrored.sum() == 30  # all known training images, and their mirror images
    assert judge.report(run, "gamma")["knowns"] == 6  # half of the known test images are set aside


# --- what theta rests on ---------------------------------------------------------------------------------------------


@pytest.fixture
def listed(root, tmp_path):
    """The data root, and a published list in it that fits its images: every third one is held out."""
    place = tmp_path / "listed"
    place.mkdir()
    (place / "cifar10").symlink_to(root / "cifar10")
    (place / datasets.LISTS).mkdir()
    lists = {"Train": {}, "Val": {}}
    for c in range(10):
        for n in range(5 * c, 5 * c + 5):
            lists["Val" if n % 3 == 0 else "Train"].setdefault(str(c), []).append(n)
    (place / datasets.LISTS / "CIFAR10.json").write_text(json.dumps(lists))
    return place


def test_half_of_the_test_images_are_set_aside_where_no_list_says_what_was_held_out(file, root, tmp_path):
    run = import_weights(file, tmp_path / "runs", root)
    evaluate.evaluate(run, root, device="cpu")
    assert run.record["validated_on"] == run.validated_on == datasets.SET_ASIDE
    assert len(run.outputs("validation")) == 6 and not set(run.outputs("validation").index) & set(
        run.outputs("test").index
    )
    report = judge.report(run)
    assert report["validated_on"] == datasets.SET_ASIDE
    assert report["theta_rule"] == (
        "the largest score of 6 known test images set aside for θ: too few to keep 95 % of new "
        "knowns, which takes 13 more"
    )


def test_a_published_list_says_what_was_held_out(file, listed, tmp_path):
    run = import_weights(file, tmp_path / "runs", listed)
    evaluate.evaluate(run, listed, device="cpu")
    assert run.validated_on == datasets.PUBLISHED
    train, validation = run.outputs("train"), run.outputs("validation")
    assert set(validation.index % 3) == {0} and set(train.index % 3) == {1, 2}
    assert len(train) / 2 + len(validation) == 30 and judge.report(run)["knowns"] == 12
    assert "by 10 images that its authors held out" in judge.rule_of(run, 0.9, 10)
    (listed / datasets.LISTS / "CIFAR10.json").unlink()
    with pytest.raises(ValueError, match="no list of them that fits"):
        evaluate.parts_of(run, listed, evaluate.images_of(run, listed))


def test_a_run_imported_before_says_that_its_images_were_trained_on_until_it_is_evaluated_again(
    file, root, tmp_path, monkeypatch
):
    run = import_weights(file, tmp_path / "runs", root)
    monkeypatch.setattr(evaluate, "_divide", lambda *_: None)
    evaluate.evaluate(run, root, device="cpu")
    monkeypatch.undo()
    assert run.validated_on == datasets.SEEN and len(run.outputs("validation")) == 6
    assert set(run.outputs("validation").index) <= set(run.outputs("train").index)
    (run.path / "sweep.npz").write_bytes(b"of other images")
    evaluate.evaluate(run, root, device="cpu")
    assert run.validated_on == datasets.SEEN  # what is there stays
    said = judge.report(run)["theta_rule"]
    assert said == (
        "keeps 95 % of 6 images that the network was trained on, and fewer of new knowns; what mends it: "
        f"python -m cac_core eval {run.id} --again"
    )
    evaluate.evaluate(run, root, device="cpu", again=True)
    assert run.validated_on == datasets.SET_ASIDE and "trained on" not in judge.report(run)["theta_rule"]
    assert not (run.path / "sweep.npz").exists()


def test_an_evaluation_that_was_broken_off_goes_on_with_the_same_images(file, root, listed, tmp_path, monkeypatch):
    run = import_weights(file, tmp_path / "runs", root)
    write, written = runs.write_outputs, []

    def breaks(*given, **about):
        if written:
            raise KeyboardInterrupt
        written.append(write(*given, **about))

    monkeypatch.setattr(runs, "write_outputs", breaks)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate(run, root, device="cpu")
    monkeypatch.undo()
    evaluate.evaluate(run, listed, device="cpu")  # meanwhile a list has come
    assert run.validated_on == datasets.SET_ASIDE and len(run.outputs("train")) == 2 * 30
    evaluate.evaluate(run, listed, device="cpu", again=True)
    assert run.validated_on == datasets.PUBLISHED and len(run.outputs("train")) == 2 * 20


@pytest.mark.parametrize("key", ["means", "anchors"])
def test_old_and_new_keys_of_the_anchors(tmp_path, network, root, key):
    path = tmp_path / NAME
    torch.save(published(network, **{"means": None, key: 7 * torch.eye(6, dtype=torch.float64)}), path)
    weights = load_file(import_weights(path, tmp_path / "runs", root).path / "best.safetensors")
    assert torch.equal(weights["anchors"], 7 * torch.eye(6))


def test_a_closed_set_network_has_no_anchors(tmp_path, network, root):
    path = tmp_path / "CIFAR10_0_closedSetClassifier.pth"
    torch.save(published(network, means=None, covars=None, invcovars=None), path)
    run = import_weights(path, tmp_path / "runs", root)
    assert run.recipe.method == "cross_entropy" and "anchors" not in load_file(run.path / "best.safetensors")


def test_data_set_and_trial_are_said_where_the_name_does_not(file, tmp_path, root):
    path = file.rename(tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="give --dataset and --trial"):
        import_weights(path, tmp_path / "runs", root)
    assert import_weights(path, tmp_path / "runs", root, dataset="CIFAR10", trial="0").recipe.trial == "0"


def test_another_familys_split_is_refused_with_the_classes_it_has_seen(file, tmp_path, root):
    with pytest.raises(ValueError, match=r"cat, frog, ship would count as unknown, although the network has seen them"):
        import_weights(file, tmp_path / "runs", root, family="osrci")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("CIFAR10_3_x.pth", {"trial": "0"}, "CIFAR10, trial 3, which knows automobile, .*, not of CIFAR10, trial 0"),
        ("CIFAR10_7_x.pth", {"trial": "0"}, "has trials 0 to 4"),
        ("MNIST_0_x.pth", {"dataset": "CIFAR10"}, "named as the network of MNIST, trial 0, not of CIFAR10"),
    ],
)
def test_a_name_that_says_another_network_is_refused(file, tmp_path, root, name, asked, says):
    with pytest.raises(ValueError, match=says):
        import_weights(file.rename(tmp_path / name), tmp_path / "runs", root, **asked)
    assert not (tmp_path / "runs").exists()


def test_a_name_of_no_data_set_says_nothing(file, tmp_path, root):
    path = file.rename(tmp_path / "best_3_x.pth")
    assert import_weights(path, tmp_path / "runs", root, dataset="CIFAR10", trial="0").recipe.trial == "0"


def test_trials_of_the_same_knowns_may_be_named(tmp_path, root):
    """The networks of CIFAR+10 and CIFAR+50 know the same classes in all trials; their files are the same bytes."""
    torch.manual_seed(0)
    small = published(evaluate.build(compose(backbone="plain"), 4, 3, 32), means=10 * torch.eye(4))
    path, place = tmp_path / "CIFAR+10_2_CACclassifierAnchorLoss.pth", tmp_path / "data"
    torch.save(small, path)
    place.mkdir()
    (place / "cifar10").symlink_to(root / "cifar10")
    for name in sources.CIFAR100:
        (place / "cifar100" / "test" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(place / "cifar100" / "test" / name / "0.png")
    run = import_weights(path, tmp_path / "runs", place, dataset="CIFAR+50", trial="1")
    assert (run.recipe.dataset, run.recipe.trial) == ("CIFAR+50", "1")


def test_a_run_that_is_there_already_keeps_its_outputs(file, network, root, tmp_path):
    run = import_weights(file, tmp_path / "runs", root)
    evaluate.evaluate(run, root, device="cpu")
    before = run.written
    assert [(d.state, d.run) for d in import_all([file], tmp_path / "runs", root)] == [("already there", run)]
    assert run.written == before and run.validated_on == datasets.SET_ASIDE
    torch.save(published(network, **{"classify.bias": torch.ones(6)}), file)  # other weights of that name
    assert [d.state for d in import_all([file], tmp_path / "runs", root)] == ["imported"]
    evaluate.evaluate(run, root, device="cpu")
    assert run.written != before and run.validated_on == datasets.SET_ASIDE
    (run.path / "best.safetensors").write_bytes(b"torn")
    assert [d.state for d in import_all([file], tmp_path / "runs", root)] == ["imported"]


def test_one_file_that_cannot_be_imported_keeps_none_of_the_others_out(file, network, root, tmp_path):
    elsewhere = tmp_path / "MNIST_0_CACclassifierAnchorLoss.pth"
    torch.save(published(network), elsewhere)
    closed = tmp_path / "CIFAR10_0_closedSetClassifier.pth"
    closed.write_bytes(b"torn")
    done = import_all([closed, elsewhere, file], tmp_path / "runs", root)
    assert [d.state for d in done] == ["failed", "failed", "imported"]
    assert "cannot be read as weights" in done[0].why and done[2].run.state == "finished"


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (lambda n: published(n, **{"classify.weight": torch.zeros(4, 2048)}), "is not the network of CAC's CIFAR10"),
        (lambda n: published(n, **{"classify.bias": None}), "is not the network of CAC's CIFAR10"),
        (lambda n: published(n, **{"fc.weight": torch.zeros(2)}), "holds 'fc.weight'.*another architecture"),
        (lambda n: n.state_dict(), "is no weight file of cac-openset"),
        (lambda n: {"net": 5}, "is no weight file of cac-openset"),
        (lambda n: [1, 2], "is no weight file of cac-openset"),
    ],
)
def test_what_is_another_network_is_refused(tmp_path, network, root, state, says):
    torch.save(state(network), tmp_path / NAME)
    with pytest.raises(ValueError, match=says):
        import_weights(tmp_path / NAME, tmp_path / "runs", root)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"no weights"])
def test_damaged_files_are_refused(file, tmp_path, root, damage):
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match="cannot be read as weights"):
        import_weights(file, tmp_path / "runs", root)


def test_a_file_that_would_run_code_is_refused_not_run(tmp_path, root):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"net": {"a": Trap()}}, tmp_path / NAME)
    with pytest.raises(ValueError, match="which is not run"):
        import_weights(tmp_path / NAME, tmp_path / "runs", root)
    assert not (tmp_path / "sprung").exists()


def test_a_folder_of_the_repositorys_layout_gives_all_its_files(tmp_path):
    for name in ("MNIST/MNIST_3_CACclassifierAnchorLoss.pth", "CIFAR+10/CIFAR+10_0_closedSetClassifier.pth", "x/a.pth"):
        (tmp_path / "networks/weights" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "networks/weights" / name).touch()
    assert [f.parent.name for f in found(tmp_path)] == ["CIFAR+10", "MNIST"]
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        found(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no weight file named like"):
        found(tmp_path / "networks/weights/x")


def test_there_are_scales_for_every_data_set_of_the_paper():
    assert set(PUBLISHED) == set(PAPER)
    assert {len(scales) for scales in PUBLISHED.values()} == {1, 5}


# the real files: cac-openset's, in a folder beside the real data


@pytest.mark.parametrize(
    ("dataset", "centres", "accuracy", "gamma", "distance", "off"),
    [
        ("CIFAR10", "means", 0.92483, 0.74572, 0.69163, 0.0005),
        ("CIFAR10", "anchors", 0.92467, 0.75176, 0.71359, 0.0005),
        ("MNIST", "anchors", 0.99788, 0.98671, 0.98627, 0.002),
    ],
)
def test_the_published_weights_give_their_reference_values(
    data_root, tmp_path_factory, dataset, centres, accuracy, gamma, distance, off
):
    file = data_root / "cac-openset-weights" / f"{dataset}_0_CACclassifierAnchorLoss.pth"
    if not file.is_file():
        pytest.skip(f"{file} is not here")
    store = tmp_path_factory.getbasetemp() / "published"
    run = runs.Run(store / f"published-{dataset.lower()}-cac-2020-0-cacclassifieranchorloss")
    if not run.written:
        run = import_weights(file, store, data_root)
        evaluate.evaluate(run, data_root)
    train, test = run.outputs("train"), run.outputs("test")
    if run.validated_on == datasets.SET_ASIDE:  # the reference is of all test images
        test = joined(run.outputs("validation"), test)
    for score, auroc in (("gamma", gamma), ("distance", distance)):
        verdict = judge_of(score, train, centres=centres)(test)
        got = metrics.report(verdict, test.labels)
        assert got["accuracy"] == pytest.approx(accuracy, abs=off)
        assert got["auroc"] == pytest.approx(auroc, abs=off)


def test_the_command_line_imports(file, root, tmp_path):
    line = ["import-weights", str(file), "--dataset", "CIFAR10", "--trial", "0", "--family", "cac-2020", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "cac_core", *line, "--runs", str(tmp_path / "r"), "--data", str(root)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["runs"][0]["run"] == "published-cifar10-cac-2020-0-cacclassifieranchorloss"


def test_the_command_line_lists_what_it_did_with_a_folder(file, network, root, tmp_path, capsys):
    torch.save(published(network), tmp_path / "MNIST_0_CACclassifierAnchorLoss.pth")  # whose images are not here
    line = ["import-weights", str(tmp_path), "--runs", str(tmp_path / "r"), "--data", str(root)]
    for state in ("imported", "already there"):
        assert main(line) == 1
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith(f"{file}: {state} as {tmp_path / 'r'}")
        assert any(f"{tmp_path / 'MNIST_0_CACclassifierAnchorLoss.pth'}: failed: " in text for text in said)
        assert said[-1] == ", ".join(f"{int(s in (state, 'failed'))} {s}" for s in STATES)
    assert main([*line, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in said["runs"]] == ["already there"] and "MNIST" in said["failed"][0]["why"]
    assert main(["import-weights", str(tmp_path / "MNIST_0_CACclassifierAnchorLoss.pth"), *line[2:]]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert main(["import-weights", str(file), *line[2:]]) == 0
