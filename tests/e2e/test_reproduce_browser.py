"""Reproduce, as people use it: by links from Home to a cell, its run and back; by keys; the page to take along."""

import re
import shutil

import pytest

from tests.e2e.conftest import app_over
from tests.waiting import browser_until as until
from tests.waiting import downloaded

pytestmark = pytest.mark.browser

CELL = "digits.osrci.cac.gamma"


def test_by_links_alone_to_a_cell_to_its_run_and_back(page, server, trained):
    _, run = trained
    page.goto(server)
    page.get_by_role("link", name="Reproduce").click()
    page.get_by_role("heading", name="Reproduce").wait_for()
    page.get_by_role("button", name=re.compile("^CAC, digits")).click()
    page.get_by_role("heading", name="CAC, digits").wait_for()
    page.wait_for_url(f"**/reproduce?*cell={CELL}*")
    page.get_by_role("img", name=re.compile("^ROC curves")).wait_for()
    page.get_by_role("button", name="Command", exact=True).last.click()  # the first is of Anchorscope's own runs
    page.get_by_text("python -m cac_core train --dataset digits").first.wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("link", name=run.id).click()
    page.get_by_role("heading", name="Does it know what it does not know?").wait_for()
    until(page, lambda: f"run={run.id}" in page.url)
    page.go_back()
    page.get_by_role("heading", name="CAC, digits").wait_for()
    chosen = page.get_by_role("button", name=re.compile("^CAC, digits"))
    until(page, lambda: chosen.get_attribute("aria-pressed") == "true")


def test_from_an_empty_store_to_the_projects_own_numbers_and_into_one_of_its_runs(page, tmp_path):
    with app_over(tmp_path / "runs", tmp_path / "data") as address:
        page.goto(address)
        page.get_by_role("link", name="Reproduce").click()
        page.get_by_role("button", name=re.compile(r"^CAC, CIFAR10.*measured 81\.2")).click()
        page.get_by_text("5 of these runs come with Anchorscope").wait_for()
        page.get_by_role("img", name=re.compile("^ROC curves")).wait_for()
        page.get_by_role("button", name="Copy them to my runs").click()
        page.get_by_role("link", name="cifar10-osrci-0-cac-fast").click()
        page.get_by_role("heading", name="Does it know what it does not know?").wait_for()
        page.get_by_text("Unknowns caught").locator("visible=true").first.wait_for()
        assert page.get_by_test_id("stAlertContentError").count() == 0
        page.goto(f"{address}/reproduce?papers_shipped=false")
        page.get_by_role("button", name=re.compile(r"^CAC, CIFAR10.*measured 81\.2")).wait_for()  # one's own by now
        page.get_by_role("button", name=re.compile("^CAC, MNIST.*not measured")).wait_for()


def test_a_cell_is_opened_by_keys_and_a_copied_address_opens_it(page, server, trained):
    page.goto(f"{server}/reproduce")
    cell = page.get_by_role("button", name=re.compile("^OSRCI, CIFAR10"))
    cell.focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="OSRCI, CIFAR10").wait_for()
    page.wait_for_url("**/reproduce?*cell=CIFAR10.osrci.osrci.unknown_class*")
    until(page, lambda: cell.get_attribute("aria-pressed") == "true")
    until(page, lambda: cell.evaluate("one => one.getRootNode().activeElement === one"), "the focus was lost")
    same = page.context.new_page()
    same.goto(page.url)
    same.get_by_role("heading", name="OSRCI, CIFAR10").wait_for()
    same.get_by_role("button", name="Close the cell").click()
    same.get_by_role("heading", name="OSRCI, CIFAR10").wait_for(state="detached")
    until(same, lambda: "cell=" not in same.url)
    same.close()


def test_the_page_to_take_along_asks_for_nothing(page, server, trained, tmp_path):
    page.goto(f"{server}/reproduce")
    report = tmp_path / "reproduced.html"
    shutil.copy(downloaded(page, page.get_by_role("button", name="Page (HTML)")), report)
    page.goto("about:blank")
    asked = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.get_by_role("heading", name="osrci").wait_for()
    assert page.locator("table").count() == 3 and [url for url in asked if not url.startswith("file:")] == []


def test_on_a_phone_the_grid_moves_within_the_page(new_context, server, trained):
    context = new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{server}/reproduce?cell=TinyImageNet.osrci.cac.gamma")
    page.get_by_role("heading", name="CAC, TinyImageNet").wait_for()
    cell = page.get_by_role("button", name=re.compile("^CAC, TinyImageNet"))
    until(page, lambda: cell.bounding_box()["x"] + cell.bounding_box()["width"] <= 390, "the cell lies beyond the edge")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
