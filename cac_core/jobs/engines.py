"""What starts a job: this machine's own worker, or a cluster's scheduler, behind one interface.

A cluster's scheduler owns its queue, and it alone knows whether a job lives and where. It is asked by `states`; one
that does not answer is `Unreachable`, and then nobody knows, which is not the same as lost. A job goes by a ticket that
is made here before it is handed over, so that a crash in between leaves nothing that could not be found again.

Runs lie on a file system that all machines see. What a job does first, there, is to look whether it finds beside the
store's queue the ticket that was written here; then, whether its Anchorscope is this one. Standard library.
"""

import hashlib
import re
import shlex
import sys
import zlib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Protocol

from cac_core.sentences import say

LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # a training on a processor takes them by the thousand
UNSEEN, UNFIT, UNREADY = 85, 86, 87  # how one ends that finds no store, not this Anchorscope, or whose `before` fails


class Unreachable(OSError):
    """An engine that does not answer: what it would say is not known."""


@dataclass(frozen=True)
class Needs:
    """What a job asks for. 0 is what the engine gives on its own: memory in MB, minutes until it is ended.

    All but minutes is of each node. A training on several, or on several graphics cards of one, is one run of several
    processes: one for each card, or for each node where there are none.
    """

    cpus: int = 1
    gpus: int = 0
    memory: int = 0
    minutes: int = 0
    nodes: int = 1


USUAL = Needs()


@dataclass(frozen=True)
class Task:
    """A job to be handed over: the ticket by which it is found again, and what the shell there is told."""

    ticket: str
    shell: str


@dataclass(frozen=True)
class Seen:
    """What an engine says of a job: "queued", "running" or "ended", where, and why in the engine's own words.

    code: how it ended, -9 by signal 9. cause: why the engine ended it: "memory", "time", "node", "cancelled", "launch"
    where the node could not begin it, or "" where it ended by itself.
    """

    state: str
    host: str = ""
    why: str = ""
    code: int | None = None
    cause: str = ""


@dataclass(frozen=True)
class Slots:
    """Processors and graphics cards: what is free now, and what there is."""

    cpus: tuple[int, int] = (0, 0)
    gpus: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        (cpus, all_cpus), (gpus, all_gpus) = self.cpus, self.gpus
        return f"{cpus} of {all_cpus} processors free" + (f", {gpus} of {all_gpus} graphics cards" if all_gpus else "")


class Engine(Protocol):
    """Each raises Unreachable where the engine does not answer, and ValueError, in its words, for what it refuses."""

    def submit(self, tasks: list[Task], needs: Needs) -> None:
        """Hand over jobs that need the same, in one go."""

    def states(self, tickets: list[str]) -> dict[str, Seen]:
        """What became of these; of what the engine does not know, nothing."""

    def stop(self, ticket: str, *, hard: bool) -> None:
        """SIGTERM to what runs, or its end if hard; what waits is forgotten. Nothing where it is not known."""

    def log(self, ticket: str) -> str:
        """What the job, or the engine about it, has said outside of the job's own log."""

    def slots(self) -> Slots: ...


# --- what the shell there is told ------------------------------------------------------------------------------------


def shell(
    ticket: str, seal: Path, log: Path, arguments: tuple[str, ...], python: str, before: str, known: dict[str, str],
    needs: Needs = USUAL,
) -> str:  # fmt: skip
    """Look for the ticket in its file, see that the code is the same, and become `python -m cac_core <arguments>`.

    python: the interpreter there, or empty for this one. before: lines that set up the environment there. known: what
    stands in the environment. needs: of a training, by which it is several processes.
    """
    quoted = {name: shlex.quote(str(value)) for name, value in {"seal": seal, "log": log, "ticket": ticket}.items()}
    here = str(Path(__file__).parents[2])
    if not python:  # this one, with its package, which may not be installed
        python, known = sys.executable, {"PYTHONPATH": here, **known}
    python = shlex.quote(str(Path(python).expanduser()))
    return "\n".join([
        f'if [ "$(cat {quoted["seal"]} 2>/dev/null)" != {quoted["ticket"]} ]; then',
        f"  echo no such ticket here: {quoted['seal']} >&2; exit {UNSEEN}",
        "fi",
        f"exec >{quoted['log']} 2>&1 </dev/null",
        *([before, f"[ $? -eq 0 ] || exit {UNREADY}"] if before else []),
        *(f"export {name}={shlex.quote(value)}" for name, value in known.items()),
        *(f'export {name}="${{{name}:-{value}}}"' for name, value in LARGE_PAGES.items()),
        f"{python} -m cac_core.jobs.engines {shlex.quote(here)} {code()} || exit {UNFIT}",
        *_become(f"-m cac_core {shlex.join(arguments)}", python, needs if arguments[0] == "train" else USUAL, ticket),
    ])  # fmt: skip


def _become(what: str, python: str, needs: Needs, ticket: str) -> list[str]:
    """The lines that become one process, or those of torchrun: on several nodes, which are Slurm's, by its srun."""
    together = f"{python} -m torch.distributed.run --nproc-per-node {max(needs.gpus, 1)}"
    if needs.nodes > 1:
        port = 20000 + zlib.crc32(ticket.encode()) % 20000
        each = f'exec {together} --nnodes {needs.nodes} --node-rank "$SLURM_NODEID" --master-addr "$MASTER_ADDR" ' \
               f"--master-port {port} {what}"  # fmt: skip
        return [
            'export MASTER_ADDR="${MASTER_ADDR:-$(hostname)}"',  # this is the first of them
            f"exec srun --ntasks-per-node=1 --cpus-per-task={needs.cpus} --kill-on-bad-exit=1 --wait=60 "
            f"sh -c {shlex.quote(each)}",
        ]
    return [f"exec {together} --standalone {what}" if needs.gpus > 1 else f"exec {python} {what}"]


@cache
def code() -> str:
    """Which Anchorscope this is: its version, and a digest of its sources."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + file.read_bytes().replace(b"\r\n", b"\n"))
    try:
        version = metadata.version("anchorscope")
    except metadata.PackageNotFoundError:
        version = "0"
    return f"{version}+{digest.hexdigest()[:10]}"


def same_code(place: str, there: str) -> str:
    """Why a job from there must not run by this Anchorscope; empty where it may.

    From the same folder it is the same, also where somebody has changed it since.
    """
    if Path(place) == Path(__file__).parents[2] or there == code():
        return ""
    return say(
        "The Anchorscope that sent this job is {sent}, the one here is {here}, in {place}. Bring both to one version, "
        "or name with `python` the one that sent it, and go on.",
        sent=there, here=code(), place=Path(__file__).parents[2],
    )  # fmt: skip


TIME = re.compile(r"(?:(?P<days>\d{1,3})-)?(?P<rest>\d{1,4}(?::\d{1,2}){0,2})")  # hours first
MEMORY = re.compile(r"(?P<whole>\d{1,9})|(?P<number>\d{1,7}(?:\.\d+)?)\s*(?P<unit>[MGT])B?", re.IGNORECASE)


def minutes_of(said: str | int) -> int:
    """Minutes out of 90, "4:00:00", "4:00" (hours and minutes), "2-12" or "2-12:00"; a part of one is one more.

    Raises ValueError.
    """
    if str(said).isdigit():
        return int(said)
    if not (found := TIME.fullmatch(str(said).strip())):
        raise ValueError(say("{said!r} is no time. It is written in minutes, or as 4:00:00 or 2-12:00", said=said))
    hours, minutes, seconds = (*map(int, found["rest"].split(":")), 0, 0)[:3]
    return (24 * int(found["days"] or 0) + hours) * 60 + minutes + (seconds > 0)


def megabytes_of(said: str | int) -> int:
    """Megabytes out of 500, "16G" or "1.5 T". Raises ValueError."""
    if not (found := MEMORY.fullmatch(str(said).strip())):
        raise ValueError(say("{said!r} is no size of memory. It is written in megabytes, or as 16G", said=said))
    if found["whole"]:
        return int(found["whole"])
    return round(float(found["number"]) * 1024 ** "MGT".index(found["unit"].upper()))


if __name__ == "__main__":
    if wrong := same_code(*sys.argv[1:]):
        print(f"error: {wrong}")
        sys.exit(1)
