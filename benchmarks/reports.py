"""The bundled runs' report.json made again from their stored outputs, after a definition of a number has changed.

PYTHONPATH=. python benchmarks/reports.py [--data DIR]

A bundled run holds no features, so knn and Mahalanobis keep the numbers they have; with --data, where the images are
here, the features are computed anew in a folder of its own, some minutes a run, and these two are made again as well.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from cac_core import runs
from cac_core.data import datasets
from cac_core.results import evaluate, judge

STORE = Path(__file__).parent.parent / "checkpoints"
COPIED = ("recipe.json", "status.json", "best.safetensors")


def by_features(run: runs.Run, data: Path) -> dict:
    """The report on outputs with features, which are not kept."""
    with tempfile.TemporaryDirectory() as folder:
        full = runs.Run(Path(folder) / run.id)
        full.path.mkdir()
        for name in COPIED:
            shutil.copyfile(run.path / name, full.path / name)
        evaluate.evaluate(full, data)
        return full.report()["scorers"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    a = parser.parse_args()
    for run in runs.every(STORE):
        before, report = run.report()["scorers"], judge.plain(judge.report_all(run))
        lacks = [name for name, numbers in report["scorers"].items() if "error" in numbers]
        if lacks and a.data and not datasets.here(run.recipe.dataset, a.data)[1]:
            before = by_features(run, a.data)
        report["scorers"] |= {name: before[name] for name in lacks}
        runs.write_json(run.path / "report.json", report)
        print(run.id, f"({', '.join(lacks)} by features)" if lacks else "")
