"""From a number to all its images, to one of them and back; a tag, the images that bear it, and the list as a file."""

import csv
import re

import pytest

from cac_core.exchange import tags
from tests.waiting import at_rest, downloaded, picked
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def tiles(page):
    return page.locator(".tiles .image")


def test_a_count_leads_to_its_images_and_one_of_them_and_back(page, server, trained):
    _, run = trained
    page.goto(f"{server}/thresholds?run={run.id}")
    page.locator(".confusion").wait_for()
    at_rest(page)
    row = page.locator(".confusion tbody tr:visible").last
    cell = row.locator("td button").last
    count = int(cell.inner_text())
    cell.click()
    page.get_by_role("button", name=re.compile(rf"^See all {count}: ")).click()
    page.get_by_role("heading", name="Images", exact=True).wait_for()
    page.get_by_text(re.compile(rf"^{count} images")).wait_for()
    until(page, lambda: "images_truth=never" in page.url and "images_called=rejected" in page.url)
    at_rest(page)
    scores = [float(said.split(" ")[0].replace("∞", "inf")) for said in page.locator(".tiles .quiet").all_inner_texts()]
    assert scores == sorted(scores) and len(scores) == min(count, 60)
    # by the keyboard alone: one tab stop, arrows within
    tiles(page).first.focus()
    page.keyboard.press("ArrowRight")
    second = page.locator(".tiles li").nth(1).get_attribute("data-key")
    page.keyboard.press("Enter")
    page.get_by_text("The nearest training images").wait_for()
    until(page, lambda: f"images_at={second}" in page.url)
    at_rest(page)
    page.go_back()
    tiles(page).nth(1).wait_for()
    page.go_forward()
    page.get_by_text("The nearest training images").wait_for()
    at_rest(page)
    page.get_by_role("button", name=re.compile(rf"All {count} images")).click()
    tiles(page).nth(1).wait_for()
    until(page, lambda: page.evaluate(FOCUSED) == second, "the image that was open has not the focus")
    # the same address opens the same images elsewhere
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_text(re.compile(rf"^{count} images")).wait_for()
    other.close()


def test_a_segment_of_the_roc_curve_and_homes_counts_lead_to_their_images(page, server, trained):
    _, run = trained
    page.goto(f"{server}/thresholds?run={run.id}")
    page.get_by_text("This θ decides every image as the rule does").wait_for()
    at_rest(page)
    handle = page.locator(".handle")
    handle.focus()
    for _ in range(2):
        handle.press("PageDown")
    segment = page.get_by_role("button", name=re.compile(r"^See the (\d+ images|one image) that this θ decides"))
    segment.wait_for()
    until(page, lambda: "theta=" in page.url, "the address does not follow")
    at_rest(page)
    count = int(re.search(r"\d+", segment.inner_text())[0])
    rejected = page.locator(".confusion tbody td:last-child button")
    more = sum(int(said) for said in rejected.all_inner_texts() if said.isdigit())
    segment.click()
    page.get_by_text(re.compile(rf"^{count} images")).wait_for()
    # by the rule so many fewer were rejected
    page.goto(f"{server}/thresholds?run={run.id}&theta=")
    page.get_by_text("This θ decides every image as the rule does").wait_for()
    at_rest(page)
    until(
        page,
        lambda: more - sum(int(said) for said in rejected.all_inner_texts() if said.isdigit()) == count,
        "another count",
    )
    page.goto(f"{server}/?run={run.id}")
    seen = page.locator(".swatch", has_text="never seen, rejected").locator("button")
    until(page, lambda: seen.count() and seen.is_enabled() and int(seen.inner_text()), "no count on Home")
    at_rest(page)
    count = int(seen.inner_text())
    seen.click()
    page.get_by_text(re.compile(rf"^{count} images")).wait_for()
    until(page, lambda: "images_truth=never" in page.url and "images_called=rejected" in page.url)


FOCUSED = """() => {
  let one = document.activeElement;
  while (one?.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;
  return one?.closest("li")?.dataset.key ?? "";
}"""


def test_images_are_tagged_shown_by_their_tag_and_taken_along(page, server, trained):
    place, run = trained
    page.goto(f"{server}/images?run={run.id}&images_order=number")
    tiles(page).first.wait_for()
    at_rest(page)
    boxes = page.locator(".tiles input[type=checkbox]")
    boxes.nth(0).check()
    boxes.nth(2).check()
    page.get_by_text("2 chosen").wait_for()
    picked(page, re.compile("a tag, or a new word|^Tag"), "mislabelled")
    page.get_by_role("button", name="Put on").click()
    until(page, lambda: tags.read(place / "data", "digits").get("mislabelled") == {"test-0", "test-2"})
    page.locator(".tiles .tag").nth(1).wait_for()
    page.goto(f"{server}/images?run={run.id}&images_order=number&images_tag=mislabelled")
    page.get_by_text(re.compile("^2 images")).wait_for()
    at_rest(page)
    file = downloaded(page, page.get_by_role("button", name="This list as CSV"))
    lines = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    assert [(line["image"], line["tags"]) for line in lines] == [("0", "mislabelled"), ("2", "mislabelled")]
    file = downloaded(page, page.get_by_role("button", name="All tags as CSV"))
    assert file.read_text("utf-8").splitlines() == ["image,tag", "test-0,mislabelled", "test-2,mislabelled"]
