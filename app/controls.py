"""Theta and its controls: score, options, perturbation, theta by rule or by hand, and what it does."""

import dataclasses
from typing import Any

import numpy as np
import streamlit as st

from app import charts, live, setting, verdicts, wording
from app.setting import Setting
from app.words import said, t
from cac_core.files import is_file
from cac_core.recipe import IMPORTED
from cac_core.results import judge, quality, stand_ins
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.distances import CENTRES
from cac_core.scoring.features import COVARIANCES, SCALINGS
from cac_core.scoring.logits import METRICS
from cac_core.scoring.scorers import BY_FEATURES, SCORERS, UNSURE, grouped, scorer_options


def palette() -> charts.Palette:
    return charts.DARK if st.context.theme.type == "dark" else charts.LIGHT


def choose_scorer(run: Run) -> str:
    """A list of all scores that the run's outputs allow, the method's own first; what is typed looks for one."""
    groups, gone = grouped(run.recipe.method), verdicts.lacking(run)
    group_of = {name: group for group, names in groups.items() for name in names}
    chosen, default = st.session_state.get("scorer"), judge.default_of(run)
    there = [name for name in group_of if name not in gone or name in (chosen, default)]
    return st.selectbox(
        t("Score"), there, index=there.index(default), format_func=lambda name: wording.score(name, group_of[name]),
        key="scorer", persist_state="session", on_change=_chose_scorer, width=300,
        help=t("How unknown an image looks. γ is what Class Anchor Clustering rejects by. Type to look for one."),
    )  # fmt: skip


def choose_options(run: Run, scorer: str) -> None:
    """The options of a scorer, one widget each, by its signature; the perturbation; a theta of its own for each class.

    Not one of them lets theta go by on_change: a selection also changes where its choices are said in another language.
    `setting.set_up` sees what has really changed.
    """
    options, anchors = scorer_options(scorer), run.outputs("train").anchors is not None
    if "centres" in options and anchors:
        st.segmented_control(
            t("Distances are taken to"), CENTRES, default=options["centres"], required=True,
            format_func={"means": t("class means"), "anchors": t("anchors")}.get,
            key="centres", persist_state="session",
        )  # fmt: skip
    if "temperature" in options:
        st.number_input(
            t("Temperature"), min_value=0.01, max_value=1000.0, value=options["temperature"], step=0.1,
            key="temperature", persist_state="session",
            help=t("Logits or distances are divided by it before the softmax. 1 is the paper's; in ODIN it is T."),
        )  # fmt: skip
    for name, label in wording.COUNTS.items():
        if name in options:
            label = wording.NEAR if (name, scorer) == ("k", "nnguide") else label
            by_count = None if options[name] else t("0 goes by the number of images.")
            st.number_input(
                t(label), min_value=min(1, options[name]), max_value=100_000, value=options[name], step=1, key=name,
                persist_state="session", help=by_count,
            )  # fmt: skip
    _one_of(options, "metric", t("Distances are"), METRICS, [t("Euclidean"), t("Euclidean and cosine")])
    for name, label in wording.PERCENTILES.items():
        if name in options:
            st.number_input(
                t(label), min_value=0.0, max_value=99.9, value=options[name], step=5.0, format="%g", key=name,
                persist_state="session",
            )  # fmt: skip
    if "power" in options:
        st.number_input(
            t("Power of the shares"), min_value=0.01, max_value=10.0, value=options["power"], step=0.1, format="%g",
            key="power", persist_state="session",
        )  # fmt: skip
    _one_of(options, "covariance", t("Covariances"), COVARIANCES, [t("one for all classes"), t("one for each class")])
    _one_of(
        options, "scaling", t("Logits and latents are taken"), SCALINGS,
        [t("as they are"), t("each over its own spread")],
        t("As they are is the paper's way; latents are small beside logits then, and hardly count."),
    )  # fmt: skip
    if not options:
        st.caption(t("This score has no options."))
    if scorer in UNSURE:
        st.caption(
            t(
                "By default this is set as in the paper, for other networks. What is best for this one only unknown "
                "images could tell; a value that looks best on the test images has looked at them."
            )
        )
    _not_offered(run)
    _choose_perturbation(run, scorer)
    st.toggle(
        t("A θ of its own for each class"), key="each", persist_state="session",
        help=t("Each class keeps the same share of its new knowns. Scores are then shown less that θ."),
    )  # fmt: skip


def _one_of(options: dict, name: str, title: str, choices: tuple[str, ...], said: list[str], why: str | None = None):
    """The control of an option that is one of a few, where the score has it; said are its choices in words."""
    if name in options:
        st.segmented_control(
            title, choices, default=options[name], required=True, format_func=dict(zip(choices, said, strict=True)).get,
            key=name, persist_state="session", help=why,
        )  # fmt: skip


def _not_offered(run: Run) -> None:
    """Which scores the run's outputs do not allow, and why."""
    reasons: dict[str, list[str]] = {}
    for name, why in verdicts.lacking(run).items():
        reasons.setdefault(why, []).append(name)
    if reasons:
        with st.popover(t("Scores that are not offered"), type="tertiary", icon=":material/help:"):
            for why, names in reasons.items():
                cause, _, command = said(why).partition("\n    ")
                st.markdown(f"**{t(', ').join(t(wording.SHORT[name]) for name in names)}**: {wording.plain(cause)}")
                if command:
                    st.code(command.replace("RUN", run.id, 1), language="bash")


def _chose_scorer() -> None:
    state = st.session_state
    if state.scorer not in SCORERS:  # it is called otherwise in another language, and Streamlit hears its old name
        state.scorer = state.scorer_was
    elif state.scorer != state.get("scorer_was"):
        another_scorer()


def another_scorer() -> None:
    """Options go back to what they are for a score; one's temperature is not another's."""
    defaults = {key: value for name in SCORERS for key, value in scorer_options(name).items()}
    for key, value in (defaults | scorer_options(st.session_state.scorer)).items():
        if key in st.session_state:
            st.session_state[key] = value


def take_scorer(name: str, **options: Any) -> None:
    """Judge by this scorer from now on, on every page, with these options and else its defaults; theta goes by rule."""
    st.session_state.scorer = name
    another_scorer()
    st.session_state.update(options)


def _choose_perturbation(run: Run, scorer: str) -> None:
    """ODIN's temperature and magnitude, of those that the run's sweep holds; nothing where there is no sweep."""
    if not (temperatures := verdicts.held(run)) or scorer in BY_FEATURES:
        return
    there, state = {"epsilon": verdicts.magnitudes(run), "odin": temperatures}, st.session_state
    if any(state.get(key) not in (None, *choices) for key, choices in there.items()):  # another run's, or not in a copy
        if state.get("epsilon"):
            state.not_held = {"run": run.id, "asked": {"e": state.epsilon, "t": state.get("odin") or temperatures[0]}}
        for key in there:
            state.pop(key, None)
    st.selectbox(
        t("Perturb images first (ODIN), by ε ="), there["epsilon"],
        format_func=lambda e: f"{e:g}" if e else t("0, not at all"), key="epsilon", persist_state="session",
        help=t("Every pixel takes a step of this size, of 1, towards the predicted class."),
    )  # fmt: skip
    st.selectbox(
        t("at the temperature of the gradient"), temperatures, format_func=lambda x: f"{x:g}",
        key="odin", persist_state="session",
    )  # fmt: skip


def live_state(blob: bytes, now: Setting, extra: bytes | None = None) -> dict[str, Any]:
    """What every live view is told by the page: the feed, the score and its options, theta or the rule, the looks.

    extra: the feed of a score that the browser cannot compute.
    """
    swept = verdicts.magnitudes(now.run)
    said = {
        "theta": None if now.rule == "kept" else now.theta,
        "temperature": now.options.get("temperature", 1.0),
        "eps": swept.index(now.moved.magnitude) if now.moved.magnitude in swept else 0,
    }
    st.session_state.told_view = said | {"magnitudes": swept}
    return looks(blob) | said | {
        "extra": live.id_of(extra) if extra else None,
        "scorer": now.scorer,
        "name": name_of(now),
        "centres": now.options.get("centres", "means"),
        "kept": setting.number("kept") / 100,
        "each": now.each is not None,
    }  # fmt: skip


def looks(blob: bytes) -> dict[str, Any]:
    """What a live view is told whatever it shows: the feed, the colours, the words."""
    return {
        "feed": live.id_of(blob),
        "palettes": {"light": dataclasses.asdict(charts.LIGHT), "dark": dataclasses.asdict(charts.DARK)},
        "words": {phrase: t(phrase) for phrase in live.WORDS},
    }


def name_of(now: Setting) -> str:
    """What the score is called on its axis."""
    anchors = now.scorer == "distance" and now.options["centres"] == "anchors"
    name = t("distance to the nearest anchor") if anchors else t(wording.SAID[now.scorer])
    return t("{score}, less the θ of its nearest class", score=name) if now.each is not None else name


def take(word: dict[str, Any]) -> None:
    """What was moved in a live view becomes the page's own, and the address's; what it was told is not moved."""
    state, told = st.session_state, st.session_state.get("told_view", {})
    moved = {name for name in ("theta", "temperature", "eps") if name in word and word[name] != told.get(name)}
    if "temperature" in moved:
        state.temperature = word["temperature"]
    if "eps" in moved and word["eps"] < len(told.get("magnitudes", ())):
        state.epsilon = told["magnitudes"][word["eps"]]
    # by another T or ε the view has let theta go, and set_up says so; one that was set after that is taken
    if "theta" in moved and (word["theta"] is not None or moved == {"theta"}):
        setting.by_hand(word["theta"])


def theta_inputs(now: Setting, left, right) -> None:
    """The share of knowns to keep, in percent, and theta by hand, each in its place."""
    left.number_input(
        t("Knowns to keep, %"), min_value=1.0, max_value=100.0, value=100 * judge.KEPT, step=1.0, format="%g",
        key="kept", persist_state="session", on_change=setting.by_rule,
        help=t("θ is the lowest that keeps this share of new knowns on average, as validation images show. It needs no "
               "unknown."),
    )  # fmt: skip
    right.number_input(
        t("or exactly θ ="), value=None, format="%g", step=float(f"{max(abs(now.theta), 1e-4) / 10:.1g}"),
        placeholder=charts.number(now.theta), key="theta", persist_state="session", on_change=_typed,
        help=t("Leave empty to go by the share of knowns kept."),
    )  # fmt: skip


def _typed() -> None:
    setting.by_hand(st.session_state.theta)


def about_theta(now: Setting) -> None:
    """What theta rests on, and the way back to the share of knowns kept."""
    state, kept = st.session_state, setting.number("kept")
    if now.rule == "kept" and state.get("let_go"):
        st.caption(t("θ was set for other scores than these, so it goes by the rule again."))
    if now.rule == "hand" and not setting.named(now.theta):
        way_back = t("θ is set by hand. Go back to keeping {kept:g} %", kept=kept)
    else:
        way_back = t("Go back to keeping {kept:g} %", kept=kept)
        said = wording.plain(setting.words(now))
        st.caption(t("θ = {theta}: {rule}.", theta=charts.number(now.theta), rule=said))
    if now.rule != "kept":
        st.button(way_back, type="tertiary", icon=":material/undo:", key="by_rule", on_click=setting.by_rule)


def beside(now: Setting) -> None:
    """What has to be known beside the numbers: that theta is an oracle's, what images are judged by, what cannot be."""
    if now.oracle:
        st.markdown(f":orange-badge[:material/visibility: {t('oracle: looks at the test unknowns')}]")
    for note in now.notes:
        st.caption(note)


def worth(now: Setting) -> None:
    """What the run is worth by this score and theta."""
    wording.worth(quality_of(now))


def quality_of(now: Setting) -> quality.Quality:
    said = now.said
    table = metrics.confusion(now.theta, said.test, said.labels, len(said.means))
    usual = now.options == scorer_options(now.scorer) and now.each is None and not now.moved.magnitude
    level = None if said.unknowns else stand_ins.level_of(now.theta, said.validation.score)
    sure = metrics.intervals(said.test, said.labels, now.theta)
    return quality.of_counts(table.tolist(), sure, now.run, now.scorer, level, usual)


def lacks_network(run: Run) -> bool:
    """Whether there is no network here that a picture could be shown to; says so, and what to do."""
    if run.recipe.backbone == IMPORTED:
        st.info(t("This run was imported as outputs alone, so there is no network here."),
                icon=":material/table_chart:")  # fmt: skip
    elif not is_file(run.path / "best.safetensors"):
        st.warning(t("The network's weights are not here: a small copy of a run goes without them. Take the whole run, "
                     "or train it again."), icon=":material/warning:")  # fmt: skip
    else:
        return False
    return True


def score_and_threshold(run: Run) -> Setting:
    """What is set, its choices folded away, with what has to be known beside the numbers."""
    with st.expander(t("Score and threshold"), icon=":material/straighten:"):
        choose_options(run, choose_scorer(run))
        now = setting.set_up(run)
        choose_theta(now)
    beside(now)
    return now


def threshold_of(now: Setting) -> judge.Threshold:
    """All that is set, as a file takes it along."""
    thetas = None if now.thetas is None else tuple(now.thetas.tolist())
    return judge.Threshold(
        now.run.id, now.scorer, now.options, now.theta, setting.words(now), thetas, now.moved.magnitude,
        now.moved.temperature, now.oracle, setting.way(now.run), quality_of(now).record(),
    )  # fmt: skip


def choose_theta(now: Setting) -> None:
    """The threshold: by the share of new knowns that it keeps, unless someone has set it otherwise."""
    slider = st.container()
    left, right = st.columns(2)
    theta_inputs(now, left, right)
    st.session_state.slide = now.theta
    # the slider tells its choices apart by what is written, so what reads like θ gives way to θ itself
    knowns = np.concatenate([now.said.validation.score, now.said.test.score[now.said.labels >= 0]])
    choices = {charts.number(x): x for x in (*now.said.scale.choices(knowns), now.theta)}
    slider.select_slider(
        t("Reject an image when its score is above θ"), sorted(choices.values()),
        format_func=charts.number, key="slide", on_change=_slid,
        help=t("To the left stricter, to the right more lenient. The arrow keys move it, too."),
    )  # fmt: skip
    about_theta(now)


def _slid() -> None:
    setting.by_hand(st.session_state.slide)


def numbers_at(now: Setting, wide: bool) -> None:
    """What theta does to the test images: three shares with their counts and 95 % intervals."""
    theta, said = now.theta, now.said
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
