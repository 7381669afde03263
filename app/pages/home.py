"""Home: what a network knows and what it has never seen, on one wheel, and what theta does about it."""

import numpy as np
import streamlit as st

from app import (
    address,
    charts,
    controls,
    courses,
    draw,
    feeds,
    gallery,
    jobs,
    links,
    live,
    picker,
    setting,
    thumbnails,
    uploads,
    verdicts,
    wording,
)
from app.setting import Setting
from app.words import t
from cac_core.recipe import IMPORTED
from cac_core.results import judge
from cac_core.scoring import metrics

run = picker.chosen_run()
names, classes, trial = run.known_names, run.class_names, run.trial
purpose = t(
    "This network learned **{count} {kind}**: {names}.",
    count=len(names), kind=wording.kinds(run, len(names)), names=wording.listed(names),
)  # fmt: skip
if trial.unknown:
    never = [classes[c] for c in trial.unknown]
    said = {"kind": wording.kinds(run, len(never)), "names": wording.listed(never)}
    purpose += " " + (
        t("The **×** marks are of one {kind} it never saw: {names}.", **said)
        if len(never) == 1
        else t("The **×** marks are {kind} it never saw: {names}.", **said)
    )
st.markdown(f"{purpose} {t('Move θ and watch.')}")
with wording.explained():
    course = courses.course(run)
    wording.doubts(course.warnings if course else ())


@st.fragment
def wheel_and_examples():
    gallery.follow(run)
    with wording.explained():
        place = st.container(key="coming_wheel")
        with st.expander(t("Score and threshold"), icon=":material/straighten:"):
            controls.choose_options(run, controls.choose_scorer(run))
            now = setting.set_up(run)
            left, right = st.columns(2)
            controls.theta_inputs(now, left, right)
        with place:
            wheel(now)
            controls.about_theta(now)
            controls.beside(now)
            in_a_sentence(now)
            controls.worth(now)
            pad(now)
        numbers(now)
        examples(now)
        links.write_link()


def in_a_sentence(now: Setting):
    """What three words mean, without a click."""
    known, score, theta = st.columns(3)
    known.markdown(
        t("**Known** is an image of one of the {count} classes that the network learned. **Never seen** is one of any "
          "other class: the network has no name for it.", count=len(names))
    )  # fmt: skip
    score.markdown(
        t("**Score**: how unlike every known class an image looks to the network. The higher, the more unknown; here "
          "it is {score}.", score=controls.name_of(now))
    )  # fmt: skip
    theta.markdown(
        t("**θ** is the limit: an image with a higher score is rejected as unknown, any other is accepted as its "
          "nearest class.")
    )  # fmt: skip


@st.fragment
def pad(now: Setting):
    """Where a data set is of ink: paper, and beside it the verdict, which follows the pen."""
    if not run.row.drawn or jobs.read_only() or run.recipe.backbone == IMPORTED:
        return
    st.subheader(t("Draw something: what does it take it for?"), anchor=False)
    paper, said = st.columns([2, 5])
    with paper:
        drawing = draw.canvas("drawing")
    with said, wording.explained():
        if drawing is None:
            st.markdown(
                t("Draw one of {names}, or something else: the verdict follows the pen.", names=wording.listed(names))
            )
            return
        looked = uploads.looked_at(run, drawing, now.moved, drawn=True)
        (verdict,) = uploads.said_of(now, looked.logits, looked.features)
        with st.container(horizontal=True, gap="medium"):
            st.image(
                thumbnails.as_seen(looked.pixels), t("as the network saw it"), width=92, alt=t("What the network saw")
            )
            with st.container(gap="small"):
                uploads.say(verdict)


def how_to_read(anchors: bool):
    rim = t("The **stars** on the circle are the anchors that training pulled each class towards.")
    if not anchors:
        rim = t("This method has no anchors, so the logits are scaled until the **class means** reach the circle.")
    places = t(
        "Each mark is an image, placed by the network's {count} logits: a logit pulls towards its class.",
        count=len(names),
    )
    middle = t("An image that resembles no class ends up in the middle.")
    if not anchors:
        middle = t("The middle is that of the class means.")
    looks = t(
        "- **filled** marks are accepted as their nearest class, **hollow** ones are rejected as unknown\n"
        "- **×** are images of classes that the network never saw; a **ring** around one says that it was accepted "
        "all the same, which is a mistake\n"
        "- large **circles** are the means of the classes"
    )
    loss = t("So many numbers do not fit on a plane without loss: θ goes by the score, not by this picture.")
    st.markdown(f"{places} {rim} {middle}\n\n{looks}\n\n{loss}")


def wheel(now: Setting):
    """The live wheel of the test images: θ in it moves them while a finger moves it."""
    live.feed(blob := feeds.plain_feed(now), key="plain_feed")
    extra = None
    if not feeds.in_browser(now):
        live.feed(extra := feeds.score_feed(feeds.scored(now)), key="score_feed")
    state = controls.live_state(blob, now, extra) | {"eps": 0, "order": feeds.order_of(run)}
    live.front(state, key="front", height=520, on_change=settled, on_asked=asked)


def settled():
    controls.take(live.settled("front"))


def asked():
    gallery.want(live.asked("front"), run)


def numbers(now: Setting):
    """What the wheel shows, in numbers, for whom a picture is none."""
    with st.expander(t("The numbers as a table")):
        controls.numbers_at(now, wide=True)
        said, theta = now.said, now.theta
        labels, score = said.labels, said.test.score
        rejected, known = metrics.rejected(score, theta), labels >= 0
        groups = [(name, labels == c) for c, name in enumerate(names)]
        groups += [
            (t("never seen: {name}", name=classes[c]), ~known & (said.outputs.classes == c)) for c in trial.unknown
        ]
        st.dataframe(
            {
                t("class"): [name for name, _ in groups],
                t("images"): [int(which.sum()) for _, which in groups],
                t("accepted"): [int((which & ~rejected).sum()) for _, which in groups],
                t("rejected"): [int((which & rejected).sum()) for _, which in groups],
                t("median score"): [float(np.median(score[which])) if which.any() else None for _, which in groups],
            },
            hide_index=True,
        )
        how_to_read(said.outputs.anchors is not None)


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
        rejected = metrics.rejected(said.test.score[i], theta)
        known = said.labels[i] >= 0
        nearest, truth = names[said.test.label[i]], classes[said.outputs.classes[i]]
        good = rejected != known if rejected or not known else bool(said.right[i])
        with row.container(border=True, width=150, height="stretch"):
            st.image(
                thumbnails.inline(thumbnails.enlarged(images[said.outputs.index[i]])),
                width=104,
                alt=t("A test image, in truth {truth}", truth=truth),
            )
            # the wheel's signs: hollow is the decision to reject, a cross the truth of what was never seen
            st.markdown(f"**{'○ ' + t('Unknown') if rejected else '● ' + wording.plain(nearest)}**")
            sign = ">" if rejected else "≤"
            score, limit = charts.apart(said.test.score[i], theta)
            st.caption(f"{t('score')} {score} {sign} θ {limit}")
            phrase = t("truth: {name}") if known else t("truth: {name}, never seen")
            st.caption(("" if known else "× ") + phrase.format(name=wording.plain(truth)))
            if good:
                st.badge(t("right"), icon=":material/check:", color="green")
            else:
                st.badge(t("mistake"), icon=":material/close:", color="orange")
            st.button(
                t("Why?"), key=f"why_{i}", type="tertiary", icon=":material/arrow_forward:", on_click=gallery.want,
                args=({"row": len(run.outputs("validation")) + i}, run),
                help=t("Opens the image: its score by class, and the training images that lie nearest."),
            )  # fmt: skip


def telling(said: verdicts.Judged, theta: float) -> list[int]:
    """Three known and three unknown test images: a typical one, a borderline one, and a mistake where there is one.

    The same ones whatever theta is moved to, and of different classes where there are enough.
    """
    chosen, rejected, known = [], metrics.rejected(said.test.score, theta), said.labels >= 0
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
learn, choose, try_one, train = (
    place.container(border=True, height="stretch") for place in st.columns(4, vertical_alignment="top")
)
with learn:
    address.link("lessons", t("**Learn how it works**"), "school")
    st.caption(t("Eight short lessons, and a network that learns before your eyes."))
with choose:
    address.link("thresholds", t("**Choose a threshold**"), "tune")
    st.caption(t("Where to put θ, what it keeps, what it rejects, and how the scores compare."))
with try_one:
    address.link("try", t("**Try an image of your own**"), "image_search")
    st.caption(t("Drop a picture and see what the network takes it for, and why."))
with train:
    picker.own_photos()
