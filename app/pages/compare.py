"""Two to six runs, or groups of runs, held against one another: numbers, curves, images, and what to take along."""

import itertools

import numpy as np
import streamlit as st

from app import address, charts, controls, gallery, links, pairs, picker, results, verdicts, wording
from app.results import MEASURES
from app.words import t
from cac_core import runs
from cac_core.results import compare, judge
from cac_core.results.compare import Difference, Member, Scored
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.scorers import READ, SCORERS

GROUP_OF = {name: group for group, names in READ.items() for name in names}
MOST = 60  # runs, in groups
LINKS: links.Links = {
    "compare_scorer": (links.one_of(*SCORERS), None),
    "compare_together": (links.yes, True),
    "compare_measure": (links.one_of(*MEASURES), "auroc"),
    "compare_training": (links.one_of("accuracy", "total"), "accuracy"),
    "compare_pair": (str, None),
    "compare_kind": (links.one_of("one", "other", "neither"), None),
}

store = runs.store_of()
links.read_link(LINKS)
rows = {row.run.id: row for row in results.rows(store) if not row.problem and row.run.written}
st.markdown(
    t(
        "Which is better, and is that for sure? Groups of runs are compared trial by trial or seed by seed, single "
        "runs on the same test images image by image. Runs on other trials are never ranked together."
    )
)


@st.fragment
def page():
    with wording.explained():
        ids = chosen_ids()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            scorer = st.selectbox(
                t("Score"), [None, *GROUP_OF], key="compare_scorer", width=300,
                format_func=lambda s: t("each method's own") if s is None else wording.score(s, GROUP_OF[s]),
            )  # fmt: skip
            together = st.toggle(
                t("Trials and seeds together"), True, key="compare_together",
                help=t("Runs of one recipe that differ in trial and seed alone become one group."),
            )  # fmt: skip
            with st.popover(t("Help"), icon=":material/help:"):
                how_to_read()
        links.put_in_link(LINKS, ids=",".join(ids) or None)
        titles = {name: rows[name].shelf.title for name in ids}
        groups = compare.grouped([rows[name].run for name in ids], together, titles, wording.said)
        if len(ids) < 2:
            st.info(t("Choose at least two runs, here or in the table of runs."), icon=":material/compare_arrows:")
            address.link("runs", t("To the runs"), "table_rows")
            return
        members = results.members(groups, scorer)
        both = pairs.of(members)
        if not both and (note := results.split_note(members)):
            st.warning(wording.plain(note), icon=":material/call_split:")
        numbers(members)
        pairs.view(both, scorer)
        found = results.differences(groups, scorer)
        if not together:  # what the same runs say about their recipes, where there are enough of them
            recipes = compare.grouped([rows[name].run for name in ids], told=wording.said)
            found = found + compare.over_recipes(results.members(recipes, scorer))
        differences(members, found)
        curves(members, groups)
        histograms(groups, scorer)
        images(members, both)
        take_along(groups, members, found, scorer)


def how_to_read():
    st.markdown(
        t(
            "- A **group** is one recipe, over its trials and seeds. Every trial counts once, in the tables and in the "
            "differences: the mean over its seeds.\n"
            "- **Groups** are compared over the trials that both have, or over the seeds on a single one, with a t "
            "interval. From three on a side this is the answer about two methods.\n"
            "- **Two runs on the same test images** are compared image by image: the interval is of the paired "
            "difference, so that what both find hard cancels out. It is about these two networks; trained again, the "
            "same recipe gives others.\n"
            "- *No difference for sure* means that the interval holds 0.\n"
            "- **FPR at 95 % of knowns kept** is the share of unknowns accepted where both keep as many test knowns.\n"
            "- **Knowns kept** and **unknowns caught** are at each run's own θ, by its own validation images: more of "
            "one is less of the other, and neither ranks."
        )
    )


def chosen_ids() -> list[str]:
    """The runs that are chosen here; what an address asks for, where it was not written here."""
    asked = st.query_params.get("ids", "")
    if "compare_ids" not in st.session_state or asked not in st.session_state.setdefault("compare_said", {asked}):
        known = [name for name in dict.fromkeys(asked.split(",")) if name in rows]
        if missing := [name for name in asked.split(",") if name and name not in rows]:
            st.caption(t("Not among the runs with results: {names}", names=wording.listed(missing, 5)))
        st.session_state.compare_ids, st.session_state.compare_said = known[:MOST], {asked}
    st.session_state.compare_ids = [name for name in st.session_state.compare_ids if name in rows]
    called = picker.names(row.run for row in rows.values())
    ids = st.multiselect(
        t("Runs to compare"), list(rows), key="compare_ids", max_selections=MOST, placeholder=t("Choose runs"),
        format_func=lambda name: called[name],
    )  # fmt: skip
    st.session_state.compare_said.add(",".join(ids))
    return ids


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers(members: list[Member]):
    """A table for each set of trials: what is on other classes is in no common ranking."""
    for ranking in results.rankings(members):
        ours = ranking.members
        st.subheader(wording.plain(ranking.title), anchor=False)
        columns = {"": [wording.plain(member.name) for member in ours], t("runs"): [str(len(m.runs)) for m in ours]}
        columns |= results.scores(ours)
        for name, title in MEASURES.items():
            columns[t(title)] = [results.spread(*member.spread()[name]) for member in ours]
        st.table(columns, hide_index=True, border="horizontal")
    st.caption(
        t(
            "By AUROC, the highest first. Lower is better for FPR at 95 % of knowns kept, the share of unknowns "
            "accepted where 95 % of the test knowns are kept. Knowns kept and unknowns caught are at each run's own θ."
        )
        + " "
        + t(results.SPREAD)
    )
    for note in results.theta_notes(members):
        st.caption(wording.plain(note))


def differences(members: list[Member], found: list[Difference]):
    st.subheader(t("Differences"), anchor=False)
    if len(members) < 2:
        st.info(
            t("These runs are one group, of one recipe. For a difference choose runs of another method or recipe, too, "
              "or switch “{switch}” off.", switch=t("Trials and seeds together")),
            icon=":material/compare_arrows:",
        )  # fmt: skip
        return
    shown = found
    if len(found) > len(MEASURES):
        measure = st.segmented_control(
            t("Of"), list(MEASURES), default="auroc", required=True, key="compare_measure",
            format_func=lambda m: t(MEASURES[m]),
        )  # fmt: skip
        shown = [d for d in found if d.measure == measure]
    answers, rest = ([d for d in shown if d.speaks is speaks] for speaks in (True, False))
    if answers:
        listed_differences(answers)
        if rest:
            st.caption(t("Over images alone, or over fewer trials and seeds, and so secondary:"))
    if rest:
        listed_differences(rest, secondary=bool(answers))
    if over := ", ".join(compared_over(found)):
        st.caption(t("Compared over {over}.", over=over) + " " + t(results.HOW_SURE))
    for one, other in itertools.combinations(members, 2):
        if found_needed := compare.needed(one, other):
            st.caption(more_runs(one, other, found_needed))


def more_runs(one: Member, other: Member, found: compare.Needed) -> str:
    """How many seeds or trials would show a difference of a point, and what that rests on."""
    said = {"one": wording.plain(one.name), "other": wording.plain(other.name), "count": found.count,
            "between": charts.fixed(found.between, 1), "seeds": found.seeds, "trials": found.trials,
            "within": "" if found.within is None else charts.fixed(found.within, 1)}  # fmt: skip
    if found.seeds is not None:
        words = t("A difference of one point of AUROC between {one} and {other} would show, four times out of five, "
                  "with {seeds} seeds on each of these {count} trials.", **said)  # fmt: skip
    elif found.trials is not None:
        words = t("A difference of one point of AUROC between {one} and {other} shows on these {count} trials with no "
                  "number of seeds; it takes about {trials} trials.", **said)  # fmt: skip
    else:
        words = t("A difference of one point of AUROC between {one} and {other} is lost in their scatter.", **said)
    if found.within is None:
        return words + " " + t("By the scatter of the differences over trials, ± {between} points; no trial has two "
                               "seeds.", **said)  # fmt: skip
    return words + " " + t("By the scatter of the differences over trials, ± {between} points, and of runs over seeds, "
                           "± {within}.", **said)  # fmt: skip


def compared_over(found: list[Difference]) -> list[str]:
    """How many images, trials or seeds the differences are over, each count once."""
    counts = {kind: sorted({d.count for d in found if d.over == kind}) for kind in ("trials", "seeds")}
    said = {"trials": t("{count} trials"), "seeds": t("{count} seeds")}
    over = [said[kind].format(count=count) for kind, some in counts.items() for count in some]
    pairs: dict[tuple[str, str], dict[str, int]] = {}
    for d in found:
        if d.over == "images":
            pairs.setdefault((d.one, d.other), {})[d.measure] = d.count
    images = sorted({(counts["knowns_kept"], counts["unknowns_caught"]) for counts in pairs.values()})
    words = t("{known} known and {unknown} unknown test images")
    return over + [words.format(known=known, unknown=unknown) for known, unknown in images]


def listed_differences(some: list[Difference], secondary: bool = False):
    """A line each; bold where it is for sure, unless others are the answer, or it is at each run's own theta."""
    bold_ones = [d.sure and not secondary and d.measure in compare.RANKED for d in some]
    lines = dict.fromkeys((results.sentence(d), "**" if bold else "") for d, bold in zip(some, bold_ones, strict=True))
    st.markdown("\n".join(f"- {bold}{wording.plain(line)}{bold}" for line, bold in lines))


# --- pictures --------------------------------------------------------------------------------------------------------


def curves(members: list[Member], groups: dict[str, list[Run]]):
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.subheader(t("Curves"), anchor=False)
        kind = st.segmented_control(
            t("Saved as"), ["canvas", "svg"], default="canvas", required=True, key="compare_drawn",
            format_func={"canvas": "PNG", "svg": "SVG"}.get, help=t("What the button above a picture saves."),
        )  # fmt: skip
    drawings = (
        ("roc", compare.roc_band, t("knowns rejected"), t("unknowns caught"), t("ROC curves of the members compared.")),
        ("oscr", compare.oscr_band, t("unknowns accepted"), t("knowns kept and named right"),
         t("OSCR curves of the members compared.")),
    )  # fmt: skip
    for place, (name, draw, across, up, alt) in zip(st.columns(2, gap="large"), drawings, strict=True):
        bands = {member.name: draw(member) for member in members}
        with place:
            if any(band is None for band in bands.values()):
                st.caption(t("Some of these runs have no unknown test images, so there is no curve."))
                continue
            st.markdown(f"**{name.upper()}**")
            spec = results.bands(bands, across, up, name, controls.palette())
            st.echarts_chart(
                spec, key=f"compare_{name}_{kind}", height=charts.height(spec, 306), renderer=kind, alt=alt
            )
    if any(len(member.runs) > 1 for member in members):
        st.caption(t("Means over the runs of a group, of training below as well; the band is one standard deviation "
                     "wide on either side."))  # fmt: skip
    st.markdown(f"**{t('Training')}**")
    measure = st.segmented_control(
        t("Shown"), ["accuracy", "total"], default="accuracy", required=True, key="compare_training",
        format_func={"accuracy": t("validation accuracy"), "total": t("validation loss")}.get,
        label_visibility="collapsed",
    )  # fmt: skip
    spec = results.training(groups, measure, controls.palette())
    if any(series["data"] for series in spec["series"]):
        st.echarts_chart(spec, key=f"compare_training_{kind}", height=charts.height(spec, 226), renderer=kind,
                         alt=t("Training curves of the runs compared."))  # fmt: skip
        if measure == "total":
            st.caption(t("Losses of different methods have different units."))
    else:
        st.caption(t("These runs keep no record of their training."))


def histograms(groups: dict[str, list[Run]], scorer: str | None):
    """Scores of one run of each group, side by side."""
    st.subheader(t("Scores"), anchor=False)
    every = list(groups.items())
    for start in range(0, len(every), 3):
        for place, (name, group) in zip(st.columns(min(max(len(every), 2), 3)), every[start : start + 3], strict=False):
            run = group[0]
            score = scorer or judge.default_of(run)
            said = verdicts.judged(run, score)
            with place:
                st.markdown(f"**{wording.plain(name)}**")
                theta = metrics.theta_at(judge.KEPT, said.validation.score)
                st.echarts_chart(
                    charts.histogram(said.test.score, said.labels, said.right, theta, said.scale, controls.palette(),
                                     t(wording.SHORT[score])),
                    key=f"compare_scores_{run.id}", height=charts.HISTOGRAM,
                    alt=t("Histogram of the scores of known and unknown test images."),
                )  # fmt: skip
                if len(group) > 1:
                    st.caption(t("One of {count} runs: {id}", count=len(group), id=wording.plain(run.id)))
                st.caption(f"θ = {charts.number(theta)}")
    st.caption(t("Scores of different runs have different units."))


# --- images ----------------------------------------------------------------------------------------------------------


def images(members: list[Member], both: list[pairs.Pair]):
    """Where two runs decide differently about the same image."""
    every = [(member, run) for member in members for run in member.runs]
    every_two = [(a, b) for a, b in itertools.combinations(every, 2) if compare.same_images(a[1], b[1])]
    every_two += [tuple(zip(pair.members, pair.runs, strict=True)) for pair in both]
    st.subheader(t("Images on which two runs disagree"), anchor=False)
    if not every_two:
        st.caption(t("No two of these runs were tested on the same images."))
        return
    every_two.sort(key=lambda pair: pair[0][0] is pair[1][0])  # of two groups first
    by_ids = {f"{a[1].id},{b[1].id}": (a, b) for a, b in every_two}
    ids = next(iter(by_ids))
    if st.session_state.get("compare_pair") not in (None, *by_ids):  # of other runs
        links.refuse("compare_pair")
        del st.session_state["compare_pair"]
    if len(by_ids) > 1:
        ids = st.selectbox(
            t("Two runs"), list(by_ids), key="compare_pair",
            format_func=lambda ids: " · ".join(called_of(*one) for one in by_ids[ids]),
        )  # fmt: skip
    (_, one), (_, other) = by_ids[ids]
    called = [called_of(*side) for side in by_ids[ids]]
    disagreeing(one, other, called, next((pair.common for pair in both if pair.runs == (one, other)), None))


def called_of(member: Member, run: Scored) -> str:
    return member.name if len(member.runs) == 1 else f"{member.name} ({run.id})"


def disagreeing(one: Scored, other: Scored, names: list[str], common: compare.Common | None):
    pair = f"{one.id}_{other.id}"
    run, own, known, places = rows[one.id].run, one, rows[one.id].run.known_names, np.arange(len(one.labels))
    if common is not None:  # the newer one's images are more likely to be here
        run, own, places = rows[other.id].run, other, common.rows[1]
        one, other, known = common.one, common.other, common.names
    found = compare.disagreement(one, other)
    kinds = {
        "one": (t("1 is right"), found.one_right),
        "other": (t("2 is right"), found.other_right),
        "neither": (t("neither is right"), ~(found.one_right | found.other_right)),
    }
    st.markdown(t("They decide differently about **{count}** of {all} test images.",
                  count=len(found.rows), all=len(one.labels)))  # fmt: skip
    st.caption(t("1: {one}, 2: {other}", one=wording.plain(names[0]), other=wording.plain(names[1])))
    if not len(found.rows):
        return
    kind = st.segmented_control(
        t("Shown"), list(kinds), default=next(name for name, (_, which) in kinds.items() if which.any()),
        required=True, key="compare_kind", label_visibility="collapsed",
        format_func=lambda k: f"{kinds[k][0]} ({int(kinds[k][1].sum())})",
    )  # fmt: skip
    mine = np.flatnonzero(kinds[kind][1])
    if not len(mine):
        st.caption(t("There is no such image."))
        return
    mine = mine[np.argsort(own.test.score[places[found.rows[mine]]], kind="stable")]
    pages = -(-len(mine) // gallery.PAGE)
    turn = 1
    if pages > 1:
        turn = st.number_input(t("Page, of {count}", count=pages), 1, pages, 1,
                               key=f"compare_page_{kind}_{pair}", width=160)  # fmt: skip

    def called(label: int) -> str:
        return t("unknown") if label < 0 else known[label]

    some = gallery.judged(run, own)
    all_rows = some.every.start(1) + places[found.rows[mine]]
    shown = slice((turn - 1) * gallery.PAGE, turn * gallery.PAGE)
    first, second = ([called(label) for label in side[mine[shown]]] for side in (found.one, found.other))
    if st.button(t("See all {n} images", n=len(mine)), icon=":material/photo_library:", key="compare_images"):
        gallery.go(run, own.scorer, rows=all_rows)
    if at := st.session_state.pop("compare_at", None):
        gallery.go(run, own.scorer, rows=all_rows, at=at)
    marks = gallery.tagged(some)
    decisions = [(f"1: {a}", f"2: {b}") for a, b in zip(first, second, strict=True)]
    drawn, why = gallery.grid(some, all_rows[shown], marks, "compare_grid", opened, lines=decisions)
    for reason in why:
        st.caption(t("The images cannot be shown here: {why}", why=wording.told(reason)))
    if not drawn:
        listed = gallery.table(some, all_rows[shown], marks)
        columns = {t("test image"): listed[t("image")], t("truth"): listed[t("truth")], f"1: {names[0]}": first,
                   f"2: {names[1]}": second, t("score"): listed[t("score")]}  # fmt: skip
        st.dataframe(columns, hide_index=True)


def opened():
    st.session_state.compare_at = st.session_state.compare_grid["opened"]


# --- to take along ---------------------------------------------------------------------------------------------------


def take_along(groups: dict[str, list[Run]], members: list[Member], found: list[Difference], scorer: str | None):
    st.subheader(t("Take it along"), anchor=False)
    with st.container(horizontal=True):
        for label, file, mime, made in (
            (t("Report (HTML)"), "comparison.html", "text/html",
             lambda: results.as_html(groups, members, found, scorer)),
            ("CSV", "comparison.csv", "text/csv", lambda: results.as_csv(members)),
            (t("LaTeX table"), "comparison.tex", "text/x-tex", lambda: results.as_latex(members)),
        ):  # fmt: skip
            st.download_button(label, lambda made=made: made().encode(), file, mime, icon=":material/download:",
                               on_click="ignore", key=file)  # fmt: skip
    st.caption(t("The report is one file that needs no internet: tables, differences, curves, recipes and versions."))


page()
