"""Scores that read the distances of the logits to a centre for each class: gamma, distance.

N images, C known classes. A centre is the mean of a class's training logits, or a fixed anchor.
"""

import numpy as np

from cac_core.recipe import known_name
from cac_core.scoring.arrays import positive, softmax
from cac_core.scoring.outputs import Judge, Outputs, Verdict
from cac_core.sentences import say


def distances(logits: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Euclidean distances [N, C] of logits [N, K] to centres [C, K], by differences: exact next to a centre."""
    d, logits = np.empty((len(logits), len(centres))), logits.astype(np.float64, copy=False)
    for j, centre in enumerate(centres):
        gap = logits - centre
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
            raise ValueError(
                say("The training outputs hold no image of class {number}: its centre cannot be computed.", number=c)
            )
        means[c] = train.logits[mine & right if (mine & right).any() else mine].mean(0, dtype=np.float64)
    return means


def moved_by(train: Outputs) -> np.ndarray | None:
    """The centres that a perturbation is taken towards: a run with anchors has its class means, another its logits."""
    return None if train.anchors is None else class_means(train)


CENTRES = ("means", "anchors")


def centres_of(train: Outputs, centres: str) -> np.ndarray:
    """The points [C, C] that distances are taken to: the class means, or the fixed anchors alpha e_i."""
    if known_name(centres, CENTRES, say("kind of centres")) == "means":
        return class_means(train)
    if train.anchors is None:
        raise ValueError(say("This run was trained without anchors; take centres=means."))
    return train.anchors.astype(np.float64)


def gamma(train: Outputs, *, centres: str = "means", temperature: float = 1.0) -> Judge:
    """CAC's own: min over classes of d (1 - softmin d), d the distance to the class mean.

    Miller et al., WACV 2021. The paper moves the anchors to the class means of the training logits (images classified
    right) once training has ended; so does this. centres="anchors" leaves them where training had them.
    """
    points, temperature = centres_of(train, centres), positive(temperature, "temperature")

    def judge(out: Outputs) -> Verdict:
        g = rejection(distances(out.logits, points), temperature)
        return Verdict(g.min(1), g.argmin(1), g)

    return judge


def distance(train: Outputs, *, centres: str = "means") -> Judge:
    """The distance to the nearest centre: gamma without its softmin, for comparison."""
    points = centres_of(train, centres)

    def judge(out: Outputs) -> Verdict:
        d = distances(out.logits, points)
        return Verdict(d.min(1), d.argmin(1), d)

    return judge
