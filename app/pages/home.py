"""Home: what a network knows and what it has never seen, on one wheel, and what theta does about it."""

import numpy as np
import streamlit as st

from app import address, charts, controls, courses, links, picker, setting, thumbnails, verdicts, wording
from app.setting import Setting
from app.words import t
from cac_core.results import judge

run = picker.chosen_run()
names, classes, trial = run.known_names, run.class_names, run.trial
purpose = t(
    "This network learned **{count} {kind}**: {names}.",
    count=len(names), kind=wording.kinds(run, len(names)), names=wording.listed(names),
)  # fmt: skip
if trial.unknown:
    never = [classes[c] for c in trial.unknown]
    purpose += " " + t(
        "The **×** marks are {kind} it never saw: {names}.",
        kind=wording.kinds(run, len(never)), names=wording.listed(never),
    )  # fmt: skip
st.markdown(f"{purpose} {t('Move θ and watch.')}")
with wording.explained():
    course = courses.course(run)
    wording.doubts(course.warnings if course else ())


@st.fragment
def wheel_and_examples():
    with wording.explained():
        picture, side = st.columns([3, 2], gap="large")
        with side:
            place, foot = st.container(), st.container()
            with foot.expander(t("Score"), icon=":material/straighten:"):
                controls.choose_options(run, controls.choose_scorer(run))
            now = setting.set_up(run)
            with foot.popover(t("Help"), icon=":material/help:"):
                how_to_read(now.said.outputs.anchors is not None)
            with place:
                controls.choose_theta(now)
                controls.beside(now)
                controls.numbers_at(now, wide=False)
                controls.worth(now)
        with picture:
            wheel(now)
        examples(now)
        links.write_link()


def how_to_read(anchors: bool):
    rim = t("The **stars** on the circle are the anchors that training pulled each class towards.")
    if not anchors:
        rim = t("This method has no anchors, so the logits are scaled until the **class means** reach the circle.")
    places = t(
        "Each mark is an image, placed by the network's {count} logits: a logit pulls towards its class.",
        count=len(names),
    )
    looks = t(
        "An image that resembles no class ends up in the middle.\n\n"
        "- **filled** marks are accepted as their nearest class, **hollow** ones are rejected as unknown\n"
        "- **×** are images of classes that the network never saw; a **ring** around one says that it was accepted "
        "all the same, which is a mistake\n"
        "- large **circles** are the means of the classes"
    )
    loss = t("So many numbers do not fit on a plane without loss: θ goes by the score, not by this picture.")
    st.markdown(f"{places} {rim} {looks}\n\n{loss}")


def wheel(now: Setting):
    said, theta = now.said, now.theta
    outputs = [said.known, said.outputs]
    score = np.concatenate([said.validation.score, said.test.score])
    nearest = np.concatenate([said.validation.label, said.test.label])
    labels = np.concatenate([o.labels for o in outputs])
    truth = np.concatenate([o.classes for o in outputs])
    anchors = said.outputs.anchors
    frame = charts.wheel_frame(said.means, anchors)
    said_so = {
        True: t("{name}: nearest {nearest}, score {score}"),
        False: t("{name}, never seen: nearest {nearest}, score {score}"),
    }
    cloud = charts.Cloud(
        charts.on_wheel(np.concatenate([o.logits for o in outputs]), *frame),
        labels,
        score > theta,
        [
            said_so[l >= 0].format(name=classes[c], nearest=names[n], score=charts.number(s))
            for c, l, n, s in zip(truth, labels, nearest, score, strict=True)
        ],
    )
    known = labels >= 0
    st.echarts_chart(
        charts.wheel(cloud, names, charts.on_wheel(said.means, *frame), anchors is not None, controls.palette()),
        key="wheel",
        height=600,
        alt=t(
            "The anchor wheel: {known} images of known classes, of which {kept} are accepted at theta {theta}, and "
            "{unknown} images of classes never seen, of which {caught} are rejected.",
            known=int(known.sum()),
            kept=int((known & ~cloud.rejected).sum()),
            theta=charts.number(theta),
            unknown=int((~known).sum()),
            caught=int((~known & cloud.rejected).sum()),
        ),
    )
    drawn = len(cloud.drawn())
    part = t(
        "{drawn} of {count} validation and test images are drawn; counts go over all.", drawn=drawn, count=len(labels)
    )
    st.caption(part if drawn < len(labels) else t("All {count} validation and test images.", count=len(labels)))
    table = st.expander(t("The numbers as a table"), on_change="rerun", key="wheel_table")
    if table.open:
        groups = [(name, labels == c) for c, name in enumerate(names)]
        groups += [(t("never seen: {name}", name=classes[c]), ~known & (truth == c)) for c in trial.unknown]
        table.dataframe(
            {
                t("class"): [name for name, _ in groups],
                t("images"): [int(which.sum()) for _, which in groups],
                t("accepted"): [int((which & ~cloud.rejected).sum()) for _, which in groups],
                t("rejected"): [int((which & cloud.rejected).sum()) for _, which in groups],
                t("median score"): [float(np.median(score[which])) if which.any() else None for _, which in groups],
            },
            hide_index=True,
        )


def examples(now: Setting):
    images, said, theta = thumbnails.pixels(run), now.said, now.theta
    st.subheader(t("Some images of the test set"))
    if isinstance(images, str):
        st.info(t("The images cannot be shown here: {why}", why=wording.told(images)), icon=":material/hide_image:")
        return
    rule = said.theta_at(judge.KEPT)
    chosen = telling(said, rule)
    row = st.container(horizontal=True)
    for i in chosen:
        rejected = said.test.score[i] > theta
        known = said.labels[i] >= 0
        nearest, truth = names[said.test.label[i]], classes[said.outputs.classes[i]]
        good = rejected != known if rejected or not known else bool(said.right[i])
        with row.container(border=True, width=150, height="stretch"):
            st.image(
                thumbnails.inline(thumbnails.enlarged(images[said.outputs.index[i]])),
                width=104,
                alt=t("A test image, in truth {truth}", truth=truth),
            )
            st.markdown(f"**{t('Unknown') if rejected else wording.plain(nearest)}**")
            sign = ">" if rejected else "≤"
            st.caption(f"{t('score')} {charts.number(said.test.score[i])} {sign} θ {charts.number(theta)}")
            phrase = t("truth: {name}") if known else t("truth: {name}, never seen")
            st.caption(phrase.format(name=wording.plain(truth)))
            if good:
                st.badge(t("right"), icon=":material/check:", color="green")
            else:
                st.badge(t("mistake"), icon=":material/close:", color="orange")


def telling(said: verdicts.Judged, theta: float) -> list[int]:
    """Three known and three unknown test images: a typical one, a borderline one, and a mistake where there is one.

    The same ones whatever theta is moved to, and of different classes where there are enough.
    """
    chosen, rejected, known = [], said.test.score > theta, said.labels >= 0
    for side, mistake in ((known, rejected | ~said.right), (~known, ~rejected)):
        order = np.flatnonzero(side)[np.argsort(said.test.score[side], kind="stable")]
        good, wrong = order[~mistake[order]], order[mistake[order]]
        edge = good[::-1] if side is known else good
        middle = good[np.argsort(np.abs(np.arange(len(good)) - len(good) // 2), kind="stable")]
        used = set()
        for wanted in (middle, edge, wrong[::-1], order):
            fresh = [i for i in wanted if said.outputs.classes[i] not in used] or list(wanted)
            fresh = [i for i in fresh if i not in chosen]
            if fresh and len(used) < 3:
                chosen.append(int(fresh[0]))
                used.add(int(said.outputs.classes[fresh[0]]))
    return chosen


wheel_and_examples()
with st.container(horizontal=True, gap="medium"):
    with st.container(border=True, width=300):
        address.link("lessons", t("**Learn how it works**"), "school")
        st.caption(t("Eight short lessons, and a network that learns before your eyes."))
    with st.container(border=True, width=300):
        address.link("thresholds", t("**Choose a threshold**"), "tune")
        st.caption(t("Where to put θ, what it keeps, what it rejects, and how the scores compare."))
    with st.container(border=True, width=300):
        address.link("try", t("**Try an image of your own**"), "image_search")
        st.caption(t("Drop a picture and see what the network takes it for, and why."))
    with st.container(border=True, width=300):
        picker.own_photos()
