"""Many pictures of one's own on Try: how long until all of them follow theta.

PYTHONPATH=. python benchmarks/own_pictures.py [--counts 64 200] [--run digits-osrci-0-cac-small-s0]

Judged: from the choice of the files to the sentence that counts them, on a warm server. A key: from an arrow key on the
line of theta to the next frame, by which every picture shows its decision. All keys: 13 of them, 30 ms apart, as a held
key sends them, until the sentence that the server writes has followed as well. The slider: the same on the page's own
slider, each key of which the server has to hear. A card: from a click on a picture to its heading. Ten rounds each for
the keys, medians and ranges.
"""

import argparse
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import browsing
import machine
from PIL import Image

from cac_core import runs
from cac_core.data import datasets

KEYS, ROUNDS = 13, 10
FOLLOWS = """async () => {
  const find = (root) => {
    for (const one of root.querySelectorAll("*")) {
      const found = one.matches(".plot") ? one : one.shadowRoot && find(one.shadowRoot);
      if (found) return found;
    }
  };
  const plot = find(document), times = [];
  for (let n = 0; n < 26; n++) {
    const began = performance.now();
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: n < 13 ? "ArrowLeft" : "ArrowRight", bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    times.push(performance.now() - began);
  }
  return times;
}"""


AGREE = """() => {
  const find = (root) => {
    for (const one of root.querySelectorAll("*")) {
      const found = one.matches(".plot") ? one : one.shadowRoot && find(one.shadowRoot);
      if (found) return found;
    }
  };
  const theta = Number(find(document).getAttribute("aria-valuenow"));
  const said = document.querySelector(".st-key-slide").innerText.split("\\n").map(Number);
  const close = (x) => Math.abs(x - theta) <= 0.006 * Math.abs(theta);
  return close(Number(new URL(location).searchParams.get("theta"))) && said.some(close)
    && document.querySelector("[data-testid=stApp]").dataset.testScriptState === "notRunning";
}"""


def pressed(page, element, key: str) -> float:
    """Seconds from the first of the keys until sheet, slider and address have the same theta, and nothing runs."""
    element.focus()
    began = time.perf_counter()
    for _ in range(KEYS):
        page.keyboard.press(key)
        page.wait_for_timeout(30)
    while not page.evaluate(AGREE):
        page.wait_for_timeout(20)
    return time.perf_counter() - began


def spread(values: list[float], unit: str = "ms", scale: float = 1.0) -> str:
    low, middle, high = (scale * f(values) for f in (min, statistics.median, max))
    return f"{middle:.3g} ({low:.3g} to {high:.3g}) {unit}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[64, 200])
    parser.add_argument("--run", default="digits-osrci-0-cac-small-s0")
    a = parser.parse_args()
    place = Path(tempfile.mkdtemp())
    shutil.copytree(browsing.HERE / "checkpoints" / a.run, place / "runs" / a.run)
    run, root = runs.Run(place / "runs" / a.run), datasets.root_of()
    test = datasets.load(run.recipe.dataset, root)["test"]
    for n in range(max(a.counts)):
        pixels = test.pixels[n]
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(place / f"{n:03d}.png")
    files = sorted(place.glob("*.png"))
    print(machine.described())
    folders = {"ANCHORSCOPE_RUNS": place / "runs", "ANCHORSCOPE_DATA": root}
    with browsing.served(**folders) as (_, address), browsing.opened() as browser:
        for count in [2, *a.counts]:  # the first one loads torch and the network
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(f"{address}/try?run={a.run}")
            page.get_by_text("Drop pictures here").first.wait_for()
            page.wait_for_timeout(3000)
            began = time.perf_counter()
            page.set_input_files("input[type=file]", files[:count])
            page.get_by_text(f"{count} of {count} judged").wait_for()
            page.locator(".tile").nth(count - 1).wait_for()
            judged = time.perf_counter() - began
            page.wait_for_timeout(3000)
            if count == 2:
                page.close()
                continue
            each = [value for _ in range(ROUNDS) for value in page.evaluate(FOLLOWS)]
            page.wait_for_timeout(3000)
            page.get_by_text("Score and threshold").click()
            page.wait_for_timeout(3000)
            line = page.get_by_role("slider", name=re.compile("^θ: reject"))
            all_keys = [pressed(page, line, key) for key in ("ArrowLeft", "ArrowRight") * 2]
            slider = page.get_by_role("slider", name=re.compile("^Reject an image when"))
            slider.wait_for(state="attached")
            slid = [pressed(page, slider, key) for key in ("ArrowLeft", "ArrowRight") * 2]
            page.locator(".tile").first.scroll_into_view_if_needed()
            began = time.perf_counter()
            page.locator(".tile").first.click()
            page.get_by_role("heading", name=re.compile("^(Unknown|Known: .*)$")).wait_for()
            card = time.perf_counter() - began
            print(f"{count} pictures: judged in {judged:.1f} s; a card {card:.2f} s")
            print(f"  a key {spread(each)}; {KEYS} keys {spread(all_keys, 's')}; on the slider {spread(slid, 's')}")
            page.close()
