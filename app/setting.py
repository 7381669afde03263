"""How images of a run are judged: what is set for it, read once from the session, the same on every page.

A theta belongs to the scores that it was set for. Where the run, the score, an option, the perturbation or "a theta of
its own for each class" becomes another, theta goes by the rule again, and the pages say so.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from app import verdicts
from app.words import phrases, t
from cac_core.data.images import way_of
from cac_core.results import judge
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.scorers import BY_FEATURES, scorer_options, scorers_for

ORACLES = phrases({  # rules that look at the test unknowns, with what a page may set for each
    "cost": "least cost at {share:g} % unknowns in use, where an accepted unknown costs {ratio:g} rejected knowns",
    "fpr": "accepts at most {accept:g} % of the test unknowns",
    "youden": "best balance of unknowns caught and knowns rejected on the test images (Youden)",
})  # fmt: skip
NUMBERS = {
    "kept": 100 * judge.KEPT,
    "share": 20.0,
    "ratio": 5.0,
    "accept": 5.0,
}  # what rules go by, in their pages' units


@dataclass(frozen=True)
class Setting:
    """All that decides about an image, and the verdicts that it gives on the run's own.

    theta: an image is rejected above it; with `each`, the share that every class keeps, scores are less the theta of
    the nearest class, and theta is what is put on top of that, 0 by rule. rule: where theta comes from, "kept", "hand"
    or one of ORACLES. notes: what is set and cannot be had here, in sentences.
    """

    run: Run
    scorer: str
    options: dict[str, Any]
    moved: verdicts.Perturbation
    each: float | None
    said: verdicts.Judged
    theta: float
    rule: str
    notes: tuple[str, ...]

    @property
    def thetas(self) -> np.ndarray | None:
        """The theta [C] of each class for plain scores, or None for one theta for all."""
        return None if self.each is None else self.base + self.theta

    @property
    def base(self) -> np.ndarray:
        """What theta is put on top of [C] for plain scores, by the nearest class; 0 with one theta for all."""
        if self.each is None:
            return np.zeros(len(self.said.means))
        plain = verdicts.judged(self.run, self.scorer, self.moved, None, **self.options)
        return judge.thetas_at(self.each, plain.validation, len(plain.means))

    @property
    def oracle(self) -> bool:
        """Whether theta has looked at test unknowns."""
        return self.rule in ORACLES


def set_up(run: Run, movable: bool = True) -> Setting:
    """What is set, for this run; movable: whether the images of the page can be perturbed."""
    state = st.session_state
    offered = scorers_for(run.recipe.method)
    if state.get("scorer") not in (None, *offered):  # of another method's run
        state.scorer = judge.default_of(run)
    state.scorer_was = scorer = state.get("scorer") or judge.default_of(run)
    _note(run, scorer)
    anchors = run.outputs("train").anchors is not None
    options = _options(scorer, anchors)
    moved, *notes = _moved(run, scorer, movable)
    if options.get("centres") != state.get("centres", "means") == "anchors" and "centres" in options:
        notes.append(t("This run has no anchors, so distances are taken to the class means."))
    each = number("kept") / 100 if state.get("each") else None
    if each is not None:
        notes.append(t("Each class has a θ of its own: scores are less that θ, and θ here is what is put on top."))
    said = verdicts.judged(run, scorer, moved, each, **options)
    _keep_theta((run.id, scorer, tuple(sorted(options.items())), moved if moved.magnitude else None, each is not None))
    theta, rule = _theta(said)
    return Setting(run, scorer, options, moved, each, said, theta, rule, tuple(notes))


def _note(run: Run, scorer: str) -> None:
    """What is set, and what each widget begins at, for `hold`."""
    start = NUMBERS | dict.fromkeys(("theta", "rule")) | scorer_options(scorer)
    start |= {"scorer": judge.default_of(run), "each": False, "epsilon": 0.0}
    start["odin"] = next(iter(verdicts.held(run)), None)
    state = st.session_state
    state.noted = {"run": run.id, "start": start, "set": {name: state[name] for name in start if name in state}}


def hold() -> None:
    """As one comes to another page: what was set stays, where the page before has just said that it is not set.

    A widget begins at its default in the browser and hears its value a moment later; where somebody goes on within that
    moment, Streamlit 1.67 takes the default for what was chosen. So a default that comes with the way to another page
    is not believed; one that was chosen on the page before has been noted there.
    """
    state = st.session_state
    noted = state.get("noted")
    if noted is None or noted["run"] != state.get("run"):
        return
    for name, value in noted["set"].items():
        if state.get(name) in (None, noted["start"][name]):
            state[name] = value


def number(name: str) -> float:
    """One of NUMBERS, as it is set."""
    value = st.session_state.get(name)
    return NUMBERS[name] if value is None else value


def way(run: Run) -> str:
    """What uploaded pictures are taken for, one of images.WAYS."""
    return way_of(run.row, st.session_state.get("as") if run.row.drawn else None)


def _options(scorer: str, anchors: bool) -> dict[str, Any]:
    options = scorer_options(scorer)
    for name, default in options.items():
        value = st.session_state.get(name)
        options[name] = default if value is None or (name == "centres" and not anchors) else value
    return options


def _moved(run: Run, scorer: str, movable: bool) -> tuple[verdicts.Perturbation, *tuple[str, ...]]:
    """ODIN's perturbation where it can be had, else none; and what there is to say of it."""
    state = st.session_state
    magnitude, temperatures = state.get("epsilon") or 0.0, verdicts.held(run)
    temperature = state.get("odin") or next(iter(temperatures), 1.0)
    asked = {"e": magnitude, "t": temperature}
    if not magnitude:
        lacking = state.get("not_held", {})
        notes = [t(NOT_HELD, **lacking["asked"])] if lacking.get("run") == run.id else []
        return verdicts.Perturbation(0.0, temperature), *notes
    state.not_held = {}
    if scorer in BY_FEATURES:  # these know nothing of a perturbation: a sweep holds logits alone
        return verdicts.Perturbation(), t("This score goes by features, which no sweep holds: images are judged as "
                                          "they are, without the step of ε = {e:g} that is set.", **asked)  # fmt: skip
    if magnitude not in verdicts.magnitudes(run) or temperature not in temperatures:
        return verdicts.Perturbation(), t(NOT_HELD, **asked)
    if not movable:
        return verdicts.Perturbation(0.0, temperature), t(
            "The further images are in no sweep: all are judged as they are, without the step of ε = {e:g}.", **asked
        )
    return verdicts.Perturbation(magnitude, temperature), t(
        "Each image is moved first: ε = {e:g}, T = {t:g} (ODIN).", **asked
    )


NOT_HELD = phrases(
    "The sweep of this run does not hold images moved by ε = {e:g} at T = {t:g}, as was asked for: they are judged as "
    "they are."
)


# --- theta -----------------------------------------------------------------------------------------------------------


def _theta(said: verdicts.Judged) -> tuple[float, str]:
    state = st.session_state
    given, rule = state.get("theta"), state.get("rule")
    if given is not None:
        return given, "hand"
    if rule in ORACLES and said.unknowns and math.isfinite(theta := by(rule, said)):
        return theta, rule
    return by("kept", said), "kept"


def by(rule: str, said: verdicts.Judged) -> float:
    """Theta by a rule: "kept", or one of ORACLES."""
    if rule == "kept":
        return said.theta_at(number("kept") / 100)
    if rule == "cost":
        return metrics.theta_at_cost(number("ratio"), number("share") / 100, said.test, said.labels)
    if rule == "fpr":
        return metrics.theta_at_fpr(number("accept") / 100, said.test, said.labels)
    return metrics.theta_youden(said.test, said.labels)


def words(now: Setting, rule: str | None = None) -> str:
    """Where theta comes from, or another rule, and what it promises by which images, in words."""
    rule = rule or now.rule
    if rule != "kept":
        if rule == "hand":
            said = named(now.theta) or t("set by hand")
        else:
            said = t(ORACLES[rule], **{name: number(name) for name in NUMBERS})
        if now.each is not None:
            said = t("{rule}, on top of a θ for each class", rule=said)
        return said if rule == "hand" else t("{rule}; an oracle, it has looked at the test unknowns", rule=said)
    moved = now.moved.magnitude, now.moved.temperature
    said = judge.rule_of(now.run, number("kept") / 100, len(now.said.validation.score), t, *moved)
    if now.each is None:
        return said
    names = now.run.known_names
    if few := judge.too_few(now.each, now.said.validation, len(names)):
        few = t(", ").join(names[c] for c in few)
        return t(
            "for each class: {rule}. Too few are nearest to {names}: there the θ of all is taken", rule=said, names=few
        )
    return t("for each class: {rule}", rule=said)


def _keep_theta(scores: tuple) -> None:
    """Lets theta go where it was set for other scores than these."""
    state = st.session_state
    if state.get("theta") is not None and not math.isfinite(state.theta):
        state.theta = None
    if state.setdefault("theta_for", None) not in (None, scores):
        state.let_go = state.get("theta") is not None or state.get("rule") is not None
        state.theta = state.rule = None
    state.theta_for = scores


def taken() -> None:
    """Theta or its rule has been set just now, so it is for the scores that are set now."""
    st.session_state.theta_for, st.session_state.let_go = None, False


def by_hand(theta: float | None) -> None:
    """Theta as somebody has set it; None gives it back to the rule."""
    st.session_state.theta, st.session_state.rule = theta, None
    taken()


def by_name(theta: float, phrase: str, values: dict[str, Any]) -> None:
    """Theta as a page has found it, with what it rests on, a phrase and its values: said as long as it stays."""
    by_hand(theta)
    st.session_state.theta_named = theta, phrase, values


def named(theta: float) -> str:
    """What a theta that was set `by_name` rests on; empty for any other."""
    of, phrase, values = st.session_state.get("theta_named") or (None, "", {})
    return t(phrase, **values) if of == theta else ""


def by_rule(rule: str | None = None) -> None:
    """Theta by one of ORACLES, or by the share of new knowns that it keeps."""
    st.session_state.theta, st.session_state.rule = None, rule
    taken()
