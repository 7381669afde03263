"""How often the test of Watch gives a false alarm, and how late a true one: simulated streams.

python benchmarks/drift.py [--streams 1000] [--length 5000]

A stream of scores is standard normal, moved from image 1000 on; of one of decisions 10 % are rejected, and from there
on another share. In the first rows nothing changes: any alarm in them is false.
"""

import argparse

import machine
import numpy as np

from cac_core.scoring.metrics import wilson
from cac_core.serving import watch

BEFORE = 1000

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--changed", type=int, default=200)
    parser.add_argument("--length", type=int, default=5000)
    a = parser.parse_args()
    rng, after = np.random.default_rng(0), a.length - BEFORE
    print(machine.described() + "\n")
    print(
        f"| stream of {a.length} images | streams | alarms | images after the change, median (5 % to 95 %) |\n|-|-|-|-|"
    )
    rows = [("scores, nothing changes", a.streams, lambda: rng.normal(size=a.length))]
    rows += [("10 % rejected, nothing changes", a.streams, lambda: rng.random(a.length) < 0.1)]
    for shift in (0.25, 0.5, 1.0):
        rows.append((
            f"scores move by {shift} of their deviation", a.changed,
            lambda shift=shift: np.concatenate([rng.normal(size=BEFORE), rng.normal(shift, 1, after)]),
        ))  # fmt: skip
    for share in (0.15, 0.2, 0.3, 0.5):
        rows.append((
            f"10 % rejected, then {100 * share:.0f} %", a.changed,
            lambda share=share: np.concatenate([rng.random(BEFORE) < 0.1, rng.random(after) < share]),
        ))  # fmt: skip
    for name, count, stream in rows:
        alarms = np.array([watch.drift(stream(), seed).alarm for seed in range(count)])
        found = alarms >= 0
        low, high = wilson(int(found.sum()), count)
        late = alarms[found] - BEFORE
        said = f"{np.median(late):.0f} ({np.quantile(late, 0.05):.0f} to {np.quantile(late, 0.95):.0f})" if (
            "then" in name or "move" in name
        ) and found.any() else ""  # fmt: skip
        print(f"| {name} | {count} | {found.sum()} ({100 * low:.1f} to {100 * high:.1f} %) | {said} |", flush=True)
