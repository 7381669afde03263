"""The pages of Explore in a browser: time to a verdict, payloads, and ten people at once.

python benchmarks/explore.py [--tabs 10] [--images 8]

Verdict: from the choice of a file to the heading of its card, on a cold server (which imports torch and loads the
network then), and the time per image of --images more. Payload: what the browser receives for a page, without the
app's own scripts. Tabs: so many contexts over two runs, each uploading an image of its own with ODIN's step, all at
once; what they are told is compared with what one tab alone is told. Memory is that of the server's process.
"""

import argparse
import re
import shutil
import tempfile
import time
from pathlib import Path

import browsing
import machine
import numpy as np
import psutil
from PIL import Image

from cac_core import runs
from cac_core.results import sweep

RUNS = ("digits-osrci-0-cac-small-s0", "digits-three-cac-small-s0-cd93ad00")
VERDICT = re.compile("^(Unknown|Known: .*)$")


def picture(folder: Path, number: int) -> Path:
    rng = np.random.default_rng(number)
    pixels = np.kron(rng.integers(0, 2, (8, 8)) * 255, np.ones((4, 4))).astype(np.uint8)
    file = folder / f"{number}.png"
    Image.fromarray(pixels).save(file)
    return file


def told(page) -> list[str]:
    """The verdicts that stand on the page, with their scores."""
    cards = page.locator("[data-testid=stHeading]").filter(has_text=re.compile("Unknown|Known:"))
    scores = page.get_by_text(re.compile("^Score [0-9]"))
    for one in (cards, scores):
        one.first.wait_for()
    return [*cards.all_inner_texts(), *scores.all_inner_texts()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabs", type=int, default=10)
    parser.add_argument("--images", type=int, default=8)
    a = parser.parse_args()
    place = Path(tempfile.mkdtemp())
    for name in RUNS:
        shutil.copytree(browsing.HERE / "checkpoints" / name, place / "runs" / name)
        sweep.sweep(runs.Run(place / "runs" / name), place / "data", temperatures=(10.0,), magnitudes=(0.0, 0.01, 0.02))
    print(machine.described())
    folders = {"ANCHORSCOPE_RUNS": place / "runs", "ANCHORSCOPE_DATA": place / "data"}
    with browsing.served(**folders) as (server, address), browsing.opened() as browser:
        memory = lambda: psutil.Process(server).memory_info().rss / 1e6  # noqa: E731
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/try?run={RUNS[0]}")
        page.get_by_text("No picture at hand?").wait_for()
        print(f"server before torch {memory():.0f} MB")
        began = time.perf_counter()
        page.set_input_files("input[type=file]", picture(place, 0))
        page.get_by_text("1 of 1 judged").wait_for()
        print(f"first verdict, cold {time.perf_counter() - began:.2f} s")
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/try?run={RUNS[0]}")
        page.get_by_text("No picture at hand?").wait_for()
        began = time.perf_counter()
        page.set_input_files("input[type=file]", [picture(place, n) for n in range(1, a.images + 1)])
        page.get_by_text(f"{a.images} of {a.images} judged").wait_for()
        print(f"{a.images} more at once   {(time.perf_counter() - began) / a.images:.2f} s an image")
        for name in ("space", "thresholds", "sweep"):
            received: list[int] = []
            take = received.append
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.on("websocket", lambda ws, take=take: ws.on("framereceived", lambda data: take(len(data))))
            page.goto(f"{address}/{name}?run={RUNS[0]}")
            page.wait_for_timeout(6000)
            print(f"{name:10} {sum(received) / 1e6:.2f} MB by the socket")
        tabs, alone = [], {}
        for n in range(a.tabs):
            tab = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
            step = (0, 0.01, 0.02)[n % 3]
            tab.goto(f"{address}/try?run={RUNS[n % 2]}&epsilon={step}&odin=10")
            tab.get_by_text("No picture at hand?").wait_for()
            tabs.append((n, tab))
        began = time.perf_counter()
        for n, tab in tabs:
            tab.set_input_files("input[type=file]", picture(place, 100 + n))
        for _, tab in tabs:
            tab.get_by_text("1 of 1 judged").wait_for()
        print(f"{a.tabs} tabs at once    {time.perf_counter() - began:.2f} s for all, server {memory():.0f} MB")
        together = {n: told(tab) for n, tab in tabs}
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        for n in range(a.tabs):
            page.goto(f"{address}/try?run={RUNS[n % 2]}&epsilon={(0, 0.01, 0.02)[n % 3]}&odin=10")
            page.get_by_text("No picture at hand?").wait_for()
            page.set_input_files("input[type=file]", picture(place, 100 + n))
            page.get_by_text("1 of 1 judged").wait_for()
            alone[n] = told(page)
        same = sum(together[n] == alone[n] for n in range(a.tabs))
        print(f"{same} of {a.tabs} tabs were told what one alone is told")
