"""A run and its threshold as one ONNX file: from prepared pixels to the decision, for programs without this project.

The graph takes `image`, uint8 [batch, size, size, channels], or on demand `photo`, uint8 [batch, height, width,
channels], which it cuts to its square and reduces, to one grey level as Pillow does, also those that images.prepare
takes back to the pixels that they show enlarged. It gives logits, distances and gamma [batch, C], score, label and
unknown [batch]. What is needed to understand them lies in the file's metadata under "anchorscope", as JSON: the
threshold with its rule, the names of the classes, how images are prepared, the run, its version and commit.

Scores in the graph are computed in double precision from the network's logits and dummy heads, as they are here, so
that images that many networks are sure of stay apart. The logits are rounded otherwise than by torch, by some 1e-5, and
theta often is the very score of a validation image: the theta in the graph lies ABOVE by a little, SLACK times what the
scores near to it differ by. How much is in the metadata.
"""

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cac_core import runs
from cac_core.data.images import Format, converted, way_of
from cac_core.results import evaluate, formulas
from cac_core.results.judge import UNKNOWN, Threshold
from cac_core.runs import Run
from cac_core.sentences import say
from cac_core.serving import deciders
from cac_core.serving.deciders import KEY, OfOnnx, check_exportable, session_of, takes_photos, version_of

SLACK = 4.0
NEAR = 32  # images whose scores lie next to theta
CHECKED = 256  # images that every decision has to agree on
OPSET = 20
MADE = ("logits", "distances", "gamma", "score", "label")  # and unknown
FORMAT = "anchorscope onnx 1"


def export(run: Run, threshold: Threshold, file: Path, root: Path, resize: bool = False) -> dict[str, Any]:
    """Write the ONNX file, and beside it FILE.prepare.py, which prepares pictures with Pillow and NumPy alone.

    The file is put into place after it has decided as the run does about CHECKED validation images; where these are not
    here, about as many of noise, which is said; with resize, also about these enlarged, smoothly, to photos of many
    shapes. Gives what it was checked on. Raises ValueError for what no file can say: a perturbation, a score that has
    no formula in torch, a network from elsewhere, or where it cannot be exported or decides otherwise.
    """
    if file.suffix != ".onnx":
        raise ValueError(say("{file} must end in .onnx.", file=file))
    check_exportable(run, threshold)
    if resize and not takes_photos(run.row, way_of(run.row, threshold.way)):
        raise ValueError(say(
            "Pictures are brought to size as the makers of {dataset} did theirs, which a graph does not: export "
            "without --resize.",
            dataset=run.recipe.dataset,
        ))  # fmt: skip
    import onnx

    network, row = evaluate.load(run, "cpu"), run.row
    scoring = formulas.of_run(run, network, threshold.scorer, threshold.options)
    images = torch.zeros(2, row.size, row.size, row.channels, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are of the exporter's own making
            program = torch.onnx.export(
                scoring, (images,), dynamo=True, external_data=False, opset_version=OPSET, input_names=["image"],
                output_names=list(MADE), verbose=False, dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            )  # fmt: skip
    except Exception as error:  # whatever an operator that ONNX lacks makes the exporter say
        raise ValueError(say(
            "The network of {run} cannot be exported: {error}", run=run.id, error=_innermost(error)
        )) from error  # fmt: skip
    model = program.model_proto
    pixels, what = _to_check(run, root)
    mine = threshold.judged(run, *network.outputs(pixels))
    slack = _slack(model.SerializeToString(), mine, pixels)
    if not math.isfinite(slack):
        raise ValueError(say(
            "The scores of {run} near θ are no numbers, so that no file can be seen to decide as it does: none was "
            "written. Give other options of the score {scorer}.",
            run=run.id, scorer=threshold.scorer,
        ))  # fmt: skip
    thetas = np.full(len(run.known_names), threshold.theta) if threshold.thetas is None else np.array(threshold.thetas)
    _decide(model, thetas + slack)
    record = about(run, threshold, thetas + slack)
    onnx.helper.set_model_props(model, {KEY: json.dumps(record)})
    theirs = OfOnnx.of(model.SerializeToString())
    pairs = list(zip(theirs.says(theirs.looks(pixels)), mine, strict=True))
    apart = [(a, b) for a, b in pairs if not abs(b["score"] - b["theta"]) <= 2 * slack]  # others lie at theta itself
    if not apart:
        raise ValueError(say(
            "The scores of all {count} images that the file was to be tried on lie at θ itself, so that no decision "
            "could be compared: it was not written.",
            count=len(pairs),
        ))  # fmt: skip
    if differ := sum((a["decision"], a["label"]) != (b["decision"], b["label"]) for a, b in apart):
        raise ValueError(say(
            "The file decides otherwise about {count} of {of} images than {run}, so it was not written.",
            count=differ, of=len(pixels), run=run.id,
        ))  # fmt: skip
    record["checked"] = {"images": len(pixels), "of": what, "at_theta": len(pairs) - len(apart)}
    if resize:
        _take_photos(model, run.row)
        record["checked"]["photos"] = _check_photos(model, run, threshold, network, pixels)
    onnx.helper.set_model_props(model, {KEY: json.dumps(record)})
    content = model.SerializeToString()
    runs.in_one_step(file, lambda fresh: fresh.write(content))
    runs.write(file.with_suffix(".prepare.py"), deciders.PREPARATION.read_text("utf-8").replace("FILE.onnx", file.name))
    return record["checked"] | {"bytes": len(content)}


COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # for a terminal


def _innermost(error: BaseException) -> str:
    """What an error rests on, in a line."""
    while error.__cause__:
        error = error.__cause__
    said = COLOUR.sub("", str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}"[:300]


def _take_photos(model, row: Format) -> None:
    """Let a graph take photos: the middle square of each, reduced in its own bytes, as images.prepare does it."""
    from onnx import TensorProto, helper, numpy_helper

    graph, steps = model.graph, dict.fromkeys((row.grain, row.size))
    how = {"mode": "linear", "antialias": 1, "coordinate_transformation_mode": "half_pixel", "exclude_outside": 1}
    constants = {"two": [2], "height_and_width": [1, 2]} | {f"side_{side}": [side, side] for side in steps}
    names = ["square", *(f"reduced_{side}" for side in list(steps)[:-1]), "image"]
    nodes = [
        helper.make_node("Shape", ["photo"], ["sides"], start=1, end=3),
        helper.make_node("ReduceMin", ["sides"], ["shorter"], keepdims=1),
        helper.make_node("Concat", ["shorter", "shorter"], ["kept"], axis=0),
        helper.make_node("Sub", ["sides", "kept"], ["cut"]),
        helper.make_node("Div", ["cut", "two"], ["begin"]),
        helper.make_node("Add", ["begin", "kept"], ["end"]),
        helper.make_node("Slice", ["photo", "begin", "end", "height_and_width"], ["square"]),
        *(helper.make_node("Resize", [names[n], "", "", f"side_{side}"], [names[n + 1]], axes=[1, 2], **how)
          for n, side in enumerate(steps)),
    ]  # fmt: skip
    after = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*nodes, *after])
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), name) for name, v in constants.items())
    shape = ["batch", "height", "width", row.channels]
    graph.input.append(helper.make_tensor_value_info("photo", TensorProto.UINT8, shape))


def _check_photos(model, run: Run, threshold: Threshold, network, pixels: np.ndarray) -> dict[str, Any]:
    """About photos that these images are enlarged to. Where a score lies nearer to theta than scores move, rounding to
    grey levels decides; how many these are is said.

    Raises ValueError where a pixel differs by more than one grey level, or another decision.
    """
    from onnx import TensorProto, helper

    open_one, rng = type(model).FromString(model.SerializeToString()), np.random.default_rng(0)
    open_one.graph.output.append(helper.make_tensor_value_info("image", TensorProto.UINT8, None))
    session, most = session_of(open_one.SerializeToString()), 0
    scores, unknowns, prepared = [], [], []
    for image in pixels:
        sides = tuple(rng.integers(len(image) + 1, 8 * len(image), 2).tolist())
        grey = image.shape[-1] == 1
        picture = Image.fromarray(image[..., 0] if grey else image).resize(sides, Image.Resampling.BICUBIC)
        photo = np.asarray(picture).reshape(1, *sides[::-1], image.shape[-1])
        prepared.append(converted(photo, run.row, "picture")[0])
        seen, score, unknown = session.run(["image", "score", "unknown"], {"photo": photo})
        most = max(most, int(np.abs(seen[0].astype(int) - prepared[-1]).max()))
        scores.append(float(score[0]))
        unknowns.append(bool(unknown[0]))
    if most > 1:
        raise ValueError(say(
            "The file reduces photos otherwise than is done here, by up to {most} grey levels, so it was not written.",
            most=most,
        ))  # fmt: skip
    mine = threshold.judged(run, *network.outputs(np.stack(prepared)))
    moved = [abs(score - one["score"]) for score, one in zip(scores, mine, strict=True)]
    apart = [abs(one["score"] - one["theta"]) > 2 * max(moved) for one in mine]
    differ = [unknown != (one["decision"] == UNKNOWN) for unknown, one in zip(unknowns, mine, strict=True)]
    if count := sum(one and sure for one, sure in zip(differ, apart, strict=True)):
        raise ValueError(say(
            "The file decides otherwise about {count} of {of} photos than {run}, so it was not written.",
            count=count, of=len(pixels), run=run.id,
        ))  # fmt: skip
    return {
        "images": len(pixels),
        "at_theta": len(apart) - sum(apart),
        "differ": sum(differ),
        "scores_move": max(moved),
        "otherwise": say(
            "A picture that is enlarged pixel by pixel is reduced as a photo is; Anchorscope itself takes it back to "
            "its own pixels."
        ),
    }


def about(run: Run, threshold: Threshold, thetas: np.ndarray) -> dict[str, Any]:
    """What stands in the metadata. theta_in_graph [C]: by label, what the graph decides by."""
    return {
        "format": FORMAT,
        "threshold": threshold.record(run),
        "drawn": run.row.drawn,
        "theta_in_graph": thetas.tolist(),
        "version": version_of(run),
        "commit": run.record.get("commit") or "",
    }


def _to_check(run: Run, root: Path) -> tuple[np.ndarray, str]:
    try:
        part = evaluate.parts_of(run, root, evaluate.images_of(run, root))["validation"]
    except (FileNotFoundError, ValueError):
        row = run.row
        shape = (CHECKED, row.size, row.size, row.channels)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8), say("noise, since the data set is not here")
    places = np.linspace(0, len(part) - 1, min(CHECKED, len(part))).astype(int)
    return np.asarray(part.pixels[places]), say("validation images")


def _slack(content: bytes, mine: list[dict[str, Any]], pixels: np.ndarray) -> float:
    """By how much theta is raised in a graph, by what its scores near to theta differ by from these verdicts."""
    (theirs,) = session_of(content).run(["score"], {"image": pixels})
    own = np.array([one["score"] for one in mine])
    nearest = np.argsort(np.abs(own - [one["theta"] for one in mine]), kind="stable")[:NEAR]
    return SLACK * float(np.abs(theirs - own)[nearest].max())


def _decide(model, thetas: np.ndarray) -> None:
    """Let a graph that gives score and label give `unknown`, too: not(score <= theta of the label), which a score that
    is no number is as well."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(thetas.astype(np.float64), "thetas"))
    graph.node.extend(
        [
            helper.make_node("Gather", ["thetas", "label"], ["limit"]),
            helper.make_node("LessOrEqual", ["score", "limit"], ["known"]),
            helper.make_node("Not", ["known"], ["unknown"]),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("unknown", TensorProto.BOOL, ["batch"]))
