"""Images of one's own, as people bring them: a zip whose names are changed in the table before it is written."""

import io
import zipfile

import pytest
from PIL import Image

from cac_core.data import datasets
from tests.waiting import at_rest
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def test_a_class_is_named_in_the_table_before_it_is_written(page, server, trained):
    root, packed = trained[0] / "data", io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for c, cls in enumerate(("____", "dog")):
            for n in range(4):
                picture = io.BytesIO()
                Image.new("RGB", (12, 12), (60 * n, 200 * c, 90)).save(picture, "PNG")
                archive.writestr(f"{cls}/{n}.png", picture.getvalue())
    page.goto(f"{server}/data")
    page.get_by_text("Images of your own").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "pets.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    )
    table = page.get_by_test_id("stDataFrame")
    table.wait_for()
    at_rest(page)
    cell = page.locator("textarea.gdg-input")

    def opened() -> bool:
        box = table.bounding_box()
        page.mouse.dblclick(box["x"] + 0.3 * box["width"], box["y"] + 52)  # the first class, beside its tick
        page.wait_for_timeout(500)
        return cell.count() == 1

    until(page, opened)
    cell.fill("cat")
    cell.press("Enter")
    page.get_by_alt_text("Images of cat").wait_for()
    name = page.get_by_role("textbox", name="Name of the data set")
    name.fill("named")
    name.press("Enter")
    at_rest(page)
    page.get_by_role("button", name="Make it a data set").click()
    page.get_by_text("Written to").wait_for()
    assert datasets.row_of("named", root).classes == ("cat", "dog")
