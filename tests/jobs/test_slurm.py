"""Slurm: what its commands say, as recorded from Slurm 22.05 (NODE_FAIL, OUT_OF_MEMORY and what hangs on a GPU's type
or on hours are written after its manual); and jobs under its own daemons, where they are installed.

In place of a training stands a program that does what a test wants of it, with the records that a training leaves.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cac_core import runs
from cac_core.jobs import away, clusters, engines, launch, slurm
from cac_core.jobs.engines import Needs, Seen, Slots, Task, Unreachable
from cac_core.jobs.queue import log, write
from cac_core.recipe import compose
from tests.jobs.slurm_here import Slurm, lacking
from tests.waiting import LONG, wait_until

QUEUE = """\
1|term|COMPLETED|0|None|vm|0:15|365-00:00:00|
2_0|arr|RUNNING|0|None|vm|0:15|UNLIMITED|
2_1|arr|PENDING|0|Resources||0:00|UNLIMITED|
2_2|arr|CANCELLED|15|None|vm|0:01|UNLIMITED|
3|mem|FAILED|9|JobLaunchFailure|vm|0:02|UNLIMITED|
5|code|FAILED|768|NonZeroExitCode|vm|0:01|UNLIMITED|
6|gone|NODE_FAIL|0|NodeDown|vm|2-01:00:00|4-00:00:00|
7|near|COMPLETED|0|None|vm|57:30|1:00:00|
8|done|COMPLETED|0|None|vm|20:30|1:00:00|
"""
ACCOUNTS = """\
1|term|COMPLETED|0:0|None|vm|00:00:08|365-00:00:00
3|mem|OUT_OF_MEMORY|0:125|OutOfMemory|vm|00:00:03|365-00:00:00
5|code|FAILED|3:0|None|vm|00:00:00|365-00:00:00
2_0|arr|FAILED|0:9|None|vm|00:00:00|365-00:00:00
2_1|arr|CANCELLED by 0|0:0|None|None assigned|00:00:00|Partition_Limit
4|limit|TIMEOUT|0:0|TimeLimit|vm|00:01:12|00:01:00
"""
NODES = """\
vm|1/3/0/4|gpu:2|gpu:1|mix|
n1|0/64/0/64|gpu:a100:4(S:0-1)|gpu:a100:0(IDX:N/A)|idle|
n1|0/64/0/64|gpu:a100:4(S:0-1)|gpu:a100:0(IDX:N/A)|idle|
n2|0/0/8/8|(null)|gpu:0|down*|
n3|0/8/0/8|gpu:2|gpu:0|drain|
"""


def test_what_the_queue_says():
    said = slurm.queue(QUEUE)
    assert said["term"] == ("1", Seen("ended", "vm", "", 0))
    assert said["arr_0"] == ("2_0", Seen("running", "vm"))
    assert said["arr_1"] == ("2_1", Seen("queued", "", "what it asks for is not free (Resources)"))
    assert said["arr_2"][1] == Seen("ended", "vm", "", -15, "cancelled")
    assert said["mem"][1].code == -9
    assert said["code"][1] == Seen("ended", "vm", "NonZeroExitCode", 3)
    assert said["gone"][1].cause == "node"
    assert said["near"][1].cause == "time"
    assert said["done"][1].cause == ""


def test_what_the_accounts_say():
    said = slurm.accounts(ACCOUNTS)
    assert said["term"] == Seen("ended", "vm", "", 0)
    assert said["mem"].cause == "memory"
    assert said["code"].code == 3
    assert said["arr_0"].code == -9
    assert said["arr_1"] == Seen("ended", "", "", 0, "cancelled")
    assert said["limit"].cause == "time"


def test_what_is_free():
    assert slurm.free(NODES) == Slots((3 + 64, 4 + 64 + 8 + 8), (1 + 4, 2 + 4 + 2))


def test_a_job_that_does_not_find_its_ticket_says_so_and_runs_nothing(tmp_path):
    seal, log = tmp_path / "it's.ticket", tmp_path / "a log"
    shell = engines.shell("T-1", seal, log, ("train",), "/bin/false", "", {})
    assert os.waitstatus_to_exitcode(os.system(f"sh -c {shlex.quote(shell)}")) == engines.UNSEEN
    seal.write_text("T-2")
    assert os.waitstatus_to_exitcode(os.system(f"sh -c {shlex.quote(shell)}")) == engines.UNSEEN
    assert not log.exists()
    seal.write_text("T-1")
    assert os.waitstatus_to_exitcode(os.system(f"sh -c {shlex.quote(shell)}")) == engines.UNFIT
    assert log.exists()


def test_another_version_is_refused_with_both_and_the_same_folder_is_not():
    here = str(Path(engines.__file__).parents[2])
    assert engines.same_code(here, "0.0+1234567890") == ""
    assert engines.same_code("/elsewhere", engines.code()) == ""
    words = engines.same_code("/elsewhere", "0.0+1234567890")
    assert "0.0+1234567890" in words
    assert engines.code() in words


def test_a_job_of_another_version_ends_before_it_begins(tmp_path):
    here = Path(engines.__file__).parents[2]
    check = [sys.executable, "-m", "cac_core.jobs.engines", "/elsewhere", "0.0+1234567890"]
    done = subprocess.run(check, cwd=here, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 1
    assert done.stdout.startswith("error: ")
    assert "0.0+1234567890" in done.stdout
    assert engines.code() in done.stdout


@pytest.mark.parametrize(
    ("said", "minutes"),
    [
        ("90", 90),
        ("4:00:00", 240),
        ("4:30", 270),
        ("2-12:00", 3600),
        ("2-12", 3600),
        ("0:00:30", 1),
        ("0", 0),
    ],
)
def test_a_time_is_read(said, minutes):
    assert engines.minutes_of(said) == minutes


@pytest.mark.parametrize(("read", "said"), [(engines.minutes_of, "soon"), (engines.megabytes_of, "16.5")])
def test_what_is_no_time_and_no_size_is_refused(read, said):
    with pytest.raises(ValueError, match=said):
        read(said)


@pytest.mark.parametrize(("said", "size"), [("500", 500), ("16G", 16384), ("1.5 T", 1572864), ("2GB", 2048)])
def test_a_size_is_read(said, size):
    assert engines.megabytes_of(said) == size


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[gpu]\nengine = 'slurm'\noption = []", "option"),
        ("[gpu]\nengine = 'pbs'", "pbs"),
        ("[boxes]\nengine = 'ray'", "address"),
        ("['a b']\nengine = 'slurm'", "a b"),
        ("[gpu]\nengine = 'slurm'\nmemory = 'much'", "much"),
        ("[gpu]\nengine = 'slurm'\ncpus = 0", "cpus"),
        ("[gpu", "clusters.toml"),
        ("[boxes]\nengine = 'ray'\naddress = 'http://head:8265'\ntime = '1:00:00'", "time"),
    ],
)
def test_a_file_of_clusters_that_is_wrong_says_what(tmp_path, monkeypatch, content, words):
    (tmp_path / "clusters.toml").write_text(content)
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "clusters.toml"))
    with pytest.raises(ValueError, match=r"clusters\.toml") as wrong:
        clusters.every()
    assert words in str(wrong.value)


def test_a_name_that_is_no_file_of_clusters_says_what_it_may_be(monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "ray"))
    with pytest.raises(ValueError, match="http://head:8265"):
        clusters.every()
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", "Slurm")
    assert list(clusters.every()) == ["slurm"]


@pytest.mark.parametrize(("word", "said"), [
    ("PartitionConfig", "will not begin"), ("Resources", "not free"), ("Priority", "others"), ("Licenses", "Licenses"),
])  # fmt: skip
def test_why_a_job_waits_is_said_in_words(word, said):
    _, seen = slurm.queue(f"17|T|PENDING|0|{word}||0:00|1:00\n")["T"]
    assert said in seen.why
    assert word in seen.why


def test_a_node_that_could_not_begin_a_job_is_told_from_one_that_was_killed():
    _, seen = slurm.queue("17|T|FAILED|4021|JobLaunchFailure|node1|0:00|1:00\n")["T"]
    assert (seen.state, seen.cause, seen.host) == ("ended", "launch", "node1")


@pytest.mark.parametrize(("before", "ready"), [("VALUE=1", True), ("no_such_program_here", False)])
def test_what_comes_first_has_to_succeed(tmp_path, before, ready):
    seal, log = tmp_path / "T.ticket", tmp_path / "T.log"
    seal.write_text("T")
    shell = engines.shell("T", seal, log, ("data", "--help"), "", before, {})
    code = subprocess.run(["sh", "-c", shell], capture_output=True, timeout=LONG).returncode
    assert code == (0 if ready else engines.UNREADY)
    assert ready or "no_such_program_here" in log.read_text()


def test_what_asks_for_more_than_there_is_is_doubted():
    there = engines.Slots((3, 8), (0, 1))
    assert not clusters.doubt(Needs(cpus=8, gpus=1), there)
    assert "there are 8 and 1" in clusters.doubt(Needs(cpus=5, nodes=2), there)
    assert "2 graphics cards" in clusters.doubt(Needs(gpus=2), there)
    assert not clusters.doubt(Needs(cpus=99), None)


def test_what_is_free_is_not_told_from_long_ago(monkeypatch):
    """A cluster that no longer answers has nothing free that anybody knew of."""
    monkeypatch.setattr(clusters, "EVERY", 0.05)
    monkeypatch.setattr(clusters, "OLD", 0.2)
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", "slurm")
    silent = threading.Event()

    def said(self):
        silent.wait(LONG)
        return engines.Slots((1, 2))

    monkeypatch.setattr(slurm.Slurm, "slots", said)
    monkeypatch.setattr(clusters, "_QUESTIONS", {})
    silent.set()
    assert clusters.slots("slurm", wait=LONG) == engines.Slots((1, 2))
    silent.clear()
    wait_until(lambda: clusters.slots("slurm", wait=0) is None, "the old answer stays")
    silent.set()


# --- with Slurm's daemons --------------------------------------------------------------------------------------------

ACTOR = """#!{python}
import json, os, pathlib, signal, sys, time
if sys.argv[2] != "cac_core":
    print("error: {wrong}")
    sys.exit({refused})
run = pathlib.Path(os.environ["ANCHORSCOPE_RUNS"], pathlib.Path(sys.argv[sys.argv.index("--recipe") + 1]).stem)
run.mkdir(exist_ok=True)
(run / "stop").unlink(missing_ok=True)
def say(state):
    whole = run / ".status"
    whole.write_text(json.dumps({{"state": state, "job": os.environ["ANCHORSCOPE_JOB"], "pid": os.getpid(),
                                  "changed": time.time() + {fast}}}))
    whole.rename(run / "status.json")
def ended(*_):
    say("stopped")
    sys.exit()
play = pathlib.Path({play!r})
signal.signal(signal.SIGTERM, signal.SIG_IGN if play.read_text() == "stubborn" else ended)
say("running")
print("at work", flush=True)
eaten = []
while (what := play.read_text()) != "finish":
    if what == "eat":
        eaten.append(b"x" * 20_000_000)
    if what == "wait" and (run / "stop").exists():
        ended()
    time.sleep(0.1)
say("finished")
"""


@pytest.fixture(scope="module")
def daemons(tmp_path_factory):
    if why := lacking():
        pytest.skip(why)
    here = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        here.start()
        try:
            here.until_idle()
        except TimeoutError as error:
            pytest.skip(f"Slurm does not come up on this machine: {error}")
        yield here
    finally:
        here.end()


@pytest.fixture
def cluster(daemons, tmp_path, monkeypatch):
    """A function that makes all jobs do something from now on; the store is tmp_path/runs, the cluster is "here"."""
    for name, value in daemons.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(tmp_path / "clusters.toml"))
    monkeypatch.setattr(clusters, "EVERY", 0.2)
    play = tmp_path / "play"

    def acted(what: str, refused: int = 0, wrong: str = "", options: tuple[str, ...] = (), fast: int = 0):
        fresh = tmp_path / "fresh"
        fresh.write_text(what)
        fresh.rename(play)  # whoever reads it meanwhile finds the one or the other
        actor = tmp_path / "actor"
        actor.write_text(ACTOR.format(python=sys.executable, play=str(play), refused=refused, wrong=wrong, fast=fast))
        actor.chmod(0o755)
        table = f"[here]\nengine = 'slurm'\npython = '{actor}'\nmemory = 100\noptions = {list(options)}\n"
        (tmp_path / "clusters.toml").write_text(table)

    acted("wait")
    yield acted
    acted("finish")
    for job in launch.jobs(tmp_path / "runs"):
        daemons.said("scancel", f"--name={job.ticket.partition('_')[0]}")


def begun(tmp_path, count: int = 1, **needs) -> list[launch.Job]:
    recipes = [compose(dataset="digits", seed=seed) for seed in range(count)]
    return launch.submit_there(tmp_path / "runs", recipes, "here", Needs(**{"memory": 100, **needs}))


def until(tmp_path, *states: str, **more) -> list[launch.Job]:
    """All jobs, once each is in one of these states."""
    found = []

    def there() -> bool:
        found[:] = launch.settle(tmp_path / "runs", wait=5, **more)
        return all(job.state in states for job in found)

    try:
        wait_until(there)
    except AssertionError:
        pytest.fail(f"not {states}: {[(job.state, job.reason, log(job)) for job in found]}")
    return found


def run_of(job: launch.Job) -> runs.Run:
    return runs.Run(job.store / job.run)


@pytest.mark.long
def test_several_are_one_array_and_each_says_how_it_is(cluster, daemons, tmp_path):
    begun(tmp_path, 3)
    every = until(tmp_path, "running")
    assert {job.host for job in every} == {daemons.host}
    numbers = slurm._run(["squeue", "-h", "-r", "-o", "%F", f"--name={every[0].ticket[:-2]}"]).split()
    assert len(numbers) == 3
    assert len(set(numbers)) == 1
    wait_until(lambda: "at work" in log(every[2]), "its log is not there")
    assert clusters.slots("here", wait=30).cpus == (1, 4)
    cluster("finish")
    assert not [job.reason for job in until(tmp_path, "finished") if job.reason]


@pytest.mark.long
def test_a_run_is_stopped_by_its_file_and_goes_on(cluster, tmp_path):
    begun(tmp_path)
    (job,) = until(tmp_path, "running")
    wait_until(lambda: run_of(job).state == "running", "it does not say that it runs")
    assert launch.stop(job).state == "stopping"
    (job,) = until(tmp_path, "stopped")
    assert not job.terminated
    assert not (run_of(job).path / "stop").exists()
    cluster("finish")
    assert launch.resume(job).ticket != job.ticket
    until(tmp_path, "finished")
    assert run_of(job).state == "finished"


@pytest.mark.long
def test_what_does_not_listen_is_asked_and_then_ended(cluster, tmp_path):
    cluster("stubborn")
    begun(tmp_path)
    (job,) = until(tmp_path, "running")
    wait_until(lambda: run_of(job).state == "running", "it does not say that it runs")
    launch.stop(job)
    (job,) = until(tmp_path, "stopped", patience=(0.1, 0.1))
    assert job.terminated
    assert run_of(job).state == "lost"


@pytest.mark.long
def test_what_waits_says_why_and_is_stopped_at_once(cluster, tmp_path):
    begun(tmp_path, cpus=4)
    until(tmp_path, "running")
    more = [compose(dataset="digits", seed=seed) for seed in range(1, 5)]
    launch.submit_there(tmp_path / "runs", more, "here", Needs(cpus=4, memory=100))
    waiting = []

    def said() -> bool:
        waiting[:] = [job for job in launch.settle(tmp_path / "runs", wait=5) if job.state == "queued" and job.reason]
        return len(waiting) == len(more)

    wait_until(said, "they do not say why they wait")
    assert "Resources" in waiting[0].reason or "Priority" in waiting[0].reason
    for job in waiting:
        launch.stop(job)
    rest = [job.id for job in waiting]

    def stopped() -> bool:
        return all(job.state == "stopped" for job in launch.settle(tmp_path / "runs", wait=5) if job.id in rest)

    wait_until(stopped, "they wait on")


@pytest.mark.long
def test_what_takes_too_much_memory_says_what_to_ask_for(cluster, tmp_path):
    cluster("eat")
    begun(tmp_path)
    (job,) = until(tmp_path, "lost")
    assert "100 MB" in job.reason
    assert "200 MB" in job.reason
    assert job.needs.memory == 200
    assert run_of(job).state == "lost"
    assert run_of(job).status["reason"] == job.reason


@pytest.mark.long
def test_what_is_killed_is_lost_and_goes_on(cluster, tmp_path):
    begun(tmp_path)
    (job,) = until(tmp_path, "running")
    wait_until(lambda: run_of(job).state == "running", "it does not say that it runs")
    os.kill(run_of(job).status["pid"], signal.SIGKILL)
    assert run_of(job).state == "running"  # nobody here says otherwise
    (job,) = until(tmp_path, "lost")
    assert run_of(job).state == "lost"
    cluster("finish")
    launch.resume(job)
    until(tmp_path, "finished")


@pytest.mark.long
def test_a_controller_that_does_not_answer_loses_nothing(cluster, daemons, tmp_path):
    begun(tmp_path)
    (job,) = until(tmp_path, "running")
    daemons.end("slurmctld")  # killed, it would forget the last seconds
    try:
        (job,) = until(tmp_path, "unreachable")
        assert "does not answer" in job.reason
        with pytest.raises(Unreachable):
            launch.submit_there(tmp_path / "runs", [compose(dataset="digits", seed=5)], "here", Needs(memory=100))
        assert len(launch.jobs(tmp_path / "runs")) == 1
        with pytest.raises(ValueError, match="unreachable"):
            launch.remove(job)
    finally:
        daemons.start("slurmctld")
    until(tmp_path, "running")
    cluster("finish")
    until(tmp_path, "finished")


@pytest.mark.long
def test_refused_is_said_in_slurms_words_and_leaves_nothing(cluster, daemons, tmp_path, monkeypatch):
    cluster("wait", options=("--partition=nowhere",))
    with pytest.raises(ValueError, match="nowhere"):
        begun(tmp_path)
    assert launch.jobs(tmp_path / "runs") == []
    assert not list((tmp_path / "runs/.queue").glob("0*"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unreachable, match="sbatch"):
        begun(tmp_path)


@pytest.mark.long
def test_another_code_and_another_store_are_refused(cluster, tmp_path):
    cluster("wait", refused=1, wrong="here 1, there 2")
    begun(tmp_path)
    (job,) = until(tmp_path, "failed")
    assert "here 1, there 2" in job.reason
    cluster("wait")
    held = Task("anchorscope-unseen", engines.shell("T", tmp_path / "no.ticket", tmp_path / "l", ("runs",), "", "", {}))
    engine = clusters.find("here").engine(tmp_path)
    engine.submit([held], Needs(memory=100))
    said = []

    def ended() -> bool:
        said[:] = engine.states([held.ticket]).values()
        return bool(said) and said[0].state == "ended"

    wait_until(ended, "it does not end")
    assert said[0].code == engines.UNSEEN
    assert "no such ticket" in engine.log(held.ticket)


@pytest.mark.long
def test_a_node_that_does_not_see_the_store_is_told_as_that(cluster, tmp_path):
    cluster("wait")
    begun(tmp_path)
    engine = clusters.find("here").engine(tmp_path / "not there")
    engine.submit([Task("anchorscope-blind", "true")], Needs(memory=100))
    wait_until(lambda: [one.state for one in engine.states(["anchorscope-blind"]).values()] == ["ended"], "no end")
    seen = engine.states(["anchorscope-blind"])["anchorscope-blind"]
    assert seen.cause == "launch"
    (job,) = launch.jobs(tmp_path / "runs")
    now = away._ended_there(job, seen)
    assert (now.state, str(tmp_path / "runs") in now.reason) == ("failed", True)
    launch.stop(job)


@pytest.mark.long
def test_without_credentials_nobody_answers(cluster, daemons, tmp_path):
    begun(tmp_path)
    until(tmp_path, "running")
    daemons.end("munged")
    try:
        (job,) = until(tmp_path, "unreachable")
        assert "munge" in job.reason.lower()
    finally:
        (daemons.folder / "munge.socket").unlink(missing_ok=True)
        daemons.start("munged")
    until(tmp_path, "running")


@pytest.mark.long
@pytest.mark.parametrize("fast", [86400, -86400])
@pytest.mark.parametrize("whose", ["the job's", "the app's"])
def test_clocks_a_day_apart_change_nothing(cluster, tmp_path, monkeypatch, fast, whose):
    cluster("stubborn", fast=fast if whose == "the job's" else 0)
    if whose == "the app's":
        right = time.time
        monkeypatch.setattr(time, "time", lambda: right() + fast)
    begun(tmp_path)
    (job,) = until(tmp_path, "running")
    wait_until(lambda: run_of(job).state == "running", "it does not say that it runs")
    launch.stop(job)
    (job,) = until(tmp_path, "stopping")
    assert not job.terminated  # its patience is not over
    (job,) = until(tmp_path, "stopped", patience=(0.1, 0.1))
    assert job.terminated
    cluster("wait", fast=fast if whose == "the job's" else 0)
    launch.resume(job)
    (job,) = until(tmp_path, "running")
    forgotten = job.ticket
    write(replace(job, ticket="anchorscope-forgotten"))
    (job,) = until(tmp_path, "unreachable")  # for a while yet
    assert launch.settle(tmp_path / "runs", wait=5)[0].state == "unreachable"
    monkeypatch.setattr(away, "UNKNOWN", 0.1)
    (job,) = until(tmp_path, "lost")
    write(replace(job, state="running", ticket=forgotten))
    cluster("finish")
    (job,) = until(tmp_path, "finished")
    assert run_of(job).state == "finished"


OTHER_APP = """
import sys
from pathlib import Path
from cac_core.jobs import launch
from cac_core.jobs.engines import Needs
from cac_core.recipe import compose
recipes = [compose(dataset="digits", seed=seed) for seed in range(*map(int, sys.argv[2:]))]
for job in launch.submit_there(Path(sys.argv[1]), recipes, "here", Needs(memory=100)):
    print(job.id, job.ticket, job.run)
"""


@pytest.mark.long
def test_two_apps_on_one_cluster_do_not_mix_up_their_jobs(cluster, daemons, tmp_path):
    """One has a store of its own with the same trainings; another is a second process on the same store."""

    def app(store: str, *seeds: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", OTHER_APP, str(tmp_path / store), *seeds],
                                cwd=Path(engines.__file__).parents[2], stdout=subprocess.PIPE, text=True)  # fmt: skip

    apps = [app("runs", "0", "2"), app("runs", "0", "2"), app("runs", "1", "3"), app("others", "0", "1")]
    said = [one.communicate(timeout=LONG)[0].splitlines() for one in apps]
    assert [one.returncode for one in apps] == [0] * len(apps)
    mine, others = launch.jobs(tmp_path / "runs"), launch.jobs(tmp_path / "others")
    assert sorted(job.run for job in mine) == sorted(compose(dataset="digits", seed=seed).id for seed in range(3))
    assert {line for lines in said[:3] for line in lines} == {f"{job.id} {job.ticket} {job.run}" for job in mine}
    assert len({job.ticket for job in (*mine, *others)}) == 4
    until(tmp_path, "running")
    (other,) = launch.settle(tmp_path / "others", wait=5)
    assert other.run in {job.run for job in mine}
    launch.stop(other)

    def stopped() -> bool:
        return launch.settle(tmp_path / "others", wait=5)[0].state == "stopped"

    wait_until(stopped, "the other's job does not stop")
    until(tmp_path, "running")
    cluster("finish")
    until(tmp_path, "finished")
    assert launch.settle(tmp_path / "others", wait=5)[0].state == "stopped"
