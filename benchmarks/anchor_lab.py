"""The anchor lab: epochs a second for 600 training points, in node and in a browser, and what Play and drawing cost.

python benchmarks/anchor_lab.py PORT, while the app runs there; Chromium and node are needed.
"""

import json
import platform
import re
import shutil
import statistics
import subprocess
import sys

from playwright.sync_api import sync_playwright

from app import teach

COURSES = [
    ("blobs", 32, "cac"), ("blobs", 64, "cac"), ("spirals", 32, "softmax"), ("digits", 32, "cac"),
    ("digits", 64, "cac"),
]  # fmt: skip
JUMP = "slider => { slider.max = 400; slider.value = 300; slider.dispatchEvent(new Event('input')); }"


def epoch(page) -> int:
    return int(re.search(r"\d+", page.locator(".player .value").inner_text())[0])


def seconds_since(page, began: float) -> float:
    return (page.evaluate("performance.now()") - began) / 1000


def in_node() -> None:
    script = """
    for (const [data, width, method] of given.courses) {
      const rates = [];
      let course;
      for (let round = 0; round < 7; round++) {
        course = new Course({ ...STATE, data, width, method, seed: round, unknown: "noise" }, given.digits);
        const began = process.hrtime.bigint();
        for (let epoch = 0; epoch < 60; epoch++) { course.train(); course.at(course.trained, 0.95); }
        rates.push(60 / (Number(process.hrtime.bigint() - began) / 1e9));
      }
      console.log(JSON.stringify({ data, width, method, points: course.training.length, rates }));
    }
    """
    given = json.dumps({"courses": COURSES, "digits": teach.digits()})
    done = subprocess.run(["node", "-"], input=f"{teach.PURE}\nconst given = {given};\n{script}", capture_output=True,
                          text=True, check=True)  # fmt: skip
    print("in node, epochs a second with what is said after each; 7 courses of 60 epochs:")
    for line in done.stdout.splitlines():
        said = json.loads(line)
        rates = sorted(said["rates"])
        print(f"  {said['data']:8} {said['method']:8} width {said['width']:3} {said['points']:4} points: "
              f"median {statistics.median(rates):6.0f}, {rates[0]:.0f} to {rates[-1]:.0f}")  # fmt: skip


def in_browser(port: str) -> None:
    with sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        path = next(found for name in names if (found := shutil.which(name)))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        print(f"in Chromium {browser.version} without a GPU, 1440 x 900, every picture drawn at each epoch:")
        for query in ("data=blobs", "data=spirals&width=64", "data=digits&unknown=digit"):
            played, jumped = [], []
            for seed in range(5):
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.goto(f"http://127.0.0.1:{port}/anchors?{query}&seed={seed}")
                page.locator(".bench .said").wait_for()
                page.wait_for_timeout(1500)
                page.get_by_role("button", name="Play").click()
                began = page.evaluate("performance.now()")
                page.wait_for_timeout(4000)
                played.append(epoch(page) / seconds_since(page, began))
                page.get_by_role("button", name="Pause").click()
                first = epoch(page)
                began = page.evaluate("performance.now()")
                page.get_by_role("slider", name="Epoch").evaluate(JUMP)
                while epoch(page) < 300:
                    page.wait_for_timeout(20)
                jumped.append((300 - first) / seconds_since(page, began))
                page.close()
            print(f"  {query:28} Play (at most 15): median {statistics.median(played):5.1f}, {min(played):.1f} to "
                  f"{max(played):.1f}; a jump to epoch 300: {statistics.median(jumped):5.0f}, {min(jumped):.0f} to "
                  f"{max(jumped):.0f} epochs a second")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(platform.platform(), "node", version)
    in_node()
    in_browser(sys.argv[1])
