"""A threshold put to use by clicking: exported to a file, many pictures judged, and a watch over what comes in."""

import csv
import io
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from cac_core import recipe, runs
from cac_core.data import datasets
from cac_core.exchange import changes, own_data
from cac_core.results import evaluate, judge
from cac_core.serving import deciders, watch
from cac_core.training import loop
from tests.e2e.conftest import app_over
from tests.e2e.test_growing_browser import AMBER, COLOURS, made, noise
from tests.waiting import at_rest, downloaded, followed
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def hues(tmp_path_factory):
    """A data set of one's own, and a run that knows two of its classes."""
    place = tmp_path_factory.mktemp("use")
    made(place / "data", "hues", 24)
    (place / "runs").mkdir()
    trial = datasets.Trial("hues", "custom", "two", (0, 1), (2,))
    own_data.save_trial(trial, datasets.row_of("hues", place / "data"), place / "data")
    given = recipe.compose("quick", {"alpha": 5.0}, dataset="hues", family="custom", trial="two", known=trial.known,
                           unknown=trial.unknown, backbone="small", epochs=6, batch=16, lr=0.03)  # fmt: skip
    return place, loop.train(given, place / "runs", place / "data", device="cpu")


@pytest.fixture(scope="module")
def server(hues):
    with app_over(hues[0] / "runs", hues[0] / "data") as address:
        yield address


def test_a_threshold_is_exported_and_its_file_judges_alone(page, server, hues, tmp_path):
    place, run = hues
    page.goto(f"{server}/thresholds?run={run.id}")
    followed(page, "Export to ONNX", "Export to ONNX")
    page.get_by_role("button", name="Make the ONNX file").click()
    page.get_by_text("the file decides as the run does about each of them").wait_for()
    at_rest(page)
    assert page.get_by_text("def prepared(").count()
    for name in ("network.onnx", "network.prepare.py"):
        got = downloaded(page, page.get_by_role("button", name=name, exact=True))
        (tmp_path / name).write_bytes(got.read_bytes())
    pixels = evaluate.images_of(run, place / "data")["test"].pixels[:5]
    theirs = deciders.OfOnnx(tmp_path / "network.onnx")
    said = theirs.says(theirs.looks(pixels))
    mine = deciders.OfRun(run.path, judge.threshold_of(run, "gamma", judge.scorer_options("gamma")))
    assert [one["label"] for one in said] == [one["label"] for one in mine.says(mine.looks(pixels))]
    Image.fromarray(pixels[0]).save(tmp_path / "picture.png")
    done = subprocess.run([sys.executable, "network.prepare.py", "picture.png"], cwd=tmp_path, capture_output=True,
                          text=True)  # fmt: skip
    assert done.stdout.startswith("picture.png ") and " score " in done.stdout, done.stderr


def test_many_pictures_are_judged_and_watched_and_a_group_becomes_a_class(page, server, hues):
    place, run = hues
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for n in range(80):
            archive.writestr(f"{n:03}.png", noise(list(COLOURS.values())[n % 2], 1000 + n))
        archive.writestr("broken.png", b"no picture")
    page.goto(f"{server}/many?run={run.id}")
    page.locator("input[type=file]").set_input_files(
        {"name": "hues.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    )
    at_rest(page)
    page.get_by_text("Keep scores and decisions for Watch").click()
    at_rest(page)
    page.get_by_role("button", name="Judge them").click()
    numbers = page.get_by_test_id("stMetricValue")
    until(page, lambda: numbers.all_inner_texts()[::3] == ["80", "1"])
    at_rest(page)
    tile = page.get_by_role("button", name="007.png")
    tile.click()
    page.get_by_text("as the network saw it").wait_for()
    at_rest(page)
    table = downloaded(page, page.get_by_role("button", name="CSV")).read_text("utf-8")
    said = {row["file"]: row for row in csv.DictReader(io.StringIO(table))}
    assert len(said) == 81 and said["broken.png"]["error"]

    followed(page, "What is rejected in use", "What is rejected in use")
    page.get_by_text("No drift").wait_for()
    until(page, lambda: numbers.all_inner_texts()[:1] == ["80"])

    come_in(run, [*(noise(COLOURS["blue"], n) for n in range(150)), *(noise(AMBER, n) for n in range(60))])
    page.reload()
    page.get_by_text("Drift: the scores changed").wait_for()
    page.get_by_text("look alike: a new class?").first.wait_for()
    at_rest(page)
    box = page.get_by_role("combobox", name="Into the class").first
    box.fill("amber")
    box.press("Enter")
    at_rest(page)
    page.get_by_role("button", name="Add to hues").first.click()
    page.get_by_role("link", name="Look through hues").wait_for()
    assert sum(photo.cls == "amber" for photo in changes.photos(place / "data", "hues")) >= watch.FEWEST


def come_in(run: runs.Run, pictures: list[bytes]) -> None:
    """As the service judges and keeps what comes to it."""
    decider = deciders.OfRun(run.path, judge.threshold_of(run, "gamma", judge.scorer_options("gamma")))
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in pictures])
    looked = decider.looks(pixels)
    vectors, keeper = decider.vectors(looked), watch.Keeper(run.path.parent, run.id, watch.version_in(decider.about),
                                                            "serve", pictures=True)  # fmt: skip
    keeper.keep([
        watch.Judged(f"{n}.png", *(one[name] for name in watch.SAID), pixels[n], vectors[n])
        for n, one in enumerate(decider.says(looked))
    ])  # fmt: skip
    keeper.close()
