"""Data and trials: what is here, what can be downloaded, which classes are known, and images of one's own."""

import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import streamlit as st

from app import address, album, holdings, jobs, links, thumbnails, wording
from app.words import phrases, t
from cac_core import shell
from cac_core.data import datasets
from cac_core.data.datasets import Trial
from cac_core.exchange import own_data, sample
from cac_core.exchange.names import ENCODINGS
from cac_core.jobs import launch
from cac_core.recipe import slug
from cac_core.results import look

CLASSES = 24  # classes whose images are shown
PARTS = phrases({"known": "Known", "unknown": "Unknown", "out": "Left out"})
NOTHING = ("", "")  # where a trial is started from none
VIEWS = phrases({"sets": "Data sets", "own": "Images of your own", "album": "Look through", "trial": "Trial editor"})
WAYS = phrases({"zip": "A zip", "files": "Class by class", "camera": "By camera", "folder": "A folder on the server"})


LINKS: links.Links = {
    "data_view": (links.one_of(*VIEWS), "sets"),
    "data_look": (str, None),
    "own_way": (links.one_of(*WAYS), "zip"),
    "trial_dataset": (str, None),
    "trial_start": (lambda text: tuple(text.split("/", 1)), None),
    "trial_known": (links.several, None),
    "trial_unknown": (links.several, None),
    **album.LINKS,
}
brought = links.read_link(LINKS)
if made_now := st.session_state.pop("album_next", None):
    album.open_at(*made_now)

st.markdown(
    t(
        "A **data set** is images in classes. A **trial** says which of its classes the network learns, and which it "
        "never sees until it is tested: those are the unknowns that it should reject."
    )
)
view = st.segmented_control(
    t("Show"), list(VIEWS), default="sets", required=True, format_func=lambda v: t(VIEWS[v]), key="data_view",
    persist_state="session", label_visibility="collapsed",
)  # fmt: skip


# --- data sets -------------------------------------------------------------------------------------------------------


def sets():
    every = holdings.shelves()
    st.caption(t("Looked for under {root}", root=wording.plain(str(holdings.root()))))
    for words in holdings.closed():
        st.caption(f":material/lock: {wording.told(words)}")
    busy = {shelf.name: job for shelf in every if (job := jobs.last("fetch", shelf.name))}
    if busy:
        active = any(jobs.going(job) for job in busy.values())
        st.fragment(downloads, run_every="2s" if active else None, key="downloads")(list(busy))
    with st.container(horizontal=True, gap="small", key="shelves"):
        for shelf in every:
            with st.container(border=True, width=310, height="stretch"):
                card(shelf, busy)
    if st.button(t("Look again"), icon=":material/refresh:", help=t("Reads the data folder anew.")):
        holdings.look_again()
        st.rerun()
    here = [shelf.name for shelf in every if not shelf.missing]
    st.subheader(t("What the images look like"), anchor=False)
    if st.session_state.get("data_look") not in here:
        st.session_state.pop("data_look", None)
    pictures(st.selectbox(t("Data set"), here, key="data_look", persist_state="session"))


def card(shelf: holdings.Shelf, busy: dict):
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{wording.plain(shelf.name)}**")
        if shelf.missing:
            st.badge(t("not here"), icon=":material/cloud_off:", color="gray")
        else:
            st.badge(t("here"), icon=":material/check:", color="green")
    try:
        count = len(holdings.row(shelf.name).classes)
        words = [t("{count} classes", count=count)] if count else []
        words += [holdings.pixel_note(shelf.name)]
        words += [] if shelf.missing else [t("{size} on disk", size=wording.megabytes(shelf.size))]
        st.caption(t(", ").join(words))
    except ValueError as error:
        st.caption(f":material/error: {wording.told(error)}")
    for words in shelf.passed:
        st.caption(f":material/info: {wording.told(words)}")
    st.caption(f"{wording.plain(t(shelf.about))}. {t('Licence')}: {wording.plain(t(shelf.licence))}.")
    if not shelf.missing:
        return
    if shelf.own:
        st.caption(f":material/error: {wording.told(shelf.missing)}")
        return
    with st.container(horizontal=True):
        if not jobs.read_only():
            st.button(
                t("Download"), key=f"fetch_{shelf.name}", icon=":material/download:", on_click=fetch,
                args=(shelf.name,), disabled=jobs.going(busy.get(shelf.name)),
            )  # fmt: skip
        with st.popover(t("By hand"), icon=":material/folder_open:"):
            st.markdown(t("Without internet, put"))
            for words in holdings.by_hand(shelf.name):
                st.markdown(f"- {wording.told(words)}")
            st.code(shell.command("fetch", shelf.name), language="bash")


def fetch(name: str):
    if not jobs.read_only():
        jobs.begin("fetch", name)


def downloads(names: list[str]):
    """The downloads that wait, run or went wrong; looks again while one is under way."""
    found = {name: jobs.last("fetch", name) for name in names}
    if not any(jobs.going(job) for job in found.values()) and st.session_state.get("downloading"):
        st.session_state.downloading = False
        holdings.look_again()
        st.rerun()
    st.session_state.downloading = any(jobs.going(job) for job in found.values())
    for name, job in found.items():
        if job is None:
            continue
        if not jobs.going(job):
            if job.state in ("failed", "lost"):
                st.error(t("{name}: {why}", name=wording.plain(name), why=wording.told(job.reason)))
                with st.expander(t("What it said")):
                    st.code(jobs.log_of(job, None) or "–", language=None)
                if not jobs.read_only():
                    st.button(t("Dismiss"), key=f"dismiss_{job.id}", on_click=launch.remove, args=(job,))
            continue
        words, stop = st.columns([5, 1], vertical_alignment="center")
        said = jobs.log_of(job, None).splitlines()[-1:]
        state = t("waits for its turn") if job.state == "queued" else t("downloading")
        words.markdown(f"**{wording.plain(name)}**: {state}")
        if said:
            words.caption(wording.plain(said[0][-200:]))
        if not jobs.read_only():
            stop.button(t("Stop"), key=f"stop_{job.id}", icon=":material/stop:", on_click=jobs.stop, args=(job, None))


def pictures(name: str | None):
    if name is None:
        return
    found = holdings.samples(name)
    if isinstance(found, str):
        st.caption(found)
        return
    images, counts = found
    said = {"train": t("for training"), "test": t("for testing"), "all": t("in all, a fifth of them for testing")}
    st.caption(" · ".join(f"{count:,}".replace(",", "\u202f") + f" {said[part]}" for part, count in counts.items()))
    if never := datasets.never_learnt(name, holdings.root()):
        st.caption(t("Of {names} all are for testing: no network learns them.", names=wording.listed(never)))
    gallery(dict(list(images.items())[:CLASSES]), holdings.row(name).classes)
    if len(images) > CLASSES:
        st.caption(t("The first {some} of {all} classes.", some=CLASSES, all=len(images)))
    holdings.tell_ahead(holdings.ahead(name, look.SIDE))


def gallery(images: dict[int, np.ndarray], names: tuple[str, ...]):
    with st.container(horizontal=True, gap="medium"):
        for cls, some in images.items():
            with st.container(width=364, gap="xsmall"):
                st.caption(f"**{wording.plain(names[cls])}**")
                st.image(thumbnails.inline(thumbnails.strip(some)), alt=t("Images of {name}", name=names[cls]))


# --- the trial editor ------------------------------------------------------------------------------------------------


def editor():
    every = [shelf.name for shelf in holdings.shelves() if not shelf.missing or shelf.name in
             datasets.DATASETS]  # fmt: skip
    left, right = st.columns(2)
    if st.session_state.get("trial_dataset") not in every:
        st.session_state.pop("trial_dataset", None)
    name = left.selectbox(t("Data set"), every, key="trial_dataset", persist_state="session", on_change=another_set)
    row = holdings.row(name)
    starts = holdings.published(name) | holdings.kept(name)
    if len(row.classes) < 2:
        st.info(t("The classes of {name} are known once its files are here.", name=name), icon=":material/info:")
        return
    choices = [*starts, NOTHING]
    if st.session_state.get("trial_start") not in choices:
        # said, not left to be the first: the browser would keep another set's and bring it back
        st.session_state.trial_start = choices[0]
    right.selectbox(
        t("Start from"), choices, key="trial_start", on_change=begin, args=(name,), persist_state="session",
        format_func=lambda key: t("nothing: all classes left out") if key == NOTHING else holdings.trial_name(key),
    )  # fmt: skip
    if brought & {"trial_known", "trial_unknown"}:
        linked(name, row)
    elif st.session_state.get("trial_of") != name or "trial_start" in brought:
        begin(name)
    elif changed(row):
        place(name, row, st.session_state.trial_known, st.session_state.trial_unknown)
    chips(name, row)
    trial = chosen(name, row)
    try:
        datasets.checked_trial(trial, row)
    except ValueError as error:
        st.warning(wording.told(error), icon=":material/info:")
        return
    st.markdown(f"**{holdings.openness(trial)}**")
    st.caption(t("Openness is 0 where every class is known, and grows with the share of unknown ones."))
    if not trial.unknown:
        st.caption(
            t(
                "Without unknown classes, how well unknowns are rejected is estimated by leaving known classes "
                "out in turn."
            )
        )
    keep(trial, starts, row)
    bring(name, row)
    roles(name, trial, row)


def linked(name: str, row: datasets.Dataset):
    """Fill the editor from the address."""
    said = {part: st.session_state[part] if part in brought else [] for part in ("trial_known", "trial_unknown")}
    place(name, row, *([named(name, row, one) for one in some] for some in said.values()))


def named(name: str, row: datasets.Dataset, said: str) -> str:
    """A class as an address has it: by name; by number where these stay what they are, which older links have."""
    if said in row.classes or name not in datasets.DATASETS or not said.isdecimal():
        return said
    return row.classes[number] if (number := int(said[:9])) < len(row.classes) else said


def another_set():
    st.session_state.trial_of = ""
    st.session_state.trial_start = None


def begin(name: str):
    """Fill the editor from the trial to start from."""
    row, starts = holdings.row(name), holdings.published(name) | holdings.kept(name)
    trial = starts.get(st.session_state.trial_start) or Trial(name, "custom", "", (), ())
    place(name, row, *([row.classes[c] for c in some] for some in (trial.known, trial.unknown)))


def changed(row: datasets.Dataset) -> bool:
    """Whether the data set has other classes than when the editor was filled."""
    return st.session_state.trial_classes != row.classes


def place(name: str, row: datasets.Dataset, known: list[str], unknown: list[str]):
    """Put each class into one of the lists; chips says which of these the data set has not."""
    state = st.session_state
    state.trial_of, state.trial_classes = name, row.classes
    state.trial_known = [cls for cls in row.classes if cls in known]
    state.trial_unknown = [cls for cls in row.classes if cls in unknown and cls not in known]
    state.trial_out = [cls for cls in row.classes if cls not in (*known, *unknown)]
    state.trial_gone = [cls for cls in dict.fromkeys((*known, *unknown)) if cls not in row.classes]


def chips(name: str, row: datasets.Dataset):
    """Three lists that hold each class once: choosing one in a list takes it out of the others."""
    st.caption(t("Choose a class in a list, and it moves there; take it out with ×, and it is left out."))
    if gone := st.session_state.trial_gone:
        words = t("{name} has no such classes, so the trial goes without them: {classes}", name=wording.plain(name),
                  classes=wording.listed(gone))  # fmt: skip
        st.warning(words, icon=":material/info:")
    for part, title in PARTS.items():
        st.multiselect(t(title), row.classes, key=f"trial_{part}", on_change=settle, args=(part, row.classes),
                       persist_state="session", placeholder=t("no class"))  # fmt: skip


def settle(part: str, classes: tuple[str, ...]):
    state, mine = st.session_state, st.session_state[f"trial_{part}"]
    state.trial_gone = []
    for other in PARTS:
        if other != part:
            state[f"trial_{other}"] = [cls for cls in state[f"trial_{other}"] if cls not in mine]
    placed = {cls for some in ("known", "unknown") for cls in state[f"trial_{some}"]}
    state.trial_out = [cls for cls in classes if cls not in placed]


def chosen(name: str, row: datasets.Dataset) -> Trial:
    """What is in the lists."""
    parts = (st.session_state.trial_known, st.session_state.trial_unknown)
    numbers = (tuple(n for n, cls in enumerate(row.classes) if cls in some) for some in parts)
    return Trial(name, "custom", st.session_state.get("trial_name", "").strip(), *numbers)


def keep(trial: Trial, starts: dict[tuple[str, str], Trial], row: datasets.Dataset):
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(t("Name"), key="trial_name", placeholder=t("my-trial"), persist_state="session", width=260,
                             help=t("Small letters, digits and dashes."))  # fmt: skip
        if not jobs.read_only():
            st.button(t("Save"), type="primary", icon=":material/save:", on_click=save, args=(trial.dataset,),
                      key="trial_save")  # fmt: skip
        st.download_button(
            t("Export as JSON"), own_data.trial_json(trial, row), f"{name or 'trial'}.json", "application/json",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip
    if said := st.session_state.pop("trial_said", None):
        if isinstance(said, str):
            st.success(said, icon=":material/check:")
        else:
            wording.explain(said)
    same = [key for key, one in starts.items() if (one.known, one.unknown) == (trial.known, trial.unknown)]
    if same:
        mine = ("custom", trial.index)
        key = mine if mine in same else same[0]
        said = {"new_dataset": trial.dataset, "new_trials": "/".join(key)}
        label = t("Train on this trial ({name})", name=wording.plain(holdings.trial_name(key)))
        address.link("new", label, "arrow_forward", said)


def save(dataset: str):
    if jobs.read_only():
        return
    try:
        if changed(row := holdings.row(dataset)):  # since it was shown: what is there now is shown first
            return
        file = own_data.save_trial(chosen(dataset, row), row, holdings.root())
        words = t("Saved as {file}. It can be chosen under New run now.", file=wording.plain(str(file)))
        st.session_state.trial_said = words
    except ValueError as error:
        st.session_state.trial_said = error


def bring(name: str, row: datasets.Dataset):
    with st.expander(t("Import a trial"), icon=":material/upload:"):
        st.caption(t("A file {known}, with class numbers or names, as cac-openset writes it.",
                     known=wording.plain('{"Known": [...], "Unknown": [...]}')))  # fmt: skip
        file = st.file_uploader(t("Trial file"), type="json", key="trial_file", max_upload_size=1)
        if file is not None:
            try:
                trial = own_data.trial_from_bytes(file.getvalue(), file.name, name, row)
                st.markdown(holdings.openness(trial))
                st.button(t("Take it into the editor"), on_click=take, args=(name, row, trial),
                          key="trial_take")  # fmt: skip
            except ValueError as error:
                wording.explain(error)


def take(name: str, row: datasets.Dataset, trial: Trial):
    place(name, row, *([row.classes[c] for c in some] for some in (trial.known, trial.unknown)))
    st.session_state.trial_name = trial.index


def roles(name: str, trial: Trial, row: datasets.Dataset):
    found = holdings.samples(name) if not datasets.here(name, holdings.root())[1] else ""
    if isinstance(found, str):
        return
    images, rest = found[0], sorted(set(range(len(row.classes))) - {*trial.known, *trial.unknown})
    for title, group in (("Known", trial.known), ("Unknown", trial.unknown), ("Left out", rest)):
        if group:
            st.subheader(f"{t(title)} ({len(group)})", anchor=False)
            gallery({c: images[c] for c in group[:CLASSES] if c in images}, row.classes)


# --- images of one's own ---------------------------------------------------------------------------------------------


def own():
    st.markdown(
        t(
            "Bring a **zip of class folders** (`cat/1.png`, `dog/1.png`, …; with or without `train` and `test` around "
            "them), or pick images class by class. They are checked first, and written only when you say so."
        )
    )
    if jobs.read_only():
        st.info(t("Here one can look at everything and change nothing."), icon=":material/lock:")
        return
    if st.button(t("No pictures at hand? Make a sample: 300 digits in ink"), type="tertiary", icon=":material/draw:",
                 key="own_sample", help=t("Handwritten digits of scikit-learn, drawn as ink on paper; no photographs. "
                                          "0 to 5 are known, the others unknown.")):  # fmt: skip
        name = sample.make(holdings.root())
        holdings.look_again()
        st.session_state.album_next = name, str(holdings.root() / name)
        st.rerun()
    way = st.segmented_control(
        t("How"), list(WAYS), default="zip", required=True, format_func=lambda way: t(WAYS[way]), key="own_way",
        persist_state="session",
    )  # fmt: skip
    upload = {"zip": from_zip, "files": from_files, "camera": from_camera, "folder": from_folder}[way]()
    if upload is None:
        return
    key, pictures = upload
    if taken := overview(check(key, pictures), f"own_table_{key}"):
        write(taken, pictures)


def from_zip():
    file = st.file_uploader(
        t("Zip file"), type="zip", key="own_zip",
        max_upload_size=min(500, st.get_option("server.maxUploadSize")),  # the server takes no more
        help=t("At most {files} files and {size} unpacked.", files=own_data.FILES,
               size=wording.megabytes(own_data.BYTES)),
    )  # fmt: skip
    if file is None:
        return None
    content = io.BytesIO(file.getbuffer())
    upload = own_data.zipped(content)
    if len(upload.encodings) > 1:
        written = st.selectbox(
            t("How its names are written"), upload.encodings, format_func=ENCODINGS.get,
            key=f"own_encoding_{file.file_id}", width=260,
            help=t("The zip does not say it. Choose another where the names of the classes look wrong."),
        )  # fmt: skip
        upload = own_data.zipped(content, written)
    return f"{file.file_id}|{upload.encoding}", upload


def from_files():
    with st.container(horizontal=True, vertical_alignment="bottom"):
        count = st.number_input(t("Classes"), 2, 50, 2, 1, key="own_classes", width=140)
    classes: dict[str, list] = {}
    key = []
    for n in range(count):
        left, right = st.columns([1, 3])
        name = left.text_input(t("Name of class {n}", n=n + 1), key=f"own_name_{n}", placeholder=t("cat"))
        files = right.file_uploader(t("Its images"), type=["png", "jpg", "jpeg", "webp", "bmp"], key=f"own_files_{n}",
                                    accept_multiple_files=True)  # fmt: skip
        if files and not name.strip():
            left.caption(f":material/info: {t('Give this class a name.')}")
        elif files:
            try:
                mine = classes.setdefault(own_data.class_name(name), [])
            except ValueError as error:
                left.error(wording.told(error))
                continue
            mine += [(file.name, file.getvalue()) for file in files]
            key += [name, *(file.file_id for file in files)]
    return ("|".join(key), own_data.picked(classes)) if classes else None


def from_camera():
    """Pictures of a class after the other, as many as one likes; each is there at once."""
    state = st.session_state
    shots: dict[str, list[bytes]] = state.setdefault("own_shots", {})
    left, right = st.columns([1, 2])
    with left:
        said = st.text_input(t("Name of the class"), key="own_camera_class", placeholder=t("cat"))
        st.caption(t("Name a class, and take ten pictures or more of it: from all sides, near and far. Then name the "
                     "next one."))  # fmt: skip
        for cls, some in list(shots.items()):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(t("**{name}**: {n} pictures", name=wording.plain(cls), n=len(some)), width="stretch")
                st.button(t("Remove the last"), key=f"own_less_{cls}", icon=":material/undo:", on_click=less,
                          args=(cls,))  # fmt: skip
    with right:
        try:
            name = own_data.class_name(said) if said.strip() else ""
        except ValueError as error:
            name = wording.explain(error)
        if name:  # another widget for each picture: the camera is ready for the next one
            photo = st.camera_input(
                t("A picture of {name}", name=name), key=f"own_camera_{state.setdefault('own_taken', 0)}"
            )
            if photo is not None:
                state.own_taken += 1
                shots.setdefault(name, []).append(photo.getvalue())
                st.rerun()
    if not shots:
        return None
    upload = own_data.picked({cls: [(f"{n}.jpg", shot) for n, shot in enumerate(some)] for cls, some in shots.items()})
    return f"{state.own_taken} {[(cls, len(some)) for cls, some in shots.items()]}", upload


def less(cls: str):
    shots = st.session_state.own_shots
    shots[cls].pop()
    if not shots[cls]:
        del shots[cls]


def from_folder():
    """Class folders that lie on the server already."""
    below = holdings.folders_allowed()
    if below == []:
        st.info(
            t("This app is shared. Whoever runs it names the folders that may be read in ANCHORSCOPE_FOLDERS."),
            icon=":material/lock:",
        )  # fmt: skip
        return None
    place = st.container(horizontal=True, vertical_alignment="bottom")
    path = place.text_input(
        t("Folder of class folders"), key="own_folder", persist_state="session",
        help=t("Its images are copied into the data folder; nothing in it is changed."),
    )  # fmt: skip
    if not path.strip():
        return None
    place.button(t("Check again"), icon=":material/refresh:", key="own_again", on_click=check_again)
    folder = Path(os.path.expanduser(path.strip()))
    upload = own_data.lying(folder, below)
    return f"{folder}|{holdings.state_of(folder / name for name in upload.names)}", upload


def check_again():
    st.session_state.pop("own_key", None)


def check(key: str, upload: own_data.Upload) -> own_data.Checked:
    """The upload looked through, once as long as it stays what it is."""
    if st.session_state.get("own_key") != key:
        bar = st.progress(0.0, t("Checking the images…"))
        found = own_data.check(upload, progress=lambda done, of: done % 50 or bar.progress(done / of))
        bar.empty()
        st.session_state.own_key, st.session_state.own_found = key, found
        if st.session_state.get("own_name", "") in ("", st.session_state.get("own_offered")):
            st.session_state.own_name = st.session_state.own_offered = offered()
    return st.session_state.own_found


def offered() -> str:
    """What was brought gives the data set its name, where there is none of this name yet."""
    state = st.session_state
    said = {"zip": lambda: Path(state.own_zip.name).stem, "folder": lambda: Path(state.own_folder.strip()).name,
            "camera": lambda: "my-photos", "files": lambda: ""}[state.own_way]()  # fmt: skip
    name = slug(said)[:40].strip("-") if said else ""
    return "" if name in own_data.TAKEN or (holdings.root() / name).exists() else name


def overview(found: own_data.Checked, key: str) -> own_data.Checked | None:
    """Shows what there is. Gives what is taken of it, as the table of this key says; None where it is no data set."""
    top = st.container()
    try:
        taken = chosen_classes(found, key)
    except ValueError as error:
        with top:
            class_table(found, found, key)
        wording.explain(error)
        return None
    if (groups := own_data.copies(taken)) and copies(groups):
        taken = own_data.without_copies(taken)
    problems = own_data.problems(taken)
    with top:  # above the copies, which it counts without
        class_table(found, taken, key)
        for words in problems:
            if st.session_state.own_way == "camera":  # it is not done yet
                st.info(wording.told(words), icon=":material/photo_camera:")
            else:
                st.error(wording.told(words), icon=":material/error:")
    wording.refused(found.refused)
    gallery({n: taken.shown[c][: holdings.PICTURES] for n, c in enumerate(taken.classes[:CLASSES])},
            tuple(taken.classes))  # fmt: skip
    return None if problems else taken


def chosen_classes(found: own_data.Checked, key: str) -> own_data.Checked:
    """What is in the classes with a tick, by the names that they were given."""
    edits = st.session_state.get(key, {"edited_rows": {}})["edited_rows"]
    rows = {cls: {"take": True, "class": cls} | edits.get(n, {}) for n, cls in enumerate(found.named)}
    called = {cls: row["class"] for cls, row in rows.items() if row["take"]}
    return own_data.renamed(own_data.without(found, rows.keys() - called.keys()), called)


def class_table(found: own_data.Checked, taken: own_data.Checked, key: str):
    """The classes, each with a tick and a name that can be changed, and how many of their images are taken; nothing
    where there is no class."""
    if found.ignored == 1:
        st.caption(t("1 file that systems leave behind is passed over."))
    elif found.ignored:
        st.caption(t("{count} files that systems leave behind are passed over.", count=found.ignored))
    if not found.named:
        return
    origin = {one.place: (one.part, one.cls) for one in found.pictures}
    counts = Counter(origin[one.place] for one in taken.pictures)
    sizes: dict[str, list[tuple[int, int]]] = {cls: [] for cls in found.named}
    for one in found.pictures:
        sizes[one.cls].append((one.width, one.height))
    titles = {"": t("images"), "train": t("for training"), "test": t("for testing")}
    column = st.column_config
    columns = {
        "take": (column.CheckboxColumn(t("take"), width="small"), [True] * len(sizes)),
        "class": (column.TextColumn(t("class"), required=True), list(sizes)),
        **{part or "images": (titles[part], [counts[part, cls] for cls in sizes]) for part in found.counts()},
        "smallest": (t("smallest, pixels"), [" × ".join(map(str, min(some, default=()))) for some in sizes.values()]),
        "largest": (t("largest, pixels"), [" × ".join(map(str, max(some, default=()))) for some in sizes.values()]),
    }
    st.data_editor(
        {name: cells for name, (_, cells) in columns.items()}, hide_index=True, key=key,
        column_config={name: shown for name, (shown, _) in columns.items()}, disabled=[*columns][2:],
    )  # fmt: skip
    st.caption(t("A class without its tick is left out. A name can be changed where it stands; two classes of one name "
                 "become one."))  # fmt: skip


def copies(groups: list[tuple[own_data.Picture, ...]]) -> bool:
    """Lists the images that are there more than once. Whether the copies are to be left out."""
    across = sum(len({one.part for one in group}) > 1 for group in groups)
    torn = sum(own_data.kept(group) is None for group in groups)
    words = [t("1 image is there more than once.") if len(groups) == 1
             else t("{count} images are there more than once.", count=len(groups))]  # fmt: skip
    if across:
        words.append(t("1 image is both for training and for testing.") if across == 1
                     else t("{count} images are both for training and for testing.", count=across))  # fmt: skip
    words.append(t("A network that is tested on what it has seen looks better than it is."))
    if torn:
        words.append(t("1 image lies in several classes, and nobody knows which is right.") if torn == 1
                     else t("{count} images lie in several classes, and nobody knows which is right.",
                            count=torn))  # fmt: skip
    st.warning(" ".join(words), icon=":material/content_copy:")
    left_out = st.checkbox(t("Leave the copies out"), value=True, key="own_unique")
    if left_out:
        clear = (
            t("Of copies in one class one stays, the one for testing if there is one.") if len(groups) > torn else ""
        )
        doubtful = t("What lies in several classes is left out of all of them.") if torn else ""
        st.caption(f"{clear} {doubtful}")
    rows = []
    for number, group in enumerate(sorted(groups, key=lambda group: own_data.kept(group) is not None), 1):
        stays = own_data.kept(group)
        rows += [(number, one is stays or not left_out, one.cls, one.name) for one in group]
    with st.expander(t("The images that are there more than once"), icon=":material/content_copy:", expanded=torn > 0):
        titles = t("image"), t("taken"), t("class"), t("file")
        st.dataframe(dict(zip(titles, zip(*rows, strict=True), strict=True)), hide_index=True)
    return left_out


def write(found: own_data.Checked, upload: own_data.Upload):
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(t("Name of the data set"), key="own_name", placeholder=t("my-pets"), width=260,
                             help=t("Small letters, digits and dashes."))  # fmt: skip
        side = st.number_input(
            t("Side that the network sees, pixels"), 16, 224, 32, 16, key="own_side", width=260,
            help=t("For networks that learn from nothing. The preset photos sees the pictures at its own size, "
                   "whatever stands here."),
        )  # fmt: skip
        grey = st.segmented_control(t("Colours"), ["colour", "grey"], default="colour", required=True, key="own_grey",
                                    format_func={"colour": t("colour"), "grey": t("grey")}.get)  # fmt: skip
        flip = st.toggle(
            t("May be mirrored"), value=True, key="own_flip",
            help=t("Leave it off for letters, signs and whatever means something else in a mirror."),
        )  # fmt: skip
    settings = {"size": side, "channels": 3 if grey == "colour" else 1, "flip": flip}
    if st.button(t("Make it a data set"), type="primary", icon=":material/check:", key="own_write"):
        folder = own_data.write(found, upload, holdings.root(), name.strip(), settings)
        holdings.look_again()
        st.session_state.pop("own_key")
        st.session_state.pop("own_shots", None)
        st.session_state.album_next = folder.name, str(folder)
        st.rerun()


def in_link() -> dict:
    """What the address says of this view: of a trial as it was published or kept its name, else its classes."""
    state = st.session_state
    if view == "album":
        return {"data_view": view, **album.in_link()}
    if view != "trial" or state.get("trial_of") != state.get("trial_dataset"):
        mine = {"sets": "data_look", "own": "own_way"}.get(view)
        return {"data_view": view} | ({mine: state.get(mine)} if mine else {})
    name, key = state.trial_dataset, state.get("trial_start")
    start = (holdings.published(name) | holdings.kept(name)).get(key)
    said = {"data_view": view, "trial_dataset": name, "trial_start": "/".join(key) if start else None}
    trial = chosen(name, holdings.row(name))
    if start is None or (trial.known, trial.unknown) != (start.known, start.unknown):
        said |= {"trial_known": state.trial_known, "trial_unknown": state.trial_unknown}
    return said


with wording.explained():
    {"sets": sets, "own": own, "album": lambda: album.view(brought), "trial": editor}[view]()
    links.put_in_link(LINKS, dict.fromkeys(LINKS) | in_link())
