"""The launcher, with real processes: what starts, once and in turn; what a crash anywhere leaves; how jobs are stopped.

The jobs are real commands. One that works on a gated store waits, before it begins, until the test opens the gate: a
pipe, and whoever reads a pipe waits for a writer.
"""

import contextlib
import errno
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from cac_core import runs
from cac_core.jobs import ends, engines, launch, queue
from cac_core.jobs.worker import devices, ensure_worker, environment, work
from cac_core.recipe import Recipe, compose
from tests.waiting import LONG, wait_until

pytestmark = pytest.mark.long

QUICK = {"once": True, "pause": 0.05, "slots": {"cpu": ""}}
WORK = "import sys, json; from pathlib import Path; from cac_core.jobs import ends, launch, queue, worker; "
WORK += f"queue.WAIT = {LONG}; "
WORKER = WORK + "worker.work(Path(sys.argv[1]), **json.loads(sys.argv[2]))"
IMPATIENT = (0.3, 0.3)

# Each process that goes to work waits at its gate, and, where one listens, says when it begins and ends, and which GPUs
# it sees.
SPY = """
import os, runpy, sys
run_module = runpy.run_module
def say(what):
    if "SPY" in os.environ:
        with open(os.environ["SPY"], "a") as file:
            print(what, os.environ.get("CUDA_VISIBLE_DEVICES"), *sys.argv[1:], file=file)
def told(name, **more):
    say("begin")
    for word in sys.argv[1:]:
        if os.path.exists(os.path.join(word, "gate")):
            open(os.path.join(word, "gate")).read()
    try:
        return run_module(name, **more)
    finally:
        say("end")
runpy.run_module = told
"""
# A process that no SIGTERM ends, nor its child; it holds its job's lock and writes down each SIGTERM that it gets.
STUBBORN = """
import filelock, pathlib, signal, subprocess, sys, time
path = pathlib.Path(sys.argv[1])
lock = filelock.FileLock(path / "lock")
lock.acquire()
def wave(*_):
    with open(path / "waves", "a") as file:
        file.write("SIGTERM\\n")
signal.signal(signal.SIGTERM, wave)
ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(3600)"
child = subprocess.Popen([sys.executable, "-c", ignore], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
while True:
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Locks, and NVIDIA's tool, are waited for as long as a slow machine needs."""
    monkeypatch.setattr(queue, "WAIT", LONG)
    monkeypatch.setattr("cac_core.jobs.worker.WAIT", LONG)


@pytest.fixture(autouse=True)
def gates_hold(tmp_path, monkeypatch):
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "spy"))


@pytest.fixture
def began(tmp_path, monkeypatch):
    """began(): the arguments of every job that has gone to work, in turn; began("end"): that has come to its end."""
    monkeypatch.setenv("SPY", str(tmp_path / "spy" / "said"))

    def said(what="begin", with_gpus=False):
        file = tmp_path / "spy" / "said"
        lines = [line.rstrip("\n").split(" ") for line in file.open()] if file.exists() else []
        return [" ".join(words[1 if with_gpus else 2 :]) for words in lines if words[0] == what or what == "both"]

    return said


@pytest.fixture(autouse=True)
def nothing_is_left_running(store):
    yield
    for job in launch.jobs(store):
        if job.state in launch.UNDER_WAY and job.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.pid, signal.SIGKILL)


@pytest.fixture
def worker(store):
    """worker(once=False): a worker as a process; those that are left are killed after the test."""
    started = []

    def start(script=WORKER, **options):
        options = {**QUICK, **options}
        words = [sys.executable, "-c", script, str(store), json.dumps(options)]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Gate:
    """A store on which no job begins before open()."""

    def __init__(self, folder):
        self.pipe = folder / "gate"
        folder.mkdir(parents=True)
        os.mkfifo(self.pipe)
        self.arguments = ["runs", "--runs", str(folder)]

    def open(self):
        writing = wait_until(self._reached)
        os.write(writing, b"{}")
        os.close(writing)

    def _reached(self):
        """The pipe, where somebody waits at the other end."""
        try:
            return os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO


def now(job):
    return launch.find(job.store, job.id)


def small(store, number=0, **more):
    """A job of a third of a second."""
    return launch.submit(store, "eval", ["runs", "--json", "--data", str(number)], **more)


def gated(store, tmp_path, name="gate", **more):
    gate = Gate(tmp_path / name)
    return launch.submit(store, "map", gate.arguments, **more), gate


def running(store, tmp_path, worker, **more):
    """A job that waits at its gate, and its worker."""
    job, gate = gated(store, tmp_path, **more)
    at_work = worker(once=False)
    wait_until(lambda: now(job).state == "running")
    return now(job), gate, at_work


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def record(job, **changes):
    """Change what is on disk, as a crash would have left it."""
    runs.write_json(job.path, {**json.loads(job.path.read_text()), **changes})
    return now(job)


# --- one job ---------------------------------------------------------------------------------------------------------


def test_a_job_runs_as_a_process_of_its_own_and_leaves_its_exit_code_and_its_words(store, began):
    job = small(store)
    assert (job.state, launch.state(job), job.attempt, queue.log(job)) == ("queued", "queued", 0, "")
    work(store, **QUICK)
    done = now(job)
    assert (done.state, done.exit_code, done.reason, done.attempt) == ("finished", 0, "", 1)
    assert (done.host, done.kind, done.arguments) == (socket.gethostname(), "eval", job.arguments)
    assert done.pid not in (0, os.getpid())
    wait_until(lambda: gone(done.pid))
    assert json.loads(queue.log(done)) == {"runs": []}
    assert began() == ["runs --json --data 0"] == began("end")


@pytest.mark.parametrize("own", ["", "glibc.malloc.check=0"])
def test_jobs_take_large_pages_where_nobody_says_otherwise(monkeypatch, own):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if own:
        monkeypatch.setenv("GLIBC_TUNABLES", own)
    wanted = own or "glibc.malloc.hugetlb=1"
    assert environment()["GLIBC_TUNABLES"] == wanted
    told = engines.shell("T-1", Path("/1.ticket"), Path("/1.log"), ("train",), "/there/python", "", {})
    (line,) = (line for line in told.splitlines() if "GLIBC" in line)
    assert subprocess.check_output(["sh", "-c", f'{line}; echo "$GLIBC_TUNABLES"'], text=True).strip() == wanted


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["eval", "nothing"], 1, r"There is no run 'nothing' in .*; there are: none yet\."),
        (["nonsense"], 2, r"python -m cac_core: .*invalid choice: 'nonsense'.*"),
    ],
)
def test_a_job_that_fails_says_why_in_its_own_last_words(store, arguments, code, reason):
    job = launch.submit(store, "eval", arguments)
    work(store, **QUICK)
    assert (now(job).state, now(job).exit_code) == ("failed", code)
    assert re.fullmatch(reason, now(job).reason)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("epoch 1\nerror: No data.\n", "No data."),
        (
            '{"error": "No data."}\nerror: No data. Fetch it with:\n    fetch it\n',
            "No data. Fetch it with:\n    fetch it",
        ),
        ("error: an old one\nerror: the last one\n\n", "the last one"),
        ('Traceback (most recent call last):\n  File "x"\nKeyError: 3\n', "KeyError: 3"),
        ("", "It ended with an error and said nothing."),
        (None, "It ended with an error and said nothing."),
    ],
)
def test_the_reason_is_the_last_error_in_the_log(store, said, reason):
    job = record(small(store), state="running", exit_code=1)
    if said is not None:
        job.path.with_suffix(".log").write_text(said)
    assert (launch.state(job), now(job).reason) == ("failed", reason)


def test_a_job_that_dies_of_an_error_of_ours_is_failed_with_it(store, began, tmp_path):
    with open(tmp_path / "spy/sitecustomize.py", "a") as file:
        file.write("import cac_core.recipe\ncac_core.recipe.METHODS = None\n")
    job = small(store)
    work(store, **QUICK)
    assert (now(job).state, now(job).exit_code) == ("failed", 1)
    assert now(job).reason.startswith("TypeError: ")
    assert "Traceback" in queue.log(job)


def test_a_process_that_cannot_even_begin_is_failed_not_started_for_ever(store, began, tmp_path):
    with open(tmp_path / "spy/sitecustomize.py", "a") as file:
        file.write("import os, sys\nif 'cac_core.jobs.worker' in sys.orig_argv: os._exit(7)\n")
    job = small(store)
    work(store, **QUICK)
    assert (now(job).state, now(job).exit_code, now(job).attempt) == ("failed", 7, 1)


def test_a_job_belongs_to_no_terminal_and_no_session_of_ours(store, tmp_path, worker):
    job, gate, _ = running(store, tmp_path, worker)
    assert os.getsid(job.pid) == os.getpgid(job.pid) == job.pid
    assert os.readlink(f"/proc/{job.pid}/fd/0") == os.devnull
    assert (
        os.readlink(f"/proc/{job.pid}/fd/1")
        == os.readlink(f"/proc/{job.pid}/fd/2")
        == str(job.path.with_suffix(".log"))
    )
    surroundings = psutil.Process(job.pid).environ()
    assert surroundings["ANCHORSCOPE_RUNS"] == str(store)
    assert surroundings["PYTHONPATH"].split(os.pathsep) == [
        str(Path(launch.__file__).parents[2]),
        str(tmp_path / "spy"),
    ]
    command = psutil.Process(job.pid).cmdline()
    assert command[:3] == [sys.executable, "-m", "cac_core.jobs.worker"] and tuple(command[-3:]) == job.arguments
    gate.open()


@pytest.mark.parametrize(("last", "lines"), [(1, ["99"]), (3, ["97", "98", "99"]), (1000, [*map(str, range(100))])])
def test_the_log_is_read_from_its_end(store, last, lines):
    job = small(store)
    job.path.with_suffix(".log").write_text("".join(f"{i}\n" for i in range(100)))
    assert queue.log(job, last=last).splitlines() == lines


def test_a_long_log_and_one_that_is_no_text_can_be_read(store):
    job = small(store)
    job.path.with_suffix(".log").write_bytes(b"x" * 10_000_000 + b"\n\xff\xfe\nthe end\n")
    assert queue.log(job, last=2) == "\ufffd\ufffd\nthe end"


# --- turns -----------------------------------------------------------------------------------------------------------


def test_higher_priority_first_then_first_come_and_one_at_a_time(store, began):
    for number, priority in enumerate([0, 5, 0, 0, 5, -1]):
        small(store, number, priority=priority)
    waiting = launch.jobs(store)
    assert [job.id for job in waiting] == sorted(job.id for job in waiting)
    launch.reorder(waiting[3], 9)
    launch.remove(waiting[2])
    launch.stop(waiting[0])
    work(store, **QUICK)
    assert [line[-1] for line in began()] == ["3", "1", "4", "5"]
    assert [line[-1] for line in began("both")] == [*"33114455"]
    assert [(j.state, j.attempt) for j in launch.jobs(store)] == [("stopped", 0), *[("finished", 1)] * 4]


def test_the_next_job_begins_when_the_process_before_is_gone_not_when_it_is_done(store, tmp_path, began):
    with open(tmp_path / "spy/sitecustomize.py", "a") as file:  # as one that takes its time to give memory back
        file.write("import atexit, time\natexit.register(lambda: (time.sleep(0.4), say('gone')))\n")
    small(store, 1)
    small(store, 2)
    work(store, **QUICK)
    said = (tmp_path / "spy/said").read_text().splitlines()
    assert [line.split()[0] for line in said] == ["begin", "end", "gone"] * 2


def test_a_clock_that_is_set_changes_no_turn(store, began, monkeypatch):
    for number, year in enumerate([2026, 1970, 2100]):
        monkeypatch.setattr(time, "time", lambda year=year: (year - 1970) * 3.15e7)
        small(store, number)
    work(store, **QUICK)
    assert [line[-1] for line in began()] == [*"012"]


def test_each_slot_has_its_own_turn_and_its_job_sees_nothing_else(store, tmp_path, worker, began):
    first, gate = gated(store, tmp_path)
    second = small(store, 1)
    other = small(store, 2, device="cuda:1")
    lacking = small(store, 3, device="cuda:7")
    at_work = worker(slots={"cpu": "", "cuda:0": "4", "cuda:1": "5"})
    wait_until(lambda: now(other).state == "finished")
    wait_until(lambda: now(first).state == "running")
    assert (now(second).state, now(lacking).state) == ("queued", "queued")
    assert now(lacking).reason == "This machine has no cuda:7; it has cpu, cuda:0, cuda:1."
    gate.open()
    assert at_work.wait(LONG) == 0
    assert [now(job).state for job in (first, second, lacking)] == ["finished", "finished", "queued"]
    assert sorted(began(with_gpus=True)) == sorted([
        f" {' '.join(first.arguments)}", " runs --json --data 1", "5 runs --json --data 2",
    ])  # fmt: skip


def test_a_download_goes_on_beside_a_training_and_what_is_of_its_images_waits_for_it(store, tmp_path, worker):
    """What the downloads here really do is another command: what counts is the kind that the record says."""
    training, gate = gated(store, tmp_path, run="digits-a")
    arriving = Gate(tmp_path / "net")
    fetch = record(launch.submit(store, "fetch", ["fetch", "MNIST"]), arguments=arriving.arguments)
    assert fetch.device == queue.NET
    at_work = worker()
    wait_until(lambda: {now(training).state, now(fetch).state} == {"running"})
    second = launch.submit(store, "fetch", ["fetch", "CIFAR10"])
    of_it, other = small(store, 1, run="cifar10-a"), small(store, 2, run="cifar100-a")
    record(second, arguments=["runs", "CIFAR10", "--json"])
    gate.open()
    wait_until(lambda: now(other).state == "finished")
    assert [now(job).state for job in (fetch, second, of_it)] == ["running", "queued", "queued"]
    arriving.open()
    assert at_work.wait(LONG) == 0
    assert now(of_it).state == "finished" and now(second).state in launch.AGAIN


@pytest.mark.parametrize("kind", ["score", "export"])
def test_what_a_threshold_is_used_for_goes_on_beside_a_training(store, tmp_path, worker, kind):
    training, gate = gated(store, tmp_path, run="digits-a")
    used = record(launch.submit(store, kind, [kind, "digits-a"]), arguments=["runs", "--json"])
    assert used.device == queue.USE
    at_work = worker()
    wait_until(lambda: now(used).state == "finished")
    assert now(training).state in launch.UNDER_WAY
    gate.open()
    assert at_work.wait(LONG) == 0 and now(training).state == "finished"


def test_even_without_the_workers_lock_each_download_starts_once_and_alone(store, worker, began):
    for number in range(4):
        record(launch.submit(store, "fetch", ["fetch", f"MNIST{number}"]), arguments=["runs", "--json"])
        small(store, number)
    loop = WORK + (
        "import time; children = {}\n"
        "while worker.run_once(Path(sys.argv[1]), children, {'cpu': '', 'net': ''}, ends.PATIENCE, print):"
        " time.sleep(0.02)"
    )
    assert [process.wait(LONG) for process in [worker(loop), worker(loop), worker(loop)]] == [0, 0, 0]
    assert Counter(began()) == {"runs --json": 4, **{f"runs --json --data {i}": 1 for i in range(4)}}
    assert [job.attempt for job in launch.jobs(store)] == [1] * 8


def test_a_worker_of_the_app_ends_when_nothing_is_left_for_a_while(store, worker, began):
    small(store, 1)
    started = time.monotonic()
    at_work = worker(once=False, idle=1.0)
    assert at_work.wait(LONG) == 0 and time.monotonic() - started > 1
    assert len(began()) == 1 and not queue.has_worker(store)
    waits = small(store, 2, device="cuda:7")  # what waits for a card keeps it
    at_work = worker(once=False, idle=0.2)
    wait_until(lambda: now(waits).reason)
    time.sleep(2)
    assert at_work.poll() is None


def test_no_job_is_left_behind_by_a_worker_that_ends(store, worker, monkeypatch):
    """Somebody submits at the very moments at which idle workers end, and starts a new one as the app does."""
    monkeypatch.setattr("cac_core.jobs.worker.IDLE", 0.0)
    for number in range(12):
        small(store, number)
        ensure_worker(store)
        time.sleep(random.Random(number).uniform(0, 0.5))
    # without a lock, which would hold up a worker that begins
    records = [job.path for job in launch.jobs(store)]
    wait_until(lambda: all(json.loads(path.read_text())["state"] == "finished" for path in records))
    wait_until(lambda: not queue.has_worker(store))


def test_what_was_to_be_trained_is_forgotten_with_the_job_not_before(store, make_run):
    recipe = Recipe(dataset="digits")
    file = store.absolute() / ".queue" / "recipes" / f"{recipe.id}.json"
    job = launch.submit_recipe(store, recipe)
    launch.stop(job)
    assert now(job).state == "stopped" and file.exists()  # it can go on
    again = launch.submit_recipe(store, recipe)
    launch.remove(job)
    assert file.exists()
    make_run(recipe.id)
    assert launch.state(record(again, state="running", exit_code=0)) == "finished"
    assert not file.exists()
    job = launch.submit_recipe(store, recipe)
    launch.stop(job)
    launch.remove(job)
    assert not file.exists()


def test_two_jobs_on_one_run_take_turns_whatever_their_devices(store, tmp_path, worker):
    first, gate = gated(store, tmp_path, run="toy")
    second = small(store, 1, run="toy", device="cuda:0")
    at_work = worker(slots={"cpu": "", "cuda:0": "0"})
    wait_until(lambda: now(first).state == "running")
    time.sleep(0.5)
    assert now(second).state == "queued"
    gate.open()
    assert at_work.wait(LONG) == 0
    assert now(second).state == "finished"


def test_only_what_is_queued_has_a_place_in_the_queue(store):
    job = small(store)
    launch.stop(job)
    with pytest.raises(ValueError, match="is stopped; only what is queued has a place"):
        launch.reorder(job, 3)
    with pytest.raises(ValueError, match="priority must be a whole number, not 'high'"):
        launch.reorder(small(store), "high")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, {"cpu": "", "cuda:0": "0", "cuda:1": "1"}),
        ("", {"cpu": ""}),
        ("-1", {"cpu": ""}),
        ("3", {"cpu": "", "cuda:0": "3"}),
        ("2, GPU-ab", {"cpu": "", "cuda:0": "2", "cuda:1": "GPU-ab"}),
    ],
)
def test_the_slots_are_the_processor_and_each_gpu_that_may_be_used(tmp_path, monkeypatch, visible, expected):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g: (UUID: x)'\necho 'GPU 1: B (UUID: GPU-2)'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices() == expected


def test_without_nvidias_tool_there_is_the_processor(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices() == {"cpu": ""}


# --- once and only once ----------------------------------------------------------------------------------------------


def test_what_waits_or_runs_already_is_not_queued_again(store, tmp_path, worker):
    assert small(store, 1) == small(store, 1) != small(store, 2)
    training = launch.submit(store, "train", ["train", "--resume", "toy"], run="toy")
    assert launch.submit(store, "train", ["train", "--seed", "0"], run="toy", device="cuda:0", priority=4) == training
    assert launch.submit(store, "train", ["train", "--seed", "0"], run="toy-2") != training
    assert launch.submit(store, "eval", ["eval", "toy"], run="toy") != training
    for job in launch.jobs(store):
        launch.remove(job)
    job, gate, _ = running(store, tmp_path, worker)
    again = launch.submit(store, "map", gate.arguments)
    assert (again.id, again.state) == (job.id, "running")
    gate.open()
    wait_until(lambda: launch.state(job) == "finished")
    assert launch.submit(store, "map", gate.arguments).id != job.id


def test_many_clicks_at_once_on_the_same_recipe_are_one_job(store):
    recipe, ids, barrier = compose(epochs=2), set(), threading.Barrier(8)

    def click():
        barrier.wait()
        ids.add(launch.submit_recipe(store, recipe).id)

    script = (
        WORK
        + "from cac_core.recipe import compose; print(launch.submit_recipe(Path(sys.argv[1]), compose(epochs=2)).id)"
    )
    others = [subprocess.Popen([sys.executable, "-c", script, str(store)], stdout=subprocess.PIPE) for _ in range(2)]
    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids |= {process.communicate()[0].decode().strip() for process in others}
    assert ids == {job.id for job in launch.jobs(store)}
    assert len(ids) == 1


def test_two_workers_started_together_start_each_job_once(store, worker, began):
    for number in range(6):
        small(store, number)
    assert [process.wait(LONG) for process in (worker(), worker())] == [0, 0]
    wait_until(lambda: not queue.has_worker(store))
    assert Counter(began()) == {f"runs --json --data {i}": 1 for i in range(6)}
    assert [job.state for job in launch.jobs(store)] == ["finished"] * 6


def test_even_without_the_workers_lock_each_job_starts_once_and_alone(store, worker, began):
    for number in range(6):
        small(store, number)
    loop = WORK + (
        "import time; children = {}\n"
        "while worker.run_once(Path(sys.argv[1]), children, {'cpu': ''}, ends.PATIENCE, print): time.sleep(0.02)"
    )
    assert [process.wait(LONG) for process in [worker(loop), worker(loop), worker(loop)]] == [0, 0, 0]
    assert began("both") == [line for i in range(6) for line in [f"runs --json --data {i}"] * 2]


@pytest.mark.parametrize("seed", range(2))
def test_workers_killed_at_any_moment_lose_nothing_and_do_nothing_twice(store, worker, began, seed):
    rng = random.Random(seed)
    for number in range(5):
        small(store, number)
    for _ in range(6):
        process = worker(pause=0.01)
        wait_until(lambda: queue.has_worker(store) or process.poll() is not None)  # noqa: B023
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process.wait()
    assert worker().wait(LONG) == 0
    assert [(job.state, job.exit_code) for job in launch.jobs(store)] == [("finished", 0)] * 5
    assert Counter(began()) == {f"runs --json --data {i}": 1 for i in range(5)}


def test_a_claim_whose_worker_did_not_live_to_start_it_goes_back_to_the_queue(store, began):
    job = record(small(store), state="starting", attempt=1)
    assert launch.state(job) == "starting"
    work(store, **QUICK)
    assert (now(job).state, now(job).attempt) == ("finished", 2)
    assert len(began()) == 1


@pytest.mark.parametrize(
    "since", [{"state": "queued"}, {"attempt": 2}, {"state": "stopping"}, {"state": "running", "attempt": 1}]
)
def test_a_process_whose_claim_was_taken_back_ends_without_doing_anything(store, began, since):
    job = record(small(store), **{"state": "starting", "attempt": 1, **since})
    before = job.path.read_text()
    late = [sys.executable, "-m", "cac_core.jobs.worker", str(job.path), "1", *job.arguments]
    assert subprocess.run(late).returncode == 1
    assert job.path.read_text() == before
    assert began() == []


def test_a_process_that_nobody_saw_start_is_taken_over(store, tmp_path, worker, began):
    job, gate = gated(store, tmp_path)
    record(job, state="starting", attempt=1)
    orphan = subprocess.Popen([sys.executable, "-m", "cac_core.jobs.worker", str(job.path), "1", *job.arguments])
    wait_until(lambda: now(job).state == "running")
    at_work = worker()
    time.sleep(0.6)
    assert (now(job).state, now(job).attempt, now(job).pid) == ("running", 1, orphan.pid)
    gate.open()
    assert at_work.wait(LONG) == orphan.wait() == 0
    assert (now(job).state, now(job).exit_code, len(began())) == ("finished", 0, 1)


def test_a_worker_ends_by_sigterm_its_job_goes_on_and_the_next_worker_sees_it_end(store, tmp_path, worker):
    job, gate, at_work = running(store, tmp_path, worker)
    assert queue.has_worker(store)
    at_work.terminate()
    assert at_work.wait(LONG) == 0
    assert not queue.has_worker(store)
    assert launch.state(job) == "running"
    following = worker()
    gate.open()
    assert following.wait(LONG) == 0
    assert (now(job).state, now(job).exit_code, now(job).pid) == ("finished", 0, job.pid)


def test_a_worker_with_nothing_to_do_writes_nothing(store, tmp_path, worker):
    job, gate, _ = running(store, tmp_path, worker)
    small(store, 1)
    (store / ".queue/torn.json").write_text("{")

    def files():
        return {path: (s.st_mtime_ns, s.st_ino, s.st_size) for path in store.rglob("*") for s in [path.stat()]}

    time.sleep(0.2)
    before = files()
    time.sleep(0.6)  # a dozen looks
    assert files() == before
    gate.open()
    wait_until(lambda: now(job).state == "finished")


# --- what a crash leaves ---------------------------------------------------------------------------------------------


def test_a_training_that_is_stopped_then_killed_goes_on_each_time_and_ends_whole(
    store, tmp_path, worker, gates, monkeypatch
):
    for name, value in gates.environment.items():
        monkeypatch.setenv(name, value)
    recipe = compose(epochs=8, batch=128)
    run = runs.Run(store / recipe.id)
    words = ["train", "--epochs", "8", "--batch", "128", "--device", "cpu", "--data", str(tmp_path)]
    job = launch.submit(store, "train", words, run=run.id)
    gates.close(1)
    gates.close(5)
    at_work = worker(once=False, patience=(LONG, LONG))

    wait_until(lambda: gates.reached(1))
    assert launch.stop(job, patience=(LONG, LONG)).state == "stopping"
    assert launch.stop(job, patience=(LONG, LONG)).state == "stopping"
    gates.open(1)
    wait_until(lambda: now(job).state == "stopped")
    assert (now(job).exit_code, now(job).terminated, run.state) == (0, False, "stopped")
    assert now(job).reason == run.status["reason"]
    assert not (run.path / "stop").exists()

    assert launch.resume(job).state == "queued"
    seen = len(run.epochs())
    wait_until(lambda: len(run.epochs()) > seen)
    os.kill(now(job).pid, signal.SIGKILL)
    wait_until(lambda: now(job).state == "lost")
    assert "(SIGKILL)" in now(job).reason
    gates.open(5)

    at_work.kill()
    at_work.wait()
    launch.resume(job)
    assert worker().wait(LONG) == 0
    assert (now(job).state, now(job).attempt, run.state) == ("finished", 3, "finished")
    assert [event["epoch"] for event in run.epochs()] == [*range(1, 9)]


def test_a_job_that_was_killed_while_nobody_looked_is_lost_and_can_go_on(store, tmp_path, worker, began):
    job, gate, at_work = running(store, tmp_path, worker)
    wait_until(began)
    at_work.kill()
    at_work.wait()
    os.kill(job.pid, signal.SIGKILL)
    wait_until(lambda: now(job).state == "lost")
    on_disk = json.loads(job.path.read_text())["state"]
    assert on_disk == "running"  # looking at the queue writes nothing
    assert launch.state(job) == "lost" == json.loads(job.path.read_text())["state"]
    assert now(job).reason.startswith("Its process ended without a word: ")
    launch.resume(job)
    following = worker()
    wait_until(lambda: now(job).state == "running")
    gate.open()
    assert following.wait(LONG) == 0
    assert (now(job).state, now(job).reason, len(began())) == ("finished", "", 2)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"state": "finished"}, "finished"),
        ({"state": "stopped", "pid": 99_999_999, "reason": "Asked to."}, "stopped"),
        ({"state": "failed", "pid": 99_999_999, "reason": "No."}, "failed"),
        ({"state": "stopped", "pid": 1}, "lost"),  # by an earlier process
        ({"state": "running", "pid": 99_999_999}, "lost"),
        (None, "lost"),
    ],
)
def test_a_training_whose_last_words_were_not_written_is_told_by_its_run(store, make_run, status, expected):
    run = make_run()
    job = launch.submit(store, "train", ["train", "--resume", "toy"], run="toy")
    (run.path / "status.json").unlink() if status is None else runs.write_json(run.path / "status.json", status)
    record(job, state="running", pid=99_999_999, host=socket.gethostname())
    assert launch.state(job) == expected
    assert now(job).reason == (status or {}).get("reason", now(job).reason)


def test_a_job_that_ends_while_it_is_looked_at_is_not_lost(store):
    job = small(store)
    record(job, state="running", pid=99_999_999)
    looked_at = queue.read(job.path)
    record(job, exit_code=0)
    assert ends.seen(looked_at).state == "finished"


@pytest.mark.parametrize("state", ["queued", "starting", "finished"])
def test_only_what_ended_early_goes_back_to_the_queue(store, state):
    job = record(small(store), state=state)
    with pytest.raises(ValueError, match=f"is {state}; only what is stopped, failed, lost can go back"):
        launch.resume(job)


def test_what_goes_back_while_the_same_waits_is_that_one(store):
    first = record(small(store), state="failed")
    second = small(store)
    assert second.id != first.id
    assert launch.resume(first) == second
    assert now(first).state == "failed"


# --- stopping --------------------------------------------------------------------------------------------------------


def test_a_job_that_waits_is_stopped_before_it_begins(store, began):
    job = launch.stop(small(store))
    assert (job.state, job.reason) == ("stopped", "Stopped before it began.")
    work(store, **QUICK)
    assert began() == []


def test_a_job_that_is_about_to_begin_is_stopped_and_signals_nobody(store, began):
    job = launch.stop(record(small(store), state="starting", attempt=1))
    assert job.state == "stopped"
    work(store, **QUICK)
    assert began() == []


def test_a_process_asked_to_stop_before_it_came_to_its_work_does_none(store, worker, began, tmp_path):
    asked = tmp_path / "asked"
    with open(tmp_path / "spy/sitecustomize.py", "a") as file:
        file.write(
            "import sys, time\n"
            f"while 'cac_core.jobs.worker' in sys.orig_argv and not os.path.exists({str(asked)!r}): time.sleep(0.01)\n"
        )
    job = small(store)
    at_work = worker()
    wait_until(lambda: now(job).state == "starting")
    assert launch.stop(job).state == "stopping"
    asked.touch()
    assert at_work.wait(LONG) == 0
    assert (now(job).state, now(job).pid, began()) == ("stopped", 0, [])


@pytest.mark.parametrize("with_worker", [True, False])
def test_a_job_that_is_no_training_is_terminated_at_once(store, tmp_path, worker, with_worker):
    job, _, at_work = running(store, tmp_path, worker)
    if not with_worker:
        at_work.kill()
        at_work.wait()
    asked = launch.stop(job, patience=(LONG, LONG))
    assert (asked.state, asked.terminated) == ("stopping", True)  # it waits for neither patience nor the end
    wait_until(lambda: (now(job) if with_worker else job).state == "stopped" or launch.state(job) == "stopped")
    assert (now(job).terminated, now(job).reason) == (True, "Stopped when asked to.")
    wait_until(lambda: gone(job.pid))
    assert launch.stop(job).state == "stopped"


@pytest.fixture
def stubborn(store, tmp_path):
    """stubborn(kind): a job on run toy whose process ignores SIGTERM, as its child does; that process, the child."""
    started = []

    def start(kind):
        job = launch.submit(store, kind, [kind, "toy"], run="toy")
        process = subprocess.Popen(
            [sys.executable, "-c", STUBBORN, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
        )
        started.append(process)
        child = psutil.Process(int(process.stdout.readline()))
        os.link(tmp_path / "lock", job.path.with_suffix(".lock"))
        since = ends.since_boot(psutil.Process(process.pid))
        job = record(job, state="running", attempt=1, pid=process.pid, process_started=since, host=socket.gethostname())
        return job, process, child

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_ladder_stop_file_sigterm_end_of_the_group(store, make_run, stubborn, tmp_path):
    run, (job, process, child) = make_run(), stubborn("train")
    runs.write_json(run.path / "status.json", {"state": "running", "pid": process.pid})

    def waves():
        return (tmp_path / "waves").read_text().split() if (tmp_path / "waves").exists() else []

    def look(*patience):
        """One look, as whoever comes next would take it: from what is on disk alone."""
        launch.settle(store, patience=patience)
        return (run.path / "stop").exists(), json.loads(job.path.read_text())["state"]

    launch.stop(job, patience=(LONG, LONG))
    (run.path / "stop").unlink()  # as a training does that has just begun
    assert look(LONG, LONG) == (True, "stopping") and not waves()
    assert look(0, LONG) == (True, "stopping")
    wait_until(waves)
    assert look(0, LONG) == (True, "stopping")
    wait_until(lambda: look(0, 0) == (False, "stopped"))
    assert waves() == ["SIGTERM"]
    assert process.wait(LONG) == -signal.SIGKILL
    wait_until(lambda: gone(child.pid))
    assert now(job).reason == "Stopped when asked to."


def test_the_worker_takes_the_ladder_too_and_no_clock_that_is_set_hinders_it(store, stubborn, monkeypatch):
    job, process, child = stubborn("eval")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    real = psutil.boot_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: real - 1e6)  # what setting the clock moves
    created = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) - 1e6)
    launch.stop(job, patience=IMPATIENT)
    parent = threading.Thread(target=process.wait)
    parent.start()
    work(store, **QUICK, patience=IMPATIENT)
    parent.join()
    assert now(job).state == "stopped"
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: gone(child.pid))


@pytest.mark.parametrize("foreign", [{"process_started": 1.0}, {"host": "elsewhere"}, {"host": "", "pid": 0}])
def test_nobody_is_signalled_who_is_not_surely_the_jobs_process(store, stubborn, tmp_path, foreign):
    job, process, child = stubborn("eval")
    record(job, **foreign)
    assert launch.stop(job, patience=(0, 0)).state == "stopping"
    time.sleep(0.1)
    assert launch.state(job, patience=(0, 0)) == "stopping"
    assert process.poll() is None and child.is_running() and not (tmp_path / "waves").exists()


def test_what_is_under_way_is_not_removed(store, stubborn):
    job, _, _ = stubborn("eval")
    with pytest.raises(ValueError, match=r"is running\. Stop it first"):
        launch.remove(job)
    assert job.path.exists()


def test_a_removed_job_leaves_nothing_but_its_run(store, make_run):
    run, job = make_run(), small(store, run="toy")
    work(store, **QUICK)
    launch.remove(job)
    assert launch.jobs(store) == []
    assert run.path.exists()
    assert sorted(path.name for path in (store / ".queue").iterdir()) == ["decisions.lock", "worker.lock"]
    for act in (launch.stop, launch.resume, launch.remove, launch.state, lambda job: launch.reorder(job, 1)):
        with pytest.raises(FileNotFoundError, match=f"There is no job '{job.id}' any more"):
            act(job)


# --- files -----------------------------------------------------------------------------------------------------------

WHOLE = {"kind": "eval", "arguments": ["runs"], "run": "", "device": "cpu", "priority": 0, "state": "queued"}


TORN = [
    b"", b"{", b"[]", b"null", b"7", b"\xff\xfe\0", b'{"name": "somebody else\'s"}', b"[" * 100_000,
    *(json.dumps(WHOLE | wrong).encode() for wrong in [
        {"kind": "rm"}, {"kind": 3}, {"arguments": "runs"}, {"arguments": []}, {"arguments": [3]},
        {"arguments": ["a\0b"]}, {"arguments": ["\ud800"]}, {"reason": "\udcff"}, {"run": "../../etc"}, {"run": None},
        {"device": "toaster"}, {"device": "cuda:0/.."}, {"priority": "high"}, {"priority": 0.5}, {"state": "tired"},
        {"pid": "7"}, {"asked": "now"}, {"attempt": None}, {"from": "a newer version"}, {"path": "elsewhere"},
    ]),
]  # fmt: skip


def test_torn_and_foreign_records_are_listed_as_broken_and_hinder_nobody(store):
    small(store)
    torn = [store / ".queue" / f"{i:06}-abcdef.json" for i, _ in enumerate(TORN, 2)]
    for path, content in zip(torn, TORN, strict=True):
        path.write_bytes(content)
    work(store, **QUICK)
    assert [launch.state(job) for job in launch.jobs(store)] == ["finished"] + ["broken"] * len(TORN)
    for path, broken in zip(torn, launch.jobs(store)[1:], strict=True):
        assert broken.id == path.stem and str(path) in broken.reason and "Remove it." in broken.reason
        for act in (launch.stop, launch.resume, lambda job: launch.reorder(job, 1)):
            with pytest.raises(ValueError, match="cannot be read"):
                act(broken)
    assert small(store, 1).id.startswith(f"{len(TORN) + 2:06}-")
    for broken in launch.jobs(store)[1:-1]:
        launch.remove(broken)
    assert not any(path.exists() for path in torn)


def test_an_older_record_that_lacks_what_came_later_is_read(store):
    (store / ".queue").mkdir(parents=True)
    (store / ".queue/000001-abcdef.json").write_text('{"kind": "eval", "arguments": ["runs"], "submitted": 3}')
    assert launch.jobs(store)[0].state == "queued"


def test_files_of_others_are_left_alone(store):
    queue = store / ".queue"
    queue.mkdir(parents=True)
    for name in ("notes.txt", "ü 🚀.json", "holiday.json", "holiday.log", ".000001-abcdef.json.77.tmp"):
        (queue / name).write_text("{}")
    (queue / "folder.json").mkdir()
    (queue / "nowhere.json").symlink_to(queue / "not there")
    (queue / "loop.json").symlink_to(queue / "loop.json")
    os.mkfifo(queue / "pipe.json")
    before = {path.name for path in queue.iterdir()}
    job = small(store)
    work(store, **QUICK)
    assert {(job.id, job.state) for job in launch.jobs(store)} == {
        (job.id, "finished"), ("ü 🚀", "broken"), ("holiday", "broken"),
    }  # fmt: skip
    launch.remove(launch.find(store, "holiday"))
    launch.remove(job)
    assert before - {path.name for path in queue.iterdir()} == {"holiday.json"}


def test_the_queue_is_no_run(store, make_run):
    make_run()
    small(store)
    launch.submit_recipe(store, compose(epochs=2))
    assert [run.id for run in runs.every(store)] == ["toy"]


def test_looking_makes_no_queue(store):
    assert launch.jobs(store) == [] and not queue.has_worker(store)
    launch.pulse(store)
    assert not store.exists()


def test_what_goes_on_changes_the_pulse(store):
    before = [launch.pulse(store)]

    def changed() -> bool:
        before.append(launch.pulse(store))
        return before[-1] != before[-2]

    assert not changed()
    job = launch.submit_recipe(store, compose("quick", dataset="digits"))
    assert changed() and not changed()
    launch.stop(job)
    assert changed() and not changed()
    (store / "begun").mkdir()  # from a command line
    assert changed() and not changed()
    runs.write_json(store / "begun" / "status.json", {"state": "starting"})
    assert changed() and not changed()
    (store / "begun").rename(store / "ended")
    assert changed() and not changed()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "../train"}, "There is no kind of job '../train'; there are: train, eval"),
        ({"kind": "🚀"}, "There is no kind of job"),
        ({"arguments": []}, "arguments are words, at least one"),
        ({"arguments": ["train", 3]}, "arguments.1 must be a text, not 3"),
        ({"arguments": ["a\0b"]}, "arguments are words"),
        ({"run": "../../etc"}, "'../../etc' is no run id"),
        ({"run": "a/b"}, "is no run id"),
        ({"run": "läuft"}, "is no run id"),
        ({"run": "🚀"}, "is no run id"),
        ({"run": "x" * 65}, "is no run id"),
        ({"device": "cuda"}, "'cuda' is no device of a queue"),
        ({"device": "cuda:0/../x"}, "is no device"),
        ({"priority": "9"}, "priority must be a whole number, not '9'"),
    ],
)
def test_what_is_no_job_is_refused_and_leaves_nothing(store, wrong, says):
    given = {"kind": "eval", "arguments": ["runs"], **wrong}
    with pytest.raises(ValueError, match=re.escape(says)):
        launch.submit(store, given.pop("kind"), given.pop("arguments"), **given)
    assert [path.name for path in (store / ".queue").iterdir()] == ["decisions.lock"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "🚀", "", "000001", "000001-abcdef\n", "a\0b"])
def test_a_job_is_found_by_its_id_alone(store, name):
    job = small(store)
    assert launch.find(store, job.id) == job
    with pytest.raises(FileNotFoundError, match=f"There is no job .*; there are: {job.id}"):
        launch.find(store, name)


@contextlib.contextmanager
def full_disk():
    """The kernel refuses every byte that this process, or one that it starts, writes to a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_nothing_is_half_submitted(store):
    small(store)
    before = {path: path.read_bytes() for path in (store / ".queue").rglob("*")}
    for submit in (lambda: small(store, 1), lambda: launch.submit_recipe(store, compose(epochs=2))):
        with full_disk(), pytest.raises(OSError):
            submit()
    after = {path: path.read_bytes() for path in (store / ".queue").rglob("*") if path.is_file()}
    assert after == before
    job = small(store)
    record(job, state="running")
    with full_disk():
        assert launch.state(job) == "lost"  # looking needs no space


def test_on_a_full_disk_the_worker_says_so_and_goes_on_when_there_is_space(store, began):
    job = small(store)
    with full_disk():
        at_work = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(store), json.dumps(QUICK)], stderr=subprocess.PIPE, text=True
        )
    assert "At work on" in at_work.stderr.readline()
    assert "The queue cannot be worked on, and is tried again: [Errno 27]" in at_work.stderr.readline()
    time.sleep(0.5)  # several looks
    assert now(job).state == "queued"
    resource.prlimit(at_work.pid, resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
    said = at_work.communicate(timeout=LONG)[1]
    assert "cannot be worked on" not in said  # once is enough
    assert (now(job).state, len(began())) == ("finished", 1)


def test_a_job_that_cannot_write_its_last_words_is_still_told_by_its_parent(store, tmp_path, worker):
    job, gate, _ = running(store, tmp_path, worker)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(job.pid, resource.RLIMIT_FSIZE, (0, hard))
    gate.open()
    wait_until(lambda: now(job).state not in launch.UNDER_WAY)
    assert now(job).exit_code is not None


# --- where nothing may be changed ------------------------------------------------------------------------------------


def test_where_one_may_only_look_nothing_is_changed_and_everything_seen(store, tmp_path, worker, monkeypatch):
    done, waiting = small(store), small(store, 1)
    lost = record(small(store, 2), state="running", pid=99_999_999)
    record(done, state="finished", exit_code=0)
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    before = {path: path.read_bytes() for path in (store / ".queue").iterdir()}
    for act in (
        lambda: small(store, 3),
        lambda: launch.submit_recipe(store, compose(epochs=2)),
        lambda: launch.stop(waiting),
        lambda: launch.remove(waiting),
        lambda: launch.reorder(waiting, 3),
        lambda: launch.resume(lost),
        lambda: ensure_worker(store),
        lambda: work(store, **QUICK),
    ):
        with pytest.raises(queue.ReadOnly, match="Here one can look at everything and change nothing"):
            act()
    assert issubclass(queue.ReadOnly, ValueError)
    assert [job.state for job in launch.jobs(store)] == ["finished", "queued", "lost"]
    assert [launch.state(job) for job in (done, waiting, lost)] == ["finished", "queued", "lost"]
    assert queue.log(lost) == "" and not queue.has_worker(store)
    assert {path: path.read_bytes() for path in (store / ".queue").iterdir()} == before


# --- from the recipe to the finished run -----------------------------------------------------------------------------


def test_a_recipe_travels_as_a_file(store, tmp_path):
    recipe = compose(epochs=2, seed=3)
    job = launch.submit_recipe(store, recipe, root=tmp_path, device="cuda:0", priority=2)
    assert (job.kind, job.run, job.device, job.priority) == ("train", recipe.id, "cuda:0", 2)
    assert job.arguments[::2] == ("train", str(job.path.parent / "recipes" / f"{recipe.id}.json"), str(tmp_path))
    assert job.arguments[1::2] == ("--recipe", "--data")
    assert Recipe.from_json(json.loads(Path(job.arguments[2]).read_text())) == recipe


def test_a_submitted_recipe_becomes_a_finished_run_by_a_worker_that_outlives_who_started_it(store, tmp_path):
    recipe = compose(epochs=2, batch=128)
    script = WORK + (
        "from cac_core.recipe import Recipe; store = Path(sys.argv[1])\n"
        "launch.submit_recipe(store, Recipe(**json.loads(sys.argv[2])), root=Path(sys.argv[3]))\n"
        "print(worker.ensure_worker(store))"
    )
    words = [sys.executable, "-c", script, str(store), json.dumps(recipe.to_json()), str(tmp_path)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "True\n"
    said = store / ".queue" / "worker.log"
    pid = int(wait_until(lambda: re.search(r"as process (\d+)\.", said.read_text()))[1])
    try:
        assert queue.has_worker(store) and not ensure_worker(store)
        [job] = launch.jobs(store)
        wait_until(lambda: now(job).state in ("finished", "failed"))
        assert (now(job).state, now(job).reason) == ("finished", "")
        run = runs.Run(store / recipe.id)
        assert (run.state, len(run.epochs()), run.recipe) == ("finished", 2, recipe)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not queue.has_worker(store))


def test_many_trainings_are_queued_by_looking_at_each_record_once(store, monkeypatch):
    recipes = [compose(dataset="digits", seed=seed) for seed in range(20)]
    looked = Counter()
    monkeypatch.setattr(launch, "read", lambda path: looked.update([path.name]) or queue.read(path))
    launch.submit_recipes(store, recipes[:10])
    every = launch.submit_recipes(store, recipes)
    assert [job.run for job in every] == [recipe.id for recipe in recipes]
    assert len(looked) == 10
    assert set(looked.values()) == {1}
    assert len(launch.jobs(store)) == 20
