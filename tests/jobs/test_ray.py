"""Ray Jobs: what a head says, as recorded from Ray 2.60 with a token. benchmarks/cluster.py runs a real one."""

import http.server
import json
import os
import threading
from pathlib import Path

import filelock
import pytest

from cac_core import runs
from cac_core.exchange import shelf
from cac_core.jobs import away, clusters, launch
from cac_core.jobs.engines import UNSEEN, Needs, Seen, Slots, Unreachable
from cac_core.jobs.ray import Ray, free
from cac_core.recipe import compose

WAITS = "Job has not started yet. It may be waiting for resources (CPUs, GPUs, memory) to become available."
JOBS = [
    {"submission_id": "a-1_0", "status": "RUNNING", "message": "Job is currently running.", "driver_exit_code": None,
     "driver_agent_http_address": "http://10.0.0.7:52365"},
    {"submission_id": "a-2", "status": "FAILED", "driver_exit_code": 85,
     "message": "Job entrypoint command failed with exit code 85, last available logs (truncated):\nout\n",
     "driver_agent_http_address": "http://10.0.0.7:52365"},
    {"submission_id": "a-3", "status": "PENDING", "message": WAITS, "driver_exit_code": None,
     "driver_agent_http_address": None},
    {"submission_id": "a-4", "status": "FAILED", "message": "Job entrypoint command failed with exit code -9, last",
     "driver_exit_code": -9, "driver_agent_http_address": "http://10.0.0.7:52365"},
    {"submission_id": "a-5", "status": "STOPPED", "message": "Job was intentionally stopped.",
     "driver_exit_code": None, "driver_agent_http_address": None},
    {"submission_id": None, "status": "SUCCEEDED", "message": None},
]  # fmt: skip
USAGE = {"node:127.0.0.1": [0.0, 1.0], "memory": [0.0, 13766164071.0], "CPU": [1.0, 2.0], "GPU": [3.0, 8.0]}
STATUS = {"result": True, "data": {"clusterStatus": {"loadMetricsReport": {"usage": USAGE}}}}
TOKEN = "a-token-of-thirty-two-characters"


class Head(http.server.BaseHTTPRequestHandler):
    """Answers as a head does; what it is asked stands in server.asked."""

    def _answer(self):
        given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._say(401, "Unauthorized: Missing authentication token")
        self.server.asked.append((self.command, self.path, json.loads(given or "null")))
        if self.path == "/api/jobs/" and self.command == "GET":
            return self._say(200, json.dumps(self.server.jobs))
        if self.path == "/api/jobs/":
            return (
                self._say(200, "{}") if self.server.takes else self._say(400, "Traceback:\nTypeError: no such number")
            )
        if self.path == "/api/cluster_status":
            return self._say(200, json.dumps(STATUS))
        if self.path.endswith("/logs"):
            return self._say(200, json.dumps({"logs": "out\n"}))
        if self.path.endswith("/a-1_0/stop"):
            return self._say(200, '{"stopped": true}')
        return self._say(404, "Job nope does not exist")

    do_GET = do_POST = _answer

    def _say(self, code: int, words: str):
        self.send_response(code)
        self.send_header("Content-Length", str(len(words.encode())))
        self.end_headers()
        self.wfile.write(words.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def head(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Head)
    server.asked, server.jobs, server.takes = [], JOBS, True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "token").write_text(TOKEN + "\n")
    address = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "clusters.toml").write_text(
        f"[boxes]\nengine = 'ray'\naddress = '{address}'\ntoken_file = '{tmp_path / 'token'}'\n"
    )
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "clusters.toml"))
    monkeypatch.setattr(clusters, "EVERY", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def engine() -> Ray:
    return clusters.find("boxes").engine(Path())


def test_what_a_head_says_of_jobs(head):
    assert engine().states(["a-1_0", "a-2", "a-3", "a-4", "a-5", "a-6"]) == {
        "a-1_0": Seen("running", "10.0.0.7"),
        "a-2": Seen("ended", "10.0.0.7", "Job entrypoint command failed with exit code 85, last available logs "
                    "(truncated):", UNSEEN),
        "a-3": Seen("queued", "", WAITS.rstrip(".")),
        "a-4": Seen("ended", "10.0.0.7", "Job entrypoint command failed with exit code -9, last", -9),
        "a-5": Seen("ended", "", "Job was intentionally stopped.", None, "cancelled"),
    }  # fmt: skip
    assert engine().log("a-2") == "out\n"
    engine().stop("a-1_0", hard=False)
    engine().stop("nope", hard=True)


def test_what_is_free(head):
    assert clusters.slots("boxes", wait=30) == Slots((1, 2), (5, 8))
    assert free({"data": {"clusterStatus": {}}}) == Slots()


def test_a_training_is_handed_over_by_its_ticket(head, tmp_path):
    (job,) = launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs(3, 1, 2048))
    how, where, given = head.asked[-1]
    assert (how, where) == ("POST", "/api/jobs/")
    entry = given.pop("entrypoint")
    assert given == {
        "submission_id": job.ticket, "entrypoint_num_cpus": 3, "entrypoint_num_gpus": 1, "entrypoint_memory": 2 << 30
    }  # fmt: skip
    assert job.ticket in entry
    assert "OMP_NUM_THREADS=3" in entry
    assert job.state == "queued"


def test_a_job_there_may_put_away_the_run_that_it_trains_anew(head, tmp_path, monkeypatch):
    (job,) = launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs(), again=True)
    head.jobs = [{"submission_id": job.ticket, "status": "RUNNING"}]
    launch.settle(tmp_path / "runs", wait=30)
    run = runs.Run(tmp_path / "runs" / job.run)
    run.path.mkdir()
    runs.write_json(run.path / "status.json", {"state": "finished"})
    with pytest.raises(ValueError, match="A process works"):
        shelf.delete(run)
    monkeypatch.setenv("ANCHORSCOPE_JOB", job.ticket)
    assert shelf.delete(run).id == job.run


def test_what_was_handed_over_is_not_handed_over_again(head, tmp_path):
    recipes = [compose(dataset="digits", seed=seed) for seed in (0, 1)]
    first = launch.submit_there(tmp_path / "runs", recipes[:1], "boxes", Needs())
    again = launch.submit_there(tmp_path / "runs", recipes, "boxes", Needs())
    assert [job.id for job in again][:1] == [job.id for job in first]
    assert [given["submission_id"] for _, _, given in head.asked] == [job.ticket for job in again]


def test_one_that_waits_and_is_stopped_never_begins(head, tmp_path):
    (job,) = launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs())
    head.jobs = [{"submission_id": job.ticket, "status": "PENDING"}]
    launch.stop(job)
    (job,) = launch.settle(tmp_path / "runs", wait=30)
    assert job.state == "stopped"
    assert not job.beside(".ticket").exists()


def test_a_job_that_the_head_forgot_is_lost_after_a_while(head, tmp_path, monkeypatch):
    launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs())
    (job,) = launch.settle(tmp_path / "runs", wait=30)
    assert job.state == "unreachable"
    monkeypatch.setattr(away, "UNKNOWN", -1.0)
    (job,) = launch.settle(tmp_path / "runs", wait=30)
    assert job.state == "lost"


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_its_head_lost_sight_of_is_not_lost_while_it_lives(head, tmp_path, monkeypatch, forgotten):
    """A node whose network is cut trains on, and its process holds the run's lock on the file system of all."""
    (job,) = launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs())
    (job.store / job.run).mkdir()
    runs.write_json(job.store / job.run / "status.json", {"state": "running", "job": job.ticket})
    head.jobs = [
        {
            "submission_id": job.ticket,
            "status": "FAILED",
            "message": "Job supervisor actor died",
        }
    ]
    if forgotten:
        head.jobs = []
        launch.settle(tmp_path / "runs", wait=30)
        monkeypatch.setattr(away, "UNKNOWN", -1.0)
    with filelock.FileLock(job.store / job.run / ".lock"):
        (job,) = launch.settle(tmp_path / "runs", wait=30)
        assert job.state == "unreachable"
        assert "at work" in job.reason
        assert runs.Run(job.store / job.run).state == "running"
    (job,) = launch.settle(tmp_path / "runs", wait=30)
    assert job.state == "lost"
    assert runs.Run(job.store / job.run).state == "lost"


def test_refused_and_unknown_are_told_apart(head, tmp_path):
    head.takes = False
    with pytest.raises(ValueError, match="TypeError: no such number"):
        launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs())
    assert launch.jobs(tmp_path / "runs") == []
    (tmp_path / "token").write_text("another")
    with pytest.raises(Unreachable, match="401"):
        engine().states([])
    (tmp_path / "token").unlink()
    with pytest.raises(Unreachable, match="token"):
        engine().slots()


def test_a_head_that_is_not_there_leaves_a_job_unreachable(head, tmp_path):
    launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs())
    head.shutdown()
    head.server_close()
    (job,) = launch.settle(tmp_path / "runs", wait=30)
    assert job.state == "unreachable"
    assert "does not answer" in job.reason
    with pytest.raises(ValueError, match="unreachable"):
        launch.remove(job)
    assert launch.stop(job).state == "unreachable"
    launch.remove(job)  # the head may never come back
    assert launch.jobs(tmp_path / "runs") == []


def test_no_time_is_promised_that_ray_does_not_keep(head, tmp_path):
    with pytest.raises(ValueError, match="leave the time out"):
        launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs(minutes=5))
    assert launch.jobs(tmp_path / "runs") == []


@pytest.mark.parametrize("silent", [False, True])
def test_a_run_that_has_finished_is_finished_whatever_its_head_says(head, tmp_path, silent):
    (job,) = launch.submit_there(tmp_path / "runs", [compose(dataset="digits")], "boxes", Needs())
    head.jobs = [{"submission_id": job.ticket, **{k: v for k, v in JOBS[0].items() if k != "submission_id"}}]
    (job,) = launch.settle(tmp_path / "runs", wait=30)
    assert (job.state, job.host) == ("running", "10.0.0.7")
    if silent:
        head.shutdown()
        head.server_close()
    (job.store / job.run).mkdir()
    status, ticket = job.store / job.run / "status.json", job.beside(".ticket")
    runs.write_json(status, {"state": "finished"})
    later = ticket.stat().st_mtime
    os.utime(status, (later - 60, later - 60))  # as another, before, has left it
    (now,) = launch.settle(tmp_path / "runs", wait=30)
    assert now.state == ("unreachable" if silent else "running")
    os.utime(status, (later + 1, later + 1))
    with filelock.FileLock(job.store / job.run / ".lock"):  # it is at its end, and not yet through
        (now,) = launch.settle(tmp_path / "runs", wait=30)
        assert now.state == ("unreachable" if silent else "running")
    (now,) = launch.settle(tmp_path / "runs", wait=30)
    assert now.state == "finished"


def test_a_forgotten_job_is_what_its_run_says(head, tmp_path):
    recipes = [compose(dataset="digits", seed=seed) for seed in range(3)]
    every = launch.submit_there(tmp_path / "runs", recipes, "boxes", Needs())
    said = [("finished", ""), ("stopped", every[1].ticket), ("stopped", "x")]
    for job, (state, ticket) in zip(every, said, strict=True):
        (job.store / job.run).mkdir()
        runs.write_json(job.store / job.run / "status.json", {"state": state, "job": ticket})
    states = [job.state for job in launch.settle(tmp_path / "runs", wait=30)]
    assert states == ["finished", "stopped", "unreachable"]
