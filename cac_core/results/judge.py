"""From a run's outputs to verdicts, a threshold and a report. Numpy only: nothing here imports torch."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Required, TypedDict

import numpy as np

from cac_core import records, shell
from cac_core.data.datasets import FOLDS, HELD_OUT, PUBLISHED, SEEN, SET_ASIDE
from cac_core.data.images import way_of
from cac_core.recipe import checked_options
from cac_core.records import Unfit, Within
from cac_core.results import stand_ins
from cac_core.runs import SPLITS, Report, Run
from cac_core.scoring import metrics
from cac_core.scoring.arrays import softmax
from cac_core.scoring.distances import centres_of, rejection
from cac_core.scoring.outputs import Outputs, Verdict, joined, known_only
from cac_core.scoring.scorers import (
    BY_FEATURES,
    SCORERS,
    default_for,
    explaining,
    judge_of,
    reported_for,
    scorer_options,
)
from cac_core.sentences import say, together

UNKNOWN = "unknown"  # the decision that is no class
NUMBERS = 3  # of what report.json holds: one whose numbers are defined otherwise is made again by `eval`
KEPT = 0.95  # the share of new knowns that the default theta keeps
COUNTED = 100  # known classes up to which report.json keeps each confusion: 56 MB of it for 1000, and mostly zeros


def report(
    run: Run, scorer: str | None = None, theta: float | None = None, unknown: str | None = None, **options: Any
) -> dict[str, Any]:
    """All numbers of a run on its test images; theta keeps 95 % of new knowns where it is not given, see `rule_of`.

    unknown names another data set, evaluated before, whose images stand in the place of the trial's own unknowns.
    """
    train, validation, test = (run.outputs(split) for split in SPLITS)
    if unknown:
        test = joined(known_only(test), run.outputs(run.unknown_split(unknown)))
    numbers = _report(run, train, validation, test, scorer or default_of(run), theta, options)
    return numbers | ({"unknown": unknown} if unknown else {})


def _report(
    run: Run, train: Outputs, validation: Outputs, test: Outputs, scorer: str, theta: float | None, options: dict
) -> dict[str, Any]:
    judge = judge_of(scorer, train, validation, **options)
    validation, verdict = judge(validation), judge(test)
    checked_theta(theta)
    rule = rule_of(run, KEPT, len(validation.score)) if theta is None else "given"
    theta = metrics.theta_at(KEPT, validation.score) if theta is None else theta
    classes = len(run.trial.known)
    unknowns = bool((test.labels < 0).any())
    return {
        "run": run.id,
        "scorer": scorer,
        "options": options,
        "unknown": "the trial's own",
        "knowns": int((test.labels >= 0).sum()),
        "unknowns": int((test.labels < 0).sum()),
        **metrics.report(verdict, test.labels),
        "theta": theta,
        "theta_rule": rule,
        "level": stand_ins.level_of(theta, validation.score),
        "validated_on": run.validated_on,
        "at_theta": metrics.at(theta, verdict, test.labels, classes),
        "intervals": metrics.intervals(verdict, test.labels, theta),
        "oracle_thetas": {
            "youden": metrics.theta_youden(verdict, test.labels),
            "accepts_at_most_5_percent_of_unknowns": metrics.theta_at_fpr(0.05, verdict, test.labels),
        }
        if unknowns
        else {},
        "confusion": metrics.confusion(theta, verdict, test.labels, classes).tolist(),
    }


def checked_theta(theta: float | None) -> None:
    """Raises ValueError for a theta that is no number: nan, which no score is above, would let everything in."""
    if theta is not None and not math.isfinite(theta):
        raise ValueError(say("theta must be a finite number, not {theta}.", theta=theta))


# of a report: what a network has said that the outputs do not hold, and of which weights it was
BESIDE = ("choice", "stand_ins", "weights")


def report_all(run: Run, before: Report | None = None) -> dict[str, Any]:
    """The report of its method's scorers of REPORTED at their defaults, by name, and which of them it is judged by.

    That is the one of the choice, see `choice_of`, or else the one that the method's paper rejects by. Where a scorer
    cannot be applied to this run, such as openmax to few images, {"error": why} stands in its place; the default one
    must be, so there the error is raised. before: a report whose BESIDE stand in this one, too. Numbers that cannot be
    made again, since the run is kept without features, stay. Of more than COUNTED classes the confusions are left out;
    `report` has them.
    """
    beside, run = {name: before[name] for name in BESIDE if before and before.get(name)}, run.once()
    choice, outputs = beside.get("choice"), list(map(run.outputs, SPLITS))
    default = choice["scorer"] if choice else default_for(run.recipe.method)
    scorers, before = {}, run.report().get("scorers", {})
    for name in reported_for(run.recipe.method):
        try:
            scorers[name] = _report(run, *outputs, name, None, {})
        except ValueError as error:
            kept = before.get(name, {}) if not outputs[0].features.shape[1] else {}
            if name == default and not kept:
                raise
            scorers[name] = kept if "auroc" in kept else {"error": str(error)}
        if len(run.trial.known) > COUNTED:
            scorers[name].pop("confusion", None)
    return {"numbers": NUMBERS, "default": default, "scorers": scorers} | beside


NEAR = 0.005  # of AUROC: by so little no score is preferred to the method's own


def choice_of(method: str, each: dict[str, list[float]], classes: int) -> dict[str, Any]:
    """The score to judge a run by, and why: the best mean AUROC at so many classes that were left out of training."""
    aurocs = {name: float(np.mean(some)) for name, some in each.items()}
    own, best = default_for(method), max(aurocs, key=aurocs.get)
    if own in aurocs and aurocs[best] - aurocs[own] <= NEAR:
        best = own
    return {"scorer": best, "classes": classes, "aurocs": aurocs}


CHOSEN = (
    "{scorer} told best what is unknown when {classes} known classes were left out of training one by one (AUROC "
    "{auroc}; {own}: {other}); no unknown class was looked at"
)


def why(choice: dict[str, Any], method: str, say: Callable[..., str] = str.format) -> str:
    """The reason of a choice in words; say fills in a phrase, perhaps in another language."""
    own, aurocs = default_for(method), choice["aurocs"]
    auroc, other = (f"{100 * aurocs.get(name, math.nan):.1f} %" for name in (choice["scorer"], own))
    return say(CHOSEN, scorer=choice["scorer"], classes=choice["classes"], auroc=auroc, own=own, other=other)


def default_of(run: Run) -> str:
    """The score that a run is judged by where nobody says another: the one chosen for it, or its method's own."""
    chosen = run.report().get("choice") or {}
    return chosen["scorer"] if chosen.get("scorer") in SCORERS else default_for(run.recipe.method)


def said_of(
    run: Run, logits: np.ndarray, features: np.ndarray, *of: Any, fold: np.ndarray | None = None, **options: Any
) -> list[dict[str, Any]]:
    """For each image whose logits [N, C] and features these are: the decision, and every number it rests on; the rest
    as for `saying`. fold [N]: the folds that they are of, where they are validation images of a cross-validated run."""
    return saying(run, *of, **options)(logits, features, fold)


def saying(
    run: Run, scorer: str, theta: float | None = None, thetas: np.ndarray | None = None, **options: Any
) -> Callable[..., list[dict[str, Any]]]:
    """What says `said_of` of images again and again: the score is fitted to the run once.

    thetas [C], where given, stand in the place of theta, each for the images nearest to its class. gamma and distances
    are by known class, to the class means or, with centres="anchors", to the anchors. by_class is what the score is
    made of, and of_unknown the same for what is unknown, where it has such numbers; else None.
    """
    checked_theta(theta)
    train, validation = run.outputs("train"), run.outputs("validation")
    judge = explaining(scorer, train, validation, **options)
    theta = metrics.theta_at(KEPT, judge(validation).score) if theta is None else theta
    names, near = run.known_names, explaining("distance", train, centres=options.get("centres", "means"))
    limits = np.full(len(names), theta) if thetas is None else thetas

    def say_of(logits: np.ndarray, features: np.ndarray, fold: np.ndarray | None = None) -> list[dict[str, Any]]:
        out = dataclasses.replace(Outputs.of_images(logits, features), fold=fold)
        verdict, d = judge(out), near(out).by_class
        g = rejection(d, options.get("temperature", 1.0) if scorer == "gamma" else 1.0)
        p, made_of = softmax(logits.astype(float)), verdict.by_class
        no = metrics.rejected(verdict.score, limits[verdict.label])
        return [
            {
                "decision": UNKNOWN if no[i] else names[verdict.label[i]],
                "label": names[verdict.label[i]],
                "score": float(verdict.score[i]),
                "theta": float(limits[verdict.label[i]]),
                "gamma": dict(zip(names, g[i].tolist(), strict=True)),
                "distances": dict(zip(names, d[i].tolist(), strict=True)),
                "softmax": dict(zip(names, p[i].tolist(), strict=True)),
                "by_class": None if made_of is None else dict(zip(names, made_of[i].tolist(), strict=False)),
                "of_unknown": None if made_of is None or made_of.shape[1] == len(names) else float(made_of[i, -1]),
            }
            for i in range(len(logits))
        ]

    return say_of


# --- what theta rests on ---------------------------------------------------------------------------------------------

IMAGES = {
    HELD_OUT: "{n} images held out of training",
    PUBLISHED: "{n} images that its authors held out of training",
    SET_ASIDE: "{n} known test images set aside for θ",
    SEEN: "{n} images that the network was trained on",
    FOLDS: "{n} training images, each judged by a head that has not learnt from it",
}
MOVED = "{images}, moved first as ODIN does (ε = {e:g}, T = {t:g})"
KEEPS = "keeps {kept} % of new knowns on average, by {images}"
TOO_FEW = "the largest score of {images}: too few to keep {kept} % of new knowns, which takes {lacking} more"
NEVER = "the largest score of {images}: no number of images promises {kept} %"
TRAINED_ON = "keeps {kept} % of {images}, and fewer of new knowns; what mends it: {command}"


def rule_of(
    run: Run,
    kept: float,
    n: int,
    say: Callable[..., str] = str.format,
    magnitude: float = 0.0,
    temperature: float = 1.0,
) -> str:
    """What the theta by `metrics.theta_at` for this share promises by n validation images of the run, and what it is.

    The one place that says what theta rests on; of a run it needs id and validated_on. say fills in a phrase,
    say(phrase, n=...), perhaps in another language. magnitude and temperature: of the images' perturbation.
    """
    images, share = say(IMAGES[run.validated_on], n=n), f"{100 * kept:g}"
    if magnitude:
        images = say(MOVED, images=images, e=magnitude, t=temperature)
    if run.validated_on == SEEN:
        return say(TRAINED_ON, kept=share, images=images, command=shell.command("eval", run.id, "--again"))
    lacking = metrics.lacking(kept, n)
    if lacking == math.inf:
        return say(NEVER, kept=share, images=images)
    return say(TOO_FEW if lacking else KEEPS, kept=share, images=images, **({"lacking": lacking} if lacking else {}))


# --- one theta for each class ----------------------------------------------------------------------------------------


def thetas_at(kept: float, validation: Verdict, classes: int) -> np.ndarray:
    """For each class [C] the `metrics.theta_at` of the validation knowns that are nearest to it.

    A class to which too few are nearest for its own to promise that share takes the theta of all; see `too_few`.
    """
    thetas = np.full(classes, metrics.theta_at(kept, validation.score))
    few = too_few(kept, validation, classes)
    for c in range(classes):
        if c not in few:
            thetas[c] = metrics.theta_at(kept, validation.score[validation.label == c])
    return thetas


def too_few(kept: float, validation: Verdict, classes: int) -> dict[int, float]:
    """The classes that fall back to the theta of all, and how many validation knowns nearest to them are missing.

    A class to which none is nearest is one of them; where the share is 1, every class is, and none is missing by number
    (inf): no number of images is enough.
    """
    counts = np.bincount(validation.label, minlength=classes)
    missing = {c: metrics.lacking(kept, int(n)) for c, n in enumerate(counts)}
    return {c: more for c, more in missing.items() if more}


def beyond(thetas: np.ndarray, verdict: Verdict) -> Verdict:
    """The same verdict with scores less the theta of the nearest class: rejected when above 0."""
    return Verdict(verdict.score - thetas[verdict.label], verdict.label)


# --- a threshold to take along ---------------------------------------------------------------------------------------

FORMAT = "anchorscope threshold 1"


@dataclass(frozen=True)
class Threshold:
    """A score with all its options and its theta, or one for each class: what decides about an image of a run.

    Options that are not given are at their defaults. magnitude and temperature are ODIN's perturbation before the
    network; magnitude 0 is none. rule says in words where theta comes from, oracle whether it has looked at test
    unknowns, way what pictures are taken for, see `images.way_of`; quality what the run is worth by it, as
    `quality.Quality.record` says it.
    """

    run: str
    scorer: str
    options: dict[str, Any]
    theta: float
    rule: str
    thetas: tuple[float, ...] | None = None
    magnitude: float = 0.0
    temperature: float = 1.0
    oracle: bool = False
    way: str | None = None
    quality: dict[str, str] | None = None

    def __post_init__(self):
        object.__setattr__(self, "options", scorer_options(self.scorer) | self.options)

    def record(self, run: Run) -> dict[str, Any]:
        """For JSON: the threshold, and all that is needed to understand it elsewhere: classes, centres, preparation."""
        train, row = run.outputs("train"), run.row
        mean, std = run.stats
        return {
            "format": FORMAT,
            **{name: value for name, value in vars(self).items() if name != "way"},
            "validated_on": run.validated_on,
            "classes": run.known_names,
            "centres": centres_of(train, self.options["centres"]).tolist() if "centres" in self.options else None,
            "prepare": {
                "size": row.size,
                "grain": row.grain,
                "channels": row.channels,
                "ink": row.ink,
                "made": row.made,
                "as": way_of(row, self.way),
            },
            "mean": list(mean),
            "std": list(std),
        }

    def saying(self, run: Run) -> Callable[[np.ndarray, np.ndarray], list[dict[str, Any]]]:
        """What says what this threshold decides about images, by their logits [N, C] and features; see `said_of`."""
        return saying(
            run, self.scorer, self.theta, None if self.thetas is None else np.array(self.thetas), **self.options
        )

    def judged(self, run: Run, logits: np.ndarray, features: np.ndarray) -> list[dict[str, Any]]:
        """What this threshold decides about images with these logits [N, C] and features [N, D]; see `said_of`."""
        return self.saying(run)(logits, features)

    def decided(self, run: Run, out: Outputs) -> tuple[Verdict, np.ndarray]:
        """The verdict on outputs that the run's network, or what it was imported from, put out elsewhere, and the theta
        [N] that counts for each image: see `metrics.rejected`.

        Raises ValueError where a perturbation comes before the network, which is not here.
        """
        if self.magnitude:
            raise ValueError(say("This threshold perturbs images before the network: it judges images, not outputs."))
        verdict = judge_of(self.scorer, run.outputs("train"), run.outputs("validation"), **self.options)(out)
        limits = np.full(len(run.known_names), self.theta) if self.thetas is None else np.array(self.thetas)
        return verdict, limits[verdict.label]


def threshold_of(
    run: Run, scorer: str, options: dict[str, Any], theta: float | None = None, *, magnitude: float = 0.0,
    temperature: float = 1.0, moved: Callable[[float, float], Outputs] | None = None, **more: Any,
) -> Threshold:  # fmt: skip
    """A score of a run as a threshold: at theta, or where none is given at the one that keeps 95 % of new knowns.

    Where images are perturbed, that is of validation images that are, too: moved, as `sweep.moved_validation`, gives
    their outputs. Raises ValueError for a score by features: of perturbed images a sweep holds the logits alone.
    """
    checked_theta(theta)
    if magnitude and scorer in BY_FEATURES:
        raise ValueError(say(
            "The score {scorer} goes by features, and a perturbation is for scores by logits: judge images as they "
            "are, or by another score.",
            scorer=scorer,
        ))  # fmt: skip
    rule = "given"
    if theta is None:
        validation = run.outputs("validation")
        judge = judge_of(scorer, run.outputs("train"), validation, **options)
        if magnitude:
            if moved is None:
                raise ValueError(say("θ for perturbed images is taken from perturbed validation images: give these."))
            validation = moved(magnitude, temperature)
        theta = metrics.theta_at(KEPT, judge(validation).score)
        rule = rule_of(run, KEPT, len(validation), str.format, magnitude, temperature)
    return Threshold(run.id, scorer, options, theta, rule, magnitude=magnitude, temperature=temperature, **more)


class _Prepare(TypedDict, total=False):
    """How the images are prepared that a threshold is for; `as` is one of images.WAYS."""

    size: Required[int]
    grain: Required[int]
    channels: Required[int]
    ink: Required[bool]
    made: int


class _File(TypedDict, total=False):
    """A threshold file: the fields of Threshold but for its way, and what `Threshold.record` puts beside them."""

    format: Required[str]
    run: Required[str]
    scorer: Required[str]
    options: Required[dict[str, object]]
    theta: Required[float]
    rule: Required[str]
    thetas: Required[list[float] | None]
    magnitude: Required[Annotated[float, Within(0, 1)]]
    temperature: Required[Annotated[float, Within(1e-6, 1e6)]]
    oracle: bool
    quality: dict[str, str] | None
    classes: Required[list[str]]
    centres: Required[list[list[float]] | None]
    prepare: Required[_Prepare]
    mean: Required[list[float]]
    std: Required[list[float]]


def threshold_from(file: Path, run: Run) -> Threshold:
    """Read a threshold file. Raises ValueError where it is none, or another run's."""
    try:
        said = records.read(Path(file), _File, links=True)
        if said["format"] != FORMAT:
            raise Unfit(say("its format is {said!r}, not {wanted!r}", said=said["format"][:80], wanted=FORMAT))
        options = checked_options(said["scorer"], scorer_options(said["scorer"]), said["options"])
        fields = {field.name: said[field.name] for field in dataclasses.fields(Threshold) if field.name in said}
        fields["way"] = way_of(run.row, said["prepare"].get("as", "picture"))  # as all were taken when none said it
    except FileNotFoundError as error:
        raise FileNotFoundError(say("There is no threshold file {file}.", file=file)) from error
    except (OSError, ValueError) as error:
        raise ValueError(say(
            "{file} is no threshold of Anchorscope ({error}). Export one from the page Thresholds.",
            file=file, error=error,
        )) from error  # fmt: skip
    if said["run"] != run.id:
        raise ValueError(say(
            "{file} belongs to the run {other}, not to {run}: a theta means nothing elsewhere.",
            file=file, other=said["run"][:80], run=run.id,
        ))  # fmt: skip
    thetas = None if said["thetas"] is None else tuple(said["thetas"])
    threshold = Threshold(**fields | {"options": options, "thetas": thetas})
    if wrong := _differing(said, threshold, run):
        raise ValueError(say(
            "{file} is not for {run} as it is now: its {names} are others. A theta means nothing elsewhere; export one "
            "from the page Thresholds.",
            file=file, run=run.id, names=wrong,
        ))  # fmt: skip
    return threshold


CLOSE = 0.01  # of the largest coordinate: so far centres may lie apart, as in a copy whose logits were rounded


def _differing(said: _File, threshold: Threshold, run: Run) -> list[str]:
    """What a threshold was made for and this run does not have."""
    own = threshold.record(run)
    same = {
        say("class names, or their order,"): said["classes"] == own["classes"],
        say("thetas by class"): threshold.thetas is None or len(threshold.thetas) == len(own["classes"]),
        # files of before do not say the options that nobody gave, nor then where the centres lie
        say("centres"): _near(said["centres"], own["centres"] if "centres" in said["options"] else None, CLOSE),
        say("preparation of images"): all(own["prepare"].get(name) == value for name, value in said["prepare"].items()),
        say("mean and std"): all(_near(said[name], own[name], 1e-6) for name in ("mean", "std")),
    }
    return [name for name, right in same.items() if not right]


def _near(one: list | None, other: list | None, share: float) -> bool:
    if one is None or other is None:
        return one is other
    one, other = (np.array(some, dtype=object) for some in (one, other))  # of lists that are not of one length, too
    return one.shape == other.shape and bool((abs(one - other) <= share * np.abs(other).max()).all())


def check_split(run: Run, family: str | None = None, trial: str | None = None, dataset: str | None = None) -> None:
    """Refuse to evaluate a run on another split than its own, and say why."""
    mine = run.trial
    asked = {
        say("data set"): (dataset, mine.dataset), say("family"): (family, mine.family),
        say("trial"): (trial, mine.index),
    }  # fmt: skip
    if wrong := [
        say("{what} {said!r} (its own: {own!r})", what=what, said=said, own=own)
        for what, (said, own) in asked.items()
        if said not in (None, own)
    ]:
        raise ValueError(say(
            "{run} cannot be evaluated on {wrong}: it was trained with {known} as known classes, so on another split "
            "some classes called unknown would be ones that it has seen, and its outputs would stand for other "
            "classes. Train a run for that split instead.",
            run=run.id, wrong=together(wrong, say(" and ")), known=run.known_names,
        ))  # fmt: skip


def plain(value: Any) -> Any:
    """The same for JSON: numbers that do not exist become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value
