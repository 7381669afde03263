"""What a user does with jobs: submit, look, stop, resume, reorder, remove. How they are kept: see queue."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cac_core import runs
from cac_core.jobs import away, clusters, ends
from cac_core.jobs.engines import USUAL, Needs
from cac_core.jobs.queue import (
    AGAIN,
    AWAY,
    ID,
    SLOT_OF,
    UNDER_WAY,
    Job,
    checked,
    deciding,
    drop_recipe,
    files_in,
    has_worker,
    queue_of,
    queued_again,
    read,
    read_only,
    recipe_file,
    whole,
    write,
)
from cac_core.recipe import Recipe
from cac_core.sentences import say


def submit(
    store: Path, kind: str, arguments: list[str], *, run: str = "", device: str = "cpu", priority: int = 0
) -> Job:
    """Put a job into the queue; where the same one, or a training of the same run, waits or runs already, that one.

    Kinds in SLOT_OF have a slot of their own, whatever the device. Raises ValueError for what is no job, OSError where
    it cannot be written; nothing is left behind then.
    """
    with deciding(store) as queue:
        return _submitted(queue, jobs(store), kind, arguments, run, device, priority)


def _submitted(
    queue: Path, there: list[Job], kind: str, arguments: list[str], run: str, device: str, priority: int,
    on: str = "", needs: Needs = USUAL,
) -> Job:  # fmt: skip
    """there: every job that there is, to which this one comes."""
    last = max((int(job.id.split("-")[0]) for job in there if ID.fullmatch(job.id)), default=0)
    file, now = queue / f"{last + 1:06}-{secrets.token_hex(3)}.json", round(time.time(), 3)
    slot = AWAY if on else SLOT_OF.get(kind, device)
    new = Job(file, kind, tuple(arguments), run, slot, priority, now, on=on, needs=needs)
    checked(new)
    if same := _same(new, there):
        return same
    there.append(write(new))
    return new


def _same(new: Job, there: list[Job]) -> Job | None:
    """The job that waits or runs already and would do the same: has the same arguments, or trains the same run."""
    return next((
        job for job in there if job.state in ("queued", "starting", "running", "unreachable")
        and (job.kind, job.run) == (new.kind, new.run)
        and (job.arguments == new.arguments or (job.kind == "train" and job.run != ""))
    ), None)  # fmt: skip


def submit_recipe(store: Path, recipe: Recipe, **how: Any) -> Job:
    """submit_recipes with one."""
    return submit_recipes(store, [recipe], **how)[0]


def submit_recipes(
    store: Path,
    recipes: list[Recipe],
    *,
    root: Path | None = None,
    device: str = "cpu",
    priority: int = 0,
    again: bool = False,
) -> list[Job]:
    """Put the training of these recipes into the queue; root is where the data sets are.

    again: a run of one whose images have changed since goes to the trash first, when its job begins.
    """
    with deciding(store) as queue:
        return _submitted_trainings(queue, recipes, root, again, device, priority)


def _submitted_trainings(
    queue: Path, recipes: list[Recipe], root: Path | None, again: bool, device: str, priority: int, *where: Any
) -> list[Job]:
    data = [*(["--data", str(root.absolute())] if root else []), *(["--again"] if again else [])]
    there, every = jobs(queue.parent), []
    for recipe in recipes:
        file = recipe_file(queue, recipe.id)
        runs.write_json(file, recipe.to_json())
        arguments = ["train", "--recipe", str(file), *data]
        every.append(_submitted(queue, there, "train", arguments, recipe.id, device, priority, *where))
    return every


def submit_there(
    store: Path, recipes: list[Recipe], on: str, needs: Needs, *, root: Path | None = None, again: bool = False
) -> list[Job]:
    """Hand the training of these recipes to a cluster, in one go; of a run that waits or runs already, the job it has.

    Raises ValueError in the cluster's words where it refuses, Unreachable where it does not answer; then none is left.
    """
    return _handed_over(store, on, lambda queue: _submitted_trainings(queue, recipes, root, again, AWAY, 0, on, needs))


def hand_over(
    store: Path, kind: str, every: list[list[str]], on: str, needs: Needs, *, run: str = ""
) -> list[Job]:  # fmt: skip
    """Hand other jobs to a cluster, each by its arguments, in one go; as submit_there. Each is on one node."""
    needs = replace(needs, nodes=1)

    def submitted(queue: Path) -> list[Job]:
        there = jobs(store)
        return [_submitted(queue, there, kind, arguments, run, AWAY, 0, on, needs) for arguments in every]

    return _handed_over(store, on, submitted)


def _handed_over(store: Path, on: str, submitted: Callable[[Path], list[Job]]) -> list[Job]:
    clusters.find(on)
    with deciding(store) as queue:
        every = submitted(queue)
        fresh = away.claimed([job for job in every if job.on and not job.ticket])
    try:
        away.handed_over(fresh)
    except (ValueError, OSError):
        for job in fresh:
            _forget(job)
        raise
    return [read(job.path) for job in every]


def jobs(store: Path) -> list[Job]:
    """All jobs as they are now, in the order they came, unreadable ones too. Writes nothing."""
    found = []
    for path in files_in(queue_of(store)):
        with contextlib.suppress(FileNotFoundError):  # removed since
            found.append(ends.seen(read(path)))
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


def settle(store: Path, *, patience: tuple[float, float] = ends.PATIENCE, wait: float | None = None) -> list[Job]:
    """All jobs as they are now; where no worker does it, what became of them is written and stops are taken further.

    A cluster is asked about its own, and waited for so many seconds, or away.SOON; what it answers later, who
    looks then will see.
    """
    if files_in(queue_of(store)) and not read_only():
        with contextlib.suppress(OSError):  # a full disk keeps nobody from looking
            if not has_worker(store):
                with deciding(store) as queue:
                    for path in files_in(queue):
                        ends.judged(path, patience)
            if there := away.open_ones(jobs(store)):
                away.look(there, patience, wait)
    return jobs(store)


def pulse(store: Path) -> int:
    """Another number when a job came, went or moved on, or a run began, ended or was deleted, whoever did it.

    Looks at the times of files alone, so that whoever waits can ask every few seconds.
    """
    stamps = [_stamp(store), _stamp(queue_of(store))]
    with contextlib.suppress(OSError):
        stamps += [_stamp(Path(entry.path, "status.json")) for entry in os.scandir(store)]
    return hash(tuple(stamps))


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def state(job: Job, *, patience: tuple[float, float] = ends.PATIENCE) -> str:
    """How far a job is now, as settle has it. Raises FileNotFoundError where it was removed."""
    settle(job.store, patience=patience)
    return ends.seen(read(job.path)).state


def stop(job: Job, *, patience: tuple[float, float] = ends.PATIENCE) -> Job:
    """Ask a job to stop, and return at once; what has ended stays as it is.

    A training is asked by the stop file of its run; after patience[0] seconds it gets SIGTERM, and after patience[1]
    more it is killed, its children too. Other kinds get SIGTERM at once. The worker goes on with it, or settle.
    """
    with deciding(job.store):
        job = whole(ends.judged(job.path, patience))
        if job.on:
            job = away.asked_to_stop(job)
        elif job.state == "queued":
            return write(replace(job, state="stopped", reason=say("Stopped before it began.")))
        elif job.state in ("starting", "running"):
            write(replace(job, state="stopping", asked=time.monotonic()))
        if not job.on:
            return ends.judged(job.path, patience)
    if job.state in UNDER_WAY:
        away.look([job], patience)
    return read(job.path)


def resume(job: Job) -> Job:
    """Put a job that stopped, failed or was lost back into the queue; a training goes on where it was saved."""
    with deciding(job.store):
        job = whole(ends.judged(job.path))
        if job.state not in AGAIN:
            raise ValueError(say(
                "Job {job} is {state}; only what is {states} can go back to the queue.",
                job=job.id, state=say(job.state), states=[say(state) for state in AGAIN],
            ))  # fmt: skip
        if (there := _same(job, jobs(job.store))) or not job.on:
            return there or write(queued_again(job))
        job.path.with_name(f"{job.ticket}.out").unlink(missing_ok=True)
        claimed = away.claimed([queued_again(job)])
    try:
        away.handed_over(claimed)
    except (ValueError, OSError):
        with deciding(job.store):
            write(job)
        raise
    return read(job.path)


def reorder(job: Job, priority: int) -> Job:
    """Give a queued job another priority; of the same priority, who came first is first."""
    with deciding(job.store):
        job = whole(read(job.path))
        if job.on:
            raise ValueError(say("Job {job} waits on {on}, which alone says whose turn it is.", job=job.id, on=job.on))
        if job.state != "queued":
            raise ValueError(say(
                "Job {job} is {state}; only what is queued has a place in the queue.",
                job=job.id, state=say(job.state),
            ))  # fmt: skip
        job = replace(job, priority=priority)
        checked(job)
        return write(job)


def remove(job: Job) -> None:
    """Forget a job that is not under way, or of which nobody can say, or a file that is none. Its run stays."""
    with deciding(job.store):
        job = ends.judged(job.path)
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
    drop_recipe(job)


def given_up(job: Job) -> bool:
    """Whether a job was asked to stop, and its cluster does not say what became of it: it may be gone for good."""
    return job.state == "unreachable" and job.asked > 0


def is_own(job: Job) -> bool:
    """Whether this is the process of the job."""
    return job.ticket == os.environ.get("ANCHORSCOPE_JOB") if job.on else job.pid == os.getpid()
