"""Many pictures at once: a zip or a folder of them is judged by a process of its own, and looked through here."""

import datetime

import numpy as np
import streamlit as st

from app import (
    address,
    charts,
    controls,
    evidence,
    gallery,
    holdings,
    jobs,
    links,
    picker,
    piles,
    thumbnails,
    uploads,
    wording,
)
from app.piles import PAGE, Pile, Rows
from app.setting import Setting
from app.words import phrases, t
from cac_core.results.judge import UNKNOWN
from cac_core.scoring import metrics

SHOWN = phrases({"all": "all", "accepted": "accepted", "rejected": "rejected", "failed": "failed"})
ORDERS = phrases({
    "given": "as they came", "high": "most unknown first", "low": "most known first", "near": "nearest to θ first",
    "name": "by file name",
})  # fmt: skip
EVERY = -1  # class
LINKS: links.Links = {"pile": (str, None)}

run = picker.chosen_run()
state = st.session_state
links.read_link(LINKS)
st.markdown(t("Up to {most} pictures, in a zip or a folder: a process of its own judges them, also while this page is "
              "closed.", most=f"{piles.MOST:,}"))  # fmt: skip


@st.fragment
def page():
    with wording.explained():
        now = controls.score_and_threshold(run)
        there = piles.every(run)
        if not controls.lacks_network(run):
            bring(now, there)
        if there:
            look(now, there)
        links.write_link(**links.written(LINKS, {"pile": state.get("pile") if there else None}))


# --- what is brought -------------------------------------------------------------------------------------------------


def bring(now: Setting, there: list[Pile]):
    if jobs.read_only():
        if not there:
            st.info(t("The app is only shown here: it judges no pictures of your own. The test set's examples are all "
                      "there."), icon=":material/lock:")  # fmt: skip
        return
    with st.container(border=True):
        ways = {"zip": t("A zip"), "folder": t("A folder on the server")}
        way = st.segmented_control(t("How"), list(ways), default="zip", required=True, format_func=ways.get,
                                   key="many_way", label_visibility="collapsed")  # fmt: skip
        turn = state.get("many_turn", 0)  # another key empties the field
        given = None
        if way == "zip":
            given = st.file_uploader(t("A zip of pictures, in folders or not"), "zip", key=f"many_zip_{turn}")
        elif holdings.folders_allowed() == []:
            st.info(t("This app is shared. Whoever runs it names the folders that may be read in ANCHORSCOPE_FOLDERS."),
                    icon=":material/lock:")  # fmt: skip
        else:
            words = t("With all folders in it. Nothing in it is changed or copied.")
            given = st.text_input(t("Folder of pictures"), key=f"many_folder_{turn}", help=words).strip()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(t("Judge them"), type="primary", icon=":material/play_arrow:", key="many_judge",
                      disabled=not given, on_click=begin, args=(now, way, given))  # fmt: skip
            st.checkbox(t("Keep scores and decisions for Watch"), key="many_keep")
    if said := state.pop("many_said", None):
        wording.explain(said)


def begin(now: Setting, way: str, given):
    if jobs.read_only():
        return
    try:
        threshold, keep = controls.threshold_of(now), bool(state.get("many_keep"))
        if way == "zip":
            pile = piles.of_zip(run, threshold, given.name, given, keep)
        else:
            pile = piles.of_folder(run, threshold, given, keep)
        state.pile, state.many_turn = pile.id, state.get("many_turn", 0) + 1
        first_page()
    except (ValueError, OSError) as error:
        state.many_said = error


# --- what came of it -------------------------------------------------------------------------------------------------


def look(now: Setting, there: list[Pile]):
    by = {pile.id: pile for pile in there}
    if state.get("pile") not in by:
        state.pile = there[0].id
    if len(there) > 1:
        st.selectbox(t("Pictures"), list(by), key="pile", format_func=lambda one: called(by[one]), on_change=first_page)
    pile = by[state.pile]
    job = jobs.making(run, pile.out)
    if jobs.going(job):
        st.fragment(waits, run_every="2s")(pile)
        return
    rows = piles.rows(pile)
    wording.doubts(piles.passed_over(pile.passed_over))
    if len(rows) < pile.count:
        not_all(pile, rows, job)
    if len(rows):
        result(now, pile, rows)
    delete(pile)


def called(pile: Pile) -> str:
    when = datetime.datetime.fromtimestamp(pile.when).strftime("%Y-%m-%d %H:%M")
    return t("{name} ({count}), {when}", name=pile.name, count=f"{pile.count:,}", when=when)


def waits(pile: Pile):
    job = jobs.making(run, pile.out)
    if not jobs.going(job):
        st.rerun()
    line, stop = st.columns([5, 1], vertical_alignment="center")
    said = piles.progress(pile)
    if said:
        words = t("{done} of {of} judged, {speed} images/s, about {left} left", done=f"{said['done']:,}",
                  of=f"{said['of']:,}", speed=f"{said.get('per_second', 0):.0f}",
                  left=wording.span(said.get("seconds_left") or 0))  # fmt: skip
        line.progress(min(said["done"] / max(said["of"], 1), 1.0), words)
    else:
        line.caption(t("Waits for its turn.") if job.state == "queued" else t("Starting…"))
    if not jobs.read_only() and stop.button(t("Stop"), key="many_stop", icon=":material/stop:"):
        with wording.explained():
            jobs.stop(job, None)


def not_all(pile: Pile, rows: Rows, job):
    said = t("Judged: {done} of {of}.", done=f"{len(rows):,}", of=f"{pile.count:,}")
    if job is not None and job.state in ("failed", "lost"):
        st.error(f"{said} {wording.told(job.reason or t('It ended without a word.'))}", icon=":material/error:")
    else:
        st.warning(said, icon=":material/pause:")
    if not jobs.read_only():
        st.button(t("Go on"), key="many_on", icon=":material/play_arrow:", on_click=go_on, args=(pile,))


def go_on(pile: Pile):
    try:
        piles.go_on(pile, bool(state.get("many_keep")))
    except (ValueError, OSError) as error:
        state.many_said = error


def result(now: Setting, pile: Pile, rows: Rows):
    limits = now.base + now.theta if piles.same(pile, controls.threshold_of(now)) else None
    if limits is None:
        st.info(t("These were judged by another score, or by other options, than are set above: their decisions are "
                  "those of then, and θ does not move them."), icon=":material/info:")  # fmt: skip
    no = piles.rejected(rows, limits)
    failed = int((rows.nearest < 0).sum())
    numbers(len(rows), int(no.sum()), failed)
    what(failed)
    asked = piles.Asked(
        state.many_show,
        None if state.many_near == EVERY else state.many_near,
        state.get("many_text") or "",
        state.many_order,
    )
    places = piles.chosen(rows, no, limits, asked)
    pages = max(-(-len(places) // PAGE), 1)
    state.many_page = min(max(state.get("many_page") or 1, 1), pages)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(t("**{count}** images", count=f"{len(places):,}"), width="content")
        st.segmented_control(
            t("Shown as"), ["pictures", "table"], default="pictures", required=True, key="many_view",
            label_visibility="collapsed", format_func={"pictures": t("Pictures"), "table": t("Table")}.get,
        )  # fmt: skip
    if not len(places):
        st.info(t("No picture is like this."), icon=":material/search_off:")
    elif state.many_view == "table":
        as_table(rows, places, no, limits)
    else:
        shown = places[PAGE * (state.many_page - 1) : PAGE * state.many_page]
        if (at := state.get("many_open")) in shown.tolist():
            one(now, pile, rows, at, limits)
        gallery.tiled("many_tiles", [tile(pile, rows, n, no) for n in shown.tolist()], opened)
        if pages > 1:
            st.pagination(pages, key="many_page")
    take_along(pile, rows, no, limits)


def numbers(count: int, rejected: int, failed: int):
    judged = count - failed
    one, two, three, four = st.columns(4)
    one.metric(t("Judged"), f"{judged:,}")
    two.metric(t("Accepted"), f"{judged - rejected:,}")
    low, high = metrics.wilson(rejected, judged) if judged else (0.0, 1.0)
    three.metric(t("Rejected"), f"{rejected:,}")
    three.caption(t("{share} %, 95 % interval {low} to {high} %", share=f"{100 * rejected / max(judged, 1):.1f}",
                    low=f"{100 * low:.1f}", high=f"{100 * high:.1f}"))  # fmt: skip
    four.metric(t("Failed"), f"{failed:,}")


def what(failed: int):
    """Which of them, and in which order."""
    shown = {name: t(word) for name, word in SHOWN.items() if failed or name != "failed"}
    near = {EVERY: t("every class")} | dict(enumerate(run.known_names))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        one_of(t("Decision"), "many_show", shown)
        one_of(t("Nearest class"), "many_near", near)
        one_of(t("Order"), "many_order", {name: t(word) for name, word in ORDERS.items()})
        st.text_input(t("File name"), key="many_text", width=200, on_change=first_page)


def one_of(label: str, key: str, choices: dict):
    if state.get(key, "") not in choices:
        state[key] = next(iter(choices))
    st.selectbox(label, list(choices), key=key, format_func=choices.get, width=190, on_change=first_page)


def first_page():
    state.many_page, state.many_open = 1, None


def decision(rows: Rows, n: int, no: np.ndarray) -> str:
    return t("cannot be judged") if rows.nearest[n] < 0 else t("unknown") if no[n] else run.known_names[rows.nearest[n]]


def tile(pile: Pile, rows: Rows, n: int, no: np.ndarray) -> dict:
    """As gallery.js takes it."""
    said, name = decision(rows, n, no), rows.names[n].rpartition("/")[2]
    failed = rows.nearest[n] < 0
    line = t("nearest: {name}", name=run.known_names[rows.nearest[n]]) if no[n] else f"→ {said}"
    score = "" if failed else charts.number(float(rows.scores[n]))
    return {
        "key": str(n), "source": None if failed else piles.small(pile, rows.names[n]), "truth": name,
        "decisions": [line], "numbers": score, "wrong": [t("unknown")] * bool(no[n]), "tags": [],
        "label": t("{file}: {decision}, score {score}", file=name, decision=said, score=score or "–"),
    }  # fmt: skip


def opened():
    state.many_open = int(state.many_tiles["opened"])


def as_table(rows: Rows, places: np.ndarray, no: np.ndarray, limits: np.ndarray | None):
    columns = piles.table(rows, places, no, run.known_names, limits)
    heads = {"file": t("file"), "decision": t("decision"), "nearest": t("nearest class"), "score": t("score"),
             "theta": "θ", "notes": t("notes"), "error": t("error")}  # fmt: skip
    columns["decision"] = [t("unknown") if said == UNKNOWN else said for said in columns["decision"]]
    columns["error"] = list(map(wording.said, columns["error"]))
    number = st.column_config.NumberColumn(format="%.4g")
    st.dataframe({heads[name]: values for name, values in columns.items()}, hide_index=True, height=560,
                 column_config={t("score"): number, "θ": number})  # fmt: skip


def one(now: Setting, pile: Pile, rows: Rows, n: int, limits: np.ndarray | None):
    """A picture that was opened, with what its decision rests on."""
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute"):
            st.text(rows.names[n])
            st.button(t("Close"), icon=":material/close:", key="many_close", type="tertiary", on_click=close)
        if rows.errors[n]:
            st.error(t("This file cannot be judged: {why}", why=wording.told(rows.errors[n])),
                     icon=":material/broken_image:")  # fmt: skip
            return
        prepared = piles.picture(pile, rows.names[n])
        picture, words, chart = st.columns([3, 4, 5], gap="medium")
        with picture, st.container(horizontal=True):
            st.image(thumbnails.inline(prepared.preview, most=50_000), t("your picture"), width=112)
            st.image(thumbnails.as_seen(prepared.pixels), t("as the network saw it"), width=112)
        if limits is None:
            words.markdown(f"**{decision(rows, n, piles.rejected(rows, None))}**")
            return
        uploads.load(run)
        (looked,) = uploads.looked_through(run, [prepared], now.moved)
        (verdict,) = uploads.said_of(now, looked.logits, looked.features)
        with words:
            uploads.say(verdict)
            if rows.notes[n]:
                st.caption(wording.plain(rows.notes[n]))
        with chart:
            evidence.bars(verdict, now.scorer, "many")


def close():
    state.many_open = None


def take_along(pile: Pile, rows: Rows, no: np.ndarray, limits: np.ndarray | None):
    def whole() -> dict:
        return piles.table(rows, np.arange(len(rows)), no, run.known_names, limits)

    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(t("All of them, by this θ:"), width="content")
        st.download_button(
            "CSV", lambda: piles.as_csv(whole()), "verdicts.csv", "text/csv", icon=":material/download:",
            on_click="ignore", key="many_csv",
        )  # fmt: skip
        st.download_button(
            "Parquet", lambda: piles.as_parquet(whole()), "verdicts.parquet", "application/vnd.apache.parquet",
            icon=":material/download:", on_click="ignore", key="many_parquet",
        )  # fmt: skip
        address.link("watch", t("What is rejected in use"), "visibility")


def delete(pile: Pile):
    if jobs.read_only():
        return
    with st.popover(t("Delete"), icon=":material/delete:"):
        st.markdown(t("The verdicts and what was uploaded are deleted. A folder on the server stays."))
        st.button(t("Delete {name}", name=wording.plain(pile.name)), type="primary", key="many_delete",
                  on_click=deleted, args=(pile,))  # fmt: skip


def deleted(pile: Pile):
    if jobs.read_only():
        return
    try:
        piles.delete(pile)
    except OSError as error:
        state.many_said = error


page()
