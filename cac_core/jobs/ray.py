"""Ray Jobs, by the HTTP interface of a Ray head's dashboard: what ray's own client does, without its 57 packages.

A job's submission id is its ticket. Ray knows no limit of time. It kills a job RAY_JOB_STOP_WAIT_TIME_S after it was
asked to stop (3 seconds, unless `ray start` was given more), fails one that has waited for
RAY_JOB_START_TIMEOUT_SECONDS (15 minutes), and does not let go of one that waits when it is asked to.
Where RAY_AUTH_MODE=token, the token is RAY_AUTH_TOKEN's, or the token file's. Standard library.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cac_core.jobs.engines import Needs, Seen, Slots, Task, Unreachable
from cac_core.sentences import say

PATIENCE = 20.0  # seconds that an answer may take
MOST = 64 << 20  # bytes of one
STATES = {"PENDING": "queued", "RUNNING": "running", "SUCCEEDED": "ended", "FAILED": "ended", "STOPPED": "ended"}


@dataclass(frozen=True)
class Ray:
    address: str
    token_file: str = ""

    def submit(self, tasks: list[Task], needs: Needs) -> None:
        if needs.nodes > 1:
            raise ValueError(say("Ray Jobs puts a job on one machine: several together need Slurm. Ask for one."))
        if needs.minutes:
            raise ValueError(say("Ray Jobs ends no job after a time: leave the time out."))
        asked = {"entrypoint_num_cpus": needs.cpus, "entrypoint_num_gpus": needs.gpus}
        if needs.memory:
            asked["entrypoint_memory"] = needs.memory << 20
        for task in tasks:
            self._said("POST", "/api/jobs/", {"submission_id": task.ticket, "entrypoint": task.shell, **asked})

    def states(self, tickets: list[str]) -> dict[str, Seen]:
        jobs = {job.get("submission_id"): job for job in self._said("GET", "/api/jobs/")}
        return {ticket: _seen(jobs[ticket]) for ticket in tickets if ticket in jobs}

    def stop(self, ticket: str, *, hard: bool) -> None:
        try:
            self._said("POST", f"/api/jobs/{ticket}/stop")
        except ValueError:  # it has ended, or is not known
            return

    def log(self, ticket: str) -> str:
        try:
            return str(self._said("GET", f"/api/jobs/{ticket}/logs").get("logs", ""))[-20_000:]
        except (ValueError, OSError):
            return ""

    def slots(self) -> Slots:
        return free(self._said("GET", "/api/cluster_status"))

    def _said(self, how: str, what: str, given: Any = None) -> Any:
        """Raises Unreachable where nobody answers or who asks is not known, ValueError for what is refused."""
        headers = {"Content-Type": "application/json"}
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        url = urllib.parse.urljoin(self.address.rstrip("/") + "/", what.lstrip("/"))
        content = None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(url, content, headers, method=how)
        try:
            with OPENER.open(request, timeout=PATIENCE) as answer:
                return json.loads(answer.read(MOST))
        except urllib.error.HTTPError as error:
            words = error.read(4000).decode("utf-8", "replace").strip()
            if error.code in (401, 403):
                raise Unreachable(say(
                    "Ray at {address} wants a token ({code}): name its file with token_file, or set RAY_AUTH_TOKEN.",
                    address=self.address, code=error.code,
                )) from error  # fmt: skip
            if error.code >= 500 and "already exists" not in words:
                raise Unreachable(say("Ray at {address} does not answer: {error}", address=self.address,
                                      error=_last(words) or error)) from error  # fmt: skip
            raise ValueError(say("Ray refuses: {words}", words=_last(words) or error)) from error
        except (OSError, ValueError) as error:  # no answer, or none that is JSON
            reason = getattr(error, "reason", error)
            raise Unreachable(
                say("Ray at {address} does not answer: {error}", address=self.address, error=str(reason))
            ) from error

    def _token(self) -> str:
        if not self.token_file:
            return os.environ.get("RAY_AUTH_TOKEN", "")
        try:
            return Path(self.token_file).expanduser().read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise Unreachable(
                say("The token of Ray cannot be read from {file}: {error}", file=self.token_file, error=error)
            ) from error


def _seen(job: dict[str, Any]) -> Seen:
    """What Ray says of a job."""
    state = STATES.get(str(job.get("status")), "queued")
    host = urllib.parse.urlsplit(str(job.get("driver_agent_http_address") or "")).hostname or ""
    why = str(job.get("message") or "").split("\n")[0]
    if state != "ended":
        return Seen(state, host) if state == "running" else Seen(state, "", why.rstrip("."))
    code = job.get("driver_exit_code")
    code = 0 if job["status"] == "SUCCEEDED" else code if isinstance(code, int) else None
    return Seen("ended", host, why, code, "cancelled" if job["status"] == "STOPPED" else "")


def free(said: Any) -> Slots:
    """What /api/cluster_status says: used and all of each resource."""
    try:
        usage = said["data"]["clusterStatus"]["loadMetricsReport"]["usage"]
    except (KeyError, TypeError):  # a head that has just begun
        return Slots()
    (cpus, all_cpus), (gpus, all_gpus) = (usage.get(name, (0, 0)) for name in ("CPU", "GPU"))
    return Slots((int(all_cpus - cpus), int(all_cpus)), (int(all_gpus - gpus), int(all_gpus)))


class _Here(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        """A token is given to the address that was named, and to no other."""


OPENER = urllib.request.build_opener(_Here)


def _last(words: str) -> str:
    return next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")
