"""What a threshold rejects in use: how much, whether that drifts, and what the rejected pictures have in common."""

import streamlit as st

from app import address, controls, growing, jobs, links, picker, watching, wording
from app.words import t
from cac_core import shell
from cac_core.results import judge
from cac_core.scoring import metrics
from cac_core.scoring.scorers import SCORERS, judge_of, scorer_options
from cac_core.serving import watch

SHOWN, TILES = 8, 24  # groups that are shown, and pictures of each
LINKS: links.Links = {"watch_by": (links.one_of(*watching.STRETCHES), "hour"), "watch_version": (str, None)}

run = picker.chosen_run()
store = jobs.store()
links.read_link(LINKS)
st.markdown(
    t(
        "Once a threshold is in use, this page says how much of what comes in it rejects, whether that changes, and "
        "which of the rejected pictures look alike. Nothing is kept unless one asks for it."
    )
)


@st.fragment
def page():
    with wording.explained():
        state = st.session_state
        kept = watching.kept(store, run.id, state.get("watch_version"))
        if kept is None:
            nothing_yet()
            return
        links.put_in_link(LINKS)
        version = state.watch_version if state.get("watch_version") in kept.versions else kept.versions[0]
        if len(kept.versions) > 1:
            st.selectbox(t("Version"), kept.versions, key="watch_version", width=260,
                         help=t("Weights and score; each version is watched by itself."))  # fmt: skip
        numbers(kept)
        alarms(kept, version)
        over_time(kept)
        left, right = st.columns(2, gap="large")
        with left:
            scores(kept, version)
        with right:
            classes(kept)
        look_alike(kept, version)
        forget()


def nothing_yet():
    st.info(t("Nothing that this run has judged in use is kept yet."), icon=":material/visibility_off:")
    if controls.lacks_network(run):
        return
    st.markdown(t("Ask for it where images are judged: by the service, with small pictures of what it rejects, or "
                  "for a folder. Export the threshold under Thresholds first."))  # fmt: skip
    by = ("--threshold", "threshold.json")
    lines = [shell.command("serve", run.id, *by, "--keep-pictures"),
             shell.command("score", run.id, "FOLDER", *by, "--out", "verdicts.csv", "--keep")]  # fmt: skip
    st.code("\n".join(lines), language="bash", wrap_lines=True)
    with st.container(horizontal=True):
        address.link("thresholds", t("Choose a threshold"), "tune")
        address.link("export", t("Export to ONNX"), "ios_share")


def numbers(kept: watch.Kept):
    rejected = int(kept.rejected.sum())
    one, two, three = st.columns(3)
    one.metric(t("Judged"), f"{len(kept):,}")
    low, high = metrics.wilson(rejected, len(kept))
    two.metric(t("Rejected"), f"{100 * rejected / len(kept):.1f} %",
               help=t("95 % interval: {low} to {high} %", low=f"{100 * low:.1f}",
                      high=f"{100 * high:.1f}"))  # fmt: skip
    three.metric(t("Since (UTC)"), watching.moment(kept.times[0], 10))
    st.caption(t("The newest: {when} UTC.", when=watching.moment(kept.times[-1])))


def alarms(kept: watch.Kept, version: str):
    of_scores, of_rejected = watching.drifts(store, run.id, version, kept)
    what = {t("the scores"): of_scores, t("the share that is rejected"): of_rejected}
    for name, drift in what.items():
        if drift.alarm >= 0:
            st.warning(
                t(
                    "Drift: {what} changed. The test crossed its line at image {n}, on {when} UTC.",
                    what=name, n=drift.alarm + 1, when=watching.moment(kept.times[drift.alarm]),
                ),
                icon=":material/trending_up:",
            )  # fmt: skip
    if all(drift.alarm < 0 for drift in what.values()):
        st.success(t("No drift: neither the scores nor the share that is rejected have changed for sure."),
                   icon=":material/check:")  # fmt: skip
    with st.popover(t("How drift is told"), icon=":material/help:"):
        st.markdown(
            t(
                "Each score is ranked among those before it. While nothing changes, its rank is a matter of chance, "
                "and a gambler who bets on high or low ranks gains nothing. His capital may be looked at after every "
                "image: that it ever grows a hundredfold has a probability of 1 % at most, for each of the two. It "
                "says that something changed, not what, and a change that comes with the hours of the day is one, too."
            )
        )


def over_time(kept: watch.Kept):
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(t("Rejected over time"), anchor=False)
        by = st.segmented_control(
            t("Stretch"), list(watching.STRETCHES), default="hour", required=True, key="watch_by",
            format_func={"hour": t("by the hour"), "day": t("by the day")}.get, label_visibility="collapsed",
        )  # fmt: skip
    hours = watch.by_time(kept, watching.STRETCHES[by])
    digits = 13 if by == "hour" else 10
    st.echarts_chart(watching.by_time(hours, digits, controls.palette()), key="watch_time", height=280,
                     alt=t("The share that was rejected over time, with its 95 % interval."))  # fmt: skip
    with st.expander(t("As a table"), icon=":material/table:"):
        st.dataframe(
            {
                t("from (UTC)"): [watching.moment(hour.begin, digits) for hour in hours],
                t("judged"): [hour.count for hour in hours],
                t("rejected"): [hour.rejected for hour in hours],
                t("rejected, %"): [round(100 * hour.rejected / hour.count, 1) for hour in hours],
                t("95 % interval"): [f"{100 * hour.low:.1f} – {100 * hour.high:.1f}" for hour in hours],
            },
            hide_index=True,
        )  # fmt: skip


def scores(kept: watch.Kept, version: str):
    st.subheader(t("Scores beside those of validation"), anchor=False)
    scorer = next((word for word in version.split() if word in SCORERS), judge.default_of(run))
    train, validation = run.outputs("train"), run.outputs("validation")
    judged = judge_of(scorer, train, validation, **scorer_options(scorer))(validation).score
    st.echarts_chart(
        watching.beside(judged, kept.scores, float(kept.thetas[-1]), wording.score(scorer, "own"), controls.palette()),
        key="watch_scores", height=360, alt=t("Scores of validation images above, of what was judged below, and θ."),
    )  # fmt: skip
    st.caption(t("Validation: {n} images that the network has not learnt from, all known, by {scorer} at its defaults.",
                 n=len(judged), scorer=wording.plain(scorer)))  # fmt: skip


def classes(kept: watch.Kept):
    st.subheader(t("By nearest class"), anchor=False)
    rows = []
    for name in run.known_names:
        mine = kept.labels == name
        count, rejected = int(mine.sum()), int(kept.rejected[mine].sum())
        low, high = metrics.wilson(rejected, count) if count else (0.0, 1.0)
        rows.append((name, count, rejected, round(100 * rejected / count, 1) if count else None,
                     f"{100 * low:.1f} – {100 * high:.1f}" if count else ""))  # fmt: skip
    heads = (t("nearest class"), t("judged"), t("rejected"), t("rejected, %"), t("95 % interval"))
    st.dataframe(dict(zip(heads, map(list, zip(*rows, strict=True)), strict=True)), hide_index=True)


def look_alike(kept: watch.Kept, version: str):
    st.subheader(t("Rejected pictures that look alike"), anchor=False)
    groups = watching.grouped(store, run.id, version)
    if not groups:
        st.caption(t("No pictures of rejected images are kept that look alike: the service keeps them with "
                     "--keep-pictures."))  # fmt: skip
        return
    st.caption(t("Grouped by what the network makes of them, the largest first. A large group may be a class that it "
                 "does not know yet."))  # fmt: skip
    for n, group in enumerate(groups[:SHOWN]):
        with st.container(border=True):
            st.markdown(f"**{t('These {count} look alike: a new class?', count=len(group))}**")
            shown = group[:TILES]
            st.image([one.png for one in shown], width=56)
            st.caption(t("Scores {low} to {high}; from {first} to {last} UTC.",
                         low=f"{min(one.score for one in group):.3g}", high=f"{max(one.score for one in group):.3g}",
                         first=watching.moment(min(one.time for one in group)),
                         last=watching.moment(max(one.time for one in group))))  # fmt: skip
            name = f"{run.id}_{min(one.id for one in group)}"  # not its place: what comes in makes others the largest
            with st.container(horizontal=True, vertical_alignment="bottom"):
                if growing.takes_images(run):
                    cls = st.selectbox(t("Into the class"), run.class_names, None, key=f"watch_class_{name}", width=260,
                                       accept_new_options=True, placeholder=t("a class, or a new name"))  # fmt: skip
                    st.button(t("Add to {dataset}", dataset=run.recipe.dataset), key=f"watch_add_{name}",
                              icon=":material/add:", disabled=not cls, on_click=add, args=(group, cls))  # fmt: skip
                st.download_button(
                    t("Download as a zip"), lambda group=group: watching.zipped(group), f"group-{n + 1}.zip",
                    "application/zip", key=f"watch_zip_{n}", icon=":material/download:", on_click="ignore",
                )  # fmt: skip
    of, said = st.session_state.get("watch_grown", ("", None))
    if of != run.id:
        return
    if isinstance(said, Exception):
        wording.explain(said)
    else:
        growing.told(said)
        address.link("data", t("Look through {name}", name=wording.plain(said.dataset)), "photo_library",
                     {"data_view": "album", "album": said.dataset, "album_class": said.cls})  # fmt: skip


def add(group: list[watch.Picture], cls: str):
    if jobs.read_only():
        return
    try:
        brought = [(f"{one.id}.png", one.png) for one in group]
        st.session_state.watch_grown = run.id, growing.add(run.recipe.dataset, cls, brought, run)
    except (ValueError, OSError) as error:
        st.session_state.watch_grown = run.id, error


def forget():
    if jobs.read_only():
        return
    with st.popover(t("Delete what is kept"), icon=":material/delete:"):
        st.markdown(t("All scores, decisions and pictures that are kept of this run are deleted. The run stays."))
        st.button(t("Delete all of it"), type="primary", key="watch_delete", on_click=watch.delete,
                  args=(store, run.id))  # fmt: skip


page()
