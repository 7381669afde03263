"""Jobs seen from a page: what is put into the queue, how far it is, and how it is stopped or goes on."""

import dataclasses
import os
import re
from pathlib import Path

import streamlit as st

from app import holdings, wording
from app.words import t
from cac_core import runs
from cac_core.data import datasets
from cac_core.jobs import launch, worker
from cac_core.jobs.engines import Needs
from cac_core.jobs.queue import log
from cac_core.recipe import Recipe
from cac_core.results import project, sweep
from cac_core.runs import Run


def read_only() -> bool:
    """Whether this is a show in which nothing is computed or written."""
    return os.environ.get("ANCHORSCOPE_READONLY", "0") not in ("", "0")


def store() -> Path:
    return runs.store_of().absolute()


@st.cache_data(ttl=300, max_entries=1, show_spinner=False)
def devices() -> list[str]:
    return list(worker.devices())


def start(run: Run, kind: str, arguments: list[str]) -> None:
    """Put a job on this run into the queue, and see to it that somebody works on it."""
    store = run.path.parent.absolute()
    launch.submit(store, kind, [*arguments, "--data", str(datasets.root_of().absolute())], run=run.id)
    worker.ensure_worker(store)


def jobs_of(run: Run, kind: str) -> list[launch.Job]:
    """The jobs of one kind on this run that wait or are under way, and the last one that went wrong."""
    mine = [job for job in launch.jobs(run.path.parent.absolute()) if job.run == run.id and job.kind == kind]
    open_ones = [job for job in mine if job.state == "queued" or job.state in launch.UNDER_WAY]
    return open_ones or [job for job in mine[-1:] if job.state in ("failed", "lost")]


def work_of(run: Run, kind: str) -> None:
    """The jobs of this kind on the run: how far they are, and a way to stop them. Looks again while there are any."""
    waiting = jobs_of(run, kind)
    if waiting:
        going = any(job.state not in ("failed", "lost") for job in waiting)
        st.fragment(_work, run_every="2s" if going else None, key=f"work_{kind}")(run, kind)


def _work(run: Run, kind: str) -> None:
    waiting = jobs_of(run, kind)
    if not waiting:
        st.rerun()  # what they made is there
    for job in waiting:
        if job.state in ("failed", "lost"):
            st.error(wording.told(job.reason or t("It ended without a word.")), icon=":material/error:")
            continue
        line, stop = st.columns([5, 1], vertical_alignment="center")
        far = progress_of(run, kind) if job.state == "running" else None
        if far:
            line.progress(min(far[0], 1.0), far[1])
        else:
            line.caption(t("Waits for its turn.") if job.state == "queued" else t("Starting…"))
        if not read_only() and stop.button(t("Stop"), key=f"stop_{job.id}", icon=":material/stop:"):
            with wording.explained():
                launch.stop(job)


def progress_of(run: Run, kind: str) -> tuple[float, str] | None:
    """How far a job of this kind on the run is, 0 to 1, and in words."""
    said = project.under_way(run) if kind == "map" else sweep.under_way(run)
    if not said:
        return None
    left = said.get("seconds_left")
    words = f"{t(said['stage'])}: {said['done']} / {said['of']}"
    return said["done"] / max(said["of"], 1), words + (
        f", {t('about {s:.0f} s left', s=left)}" if left is not None else ""
    )


def use(run: Run, kind: str, arguments: list[str]) -> None:
    """Put a threshold to use, "score" or "export": beside what is trained, in a slot of its own. Its output's path is
    among the arguments, and finds it again."""
    store = run.path.parent.absolute()
    folders = ["--runs", str(store), "--data", str(datasets.root_of().absolute())]
    launch.submit(store, kind, [kind, run.id, *arguments, *folders])
    worker.ensure_worker(store)


def making(run: Run, file: Path) -> launch.Job | None:
    """The last job that makes this file, or was to."""
    mine = [job for job in launch.jobs(run.path.parent.absolute()) if str(file) in job.arguments]
    return mine[-1] if mine else None


def begin(kind: str, name: str) -> None:
    """Put a download of a data set, "fetch", or a look through one of one's own, "look", into the queue.

    A download goes on beside what is trained, and trainings of its images wait for it.
    """
    launch.submit(store(), kind, [kind, name, "--data", str(holdings.root())])
    worker.ensure_worker(store())


def join(ids: list[str], mean: str) -> None:
    """Put the making of an ensemble of these runs into the queue."""
    launch.submit(store(), "ensemble", ["ensemble", *ids, "--mean", mean, "--runs", str(store())])
    worker.ensure_worker(store())


def joining() -> list[launch.Job]:
    """Ensembles that are to be made, and those that could not be."""
    return [job for job in launch.jobs(store()) if job.kind == "ensemble" and job.state != "finished"]


def last(kind: str, name: str) -> launch.Job | None:
    """The last such job for a data set that waits, runs or went wrong."""
    mine = [j for j in launch.jobs(store()) if j.kind == kind and j.arguments[1:2] == (name,)]
    return mine[-1] if mine and mine[-1].state != "finished" else None


def going(job: launch.Job | None) -> bool:
    return job is not None and (job.state == "queued" or job.state in launch.UNDER_WAY)


def train(every: list[Recipe], device: str, again: bool = False, needs: Needs | None = None) -> int:
    """Put the training of each into the queue, of those that have not ended; how many.

    again: of those, too, whose images have changed since, whose old run goes to the trash as the training begins.
    needs: what each asks for on the cluster that device names then.
    """
    left = [one for one in every if again or Run(store() / one.id).state != "finished"]
    if needs is not None:
        launch.submit_there(store(), left, device, needs, root=holdings.root(), again=again)
        return len(left)
    if left:
        launch.submit_recipes(store(), left, root=holdings.root(), device=device, again=again)
        worker.ensure_worker(store())
    return len(left)


def go_on_all() -> None:
    """Everything that stopped, failed or was lost goes back into the queue."""
    for job in launch.jobs(store()):
        if job.state in launch.AGAIN:
            go_on(job, None)


def remove_ended() -> None:
    """Forget every job that neither waits nor is under way. Their runs stay."""
    for job in launch.jobs(store()):
        if not going(job):
            launch.remove(job)


def waiting(every: list[launch.Job]) -> list[launch.Job]:
    """What is queued on this machine, in the order in which it is taken; a cluster has an order of its own."""
    return sorted((j for j in every if j.state == "queued" and not j.on), key=lambda j: (-j.priority, j.id))


def moved(queue: list[launch.Job], job: launch.Job, by: int) -> dict[str, int]:
    """The priorities that change when a queued job moves by so many places towards the end: job id -> priority."""
    ids = [one.id for one in queue]
    place = ids.index(job.id)
    order = [one for one in queue if one.id != job.id]
    order.insert(max(place + by, 0), job)
    wanted = {one.id: len(order) - n for n, one in enumerate(order)}
    return {one.id: wanted[one.id] for one in queue if wanted[one.id] != one.priority}


def go_on(job: launch.Job | None, run: Run | None) -> None:
    """Back into the queue with what stopped, failed or was lost, begun here or elsewhere."""
    if job is not None and job.on:
        launch.resume(job)
        return
    if job is not None:
        launch.resume(job)
    elif run.id != run.recipe.id:  # its folder is called otherwise
        where = ["--data", str(holdings.root().absolute())]
        launch.submit(store(), "train", ["train", "--resume", run.id, *where], run=run.id, device=slot(run))
    else:
        launch.submit_recipe(store(), run.recipe, root=holdings.root(), device=slot(run))
    worker.ensure_worker(store())


def smaller(run: Run, reason: str) -> Recipe | None:
    """The recipe in the batch that a run's last words propose where its memory did not suffice; else None."""
    proposed = re.search(r"--batch (\d+)", reason) if reason.startswith("Out of memory") else None
    return dataclasses.replace(run.recipe, batch=int(proposed[1])) if proposed else None


def of_other_images(reason: str) -> bool:
    """Whether a training's last words are that its data set has changed, and that it can be trained again."""
    return re.search(r"cac_core train .* --again$", reason) is not None


def slot(run: Run) -> str:
    """The device that a run was on, as the queue names it; the processor where it is not here."""
    device = str(run.status.get("device", "cpu"))
    device = "cuda:0" if device == "cuda" else device
    return device if device in devices() else "cpu"


def stop_waiting() -> None:
    """Take everything out of the queue that has not begun, here and on clusters."""
    for job in [job for job in launch.jobs(store()) if job.state == "queued"]:
        launch.stop(job)


def stop(job: launch.Job | None, run: Run | None) -> None:
    if job is not None:
        launch.stop(job)
    else:
        runs.write(run.path / "stop", "")


def log_of(job: launch.Job | None, run: Run | None) -> str:
    """The last lines of what a job or, without one, a training has said."""
    if job is not None and (said := log(job, last=40)):
        return said
    try:
        return "\n".join((run.path / "log.txt").read_text("utf-8", "replace").splitlines()[-40:]) if run else ""
    except OSError:
        return ""
