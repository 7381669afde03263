"""What the page Logit space shows of one method alone: offered for its runs, and of what they hold."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import charts, systems
from cac_core import runs
from cac_core.recipe import Recipe
from tests.waiting import LONG

HERE = Path(__file__).parents[2]
TITLES = {
    "crosr": "Image, reconstruction, error",
    "cider": "Directions on the sphere",
    "supcon": "Directions on the sphere",
    "vos": "Virtual outliers",
}


def opened(run, monkeypatch, tmp_path) -> AppTest:
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(run.path.parent))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
    at.query_params["run"] = run.id
    at.run()
    at = at.switch_page("app/pages/space.py").run()
    assert not at.exception, [e.value for e in at.exception]
    return at


def pictures(at: AppTest) -> list[str]:
    return [one.value for one in at.subheader if one.value in TITLES.values()]


def with_prototypes(run, prototypes: np.ndarray) -> None:
    for split in runs.SPLITS:
        file = run.path / "outputs" / f"{split}.npz"
        with np.load(file) as stored:
            arrays = dict(stored)
        arrays.pop("anchors", None)
        runs.write_npz(file, **arrays, prototypes=prototypes)


def with_rebuilt(run, rows=(0, 3, 85)) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, len(rows), 16, 16, 1)).astype(np.uint8)
    error = rng.uniform(0.1, 1, len(run.outputs("test"))).astype(np.float32)
    runs.write_npz(
        run.path / "rebuilt.npz", error=error, rows=np.array(rows, np.int32), images=pixels[0], made=pixels[1]
    )


def test_no_other_method_has_one_nor_a_run_without_what_it_is_made_of(make_run, monkeypatch, tmp_path):
    run = make_run("one", method="cross_entropy")
    with_rebuilt(run)
    assert not pictures(opened(run, monkeypatch, tmp_path))
    for method in ("crosr", "cider"):
        assert not pictures(opened(make_run(method, method=method), monkeypatch, tmp_path))
    weightless = make_run("weightless", method="vos")
    recipe = Recipe.from_json(weightless.record["recipe"] | {"hyper": {"weight": 0.0}})
    runs.write_json(weightless.path / "recipe.json", weightless.record | {"recipe": recipe.to_json()})
    assert not pictures(opened(weightless, monkeypatch, tmp_path))


@pytest.mark.parametrize("unknown", [30, 0])
def test_reconstructions_of_both_sides_are_shown_with_their_errors(make_run, monkeypatch, tmp_path, unknown):
    run = make_run(method="crosr", unknown=unknown)
    with_rebuilt(run, (0, 3, 85) if unknown else (0, 3))
    at = opened(run, monkeypatch, tmp_path)
    assert pictures(at) == [TITLES["crosr"]]
    said = "\n".join(one.value for one in [*at.markdown, *at.caption])
    assert "Known classes" in said and ("Classes never seen" in said) == bool(unknown)
    assert charts.number(float(run.rebuilt()["error"][3])) in said
    assert ("By this error alone the AUROC" in said) == bool(unknown)


def test_reconstructions_that_do_not_fit_the_outputs_are_not_shown(make_run, monkeypatch, tmp_path):
    run = make_run(method="crosr")
    with_rebuilt(run)
    shutil.copy(run.path / "outputs" / "validation.npz", run.path / "outputs" / "test.npz")
    assert not pictures(opened(run, monkeypatch, tmp_path))
    (run.path / "rebuilt.npz").write_bytes(b"no archive")
    assert not pictures(opened(run, monkeypatch, tmp_path))


@pytest.mark.parametrize("method", ["cider", "supcon"])
@pytest.mark.parametrize("told", [True, False])
def test_angles_are_told_against_those_of_a_simplex(make_run, monkeypatch, tmp_path, method, told):
    run = make_run(method=method)
    prototypes = np.eye(4, 6, dtype=np.float32)
    prototypes[3] = (prototypes[3] + prototypes[2]) / 2**0.5
    with_prototypes(run, prototypes)
    if told:
        beside = {"own": 0.9, "between": -0.2, "closest": 0.4}
        for epoch in (1, 2):
            runs.append(run.path / "events.jsonl", {"kind": "epoch", "epoch": epoch, "epochs": 2, "beside": beside})
    at = opened(run, monkeypatch, tmp_path)
    assert pictures(at) == [TITLES[method]]
    said = "\n".join(one.value for one in at.caption)
    assert "4 directions can be 109° from each other at most" in said and "2 and 3, are 45° apart" in said
    assert ("SupCon's loss knows no prototypes" in said) == (method == "supcon")


def test_virtual_outliers_are_drawn_by_the_stored_features(make_run, monkeypatch, tmp_path):
    run = make_run(method="vos")
    at = opened(run, monkeypatch, tmp_path)
    assert pictures(at) == [TITLES["vos"]]
    assert "of 10000 draws the least likely" in "\n".join(one.value for one in at.caption)
    shown, xy, distances = systems._virtual.__wrapped__(str(run.path), run.written, 10000)
    assert 0 < shown <= 1 and len(xy["virtual"]) == 4 * 30 == len(distances["virtual"])
    assert np.median(distances["known"].min(1)) < np.median(distances["virtual"].min(1))
    assert len(distances["mixed"]) > 1000 and len(xy["mixed"]) == systems.VIRTUAL


def test_three_classes_lie_on_the_sphere_itself():
    places = np.array([[1.0, 0], [0, 0.5], [-0.5, -0.5]])
    radius, angle = zip(*charts.polar(places, 1.2), strict=True)
    assert radius == (1, 0.5, 0.707) and angle == (0, 90, 225)


def test_histograms_hold_all_of_each_part_and_tell_them_apart_by_their_lines():
    option = systems.histograms({name: np.arange(9.0) for name in "abcd"}, "x", charts.LIGHT)
    for line in option["series"]:
        assert sum(share for _, share in line["data"][:-1]) == pytest.approx(100, abs=0.1)
    kinds = [json.dumps(line["lineStyle"]["type"]) for line in option["series"]]
    assert kinds[:2] == ['"solid"', '"dashed"'] and len(set(kinds)) == 4
    assert option["yAxis"]["axisLabel"]["formatter"].endswith("%")
    flat = systems.histograms({"a": np.ones(3)}, "x", charts.LIGHT)
    assert all(np.isfinite(x) and np.isfinite(y) for x, y in flat["series"][0]["data"])


def test_what_lies_far_beyond_is_left_out_of_a_histogram_and_said():
    values = np.linspace(0, 1, 1000)
    near = systems.histograms({"a": values, "b": np.array([1.2])}, "x", charts.LIGHT)
    assert near["xAxis"]["name"] == "x" and near["xAxis"]["max"] == pytest.approx(1.2)
    far = systems.histograms({"a": values, "b": np.array([9.0])}, "x", charts.LIGHT)
    beyond = int((np.r_[values, 9.0] > far["xAxis"]["max"]).sum())
    assert far["xAxis"]["max"] < 1 and far["xAxis"]["name"] == f"x\n{beyond} of 1001 lie beyond"
    assert far["grid"]["bottom"] > near["grid"]["bottom"]
    last = [share for _, share in far["series"][0]["data"][:-1]]
    assert last[-1] == pytest.approx(np.mean(last), rel=0.1) and not any(y for _, y in far["series"][1]["data"])


def test_names_of_clusters_stand_on_ground_of_their_own():
    xy = {"train": np.zeros((2, 2)), "labels": np.arange(2), "means": np.eye(2), "virtual": np.zeros((1, 2))}
    option = systems.around(xy, ("virtual",), ["0", "1"], charts.DARK)
    assert [one["label"]["backgroundColor"] for one in option["series"][-1]["data"]] == [charts.DARK.surface] * 2


@pytest.mark.parametrize("shown", [("own",), tuple(systems.COSINES)])
def test_a_course_on_the_sphere_says_what_each_line_is(make_run, shown):
    run, drawn, said = make_run(method="cider"), [], []
    for epoch in (1, 2):
        beside = {"own": 0.9, "between": -0.2, "closest": 0.4}
        runs.append(run.path / "events.jsonl", {"kind": "epoch", "epoch": epoch, "epochs": 2, "beside": beside})
    place = SimpleNamespace(echarts_chart=lambda option, **more: drawn.append(option), caption=said.append)
    systems.course(run, place, shown)
    assert drawn[0]["legend"]["show"] and said
    assert [line["name"] for line in drawn[0]["series"]][: len(shown)] == [systems.COSINES[name] for name in shown]
    symbols = [line["symbol"] for line in drawn[0]["series"]]
    assert len(set(symbols)) == len(symbols)
