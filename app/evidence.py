"""What a verdict on one image rests on: γ by class, its place among the test images, its neighbours, its pixels."""

import numpy as np
import streamlit as st
from PIL import Image

from app import charts, controls, gallery, jobs, thumbnails, uploads, verdicts, wording
from app.gallery import Some, Tagged
from app.setting import Setting
from app.words import t
from cac_core.files import is_file
from cac_core.recipe import IMPORTED
from cac_core.results import project
from cac_core.runs import Run
from cac_core.scoring.outputs import only

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
        (verdict,) = uploads.said_of(now, logits, _features(some, row))
    with words:
        st.markdown(t("In truth **{truth}**", truth=wording.plain(said["truth"])))
        if verdict is not None:
            uploads.say(verdict)
        else:
            known = t("Known: {name}", name=wording.plain(said["decision"]))
            st.subheader(t("Unknown") if some.rejected[row] else known, anchor=False)
            st.caption(t("Score {score}, θ {theta}", score=said["score"], theta=charts.number(now.theta)))
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
    neighbours(run, logits, NEIGHBOURS)
    if isinstance(found, str) or jobs.read_only() or run.recipe.backbone == IMPORTED:
        return
    more = st.expander(t("**Pixels that push γ**"), on_change="rerun", key="opened_push", icon=":material/grain:")
    if more.open:  # it takes the network
        with more:
            push(run, found)


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


def bars(verdict: dict, scorer: str, key: str) -> None:
    """γ or the distance by class, and all numbers in a table; key tells apart what stands on one page."""
    palette, theta = controls.palette(), verdict["theta"]
    shown, what, log = {
        "gamma": (verdict["gamma"], t("γ by class; below θ it is accepted"), True),
        "distance": (verdict["distances"], t("distance by class; below θ it is accepted"), False),
    }.get(scorer, (verdict["gamma"], t("γ by class, for comparison: θ is on another scale"), True))
    st.echarts_chart(
        charts.bars(shown, verdict["label"], theta if scorer in ("gamma", "distance") else None, palette, what, log),
        key=f"bars_{key}", height=64 + 27 * min(len(shown), 10),
        alt=f"{what}: " + ", ".join(f"{name} {charts.number(value)}" for name, value in sorted(shown.items())),
    )  # fmt: skip
    with st.popover(t("All numbers"), icon=":material/table:"):
        st.table(
            {
                t("class"): list(verdict["gamma"]),
                "γ": [charts.number(v) for v in verdict["gamma"].values()],
                t("distance"): [charts.number(v) for v in verdict["distances"].values()],
                "softmax": [charts.percent(v) for v in verdict["softmax"].values()],
            },
            hide_index=True,
        )


def on_wheel(logits: np.ndarray, now: Setting, key: str) -> None:
    """Where logits [1, C] lie among those of the test images."""
    said = now.said
    st.markdown(t("**On the wheel**, among the test images"))
    frame = charts.wheel_frame(said.means, said.outputs.anchors)
    others, here = charts.on_wheel(said.outputs.logits, *frame), charts.on_wheel(logits, *frame)[0]
    st.echarts_chart(
        charts.place_on_wheel(others, said.labels, here, now.run.known_names, controls.palette()),
        key=f"wheel_{key}", height=280, alt=t("The anchor wheel with this image as a large star."),
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


def neighbours(run: Run, logits: np.ndarray, most: int) -> None:
    """The training images whose logits are nearest."""
    train = run.outputs("train")
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


def push(run: Run, pixels: np.ndarray | None) -> None:
    """The pixels [H, W, C] that push gamma, by the network."""
    if pixels is None:
        st.caption(t("The picture is not here."))
    elif run.recipe.is_graph:
        st.caption(t("A network from an ONNX file gives no gradient, which ODIN's step and this picture need."))
    elif is_file(run.path / "best.safetensors"):
        gradient = uploads.pushing(run, pixels)
        st.image(thumbnails.inline(tinted(pixels, gradient)), width=220,
                 alt=t("The image, tinted where pixels push gamma"))  # fmt: skip
        st.caption(t("Orange: brighter there raises γ, more unknown. Blue: brighter there lowers it."))
    else:
        st.caption(t("The network's weights are not here."))


def tinted(pixels: np.ndarray, gradient: np.ndarray) -> Image.Image:
    """The image in grey, orange where the gradient is positive, blue where it is negative; stronger is larger."""
    grey = pixels.mean(-1, keepdims=True).repeat(3, -1)
    share = np.sqrt(np.abs(gradient) / max(np.abs(gradient).max(), 1e-12))[..., None] * 0.85
    colour = np.where(gradient[..., None] > 0, (213, 94, 0), (0, 114, 178))
    return thumbnails.enlarged(np.rint(grey * (1 - share) + colour * share).astype(np.uint8), 220)
