"""The command line as people type it, in processes of its own."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from cac_core import runs
from cac_core.__main__ import main
from cac_core.data import datasets, images
from cac_core.results import evaluate, judge
from cac_core.scoring.scorers import judge_of

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def cac(*arguments, check=True):
    done = subprocess.run(
        [sys.executable, "-m", "cac_core", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    return {"store": folder / "runs", "data": folder / "data", "folder": folder}


@pytest.fixture(scope="module")
def where(place):
    return ["--runs", place["store"], "--data", place["data"]]


@pytest.fixture(scope="module")
def trained(where, place):
    line = "train --dataset digits --trial 0 --method cac --backbone small --epochs 3 --seed 0 --json"
    result = json.loads(cac(*line.split(), *where).stdout)
    assert result["state"] == "finished" and result["epochs"] == 3
    return runs.Run(Path(result["path"]))


def image_of(run, place, known: bool) -> Path:
    """A test image as a file: the one that the run is surest of."""
    out = run.outputs("test")
    d = np.linalg.norm(out.logits - out.anchors[0], axis=1)
    i = np.where(out.labels == 0 if known else out.labels < 0, d if known else -d, np.inf).argmin()
    pixels = datasets.load("digits", place["data"])["test"].pixels[out.index[i]]
    file = place["folder"] / f"{'known' if known else 'unknown'}.png"
    Image.fromarray(pixels[..., 0]).save(file)
    return file


@pytest.mark.parametrize(
    ("command", "said"), [("", "usage"), ("train", "alpha"), ("eval", "usage"), ("predict", "usage")]
)
def test_help_comes_from_the_standard_library_alone(command, said):
    """So it comes at once."""
    listed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cac_core", *command.split(), "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0 and said in listed.stdout
    loaded = {line.split("|")[-1].strip().partition(".")[0] for line in listed.stderr.splitlines()}
    assert "cac_core" in loaded and not {"torch", "numpy", "streamlit", "PIL", "psutil", "filelock", "tqdm"} & loaded


def test_eval_gives_every_number(trained, where):
    result = json.loads(cac("eval", trained.id, *where, "--json").stdout)
    for name in ("accuracy", "auroc", "aupr_known", "aupr_unknown", "fpr_at_95_knowns_kept",
                 "fpr_at_95_unknowns_caught", "oscr"):  # fmt: skip
        assert 0 <= result[name] <= 1
    low, high = result["intervals"]["auroc"]
    assert low < result["auroc"] < high and result["theta"] > 0
    assert np.array(result["confusion"]).sum() == result["knowns"] + result["unknowns"]


def test_eval_of_trained_runs_needs_no_torch(trained, where):
    code = f"import sys; from cac_core.__main__ import main; main(['eval', {str(trained.path)!r}]); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.fixture
def copy(trained, tmp_path):
    return runs.Run(shutil.copytree(trained.path, tmp_path / trained.id))


@pytest.mark.parametrize("weights", [True, False])
def test_a_damaged_report_is_written_again_by_the_command_that_it_names(trained, copy, place, capsys, weights):
    """Whole where there is a network; else of what was put out."""
    file, data = copy.path / "report.json", ["--data", str(place["data"])]
    file.write_bytes(file.read_bytes()[:500])
    if not weights:
        (copy.path / "best.safetensors").unlink()
    assert main(["eval", str(copy.path), *data]) == 1
    assert "--again" in capsys.readouterr().err
    assert main(["eval", str(copy.path), "--again", "--device", "cpu", *data]) == 0
    assert copy.report()["default"] == trained.report()["default"]
    assert copy.report()["scorers"].keys() == trained.report()["scorers"].keys()
    assert main(["eval", str(copy.path), *data]) == 0


@pytest.mark.parametrize("line", [["eval"], ["train", "--device", "cpu", "--resume"]])
@pytest.mark.parametrize("images", [True, False])
def test_a_missing_report_is_written(trained, copy, place, tmp_path, capsys, line, images):
    (copy.path / "report.json").unlink()
    data = place["data"] if images else tmp_path / "nothing"
    assert main([*line, str(copy.path), "--data", str(data), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.get("report", said)["auroc"] == pytest.approx(trained.report()["scorers"]["gamma"]["auroc"], abs=1e-3)
    assert copy.report()["default"] == "gamma"


@pytest.mark.parametrize(("field", "name"), [("method", "futuremethod"), ("backbone", "futurenet")])
@pytest.mark.parametrize("line", ["predict RUN IMAGE", "eval RUN --again", "sweep RUN --magnitudes 0.001",
                                  "export RUN --onnx FILE", "train --resume RUN"])  # fmt: skip
def test_a_run_of_a_newer_version_says_so(trained, copy, place, tmp_path, capsys, field, name, line):
    record = copy.record
    record["recipe"][field] = name
    runs.write_json(copy.path / "recipe.json", record)
    weights = load_file(copy.path / "best.safetensors")
    save_file(weights, copy.path / "best.safetensors", evaluate.weights_metadata(copy.recipe, copy.trial, 1))
    stand_for = {"RUN": copy.path, "IMAGE": image_of(trained, place, True), "FILE": tmp_path / "x.onnx"}
    words = [str(stand_for.get(word, word)) for word in line.split()]
    assert main([*words, "--data", str(place["data"]), "--json"]) == 1
    assert f"This version knows no {field} {name!r}" in json.loads(capsys.readouterr().out)["error"]
    assert copy.state == "finished"


def test_eval_takes_scorers_options_and_theta(trained, where):
    means, anchors, given, distance = (
        json.loads(cac("eval", trained.path, *where, "--json", *more).stdout)
        for more in ([], ["--centres", "anchors"], ["--theta", "1.5"], ["--scorer", "distance", "--centres", "anchors"])
    )
    assert means["auroc"] != anchors["auroc"] and given["theta"] == 1.5 and distance["scorer"] == "distance"
    assert given["auroc"] == means["auroc"] and given["at_theta"] != means["at_theta"]


def test_a_theta_that_is_right_at_the_boundary_rejects_only_above(trained, where):
    scores = json.loads(cac("eval", trained.id, *where, "--json").stdout)
    again = json.loads(cac("eval", trained.id, *where, "--json", "--theta", repr(scores["theta"])).stdout)
    assert again["at_theta"] == scores["at_theta"]


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_eval_of_few_or_no_unknowns_says_what_there_is(make_run, capsys, unknown):
    """An interval needs two images on either side; where there is none, the number stands alone."""
    run = make_run(unknown=unknown)
    assert main(["eval", str(run.path)]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["accuracy"].startswith("0.") and "95 % interval" in lines["accuracy"]
    assert (lines["auroc"] == "-") == (unknown == 0)
    assert ("95 % interval" in lines["auroc"]) == (unknown > 1)
    assert lines["unknowns_caught"].startswith("-" if not unknown else ("0.", "1."))
    assert main(["eval", str(run.path), "--json"]) == 0
    assert (json.loads(capsys.readouterr().out)["intervals"]["auroc"] == [None, None]) == (unknown < 2)


def test_training_without_an_unknown_ends_well(where, place):
    trial = place["folder"] / "closed.json"
    trial.write_text(json.dumps({"Known": [0, 1], "Unknown": []}))
    done = cac("train", "--dataset", "digits", "--trial", trial, "--epochs", "1", *where, check=False)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout and "accuracy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--scorer", "gama"],
            "no scorer 'gama'; there are: gamma, distance, msp, max_logit, energy, knn, mahalanobis, cosine",
        ),
        (["--centres", "middle"], "no kind of centres 'middle'; there are: means, anchors"),
        (["--scorer", "msp", "--centres", "means"], "msp has no option centres; it takes temperature"),
        (["--temperature", "0"], "temperature must be a positive number"),
        (["--temperature", "-1"], "temperature must be a positive number"),
        (["--theta", "nan"], "theta must be a finite number"),
        (["--family", "cac-2020"], "cannot be evaluated on"),
        (["--trial", "1"], "cannot be evaluated on"),
        (["stray"], "'stray' was not expected here"),
    ],
)
def test_eval_says_what_is_wrong(trained, where, arguments, said):
    done = cac("eval", trained.id, *where, *arguments, check=False)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--dataset nothing", "There is no data set 'nothing'; there are: digits, MNIST"),
        ("--dataset MNIST", "python -m cac_core fetch MNIST"),
        ("--method cack", "no method 'cack'; there are: cac, cross_entropy"),
        ("--backbone big", "no backbone 'big'; there are: small, plain, fast, efficientnet-b0"),
        ("--family mine", "no family 'mine'; there are: osrci, cac-2020, custom"),
        ("--trial 9", "digits has trials 0 to 4"),
        ("--trial gone.json", "no trial file gone.json"),
        ("--alpha 0", "alpha must be a positive number"),
        ("--alpha -3", "alpha must be a positive number"),
        ("--lam -0.1", "lam must be a number of at least 0"),
        ("--alpha ten", "alpha must be a number, not 'ten'"),
        ("--colour red", "has no option colour; it takes alpha, lam, dropout"),
        ("--method cross_entropy --alpha 3", "has no option alpha"),
        ("--epochs 0", "epochs must be a whole number of at least 1"),
        ("--lr 0", "lr must be a positive number"),
        ("--precision float64", "no precision 'float64'"),
        ("--preset swift", "no preset 'swift'; there are: quick, standard, fast, paper"),
        ("--device tpu", "no device 'tpu'"),
    ],
)
def test_train_says_what_is_wrong_and_leaves_nothing(tmp_path, arguments, said):
    done = cac("train", "--runs", tmp_path / "r", "--data", tmp_path / "d", *arguments.split(), check=False)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists() or not list((tmp_path / "r").iterdir())


def test_predict_judges_images_and_passes_over_broken_ones(trained, where, place):
    (place["folder"] / "broken.png").write_bytes(b"no image")
    files = [image_of(trained, place, True), place["folder"] / "broken.png", image_of(trained, place, False),
             place["folder"] / "gone.png"]  # fmt: skip
    done = cac("predict", trained.id, *files, *where, "--json", check=False)
    assert done.returncode == 1 and done.stderr == ""  # some were refused
    known, broken, unknown, gone = json.loads(done.stdout)["images"]
    assert known["decision"] == known["label"] == "0" and known["score"] <= known["theta"]
    assert unknown["decision"] == "unknown" and unknown["score"] > unknown["theta"]
    assert "not an image" in broken["error"] and "no such file" in gone["error"]
    assert set(known["gamma"]) == set(known["distances"]) == {"0", "1", "2", "4", "5", "9"}
    assert min(known["gamma"].values()) == pytest.approx(known["score"])
    out = trained.outputs("test")
    i = datasets.load("digits", place["data"])["test"].classes[out.index] == 0
    means = out.logits[i].mean(0)  # about where the training images have theirs
    assert min(known["distances"], key=known["distances"].get) == "0" and np.linalg.norm(means) > 3


@pytest.mark.parametrize("theta", ["nan", "inf", "-inf"])
def test_predict_takes_no_theta_that_is_no_number(trained, where, place, theta):
    done = cac("predict", trained.id, image_of(trained, place, True), *where, f"--theta={theta}", check=False)
    assert done.returncode == 1 and f"theta must be a finite number, not {theta}" in done.stderr and not done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp932"])
@pytest.mark.parametrize("how", ["json", "lines"])
def test_no_verdict_is_lost_to_a_name_that_a_terminal_cannot_show(trained, where, place, encoding, how):
    names = ["plain.png", "猫é🐈.png", os.fsdecode(b"caf\xe9.png")]
    for name in names:
        shutil.copy(image_of(trained, place, True), place["folder"] / name)
    line = [sys.executable, "-m", "cac_core", "predict", trained.id, *names, *where, *["--json"] * (how == "json")]
    line = [str(part if part not in names else place["folder"] / part) for part in line]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, env=environment)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    text = done.stdout.decode(encoding)
    if how == "json":
        said = json.loads(text)["images"]
        assert [Path(one["image"]).name for one in said] == names and all("score" in one for one in said)
    else:
        assert len(text.splitlines()) == 3 and all("nearest" in one for one in text.splitlines())


def test_predict_refuses_what_is_no_file_and_judges_the_rest(trained, where, place, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    odd = [tmp_path / "pipe.png", tmp_path / "zero.png", "/dev/zero", tmp_path]
    done = cac("predict", trained.id, *odd, image_of(trained, place, True), *where, "--json", check=False)
    said = json.loads(done.stdout)["images"]
    assert done.returncode == 1 and said[-1]["decision"] == "0"
    assert ["folder" in one["error"] for one in said[:-1]] == [False, False, False, True]
    assert ["pipe or a device" in one["error"] for one in said[:-1]] == [True, True, True, False]


def test_a_zip_is_shown_first_and_written_when_it_is_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("cat", "dog"):
            for n in range(4):
                Image.new("RGB", (12, 12), (40 * n, 90, ord(name[0]))).save(tmp_path / "x.png")
                archive.write(tmp_path / "x.png", f"{name}/{name}{n}.png")
        archive.write(tmp_path / "x.png", "dog/again.png")
        Image.new("RGB", (12, 12), (9, 9, 9)).save(tmp_path / "x.png")
        archive.write(tmp_path / "x.png", "cat/both.png")
        archive.write(tmp_path / "x.png", "dog/both.png")
        archive.writestr("cat/x.tif", b"")
    line = ("import-images", tmp_path / "pets.zip", "pets", "--data", tmp_path / "data")
    said = cac(*line).stdout
    assert "nothing is written without --write" in said and not (tmp_path / "data").exists()
    assert "cat/x.tif: TIFF images are not read" in said
    assert "left out: dog/again.png: the same as dog/dog3.png" in said
    assert "left out: cat/both.png, dog/both.png: one image in several classes" in said
    made = json.loads(cac(*line, "--write", "--size", "16", "--grey", "--json").stdout)
    assert made["classes"] == {"": {"cat": 4, "dog": 4}} and Path(made["folder"]).is_dir()
    assert [group["kept"] for group in made["copies"]] == ["dog/dog3.png", None]
    row = datasets.row_of("pets", tmp_path / "data")
    assert (row.size, row.channels, row.classes) == (16, 1, ("cat", "dog"))
    done = cac(*line, "--write", check=False)
    assert done.returncode == 1 and "there already" in done.stderr
    done = cac("import-images", tmp_path / "none.zip", "pets", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr


def test_data_says_what_it_passes_over(tmp_path, image_folder):
    root = image_folder("pets", {"cat": 3, "dog": 3})
    (root / "pets/cat/x.tif").write_bytes(b"")
    pets = json.loads(cac("data", "--data", root, "--json").stdout)["datasets"][-1]
    assert pets["dataset"] == "pets" and "TIFF" in pets["passed_over"][0]
    assert pets["passed_over"][0] in cac("data", "--data", root).stdout


def test_predict_takes_theta_scorer_and_perturbation(trained, where, place):
    file = image_of(trained, place, True)
    open_wide, msp, odin = (
        json.loads(cac("predict", trained.id, file, *where, "--json", *more).stdout)["images"][0]
        for more in (["--theta", "-1"], ["--scorer", "msp"], ["--magnitude", "0.05"])
    )
    assert open_wide["decision"] == "unknown" and 0 <= msp["score"] <= 1 and odin["score"] >= 0
    done = cac("predict", trained.id, file, *where, "--magnitude", "-1", check=False)
    assert done.returncode == 1 and "magnitude of a perturbation" in done.stderr


def test_predict_says_that_a_threshold_is_of_a_run_that_is_no_good(trained, where, place, tmp_path):
    said = {"word": "weak", "why": "it catches 1 of 9"}
    file = tmp_path / "threshold.json"
    for given, words in ((said, "in a word: weak; it catches 1 of 9"), (said | {"word": "usable"}, ""), (None, "")):
        threshold = judge.Threshold(trained.id, "distance", {"centres": "anchors"}, -1.0, "by hand", quality=given)
        file.write_text(json.dumps(threshold.record(trained)))
        line = ("predict", trained.id, image_of(trained, place, True), *where, "--threshold", file)
        done = cac(*line)
        assert (words in done.stdout) if words else ("in a word" not in done.stdout)
        assert json.loads(cac(*line, "--json").stdout).get("quality") == given


def test_predict_goes_by_an_exported_threshold(trained, where, place, tmp_path):
    threshold = judge.Threshold(trained.id, "distance", {"centres": "anchors"}, -1.0, "rejects everything")
    (tmp_path / "threshold.json").write_text(json.dumps(threshold.record(trained)))
    by_file = (
        "predict",
        trained.id,
        image_of(trained, place, True),
        *where,
        "--json",
        "--threshold",
        str(tmp_path / "threshold.json"),
    )
    (said,) = json.loads(cac(*by_file).stdout)["images"]
    assert said["decision"] == "unknown" and said["theta"] == -1.0
    done = cac(*by_file, "--theta", "3", check=False)
    assert done.returncode == 1 and "--threshold says everything" in done.stderr


def test_a_small_copy_and_the_table(trained, where, tmp_path):
    made = json.loads(cac("share", trained.id, str(tmp_path / "copies"), *where, "--json").stdout)
    assert made["run"] == trained.id and made["bytes"] < 700_000
    rows = json.loads(cac("table", *where, "--json").stdout)["rows"]
    assert any(trained.id in row.get("runs", []) for row in rows) and any("published" in row for row in rows)


def test_the_sweep_as_published_says_that_it_leaks(trained, where):
    line = ("sweep", trained.id, *where, "--temperatures", "1", "--magnitudes", "0", "0.01", "--as-published")
    assert "LEAK" in cac(*line).stdout and "LEAK" in json.loads(cac(*line, "--json").stdout)["leak"]


def test_the_sweep_says_what_its_temperature_does_and_how_many_images_chose(trained, where):
    line = ("sweep", trained.id, *where, "--temperatures", "1", "10", "--magnitudes", "0", "0.01", "--most", "24")
    said, result = cac(*line).stdout, json.loads(cac(*line, "--json").stdout)
    assert "temperature inside gamma's softmin is another" in said and "chosen by 24 of " in said
    assert result["choice"]["images"] == 24 and set(result["scores"]) == {"gamma", "distance", "msp", "msp_at_1"}
    assert "as ODIN's paper has it" in result["scores"]["msp"]


def test_predict_takes_a_picture_for_what_is_said(trained, where, place):
    large = Image.new("L", (200, 150), 255)
    ImageDraw.Draw(large).ellipse((60, 20, 120, 130), outline=0, width=14)
    large.save(place["folder"] / "ring.png")
    line = ("predict", trained.id, place["folder"] / "ring.png", *where, "--json")
    drawing, same, picture = (
        json.loads(cac(*line, *more).stdout) for more in ((), ("--as", "drawing"), ("--as", "picture"))
    )
    assert drawing == same and (drawing["as"], picture["as"]) == ("drawing", "picture")
    (one,), (other,) = drawing["images"], picture["images"]
    assert one["label"] == "0" and one["notes"] == [images.DRAWN["digits"][1]] and "reduced" in " ".join(other["notes"])
    assert one["score"] < other["score"]
    threshold = judge.Threshold(trained.id, "gamma", {}, 1.0, "by hand", way="picture")
    (place["folder"] / "threshold.json").write_text(json.dumps(threshold.record(trained)))
    line = (*line, "--threshold", place["folder"] / "threshold.json")
    assert [json.loads(cac(*line, *more).stdout)["as"] for more in ((), ("--as", "drawing"))] == ["picture", "drawing"]


def test_predict_with_no_good_image_fails_and_says_why(trained, where, place):
    (place["folder"] / "text.png").write_text("hello")
    done = cac("predict", trained.id, place["folder"] / "text.png", *where, "--json", check=False)
    assert done.returncode == 1 and "not an image" in json.loads(done.stdout)["error"]


def test_runs_lists_broken_ones_too(trained, where, place):
    (place["store"] / "half-written").mkdir(exist_ok=True)
    begun = place["store"] / "begun"  # and what still reads its images
    runs.write_json(begun / "status.json", {"state": "starting", **runs.process_now()})
    result = json.loads(cac("runs", *where, "--json").stdout)
    by_id = {r["run"]: r for r in result["runs"]}
    assert by_id["begun"] == {"run": "begun", "state": "starting"} and "starting" in cac("runs", *where).stdout
    shutil.rmtree(begun)
    assert by_id[trained.id]["state"] == "finished" and by_id[trained.id]["auroc"] > 0.8
    assert by_id["half-written"]["state"] == "broken" and "recipe.json" in by_id["half-written"]["reason"]
    assert trained.id in cac("runs", *where).stdout


def test_no_runs_is_no_error(tmp_path):
    assert "python -m cac_core train" in cac("runs", "--runs", tmp_path).stdout


def test_unknown_run_lists_those_there_are(trained, where):
    done = cac("eval", "nothing", *where, check=False)
    assert done.returncode == 1 and trained.id in done.stderr


def test_progress_in_a_file_is_lines_and_stays_in_the_log(where, place):
    done = cac("train", "--epochs", 2, "--seed", 5, *where)
    assert "epoch 2/2" in done.stderr and "images/s" in done.stderr and "finished" in done.stdout
    path = next(place["store"].glob("*s5*"))
    assert "epoch 2/2" in (path / "log.txt").read_text()


def test_own_trial_from_a_file_and_going_on_by_the_run_itself(where, place):
    trial = place["folder"] / "mine.json"
    trial.write_text(json.dumps({"Known": ["7", 1, 0], "Unknown": [8, 9]}))
    line = ["train", "--dataset", "digits", "--trial", trial, "--epochs", 2, "--json", *where]
    result = json.loads(cac(*line).stdout)
    run = runs.Run(Path(result["path"]))
    assert run.trial.known == (0, 1, 7) and run.trial.unknown == (8, 9) and run.recipe.family == "custom"
    assert result["report"]["unknowns"] == sum(
        c in (8, 9) for c in datasets.load("digits", place["data"])["test"].classes
    )
    trial.unlink()  # the run remembers its classes
    assert json.loads(cac("train", "--resume", run.path, "--json", *where).stdout)["state"] == "finished"


def test_fetch_of_the_bundled_digits(where):
    assert json.loads(cac("fetch", "digits", "--json", *where).stdout)["images"] == {"train": 1438, "test": 359}


@pytest.fixture
def pets(where, place):
    """An image folder of the user's own under the data root: colour, 40 pixels, nothing that digits know."""
    random = np.random.default_rng(0)
    for cls in ("cat", "dog"):
        folder = place["data"] / "pets" / cls
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(10):
            Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")
    return "pets"


def test_another_data_set_stands_in_for_the_unknowns(trained, where, place, pets):
    own = json.loads(cac("eval", trained.id, *where, "--json").stdout)
    result = json.loads(cac("eval", trained.id, *where, "--json", "--unknown", pets).stdout)
    assert result["unknown"] == "pets" and own["unknown"] == "the trial's own"
    assert 2 <= result["unknowns"] <= 6  # about a fifth of the folder is its test part
    assert result["knowns"] == own["knowns"]
    assert result["accuracy"] == own["accuracy"] and result["theta"] == own["theta"]
    file = trained.path / "outputs" / "unknown-pets.npz"
    written = file.stat().st_mtime_ns
    again = json.loads(cac("eval", trained.id, *where, "--json", "--unknown", pets, "--scorer", "msp").stdout)
    assert again["scorer"] == "msp" and file.stat().st_mtime_ns == written
    files = [place["data"] / "pets" / cls / f"{i}.png" for cls in ("cat", "dog") for i in range(10)]
    said = json.loads(cac("predict", trained.id, *files, *where, "--json").stdout)["images"]
    scores = judge_of("gamma", trained.outputs("train"))(trained.outputs("unknown-pets")).score
    by_file = np.array([one["score"] for one in said])
    assert all(np.isclose(by_file, score, rtol=1e-3).any() for score in scores)  # the same pixels by either way


def test_outputs_of_older_pixels_are_written_again(trained, where, pets):
    cac("eval", trained.id, *where, "--unknown", pets)
    file = trained.path / "outputs" / "unknown-pets.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    before = {**arrays, "logits": arrays["logits"] + 1, "weights": np.array(str(arrays["weights"]).split()[0])}
    runs.write_npz(file, **before)
    cac("eval", trained.id, *where, "--unknown", pets)
    with np.load(file) as stored:
        np.testing.assert_allclose(stored["logits"], arrays["logits"], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digits", "was trained on digits"),
        ("nothing", "no data set 'nothing'"),
        ("SVHN", "SVHN holds 0, 1, 2, 4, 5, 9, which"),
        ("CIFAR100", "python -m cac_core fetch CIFAR100"),
    ],
)
def test_what_cannot_stand_in_for_the_unknowns_is_refused(trained, where, name, said):
    done = cac("eval", trained.id, *where, "--unknown", name, check=False)
    assert done.returncode == 1 and said in done.stderr


def test_classes_that_the_run_knows_are_not_unknown(trained, where, place):
    (place["data"] / "numbers" / "0").mkdir(parents=True)
    for i in range(5):
        Image.new("L", (16, 16), 40 * i).save(place["data"] / "numbers" / "0" / f"{i}.png")
    done = cac("eval", trained.id, *where, "--unknown", "numbers", check=False)
    assert done.returncode == 1 and "numbers holds 0, which" in done.stderr


def test_the_data_sets_are_listed_with_what_is_missing(where, pets):
    rows = {row["dataset"]: row for row in json.loads(cac("data", *where, "--json").stdout)["datasets"]}
    assert rows["digits"]["here"] and rows["digits"]["bytes"] > 10_000 and rows["pets"]["here"]
    assert not rows["CIFAR10"]["here"] and "fetch CIFAR10" in rows["CIFAR10"]["missing"]
    assert "fetch SVHN" in cac("data", *where).stdout


def test_the_help_names_every_scorer_and_option():
    from cac_core.scoring.scorers import SCORERS, scorer_options

    said = cac("eval", "--help").stdout
    assert all(name in said and all(option in said for option in scorer_options(name)) for name in SCORERS)


@pytest.mark.parametrize(
    "options", [["knn", "--k", "3"], ["mahalanobis"], ["openmax", "--tail", "5", "--metric", "eucos"]]
)
def test_scorers_on_features_and_tails(trained, where, options):
    result = json.loads(cac("eval", trained.id, *where, "--json", "--scorer", *options).stdout)
    assert result["auroc"] > 0.8


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_serve_says_which_ports_there_are(port, capsys):
    assert main(["serve", "run", "--port", port]) == 1
    assert "--port is 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("command", ["runs", "score", "eval"])
def test_where_nobody_reads_it_ends_quietly(trained, where, place, command, buffered):
    """As after `| head`."""
    more = {"runs": [], "score": [trained.id, image_of(trained, place, True), "--device", "cpu"], "eval": [trained.id]}
    words = [sys.executable, *([] if buffered else ["-u"]), "-m", "cac_core", command, *more[command], *where]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        list(map(str, words)), cwd=ROOT, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_training_goes_on_where_nobody_reads_how_it_goes(where, place):
    """As after `2>&1 | head`."""
    words = [sys.executable, "-m", "cac_core", "train", "--epochs", 2, "--seed", 6, "--device", "cpu", *where]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(list(map(str, words)), cwd=ROOT, stdout=subprocess.PIPE, stderr=writing, text=True)
    os.close(writing)
    assert done.returncode == 0 and "finished" in done.stdout
    assert runs.Run(next(place["store"].glob("*s6*"))).state == "finished"


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_nobody_thought_of_is_told_to_a_program_too(where, capsys, monkeypatch, more):
    def fail(*given):
        raise KeyError("x")

    monkeypatch.setattr(runs, "every", fail)
    with pytest.raises(KeyError):
        main(["runs", *map(str, where), *more])
    said = capsys.readouterr().out
    assert json.loads(said) == {"error": "KeyError: 'x'"} if more else not said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_where_nothing_can_be_written_it_says_so(where, json_too):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cac_core", "data", *map(str, where), *json_too], cwd=ROOT, stdout=full,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "No space left" in done.stderr
