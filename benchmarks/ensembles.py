"""Ensembles of the grid's runs beside what they are made of, by the outputs that these keep.

PYTHONPATH=. python benchmarks/ensembles.py [--runs benchmarks/grid] [--dataset CIFAR10]

Of each trial: the mean of softmax over the seeds of a method, the mean distances to the anchors over the seeds of CAC,
and CAC with cross-entropy of one seed. The gain is that over the mean of its parts, each by its method's own score as
its report has it, paired by trial; the interval is Student's over the trials, 95 %. An ensemble's class means are those
of the training images that all its networks have learnt from. Scores that read features are left out.
"""

import argparse
import itertools
import statistics
from functools import reduce
from pathlib import Path

import machine
import numpy as np
import torch
from systems import difference, spread

from cac_core import runs
from cac_core.networks import ensemble
from cac_core.results.evaluate import build
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Outputs, only
from cac_core.scoring.scorers import default_for, judge_of

OF_LOGITS = ("gamma", "distance", "msp", "max_logit", "energy")


def affinities(run: Run, out: Outputs) -> torch.Tensor:
    """[N, C], as the network of this run has them: no weights are needed for it."""
    prepare = run.record["prepare"]
    network = build(run.recipe, len(run.trial.known), prepare["channels"], prepare["size"])
    with torch.no_grad():
        return network.affinity(torch.from_numpy(out.logits).float())


def joined(parts: list[Run], mean: str, split: str) -> Outputs:
    """What the ensemble puts out for the images of a split that all its parts have, mirror images left out."""
    outputs = [only(out, ~out.mirrored) for out in (run.outputs(split) for run in parts)]
    index = reduce(np.intersect1d, [out.index for out in outputs])
    outputs = [only(out, np.argsort(out.index)[np.searchsorted(np.sort(out.index), index)]) for out in outputs]
    first = outputs[0]
    assert all(np.array_equal(out.labels, first.labels) for out in outputs)
    if mean == "distances":
        every = torch.from_numpy(np.stack([out.logits for out in outputs])).float()
        logits, anchors = ensemble.mean_distances(every, float(first.anchors[0, 0])), first.anchors
    else:
        every = torch.stack([affinities(run, out) for run, out in zip(parts, outputs, strict=True)])
        logits, anchors = ensemble.mean_softmax(every), None
    return Outputs(
        logits.numpy(), first.features[:, :0], first.labels, first.classes, first.index, first.mirrored, anchors
    )


def judged(parts: list[Run], mean: str, scorer: str) -> tuple[float, float]:
    """Accuracy and AUROC of an ensemble in percent."""
    train, test = (joined(parts, mean, split) for split in ("train", "test"))
    numbers = metrics.report(judge_of(scorer, train)(test), test.labels)
    return 100 * numbers["accuracy"], 100 * numbers["auroc"]


def alone(run: Run) -> float:
    """AUROC in percent, by its method's own score."""
    return 100 * run.report()["scorers"][default_for(run.recipe.method)]["auroc"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path(__file__).parent / "grid")
    parser.add_argument("--dataset", default="digits")
    a = parser.parse_args()
    found = [run for run in runs.every(a.runs) if run.recipe.dataset == a.dataset and run.state == "finished"]
    by = {(run.recipe.trial, run.recipe.method, run.recipe.seed): run for run in found}
    trials, seeds = (sorted({key[n] for key in by}) for n in (0, 2))
    kinds = {
        "CAC, mean of softmax": ("softmax", list(itertools.product(["cac"], seeds))),
        "CAC, mean of distances": ("distances", list(itertools.product(["cac"], seeds))),
        "cross-entropy, mean of softmax": ("softmax", list(itertools.product(["cross_entropy"], seeds))),
        "CAC and cross-entropy, seed 0, mean of softmax": ("softmax", [("cac", 0), ("cross_entropy", 0)]),
    }
    print(machine.described())
    print(f"{a.dataset}, trials {', '.join(trials)}, seeds {', '.join(map(str, seeds))}\n")
    print("| of | networks | score | accuracy | AUROC | its parts, mean | gain in AUROC, points (95 % interval) |")
    print("|-|-|-|-|-|-|-|")
    for name, (mean, keys) in kinds.items():
        whole = [t for t in trials if len(keys) > 1 and all((t, *key) in by for key in keys)]
        if not whole:
            continue
        parts = {t: [by[t, *key] for key in keys] for t in whole}
        theirs = [statistics.mean(map(alone, parts[t])) for t in whole]
        scorers = OF_LOGITS if mean == "distances" else OF_LOGITS[2:]
        for scorer in scorers:
            accuracy, auroc = zip(*(judged(parts[t], mean, scorer) for t in whole), strict=True)
            row = [name, len(keys), scorer, spread(accuracy), spread(auroc), spread(theirs), difference(auroc, theirs)]
            print("| " + " | ".join(map(str, row)) + " |")
