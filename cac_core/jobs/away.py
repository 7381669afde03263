"""The jobs of a cluster: how they are handed over, and what is written here of what it says of them."""

import contextlib
from dataclasses import replace

import filelock

from cac_core import files, runs
from cac_core.jobs import clusters, ends, engines
from cac_core.jobs.engines import Seen, Task, Unreachable
from cac_core.jobs.queue import (
    UNDER_WAY,
    WAIT,
    Job,
    deciding,
    drop_recipe,
    held,
    log,
    queue_of,
    read,
    stop_file,
    write,
)
from cac_core.sentences import say

SOON = 1.0  # seconds that whoever looks waits for a cluster's answer; a later one is taken by whoever looks then
UNKNOWN = 90.0  # seconds after which a job that its cluster does not know is lost: a head that came back may have
# forgotten a training that lives on for a minute


def claimed(every: list[Job]) -> list[Job]:
    """A ticket for each, written where the job will look for it, before anybody hands it over."""
    claimed = []
    for number, job in enumerate(every):
        ticket = f"anchorscope-{every[0].id}-{every[0].attempt + 1}" + (f"_{number}" if len(every) > 1 else "")
        runs.write(job.beside(".ticket"), ticket)
        claimed.append(write(replace(job, state="starting", attempt=job.attempt + 1, ticket=ticket)))
    return claimed


def handed_over(claimed: list[Job]) -> None:
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
        with deciding(first.store):
            for job in claimed:
                now = read(job.path)
                if (now.state, now.ticket) == ("starting", job.ticket):
                    write(replace(now, state="queued"))


def _shell(job: Job, cluster: clusters.Cluster) -> str:
    known = {
        "ANCHORSCOPE_RUNS": str(job.store), "ANCHORSCOPE_JOB": job.ticket, "OMP_NUM_THREADS": str(job.needs.cpus),
        "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8",
    }  # fmt: skip
    files = job.beside(".ticket"), job.beside(".log")
    return engines.shell(job.ticket, *files, job.arguments, cluster.python, cluster.before, known, job.needs)


def open_ones(every: list[Job]) -> list[Job]:
    """Those of clusters that have not ended."""
    return [job for job in every if job.on and job.state in ("queued", *UNDER_WAY)]


def look(there: list[Job], patience: tuple[float, float], wait: float | None = None) -> list[Job]:
    """Ask each cluster about these jobs of one store, write down what it says, and take their stops further.

    wait: seconds, or SOON. Gives the jobs of which something was heard, as they are now.
    """
    store, heard = there[0].store, []
    for name in sorted({job.on for job in there}):
        mine = [job for job in there if job.on == name]
        said = clusters.states(name, queue_of(store), [job.ticket for job in mine], wait=SOON if wait is None else wait)
        if said is None:
            continue
        with deciding(store):
            told = [_told(job, said) for job in mine]
        heard += told
        if isinstance(said, Unreachable):
            continue
        for job in told:
            if job.asked and job.state in UNDER_WAY:
                _pushed_there(job, said.get(job.ticket), patience)
    return heard


def _told(before: Job, said: dict[str, Seen] | Unreachable) -> Job:
    """Write down what a cluster says of a job, unless somebody has come to know more since."""
    try:
        job = read(before.path)
    except FileNotFoundError:
        return replace(before, state="lost")
    if job.ticket != before.ticket or job.state not in ("queued", *UNDER_WAY):
        return job
    if word := _ended_itself(job):
        now = replace(job, state=word[0], reason=word[1])
    elif isinstance(said, Unreachable):
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
    if now.state == "lost" and _at_work(job):
        now = replace(job, state="unreachable", missed=now.missed, reason=say(
            "{on} has lost sight of it, but its process is at work still, as the run's lock says.", on=job.on
        ))  # fmt: skip
    if now == job:
        return job
    if now.state not in UNDER_WAY and now.state != "queued":
        ends.done_with_stop_file(now)
        _write_end(now)
    write(now)
    if now.state == "finished":
        drop_recipe(now)
    return now


def _at_work(job: Job) -> bool:
    """Whether a process holds the run, which the file system says of all machines: of a node whose network is cut a
    scheduler knows no more than of one that is gone."""
    return job.kind == "train" and job.run != "" and held(job.store / job.run / ".lock")


def _ended_itself(job: Job) -> tuple[str, str] | None:
    """What the run of a job that had begun says of its end: said since the job was handed over, and its process gone.

    The file system says it sooner than a scheduler, and also where that does not answer.
    """
    if not job.host or (word := ends.own_word(job)) is None or _at_work(job):
        return None
    with contextlib.suppress(OSError):
        status = (job.store / job.run / "status.json").stat()
        if status.st_mtime_ns >= job.beside(".ticket").stat().st_mtime_ns:
            return word
    return None


def _missing(job: Job) -> Job:
    """A job that its cluster does not know: being handed over still, or forgotten."""
    if held(job.beside(".lock")):
        return job
    if said := ends.own_word(job):
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
    state, reason = ends.outcome(job, None if seen.cause else seen.code)
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
                                      words=ends.complaint(job))  # fmt: skip
    elif seen.code == engines.UNREADY:
        state, reason = "failed", say(
            "What comes first on {on}, its `before`, has failed; its last line must succeed: {words}",
            on=job.on, words=ends.complaint(job),
        )  # fmt: skip
    elif seen.cause == "launch":
        state, reason = "failed", say(
            "{host} could not begin it ({why}), most likely as it does not see this store. Runs must lie on a file "
            "system that all machines see, under the same path: {path}.",
            host=seen.host or job.on, why=seen.why, path=job.store,
        )  # fmt: skip
    elif seen.cause == "memory":
        needs = replace(needs, memory=2 * needs.memory)
        state, reason = "lost", say(
            "It was killed for memory: it had asked for {memory} MB. Going on asks for {next} MB.",
            memory=job.needs.memory, next=needs.memory,
        ) if needs.memory else say(
            "It was killed for memory, and had not said how much it takes. Start it again, and say so."
        )  # fmt: skip
    elif seen.cause == "time":
        saved = job.kind != "train" or files.is_file(job.store / job.run / "last.pt")
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


def asked_to_stop(job: Job) -> Job:
    if job.asked or job.state not in ("queued", "starting", "running", "unreachable"):
        return job
    if job.kind == "train" and files.is_folder(job.store / job.run):
        stop_file(job).touch()  # which asks also where the cluster does not answer
    return write(replace(job, state="stopping", asked=_now(job)))


def _pushed_there(job: Job, seen: Seen | None, patience: tuple[float, float]) -> None:
    """The step of the stop that is due, as ends._pushed takes it; what waits is forgotten at once."""
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
            with deciding(job.store):
                now = read(job.path)
                if now.ticket == job.ticket and now.state == "stopping":
                    write(replace(now, terminated=True))
        elif job.kind == "train" and files.is_folder(job.store / job.run) and not stop_file(job).exists():
            stop_file(job).touch()


def _now(job: Job) -> float:
    """The time by the file system's clock, which is one for all machines."""
    file = job.path.with_name("clock")
    file.write_bytes(b".")
    return file.stat().st_mtime
