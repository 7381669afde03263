"""How things are said: scores, states, lists, sizes, times; text from files; an error with its way out."""

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

import streamlit as st

from app import charts
from app.words import phrases, said, t
from cac_core.recipe import CONTROLS, NAMES, Recipe
from cac_core.results import quality
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.sentences import say

SAID = phrases(
    {
        "gamma": "γ, the rejection score of CAC",
        "distance": "distance to the nearest class mean",
        "msp": "1 − largest softmax probability",
        "max_logit": "− largest logit",
        "energy": "energy of the logits",
        "knn": "distance to the k-th nearest training image, by features",
        "mahalanobis": "Mahalanobis distance to the nearest class mean, by features",
        "cosine": "1 − largest cosine to a class mean, by features",
        "placeholder": "largest dummy logit − largest known one",
        "unknown_class": "share of the class of unknowns − largest known one",
        "openmax": "probability of unknown by OpenMax",
        "given": "the score that came with the outputs",
        "latent_openmax": "probability of unknown by OpenMax, on logits and latents",
        "temperature_scaling": "1 − largest softmax probability, at the temperature of the validation images",
        "entropy": "entropy of the softmax",
        "gen": "generalised entropy of the softmax (GEN)",
        "margin": "− largest logit less the second",
        "kl_matching": "divergence of the softmax from a class's typical one",
        "rmds": "relative Mahalanobis distance, by features",
        "gmm": "− log likelihood by a normal for each class, by features",
        "nnguide": "− energy times nearness to training images (NNGuide)",
        "she": "− product with the pattern of the predicted class (SHE)",
        "residual": "features outside the principal directions",
        "vim": "virtual logit less the energy (ViM)",
        "fdbd": "− distance to the decision boundaries, by features (fDBD)",
        "react": "energy after cutting off large features (ReAct)",
        "ash_p": "energy after pruning small features (ASH-P)",
        "ash_b": "energy after making features two-valued (ASH-B)",
        "ash_s": "energy after pruning and scaling features (ASH-S)",
        "scale": "energy after scaling features (SCALE)",
        "dice": "energy by the weights that contribute most (DICE)",
        "gradnorm": "− size of the gradient in the head (GradNorm)",
    }
)
SHORT = phrases({
    "gamma": "γ", "distance": "distance", "msp": "1 − softmax", "max_logit": "− max logit", "energy": "energy",
    "knn": "k nearest", "mahalanobis": "Mahalanobis", "cosine": "cosine", "placeholder": "placeholder",
    "unknown_class": "P(unknown) − P(known)",
    "openmax": "OpenMax", "latent_openmax": "OpenMax, latents", "temperature_scaling": "temperature scaling",
    "entropy": "entropy", "gen": "GEN",
    "margin": "margin", "kl_matching": "KL matching", "rmds": "relative Mahalanobis", "gmm": "GMM",
    "nnguide": "NNGuide", "she": "SHE", "residual": "residual", "vim": "ViM", "fdbd": "fDBD", "react": "ReAct",
    "ash_p": "ASH-P", "ash_b": "ASH-B", "ash_s": "ASH-S", "scale": "SCALE", "dice": "DICE", "gradnorm": "GradNorm",
    "given": "given score",
})  # fmt: skip
GROUPS = phrases({
    "own": "the method's own", "logits": "logits", "features": "features", "head": "features through the head",
})  # fmt: skip
COUNTS = phrases(
    {
        "k": "The neighbour that counts, k",
        "tail": "Images in each class's tail",
        "alpha": "Top classes that are revised",
        "top": "Largest shares that count",
        "dim": "Principal directions that count for nothing",
    }
)
NEAR = phrases("Neighbours that are averaged, k")
PERCENTILES = phrases({
    "clip": "Features are cut off above this percentile", "prune": "Smallest features that are set to 0, %",
    "sparsity": "Weights that are set to 0, %",
})  # fmt: skip
LOOK = {  # colour and icon of the chip for each state of a run
    "finished": ("green", ":material/check:"),
    "running": ("blue", ":material/play_arrow:"),
    "starting": ("blue", ":material/play_arrow:"),
    "stopped": ("gray", ":material/pause:"),
    "failed": ("red", ":material/error:"),
    "lost": ("orange", ":material/help:"),
    "broken": ("red", ":material/error:"),
    "queued": ("gray", ":material/schedule:"),
    "stopping": ("orange", ":material/stop:"),
    "unreachable": ("orange", ":material/cloud_off:"),
}
WORTH = {  # the same for each word of quality
    quality.USABLE: ("green", ":material/check_circle:"),
    quality.WEAK: ("orange", ":material/trending_down:"),
    quality.CHANCE: ("red", ":material/casino:"),
    quality.FEW: ("gray", ":material/help:"),
}


def score(name: str, group: str) -> str:
    """A score as it stands in a list: what it is called, and what it reads."""
    return t("{score} · {group}", score=t(SHORT[name]), group=t(GROUPS[group]))


def method(name: str) -> str:
    return said(NAMES.get(name, name))


def options(chosen: dict[str, Any]) -> str:
    """Options with their values, named as New run and the command line name them."""
    words = (
        (name.replace("_", " "), f"{value:g}" if isinstance(value, float) else value) for name, value in chosen.items()
    )
    return ", ".join(f"{name} {value}" for name, value in words)


def control(recipe: Recipe) -> str:
    """That a run is one of its method's controls; empty where it is none."""
    found = (CONTROLS.get((recipe.method, name, value)) for name, value in recipe.hyper.items())
    return next((said(one) for one in found if one), "")


def plain(text: str) -> str:
    """Text from a file, as Markdown that shows exactly this text."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def told(what: Exception | str) -> str:
    """An error, or a reason that a file keeps, in the reader's language, as Markdown that shows exactly this text."""
    return plain(said(what))


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """What a user can cause becomes a sentence and, where there is one, the command that mends it."""
    try:
        yield
    except (ValueError, OSError) as error:
        logging.getLogger(__name__).log(logging.WARNING, "A page could not be shown.", exc_info=error)
        explain(error)


def explain(error: Exception | str) -> None:
    if isinstance(error, OSError) and error.errno is not None:  # the system's, which has no sentence
        error = say("{file} cannot be read or written ({error}).", file=error.filename or "", error=error.strerror)
    cause, _, command = said(error).partition("\n    ")
    st.error(plain(cause), icon=":material/error:")
    if command:
        st.code(command.split("\n")[0], language="bash")


def reason(error: Exception) -> str:
    """What is wrong with one of several things, where the others go on, in plain text."""
    logging.getLogger(__name__).log(logging.WARNING, "One of several could not be shown.", exc_info=error)
    return said(error) or type(error).__name__


def doubts(warnings: Iterable[str]) -> None:
    """What a training said that somebody should know."""
    for text in warnings:
        st.warning(told(text), icon=":material/warning:")


def refused(every: Iterable[tuple[str, str]]) -> None:
    """Files that are left out, each with why; nothing where there are none."""
    if not (rows := [(name, said(why)) for name, why in every]):
        return
    title = (t("1 file cannot be taken; it is left out") if len(rows) == 1
             else t("{count} files cannot be taken; they are left out", count=len(rows)))  # fmt: skip
    with st.expander(title, icon=":material/warning:"):
        names, reasons = zip(*rows, strict=True)
        st.dataframe({t("file"): names, t("why"): reasons}, hide_index=True)


def badge(state: str) -> None:
    colour, icon = LOOK.get(state, ("gray", ":material/help:"))
    st.badge(plain(t(state)), color=colour, icon=icon)


def worth(found: quality.Quality) -> None:
    """What a run is worth: the word, never by colour alone, why, what would help, and how this is judged."""
    colour, icon = WORTH[found.word]
    with st.container(gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge(told(found.word), color=colour, icon=icon)
            with st.popover(t("How this is judged"), type="tertiary", icon=":material/help:"):
                rules(found)
        st.caption(" ".join(sentence(part) for part in (found.why, found.advice) if part))


def rules(found: quality.Quality) -> None:
    """The limits of each word, and what was taken for unknown."""
    keeps, catches = (f"{100 * limit:.0f} %" for limit in (quality.KEEPS, quality.CATCHES))
    lines = {
        quality.USABLE: t("at least {keeps} of the known images are kept and named right, and at least {catches} of "
                          "the unknown ones caught, by the lower ends of both intervals", keeps=keeps, catches=catches),
        quality.WEAK: t("one of the two lies below that for sure, or of a single class less than {each} is kept and "
                        "named right for sure, or both intervals are ± {points} points or closer and still do not tell",
                        each=f"{100 * quality.EACH:.0f} %", points=round(100 * quality.CLOSE)),
        quality.CHANCE: t("besides, the AUROC may be 50 % and is at most {most}, or the names of the known classes "
                          "may be guesses", most=f"{100 * quality.FAR:.0f} %"),
        quality.FEW: t("the intervals are too wide for any of these words"),
    }  # fmt: skip
    st.markdown(t("The word goes by the ends of 95 % intervals at θ, so that few images promise nothing:"))
    st.markdown("\n".join(f"- {WORTH[word][1]} **{told(word)}**: {plain(line)}" for word, line in lines.items()))
    if found.rests_on:
        st.markdown(t("Here it rests on {what}.", what=told(found.rests_on)))
    if found.beside:
        st.markdown(sentence(found.beside))
    if not found.left_out:
        return
    st.markdown(
        t(
            "For each of these classes a head was trained that has not seen it, on the same features; its images were "
            "then judged at the θ that keeps as many new images of the other classes. The classes are the draw, not "
            "their images: the interval is that of a mean over classes, by as many images as their spread leaves. "
            "Unknown things that are more like the known classes than these are to each other are caught less often, "
            "others more."
        )
    )
    st.dataframe(
        {
            t("left out"): [name for name, *_ in found.left_out],
            t("caught, with the 95 % interval"): [
                t("{hits} of {of} · {interval}", hits=hits, of=of, interval=charts.between(metrics.wilson(hits, of)))
                for _, hits, of in found.left_out
            ],
        },
        hide_index=True,
    )


def sentence(clause: str) -> str:
    """A clause of the core as a sentence of its own, in the reader's language."""
    words = told(clause)
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "。")) else t("."))


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


def span(seconds: float) -> str:
    """A time in words: 40 s, 3 min, 2 h 5 min, 1.5 days."""
    if 0 < seconds < 0.95:
        return t("{s:.1g} s", s=seconds)
    if seconds < 90:
        return t("{s:.0f} s", s=seconds)
    minutes = round(seconds / 60)
    if minutes < 90:
        return t("{m} min", m=minutes)
    if minutes < 48 * 60:
        return t("{h} h {m} min", h=minutes // 60, m=minutes % 60)
    return t("{d:.1f} days", d=minutes / 1440)


def epochs(count: int) -> str:
    return t("{n} epochs", n=count) if count != 1 else t("1 epoch")


def megabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.{1 if count < 1e7 else 0}f} MB"
