"""What pictures of one's own say of a run, once somebody has labelled them. Numpy only.

N labelled pictures, C known classes. Labels are 0 to C - 1, or -1 for unknown. Whoever labels is the truth here; who
takes theta from these pictures and counts on the same ones reads better numbers than new pictures will give.
"""

from dataclasses import dataclass, replace

import numpy as np

from cac_core.results import quality
from cac_core.results.quality import Evidence, Quality
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from cac_core.sentences import say

OWN = say("pictures of one's own, labelled by hand")
RAISED = 1e-4  # of theta


@dataclass(frozen=True)
class Numbers:
    """Shares of the labelled pictures, nan where there are none, and the 95 % intervals of `metrics.intervals`.

    accuracy is that of the closed set: knowns whose nearest class is theirs, rejected or not.
    """

    knowns: int
    unknowns: int
    accuracy: float
    auroc: float
    kept: float
    kept_and_right: float
    caught: float
    intervals: dict[str, tuple[float, float]]
    quality: Quality


def measured(verdict: Verdict, labels: np.ndarray, theta: float, classes: int) -> Numbers:
    """What the labels [N] say of this verdict and theta."""
    said, shares = metrics.report(verdict, labels), metrics.at(theta, verdict, labels, classes)
    spread = metrics.intervals(verdict, labels, theta)
    known = labels >= 0
    return Numbers(
        knowns=int(known.sum()),
        unknowns=int((~known).sum()),
        accuracy=said["accuracy"],
        auroc=said["auroc"],
        kept=shares["knowns_kept"],
        kept_and_right=shares["knowns_kept_and_right"],
        caught=shares["unknowns_caught"],
        intervals=spread,
        quality=_quality(metrics.confusion(theta, verdict, labels, classes), spread),
    )


def _quality(table: np.ndarray, spread: dict[str, tuple[float, float]]) -> Quality:
    """The word for it, by the limits of `quality.of`, with what it rests on said as it is."""
    seen = Evidence(
        right=int(np.trace(table[:-1, :-1])), knowns=int(table[:-1].sum()), caught=int(table[-1, -1]),
        unknowns=int(table[-1].sum()), auroc=spread["auroc"], accuracy=spread["accuracy"], classes=len(table) - 1,
    )  # fmt: skip
    why = say(
        "of pictures of one's own, labelled by hand, {right} of {knowns} known ones are kept and named right, and "
        "{caught} of {unknowns} unknown ones are caught",
        right=seen.right, knowns=seen.knowns, caught=seen.caught, unknowns=seen.unknowns,
    )  # fmt: skip
    return replace(quality.of(seen), why=why, advice=None, rests_on=OWN)


def theta_kept(kept: float, verdict: Verdict, labels: np.ndarray) -> float:
    """The theta that keeps this share of new knowns like the labelled ones; see `metrics.theta_at` and `raised`.

    Raises ValueError where no known picture is labelled.
    """
    return raised(metrics.theta_at(kept, verdict.score[labels >= 0]), verdict.score)


def theta_balanced(verdict: Verdict, labels: np.ndarray) -> float:
    """The theta of the best balance on the labelled pictures, of which some are unknown; see `metrics.theta_youden`.

    No oracle, since the test unknowns stay unseen; but what it does to these very pictures flatters it.
    """
    return raised(metrics.theta_youden(verdict, labels), verdict.score)


def raised(theta: float, scores: np.ndarray) -> float:
    """A theta that lies on a score, a little higher: half way to the next of the scores [N] at most.

    The picture of that score is judged anew elsewhere, where a float32 may end in another digit, and should be kept
    there as well.
    """
    above = scores[scores > theta]
    room = (float(above.min()) - theta) / 2 if len(above) else np.inf
    return theta + min(room, RAISED * max(abs(theta), 1e-9))
