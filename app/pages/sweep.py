"""The sweep over ODIN's temperature and magnitude: where it helps, where it harms, and what it did to an image."""

import numpy as np
import streamlit as st

from app import address, charts, controls, heat, jobs, links, picker, setting, thumbnails, uploads, verdicts, wording
from app.setting import Setting
from app.words import phrases, t
from cac_core.files import is_file
from cac_core.recipe import IMPORTED
from cac_core.results import sweep
from cac_core.scoring import metrics
from cac_core.scoring.distances import class_means, distances
from cac_core.scoring.scorers import default_for, scorer_options

MEASURES = phrases({"auroc": "AUROC", "fpr_at_95_knowns_kept": "FPR at 95 % knowns kept", "oscr": "OSCR"})
SCORES = phrases({
    "gamma": "γ", "distance": "distance", "msp": "1 − softmax at T", "msp_at_1": "1 − softmax at T = 1",
})  # fmt: skip
LINKS: links.Links = {  # cell: the T of a cell without a step, in which nothing else tells one T from another
    "sweep_score": (links.one_of(*SCORES), None),
    "measure": (links.one_of(*MEASURES), "auroc"),
    "cell": (links.between(1e-6, 1e6), None),
    "moved_image": (int, None),
}

run = picker.chosen_run()
links.read_link(LINKS)
names, classes = run.known_names, run.class_names
st.markdown(
    t(
        "ODIN moves every pixel by a small step ε towards the class that the network predicts, and looks again: knowns "
        "should give in more easily than unknowns. The temperature T says how the gradient is taken; “1 − softmax at "
        "T” has it in the score as well. Whether it helps is measured here, image by image, against the plain score."
    )
)


@st.fragment
def page():
    with wording.explained():
        now = setting.set_up(run)
        links.write_link(**links.written(LINKS, {name: st.session_state.get(name) for name in LINKS}))
        published = False
        with st.container(horizontal=True, vertical_alignment="bottom"):
            if run.outputs("train").anchors is not None:
                published = st.toggle(
                    t("As published (a leak)"), key="published",
                    help=t("A listing of ODIN on CAC moves images towards their true labels. Shown for study only."),
                )  # fmt: skip
            with st.popover(t("Help"), icon=":material/help:"):
                how_to_read()
        try:
            report = sweep.report(run, published)
        except FileNotFoundError:  # there is none, or one that says what is no longer meant
            offer(published)
            return
        if published:
            st.warning(wording.plain(t(report["leak"])), icon=":material/warning:")
        if other := elsewhere(now, report):
            others = wording.listed(other)
            st.caption(t("Other pages are set to {what}, which this grid does not have.", what=others))
        grid(report, published, now)
        jobs.work_of(run, "sweep")


def how_to_read():
    st.markdown(
        t(
            "- Every cell is one T and one ε; the number in it is measured on the test images. ε = 0 moves nothing.\n"
            "- **T** divides what the step's gradient is taken of. ODIN divides the logits by it in the score too: "
            "that is “1 − softmax at T”, and beside it stands the same at T = 1. γ and distance have no T of this "
            "grid in them: the temperature inside γ's softmin is another quantity, an option of that score, and is "
            "1 here.\n"
            "- **Chosen** looks at validation knowns alone: one known class after the other plays the unknown, and is "
            "taken away from the step and from the score. This is what you could have done without unknowns.\n"
            "- **Oracle** is the best cell on the test unknowns: how good a choice could be, not how good it will be.\n"
            "- The **gain** is over the plain score, of images as they are and with softmax at T = 1, with a 95 % "
            "interval (paired, DeLong with one image more that was not seen). "
            "An interval that holds 0 says that nothing was gained for sure.\n"
            "- A click on a cell takes its score, T and ε for the other pages."
        )
    )


def offer(published: bool):
    """What a sweep would cost, and a button that starts it."""
    images = sum(len(run.outputs(split).labels) for split in sweep.SPLITS)
    temperatures, magnitudes = len(sweep.TEMPERATURES), len(sweep.MAGNITUDES)
    passes = 1 + temperatures * (2 + magnitudes - (0 if published else 1))
    speeds = [event["images_per_second"] for event in run.epochs() if event.get("images_per_second")]
    if not published and sweep.outdated(run):
        st.warning(
            t(
                "The sweep of this run was made by an older definition, whose choice was not blind: the class that "
                "played the unknown was still in the gradient. Compute it again."
            ),
            icon=":material/history:",
        )
    elif is_file(run.path / f"sweep{'-as-published' if published else ''}.npz") and not sweep.of_outputs(
        run, published
    ):
        st.warning(
            t("The sweep of this run is of other images or weights than its outputs. Compute it again."),
            icon=":material/history:",
        )
    else:
        none = t("This run has no sweep as published yet.") if published else t("This run has no sweep yet.")
        st.info(none, icon=":material/grid_on:")
    words = t(
        "{images} images, {cells} cells: {passes} passes through the network for each image.",
        images=images, cells=temperatures * magnitudes, passes=passes,
    )  # fmt: skip
    if not published:
        some = min(sweep.MOST, len(run.outputs("validation").labels))
        images += some * len(names)
        words += " " + t(
            "For the choice, {some} validation images are moved again, without each of the {count} classes in turn.",
            some=some, count=len(names),
        )  # fmt: skip
    if speeds:  # an image in training costs about three passes
        minutes = images * passes / (3 * float(np.median(speeds))) / 60
        words += " " + t("By its training speed, about {minutes:.0f} min here.", minutes=max(minutes, 1))
    st.markdown(words)
    if isinstance(problem := thumbnails.pixels(run), str):
        st.warning(t("Its images are needed for that: {why}", why=wording.told(problem)), icon=":material/hide_image:")
    elif not is_file(run.path / "best.safetensors"):
        st.warning(t("Its weights are needed for that, and they are not here."), icon=":material/warning:")
    elif run.recipe.is_graph:
        st.warning(t("A network from an ONNX file gives no gradient, which ODIN's step and this picture need."),
                   icon=":material/warning:")  # fmt: skip
    elif not jobs.jobs_of(run, "sweep") and not jobs.read_only():
        st.button(t("Start the sweep"), type="primary", icon=":material/play_arrow:", key="start_sweep",
                  on_click=start, args=(published,))  # fmt: skip
    if run.recipe.backbone != IMPORTED:
        st.code(sweep.command(run, published), language="bash")
    jobs.work_of(run, "sweep")


def start(published: bool):
    line = ["sweep", str(run.path.absolute()), *(["--as-published"] if published else [])]
    jobs.start(run, "sweep", line)


def elsewhere(now: Setting, report: dict) -> list[str]:
    """What images are judged by on other pages and in no cell of the grid."""
    temperature = now.options.get("temperature", 1.0)
    as_odin = temperature in report["temperatures"] and (
        not now.moved.magnitude or temperature == now.moved.temperature
    )
    asked = {
        t("the score {name}", name=t(wording.SHORT[now.scorer])): now.scorer not in ("gamma", "distance", "msp"),
        t("distances to the anchors"): now.options.get("centres") == "anchors",
        t("T = {t:g} within the score", t=temperature): temperature != 1 and not (now.scorer == "msp" and as_odin),
        t("a θ of its own for each class"): now.each is not None,
    }
    return [what for what, so in asked.items() if so]


def grid(report: dict, published: bool, now: Setting):
    head = st.container(horizontal=True, vertical_alignment="bottom")
    with head:
        there = list(report["cells"][0]["scores"])
        score = there[0]
        if len(there) > 1:
            first = judged_by() if judged_by() in there else sweep.first_of(report, run.recipe.method)
            if st.session_state.get("sweep_score") not in (None, *there):
                del st.session_state.sweep_score
            score = st.segmented_control(t("Score"), there, default=first, required=True, key="sweep_score",
                                         persist_state="session", format_func=lambda s: t(SCORES[s]))  # fmt: skip
        measure = st.segmented_control(t("Shown"), list(MEASURES), default="auroc", required=True, key="measure",
                                       persist_state="session", format_func=lambda m: t(MEASURES[m]))  # fmt: skip
    picked = cell_of(report, score)
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.subheader(t("{measure} by temperature and step", measure=t(MEASURES[measure])), anchor=False)
        values = np.array(
            [[np.nan if (v := c["scores"][score][measure]) is None else v for c in row] for row in rows_of(report)]
        )
        marks = {
            name: place_of(report, report[name][score])
            for name in ("chosen", "oracle")
            if report.get(name, {}).get(score)
        }
        heat.show(
            values, report["temperatures"], report["magnitudes"], marks, picked, controls.palette(), "heat",
            t(MEASURES[measure]), better_low=measure.startswith("fpr"), on_take=chosen,
        )  # fmt: skip
        st.caption(t("▲ chosen without unknowns · ★ oracle, looks at the test unknowns · a click takes a cell"))
        if not published:
            st.caption(
                t(
                    "The choice looked at {images} of {of} validation images, moved again without each class in turn.",
                    **report["choice"],
                )
            )
        table = st.expander(t("The numbers as a table"), on_change="rerun", key="sweep_table")
        if table.open:
            columns = {"T": report["temperatures"]}
            table.dataframe(
                columns | {f"ε {e:g}": values[:, n] for n, e in enumerate(report["magnitudes"])}, hide_index=True
            )
    with right:
        summary(report, score, picked)
    if not published:
        overlay(report, score, picked, now)
        what_it_did(report, picked, now)


def rows_of(report: dict) -> list[list[dict]]:
    width = len(report["magnitudes"])
    return [report["cells"][at : at + width] for at in range(0, len(report["cells"]), width)]


def place_of(report: dict, cell: dict) -> tuple[int, int]:
    return report["temperatures"].index(cell["temperature"]), report["magnitudes"].index(cell["magnitude"])


def cell_of(report: dict, score: str) -> tuple[int, int]:
    """The cell that is looked at: the one taken by click or link, else the one chosen without unknowns."""
    given, state = dict((report.get("chosen") or report["oracle"]).get(score) or report["cells"][0]), st.session_state
    asked, temperature = {}, state.get("temperature", 1.0)
    if state.get("epsilon"):
        asked = {"temperature": state.get("odin"), "magnitude": state.epsilon}
    elif state.get("cell") is not None:
        asked = {"temperature": state.cell, "magnitude": 0.0}
    elif score == "msp" == judged_by() and temperature != 1:
        asked = {"temperature": temperature, "magnitude": 0.0}
    given |= {name: value for name, value in asked.items() if value in report[f"{name}s"]}
    return place_of(report, given)


def judged_by() -> str:
    """The score that other pages judge by."""
    return st.session_state.get("scorer") or default_for(run.recipe.method)


def scorer_of(score: str, temperature: float) -> tuple[str, dict[str, float]]:
    """The scorer of other pages that judges as a score of the sweep does, and its options."""
    if score in ("msp", "msp_at_1"):
        return "msp", {"temperature": temperature if score == "msp" else 1.0}
    return score, {}


def chosen():
    """A click on a cell."""
    if (place := heat.taken("heat")) is not None:
        report = sweep.report(run, st.session_state.get("published", False))
        cell = {"temperature": report["temperatures"][place[0]], "magnitude": report["magnitudes"][place[1]]}
        st.session_state.cell = None if cell["magnitude"] else cell["temperature"]
        st.session_state.odin, st.session_state.epsilon = cell["temperature"], cell["magnitude"]
        if not st.session_state.get("published", False):
            scorer, options = scorer_of(st.session_state.sweep_score, st.session_state.odin)
            controls.take_scorer(scorer, **options)


def summary(report: dict, score: str, picked: tuple[int, int]):
    for name, title in (
        ("picked", t("This cell")),
        ("chosen", t("▲ Chosen without any unknown")),
        ("oracle", t("★ Oracle: the best on the test unknowns")),
    ):
        cell = rows_of(report)[picked[0]][picked[1]] if name == "picked" else report.get(name, {}).get(score)
        if not cell:
            continue
        numbers = cell["scores"][score] if name == "picked" else cell
        with st.container(border=True):
            st.markdown(f"**{title}**: T = {cell['temperature']:g}, ε = {cell['magnitude']:g}")
            if numbers["auroc"] is None:
                st.caption(t("no unknown images to measure on"))
                continue
            low, high = numbers["gain_interval"]
            st.markdown(f"AUROC **{charts.percent(numbers['auroc'])}**, {gained(numbers['gain'], low, high)}")
            if numbers.get("pseudo_auroc") is not None:
                share = charts.percent(numbers["pseudo_auroc"])
                st.caption(t("{share} where each known class in turn plays the unknown", share=share))
                alike = sum(c["scores"][score]["pseudo_auroc"] == numbers["pseudo_auroc"] for c in report["cells"])
                if name == "chosen" and alike > 1:
                    st.caption(
                        t("{count} cells are as good by this; of them the one nearest to the plain score.", count=alike)
                    )


def gained(gain: float, low: float, high: float) -> str:
    if low == high == 0:
        return t("the plain score itself")
    points = "{} ({} … {})".format(*(charts.points(100 * x, 2) for x in (gain, low, high)))
    if low > 0:
        return t("{points} points: better than the plain score", points=points)
    if high < 0:
        return t("{points} points: worse than the plain score", points=points)
    return t("{points} points: no difference for sure", points=points)


def overlay(report: dict, score: str, picked: tuple[int, int], now: Setting):
    moved = verdicts.Perturbation(report["magnitudes"][picked[1]], report["temperatures"][picked[0]])
    scorer, options = scorer_of(score, moved.temperature)
    plain = verdicts.judged(run, scorer)
    if not plain.unknowns:
        return
    left, right = st.columns([1, 1], gap="large")
    with left:
        st.subheader(t("ROC of this cell, and of the plain score"), anchor=False)
        if moved.magnitude and moved.temperature not in verdicts.held(run):
            st.caption(t("This copy of the run holds the numbers of this cell, but not its images' logits."))
            return
        said = verdicts.judged(run, scorer, moved, **options)
        curves = [metrics.roc(one.test, one.labels) for one in (said, plain)]
        st.echarts_chart(
            charts.two_curves(*curves, controls.palette(), (t("moved"), t("plain"))),
            key="sweep_roc", height=360, alt=t("Two ROC curves: of the moved images and of the plain ones."),
        )  # fmt: skip
    with right:
        st.subheader(t("Take it along"), anchor=False)
        as_set = (now.scorer, now.options, now.each) == (scorer, scorer_options(scorer) | options, None)
        as_moved = now.moved.magnitude == moved.magnitude
        if as_set and as_moved and (not moved.magnitude or now.moved.temperature == moved.temperature):
            st.markdown(
                t(
                    "The other pages judge by {score} with T = {t:g} and ε = {e:g} now.",
                    score=t(SCORES[score]), t=moved.temperature, e=moved.magnitude,
                )
            )  # fmt: skip
        else:
            st.markdown(t("Click a cell to use its score, T and ε on the other pages."))
        address.link("thresholds", t("To the thresholds"), "tune")
        address.link("space", t("To logit space"), "hub")


def what_it_did(report: dict, picked: tuple[int, int], now: Setting):
    st.subheader(t("What the step did to an image"), anchor=False)
    magnitude, temperature = report["magnitudes"][picked[1]], report["temperatures"][picked[0]]
    pictures = thumbnails.pixels(run)
    if isinstance(pictures, str):
        st.caption(t("The images cannot be shown here: {why}", why=wording.told(pictures)))
        return
    if not magnitude:
        st.caption(t("ε = 0 moves nothing. Take another cell."))
        return
    said, scores = now.said, np.sort(now.said.test.score)
    places = np.searchsorted(scores, said.test.score) - np.searchsorted(scores, now.theta, "right")
    order = np.argsort(np.abs(places), kind="stable")
    choices = [*order[said.labels[order] >= 0][:4].tolist(), *order[said.labels[order] < 0][:4].tolist()]
    if (asked := st.session_state.get("moved_image")) is not None and asked not in choices:
        if 0 <= asked < len(said.labels):
            choices.append(asked)  # it was near to another θ
        else:
            links.refuse("moved_image")
            del st.session_state.moved_image
    i = st.selectbox(
        t("Image, of those nearest to θ"), choices, key="moved_image", persist_state="session",
        format_func=lambda i: (
            t("{name} (test image {number})", name=classes[said.outputs.classes[i]], number=said.outputs.index[i])
            if said.labels[i] >= 0
            else t("{name}, never seen (test image {number})", name=classes[said.outputs.classes[i]],
                   number=said.outputs.index[i])
        ),
    )  # fmt: skip
    if not is_file(run.path / "best.safetensors"):
        st.caption(t("The network's weights are not here."))
        return
    pixels = pictures[said.outputs.index[i]]
    moved, logits = uploads.moved_image(run, pixels, magnitude, temperature)
    change = (moved - pixels / 255) / magnitude
    means = class_means(run.outputs("train"))
    before = distances(run.outputs("test").logits[i : i + 1], means)[0]
    after = distances(logits, means)[0]
    with st.container(horizontal=True, gap="medium"):
        for image, words in (
            (pixels, t("as it was")),
            (
                np.rint(127.5 + 127.5 * change).clip(0, 255).astype(np.uint8),
                t("the step, {times:.0f} times as large", times=0.5 / magnitude),
            ),
            (np.rint(moved * 255).clip(0, 255).astype(np.uint8), t("moved")),
        ):
            st.image(thumbnails.inline(thumbnails.enlarged(image, 160)), words, width=160)
        with st.container(width="stretch"):
            st.table(
                {
                    t("class"): names,
                    t("distance before"): [charts.number(float(x)) for x in before],
                    t("after"): [charts.number(float(x)) for x in after],
                    t("change"): [f"{b - a:+.3g}" for a, b in zip(before, after, strict=True)],
                },
                hide_index=True,
            )  # fmt: skip


page()
