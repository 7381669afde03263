"""The first two minutes of somebody who has never been here: each step by what the page before it shows."""

import re

import pytest

from tests.e2e.test_draw_browser import ring, stroke
from tests.waiting import at_rest
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def test_from_home_to_a_drawing_a_mistake_its_neighbours_and_a_threshold(page, server):
    page.goto(server)
    caught = page.locator(".tile", has_text="Unknowns caught").locator(".big")
    until(page, lambda: caught.count() and "%" in caught.inner_text(), "Home shows no numbers")
    at_rest(page)
    # theta is moved, and what is caught follows
    before = caught.inner_text()
    slider = page.get_by_role("slider", name=re.compile("reject above"))
    slider.focus()
    slider.press("Home")
    until(page, lambda: caught.inner_text() != before, "nothing follows theta")
    page.wait_for_url(re.compile("theta="))
    theta = re.search("theta=([^&]+)", page.url)[1]
    at_rest(page)
    # a ring is drawn, and judged beside the paper
    paper = page.get_by_role("application", name=re.compile("^Paper to draw on"))
    paper.scroll_into_view_if_needed()
    stroke(page, paper, ring())
    page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).wait_for()
    at_rest(page)
    # the strictest theta rejects knowns: one of these mistakes is opened, and shows what it rests on
    cards = page.locator("[data-testid=stVerticalBlock]", has=page.get_by_role("button", name="Why?"))
    mistake = cards.filter(has_text="mistake").last
    truth = re.search(r"truth: (\S+)", mistake.inner_text())[1]
    mistake.get_by_role("button", name="Why?").click()
    page.get_by_role("heading", name="Images", exact=True).wait_for()
    page.get_by_text("The nearest training images").wait_for()
    page.wait_for_url(re.compile("images_at=test-"))
    at_rest(page)
    assert page.get_by_test_id("stMain").get_by_text(re.compile(rf"\b{truth}\b")).count()
    # and from there to where theta is chosen, which is as it was left
    page.get_by_role("link", name="Choose a threshold").click()
    page.wait_for_url(re.compile(f"/thresholds.*theta={re.escape(theta)}"))
    page.locator(".handle[aria-valuenow]").wait_for()
    page.get_by_role("heading", name="Thresholds", exact=True).wait_for()
