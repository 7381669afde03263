"""Where things stand: nothing moves while a page loads, and what one came for is seen without scrolling."""

import re

import pytest

from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
PAGES = ("", "lessons", "anchors", "space", "thresholds", "images", "sweep", "try", "data", "new", "live", "runs",
         "compare", "reproduce", "export", "many", "watch")  # fmt: skip
MOST = 0.1  # what Core Web Vitals call good
# Counts shifts; what waits for another part waits until that is there, however slow the machine (app/first.css).
WATCH = """window.shifts = []; window.changed = performance.now();
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (!one.hadRecentInput) shifts.push([one.value, ...one.sources.map(({node}) => node?.parentElement?.className)]);
  }
}).observe({type: "layout-shift", buffered: true});
new MutationObserver(() => (window.changed = performance.now())).observe(document, {subtree: true, childList: true});
addEventListener("DOMContentLoaded", () => document.documentElement.style.setProperty("--waits", "3000s"));"""
LOADED = """() => document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
  && document.querySelector("h1") && performance.now() - window.changed > 1000
  && !document.getAnimations().some((one) => one.animationName === "anchorscope-waits")"""

STATE = """() => [document.querySelector("[data-testid=stApp]")?.dataset.testScriptState, document.hidden,
  !!document.querySelector("h1"), performance.now() - window.changed,
  ...document.getAnimations().map((one) => [one.animationName, one.playState, one.effect?.target?.className])]"""


def opened(new_context, address, size, slow=1):
    """A page that has loaded; slow: how many times slower its own thread runs."""
    from playwright.sync_api import TimeoutError

    page = new_context(viewport={"width": size[0], "height": size[1]}).new_page()
    page.add_init_script(WATCH)
    if slow != 1:
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slow})
    page.goto(address, wait_until="commit")
    try:
        page.wait_for_function(LOADED, polling=250)  # by a timer: a page that draws no frame would never be asked
    except TimeoutError as error:
        raise AssertionError(f"{address}, {size}: it does not come to rest: {page.evaluate(STATE)}") from error
    return page


@pytest.mark.parametrize("name", PAGES)
def test_nothing_moves_while_a_page_loads(new_context, server, name):
    for size, slow in (((1440, 900), 1), ((390, 844), 6)):
        page = opened(new_context, f"{server}/{name}", size, slow)
        shifts = page.evaluate("window.shifts")
        assert sum(value for value, *_ in shifts) < MOST, (size, shifts)
        page.context.close()


CUT = """() => [...document.querySelectorAll(".stMain *")].filter((one) => {
  const {overflowX, textOverflow} = getComputedStyle(one);
  return one.offsetWidth && one.scrollWidth > one.clientWidth + 1 && overflowX === "hidden"
    && textOverflow === "ellipsis" && one.textContent.trim();
}).map((one) => one.textContent.trim())"""


@pytest.mark.parametrize("name", ["", "space", "thresholds", "reproduce"])
def test_no_words_are_cut_in_a_window_of_half_a_screen(new_context, server, name):
    page = opened(new_context, f"{server}/{name}", (1024, 900))
    assert page.evaluate(CUT) == []
    page.context.close()


def test_what_waits_for_a_part_that_never_comes_is_shown_all_the_same(new_context, server):
    page = new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.route("**/BidiComponent*.js", lambda route: route.abort())
    page.goto(server)
    place = page.get_by_text(re.compile("θ = .* keeps 95 %")).first
    until(page, lambda: place.count() and place.evaluate("(node) => node.closest('*').checkVisibility()"))
    seen = """(node) => {
      for (let one = node; one; one = one.parentElement) if (getComputedStyle(one).opacity === "0") return false;
      return true;
    }"""
    until(page, lambda: place.evaluate(seen), "what stands below it stays hidden")


def test_thresholds_and_the_language_are_seen_without_scrolling(new_context, server):
    page = opened(new_context, f"{server}/thresholds", (1440, 900))
    for plot in (page.locator(".scores .plot"), page.locator(".roc .plot")):
        box = plot.bounding_box()
        assert box["y"] + box["height"] <= 900
    for choice in (page.get_by_label("Language"), page.locator(".st-key-run")):
        box = choice.bounding_box()
        assert box["y"] + box["height"] <= 900
    page.context.close()
    page = opened(new_context, f"{server}/thresholds", (390, 844))
    page.get_by_test_id("stExpandSidebarButton").click()
    until(page, lambda: (box := page.get_by_label("Language").bounding_box()) and 0 <= box["x"] <= 390 - box["width"])
    assert box["y"] >= 0 and (box := page.get_by_label("Language").bounding_box())["y"] + box["height"] <= 844


def stops(table) -> int:
    """How many times the Tab key stops in a table."""
    return table.locator("button:enabled").evaluate_all("(all) => all.filter((one) => one.tabIndex === 0).length")


def test_the_sweeps_cells_are_one_stop_and_arrow_keys_go_through_them(new_context, server):
    page = opened(new_context, f"{server}/sweep", (1440, 900))
    table = page.get_by_role("grid", name="AUROC by temperature and step")
    taken = table.locator("button[aria-pressed=true]")
    box = taken.bounding_box()
    assert box["y"] + box["height"] <= 900 and stops(table) == 1
    before = taken.get_attribute("aria-label")
    assert re.match(r"T = .*, ε = .*: AUROC .* %", before)
    taken.focus()
    key = "ArrowLeft" if table.locator("tbody tr button").last.get_attribute("aria-pressed") == "true" else "End"
    page.keyboard.press(key)
    now = page.evaluate("document.activeElement.shadowRoot.activeElement.getAttribute('aria-label')")
    assert now != before and stops(table) == 1
    page.keyboard.press("Enter")
    until(page, lambda: taken.get_attribute("aria-label") == now)
    until(page, lambda: taken.evaluate("(one) => one.getRootNode().activeElement === one"), "the focus is lost")
    assert stops(table) == 1


def test_a_sweep_that_is_wider_than_the_screen_moves_under_its_row_names(new_context, server):
    table = opened(new_context, f"{server}/sweep", (390, 844)).get_by_role("grid", name="AUROC by temperature and step")
    table.evaluate("(one) => { one.style.width = '900px'; one.parentElement.scrollLeft = 200; }")
    corner, row = table.locator("th[scope=col]").first, table.locator("th[scope=row]").first
    assert corner.inner_text() == "T" and corner.bounding_box()["x"] == row.bounding_box()["x"] > 0


def test_the_confusion_table_is_one_stop_and_arrow_keys_go_through_it(new_context, server):
    page = opened(new_context, f"{server}/thresholds", (1440, 900))
    table = page.get_by_role("grid", name="Counts of images")
    assert stops(table) == 1
    first = table.locator("tbody td button").first
    first.focus()
    here = "document.activeElement.shadowRoot.activeElement"
    before = page.evaluate(f"{here}.getAttribute('aria-label')")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(f"{here}.getAttribute('aria-label')") != before and stops(table) == 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(f"{here}.closest('th') !== null") and stops(table) == 1  # the name of the class
