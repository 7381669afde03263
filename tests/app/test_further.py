"""Further unknown sets on the pages: each by its own name, and with its own pictures or none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from app import feeds, gallery, holdings, live, thumbnails
from cac_core import runs
from cac_core.data import datasets
from cac_core.scoring.outputs import Verdict
from tests.waiting import LONG

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(make_run, toy_outputs, monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    made = make_run()
    record = made.record
    record["prepare"] |= {"size": 12, "channels": 3, "ink": False}
    runs.write_json(made.path / "recipe.json", record)
    return made


def as_digits(run: runs.Run):
    """It takes images as the digits are, so that its own can be shown beside others."""
    record = run.record
    record["prepare"] |= {"size": 16, "channels": 1}
    runs.write_json(run.path / "recipe.json", record)


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


def test_images_that_come_meanwhile_are_in_the_feed(run, put, image_folder):
    as_digits(run)
    put("unknown-trees", dataset="trees")
    assert b'"tiles"' not in feeds.run_feed(run, sets=("unknown-trees",))
    image_folder("trees", {"oak": 10, "elm": 10})
    holdings.look_again()
    assert b'"tiles"' in feeds.run_feed(run, sets=("unknown-trees",))


def test_a_small_picture_is_made_anew_with_the_outputs_of_its_set(run, put, image_folder):
    as_digits(run)
    root, made = image_folder("trees", {"oak": 10, "elm": 10}), []
    for _ in range(2):
        put("unknown-trees", dataset="trees", images=datasets.digest({"test": datasets.as_made("trees", root)}))
        every = feeds.rows(run, ("unknown-trees",))
        some = gallery.Some(run, every, Verdict(*np.zeros((2, len(every.split)))), 0.0, {"unknown-trees": "trees"})
        made += gallery.pictures(some, [every.start(2)])[0]
        shutil.rmtree(root / "trees")
        image_folder("trees", {"oak": 10, "elm": 10}, seed=1)
    assert None not in made and made[0] != made[1]


def test_rows_as_a_text_are_the_same_images_whichever_sets_there_are(run, put):
    for split in ("unknown-a", "unknown-b"):
        put(split, dataset=split[-1])
    own, one, both, turned = (
        feeds.rows(run, sets) for sets in ((), ("unknown-b",), ("unknown-a", "unknown-b"), ("unknown-b", "unknown-a"))
    )
    first = own.start(2)
    text = both.packed([first + 6, 3, first + 1, 0])
    assert both.unpacked(text) == [0, 3, first + 1, first + 6]
    assert turned.unpacked(text) == [0, 3, first + 2, first + 5]
    assert one.unpacked(text) == [0, 3, first + 2] and own.unpacked(text) == [0, 3]
    assert own.packed([0, 3]) == live.packed_rows([0, 3]) and both.packed([]) == "" and both.unpacked("") == []
    assert both.unpacked(live.packed_rows([3, first + 1])) == [3]  # which set that was of, nobody knows any more
    assert feeds.rows_in(text) == text
    for wrong in ("", " ", "%%%", "here-1", "unknown-a.", "unknown-a.%%% AQ==", "AQ== ."):
        with pytest.raises(ValueError):
            feeds.rows_in(wrong)


@pytest.fixture
def opened(run, put, monkeypatch):
    """opened(page, **address): a page about a run with the further sets a and b."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(run.path.parent))
    as_digits(run)
    for split in ("unknown-a", "unknown-b"):
        put(split, dataset=split[-1])

    def at_page(page: str, **address: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
        at.query_params.update({"run": run.id, **address})
        return fine(at.switch_page(f"app/pages/{page}.py").run())

    return at_page


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    return at


def cloud(at: AppTest) -> dict:
    """What the cloud of logits is told."""
    (view,) = (c.proto for c in at.get("bidi_component") if c.proto.component_name.endswith("anchorscope_view"))
    return json.loads(view.json)["state"]


def test_what_is_chosen_in_the_cloud_stays_what_it_is_when_other_sets_come(opened, run):
    both = feeds.rows(run, ("unknown-a", "unknown-b"))
    first = both.start(2)
    at = opened("space", further="unknown-a,unknown-b", marks=both.packed([3, first + 5]), hidden="set:unknown-b")
    assert live.unpacked_rows(cloud(at)["selection"]) == [3, first + 5] and cloud(at)["hidden"] == ["set:3"]
    at = fine(at.multiselect(key="further").set_value(["unknown-b"]).run())
    assert live.unpacked_rows(cloud(at)["selection"]) == [3, first + 1] and cloud(at)["hidden"] == ["set:2"]
    assert at.dataframe[0].value["set"].tolist().count("unknown-b") == 1
    at = fine(at.multiselect(key="further").set_value(["unknown-a"]).run())
    assert live.unpacked_rows(cloud(at)["selection"]) == [3] and "set:2" not in cloud(at)["hidden"]


def test_what_was_moved_in_the_cloud_is_kept_by_what_it_is(opened, run, monkeypatch):
    first, told = feeds.rows(run).start(2), {}

    def drawn(state, key, height, on_change):
        told.update(state)
        st.button("at rest", key="rest", on_click=on_change)

    monkeypatch.setattr(live, "space", drawn)
    monkeypatch.setattr(live, "settled", lambda key: {"selection": [2, first + 1], "hidden": ["known:0", "set:2"]})
    at = opened("space", further="unknown-a")
    at = fine(at.button(key="rest").click().run())
    assert (told["selection"], told["hidden"]) == ([2, first + 1], ["known:0", "set:2"])
    at = fine(at.multiselect(key="further").set_value(["unknown-b", "unknown-a"]).run())
    assert (told["selection"], told["hidden"]) == ([2, first + 5], ["known:0", "set:3"])


def test_images_that_were_chosen_stay_what_they_are_when_other_sets_come(opened, run):
    one = feeds.rows(run, ("unknown-a",))
    first = one.start(2)
    at = opened("images", images_sets="unknown-a", images_rows=one.packed([3, first + 1]), images_view="table")
    assert sorted(at.dataframe[0].value["set"]) == ["a", "validation"]
    at.session_state["images_sets"] = ["unknown-b"]
    at = fine(at.run())
    assert at.dataframe[0].value["set"].tolist() == ["validation"]
    at.session_state["images_sets"] = ["unknown-b", "unknown-a"]
    assert sorted(fine(at.run()).dataframe[0].value["set"]) == ["a", "validation"]


def test_a_row_that_is_ticked_is_not_ticked_of_another_set(opened, run):
    both = feeds.rows(run, ("unknown-a", "unknown-b"))
    rows = both.packed([both.start(2) + 1, both.start(3) + 1])
    at = opened("images", images_sets="unknown-a", images_rows=rows, images_view="table")
    shown = [f"unknown-a-{number}" for number in at.dataframe[0].value["image"]]
    at.session_state[f"images_table_{hash(tuple(shown))}"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    at = fine(at.run())
    assert at.button(key="images_open_row")
    at.session_state["images_sets"] = ["unknown-b"]
    at = fine(at.run())
    assert at.dataframe[0].value["set"].tolist() == ["b"] and "images_open_row" not in [b.key for b in at.button]


def test_a_link_that_names_no_further_set_opens_the_images_of_a_run_that_has_some(opened):
    at = opened("images", images_text="1")
    assert at.multiselect(key="images_sets").value == []
    at = fine(at.multiselect(key="images_sets").set_value(["unknown-a"]).run())
    at = fine(at.button(key="images_all").click().run())
    assert at.multiselect(key="images_sets").value == []


def test_a_set_that_a_link_names_and_that_is_not_there_is_said(opened):
    for page, name in (("space", "further"), ("images", "images_sets")):
        at = opened(page, **{name: "unknown-a,nowhere"})
        assert any(f"**{name}=unknown-a,nowhere**" in one.value.replace("\\", "") for one in at.warning)
        assert at.multiselect(key=name).value == ["unknown-a"]


@pytest.mark.parametrize("page, name, text", [
    ("space", "marks", "%%%"), ("images", "images_rows", "%%%"), ("images", "images_rows", "here"),
    ("images", "images_rows", "here-12345678"),
])  # fmt: skip
def test_rows_that_make_no_sense_are_said_on_every_page(opened, page, name, text):
    at = opened(page, **{name: text})
    assert any(f"**{name}={text}**" in one.value.replace("\\", "") for one in at.warning)
