"""The live views in a real browser: their arithmetic there; dragging, keys, lasso, names and faults in a small app."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.app.test_live import RUNS, asked, compare, feed_of, plain_script, situations
from tests.waiting import browser_until as until
from tests.waiting import painted

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
TRAP = "<img src=x onerror=window.trapped=1>"
# a page that gives theta takes it back in on_change; the numbers below are what Python has heard
APP = """
import json
import sys
from dataclasses import asdict
from pathlib import Path

import streamlit as st

sys.path.insert(0, {root!r})
from app import charts, live

st.set_page_config(layout="wide")
kind = st.query_params.get("view", "lab")
fault = st.query_params.get("fault")
blob = Path({feed!r}).read_bytes()
if fault == "torn":
    blob = blob[: len(blob) // 2]
name = live.feed(blob, key="feed") if fault != "missing" else "nowhere"
if fault == "another":
    name = "another"


def heard():
    st.session_state.theta = live.settled(kind).get("theta")


palettes = {{"light": asdict(charts.LIGHT), "dark": asdict(charts.DARK)}}
state = {{"feed": name, "name": "γ", "palettes": palettes, "theta": st.session_state.get("theta")}}
if st.button("Back to the rule"):
    state["theta"] = st.session_state.theta = None
if st.checkbox("Show", value=True):
    said = getattr(live, kind)(state, key=kind, height=400, on_change=heard)
    st.code(json.dumps(said), language=None)
st.session_state.count = st.session_state.get("count", 0) + 1
st.caption(f"run {{st.session_state.count}}")
"""


def digits_feed() -> bytes:
    """The bundled run; one class is named by markup; small images; a film of three epochs."""
    from cac_core.runs import Run

    run = Run(RUNS / "digits-osrci-0-cac-small-s0")
    train, validation, test = (run.outputs(split) for split in ("train", "validation", "test"))
    count = len(validation) + len(test)
    sheet = np.random.default_rng(0).integers(0, 256, (8 * -(-count // 32), 8 * 32)).astype(np.uint8)
    picture = io.BytesIO()
    Image.fromarray(sheet).save(picture, "WEBP", lossless=True)
    snapshots = run.snapshots()
    return feed_of(
        train, validation, test, known=["zero", TRAP, "two", "four", "five", "nine"],
        atlas=np.frombuffer(picture.getvalue(), np.uint8),
        snapshots=snapshots["logits"][-3:], snapshot_epochs=snapshots["epochs"][-3:],
        snapshot_labels=snapshots["labels"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory):
    place = tmp_path_factory.mktemp("live")
    (place / "feed.bin").write_bytes(digits_feed())
    script = place / "page.py"
    script.write_text(APP.format(root=str(ROOT), feed=str(place / "feed.bin")), "utf-8")
    with serve(script, place / "server.log") as address:
        yield address


@pytest.fixture
def page(new_context, server):
    """page(query) opens a tab with the view; what goes wrong in it fails the test."""
    wrong, contexts = [], []

    def opened(query: str, first: str = ".live > *", **options):
        contexts.append(new_context(**{"viewport": {"width": 1440, "height": 1200}} | options))
        tab = contexts[-1].new_page()
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        tab.goto(f"{server}/?{query}")
        tab.wait_for_selector(first)
        return tab

    yield opened
    for context in contexts:
        for tab in context.pages:
            assert not tab.locator("[data-testid=stException]").count()
        context.close()
    assert wrong == []


def heard(tab) -> dict:
    return json.loads(tab.locator("[data-testid=stCode]").inner_text())


def rerun_by(tab, act) -> None:
    """Waits until the page has been run again, to its end, because of what act() does."""
    count = re.compile(r"^run (\d+)$")

    def runs() -> int:
        return int(count.match(tab.get_by_text(count).inner_text())[1])

    before = runs()
    act()
    until(tab, lambda: runs() > before)


def kept(tab) -> str:
    return tab.locator(".tile .note").first.inner_text()


def test_a_browser_computes_what_python_does(new_context, toy_outputs):
    tab = new_context().new_page()
    tab.set_content("<!doctype html><title>golden</title>")
    tab.add_script_tag(content=plain_script())
    for situation in situations(toy_outputs).values():
        answer = tab.evaluate("question => golden(question)", asked(situation, feed_of(*situation)))
        compare(situation, answer)
    tab.context.close()


def test_the_counts_follow_while_theta_is_dragged(page):
    tab = page("view=lab")
    tab.wait_for_selector(".handle[aria-valuenow]")
    rule, first = tab.locator(".handle").get_attribute("aria-valuenow"), kept(tab)
    box = tab.locator(".scores .plot").bounding_box()
    row = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * 0.4, row)
    tab.mouse.down()
    seen = set()
    for place in (0.35, 0.25, 0.15, 0.3, 0.8):
        tab.mouse.move(box["x"] + box["width"] * place, row, steps=3)
        painted(tab)
        seen.add(
            (kept(tab), tab.locator(".confusion td").all_inner_texts()[-1], tab.locator(".point").get_attribute("cx"))
        )
    assert len(seen) == 5 and first not in {counted for counted, *_ in seen}
    assert heard(tab) == {}  # Python has heard nothing yet
    theta = float(tab.locator(".handle").get_attribute("aria-valuenow"))
    tab.mouse.up()
    assert until(tab, lambda: heard(tab).get("theta")) == theta
    tab.wait_for_timeout(300)
    assert float(tab.locator(".handle").get_attribute("aria-valuenow")) == theta  # what came back changed nothing
    tab.get_by_role("button", name="Back to the rule", exact=True).click()  # the page's own word counts
    until(tab, lambda: tab.locator(".handle").get_attribute("aria-valuenow") == rule)


def test_python_moves_nothing_while_a_finger_is_down(page):
    tab = page("view=lab")
    box = tab.locator(".scores .plot").bounding_box()
    row = box["y"] + box["height"] / 2
    handle = tab.locator(".handle[aria-valuenow]")
    handle.press("End")
    until(tab, lambda: heard(tab).get("theta"))
    tab.mouse.move(box["x"] + box["width"] * 0.4, row)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.3, row)
    painted(tab)
    held = handle.get_attribute("aria-valuenow")
    # a press of the button by script, the mouse being busy
    rule = tab.get_by_role("button", name="Back to the rule", exact=True)
    rerun_by(tab, lambda: rule.evaluate("button => button.click()"))
    tab.wait_for_timeout(300)
    assert handle.get_attribute("aria-valuenow") == held
    tab.mouse.up()
    until(tab, lambda: heard(tab)["theta"] == float(held))
    tab.wait_for_timeout(300)
    assert handle.get_attribute("aria-valuenow") == held


def test_theta_by_keys_and_what_is_said_of_it(page):
    tab = page("view=lab")
    handle = tab.get_by_role("slider", name=re.compile("reject above"))
    before = float(until(tab, lambda: handle.get_attribute("aria-valuenow")))
    values = []
    for key in ("ArrowRight", "Shift+ArrowRight", "ArrowLeft", "End", "Home"):
        handle.press(key)
        painted(tab)
        values.append(float(handle.get_attribute("aria-valuenow")))
    small, large = np.log(values[0] / before), np.log(values[1] / values[0])
    assert large == pytest.approx(10 * small, rel=0.1) and values[2] < values[1]
    assert values[3] == float(handle.get_attribute("aria-valuemax"))
    assert values[4] == float(handle.get_attribute("aria-valuemin"))
    assert "catches 100" in handle.get_attribute("aria-valuetext")
    until(tab, lambda: "catches 100" in tab.locator("p[role=status]").inner_text())


def test_a_cell_of_the_table_shows_its_images(page):
    tab = page("view=lab")
    tab.wait_for_selector(".handle[aria-valuenow]")
    cell = tab.locator(".confusion tbody tr").last.locator("td").last
    count = int(cell.inner_text())
    everything = tab.locator(".gallery .count").all_inner_texts()
    cell.get_by_role("button").press("Enter")
    until(tab, lambda: tab.locator(".gallery .count").all_inner_texts() == ["0", str(count)])
    chip = tab.get_by_role("button", name="only never seen → rejected")
    shown = until(tab, lambda: tab.locator(".gallery .image:visible").all())
    assert len(shown) <= count
    chip.click()
    until(tab, lambda: tab.locator(".gallery .count").all_inner_texts() == everything)


def test_a_lasso_gives_a_selection_to_python_and_escape_clears_it(page):
    tab = page("view=space")
    canvas = tab.get_by_role("application")
    until(tab, lambda: canvas.get_attribute("aria-label"))
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 4)
    tab.mouse.down()
    for x, y in ((0.8, 0.01), (0.8, 0.35), (0.2, 0.35)):
        tab.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=5)
    tab.mouse.up()
    chosen = until(tab, lambda: heard(tab).get("selection"))
    assert len(chosen) > 10
    labels = [entry.inner_text() for entry in tab.locator(".entry:visible").all()]
    assert labels[0].split("\n")[1].isdigit()
    until(tab, lambda: len(tab.locator(".pick:visible").all()) == min(len(chosen), 60))
    canvas.press("Escape")
    until(tab, lambda: heard(tab)["selection"] == [])
    canvas.press("ArrowRight")  # then one image by keys
    canvas.press("ArrowUp")
    until(tab, lambda: re.search("nearest .*: accepted", tab.locator("p[role=status]").inner_text()))
    canvas.press("Enter")
    until(tab, lambda: len(heard(tab)["selection"]) == 1)


def test_another_picture_keeps_theta_and_the_order_of_classes_can_be_moved(page):
    tab = page("view=space")
    slider = tab.get_by_role("slider", name=re.compile("reject above"))
    until(tab, lambda: tab.get_by_role("application").get_attribute("aria-label"))  # the numbers have come
    slider.press("End")
    theta = until(tab, lambda: heard(tab).get("theta"))
    count = tab.locator(".entry:visible").first.inner_text()
    for name in ("3-D", "Plane", "Strip", "Wheel"):
        tab.get_by_role("radio", name=name).click()
        until(tab, lambda name=name: heard(tab)["view"] == {"3-D": "solid"}.get(name, name.lower()))
        assert heard(tab)["theta"] == theta
        until(tab, lambda: tab.locator(".entry:visible").first.inner_text() == count)
    tab.get_by_role("button", name=re.compile("^zero, place 1 of 6")).press("ArrowRight")
    until(tab, lambda: heard(tab)["order"] == [1, 0, 2, 3, 4, 5])


def test_one_looks_closer_by_keys_by_wheel_and_with_two_fingers_and_the_page_still_scrolls(page):
    tab = page("view=space")
    canvas = tab.get_by_role("application")
    until(tab, lambda: canvas.get_attribute("aria-label"))
    rim = tab.locator("button.rim").nth(2)

    def place() -> tuple[float, float] | None:
        return (box := rim.bounding_box()) and (round(box["x"]), round(box["y"]))

    whole = place()
    canvas.press("+")
    until(tab, lambda: place() != whole)
    canvas.press("0")
    until(tab, lambda: place() == whole)
    tab.get_by_role("button", name=re.compile("^Closer")).click()
    closer = until(tab, lambda: place() != whole and (place() or "gone"))
    canvas.press("Alt+ArrowRight")
    until(tab, lambda: place() != closer)
    tab.get_by_role("button", name=re.compile("^The whole")).click()
    until(tab, lambda: place() == whole)
    box = canvas.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -100)
    tab.keyboard.up("Control")
    until(tab, lambda: place() != whole)
    enlarged = place()
    prevented = "stage => { const turn = new WheelEvent('wheel', {deltaY: 50, bubbles: true, cancelable: true}); " \
                "stage.dispatchEvent(turn); return turn.defaultPrevented; }"  # fmt: skip
    assert not tab.locator(".stage").evaluate(prevented) and place() == enlarged  # a plain wheel is the page's
    tab.get_by_role("button", name="Move", exact=True).click()
    assert tab.locator(".stage").evaluate(prevented)
    fingers = """stage => {
      const {left, top, width, height} = stage.getBoundingClientRect();
      const send = (type, id, share) => stage.dispatchEvent(new PointerEvent(type, {
        pointerId: id, pointerType: "touch", bubbles: true, clientX: left + width * share, clientY: top + height / 2}));
      stage.setPointerCapture = () => {};
      send("pointerdown", 11, 0.4), send("pointerdown", 12, 0.6);
      send("pointermove", 11, 0.2), send("pointermove", 12, 0.8);
      send("pointerup", 11, 0.2), send("pointerup", 12, 0.8);
    }"""
    canvas.press("0")
    until(tab, lambda: place() == whole)
    tab.locator(".stage").evaluate(fingers)
    until(tab, lambda: place() != whole)
    assert heard(tab).get("selection", []) == []


def test_one_class_and_one_decision_alone(page):
    tab = page("view=space")
    canvas = tab.get_by_role("application")
    until(tab, lambda: canvas.get_attribute("aria-label"))
    tab.get_by_label("Images of which class").select_option("only two")
    pressed = "entries => entries.filter(one => one.getAttribute('aria-pressed') === 'true').length"
    until(tab, lambda: tab.locator(".entry:visible").evaluate_all(pressed) == 1)
    accepted, of = map(int, tab.locator(".entry[aria-pressed=true] .n").nth(1).inner_text().split("/"))

    def caught() -> int:
        tab.locator(".stage").evaluate("stage => stage.scrollIntoView()")
        box = canvas.bounding_box()
        corners = ((0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98))
        first, *others = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
        tab.mouse.move(*first)
        tab.mouse.down()
        for place in others:
            tab.mouse.move(*place, steps=3)
        tab.mouse.up()
        count = len(until(tab, lambda: heard(tab).get("selection")))
        canvas.press("Escape")
        until(tab, lambda: heard(tab)["selection"] == [])
        return count

    assert caught() == of
    tab.get_by_label("Images of which decision").select_option("only accepted")
    assert caught() == accepted
    tab.get_by_label("Images of which class").select_option("all classes")
    until(tab, lambda: heard(tab)["hidden"] == [] and heard(tab)["decision"] == "accepted")


def test_an_axis_by_quantiles_moves_the_handle_and_not_theta(page):
    tab = page("view=lab")
    handle = tab.locator(".handle[aria-valuenow]")
    theta, place = handle.get_attribute("aria-valuenow"), handle.bounding_box()["x"]
    tab.get_by_role("button", name="Axis by quantiles").click()
    until(tab, lambda: handle.bounding_box()["x"] != place)
    assert handle.get_attribute("aria-valuenow") == theta
    until(tab, lambda: heard(tab).get("axis") == "quantiles")


def test_the_film_plays_the_training(page):
    tab = page("view=space", reduced_motion="reduce")
    tab.get_by_role("button", name="Watch the training").click()
    slider = tab.get_by_role("slider", name="Epoch")
    first = until(tab, lambda: slider.get_attribute("aria-valuetext"))
    tab.wait_for_timeout(700)
    assert slider.get_attribute("aria-valuetext") == first  # nothing moves by itself
    tab.get_by_role("button", name="Play").click()
    until(tab, lambda: slider.input_value() == "2" and tab.get_by_role("button", name="Play").count())
    until(tab, lambda: heard(tab).get("epoch") == 20)  # the last
    assert re.match(r"Cloud of \d+ images", tab.get_by_role("application").get_attribute("aria-label"))


def test_names_are_text_whatever_they_hold(page):
    for view in ("lab", "space"):
        tab = page(f"view={view}")
        assert tab.get_by_text(TRAP).count() > 0
        tab.wait_for_timeout(300)
        assert tab.evaluate("window.trapped") is None and tab.locator("img[src=x]").count() == 0


@pytest.mark.parametrize(
    ("fault", "place", "said"),
    [
        ("torn", ".waiting", "The numbers of this run could not be read. Reload the page."),
        ("another", ".waiting", "Loading the numbers of this run…"),
        ("missing", ".room", ""),
    ],
)
def test_a_feed_that_does_not_come_is_said_calmly(page, fault, place, said):
    tab = page(f"view=lab&fault={fault}", place)
    box = tab.locator(place)
    until(tab, lambda: box.inner_text() == said)
    assert box.bounding_box()["height"] == 400


def test_reruns_keep_one_feed_and_views_close_behind_them(page):
    tab = page("view=lab")
    sizes = "({feeds: anchorscopeFeeds.feeds.size, waiting: anchorscopeFeeds.waiting.size})"
    for _ in range(3):
        rerun_by(tab, tab.get_by_role("button", name="Back to the rule", exact=True).click)
    until(tab, lambda: tab.evaluate(sizes) == {"feeds": 1, "waiting": 1})
    tab.get_by_text("Show").click()
    until(tab, lambda: tab.evaluate(sizes)["waiting"] == 0)
    tab.get_by_text("Show").click()
    tab.wait_for_selector(".handle[aria-valuenow]")
    until(tab, lambda: tab.evaluate(sizes) == {"feeds": 1, "waiting": 1})
