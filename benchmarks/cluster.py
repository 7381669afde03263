"""Clusters with their real daemons on this machine: what they cost, and what kills and cuts do to a training on them.

unshare -n sh -c 'ip link set lo up; PYTHONPATH=. python benchmarks/cluster.py slurm [--kills 20] [--cut 60]'
unshare -n sh -c 'ip link set lo up; PYTHONPATH=. python benchmarks/cluster.py ray --ray .../bin/ray [...]'

Each machine is a network namespace, joined to the others by a cable that can be cut; all see one file system. Slurm
(slurm-wlm, munge; as root) is a controller on the app's machine and two nodes on another. Ray, with
RAY_AUTH_MODE=token, is a head without processors on the app's machine and two nodes of one processor on two others.

Measured: from submission to the first epoch, beside a worker of this machine's own queue; the memory of the daemons;
and of one training that is killed again and again, at a random moment of the epoch after the one before (the job's
process, the node with all that runs on it, or the head), whether it ends with the weights of one that nothing
disturbed, bit for bit, on the same number of threads.

--cut: in place of kills, the cable of the node that trains is cut for so many seconds, and then, with the head on
another machine than the app, that of the head. Two trainings are under way: one would end meanwhile, the other later.
Written down is what their jobs were told to be, and when.

--clock=+1d or =-1d: in place of kills, the jobs' clock is so far off the app's, by libfaketime. A training is stopped
by its file and goes on.
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
from collections.abc import Iterable
from pathlib import Path

import machine
import psutil
from faults import weights

from cac_core import runs
from cac_core.jobs import clusters, launch, worker
from cac_core.jobs.engines import Needs
from cac_core.recipe import compose
from tests.jobs.slurm_here import Machine, Slurm

FAKE = """#!/bin/sh
export LD_PRELOAD={library} FAKETIME={clock} NO_FAKE_STAT=1 DONT_FAKE_MONOTONIC=1 PYTHONPATH={code}
exec {python} "$@"
"""
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
NEEDS = Needs(cpus=1, memory=3000)
END = 600  # seconds in which something has to happen
APP = Machine("10.77.0.1")  # where this process is


class Cable:
    """Another machine's network, in a namespace of its own, and the cable that joins it to the app's."""

    def __init__(self, number: int):
        self.name, address = f"cable{number}", f"10.77.0.{number + 1}"
        self.process = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        network = Path(f"/proc/{self.process.pid}/ns/net")
        until(lambda: network.readlink() != Path("/proc/self/ns/net").readlink())
        self.machine = Machine(address, ("nsenter", "-n", "-t", str(self.process.pid)))
        self._ip("link", "add", self.name, "type", "veth", "peer", "name", "far", "netns", str(self.process.pid))
        self._ip("link", "set", self.name, "master", "hub", "up")
        self._ip("addr", "add", f"{address}/24", "dev", "far", there=True)
        for device in ("lo", "far"):
            self._ip("link", "set", device, "up", there=True)

    def _ip(self, *words: str, there: bool = False) -> None:
        subprocess.run([*(self.machine.inside if there else ()), "ip", *words], check=True)

    def cut(self) -> None:
        self._ip("link", "set", self.name, "down")

    def join(self) -> None:
        self._ip("link", "set", self.name, "up")


def cables() -> list[Cable]:
    """Two, from the app's machine to two others."""
    for words in ("link add hub type bridge", f"addr add {APP.address}/24 dev hub", "link set hub up"):
        subprocess.run(["ip", *words.split()], check=True)
    return [Cable(1), Cable(2)]


class SlurmHere:
    """A controller, and two nodes on another machine."""

    kinds = ("job", "node", "head")

    def __init__(self, place: Path, head: Machine, nodes: list[Machine]):
        self.slurm = Slurm(place / "slurm", nodes=2, head=head, far=nodes[0])
        os.environ |= self.slurm.environment
        (place / "clusters.toml").write_text("[slurm]\nengine = 'slurm'\n")
        os.environ["ANCHORSCOPE_CLUSTER"] = str(place / "clusters.toml")
        self.name = "slurm"
        self.slurm.start()
        self.slurm.until_idle()

    def daemons(self) -> list[psutil.Process]:
        return [psutil.Process(process.pid) for process in self.slurm.processes.values()]

    def kill(self, kind: str, host: str) -> None:
        """Kill the head, or the node of that name with all that runs on it; it comes back at once."""
        name = next(n for n, node in self.slurm.nodes.items() if node == host) if kind == "node" else "slurmctld"
        self.slurm.end(name, hard=True)
        self.slurm.start(name)

    def whole_again(self) -> None:
        pass

    def end(self) -> None:
        self.slurm.end()


class RayHere:
    """A head, and nodes that have two processors together; where there are no others, the head has them."""

    kinds = ("job", "node", "head")

    def __init__(self, place: Path, head: Machine, nodes: list[Machine], ray: str):
        self.place, self.ray, self.head, self.nodes = place, ray, head, [one for one in nodes if one != head]
        # by machine: `ray start`, its command, and all that it has started, with their names
        self.processes, self.commands, self.known = {}, {}, {}
        token = place / "token"
        token.write_text(secrets.token_hex(24))
        file = place / "clusters.toml"
        address = f"http://{head.address}:8265"
        file.write_text(f"[boxes]\nengine = 'ray'\naddress = '{address}'\ntoken_file = '{token}'\n")
        os.environ["ANCHORSCOPE_CLUSTER"] = str(file)
        self.name = "boxes"
        self.environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
                            "RAY_JOB_STOP_WAIT_TIME_S": "45", "RAY_JOB_START_TIMEOUT_SECONDS": "604800",
                            "RAY_USAGE_STATS_ENABLED": "0"}  # fmt: skip
        self.start(head, *self.nodes)

    def start(self, *machines: Machine) -> None:
        for one in machines:
            role = [f"--address={self.head.address}:6379", f"--num-cpus={2 // max(len(self.nodes), 1)}"]
            if one == self.head:
                role = ["--head", f"--dashboard-host={one.address}", "--dashboard-port=8265",
                        f"--num-cpus={0 if self.nodes else 2}"]  # fmt: skip
            command = [*one.inside, self.ray, "start", "--block", *role, f"--node-ip-address={one.address}",
                       "--object-store-memory=100000000", f"--temp-dir={self.place / one.address}"]  # fmt: skip
            self.known[one], self.commands[one] = {}, command
            self._begin(one)
            if one == self.head:
                until(lambda: isinstance(self._slots(), clusters.Slots))
        until(lambda: getattr(self._slots(), "cpus", (0, 0))[1] == 2)

    def _begin(self, one: Machine) -> None:
        with open(self.place / "ray.said", "ab") as said:
            self.processes[one] = subprocess.Popen(self.commands[one], stdout=said, stderr=said, env=self.environment)

    def _slots(self) -> object:
        """What the head says is free. Whoever has ended, since the port was still taken or the machine slow, starts
        once more."""
        for one, process in list(self.processes.items()):
            if process.poll() is not None:
                self._begin(one)
        return clusters.slots(self.name, wait=5)

    def under(self, machines: Iterable[Machine]) -> dict[psutil.Process, str]:
        """What lives of all that these have started, jobs too."""
        found = {}
        for one in machines:
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self.processes[one].pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        self.known[one].setdefault(process, process.name())
            found |= {process: name for process, name in self.known[one].items() if process.is_running()}
        return found

    def daemons(self) -> list[psutil.Process]:
        return [process for process in self.under(self.processes) if "ANCHORSCOPE_JOB" not in process.environ()]

    def kill(self, kind: str, host: str) -> None:
        """Kill the node at that address with all that runs on it; or the head, whose nodes, with what runs on them,
        follow by themselves after a minute. Then a new one starts."""
        if kind == "node":
            return self.end(next(one for one in self.nodes if one.address == host))
        every = self.under(self.processes)
        for process, name in every.items():
            if name == "gcs_server":
                process.kill()
        with contextlib.suppress(TimeoutError):
            until(lambda: not any(name == "raylet" and p.is_running() for p, name in every.items()), 180)
        self.end()
        self.start(self.head, *self.nodes)

    def whole_again(self) -> None:
        """Start what has ended: a node of Ray's that its head has given up ends itself."""
        for one in [one for one in self.nodes if one in self.processes and self.processes[one].poll() is not None]:
            self.end(one)
        self.start(*(one for one in self.nodes if one not in self.processes))

    def end(self, *machines: Machine) -> None:
        for one in machines or tuple(self.processes):
            every = self.under([one])
            process = self.processes.pop(one)
            process.kill()
            process.wait(60)
            for child in every:
                with contextlib.suppress(psutil.Error):
                    child.kill()


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

    until(settled, 6 * END)
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
            here.kill(kind, job_of(store).host)
        # a head's death need not be a job's: then it goes on
        at = done_epochs(store)
        until(lambda at=at: job_of(store).state in (*launch.AGAIN, "finished") or done_epochs(store) > at + 1)
        job = job_of(store)
        became[job.state] += 1
        seconds.append(time.monotonic() - began)
        if job.state in launch.AGAIN:
            until(lambda job=job: resumed(job))
        here.whole_again()
    print(f"  told after {statistics.median(seconds):.1f} s (median; {max(seconds):.1f} at most)", flush=True)
    return finished(store), became


def resumed(job: launch.Job) -> bool:
    with contextlib.suppress(OSError, ValueError):  # the head is still coming up
        launch.resume(job)
        return True
    return False


def cut(here, place: Path, cable: Cable, seconds: float, recipes: list) -> list[str]:
    """The weights of trainings one of whose machines is cut off meanwhile; what their jobs were told to be is printed,
    with the seconds after the cut, and whether their processes lived then."""
    stores = [place / recipe.id for recipe in recipes]
    for store, recipe in zip(stores, recipes, strict=True):
        launch.submit_there(store, [recipe], here.name, NEEDS)
    until(lambda: all(job_of(store) and done_epochs(store) for store in stores))
    states, began, joined = ["running" for _ in stores], time.monotonic(), False
    cable.cut()
    while not joined or any(state != "finished" for state in states):
        now = time.monotonic() - began
        if now > seconds and not joined:
            cable.join()
            joined = True
        if now > seconds + END:
            raise TimeoutError
        if joined:
            here.whole_again()
        for n, store in enumerate(stores):
            job = job_of(store)
            if job.state != states[n]:
                alive = ", its process alive" if lives(store, job) else ""
                print(f"  {now:.0f} s: {recipes[n].epochs} epochs {job.state}{alive}. {job.reason}", flush=True)
                states[n] = job.state
            if job.state in launch.AGAIN and joined:
                resumed(job)
    return [weights(store) for store in stores]


def lives(store: Path, job: launch.Job) -> bool:
    """Whether the process of a training is there, whatever its cluster says; all are on one kernel."""
    status = runs.Run(store / job.run).status
    return status["state"] in runs.ALIVE and psutil.pid_exists(status.get("pid", 0))


def clocks(here, place: Path, clock: str) -> None:
    """A training by clocks that are so far off: stopped, gone on with, and what it says of the time that is left."""
    recipe = compose(dataset="digits", epochs=40, batch=64)
    (right,), store = undisturbed(here, place, recipe), place / "clocks"
    python, file = place / "python", Path(os.environ["ANCHORSCOPE_CLUSTER"])
    code = Path(clusters.__file__).parents[2]
    python.write_text(FAKE.format(library=LIBRARY, clock=clock, code=code, python=sys.executable))
    python.chmod(0o755)
    file.write_text(f"{file.read_text()}python = '{python}'\n")
    begun(store, recipe, here.name)
    until(lambda: done_epochs(store) > 5)
    apart = runs.Run(store / job_of(store).run).events()[-1]["time"] - time.time()
    print(f"its clock and the app's are {apart / 86400:.2f} days apart; its job is {job_of(store).state}", flush=True)
    began = time.monotonic()
    launch.stop(job_of(store))
    job = until(lambda: (job := job_of(store)).state == "stopped" and job)
    print(f"stopped after {time.monotonic() - began:.1f} s, by SIGTERM: {job.terminated}", flush=True)
    until(lambda: resumed(job))
    until(lambda: done_epochs(store) > 20)
    event, began = runs.Run(store / job.run).epochs()[-1], time.monotonic()
    found = finished(store)
    print(f"after epoch {event['epoch']} it said {event['seconds_left']:.0f} s left, and ended after "
          f"{time.monotonic() - began:.0f}; the same weights: {found == right}", flush=True)  # fmt: skip


def cost(here, place: Path) -> None:
    memory = sum(process.memory_info().rss for process in here.daemons())
    print(f"{len(here.daemons())} daemons, {memory / 1e6:.0f} MB", flush=True)
    recipe = compose(dataset="digits", epochs=3, batch=64)
    for on in ("", here.name):
        took = []
        for n in range(3):
            took.append(begun(place / f"cost{on}{n}", recipe, on))
            finished(place / f"cost{on}{n}")
        running, epoch = (statistics.median(pair) for pair in zip(*took, strict=True))
        print(f"{on or 'this machine'}: running after {running:.1f} s, first epoch after {epoch:.1f} s", flush=True)


def undisturbed(here, place: Path, *recipes) -> list[str]:
    """The weights of each, of a training of its own that nothing disturbs."""
    stores = [place / "undisturbed" / recipe.id for recipe in recipes]
    for store, recipe in zip(stores, recipes, strict=True):
        if not store.exists():
            begun(store, recipe, here.name)
    return [finished(store) for store in stores]


def kills(here, place: Path, kind: str, count: int, epochs: int, draw: random.Random) -> None:
    """epochs: of the training for each kill; it goes on while a head is down."""
    recipe = compose(dataset="digits", epochs=epochs * count + 10, batch=64)
    (right,) = undisturbed(here, place, recipe)
    found, became = killed(here, place / kind, kind, count, recipe, draw)
    said = ", ".join(f"{state} {times}" for state, times in became.items())
    print(f"{kind} killed {sum(became.values())} times: {said}; the same weights: {found == right}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("slurm", "ray"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", nargs="*", default=("cost", "job", "node", "head"), help="these, by default")
    parser.add_argument("--cut", type=float, metavar="SECONDS", help="cut cables in place of kills")
    parser.add_argument("--clock", metavar="FAKETIME", help="such as +1d: put the jobs' clocks wrong in place of kills")
    parser.add_argument("--epochs", type=int, nargs="*", help="of the two trainings of --cut; for each of the kills")
    parser.add_argument("--ray", default=shutil.which("ray"), help="Ray's command, of any environment")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    a.epochs = a.epochs or ([20, 110] if a.cut else [2])
    os.environ["OMP_NUM_THREADS"] = "1"
    clusters.EVERY = 0.5
    place, draw = Path(tempfile.mkdtemp(prefix="cluster-")), random.Random(a.seed)
    print(machine.described(), sys.version.split()[0], flush=True)
    cable, other = cables()
    both = [cable.machine, other.machine]
    here = None

    def started(name: str, head: Machine, nodes: list[Machine]):
        (place / name).mkdir()
        if a.engine == "slurm":
            return SlurmHere(place / name, head, nodes)
        return RayHere(place / name, head, nodes, a.ray)

    try:
        if a.cut:
            recipes = [compose(dataset="digits", epochs=epochs, batch=64) for epochs in a.epochs]
            for name in [kind for kind in a.kinds if kind in ("node", "head")]:
                if here:
                    here.end()
                here = started(name, APP if name == "node" else cable.machine, both[:1])
                right = undisturbed(here, place, *recipes)
                print(f"the cable of the {name} cut for {a.cut:g} s:", flush=True)
                found = cut(here, place / f"cut {name}", cable, a.cut, recipes)
                print(f"  the same weights: {found == right}", flush=True)
        elif a.clock:
            here = started("clock", APP, both)
            clocks(here, place, a.clock)
        else:
            here = started("kills", APP, both)
            for kind in a.kinds:
                if kind == "cost":
                    cost(here, place)
                else:
                    kills(here, place, kind, a.kills, a.epochs[0], draw)
    finally:
        if here:
            here.end()
        for one in (cable, other):
            one.process.kill()
