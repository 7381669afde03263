"""Scores that read the logits: msp, max_logit, energy, openmax. N images, C known classes."""

import numpy as np

from cac_core.recipe import known_name
from cac_core.scoring import weibull
from cac_core.scoring.arrays import at_least, positive, softmax, unit_rows
from cac_core.scoring.distances import distances
from cac_core.scoring.outputs import Judge, Outputs, Verdict
from cac_core.sentences import say


def msp(train: Outputs, *, temperature: float = 1.0) -> Judge:
    """1 - the largest softmax probability. Hendrycks and Gimpel, ICLR 2017; T as in Liang et al., ICLR 2018."""
    temperature = positive(temperature, "temperature")

    def judge(out: Outputs) -> Verdict:
        z = out.logits.astype(np.float64) / temperature
        # 1 - p, added up from the other classes: near p = 1 the difference would have no digits left
        p = np.sort(softmax(z), 1)
        return Verdict(p[:, :-1].sum(1), z.argmax(1))

    return judge


def max_logit(train: Outputs) -> Judge:
    """- the largest logit. Vaze et al., ICLR 2022."""
    return lambda out: Verdict(-out.logits.max(1).astype(np.float64), out.logits.argmax(1))


def energy(train: Outputs, *, temperature: float = 1.0) -> Judge:
    """- T logsumexp(z / T). Liu et al., NeurIPS 2020."""
    temperature = positive(temperature, "temperature")

    def judge(out: Outputs) -> Verdict:
        z = out.logits.astype(np.float64) / temperature
        top = z.max(1)
        return Verdict(-temperature * (top + np.log(np.exp(z - top[:, None]).sum(1))), z.argmax(1))

    return judge


METRICS = ("euclidean", "eucos")


def openmax(train: Outputs, *, tail: int = 20, alpha: int = 10, metric: str = "euclidean") -> Judge:
    """P(unknown) of a softmax over C + 1 classes. Bendale and Boult, CVPR 2016, algorithms 1 and 2.

    For each class, over the training images classified right (not the mirrored copies): the mean logits, and F, fitted
    to the `tail` largest distances to it (weibull.py). For an image with logits v, and the class that has rank i among
    them (i = 1 the largest), w = 1 - (alpha + 1 - i) / alpha * F(distance) for i up to alpha, else 1. Then v' = v w,
    v'_0 = sum of v (1 - w), and the score is softmax(v'_0, v')_0; the label is the largest v'.

    metric: euclidean, or the authors' code's eucos, euclidean / 200 + 1 - cosine. alpha is at most C here: their 10 is
    for 1000 classes. A NEGATIVE logit is taken as it is, as by the authors: there w < 1 raises v' and lowers v'_0, so
    an image all of whose logits are far below 0 does not look unknown. We do not shift logits to be positive, since the
    result would depend on by how much; logits of CAC lie about anchors >= 0. Raises ValueError where a class has fewer
    than `tail` training images classified right.
    """
    at_least(tail, 2, "tail")
    at_least(alpha, 1, "alpha")
    known_name(metric, METRICS, say("metric"))
    alpha = min(alpha, train.logits.shape[1])
    weights = (alpha - np.arange(alpha)) / alpha
    right = (train.logits.argmax(1) == train.labels) & ~train.mirrored
    means, tails = [], []
    for c in range(train.logits.shape[1]):
        mine = train.logits[right & (train.labels == c)].astype(np.float64)
        if len(mine) < tail:
            raise ValueError(say(
                "tail={tail} needs {tail} training images classified right in every class; class {number} has "
                "{count}. Take a smaller tail, or train for longer.",
                tail=tail, number=c, count=len(mine),
            ))  # fmt: skip
        means.append(mine.mean(0))
        tails.append(np.sort(logit_distances(mine, means[c][None], metric)[:, 0])[-tail:])
    centres, fitted = np.array(means), weibull.fit_high(np.array(tails))

    def judge(out: Outputs) -> Verdict:
        v = out.logits.astype(np.float64)
        share = np.zeros_like(v)
        np.put_along_axis(share, np.argsort(-v, 1, kind="stable")[:, :alpha], weights[None], 1)
        taken = v * share * fitted.cdf(logit_distances(v, centres, metric))
        revised = v - taken
        p = softmax(np.column_stack([taken.sum(1), revised]))
        return Verdict(p[:, 0], revised.argmax(1))

    return judge


def logit_distances(logits: np.ndarray, centres: np.ndarray, metric: str) -> np.ndarray:
    """Distances [N, C]: euclidean, or eucos = euclidean / 200 + 1 - cosine, a vector of zeros at cosine 0 to all."""
    d = distances(logits, centres)
    return d if metric == "euclidean" else d / 200 + 1 - unit_rows(logits) @ unit_rows(centres).T
