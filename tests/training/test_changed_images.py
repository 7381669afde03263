"""train of a recipe whose data set has changed: it says so, and trains anew where it is asked to, never silently."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac_core.__main__ import main
from cac_core.data import datasets
from cac_core.exchange import shelf
from cac_core.jobs import launch, queue, worker
from cac_core.recipe import compose
from cac_core.runs import Run
from cac_core.training import loop
from tests.waiting import LONG

pytestmark = pytest.mark.long

GIVEN = {
    "dataset": "pets", "family": "custom", "trial": "t", "known": (0, 1), "unknown": (2,), "epochs": 1,
    "backbone": "small", "batch": 16,
}  # fmt: skip


def pets(root: Path, each: int):
    rng = np.random.default_rng(each)
    shutil.rmtree(root / "pets", ignore_errors=True)
    for c, cls in enumerate(("cat", "dog", "eel")):
        (root / "pets" / cls).mkdir(parents=True)
        for i in range(each):
            pixels = np.clip(80 * c + rng.integers(0, 60, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "pets" / cls / f"{i:03}.png")


def counted(root: Path) -> dict[str, int]:
    return {part: len(some) for part, some in datasets.load("pets", root).items()}


def told(run: Run, root: Path) -> tuple[str, str]:
    """How many images the run is of, and how many there are now, in words."""
    now = counted(root)
    both = [f"{counts['train']} training and {counts['test']} test images" for counts in (run.record["images"], now)]
    assert both[0] != both[1] and sum(run.record["images"].values()) == 30 and sum(now.values()) == 150
    return both[0], both[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    pets(place / "data", 10)
    return loop.train(compose(**GIVEN), place / "runs", place / "data", device="cpu"), place / "data"


@pytest.fixture
def run(made, store, tmp_path):
    shutil.copytree(made[0].path, store / made[0].id)
    pets(tmp_path / "data", 50)
    return Run(store / made[0].id)


@pytest.fixture
def root(tmp_path, run):
    return tmp_path / "data"


def again(run: Run, root: Path, *more: str) -> int:
    return main(["train", "--resume", str(run.path), "--data", str(root), "--device", "cpu", *more])


def test_a_finished_recipe_of_other_images_is_no_silent_success(run, root, capsys):
    before, (then, now) = run.written, told(run, root)
    assert again(run, root) == 1
    said = capsys.readouterr().err
    assert then in said and now in said and "another --seed" in said and f"--resume {run.path} --again" in said
    assert run.state == "finished" and run.written == before  # its results stay, and are of the old images


def test_trained_again_it_is_of_the_new_images_and_the_old_run_is_in_the_trash(run, root, capsys):
    before, counts = run.outputs("train").logits, counted(root)
    assert again(run, root, "--again") == 0
    assert "in the trash" in capsys.readouterr().err
    assert run.record["images"] == counts and run.state == "finished"
    assert run.made_of("test") == datasets.digest(datasets.load("pets", root))
    assert len(run.outputs("train")) > 2 * 50 > len(before)
    (old,) = shelf.trashed(run.path.parent)
    assert np.array_equal(Run(old.path).outputs("train").logits, before)
    written = run.written
    assert again(run, root, "--again") == again(run, root) == 0  # nothing has changed since
    assert run.written == written and len(shelf.trashed(run.path.parent)) == 1


def test_another_seed_leaves_the_run_where_it_is(run, root):
    other = loop.train(compose(**GIVEN, seed=1), run.path.parent, root, device="cpu")
    assert other.record["images"] == counted(root) != run.record["images"]


def test_a_stopped_run_of_other_images_says_the_same_and_is_trained_again(run, root, capsys):
    shutil.rmtree(run.path / "outputs")
    (run.path / "status.json").write_text('{"state": "stopped"}')
    then, now = told(run, root)
    assert again(run, root) == 1
    said = capsys.readouterr().err
    assert "cannot go on" in said and then in said and now in said and "--again" in said
    assert again(run, root, "--again") == 0 and run.record["images"] == counted(root)


def test_without_its_images_a_finished_run_is_finished(made, store, tmp_path):
    """One that was brought from elsewhere: nobody knows of a change."""
    given = compose(dataset="MNIST", epochs=1)
    run = Run(store / given.id)
    shutil.copytree(made[0].path, run.path)
    assert loop.train(given, store, tmp_path / "nothing", device="cpu").state == "finished"


def test_a_run_without_its_record_does_not_go_on_with_other_images(run, root, capsys):
    """The state to go on from says which images it is of; else the new record would stand beside the old weights."""
    (run.path / "recipe.json").unlink()
    with pytest.raises(ValueError, match="trained on other images"):
        loop.train(compose(**GIVEN), run.path.parent, root, device="cpu")


def test_a_queued_training_of_other_images_fails_with_the_reason_and_can_be_asked_to_train_again(
    run, root, monkeypatch
):
    monkeypatch.setattr(queue, "WAIT", LONG)
    store, how = run.path.parent, {"once": True, "pause": 0.05, "slots": {"cpu": ""}}
    job = launch.submit_recipe(store, run.recipe, root=root)
    worker.work(store, **how)
    job = launch.find(store, job.id)
    assert job.state == "failed" and "--again" in job.reason and all(words in job.reason for words in told(run, root))
    assert run.state == "finished"
    job = launch.submit_recipe(store, run.recipe, root=root, again=True)
    worker.work(store, **how)
    assert launch.find(store, job.id).state == "finished" and run.record["images"] == counted(root)
    assert len(shelf.trashed(store)) == 1
