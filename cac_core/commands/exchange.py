"""import-weights, import-outputs, import-images and share: what comes from outside and what goes out."""

import argparse
from pathlib import Path

from cac_core import shell
from cac_core.commands import results, terminal


def add(command) -> None:
    weights = command("import-weights", "make runs of the weights published with the CAC paper", _import_weights)
    weights.add_argument("files", metavar="FILE", nargs="+", help="a .pth file of cac-openset, or a folder of them")
    weights.add_argument("--dataset", help="if the file's name does not say it")
    weights.add_argument("--trial", help="if the file's name does not say it")
    weights.add_argument("--family", default="cac-2020", help="the class lists that they were trained on: cac-2020")
    outputs = command(
        "import-outputs", "a run of what a network that was trained elsewhere put out: logits, features, or scores",
        _import_outputs,
    )  # fmt: skip
    outputs.add_argument("files", metavar="FILE", nargs="+", help="an .npz, Parquet or CSV; see the page Runs, Import")
    outputs.add_argument("--name", required=True, help="of the run: small letters, digits and dashes")
    outputs.add_argument("--classes", metavar="FILE", help="the known classes in the order of the logits, one a line")
    outputs.add_argument("--of", default="", metavar="NAME", help="of the data set: runs on the same one are compared")
    outputs.add_argument("--images", metavar="DIR", help="the folder that the images' files lie in; the data root, if "
                         "not said")  # fmt: skip
    network = command(
        "import-network", "a run of a classifier that was trained elsewhere: an ONNX file, or weights", _import_network
    )
    network.add_argument("file", metavar="FILE", help="an .onnx; or, with --architecture, .safetensors or .pth")
    network.add_argument("--architecture", default="", metavar="NAME", help="of weights: timm/NAME or torchvision/NAME")
    network.add_argument("--dataset", required=True, help="that it is evaluated on")
    network.add_argument("--name", required=True, help="of the run: small letters, digits and dashes")
    network.add_argument("--trial", default="", help="of the family, if it does not know all classes of the data set")
    network.add_argument("--family", default="osrci", help="the class lists: osrci")
    network.add_argument("--classes", metavar="FILE", help="the classes in the order of the logits, one a line")
    network.add_argument("--mean", type=float, nargs="+", default=[], help="of each channel, on the scale 0 to 1; that "
                         "of ImageNet, if not said, and 0 of grey images")  # fmt: skip
    network.add_argument("--std", type=float, nargs="+", default=[], help="the same; 1 of grey images")
    network.add_argument("--size", type=int, default=0, metavar="PIXELS", help="the side, if the network takes any")
    network.add_argument("--features", default="", metavar="VALUE", help="the value of the graph that they are; what "
                         "the last linear layer reads, if not said")  # fmt: skip
    pictures = command(
        "import-images", "make a data set of a zip of class folders; without --write, show what it would be",
        _import_images,
    )  # fmt: skip
    pictures.add_argument("zip", metavar="ZIP")
    pictures.add_argument("name", metavar="NAME", help="of the data set: small letters, digits and dashes")
    pictures.add_argument("--write", action="store_true", help="write it into the data root")
    pictures.add_argument(
        "--names", metavar="ENCODING", default="", help="how the names in the zip are written, where it does not say "
        "so: utf-8, gb18030, cp932, cp949, big5, cp437, cp866 or cp1252; the likeliest, if not said"
    )  # fmt: skip
    pictures.add_argument("--size", type=int, default=32, metavar="PIXELS", help="the side that a network sees: 32")
    pictures.add_argument("--grey", action="store_true", help="without colours")
    pictures.add_argument("--no-flip", action="store_true", help="the images are not to be mirrored")
    share = command("share", "a small copy of a run, to give away: no features, no images", _share)
    share.add_argument("run", metavar="RUN", help="a path or an id")
    share.add_argument("into", metavar="DIR", help="the store to put the copy into")
    share.add_argument("--without-weights", action="store_true", help="numbers alone: it judges no further image")


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
            lines.append(f"    {shell.command('eval', one.run.path)}")
    failed = [one for one in done if one.state == "failed"]
    if len(files) > 1:
        lines.append(", ".join(f"{sum(one.state == state for one in done)} {state}" for state in import_weights.STATES))
    elif failed:
        raise ValueError(failed[0].why)
    made = [{"run": one.run.id, "path": str(one.run.path), "file": str(one.file), "state": one.state}
            for one in done if one.run]  # fmt: skip
    return {"runs": made, "failed": [{"file": str(one.file), "why": one.why} for one in failed]}, lines, bool(failed)


def _import_outputs(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.exchange import import_outputs

    files, classes = [Path(file) for file in a.files], None
    if a.classes:
        classes = import_outputs.class_list(Path(a.classes))
    found = import_outputs.outputs_of(import_outputs.read(files), classes)
    store, images = runs.store_of(a.runs), Path(a.images) if a.images else datasets.root_of(a.data)
    run, new = import_outputs.make(found, a.name, store, ", ".join(file.name for file in files), images, a.of)
    numbers = results.reported(run, a)
    counts = {split: len(out) for split, out in found.outputs.items()}
    lines = [
        f"{run.path}: {'made' if new else 'is there already'}",
        ", ".join(f"{count} {split}" for split, count in counts.items()) + " images",
        *run.record.get("notes", []),
        *terminal.report_lines(numbers),
    ]
    said = {"run": run.id, "path": str(run.path), "new": new, "images": counts, "notes": run.record.get("notes", []),
            "report": numbers}  # fmt: skip
    return said, lines


def _import_network(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.data import datasets
    from cac_core.exchange import import_network, import_outputs

    store, root = runs.store_of(a.runs), datasets.root_of(a.data)
    classes = import_outputs.class_list(Path(a.classes)) if a.classes else None
    run, new = import_network.import_network(
        Path(a.file), store, root, a.dataset, a.name, trial=a.trial, family=a.family, classes=classes,
        mean=tuple(a.mean), std=tuple(a.std), size=a.size, features=a.features,
        architecture=a.architecture,
    )  # fmt: skip
    numbers = results.reported(run, a)
    lines = [f"{run.path}: {'made' if new else 'is there already'}", *terminal.report_lines(numbers)]
    return {"run": run.id, "path": str(run.path), "new": new, "report": numbers}, lines


def _import_images(a: argparse.Namespace, options: dict[str, str]):
    from cac_core.data import datasets
    from cac_core.exchange import own_data

    own_data.data_set_name(a.name)
    with open(a.zip, "rb") as file:
        upload = own_data.zipped(file, a.names)
        found = own_data.check(upload)
        copies = [(group, own_data.kept(group)) for group in own_data.copies(found)]
        found = own_data.without_copies(found)
        settings = {"size": a.size, "channels": 1 if a.grey else 3, "flip": not a.no_flip}
        folder = own_data.write(found, upload, datasets.root_of(a.data), a.name, settings) if a.write else None
    counts, wrong = found.counts(), own_data.problems(found)
    lines = [f"names read as {upload.encoding}, of {', '.join(upload.encodings)}"] if upload.encoding else []
    lines += [f"{cls}: " + ", ".join(f"{some[cls]} {part or 'images'}" for part, some in counts.items())
              for cls in found.classes]  # fmt: skip
    lines += [
        f"left out: {', '.join(one.name for one in group if one is not kept)}: "
        + (f"the same as {kept.name}" if kept else "one image in several classes, and nobody knows which is right")
        for group, kept in copies
    ]
    lines += [f"left out: {name}: {why}" for name, why in found.refused] + wrong
    lines.append(f"written to {folder}" if folder else "nothing is written without --write")
    said = {"folder": folder and str(folder), "classes": counts, "names": upload.encoding,
            "encodings": list(upload.encodings),
            "copies": [{"files": [one.name for one in group], "kept": kept and kept.name} for group, kept in copies],
            "refused": dict(found.refused), "problems": wrong}  # fmt: skip
    return said, lines, bool(wrong)


def _share(a: argparse.Namespace, options: dict[str, str]):
    from cac_core import runs
    from cac_core.exchange import share

    run = runs.find(a.run, runs.store_of(a.runs))
    copy = share.share(run, Path(a.into), weights=not a.without_weights)
    size = sum(file.stat().st_size for file in copy.path.rglob("*") if file.is_file())
    return {"run": copy.id, "path": str(copy.path), "bytes": size}, [f"{copy.path}: {size / 1e6:.1f} MB"]
