"""A browser, and the app over a store with one short training, for the tests that drive it as people do."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cac_core import recipe
from cac_core.results import sweep
from cac_core.training import loop
from tests.waiting import LONG, Gates, wait_until

ROOT = Path(__file__).parents[2]
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " \
        "--disable-component-update --disable-sync " \
        "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"there is no browser here: none of {', '.join(names)} is installed")
    reason = "Playwright is not installed: pip install -e .[dev]"
    with pytest.importorskip("playwright.sync_api", reason=reason).sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=QUIET.split())
        yield started
        started.close()


@pytest.fixture(scope="session")
def new_context(browser):
    """new_context(**options): a window of its own, whose tabs wait as long as the slowest machine needs."""

    def make(**options):
        context = browser.new_context(**options)
        context.set_default_timeout(1000 * LONG)
        return context

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("browser")
    given = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=2)
    run = loop.train(given, place / "runs", place / "data", device="cpu")
    sweep.sweep(run, place / "data", temperatures=(1.0, 10.0), magnitudes=(0.0, 0.01, 0.05), device="cpu")
    return place, run


@contextlib.contextmanager
def served(script, log, **environment):
    """The address of a running app while open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def listens():
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", port)) == 0

    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true", f"--server.port={port}"]
    with open(log, "w") as said:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=said, stderr=said)
    try:
        wait_until(lambda: listens() or process.poll() is not None, "the server does not listen")
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(LONG)


@contextlib.contextmanager
def app_over(store, root, **environment):
    """The address of an app over a store and a data root while open; its workers, which outlive it, end with it."""
    folders = {"ANCHORSCOPE_RUNS": str(store), "ANCHORSCOPE_DATA": str(root)}
    try:
        with served("streamlit_app.py", store.parent / "server.log", **folders, **environment) as address:
            yield address
    finally:
        for other in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(store) in other.cmdline():
                    other.terminate()


@pytest.fixture(scope="session")
def serve():
    """serve(script, log, **environment), for an app of a test's own."""
    return served


@pytest.fixture(scope="session")
def training_gates(tmp_path_factory):
    """Gates at the ends of epochs, for what is trained by the server's worker."""
    return Gates(tmp_path_factory.mktemp("gates") / "gates")


@pytest.fixture(scope="session")
def server(trained, training_gates):
    """The address of a running app."""
    place, _ = trained
    with app_over(place / "runs", place / "data", **training_gates.environment) as address:
        yield address


@pytest.fixture
def page(new_context, server):
    """An open tab; what goes wrong in it fails the test."""
    context = new_context(viewport={"width": 1440, "height": 900})
    tab, wrong = context.new_page(), []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(f"{said.text} {said.location}") if said.type == "error" else None)
    yield tab
    assert not tab.locator("[data-testid=stException]").count()
    context.close()
    # Streamlit itself asks below the page's own path first where a page is opened by its address
    assert [w for w in wrong if "/_stcore/" not in w] == []
