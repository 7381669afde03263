"""Logit space: where the images lie around the anchors, exactly and in other views, and which ones a lasso caught."""

import csv
import io

import numpy as np
import streamlit as st

from app import charts, controls, feeds, gallery, jobs, links, live, made, picker, setting, systems, thumbnails, wording
from app.setting import Setting
from app.words import t
from cac_core import shell
from cac_core.files import no_formula
from cac_core.results import project
from cac_core.scoring import metrics
from cac_core.scoring.outputs import only
from cac_core.scoring.scorers import explaining

SHOWN = 200  # rows of a selection in the table; the file holds all


LINKS: links.Links = {
    "pair": (links.different(2), [0, 1]),
    "triple": (links.different(3), [0, 1, 2]),
    "hidden": (links.several, []),
    "decision": (links.one_of("all", "accepted", "rejected", "mistakes"), "all"),
    "on_top": (links.one_of("mixed", "unknown", "known"), "mixed"),
    "opacity": (links.between(0.05, 1), 1.0),
    "density": (links.yes, False),
    "further": (links.several, []),
    "map": (str, None),
    "marks": (feeds.rows_in, ""),
    "made_way": (links.between(0, made.WAYS, int), 0),
}
PLACED = {  # what the cloud can set by itself, and what the page calls it
    **{name: name for name in ("view", "epoch", "pair", "triple", "hidden", "decision", "opacity", "density")},
    "top": "on_top",
}

run = picker.chosen_run()
names, classes = run.known_names, run.class_names
links.read_link(LINKS)
for name in ("pair", "triple"):
    if max(st.session_state.get(name) or [0]) >= len(run.known_names):
        links.refuse(name)
        del st.session_state[name]
placed = t("Each mark is an image, placed by what the network put out for it.")
if run.outputs("train").anchors is not None:
    placed += " " + t(
        "Training pulled every known class to its **anchor**; what resembles none of them stays in between."
    )
st.markdown(f"{placed} {t('Draw around some marks to see what they are.')}")
made.jump(run)


@st.fragment
def page():
    with wording.explained():
        with st.container(horizontal=True, vertical_alignment="bottom"):
            scorer = controls.choose_scorer(run)
            with st.popover(t("Help"), icon=":material/help:"):
                how_to_read()
        with st.expander(t("Options"), icon=":material/settings:"), st.container(horizontal=True):
            controls.choose_options(run, scorer)
            sets = further_unknowns()
            order = class_order()
        now = setting.set_up(run, movable=not sets)
        cloud(now, sets, order)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            left, right = st.columns([1, 1])
            controls.theta_inputs(now, left, right)
        controls.about_theta(now)
        controls.beside(now)
        if st.session_state.get("view") == "umap":
            umap()
        elif not maps():
            none = t("UMAP: there is no map of this run yet")
            if project.maps(run):
                none = t("UMAP: the map of this run is of outputs that have been written anew since")
            with st.expander(none, icon=":material/scatter_plot:"):
                make_map()
        selection(now, sets)
        said = {name: st.session_state.get(name) for name in LINKS}
        if len(said["marks"] or "") > links.LONG:
            said["marks"] = None
            st.caption(t("So many chosen images are more than a link holds: it leaves the choice out."))
        links.write_link(**links.written(LINKS, said))
    with wording.explained():
        systems.show(run)


def further_unknowns() -> tuple[str, ...]:
    gallery.sets_in("further", run)
    if not (there := feeds.further(run)):
        return ()
    command = shell.command("eval", "RUN", "--unknown", "NAME")
    return tuple(
        st.multiselect(
            t("Further unknown images"), list(there), format_func=there.get, key="further",
            help=t("Data sets that were evaluated as unknown: {command}", command=f"`{command}`"),
        )
    )  # fmt: skip


def class_order() -> list[int]:
    """How the classes stand around the wheel: by a rule, or as they have been dragged there."""
    state, own = st.session_state, st.session_state.get("around") or []
    ways = {"similar": t("like beside like"), "number": t("by number")}
    if sorted(own) == list(range(len(names))):
        ways["own"] = t("as you put them")
    elif state.get("order") == "own":  # another run's
        state.order = "similar"
    by = st.segmented_control(
        t("Order of the classes on the wheel"), list(ways), default="similar", required=True, key="order",
        format_func=ways.get, persist_state="session",
    )  # fmt: skip
    return {"similar": feeds.order_of(run), "own": own}.get(by, list(range(len(names))))


def how_to_read():
    st.markdown(
        t(
            "- **Wheel**: every logit pulls towards its class on the rim; exact and linear. **Solid**: three classes, "
            "three axes. **Plane**: two classes. **Strip**: the nearest distance against the score, exact for any "
            "number of classes. **PCA**: the two directions of the largest spread.\n"
            "- **UMAP** keeps neighbours together and says nothing about sizes, gaps or θ: it puts images that lie "
            "between the classes onto one of them.\n"
            "- Filled marks are accepted, hollow ones rejected; **×** are images of classes never seen, ringed where "
            "they were accepted.\n"
            "- A mark on the wheel's middle is usually unknown, but different logits can fall on the same place: the "
            "score decides, not the picture."
        )
    )


def cloud(now: Setting, sets: tuple[str, ...], order: list[int]):
    there = maps()
    shown = there.get(st.session_state.get("map"), next(iter(there.values()), None))
    blob = feeds.run_feed(run, odin=None if sets else now.moved.temperature, sets=sets, umap=shown)
    live.feed(blob, key="feed")
    extra = None
    if not feeds.in_browser(now):
        live.feed(extra := feeds.score_feed(feeds.scored(now, sets)), key="score_feed")
    every = feeds.rows(run, sets)
    state = controls.live_state(blob, now, extra) | {
        "order": order,
        **{name: st.session_state.get(kept, (LINKS | links.LINKS)[kept][1]) for name, kept in PLACED.items()},
        "selection": every.unpacked(st.session_state.get("marks", "")),
        "sets": [n for n, split in enumerate(every.splits) if split not in st.session_state.get("without", [])],
    }
    places = places_of(every)
    state["hidden"] = [places.get(entry, entry) for entry in state["hidden"] if entry not in places.values()]
    st.session_state.told_space = {"order": order, "every": every}
    live.space(state, key="space", height=620, on_change=settled)


def places_of(every: feeds.Rows) -> dict[str, str]:
    """Entries of the legend that are further sets, as the page and the address name them, and as the cloud does."""
    return {f"set:{split}": f"set:{n}" for n, split in enumerate(every.splits) if n >= 2}


def settled():
    """What was moved in the cloud counts for the whole page, and for the address."""
    word, state = live.settled("space"), st.session_state
    controls.take(word)
    told = state.told_space
    if "sets" in word:
        state.without = [split for n, split in enumerate(told["every"].splits) if n not in word["sets"]]
    if word.get("order", told["order"]) != told["order"]:
        state.order, state.around = "own", word["order"]
    for name, kept in PLACED.items():
        if name in word:
            state[kept] = word[name]
    if "hidden" in word:
        names = {place: name for name, place in places_of(told["every"]).items()}
        state.hidden = [names.get(entry, entry) for entry in word["hidden"]]
    if "selection" in word:
        state.marks = told["every"].packed(word["selection"])


# --- UMAP ------------------------------------------------------------------------------------------------------------


def umap():
    st.subheader(t("UMAP: made once, kept with the run"), anchor=False)
    st.caption(
        t(
            "Only neighbourhoods mean something here: not sizes, not gaps, not the way from one heap to the next. "
            "Another seed gives another picture. No verdict is drawn from it."
        )
    )
    if there := maps():
        if st.session_state.get("map") not in (None, *there):
            links.refuse("map")
            del st.session_state.map
        name = st.selectbox(t("Map"), list(there), format_func=lambda name: map_name(there[name]), key="map")
        one = there[name]
        trust, own, of = one.trustworthiness, one.same_class["map"], one.same_class["logits"]
        left, middle, right = st.columns(3)
        left.metric(t("Trustworthiness"), f"{trust:.3f}", t("1 = neighbours here are neighbours there"),
                    delta_color="off", delta_arrow="off", border=True)  # fmt: skip
        middle.metric(t("Neighbours of the own class, in the map"), charts.percent(own), border=True)
        right.metric(t("the same in logit space"), charts.percent(of), border=True)
        if trust < 0.9:
            st.warning(
                t("This map tears neighbours apart: do not read anything into how far heaps lie from one another.")
            )
        if len(there) > 1:
            seeds(list(there.values())[:3])
    with st.expander(t("Make another map"), expanded=not there):
        make_map()


def make_map():
    """What a new map is to be, and the job that makes it."""
    if not jobs.read_only():
        a, b, c, d = st.columns(4, vertical_alignment="bottom")
        neighbours = a.number_input(t("Neighbours"), 2, 200, 15, 1, key="umap_neighbours")
        min_dist = b.number_input(t("Least distance"), 0.0, 1.0, 0.1, 0.05, key="umap_min_dist")
        seed = c.number_input(t("Seed"), 0, 10_000, 0, 1, key="umap_seed")
        dense = d.toggle(t("Keep densities (densMAP)"), key="umap_dense")
        three = st.toggle(t("Three seeds, to see what stays the same"), key="umap_three")
        if st.button(
            t("Make it"),
            icon=":material/play_arrow:",
            key="umap_make",
        ):
            for number in range(3 if three else 1):
                line = ["map", str(run.path.absolute()), "--neighbours", str(neighbours), "--min-dist", str(min_dist)]
                jobs.start(run, "map", [*line, "--seed", str(seed + number), *(["--dense"] if dense else [])])
    jobs.work_of(run, "map")


def maps() -> dict[str, project.Map]:
    """The maps of the run that are not stale, by file."""
    return {one.path.name: one for one in project.maps(run) if not one.stale}


def map_name(one: project.Map) -> str:
    p = one.parameters
    kind = "densMAP" if p["dense"] else "UMAP"
    return t(
        "{kind}, {n} neighbours, least distance {distance:g}, seed {seed}",
        kind=kind, n=p["neighbours"], distance=p["min_dist"], seed=p["seed"],
    )  # fmt: skip


def seeds(some: list[project.Map]):
    """The same images by several maps, side by side."""
    for place, one in zip(st.columns(len(some)), some, strict=True):
        labels = np.concatenate([run.outputs(split).labels for split in one.splits])
        starts = np.cumsum([0, *(len(run.outputs(split).labels) for split in one.splits)])
        place.echarts_chart(
            charts.scatter(one.xy, labels[starts[one.split] + one.row], names, controls.palette()),
            key=f"map_{one.path.name}", height=260, alt=map_name(one),
        )  # fmt: skip
        place.caption(map_name(one))


# --- what was chosen -------------------------------------------------------------------------------------------------


def selection(now: Setting, sets: tuple[str, ...]):
    every = feeds.rows(run, sets)
    rows = every.unpacked(st.session_state.get("marks", ""))
    if not rows:
        return
    score = feeds.scored(now, sets).score
    rows.sort(key=lambda row: score[row])  # as the small images beside the picture
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(t("{count} images chosen", count=len(rows)), anchor=False, width="content")
        label = t("See all {n} images", n=len(rows)) if len(rows) > 1 else t("Open the image")
        if st.button(label, icon=":material/photo_library:", key="space_images"):
            at = gallery.key_of(every, rows[0]) if len(rows) == 1 else ""
            gallery.go(run, rows=rows, sets=list(sets), at=at)
    if len(rows) > SHOWN:
        st.caption(t("The first {count} are listed here; the file has all.", count=SHOWN))
    st.dataframe(table_of(rows[:SHOWN], now, every, sets), hide_index=True, height=min(38 + 35 * len(rows), 320))
    st.download_button(
        t("As CSV"), lambda: text_of(table_of(rows, now, every, sets)), f"{run.id}-selection.csv", "text/csv",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    neighbours(every, rows[0])


def table_of(rows: list[int], now: Setting, every: feeds.Rows, sets: tuple[str, ...]) -> dict[str, list]:
    """What there is to say of these images, a column each."""
    verdict, out = feeds.scored(now, sets), feeds.moved_rows(every, run, now.moved if now.moved.magnitude else None)
    near = explaining("distance", every.train, centres=now.options.get("centres", "means"))
    d = near(only(out, np.array(rows))).by_class
    no = metrics.rejected(verdict.score, now.theta)
    return {
        t("set"): [every.splits[every.split[i]] for i in rows],
        t("image"): out.index[rows].tolist(),
        t("truth"): [truth_of(every, i) for i in rows],
        t("nearest class"): [names[verdict.label[i]] for i in rows],
        t("score"): verdict.score[rows].tolist(),
        t("decision"): [t("unknown") if no[i] else names[verdict.label[i]] for i in rows],
        **{t("distance to {name}", name=name): d[:, c].tolist() for c, name in enumerate(names)},
    }


def truth_of(every: feeds.Rows, row: int) -> str:
    if every.split[row] >= 2:
        return feeds.further(run)[every.splits[every.split[row]]]
    name = classes[every.outputs.classes[row]]
    return name if every.outputs.labels[row] >= 0 else t("{name}, never seen", name=name)


def text_of(table: dict[str, list]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table)
    writer.writerows(zip(*(map(no_formula, column) for column in table.values()), strict=True))
    return text.getvalue()


def neighbours(every: feeds.Rows, row: int):
    """The training images whose logits are nearest to those of an image."""
    st.markdown(t("The training images nearest to the first of them, by logits:"))
    train = every.learnt(row)
    index, d = project.nearest(train, every.outputs.logits[row : row + 1], min(5, int((~train.mirrored).sum())))
    pictures = thumbnails.pixels(run, "train")
    with st.container(horizontal=True):
        for i, gap in zip(index[0], d[0], strict=True):
            name = classes[train.classes[i]]
            with st.container(width=120, horizontal_alignment="center", gap="xsmall"):
                if not isinstance(pictures, str):
                    st.image(thumbnails.inline(thumbnails.enlarged(pictures[train.index[i]], 96)), width=96,
                             alt=t("A training image of {name}", name=name))  # fmt: skip
                st.caption(f"**{wording.plain(name)}**, {t('distance')} {charts.number(float(gap))}")
    if isinstance(pictures, str):
        st.caption(wording.told(pictures))


page()
