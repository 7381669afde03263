"""From 1 to 1000 nodes: trainings an hour by simulation from measured parts, and what limits them first.

PYTHONPATH=. python benchmarks/scaling.py [--runs 1 60 500] [--minutes 1 60] [--epochs 100]

Measured, with the real code: what the app takes to hand runs to Slurm (its daemons, as root; jobs that are held), and
to ask what became of them; beside it what sbatch and squeue take alone; and by strace which file system operations a
training of the digits makes, and where: in the run's folder, in the queue's, in Python's own.

Simulated: N nodes on one shared file system, each with one training after the other. Its server does one thing at a
time, so many operations a second: every open, look, rename, removal, lock and sync is one, as is each MB that is read
or written. That leaves out the caches of the nodes, which is the worse for it. Whether Python and
torch lie there as well is the other choice: their start is most of all operations. The training itself takes as long
on every node, and the app hands over what is to be done in arrays.
"""

import argparse
import heapq
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import machine

from cac_core.jobs import clusters, launch
from cac_core.jobs.engines import Needs
from cac_core.recipe import compose
from tests.jobs.slurm_here import Slurm

CALLS = {
    "open": ("open", "openat", "creat"), "look": ("stat", "lstat", "newfstatat", "statx", "access", "faccessat",
    "faccessat2", "readlink", "readlinkat", "getdents64", "statfs"),
    "change": ("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate"),
    "sync, lock": ("fsync", "fdatasync", "flock", "fcntl"), "read": ("read", "pread64", "readv"),
    "write": ("write", "pwrite64", "writev"),
}  # fmt: skip
KIND = {call: kind for kind, calls in CALLS.items() for call in calls}
MB = 1e6
RATES = (1000, 5000, 20000)  # operations a second: a small NFS server, a good one, a parallel file system
NODES = (1, 10, 30, 100, 300, 1000)


@dataclass
class Done:
    """File system operations at one place in one part of a training."""

    calls: Counter
    moved: int = 0  # bytes

    @property
    def operations(self) -> float:
        return sum(n for kind, n in self.calls.items() if kind not in ("read", "write")) + self.moved / MB


def traced(place: Path, epochs: int) -> tuple[dict[tuple[str, str], Done], float]:
    """(part, where) -> what a training did there; and its seconds without strace. Parts: start, epoch, end."""
    recipe, store = compose(dataset="digits", epochs=epochs, batch=64), place / "runs"
    launch.submit_recipe(store, recipe)
    (store / ".queue/recipes").mkdir(exist_ok=True)
    train = [sys.executable, "-m", "cac_core", "train", "--recipe", str(store / f".queue/recipes/{recipe.id}.json"),
             "--runs"]  # fmt: skip
    began = time.monotonic()
    subprocess.run([*train, str(place / "untraced")], check=True, capture_output=True)
    seconds = time.monotonic() - began
    wanted = ["-f", "-y", "-qq", "-s", "100", "-e", "signal=none", "-e", f"trace={','.join(sorted(KIND))}"]
    subprocess.run(["strace", *wanted, "-o", str(place / "trace"), *train, str(store)], check=True, capture_output=True)
    found, done = {}, 0
    for line in (place / "trace").read_text(errors="replace").splitlines():
        if not (call := re.match(r"\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", line)) or call[1] not in KIND:
            continue
        path = re.search(r'"(/[^"]*)"', line) or re.search(r"\(\d+<(/[^>]*)>", line)
        where = place_of(path[1], store) if path else ""
        if where:
            part = "start" if done == 0 else "end" if done == epochs else "epoch"
            one = found.setdefault((part, where), Done(Counter()))
            one.calls[KIND[call[1]]] += 1
            if KIND[call[1]] in ("read", "write") and (count := re.search(r"= (\d+)$", line)):
                one.moved += int(count[1])
        done += r"\"kind\": \"epoch\"" in line and "events.jsonl" in line
    for (part, _), one in found.items():
        if part == "epoch":  # between the first and the last
            one.calls = Counter({kind: round(n / (epochs - 1), 1) for kind, n in one.calls.items()})
            one.moved /= epochs - 1
    return found, seconds


def place_of(path: str, store: Path) -> str:
    if path.startswith(str(store)):
        return "the queue" if path.startswith(str(store / ".queue")) else "the run"
    ours = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))
    return "Python" if path.startswith(ours) else ""


def handed_over(place: Path, counts: list[int]) -> tuple[float, float]:
    """Seconds of the app, by run, to hand over the most of these, and to ask what became of one of them."""
    here = Slurm(place / "slurm")
    os.environ |= here.environment
    (place / "clusters.toml").write_text("[here]\nengine = 'slurm'\noptions = ['--hold']\n")
    os.environ["ANCHORSCOPE_CLUSTER"] = str(place / "clusters.toml")
    clusters.EVERY = 0.0
    try:
        here.start()
        here.until_idle()
        for count in counts:
            store = place / f"runs{count}"
            recipes = [compose(dataset="digits", seed=seed) for seed in range(count)]
            began = time.monotonic()
            launch.submit_there(store, recipes, "here", Needs(memory=100))
            handed = time.monotonic() - began
            began = time.monotonic()
            launch.settle(store, wait=60)
            first = time.monotonic() - began
            began = time.monotonic()
            launch.settle(store, wait=60)
            asked = time.monotonic() - began
            began = time.monotonic()
            array = ["--array", f"0-{count - 1}"] if count > 1 else []
            subprocess.run(["sbatch", "--hold", *array], input="#!/bin/sh\ntrue\n", text=True, check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
            alone = time.monotonic() - began
            began = time.monotonic()
            here.said("squeue", "-h", "-r", "--states=all")
            squeue = time.monotonic() - began
            print(f"{count} runs: handed over in {handed:.2f} s (sbatch alone {alone:.2f}); what became of them "
                  f"{first:.2f} s, then {asked:.2f} (squeue alone {squeue:.2f})", flush=True)  # fmt: skip
    finally:
        here.end()
    return handed / counts[-1], asked / counts[-1]


@dataclass(frozen=True)
class Load:
    """A training as the cluster sees it: seconds of computing by epoch, and operations of the file system."""

    epochs: int
    epoch: float  # seconds
    at_start: float
    by_epoch: float
    at_end: float


def simulated(nodes: int, load: Load, rate: float, handing: float, rounds: int = 3) -> dict[str, float]:
    """So many trainings on each node, one after the other. Shares of the time in which each resource was busy.

    The file system's server is one queue, served in the order of arrival; so is the app that hands over.
    """
    total = nodes * rounds
    free, busy, app, ended, submitted, computed = 0.0, 0.0, 0.0, 0.0, 0, 0.0
    events = [(0.0, node, -1) for node in range(nodes)]  # when a node wants what: the start, after an epoch, the end
    while events:
        now, node, done = heapq.heappop(events)
        if done == -1:
            if submitted == total:
                continue
            submitted += 1
            app += handing
            if app > now:  # not handed over yet
                heapq.heappush(events, (app, node, -2))
                continue
        wanted = load.at_start if done < 0 else load.by_epoch if done < load.epochs else load.at_end
        free = max(free, now) + wanted / rate
        busy += wanted / rate
        if done == load.epochs:
            ended = free
            heapq.heappush(events, (free, node, -1))
        else:
            computed += load.epoch
            heapq.heappush(events, (free + load.epoch, node, max(done, 0) + 1))
    return {"an hour": 3600 * total / ended, "computing": computed / (nodes * ended), "file system": busy / ended,
            "app": app / ended}  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="*", default=[1, 60, 500], help="handed over in one go")
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 60], help="that a training computes")
    parser.add_argument("--epochs", type=int, default=100, help="in which it does so")
    a = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    place = Path(tempfile.mkdtemp(prefix="scaling-"))
    print(machine.described(), flush=True)
    handing, _ = handed_over(place, a.runs)
    found, seconds = traced(place, 20)
    print(f"a training of 20 epochs of the digits ({seconds:.0f} s):")
    for (part, where), one in sorted(found.items(), key=lambda item: ("start epoch end".index(item[0][0]), item[0])):
        calls = ", ".join(f"{kind} {n:g}" for kind, n in sorted(one.calls.items()))
        print(f"  {part:5} {where:9} {calls}; {one.moved / MB:.2f} MB", flush=True)
    print("python  minutes  rate/s " + "".join(f"{n:>16}" for n in NODES) + "   nodes: trainings an hour, computing")
    for shared in (False, True):
        part = {name: sum(one.operations for (p, where), one in found.items() if p == name
                          and (shared or where != "Python")) for name in ("start", "epoch", "end")}  # fmt: skip
        for minutes in a.minutes:
            load = Load(a.epochs, 60 * minutes / a.epochs, part["start"], part["epoch"], part["end"])
            for rate in RATES:
                line = []
                for nodes in NODES:
                    said = simulated(nodes, load, rate, handing)
                    most = max(("file system", "app"), key=said.get)
                    mark = "" if said["computing"] > 0.9 else f" {most[0]}"
                    line.append(f"{said['an hour']:.0f}, {said['computing']:.0%}{mark}")
                print(f"{'there' if shared else 'local':6}{minutes:9g}{rate:8}" + "".join(f"{x:>16}" for x in line))
