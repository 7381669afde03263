"""Try an image: what the network takes a picture for, and every number that this rests on."""

import csv
import dataclasses
import hashlib
import io
import json
from typing import Any

import numpy as np
import streamlit as st

from app import (
    address,
    controls,
    draw,
    evidence,
    gallery,
    growing,
    holdings,
    jobs,
    labels,
    links,
    paste,
    picker,
    piles,
    setting,
    sheet,
    thumbnails,
    uploads,
    verdicts,
    wording,
)
from app.setting import Setting
from app.words import t
from cac_core import shell
from cac_core.data import images
from cac_core.data.images import Note
from cac_core.exchange import changes
from cac_core.files import no_formula
from cac_core.recipe import IMPORTED
from cac_core.results import judge

MOST = 200  # images at a time
AT_ONCE = 32  # of them through the network together
PHOTOGRAPH = 50_000  # bytes of a PNG; what is shown enlarged takes fewer
# those that are not read, too: then its tile says what to do, and not the uploader that it cannot be
ENDINGS = [ending.removeprefix(".") for ending in (*images.ENDINGS, *images.FOREIGN)]
NEIGHBOURS = 5

LINKS: links.Links = {"example": (int, None), "try_tab": (links.one_of("draw"), None)}  # which test image, which tab

run = picker.chosen_run()
names, classes = run.known_names, run.class_names


def pictures() -> list[tuple[str, bytes]]:
    """Names and contents of what was dropped, photographed or pasted; none in a show."""
    if jobs.read_only() or run.recipe.backbone == IMPORTED:
        only_shown()
        return []
    files = st.file_uploader(
        t(
            "Drop pictures here: the network says which of {count} {kind} each one shows, or that it has never seen "
            "such a thing.",
            count=len(names), kind=wording.kinds(run, len(names)),
        ),
        ENDINGS, accept_multiple_files=True, key="files", max_upload_size=20,
    )  # fmt: skip
    taken = [(file.name, file) for file in files]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.popover(t("Camera"), icon=":material/photo_camera:"):
            if st.toggle(t("Use the camera"), key="camera_on"):
                photo = st.camera_input(t("Show it something that it has never seen"), key="camera")
                taken += [(t("photograph"), photo)] if photo else []
        choose_way()
        if (content := paste.pasted("paste")) is not None:
            st.session_state.pasted = content
        if "pasted" in st.session_state:
            st.button(t("Forget the pasted picture"), on_click=forget, type="tertiary", icon=":material/close:")
        address.link("many", t("Thousands: a zip or a folder"), "perm_media")
    every = [(name, file.getvalue()) for name, file in taken[:MOST]]
    if "pasted" in st.session_state:
        every.append((t("pasted picture"), st.session_state.pasted))
    if len(taken) > MOST:
        st.warning(
            t("{count} files are too many at a time; these are the first {most}.", count=len(taken), most=MOST),
            icon=":material/info:",
        )
        if st.button(t("Judge all {count} in a process of its own", count=len(taken)), icon=":material/play_arrow:",
                     key="all_of_them", type="primary"):  # fmt: skip
            with wording.explained():
                threshold = controls.threshold_of(setting.set_up(run))
                pile = piles.of_files(run, threshold, [(name, file.getvalue()) for name, file in taken])
                address.go("many", {"pile": pile.id})
    return every


def choose_way():
    """What the pictures are taken for; nothing to choose where the data set is not of drawings."""
    if run.row.drawn:
        st.segmented_control(
            t("Take them as"), images.WAYS[::-1], default=images.way_of(run.row), required=True,
            format_func={"drawing": t("drawings"), "picture": t("pictures")}.get,
            key="as", persist_state="session",
            help=t(
                "What is drawn, written or printed on a picture is brought to size and place as the data set's makers "
                "did theirs; as a picture, all of it is reduced. An image of the data set, also enlarged, is taken as "
                "it is either way."
            ),
        )  # fmt: skip


def forget():
    st.session_state.pop("pasted", None)


def only_shown():
    if run.recipe.backbone == IMPORTED:
        st.info(
            t("This run was imported as outputs alone, so there is no network here to show a picture to. New outputs "
              "of it are judged by a threshold from the page Thresholds:"), icon=":material/table_chart:",
        )  # fmt: skip
        st.code(shell.command("judge", run.id, "FILE", "--threshold", "threshold.json"), "bash", wrap_lines=True)
        return
    st.info(
        t("The app is only shown here: it judges no pictures of your own. The test set's examples are all there."),
        icon=":material/lock:",
    )


ways = [f":material/image: {t('Pictures')}", f":material/draw: {t('Draw')}"]
if "try_tab" in links.read_link(LINKS):
    st.session_state.way = ways[1]
by_picture, by_hand = st.tabs(ways, key="way", on_change="rerun")
with by_picture:  # its files stay while the other tab is open
    given = pictures()


@st.fragment
def desk():
    with wording.explained():
        now = controls.score_and_threshold(run)
        controls.worth(now)
        said_here = st.container(horizontal=True, vertical_alignment="center")
        if by_hand.open and (jobs.read_only() or run.recipe.backbone == IMPORTED):
            only_shown()
        elif by_hand.open:
            easel(now)
        elif given:
            judge_all(said_here, now)
        else:
            examples(said_here, now)
        said = {"example": st.session_state.get("example"), "try_tab": "draw" if by_hand.open else None}
        links.write_link(**links.written(LINKS, said))


def examples(place, now: Setting):
    """Test images to try at a click. What the network put out for them is in the run, so no network is needed."""
    images, said = thumbnails.pixels(run), now.said
    with place:
        st.markdown(t("No picture at hand? Take one of the test set:"))
        gallery.link(t("See all {n} images", n=len(said.labels)), "photo_library")
    if isinstance(images, str):
        st.caption(t("Their pictures cannot be shown here: {why}", why=wording.told(images)))
    picks = {t("known"): known_examples(said, now.theta), t("never seen"): unknown_examples(said)}
    with st.container(horizontal=True, gap="small"):
        for kind, some in picks.items():
            for i in some:
                truth = classes[said.outputs.classes[i]]
                with st.container(width=84, horizontal_alignment="center", gap="xsmall"):
                    if not isinstance(images, str):
                        st.image(
                            thumbnails.inline(thumbnails.enlarged(images[said.outputs.index[i]], 72)), width=72,
                            alt=t("A test image: {truth}, {kind}", truth=truth, kind=kind),
                        )  # fmt: skip
                    st.button(wording.plain(truth), key=f"example_{i}", on_click=choose, args=(i,), width="stretch")
                    st.caption(kind, text_alignment="center")
    i = st.session_state.get("example")
    if i is not None and not 0 <= i < len(said.labels):
        links.refuse("example")
        i = st.session_state.example = None
    if i is None:
        i = picks[t("never seen")][-1] if picks[t("never seen")] else picks[t("known")][-1]
    logits, features = said.outputs.logits[i : i + 1], said.outputs.features[i : i + 1]
    (verdict,) = uploads.said_of(now, logits, features)
    kind = t("a known class") if said.labels[i] >= 0 else t("never seen in training")
    name = t("Test image {number}, in truth {truth}: {kind}", number=said.outputs.index[i],
             truth=classes[said.outputs.classes[i]], kind=kind)  # fmt: skip
    pixels = None if isinstance(images, str) else images[said.outputs.index[i]]
    card(name, verdict, None, pixels, (), 0, logits, now)


def known_examples(said: verdicts.Judged, theta: float) -> list[int]:
    """The first image of each of four known classes, and the one that is most nearly rejected."""
    side = np.flatnonzero(said.labels >= 0)
    _, first = np.unique(said.outputs.classes[side], return_index=True)
    kept = side[said.test.score[side] <= theta]
    edge = kept[[said.test.score[kept].argmax()]] if len(kept) else []
    return list(dict.fromkeys(map(int, [*side[first][:4], *edge])))


def unknown_examples(said: verdicts.Judged) -> list[int]:
    """Of the classes never seen: the image nearest to a known class, and the first of each class, the farthest last."""
    side = np.flatnonzero(said.labels < 0)
    if not len(side):
        return []
    _, first = np.unique(said.outputs.classes[side], return_index=True)
    near, far = side[said.test.score[side].argmin()], side[said.test.score[side].argmax()]
    return list(dict.fromkeys(map(int, [near, *side[first][:2], far])))


def choose(i: int):
    st.session_state.example = i


@st.fragment
def easel(now: Setting):
    """The paper to draw on, and beside it the verdict, which follows the pen: only this part of the page runs again."""
    paper, verdict = st.columns([2, 5])
    with paper:
        drawing = draw.canvas("drawing")
    with verdict, wording.explained():
        if drawing is None:
            invitation = t(
                "Draw one of {names}, or something else: the verdict follows the pen.", names=wording.listed(names)
            )
            st.markdown(invitation)
            return
        looked = uploads.looked_at(run, drawing, now.moved, drawn=True)
        (judged,) = said_of_all([looked], now)
        card("", judged, None, looked.pixels, looked.done, 0, looked.logits, now)


def judge_all(place, now: Setting):
    marks = sheet.marked([content for _, content in given])
    looks, broken = look_at_all(now, marks)
    judged = dict(zip(looks, judged_at(looks, marks, now), strict=True))
    truths = sheet.labels_of(run.id)
    if len(given) == 1:
        offer = st.container()
        if looks:
            draw_card(0, looks[0], judged[0], now, broken)
        else:
            cannot(given[0][0], broken[0])
    else:
        base = now.base
        tiles = [tile(n, marks[n], broken.get(n), judged.get(n), base) for n in range(len(given))]
        several(tiles, looks, judged, truths, now, broken)
        offer = st.container()
    rows, full = [], []
    for n, (name, _) in enumerate(given):
        truth = {"truth": labels.named(truths.get(marks[n]), names)} if len(given) > 1 else {}
        if n in broken:
            rows.append({"file": name, **truth, "decision": "", "error": broken[n]})
            full.append({"file": name, **truth, "error": broken[n]})
            continue
        verdict = judged[n]
        rows.append(
            {"file": name, **truth, "decision": verdict["decision"], "nearest": verdict["label"],
             "score": verdict["score"], "theta": verdict["theta"], "error": ""}
            | {f"gamma {name}": value for name, value in verdict["gamma"].items()}
            | {f"distance {name}": value for name, value in verdict["distances"].items()}
        )  # fmt: skip
        full.append({"file": name, **truth, **verdict, "notes": list(map(str, looks[n].done))})
    if growing.takes_images(run) and (sound := [n for n in looks if n not in broken]):
        with offer:
            into_the_data_set({n: looks[n] for n in sound}, judged)
    fine = [row for row in rows if not row["error"]]
    unknown = sum(row["score"] > row["theta"] for row in fine)
    with place:
        st.markdown(
            t(
                "**{judged}** of {of} judged, **{unknown}** of them unknown.",
                judged=len(fine),
                of=len(rows),
                unknown=unknown,
            )
        )
        # written when they are asked for: a file for each theta would be gone again before it is
        st.download_button(
            "CSV", lambda: table(rows), "verdicts.csv", "text/csv", icon=":material/download:", on_click="ignore"
        )
        record = {"run": run.id, "scorer": now.scorer, "options": now.options, "rule": setting.words(now),
                  "as": setting.way(run), **dataclasses.asdict(now.moved), "images": judge.plain(full)}  # fmt: skip
        st.download_button(
            "JSON", lambda: json.dumps(record, indent=1, ensure_ascii=False), "verdicts.json", "application/json",
            icon=":material/download:", on_click="ignore",
        )  # fmt: skip


def look_at_all(now: Setting, marks: list[str]) -> tuple[dict[int, uploads.Looked], dict[int, str]]:
    """What the network put out for each picture, kept for as long as it is given, and why it could not for some."""
    way = setting.way(run)
    uploads.load(run)
    held, of = st.session_state.get("own_looks", (None, {})), (str(run.path), run.written, now.moved, way)
    known = held[1] if held[0] == of else {}
    found = {mark: known[mark] for mark in marks if mark in known}
    fresh = [(mark, content) for mark, (_, content) in zip(marks, given, strict=True) if mark not in known]
    bar = st.empty()
    for start in range(0, len(fresh), AT_ONCE):
        if len(given) > 1:
            seen = len(marks) - len(fresh) + start
            bar.progress(seen / len(given), t("Looking at image {n} of {of}", n=seen + 1, of=len(given)))
        found |= look_at(fresh[start : start + AT_ONCE], now, way)
    bar.empty()
    st.session_state.own_looks = of, found
    looks = {n: found[mark][0] for n, mark in enumerate(marks) if not isinstance(found[mark], str)}
    return looks, {n: wording.said(found[mark]) for n, mark in enumerate(marks) if isinstance(found[mark], str)}


def look_at(some: list[tuple[str, bytes]], now: Setting, way: str) -> dict[str, Any]:
    """By mark what the network put out for a picture, and a small picture of it, or what is wrong with it.

    Several go through the network together, and one by one where that fails: whatever is wrong with one picture, the
    others are judged.
    """
    found, ready = {}, {}
    for mark, content in some:
        try:
            ready[mark] = images.prepare(content, run.row, way)
        except Exception as error:
            found[mark] = plainly(error)
    try:
        looked = dict(zip(ready, uploads.looked_through(run, list(ready.values()), now.moved), strict=True))
    except Exception:
        looked = {}
    for mark, content in some:
        if mark not in found:
            try:
                look = looked.get(mark) or uploads.looked_at(run, content, now.moved, way)
                found[mark] = look, sheet.small(look.original)
            except Exception as error:
                found[mark] = plainly(error)
    return found


def plainly(error: Exception) -> str:
    wording.reason(error)
    return str(error) or type(error).__name__


def judged_at(looks: dict[int, uploads.Looked], marks: list[str], now: Setting) -> list[dict[str, Any]]:
    """What is said of each, with the decision by theta as it is set: only this is new where theta moves."""
    if not looks:
        return []
    of = "/".join((*(marks[n] for n in looks), setting.way(run), repr(now.moved)))
    return uploads.decided(uploads.said_at_zero(now, list(looks.values()), of), names, now.base + now.theta)


def tile(n: int, mark: str, why: str | None, verdict: dict | None, base: np.ndarray) -> sheet.Tile:
    """A picture on the sheet."""
    if verdict is None:
        return sheet.Tile(given[n][0], mark, error=why or "")
    nearest, (looked, small) = names.index(verdict["label"]), st.session_state.own_looks[1][mark]
    frame = "".join(t(one.phrase, **one.values) for one in looked.done if one.phrase == images.NOTES["frame"])
    return sheet.Tile(given[n][0], mark, small, "", nearest, verdict["score"], float(base[nearest]), frame)


def several(tiles: list[sheet.Tile], looks: dict, judged: dict, truths: dict, now: Setting, broken: dict):
    """All pictures at once, below them the one that was opened, and what their labels say."""
    opened = st.session_state.get("own_open", "")
    sheet.show(tiles, now, truths, opened)
    place = next((n for n, one in enumerate(tiles) if one.mark == opened), None)
    if place is not None:
        with st.container(key="opened"):
            around(tiles, place)
            if place in broken:
                cannot(given[place][0], broken[place])
            else:
                draw_card(place, looks[place], judged[place], now, {})
    labels.section(now, tiles, truths)


def around(tiles: list[sheet.Tile], place: int):
    """From the opened picture to the one before and after, and back to all."""
    with st.container(horizontal=True, horizontal_alignment="right"):
        for key, icon, label, to in (
            ("before", "chevron_left", t("Previous"), place - 1), ("after", "chevron_right", t("Next"), place + 1),
        ):  # fmt: skip
            there = 0 <= to < len(tiles)
            st.button(label, icon=f":material/{icon}:", key=f"open_{key}", disabled=not there, type="tertiary",
                      on_click=open_one, args=(tiles[to].mark if there else "",))  # fmt: skip
        st.button(t("Close"), icon=":material/close:", key="open_none", type="tertiary", on_click=open_one, args=("",))


def open_one(mark: str):
    st.session_state.own_open = mark


def draw_card(n: int, looked: uploads.Looked, verdict: dict, now: Setting, broken: dict[int, str]):
    """The card of a picture, or why it cannot be drawn."""
    try:
        card(given[n][0], verdict, looked.original, looked.pixels, looked.done, n, looked.logits, now)
    except Exception as error:
        broken[n] = wording.reason(error)
        return cannot(given[n][0], broken[n])


def cannot(name: str, why: str):
    with st.container(border=True):
        st.text(name)
        st.error(t("This file cannot be judged: {why}", why=wording.told(why)), icon=":material/broken_image:")


def into_the_data_set(looks: dict[int, uploads.Looked], judged: dict[int, dict]):
    """Tick which of the pictures are of one class, and put them into the run's data set: those rejected, as a rule."""
    name, said = run.recipe.dataset, st.session_state.get("try_grown")
    count = sum(judged[n]["score"] > judged[n]["theta"] for n in looks)
    if isinstance(said, growing.Grown) and said.run != run.id:
        said = None
    title = t("Make a class of the {n} rejected", n=count) if count > 1 else t("Put pictures into a class")
    # the many pictures to tick are painted only where somebody wants them, so that theta moves without them
    place = st.expander(title, icon=":material/new_label:", expanded=said is not None, key="try_grow",
                        on_change="rerun")  # fmt: skip
    if not place.open:
        return
    with place:
        st.markdown(t("The pictures that are ticked go into the data set {name}, as images of one class: a new one, or "
                      "one that is known already.", name=wording.plain(name)))  # fmt: skip
        with st.container(horizontal=True, gap="small", key="try_picks"):
            ticked = [n for n in looks if tick(n, looks[n], judged[n])]
        with st.container(horizontal=True, vertical_alignment="bottom"):
            cls = st.selectbox(t("Into the class"), names, None, key="try_class", accept_new_options=True,
                               placeholder=t("a class, or a new name"), width=260)  # fmt: skip
            st.button(
                t("Add {n} to {name}", n=len(ticked), name=wording.plain(name)), type="primary",
                icon=":material/add:", key="try_add", disabled=not (cls and ticked), on_click=grow,
                args=([given[n] for n in ticked], cls),
            )  # fmt: skip
        if isinstance(said, Exception):
            wording.explain(said)
        elif said:
            grown(said)


def tick(n: int, looked: uploads.Looked, verdict: dict) -> bool:
    """A picture to tick. Where theta moves and the verdict with it, what was ticked before counts no more."""
    rejected = verdict["score"] > verdict["theta"]
    with st.container(width=92, gap="xsmall", horizontal_alignment="center"):
        st.image(thumbnails.inline(looked.original.convert("RGB"), most=8000), width=80, alt=given[n][0])
        mark = f"try_pick_{n}_{hashlib.sha256(given[n][1]).hexdigest()[:12]}_{rejected}"
        return st.checkbox(t("unknown") if rejected else wording.plain(verdict["label"]), rejected, key=mark)


def grow(chosen: list[tuple[str, bytes]], cls: str):
    if jobs.read_only():
        return
    try:
        st.session_state.try_grown = growing.add(run.recipe.dataset, cls, chosen, run)
        st.session_state.try_class = None
    except (ValueError, OSError) as error:
        st.session_state.try_grown = error


def grown(said: growing.Grown):
    """What came of it, and the way on: another run, set up as this one, that knows the class."""
    growing.told(said)
    name = said.dataset
    count = sum(photo.cls == said.cls for photo in changes.photos(holdings.root(), name))
    kept = holdings.kept(name).get(("custom", said.trial))
    with st.container(horizontal=True, vertical_alignment="center"):
        if said.why:
            st.caption(f":material/info: {wording.told(said.why)}")
        elif count < growing.LEAST:
            st.caption(t("A class takes {least} images or more to be learnt and tested; {name} has {n} so far.",
                         least=growing.LEAST, name=wording.plain(said.cls), n=count))  # fmt: skip
        elif kept:
            address.link("new", t("Train a network that knows {name}", name=wording.plain(said.cls)), "arrow_forward",
                         growing.form(run.recipe, said.trial))  # fmt: skip
        address.link("data", t("Look through {name}", name=wording.plain(name)), "photo_library",
                     {"data_view": "album", "album": name, "album_class": said.cls})  # fmt: skip
        growing.undo(said, "try_undo")


def said_of_all(looks: list[uploads.Looked], now: Setting) -> list[dict]:
    if not looks:
        return []
    logits, features = (np.concatenate([getattr(look, part) for look in looks]) for part in ("logits", "features"))
    return uploads.said_of(now, logits, features)


def table(rows: list[dict]) -> str:
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows({key: no_formula(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def card(
    name: str, verdict: dict, original, pixels: np.ndarray | None, done: tuple[Note, ...], n: int, logits: np.ndarray,
    now: Setting,
):  # fmt: skip
    with st.container(border=True):
        shown, chart = st.columns([12, 9], gap="medium")
        with shown, st.container(horizontal=True, gap="medium"):
            if original is not None:
                yours = thumbnails.inline(original, most=PHOTOGRAPH)
                st.image(yours, t("your picture"), width=92, alt=t("The picture as uploaded"))
            if pixels is not None:
                st.image(
                    thumbnails.as_seen(pixels), t("as the network saw it"), width=92, alt=t("What the network saw")
                )
            words = st.container(gap="small")
        with words:
            uploads.say(verdict)
            if done:
                st.caption(wording.plain("; ".join(t(note.phrase, **note.values) for note in done)))
            if name:
                st.text(name)
        with chart:
            evidence.bars(verdict, now.scorer, str(n))
        more = st.expander(t("Its place, its neighbours, its pixels"), on_change="rerun", key=f"why_{n}",
                           icon=":material/travel_explore:")  # fmt: skip
        if more.open:
            with more:
                why(logits, pixels, verdict, now, n)


def why(logits: np.ndarray, pixels: np.ndarray | None, verdict: dict, now: Setting, n: int):
    """Where the image lies among the run's own, what is nearest to it, and which pixels count."""
    wheel, strip, *push = st.columns(3 if evidence.pushes(now) else 2, gap="medium")
    with wheel:
        evidence.on_wheel(logits, now, str(n))
    with strip:  # on the scale of the others, which may be less their theta
        evidence.on_scale(now.theta + verdict["score"] - verdict["theta"], now, str(n))
    for column in push:
        with column:
            st.markdown(t("**Pixels that push the score**"))
            if pixels is not None and jobs.read_only():
                only_shown()
            else:
                evidence.push(now, pixels)
    evidence.neighbours(run, run.outputs("train"), logits, NEIGHBOURS)


desk()
