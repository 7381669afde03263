"""The clusters that jobs may be sent to: which there are, by a small file, and what they say.

ANCHORSCOPE_CLUSTER is "slurm", the address of a Ray head (http://head:8265), or a TOML file with a table for each
cluster; without it, ~/.config/anchorscope/clusters.toml is that file, if there is one.

    [gpu]                           # its name on the pages and for --on
    engine = "slurm"                # or "ray"
    options = ["--partition=gpu"]   # Slurm: what sbatch is given besides
    python = "/shared/venv/bin/python"      # of Anchorscope there, where it is not this one
    before = ". /etc/profile.d/modules.sh; module load cuda"   # lines of sh that come first, the last of which succeeds
    cpus = 8                        # what a job asks for where nothing else is said
    gpus = 1
    memory = "16G"
    time = "4:00:00"
    nodes = 1                       # machines that train a run together, each with so much

    [boxes]
    engine = "ray"
    address = "http://head:8265"
    token_file = "~/.ray/auth_token"

Standard library.
"""

import math
import os
import re
import threading
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac_core import files
from cac_core.jobs.engines import USUAL, Engine, Needs, Seen, Slots, Unreachable, megabytes_of, minutes_of
from cac_core.jobs.ray import Ray
from cac_core.jobs.slurm import Slurm
from cac_core.sentences import say

NAME = re.compile(r"[\w-]{1,40}")
KINDS = {"slurm": ("options", "time", "nodes"), "ray": ("address", "token_file")}  # what a table says of each, besides:
FIELDS = ("engine", "python", "before", "cpus", "gpus", "memory")
MOST = 1 << 20  # bytes of the file
EVERY = 5.0  # seconds in which a cluster is asked once, however many look
OLD = 20.0  # after which what was free is no more told


@dataclass(frozen=True)
class Cluster:
    name: str
    kind: str
    needs: Needs = USUAL  # of a job that says nothing else
    python: str = ""
    before: str = ""
    options: tuple[str, ...] = ()
    address: str = ""
    token_file: str = ""

    def engine(self, folder: Path) -> Engine:
        """What talks to it; folder is where an engine may leave its logs."""
        return Slurm(folder, self.options) if self.kind == "slurm" else Ray(self.address, self.token_file)


def source() -> str:
    """What says which clusters there are: the variable's value, a file, or nothing."""
    usual = Path("~/.config/anchorscope/clusters.toml").expanduser()
    return os.environ.get("ANCHORSCOPE_CLUSTER", "").strip() or (str(usual) if usual.is_file() else "")


def every() -> dict[str, Cluster]:
    """By name. Raises ValueError that says what is wrong with the file that names them."""
    said = source()
    if said.lower() in ("", "slurm"):
        return {"slurm": Cluster("slurm", "slurm")} if said else {}
    if said.startswith(("http://", "https://")):
        return {"ray": Cluster("ray", "ray", address=said)}
    file = Path(said).expanduser()
    try:
        tables = tomllib.loads(files.content(file, MOST).decode())
        return {name: _cluster(name, table) for name, table in tables.items()}
    except FileNotFoundError as error:
        raise ValueError(say(
            "ANCHORSCOPE_CLUSTER is slurm, the address of a Ray head such as http://head:8265, or a TOML file; there "
            "is no file {file}.",
            file=file,
        )) from error  # fmt: skip
    except (OSError, ValueError) as error:
        raise ValueError(say("The clusters in {file} cannot be used: {error}", file=file, error=error)) from error


def find(name: str) -> Cluster:
    """Raises ValueError that lists those there are."""
    there = every()
    if name not in there:
        raise ValueError(say(
            "There is no cluster {name!r}; there are: {names}. ANCHORSCOPE_CLUSTER names the file that lists them.",
            name=name, names=list(there) or say("none"),
        ))  # fmt: skip
    return there[name]


def _cluster(name: str, table: Any) -> Cluster:
    if not NAME.fullmatch(name) or not isinstance(table, dict):
        raise ValueError(say("{name!r} is no table named by letters, digits and dashes", name=name))
    kind = table.get("engine")
    if kind not in KINDS:
        raise ValueError(say("the engine of {name} must be one of {kinds}, not {kind!r}", name=name, kinds=list(KINDS),
                             kind=kind))  # fmt: skip
    known = {*FIELDS, *KINDS[kind]}
    if wrong := sorted(table.keys() - known):
        raise ValueError(say("{name} has no {names}; it takes {fields}", name=name, names=wrong, fields=sorted(known)))
    options = table.get("options", [])
    texts = {field: table.get(field, "") for field in ("python", "before", "address", "token_file")}
    if not isinstance(options, list) or not all(isinstance(text, str) for text in (*options, *texts.values())):
        raise ValueError(say("what {name} says are texts, and its options a list of them", name=name))
    if kind == "ray" and not texts["address"].startswith(("http://", "https://")):
        raise ValueError(say("{name} has no address such as http://head:8265", name=name))
    needs = needs_of(*(table.get(name) for name in ("cpus", "gpus", "memory", "time", "nodes")))
    return Cluster(name, kind, needs, options=tuple(options), **texts)


def needs_of(
    cpus: Any = None, gpus: Any = None, memory: Any = None, time: Any = None, nodes: Any = None, usual: Needs = USUAL
) -> Needs:
    """What is asked for, each as a file or a command line says it; what is None is as usual. Raises ValueError."""
    counts = {"cpus": (cpus, usual.cpus, 1), "gpus": (gpus, usual.gpus, 0), "nodes": (nodes, usual.nodes, 1)}
    numbers = {}
    for name, (said, other, least) in counts.items():
        numbers[name] = other if said is None else int(said) if str(said).isdigit() else -1
        if not least <= numbers[name] <= 1024:
            raise ValueError(say("{name} must be a whole number from {least} on, not {said!r}", name=name, least=least,
                                 said=said))  # fmt: skip
    return Needs(
        **numbers,
        memory=usual.memory if memory is None else megabytes_of(memory),
        minutes=usual.minutes if time is None else minutes_of(time),
    )


# --- what they say ---------------------------------------------------------------------------------------------------


class _Question:
    """A question that is put to an engine by a thread of its own, so that nobody waits longer than he likes.

    said: the answer, the error instead, or before it has come the answer before; at: when that came.
    """

    def __init__(self, ask, before: "_Question | None"):
        self.said, self.at = (before.said, before.at) if before else (None, 0.0)
        self.came, self.began = threading.Event(), time.monotonic()
        threading.Thread(target=self._put, args=(ask,), daemon=True).start()

    def _put(self, ask) -> None:
        try:
            self.said = ask()
        except (ValueError, OSError) as error:  # what an engine refuses to say is not known either
            self.said = error if isinstance(error, Unreachable) else Unreachable(str(error))
        self.at = time.monotonic()
        self.came.set()


_QUESTIONS: dict[tuple, _Question] = {}
_ASKING = threading.Lock()


def _asked(key: tuple, ask, wait: float, oldest: float = math.inf) -> Any:
    """The answer, about EVERY seconds old, or the error instead; None where there is none, or none but an older one.

    All who ask wait together: so many seconds from when the question was put.
    """
    with _ASKING:
        question = _QUESTIONS.get(key)
        if question is None or (question.came.is_set() and time.monotonic() - question.at > EVERY):
            question = _QUESTIONS[key] = _Question(ask, question)
            for old in [k for k, q in _QUESTIONS.items() if q.came.is_set() and time.monotonic() - q.at > 60 * EVERY]:
                del _QUESTIONS[old]
    question.came.wait(max(question.began + wait - time.monotonic(), 0))
    return question.said if time.monotonic() - question.at < oldest else None


def states(name: str, folder: Path, tickets: list[str], *, wait: float) -> dict[str, Seen] | Unreachable | None:
    """What became of these jobs; or that the cluster does not answer; None where it has never answered yet."""

    def ask() -> dict[str, Seen]:
        return find(name).engine(folder).states(tickets)

    return _asked((name, source(), str(folder), *tickets), ask, wait)


def slots(name: str, *, wait: float) -> Slots | Unreachable | None:
    """What is free; None where it has not answered in the last seconds."""
    return _asked((name, source()), lambda: find(name).engine(Path()).slots(), wait, OLD)


def doubt(needs: Needs, there: Slots | Unreachable | None) -> str:
    """Why a job will wait for long: it asks for more than there is; empty where it does not, or nobody knows."""
    if not isinstance(there, Slots):
        return ""
    cpus, gpus = needs.cpus * needs.nodes, needs.gpus * needs.nodes
    if cpus <= there.cpus[1] and gpus <= there.gpus[1]:
        return ""
    return say(
        "It asks for {cpus} processors and {gpus} graphics cards, and there are {all_cpus} and {all_gpus}: it waits "
        "until there are more.",
        cpus=cpus, gpus=gpus, all_cpus=there.cpus[1], all_gpus=there.gpus[1],
    )  # fmt: skip
