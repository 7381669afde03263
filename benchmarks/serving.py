"""Many images, one file, a service: speed, memory and agreement, as whole processes in one run.

python benchmarks/serving.py RUN [--runs DIR] [--data DIR] [--images 2000] [--photos 400] [--large 100000]

The images are the test images of the run's own data set as WebP files, and as many of them side by side as a JPEG of
1000 x 800 pixels. Ceilings: decoding alone in as many processes, and the network alone in this one, one thread.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path

import machine
import numpy as np
import psutil
from PIL import Image

from cac_core import runs
from cac_core.data import images
from cac_core.data.datasets import root_of
from cac_core.results import evaluate, judge
from cac_core.serving import deciders

HERE = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0))


def command(*words) -> list[str]:
    return [sys.executable, "-m", "cac_core", *map(str, words)]


def watched(words: list[str]) -> tuple[float, float, float, str]:
    """Seconds on the wall, seconds of processor time, most MB held by it and its children, and what it said."""
    began, most = time.monotonic(), 0
    before = os.times()
    process = psutil.Popen(words, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while process.poll() is None:
        held = 0
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                held += one.memory_full_info().pss
        most = max(most, held)
        time.sleep(0.1)
    said = process.stdout.read()
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - began, cpu, most / 1e6, said


def decode(file: str) -> int:
    return images.seen(Path(file), ROW, WAY)[0].size


def decoded(folder: Path) -> float:
    """Images a second, decoding alone in as many processes as there are cores."""
    files = [str(file) for file in folder.rglob("*.*")]
    with get_context("fork").Pool(CORES) as pool:
        pool.map(decode, files[:CORES])
        began = time.monotonic()
        pool.map(decode, files, 64)
        return len(files) / (time.monotonic() - began)


def written(pixels: np.ndarray, count: int, folder: Path) -> Path:
    folder.mkdir()
    for n in range(count):
        image = pixels[n % len(pixels)]
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
            folder / f"{n:06}.webp", lossless=True, method=0
        )
    return folder


def photographed(pixels: np.ndarray, count: int, folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(count):
        some = [
            Image.fromarray(np.broadcast_to(pixels[k], (*pixels.shape[1:3], 3)).copy())
            for k in rng.integers(0, len(pixels), 20)
        ]
        sheet = Image.new("RGB", (1000, 800))
        for place, image in enumerate(some):
            sheet.paste(image.resize((200, 200), Image.Resampling.BICUBIC), (200 * (place % 5), 200 * (place // 5)))
        sheet.save(folder / f"{n:06}.jpg", quality=90)
    return folder


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def served(words: list[str], port: int) -> subprocess.Popen:
    process = subprocess.Popen(words, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return process
        except OSError:
            pass
        time.sleep(0.1)


def asked(port: int, path: str, bodies: list[bytes], clients: int, each: int) -> tuple[float, float, float]:
    """Requests a second of so many clients, and p50 and p99 of their times in ms."""
    times: list[float] = []

    def client(seed: int) -> None:
        connection, rng = HTTPConnection("127.0.0.1", port, timeout=120), random.Random(seed)
        for _ in range(each):
            began = time.monotonic()
            connection.request("POST", path, rng.choice(bodies), {"Content-Type": "image/webp"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            times.append(time.monotonic() - began)
        connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(times, n=100)
    return len(times) / (time.monotonic() - began), 1000 * cuts[49], 1000 * cuts[98]


BARE = """
import io, sys, numpy as np, onnxruntime, uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
o = onnxruntime.SessionOptions(); o.intra_op_num_threads = 1
s = onnxruntime.InferenceSession(sys.argv[1], o)
size, channels = int(sys.argv[3]), int(sys.argv[4])
def judge(content):
    image = Image.open(io.BytesIO(content)).convert("L" if channels == 1 else "RGB").resize((size, size))
    return s.run(["score", "unknown"], {"image": np.asarray(image).reshape(1, size, size, channels)})
async def post(request):
    from starlette.concurrency import run_in_threadpool
    score, unknown = await run_in_threadpool(judge, await request.body())
    return JSONResponse({"score": score[0], "unknown": bool(unknown[0])})
async def ready(request): return JSONResponse({})
app = Starlette(routes=[Route("/v1/judge", post, methods=["POST"]), Route("/ready", ready)])
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--large", type=int, nargs="*", default=[1000, 10_000, 100_000])
    parser.add_argument("--requests", type=int, default=200)
    a = parser.parse_args()
    run, root = runs.find(a.run, runs.store_of(a.runs)), root_of(a.data)
    where = ["--runs", run.path.parent, "--data", root]
    pixels = evaluate.images_of(run, root)["test"].pixels
    pixels = np.asarray(pixels[np.random.default_rng(0).permutation(len(pixels))[:2000]])
    threshold = judge.threshold_of(run, judge.default_of(run), judge.scorer_options(judge.default_of(run)))
    decider = deciders.OfRun(run.path, threshold)
    ROW, WAY = run.row, decider.way
    print(machine.described())
    print(f"{run.id}, {decider.about['scorer']}; load {os.getloadavg()[0]:.1f} at the beginning\n")
    place = Path(tempfile.mkdtemp())
    try:
        small, photos = written(pixels, a.images, place / "small"), photographed(pixels, a.photos, place / "photos")
        onnx = place / "network.onnx"
        subprocess.run(
            command("export", run.id, "--onnx", onnx, *where), cwd=HERE, check=True, stdout=subprocess.DEVNULL
        )
        stacked = np.stack([images.seen(file, ROW, WAY)[0] for file in sorted(small.iterdir())[:512]])
        import torch

        torch.set_num_threads(1)
        alone = {}
        for name, one in (("torch", decider), ("onnx", deciders.OfOnnx(onnx))):
            one.looks(stacked[:64])
            began = time.process_time()
            for start in range(0, len(stacked), 64):
                one.looks(stacked[start : start + 64])
            alone[name] = len(stacked) / (time.process_time() - began)
        print("| images | by | images/s | ms of processor time each | MB | decoding alone, images/s "
              "| network alone, one thread, images/s |\n|-|-|-|-|-|-|-|")  # fmt: skip
        verdicts = {}
        for what, folder in (
            (f"{a.images} WebP of {pixels.shape[1]} pixels", small),
            (f"{a.photos} JPEG of 1000 x 800", photos),
        ):
            ceiling = decoded(folder)
            for name, by in (("torch", [run.id, "--device", "cpu"]), ("onnx", ["--onnx", onnx])):
                out = place / f"{folder.name}-{name}.jsonl"
                count = len(list(folder.iterdir()))
                words = command("score", *by, folder, "--out", out, "--workers", CORES, "--json", *where)
                wall, cpu, held, _ = watched(words)
                verdicts[folder.name, name] = [json.loads(line) for line in out.read_text().splitlines()]
                print(f"| {what} | {name} | {count / wall:.0f} | {1000 * cpu / count:.2f} | {held:.0f} | {ceiling:.0f} "
                      f"| {alone[name]:.0f} |", flush=True)  # fmt: skip
        for name in ("small", "photos"):
            pairs = list(zip(verdicts[name, "torch"], verdicts[name, "onnx"], strict=True))
            differ = sum((x["decision"], x["label"]) != (y["decision"], y["label"]) for x, y in pairs)
            print(f"\n{name}: {differ} of {len(pairs)} decisions differ between the run and its ONNX file")
        print("\n| images | by | images/s | MB |\n|-|-|-|-|")
        for count in a.large:
            many = place / f"many-{count}"
            many.mkdir()
            for n in range(count):
                os.link(small / f"{n % a.images:06}.webp", many / f"{n:07}.webp")
            words = command(
                "score", "--onnx", onnx, many, "--out", place / f"{count}.parquet", "--workers", CORES, "--json"
            )
            wall, _, held, _ = watched(words)
            print(f"| {count} | onnx | {count / wall:.0f} | {held:.0f} |", flush=True)
            shutil.rmtree(many)
        bodies = [file.read_bytes() for file in sorted(small.iterdir())[:200]]
        print("\n| service | requests/s of 8 clients | p50, ms | p99, ms |\n|-|-|-|-|")
        for name in ("onnx", "torch", "bare"):
            port = free_port()
            words = {
                "onnx": command("serve", "--onnx", onnx, "--port", port),
                "torch": command("serve", run.id, "--port", port, "--device", "cpu", *where),
                "bare": [sys.executable, "-c", BARE, str(onnx), str(port), str(ROW.size), str(ROW.channels)],
            }[name]
            process = served(words, port)
            try:
                asked(port, "/v1/judge", bodies, 8, 10)
                speed, half, most = asked(port, "/v1/judge", bodies, 8, a.requests)
                print(f"| {name} | {speed:.0f} | {half:.1f} | {most:.1f} |", flush=True)
            finally:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(place, ignore_errors=True)
