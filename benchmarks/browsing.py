"""The app with a server and a browser of its own, for what is measured on its pages."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).parent.parent
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


def chromium() -> str:
    """The path of the browser; raises SystemExit where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    return path or sys.exit(f"There is no browser here: none of {', '.join(names)} is installed.")


@contextlib.contextmanager
def served(script: Path = HERE / "streamlit_app.py", **environment: object) -> Iterator[tuple[int, str]]:
    """The server's process number and the app's address, from when it listens; ended on leaving."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true", f"--server.port={port}"],
        cwd=HERE, env=os.environ | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not _listens(port):
            if process.poll() is not None:
                sys.exit(f"The server of {script} ended before it listened.")
            time.sleep(0.02)
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium(), args=QUIET)
