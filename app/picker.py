"""The chosen run: how it is picked, whether it can be shown, and what is said where it cannot."""

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import streamlit as st

from app import address, controls, holdings, jobs, wording
from app.words import t
from cac_core import runs, shell
from cac_core.exchange import share, shelf
from cac_core.files import is_file, is_folder
from cac_core.recipe import IMPORTED
from cac_core.results import judge
from cac_core.runs import Broken, Run

# what pages keep that names classes, images or maps of one run
OF_ONE = ("pair", "triple", "hidden", "around", "marks", "further", "map", "cell", "moved_image", "example",
          "made_way")  # fmt: skip


def pick_run(page: str) -> Run | None:
    """The run picker of a page, with the state of the chosen run; None where the store is empty."""
    every = {run.id: run for run in runs.every(runs.store_of())}
    if not every:
        if why := runs.passed_over(runs.store_of()):
            st.caption(f":material/lock: {wording.told(why)}")
        return None
    begun = {name for name, run in every.items() if run.beginning}
    broken = [name for name, run in every.items() if name not in begun and problem_of(run)]
    called = names(every.values())
    # runs on the digits first: they need no data set, so their images can always be shown
    ids = sorted(every, key=lambda n: (n in broken, not every[n].written, not n.startswith("digits"), n))
    if (had := st.session_state.get("run")) not in (None, *ids):
        st.session_state.asked, st.session_state.asked_with, st.session_state.run = had, {"run": had}, ids[0]
        _forget()
    name = st.selectbox(
        t("Run"), ids, key="run", on_change=_picked, help=t("A trained network and its results."),
        format_func=lambda name: called[name],
    )  # fmt: skip
    if st.session_state.pop("picked", False):  # an entry of its own in the browser's history, so that Back undoes it
        address.go(page)
    # not bound to the address by Streamlit: that leaves out the first one, which tomorrow is another, and lets what was
    # chosen before win over what a link asks for
    address.follow(name, page)
    run = every[name]
    with st.container(horizontal=True, gap="small"):
        wording.badge("broken" if name in broken else run.state)
    if called[name] != name:
        st.caption(wording.plain(name))
    if name not in (*broken, *begun):
        recipe = run.recipe
        if recipe.backbone == IMPORTED:
            said = t("Outputs of another network, imported from {file}",
                     file=wording.plain(str(run.record.get("imported_from", ""))))  # fmt: skip
        else:
            said = t(
                "{method} on {dataset}, split {trial}, {backbone} network, {epochs}, seed {seed}",
                method=wording.plain(wording.method(recipe.method)),
                dataset=wording.plain(recipe.dataset),
                trial=wording.plain(holdings.trial_name((recipe.family, recipe.trial))),
                backbone=wording.plain(recipe.backbone),
                epochs=wording.epochs(recipe.epochs),
                seed=recipe.seed,
            )
            if recipe.hyper:
                said += t(", ") + wording.plain(wording.options(recipe.hyper))
        st.caption(said)
        if control := wording.control(recipe):
            st.caption(f":material/balance: {control}")
    if others := [n for n in broken if n != name]:
        st.caption(f":material/error: {t('Broken: {names}', names=wording.listed(others, 5))}")
    return run


def asked_for(name: str | None) -> bool:
    """Choose the run that an address names, and say whether it is another than before; ready says where it is none."""
    state, before = st.session_state, st.session_state.get("run")
    if name is None:
        return False
    if missing(name):
        state.asked, state.asked_with = name, st.query_params.to_dict()
        return False
    state.run = name
    state.pop("asked", None)
    if before not in (None, name):
        _another_run()
    return before not in (None, name)


def missing(name: str | None) -> bool:
    """Whether a run of this name is asked for and not here."""
    return name is not None and not (runs.ID.fullmatch(name) and is_folder(runs.store_of() / name))


def offer_bundled() -> None:
    """The way to a run that comes with Anchorscope, where one is asked for that is not in the store."""
    state = st.session_state
    asked = state.get("asked")
    if not missing(asked) or not runs.ID.fullmatch(asked) or not is_file(runs.BUNDLED / asked / "recipe.json"):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(t("The run **{run}** comes with Anchorscope.", run=wording.plain(asked)), width="content")
        if st.button(t("Copy it to my runs"), icon=":material/library_add:", disabled=jobs.read_only()):
            with wording.explained():
                share.copy(Run(runs.BUNDLED / asked), runs.store_of())
                page = state.pop("arrived")
                state.pop("linked", None)  # what the link says is read again, for its own run
                address.go(page or "home", state.asked_with)


def _picked() -> None:
    st.session_state.picked = True
    _another_run()


def _another_run() -> None:
    st.session_state.pop("asked", None)
    _forget()


def _forget() -> None:
    """What was set for one run means nothing for another."""
    with contextlib.suppress(ValueError):
        st.session_state.scorer = judge.default_of(chosen_run())
    controls.another_scorer()
    for name in OF_ONE:
        st.session_state.pop(name, None)


def names(every: Iterable[Run]) -> dict[str, str]:
    """What lists of runs call each: its title, with its id where another is called the same; else its id.

    Where ids differ in their digest alone, the options of the method come first: the end of an id is often cut.
    """
    runs_ = {run.id: run for run in every}
    stems = Counter(map(_stem, runs_))
    titles = {
        name: _title(run) or (f"{said} · {name}" if stems[_stem(name)] > 1 and (said := _options(run)) else name)
        for name, run in runs_.items()
    }
    count = Counter(titles.values())
    return {name: title if count[title] == 1 else f"{title} ({name})" for name, title in titles.items()}


def _stem(name: str) -> str:
    return re.sub("-[0-9a-f]{8}$", "", name)


def _options(run: Run) -> str:
    return _options_of(str(run.path), _stamp(run.path / "recipe.json"))


@st.cache_data(max_entries=1000, show_spinner=False)
def _options_of(path: str, stamp: int) -> str:
    try:
        return wording.options(Run(Path(path)).recipe.hyper)
    except Broken:
        return ""


def _title(run: Run) -> str:
    try:
        return _title_of(str(run.path), (run.path / shelf.FILE).stat().st_mtime_ns)
    except OSError:
        return ""


@st.cache_data(max_entries=1000, show_spinner=False)
def _title_of(path: str, stamp: int) -> str:
    return shelf.read(Run(Path(path))).title


def problem_of(run: Run) -> str:
    """What keeps a run from being shown, read again only where what that rests on has changed."""
    stamps, kept = tuple(_stamp(run.path / name) for name in RESTS_ON), _problems()
    before = kept.get(str(run.path))
    if before is None or before[0] != stamps:
        before = kept[str(run.path)] = stamps, run.problem()
    return before[1]


@st.cache_resource(max_entries=1, show_spinner=False)
def _problems() -> dict[str, tuple[tuple[int, ...], str]]:
    """By path what is wrong with a run, beside the stamps that this was read under."""
    return {}


RESTS_ON = ("", "outputs", "maps", "recipe.json", "status.json", "report.json")  # a folder's time tells of a link in it


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def chosen_run() -> Run:
    return Run(runs.store_of() / st.session_state.run)


def empty_store() -> None:
    offer_bundled()
    st.info(
        t("There is no trained network yet. This trains one in half a minute, without internet:"),
        icon=":material/school:",
    )
    st.code(shell.command("train", "--dataset", "digits"), language="bash")
    address.link("new", t("New run"), "add")
    own_photos()
    st.markdown(t("Then reload this page. Runs are looked for in:"))
    st.code(str(runs.store_of().absolute()), language=None)
    st.button(t("Look again"), icon=":material/refresh:")


def own_photos() -> None:
    """The way to a network on pictures of one's own."""
    address.link("data", t("**Train it on your own photos**"), "add_photo_alternate", {"data_view": "own"})
    st.caption(t("From a zip, a folder or the camera to a network that rejects what it does not know. Ten pictures a "
                 "class will do."))  # fmt: skip


def ready(run: Run) -> bool:
    """Whether the run can be shown; where not, says why and what to do."""
    if missing(asked := st.session_state.get("asked")):
        said = t("There is no run called “{asked}”; this is {run}.", asked=wording.plain(asked[:80]), run=run.id)
        said = f"{said} {in_trash(asked)}"
        if st.session_state.get("passed_over") == asked:
            said += " " + t(
                "The score, its options and the θ that the link sets for that run are not taken for this one."
            )
        st.warning(said, icon=":material/info:")
        offer_bundled()
    if run.beginning:
        st.fragment(_progress, run_every="2s")(run)
        return False
    if problem := problem_of(run):
        wording.explain(Broken(problem))
        address.link("runs", t("To the runs"), "table_rows")
        return False
    if run.written:
        return True
    status = run.status
    if status["state"] in runs.ALIVE:
        st.fragment(_progress, run_every="2s")(run)
        return False
    if status["state"] in ("failed", "lost", "stopped"):
        st.warning(
            t("This run is {state} and has nothing to show yet.", state=t(status["state"]))
            + f" {wording.told(status.get('reason') or '')}",
            icon=":material/info:",
        )
        st.markdown(t("To go on with it:"))
        st.code(shell.command("train", "--resume", run.path), language="bash")
        address.link("live", t("Or go on under Live"), "monitoring", {"watched": run.id})
        return False
    run.outputs("train")  # says which outputs are missing, and the command that writes them
    run.outputs("validation")
    run.outputs("test")
    return False


def in_trash(name: str) -> str:
    """Where a run that was deleted can be had again; empty for what is not in the trash."""
    if name not in {one.id for one in shelf.trashed(runs.store_of())}:
        return ""
    return t("It was deleted; under Runs it can be brought back from the trash.")


def _progress(run: Run) -> None:
    if run.state not in runs.ALIVE:
        st.rerun()
    if run.beginning:
        st.info(t("It is being made ready…"), icon=":material/hourglass_top:")
    else:
        epochs, total = run.epochs(), run.recipe.epochs + run.recipe.fine_epochs
        done = epochs[-1]["epoch"] if epochs else 0
        still = t("This run is still training. Its results appear here when it has ended.")
        st.info(still, icon=":material/hourglass_top:")
        st.progress(min(done / total, 1.0), t("Epoch {done} of {total}", done=done, total=total))
    address.link("live", t("Watch it under Live"), "monitoring", {"watched": run.id})
