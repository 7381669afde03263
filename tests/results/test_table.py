"""The table of results: means over runs by hand, families apart, published values where they belong."""

import statistics

import pytest

from cac_core import runs
from cac_core.data import datasets
from cac_core.recipe import METHODS, Recipe
from cac_core.results import table
from cac_core.scoring.scorers import SCORERS


@pytest.fixture
def measured(store):
    """measured(trial, auroc, ...): a run of which only the recipe and two scores' numbers are there."""

    def make(trial, auroc, seed=0, family="osrci", dataset="CIFAR10", epochs=20, **more):
        recipe = Recipe(dataset=dataset, family=family, trial=trial, seed=seed, epochs=epochs, backbone="plain")
        run = runs.Run(store / recipe.id)
        names = [str(i) for i in range(10)]
        runs.write_json(
            run.path / "recipe.json",
            {
                "recipe": recipe.to_json(),
                "classes": {"known": [0, 1], "unknown": [2], "names": names},
                "prepare": {"size": 32, "grain": 32, "channels": 3, "ink": False},
                "mean": [0.5] * 3,
                "std": [0.2] * 3,
                **more,
            },
        )
        scorers = {"gamma": {"accuracy": 0.9, "auroc": auroc}, "knn": {"error": "none"}}
        runs.write_json(run.path / "report.json", {"default": "gamma", "scorers": scorers})
        return run

    return make


def ours(rows):
    return [row for row in rows if "runs" in row]


def test_means_and_spread_are_over_the_runs_of_a_recipe(store, measured):
    values = [0.70, 0.75, 0.86]
    for trial, value in enumerate(values):
        measured(str(trial), value)
    (row,) = ours(table.rows(store))
    assert row["auroc"] == pytest.approx(77) and row["auroc_sd"] == pytest.approx(100 * statistics.stdev(values))
    assert (row["trials"], row["seeds"], len(row["runs"])) == (["0", "1", "2"], 1, 3)
    assert "| 3 (trials 0, 1, 2) |" in table.lines([row])[-1]
    assert row["published"]["auroc"] == 80.1 and "DSC" in row["published"]["source"]


def test_trials_of_one_seed_each_have_one_seed(store, measured):
    for trial in range(3):
        measured(str(trial), 0.7, seed=trial)
    (row,) = ours(table.rows(store))
    assert row["seeds"] == 1 and "| 3 (trials 0, 1, 2) |" in table.lines([row])[-1]


def test_one_run_has_no_spread(store, measured):
    measured("0", 0.7)
    (row,) = ours(table.rows(store))
    assert row["auroc_sd"] is None
    assert "| 1 (trial 0) | 90.00 | 70.00 | 80.1 ± 3.0 |" in "\n".join(table.lines([row]))


def test_every_trial_counts_once_however_many_seeds_it_has(store, measured):
    """Seeds 0.6, 0.7, 0.8 on trial 0 and 0.9 on trial 10: over trials 0.8, over the runs it would be 0.75."""
    for seed, value in enumerate((0.6, 0.7, 0.8)):
        measured("0", value, seed=seed)
    measured("10", 0.9)
    (row,) = ours(table.rows(store))
    assert row["auroc"] == pytest.approx(80) and row["auroc_sd"] == pytest.approx(statistics.stdev([70, 90]))
    assert "| 4 (trials 0, 10; 3 seeds) |" in table.lines([row])[-1]


def test_on_one_trial_the_spread_is_over_its_seeds(store, measured):
    for seed, value in enumerate((0.6, 0.7)):
        measured("0", value, seed=seed)
    (row,) = ours(table.rows(store))
    assert row["auroc"] == pytest.approx(65) and row["auroc_sd"] == pytest.approx(statistics.stdev([60, 70]))


def test_families_and_recipes_never_share_a_row(store, measured):
    measured("0", 0.7)
    measured("0", 0.8, family="cac-2020")
    measured("1", 0.9, epochs=40)
    measured("0", 0.6, imported_from="CIFAR10_0_CACclassifierAnchorLoss.pth", seed=9)
    rows = ours(table.rows(store))
    assert sorted(row["auroc"] for row in rows) == pytest.approx([60, 70, 80, 90])
    assert "published" not in next(row for row in rows if row["family"] == "cac-2020")


def test_cells_nobody_measured_stay_empty(store):
    rows = table.rows(store)
    assert len(rows) == len(table.published()) and not ours(rows)
    line = next(line for line in table.lines(rows) if line.startswith("| TinyImageNet") and "| CAC |" in line)
    assert line.startswith("| TinyImageNet | osrci | CAC |  |  |  |  |  | 76.0 ± 1.5 |")


def test_a_broken_run_is_passed_over(store, measured):
    run = measured("0", 0.7)
    (run.path / "recipe.json").write_text("{")
    assert not ours(table.rows(store))


def test_published_numbers_name_what_exists():
    families = datasets.published()
    for entry in table.published():
        assert entry["dataset"] in datasets.DATASETS and entry["family"] in (*families, "arpl", "not stated")
        assert 50 < entry["auroc"] <= 100 and entry["source"]
        if "measured_as" in entry:
            method, scorer = entry["measured_as"]
            assert method in METHODS and scorer in SCORERS
