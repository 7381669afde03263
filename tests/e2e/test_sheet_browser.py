"""Many pictures of one's own, by clicking and by keys: from twelve files to a threshold that `predict` takes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets
from tests.e2e.conftest import ROOT, app_over
from tests.waiting import at_rest, downloaded, painted
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser
RUN = ROOT / "checkpoints" / "digits-osrci-0-cac-small-s0"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("sheet")
    shutil.copytree(RUN, place / "runs" / RUN.name)
    return place / "runs", place / "data"


@pytest.fixture(scope="module")
def server(folders):
    with app_over(*folders) as address:
        yield address


@pytest.fixture
def files(folders, tmp_path) -> list[Path]:
    """Six known digits and five that are not, and a file that is no image."""
    test = datasets.load("digits", folders[1])["test"]
    found = []
    for digit in (0, 1, 2, 4, 5, 9, 3, 6, 7, 8, 3):
        n = np.flatnonzero(test.classes == digit)[sum(f.stem.startswith(str(digit)) for f in found)]
        found.append(tmp_path / f"{digit} {n}.png")
        Image.fromarray(test.pixels[n, :, :, 0]).save(found[-1])
    (tmp_path / "bad.png").write_bytes(b"no image")
    return [*found, tmp_path / "bad.png"]


def tile(page, name: str):
    return page.get_by_role("option", name=re.compile(f"^{re.escape(name)}: "))


def said(page) -> tuple[int, int]:
    """How many are accepted and rejected, as the filters count them."""
    return tuple(
        int(page.get_by_role("button", name=re.compile(rf"^{word} \d+$")).inner_text().split()[-1])
        for word in ("accepted", "rejected")
    )  # fmt: skip


def label(page, names: list[str], label: str):
    for name in names:
        tile(page, name).locator(".box").click()
    page.get_by_text(f"{len(names)} chosen").wait_for()
    page.get_by_label("Label as …").select_option(label=label)
    page.get_by_role("button", name="Label", exact=True).click()
    for name in names:
        tile(page, name).locator(".truth", has_text=label).wait_for()
    at_rest(page)


def test_from_twelve_files_to_a_threshold_that_predict_takes(page, server, folders, files, tmp_path):
    page.goto(f"{server}/try?run={RUN.name}")
    page.get_by_text("Drop pictures here").first.wait_for()
    at_rest(page)
    page.set_input_files("input[type=file]", files)
    page.get_by_text("11 of 12 judged").wait_for()
    until(page, lambda: page.locator(".tile img[src]").count() == 11)
    at_rest(page)
    assert page.get_by_role("heading", name=re.compile("^(Unknown|Known)")).count() == 0
    assert "this is not an image" in tile(page, "bad.png").inner_text()

    line = page.get_by_role("slider", name=re.compile("^θ: reject a picture"))
    line.press("Home")
    painted(page)
    assert said(page) == (0, 11) and line.get_attribute("aria-valuetext").endswith("0 accepted, 11 rejected")
    for _ in range(200):  # by keys, until a picture is accepted
        line.press("ArrowRight")
        painted(page)
        if said(page)[0]:
            break
    assert said(page)[0] >= 1
    until(page, lambda: "theta=" in page.url)
    page.get_by_text(f"11 of 12 judged, {said(page)[1]} of them unknown").wait_for()

    page.get_by_role("button", name=re.compile(r"^rejected \d+$")).click()
    until(page, lambda: page.locator(".tile:not([hidden])").count() == said(page)[1])
    until(page, lambda: "own_show=rejected" in page.url)
    at_rest(page)
    page.get_by_role("button", name=re.compile(r"^all \d+$")).click()
    at_rest(page)

    known, unknown = [f for f in files[:6]], files[6:11]
    for file in known:
        label(page, [file.name], file.name[0])
    label(page, [file.name for file in unknown], "unknown")
    page.get_by_text("6 known and 5 unknown pictures").wait_for()
    auroc = page.get_by_test_id("stMetric").filter(has_text="AUROC").get_by_test_id("stMetricValue")
    assert auroc.inner_text().endswith("%")

    row = page.locator(".st-key-own_theta_balanced button:visible").first
    row.click()
    at_rest(page)
    until(page, lambda: row.get_attribute("kind") == "primary")
    ready, shown = said(page), page.url
    assert "theta=" in shown
    rejected = set(page.locator(".tile[data-state=rejected] .name").all_inner_texts())
    assert len(rejected) == ready[1]
    file = tmp_path / "threshold.json"
    shutil.copy(downloaded(page, page.locator(".st-key-own_threshold_balanced button:visible").first), file)
    record = json.loads(file.read_text("utf-8"))
    assert "6 known" in record["rule"] and "5 unknown" in record["rule"] and record["oracle"] is False
    csv = downloaded(page, page.get_by_role("button", name="CSV")).read_text("utf-8").splitlines()
    assert csv[0].startswith("file,truth,decision,") and csv[1].startswith(f"{files[0].name},0,")
    assert [line.split(",")[1] for line in csv[7:12]] == ["unknown"] * 5

    command = [sys.executable, "-m", "cac_core", "predict", RUN.name, *map(str, files[:11]), "--threshold", str(file)]
    environment = {**os.environ, "ANCHORSCOPE_RUNS": str(folders[0]), "ANCHORSCOPE_DATA": str(folders[1])}
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=True).stdout
    by_file = {name.name: next(line for line in told.splitlines() if name.name in line) for name in files[:11]}
    assert {name for name, words in by_file.items() if "unknown" in words} == rejected


def test_the_sheet_by_keys_and_as_a_table(page, server, files):
    page.goto(f"{server}/try?run={RUN.name}&own_order=name")
    page.get_by_text("Drop pictures here").first.wait_for()
    at_rest(page)
    page.set_input_files("input[type=file]", files)
    page.get_by_text("11 of 12 judged").wait_for()
    at_rest(page)
    assert page.locator(".tile[tabindex='0']").count() == 1
    page.locator(".tile[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+Space")
    painted(page)
    assert page.locator(".tile[aria-selected=true]").count() == 10
    page.keyboard.press("Escape")
    painted(page)
    assert page.locator(".tile[aria-selected=true]").count() == 0
    name = page.evaluate("document.querySelector('[data-testid=stMain]').ownerDocument.activeElement.shadowRoot"
                         "?.activeElement?.querySelector('.name').textContent")  # fmt: skip
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile("^(Unknown|Known: .)$")).wait_for()
    at_rest(page)
    assert name in page.locator(".st-key-opened").inner_text()
    page.get_by_role("button", name="Table").click()
    page.locator(".sheet tbody tr").nth(11).wait_for()
    until(page, lambda: "own_as=table" in page.url)
    heads = page.locator(".sheet th").all_inner_texts()
    assert heads[1:] == ["picture", "file", "decision", "nearest class", "score", "from θ", "label"]
    page.get_by_label("Order").select_option(label="most unknown first")
    painted(page)
    scores = [float(text) for text in page.locator(".sheet tbody td:nth-child(6)").all_inner_texts() if text]
    assert scores == sorted(scores, reverse=True) and len(scores) == 11
