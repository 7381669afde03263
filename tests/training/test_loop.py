"""Training: it learns, it is the same whatever interrupts it, and it says what went wrong."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cac_core import runs
from cac_core.recipe import compose
from cac_core.training import loop
from tests.waiting import LONG, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
RECIPE = {"dataset": "digits", "epochs": 3, "batch": 128}


def run_of(store, data, tell=lambda event: None, **more):
    return loop.train(compose(**(RECIPE | more)), store, data, device="cpu", tell=tell)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data):
    return run_of(tmp_path_factory.mktemp("undisturbed"), data, fine_epochs=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the processes that these tests start: UMAP's library, where a test has loaded it, takes more for all."""
    torch.set_num_threads(1)


def same(a: runs.Run, b: runs.Run) -> bool:
    """The same weights, bit for bit, the same course and the same outputs."""
    one, two = load_file(a.path / "best.safetensors"), load_file(b.path / "best.safetensors")
    last = [torch.load(r.path / "last.pt", weights_only=True) for r in (a, b)]
    drop = {"time", "images_per_second", "seconds_left", "memory"}
    course = [[{k: v for k, v in e.items() if k not in drop} for e in r.epochs()] for r in (a, b)]
    shots = [r.snapshots() for r in (a, b)]
    return (
        one.keys() == two.keys()
        and all(torch.equal(one[k], two[k]) for k in one)
        and all(torch.equal(last[0]["method"][k], last[1]["method"][k]) for k in last[0]["method"])
        and course[0] == course[1]
        and all(np.array_equal(shots[0][k], shots[1][k]) for k in shots[0])
        and np.array_equal(a.outputs("test").logits, b.outputs("test").logits)
    )


def test_a_run_leaves_everything_behind_and_learns(undisturbed):
    run = undisturbed
    assert run.state == "finished" and not (run.path / "stop").exists()
    epochs = run.epochs()
    assert [e["epoch"] for e in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1]["validation"]["total"] < epochs[0]["validation"]["total"]
    assert {"total", "tuplet", "anchor"} <= set(epochs[0]["train"]) and "accuracy" in epochs[0]["validation"]
    assert all(e["images_per_second"] > 0 and e["seconds_left"] >= 0 for e in epochs)
    assert all(100e6 < e["memory"] < 100e9 for e in epochs)
    assert run.record["versions"]["torch"] == torch.__version__.split("+")[0]
    shots = run.snapshots()
    assert shots["epochs"].tolist() == [0, 1, 2, 3, 4, 5]
    assert shots["logits"].shape == (6, len(shots["labels"]), 6)
    report = run.report()
    assert report["default"] == "gamma" and report["scorers"]["gamma"]["theta"] > 0
    assert report["scorers"]["gamma"]["accuracy"] > 0.9 and report["scorers"]["gamma"]["auroc"] > 0.8
    assert not [f for f in run.path.rglob("*") if "tmp" in f.name]


def test_the_best_epoch_is_kept_and_the_second_stage_starts_from_it(undisturbed):
    epochs = undisturbed.epochs()
    best = min(epochs, key=lambda e: e["validation"]["anchor"])
    assert epochs[-1]["best_epoch"] == best["epoch"]
    assert all(e["lr"] == pytest.approx(undisturbed.recipe.lr / 10) for e in epochs[3:])
    outputs = undisturbed.outputs("validation")
    d = np.linalg.norm(outputs.logits - outputs.anchors[outputs.labels], axis=1)
    assert d.mean() == pytest.approx(best["validation"]["anchor"], rel=1e-4)


def test_training_again_is_the_same_training(undisturbed, tmp_path, data):
    assert same(undisturbed, run_of(tmp_path, data, fine_epochs=2))


def test_another_seed_is_another_training(undisturbed, tmp_path, data):
    assert not same(undisturbed, run_of(tmp_path, data, fine_epochs=2, seed=1))


@pytest.mark.parametrize("step", [1, 3])
def test_the_stop_file_ends_it_after_the_batch_and_it_goes_on_as_if_never_stopped(
    undisturbed, tmp_path, data, monkeypatch, step
):
    monkeypatch.setattr(loop, "BEAT", 0.0)  # an event every batch
    seen = []

    def tell(event):
        if event["kind"] == "progress":
            seen.append(event["step"])
            if len(seen) in (step, step + 9):
                (tmp_path / compose(**RECIPE, fine_epochs=2).id / "stop").touch()

    run = run_of(tmp_path, data, tell, fine_epochs=2)
    assert run.state == "stopped" and len(seen) == step and not (run.path / "stop").exists()
    run = run_of(tmp_path, data, tell, fine_epochs=2)
    assert run.state == "stopped" and len(seen) == step + 9
    run = run_of(tmp_path, data, fine_epochs=2)
    assert run.state == "finished" and same(undisturbed, run)


def command(store, data, *more, gates=None):
    arguments = ["train", "--dataset", "digits", "--epochs", "3", "--fine-epochs", "2", "--batch", "128"]
    where = ["--device", "cpu", "--runs", str(store), "--data", str(data)]
    return subprocess.Popen(
        [sys.executable, "-m", "cac_core", *arguments, *where, *more], cwd=ROOT,
        env=os.environ | (gates.environment if gates else {}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_sigkill_at_any_moment_changes_nothing(undisturbed, tmp_path, data, gates):
    run = runs.Run(tmp_path / undisturbed.id)
    gates.close(5)  # however late the signal comes, it comes before the end
    for epochs in (1, 4):  # in the first and in the second stage
        process = command(tmp_path, data, gates=gates)
        wait_until(lambda n=epochs: len(run.epochs()) >= n, process=process)
        process.kill()
        process.wait()
        assert run.state == "lost" and "Train it again" in run.status["reason"]
    (run.path / f".last.pt.{process.pid}-1.tmp").write_bytes(b"half")  # as a kill in the midst of writing leaves it
    process = command(tmp_path, data, "--json")
    out, _ = process.communicate(timeout=LONG)
    assert json.loads(out)["state"] == "finished" and same(undisturbed, run)
    assert not list(run.path.rglob(".*.tmp"))


def test_sigterm_ends_it_saved(undisturbed, tmp_path, data, gates):
    run = runs.Run(tmp_path / undisturbed.id)
    gates.close(3)
    process = command(tmp_path, data, gates=gates)
    wait_until(lambda: len(run.epochs()) >= 1, process=process)
    process.send_signal(signal.SIGTERM)
    gates.open(3)
    process.communicate(timeout=LONG)
    assert process.returncode == 0 and run.state == "stopped"
    assert same(undisturbed, run_of(tmp_path, data, fine_epochs=2))


def test_two_processes_do_not_train_the_same_run(tmp_path, data):
    """The second is told so while the first is at work, and nothing of the first is touched."""
    told = []

    def tell(event):
        if not told:
            process = subprocess.run(
                [sys.executable, "-m", "cac_core", "train", "--dataset", "digits", "--epochs", "3", "--batch", "128",
                 "--runs", str(tmp_path), "--data", str(data)],
                cwd=ROOT, capture_output=True, text=True,
            )  # fmt: skip
            told.append(process.stderr)
            assert process.returncode == 1

    run = run_of(tmp_path, data, tell)
    assert "is being trained by another process" in told[0] and str(os.getpid()) in told[0]
    assert run.state == "finished"


def test_a_finished_run_is_not_trained_again(undisturbed, data):
    before = (undisturbed.path / "last.pt").stat().st_mtime_ns
    told = []
    run_of(undisturbed.path.parent, data, told.append, fine_epochs=2)
    assert told == [] and (undisturbed.path / "last.pt").stat().st_mtime_ns == before


def test_a_run_whose_folder_is_called_otherwise_is_trained_there(undisturbed, tmp_path, data):
    recipe = undisturbed.recipe

    def stop(event):
        if event["kind"] == "epoch" and event["epoch"] == 2:
            (tmp_path / recipe.id / "stop").touch()

    loop.train(recipe, tmp_path, data, device="cpu", tell=stop).path.rename(tmp_path / "my-first-run")
    done = command(tmp_path, data, "--resume", "my-first-run", "--json")
    told = json.loads(done.communicate(timeout=LONG)[0])
    run = runs.Run(tmp_path / "my-first-run")
    assert (told["run"], told["state"], told["path"]) == (run.id, "finished", str(run.path))
    assert [path.name for path in tmp_path.iterdir()] == [run.id] and same(undisturbed, run)


@pytest.fixture
def copy(undisturbed, tmp_path):
    return runs.Run(shutil.copytree(undisturbed.path, tmp_path / undisturbed.id))


def other_network(file):
    save_file({"classify.weight": torch.zeros(2, 2)}, file, _metadata(file))


def _metadata(file):
    with safe_open(file, framework="pt") as stored:
        return stored.metadata()


@pytest.mark.parametrize("state", ["finished", "lost", "without last.pt"])
@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(file.read_bytes()[:1000]), Path.unlink, other_network])
def test_a_run_without_good_weights_is_trained_anew(undisturbed, copy, data, spoil, state):
    spoil(copy.path / "best.safetensors")
    if state == "lost":
        (copy.path / "status.json").unlink()
    elif state == "without last.pt":
        (copy.path / "last.pt").unlink()
    told = []
    run = run_of(copy.path.parent, data, told.append, fine_epochs=2)
    assert [e["epoch"] for e in told if e["kind"] == "epoch"] == [1, 2, 3, 4, 5]
    assert run.state == "finished" and same(undisturbed, run)
    told.clear()
    assert run_of(copy.path.parent, data, told.append, fine_epochs=2).state == "finished" and not told


def test_a_run_that_was_stopped_and_has_lost_its_best_weights_is_trained_from_the_start(undisturbed, tmp_path, data):
    def stop(event):
        if event["kind"] == "epoch" and event["epoch"] == 2:
            (tmp_path / undisturbed.id / "stop").touch()

    run = run_of(tmp_path, data, stop, fine_epochs=2)
    (run.path / "best.safetensors").unlink()
    told = []
    assert same(undisturbed, run_of(tmp_path, data, told.append, fine_epochs=2))
    assert [e["epoch"] for e in told if e["kind"] == "epoch"] == [1, 2, 3, 4, 5]


def test_a_finished_run_whose_training_cannot_begin_again_stays_finished(copy, data, monkeypatch):
    (copy.path / "best.safetensors").unlink()
    before = copy.status

    def gone(*given):
        raise FileNotFoundError("no images here")

    monkeypatch.setattr(loop.datasets, "load", gone)
    with pytest.raises(FileNotFoundError, match="no images here"):
        run_of(copy.path.parent, data, fine_epochs=2)
    assert copy.status == before and copy.written and copy.report()["scorers"]


def test_a_loss_that_is_no_number_ends_it_as_failed_and_keeps_the_best(tmp_path, data):
    recipe = compose(**RECIPE)

    def tell(event):
        if event["kind"] == "epoch" and event["epoch"] == 1:
            monster.append(event)

    monster = []
    with pytest.raises(loop.TrainingFailed, match=r"no longer a finite number.*--lr.*No epoch before is kept"):
        loop.train(compose(**(RECIPE | {"lr": 1e30})), tmp_path, data, device="cpu", tell=tell)
    run = runs.Run(tmp_path / compose(**(RECIPE | {"lr": 1e30})).id)
    assert run.state == "failed" and "learning rate" in run.status["reason"] and recipe.lr < 1


def test_failing_late_leaves_the_last_good_checkpoint(tmp_path, data, monkeypatch):
    real = loop._Training._check_finite
    monkeypatch.setattr(
        loop._Training, "_check_finite",
        lambda self, values, where: real(self, {"x": math.nan} if self.epoch == 2 else values, where),
    )  # fmt: skip
    with pytest.raises(loop.TrainingFailed, match="The best epoch before is kept"):
        run_of(tmp_path, data)
    monkeypatch.undo()
    run = runs.Run(tmp_path / compose(**RECIPE).id)
    assert run.state == "failed" and len(run.epochs()) == 2
    assert torch.load(run.path / "last.pt", weights_only=True)["epoch"] == 2
    assert load_file(run.path / "best.safetensors")
    assert run_of(tmp_path, data).state == "finished"  # and it goes on


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, a disk that is always full, is not here")
def test_a_full_disk_is_named(tmp_path, data):
    recipe = compose(**RECIPE)
    (tmp_path / recipe.id).mkdir()
    (tmp_path / recipe.id / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(loop.TrainingFailed, match=r"Cannot write: No space left on device"):
        run_of(tmp_path, data)
    assert runs.Run(tmp_path / recipe.id).state == "failed"


def test_a_checkpoint_that_does_not_fit_on_the_disk_says_so(tmp_path, data):
    code = (
        "import json, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from cac_core.recipe import Recipe\n"
        "from cac_core.training import loop\n"
        "recipe = Recipe.from_json(json.loads(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "def tell(event):\n"
        "    if event['kind'] == 'progress' or event['kind'] == 'epoch':\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    loop.train(recipe, Path(sys.argv[2]), Path(sys.argv[3]), device='cpu', tell=tell)\n"
        "except loop.TrainingFailed as error:\n"
        "    print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(compose(**RECIPE).to_json()), str(tmp_path), str(data)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Cannot write: File too large" in said and "last.pt" in said and "Free some space" in said


def test_a_run_that_is_removed_while_it_trains_says_so_and_stays_away(tmp_path, data):
    def remove(event):
        if event["kind"] == "epoch" and event["epoch"] == 1:
            shutil.rmtree(next(tmp_path.iterdir()))

    with pytest.raises(FileNotFoundError, match="was removed while it was being trained"):
        run_of(tmp_path, data, tell=remove)
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_removed_before_a_snapshot_stays_away(tmp_path, data, monkeypatch):
    real = loop._Training._snapshot

    def removed(self, logits, epoch):
        if epoch == 2:
            shutil.rmtree(self.run.path)
        real(self, logits, epoch)

    monkeypatch.setattr(loop._Training, "_snapshot", removed)
    with pytest.raises(FileNotFoundError, match="was removed while it was being trained"):
        run_of(tmp_path, data)
    assert not list(tmp_path.iterdir())


def test_what_was_trained_is_not_removed_where_its_recipe_is_gone(tmp_path, data, monkeypatch):
    def lose(event):
        if event["kind"] == "epoch" and event["epoch"] == 2:
            (tmp_path / compose(**RECIPE).id / "recipe.json").unlink()
            raise RuntimeError("no more")

    with pytest.raises(loop.TrainingFailed, match="no more"):
        run_of(tmp_path, data, tell=lose)
    (run,) = runs.every(tmp_path)
    assert run.state == "failed" and (run.path / "last.pt").exists() and (run.path / "best.safetensors").exists()


def test_a_store_that_cannot_be_written_is_named(tmp_path, data):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        run_of(tmp_path / "file" / "store", data)


def test_out_of_memory_is_named_with_a_way_out(tmp_path, data):
    recipe = compose(dataset="digits", backbone="efficientnet-b0", epochs=1, batch=860, options={"input_size": 1024})
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, hard))  # so that it fails here, not the machine
    try:
        with pytest.raises(loop.TrainingFailed, match=r"Out of memory.*--batch 430"):
            loop.train(recipe, tmp_path, data, device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert runs.Run(tmp_path / recipe.id).state == "failed"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dataset": "diigts"}, "no data set 'diigts'.*digits, MNIST"),
        ({"family": "osrcy"}, "no family 'osrcy'.*osrci, cac-2020"),
        ({"trial": 5}, "trials 0 to 4"),
        ({"trial": "-1"}, "trials 0 to 4"),
    ],
)
def test_a_wrong_recipe_leaves_nothing_behind(tmp_path, data, wrong, said):
    with pytest.raises(ValueError, match=said):
        run_of(tmp_path, data, **wrong)
    assert not list(tmp_path.iterdir())


def test_wrong_options_leave_nothing_behind(tmp_path, data):
    for options in ({"alpha": 0.0}, {"lam": -1.0}):
        with pytest.raises(ValueError, match="must be"):
            loop.train(compose(**RECIPE, options=options), tmp_path, data, device="cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "junk", "other"])
def test_a_checkpoint_that_cannot_be_gone_on_from_is_named(tmp_path, data, damage):
    def tell(event):
        if event["kind"] == "epoch" and event["epoch"] == 1:
            (tmp_path / compose(**RECIPE).id / "stop").touch()

    run = run_of(tmp_path, data, tell)
    file = run.path / "last.pt"
    if damage == "other":
        state = torch.load(file, weights_only=True)
        torch.save(state | {"recipe": "digits-osrci-0-cac-small-s9"}, file)
    else:
        file.write_bytes(file.read_bytes()[:1000] if damage == "cut" else b"not a checkpoint")
    with pytest.raises(ValueError, match=r"last.pt cannot be gone on from"):
        run_of(tmp_path, data)
    file.unlink()
    assert run_of(tmp_path, data).state == "finished"


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -3}, {"epoch": 10**12}, {"epoch": True}, {"epoch": 1.0}, {"step": -1},
        {"step": 10**9, "counted": 10**9},
        {"counted": -5}, {"counted": 7}, {"best": "low"}, {"best_epoch": -9}, {"best_epoch": None}, {"sums": [1.0]},
        {"sums": {3: torch.zeros(1)}}, {"sums": {"total": torch.zeros(5)}}, {"generator": torch.zeros(3)},
        {"method": 7},
    ],
)  # fmt: skip
def test_a_checkpoint_whose_counters_are_none_is_named(tmp_path, data, change):
    def tell(event):
        if event["kind"] == "epoch":
            (tmp_path / compose(**RECIPE).id / "stop").touch()

    run = run_of(tmp_path, data, tell)
    state = torch.load(run.path / "last.pt", weights_only=True)
    torch.save(state | change, run.path / "last.pt")
    with pytest.raises(ValueError, match="cannot be gone on from"):
        run_of(tmp_path, data)
    torch.save(state, run.path / "last.pt")
    assert run_of(tmp_path, data).state == "finished"


def test_a_checkpoint_that_would_run_code_is_refused_not_run(tmp_path, data):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    def tell(event):
        if event["kind"] == "epoch":
            (tmp_path / compose(**RECIPE).id / "stop").touch()

    run = run_of(tmp_path, data, tell)
    torch.save({"recipe": run.id, "method": Trap()}, run.path / "last.pt")
    with pytest.raises(ValueError, match="cannot be gone on from"):
        run_of(tmp_path, data)
    assert not (tmp_path / "sprung").exists()


def test_another_recipe_under_the_same_id_is_refused(undisturbed, tmp_path, data):
    run = run_of(tmp_path, data, epochs=1)
    record = json.loads((run.path / "recipe.json").read_text())
    record["recipe"]["lr"] = 0.5
    (run.path / "recipe.json").write_text(json.dumps(record))
    (run.path / "status.json").unlink()
    with pytest.raises(ValueError, match="holds another recipe"):
        run_of(tmp_path, data, epochs=1)


def test_tensorboard_files_hold_the_curves(tmp_path, data):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = loop.train(compose(**RECIPE), tmp_path, data, device="cpu", tensorboard=True)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [round(e.value, 5) for e in events.Scalars("anchor/validation")] == [
        round(e["validation"]["anchor"], 5) for e in run.epochs()
    ]


def test_the_schedules():
    quick, paper = compose(), compose("paper", dataset="CIFAR10")
    rates = [loop.rate_at(quick, e / 4) for e in range(81)]
    assert max(rates) == pytest.approx(quick.lr) and rates[0] == pytest.approx(quick.lr / 10)
    assert rates.index(max(rates)) == 16 and rates[79] < quick.lr / 100
    assert loop.rate_at(paper, 0) == loop.rate_at(paper, 149.9) == 0.01
    assert loop.rate_at(paper, 150) == loop.rate_at(paper, 199) == pytest.approx(0.001)


def test_the_backbone_has_a_rate_of_its_own(tmp_path, data):
    frozen = run_of(tmp_path, data, epochs=1, trunk_rate=0.0)
    start = torch.load(frozen.path / "last.pt", weights_only=True)
    groups = start["optimizers"]["net"]["param_groups"]
    assert [g["times"] for g in groups] == [0.0, 1.0]
    trained = run_of(tmp_path, data, epochs=1)
    alike = torch.load(trained.path / "last.pt", weights_only=True)["optimizers"]["net"]["param_groups"]
    assert [g["times"] for g in alike] == [1.0]
    torch.manual_seed(0)
    from cac_core.results import evaluate

    fresh = evaluate.build(frozen.recipe, 6, 1, 16).state_dict()
    assert torch.equal(start["method"]["backbone.conv1.weight"], fresh["backbone.conv1.weight"])
    assert not torch.equal(start["method"]["classify.weight"], fresh["classify.weight"])


def test_long_runs_thin_their_snapshots(tmp_path, data, monkeypatch):
    monkeypatch.setattr(loop, "SNAPSHOTS", 4)
    shots = run_of(tmp_path, data, epochs=8, batch=860, lr=0.01).snapshots()
    assert shots["epochs"].tolist() == [0, 3, 6, 8]


# --- the first steps of training, frozen ------------------------------------------------------------------------------


def test_twenty_steps_follow_the_slow_formula(data):
    """The loop's losses are those of a plain loop: the paper's formula by norms, torch's SGD, the same batches."""
    from cac_core.data import datasets as d
    from cac_core.results import evaluate
    from cac_core.training import batches

    recipe = compose(dataset="digits", batch=64, epochs=20)
    row = d.row_of("digits", data)
    part = d.parts_of(d.load("digits", data), d.trial_of(recipe, row), 0)["train"]
    stats = d.statistics(part.pixels)
    ours, plain = [], []
    for curve in (ours, plain):
        torch.manual_seed(0)
        method = evaluate.build(recipe, 6, 1, 16).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.SGD(method.parameters(), lr=0.001, momentum=0.9)
        made = batches.Batches(part, row, stats, batch=64, seed=0, device=torch.device("cpu"))
        for x, y in [*made.epoch(0), *made.epoch(1)][:20]:
            if curve is ours:
                (total,) = [terms["total"] for _, terms in method.losses(x, y)]
            else:
                z = method.classify(method.backbone(x))
                gaps = (z[:, None, :] - 10 * torch.eye(6)[None]).norm(dim=2)
                own = gaps[torch.arange(len(y)), y]
                others = gaps[torch.arange(6)[None] != y[:, None]].view(len(y), 5)
                total = (1 + (own[:, None] - others).exp().sum(1)).log().mean() + 0.1 * own.mean()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            curve.append(total.item())
    assert ours == pytest.approx(plain, rel=1e-3)
    assert ours[-1] < ours[0]


# --- weights and outputs ----------------------------------------------------------------------------------------------


def test_weights_of_another_run_are_refused(undisturbed, tmp_path, data):
    from cac_core.results import evaluate

    run = run_of(tmp_path, data, epochs=1, trial=1)
    weights = load_file(run.path / "best.safetensors")
    save_file(weights, run.path / "best.safetensors", {"format": evaluate.FORMAT, "recipe": "another", "split": "{}"})
    with pytest.raises(ValueError, match=r"weights and the recipe of .* disagree"):
        evaluate.load(run)
    (run.path / "best.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(ValueError, match="damaged"):
        evaluate.load(run)
    (run.path / "best.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="python -m cac_core train --resume"):
        evaluate.load(run)


def test_weights_of_another_shape_are_refused(tmp_path, data):
    from cac_core.results import evaluate

    run = run_of(tmp_path, data, epochs=1)
    weights = load_file(run.path / "best.safetensors")
    weights["classify.weight"] = weights["classify.weight"][:, :-1].contiguous()
    save_file(weights, run.path / "best.safetensors", evaluate.weights_metadata(run.recipe, run.trial, 1))
    with pytest.raises(ValueError, match="do not fit its recipe"):
        evaluate.load(run)
