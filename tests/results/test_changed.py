"""Data sets that change under a run: nothing that is kept is taken for what it is not, and what mends it is said."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from cac_core import runs
from cac_core.data import datasets
from cac_core.exchange import shelf
from cac_core.recipe import compose
from cac_core.results import evaluate, judge, sweep
from cac_core.runs import Run
from cac_core.training import loop

pytestmark = pytest.mark.long

AXES = {"temperatures": (1.0,), "magnitudes": (0.0, 0.01)}
GIVEN = {
    "dataset": "pets", "family": "custom", "trial": "t", "known": (0, 1), "unknown": (2,), "epochs": 1,
    "backbone": "small", "batch": 16, "size": 12,
}  # fmt: skip


def filled(root, name: str, counts: dict[str, int], seed: int = 0):
    """An image folder with so many noise images of each class, a fifth of them for testing; what was there goes."""
    rng = np.random.default_rng(seed)
    shutil.rmtree(root / name, ignore_errors=True)
    for c, (cls, count) in enumerate(counts.items()):
        for part in ("train", "test"):
            (root / name / part / cls).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(80 * c + rng.integers(0, 60, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / ("train" if i % 5 else "test") / cls / f"{i:03}.png")


def pets(root, each: int = 10, seed: int = 0):
    filled(root, "pets", dict.fromkeys(("cat", "dog", "eel"), each), seed)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("changed")
    pets(place / "data")
    run = loop.train(compose(**GIVEN), place / "runs", place / "data", device="cpu")
    evaluate.evaluate(run, place / "data", device="cpu")
    return run, place / "data"


@pytest.fixture
def run(made, store):
    shutil.copytree(made[0].path, store / made[0].id)
    return Run(store / made[0].id)


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made[1] / "pets", tmp_path / "data" / "pets")
    return tmp_path / "data"


def forget(run: Run, split: str):
    """Outputs as an older version left them, which do not say what they are of."""
    file = run.path / "outputs" / f"{split}.npz"
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files if name not in ("images", "dataset")}
    runs.write_npz(file, **arrays)


# --- the run's own images --------------------------------------------------------------------------------------------


def test_outputs_and_sweep_say_which_images_they_are_of(run, root):
    own = run.record["data"]
    assert own == datasets.digest(datasets.load("pets", root, 12))
    assert run.record["images"] == {"train": 24, "test": 6}
    assert [run.made_of(split) for split in runs.SPLITS] == [own] * 3
    sweep.sweep(run, root, **AXES, device="cpu")
    assert runs.said_in(run.path / "sweep.npz", "images") == own


def test_evaluation_of_changed_images_says_how_many_there_were(run, root):
    pets(root, each=50)
    with pytest.raises(ValueError, match=r"24 training and 6 test images.*120 training and 30 test(?s:.*)--again"):
        evaluate.evaluate(run, root, device="cpu", again=True)


def test_outputs_of_other_images_than_the_record_are_written_again(run, root):
    before = run.outputs("test").logits
    pets(root, seed=1)
    now = datasets.digest(datasets.load("pets", root, 12))
    runs.write_json(run.path / "recipe.json", run.record | {"data": now})
    with pytest.raises(ValueError, match=r"(?s)outputs of .* are of other images.*eval .* --again"):
        sweep.sweep(run, root, **AXES, device="cpu")  # else new pixels go with old centres
    assert not (run.path / "sweep.npz").exists()
    evaluate.evaluate(run, root, device="cpu")
    assert not np.array_equal(run.outputs("test").logits, before)
    assert {run.made_of(split) for split in runs.SPLITS} == {now}
    sweep.sweep(run, root, **AXES, device="cpu")


@pytest.mark.parametrize("each", [10, 20])
def test_a_sweep_of_other_images_than_the_outputs_is_not_shown(run, root, each):
    sweep.sweep(run, root, **AXES, device="cpu")
    old = json.loads((run.path / "sweep.json").read_text())
    pets(root, each=each, seed=1)
    now = datasets.digest(datasets.load("pets", root, 12))
    runs.write_json(run.path / "recipe.json", run.record | {"data": now})
    evaluate.evaluate(run, root, device="cpu")
    assert sweep.held(run) == ([], []) and sweep.cube(run, 1.0) is None
    with pytest.raises(FileNotFoundError, match=r"other images(?s:.*)\n    python -m cac_core sweep"):
        sweep.report(run)
    new = sweep.sweep(run, root, **AXES, device="cpu")
    assert new["cells"] != old["cells"] and sweep.held(run) == ([1.0], [0.0, 0.01])


def test_a_sweep_that_says_nothing_does_not_fit_another_number_of_images(run, root):
    """An older version's, and outputs of more images: an IndexError once."""
    sweep.sweep(run, root, **AXES, device="cpu")
    with np.load(run.path / "sweep.npz") as stored:
        old = {name: stored[name] for name in stored.files if name not in ("images", "weights")}
    runs.write_npz(run.path / "sweep.npz", **old)
    assert sweep.of_outputs(run) and sweep.report(run)  # not known: nothing speaks against it
    pets(root, each=20)
    now = datasets.digest(datasets.load("pets", root, 12))
    runs.write_json(run.path / "recipe.json", run.record | {"data": now})
    evaluate.evaluate(run, root, device="cpu")
    with pytest.raises(FileNotFoundError, match="other images"):
        sweep.report(run)


def test_a_run_that_says_nothing_of_its_images_works_as_before(run, root):
    for split in runs.SPLITS:
        forget(run, split)
    record = run.record
    for name in ("data", "images"):
        del record[name]
    runs.write_json(run.path / "recipe.json", record)
    written = run.written
    evaluate.evaluate(run, root, device="cpu")
    assert run.written == written and run.made_of("test") == ""
    assert sweep.sweep(run, root, **AXES, device="cpu")["cells"]
    assert loop.train(compose(**GIVEN), run.path.parent, root, device="cpu").state == "finished"


# --- other data sets as unknowns -------------------------------------------------------------------------------------


def unknown(run: Run, name: str, root, **how) -> int:
    evaluate.evaluate_unknown(run, name, root, device="cpu", **how)
    return judge.report(run, unknown=name)["unknowns"]


def test_an_unknown_set_that_has_grown_is_evaluated_anew(run, root):
    filled(root, "trees", {"oak": 10, "elm": 10})
    assert unknown(run, "trees", root) == 4
    file = run.path / "outputs" / "unknown-trees.npz"
    written = file.stat().st_mtime_ns
    assert unknown(run, "trees", root) == 4 and file.stat().st_mtime_ns == written
    filled(root, "trees", {"oak": 50, "elm": 50})
    assert unknown(run, "trees", root) == 20
    before = run.outputs("unknown-trees").logits
    filled(root, "trees", {"oak": 50, "elm": 50}, seed=5)  # as many others
    assert unknown(run, "trees", root) == 20
    assert not np.array_equal(run.outputs("unknown-trees").logits, before)


def test_outputs_on_unknowns_are_written_anew_when_asked(run, root):
    filled(root, "trees", {"oak": 10})
    unknown(run, "trees", root)
    file = run.path / "outputs" / "unknown-trees.npz"
    written = file.stat().st_mtime_ns
    unknown(run, "trees", root, again=True)
    assert file.stat().st_mtime_ns != written


def test_outputs_on_unknowns_hold_where_the_images_are_no_more(run, root):
    filled(root, "trees", {"oak": 10})
    unknown(run, "trees", root)
    shutil.rmtree(root / "trees")
    assert unknown(run, "trees", root) == 2
    with pytest.raises(ValueError, match="no data set 'trees'"):
        unknown(run, "trees", root, again=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [("猫の写真", "犬の写真"), ("tex-a", "tex_a"), ("a b", "a  b"), ("a" * 60, "a" * 61), ("été", "ete")],
)
def test_two_unknown_sets_never_share_a_file(run, root, one, other):
    filled(root, one, {"oak": 10})
    filled(root, other, {"elm": 20}, seed=3)
    assert (unknown(run, one, root), unknown(run, other, root)) == (2, 4)
    assert judge.report(run, unknown=one)["unknowns"] == 2
    assert runs.unknown_split(one) != runs.unknown_split(other)


def test_the_name_of_outputs_on_unknowns_fits_any_disk_and_tells_coded_letters_alike():
    assert runs.unknown_split("trees") == "unknown-trees" != runs.unknown_split("Trees")
    assert runs.unknown_split("caf\u00e9") == runs.unknown_split("cafe\u0301")
    for name in ("ä" * 200, "x" * 255, "CIFAR100", "a b", "..", "tex-a--12345678"):
        split = runs.unknown_split(name)
        assert len(split) < 80 and shelf.FILES.fullmatch(f"outputs/{split}.npz"), split


def test_old_outputs_under_an_old_name_are_found_and_renewed(run, root):
    filled(root, "My Trees", {"oak": 10})
    outputs = run.path / "outputs"
    unknown(run, "My Trees", root)
    new = outputs / f"{runs.unknown_split('My Trees')}.npz"
    new.rename(outputs / "unknown-my-trees.npz")
    forget(run, "unknown-my-trees")
    assert judge.report(run, unknown="My Trees")["unknowns"] == 2
    folder = (root / "My Trees").rename(root / "away")
    assert unknown(run, "My Trees", root) == 2 and not new.exists()  # there is nothing to write them again from
    folder.rename(root / "My Trees")
    assert unknown(run, "My Trees", root) == 2 and new.exists() and not (outputs / "unknown-my-trees.npz").exists()


def test_old_outputs_of_nobody_knows_which_set_are_left_alone(run, root):
    filled(root, "tex_a", {"oak": 10})
    filled(root, "tex-a", {"oak": 20})
    unknown(run, "tex-a", root)
    forget(run, "unknown-tex-a")
    unknown(run, "tex_a", root)
    assert (run.path / "outputs" / "unknown-tex-a.npz").exists()
    assert judge.report(run, unknown="tex_a")["unknowns"] == 2


def test_a_small_copy_without_features_takes_further_unknowns(run, root):
    filled(root, "trees", {"oak": 10})
    for split in runs.SPLITS:
        file = run.path / "outputs" / f"{split}.npz"
        with np.load(file) as stored:
            arrays = dict(stored)
        runs.write_npz(file, **arrays | {"features": arrays["features"][:, :0]})
    assert unknown(run, "trees", root) == 2


@pytest.mark.parametrize("cls", ["cat", "Cat", "cat ", " CAT", "ｃａｔ"])
def test_a_known_class_in_other_letters_is_known(run, root, cls):
    filled(root, "others", {cls: 5, "oak": 5})
    with pytest.raises(ValueError, match=r"others holds .*knows"):
        evaluate.evaluate_unknown(run, "others", root, device="cpu")
    assert not list((run.path / "outputs").glob("unknown-*"))


def test_classes_are_the_same_by_what_is_read_in_them():
    assert len({datasets.same_class(name) for name in ("Straße", "STRASSE", "strasse ")}) == 1
    assert datasets.same_class("İ") and datasets.same_class("caf\u00e9") == datasets.same_class("cafe\u0301")
    assert datasets.same_class("cat") != datasets.same_class("cats")
