"""A run as an ONNX file: the same verdicts without torch, what is refused, preparing elsewhere."""

import dataclasses
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from PIL import Image

from cac_core import recipe, runs
from cac_core.__main__ import main
from cac_core.data import datasets, images
from cac_core.exchange import own_data
from cac_core.results import evaluate, formulas, judge
from cac_core.scoring.scorers import scorer_options
from cac_core.serving import deciders, parted, to_onnx, watch, written
from cac_core.training import loop

ROOT = Path(__file__).parents[2]
MADE = {"hyper": {"count": 8, "maps": 8}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


def trained(place, **more) -> runs.Run:
    given = {"dataset": "digits", "epochs": 1, "batch": 128} | more
    hyper = given.pop("hyper", {})
    return loop.train(recipe.compose("quick", hyper, **given), place / "runs", place / "data", device="cpu")


@pytest.fixture(scope="module")
def run(place):
    return trained(place, epochs=3)


def threshold_of(run, scorer="gamma", **more):
    return judge.threshold_of(run, scorer, scorer_options(scorer), **more)


def pixels_of(run, count=300):
    row = run.row
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, row.size, row.size, row.channels), np.uint8)


@pytest.mark.long
@pytest.mark.parametrize(
    "more, scorer",
    [
        ({"epochs": 3}, "gamma"),
        ({"epochs": 3}, "msp"),
        ({"method": "cross_entropy", "backbone": "fast"}, "energy"),
        ({"method": "vos"}, "energy"),
        ({"backbone": "plain", "tta": "none"}, "distance"),
        ({"method": "osrci", **MADE}, "unknown_class"),
        ({"method": "osrci", "hyper": {"images": "none"}, "backbone": "plain"}, "unknown_class"),
        ({"method": "g_openmax", **MADE}, "unknown_class"),
        ({"method": "proser", "hyper": {"dummies": 3}, "epochs": 3}, "placeholder"),
    ],
)
def test_the_file_decides_as_the_run(place, tmp_path, more, scorer):
    run = trained(place, **more)
    threshold, file = threshold_of(run, scorer), tmp_path / "it.onnx"
    said = to_onnx.export(run, threshold, file, place / "data")
    assert said["images"] == 172 and said["at_theta"] <= 2 and said["bytes"] == file.stat().st_size
    pixels, decider = pixels_of(run), deciders.OfOnnx(file)
    mine = threshold.judged(run, *evaluate.load(run, "cpu").outputs(pixels))
    theirs = decider.says(decider.looks(pixels))
    assert [(a["decision"], a["label"]) for a in theirs] == [(b["decision"], b["label"]) for b in mine]
    for a, b in zip(theirs, mine, strict=True):
        assert a["score"] == pytest.approx(b["score"], rel=1e-3, abs=1e-4)
        assert a["gamma"] == pytest.approx(b["gamma"], rel=1e-3, abs=1e-3)
        assert b["theta"] <= a["theta"] == pytest.approx(b["theta"], rel=1e-2)
    assert (decider.row.size, decider.row.channels, decider.way) == (run.row.size, run.row.channels, "drawing")
    for count in (1, 7):  # any number of images at a time
        few = decider.says(decider.looks(pixels[:count]))
        assert [one["decision"] for one in few] == [one["decision"] for one in theirs[:count]]
        assert [one["score"] for one in few] == pytest.approx([one["score"] for one in theirs[:count]], rel=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("scorer", deciders.exported_for("cac"))
def test_the_command_exports_every_score_at_its_defaults(run, place, tmp_path, scorer):
    file, where = tmp_path / "it.onnx", ["--runs", str(place / "runs"), "--data", str(place / "data")]
    assert main(["export", run.id, "--scorer", scorer, "--onnx", str(file), "--device", "cpu", *where]) == 0
    decider, pixels, threshold = deciders.OfOnnx(file), pixels_of(run), threshold_of(run, scorer)
    mine = threshold.judged(run, *evaluate.load(run, "cpu").outputs(pixels))
    assert [(a["decision"], a["label"]) for a in decider.says(decider.looks(pixels))] == [
        (b["decision"], b["label"]) for b in mine
    ]
    assert decider.said["threshold"] == json.loads(json.dumps(threshold.record(run)))


@pytest.mark.long
def test_thetas_by_class_and_what_the_file_says_of_itself(run, place, tmp_path):
    thetas = tuple(float(x) for x in np.linspace(0.5, 3, 6))
    threshold = dataclasses.replace(threshold_of(run, theta=1.0), thetas=thetas)
    to_onnx.export(run, threshold, tmp_path / "it.onnx", place / "data")
    decider, pixels = deciders.OfOnnx(tmp_path / "it.onnx"), pixels_of(run)
    mine = threshold.judged(run, *evaluate.load(run, "cpu").outputs(pixels))
    assert [a["decision"] for a in decider.says(decider.looks(pixels))] == [b["decision"] for b in mine]
    said = json.loads(
        onnxruntime.InferenceSession(tmp_path / "it.onnx").get_modelmeta().custom_metadata_map["anchorscope"]
    )
    assert said["threshold"] == json.loads(json.dumps(threshold.record(run)))
    assert said["version"] == deciders.version_of(run) and said["checked"]["of"] == "validation images"


@pytest.mark.long
def test_files_of_other_options_or_thetas_are_not_mixed_in_one_output(run, place, tmp_path):
    own = threshold_of(run)
    each = {
        "own": own,
        "options": dataclasses.replace(own, options={**own.options, "centres": "anchors"}),
        "thetas": dataclasses.replace(own, thetas=(own.theta,) * 6),
    }
    for name, threshold in each.items():
        to_onnx.export(run, threshold, tmp_path / f"{name}.onnx", place / "data")
    Image.fromarray(pixels_of(run, 1)[0, ..., 0]).save(tmp_path / "a.png")
    out = str(tmp_path / "o.jsonl")
    assert main(["score", "--onnx", str(tmp_path / "own.onnx"), str(tmp_path / "a.png"), "--out", out]) == 0
    for name in ("options", "thetas"):
        about = deciders.OfOnnx(tmp_path / f"{name}.onnx").about
        with pytest.raises(ValueError, match=name), written.opened(Path(out), about):
            pass
    file = parted._onnx_file(tmp_path, tmp_path / "own.onnx")
    assert parted._onnx_file(tmp_path, tmp_path / "own.onnx") == file != tmp_path / "own.onnx"
    with pytest.raises(ValueError, match="another threshold"):  # nor in one folder of parts
        parted._onnx_file(tmp_path, tmp_path / "thetas.onnx")


@pytest.mark.long
def test_a_file_that_says_no_options_or_thetas_is_read(run, place, tmp_path):
    to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data")
    model = onnx.load(tmp_path / "it.onnx")
    (said,) = (one for one in model.metadata_props if one.key == "anchorscope")
    record = json.loads(said.value)
    del record["threshold"]["options"], record["threshold"]["thetas"]
    said.value = json.dumps(record)
    decider, pixels = deciders.OfOnnx.of(model.SerializeToString()), pixels_of(run, 3)
    whole = deciders.OfOnnx(tmp_path / "it.onnx")
    assert decider.says(decider.looks(pixels)) == whole.says(whole.looks(pixels))


@pytest.mark.long
def test_other_processes_judge_by_what_was_read_whatever_becomes_of_the_file(run, place, tmp_path):
    to_onnx.export(run, threshold_of(run), file := tmp_path / "it.onnx", place / "data")
    decider, pixels = deciders.OfOnnx(file), pixels_of(run, 3)
    file.write_bytes(b"another export")
    elsewhere = pickle.loads(pickle.dumps(decider))
    assert elsewhere.says(elsewhere.looks(pixels)) == decider.says(decider.looks(pixels))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A data set of photos of one's own, and a run of it."""
    place, rng, files = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), {}
    for c, cls in enumerate(("a", "b", "c")):
        for n in range(24):
            file = io.BytesIO()
            small = np.clip(rng.normal(60 + 70 * c, 40, (6, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(file, "PNG")
            files[f"{cls}/{n}.png"] = file.getvalue()
    upload = own_data.Upload(tuple(files), lambda n: list(files.values())[n])
    own_data.write(own_data.check(upload), upload, place / "data", "photos", {"size": 32})
    trial = datasets.Trial("photos", "custom", "two", (0, 1), (2,))
    own_data.save_trial(trial, datasets.row_of("photos", place / "data"), place / "data")
    given = recipe.compose("quick", {"alpha": 5.0}, dataset="photos", family="custom", trial="two", known=(0, 1),
                           unknown=(2,), backbone="small", epochs=2, batch=16)  # fmt: skip
    return place, loop.train(given, place / "runs", place / "data", device="cpu")


@pytest.mark.long
@pytest.mark.parametrize("shape", [(48, 64), (400, 300), (33, 33), (20, 31), (32, 32), (700, 900)])
def test_a_photo_goes_in_as_it_is_and_is_reduced_as_here(photos, tmp_path, shape):
    place, run = photos
    file, rng = tmp_path / "it.onnx", np.random.default_rng(1)
    said = to_onnx.export(run, threshold_of(run), file, place / "data", resize=True)["photos"]
    assert said["images"] > 0 and said["differ"] <= said["at_theta"] and "pixel by pixel" in said["otherwise"]
    session = onnxruntime.InferenceSession(file)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    photo = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
    prepared = images.converted(photo[None], run.row, "picture") if shape != (32, 32) else photo[None]
    score, gamma = session.run(["score", "gamma"], {"photo": photo[None]})
    (mine,) = threshold_of(run).judged(run, *evaluate.load(run, "cpu").outputs(prepared))
    assert score[0] == pytest.approx(mine["score"], abs=0.05) and gamma.shape == (1, 2)
    both = session.run(["score"], {"photo": np.stack([photo, photo[::-1]])})[0]
    assert both[0] == pytest.approx(score[0], rel=1e-4)
    decider = deciders.OfOnnx(file)  # which prepares pictures itself
    assert decider.says(decider.looks(prepared))[0]["score"] == pytest.approx(mine["score"], rel=1e-3, abs=1e-4)


@pytest.mark.long
def test_what_is_drawn_on_a_picture_is_looked_for_by_no_graph(run, place, tmp_path):
    with pytest.raises(ValueError, match="without --resize"):
        to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data", resize=True)


@pytest.mark.long
def test_a_graph_that_reduces_photos_otherwise_is_not_written(photos, tmp_path, monkeypatch):
    here = to_onnx.converted
    monkeypatch.setattr(to_onnx, "converted", lambda *said: np.roll(here(*said), 1, 2))
    place, run = photos
    with pytest.raises(ValueError, match="grey levels"):
        to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data", resize=True)
    assert not (tmp_path / "it.onnx").exists()


@pytest.mark.long
def test_a_score_that_is_no_number_is_unknown(run, place, tmp_path, capsys):
    to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data")
    model = onnx.load(tmp_path / "it.onnx")
    for weight in model.graph.initializer:
        if weight.name.endswith("classify.bias"):
            weight.CopyFrom(numpy_helper.from_array(np.full(6, np.nan, np.float32), weight.name))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    score, unknown = session.run(["score", "unknown"], {"image": pixels_of(run, 3)})
    assert np.isnan(score).all() and unknown.all()
    (tmp_path / "nan.onnx").write_bytes(model.SerializeToString())
    Image.fromarray(pixels_of(run, 1)[0, ..., 0]).save(tmp_path / "a.png")
    words = ["score", "--onnx", str(tmp_path / "nan.onnx"), str(tmp_path / "a.png"), "--keep"]
    for out in ("", "o.csv", "o.jsonl", "o.parquet"):
        for _ in range(2):  # it goes on with its output
            more = ["--out", str(tmp_path / out)] if out else []
            assert main([*words, *more, "--runs", str(tmp_path / "runs")]) == 0
        assert "unknown (nearest" in capsys.readouterr().out or out
    assert watch.read(tmp_path / "runs", run.id) is None


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of what makes it none
def test_a_file_of_which_no_decision_can_be_compared_is_not_written(run, place, tmp_path, monkeypatch):
    cold = judge.threshold_of(run, "msp", {"temperature": 1e-310}, 0.5)
    with pytest.raises(ValueError, match="are no numbers"):
        to_onnx.export(run, cold, tmp_path / "it.onnx", place / "data")
    pixels = pixels_of(run, 1)
    (only,) = threshold_of(run).judged(run, *evaluate.load(run, "cpu").outputs(pixels))
    monkeypatch.setattr(to_onnx, "_to_check", lambda *_: (pixels, "one image"))
    with pytest.raises(ValueError, match=r"all 1 images .* lie at θ itself"):
        to_onnx.export(run, threshold_of(run, theta=only["score"]), tmp_path / "it.onnx", place / "data")
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_where_the_images_are_not_here_it_is_checked_on_noise_and_says_so(place, run, tmp_path, monkeypatch):
    def gone(*_):
        raise FileNotFoundError

    monkeypatch.setattr(evaluate, "images_of", gone)
    assert "noise" in to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data")["of"]


@pytest.mark.long
def test_a_file_that_decides_otherwise_is_not_written(place, run, tmp_path, monkeypatch):
    monkeypatch.setattr(to_onnx, "_slack", lambda *_: 1e-3)
    right = to_onnx._decide
    monkeypatch.setattr(to_onnx, "_decide", lambda model, thetas: right(model, thetas - 1e9))
    with pytest.raises(ValueError, match="decides otherwise about"):
        to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data")
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_where_torch_cannot_export_the_error_says_what_it_rests_on(place, run, tmp_path, monkeypatch):
    def lacks(z, options):
        raise RuntimeError("\x1b[96mno such operator\x1b[0m here\nand much more")

    monkeypatch.setitem(formulas.FORMULAS, "msp", lacks)
    with pytest.raises(ValueError, match=r"cannot be exported: RuntimeError: no such operator here$"):
        to_onnx.export(run, threshold_of(run, "msp"), tmp_path / "it.onnx", place / "data")


@pytest.mark.long
def test_what_no_file_can_say_is_refused(place, run, tmp_path, capsys):
    with pytest.raises(ValueError, match="needs a gradient"):
        to_onnx.export(run, threshold_of(run, theta=1.0, magnitude=0.01), tmp_path / "it.onnx", place / "data")
    where = ["--runs", str(place / "runs"), "--data", str(place / "none")]
    assert main(["export", run.id, "--onnx", str(tmp_path / "it.onnx"), "--magnitude", "0.01", *where]) == 1
    assert "needs a gradient" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"No file holds the score knn: .* gamma, .* gen, margin") as refused:
        to_onnx.export(run, threshold_of(run, "knn"), tmp_path / "it.onnx", place / "data")
    assert "placeholder" not in str(refused.value)  # which no run by this method has
    with pytest.raises(ValueError, match=r"must end in .onnx"):
        to_onnx.export(run, threshold_of(run), tmp_path / "it.bin", place / "data")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no network", b"\x08\x0a" * 100])
def test_a_file_that_is_none_of_ours_is_refused(tmp_path, content):
    (tmp_path / "it.onnx").write_bytes(content)
    with pytest.raises(ValueError, match="exported by Anchorscope"):
        deciders.OfOnnx(tmp_path / "it.onnx")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no such file.*it\.onnx"):
        deciders.OfOnnx(tmp_path / "it.onnx")


@pytest.mark.long
def test_score_takes_the_file_in_the_place_of_a_run_without_torch(place, run, tmp_path, capsys):
    where = ["--runs", str(place / "runs"), "--data", str(place / "data")]
    (tmp_path / "pictures").mkdir()
    for n, array in enumerate(pixels_of(run, 20)):
        Image.fromarray(array[..., 0]).save(tmp_path / "pictures" / f"{n}.png")
    assert main(["export", run.id, "--onnx", str(tmp_path / "it.onnx"), "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == run.id
    assert main(["score", run.id, str(tmp_path / "pictures"), "--out", str(tmp_path / "a.jsonl"), "--json",
                 "--device", "cpu", *where]) == 0  # fmt: skip
    words = ["score", "--onnx", str(tmp_path / "it.onnx"), str(tmp_path / "pictures"), "--out"]
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['torchvision'] = None\n"
        "from cac_core.__main__ import main\n"
        f"sys.exit(main({[*words, str(tmp_path / 'b.jsonl')]!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, two = ([json.loads(line) for line in (tmp_path / f"{n}.jsonl").read_text().splitlines()] for n in "ab")
    assert [(a["path"], a["decision"], a["label"]) for a in one] == [
        (b["path"], b["decision"], b["label"]) for b in two
    ]
    assert main([*words, str(tmp_path / "c.jsonl"), "--scorer", "msp"]) == 1
    assert "leave out" in capsys.readouterr().err


@pytest.mark.long
def test_what_goes_with_the_file_judges_pictures_as_it_is_done_here(place, run, tmp_path):
    to_onnx.export(run, threshold_of(run), tmp_path / "it.onnx", place / "data")
    drawing = np.full((90, 120), 250, np.uint8)
    drawing[20:70, 40:50] = 10
    Image.fromarray(drawing).save(tmp_path / "drawn.png")
    Image.fromarray(pixels_of(run, 1)[0, ..., 0]).save(tmp_path / "seen.png")
    pictures = ["drawn.png", "seen.png"]
    done = subprocess.run([sys.executable, "it.prepare.py", *pictures], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    decider = deciders.OfOnnx(tmp_path / "it.onnx")
    pixels = np.stack([images.seen(tmp_path / one, decider.row, decider.way)[0] for one in pictures])
    said = decider.says(decider.looks(pixels))
    assert done.stdout.splitlines() == [
        f"{picture} {one['decision']} score {one['score']:.4g}" for picture, one in zip(pictures, said, strict=True)
    ]
