"""Eight cards that teach open-set recognition: what each says, and what the bundled runs measure for it.

The page shows them one at a time, the handout all on paper. {names} in the texts are the numbers of `measured`. What
follows _ stands low: a letter, or in a formula what {} holds.
"""

import html
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from app import charts, jobs, picker, systems
from app.words import ENGLISH, language, phrases, t
from cac_core import runs
from cac_core.results import judge, project, sweep
from cac_core.results.systems import angles, between
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.arrays import softmax
from cac_core.scoring.distances import class_means, distances, gamma
from cac_core.scoring.outputs import joined

DIGITS = runs.BUNDLED / "digits-osrci-0-cac-small-s0"
CLOSED = runs.BUNDLED / "mnist-osrci-0-cross-entropy-plain-s0-6929dbae"
SWEPT = {"digits": DIGITS, "MNIST": runs.BUNDLED / "mnist-osrci-0-cac-plain-s0-5ee7dbb1",
         "CIFAR10": runs.BUNDLED / "cifar10-osrci-0-cac-plain-s0-fbb51db0"}  # fmt: skip
OUTLIERS = runs.BUNDLED / "digits-osrci-0-vos-small-s0-65195aac"
SPHERE = runs.BUNDLED / "digits-three-cider-small-s0-cd93ad00"
SURE = 0.9


@dataclass(frozen=True)
class Card:
    """One idea, its formula, a question with three answers of which one is right, and where to try it.

    page: the url of a page of the app; state: what its address carries; run: the bundled run that is looked at there.
    """

    title: str
    idea: str
    formula: str
    question: str
    options: tuple[str, str, str]
    right: int
    answer: str
    task: str
    page: str
    state: dict[str, str]
    run: Path = DIGITS


CARDS = (
    Card(
        phrases("It always answers"),
        phrases(
            "Softmax shares out 100 % among the classes that a network has learnt, and “none of these” is not one of "
            "them. Show a truck to a network that knows cats, dogs and horses: it has to say cat, dog or horse, "
            "perhaps with 99 %. It compares the classes with one another and never asks whether any of them fits."
        ),
        "p_j = exp(z_j) / Σ_k exp(z_k),   Σ_j p_j = 1",
        phrases(
            "The network has learnt three kinds of points. Now come points × from where no training point ever was. "
            "What will softmax say of most of them?"
        ),
        phrases(
            ("Unknown", "About a third for each class: it cannot tell", "One of the three classes, and it is sure")
        ),
        2,
        phrases(
            "As a rule, the farther a point lies from the borders between the classes, the surer softmax gets, whether "
            "or not anything was ever seen there. Images are no different: of the images of {strangers} in MNIST, "
            "which the bundled softmax network never saw, {sure} get more than 90 % for one of {known}."
        ),
        phrases("Train a softmax network on three digits and show it a fourth."),
        "anchors",
        {"data": "digits", "classes": "0,1,2", "method": "softmax", "unknown": "digit"},
    ),
    Card(
        phrases("A place for every class"),
        phrases(
            "Class Anchor Clustering (CAC) gives every class a fixed place among the network's outputs, its anchor, "
            "and training brings each image to the anchor of its class. Now a distance means something: what comes "
            "near to no class looks like none of them. After training, distances are taken to the class means."
        ),
        "c_j = α e_j,   d_j = ‖z − c_j‖",
        phrases("Training never shows the network a point ×. Where among the outputs will most of them end up?"),
        phrases(("On an anchor, like all the others", "Between the anchors", "On a fourth anchor that forms for them")),
        1,
        phrases(
            "Nothing has ever pulled them to a place of their own, so the pulls of several classes mix. In the bundled "
            "network for digits, half of the known test images lie within {near} of a class mean, half of those never "
            "seen farther than {far}; two anchors are {gap} apart. A few unknowns do land beside an anchor, and "
            "no distance can tell these."
        ),
        phrases("Watch three digits go to their anchors, and a fourth that was never shown."),
        "anchors",
        {"data": "digits", "classes": "0,1,2", "method": "cac", "unknown": "digit"},
    ),
    Card(
        phrases("Two pulls"),
        phrases(
            "The loss of CAC has two terms. The first, L_T, asks that an image be nearer to its own anchor than to the "
            "others: it looks at differences of distances alone. The second, L_A, asks that it be near to its own "
            "anchor. λ says how much the second one counts; the paper takes 0.1."
        ),
        "L = L_T + λ L_A,   L_T = log(1 + Σ_{j≠y} exp(d_y − d_j)),   L_A = d_y",
        phrases("λ = 0 leaves L_T alone. Compared with λ = 1, where will the points of a class lie after training?"),
        phrases(
            (
                "In one heap with the other classes",
                "Parted from the other classes, but farther from the anchor",
                "In the same places, only later",
            )
        ),
        1,
        phrases(
            "L_T compares distances: once the own anchor is nearest by far, it is content, "
            "wherever the point lies. L_A still pulls. Compare the mean distance to the anchor, L_A, in the two "
            "pictures. In the bundled network for digits, with λ = 0.1, L_T fell from {tuplet_first} to {tuplet_last} "
            "and L_A from {anchor_first} to {anchor_last}, from the first epoch to the last. Only where a class lies "
            "close together does a distance from it say much."
        ),
        phrases("Find the λ at which an unknown is told best from three known classes."),
        "anchors",
        {"data": "moons", "method": "cac", "lambda": "0", "unknown": "blob"},
    ),
    Card(
        phrases("Where to draw the line"),
        phrases(
            "γ multiplies the distance to a class by how little that class stands out from the rest; the smallest γ "
            "is the score of an image. Above the line θ an image is called unknown. Wherever the line is drawn there "
            "are two errors: knowns that are rejected, and unknowns that are accepted."
        ),
        "γ_j = d_j (1 − s_j),   s_j = exp(−d_j) / Σ_k exp(−d_k),   min_j γ_j > θ",
        phrases("You drag θ to the left, so that more is rejected. What becomes of the two errors?"),
        phrases(
            (
                "Both become rarer",
                "Fewer unknowns are accepted, but more knowns are rejected",
                "More unknowns are accepted, but fewer knowns are rejected",
            )
        ),
        1,
        phrases(
            "One error is paid for with the other. By the usual rule θ is {theta}; this network then keeps {kept} of "
            "the known test images and catches {caught} of the unknowns. To catch 99 % of them it would have to reject "
            "{away} of the knowns. The rule, “keep 95 % of new known images”, goes by known images held out of "
            "training: it needs no unknown and can be set before any is met. Which error costs more is for you to say."
        ),
        phrases("Say what each error costs you, and see which θ follows."),
        "thresholds",
        {"kept": "99"},
    ),
    Card(
        phrases("A nudge to the image"),
        phrases(
            "ODIN moves every pixel by a small step ε so that the predicted class looks likelier, and looks again: "
            "known images should follow more readily than unknown ones. T, a temperature, has a say in the direction. "
            "Two numbers to choose, and a trap: whoever picks them by the test images has looked at the answers."
        ),
        "x′ = x − ε sign(∂L/∂x),   L = −log softmax(−d / T)_ŷ",
        phrases(
            "Somebody tries {cells} pairs of T and ε on the test images, unknowns among them, and reports the best "
            "AUROC. What will new images give?"
        ),
        phrases(("The same: it was measured", "Rather less", "Rather more")),
        1,
        phrases(
            "The choice has seen the very unknowns that it is then measured on. ★ is the best pair by "
            "the test unknowns, the oracle. ▲ is chosen with known validation images alone: one class after the other "
            "plays the unknown. For the bundled network on CIFAR10 the oracle's pair changes the AUROC by {oracle} "
            "points, the one that could honestly be chosen by {honest}. Only the second may be claimed."
        ),
        phrases("Look at what the step did to an image, and at every pair of T and ε."),
        "sweep",
        {"odin": "10", "epsilon": "0.004"},
    ),
    Card(
        phrases("What a map hides"),
        phrases(
            "UMAP lays images out on a plane so that neighbours stay neighbours. It gives up the rest for that: sizes "
            "of heaps and gaps between them mean nothing, and another seed draws another map. The wheel is a plain "
            "projection: it invents nothing, but different outputs can fall on one place."
        ),
        "Σ_j z_j (cos 2πj/C, sin 2πj/C) / α",
        phrases(
            "On the map the heaps of {near_one} and {near_other} lie closest together, and those of {far_one} and "
            "{far_other} are {times} times as far apart. Is it so among the outputs of the network?"
        ),
        phrases(
            (
                "Yes: that is what a map shows",
                "No: there, any two known digits are about equally far apart",
                "No: there it is the other way round",
            )
        ),
        1,
        phrases(
            "All anchors are equally far from one another, and the class means of any two known digits lie {least} "
            "to {most} apart. On the map it is {map_least} to {map_most}. What a map does keep is who is next to whom: "
            "the trustworthiness of this one is {trust}, and 1 is the most. Whether an image is unknown is for its "
            "score to say, not for a picture."
        ),
        phrases("Draw around the × marks on the map and see where they lie on the wheel."),
        "space",
        {"view": "umap"},
    ),
    Card(
        phrases("Making up the unknown"),
        phrases(
            "A network never sees an unknown image while it learns, so some systems make up their own. VOS draws many "
            "points around each class and keeps the least likely: virtual outliers. PROSER mixes two images of "
            "different classes. OSRCI and G-OpenMax generate images that fit no class."
        ),
        "x_{out} = m_c + L ε_k, k = argmax_i ‖ε_i‖   x_{mix} = λ x_i + (1 − λ) x_j, y_i ≠ y_j",
        phrases(
            "Which of what is made up will lie between the classes, with a second class nearly as near as the nearest?"
        ),
        phrases(
            (
                "Most virtual outliers: they are drawn to be unlikely",
                "Some of the mixtures; most virtual outliers stay around their own class",
                "Nearly all of both",
            )
        ),
        1,
        phrases(
            "A second class is nearly as near (80 % or more) for {mixed_between} of the mixtures and {virtual_between} "
            "of the virtual outliers, for {known_between} of the known test images, but for {unknown_between} of the "
            "images never seen. These lie farther out, too: half of them beyond {unknown_far} from the nearest class "
            "mean, of virtual outliers beyond {virtual_far}, of mixtures {mixed_far}, of known images {known_far}. "
            "What is made up is made of what is known. Whether it helps shows beside a control: the same training "
            "without it."
        ),
        phrases("See the virtual outliers of this network, and how far they lie."),
        "space",
        {},
        OUTLIERS,
    ),
    Card(
        phrases("A sphere instead of anchors"),
        phrases(
            "CIDER gives each class a direction instead of a place: vectors are brought to length 1, so that they lie "
            "on a sphere, and each class has a prototype μ_c there. One loss turns images towards their own prototype, "
            "another pushes prototypes apart. What is near to no prototype looks like none of the classes."
        ),
        "p(z | c) ∝ exp(κ μ_c·z)   p(c | z) = exp(μ_c·z / τ) / Σ_k exp(μ_k·z / τ)",
        phrases("Three classes, and their prototypes are pushed apart on a sphere. Where will they end up?"),
        phrases(
            (
                "At right angles, as the axes of anchors are",
                "At 120° from one another, in one plane",
                "As close as they can be without touching",
            )
        ),
        1,
        phrases(
            "Three directions can be no farther apart: C of them at a cosine of −1 / (C − 1), a simplex. In the "
            "bundled network for three digits it is {sphere_least}° to {sphere_most}°, and the cosine of images to "
            "their own prototype rose from {own_first} to {own_last}. Why is that loss a classifier? Say the images "
            "of a class scatter around μ_c as a normal distribution does on a sphere (von Mises–Fisher), with one κ "
            "for all: by Bayes’ rule an image’s class is a softmax of its cosines, and its cross-entropy is CIDER’s, "
            "with τ = 1 / κ. Nothing holds other digits anywhere: half of their images are {apart} or more from the "
            "nearest prototype."
        ),
        phrases("See the sphere of this network, and how its prototypes moved apart."),
        "space",
        {},
        SPHERE,
    ),
)


def marked(text: str) -> str:
    """As HTML: what follows _ stands low; three spaces part formulas, none of which is broken; the rest is escaped."""
    low = re.sub(r"_(?:\{(.*?)\}|(\w))", lambda m: f"<sub>{m[1] or m[2]}</sub>", html.escape(text))
    parts = low.split("   ")
    if len(parts) == 1:
        return low
    return " \u2003".join(f'<span style="white-space: nowrap">{part}</span>' for part in parts)


def address(card: Card) -> str:
    """Where to try it, from any page of the app: the bundled run, which a store that lacks it is offered there, but in
    a show, where another one is shown so; and the reader's language."""
    state = dict(card.state)
    if card.page != "anchors" and not (jobs.read_only() and picker.missing(card.run.name)):
        state["run"] = card.run.name
    if language() != ENGLISH:
        state["lang"] = language()
    return f"{card.page}?{urlencode(state, safe=',')}"


def measured() -> dict[str, str]:
    """The numbers that the texts name, by what the bundled runs put out."""
    closed = Run(CLOSED)
    return {
        "strangers": t(", ").join(closed.class_names[c] for c in closed.trial.unknown),
        "known": t(", ").join(closed.known_names),
        **_measured(*(Run(path).written for path in (CLOSED, DIGITS, OUTLIERS, SPHERE))),
    }


@st.cache_data(max_entries=2, show_spinner=False)
def _measured(*written: str) -> dict[str, str]:
    closed, run = Run(CLOSED), Run(DIGITS)
    test = closed.outputs("test")
    surest = softmax(test.logits.astype(float))[test.labels < 0].max(1)
    swept = sweep.report(Run(SWEPT["CIFAR10"]))
    return {
        "sure": charts.percent((surest > SURE).mean()),
        **_lengths(run),
        **_terms(run),
        **_errors(run),
        "cells": str(len(swept["cells"])),
        **{
            name: charts.points(100 * swept[choice]["gamma"]["gain"], 2).replace("-", "−")
            for name, choice in (("honest", "chosen"), ("oracle", "oracle"))
        },
        **_gaps(run),
        **_made_up(Run(OUTLIERS)),
        **_directions(Run(SPHERE)),
    }


def _made_up(run: Run) -> dict[str, str]:
    """Of what VOS and PROSER make up, and of test images: what lies between classes, and how far half of them lie."""
    _, _, distances = systems.outliers_of(run)
    return {f"{name}_between": charts.percent(between(some), 0) for name, some in distances.items()} | {
        f"{name}_far": f"{np.median(some.min(1)):.1f}" for name, some in distances.items()
    }


def _directions(run: Run) -> dict[str, str]:
    """Angles between prototypes in degrees, how compact the classes became, how far images never seen are."""
    train, test = run.outputs("train"), run.outputs("test")
    gaps = angles(train.prototypes.astype(float))[np.triu_indices(len(run.known_names), 1)]
    cosines = test.logits[test.labels < 0].max(1).astype(float) * systems.option(run, "temperature")
    epochs = [event["beside"]["own"] for event in run.epochs()]
    return {
        "sphere_least": f"{gaps.min():.0f}", "sphere_most": f"{gaps.max():.0f}",
        "own_first": f"{epochs[0]:.2f}", "own_last": f"{epochs[-1]:.2f}",
        "apart": f"{np.degrees(np.arccos(np.clip(np.median(cosines), -1, 1))):.0f}°",
    }  # fmt: skip


def _lengths(run: Run) -> dict[str, str]:
    test = run.outputs("test")
    least = distances(test.logits, class_means(run.outputs("train"))).min(1)
    return {
        "near": charts.number(np.median(least[test.labels >= 0])),
        "far": charts.number(np.median(least[test.labels < 0])),
        "gap": charts.number(float(np.linalg.norm(test.anchors[0] - test.anchors[1]))),
    }


def _terms(run: Run) -> dict[str, str]:
    epochs = run.epochs()
    return {
        f"{term}_{name}": charts.number(epochs[at]["train"][term])
        for term in ("tuplet", "anchor")
        for name, at in (("first", 0), ("last", -1))
    }


def _errors(run: Run) -> dict[str, str]:
    judge_one, test = gamma(run.outputs("train")), run.outputs("test")
    verdict = judge_one(test)
    theta = metrics.theta_at(judge.KEPT, judge_one(run.outputs("validation")).score)
    shares = metrics.at(theta, verdict, test.labels, len(run.known_names))
    curve = metrics.Curve(verdict.score[test.labels >= 0], verdict.score[test.labels < 0])
    return {
        "theta": charts.number(theta),
        "kept": charts.percent(shares["knowns_kept"]),
        "caught": charts.percent(shares["unknowns_caught"]),
        "away": charts.percent(curve.knowns_rejected_at(0.99)),
    }


def _gaps(run: Run) -> dict[str, str]:
    """How far the middles of known classes lie apart, among the outputs and on the map."""
    both = joined(run.outputs("validation"), run.outputs("test"))
    names = run.known_names
    one, other = np.triu_indices(len(names), 1)
    spaces = both.logits.astype(float), map_places(run)
    middles = [np.array([x[both.labels == c].mean(0) for c in range(len(names))]) for x in spaces]
    logits, flat = (np.linalg.norm(middle[one] - middle[other], axis=1) for middle in middles)
    near, far = flat.argmin(), flat.argmax()
    return {
        "near_one": names[one[near]], "near_other": names[other[near]],
        "far_one": names[one[far]], "far_other": names[other[far]],
        "times": f"{flat[far] / flat[near]:.1f}",
        "least": charts.number(logits.min()), "most": charts.number(logits.max()),
        "map_least": charts.number(flat[near]), "map_most": charts.number(flat[far]),
        "trust": f"{project.maps(run)[0].trustworthiness:.3f}",
    }  # fmt: skip


def map_places(run: Run) -> np.ndarray:
    """Places [N, 2] of the validation and test images on the run's first map, in the order of its outputs."""
    one = project.maps(run)[0]
    starts = np.cumsum([0, *(len(run.outputs(split).labels) for split in one.splits)])
    places = np.empty((starts[-1], 2))
    places[starts[one.split] + one.row] = one.xy
    return places
