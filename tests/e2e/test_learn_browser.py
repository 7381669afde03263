"""Learn, as a class uses it: through the eight cards by keys, on a projector, to where one tries it oneself."""

import re
import xml.etree.ElementTree as ET

import pytest

from app import words
from tests.e2e.conftest import app_over
from tests.waiting import at_rest, downloaded, picked
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def opened(page, server, query=""):
    page.goto(f"{server}/lessons{query}")
    page.get_by_role("button", name="Next").wait_for()
    at_rest(page)


def card(page, number):
    page.get_by_role("heading", name=re.compile(rf"^{number} · ")).wait_for()
    at_rest(page)


def test_eight_cards_by_keyboard(page, server):
    opened(page, server)
    for number in range(1, 9):
        card(page, number)
        until(page, lambda n=number: f"card={n}" in page.url)
        answer = page.get_by_text(re.compile(r"^(Right:|Not quite\.) "))
        page.keyboard.press("a")  # nothing to tell yet
        at_rest(page)
        assert not answer.count()
        page.keyboard.press("2")
        until(page, lambda: page.get_by_role("button", name="Show the answer").is_enabled())
        assert not answer.count()
        page.keyboard.press("a")
        answer.wait_for()
        at_rest(page)
        page.keyboard.press("ArrowRight")
    card(page, 8)  # there is no ninth
    page.keyboard.press("ArrowLeft")
    card(page, 7)
    page.get_by_text(re.compile(r"^Right: ")).wait_for()  # kept


def test_a_slider_in_a_picture_keeps_its_arrow_keys(page, server):
    opened(page, server, "?card=4")
    handle = page.locator(".handle[aria-valuenow]")
    handle.wait_for()
    at_rest(page)
    before = handle.get_attribute("aria-valuenow")
    handle.focus()
    page.keyboard.press("ArrowRight")
    until(page, lambda: handle.get_attribute("aria-valuenow") != before)
    page.wait_for_timeout(1500)
    card(page, 4)


def test_the_presenters_view_is_nothing_but_the_card(page, server):
    opened(page, server)
    sidebar, title = page.locator("[data-testid=stSidebar]"), page.get_by_role("heading", name="Lessons")
    question = page.locator(".st-key-options button").first
    assert sidebar.is_visible() and title.is_visible()
    small = question.evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    page.keyboard.press("p")
    until(page, lambda: not sidebar.is_visible() and not title.is_visible())
    until(page, lambda: "present=1" in page.url)
    until(page, lambda: question.evaluate("node => parseFloat(getComputedStyle(node).fontSize)") > 1.25 * small)
    page.keyboard.press("PageDown")  # a presenter's clicker
    card(page, 2)
    page.locator(".st-key-options button").nth(1).focus()
    page.keyboard.press("PageDown")
    card(page, 3)
    page.keyboard.press("PageUp")
    card(page, 2)
    page.keyboard.press("p")
    sidebar.wait_for()
    until(page, lambda: "present" not in page.url)


FITS = """() => {
  const {scrollWidth, scrollHeight} = document.querySelector("[data-testid=stMain]");
  return scrollWidth <= innerWidth && scrollHeight <= innerHeight;
}"""


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_cards_and_the_lab_fit_on_a_projector(page, server, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    for number in range(1, 9):
        opened(page, server, f"?card={number}&present=1")
        last = page.get_by_role("button", name="Show the answer")
        until(page, lambda b=last: b.bounding_box())
        page.wait_for_function(FITS)
        at_rest(page)
        page.keyboard.press("1")
        until(page, lambda b=last: b.is_enabled())
        at_rest(page)
        last.click()
        last.wait_for(state="detached")
        at_rest(page)
        page.wait_for_function(FITS)
    page.goto(f"{server}/anchors")
    shown = page.locator(".bench .part").nth(1)
    shown.wait_for()
    small = shown.evaluate("(node) => parseFloat(getComputedStyle(node).fontSize)")
    at_rest(page)
    page.keyboard.press("p")
    page.wait_for_url(re.compile("present=1"))
    page.locator(".bench.bare .part").nth(1).wait_for()
    assert shown.evaluate("(node) => parseFloat(getComputedStyle(node).fontSize)") >= 1.2 * small
    page.wait_for_function(FITS)


def test_the_pictures_of_the_map_card_share_what_is_picked(page, server):
    opened(page, server, "?card=6")
    canvases = page.get_by_role("application")
    until(page, lambda: canvases.count() == 2 and canvases.first.get_attribute("aria-label"))
    at_rest(page)
    box = canvases.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + 4)
    page.mouse.down()
    for x, y in ((0.65, 0.02), (0.65, 0.35), (0.35, 0.35)):
        page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=6)
    page.mouse.up()
    chosen = page.locator(".selection h3")
    until(page, lambda: re.search(r"\d", chosen.nth(0).inner_text()))
    until(page, lambda: chosen.nth(1).inner_text() == chosen.nth(0).inner_text())


def test_a_drawing_is_judged(page, server):
    opened(page, server, "?card=4")
    paper = page.locator(".desk canvas")
    until(page, lambda: paper.count() and paper.get_attribute("aria-label"))  # its script has come
    paper.scroll_into_view_if_needed()
    at_rest(page)
    box = paper.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.85, steps=12)
    page.mouse.up()
    page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).wait_for()
    page.get_by_text("Softmax alone says").wait_for()


def tried(page, answer: str):
    """Answers, and follows the link to try it; gives the tab that it opens."""
    page.keyboard.press(answer)
    until(page, lambda: page.get_by_role("button", name="Show the answer").is_enabled())
    page.keyboard.press("a")
    link = page.get_by_role("link", name=re.compile("^Try it yourself"))
    link.wait_for()
    with page.context.expect_page() as other:
        link.click()
    return other.value


def test_trying_it_opens_the_page_in_that_state(page, tmp_path):
    """In a store that has not the card's run, which comes with the app."""
    with app_over(tmp_path / "runs", tmp_path / "data") as own:
        opened(page, own, "?card=4")
        tab = tried(page, "1")
        tab.get_by_role("button", name="Copy it to my runs").click()
        until(tab, lambda: all(part in tab.url for part in ("/thresholds?", "kept=99", "run=digits-osrci-0-cac-small")))
        kept = tab.get_by_role("spinbutton", name=re.compile("Knowns to keep"))
        kept.wait_for()
        until(tab, lambda: kept.input_value() == "99")
        tab.close()
        page.goto("about:blank")


def test_the_anchor_lab_opens_in_that_state(page, server):
    opened(page, server, "?card=1")
    tab = tried(page, "3")
    until(tab, lambda: tab.locator(".bench").count())
    until(tab, lambda: tab.get_by_role("radio", name="softmax").get_attribute("aria-checked") == "true")
    tab.close()


def test_the_handout_comes_whole(page, server):
    opened(page, server)
    document = downloaded(page, page.get_by_role("button", name="All eight cards on paper")).read_text("utf-8")
    root = ET.fromstring(document.split("\n", 1)[1])
    assert len(root.findall(".//body/section")) == 8
    assert all(a.get("href").startswith(server) for a in root.iter("a"))


def test_the_language_stays_in_the_address_and_on_every_page(page, server):
    page.goto(f"{server}/?lang=ko")
    page.get_by_role("heading", name=words.catalogue("ko")["Does it know what it does not know?"]).wait_for()
    until(page, lambda: page.evaluate("document.documentElement.lang") == "ko" and "lang=ko" in page.url)
    page.get_by_role("link", name=words.catalogue("ko")["Lessons"]).click()
    page.wait_for_url(re.compile(r"/lessons.*lang=ko"))
    page.reload()
    page.get_by_role("heading", name=words.catalogue("ko")["Lessons"], exact=True).wait_for()
    picked(page, words.catalogue("ko")["Language"], "中文")
    page.get_by_role("heading", name=words.catalogue("zh")["Lessons"], exact=True).wait_for()
    page.wait_for_url(re.compile("lang=zh"))
    picked(page, words.catalogue("zh")["Language"], "English")
    page.get_by_role("heading", name="Lessons", exact=True).wait_for()
    until(page, lambda: "lang=" not in page.url)  # it is the browser's own
