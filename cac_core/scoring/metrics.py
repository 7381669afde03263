"""Metrics of open-set recognition, from a Verdict and the labels. Numpy only.

N images, C known classes. Labels are 0 to C - 1, or -1 for unknown; unknown is the positive class. A score is higher
the more unknown an image looks, and an image is rejected when score > theta. Shares lie between 0 and 1. A number that
the images cannot give (no unknowns, no knowns) is nan.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from cac_core.scoring.outputs import Verdict
from cac_core.sentences import say

NAN = float("nan")


def report(verdict: Verdict, labels: np.ndarray) -> dict[str, float]:
    """The numbers that need no threshold.

    accuracy: share of known images whose nearest class is theirs, rejected or not. auroc; aupr_known and aupr_unknown:
    average precision with that side as the positive one. fpr_at_95_knowns_kept: unknowns accepted at the theta that
    keeps 95 % of the knowns; fpr_at_95_unknowns_caught: knowns rejected at the theta that catches 95 % of the
    unknowns (the two conventions in the literature). oscr: area under correct classification against unknowns accepted.
    """
    known = labels >= 0
    right = verdict.label[known] == labels[known]
    k, u = verdict.score[known], verdict.score[~known]
    numbers = {"accuracy": float(right.mean()) if len(k) else NAN}
    curve = Curve(k, u, right)
    return numbers | {
        "auroc": curve.auroc(),
        "aupr_known": curve.aupr_known(),
        "aupr_unknown": curve.aupr_unknown(),
        "fpr_at_95_knowns_kept": curve.unknowns_accepted_at(0.95),
        "fpr_at_95_unknowns_caught": curve.knowns_rejected_at(0.95),
        "oscr": curve.oscr(),
    }


class Curve:
    """Every threshold at once: what is accepted at each distinct score, from the lowest up.

    known [K], unknown [U] scores; right [K] whether each known is classified right. kept, right and accepted hold the
    numbers of knowns, right knowns and unknowns with score <= theta, for each theta in thetas, ascending.
    """

    def __init__(self, known: np.ndarray, unknown: np.ndarray, right: np.ndarray | None = None):
        self.n_known, self.n_unknown = len(known), len(unknown)
        scores = np.concatenate([known, unknown])
        if not np.isfinite(scores).all():
            raise ValueError(say(
                "{count} of {all} scores are not finite numbers.",
                count=(~np.isfinite(scores)).sum(), all=len(scores),
            ))  # fmt: skip
        order = np.argsort(scores, kind="stable")
        scores = scores[order]
        last = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True]) if len(scores) else np.zeros(0, int)
        is_known = order < self.n_known
        counted = np.cumsum(is_known)
        self.thetas = scores[last]
        self.kept = counted[last]
        self.accepted = last + 1 - self.kept
        if right is None:
            right = np.ones(self.n_known, bool)
        self.right = np.cumsum(np.r_[right, np.zeros(self.n_unknown, bool)][order])[last]

    def auroc(self) -> float:
        if not self.n_known or not self.n_unknown:
            return NAN
        # pairs in which the unknown scores higher; ties count half
        accepted = np.diff(self.accepted, prepend=0)
        kept_before = np.r_[0, self.kept[:-1]]
        pairs = (accepted * (kept_before + np.diff(self.kept, prepend=0) / 2)).sum()
        return float(pairs / (self.n_known * self.n_unknown))

    def aupr_known(self) -> float:
        """Average precision, knowns positive: the accepted images, theta going up."""
        return _average_precision(self.kept, self.kept + self.accepted)

    def aupr_unknown(self) -> float:
        """Average precision, unknowns positive: the rejected images, theta going down."""
        # scores at or above each distinct value, the highest first
        caught = self.n_unknown - np.r_[0, self.accepted[:-1]]
        rejected = caught + self.n_known - np.r_[0, self.kept[:-1]]
        return _average_precision(caught[::-1], rejected[::-1])

    def unknowns_accepted_at(self, kept: float) -> float:
        """Share of unknowns with score <= the lowest theta that keeps this share of the knowns."""
        if not self.n_known or not self.n_unknown:
            return NAN
        return float(self.accepted[np.searchsorted(self.kept, kept * self.n_known - 1e-9)] / self.n_unknown)

    def knowns_rejected_at(self, caught: float) -> float:
        """Share of knowns with score >= the highest score at or above which this share of the unknowns lies."""
        if not self.n_known or not self.n_unknown:
            return NAN
        reach = self.n_unknown - np.r_[0, self.accepted[:-1]]  # unknowns at or above each value, falling
        place = np.flatnonzero(reach >= caught * self.n_unknown - 1e-9)[-1]
        return float((self.n_known - (self.kept[place - 1] if place else 0)) / self.n_known)

    def oscr(self) -> float:
        """Area under the share of knowns accepted and right against the share of unknowns accepted (trapezoids).

        Dhamija et al., NeurIPS 2018; the area as in Chen et al., TPAMI 2021.
        """
        if not self.n_known or not self.n_unknown:
            return NAN
        x, y = np.r_[0, self.accepted] / self.n_unknown, np.r_[0, self.right] / self.n_known
        return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _average_precision(hits: np.ndarray, taken: np.ndarray) -> float:
    """Sum of precision times the gain in recall, hits positives among taken, growing."""
    if not len(hits) or hits[-1] == 0 or hits[-1] == taken[-1]:
        return NAN
    return float((np.diff(hits, prepend=0) / hits[-1] * hits / taken).sum())


def roc(verdict: Verdict, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The ROC curve: thetas [M] falling, rejected_knowns [M] and caught_unknowns [M] shares, from (0, 0) to (1, 1)."""
    known = labels >= 0
    curve = Curve(verdict.score[known], verdict.score[~known])
    kept, accepted = np.r_[0, curve.kept][::-1], np.r_[0, curve.accepted][::-1]
    return {
        "thetas": np.r_[-np.inf, curve.thetas][::-1],
        "rejected_knowns": 1 - kept / max(curve.n_known, 1),
        "caught_unknowns": 1 - accepted / max(curve.n_unknown, 1),
    }


# --- at one theta ----------------------------------------------------------------------------------------------------


def at(theta: float, verdict: Verdict, labels: np.ndarray, classes: int) -> dict[str, float]:
    """What theta does: shares of knowns kept, of knowns kept and right, of unknowns caught, and macro-F1.

    macro-F1 is over the C known classes and "unknown" as one more.
    """
    table = confusion(theta, verdict, labels, classes)
    n_known, n_unknown = table[:-1].sum(), table[-1].sum()
    hits, named, true = np.diag(table), table.sum(0), table.sum(1)
    with np.errstate(invalid="ignore"):
        f1 = np.where(named + true > 0, 2 * hits / np.maximum(named + true, 1), NAN)
    return {
        "knowns_kept": float(table[:-1, :-1].sum() / n_known) if n_known else NAN,
        "knowns_kept_and_right": float(hits[:-1].sum() / n_known) if n_known else NAN,
        "unknowns_caught": float(table[-1, -1] / n_unknown) if n_unknown else NAN,
        "macro_f1": float(np.nanmean(f1)) if n_known + n_unknown else NAN,
    }


def rejected(scores: np.ndarray, theta: float | np.ndarray) -> np.ndarray:
    """Which scores reject their image: those above theta, and those that are no numbers."""
    return ~(scores <= theta)


def confusion(theta: float, verdict: Verdict, labels: np.ndarray, classes: int) -> np.ndarray:
    """Counts [C + 1, C + 1]: rows the truth, columns the decision, the last of each "unknown"."""
    decision = np.where(rejected(verdict.score, theta), classes, verdict.label).astype(np.int64)
    truth = np.where(labels < 0, classes, labels).astype(np.int64)  # labels may be so narrow that a place overflows
    return np.bincount(truth * (classes + 1) + decision, minlength=(classes + 1) ** 2).reshape(classes + 1, -1)


def theta_at(kept: float, scores: np.ndarray) -> float:
    """The lowest theta by which new images are kept at least to this share on average, from the scores [N] of others.

    The conformal one, of rank ceil(kept (N + 1)) (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
    2005): it keeps the share of images of the same kind that neither the network nor theta has seen, on average over
    the N drawn. Where that rank is beyond N nothing can promise the share, and theta is the largest score; `lacking`
    says how many images are missing. Meant for validation knowns: it needs no unknown image. Raises ValueError for a
    share outside (0, 1] or no scores.
    """
    if not 0 < kept <= 1:
        raise ValueError(say("The share of knowns to keep lies above 0 and at most at 1, not {kept}.", kept=kept))
    if not len(scores):
        raise ValueError(say("A threshold needs at least one known image to keep."))
    return float(np.sort(scores)[min(_rank(kept, len(scores)), len(scores)) - 1])


def lacking(kept: float, n: int) -> float:
    """How many images more than n `theta_at` needs for its promise; 0 where n are enough, inf for a share of 1."""
    if kept == 1:
        return math.inf
    enough = math.ceil(kept / (1 - kept) - 1e-9)
    return max(enough - n, 0)


def _rank(kept: float, n: int) -> int:
    return max(math.ceil(kept * (n + 1) - 1e-9), 1)


def theta_youden(verdict: Verdict, labels: np.ndarray) -> float:
    """ORACLE, it looks at unknowns: the theta with the largest share of unknowns caught minus knowns rejected.

    The highest of them where several are equal.
    """
    curve = roc(verdict, labels)
    return float(curve["thetas"][np.argmax((curve["caught_unknowns"] - curve["rejected_knowns"]).round(12))])


def theta_at_fpr(accepted: float, verdict: Verdict, labels: np.ndarray) -> float:
    """ORACLE, it looks at unknowns: the highest theta that accepts at most this share of the unknowns."""
    if not 0 <= accepted <= 1:
        raise ValueError(
            say("The share of unknowns to accept lies between 0 and 1, not {accepted}.", accepted=accepted)
        )
    curve = roc(verdict, labels)
    return float(curve["thetas"][np.argmax(1 - curve["caught_unknowns"] <= accepted + 1e-9)])


def theta_at_cost(ratio: float, share: float, verdict: Verdict, labels: np.ndarray) -> float:
    """ORACLE, it looks at unknowns: the theta of the least cost, the highest of them where several are equal.

    Rejecting a known costs 1, accepting an unknown `ratio`; `share` of the images in use are unknown.
    """
    if not (math.isfinite(ratio) and ratio > 0) or not 0 <= share <= 1:
        raise ValueError(say(
            "A cost ratio is above 0 and a share of unknowns between 0 and 1, not {ratio} and {share}.",
            ratio=ratio, share=share,
        ))  # fmt: skip
    curve = roc(verdict, labels)
    cost = (1 - share) * curve["rejected_knowns"] + ratio * share * (1 - curve["caught_unknowns"])
    return float(curve["thetas"][np.argmin(cost.round(12))])


# --- how sure --------------------------------------------------------------------------------------------------------


def wilson(hits: float, of: float, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a share. Wilson, JASA 1927."""
    if not of:
        return NAN, NAN
    z = normal(level)
    share, spread = hits / of, z * z / of
    middle, half = share + spread / 2, z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    # of none and of all an end is 0 or 1 itself, which rounding would miss
    low = max(0.0, (middle - half) / (1 + spread)) if hits else 0.0
    return low, min(1.0, (middle + half) / (1 + spread)) if hits < of else 1.0


def over_classes(shares: Sequence[float], images: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the mean over classes of a share [C] that was counted in each, images in all.

    The classes are the units: they are the draw, and another class would have another share. Wilson's interval at the
    mean p with n images in the place of theirs: n = p (1 - p) / v, v the variance of that mean between the classes,
    times (z / t)^2, t of C degrees of freedom (Korn and Graubard, Survey Methodology 1998). One class more, that is
    caught wholly or not at all, is added to the variance: without it the end below is too high where shares are near 1
    (30 % instead of 2.5 % of intervals of six classes). n is C at least, as if each class were one image, since no
    share varies more than that, and images at most.
    """
    count = len(shares)
    if not count:
        return NAN, NAN
    from scipy.special import stdtrit

    mean = float(np.mean(shares))
    unseen = (mean * count + 0.5) / (count + 1)
    spread = (float(np.square(np.subtract(shares, mean)).sum()) + unseen * (1 - unseen)) / count
    fewer = (normal(level) / float(stdtrit(count, (1 + level) / 2))) ** 2
    n = max(count, min(fewer * mean * (1 - mean) / (spread / count), images))
    return wilson(mean * n, n, level)


def delong(verdict: Verdict, labels: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the AUROC, which covers near 1 too: Beta quantiles by DeLong's variance.

    y = min(A, 1 - A) is the distance from the nearer end, v its variance (DeLong et al., Biometrics 1988, by ranks as
    Sun and Xu, IEEE SPL 2014), w = (1/2 - y) / min(K, U) what one more image costs that looks just like the other side.
    The end nearby is the quantile of the Beta with mean y and variance v, the end far off that of the Beta with mean
    y + w and variance v + w^2: shares by an effective number of images (Korn and Graubard, Survey Methodology 1998),
    the far end with the event that was not seen (Fay and Feuer, Statistics in Medicine 1997; theirs costs as much as
    the worst, and is too careful here). DeLong's own interval, A -+ z sqrt(v), holds too little near 1: 0.71 instead of
    0.95 with 20 + 20 images at .986, and nothing but 1 where the two sides are apart. On the logit scale it still holds
    0.77 with 215 + 144 images at .995 where the unknowns spread three times as wide.
    """
    of_unknown, of_known = _placed(verdict, labels)
    area = float(of_unknown.mean())
    if math.isnan(area):
        return NAN, NAN
    y, v = min(area, 1 - area), _variance(of_unknown, of_known)
    w = (0.5 - y) / min(len(of_unknown), len(of_known))
    near, far = _beta(y, v, (1 - level) / 2, 0.0), _beta(y + w, v + w * w, (1 + level) / 2, 1.0)
    return (near, far) if area < 0.5 else (1 - far, 1 - near)


def _beta(mean: float, variance: float, share: float, end: float) -> float:
    """Quantile of the Beta with this mean and variance; end where no Beta is as wide as that."""
    from scipy.special import betaincinv

    if variance <= 0 or mean <= 0:
        return mean
    images = mean * (1 - mean) / variance - 1
    return float(betaincinv(mean * images, (1 - mean) * images, share)) if images > 0 else end


def delong_difference(
    one: Verdict, other: Verdict, labels: np.ndarray, level: float = 0.95
) -> tuple[float, float, float]:
    """AUROC of one less that of the other on the same images, and the confidence interval of the difference.

    DeLong et al., Biometrics 1988: paired, so that what both find hard or easy cancels out. To their variance comes
    that of what was not seen, without which the interval is far too narrow where both are near 1, and a point where
    both are 1. The same order of the images gives exactly (0, 0, 0).
    """
    pairs = zip(_placed(one, labels), _placed(other, labels), strict=True)
    of_unknown, of_known = (a - b for a, b in pairs)
    gap = float(of_unknown.mean())
    if math.isnan(gap):
        return NAN, NAN, NAN
    half = normal(level) * math.sqrt(_variance(of_unknown, of_known) + unseen(one, other, labels))
    return gap, gap - half, gap + half


def normal(level: float) -> float:
    """z, within which a standard normal number lies with this probability."""
    return NormalDist().inv_cdf((1 + level) / 2)


def unseen(one: Verdict, other: Verdict, labels: np.ndarray) -> float:
    """Variance that one more image adds to the difference of two AUROCs or OSCRs: one that a single score mistakes.

    (1 - r) / (2 min(K, U)^2): such an image costs 1/2, as in `delong`, and is the rarer the more alike the two scores
    are; r is their rank correlation, the lower of that among the knowns and that among the unknowns.
    """
    known = labels >= 0
    unlike = max(_unlike(one.score[side], other.score[side]) for side in (known, ~known))
    return unlike / (2 * min(known.sum(), (~known).sum()) ** 2)


def _placed(verdict: Verdict, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each unknown the share of knowns that score lower; for each known the share of unknowns that score higher."""
    known = labels >= 0
    k, u = verdict.score[known], verdict.score[~known]
    if len(k) < 2 or len(u) < 2:
        return np.full(2, NAN), np.full(2, NAN)
    return _share_below(u, k), 1 - _share_below(k, u)


def _variance(of_unknown: np.ndarray, of_known: np.ndarray) -> float:
    return float(of_unknown.var(ddof=1) / len(of_unknown) + of_known.var(ddof=1) / len(of_known))


def _unlike(one: np.ndarray, other: np.ndarray) -> float:
    """1 - Spearman's rank correlation of two scores [N] of the same images; exactly 0 where their order is the same."""
    ranks = [_share_below(x, x) - 0.5 for x in (one, other)]
    a, b = (x / (x.std() or 1.0) for x in ranks)
    return float(((a - b) ** 2).mean() / 2)


def _share_below(x: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of x, the share of others below it; equal ones count half."""
    others = np.sort(others)
    return (np.searchsorted(others, x, "left") + np.searchsorted(others, x, "right")) / (2 * len(others))


def intervals(verdict: Verdict, labels: np.ndarray, theta: float) -> dict[str, tuple[float, float]]:
    """95 % confidence intervals of the AUROC (`delong`) and of the shares of images (Wilson)."""
    known = labels >= 0
    kept, right = verdict.score[known] <= theta, verdict.label[known] == labels[known]
    caught = rejected(verdict.score[~known], theta)
    return {
        "auroc": delong(verdict, labels),
        "accuracy": wilson(int(right.sum()), len(right)),
        "knowns_kept": wilson(int(kept.sum()), len(kept)),
        "knowns_kept_and_right": wilson(int((kept & right).sum()), len(kept)),
        "unknowns_caught": wilson(int(caught.sum()), len(caught)),
    }
