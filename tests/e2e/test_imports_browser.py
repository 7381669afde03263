"""From a file of outputs to a threshold on the command line, by clicking: Runs, Thresholds, Compare."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cac_core.runs import Run
from tests.e2e.conftest import ROOT, app_over
from tests.exchange.test_import_outputs import HEAD, NAMES, flat, images
from tests.waiting import at_rest, downloaded, followed, picked
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


@pytest.fixture
def server(trained, tmp_path):
    store = tmp_path / "runs"
    shutil.copytree(trained[1].path, store / trained[1].id)
    with app_over(store, tmp_path / "data") as address:
        yield address


def test_from_a_file_of_outputs_to_verdicts_on_new_ones(page, server, trained, tmp_path):
    store = tmp_path / "runs"
    np.savez(tmp_path / "theirs.npz", **flat(**HEAD))
    page.goto(f"{server}/runs")
    page.get_by_text("Import outputs of another network").click()
    at_rest(page)
    files = page.locator(".st-key-outputs_files_0 input[type=file]")
    files.set_input_files(tmp_path / "theirs.npz")
    at_rest(page)
    name = page.get_by_role("textbox", name="Name of the run")
    until(page, lambda: name.input_value() == "theirs")
    names = page.get_by_role("textbox", name="Names of the known classes")
    names.fill("\n".join(NAMES))
    names.press("Control+Enter")
    at_rest(page)
    page.get_by_role("button", name="Make it a run").click()
    page.get_by_text("Imported: imported-theirs").wait_for()
    run = Run(store / "imported-theirs")
    assert run.known_names == NAMES and run.outputs("train").head is not None

    picked(page, "Run", "imported-theirs")
    until(page, lambda: "run=imported-theirs" in page.url)
    followed(page, "^Thresholds", "Thresholds")
    said = json.loads(downloaded(page, page.get_by_role("button", name="threshold.json")).read_text())
    kept = page.get_by_role("spinbutton", name="Knowns to keep, %")
    kept.fill("80")
    kept.press("Enter")
    until(page, lambda: "kept=80" in page.url)
    at_rest(page)
    file = downloaded(page, page.get_by_role("button", name="threshold.json"))
    moved = json.loads(file.read_text())
    assert moved["run"] == run.id and moved["theta"] < said["theta"]
    new = images(20, 20)
    np.savez(tmp_path / "new.npz", logits=new["logits"], features=new["features"])
    line = ["judge", str(run.path), str(tmp_path / "new.npz"), "--threshold", str(file), "--json"]
    done = subprocess.run([sys.executable, "-m", "cac_core", *line], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(said["images"]) == 40 and {one["label"] for one in said["images"]} <= set(NAMES)

    page.goto(f"{server}/compare?ids={trained[1].id},{run.id}")
    page.get_by_role("heading", name="Compare", exact=True).wait_for()
    at_rest(page)
    page.get_by_role("cell", name=re.compile("imported")).first.wait_for()
    until(page, lambda: page.get_by_role("table").count() >= 2)
