"""The app in a real browser: a server on a free port, a store with one short training, Chromium by Playwright."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets

pytestmark = pytest.mark.browser
METRIC = "[data-testid=stMetricValue]"


def metrics(page) -> list[str]:
    """The three numbers that theta decides, once all of them are there."""
    page.locator(METRIC).nth(2).wait_for()
    return page.locator(METRIC).all_inner_texts()


def changed(page, before: list[str]) -> list[str]:
    for _ in range(200):
        if (now := metrics(page)) != before:
            return now
        page.wait_for_timeout(50)
    raise AssertionError(f"the numbers stayed {before}")


def test_home_is_there_soon(page, server):
    began = time.monotonic()
    page.goto(server, wait_until="commit")
    page.wait_for_selector(METRIC)
    seconds = time.monotonic() - began
    print(f"\nfirst paint of Home by a fresh server: {seconds:.2f} s")
    assert seconds < 15  # 3 s is the aim on an idle machine
    page.wait_for_selector("canvas")
    assert page.get_by_role("img", name=re.compile("The anchor wheel")).count() == 1


def test_theta_by_keyboard_then_a_door_then_an_image(page, server, trained, tmp_path):
    page.goto(server)
    before = metrics(page)
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("Home")  # the strictest theta
    assert changed(page, before)[2].startswith("100.0")
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
    assert page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).count() == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = Path(download.value.path()).read_text("utf-8").splitlines()
    assert rows[0].startswith("file,decision") and rows[1].startswith("zero.png,") and len(rows) == 3


def test_a_shared_link_shows_the_same(page, server, trained):
    _, run = trained
    page.goto(f"{server}/?run={run.id}&theta=1.5&scorer=distance")
    numbers = metrics(page)
    assert page.get_by_role("spinbutton", name="or exactly").first.input_value() == "1.5"
    page.get_by_role("link", name="Thresholds", exact=True).click()
    page.wait_for_selector(".handle[aria-valuenow='1.5']")
    page.wait_for_url(re.compile(r"theta=1\.5.*scorer=distance|scorer=distance.*theta=1\.5"))
    assert page.locator(".tile").first.inner_text().split("\n")[1] == numbers[0]
    page.go_back()
    page.wait_for_selector("text=Does it know")
    assert metrics(page) == numbers
