"""Scorers: how unknown each image looks, judged from what the trained network put out.

A scorer reads the outputs on the training images once and returns a judge, a function from any other outputs to a
Verdict. HIGHER always means MORE UNKNOWN; an image is rejected when score > theta. Numpy only, so that the app can
score without importing torch; where torch is there already, knn borrows its topk.

N images, C known classes, D feature width. Keywords are the scorer's own options: the command line, the app's forms
and the sweeps read them from the signature.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cac_core.recipe import checked_options, known_name
from cac_core.scoring import weibull


@dataclass(frozen=True)
class Outputs:
    """What a network put out for N images.

    logits [N, C] float; features [N, D] float; labels [N] int, the place among the known classes, -1 for unknown;
    classes [N], the class numbers of the data set; index [N], the images' places in the data set's train or test part;
    mirrored [N] bool, true for a mirror image; anchors [C, C], or None where the method has none. theta is not here:
    it belongs to a score.
    """

    logits: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    index: np.ndarray
    mirrored: np.ndarray
    anchors: np.ndarray | None = None

    def __post_init__(self):
        n, c = self.logits.shape
        for name in ("features", "labels", "classes", "index", "mirrored"):
            if len(getattr(self, name)) != n:
                raise ValueError(
                    f"{len(getattr(self, name))} {name} for {n} images: these outputs do not belong together."
                )
        if self.features.ndim != 2:
            raise ValueError(f"features are [images, width], not {self.features.shape}.")
        if self.anchors is not None and self.anchors.shape != (c, c):
            raise ValueError(f"{c} classes need anchors [{c}, {c}], not {self.anchors.shape}.")
        if n and (self.labels.min() < -1 or self.labels.max() >= c):
            raise ValueError(
                f"labels lie between -1 and {c - 1}; these go from {self.labels.min()} to {self.labels.max()}."
            )

    def __len__(self) -> int:
        return len(self.logits)

    @classmethod
    def of_images(cls, logits: np.ndarray, features: np.ndarray) -> "Outputs":
        """Outputs for images from elsewhere, whose class nobody has said."""
        none = np.full(len(logits), -1)
        return cls(logits, features, none, none, np.arange(len(logits)), np.zeros(len(logits), bool))


def known_only(out: Outputs) -> Outputs:
    """The images of known classes."""
    keep = out.labels >= 0
    return replace(out, **{name: getattr(out, name)[keep] for name in _PER_IMAGE})


def joined(one: Outputs, other: Outputs) -> Outputs:
    """The images of both, which the same network put out."""
    return replace(one, **{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in _PER_IMAGE})


_PER_IMAGE = ("logits", "features", "labels", "classes", "index", "mirrored")


@dataclass(frozen=True)
class Verdict:
    """For N images, score [N], up = more unknown, and label [N], the known class that each is nearest to."""

    score: np.ndarray
    label: np.ndarray


Judge = Callable[[Outputs], Verdict]


def softmax(x: np.ndarray) -> np.ndarray:
    """Along the last axis, without overflow."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def distances(logits: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Euclidean distances [N, C] of logits [N, K] to centres [C, K], by differences: exact next to a centre."""
    d = np.empty((len(logits), len(centres)))
    for j, centre in enumerate(centres):
        gap = logits.astype(np.float64, copy=False) - centre
        d[:, j] = np.sqrt(np.einsum("nk,nk->n", gap, gap))
    return d


def rejection(d: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """gamma [N, C] = d (1 - softmin(d / T)) of distances d [N, C]. Miller et al., WACV 2021; theirs is T = 1."""
    return d * (1 - softmax(-d / temperature))


def class_means(train: Outputs) -> np.ndarray:
    """Mean logits [C, C] of each class over the training images whose largest logit is the right one.

    As cac-openset's find_anchor_means, with the mirror images where the outputs hold them. A class of which nothing is
    right yet, so that the paper's mean does not exist, takes the mean over all its images.
    """
    right = train.logits.argmax(1) == train.labels
    means = np.empty((train.logits.shape[1], train.logits.shape[1]))
    for c in range(len(means)):
        mine = train.labels == c
        if not mine.any():
            raise ValueError(f"The training outputs hold no image of class {c}: its centre cannot be computed.")
        means[c] = train.logits[mine & right if (mine & right).any() else mine].mean(0, dtype=np.float64)
    return means


def moved_by(train: Outputs) -> np.ndarray | None:
    """The centres that a perturbation is taken towards: a run with anchors has its class means, another its logits."""
    return None if train.anchors is None else class_means(train)


CENTRES = ("means", "anchors")


def centres_of(train: Outputs, centres: str) -> np.ndarray:
    """The points [C, C] that distances are taken to: the class means, or the fixed anchors alpha e_i."""
    if known_name(centres, CENTRES, "kind of centres") == "means":
        return class_means(train)
    if train.anchors is None:
        raise ValueError("This run was trained without anchors; take centres=means.")
    return train.anchors.astype(np.float64)


def gamma(train: Outputs, *, centres: str = "means", temperature: float = 1.0) -> Judge:
    """CAC's own: min over classes of d (1 - softmin d), d the distance to the class mean.

    Miller et al., WACV 2021. The paper moves the anchors to the class means of the training logits (images classified
    right) once training has ended; so does this. centres="anchors" leaves them where training had them.
    """
    points, temperature = centres_of(train, centres), positive(temperature, "temperature")

    def judge(out: Outputs) -> Verdict:
        g = rejection(distances(out.logits, points), temperature)
        return Verdict(g.min(1), g.argmin(1))

    return judge


def distance(train: Outputs, *, centres: str = "means") -> Judge:
    """The distance to the nearest centre: gamma without its softmin, for comparison."""
    points = centres_of(train, centres)

    def judge(out: Outputs) -> Verdict:
        d = distances(out.logits, points)
        return Verdict(d.min(1), d.argmin(1))

    return judge


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


def knn(train: Outputs, *, k: int = 50) -> Judge:
    """The distance to the k-th nearest training image, features brought to length 1: ||x / |x| - x_(k) / |x_(k)|||.

    Sun et al., ICML 2022; k = 50 is theirs for CIFAR-10, with 5000 images a class. With few images a class take fewer:
    beyond the size of a class the k-th neighbour is of another one, and the score says little. The label is that of
    the largest logit. Mirror images are not in the bank: they would be copies. A feature vector of zeros has no
    direction and stays at 0, at distance 1 from all others. Ranked by products in float32; the images ranked within
    NEAR of the k-th are then ranked again by differences in float64, so that the distance is exact also beside a
    training image. Raises ValueError where k is below 1 or above the number of training images.
    """
    at_least(k, 1, "k")
    features = featured(train).features[~train.mirrored]
    if k > len(features):
        raise ValueError(f"k={k} needs {k} training images or more; this run has {len(features)}. Take a smaller k.")
    bank = np.empty(features.shape, np.float32)
    for rows in blocks(len(features), 8 * features.shape[1]):
        bank[rows] = unit_rows(features[rows])
    nothing = np.flatnonzero(~bank.any(1))
    first, last = max(0, k - 1 - NEAR), min(len(bank), k + NEAR)

    def judge(out: Outputs) -> Verdict:
        score = np.empty(len(out))
        for rows in blocks(len(out), 4 * max(len(bank), 4 * NEAR * bank.shape[1])):
            x = unit_rows(out.features[rows])
            table = x.astype(np.float32) @ bank.T
            table[:, nothing] = 0.5  # x.b - |b|^2 / 2 + 1/2 ranks by distance; it is x.b where |b| = 1
            found = ranked(table, first, last)
            gap = unit_rows(features[found.ravel()]).reshape(*found.shape, -1) - x[:, None]
            d = np.sqrt(np.einsum("nmd,nmd->nm", gap, gap))
            score[rows] = np.partition(d, k - 1 - first, 1)[:, k - 1 - first]
        return Verdict(score, out.logits.argmax(1))

    return judge


def mahalanobis(train: Outputs, *, tolerance: float = 1e-10) -> Judge:
    """The least over classes of (x - m_c)' S^-1 (x - m_c), x the features, S one covariance about the class means m_c.

    Lee et al., NeurIPS 2018, section 2.1, without their noise on the image and their sum over layers. S is over all
    training images (not the mirrored copies), divided by their number. The label is the class of that least distance,
    as theirs, not the largest logit. S^-1 is the pseudo-inverse: directions whose variance is below tolerance times the
    largest, such as features that are constant, are left out. (Features are float32: at 1e-10, a hundred-thousandth of
    the largest spread, they hold little but rounding.) Takes memory for three matrices [D, D], whatever N is.
    """
    tolerance = positive(tolerance, "tolerance")
    middle, means, covariance = spread_of(featured(train))
    variance, axes = np.linalg.eigh(covariance)
    kept = variance > tolerance * variance[-1]
    whiten = axes[:, kept] / np.sqrt(variance[kept])
    centres = means @ whiten
    lengths = (centres**2).sum(1)

    def judge(out: Outputs) -> Verdict:
        d = np.empty((len(out), len(centres)))
        for rows in blocks(len(out), 8 * len(middle)):
            x = (out.features[rows] - middle) @ whiten
            d[rows] = np.einsum("nr,nr->n", x, x)[:, None] - 2 * (x @ centres.T) + lengths
        np.maximum(d, 0, out=d)
        return Verdict(d.min(1), d.argmin(1))

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
    known_name(metric, METRICS, "metric")
    alpha = min(alpha, train.logits.shape[1])
    weights = (alpha - np.arange(alpha)) / alpha
    right = (train.logits.argmax(1) == train.labels) & ~train.mirrored
    means, tails = [], []
    for c in range(train.logits.shape[1]):
        mine = train.logits[right & (train.labels == c)].astype(np.float64)
        if len(mine) < tail:
            raise ValueError(
                f"tail={tail} needs {tail} training images classified right in every class; class {c} has {len(mine)}. "
                "Take a smaller tail, or train for longer."
            )
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


SCORERS = {
    "gamma": gamma, "distance": distance, "msp": msp, "max_logit": max_logit, "energy": energy, "knn": knn,
    "mahalanobis": mahalanobis, "openmax": openmax,
}  # fmt: skip


# --- what these three need -------------------------------------------------------------------------------------------

BLOCK = 2**24  # bytes of a table in work at one time: what stays near the processor
# ranks to either side of the k-th in which knn looks again: rounding in float32 moves neighbours by one or two
NEAR = 8
GROUP = 16  # columns that ranked takes together at first


def blocks(n: int, width: int) -> Iterator[slice]:
    """Pieces of n rows, so that a table of such a piece, a row of it `width` bytes, stays within BLOCK."""
    rows = max(1, BLOCK // max(1, width))
    return (slice(at, at + rows) for at in range(0, n, rows))


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows [N, D] brought to length 1, in float64; a row of zeros stays as it is."""
    x = x.astype(np.float64)
    length = np.sqrt(np.einsum("nd,nd->n", x, x))
    x /= np.where(length > 0, length, 1)[:, None]
    return x


def ranked(table: np.ndarray, first: int, last: int) -> np.ndarray:
    """Where the numbers of rank first to last - 1 stand in each row of table [N, M], 0 the largest: [N, last - first].

    Of a wide table, columns are first taken GROUP at a time: the largest `last` numbers of a row lie in the `last`
    groups with the largest maxima, so that only these have to be looked through.
    """
    (n, width), groups = table.shape, table.shape[1] // GROUP
    if groups < 4 * last:
        return _ranked(table, first, last)
    even = groups * GROUP
    largest = table[:, :even].reshape(n, GROUP, groups).max(1)
    columns = _ranked(largest, 0, last)[:, None] + groups * np.arange(GROUP)[:, None]
    columns = np.column_stack([columns.reshape(n, -1), np.tile(np.arange(even, width), (n, 1))])
    found = _ranked(np.take_along_axis(table, columns, 1), first, last)
    return np.take_along_axis(columns, found, 1)


def _ranked(table: np.ndarray, first: int, last: int) -> np.ndarray:
    # torch's topk works on all cores; it is taken where torch is loaded already, which this module never does itself
    topk = getattr(sys.modules.get("torch"), "topk", None)  # None also while another thread is still loading torch
    if topk is not None:
        return topk(sys.modules["torch"].from_numpy(table), last).indices.numpy()[:, first:]
    top = np.argpartition(table, table.shape[1] - last, 1)[:, table.shape[1] - last :]
    order = np.argsort(-np.take_along_axis(table, top, 1), 1)[:, first:]
    return np.take_along_axis(top, order, 1)


def featured(train: Outputs) -> Outputs:
    """The outputs themselves; ValueError where they were kept without features, as those of a shared run are."""
    if not train.features.shape[1]:
        raise ValueError(
            "This run is kept without features, which this score needs. Where its images are, write them again with:\n"
            "    python -m cac_core eval RUN --again"
        )
    return train


def spread_of(train: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A place m [D] among the features, the class means [C, D] less m, and the covariance [D, D] about the class means.

    In one pass over the training images, not the mirrored copies. Taking m away first keeps the digits.
    """
    mine, classes = np.flatnonzero(~train.mirrored), np.arange(train.logits.shape[1])
    counts = np.bincount(train.labels[mine], minlength=len(classes))
    if not counts.all():
        raise ValueError(f"The training outputs hold no image of class {counts.argmin()}: its mean cannot be computed.")
    middle = train.features[mine[:1000]].mean(0, dtype=np.float64)
    sums, products = np.zeros((len(classes), len(middle))), np.zeros((len(middle), len(middle)))
    for rows in blocks(len(mine), 8 * len(middle)):
        x = train.features[mine[rows]] - middle
        sums += (train.labels[mine[rows]] == classes[:, None]).astype(np.float64) @ x
        products += x.T @ x
    means = sums / counts[:, None]
    return middle, means, (products - (means.T * counts) @ means) / len(mine)


def logit_distances(logits: np.ndarray, centres: np.ndarray, metric: str) -> np.ndarray:
    """Distances [N, C]: euclidean, or eucos = euclidean / 200 + 1 - cosine, a vector of zeros at cosine 0 to all."""
    d = distances(logits, centres)
    return d if metric == "euclidean" else d / 200 + 1 - unit_rows(logits) @ unit_rows(centres).T


def default_for(method: str) -> str:
    """The score that a method's own paper rejects by."""
    return {"cross_entropy": "msp"}.get(method, "gamma")


def scorer_options(name: str) -> dict[str, Any]:
    """The options of a scorer and their defaults, from its signature."""
    parameters = inspect.signature(SCORERS[known_name(name, SCORERS, "scorer")]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def judge_of(name: str, train: Outputs, **options: Any) -> Judge:
    """The judge of a scorer by name. Raises ValueError with the right names where one is wrong.

    So do logits or features that are not finite, of the training images here, of others when they are judged.
    """
    options = checked_options(name, scorer_options(name), options)
    judge = SCORERS[name](finite(train), **options)
    return lambda out: judge(finite(out))


def finite(out: Outputs) -> Outputs:
    for what, values in (("logits", out.logits), ("features", out.features)):
        wrong = ~np.isfinite(values).all(1)
        if wrong.any():
            raise ValueError(
                f"The {what} of {wrong.sum()} of {len(out)} images are not finite (NaN or infinite), first those of "
                f"image {wrong.argmax()}: they cannot be scored. The training has diverged, or the image is damaged."
            )
    return out


def positive(value: float, what: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be a positive number, not {value}.")
    return value


def at_least(value: int, least: int, what: str) -> int:
    if value < least:
        raise ValueError(f"{what} must be a whole number of at least {least}, not {value}.")
    return value
