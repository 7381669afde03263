"""A class out of what a network has rejected, by clicking from Try to Compare; and what is put in order on Data."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from cac_core import runs
from cac_core.data import datasets
from cac_core.exchange import changes, own_data
from cac_core.jobs import launch
from tests.e2e.conftest import app_over
from tests.waiting import at_rest, followed
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
COLOURS = {"blue": (40, 80, 220), "fern": (60, 160, 60), "soot": (40, 35, 35)}
AMBER = (230, 160, 30)


def noise(colour: tuple[int, int, int], seed: int) -> bytes:
    rng, file = np.random.default_rng([seed, *colour]), io.BytesIO()
    pixels = np.clip(np.array(colour) + rng.integers(-40, 40, (16, 16, 3)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def made(root, name: str, count: int) -> None:
    files = {f"{cls}/{n}.png": noise(colour, n) for cls, colour in COLOURS.items() for n in range(count)}
    upload = own_data.Upload(tuple(files), lambda n: list(files.values())[n])
    own_data.write(own_data.check(upload), upload, root, name, {"size": 16})


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("growing")
    (place / "runs").mkdir()
    made(place / "data", "hues", 24)
    made(place / "data", "tidied", 4)
    return place / "runs", place / "data"


@pytest.fixture(scope="module")
def server(folders):
    with app_over(*folders) as address:
        yield address


def pressed(page, name: str):
    at_rest(page)
    page.get_by_role("button", name=name, exact=True).click()
    at_rest(page)


def written(page, label: str, cls: str):
    """A class by its name, in a box that takes new ones."""
    at_rest(page)
    box = page.get_by_role("combobox", name=re.compile(label))
    box.fill(cls)
    box.press("Enter")
    at_rest(page)


def started(page, store, how) -> runs.Run:
    """The run that Start begins, finished."""
    before = {job.id for job in launch.jobs(store)}
    how()
    (job,) = [job for job in launch.jobs(store) if job.id not in before]
    followed(page, "^Watch them under Live", "Live")
    page.get_by_role("link", name="See what it can do").wait_for()
    return runs.Run(store / job.run)


def start(page):
    pressed(page, "Start")
    page.get_by_text("In the queue already: 1.").wait_for()


def counts(root, name: str) -> dict[str, int]:
    every = [photo.cls for photo in changes.photos(root, name)]
    return {cls: every.count(cls) for cls in sorted(set(every))}


def test_a_class_out_of_the_rejected_is_learnt_and_held_against_the_run_before(page, server, folders, tmp_path):
    store, root = folders
    page.goto(f"{server}/data?data_view=album&album=hues&album_known=blue%2Cfern")
    page.get_by_text("2 known, 1 unknown classes").wait_for()
    pressed(page, "On to training")
    page.get_by_text("learns 2 classes of hues").wait_for()
    page.goto(
        f"{server}/new?new_dataset=hues&new_trials=custom%2Fhues&new_preset=quick&new_backbone=small&new_epochs=8"
        "&new_batch=16&new_lr=0.03"
    )
    page.get_by_text("learns 2 classes of hues in 8 epochs").wait_for()
    first = started(page, store, lambda: start(page))

    page.goto(f"{server}/try?run={first.id}")
    page.get_by_text("Drop pictures here").first.wait_for()
    for n in range(12):
        (tmp_path / f"amber {n}.png").write_bytes(noise(AMBER, n))
    at_rest(page)
    page.set_input_files("input[type=file]", [tmp_path / f"amber {n}.png" for n in range(12)])
    rejected = page.get_by_text(re.compile(r"^(Make a class of the \d+ rejected|Put pictures into a class)$"))
    rejected.wait_for()
    at_rest(page)
    rejected.click()
    picks = page.locator(".st-key-try_picks input[type=checkbox]")
    until(page, lambda: picks.count() == 12)
    ticked = sum(picks.nth(n).is_checked() for n in range(12))
    said = rejected.inner_text()
    assert said == f"Make a class of the {ticked} rejected" if ticked > 1 else said == "Put pictures into a class"
    for n in range(12):  # whatever so small a network makes of them
        if not picks.nth(n).is_checked():
            page.locator(".st-key-try_picks [data-testid=stCheckbox] label").nth(n).click()
            until(page, lambda n=n: picks.nth(n).is_checked())
            at_rest(page)
    written(page, "^Into the class", "amber")
    pressed(page, "Add 12 to hues")
    page.get_by_text("12 images added to amber.").wait_for()
    assert counts(root, "hues") == {"amber": 12, "blue": 24, "fern": 24, "soot": 24}

    followed(page, "^Train a network that knows amber", "New run")
    page.get_by_text("learns 3 classes of hues in 8 epochs of batches of 16").wait_for()
    second = started(page, store, lambda: start(page))
    row = datasets.row_of("hues", root)
    assert second.known_names == ["amber", "blue", "fern"] and row.classes == tuple(second.class_names)
    assert second.recipe.lr == first.recipe.lr == 0.03 and second.recipe.backbone == "small"

    followed(page, "^Compare with the run before", "Compare")
    page.get_by_role("heading", name="On the same test images").wait_for()
    shared = set(first.marks().tolist()) & set(second.marks().tolist())
    assert len(shared) == len(first.outputs("test"))
    page.get_by_text(f"Both were tested on {len(shared)} of the same images.").wait_for()
    page.get_by_text("is known to").wait_for()
    at_rest(page)
    assert first.id in page.url and second.id in page.url
    assert "cannot be compared" not in page.get_by_test_id("stMain").inner_text()
    page.get_by_role("button", name=re.compile("^What does .* say of them")).click()
    page.get_by_text(re.compile(r"Of \d+ test images of it .* rejects")).wait_for()


def ticks(page, count: int):
    """Choose the first images of the grid."""
    at_rest(page)
    for n in range(count):
        page.locator(".st-key-album_grid [data-testid=stCheckbox] label").nth(n).click()
        at_rest(page)
    page.get_by_text(f"{count} chosen").wait_for()


def test_images_move_are_left_out_and_added_and_come_back(page, server, folders, tmp_path):
    _, root = folders
    before = [photo.path for photo in changes.photos(root, "tidied")]
    page.goto(f"{server}/data?data_view=album&album=tidied&album_order=name")
    page.get_by_text("0 chosen").wait_for()
    ticks(page, 2)
    written(page, "^Move to", "navy")
    pressed(page, "Move")
    page.get_by_role("button", name="Undo: 2 images moved to navy").wait_for()
    assert counts(root, "tidied") == {"blue": 2, "fern": 4, "navy": 2, "soot": 4}
    ticks(page, 1)
    pressed(page, "Leave out")
    page.get_by_role("button", name="Undo: 1 images left out").wait_for()
    assert sum(counts(root, "tidied").values()) == 11

    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(noise(AMBER, n))
    page.get_by_text("Add images", exact=True).click()
    written(page, "^Into the class", "amber")
    page.set_input_files("input[type=file]", [tmp_path / f"{n}.png" for n in range(3)])
    until(page, lambda: page.get_by_role("button", name="Add", exact=True).is_enabled())
    pressed(page, "Add")
    page.get_by_text("3 images added to amber.").wait_for()
    assert counts(root, "tidied")["amber"] == 3

    for said in ("3 images added to amber", "1 images left out", "2 images moved to navy"):
        pressed(page, f"Undo: {said}")
        page.get_by_role("button", name=f"Undo: {said}", exact=True).wait_for(state="detached")
    assert [photo.path for photo in changes.photos(root, "tidied")] == before
    assert page.get_by_role("button", name=re.compile("^Undo")).count() == 0
