"""Kills at random moments: does every training end with the weights of one that nothing disturbed?

python benchmarks/faults.py [--rounds 20] [--seed 0]

Each round queues a short training on the digits in a store of its own, from a process that stands for the app's server:
it does what the pages do, submit and ensure_worker, and stays. Then one of the three, trainer, worker or that process,
is killed (SIGKILL) at a random moment. A new worker is started; a job that was lost is resumed. Counted is how many end
finished with the same weights, bit for bit, as an undisturbed training.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import psutil
from safetensors.numpy import load_file

from cac_core import runs
from cac_core.jobs import launch, worker
from cac_core.recipe import compose

SERVER = """
import sys, time
from pathlib import Path
from cac_core.jobs import launch, worker
from cac_core.recipe import compose
store, root = Path(sys.argv[1]), Path(sys.argv[2])
launch.submit_recipe(store, compose(epochs=3, batch=64), root=root)
worker.ensure_worker(store)
time.sleep(600)
"""
VICTIMS = ("trainer", "worker", "server")


def weights(store: Path) -> str:
    (run,) = runs.every(store)
    digest = hashlib.sha256()
    for name, values in sorted(load_file(run.path / "best.safetensors").items()):
        digest.update(name.encode() + values.tobytes())
    return digest.hexdigest()


def processes(store: Path, word: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if word in line and any(str(store) in part for part in line):
            found.append(process)
    return found


def disturbed(place: Path, root: Path, victim: str | None, moment: float) -> tuple[str, str]:
    """What became of the training, and its weights."""
    store = place / "runs"
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(store), str(root)])
    try:
        while not launch.jobs(store):
            time.sleep(0.05)
        time.sleep(moment)
        words = {"trainer": "cac_core.jobs.worker", "worker": "work"}
        if victim == "server":
            os.kill(server.pid, signal.SIGKILL)
        elif victim:
            for process in processes(store, words[victim]):
                process.kill()
        for _ in range(600):
            worker.ensure_worker(store)
            (job,) = launch.jobs(store)
            if job.state in launch.AGAIN:
                launch.resume(job)
            if job.state == "finished":
                return job.state, weights(store)
            time.sleep(0.25)
        return job.state, ""
    finally:
        server.kill()
        server.wait()
        for process in processes(store, "work"):
            process.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    place, draw = Path(tempfile.mkdtemp()), random.Random(a.seed)
    began = time.monotonic()
    state, right = disturbed(place / "undisturbed", place / "data", None, 0)
    length = time.monotonic() - began
    print(machine.described())
    print(f"recipe {compose(epochs=3, batch=64).id}; undisturbed: {state} in {length:.1f} s", flush=True)
    for victim in VICTIMS:
        same, others = 0, []
        for n in range(a.rounds):
            state, found = disturbed(place / f"{victim}-{n}", place / "data", victim, draw.uniform(0, 1.1 * length))
            same += found == right
            if found != right:
                others.append(state)
        rest = f"; the others: {', '.join(others)}" if others else ""
        print(f"{victim:8} killed {a.rounds} times: {same} ended with the same weights{rest}", flush=True)
