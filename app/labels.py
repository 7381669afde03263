"""What the labels on pictures of one's own say: numbers, a theta from these pictures, and the threshold of it."""

import json
import math
from typing import Any

import numpy as np
import streamlit as st

from app import charts, setting, sheet, wording
from app.setting import Setting
from app.sheet import Tile
from app.words import phrases, t
from cac_core.results import judge, labelled
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict

RULES = phrases({
    "keeps": "keeps {kept:g} % of new pictures like them on average, by {n} known pictures of your own, labelled by "
             "hand",
    "few": "the largest score of {n} known pictures of your own, labelled by hand: too few to keep {kept:g} % of new "
           "ones, which takes {lacking} more",
    "never": "the largest score of {n} known pictures of your own, labelled by hand: no number of them promises 100 %",
    "balanced": "best balance of {m} unknown pictures of your own caught and {n} known ones rejected (Youden), "
                "labelled by hand",
})  # fmt: skip


def named(label: int | None, names: list[str]) -> str:
    """A label as CSV and JSON have it; empty where there is none."""
    if label is None:
        return ""
    return "left out" if label == sheet.LEFT_OUT else judge.UNKNOWN if label < 0 else names[label]


def counted(tiles: list[Tile], labels: dict[str, int]) -> tuple[Verdict, np.ndarray]:
    """The verdicts on the pictures that are labelled and not left out, and their labels; each score less its base."""
    some = [tile for tile in tiles if not tile.error and labels.get(tile.mark, sheet.LEFT_OUT) != sheet.LEFT_OUT]
    verdict = Verdict(np.array([tile.score - tile.base for tile in some], float),
                      np.array([tile.nearest for tile in some], int))  # fmt: skip
    return verdict, np.array([labels[tile.mark] for tile in some], int)


def section(now: Setting, tiles: list[Tile], labels: dict[str, int]) -> None:
    """The numbers by the labels and the thetas from them, as soon as there is a label."""
    verdict, truth = counted(tiles, labels)
    with st.container(border=True):
        st.markdown(t("**What your labels say**"))
        if not len(truth):
            st.caption(t("Choose pictures above and label them as a known class, as unknown, or as not counted: then "
                         "accuracy, AUROC and a θ from your own pictures stand here."))  # fmt: skip
            return
        found = labelled.measured(verdict, truth, now.theta, len(now.run.known_names))
        _numbers(found)
        _thetas(now, verdict, truth, found)


def _numbers(found: labelled.Numbers) -> None:
    shown = {
        t("Closed-set accuracy"): (found.accuracy, "accuracy", t("{n} known pictures", n=found.knowns)),
        t("AUROC"): (found.auroc, "auroc", t("{n} known and {m} unknown pictures", n=found.knowns, m=found.unknowns)),
        t("Knowns kept and named right"): (found.kept_and_right, "knowns_kept_and_right", t("at this θ")),
        t("Unknowns caught"): (found.caught, "unknowns_caught", t("at this θ")),
    }
    with st.container(horizontal=True, gap="medium"):
        for title, (share, name, of) in shown.items():
            low = found.intervals[name][0]
            with st.container(width=205, gap="xsmall"):
                st.metric(title, charts.percent(share))
                st.caption(t("95 % interval {interval}", interval=charts.between(found.intervals[name]))
                           if not math.isnan(low) else t("too few labels yet"))  # fmt: skip
                st.caption(of)
    colour, icon = wording.WORTH[found.quality.word]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(wording.told(found.quality.word), color=colour, icon=icon)
        st.caption(wording.sentence(found.quality.why))


def _thetas(now: Setting, verdict: Verdict, truth: np.ndarray, found: labelled.Numbers) -> None:
    st.markdown(t("**θ from your own pictures**"))
    kept = setting.number("kept")
    rules = {}
    if found.knowns:
        lacking = metrics.lacking(kept / 100, found.knowns)
        name = "never" if lacking == math.inf else "few" if lacking else "keeps"
        values = {"kept": kept, "n": found.knowns, "lacking": lacking if lacking != math.inf else 0}
        rules["kept"] = (labelled.theta_kept(kept / 100, verdict, truth), name, values)
    if found.knowns and found.unknowns:
        rules["balanced"] = (labelled.theta_balanced(verdict, truth), "balanced",
                             {"n": found.knowns, "m": found.unknowns})  # fmt: skip
    if not rules:
        st.caption(t("It takes at least one picture that is labelled as a known class."))
        return
    for rule, (theta, name, values) in rules.items():
        offered(now, rule, theta, RULES[name], values, verdict, truth)
    st.caption(t("These θ rest on the labelled pictures alone. Measured on the same pictures they look better than on "
                 "new ones, and pictures from another camera or place may score otherwise."))  # fmt: skip


def offered(
    now: Setting, rule: str, theta: float, phrase: str, values: dict[str, Any], verdict: Verdict, truth: np.ndarray
) -> None:
    """A theta with what it rests on and what it does, to use here or to take along."""
    at = labelled.measured(verdict, truth, theta, len(now.run.known_names))
    said = t(phrase, **values)
    said = said if now.each is None else t("{rule}, on top of a θ for each class", rule=said)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"θ = {charts.number(theta)}", key=f"own_theta_{rule}", on_click=setting.by_name,
            args=(theta, phrase, values), type="primary" if now.theta == theta else "secondary", help=t("Take this θ"),
        )  # fmt: skip
        record = threshold(now, theta, said, at).record(now.run)
        st.download_button(
            "threshold.json", lambda: json.dumps(record, indent=1, ensure_ascii=False), "threshold.json",
            "application/json", icon=":material/download:", on_click="ignore", key=f"own_threshold_{rule}",
        )  # fmt: skip
        caught = t(", catches {caught} of the unknowns", caught=charts.percent(at.caught))
        st.markdown(
            f"{wording.sentence(said)} "
            + wording.sentence(t("keeps {kept} of the knowns", kept=charts.percent(at.kept))
                               + (caught if at.unknowns else "")),
            width="stretch",
        )  # fmt: skip


def threshold(now: Setting, theta: float, rule: str, found: labelled.Numbers) -> judge.Threshold:
    """A theta from one's own pictures as `predict` takes it, with what it rests on."""
    thetas = None if now.thetas is None else tuple((now.base + theta).tolist())
    return judge.Threshold(
        now.run.id, now.scorer, now.options, theta, rule, thetas, now.moved.magnitude, now.moved.temperature,
        way=setting.way(now.run), quality=found.quality.record(),
    )  # fmt: skip
