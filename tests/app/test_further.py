"""Further unknown sets on the pages: each by its own name, and with its own pictures or none."""

import shutil

import numpy as np
import pytest

from app import feeds, thumbnails
from cac_core import runs
from cac_core.data import datasets


@pytest.fixture
def run(make_run, toy_outputs, monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    made = make_run()
    record = made.record
    record["prepare"] |= {"size": 12, "channels": 3, "ink": False}
    runs.write_json(made.path / "recipe.json", record)
    return made


@pytest.fixture
def put(run, toy_outputs):
    """put("trees", images="...", dataset="trees"): outputs on a set of four unknowns that say this of themselves."""

    def write(split: str, **about: str):
        out = toy_outputs(seed=7, known=0, unknown=4)
        held = {name: np.array(value) for name, value in (vars(out) | about).items() if value is not None}
        runs.write_npz(run.path / "outputs" / f"{split}.npz", **held)

    return write


def test_sets_are_called_what_they_say_or_else_what_their_slug_can_only_mean(run, put, image_folder):
    image_folder("My Trees", {"oak": 5})
    for name in ("猫の写真", "犬の写真", "tex-a", "tex_a"):
        put(runs.unknown_split(name), dataset=name)
    put("unknown-my-trees")  # an older version's
    assert sorted(feeds.further(run).values()) == sorted(["猫の写真", "犬の写真", "tex-a", "tex_a", "My Trees"])
    image_folder("my_trees", {"oak": 5})
    assert feeds.further(run)["unknown-my-trees"] == "my-trees"  # of the one or the other


def test_pictures_of_a_set_that_has_changed_are_not_shown(run, put, image_folder, tmp_path):
    root = image_folder("trees", {"oak": 10, "elm": 10})
    mine = datasets.as_made("trees", root)
    put("unknown-trees", dataset="trees", images=datasets.digest({"test": mine}))
    every = feeds.rows(run, ("unknown-trees",))
    found = thumbnails.pixels_of("trees", run.made_of("unknown-trees"))
    assert np.array_equal(found, mine.pixels)
    shutil.rmtree(root / "trees")
    image_folder("trees", {"oak": 10, "elm": 10}, seed=1)  # as many others
    thumbnails._pixels.clear()
    assert "not those that its outputs are of" in thumbnails.pixels_of("trees", run.made_of("unknown-trees"))
    thumbnails._pixels.clear()
    assert feeds._pictures(run, every) is None
    put("unknown-trees", dataset="trees")  # an older version's: not known, so nothing speaks against it
    assert len(thumbnails.pixels_of("trees", run.made_of("unknown-trees"))) == len(datasets.as_made("trees", root))


def test_a_sheet_of_pictures_is_kept_for_the_images_that_are_on_it(run, put, image_folder, monkeypatch, tmp_path):
    root = image_folder("trees", {"oak": 10, "elm": 10})
    pictures = iter([np.zeros((114, 12, 12, 3), np.uint8), np.full((114, 12, 12, 3), 255, np.uint8)])
    monkeypatch.setattr(feeds, "_pictures", lambda *_: next(pictures)[: len(every.outputs)])
    sheets = []
    for digest in ("0" * 16, "1" * 16):
        put("unknown-trees", dataset="trees", images=digest)
        every = feeds.rows(run, ("unknown-trees",))
        sheets.append(feeds._atlas(run, every, root)[0])
    assert sheets[0] != sheets[1]
