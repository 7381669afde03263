"""The pages Runs and Compare with every kind of store: right numbers, plain words, nothing lost."""

import csv
import io
import json
import os
import re
import zipfile
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import charts, gallery, links, results
from cac_core import runs
from cac_core.exchange import shelf
from cac_core.exchange.shelf import Shelf
from cac_core.jobs import launch, worker
from cac_core.recipe import NAMES
from cac_core.results import compare, judge, quality
from cac_core.runs import Run
from tests.waiting import LONG

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]
RUNS, COMPARE = "app/pages/runs.py", "app/pages/compare.py"
WILD = "<img src=x onerror=alert(1)> *a* | $x$ & 50 % _b_"


@pytest.fixture
def full(make_run):
    """full("name", method=..., split=...): a run with a report, two epochs of events, and a published trial."""

    def make(name: str, trial: str = "0", seed: int = 0, split: dict | None = None, **kind) -> Run:
        run = make_run(name, **kind)
        record = json.loads((run.path / "recipe.json").read_text())
        record["recipe"] |= {"family": "osrci", "trial": trial, "seed": seed, "known": [], "unknown": []}
        record["recipe"] |= split or {}
        record["classes"]["known"] = [int(trial) + c for c in range(4)]
        record["classes"]["unknown"] = [8, 9]
        runs.write_json(run.path / "recipe.json", record | {"versions": {"torch": "2.11.0"}})
        runs.write_json(run.path / "report.json", judge.plain(judge.report_all(run)))
        for epoch, accuracy in enumerate((0.9, 0.8), 1):
            said = {"kind": "epoch", "epoch": epoch, "validation": {"accuracy": accuracy, "total": 1 / epoch}}
            runs.append(run.path / "events.jsonl", said)
        return run

    return make


@pytest.fixture
def app(store, monkeypatch, tmp_path):
    """app(page, **query) opens a page over the store."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))

    def open_page(page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
        for key, value in query.items():
            at.query_params[key] = value
        return fine(at.switch_page(page).run())

    return open_page


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    assert len(at.title) == 1
    return at


def text(at: AppTest) -> str:
    parts = [
        *at.title,
        *at.markdown,
        *at.caption,
        *at.info,
        *at.warning,
        *at.error,
        *at.success,
        *at.code,
        *at.subheader,
    ]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def tiles(at: AppTest) -> list[dict]:
    """The images on which two runs disagree."""
    said = [one.proto.json for one in at.get("bidi_component") if one.proto.component_name == "anchorscope_gallery"]
    return json.loads(said[0])["tiles"] if said else []


def listed(at: AppTest) -> list[str]:
    return at.dataframe[0].value["Id"].tolist()


def select(at: AppTest, *ids: str) -> AppTest:
    """Select runs in the table, as its checkboxes do."""
    shown = listed(at)
    places = [shown.index(name) for name in ids]
    at.session_state[f"runs_table_{hash(tuple(shown))}"] = {"selection": {"rows": places, "columns": [], "cells": []}}
    return fine(at.run())


# --- runs ------------------------------------------------------------------------------------------------------------


def test_selected_runs_become_an_ensemble_by_a_job(app, full, store, monkeypatch):
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    full("one"), full("two", seed=1), full("three", method="cross_entropy")
    at = select(app(RUNS), "one", "three")
    assert len(at.radio(key="runs_mean_False").options) == 1  # distances are for runs by CAC alone
    at = select(at, "one", "two")
    at.radio(key="runs_mean_True").set_value("distances").run()
    fine(at.button(key="runs_join").click().run())
    (job,) = launch.jobs(store)
    assert job.kind == "ensemble" and job.arguments == (
        "ensemble", "one", "two", "--mean", "distances", "--runs", str(store)
    )  # fmt: skip
    assert "The ensemble is being made" in text(at)


def test_an_ensemble_that_cannot_be_made_says_why_until_it_is_dismissed(app, full, store, monkeypatch):
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    full("one")
    job = launch.submit(store, "ensemble", ["ensemble", "one", "two", "--runs", str(store)])
    record = json.loads(job.path.read_text())
    runs.write_json(job.path, record | {"state": "failed", "reason": "There is no run 'two'"})
    at = app(RUNS)
    assert any("There is no run" in error.value for error in at.error)
    at.button(key=f"runs_dismiss_{job.id}").click().run()
    assert not at.error and not launch.jobs(store)


def test_without_runs_both_pages_say_what_to_do(app):
    at = app(RUNS)
    assert "cac_core train" in text(at) and not at.error
    at = app(COMPARE, ids="a,b")
    assert "Choose at least two runs" in text(at) and "Not among the runs with results: a and b" in text(at)


def test_the_table_says_what_the_files_say(app, full):
    run = full("one")
    shelf.write(run, Shelf("My title", "", ("tag",)))
    (row,) = app(RUNS).dataframe[0].value.to_dict("records")
    report = judge.report(run)
    for title, name in {"AUROC": "auroc", "Accuracy": "accuracy", "OSCR": "oscr"}.items():
        assert row[title] == pytest.approx(100 * report[name])
    assert (row["Run"], row["Id"], row["State"], row["Trial"]) == ("My title", "one", "finished", "0")
    assert (row["Best validation"], row["Last"], list(row["Tags"])) == (90, 80, ["tag"])


def test_the_table_says_what_each_run_is_worth_and_sorts_and_filters_by_it(full, app):
    runs_made = {"good": full("good", unknown=400), "none": full("none", unknown=0)}
    full("going", state="running")
    (Run(runs_made["good"].path.parent / "going").path / "report.json").unlink()
    words = {name: quality.of_report(judge.report(run), run).word for name, run in runs_made.items()}
    assert words["good"] != words["none"] == quality.FEW
    at = app(RUNS, runs_order="worth")
    table = at.dataframe[0].value.set_index("Run")
    assert list(table.index) == ["good", "none", "going"] and pd.isna(table.Worth["going"])
    for name, word in words.items():
        assert table.Worth[name][2:] == word and table.Worth[name][0] not in "cunw"  # a mark before the word
    at = app(RUNS, runs_worth=str(quality.FEW))
    assert list(at.dataframe[0].value.Run) == ["none"]
    rows = results.rows(runs_made["good"].path.parent)
    assert {row.run.id: row.worth for row in rows} == {**{name: str(word) for name, word in words.items()}, "going": ""}


def test_a_run_and_its_controls_are_told_apart_wherever_one_chooses(full, app):
    ids = [f"digits-osrci-0-osrci-small-s0{end}" for end in ("", "-00000001", "-00000002")]
    for name, hyper in zip(ids, ({}, {"images": "noise"}, {"images": "none"}), strict=True):
        full(name, method="osrci", split={"hyper": hyper})
    full("crosr", method="crosr", latents=4, split={"hyper": {"weight": 0.0}})
    table = app(RUNS).dataframe[0].value.set_index("Id")
    assert table.Options[[*ids, "crosr"]].tolist() == ["", "images noise", "images none", "weight 0"]
    assert set(table.Method) == {"OSRCI", "CROSR"}
    names = [ids[0], f"images noise · {ids[1]}", f"images none · {ids[2]}"]
    for at in (app(RUNS), app(COMPARE)):
        assert set(names) | {"crosr"} == set(at.sidebar.selectbox(key="run").options)
    assert set(names) | {"crosr"} == set(at.multiselect(key="compare_ids").options)
    for name, said in {
        ids[0]: [], ids[1]: ["noise was learnt"], ids[2]: ["without any image"], "crosr": ["no image was rebuilt"]
    }.items():  # fmt: skip
        beside = [part.value.replace("\\", "") for part in app(RUNS, run=name).sidebar.caption]
        (line,) = [part for part in beside if " network, " in part]
        method = "CROSR" if name == "crosr" else "OSRCI"
        assert line.startswith(f"{method} on digits, split osrci, trial 0, small network, 20 epochs, seed 0")
        assert line.endswith(table.Options[name] or "seed 0")
        assert len([part for part in beside if "a control" in part]) == len(said)
        assert all(words in "".join(beside) for words in said)


def test_a_table_of_rows_from_a_server_before_holds_the_words(full, app, monkeypatch):
    monkeypatch.setattr(results, "WORTH", 1)
    store = full("good").path.parent
    first = results.rows(store)
    results._kept.clear()
    monkeypatch.setattr(results, "row_of", None)  # nothing is read anew
    assert [row.worth for row in results.rows(store)] == [first[0].worth] != [""]


@pytest.mark.parametrize("torn", ['{"recipe": ', "[]", '{"recipe": {}, "classes": {}, "prepare": {}}', None])
def test_a_broken_run_is_listed_as_such(app, full, store, torn):
    full("one")
    (store / "broken").mkdir(parents=True)
    if torn is not None:
        (store / "broken" / "recipe.json").write_text(torn)
    at = app(RUNS)
    table = at.dataframe[0].value
    assert dict(zip(table["Id"], table["State"], strict=True)) == {"broken": "broken", "one": "finished"}
    assert "recipe.json" in text(at) and not at.error
    at = select(at, "broken", "one")
    assert {b.label for b in at.button} >= {"Delete 2"}
    assert "broken" not in app(COMPARE).multiselect(key="compare_ids").options


def test_a_run_that_begins_is_listed_as_starting(app, full, store):
    full("one")
    (store / "begun").mkdir()
    runs.write_json(store / "begun" / "status.json", {"state": "starting", **runs.process_now()})
    at = app(RUNS)
    table = at.dataframe[0].value
    assert dict(zip(table["Id"], table["State"], strict=True)) == {"begun": "starting", "one": "finished"}
    assert not at.error and not any("cannot be read" in e.label for e in at.expander)
    select(at, "begun", "one")
    assert app(COMPARE).multiselect(key="compare_ids").options == ["one"]


@pytest.mark.parametrize("report", ["", "{", "[]", '{"scorers": []}', '{"scorers": {"gamma": 3}}',
                                    '{"default": ["x"], "scorers": {}}',
                                    '{"default": "gamma", "scorers": {"gamma": {"auroc": "high"}}}'])  # fmt: skip
def test_a_damaged_report_makes_that_run_broken_and_no_other(app, full, report):
    full("two")
    (full("one").path / "report.json").write_text(report)
    at = app(RUNS)
    assert {row["Id"]: row["State"] for row in at.dataframe[0].value.to_dict("records")} == {
        "one": "broken", "two": "finished",
    }  # fmt: skip
    assert "report.json is damaged" in text(at)


def test_a_damaged_log_leaves_the_rest_of_the_row(app, full):
    run = full("one")
    (run.path / "events.jsonl").write_text('{"kind": "epoch", "epoch": 1, "validation": 3}\n{"kind": "ep')
    (row,) = app(RUNS).dataframe[0].value.to_dict("records")
    assert row["Method"] == "CAC" and row["State"] == "finished"


def test_what_is_said_of_seconds_leaves_pauses_out():
    def epochs(*times):
        return [{"time": t} for t in times]

    assert runs.seconds_trained(epochs(10, 12, 14, 16)) == 8
    assert runs.seconds_trained(epochs(10, 12, 14, 5014, 5016)) == 10  # went on after a night
    assert runs.seconds_trained(epochs(10)) is None and runs.seconds_trained([{}, {"time": 3}]) is None


def test_rows_are_read_again_only_where_a_file_changed(full, store, monkeypatch):
    run, other = full("one"), full("two")
    results.rows(store)
    read = []
    monkeypatch.setattr(Run, "events", lambda self, real=Run.events: read.append(self.id) or real(self))
    results.rows(store)
    assert read == []
    runs.append(run.path / "events.jsonl", {"kind": "epoch", "epoch": 3, "validation": {"accuracy": 0.99}})
    assert {row.run.id: row.best for row in results.rows(store)} == {"one": 0.99, "two": 0.9} and read == ["one"]
    shelf.write(other, Shelf("new"))
    assert [row.name for row in results.rows(store)] == ["one", "new"] and read == ["one", "two"]
    shelf.delete(run)
    assert [row.run.id for row in results.rows(store)] == ["two"]


def test_a_new_server_reads_what_another_has_kept_and_no_more(full, store, monkeypatch):
    names = ["one", "two", "three"]
    monkeypatch.setattr(results, "WORTH", 3)
    for name in names:
        shelf.write(full(name), Shelf("a title", tags=("a", "b")))
    (full("torn").path / "recipe.json").write_text("{")
    asked = results.rows(store)
    assert [(row.run.id, row.state) for row in asked] == [
        ("one", "finished"), ("three", "finished"), ("torn", "broken"), ("two", "finished"),
    ]  # fmt: skip
    read = []
    monkeypatch.setattr(Run, "events", lambda self, real=Run.events: read.append(self.id) or real(self))
    results._kept.clear()
    assert results.rows(store) == asked and read == []
    results._kept.clear()
    runs.append(store / "two" / "events.jsonl", {"kind": "epoch", "epoch": 3, "validation": {"accuracy": 0.99}})
    assert {row.run.id: row.best for row in results.rows(store)}["two"] == 0.99 and read == ["two"]


@pytest.mark.parametrize("torn", ["", "{", "[]", '{"code": 1}', '{"code": 0, "rows": {"one": [[], {}]}}', None])
def test_kept_rows_that_are_torn_or_of_other_code_are_read_anew(full, store, monkeypatch, torn):
    monkeypatch.setattr(results, "WORTH", 1)
    full("one")
    asked = results.rows(store)
    file = store / ".cache" / "rows.json"
    kept = file.read_text()
    if torn is None:
        torn = kept.replace(json.dumps("finished"), json.dumps("failed"))
        monkeypatch.setattr(results, "_code", lambda: 0)
    elif torn.startswith('{"code": 0'):
        monkeypatch.setattr(results, "_code", lambda: 0)
    file.write_text(torn)
    results._kept.clear()
    assert results.rows(store) == asked


def test_a_show_and_a_store_that_refuses_keep_no_rows(full, store, monkeypatch):
    monkeypatch.setattr(results, "WORTH", 1)
    full("one")
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    assert len(results.rows(store)) == 1 and not (store / ".cache").exists()
    monkeypatch.delenv("ANCHORSCOPE_READONLY")
    (store / ".cache").write_text("in the way")
    results._kept.clear()
    assert len(results.rows(store)) == 1


def test_a_process_that_is_gone_is_seen_without_a_file_changing(full, store):
    run = full("one")
    now = runs.process_now()
    runs.write_json(run.path / "status.json", {"state": "running", **now})
    assert results.rows(store)[0].state == "running"
    gone = {"state": "running", "host": now["host"], "pid": 2**22 + 1, "process_started": 0}
    status = (run.path / "status.json").stat()
    runs.write_json(run.path / "status.json", gone)
    os.utime(run.path / "status.json", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert results.rows(store)[0].state == "lost"


def test_filters(app, full):
    shelf.write(full("a"), Shelf("Ünïque", "about ducks", ("x",)))
    full("b", method="cross_entropy")
    shelf.write(full("c"), Shelf(archived=True))
    at = app(RUNS)
    assert listed(at) == ["a", "b"]
    at = fine(at.toggle(key="runs_archived").set_value(True).run())
    assert listed(at) == ["a", "b", "c"]
    for key, value, expected in (
        ("runs_method", ["cross_entropy"], ["b"]), ("runs_tag", ["x"], ["a"]),
        ("runs_state", ["finished"], ["a", "b", "c"]), ("runs_dataset", [], ["a", "b", "c"]),
    ):  # fmt: skip
        fine(at.multiselect(key=key).set_value(value).run())
        assert listed(at) == expected
        at.multiselect(key=key).set_value([]).run()
    assert listed(fine(at.text_input(key="runs_text").set_value("DUCKS ünïque").run())) == ["a"]
    at = fine(at.text_input(key="runs_text").set_value("nothing like it").run())
    assert not at.dataframe and "No run fits" in text(at)


def test_a_link_carries_filters_and_order(app, full):
    for name, seed, method in (("one", 1, "cac"), ("two", 2, "cross_entropy"), ("three", 3, "cac")):
        shelf.write(full(name, seed=seed, method=method), Shelf(tags=("a, b", "c") if seed != 1 else ()))
    at = app(RUNS, runs_method="cac,nonsense", runs_tag='"a, b"', runs_text="thr")
    assert listed(at) == ["three"] and at.multiselect(key="runs_method").value == ["cac"]
    at = app(RUNS, runs_order="auroc")
    shown = at.dataframe[0].value["AUROC"].tolist()
    assert shown == sorted(shown, reverse=True) and len(shown) == 3
    for name in ("p", "q"):
        full(name, trial="1", seed=ord(name))
    at = app(RUNS)
    table = fine(at.selectbox(key="runs_order").set_value("auroc").run()).dataframe[0].value
    assert table["Trial"].tolist() == ["0"] * 3 + ["1"] * 2  # no run is ranked with one on other classes
    assert table["AUROC"].tolist()[:3] == shown and table["AUROC"][3] >= table["AUROC"][4]
    at = app(RUNS, runs_order="sideways", runs_archived="perhaps", runs_tag='"')
    assert len(listed(at)) == 5
    assert links.several(links._in_link(["a, b", 'say "c"', "d"])) == ["a, b", 'say "c"', "d"]


def test_runs_without_a_number_come_last_in_its_order(app, full, make_run):
    full("one")
    make_run("bare")
    assert listed(app(RUNS, runs_order="auroc")) == ["one", "bare"]
    assert listed(app(RUNS)) == ["bare", "one"]


def test_a_link_carries_how_runs_are_compared(app, full):
    for name, seed in (("one", 1), ("two", 2), ("three", 3)):
        full(name, seed=seed)
    query = {"compare_together": "false", "compare_scorer": "msp", "compare_measure": "oscr",
             "compare_pair": "two,three"}  # fmt: skip
    at = app(COMPARE, ids="one,two,three", **query)
    assert not at.toggle(key="compare_together").value and at.selectbox(key="compare_scorer").value == "msp"
    assert at.segmented_control(key="compare_measure").value == "oscr"
    assert at.selectbox(key="compare_pair").value == "two,three"
    full("four", seed=4)
    at = fine(app(COMPARE, ids="one,four,two,three", **query))
    assert at.selectbox(key="compare_pair").value == "two,three"
    at = fine(at.multiselect(key="compare_ids").set_value(["one", "two", "four", "three"]).run())
    assert at.selectbox(key="compare_pair").value == "two,three"
    at = fine(at.multiselect(key="compare_ids").set_value(["one", "two", "four"]).run())
    assert at.selectbox(key="compare_pair").value == "one,two"
    at = app(COMPARE, ids="one,two,three", **dict.fromkeys(query, "-1"))
    assert at.selectbox(key="compare_pair").value == "one,two"


def test_titles_tags_and_notes(app, full, store):
    run = full("one")
    at = select(app(RUNS), "one")
    at.text_input[1].set_value(WILD)
    at.text_area[0].set_value("line\nline")
    at = fine(next(b for b in at.button if b.label == "Save").click().run())
    assert shelf.read(run) == Shelf(WILD, "line\nline") and at.dataframe[0].value["Run"][0] == WILD
    assert not any("onerror" in e.value and "\\<" not in e.value for e in (*at.markdown, *at.caption))


def test_a_run_of_the_table_is_opened_on_home(app, full):
    for name in ("one", "two"):
        full(name)
    at = app(RUNS)
    assert at.dataframe[0].value["Open"].tolist() == ["Open", "Open"]
    at = select(at, "two")
    (link,) = (one.proto for one in at.get("page_link") if one.proto.label == "Open")
    assert link.page == "" and parse_qs(link.query_string)["run"] == ["two"]
    at.session_state["runs_open"] = "two"  # as the button of its row does
    at = fine(at.run())
    assert at.title[0].value == "Does it know what it does not know?" and at.selectbox(key="run").value == "two"


def test_runs_of_one_title_are_told_apart(app, full):
    for name in ("one", "two", "three"):
        run = full(name)
        shelf.write(run, Shelf(title="three" if name == "three" else "Twin"))
    assert app(COMPARE).multiselect(key="compare_ids").options == ["Twin (one)", "three", "Twin (two)"]


def test_several_runs_are_archived_deleted_and_brought_back(app, full, store):
    made = [full(name) for name in "abc"]
    at = select(app(RUNS), "a", "b")
    at = fine(at.button(key="runs_archive").click().run())
    assert [shelf.read(run).archived for run in made] == [True, True, False] and listed(at) == ["c"]
    at = fine(at.toggle(key="runs_archived").set_value(True).run())
    at = fine(select(at, "a", "c").button(key="runs_delete").click().run())
    assert listed(at) == ["b"] and "Deleted: a and c" in text(at) and at.selectbox(key="run").options == ["b"]
    at = fine(at.button(key="undo_delete").click().run())
    assert listed(at) == ["a", "b", "c"] and not shelf.trashed(store)
    assert shelf.read(made[0]).archived


def test_a_run_at_work_is_not_deleted_and_the_others_are(app, full, store):
    run = full("a")
    full("b")
    runs.write_json(run.path / "status.json", {"state": "running", **runs.process_now()})
    at = fine(select(app(RUNS), "a", "b").button(key="runs_delete").click().run())
    assert "A process works on a" in text(at) and listed(at) == ["a"]


def test_the_trash_gives_back_and_removes(app, full, store):
    gone = [shelf.delete(full(name)) for name in "ab"]
    full("c")
    at = app(RUNS)
    at = fine(at.multiselect(key="trash_chosen").set_value([gone[0]]).run())
    assert at.button(key="trash_purge").disabled
    at = fine(at.button(key="trash_back").click().run())
    assert listed(at) == ["a", "c"]
    at = fine(at.multiselect(key="trash_chosen").set_value(shelf.trashed(store)).run())
    at = fine(at.checkbox(key="trash_sure").set_value(True).run())
    fine(at.button(key="trash_purge").click().run())
    assert shelf.trashed(store) == [] and not gone[1].path.exists()


def test_a_zip_is_imported_and_a_wrong_one_explained(app, full, store):
    file = io.BytesIO()
    shelf.pack([full("a")], file)
    at = app(RUNS)
    at = fine(at.file_uploader[0].upload("runs.zip", file.getvalue(), "application/zip").run())
    assert listed(at) == ["a", "a-2"] and "Imported: a-2" in text(at)
    bad = io.BytesIO()
    with zipfile.ZipFile(bad, "w") as packed:
        packed.writestr("../evil", "x")
    at = fine(at.file_uploader[0].upload("bad.zip", bad.getvalue(), "application/zip").run())
    assert "no file of a run" in text(at) and listed(at) == ["a", "a-2"]


def test_in_a_show_nothing_can_be_changed(app, full, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    full("a")
    full("b")
    at = select(app(RUNS), "a", "b")
    assert "nothing can be changed" in text(at) and not at.file_uploader
    assert not {"Delete 2", "Archive", "Save"} & {b.label for b in at.button}


# --- compare ---------------------------------------------------------------------------------------------------------


def differing_runs(full) -> list[Run]:
    """Two runs on the same images that decide differently."""
    return [full("a"), full("b", method="cross_entropy")]


@pytest.mark.parametrize("gap, low, high, measure, phrase", [
    (0.031, 0.012, 0.05, "unknowns_caught", "a catches 3.1 points more unknowns than b, each at its own θ (1.2 to "
     "5.0)."),
    (-0.031, -0.05, -0.012, "knowns_kept", "b keeps 3.1 points more of the knowns than a, each at its own θ (1.2 to "
     "5.0)."),
    (-0.031, -0.05, -0.0004, "fpr_at_95_knowns_kept", "a accepts 3.10 points fewer unknowns than b where 95 % of the "
     "test knowns are kept (0.04 to 5.00)."),
    (0.01, -0.0004, 0.0325, "auroc", "AUROC: no difference for sure between a and b (+1.00 points, -0.04 to +3.25)."),
])  # fmt: skip
def test_a_difference_is_said_with_its_numbers_and_one_pair_of_networks_as_such(gap, low, high, measure, phrase):
    """No end reads 0.0 that is not 0, and what is sure says nothing of methods where two networks are all there is."""
    for over, count in (("images", 9), ("seeds", 3)):
        d = compare.Difference("a", "b", measure, gap, low, high, over, count)
        alone = f" {compare.ONE_PAIR}" if over == "images" and d.sure else ""
        assert results.sentence(d) == phrase + alone


def test_one_run_is_not_a_comparison(app, full):
    full("a")
    at = app(COMPARE, ids="a")
    assert "Choose at least two runs" in text(at) and not at.error and not at.warning


def test_two_runs_on_the_same_images(app, full):
    made = [compare.scored(run) for run in differing_runs(full)]
    at = app(COMPARE, ids="a,b")
    assert not at.error and not at.warning
    said = text(at)
    known = int((made[0].labels >= 0).sum())
    assert f"Compared over {known} known and {len(made[0].labels) - known} unknown test images." in said
    (table,) = at.table
    ranked = sorted(made, key=lambda run: -run.numbers()["auroc"])
    assert table.value["AUROC"].tolist() == [f"{100 * run.numbers()['auroc']:.1f}" for run in ranked]
    named = [compare.Member(name, (run,)) for name, run in zip(("CAC", "Cross-entropy"), made, strict=True)]
    for difference in compare.differences(*named):
        assert results.sentence(difference) in said
    count = len(compare.disagreement(*made).rows)
    assert f"about **{count}** of {len(made[0].labels)} test images" in said
    assert len(tiles(at)) == min(count, gallery.PAGE)
    at.session_state["compare_at"] = tiles(at)[0]["key"]
    at = fine(at.run())
    assert at.title[0].value == "Images" and re.search(r"Image \d+ of the test images", text(at))


def test_without_the_images_what_was_decided_is_still_said(app, full):
    for run in (made := differing_runs(full)):
        record = json.loads((run.path / "recipe.json").read_text())
        runs.write_json(run.path / "recipe.json", record | {"data": "0123456789abcdef"})
    at = app(COMPARE, ids="a,b")
    assert not at.error and "cannot be shown here" in text(at) and not tiles(at)
    found = compare.disagreement(*map(compare.scored, made))
    assert len(at.dataframe[0].value) == len(found.rows)


def test_two_runs_of_different_splits_stand_side_by_side(app, full):
    full("a")
    full("b", trial="1")
    at = fine(app(COMPARE, ids="a,b").toggle(key="compare_together").set_value(False).run())
    assert "different splits: trial and classes" in text(at) and "cannot be compared: they share no trial" in text(at)
    assert "No two of these runs were tested on the same images" in text(at)
    assert [len(table.value) for table in at.table] == [1, 1]
    assert {s.value.replace("\\", "") for s in at.subheader} >= {"digits, osrci, trial 0", "digits, osrci, trial 1"}


def test_families_are_never_ranked_together(app, full):
    full("a")
    full("b", split={"family": "cac"})
    full("c", split={"dataset": "other"})
    at = app(COMPARE, ids="a,b,c")
    assert [len(table.value) for table in at.table] == [1, 1, 1]
    assert {s.value.replace("\\", "") for s in at.subheader} >= {
        "digits, osrci, trial 0", "digits, cac, trial 0", "other, osrci, trial 0",
    }  # fmt: skip
    assert "data sets or families of class lists differ" in text(at) and "has an AUROC" not in text(at)


def test_groups_are_means_over_their_trials(app, full):
    ids = [full(f"{method[:2]}{trial}", trial=str(trial), method=method).id
           for method in ("cac", "cross_entropy") for trial in range(3)]  # fmt: skip
    at = app(COMPARE, ids=",".join(ids))
    (table,) = at.table
    assert table.value["runs"].tolist() == ["3", "3"] and all("±" in cell for cell in table.value["OSCR"])
    assert "Compared over 3 trials" in text(at) and not at.warning and compare.ONE_PAIR not in text(at)
    assert "digits, osrci, trials 0, 1, 2" in text(at)
    at = fine(at.toggle(key="compare_together").set_value(False).run())
    assert [len(table.value) for table in at.table] == [2, 2, 2]


def test_one_group_says_what_a_comparison_takes(app, full):
    ids = [full(f"c{trial}", trial=str(trial)).id for trial in range(2)]
    at = app(COMPARE, ids=",".join(ids))
    assert "These runs are one group" in text(at) and "Compared over" not in text(at)
    at = fine(at.toggle(key="compare_together").set_value(False).run())
    assert "These runs are one group" not in text(at)
    alone = [compare.Member("cac", tuple(compare.scored(full(f"d{seed}", seed=seed)) for seed in range(2)))]
    assert "Differences" not in results.as_html({}, alone, [], None)


def test_where_there_are_three_seeds_a_side_they_are_the_answer_and_pairs_of_runs_come_second(app, full):
    made = {method: [full(f"{method[:2]}{seed}", seed=seed, method=method) for seed in range(3)]
            for method in ("cac", "cross_entropy")}  # fmt: skip
    members = [compare.Member(NAMES[method], tuple(map(compare.scored, group))) for method, group in made.items()]
    answer = results.sentence(compare.differences(*members)[0])
    ids = ",".join(run.id for group in made.values() for run in group)
    together = text(app(COMPARE, ids=ids))
    assert answer in together and "so secondary" not in together
    apart = text(app(COMPARE, ids=ids, compare_together="false"))
    assert "so secondary" in apart and apart.index(answer) < apart.index("between CAC (seed 0) and")


def test_too_many_members_are_refused_in_words(app, full):
    ids = [full(f"r{n}", seed=n).id for n in range(7)]
    at = fine(app(COMPARE, ids=",".join(ids)).toggle(key="compare_together").set_value(False).run())
    assert "6 at most fit" in text(at)
    assert "6 at most" not in text(fine(at.toggle(key="compare_together").set_value(True).run()))


def test_runs_without_unknowns_have_no_curves_and_no_trouble(app, full):
    full("a", unknown=0)
    full("b", unknown=0, method="cross_entropy")
    at = app(COMPARE, ids="a,b")
    assert not at.error and "there is no curve" in text(at)


@pytest.mark.parametrize("ids", ["<b>x</b>,a", ",,,", "a,a,a", "../a,b", "a" * 5000])
def test_nonsense_in_the_address_is_passed_over(app, full, ids):
    full("a")
    full("b", method="cross_entropy")
    at = app(COMPARE, ids=ids)
    assert not at.error and set(at.multiselect(key="compare_ids").value) <= {"a", "b"}


def test_what_is_chosen_on_the_page_stays_whatever_the_address_said(app, full):
    for name in "abc":
        full(name, method="cac" if name == "a" else "cross_entropy", seed=ord(name))
    at = app(COMPARE, ids="a,b")
    at = fine(at.multiselect(key="compare_ids").set_value(["a", "c"]).run())
    assert at.multiselect(key="compare_ids").value == ["a", "c"]
    assert fine(at.run()).multiselect(key="compare_ids").value == ["a", "c"]


def test_outputs_that_break_while_one_looks_are_explained(app, full):
    runs_ = differing_runs(full)
    (runs_[1].path / "outputs" / "test.npz").write_bytes(b"nothing")
    at = app(COMPARE, ids="a,b")
    assert len(at.error) == 1 and "is damaged" in text(at)


# --- exports ---------------------------------------------------------------------------------------------------------


def compared(full, title: str = "") -> tuple[dict, list[compare.Member], list[compare.Difference]]:
    a, b = differing_runs(full)
    groups = compare.grouped([a, b], titles={"a": title})
    members = [compare.Member(name, tuple(map(compare.scored, group))) for name, group in groups.items()]
    return groups, members, compare.every_difference(members)


def test_csv_holds_the_numbers_and_no_formula(full):
    _, members, _ = compared(full, "=HYPERLINK(1)")
    assert results.as_csv(members).splitlines()[1].startswith("digits,osrci,0,")
    lines = list(csv.DictReader(io.StringIO(results.as_csv(members))))
    assert {line["member"] for line in lines} == {"'=HYPERLINK(1)", "Cross-entropy"}
    for line in lines:
        member = next(m for m in members if m.name == line["member"].lstrip("'"))
        for name, (mean, _) in member.spread().items():
            assert float(line[f"{name} mean"]) == pytest.approx(mean, abs=1e-6) and line[f"{name} sd"] == ""


def test_what_each_is_judged_by_is_said_where_it_is_not_the_same(app, full):
    groups, members, found = compared(full)
    assert {line["score"] for line in csv.DictReader(io.StringIO(results.as_csv(members)))} == {"gamma", "msp"}
    assert "<th>score</th>" in results.as_html(groups, members, found, None)
    same = [compare.Member(m.name, tuple(compare.scored(run, "energy") for run in groups[m.name])) for m in members]
    assert "<th>score</th>" not in results.as_html(groups, same, found, "energy")
    at = app(COMPARE, ids=",".join(run.id for run in differing_runs(full)))
    assert any("score" in table.value.columns for table in at.table)


def test_latex_escapes_names_and_marks_the_best(full):
    _, members, _ = compared(full, WILD)
    said = results.as_latex(members)
    assert r"\textless{}img" in said and r"50 \% \_b\_" in said and r"\$x\$ \& " in said
    assert said.count(r"\begin{tabular}") == said.count(r"\end{tabular}") == 1
    best = max(m.spread()["auroc"][0] for m in members)
    assert rf"$\mathbf{{{100 * best:.1f}}}$" in said
    low = min(m.spread()["fpr_at_95_knowns_kept"][0] for m in members)
    assert rf"$\mathbf{{{100 * low:.1f}}}$" in said
    for line in said.splitlines():
        assert not line.endswith(r"\\") or line.count(" & ") == 7
    assert "% digits, osrci; trials 0; percent" in said
    at_theta = [cell for line in said.splitlines() if line.endswith(r"\\") for cell in line.split(" & ")[-2:]]
    assert said.count("mathbf") >= 4 and not any("mathbf" in cell for cell in at_theta)


def test_runs_on_other_trials_are_never_ranked_together_in_any_file(full):
    """On the page a table each, in the .tex a tabular each in which nothing is bold, in the .csv the trials beside."""
    runs = [full("a"), full("b", trial="1")]
    members = [compare.Member(run.id, (compare.scored(run),)) for run in runs]
    assert [[m.name for m in ranking.members] for ranking in results.rankings(members)] == [["a"], ["b"]]
    latex = results.as_latex(members)
    assert latex.count(r"\begin{tabular}") == 2 and "mathbf" not in latex
    assert [line["trials"] for line in csv.DictReader(io.StringIO(results.as_csv(members)))] == ["0", "1"]
    groups = {run.id: [run] for run in runs}
    page = results.as_html(groups, members, compare.every_difference(members), None)
    assert page.index("digits, osrci, trial 0</h2>") < page.index("digits, osrci, trial 1</h2>")


def test_every_comparison_says_what_theta_rests_on(app, full, store):
    """One sentence for runs of which the same is to be said; a run whose validation was trained on promises nothing."""
    groups, members, found = compared(full)
    same = "keeps 95 % of new knowns on average, by 80 images held out of training."
    assert results.theta_notes(members) == [f"θ of CAC, Cross-entropy: {same}"]
    ranked = ", ".join(member.name for member in results.rankings(members)[0].members)
    assert f"% θ of {ranked}: {same}" in results.as_latex(members)
    assert f"<p>θ of {ranked}: {same}</p>" in results.as_html(groups, members, found, None)
    assert f"θ of CAC, Cross-entropy: {same}" in text(app(COMPARE, ids="a,b"))
    runs.write_json(store / "b" / "recipe.json", runs.Run(store / "b").record | {"trains_on": "all"})
    groups, members, found = compared(full=lambda name, **_: runs.Run(store / name))
    first, second = results.theta_notes(members)
    assert first.startswith("θ of CAC: keeps 95 % of new knowns") and "python -m cac_core eval b --again" in second
    assert "of new knowns on average" not in second and "network was trained on" in second
    said = {line["member"]: line["validated on"] for line in csv.DictReader(io.StringIO(results.as_csv(members)))}
    assert said == {"CAC": "held out of training", "Cross-entropy": "images that were trained on"}


def test_the_report_stands_alone_and_every_name_in_it_is_text(full, monkeypatch):
    monkeypatch.setattr("app.words.language", lambda: "en")
    groups, members, found = compared(full, f"</script>{WILD}")
    page = results.as_html(groups, members, found, None)
    assert "onerror=alert(1)>" not in page and page.count("<img") == page.count("<img src=\\") == 0
    assert not re.search(r"<(script|link)[^>]+src=|<link", page) and page.count("plotly-graph-div") == 2
    assert len(page) > 1_000_000  # Plotly's own program is in it
    for difference in found:
        assert results.html.escape(results.sentence(difference)) in page
    for run in ("a", "b"):
        assert f": {run}</h3>" in page
    assert "&quot;torch&quot;: &quot;2.11.0&quot;" in page
    for member in members:
        assert f"<td>{100 * member.spread()['auroc'][0]:.1f}</td>" in page


def test_bands_are_drawn_around_the_means():
    band = compare.Band(np.linspace(0.1, 0.99, len(compare.GRID)), np.full(len(compare.GRID), 0.05))
    alone = compare.Band(band.mean, np.zeros(len(compare.GRID)))
    spec = results.bands({"a": band, "b": alone}, "x", "y", "file", charts.LIGHT)
    low, height, mean, single = (np.array(series["data"]) for series in spec["series"])
    assert low == pytest.approx(100 * band.mean - 5, abs=0.02) and mean == pytest.approx(100 * band.mean, abs=0.01)
    assert (low + height).max() == pytest.approx(100, abs=0.02) and single == pytest.approx(mean)
    assert spec["legend"]["data"] == ["a", "b"]
    json.dumps(spec, allow_nan=False)
