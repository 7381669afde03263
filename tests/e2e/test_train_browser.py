"""Train, as people use it: make a trial, start a run on it, watch it, stop it, go on with it, see it finish."""

import re

import pytest

from cac_core import runs
from cac_core.data import datasets
from cac_core.jobs import launch
from tests.waiting import added, at_rest
from tests.waiting import browser_until as until

pytestmark = pytest.mark.browser


def test_from_a_trial_to_a_finished_run(page, server, trained, training_gates):
    place, _ = trained
    store = (place / "runs").absolute()

    page.goto(f"{server}/data")
    page.get_by_role("heading", name="Data and trials").wait_for()
    page.get_by_text("Trial editor").click()
    page.get_by_text("6 known, 4 unknown classes").wait_for()
    added(page, re.compile("^Known"), "3")  # it leaves Unknown by itself
    page.get_by_text("7 known, 3 unknown classes").wait_for()
    name = page.get_by_role("textbox", name="Name")
    name.fill("seven")
    name.press("Enter")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved as").wait_for()
    saved = datasets.trial_from_file(place / "data" / "trials" / "seven.json", "digits", datasets.DIGITS)
    assert saved.known == (0, 1, 2, 3, 4, 5, 9) and saved.unknown == (6, 7, 8)

    page.get_by_role("link", name="New run").click()
    page.get_by_role("heading", name="New run").wait_for()
    box = page.get_by_test_id("stMultiSelect").filter(has_text="Trials, one or several")
    added(page, re.compile("Trials, one or several"), "yours: seven")
    box.get_by_role("button", name=re.compile("osrci, trial 0")).press("Delete")
    page.get_by_text("learns 7 classes of digits").wait_for()
    page.get_by_text("Training and backbone").click()
    epochs = page.get_by_role("spinbutton", name="Epochs", exact=True)
    epochs.fill("60")
    epochs.press("Enter")
    page.get_by_text("in 60 epochs").wait_for()
    for gate in (3, 6, 12):  # the training waits there for what is looked at
        training_gates.close(gate)
    page.get_by_role("button", name="Start", exact=True).dblclick()
    page.get_by_text("In the queue already: 1.").wait_for()
    (job,) = [one for one in launch.jobs(store) if one.kind == "train"]
    run = runs.Run(store / job.run)

    page.get_by_role("link", name="Watch them under Live").click()
    page.get_by_role("heading", name="Live").wait_for()
    bar = page.get_by_text(re.compile(r"^Epoch \d+ of 60"))
    bar.first.wait_for()

    def epoch() -> int:
        return int(re.search(r"Epoch (\d+)", bar.first.inner_text())[1]) if bar.count() else 0

    until(page, lambda: epoch() == 3, "no epoch was shown")
    training_gates.open(3)
    until(page, lambda: epoch() == 6, "no further epoch was shown")
    until(page, lambda: page.get_by_test_id("stEChartsChart").count() >= 4, "the curves and the cloud were not drawn")

    page.get_by_role("button", name="Stop").first.click()
    until(page, lambda: launch.find(store, job.id).state == "stopping", "it was not asked to stop")
    training_gates.open(6)
    until(page, lambda: launch.find(store, job.id).state == "stopped", "it did not stop")
    page.get_by_role("button", name="Go on").first.wait_for()
    stopped = run.epochs()[-1]["epoch"]
    assert run.state == "stopped" and stopped == 6
    page.get_by_role("button", name="Go on").first.click()
    until(page, lambda: launch.find(store, job.id).state in ("running", "finished"), "it did not go on")
    until(page, lambda: epoch() == 12, "it did not go on from where it was")
    training_gates.open(12)
    until(page, lambda: run.state == "finished" and run.written, "it did not finish")
    page.get_by_role("link", name="See what it can do").wait_for()
    assert [e["epoch"] for e in run.epochs()] == list(range(1, 61))
    assert run.trial.known == saved.known


def test_a_copied_address_opens_the_same_trial_and_watches_the_same_run(page, server, trained):
    _, run = trained
    page.goto(f"{server}/data?data_view=trial")
    page.get_by_text("6 known, 4 unknown classes").wait_for()
    at_rest(page)
    added(page, re.compile("^Known"), "3")
    page.get_by_text("7 known, 3 unknown classes").wait_for()
    page.wait_for_url("**/data?*trial_known=*")
    same = page.context.new_page()
    same.goto(page.url)
    same.get_by_text("7 known, 3 unknown classes").wait_for()
    same.goto(f"{server}/live?watched={run.id}")
    same.get_by_text("See what it can do").wait_for()
    assert f"watched={run.id}" in same.url
    same.close()
