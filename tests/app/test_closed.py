"""What belongs to somebody else: a data root that is a disk, closed data sets, classes and runs; every page stays."""

import pytest
from streamlit.testing.v1 import AppTest

from app import holdings, jobs
from cac_core import runs
from cac_core.jobs import worker
from cac_core.training import probe
from tests.app.test_training_pages import HERE, text
from tests.waiting import LONG

pytestmark = pytest.mark.long

PAGES = ("home", "space", "thresholds", "images", "sweep", "try", "data", "new", "live", "runs", "compare", "reproduce",
         "anchors", "lessons")  # fmt: skip
CLOSED = {
    "a run": (0o700, "runs/closed"),
    "a run that tells names alone": (0o744, "runs/closed"),
    "a run that can be entered alone": (0o711, "runs/closed"),
    "its recipe": (0o600, "runs/closed/recipe.json"),
    "its status": (0o600, "runs/closed/status.json"),
    "its epochs": (0o600, "runs/closed/events.jsonl"),
    "its report": (0o600, "runs/closed/report.json"),
    "its outputs": (0o700, "runs/closed/outputs"),
    "some of its outputs": (0o600, "runs/closed/outputs/test.npz"),
    "the store": (0o700, "runs"),
    "the store, but for names": (0o744, "runs"),
    "the queue": (0o700, "runs/.queue"),
    "a data set": (0o700, "data/pets"),
    "a data set's parts": (0o700, "data/parts/train"),
    "a class": (0o700, "data/pets/cat"),
    "an image": (0o600, "data/pets/cat/000.png"),
    "its settings": (0o600, "data/pets/dataset.json"),
    "decoded images": (0o700, "data/.cache"),
    "trials": (0o700, "data/trials"),
    "a trial": (0o600, "data/trials/mine.json"),
    "a data set of the table": (0o700, "data/MNIST"),
    "the data root": (0o700, "data"),
    "the data root, but for names": (0o744, "data"),
}


@pytest.fixture
def shared(make_run, store, image_folder, closed, monkeypatch, tmp_path):
    """A folder with a store, runs, of the runs good and closed, and a data root, data, that is a disk of its own."""
    for name in ("good", "closed"):
        run = make_run(name)
        runs.write_json(run.path / "report.json", {})
        (run.path / "events.jsonl").write_text("")
    image_folder("pets", {"cat": 3, "dog": 3, "owl": 3})
    for part in ("train", "test"):
        image_folder("parts", {"cat": 3, "dog": 3}, part)
    data = image_folder("more", {"a": 3, "b": 3})
    (data / "lost+found").mkdir()
    closed(data / "lost+found", 0o700)
    (data / "pets/dataset.json").write_text('{"size": 16}')
    (data / "trials").mkdir()
    (data / "trials/mine.json").write_text('{"Known": ["1", "2"], "Dataset": "digits"}')
    for name in ("MNIST/raw", ".cache"):
        (data / name).mkdir(parents=True)
    (store / ".queue").mkdir(exist_ok=True)
    store.rename(tmp_path / "runs")
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(data))
    monkeypatch.delenv("ANCHORSCOPE_READONLY", raising=False)
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    monkeypatch.setattr(probe, "busy", lambda store, device: "another-run")
    holdings.look_again()
    jobs.devices.clear()
    return tmp_path


def seen(at: AppTest, page: str) -> str:
    at = at.switch_page(f"app/pages/{page}.py").run()
    assert not at.exception, (page, [(one.value, one.stack_trace) for one in at.exception])
    return text(at)


@pytest.mark.parametrize("what", CLOSED)
def test_no_page_is_lost_to_what_is_closed(shared, closed, what):
    mode, place = CLOSED[what]
    closed(shared / place, mode)
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
    said = {page: seen(at, page) for page in PAGES}
    at.query_params["run"] = "closed"
    at.query_params["data_view"] = "trial"
    for page in PAGES:
        seen(at, page)
    if not place.startswith("runs"):
        at.query_params["data_look"] = at.query_params["trial_dataset"] = at.query_params["new_dataset"] = "pets"
        for page in ("data", "new"):
            seen(at, page)
    if place in ("data/pets", "data/trials"):
        assert f"{shared / place} cannot be read, and is passed over" in said["data"]
    if what == "the store":
        assert all("cannot be read (Permission denied)" in said[page] for page in ("home", "space", "runs"))
    if place == "data/pets/cat":
        assert "1 folders cannot be read and are passed over: cat." in said["data"]
