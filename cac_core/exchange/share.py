"""A copy of a run that is small enough to give away, and still says everything that the pages show.

Left out: the state to resume from, the log, and the features, which knn and Mahalanobis need (their numbers stay in the
report), and the head on them, unless the score that the run is judged by reads features. Logits are in half precision
where that changes no number of the report by more than TOLERANCE. Of a sweep, the report stays whole, and the logits at
the temperatures that its choices name for the score that it shows first, in half precision on the same condition.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from cac_core import records, runs
from cac_core.records import Unfit
from cac_core.results import judge, sweep
from cac_core.runs import Broken, Run
from cac_core.scoring.outputs import ARRAYS
from cac_core.scoring.scorers import BY_FEATURES
from cac_core.sentences import say

TOLERANCE = 1e-4
COPIED = ("recipe.json", "status.json", "events.jsonl", "best.safetensors", "snapshots.npz", "made.npz", "pictures.npz",
          "rebuilt.npz", "sweep-as-published.json")  # fmt: skip
NUMBERS = (
    "accuracy",
    "auroc",
    "aupr_known",
    "aupr_unknown",
    "fpr_at_95_knowns_kept",
    "fpr_at_95_unknowns_caught",
    "oscr",
)


def share(run: Run, into: Path, *, weights: bool = True) -> Run:
    """Write the copy to into/<id>, whole or not at all. Without the weights it judges no further image.

    Raises FileNotFoundError where the run has no outputs, FileExistsError where the copy would take the place of
    another.
    """
    if problem := run.problem():
        raise Broken(problem)
    copy, full = Run(into / run.id), run.report()
    run.outputs("test")  # says what is missing, and the command that writes it
    if weights and (run.path / "best.safetensors").exists():
        _check_weights(run)
    _check_free(copy)
    with runs.made_whole(copy) as fresh:
        fresh.path.mkdir()
        _write(run, full, fresh, weights)
    return copy


def copy(run: Run, store: Path) -> Run:
    """The run as it is in a store, whole or not at all. Raises FileExistsError where one of its id is there."""
    there = Run(store / run.id)
    _check_free(there)
    with runs.made_whole(there) as fresh:
        shutil.copytree(run.path, fresh.path)
    return there


def _check_weights(run: Run) -> None:
    file = run.path / "best.safetensors"
    try:
        records.opened(file).close()
        with safe_open(file, framework="numpy"):  # which looks at its header and its length
            pass
    except (SafetensorError, OSError, ValueError) as error:
        from cac_core.results.evaluate import anew

        raise Broken(say("{file} is damaged ({error}). {advice}", file=file, error=error, advice=anew(run))) from error


def _check_free(there: Run) -> None:
    if os.path.lexists(there.path):
        raise FileExistsError(say("{folder} is there already. Remove it, or give another folder.", folder=there.path))


def _write(run: Run, full: runs.Report, copy: Run, weights: bool) -> None:
    for name in COPIED:
        if (run.path / name).exists() and (weights or name != "best.safetensors"):
            try:
                records.copied(run.path / name, copy.path / name)
            except Unfit as error:
                raise Broken(run.unreadable(run.path / name, error)) from error
    features = judge.default_of(run) in BY_FEATURES
    for kind in (np.float16, np.float32):
        for file in sorted((run.path / "outputs").glob("*.npz")):
            try:
                _write_slim(file, copy.path / "outputs" / file.name, kind, features)
            except Unfit as error:
                raise run.damaged(file, error) from error
        slim = judge.plain(judge.report_all(copy, full))
        if kind == np.float32 or _same(full.get("scorers", {}), slim["scorers"]):
            break
    for name, numbers in slim["scorers"].items():
        if "error" in numbers and name in full.get("scorers", {}):
            slim["scorers"][name] = full["scorers"][name]
    runs.write_json(copy.path / "report.json", slim)
    if (run.path / "sweep.npz").exists() and not sweep.outdated(run) and sweep.of_outputs(run):
        _write_slim_sweep(run, copy)


def _write_slim(file: Path, to: Path, kind: type, features: bool) -> None:
    arrays = records.arrays(file, ARRAYS)
    for name in {"logits", "out_of_fold"} & set(arrays):
        arrays[name] = arrays[name].astype(kind)
    if not features:
        arrays["features"] = np.zeros((len(arrays["logits"]), 0), np.float16)
        arrays = {name: one for name, one in arrays.items() if name not in ("head", "heads_out_of_fold")}  # on features
    runs.write_npz(to, **arrays)


def _same(full: dict[str, Any], slim: dict[str, Any]) -> bool:
    """Whether every number of the scores that both have agrees to TOLERANCE, theta and its interval aside."""
    pairs = [
        (numbers[key], slim[name][key])
        for name, numbers in full.items()
        if name in slim and "error" not in numbers and "error" not in slim[name]
        for key in NUMBERS
        if key in numbers
    ]
    return all(a == b or (None not in (a, b) and abs(a - b) <= TOLERANCE) for a, b in pairs)


def _write_slim_sweep(run: Run, copy: Run) -> None:
    report = sweep.report(run)
    own = sweep.first_of(report, run.recipe.method)
    named = {c["temperature"] for choice in ("chosen", "oracle") if (c := report[choice][own])}
    arrays = sweep.whole(run)
    kept = np.isin(arrays["held"], sorted(named))  # a copy that is shared again holds some
    arrays["held"] = arrays["held"][kept]
    at = [cell["scores"] for cell in report["cells"] if cell["temperature"] in named]
    for kind in (np.float16, np.float32):
        logits = {f"{split}_logits": arrays[f"{split}_logits"][kept].astype(kind) for split in sweep.SPLITS}
        runs.write_npz(copy.path / "sweep.npz", **arrays | logits)
        if kind == np.float32 or all(map(_same, at, (cell["scores"] for cell in sweep.report(copy)["cells"]))):
            break
    runs.write_json(copy.path / "sweep.json", report)  # the whole of it, in the place of what the copy alone can tell
