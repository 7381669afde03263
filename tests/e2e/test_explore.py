"""Explore, as people use it: drag theta, catch images with a lasso, take a cell of the sweep, judge three pictures."""

import base64
import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from cac_core import runs
from cac_core.data import datasets, images
from cac_core.results import judge
from tests.waiting import at_rest, downloaded
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def tile(page) -> str:
    return page.locator(".tile").first.inner_text()


def test_theta_is_dragged_then_stands_in_the_address_and_in_the_export(page, server, trained, tmp_path):
    _, run = trained
    page.goto(f"{server}/thresholds")
    handle = page.locator(".handle[aria-valuenow]")
    handle.wait_for()
    before = tile(page)
    at_rest(page)
    page.locator(".scores .plot").scroll_into_view_if_needed()
    box = page.locator(".scores .plot").bounding_box()
    row = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, row)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, row, steps=5)
    until(page, lambda: tile(page) != before)  # while the button is still down
    assert "theta=" not in page.url
    page.mouse.up()
    page.wait_for_url(re.compile("theta="))
    theta = float(re.search("theta=([^&]+)", page.url)[1])
    exact = page.get_by_role("spinbutton", name="or exactly").first
    until(page, lambda: exact.input_value() and float(exact.input_value()) == pytest.approx(theta, rel=1e-3))
    record = json.loads(downloaded(page, page.get_by_role("button", name="threshold.json")).read_text("utf-8"))
    assert record["theta"] == pytest.approx(theta) and record["scorer"] == "gamma"
    (tmp_path / "threshold.json").write_text(json.dumps(record))
    assert judge.threshold_from(tmp_path / "threshold.json", run).theta == record["theta"]


def test_a_lasso_lists_images_and_exports_them(page, server, trained):
    _, run = trained
    page.goto(f"{server}/space")
    canvas = page.get_by_role("application")
    until(page, lambda: canvas.count() and canvas.get_attribute("aria-label"))
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.15, box["y"] + 4)
    page.mouse.down()
    for x, y in ((0.85, 0.02), (0.85, 0.6), (0.15, 0.6)):
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=6)
    page.mouse.up()
    heading = page.get_by_role("heading", name=re.compile(r"^\d+ images chosen$"))
    heading.wait_for()
    count = int(heading.inner_text().split()[0])
    assert count > 10
    file = downloaded(page, page.get_by_role("button", name="As CSV", exact=True))
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    assert len(rows) == count
    out = {split: run.outputs(split) for split in ("validation", "test")}
    for one in rows:
        mine = out[one["set"]]
        at = np.flatnonzero(mine.index == int(one["image"]))[0]
        name = run.class_names[mine.classes[at]]
        assert one["truth"] == (name if mine.labels[at] >= 0 else f"{name}, never seen")
    page.get_by_text("The training images nearest to").wait_for()


def test_a_link_opens_the_same_epoch_and_view(page, server):
    page.goto(f"{server}/space?view=strip&epoch=1&theta=0.5")
    slider = page.get_by_role("slider", name="Epoch")
    slider.wait_for()
    until(page, lambda: (slider.get_attribute("aria-valuetext") or "").startswith("Epoch 1 of"))
    until(page, lambda: page.get_by_role("radio", name="Strip").get_attribute("aria-checked") == "true")
    slider.press("End")
    page.wait_for_url(re.compile("epoch=2"))
    page.get_by_role("button", name="Watch the training").click()
    until(page, lambda: "epoch=" not in page.url and "view=strip" in page.url and "theta=0.5" in page.url)


def take_cell(page):
    """The one of the largest step at T = 10, once the page rests: a click in the middle of a rerun may be lost."""
    cell = page.get_by_role("button", name=re.compile("^T = 10, ε = 0.05: AUROC"))
    cell.wait_for()
    at_rest(page)
    cell.click()


def test_a_cell_of_the_sweep_goes_with_one_to_the_thresholds(page, server):
    page.goto(f"{server}/sweep")
    take_cell(page)
    page.get_by_text("T = 10, ε = 0.05").first.wait_for()
    until(page, lambda: "epsilon=0.05" in page.url)
    page.get_by_role("link", name="To the thresholds").click()
    page.wait_for_selector(".handle[aria-valuenow]")
    until(page, lambda: "epsilon=0.05" in page.url and "odin=10" in page.url)
    until(page, lambda: page.get_by_role("combobox", name=re.compile("Perturbation")).input_value() != "0")


def test_a_cell_of_softmax_at_t_takes_its_temperature_into_the_score(page, server):
    page.goto(f"{server}/sweep")
    page.get_by_role("radio", name="1 − softmax at T", exact=True).click()
    take_cell(page)
    until(page, lambda: all(part in page.url for part in ("epsilon=0.05", "scorer=msp", "temperature=10")))
    page.get_by_text("judge by 1 − softmax at T with T = 10 and ε = 0.05").wait_for()
    page.get_by_role("link", name="To the thresholds").click()
    page.wait_for_selector(".handle[aria-valuenow]")
    until(page, lambda: all(part in page.url for part in ("odin=10", "scorer=msp", "temperature=10")))
    page.goto(page.url.replace("/thresholds", "/sweep"))  # and the link opens the same cell again
    page.get_by_text("judge by 1 − softmax at T with T = 10 and ε = 0.05").wait_for()
    page.get_by_role("radio", name="γ", exact=True).click()
    page.get_by_text("Click a cell to use its score").wait_for()


@pytest.mark.parametrize("points", [1, 1.5, 2])
def test_small_pictures_beside_theta_come_back_as_the_images(new_context, server, trained, points):
    """What a browser saves of a canvas, on screens with so many points a pixel."""
    page = new_context(device_scale_factor=points).new_page()
    page.goto(f"{server}/thresholds")
    canvases = page.locator(".gallery canvas:visible")
    parts = datasets.load("digits", trained[0] / "data")
    every = {image.tobytes() for part in parts.values() for image in part.pixels}

    def saved() -> list[bytes]:
        found = canvases.evaluate_all("(all) => all.map((canvas) => canvas.toDataURL('image/png').split(',')[1])")
        return [images.prepare(base64.b64decode(one), datasets.DIGITS).pixels.tobytes() for one in found]

    until(page, lambda: (found := saved()) and set(found) <= every, "what is saved is none of the images")
    page.context.close()


def test_three_pictures_are_judged_and_explained(page, server, trained, tmp_path):
    images = datasets.load("digits", trained[0] / "data")["test"]
    files = []
    for digit in (0, 4, 8):
        pixels = images.pixels[np.flatnonzero(images.classes == digit)[0], :, :, 0]
        files.append(tmp_path / f"{digit}.png")
        Image.fromarray(pixels).save(files[-1])
    page.goto(f"{server}/try")
    page.set_input_files("input[type=file]", files)
    page.wait_for_selector("text=3 of 3 judged")
    verdict = page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$"))
    page.get_by_role("option", name=re.compile(r"^4\.png: ")).click()  # no card but the one that is opened
    until(page, lambda: verdict.count() == 1)
    page.get_by_text("Its place, its neighbours, its pixels").first.click()
    page.get_by_text("The nearest training images").wait_for()
    page.get_by_role("img", name="The image, tinted where pixels push the score").wait_for()
    record = json.loads(downloaded(page, page.get_by_role("button", name="JSON")).read_text("utf-8"))
    assert [one["file"] for one in record["images"]] == ["0.png", "4.png", "8.png"]
    assert all(set(one["gamma"]) == set("012459") for one in record["images"])


def test_a_picture_is_pasted(page, server, trained, tmp_path):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{server}/try")
    page.get_by_role("button", name="Paste").wait_for()
    page.evaluate("""async () => {
      const canvas = new OffscreenCanvas(20, 20);
      canvas.getContext("2d").fillRect(5, 5, 10, 10);
      await navigator.clipboard.write([new ClipboardItem({"image/png": await canvas.convertToBlob()})]);
    }""")
    page.get_by_role("button", name="Paste").click()
    page.get_by_text("pasted picture", exact=True).wait_for()
    until(page, lambda: page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).count() == 1)
    page.get_by_role("button", name="Forget the pasted picture").click()
    page.get_by_text("No picture at hand?").wait_for()


def test_a_map_is_made_by_a_process_of_its_own(page, server, trained):
    _, run = trained
    page.goto(f"{server}/space?view=umap")
    page.get_by_role("button", name="Make it").click()
    until(page, lambda: any((run.path / "maps").glob("umap-*.npz")), "no map was made")
    page.get_by_text("Trustworthiness").wait_for()
    assert runs.find(run.id, run.path.parent)


def test_a_sweep_that_is_missing_is_made_by_a_job(page, server, trained):
    _, run = trained
    page.goto(f"{server}/sweep?published=true")
    page.get_by_text("This run has no sweep as published yet.").wait_for()
    page.get_by_text(re.compile(r"\d+ images, 42 cells: \d+ passes")).wait_for()
    page.get_by_role("button", name="Start the sweep").click()
    until(page, lambda: (run.path / "sweep-as-published.npz").exists(), "no sweep was made")
    page.get_by_text("and a LEAK").first.wait_for()
    assert page.get_by_text("Chosen without any unknown").count() == 0  # a leak offers no honest choice
