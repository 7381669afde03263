"""Waiting for what comes about by itself. No test may depend on how fast a machine is, so each waits for a condition.

What happens in a training that goes on meanwhile is put into order by gates: it waits at one until the test opens it.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONG = 300.0  # seconds: nothing takes so long on the slowest machine, so what has not come by then does not come


def wait_until(
    condition: Callable[[], Any],
    what: str = "it did not happen",
    *,
    process: subprocess.Popen | None = None,
    pause: Callable[[float], Any] = time.sleep,
) -> Any:
    """The first true value of condition(). Where a process is given and ends before, the test fails with its words.

    pause sleeps for so many seconds; a browser's page has to see to its events meanwhile (see browser_until).
    """
    end = time.monotonic() + LONG
    while not (value := condition()):
        if process and process.poll() is not None:
            raise AssertionError("\n".join(filter(None, (what, *process.communicate()))))
        assert time.monotonic() < end, what
        pause(0.02)
    return value


def browser_until(page, condition: Callable[[], Any], what: str = "it did not come about") -> Any:
    """wait_until for what comes about in a page of Playwright."""
    return wait_until(condition, what, pause=lambda seconds: page.wait_for_timeout(1000 * seconds))


def at_rest(page) -> None:
    """Waits until no rerun of the app is under way or about to begin: a click in the middle of one may be lost."""

    def rests() -> bool:
        return page.get_by_test_id("stApp").get_attribute("data-test-script-state") == "notRunning"

    browser_until(page, lambda: rests() and not page.wait_for_timeout(300) and rests(), "the page does not rest")


def painted(page) -> None:
    """Waits for what has been asked for so far to be drawn: at the next frame."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def downloaded(page, button, **options) -> Path:
    """What comes when the button is clicked; once more where a rerun of the page has swallowed the click."""
    came = []

    def comes_in(download) -> None:
        came.append(download)

    page.on("download", comes_in)

    def comes() -> bool:
        at_rest(page)
        button.click(**options)
        for _ in range(100):
            if came:
                return True
            page.wait_for_timeout(100)
        return False

    browser_until(page, comes, "nothing was downloaded")
    page.remove_listener("download", comes_in)
    return Path(came[0].path())


def followed(page, link: str, heading: str) -> None:
    """The page behind a link, by its heading."""
    at_rest(page)
    page.get_by_role("link", name=re.compile(link)).first.click()
    page.get_by_role("heading", name=heading, exact=True).wait_for()
    at_rest(page)


def picked(page, label: str | re.Pattern, option: str) -> None:
    """Takes an option of a picker, which a rerun of the page may close again while it opens."""
    from playwright.sync_api import Error

    def taken() -> bool:
        box = page.get_by_role("combobox", name=label).last
        box.scroll_into_view_if_needed()
        box.press("ArrowDown")  # it opens the list, and never closes it
        page.wait_for_timeout(500)
        found = page.get_by_role("option", name=option, exact=True)
        try:
            place, height = found.bounding_box(timeout=1000), page.viewport_size["height"]
            if place is None or not 0 <= place["y"] <= height - place["height"]:  # the page has moved away under it
                page.keyboard.press("Escape")
                return False
            found.click(timeout=5000)
        except Error:  # the list is closed, or was while it was clicked
            return False
        return True

    at_rest(page)
    browser_until(page, taken, "the list does not open")
    at_rest(page)


def added(page, label: str | re.Pattern, *options: str) -> None:
    """Adds options to a multiselect by the keyboard; a rerun of the page may empty the field while it is typed in."""
    box = page.get_by_role("combobox", name=label).first

    def offered() -> bool:
        box.fill(option)
        page.wait_for_timeout(500)
        return page.get_by_role("option", name=option, exact=True).first.is_visible()

    for option in options:
        at_rest(page)
        browser_until(page, offered, f"{option} is not offered")
        box.press("Enter")
        box.press("Escape")
    at_rest(page)


# In each Python process that has it in its path: after the event of an epoch a training waits at that epoch's gate.
# SIGTERM opens it too, once it has been heard.
AT_GATES = """
import os, signal, sys, time
from pathlib import Path

from cac_core import runs

append = runs.append

def held(file, event):
    append(file, event)
    gate = Path(os.environ["GATES"]) / str(event.get("epoch"))
    if event["kind"] != "epoch" or not gate.exists():
        return
    heard, before = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *args: (heard.append(True), before(*args)))
    Path(f"{gate}-reached").touch()
    while gate.exists() and not heard:
        time.sleep(0.01)
    signal.signal(signal.SIGTERM, before)

runs.append = held
"""


class Gates:
    """Gates at the ends of epochs, for every training process that has this environment."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(AT_GATES)
        path = os.pathsep.join(
            filter(None, (str(folder), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")))
        )
        self.environment = {"PYTHONPATH": path, "GATES": str(folder)}

    def close(self, epoch: int) -> None:
        (self.folder / f"{epoch}-reached").unlink(missing_ok=True)
        (self.folder / str(epoch)).touch()

    def open(self, epoch: int) -> None:
        (self.folder / str(epoch)).unlink()

    def reached(self, epoch: int) -> bool:
        """Whether a training has come to this gate since it was closed."""
        return (self.folder / f"{epoch}-reached").exists()
