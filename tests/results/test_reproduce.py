"""The papers' tables again: means and intervals by slow oracles, what counts and what does not, what is missing."""

import csv
import io
import json
import re
import shutil
import statistics
from pathlib import Path

import pytest

from cac_core import runs
from cac_core.__main__ import main
from cac_core.data import datasets
from cac_core.jobs import launch, worker
from cac_core.recipe import METHODS, compose
from cac_core.results import reproduce
from cac_core.scoring.scorers import default_for
from tests import reference

AUROCS = (0.80, 0.83, 0.79, 0.86, 0.82)  # of the trials


@pytest.fixture
def measured(store):
    """measured(trial, auroc, ...): a finished run of the grid, of which only recipe, state and numbers are there."""

    def make(trial, auroc, seed=0, state="finished", scorers=None, **given):
        family = given.get("family", "osrci")
        recipe = compose(given.pop("preset", "fast"), **{"dataset": "CIFAR10"} | _recipe(given), trial=trial, seed=seed)
        run = runs.Run(store / given.pop("name", recipe.id))
        row = datasets.DATASETS[recipe.dataset]
        listed = datasets.published()[family][row.trials][int(trial)]
        names = [str(i) for i in range(200 if recipe.dataset == "TinyImageNet" else len(row.classes))]
        unknown = listed["unknown"]
        if unknown == "rest":
            unknown = [c for c in range(len(names)) if c not in listed["known"]]
        else:
            unknown = [row.unknown_from + c for c in unknown]
        record = {
            "recipe": recipe.to_json(),
            "classes": {"known": listed["known"], "unknown": unknown, "names": names},
            "prepare": {"size": 32, "grain": 32, "channels": 3, "ink": False},
            "mean": [0.5] * 3, "std": [0.2] * 3, "data": "one", "commit": "abc",
        }  # fmt: skip
        runs.write_json(run.path / "recipe.json", record | given.pop("record", {}))
        if state:
            runs.write_json(run.path / "status.json", {"state": state, "machine": "a test"})
        if scorers is None:
            own = default_for(recipe.method)
            scorers = {own: {"accuracy": 0.9, "auroc": auroc}, "vim": {"error": "none"}}
        if scorers:
            runs.write_json(run.path / "report.json", {"default": next(iter(scorers)), "scorers": scorers})
        return run

    return make


def _recipe(given):
    return {name: value for name, value in given.items() if name not in ("name", "record")}


def tables(store, *of, **how):
    return reproduce.tables(reproduce.readings(store), *of, **how)


def cell(store, dataset="CIFAR10", method="cac", scorer=None, family="osrci"):
    key = (dataset, family, method, scorer or default_for(method))
    return next(c for c in tables(store).cells if (c.dataset, c.family, c.method, c.scorer) == key)


# --- means and intervals ---------------------------------------------------------------------------------------------


def test_every_trial_counts_once_and_a_run_that_is_there_twice_as_one(store, measured):
    values = {"0": {0: [0.6, 0.62], 1: [0.7], 2: [0.8]}, "2": {0: [0.9]}, "4": {0: [0.7], 1: [0.74]}}
    for trial, seeds in values.items():
        for seed, same in seeds.items():
            for turn, value in enumerate(same):
                measured(trial, value, seed, name=f"run-{trial}-{seed}-{turn}")
    (one,) = cell(store).measured
    mean, trials = reference.mean_over_trials(values)
    assert one.auroc == pytest.approx(100 * mean) and one.sd == pytest.approx(100 * statistics.stdev(trials))
    assert (one.trials, one.seeds, len(one.runs)) == (("0", "2", "4"), 3, 7)
    assert (one.accuracy, one.accuracy_sd) == (pytest.approx(90), pytest.approx(0, abs=1e-9))


@pytest.mark.parametrize("freedom", [1, 2.4, 4, 7.7, 30])
def test_the_oracles_quantile_is_students(freedom):
    from scipy.stats import t

    assert reference.t_quantile(0.975, freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-4)


def test_over_trials_the_interval_is_welchs_where_a_deviation_is_published(store, measured):
    for trial, value in enumerate(AUROCS):
        measured(str(trial), value)
    one = cell(store).first
    values = [100 * value for value in AUROCS]
    assert (one.low, one.high) == pytest.approx(reference.welch_interval(values, 80.1, 3.0, 5), abs=1e-3)
    assert one.difference == pytest.approx(statistics.fmean(values) - 80.1) and one.over == reproduce.TRIALS_BOTH
    assert one.place == reproduce.WITHIN


def test_over_trials_the_interval_is_students_where_none_is(store, measured):
    for trial, value in enumerate(AUROCS):
        measured(str(trial), value, method="cross_entropy")
    one = cell(store, method="cross_entropy").first
    expected = reference.student_interval([100 * value for value in AUROCS], 67.7)
    assert (one.low, one.high) == pytest.approx(expected, abs=1e-3) and one.over == reproduce.TRIALS_OURS
    assert one.place == reproduce.ABOVE


@pytest.mark.parametrize("values, place", [((70, 71), "below"), ((80, 80.2), "within"), ((89, 89.5), "above")])
def test_places_are_seen_from_the_published_value(values, place):
    entry = {"auroc": 80.1, "sd": 0.1}
    found = reproduce.against(statistics.fmean(values), statistics.stdev(values), 2, 2, entry)
    assert found["place"] == place and (found["low"] > 0, found["high"] < 0) == (place == "above", place == "below")


def test_without_any_deviation_on_either_side_the_interval_is_a_point():
    found = reproduce.against(87.5, 0.0, 5, 5, {"auroc": 87.0, "sd": 0.0})
    assert (found["low"], found["high"], found["place"]) == (0.5, 0.5, "above")


def test_one_trial_is_placed_nowhere_however_many_seeds_it_has(store, measured):
    scorers = {"gamma": {"accuracy": 0.9, "auroc": 0.99, "intervals": {"auroc": [0.98, 0.995]}}}
    measured("0", 0, scorers=scorers)
    one = cell(store).first
    assert (one.low, one.high) == pytest.approx((98 - 80.1, 99.5 - 80.1)) and (one.place, one.sd) == ("", None)
    assert one.over == reproduce.IMAGES
    for seed in (1, 2):
        measured("0", 0.98 + seed / 1000, seed)
    one = cell(store).first
    assert one.low > 0 and one.over == reproduce.SEEDS_OURS and one.place == ""


# --- what counts -----------------------------------------------------------------------------------------------------


def test_other_images_and_other_recipes_are_measurements_of_their_own(store, measured):
    measured("0", 0.7)
    measured("1", 0.8)
    measured("2", 0.9, record={"data": "two"}, name="other-images")
    measured("3", 0.6, epochs=7)
    every = cell(store).measured
    assert [one.images for one in every] == ["one", "two", "one"]
    assert [(one.auroc, one.trials) for one in every] == [
        (pytest.approx(75), ("0", "1")), (pytest.approx(90), ("2",)), (pytest.approx(60), ("3",)),
    ]  # fmt: skip


def test_the_measurement_over_most_trials_is_first_never_the_highest(store, measured):
    measured("0", 0.7)
    measured("0", 0.95, epochs=7)
    assert [one.auroc for one in cell(store).measured] == pytest.approx([70, 95])  # the grid's before another
    measured("1", 0.95, epochs=7)
    assert [one.auroc for one in cell(store).measured] == pytest.approx([95, 70])


@pytest.mark.parametrize("state", ["failed", "stopped", "running", "starting", ""])
def test_what_has_not_ended_is_named_and_is_in_no_mean(store, measured, state):
    """Though it has numbers: `eval` gives a run that stopped those of the weights it has."""
    run = measured("0", 0.1, state=state)
    measured("1", 0.8)
    one = cell(store)
    assert [m.runs for m in one.measured] == [(compose("fast", dataset="CIFAR10", trial="1").id,)]
    assert one.under_way == ((run.id, state or "lost"),) and run.id in {r.id for r in one.missing}
    assert (run.id in {r.id for r in one.to_train}) == (state not in ("running", "starting"))


def test_a_run_that_is_still_reading_its_images_is_under_way(store):
    name = compose("fast", dataset="CIFAR10", trial="3").id
    runs.write_json(store / name / "status.json", {"state": "starting"})
    found = tables(store)
    assert cell(store).under_way == ((name, "starting"),) and not found.broken
    assert name not in {r.id for r in cell(store).to_train}


@pytest.mark.parametrize("family", datasets.published())
def test_every_published_trial_is_taken_for_what_it_is(store, measured, family, monkeypatch):
    monkeypatch.setattr(datasets.sources, "tinyimagenet_classes", lambda root: tuple(map(str, range(200))))
    for name, row in datasets.DATASETS.items():
        for trial in range(len(datasets.published()[family].get(row.trials or "", []))):
            recipe = compose("fast", dataset=name, family=family, trial=str(trial))
            row = datasets.row_of(name, store)
            of = datasets.trial_of(recipe, row)
            classes = {"known": of.known, "unknown": of.unknown, "names": [str(c) for c in row.classes]}
            run = measured(str(trial), 0.8, dataset=name, family=family, record={"classes": classes})
            assert reproduce.reading(run).problem == "", (name, trial)


def test_a_finished_run_without_numbers_is_evaluated_not_trained(store, measured):
    run = measured("0", 0, scorers={})
    one = cell(store)
    assert one.under_way == ((run.id, reproduce.UNEVALUATED),) and run.id not in {r.id for r in one.to_train}


def test_broken_runs_are_named_with_the_reason(store, measured):
    torn, half = measured("0", 0.1), measured("1", 0.1)
    foreign = measured("2", 0.1, record={"classes": {"known": [0, 1], "unknown": [2], "names": list("abc")}})
    nowhere = measured("3", 0.1, name="of-no-trial")
    record = nowhere.record
    runs.write_json(nowhere.path / "recipe.json", record | {"recipe": record["recipe"] | {"trial": "77"}})
    measured("4", 0.8)
    (torn.path / "recipe.json").write_text("{")
    (half.path / "report.json").write_text('{"scorers": {"gamma": {"auroc": 0.')
    (store / "not-a-run").mkdir()
    found = tables(store)
    said = dict(found.broken)
    assert said.keys() == {torn.id, half.id, foreign.id, nowhere.id, "not-a-run"}
    assert "trial 2 of osrci on CIFAR10" in said[foreign.id] and "trial 77" in said[nowhere.id]
    one = cell(store)
    assert [m.auroc for m in one.measured] == pytest.approx([80])
    assert {torn.id, half.id, foreign.id} == {name for name, state in one.under_way if state == "broken"}
    assert not {torn.id, half.id} & {r.id for r in one.to_train}


def test_families_never_share_a_cell(store, measured):
    measured("0", 0.7)
    measured("0", 0.9, family="cac-2020")
    assert cell(store).first.auroc == pytest.approx(70)
    other = cell(store, family="cac-2020")
    assert other.first.auroc == pytest.approx(90) and not other.published and not other.wanted


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_cell_by_its_papers_score(store, measured, method):
    for trial in "01":
        measured(trial, 0.9 + int(trial) / 100, method=method)
    found = cell(store, method=method)
    assert found.first.auroc == 90.5 and found.first.trials == ("0", "1") and found.scorer == default_for(method)
    published = {"osrci": "OSRCI", "g_openmax": "G-OpenMax", "cac": "CAC", "cross_entropy": "Softmax"}
    assert [entry["method"] for entry in found.published] == [published[name] for name in published if name == method]


def test_an_ensemble_counts_as_what_its_score_is_comparable_with(store, measured):
    base = compose("fast", dataset="CIFAR10").to_json()
    part = {"run": "a", "recipe": base, "mean": [0.5] * 3, "std": [0.2] * 3, "weights": "x"}
    softmax = {"msp": {"accuracy": 0.9, "auroc": 0.6}}
    for name, method, parts, scorers in (
        ("by-distance", "distance_ensemble", "cac", {"gamma": {"accuracy": 0.9, "auroc": 0.85}}),
        ("by-softmax", "softmax_ensemble", "cross_entropy", softmax),
        ("of-both", "softmax_ensemble", "cac", softmax),
    ):
        own = base | {"method": method, "hyper": {"parts": "seed 0 1"}}
        made = [part | {"recipe": base | {"method": parts}}] * 2
        measured("0", 0, name=name, scorers=scorers, record={"recipe": own, "parts": made})
    measured("0", 0.7)
    assert {one.runs[0]: one.auroc for one in cell(store).measured} == pytest.approx(
        {compose("fast", dataset="CIFAR10").id: 70, "by-distance": 85}
    )
    assert [one.runs for one in cell(store, method="cross_entropy").measured] == [("by-softmax",)]


def test_the_bundled_runs_are_of_their_trials():
    found = tables(Path(__file__).parents[2] / "checkpoints")
    assert not found.broken
    assert sum(len(one.runs) for c in found.cells for one in c.measured) >= 5


# --- a published table -----------------------------------------------------------------------------------------------


def test_broken_entries_of_a_published_table_are_left_out_and_named(tmp_path, store, measured, monkeypatch, capsys):
    good = {"dataset": "CIFAR10", "family": "osrci", "method": "CAC", "auroc": 80, "measured_as": ["cac", "gamma"],
            "source": "a paper"}  # fmt: skip
    bad = [None, 7, [], {}, good | {"auroc": "80"}, good | {"auroc": 180}, good | {"auroc": float("nan")},
           good | {"measured_as": ["cac"]}, good | {"measured_as": "cac"}, good | {"sd": -1},
           {k: v for k, v in good.items() if k != "source"}]  # fmt: skip
    file = tmp_path / "published.json"
    file.write_text(json.dumps([*bad, good]))
    entries, places = reproduce.published(file)
    assert len(entries) == 1 and places == list(range(len(bad)))
    measured("0", 0.7)
    found = tables(store, file=file)
    assert found.unfit == tuple(places)
    assert next(c for c in found.cells if c.published).first.difference == pytest.approx(-10)
    for text in ("", "{", '{"a": 1}', "\x00"):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"published.json holds no published values"):
            reproduce.published(file)


def test_the_published_table_is_whole():
    entries, places = reproduce.published()
    assert entries and not places


# --- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", reproduce.grid(), ids=lambda recipe: recipe.id)
def test_a_command_gives_back_its_recipe(recipe, monkeypatch):
    given = []
    monkeypatch.setattr("cac_core.training.loop.train", lambda recipe, *_, **how: given.append(recipe) or stop())
    monkeypatch.setattr(datasets, "here", lambda name, root: ([], ""))
    monkeypatch.setattr(datasets.sources, "tinyimagenet_classes", lambda root: tuple(map(str, range(200))))

    def stop():
        raise ValueError("enough")

    words = reproduce.command(recipe).split()
    assert words[:3] == ["python", "-m", "cac_core"]
    main(words[3:])
    assert given == [recipe]


def test_the_trial_is_the_seed_where_all_trials_know_the_same(store):
    for name in reproduce.BY_TRIAL:
        lists = datasets.published()["osrci"][name]
        assert len({tuple(one["known"]) for one in lists}) == 1
        assert [(r.trial, r.seed) for r in reproduce.grid(name, "cac")] == [(str(n), n) for n in range(5)]


def test_missing_queues_exactly_what_is_missing(store, measured, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(datasets, "here", lambda name, root: ([], "" if name != "SVHN" else "gone"))
    started = []
    monkeypatch.setattr(worker, "ensure_worker", started.append)
    done = measured("0", 0.8)
    going = measured("1", 0.8, state="running")
    stopped = measured("2", 0.8, state="stopped")
    where = ["--runs", str(store), "--data", str(tmp_path), "--json"]
    assert main(["reproduce", "--missing", "--dataset", "CIFAR10", *where]) == 0
    said = json.loads(capsys.readouterr().out)
    wanted = {r.id for r in reproduce.grid("CIFAR10")} - {done.id, going.id}
    assert set(said["queued"]) == wanted == {job.run for job in launch.jobs(store)} and stopped.id in wanted
    assert all(job.state == "queued" for job in launch.jobs(store)) and not started and said["absent"] == []
    assert main(["reproduce", "--missing", "--dataset", "CIFAR10", *where]) == 0
    assert len(launch.jobs(store)) == len(wanted)  # the same again is the same
    capsys.readouterr()
    assert main(["reproduce", "--missing", "--dataset", "SVHN", *where[:-1]]) == 0
    said = capsys.readouterr().out
    assert "0 trainings are in the queue" in said and "The images of SVHN are not here" in said
    assert len(launch.jobs(store)) == len(wanted)


def test_a_machine_that_calls_itself_a_formula_is_none_in_a_spreadsheet(store, measured):
    run = measured("0", 0.8)
    runs.write_json(run.path / "status.json", {"state": "finished", "machine": '=HYPERLINK("http://x")'})
    rows = list(csv.DictReader(io.StringIO(reproduce.as_csv(tables(store, "CIFAR10", "cac")))))
    assert [row["machines"] for row in rows if row["runs"]] == ['\'=HYPERLINK("http://x")']


def test_the_command_names_what_is_begun_and_what_is_broken(store, measured, capsys):
    going, torn = measured("1", 0.8, state="stopped"), measured("2", 0.8)
    (torn.path / "recipe.json").write_text("{")
    assert main(["reproduce", "--runs", str(store), "--dataset", "CIFAR10"]) == 0
    said = capsys.readouterr().out
    assert f"{going.id}: stopped" in said and f"{torn.id} is not counted: " in said
    assert "10 runs are missing here" in said  # whatever the project's own runs are


def test_the_projects_own_runs_count_where_a_store_has_not_the_same(store, measured, tmp_path, monkeypatch, capsys):
    theirs = [measured(str(trial), 0.8) for trial in range(5)]
    store.rename(tmp_path / "shipped")
    mine, stopped = measured("0", 0.9), measured("1", 0.9, state="stopped")
    every = reproduce.with_shipped(reproduce.readings(store), reproduce.readings(tmp_path / "shipped"))
    found = next(c for c in reproduce.tables(every, "CIFAR10", "cac").cells if c.scorer == "gamma")
    (one,) = found.measured
    assert (one.auroc, one.shipped) == (pytest.approx(82), 4) and set(one.runs) == {run.id for run in theirs}
    assert {r.id for r in found.missing} == {run.id for run in theirs} - {mine.id}  # of the store
    assert found.under_way == ((stopped.id, "stopped"),) and mine.id not in found.shipped
    assert found.shipped == {r.id for r in found.missing}
    assert "5 runs: trials 0, 1, 2, 3, 4; 4 of them the project's own" in "".join(
        reproduce.lines(reproduce.tables(every))
    )
    (row,) = [
        r for r in csv.DictReader(io.StringIO(reproduce.as_csv(reproduce.tables(every, "CIFAR10", "cac")))) if r["runs"]
    ]
    assert row["shipped"] == "4"
    record = json.loads((mine.path / "recipe.json").read_text())
    runs.write_json(mine.path / "recipe.json", record | {"data": "other images"})
    again = reproduce.with_shipped(reproduce.readings(store), reproduce.readings(tmp_path / "shipped"))
    found = next(c for c in reproduce.tables(again, "CIFAR10", "cac").cells if c.scorer == "gamma")
    assert [(one.auroc, len(one.runs), one.shipped) for one in found.measured] == [
        (pytest.approx(80), 5, 5), (pytest.approx(90), 1, 0),
    ]  # fmt: skip
    runs.write_json(mine.path / "recipe.json", record)
    monkeypatch.setattr(reproduce, "SHIPPED", tmp_path / "shipped")
    for flag, count in ((), 5), (("--own",), 1):
        assert (
            main(["reproduce", "--runs", str(store), "--dataset", "CIFAR10", "--method", "cac", "--json", *flag]) == 0
        )
        cells = json.loads(capsys.readouterr().out)["cells"]
        assert [len(c["measured"][0]["runs"]) for c in cells if c["scorer"] == "gamma" and c["measured"]] == [count]


# --- exports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(store, measured):
    for trial, value in enumerate(AUROCS):
        measured(str(trial), value)
    measured("0", 0.6, dataset="digits", method="cross_entropy", record={"commit": "a|b"})
    return tables(store)


def test_csv_has_a_row_for_each_measurement_and_each_published_value(full):
    rows = list(csv.DictReader(io.StringIO(reproduce.as_csv(full))))
    ours = [row for row in rows if row["runs"]]
    assert {(row["dataset"], row["method"]) for row in ours} == {("CIFAR10", "cac"), ("digits", "cross_entropy")}
    one = next(row for row in ours if row["dataset"] == "CIFAR10")
    assert float(one["auroc"]) == pytest.approx(82) and one["trials"] == "0 1 2 3 4" and one["commits"] == "abc"
    assert len([row for row in rows if row["published_auroc"]]) == len(reproduce.published()[0])


def test_latex_is_escaped_and_has_a_column_for_each_data_set(full):
    said = reproduce.as_latex(full)
    body = [line for line in said.splitlines() if not line.startswith("%")]
    rows = [line for line in body if line.endswith(r"\\")]
    columns = re.search(r"\\begin\{tabular\}\{l(c+)\}", said)[1]
    assert {row.count("&") for row in rows} == {len(columns)} == {len(reproduce.GRID)}
    assert r"$82.0 \pm 2.7$" in said and r"$60.0$$^\dagger$" in said and r"$67.7$$^\ast$" in said
    assert r"cross\_entropy, msp (measured)" in said and "Softmax (published)" in said and "OSRCI (published)" in said
    assert not re.search(r"(?<!\\)[_#]", "\n".join(body).replace(r"\begin", ""))
    assert "ARPL" not in said and "ARPL+CS (published)" in reproduce.as_latex(full, "arpl")
    assert "a&b%_\\{".translate(reproduce.TEX) == r"a\&b\%\_\textbackslash{}\{"


def test_markdown_has_as_many_cells_in_every_line(full):
    said = reproduce.lines(full)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in said} == {12}
    assert any("82.00 ± 2.74" in line and "80.1 ± 3.0" in line for line in said)


def test_what_a_record_says_breaks_no_line(store, measured):
    measured("0", 0.7, record={"imported_from": "CIFAR10_a | b\nc.pth"})
    said = reproduce.lines(tables(store))
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in said} == {12}


def test_json_holds_every_cell(full):
    said = json.loads(json.dumps([reproduce.record(one) for one in full.cells]))
    assert len(said) == len(full.cells) and all(one.keys() >= {"published", "measured", "missing"} for one in said)


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_reports_values_stand_beside_runs_of_its_presets(store, measured):
    both = {"gamma": {"accuracy": 0.9, "auroc": 0.8}, "distance": {"accuracy": 0.9, "auroc": 0.82}}
    run = measured("0", 0, preset="report-cifar10", scorers=both)
    measured("0", 0.7)
    cells = {(c.dataset, c.scorer): c for c in reproduce.of_report(reproduce.readings(store), {run.id: 88.5})}
    assert len(cells) == 4 and all(len(c.published) == 1 for c in cells.values())
    plain, moved = (cells["CIFAR10", name] for name in (reproduce.ON_REPORT, reproduce.WITH_ODIN))
    assert plain.first.auroc == pytest.approx(80) and moved.first.auroc == pytest.approx(88.5)
    assert moved.published[0]["note"] and not cells["TinyImageNet", reproduce.ON_REPORT].measured
    assert not next(c for c in reproduce.of_report(reproduce.readings(store), {}) if c.scorer == reproduce.WITH_ODIN
                    ).measured  # fmt: skip
    for c in cells.values():
        assert reproduce.report_commands(c)
    shutil.rmtree(run.path)


def test_the_grid_that_is_kept_here_proves_the_numbers_in_the_readme():
    root = Path(__file__).parents[2]
    found = reproduce.tables(reproduce.readings(root / "benchmarks" / "grid"), dataset="digits")
    readme = (root / "README.md").read_text("utf-8")
    assert not found.broken
    names = ("CAC, preset `fast` | γ", "cross-entropy, preset `fast` | 1 − softmax")
    for cell, name in zip(found.cells, names, strict=True):
        (one,) = cell.measured
        assert (len(one.runs), one.trials, one.seeds) == (15, ("0", "1", "2", "3", "4"), 3) and not cell.missing
        line = next(line for line in readme.splitlines() if line.startswith(f"| {name}"))
        for mean, sd in ((one.accuracy, one.accuracy_sd), (one.auroc, one.sd)):
            assert f"{mean:.1f} ± {sd:.1f} %" in line


def test_the_papers_data_sets_stand_in_the_readme_as_the_grid_measured_them():
    root = Path(__file__).parents[2]
    lines = (root / "README.md").read_text("utf-8").splitlines()
    names = {("cac", "gamma"): "CAC by γ", ("cross_entropy", "msp"): "cross-entropy by 1 − softmax"}
    rows = {
        key: [cell.strip() for cell in line.split("|")[2:-1]]
        for key, name in names.items()
        for line in lines if line.startswith(f"| {name}, preset `fast`, measured, five trials")
    }  # fmt: skip
    datasets = next(line for line in lines if line.startswith("| | MNIST")).split("|")[2:-1]
    measured = {
        (cell.method, cell.scorer, cell.dataset): cell.measured[0]
        for cell in reproduce.tables(reproduce.readings(root / "benchmarks" / "grid")).cells
        if cell.measured and cell.family == "osrci" and not cell.missing
    }
    assert ("cac", "gamma", "CIFAR10") in measured
    for key in names:
        for column, dataset in enumerate(map(str.strip, datasets)):
            if one := measured.get((*key, dataset)):
                assert (len(one.trials), one.seeds) == (5, 1)
                assert rows[key][column] == f"{one.auroc:.1f} ± {one.sd:.1f}"
            else:
                assert key not in rows or not rows[key][column]
