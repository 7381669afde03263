"""Clusters with their real daemons on this machine: what they cost, and what kills do to a training on them.

PYTHONPATH=. python benchmarks/cluster.py slurm [--kills 20]
unshare -n sh -c 'ip link set lo up; PYTHONPATH=. python benchmarks/cluster.py ray --ray .../bin/ray [--kills 20]'

Slurm is one node (slurm-wlm, munge; as root). Ray is a head with two processors and RAY_AUTH_MODE=token, in a network
of its own, since it listens on every address. Measured: from submission to the first epoch, beside a worker of this
machine's own queue; the memory of the daemons; and of one training that is killed again and again, at a random moment
of the epoch after the one before (the job's process, the node with all that runs on it, or the head), whether it ends
with the weights of one that nothing disturbed, bit for bit, on the same number of threads.
"""

import argparse
import contextlib
import os
import random
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import machine
import psutil
from faults import weights

from cac_core import runs
from cac_core.jobs import clusters, launch, worker
from cac_core.jobs.engines import Needs
from cac_core.recipe import compose
from tests.jobs.slurm_here import Slurm

NEEDS = Needs(cpus=1, memory=3000)
END = 600  # seconds in which something has to happen


class SlurmHere:
    """One node of Slurm's; victims: how each is killed and comes back."""

    kinds = ("job", "node", "head")

    def __init__(self, place: Path):
        self.slurm = Slurm(place / "slurm")
        os.environ |= self.slurm.environment
        os.environ["ANCHORSCOPE_CLUSTER"] = "slurm"
        self.name = "slurm"
        self.slurm.start()
        self.slurm.until_idle()

    def daemons(self) -> list[psutil.Process]:
        return [psutil.Process(process.pid) for process in self.slurm.processes.values()]

    def kill(self, kind: str) -> None:
        if kind == "node":
            self.slurm.end("slurmd", hard=True)  # its steps, too
            self.slurm.start("slurmd")
        else:
            self.slurm.end("slurmctld", hard=True)
            self.slurm.start("slurmctld")

    def end(self) -> None:
        self.slurm.end()


class RayHere:
    """A Ray head that is a node as well."""

    kinds = ("job", "head")

    def __init__(self, place: Path, ray: str):
        self.place, self.ray, self.process, self.known = place, ray, None, {}
        token = place / "token"
        token.write_text(secrets.token_hex(24))
        file = place / "clusters.toml"
        file.write_text(f"[boxes]\nengine = 'ray'\naddress = 'http://127.0.0.1:8265'\ntoken_file = '{token}'\n")
        os.environ["ANCHORSCOPE_CLUSTER"] = str(file)
        self.name = "boxes"
        self.environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
                            "RAY_JOB_STOP_WAIT_TIME_S": "45", "RAY_JOB_START_TIMEOUT_SECONDS": "604800",
                            "RAY_USAGE_STATS_ENABLED": "0"}  # fmt: skip
        self.start()

    def start(self) -> None:
        command = [self.ray, "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=2",
                   "--dashboard-host=127.0.0.1", "--dashboard-port=8265",
                   f"--temp-dir={self.place / 'ray'}"]  # fmt: skip
        with open(self.place / "ray.said", "ab") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said, env=self.environment)
        until(lambda: getattr(clusters.slots(self.name, wait=5), "cpus", (0, 0))[1] == 2)

    def daemons(self) -> list[psutil.Process]:
        """All that this head has started, but for the jobs."""
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "ANCHORSCOPE_JOB" not in process.environ():
                        self.known.setdefault(process, process.name())
        return [process for process in self.known if process.is_running()]

    def kill(self, kind: str) -> None:
        """Kill the head; its node, with what runs on it, follows by itself after a minute. Then a new one starts."""
        for process in self.daemons():
            if self.known[process] == "gcs_server":
                process.kill()
        with contextlib.suppress(TimeoutError):
            until(lambda: not any(self.known[process] == "raylet" for process in self.daemons()), 180)
        self.end()
        self.start()

    def end(self) -> None:
        for process in self.daemons():
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.kill()
        self.process.wait(60)


def until(done, seconds: float = END):
    end = time.monotonic() + seconds
    while not (value := done()):
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
    return value


def job_of(store: Path) -> launch.Job:
    (job,) = launch.settle(store, wait=5)
    return job


def done_epochs(store: Path) -> int:
    (job,) = launch.jobs(store)
    return max((event["epoch"] for event in runs.Run(store / job.run).epochs()), default=0)


def begun(store: Path, recipe, on: str) -> tuple[float, float]:
    """Seconds from before the submission to "running", and to the end of the first epoch."""
    began = time.monotonic()
    if on:
        launch.submit_there(store, [recipe], on, NEEDS)
    else:
        launch.submit_recipe(store, recipe)
        worker.ensure_worker(store)
    until(lambda: job_of(store).state == "running")
    running = time.monotonic() - began
    until(lambda: done_epochs(store))
    return running, time.monotonic() - began


def finished(store: Path) -> str:
    """Look after the job until it has finished, as somebody who clicks "Go on" does; its weights."""

    def settled() -> bool:
        job = job_of(store)
        if job.state in launch.AGAIN:
            launch.resume(job)
        return job.state == "finished"

    until(settled)
    return weights(store)


def killed(here, store: Path, kind: str, kills: int, recipe, draw: random.Random) -> tuple[str, Counter]:
    """The weights of a training that is killed so often, and what its job was said to be after each kill."""
    begun(store, recipe, here.name)
    became, seconds = Counter(), []
    for n in range(kills):
        before = done_epochs(store)
        until(lambda before=before: done_epochs(store) > before or job_of(store).state == "finished")
        if job_of(store).state == "finished":
            print(f"  finished after {n} kills", flush=True)
            break
        time.sleep(draw.uniform(0, 0.6))
        began = time.monotonic()
        if kind == "job":
            with contextlib.suppress(ProcessLookupError):
                os.kill(runs.Run(store / job_of(store).run).status["pid"], signal.SIGKILL)
        else:
            here.kill(kind)
        # a head's death need not be a job's: then it goes on
        at = done_epochs(store)
        until(lambda at=at: job_of(store).state in (*launch.AGAIN, "finished") or done_epochs(store) > at + 1)
        job = job_of(store)
        became[job.state] += 1
        seconds.append(time.monotonic() - began)
        if job.state in launch.AGAIN:
            until(lambda job=job: resumed(job))
    print(f"  told after {statistics.median(seconds):.1f} s (median; {max(seconds):.1f} at most)", flush=True)
    return finished(store), became


def resumed(job: launch.Job) -> bool:
    with contextlib.suppress(OSError, ValueError):  # the head is still coming up
        launch.resume(job)
        return True
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("slurm", "ray"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", nargs="*", help="job, node (Slurm alone), head; all by default")
    parser.add_argument("--ray", default=shutil.which("ray"), help="Ray's command, of any environment")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    clusters.EVERY = 0.5
    place, draw = Path(tempfile.mkdtemp(prefix="cluster-")), random.Random(a.seed)
    print(machine.described(), sys.version.split()[0], flush=True)
    here = SlurmHere(place) if a.engine == "slurm" else RayHere(place, a.ray)
    try:
        memory = sum(process.memory_info().rss for process in here.daemons())
        print(f"{len(here.daemons())} daemons, {memory / 1e6:.0f} MB", flush=True)
        recipe = compose(dataset="digits", epochs=3, batch=64)
        for on in ("", here.name):
            took = [begun(place / f"cost{on}{n}", recipe, on) for n in range(3)]
            for n in range(3):
                finished(place / f"cost{on}{n}")
            running, epoch = (statistics.median(pair) for pair in zip(*took, strict=True))
            print(f"{on or 'this machine'}: running after {running:.1f} s, first epoch after {epoch:.1f} s", flush=True)
        recipe = compose(dataset="digits", epochs=2 * a.kills + 10, batch=64)
        begun(place / "undisturbed", recipe, here.name)
        right = finished(place / "undisturbed")
        for kind in a.kinds or here.kinds:
            found, became = killed(here, place / kind, kind, a.kills, recipe, draw)
            said = ", ".join(f"{state} {count}" for state, count in became.items())
            print(f"{kind} killed {sum(became.values())} times: {said}; the same weights: {found == right}", flush=True)
    finally:
        here.end()
