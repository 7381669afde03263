"""Probe: what it says a run takes is what it takes, and nothing is measured twice."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch.nn.modules.module import register_module_forward_hook

from cac_core import runs
from cac_core.data import datasets
from cac_core.networks import backbones
from cac_core.recipe import Recipe, compose
from cac_core.results import evaluate
from cac_core.training import loop, probe
from cac_core.training.probe import Measured
from tests.waiting import LONG

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
ONE = Measured("cpu", 2.0, 0.5, 0.01, 0.02, 10**8, 0, 10, (100, 1000), 4000, 3000, 20_000, (60, 50), False)


def cac(*arguments, check=True, before=""):
    line = [sys.executable, "-m", "cac_core", *map(str, arguments)]
    line = ["bash", "-c", f'{before} exec "$@"', "bash", *line] if before else line
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    datasets.load("digits", folder)  # decoded once
    return folder


def where(store, root):
    return ["--dataset", "digits", "--device", "cpu", "--json", "--runs", store, "--data", root]


def test_what_it_says_is_what_a_run_takes(tmp_path, root):
    said = json.loads(cac("probe", "--epochs", 6, *where(tmp_path, root)).stdout)
    assert [file.name for file in tmp_path.iterdir()] == [probe.FILES]  # nothing else is written
    (file,) = (tmp_path / probe.FILES).glob("*.json")
    run = json.loads(cac("train", "--epochs", 6, *where(tmp_path, root)).stdout)
    size = sum(file.stat().st_size for file in Path(run["path"]).rglob("*") if file.is_file())
    assert said["recipe"] == run["run"] and said["disk"] == pytest.approx(size, rel=0.25)
    assert 1e8 < said["memory"] < 4e9
    assert said["seconds"] == pytest.approx(probe.kept(file).seconds(compose(epochs=6)), abs=0.1)


def test_by_a_clock_that_only_images_move_it_says_what_a_run_takes(tmp_path, root, monkeypatch):
    """An image takes 0.03 s in training and 0.01 s else, whatever the machine does meanwhile."""
    recipe, clock = compose(epochs=6), [0.0]
    network = type(evaluate.build(recipe, 6, 1, 16).backbone)

    def passed(module, given, _):
        if isinstance(module, network):
            clock[0] += len(given[0]) * (0.03 if module.training else 0.01)

    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock[0])
    hook = register_module_forward_hook(passed)
    try:
        said = probe.measure(recipe, tmp_path, root, device="cpu").seconds(recipe)
        clock[0] = 0.0
        loop.train(recipe, tmp_path, root, device="cpu")
    finally:
        hook.remove()
    assert said == pytest.approx(clock[0], rel=0.02)


def test_a_step_is_the_mean_of_all_stages_and_of_what_is_made_between_them(tmp_path, root, monkeypatch):
    ways = []
    monkeypatch.setattr(probe, "_step", lambda steps: ways.append(steps.method.way) or 2.0)

    def said(**options):
        recipe = compose(method="osrci", epochs=10, options={"maps": 4, "count": 50, **options})
        return probe.measure(recipe, tmp_path, root, device="cpu")

    one = said()
    images = 10 * one.steps * 32
    assert one.step == pytest.approx(2.0 * (0.85 + 0.15 * 0.4 + 50 * 100 * 0.2 / images))
    assert said(walk=200).step - one.step == pytest.approx(2.0 * 50 * 100 * 0.2 / images)  # and measured by itself
    assert said(images="none").step == 2.0 and ways == [0.0, 0.0, 1.0]


def test_nothing_is_measured_twice(tmp_path, root):
    first = probe.measure(compose(), tmp_path, root, device="cpu")
    (file,) = (tmp_path / probe.FILES).glob("*.json")
    written = file.stat().st_mtime_ns
    for other in ({"seed": 3}, {"epochs": 500}, {"lr": 0.1}, {"options": {"alpha": 3, "lam": 1}}):
        assert probe.measure(compose(**other), tmp_path, root, device="cpu") == first == probe.kept(file)
    assert file.stat().st_mtime_ns == written
    probe.measure(compose(), tmp_path, root, device="cpu", again=True)
    assert file.stat().st_mtime_ns > written
    file.write_text("{}")
    assert probe.kept(file) is None
    assert probe.measure(compose(), tmp_path, root, device="cpu").steps == first.steps == 690 // 32
    assert first.weights == 429_128 and first.images == (172, 690 + 172 + 359 + 3)  # of the small network, of trial 0


@pytest.mark.parametrize(
    "other",
    [
        {"batch": 64}, {"size": 24}, {"precision": "bfloat16"}, {"method": "cross_entropy"}, {"backbone": "plain"},
        {"trunk": {"dropout": 0.5}}, {"dataset": "MNIST"}, {"held_out": 0.5}, {"augment": "shift"},
        {"augment": "shift", "cutout": 4}, {"method": "crosr", "hyper": {"weight": 0.5}},
    ],
)  # fmt: skip
def test_what_matters_is_measured_apart(tmp_path, other):
    def file_of(recipe=compose(), known=(0, 1), images=5, device="cpu"):  # noqa: B008
        return probe.file_of(
            tmp_path, recipe, datasets.Trial("digits", "custom", "x", known, (2,)), datasets.DIGITS, images, device
        )

    assert file_of(dataclasses.replace(compose(), **other)) != file_of()
    assert len({file_of(), file_of(known=(0, 1, 3)), file_of(images=6), file_of(device="cuda")}) == 4
    assert file_of(device="cuda") == file_of(device="cuda:0") and file_of(known=(4, 5)) == file_of()


def test_epochs_validation_and_evaluation_add_up():
    recipe = Recipe(epochs=3, fine_epochs=1)
    assert ONE.epoch() == 10 * 0.5 + 100 * 0.01
    assert ONE.seconds(recipe) == 2 + 4 * 6 + 1000 * 0.02
    records = probe.RECORDS + 4 * probe.EPOCH_RECORD
    assert ONE.disk(recipe) == 4000 + 4000 + 3000 + 0.9 * (20_000 + 5 * 50) + records
    assert ONE.disk(recipe) - ONE.disk(dataclasses.replace(recipe, momentum=0.0)) == 3000
    assert ONE.disk(Recipe(epochs=1000)) == 11_000 + 0.9 * (20_000 + 60 * 50) + probe.RECORDS + 1000 * 500


def test_work_on_the_device_is_seen_and_remembered(tmp_path, root):
    assert probe.busy(tmp_path, "cpu") == ""
    status = tmp_path / "other" / "status.json"
    runs.write_json(status, {"state": "running", "device": "cuda", **runs.process_now()})
    assert probe.busy(tmp_path, "cpu") == "" and probe.busy(tmp_path, "cuda:0") == "other"
    runs.write_json(status, {"state": "running", "device": "cpu", **runs.process_now()})
    assert probe.busy(tmp_path, "cpu") == "other"
    assert probe.measure(compose(), tmp_path, root, device="cpu").beside
    runs.write_json(status, {"state": "finished", "device": "cpu"})
    assert not probe.measure(compose(), tmp_path, root, device="cpu").beside  # measured again: now it is right


def test_missing_weights_are_named_with_the_way_to_get_them(tmp_path, root, monkeypatch):
    monkeypatch.setattr(backbones, "WIDE_RESNET_WEIGHTS", f"file://{tmp_path}/gone.pt")
    recipe = compose(backbone="wide_resnet-40-2", options={"pretrained": True})
    with pytest.raises(FileNotFoundError, match="the ImageNet weights of wide_resnet-40-2 could not be downloaded"):
        probe.measure(recipe, tmp_path, root, device="cpu")
    assert not list((tmp_path / probe.FILES).glob("*.json"))


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory as Linux does")
def test_too_little_memory_is_said(tmp_path, root):
    line = ("probe", *where(tmp_path, root), "--backbone", "plain", "--size", 256, "--batch", 690)
    done = cac(*line, "--precision", "float32", check=False, before="ulimit -v 8000000;")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Out of memory" in json.loads(done.stdout)["error"] and "--batch 345" in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--dataset", "MNIST"], "python -m cac_core fetch MNIST"),
        (["--device", "tpu"], "no device 'tpu'"),
        (["--dropout", "1.5"], "dropout must be at least 0 and less than 1, not 1.5"),
        (["--preset", "slow"], "no preset 'slow'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, root, more, said):
    done = cac("probe", *where(tmp_path, root), *more, check=False)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_a_process_of_its_own_leaves_the_file_or_says_why_not(tmp_path, root):
    recipe, row = compose(), datasets.row_of("digits", root)
    size = sum(file.stat().st_size for file in datasets.here("digits", root)[0])
    file = probe.file_of(tmp_path, recipe, datasets.trial_of(recipe, row), row, size, "cpu")
    going = probe.begin([str(word) for word in where(tmp_path, root)], file)
    assert going.going and going.process.wait(LONG) == 0 and probe.kept(file)
    wrong = probe.begin([*map(str, where(tmp_path, root)), "--alpha", "0"], file)
    wrong.process.wait(LONG)
    assert wrong.complaint() == "alpha must be a positive number, not 0.0."
    ended = probe.begin([str(word) for word in where(tmp_path, root)], file)
    ended.end()
    assert not ended.going and "killed, or out of memory" in ended.complaint()


def test_reading_and_beginning_loads_no_torch():
    script = "import sys; from cac_core.training import probe; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
