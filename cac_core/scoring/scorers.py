"""Scorers: how unknown each image looks, judged from what the trained network put out.

A scorer reads the outputs on the training images once and returns a judge, a function from any other outputs to a
Verdict. HIGHER always means MORE UNKNOWN; an image is rejected when score > theta. Numpy only, so that the app can
score without importing torch. The scorers stand by what they read: distances.py, logits.py, features.py; here are
the table of them and the way in.

Keywords are a scorer's own options: the command line, the app's forms and the sweeps read them from the signature.
"""

import inspect
from typing import Any

import numpy as np

from cac_core.recipe import checked_options, known_name
from cac_core.scoring.distances import distance, gamma
from cac_core.scoring.features import cosine, knn, mahalanobis, placeholder, unknown_class
from cac_core.scoring.logits import energy, max_logit, msp, openmax
from cac_core.scoring.outputs import Judge, Outputs, Verdict, finite, only, without_fold
from cac_core.sentences import say

SCORERS = {
    "gamma": gamma, "distance": distance, "msp": msp, "max_logit": max_logit, "energy": energy, "knn": knn,
    "mahalanobis": mahalanobis, "cosine": cosine, "placeholder": placeholder,
    "unknown_class": unknown_class, "openmax": openmax,
}  # fmt: skip

BY_FEATURES = ("knn", "mahalanobis", "cosine", "placeholder")  # the others read logits


ALONE = {
    "placeholder": ("proser",),
    "unknown_class": ("osrci", "g_openmax"),
}  # scores of what some methods alone put out


def scorers_for(method: str) -> list[str]:
    """The scores that a method's outputs can be judged by."""
    return [name for name in SCORERS if method in ALONE.get(name, (method,))]


def default_for(method: str) -> str:
    """The score that a method's own paper rejects by."""
    others = {
        "cross_entropy": "msp",
        "softmax_ensemble": "msp",
        "supcon": "knn",
        "cider": "knn",
        "vos": "energy",
        "proser": "placeholder",
        "osrci": "unknown_class",
        "g_openmax": "unknown_class",
    }
    return others.get(method, "gamma")


def scorer_options(name: str) -> dict[str, Any]:
    """The options of a scorer and their defaults, from its signature."""
    parameters = inspect.signature(SCORERS[known_name(name, SCORERS, say("scorer"))]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def judge_of(name: str, train: Outputs, **options: Any) -> Judge:
    """The judge of a scorer by name. Raises ValueError with the right names where one is wrong.

    So do logits or features that are not finite, of the training images here, of others when they are judged. An image
    that is of a fold is judged by what the network without that fold put out for the other training images.
    """
    options = checked_options(name, scorer_options(name), options)
    judges: dict[int, Judge] = {-1: SCORERS[name](finite(train), **options)}

    def judge(out: Outputs) -> Verdict:
        if finite(out).fold is None or train.fold is None:
            return judges[-1](out)
        score, label = np.empty(len(out)), np.empty(len(out), int)
        for fold in np.unique(out.fold).tolist():
            if fold not in judges:
                judges[fold] = SCORERS[name](without_fold(train, fold), **options)
            mine = out.fold == fold
            verdict = judges[fold](only(out, mine))
            score[mine], label[mine] = verdict.score, verdict.label
        return Verdict(score, label)

    return judge
