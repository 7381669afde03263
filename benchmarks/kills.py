"""kill -9 at random moments in score, in export, in the service, and in what they keep for Watch.

PYTHONPATH=. python benchmarks/kills.py RUN [--runs DIR] [--data DIR] [--images 1500] [--kills 20]

Half of the kills come within 3 s of the start, the others once something has been written. Works on a copy of the run,
at the lowest priority.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import machine
import numpy as np
import serving

from cac_core import runs
from cac_core.data.datasets import root_of
from cac_core.results import evaluate
from cac_core.serving import deciders, watch

CLIENTS = 4
QUIET = {"cwd": serving.HERE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def kill_when(words: list[str], rng: random.Random, size) -> None:
    """Start it, and kill it some time after its start, or after size() has grown."""
    process, before, end = subprocess.Popen(words, **QUIET), size(), time.monotonic() + 120
    if rng.random() < 0.5:
        while process.poll() is None and size() <= before and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 3))
    else:
        time.sleep(rng.uniform(0, 3))
    process.kill()
    process.wait()


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def kept(run: runs.Run) -> collections.Counter:
    """How often each name stands among what is kept for Watch."""
    with contextlib.closing(sqlite3.connect(watch.file_of(run.path.parent, run.id))) as base:
        return collections.Counter(name for (name,) in base.execute("select name from judged"))


def score(run: runs.Run, folder: Path, out: Path, where: list, times: int, rng: random.Random) -> str:
    words = serving.command("score", run.id, folder, "--out", out, "--keep", "--workers", 2, "--batch", 16,
                            "--device", "cpu", *where)  # fmt: skip
    for _ in range(times):
        kill_when(words, rng, lambda: size_of(out))
    before = len(out.read_text().splitlines()) if out.exists() else 0
    subprocess.run(words, check=True, **QUIET)
    rows = collections.Counter(json.loads(line)["path"] for line in out.read_text().splitlines())
    names, count = kept(run), len(list(folder.iterdir()))
    return (
        f"score --keep: {times} kills, after which {before} of {count} images had a row; at the end {len(rows)} images "
        f"with a row, {sum(n > 1 for n in rows.values())} with two; kept for Watch {len(names)}, "
        f"{sum(n > 1 for n in names.values())} twice"
    )


def export(run: runs.Run, file: Path, where: list, pixels: np.ndarray, times: int, rng: random.Random) -> str:
    words = serving.command("export", run.id, "--onnx", file, *where)
    began = time.monotonic()
    subprocess.run(words, check=True, **QUIET)
    whole, found = time.monotonic() - began, collections.Counter()
    right = [one["decision"] for one in deciders.OfOnnx(file).says(deciders.OfOnnx(file).looks(pixels))]
    for turn in range(times):
        if turn % 2:
            file.unlink(missing_ok=True)
        process = subprocess.Popen(words, **QUIET)
        time.sleep(rng.uniform(0, 1.1 * whole))
        process.kill()
        process.wait()
        if not file.exists():
            found["none"] += 1
            continue
        decider = deciders.OfOnnx(file)
        same = [one["decision"] for one in decider.says(decider.looks(pixels))] == right
        found["whole" if same else "another"] += 1
    left = len(list(file.parent.glob(f".{file.name}.*.tmp")))
    return f"export: {times} kills within {1.1 * whole:.0f} s; then the file was {dict(found)}, {left} halves beside it"


def posted(port: int, name: str, content: bytes) -> bool:
    """Whether an image was answered."""
    head = f'--b\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\nContent-Type: image/webp\r\n\r\n'
    body = head.encode() + content + b"\r\n--b--\r\n"
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/judge", body, {"Content-Type": "multipart/form-data; boundary=b"})
        answer = connection.getresponse()
        return answer.status == 200 and b"decision" in answer.read()
    finally:
        connection.close()


def serve(run: runs.Run, onnx: Path, where: list, bodies: list[bytes], times: int, rng: random.Random) -> str:
    watch.delete(run.path.parent, run.id)
    answered, asked = [], []

    def client(turn: int, number: int, port: int) -> None:
        for n in range(100_000):
            name = f"{turn}-{number}-{n}.webp"
            asked.append(name)
            try:
                if posted(port, name, bodies[n % len(bodies)]):
                    answered.append(name)
            except (OSError, HTTPException):
                return

    for turn in range(times):
        port = serving.free_port()
        process = serving.served(serving.command("serve", "--onnx", onnx, "--port", port, "--keep", *where), port)
        clients = [threading.Thread(target=client, args=(turn, n, port)) for n in range(CLIENTS)]
        for one in clients:
            one.start()
        time.sleep(rng.uniform(0.1, 2))
        process.kill()
        process.wait()
        for one in clients:
            one.join()
    names = kept(run)
    lost, twice, more = set(answered) - set(names), sum(n > 1 for n in names.values()), set(names) - set(answered)
    return (
        f"serve --keep: {times} kills under {CLIENTS} clients; of {len(answered)} answers {len(lost)} are not kept, "
        f"{twice} twice; {len(asked) - len(answered)} requests without an answer, of which {len(more)} kept"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--kills", type=int, default=20)
    a = parser.parse_args()
    os.nice(19)
    run, root, place = runs.find(a.run, runs.store_of(a.runs)), root_of(a.data), Path(tempfile.mkdtemp())
    try:
        shutil.copytree(run.path, place / "runs" / run.id)
        run, where, rng = (
            runs.Run(place / "runs" / run.id),
            ["--runs", place / "runs", "--data", root],
            random.Random(0),
        )
        pixels = np.asarray(evaluate.images_of(run, root)["test"].pixels)
        folder = serving.written(pixels, a.images, place / "pictures")
        print(machine.described())
        print(f"{run.id}; load {os.getloadavg()[0]:.1f} at the beginning\n", flush=True)
        print(score(run, folder, place / "o.jsonl", where, a.kills, rng), flush=True)
        print(export(run, place / "network.onnx", where, pixels[:200], a.kills, rng), flush=True)
        subprocess.run(serving.command("export", run.id, "--onnx", place / "network.onnx", *where), check=True, **QUIET)
        bodies = [file.read_bytes() for file in sorted(folder.iterdir())[:50]]
        print(serve(run, place / "network.onnx", where, bodies, a.kills, rng), flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
