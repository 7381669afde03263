"""A data set of one's own, as one looks through it: which of its classes are known, and its images class by class."""

import streamlit as st

from app import address, holdings, jobs, links, wording
from app.words import t
from cac_core.data import datasets
from cac_core.data.datasets import Dataset, Trial
from cac_core.exchange import own_data

LINKS: links.Links = {"album": (str, None), "album_known": (links.several, None)}


def view(brought: set[str]) -> None:
    """brought: what the address has just said of this view."""
    every = [shelf.name for shelf in holdings.shelves() if shelf.own and not shelf.missing]
    if not every:
        st.info(t("There is no data set of your own yet."), icon=":material/info:")
        return
    if st.session_state.get("album") not in every:
        st.session_state.album = every[0]
    name = st.selectbox(t("Data set"), every, key="album", persist_state="session")
    if made := st.session_state.pop("album_made", ""):
        st.success(t("Written to {folder}.", folder=wording.plain(made)), icon=":material/check:")
    row = holdings.row(name)
    known_classes(name, row, brought)


def open_at(name: str, folder: str = "") -> None:
    """Show this data set in the view; folder: where it has just been written to."""
    st.session_state.data_view, st.session_state.album, st.session_state.album_made = "album", name, folder


def in_link() -> dict[str, object]:
    """What the address says of this view."""
    state = st.session_state
    known = state.get("album_known") if state.get("album_of") == state.get("album") else None
    return {"album": state.get("album"), "album_known": known}


def known_classes(name: str, row: Dataset, brought: set[str]) -> None:
    """Tick the classes that the network learns, and go on to training it."""
    state = st.session_state
    if state.get("album_of") != name and "album_known" not in brought:
        state.album_known = list(ticked(name, row))
    else:
        state.album_known = [cls for cls in row.classes if cls in state.get("album_known", ())]
    state.album_of = name
    with st.container(border=True):
        st.pills(
            t("Which classes shall the network know? It learns those that are ticked; it never sees the others before "
              "it is tested, and should reject them."),
            row.classes, selection_mode="multi", key="album_known", persist_state="session",
        )  # fmt: skip
        known = tuple(n for n, cls in enumerate(row.classes) if cls in state.album_known)
        unknown = tuple(n for n in range(len(row.classes)) if n not in known)
        trial = Trial(name, "custom", own_data.trial_name(holdings.root(), name), known, unknown)
        try:
            datasets.checked_trial(trial, row)
        except ValueError as error:
            st.caption(f":material/info: {wording.told(error)}")
            return
        names = [wording.listed([row.classes[c] for c in some]) for some in (known, unknown)]
        st.caption(t("**{trial}**: knows {known}; never sees {unknown}", trial=wording.plain(name), known=names[0],
                     unknown=names[1] or t("nothing")))  # fmt: skip
        st.markdown(holdings.openness(trial))
        if not unknown:
            st.caption(t("Without unknown classes, how well unknowns are rejected cannot be measured on this trial."))
        if jobs.read_only():
            return
        if st.button(t("On to training"), type="primary", icon=":material/arrow_forward:", key="album_train"):
            own_data.save_trial(trial, row, holdings.root())
            address.go("new", {"new_dataset": name, "new_trials": f"custom/{trial.index}"})


def ticked(name: str, row: Dataset) -> tuple[str, ...]:
    """The classes that are ticked at first: those of the trial that was kept from here, else all."""
    kept = holdings.kept(name).get(("custom", own_data.trial_name(holdings.root(), name)))
    return tuple(row.classes[c] for c in kept.known) if kept else row.classes
