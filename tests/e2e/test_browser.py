"""The app in a real browser: a server on a free port, a store with one short training, Chromium by Playwright."""

import re

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets
from tests.waiting import at_rest, downloaded, painted
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
METRIC = ".tile .big"
WHEEL = re.compile("The wheel of the logits")


def metrics(page) -> list[str]:
    """The three numbers that theta decides, once all of them are there."""
    page.locator(METRIC).nth(2).wait_for()
    until(page, lambda: "%" in page.locator(METRIC).nth(2).inner_text())
    return page.locator(METRIC).all_inner_texts()


def wheel_of(page):
    return page.get_by_role("application", name=WHEEL)


@pytest.mark.parametrize("place", ["", "/home"])
def test_home_is_there(page, server, place):
    page.goto(server + place, wait_until="commit")
    page.wait_for_selector(METRIC)
    until(page, lambda: wheel_of(page).count() == 1)
    assert not page.get_by_text("Page not found").count()


def test_the_wheel_of_home_follows_theta_while_it_is_dragged(page, server):
    page.goto(server)
    before = metrics(page)
    box = page.get_by_role("slider", name=re.compile("reject above")).bounding_box()
    row = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, row)
    page.mouse.down()
    seen = set()
    for place in (0.4, 0.25, 0.1):
        page.mouse.move(box["x"] + box["width"] * place, row, steps=3)
        painted(page)
        seen.add((*metrics(page), wheel_of(page).get_attribute("aria-label")))
    assert len(seen) == 3 and before not in [list(one[:3]) for one in seen]
    assert "theta=" not in page.url  # the finger is still down
    page.mouse.up()
    page.wait_for_url(re.compile("theta="))


def test_on_a_phone_wheel_and_theta_are_on_one_screen(new_context, server):
    context = new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server)
    metrics(page)
    wheel = wheel_of(page).bounding_box()
    slider = page.get_by_role("slider", name=re.compile("reject above")).bounding_box()
    assert wheel["y"] > 0 and slider["y"] > wheel["y"] and slider["y"] + slider["height"] < 844
    for name in page.locator(".rim").all():  # no name is cut off
        place = name.bounding_box()
        assert place["x"] >= wheel["x"] - 1 and place["x"] + place["width"] <= wheel["x"] + wheel["width"] + 1
        assert name.locator(".name").evaluate("name => name.scrollWidth <= name.clientWidth + 1")
    context.close()


def test_theta_by_keyboard_then_a_door_then_an_image(page, server, trained, tmp_path):
    page.goto(server)
    before = metrics(page)
    slider = page.get_by_role("slider", name=re.compile("reject above"))
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
    tile = page.get_by_role("option", name=re.compile("^broken.png: "))
    until(page, lambda: "this is not an image" in tile.inner_text())
    at_rest(page)
    page.get_by_role("option", name=re.compile("^zero.png: ")).click()
    until(page, lambda: page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).count() == 1)
    rows = downloaded(page, page.get_by_role("button", name="CSV")).read_text("utf-8").splitlines()
    assert rows[0].startswith("file,truth,decision") and rows[1].startswith("zero.png,") and len(rows) == 3


def test_a_shared_link_shows_the_same(page, server, trained):
    _, run = trained
    page.goto(f"{server}/?run={run.id}&theta=1.5&scorer=distance")
    numbers = metrics(page)
    until(page, lambda: "at theta 1.50," in wheel_of(page).get_attribute("aria-label"))
    page.get_by_role("link", name="Thresholds", exact=True).click()
    page.wait_for_selector(".handle[aria-valuenow='1.5']")
    page.wait_for_url(re.compile(r"theta=1\.5.*scorer=distance|scorer=distance.*theta=1\.5"))
    until(page, lambda: page.locator(METRIC).first.inner_text() == numbers[0])
    page.go_back()
    page.wait_for_selector("text=Does it know")
    until(page, lambda: metrics(page) == numbers)
