"""Scores that read the features and the linear head on them, which makes the logits: z = W f + b.

Some measure the features by the head: residual, vim, fdbd. Others change features or weights, let the head make new
logits z' of them, and score these by - logsumexp(z'), as `energy` does: react, ash_p, ash_b, ash_s, scale, dice. And
gradnorm reads how the head would have to change. The label is that of the largest logit of the network itself. N
images, C known classes, D feature width. Percentiles are between 0 and 100.

What they need: a head that is linear on the features that are kept, see outputs.Outputs.head; where features are
divided by sums of themselves, none below 0, as after a ReLU. Each raises ValueError where that is not so.
"""

from collections.abc import Callable

import numpy as np

from cac_core import shell
from cac_core.scoring.arrays import at_least, blocks, log_sum_exp, softmax
from cac_core.scoring.features import featured
from cac_core.scoring.outputs import Judge, Outputs, Verdict, unmirrored
from cac_core.sentences import say


def headed(train: Outputs) -> tuple[np.ndarray, np.ndarray]:
    """The weights [C, D] and biases [C] of the head, in float64. Raises ValueError where the outputs hold none."""
    if featured(train).head is None:
        raise ValueError(say(
            "This run holds no linear head on its features, which this score reads. That of plain and small looks at "
            "every place of the image, those of supcon and cider at directions, and an ensemble has several; where it "
            "is another network, written by an older version, write its outputs again with:\n"
            "    {command}",
            command=shell.command("eval", "RUN", "--again"),
        ))  # fmt: skip
    return train.head[:, :-1].astype(np.float64), train.head[:, -1].astype(np.float64)


def positive(train: Outputs) -> None:
    """Raises ValueError where the outputs hold no head, or a feature below 0."""
    headed(train)
    if (least := train.features.min(initial=0)) < 0:
        raise ValueError(say(
            "This score divides features by sums of them, so none may be below 0, as after a ReLU; those of this "
            "network go down to {least}.",
            least=f"{least:.3g}",
        ))  # fmt: skip


def percentile(value: float, what: str) -> float:
    if not 0 <= value < 100:
        raise ValueError(say("{what} must be at least 0 and below 100, not {value}.", what=what, value=value))
    return value


# --- features by the head --------------------------------------------------------------------------------------------


def residual(train: Outputs, *, dim: int = 0) -> Judge:
    """The length of what is left of the features outside the `dim` directions in which training features are largest.

    Wang et al., CVPR 2022, section 4 (there also a score by itself): features less the origin o = - W^+ b; the
    directions are the first eigenvectors of the second moments about o. dim 0 is the authors' 1000 from width 2048 on
    and 512 below; where features are narrower than 768, half the width; and never less than there are classes, which
    span as many. OpenOOD and pytorch-ood have dim given, and OpenOOD's residual is fitted on validation images.
    """
    left, _ = _outside(train, dim)
    return lambda out: Verdict(left(out.features), out.logits.argmax(1))


def vim(train: Outputs, *, dim: int = 0) -> Judge:
    """Virtual-logit matching: alpha times the `residual` less logsumexp of the logits.

    Wang et al., CVPR 2022, section 4: alpha is the mean of the largest training logits over the mean training residual,
    so that the virtual logit is as large as a real one. The score is the logarithm of what the virtual one is to the
    others, as in the authors' code, OpenOOD and pytorch-ood; the paper's is its softmax, which ranks the same and
    saturates. Raises ValueError where the largest logits are below 0 on average: alpha would turn the residual round.
    """
    left, residuals = _outside(train, dim)
    largest = unmirrored(train, train.logits).max(1).mean(dtype=np.float64)
    if largest <= 0:
        raise ValueError(say(
            "vim brings the residual to the size of the largest logits, which must be positive; those of the training "
            "images are {mean} on average.",
            mean=f"{largest:.3g}",
        ))  # fmt: skip
    alpha = largest / mean if (mean := residuals.mean()) > 0 else 0.0

    def judge(out: Outputs) -> Verdict:
        return Verdict(alpha * left(out.features) - log_sum_exp(out.logits.astype(np.float64)), out.logits.argmax(1))

    return judge


def _outside(train: Outputs, dim: int) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """The lengths outside the principal directions: of any features, and those of the training images."""
    at_least(dim, 0, "dim")
    weights, biases = headed(train)
    classes, width = weights.shape
    if not dim:
        dim = min(max(1000 if width >= 2048 else 512 if width >= 768 else width // 2, classes), width - 1)
    if dim >= width:
        raise ValueError(say(
            "dim={dim} leaves nothing of features of width {width}; take fewer.", dim=dim, width=width
        ))  # fmt: skip
    origin, features = -np.linalg.pinv(weights) @ biases, unmirrored(train, train.features)
    moments = np.zeros((width, width))
    for rows in blocks(len(features), 8 * width):
        x = features[rows] - origin
        moments += x.T @ x
    rest = np.linalg.eigh(moments / len(features))[1][:, : width - dim]

    def left(some: np.ndarray) -> np.ndarray:
        length = np.empty(len(some))
        for rows in blocks(len(some), 8 * width):
            x = (some[rows] - origin) @ rest
            length[rows] = np.sqrt(np.einsum("nr,nr->n", x, x))
        return length

    return left, left(features)


def fdbd(train: Outputs) -> Judge:
    """- the mean distance of the features to the decision boundaries, over their distance from the training mean.

    Liu and Qin, ICML 2024: mean over c other than the predicted y of |z_y - z_c| / |w_y - w_c|,
    divided by |f - mu|, mu the mean of the training features (not of mirrored copies). As pytorch-ood; OpenOOD sums,
    which ranks the same, and chooses between |f - mu| and |f| by unknowns. Two classes with the same weights have no
    boundary, and none is counted.
    """
    weights, _ = headed(train)
    between = np.stack([np.linalg.norm(weights - w, axis=1) for w in weights])
    between[between == 0] = np.inf
    middle = unmirrored(train, train.features).mean(0, dtype=np.float64)

    def judge(out: Outputs) -> Verdict:
        z, label = out.logits.astype(np.float64), out.logits.argmax(1)
        boundary = ((z.max(1, keepdims=True) - z) / between[label]).sum(1) / (z.shape[1] - 1)
        away = np.empty(len(out))
        for rows in blocks(len(out), 8 * len(middle)):
            gap = out.features[rows] - middle
            away[rows] = np.sqrt(np.einsum("nd,nd->n", gap, gap))
        return Verdict(-boundary / np.maximum(away, 1e-12), label)

    return judge


# --- changed features, through the head ------------------------------------------------------------------------------


def react(train: Outputs, *, clip: float = 90.0) -> Judge:
    """- logsumexp of the logits of features cut off above c, the `clip`-th percentile of the training activations.

    Sun, Guo and Li, NeurIPS 2021: min(f, c), c over all activations of all training images (not of mirrored copies); 90
    is theirs. pytorch-ood is alike; OpenOOD takes the activations of validation images.
    """
    headed(train)
    values = unmirrored(train, train.features).astype(np.float32).ravel()  # a copy, which is put in order
    most = float(np.percentile(values, percentile(clip, "clip"), overwrite_input=True))
    return _through(train, lambda f: np.minimum(f, most))


def ash_p(train: Outputs, *, prune: float = 60.0) -> Judge:
    """Activation shaping by pruning: - logsumexp of the logits of features whose lowest `prune` % are set to 0.

    Djurisic et al., ICLR 2023; 60 is theirs for ImageNet, and what suits a network best only unknowns could tell. See
    `ash_s` for what is kept. pytorch-ood has 65 for all three where none is given; OpenOOD has ash_b alone, with 90, or
    chosen among seven by unknowns.
    """
    share = percentile(prune, "prune")
    return _through(train, lambda f: np.where(_largest(f, share), f, 0))


def ash_b(train: Outputs, *, prune: float = 65.0) -> Judge:
    """Activation shaping to two values: what `ash_p` keeps becomes one number, so that the sum stays what it was.

    Djurisic et al., ICLR 2023; 65 is theirs for ImageNet. See `ash_s` for what is kept.
    """
    share = percentile(prune, "prune")
    positive(train)

    def shaped(f: np.ndarray) -> np.ndarray:
        kept = _largest(f, share)
        return kept * (f.sum(1) / np.maximum(kept.sum(1), 1))[:, None]

    return _through(train, shaped)


def ash_s(train: Outputs, *, prune: float = 90.0) -> Judge:
    """Activation shaping by scale: what `ash_p` keeps, times exp(s1 / s2), the sums before and after pruning.

    Djurisic et al., ICLR 2023; 90 is theirs for ImageNet. Of an image's D features D - round(D prune /
    100), at least one, are kept, the largest. Those that tie with the last of them are kept, too, and zeros never are,
    so that the order of the features does not count; the authors' code, OpenOOD and pytorch-ood leave ties to topk,
    which matters to ash_b where fewer features are positive than are kept. As there the logits are changed by a factor
    that is far from 1, and only their order speaks.
    """
    share = percentile(prune, "prune")
    positive(train)

    def shaped(f: np.ndarray) -> np.ndarray:
        kept = np.where(_largest(f, share), f, 0)
        return kept * _factor(f, kept)

    return _through(train, shaped)


def scale(train: Outputs, *, prune: float = 85.0) -> Judge:
    """- logsumexp of the logits of all features times exp(s1 / s2), s1 their sum and s2 that of what `ash_s` keeps.

    Xu et al., ICLR 2024: ASH-S without its pruning; 85 as in OpenOOD; pytorch-ood has 65. Ties as in `ash_s`.
    """
    share = percentile(prune, "prune")
    positive(train)
    return _through(train, lambda f: f * _factor(f, np.where(_largest(f, share), f, 0)))


def dice(train: Outputs, *, sparsity: float = 90.0) -> Judge:
    """- logsumexp of the logits by those weights alone that contribute most to the training images.

    Sun and Li, ECCV 2022: the contribution of w_cd is w_cd times the mean of feature d over the training
    images (not the mirrored copies); weights at or below the `sparsity`-th percentile of all contributions become 0,
    the biases stay. 90 is theirs for CIFAR, 70 for ImageNet, chosen on noise. OpenOOD and pytorch-ood alike.
    """
    weights, biases = headed(train)
    contributions = weights * unmirrored(train, train.features).mean(0, dtype=np.float64)
    kept = contributions > np.percentile(contributions, percentile(sparsity, "sparsity"))
    return _through(train, lambda f: f, np.column_stack([np.where(kept, weights, 0), biases]))


def gradnorm(train: Outputs) -> Judge:
    """- the sum of the absolute gradients of KL(uniform || softmax) by the weights of the head: |f|_1 sum |p_c - 1/C|.

    Huang, Geng and Li, NeurIPS 2021: the gradient by W is (p - 1/C) f', whose sum of absolute
    values is that product, so no network has to go backward. The authors' code and OpenOOD sum over the classes where
    this is their mean, a factor of C, and take one image at a time; pytorch-ood takes all parameters where none are
    named, biases too. T is 1, as theirs.
    """
    headed(train)

    def judge(out: Outputs) -> Verdict:
        p = softmax(out.logits.astype(np.float64))
        length = np.empty(len(out))
        for rows in blocks(len(out), 8 * out.features.shape[1]):
            length[rows] = np.abs(out.features[rows]).sum(1, dtype=np.float64)
        return Verdict(-length * np.abs(p - 1 / p.shape[1]).sum(1), out.logits.argmax(1))

    return judge


MOST = 300.0  # of s1 / s2: exp of it is a number still, and it is reached where next to nothing is kept alone


def _factor(f: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """exp(s1 / s2) [N, 1] of features and of what is kept of them; of an image without any, exp 1."""
    before, after = f.sum(1), kept.sum(1)
    return np.exp(np.minimum(before / np.where(after > 0, after, 1), MOST))[:, None]


def _largest(f: np.ndarray, share: float) -> np.ndarray:
    """[N, D] whether a feature is among the largest of its image, beside a share of so many percent, and not 0."""
    width = f.shape[1]
    least = round(width * share / 100)
    least = np.partition(f, min(least, width - 1), 1)[:, min(least, width - 1)]
    return (f >= least[:, None]) & (f != 0)


def _through(train: Outputs, shaped: Callable[[np.ndarray], np.ndarray], head: np.ndarray | None = None) -> Judge:
    """The judge by - logsumexp of the logits that the head makes of shaped features [N, D]; head: another head."""
    weights, biases = headed(train)
    if head is not None:
        weights, biases = head[:, :-1], head[:, -1]

    def judge(out: Outputs) -> Verdict:
        score = np.empty(len(out))
        for rows in blocks(len(out), 32 * weights.shape[1]):
            z = shaped(out.features[rows].astype(np.float64)) @ weights.T + biases
            score[rows] = -log_sum_exp(z)
        return Verdict(score, out.logits.argmax(1))

    return judge


TRIED, ROUNDED = 1000, 1e-3  # images that a head is tried on; of the largest logit, what rounding in float32 leaves


def linear(head: np.ndarray, logits: np.ndarray, features: np.ndarray) -> bool:
    """Whether a head [C, D + 1] makes these logits of these features: W f + b on TRIED of the images, spread evenly.

    It does not where it reads every place of the image and what is kept is their mean, nor where logits are cosines.
    """
    if head.shape != (logits.shape[1], features.shape[1] + 1):
        return False
    some = np.unique(np.linspace(0, len(logits) - 1, TRIED).round().astype(int))
    made = features[some].astype(float) @ head[:, :-1].T.astype(float) + head[:, -1]
    return bool(np.abs(made - logits[some]).max() <= ROUNDED * max(1.0, float(np.abs(logits[some]).max())))
