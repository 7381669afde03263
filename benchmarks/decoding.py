"""Many photos: what decoding an image folder takes in memory and time, killed in the middle and gone on with.

python benchmarks/decoding.py [--images 500 2000] [--width 400] [--height 300] [--size 224] [--work DIR]

A folder of five classes: JPEGs of blurred noise, hard links of ten of them. Each count is
decoded by processes of their own: one that is killed when it is half through, one that goes on to the end, divides the
images into parts and takes their digest, and one that finds all done. Memory is what a process holds that is not a file
(RssAnon), above what it holds before it reads, at its peak.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import machine
import numpy as np
from PIL import Image

from cac_core.data import datasets

CLASSES, DISTINCT, NAME = 5, 10, "many"


def make(root: Path, count: int, width: int, height: int) -> None:
    """The image folder: so many JPEGs in all."""
    rng = np.random.default_rng(0)
    for n in range(count):
        file = root / NAME / f"class-{n % CLASSES}" / f"{n:06}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        first = root / f"{n % DISTINCT}.jpg"
        if n < DISTINCT:
            noise = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8))
            noise.resize((width, height), Image.Resampling.BILINEAR).save(first, quality=85)
        os.link(first, file)


def held() -> int:
    """Bytes that this process holds that are not a file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def work(root: Path, size: int, until: float) -> None:
    """Decode, tell what it took, and end when so large a share of the images is there."""
    before, most, end = held(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not end.wait(0.005):
            most = max(most, held() - before)

    threading.Thread(target=watch, daemon=True).start()
    began, used, fresh = time.perf_counter(), time.process_time(), 0

    def tell(done: int, of: int, rate: float) -> None:
        nonlocal fresh
        fresh = fresh or of - done
        if done >= until * of:
            os.kill(os.getpid(), 9)

    images = datasets.load(NAME, root, size, tell=tell)
    trial = datasets.Trial(NAME, "custom", "all", tuple(range(CLASSES - 1)), (CLASSES - 1,))
    read, used = time.perf_counter() - began, time.process_time() - used
    datasets.parts_of(images, trial, 0)
    began = time.perf_counter()
    datasets.digest(images)
    end.set()
    print(f"{read:.1f} s ({used:.1f} s of processor), digest {time.perf_counter() - began:.1f} s, {most / 1e6:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--height", type=int, default=300)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.until:
        work(a.work, a.size, a.until)
        sys.exit()
    print(machine.described())
    for count in a.images:
        root = Path(tempfile.mkdtemp(dir=a.work))
        make(root, count, a.width, a.height)
        print(f"{count} images of {a.width} x {a.height} to {a.size}:")
        for what, until in (("killed half through", 0.5), ("gone on with", 2), ("all done", 2)):
            line = [sys.executable, __file__, "--work", root, "--size", a.size, "--until", until]
            done = subprocess.run([*map(str, line)], capture_output=True, text=True, check=False)
            kept = sum(file.stat().st_blocks * 512 for file in (root / ".cache").rglob("*.pixels"))
            print(f"    {what:20} {done.stdout.strip() or done.returncode}; on disk {kept / 1e6:.0f} MB", flush=True)
        shutil.rmtree(root)
