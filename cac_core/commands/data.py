"""data, fetch and look: what data sets there are, how to get one, and where to look first in one of one's own."""

import argparse

from cac_core.commands import terminal


def add(command) -> None:
    command("data", "the data sets there are: here or not, where they come from, their licences", _data)
    fetch = command("fetch", "download a data set", _fetch)
    fetch.add_argument("dataset")
    look = command("look", "images of your own that are nearly the same, or lie among another class", _look)
    look.add_argument("dataset", help="an image folder under the data root")


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


def _look(a: argparse.Namespace, options: dict[str, str]):
    from cac_core.data import datasets
    from cac_core.exchange import changes
    from cac_core.recipe import known_name
    from cac_core.results import look
    from cac_core.sentences import say

    root = datasets.root_of(a.data)
    known_name(a.dataset, datasets.folders(root), say("image folder"))
    photos = changes.photos(root, a.dataset)
    marks = [photo.mark for photo in photos]

    def told(done: int, of: int, rate: float) -> None:
        terminal.aside(f"features {done}/{of}  {rate:.0f} images/s")

    if look.kept(root, a.dataset, marks) is None:
        look.compute(root, a.dataset, marks, told)
    classes, numbers = changes.numbered(photos)
    found = look.doubts(look.kept(root, a.dataset, marks), numbers)
    rows, lines = [], []
    for n in found.first().tolist():
        row = {"image": photos[n].path, "class": photos[n].cls, "like": classes[found.other[n]],
               "doubt": round(float(found.doubt[n]), 3), "nearest": photos[found.nearest[n]].path,
               "distance": round(float(found.distance[n]), 4)}  # fmt: skip
        rows.append(row)
        if found.doubt[n] > 0.5:
            lines.append(f"{row['image']} lies among {row['like']} ({row['doubt']})")
        elif found.twin[n]:
            lines.append(f"{row['image']} is nearly {row['nearest']} ({row['distance']})")
    return {"dataset": a.dataset, "images": rows}, lines or [f"{len(rows)} images, none in doubt"]
