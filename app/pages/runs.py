"""All runs of the store: what they are, how well they did, and what can be done with them."""

import tempfile

import pandas as pd
import streamlit as st

from app import address, controls, imports, jobs, links, picker, results, wording
from app.results import Row
from app.words import phrases, t
from cac_core import runs
from cac_core.exchange import shelf
from cac_core.files import is_folder
from cac_core.jobs import launch
from cac_core.results import quality

UPLOAD = 500  # megabytes
ORDERS = phrases({
    "id": "id", "auroc": "trial, then AUROC, highest first", "accuracy": "trial, then accuracy, highest first",
    "oscr": "trial, then OSCR, highest first", "seconds": "trained longest first",
    "worth": "what they are worth, usable first",
})  # fmt: skip
FILTERS = ("dataset", "method", "state", "worth", "tag")
MARKS = {quality.USABLE: "✓", quality.WEAK: "↘", quality.CHANCE: "⚄", quality.FEW: "?"}  # before each word
LINKS: links.Links = {
    "runs_text": (str, ""),
    **{f"runs_{name}": (links.several, []) for name in FILTERS},
    "runs_order": (links.one_of(*ORDERS), "id"),
    "runs_archived": (links.yes, False),
}

store = runs.store_of()
links.read_link(LINKS)
st.markdown(
    t(
        "**Open** shows a run on Home. Select runs at the left edge of the table, then compare, describe or move them. "
        "A column's head sorts by it."
    )
)


@st.fragment
def page():
    if name := st.session_state.pop("runs_open", None):
        address.go("home", {"run": name})
    if st.session_state.pop("runs_moved", False):
        st.rerun()  # the run picker, too, should know
    with wording.explained():
        told()
        joining()
        every = results.rows(store)
        if every:
            shown = filtered(every)
            chosen = table(shown)
            if chosen:
                act(chosen, every)
            broken(shown)
            by_accuracy(shown)
        else:
            picker.empty_store()
        if not jobs.read_only():
            left, right = st.columns(2)
            with left:
                bring_in()
            with right:
                trash()
            imports.outputs(tell)
    links.put_in_link(LINKS)


def told():
    """What the last action did, and the way back."""
    for kind, words in st.session_state.pop("runs_told", []):
        (st.success if kind == "done" else st.error)(wording.plain(words))
    deleted = [one for one in st.session_state.get("runs_deleted", []) if is_folder(one.path)]
    if deleted:
        names = wording.listed([one.id for one in deleted], 3)
        line = st.container(horizontal=True, vertical_alignment="center")
        line.caption(t("Deleted: {names}. They are in the trash.", names=names))
        line.button(t("Undo"), icon=":material/undo:", key="undo_delete", on_click=bring_back, args=(deleted,))


def joining():
    """Ensembles that are being made, and why one could not be."""
    every = jobs.joining()
    if any(jobs.going(job) for job in every):
        st.fragment(until_made, run_every="2s", key="runs_joining")([job.id for job in every if jobs.going(job)])
    for job in every:
        if not jobs.going(job):
            st.error(wording.told(job.reason or t("It ended without a word.")), icon=":material/error:")
            if not jobs.read_only():
                st.button(t("Dismiss"), key=f"runs_dismiss_{job.id}", on_click=launch.remove, args=(job,))


def until_made(ids: list[str]):
    if not any(jobs.going(job) for job in jobs.joining() if job.id in ids):
        st.session_state.runs_moved = True  # the run picker should know, too
        st.rerun()
    st.caption(t("The ensemble is being made; it will stand in the table."))


def tell(words: str, kind: str = "done"):
    st.session_state.setdefault("runs_told", []).append((kind, words))


# --- which runs ------------------------------------------------------------------------------------------------------


def filtered(every: list[Row]) -> list[Row]:
    """The rows that are asked for, in the order that is."""
    titles = dict(zip(FILTERS, (t("Data set"), t("Method"), t("State"), t("Worth"), t("Tag")), strict=True))
    choices = {
        "dataset": {row.dataset for row in every if row.dataset},
        "method": {row.method for row in every if row.method},
        "state": {row.state for row in every},
        "worth": {row.worth for row in every if row.worth},
        "tag": {tag for row in every for tag in row.shelf.tags},
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        text = st.text_input(
            t("Search"), key="runs_text", placeholder=t("in ids, titles, notes and recipes"), persist_state="session"
        )
        order = st.selectbox(
            t("Order"), list(ORDERS), key="runs_order", format_func=lambda name: t(ORDERS[name]), width=240,
            persist_state="session",
        )  # fmt: skip
        away, with_archived = sum(row.shelf.archived for row in every), False
        if away:
            with_archived = st.toggle(
                t("Archived, too ({count})", count=away), key="runs_archived", persist_state="session"
            )
    with st.container(horizontal=True):
        picked = {name: chosen_of(f"runs_{name}", title, choices[name]) for name, title in titles.items()}
    shown = [row for row in every if (with_archived or not row.shelf.archived) and fits(row, text, picked)]
    if order == "id":
        return shown

    if order == "worth":
        return sorted(shown, key=lambda row: [*map(str, quality.WORDS), row.worth].index(row.worth))

    def place(row: Row) -> tuple:
        value = getattr(row, order)
        ranked_with = () if order == "seconds" else (row.dataset, row.family, row.trial)
        return value is None, ranked_with, -(value or 0)

    return sorted(shown, key=place)


def chosen_of(key: str, title: str, choices: set[str]) -> list[str]:
    """What is chosen of these; what a link asked for and is not there is passed over."""
    st.session_state[key] = [name for name in st.session_state.get(key, []) if name in choices]
    return st.multiselect(
        title, sorted(choices), key=key, placeholder=t("all"), width=160, persist_state="session",
        format_func={"runs_state": t, "runs_worth": t, "runs_method": wording.method}.get(key, str),
    )  # fmt: skip


def fits(row: Row, text: str, picked: dict[str, list[str]]) -> bool:
    mine = {"dataset": {row.dataset}, "method": {row.method}, "state": {row.state}, "worth": {row.worth},
            "tag": set(row.shelf.tags)}  # fmt: skip
    said = " ".join([row.run.id, row.shelf.title, row.shelf.note, row.dataset, row.family, row.trial, row.method,
                     wording.method(row.method), row.backbone, row.differs, *row.shelf.tags]).casefold()  # fmt: skip
    return all(word in said for word in text.casefold().split()) and all(
        not asked or mine[name] & set(asked) for name, asked in picked.items()
    )


def table(shown: list[Row]) -> list[Row]:
    """The table; the rows that are selected in it."""
    if not shown:
        st.info(t("No run fits these filters."), icon=":material/filter_alt_off:")
        return []
    share = {"format": "%.1f", "help": t("in percent, on the test images, by the score of the method")}
    ids = [row.run.id for row in shown]
    columns = {
        t("Open"): (
            lambda row: t("Open"),
            st.column_config.ButtonColumn(
                "", type="tertiary", pinned=True, key="runs_clicked", on_click=opened, args=(ids,)
            ),
        ),
        t("Run"): (lambda row: row.name, st.column_config.TextColumn(width="medium", pinned=True)),
        t("Method"): (lambda row: wording.method(row.method), None),
        t("Options"): (
            lambda row: row.options,
            st.column_config.TextColumn(width=120, help=t("of the method, not at its default")),
        ),
        t("State"): (lambda row: t(row.state), None),
        t("Worth"): (
            lambda row: f"{MARKS[row.worth]} {t(row.worth)}" if row.worth else None,
            st.column_config.TextColumn(help=t("by 95 % intervals on the test images; Live and Home say why")),
        ),
        t("AUROC"): (lambda row: percent(row.auroc), st.column_config.NumberColumn(**share)),
        t("Accuracy"): (lambda row: percent(row.accuracy), st.column_config.NumberColumn(**share)),
        t("OSCR"): (lambda row: percent(row.oscr), st.column_config.NumberColumn(**share)),
        t("Data set"): (lambda row: row.dataset, None),
        t("Family"): (lambda row: row.family, None),
        t("Trial"): (lambda row: row.trial, None),
        t("Seed"): (lambda row: row.seed, None),
        t("Network"): (lambda row: row.backbone, None),
        t("Differs from the default"): (lambda row: row.differs, None),
        t("Best validation"): (
            lambda row: percent(row.best),
            st.column_config.NumberColumn(format="%.1f", help=t("accuracy on validation knowns, best epoch, percent")),
        ),
        t("Last"): (
            lambda row: percent(row.last),
            st.column_config.NumberColumn(format="%.1f", help=t("accuracy on validation knowns, last epoch, percent")),
        ),
        t("Trained, s"): (lambda row: row.seconds, st.column_config.NumberColumn(format="%.0f")),
        t("Tags"): (lambda row: list(row.shelf.tags), st.column_config.ListColumn()),
        t("Id"): (lambda row: row.run.id, None),
    }
    frame = pd.DataFrame({title: [read(row) for row in shown] for title, (read, _) in columns.items()})
    event = st.dataframe(
        frame, hide_index=True, on_select="rerun", selection_mode="multi-row", placeholder="–",
        height=min(35 * len(shown) + 38, 560),
        # a selection is by place, so that other rows are another table
        key=f"runs_table_{hash(tuple(ids))}",
        column_config={title: how for title, (_, how) in columns.items() if how},
        alt=t("Table of {count} runs", count=len(shown)),
    )  # fmt: skip
    st.caption(t("{shown} runs, {chosen} selected", shown=len(shown), chosen=len(event.selection.rows)))
    return [shown[place] for place in event.selection.rows if place < len(shown)]


def opened(ids: list[str]):
    st.session_state.runs_open = ids[st.session_state.runs_clicked["row"]]


def percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def broken(shown: list[Row]):
    if wrong := [row for row in shown if row.problem]:
        with st.expander(t("{count} runs cannot be read", count=len(wrong)), icon=":material/error:"):
            for row in wrong[:50]:
                st.markdown(f"**{wording.plain(row.run.id)}**: {wording.told(row.problem)}")


def by_accuracy(shown: list[Row]):
    """AUROC against closed-set accuracy, of the runs of one data set and family; a mark that is clicked is named."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in shown:
        if None not in (row.auroc, row.accuracy):
            groups.setdefault((row.dataset, row.family), []).append(row)
    if not groups:
        return
    with st.expander(t("AUROC against accuracy"), icon=":material/scatter_plot:"):
        keys = sorted(groups, key=lambda key: -len(groups[key]))
        key = st.selectbox(
            t("Data set and family"), keys, key="runs_picture", format_func=lambda key: f"{key[0]}, {key[1]}"
        )  # fmt: skip
        mine = groups[key]
        event = st.echarts_chart(
            results.by_accuracy(mine, controls.palette()), key=f"runs_by_accuracy_{hash(key)}", height=420,
            on_select="rerun", alt=t("AUROC against accuracy of {count} runs.", count=len(mine)),
        )  # fmt: skip
        if (picked := results.picked(event, mine)) is not None:
            address.link("home", t("Open {run}", run=wording.plain(picked.name)), "arrow_forward",
                         {"run": picked.run.id})  # fmt: skip
        st.caption(
            t("A mark is a run, by the score that it is judged by. Better classifiers of the knowns are often better "
              "at rejecting, too: a method that stands above the others at the same accuracy does more. Choose a mark "
              "to open its run; the table above has the same numbers.")
        )  # fmt: skip


# --- what can be done with them --------------------------------------------------------------------------------------


def act(chosen: list[Row], every: list[Row]):
    ready = [row for row in chosen if not row.problem and row.run.written]
    with st.container(horizontal=True, vertical_alignment="center"):
        ids = ",".join(row.run.id for row in ready)
        if len(chosen) == 1:
            address.link("home", t("Open"), "arrow_forward", {"run": chosen[0].run.id})
        address.link(
            "compare", t("Compare {count} runs", count=len(ready)), "compare_arrows", {"ids": ids},
            disabled=len(ready) < 2,
            help=None if len(ready) > 1 else t("Select at least two runs that have results."),
        )  # fmt: skip
        if ready:
            st.download_button(
                t("Download"), lambda: packed(ready), "runs.zip", "application/zip", icon=":material/download:",
                on_click="ignore", key="runs_download",
                help=t("A zip of small copies: all numbers, without features and the state to go on from."),
            )  # fmt: skip
        if jobs.read_only():
            st.caption(t("This is a show: nothing can be changed here."))
            return
        with st.popover(t("Make an ensemble"), icon=":material/merge:", disabled=len(ready) < 2):
            join(ready)
        with st.popover(t("Describe"), icon=":material/edit:"):
            describe(chosen, every)
        kept = [row for row in chosen if not row.shelf.archived]
        st.button(
            t("Archive") if kept else t("Take out of the archive"), icon=":material/archive:", key="runs_archive",
            on_click=put, args=([row for row in chosen if row.shelf.archived != bool(kept)], {"archived": bool(kept)}),
        )  # fmt: skip
        st.button(
            t("Delete {count}", count=len(chosen)), icon=":material/delete:", key="runs_delete",
            on_click=delete, args=(chosen,), help=t("Moves them to the trash; this can be undone."),
        )  # fmt: skip


def join(ready: list[Row]):
    """Several runs as one: by which mean, and what it costs."""
    st.markdown(t("One run that judges as these {count} do together. They must be of one trial.", count=len(ready)))
    alike = {row.method for row in ready} == {"cac"}
    means = {"softmax": t("the mean of their softmax")}
    if alike:
        means["distances"] = t("their root mean square distance to each anchor")
    mean = st.radio(t("By"), list(means), format_func=means.get, key=f"runs_mean_{alike}")
    st.caption(t("An image then costs as much as with all {count} of them.", count=len(ready)))
    if st.button(t("Make it"), type="primary", key="runs_join"):
        jobs.join([row.run.id for row in ready], mean)
        st.rerun()


def packed(chosen: list[Row]) -> bytes:
    with tempfile.TemporaryFile() as file:
        shelf.pack([row.run for row in chosen], file)
        file.seek(0)
        return file.read()


def describe(chosen: list[Row], every: list[Row]):
    """Title, tags and note of one run; of several, tags to add."""
    tags = sorted({tag for row in every for tag in row.shelf.tags})
    one = chosen[0] if len(chosen) == 1 else None
    with st.form(f"describe_{'-'.join(row.run.id for row in chosen[:3])}_{len(chosen)}", border=False):
        fields = {}
        if one:
            fields["title"] = st.text_input(t("Title"), one.shelf.title, max_chars=shelf.TITLE, placeholder=one.run.id)
        mine = st.multiselect(
            t("Tags") if one else t("Tags to add"), tags, list(one.shelf.tags) if one else [],
            accept_new_options=True, max_selections=shelf.TAGS, placeholder=t("Type a tag, then Enter"),
        )  # fmt: skip
        if one:
            fields["note"] = st.text_area(t("Note"), one.shelf.note, max_chars=shelf.NOTE, height=120)
        if st.form_submit_button(t("Save"), type="primary"):
            put(chosen, fields, None if one else mine, mine if one else None)
            st.rerun()


def put(chosen: list[Row], fields: dict, more: list[str] | None = None, tags: list[str] | None = None):
    """Put these fields on every chosen run; tags take the place of a run's own, more come to them."""
    for row in chosen:
        on_it = shelf.read(row.run)
        mine = on_it.tags if tags is None else tuple(tags)
        try:
            shelf.write(row.run, shelf.Shelf(**{**vars(on_it), "tags": (*mine, *(more or ())), **fields}))
        except ValueError as error:
            tell(wording.said(error), "wrong")
            return


def delete(chosen: list[Row]):
    gone = []
    for row in chosen:
        try:
            gone.append(shelf.delete(row.run))
        except ValueError as error:
            tell(wording.said(error), "wrong")
    st.session_state.runs_deleted, st.session_state.runs_moved = gone, True


def bring_back(deleted: list[shelf.Trashed]):
    for one in deleted:
        try:
            tell(t("{id} is back.", id=shelf.restore(one).id))
        except ValueError as error:
            tell(wording.said(error), "wrong")
    st.session_state.runs_deleted, st.session_state.runs_moved = [], True


def trash():
    there = shelf.trashed(store)
    with st.expander(t("Trash ({count})", count=len(there)), icon=":material/delete:"):
        if not there:
            st.caption(t("The trash is empty."))
            return
        chosen = st.multiselect(
            t("Deleted runs"), there, key="trash_chosen",
            format_func=lambda one: f"{one.id}, {one.when:%Y-%m-%d %H:%M}",
        )  # fmt: skip
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(t("Bring back"), icon=":material/undo:", key="trash_back", disabled=not chosen,
                      on_click=bring_back, args=(chosen,))  # fmt: skip
            sure = st.checkbox(t("I want them gone for good"), key="trash_sure")
            st.button(t("Remove for good"), icon=":material/delete_forever:", key="trash_purge",
                      disabled=not (chosen and sure), on_click=purge, args=(chosen,))  # fmt: skip


def purge(chosen: list[shelf.Trashed]):
    for one in chosen:
        try:
            shelf.purge(one)
        except ValueError as error:
            tell(wording.said(error), "wrong")
    st.session_state.trash_chosen, st.session_state.trash_sure = [], False


def bring_in():
    with st.expander(t("Import a run"), icon=":material/upload:"):
        st.caption(
            t("A zip that this page or the command share made. Nothing in it is run; ids are never overwritten.")
        )
        turn = st.session_state.setdefault("runs_turn", 0)  # another key empties the field
        file = st.file_uploader(t("Zip of runs"), "zip", key=f"runs_zip_{turn}", max_upload_size=UPLOAD)
        if file is not None:
            try:
                arrived = shelf.unpack(file, store)
            except ValueError as error:
                wording.explain(error)
                return
            st.session_state.runs_turn = turn + 1
            tell(t("Imported: {names}", names=", ".join(run.id for run in arrived)))
            st.rerun()


page()
