"""What watching a training costs: the server's processor time for each look of the Live page, and the training's own.

PYTHONPATH=. python benchmarks/watching.py --data ROOT [--dataset MNIST] [--backbone small] [--epochs 10] [--seconds 60]

First a browser has the Live page open on a training (a process of its own, of the digits, in a store with the bundled
runs) and the processor time of the server is taken before and after; a look is a message by which the page asks for
itself again. Then the data set is trained in this process, and what its epochs spend on signs of life, snapshots and
saved states is held against the whole.
"""

import argparse
import itertools
import shutil
import statistics
import tempfile
import time
from importlib import metadata
from pathlib import Path

import browsing
import machine
import psutil

from cac_core.jobs import launch, worker
from cac_core.recipe import compose

PARTS = {"_event": "signs of life", "_snapshot": "snapshots", "_save": "the state to go on from",
         "_write_best": "the best weights"}  # fmt: skip


def used(process: psutil.Process) -> float:
    """Seconds of processor time so far."""
    times = process.cpu_times()
    return times.user + times.system


def looks(store: Path, seconds: float, rounds: int = 5) -> None:
    """Processor time of the server for each look at a training, in rounds of so many seconds."""
    shutil.copytree(browsing.HERE / "checkpoints", store, dirs_exist_ok=True)
    given = compose("quick", dataset="digits", backbone="small", epochs=5000)
    job = launch.submit_recipe(store, given, root=store / ".data")
    worker.ensure_worker(store)
    folders = {"ANCHORSCOPE_RUNS": store, "ANCHORSCOPE_DATA": store / ".data"}
    try:
        with browsing.served(**folders) as (server, address), browsing.opened() as browser:
            page, sent = browser.new_page(viewport={"width": 1440, "height": 1000}), []
            page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
            page.goto(f"{address}/live?watched={given.id}")
            page.get_by_text("Validation images after epoch").wait_for(timeout=120_000)
            page.wait_for_timeout(5000)
            costs, process = [], psutil.Process(server)
            for _ in range(rounds):
                before, asked = used(process), len(sent)
                page.wait_for_timeout(1000 * seconds / rounds)
                costs.append(1000 * (used(process) - before) / max(len(sent) - asked, 1))
            assert launch.find(store, job.id).state == "running"
            count = len(sent)
    finally:
        launch.stop(launch.find(store, job.id), patience=(0, 0))
    print(
        f"server, one look at a training: {statistics.median(costs):.0f} ms of processor time ({min(costs):.0f} to "
        f"{max(costs):.0f} in {rounds} rounds; {count} looks in about {seconds:.0f} s)"
    )


def writing(store: Path, given, root: Path) -> None:
    """The share of its epochs that a training spends on writing what a page, or a resumed run, will read."""
    from cac_core.training import loop

    spent, ends = dict.fromkeys(PARTS, 0.0), []

    def timed(name: str):
        work = getattr(loop._Training, name)

        def done(self, *given, **named):
            began = time.perf_counter()
            work(self, *given, **named)
            spent[name] += time.perf_counter() - began
            if name == "_save":
                ends.append((time.perf_counter(), dict(spent)))

        return done

    for name in PARTS:
        setattr(loop._Training, name, timed(name))
    loop.train(given, store, root, device="cpu")
    epochs = ends[: given.epochs]
    pairs = list(itertools.pairwise(epochs))
    whole = [b - a for (a, _), (b, _) in pairs]
    shares = [100 * sum(after[n] - before[n] for n in PARTS) / (b - a) for (a, before), (b, after) in pairs]
    print(
        f"training {given.id}: epoch {statistics.median(whole):.2f} s ({min(whole):.2f} to {max(whole):.2f}, "
        f"{len(whole)} epochs), of it {statistics.median(shares):.2f} % for writing ({min(shares):.2f} to "
        f"{max(shares):.2f})"
    )
    for name, what in PARTS.items():
        each = [1000 * (after[name] - before[name]) for (_, before), (_, after) in pairs]
        print(f"    {what}: {statistics.median(each):.1f} ms an epoch ({min(each):.1f} to {max(each):.1f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="where the data sets are")
    parser.add_argument("--dataset", default="MNIST")
    parser.add_argument("--backbone", default="small")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    print(f"{machine.described()}, streamlit {metadata.version('streamlit')}")
    with tempfile.TemporaryDirectory() as folder:
        looks(Path(folder) / "looks", asked.seconds)
        writing(
            Path(folder) / "writing",
            compose("quick", dataset=asked.dataset, backbone=asked.backbone, epochs=asked.epochs),
            asked.data,
        )
