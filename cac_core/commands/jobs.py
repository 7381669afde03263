"""queue and work: the jobs, and who does them."""

import argparse
import math

from cac_core import recipe as recipes
from cac_core.sentences import say


def add(command) -> None:
    queue = command("queue", "the jobs that wait, run and have ended", _queue)
    act = queue.add_mutually_exclusive_group()
    act.add_argument("--stop", metavar="JOB")
    act.add_argument("--resume", metavar="JOB", help="put it back into the queue")
    act.add_argument("--remove", metavar="JOB", help="forget it; its run stays")
    act.add_argument("--priority", nargs=2, metavar=("JOB", "N"), help="higher comes first")
    work = command("work", "start what is queued, one job a device, until told to stop", _work)
    work.add_argument("--once", action="store_true", help="end when nothing is left to do")
    work.add_argument("--idle", type=float, default=math.inf, metavar="SECONDS", help="end after so long without a job")


def _queue(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.jobs import launch

    store = runs.store_of(a.runs)
    for name, act in {"stop": launch.stop, "resume": launch.resume, "remove": launch.remove}.items():
        if asked := getattr(a, name):
            act(launch.find(store, asked))
    if a.priority:
        number = recipes.checked_options(say("a job"), {"priority": 0}, {"priority": a.priority[1]})["priority"]
        launch.reorder(launch.find(store, a.priority[0]), number)
    rows = [
        {"job": job.id, "kind": job.kind, "run": job.run, "device": job.device, "priority": job.priority,
         "state": job.state, "reason": job.reason}
        for job in launch.settle(store)
    ]  # fmt: skip
    lines = [
        f"{r['job']:16} {r['kind']:6} {r['state']:9} {r['device']:7} {r['run']}  {r['reason']}".rstrip() for r in rows
    ]
    at_work = launch.has_worker(store)
    if any(r["state"] == "queued" for r in rows) and not at_work:
        lines.append(f"No worker is at work. Start one with:\n    python -m cac_core work --runs {store}")
    return {"worker": at_work, "jobs": rows}, lines or [f"No jobs in {store}."]


def _work(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.jobs import launch

    launch.work(runs.store_of(a.runs), once=a.once, idle=a.idle)
    return {}, []
