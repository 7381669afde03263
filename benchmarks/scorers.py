"""Every score: ours against pytorch-ood's where it has that score, on the same outputs, in turn, in one run.

pip install --target OOD --no-deps pytorch-ood
PYTHONPATH=.:OOD python benchmarks/scorers.py [--train 24000] [--test 10000] [--rounds 5] [--only vim knn]
python benchmarks/scorers.py --wide
python benchmarks/scorers.py --of checkpoints/*

Six classes, 128 features after a ReLU and a linear head on them, made up: the time does not depend on what is in them.
A quarter of the test images are unknown, each between two classes. Each round fits on the training outputs and judges
all test outputs, ours and theirs in turn; the first round is not counted. Both sides get the same options: tail 20 and
alpha 6 of OpenMax, k 50 of knn and 10 of nnguide, 64 principal directions, a full covariance for each class in gmm,
temperatures fitted on 3000 further images of which one in twenty has a wrong label, and the rest as in our defaults.
The last columns say how far the two agree: rank correlation of the scores, and both AUROCs. Theirs fits OpenMax on all
training images, ours on those classified right; here all are. Ours also names the nearest class of each image.

--wide: 200 000 training images of width 512 and 1000 to judge, ours alone: seconds, and the most memory beside the
outputs' own 0.4 GB.

--of: the AUROC of every score on the test images of these runs, by what they hold: "-" where a score needs more.
"""

import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import machine
import numpy as np
import torch

from cac_core.runs import SPLITS, Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Outputs, Verdict, only
from cac_core.scoring.scorers import SCORERS, judge_of, scorers_for

CLASSES = 6
OPTIONS = {"knn": {"k": 50}, "residual": {"dim": 64}, "vim": {"dim": 64}, "gmm": {"covariance": "full"}}


def outputs(n: int, unknown: int, seed: int, width: int = 128) -> Outputs:
    """Images around their class's place, unknowns between two of them; a head whose largest logits are about 10."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(n - unknown) % CLASSES, np.full(unknown, -1)]
    places = np.abs(np.random.default_rng(0).normal(size=(CLASSES, width))).astype(np.float32)
    middle = places.mean(0)
    between = 0.6 * places[rng.integers(CLASSES, size=n)] + 0.4 * places[rng.integers(CLASSES, size=n)]
    features = np.where(labels[:, None] >= 0, places[labels], between)
    features += 0.7 * rng.standard_normal((n, width), np.float32)
    np.maximum(features, 0, out=features)
    weights = (places - middle) * 10 / ((places - middle) ** 2).sum(1, keepdims=True)
    head = np.column_stack([weights, -weights @ middle]).astype(np.float32)
    logits = features @ head[:, :-1].T + head[:, -1]
    none = np.zeros(n, bool)
    anchors = 10 * np.eye(CLASSES, dtype=np.float32)
    return Outputs(logits, features, labels, labels, np.arange(n), none, anchors, head=head)


def theirs() -> dict[str, Callable[[Outputs, Outputs, Outputs], torch.Tensor]]:
    """pytorch-ood's own, by our names: of training, validation and test outputs."""
    try:
        from pytorch_ood import detector as ood
    except ImportError as error:
        sys.exit(
            f"This compares with pytorch-ood, which is not part of Anchorscope ({error}). Install it beside (what it "
            "needs is here already), and say where:\n    pip install --target OOD --no-deps pytorch-ood\n"
            "    PYTHONPATH=.:OOD python benchmarks/scorers.py"
        )

    def by_logits(make):
        return lambda train, held, test: make().predict_logits(tensor(test.logits))

    def fitted_logits(make, on_held=False):
        def judge(train, held, test):
            mine = held if on_held else train
            return make().fit_logits(tensor(mine.logits), tensor(mine.labels)).predict_logits(tensor(test.logits))

        return judge

    def by_features(make):
        def judge(train, held, test):
            return make(train).fit_features(tensor(train.features), tensor(train.labels)).predict_features(
                tensor(test.features)
            )  # fmt: skip

        return judge

    def by_maps(make, fit=False):
        def judge(train, held, test):
            linear = linear_of(train)
            made = make(lambda maps: linear(maps.flatten(1)))
            if fit:
                made.fit_feature_maps(tensor(train.features)[:, :, None, None], tensor(train.labels))
            with torch.no_grad():
                return made.predict_feature_maps(tensor(test.features)[:, :, None, None])

        return judge

    def gradnorm(train, held, test):
        return ood.GradNorm(linear_of(train), lambda name: name == "weight").predict(tensor(test.features))

    def weights(train):
        return {"w": tensor(train.head[:, :-1]), "b": tensor(train.head[:, -1])}

    return {
        "msp": by_logits(lambda: ood.MaxSoftmax(None)),
        "max_logit": by_logits(lambda: ood.MaxLogit(None)),
        "energy": by_logits(lambda: ood.EnergyBased(None)),
        "entropy": by_logits(lambda: ood.Entropy(None)),
        "gen": by_logits(lambda: ood.GEN(None)),
        "kl_matching": fitted_logits(lambda: ood.KLMatching(None)),
        "temperature_scaling": fitted_logits(lambda: ood.TemperatureScaling(None), on_held=True),
        "openmax": fitted_logits(lambda: ood.OpenMax(None, tailsize=20, alpha=CLASSES)),
        "knn": by_features(lambda train: ood.KNN(None, k=50)),
        "mahalanobis": by_features(lambda train: ood.Mahalanobis(None)),
        "rmds": by_features(lambda train: ood.RMD(None)),
        "gmm": by_features(lambda train: ood.GMM(None)),
        "nnguide": by_features(lambda train: ood.NNGuide(None, linear_of(train), k=10)),
        "she": by_features(lambda train: ood.SHE(None, linear_of(train))),
        "vim": by_features(lambda train: ood.ViM(None, d=64, **weights(train))),
        "fdbd": by_features(lambda train: ood.fDBD(None, linear_of(train))),
        "dice": by_features(lambda train: ood.DICE(None, p=0.9, **weights(train))),
        "react": by_maps(lambda head: ood.ReAct(None, head, percentile=0.9), fit=True),
        "ash_p": by_maps(lambda head: ood.ASH(None, head, variant="ash-p", percentile=0.6)),
        "ash_b": by_maps(lambda head: ood.ASH(None, head, variant="ash-b", percentile=0.65)),
        "ash_s": by_maps(lambda head: ood.ASH(None, head, variant="ash-s", percentile=0.9)),
        "scale": by_maps(lambda head: ood.SCALE(None, head, percentile=0.85)),
        "gradnorm": gradnorm,
    }


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def linear_of(train: Outputs) -> torch.nn.Linear:
    linear = torch.nn.Linear(*train.head[:, :-1].shape[::-1])
    linear.weight.data, linear.bias.data = tensor(train.head[:, :-1]), tensor(train.head[:, -1])
    return linear.requires_grad_(False)


def timed(f: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    score = f()
    return time.perf_counter() - began, score


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


def compare(names: list[str], train: Outputs, held: Outputs, test: Outputs, rounds: int) -> None:
    others = theirs()
    print("| scorer | ours, fit + judge | pytorch-ood | ratio of medians | rank correlation | AUROC ours, theirs |")
    print("|-|-|-|-|-|-|")
    for name in names:
        mine, other = [], []
        for turn in range(rounds + 1):
            m, ours = timed(lambda name=name: judge_of(name, train, held, **OPTIONS.get(name, {}))(test).score)
            if name in others:
                o, their = timed(lambda name=name: others[name](train, held, test).detach().numpy())
            if turn:
                mine.append(m)
                other += [o] if name in others else []
        nearest, scores = test.logits.argmax(1), [ours, *([their] if other else [])]
        areas = [metrics.report(Verdict(s.astype(np.float64), nearest), test.labels)["auroc"] for s in scores]
        said = ["", "", "", f"{areas[0]:.5f}"]
        if other:
            ranks = np.corrcoef([s.argsort(kind="stable").argsort() for s in scores])[0, 1]
            ratio = statistics.median(other) / statistics.median(mine)
            said = [spread(other), f"{ratio:.1f}", f"{ranks:.6f}", f"{areas[0]:.5f}, {areas[1]:.5f}"]
        print(f"| {name} | {spread(mine)} | {' | '.join(said)} |", flush=True)


def wide(names: list[str]) -> None:
    train = outputs(200_000, 0, 1, width=512)
    test = only(train, np.arange(1000))
    print("| scorer | seconds | peak beside the outputs, GB |\n|-|-|-|")
    for name in names:
        tracemalloc.start()
        seconds, _ = timed(lambda name=name: judge_of(name, train, test)(test).score)
        peak = tracemalloc.get_traced_memory()[1] / 1e9
        tracemalloc.stop()
        print(f"| {name} | {seconds:.1f} | {peak:.2f} |", flush=True)


def of_runs(paths: list[Path], names: list[str]) -> None:
    runs = [Run(path) for path in paths if (path / "recipe.json").is_file()]
    print(f"| scorer | {' | '.join(run.id for run in runs)} |\n|-|{'-|' * len(runs)}")
    parts = [[run.outputs(split) for split in SPLITS] for run in runs]
    for name in names:
        cells = []
        for train, held, test in parts:
            try:
                verdict = judge_of(name, train, held)(test)
                low, high = metrics.delong(verdict, test.labels)
                auroc = metrics.report(verdict, test.labels)["auroc"]
                cells.append(f"{100 * auroc:.1f} ({100 * low:.1f} to {100 * high:.1f})")
            except ValueError:
                cells.append("-")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=24000)
    parser.add_argument("--test", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SCORERS, default=scorers_for("cac"))
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--of", nargs="+", type=Path, metavar="RUN")
    a = parser.parse_args()
    print(machine.described())
    if a.of:
        of_runs(a.of, a.only)
        sys.exit()
    if a.wide:
        wide(a.only)
        sys.exit()
    train, test, held = outputs(a.train, 0, 1), outputs(a.test, a.test // 4, 2), outputs(3000, 0, 3)
    assert (train.logits.argmax(1) == train.labels).all()
    wrong = np.arange(3000) % 20 == 0
    held = replace(held, labels=np.where(wrong, (held.labels + 1) % CLASSES, held.labels))
    versions = " ".join(f"{p} {machine.metadata.version(p)}" for p in ("pytorch-ood", "scikit-learn", "scipy"))
    print(f"{versions}; {a.train} training, {a.test} test images, {CLASSES} classes, width 128; {a.rounds} rounds\n")
    compare(a.only, train, held, test, a.rounds)
