"""A browser, and the app over a store with one short training, for the tests that drive it as people do."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cac_core import recipe
from cac_core.results import sweep
from cac_core.training import loop

ROOT = Path(__file__).parents[2]
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking " \
        "--disable-component-update --disable-sync"  # fmt: skip


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
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("browser")
    given = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=2)
    run = loop.train(given, place / "runs", place / "data", device="cpu")
    sweep.sweep(run, place / "data", temperatures=(1.0, 10.0), magnitudes=(0.0, 0.01, 0.05), device="cpu")
    return place, run


@pytest.fixture(scope="session")
def server(trained):
    """The address of a running app, and how long the server took to listen, in seconds."""
    place, _ = trained
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "ANCHORSCOPE_RUNS": str(place / "runs"), "ANCHORSCOPE_DATA": str(place / "data")}
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"]
    with open(place / "server.log", "w") as log:
        process = subprocess.Popen([*command, f"--server.port={port}"], cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (place / "server.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        for other in psutil.process_iter():  # workers outlive the server, as they should; not the tests
            with contextlib.suppress(psutil.Error):
                if str(place / "runs") in other.cmdline():
                    other.terminate()


@pytest.fixture
def page(browser, server):
    """An open tab; what goes wrong in it fails the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    tab, wrong = context.new_page(), []
    tab.set_default_timeout(30_000)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(f"{said.text} {said.location}") if said.type == "error" else None)
    yield tab
    assert not tab.locator("[data-testid=stException]").count()
    context.close()
    # Streamlit itself asks below the page's own path first where a page is opened by its address
    assert [w for w in wrong if "/_stcore/" not in w] == []
