"""All images behind a number, sorted, searched, each to be opened and tagged, and their list as a file."""

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import address, controls, evidence, feeds, gallery, jobs, links, picker, setting, wording
from app.gallery import PAGE, Asked, Some, Tagged
from app.setting import Setting
from app.words import t
from cac_core.exchange import tags

run = picker.chosen_run()
state = st.session_state
gallery.arrive(run)
st.markdown(
    t("Every image of the run, with what is decided about it: those behind a number, or all. Click one to see why.")
)


@st.fragment
def page():
    with wording.explained():
        tools = st.container(horizontal=True, vertical_alignment="center")
        with tools, st.popover(t("Score and threshold"), icon=":material/straighten:"):
            controls.choose_options(run, controls.choose_scorer(run))
            sets = gallery.sets_in("images_sets", run)
            now = setting.set_up(run, movable=not sets)
            controls.theta_inputs(now, *st.columns(2))
            controls.about_theta(now)
        controls.beside(now)
        some = gallery.of(now, sets)
        marks = gallery.tagged(some)
        at = some.row(state.get("images_at") or "")
        if at is None:
            state.images_at = ""
            the_list(some, marks, tools)
        else:
            one(some, marks, now, at)
        links.write_link(**gallery.in_link())


# --- the list --------------------------------------------------------------------------------------------------------


def the_list(some: Some, marks: Tagged, tools: DeltaGenerator):
    what(some, marks, tools)
    rows = gallery.chosen(some, gallery.asked(some), marks)
    pages = max(-(-len(rows) // PAGE), 1)
    state.images_page = page_now = min(max(state.get("images_page") or 1, 1), pages)
    start, more = PAGE * (page_now - 1), state.get("images_more", 0)
    shown = rows[start : start + PAGE * (1 + more)]
    with st.container(horizontal=True, vertical_alignment="center"):  # to the left: a table has its tools at the right
        count = t("**{count}** images", count=len(rows))
        if len(shown) < len(rows):
            count += ", " + t("{first} to {last} are shown", first=start + 1, last=start + len(shown))
        st.markdown(count, width="content")
        st.segmented_control(
            t("Shown as"), ["pictures", "table"], default="pictures", required=True, key="images_view",
            persist_state="session", label_visibility="collapsed",
            format_func={"pictures": t("Pictures"), "table": t("Table")}.get,
        )  # fmt: skip
    if not len(rows):
        st.info(t("There is no such image."), icon=":material/search_off:")
        return
    tagging = st.container()
    drawn, reasons = False, []
    if state.get("images_view") != "table":
        turn = state.get("images_turn", 0)
        drawn, reasons = gallery.grid(some, shown, marks, "images_grid", open_clicked, picked, turn, here=True)
    for why in reasons:
        st.caption(t("The images cannot be shown here: {why}", why=wording.told(why)))
    if drawn:
        ticked = [row for key in state.get("images_picked") or () if (row := some.row(key)) in shown]
    else:
        ticked = as_table(some, marks, shown)
    with st.container(horizontal=True, vertical_alignment="center"):
        if start + len(shown) < len(rows) and more < gallery.FURTHER:
            st.button(t("Show {count} more", count=min(PAGE, len(rows) - start - len(shown))), key="images_further",
                      icon=":material/expand_more:", on_click=show_more)  # fmt: skip
        if pages > 1:
            st.pagination(pages, key="images_page", on_change=show_page)
    with tagging:
        tag_picked(marks, ticked)
    take_along(some, marks, rows)


def what(some: Some, marks: Tagged, tools: DeltaGenerator):
    """Which images: by truth, decision, tag, number or name, score, set."""
    classes = some.run.class_names
    present = np.unique(some.every.outputs.classes[some.every.split < 2]).tolist()
    known = set(some.run.trial.known)
    truths = {name: t(words) for name, words in gallery.TRUTHS.items()}
    truths |= {f"c{c}": classes[c] if c in known else t("{name}, never seen", name=classes[c]) for c in present}
    decisions = {name: t(words) for name, words in gallery.DECISIONS.items()}
    decisions |= {f"c{c}": t("called {name}", name=classes[c]) for c in some.run.trial.known}
    words = {"": t("all images")} | {tag: gallery.word(tag) for tag in marks.there}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        one_of(t("Truth"), "images_truth", truths)
        one_of(t("Decision"), "images_called", decisions)
        one_of(t("Tag"), "images_tag", words)
        one_of(t("Order"), "images_order", {name: t(said) for name, said in gallery.ORDERS.items()})
        st.text_input(t("Number or name"), key="images_text", persist_state="session", width=165, on_change=first_page,
                      placeholder=t("17, 100-120, cat"))  # fmt: skip
    with tools, st.popover(t("Scores and sets"), icon=":material/filter_alt:"):
        st.number_input(t("Score from"), value=None, key="images_low", format="%g", persist_state="session", width=165,
                        on_change=first_page)  # fmt: skip
        st.number_input(t("to below"), value=None, key="images_high", format="%g", persist_state="session", width=165,
                        on_change=first_page)  # fmt: skip
        parts = {"test": t("test images"), "validation": t("validation images"), gallery.EVERY: t("all of them")}
        one_of(t("Set"), "images_part", parts | some.called)
        if there := feeds.further(run):
            st.multiselect(t("Further unknown images"), list(there), format_func=there.get, key="images_sets",
                           persist_state="session", on_change=first_page)  # fmt: skip
    if gallery.asked(some).rows is not None:
        tools.button(t("Only the {count} chosen", count=len(gallery.asked(some).rows or ())), key="images_drop_rows",
                  icon=":material/close:", on_click=drop_rows, help=t("Show the others too"))  # fmt: skip
    if gallery.asked(some) != Asked(order=gallery.asked(some).order):
        tools.button(t("Show all test images"), key="images_all", type="tertiary", icon=":material/undo:",
                  on_click=gallery.clear)  # fmt: skip


def one_of(label: str, key: str, choices: dict[str, str]):
    if state.get(key) not in choices:
        state[key] = next(iter(choices))
    st.selectbox(label, list(choices), key=key, format_func=choices.get, persist_state="session", width=165,
                 on_change=first_page)  # fmt: skip


def first_page():
    state.images_page, state.images_more = 1, 0
    choose_none()


def show_page():
    state.images_more = 0
    choose_none()


def choose_none():
    """What is no longer seen to be ticked is not chosen."""
    state.images_picked, state.images_turn = [], state.get("images_turn", 0) + 1


def show_more():
    state.images_more = state.get("images_more", 0) + 1


def drop_rows():
    state.images_rows = ""
    first_page()


def as_table(some: Some, marks: Tagged, shown: np.ndarray) -> list[int]:
    """The rows that are ticked in it."""
    table = gallery.table(some, shown, marks)
    event = st.dataframe(
        table, hide_index=True, on_select="rerun", selection_mode="multi-row", height=min(38 + 35 * len(shown), 640),
        key=f"images_table_{hash(tuple(map(some.key, shown)))}",
        column_config={t("score"): st.column_config.NumberColumn(format="%.4g")},
    )  # fmt: skip
    rows = [int(shown[place]) for place in event["selection"]["rows"] if place < len(shown)]
    if len(rows) == 1:
        st.button(t("Open image {number}", number=some.number(rows[0])), key="images_open_row",
                  icon=":material/open_in_full:", on_click=open_key, args=(some.key(rows[0]),))  # fmt: skip
    return rows


def open_clicked():
    open_key(state.images_grid["opened"])


def open_key(key: str):
    state.images_at = key
    choose_none()


def picked():
    state.images_picked = list(state.images_grid["picked"])


# --- tags ------------------------------------------------------------------------------------------------------------


def tag_picked(marks: Tagged, rows: list[int]):
    if said := state.pop("images_said", None):
        wording.explain(said)
    if jobs.read_only():
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(t("{n} chosen", n=len(rows)), width="content")
        tag = st.selectbox(t("Tag"), marks.words, None, key="images_word", accept_new_options=True, width=165,
                           placeholder=t("a tag, or a new word"), label_visibility="collapsed",
                           format_func=gallery.word)  # fmt: skip
        st.button(t("Put on"), key="images_put", icon=":material/sell:", disabled=not (rows and tag),
                  on_click=change, args=(tags.put, marks, tag, rows))  # fmt: skip
        st.button(t("Take off"), key="images_take", icon=":material/label_off:", disabled=not (rows and tag),
                  on_click=change, args=(tags.take, marks, tag, rows))  # fmt: skip


def change(work, marks: Tagged, tag: str, rows: list[int]):
    if jobs.read_only():
        return
    try:
        gallery.change_tag(work, marks, tag, rows)
        choose_none()
    except (ValueError, OSError) as error:
        state.images_said = error


def take_along(some: Some, marks: Tagged, rows: np.ndarray):
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            t("This list as CSV"), lambda: gallery.as_csv(gallery.table(some, rows, marks)), f"{run.id}-images.csv",
            "text/csv", icon=":material/download:", on_click="ignore", key="images_csv",
        )  # fmt: skip
        name = some.run.recipe.dataset
        st.download_button(
            t("All tags as CSV"), lambda: tags.as_csv(marks.tags[name]), f"{name}-tags.csv", "text/csv",
            icon=":material/sell:", on_click="ignore", key="images_tags_csv", disabled=not marks.tags[name],
        )  # fmt: skip


# --- one image -------------------------------------------------------------------------------------------------------


def one(some: Some, marks: Tagged, now: Setting, at: int):
    rows = gallery.chosen(some, gallery.asked(some), marks)
    (places,) = np.nonzero(rows == at)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(t("All {count} images", count=len(rows)), key="images_back", icon=":material/arrow_back:",
                  on_click=back, args=(rows, at), type="primary")  # fmt: skip
        if len(places):
            step(some, rows, int(places[0]))
    st.subheader(t("Image {number} of the {set}", number=some.number(at), set=set_name(some, at)), anchor=False)
    tags_of_one(marks, at)
    evidence.image(some, at, now, marks)
    address.link("thresholds", t("Choose a threshold"), "tune")


def set_name(some: Some, row: int) -> str:
    split = some.split(row)
    said = {"test": t("test images"), "validation": t("validation images")}
    return said.get(split) or wording.plain(some.called[split])


def step(some: Some, rows: np.ndarray, place: int):
    before, after = place > 0, place + 1 < len(rows)
    st.button(t("Previous"), key="images_before", icon=":material/chevron_left:", disabled=not before, shortcut="Left",
              on_click=open_key, args=(some.key(int(rows[place - 1])),))  # fmt: skip
    st.button(t("Next"), key="images_after", icon=":material/chevron_right:", disabled=not after, shortcut="Right",
              on_click=open_key, args=(some.key(int(rows[(place + 1) % len(rows)])),))  # fmt: skip
    st.caption(t("{place} of {count}", place=place + 1, count=len(rows)))


def back(rows: np.ndarray, at: int):
    """To the list, at the page on which the image stands."""
    state.images_last, state.images_at = state.images_at, ""
    choose_none()
    (places,) = np.nonzero(rows == at)
    if len(places):
        start = PAGE * ((state.get("images_page") or 1) - 1)
        if not start <= places[0] < start + PAGE * (1 + state.get("images_more", 0)):
            state.images_page, state.images_more = int(places[0]) // PAGE + 1, 0


def tags_of_one(marks: Tagged, row: int):
    if said := state.pop("images_said", None):
        wording.explain(said)
    borne = marks.of(row)
    if jobs.read_only() or marks.name(row) is None:
        if borne:
            st.caption(t("Tags: {tags}", tags=wording.listed([gallery.word(tag) for tag in borne])))
        return
    key = f"images_tags_{marks.some.key(row)}"
    state[key] = borne
    st.multiselect(t("Tags"), list(dict.fromkeys([*marks.words, *borne])), key=key, accept_new_options=True,
                   format_func=gallery.word, on_change=retag, args=(marks, row, borne, key),
                   placeholder=t("a tag, or a new word"), width=420)  # fmt: skip


def retag(marks: Tagged, row: int, before: list[str], key: str):
    for tag in set(state[key]) - set(before):
        change(tags.put, marks, tag, [row])
    for tag in set(before) - set(state[key]):
        change(tags.take, marks, tag, [row])


page()
