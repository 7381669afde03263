"""Several people on the path from a zip of photos to a verdict at once: time and memory, in real browsers.

python benchmarks/crowd.py --data DIR [--people 1 10] [--each 40]

Each uploads a zip of its own, 3 + 2 classes of CIFAR-10 photos enlarged to 300 pixels, ticks what is known, takes what
New run offers, starts, and waits on Live for the verdict. One worker trains one run after the other. Told are the
seconds to the queue, when all of a person's clicks are done, and to the verdict; the memory of the server, and of the
worker with what it has started, at most; and processor time of both.
"""

import argparse
import asyncio
import io
import statistics
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import browsing
import machine
import numpy as np
import psutil
from PIL import Image
from playwright.async_api import Page, async_playwright

from cac_core.data import datasets
from cac_core.data.sources import CIFAR10

KNOWN, UNKNOWN = ("airplane", "horse", "ship"), ("frog", "truck")
WAIT = 2_400_000  # milliseconds


def zipped(images: datasets.Images, each: int, person: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in KNOWN + UNKNOWN:
            mine = np.flatnonzero(images.classes == CIFAR10.index(name))
            for place in np.random.default_rng([person, CIFAR10.index(name)]).permutation(mine)[:each]:
                file = io.BytesIO()
                Image.fromarray(images.pixels[place]).resize((300, 300), Image.Resampling.BICUBIC).save(file, "JPEG")
                archive.writestr(f"{name}/{place:05}.jpg", file.getvalue())
    return content.getvalue()


async def walk(page: Page, address: str, name: str, content: bytes) -> tuple[float, float]:
    page.set_default_timeout(WAIT)
    began = time.perf_counter()
    await page.goto(f"{address}/data?data_view=own")
    upload = {"name": f"{name}.zip", "mimeType": "application/zip", "buffer": content}
    await page.set_input_files("input[type=file]", files=[upload])
    await page.wait_for_function(
        "name => [...document.querySelectorAll('input')].some(one => one.value === name)", arg=name
    )
    await page.get_by_role("button", name="Make it a data set").click()
    await page.get_by_text("Which classes shall the network know?").wait_for()
    for cls in UNKNOWN:
        await page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
        await page.get_by_role("button", name=cls, exact=True).click()
    await page.get_by_text("3 known, 2 unknown classes").wait_for()
    await page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]')
    await page.get_by_role("button", name="On to training").click()
    await page.get_by_text(f"learns 3 classes of {name}").wait_for()
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.get_by_text("In the queue already: 1.").wait_for()
    queued = time.perf_counter() - began
    await page.get_by_role("link", name="Watch them under Live").first.click()
    await page.get_by_role("link", name="See what it can do").first.wait_for()
    return queued, time.perf_counter() - began


class Memory(threading.Thread):
    """The most that the server holds, and its children; and what is left of their processor time."""

    def __init__(self, server: psutil.Process):
        super().__init__(daemon=True)
        self.server, self.most, self.others, self.going = server, 0, 0, True

    def run(self) -> None:
        while self.going:
            try:
                self.most = max(self.most, self.server.memory_info().rss)
                found = [one.memory_info().rss for one in self.server.children(recursive=True)]
                self.others = max(self.others, sum(found))
            except psutil.Error:
                pass
            time.sleep(0.2)


async def crowd(people: int, each: int, images: datasets.Images, work: Path) -> None:
    store, root = work / f"runs-{people}", work / f"data-{people}"
    store.mkdir(), root.mkdir()
    with browsing.served(ANCHORSCOPE_RUNS=store, ANCHORSCOPE_DATA=root) as (server, address):
        memory = Memory(psutil.Process(server))
        memory.start()
        try:
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=browsing.chromium(), args=browsing.QUIET)
                pages = [await (await browser.new_context()).new_page() for _ in range(people)]
                zips = [zipped(images, each, person) for person in range(people)]
                took = await asyncio.gather(*(
                    walk(page, address, f"person-{n}", content)
                    for n, (page, content) in enumerate(zip(pages, zips, strict=True))
                ))  # fmt: skip
                await browser.close()
            queued, done = zip(*took, strict=True)
            spread = [f"{statistics.median(some):.0f} ({min(some):.0f} to {max(some):.0f})" for some in (queued, done)]
            print(
                f"| {people} | {spread[0]} | {spread[1]} | {memory.most / 1e6:.0f} | {memory.others / 1e6:.0f} |",
                flush=True,
            )
        finally:
            memory.going = False
            for child in psutil.Process(server).children(recursive=True):
                child.terminate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--each", type=int, default=40)
    a = parser.parse_args()
    photographs = datasets.load("CIFAR10", datasets.root_of(a.data))["train"]
    print(machine.described())
    print(f"{len(KNOWN)} + {len(UNKNOWN)} classes of {a.each} photos each, browsers on the same machine\n")
    print("| people at once | seconds to the queue | seconds to the verdict | server, MB | worker and training, MB |")
    print("|-|-|-|-|-|")
    with tempfile.TemporaryDirectory() as place:
        for people in a.people:
            asyncio.run(crowd(people, a.each, photographs, Path(place)))
