"""Compare, where two runs are of one data set of one's own that has changed between them: what both say about the test
images that both have, and what has become of a class that one of them alone knows."""

import itertools
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app import jobs, results, thumbnails, uploads, wording
from app.results import MEASURES
from app.words import t
from cac_core import runs
from cac_core.files import is_file
from cac_core.results import compare, judge
from cac_core.results.compare import Common, Fate, Member, Scored
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.scorers import judge_of

MOST = 24  # images that the older network is asked about


@dataclass(frozen=True, eq=False)
class Pair:
    members: tuple[Member, Member]
    runs: tuple[Scored, Scored]
    common: Common


def of(members: list[Member]) -> list[Pair]:
    """Every two single runs that are compared on the images that both have."""
    alone = [member for member in members if len(member.runs) == 1]
    every = [(a, b, compare.in_common(a.runs[0], b.runs[0])) for a, b in itertools.combinations(alone, 2)]
    return [Pair((a, b), (a.runs[0], b.runs[0]), both) for a, b, both in every if both is not None]


def view(every: list[Pair], scorer: str | None) -> None:
    """scorer: by which the members were judged, None for each method's own."""
    for n, pair in enumerate(every):
        with st.container(border=True, key=f"compare_common_{n}"):
            one_pair(pair, n, scorer)


def one_pair(pair: Pair, n: int, scorer: str | None) -> None:
    common, names = pair.common, [wording.plain(member.name) for member in pair.members]
    known = int((common.one.labels >= 0).sum())
    st.subheader(t("On the same test images"), anchor=False)
    st.markdown(told(pair))
    numbers = [side.numbers() for side in (common.one, common.other)]
    columns = {"": names} | results.scores(list(pair.members))
    columns |= {t(title): [results.spread(one[measure], np.nan) for one in numbers]
                for measure, title in MEASURES.items()}  # fmt: skip
    st.table(columns, hide_index=True, border="horizontal")
    st.caption(t("Over {known} test images of classes that both know and {unknown} of classes that neither knows.",
                 known=known, unknown=len(common.one.labels) - known))  # fmt: skip
    for cls, fates in common.fates.items():
        st.markdown(" ".join(between(cls, fates, pair)))
        asked(pair, cls, f"{n}_{cls}", scorer)


def called(pair: Pair) -> list[str]:
    """Their names in a sentence."""
    return [f"*{wording.plain(member.name)}*" for member in pair.members]


def told(pair: Pair) -> str:
    """How many test images both have, and what differs besides, in words."""
    common, names = pair.common, called(pair)
    lines = [t("Both were tested on **{n}** of the same images.", n=common.shared)]
    for name, count in zip(names, common.apart, strict=True):
        if count:
            lines.append(t("{name} alone on {n} more, which count for nothing here.", name=name, n=count))
    if common.moved:
        lines.append(t("{n} belong to another class since, and count for nothing either.", n=common.moved))
    return " ".join(lines)


def between(cls: str, fates: tuple[Fate, Fate], pair: Pair) -> list[str]:
    """What each run makes of its test images of a class that one of them alone knows, in sentences."""
    names = called(pair)
    knows = [cls in [run.names[c] for c in run.split[3]] for run in pair.runs]
    to, not_to = (names[0], names[1]) if knows[0] else (names[1], names[0])
    said = [t("**{cls}** is known to {to} and unknown to {other}.", cls=wording.plain(cls), to=to, other=not_to)]
    for name, fate, is_known in zip(names, fates, knows, strict=True):
        said.append(sentence(name, fate, is_known))
    return said


def sentence(name: str, fate: Fate, known: bool) -> str:
    if not fate.count:
        return t("{name} has no test image of it.", name=name)
    taken = wording.listed([f"{other} ({count})" for other, count in fate.taken.items()]) or t("none")
    if known:
        return t("Of its {n} test images {name} names {right} right and rejects {rejected}; taken for others: {taken}.",
                 n=fate.count, name=name, right=fate.right, rejected=fate.rejected, taken=taken)  # fmt: skip
    return t("Of {n} test images of it {name} rejects {rejected}; taken for others: {taken}.",
             n=fate.count, name=name, rejected=fate.rejected, taken=taken)  # fmt: skip


# --- images that the older network has never seen --------------------------------------------------------------------


def asked(pair: Pair, cls: str, key: str, scorer: str | None) -> None:
    """The test images of a class that the one run has and the other has not: at a click, that one's network judges."""
    fates = pair.common.fates[cls]
    lacking = next((n for n in (0, 1) if not fates[n].count and fates[1 - n].count), None)
    if lacking is None or jobs.read_only():
        return
    old, new = pair.runs[lacking], pair.runs[1 - lacking]
    run, other = (Run(runs.store_of() / one.id) for one in (old, new))
    if (
        cls in run.known_names
        or not is_file(run.path / "best.safetensors")
        or run.record["prepare"] != other.record["prepare"]
    ):
        return
    name = wording.plain(pair.members[lacking].name)
    st.button(t("What does {name} say of them?", name=name), icon=":material/psychology_alt:", key=f"ask_{key}",
              on_click=ask, args=(old.id, new.id, cls))  # fmt: skip
    if (old.id, new.id, cls) == st.session_state.get("compare_asked"):
        images = thumbnails.pixels(other)
        if isinstance(images, str):
            st.caption(t("The images cannot be shown here: {why}", why=wording.told(images)))
            return
        mine = new.index[new.classes == new.names.index(cls)][:MOST]
        st.markdown(sentence(f"*{name}*", judged(old, run, images[mine], scorer), known=False))


def ask(*what: str) -> None:
    st.session_state.compare_asked = what


def judged(old: Scored, run: Run, pixels: np.ndarray, scorer: str | None) -> Fate:
    """What the network of a run makes of images [N, H, W, C] of a class that it does not know."""
    verdict = judge_of(scorer or judge.default_of(run), run.outputs("train"), run.outputs("validation"))(
        uploads.outputs_of(run, pixels)
    )
    rejected = metrics.rejected(verdict.score, old.theta)
    said = ["" if no else run.known_names[label] for no, label in zip(rejected, verdict.label.tolist(), strict=True)]
    return Fate(len(said), 0, said.count(""), {name: said.count(name) for name in run.known_names if name in said})
