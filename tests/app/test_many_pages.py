"""Every page of results with a run of two hundred classes: nothing breaks, nothing is lost, and it can be used."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from cac_core import runs
from cac_core.results import judge, sweep
from tests.waiting import LONG

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]
PAGES = ("home", "space", "thresholds", "images", "sweep", "try", "live", "runs", "compare", "reproduce")


@pytest.fixture
def crowded(many, monkeypatch, tmp_path):
    """Two runs of two hundred classes, each with a sweep, an epoch and a snapshot."""
    run = many(200)
    runs.write_json(run.path / "report.json", judge.plain(judge.report_all(run)))
    test, validation = run.outputs("test"), run.outputs("validation")
    logits = {f"{name}_logits": np.stack([out.logits] * 2)[None] for name, out in
              (("test", test), ("validation", validation))}  # fmt: skip
    runs.write_npz(
        run.path / "sweep.npz", **logits, test_labels=test.labels, validation_labels=validation.labels,
        format=np.array(sweep.FORMAT), blind=np.full((200, len(sweep.SCORES), 1, 2), 0.9), sample=np.arange(200),
        temperatures=np.array([1.0]), magnitudes=np.array([0.0, 0.01]), stamp=np.array("toy"),
    )  # fmt: skip
    said = {"kind": "epoch", "epoch": 1, "validation": {"accuracy": 0.9, "total": 1.0}, "images_per_second": 9.0}
    runs.append(run.path / "events.jsonl", said)
    runs.write_npz(
        run.path / "snapshots.npz", epochs=np.array([0, 1]), logits=np.stack([validation.logits] * 2),
        labels=validation.labels.astype(np.int16), index=validation.index,
    )  # fmt: skip
    shutil.copytree(run.path, run.path.with_name("another"))
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(run.path.parent))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    return run


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_two_hundred_classes(crowded, page):
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
    at.query_params["run"] = crowded.id
    at.query_params["each"] = "true"  # a theta for each class
    at.query_params["ids"] = f"{crowded.id},another"
    at.session_state["lab_tables"] = True
    at.run()
    at = at if page == "home" else at.switch_page(f"app/pages/{page}.py").run()
    assert not at.exception, [e.value for e in at.exception]
    assert len(at.title) == 1 and not at.error, [e.value for e in at.error]


def test_a_sweep_of_other_images_is_offered_anew(crowded):
    with np.load(crowded.path / "sweep.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    runs.write_npz(crowded.path / "sweep.npz", **arrays | {"test_labels": arrays["test_labels"][1:]})
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
    at.query_params["run"] = crowded.id
    at.run().switch_page("app/pages/sweep.py").run()
    assert not at.exception and not at.error
    assert any("other images or weights than its outputs" in warning.value for warning in at.warning)
