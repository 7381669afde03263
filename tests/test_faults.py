"""What goes wrong around the app, done for real: full disks, runs that vanish, torn files, two servers, clocks, shows.

Whatever happens, every page paints: a title, no exception.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import holdings
from cac_core import recipe, runs
from cac_core.jobs import launch, worker
from cac_core.runs import Run
from cac_core.training import loop
from tests.waiting import LONG, wait_until

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[1]
PAGES = [f"app/pages/{name}.py" for name in ("space", "thresholds", "images", "sweep", "try", "data", "new", "live",
                                             "runs", "compare")]  # fmt: skip
ENDLESS = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=100_000)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A data root and a run of one epoch."""
    place = tmp_path_factory.mktemp("faults")
    given = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=1)
    return place / "data", loop.train(given, place / "runs", place / "data", device="cpu")


@pytest.fixture
def here(trained, store, monkeypatch):
    """The trained run in a store of its own; nothing starts a worker."""
    root, run = trained
    shutil.copytree(run.path, store / run.id)
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(root))
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    holdings.look_again()
    return Run(store / run.id)


@pytest.fixture
def training_process(here, trained):
    """training_process(limit=None): a training that has written an epoch, or has ended; bytes that a file may have."""
    started = []

    def start(limit: int | None = None) -> tuple[subprocess.Popen, Run]:
        store, root = here.path.parent, trained[0]
        (store / "endless.json").write_text(json.dumps(ENDLESS.to_json()))
        words = ["train", "--recipe", str(store / "endless.json"), "--data", str(root), "--runs", str(store)]
        with open(os.devnull, "w") as nobody:  # an unread pipe fills up, and the training would wait for a reader
            started.append(subprocess.Popen(
                [sys.executable, "-m", "cac_core", *words, "--device", "cpu"], cwd=HERE, stdout=nobody, stderr=nobody,
                preexec_fn=lambda: limit and resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            ))  # fmt: skip
        run = Run(store / ENDLESS.id)
        wait_until(lambda: run.epochs() or started[-1].poll() is not None)
        return started[-1], run

    yield start
    for process in started:
        process.kill()
        process.wait()


def everywhere(between=lambda: None) -> dict[str, AppTest]:
    """Every page in one session, each opened, then looked at again after `between`; each paints both times."""
    seen = {}
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
    for page in ["", *PAGES]:
        at = at.switch_page(page).run() if page else at
        assert not at.exception and len(at.title) == 1, (page, [e.value for e in at.exception])
        seen[page] = at
    between()
    for page in PAGES:
        at = at.switch_page(page).run()
        assert not at.exception and len(at.title) == 1, (page, [e.value for e in at.exception])
    return seen


def test_a_disk_that_fills_up_while_training(training_process):
    process, run = training_process(limit=60_000)  # room for the record, not for the weights
    assert process.wait(LONG) == 1
    assert run.state == "failed" and "File too large" in run.status["reason"]
    everywhere()
    assert not list(run.path.glob(".*.tmp"))


def test_a_run_that_is_deleted_while_it_trains(training_process):
    process, run = training_process()

    def gone() -> bool:  # the training puts files into place meanwhile
        shutil.rmtree(run.path, ignore_errors=True)
        return not run.path.exists()

    everywhere(between=lambda: wait_until(gone))
    assert process.wait(LONG) == 1
    assert not run.written
    everywhere()


def test_a_run_that_may_no_longer_be_written_while_it_trains(training_process):
    process, run = training_process()
    done = subprocess.run(["chattr", "+i", run.path], capture_output=True)
    if done.returncode:
        pytest.skip("this file system knows no chattr, or this user may not use it")
    try:
        assert process.wait(LONG) == 1
        assert run.state == "lost"  # it could not say so itself
        everywhere()
    finally:
        subprocess.run(["chattr", "-i", run.path], check=True)


def test_outputs_that_vanish_and_a_store_that_does(here):
    everywhere(between=lambda: shutil.rmtree(here.path / "outputs"))
    everywhere(between=lambda: shutil.rmtree(here.path.parent))


@pytest.mark.parametrize("half", ["", '{"kind": "train", "argum', "\x00" * 40])
def test_a_queue_file_torn_in_half(here, half):
    job = launch.submit_recipe(here.path.parent, ENDLESS)
    job.path.write_text(half)
    seen = everywhere()
    assert launch.find(here.path.parent, job.id).state == "broken"
    launch.remove(launch.find(here.path.parent, job.id))
    assert not launch.jobs(here.path.parent) and seen


@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_by_a_day_loses_no_run_and_no_job(here, monkeypatch, days):
    """What runs is told by the kernel's locks and the seconds since the machine began."""
    store = here.path.parent
    runs.write_json(here.path / "status.json", {"state": "running", "device": "cpu", **runs.process_now()})
    waits = launch.submit_recipe(store, ENDLESS)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86400 * days)
    assert here.state == "running" and launch.settle(store) == [waits]
    seen = everywhere()
    assert seen


def test_two_servers_on_one_store(here, tmp_path):
    """Both open all pages at once, again and again, while the store changes under them."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, '.')\n"
        "from tests import test_faults\n"
        "from app import results\n"
        "results.WORTH = 1\n"
        "rounds = 0\n"
        "while rounds < 2 or not Path(sys.argv[1]).exists(): test_faults.everywhere(); rounds += 1\n"
    )
    words, enough, servers = [sys.executable, "-c", script], tmp_path / "enough", []
    said = [tmp_path / f"server-{n}.log" for n in range(2)]  # an unread pipe fills up, and its server would wait
    number = 0

    def ended() -> bool:
        nonlocal number
        copy = here.path.with_name(f"copy-{number % 3}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(here.path, copy)
        launch.remove(launch.stop(launch.submit(here.path.parent, "eval", ["eval", copy.name, str(number)])))
        number += 1
        if number > 3:
            enough.touch()
        return all(server.poll() is not None for server in servers)

    try:
        for file in said:
            with open(file, "w") as log:
                servers.append(subprocess.Popen([*words, str(enough)], cwd=HERE, stderr=log))
        wait_until(ended, "the servers do not end")
    finally:
        for server in servers:
            server.kill()
            server.wait()
    for server, file in zip(servers, said, strict=True):
        assert server.returncode == 0, file.read_text()[-3000:]


@pytest.mark.parametrize("page", ["", *PAGES])
def test_in_a_show_no_page_changes_anything(here, page, monkeypatch):
    """Every button that there is, is pressed; the store and the data root stay as they are, and no job is there."""
    store, root = here.path.parent, Path(os.environ["ANCHORSCOPE_DATA"])
    waits = launch.submit(store, "map", ["map", here.id], run=here.id)
    swept = launch.submit(store, "sweep", ["sweep", here.id], run=here.id)
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")

    def files() -> dict[Path, int]:
        every = [*store.rglob("*"), *(p for p in root.rglob("*") if ".cache" not in p.parts)]
        return {path: path.stat().st_mtime_ns for path in every if path.is_file() and path.suffix != ".lock"}

    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
    at = at.switch_page(page).run() if page else at
    before = files()
    assert not at.get("file_uploader")
    for key in [button.key for button in at.button]:
        for button in at.button:
            if button.key == key and not button.disabled:
                at = button.click().run()
                assert not at.exception, (key, [e.value for e in at.exception])
                break
    assert files() == before
    assert [job.state for job in launch.jobs(store)] == ["queued", "queued"] and waits.id != swept.id
