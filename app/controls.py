"""Theta and its controls: score, options, perturbation, theta by rule or by hand, and what it does."""

import dataclasses
import math
from typing import Any

import numpy as np
import streamlit as st

from app import charts, live, verdicts, wording
from app.words import t
from cac_core.results import judge
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.distances import CENTRES
from cac_core.scoring.logits import METRICS
from cac_core.scoring.scorers import SCORERS, default_for, scorer_options


def palette() -> charts.Palette:
    return charts.DARK if st.context.theme.type == "dark" else charts.LIGHT


def choose_scorer(run: Run) -> str:
    return st.segmented_control(
        t("Score"), list(SCORERS), default=default_for(run.recipe.method), required=True,
        format_func=lambda name: t(wording.SHORT[name]),
        key="scorer", persist_state="session", on_change=another_scorer,
        help=t("How unknown an image looks. γ is what Class Anchor Clustering rejects by."),
    )  # fmt: skip


def choose_options(run: Run, scorer: str, anchors: bool) -> dict[str, Any]:
    """The options of a scorer, one widget each, by its signature."""
    options = scorer_options(scorer)
    if "centres" in options and anchors:
        options["centres"] = st.segmented_control(
            t("Distances are taken to"), CENTRES, default=options["centres"], required=True,
            format_func={"means": t("class means"), "anchors": t("anchors")}.get,
            key="centres", persist_state="session", on_change=reset_theta,
        )  # fmt: skip
    if "temperature" in options:
        options["temperature"] = st.number_input(
            t("Temperature"), min_value=0.01, max_value=1000.0, value=options["temperature"], step=0.1,
            key="temperature", persist_state="session", on_change=reset_theta,
            help=t("Logits or distances are divided by it before the softmax. 1 is the paper's; in ODIN it is T."),
        )  # fmt: skip
    for name, label in wording.COUNTS.items():
        if name in options:
            options[name] = st.number_input(
                t(label), min_value=1, max_value=100_000, value=options[name], step=1,
                key=name, persist_state="session", on_change=reset_theta,
            )  # fmt: skip
    if "metric" in options:
        options["metric"] = st.segmented_control(
            t("Distances are"), METRICS, default=options["metric"], required=True,
            format_func={"euclidean": t("Euclidean"), "eucos": t("Euclidean and cosine")}.get,
            key="metric", persist_state="session", on_change=reset_theta,
        )  # fmt: skip
    if not set(options) - {"tolerance"}:  # where a variance counts as none: nothing to choose by eye
        st.caption(t("This score has no options."))
    return options


def another_scorer() -> None:
    """A threshold belongs to one score of one run."""
    reset_theta()
    for name in SCORERS:
        for key, value in scorer_options(name).items():
            if key in st.session_state:
                st.session_state[key] = value


def take_scorer(name: str, **options: Any) -> None:
    """Judge by this scorer from now on, on every page, with these options and else its defaults; theta goes by rule."""
    st.session_state.scorer = name
    another_scorer()
    st.session_state.update(options)


def reset_theta() -> None:
    st.session_state.theta = None


def choose_perturbation(run: Run, scorer: str) -> verdicts.Perturbation:
    """ODIN's temperature and magnitude, of those that the run's sweep holds; none where there is no sweep."""
    if not (temperatures := verdicts.held(run)) or scorer in ("knn", "mahalanobis"):
        return verdicts.Perturbation()
    there = {"odin": temperatures, "epsilon": verdicts.magnitudes(run)}
    if any(key in st.session_state and st.session_state[key] not in choices for key, choices in there.items()):
        for key in there:  # another run's, or not held in this copy
            st.session_state.pop(key, None)
    magnitude = st.selectbox(
        t("Perturb images first (ODIN), by ε ="), verdicts.magnitudes(run),
        format_func=lambda e: f"{e:g}" if e else t("0, not at all"),
        key="epsilon", persist_state="session", on_change=reset_theta,
        help=t("Every pixel takes a step of this size, of 1, towards the predicted class."),
    )  # fmt: skip
    temperature = st.selectbox(
        t("at the temperature of the gradient"), temperatures, format_func=lambda x: f"{x:g}",
        key="odin", persist_state="session", on_change=reset_theta,
    )  # fmt: skip
    return verdicts.Perturbation(magnitude, temperature)


def choose_each(moved: verdicts.Perturbation) -> float | None:
    """The share that every class keeps by a theta of its own, or None for one theta for all."""
    each = st.toggle(
        t("A θ of its own for each class"), key="each", persist_state="session",
        on_change=reset_theta, disabled=moved.magnitude > 0,
        help=t("Each class keeps the same share of its new knowns. Scores are then shown less that θ."),
    )  # fmt: skip
    return kept() if each and not moved.magnitude else None


def live_state(blob: bytes, scorer: str, options: dict[str, Any]) -> dict[str, Any]:
    """What every live view is told by the page: the feed, the score and its options, theta or the rule, the looks."""
    return {
        "feed": live.id_of(blob),
        "scorer": scorer,
        "name": t(wording.SAID[scorer]),
        "centres": options.get("centres", "means"),
        "temperature": options.get("temperature", 1.0),
        "theta": st.session_state.get("theta"),
        "kept": kept(),
        "palettes": {"light": dataclasses.asdict(charts.LIGHT), "dark": dataclasses.asdict(charts.DARK)},
        "words": {phrase: t(phrase) for phrase in live.WORDS},
    }


def take(word: dict[str, Any]) -> None:
    """What was moved in a live view becomes the page's own, and the address's."""
    if "theta" in word:
        st.session_state.theta = word["theta"]
    if "temperature" in word:
        st.session_state.temperature = word["temperature"]


def kept() -> float:
    """The share of new knowns that theta is to keep, as it is set."""
    return st.session_state.get("kept", 100 * judge.KEPT) / 100


def theta_of(said: verdicts.Judged) -> float:
    """Theta as it is set: by hand, or by the share of new knowns that it keeps."""
    given = st.session_state.get("theta")
    return given if given is not None and math.isfinite(given) else said.theta_at(kept())


def rule_said(said: verdicts.Judged) -> str:
    """What the theta by the rule promises, and by which images, in words."""
    rule = judge.rule_of(said.run, kept(), len(said.validation.score), say=t)
    if said.each is None:
        return rule
    names = said.run.known_names
    if few := judge.too_few(said.each, said.validation, len(names)):
        few = t(", ").join(names[c] for c in few)
        return t(
            "for each class: {rule}. Too few are nearest to {names}: there the θ of all is taken", rule=rule, names=few
        )
    return t("for each class: {rule}", rule=rule)


def theta_inputs(said: verdicts.Judged, left, right) -> float | None:
    """The share of knowns to keep, in percent, and theta by hand, each in its place; gives the latter."""
    given = st.session_state.get("theta")
    if given is not None and not math.isfinite(given):
        st.session_state.theta = None
    left.number_input(
        t("Knowns to keep, %"), min_value=1.0, max_value=100.0, value=100 * judge.KEPT, step=1.0, format="%g",
        key="kept", persist_state="session", on_change=reset_theta,
        help=t("θ is the lowest that keeps this share of new knowns on average, as validation images show. It needs no "
               "unknown."),
    )  # fmt: skip
    rule = said.theta_at(kept())
    return right.number_input(
        t("or exactly θ ="), value=None, format="%g", step=float(f"{max(abs(rule), 1e-4) / 10:.1g}"),
        placeholder=charts.number(rule), key="theta", persist_state="session",
        help=t("Leave empty to go by the share of knowns kept."),
    )  # fmt: skip


def by_rule_again(said: verdicts.Judged) -> None:
    """What theta rests on by the rule, or the way back to it; and what is wrong with the one that a link asked for."""
    asked = st.session_state.get("no_theta")
    if st.session_state.get("theta") is not None:
        st.button(
            t("θ is set by hand. Go back to keeping {kept:g} %", kept=100 * kept()), type="tertiary",
            icon=":material/undo:", key="by_rule", on_click=reset_theta,
        )  # fmt: skip
        return
    if asked:
        st.caption(t("“{text}” in the link is no number, so θ goes by the rule.", text=wording.plain(asked[:40])))
    theta, rule = charts.number(said.theta_at(kept())), wording.plain(rule_said(said))
    st.caption(t("θ = {theta}: {rule}.", theta=theta, rule=rule))


def choose_theta(said: verdicts.Judged) -> float:
    """The threshold: by the share of new knowns that it keeps, unless someone has set it by hand."""
    slider = st.container()
    left, right = st.columns(2)
    given = theta_inputs(said, left, right)
    theta = said.theta_at(kept()) if given is None else given
    st.session_state.slide = theta
    # the slider tells its choices apart by what is written, so what reads like θ gives way to θ itself
    choices = {charts.number(x): x for x in (*said.scale.choices(), theta)}
    slider.select_slider(
        t("Reject an image when its score is above θ"), sorted(choices.values()),
        format_func=charts.number, key="slide", on_change=_slid,
        help=t("To the left stricter, to the right more lenient. The arrow keys move it, too."),
    )  # fmt: skip
    by_rule_again(said)
    return theta


def _slid() -> None:
    st.session_state.theta = st.session_state.slide


def numbers_at(theta: float, said: verdicts.Judged, wide: bool) -> None:
    """What theta does to the test images: three shares with their counts and 95 % intervals."""
    classes = len(said.means)
    shares = metrics.at(theta, said.test, said.labels, classes)
    spread = metrics.intervals(said.test, said.labels, theta)
    table = metrics.confusion(theta, said.test, said.labels, classes)
    n_known, n_unknown = int(table[:-1].sum()), int(table[-1].sum())
    titles = {
        "knowns_kept": (t("Knowns kept"), int(table[:-1, :-1].sum()), n_known),
        "knowns_kept_and_right": (t("Knowns kept and named right"), int(np.trace(table[:-1, :-1])), n_known),
        "unknowns_caught": (t("Unknowns caught"), int(table[-1, -1]), n_unknown),
    }
    places = st.columns(3) if wide else [st.container()] * 3
    for place, (key, (title, hits, of)) in zip(places, titles.items(), strict=True):
        interval = charts.between(spread[key])
        counted = t("{hits} of {of} · 95 % interval {interval}", hits=hits, of=of, interval=interval)
        place.metric(
            title,
            charts.percent(shares[key]),
            counted if of else t("no such image"),
            delta_color="off",
            delta_arrow="off",
            border=True,
        )
