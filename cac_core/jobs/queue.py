"""The queue: jobs as files.

<store>/.queue/
    <id>.json         a job: what to run, for which run, on which device, and how far it is
    <id>.lock         held by the job's process from before it says "running" until it ends
    <id>.log          what that process said
    recipes/<run>.json    what is to be trained, for `train --recipe`, until that has finished or the job is removed
    decisions.lock    held for a moment by whoever decides; every job is read, judged and written under it
    worker.lock  worker.log   held, and written, by the worker

States: queued, starting, running, stopping, unreachable; finished, failed, stopped, lost; broken is a file that is
no job.

Whether a process lives is asked of the kernel, not of a clock or of a pid that may be somebody else's by now: a worker
waits for its own children, and others live as long as their lock is held. While there is a worker it alone says what
became of a job; without one, whoever looks.

A claim ("starting") is written before the process starts, with the number of the attempt, and a process goes to work
only where the record still says so. So after a crash between any two writes either the job goes back to the queue, or
its process has written that it runs, and the next worker finds it by its lock.

The time of day is only shown ("submitted"). How long a stop has been waited for is told by time.monotonic(), which all
processes of a machine share; a process is told from a later one of the same pid by the seconds from the machine's start
to its own. Nobody sets either clock.

A job may be a cluster's instead (`on`): see engines. Its record stands here as well, and everything above is then the
cluster's to say: it owns the queue, and knows whether and where the job lives; while it does not answer, the job is
unreachable. What is written here is what the cluster said last, to whoever looked. Of two machines neither the clocks
nor the pids say anything to each other, so how long a stop has been waited for is told by the file system's own time.
Standard library, psutil and filelock.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import filelock

from cac_core import files, records, runs
from cac_core.jobs import clusters
from cac_core.jobs.engines import USUAL, Needs
from cac_core.recipe import known_name
from cac_core.records import Unfit, Within
from cac_core.sentences import say

KINDS = ("train", "eval", "sweep", "map", "ensemble", "fetch", "look", "score", "export")
UNDER_WAY = ("starting", "running", "stopping", "unreachable")
AGAIN = ("stopped", "failed", "lost")  # what can go back to the queue
STATES = ("queued", *UNDER_WAY, "finished", *AGAIN, "broken")
ID = re.compile(r"\d{6,}-[0-9a-f]{6}")
NET = "net"  # the slot of downloads: they keep neither a processor nor a card from training
USE = "use"  # and of what a threshold is used for, so that it does not wait for trainings
SLOT_OF = {"fetch": NET, "score": USE, "export": USE}
AWAY = "away"  # the slot of a cluster's jobs: they keep nothing here from anything
DEVICE = re.compile(rf"cpu|cuda:\d{{1,3}}|{NET}|{USE}|{AWAY}")
TICKET = re.compile(r"[\w.-]{1,100}")
WAIT = 30.0  # seconds that anybody waits for a lock which is only ever held for a moment


class ReadOnly(ValueError):
    """Something was to be changed where ANCHORSCOPE_READONLY says that this may not be."""


@dataclass(frozen=True)
class Job:
    """A job as its file says it. Jobs sort by id in the order they came."""

    path: Path
    kind: str
    arguments: tuple[str, ...]  # what comes after python -m cac_core. Paths among them are absolute
    run: str = ""  # the id of the run it works on; two jobs on one run are never under way together
    device: str = "cpu"
    priority: int = 0  # higher first
    submitted: float = 0.0  # time of day
    state: str = "queued"
    attempt: int = 0  # how often it was claimed
    pid: Annotated[int, Within(0, 2**31 - 1)] = 0
    process_started: float = 0.0  # seconds after the machine's start
    host: str = ""
    asked: float = 0.0  # when it was asked to stop, by time.monotonic(); of a cluster's job by the file system's time
    terminated: bool = False  # whether SIGTERM has been sent
    exit_code: int | None = None  # -9 is the end by signal 9
    reason: str = ""
    on: str = ""  # the cluster that it was given to; empty is this machine
    ticket: str = ""  # by which that knows it
    needs: Needs = USUAL  # what that was asked for
    missed: float = 0.0  # since when the cluster has not known it, by the file system's time

    @property
    def where(self) -> str:
        """This machine's device, or the cluster and, once that has said it, the machine there."""
        return f"{self.on} ({self.host})" if self.on and self.host else self.on or self.device

    @property
    def part(self) -> str:
        """Which part of many images it judges, as 3/16; empty where it does not."""
        return dict(itertools.pairwise(self.arguments)).get("--part", "")

    @property
    def id(self) -> str:
        return self.path.stem

    @property
    def store(self) -> Path:
        return self.path.parents[1]

    def beside(self, ending: str) -> Path:
        return self.path.with_suffix(ending)


@contextlib.contextmanager
def deciding(store: Path) -> Iterator[Path]:
    """The queue's folder, while nobody else decides or writes there. Raises ReadOnly where this may not either."""
    check_writable()
    queue = queue_of(store)
    queue.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(queue / "decisions.lock", timeout=WAIT):
        yield queue


def has_worker(store: Path) -> bool:
    """Whether a worker is at work on this store."""
    return held(queue_of(store) / "worker.lock")


def held(lock: Path, *, seconds: float = 0) -> bool:
    """Whether a process holds this lock for so long; it is taken to be so where that cannot be told."""
    if not lock.exists():
        return False
    try:
        with filelock.FileLock(lock, timeout=seconds):
            return False
    except OSError:  # filelock.Timeout is one
        return True


def queue_of(store: Path) -> Path:
    return store.absolute() / ".queue"


def files_in(queue: Path) -> list[Path]:
    try:
        return [queue / name for name in files.listed(queue).files if name.endswith(".json")]
    except ValueError:  # a queue that somebody else closed
        return []


def read(path: Path) -> Job:
    """The job in a file; one in state "broken" where it is none. Raises FileNotFoundError where there is no file."""
    try:
        if not ID.fullmatch(path.stem):
            raise Unfit(say("it is not the record of a job"))
        job = records.read(path, Job, path=path)
        checked(job)
        return job
    except FileNotFoundError as error:
        raise FileNotFoundError(say("There is no job {job!r} any more.", job=path.stem)) from error
    except (OSError, ValueError) as error:
        reason = say("{file} cannot be read ({error}). Remove it.", file=path, error=error)
        return Job(path, "", (), state="broken", reason=reason)


def checked(job: Job) -> None:
    """Raises ValueError where a job, ours or from a file, is none, or would become a path that leads elsewhere."""
    records.fitted(_record(job), Job, path=job.path)
    known_name(job.kind, KINDS, say("kind of job"))
    known_name(job.state, STATES, say("state"))
    if job.run and not runs.ID.fullmatch(job.run):
        raise ValueError(say("{run!r} is no run id: those are of small letters, digits and dashes.", run=job.run))
    if not DEVICE.fullmatch(job.device):
        raise ValueError(
            say("{device!r} is no device of a queue; those are cpu, cuda:0, cuda:1 and so on.", device=job.device)
        )
    if job.on and not (clusters.NAME.fullmatch(job.on) and (not job.ticket or TICKET.fullmatch(job.ticket))):
        raise ValueError(say("{on!r} is no name of a cluster, or {ticket!r} no ticket.", on=job.on, ticket=job.ticket))
    if min(vars(job.needs).values()) < 0:
        raise ValueError(say("A job cannot ask for less than nothing."))
    if not job.arguments or any("\0" in word for word in job.arguments):
        raise ValueError(say("A job's arguments are words, at least one, not {arguments!r}.", arguments=job.arguments))


def _record(job: Job) -> dict[str, Any]:
    told = {name: value for name, value in vars(job).items() if name != "path"}
    return told | {"arguments": list(job.arguments), "needs": vars(job.needs)}


def write(job: Job) -> Job:
    runs.write_json(job.path, _record(job))
    return job


def whole(job: Job) -> Job:
    """The job itself. Raises ValueError where it could not be read."""
    if job.state == "broken":
        raise ValueError(job.reason)
    return job


def queued_again(job: Job) -> Job:
    kept = (job.path, job.kind, job.arguments, job.run, job.device, job.priority, job.submitted)
    return Job(*kept, attempt=job.attempt, on=job.on, needs=job.needs)


def read_only() -> bool:
    return os.environ.get("ANCHORSCOPE_READONLY", "") not in ("", "0")


def check_writable() -> None:
    """Raises ReadOnly in a show."""
    if read_only():
        raise ReadOnly(say(
            "Here one can look at everything and change nothing: this Anchorscope was started with "
            "ANCHORSCOPE_READONLY set. Start it without, on a machine of your own, to train and to stop."
        ))  # fmt: skip


def stop_file(job: Job) -> Path:
    return job.store / job.run / "stop"


def recipe_file(queue: Path, run: str) -> Path:
    return queue / "recipes" / f"{run}.json"


def drop_recipe(job: Job) -> None:
    """Forget what a job was to train, unless another that could still be started asks for it. The run keeps its own."""
    file = recipe_file(job.path.parent, job.run)
    if job.kind == "train" and job.run and file.exists():
        others = [read(path) for path in files_in(job.path.parent) if path != job.path]
        if not any(str(file) in other.arguments and other.state != "finished" for other in others):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def log(job: Job, *, last: int = 100) -> str:
    """The last lines of what the job's process said; empty where it has not begun."""
    said = ""
    with contextlib.suppress(OSError, Unfit), records.opened(job.beside(".log")) as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 400 * last, 0))
        said = file.read().decode("utf-8", "replace")
    return "\n".join(said.splitlines()[-last:])
