"""Runs and groups of runs, held against one another: numbers, differences with intervals, curves, images. Numpy only.

A member is a run, or all runs of one recipe that differ in trial and seed alone. Every trial counts once: a member's
number is the mean over its trials of the means over their seeds, in tables and in differences alike. Runs are ranked
together only where they were tested on the same trials, and compared only where they share trials with the same classes
and images: image by image where there is one run on either side, else trial by trial, or, on a single trial, seed by
seed. What images alone say is about two networks; only trials and seeds say something about methods, since training
again gives another network. What cannot be compared gets no interval.

K known and U unknown test images, B resamples, G places of a grid. Shares lie between 0 and 1; a number that the images
cannot give is nan.
"""

import dataclasses
import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cac_core.data.datasets import HELD_OUT
from cac_core.recipe import NAMES, Recipe, backbone_options, method_options
from cac_core.results import judge
from cac_core.results.table import PER_RUN, source_of
from cac_core.runs import SPLITS, Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from cac_core.scoring.scorers import judge_of
from cac_core.sentences import say

RANKED = ("auroc", "accuracy", "oscr", "fpr_at_95_knowns_kept")
AT_THETA = ("knowns_kept", "unknowns_caught")  # of each run's own theta: what one gains in one it loses in the other
MEASURES = RANKED + AT_THETA
LOWER_IS_BETTER = ("fpr_at_95_knowns_kept",)
MOST = 6  # members that a picture can hold
LEVEL = 0.95
GRID = np.linspace(0, 1, 201)
RESAMPLES = 2000
CHUNK = 1_000_000  # drawn images at a time, in a bootstrap


@dataclass(frozen=True, eq=False)
class Scored:
    """What one score says about the validation knowns and the test images of a run.

    split tells apart which images and classes were tested on: data set, family, trial, class lists and data digest.
    validation [V] are the scores of the validation knowns, from which theta comes, and validated_on says what these
    are, see Run. labels, classes, index [N] are those of the test images, as in Outputs; names are those of all classes
    by number, and marks [N] what each image is known by, None where its outputs do not say. scorer is the score.
    """

    id: str
    seed: int
    split: tuple
    validation: np.ndarray
    test: Verdict
    labels: np.ndarray
    classes: np.ndarray
    index: np.ndarray
    validated_on: str = HELD_OUT
    names: tuple[str, ...] = ()
    marks: np.ndarray | None = None
    scorer: str = ""

    @functools.cached_property
    def theta(self) -> float:
        return metrics.theta_at(judge.KEPT, self.validation)

    @property
    def field(self) -> tuple[str, str]:
        """Data set and family: numbers of different fields are on different classes, and are never compared."""
        dataset, family, trial, *_ = self.split
        return dataset, family if family != "custom" else f"custom ({trial})"

    def numbers(self) -> dict[str, float]:
        """Each of MEASURES."""
        accepted, known = self.test.score <= self.theta, self.labels >= 0
        here = dict(zip(AT_THETA, (accepted[known], ~accepted[~known]), strict=True))
        shares = {name: float(side.mean()) if len(side) else math.nan for name, side in here.items()}
        return metrics.report(self.test, self.labels) | shares

    @property
    def decision(self) -> np.ndarray:
        """[N] the class that an image is called, or -1 for unknown."""
        return np.where(metrics.rejected(self.test.score, self.theta), -1, self.test.label)


@dataclass(frozen=True)
class Member:
    name: str
    runs: tuple[Scored, ...]

    @property
    def fields(self) -> set[tuple[str, str]]:
        return {run.field for run in self.runs}

    @property
    def splits(self) -> frozenset[tuple]:
        """What the runs were tested on: only members of equal splits are ranked together."""
        return frozenset(run.split for run in self.runs)

    @property
    def trials(self) -> list[str]:
        return sorted({run.split[2] for run in self.runs}, key=lambda trial: (len(trial), trial))

    @property
    def scorers(self) -> list[str]:
        """The scores that its runs are judged by."""
        return list(dict.fromkeys(run.scorer for run in self.runs))

    def spread(self) -> dict[str, tuple[float, float]]:
        """Mean and sample standard deviation of each of MEASURES over the trials, each the mean of its seeds.

        On one trial, over its seeds; a single run has no deviation, nan.
        """
        return {name: (statistics.fmean(x), _sd(x)) for name, x in self._columns().items()}

    def _columns(self) -> dict[str, list[float]]:
        """Each of MEASURES by trial, or by seed where there is one trial."""
        blocks: dict[tuple, list[Scored]] = {}
        for run in self.runs:
            blocks.setdefault(run.split, []).append(run)
        trials = [_by_seed(block) for block in blocks.values()]
        parts = [[seed] for seed in trials[0]] if len(trials) == 1 else trials
        return {name: [statistics.fmean(seed[name] for seed in part) for part in parts] for name in MEASURES}


def _seeds(runs: list[Scored]) -> dict[int, list[Scored]]:
    """Runs of one recipe on one split by their seed. Those of one seed are copies of a training, and count as one."""
    found: dict[int, list[Scored]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        found.setdefault(run.seed, []).append(run)
    return found


def _by_seed(runs: list[Scored]) -> list[dict[str, float]]:
    """Each of MEASURES for each seed."""
    found = [[run.numbers() for run in same] for same in _seeds(runs).values()]
    return [{name: statistics.fmean(one[name] for one in same) for name in MEASURES} for same in found]


def _sd(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan


def scored(run: Run, scorer: str | None = None) -> Scored:
    """Judge a run by a score at its defaults; None is the one that its method rejects by."""
    train, validation, test = (run.outputs(split) for split in SPLITS)
    scorer = scorer or judge.default_of(run)
    judged, trial = judge_of(scorer, train, validation), run.trial
    split = (trial.dataset, trial.family, trial.index, trial.known, trial.unknown, run.record.get("data"))
    kept, said = judged(validation).score, judged(test)
    images = test.labels, test.classes, test.index
    named = tuple(run.class_names), run.marks(), scorer
    return Scored(run.id, run.recipe.seed, split, kept, said, *images, run.validated_on, *named)


Draw = Callable[[Scored], dict[str, np.ndarray]]

# --- which runs belong together --------------------------------------------------------------------------------------


def flat(recipe: Recipe) -> dict[str, Any]:
    """Every choice of a recipe by name, the options of its method and its network among them."""
    record = recipe.to_json()
    hyper, trunk = record.pop("hyper"), record.pop("trunk")
    return record | hyper | trunk


def differing(recipe: Recipe) -> dict[str, Any]:
    """What differs from the default recipe, but for the names that a table shows anyway."""
    known = PER_RUN | {"dataset", "family", "method", "backbone"}
    rest = {name: value for name, value in recipe.differences().items() if name not in known}
    hyper, trunk = rest.pop("hyper", {}), rest.pop("trunk", {})
    return rest | hyper | trunk


def grouped(
    chosen: list[Run], together: bool = True, titles: dict[str, str] | None = None,
    told: Callable[[str], str] = str,
) -> dict[str, list[Run]]:  # fmt: skip
    """Runs by the name of their group: one recipe, whatever the trial and the seed; each alone where not together.

    A name says the method, and in brackets what the groups of this method differ in; a single run with a title of its
    own, by id, goes by that. told says a sentence of the core, perhaps in another language. Raises ValueError where
    there are more groups than a picture can hold.
    """
    apart = [] if together else ["trial", "seed"]
    groups: dict[str, list[tuple[Run, dict]]] = {}
    for run in chosen:
        recipe = run.recipe
        every = method_options(recipe.method) | backbone_options(recipe.backbone) | flat(recipe)
        said = {name: value for name, value in every.items() if name not in PER_RUN or name in apart}
        if recipe.family == "custom":
            said["trial"] = recipe.trial
        said["weights"] = source_of(run)
        groups.setdefault(repr(sorted(said.items())) + (run.id if not together else ""), []).append((run, said))
    if len(groups) > MOST:
        raise ValueError(say(
            "These are {count} to compare; {most} at most fit into a picture. Choose fewer.",
            count=len(groups), most=MOST,
        ))  # fmt: skip
    named: dict[str, list[Run]] = {}
    for members in groups.values():
        run, said = members[0]
        alike = [theirs for (_, theirs), *_ in groups.values() if theirs["method"] == said["method"]]
        rest = [
            told(_words(name, value))
            for name, value in said.items()
            if len({repr(theirs[name]) for theirs in alike if name in theirs}) > 1
        ]
        name = (titles or {}).get(run.id, "") if len(members) == 1 else ""
        if not name:
            name = told(NAMES.get(said["method"], said["method"])) + (f" ({', '.join(rest)})" if rest else "")
        named[name if name not in named else f"{name} ({run.id})"] = [one for one, _ in members]
    return named


def _words(name: str, value: Any) -> str:
    if name == "trial":
        return say("trial {trials}", trials=value)
    if name == "seed":
        return say("seed {seed}", seed=value)
    if name == "weights":
        return say("weights {weights}", weights=value) if value else say("trained here")
    if name in ("dataset", "family", "backbone"):
        return value
    return f"{name.replace('_', ' ')} {f'{value:g}' if isinstance(value, float) else value}"


SPLIT = ("data set", "family", "trial", "classes", "classes", "images")  # what makes the split of a run


def differences_of_splits(members: list[Member]) -> list[str]:
    """In what the members' splits differ, in words; empty where all were tested on the same ones."""
    if len({frozenset(run.split for run in member.runs) for member in members}) < 2:
        return []
    parts = zip(*(run.split for member in members for run in member.runs), strict=True)
    return list(dict.fromkeys(name for name, said in zip(SPLIT, parts, strict=True) if len(set(said)) > 1))


# --- differences -----------------------------------------------------------------------------------------------------

OTHER_FIELD = "their data sets or families of class lists differ"
OTHER_TRIALS = "they share no trial with the same classes and images"
TOO_FEW = "they share one trial alone, and one of them has a single seed there"
SPEAKS = 3  # trials or seeds a side, from which on the interval over them is the answer


@dataclass(frozen=True)
class Difference:
    """A measure of one member less that of another, and its 95 % interval.

    over is "images", "trials" or "seeds", and count how many of them, the fewer of the two sides, and of images those
    that the measure is over; where nothing can be compared it is empty, the interval is nan, and why says the reason.
    """

    one: str
    other: str
    measure: str
    gap: float
    low: float = math.nan
    high: float = math.nan
    over: str = ""
    count: int = 0
    why: str = ""

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def speaks(self) -> bool:
        """Whether it is about methods: an interval over three or more trials or seeds, training noise in it."""
        return self.over in ("trials", "seeds") and self.count >= SPEAKS


def every_difference(members: list[Member]) -> list[Difference]:
    """The differences of every two members; each run is resampled once."""
    draw = functools.cache(resampled)
    return [d for one, other in itertools.combinations(members, 2) for d in differences(one, other, draw)]


def differences(one: Member, other: Member, draw: Draw | None = None) -> list[Difference]:
    """Each of MEASURES of one less the other's, over what they share; see the module's first lines.

    On one trial the same seeds are paired (t interval), others stand apart (Welch's, Biometrika 1947). draw(run) gives
    the run's measures on resampled images, as `resampled` does.
    """
    if len(one.runs) == len(other.runs) == 1 and (both := in_common(one.runs[0], other.runs[0])):
        return _by_images(one.name, other.name, both.one, both.other, draw or resampled)
    shared = _shared(one, other)
    if one.fields != other.fields or len(one.fields) > 1:
        return _unpaired(one, other, OTHER_FIELD)
    if not shared:
        return _unpaired(one, other, OTHER_TRIALS)
    if len(shared) > 1:
        return _by_blocks(one.name, other.name, shared, "trials")
    ((mine, theirs),) = shared
    ours, others = _seeds(mine), _seeds(theirs)
    if len(ours) == len(others) == 1:
        return _by_images(one.name, other.name, mine[0], theirs[0], draw or resampled)
    if min(len(ours), len(others)) < 2:
        return _unpaired(one, other, TOO_FEW)
    if ours.keys() == others.keys():
        return _by_blocks(one.name, other.name, [(ours[seed], others[seed]) for seed in ours], "seeds")
    return _apart(one.name, other.name, mine, theirs)


def over_recipes(members: list[Member]) -> list[Difference]:
    """The differences that speak about methods: of every two members with three or more trials or seeds in common."""
    pairs = itertools.combinations([member for member in members if len(member.runs) >= SPEAKS], 2)
    return [d for one, other in pairs for d in differences(one, other) if d.speaks]


POWER = 0.8  # how often a difference is to be found that is there


@dataclass(frozen=True)
class Needed:
    """How many seeds a trial show a difference of so many points of AUROC, by what these two members scatter.

    between is the standard deviation over trials of the difference itself, within that of one run over its seeds, of
    both sides together; in points. seeds is None where no number of them suffices on these trials: what is left with
    all seeds of the world is the scatter over trials, and `trials` would be needed. within is None where no trial has
    two seeds on a side: then all is taken for scatter over trials.
    """

    points: float
    count: int
    between: float
    within: float | None
    seeds: int | None
    trials: int | None


def needed(one: Member, other: Member, points: float = 1.0) -> Needed | None:
    """None where the members share fewer than two trials with the same classes and images.

    Of the variance of the differences by trial, each of means over seeds, the part is taken away that seeds make (the
    method of moments of a mixed model with trials as blocks). A difference shows in POWER of all tries where it is
    (t_.975 + t_POWER) standard errors, at one degree of freedom less than there are trials.
    """
    blocks = _shared(one, other)
    if len(blocks) < 2:
        return None
    sides = [[[100 * seed["auroc"] for seed in _by_seed(side)] for side in block] for block in blocks]
    if not all(math.isfinite(x) for block in sides for side in block for x in side):
        return None
    gaps = [statistics.fmean(mine) - statistics.fmean(theirs) for mine, theirs in sides]
    noise = [_pooled([block[n] for block in sides]) for n in (0, 1)]  # variances of a run, by its seed
    within = None if None in noise else math.sqrt(sum(noise))
    taken = 0.0
    if within is not None:
        taken = statistics.fmean(sum(v / len(side) for v, side in zip(noise, block, strict=True)) for block in sides)
    between = max(statistics.variance(gaps) - taken, 0.0)
    seeds = None
    if within is None:
        if _half(between, len(gaps)) <= points:
            seeds = 1
    else:
        most = (points / _half(1.0, len(gaps))) ** 2 - between  # that the seeds' part of the variance may be
        seeds = math.ceil(within**2 / most) if most > 0 else None
        seeds = max(seeds, 1) if seeds is not None and seeds <= 1000 else None
    trials = None
    if seeds is None:
        spread = between if within is None or between else within**2
        trials = next((n for n in range(2, 1001) if _half(spread, n) <= points), None)
    return Needed(points, len(gaps), math.sqrt(between), within, seeds, trials)


def _half(variance: float, trials: int) -> float:
    """The difference that shows in POWER of all tries, by the variance of a trial's."""
    from scipy.special import stdtrit

    t = float(stdtrit(trials - 1, (1 + LEVEL) / 2)) + float(stdtrit(trials - 1, POWER))
    return t * math.sqrt(variance / trials)


def _pooled(groups: list[list[float]]) -> float | None:
    """The variance within groups, None where none has two values."""
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    return sum((x - statistics.fmean(group)) ** 2 for group in groups for x in group) / freedom


def _shared(one: Member, other: Member) -> list[tuple[list[Scored], list[Scored]]]:
    """For each split that both were tested on, by the same images, the runs of either."""
    found = []
    for split in dict.fromkeys(run.split for run in one.runs):
        sides = tuple([run for run in member.runs if run.split == split] for member in (one, other))
        if sides[1] and all(same_images(sides[0][0], run) for run in itertools.chain(*sides)):
            found.append(sides)
    return found


def same_images(one: Scored, other: Scored) -> bool:
    """Whether two runs were tested on the same images, with the same classes as known."""
    alike = (np.array_equal(getattr(one, name), getattr(other, name)) for name in ("index", "classes", "labels"))
    return one.split == other.split and all(alike)


@dataclass(frozen=True)
class Fate:
    """What a run makes of its test images of a class: how many it has, names right, rejects, and takes for others."""

    count: int
    right: int
    rejected: int
    taken: dict[str, int]


@dataclass(frozen=True, eq=False)
class Common:
    """Two runs of one data set, whose images or classes differ, on the test images that both have.

    one and other are these runs on the M images that are of classes known to both or unknown to both, in one order and
    with the labels of `names`; rows [2, M] are their places in the outputs of each. shared counts all test images that
    both have, apart [2] those that one alone has, moved those that are of another class now. fates says of each class
    that one of them knows and the other does not what either makes of its images.
    """

    one: Scored
    other: Scored
    names: tuple[str, ...]
    rows: np.ndarray
    shared: int
    apart: tuple[int, int]
    moved: int
    fates: dict[str, tuple[Fate, Fate]]


def in_common(one: Scored, other: Scored) -> Common | None:
    """None where they are not of one data set of one's own, or differ in nothing, or do not say which their images are,
    or share none of known classes."""
    (dataset, family, *_), (theirs, their_family, *_) = one.split, other.split
    if dataset != theirs or {family, their_family} != {"custom"} or same_images(one, other):
        return None
    marks = [run.marks for run in (one, other)]
    if marks[0] is None or marks[1] is None:
        if not one.split[5] or one.split[5] != other.split[5]:
            return None
        marks = [run.index for run in (one, other)]
    rows = _same_marks(*marks)
    truth = [np.array(run.names, object)[run.classes[some]] for run, some in zip((one, other), rows, strict=True)]
    shared, same = rows.shape[1], truth[0] == truth[1]
    known = [run.labels[some] >= 0 for run, some in zip((one, other), rows, strict=True)]
    kept = same & (known[0] == known[1])
    if not (kept & known[0]).any():
        return None
    known_to = [[run.names[c] for c in run.split[3]] for run in (one, other)]
    names = tuple(sorted({*known_to[0], *known_to[1]}))
    labels = np.array([names.index(cls) if is_known else -1 for cls, is_known in
                       zip(truth[0][kept], known[0][kept], strict=True)], int)  # fmt: skip
    rows, sides = rows[:, kept], []
    for run, mine, some in zip((one, other), known_to, rows, strict=True):
        said = Verdict(run.test.score[some], np.array([names.index(cls) for cls in mine])[run.test.label[some]])
        split = (dataset, "custom", "", names, one.id, other.id)
        places = np.arange(len(some))
        sides.append(dataclasses.replace(run, split=split, test=said, labels=labels, classes=places, index=places))
    between = sorted(set(known_to[0]) ^ set(known_to[1]))
    fates = {cls: (_fate(one, known_to[0], cls), _fate(other, known_to[1], cls)) for cls in between}
    apart = len(one.labels) - shared, len(other.labels) - shared
    return Common(*sides, names, rows, shared, apart, int((~same).sum()), fates)


def _same_marks(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[2, M] the places in either of what is in both; of what is there several times, the first with the first."""
    there: dict[int, list[int]] = {}
    for place, mark in enumerate(other.tolist()):
        there.setdefault(mark, []).append(place)
    pairs = [(place, there[mark].pop(0)) for place, mark in enumerate(one.tolist()) if there.get(mark)]
    return np.array(pairs, int).reshape(-1, 2).T


def _fate(run: Scored, known: list[str], cls: str) -> Fate:
    mine = run.classes == (run.names.index(cls) if cls in run.names else -1)
    said = [known[label] if label >= 0 else "" for label in run.decision[mine].tolist()]
    taken = {name: said.count(name) for name in known if name in said and name != cls}
    return Fate(len(said), said.count(cls), said.count(""), taken)


def _unpaired(one: Member, other: Member, why: str) -> list[Difference]:
    mine, theirs = one.spread(), other.spread()
    return [Difference(one.name, other.name, m, mine[m][0] - theirs[m][0], why=why) for m in MEASURES]


def _by_blocks(one: str, other: str, blocks: list[tuple[list[Scored], list[Scored]]], over: str) -> list[Difference]:
    """The mean of the differences by block, and the t interval about it."""
    from scipy.special import stdtrit

    found = []
    means = [[Member("", tuple(side)).spread() for side in block] for block in blocks]
    for measure in MEASURES:
        gaps = [mine[measure][0] - theirs[measure][0] for mine, theirs in means]
        half = float(stdtrit(len(gaps) - 1, (1 + LEVEL) / 2)) * _sd(gaps) / math.sqrt(len(gaps))
        middle = statistics.fmean(gaps)
        found.append(Difference(one, other, measure, middle, middle - half, middle + half, over, len(gaps)))
    return found


def _apart(one: str, other: str, mine: list[Scored], theirs: list[Scored]) -> list[Difference]:
    """The difference of the means over seeds that are not the same on both sides, and Welch's interval about it."""
    from scipy.special import stdtrit

    found = []
    sides = [Member("", tuple(side)).spread() for side in (mine, theirs)]
    sizes = [len(_seeds(side)) for side in (mine, theirs)]
    for measure in MEASURES:
        gap = sides[0][measure][0] - sides[1][measure][0]
        parts = [side[measure][1] ** 2 / n for side, n in zip(sides, sizes, strict=True)]
        half = 0.0
        if sum(parts):
            freedom = sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, sizes, strict=True))
            half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(sum(parts))
        found.append(Difference(one, other, measure, gap, gap - half, gap + half, "seeds", min(sizes)))
    return found


def _by_images(one: str, other: str, mine: Scored, theirs: Scored, draw: Draw) -> list[Difference]:
    """`metrics.delong_difference` for the AUROC, the bootstrap's percentiles for what else there is.

    The bootstrap's variance alone for OSCR, which is near 1 where the AUROC is, with `metrics.unseen`; and at theta,
    where the draws lie about what a theta is on average and not about what this one is.
    """
    drawn = [draw(run) for run in (mine, theirs)]
    known = int((mine.labels >= 0).sum())
    counts = dict.fromkeys(MEASURES, len(mine.labels))
    counts |= {"accuracy": known, "knowns_kept": known, "unknowns_caught": len(mine.labels) - known}
    numbers, found = (mine.numbers(), theirs.numbers()), []
    for measure in MEASURES:
        gap = numbers[0][measure] - numbers[1][measure]
        if math.isnan(gap):
            low = high = math.nan
        elif measure == "auroc":
            gap, low, high = metrics.delong_difference(mine.test, theirs.test, mine.labels, LEVEL)
        elif measure in ("oscr", *AT_THETA):
            seldom = metrics.unseen(mine.test, theirs.test, mine.labels) if measure == "oscr" else 0.0
            half = metrics.normal(LEVEL) * math.sqrt((drawn[0][measure] - drawn[1][measure]).var() + seldom)
            low, high = gap - half, gap + half
        else:
            ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
            low, high = (float(x) for x in np.quantile(drawn[0][measure] - drawn[1][measure], ends))
        found.append(Difference(one, other, measure, gap, low, high, "images", counts[measure]))
    return found


def resampled(run: Scored, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, np.ndarray]:
    """The measures but the AUROC [B], on as many test images drawn with replacement, knowns and unknowns apart.

    Each draw has its own theta, of as many knowns as validated, drawn from these and from the test knowns: theta is the
    highest score or next to it, which their own scores alone drawn again hardly move. The same seed draws the same test
    images for every run that was tested on them, so that differences are paired, and the same validation images for
    runs of the same seed, which share them.
    """
    known = run.labels >= 0
    right = (run.test.label == run.labels)[known]
    k, u = run.test.score[known], run.test.score[~known]
    by_known, by_unknown = np.argsort(k, kind="stable"), np.argsort(u, kind="stable")
    k, u, right = k[by_known], u[by_unknown], right[by_known]
    below, up_to = np.searchsorted(k, u, "left"), np.searchsorted(k, u, "right")  # knowns that score lower
    reach = np.searchsorted(u, k, "right")  # unknowns accepted where theta is the score of a known
    draw_known, draw_unknown = (np.random.default_rng([seed, side]) for side in (0, 1))
    knowns = np.r_[run.validation, run.test.score[known]]
    thetas = _thetas(knowns, len(run.validation), resamples, np.random.default_rng([seed, 2, run.seed]))
    done = 0
    found: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES if name != "auroc"}
    for size in _chunks(resamples, len(k) + len(u)):
        n = _times(draw_known, size, len(k)).take(by_known, 1)
        m = _times(draw_unknown, size, len(u)).take(by_unknown, 1)
        theta = thetas[done : done + size]
        done += size
        if len(k):
            found["accuracy"].append((n * right).sum(1) / len(k))
            found["knowns_kept"].append(_up_to(n, np.searchsorted(k, theta, "right")) / len(k))
        if len(k) and len(u):
            hits = np.pad(np.cumsum(n * right, 1, dtype=np.int32), ((0, 0), (1, 0)))
            pairs = m * (hits.take(below, 1) + hits.take(up_to, 1))
            found["oscr"].append(pairs.sum(1, dtype=np.int64) / (2 * len(k) * len(u)))
            last = (np.cumsum(n, 1) >= judge.KEPT * len(k) - 1e-9).argmax(1)
            found["fpr_at_95_knowns_kept"].append(_up_to(m, reach[last]) / len(u))
        if len(u):
            found["unknowns_caught"].append(1 - _up_to(m, np.searchsorted(u, theta, "right")) / len(u))
    return {name: np.concatenate(parts) if parts else np.full(resamples, math.nan) for name, parts in found.items()}


def _thetas(scores: np.ndarray, images: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """[B] theta of so many images, drawn from those whose scores these are."""
    below = int(metrics.theta_at(judge.KEPT, np.arange(images, dtype=float)))  # so many of them lie below theta
    drawn = (scores[rng.integers(0, len(scores), (size, images))] for size in _chunks(resamples, images))
    return np.concatenate([np.partition(some, below, 1)[:, below] for some in drawn])


def _up_to(times: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """[size] how often the first of n images are among those drawn, times [size, n], as many as ends [size] says."""
    counted = np.cumsum(times, 1)
    return np.where(ends > 0, counted[np.arange(len(times)), ends - 1], 0)


def _chunks(resamples: int, width: int) -> Iterable[int]:
    step = max(1, CHUNK // max(width, 1))
    return (min(step, resamples - start) for start in range(0, resamples, step))


def _times(rng: np.random.Generator, size: int, n: int) -> np.ndarray:
    """[size, n] how often each of n images is among n drawn."""
    drawn = rng.integers(0, n, (size, n)) if n else np.zeros((size, 0), int)
    counts = np.bincount((drawn + n * np.arange(size)[:, None]).ravel(), minlength=size * n)
    return counts.reshape(size, n).astype(np.int32)


BETTER = {
    "auroc": "{better} has an AUROC {points} points above that of {worse} ({low} to {high}).",
    "accuracy": "{better} names {points} points more of the knowns right than {worse} ({low} to {high}).",
    "oscr": "{better} has an OSCR {points} points above that of {worse} ({low} to {high}).",
    "fpr_at_95_knowns_kept": "{better} accepts {points} points fewer unknowns than {worse} where 95 % of the test "
    "knowns are kept ({low} to {high}).",
    "knowns_kept": "{better} keeps {points} points more of the knowns than {worse}, each at its own θ ({low} to "
    "{high}).",
    "unknowns_caught": "{better} catches {points} points more unknowns than {worse}, each at its own θ ({low} to "
    "{high}).",
}  # fmt: skip
ALIKE = {
    "auroc": "AUROC: no difference for sure between {one} and {other} ({gap} points, {low} to {high}).",
    "accuracy": "Accuracy: no difference for sure between {one} and {other} ({gap} points, {low} to {high}).",
    "oscr": "OSCR: no difference for sure between {one} and {other} ({gap} points, {low} to {high}).",
    "fpr_at_95_knowns_kept": "Unknowns accepted where 95 % of the test knowns are kept: no difference for sure between "
    "{one} and {other} ({gap} points, {low} to {high}).",
    "knowns_kept": "Knowns kept, each at its own θ: no difference for sure between {one} and {other} ({gap} points, "
    "{low} to {high}).",
    "unknowns_caught": "Unknowns caught, each at its own θ: no difference for sure between {one} and {other} ({gap} "
    "points, {low} to {high}).",
}  # fmt: skip
UNPAIRED = ("{one} and {other} cannot be compared: {why}.", "{one} and {other}: the images do not give this number.")
SAME = {
    "auroc": "AUROC: {one} and {other} are exactly the same.",
    "accuracy": "Accuracy: {one} and {other} are exactly the same.",
    "oscr": "OSCR: {one} and {other} are exactly the same.",
    "fpr_at_95_knowns_kept": "Unknowns accepted where 95 % of the test knowns are kept: {one} and {other} are exactly "
    "the same.",
    "knowns_kept": "Knowns kept, each at its own θ: {one} and {other} are exactly the same.",
    "unknowns_caught": "Unknowns caught, each at its own θ: {one} and {other} are exactly the same.",
}
ONE_PAIR = "This is about these two networks alone and says nothing about methods: training noise is left out."


def said(difference: Difference) -> tuple[str, dict[str, str | float]]:
    """A phrase, and the values of its {names}: numbers in points. The better one comes first where one is."""
    d = difference
    if d.why:
        return UNPAIRED[0], {"one": d.one, "other": d.other, "why": d.why}
    if math.isnan(d.gap):
        return UNPAIRED[1], {"one": d.one, "other": d.other}
    if d.gap == d.low == d.high == 0:
        return SAME[d.measure], {"one": d.one, "other": d.other}
    if not d.sure:
        return ALIKE[d.measure], {"one": d.one, "other": d.other,
                                  "gap": 100 * d.gap, "low": 100 * d.low, "high": 100 * d.high}  # fmt: skip
    low, high = sorted((abs(d.low), abs(d.high)))
    first = (d.low > 0) != (d.measure in LOWER_IS_BETTER)
    better, worse = (d.one, d.other) if first else (d.other, d.one)
    numbers = {"points": 100 * abs(d.gap), "low": 100 * low, "high": 100 * high}
    return BETTER[d.measure], {"better": better, "worse": worse, **numbers}


# --- curves ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """Mean and standard deviation [G] of a curve over the runs of a member, at the places of GRID; one run has sd 0."""

    mean: np.ndarray
    sd: np.ndarray


def roc_band(member: Member) -> Band | None:
    """Unknowns caught against knowns rejected, averaged vertically (Fawcett, Pattern Recognition Letters 2006)."""

    def line(run: Scored) -> np.ndarray:
        curve = metrics.roc(run.test, run.labels)
        return np.interp(GRID, curve["rejected_knowns"], curve["caught_unknowns"])

    return _band(member, line)


def oscr_band(member: Member) -> Band | None:
    """Knowns accepted and right against unknowns accepted, averaged vertically."""

    def line(run: Scored) -> np.ndarray:
        known = run.labels >= 0
        right = run.test.label[known] == run.labels[known]
        curve = metrics.Curve(run.test.score[known], run.test.score[~known], right)
        return np.interp(GRID, np.r_[0, curve.accepted] / curve.n_unknown, np.r_[0, curve.right] / curve.n_known)

    return _band(member, line)


def _band(member: Member, line: Callable[[Scored], np.ndarray]) -> Band | None:
    """None where some run has no known or no unknown test image."""
    if not all((run.labels < 0).any() and (run.labels >= 0).any() for run in member.runs):
        return None
    lines = np.stack([line(run) for run in member.runs])
    return Band(lines.mean(0), lines.std(0, ddof=1) if len(lines) > 1 else np.zeros(len(GRID)))


# --- images ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disagreement:
    """Where two runs on the same test images decide differently: rows [M] of the test outputs, and both decisions [M].

    Decisions and truth [M] are labels, -1 for unknown.
    """

    rows: np.ndarray
    one: np.ndarray
    other: np.ndarray
    truth: np.ndarray

    @property
    def one_right(self) -> np.ndarray:
        return self.one == self.truth

    @property
    def other_right(self) -> np.ndarray:
        return self.other == self.truth


def disagreement(one: Scored, other: Scored) -> Disagreement:
    """Each at its own theta. Raises ValueError for other test images."""
    if not same_images(one, other):
        raise ValueError(say(
            "{one} and {other} were not tested on the same images, so no image has two decisions.",
            one=one.id, other=other.id,
        ))  # fmt: skip
    rows = np.flatnonzero(one.decision != other.decision)
    return Disagreement(rows, one.decision[rows], other.decision[rows], one.labels[rows])
