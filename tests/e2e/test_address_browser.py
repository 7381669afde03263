"""One address in a real browser: the live pictures count as the other pages do, and what is set there stays set."""

import re

import pytest

from app import words
from tests.waiting import at_rest, picked
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
ADDRESSES = (
    "", "theta=0.5", "each=true&theta=0.1", "epsilon=0.01&odin=10", "scorer=msp&temperature=2", "rule=youden",
    "scorer=distance&centres=anchors&kept=80", "each=true&epsilon=0.05&odin=1",
    "scorer=openmax&epsilon=0.05&odin=10",
)  # fmt: skip


def counts_in(notes: list[str]) -> list[str]:
    """What stands below the numbers: 204 of 215, before the interval."""
    return [said.group() for note in notes if (said := re.match(r"\d+ of \d+", note))]


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_live_pictures_count_as_the_other_pages_do(page, server, address):
    page.goto(f"{server}/?{address}")
    deltas = page.locator("[data-testid=stMetricDelta]")  # Python's, beside the table
    deltas.nth(2).wait_for(state="attached")
    at_rest(page)
    kept, right, caught = counts_in(deltas.all_text_contents())
    notes = page.locator(".tile .note")
    until(
        page, lambda: counts_in(notes.all_inner_texts()) == [kept, right, caught], "the wheel of Home counts otherwise"
    )
    theta = page.get_by_role("slider", name=re.compile("reject above")).get_attribute("aria-valuetext")

    page.goto(f"{server}/thresholds?{address}")
    page.wait_for_selector(".handle[aria-valuenow]")
    until(page, lambda: counts_in(notes.all_inner_texts()[:3]) == [kept, right, caught], "Thresholds counts otherwise")
    assert page.locator(".handle").get_attribute("aria-valuetext").startswith(f"{theta}, keeps")

    page.goto(f"{server}/space?{address}&without=validation")
    value = page.locator(".controls.theta .value")
    until(page, lambda: value.count() and value.inner_text() == theta, "Logit space has another theta")
    sides = {True: [0, 0], False: [0, 0]}  # accepted and all, of knowns and of the rest
    for entry in page.locator(".entry:visible").all():
        some = entry.locator(".n").nth(1).inner_text().split("/")
        known = entry.locator(".name").inner_text() in "012459"
        sides[known] = [total + int(n) for total, n in zip(sides[known], some, strict=True)]
    (accepted, knowns), (missed, unknowns) = sides[True], sides[False]
    assert (f"{accepted} of {knowns}", f"{unknowns - missed} of {unknowns}") == (kept, caught)


def test_what_is_set_outlives_every_change_of_language(page, server):
    page.goto(f"{server}/thresholds?theta=0.25")
    page.wait_for_selector(".handle[aria-valuenow='0.25']")
    label = "Language"
    for short, name in (("zh", "中文"), ("ja", "日本語"), ("ko", "한국어")):
        picked(page, label, name)
        label = words.catalogue(short)["Language"]
        page.get_by_role("combobox", name=label).wait_for()
        page.wait_for_url(re.compile(f"lang={short}"))
        at_rest(page)
        assert "theta=0.25" in page.url and "epsilon" not in page.url
    page.wait_for_selector(".handle[aria-valuenow='0.25']")
    page.goto(f"{server}/runs?runs_order=accuracy")
    label = "Language"
    for short, name in (("zh", "中文"), ("ja", "日本語")):
        picked(page, label, name)
        label = words.catalogue(short)["Language"]
        page.wait_for_url(re.compile(f"lang={short}"))
        at_rest(page)
        assert "runs_order=accuracy" in page.url


def test_another_temperature_lets_theta_go_from_either_side_and_says_so(page, server):
    page.goto(f"{server}/thresholds?theta=0.25")
    page.wait_for_selector(".handle[aria-valuenow='0.25']")
    page.get_by_role("slider", name="Temperature T").press("End")
    button = page.get_by_role("button", name="θ goes by the rule")
    button.wait_for()  # before Python has heard
    page.wait_for_url(re.compile("temperature="))
    page.get_by_text("θ was set for other scores than these").wait_for()
    until(page, lambda: "theta=" not in page.url)
    page.locator(".handle").press("ArrowRight")
    page.wait_for_url(re.compile("theta="))
    until(page, lambda: not page.get_by_text("θ was set for other scores than these").count())
    page.get_by_text("Options", exact=True).click()
    field = page.get_by_role("spinbutton", name="Temperature")
    field.fill("3")
    field.press("Enter")
    until(page, lambda: "temperature=3" in page.url and "theta=" not in page.url)
    button.wait_for()
    page.get_by_text("θ was set for other scores than these").wait_for()


def test_which_images_are_shown_and_the_order_of_the_classes_stay(page, server):
    page.goto(f"{server}/space")
    chip = page.get_by_role("button", name="validation images")
    chip.click()
    page.wait_for_url(re.compile("without=validation"))
    first = page.get_by_role("button", name=re.compile(", place 1 of 6 around the wheel"))
    moved = first.get_attribute("aria-label").split(",")[0]
    page.locator(".rim", has_text=re.compile(f"^{moved}$")).press("ArrowRight")
    page.wait_for_url(re.compile("order=own.*around=|around=.*order=own"))

    def unchanged():
        at_rest(page)
        name = page.get_by_role("button", name=re.compile(f"^{moved}, place 2 of 6"))
        name.wait_for()
        return chip.get_attribute("aria-pressed") == "false" and "without=validation" in page.url

    assert unchanged()
    page.get_by_role("slider", name=re.compile("reject above")).press("ArrowRight")  # the page runs again
    page.wait_for_url(re.compile("theta="))
    assert unchanged()
    page.reload()
    assert unchanged()
    chip.click()
    until(page, lambda: "without" not in page.url and chip.get_attribute("aria-pressed") == "true")


def test_in_the_film_theta_is_not_said_to_keep_what_it_keeps_at_the_end(page, server):
    page.goto(f"{server}/space?epoch=1")
    page.get_by_role("slider", name="Epoch").wait_for()
    page.get_by_role("button", name="θ is that of the finished network").wait_for()
    said = page.locator(".live p[role=status]")
    until(page, lambda: re.search(r"Epoch 1: θ = \S+ accepts \S+\s% of these images", said.inner_text()))
    assert page.get_by_text("Judged by where the class means end up.").count() == 1
    page.goto(f"{server}/space?epoch=1&scorer=msp")
    page.get_by_role("slider", name="Epoch").wait_for()
    assert page.get_by_text("Judged by").count() == 0
