"""import-weights and share: what comes from outside and what goes out."""

import argparse
from pathlib import Path


def add(command) -> None:
    weights = command("import-weights", "make runs of the weights published with the CAC paper", _import_weights)
    weights.add_argument("files", metavar="FILE", nargs="+", help="a .pth file of cac-openset, or a folder of them")
    weights.add_argument("--dataset", help="if the file's name does not say it")
    weights.add_argument("--trial", help="if the file's name does not say it")
    weights.add_argument("--family", default="cac-2020", help="the class lists that they were trained on: cac-2020")
    share = command("share", "a small copy of a run, to give away: no features, no images", _share)
    share.add_argument("run", metavar="RUN", help="a path or an id")
    share.add_argument("into", metavar="DIR", help="the store to put the copy into")


def _import_weights(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.exchange import import_weights

    store, root = runs.store_of(a.runs), datasets.root_of(a.data)
    files = [file for path in a.files for file in import_weights.found(Path(path))]
    done = import_weights.import_all(files, store, root, dataset=a.dataset, trial=a.trial, family=a.family)
    lines = []
    for one in done:
        lines.append(f"{one.file}: {one.state}" + (f": {one.why}" if one.why else f" as {one.run.path}"))
        if one.state == "imported":
            lines.append(f"    python -m cac_core eval {one.run.path}")
    failed = [one for one in done if one.state == "failed"]
    if len(files) > 1:
        lines.append(", ".join(f"{sum(one.state == state for one in done)} {state}" for state in import_weights.STATES))
    elif failed:
        raise ValueError(failed[0].why)
    made = [{"run": one.run.id, "path": str(one.run.path), "file": str(one.file), "state": one.state}
            for one in done if one.run]  # fmt: skip
    return {"runs": made, "failed": [{"file": str(one.file), "why": one.why} for one in failed]}, lines, bool(failed)


def _share(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.exchange import share

    copy = share.share(runs.find(a.run, runs.store_of(a.runs)), Path(a.into))
    size = sum(file.stat().st_size for file in copy.path.rglob("*") if file.is_file())
    return {"run": copy.id, "path": str(copy.path), "bytes": size}, [f"{copy.path}: {size / 1e6:.1f} MB"]
