"""Scores that read the features: knn, nnguide, mahalanobis, rmds, gmm, cosine, she, and those of dummy heads on them,
placeholder and unknown_class; and beside logits latents, latent_openmax.

N images, C known classes, D feature width.

Where torch is loaded already, knn and nnguide borrow its topk.
"""

from collections.abc import Callable

import numpy as np

from cac_core import shell
from cac_core.recipe import known_name
from cac_core.scoring.arrays import at_least, blocks, log_sum_exp, ranked, softmax, unit_rows
from cac_core.scoring.logits import checked, revised_by, rightly
from cac_core.scoring.outputs import Judge, Outputs, Verdict, unmirrored
from cac_core.sentences import say

# ranks to either side of the k-th in which neighbours are looked at again: rounding in float32 moves them by one or two
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
    features = unmirrored(train, featured(train).features)
    if not k:
        least = np.bincount(train.labels[~train.mirrored], minlength=train.logits.shape[1]).min()
        k = max(1, min(int(np.clip(least // 50, 5, 50)), len(features)))
    if k > len(features):
        raise ValueError(say(
            "k={k} needs {k} training images or more; this run has {count}. Take a smaller k.",
            k=k, count=len(features),
        ))  # fmt: skip
    bank = _directions(features)
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


def nnguide(train: Outputs, *, k: int = 10) -> Judge:
    """- the energy of an image times its guidance, the mean of the k largest E(b) cos(x, b) over training images b.

    Park, Jung and Teoh, ICCV 2023: E is logsumexp of the logits, and both factors fall for an unknown. k = 10 is theirs
    with 1 % of ImageNet in the bank, drawn by chance; here all training images are in it, but not the mirrored copies,
    so that nothing is. pytorch-ood does the same; OpenOOD takes k = 100 of 1 % and adds 1e-10 to directions. The
    largest products are found in float32 and taken again in float64. Raises ValueError where k is not between 1 and the
    number of training images, and where the mean energy of these is below 0: the product of two negative numbers would
    call known what is unknown.
    """
    at_least(k, 1, "k")
    features = unmirrored(train, featured(train).features)
    energies = log_sum_exp(unmirrored(train, train.logits).astype(np.float64))
    if k > len(features):
        raise ValueError(say(
            "k={k} needs {k} training images or more; this run has {count}. Take a smaller k.",
            k=k, count=len(features),
        ))  # fmt: skip
    if energies.mean() <= 0:
        raise ValueError(say(
            "nnguide multiplies two energies, which must be positive; those of the training images are {mean} on "
            "average.",
            mean=f"{energies.mean():.3g}",
        ))  # fmt: skip
    bank = _directions(features)
    bank *= energies[:, None].astype(np.float32)
    last = min(len(bank), k + NEAR)

    def judge(out: Outputs) -> Verdict:
        guidance = np.empty(len(out))
        for rows in blocks(len(out), 4 * max(len(bank), 4 * NEAR * bank.shape[1])):
            x = unit_rows(out.features[rows])
            found = ranked(x.astype(np.float32) @ bank.T, 0, last)
            near = unit_rows(features[found.ravel()]).reshape(*found.shape, -1)
            products = np.einsum("nmd,nd->nm", near, x) * energies[found]
            guidance[rows] = np.sort(products, 1)[:, last - k :].mean(1)
        return Verdict(-guidance * log_sum_exp(out.logits.astype(np.float64)), out.logits.argmax(1))

    return judge


def _directions(features: np.ndarray) -> np.ndarray:
    """Rows at length 1, in float32."""
    bank = np.empty(features.shape, np.float32)
    for rows in blocks(len(features), 8 * features.shape[1]):
        bank[rows] = unit_rows(features[rows])
    return bank


def mahalanobis(train: Outputs) -> Judge:
    """The least over classes of (x - m_c)' S^-1 (x - m_c), x the features, S one covariance about the class means m_c.

    Lee et al., NeurIPS 2018, section 2.1, without their noise on the image and their sum over layers. S is over all
    training images (not the mirrored copies), divided by their number, and shrunk to a multiple of the identity as
    Ledoit and Wolf do it, which theirs is not: where there are few images for the width of the features, S has no
    inverse worth its name. The label is the class of that least distance, as theirs, not the largest logit. Where
    features are constant and nothing is shrunk, they are left out. Takes memory for three matrices [D, D], whatever N
    is.
    """
    gaps = _Distances(spread_of(featured(train).features, train.labels, train.mirrored, train.logits.shape[1]))

    def judge(out: Outputs) -> Verdict:
        d = gaps(out.features)
        return Verdict(d.min(1), d.argmin(1), d)

    return judge


def rmds(train: Outputs) -> Judge:
    """The relative Mahalanobis distance: the least over classes of it, less that to one normal of all images.

    Ren et al., 2021 (arXiv 2106.09022): MD_k(x) - MD_0(x), MD_0 by the mean and the covariance of all
    training features whatever their class, so that what varies in every image counts for nothing. As there and in
    OpenOOD, but both covariances are shrunk as those of `mahalanobis`; pytorch-ood takes their sums over the images for
    their means, a factor that ranks the same. The label is the nearest class.
    """
    mine = featured(train)
    near = _Distances(spread_of(mine.features, mine.labels, mine.mirrored, mine.logits.shape[1]))
    far = _Distances(spread_of(mine.features, np.zeros_like(mine.labels), mine.mirrored, 1))

    def judge(out: Outputs) -> Verdict:
        d = near(out.features)
        relative = d - far(out.features)
        return Verdict(relative.min(1), d.argmin(1), relative)

    return judge


COVARIANCES = ("shared", "full")
MOST_FULL = 2**30  # bytes of covariances of all classes: 100 classes of width 1024


def gmm(train: Outputs, *, covariance: str = "shared") -> Judge:
    """- log of the likelihood by a normal for each class: - log sum over k of pi_k N(x; m_k, S_k), pi_k its share.

    A classic with no one paper; one normal a class is Lee et al.'s model (NeurIPS 2018), whose nearest class alone is
    `mahalanobis`. covariance: shared, one S for all classes, or full, each its own, which takes many images a class.
    Both are shrunk as that of `mahalanobis`, full ones each by its own images, and kept above 1e-10 of the mean
    variance; pytorch-ood takes full ones plus 1e-6 I, OpenOOD clusters that need not be classes and no determinant. The
    label is the likeliest class. Raises ValueError where full covariances would take more than a gigabyte.
    """
    known_name(covariance, COVARIANCES, say("kind of covariance"))
    mine = featured(train)
    classes, width = mine.logits.shape[1], mine.features.shape[1]
    together = spread_of(mine.features, mine.labels, mine.mirrored, classes)
    log_shares = np.log(np.bincount(mine.labels[~mine.mirrored], minlength=classes) / (~mine.mirrored).sum())
    if covariance == "full" and 8 * classes * width**2 > MOST_FULL:
        raise ValueError(say(
            "covariance=full needs {classes} matrices of {width} by {width} numbers, which is too much memory; take "
            "covariance=shared.",
            classes=classes, width=width,
        ))  # fmt: skip
    least = FLAT * np.trace(together[2]) / width
    if covariance == "full":
        spreads = [
            spread_of(mine.features, np.zeros_like(mine.labels), mine.mirrored | (mine.labels != c), 1)
            for c in range(classes)
        ]
    else:
        spreads = [together]
    gaps = [_Distances(spread, least) for spread in spreads]
    offsets = np.concatenate(
        [np.full(len(spread[1]), gap.log_volume) for spread, gap in zip(spreads, gaps, strict=True)]
    )

    def judge(out: Outputs) -> Verdict:
        d = np.column_stack([gap(out.features) for gap in gaps])
        log_joint = log_shares - (d + width * np.log(2 * np.pi)) / 2 - offsets
        return Verdict(-log_sum_exp(log_joint), log_joint.argmax(1))

    return judge


def she(train: Outputs) -> Judge:
    """- the inner product of the features with the stored pattern of the predicted class.

    Simplified Hopfield energy. Zhang et al., ICLR 2023: the pattern is the mean of the features of a class's training
    images that are classified right (not of mirrored copies); of a class of which none is, of all its images, where
    OpenOOD has no number and pytorch-ood refuses. Theirs are alike otherwise.
    """
    mine = featured(train)
    right, patterns = mine.logits.argmax(1) == mine.labels, np.empty((mine.logits.shape[1], mine.features.shape[1]))
    for c in range(len(patterns)):
        of_class = (mine.labels == c) & ~mine.mirrored
        if not of_class.any():
            raise ValueError(_none_of(c))
        patterns[c] = mine.features[of_class & right if (of_class & right).any() else of_class].mean(0, dtype=float)

    def judge(out: Outputs) -> Verdict:
        label, score = out.logits.argmax(1), np.empty(len(out))
        for rows in blocks(len(out), 8 * patterns.shape[1]):
            score[rows] = -np.einsum("nd,nd->n", out.features[rows].astype(np.float64), patterns[label[rows]])
        return Verdict(score, label)

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
        return Verdict(1 - near.max(1), near.argmax(1), near)

    return judge


def placeholder(train: Outputs) -> Judge:
    """The largest dummy logit less the largest known one; the label is that of the largest known logit.

    Zhou, Ye and Zhan, CVPR 2021. Their code takes the softmax of all at temperature 1024 and subtracts the largest
    known share from the dummy's: that is this difference over (K + 1) 1024, up to rounding, so that it ranks the same.
    Raises ValueError where the outputs are of a network without dummies.
    """
    dummy = _dummies_of(train, "placeholder", "proser")

    def judge(out: Outputs) -> Verdict:
        unknown = dummy(out)
        every = np.column_stack([out.logits, unknown])
        return Verdict(unknown - out.logits.max(1), out.logits.argmax(1), every)

    return judge


def unknown_class(train: Outputs) -> Judge:
    """P(unknown) less the largest share of a known class, by the softmax of K + 1 classes; the label is the known one.

    Neal et al., ECCV 2018: the logit of the further class is 0, which the outputs hold as a dummy head without weights;
    of several dummies it would be the largest. Raises ValueError where the outputs are of a network without any.
    """
    dummy = _dummies_of(train, "unknown_class", "osrci")

    def judge(out: Outputs) -> Verdict:
        shares = softmax(np.column_stack([out.logits.astype(np.float64), dummy(out)]))
        return Verdict(shares[:, -1] - shares[:, :-1].max(1), out.logits.argmax(1), shares)

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


SCALINGS = ("none", "each")


def latent_openmax(
    train: Outputs, *, tail: int = 20, alpha: int = 10, metric: str = "euclidean", scaling: str = "none"
) -> Judge:
    """OpenMax of the logits, by distances of logits AND latents to their class means. Yoshihashi et al., CVPR 2019.

    As `openmax`, but that the vector whose distances are taken is (logits, latents); the logits alone are ranked and
    revised, and tell which images are classified right. Means of latents are small beside logits, so that distances
    are next to those of the logits alone. scaling="each", which is ours, divides every number of the vector by its
    standard deviation over the training images; a constant one is left as it is. A class that has fewer than `tail`
    images classified right gives all of them, and one that has none all its images. Raises ValueError where the
    outputs hold no latents.
    """
    checked(tail, alpha, metric)
    known_name(scaling, SCALINGS, say("scaling"))
    coded(featured(train))
    members = [
        mine if len(mine) else np.flatnonzero(~train.mirrored & (train.labels == c))
        for c, mine in enumerate(rightly(train))
    ]
    if lacking := [c for c, mine in enumerate(members) if not len(mine)]:
        raise ValueError(say(
            "The training outputs hold no image of class {number}: its mean cannot be computed.", number=lacking[0]
        ))  # fmt: skip
    latents, spread = train.latents, 1.0

    def vectors(out: Outputs) -> np.ndarray:
        return np.column_stack([out.logits, out.features[:, -latents:]]).astype(np.float64) / spread

    if scaling == "each":
        spread = vectors(train)[~train.mirrored].std(0)
        spread = np.where(spread > 0, spread, 1.0)
    return revised_by(train, members, vectors, tail, alpha, metric)


def coded(train: Outputs) -> Outputs:
    """The outputs themselves; ValueError where they are of a network without latents."""
    if not train.latents:
        raise ValueError(say("This network has no latents, which latent_openmax reads: train one by crosr."))
    return train


def featured(train: Outputs) -> Outputs:
    """The outputs themselves; ValueError where they were kept without features, as those of a shared run are."""
    if not train.features.shape[1]:
        raise ValueError(say(
            "This run is kept without features, which this score needs. Where its images are, write them again with:\n"
            "    {command}",
            command=shell.command("eval", "RUN", "--again"),
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


class _Distances:
    """Squared distances [N, C] to class means by one covariance, shrunk, of what `spread_of` gives.

    least: a variance that is added in every direction. log_volume is half the logarithm of the determinant.
    """

    def __init__(self, spread: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], least: float = 0.0):
        self.middle, means, covariance, lengths = spread
        share, mean = shrinkage(covariance, lengths), np.trace(covariance) / len(covariance)
        covariance = (1 - share) * covariance
        covariance[np.diag_indices(len(covariance))] += share * mean + least
        self.whiten, self.log_volume = _whitening(covariance)
        self.centres = means @ self.whiten
        self.lengths = (self.centres**2).sum(1)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        d = np.empty((len(features), len(self.centres)))
        for rows in blocks(len(features), 8 * len(self.middle)):
            x = (features[rows] - self.middle) @ self.whiten
            d[rows] = np.einsum("nr,nr->n", x, x)[:, None] - 2 * (x @ self.centres.T) + self.lengths
        return np.maximum(d, 0, out=d)


def _whitening(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """W [D, R] with W W' = S^-1, and half the logarithm of the determinant of S [D, D].

    Where S has directions of no variance, the pseudo-inverse and the determinant in the others."""
    try:
        root = np.linalg.cholesky(covariance)
        return np.linalg.inv(root).T, float(np.log(np.diag(root)).sum())
    except np.linalg.LinAlgError:
        variance, axes = np.linalg.eigh(covariance)
        kept = variance > FLAT * variance[-1]
        return axes[:, kept] / np.sqrt(variance[kept]), float(np.log(variance[kept]).sum() / 2)


def _none_of(number: int) -> str:
    return say("The training outputs hold no image of class {number}: its mean cannot be computed.", number=number)


def spread_of(
    features: np.ndarray, labels: np.ndarray, left_out: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A place m [D] among the features, the class means [C, D] less m, the covariance [D, D] about the class means, and
    the squared distance [N] of each image from the mean of its class.

    Of the rows that are not left out [N], in pieces. Taking m away first keeps the digits.
    """
    mine = np.flatnonzero(~left_out)
    counts = np.bincount(labels[mine], minlength=classes)
    if not counts.all():
        raise ValueError(_none_of(int(counts.argmin())))
    middle = features[mine[:1000]].mean(0, dtype=np.float64)
    sums, products = np.zeros((classes, len(middle))), np.zeros((len(middle), len(middle)))
    for rows in blocks(len(mine), 8 * len(middle)):
        x = features[mine[rows]] - middle
        sums += (labels[mine[rows]] == np.arange(classes)[:, None]).astype(np.float64) @ x
    means = sums / counts[:, None]
    lengths = np.empty(len(mine))
    for rows in blocks(len(mine), 8 * len(middle)):
        x = features[mine[rows]] - middle - means[labels[mine[rows]]]
        products += x.T @ x
        lengths[rows] = np.einsum("nd,nd->n", x, x)
    return middle, means, products / len(mine), lengths
