"""Export: what is set becomes a file by a job and is shown with all that is in it; what no file holds is refused."""

import json
import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import filelock
import psutil
import pytest

from app import exports
from cac_core import recipe
from cac_core.jobs import ends, launch, queue, worker
from cac_core.results import judge
from cac_core.serving import deciders, to_onnx
from cac_core.training import loop
from tests.app.test_results_pages import app, fine, text  # noqa: F401

pytestmark = pytest.mark.long
PAGE = "app/pages/export.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("export")
    return loop.train(recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=1), place / "runs",
                      place / "data", device="cpu")  # fmt: skip


@pytest.fixture
def opened(trained, monkeypatch, app):  # noqa: F811
    """opened(scorer): the page about a run that was trained; nothing that is put into the queue begins."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(trained.path.parent))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(trained.path.parents[1] / "data"))
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)

    def open_page(scorer="gamma"):
        return fine(fine(app(PAGE)).selectbox(key="scorer").set_value(scorer).run())

    yield open_page
    for job in launch.jobs(trained.path.parent):
        launch.remove(launch.stop(job))


def test_what_is_set_is_made_by_a_job_in_a_slot_of_its_own_and_shown(opened, trained):
    at = opened()
    assert "half a minute" in text(at)
    at = fine(at.button(key="export_make").click().run())
    (job,) = launch.jobs(trained.path.parent)
    assert (job.kind, job.device) == ("export", queue.USE) and at.button(key="export_stop")
    file = Path(job.arguments[job.arguments.index("--onnx") + 1])
    threshold = judge.threshold_from(file.with_name("threshold.json"), trained)
    assert threshold.scorer == "gamma"
    to_onnx.export(trained, threshold, file, trained.path.parents[1] / "data")
    launch.remove(launch.stop(job))
    at = opened()
    assert "decides as the run does about each of them" in text(at) and "validation images" in text(at)
    assert {"name", "type"} <= set(at.dataframe[0].value.columns)
    assert list(at.dataframe[0].value["name"]) == ["image", *to_onnx.MADE, "unknown"]
    code = "\n".join(one.value for one in at.code)
    assert "def prepared(" in code and "onnxruntime-node" in code and "serve --onnx network.onnx" in code
    assert json.loads(at.json[0].value)["threshold"]["run"] == trained.id
    assert deciders.OfOnnx(file).said["checked"]["images"] > 0


@pytest.mark.parametrize("scorer, called", [("knn", "k nearest"), ("mahalanobis", "Mahalanobis")])
def test_a_score_that_no_file_holds_is_refused_by_its_name_with_those_that_one_holds(opened, scorer, called):
    at = opened(scorer)
    said = at.info[0].value
    assert called in said and "energy" in said and "max logit" in said
    assert "placeholder" not in said  # which no run by this method has
    assert "export_make" not in [button.key for button in at.button]
    at = fine(at.switch_page("app/pages/thresholds.py").run())
    assert "--onnx" not in "".join(one.value for one in at.code) and "No ONNX file" in text(at)
    at = fine(at.selectbox(key="scorer").set_value("energy").run())
    assert "--onnx network.onnx" in "".join(one.value for one in at.code) and "No ONNX file" not in text(at)


def test_a_job_that_failed_says_why_and_can_be_tried_again(opened, trained, monkeypatch):
    at = opened("msp").button(key="export_make").click().run()
    (job,) = launch.jobs(trained.path.parent)
    queue.write(replace(job, state="failed", reason="The disk is full."))
    at = opened("msp")
    assert "disk is full" in at.error[0].value and at.button(key="export_make")


def test_nothing_is_made_in_a_show(opened, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened("energy")
    assert "only shown" in at.info[0].value and "export_make" not in [button.key for button in at.button]


def test_the_newest_files_of_a_run_stay(trained, monkeypatch):
    monkeypatch.setattr(exports.jobs, "use", lambda *said: None)
    for theta in range(exports.KEPT + 3):
        exports.make(trained, judge.threshold_of(trained, "gamma", {"centres": "means", "temperature": 1.0}, theta))
    assert len(list((trained.path / exports.FOLDER).iterdir())) == exports.KEPT


def test_words_alone_make_no_other_file(trained):
    one = judge.threshold_of(trained, "gamma", {"centres": "means", "temperature": 1.0}, 1.0)
    other = judge.Threshold(**vars(one) | {"rule": "von Hand"})
    assert exports.file_of(trained, one) == exports.file_of(trained, other)
    assert exports.file_of(trained, one) != exports.file_of(trained, judge.Threshold(**vars(one) | {"theta": 2.0}))


def test_a_file_beside_which_pictures_are_prepared_otherwise_is_made_anew(trained, tmp_path, monkeypatch):
    threshold = judge.threshold_of(trained, "gamma", {"centres": "means", "temperature": 1.0}, 1.0)
    here = exports.file_of(trained, threshold)
    (tmp_path / "prepare.py.txt").write_text("# otherwise")
    monkeypatch.setattr(deciders, "PREPARATION", tmp_path / "prepare.py.txt")
    assert exports.file_of(trained, threshold) != here


def test_each_port_has_its_meaning():
    assert set(exports.MEANING) == {"photo", "image", *to_onnx.MADE, "unknown"}


@pytest.mark.parametrize("channels", [1, 3])
def test_javascript_makes_grey_as_pillow_does_and_says_what_it_is_for(channels):
    how = {"prepare": {"size": 32, "channels": channels}, "classes": ["a", "b"]}
    code = exports.Inside({"threshold": how}, (("photo", "uint8", ""),), 1).javascript
    assert ("19595" in code) == (channels == 1) and "b-w" not in code
    assert "not for print colours (CMYK), nor what is enlarged pixel by pixel" in code


def test_without_its_weights_nothing_is_offered_and_it_is_said(opened, app, trained, tmp_path):  # noqa: F811
    weights = trained.path / "best.safetensors"
    kept = weights.rename(tmp_path / "kept")
    try:
        at = fine(app(PAGE))
        assert "weights are not here" in text(at) and not [b for b in at.button if b.key == "export_make"]
    finally:
        kept.rename(weights)
    assert [b for b in opened().button if b.key == "export_make"]


def test_while_it_is_made_the_page_says_for_how_long_it_has_been(opened, trained):
    opened("msp").button(key="export_make").click().run()
    (job,) = launch.jobs(trained.path.parent)
    began = ends.since_boot(psutil.Process())
    queue.write(replace(job, state="running", pid=os.getpid(), process_started=began, host=socket.gethostname()))
    with filelock.FileLock(job.beside(".lock")):  # as its process holds it
        shown = text(opened("msp"))
    said = re.search(r"(\d+) s( of about 30)?\.", shown)
    assert said, shown
    assert bool(said[2]) == (int(said[1]) <= 30)
    assert 0 <= int(said[1]) <= ends.seconds(replace(job, process_started=began)) + 1
    queue.write(job)
