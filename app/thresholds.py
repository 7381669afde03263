"""Where to put theta: what it keeps, what it rejects, and what that costs."""

import numpy as np
import streamlit as st

from app import charts, shared
from cac_core import metrics
from cac_core.scorers import SCORERS

MEANING = {
    "accuracy": ("Accuracy on knowns", "share of known images whose nearest class is theirs, rejected or not"),
    "auroc": ("AUROC", "how often an unknown scores higher than a known; 50 % is chance"),
    "aupr_unknown": ("AUPR, unknowns", "average precision of finding unknowns"),
    "aupr_known": ("AUPR, knowns", "average precision of finding knowns"),
    "fpr_at_95_knowns_kept": ("Unknowns accepted where 95 % of knowns are kept", "FPR@95; lower is better"),
    "fpr_at_95_unknowns_caught": ("Knowns rejected where 95 % of unknowns are caught", "FPR@95 the other way round"),
    "oscr": ("OSCR", "knowns kept and named right against unknowns accepted, over every θ"),
}  # fmt: skip

run = shared.chosen_run()
names = run.known_names
st.markdown(
    "The network gives every image a score; θ says from which score on it is called **unknown**. "
    "Choose θ by what you can bear to lose."
)


@st.fragment
def lab():
    with shared.explained():
        controls()


def controls():
    head = st.container(horizontal=True, vertical_alignment="bottom")
    with head:
        scorer = shared.choose_scorer(run)
        said = shared.judged(run, scorer)
        with st.popover("Options", icon=":material/settings:"):
            options = shared.choose_options(run, scorer, said.outputs.anchors is not None)
        with st.popover("How to read this", icon=":material/help:"):
            how_to_read()
    said = shared.judged(run, scorer, **options)
    theta = shared.choose_theta(said, wide=True)
    shared.numbers_at(theta, said, wide=True)
    in_words(said, theta)
    scores(said, theta, scorer)
    if said.unknowns:
        left, right = st.columns(2, gap="large")
        with left:
            curve(said, theta)
        with right:
            decisions(said, theta)
        oracles(said)
    else:
        decisions(said, theta)
    all_numbers(said, scorer)


def how_to_read():
    st.markdown(
        "- **Score**: the higher, the more unknown an image looks. Scores of different kinds have different units.\n"
        "- **θ**: images with a score above it are rejected. The default keeps 95 % of the *validation* images of "
        "known classes, so it needs no unknown image and can be set before any is met.\n"
        "- **Oracle** rules look at the unknown test images. They say what would have been best, not what to use.\n"
        "- All shares are over the test images; intervals are 95 % ones."
    )


def in_words(said: shared.Judged, theta: float):
    shares = metrics.at(theta, said.test, said.labels, len(names))
    kept, caught = shares["knowns_kept"], shares["unknowns_caught"]
    if not said.unknowns:
        st.info(
            "This data set has no unknown images, so only what θ does to knowns can be shown.", icon=":material/info:"
        )
        return
    text, box = st.columns([3, 1], vertical_alignment="center")
    share = box.number_input(
        "Unknowns in use, %", 0.0, 100.0, 20.0, 5.0, format="%g", key="share", bind="query-params",
        persist_state="session", help="How many of 100 images you expect to be of no known class.",
    )  # fmt: skip
    wrong, fine = share / 100 * (1 - caught), (1 - share / 100) * kept
    among = (
        f"about **{100 * wrong / (wrong + fine):.1f}** are unknown all the same" if wrong + fine else "none is accepted"
    )
    text.markdown(
        f"At θ = {charts.number(theta)} it keeps **{charts.percent(kept, 0)}** of the knowns and catches "
        f"**{charts.percent(caught, 0)}** of the unknowns. If {share:g} of 100 images are unknown, then of 100 "
        f"*accepted* ones {among}."
    )


def scores(said: shared.Judged, theta: float, scorer: str):
    st.subheader("Scores of the test images")
    known = said.labels >= 0
    st.echarts_chart(
        charts.histogram(
            said.test.score, said.labels, said.right, theta, said.scale, shared.palette(), shared.SAID[scorer]
        ),
        key="histogram",
        height=380,
        alt=f"Histogram of the scores: {known.sum()} known images above, {(~known).sum()} unknown ones below; theta "
        f"at {charts.number(theta)}.",
    )
    table = st.expander("The numbers as a table", on_change="rerun", key="histogram_table")
    if table.open:
        edges = said.scale.steps(25)
        score = said.scale.clip(said.test.score)
        table.dataframe(
            {
                "score from": edges[:-1],
                "to": edges[1:],
                "known": np.histogram(score[known], edges)[0],
                "of these nearest class wrong": np.histogram(score[known & ~said.right], edges)[0],
                "never seen": np.histogram(score[~known], edges)[0],
            },
            hide_index=True,
        )


def curve(said: shared.Judged, theta: float):
    auroc = metrics.report(said.test, said.labels)["auroc"]
    interval = metrics.delong(said.test, said.labels)
    st.subheader(f"AUROC {charts.percent(auroc)} ({charts.between(interval)})")
    shares = metrics.at(theta, said.test, said.labels, len(names))
    here = (1 - shares["knowns_kept"], shares["unknowns_caught"])
    line = metrics.roc(said.test, said.labels)
    st.echarts_chart(
        charts.roc(line, here, shared.palette()),
        key="roc",
        height=420,
        alt=f"ROC curve with an area of {charts.percent(auroc)}; this theta rejects {charts.percent(here[0])} of the "
        f"knowns and catches {charts.percent(here[1])} of the unknowns.",
    )
    table = st.expander("The numbers as a table", on_change="rerun", key="roc_table")
    if table.open:
        some = np.unique(np.linspace(0, len(line["thetas"]) - 1, 60).astype(int))
        table.dataframe({
            "θ": line["thetas"][some], "knowns rejected": line["rejected_knowns"][some],
            "unknowns caught": line["caught_unknowns"][some],
        }, hide_index=True)  # fmt: skip


def decisions(said: shared.Judged, theta: float):
    table = metrics.confusion(theta, said.test, said.labels, len(names))
    st.subheader("What becomes of each class")
    st.echarts_chart(
        charts.confusion(table, names, shared.palette()),
        key="confusion",
        height=420,
        alt="Confusion matrix: " + "; ".join(
            f"{name}: {table[c, c]} of {table[c].sum()} right" for c, name in enumerate([*names, "unknown"])
        ),
    )  # fmt: skip
    expander = st.expander("The numbers as a table", on_change="rerun", key="confusion_table")
    if expander.open:
        titles = [*names, "unknown"]
        columns = {f"called {n}": table[:, c] for c, n in enumerate(titles)}
        expander.dataframe({"truth": titles} | columns, hide_index=True)


def oracles(said: shared.Judged):
    with st.expander("Oracle: the θ that would have been best here, for study only", icon=":material/visibility:"):
        st.markdown(
            "These rules **look at the unknown test images**. A number found with them says how good θ could be, not "
            "how good it will be."
        )
        most = st.number_input("Unknowns to accept at most, %", 0.0, 100.0, 5.0, 1.0, format="%g", key="accept")
        rules = {
            "Best balance of caught and rejected (Youden)": metrics.theta_youden(said.test, said.labels),
            f"At most {most:g} % of the unknowns accepted": metrics.theta_at_fpr(most / 100, said.test, said.labels),
        }
        for n, (title, theta) in enumerate(rules.items()):
            shares = metrics.at(theta, said.test, said.labels, len(names))
            with st.container(horizontal=True, vertical_alignment="center"):
                st.button(f"Use θ = {charts.number(theta)}", key=f"oracle_{n}", on_click=use, args=(theta,),
                          disabled=not np.isfinite(theta))  # fmt: skip
                st.markdown(
                    f"{title}: keeps {charts.percent(shares['knowns_kept'])} of the knowns, catches "
                    f"{charts.percent(shares['unknowns_caught'])} of the unknowns."
                )


def use(theta: float):
    st.session_state.theta = theta


def all_numbers(said: shared.Judged, scorer: str):
    st.subheader("All numbers, and the other scores")
    here = metrics.report(said.test, said.labels)
    spread = {"accuracy": metrics.intervals(said.test, said.labels, 0.0)["accuracy"],
              "auroc": metrics.delong(said.test, said.labels)}  # fmt: skip
    others = shared.report(run).get("scorers", {})
    columns = {"": [title for title, _ in MEANING.values()]}
    columns[f"{shared.SHORT[scorer]}, as set above"] = [
        charts.percent(here[key])
        + (f" ({charts.between(spread[key])})" if here[key] == here[key] and key in spread else "")
        for key in MEANING
    ]
    for name in SCORERS:
        if name in others and "error" not in others[name]:
            numbers = others[name]
            columns[shared.SHORT[name]] = [
                charts.percent(float("nan") if numbers[key] is None else numbers[key]) for key in MEANING
            ]
    st.table(columns, hide_index=True, border="horizontal")
    st.caption(
        "In brackets 95 % intervals. The columns on the right show each score at its own defaults, from report.json."
    )
    with st.popover("What the numbers mean", icon=":material/help:"):
        st.markdown("\n".join(f"- **{title}**: {meaning}" for title, meaning in MEANING.values()))


lab()
