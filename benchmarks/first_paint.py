"""Home on a cold server: how long until a browser shows it, from the page's own clock.

python benchmarks/first_paint.py [--rounds 5]

Each round starts a new server and a browser context without a cache, on an empty data folder, and opens Home. Times are
in seconds from the request: heading, first number, wheel; then the same page again, the server warm.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent.parent
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
WATCH = """window.seen = {};
const what = {heading: 'h1', number: '[data-testid=stMetricValue]', wheel: 'canvas'};
const look = () => {
  for (const k in what) if (!(k in seen) && document.querySelector(what[k])) seen[k] = performance.now() / 1000;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);"""


def opened(page, address: str) -> dict[str, float]:
    page.goto(address)
    page.wait_for_function("'wheel' in window.seen && 'number' in window.seen")
    return page.evaluate("window.seen")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cold, warm = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        for _ in range(rounds):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            server = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true",
                 f"--server.port={port}"],
                cwd=HERE, env={**os.environ, "ANCHORSCOPE_DATA": tempfile.mkdtemp()},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            try:
                while True:
                    with socket.socket() as knock:
                        if knock.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    time.sleep(0.02)
                page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
                page.add_init_script(WATCH)
                cold.append(opened(page, f"http://127.0.0.1:{port}/"))
                warm.append(opened(page, f"http://127.0.0.1:{port}/"))
            finally:
                server.terminate()
                server.wait()
    print(machine.described())
    print(f"{rounds} cold servers, one after the other")
    for name, times in (("cold", cold), ("warm", warm)):
        for what in ("heading", "number", "wheel"):
            values = [t[what] for t in times]
            print(f"{name} {what:8} {statistics.median(values):5.2f} s   ({min(values):.2f} to {max(values):.2f})")
