"""A data set of one's own, as one looks through it: which of its classes are known, and its images class by class."""

from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image, ImageOps

from app import address, growing, holdings, jobs, links, thumbnails, wording
from app.words import t
from cac_core.data import datasets, sources
from cac_core.data.datasets import FOLDER, Dataset, Trial
from cac_core.data.images import prepare
from cac_core.exchange import changes, own_data
from cac_core.results import look

SHOWN = 48  # images on a page
SIDE = 112  # pixels of an image there
IMAGES = ["png", "jpg", "jpeg", "webp", "bmp"]
LINKS: links.Links = {
    "album": (str, None),
    "album_known": (links.several, None),
    "album_all": (links.yes, None),
    "album_class": (str, ""),
    "album_order": (links.one_of("first", "name"), None),
    "album_page": (int, 1),
}


def view(brought: set[str]) -> None:
    """brought: what the address has just said of this view."""
    if not jobs.read_only():
        changes.mend(holdings.root())
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
    if not jobs.read_only():
        bring(name, row)
    images(name)


def open_at(name: str, folder: str = "") -> None:
    """Show this data set in the view; folder: where it has just been written to."""
    st.session_state.data_view, st.session_state.album, st.session_state.album_made = "album", name, folder


def in_link() -> dict[str, object]:
    """What the address says of this view."""
    state = st.session_state
    mine = {} if state.get("album_of") == state.get("album") else {"album_known": None, "album_all": None}
    return {name: state.get(name) for name in LINKS} | mine


def known_classes(name: str, row: Dataset, brought: set[str]) -> None:
    """Tick the classes that the network learns, and go on to training it."""
    state = st.session_state
    if state.get("album_of") != name and "album_known" not in brought:
        state.album_known = list(ticked(name, row))
    else:
        state.album_known = [cls for cls in row.classes if cls in state.get("album_known", ())]
    never = datasets.never_learnt(name, holdings.root())
    if state.get("album_all") is None or (state.get("album_of") != name and "album_all" not in brought):
        state.album_all = bool(never) or kept_here(name) is None
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
        if unknown and not sources.parted(holdings.root() / name):
            st.toggle(
                t("Test on all images of what it never sees, not on a fifth of them"), key="album_all",
                persist_state="session", disabled=jobs.read_only(),
                help=t("The more unknown images there are, the surer it is how many of them are rejected. No other "
                       "trial of this data set can learn these classes then."),
            )  # fmt: skip
        if not unknown:
            st.caption(
                t(
                    "Without unknown classes, how well unknowns are rejected is estimated by leaving known classes "
                    "out in turn."
                )
            )
        if jobs.read_only():
            return
        if st.button(t("On to training"), type="primary", icon=":material/arrow_forward:", key="album_train"):
            whole = [row.classes[c] for c in unknown] if state.album_all else []
            if not sources.parted(holdings.root() / name):
                own_data.never_learn(holdings.root(), name, whole)
                holdings.look_again()
            own_data.save_trial(trial, row, holdings.root())
            address.go("new", {"new_dataset": name, "new_trials": f"custom/{trial.index}"})


def bring(name: str, row: Dataset) -> None:
    """Add images to a class, one that is there or a new one."""
    state = st.session_state
    of, said = state.get("album_brought", ("", None))
    said = said if of == name else None
    with st.expander(t("Add images"), icon=":material/add_photo_alternate:", expanded=said is not None):
        cls = st.selectbox(t("Into the class"), row.classes, None, key="album_into", accept_new_options=True,
                           placeholder=t("a class, or a new name"), width=260)  # fmt: skip
        files = st.file_uploader(
            t("Its images, or a zip of them"), type=[*IMAGES, "zip"], accept_multiple_files=True,
            key=f"album_files_{state.setdefault('album_turn', 0)}",
            max_upload_size=min(500, st.get_option("server.maxUploadSize")),
        )  # fmt: skip
        st.button(t("Add"), type="primary", icon=":material/add:", key="album_add", disabled=not (cls and files),
                  on_click=add, args=(name, cls, files))  # fmt: skip
        if isinstance(said, Exception):
            wording.explain(said)
        elif said:
            growing.told(said)


def add(name: str, cls: str, files: list) -> None:
    if jobs.read_only():
        return
    state = st.session_state
    try:
        fresh = cls not in classes_of(name)
        grown = growing.add(name, cls, [(file.name, file.getvalue()) for file in files])
        state.album_brought = name, grown
        if fresh and grown.added.count and state.get("album_of") == name:
            state.album_known = [*state.get("album_known", []), grown.cls]
        state.album_turn, state.album_into = state.album_turn + 1, None
    except (ValueError, OSError) as error:
        state.album_brought = name, error


def kept_here(name: str) -> Trial | None:
    """The trial that was kept from here."""
    return holdings.kept(name).get(("custom", own_data.trial_name(holdings.root(), name)))


def ticked(name: str, row: Dataset) -> tuple[str, ...]:
    """The classes that are ticked at first: those of the trial that was kept from here, else all that may be known."""
    kept = kept_here(name)
    return tuple(cls for n, cls in enumerate(row.classes) if (n in kept.known if kept else not datasets.no_class(cls)))


# --- the images ------------------------------------------------------------------------------------------------------


def images(name: str) -> None:
    """The images by class, a page at a time, and what can be done with those that are chosen."""
    root = holdings.root()
    photos = changes.photos(root, name)
    classes = sorted({photo.cls for photo in photos})
    found = doubts(name, photos)
    looking(name, found)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        cls = one_of(t("Class"), "album_class", ["", *classes], lambda c: c or t("all classes"))
        order = "name"  # what is doubtful is not known yet; once it is, it comes first
        if found:
            said = {"first": t("look here first"), "name": t("by class")}
            order = one_of(t("Order"), "album_order", list(said), said.get)
    shown = found.first().tolist() if found and order == "first" else list(range(len(photos)))
    shown = [n for n in shown if not cls or photos[n].cls == cls]
    pages = max(-(-len(shown) // SHOWN), 1)
    page = min(max(st.session_state.get("album_page") or 1, 1), pages)
    shown = shown[SHOWN * (page - 1) : SHOWN * page]
    tools = st.container()
    with st.container(horizontal=True, gap="small", key="album_grid"):
        for n in shown:
            tile(root / name, photos[n], reason(n, photos, classes, found))
    if pages > 1:
        st.session_state.album_page = page
        st.pagination(pages, key="album_page")
    with tools:
        if not jobs.read_only():
            change(name, [photos[n] for n in shown], classes, cls)


def one_of(label: str, key: str, choices: list[str], said) -> str:
    if st.session_state.get(key) not in choices:
        st.session_state[key] = choices[0]
    return st.selectbox(label, choices, key=key, format_func=said, persist_state="session", width=260)


def doubts(name: str, photos: list[changes.Photo]) -> look.Doubts | None:
    """What a look through the data set has found; None where nobody has looked at all of its images."""
    marks = tuple(photo.mark for photo in photos)
    return _doubts(str(holdings.root()), name, marks, tuple(photo.cls for photo in photos), _stamp(name))


def _stamp(name: str) -> int:
    try:
        return look.file_of(holdings.root(), name).stat().st_mtime_ns
    except OSError:
        return 0


@st.cache_data(max_entries=4, show_spinner=False)
def _doubts(root: str, name: str, marks: tuple, classes: tuple, stamp: int) -> look.Doubts | None:
    features = look.kept(Path(root), name, marks)
    return None if features is None else look.doubts(features, np.unique(classes, return_inverse=True)[1])


def looking(name: str, found: look.Doubts | None) -> None:
    """How far the look through the images is, or the button that starts it."""
    job = jobs.last("look", name)
    if jobs.going(job):
        st.fragment(under_way, run_every="2s", key="album_looking")(name)
        return
    if job is not None and found is None:
        st.error(wording.told(job.reason or t("It ended without a word.")), icon=":material/error:")
    if found is not None:
        wrong, twins = int((found.doubt > 0.5).sum()), int((found.twin & (found.doubt <= 0.5)).sum())
        st.caption(t("{wrong} lie among the images of another class, {twins} are nearly the same as another.",
                     wrong=wrong, twins=twins))  # fmt: skip
    elif not jobs.read_only():
        st.button(t("Find what is doubtful"), icon=":material/search:", key="album_look", on_click=begin, args=(name,),
                  help=t("Compares all images by a network that has seen ImageNet: near-duplicates and likely mistakes "
                         "come first. Training takes the same features, so nothing is computed twice."))  # fmt: skip


def begin(name: str) -> None:
    if not jobs.read_only():
        jobs.begin("look", name)


def under_way(name: str) -> None:
    if not jobs.going(jobs.last("look", name)):
        st.rerun()
    said = look.under_way(holdings.root(), name)
    if said:
        st.progress(said["done"] / max(said["of"], 1), t("Features of images, computed once: {done} of {of}",
                                                         done=said["done"], of=said["of"]))  # fmt: skip
    else:
        st.caption(t("Starting…"))


def reason(n: int, photos: list[changes.Photo], classes: list[str], found: look.Doubts | None) -> str:
    """Why one should look at this image, in words; empty where nothing speaks against it."""
    if found is None:
        return ""
    if found.doubt[n] > 0.5:
        return f":material/warning: {t('more like {name}', name=wording.plain(classes[found.other[n]]))}"
    if found.twin[n]:
        other = photos[found.nearest[n]]
        return f":material/content_copy: {t('nearly {file}', file=wording.plain(Path(other.path).name))}"
    return ""


def tile(folder: Path, photo: changes.Photo, why: str) -> None:
    with st.container(width=SIDE + 8, gap="xsmall", horizontal_alignment="center"):
        st.image(_thumbnail(str(folder / photo.path), photo.mark), width=SIDE,
                 alt=t("An image of {name}", name=photo.cls))  # fmt: skip
        st.checkbox(wording.plain(photo.cls), key=f"album_pick_{photo.mark}")
        if why:
            st.caption(why)


@st.cache_data(max_entries=2000, show_spinner=False)
def _thumbnail(path: str, mark: str) -> str:
    try:
        picture = prepare(Path(path), FOLDER).preview.convert("RGB")
    except ValueError:  # it has become no image meanwhile
        picture = Image.new("RGB", (SIDE, SIDE), "grey")
    return thumbnails.inline(ImageOps.fit(picture, (SIDE, SIDE)), most=8000)


def change(name: str, shown: list[changes.Photo], classes: list[str], cls: str) -> None:
    """Move, leave out, rename, and take back."""
    picked = [photo.path for photo in shown if st.session_state.get(f"album_pick_{photo.mark}")]
    if said := st.session_state.pop("album_said", None):
        wording.explain(said)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(t("{n} chosen", n=len(picked)), width="content")
        goal = st.selectbox(t("Move to"), classes, key="album_goal", index=None, accept_new_options=True, width=220,
                            placeholder=t("a class, or a new name"))  # fmt: skip
        st.button(t("Move"), icon=":material/drive_file_move:", key="album_move", disabled=not (picked and goal),
                  on_click=act, args=(changes.move, name, picked, goal))  # fmt: skip
        st.button(t("Leave out"), icon=":material/hide_image:", key="album_out", disabled=not picked, on_click=act,
                  args=(changes.leave_out, name, picked),
                  help=t("They are kept, and can be brought back."))  # fmt: skip
        if cls:
            with st.popover(t("Rename"), icon=":material/edit:"):
                new = st.text_input(t("New name of {name}", name=cls), key="album_new")
                st.button(t("Rename"), key="album_rename", disabled=not new.strip(), on_click=act,
                          args=(changes.rename, name, cls, new))  # fmt: skip
        if said := changes.last(holdings.root(), name):
            st.button(t("Undo: {what}", what=wording.said(said)), icon=":material/undo:", key="album_undo",
                      on_click=act, args=(changes.undo, name))  # fmt: skip


def act(work, name: str, *how) -> None:
    """Change the data set, or say why not."""
    if jobs.read_only():
        return
    try:
        before = set(classes_of(name))
        st.session_state.pop("album_brought", None)
        work(holdings.root(), name, *how)
        after = set(classes_of(name))
        state = st.session_state
        if len(gone := before - after) == len(come := after - before) == 1:  # a class has another name
            state.album_known = [next(iter(come)) if cls in gone else cls for cls in state.get("album_known", [])]
            if state.get("album_class") in gone:
                state.album_class = next(iter(come))
        state.album_goal = None
        for key in [key for key in state if str(key).startswith("album_pick_")]:
            state[key] = False
        holdings.look_again()
    except (ValueError, OSError) as error:
        st.session_state.album_said = error


def classes_of(name: str) -> tuple[str, ...]:
    return holdings.row(name).classes
