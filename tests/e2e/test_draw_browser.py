"""Drawing, as people do it: a ring with the mouse is judged while it is drawn, drawn on, taken back and cleared."""

import itertools
import math
import re
from pathlib import Path

import pytest

from tests.waiting import at_rest, painted
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
VERDICT = re.compile(r"^(Unknown|Known: .)$")
SCRIPT = Path(__file__).parents[2] / "app" / "draw.js"
# the paper itself, of which nothing else in the page keeps hold
CATCH = """
  const set = WeakMap.prototype.set;
  WeakMap.prototype.set = function (key, value) {
    if (value?.constructor?.name === "Paper") window.paper = value;
    return set.call(this, key, value);
  };
"""


def opened(page, server):
    page.add_init_script(CATCH)
    page.goto(f"{server}/try")
    page.get_by_role("tab", name="Draw").click()
    paper = page.get_by_role("application", name=re.compile("^Paper to draw on"))
    paper.wait_for()
    page.get_by_text("the verdict follows the pen").wait_for()
    return paper


def ring(at=(0.5, 0.5), radius=(0.18, 0.32), points: int = 40):
    angles = [2 * math.pi * i / points - math.pi / 2 for i in range(points + 1)]
    return [(at[0] + radius[0] * math.cos(a), at[1] + radius[1] * math.sin(a)) for a in angles]


def places(paper, points):
    box = paper.bounding_box()
    return [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]


def stroke(page, paper, points, lift: bool = True):
    for i, place in enumerate(places(paper, points)):
        page.mouse.move(*place)
        if i == 0:
            page.mouse.down()
    if lift:
        page.mouse.up()


def judged(page):
    """Waits until everything that was drawn is on the paper, has been sent, and has its answer on the page."""
    until(page, lambda: page.evaluate("!paper.news && !paper.waits"), "the last picture was not heard of")
    at_rest(page)
    painted(page)


def said(page) -> str:
    """The sentence with the score."""
    found = page.get_by_text(re.compile("^Score .* θ "))
    return found.first.inner_text() if found.count() else ""


def dark(paper) -> int:
    """How many pixels of the paper are dark."""
    return paper.evaluate(
        "(c) => { const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        "for (let i = 0; i < p.length; i += 4) n += p[i] < 100; return n; }"
    )


def test_a_ring_is_judged_drawn_on_taken_back_and_cleared(page, server):
    paper = opened(page, server)
    stroke(page, paper, ring(), lift=False)
    page.get_by_role("heading", name=VERDICT).wait_for()  # while the button is still down
    page.mouse.up()
    judged(page)
    first, ink = said(page), dark(paper)
    assert first and ink > 1000
    stroke(page, paper, [(0.2, 0.9), (0.8, 0.1)])
    until(page, lambda: said(page) not in ("", first))
    judged(page)
    assert dark(paper) > ink  # no rerun has cleared or remounted the paper
    page.get_by_role("button", name="Undo").click()
    judged(page)
    until(page, lambda: said(page) == first)
    assert dark(paper) == ink
    page.keyboard.press("Tab")
    paper.focus()
    page.keyboard.press("Control+z")
    page.get_by_text("the verdict follows the pen").wait_for()
    until(page, lambda: dark(paper) == 0 and page.get_by_role("button", name="Clear").is_disabled())


# A paper without a server. keys() draws a step every 40 ms of a clock that the test moves; sent: when, which number.
DESK = """
<div id="desk"><canvas tabindex="0" style="width: 280px; height: 280px"></canvas><button class="undo"></button>
<button class="clear"></button><label><span></span><input type="range" min="8" max="40" value="20"></label><p></p></div>
"""
ALONE = """async (source) => {
  const { default: draw } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const place = document.querySelector("#desk");
  window.sent = [];
  const setStateValue = (_, drawing) => sent.push([performance.now(), drawing.number]);
  window.hear = (heard) => draw({ data: { key: "desk", words: {}, heard }, parentElement: place, setStateValue });
  window.press = (key) => place.querySelector("canvas").dispatchEvent(new KeyboardEvent("keydown", { key }));
  hear(0);
}"""


def test_pictures_are_sent_one_at_a_time_and_not_too_often(new_context):
    """By a clock of the test's own, so that no machine is too slow."""
    page = new_context().new_page()
    page.clock.install(time=0)
    page.set_content(DESK)
    page.clock.pause_at(10_000)
    page.evaluate(ALONE, SCRIPT.read_text("utf-8"))

    def drawn(steps: int, answered: bool) -> list[tuple[float, int]]:
        """What is sent while something new is drawn every 40 ms, and each picture is answered at once or not at all."""
        before = page.evaluate("sent.length")
        for _ in range(steps):
            page.evaluate("press('ArrowRight')")
            page.evaluate("press('ArrowLeft')")
            page.clock.run_for(40)
            if answered:
                page.evaluate("hear(sent.at(-1)[1])")
        return page.evaluate("sent")[before:]

    page.evaluate("press(' ')")
    sent = drawn(50, answered=True)
    gaps = [later - one for (one, _), (later, _) in itertools.pairwise(sent)]
    assert len(sent) > 3 and min(gaps) >= 400 and max(gaps) <= 480
    ((_, number),) = drawn(20, answered=False)
    assert drawn(50, answered=False) == []  # one at a time
    page.evaluate("hear(sent.at(-1)[1])")
    assert page.evaluate("sent.at(-1)[1]") == number + 1
    page.clock.run_for(6000)
    assert page.evaluate("sent.at(-1)[1]") == number + 1  # there is nothing new
    assert [number for _, number in drawn(1, answered=False)] == [number + 2]  # what nobody answers is taken for lost
    page.context.close()


def test_the_drawing_outlives_the_tab_and_the_page(page, server):
    paper = opened(page, server)
    stroke(page, paper, ring())
    page.get_by_role("heading", name=VERDICT).wait_for()
    judged(page)
    first, ink = said(page), dark(paper)
    page.get_by_role("tab", name="Pictures").click()
    page.get_by_text("No picture at hand?").wait_for()
    page.get_by_role("tab", name="Draw").click()
    until(page, lambda: said(page) == first and dark(paper) == ink)
    page.get_by_role("link", name="Thresholds").click()
    page.get_by_role("heading", name="Thresholds").wait_for()
    page.get_by_role("link", name="Try an image", exact=True).click()
    page.get_by_role("tab", name="Draw").click()
    until(page, lambda: said(page) == first and dark(paper) == ink)
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("the verdict follows the pen").wait_for()


def test_keys_draw(page, server):
    paper = opened(page, server)
    paper.focus()
    page.keyboard.press("ArrowRight")
    assert paper.evaluate("(c) => getComputedStyle(c).touchAction") == "none"
    page.keyboard.press("Space")
    page.get_by_text("The pen is down.").wait_for()
    for key in ["ArrowDown"] * 8 + ["Shift+ArrowLeft"] * 4:
        page.keyboard.press(key)
    page.keyboard.press("Space")
    page.get_by_text("The pen is up.").wait_for()
    page.get_by_role("heading", name=VERDICT).wait_for()
    length = 8 * 8 + 4 * 2
    side = paper.evaluate("(c) => c.width") / 280
    page.get_by_role("button", name="Undo").focus()  # the ring that shows the pen is gone with the focus
    judged(page)
    assert dark(paper) == pytest.approx((20 * length + math.pi * 100) * side**2, rel=0.15)


def test_a_finger_draws_on_a_phone(new_context, server):
    context = new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    paper = opened(page, server)
    box = paper.bounding_box()
    assert box["width"] > 340 and box["height"] == pytest.approx(box["width"], abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    touch = context.new_cdp_session(page)
    scrolled = page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop")
    for i, (x, y) in enumerate(places(paper, ring())):
        touch.send(
            "Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": [{"x": x, "y": y}]}
        )
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.get_by_role("heading", name=VERDICT).wait_for()
    until(page, lambda: dark(paper) > 1000)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == scrolled
    context.close()
    assert wrong == []
