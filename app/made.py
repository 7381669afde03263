"""Images that a method made up: the ways from real images to some of them, and what both classifiers say on the way.

S pictures of each of P ways, K known classes."""

from pathlib import Path

import numpy as np
import streamlit as st

from app import address, charts, courses, links, thumbnails, wording
from app.words import said, t
from cac_core import runs
from cac_core.files import is_file
from cac_core.recipe import CONTROLS, method_options
from cac_core.runs import Run

SIDE, SOME = 104, 24  # pixels of a picture; made images that are shown
ANCHOR = "made"
WAYS = 1000  # more than any run keeps


def there(run: Run) -> bool:
    """Whether a run that can be shown made up images."""
    return _made(run) is not None and bool(run.written)


def latest() -> Run | None:
    """The run of the store that made up images last, where there is one."""
    files = filter(is_file, runs.store_of().glob("*/made.npz"))
    newest = sorted(files, key=lambda file: file.stat().st_mtime_ns, reverse=True)
    every = (Run(file.parent) for file in newest)
    return next((run for run in every if not run.problem() and there(run)), None)


def link(run: Run) -> None:
    """The way to what a run made up."""
    method = wording.method(run.recipe.method)
    address.link("space", t("See the images that {method} made up", method=method), "auto_awesome", {"run": run.id})


def jump(run: Run) -> None:
    """On the gallery's own page, the way down to it."""
    if there(run):
        st.markdown(f":material/auto_awesome: [{t('What was made for the class of unknowns')}](#{ANCHOR})")


def gallery(run: Run) -> None:
    """Nothing for a run that made none."""
    found = _made(run)
    if found is None:
        return
    st.subheader(t("What was made for the class of unknowns"), anchor=ANCHOR)
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
        st.markdown(said(CONTROLS["osrci", "images", "noise"]))
    made = found["made"]
    if len(made):
        places = np.linspace(0, len(made) - 1, min(SOME, len(made))).astype(int)
        some, begun = made[places], found["begun"][places].tolist()
        st.caption(t("{some} of the {n} images that were learnt as unknown", some=len(some), n=len(made)))
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
    if st.session_state.get("made_way", 0) >= len(names):
        links.refuse("made_way")
        del st.session_state.made_way
    place = st.pills(
        t("Begin at"), range(len(names)), default=0, required=True, key="made_way", format_func=names.__getitem__
    )
    last = int(found["before"][-1, place].argmax())
    end = run.known_names[last] if last < len(run.known_names) else ""
    row = st.container(horizontal=True)
    for moment, step in enumerate(steps.tolist()):
        shares = [found[when][moment, place] for when in ("before", "after")]
        named = [_named(run, one) for one in shares]
        words = [f"{name}, {share}" for name, share in named]
        shown = [f"{wording.plain(name)}, {share}" for name, share in named]
        title = _title(run, step, end)
        with row.container(border=True, width=150, height="stretch"):
            st.image(
                thumbnails.inline(thumbnails.enlarged(found["way"][moment, place])),
                width=SIDE,
                alt=t("{title}. Before: {before}. Now: {after}.", title=title, before=words[0], after=words[1]),
            )
            st.markdown(f"**{_title(run, step, wording.plain(end))}**")
            st.caption(t("before: {word}", word=shown[0]))
            st.caption(t("now: {word}", word=shown[1]))
            if step >= 0 and _unsure(run, found["before"][moment, place]):
                st.caption(f":material/check: {t('unsure enough to be learnt')}")
    st.caption(
        t(
            "Before: the classifier that had learnt the known classes alone; an image is unknown to it where the "
            "logit of every class is below 0. Now: the same one after it has learnt what was made. The share is that "
            "of the class it names, with one class of unknowns beside the known ones."
        )
    )


def _title(run: Run, step: int, end: str) -> str:
    """end is the known class that the last picture of the way, all of it another image, is taken for, if any."""
    if step <= 0:
        return t("real image") if step else t("rebuilt")
    if run.recipe.method == "g_openmax":
        share = charts.percent(step / 100, 0)
        if end:
            return t("{share} of another, of {name}", share=share, name=end)
        return t("{share} of another", share=share)
    return t("step {n}", n=step)


def _unsure(run: Run, shares: np.ndarray) -> bool:
    """Whether a mixture is one of those that are learnt as unknown, by the classifier before."""
    if run.recipe.method != "g_openmax":
        return False
    options, known = method_options("g_openmax") | run.recipe.hyper, shares[:-1]
    whole = max(float(known.sum()), 1e-9) if options["blend"] == "released" else 1.0
    return bool(known.max() / whole < options["unsure"])


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
