"""The papers' tables again: what was measured here above what has been published, and how each cell is made."""

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from app import address, charts, controls, grid, holdings, jobs, links, plans, results, wording
from app.grid import Square
from app.words import phrases, t
from cac_core import recipe as recipes
from cac_core import runs, shell
from cac_core.data import datasets
from cac_core.exchange import share
from cac_core.jobs import launch
from cac_core.recipe import ENSEMBLES, Recipe
from cac_core.results import compare, judge, reproduce, sweep
from cac_core.results.reproduce import Cell, Entry, Measured, Reading
from cac_core.runs import Run
from cac_core.training import probe

VIEWS = phrases({
    "benchmarks": "The benchmarks", "report": "The EfficientNet report", "tutorial": "CIFAR10 against Textures",
})  # fmt: skip
FAMILIES = ("osrci", "cac-2020", "arpl", "not stated")
SHOWN = 6  # runs whose links stand there at once
LINKS: links.Links = {
    "papers": (links.one_of(*VIEWS), "benchmarks"),
    "papers_family": (links.one_of(*FAMILIES), FAMILIES[0]),
    "papers_table": (links.yes, False),
    "papers_shipped": (links.yes, True),
    "cell": (str, None),
}

store = runs.store_of()
read = links.read_link(LINKS)
every: list[Reading] = []  # of the store, as it is when the page or a part of it is drawn
shipped: list[Reading] = results.readings(reproduce.SHIPPED)


@st.fragment
def page():
    every[:] = results.readings(store)
    with wording.explained():
        view = st.segmented_control(
            t("Table"), list(VIEWS), default="benchmarks", required=True, key="papers",
            format_func=lambda name: t(VIEWS[name]), on_change=close, label_visibility="collapsed",
        )  # fmt: skip
        {"benchmarks": benchmarks, "report": report, "tutorial": tutorial}[view]()
        links.put_in_link(LINKS)


def close():
    st.session_state.cell = None


def opened_in_table():
    st.session_state.cell = st.session_state.papers_open


def opened():
    st.session_state.cell = st.session_state.grid_of_cells["cell"]


# --- the three tables ------------------------------------------------------------------------------------------------


def benchmarks():
    with_shipped = bool(shipped) and st.session_state.setdefault("papers_shipped", True)
    found = reproduce.tables(reproduce.with_shipped(every, shipped) if with_shipped else every)
    here = {name: grid.lines_of(*grid.of_family(found, name)) for name in FAMILIES}
    here = {name: lines for name, lines in here.items() if lines}
    if "cell" in read and "papers_family" not in read and (of := family_of(here)):
        st.session_state.papers_family = of
    read.clear()
    if st.session_state.get("papers_family") not in here:
        st.session_state.papers_family = FAMILIES[0]
    st.markdown(t(grid.HOW))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        family = st.selectbox(
            t("Family of class lists"), list(here), key="papers_family", width=220, on_change=close,
            format_func=lambda name: t("not stated") if name == "not stated" else name,
        )  # fmt: skip
        in_table = st.toggle(t("As a table"), key="papers_table")
        if shipped:
            st.toggle(t("With Anchorscope's own runs"), key="papers_shipped", help=t(grid.SHIPPED))
        with st.popover(t("Help"), icon=":material/help:"):
            st.markdown(t(grid.PLACED))
    shown(here[family], in_table)
    if (square := chosen(here[family])) is not None:
        detail(*square)
    st.subheader(t("Take it along"), anchor=False)
    with st.container(horizontal=True):
        for label, file, mime, made in (
            (t("Page (HTML)"), "reproduced.html", "text/html", lambda: grid.as_html(found, here)),
            ("CSV", "reproduced.csv", "text/csv", lambda: reproduce.as_csv(found)),
            (t("LaTeX table"), "reproduced.tex", "text/x-tex", lambda: reproduce.as_latex(found, family)),
        ):
            st.download_button(label, lambda made=made: made().encode(), file, mime, icon=":material/download:",
                               on_click="ignore", key=file)  # fmt: skip
    st.caption(t("The page and the CSV hold every family, the LaTeX table the one that is shown."))
    st.code(shell.command("reproduce", *(["--own"] if shipped and not with_shipped else [])), language="bash")
    if found.broken:
        with st.expander(t("{count} runs are not counted", count=len(found.broken)), icon=":material/error:"):
            for name, why in found.broken[:50]:
                st.markdown(f"**{wording.plain(name)}**: {wording.told(why)}")


def family_of(here: dict[str, list[grid.Line]]) -> str | None:
    """Where the cell stands that the address asks for."""
    asked = st.session_state.get("cell")
    return next((name for name, lines in here.items() if asked in squares(lines)), None)


def report():
    read.clear()
    cells = reproduce.of_report(every, by_odin())
    st.markdown(
        t(
            "CAC on EfficientNet-B5, as a report in Chinese has it, without and with ODIN's perturbation. It does not "
            "say on which classes, so what is measured here is over the trials of osrci."
        )
    )
    lines = [
        grid.Line(label, t("measured by {score}", score=t(wording.SHORT[score])),
                  {c.dataset: Square(grid.key_of(c), c.dataset, c, c.published) for c in cells if c.scorer == label})
        for label, score in ((reproduce.ON_REPORT, "gamma"), (reproduce.WITH_ODIN, "distance"))
    ]  # fmt: skip
    st.caption(t(sweep.LEAK))
    shown(lines, st.toggle(t("As a table"), key="papers_table"))
    if (square := chosen(lines)) is not None:
        detail(*square)


def by_odin() -> dict[str, float]:
    """Of runs by the report's networks: the AUROC of distance, in percent, at the best cell of a sweep as published."""
    found = {}
    for one in every:
        if one.counts and "efficientnet-b5" in one.words:
            with contextlib.suppress(ValueError, OSError):
                best = sweep.report(Run(store / one.run), as_published=True)["oracle"].get("distance")
                if best and best["auroc"] is not None:
                    found[one.run] = 100 * best["auroc"]
    return found


def tutorial():
    read.clear()
    said = reproduce.TUTORIAL
    st.markdown(t("The images of another data set as the unknowns, as a tutorial of pytorch-ood has it."))
    st.markdown(
        t(
            "**Published**: {method} on {dataset} against {unknown}: {auroc} % AUROC, {accuracy} % accuracy "
            "({source}).",
            method=said["method"], dataset=said["dataset"], unknown=said["unknown"],
            auroc=charts.fixed(said["auroc"], 1), accuracy=charts.fixed(said["accuracy"], 1), source=t(said["source"]),
        )
    )  # fmt: skip
    st.warning(f"{t('Caveat')}: {wording.plain(t(said['note']))}", icon=":material/info:")
    rows = [
        (one, name, numbers)
        for one in every
        if one.counts and one.dataset == said["dataset"] and (run := Run(store / one.run)).written
        for name in reproduce.sets_of(run)
        if (numbers := against(str(run.path), run.written, name, stamp(run, name)))
    ]
    absent = not holdings.here(said["unknown"])
    if absent:
        st.caption(
            t("The images of {dataset} are not here; CIFAR100 can stand in their place.", dataset=said["unknown"])
        )
    if rows:
        st.markdown(f"**{t('Measured here')}**")
        st.dataframe(
            {
                t("Run"): [one.run for one, *_ in rows],
                t("Unknown"): [name for _, name, _ in rows],
                t("Known classes"): [numbers["classes"] for *_, numbers in rows],
                t("Method"): [wording.method(one.method) for one, *_ in rows],
                t("Measured AUROC, %"): [charts.fixed(numbers["auroc"], 1) for *_, numbers in rows],
                t("95 % interval over test images"): [
                    t("{low} to {high}", low=charts.fixed(numbers["low"], 1), high=charts.fixed(numbers["high"], 1))
                    for *_, numbers in rows
                ],
                t("Accuracy, %"): [charts.fixed(numbers["accuracy"], 1) for *_, numbers in rows],
            },
            hide_index=True, placeholder="–", key="tutorial_rows",
        )  # fmt: skip
        st.caption(
            t("A run that knows fewer than ten classes has another task than the tutorial: the two do not rank.")
        )
        links_of([one.run for one, *_ in rows])
    else:
        st.info(t("No run on CIFAR10 was evaluated against another data set yet."), icon=":material/info:")
    st.markdown(t("This makes it, with the id of a run on CIFAR10 for RUN:"))
    unknown = reproduce.STAND_IN if absent else said["unknown"]
    lines = shell.command("fetch", unknown), shell.command("eval", "RUN", "--unknown", unknown)
    st.code("\n".join(lines), language="bash")


def stamp(run: Run, name: str) -> int:
    with contextlib.suppress(OSError):
        return (run.path / "outputs" / f"{run.unknown_split(name)}.npz").stat().st_mtime_ns
    return 0


@st.cache_data(max_entries=200, show_spinner=False)
def against(path: str, written: str, name: str, stamp: int) -> dict[str, float] | None:
    """In percent; None where the outputs cannot be read."""
    run = Run(Path(path))
    try:
        said = judge.report(run, None, None, name)
    except (ValueError, OSError):
        return None
    low, high = said["intervals"]["auroc"]
    numbers = {"auroc": said["auroc"], "low": low, "high": high, "accuracy": said["accuracy"]}
    return {key: 100 * value for key, value in numbers.items()} | {"classes": len(run.trial.known)}


# --- a table ---------------------------------------------------------------------------------------------------------


def shown(lines: list[grid.Line], in_table: bool):
    """The grid, or the same as a table with a choice of the cell beside it."""
    if not in_table:
        grid.draw(lines, st.session_state.get("cell"), "grid_of_cells", opened, controls.palette())
        return
    there = squares(lines)
    st.dataframe(grid.as_table(lines), hide_index=True, key="papers_rows", height=35 * len(there) + 38)
    st.session_state.papers_open = cell if (cell := st.session_state.get("cell")) in there else None
    st.selectbox(
        t("Open a cell"), [None, *there], key="papers_open", width=420, on_change=opened_in_table,
        placeholder=t("none"),
        format_func=lambda key: t("none") if key is None else f"{there[key][0].name}, {there[key][1].dataset}",
    )  # fmt: skip


def squares(lines: list[grid.Line]) -> dict[str, tuple[grid.Line, Square]]:
    return {square.key: (line, square) for line in lines for square in line.squares.values()}


def chosen(lines: list[grid.Line]) -> tuple[grid.Line, Square] | None:
    """What the address asks for; what is in no table is told."""
    asked = st.session_state.get("cell")
    found = squares(lines).get(asked)
    if asked and found is None:
        st.caption(t("There is no such cell here: {name}", name=wording.plain(asked[:80])))
    elif found is None:
        st.caption(t("Open a cell: its runs, its curves, its recipe and what is missing."))
    return found


# --- a cell ----------------------------------------------------------------------------------------------------------


def detail(line: grid.Line, square: Square):
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.subheader(f"{wording.plain(line.name)}, {wording.plain(square.dataset)}", anchor=False)
            st.button(t("Close the cell"), icon=":material/close:", type="tertiary", key="close_cell", on_click=close)
        st.markdown(f"{grid.SHAPES[square.kind]} {t(grid.KINDS[square.kind])}" + (f" · {line.by}" if line.by else ""))
        for entry in square.entries:
            published(entry)
        cell = square.cell
        if cell is None:
            st.caption(t("This method is not among those here, so there is nothing to measure it by."))
            return
        if not cell.measured:
            st.markdown(t("Nothing was measured for this cell yet."))
        for place, one in enumerate(cell.measured, 1):
            measurement(cell, one, place)
        with wording.explained():
            bands(cell)
        making(cell)


def published(entry: Entry):
    st.markdown(
        t("**Published**: {value} %, {method} ({source})", value=grid.said_by(entry),
          method=wording.plain(entry["method"]), source=wording.plain(t(entry["source"])))
    )  # fmt: skip
    if note := entry.get("note"):
        st.warning(f"{t('Caveat')}: {wording.plain(t(note))}", icon=":material/info:")


def measurement(cell: Cell, one: Measured, place: int):
    """What runs of one recipe on the same images measured."""
    st.markdown(
        (f"{place}: " if len(cell.measured) > 1 else "")
        + t("**Measured**: {auroc} % AUROC, {accuracy} % accuracy · {over}", auroc=grid.spread(one.auroc, one.sd),
          accuracy=grid.spread(one.accuracy, one.accuracy_sd), over=wording.plain(grid.over(one)))
    )  # fmt: skip
    if gap := grid.difference(one):
        st.markdown(gap)
    facts = [wording.plain(grid.effort(one)), wording.plain(one.recipe)]
    commits = wording.plain(", ".join(commit[:12] for commit in one.commits))
    facts += [t("commit {commits}", commits=commits)] if commits else []
    if sum(other.recipe == one.recipe for other in cell.measured) > 1:
        facts += [t("images {digest}", digest=wording.plain(one.images[:12]) or t("that the runs do not name"))]
    st.caption(" · ".join(facts))
    wording.doubts(one.warnings)
    there = [name for name in one.runs if counts_here(name, one)]
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(one.runs) > 1 and len(there) == len(one.runs):
            address.link("compare", t("Compare these {count}", count=len(one.runs)), "compare_arrows",
                         {"ids": ",".join(one.runs)})  # fmt: skip
        # what is closed is not made: a cell may be of many runs
        recipe = st.popover(t("Recipe"), icon=":material/data_object:", key=f"recipe_of_{place}", on_change="rerun")
        command = st.popover(t("Command"), icon=":material/terminal:", key=f"command_of_{place}", on_change="rerun")
    if recipe.open:
        text = json.dumps(run_of(one.runs[0], one).recipe.to_json(), ensure_ascii=False, indent=1)
        recipe.code(text, language="json")
    if command.open:
        command.code("\n".join(made_by(run_of(name, one)) for name in one.runs), language="bash")
    links_of(there[:SHOWN])
    if len(there) > SHOWN:
        label = t("{count} more", count=len(there) - SHOWN)
        with st.expander(label, key=f"runs_of_{place}", on_change="rerun") as more:
            if more.open:
                links_of(there[SHOWN:])
    if away := [name for name in one.runs if name not in there]:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(t("{count} of these runs come with Anchorscope, without their weights.", count=len(away)))
            st.button(
                t("Copy them to my runs"), icon=":material/library_add:", key=f"take_{place}", type="tertiary",
                disabled=jobs.read_only(), on_click=take, args=(away,),
                help=t("Then they open on every page: curves, logit space, thresholds. They judge no new images."),
            )  # fmt: skip


def counts_here(name: str, one: Measured) -> bool:
    """Whether this run of a measurement is of the store, not of Anchorscope's own."""
    return any((r.run, r.data, r.words) == (name, one.images, one.recipe) and r.counts for r in every)


def run_of(name: str, one: Measured) -> Run:
    return Run((store if counts_here(name, one) else reproduce.SHIPPED) / name)


def take(names: list[str]):
    """Copies of the project's own runs, each whole or not at all; where one of its id is, it stays, and is named."""
    for name in names:
        with wording.explained():
            share.copy(Run(reproduce.SHIPPED / name), store)


def links_of(names: Iterable[str]):
    """Ways to each run: its pictures, its course, its row."""
    for name in names:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            address.link("home", wording.plain(name), "home", {"run": name})
            address.link("live", t("Live"), "monitoring", {"watched": name})
            address.link("runs", t("Runs"), "table_rows", {"runs_text": name})


def made_by(run: Run) -> str:
    """The command that makes a run."""
    record, one = run.record, run.recipe
    if "imported_from" in record:
        return plans.import_command(run)
    if one.method in ENSEMBLES:
        mean = "distances" if one.method == "distance_ensemble" else "softmax"
        return shell.command("ensemble", *(part["run"] for part in record.get("parts", [])), "--mean", mean)
    if one.id in {r.id for r in reproduce.grid()}:
        return reproduce.command(one)
    return min((plans.command(preset, one) for preset in recipes.PRESETS), key=len)


def bands(cell: Cell):
    """ROC curves over the runs of each measurement, in one picture."""
    if cell.scorer == reproduce.WITH_ODIN:
        return
    scorer = "gamma" if cell.scorer == reproduce.ON_REPORT else cell.scorer
    groups = {
        f"{n}: {', '.join(one.recipe.split(', ')[:2])}": ready
        for n, one in enumerate(cell.measured[:SHOWN], 1)
        if (ready := [run for name in one.runs if (run := run_of(name, one)).written])
    }
    if not groups:
        return
    drawn = {member.name: band for member in results.members(groups, scorer) if (band := compare.roc_band(member))}
    if drawn:
        spec = results.bands(drawn, t("knowns rejected"), t("unknowns caught"), "roc", controls.palette())
        st.markdown("**ROC**")
        st.echarts_chart(spec, key="cell_roc", height=360, alt=t("ROC curves of the measurements of this cell."))
        if any(len(group) > 1 for group in groups.values()):
            st.caption(t("Means over the runs of a group; the band is one standard deviation wide on either side."))


# --- what is missing -------------------------------------------------------------------------------------------------


def making(cell: Cell):
    if cell.scorer in (reproduce.ON_REPORT, reproduce.WITH_ODIN):
        st.markdown(t("This makes it; the networks take days without a GPU:"))
        st.code("\n".join(reproduce.report_commands(cell)), language="bash")
        return
    if not cell.wanted:
        if not cell.measured:
            st.caption(t("No run of this family is planned here."))
        return
    st.markdown(
        t("**The grid**: {there} of {all} runs of the preset {preset} are there.", all=len(cell.wanted),
          there=len(cell.wanted) - len(cell.missing), preset=reproduce.PRESET)
    )  # fmt: skip
    with st.popover(t("Commands of the grid"), icon=":material/terminal:"):
        st.code("\n".join(reproduce.command(one) for one in cell.wanted), language="bash")
    for name, state in cell.under_way:
        words = t("not evaluated") if state == reproduce.UNEVALUATED else t(state)
        st.caption(f"{wording.plain(name)}: {words}")
        if state == reproduce.UNEVALUATED:
            st.code(shell.command("eval", name, "--again"), language="bash")
    queued = {job.run for job in launch.jobs(jobs.store()) if job.kind == "train" and jobs.going(job)}
    left = [one for one in cell.to_train if one.id not in queued]
    if waiting := len(cell.to_train) - len(left):
        st.caption(t("{count} trainings are in the queue.", count=waiting))
        address.link("live", t("Watch them under Live"), "monitoring")
    if left:
        train(cell.dataset, left)


def train(dataset: str, left: list[Recipe]):
    """The button that trains what is missing: how long that takes, or why it cannot be done here."""
    there, why = holdings.here(dataset), ""
    if jobs.read_only():
        why = t("This is a show: nothing can be changed here.")
    elif not there:
        why = t("The images of {dataset} are not here.", dataset=dataset)
    device = jobs.devices()[-1]
    if there:
        if (seconds := estimate(left, device)) is not None:
            st.caption(
                t("About {time} in all on {device}, one after the other, by what a few steps took here.",
                  time=wording.span(seconds), device=device)
            )  # fmt: skip
        else:
            st.caption(t("How long that takes on this machine is not measured yet. This measures it:"))
            st.code(reproduce.command(left[0]).replace(" train ", " probe "), language="bash")
    st.button(
        t("Train what is missing ({count})", count=len(left)), icon=":material/play_arrow:", key="train_missing",
        disabled=bool(why), on_click=begin, args=(left, device),
    )  # fmt: skip
    if why:
        st.caption(why)
    if not there and not jobs.read_only():
        address.link("data", t("Get the images under Data and trials"), "database", {"data_view": "sets"})


def begin(left: list[Recipe], device: str):
    with wording.explained():
        jobs.train(left, device)


def estimate(left: list[Recipe], device: str) -> float | None:
    """Seconds that all of them take, where probes have measured it; None where they have not."""
    trials = {one.id: datasets.trial_of(one, holdings.row(one.dataset)) for one in left}
    took = {file: (probe.kept(file), some) for file, some in plans.probes(left, trials, device).items()}
    if not all(one for one, _ in took.values()):
        return None
    return sum(one.seconds(given) for one, some in took.values() for given in some)


page()
