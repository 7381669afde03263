"""OpenMax, k nearest neighbours and Mahalanobis distance: ours against pytorch-ood's, on the same outputs, in turn.

pip install --target OOD --no-deps pytorch-ood
PYTHONPATH=.:OOD python benchmarks/scorers.py [--train 24000] [--test 10000] [--rounds 5]

Six classes, features of width 128, made up: the time does not depend on what is in them. A quarter of the test images
are unknown. Each round fits on the training outputs and judges all test outputs, ours and theirs in turn; the first
round is not counted. Both sides get the same options (tail 20, alpha 6, Euclidean; k = 50). The last columns say how
far the two agree: rank correlation of the scores, and both AUROCs. Theirs fits OpenMax on all training images, ours on
those classified right; here all are.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import machine
import numpy as np
import torch

from cac_core.scoring import metrics
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import judge_of

try:
    from pytorch_ood.detector import KNN, Mahalanobis, OpenMax
except ImportError as error:
    sys.exit(
        f"This compares with pytorch-ood, which is not part of Anchorscope ({error}). Install it beside (what it needs "
        "is here already), and say where:\n    pip install --target OOD --no-deps pytorch-ood\n"
        "    PYTHONPATH=.:OOD python benchmarks/scorers.py"
    )

CLASSES, WIDTH = 6, 128


def outputs(n: int, unknown: int, seed: int) -> Outputs:
    """Images around their class's place, in logits and features; unknowns between the classes."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(n - unknown) % CLASSES, np.full(unknown, -1)]
    places = np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    known = labels[:, None] >= 0
    logits = np.where(known, 10 * np.eye(CLASSES)[labels], 3) + rng.normal(0, 1, (n, CLASSES))
    features = np.where(known, places[labels], 0.6 * places.mean(0)) + rng.normal(0, 0.7, (n, WIDTH))
    none = np.zeros(n, bool)
    return Outputs(logits.astype(np.float32), features.astype(np.float32), labels, labels, np.arange(n), none)


def theirs(name: str, train: Outputs, test: Outputs) -> np.ndarray:
    z, f, y = torch.from_numpy(train.logits), torch.from_numpy(train.features), torch.from_numpy(train.labels)
    if name == "openmax":
        fitted = OpenMax(None, tailsize=20, alpha=CLASSES).fit_logits(z, y)
        return fitted.predict_logits(torch.from_numpy(test.logits)).numpy()
    fitted = (KNN(None, k=50) if name == "knn" else Mahalanobis(None)).fit_features(f, y)
    return fitted.predict_features(torch.from_numpy(test.features)).numpy()


def timed(f: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    score = f()
    return time.perf_counter() - began, score


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=24000)
    parser.add_argument("--test", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    train, test = outputs(a.train, 0, 1), outputs(a.test, a.test // 4, 2)
    assert (train.logits.argmax(1) == train.labels).all()
    versions = " ".join(f"{p} {machine.metadata.version(p)}" for p in ("pytorch-ood", "scikit-learn", "scipy"))
    print(machine.described())
    print(
        f"{versions}; {a.train} training, {a.test} test images, {CLASSES} classes, width {WIDTH}; {a.rounds} rounds\n"
    )
    print("| scorer | ours, fit + judge | pytorch-ood | ratio of medians | rank correlation | AUROC ours, theirs |")
    print("|-|-|-|-|-|-|")
    for name in ("openmax", "knn", "mahalanobis"):
        mine, other = [], []
        for turn in range(a.rounds + 1):
            m, ours = timed(lambda name=name: judge_of(name, train)(test).score)
            o, their = timed(lambda name=name: theirs(name, train, test))
            if turn:
                mine.append(m)
                other.append(o)
        ranks = np.corrcoef([s.argsort(kind="stable").argsort() for s in (ours, their)])[0, 1]
        nearest = test.logits.argmax(1)
        areas = [metrics.report(Verdict(s.astype(np.float64), nearest), test.labels)["auroc"] for s in (ours, their)]
        ratio = statistics.median(other) / statistics.median(mine)
        print(
            f"| {name} | {spread(mine)} | {spread(other)} | {ratio:.1f} | {ranks:.6f} "
            f"| {areas[0]:.5f}, {areas[1]:.5f} |",
            flush=True,
        )
