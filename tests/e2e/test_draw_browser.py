"""Drawing, as people do it: a ring with the mouse is judged while it is drawn, drawn on, taken back and cleared."""

import itertools
import math
import re

import pytest

from tests.e2e.test_explore import until

pytestmark = pytest.mark.browser
VERDICT = re.compile(r"^(Unknown|Known: .)$")


def opened(page, server):
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


def stroke(page, paper, points, pause: int = 0, lift: bool = True):
    for i, place in enumerate(places(paper, points)):
        page.mouse.move(*place)
        page.mouse.down() if i == 0 else page.wait_for_timeout(pause)
    if lift:
        page.mouse.up()


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
    page.wait_for_timeout(1500)
    first, ink = said(page), dark(paper)
    assert first and ink > 1000
    stroke(page, paper, [(0.2, 0.9), (0.8, 0.1)])
    until(page, lambda: said(page) not in ("", first))
    assert dark(paper) > ink  # no rerun has cleared or remounted the paper
    page.get_by_role("button", name="Undo").click()
    until(page, lambda: said(page) == first)
    assert dark(paper) == ink
    page.keyboard.press("Tab")
    paper.focus()
    page.keyboard.press("Control+z")
    page.get_by_text("the verdict follows the pen").wait_for()
    assert dark(paper) == 0 and page.get_by_role("button", name="Clear").is_disabled()


def test_pictures_are_sent_one_at_a_time_and_not_too_often(page, server):
    paper = opened(page, server)
    stroke(page, paper, ring())
    page.get_by_role("heading", name=VERDICT).wait_for()
    page.wait_for_timeout(1500)
    page.evaluate("() => { window.sentAt = []; const send = WebSocket.prototype.send; WebSocket.prototype.send ="
                  "function (d) { if (d.byteLength > 2000) window.sentAt.push(performance.now());"
                  "return send.call(this, d); }; }")  # fmt: skip
    stroke(page, paper, ring(radius=(0.05, 0.05), points=50), pause=40)
    page.wait_for_timeout(1500)
    sent = page.evaluate("window.sentAt")
    assert len(sent) > 2 and min(later - one for one, later in itertools.pairwise(sent)) > 380


def test_the_drawing_outlives_the_tab_and_the_page(page, server):
    paper = opened(page, server)
    stroke(page, paper, ring())
    page.get_by_role("heading", name=VERDICT).wait_for()
    page.wait_for_timeout(1500)
    first, ink = said(page), dark(paper)
    page.get_by_role("tab", name="Pictures").click()
    page.get_by_text("No picture at hand?").wait_for()
    page.get_by_role("tab", name="Draw").click()
    until(page, lambda: said(page) == first and dark(paper) == ink)
    page.get_by_role("link", name="Thresholds").click()
    page.get_by_role("heading", name="Thresholds").wait_for()
    page.get_by_role("link", name="Try an image").click()
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
    page.wait_for_timeout(800)
    length, ink = 8 * 8 + 4 * 2, dark(paper)
    side = paper.evaluate("(c) => c.width") / 280
    page.get_by_role("button", name="Undo").focus()  # the ring that shows the pen is gone with the focus
    until(page, lambda: dark(paper) < ink or ink)
    assert dark(paper) == pytest.approx((20 * length + math.pi * 100) * side**2, rel=0.15)


def test_a_finger_draws_on_a_phone(browser, server):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page, wrong = context.new_page(), []
    page.set_default_timeout(30_000)
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
    assert dark(paper) > 1000
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == scrolled
    context.close()
    assert wrong == []
