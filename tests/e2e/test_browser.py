"""The app in a real browser: a server on a free port, a store with one short training, Chromium by Playwright."""

import re

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets
from tests.waiting import at_rest, downloaded
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
METRIC = "[data-testid=stMetricValue]"


def metrics(page) -> list[str]:
    """The three numbers that theta decides, once all of them are there."""
    page.locator(METRIC).nth(2).wait_for()
    return page.locator(METRIC).all_inner_texts()


def test_home_is_there(page, server):
    page.goto(server, wait_until="commit")
    page.wait_for_selector(METRIC)
    page.wait_for_selector("canvas")
    until(page, lambda: page.get_by_role("img", name=re.compile("The anchor wheel")).count() == 1)


def test_theta_by_keyboard_then_a_door_then_an_image(page, server, trained, tmp_path):
    page.goto(server)
    before = metrics(page)
    slider = page.get_by_role("slider")
    at_rest(page)
    slider.focus()
    slider.press("Home")  # the strictest theta
    until(page, lambda: metrics(page)[2].startswith("100.0") and metrics(page) != before)
    page.wait_for_url(re.compile("theta="))
    theta = re.search("theta=([^&]+)", page.url)[1]

    page.get_by_role("link", name="Try an image of your own").click()
    page.wait_for_url(re.compile(f"/try.*theta={re.escape(theta)}"))
    images = datasets.load("digits", trained[0] / "data")["test"]
    pixels = images.pixels[np.flatnonzero(images.classes == 0)[0], :, :, 0]
    Image.fromarray(pixels).save(tmp_path / "zero.png")
    (tmp_path / "broken.png").write_text("no image")
    page.set_input_files("input[type=file]", [tmp_path / "zero.png", tmp_path / "broken.png"])
    page.wait_for_selector("text=1 of 2 judged")
    page.wait_for_selector("text=This file cannot be judged")
    until(page, lambda: page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).count() == 1)
    rows = downloaded(page, page.get_by_role("button", name="CSV")).read_text("utf-8").splitlines()
    assert rows[0].startswith("file,decision") and rows[1].startswith("zero.png,") and len(rows) == 3


def test_a_shared_link_shows_the_same(page, server, trained):
    _, run = trained
    page.goto(f"{server}/?run={run.id}&theta=1.5&scorer=distance")
    numbers = metrics(page)
    until(page, lambda: page.get_by_role("spinbutton", name="or exactly").first.input_value() == "1.5")
    page.get_by_role("link", name="Thresholds", exact=True).click()
    page.wait_for_selector(".handle[aria-valuenow='1.5']")
    page.wait_for_url(re.compile(r"theta=1\.5.*scorer=distance|scorer=distance.*theta=1\.5"))
    until(page, lambda: page.locator(".tile").first.inner_text().split("\n")[1] == numbers[0])
    page.go_back()
    page.wait_for_selector("text=Does it know")
    until(page, lambda: metrics(page) == numbers)
