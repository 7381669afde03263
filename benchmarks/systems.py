"""Every system on the digits, beside its control: five trials, three seeds each, all scores.

python benchmarks/systems.py [--runs DIR] [--seeds 3] [--trials 5] [--epochs 30] [--lr RATE] [--only NAME ...]
                             [--equal-time]

A control is the same training without what makes the system: cross-entropy of as many epochs (for those that take two
views of each image also of twice as many, which takes as long), on pooled features where the system pools them, VOS
with weight 0, K + 1 classes without any made image and with noise. The difference of a system from its control is
paired by trial, each the mean of its seeds, and of one trial by seed; its interval is Student's over these, 95 %. Runs
that are in --runs are read, not trained again. --equal-time: each system has as many epochs as fit into the time of
cross-entropy's --epochs, and half of one of these, with all that it makes up in between, by probes of its steps, kept
in --runs.
"""

import argparse
import statistics
import tempfile
from bisect import bisect_right
from pathlib import Path

import machine
from scipy.special import stdtrit

from cac_core.data.datasets import root_of, row_of
from cac_core.recipe import compose
from cac_core.runs import Run, seconds_trained
from cac_core.scoring.scorers import default_for, reported_for
from cac_core.training.loop import train
from cac_core.training.probe import measure

# name: method, options, times the epochs; and the controls: name and the score that both are compared by
SYSTEMS = {
    "cross-entropy": ("cross_entropy", {}, 1, []),
    "cross-entropy, twice as long": ("cross_entropy", {}, 2, []),
    "cross-entropy, smoothed labels (0.1)": (
        "cross_entropy", {"smoothing": 0.1}, 1, [("cross-entropy", "msp"), ("cross-entropy", "max_logit")]
    ),
    "CAC": ("cac", {}, 1, [("cross-entropy", None)]),
    "SupCon": ("supcon", {}, 1, [("VOS, weight 0", "knn"), ("VOS, weight 0, twice as long", "knn")]),
    "CIDER": ("cider", {}, 1, [("VOS, weight 0", "knn"), ("VOS, weight 0, twice as long", "knn")]),
    "VOS": ("vos", {}, 1, [("VOS, weight 0", "energy")]),
    "VOS, weight 0": ("vos", {"weight": 0.0}, 1, []),  # cross-entropy on pooled features
    "VOS, weight 0, twice as long": ("vos", {"weight": 0.0}, 2, []),
    "PROSER": ("proser", {}, 1, [("VOS, weight 0", "max_logit"), ("VOS, weight 0", "knn")]),
    "CROSR": ("crosr", {}, 1, [("CROSR, weight 0", "latent_openmax"), ("VOS, weight 0", "openmax")]),
    "CROSR, weight 0": ("crosr", {"weight": 0.0}, 1, []),
    "OSRCI": ("osrci", {}, 1, [("K + 1 classes, no images", None), ("K + 1 classes, noise", None)]),
    "G-OpenMax": ("g_openmax", {}, 1, [("K + 1 classes, no images", None), ("K + 1 classes, noise", None)]),
    "K + 1 classes, noise": ("osrci", {"images": "noise"}, 1, [("K + 1 classes, no images", None)]),
    "K + 1 classes, no images": ("osrci", {"images": "none"}, 1, [("cross-entropy", "max_logit")]),
}  # fmt: skip
COLOURED = ("supcon", "cider")  # photographs go in with their colours jittered, as in the papers


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def by_trial(runs: dict[tuple[int, int], Run], scorer: str, what: str = "auroc") -> list[float]:
    """In percent, the mean over the seeds of each trial; of one trial what each seed has."""
    found: dict[int, list[float]] = {}
    for (trial, _), run in runs.items():
        found.setdefault(trial, []).append(100 * run.report()["scorers"][scorer][what])
    every = list(found.values())
    return every[0] if len(every) == 1 else [statistics.mean(some) for some in every]


def difference(mine: list[float], theirs: list[float]) -> str:
    gaps = [a - b for a, b in zip(mine, theirs, strict=True)]
    if len(gaps) < 2:
        return f"{gaps[0]:+.1f}"
    half = stdtrit(len(gaps) - 1, 0.975) * statistics.stdev(gaps) / len(gaps) ** 0.5
    mean = statistics.mean(gaps)
    sure = ", for sure" if mean and abs(mean) >= half else ""
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f}{sure})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, help="in place of the preset's")
    parser.add_argument("--equal-time", action="store_true")
    parser.add_argument("--only", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    a = parser.parse_args()
    store, root, every = a.runs or Path(tempfile.mkdtemp()), root_of(a.data), {}
    print(machine.described())
    equal = " of cross-entropy, equal time" if a.equal_time else ""
    rate = f", lr {a.lr:g}" if a.lr else ""
    print(f"{a.dataset}, {a.preset}, {a.epochs} epochs{equal}, {a.trials} trials (osrci) x {a.seeds} seeds{rate}\n")

    def recipe_of(name: str, trial: int = 0, seed: int = 0, epochs: int = a.epochs):
        method, options, times, _ = SYSTEMS[name]
        given = {"dataset": a.dataset, "trial": str(trial), "method": method, "seed": seed, "epochs": times * epochs}
        if a.lr:
            given["lr"] = a.lr
        if method in COLOURED and row_of(a.dataset, root).channels == 3:
            given |= {"augment": "colour", "cutout": 0}
        return compose(a.preset, dict(options), **given)

    if a.equal_time:
        a.only = [name for name in a.only if SYSTEMS[name][2] == 1]

    def seconds_of(name: str, epochs: int) -> float:
        return epochs * measure(recipe_of(name, epochs=epochs), store, root, device="cpu").epoch()

    def epochs_of(name: str) -> int:
        if not a.equal_time:
            return a.epochs
        most = seconds_of("cross-entropy", a.epochs) * (1 + 0.5 / a.epochs)
        return max(1, bisect_right(range(1, 2 * a.epochs), most, key=lambda epochs: seconds_of(name, epochs)))

    epochs = {name: epochs_of(name) for name in a.only}
    for name in a.only:
        every[name] = {
            (trial, seed): train(recipe_of(name, trial, seed, epochs[name]), store, root, device="cpu")
            for trial in range(a.trials)
            for seed in range(a.seeds)
        }
    scores = list(dict.fromkeys(score for name in a.only for score in reported_for(SYSTEMS[name][0])))
    print("| system | epochs | its score | accuracy | AUROC by it | " + " | ".join(scores) + " | seconds a run |")
    print("|-|-|-|-|-|" + "-|" * len(scores) + "-|")
    for name, runs in every.items():
        own, there = default_for(SYSTEMS[name][0]), reported_for(SYSTEMS[name][0])
        cells = [
            spread(by_trial(runs, score)) if score in there
            and all("auroc" in run.report()["scorers"].get(score, {}) for run in runs.values()) else ""
            for score in scores
        ]  # fmt: skip
        seconds = statistics.median(seconds_trained(run.epochs()) or 0 for run in runs.values())
        numbers = [spread(by_trial(runs, own, what)) for what in ("accuracy", "auroc")]
        row = [name, SYSTEMS[name][2] * epochs[name], own, *numbers, *cells, f"{seconds:.0f}"]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print("\n| system, score | control, score | difference in AUROC, points (95 % interval) |\n|-|-|-|")
    for name, runs in every.items():
        method, *_, controls = SYSTEMS[name]
        for control, score in controls:
            if control in every:
                theirs = score or default_for(SYSTEMS[control][0])
                mine = score if method == "cross_entropy" else default_for(method)
                gap = difference(by_trial(runs, mine), by_trial(every[control], theirs))
                print(f"| {name}, {mine} | {control}, {theirs} | {gap} |")
