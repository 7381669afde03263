"""What a trained network put out for images, and what is judged from it: Outputs, Verdict, Judge.

HIGHER always means MORE UNKNOWN; an image is rejected when score > theta. N images, C known classes, D feature width.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from cac_core.records import FINITE, Array
from cac_core.sentences import say

ABOUT = ("weights", "images", "dataset")  # what outputs say of themselves: digests, and which data set they are on
MARKS = "marks"  # and of the test images, what each is known by, see data.datasets.marks
ARRAYS = {  # of a file of outputs; "d" is 0 in a copy to give away, and logits and features of what diverged may be NaN
    "logits": Array("f", "N C"), "features": Array("f", "N d"), "labels": Array("iu", "N", -1, "C"),
    "classes": Array("iu", "N", 0), "index": Array("iu", "N", 0), "mirrored": Array("b", "N"),
    "anchors": Array("f", "C C", -FINITE, needed=False), "fold": Array("iu", "N", -1, needed=False),
    "out_of_fold": Array("f", "K N C", needed=False),
    "dummies": Array("f", "M e", needed=False),
    "head": Array("f", "C h", -FINITE, needed=False), "heads_out_of_fold": Array("f", "K C h", -FINITE, needed=False),
    "given": Array("f", "N", -FINITE, needed=False),
    "prototypes": Array("f", "C p", needed=False), "latents": Array("iu", "", 0, needed=False),
    MARKS: Array("iu", "N", 0, needed=False),
    **{name: Array("U", needed=False) for name in ABOUT},
}  # fmt: skip


@dataclass(frozen=True)
class Outputs:
    """What a network put out for N images.

    logits [N, C] float; features [N, D] float; labels [N] int, the place among the known classes, -1 for unknown;
    classes [N], the class numbers of the data set; index [N], the images' places in the data set's train or test part;
    mirrored [N] bool, true for a mirror image; anchors [C, C], or None where the method has none. theta is not here:
    it belongs to a score. Where a run is cross-validated, fold [N] is the fold that an image is of, -1 for none; the
    training outputs then hold the logits of the K networks without a fold each, too: out_of_fold [K, N, C]. dummies
    [M, D + 1] are the weights and, last, the biases of M linear heads on the features that stand for no class. head
    [C, D + 1] is the same of the head that makes the logits of the features, logits = W features + b, or None where it
    reads something else; the training outputs alone hold it, and beside out_of_fold those that made these,
    heads_out_of_fold [K, C, D + 1]. Of the features the last `latents` are latents, of a network that reconstructs
    images: those scores alone read them that say so, and heads stand on the features before them. prototypes [C, P]
    are directions of length 1, one a class, whose cosines the logits are, up to a factor. given [N] are scores that
    came with outputs from elsewhere.
    """

    logits: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    index: np.ndarray
    mirrored: np.ndarray
    anchors: np.ndarray | None = None
    fold: np.ndarray | None = None
    out_of_fold: np.ndarray | None = None
    dummies: np.ndarray | None = None
    head: np.ndarray | None = None
    heads_out_of_fold: np.ndarray | None = None
    given: np.ndarray | None = None
    prototypes: np.ndarray | None = None
    latents: int = 0

    def __post_init__(self):
        n, c = self.logits.shape
        for name in ("features", "labels", "classes", "index", "mirrored", "fold", "given"):
            if getattr(self, name) is not None and len(getattr(self, name)) != n:
                raise ValueError(say(
                    "{count} {name} for {images} images: these outputs do not belong together.",
                    count=len(getattr(self, name)), name=name, images=n,
                ))  # fmt: skip
        if self.features.ndim != 2:
            raise ValueError(say("features are [images, width], not {shape}.", shape=str(self.features.shape)))
        if self.anchors is not None and self.anchors.shape != (c, c):
            raise ValueError(say(
                "{count} classes need anchors [{count}, {count}], not {shape}.",
                count=c, shape=str(self.anchors.shape),
            ))  # fmt: skip
        read = self.features.shape[1] - self.latents
        if self.dummies is not None and self.features.shape[1] and read != self.dummies.shape[1] - 1:
            raise ValueError(say(
                "{count} features need dummies of {more} numbers, not {shape}.",
                count=read, more=read + 1, shape=str(self.dummies.shape),
            ))  # fmt: skip
        fits = not self.features.shape[1] or self.head is None or read == self.head.shape[1] - 1
        if self.head is not None and (len(self.head) != c or not fits):
            raise ValueError(say(
                "{count} classes and {width} features need a head [{count}, {more}], not {shape}.",
                count=c, width=read, more=read + 1, shape=str(self.head.shape),
            ))  # fmt: skip
        if n and (self.labels.min() < -1 or self.labels.max() >= c):
            raise ValueError(say(
                "labels lie between -1 and {most}; these go from {low} to {high}.",
                most=c - 1, low=self.labels.min(), high=self.labels.max(),
            ))  # fmt: skip

    def __len__(self) -> int:
        return len(self.logits)

    @classmethod
    def of_images(cls, logits: np.ndarray, features: np.ndarray) -> "Outputs":
        """Outputs for images from elsewhere, whose class nobody has said."""
        none = np.full(len(logits), -1)
        return cls(logits, features, none, none, np.arange(len(logits)), np.zeros(len(logits), bool))


def known_only(out: Outputs) -> Outputs:
    """The images of known classes."""
    return only(out, out.labels >= 0)


def only(out: Outputs, keep: np.ndarray) -> Outputs:
    """Some of the images: a mask [N], or places."""
    some = {name: getattr(out, name)[keep] for name in _PER_IMAGE}
    some |= {name: getattr(out, name)[keep] for name in ("fold", "given") if getattr(out, name) is not None}
    if out.out_of_fold is not None:
        some["out_of_fold"] = out.out_of_fold[:, keep]
    return replace(out, **some)


def without_fold(train: Outputs, fold: int) -> Outputs:
    """The training outputs of the network that has not learnt from this fold, without its images."""
    if train.out_of_fold is not None:
        head = None if train.heads_out_of_fold is None else train.heads_out_of_fold[fold]
        train = replace(
            train, logits=train.out_of_fold[fold], out_of_fold=None, head=head, heads_out_of_fold=None
        )  # fmt: skip
    return only(train, train.fold != fold)


def unmirrored(train: Outputs, values: np.ndarray) -> np.ndarray:
    """Of values of each image, such as its features, those of images that are no mirror images; no copy without any."""
    return values[~train.mirrored] if train.mirrored.any() else values


def joined(one: Outputs, other: Outputs) -> Outputs:
    """The images of both, which the same network put out; without features where one has none, as in a small copy."""
    if not (one.features.shape[1] and other.features.shape[1]):
        one, other = (replace(out, features=out.features[:, :0]) for out in (one, other))
    both = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in _PER_IMAGE}
    if one.fold is not None or other.fold is not None:
        both["fold"] = np.concatenate([np.full(len(o), -1) if o.fold is None else o.fold for o in (one, other)])
    if one.given is not None:
        both["given"] = np.concatenate([one.given, other.given])
    return replace(one, **both)


_PER_IMAGE = ("logits", "features", "labels", "classes", "index", "mirrored")


def finite(out: Outputs) -> Outputs:
    for what, values in ((say("logits"), out.logits), (say("features"), out.features)):
        if not (right := np.isfinite(values)).all():
            wrong = ~right.all(1)
            raise ValueError(say(
                "The {what} of {count} of {all} images are not finite (NaN or infinite), first those of image "
                "{first}: they cannot be scored. The training has diverged, or the image is damaged.",
                what=what, count=wrong.sum(), all=len(out), first=wrong.argmax(),
            ))  # fmt: skip
    return out


@dataclass(frozen=True)
class Verdict:
    """For N images, score [N], up = more unknown, and label [N], the known class that each is nearest to.

    by_class are the numbers that the score is made of, where there is one for each class: [N, C], or [N, C + 1] with
    that of what is unknown last. Scorers give them; what is kept for many images goes without.
    """

    score: np.ndarray
    label: np.ndarray
    by_class: np.ndarray | None = None


Judge = Callable[[Outputs], Verdict]
