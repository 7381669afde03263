"""What became of a job whose process is on this machine, and the steps by which one is stopped."""

import contextlib
import os
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import psutil

from cac_core import runs
from cac_core.jobs.queue import Job, drop_recipe, has_worker, held, log, read, stop_file, write
from cac_core.sentences import say

ENDS = ("finished", "stopped", "failed")  # of which a training says itself
PATIENCE = (15.0, 30.0)  # seconds: from a training's stop file to SIGTERM; from SIGTERM to the end of the whole group


def judged(path: Path, patience: tuple[float, float] = PATIENCE) -> Job:
    """The job in a file, brought up to date there by somebody who is no worker."""
    job = read(path)
    return settled(job, lives(job), None, patience)


def seen(job: Job) -> Job:
    """The job as judged would make it; nothing is written."""
    if job.on:
        return job
    return ended(job, None) if job.state in ("running", "stopping") and not lives(job) else job


def lives(job: Job) -> bool:
    """Whether a job's process lives; where there is a worker, that knows better."""
    return has_worker(job.store) or held(job.beside(".lock"))


def settled(job: Job, lives: bool, code: int | None, patience: tuple[float, float]) -> Job:
    """Write down what has become of a job, and take its stop further. code is its exit code where its parent asks."""
    if job.on:
        return job
    if job.state == "starting" and code is not None:
        return write(replace(job, state="failed", exit_code=code, reason=complaint(job)))
    if job.state in ("running", "stopping") and not lives:
        done_with_stop_file(job)
        job = write(ended(job, code))
        if job.state == "finished":
            drop_recipe(job)
    if job.state == "stopping":
        job = _pushed(job, patience)
    return job


def done_with_stop_file(job: Job) -> None:
    """Nobody is left whom it would ask to stop. Before it is told: who resumes the job must not be stopped by this."""
    if job.asked and job.kind == "train":
        with contextlib.suppress(OSError):
            stop_file(job).unlink(missing_ok=True)


def ended(job: Job, code: int | None) -> Job:
    """What a job whose process is gone has become."""
    said = read(job.path).exit_code  # written before it let go of its lock
    code = code if said is None else said
    state, reason = outcome(job, code)
    return replace(job, state=state, reason=reason, exit_code=code)


def outcome(job: Job, code: int | None) -> tuple[str, str]:
    """State and reason of a job whose process has ended. A training's own status counts, where it is that process's."""
    if code in (0, None) and (said := own_word(job)):
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
    return "failed", (own_word(job, "failed") or ("", ""))[1] or complaint(job)


def own_word(job: Job, *states: str) -> tuple[str, str] | None:
    """What a training has written of its end, where that is one of these states."""
    if job.kind != "train" or not job.run:
        return None
    status = runs.Run(job.store / job.run).status
    its = status.get("job") == job.ticket if job.on else status.get("pid") == job.pid
    if status["state"] in (states or ENDS) and (its or status["state"] == "finished"):
        return status["state"], str(status.get("reason", ""))
    return None


def complaint(job: Job) -> str:
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
            return write(replace(job, terminated=True))
    elif job.run and not stop_file(job).exists():  # a training that has just begun clears what was there before
        with contextlib.suppress(OSError):
            stop_file(job).touch()
    return job


def _signal(job: Job, *, hard: bool) -> None:
    """SIGTERM, or SIGKILL, to a job's process and its children; to nobody where they are not surely the job's."""
    if job.host != socket.gethostname():
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(job.pid)
        if abs(since_boot(process) - job.process_started) > 2:
            return
        if not hasattr(os, "killpg"):  # Windows knows no gentle signal and no groups
            for one in [*process.children(recursive=True), process]:
                one.kill()
    if hasattr(os, "killpg"):  # where the process has gone and a child holds the lock, the group still has its number
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(job.pid, signal.SIGKILL if hard else signal.SIGTERM)


def since_boot(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()  # both move when the clock is set; their difference does not


def seconds(job: Job) -> float:
    """How long the process of a job of this machine has been there."""
    return max(time.time() - psutil.boot_time() - job.process_started, 0.0)
