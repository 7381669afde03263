"""Scores that read the features: knn, mahalanobis, cosine, and those of dummy heads on them, placeholder and
unknown_class. N images, C known classes, D feature width.

Where torch is loaded already, knn borrows its topk.
"""

from collections.abc import Callable

import numpy as np

from cac_core.scoring.arrays import at_least, blocks, ranked, softmax, unit_rows
from cac_core.scoring.outputs import Judge, Outputs, Verdict
from cac_core.sentences import say

# ranks to either side of the k-th in which knn looks again: rounding in float32 moves neighbours by one or two
NEAR = 8
FLAT = 1e-10  # times the largest: so little variance is none, since features are float32


def knn(train: Outputs, *, k: int = 0) -> Judge:
    """The distance to the k-th nearest training image, features brought to length 1: ||x / |x| - x_(k) / |x_(k)|||.

    Sun et al., ICML 2022; k = 50 is theirs for CIFAR-10, with 5000 images a class. Beyond the size of a class the k-th
    neighbour is of another one, and the score says little; so 0, the default, takes a fiftieth of the smallest class,
    between 5 and 50. The label is that of the largest logit. Mirror images are not in the bank: they would be copies. A
    feature vector of zeros has no direction and stays at 0, at distance 1 from all others. Ranked by products in
    float32; the images ranked within NEAR of the k-th are then ranked again by differences in float64, so that the
    distance is exact also beside a training image. Raises ValueError where k is below 0 or above the number of training
    images.
    """
    at_least(k, 0, "k")
    features = featured(train).features[~train.mirrored]
    if not k:
        least = np.bincount(train.labels[~train.mirrored], minlength=train.logits.shape[1]).min()
        k = max(1, min(int(np.clip(least // 50, 5, 50)), len(features)))
    if k > len(features):
        raise ValueError(say(
            "k={k} needs {k} training images or more; this run has {count}. Take a smaller k.",
            k=k, count=len(features),
        ))  # fmt: skip
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


def mahalanobis(train: Outputs) -> Judge:
    """The least over classes of (x - m_c)' S^-1 (x - m_c), x the features, S one covariance about the class means m_c.

    Lee et al., NeurIPS 2018, section 2.1, without their noise on the image and their sum over layers. S is over all
    training images (not the mirrored copies), divided by their number, and shrunk to a multiple of the identity as
    Ledoit and Wolf do it, which theirs is not: where there are few images for the width of the features, S has no
    inverse worth its name. The label is the class of that least distance, as theirs, not the largest logit. Where
    features are constant and nothing is shrunk, they are left out. Takes memory for three matrices [D, D], whatever N
    is.
    """
    middle, means, covariance, lengths = spread_of(featured(train))
    share, mean = shrinkage(covariance, lengths), np.trace(covariance) / len(middle)
    covariance *= 1 - share
    covariance[np.diag_indices(len(middle))] += share * mean
    whiten = _whitening(covariance)
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


def cosine(train: Outputs) -> Judge:
    """1 - the largest cosine of the features to a class mean, the mean of the class's training features at unit length.

    The nearest class mean on the sphere, as for systems that learn there; the label is that class. Mirror images are
    not in the means. A feature vector of zeros has no direction, and cosine 0 to every class.
    """
    mine = featured(train)
    known = ~mine.mirrored & (mine.labels >= 0)
    means = np.zeros((mine.logits.shape[1], mine.features.shape[1]))
    for rows in blocks(int(known.sum()), 8 * means.shape[1]):
        some = np.flatnonzero(known)[rows]
        np.add.at(means, mine.labels[some], unit_rows(mine.features[some]))
    means = unit_rows(means)

    def judge(out: Outputs) -> Verdict:
        near = np.empty((len(out), len(means)))
        for rows in blocks(len(out), 8 * means.shape[1]):
            near[rows] = unit_rows(out.features[rows]) @ means.T
        return Verdict(1 - near.max(1), near.argmax(1))

    return judge


def placeholder(train: Outputs) -> Judge:
    """The largest dummy logit less the largest known one; the label is that of the largest known logit.

    Zhou, Ye and Zhan, CVPR 2021. Their code takes the softmax of all at temperature 1024 and subtracts the largest
    known share from the dummy's: that is this difference over (K + 1) 1024, up to rounding, so that it ranks the same.
    Raises ValueError where the outputs are of a network without dummies.
    """
    dummy = _dummies_of(train, "placeholder", "proser")
    return lambda out: Verdict(dummy(out) - out.logits.max(1), out.logits.argmax(1))


def unknown_class(train: Outputs) -> Judge:
    """P(unknown) less the largest share of a known class, by the softmax of K + 1 classes; the label is the known one.

    Neal et al., ECCV 2018: the logit of the further class is 0, which the outputs hold as a dummy head without weights;
    of several dummies it would be the largest. Raises ValueError where the outputs are of a network without any.
    """
    dummy = _dummies_of(train, "unknown_class", "osrci")

    def judge(out: Outputs) -> Verdict:
        shares = softmax(np.column_stack([out.logits.astype(np.float64), dummy(out)]))
        return Verdict(shares[:, -1] - shares[:, :-1].max(1), out.logits.argmax(1))

    return judge


def _dummies_of(train: Outputs, scorer: str, method: str) -> Callable[[Outputs], np.ndarray]:
    """What gives the largest dummy logit [N] of outputs."""
    if train.dummies is None:
        raise ValueError(say(
            "This network has no dummy heads, which {scorer} reads: train one by {method}.",
            scorer=scorer, method=method,
        ))  # fmt: skip
    weights, biases = train.dummies[:, :-1].astype(float).T, train.dummies[:, -1].astype(float)
    if not weights.any():  # the same for all images, so that outputs without features will do
        return lambda out: np.full(len(out), biases.max())
    featured(train)
    return lambda out: (out.features.astype(float) @ weights + biases).max(1)


def featured(train: Outputs) -> Outputs:
    """The outputs themselves; ValueError where they were kept without features, as those of a shared run are."""
    if not train.features.shape[1]:
        raise ValueError(say(
            "This run is kept without features, which this score needs. Where its images are, write them again with:\n"
            "    python -m cac_core eval RUN --again"
        ))  # fmt: skip
    return train


def shrinkage(covariance: np.ndarray, lengths: np.ndarray) -> float:
    """How far S [D, D] of N rows about their means is to be shrunk: to (1 - share) S + share (tr S / D) I.

    Ledoit and Wolf, J. Multivariate Analysis 2004, section 3.2; lengths [N] are the rows' squared lengths. With
    |.|^2 / D for the norm, share = beta / delta: delta = |S - (tr S / D) I|^2, and beta the mean of |x x' - S|^2 over
    the rows, divided by their number.
    """
    width, count = len(covariance), len(lengths)
    square = np.einsum("ij,ij->", covariance, covariance)
    delta = square - np.trace(covariance) ** 2 / width
    beta = ((lengths**2).mean() - square) / count
    return float(min(max(beta, 0.0), delta) / delta) if delta > 1e-12 * square else 0.0


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """W [D, R] with W W' = S^-1; the pseudo-inverse where S [D, D] has directions of no variance."""
    try:
        return np.linalg.inv(np.linalg.cholesky(covariance)).T
    except np.linalg.LinAlgError:
        variance, axes = np.linalg.eigh(covariance)
        kept = variance > FLAT * variance[-1]
        return axes[:, kept] / np.sqrt(variance[kept])


def spread_of(train: Outputs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A place m [D] among the features, the class means [C, D] less m, the covariance [D, D] about the class means, and
    the squared distance [N] of each image from the mean of its class.

    Of the training images, not the mirrored copies, in pieces. Taking m away first keeps the digits.
    """
    mine, classes = np.flatnonzero(~train.mirrored), np.arange(train.logits.shape[1])
    counts = np.bincount(train.labels[mine], minlength=len(classes))
    if not counts.all():
        raise ValueError(say(
            "The training outputs hold no image of class {number}: its mean cannot be computed.",
            number=counts.argmin(),
        ))  # fmt: skip
    middle = train.features[mine[:1000]].mean(0, dtype=np.float64)
    sums, products = np.zeros((len(classes), len(middle))), np.zeros((len(middle), len(middle)))
    for rows in blocks(len(mine), 8 * len(middle)):
        x = train.features[mine[rows]] - middle
        sums += (train.labels[mine[rows]] == classes[:, None]).astype(np.float64) @ x
    means = sums / counts[:, None]
    lengths = np.empty(len(mine))
    for rows in blocks(len(mine), 8 * len(middle)):
        x = train.features[mine[rows]] - middle - means[train.labels[mine[rows]]]
        products += x.T @ x
        lengths[rows] = np.einsum("nd,nd->n", x, x)
    return middle, means, products / len(mine), lengths
