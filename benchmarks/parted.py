"""Many images judged by jobs of a cluster, beside the same number of processes of one call: images a second.

PYTHONPATH=. python benchmarks/parted.py RUN [--images 8000] [--workers 2] [--rounds 3]

The cluster is Slurm's own daemons on this machine (as root; slurm-wlm, munge). Small images, random ones, so that what
is around them counts most. From the call to the last row, in turns in one run; the rows must be the same.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
import numpy as np
from PIL import Image
from pyarrow import parquet

from cac_core import runs
from tests.jobs.slurm_here import Slurm


def called(*words: object) -> None:
    done = subprocess.run([sys.executable, "-m", "cac_core", "score", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def there(folder: Path, count: int) -> bool:
    return len(list(folder.glob("part-*.parquet"))) == count


def rows(*files: Path) -> list[dict]:
    return sorted((row for file in files for row in parquet.read_table(file).to_pylist()), key=lambda row: row["path"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a path")
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    place, rng, run = Path(tempfile.mkdtemp(prefix="parted-")), np.random.default_rng(0), runs.Run(Path(a.run))
    shape = (run.row.size, run.row.size, *([3] if run.row.channels == 3 else []))
    (place / "images").mkdir()
    for n in range(a.images):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(place / "images" / f"{n:06}.png")
    slurm = Slurm(place / "slurm", cpus=max(a.workers, 2))
    os.environ |= slurm.environment | {"ANCHORSCOPE_CLUSTER": "slurm"}
    print(machine.described(), f"load {os.getloadavg()[0]:.1f}", flush=True)
    given, took = [run.path, place / "images", "--runs", place / "runs"], {"one call": [], "jobs": []}
    try:
        slurm.start()
        slurm.until_idle()
        for n in range(a.rounds):
            began = time.monotonic()
            called(*given, "--out", place / f"{n}.parquet", "--workers", a.workers)
            took["one call"].append(time.monotonic() - began)
            began, folder = time.monotonic(), place / f"parts{n}"
            called(*given, "--out", folder, "--on", "slurm", "--parts", a.workers, "--memory", "2G")
            while not there(folder, a.workers):
                time.sleep(0.05)
            took["jobs"].append(time.monotonic() - began)
            if rows(place / f"{n}.parquet") != rows(*folder.glob("part-*.parquet")):
                raise SystemExit("the rows differ")
    finally:
        slurm.end()
    for name, seconds in took.items():
        each = [a.images / one / a.workers for one in seconds]
        print(f"{name:9} {statistics.median(each):6.1f} images/s a worker ({min(each):.1f} to {max(each):.1f})")
    ratios = [one / other for one, other in zip(took["one call"], took["jobs"], strict=True)]
    print(f"jobs reach {statistics.median(ratios):.0%} of one call ({min(ratios):.0%} to {max(ratios):.0%})")
