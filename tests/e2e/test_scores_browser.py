"""Scores as people choose them: typed, looked for by group, compared, and found again by a link."""

import pytest

from tests.waiting import LONG, picked

pytestmark = pytest.mark.browser


def test_a_score_is_found_by_typing_goes_into_the_link_and_along_to_another_page(page, server):
    page.goto(f"{server}/thresholds")
    page.wait_for_selector(".handle[aria-valuenow]")
    page.locator(".st-key-scorer input").click()
    page.keyboard.type("rela")
    options = page.get_by_role("option")
    options.first.wait_for()
    assert [one.inner_text() for one in options.all()] == ["relative Mahalanobis · features"]
    page.keyboard.press("Enter")
    page.wait_for_url("**scorer=rmds**")
    page.wait_for_selector("text=relative Mahalanobis distance, by features")
    page.get_by_role("link", name="Logit space", exact=True).click()
    page.wait_for_url("**/space**scorer=rmds**")
    page.wait_for_selector(".st-key-scorer input")
    page.wait_for_function("document.querySelector('.st-key-scorer input')?.value.startsWith('relative')")
    page.goto(page.url.replace("scorer=rmds", "scorer=gen"))
    page.wait_for_function("document.querySelector('.st-key-scorer input')?.value.startsWith('GEN')")
    picked(page, "Language", "中文")
    page.wait_for_url("**lang=zh**")
    page.wait_for_function("document.querySelector('.st-key-scorer input')?.value.startsWith('GEN')")
    assert "scorer=gen" in page.url


def test_all_scores_are_compared_at_a_click_and_those_that_are_not_offered_say_why(page, server):
    page.goto(f"{server}/thresholds")
    page.locator(".st-key-compare_scores button").click()
    page.get_by_text("Each score at its own defaults").wait_for()
    page.locator(".st-key-compare_scores").wait_for(state="detached", timeout=1000 * LONG)
    page.get_by_text("Options").first.click()
    page.get_by_role("button", name="Scores that are not offered").click()
    said = page.get_by_text("This run holds no linear head")
    said.wait_for()
    assert "ViM" in said.inner_text() and "ReAct" in said.inner_text()


def test_the_name_of_a_score_is_all_there_on_a_phone(new_context, server):
    page = new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{server}/thresholds?scorer=temperature_scaling&axis=quantiles")
    page.wait_for_selector(".handle[aria-valuenow]")
    name = page.locator(".across")
    assert name.inner_text() == (
        "1 − largest softmax probability, at the temperature of the validation images, and how many of the knowns lie "
        "below"
    )
    box, foot = name.bounding_box(), page.locator(".plot").first.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["y"] >= foot["y"] + foot["height"] - 1
    assert name.evaluate("node => node.scrollWidth <= node.clientWidth")
    picture, across = page.locator(".roc .plot").bounding_box(), page.locator(".roc text.name").first.bounding_box()
    assert across["y"] + across["height"] <= picture["y"] + picture["height"]
