"""A threshold put to use by clicking: exported to a file."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cac_core.results import evaluate, judge
from cac_core.serving import deciders
from tests.waiting import at_rest, downloaded, followed

pytestmark = pytest.mark.browser


def test_a_threshold_is_exported_and_its_file_judges_alone(page, server, trained, tmp_path):
    place, run = trained
    page.goto(f"{server}/thresholds?run={run.id}")
    followed(page, "Export to ONNX", "Export to ONNX")
    page.get_by_role("button", name="Make the ONNX file").click()
    page.get_by_text("the file decides as the run does about each of them").wait_for()
    at_rest(page)
    assert page.get_by_text("def prepared(").count()
    for name in ("network.onnx", "network.prepare.py"):
        got = downloaded(page, page.get_by_role("button", name=name, exact=True))
        (tmp_path / name).write_bytes(got.read_bytes())
    pixels = evaluate.images_of(run, place / "data")["test"].pixels[:5]
    theirs = deciders.OfOnnx(tmp_path / "network.onnx")
    said = theirs.says(theirs.looks(pixels))
    mine = deciders.OfRun(run.path, judge.threshold_of(run, "gamma", judge.scorer_options("gamma")))
    assert [one["label"] for one in said] == [one["label"] for one in mine.says(mine.looks(pixels))]
    Image.fromarray(np.kron(pixels[0, ..., 0], np.ones((8, 8), np.uint8))).save(tmp_path / "picture.png")
    done = subprocess.run([sys.executable, "network.prepare.py", "picture.png"], cwd=tmp_path, capture_output=True,
                          text=True)  # fmt: skip
    assert done.stdout.startswith("picture.png ") and " score " in done.stdout, done.stderr
