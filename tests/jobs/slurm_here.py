"""Slurm's own daemons on this machine alone: nodes on loopback, in a folder of their own, ended by their process ids.

    python -m tests.jobs.slurm_here FOLDER [NODES]

starts them, says what to export, and ends them on Ctrl-C or SIGTERM.

A node declares more processors than there are, so that several small jobs run at once. Memory is watched by Slurm
itself, every second. There is no accounting: sacct says so.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

CONF = """
ClusterName=here
SlurmctldHost={host}({head})
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=5
UnkillableStepTimeout=60
MessageTimeout=5
MinJobAge={age}
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Why there can be no Slurm here; empty where there can."""
    needed = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
    missing = [name for name in needed if not shutil.which(name, path=PATH)]
    if missing:
        return f"Slurm's daemons are not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    return "" if os.getuid() == 0 else "slurmd wants root"


PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Machine:
    """Where daemons run: its address, and the command that others are started by there."""

    address: str = "127.0.0.1"
    inside: tuple[str, ...] = ()


HERE = Machine()


class Slurm:
    """environment: what its commands want. Its daemons can be ended and started singly; that of a node is slurmd, of
    several nodes slurmd0, slurmd1 and so on. head, far: where the controller runs, and where the nodes do."""

    def __init__(
        self, folder: Path, *, cpus: int = 4, memory: int = 8000, age: int = 300, nodes: int = 1,
        head: Machine = HERE, far: Machine = HERE,
    ):  # fmt: skip
        self.folder, self.processes, self.head, self.far = folder, {}, head, far
        (folder / "state").mkdir(parents=True)
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o600)
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        controller, *ports = _ports(1 + nodes)
        self.host = socket.gethostname().split(".")[0]
        self.nodes = {"slurmd": self.host} if nodes == 1 else {f"slurmd{n}": f"node{n}" for n in range(nodes)}
        lines = [
            f"NodeName={name} NodeHostname={self.host} NodeAddr={far.address} Port={port} CPUs={cpus} "
            f"RealMemory={memory} Gres=gpu:2 State=UNKNOWN"
            for name, port in zip(self.nodes.values(), ports, strict=True)
        ]
        (folder / "slurm.conf").write_text(CONF.format(
            host=self.host, head=head.address, folder=folder, controller=controller, user=getpass.getuser(), age=age,
            nodes="\n".join(lines),
        ))  # fmt: skip
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}

    def start(self, *names: str) -> None:
        """Start these daemons, or all of them."""
        conf = str(self.folder / "slurm.conf")
        inside = {name: str(self.folder / f"munge.{name}") for name in ("socket", "key", "pid", "log", "seed")}
        commands = {
            "munged": ["munged", "--foreground", "--force", f"--socket={inside['socket']}",
                       f"--key-file={inside['key']}", f"--pid-file={inside['pid']}", f"--log-file={inside['log']}",
                       f"--seed-file={inside['seed']}", "--num-threads=2"],
            "slurmctld": [*self.head.inside, "slurmctld", "-D", "-f", conf],
            **{name: [*self.far.inside, "slurmd", "-D", "-f", conf, "-N", node] for name, node in self.nodes.items()},
        }  # fmt: skip
        for name in names or commands:
            with open(self.folder / f"{name}.said", "ab") as said:
                self.processes[name] = subprocess.Popen(
                    commands[name], stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
                    env={**os.environ, **self.environment},
                )  # fmt: skip
            if name == "munged":
                _until(lambda: (self.folder / "munge.socket").exists(), "munged does not listen")

    def until_idle(self, seconds: float = 90) -> None:
        """Wait until every node takes jobs."""
        _until(lambda: set(self.said("sinfo", "-h", "-N", "-o", "%T").split()) <= {"idle", "mixed", "allocated"},
               "a node does not come up", seconds)  # fmt: skip

    def said(self, *command: str) -> str:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env={**os.environ, **self.environment}
        )
        return done.stdout + done.stderr

    def end(self, *names: str, hard: bool = False) -> None:
        """End these daemons, or all of them with what they have started."""
        for name in names or ("slurmctld", *self.nodes, "munged"):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
            try:
                process.wait(8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
            if name in self.nodes:
                self._end_steps(self.nodes[name])

    def _end_steps(self, node: str) -> None:
        """A step of a job outlives slurmd. Those of this one write to its log."""
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error, OSError):
                mine = str(self.folder / f"slurmd.{node}.log")
                if process.name().startswith("slurmstepd") and any(f.path == mine for f in process.open_files()):
                    for one in [*process.children(recursive=True), process]:
                        one.kill()


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def _until(done, what: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)


if __name__ == "__main__":
    here = Slurm(Path(sys.argv[1]).absolute(), nodes=int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        here.start()
        here.until_idle()
        print("\n".join(f"export {name}={value}" for name, value in here.environment.items()), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    finally:
        here.end()
