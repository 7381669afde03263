"""Scorers: how unknown each image looks, judged from what the trained network put out.

A scorer reads the outputs on the training images once and returns a judge, a function from any other outputs to a
Verdict. HIGHER always means MORE UNKNOWN; an image is rejected when score > theta. Numpy only, so that the app can
score without importing torch.

N images, C known classes, D feature width. Keywords are the scorer's own options: the command line, the app's forms
and the sweeps read them from the signature.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cac_core.recipe import checked_options, known_name


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


SCORERS = {"gamma": gamma, "distance": distance, "msp": msp, "max_logit": max_logit, "energy": energy}


def default_for(method: str) -> str:
    """The score that a method's own paper rejects by."""
    return {"cross_entropy": "msp"}.get(method, "gamma")


def scorer_options(name: str) -> dict[str, Any]:
    """The options of a scorer and their defaults, from its signature."""
    parameters = inspect.signature(SCORERS[known_name(name, SCORERS, "scorer")]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def judge_of(name: str, train: Outputs, **options: Any) -> Judge:
    """The judge of a scorer by name. Raises ValueError with the right names where one is wrong."""
    options = checked_options(name, scorer_options(name), options)
    return SCORERS[name](train, **options)


def positive(value: float, what: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{what} must be a positive number, not {value}.")
    return value
