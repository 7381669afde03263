"""Home on a cold server: how long until a browser shows it, from the page's own clock.

python benchmarks/first_paint.py [--rounds 5]

Each round starts a new server and a browser context without a cache, on an empty data folder, and opens Home. Times are
in seconds from the request: heading, first number, wheel; then the same page again, the server warm.
"""

import argparse
import statistics
import tempfile

import browsing
import machine

WATCH = """window.seen = {};
const what = {heading: 'h1', number: '[data-testid=stMetricValue]', wheel: 'canvas'};
const look = () => {
  for (const k in what) if (!(k in seen) && document.querySelector(what[k])) seen[k] = performance.now() / 1000;
  requestAnimationFrame(look);
};
requestAnimationFrame(look);"""


def opened(page, address: str) -> dict[str, float]:
    page.goto(address)
    page.wait_for_function("'wheel' in window.seen && 'number' in window.seen")
    return page.evaluate("window.seen")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cold, warm = [], []
    with browsing.opened() as browser:
        for _ in range(rounds):
            with browsing.served(ANCHORSCOPE_DATA=tempfile.mkdtemp()) as (_, address):
                page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
                page.add_init_script(WATCH)
                cold.append(opened(page, f"{address}/"))
                warm.append(opened(page, f"{address}/"))
    print(machine.described())
    print(f"{rounds} cold servers, one after the other")
    for name, times in (("cold", cold), ("warm", warm)):
        for what in ("heading", "number", "wheel"):
            values = [t[what] for t in times]
            print(f"{name} {what:8} {statistics.median(values):5.2f} s   ({min(values):.2f} to {max(values):.2f})")
