"""data and fetch: what data sets there are, and how to get one."""

import argparse


def add(command) -> None:
    command("data", "the data sets there are: here or not, where they come from, their licences", _data)
    fetch = command("fetch", "download a data set", _fetch)
    fetch.add_argument("dataset")


def _data(a: argparse.Namespace, options: dict[str, str]):
    from cac_core.data import datasets, sources

    root = datasets.root_of(a.data)
    rows, lines = [], [f"under {root}:"]
    for name in (*datasets.DATASETS, *datasets.folders(root)):
        about, licence = sources.ABOUT.get(name, ("an image folder of your own", "yours"))
        files, missing = datasets.here(name, root)
        passed = [] if name in datasets.DATASETS else sources.passed_over(root / name)
        rows.append({"dataset": name, "here": not missing, "bytes": sum(f.stat().st_size for f in files),
                     "missing": missing, "source": about, "licence": licence, "passed_over": passed})  # fmt: skip
        size = f"{rows[-1]['bytes'] / 1e6:.1f} MB" if files else "not here"
        lines.append(f"{name:14} {size:>10}   {about}. Licence: {licence}.")
        if missing:
            lines += ["    " + line.strip() for line in missing.splitlines()]
        lines += ["    " + line for line in passed]
    closed = datasets.passed_over(root)
    return {"data": str(root), "datasets": rows, "passed_over": closed}, lines + closed


def _fetch(a: argparse.Namespace, options: dict[str, str]):
    from cac_core.data import datasets

    root = datasets.root_of(a.data)
    datasets.fetch(a.dataset, root)
    sizes = {part: len(images) for part, images in datasets.load(a.dataset, root).items()}
    return {"dataset": a.dataset, "data": str(root), "images": sizes}, [f"{a.dataset} is here: {sizes}"]
