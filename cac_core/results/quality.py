"""What a finished run is worth, in a word with its reason: from the intervals of its numbers, by limits stated here.

A person with few images reads 90 % and takes it for true. So the words go by the ends of 95 % intervals: what is called
usable is so for sure, what cannot be told from so few images is said to be that. Where there are no unknown test
images, classes that were left out of training stand in for them, see stand_ins.py: each is one draw, so that the
interval is that of a mean over classes. Shuffled pictures are told beside it and change no word.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cac_core import shell
from cac_core.recipe import IMPORTED, backbone_options
from cac_core.results import stand_ins
from cac_core.results.judge import UNKNOWN
from cac_core.results.stand_ins import Estimate
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.scorers import SCORERS, scorer_options
from cac_core.sentences import Sentence, say, together

KEEPS = 0.7  # of the knowns, kept and named right: usable from here on
CATCHES = 1 / 3  # of the unknowns
EACH = 0.5  # of every single class: a run that loses one for sure is not usable
CLOSE = 0.1  # an interval of this much to either side is close enough to judge by
FAR = 0.75  # an AUROC of that much can be ruled out before a run is called no better than chance
USABLE, WEAK, CHANCE, FEW = WORDS = (
    say("usable"),
    say("weak"),
    say("no better than chance"),
    say("cannot be told: too few images"),
)


TESTED, LEFT_OUT = (
    say("the unknown test images"),
    say("known classes that were left out of training, each in turn"),
)


@dataclass(frozen=True)
class Quality:
    """One of WORDS, why, and what would help most, where something would.

    rests_on: TESTED or LEFT_OUT, what was taken for unknown, None where there was nothing; of the latter, left_out has
    each class's name, and how many were caught of how many images. beside: what is caught of shuffled pictures.
    """

    word: Sentence
    why: Sentence
    advice: Sentence | None = None
    rests_on: Sentence | None = None
    left_out: tuple[tuple[str, int, int], ...] = ()
    beside: Sentence | None = None

    def record(self) -> dict[str, str]:
        """For JSON."""
        why = together([part for part in (self.why, self.beside) if part], "; ")
        said = {"word": self.word, "why": why, "rests_on": self.rests_on, "advice": self.advice}
        return {name: str(value) for name, value in said.items() if value}


@dataclass(frozen=True)
class Evidence:
    """What was counted at theta, and the ends of two 95 % intervals.

    right of knowns test images were kept and named right, caught of unknowns rejected; auroc (low, high); accuracy, the
    low and high share of the knowns whose nearest class is theirs, of so many classes. left_out: (caught, images) of
    each class that stands in for unknown ones, where unknowns is 0; auroc is then theirs.
    """

    right: int
    knowns: int
    caught: int
    unknowns: int
    auroc: tuple[float, float]
    accuracy: tuple[float, float]
    classes: int
    left_out: tuple[tuple[int, int], ...] = ()


def of_report(numbers: dict[str, Any], run: Run) -> Quality:
    """The quality of a run by one scorer's report, as `judge.report` makes it or report.json holds it."""
    scorer, options = numbers.get("scorer", ""), numbers.get("options", {})
    usual = scorer in SCORERS and options.items() <= scorer_options(scorer).items()
    return of_counts(numbers["confusion"], numbers["intervals"], run, scorer, numbers.get("level"), usual)


def of_counts(
    confusion: list[list[int]],
    intervals: dict[str, Sequence[float | None]],
    run: Run,
    scorer: str,
    level: float | None,
    usual: bool = True,
) -> Quality:
    """The quality by `metrics.confusion` and `metrics.intervals` at a theta.

    level is that theta's, see `stand_ins.level_of`; usual: whether images are judged as they are, by the score's own
    options and one theta for all. Both tell only where there are no unknown test images.
    """
    known, unknowns = confusion[:-1], sum(confusion[-1])
    auroc, accuracy = (tuple(math.nan if x is None else x for x in intervals[name]) for name in ("auroc", "accuracy"))
    found = None if unknowns else _stood_in(run, scorer, level, usual)
    told = isinstance(found, Estimate) and bool(found.classes)
    if told:
        auroc = metrics.over_classes(found.aurocs, sum(of for *_, of in found.classes))
    seen = Evidence(
        right=sum(row[c] for c, row in enumerate(known)),
        knowns=sum(map(sum, known)),
        caught=confusion[-1][-1],
        unknowns=unknowns,
        classes=len(known),
        auroc=auroc,
        accuracy=accuracy,
        left_out=tuple((hits, of) for _, hits, of in found.classes) if told else (),
    )
    quality = of(seen)
    if quality.word == USABLE and (lost := _lost(known, run.known_names)):
        quality = Quality(WEAK, together([quality.why, lost], "; "))
    if quality.word in (WEAK, CHANCE):
        quality = replace(quality, advice=advice(confusion, run))
    if unknowns:
        return quality
    if not told and seen.knowns:
        lacking = _none_left_out(run) if isinstance(found, Estimate) or found is None else found
        quality = replace(quality, why=together([quality.why, lacking], "; "), advice=_needed(0.5))
    if not isinstance(found, Estimate):
        return quality
    names, beside = run.known_names, None
    if found.shuffled:
        hits, count = found.shuffled
        beside = say(
            "of {count} test images whose patches were shuffled, which are easier to tell, it catches {share}",
            count=count, share=_share(hits, count, metrics.wilson(hits, count)),
        )  # fmt: skip
    return replace(quality, left_out=tuple((names[c], hits, of) for c, hits, of in found.classes), beside=beside)


def _stood_in(run: Run, scorer: str, level: float | None, usual: bool) -> Estimate | Sentence | None:
    """What the run's report says of stand-ins; a sentence where that is not of what is set, None where it has none."""
    kept = run.report().get("stand_ins")
    if not kept:
        return None
    if not usual:
        return say(
            "what it catches was estimated for images as they are, the score's own options and one θ for all classes: "
            "go back to these"
        )
    if level is None:
        return say("θ lies above the scores of all validation images: what it catches there cannot be estimated")
    return stand_ins.estimate(kept, scorer, level, len(run.known_names))


def _none_left_out(run: Run) -> Sentence:
    """Why no class of this run was left out, and what would mend it."""
    if len(run.known_names) < 3:
        return say("of two known classes none can be left out: a third one would give an estimate")
    if run.recipe.backbone == IMPORTED:
        return say("its outputs were imported, so no class can be left out of training: unknown images tell")
    if "thaw" not in backbone_options(run.recipe.backbone) or run.recipe.trunk.get("thaw"):
        return say(
            "its network has learnt all its classes, so that none can stand in for an unknown one: for an estimate "
            "train with the preset photos and thaw 0, or with one of the classes as unknown"
        )
    if run.report().get("stand_ins"):
        return say("leaving known classes out tells nothing of this score here: more images, or another score, would")
    again = shell.command("eval", run.path, "--again")
    return say("what it catches has not been estimated yet: {command}", command=again)


def of(seen: Evidence) -> Quality:
    """The word for what was seen.

    usable where both shares are above their limits for sure; weak where one of them is below for sure, or where the
    intervals are close and still do not tell; no better than chance where, besides, the AUROC may be 50 % and is not
    FAR above, or the names of the classes may be guessed; and else it cannot be told. Of classes left out the share
    caught is the mean over them, and its interval that of `metrics.over_classes`.
    """
    if not seen.knowns:
        return Quality(FEW, say("there are no known test images"))
    right = metrics.wilson(seen.right, seen.knowns)
    keeps = say(
        "it keeps and names right {right} of the {knowns} known test images",
        right=_share(seen.right, seen.knowns, right), knowns=seen.knowns,
    )  # fmt: skip
    if seen.unknowns:
        caught, rests_on = metrics.wilson(seen.caught, seen.unknowns), TESTED
        shares = say(
            "it keeps and names right {right} of the {knowns} known test images, and catches {caught} of the "
            "{unknowns} unknown ones",
            right=_share(seen.right, seen.knowns, right), knowns=seen.knowns,
            caught=_share(seen.caught, seen.unknowns, caught), unknowns=seen.unknowns,
        )  # fmt: skip
    elif seen.left_out:
        each, rests_on = [hits / of for hits, of in seen.left_out], LEFT_OUT
        caught = metrics.over_classes(each, sum(of for _, of in seen.left_out))
        mean = sum(each) / len(each)
        estimated = say(
            "no unknown images are here, so this is estimated by leaving {count} known classes out of training, each "
            "in turn: {caught} of such a class is caught on average",
            count=len(each), caught=_percents(mean, caught),
        )  # fmt: skip
        shares = together([keeps, estimated], "; ")
    else:
        return Quality(FEW, together([say("there are no unknown test images"), keeps], "; "))
    limits = say(
        "to be called usable, these intervals must lie above {keeps} and {catches}",
        keeps=_percent(KEEPS), catches=_percent(CATCHES),
    )  # fmt: skip
    if right[0] >= KEEPS and caught[0] >= CATCHES:
        return Quality(USABLE, shares, rests_on=rests_on)
    if seen.auroc[0] <= 0.5 and seen.auroc[1] <= FAR:
        why = say(
            "its scores tell unknown from known no better than a coin does: AUROC {low} to {high}",
            low=_percent(seen.auroc[0]), high=_percent(seen.auroc[1]),
        )  # fmt: skip
        return Quality(CHANCE, together([why, shares], "; "), rests_on=rests_on)
    if seen.classes > 1 and seen.accuracy[0] <= 1 / seen.classes and seen.accuracy[1] <= 2 / seen.classes:
        why = say("it names the knowns no better than a guess among {count} classes does", count=seen.classes)
        return Quality(CHANCE, together([why, shares], "; "), rests_on=rests_on)
    weak = Quality(WEAK, together([shares, limits], "; "), rests_on=rests_on)
    if right[1] < KEEPS or caught[1] < CATCHES:
        return weak
    lacking = {}
    if more := _lacking(seen.right, seen.knowns):
        lacking["knowns"] = say("{count} more known test images", count=more)
    if not seen.unknowns:
        few = Quality(FEW, together([shares, limits], "; "), rests_on=rests_on)
        if caught[1] - caught[0] > 2 * CLOSE:
            return replace(few, advice=_needed(mean))
        return few if lacking else weak
    if more := _lacking(seen.caught, seen.unknowns):
        lacking["unknowns"] = say("{count} more unknown test images", count=more)
    if not lacking:
        return weak
    needed = say("intervals of ± 10 points take {images}", images=together(lacking.values(), say(" and ")))
    return Quality(FEW, together([shares, needed], "; "), rests_on=rests_on)


def _needed(share: float) -> Sentence:
    """How many unknown test images would tell, where there are none and about this share of them is caught."""
    n = next(n for n in itertools.count(1) if (ends := metrics.wilson(share * n, n))[1] - ends[0] <= 2 * CLOSE)
    return say(
        "Pictures of what it must not know would tell: {count} of them among the test images, as an unknown class, "
        "give an interval of ± 10 points.",
        count=n,
    )  # fmt: skip


def _lacking(hits: int, of: int) -> int:
    """How many more images an interval of CLOSE to either side needs, if they go on as these."""
    n = of
    while True:
        low, high = metrics.wilson(round(hits * n / of), n)
        if high - low <= 2 * CLOSE:
            return n - of
        n += 1


def _lost(known: list[list[int]], names: Sequence[str]) -> Sentence | None:
    """The class that is kept and named right least often, where that is for sure less than EACH; few images of it do
    not weigh much in the share of all."""
    shares = [(metrics.wilson(row[c], sum(row))[1], row[c], sum(row), c) for c, row in enumerate(known) if sum(row)]
    high, right, of, c = min(shares)
    if high >= EACH:
        return None
    return say("but of {name} only {right} of {of} are kept and named right", name=names[c], right=right, of=of)


def advice(confusion: list[list[int]], run: Run) -> Sentence:
    """What would help most: a network that has seen more, or images of the class that is told worst."""
    if run.recipe.backbone == IMPORTED:
        return say("Another score may tell them better: the page Thresholds compares all.")
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
    return _percents(hits / of, interval)


def _percents(share: float, interval: tuple[float, float]) -> Sentence:
    low, high = map(_percent, interval)
    return say("{share} ({low} to {high})", share=_percent(share), low=low, high=high)


def _percent(share: float) -> str:
    """Whole percents; what is not all does not read 100, and what is not nothing not 0."""
    whole, most = round(100 * share), 1 - 1e-9  # an interval up to 1 ends there to within rounding
    return f"{min(max(whole, 1), 99) if 1 - most < share < most else whole} %"
