"""What the pages share: the chosen run, the only reading of runs and images, theta, and how things are said.

Cached functions are keyed by where a run lies and when its outputs were written, never by arrays. The state that a link
carries is in LINKS, and the run. Torch is imported in `network` alone.
"""

import base64
import contextlib
import csv
import dataclasses
import gc
import hashlib
import io
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from app import address, charts, live, words
from app.words import phrases, t
from cac_core import runs
from cac_core.data import datasets, images
from cac_core.jobs import launch
from cac_core.results import judge, project, sweep
from cac_core.runs import Broken, Run
from cac_core.scoring import metrics
from cac_core.scoring.distances import CENTRES, class_means, moved_by
from cac_core.scoring.logits import METRICS
from cac_core.scoring.outputs import Outputs, Verdict
from cac_core.scoring.scorers import SCORERS, default_for, judge_of, scorer_options

SAID = phrases(
    {
        "gamma": "γ, the rejection score of CAC",
        "distance": "distance to the nearest class mean",
        "msp": "1 − largest softmax probability",
        "max_logit": "− largest logit",
        "energy": "energy of the logits",
        "knn": "distance to the k-th nearest training image, by features",
        "mahalanobis": "Mahalanobis distance to the nearest class mean, by features",
        "openmax": "probability of unknown by OpenMax",
    }
)
SHORT = phrases({
    "gamma": "γ", "distance": "distance", "msp": "1 − softmax", "max_logit": "− max logit", "energy": "energy",
    "knn": "k nearest", "mahalanobis": "Mahalanobis", "openmax": "OpenMax",
})  # fmt: skip
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
COUNTS = phrases(
    {
        "k": "The neighbour that counts, k",
        "tail": "Images in each class's tail",
        "alpha": "Top classes that are revised",
    }
)
evaluating = threading.Lock()


# --- what a link carries ---------------------------------------------------------------------------------------------


def one_of(*choices: str) -> Callable[[str], str]:
    return lambda text: choices[choices.index(text)]


def _between(low: float, high: float, kind: type = float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not low <= (value := kind(text)) <= high:
            raise ValueError
        return value

    return read


def yes(text: str) -> bool:
    return one_of("false", "true")(text) == "true"


def several(text: str) -> list[str]:
    return next(csv.reader([text]), [])


VIEWS = ("wheel", "solid", "plane", "strip", "pca", "umap")
# by name: how the address is read, and what need not stand in it. Not Streamlit's own binding of widgets: that drops
# from the address what is in a closed popover or expander, or on a page that one has left
Links = dict[str, tuple[Callable[[str], Any], Any]]
LINKS: Links = {  # of all pages about a run; another page has its own
    "scorer": (one_of(*SCORERS), None),
    "theta": (_between(-math.inf, math.inf), None),
    "kept": (_between(1, 100), 100 * judge.KEPT),
    "share": (_between(0, 100), 20.0),
    "centres": (one_of(*CENTRES), "means"),
    "temperature": (_between(0.01, 1000), 1.0),
    **{name: (_between(1, 100_000, int), None) for name in COUNTS},
    "metric": (one_of(*METRICS), "euclidean"),
    "epsilon": (_between(0, 1), 0.0),
    "odin": (_between(1e-6, 1e6), None),
    "each": (yes, False),
    "order": (one_of("similar", "number"), "similar"),
    "published": (yes, False),
    "view": (one_of(*VIEWS), "wheel"),
    "epoch": (_between(0, 1_000_000, int), None),
}


def read_link(links: Links = LINKS) -> None:
    """What the address says, each name once a session; what makes no sense is passed over."""
    known = st.session_state.setdefault("linked", set())
    for name, (read, _) in links.items():
        if name in st.query_params and name not in known:
            try:
                st.session_state[name] = read(st.query_params[name])
            except ValueError:
                if name == "theta":
                    st.session_state.no_theta = st.query_params[name]
    known |= set(links)


def write_link() -> None:
    """Puts what is set for a run into the address; each page about it does so at its end."""
    said = {name: st.session_state.get(name) for name in LINKS}
    if said["scorer"] == default_for(chosen_run().recipe.method):
        said["scorer"] = None
    if not said["epsilon"]:
        said["odin"] = None
    put_in_link(LINKS, said)


def put_in_link(links: Links, said: dict[str, Any] | None = None, **more: str | None) -> None:
    """Puts these values, or else what is set, into the address; of what is at its default nothing stands there."""
    said = {name: st.session_state.get(name) for name in links} if said is None else said
    written = {name: None if value in (None, links[name][1]) else _in_link(value) for name, value in said.items()}
    address.show(written | more)


def _in_link(value: Any) -> str:
    if isinstance(value, list):
        file = io.StringIO()
        csv.writer(file, lineterminator="").writerow(value)
        return file.getvalue()
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


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
        logging.getLogger(__name__).log(logging.WARNING, "A page could not be shown.", exc_info=error)
        explain(error)


def explain(error: Exception) -> None:
    cause, _, command = str(error).partition("\n    ")
    st.error(plain(cause), icon=":material/error:")
    if command:
        st.code(command.split("\n")[0], language="bash")


@st.cache_resource(max_entries=64, show_spinner=False)
def spare_garbage_collection(modules: int) -> None:
    """Leaves all that has been imported out of the full collection that Streamlit does each time a script has ended.

    That takes 30 to 50 ms of processor time for what is no garbage. Done again when further modules have come.
    """
    gc.freeze()


def kinds(run: Run, count: int) -> str:
    """What the classes of a run are called."""
    if run.recipe.dataset in ("digits", "MNIST"):
        return t("digit") if count == 1 else t("digits")
    return t("class") if count == 1 else t("classes")


def listed(names: list[str], most: int = 12) -> str:
    names = [plain(n) for n in names]
    if len(names) > most:
        return t("{names} and {count} more", names=t(", ").join(names[:most]), count=len(names) - most)
    return t(" and ").join([t(", ").join(names[:-1]), names[-1]] if len(names) > 1 else names)


# what reads a page aloud takes the right voice
_spoken = st.components.v2.component(
    "anchorscope_language",
    js="""
    export default function ({ data, parentElement }) {
      parentElement.host?.closest("[data-testid=stElementContainer]")?.style.setProperty("position", "absolute");
      document.documentElement.lang = data;
    }
    """,
)


def choose_language() -> None:
    """The picker; a language other than the browser's stands in the address, so that a copy opens in it.

    Not bound to the address by Streamlit: that leaves out what is the default here, which elsewhere is another, and
    writes what the picker shows.
    """
    there = words.languages()
    st.selectbox(
        t("Language"), there, there.index(words.language()), key="lang",
        format_func=lambda name: words.NAMES.get(name, name),
    )  # fmt: skip
    spoken = words.language()
    _spoken(key="spoken", data=spoken)
    address.show({"lang": None if spoken == words.first_of(st.context.locale) else spoken}, key="language")


# --- runs ------------------------------------------------------------------------------------------------------------


def pick_run() -> Run | None:
    """The run picker, with the state of the chosen run; None where the store is empty."""
    every = {run.id: run for run in runs.every(runs.store_of())}
    if not every:
        return None
    broken = {name: problem for name, run in every.items() if (problem := _problem(run))}
    # runs on the digits first: they need no data set, so their images can always be shown
    ids = sorted(every, key=lambda n: (n in broken, not every[n].written, not n.startswith("digits"), n))
    asked = st.query_params.get("run")
    name = st.selectbox(
        t("Run"),
        ids,
        key="run",
        bind="query-params",
        on_change=_another_run,
        help=t("A trained network and its results."),
    )
    if asked not in (None, *ids):
        st.session_state.asked = asked
    run = every[name]
    with st.container(horizontal=True, gap="small"):
        state = "broken" if name in broken else run.state
        colour, icon = LOOK.get(state, ("gray", ":material/help:"))
        st.badge(t(state), color=colour, icon=icon)
    if name not in broken:
        recipe = run.recipe
        st.caption(
            t(
                "{method} on {dataset}, {family} trial {trial}, {backbone} network, {epochs} epochs, seed {seed}",
                method=plain(recipe.method),
                dataset=plain(recipe.dataset),
                family=plain(recipe.family),
                trial=plain(recipe.trial),
                backbone=plain(recipe.backbone),
                epochs=recipe.epochs,
                seed=recipe.seed,
            )
        )
    if others := [n for n in broken if n != name]:
        st.caption(f":material/error: {t('Broken: {names}', names=listed(others, 5))}")
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
        t("There is no trained network yet. This trains one in half a minute, without internet:"),
        icon=":material/school:",
    )
    st.code(TRAIN, language="bash")
    st.markdown(t("Then reload this page. Runs are looked for in:"))
    st.code(str(runs.store_of().absolute()), language=None)
    st.button(t("Look again"), icon=":material/refresh:")


def ready(run: Run) -> bool:
    """Whether the run can be shown; where not, says why and what to do."""
    if asked := st.session_state.get("asked"):
        said = t("There is no run called “{asked}”; this is {run}.", asked=plain(asked[:80]), run=run.id)
        st.warning(said, icon=":material/info:")
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
            t("This run is {state} and has nothing to show yet.", state=t(status["state"]))
            + f" {plain(str(status.get('reason') or ''))}",
            icon=":material/info:",
        )
        st.markdown(t("To go on with it:"))
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
    still = t("This run is still training. Its results appear here when it has ended.")
    st.info(still, icon=":material/hourglass_top:")
    st.progress(min(done / total, 1.0), t("Epoch {done} of {total}", done=done, total=total))


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


@dataclass(frozen=True)
class Perturbation:
    """ODIN's: the magnitude of the step, and the temperature of the gradient that says where it goes."""

    magnitude: float = 0.0
    temperature: float = 1.0


def judged(
    run: Run, scorer: str, moved: Perturbation | None = None, each: float | None = None, **options: Any
) -> Judged:
    """each: scores less the theta of the nearest class that keeps this share of its validation knowns."""
    moved = moved if moved and moved.magnitude else None
    with st.spinner(t("Reading the run…")):
        return _judged(str(run.path), run.written, scorer, moved, each, tuple(sorted(options.items())))


@st.cache_data(max_entries=24, show_spinner=False)
def _judged(
    path: str, written: str, scorer: str, moved: Perturbation | None, each: float | None, options: tuple
) -> Judged:
    run = Run(Path(path))
    train = run.outputs("train")
    judge_one, validation, test = (
        judge_of(scorer, train, **dict(options)),
        run.outputs("validation"),
        run.outputs("test"),
    )
    if moved:
        validation, test = (
            _moved(run, out, split, moved) for out, split in ((validation, "validation"), (test, "test"))
        )
    verdicts = judge_one(validation), judge_one(test)
    means = class_means(train)
    if each is not None:
        thetas = judge.thetas_at(each, verdicts[0], len(means))
        verdicts = tuple(judge.beyond(thetas, verdict) for verdict in verdicts)
    return Judged(*verdicts, validation, test, means)


def _moved(run: Run, out: Outputs, split: str, moved: Perturbation) -> Outputs:
    """The outputs on the perturbed images, out of the run's sweep."""
    held = sweep.cube(run, moved.temperature)
    place = [] if held is None else np.flatnonzero(held[0] == moved.magnitude)
    if not len(place):
        raise ValueError(
            f"The sweep of this run holds no perturbation of {moved.magnitude:g} at temperature {moved.temperature:g}."
        )
    return replace(out, logits=held[1][split][place[0]].astype(np.float32))


@st.cache_data(max_entries=24, show_spinner=False)
def _report(path: str, written: str) -> dict[str, Any]:
    return Run(Path(path)).report()


def report(run: Run) -> dict[str, Any]:
    return _report(str(run.path), run.written)


@st.cache_resource(max_entries=2, show_spinner=False)
def _pixels(dataset: str, root: str, size: int, digest: str | None) -> dict[str, np.ndarray] | str:
    try:
        images = datasets.load(dataset, Path(root), size)
    except (ValueError, FileNotFoundError) as error:
        return " ".join(str(error).split())  # with the command that gets them
    if digest and datasets.digest(images) != digest:
        return f"The images of {dataset} under {root} are not those that this run was trained on."
    return {part: some.pixels for part, some in images.items()}


def pixels(run: Run, part: str = "test") -> np.ndarray | str:
    """The data set's own test or training images [N, H, W, C], or why they cannot be shown."""
    return _part_of(part, run.recipe.dataset, run.recipe.size, run.record.get("data"))


def pixels_of(dataset: str) -> np.ndarray | str:
    """The test images of another data set, at its own size, or why they cannot be shown."""
    return _part_of("test", dataset, 0, None)


def _part_of(part: str, *said: Any) -> np.ndarray | str:
    dataset, size, digest = said
    root = str(datasets.root_of().absolute())
    with st.spinner(t("Reading the images…")):
        found = _pixels(dataset, root, size, digest)
    if isinstance(found, str):
        _pixels.clear(dataset, root, size, digest)  # it may come to be there
        return found
    return found[part]


def enlarged(image: np.ndarray, side: int = 128) -> Image.Image:
    """[H, W, C] as a picture whose pixels can be seen."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.resize(
        (side, side), Image.Resampling.NEAREST if image.shape[0] < side else Image.Resampling.BILINEAR
    )


def inline(picture: Image.Image) -> str:
    """A small picture as an address that holds it: Streamlit's own is gone where another picture follows soon."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


# --- work for a process of its own ---------------------------------------------------------------------------------


def read_only() -> bool:
    """Whether this is a show in which nothing is computed or written."""
    return os.environ.get("ANCHORSCOPE_READONLY", "0") not in ("", "0")


def start(run: Run, kind: str, arguments: list[str]) -> None:
    """Put a job on this run into the queue, and see to it that somebody works on it."""
    store = run.path.parent.absolute()
    launch.submit(store, kind, [*arguments, "--data", str(datasets.root_of().absolute())], run=run.id)
    launch.ensure_worker(store)


def jobs_of(run: Run, kind: str) -> list[launch.Job]:
    """The jobs of one kind on this run that wait or are under way, and the last one that went wrong."""
    mine = [job for job in launch.jobs(run.path.parent.absolute()) if job.run == run.id and job.kind == kind]
    open_ones = [job for job in mine if job.state == "queued" or job.state in launch.UNDER_WAY]
    return open_ones or [job for job in mine[-1:] if job.state in ("failed", "lost")]


def work_of(run: Run, kind: str) -> None:
    """The jobs of this kind on the run: how far they are, and a way to stop them. Looks again while there are any."""
    waiting = jobs_of(run, kind)
    if waiting:
        going = any(job.state not in ("failed", "lost") for job in waiting)
        st.fragment(_work, run_every="2s" if going else None, key=f"work_{kind}")(run, kind)


def _work(run: Run, kind: str) -> None:
    waiting = jobs_of(run, kind)
    if not any(job.state not in ("failed", "lost") for job in waiting) and not any(
        j.state == "failed" for j in waiting
    ):
        st.rerun()  # what they made is there
    for job in waiting:
        if job.state in ("failed", "lost"):
            st.error(plain(job.reason or t("It ended without a word.")), icon=":material/error:")
            continue
        line, stop = st.columns([5, 1], vertical_alignment="center")
        far = progress_of(run, kind) if job.state == "running" else None
        if far:
            line.progress(min(far[0], 1.0), far[1])
        else:
            line.caption(t("Waits for its turn.") if job.state == "queued" else t("Starting…"))
        if not read_only() and stop.button(t("Stop"), key=f"stop_{job.id}", icon=":material/stop:"):
            with explained():
                launch.stop(job)


def progress_of(run: Run, kind: str) -> tuple[float, str] | None:
    """How far a job of this kind on the run is, 0 to 1, and in words."""
    said = project.under_way(run) if kind == "map" else sweep.under_way(run)
    if not said:
        return None
    left = said.get("seconds_left")
    words = f"{t(said['stage'])}: {said['done']} / {said['of']}"
    return said["done"] / max(said["of"], 1), words + (
        f", {t('about {s:.0f} s left', s=left)}" if left is not None else ""
    )


def no_formula(value: Any) -> Any:
    """A spreadsheet would take a text that begins with one of these for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value


# --- an image from elsewhere -----------------------------------------------------------------------------------------


@st.cache_resource(max_entries=2, show_spinner=False)
def _network(path: str, written: str):
    from cac_core.results import evaluate

    return evaluate.load(Run(Path(path)), "cpu")


@dataclass(frozen=True)
class Looked:
    """An image or a drawing: a small picture of it, what the network saw, what was done to it, and what came out."""

    original: Image.Image
    pixels: np.ndarray
    done: tuple[images.Note, ...]
    logits: np.ndarray
    features: np.ndarray


def looked_at(run: Run, image: bytes, moved: Perturbation, drawn: bool = False) -> Looked:
    """What the network puts out for an image after ODIN's step. Raises ValueError that says why it is no image.

    drawn: it is dark on white and brought to size as the run's data set was, see `images.drawn`.
    """
    return _looked_at(str(run.path), run.written, hashlib.sha256(image).hexdigest(), moved, drawn, image)


@st.cache_data(max_entries=256, show_spinner=False)
def _looked_at(path: str, written: str, digest: str, moved: Perturbation, drawn: bool, _image: bytes) -> Looked:
    run = Run(Path(path))
    prepared = images.drawn(_image, run.row, run.recipe.dataset) if drawn else images.prepare(_image, run.row)
    how = dataclasses.asdict(moved) | {"centres": moved_by(run.outputs("train"))}
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        logits, features = _network(path, written).outputs(prepared.pixels[None], **how)
    return Looked(prepared.preview, prepared.pixels, prepared.done, logits, features)


def moved_image(run: Run, pixels: np.ndarray, magnitude: float, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """An image [H, W, C] uint8 after ODIN's step, on the scale 0 to 1, and the logits [1, K] that it gives then."""
    return _moved_image(str(run.path), run.written, pixels.tobytes(), pixels.shape, magnitude, temperature)


@st.cache_data(max_entries=64, show_spinner=False)
def _moved_image(
    path: str, written: str, content: bytes, shape: tuple, magnitude: float, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        from cac_core.results import evaluate

        network, pixels = _network(path, written), np.frombuffer(content, np.uint8).reshape(1, *shape).copy()
        how = {
            "magnitude": magnitude,
            "temperature": temperature,
            "centres": moved_by(Run(Path(path)).outputs("train")),
        }
        return evaluate.moved_images(network, pixels, **how)[0], network.outputs(pixels, **how)[0]


def pushing(run: Run, pixels: np.ndarray) -> np.ndarray:
    """By how much gamma grows with each pixel of an image [H, W, C], summed over the channels: [H, W]."""
    return _pushing(str(run.path), run.written, pixels.tobytes(), pixels.shape)


@st.cache_data(max_entries=64, show_spinner=False)
def _pushing(path: str, written: str, content: bytes, shape: tuple) -> np.ndarray:
    with evaluating, st.spinner(t("Loading the network (first time only)…")):
        from cac_core.results import evaluate

        pixels = np.frombuffer(content, np.uint8).reshape(1, *shape).copy()
        means = class_means(Run(Path(path)).outputs("train"))
        return evaluate.gamma_gradient(_network(path, written), pixels, means)[0].sum(-1)


def said_of(
    run: Run, logits: np.ndarray, features: np.ndarray, scorer: str, theta: float, thetas=None, **options: Any
) -> list[dict]:
    return judge.said_of(run, logits, features, scorer, theta, thetas, **options)


def say(verdict: dict[str, Any]) -> None:
    """The verdict on an image, one of `said_of`, in words."""
    score, theta, label = verdict["score"], verdict["theta"], plain(verdict["label"])
    unknown = score > theta
    st.subheader(t("Unknown") if unknown else t("Known: {name}", name=label), anchor=False)
    said = {"score": score, "theta": theta, "margin": abs(score - theta)}
    numbers = {name: charts.number(value) for name, value in said.items()}
    if unknown:
        said_so = t("Score **{score}** is above θ **{theta}**; the margin is {margin}.", **numbers)
        said_so += " " + t("The nearest class is {name}.", name=label)
    else:
        said_so = t("Score **{score}** is not above θ **{theta}**; the margin is {margin}.", **numbers)
    st.markdown(said_so)
    best = max(verdict["softmax"], key=verdict["softmax"].get)
    share = charts.percent(verdict["softmax"][best])
    st.markdown(t("Softmax alone says **{name}** with {share}.", name=plain(best), share=share))


# --- controls --------------------------------------------------------------------------------------------------------


def palette() -> charts.Palette:
    return charts.DARK if st.context.theme.type == "dark" else charts.LIGHT


def choose_scorer(run: Run) -> str:
    return st.segmented_control(
        t("Score"), list(SCORERS), default=default_for(run.recipe.method), required=True,
        format_func=lambda name: t(SHORT[name]),
        key="scorer", persist_state="session", on_change=_another_scorer,
        help=t("How unknown an image looks. γ is what Class Anchor Clustering rejects by."),
    )  # fmt: skip


def choose_options(run: Run, scorer: str, anchors: bool) -> dict[str, Any]:
    """The options of a scorer, one widget each, by its signature."""
    options = scorer_options(scorer)
    if "centres" in options and anchors:
        options["centres"] = st.segmented_control(
            t("Distances are taken to"), CENTRES, default=options["centres"], required=True,
            format_func={"means": t("class means"), "anchors": t("anchors")}.get,
            key="centres", persist_state="session", on_change=_reset_theta,
        )  # fmt: skip
    if "temperature" in options:
        options["temperature"] = st.number_input(
            t("Temperature"), min_value=0.01, max_value=1000.0, value=options["temperature"], step=0.1,
            key="temperature", persist_state="session", on_change=_reset_theta,
            help=t("Logits or distances are divided by it before the softmax. 1 is the paper's."),
        )  # fmt: skip
    for name, label in COUNTS.items():
        if name in options:
            options[name] = st.number_input(
                t(label), min_value=1, max_value=100_000, value=options[name], step=1,
                key=name, persist_state="session", on_change=_reset_theta,
            )  # fmt: skip
    if "metric" in options:
        options["metric"] = st.segmented_control(
            t("Distances are"), METRICS, default=options["metric"], required=True,
            format_func={"euclidean": t("Euclidean"), "eucos": t("Euclidean and cosine")}.get,
            key="metric", persist_state="session", on_change=_reset_theta,
        )  # fmt: skip
    if not set(options) - {"tolerance"}:  # where a variance counts as none: nothing to choose by eye
        st.caption(t("This score has no options."))
    return options


def _reset_theta() -> None:
    st.session_state.theta = None


def choose_perturbation(run: Run, scorer: str) -> Perturbation:
    """ODIN's temperature and magnitude, of those that the run's sweep holds; none where there is no sweep."""
    if not (temperatures := held(run)) or scorer in ("knn", "mahalanobis"):
        return Perturbation()
    for key, choices in (("odin", temperatures), ("epsilon", magnitudes(run))):
        if key in st.session_state and st.session_state[key] not in choices:  # another run's
            del st.session_state[key]
    magnitude = st.selectbox(
        t("Perturb images first (ODIN), by ε ="), magnitudes(run),
        format_func=lambda e: f"{e:g}" if e else t("0, not at all"),
        key="epsilon", persist_state="session", on_change=_reset_theta,
        help=t("Every pixel takes a step of this size, of 1, towards the predicted class."),
    )  # fmt: skip
    temperature = st.selectbox(
        t("at the temperature of the gradient"), temperatures, format_func=lambda x: f"{x:g}",
        key="odin", persist_state="session", on_change=_reset_theta,
    )  # fmt: skip
    return Perturbation(magnitude, temperature)


def choose_each(moved: Perturbation) -> float | None:
    """The share that every class keeps by a theta of its own, or None for one theta for all."""
    each = st.toggle(
        t("A θ of its own for each class"), key="each", persist_state="session",
        on_change=_reset_theta, disabled=moved.magnitude > 0,
        help=t("Each class keeps the same share of its validation images. Scores are then shown less that θ."),
    )  # fmt: skip
    return st.session_state.get("kept", 100 * judge.KEPT) / 100 if each and not moved.magnitude else None


def held(run: Run) -> list[float]:
    """The temperatures whose perturbed logits the run's sweep holds."""
    return list(_swept(str(run.path), _sweep_stamp(run))[0])


def magnitudes(run: Run) -> list[float]:
    """The magnitudes of the run's sweep, 0 first; empty without one."""
    return list(_swept(str(run.path), _sweep_stamp(run))[1])


def _sweep_stamp(run: Run) -> int:
    file = run.path / "sweep.npz"
    return file.stat().st_mtime_ns if file.exists() else 0


@st.cache_data(max_entries=50, show_spinner=False)
def _swept(path: str, stamp: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    temperatures, found = sweep.held(Run(Path(path)))
    return tuple(temperatures), tuple(sorted({0.0, *found})) if temperatures else ()


def live_state(blob: bytes, scorer: str, options: dict[str, Any]) -> dict[str, Any]:
    """What every live view is told by the page: the feed, the score and its options, theta or the rule, the looks."""
    return {
        "feed": live.id_of(blob),
        "scorer": scorer,
        "name": t(SAID[scorer]),
        "centres": options.get("centres", "means"),
        "temperature": options.get("temperature", 1.0),
        "theta": st.session_state.get("theta"),
        "kept": st.session_state.get("kept", 100 * judge.KEPT) / 100,
        "palettes": {"light": dataclasses.asdict(charts.LIGHT), "dark": dataclasses.asdict(charts.DARK)},
        "words": {phrase: t(phrase) for phrase in live.WORDS},
    }


def take(word: dict[str, Any]) -> None:
    """What was moved in a live view becomes the page's own, and the address's."""
    if "theta" in word:
        st.session_state.theta = word["theta"]
    if "temperature" in word:
        st.session_state.temperature = word["temperature"]


def theta_of(said: Judged) -> float:
    """Theta as it is set: by hand, or by the share of validation knowns that it keeps."""
    given = st.session_state.get("theta")
    if given is not None and math.isfinite(given):
        return given
    return metrics.theta_at(st.session_state.get("kept", 100 * judge.KEPT) / 100, said.validation.score)


def theta_inputs(said: Judged, left, right) -> tuple[float, float | None]:
    """The share of knowns to keep, in percent, and theta by hand, each in its place."""
    given = st.session_state.get("theta")
    if given is not None and not math.isfinite(given):
        st.session_state.theta = None
    kept = left.number_input(
        t("Knowns to keep, %"), min_value=1.0, max_value=100.0, value=100 * judge.KEPT, step=1.0, format="%g",
        key="kept", persist_state="session", on_change=_reset_theta,
        help=t("θ is the lowest that keeps this share of the validation images of known classes. It needs no unknown."),
    )  # fmt: skip
    rule = metrics.theta_at(kept / 100, said.validation.score)
    given = right.number_input(
        t("or exactly θ ="), value=None, format="%g", step=float(f"{max(abs(rule), 1e-4) / 10:.1g}"),
        placeholder=charts.number(rule), key="theta", persist_state="session",
        help=t("Leave empty to go by the share of knowns kept."),
    )  # fmt: skip
    return kept, given


def by_rule_again() -> None:
    """The way back from a theta that was set by hand; and what is wrong with the one that a link asked for."""
    asked = st.session_state.get("no_theta")
    if st.session_state.get("theta") is not None:
        kept = st.session_state.get("kept", 100 * judge.KEPT)
        st.button(
            t("θ is set by hand. Go back to keeping {kept:g} %", kept=kept), type="tertiary", icon=":material/undo:",
            key="by_rule", on_click=_reset_theta,
        )  # fmt: skip
    elif asked:
        st.caption(t("“{text}” in the link is no number, so θ goes by the rule.", text=plain(asked[:40])))


def choose_theta(said: Judged) -> float:
    """The threshold: by the share of validation knowns that it keeps, unless someone has set it by hand."""
    slider = st.container()
    left, right = st.columns(2)
    kept, given = theta_inputs(said, left, right)
    rule = metrics.theta_at(kept / 100, said.validation.score)
    theta = rule if given is None else given
    st.session_state.slide = theta
    # the slider tells its choices apart by what is written, so what reads like θ gives way to θ itself
    choices = {charts.number(x): x for x in (*said.scale.choices(), theta)}
    slider.select_slider(
        t("Reject an image when its score is above θ"), sorted(choices.values()),
        format_func=charts.number, key="slide", on_change=_slid,
        help=t("To the left stricter, to the right more lenient. The arrow keys move it, too."),
    )  # fmt: skip
    by_rule_again()
    if given is None:
        st.caption(
            t(
                "θ = {theta} keeps {kept:g} % of the validation images of known classes.",
                theta=charts.number(theta),
                kept=kept,
            )
        )
    return theta


def _slid() -> None:
    st.session_state.theta = st.session_state.slide


def numbers_at(theta: float, said: Judged, wide: bool) -> None:
    """What theta does to the test images: three shares with their counts and 95 % intervals."""
    classes = len(said.means)
    shares = metrics.at(theta, said.test, said.labels, classes)
    spread = metrics.intervals(said.test, said.labels, theta)
    table = metrics.confusion(theta, said.test, said.labels, classes)
    n_known, n_unknown = int(table[:-1].sum()), int(table[-1].sum())
    titles = {
        "knowns_kept": (t("Knowns kept"), int(table[:-1, :-1].sum()), n_known),
        "knowns_kept_and_right": (t("Knowns kept and named right"), int(np.trace(table[:-1, :-1])), n_known),
        "unknowns_caught": (t("Unknowns caught"), int(table[-1, -1]), n_unknown),
    }
    places = st.columns(3) if wide else [st.container()] * 3
    for place, (key, (title, hits, of)) in zip(places, titles.items(), strict=True):
        interval = charts.between(spread[key])
        counted = t("{hits} of {of} · 95 % interval {interval}", hits=hits, of=of, interval=interval)
        place.metric(
            title,
            charts.percent(shares[key]),
            counted if of else t("no such image"),
            delta_color="off",
            delta_arrow="off",
            border=True,
        )
