"""What somebody else made: records, arrays and addresses as nobody should write them, and what becomes of each.

PYTHONPATH=. python benchmarks/foreign.py [--records 2000] [--addresses 1060] [--seed 0] [--images FOLDER]

Fetches nothing. A bundled run is copied beside a good one; in each case one of its files is changed, cut, or replaced
by a pipe, a folder, a link, a bomb of 4 GB; then all is read that pages and commands read of a run. held: it was read,
said: it was refused in a sentence, wrong: another error, a wait for what does not come, or the good run no longer as it
was. The addresses are opened on all pages by turns. With --images, every file of that folder is prepared for a network,
too.
"""

import argparse
import logging
import os
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import machine

HERE = Path(__file__).parent.parent
BUNDLED = HERE / "checkpoints" / "digits-osrci-0-cac-small-s0"
PAGES = ("home", "lessons", "anchors", "space", "thresholds", "sweep", "try", "data", "new", "live", "runs", "compare")


def of_records(place: Path, count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(case, verdict, why) of a run in which one file is not as it was."""
    from app import results
    from cac_core.runs import Run
    from tests import mutants

    store, whole, outside = (place / name for name in ("runs", "whole", "outside"))
    outside.mkdir()
    (outside / "secret").write_text('{"state": "finished"}')
    for path in (whole, store / "good"):
        shutil.copytree(BUNDLED, path)
    bad, good = Run(store / "bad"), results.row_of(Run(store / "good"))
    bombs = {
        "4 GB of zeros": mutants.bomb("logits", 63 << 18, 64),
        "10^12 rows": mutants.with_header("logits", "(1000000000000, 6)", "<f4"),
    }
    for case in (*bombs, *range(count)):
        mutants.restored(bad.path, whole)
        if case in bombs:
            name, file = f"outputs/test.npz: {case}", bad.path / "outputs/test.npz"
            file.unlink()
            file.write_bytes(bombs[case])
        else:
            name = mutants.mutant(bad.path, outside, random.Random(f"{seed} {case}"))
        verdict, why = mutants.judged(bad, place / "shared")
        if verdict != "wrong" and results.row_of(good.run) != good:
            verdict, why = "wrong", "the good run is no longer as it was"
        yield name, verdict, why


def of_addresses(store: Path, count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    from streamlit.testing.v1 import AppTest

    from tests import mutants

    os.environ["ANCHORSCOPE_RUNS"] = str(store)
    names = mutants.names_in_addresses()
    for case in range(count):
        rng = random.Random(f"{seed} {case}")
        page, said = PAGES[case % len(PAGES)], mutants.address(names, rng)
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=120)
        for name, value in said.items():
            at.query_params[name] = value
        try:
            at.run()
            if page != "home":
                at.switch_page(f"app/pages/{page}.py").run()
            wrong = [error.value for error in at.exception]
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        yield f"{page}: {str(said)[:200]}", "wrong" if wrong else "said" if at.error else "held", str(wrong)


def of_images(folder: Path) -> Iterator[tuple[str, str, str]]:
    from cac_core.data import datasets, images

    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            images.prepare(file, datasets.FOLDER)
            yield str(file), "held", ""
        except ValueError as error:
            yield str(file), "said", str(error)
        except Exception as error:
            yield str(file), "wrong", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--addresses", type=int, default=1060)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=Path)
    arguments = parser.parse_args()
    print(f"{machine.described()}\n\n| | held | said | wrong | s | at most, MB |\n|-|-|-|-|-|-|", flush=True)
    faults = []
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        corpora = {
            "records": of_records(Path(folder), arguments.records, arguments.seed),
            "addresses": of_addresses(HERE / "checkpoints", arguments.addresses, arguments.seed),
            **({"images": of_images(arguments.images)} if arguments.images else {}),
        }
        for corpus, cases in corpora.items():
            began, count = time.monotonic(), Counter()
            for case, verdict, why in cases:
                count[verdict] += 1
                faults += [f"{case}\n    {why[:300]}"] if verdict == "wrong" else []
            counts = " | ".join(str(count[verdict]) for verdict in ("held", "said", "wrong"))
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"| {corpus} | {counts} | {time.monotonic() - began:.0f} | {most:.0f} |", flush=True)
    print("\n".join(["", *faults]))
