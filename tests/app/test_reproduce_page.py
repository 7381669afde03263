"""The page Reproduce over every kind of store: right cells, plain words, what is missing, exports that stand alone."""

import csv
import dataclasses
import html
import io
import json
import re
import shutil
import statistics
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import grid, holdings, jobs, plans, results, wording
from cac_core import runs, shell
from cac_core.data import datasets
from cac_core.jobs import launch, worker
from cac_core.recipe import compose
from cac_core.results import reproduce
from cac_core.results.reproduce import Reading
from cac_core.runs import Run
from cac_core.training import probe
from tests.waiting import LONG

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "checkpoints"
SHIPPED = ROOT / "benchmarks" / "grid"
PAGE = "app/pages/reproduce.py"
CAC = "cifar10-osrci-0-cac-plain-s0-fbb51db0"


@pytest.fixture(autouse=True)
def place(store, monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANCHORSCOPE_READONLY", raising=False)
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    monkeypatch.setattr(reproduce, "SHIPPED", tmp_path / "shipped")  # nothing, if a test does not say otherwise
    store.mkdir()
    holdings.look_again()
    jobs.devices.clear()
    return store


@pytest.fixture
def trained(store):
    """trained(trial, auroc): a bundled run, said to be of the grid, with this AUROC in its report."""

    def make(trial: str, auroc: float, seed: int = 0, state: str = "finished", like: str = CAC, **given) -> Run:
        source = Run(BUNDLED / like)
        recipe = compose("fast", dataset=source.recipe.dataset, trial=trial, seed=seed, method=source.recipe.method)
        run = Run(store / recipe.id)
        shutil.copytree(source.path, run.path)
        listed = datasets.published()["osrci"][datasets.DATASETS[recipe.dataset].trials][int(trial)]
        classes = source.record["classes"] | {"known": listed["known"], "unknown": listed["unknown"]}
        if listed["unknown"] == "rest":
            classes["unknown"] = sorted(set(range(10)) - set(listed["known"]))
        record = source.record | {"recipe": recipe.to_json(), "classes": classes, "commit": "abcdef0123456789"} | given
        runs.write_json(run.path / "recipe.json", record)
        runs.write_json(run.path / "status.json", {"state": state, "machine": "a <b>small</b> one"})
        report = json.loads((run.path / "report.json").read_text())
        for numbers in report["scorers"].values():
            numbers["auroc"] = auroc
        runs.write_json(run.path / "report.json", report)
        return run

    return make


def opened(cell: str | None = None, command_of_1: bool = False, **query: str) -> AppTest:
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
    at.session_state["command_of_1"] = command_of_1  # open from the start
    for name, value in ({"cell": cell} if cell else {}).items() | query.items():
        at.query_params[name] = value
    at.run()
    return fine(at.switch_page(PAGE).run())


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [(e.value, e.stack_trace) for e in at.exception]
    assert not at.error, [e.value for e in at.error]
    return at


def text(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.code, *at.subheader]
    return "\n".join(str(part.value) for part in parts).replace("\\", "").replace("\u00a0", " ")


def lines(store, family: str = "osrci") -> dict[str, grid.Line]:
    found = reproduce.tables(results.readings(store))
    return {line.name: line for line in grid.lines_of(*grid.of_family(found, family))}


# --- the cells -------------------------------------------------------------------------------------------------------


def test_without_runs_every_cell_shows_what_is_published(store):
    at = opened("CIFAR10.osrci.cac.gamma")
    said = text(at)
    assert "80.1 ± 3.0 %, CAC" in said and "Nothing was measured for this cell yet." in said
    assert "0 of 5 runs of the preset fast are there" in said
    assert "--dataset CIFAR10 --trial 4 --method cac" in said
    for line in lines(store).values():
        for square in line.squares.values():
            assert (square.kind, grid.measured(square)) == ("none", "not measured")
            assert square.dataset == "digits" or grid.published(square)


def test_the_bundled_runs_stand_in_their_cells(store):
    shutil.copytree(BUNDLED, store, dirs_exist_ok=True)
    at = opened("CIFAR10.osrci.cac.gamma", command_of_1=True)
    numbers = json.loads((BUNDLED / CAC / "report.json").read_text())["scorers"]["gamma"]
    said = text(at)
    assert f"{100 * numbers['auroc']:.1f} % AUROC, {100 * numbers['accuracy']:.1f} % accuracy" in said
    assert "one trial only" in said and "test images of one run; other trials and seeds are not in it" in said
    assert "python -m cac_core train --dataset CIFAR10 --family osrci --trial 0" in said
    assert any(page == "home" and asked["run"] == [CAC] for page, asked in links_in(at))
    assert any(page == "live" and asked["watched"] == [CAC] for page, asked in links_in(at))
    assert any(page == "runs" and asked["runs_text"] == [CAC] for page, asked in links_in(at))
    assert any("ROC curves" in str(chart.proto) for chart in at.get("echarts_chart"))
    assert not [page for page, _ in links_in(at) if page == "compare"]  # of one run there is nothing to compare


def test_the_projects_own_runs_fill_the_grid_and_are_taken_along(store, monkeypatch):
    monkeypatch.setattr(reproduce, "SHIPPED", SHIPPED)
    measured = next(
        c for c in reproduce.tables(reproduce.readings(SHIPPED), "CIFAR10", "cac").cells if c.scorer == "gamma"
    ).first
    at = opened("CIFAR10.osrci.cac.gamma", command_of_1=True)
    said = text(at)
    number = f"{measured.auroc:.1f} ± {measured.sd:.1f} % AUROC"
    assert number in said and "5 runs: trials 0, 1, 2, 3, 4; 5 of them Anchorscope's own" in said
    assert "5 of these runs come with Anchorscope, without their weights." in said
    assert "--dataset CIFAR10 --trial 4 --method cac" in said
    assert "0 of 5 runs of the preset fast are there" in said  # of one's own
    assert any("ROC curves" in str(chart.proto) for chart in at.get("echarts_chart"))
    assert not [page for page, asked in links_in(at) if page == "compare" or "run" in asked]  # no page has them yet
    at = fine(at.button(key="take_1").click().run())
    said = text(at)
    assert number in said and "Anchorscope's own" not in said and "5 of 5 runs of the preset fast are there" in said
    assert {asked["run"][0] for page, asked in links_in(at) if page == "home" and "run" in asked} == set(measured.runs)
    assert sorted(run.id for run in runs.every(store)) == sorted(measured.runs)
    assert all(run.problem() == "" for run in runs.every(store))


def test_without_the_projects_own_runs_only_the_store_counts(store, monkeypatch):
    monkeypatch.setattr(reproduce, "SHIPPED", SHIPPED)
    at = opened("CIFAR10.osrci.cac.gamma")
    assert shell.command("reproduce") in text(at) and "Nothing was measured" not in text(at)
    assert at.toggle(key="papers_shipped").value is True
    at = fine(at.toggle(key="papers_shipped").set_value(False).run())
    assert "Nothing was measured for this cell yet." in text(at) and "python -m cac_core reproduce --own" in text(at)


def test_what_is_being_trained_is_not_overwritten_by_a_copy(store, trained, monkeypatch):
    monkeypatch.setattr(reproduce, "SHIPPED", SHIPPED)
    begun = trained("0", 0.5, state="stopped")
    before = (begun.path / "report.json").read_bytes()
    at = opened("CIFAR10.osrci.cac.gamma").button(key="take_1").click().run()
    assert not at.exception and f"{begun.id} is there already" in "".join(e.value for e in at.error).replace("\\", "")
    assert len(runs.every(store)) == 5  # the others are there
    assert (begun.path / "report.json").read_bytes() == before and not list((store / ".making").iterdir())


def links_in(at: AppTest) -> list[tuple[str, dict]]:
    return [(link.proto.page.rpartition("/")[2].removesuffix(".py") or "home", parse_qs(link.proto.query_string))
            for link in at.get("page_link")]  # fmt: skip


def test_a_value_over_five_trials_is_placed_and_its_runs_are_compared(store, trained):
    made = [trained(str(trial), auroc) for trial, auroc in enumerate((0.90, 0.91, 0.92, 0.90, 0.93))]
    square = lines(store)["CAC"].squares["CIFAR10"]
    assert (square.kind, grid.SHAPES[square.kind]) == ("above", "▲")
    mean, sd = 91.2, statistics.stdev((90, 91, 92, 90, 93))
    said = text(opened("CIFAR10.osrci.cac.gamma"))
    assert f"{mean:.1f} ± {sd:.1f} % AUROC" in said and "5 runs: trials 0, 1, 2, 3, 4" in said
    assert "+11.1 points from the published value; 95 % interval" in said and "over trials, of both" in said
    assert "commit abcdef012345" in said and "a <b>small</b> one" in said
    (facts,) = [c.value for c in opened("CIFAR10.osrci.cac.gamma").caption if "abcdef012345" in c.value]
    assert r"a \<b\>small\<\/b\> one" in facts  # whatever a run calls its machine is no markup
    at = opened("CIFAR10.osrci.cac.gamma")
    assert ("compare", {"ids": [",".join(run.id for run in made)]}) in [
        (page, {"ids": asked.get("ids")}) for page, asked in links_in(at)
    ]
    assert not [button for button in at.button if button.key == "train_missing"]


def test_runs_on_other_images_are_told_apart(store, trained):
    trained("0", 0.9)
    trained("1", 0.8, data="elsewhere")
    said = text(opened("CIFAR10.osrci.cac.gamma"))
    assert "1: **Measured**: 90.0 %" in said and "2: **Measured**: 80.0 %" in said and "images elsewhere" in said


def test_a_caveat_stands_in_the_cell_its_tooltip_and_its_detail(store):
    square = lines(store)["Softmax"].squares["CIFAR10"]
    assert grid.published(square) == "67.7*" and "hinge loss" in grid.tip(lines(store)["Softmax"], square)
    at = opened("CIFAR10.osrci.cross_entropy.msp")
    assert any("hinge loss" in warning.value for warning in at.warning)


def test_families_never_stand_in_one_table(store, trained):
    trained("0", 0.9)
    found = reproduce.tables(results.readings(store))
    for family in ("osrci", "arpl", "not stated"):
        cells, others = grid.of_family(found, family)
        assert {one.family for one in cells} | {one["family"] for one in others} == {family}
    at = opened("CIFAR10.arpl.cross_entropy.max_logit")  # the address of a cell opens its family
    assert at.selectbox(key="papers_family").value == "arpl" and "93.6 %" in text(at)
    at = fine(at.selectbox(key="papers_family").set_value("osrci").run())
    assert "93.6 %" not in text(at) and "Open a cell" in text(at)


def test_the_table_says_what_the_grid_says(store, trained):
    trained("0", 0.9)
    at = opened(papers_table="true")
    shown = at.dataframe[0].value
    one = shown[(shown["Data set"] == "CIFAR10") & (shown["Method"] == "CAC")].iloc[0]
    assert one["Measured AUROC, %"] == "90.0" and one["Place"].startswith("◇ one trial only")
    assert one["Published AUROC, %"].replace("\u00a0", " ") == "80.1 ± 3.0"
    assert len(shown) == sum(len(line.squares) for line in lines(store).values())
    at = fine(at.selectbox(key="papers_open").set_value("CIFAR10.osrci.cac.gamma").run())
    assert "90.0 % AUROC" in text(at)
    at = fine(at.toggle(key="papers_table").set_value(False).run())
    assert "90.0 % AUROC" in text(at)  # and stays open in the grid
    fine(at.button(key="close_cell").click().run())
    assert "90.0 % AUROC" not in text(at)


@pytest.mark.parametrize("cell", ["", "x", "CIFAR10.osrci.cac", "CIFAR10.osrci.cac.gamma\n", "<b>", "a" * 5000])
def test_a_cell_that_is_none_is_told(cell):
    assert not cell or "There is no such cell here" in text(opened(cell))


def test_broken_runs_are_told_and_the_others_stay(store, trained):
    good, torn, going = trained("0", 0.9), trained("1", 0.1), trained("2", 0.1, state="stopped")
    (torn.path / "recipe.json").write_text("{")
    (store / "not-a-run").mkdir()
    foreign = trained("3", 0.1, classes={"known": [0, 1], "unknown": [2], "names": list("abc")})
    at = opened("CIFAR10.osrci.cac.gamma")
    said = text(at)
    assert "90.0 % AUROC" in said and good.id in str(links_in(at))
    assert f"{going.id}: stopped" in said and f"{torn.id}: broken" in said
    assert "its classes are not those of that trial" in said and "**not-a-run**" in said
    assert foreign.id not in str(links_in(at))


def test_runs_whose_outputs_are_damaged_keep_their_numbers(store, trained):
    run = trained("0", 0.9)
    (run.path / "outputs" / "test.npz").write_bytes(b"PK")
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
    at.query_params["cell"] = "CIFAR10.osrci.cac.gamma"
    at.run()
    at.switch_page(PAGE).run()
    assert not at.exception and "90.0 % AUROC" in text(at) and "1 of 5 runs of the preset" in text(at)
    assert len(at.error) >= 1


# --- what is missing -------------------------------------------------------------------------------------------------


def test_what_is_missing_is_put_into_the_queue(store, trained):
    made = trained("0", 0.9, like="digits-osrci-0-cac-small-s0")
    trained("1", 0.9, state="stopped", like="digits-osrci-0-cac-small-s0")
    at = opened("digits.osrci.cac.gamma")
    assert "How long that takes on this machine is not measured yet" in text(at)
    assert "python -m cac_core probe --preset fast --dataset digits" in text(at)
    button = at.button(key="train_missing")
    assert not button.disabled and button.label.endswith("(14)")
    at = fine(button.click().run())
    wanted = {one.id for one in reproduce.grid("digits", "cac")} - {made.id}
    assert {job.run for job in launch.jobs(store)} == wanted
    assert "14 trainings are in the queue." in text(at)
    assert not [button for button in at.button if button.key == "train_missing"]


def test_the_estimate_is_what_probes_measured(store):
    left = reproduce.grid("digits", "cac")
    trials = {one.id: datasets.trial_of(one, holdings.row("digits")) for one in left}
    measured = probe.Measured("cpu", 10.0, 0.0, 0.0, 0.0, 1, 0, 1, (1, 1), 1, 1, 1, (1, 1), False)
    for file in plans.probes(list(left), trials, jobs.devices()[-1]):
        runs.write_json(file, dataclasses.asdict(measured))
    assert f"About {wording.span(150)} in all on " in text(opened("digits.osrci.cac.gamma"))


def test_where_the_images_are_absent_nothing_can_be_trained():
    at = opened("SVHN.osrci.cac.gamma")
    assert at.button(key="train_missing").disabled and "The images of SVHN are not here." in text(at)
    assert any(page == "data" for page, _ in links_in(at))


def test_in_a_show_nothing_is_trained_or_written(store, trained, monkeypatch):
    trained("0", 0.9, like="digits-osrci-0-cac-small-s0")
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    before = sorted(path for path in store.rglob("*"))
    at = opened("digits.osrci.cac.gamma")
    assert at.button(key="train_missing").disabled and "This is a show: nothing can be changed here." in text(at)
    assert sorted(path for path in store.rglob("*")) == before


# --- the other tables ------------------------------------------------------------------------------------------------


def test_the_reports_values_carry_their_leak(store):
    at = opened("CIFAR10.not stated.cac.CAC on EfficientNet-B5, with ODIN", papers="report")
    said = text(at)
    assert "86.51 %" in said and any("true test labels" in warning.value for warning in at.warning)
    assert "--as-published" in said and "a LEAK" in said
    assert "train --preset report-tinyimagenet --trial 0" in text(
        opened("TinyImageNet.not stated.cac.CAC on EfficientNet-B5", papers="report")
    )


def test_the_tutorial_stands_beside_what_other_unknowns_gave(store, trained):
    at = opened(papers="tutorial")
    assert "89.6 % AUROC" in text(at) and "No run on CIFAR10 was evaluated" in text(at)
    run = trained("0", 0.9)
    with np.load(run.path / "outputs" / "test.npz") as held:
        mine = held["labels"] < 0
        arrays = {name: held[name][mine] if held[name].shape[:1] == mine.shape else held[name] for name in held.files}
    arrays |= {"dataset": np.array("CIFAR100")}
    runs.write_npz(run.path / "outputs" / f"{runs.unknown_split('CIFAR100')}.npz", **arrays)
    at = opened(papers="tutorial")
    (row,) = at.dataframe[0].value.to_dict("records")
    assert (row["Run"], row["Unknown"], row["Known classes"]) == (run.id, "CIFAR100", 6)
    own = json.loads((BUNDLED / CAC / "report.json").read_text())["scorers"]["gamma"]  # the same images as its own
    assert row["Measured AUROC, %"] == f"{100 * own['auroc']:.1f}"
    assert "fewer than ten classes" in text(at)


# --- exports and speed -----------------------------------------------------------------------------------------------


class Parsed(HTMLParser):
    """The elements of a page, closed as they were opened; what it would load."""

    EMPTY = ("meta", "br")

    def __init__(self, page: str):
        super().__init__()
        self.open, self.found, self.loads = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.loads += [(tag, name) for name, _ in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


WILD = "<script>alert(1)</script> & \"x\" 'y' http://elsewhere"


def test_the_page_to_take_along_stands_alone(store):
    own = [
        Reading(
            f"run-{trial}", "finished", "", f"r{trial}", "CIFAR10", "osrci", "cac", WILD, trial, 0, "",
            {"gamma": (0.9 + int(trial) / 100, 0.95, None, None)}, 12.0, WILD, WILD,
        )
        for trial in "01"
    ]  # fmt: skip
    found = reproduce.tables(own)
    page = grid.as_html(found, ("osrci", "cac-2020", "arpl", "not stated"))
    parsed = Parsed(page)
    assert parsed.open == [] and parsed.loads == [] and "script" not in parsed.found
    assert parsed.found.count("table") == 3 and "link" not in parsed.found and "img" not in parsed.found
    bare = page.replace("http://elsewhere", "")
    assert not re.search(r"https?:|url\(|@import", bare) and "&lt;script&gt;" in page
    assert "90.5\u00a0±\u00a00.7" in page and "80.1\u00a0±\u00a03.0" in page and "hinge loss" in page


def test_what_a_training_doubted_goes_with_its_number_everywhere(store, trained):
    doubt = 'The "generator" <b>collapsed</b> at 3%'
    run = trained("0", 0.954, like=CAC)
    (run.path / "events.jsonl").write_text(json.dumps({"kind": "epoch", "epoch": 1}) + "\n")  # one, with no time
    for _ in range(2):
        runs.append(run.path / "events.jsonl", {"kind": "warning", "text": doubt})
    found = reproduce.tables(results.readings(store))
    square = lines(store)["CAC"].squares[run.recipe.dataset]
    assert grid.measured(square) == "95.4*" and doubt in grid.tip(lines(store)["CAC"], square)
    assert doubt in "".join(grid.as_table([*lines(store).values()])["Caveat"])
    assert html.escape(doubt) in grid.as_html(found, ["osrci"])
    assert doubt in reproduce.as_csv(found).replace('""', '"')
    assert f"% * cac, gamma: {doubt}" in reproduce.as_latex(found)
    assert doubt in "".join(reproduce.lines(found))
    at = opened(square.key)
    assert [one.value.replace("\\", "") for one in at.warning] == [doubt]
    assert "epochs of training: 1; how long they took is not known" in text(at)


def test_exports_are_offered(store, trained):
    trained("0", 0.9)
    at = opened()
    labels = {button.proto.label for button in at.get("download_button")}
    assert labels == {"Page (HTML)", "CSV", "LaTeX table"}
    rows = list(csv.DictReader(io.StringIO(reproduce.as_csv(reproduce.tables(results.readings(store))))))
    assert any(row["runs"] for row in rows)


def test_a_run_is_read_once_and_again_when_it_has_changed(store, trained, monkeypatch):
    made, asked, whole = [trained(str(trial), 0.9) for trial in range(2)], [], reproduce.reading
    monkeypatch.setattr(reproduce, "reading", lambda run: asked.append(run.id) or whole(run))
    results.readings(store)
    assert len(asked) == 2
    results.readings(store)
    assert len(asked) == 2
    report = json.loads((made[0].path / "report.json").read_text())
    report["scorers"]["gamma"]["auroc"] = 0.5
    runs.write_json(made[0].path / "report.json", report | {"more": 1})
    found = {one.run: one.numbers["gamma"][0] for one in results.readings(store)}
    assert asked[2:] == [made[0].id] and found == {made[0].id: 0.5, made[1].id: 0.9}


def test_what_is_kept_on_disk_is_what_was_read(store, trained, monkeypatch):
    trained("0", 0.9), trained("1", 0.8, state="stopped")
    monkeypatch.setattr(results, "WORTH", 1)
    before = results.readings(store)
    assert (store / ".cache" / "rows.json").exists()
    results._kept.clear()
    monkeypatch.setattr(reproduce, "reading", None)
    assert results.readings(store) == before
