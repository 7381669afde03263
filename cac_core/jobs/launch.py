"""The launcher: a queue of jobs as files, and a worker that starts each job as a process of its own.

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
import math
import os
import re
import runpy
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import filelock
import psutil

from cac_core import files, records, runs
from cac_core.jobs import clusters, engines
from cac_core.jobs.engines import USUAL, Needs, Seen, Task, Unreachable
from cac_core.recipe import Recipe, known_name, slug
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
PATIENCE = (15.0, 30.0)  # seconds: from a training's stop file to SIGTERM; from SIGTERM to the end of the whole group
WAIT = 30.0  # seconds that anybody waits for a lock which is only ever held for a moment
SOON = 1.0  # seconds that whoever looks waits for a cluster's answer; a later one is taken by whoever looks then
UNKNOWN = 90.0  # seconds after which a job that its cluster does not know is lost: a head that came back may have
# forgotten a training that lives on for a minute
IDLE = 600.0  # seconds after which a worker that the app started ends where nothing is queued and nothing runs


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
        return self.on or self.device

    @property
    def id(self) -> str:
        return self.path.stem

    @property
    def store(self) -> Path:
        return self.path.parents[1]

    def beside(self, ending: str) -> Path:
        return self.path.with_suffix(ending)


# --- what a user does ------------------------------------------------------------------------------------------------


def submit(
    store: Path, kind: str, arguments: list[str], *, run: str = "", device: str = "cpu", priority: int = 0
) -> Job:
    """Put a job into the queue; where the same one, or a training of the same run, waits or runs already, that one.

    Kinds in SLOT_OF have a slot of their own, whatever the device. Raises ValueError for what is no job, OSError where
    it cannot be written; nothing is left behind then.
    """
    with _deciding(store) as queue:
        return _submitted(queue, kind, arguments, run, device, priority)


def _submitted(
    queue: Path, kind: str, arguments: list[str], run: str, device: str, priority: int, on: str = "",
    needs: Needs = USUAL,
) -> Job:  # fmt: skip
    taken = [int(path.stem.split("-")[0]) for path in _files(queue) if ID.fullmatch(path.stem)]
    name = f"{max(taken, default=0) + 1:06}-{secrets.token_hex(3)}"
    device = SLOT_OF.get(kind, device)
    file, now = queue / f"{name}.json", round(time.time(), 3)
    new = Job(file, kind, tuple(arguments), run, device, priority, now, on=on, needs=needs)
    _check(new)
    return _same(new) or _write(new)


def submit_recipe(
    store: Path,
    recipe: Recipe,
    *,
    root: Path | None = None,
    device: str = "cpu",
    priority: int = 0,
    again: bool = False,
) -> Job:
    """Put the training of a recipe into the queue; root is where the data sets are.

    again: a run of it whose images have changed since goes to the trash first, when the job begins.
    """
    with _deciding(store) as queue:
        return _submitted_training(queue, recipe, root, again, device, priority)


def _submitted_training(
    queue: Path, recipe: Recipe, root: Path | None, again: bool, device: str, priority: int, *there: Any
) -> Job:
    data = [*(["--data", str(root.absolute())] if root else []), *(["--again"] if again else [])]
    file = _recipe_file(queue, recipe.id)
    runs.write_json(file, recipe.to_json())
    return _submitted(queue, "train", ["train", "--recipe", str(file), *data], recipe.id, device, priority, *there)


def submit_there(
    store: Path, recipes: list[Recipe], on: str, needs: Needs, *, root: Path | None = None, again: bool = False
) -> list[Job]:
    """Hand the training of these recipes to a cluster, in one go; of a run that waits or runs already, the job it has.

    Raises ValueError in the cluster's words where it refuses, Unreachable where it does not answer; then none is left.
    """
    clusters.find(on)
    with _deciding(store) as queue:
        every = [_submitted_training(queue, one, root, again, AWAY, 0, on, needs) for one in recipes]
        fresh = _claimed([job for job in every if job.on and not job.ticket])
    try:
        _handed_over(fresh)
    except (ValueError, OSError):
        for job in fresh:
            _forget(job)
        raise
    return [_read(job.path) for job in every]


def jobs(store: Path) -> list[Job]:
    """All jobs as they are now, in the order they came, unreadable ones too. Writes nothing."""
    found = []
    for path in _files(_queue(store)):
        with contextlib.suppress(FileNotFoundError):  # removed since
            found.append(_seen(_read(path)))
    return found


def find(store: Path, name: str) -> Job:
    """The job of that id. Raises FileNotFoundError that lists the ids there are."""
    everything = {job.id: job for job in jobs(store)}
    if name not in everything:
        raise FileNotFoundError(say(
            "There is no job {name!r}; there are: {names}.",
            name=name, names=list(everything) or say("none"),
        ))  # fmt: skip
    return everything[name]


def settle(store: Path, *, patience: tuple[float, float] = PATIENCE, wait: float | None = None) -> list[Job]:
    """All jobs as they are now; where no worker does it, what became of them is written and stops are taken further.

    A cluster is asked about its own, and waited for so many seconds, SOON if none are named; what it answers later, who
    looks then will see.
    """
    if _files(_queue(store)) and not _read_only():
        with contextlib.suppress(OSError):  # a full disk keeps nobody from looking
            if not has_worker(store):
                with _deciding(store) as queue:
                    for path in _files(queue):
                        _judged(path, patience)
            if there := [job for job in jobs(store) if job.on and job.state in ("queued", *UNDER_WAY)]:
                _look_there(there, patience, wait)
    return jobs(store)


def pulse(store: Path) -> int:
    """Another number when a job came, went or moved on, or a run began, ended or was deleted, whoever did it.

    Looks at the times of files alone, so that whoever waits can ask every few seconds.
    """
    stamps = [_stamp(store), _stamp(_queue(store))]
    with contextlib.suppress(OSError):
        stamps += [_stamp(Path(entry.path, "status.json")) for entry in os.scandir(store)]
    return hash(tuple(stamps))


def state(job: Job, *, patience: tuple[float, float] = PATIENCE) -> str:
    """How far a job is now, as settle has it. Raises FileNotFoundError where it was removed."""
    settle(job.store, patience=patience)
    return _seen(_read(job.path)).state


def log(job: Job, *, last: int = 100) -> str:
    """The last lines of what the job's process said; empty where it has not begun."""
    said = ""
    with contextlib.suppress(OSError, Unfit), records.opened(job.beside(".log")) as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 400 * last, 0))
        said = file.read().decode("utf-8", "replace")
    return "\n".join(said.splitlines()[-last:])


def stop(job: Job, *, patience: tuple[float, float] = PATIENCE) -> Job:
    """Ask a job to stop, and return at once; what has ended stays as it is.

    A training is asked by the stop file of its run; after patience[0] seconds it gets SIGTERM, and after patience[1]
    more it is killed, its children too. Other kinds get SIGTERM at once. The worker goes on with it, or settle.
    """
    with _deciding(job.store):
        job = _whole(_judged(job.path, patience))
        if job.on:
            job = _asked_to_stop_there(job)
        elif job.state == "queued":
            return _write(replace(job, state="stopped", reason=say("Stopped before it began.")))
        elif job.state in ("starting", "running"):
            _write(replace(job, state="stopping", asked=time.monotonic()))
        if not job.on:
            return _judged(job.path, patience)
    if job.state in UNDER_WAY:
        _look_there([job], patience)
    return _read(job.path)


def resume(job: Job) -> Job:
    """Put a job that stopped, failed or was lost back into the queue; a training goes on where it was saved."""
    with _deciding(job.store):
        job = _whole(_judged(job.path))
        if job.state not in AGAIN:
            raise ValueError(say(
                "Job {job} is {state}; only what is {states} can go back to the queue.",
                job=job.id, state=say(job.state), states=[say(state) for state in AGAIN],
            ))  # fmt: skip
        if (there := _same(job)) or not job.on:
            return there or _write(_queued_again(job))
        job.path.with_name(f"{job.ticket}.out").unlink(missing_ok=True)
        claimed = _claimed([_queued_again(job)])
    try:
        _handed_over(claimed)
    except (ValueError, OSError):
        with _deciding(job.store):
            _write(job)
        raise
    return _read(job.path)


def reorder(job: Job, priority: int) -> Job:
    """Give a queued job another priority; of the same priority, who came first is first."""
    with _deciding(job.store):
        job = _whole(_read(job.path))
        if job.on:
            raise ValueError(say("Job {job} waits on {on}, which alone says whose turn it is.", job=job.id, on=job.on))
        if job.state != "queued":
            raise ValueError(say(
                "Job {job} is {state}; only what is queued has a place in the queue.",
                job=job.id, state=say(job.state),
            ))  # fmt: skip
        job = replace(job, priority=priority)
        _check(job)
        return _write(job)


def remove(job: Job) -> None:
    """Forget a job that is not under way, or of which nobody can say, or a file that is none. Its run stays."""
    with _deciding(job.store):
        job = _judged(job.path)
        if job.state in UNDER_WAY and not given_up(job):
            raise ValueError(say("Job {job} is {state}. Stop it first.", job=job.id, state=say(job.state)))
        _forget(job)


def _forget(job: Job) -> None:
    """What was handed to a cluster all the same ends there by itself: it does not find its ticket."""
    job.path.unlink(missing_ok=True)
    if ID.fullmatch(job.id):
        for ending in (".log", ".lock", ".ticket"):
            job.beside(ending).unlink(missing_ok=True)
        if job.ticket:
            job.path.with_name(f"{job.ticket}.out").unlink(missing_ok=True)
    _drop_recipe(job)


def given_up(job: Job) -> bool:
    """Whether a job was asked to stop, and its cluster does not say what became of it: it may be gone for good."""
    return job.state == "unreachable" and job.asked > 0


def is_own(job: Job) -> bool:
    """Whether this is the process of the job."""
    return job.ticket == os.environ.get("ANCHORSCOPE_JOB") if job.on else job.pid == os.getpid()


def has_worker(store: Path) -> bool:
    """Whether a worker is at work on this store."""
    return _held(_queue(store) / "worker.lock")


def ensure_worker(store: Path) -> bool:
    """Start a worker that outlives this process, unless one is there; whether it had to be started."""
    check_writable()
    queue = _queue(store)
    if _held(queue / "worker.lock", seconds=0.1):  # so long that somebody else who only looks is not taken for one
        return False
    queue.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cac_core", "work", "--runs", str(queue.parent), "--idle", f"{IDLE:g}"]
    with open(queue / "worker.log", "ab") as said:
        detached(command, said, environment())
    return True


# --- the worker ------------------------------------------------------------------------------------------------------


def devices() -> dict[str, str]:
    """The slots of this machine, and what CUDA_VISIBLE_DEVICES is for a job in each: one processor, and each GPU."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        try:
            said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=WAIT).stdout
        except (OSError, subprocess.SubprocessError):
            said = ""
        numbers = [str(i) for i, _ in enumerate(re.findall("^GPU ", said, re.MULTILINE))]
    else:
        numbers = [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return {"cpu": "", **{f"cuda:{i}": number for i, number in enumerate(numbers)}}


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # its log may be on the disk that is full
        print(line, file=sys.stderr, flush=True)


def work(
    store: Path,
    *,
    once: bool = False,
    slots: dict[str, str] | None = None,
    pause: float = 1.0,
    idle: float = math.inf,
    patience: tuple[float, float] = PATIENCE,
    tell: Callable[[str], None] = _tell,
) -> None:
    """Start what is queued, one job a slot, until SIGTERM or SIGINT; what runs then goes on without a worker.

    once: end when nothing is left that this machine can do. slots as devices() gives them, and those of SLOT_OF
    come to them. pause in seconds; idle: end after so many in which nothing was queued or under way. Returns at once
    where another worker is at work on the store.
    """
    check_writable()
    queue, end, children = _queue(store), threading.Event(), {}
    slots = {**(devices() if slots is None else slots), **dict.fromkeys(SLOT_OF.values(), "")}
    queue.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        mine = filelock.FileLock(queue / "worker.lock", timeout=1)
        try:
            stack.enter_context(mine)
        except filelock.Timeout:
            tell(f"Another worker is at work on {queue.parent}.")
            return
        for name in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, name, signal.signal(name, lambda *_: end.set()))
        tell(f"At work on {queue.parent} as process {os.getpid()}.")
        taken_over, trouble, busy = False, "", time.monotonic()
        while not end.is_set():
            try:
                if not taken_over:
                    _take_over(store)
                    taken_over = True
                left = _pass(store, children, slots, patience, tell)
                trouble = ""
            except OSError as error:
                left = True
                if str(error) != trouble:
                    tell(f"The queue cannot be worked on, and is tried again: {error}")
                trouble = str(error)
            if once and not left:
                return
            busy = time.monotonic() if left else busy
            if time.monotonic() - busy > idle and _let_go(store, mine):
                tell("Nothing has been queued for a while: this worker ends. The next job starts another.")
                return
            end.wait(pause)


def _let_go(store: Path, lock: filelock.FileLock) -> bool:
    """Give up the worker's lock, unless somebody has just queued a job; whoever does so later starts a new worker."""
    with contextlib.suppress(OSError), _deciding(store) as queue:
        if not any(job.state in ("queued", *UNDER_WAY) and not job.on for job in map(_read, _files(queue))):
            lock.release()
    return not lock.is_locked


def _take_over(store: Path) -> None:
    """What another worker claimed and did not live to start goes back to the queue."""
    with _deciding(store) as queue:
        for path in _files(queue):
            job = _read(path)
            if job.state == "starting" and not job.on:
                _write(_queued_again(job))


def _pass(
    store: Path,
    children: dict[str, subprocess.Popen],
    slots: dict[str, str],
    patience: tuple[float, float],
    tell: Callable[[str], None],
) -> bool:
    """Look at every job once and start what can be started; whether anything is left to do."""
    with _deciding(store) as queue:
        everything = []
        for path in _files(queue):
            before = _read(path)
            child = children.get(before.id)
            code = child.poll() if child else None
            job = _settled(before, code is None if child else _held(before.beside(".lock")), code, patience)
            if job.state != before.state:
                tell(f"{job.id} {job.state}. {job.reason}".strip())
            if job.state not in UNDER_WAY:
                children.pop(job.id, None)
            everything.append(job)
        working = [job for job in everything if job.state in UNDER_WAY]
        waiting = [job for job in everything if job.state == "queued" and not job.on and _has_slot(job, slots)]
        arriving = [job for job in (*working, *waiting) if job.kind == "fetch"]
        for job in sorted(waiting, key=lambda job: (-job.priority, job.id)):
            taken = any(job.device == other.device or (job.run and job.run == other.run) for other in working)
            if not taken and not any(_is_of(job, fetch) for fetch in arriving):
                working.append(job)
                _start(job, slots[job.device], children)
                tell(f"{job.id} starting on {job.device}: {' '.join(job.arguments)}")
        return bool(waiting or any(not job.on for job in working))


def _is_of(job: Job, fetch: Job) -> bool:
    """Whether a job works on the images of a download: the id of a run begins with its data set."""
    return len(fetch.arguments) > 1 and job.run.startswith(f"{slug(fetch.arguments[1])}-")


def _has_slot(job: Job, slots: dict[str, str]) -> bool:
    if job.device in slots:
        return True
    there = [name for name in slots if name not in SLOT_OF.values()]
    lacking = say("This machine has no {device}; it has {names}.", device=job.device, names=there)
    if job.reason != lacking:
        _write(replace(job, reason=lacking))
    return False


def _start(job: Job, visible: str, children: dict[str, subprocess.Popen]) -> None:
    job = _write(replace(job, state="starting", attempt=job.attempt + 1, reason=""))
    command = [sys.executable, "-m", "cac_core.jobs.launch", str(job.path), str(job.attempt), *job.arguments]
    # the slot is all that the job sees of the machine, so its own --device can be left at auto
    seen = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}
    try:
        with open(job.beside(".log"), "wb") as said:
            children[job.id] = detached(command, said, {**environment(), **seen, "ANCHORSCOPE_RUNS": str(job.store)})
    except OSError as error:
        _write(replace(job, state="failed", reason=say("It could not be started: {error}", error=error)))


def detached(command: list[str], said, environment: dict[str, str]) -> subprocess.Popen:
    """Start a process that lives on when this one, its terminal or its user's session ends."""
    quiet = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environment,
        start_new_session=True, creationflags=quiet,
    )  # fmt: skip


def environment() -> dict[str, str]:
    """This process's, and where the package is, which may not be installed."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    known = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    return {**os.environ, **known}


# --- what became of a job --------------------------------------------------------------------------------------------


def _judged(path: Path, patience: tuple[float, float] = PATIENCE) -> Job:
    """The job in a file, brought up to date there by somebody who is no worker."""
    job = _read(path)
    return _settled(job, _lives(job), None, patience)


def _seen(job: Job) -> Job:
    """The job as _judged would make it; nothing is written."""
    if job.on:
        return job
    return _ended(job, None) if job.state in ("running", "stopping") and not _lives(job) else job


def _lives(job: Job) -> bool:
    """Whether a job's process lives; where there is a worker, that knows better."""
    return has_worker(job.store) or _held(job.beside(".lock"))


def _settled(job: Job, lives: bool, code: int | None, patience: tuple[float, float]) -> Job:
    """Write down what has become of a job, and take its stop further. code is its exit code where its parent asks."""
    if job.on:
        return job
    if job.state == "starting" and code is not None:
        return _write(replace(job, state="failed", exit_code=code, reason=_complaint(job)))
    if job.state in ("running", "stopping") and not lives:
        _done_with_stop_file(job)
        job = _write(_ended(job, code))
        if job.state == "finished":
            _drop_recipe(job)
    if job.state == "stopping":
        job = _pushed(job, patience)
    return job


def _done_with_stop_file(job: Job) -> None:
    """Nobody is left whom it would ask to stop. Before it is told: who resumes the job must not be stopped by this."""
    if job.asked and job.kind == "train":
        with contextlib.suppress(OSError):
            _stop_file(job).unlink(missing_ok=True)


def _ended(job: Job, code: int | None) -> Job:
    """What a job whose process is gone has become."""
    said = _read(job.path).exit_code  # written before it let go of its lock
    code = code if said is None else said
    state, reason = _outcome(job, code)
    return replace(job, state=state, reason=reason, exit_code=code)


def _outcome(job: Job, code: int | None) -> tuple[str, str]:
    """State and reason of a job whose process has ended. A training's own status counts, where it is that process's."""
    if code in (0, None) and (said := _own_word(job)):
        return said
    if code == 0:
        return "finished", ""
    if job.asked:
        return "stopped", say("Stopped when asked to.")
    if code is None or code < 0:
        if known := {-s: s.name for s in signal.Signals}.get(code):
            return "lost", say(
                "Its process ended without a word ({signal}): killed, out of memory, or the machine went down.",
                signal=known,
            )
        return "lost", say("Its process ended without a word: killed, out of memory, or the machine went down.")
    return "failed", _complaint(job)


def _own_word(job: Job) -> tuple[str, str] | None:
    """What a training has written of its end."""
    if job.kind != "train" or not job.run:
        return None
    status = runs.Run(job.store / job.run).status
    its = status.get("job") == job.ticket if job.on else status.get("pid") == job.pid
    if status["state"] == "finished" or (status["state"] in ("stopped", "failed") and its):
        return status["state"], str(status.get("reason", ""))
    return None


def _complaint(job: Job) -> str:
    """What the job's process said last: its last error, or else its last line."""
    lines = [line for line in log(job).splitlines() if line.strip()]
    start = max((i for i, line in enumerate(lines) if line.startswith("error: ")), default=len(lines) - 1)
    return "\n".join(lines[max(start, 0) :]).removeprefix("error: ") or say("It ended with an error and said nothing.")


def _pushed(job: Job, patience: tuple[float, float]) -> Job:
    """The step of the stop that is due. Each can be taken twice, so it does no harm if a crash forgets one."""
    waited = time.monotonic() - job.asked
    gentle = patience[0] if job.kind == "train" else 0
    if waited >= gentle + patience[1]:
        _signal(job, hard=True)
    elif waited >= gentle:
        if not job.terminated:
            _signal(job, hard=False)
            return _write(replace(job, terminated=True))
    elif job.run and not _stop_file(job).exists():  # a training that has just begun clears what was there before
        with contextlib.suppress(OSError):
            _stop_file(job).touch()
    return job


def _signal(job: Job, *, hard: bool) -> None:
    """SIGTERM, or SIGKILL, to a job's process and its children; to nobody where they are not surely the job's."""
    if job.host != socket.gethostname():
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(job.pid)
        if abs(_since_boot(process) - job.process_started) > 2:
            return
        if not hasattr(os, "killpg"):  # Windows knows no gentle signal and no groups
            for one in [*process.children(recursive=True), process]:
                one.kill()
    if hasattr(os, "killpg"):  # where the process has gone and a child holds the lock, the group still has its number
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, signal.SIGKILL if hard else signal.SIGTERM)


def _since_boot(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()  # both move when the clock is set; their difference does not


def _stop_file(job: Job) -> Path:
    return job.store / job.run / "stop"


def _recipe_file(queue: Path, run: str) -> Path:
    return queue / "recipes" / f"{run}.json"


def _drop_recipe(job: Job) -> None:
    """Forget what a job was to train, unless another that could still be started asks for it. The run keeps its own."""
    file = _recipe_file(job.path.parent, job.run)
    if job.kind == "train" and job.run and file.exists():
        others = [_read(path) for path in _files(job.path.parent) if path != job.path]
        if not any(str(file) in other.arguments and other.state != "finished" for other in others):
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


# --- the jobs of a cluster -------------------------------------------------------------------------------------------


def _claimed(every: list[Job]) -> list[Job]:
    """A ticket for each, written where the job will look for it, before anybody hands it over."""
    claimed = []
    for number, job in enumerate(every):
        ticket = f"anchorscope-{every[0].id}-{every[0].attempt + 1}" + (f"_{number}" if len(every) > 1 else "")
        runs.write(job.beside(".ticket"), ticket)
        claimed.append(_write(replace(job, state="starting", attempt=job.attempt + 1, ticket=ticket)))
    return claimed


def _handed_over(claimed: list[Job]) -> None:
    """Give what is claimed to its cluster, where it is queued then. Each one's lock is held meanwhile."""
    if not claimed:
        return
    first, cluster = claimed[0], clusters.find(claimed[0].on)
    with contextlib.ExitStack() as stack:
        for job in claimed:
            job.beside(".log").unlink(missing_ok=True)
            stack.enter_context(filelock.FileLock(job.beside(".lock"), timeout=WAIT))
        tasks = [Task(job.ticket, _shell(job, cluster)) for job in claimed]
        cluster.engine(first.path.parent).submit(tasks, first.needs)
        with _deciding(first.store):
            for job in claimed:
                now = _read(job.path)
                if (now.state, now.ticket) == ("starting", job.ticket):
                    _write(replace(now, state="queued"))


def _shell(job: Job, cluster: clusters.Cluster) -> str:
    known = {
        "ANCHORSCOPE_RUNS": str(job.store), "ANCHORSCOPE_JOB": job.ticket, "OMP_NUM_THREADS": str(job.needs.cpus),
        "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip
    files = job.beside(".ticket"), job.beside(".log")
    return engines.shell(job.ticket, *files, job.arguments, cluster.python, cluster.before, known)


def _look_there(there: list[Job], patience: tuple[float, float], wait: float | None = None) -> None:
    """Ask each cluster about these jobs of one store, write down what it says, and take their stops further."""
    store = there[0].store
    for name in sorted({job.on for job in there}):
        mine = [job for job in there if job.on == name]
        said = clusters.states(name, _queue(store), [job.ticket for job in mine], wait=SOON if wait is None else wait)
        if said is None:
            continue
        with _deciding(store):
            told = [_told(job, said) for job in mine]
        if isinstance(said, Unreachable):
            continue
        for job in told:
            if job.asked and job.state in UNDER_WAY:
                _pushed_there(job, said.get(job.ticket), patience)


def _told(before: Job, said: dict[str, Seen] | Unreachable) -> Job:
    """Write down what a cluster says of a job, unless somebody has come to know more since."""
    try:
        job = _read(before.path)
    except FileNotFoundError:
        return replace(before, state="lost")
    if job.ticket != before.ticket or job.state not in ("queued", *UNDER_WAY):
        return job
    if isinstance(said, Unreachable):
        now = replace(job, state="unreachable", reason=str(said))
    elif (seen := said.get(job.ticket)) is None:
        now = _missing(job)
    elif seen.state == "ended":
        now = _ended_there(job, seen)
    elif seen.state == "queued" and job.asked and job.terminated:  # Ray keeps it, and it will find no ticket
        now = replace(job, state="stopped", reason=say("Stopped before it began."))
    else:
        why = say("{on} lets it wait: {why}.", on=job.on, why=seen.why) if seen.state == "queued" and seen.why else ""
        state = "stopping" if job.asked else seen.state
        now = replace(job, state=state, host=seen.host, reason=why, missed=0.0)
    if now == job:
        return job
    if now.state not in UNDER_WAY and now.state != "queued":
        _done_with_stop_file(now)
        _write_end(now)
    _write(now)
    if now.state == "finished":
        _drop_recipe(now)
    return now


def _missing(job: Job) -> Job:
    """A job that its cluster does not know: being handed over still, or forgotten."""
    if _held(job.beside(".lock")):
        return job
    if said := _own_word(job):
        return replace(job, state=said[0], reason=said[1])
    if job.terminated and not job.host:  # of an array's that waited and was cancelled, Slurm keeps nothing
        return replace(job, state="stopped", reason=say("Stopped before it began."))
    now = _now(job)
    if job.missed and now - job.missed > UNKNOWN:
        return replace(job, state="lost", reason=say(
            "{on} does not know this job any more: it was started anew, or has forgotten it. What was saved is there.",
            on=job.on,
        ))  # fmt: skip
    reason = say("{on} does not know this job. If that stays so, it is lost.", on=job.on)
    return replace(job, state="unreachable", reason=reason, missed=job.missed or now)


def _ended_there(job: Job, seen: Seen) -> Job:
    job = replace(job, host=seen.host or job.host, exit_code=seen.code, missed=0.0)
    state, reason = _outcome(job, None if seen.cause else seen.code)
    if state == "finished":
        return replace(job, state=state, reason=reason)
    needs = job.needs
    if seen.code == engines.UNSEEN:
        state, reason = "failed", say(
            "{host} does not see this store. Runs must lie on a file system that all machines see, under the same "
            "path: {path}.",
            host=seen.host or job.on, path=job.store,
        )  # fmt: skip
    elif seen.code == engines.UNFIT:
        state, reason = "failed", say("There is not the same Anchorscope on {on}: {words}", on=job.on,
                                      words=_complaint(job))  # fmt: skip
    elif seen.cause == "memory":
        needs = replace(needs, memory=2 * needs.memory)
        state, reason = "lost", say(
            "It was killed for memory: it had asked for {memory} MB. Going on asks for {next} MB.",
            memory=job.needs.memory, next=needs.memory,
        ) if needs.memory else say(
            "It was killed for memory, and had not said how much it takes. Start it again, and say so."
        )  # fmt: skip
    elif seen.cause == "time":
        saved = files.is_file(job.store / job.run / "last.pt")
        needs = needs if saved else replace(needs, minutes=2 * needs.minutes)
        state, reason = "stopped" if saved else "lost", say(
            "The time that it had asked for was over ({minutes} min). Going on begins where it was saved, with as much "
            "again.",
            minutes=job.needs.minutes,
        ) if saved else say(
            "The time that it had asked for was over ({minutes} min), and nothing was saved. Going on asks for {next} "
            "min.",
            minutes=job.needs.minutes, next=needs.minutes,
        )  # fmt: skip
    elif seen.cause == "node":
        state, reason = "lost", say(
            "Its node went down or was taken away ({why}). Going on begins where it was saved, on another.",
            why=seen.why or seen.host,
        )  # fmt: skip
    elif seen.cause == "cancelled" and not job.asked:
        state, reason = "stopped", say("It was cancelled on {on}, not from here.", on=job.on)
    elif seen.code is None and not job.asked:
        state, reason = "lost", say("{on} ended it: {why}", on=job.on, why=seen.why)
    elif state == "failed" and not log(job).strip():  # it did not come so far as to say anything
        words = clusters.find(job.on).engine(job.path.parent).log(job.ticket).strip()
        reason = say("It could not be started: {error}", error=words.splitlines()[-1]) if words else reason
    return replace(job, state=state, reason=reason, needs=needs)


def _write_end(job: Job) -> None:
    """What a run's own process could not write any more: that it has ended."""
    run = runs.Run(job.store / job.run)
    status = run.status
    if job.kind == "train" and status["state"] in runs.ALIVE and status.get("job") == job.ticket:
        with contextlib.suppress(OSError):
            runs.write_json(run.path / "status.json", {**status, "state": "lost", "reason": job.reason})


def _asked_to_stop_there(job: Job) -> Job:
    if job.asked or job.state not in ("queued", "starting", "running", "unreachable"):
        return job
    if job.run and files.is_folder(job.store / job.run):
        _stop_file(job).touch()  # which asks also where the cluster does not answer
    return _write(replace(job, state="stopping", asked=_now(job)))


def _pushed_there(job: Job, seen: Seen | None, patience: tuple[float, float]) -> None:
    """The step of the stop that is due, as _pushed takes it; what waits is forgotten at once."""
    waited = _now(job) - job.asked
    gentle = patience[0] if job.kind == "train" else 0
    engine = clusters.find(job.on).engine(job.path.parent)
    waits = seen is not None and seen.state == "queued"
    hard = waits or waited >= gentle + patience[1]
    with contextlib.suppress(OSError, ValueError):  # it is tried again
        if waits:
            job.beside(".ticket").unlink(missing_ok=True)
        if hard or (waited >= gentle and not job.terminated):
            engine.stop(job.ticket, hard=hard)
            with _deciding(job.store):
                now = _read(job.path)
                if now.ticket == job.ticket and now.state == "stopping":
                    _write(replace(now, terminated=True))
        elif job.run and files.is_folder(job.store / job.run) and not _stop_file(job).exists():
            _stop_file(job).touch()


def _now(job: Job) -> float:
    """The time by the file system's clock, which is one for all machines."""
    file = job.path.with_name("clock")
    file.write_bytes(b".")
    return file.stat().st_mtime


# --- files -----------------------------------------------------------------------------------------------------------


def _queue(store: Path) -> Path:
    return store.absolute() / ".queue"


def _files(queue: Path) -> list[Path]:
    try:
        return [queue / name for name in files.listed(queue).files if name.endswith(".json")]
    except ValueError:  # a queue that somebody else closed
        return []


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


@contextlib.contextmanager
def _deciding(store: Path) -> Iterator[Path]:
    """The queue's folder, while nobody else decides or writes there. Raises ReadOnly where this may not either."""
    check_writable()
    queue = _queue(store)
    queue.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(queue / "decisions.lock", timeout=WAIT):
        yield queue


def _held(lock: Path, *, seconds: float = 0) -> bool:
    """Whether a process holds this lock for so long; it is taken to be so where that cannot be told."""
    if not lock.exists():
        return False
    try:
        with filelock.FileLock(lock, timeout=seconds):
            return False
    except OSError:  # filelock.Timeout is one
        return True


def _read(path: Path) -> Job:
    """The job in a file; one in state "broken" where it is none. Raises FileNotFoundError where there is no file."""
    try:
        if not ID.fullmatch(path.stem):
            raise Unfit(say("it is not the record of a job"))
        job = records.read(path, Job, path=path)
        _check(job)
        return job
    except FileNotFoundError as error:
        raise FileNotFoundError(say("There is no job {job!r} any more.", job=path.stem)) from error
    except (OSError, ValueError) as error:
        reason = say("{file} cannot be read ({error}). Remove it.", file=path, error=error)
        return Job(path, "", (), state="broken", reason=reason)


def _check(job: Job) -> None:
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


def _write(job: Job) -> Job:
    runs.write_json(job.path, _record(job))
    return job


def _whole(job: Job) -> Job:
    """The job itself. Raises ValueError where it could not be read."""
    if job.state == "broken":
        raise ValueError(job.reason)
    return job


def _same(new: Job) -> Job | None:
    """The job that waits or runs already and would do the same: has the same arguments, or trains the same run."""

    def same(job: Job) -> bool:
        return (job.kind, job.run) == (new.kind, new.run) and (
            job.arguments == new.arguments or (job.kind == "train" and job.run != "")
        )

    there = [job for job in jobs(new.store) if job.state in ("queued", "starting", "running", "unreachable")]
    return next(filter(same, there), None)


def _queued_again(job: Job) -> Job:
    kept = (job.path, job.kind, job.arguments, job.run, job.device, job.priority, job.submitted)
    return Job(*kept, attempt=job.attempt, on=job.on, needs=job.needs)


def _read_only() -> bool:
    return os.environ.get("ANCHORSCOPE_READONLY", "") not in ("", "0")


def check_writable() -> None:
    """Raises ReadOnly in a show."""
    if _read_only():
        raise ReadOnly(say(
            "Here one can look at everything and change nothing: this Anchorscope was started with "
            "ANCHORSCOPE_READONLY set. Start it without, on a machine of your own, to train and to stop."
        ))  # fmt: skip


# --- the job's own process -------------------------------------------------------------------------------------------


def _job(path: Path, attempt: int, arguments: list[str]) -> int:
    """Say that the job runs, be `python -m cac_core <arguments>`, and leave the exit code."""
    with _deciding(path.parents[1]):
        job = _read(path)
        if (job.state, job.attempt) != ("starting", attempt):
            return 1  # stopped, or claimed anew, before this process came to it
        me = psutil.Process()
        started, host = _since_boot(me), socket.gethostname()
        _write(replace(job, state="running", pid=me.pid, process_started=started, host=host))
    sys.argv = ["cac_core", *arguments]
    code = 0
    try:
        runpy.run_module("cac_core", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:
        traceback.print_exc()
        code = 1
    # where this cannot be written, the worker still sees how its child ended
    with contextlib.suppress(OSError, ValueError), _deciding(path.parents[1]):
        _write(replace(_whole(_read(path)), exit_code=code))
    return code


if __name__ == "__main__":
    alive = filelock.FileLock(Path(sys.argv[1]).with_suffix(".lock"), timeout=WAIT)
    alive.acquire()  # until this process ends, however it does
    sys.exit(_job(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
