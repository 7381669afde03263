"""queue and work: the jobs, and who does them."""

import argparse
import math
from pathlib import Path

from cac_core import recipe as recipes
from cac_core import shell
from cac_core.sentences import say

CLUSTERS = """\
Clusters: ANCHORSCOPE_CLUSTER is slurm, the address of a Ray head (http://head:8265), or a TOML file, a table for each:

  [gpu]
  engine = "slurm"                    # or "ray", with address = "http://head:8265", token_file = "~/.ray/auth_token"
  options = ["--partition=gpu"]       # what sbatch is given besides
  python = "/shared/venv/bin/python"  # Anchorscope's there, where it is not this one
  before = ". /etc/profile.d/modules.sh; module load cuda"  # lines of sh that come first; the last of them must succeed
  cpus = 8                            # what a job asks for: cpus, gpus, memory = "16G"; of Slurm also
  time = "4:00:00"                    # time, and nodes

`train ... --on gpu` and the page New run hand trainings to one; the store and the data lie where all machines see them.
"""
NEEDS = {
    "cpus": "processors", "gpus": "graphics cards", "memory": "such as 16G, or megabytes",
    "time": "such as 4:00:00 or 4:00, hours first, or minutes; Slurm alone",
}  # fmt: skip
WAIT = 25.0  # seconds that a command waits for what a cluster says


def add(command) -> None:
    queue = command("queue", "the jobs that wait, run and have ended, and what is free on clusters", _queue,
                    epilog=CLUSTERS)  # fmt: skip
    act = queue.add_mutually_exclusive_group()
    act.add_argument("--stop", metavar="JOB")
    act.add_argument("--resume", metavar="JOB", help="put it back into the queue")
    act.add_argument("--remove", metavar="JOB", help="forget it; its run stays")
    act.add_argument("--priority", nargs=2, metavar=("JOB", "N"), help="higher comes first")
    work = command("work", "start what is queued here, one job a device, and look after what is on clusters", _work)
    work.add_argument("--once", action="store_true", help="end when nothing is left to do")
    work.add_argument("--idle", type=float, default=math.inf, metavar="SECONDS", help="end after so long without a job")


def on_cluster(parser: argparse.ArgumentParser, what: str) -> None:
    """The flags by which a command is done on a cluster."""
    parser.add_argument("--on", metavar="CLUSTER", help=f"{what} ANCHORSCOPE_CLUSTER names; see queue --help")
    for name, said in NEEDS.items():
        parser.add_argument(f"--{name}", help=f"of a cluster, what it asks for: {said}")


def is_away(a: argparse.Namespace) -> bool:
    """Whether the flags name a cluster. Raises ValueError where they ask for something that one alone would give."""
    if a.on is None and (asked := [f"--{name}" for name in (*NEEDS, "nodes", "parts") if getattr(a, name, None)]):
        raise ValueError(say("Only a cluster can be asked for {flags}: give --on CLUSTER as well.", flags=asked))
    return a.on is not None


def look_after(store: Path) -> str:
    """The command that shows what became of what was handed over."""
    return shell.command("queue", "--runs", store)


def needs_in(a: argparse.Namespace):
    """What the flags ask for. Raises ValueError where there is no such cluster."""
    from cac_core.jobs import clusters

    return clusters.needs_of(a.cpus, a.gpus, a.memory, a.time, getattr(a, "nodes", None), clusters.find(a.on).needs)


def _queue(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.jobs import clusters, engines, launch
    from cac_core.jobs.queue import has_worker

    store = runs.store_of(a.runs)
    for name, act in {"stop": launch.stop, "resume": launch.resume, "remove": launch.remove}.items():
        if asked := getattr(a, name):
            act(launch.find(store, asked))
    if a.priority:
        number = recipes.checked_options(say("a job"), {"priority": 0}, {"priority": a.priority[1]})["priority"]
        launch.reorder(launch.find(store, a.priority[0]), number)
    every = launch.settle(store, wait=WAIT)
    rows = [
        {"job": job.id, "kind": job.kind, "run": job.run, "device": job.device, "on": job.on, "host": job.host,
         "ticket": job.ticket, "needs": vars(job.needs) if job.on else {},
         "priority": job.priority, "state": job.state, "reason": job.reason}
        for job in every
    ]  # fmt: skip
    lines = []
    for job in every:
        first, *further = job.reason.splitlines() or [""]
        part = f"part {job.part}" if job.part else ""
        what = f"{job.id:16} {job.kind:6} {job.state:9} {job.where:7} {job.run}"
        lines.append("  ".join([what, *filter(None, (part, first))]).rstrip())
        lines += [f"    {line}" for line in further]
    at_work = has_worker(store)
    if any(job.state == "queued" and not job.on for job in every) and not at_work:
        lines.append(f"No worker is at work. Start one with:\n    {shell.command('work', '--runs', store)}")
    try:
        names = list(clusters.every())
    except ValueError as error:  # of this machine's own jobs nothing is wrong
        names, broken = [], str(error)
    else:
        broken = ""
    free = {name: clusters.slots(name, wait=WAIT) for name in names}
    told = {
        name: vars(said) if isinstance(said, engines.Slots) else {"error": str(said)} for name, said in free.items()
    }
    result = {"worker": at_work, "jobs": rows, "clusters": told} | ({"error": broken} if broken else {})
    lines = (lines or [f"No jobs in {store}."]) + [f"{name}: {said}" for name, said in free.items()]
    return result, lines + [f"error: {broken}"] * bool(broken), bool(broken)


def _work(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.jobs import worker

    worker.work(runs.store_of(a.runs), once=a.once, idle=a.idle)
    return {}, []
