"""Scores that read the logits: msp, temperature_scaling, max_logit, energy, entropy, gen, margin, kl_matching, openmax.

N images, C known classes.
"""

from collections.abc import Callable

import numpy as np

from cac_core.recipe import known_name
from cac_core.scoring import weibull
from cac_core.scoring.arrays import at_least, blocks, log_softmax, log_sum_exp, positive, softmax, unit_rows
from cac_core.scoring.distances import distances
from cac_core.scoring.outputs import Judge, Outputs, Verdict, unmirrored
from cac_core.sentences import say


def msp(train: Outputs, *, temperature: float = 1.0) -> Judge:
    """1 - the largest softmax probability. Hendrycks and Gimpel, ICLR 2017; T as in Liang et al., ICLR 2018."""
    temperature = positive(temperature, "temperature")

    def judge(out: Outputs) -> Verdict:
        z = out.logits.astype(np.float64) / temperature
        # 1 - p, added up from the other classes: near p = 1 the difference would have no digits left
        p = softmax(z)
        return Verdict(np.sort(p, 1)[:, :-1].sum(1), z.argmax(1), p)

    return judge


def max_logit(train: Outputs) -> Judge:
    """- the largest logit. Vaze et al., ICLR 2022."""
    return lambda out: Verdict(-out.logits.max(1).astype(np.float64), out.logits.argmax(1), out.logits)


def energy(train: Outputs, *, temperature: float = 1.0) -> Judge:
    """- T logsumexp(z / T). Liu et al., NeurIPS 2020."""
    temperature = positive(temperature, "temperature")

    def judge(out: Outputs) -> Verdict:
        z = out.logits.astype(np.float64) / temperature
        return Verdict(-temperature * log_sum_exp(z), z.argmax(1), out.logits)

    return judge


COLDEST, HOTTEST = 0.05, 100.0  # between these a temperature is looked for


def temperature_scaling(train: Outputs, validation: Outputs | None) -> Judge:
    """msp at the temperature at which the validation knowns are likeliest. Guo et al., ICML 2017, section 4.2.

    T minimises the mean of logsumexp(z / T) - z_y / T over validation images of known classes, which is convex in
    1 / T; the score is 1 - the largest softmax(z / T), as msp's. It is looked for between COLDEST and HOTTEST: where
    every validation image is classified right the likelihood may rise without end. The authors' code, OpenOOD and
    pytorch-ood take 50 steps of L-BFGS at a rate of 0.01 from 1 or 1.5, which need not arrive; this is the minimum.
    """
    if validation is None or not (validation.labels >= 0).any():
        raise ValueError(say("temperature_scaling is fitted on validation images of known classes; there are none."))
    known = validation.labels >= 0
    return msp(train, temperature=likeliest_temperature(validation.logits[known], validation.labels[known]))


def likeliest_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """By Newton's method in 1 / T on the slope of the loss, kept within bounds that each step narrows."""
    low, high, at = 1 / HOTTEST, 1 / COLDEST, 1.0
    for _ in range(100):
        slope = bend = 0.0
        for rows in blocks(len(logits), 8 * logits.shape[1]):
            z = logits[rows].astype(np.float64)
            p = softmax(z * at)
            mean = (p * z).sum(1)
            slope += (mean - z[np.arange(len(z)), labels[rows]]).sum()
            bend += (p * (z - mean[:, None]) ** 2).sum()
        low, high = (at, high) if slope < 0 else (low, at)
        stepped = at - slope / bend if bend > 0 else low - 1
        new = stepped if low < stepped < high else np.sqrt(low * high)
        if abs(new - at) <= 1e-12 * at:
            break
        at = new
    return float(1 / at)


def entropy(train: Outputs) -> Judge:
    """The entropy of the softmax, - sum p log p. Named by Chan, Rottmann and Gottschalk, ICCV 2021; a classic before.

    pytorch-ood cuts p at 1e-7 below, which changes sure images alone: they tie there and differ here.
    """

    def judge(out: Outputs) -> Verdict:
        log_p = log_softmax(out.logits.astype(np.float64))
        p = np.exp(log_p)
        return Verdict(-(p * log_p).sum(1), out.logits.argmax(1), p)

    return judge


def gen(train: Outputs, *, power: float = 0.1, top: int = 100) -> Judge:
    """Generalised entropy: the sum of p^g (1 - p)^g over the `top` largest softmax p, g the power.

    Liu, Lochman and Zach, CVPR 2023; g = 0.1 and the 100 largest are theirs, for 1000 classes; of
    fewer than 100 classes all are taken. As the authors' code and OpenOOD; pytorch-ood takes the mean, which ranks the
    same, and cuts p at 1e-7 and 1 - 1e-7, which ties sure images. 1 - p of the largest is added up from the others.
    """
    power, top = positive(power, "power"), at_least(top, 1, "top")

    def judge(out: Outputs) -> Verdict:
        shares = softmax(out.logits.astype(np.float64))
        p = np.sort(shares, 1)
        rest = 1 - p
        rest[:, -1] = p[:, :-1].sum(1)
        return Verdict(((p * rest)[:, -top:] ** power).sum(1), out.logits.argmax(1), shares)

    return judge


def margin(train: Outputs) -> Judge:
    """- (the largest logit less the second largest): how close the decision between two classes is.

    The margin of active learning (Scheffer, Decomain and Wrobel, IDA 2001), on logits: the logarithm of the ratio of
    the two shares.
    """

    def judge(out: Outputs) -> Verdict:
        z = np.sort(out.logits, 1)[:, -2:].astype(np.float64)
        return Verdict(z[:, 0] - z[:, -1], out.logits.argmax(1), out.logits)

    return judge


def kl_matching(train: Outputs) -> Judge:
    """The least divergence of the softmax p from a class's typical one: min over k of KL(p || d_k).

    Hendrycks et al., ICML 2022: d_k is the mean softmax of the images that are predicted as k, whatever they
    are; a class that is never predicted has none. Theirs are of a validation set; these are of the training images,
    not the mirrored copies, since theta is cut from the validation images, and each of them would stand in the mean
    that it is held against. Of the same images pytorch-ood gives the same.
    """
    known = unmirrored(train, train.logits)
    sums, counts = np.zeros((known.shape[1],) * 2), np.bincount(known.argmax(1), minlength=known.shape[1])
    for rows in blocks(len(known), 8 * known.shape[1]):
        chosen = known[rows].argmax(1)[:, None] == np.arange(known.shape[1])
        sums += chosen.T.astype(np.float64) @ softmax(known[rows].astype(np.float64))
    typical = sums[counts > 0] / counts[counts > 0, None]
    log_typical = np.log(np.maximum(typical, np.finfo(float).tiny))

    def judge(out: Outputs) -> Verdict:
        log_p = log_softmax(out.logits.astype(np.float64))
        p = np.exp(log_p)
        return Verdict((p * log_p).sum(1) - (p @ log_typical.T).max(1), out.logits.argmax(1), p)

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
    checked(tail, alpha, metric)
    right = rightly(train)
    for c, mine in enumerate(right):
        if len(mine) < tail:
            raise ValueError(say(
                "tail={tail} needs {tail} training images classified right in every class; class {number} has "
                "{count}. Take a smaller tail, or train for longer.",
                tail=tail, number=c, count=len(mine),
            ))  # fmt: skip
    return revised_by(train, right, lambda out: out.logits.astype(np.float64), tail, alpha, metric)


def checked(tail: int, alpha: int, metric: str) -> None:
    """Raises ValueError where OpenMax cannot have one of its options."""
    at_least(tail, 2, "tail")
    at_least(alpha, 1, "alpha")
    known_name(metric, METRICS, say("metric"))


def rightly(train: Outputs) -> list[np.ndarray]:
    """Of each class the places of the training images that are classified right, without mirrored copies."""
    right = (train.logits.argmax(1) == train.labels) & ~train.mirrored
    return [np.flatnonzero(right & (train.labels == c)) for c in range(train.logits.shape[1])]


def revised_by(
    train: Outputs, members: list[np.ndarray], vectors: Callable[[Outputs], np.ndarray], tail: int, alpha: int,
    metric: str,
) -> Judge:  # fmt: skip
    """OpenMax on the logits by tails of the distances between `vectors` [N, V] and their means over each class's
    members; a class that has fewer than `tail` gives all it has."""
    alpha = min(alpha, train.logits.shape[1])
    weights = (alpha - np.arange(alpha)) / alpha
    every = vectors(train)
    centres = np.array([every[mine].mean(0) for mine in members])
    tails = [
        np.sort(logit_distances(every[mine], centre[None], metric)[:, 0])[-tail:]
        for mine, centre in zip(members, centres, strict=True)
    ]
    fitted = weibull.fit_each(tails)

    def judge(out: Outputs) -> Verdict:
        v = out.logits.astype(np.float64)
        share = np.zeros_like(v)
        np.put_along_axis(share, np.argsort(-v, 1, kind="stable")[:, :alpha], weights[None], 1)
        taken = v * share * fitted.cdf(logit_distances(vectors(out), centres, metric))
        revised = v - taken
        p = softmax(np.column_stack([taken.sum(1), revised]))
        return Verdict(p[:, 0], revised.argmax(1), np.roll(p, -1, 1))

    return judge


def logit_distances(logits: np.ndarray, centres: np.ndarray, metric: str) -> np.ndarray:
    """Distances [N, C]: euclidean, or eucos = euclidean / 200 + 1 - cosine, a vector of zeros at cosine 0 to all."""
    d = distances(logits, centres)
    return d if metric == "euclidean" else d / 200 + 1 - unit_rows(logits) @ unit_rows(centres).T


def given(train: Outputs) -> Judge:
    """The score that came with outputs from elsewhere, and the class that they take each image for.

    Raises ValueError where the outputs came without one.
    """

    def judge(out: Outputs) -> Verdict:
        if out.given is None:
            raise ValueError(say("These outputs came without scores of their own."))
        return Verdict(out.given.astype(np.float64), out.logits.argmax(1))

    return judge
