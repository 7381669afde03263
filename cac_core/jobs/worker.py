"""The worker: starts what is queued on this machine, each job as a process of its own, and sees how it ends."""

import contextlib
import math
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import filelock
import psutil

from cac_core.jobs import away, clusters, ends, launch
from cac_core.jobs.engines import LARGE_PAGES
from cac_core.jobs.queue import (
    SLOT_OF,
    UNDER_WAY,
    WAIT,
    Job,
    check_writable,
    deciding,
    files_in,
    held,
    queue_of,
    queued_again,
    read,
    whole,
    write,
)
from cac_core.recipe import slug
from cac_core.sentences import say

IDLE = 600.0  # seconds after which a worker that the app started ends where nothing is queued and nothing runs


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


def ensure_worker(store: Path) -> bool:
    """Start a worker that outlives this process, unless one is there; whether it had to be started."""
    check_writable()
    queue = queue_of(store)
    if held(queue / "worker.lock", seconds=0.1):  # so long that somebody else who only looks is not taken for one
        return False
    queue.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cac_core", "work", "--runs", str(queue.parent), "--idle", f"{IDLE:g}"]
    with open(queue / "worker.log", "ab") as said:
        detached(command, said, environment())
    return True


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
    patience: tuple[float, float] = ends.PATIENCE,
    tell: Callable[[str], None] = _tell,
) -> None:
    """Start what is queued, one job a slot, until SIGTERM or SIGINT; what runs then goes on without a worker.

    once: end when nothing is left that this machine can do. slots as devices() gives them, and those of SLOT_OF
    come to them. pause in seconds; idle: end after so many in which nothing was queued or under way. Returns at once
    where another worker is at work on the store.
    """
    check_writable()
    queue, end, children = queue_of(store), threading.Event(), {}
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
        taken_over, trouble, busy, looked = False, "", time.monotonic(), -math.inf
        while not end.is_set():
            try:
                if not taken_over:
                    _take_over(store)
                    taken_over = True
                left = run_once(store, children, slots, patience, tell)
                if time.monotonic() - looked > clusters.EVERY:
                    looked = time.monotonic()
                    _look_away(store, patience, tell)
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


def _look_away(store: Path, patience: tuple[float, float], tell: Callable[[str], None]) -> None:
    """What has become of the jobs of clusters, by what these said last, so that nobody needs to look at a page."""
    before = {job.id: job for job in away.open_ones(launch.jobs(store))}
    for job in away.look(list(before.values()), patience, wait=0.0) if before else ():
        if job.state != before[job.id].state:
            tell(f"{job.id} {job.state} on {job.on}. {job.reason}".strip())


def _let_go(store: Path, lock: filelock.FileLock) -> bool:
    """Give up the worker's lock, unless somebody has just queued a job; whoever does so later starts a new worker."""
    with contextlib.suppress(OSError), deciding(store) as queue:
        if not any(job.state in ("queued", *UNDER_WAY) and not job.on for job in map(read, files_in(queue))):
            lock.release()
    return not lock.is_locked


def _take_over(store: Path) -> None:
    """What another worker claimed and did not live to start goes back to the queue."""
    with deciding(store) as queue:
        for path in files_in(queue):
            job = read(path)
            if job.state == "starting" and not job.on:
                write(queued_again(job))


def run_once(
    store: Path,
    children: dict[str, subprocess.Popen],
    slots: dict[str, str],
    patience: tuple[float, float],
    tell: Callable[[str], None],
) -> bool:
    """Look at every job once and start what can be started; whether anything is left to do."""
    with deciding(store) as queue:
        everything = []
        for path in files_in(queue):
            before = read(path)
            child = children.get(before.id)
            code = child.poll() if child else None
            job = ends.settled(before, code is None if child else held(before.beside(".lock")), code, patience)
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
        write(replace(job, reason=lacking))
    return False


def _start(job: Job, visible: str, children: dict[str, subprocess.Popen]) -> None:
    job = write(replace(job, state="starting", attempt=job.attempt + 1, reason=""))
    command = [sys.executable, "-m", "cac_core.jobs.worker", str(job.path), str(job.attempt), *job.arguments]
    # the slot is all that the job sees of the machine, so its own --device can be left at auto
    seen = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": visible}
    try:
        with open(job.beside(".log"), "wb") as said:
            children[job.id] = detached(command, said, {**environment(), **seen, "ANCHORSCOPE_RUNS": str(job.store)})
    except OSError as error:
        write(replace(job, state="failed", reason=say("It could not be started: {error}", error=error)))


def detached(command: list[str], said, environment: dict[str, str]) -> subprocess.Popen:
    """Start a process that lives on when this one, its terminal or its user's session ends."""
    quiet = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environment,
        start_new_session=True, creationflags=quiet,
    )  # fmt: skip


def environment() -> dict[str, str]:
    """This process's, and where the package is, which may not be installed; and what makes training faster."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    known = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    return {**LARGE_PAGES, **os.environ, **known}


def _job(path: Path, attempt: int, arguments: list[str]) -> int:
    """Say that the job runs, be `python -m cac_core <arguments>`, and leave the exit code."""
    with deciding(path.parents[1]):
        job = read(path)
        if (job.state, job.attempt) != ("starting", attempt):
            return 1  # stopped, or claimed anew, before this process came to it
        me = psutil.Process()
        started, host = ends.since_boot(me), socket.gethostname()
        write(replace(job, state="running", pid=me.pid, process_started=started, host=host))
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
    with contextlib.suppress(OSError, ValueError), deciding(path.parents[1]):
        write(replace(whole(read(path)), exit_code=code))
    return code


if __name__ == "__main__":
    alive = filelock.FileLock(Path(sys.argv[1]).with_suffix(".lock"), timeout=WAIT)
    alive.acquire()  # until this process ends, however it does
    sys.exit(_job(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
