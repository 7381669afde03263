"""Train's pages with an empty store, with what waits, runs, has ended and has failed.

Nothing is faked: jobs are submitted, runs are trained, and no worker is started but by the test that says so.
"""

import ast
import contextlib
import dataclasses
import io
import json
import re
import resource
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import parse_qsl

import filelock
import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import charts, courses, holdings, jobs, plans, wording
from cac_core import __main__ as command_line
from cac_core import recipe, runs
from cac_core.commands import training as training_command
from cac_core.data import datasets, decoded
from cac_core.exchange import changes, own_data, sample, shelf
from cac_core.jobs import clusters, engines, launch, worker
from cac_core.recipe import Recipe
from cac_core.results import evaluate, look
from cac_core.runs import Run
from cac_core.training import loop, probe
from tests.waiting import LONG

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]
PAGES = {"data": "app/pages/data.py", "new": "app/pages/new.py", "live": "app/pages/live.py"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A data root, and a store with a training of three epochs."""
    place = tmp_path_factory.mktemp("training")
    given = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=3)
    return place / "data", loop.train(given, place / "runs", place / "data", device="cpu")


@pytest.fixture
def root(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANCHORSCOPE_READONLY", raising=False)
    holdings.look_again()
    jobs.devices.clear()
    return tmp_path / "data"


@pytest.fixture
def no_worker(monkeypatch):
    """Jobs stay where they are put."""
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)


@pytest.fixture
def no_probe(monkeypatch):
    """Nothing is measured unless it is asked for: the device is said to be at work."""
    monkeypatch.setattr(probe, "busy", lambda store, device: "another-run")


@pytest.fixture
def opened(root, store, monkeypatch, no_worker, no_probe):
    """opened(page) opens a page over the store."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))

    def open_page(page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
        for name, value in query.items():
            at.query_params[name] = value
        return fine(at.switch_page(PAGES[page]).run())

    return open_page


@pytest.fixture
def finished(trained, store):
    run = trained[1]
    shutil.copytree(run.path, store / run.id)
    return Run(store / run.id)


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    return at


def text(at: AppTest) -> str:
    parts = [*at.title, *at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.success, *at.code,
             *at.subheader]  # fmt: skip
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def labels(at: AppTest) -> list[str]:
    return [b.label for b in at.button]


def called(digits) -> list[str]:
    """Classes of digits by their names."""
    return [str(c) for c in digits]


def lists(at: AppTest) -> list[list[str]]:
    """The classes of the three lists of the trial editor."""
    return [at.multiselect(key=f"trial_{part}").value for part in ("known", "unknown", "out")]


def job(store, n=0, **more) -> launch.Job:
    one = recipe.compose("quick", {}, dataset="digits", seed=n, **more)
    return launch.submit_recipe(store, one)


def made(job, **fields) -> launch.Job:
    """A job's record as a worker would have left it."""
    record = json.loads(job.path.read_text("utf-8"))
    runs.write_json(job.path, record | fields)
    return launch.find(job.store, job.id)


# --- every page, every state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["empty", "queued", "finished", "failed", "broken", "stopped", "running"])
def test_every_page_in_every_state(opened, store, page, state, request):
    if state == "queued":
        job(store)
    elif state == "failed":
        made(job(store), state="failed", reason="The disk <b>is full</b>.")
    elif state == "broken":
        (store / "broken").mkdir(parents=True)
        (store / "broken" / "recipe.json").write_text('{"recipe": ')
        (store / ".queue").mkdir()
        (store / ".queue" / "notes.json").write_text("{}")
    elif state != "empty":
        run = request.getfixturevalue("finished")
        if state == "stopped":
            runs.write_json(run.path / "status.json", {"state": "stopped", "reason": "Stopped when asked to."})
        if state == "running":
            runs.write_json(run.path / "status.json", {"state": "running", "device": "cpu", **runs.process_now()})
    at = opened(page)
    assert not at.error or (state == "failed" and page == "live")
    assert len(at.title) == 1
    assert "<b>" not in "".join(m.value for m in [*at.markdown, *at.caption, *at.error])


def test_nothing_here_computes_in_the_servers_process(opened, finished):
    script = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(HERE / 'streamlit_app.py')!r}, default_timeout={LONG}).run()\n"
        f"for page in {list(PAGES.values())!r}:\n"
        "    at.switch_page(page).run(); assert not at.exception and not at.error, at.exception\n"
        "print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0 and done.stdout.strip().endswith("[]"), done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("page", PAGES)
def test_a_show_offers_and_does_nothing(opened, store, finished, page, monkeypatch):
    made(job(store, 1), state="failed", reason="x")
    waits = job(store, 2)
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened(page)
    wrong = {"Download", "Save", "Start", "Stop", "Go on", "Remove", "Sooner", "Later", "Start what waits"}
    assert not wrong & set(labels(at))
    if page == "data":
        for view in ("trial", "own"):
            at = fine(at.segmented_control(key="data_view").set_value(view).run())
            assert not wrong & set(labels(at)) and not at.error
        assert not at.get("file_uploader")
    assert launch.find(store, waits.id).state == "queued"


# --- what a link carries ---------------------------------------------------------------------------------------------


def test_a_link_opens_the_data_set_and_the_trial_that_was_shown(opened, root):
    at = opened("data", data_view="trial", trial_dataset="MNIST", trial_start="osrci/3")
    start = holdings.published("MNIST")["osrci", "3"]
    assert at.selectbox(key="trial_dataset").value == "MNIST"
    assert at.selectbox(key="trial_start").value == ("osrci", "3")
    assert at.multiselect(key="trial_known").value == called(start.known)
    at = opened("data", data_view="trial", trial_dataset="digits", trial_known="1,2,99,4", trial_unknown="4,7,-1")
    assert lists(at) == [list("124"), ["7"], list("035689")]
    assert "digits has no such classes, so the trial goes without them: 99 and -1" in text(at)
    at = fine(at.selectbox(key="trial_dataset").set_value("MNIST").run())  # another set starts anew
    assert at.multiselect(key="trial_known").value == called(holdings.published("MNIST")["osrci", "0"].known)
    assert opened("data", data_look="digits").selectbox(key="data_look").value == "digits"


@pytest.mark.parametrize("value", ["", "nonsense", "-1", "trial", "1,1", '"', "a/b/c"])
@pytest.mark.parametrize("view", ["sets", "trial", "album"])
def test_nonsense_in_a_link_is_passed_over(opened, root, value, view):
    for cls in ("ant", "bee") if view == "album" else ():
        (root / "pets" / cls).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / "pets" / cls / "0.png")
    names = ("data_look", "trial_dataset", "trial_start", "trial_known", "trial_unknown", "album", "album_known",
             "album_all", "album_class", "album_order", "album_page")  # fmt: skip
    at = opened("data", **dict.fromkeys(names, value), data_view=view)
    assert not at.error and at.segmented_control(key="data_view").value == view


def test_a_link_says_which_training_is_watched(opened, store, finished):
    waits = job(store, 5)
    assert opened("live").selectbox(key="watched").value == waits.run
    assert opened("live", watched=finished.id).selectbox(key="watched").value == finished.id
    at = opened("live", watched="<b>gone</b>")
    assert at.selectbox(key="watched").value == waits.run and "There is no training called “<b>gone</b>”" in text(at)


# --- data and trials -------------------------------------------------------------------------------------------------


def test_a_download_is_a_job_and_a_second_click_is_none(opened, store, root):
    at = opened("data")
    assert "digits" in text(at) and at.button(key="fetch_MNIST").label == "Download"
    at = fine(at.button(key="fetch_MNIST").click().run())
    (one,) = launch.jobs(store)
    assert (one.kind, one.arguments) == ("fetch", ("fetch", "MNIST", "--data", str(root.absolute())))
    assert "MNIST: waits for its turn" in text(at).replace("*", "")
    assert at.button(key="fetch_MNIST").disabled
    made(one, state="failed", reason="No internet.")
    at = fine(at.run())
    assert any("No internet" in e.value for e in at.error)
    at = fine(at.button(key=f"dismiss_{one.id}").click().run())
    assert not at.error and not launch.jobs(store)


def test_a_trial_is_edited_saved_and_chosen(opened, root):
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("trial").run())
    published = datasets.trial_of(Recipe(), datasets.DIGITS)
    assert at.multiselect(key="trial_known").value == called(published.known)
    assert charts.percent(published.openness) in text(at)
    at = fine(at.multiselect(key="trial_unknown").set_value([*called(published.unknown), "0"]).run())
    assert at.multiselect(key="trial_known").value == [c for c in called(published.known) if c != "0"]
    at = fine(at.multiselect(key="trial_known").set_value(["1", "2"]).run())
    assert at.multiselect(key="trial_out").value == ["4", "5", "9"]
    expected = datasets.Trial("digits", "custom", "mine", (1, 2), (0, 3, 6, 7, 8))
    assert charts.percent(expected.openness) in text(at)
    at.text_input(key="trial_name").set_value("No Name")
    at = fine(at.button(key="trial_save").click().run())
    assert "small letters" in text(at) and not (root / "trials").exists()
    at.text_input(key="trial_name").set_value("mine")
    at = fine(at.button(key="trial_save").click().run())
    assert own_data.trials(root, "digits", datasets.DIGITS) == {"mine": expected}
    at = fine(at.switch_page(PAGES["new"]).run())
    at = fine(at.multiselect(key="new_trials_digits").set_value([("custom", "mine")]).run())
    assert "learns 2 classes" in text(at) and "--trial" in text(at)
    at = fine(at.switch_page(PAGES["data"]).run())
    at = fine(at.multiselect(key="trial_known").set_value(["1"]).run())
    assert "at least two known" in text(at)


def door(at: AppTest, label: str) -> dict[str, str]:
    """What the link of this label carries."""
    (link,) = (one.proto for one in at.get("page_link") if label in one.proto.label.replace("\\", ""))
    return dict(parse_qsl(link.query_string))


def test_a_data_set_without_a_trial_is_edited(opened, root, image_folder):
    image_folder("pets", {"ant": 3, "bee": 3, "cat": 3})
    at = opened("data", data_view="trial")
    assert at.selectbox(key="trial_start").value == ("osrci", "0")
    at = fine(at.selectbox(key="trial_dataset").set_value("pets").run())
    assert at.selectbox(key="trial_start").value == ("", "") and lists(at) == [[], [], ["ant", "bee", "cat"]]
    at = fine(at.multiselect(key="trial_known").set_value(["ant", "bee"]).run())
    at = fine(at.multiselect(key="trial_unknown").set_value(["cat"]).run())
    assert "2 known, 1 unknown classes" in text(at) and at.multiselect(key="trial_out").value == []
    assert not at.get("page_link")
    at.text_input(key="trial_name").set_value("small")
    at = fine(at.button(key="trial_save").click().run())
    carried = door(at, "Train on this trial (yours: small)")
    assert (carried["new_dataset"], carried["new_trials"]) == ("pets", "custom/small")
    at.query_params |= carried
    at = fine(at.switch_page(PAGES["new"]).run())
    assert "learns 2 classes of pets" in text(at) and "tested on 1 that it has never seen" in text(at)


def test_a_link_opens_its_trial_in_a_session_that_has_edited_another(opened, root, image_folder):
    image_folder("pets", {"ant": 3, "bee": 3, "cat": 3})
    at = opened("data", data_view="trial", trial_dataset="digits", trial_start="osrci/2")
    at = fine(at.multiselect(key="trial_known").set_value(["1", "2"]).run())
    at = fine(at.switch_page(PAGES["new"]).run())
    at = fine(at.selectbox(key="new_dataset").set_value("pets").run())
    carried = door(at, "To the trial editor")
    assert (carried["data_view"], carried["trial_dataset"]) == ("trial", "pets")
    at.query_params.clear()
    at = fine(at.switch_page(PAGES["data"]).run())  # by the navigation: what was edited is there
    assert at.multiselect(key="trial_known").value == ["1", "2"]
    at = fine(at.switch_page(PAGES["new"]).run())
    at.query_params |= carried
    at = fine(at.switch_page(PAGES["data"]).run())
    assert at.selectbox(key="trial_dataset").value == "pets"
    assert lists(at) == [[], [], ["ant", "bee", "cat"]]
    at = fine(at.switch_page(PAGES["live"]).run())
    at.query_params |= {"trial_dataset": "digits", "trial_start": "osrci/3", "trial_unknown": "7"}
    at = fine(at.switch_page(PAGES["data"]).run())
    assert lists(at) == [[], ["7"], list("012345689")]
    at = fine(at.switch_page(PAGES["live"]).run())
    del at.query_params["trial_unknown"]
    at = fine(at.switch_page(PAGES["data"]).run())
    assert at.multiselect(key="trial_known").value == called(holdings.published("digits")["osrci", "3"].known)


def test_what_was_chosen_stays_by_name_where_the_classes_become_others(opened, root, image_folder):
    image_folder("pets", {"ant": 3, "bee": 3, "cat": 3, "dog": 3})
    at = opened("data", data_view="trial", trial_dataset="pets", trial_known="ant,dog", trial_unknown="cat,elk")
    assert lists(at) == [["ant", "dog"], ["cat"], ["bee"]] and "the trial goes without them: elk" in text(at)
    assert in_address(at, "trial_")["trial_known"] == "ant,dog"
    (root / "pets" / "ant").rename(root / "pets" / "cow")
    at.text_input(key="trial_name").set_value("mine")
    at = fine(at.button(key="trial_save").click().run())
    assert lists(at) == [["dog"], ["cat"], ["bee", "cow"]] and "the trial goes without them: ant" in text(at)
    assert not (root / "trials").exists()  # another trial than the one that was shown
    at = fine(at.multiselect(key="trial_known").set_value(["dog", "bee"]).run())
    assert "goes without" not in text(at) and lists(at) == [["dog", "bee"], ["cat"], ["cow"]]
    shutil.copytree(root / "pets" / "cow", root / "pets" / "ape")
    at = fine(at.button(key="trial_save").click().run())
    assert lists(at) == [["bee", "dog"], ["cat"], ["ape", "cow"]]
    at = fine(at.button(key="trial_save").click().run())
    kept = own_data.trials(root, "pets", datasets.row_of("pets", root))["mine"]
    assert (kept.known, kept.unknown) == ((1, 4), (2,))


def test_a_data_set_that_is_spoilt_while_its_trial_is_edited_is_told_once(opened, root, image_folder):
    image_folder("pets", {"ant": 3, "bee": 3, "cat": 3})
    at = opened("data", data_view="trial", trial_dataset="pets", trial_known="ant,bee")
    (root / "pets" / "dataset.json").write_text("{")
    at = fine(at.run())
    assert len(at.error) == 1
    (root / "pets" / "dataset.json").unlink()
    assert lists(fine(at.run())) == [["ant", "bee"], [], ["cat"]]


def test_numbers_in_older_links_are_classes_of_a_set_whose_classes_stay(opened, root, image_folder):
    image_folder("pets", {"ant": 3, "bee": 3, "cat": 3})
    at = opened("data", data_view="trial", trial_dataset="CIFAR10", trial_known="0,3")
    assert lists(at)[0] == ["airplane", "cat"]
    at = opened("data", data_view="trial", trial_dataset="pets", trial_known="0,1")
    assert lists(at)[0] == [] and "goes without them: 0 and 1" in text(at)


@pytest.mark.parametrize("family", ["osrci", "cac-2020"])
@pytest.mark.parametrize("name", ["digits", "MNIST", "CIFAR10", "CIFAR+10", "CIFAR+50"])
def test_the_editor_starts_from_every_published_trial(opened, name, family):
    at = opened("data")
    at.segmented_control(key="data_view").set_value("trial").run()
    at = fine(at.selectbox(key="trial_dataset").set_value(name).run())
    at = fine(at.selectbox(key="trial_start").set_value((family, "3")).run())
    row = datasets.DATASETS[name]
    trial = datasets.trial_of(Recipe(dataset=name, family=family, trial="3"), row)
    assert at.multiselect(key="trial_known").value == [row.classes[c] for c in trial.known]
    assert at.multiselect(key="trial_unknown").value == [row.classes[c] for c in trial.unknown]
    assert charts.percent(trial.openness) in text(at)


def zip_of(counts: dict[str, int]) -> bytes:
    file, rng = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as archive:
        for cls, count in counts.items():
            for n in range(count):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(picture, "PNG")
                archive.writestr(f"{cls}/{n}.png", picture.getvalue())
        archive.writestr("cat/broken.png", b"no image")
    return file.getvalue()


def test_a_zip_becomes_a_data_set_that_can_be_trained_on(opened, root):
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("own").run())
    at = fine(
        at.file_uploader(key="own_zip")
        .upload("pets.zip", zip_of({"ant": 3, "cat": 4, "dog": 5}), "application/zip")
        .run()
    )
    assert any("1 file cannot be taken" in e.label for e in at.expander)
    assert at.text_input(key="own_name").value == "pets"
    at.text_input(key="own_name").set_value("Pets!")
    at = fine(button(at, "Make it a data set").click().run())
    assert any("small letters" in e.value for e in at.error) and not (root / "Pets!").exists()
    at.text_input(key="own_name").set_value("pets")
    at = fine(button(at, "Make it a data set").click().run())
    assert "Written to" in text(at) and datasets.folders(root) == ["pets"]
    assert at.segmented_control(key="data_view").value == "album" and at.selectbox(key="album").value == "pets"
    assert at.get_by_key("album_known").value == ["ant", "cat", "dog"]
    at = fine(at.get_by_key("album_known").set_value(["cat", "dog"]).run())
    assert "knows cat and dog; never sees ant" in text(at) and at.toggle(key="album_all").value
    at = fine(at.button(key="album_train").click().run())
    kept = own_data.trials(root, "pets", datasets.row_of("pets", root))["pets"]
    assert (kept.known, kept.unknown) == ((1, 2), (0,))
    assert datasets.never_learnt("pets", root) == ("ant",)
    at = fine(opened("data").segmented_control(key="data_view").set_value("album").run())
    assert at.get_by_key("album_known").value == ["cat", "dog"]  # as it was kept
    at = fine(at.toggle(key="album_all").set_value(False).run())
    at = fine(at.button(key="album_train").click().run())
    assert datasets.never_learnt("pets", root) == ()
    at = fine(opened("data").segmented_control(key="data_view").set_value("album").run())
    assert not at.toggle(key="album_all").value
    at = fine(at.get_by_key("album_known").set_value(["ant", "cat", "dog"]).run())
    assert not [toggle for toggle in at.toggle if toggle.key == "album_all"]
    own_data.never_learn(root, "pets", ["ant"])
    holdings.look_again()
    at = fine(at.segmented_control(key="data_view").set_value("sets").run())
    assert "Of ant all are for testing: no network learns them." in text(
        fine(at.selectbox(key="data_look").set_value("pets").run())
    )
    assert "pets" in at.selectbox(key="data_look").options
    at = fine(at.selectbox(key="data_look").set_value("pets").run())
    assert "12 in all, a fifth of them for testing" in text(at)


def class_table(at: AppTest) -> list[list]:
    """The rows of the table of classes, as far as they are no sizes."""
    return at.data_editor[0].value.iloc[:, :-2].to_numpy().tolist()


def edit_classes(at: AppTest, **edits: dict) -> AppTest:
    """The page after these cells of the table of classes were changed: class -> column -> value."""
    rows = [row[1] for row in class_table(at)]
    at.session_state[at.data_editor[0].key] = {"edited_rows": {rows.index(cls): row for cls, row in edits.items()}}
    return fine(at.run())


def test_of_copies_it_is_said_which_are_taken_and_the_table_counts_these(opened, root):
    brought = {"ant": 4, "bee": 4, "cat": 4}
    file = io.BytesIO(zip_of(brought))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("ant/again.png", archive.read("ant/0.png"))
        archive.writestr("cat/bee.png", archive.read("bee/0.png"))
    at = opened("data", data_view="own")
    at = fine(at.file_uploader(key="own_zip").set_value(("x.zip", file.getvalue(), "application/zip")).run())
    assert "2 images are there more than once." in text(at)
    assert "1 image lies in several classes, and nobody knows which is right." in text(at)
    assert class_table(at) == [[True, "ant", 4], [True, "bee", 3], [True, "cat", 4]]
    groups = next(table.value for table in at.dataframe if "taken" in table.value)
    assert groups.to_numpy().tolist() == [
        [1, False, "bee", "bee/0.png"], [1, False, "cat", "cat/bee.png"],
        [2, True, "ant", "ant/0.png"], [2, False, "ant", "ant/again.png"],
    ]  # fmt: skip
    at = fine(at.checkbox(key="own_unique").uncheck().run())
    assert class_table(at) == [[True, "ant", 5], [True, "bee", 4], [True, "cat", 5]]
    at = fine(at.checkbox(key="own_unique").check().run())
    at = edit_classes(at, cat={"class": "bee"})  # one class: one of the two stays
    assert "in several classes" not in text(at)
    assert [row[2] for row in class_table(at)] == [4, 4, 4]
    at.text_input(key="own_name").set_value("pets")
    at = fine(button(at, "Make it a data set").click().run())
    assert datasets.row_of("pets", root).classes == ("ant", "bee")
    assert len(list((root / "pets").rglob("*.png"))) == 12


def test_a_class_that_cannot_be_one_is_left_out_by_its_tick(opened, root):
    at = opened("data", data_view="own")
    brought = zip_of({"ant": 3, "bee": 3, "cat": 0, "dog": 1})
    at = fine(at.file_uploader(key="own_zip").set_value(("x.zip", brought, "application/zip")).run())
    assert class_table(at) == [[True, "ant", 3], [True, "bee", 3], [True, "cat", 0], [True, "dog", 1]]
    assert "too few have: dog. Add some, or leave the class out." in text(at)
    assert "No image can be taken of: cat. Add some, or leave the class out." in text(at)
    assert "A class without its tick is left out." in text(at)
    at = edit_classes(at, cat={"take": False}, dog={"take": False, "class": "a/b"})
    assert class_table(at)[3][2] == 0 and not at.error
    at = edit_classes(at, cat={"take": False}, dog={"class": "a/b"})
    assert "a/b" in text(at) and len(class_table(at)) == 4
    at = edit_classes(at, cat={"take": False}, dog={"take": False})
    at.text_input(key="own_name").set_value("pets")
    at = fine(button(at, "Make it a data set").click().run())
    assert datasets.row_of("pets", root).classes == ("ant", "bee")


def test_a_zip_without_an_image_says_so(opened):
    at = opened("data", data_view="own")
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as archive:
        archive.writestr("cat/.DS_Store", b"x")
    for content in (zip_of({}), hidden.getvalue()):
        at = fine(at.file_uploader(key="own_zip").set_value(("x.zip", content, "application/zip")).run())
        assert "at least two classes with images; this has 0" in text(at)
    assert "1 file that systems leave behind is passed over." in text(at)


def test_what_is_brought_gives_its_own_name_unless_another_was_written(opened, root):
    at = opened("data", data_view="own")
    for name in ("pets", "birds"):
        file = (f"{name}.zip", zip_of({"ant": 3, "cat": 4}), "application/zip")
        at = fine(at.file_uploader(key="own_zip").set_value(file).run())
        assert at.text_input(key="own_name").value == name
    at = fine(at.text_input(key="own_name").set_value("mine").run())
    at = fine(at.file_uploader(key="own_zip").set_value(file).run())
    assert at.text_input(key="own_name").value == "mine"


def test_what_is_doubtful_comes_first_once_it_is_known(opened, root):
    upload = own_data.zipped(io.BytesIO(zip_of({"cat": 4, "dog": 5})))
    own_data.write(own_data.check(upload), upload, root, "pets", {"size": 16})
    at = opened("data", data_view="album", album="pets")
    assert "album_order" not in {box.key for box in at.selectbox}
    photos = changes.photos(root, "pets")
    side = np.array([[1.0, 0.0], [0.0, 1.0]])[[int(photo.cls == "dog") for photo in photos]]
    side[-1] = [1.0, 0.1]  # the last dog is among the cats
    look.file_of(root, "pets").parent.mkdir(parents=True)
    np.savez(
        look.file_of(root, "pets"),
        marks=np.array([photo.mark for photo in photos]),
        features=side / np.linalg.norm(side, axis=1, keepdims=True),
    )
    at = fine(at.run())
    assert at.selectbox(key="album_order").value == "first"
    first = next(box for box in at.checkbox if (box.key or "").startswith("album_pick"))
    assert first.key == f"album_pick_{photos[-1].mark}"


def test_images_are_looked_through_moved_renamed_and_brought_back(opened, root, monkeypatch):
    upload = own_data.zipped(io.BytesIO(zip_of({"cat": 4, "dog": 5})))
    own_data.write(own_data.check(upload), upload, root, "pets", {"size": 16})
    photos = changes.photos(root, "pets")
    side = np.array([[1.0, 0.0], [0.0, 1.0]])[[int(photo.cls == "dog") for photo in photos]]
    side[0] = [0.1, 1.0]  # a cat among the dogs
    look.file_of(root, "pets").parent.mkdir(parents=True)
    np.savez(
        look.file_of(root, "pets"),
        marks=np.array([photo.mark for photo in photos]),
        features=side / np.linalg.norm(side, axis=1, keepdims=True),
    )
    at = opened("data", data_view="album", album="pets")
    assert "1 lie among the images of another class" in text(at) and "more like dog" in text(at)
    boxes = [box for box in at.checkbox if (box.key or "").startswith("album_pick")]
    assert len(boxes) == 9 and boxes[0].key == f"album_pick_{photos[0].mark}"
    at = fine(boxes[0].check().run())
    at = fine(at.selectbox(key="album_goal").set_value("dog").run())
    at = fine(at.button(key="album_move").click().run())
    assert [photo.cls for photo in changes.photos(root, "pets")].count("dog") == 6
    assert "0 lie among the images of another class" in text(at)  # told again without a network
    at = fine(at.selectbox(key="album_class").set_value("dog").run())
    at = fine(at.text_input(key="album_new").set_value("hound").run())
    at = fine(at.button(key="album_rename").click().run())
    assert (
        datasets.row_of("pets", root).classes == ("cat", "hound") and at.selectbox(key="album_class").value == "hound"
    )
    assert at.get_by_key("album_known").value == ["cat", "hound"]
    for left in ("Undo: 1 images moved to dog", None):
        at = fine(at.button(key="album_undo").click().run())
        assert [button.label for button in at.button if button.key == "album_undo"] == ([left] if left else [])
    assert [photo.path for photo in changes.photos(root, "pets")] == [photo.path for photo in photos]
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened("data", data_view="album", album="pets")
    assert not {"album_move", "album_out", "album_train", "album_look"} & {button.key for button in at.button}


def test_a_folder_on_the_server_is_a_second_door(opened, root, tmp_path, monkeypatch):
    for cls in ("ant", "bee"):
        (tmp_path / "My Pets" / cls).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (8, 8), (40 * n, ord(cls[0]), 0)).save(tmp_path / "My Pets" / cls / f"{n}.png")
    at = opened("data", data_view="own", own_way="folder")
    at = fine(at.text_input(key="own_folder").set_value(str(tmp_path / "My Pets")).run())
    assert at.text_input(key="own_name").value == "my-pets"
    at = fine(at.button(key="own_write").click().run())
    assert at.selectbox(key="album").value == "my-pets" and (tmp_path / "My Pets" / "ant" / "0.png").exists()
    monkeypatch.setenv("ANCHORSCOPE_FOLDERS", str(root))
    at = opened("data", data_view="own", own_way="folder")
    at = fine(at.text_input(key="own_folder").set_value(str(tmp_path / "My Pets")).run())
    assert "only from" in at.error[0].value
    monkeypatch.setattr(holdings, "folders_allowed", list)
    at = opened("data", data_view="own", own_way="folder")
    assert "own_folder" not in [box.key for box in at.text_input] and "ANCHORSCOPE_FOLDERS" in text(at)


def test_a_folder_that_changes_meanwhile_is_checked_again(opened, root, image_folder, monkeypatch):
    place, looked = image_folder("pets", {"ant": 3, "bee": 3}) / "pets", []
    monkeypatch.setattr(own_data, "check", lambda *a, check=own_data.check, **how: looked.append(1) or check(*a, **how))
    at = opened("data", data_view="own", own_way="folder")
    at = fine(at.text_input(key="own_folder").set_value(str(place)).run())
    at = fine(at.run())
    assert len(looked) == 1 and not at.error
    (place / "ant" / "000.png").write_bytes((place / "bee" / "000.png").read_bytes())
    at = fine(at.run())
    assert len(looked) == 2 and "1 image is there more than once" in text(at)
    (place / "cat").mkdir()
    at = fine(at.run())
    assert len(looked) == 3 and "No image can be taken of: cat" in text(at)
    at = fine(at.button(key="own_again").click().run())
    assert len(looked) == 4


def test_pictures_are_taken_class_by_class(opened, root):
    at = opened("data", data_view="own", own_way="camera")
    for n in range(6):
        at = fine(at.text_input(key="own_camera_class").set_value(("ant", "bee")[n // 3]).run())
        file = io.BytesIO()
        Image.new("RGB", (20, 12), (40 * n, 0, 0)).save(file, "JPEG")
        at = fine(at.camera_input(key=f"own_camera_{n}").set_value(("shot.jpg", file.getvalue(), "image/jpeg")).run())
    assert "ant: 3 pictures" in text(at).replace("*", "") and at.text_input(key="own_name").value == "my-photos"
    at = fine(at.button(key="own_less_bee").click().run())
    assert "too few have" in text(at)
    at = fine(at.camera_input(key="own_camera_6").set_value(("shot.jpg", file.getvalue(), "image/jpeg")).run())
    at = fine(at.button(key="own_write").click().run())
    assert datasets.counts("my-photos", root) == {0: 2, 1: 2} and at.selectbox(key="album").value == "my-photos"


def test_a_sample_is_there_at_a_click(opened, root):
    at = opened("data", data_view="own")
    at = fine(at.button(key="own_sample").click().run())
    assert at.selectbox(key="album").value == sample.NAME and at.get_by_key("album_known").value == list("012345")
    assert "6 known, 4 unknown classes" in text(at)


def test_how_the_names_in_a_zip_are_written_is_guessed_shown_and_changed(opened, root):
    wanted = ["椅子", "ソファ"]
    plain = zip_of({"AAAA": 3, "BBBBBB": 3}).replace(b"cat/broken", b"AAAA/broke")
    written = plain.replace(b"AAAA", wanted[0].encode("cp932")).replace(b"BBBBBB", wanted[1].encode("cp932"))
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("own").run())
    at = fine(at.file_uploader(key="own_zip").upload("x.zip", written, "application/zip").run())
    (how,) = [box for box in at.selectbox if box.label == "How its names are written"]
    assert how.value == "cp932" and all(f"**{cls}**" in text(at) for cls in wanted)
    at = fine(how.set_value("cp437").run())
    assert "椅子" not in text(at) and datasets.folders(root) == []  # nothing is written
    (how,) = [box for box in at.selectbox if box.label == "How its names are written"]
    at = fine(how.set_value("cp932").run())
    at.text_input(key="own_name").set_value("seats")
    at = fine(button(at, "Make it a data set").click().run())
    assert datasets.row_of("seats", root).classes == tuple(sorted(wanted))


def test_what_is_passed_over_is_said(opened, root):
    for cls in ("cat", "dog"):
        (root / "pets" / cls).mkdir(parents=True)
        Image.new("RGB", (12, 12)).save(root / "pets" / cls / "1.png")
        (root / "pets" / cls / "._1.png").write_bytes(b"")
    (root / "pets/cat/2.tiff").write_bytes(b"")
    holdings.look_again()
    seen = text(opened("data"))
    assert "1 images are passed over (cat/2.tiff): TIFF images are not read" in seen
    assert "2 files or folders are such as systems leave behind: cat/._1.png, dog/._1.png." in seen


def test_an_evil_zip_is_told_and_changes_nothing(opened, root):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../evil.png", b"x")
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("own").run())
    at = fine(at.file_uploader(key="own_zip").upload("x.zip", file.getvalue(), "application/zip").run())
    assert len(at.error) == 1 and "lead out" in at.error[0].value and not list(root.glob("*evil*"))


# --- a new run -------------------------------------------------------------------------------------------------------


def in_address(at: AppTest, prefix: str) -> dict[str, str]:
    """What the page has put into the address under names that begin so."""
    said = {}
    for part in at.get("bidi_component"):
        data = json.loads(part.proto.json or "{}")
        said |= data.get("parameters", {}) if isinstance(data, dict) else {}
    return {name: value for name, value in said.items() if value is not None and name.startswith(prefix)}


FORM = {
    "new_dataset": "digits", "new_preset": "paper", "new_trials": "osrci/1,cac-2020/0",
    "new_methods": "cross_entropy,cac", "new_backbone": "plain", "new_seeds": "0-1", "new_cac_alpha": "5, 7.5",
    "new_epochs": "7", "new_lr": "0.003", "new_schedule": "onecycle", "new_trunk_dropout": "0.1",
}  # fmt: skip


def plan(at: AppTest) -> list[str]:
    return next(c.value for c in at.code if "cac_core train" in c.value).splitlines()


def test_a_link_carries_the_whole_form_of_a_new_run(opened):
    at = opened("new", **FORM)
    assert in_address(at, "new_") == FORM and not at.error and not at.warning
    given = {"dataset": "digits", "backbone": "plain", "epochs": 7, "lr": 0.003, "schedule": "onecycle"}
    wanted = [
        recipe.compose("paper", {"dropout": 0.1} | alpha, **given, family=family, trial=trial, method=method, seed=seed)
        for family, trial in (("osrci", "1"), ("cac-2020", "0")) for method in ("cross_entropy", "cac")
        for alpha in (({"alpha": 5.0}, {"alpha": 7.5}) if method == "cac" else ({},)) for seed in (0, 1)
    ]  # fmt: skip
    assert plan(at) == [plans.command("paper", one) for one in wanted]
    epochs = recipe.compose("paper", dataset="digits", backbone="plain").epochs
    at = fine(at.number_input(key="new_epochs_paper_digits_plain").set_value(epochs).run())
    at = fine(at.text_input(key="new_seeds_paper_digits_plain").set_value("3").run())
    at = fine(at.multiselect(key="new_methods").set_value(["cac"]).run())
    left = {name: value for name, value in FORM.items() if name not in ("new_epochs", "new_methods")}
    assert in_address(at, "new_") == left | {"new_seeds": "3"}


def test_of_a_form_that_is_as_it_came_the_address_names_the_data_set_and_the_trial(opened):
    assert in_address(opened("new"), "new_") == {"new_dataset": "digits", "new_trials": "osrci/0"}


def test_a_link_to_a_form_leaves_nothing_of_what_was_set_before(opened):
    at = opened("new")
    at = fine(at.number_input(key="new_batch_quick_digits_small").set_value(16).run())
    at = fine(at.text_input(key="new_seeds_quick_digits_small").set_value("4").run())
    at = fine(at.switch_page(PAGES["live"]).run())
    at = fine(at.switch_page(PAGES["new"]).run())  # by the navigation: as it was
    assert "--batch 16" in plan(at)[0] and "--seed 4" in plan(at)[0]
    at = fine(at.switch_page(PAGES["live"]).run())
    at.query_params |= {"new_dataset": "digits", "new_trials": "osrci/2", "new_lr": "0.5"}
    at = fine(at.switch_page(PAGES["new"]).run())
    wanted = recipe.compose("quick", dataset="digits", trial="2", lr=0.5)
    assert plan(at) == [plans.command("quick", wanted)]
    at = fine(at.number_input(key="new_lr_quick_digits_small").set_value(0.25).run())  # the address says 0.5 still
    assert "--lr 0.25" in plan(at)[0]


@pytest.mark.parametrize(
    "value", ["", "-1", "nan", "1e999", "9" * 40, "x" * 5000, "<b>", "osrci/99,/,a", "true", '"', "5,"]
)
def test_nonsense_in_a_link_to_a_form_does_no_harm(opened, value):
    at = opened("new", **dict.fromkeys([*FORM, "new_device", "new_flip", "new_other"], value))
    assert at.selectbox(key="new_dataset").value == "digits"
    assert all(len(said) <= 200 for said in in_address(at, "new_").values())


def test_what_is_started_is_what_the_command_line_would_train(opened, store, root):
    at = opened("new")
    at = fine(at.button(key="new_start").click().run())
    (one,) = launch.jobs(store)
    given = Recipe.from_json(json.loads((store / ".queue" / "recipes" / f"{one.run}.json").read_text()))
    assert given == recipe.compose("quick", {}, dataset="digits") and one.arguments[-1] == str(root.absolute())
    assert "In the queue already: 1." in text(at) and at.button(key="new_start").disabled
    fine(at.run())
    assert len(launch.jobs(store)) == 1


def test_many_runs_in_one_go(opened, store):
    at = opened("new")
    at = fine(at.multiselect(key="new_trials_digits").set_value([("osrci", "0"), ("osrci", "1")]).run())
    at.multiselect(key="new_methods").set_value(["cac", "cross_entropy"])
    at = fine(at.run())
    seeds = next(i for i in at.text_input if i.label == "Seeds")
    alpha = next(i for i in at.text_input if i.label == "cac: alpha")
    seeds.set_value("0-2")
    alpha.set_value("5, 10")
    at = fine(at.run())
    assert at.button(key="new_start").label == f"Start {2 * 3 * (2 + 1)} runs"
    seeds = next(i for i in at.text_input if i.label == "Seeds")
    at = fine(seeds.set_value("0-200").run())
    assert "more than 60 runs" in text(at) and "new_start" not in [b.key for b in at.button]
    at = fine(next(i for i in at.text_input if i.label == "Seeds").set_value("one").run())
    assert "“one” is no such number" in text(at)
    at = fine(next(i for i in at.text_input if i.label == "Seeds").set_value("0-2").run())
    fine(at.button(key="new_start").click().run())
    assert len({j.run for j in launch.jobs(store)}) == 18


def test_a_finished_run_is_not_trained_again_and_tells_how_long_others_take(opened, finished, store):
    at = opened("new")
    epochs = next(n for n in at.number_input if n.label == "Epochs")
    at = fine(epochs.set_value(3).run())
    assert at.button(key="new_start").disabled and "Finished already, and not trained again: 1." in text(at)
    at = fine(next(n for n in at.number_input if n.label == "Epochs").set_value(60).run())
    times = [e["time"] for e in finished.epochs()]
    seconds = 60 * float(np.median(np.diff(times)))
    assert f"About **{wording.span(seconds)}**" in text(at) and finished.id in text(at)
    at = fine(at.multiselect(key="new_methods").set_value([]).run())
    assert "at least one method" in text(at)


def test_the_way_to_live_leads_to_what_was_started(opened, finished, store):
    at = opened("new")
    at = fine(next(n for n in at.number_input if n.label == "Epochs").set_value(3).run())
    assert door(at, "Watch them under Live")["watched"] == finished.id
    at = fine(next(i for i in at.text_input if i.label == "Seeds").set_value("0, 7").run())
    at = fine(at.button(key="new_start").click().run())
    (one,) = launch.jobs(store)
    assert door(at, "Watch them under Live")["watched"] == one.run != finished.id


def measured(**fields) -> probe.Measured:
    """As if a probe had measured what the page shows; fields are those of Measured."""
    (file,) = plans.probes([recipe.compose()], {recipe.DEFAULT.id: TRIAL}, "cpu")
    one = {
        "device": "cpu", "start": 2.0, "step": 0.5, "validation": 0.01, "evaluation": 0.02, "memory": 700_000_000,
        "room": 0, "steps": 10, "images": (100, 1000), "weights": 4_000_000, "trained": 3_000_000,
        "outputs": 1_000_000, "snapshots": (60, 1000), "beside": False,
    }  # fmt: skip
    runs.write_json(file, one | fields)
    return probe.kept(file)


TRIAL = datasets.trial_of(Recipe(), datasets.DIGITS)


def ended(at: AppTest) -> AppTest:
    """The page after the probe that it has begun."""
    at.session_state["new_probe"].process.wait(LONG)
    return fine(at.run())


def free(monkeypatch):
    """The device is free, as far as the store tells."""
    monkeypatch.setattr(probe, "busy", BUSY)


BUSY = probe.busy


@contextlib.contextmanager
def held(store):
    """No probe on the processor ends while this is open: each waits for the one before, and that is this."""
    lock = store / probe.FILES / "cpu.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lock):
        yield


def test_a_probe_in_a_process_of_its_own_tells_what_a_run_takes(opened, store, monkeypatch):
    free(monkeypatch)
    with held(store):
        at = opened("new")
        assert "Measuring on this machine" in text(at) and at.session_state["new_probe"].going
    at = ended(at)
    (file,) = (store / ".probes").glob("*.json")
    one, given = probe.kept(file), recipe.compose()
    assert f"About **{wording.span(one.seconds(given))}**, {wording.megabytes(one.memory)} of memory" in text(at)
    assert wording.megabytes(one.disk(given)) in text(at) and "Measuring" not in text(at) and not at.warning
    at.text_input(key="new_seeds_quick_digits_small").set_value("0-2")
    at.text_input(key="new_cac_alpha_quick_digits_small").set_value("5, 10")
    at.text_input(key="new_cac_lam_quick_digits_small").set_value("0.1")
    at = fine(at.run())  # one probe serves them all
    total = 6 * one.seconds(given)
    assert f"About **{wording.span(total)}**" in text(at) and at.session_state["new_probe"] is None
    assert len(list((store / ".probes").glob("*.json"))) == 1
    with held(store):
        at = fine(at.button(key="new_measure_again").click().run())
        assert "Measuring on this machine" in text(at)
        at.session_state["new_probe"].end()


def test_a_probe_ends_when_the_recipe_changes_and_when_it_takes_too_long(opened, store, monkeypatch):
    free(monkeypatch)
    with held(store):
        at = opened("new")
        first = at.session_state["new_probe"]
        at = fine(at.number_input(key="new_batch_quick_digits_small").set_value(16).run())
        second = at.session_state["new_probe"]
        assert not first.going and second.going and second.file != first.file
        at.session_state["new_probe"] = dataclasses.replace(second, began=second.began - 1000)
        at = fine(at.run())
        assert "could not be measured: It took longer than" in text(at) and not second.going
        at = fine(at.button(key="new_measure").click().run())
        assert at.session_state["new_probe"].going
        at.session_state["new_probe"].end()
    at = fine(at.run())
    assert "It ended without a word (-9)" in text(at)
    at = fine(at.number_input(key="new_batch_quick_digits_small").set_value(1).run())
    assert at.session_state["new_probe"] is None


def test_a_device_at_work_is_measured_only_when_asked(opened, store):
    at = opened("new")
    assert "another-run is at work on this device" in text(at) and "new_probe" in at.session_state
    assert at.session_state["new_probe"] is None
    at = ended(fine(at.button(key="new_measure").click().run()))
    (file,) = (store / ".probes").glob("*.json")
    assert "About **" in text(at) and probe.kept(file)  # the process knows nothing of the other run


def test_a_measurement_beside_other_work_says_so_and_is_made_again_when_that_has_ended(opened, store, monkeypatch):
    measured(beside=True)
    at = opened("new")
    assert "measured beside other work" in text(at)
    free(monkeypatch)
    with held(store):
        at = fine(at.run())
        assert "Measuring on this machine" in text(at)
    assert "beside other work" not in text(ended(at))


def test_a_show_measures_nothing_and_shows_what_is_known(opened, store, monkeypatch):
    free(monkeypatch)
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened("new")
    assert "Nothing is measured here" in text(at) and not at.session_state["new_probe"]
    assert not (store / ".probes").exists()
    one = measured()
    at = fine(at.run())
    assert f"About **{wording.span(one.seconds(recipe.compose()))}**" in text(at)
    assert not {"Measure again", "Measure all the same"} & set(labels(at))


def test_what_does_not_fit_is_said(opened, store):
    measured(memory=10**15, weights=10**16)
    said = [w.value for w in opened("new").warning]
    assert "not fit into memory: it takes about 1000000.0 GB" in said[0] and "too little disk" in said[1]
    measured(memory=9 * 10**9, room=8 * 10**9)  # a card
    (said,) = (w.value for w in opened("new").warning)
    assert "9.0 GB, and 8.0 GB are there" in said


WRONG = [
    ("number_input", "batch", 1, "batch must be a whole number of at least 2, not 1."),
    ("number_input", "epochs", 0, "epochs must be a whole number of at least 1, not 0."),
    ("number_input", "lr", 0.0, "lr must be a positive number, not 0.0."),
    ("number_input", "decay", -1.0, "decay must be a non-negative number, not -1.0."),
    ("number_input", "trunk_dropout", 1.0, "dropout must be at least 0 and less than 1, not 1.0."),
    ("number_input", "trunk_dropout", 1.5, "dropout must be at least 0 and less than 1, not 1.5."),
    ("text_input", "cac_alpha", "10, -3", "alpha must be a positive number, not -3.0."),
    ("text_input", "cac_lam", "-0.1", "lam must be a number of at least 0, not -0.1."),
    ("text_input", "seeds", "-4", "seed must be a whole number of at least 0, not -4."),
]


@pytest.mark.parametrize(("kind", "name", "value", "said"), WRONG)
def test_a_wrong_value_is_said_beside_its_field(opened, kind, name, value, said):
    at = opened("new")
    at = fine(getattr(at, kind)(key=f"new_{name}_quick_digits_small").set_value(value).run())
    (expander,) = (e for e in at.expander if any(w.key and w.key.startswith(f"new_{name}_") for w in getattr(e, kind)))
    assert [e.value.replace("\\", "") for e in expander.error] == [said]
    assert "A value above cannot be used" in text(at) and "new_start" not in [b.key for b in at.button]


def test_a_choice_offers_only_what_there_is(opened):
    at = opened("new")
    at = fine(at.selectbox(key="new_backbone_quick_digits").set_value("resnet18").run())
    assert at.selectbox(key="new_trunk_stem_quick_digits_resnet18").options == ["auto", "small", "original"]


def test_every_option_says_what_it_means(opened):
    at = opened("new")
    at = fine(at.multiselect(key="new_methods").set_value([*recipe.METHODS]).run())
    fields = {i.label: i.proto.help for i in (*at.text_input, *at.selectbox, *at.number_input, *at.toggle)}
    for method in recipe.METHODS:
        assert all(fields[f"{method}: {option}"] for option in recipe.method_options(method)), method
    assert fields["vos: weight"] != fields["crosr: weight"] and fields["cac: lam"] != fields["cider: lam"]
    given = {name for one in recipe.BACKBONES for name in recipe.backbone_options(one)}
    assert given | {name for one in recipe.METHODS for name in recipe.method_options(one)} >= {
        name for name in new_options() if " " not in name
    }, "of an option that there is no more"
    assert given <= new_options()


def new_options() -> set[str]:
    tree = ast.parse((HERE / PAGES["new"]).read_text("utf-8"))
    table = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "OPTIONS")
    return set(ast.literal_eval(table.args[0]))


@pytest.mark.parametrize("preset", ["quick", "standard", "paper", "photos"])
def test_every_preset_can_be_started(opened, preset):
    at = opened("new")
    at = fine(at.segmented_control(key="new_preset").set_value(preset).run())
    assert at.button(key="new_start") and not at.error


def test_an_image_folder_takes_the_preset_for_photos_unless_another_was_chosen(opened, root, image_folder):
    image_folder("pets", {"ant": 4, "bee": 4, "cat": 4})
    trial = datasets.Trial("pets", "custom", "mine", (0, 1), (2,))
    own_data.save_trial(trial, datasets.row_of("pets", root), root)
    at = opened("new")
    assert at.segmented_control(key="new_preset").value == "quick"
    at = fine(at.selectbox(key="new_dataset").set_value("pets").run())
    assert at.segmented_control(key="new_preset").value == "photos"
    assert "3 images to learn from in the smallest known class, fewer than 93" in text(at)
    assert at.number_input(key="new_folds_photos_pets_efficientnet-lite0_few").value == 5
    at = fine(at.selectbox(key="new_dataset").set_value("digits").run())
    assert at.segmented_control(key="new_preset").value == "quick"
    at = fine(at.segmented_control(key="new_preset").set_value("paper").run())
    at = fine(at.selectbox(key="new_dataset").set_value("pets").run())
    assert at.segmented_control(key="new_preset").value == "paper"
    assert opened("new", new_dataset="pets").segmented_control(key="new_preset").value == "photos"


def test_what_decoding_many_photos_takes_is_told_before_anything_is_measured(opened, root, image_folder, monkeypatch):
    image_folder("pets", {"ant": 4, "bee": 4, "cat": 4})
    asked = []
    monkeypatch.setattr(
        holdings, "ahead", lambda *which: asked.append(which) or decoded.Ahead(20_000, 2400.0, 3 * 10**9, 10**9)
    )
    trial = datasets.Trial("pets", "custom", "mine", (0, 1), (2,))
    own_data.save_trial(trial, datasets.row_of("pets", root), root)
    at = opened("new", new_dataset="pets")
    assert asked == [("pets", 224)] and "20000 images are decoded first, once: about **40 min**, and 3.0 GB" in text(at)
    assert "it takes about 3.0 GB, and 1.0 GB are free" in text(at)
    assert "can be measured once they are decoded" in text(at)
    assert "20000 images are decoded first" in text(opened("data", data_view="sets", data_look="pets"))


@pytest.mark.parametrize("images", [3, 200])
def test_the_command_line_of_photos_makes_the_same_recipe_however_many_there_are(root, image_folder, images):
    image_folder("pets", {"ant": 4, "bee": 4, "cat": 4})
    trial = datasets.Trial("pets", "custom", "mine", (0, 1), (2,))
    own_data.save_trial(trial, datasets.row_of("pets", root), root)
    base = recipe.compose("photos", dataset="pets", images=images)
    given = {"folds": base.folds, "size": base.size, "steps": base.steps, "trunk_rate": base.trunk_rate}
    trunk = recipe.backbone_options(base.backbone) | base.trunk
    (one,) = plans.product("photos", given, [trial], ["cac"], [0], {}, trunk)
    arguments, rest = command_line._parser().parse_known_args(plans.command("photos", one).split()[3:])
    assert training_command._recipe(arguments, command_line._options(rest), root) == one
    assert bool(one.folds) is (images == 3) and one.trunk.get("thaw", 0) == (images == 200)


def test_a_preset_is_said_to_be_the_papers_only_where_it_is(opened, image_folder):
    image_folder("pets", {"ant": 3, "bee": 3})
    at = opened("new")
    for preset in ("standard", "paper"):
        at = fine(at.segmented_control(key="new_preset").set_value(preset).run())
        given = recipe.compose(preset, dataset="digits")
        assert given.backbone == "small" and "The small network" in text(at) and "The paper's network" not in text(at)
    assert recipe.compose("standard", dataset="digits").epochs == 3 * recipe.compose("quick", dataset="digits").epochs
    mnist, digits = (recipe.compose("paper", dataset=name) for name in ("MNIST", "digits"))
    assert all(getattr(mnist, name) == getattr(digits, name) for name in ("epochs", "fine_epochs", "lr", "schedule"))
    at = fine(at.selectbox(key="new_dataset").set_value("pets").run())
    assert "Nothing is published for pets: it is trained as CIFAR10 is." in text(at)
    given = recipe.compose("paper", dataset="pets")
    assert given == dataclasses.replace(recipe.compose("paper", dataset="CIFAR10"), dataset="pets")
    at = fine(at.selectbox(key="new_dataset").set_value("MNIST").run())
    assert "Nothing is published" not in text(at)


@pytest.mark.parametrize(
    "preset, fields, options",
    [
        ("quick", {}, {}),
        ("standard", {"dataset": "digits", "batch": 64}, {}),
        ("paper", {"dataset": "digits", "seed": 3, "epochs": 7}, {"alpha": 5.0, "dropout": 0.1}),
        ("quick", {"method": "cross_entropy", "schedule": "constant", "precision": "float32", "lr": 0.003}, {}),
        ("report-mnist", {"dataset": "digits", "trunk_rate": 0.1, "size": 24}, {"pretrained": True, "input_size": 96}),
    ],
)
def test_the_command_line_shown_makes_the_same_recipe(root, preset, fields, options):
    one = recipe.compose(preset, options, **{"dataset": "digits", **fields})
    words = plans.command(preset, one).split()[3:]
    arguments, rest = command_line._parser().parse_known_args(words)
    assert training_command._recipe(arguments, command_line._options(rest), root) == one


def test_the_command_line_of_a_saved_trial_makes_the_same_recipe(root):
    trial = datasets.Trial("digits", "custom", "mine", (1, 2, 3), (7,))
    own_data.save_trial(trial, datasets.DIGITS, root)
    (one,) = plans.product("quick", {}, [trial], ["cac"], [0], {}, {})
    arguments, rest = command_line._parser().parse_known_args(plans.command("quick", one).split()[3:])
    assert training_command._recipe(arguments, command_line._options(rest), root) == one


NUMBERS = [
    ("0", int, [0]),
    ("1, 5 10", int, [1, 5, 10]),
    ("0-3,2", int, [0, 1, 2, 3]),
    ("0.1 1e-3", float, [0.1, 1e-3]),
]


@pytest.mark.parametrize("said, kind, values", NUMBERS)
def test_numbers_are_read_as_people_write_them(said, kind, values):
    assert plans.numbers(said, kind) == values


@pytest.mark.parametrize("said", ["", "a", "1.5", "3-", "1;2", "0-99999"])
def test_what_is_no_number_is_named(said):
    with pytest.raises(ValueError):
        plans.numbers(said, int)


# --- a data set that has changed since -------------------------------------------------------------------------------


@pytest.fixture
def of_other_images(trained, store):
    """of_other_images(state): a run of what New run opens with, on images that the data set no longer holds."""

    def make(state: str = "finished", **counts) -> Run:
        run = Run(store / recipe.compose().id)
        shutil.copytree(trained[1].path, run.path)
        record = trained[1].record | {"recipe": recipe.compose().to_json(), "data": "0123456789abcdef"}
        runs.write_json(run.path / "recipe.json", {k: v for k, v in record.items() if k != "images"} | counts)
        runs.write_json(run.path / "status.json", {"state": state})
        return run

    return make


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_new_run_says_that_the_images_have_changed_and_trains_again(opened, store, of_other_images, state):
    run = of_other_images(state, images={"train": 100, "test": 20})
    at = opened("new")
    said = text(at)
    assert "on other images, 1: digits has changed since" in said and "100 training and 20 test images" in said
    assert "now: 1438 training and 359 test images" in said and "Finished already" not in said
    assert at.button(key="new_start").disabled and not launch.jobs(store)
    fine(at.button(key="new_again").click().run())
    (one,) = launch.jobs(store)
    assert one.run == run.id and one.arguments[-1] == "--again" and run.path.exists()


def test_an_old_record_without_counts_is_told_by_its_digest(opened, of_other_images):
    of_other_images()
    assert "images of digest 0123456789abcdef" in text(opened("new"))


def test_a_run_of_the_same_images_or_of_nobody_knows_which_is_finished(opened, of_other_images, trained):
    run = of_other_images()
    for record in ({"data": trained[1].record["data"]}, {"data": None}):
        runs.write_json(run.path / "recipe.json", run.record | record)
        at = opened("new")
        assert "Finished already, and not trained again: 1." in text(at)
        assert "new_again" not in [b.key for b in at.button]


def test_in_a_show_nothing_is_trained_again(opened, of_other_images, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    of_other_images()
    at = opened("new")
    assert "has changed since" in text(at) and "new_again" not in [b.key for b in at.button]


def test_live_says_how_a_run_came_that_was_not_trained(opened, of_other_images):
    run = of_other_images()
    runs.write_json(run.path / "status.json", {"state": "finished", "reason": "An ensemble of <b>one</b>, two."})
    assert r"An ensemble of \<b\>one\<\/b\>\, two\." in [c.value for c in opened("live", watched=run.id).caption]


def test_live_says_why_a_training_of_other_images_did_not_begin_and_offers_it_again(
    opened, store, of_other_images, monkeypatch
):
    run = of_other_images()
    monkeypatch.setattr(evaluate, "opens", lambda run: True)  # its weights, which a toy has not
    with pytest.raises(ValueError, match="has changed since") as refused:
        loop.train(recipe.compose(), store, store.parent / "data", device="cpu")
    failed = made(job(store), state="failed", exit_code=1, reason=str(refused.value))
    at = opened("live", watched=run.id)
    assert text(at).count("is finished, but of other images") == 2  # in the queue, and beside the training
    fine(at.button(key="run_again_new").click().run())
    (again,) = [one for one in launch.jobs(store) if one.state == "queued"]
    assert again.id != failed.id and again.run == run.id and again.arguments[-1] == "--again"


# --- live ------------------------------------------------------------------------------------------------------------


def order(store) -> list[str]:
    return [one.id for one in jobs.waiting(launch.jobs(store))]


def test_the_queue_is_reordered_stopped_resumed_and_emptied(opened, store):
    a, b, c = (job(store, n) for n in range(3))
    at = opened("live")
    at = fine(at.button(key=f"up_{c.id}").click().run())
    assert order(store) == [a.id, c.id, b.id]
    at = fine(at.button(key=f"up_{c.id}").click().run())
    assert order(store) == [c.id, a.id, b.id] and at.button(key=f"up_{c.id}").disabled
    at = fine(at.button(key=f"down_{a.id}").click().run())
    assert order(store) == [c.id, b.id, a.id]
    at = fine(at.button(key=f"stop_{b.id}").click().run())
    assert launch.find(store, b.id).state == "stopped" and order(store) == [c.id, a.id]
    at = fine(at.button(key=f"again_{b.id}").click().run())
    assert launch.find(store, b.id).state == "queued"
    at = fine(at.button(key=f"stop_{a.id}").click().run())
    fine(at.button(key=f"remove_{a.id}").click().run())
    assert a.id not in [one.id for one in launch.jobs(store)]
    at = fine(at.run())
    fine(at.button(key="stop_waiting").click().run())
    assert {one.state for one in launch.jobs(store)} == {"stopped"}


def test_a_long_queue_is_listed_in_part(opened, store):
    made = [job(store, n) for n in range(13)]
    at = opened("live")
    assert "13 wait; the first 10 are listed" in text(at)
    assert f"stop_{made[9].id}" in [b.key for b in at.button] and f"stop_{made[10].id}" not in [
        b.key for b in at.button
    ]


def test_moving_in_the_queue_moves_one_job_only(store):
    made = [job(store, n) for n in range(5)]
    for by in (-4, -1, 1, 3):
        for one in made:
            queue = jobs.waiting(launch.jobs(store))
            ids = [j.id for j in queue]
            for name, priority in jobs.moved(queue, next(j for j in queue if j.id == one.id), by).items():
                launch.reorder(launch.find(store, name), priority)
            wanted = [name for name in ids if name != one.id]
            wanted.insert(max(ids.index(one.id) + by, 0), one.id)
            assert order(store) == wanted


def test_a_finished_training_shows_its_course(opened, finished):
    at = opened("live")
    last = finished.epochs()[-1]
    shown = {m.label: m.value for m in at.metric}
    assert shown["Accuracy, validation"] == charts.percent(last["validation"]["accuracy"])
    assert shown["Best epoch"] == str(last["best_epoch"]) and "Time left" not in shown
    at.session_state["course_table"] = True
    table = fine(at.run()).dataframe[0].value
    assert table["total, train"].tolist() == [e["train"]["total"] for e in finished.epochs()]
    assert table["learning rate"].tolist() == [e["lr"] for e in finished.epochs()]


def test_the_cloud_is_the_newest_snapshot_on_the_anchor_wheel(finished):
    said, stored = courses.snapshot(finished), finished.snapshots()
    logits, turn = stored["logits"][-1].astype(float), 2 * np.pi * np.arange(6) / 6
    alpha = recipe.method_options("cac")["alpha"]
    for (x, y), z in zip(said.xy, logits, strict=True):
        assert x == pytest.approx(sum(z * np.cos(turn)) / alpha) and y == pytest.approx(sum(z * np.sin(turn)) / alpha)
    assert said.epoch == stored["epochs"][-1] and said.anchors
    spec = courses.cloud(said, finished.known_names, charts.LIGHT)
    names = [s.get("name") for s in spec["series"]]
    assert not {charts.REJECTED, charts.ACCEPTED} & set(names)


def test_the_curves_hold_every_epoch_and_no_infinity(finished):
    said = courses.course(finished)
    spec = courses.loss_curves(said, charts.LIGHT, 3)
    drawn = {s["name"]: s["data"] for s in spec["series"]}
    for split in ("train", "validation"):
        for name in ("total", "tuplet", "anchor"):
            wanted = [(e["epoch"], e[split][name]) for e in finished.epochs()]
            assert [tuple(p) for p in drawn[f"{name}, {split}"]] == [pytest.approx(w, rel=1e-4) for w in wanted]
    runs.append(finished.path / "events.jsonl", {"kind": "epoch", "epoch": 4, "train": {"total": float("nan")}})
    spec = courses.loss_curves(courses.course(finished), charts.LIGHT, 4)
    assert json.loads(json.dumps(spec, allow_nan=False))
    assert dict(map(tuple, next(s for s in spec["series"] if s["name"] == "total, train")["data"]))[4] is None


@pytest.fixture
def staged(make_run):
    """A run of a method that makes images up, of three epochs, the last of which is the last stage."""
    run = make_run("staged", method="osrci")
    made = {"critic_total": -9.0, "critic_penalty": 9.0, "rebuilt_total": 0.2, "rebuilt_away": 0.1}
    for epoch, terms in enumerate(({"total": 0.3, "one_vs_rest": 0.3} | made, {"total": 0.2, "one_vs_rest": 0.2} | made,
                                   {"total": 0.9, "known": 0.5, "unknown": 0.4}), 1):  # fmt: skip
        runs.append(run.path / "events.jsonl", {
            "kind": "epoch", "epoch": epoch, "epochs": 3, "train": terms, "lr": 0.1,
            "validation": {"total": 0.1 * epoch, "known": 0.1 * epoch, "accuracy": 1 - 0.1 * epoch},
            "best_epoch": 3 if epoch == 3 else -1,
        })  # fmt: skip
    return run


def test_what_makes_images_up_has_losses_of_its_own_and_the_last_stage_is_marked(opened, staged):
    said = courses.course(staged)
    assert said.parts == ["net", "rebuilt", "critic"] and said.turn == 3
    drawn = {part: courses.loss_curves(said, charts.LIGHT, 3, part) for part in said.parts}
    assert [line["name"] for line in drawn["net"]["series"]] == [
        "total, train", "total, validation", "known images, train", "made images, train"
    ]  # fmt: skip
    assert [line["name"] for line in drawn["critic"]["series"]] == ["critic, total, train", "slope, train"]
    marks = {
        part: {mark["label"]["formatter"]: mark["xAxis"] for mark in option["series"][0]["markLine"]["data"]}
        for part, option in drawn.items()
    }
    turn = {"last stage": 2.5}
    assert marks == {"net": turn | {"best": 3}, "rebuilt": turn, "critic": turn}
    assert courses.accuracy_curve(said, charts.LIGHT, 3)["series"][0]["markLine"]["data"][0]["xAxis"] == 2.5
    at = opened("live", losses="critic")
    assert "The last stage begins with epoch 3" in text(at) and at.session_state["losses"] == "critic"
    assert "- **made images**: cross-entropy of K + 1" in next(m.help for m in at.markdown if m.value == "**Loss**")


def test_before_the_last_stage_no_epoch_is_the_best_and_none_is_marked(staged):
    lines = (staged.path / "events.jsonl").read_text("utf-8").splitlines()
    (staged.path / "events.jsonl").write_text("\n".join(lines[:2]) + "\n", "utf-8")
    said = courses.course(staged)
    option = courses.loss_curves(said, charts.LIGHT, 3)
    assert said.turn == 0 and "markLine" not in option["series"][0]


def test_a_record_of_epochs_without_losses_is_shown(opened, staged):
    (staged.path / "events.jsonl").unlink()
    runs.append(staged.path / "events.jsonl", {"kind": "epoch", "epoch": 1, "epochs": 3})
    assert courses.course(staged).parts == ["net"] and "**Loss**" in text(opened("live"))


def test_lines_are_told_by_shape_and_dash_and_the_legend_has_its_room():
    names = ("total", "tuplet", "anchor", "known")
    epochs = tuple(range(1, 101))
    terms = {(split, name): tuple(n + 1 / e for e in epochs) for n, name in enumerate(names)
             for split in ("train", "validation")}  # fmt: skip
    said = courses.Course(epochs, terms, (0.1,) * 100, {}, 7, 0)
    option = courses.loss_curves(said, charts.LIGHT, 100)
    looks = {(line["symbol"], line["lineStyle"]["type"]) for line in option["series"]}
    assert len(looks) == len(option["series"]) == 8
    for line in option["series"]:
        assert sum(isinstance(point, list) for point in line["data"]) <= courses.SYMBOLS  # with a symbol
    title = option["xAxis"]["nameGap"] + 12
    assert option["grid"]["bottom"] >= title + charts.ROW * 8 and option["legend"]["orient"] == "vertical"


def test_every_term_and_every_last_stage_of_a_method_has_words():
    x, y, found = torch.rand(8, 1, 16, 16), torch.arange(8) % 4, set()
    for method in recipe.METHODS:
        net = evaluate.build(recipe.compose(method=method), 4, 1, 16)
        net.first(iter([(x, y)]))
        found |= net.terms(torch.zeros(8, 4), y).keys()
        for net.way in (0.0, 1.0):
            if net.way and hasattr(net, "found"):
                net.found[0] = 8
            images, labels = x.repeat(net.views, 1, 1, 1), y.repeat(net.views)
            for part, terms in net.losses(images, labels):
                found |= {name if part == "net" else f"{part}_{name}" for name in terms}
        assert not net.begins or method in courses.STAGES
    assert found <= courses.TERMS.keys() and not courses.TERMS.keys() - found


@pytest.mark.parametrize("done, total, end", [(0, 5, 5), (0, 400, 10), (3, 1, 1), (10, 400, 10), (11, 400, 20),
                                              (57, 400, 80), (321, 400, 400), (400, 400, 400), (0, 0, 1)])  # fmt: skip
def test_the_axis_of_epochs_doubles_up_to_the_last(done, total, end):
    assert courses.reach(tuple(range(1, done + 1)), total) == end


def test_only_what_has_changed_is_read_again(finished, monkeypatch):
    first, reads = courses.course(finished), []
    monkeypatch.setattr(Run, "events", lambda run: reads.append(run))
    assert courses.course(finished) == first and not reads


def test_a_failed_run_says_why_and_what_to_do(opened, store, finished):
    reason = "Out of memory: it was full. Try a smaller batch (--batch 16)."
    runs.write_json(finished.path / "status.json", {"state": "failed", "device": "cpu", "reason": reason})
    (finished.path / "log.txt").write_text("line one\nline <two>\n")
    at = opened("live")
    assert reason in at.error[0].value.replace("\\", "") and "starts again from what was saved" in text(at)
    assert any("line <two>" in c.value for c in at.code)
    at = fine(at.button(key="run_again").click().run())
    (one,) = launch.jobs(store)
    assert one.run == finished.id and one.state == "queued"


def test_a_run_out_of_memory_is_trained_again_in_smaller_batches(opened, store, root):
    """A real one: a process that may have 6 GB and whose first layer wants twice as much."""
    words = ["train", "--dataset", "digits", "--size", "256", "--batch", "640", "--backbone", "plain"]
    ran = subprocess.run(
        [sys.executable, "-m", "cac_core", *words, "--data", str(root), "--runs", str(store), "--device", "cpu"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30)), cwd=HERE,
        capture_output=True, text=True,
    )  # fmt: skip
    (run,) = runs.every(store)
    assert ran.returncode and run.state == "failed" and "Out of memory" in run.status["reason"], ran.stderr
    at = opened("live")
    assert at.selectbox(key="watched").value == run.id and "Out of memory" in text(at)
    fine(button(at, "Train again with batch 320").click().run())
    (waits,) = launch.jobs(store)
    again = Recipe.from_json(json.loads(Path(waits.arguments[2]).read_text("utf-8")))
    assert (again.batch, waits.device) == (320, "cpu")
    assert dataclasses.replace(again, batch=640) == run.recipe
    assert at.selectbox(key="watched").value == again.id == waits.run


def test_missing_images_lead_to_the_data_page(opened, store):
    reason = "MNIST is not under data. Get it with:\n    python -m cac_core fetch MNIST"
    made(job(store), state="failed", reason=reason)
    at = opened("live")
    assert "python -m cac_core fetch MNIST" in text(at) and any(
        "Data and trials" in link.proto.label for link in at.get("page_link")
    )


def test_a_run_that_another_tab_deletes_is_said_to_be_gone(opened, store, finished):
    made(launch.submit_recipe(store, finished.recipe), state="finished")
    at = opened("live", watched=finished.id)
    assert "Accuracy, validation" in [m.label for m in at.metric]
    trashed = shelf.delete(finished)
    at = fine(at.run())
    assert "is not here any more" in text(at) and "brought back from the trash" in text(at)
    assert "being made ready" not in text(at)
    shelf.restore(trashed)
    assert "Accuracy, validation" in [m.label for m in fine(at.run()).metric]
    shelf.delete(finished)
    (one,) = launch.jobs(store)
    launch.remove(one)
    assert f"There is no training called “{finished.id}” here. It was deleted" in text(fine(at.run()))


def test_a_training_that_begins_from_the_command_line_is_watched_as_starting(opened, store):
    runs.write_json(store / "begun" / "status.json", {"state": "starting", **runs.process_now()})
    at = opened("live", watched="begun")
    assert at.selectbox(key="watched").value == "begun" and "It is being made ready" in text(at) and not at.error
    assert "The queue is empty; what runs was started elsewhere." in text(at)
    said = {"kind": "reading", "done": 64, "of": 20_000, "images_per_second": 8.0, "seconds_left": 2492.0}
    runs.append(store / "begun" / "events.jsonl", said)
    at = fine(at.run())
    assert "It is being made ready" in text(at)
    (bar,) = at.get("progress")
    assert bar.proto.text == "Images decoded, once: 64 of 20000 · 8 a second, 42 min left"


def test_what_comes_before_the_first_epoch_is_told_as_what_it_is(opened, finished):
    runs.write_json(finished.path / "status.json", {"state": "running", "device": "cpu", **runs.process_now()})
    (finished.path / "events.jsonl").unlink()

    def said(at):
        return [bar.proto.text for bar in at.get("progress")]

    for done, words in ((64, "Images decoded, once: 64 of 200 · 9 a second, 15 s left"),
                        (200, "Images decoded, once: 200 of 200")):  # fmt: skip
        rate = {"images_per_second": 9.0, "seconds_left": (200 - done) / 9}
        runs.append(finished.path / "events.jsonl", {"kind": "reading", "done": done, "of": 200, "time": done, **rate})
        at = fine(opened("live", watched=finished.id))
        assert said(at) == [words] and not at.metric
    runs.append(finished.path / "events.jsonl", {"kind": "features", "done": 0, "of": 308, "time": 300})
    at = fine(opened("live", watched=finished.id))
    assert said(at) == ["Features of images, computed once: 0 of 308"] and not at.metric


def test_what_was_stopped_before_it_began_says_so(opened, store):
    one = launch.stop(job(store))
    at = opened("live", watched=one.run)
    assert "Stopped before it began." in text(at) and "being made ready" not in text(at)
    fine(at.button(key="run_again").click().run())
    assert launch.find(store, one.id).state == "queued"


def test_a_run_whose_folder_is_called_otherwise_goes_on_there(opened, store, finished):
    run = runs.Run(finished.path.rename(store / "my-first-run"))
    runs.write_json(run.path / "status.json", {"state": "stopped"})
    fine(opened("live", watched=run.id).button(key="run_again").click().run())
    (one,) = launch.jobs(store)
    assert (one.run, one.arguments[:3]) == (run.id, ("train", "--resume", run.id))


def test_every_job_that_has_ended_can_be_reached_and_opened(opened, store, finished):
    first = made(launch.submit_recipe(store, finished.recipe), state="finished")
    every = [first, *(made(job(store, n), state="failed", reason="x") for n in range(1, 25))]
    found = []
    at = opened("live")
    assert any(e.label == "Ended (25)" for e in at.expander)
    for number in (1, 2, 3):
        at.session_state["ended_page"] = number
        at = fine(at.run())
        found += [b.key.removeprefix("remove_") for b in at.button if re.fullmatch(r"remove_\d.*", b.key)]
    assert found == [one.id for one in reversed(every)]
    assert door(at, "Open")["run"] == finished.id
    one = every[4]
    at = fine(at.button(key=f"show_{one.id}").click().run())
    assert at.selectbox(key="watched").value == one.run


def test_what_has_ended_goes_on_and_is_removed_all_at_once(opened, store, finished):
    first = made(launch.submit_recipe(store, finished.recipe), state="finished")
    for n in range(1, 13):
        made(job(store, n), state=("failed", "stopped", "lost")[n % 3], reason="x")
    at = opened("live")
    assert at.button(key="again_all").label == "Go on with all 12"
    at = fine(at.button(key="again_all").click().run())
    assert [one.state for one in launch.jobs(store)] == ["finished"] + 12 * ["queued"]
    assert "again_all" not in [b.key for b in at.button]
    at = fine(at.button(key="stop_waiting").click().run())
    at = fine(at.button(key="remove_all").click().run())
    assert not launch.jobs(store) and finished.written and first.id not in text(at)


def test_trainings_are_called_by_their_titles(opened, store, finished):
    shelf.write(finished, shelf.Shelf(title="My <b>first</b>"))
    waits = job(store, 5)
    assert opened("live").selectbox(key="watched").options == [waits.run, "My <b>first</b>"]


def test_a_job_gone_meanwhile_does_no_harm(opened, store):
    one = job(store)
    at = opened("live")
    launch.remove(one)
    at = fine(at.button(key=f"stop_{one.id}").click().run())
    assert "no job" in text(at)


def test_from_the_button_to_the_finished_run(root, store, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
    monkeypatch.setattr(worker, "ensure_worker", lambda store: True)
    at = fine(at.switch_page(PAGES["new"]).run())
    at = fine(next(n for n in at.number_input if n.label == "Epochs").set_value(1).run())
    fine(at.button(key="new_start").click().run())
    worker.work(store, once=True, slots={"cpu": ""}, pause=0.1, tell=lambda line: None)
    (one,) = launch.jobs(store)
    assert one.state == "finished" and Run(store / one.run).written
    at = fine(at.switch_page(PAGES["live"]).run())
    assert not at.error and "finished" in text(at)


class Scheduler:
    """A cluster's engine that says what a test has written into `said`; None is no answer."""

    def __init__(self):
        self.tasks, self.needs, self.said, self.stopped = [], None, "queued", []

    def submit(self, tasks, needs):
        self.tasks, self.needs = tasks, needs

    def states(self, tickets):
        if self.said is None:
            raise engines.Unreachable("nobody is there")
        seen = engines.Seen("queued", "", "Resources") if self.said == "queued" else engines.Seen(self.said, "n1")
        return dict.fromkeys(tickets, seen)

    def stop(self, ticket, *, hard):
        self.stopped.append(ticket)

    def slots(self):
        return engines.Slots((3, 4), (1, 2))


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """The engine of a cluster "gpu"; one question is put at every look."""
    file = tmp_path / "clusters.toml"
    file.write_text("[gpu]\nengine = 'slurm'\ngpus = 1\ntime = '2:30:00'\n")
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(file))
    monkeypatch.setattr(clusters, "EVERY", 0.0)
    monkeypatch.setattr("cac_core.jobs.away.SOON", LONG)
    found = Scheduler()
    monkeypatch.setattr(clusters.Cluster, "engine", lambda self, folder: found)
    return found


def test_runs_go_to_a_cluster_as_one_and_live_says_how_they_are(opened, store, scheduler):
    at = opened("new")
    device = at.selectbox(key="new_device")
    assert device.options[-1] == "cluster gpu (3 of 4 processors free, 1 of 2 graphics cards)"
    at = fine(device.set_value("gpu").run())
    assert "3 of 4 processors free" in text(at)  # below the box, too, which cuts it on a narrow screen
    at = fine(next(i for i in at.text_input if i.label == "Seeds").set_value("0-2").run())
    at = fine(at.text_input(key="new_memory_gpu").set_value("much").run())
    assert "“much”" in text(at) or "'much' is no size of memory" in text(at)
    at = fine(at.text_input(key="new_memory_gpu").set_value("16G").run())
    at = fine(at.text_input(key="new_nodes_gpu").set_value("2").run())
    given = "--on gpu --cpus 1 --gpus 1 --memory 16384M --nodes 2 --runs"  # the time is the cluster's own
    assert given in plan(at)[0]
    at = fine(at.text_input(key="new_time_gpu").set_value("").run())
    assert "--memory 16384M --time 0 --nodes 2 --runs" in plan(at)[0]  # and now what Slurm gives, as the button asks
    at = fine(at.text_input(key="new_time_gpu").set_value("2:30:00").run())
    at = fine(at.button(key="new_start").click().run())
    assert scheduler.needs == engines.Needs(1, 1, 16384, 150, nodes=2)
    every = launch.jobs(store)
    assert [task.ticket for task in scheduler.tasks] == [job.ticket for job in every]
    assert len(every) == 3

    at = fine(at.switch_page(PAGES["live"]).run())
    assert "gpu lets it wait: Resources." in text(at)
    assert "3 wait." in text(at)
    assert not {"Sooner", "Start what waits"} & set(labels(at))
    scheduler.said = None
    at = fine(at.run())
    assert "nobody is there" in text(at)
    assert {job.state for job in launch.jobs(store)} == {"unreachable"}
    assert "Stop" in labels(at)
    scheduler.said = "running"
    at = fine(at.run())
    assert {job.state for job in launch.jobs(store)} == {"running"}
    at = fine(button(at, "Stop").click().run())
    assert [job.state for job in launch.jobs(store)].count("stopping") == 1


def test_a_second_click_where_stop_was_forgets_no_training(opened, store, scheduler):
    recipes = [recipe.compose(dataset="digits", seed=seed) for seed in range(2)]
    first, second = launch.submit_there(store, recipes, "gpu", engines.Needs())
    scheduler.said = "running"
    at = opened("live")
    order = [button.key for button in at.button if button.label == "Stop"]
    scheduler.said = None
    at = fine(at.run())
    assert [button.key for button in at.button if button.label == "Stop"] == order  # none has moved under the pointer
    at = fine(at.button(key=f"stop_{first.id}").click().run())
    assert "Stop is asked for. It is done as soon as gpu answers." in text(at)
    assert "Whether it still runs on gpu, nobody knows from here." in text(at)  # said where one gives it up
    assert f"remove_{second.id}" not in [button.key for button in at.button]
    fine(at.button(key=f"remove_{first.id}").click().run())
    assert [job.id for job in launch.jobs(store)] == [second.id]


def test_what_asks_for_more_than_there_is_is_doubted_and_a_cluster_that_is_gone_is_named(opened, scheduler):
    at = opened("new", new_device="gpu", new_cpus="99")
    assert "It asks for 99 processors and 1 graphics cards, and there are 4 and 2" in text(at)
    at = opened("new", new_device="moon")
    assert "There is no device or cluster “moon” here." in text(at)
    at = fine(at.selectbox(key="new_device").set_value("gpu").run())
    at = fine(at.selectbox(key="new_device").set_value("cpu").run())  # as somebody wants it now
    assert "moon" not in text(at)


def test_a_cluster_that_was_chosen_and_is_gone_is_named(opened, scheduler):
    at = opened("live")
    at.session_state["new_device"] = "moon"  # as it was chosen before the file of clusters changed
    at = fine(at.switch_page(PAGES["new"]).run())
    assert at.selectbox(key="new_device").value == "cpu"
    assert "There is no device or cluster “moon” here." in text(at)


def test_of_many_that_run_on_a_cluster_live_lists_the_first(opened, store, scheduler):
    recipes = [recipe.compose(dataset="digits", seed=seed) for seed in range(13)]
    launch.submit_there(store, recipes, "gpu", engines.Needs())
    scheduler.said = "running"
    at = opened("live")
    assert "13 run on clusters; the first 10 are listed." in text(at)
    assert labels(at).count("Stop") == 10


def test_a_file_of_clusters_that_is_wrong_leaves_this_machine(opened, scheduler, tmp_path):
    (tmp_path / "clusters.toml").write_text("[gpu]\nengine = 'pbs'\n")
    at = opened("new")
    assert "pbs" in text(at)
    assert at.selectbox(key="new_device").options[0].startswith("processor")
