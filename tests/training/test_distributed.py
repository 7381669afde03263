"""Several processes of torchrun train as one does: the same losses and weights, one writer, one end.

What is equal is tested twice. In float64 the steps of three processes are those of one to 1e-9, batch norm, dropout
and shares of unequal size included. In float32, as runs are trained, sums in another order differ in the last
digit, and each unit that falls to the other side of zero makes more of it: at a small rate, the losses of two epochs
agree to 5e-5 and the weights to 1e-3.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from cac_core import runs
from cac_core.data import datasets as d
from cac_core.recipe import compose
from cac_core.results import evaluate
from cac_core.training import batches, distributed, loop
from tests.waiting import LONG, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
RECIPE = {"dataset": "digits", "epochs": 1, "fine_epochs": 1, "batch": 33, "lr": 0.0001}
TRAIN = ["train", "--dataset", "digits", "--device", "cpu"]
TRAIN += ["--epochs", "1", "--fine-epochs", "1", "--batch", "33", "--lr", "0.0001"]

# The command, telling in files beside the store what each process writes, moves or removes, and where.
WATCHED = """
import os, runpy, sys

from cac_core.results import evaluate

evaluate.BATCH = 50  # so that each process has some of the validation images
told = open(f"{sys.argv.pop(1)}-{os.environ['RANK']}", "a", buffering=1)

def watch(event, args):
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR) or event in {"os.rename", "os.mkdir", "os.remove"}:
        told.write(f"{args[0]}\\n")

sys.addaudithook(watch)
runpy.run_module("cac_core", run_name="__main__")
"""

# The command, on other data in each process.
APART = """
import os, runpy, sys

sys.argv[-1] += os.environ["RANK"]
runpy.run_module("cac_core", run_name="__main__")
"""

# Backbone, its options, batch: batch norm alone; dropout of channels; of single places. No batch is a multiple of 3.
CASES = [
    ("small", {"dropout": 0.0}, 32),
    ("small", {"dropout": 0.5}, 31),
    ("wide_resnet-40-2", {"dropout": 0.3}, 8),
    ("fast", {}, 31),  # shifts and Nesterov's steps
]


def steps_of(case: tuple, root: Path, count: int = 3) -> dict:
    """Loss terms and final state of the first steps in float64, by the pieces that the loop is made of."""
    backbone, options, batch = case
    preset = "fast" if backbone == "fast" else "quick"
    recipe = compose(preset, dataset="digits", backbone=backbone, batch=batch, options=options)
    row = d.row_of("digits", root)
    part = d.parts_of(d.load("digits", root), d.trial_of(recipe, row), 0, row)["train"]
    made = batches.Batches(
        part, row, d.statistics(part.pixels), batch=batch, seed=0, device=torch.device("cpu"),
        rank=distributed.rank(), processes=distributed.processes(), augment=recipe.augment,
    )  # fmt: skip
    torch.manual_seed(0)
    method = evaluate.build(recipe, 6, 1, 16).to(torch.float64, memory_format=torch.channels_last).train()
    method.backbone.prepare(torch.from_numpy(part.pixels[:50]).permute(0, 3, 1, 2).double() / 255)
    names = list(method.state_dict())
    distributed.share(method, made.batch, made.mine)
    assert list(method.state_dict()) == names
    learns = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learns, lr=0.01, momentum=0.9, nesterov=recipe.optimizer == "nesterov")
    losses = []
    for (x, y), _ in zip(made.epoch(0), range(count), strict=False):
        terms = method.terms(method.classify(method.backbone(x.double())), y)
        terms = {name: value * len(y) / made.batch for name, value in terms.items()}
        optimizer.zero_grad()
        terms["total"].backward()
        terms = [value.detach() for value in terms.values()]
        distributed.add_up([*terms, *(p.grad for p in learns)])
        optimizer.step()
        losses.append(torch.stack(terms))
    return {"losses": torch.stack(losses), **method.state_dict()}


def torchrun(*arguments, processes=2, gates=None):
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | (gates.environment if gates else {})
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes),
         *map(str, arguments)],
        cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process) -> str:
    """What it said; everything that it started has ended too."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    said, _ = process.communicate(timeout=LONG)
    assert not psutil.wait_procs(children, timeout=LONG)[1]
    return said


def agree(one: runs.Run, other: runs.Run) -> None:
    """The same course and weights, to the tolerances above; the same draws to go on with."""
    assert one.state == other.state == "finished"
    for a, b in zip(one.epochs(), other.epochs(), strict=True):
        assert (a["epoch"], a["lr"], a["best_epoch"]) == (b["epoch"], b["lr"], b["best_epoch"])
        assert a["train"] == pytest.approx(b["train"], rel=5e-5)
        wide = {"accuracy": pytest.approx(b["validation"]["accuracy"], abs=0.02)}  # a few images of 172
        assert a["validation"] == {k: pytest.approx(v, rel=5e-5) for k, v in b["validation"].items()} | wide
    last = [torch.load(run.path / "last.pt", weights_only=True) for run in (one, other)]
    assert last[0]["method"].keys() == last[1]["method"].keys()
    for name, value in last[0]["method"].items():
        assert torch.allclose(value, last[1]["method"][name], rtol=0, atol=1e-3), name
    assert torch.equal(last[0]["generator"], last[1]["generator"])
    shots = [run.snapshots() for run in (one, other)]
    assert np.allclose(shots[0]["logits"], shots[1]["logits"], atol=0.01)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    d.load("digits", root)
    return root


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def alone(store, data, tell=lambda event: None, **more):
    return loop.train(compose(**(RECIPE | more)), store, data, device="cpu", tell=tell)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """What one process makes of it."""
    return alone(tmp_path_factory.mktemp("whole"), data)


# --- what is equal ----------------------------------------------------------------------------------------------------


def share_of(rank: int, processes: int) -> batches.Batches:
    """The share of batches of 13 from 30 images."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 1), dtype=np.uint8)
    part = d.Part(pixels, np.arange(30) % 3, np.arange(30) % 3, np.arange(30))
    row, stats, cpu = d.DATASETS["digits"], ((0.5,), (0.2,)), torch.device("cpu")
    return batches.Batches(part, row, stats, batch=13, seed=5, device=cpu, rank=rank, processes=processes)


def test_the_shares_of_all_processes_are_the_batch():
    one, *shares = (list(share_of(*which).epoch(2, start=1)) for which in [(0, 1), (0, 4), (1, 4), (2, 4), (3, 4)])
    assert len(one) == 1
    for step, (x, y) in enumerate(one):
        assert [len(share[step][1]) for share in shares] == [3, 3, 3, 4]
        assert torch.equal(torch.cat([share[step][0] for share in shares]), x)
        assert torch.equal(torch.cat([share[step][1] for share in shares]), y)


def test_steps_in_double_precision_are_those_of_one_process(data, tmp_path):
    process = torchrun(__file__, data, tmp_path / "steps.pt", processes=3)
    said = ended(process)
    assert process.returncode == 0, said
    for case, got in zip(CASES, torch.load(tmp_path / "steps.pt"), strict=True):
        want = steps_of(case, data)
        assert got.keys() == want.keys()
        for name, value in want.items():
            assert torch.allclose(got[name], value, rtol=1e-9, atol=1e-9), (case, name)


def test_two_processes_train_the_run_of_one_and_only_the_first_writes(whole, tmp_path, data):
    (tmp_path / "watched.py").write_text(WATCHED)
    store = tmp_path / "store"
    process = torchrun(tmp_path / "watched.py", tmp_path / "wrote", *TRAIN, "--json", "--runs", store, "--data", data)
    said = ended(process)
    assert process.returncode == 0, said
    assert said.count('"state": "finished"') == 1 and not {"null", "{}"} & set(said.splitlines())  # one of them tells
    run = runs.Run(store / whole.id)
    agree(whole, run)
    assert run.record["recipe"] == whole.record["recipe"]
    assert {f.name for f in run.path.rglob("*")} >= {f.name for f in whole.path.rglob("*")} - {"log.txt"}
    lines = [line.split()[1] for line in (run.path / "log.txt").read_text().splitlines() if "  validation " in line]
    assert lines == ["1/2", "2/2"]  # where an epoch takes long there are others between them
    wrote = [(tmp_path / f"wrote-{rank}").read_text() for rank in (0, 1)]
    assert (
        "recipe.json" in wrote[0]
        and "last.pt" in wrote[0]
        and "events.jsonl" in wrote[0]
        and str(store) not in wrote[1]
    )


# --- stopped, killed, gone on with ------------------------------------------------------------------------------------


def test_the_stop_file_stops_both_and_one_process_goes_on(whole, tmp_path, data, gates):
    run = runs.Run(tmp_path / whole.id)
    gates.close(1)
    process = torchrun("-m", "cac_core", *TRAIN, "--runs", tmp_path, "--data", data, gates=gates)
    wait_until(lambda: gates.reached(1), process=process)
    (run.path / "stop").touch()
    gates.open(1)
    said = ended(process)
    assert process.returncode == 0 and run.state == "stopped" and not (run.path / "stop").exists(), said
    assert torch.load(run.path / "last.pt", weights_only=True)["step"] > 0
    agree(whole, alone(tmp_path, data))


def test_sigterm_to_torchrun_saves_what_two_went_on_with(whole, tmp_path, data, gates, monkeypatch):
    monkeypatch.setattr(loop, "BEAT", 0.0)  # an event every batch
    run = alone(tmp_path, data, lambda event: (tmp_path / whole.id / "stop").touch())
    assert run.state == "stopped" and not run.epochs()
    assert torch.load(run.path / "last.pt", weights_only=True)["step"] == 1
    gates.close(1)
    process = torchrun("-m", "cac_core", *TRAIN, "--runs", tmp_path, "--data", data, gates=gates)
    wait_until(lambda: gates.reached(1), process=process)
    process.send_signal(signal.SIGTERM)  # it reaches the two a little later, and opens the gate
    said = ended(process)
    assert run.state == "stopped", said
    last = torch.load(run.path / "last.pt", weights_only=True)
    assert (last["epoch"], last["step"]) == (1, 1)
    agree(whole, alone(tmp_path, data))


def test_a_process_that_is_killed_ends_the_other_and_leaves_what_was_saved(whole, tmp_path, data, gates):
    run = runs.Run(tmp_path / whole.id)
    gates.close(1)  # until torchrun sends SIGTERM to the one that is left
    process = torchrun("-m", "cac_core", *TRAIN, "--runs", tmp_path, "--data", data, gates=gates)
    wait_until(lambda: gates.reached(1), process=process)
    (second,) = (p for p in psutil.Process(process.pid).children() if p.environ().get("RANK") == "1")
    second.kill()
    said = ended(process)
    assert process.returncode != 0 and run.state in {"failed", "lost"}, said
    assert run.state == "lost" or "Another of the processes that train together has ended" in run.status["reason"]
    agree(whole, alone(tmp_path, data))


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_a_batch_that_is_too_small_to_share_is_named():
    assert [len(y) for _, y in share_of(12, 13).epoch(0)] == [1, 1]
    with pytest.raises(ValueError, match=r"A batch of 13 cannot be shared by 14 processes.*--batch at least 14"):
        share_of(0, 14)


def test_processes_that_find_other_images_are_told_so(tmp_path, data):
    for rank in (0, 1):
        shutil.copytree(data, tmp_path / f"data-{rank}")
    (file,) = (tmp_path / "data-1" / ".cache").glob("digits*.npz")
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    pixels = next(name for name in arrays if name.endswith("_pixels"))
    arrays[pixels] = 255 - arrays[pixels]
    np.savez(file, **arrays)
    (tmp_path / "apart.py").write_text(APART)
    process = torchrun(tmp_path / "apart.py", *TRAIN, "--runs", tmp_path / "store", "--data", tmp_path / "data-")
    said = ended(process)
    assert process.returncode != 0 and "do not find the same images of digits" in said
    assert not list((tmp_path / "store").iterdir())


if __name__ == "__main__":  # a process of torchrun, started by test_steps_in_double_precision_...
    with distributed.joined(torch.device("cpu")):
        made = [steps_of(case, Path(sys.argv[1])) for case in CASES]
    if distributed.rank() == 0:
        torch.save(made, sys.argv[2])
