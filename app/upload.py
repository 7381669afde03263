"""Try an image: what the network takes a picture for, and every number that this rests on."""

import csv
import io

import numpy as np
import streamlit as st

from app import charts, shared

MOST = 64  # images at a time
ENDINGS = ["png", "jpg", "jpeg", "webp", "bmp", "gif"]

run = shared.chosen_run()
names, classes = run.known_names, run.class_names

files = st.file_uploader(
    f"Drop pictures here: the network says which of {len(names)} {shared.kinds(run, len(names))} each one shows, or "
    "that it has never seen such a thing.",
    ENDINGS, accept_multiple_files=True, key="files", max_upload_size=20,
)  # fmt: skip


@st.fragment
def desk():
    with shared.explained():
        head = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
        said_here = head.container(horizontal=True, vertical_alignment="center", width="content")
        with head.popover("Score and threshold", icon=":material/straighten:"):
            scorer = shared.choose_scorer(run)
            said = shared.judged(run, scorer)
            options = shared.choose_options(run, scorer, said.outputs.anchors is not None)
            said = shared.judged(run, scorer, **options)
            theta = shared.choose_theta(said, wide=False)
        if files:
            uploads(said_here, scorer, theta, options)
        else:
            examples(said_here, said, scorer, theta, options)


def examples(place, said: shared.Judged, scorer: str, theta: float, options: dict):
    """Test images to try at a click. What the network put out for them is in the run, so no network is needed."""
    images = shared.pixels(run)
    if isinstance(images, str):
        place.caption(f"There are no example images here: {shared.plain(images)}")
        return
    place.markdown("No picture at hand? Take one of the test set:")
    picks = []
    for known in (True, False):
        side = np.flatnonzero((said.labels >= 0) == known)
        _, first = np.unique(said.outputs.classes[side], return_index=True)
        picks += [int(i) for i in side[first][:5]]
    with st.container(horizontal=True, gap="small"):
        for i in picks:
            truth, kind = classes[said.outputs.classes[i]], "known" if said.labels[i] >= 0 else "never seen"
            with st.container(width=84, horizontal_alignment="center", gap="xsmall"):
                st.image(
                    shared.enlarged(images[said.outputs.index[i]], 72), width=72, alt=f"A test image: {truth}, {kind}"
                )
                st.button(shared.plain(truth), key=f"example_{i}", on_click=choose, args=(i,), width="stretch")
                st.caption(kind, text_alignment="center")
    chosen_of, i = st.session_state.get("example", ("", 0))
    if chosen_of != run.id:
        i = picks[-1]
    (verdict,) = shared.said_of(
        run, said.outputs.logits[i : i + 1], said.outputs.features[i : i + 1], scorer, theta, **options
    )
    kind = "a known class" if said.labels[i] >= 0 else "never seen in training"
    name = f"Test image {said.outputs.index[i]}, in truth {classes[said.outputs.classes[i]]}: {kind}"
    card(name, verdict, None, images[said.outputs.index[i]], (), scorer, 0)


def choose(i: int):
    st.session_state.example = run.id, i


def uploads(place, scorer: str, theta: float, options: dict):
    if len(files) > MOST:
        st.warning(f"{len(files)} files are too many at a time; these are the first {MOST}.", icon=":material/info:")
    looks, broken, rows = {}, {}, []
    bar = st.empty()
    for n, file in enumerate(files[:MOST]):
        if len(files) > 1:
            bar.progress(n / min(len(files), MOST), f"Looking at image {n + 1} of {min(len(files), MOST)}")
        try:
            looks[n] = shared.looked_at(run, file.getvalue())
        except ValueError as error:
            broken[n] = str(error)
    bar.empty()
    verdicts = dict(zip(looks, said_of_all(list(looks.values()), scorer, theta, options), strict=True))
    for n, file in enumerate(files[:MOST]):
        if n in broken:
            with st.container(border=True):
                st.text(file.name)
                st.error(shared.plain(f"This file cannot be judged: {broken[n]}"), icon=":material/broken_image:")
            rows.append({"file": file.name, "decision": "", "error": broken[n]})
            continue
        looked, verdict = looks[n], verdicts[n]
        card(file.name, verdict, looked.original, looked.pixels, looked.notes, scorer, n)
        rows.append(
            {"file": file.name, "decision": verdict["decision"], "nearest": verdict["label"], "score": verdict["score"],
             "theta": verdict["theta"], "error": ""}
            | {f"gamma {name}": value for name, value in verdict["gamma"].items()}
        )  # fmt: skip
    judged = [row for row in rows if not row["error"]]
    unknown = sum(row["score"] > row["theta"] for row in judged)
    with place:
        st.markdown(f"**{len(judged)}** of {len(rows)} judged, **{unknown}** of them unknown.")
        st.download_button(
            "All as CSV", table(rows), "verdicts.csv", "text/csv", icon=":material/download:", on_click="ignore"
        )


def said_of_all(looks: list[shared.Looked], scorer: str, theta: float, options: dict) -> list[dict]:
    if not looks:
        return []
    logits, features = (np.concatenate([getattr(look, part) for look in looks]) for part in ("logits", "features"))
    return shared.said_of(run, logits, features, scorer, theta, **options)


def table(rows: list[dict]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    # a spreadsheet would take a name that begins with one of these for a formula
    writer.writerows(
        {k: f"'{v}" if isinstance(v, str) and v[:1] in tuple("=+-@\t\r") else v for k, v in row.items()} for row in rows
    )
    return text.getvalue()


def card(name: str, verdict: dict, original, pixels: np.ndarray, notes: tuple[str, ...], scorer: str, n: int):
    score, theta, label = verdict["score"], verdict["theta"], verdict["label"]
    unknown = score > theta
    with st.container(border=True):
        pictures, words, chart = st.columns([6, 6, 9], gap="medium")
        with pictures, st.container(horizontal=True, gap="small"):
            if original is not None:
                st.image(original, "your picture", width=92, alt="The picture as uploaded")
            st.image(shared.enlarged(pixels), "as the network saw it", width=92, alt="What the network saw")
        with words:
            st.subheader("Unknown" if unknown else f"Known: {shared.plain(label)}", anchor=False)
            st.markdown(
                f"Score **{charts.number(score)}** is {'above' if unknown else 'not above'} "
                f"θ **{charts.number(theta)}**; the margin is {charts.number(abs(score - theta))}."
                + (f" The nearest class is {shared.plain(label)}." if unknown else "")
            )
            best = max(verdict["softmax"], key=verdict["softmax"].get)
            st.markdown(f"Softmax alone says **{shared.plain(best)}** with {charts.percent(verdict['softmax'][best])}.")
            if notes:
                st.caption(shared.plain("; ".join(notes)))
            st.text(name)
        with chart:
            numbers(verdict, scorer, n)


def numbers(verdict: dict, scorer: str, n: int):
    palette, theta = shared.palette(), verdict["theta"]
    shown, what, log = {
        "gamma": (verdict["gamma"], "γ by class; below θ it is accepted", True),
        "distance": (verdict["distances"], "distance by class; below θ it is accepted", False),
    }.get(scorer, (verdict["gamma"], "γ by class, for comparison: θ is on another scale", True))
    st.echarts_chart(
        charts.bars(shown, verdict["label"], theta if scorer in ("gamma", "distance") else None, palette, what, log),
        key=f"bars_{n}",
        height=64 + 27 * min(len(shown), 10),
        alt=f"{what}: " + ", ".join(f"{name} {charts.number(value)}" for name, value in sorted(shown.items())),
    )
    with st.popover("All numbers", icon=":material/table:"):
        st.table(
            {
                "class": list(verdict["gamma"]),
                "γ": [charts.number(v) for v in verdict["gamma"].values()],
                "distance": [charts.number(v) for v in verdict["distances"].values()],
                "softmax": [charts.percent(v) for v in verdict["softmax"].values()],
            },
            hide_index=True,
        )


desk()
