"""The paths through the app, by clicking its links: from one's own pictures to a verdict on the command line."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from cac_core import recipe, runs
from cac_core.data import datasets
from cac_core.exchange import shelf
from cac_core.jobs import launch
from tests.e2e.conftest import ROOT, app_over
from tests.waiting import added, at_rest, downloaded, followed, picked
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
COLOURS = {"amber": (230, 160, 30), "blue": (40, 80, 220), "fern": (60, 160, 60)}
STRANGERS = {"pink": (240, 120, 190), "soot": (40, 35, 35)}


def noise(colour: tuple[int, int, int], seed: int) -> bytes:
    rng, file = np.random.default_rng(seed), io.BytesIO()
    pixels = np.clip(np.array(colour) + rng.integers(-40, 40, (16, 16, 3)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    """A store with two runs, and a data root."""
    place = tmp_path_factory.mktemp("paths")
    for name in ("first", "second"):
        shutil.copytree(trained[1].path, place / "runs" / name)
    return place / "runs", place / "data"


@pytest.fixture(scope="module")
def server(folders):
    """An app of these tests' own: they start trainings and delete runs."""
    with app_over(*folders) as address:
        yield address


def test_back_returns_to_the_run_before_with_what_was_set_for_it(page, server):
    page.goto(f"{server}/thresholds?run=first&theta=0.25")
    page.wait_for_selector(".handle[aria-valuenow='0.25']")
    picked(page, re.compile("^Run"), "second")
    until(page, lambda: "run=second" in page.url and "theta=" not in page.url, "the address does not follow")
    page.wait_for_selector(".handle:not([aria-valuenow='0.25'])")
    at_rest(page)
    page.go_back()
    page.wait_for_selector(".handle[aria-valuenow='0.25']")
    at_rest(page)
    assert "run=first" in page.url and "theta=0.25" in page.url
    page.go_forward()
    page.wait_for_selector(".handle:not([aria-valuenow='0.25'])")
    at_rest(page)
    assert "run=second" in page.url and "theta=" not in page.url


def shown_run(page) -> str:
    """The run that the picker shows."""
    return page.get_by_test_id("stSidebar").get_by_role("combobox", name=re.compile("Run")).input_value()


def test_from_ones_own_pictures_to_a_verdict_on_the_command_line(page, server, folders, tmp_path):
    store, root = folders
    with zipfile.ZipFile(tmp_path / "colours.zip", "w") as archive:
        for cls, colour in (COLOURS | STRANGERS).items():
            for n in range(30):
                archive.writestr(f"{cls}/{n}.png", noise(colour, n))

    page.goto(server)
    page.get_by_role("heading", name="Does it know what it does not know?").wait_for()
    picked(page, re.compile("Run"), "second")  # another run is chosen all the way
    until(page, lambda: "run=second" in page.url)

    followed(page, "^Data and trials", "Data and trials")
    page.get_by_text("Images of your own").click()
    at_rest(page)
    page.set_input_files("input[type=file]", tmp_path / "colours.zip")
    until(page, lambda: page.get_by_role("textbox", name="Name of the data set").input_value() == "colours")
    page.get_by_role("button", name="Make it a data set").click()
    page.get_by_text("Which classes shall the network know?").wait_for()
    for cls in STRANGERS:
        at_rest(page)
        page.get_by_role("button", name=cls, exact=True).click()
    page.get_by_text("3 known, 2 unknown classes").wait_for()
    until(page, lambda: "album=colours" in page.url and re.search("album_known=amber%2Cblue%2Cfern(&|$)", page.url))
    page.reload()
    page.get_by_text("3 known, 2 unknown classes").wait_for()
    at_rest(page)
    page.get_by_role("button", name="On to training").click()
    page.get_by_role("heading", name="New run", exact=True).wait_for()
    page.get_by_text("learns 3 classes of colours").wait_for()
    row = datasets.row_of("colours", root)
    saved = datasets.trial_from_file(root / "trials" / "colours.json", "colours", row)
    assert [row.classes[c] for c in saved.known] == list(COLOURS)
    at_rest(page)
    page.go_back()
    page.get_by_text("3 known, 2 unknown classes").wait_for()
    at_rest(page)
    page.get_by_role("button", name="On to training").click()
    page.get_by_text("learns 3 classes of colours").wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("In the queue already: 1.").wait_for()
    (job,) = launch.jobs(store)

    followed(page, "^Watch them under Live", "Live")
    page.get_by_role("link", name="See what it can do").wait_for()
    assert runs.Run(store / job.run).state == "finished" and shown_run(page) == "second"

    followed(page, "^See what it can do", "Does it know what it does not know?")
    assert shown_run(page) == job.run and f"run={job.run}" in page.url
    page.get_by_text("This network learned 3 classes: amber, blue and fern.").wait_for()

    followed(page, "^Choose a threshold", "Thresholds")
    assert shown_run(page) == job.run
    until(page, lambda: f"run={job.run}" in page.url)
    file = downloaded(page, page.get_by_role("button", name="threshold.json"))
    threshold = json.loads(file.read_text("utf-8"))
    assert threshold["run"] == job.run
    page.get_by_text(f"predict {job.run} picture.png --threshold threshold.json").wait_for()

    shutil.copy(file, tmp_path / "threshold.json")
    pictures = {cls: tmp_path / f"{cls}.png" for cls in (*COLOURS, *STRANGERS)}
    for cls, picture in pictures.items():
        picture.write_bytes(noise((COLOURS | STRANGERS)[cls], 1000))
    done = subprocess.run(
        [sys.executable, "-m", "cac_core", "predict", job.run, *map(str, pictures.values()), "--threshold",
         str(tmp_path / "threshold.json"), "--runs", str(store), "--data", str(root), "--json"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    judged = json.loads(done.stdout)["images"]
    assert [one["image"] for one in judged] == [str(picture) for picture in pictures.values()]
    for one in judged:
        assert one["theta"] == pytest.approx(threshold["theta"])
        assert (one["decision"] == "unknown") == (one["score"] > threshold["theta"])


def taken(page, cls: str) -> int:
    said = page.get_by_text(re.compile(rf"^{cls}: \d+ pictures$"))
    return int(re.search(r"\d+", said.inner_text())[0]) if said.count() else 0


def shoot(page, cls: str) -> None:
    """Takes a picture, and waits a while for it: a camera that is just being put up again lets a click pass."""
    at_rest(page)
    before = taken(page, cls)
    page.get_by_role("button", name="Take Photo").click()
    for _ in range(100):
        if taken(page, cls) > before:
            return
        page.wait_for_timeout(100)


def test_from_the_camera_to_a_verdict(page, server, folders):
    store, _ = folders
    page.goto(f"{server}/data?data_view=own&own_way=camera")
    name = page.get_by_role("textbox", name="Name of the class")
    for cls in ("mug", "pen"):
        name.fill(cls)
        name.press("Enter")
        until(page, lambda cls=cls: taken(page, cls) >= 4 or shoot(page, cls))
    at_rest(page)
    copies = page.get_by_text("Leave the copies out")  # of a device that shows the same twice
    if copies.count():
        copies.click()
        at_rest(page)
    page.get_by_role("button", name="Make it a data set").click()
    page.get_by_text("2 known, 0 unknown classes").wait_for()
    at_rest(page)
    page.get_by_role("button", name="On to training").click()
    page.get_by_text("learns 2 classes of my-photos").wait_for()
    at_rest(page)
    before = {job.id for job in launch.jobs(store)}
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("In the queue already: 1.").wait_for()
    (job,) = [job for job in launch.jobs(store) if job.id not in before]
    followed(page, "^Watch them under Live", "Live")
    page.get_by_role("link", name="See what it can do").wait_for()
    page.get_by_text("cannot be told: too few images").first.wait_for()
    assert runs.Run(store / job.run).state == "finished"


def test_a_data_set_without_a_trial_keeps_what_is_chosen(page, server, folders):
    for n, (cls, colour) in enumerate(COLOURS.items()):
        (folders[1] / "bare" / cls).mkdir(parents=True)
        for i in range(3):
            (folders[1] / "bare" / cls / f"{i}.png").write_bytes(noise(colour, 10 * n + i))
    page.goto(f"{server}/data")
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("bare", exact=True).first.wait_for()
    at_rest(page)
    page.get_by_text("Trial editor").click()
    page.get_by_text("6 known, 4 unknown classes").wait_for()
    picked(page, re.compile("Data set"), "bare")
    page.get_by_text("this one has 0").wait_for()
    added(page, re.compile("^Known"), "amber", "fern")
    page.get_by_text("2 known, 0 unknown classes").wait_for()
    added(page, re.compile("^Unknown"), "blue")
    page.get_by_text("2 known, 1 unknown classes").wait_for()
    at_rest(page)
    assert page.get_by_text("2 known, 1 unknown classes").count()


def test_live_wakes_when_something_is_queued_elsewhere_and_says_when_a_run_is_gone(page, server, folders):
    store, _ = folders
    page.goto(f"{server}/live?watched=first")
    page.get_by_role("link", name="See what it can do").wait_for()
    at_rest(page)
    # by nobody at this page, and for a device that no worker has
    job = launch.submit_recipe(store, recipe.compose("quick", dataset="digits", seed=77), device="cuda:99")
    page.get_by_text("cuda:99").first.wait_for()
    launch.stop(job)
    page.get_by_text("Nothing is running, and nothing waits.").wait_for()
    at_rest(page)
    trashed = shelf.delete(runs.Run(store / "first"))
    page.get_by_text("There is no training called “first” here. It was deleted").wait_for()
    shelf.restore(trashed)
    launch.remove(job)


def test_a_run_is_opened_on_home_from_the_table_by_its_title(page, server, folders):
    run = runs.Run(folders[0] / "second")
    shelf.write(run, shelf.Shelf(title="My second"))
    page.goto(f"{server}/runs?run=first&runs_text=second")
    page.get_by_text("1 runs, 0 selected").wait_for()
    at_rest(page)
    assert shown_run(page) == "first"
    box = page.locator("[data-testid=stDataFrame] canvas").first.bounding_box()
    page.mouse.click(box["x"] + 66, box["y"] + 52)  # the button of its row; the table is a canvas
    page.get_by_role("heading", name="Does it know what it does not know?").wait_for()
    at_rest(page)
    assert shown_run(page) == "My second" and "run=second" in page.url
    page.go_back()
    page.get_by_role("heading", name="Runs", exact=True).wait_for()
    shelf.write(run, shelf.Shelf())
