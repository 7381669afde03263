"""How much each page moves while it loads: the layout shift that the browser itself counts.

python benchmarks/layout.py [--rounds 3] [--pages thresholds,sweep] [--slow 6] [--why]

Every page of the app, opened by its address with the bundled runs at 1440 x 900 and 390 x 844, each in a window of its
own. The shift is the sum of all `layout-shift` entries of the page's performance timeline, those after an input left
out; 0.1 is what Core Web Vitals call good. A page has loaded when its script has ended and nothing has changed for two
seconds. --slow: how many times slower the page's own thread runs. --why: what moved, from where to where.
"""

import argparse
import statistics
import tempfile

import browsing
import machine

SIZES = ((1440, 900), (390, 844))
PAGES = ("", "lessons", "anchors", "space", "thresholds", "images", "sweep", "try", "data", "new", "live", "runs",
         "compare", "reproduce", "export", "many", "watch")  # fmt: skip
WATCH = """window.shifts = []; window.quiet = performance.now();
const said = (node) => {
  const at = node?.nodeType === 1 ? node : node?.parentElement;
  const id = (one) => one.dataset?.testid ?? [...(one.classList ?? [])].find((c) => c.startsWith("st-key"));
  const names = [];
  for (let one = at; one && names.length < 4; one = one.parentElement) if (id(one)) names.push(id(one));
  return `${at?.tagName} ${names.join(" < ")} ${(at?.textContent ?? "").slice(0, 40)}`;
};
const box = ({x, y, width, height}) => [x, y, width, height].map(Math.round).join(" ");
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    if (one.hadRecentInput) continue;
    shifts.push({value: one.value, at: Math.round(one.startTime), moved: one.sources.map(
      (s) => `${said(s.node)} [${box(s.previousRect)}] -> [${box(s.currentRect)}]`)});
  }
}).observe({type: "layout-shift", buffered: true});
const changed = () => { window.quiet = performance.now(); };
new MutationObserver(changed).observe(document, {subtree: true, childList: true, attributes: true});"""
LOADED = """(() => {
  const app = document.querySelector("[data-testid=stApp]");
  return app?.dataset.testScriptState === "notRunning" && document.querySelector("h1")
    && !document.querySelector("[data-testid=stSkeleton]") && performance.now() - window.quiet > 2000;
})()"""


def shifts(browser, address: str, size: tuple[int, int], slow: float) -> list[dict]:
    """The shifts of a page that has loaded."""
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.add_init_script(WATCH)
    if slow != 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slow})
    page.goto(address)
    page.wait_for_function(LOADED)
    found = page.evaluate("window.shifts")
    context.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", type=lambda said: said.split(","), default=PAGES)
    parser.add_argument("--slow", type=float, default=1)
    parser.add_argument("--why", action="store_true")
    a = parser.parse_args()
    with browsing.served(ANCHORSCOPE_DATA=tempfile.mkdtemp()) as (_, address), browsing.opened() as browser:
        print(machine.described())
        print(f"{a.rounds} rounds, the page's thread {a.slow:g} times slower; median (highest)", end="\n\n")
        print("| | " + " | ".join(f"{width} x {height}" for width, height in SIZES) + " |")
        print("|-" * (1 + len(SIZES)) + "|")
        for name in a.pages:
            cells = []
            for size in SIZES:
                every = [shifts(browser, f"{address}/{name}", size, a.slow) for _ in range(a.rounds)]
                sums = [sum(one["value"] for one in found) for found in every]
                cells.append(f"{statistics.median(sums):.3f} ({max(sums):.3f})")
                for one in every[0] if a.why else ():
                    print(f"{size[0]} {one['at']} ms {one['value']:.3f}", *one["moved"], sep="\n    ")
            print(f"| {name or 'Home'} | " + " | ".join(cells) + " |", flush=True)
