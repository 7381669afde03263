"""What a verdict on one image rests on: the numbers by class that the score is made of, its place among the test
images, its neighbours, its pixels."""

import numpy as np
import streamlit as st
from PIL import Image

from app import charts, controls, gallery, jobs, thumbnails, uploads, verdicts, wording
from app.gallery import Some, Tagged
from app.setting import Setting
from app.words import phrases, t
from cac_core.files import is_file
from cac_core.recipe import IMPORTED
from cac_core.results import project
from cac_core.runs import Run
from cac_core.scoring.outputs import Outputs, only
from cac_core.scoring.scorers import DIFFERENTIABLE

NEIGHBOURS = 8
SIDE = 224  # pixels of the image


def image(some: Some, row: int, now: Setting, marks: Tagged) -> None:
    """The image of a row, large, with its verdict, and what Try shows for one image."""
    run, logits = some.run, _logits(some, row, now)
    found = gallery.pixels(some, row)
    said = gallery.words_of(some, row)
    shown, words, chart = st.columns([3, 4, 5], gap="medium")
    with shown:
        if isinstance(found, str):
            st.caption(t("The picture cannot be shown here: {why}", why=wording.told(found)))
        else:
            picture = thumbnails.enlarged(found, max(SIDE, len(found)))
            alt = t("Image {number}, in truth {truth}", number=some.number(row), truth=said["truth"])
            st.image(thumbnails.inline(picture, most=100_000), width=SIDE, alt=alt)
        if (name := marks.name(row)) and "/" in name:
            st.caption(wording.plain(name))
    verdict = None
    if now.scorer != "given":  # such a score came with the outputs, and no number of a class is behind it
        (verdict,) = uploads.said_of(now, logits, _features(some, row), only(some.every.outputs, np.array([row])).fold)
    with words:
        st.markdown(t("In truth **{truth}**", truth=wording.plain(said["truth"])))
        if verdict is not None:
            uploads.say(verdict)
        else:
            known = t("Known: {name}", name=wording.plain(said["decision"]))
            st.subheader(t("Unknown") if some.rejected[row] else known, anchor=False)
            score, theta = charts.apart(float(some.verdict.score[row]), now.theta)
            st.caption(t("Score {score}, θ {theta}", score=score, theta=theta))
        if some.right[row]:
            st.badge(t("decided right"), icon=":material/check:", color="green")
        else:
            st.badge(t("decided wrong"), icon=":material/close:", color="orange")
    if verdict is None:
        return
    with chart:
        bars(verdict, now.scorer, "opened")
    wheel, strip = st.columns(2, gap="medium")
    with wheel:
        on_wheel(logits, now, "opened")
    with strip:
        on_scale(float(some.verdict.score[row]), now, "opened")
    neighbours(run, some.every.learnt(row), logits, NEIGHBOURS)
    if isinstance(found, str) or jobs.read_only() or run.recipe.backbone == IMPORTED or not pushes(now):
        return
    more = st.expander(t("**Pixels that push the score**"), on_change="rerun", key="opened_push",
                       icon=":material/grain:")  # fmt: skip
    if more.open:  # it takes the network
        with more:
            push(now, found)


def _logits(some: Some, row: int, now: Setting) -> np.ndarray:
    """[1, C], after ODIN's step where one is set and the run's sweep holds it."""
    split = some.split(row)
    if now.moved.magnitude and some.every.split[row] < 2:
        start = some.every.start(int(some.every.split[row]))
        return verdicts.moved_outputs(some.run, some.run.outputs(split), split, now.moved).logits[[row - start]]
    return some.every.outputs.logits[[row]]


def _features(some: Some, row: int) -> np.ndarray:
    start = some.every.start(int(some.every.split[row]))
    return only(some.run.outputs(some.split(row)), np.array([row - start])).features


BY_CLASS = phrases({  # the numbers that a score is made of
    "gamma": "γ by class", "distance": "distance by class",
    **dict.fromkeys(("msp", "temperature_scaling", "entropy", "gen", "kl_matching"), phrases("softmax by class")),
    **dict.fromkeys(("max_logit", "energy", "margin", "placeholder"), phrases("logit by class")),
    "mahalanobis": "squared distance by class, by features",
    "rmds": "squared distance by class, less that to all",
    "cosine": "cosine by class, by features",
    "unknown_class": "share of K + 1 classes",
    **dict.fromkeys(("openmax", "latent_openmax"), phrases("share of K + 1 classes, by OpenMax")),
})  # fmt: skip
RISING = ("gamma", "distance", "mahalanobis", "rmds")  # the smallest is the nearest
BY_UNKNOWN = ("unknown_class", "placeholder")  # that of what is unknown against the largest known one
RULES = phrases({  # and how it goes by them
    **dict.fromkeys(RISING, phrases("Accepted where the smallest is not above θ.")),
    **dict.fromkeys(("msp", "temperature_scaling", "cosine"), phrases("Accepted where the largest is at least 1 − θ.")),
    "max_logit": "Accepted where the largest is at least − θ.",
    **dict.fromkeys(BY_UNKNOWN, phrases("Accepted where the largest known one is at least unknown − θ.")),
    **dict.fromkeys(("openmax", "latent_openmax"), phrases("Accepted where unknown is not above θ.")),
    **dict.fromkeys(("energy", "entropy", "gen", "kl_matching"), phrases("The score goes by all of them together.")),
    "margin": "The score is the second largest less the largest.",
})  # fmt: skip
SPREAD = ("gamma", "mahalanobis")  # over powers of ten
LIMITS = {  # where theta stands among these numbers, by theta and that of what is unknown
    **dict.fromkeys((*RISING, "openmax", "latent_openmax"), ("θ", lambda theta, unknown: theta)),
    **dict.fromkeys(("cosine", "msp", "temperature_scaling"), ("1 − θ", lambda theta, unknown: 1 - theta)),
    "max_logit": ("− θ", lambda theta, unknown: -theta),
    **dict.fromkeys(BY_UNKNOWN, (phrases("unknown − θ"), lambda theta, unknown: unknown - theta)),
}


def limit(verdict: dict, scorer: str) -> tuple[float, str] | None:
    """The number that decides among those that the score is made of, and what it is called; None where none does."""
    if scorer not in LIMITS:
        return None
    called, place = LIMITS[scorer]
    return place(verdict["theta"], verdict["of_unknown"]), t(called)


def bars(verdict: dict, scorer: str, key: str) -> None:
    """The numbers by class that the score is made of, where there are such, and all numbers in a table; key tells apart
    what stands on one page."""
    shown, unknown = verdict["by_class"], verdict["of_unknown"]
    if shown is None:
        st.caption(t("No numbers by class are behind this score: {score}.", score=t(wording.SAID[scorer])))
    else:
        what, others = t(BY_CLASS[scorer]), {} if unknown is None else {t("unknown"): unknown}
        st.echarts_chart(
            charts.bars(shown, verdict["label"], limit(verdict, scorer), controls.palette(), what,
                        log=scorer in SPREAD, falling=scorer not in RISING, unknown=unknown),
            key=f"bars_{key}", height=64 + 27 * (min(len(shown), 10) + len(others)),
            alt=f"{what}: " + ", ".join(f"{name} {charts.number(value)}" for name, value in
                                        sorted([*shown.items(), *others.items()], key=lambda one: one[1])),
        )  # fmt: skip
        st.caption(t(RULES[scorer]))
    with st.popover(t("All numbers"), icon=":material/table:"):
        st.table(numbers(verdict, scorer), hide_index=True)


def numbers(verdict: dict, scorer: str) -> dict[str, list[str]]:
    """A table of them: what the score is made of, gamma, distance and softmax by class."""
    others = {"γ": verdict["gamma"], t("distance"): verdict["distances"], "softmax": verdict["softmax"]}
    made_of, unknown = verdict["by_class"], verdict["of_unknown"]
    table = {t("class"): list(verdict["gamma"])}
    if made_of is not None and (unknown is not None or made_of not in others.values()):
        table[t(BY_CLASS[scorer])] = [charts.number(v) for v in made_of.values()]
    for name, values in others.items():
        table[name] = [charts.percent(v) if name == "softmax" else charts.number(v) for v in values.values()]
    if unknown is not None:
        for column, cell in zip(table.values(), [t("unknown"), charts.number(unknown), *3 * "–"], strict=True):
            column.append(cell)
    return table


def on_wheel(logits: np.ndarray, now: Setting, key: str) -> None:
    """Where logits [1, C] lie among those of the test images."""
    said = now.said
    st.markdown(t("**On the wheel**, among the test images"))
    frame = charts.wheel_frame(said.means, said.outputs.anchors)
    others, here = charts.on_wheel(said.outputs.logits, *frame), charts.on_wheel(logits, *frame)[0]
    st.echarts_chart(
        charts.place_on_wheel(others, said.labels, here, now.run.known_names, controls.palette()),
        key=f"wheel_{key}", height=280, alt=t("The wheel of the logits, with this image as a large star."),
    )  # fmt: skip


def on_scale(score: float, now: Setting, key: str) -> None:
    """Where a score, on the scale of theirs, lies among those of the test images."""
    said = now.said
    st.markdown(t("**Score** against the test images"))
    st.echarts_chart(
        charts.place_on_scale(said.test.score, said.labels, score, now.theta, said.scale, controls.palette()),
        key=f"strip_{key}", height=280,
        alt=t("Scores of known and unknown test images; this one at {score}.", score=charts.number(score)),
    )  # fmt: skip


def neighbours(run: Run, train: Outputs, logits: np.ndarray, most: int) -> None:
    """The training images whose logits are nearest."""
    index, d = project.nearest(train, logits, k=min(most, int((~train.mirrored).sum())))
    found = thumbnails.pixels(run, "train")
    st.markdown(t("**The nearest training images**, by logits"))
    with st.container(horizontal=True):
        for i, gap in zip(index[0], d[0], strict=True):
            truth = run.class_names[train.classes[i]]
            with st.container(width=110, horizontal_alignment="center", gap="xsmall"):
                if not isinstance(found, str):
                    st.image(thumbnails.inline(thumbnails.enlarged(found[train.index[i]], 88)), width=88,
                             alt=t("A training image of {name}", name=truth))  # fmt: skip
                st.caption(t("**{name}**, distance {d}", name=wording.plain(truth), d=charts.number(float(gap))))


def pushes(now: Setting) -> bool:
    """Whether the score has a gradient by the pixels, which `push` shows."""
    return now.scorer in DIFFERENTIABLE


def push(now: Setting, pixels: np.ndarray | None) -> None:
    """The pixels [H, W, C] that push the score, by the network."""
    if pixels is None:
        st.caption(t("The picture is not here."))
    elif now.run.recipe.is_graph:
        st.caption(t("A network from an ONNX file gives no gradient, which ODIN's step and this picture need."))
    elif is_file(now.run.path / "best.safetensors"):
        gradient = uploads.pushing(now, pixels)
        st.image(thumbnails.inline(tinted(pixels, gradient)), width=220,
                 alt=t("The image, tinted where pixels push the score"))  # fmt: skip
        st.caption(t("Orange: brighter there raises the score, more unknown. Blue: brighter there lowers it."))
    else:
        st.caption(t("The network's weights are not here."))


def tinted(pixels: np.ndarray, gradient: np.ndarray) -> Image.Image:
    """The image in grey, orange where the gradient is positive, blue where it is negative; stronger is larger."""
    grey = pixels.mean(-1, keepdims=True).repeat(3, -1)
    size = np.abs(np.nan_to_num(gradient)).astype(np.float64)  # that of a sure image is very small
    share = np.sqrt(size / (size.max() or 1.0))[..., None] * 0.85
    colour = np.where(gradient[..., None] > 0, (213, 94, 0), (0, 114, 178))
    return thumbnails.enlarged(np.rint(grey * (1 - share) + colour * share).astype(np.uint8), 220)
