"""All images behind a number: which these are, by plain loops; the page with every kind of run; tags; the way there."""

import contextlib
import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from app import charts, feeds, gallery, links, live
from app.gallery import Asked, Some, Tagged
from cac_core import runs
from cac_core.data import datasets
from cac_core.exchange import tags
from cac_core.recipe import IMPORTED
from cac_core.results import judge
from cac_core.runs import Run
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict, without_fold
from cac_core.scoring.scorers import judge_of
from tests.scoring.test_scorers import cross_validated
from tests.waiting import LONG

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
PAGE = "app/pages/images.py"


# --- which images, and in which order --------------------------------------------------------------------------------


@pytest.fixture
def some(make_run) -> Some:
    run = make_run()
    every = feeds.rows(run)
    verdict = judge_of("gamma", every.train, run.outputs("validation"))(every.outputs)
    return Some(run, every, verdict, float(np.median(verdict.score)), {})


def marks_of(some: Some, **found: set[str]) -> Tagged:
    paths = {split: some.part(split) for split in some.every.splits}
    return Tagged(some, paths, {"digits": {tag: frozenset(images) for tag, images in found.items()}})


def slowly(some: Some, asked: Asked) -> set[int]:
    """The rows that are asked for, one after the other."""
    found = set()
    for row in range(len(some.labels)):
        label, nearest, score = int(some.labels[row]), int(some.verdict.label[row]), some.verdict.score[row]
        rejected = score > some.theta
        right = rejected if label < 0 else (not rejected and nearest == label)
        fits = {
            "": True, "accepted": not rejected, "rejected": rejected, "right": right, "wrong": not right,
            "another": not rejected and nearest != label, "near": label >= 0 and nearest == label,
            "far": label >= 0 and nearest != label,
            **{f"c{c}": not rejected and some.run.trial.known[nearest] == c for c in range(10)},
        }[asked.called]  # fmt: skip
        own = int(some.every.outputs.classes[row])
        fits &= {"": True, "known": label >= 0, "never": label < 0, **{f"c{c}": own == c for c in range(10)}}[
            asked.truth
        ]
        fits &= asked.part == gallery.EVERY or some.every.splits[some.every.split[row]] == asked.part
        fits &= (asked.low is None or score >= asked.low) and (asked.high is None or score < asked.high)
        if fits:
            found.add(row)
    return found


@pytest.mark.parametrize("part", ["test", "validation", gallery.EVERY])
@pytest.mark.parametrize("truth", [*gallery.TRUTHS, "c1", "c5"])
@pytest.mark.parametrize("called", [*gallery.DECISIONS, "c2"])
def test_the_images_are_those_that_loops_find(some, part, truth, called):
    low, high = np.quantile(some.verdict.score, [0.2, 0.9])
    for asked in (Asked(part, truth, called), Asked(part, truth, called, low, high)):
        rows = gallery.chosen(some, asked, marks_of(some)).tolist()
        assert set(rows) == slowly(some, asked) and len(rows) == len(set(rows))


def test_each_cell_of_the_confusion_table_leads_to_as_many_images_as_it_says(some):
    known, test = some.run.trial.known, some.every.split == 1
    verdict = Verdict(some.verdict.score[test], some.verdict.label[test])
    table = metrics.confusion(some.theta, verdict, some.labels[test], len(known))
    for truth in range(len(known) + 1):
        for called in range(len(known) + 1):
            said = {"truth": truth if truth < len(known) else "never",
                    "called": called if called < len(known) else "rejected"}  # fmt: skip
            rows = gallery.chosen(some, Asked(**gallery.counted(said, some.run)), marks_of(some))
            assert len(rows) == table[truth, called]


@pytest.mark.parametrize("order", gallery.ORDERS)
def test_the_order_is_by_score_and_ties_stay_where_they_were(some, order):
    rows = gallery.chosen(some, Asked(gallery.EVERY, order=order), marks_of(some)).tolist()
    by = {"up": lambda row: some.verdict.score[row], "down": lambda row: -some.verdict.score[row],
          "near": lambda row: abs(some.verdict.score[row] - some.theta), "number": lambda row: row}  # fmt: skip
    assert rows == sorted(range(len(some.labels)), key=by[order])


@pytest.mark.parametrize("text, numbers", [
    ("7", [7]), (" 7, 9 ", [7, 9]), ("3-5", [3, 4, 5]), ("3 – 5, 8", [3, 4, 5, 8]), ("9-5", []), ("99999", []),
    ("１２", [12]),
])  # fmt: skip
def test_numbers_are_looked_up(some, text, numbers):
    rows = gallery.chosen(some, Asked(text=text, order="number"), marks_of(some))
    assert [some.number(row) for row in rows] == numbers


@pytest.mark.parametrize("text", ["cat", "CAT/1", "%", "-", "3-", "1e9", "9" * 30, "' or 1=1"])
def test_other_text_looks_in_names(some, text):
    paths = [f"cat/{n}.png" if n % 2 else f"dog/{n}.png" for n in range(110)]
    marks = Tagged(some, {"validation": None, "test": paths}, {"digits": {}})
    rows = gallery.chosen(some, Asked(text=text), marks).tolist()
    assert set(rows) == {row for row in np.flatnonzero(some.every.split == 1)
                         if text.casefold() in paths[some.number(row)]}  # fmt: skip


def test_rows_of_a_lasso_come_from_any_set_and_foreign_ones_are_passed_over(some):
    rows = (2, 85, 90, 10_000)
    found = gallery.chosen(some, Asked(rows=rows), marks_of(some)).tolist()
    assert set(found) == {2, 85, 90} and found == sorted(found, key=lambda row: some.verdict.score[row])
    assert set(gallery.chosen(some, Asked(rows=rows, truth="known"), marks_of(some)).tolist()) == {
        row for row in (2, 85, 90) if some.labels[row] >= 0
    }
    assert len(gallery.chosen(some, Asked(rows=()), marks_of(some))) == 0


def test_only_what_bears_a_tag_is_shown(some):
    first = some.every.start(1)
    marks = marks_of(some, interesting={"test-3", "train-4", "test-5000"})
    assert set(gallery.chosen(some, Asked(gallery.EVERY, tag="interesting"), marks)) == {4, first + 3}
    assert marks.of(first + 3) == ["interesting"] and marks.of(first + 4) == []
    assert len(gallery.chosen(some, Asked(tag="no such"), marks)) == 0


def test_each_image_has_a_name_in_an_address(some):
    for row in range(len(some.labels)):
        assert some.row(some.key(row)) == row
    for key in ("", "test", "test-", "test-x", "test--1", "elsewhere-1", "test-99999", "-1"):
        assert some.row(key) is None


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(store, monkeypatch, tmp_path):
    """opened(run, state=None, page=PAGE, **address): the page over the store, as a link opens it."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))

    def at_page(run: Run, state=None, page=PAGE, **address) -> AppTest:
        at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
        for name, value in {"run": run.id, **address}.items():
            at.query_params[name] = value
        for name, value in (state or {}).items():
            at.session_state[name] = value
        return fine(at.switch_page(page).run())

    return at_page


@pytest.fixture
def digits(store):
    """The bundled run on the digits, whose images are always here."""
    name = "digits-osrci-0-cac-small-s0"
    shutil.copytree(ROOT / "checkpoints" / name, store / name)
    return Run(store / name)


def fine(at: AppTest) -> AppTest:
    at.query_params.pop("images_at", None)  # the address follows, as it does in a browser
    with contextlib.suppress(KeyError):  # of another page
        if open_one := at.session_state["images_at"]:
            at.query_params["images_at"] = open_one
    assert not at.exception, [e.value for e in at.exception]
    return at


def text(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.subheader]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def tiles(at: AppTest) -> list[dict]:
    found = [json.loads(one.proto.json) for one in at.get("bidi_component") if "tiles" in one.proto.json]
    return found[0]["tiles"] if found else []


def in_address(at: AppTest) -> dict[str, str]:
    """What the page has put into the address."""
    said: dict[str, str | None] = {}
    for one in at.get("bidi_component"):
        if one.proto.component_name.endswith("anchorscope_address"):
            said |= json.loads(one.proto.json)["parameters"]
    return {name: value for name, value in said.items() if value is not None}


def test_all_test_images_stand_there_by_score_a_page_at_a_time(opened, digits):
    at = opened(digits)
    test = digits.outputs("test")
    score = judge_of("gamma", digits.outputs("train"), digits.outputs("validation"))(test).score
    order = test.index[np.argsort(score, kind="stable")]
    assert f"**{len(test)}** images, 1 to {gallery.PAGE} are shown" in text(at)
    assert [tile["key"] for tile in tiles(at)] == [f"test-{i}" for i in order[: gallery.PAGE]]
    assert all(tile["source"].startswith("data:image/") and tile["label"] for tile in tiles(at))
    at = fine(at.button(key="images_further").click().run())
    assert [tile["key"] for tile in tiles(at)] == [f"test-{i}" for i in order[: 2 * gallery.PAGE]]
    last = order[len(order) // gallery.PAGE * gallery.PAGE :]
    assert [tile["key"] for tile in tiles(opened(digits, images_page="99"))] == [f"test-{i}" for i in last]


def test_gallery_and_table_have_one_order_and_the_file_has_all(opened, digits):
    at = opened(digits, images_truth="never", images_called="accepted", images_order="down")
    keys = [tile["key"] for tile in tiles(at)]
    assert len(keys) == 13  # as the confusion table of this run says
    at = fine(at.segmented_control(key="images_view").set_value("table").run())
    table = at.dataframe[0].value
    assert [f"test-{i}" for i in table["image"]] == keys and not tiles(at)
    assert table["score"].is_monotonic_decreasing and not table["right"].any()
    assert set(table["truth"]) <= {f"{digits.class_names[c]}, never seen" for c in digits.trial.unknown}
    assert in_address(at)["images_view"] == "table" and in_address(at)["images_truth"] == "never"


def test_an_address_opens_an_image_and_the_way_back_is_the_list(opened, digits):
    at = opened(digits, images_truth="known", images_called="rejected", images_at="test-120")
    said = text(at)
    assert "Image 120 of the test images" in said and "In truth **0**" in said and "is above θ" in said
    assert "**The nearest training images**, by logits" in said and not tiles(at)
    assert in_address(at).items() >= {"images_at": "test-120", "images_truth": "known"}.items()
    rows = [tile["key"] for tile in tiles(fine(at.button(key="images_back").click().run()))]
    assert "test-120" in rows
    at = opened(digits, images_truth="known", images_called="rejected", images_at=rows[0])
    at = fine(at.button(key="images_after").click().run())
    assert in_address(at)["images_at"] == rows[1]
    assert at.button(key="images_before").disabled is False


def test_an_image_of_a_fold_is_told_and_listed_by_the_centres_that_it_was_judged_by(opened, make_run, monkeypatch):
    files, run = {}, make_run()
    train, validation = cross_validated(run)
    verdict = judge_of("distance", train)(validation)
    theta = metrics.theta_at(judge.KEPT, verdict.score)
    row = int(np.argsort(verdict.score)[-3])
    at = opened(run, images_part="validation", images_at=f"validation-{validation.index[row]}", scorer="distance")
    assert "Score **{}** is above θ **{}**".format(*charts.apart(verdict.score[row], theta)) in text(at)
    others = train.out_of_fold[train.fold[row]][train.fold != train.fold[row]]
    nearest = np.sort(np.linalg.norm(others.astype(float) - validation.logits[row], axis=1))
    assert [f"distance {charts.number(d)}" in text(at) for d in nearest[:8]] == [True] * 8
    monkeypatch.setattr(streamlit, "download_button", lambda label, data, *_, **__: files.update({label: data}))
    chosen = live.packed_rows(range(len(validation)))
    at = opened(run, page="app/pages/space.py", scorer="distance", marks=chosen)
    nearest = without_fold(train, train.fold[first := int(np.argmin(verdict.score))]).logits.astype(float)
    nearest = np.linalg.norm(nearest - validation.logits[first], axis=1).min()
    assert f"distance {charts.number(nearest)}" in text(at)
    for line in csv.DictReader(io.StringIO(files["As CSV"]())):
        least = min(float(d) for name, d in line.items() if name.startswith("distance to"))
        assert least == pytest.approx(float(line["score"]))


@pytest.mark.parametrize("address", [
    {"images_at": "test-99999"}, {"images_at": "<b>-1"}, {"images_truth": "c999"}, {"images_truth": "x"},
    {"images_called": "c99"}, {"images_low": "nan"}, {"images_low": "x"}, {"images_page": "-3"}, {"images_page": "x"},
    {"images_rows": "%%%"}, {"images_rows": "here"}, {"images_part": "elsewhere"}, {"images_sets": "nowhere"},
    {"images_tag": "<script>"}, {"images_order": "sideways"}, {"images_text": "*" * 500}, {"images_view": "film"},
])  # fmt: skip
def test_no_address_breaks_the_page(opened, digits, address):
    at = opened(digits, **address)
    assert not at.error and ("images" in text(at))


def test_rows_of_a_link_are_shown_and_dropped(opened, digits):
    rows = [3, 180, 200, 201]
    at = opened(digits, images_rows=live.packed_rows(rows))
    assert len(tiles(at)) == 4 and at.button(key="images_drop_rows").label == "Only the 4 chosen"
    at = fine(at.button(key="images_drop_rows").click().run())
    assert len(tiles(at)) == gallery.PAGE and "images_rows" not in in_address(at)


def test_another_run_begins_anew(opened, digits, store):
    shutil.copytree(digits.path, store / "second")
    at = opened(digits, images_truth="never", images_at="test-1")
    at = fine(at.selectbox(key="run").set_value("second").run())
    assert len(tiles(at)) == gallery.PAGE and not at.session_state["images_truth"]


def test_the_order_in_which_classes_of_one_run_were_put_is_none_of_another(opened, digits, store):
    shutil.copytree(digits.path, store / "second")
    at = opened(digits, page="app/pages/space.py", order="own", around="3,0,1,2,5,4")
    assert at.segmented_control(key="order").value == "own"
    at = fine(at.selectbox(key="run").set_value("second").run())
    assert at.segmented_control(key="order").value == "similar"


def test_what_is_no_longer_seen_to_be_ticked_is_not_chosen(opened, digits):
    at = opened(digits, images_order="number")
    at.session_state["images_picked"] = ["test-1", "test-4"]
    at = fine(at.run())
    assert any("2 chosen" in one.value for one in at.markdown)
    at.session_state["images_at"] = "test-1"
    at = fine(at.run())
    at = fine(at.button(key="images_back").click().run())  # its tiles come anew, without ticks
    assert any("0 chosen" in one.value for one in at.markdown)


def test_images_are_tagged_found_again_and_exported(opened, digits, tmp_path):
    at = opened(digits, images_order="number")
    at.session_state["images_picked"] = ["test-1", "test-4"]
    at = fine(at.run())
    assert at.button(key="images_put").disabled
    at = fine(at.selectbox(key="images_word").set_value("mislabelled").run())
    at = fine(at.button(key="images_put").click().run())
    assert tags.read(tmp_path / "data", "digits") == {"mislabelled": {"test-1", "test-4"}}
    at = fine(at.selectbox(key="images_tag").set_value("mislabelled").run())
    assert {tile["key"] for tile in tiles(at)} == {"test-1", "test-4"}
    assert all(tile["tags"] == ["mislabelled"] and tile["label"].endswith("mislabelled") for tile in tiles(at))
    assert in_address(at)["images_tag"] == "mislabelled"
    again = opened(digits, images_at="test-4", images_order="number")
    assert again.multiselect(key="images_tags_test-4").value == ["mislabelled"]
    again = fine(again.multiselect(key="images_tags_test-4").set_value(["interesting", "my own"]).run())
    found = tags.read(tmp_path / "data", "digits")
    assert found == {"mislabelled": {"test-1"}, "interesting": {"test-4"}, "my own": {"test-4"}}
    again.session_state["images_at"], again.session_state["images_picked"] = "", ["test-1"]
    again = fine(again.run())
    again = fine(again.selectbox(key="images_word").set_value("mislabelled").run())
    fine(again.button(key="images_take").click().run())
    assert "mislabelled" not in tags.read(tmp_path / "data", "digits")


def test_the_list_goes_out_as_a_file(some):
    marks = marks_of(some, interesting={"test-3"})
    rows = gallery.chosen(some, Asked(), marks)
    lines = list(csv.DictReader(io.StringIO(gallery.as_csv(gallery.table(some, rows, marks)))))
    assert [int(line["image"]) for line in lines] == [some.number(row) for row in rows]
    assert [float(line["score"]) for line in lines] == [some.verdict.score[row] for row in rows]
    (tagged,) = [line for line in lines if line["tags"]]
    assert tagged["image"] == "3" and tagged["tags"] == "interesting"


def test_nothing_is_tagged_in_a_show(opened, digits, tmp_path, monkeypatch):
    tags.put(tmp_path / "data", "digits", "interesting", ["test-4"])
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened(digits, images_tag="interesting")
    assert [tile["key"] for tile in tiles(at)] == ["test-4"] and not [b for b in at.button if b.key == "images_put"]
    at = opened(digits, images_at="test-4")
    assert "Tags: interesting" in text(at) and not at.multiselect


def test_a_record_of_tags_that_cannot_be_read_is_said(opened, digits, tmp_path):
    file = tags.file_of(tmp_path / "data", "digits")
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    assert "is no record of tags" in opened(digits).error[0].value.replace("\\", "")


def test_what_is_not_shown_any_more_is_not_tagged(opened, digits):
    at = opened(digits, images_text="4-9")
    at.session_state["images_picked"] = ["test-1", "test-4"]
    assert "1 chosen" in text(fine(at.run()))


def test_rows_of_the_table_are_opened_and_tagged(opened, digits, tmp_path):
    at = opened(digits, images_view="table", images_order="number")
    key = f"images_table_{hash(tuple(f'test-{number}' for number in range(gallery.PAGE)))}"

    def ticked(*rows: int) -> AppTest:
        at.session_state[key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
        return fine(at.run())

    assert ticked(2).button(key="images_open_row").label == "Open image 2"
    at = fine(ticked(2, 3).selectbox(key="images_word").set_value("interesting").run())
    fine(ticked(2, 3).button(key="images_put").click().run())
    assert tags.read(tmp_path / "data", "digits") == {"interesting": {"test-2", "test-3"}}


def test_without_the_pictures_all_is_listed_all_the_same(opened, digits):
    record = digits.record
    runs.write_json(digits.path / "recipe.json", record | {"data": "0123456789abcdef"})
    at = opened(digits, images_truth="known", images_called="rejected")
    assert "The images cannot be shown here" in text(at) and not tiles(at) and not at.error
    assert {"image", "score", "decision"} <= set(at.dataframe[0].value)
    at = opened(digits, images_at="test-120")
    assert "The picture cannot be shown here" in text(at) and "is above θ" in text(at)


def test_outputs_that_were_imported_are_listed(opened, make_run):
    run = make_run()
    record = run.record
    record["recipe"]["backbone"] = IMPORTED
    runs.write_json(run.path / "recipe.json", record)
    at = opened(run)
    assert "was imported as outputs alone" in text(at) and len(at.dataframe[0].value) == gallery.PAGE


def test_images_of_a_folder_are_tagged_by_their_paths_and_not_at_all_once_they_are_others(
    opened, make_run, image_folder, toy_outputs, tmp_path
):
    for part in ("train", "test"):
        image_folder("pets", {"cat": 30, "dog": 30}, part=part)
    run = make_run()
    images, record = datasets.load("pets", tmp_path / "data", run.recipe.size), run.record
    record["recipe"]["dataset"] = "pets"
    record["classes"] = {"known": [0, 1, 2, 3], "unknown": [4, 5], "names": ["cat", "dog", *"23456789"]}
    record["prepare"] |= {"size": 12, "channels": 3, "ink": False}
    record |= {"mean": [0.4] * 3, "std": [0.2] * 3}
    record["data"] = datasets.digest(images)
    runs.write_json(run.path / "recipe.json", record)
    for split, count in (("train", 60), ("validation", 60), ("test", 30)):
        out = toy_outputs(seed=3, known=count, unknown=30 if split == "test" else 0)
        runs.write_npz(run.path / "outputs" / f"{split}.npz", **{k: v for k, v in vars(out).items() if v is not None})
    at = opened(run, images_at="test-31", images_text="dog/001")
    assert "dog/001.png" in text(at)
    at = fine(at.multiselect(key="images_tags_test-31").set_value(["interesting"]).run())
    assert tags.read(tmp_path / "data", "pets") == {"interesting": {"test/dog/001.png"}}
    (tmp_path / "data" / "pets" / "test" / "cat" / "000.png").unlink()
    again = opened(run, images_at="test-31")
    assert not again.multiselect and not again.error


# --- the way there ---------------------------------------------------------------------------------------------------


def test_what_a_live_view_asks_for_is_taken_to_the_page(opened, digits):
    at = opened(digits, page="app/pages/thresholds.py")
    at.session_state["images_wanted"] = gallery.counted({"truth": 1, "called": "rejected"}, digits)
    at = fine(at.run())
    assert [title.value for title in at.title] == ["Images"]
    test, (_, one, *_) = digits.outputs("test"), digits.trial.known
    assert {tile["truth"] for tile in tiles(at)} == {digits.class_names[one]}
    said = judge.report_all(digits)["scorers"]["gamma"]["confusion"]
    assert len(tiles(at)) == said[1][-1] and len(test)


@pytest.mark.parametrize("key, cell, count", [
    ("decisions", [0, "called unknown"], 2), ("decisions", [0, "truth"], 36), ("decisions", [6, "called 9"], 13),
])  # fmt: skip
def test_the_tables_of_the_lab_lead_there_too(opened, digits, key, cell, count):
    at = opened(digits, {"lab_tables": True}, "app/pages/thresholds.py")
    at.session_state[f"lab_{key}"] = {"selection": {"rows": [], "columns": [], "cells": [cell]}}
    at = fine(at.run())
    assert at.button(key=f"lab_{key}_images").label == f"See all {count} images"
    at = fine(at.button(key=f"lab_{key}_images").click().run())
    assert at.title[0].value == "Images" and len(tiles(at)) == count


def test_each_bar_of_the_histogram_leads_to_as_many_images_as_it_says(opened, digits):
    at = opened(digits, {"lab_tables": True}, "app/pages/thresholds.py")
    bars = next(one.value for one in at.dataframe if "score from" in one.value)
    for row, column in ((0, "known"), (3, "known"), (23, "never seen"), (18, "never seen"), (23, "known")):
        page = opened(digits, {"lab_tables": True}, "app/pages/thresholds.py")
        page.session_state["lab_bars"] = {"selection": {"rows": [], "columns": [], "cells": [[row, column]]}}
        page = fine(page.run())
        page = fine(page.button(key="lab_bars_images").click().run())
        assert f"**{bars[column][row]}** images" in text(page) or not bars[column][row]


def test_a_choice_of_many_rows_stays_in_the_session_and_of_few_in_the_address(digits):
    few, many = live.packed_rows(range(0, 800, 7)), live.packed_rows(range(100_000))
    assert len(few) < links.LONG < len(many)
    assert links.written(gallery.LINKS, {"images_rows": few})["images_rows"] == few


def test_numbers_of_an_address_are_as_exact_as_need_be():
    edge = 0.00545123456789
    written = links.written(gallery.LINKS, {"images_low": edge})["images_low"]
    assert float(written) == pytest.approx(edge, rel=1e-11) and charts.number(float(written)) == charts.number(edge)
