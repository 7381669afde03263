"""The anchor lab, as a teacher uses it: play, compare, add an unknown, draw, hand out a link."""

import re

import pytest

from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def opened(page, server, query: str = ""):
    page.goto(f"{server}/anchors?{query}")
    page.locator(".bench .said").wait_for()
    until(page, lambda: page.locator(".bench .said").inner_text(), "nothing is said")


def shown(page, name: str) -> float:
    """A number of a tile, by its title."""
    tile = page.locator(".bench .tile", has=page.locator("dt", has_text=re.compile(f"^{name}$")))
    return float(re.sub(r"[^\d.e-]", "", tile.locator(".big").inner_text()))


def epoch(page) -> int:
    return int(re.search(r"\d+", page.locator(".player .value").inner_text())[0])


def trained_to(page, wanted: int):
    until(page, lambda: epoch(page) == wanted and "…" not in page.locator(".player .value").inner_text(), "not trained")


def paused_at(page, wanted: int):
    """Presses Pause as soon as an epoch is shown, from within the page, which may play faster than a test can look."""
    page.locator(".bench").evaluate(
        """(bench, wanted) => new Promise((done) => {
          const look = () => {
            const epoch = Number(bench.querySelector(".player .value").textContent.match(/\\d+/)[0]);
            if (epoch < wanted) return requestAnimationFrame(look);
            bench.querySelector(".player .play").click();
            requestAnimationFrame(() => requestAnimationFrame(done));
          };
          look();
        })""",
        wanted,
    )


def test_play_brings_the_points_to_their_anchors(page, server):
    opened(page, server, "unknown=blob")
    accuracy, far = shown(page, "accuracy"), shown(page, "LA")
    assert epoch(page) == 0 and far > 5
    page.get_by_role("button", name="Play").click()
    paused_at(page, 30)
    at = epoch(page)
    assert 30 <= at < 100 and page.get_by_role("button", name="Play").is_visible()
    assert shown(page, "accuracy") > max(accuracy, 97) and shown(page, "LA") < far / 2
    until(page, lambda: f"epochs={at}" in page.url, "the address does not follow")
    page.wait_for_timeout(300)
    assert epoch(page) == at
    # the unknown blob lies between the classes, and is rejected where 95 % of the knowns are kept
    assert float(re.search(r"rejects ([\d.]+)", page.locator(".said").inner_text())[1]) > 90
    page.get_by_role("slider", name="Epoch").fill("0")
    until(
        page,
        lambda: shown(page, "accuracy") == accuracy and shown(page, "LA") == far,
        "the first epoch is not the first",
    )


def test_without_the_anchor_term_the_clusters_stay_wider(page, server):
    spread = {}
    for lam in ("0", "0.1", "1"):
        opened(page, server, f"lambda={lam}&epochs=40")
        trained_to(page, 40)
        spread[lam] = shown(page, "spread")
    assert spread["1"] < spread["0.1"] < spread["0"]


def test_softmax_takes_what_lies_far_out_for_known_and_cac_less_so(page, server):
    opened(page, server, "unknown=ring&epochs=30&lambda=1")
    trained_to(page, 30)
    cac = shown(page, "AUROC")
    page.get_by_role("radio", name="softmax").click()
    until(page, lambda: "method=softmax" in page.url, "the address does not follow")
    trained_to(page, 30)
    assert shown(page, "AUROC") < 50 < 70 < cac
    assert page.locator(".setting", has_text="λ").count() == page.locator(".setting[hidden]", has_text="λ").count() == 1


def test_a_link_opens_the_same_again(page, server):
    opened(page, server, "data=moons&lambda=0.3&seed=5&width=16&noise=0.6&epochs=17&unknown=noise&keep=0.9")
    trained_to(page, 17)
    numbers = [shown(page, name) for name in ("LT", "LA", "accuracy", "spread", "AUROC")]
    said, url = page.locator(".said").inner_text(), page.url
    page.goto("about:blank")
    page.goto(url)
    page.locator(".bench .said").wait_for()
    trained_to(page, 17)
    assert [shown(page, name) for name in ("LT", "LA", "accuracy", "spread", "AUROC")] == numbers
    assert page.locator(".said").inner_text() == said
    page.get_by_role("spinbutton", name="seed").fill("6")
    page.get_by_role("spinbutton", name="seed").press("Enter")
    until(page, lambda: "seed=6" in page.url, "the address does not follow")
    trained_to(page, 17)
    assert [shown(page, name) for name in ("LT", "LA")] != numbers[:2]


def test_hide_leaves_controls_out_and_the_box_makes_such_a_link(page, server):
    opened(page, server, "hide=alpha,lambda,unknown,draw,seed")
    assert not page.get_by_role("spinbutton", name="seed").count() and not page.locator(".tools").count()
    assert not page.locator(".setting", has_text="α").count() and page.locator(".setting", has_text="noise").count()
    assert not page.locator(".choice", has_text="Unknown").count()
    opened(page, server)
    page.get_by_text("Hand out as an exercise").click()
    page.locator(".box", has_text="λ").click()
    page.locator(".box", has_text="drawing").click()
    link = page.get_by_label("Link to the exercise").input_value()
    assert "hide=lambda,draw" in link
    page.goto(link)
    page.locator(".bench .said").wait_for()
    assert not page.locator(".setting", has_text="λ").count() and not page.locator(".tools").count()


def on_the_plane(page):
    """Gives at(x, y): where on the page a share of the plane's width and height lies."""
    canvas = page.locator(".stage.plane canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_points_are_drawn_moved_and_chosen(page, server):
    opened(page, server, "epochs=10")
    trained_to(page, 10)
    at = on_the_plane(page)
    page.mouse.click(*at(0.95, 0.95))
    until(page, lambda: "where no point is" in page.locator(".formula").inner_text(), "no place is chosen")
    assert re.search("γA = .* = ", page.locator(".formula").inner_text().replace("\n", " "))
    page.get_by_label("draw unknown points").click()
    page.mouse.move(*at(0.1, 0.1))
    page.mouse.down()
    page.mouse.move(*at(0.3, 0.1), steps=8)
    page.mouse.up()
    until(page, lambda: "unknown=drawing" in page.url and "points=" in page.url, "the drawing is not in the address")
    assert "data=drawn" not in page.url and epoch(page) == 10  # unknowns are not trained on
    page.get_by_label("draw points of class B").click()
    page.mouse.click(*at(0.5, 0.5))
    until(page, lambda: "data=drawn" in page.url, "a known point makes it one's own data")
    trained_to(page, 10)


def test_the_blob_can_be_dragged_into_a_class(page, server):
    opened(page, server, "unknown=blob&epochs=30")
    trained_to(page, 30)
    at = on_the_plane(page)
    page.mouse.move(*at(0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*at(0.5, 0.26), steps=6)
    page.mouse.up()
    until(page, lambda: "at=" in page.url, "the address does not follow")
    assert float(re.search(r"rejects ([\d.]+)", page.locator(".said").inner_text())[1]) < 60


def test_digits_are_learned_and_a_drawing_is_judged(page, server):
    opened(page, server, "data=digits&classes=0,1,2&unknown=drawing&epochs=25")
    trained_to(page, 25)
    assert shown(page, "accuracy") > 95
    before = page.locator(".group").count()
    pad = page.locator("canvas.pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    for line in (((20, 20), (120, 120)), ((120, 20), (20, 120)), ((70, 10), (70, 130)), ((10, 70), (130, 70))):
        (ax, ay), (bx, by) = line
        page.mouse.move(box["x"] + ax, box["y"] + ay)
        page.mouse.down()
        page.mouse.move(box["x"] + bx, box["y"] + by, steps=6)
        page.mouse.up()
    until(page, lambda: "drawing=" in page.url, "the drawing is not in the address")
    assert before and "Of a kind never seen" in page.locator(".formula").inner_text()
    page.get_by_role("button", name="7", exact=True).click()
    until(page, lambda: "classes=1,2,7" in page.url, "another digit is not learned")


def test_keys_choose_points_and_turn_the_space(page, server):
    opened(page, server, "epochs=5")
    trained_to(page, 5)
    plane = page.locator(".stage.plane canvas")
    plane.focus()
    said = page.locator(".formula").inner_text()
    plane.press("ArrowRight")
    until(page, lambda: page.locator(".formula").inner_text() != said, "the arrow key chose nothing")
    solid = page.locator(".stage.turns canvas")
    before = solid.evaluate("canvas => canvas.toDataURL()")
    solid.press("ArrowLeft")
    until(page, lambda: solid.evaluate("canvas => canvas.toDataURL()") != before, "the arrow key turned nothing")


def focused(page) -> str:
    """What has the focus within the lab: its name, or its label's words."""
    return page.locator(".bench").evaluate(
        """bench => {
          const node = bench.getRootNode().activeElement;
          const label = node?.closest("label")?.querySelector(".label");
          return node ? node.ariaLabel ?? (label ?? node).textContent : "";
        }"""
    )


def test_what_is_set_by_key_keeps_the_focus(page, server):
    opened(page, server, "epochs=3")
    for label, words in (("Unknown", "noise"), ("Data", "three digits"), ("Digit", "9")):
        select = page.locator(".choice:not([hidden])", has=page.locator(".label", has_text=label)).locator("select")
        select.focus()
        select.select_option(words)
        if label == "Data":
            page.locator(".thumb").first.wait_for()
            page.locator(".choice", has_text="Unknown").locator("select").select_option("another digit")
            page.locator(".choice", has_text="Data").locator("select").focus()
        until(page, lambda label=label: focused(page) == label, f"{label} has lost the focus")
    until(page, lambda: "stranger=9" in page.url, "the address does not follow")
    page.get_by_role("radio", name="CAC").focus()
    page.keyboard.press("ArrowRight")
    until(page, lambda: "method=softmax" in page.url, "the arrow key chose no method")
    assert focused(page) == "softmax" and page.locator(".tabs [tabindex='0']").inner_text() == "softmax"
    page.keyboard.press("ArrowRight")
    until(page, lambda: "method=softmax" not in page.url and focused(page) == "CAC", "it does not go round")


def test_the_epoch_slider_stays_where_it_is_put(page, server):
    opened(page, server, "data=digits&width=64")
    slider = page.get_by_role("slider", name="Epoch")
    slider.press("End")
    until(page, lambda: epoch(page) > 0, "it is not trained")
    assert slider.input_value() == "100"
    trained_to(page, 100)
    until(page, lambda: "epochs=100" in page.url, "the address does not say how far it was trained")


def test_at_the_last_epoch_there_is_no_step_and_play_begins_anew(page, server):
    opened(page, server, "epochs=400&width=4")
    trained_to(page, 400)
    assert page.get_by_role("button", name="Step").is_disabled()
    page.get_by_role("button", name="Play").click()
    until(page, lambda: 0 < epoch(page) < 400, "it does not play again")
    page.get_by_role("button", name="Restart").click()
    until(page, lambda: epoch(page) == 0, "it does not begin anew")
    page.get_by_role("button", name="Step").click()
    until(page, lambda: epoch(page) == 1, "it makes no step")
    page.wait_for_timeout(300)
    assert epoch(page) == 1 and page.get_by_role("button", name="Play").is_visible()


def test_what_is_spoken_of_stays_so_while_the_course_and_the_points_change(page, server):
    opened(page, server, "epochs=5")
    trained_to(page, 5)
    canvas, truth = page.locator(".stage.plane canvas"), page.locator(".formula .truth")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 0.05 * box["height"])
    until(page, lambda: truth.inner_text() == "A place where no point is", "no place is chosen")
    page.get_by_role("slider", name="λ").press("ArrowRight")
    until(page, lambda: "lambda=0.3" in page.url, "the address does not follow")
    assert truth.inner_text() == "A place where no point is"
    canvas.focus()
    canvas.press("ArrowLeft")  # the last row: an unknown of the blob
    until(page, lambda: truth.inner_text() == "Of a kind never seen", "the key chose no unknown")
    page.get_by_label("draw points of class B").click()
    page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    until(page, lambda: "data=drawn" in page.url, "no point was drawn")
    canvas.press("ArrowRight")  # still the last row, though a known point came before it: on to the first
    until(page, lambda: truth.inner_text() == "Of class A", "another row is spoken of")
    page.locator(".choice", has_text="Unknown").locator("select").select_option("none")
    canvas.press("ArrowLeft")
    page.locator(".choice", has_text="Unknown").locator("select").select_option("a blob")
    assert page.locator(".formula .verdict").count() == 1


def ink(page) -> float:
    """The share of the pad that is drawn on."""
    return page.locator("canvas.pad").evaluate(
        """pad => {
          const { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
          return data.filter((value, n) => n % 4 === 0 && value < 128).length / (pad.width * pad.height);
        }"""
    )


def test_a_drawing_of_the_address_is_on_the_pad_and_is_read_from_it_again(page, server):
    drawing = "000ff000" * 4 + "00ffff00" * 4
    opened(page, server, f"data=digits&unknown=drawing&epochs=3&drawing={drawing}")
    trained_to(page, 3)
    assert ink(page) == pytest.approx(24 / 64)
    assert page.locator("canvas.pad").evaluate("pad => [pad.width, pad.height]") == [144, 144]
    box = page.locator("canvas.pad").bounding_box()
    page.mouse.click(box["x"] + 74, box["y"] + 74)  # in the middle of the ink: the same again
    page.wait_for_timeout(600)
    assert f"drawing={drawing}" in page.url
    page.get_by_role("button", name="Clear").click()
    until(page, lambda: "drawing=0" not in page.url and ink(page) == 0, "the pad was not wiped")
    assert not page.locator(".group h4", has_text="never seen").count()


def test_one_who_leaves_while_it_plays_comes_back_to_where_it_was(page, server):
    opened(page, server)
    page.get_by_role("button", name="Play").click()
    until(page, lambda: epoch(page) >= 12, "it does not play")
    at = epoch(page)
    page.get_by_role("link", name="Data and trials").click()
    page.locator(".bench").wait_for(state="detached")
    page.get_by_role("link", name="Anchor lab").click()
    page.locator(".bench .said").wait_for()
    until(page, lambda: epoch(page) >= at and "…" not in page.locator(".player .value").inner_text(), "it was lost")
    page.wait_for_timeout(600)
    assert page.get_by_role("button", name="Play").is_visible()


def in_colour(page) -> bool:
    """Whether the plane has pixels in the first class's colour of the present theme."""
    return page.locator(".stage.plane canvas").evaluate(
        """canvas => {
          const colour = getComputedStyle(canvas).getPropertyValue("--known-0").match(/\\w\\w/g);
          const [r, g, b] = colour.map((two) => parseInt(two, 16));
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value, n) => n % 4 === 0 && value === r && data[n + 1] === g && data[n + 2] === b);
        }"""
    )


def test_the_theme_changes_while_it_plays(page, server):
    opened(page, server)
    page.get_by_role("button", name="Play").click()
    until(page, lambda: in_colour(page), "the first class is not drawn")
    page.emulate_media(color_scheme="dark")
    page.locator(".bench.dark").wait_for()
    until(page, lambda: epoch(page) == 100, "it stopped playing")
    until(page, lambda: in_colour(page), "it is drawn in the colours of before")


def test_the_box_knows_what_is_hidden_and_follows_the_lab(page, server):
    opened(page, server, "hide=alpha")
    page.get_by_text("Hand out as an exercise").click()
    link = page.get_by_label("Link to the exercise")
    until(page, lambda: "hide=alpha" in link.input_value(), "the link does not carry what is hidden")
    assert page.locator(".box", has_text="α").locator("input").is_checked()
    page.get_by_role("radio", name="softmax").click()
    until(page, lambda: "method=softmax" in link.input_value(), "the link is of before")
    page.locator(".choice", has_text="Data").locator("select").select_option("three digits")
    until(page, lambda: "data=digits" in link.input_value(), "the box was closed")


def test_a_finger_scrolls_over_the_pictures_but_where_it_draws(page, server):
    opened(page, server, "epochs=3")
    action = "canvas => getComputedStyle(canvas).touchAction"
    plane, turns = page.locator(".stage.plane canvas"), page.locator(".stage.turns canvas")
    assert plane.evaluate(action) == turns.evaluate(action) == "pan-y pinch-zoom"
    assert page.locator(".scores canvas").evaluate(action) == "auto"
    page.get_by_label("draw unknown points").click()
    until(page, lambda: plane.evaluate(action) == "none", "the page would scroll while a finger draws")


def test_the_blob_is_set_and_points_are_drawn_by_keys_alone(page, server):
    opened(page, server, "epochs=10&unknown=blob")
    trained_to(page, 10)
    plane = page.locator(".stage.plane canvas")
    plane.focus()
    for _ in range(3):
        plane.press("Shift+ArrowDown")
    plane.press("Enter")
    until(page, lambda: "at=" in page.url, "the blob was not set")
    page.get_by_label("draw points of class B").focus()
    page.keyboard.press("Enter")
    plane.focus()
    plane.press("Shift+ArrowLeft")
    plane.press("Enter")
    until(page, lambda: "data=drawn" in page.url, "nothing was drawn")
    trained_to(page, 10)
