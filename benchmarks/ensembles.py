"""Ensembles of the grid's runs beside what they are made of, by the outputs on the test images that all of them keep.

PYTHONPATH=. python benchmarks/ensembles.py [--runs benchmarks/grid] [--dataset CIFAR10]

Of each trial: the mean of softmax over the seeds of a method, the mean distances to the anchors over the seeds of CAC,
and CAC with cross-entropy of one seed. The gain is that over the mean of its parts, each by the score that its method
is judged by, paired by trial; the interval is Student's over the trials, 95 %. Scores that are fitted on training or
validation images are left out: the seeds have held out different ones.
"""

import argparse
import itertools
import statistics
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
from cac_core.scoring.outputs import Outputs
from cac_core.scoring.scorers import default_for, judge_of

WITHOUT_IMAGES = ("gamma", "distance", "msp", "max_logit", "energy")


def affinities(run: Run, out: Outputs) -> torch.Tensor:
    """[N, C], as the network of this run has them: no weights are needed for it."""
    prepare = run.record["prepare"]
    network = build(run.recipe, len(run.trial.known), prepare["channels"], prepare["size"])
    with torch.no_grad():
        return network.affinity(torch.from_numpy(out.logits).float())


def joined(parts: list[Run], mean: str) -> Outputs:
    outputs = [run.outputs("test") for run in parts]
    first = outputs[0]
    for one in outputs[1:]:
        assert np.array_equal(one.index, first.index) and np.array_equal(one.labels, first.labels)
    if mean == "distances":
        every = torch.from_numpy(np.stack([out.logits for out in outputs])).float()
        logits, anchors = ensemble.mean_distances(every, float(first.anchors[0, 0])), first.anchors
    else:
        every = torch.stack([affinities(run, out) for run, out in zip(parts, outputs, strict=True)])
        logits, anchors = ensemble.mean_softmax(every), None
    return Outputs(
        logits.numpy(), first.features[:, :0], first.labels, first.classes, first.index, first.mirrored, anchors
    )


def judged(out: Outputs, scorer: str) -> tuple[float, float]:
    """Accuracy and AUROC in percent."""
    numbers = metrics.report(judge_of(scorer, out)(out), out.labels)
    return 100 * numbers["accuracy"], 100 * numbers["auroc"]


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
        alone = [
            statistics.mean(judged(run.outputs("test"), default_for(run.recipe.method))[1] for run in parts[t])
            for t in whole
        ]
        scorers = WITHOUT_IMAGES if mean == "distances" else WITHOUT_IMAGES[2:]
        for scorer in scorers:
            accuracy, auroc = zip(*(judged(joined(parts[t], mean), scorer) for t in whole), strict=True)
            row = [name, len(keys), scorer, spread(accuracy), spread(auroc), spread(alone), difference(auroc, alone)]
            print("| " + " | ".join(map(str, row)) + " |")
