"""Two nodes of Slurm's own daemons: one training on both, and the worker that looks after what is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from cac_core import runs
from cac_core.jobs import clusters, engines, launch, queue
from cac_core.jobs.engines import Needs
from cac_core.jobs.ray import Ray
from cac_core.recipe import compose
from tests.waiting import LONG, wait_until

TOGETHER = Needs(memory=3000, nodes=2)


def become(needs: Needs, *arguments: str) -> str:
    """The last line of what the shell there is told."""
    seal, log = Path("/store/1.ticket"), Path("/store/1.log")
    return engines.shell("T-1", seal, log, arguments, "/there/python", "", {}, needs).splitlines()[-1]


def test_a_training_is_one_process_for_each_card_or_node_and_nothing_else_is_several():
    assert become(Needs(gpus=1), "train", "--seed", "1") == "exec /there/python -m cac_core train --seed 1"
    assert become(Needs(gpus=4, nodes=2), "score", "run") == "exec /there/python -m cac_core score run"
    cards = "exec /there/python -m torch.distributed.run --nproc-per-node 4 --standalone -m cac_core train"
    assert become(Needs(gpus=4), "train") == cards
    line = become(Needs(cpus=8, gpus=4, nodes=3), "train", "--recipe", "a b.json")
    assert line.startswith("exec srun --ntasks-per-node=1 --cpus-per-task=8 ")
    for words in ("--nproc-per-node 4 --nnodes 3", '--node-rank "$SLURM_NODEID"'):
        assert words in line
    assert line.count("a b.json") == 1


def test_ray_refuses_what_needs_several_machines():
    with pytest.raises(ValueError, match="one machine"):
        Ray("http://127.0.0.1:9").submit([], Needs(nodes=2))


def test_how_many_nodes_is_said_by_a_file_or_a_flag(tmp_path, monkeypatch):
    (tmp_path / "clusters.toml").write_text("[gpu]\nengine = 'slurm'\nnodes = 2\n")
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "clusters.toml"))
    usual = clusters.find("gpu").needs
    assert usual.nodes == 2
    assert clusters.needs_of(nodes="3", usual=usual).nodes == 3
    with pytest.raises(ValueError, match="nodes"):
        clusters.needs_of(nodes="0", usual=usual)


def state_of(store: Path, job: launch.Job) -> str:
    return next(one.state for one in launch.settle(store, wait=LONG) if one.id == job.id)


@pytest.mark.long
def test_two_nodes_train_one_run_and_stop_and_go_on(slurm, tmp_path, monkeypatch):
    said = tmp_path / "said"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$SLURMD_NODENAME $*" >> {said}\nPYTHONPATH={Path(__file__).parents[2]} '
                      f'exec {sys.executable} "$@"\n')  # fmt: skip
    python.chmod(0o755)
    (tmp_path / "clusters.toml").write_text(f"[both]\nengine = 'slurm'\npython = '{python}'\n")
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "clusters.toml"))
    store, recipe = tmp_path / "runs", compose(dataset="digits", epochs=1_000_000)
    (job,) = launch.submit_there(store, [recipe], "both", TOGETHER, root=tmp_path / "data")
    run = runs.Run(store / job.run)
    try:
        wait_until(lambda: list(run.epochs()), "it does not train")
        (job,) = launch.settle(store, wait=LONG)
        assert job.state == "running"
        assert job.host == "node[0-1]"
        started = [line.split() for line in said.read_text().splitlines() if "torch.distributed.run" in line]
        ranks = {words[0]: words[words.index("--node-rank") + 1] for words in started}
        assert ranks == {"node0": "0", "node1": "1"}
        launch.stop(job)
        wait_until(lambda: state_of(store, job) == "stopped", "it does not stop")
        done = len(list(run.epochs()))
        launch.resume(job)
        wait_until(lambda: len(list(run.epochs())) > done, "it does not go on")
    finally:
        slurm.said("scancel", "--full", "--signal=KILL", "--user=root")
        slurm.said("scancel", "--user=root")
    wait_until(lambda: state_of(store, job) in launch.AGAIN, "it is not told that it has ended")


@pytest.mark.long
def test_the_worker_writes_down_what_became_of_a_clusters_jobs(slurm, tmp_path):
    store = tmp_path / "runs"
    command = [sys.executable, "-m", "cac_core", "work", "--runs", str(store)]
    with open(tmp_path / "said", "wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        wait_until(lambda: queue.has_worker(store), "no worker")
        (job,) = launch.hand_over(store, "eval", [["runs", "--runs", str(store)]], "slurm", Needs(memory=1000))
        wait_until(lambda: queue.read(job.path).state == "finished", "nobody writes that it has finished")
        wait_until(lambda: f"{job.id} finished on slurm." in (tmp_path / "said").read_text(), "nobody is told")
    finally:
        process.terminate()
        process.wait(LONG)


def test_what_is_no_training_is_handed_over_to_one_node(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", "slurm")
    monkeypatch.setattr("cac_core.jobs.slurm.Slurm.submit", lambda self, tasks, needs: asked.append(needs))
    launch.hand_over(tmp_path, "score", [["score", "run"]], "slurm", TOGETHER)
    assert [needs.nodes for needs in asked] == [1]
