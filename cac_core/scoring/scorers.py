"""Scorers: how unknown each image looks, judged from what the trained network put out.

A scorer reads the outputs on the training images once and returns a judge, a function from any other outputs to a
Verdict. HIGHER always means MORE UNKNOWN; an image is rejected when score > theta. Numpy only, so that the app can
score without importing torch. The scorers stand by what they read: distances.py, logits.py, features.py, heads.py;
here are the table of them and the way in.

Keywords are a scorer's own options: the command line, the app's forms and the sweeps read them from the signature.
"""

import inspect
from dataclasses import replace
from typing import Any

import numpy as np

from cac_core.recipe import FOREIGN, IMPORTED, IMPORTED_SCORES, checked_options, known_name
from cac_core.scoring import features, heads, logits
from cac_core.scoring.distances import distance, gamma
from cac_core.scoring.outputs import Judge, Outputs, Verdict, finite, only, without_fold
from cac_core.sentences import say

SCORERS = {
    "gamma": gamma, "distance": distance, "msp": logits.msp, "max_logit": logits.max_logit, "energy": logits.energy,
    "knn": features.knn, "mahalanobis": features.mahalanobis, "cosine": features.cosine,
    "placeholder": features.placeholder, "unknown_class": features.unknown_class, "openmax": logits.openmax,
    "latent_openmax": features.latent_openmax,
    "temperature_scaling": logits.temperature_scaling, "entropy": logits.entropy, "gen": logits.gen,
    "margin": logits.margin, "kl_matching": logits.kl_matching,
    "rmds": features.rmds, "gmm": features.gmm, "nnguide": features.nnguide, "she": features.she,
    "residual": heads.residual, "vim": heads.vim, "fdbd": heads.fdbd,
    "react": heads.react, "ash_p": heads.ash_p, "ash_b": heads.ash_b, "ash_s": heads.ash_s, "scale": heads.scale,
    "dice": heads.dice, "gradnorm": heads.gradnorm, "given": logits.given,
}  # fmt: skip

READ = {  # by what they read, in the order in which they are shown
    "logits": (
        "gamma", "distance", "msp", "temperature_scaling", "max_logit", "energy", "entropy", "gen", "margin",
        "kl_matching", "openmax", "unknown_class", "given",
    ),
    "features": (
        "knn", "nnguide", "mahalanobis", "rmds", "gmm", "cosine", "she", "residual", "vim", "fdbd", "placeholder",
        "latent_openmax",
    ),
    "head": ("react", "ash_p", "ash_b", "ash_s", "scale", "dice", "gradnorm"),
}  # fmt: skip
BY_FEATURES = READ["features"] + READ["head"]  # the others read logits alone
BY_LATENTS = ("latent_openmax",)  # of these the ones that read latents: the others see the features before them
BY_VALIDATION = ("temperature_scaling",)  # is fitted on the validation images, too
NEEDS = {  # what outputs must hold, beside features, and what says why they do not
    **dict.fromkeys(BY_FEATURES, (features.featured,)),
    **dict.fromkeys(("residual", "vim", "fdbd", *READ["head"]), (heads.headed,)),
    **dict.fromkeys(("ash_b", "ash_s", "scale"), (heads.positive,)),
    **dict.fromkeys(BY_LATENTS, (features.featured, features.coded)),
}
DIFFERENTIABLE = (  # that results/formulas.py has in torch, too: these have a gradient, and a file can hold them
    "gamma", "distance", "msp", "temperature_scaling", "max_logit", "energy", "entropy", "gen", "margin",
    "unknown_class", "placeholder",
)  # fmt: skip
# what every evaluation reports, and what a score is chosen among without unknowns; the others are computed when asked
# for: a report of all would be three times as long, and a choice among more is more by chance
REPORTED = (
    "gamma", "distance", "msp", "max_logit", "energy", "knn", "mahalanobis", "cosine", "placeholder",
    "unknown_class", "openmax", "latent_openmax", "given",
)  # fmt: skip
# whose options are set as in the papers, for other networks, and where only unknowns could tell what is best
UNSURE = (
    "knn", "nnguide", "openmax", "latent_openmax", "residual", "vim", "react", "ash_p", "ash_b", "ash_s", "scale",
    "dice",
)  # fmt: skip
ALONE = {  # of what some methods alone put out
    "placeholder": ("proser",), "unknown_class": ("osrci", "g_openmax"), "given": (IMPORTED_SCORES,),
    "latent_openmax": ("crosr",),
}  # fmt: skip
OWN = {"cac": ("gamma", "distance"), "distance_ensemble": ("gamma", "distance")}  # of these methods, by their papers


def scorers_for(method: str) -> list[str]:
    """The scores that a method's outputs can be judged by."""
    if method == IMPORTED_SCORES:
        return ["given"]
    return [name for name in SCORERS if method in ALONE.get(name, (method,))]


def reported_for(method: str) -> list[str]:
    """Those of them that every evaluation reports."""
    return [name for name in scorers_for(method) if name in REPORTED]


def grouped(method: str) -> dict[str, list[str]]:
    """The same by group, "own" first, the method's own, then what the others read; within each in order."""
    own, there = OWN.get(method, (default_for(method),)), scorers_for(method)
    rest = {group: [name for name in names if name in there and name not in own] for group, names in READ.items()}
    return {"own": list(own)} | rest


def lacking(name: str, train: Outputs) -> str:
    """Why a score cannot be had from these training outputs, by what they hold; empty where they hold what it needs."""
    train = _read(train, _width(name, train))
    try:
        for need in NEEDS.get(name, ()):
            need(train)
    except ValueError as error:
        return str(error)
    return ""


def default_for(method: str) -> str:
    """The score that a method's own paper rejects by."""
    others = {
        "cross_entropy": "msp",
        IMPORTED: "msp",
        FOREIGN: "msp",
        IMPORTED_SCORES: "given",
        "softmax_ensemble": "msp",
        "supcon": "knn",
        "cider": "knn",
        "vos": "energy",
        "proser": "placeholder",
        "crosr": "latent_openmax",
        "osrci": "unknown_class",
        "g_openmax": "unknown_class",
    }
    return others.get(method, "gamma")


def scorer_options(name: str) -> dict[str, Any]:
    """The options of a scorer and their defaults, from its signature."""
    parameters = inspect.signature(SCORERS[known_name(name, SCORERS, say("scorer"))]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def judge_of(name: str, train: Outputs, validation: Outputs | None = None, /, **options: Any) -> Judge:
    """The judge of a scorer by name, whose verdicts are kept without what they are made of. As `explaining`."""
    judge = explaining(name, train, validation, **options)
    return lambda out: replace(judge(out), by_class=None)


def explaining(name: str, train: Outputs, validation: Outputs | None = None, /, **options: Any) -> Judge:
    """The judge of a scorer by name. Raises ValueError with the right names where one is wrong.

    validation: the outputs on the validation images, which those of BY_VALIDATION are fitted on.

    So do logits or features that are not finite, of the training images here, of others when they are judged. An image
    that is of a fold is judged by what the network without that fold put out for the other training images.
    """
    options = checked_options(name, scorer_options(name), options)
    width = _width(name, train)
    train, held = _read(finite(train), width), ()
    if name in BY_VALIDATION:
        held = (validation and finite(validation),)
    judges: dict[int, Judge] = {-1: SCORERS[name](train, *held, **options)}

    def judge(out: Outputs) -> Verdict:
        out = _read(out, width)
        if finite(out).fold is None or train.fold is None:
            return judges[-1](out)
        score, label, by_class = np.empty(len(out)), np.empty(len(out), int), None
        for fold in np.unique(out.fold).tolist():
            if fold not in judges:
                judges[fold] = SCORERS[name](without_fold(train, fold), *held, **options)
            mine = out.fold == fold
            verdict = judges[fold](only(out, mine))
            score[mine], label[mine] = verdict.score, verdict.label
            if verdict.by_class is not None:
                by_class = np.empty((len(out), verdict.by_class.shape[1])) if by_class is None else by_class
                by_class[mine] = verdict.by_class
        return Verdict(score, label, by_class)

    return judge


def _width(name: str, train: Outputs) -> int:
    """How many of the features a score reads: not the latents, unless it says so."""
    return max(0, train.features.shape[1] - (0 if name in BY_LATENTS else train.latents))


def _read(out: Outputs, width: int) -> Outputs:
    """With the first features alone, as many as are read; with none where outputs were kept without."""
    return out if out.features.shape[1] <= width else replace(out, features=out.features[:, :width], latents=0)
