"""Where to put theta: what it keeps, what it rejects, what that costs, and the file that takes it along."""

import json
from collections.abc import Callable

import numpy as np
import streamlit as st

from app import address, charts, controls, feeds, gallery, links, live, picker, setting, verdicts, wording
from app.setting import Setting
from app.words import phrases, t
from cac_core import runs, shell
from cac_core.data import datasets
from cac_core.recipe import IMPORTED
from cac_core.results import judge
from cac_core.scoring import metrics
from cac_core.scoring.scorers import grouped
from cac_core.serving import deciders

MEANING = phrases({
    "accuracy": ("Accuracy on knowns", "share of known images whose nearest class is theirs, rejected or not"),
    "auroc": ("AUROC", "how often an unknown scores higher than a known; 50 % is chance"),
    "aupr_unknown": ("AUPR, unknowns", "average precision of finding unknowns"),
    "aupr_known": ("AUPR, knowns", "average precision of finding knowns"),
    "fpr_at_95_knowns_kept": ("Unknowns accepted where 95 % of knowns are kept", "FPR@95; lower is better"),
    "fpr_at_95_unknowns_caught": ("Knowns rejected where 95 % of unknowns are caught", "FPR@95 the other way round"),
    "oscr": ("OSCR", "knowns kept and named right against unknowns accepted, over every θ"),
})  # fmt: skip

run = picker.chosen_run()
names = run.known_names
st.markdown(
    t(
        "The network gives every image a score; θ says from which score on it is called **unknown**. Drag the line in "
        "the histogram: everything follows."
    )
)


@st.fragment
def page():
    gallery.follow(run)
    with wording.explained():
        head = st.container(horizontal=True, vertical_alignment="bottom")
        with head:
            scorer = controls.choose_scorer(run)
            with st.popover(t("Options"), icon=":material/settings:"):
                controls.choose_options(run, scorer)
            with st.popover(t("Help"), icon=":material/help:"):
                how_to_read()
        now = setting.set_up(run)
        lab(now)
        theta_row(now)
        tables(now)
        rules(now)
        all_numbers(now)
        take_along(now)
        links.write_link()


def how_to_read():
    st.markdown(
        t(
            "- **Score**: the higher, the more unknown an image looks. Scores of different kinds have different "
            "units.\n"
            "- **θ**: images with a score above it are rejected. The default keeps 95 % of *new* images of known "
            "classes on average, as the validation images show; so it needs no unknown image and can be set before any "
            "is met.\n"
            "- **Known above, unknown below** in the histogram; what lies right of θ is rejected.\n"
            "- The **galleries** show the images that θ only just accepts and only just rejects.\n"
            "- All shares are over the test images; intervals are 95 % ones."
        )
    )


def lab(now: Setting):
    live.feed(blob := feeds.run_feed(run, odin=now.moved.temperature), key="feed")
    extra = None
    if not feeds.in_browser(now):
        live.feed(extra := feeds.score_feed(feeds.scored(now)), key="score_feed")
    state = controls.live_state(blob, now, extra) | {
        "share": setting.number("share") / 100, "axis": st.session_state.get("axis", "auto"),
    }  # fmt: skip
    live.lab(state, key="lab", height=380, on_change=settled, on_asked=asked)


def settled():
    """What was moved in the lab counts for the whole page, and for the address."""
    word = live.settled("lab")
    controls.take(word)
    st.session_state.axis = word.get("axis", "auto")


def asked():
    gallery.want(live.asked("lab"), run)


def theta_row(now: Setting):
    kept, exact, share = st.columns(3, vertical_alignment="bottom")
    controls.theta_inputs(now, kept, exact)
    if now.said.unknowns:
        share.number_input(
            t("Unknowns in use, %"), 0.0, 100.0, setting.NUMBERS["share"], 5.0, format="%g", key="share",
            persist_state="session", help=t("How many of 100 images you expect to be of no known class."),
        )  # fmt: skip
    controls.about_theta(now)
    controls.beside(now)
    controls.worth(now)
    address.link("try", t("**Try an image of your own**"), "image_search")


def tables(now: Setting):
    """What the picture shows, in numbers."""
    place = st.expander(t("The picture as tables"), on_change="rerun", key="lab_tables", icon=":material/table:")
    if not place.open:
        return
    theta, said = now.theta, now.said
    with place:
        controls.numbers_at(now, wide=True)
        histogram, roc, decisions = st.columns([3, 2, 3])
        known, score, edges = said.labels >= 0, said.scale.clip(said.test.score), said.scale.steps(25)
        bars = {
            t("score from"): edges[:-1],
            t("to"): edges[1:],
            t("known"): np.histogram(score[known], edges)[0],
            t("of these nearest class wrong"): np.histogram(score[known & ~said.right], edges)[0],
            t("never seen"): np.histogram(score[~known], edges)[0],
        }
        ends = [None, *edges[1:-1].tolist(), None]  # the first and the last hold what lies beyond
        whose = ({}, {}, {"truth": "known"}, {"truth": "known", "called": "far"}, {"truth": "never"})
        with histogram:
            counts(bars, "bars", lambda row, n: whose[n] and whose[n] | {"low": ends[row], "high": ends[row + 1]})
        if said.unknowns:
            line = metrics.roc(said.test, said.labels)
            some = np.unique(np.linspace(0, len(line["thetas"]) - 1, 60).astype(int))
            roc.dataframe(
                {"θ": line["thetas"][some], t("knowns rejected"): line["rejected_knowns"][some],
                 t("unknowns caught"): line["caught_unknowns"][some]},
                hide_index=True,
            )  # fmt: skip
        table = metrics.confusion(theta, said.test, said.labels, len(names))
        titles = [*names, t("never seen")]  # the truth of an unknown; the decision is that it is called so
        columns = {t("called {name}", name=name): table[:, c] for c, name in enumerate([*names, t("unknown")])}
        truths, calls = [*range(len(names)), "never"], [*range(len(names)), "rejected"]
        with decisions:
            counts({t("truth"): titles} | columns, "decisions",
                   lambda row, n: {"truth": truths[row]} | ({"called": calls[n - 1]} if n else {}))  # fmt: skip


def counts(table: dict, key: str, asked: Callable[[int, int], dict]):
    """A table of counts, each of which leads to its images; asked: what those of a row and a column have in common."""
    event = st.dataframe(table, hide_index=True, on_select="rerun", selection_mode="single-cell", key=f"lab_{key}")
    for row, column in event["selection"]["cells"]:
        n = list(table).index(column)
        if said := asked(row, n):
            count = table[column][row] if n else sum(int(some[row]) for some in list(table.values())[1:])
            if st.button(
                t("See all {n} images", n=int(count)), key=f"lab_{key}_images", icon=":material/photo_library:"
            ):
                gallery.go(run, **gallery.counted(said, run))


def rules(now: Setting):
    st.subheader(t("θ by a rule, with its reason"), anchor=False)
    said = now.said
    keep = t("Keep {kept:g} % of new knowns", kept=setting.number("kept"))
    if run.validated_on == datasets.SEEN:
        keep = t("Keep {kept:g} % of images that were trained on", kept=setting.number("kept"))
    titles = {"kept": keep}
    if said.unknowns:
        left, right = st.columns(2)
        left.number_input(
            t("An accepted unknown costs as much as … rejected knowns"), 0.01, 1000.0, setting.NUMBERS["ratio"], 1.0,
            format="%g", key="ratio", persist_state="session",
        )  # fmt: skip
        right.number_input(
            t("Unknowns to accept at most, %"), 0.0, 100.0, setting.NUMBERS["accept"], 1.0, format="%g", key="accept",
            persist_state="session",
        )  # fmt: skip
        titles |= {
            "cost": t("Least cost at {share:g} % unknowns in use", share=setting.number("share")),
            "fpr": t("Accept at most {most:g} % of the unknowns", most=setting.number("accept")),
            "youden": t("Best balance of caught and rejected (Youden)"),
        }
    for rule, title in titles.items():
        theta = setting.by(rule, said)
        shares = metrics.at(theta, said.test, said.labels, len(names))
        button, words = st.columns([2, 7], vertical_alignment="center")
        with button:
            st.button(
                f"θ = {charts.number(theta)}", key=f"rule_{rule}", on_click=setting.by_rule,
                args=(None if rule == "kept" else rule,), type="primary" if rule == now.rule else "secondary",
                disabled=not np.isfinite(theta), help=t("Take this θ"), width="stretch",
            )  # fmt: skip
        with words:
            caught = t(", catches {caught} of the unknowns", caught=charts.percent(shares["unknowns_caught"]))
            reason = t("needs no unknown image; the default")
            if rule != "kept":
                reason = t("oracle: looks at the test unknowns")
            st.markdown(
                f"**{title}**: "
                + t("keeps {kept} of the knowns", kept=charts.percent(shares["knowns_kept"]))
                + (caught if said.unknowns else "")
                + (f" :green-badge[{reason}]" if rule == "kept" else f" :orange-badge[:material/visibility: {reason}]")
            )
            if rule == "kept":
                st.caption(t("θ = {theta}: {rule}.", theta=charts.number(theta),
                             rule=wording.plain(setting.words(now, rule))))  # fmt: skip


def all_numbers(now: Setting):
    st.subheader(t("All numbers, and the other scores"), anchor=False)
    said = now.said
    here = metrics.report(said.test, said.labels)
    spread = {"accuracy": metrics.intervals(said.test, said.labels, 0.0)["accuracy"],
              "auroc": metrics.delong(said.test, said.labels)}  # fmt: skip
    columns = {"": [t(title) for title, _ in MEANING.values()]}
    columns[t("{score}, as set above", score=t(wording.SHORT[now.scorer]))] = [
        charts.percent(here[key])
        + (f" ({charts.between(spread[key])})" if here[key] == here[key] and key in spread else "")
        for key in MEANING
    ]
    st.table(columns, hide_index=True, border="horizontal")
    st.caption(t("In brackets 95 % intervals."))
    every_score()
    if "auroc" in verdicts.report(run).get("scorers", {}).get("knn", {}) and not run.outputs("train").features.shape[1]:
        st.caption(
            t(
                "This copy of the run holds no features, so k nearest and Mahalanobis are as they were reported when "
                "it was made, and cannot be computed again here."
            )
        )
    with st.popover(t("What the numbers mean"), icon=":material/help:"):
        st.markdown("\n".join(f"- **{t(title)}**: {t(meaning)}" for title, meaning in MEANING.values()))
        if run.validated_on in (datasets.HELD_OUT, datasets.PUBLISHED, datasets.FOLDS):
            st.markdown(
                t(
                    "The validation images that set θ have also chosen the best epoch, so they look a little better "
                    "than new ones, and θ keeps a little less of these."
                )
            )


def every_score():
    """The scores at their own defaults: those of the report, or, at a click, all that the outputs allow."""
    groups, gone = grouped(run.recipe.method), verdicts.lacking(run)
    group_of = {name: group for group, names in groups.items() for name in names}
    reported = verdicts.report(run).get("scorers", {})
    found = {name: _as_reported(reported[name]) for name in group_of if "auroc" in reported.get(name, {})}
    if st.session_state.get("all_scores") == run.id:
        found |= verdicts.all_scores(run, [name for name in group_of if name not in gone])
    else:
        st.button(
            t("Compare all {count} scores", count=len(group_of) - len(gone)), key="compare_scores",
            icon=":material/leaderboard:", on_click=lambda: st.session_state.update(all_scores=run.id),
        )  # fmt: skip
    fine = {name: found[name] for name in group_of if name in found and not found[name].error}
    numbers = list(fine.values())
    titles = {key: t(MEANING[key][0]) for key in ("auroc", "accuracy", "oscr", "fpr_at_95_knowns_kept")}
    shares = {titles[key]: [100 * one.report[key] for one in numbers] for key in titles}
    shares[t("Unknowns caught at θ")] = [100 * one.caught for one in numbers]
    rows = {
        t("Score"): [t(wording.SHORT[name]) for name in fine],
        t("reads"): [t(wording.GROUPS[group_of[name]]) for name in fine],
        titles["auroc"]: shares[titles["auroc"]],
        t("{measure}, 95 % interval", measure=titles["auroc"]): [charts.between(one.auroc) for one in numbers],
        t("seconds"): [one.seconds for one in numbers],
        titles["accuracy"]: shares[titles["accuracy"]],
        t("{measure}, 95 % interval", measure=titles["accuracy"]): [charts.between(one.accuracy) for one in numbers],
    } | shares
    if not any(np.isfinite(one.seconds) for one in numbers):
        del rows[t("seconds")]
    looks = dict.fromkeys(shares, st.column_config.NumberColumn(format="%.1f %%"))
    looks |= {
        t("Score"): st.column_config.TextColumn(pinned=True, width=150),
        t("reads"): st.column_config.TextColumn(width=165),
        t("seconds"): st.column_config.NumberColumn(format="%.3f"),
    }
    st.dataframe(rows, hide_index=True, column_config=looks, height="content")
    st.caption(
        t(
            "Each score at its own defaults and at the θ that keeps {kept:g} % of new knowns, the method's own first; "
            "a click on a head sorts. Seconds are those of reading the training images and judging the others, here "
            "and now. Who picks a score by these numbers has looked at the test unknowns.",
            kept=100 * judge.KEPT,
        )
    )
    for name in group_of:
        if name in found and (why := found[name].error):
            st.caption(f"{t(wording.SHORT[name])}: {wording.told(why).partition(chr(10))[0]}")


def _as_reported(numbers: dict) -> verdicts.Numbers:
    """The numbers of a report, which knows no seconds."""
    spread = {key: tuple(_number(end) for end in numbers["intervals"][key]) for key in ("auroc", "accuracy")}
    return verdicts.Numbers(
        {key: _number(numbers.get(key)) for key in MEANING}, **spread,
        caught=_number(numbers["at_theta"]["unknowns_caught"]), seconds=float("nan"),
    )  # fmt: skip


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


SNIPPET = """from pathlib import Path

from cac_core import runs
from cac_core.data import images
from cac_core.results import evaluate, judge
from cac_core.scoring.distances import moved_by

run = runs.find("{run}", Path({store}))
threshold = judge.threshold_from(Path("threshold.json"), run)
network = evaluate.load(run)
pixels = images.prepare("picture.png", run.row, threshold.way).pixels[None]
centres = moved_by(run.outputs("train"))
seen = network.outputs(pixels, magnitude=threshold.magnitude, temperature=threshold.temperature, centres=centres)
print(threshold.judged(run, *seen)[0]["decision"])
"""


TO_FILE = "export {} --onnx network.onnx"
IN_USE = ("predict {} picture.png", "score {} FOLDER --out verdicts.csv", TO_FILE, "serve {} --keep-pictures")

# of outputs alone, without a network
SNIPPET_OF_OUTPUTS = """from pathlib import Path

from cac_core import runs
from cac_core.exchange import import_outputs
from cac_core.results import judge
from cac_core.scoring import metrics

run = runs.find("{run}", Path({store}))
threshold = judge.threshold_from(Path("threshold.json"), run)
out = import_outputs.new_outputs(import_outputs.read([Path("new.npz")]), run)
verdict, theta = threshold.decided(run, out)
for label, rejected in zip(verdict.label, metrics.rejected(verdict.score, theta)):
    print("unknown" if rejected else run.known_names[label])
"""


def take_along(now: Setting):
    st.subheader(t("Take the threshold along"), anchor=False)
    threshold = controls.threshold_of(now)
    alone = run.recipe.backbone == IMPORTED
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.markdown(
            t(
                "One file holds the score, its options, θ and the class names. The command line and the ten lines of "
                "Python judge new outputs of the network by it:"
            )
            if alone
            else t(
                "One file holds the score, its options, the centres, θ, the class names and how images are prepared. "
                "The command line and the ten lines of Python read it:"
            )
        )
        said = wording.plain(setting.words(now))
        st.caption(t("θ = {theta}: {rule}.", theta=charts.number(now.theta), rule=said))
        st.download_button(
            "threshold.json", json.dumps(threshold.record(run), indent=1, ensure_ascii=False), "threshold.json",
            "application/json", icon=":material/download:", on_click="ignore", type="primary",
        )  # fmt: skip
        exported = not deciders.unexportable(run, threshold)
        ways = ["judge {} new.npz"] if alone else [way for way in IN_USE if way != TO_FILE or exported]
        said = [shell.command(*way.format(run.id).split(), "--threshold", "threshold.json") for way in ways]
        st.code("\n".join(said), language="bash", wrap_lines=True)
        if not alone:
            st.caption(
                t(
                    "One picture; a folder, into a file; one ONNX file for programs without this project; a service "
                    "that Watch looks after."
                )
                if exported
                else t(
                    "One picture; a folder, into a file; a service that Watch looks after. No ONNX file holds what is "
                    "set here."
                )
            )
            with st.container(horizontal=True):
                if exported:
                    address.link("export", t("Export to ONNX"), "ios_share")
                address.link("watch", t("What is rejected in use"), "visibility")
    right.code(
        (SNIPPET_OF_OUTPUTS if alone else SNIPPET).format(run=run.id, store=json.dumps(str(runs.store_of()))),
        language="python",
    )


page()
