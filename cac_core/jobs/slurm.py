"""Slurm, by its own commands: sbatch, squeue (sacct for what it has forgotten), scancel and sinfo. Standard library.

A job's name is its ticket, or of several that were handed over together, TICKET_0, TICKET_1 and so on, the ticket of
the array that they are. What Slurm itself says of a job stands in <folder>/<ticket>.out.
"""

import contextlib
import os
import re
import shlex
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from cac_core.jobs.engines import Needs, Seen, Slots, Task, Unreachable
from cac_core.sentences import say

PATIENCE = 20.0  # seconds that a command of Slurm's may take
SOONER = 120  # seconds before its time is up that a job is asked to save and end,
SLACK = 60  # and as much before that, since Slurm looks once a minute,
LONG = 15  # minutes: if it has at least so many
MANY = 500  # jobs that are asked for in one go
DEAD = re.compile(  # what its commands say where the controller, or their way to it, is at fault and not the job
    r"unable to contact slurm controller|zero bytes were transmitted|socket timed out|connection refused|"
    r"could not connect|connect failure|munge|authentication|credential|(unable to|could not) establish a? ?config|"
    r"communication connection|slurmdbd|resolve controller|slurm_load|too many|temporarily unable|backup mode",
    re.IGNORECASE,
)
MEMORY = re.compile("exceeded (job )?memory limit|oom.kill", re.IGNORECASE)
UNBEGUN = 53  # the signal that Slurm tells of where a node could not open the job's log
NO_ACCOUNTS = "accounting storage is disabled"
QUEUED = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
RUNNING = {"RUNNING", "CONFIGURING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "RESIZING"}
CAUSES = {
    "OUT_OF_MEMORY": "memory", "TIMEOUT": "time", "DEADLINE": "time", "NODE_FAIL": "node", "BOOT_FAIL": "node",
    "PREEMPTED": "node", "REVOKED": "node", "CANCELLED": "cancelled",
}  # fmt: skip
NEVER = {"PartitionNodeLimit", "PartitionConfig", "PartitionTimeLimit", "BadConstraints", "NodeConfigNotAvail"}
FIELDS = ("JobArrayID", "Name", "State", "exit_code", "Reason", "NodeList", "TimeUsed", "TimeLimit")  # of squeue
RECORD = ("JobID", "JobName", "State", "ExitCode", "Reason", "NodeList", "Elapsed", "Timelimit")  # of sacct


@dataclass(frozen=True)
class Slurm:
    """folder: where its logs go. options: what else sbatch is given, such as --partition=gpu."""

    folder: Path
    options: tuple[str, ...] = ()

    def submit(self, tasks: list[Task], needs: Needs) -> None:
        several = len(tasks) > 1
        name = tasks[0].ticket.rpartition("_")[0] if several else tasks[0].ticket
        said = f"{self.folder}/".replace("%", "%%") + ("%x_%a.out" if several else "%x.out")
        asked = [f"--job-name={name}", f"--output={said}", "--open-mode=truncate", "--no-requeue", "--parsable",
                 f"--nodes={needs.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={needs.cpus}"]  # fmt: skip
        asked += [f"--array=0-{len(tasks) - 1}"] * several + [f"--gres=gpu:{needs.gpus}"] * (needs.gpus > 0)
        asked += [f"--mem={needs.memory}M"] * (needs.memory > 0) + [f"--time={needs.minutes}"] * (needs.minutes > 0)
        asked += [f"--signal=B:TERM@{SOONER}"] * (needs.minutes >= LONG)
        parts = tasks[0].shell
        if several:
            cases = "\n".join(f"{n})\n{task.shell}\n;;" for n, task in enumerate(tasks))
            parts = f'case "$SLURM_ARRAY_TASK_ID" in\n{cases}\nesac'
        # what this machine's own slot shows of it says nothing of a node
        hidden = {"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"}
        _run(["sbatch", *asked, *self.options], given=f"#!/bin/sh\n{parts}\n",
             environment={name: value for name, value in os.environ.items() if name not in hidden})  # fmt: skip

    def states(self, tickets: list[str]) -> dict[str, Seen]:
        found = {ticket: seen for ticket, (_, seen) in self._found(tickets).items()}
        if lacking := [ticket for ticket in tickets if ticket not in found]:
            found |= self._recorded(lacking)
        for ticket, seen in found.items():  # without cgroups Slurm calls it a failure, and says why in its log alone
            if seen.code == -9 and not seen.cause and MEMORY.search(self.log(ticket)):
                found[ticket] = replace(seen, cause="memory")
        return found

    def _found(self, tickets: list[str]) -> dict[str, tuple[str, Seen]]:
        """Ticket -> (Slurm's number, what it says) of those that squeue still knows."""
        found = {}
        for names in _several(tickets):
            shown = ",".join(f"{field}:|" for field in FIELDS)
            said = _run(["squeue", "--noheader", "--array", "--states=all", f"--name={','.join(names)}", "-O", shown])
            found |= queue(said)
        return {ticket: found[ticket] for ticket in tickets if ticket in found}

    def _recorded(self, tickets: list[str]) -> dict[str, Seen]:
        found = {}
        with contextlib.suppress(ValueError, FileNotFoundError):  # a cluster without accounts
            for names in _several(tickets):
                # a month, not a time of ours: its clock may be another
                found |= accounts(_run(["sacct", "--noheader", "--parsable2", "--allocations",
                                        "--starttime=now-30days", f"--name={','.join(names)}",
                                        f"--format={','.join(RECORD)}"]))  # fmt: skip
        return {ticket: found[ticket] for ticket in tickets if ticket in found}

    def stop(self, ticket: str, *, hard: bool) -> None:
        number, seen = self._found([ticket]).get(ticket, ("", None))
        if seen is None or seen.state == "ended":
            return
        softly = [] if hard or seen.state == "queued" else ["--full", "--signal=TERM"]
        with contextlib.suppress(ValueError):  # it has ended meanwhile
            _run(["scancel", *softly, number])

    def log(self, ticket: str) -> str:
        try:
            return (self.folder / f"{ticket}.out").read_text("utf-8", "replace")[-20_000:]
        except OSError:
            return ""

    def slots(self) -> Slots:
        chosen = [option for option in self.options if option.startswith(("--partition", "-p"))]
        shown = "NodeList:|,CPUsState:|,Gres:|,GresUsed:|,StateCompact:|"
        if not (said := _run(["sinfo", "--noheader", "--Node", *chosen, "-O", shown])).strip():
            raise ValueError(say("Slurm has no machine for {options}.", options=shlex.join(chosen) or "sbatch"))
        return free(said)


def queue(said: str) -> dict[str, tuple[str, Seen]]:
    """What squeue says, by ticket: Slurm's number, and what became of the job."""
    found = {}
    for line in said.splitlines():
        number, name, state, code, *rest = (line.split("|") + [""] * len(FIELDS))[: len(FIELDS)]
        index = number.partition("_")[2]
        found[f"{name}_{index}" if index.isdigit() else name] = number, _seen(state, int(code or 0), *rest)
    return found


def accounts(said: str) -> dict[str, Seen]:
    """What sacct says, by ticket. Its exit code is 0:9 for signal 9."""
    found = {}
    for line in said.splitlines():
        number, name, state, code, *rest = (line.split("|") + [""] * len(RECORD))[: len(RECORD)]
        index = number.partition("_")[2]
        status, _, signal = code.partition(":")
        raw = int(signal or 0) or int(status or 0) << 8
        found[f"{name}_{index}" if index.isdigit() else name] = _seen(state.split(" ")[0], raw, *rest)
    return found


def _seen(state: str, status: int, why: str, host: str, used: str, limit: str) -> Seen:
    """status: as the system's wait gives it. What has ended so near its limit has been asked to, see SOONER."""
    why, host = ("" if text in ("None", "N/A", "n/a", "None assigned") else text for text in (why, host))
    if state in QUEUED:
        return Seen("queued", "", _waits(why))
    if state in RUNNING:
        return Seen("running", host, why)
    near = _seconds(used) + SOONER + 2 * SLACK >= _seconds(limit) >= 60 * LONG
    cause = CAUSES.get(state, "time" if near and state == "COMPLETED" else "")
    code = os.waitstatus_to_exitcode(status)
    return Seen("ended", host, why, code, "launch" if code == -UNBEGUN else cause)


def _waits(why: str) -> str:
    """Slurm's word for why a job waits, in words that say more where it is a frequent one."""
    if why in NEVER:
        return say("no machine there gives so much, so it will not begin ({word}); stop it, and ask for less", word=why)
    if why == "Resources":
        return say("what it asks for is not free ({word})", word=why)
    return say("others come first ({word})", word=why) if why == "Priority" else why


def _seconds(said: str) -> int:
    """Out of 2-03:04:05, 03:04:05 or 4:05; 0 where there is no limit."""
    if not re.fullmatch(r"(\d+-)?[\d:]+", said):
        return 0
    days, _, rest = said.rpartition("-")
    total = 0
    for part in rest.split(":"):
        total = 60 * total + int(part)
    return total + 86400 * int(days or 0)


def free(said: str) -> Slots:
    """What sinfo says: processors as allocated/idle/other/total of each node, cards as gpu:a100:4(S:0-1)."""
    nodes = {line.split("|")[0]: line.split("|")[1:5] for line in said.splitlines() if line.count("|") >= 4}
    cpus, gpus = [0, 0], [0, 0]
    for processors, cards, used, state in nodes.values():  # a node of two partitions stands there twice
        _, idle, _, total = map(int, processors.split("/"))
        up = re.match("idle|mix|alloc|comp", state) and not state.endswith(("*", "-"))
        cpus = [cpus[0] + idle * bool(up), cpus[1] + total]
        there = _cards(cards)
        gpus = [gpus[0] + (there - _cards(used)) * bool(up), gpus[1] + there]
    return Slots(tuple(cpus), tuple(gpus))


def _cards(said: str) -> int:
    return sum(int(count) for count in re.findall(r"\bgpu(?::[^:,(]*[^:,(\d][^:,(]*)?:(\d+)", said))


def _several(tickets: list[str]) -> list[list[str]]:
    """The names to ask for, some at a time: a ticket's own, and that of the array that it may be of."""
    names = list(dict.fromkeys(re.sub(r"_\d+$", "", ticket) for ticket in tickets))
    return [names[n : n + MANY] for n in range(0, len(names), MANY)]


def _run(command: list[str], *, given: str | None = None, environment: dict[str, str] | None = None) -> str:
    """What a command of Slurm's says. Raises Unreachable where it has no answer, ValueError for what it refuses."""
    try:
        done = subprocess.run(
            command, input=given or "", capture_output=True, text=True, errors="replace", timeout=PATIENCE,
            env={**(environment or os.environ), "SLURM_TIME_FORMAT": "standard"},
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Unreachable(say(
            "Slurm is not to be reached: there is no {command} on this machine. Start Anchorscope where Slurm's "
            "commands are, as on a login node.",
            command=command[0],
        )) from error  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unreachable(say(
            "Slurm does not answer: {command} has said nothing for {seconds} seconds.",
            command=command[0], seconds=round(PATIENCE),
        )) from error  # fmt: skip
    except OSError as error:
        raise Unreachable(say("Slurm does not answer: {command} {error}", command=command[0], error=error)) from error
    if done.returncode == 0:
        return done.stdout
    words = re.sub(rf"^({command[0]}|slurm_\w+): (error: )?", "", done.stderr.strip(), flags=re.MULTILINE)
    if NO_ACCOUNTS not in words and DEAD.search(words):
        raise Unreachable(say("Slurm does not answer: {words}", words=words))
    raise ValueError(say("Slurm refuses: {words}", words=words or shlex.join(command)))
