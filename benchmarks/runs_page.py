"""The page Runs over many runs: how long its script takes, cold and warm.

PYTHONPATH=. python benchmarks/runs_page.py [--runs 500] [--epochs 100]

Makes run directories with the files of a bundled run, each with a recipe of its own, so many epochs of events and a
shelf; then reads their rows and runs the page's whole script, the frame around it included. New is a store whose runs
no server has read before; cold is a server that has read nothing yet on a store that another one has (the disk may have
it in memory), warm is the same again, and changed after one run has written another epoch.
"""

import argparse
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import machine

HERE = Path(__file__).parent.parent
BUNDLED = HERE / "checkpoints" / "digits-osrci-0-cac-small-s0"


def make(store: Path, count: int, epochs: int) -> None:
    record = json.loads((BUNDLED / "recipe.json").read_text("utf-8"))
    lines = [json.loads(line) for line in (BUNDLED / "events.jsonl").read_text("utf-8").splitlines()]
    events = [json.dumps(lines[e % len(lines)] | {"epoch": e + 1, "time": 1.7e9 + e}) for e in range(epochs)]
    for seed in range(count):
        path = store / f"digits-osrci-0-cac-small-s{seed:04}"
        shutil.copytree(BUNDLED / "outputs", path / "outputs", copy_function=os.link)
        for name in ("status.json", "report.json", "snapshots.npz"):
            shutil.copyfile(BUNDLED / name, path / name)
        recipe = record["recipe"] | {"seed": seed, "method": ("cac", "cross_entropy")[seed % 2]}
        (path / "recipe.json").write_text(json.dumps(record | {"recipe": recipe}, indent=1), "utf-8")
        (path / "events.jsonl").write_text("\n".join(events) + "\n", "utf-8")
        (path / "shelf.json").write_text(json.dumps({"tags": [f"tag {seed % 7}"]}), "utf-8")


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=100)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        make(store, arguments.runs, arguments.epochs)
        os.environ["ANCHORSCOPE_RUNS"] = str(store)

        from streamlit.testing.v1 import AppTest

        from app import picker, results

        def forget() -> None:
            results._kept.clear()
            picker._problems.clear()

        new = timed(lambda: results.rows(store))
        colds = [(forget(), timed(lambda: results.rows(store)))[1] for _ in range(9)]
        warm = statistics.median(timed(lambda: results.rows(store)) for _ in range(9))
        with open(next(store.glob("digits*")) / "events.jsonl", "a") as file:
            file.write('{"kind": "epoch", "epoch": 101}\n')
        changed = timed(lambda: results.rows(store))
        page = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=120).run()
        page.switch_page("app/pages/runs.py")
        shutil.rmtree(store / ".cache")
        forget()
        first = timed(page.run)
        pages = [(forget(), timed(page.run))[1] for _ in range(9)]
        again = statistics.median(timed(page.run) for _ in range(9))
        assert not page.exception and len(page.dataframe[0].value) == arguments.runs
    print(f"{machine.described()}\n\n{arguments.runs} runs of {arguments.epochs} epochs, seconds\n")
    said = [f"{statistics.median(some):.3f} ({min(some):.3f} to {max(some):.3f})" for some in (colds, pages)]
    print("| | new | cold, median of 9 | warm | one run changed |\n|-|-|-|-|-|")
    print(f"| reading the rows | {new:.3f} | {said[0]} | {warm:.3f} | {changed:.3f} |")
    print(f"| the page's whole script | {first:.3f} | {said[1]} | {again:.3f} | |")
