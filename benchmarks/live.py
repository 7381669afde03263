"""The live views: frames per second while theta is dragged over 20 000 images, in a browser without a graphics card.

python benchmarks/live.py [--images 20000] [--classes 6] [--seconds 4] [--scale 1]

Starts a minimal app with one view at a time, drags its theta by real mouse moves, and takes the page's own clock: the
time between animation frames, and how many of them showed another theta. Of the cloud also: what is seen is moved and
enlarged, the solid turned, with marks, with marks that are seen through, and as density; how many times it was drawn
anew, and how long that takes. Also the size of the feed, of the messages that one move of theta costs, and how long
after the request the view was painted first (a warm server, a cold page).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import browsing
import machine
import numpy as np
from playwright.sync_api import Page

APP = """
import os
import sys
from dataclasses import asdict
from pathlib import Path

import streamlit as st

sys.path.insert(0, {here!r})
from app import charts, live

st.set_page_config(layout="wide")
blob = Path({feed!r}).read_bytes()
palettes = {{"light": asdict(charts.LIGHT), "dark": asdict(charts.DARK)}}
state = {{"feed": live.feed(blob, key="feed"), "name": "γ", "palettes": palettes}}
view = st.query_params.get("view", "lab")
getattr(live, view)(state, key=view, height=360 if view == "lab" else 560)
"""
WATCH = """() => {
  window.frames = [];
  let before = null;
  const look = (now) => {
    const said = window.probe.textContent;
    window.frames.push([now, said !== before]);
    before = said;
    window.watching = requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
# how often the cloud is drawn anew
PAINTS = """() => {
  window.paints = 0;
  const put = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (...how) {
    window.paints += 1;
    return put.apply(this, how);
  };
}"""
PROBE = """(selector) => {
  for (const place of document.querySelectorAll("[data-testid=stBidiComponentIsolated]")) {
    const found = place.shadowRoot?.querySelector(selector);
    if (found) { window.probe = found; return true; }
  }
  return false;
}"""
PAINTED = """() => {
  window.painted = null;
  const look = () => {
    for (const place of document.querySelectorAll("[data-testid=stBidiComponentIsolated]")) {
      const root = place.shadowRoot;
      if (root?.querySelector(".right")?.getAttribute("d") || root?.querySelector(".stage canvas[aria-label]")) {
        window.painted ??= performance.now();
      }
    }
    if (!window.painted) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


def feed(images: int, classes: int) -> bytes:
    """Logits about anchors, a third of the images unknown and nearer the middle; a tenth for validation."""
    from app import live

    rng = np.random.default_rng(0)
    labels = np.where(rng.random(images) < 0.33, -1, rng.integers(0, classes, images))
    split = (rng.random(images) > 0.1).astype(np.uint8)
    labels[split == 0] = np.abs(labels[split == 0])
    near = np.where(labels[:, None] >= 0, 10 * np.eye(classes)[labels], 2.5)
    logits = (near + rng.normal(0, 1.6, near.shape)).astype(np.float32)
    columns = {
        "logits": logits, "labels": labels.astype(np.int16), "split": split,
        "classes": np.where(labels < 0, classes, labels).astype(np.int16), "centres": 10 * np.eye(classes),
        "anchors": 10 * np.eye(classes, dtype=np.float32),
    }  # fmt: skip
    names = [f"class {c}" for c in range(classes + 1)]
    return live.packed(
        columns, {"dataset": "made up", "known": names[:-1], "names": names, "sets": ["validation", "test"]}
    )


def dragged(page: Page, view: str, seconds: float) -> list[list]:
    """The animation frames [time, whether theta is another] while the mouse drags theta to and fro."""
    page.evaluate(PROBE, ".pill" if view == "lab" else ".theta .value")
    target = page.locator(".scores .plot" if view == "lab" else ".theta input")
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    y = box["y"] + box["height"] * 0.6
    middle, reach = box["x"] + box["width"] * 0.55, box["width"] * 0.3
    page.mouse.move(middle, y)
    page.mouse.down()
    page.evaluate(WATCH)
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        page.mouse.move(middle + reach * np.sin(2.1 * now), y)
    frames = page.evaluate("cancelAnimationFrame(window.watching), window.frames")
    page.mouse.up()
    return frames[2:]


def clock_of(page: Page) -> Callable[[], float]:
    """Milliseconds that the page's own thread has worked, which other work on the machine does not lengthen."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def at_work() -> float:
        said = devtools.send("Performance.getMetrics")["metrics"]
        return 1000 * next(one["value"] for one in said if one["name"] == "TaskDuration")

    return at_work


def moved_by(page: Page, act: str, seconds: float) -> tuple[list[list], int, float]:
    """The frames while the cloud is moved, enlarged or turned; how often it was drawn, and what a drawing takes."""
    at_work = clock_of(page)
    page.evaluate(PROBE, ".theta .value")
    canvas = page.locator(".stage canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    if act == "zoom":
        page.keyboard.down("Control")
    else:
        page.mouse.down()
    page.evaluate(WATCH)
    page.evaluate("window.paints = 0")
    before, began = at_work(), time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        if act == "zoom":
            page.mouse.wheel(0, -30 if now % 2 < 1 else 30)
        else:
            page.mouse.move(x + 150 * np.sin(2.1 * now), y + 80 * np.sin(1.3 * now))
    frames = page.evaluate("cancelAnimationFrame(window.watching), window.frames")
    paints, busy = page.evaluate("window.paints"), at_work() - before
    if act == "zoom":
        page.keyboard.up("Control")
    else:
        page.mouse.up()
    return frames[2:], paints, busy / max(paints, 1)


def moved_about(page: Page, seconds: float) -> None:
    """The cloud of the wheel moved, enlarged and as density, and the solid turned."""
    page.get_by_role("radio", name="Wheel").click()
    page.get_by_role("button", name="Move", exact=True).click()
    for name, act, before in (
        ("enlarged", "zoom", None),
        ("moved, twice as large", "pan", "closer"),
        ("moved, seen through", "pan", "opacity"),
        ("moved, density", "pan", "density"),
        ("turned", "turn", "solid"),
    ):
        if before == "closer":
            if (whole := page.get_by_role("button", name="The whole picture")).is_enabled():
                whole.click()
            page.get_by_role("button", name="Closer").click()
            page.get_by_role("button", name="Closer").click()
        if before == "opacity":
            page.get_by_role("slider", name="Opacity").press("Home")
        if before == "density":
            page.get_by_role("button", name="Density").click()
        if before == "solid":
            page.get_by_role("button", name="Density").click()
            page.get_by_role("slider", name="Opacity").press("End")
            page.get_by_role("button", name="Move", exact=True).click()
            page.get_by_role("radio", name="3-D").click()
        page.wait_for_timeout(1200)
        frames, paints, busy = moved_by(page, act, seconds)
        gaps, span = np.diff([at for at, _ in frames]), (frames[-1][0] - frames[0][0]) / 1000
        print(
            f"space, {name:22} {1000 / np.median(gaps):5.1f} frames/s median, {1000 / np.quantile(gaps, 0.95):5.1f} "
            f"5th percentile, drawn {paints / span:5.1f} times a second, {busy:5.1f} ms each"
        )


def told(view: str, frames: list[list]) -> None:
    gaps = np.diff([time for time, _ in frames])
    moved = sum(changed for _, changed in frames)
    span = (frames[-1][0] - frames[0][0]) / 1000
    print(
        f"{view:16} {1000 / np.median(gaps):5.1f} frames/s median, {1000 / np.quantile(gaps, 0.95):5.1f} 5th "
        f"percentile, theta anew {moved / span:5.1f} times a second"
    )


def run(images: int, classes: int, seconds: float, scale: float) -> None:
    blob = feed(images, classes)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "feed.bin").write_bytes(blob)
        script = Path(place) / "app.py"
        script.write_text(APP.format(here=str(browsing.HERE), feed=str(Path(place) / "feed.bin")), "utf-8")
        with browsing.served(script) as (_, address), browsing.opened() as browser:
            print(machine.described())
            print(f"{images} images, {classes} classes, device pixel ratio {scale:g}; feed {len(blob) / 1e6:.2f} MB")
            views = (("front", [None]), ("lab", [None]), ("space", ["Wheel", "3-D", "Plane", "Strip"]))
            for view, pictures in views:
                context = browser.new_context(viewport={"width": 1440, "height": 1000}, device_scale_factor=scale)
                page = context.new_page()
                received = []
                page.on(
                    "websocket", lambda ws, received=received: ws.on("framereceived", lambda f: received.append(len(f)))
                )
                page.add_init_script(f"({PAINTED})()")
                page.add_init_script(f"({PAINTS})()")
                page.goto(f"{address}/?view={view}")
                page.wait_for_function("window.painted", timeout=60_000)
                print(f"{view}: first painted after {page.evaluate('window.painted') / 1000:.2f} s, ", end="")
                print(f"{sum(received) / 1e6:.2f} MB received")
                page.wait_for_timeout(1500)
                for picture in pictures:
                    if picture:
                        page.get_by_role("radio", name=picture).click()
                        page.wait_for_timeout(1200)
                    before = sum(received)
                    at_work = clock_of(page)
                    page.evaluate("window.paints = 0")
                    began = at_work()
                    told(f"{view} {picture or ''}", dragged(page, view, seconds))
                    if paints := page.evaluate("window.paints"):
                        print(f"{'':16} drawn {paints} times, {(at_work() - began) / paints:.1f} ms each")
                    page.wait_for_timeout(1500)
                print(f"{view}: one settled theta costs {(sum(received) - before) / 1e3:.1f} kB of messages")
                if view == "space":
                    moved_about(page, seconds)
                context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--scale", type=float, default=1, help="device pixel ratio")
    given = parser.parse_args()
    sys.path.insert(0, str(browsing.HERE))
    os.chdir(browsing.HERE)
    run(given.images, given.classes, given.seconds, given.scale)
