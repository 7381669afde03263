"""What a finished run is worth, in a word with its reason: from the intervals of its numbers, by limits stated here.

A person with few images reads 90 % and takes it for true. So the words go by the ends of 95 % intervals: what is called
usable is so for sure, what cannot be told from so few images is said to be that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cac_core.results.judge import UNKNOWN
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.sentences import Sentence, say, together

KEEPS = 0.7  # of the knowns, kept and named right: usable from here on
CATCHES = 1 / 3  # of the unknowns
CLOSE = 0.1  # an interval of this much to either side is close enough to judge by
FAR = 0.75  # an AUROC of that much can be ruled out before a run is called no better than chance
USABLE, WEAK, CHANCE, FEW = WORDS = (
    say("usable"),
    say("weak"),
    say("no better than chance"),
    say("cannot be told: too few images"),
)


@dataclass(frozen=True)
class Quality:
    """One of WORDS, why, and what would help most, where something would."""

    word: Sentence
    why: Sentence
    advice: Sentence | None = None

    def record(self) -> dict[str, str]:
        """For JSON."""
        said = {"word": str(self.word), "why": str(self.why)}
        return said | ({"advice": str(self.advice)} if self.advice else {})


@dataclass(frozen=True)
class Evidence:
    """What was counted at theta, and the ends of two 95 % intervals.

    right of knowns test images were kept and named right, caught of unknowns rejected; auroc (low, high); accuracy, the
    low and high share of the knowns whose nearest class is theirs, of so many classes.
    """

    right: int
    knowns: int
    caught: int
    unknowns: int
    auroc: tuple[float, float]
    accuracy: tuple[float, float]
    classes: int


def of_report(numbers: dict[str, Any], run: Run) -> Quality:
    """The quality of a run by one scorer's report, as `judge.report` makes it or report.json holds it."""
    return of_counts(numbers["confusion"], numbers["intervals"], run)


def of_counts(confusion: list[list[int]], intervals: dict[str, Sequence[float | None]], run: Run) -> Quality:
    """The quality by `metrics.confusion` and `metrics.intervals` at a theta."""
    known = confusion[:-1]
    found = of(
        Evidence(
            right=sum(row[c] for c, row in enumerate(known)),
            knowns=sum(map(sum, known)),
            caught=confusion[-1][-1],
            unknowns=sum(confusion[-1]),
            classes=len(known),
            **{name: tuple(math.nan if x is None else x for x in intervals[name]) for name in ("auroc", "accuracy")},
        )
    )
    if found.word in (WEAK, CHANCE):
        return Quality(found.word, found.why, advice(confusion, run))
    return found


def of(seen: Evidence) -> Quality:
    """The word for what was seen.

    usable where both shares are above their limits for sure; weak where one of them is below for sure, or where the
    intervals are close and still do not tell; no better than chance where, besides, the AUROC may be 50 % and is not
    FAR above, or the names of the classes may be guessed; and else it cannot be told.
    """
    if not seen.knowns or not seen.unknowns:
        missing = say("there are no unknown test images") if seen.knowns else say("there are no known test images")
        return Quality(FEW, missing)
    right, caught = metrics.wilson(seen.right, seen.knowns), metrics.wilson(seen.caught, seen.unknowns)
    shares = say(
        "it keeps and names right {right} of the {knowns} known test images, and catches {caught} of the {unknowns} "
        "unknown ones",
        right=_share(seen.right, seen.knowns, right), knowns=seen.knowns,
        caught=_share(seen.caught, seen.unknowns, caught), unknowns=seen.unknowns,
    )  # fmt: skip
    if right[0] >= KEEPS and caught[0] >= CATCHES:
        return Quality(USABLE, shares)
    if seen.auroc[0] <= 0.5 and seen.auroc[1] <= FAR:
        why = say(
            "its scores tell unknown from known no better than a coin does: AUROC {low} to {high}",
            low=_percent(seen.auroc[0]), high=_percent(seen.auroc[1]),
        )  # fmt: skip
        return Quality(CHANCE, together([why, shares], "; "))
    if seen.classes > 1 and seen.accuracy[0] <= 1 / seen.classes and seen.accuracy[1] <= 2 / seen.classes:
        why = say("it names the knowns no better than a guess among {count} classes does", count=seen.classes)
        return Quality(CHANCE, together([why, shares], "; "))
    limits = say(
        "to be called usable, these intervals must lie above {keeps} and {catches}",
        keeps=_percent(KEEPS), catches=_percent(CATCHES),
    )  # fmt: skip
    if right[1] < KEEPS or caught[1] < CATCHES:
        return Quality(WEAK, together([shares, limits], "; "))
    lacking = {}
    if more := _lacking(seen.right, seen.knowns):
        lacking["knowns"] = say("{count} more known test images", count=more)
    if more := _lacking(seen.caught, seen.unknowns):
        lacking["unknowns"] = say("{count} more unknown test images", count=more)
    if not lacking:
        return Quality(WEAK, together([shares, limits], "; "))
    needed = say("intervals of ± 10 points take {images}", images=together(lacking.values(), say(" and ")))
    return Quality(FEW, together([shares, needed], "; "))


def _lacking(hits: int, of: int) -> int:
    """How many more images an interval of CLOSE to either side needs, if they go on as these."""
    n = of
    while True:
        low, high = metrics.wilson(round(hits * n / of), n)
        if high - low <= 2 * CLOSE:
            return n - of
        n += 1


def advice(confusion: list[list[int]], run: Run) -> Sentence:
    """What would help most: a network that has seen more, or images of the class that is told worst."""
    if not run.recipe.backbone.startswith("efficientnet") and run.row.channels == 3:
        return say("A network that was trained on many photographs before helps most: train with the preset photos.")
    names = run.known_names
    counts = [(row[c] / sum(row), c, row[c], sum(row)) for c, row in enumerate(confusion[:-1]) if sum(row)]
    _, c, right, of = min(counts)
    row = [*confusion[c][:c], -1, *confusion[c][c + 1 :]]
    taken = row.index(max(row))
    return say(
        "More images of {name} would help most: {right} of its {of} test images are kept and named right, and most of "
        "the others are taken for {taken}.",
        name=names[c], right=right, of=of, taken=[*names, say(UNKNOWN)][taken],
    )  # fmt: skip


def _share(hits: int, of: int, interval: tuple[float, float]) -> Sentence:
    low, high = map(_percent, interval)
    return say("{share} ({low} to {high})", share=_percent(hits / of), low=low, high=high)


def _percent(share: float) -> str:
    """Whole percents; what is not all does not read 100, and what is not nothing not 0."""
    whole = round(100 * share)
    return f"{min(max(whole, 1), 99) if 0 < share < 1 else whole} %"
