"""Images that a method made up: the ways from real images to some of them, and what both classifiers say on the way.

S pictures of each of P ways, K known classes."""

from pathlib import Path

import numpy as np
import streamlit as st

from app import charts, courses, thumbnails, wording
from app.words import t
from cac_core.runs import Run

SIDE, SOME = 104, 24  # pixels of a picture; made images that are shown


def gallery(run: Run) -> None:
    """Nothing for a run that made none."""
    found = _made(run)
    if found is None:
        return
    st.subheader(t("What was made for the class of unknowns"), anchor=False)
    if len(found["classes"]):
        st.markdown(
            t(
                "Two real images of different classes are mixed. What the classifier is unsure of is learnt as a "
                "class of its own."
            )
            if run.recipe.method == "g_openmax"
            else t(
                "From a real image the search goes a set number of steps towards what the classifier takes for none of "
                "its classes, held near where it began. Where it ends is learnt as a class of its own, whether it got "
                "there or not."
            )
        )
        _way(run, found)
        course = courses.course(run)
        wording.doubts(course.warnings if course else ())
    else:
        st.markdown(t("This run is a control: noise was learnt as a class of its own."))
    made = found["made"]
    if len(made):
        places = np.linspace(0, len(made) - 1, min(SOME, len(made))).astype(int)
        some, begun = made[places], found["begun"][places].tolist()
        said = t("{some} of the {n} images that were learnt as unknown", some=len(some), n=len(made))
        st.caption(said)
        with st.container(horizontal=True, gap="xxsmall"):
            for image, cls in zip(some, begun, strict=True):
                alt = t("made from {name}", name=run.known_names[cls]) if cls >= 0 else t("noise")
                st.image(thumbnails.inline(thumbnails.enlarged(image, 48)), width=48, alt=alt)


def _way(run: Run, found: dict[str, np.ndarray]) -> None:
    """The pictures of one way, chosen by the class that it begins at."""
    classes, steps = found["classes"], found["steps"]
    names = [
        run.known_names[c] + (f" ({n + 1})" if (n := int((classes[:place] == c).sum())) else "")
        for place, c in enumerate(classes)
    ]
    chosen = st.pills(t("Begin at"), names, default=names[0], required=True, key="made_way")
    place = names.index(chosen) if chosen in names else 0
    row = st.container(horizontal=True)
    for moment, step in enumerate(steps.tolist()):
        shares = [found[when][moment, place] for when in ("before", "after")]
        named = [_named(run, one) for one in shares]
        words = [f"{name}, {share}" for name, share in named]
        shown = [f"{wording.plain(name)}, {share}" for name, share in named]
        title = _title(run, step)
        with row.container(border=True, width=150, height="stretch"):
            st.image(
                thumbnails.inline(thumbnails.enlarged(found["way"][moment, place])),
                width=SIDE,
                alt=t("{title}. Before: {before}. Now: {after}.", title=title, before=words[0], after=words[1]),
            )
            st.markdown(f"**{title}**")
            st.caption(t("before: {word}", word=shown[0]))
            st.caption(t("now: {word}", word=shown[1]))
    st.caption(
        t(
            "Before: the classifier that had learnt the known classes alone; an image is unknown to it where the "
            "logit of every class is below 0. Now: the same one after it has learnt what was made. The share is that "
            "of the class it names, with one class of unknowns beside the known ones."
        )
    )


def _title(run: Run, step: int) -> str:
    if step <= 0:
        return t("real image") if step else t("rebuilt")
    if run.recipe.method == "g_openmax":
        return t("{share} of another", share=charts.percent(step / 100, 0))
    return t("step {n}", n=step)


def _named(run: Run, shares: np.ndarray) -> tuple[str, str]:
    """The class with the largest share, and that share."""
    best = int(shares.argmax())
    name = run.known_names[best] if best < len(run.known_names) else t("unknown")
    return name, charts.percent(float(shares[best]))


def _made(run: Run) -> dict[str, np.ndarray] | None:
    try:
        stamp = (run.path / "made.npz").stat().st_mtime_ns
    except OSError:
        return None
    return _read(str(run.path), stamp)


@st.cache_data(max_entries=4, show_spinner=False)
def _read(path: str, stamp: int) -> dict[str, np.ndarray] | None:
    return Run(Path(path)).made()
