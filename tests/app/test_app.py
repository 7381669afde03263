"""Every page with every kind of run: right numbers, plain words, never a traceback."""

import base64
import importlib
import io
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from streamlit.testing.v1 import AppTest

from app import charts, feeds, links, thumbnails, verdicts, wording
from cac_core import __main__, recipe, runs, shell
from cac_core.data import datasets, images
from cac_core.exchange import shelf
from cac_core.jobs import launch
from cac_core.results import judge, quality, stand_ins, sweep
from cac_core.runs import Run
from cac_core.scoring.scorers import judge_of
from cac_core.training import loop
from tests.app.seen import sheet_of
from tests.exchange.test_import_outputs import flat, made
from tests.waiting import LONG

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]
PAGES = {
    "home": None, "space": "app/pages/space.py", "thresholds": "app/pages/thresholds.py",
    "images": "app/pages/images.py",
    "sweep": "app/pages/sweep.py",
    "try": "app/pages/try.py",
}  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A data root, and a store with short trainings by name: cac, cross_entropy, three (classes), all (no unknown)."""
    place = tmp_path_factory.mktemp("trained")
    three = {"family": "custom", "trial": "three", "known": (0, 1, 7), "unknown": (2, 3)}
    every = {"family": "custom", "trial": "all", "known": tuple(range(10)), "unknown": ()}
    kinds = {"cac": {}, "cross_entropy": {"method": "cross_entropy"}, "three": three, "all": every}
    made = {}
    for name, fields in kinds.items():
        given = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=1, **fields)
        made[name] = loop.train(given, place / "runs", place / "data", device="cpu")
    return place / "data", made


@pytest.fixture
def app(trained, store, monkeypatch):
    """app(page="home", run=..., **query) opens a page over a store of copies of the named trainings."""
    root, made = trained
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(root))

    def open_page(*names: str, page: str = "home", **query: str) -> AppTest:
        for name in names:
            shutil.copytree(made[name].path, store / name.replace("_", "-"), dirs_exist_ok=True)
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
        for key, value in query.items():
            at.query_params[key] = value
        at.run()
        return at.switch_page(PAGES[page]).run() if PAGES[page] else at

    return open_page


def text(at: AppTest) -> str:
    """All that is written on the page, as it is read: without the escapes of Markdown."""
    parts = [*at.title, *at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.code, *at.text, *at.subheader]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    return at


NUMBERS = {
    "Knowns kept": "knowns_kept", "Knowns kept and named right": "knowns_kept_and_right",
    "Unknowns caught": "unknowns_caught",
}  # fmt: skip


def shown(at: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in at.metric}


def tables(at: AppTest) -> AppTest:
    """Thresholds with the tables under its picture open."""
    at.session_state["lab_tables"] = True
    return fine(at.run())


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def on_sheet(at: AppTest) -> list[dict]:
    """The pictures on the contact sheet of Try, as the browser is told of them."""
    return sheet_of(at)["rows"]


@pytest.fixture(scope="session")
def digit(trained):
    test = datasets.load("digits", trained[0])["test"]
    return png(test.pixels[np.flatnonzero(test.classes == 0)[0], :, :, 0])


# --- the sweep -------------------------------------------------------------------------------------------------------


@pytest.fixture
def swept(app, trained, store):
    """A store with one run of cross-entropy and its sweep."""
    root, made = trained
    run = Run(store / "cross-entropy")
    shutil.copytree(made["cross_entropy"].path, run.path)
    sweep.sweep(run, root, temperatures=(1.0, 100.0), magnitudes=(0.0, 0.05), most=60, device="cpu")
    return run


def test_the_sweep_has_the_temperature_in_the_score_or_not(app, swept):
    report, at = sweep.report(swept), app(page="sweep", odin="100", epsilon="0.05", run="cross-entropy")
    cell = report["cells"][3]["scores"]
    for score in ("msp", "msp_at_1", "gamma"):
        at.session_state["sweep_score"] = score
        said = text(fine(at.run()))
        assert "**This cell**: T = 100, ε = 0.05" in said
        assert f"AUROC **{charts.percent(cell[score]['auroc'])}**, {100 * cell[score]['gain']:+.2f}" in said
        assert f"{charts.percent(cell[score]['pseudo_auroc'])} where each known class in turn plays the unknown" in said
        assert "Chosen without any unknown" in said
    assert f"The choice looked at 60 of {len(swept.outputs('validation'))} validation images" in said
    help_text = "\n".join(part.value for part in at.markdown)
    assert "the temperature inside γ's softmin is another quantity" in help_text


def test_the_sweep_opens_on_the_chosen_cell_also_for_who_comes_from_home(app, swept):
    at = fine(app(page="home", run="cross-entropy", scorer="gamma"))
    assert at.selectbox(key="epsilon").value == 0.0  # Home has these, at what they begin with
    report, at = sweep.report(swept), fine(at.switch_page("app/pages/sweep.py").run())
    chosen = report["chosen"]["gamma"]
    assert f"**This cell**: T = {chosen['temperature']:g}, ε = {chosen['magnitude']:g}" in text(at)
    at.session_state["cell"] = 100.0
    assert "**This cell**: T = 100, ε = 0" in text(fine(at.run()))
    at.session_state["cell"] = None
    assert f"**This cell**: T = {chosen['temperature']:g}, ε = {chosen['magnitude']:g}" in text(fine(at.run()))


def test_cells_that_are_as_good_by_the_blind_choice_are_counted(app, swept):
    with np.load(swept.path / "sweep.npz") as stored:
        arrays = dict(stored)
    arrays["blind"][:, :, :, 0] = 0.75
    arrays["blind"][:, :, :, 1] = 0.5
    runs.write_npz(swept.path / "sweep.npz", **arrays)
    (swept.path / "sweep.json").unlink(missing_ok=True)
    said = text(fine(app(page="sweep", run="cross-entropy", scorer="gamma")))
    assert "2 cells are as good by this; of them the one nearest to the plain score." in said


def test_a_sweep_of_the_older_definition_is_named_so_and_offered_anew(app, swept):
    with np.load(swept.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name not in ("format", "blind", "sample")}
    runs.write_npz(swept.path / "sweep.npz", **arrays)
    at = fine(app(page="sweep", run="cross-entropy"))
    said = text(at)
    assert (
        "made by an older definition, whose choice was not blind" in said and "Chosen without any unknown" not in said
    )
    assert any(button.label == "Start the sweep" for button in at.button)
    assert f"For the choice, {len(swept.outputs('validation'))} validation images are moved again" in said


# --- every page, every run -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", ["cac", "cross_entropy", "three", "all"])
def test_a_finished_run_is_shown(app, page, kind):
    at = fine(app(kind, page=page))
    assert not at.error and len(at.title) == 1
    at_theta = judge.report(Run(runs.store_of() / kind.replace("_", "-")))["at_theta"]
    if page == "home":
        assert shown(at) == {title: charts.percent(at_theta[key]) for title, key in NUMBERS.items()}
    if page == "thresholds":
        assert f"keeps {charts.percent(at_theta['knowns_kept'])} of the knowns" in text(at)
        assert shown(tables(at)) == {title: charts.percent(at_theta[key]) for title, key in NUMBERS.items()}


@pytest.mark.parametrize("kind", ["cac", "outputs", "unevaluated", "none"])
def test_every_command_on_a_page_runs_in_a_shell_that_knows_of_no_variables(app, trained, store, monkeypatch, kind):
    """It names the store and the data root, where it needs them, or the run by its path."""
    at = app("cac")
    if kind == "outputs":
        shutil.rmtree(store / "cac")
        np.savez(store.parent / "new.npz", **flat())
        made(store.parent / "new.npz", store)
    if kind == "unevaluated":
        (store / "cac" / "report.json").unlink()
        shutil.rmtree(store / "cac" / "outputs")
    if kind == "none":
        shutil.rmtree(store / "cac")
    pages = sorted(file.stem for file in (HERE / "app" / "pages").glob("*.py"))
    lines = {line for page in pages for line in commands_on(fine(at.switch_page(f"app/pages/{page}.py").run()))}
    monkeypatch.delenv("ANCHORSCOPE_RUNS")
    monkeypatch.delenv("ANCHORSCOPE_DATA")
    assert lines
    for line in lines:
        name, *rest = words = shlex.split(line)[3:]
        asked, _ = __main__._parser().parse_known_args(words)
        if "--onnx" in rest and name != "export":
            continue
        assert name in shell.NO_DATA or asked.data == str(trained[0]), line
        of = next((word for word in (getattr(asked, "run", None), getattr(asked, "resume", None)) if word), "RUN")
        if of != "RUN":
            assert runs.find(of, runs.store_of(asked.runs)).path.parent == store, line
        else:
            assert name in shell.NO_RUNS or asked.runs == str(store), line


def commands_on(at: AppTest) -> list[str]:
    texts = [*at.code, *at.caption, *at.markdown, *at.multiselect]
    said = "\n".join(part.help if part.type == "multiselect" else part.value for part in texts)
    return re.findall(r"python -m cac_core [^`\n]+", said)


# --- what theta rests on ---------------------------------------------------------------------------------------------


WITH_THETA = ("home", "space", "thresholds", "try")


@pytest.mark.parametrize("page", WITH_THETA)
def test_theta_says_by_which_images_it_keeps_what(app, trained, page):
    n = len(trained[1]["cac"].outputs("validation"))
    assert f"keeps 95 % of new knowns on average, by {n} images held out of training." in text(app("cac", page=page))


@pytest.mark.parametrize("page", WITH_THETA)
def test_theta_of_images_that_were_trained_on_promises_nothing(app, store, page):
    """A run imported before its validation images were told from those it was trained on."""
    app("cac", page=page)
    run = Run(store / "cac")
    record = {name: value for name, value in run.record.items() if name != "validated_on"}
    runs.write_json(run.path / "recipe.json", record | {"trains_on": "all"})
    said = text(fine(app(page=page)))
    assert "images that the network was trained on, and fewer of new knowns" in said
    assert f"python -m cac_core eval {run.id} --again" in said
    assert "of new knowns on average" not in said and "Keep 95 % of new knowns" not in said


def test_theta_that_too_few_images_set_says_how_many_are_missing(app, trained):
    n = len(trained[1]["cac"].outputs("validation"))
    said = text(fine(app("cac", page="thresholds", kept="99.9")))
    assert f"the largest score of {n} images held out of training" in said and f"which takes {999 - n} more" in said
    assert "no number of images promises 100 %" in text(fine(app("cac", page="thresholds", kept="100")))


def test_a_theta_of_its_own_for_each_class_is_counted_once_and_says_where_it_cannot_be_had(app, trained):
    run = trained[1]["cac"]
    at = fine(app("cac", page="thresholds", each="true", kept="90"))
    assert "θ = 0: for each class: keeps 90 % of new knowns on average" in text(at)
    judge_one = judge_of("gamma", run.outputs("train"))
    validation, test = judge_one(run.outputs("validation")), judge_one(run.outputs("test"))
    moved = judge.beyond(judge.thetas_at(0.9, validation, 6), test)
    kept = (moved.score[run.outputs("test").labels >= 0] <= 0).mean()
    assert f"keeps {charts.percent(kept)} of the knowns" in text(at)
    at = fine(app("cac", page="thresholds", each="true", kept="99"))
    few = ", ".join(run.known_names[c] for c in judge.too_few(0.99, validation, 6))
    assert f"Too few are nearest to {few}: there the θ of all is taken." in text(at)


@pytest.mark.parametrize("state", ["failed", "lost"])
@pytest.mark.parametrize("page, kind", [("sweep", "sweep"), ("space", "map")])
def test_work_on_a_run_that_went_wrong_is_told_once(app, store, page, kind, state):
    """One whose process is gone has no state of its own in its file: it is found out."""
    (store / "cac").mkdir(exist_ok=True, parents=True)
    at = app("cac", page=page, run="cac", **({"view": "umap"} if page == "space" else {}))
    job = launch.submit(store, kind, ["cac"], run="cac")
    record = json.loads(job.path.read_text("utf-8"))
    runs.write_json(job.path, record | {"state": state, "reason": "It was killed for memory."})
    at = fine(at.run())
    assert any("killed for memory" in error.value for error in at.error)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_names_the_command(app, page):
    at = fine(app(page=page))
    assert shell.command("train", "--dataset", "digits") in text(at) and "Ten pictures a class will do" in text(at)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("torn", ['{"recipe": ', "[]", '{"recipe": {}, "classes": {}, "prepare": {}}', ""])
def test_a_broken_run_is_explained(app, store, page, torn):
    (store / "broken").mkdir(parents=True)
    if torn:
        (store / "broken" / "recipe.json").write_text(torn)
    at = fine(app("cac", page=page, run="broken"))
    assert len(at.error) == 1 and "recipe.json" in text(at)
    assert at.selectbox(key="run").options == ["cac", "broken"]
    at = fine(at.selectbox(key="run").set_value("cac").run())
    assert not at.error and "Broken: broken" in text(at)


@pytest.mark.parametrize("page", PAGES)
def test_a_running_run_shows_how_far_it_is(app, store, page):
    app("cac")
    shutil.rmtree(store / "cac" / "outputs")
    runs.write_json(store / "cac" / "status.json", {"state": "running", **runs.process_now()})
    assert "still training" in text(fine(app(page=page, run="cac")))


def begun(store, name="begun") -> Run:
    """A run as its process leaves it while it still reads the images."""
    (store / name).mkdir(parents=True)
    runs.write_json(store / name / "status.json", {"state": "starting", **runs.process_now()})
    return Run(store / name)


@pytest.mark.parametrize("page", PAGES)
def test_a_run_that_begins_is_starting_and_not_broken(app, store, page):
    begun(store)
    at = fine(app("cac", page=page, run="begun"))
    assert not at.error and "It is being made ready" in text(at)
    assert "starting" in text(at) and "broken" not in text(at).lower()
    shutil.rmtree(store / "begun")  # refused: its process has ended and taken it away
    assert "There is no run called “begun”; this is cac" in text(fine(at.run()))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["failed", "stopped", "running"])  # running, but by no process there is
def test_a_run_that_ended_early_says_how_to_go_on(app, store, page, state):
    app("cac")
    shutil.rmtree(store / "cac" / "outputs")
    status = {"state": state, "reason": "*no* memory", **runs.process_now(), "process_started": 0}
    runs.write_json(store / "cac" / "status.json", status)
    assert "train --resume" in text(fine(app(page=page)))


@pytest.mark.parametrize("page", PAGES)
def test_missing_or_damaged_outputs_name_the_command(app, store, page):
    app("cac")
    (store / "cac" / "outputs" / "test.npz").write_bytes(b"nothing")
    assert "cac_core eval" in text(fine(app(page=page)))
    (store / "cac" / "outputs" / "test.npz").unlink()
    assert "cac_core eval" in text(fine(app(page=page)))


@pytest.mark.parametrize("page", ["home", "try"])
def test_without_the_images_the_numbers_stay(app, store, page):
    app("cac")
    record = json.loads((store / "cac" / "recipe.json").read_text())
    runs.write_json(store / "cac" / "recipe.json", record | {"data": "0123456789abcdef"})
    at = fine(app(page=page))
    assert not at.error and "not those that this run was trained on" in text(at)
    record["recipe"]["dataset"] = "gone"
    runs.write_json(store / "cac" / "recipe.json", record)
    assert "There is no data set 'gone'" in text(fine(app(page=page)))


# --- the state of a link ---------------------------------------------------------------------------------------------


def test_a_link_says_which_run_and_theta(app):
    at = fine(app("cac", "three", run="three", theta="0.5", scorer="distance"))
    assert at.selectbox(key="run").value == "three"
    run = Run(runs.store_of() / "three")
    report = judge.report(run, "distance", theta=0.5)
    assert shown(at)["Knowns kept"] == charts.percent(report["at_theta"]["knowns_kept"])


@pytest.mark.parametrize("page", [name for name in PAGES if PAGES[name]])
def test_a_link_opens_its_run_in_a_session_that_has_chosen_another(app, page):
    at = fine(app("cac", "three"))
    at = fine(at.selectbox(key="run").set_value("three").run())
    at = fine(at.number_input(key="theta").set_value(0.25).run())
    at.query_params["run"] = "cac"
    at = fine(at.switch_page(PAGES[page]).run())
    assert at.selectbox(key="run").value == "cac" and at.session_state["theta"] is None
    at = fine(at.selectbox(key="run").set_value("three").run())  # the address says "cac" for a moment still
    assert at.selectbox(key="run").value == "three" and fine(at.run()).selectbox(key="run").value == "three"
    at.query_params.clear()  # as the links of the navigation do
    assert fine(at.switch_page("app/pages/runs.py").run()).selectbox(key="run").value == "three"


def test_what_a_link_says_of_its_run_goes_with_it(app):
    at = fine(app("cac", "three", page="thresholds", run="three", theta="0.25"))
    assert at.number_input(key="theta").value == 0.25
    at.query_params |= {"run": "cac", "theta": "0.5", "kept": "90"}
    at = fine(at.switch_page(PAGES["space"]).run())
    assert at.selectbox(key="run").value == "cac"
    assert (at.session_state["theta"], at.session_state["kept"]) == (0.5, 90)


def test_a_link_to_a_run_that_is_gone_says_so_and_leaves_the_chosen_one(app):
    at = fine(app("cac", "three"))
    at = fine(at.selectbox(key="run").set_value("three").run())
    at.query_params["run"] = "gone"
    at = fine(at.switch_page(PAGES["thresholds"]).run())
    assert at.selectbox(key="run").value == "three" and "There is no run called “gone”; this is three" in text(at)
    at = fine(at.selectbox(key="run").set_value("cac").run())
    assert "There is no run called" not in text(at)


def test_the_picker_calls_runs_by_their_titles_and_tells_twins_apart(app, store):
    app("cac", "three", "all")
    for name in ("cac", "all"):
        shelf.write(Run(store / name), shelf.Shelf(title="<b>Mine</b> *a*"))
    at = fine(app(run="all"))
    assert at.selectbox(key="run").options == ["<b>Mine</b> *a* (all)", "<b>Mine</b> *a* (cac)", "three"]
    assert at.selectbox(key="run").value == "all" and "all" in [c.value for c in at.sidebar.caption]
    shelf.write(Run(store / "cac"), shelf.Shelf(title="three"))
    assert fine(at.run()).selectbox(key="run").options == ["<b>Mine</b> *a*", "three (cac)", "three (three)"]


@pytest.mark.parametrize("page", PAGES)
def test_the_address_names_the_run_the_default_one_too(app, page):
    at = fine(app("cac", "three", page=page))
    said = {}
    for part in at.get("bidi_component"):
        data = json.loads(part.proto.json or "{}")
        said |= data.get("parameters", {}) if isinstance(data, dict) else {}
    assert said["run"] == "cac"


@pytest.mark.parametrize("page", PAGES)
def test_nonsense_in_a_link_is_said_and_passed_over(app, page):
    at = fine(app("cac", run="<b>nothing</b>"))
    assert "There is no run called “<b>nothing</b>”" in text(at)
    at = fine(app("cac", theta="lots", scorer="best", kept="-7"))
    assert "lots" in text(at)
    assert shown(at)["Knowns kept"] == shown(fine(app("cac")))["Knowns kept"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "value", ["", "-1", "1e999", "<script>alert(1)</script>", "../../etc/passwd", "🙂", "null", "0x10"]
)
def test_nonsense_in_any_part_of_a_link_does_no_harm(app, page, value):
    at = fine(app("cac", page=page, **dict.fromkeys([*links.LINKS, "lang", "other"], value)))
    assert not at.error and len(at.title) == 1


@pytest.mark.parametrize("page", PAGES)
def test_a_run_that_is_deleted_while_it_is_shown_is_said_to_be_gone(app, store, page):
    at = fine(app("cac", "three", page=page, run="cac"))
    trashed = shelf.delete(Run(store / "cac"))
    at = fine(at.run())
    assert "It was deleted; under Runs it can be brought back" in text(at)
    assert at.selectbox(key="run").options == ["three"] and len(at.title) == 1
    assert "There is no run called “cac”; this is three" in text(at)
    shelf.restore(trashed)
    assert "There is no run called" not in text(fine(at.run()))


@pytest.mark.parametrize("page", ["home", "thresholds"])
def test_outputs_that_are_rewritten_while_they_are_shown_are_read_again(app, store, page):
    at = fine(app("cac", page=page))
    run = Run(store / "cac")
    with np.load(run.path / "outputs" / "test.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["logits"] = arrays["logits"] * 0 + 1
    runs.write_npz(run.path / "outputs" / "test.npz", **arrays)
    at = fine(at.run())
    at = tables(at) if page == "thresholds" else at
    at_theta = judge.report(run)["at_theta"]
    assert shown(at) == {title: charts.percent(at_theta[key]) for title, key in NUMBERS.items()}


def test_names_of_classes_stay_text_on_every_page(app, store):
    trap = "<img src=x onerror=alert(1)> **b** $x$"
    app("cac")
    record = json.loads((store / "cac" / "recipe.json").read_text())
    record["classes"]["names"][0] = trap
    runs.write_json(store / "cac" / "recipe.json", record)
    for page in PAGES:
        at = fine(app(page=page, run="cac"))
        written = [str(e.value) for e in (*at.markdown, *at.caption, *at.subheader)]
        assert not any("<img" in value.replace("\\<", "") for value in written)


def test_two_hundred_and_one_files_are_cut_to_two_hundred_and_a_bomb_is_refused(app, digit):
    at = fine(app("cac", page="try"))
    wide = png(np.zeros((2, 40_000), np.uint8))
    files = [(f"{i}.png", digit, "image/png") for i in range(199)]
    at.file_uploader(key="files").set_value(
        [("tool.png", b"MZ" + bytes(900), "image/png"), ("wide.png", wide, "image/png"), *files]
    )
    at = fine(at.run())
    assert "201 files are too many" in text(at) and "**198** of 200 judged" in text(at)
    failed = {row["name"]: row["error"] for row in on_sheet(at) if row["error"]}
    assert set(failed) == {"tool.png", "wide.png"} and "too slim" in failed["wide.png"]
    assert len({row["mark"] for row in on_sheet(at)}) == 200  # also of the same picture many times


@pytest.mark.parametrize("theta", ["nan", "inf", "-1e300", "1e300"])
@pytest.mark.parametrize("page", PAGES)
def test_extreme_thetas_do_no_harm(app, page, theta):
    assert not fine(app("cac", page=page, theta=theta)).error


def test_another_run_forgets_theta_and_scorer(app):
    at = fine(app("cac", "cross_entropy", theta="0.5", scorer="distance"))
    at = fine(at.selectbox(key="run").set_value("cross-entropy").run())
    run = Run(runs.store_of() / "cross-entropy")
    assert at.selectbox(key="scorer").value == "msp" and at.number_input(key="theta").value is None
    assert shown(at)["Unknowns caught"] == charts.percent(judge.report(run)["at_theta"]["unknowns_caught"])


# --- theta -----------------------------------------------------------------------------------------------------------


def test_theta_moves_the_numbers(app):
    at = fine(app("cac"))
    run = Run(runs.store_of() / "cac")
    for theta in (max(verdicts.judged(run, "gamma").scale.choices()), 0.0):
        at.number_input(key="theta").set_value(theta).run()
        kept = judge.report(run, theta=at.number_input(key="theta").value)["at_theta"]["knowns_kept"]
        assert shown(fine(at))["Knowns kept"] == charts.percent(kept) == charts.percent(1.0 if theta else 0.0)
    at = fine(at.button(key="by_rule").click().run())
    assert shown(at)["Knowns kept"] == charts.percent(judge.report(run)["at_theta"]["knowns_kept"])
    at = fine(at.switch_page("app/pages/try.py").run())
    at = fine(at.select_slider(key="slide").set_value(max(verdicts.judged(run, "gamma").scale.choices())).run())
    assert shown(fine(at.switch_page("app/pages/home.py").run()))["Knowns kept"] == charts.percent(1.0)


def test_theta_goes_from_page_to_page(app):
    at = fine(app("cac"))
    at.number_input(key="theta").set_value(0.25).run()
    numbers = shown(at)
    at = fine(at.switch_page(PAGES["thresholds"]).run())
    assert at.number_input(key="theta").value == 0.25 and shown(tables(at)) == numbers


def test_scores_are_compared_and_an_oracle_can_be_used(app):
    at = tables(fine(app("cac", page="thresholds")))
    run = Run(runs.store_of() / "cac")
    for scorer in ("distance", "msp", "max_logit", "energy"):
        at = fine(at.selectbox(key="scorer").set_value(scorer).run())
        assert shown(at)["Unknowns caught"] == charts.percent(judge.report(run, scorer)["at_theta"]["unknowns_caught"])
    at = fine(at.button(key="rule_youden").click().run())
    best = judge.report(run, "energy")["oracle_thetas"]["youden"]
    assert at.number_input(key="theta").proto.placeholder == charts.number(best) and not at.error
    at = fine(at.selectbox(key="scorer").set_value("gamma").run())
    assert at.number_input(key="theta").value is None
    at = fine(at.segmented_control(key="centres").set_value("anchors").run())
    caught = judge.report(run, "gamma", centres="anchors")["at_theta"]["unknowns_caught"]
    assert shown(at)["Unknowns caught"] == charts.percent(caught)


# --- an image --------------------------------------------------------------------------------------------------------


def test_an_image_is_judged_as_the_command_line_judges_it(app, trained, digit):
    from cac_core.results import evaluate

    at = fine(app("cac", page="try"))
    at = fine(at.file_uploader(key="files").upload("zero.png", digit, "image/png").run())
    run = Run(runs.store_of() / "cac")
    prepared = images.prepare(digit, run.row)
    logits, features = evaluate.load(run, "cpu").outputs(prepared.pixels[None])
    (said,) = judge.said_of(run, logits, features, "gamma")
    heading = "Unknown" if said["decision"] == judge.UNKNOWN else f"Known: {said['decision']}"
    assert heading in text(at) and f"**{charts.number(said['score'])}**" in text(at) and "zero.png" in text(at)
    assert not at.error


def test_a_broken_file_stops_no_other_and_names_stay_text(app, digit):
    at = fine(app("cac", page="try"))
    files = {
        "<img src=x onerror=alert(1)>.png": digit,
        "**bold**.png": b"no image",
        "cut.png": digit[:60],
        "e.png": b"",
    }
    at.file_uploader(key="files").set_value([(name, bits, "image/png") for name, bits in files.items()])
    at = fine(at.run())
    assert "**1** of 4 judged" in text(at)
    assert [row["name"] for row in on_sheet(at)] == list(files)
    assert [row["name"] for row in on_sheet(at) if row["error"]] == list(files)[1:]
    at.session_state["own_open"] = on_sheet(at)[2]["mark"]
    at = fine(at.run())
    assert len(at.error) == 1 and [t.value for t in at.text] == ["cut.png"]
    written = [e.value for e in (*at.markdown, *at.caption, *at.subheader)]
    assert not any("onerror" in value or "bold" in value for value in written)


def test_what_is_not_read_and_what_is_read_in_part_say_so_on_the_sheet(app, digit):
    frames, file = [Image.open(io.BytesIO(digit)).convert("L").rotate(turn) for turn in (0, 90)], io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    heic = b"\0\0\0\x18ftypheic" + bytes(40)
    at = app("cac", page="try")
    assert {".heic", ".gif"} <= set(at.file_uploader(key="files").proto.type)
    given = {"a.heic": heic, "b.gif": file.getvalue(), "c.png": digit}
    at.file_uploader(key="files").set_value([(name, bits, "image/x") for name, bits in given.items()])
    heic, gif, png = on_sheet(fine(at.run()))
    assert heic["error"].startswith("HEIC images are not read; save it as JPEG")
    assert (gif["error"], gif["note"], png["note"]) == ("", "the first of 2 frames", "")


def test_examples_need_no_upload(app):
    at = fine(app("cac", page="try"))
    first = next(b for b in at.button if str(b.key).startswith("example_"))
    assert f"in truth {first.label}".replace("\\", "") in text(fine(first.click().run()))


# --- pictures that the app shows, dropped in again -------------------------------------------------------------------


def png_of(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_small_pictures_of_a_feed_are_the_images(app, trained):
    app("cac")
    run = Run(runs.store_of() / "cac")
    every = feeds.rows(run)
    atlas, tile, tiles = feeds._atlas(run, every, datasets.root_of())
    sheet, parts = Image.open(io.BytesIO(atlas)).convert("L"), datasets.load("digits", datasets.root_of())
    assert tile == 16 and tiles == math.isqrt(len(every.outputs) - 1) + 1
    for n in range(0, len(every.outputs), 7):
        x, y = n % tiles * tile, n // tiles * tile
        for side in (tile, 44, 96, 104, 208):  # as drawSprite enlarges it, on screens of one and of two points a pixel
            small = sheet.crop((x, y, x + tile, y + tile)).resize((side, side), Image.Resampling.NEAREST)
            part = parts["train" if every.split[n] == 0 else "test"]
            pixels = part.pixels[every.outputs.index[n]]
            np.testing.assert_array_equal(images.prepare(png_of(small), run.row).pixels, pixels)


def pictures_on(at: AppTest) -> list[bytes]:
    """What a browser would save of each picture."""
    shown = [url for element in at.image for url in element.value]
    assert all(url.startswith("data:image/png;base64,") for url in shown), "Streamlit would make a JPEG of it"
    return [base64.b64decode(url.partition(",")[2]) for url in shown]


@pytest.mark.parametrize("page", ["home", "try"])
def test_what_a_page_shows_gets_the_verdict_that_the_run_has_written(app, page):
    from cac_core.results import evaluate

    at = fine(app("cac", page=page))
    run = Run(runs.store_of() / "cac")
    test, out = datasets.load("digits", datasets.root_of())["test"], run.outputs("test")
    network, shown = evaluate.load(run, "cpu"), pictures_on(at)
    assert len(shown) >= 6
    for content in shown:
        pixels = images.prepare(content, run.row).pixels
        (place,) = np.flatnonzero((test.pixels == pixels).all((1, 2, 3)))[:1]
        logits, _ = network.outputs(pixels[None])
        np.testing.assert_allclose(logits[0], out.logits[out.index == place][0], rtol=1e-3, atol=1e-3)


def test_as_the_network_saw_it_and_your_picture_come_back_as_well(app):
    at = fine(app("cac", page="try"))
    image = datasets.load("digits", datasets.root_of())["test"].pixels[3]
    at = fine(at.file_uploader(key="files").upload("3.png", png_of(thumbnails.enlarged(image)), "image/png").run())
    shown = pictures_on(at)
    assert len(shown) == 2 and "taken back to the 16 × 16 pixels" in text(at)
    for content in shown:
        np.testing.assert_array_equal(images.prepare(content, datasets.DIGITS).pixels, image)


# --- one bad picture --------------------------------------------------------------------------------------------------


def test_a_slim_picture_ends_no_batch(app):
    at = fine(app("cac", page="try"))
    slim = [png(np.full((10, 5000), 200, np.uint8)), png(np.tile([[0], [255]], (3, 5000)).astype(np.uint8)),
            png(np.random.default_rng(0).integers(0, 256, (5000, 2, 3), np.uint8))]  # fmt: skip
    digit = png_of(thumbnails.enlarged(datasets.load("digits", datasets.root_of())["test"].pixels[0]))
    files = [*((f"{n}.png", content, "image/png") for n, content in enumerate(slim)), ("digit.png", digit, "image/png")]
    at.file_uploader(key="files").set_value(files)
    at = fine(at.run())
    assert "**4** of 4 judged" in text(at) and not any(row["error"] for row in on_sheet(at))


@pytest.mark.parametrize("kind", [ValueError, ZeroDivisionError])
def test_whatever_one_picture_does_the_others_are_judged(app, monkeypatch, kind):
    at = fine(app("cac", page="try"))
    pixels = datasets.load("digits", datasets.root_of())["test"].pixels
    files = [(f"{n}.png", png_of(thumbnails.enlarged(pixels[n])), "image/png") for n in range(10, 13)]
    monkeypatch.setattr(images, "_decoded", fails_at(2, images._decoded, kind("the second one")))
    at.file_uploader(key="files").set_value(files)
    at = fine(at.run())
    assert [row["error"] for row in on_sheet(at)] == ["", "the second one", ""] and "**2** of 3 judged" in text(at)


@pytest.mark.parametrize("where", ["app.charts.bars", "app.thumbnails.as_seen"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_card_that_cannot_be_drawn_says_so(app, monkeypatch, where, count):
    at = fine(app("cac", page="try"))
    pixels = datasets.load("digits", datasets.root_of())["test"].pixels
    files = [(f"{n}.png", png_of(thumbnails.enlarged(pixels[n])), "image/png") for n in range(count)]
    at.file_uploader(key="files").set_value(files)
    module, _, name = where.rpartition(".")
    target = importlib.import_module(module)
    monkeypatch.setattr(target, name, fails_at(1, getattr(target, name), ZeroDivisionError("this one")))
    at = fine(at.run())
    if count > 1:  # cards come on demand alone
        assert not at.error and not at.text
        at.session_state["own_open"] = on_sheet(at)[1]["mark"]
        at = fine(at.run())
    assert len(at.error) == 1 and "this one" in at.error[0].value


def fails_at(call, real, error):
    calls = []

    def instead(*arguments, **more):
        calls.append(arguments)
        if len(calls) == call:
            raise error
        return real(*arguments, **more)

    return instead


def test_a_run_without_weights_is_said_once(app):
    at = fine(app("cac", page="try"))
    (runs.store_of() / "cac" / "best.safetensors").unlink()
    pixels = datasets.load("digits", datasets.root_of())["test"].pixels
    files = [(f"{n}.png", png_of(thumbnails.enlarged(pixels[n])), "image/png") for n in range(20, 23)]
    at.file_uploader(key="files").set_value(files)
    at = fine(at.run())
    assert len(at.error) == 1 and "has no weights yet" in at.error[0].value


# --- what pictures are taken for --------------------------------------------------------------------------------------


def test_a_page_takes_pictures_for_drawings_or_for_pictures(app):
    at = fine(app("cac", page="try"))
    page = Image.new("L", (150, 120), 255)
    page.paste(0, (40, 30, 52, 100))
    at = fine(at.file_uploader(key="files").upload("1.png", png_of(page), "image/png").run())
    assert images.DRAWN["digits"][1] in text(at)
    at = fine(at.segmented_control(key="as").set_value("picture").run())
    assert images.DRAWN["digits"][1] not in text(at) and "reduced to 8 × 8" in text(at)
    at = fine(app("cac", page="try", **{"as": "picture"}))
    assert at.segmented_control(key="as").value == "picture"
    assert not fine(app("three", page="try", run="three")).error


# --- drawings --------------------------------------------------------------------------------------------------------


def drawing_page(app, said: object = None, **query: str) -> AppTest:
    """The page Try an image with the paper to draw on; said: what the browser tells of it."""
    at = fine(app("cac", page="try", **query))
    at.session_state["way"] = ":material/draw: Draw"
    if said is not None:
        at.session_state["drawing"] = {"drawing": said}
    return fine(at.run())


@pytest.fixture
def ring() -> str:
    picture = Image.new("L", (280, 280), 255)
    ImageDraw.Draw(picture).ellipse((150, 20, 250, 180), outline=0, width=20)
    return base64.b64encode(png(np.asarray(picture))).decode()


def test_in_a_show_no_drawing_is_judged(app, ring, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = drawing_page(app, {"number": 7, "png": ring})
    assert "The app is only shown here" in text(at) and "Softmax alone says" not in text(at)


def test_a_drawing_is_judged_as_its_run_judges_it(app, ring):
    from cac_core.results import evaluate

    at = drawing_page(app, {"number": 7, "png": ring})
    run = Run(runs.store_of() / "cac")
    prepared = images.drawn(base64.b64decode(ring), run.row)
    (said,) = judge.said_of(run, *evaluate.load(run, "cpu").outputs(prepared.pixels[None]), "gamma")
    heading = "Unknown" if said["decision"] == judge.UNKNOWN else f"Known: {said['decision']}"
    assert heading in text(at) and f"**{charts.number(said['score'])}**" in text(at) and not at.error
    assert prepared.notes[0] in text(at) and "No picture at hand?" not in text(at)


def test_another_page_shows_a_verdict_on_a_drawing_by_its_own_theta(app, ring):
    app("cac")

    def page(drawing: str, theta: float | None):
        import base64

        from app import draw
        from cac_core import runs

        draw.verdict(runs.Run(runs.store_of() / "cac"), base64.b64decode(drawing), theta=theta)

    for theta, heading in ((-1.0, "Unknown"), (1e6, "Known: ")):
        at = fine(AppTest.from_function(page, args=(ring, theta), default_timeout=LONG).run())
        assert at.subheader[0].value.startswith(heading) and "Softmax alone says" in text(at)
    at = fine(AppTest.from_function(page, args=("aGVsbG8=", None), default_timeout=LONG).run())
    assert len(at.error) == 1 and not at.subheader


def test_an_empty_paper_invites_and_pictures_stay_meanwhile(app, digit):
    at = fine(app("cac", page="try"))
    at = fine(at.file_uploader(key="files").upload("zero.png", digit, "image/png").run())
    at.session_state["way"] = ":material/draw: Draw"
    at = fine(at.run())
    assert "Draw one of 0, 1, 2, 4, 5 and 9, or something else" in text(at) and "zero.png" not in text(at)
    at.session_state["way"] = ":material/image: Pictures"
    assert "zero.png" in text(fine(at.run()))


BAD_DRAWINGS = [
    "text", 3, [], {}, {"png": None}, {"number": "x", "png": "!!"}, {"number": 1, "png": "aGVsbG8="},
    {"number": 1, "png": "ä"}, {"number": 1, "png": "A" * 400_000}, {"number": [], "png": ["iVBORw0KGgo="]},
]  # fmt: skip


@pytest.mark.parametrize("said", BAD_DRAWINGS, ids=lambda said: str(said)[:30])
def test_what_is_no_drawing_leaves_the_paper_empty(app, said):
    at = drawing_page(app, said)
    assert "the verdict follows the pen" in text(at) and not at.error


def test_a_damaged_drawing_is_told(app, ring):
    at = drawing_page(app, {"number": 1, "png": ring[:120]})
    assert len(at.error) == 1 and "damaged" in text(at)


def test_text_of_others_is_shown_as_it_is():
    wild = "<b>*a*</b> [x](http://e.com) :smile: $x^2$ `c` www.e.com # | ~~s~~"
    escaped = wording.plain(wild)
    assert escaped.replace("\\", "") == wild
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in "<>*[]()`:$#|~_.")


# --- charts ----------------------------------------------------------------------------------------------------------


def test_anchors_lie_on_the_unit_circle_of_the_wheel():
    for classes in (2, 3, 6, 20):
        anchors = 10.0 * np.eye(classes)
        frame = charts.wheel_frame(anchors, anchors)
        places = charts.on_wheel(anchors, *frame)
        assert np.hypot(*places.T) == pytest.approx(np.ones(classes))
        assert places[0] == pytest.approx([1, 0])
        same = charts.on_wheel(np.full((1, classes), 7.0), *frame)
        assert same == pytest.approx(np.array([[0, 0.4 if classes == 2 else 0]]))  # two classes lie in a plane
        moved = anchors + 3 + np.arange(classes)  # without anchors, what all images share cancels out
        assert charts.on_wheel(moved, *charts.wheel_frame(moved, None)) == pytest.approx(places)


def test_large_and_many_classed_sets_are_drawn_in_part_and_said_whole():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(-1, 20), 500)
    cloud = charts.Cloud(rng.normal(size=(len(labels), 2)), labels, rng.random(len(labels)) < 0.3, ["x"] * len(labels))
    spec = charts.wheel(cloud, [f"class {c}" for c in range(20)], rng.normal(size=(20, 2)), True, charts.LIGHT)
    names = {s["name"] for s in spec["series"] if "name" in s}
    drawn = sum(len(s["data"]) for s in spec["series"] if s.get("name") not in (None, charts.MEANS, charts.ANCHORS))
    assert drawn == charts.DRAWN and "class 19 (500)" in names
    assert len(json.dumps(spec)) < 400_000


@pytest.mark.parametrize("scores", [np.zeros(5), np.array([3.0]), np.geomspace(1e-12, 9, 50), -np.arange(9.0)])
def test_the_slider_covers_all_scores(scores):
    scale = charts.Scale.of(scores)
    choices = scale.choices()
    assert choices == sorted(set(choices)) and len(choices) > 1 and choices[-1] >= scores.max()
    assert scale.log == (len(scores) == 50)


@pytest.mark.parametrize("x, words", [
    (0.0, "0"), (-0.0, "0"), (0.03192, "0.0319"), (9.04e-5, "0.0000904"), (1.4e-6, "1.40e-06"), (12.34, "12.3"),
    (-6.398, "-6.40"), (1e-9, "1.00e-09"), (12345.6, "12346"), (12345678, "1.23e+07"), (9.996, "10.0"), (999.6, "1000"),
    (0.125, "0.125"), (0.0625, "0.0625"), (2.125, "2.13"), (-2.125, "-2.13"), (np.float32(0.25), "0.250"),
    (np.nan, "–"), (np.inf, "∞"), (-np.inf, "-∞"),
])  # fmt: skip
def test_numbers_are_said_with_three_digits(x, words):
    assert charts.number(x) == words


@pytest.mark.parametrize("share, digits, words", [
    (0, 1, "0.0"), (1, 1, "100.0"), (0.99996, 1, "≥99.9"), (0.9995, 1, "≥99.9"), (0.9994, 1, "99.9"), (0.996, 0, "≥99"),
    (1 - 1e-16, 2, "≥99.99"), (1e-30, 1, "≤0.1"), (0.0004, 1, "≤0.1"), (0.0005, 1, "0.1"), (0.004, 0, "≤1"),
    (0.1925, 1, "19.3"), (0.50125, 2, "50.13"), (-0.0004, 1, "0.0"), (np.nan, 1, "–"),
])  # fmt: skip
def test_a_share_below_1_never_reads_100_percent_and_one_above_0_never_0(share, digits, words):
    """Halves go up, as in the browser: 19.25 is 19.3, where Python's own rounding says 19.2."""
    assert charts.share(share, digits) == words
    assert charts.percent(share, digits) == (words if words == "–" else f"{words}\u00a0%")


def test_intervals_and_points_are_said_by_the_same_rule():
    assert charts.between((0.98725, 0.99996)) == "98.7–≥99.9\u00a0%" and charts.between((np.nan, np.nan)) == "–"
    assert [charts.points(x) for x in (-0.04, 0.04, 19.25, -19.25)] == ["0.0", "0.0", "+19.3", "-19.3"]
    assert charts.points(-0.004, 2) == "0.00" and charts.points(0.125, 2) == "+0.13"


def test_a_small_theta_is_drawn_where_it_is_not_at_zero():
    """ECharts rounds the place of a mark to `precision` decimals, two where nothing is said."""
    scale = charts.Scale(1e-6, 6.0, True)
    spec = charts.histogram(np.full(9, 0.1), np.r_[np.zeros(5), -np.ones(4)], np.ones(9, bool), 5.6e-4, scale,
                            charts.LIGHT, "γ")  # fmt: skip
    for series in (spec["series"][0], spec["series"][-1]):
        mark = series["markLine"]
        assert round(mark["data"][0]["xAxis"], mark.get("precision", 2)) == 5.6e-4


@pytest.mark.parametrize("scale, low, high", [(charts.Scale(-1, 1, False), -0.977, 0.9),
                                              (charts.Scale(1e-6, 6.0, True), 1e-5, 0.1)])  # fmt: skip
def test_what_is_said_at_a_line_goes_away_from_the_edge(scale, low, high):
    """Beside the axis stand its numbers, and above the chart nothing else may."""
    labels, right = np.r_[np.zeros(5), -np.ones(4)], np.ones(9, bool)
    for theta, here, align, place in ((low, high, "left", "Top"), (high, low, "right", "Bottom")):
        drawn = charts.histogram(np.full(9, 0.1), labels, right, theta, scale, charts.LIGHT, "γ")
        small = charts.place_on_scale(np.full(9, 0.1), labels, here, theta, scale, charts.LIGHT)
        for option in (drawn, small):
            assert option["series"][0]["markLine"]["label"]["align"] == align and "top" not in option["legend"]
        assert small["series"][1]["markLine"]["label"]["position"].endswith(place)
        assert small["grid"]["left"] >= 8 + 7 * len("60,000")


def test_a_histogram_has_room_for_its_legend_and_a_colour_for_each_part():
    scale, labels = charts.Scale(0, 1, False), np.r_[np.zeros(5), -np.ones(4)]
    drawn = charts.histogram(np.full(9, 0.1), labels, np.arange(9) > 2, 0.5, scale, charts.LIGHT, "γ")
    assert [line["itemStyle"]["color"] for line in drawn["series"]] == [
        charts.LIGHT.known[0], charts.LIGHT.known[3], charts.LIGHT.unknown
    ]  # fmt: skip
    last = drawn["grid"][-1]
    title = drawn["xAxis"][-1]["nameGap"] + 12
    assert charts.HISTOGRAM - last["top"] - last["height"] >= title + charts.ROW * len(drawn["series"])


def test_theme_and_charts_agree():
    theme = tomllib.loads((HERE / ".streamlit" / "config.toml").read_text("utf-8"))["theme"]
    for palette, said in ((charts.LIGHT, theme["light"]), (charts.DARK, theme["dark"])):
        assert list(palette.known) == said["chartCategoricalColors"]
        assert (palette.text, palette.surface, palette.strong, palette.faint) == (
            said["textColor"], said["backgroundColor"], said["primaryColor"], said["borderColor"],
        )  # fmt: skip


# --- light -----------------------------------------------------------------------------------------------------------


def test_no_page_imports_torch_before_an_upload(app, store):
    app("cac")
    script = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(HERE / 'streamlit_app.py')!r}, default_timeout={LONG}).run()\n"
        f"for page in {['app/pages/home.py', *filter(None, PAGES.values())]!r}:\n"
        "    at.switch_page(page).run(); assert not at.exception and not at.error and len(at.title) == 1\n"
        "print([m for m in ('torch', 'torchvision', 'umap', 'sklearn', 'numba') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=HERE, env={**os.environ, "PYTHONPATH": "."}
    )
    assert done.returncode == 0 and done.stdout.strip().endswith("[]"), done.stdout + done.stderr[-2000:]


def test_a_small_theta_is_drawn_where_it_is_beside_the_bars_of_the_classes():
    drawn = charts.bars({"0": 5.46, "1": 12.1}, "0", (0.00555, "θ"), charts.LIGHT, "γ", log=True)
    line = drawn["series"][0]["markLine"]
    assert line["data"] == [{"xAxis": 0.00555}] and line["precision"] >= 17  # of two decimals ECharts would make 0.01
    assert charts.bars({"0": 1.0}, "0", None, charts.LIGHT, "γ", log=True)["series"][0]["markLine"] is None


# --- what a run is worth ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["home", "thresholds", "try"])
def test_what_a_run_is_worth_stands_beside_its_numbers(app, trained, page):
    at = fine(app("cac", page=page))
    run = Run(runs.store_of() / "cac")
    report = judge.report(run)
    found = quality.of_report(report, run)
    assert f":material/{'check_circle' if found.word == quality.USABLE else 'help'}: {found.word}" in text(at)
    assert str(found.why)[1:] in text(at)
    assert "at least 70 % of the known images are kept and named right" in text(at)
    lenient = fine(app("cac", page=page, theta="1e9"))  # nothing is caught: that is sure
    assert str(quality.WEAK) in text(lenient) and "catches 0 % (0 % to" in text(lenient)


@pytest.mark.parametrize("page", ["home", "space", "thresholds", "sweep", "try"])
def test_a_run_without_unknown_images_is_shown_everywhere_and_says_what_would_tell(app, trained, page):
    at = fine(app("all", page=page))
    if page in ("home", "thresholds", "try"):
        assert str(quality.FEW) in text(at) and "There are no unknown test images" in text(at)
        assert "Of 100 test images whose patches were shuffled" in text(at)
        assert "Pictures of what it must not know would tell" in text(at)
        beyond = fine(app("all", page=page, theta="1e9"))
        assert "lies above the scores of all validation images" in text(beyond)


def test_classes_left_out_are_listed_where_a_word_rests_on_them(app, trained):
    run = Run(runs.store_of() / "all")
    app("all")
    report, known = run.report(), list(range(10))
    caught = {name: [[9] * len(stand_ins.LEVELS) for _ in known] for name in report["scorers"]}
    left = {"classes": known, "images": [10] * 10, "caught": caught, "aurocs": dict.fromkeys(caught, [0.95] * 10)}
    runs.write_json(
        run.path / "report.json", report | {"stand_ins": {"levels": list(stand_ins.LEVELS), "left_out": left}}
    )
    for page in ("home", "thresholds", "try"):
        at = fine(app(page=page, run="all"))
        assert "estimated by leaving 10 known classes out of training" in text(at)
        assert "Here it rests on known classes that were left out of training" in text(at)
        table = next(one.value for one in at.dataframe if "left out" in one.value)
        assert list(table["left out"]) == run.known_names and table.iloc[0, 1].startswith("9 of 10 · ")
        for query in ({"each": "true"}, {"scorer": "gamma", "temperature": "2"}):
            other = fine(app(page=page, run="all", **query))
            assert "go back to these" in text(other), query
