"""What the pages share: the chosen run, the only reading of runs and images, theta, and how things are said.

Cached functions are keyed by where a run lies and when its outputs were written, never by arrays. The state that a link
carries lives in bound widgets: run, scorer and its options, kept, theta. Torch is imported in `network` alone.
"""

import contextlib
import hashlib
import logging
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import charts
from cac_core import data, images, judge, metrics, runs
from cac_core.runs import Broken, Run
from cac_core.scorers import (
    CENTRES,
    METRICS,
    SCORERS,
    Outputs,
    Verdict,
    class_means,
    default_for,
    judge_of,
    scorer_options,
)

SAID = {
    "gamma": "γ, the rejection score of CAC",
    "distance": "distance to the nearest class mean",
    "msp": "1 − largest softmax probability",
    "max_logit": "− largest logit",
    "energy": "energy of the logits",
    "knn": "distance to the k-th nearest training image, by features",
    "mahalanobis": "Mahalanobis distance to the nearest class mean, by features",
    "openmax": "probability of unknown by OpenMax",
}
SHORT = {
    "gamma": "γ", "distance": "distance", "msp": "1 − softmax", "max_logit": "− max logit", "energy": "energy",
    "knn": "k nearest", "mahalanobis": "Mahalanobis", "openmax": "OpenMax",
}  # fmt: skip
TRAIN = "python -m cac_core train --dataset digits"
LOOK = {  # colour and icon of the chip for each state of a run
    "finished": ("green", ":material/check:"),
    "running": ("blue", ":material/play_arrow:"),
    "starting": ("blue", ":material/play_arrow:"),
    "stopped": ("gray", ":material/pause:"),
    "failed": ("red", ":material/error:"),
    "lost": ("orange", ":material/help:"),
    "broken": ("red", ":material/error:"),
}
COUNTS = {
    "k": "The neighbour that counts, k",
    "tail": "Images in each class's tail",
    "alpha": "Top classes that are revised",
}
evaluating = threading.Lock()


# --- words -----------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text from a file, as Markdown that shows exactly this text."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """What a user can cause becomes a sentence and, where there is one, the command that mends it."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        logging.getLogger(__name__).warning("A page could not be shown.", exc_info=error)
        explain(error)


def explain(error: Exception) -> None:
    cause, _, command = str(error).partition("\n    ")
    st.error(plain(cause), icon=":material/error:")
    if command:
        st.code(command.split("\n")[0], language="bash")


def kinds(run: Run, count: int) -> str:
    """What the classes of a run are called."""
    word = "digit" if run.recipe.dataset in ("digits", "MNIST") else "class"
    return word if count == 1 else {"digit": "digits", "class": "classes"}[word]


def listed(names: list[str], most: int = 12) -> str:
    names = [plain(n) for n in names]
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# --- runs ------------------------------------------------------------------------------------------------------------


def pick_run() -> Run | None:
    """The run picker, with the state of the chosen run; None where the store is empty."""
    every = {run.id: run for run in runs.every(runs.store_of())}
    if not every:
        return None
    broken = {name: problem for name, run in every.items() if (problem := _problem(run))}
    ids = sorted(every, key=lambda name: (name in broken, not every[name].written, name))
    asked = st.query_params.get("run")
    name = st.selectbox(
        "Run", ids, key="run", bind="query-params", on_change=_another_run, help="A trained network and its results."
    )
    if asked not in (None, *ids):
        st.session_state.asked = asked
    run = every[name]
    with st.container(horizontal=True, gap="small"):
        state = "broken" if name in broken else run.state
        colour, icon = LOOK.get(state, ("gray", ":material/help:"))
        st.badge(plain(state), color=colour, icon=icon)
    if name not in broken:
        recipe = run.recipe
        st.caption(
            f"{plain(recipe.method)} on {plain(recipe.dataset)}, {plain(recipe.family)} trial {plain(recipe.trial)}, "
            f"{plain(recipe.backbone)} network, {recipe.epochs} epochs, seed {recipe.seed}"
        )
    if others := [n for n in broken if n != name]:
        st.caption(f":material/error: Broken: {listed(others, 5)}")
    return run


def _another_run() -> None:
    """What was set for one run means nothing for another."""
    st.session_state.pop("asked", None)
    with contextlib.suppress(ValueError):
        st.session_state.scorer = default_for(chosen_run().recipe.method)
    _another_scorer()


def _another_scorer() -> None:
    """A threshold belongs to one score of one run."""
    _reset_theta()
    for name in SCORERS:
        for key, value in scorer_options(name).items():
            if key in st.session_state:
                st.session_state[key] = value


def _problem(run: Run) -> str:
    try:
        stamp = (run.path / "recipe.json").stat().st_mtime_ns
    except OSError:
        stamp = 0
    return _problem_of(str(run.path), stamp)


@st.cache_data(max_entries=1000, show_spinner=False)
def _problem_of(path: str, stamp: int) -> str:
    return Run(Path(path)).problem()


def chosen_run() -> Run:
    return Run(runs.store_of() / st.session_state.run)


def empty_store() -> None:
    st.info(
        "There is no trained network yet. This trains one in half a minute, without internet:", icon=":material/school:"
    )
    st.code(TRAIN, language="bash")
    st.markdown("Then reload this page. Runs are looked for in:")
    st.code(str(runs.store_of().absolute()), language=None)
    st.button("Look again", icon=":material/refresh:")


def ready(run: Run) -> bool:
    """Whether the run can be shown; where not, says why and what to do."""
    if asked := st.session_state.get("asked"):
        st.warning(f"There is no run called “{plain(asked[:80])}”; this is {run.id}.", icon=":material/info:")
    if problem := _problem(run):
        raise Broken(problem)
    if run.written:
        return True
    status = run.status
    if status["state"] in runs.ALIVE:
        st.fragment(_progress, run_every="2s")(run)
        return False
    if status["state"] in ("failed", "lost", "stopped"):
        st.warning(
            f"This run is {status['state']} and has nothing to show yet. {plain(str(status.get('reason') or ''))}",
            icon=":material/info:",
        )
        st.markdown("To go on with it:")
        st.code(f"python -m cac_core train --resume {run.path}", language="bash")
        return False
    run.outputs("train")  # says which outputs are missing, and the command that writes them
    run.outputs("validation")
    run.outputs("test")
    return False


def _progress(run: Run) -> None:
    if run.state not in runs.ALIVE:
        st.rerun()
    epochs, total = run.epochs(), run.recipe.epochs + run.recipe.fine_epochs
    done = epochs[-1]["epoch"] if epochs else 0
    st.info("This run is still training. Its results appear here when it has ended.", icon=":material/hourglass_top:")
    st.progress(min(done / total, 1.0), f"Epoch {done} of {total}")


# --- what a run says -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A scorer's verdicts on the validation and test images of a run."""

    validation: Verdict
    test: Verdict
    known: Outputs  # of the validation images
    outputs: Outputs  # of the test images
    means: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return self.outputs.labels

    @property
    def unknowns(self) -> bool:
        return bool((self.labels < 0).any())

    @property
    def right(self) -> np.ndarray:
        """Test images whose nearest class is theirs."""
        return self.test.label == self.labels

    @property
    def scale(self) -> charts.Scale:
        known = self.labels >= 0
        return charts.Scale.of(np.concatenate([self.validation.score, self.test.score[known]]), self.test.score[~known])


def judged(run: Run, scorer: str, **options: Any) -> Judged:
    return _judged(str(run.path), run.written, scorer, tuple(sorted(options.items())))


@st.cache_data(max_entries=24, show_spinner="Reading the run…")
def _judged(path: str, written: str, scorer: str, options: tuple) -> Judged:
    run = Run(Path(path))
    train = run.outputs("train")
    verdict, validation, test = judge_of(scorer, train, **dict(options)), run.outputs("validation"), run.outputs("test")
    return Judged(verdict(validation), verdict(test), validation, test, class_means(train))


@st.cache_data(max_entries=24, show_spinner=False)
def _report(path: str, written: str) -> dict[str, Any]:
    return Run(Path(path)).report()


def report(run: Run) -> dict[str, Any]:
    return _report(str(run.path), run.written)


@st.cache_resource(max_entries=2, show_spinner="Reading the images…")
def _pixels(dataset: str, root: str, size: int, digest: str) -> np.ndarray | str:
    try:
        images = data.load(dataset, Path(root), size)
    except (ValueError, FileNotFoundError) as error:
        return str(error).split("\n")[0]
    if data.digest(images) != digest:
        return f"The images of {dataset} under {root} are not those that this run was trained on."
    return images["test"].pixels


def pixels(run: Run) -> np.ndarray | str:
    """The data set's own test images [N, H, W, C], or why they cannot be shown."""
    root = data.root_of().absolute()
    found = _pixels(run.recipe.dataset, str(root), run.recipe.size, run.record["data"])
    if isinstance(found, str):
        _pixels.clear(run.recipe.dataset, str(root), run.recipe.size, run.record["data"])  # it may come to be there
    return found


def enlarged(image: np.ndarray, side: int = 128) -> Image.Image:
    """[H, W, C] as a picture whose pixels can be seen."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.resize(
        (side, side), Image.Resampling.NEAREST if image.shape[0] < side else Image.Resampling.BILINEAR
    )


# --- an image from elsewhere -----------------------------------------------------------------------------------------


@st.cache_resource(max_entries=2, show_spinner=False)
def _network(path: str, written: str):
    from cac_core import evaluate

    return evaluate.load(Run(Path(path)), "cpu")


@dataclass(frozen=True)
class Looked:
    """An uploaded image: a small picture of it, what the network saw, what was done to it, and what came out."""

    original: Image.Image
    pixels: np.ndarray
    notes: tuple[str, ...]
    logits: np.ndarray
    features: np.ndarray


def looked_at(run: Run, image: bytes) -> Looked:
    """Raises ValueError that says why where it is no image."""
    return _looked_at(str(run.path), run.written, hashlib.sha256(image).hexdigest(), image)


@st.cache_data(max_entries=256, show_spinner=False)
def _looked_at(path: str, written: str, digest: str, _image: bytes) -> Looked:
    prepared = images.prepare(_image, Run(Path(path)).row)
    with evaluating, st.spinner("Loading the network (first time only)…"):
        logits, features = _network(path, written).outputs(prepared.pixels[None])
    return Looked(prepared.preview, prepared.pixels, prepared.notes, logits, features)


def said_of(
    run: Run, logits: np.ndarray, features: np.ndarray, scorer: str, theta: float, **options: Any
) -> list[dict]:
    return judge.said_of(run, logits, features, scorer, theta, **options)


# --- controls --------------------------------------------------------------------------------------------------------


def palette() -> charts.Palette:
    return charts.DARK if st.context.theme.type == "dark" else charts.LIGHT


def choose_scorer(run: Run) -> str:
    return st.segmented_control(
        "Score", list(SCORERS), default=default_for(run.recipe.method), required=True, format_func=SHORT.get,
        key="scorer", bind="query-params", persist_state="session", on_change=_another_scorer,
        help="How unknown an image looks. γ is what Class Anchor Clustering rejects by.",
    )  # fmt: skip


def choose_options(run: Run, scorer: str, anchors: bool) -> dict[str, Any]:
    """The options of a scorer, one widget each, by its signature."""
    options = scorer_options(scorer)
    if "centres" in options and anchors:
        options["centres"] = st.segmented_control(
            "Distances are taken to", CENTRES, default=options["centres"], required=True,
            format_func={"means": "class means", "anchors": "anchors"}.get,
            key="centres", bind="query-params", persist_state="session", on_change=_reset_theta,
        )  # fmt: skip
    if "temperature" in options:
        options["temperature"] = st.number_input(
            "Temperature", min_value=0.01, max_value=1000.0, value=options["temperature"], step=0.1,
            key="temperature", bind="query-params", persist_state="session", on_change=_reset_theta,
            help="Logits or distances are divided by it before the softmax. 1 is the paper's.",
        )  # fmt: skip
    for name, label in COUNTS.items():
        if name in options:
            options[name] = st.number_input(
                label, min_value=1, max_value=100_000, value=options[name], step=1,
                key=name, bind="query-params", persist_state="session", on_change=_reset_theta,
            )  # fmt: skip
    if "metric" in options:
        options["metric"] = st.segmented_control(
            "Distances are", METRICS, default=options["metric"], required=True,
            format_func={"euclidean": "Euclidean", "eucos": "Euclidean and cosine"}.get,
            key="metric", bind="query-params", persist_state="session", on_change=_reset_theta,
        )  # fmt: skip
    if not set(options) - {"tolerance"}:  # where a variance counts as none: nothing to choose by eye
        st.caption("This score has no options.")
    return options


def _reset_theta() -> None:
    st.session_state.theta = None


def choose_theta(said: Judged, *, wide: bool) -> float:
    """The threshold: by the share of validation knowns that it keeps, unless someone has set it by hand."""
    asked = st.query_params.get("theta")
    given = st.session_state.get("theta")
    if given is not None and not math.isfinite(given):
        st.session_state.theta = None
    if wide:
        slider, left, right = st.columns([3, 1, 1], gap="medium", vertical_alignment="bottom")
    else:
        slider = st.container()
        left, right = st.columns(2)
    kept = left.number_input(
        "Knowns to keep, %", min_value=1.0, max_value=100.0, value=100 * judge.KEPT, step=1.0, format="%g",
        key="kept", bind="query-params", persist_state="session", on_change=_reset_theta,
        help="θ is the lowest that keeps this share of the validation images of known classes. It needs no unknown.",
    )  # fmt: skip
    rule = metrics.theta_at(kept / 100, said.validation.score)
    given = right.number_input(
        "or exactly θ =", value=None, format="%g", step=float(f"{max(abs(rule), 1e-4) / 10:.1g}"),
        placeholder=charts.number(rule), key="theta", bind="query-params", persist_state="session",
        help="Leave empty to go by the share of knowns kept.",
    )  # fmt: skip
    theta = rule if given is None else given
    st.session_state.slide = theta
    # the slider tells its choices apart by what is written, so what reads like θ gives way to θ itself
    choices = {charts.number(x): x for x in (*said.scale.choices(), theta)}
    slider.select_slider(
        "Reject an image when its score is above θ", sorted(choices.values()),
        format_func=charts.number, key="slide", on_change=_slid,
        help="To the left stricter, to the right more lenient. The arrow keys move it, too.",
    )  # fmt: skip
    if given is not None:
        st.button(
            f"θ is set by hand. Go back to keeping {kept:g} %", type="tertiary", icon=":material/undo:",
            key="by_rule", on_click=_reset_theta,
        )  # fmt: skip
    else:
        if asked and not _is_number(asked):
            st.caption(f"“{plain(asked[:40])}” in the link is no number, so θ goes by the rule.")
        st.caption(f"θ = {charts.number(theta)} keeps {kept:g} % of the validation images of known classes.")
    return theta


def _slid() -> None:
    st.session_state.theta = st.session_state.slide


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def numbers_at(theta: float, said: Judged, wide: bool) -> None:
    """What theta does to the test images: three shares with their counts and 95 % intervals."""
    classes = len(said.means)
    shares = metrics.at(theta, said.test, said.labels, classes)
    spread = metrics.intervals(said.test, said.labels, theta)
    table = metrics.confusion(theta, said.test, said.labels, classes)
    n_known, n_unknown = int(table[:-1].sum()), int(table[-1].sum())
    titles = {
        "knowns_kept": ("Knowns kept", int(table[:-1, :-1].sum()), n_known),
        "knowns_kept_and_right": ("Knowns kept and named right", int(np.trace(table[:-1, :-1])), n_known),
        "unknowns_caught": ("Unknowns caught", int(table[-1, -1]), n_unknown),
    }
    places = st.columns(3) if wide else [st.container()] * 3
    for place, (key, (title, hits, of)) in zip(places, titles.items(), strict=True):
        counted = f"{hits} of {of} · 95 % interval {charts.between(spread[key])}" if of else "no such image"
        place.metric(title, charts.percent(shares[key]), counted, delta_color="off", delta_arrow="off", border=True)
