"""The chosen run: how it is picked, whether it can be shown, and what is said where it cannot."""

import contextlib
from pathlib import Path

import streamlit as st

from app import controls, wording
from app.words import t
from cac_core import runs
from cac_core.runs import Broken, Run
from cac_core.scoring.scorers import default_for

TRAIN = "python -m cac_core train --dataset digits"


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
        wording.badge(state)
    if name not in broken:
        recipe = run.recipe
        st.caption(
            t(
                "{method} on {dataset}, {family} trial {trial}, {backbone} network, {epochs} epochs, seed {seed}",
                method=wording.plain(recipe.method),
                dataset=wording.plain(recipe.dataset),
                family=wording.plain(recipe.family),
                trial=wording.plain(recipe.trial),
                backbone=wording.plain(recipe.backbone),
                epochs=recipe.epochs,
                seed=recipe.seed,
            )
        )
    if others := [n for n in broken if n != name]:
        st.caption(f":material/error: {t('Broken: {names}', names=wording.listed(others, 5))}")
    return run


def _another_run() -> None:
    """What was set for one run means nothing for another."""
    st.session_state.pop("asked", None)
    with contextlib.suppress(ValueError):
        st.session_state.scorer = default_for(chosen_run().recipe.method)
    controls.another_scorer()


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
        said = t("There is no run called “{asked}”; this is {run}.", asked=wording.plain(asked[:80]), run=run.id)
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
            + f" {wording.plain(str(status.get('reason') or ''))}",
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
