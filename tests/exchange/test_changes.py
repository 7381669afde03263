"""Changes to an image folder: each can be taken back to the last byte, whatever interrupts it."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from cac_core.data import datasets
from cac_core.data.datasets import Trial
from cac_core.exchange import changes, own_data


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["", "train"])
def root(tmp_path, request):
    """Three classes, in one part or with train and test."""
    for part in ["train", "test"] if request.param else [""]:
        for n, cls in enumerate(("ant", "bee", "cat")):
            (tmp_path / "pets" / part / cls).mkdir(parents=True)
            for i in range(3):
                (tmp_path / "pets" / part / cls / f"{i}.png").write_bytes(picture(100 * len(part) + 10 * n + i))
    return tmp_path


def content(root):
    return {file.relative_to(root): file.read_bytes() for file in sorted((root / "pets").rglob("*")) if file.is_file()}


def counts(root):
    every = [photo.cls for photo in changes.photos(root, "pets")]
    return {cls: every.count(cls) for cls in sorted(set(every))}


def paths(root, cls):
    return [photo.path for photo in changes.photos(root, "pets") if photo.cls == cls]


def test_images_move_and_come_back(root):
    before, marks = content(root), {photo.mark for photo in changes.photos(root, "pets")}
    some = paths(root, "ant")[:2]
    changes.move(root, "pets", some, "bee")  # where files of these names are
    assert counts(root)["bee"] == len(paths(root, "bee")) and sum(counts(root).values()) == len(before)
    assert counts(root)["ant"] == counts(root)["cat"] - 2 and counts(root)["bee"] == counts(root)["cat"] + 2
    assert {photo.mark for photo in changes.photos(root, "pets")} == marks
    assert changes.last(root, "pets") == "2 images moved to bee"
    moved = content(root)
    if (root / "pets" / "test").exists():
        with pytest.raises(ValueError, match="test/dog holds no image"):
            changes.move(root, "pets", paths(root, "cat")[:1], "dog")
        assert content(root) == moved
    else:
        changes.move(root, "pets", paths(root, "cat")[:1], "dog")
        assert counts(root)["dog"] == 1
        changes.undo(root, "pets")
    changes.undo(root, "pets")
    assert content(root) == before and changes.last(root, "pets") == ""
    changes.undo(root, "pets")  # nothing is left to take back
    assert content(root) == before


def test_a_class_of_which_all_are_left_out_is_gone_until_it_comes_back(root):
    before = content(root)
    (root / "pets" / next(iter(paths(root, "bee")))).with_name("Thumbs.db").write_bytes(b"left behind")
    with_it = content(root)
    changes.leave_out(root, "pets", paths(root, "bee"))
    assert list(counts(root)) == ["ant", "cat"] == list(datasets.row_of("pets", root).classes)
    assert datasets.folders(root) == ["pets"]
    changes.undo(root, "pets")
    assert content(root) == with_it != before


def test_a_class_that_is_renamed_has_its_new_name_in_the_trials_too(root):
    before, row = content(root), datasets.row_of("pets", root)
    own_data.save_trial(Trial("pets", "custom", "pets", (0, 1), (2,)), row, root)
    changes.rename(root, "pets", "bee", "zebra")
    row = datasets.row_of("pets", root)
    assert row.classes == ("ant", "cat", "zebra")
    kept = own_data.trials(root, "pets", row)["pets"]
    assert (kept.known, kept.unknown) == ((0, 2), (1,))
    changes.undo(root, "pets")
    row = datasets.row_of("pets", root)
    kept = own_data.trials(root, "pets", row)["pets"]
    assert content(root) == before and (kept.known, kept.unknown) == ((0, 1), (2,))
    own_data.never_learn(root, "pets", ["bee"])
    changes.rename(root, "pets", "bee", "zebra")
    assert datasets.said_never("pets", root) == ("zebra",)
    changes.undo(root, "pets")
    assert datasets.said_never("pets", root) == ("bee",)
    (root / "pets/dataset.json").unlink()
    changes.rename(root, "pets", "bee", "ant")  # joins it
    assert list(counts(root)) == ["ant", "cat"] and counts(root)["ant"] == 2 * counts(root)["cat"]
    changes.undo(root, "pets")
    assert content(root) == before


def test_images_are_added_once_and_taken_back(root):
    before = content(root)
    (one,) = [data for file, data in before.items() if file.parts[-2:] == ("bee", "1.png") and "test" not in file.parts]
    fresh = [(".png", picture(900)), (".png", picture(901)), (".png", picture(900)), (".png", one)]
    assert changes.add(root, "pets", "dog", fresh) == changes.Added(2, 1, {"bee": 1})
    assert counts(root)["dog"] == 2 and changes.last(root, "pets") == "2 images added to dog"
    changes.undo(root, "pets")
    assert content(root) == before
    assert changes.add(root, "pets", "bee", fresh) == changes.Added(2, 2, {})
    assert changes.add(root, "pets", "dog", fresh) == changes.Added(0, 0, {"bee": 4})
    assert len(changes.photos(root, "pets")) == len(before) + 2
    assert changes.last(root, "pets") == "2 images added to bee"  # what changed nothing is no change
    assert changes.add(root, "pets", "dog", []) == changes.Added(0, 0, {})


def test_what_is_added_to_a_data_set_that_is_gone_or_has_changed_meanwhile(root):
    changes.rename(root, "pets", "bee", "wasp")  # in another tab
    assert changes.add(root, "pets", "bee", [(".png", picture(900 + n)) for n in range(2)]).count == 2
    with pytest.raises(ValueError, match="one folder"):
        changes.add(root, "pets", "Wasp", [(".png", picture(910))])
    shutil.rmtree(root / "pets")
    with pytest.raises(ValueError, match="no image folder"):
        changes.add(root, "pets", "ant", [(".png", picture(911))])
    assert not (root / "pets").exists()


def test_a_new_class_beside_train_and_test_has_both(root):
    if (root / "pets" / "test").exists():
        before = content(root)
        with pytest.raises(ValueError, match="two images"):
            changes.add(root, "pets", "dog", [(".png", picture(900))])
        assert content(root) == before
    changes.add(root, "pets", "dog", [(".png", picture(900 + n)) for n in range(7)])
    parts = datasets.load("pets", root)
    dog = datasets.row_of("pets", root).classes.index("dog")
    assert all((some.classes == dog).any() for some in parts.values())


@pytest.mark.parametrize("after", range(4))
def test_a_change_that_was_interrupted_is_taken_back_by_whoever_comes_next(root, monkeypatch, after):
    before, count = content(root), 0

    class Killed(BaseException):
        pass

    real = os.rename

    def dies(source, goal):
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        real(source, goal)

    monkeypatch.setattr(changes.os, "rename", dies)
    with pytest.raises(Killed):
        changes.rename(root, "pets", "bee", "zebra")
    monkeypatch.setattr(changes.os, "rename", real)
    changes.mend(root) if after % 2 else changes.undo(root, "pets")
    assert content(root) == before
    changes.move(root, "pets", paths(root, "ant")[:1], "bee")
    changes.undo(root, "pets")
    assert content(root) == before


def test_what_cannot_be_is_refused_and_changes_nothing(root, monkeypatch):
    before = content(root)
    for wrong in ("../x", "a/b", "CON", "", "Bee"):
        with pytest.raises(ValueError):
            changes.move(root, "pets", paths(root, "ant")[:1], wrong)
    with pytest.raises(ValueError, match="any more"):
        changes.move(root, "pets", ["ant/nine.png"], "bee")
    with pytest.raises(ValueError, match="any more"):
        changes.leave_out(root, "pets", ["../trials/x.json"])
    with pytest.raises(ValueError, match="no image folder"):
        changes.leave_out(root, "../pets", ["ant/0.png"])
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    for work in (
        lambda: changes.move(root, "pets", paths(root, "ant")[:1], "bee"),
        lambda: changes.leave_out(root, "pets", paths(root, "ant")[:1]),
        lambda: changes.rename(root, "pets", "ant", "wasp"),
        lambda: changes.add(root, "pets", "ant", [(".png", picture(5))]),
        lambda: changes.undo(root, "pets"),
    ):
        with pytest.raises(ValueError, match="change nothing"):
            work()
    assert content(root) == before


@pytest.mark.parametrize("moves", [[["pets/ant/0.png", "../x"]], [["etc", "pets/a"]], [["/etc", "pets/a"]], [["a"]], 5])
def test_a_journal_of_somebody_else_moves_nothing_elsewhere(root, moves):
    before, file = content(root), root / changes.FOLDER / "pets" / "changes.json"
    file.parent.mkdir(parents=True)
    change = {"phrase": "x", "values": {}, "moves": moves, "trials": [], "begun": True}
    file.write_text(json.dumps([change]), "utf-8")
    for work in (lambda: changes.undo(root, "pets"), lambda: changes.mend(root), lambda: changes.last(root, "pets")):
        with pytest.raises(ValueError, match=r"changes\.json"):
            work()
    assert content(root) == before
