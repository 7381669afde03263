"""Five trials of the digits, three seeds each, both methods: accuracy and AUROC of every scorer, mean and spread.

python benchmarks/digits.py [--runs DIR] [--seeds 3] [--NAME VALUE ... of the recipe]

Every run is the command line's own recipe, trained and evaluated from scratch unless it is already in --runs.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import machine

from cac_core.data.datasets import root_of
from cac_core.recipe import compose
from cac_core.results import judge
from cac_core.scoring.scorers import scorers_for
from cac_core.training.loop import train


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--decay", type=float)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--methods", nargs="+", default=["cac", "cross_entropy"])
    arguments = vars(parser.parse_args())
    store = arguments.pop("runs") or Path(tempfile.mkdtemp())
    seeds, methods = arguments.pop("seeds"), arguments.pop("methods")
    print(machine.described())
    print(f"digits, 5 trials (osrci) x {seeds} seeds, {store}: mean ± standard deviation over the {5 * seeds} runs\n")
    print("| method | scorer | accuracy | AUROC | AUROC of trials 0 to 4 (mean of seeds) | seconds a run |")
    print("|-|-|-|-|-|-|")
    for method in methods:
        runs, seconds = {}, []
        for trial in range(5):
            for seed in range(seeds):
                began = time.perf_counter()
                recipe = compose(dataset="digits", trial=str(trial), method=method, seed=seed, **arguments)
                runs[trial, seed] = train(recipe, store, root_of())
                seconds.append(time.perf_counter() - began)
        for scorer in scorers_for(method):
            numbers = {key: judge.report(run, scorer) for key, run in runs.items()}
            by_trial = [statistics.mean(numbers[t, s]["auroc"] for s in range(seeds)) for t in range(5)]
            print(
                f"| {method} | {scorer} | {spread([n['accuracy'] for n in numbers.values()])} "
                f"| {spread([n['auroc'] for n in numbers.values()])} | {', '.join(f'{a:.3f}' for a in by_trial)} "
                f"| {statistics.median(seconds):.1f} |",
                flush=True,
            )
