"""Maps: the wheel's order and the nearest images against brute force, PCA against scikit-learn, and UMAP for real."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import warnings
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from cac_core import runs
from cac_core.results import project
from cac_core.runs import Broken, Run
from cac_core.scoring import arrays
from cac_core.scoring.distances import class_means
from tests.waiting import LONG, wait_until

pytestmark = pytest.mark.long

BUNDLED = Path(__file__).parents[2] / "checkpoints" / "digits-osrci-0-cac-small-s0"


def heavy_after(code):
    """Run code in a fresh interpreter; which modules that take long to load are there after it."""
    heavy = "umap", "sklearn", "scipy", "numba", "torch"
    code += f"\nimport sys; print(*(m for m in {heavy} if m in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


# --- the anchor wheel ------------------------------------------------------------------------------------------------


def length(order, means):
    return sum(np.linalg.norm(means[a] - means[b]) for a, b in zip(order, [*order[1:], order[0]], strict=True))


def shortest(means):
    return min(length([0, *rest], means) for rest in permutations(range(1, len(means))))


@pytest.mark.parametrize("count", range(1, 9))
def test_the_order_of_few_classes_is_the_best_of_all(count):
    for seed in range(3):
        means = np.random.default_rng(seed).normal(size=(count, 3))
        order = project.wheel_order(means)
        assert sorted(order) == list(range(count)) and order[0] == 0
        assert count < 3 or order[1] < order[-1]
        if seed == 0 or count < 8:
            assert length(order, means) == pytest.approx(shortest(means))


def test_the_order_of_more_classes_is_the_best_or_close_to_it():
    ratios = []
    for seed in range(4):
        means = np.random.default_rng(seed).normal(size=(9, 3))
        order = project.wheel_order(means)
        assert sorted(order) == list(range(9)) and order[0] == 0 and order[1] < order[-1]
        ratios.append(length(order, means) / shortest(means))
    assert max(ratios) < 1.06 and np.isclose(ratios, 1).sum() >= 3


@pytest.mark.parametrize("count", [6, 8, 9, 20, 60])
def test_classes_on_a_ring_come_in_the_order_of_the_ring(count):
    ring = np.random.default_rng(count).permutation(count)
    turn = 2 * np.pi * np.arange(count) / count
    means = np.empty((count, 2))
    means[ring] = np.stack([np.cos(turn), np.sin(turn)], 1)
    order = project.wheel_order(means)
    at = np.argsort(ring)[order]  # where on the ring the classes lie, one after the other
    assert set((np.diff([*at, at[0]]) % count).tolist()) in ({1}, {count - 1})


@pytest.mark.parametrize("count", [4, 8, 12])
def test_classes_that_are_all_equally_alike_stay_in_their_order(count):
    assert project.wheel_order(0.1 + np.pi * np.eye(count)) == list(range(count))
    assert project.wheel_order(np.zeros((count, count))) == list(range(count))


def test_the_order_does_not_hang_on_scale_or_place():
    means = np.random.default_rng(1).normal(size=(12, 5))
    assert project.wheel_order(1e6 * means + 7) == project.wheel_order(means) == project.wheel_order(1e-12 * means)


def test_means_that_are_not_finite_have_no_order():
    with pytest.raises(ValueError, match="not finite"):
        project.wheel_order(np.array([[0, np.nan], [1, 1]]))


# --- PCA -------------------------------------------------------------------------------------------------------------


def test_pca_is_that_of_images_and_points_together():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)
    points = 10 * np.eye(6)
    both = np.concatenate([logits, points])
    theirs, ours = PCA(2).fit(both.astype(np.float64)), project.pca(logits, points)
    signs = np.sign((theirs.components_ * ours.axes.T).sum(1))
    assert ours.mean == pytest.approx(theirs.mean_)
    assert ours.axes == pytest.approx(theirs.components_.T * signs)
    assert ours.shares == pytest.approx(theirs.explained_variance_ratio_)
    assert ours(both) == pytest.approx(theirs.transform(both.astype(np.float64)) * signs)
    assert ours(points) == pytest.approx(ours(both)[-6:])


def test_the_signs_of_pca_are_fixed():
    rng = np.random.default_rng(1)
    logits, points = rng.normal(size=(50, 4)) * [5, 3, 1, 1], np.zeros((4, 4))
    one, mirrored = project.pca(logits, points), project.pca(-logits, -points)
    assert one.axes == pytest.approx(mirrored.axes)
    assert (one.axes[np.abs(one.axes).argmax(0), [0, 1]] > 0).all()


def test_pca_of_logits_on_a_line_has_one_direction():
    line = np.arange(20.0)[:, None] * [3, 4] + 1
    found = project.pca(line, line[:2])
    assert found.axes[:, 0] == pytest.approx([0.6, 0.8]) and found.shares == pytest.approx([1, 0])


@pytest.mark.parametrize(("wrong", "said"), [(np.ones((9, 3)), "equal"), (np.full((9, 3), np.nan), "9 of 9")])
def test_pca_of_nothing_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        project.pca(wrong, 10 * np.eye(3))


# --- the nearest training images -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 2**27])
def test_the_nearest_are_those_of_a_plain_loop(toy_outputs, monkeypatch, block):
    monkeypatch.setattr(arrays, "BLOCK", block)
    train, logits = toy_outputs(seed=0, known=200, unknown=0), toy_outputs(seed=1).logits
    train.mirrored[::3] = True
    index, distance = project.nearest(train, logits, 7)
    for own, rows, d in zip(logits, index, distance, strict=True):
        every = [(np.sqrt(((own - other) ** 2).sum()), i) for i, other in enumerate(train.logits.astype(np.float64))]
        every = sorted(pair for pair in every if pair[1] % 3)
        assert d == pytest.approx([pair[0] for pair in every[:7]], abs=0)
        assert len(set(rows)) == 7 and (rows % 3).all()
        assert [every_d for every_d, i in every if i in set(rows)] == pytest.approx(d, abs=0)


def test_the_nearest_are_right_where_images_almost_coincide(toy_outputs):
    train = toy_outputs(known=40, unknown=0)
    train.logits[:] = 1e4
    train.logits[:, 0] += np.arange(40) / 512  # as close as float32 can tell there
    index, distance = project.nearest(train, train.logits[[20]] + np.float64([[1e-4, 0, 0, 0]]), 4)
    assert index.tolist() == [[20, 21, 19, 22]]
    assert distance[0] == pytest.approx([1e-4, 1 / 512 - 1e-4, 1 / 512 + 1e-4, 1 / 256 - 1e-4], rel=1e-7)


@pytest.mark.parametrize(("k", "said"), [(0, "at least 1"), (41, "this run has 40")])
def test_a_wrong_number_of_nearest_is_refused(toy_outputs, k, said):
    train = toy_outputs(known=40, unknown=0)
    assert project.nearest(train, train.logits[:2], 40)[0].shape == (2, 40)
    with pytest.raises(ValueError, match=said):
        project.nearest(train, train.logits[:2], k)


def test_nothing_is_nearest_to_what_is_not_a_number(toy_outputs):
    with pytest.raises(ValueError, match="not finite"):
        project.nearest(toy_outputs(unknown=0), np.full((1, 4), np.nan))


# --- UMAP ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy of the bundled run, evaluated on another data set too; its map; and what was told meanwhile."""
    run = Run(tmp_path_factory.mktemp("store") / BUNDLED.name)
    shutil.copytree(BUNDLED, run.path, ignore=shutil.ignore_patterns("maps"))
    per_image = ("logits", "features", "labels", "classes", "index", "mirrored")
    strangers = {name: getattr(run.outputs("test"), name)[-60:] for name in per_image}
    strangers |= {"labels": np.full(60, -1), "logits": strangers["logits"][:, ::-1] / 2, "anchors": 10 * np.eye(6)}
    runs.write_npz(run.path / "outputs" / "unknown-others.npz", **strangers)
    told = []
    file = project.umap_map(run, progress=lambda *at: told.append((*at, project.under_way(run))))
    (one,) = project.maps(run)
    assert one.path == file
    return run, one, told


@pytest.fixture
def copied(made, tmp_path):
    """A copy of that run that a test may spoil, and its map."""
    run = Run(tmp_path / BUNDLED.name)
    shutil.copytree(made[0].path, run.path)
    (one,) = project.maps(run)
    return run, one


def pooled(run, one):
    """Logits and labels of the images of a map, looked up by split and row."""
    outputs = [run.outputs(split) for split in one.splits]
    at = list(zip(one.split, one.row, strict=True))
    return np.array([outputs[s].logits[r] for s, r in at]), np.array([outputs[s].labels[r] for s, r in at])


def order_of_neighbours(places):
    """For each place all others, by distance."""
    d = np.linalg.norm(places[:, None].astype(np.float64) - places, axis=2)
    np.fill_diagonal(d, -1)
    return d.argsort(1, kind="stable")[:, 1:]


def test_a_map_has_a_place_for_every_image_and_mark(made):
    _, one, _ = made
    assert one.splits == ("validation", "test", "unknown-others")
    assert np.bincount(one.split).tolist() == [172, 359, 60] and one.images == len(one.xy) == 591
    assert one.row.tolist() == [*range(172), *range(359), *range(60)]
    assert one.xy.dtype == np.float32 and np.isfinite(one.xy).all()
    assert one.means.shape == one.anchors.shape == (6, 2)
    assert one.parameters == {"neighbours": 15, "min_dist": 0.1, "seed": 0, "dense": False, "most": 10_000}
    assert one.versions["umap-learn"] and not one.stale


def test_class_means_and_anchors_lie_among_the_images_of_their_class(made):
    run, one, _ = made
    _, labels = pooled(run, one)
    for marks in (one.means, one.anchors):
        for c, mark in enumerate(marks):
            near = np.linalg.norm(one.xy - mark, axis=1).argsort()[:5]
            assert (labels[near] == c).mean() > 0.5


def test_places_go_to_what_they_are_the_places_of(copied, monkeypatch):
    """With the first two logits in the place of UMAP, so that it can be told."""
    run, _ = copied
    monkeypatch.setattr(project, "_fitted", lambda points, *_: points[:, :2])
    file = project.umap_map(run, seed=7, most=300)
    one = next(found for found in project.maps(run) if found.path == file)
    train = run.outputs("train")
    assert np.array_equal(one.xy, pooled(run, one)[0][:, :2])
    assert one.means == pytest.approx(class_means(train)[:, :2]) and np.array_equal(one.anchors, train.anchors[:, :2])


def test_trustworthiness_is_venna_and_kaskis(made):
    run, one, _ = made
    logits, _ = pooled(run, one)
    in_logits, in_map = order_of_neighbours(logits), order_of_neighbours(one.xy)
    n, k, penalty = len(logits), 15, 0
    for i in range(n):
        rank = {int(j): place + 1 for place, j in enumerate(in_logits[i])}
        penalty += sum(max(rank[int(j)] - k, 0) for j in in_map[i, :k])
    assert one.trustworthiness == pytest.approx(1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty, abs=2e-4)
    assert 0.95 < one.trustworthiness < 1


def test_the_share_of_the_same_class_is_that_of_a_plain_loop(made):
    run, one, _ = made
    logits, labels = pooled(run, one)
    for name, places in (("logits", logits), ("map", one.xy)):
        near = order_of_neighbours(places)[:, :15]
        slow = np.mean([np.mean([labels[j] == labels[i] for j in near[i]]) for i in range(len(labels))])
        assert one.same_class[name] == pytest.approx(slow, abs=5e-4)


def test_progress_is_told_and_lies_on_disk_while_a_map_is_made(made):
    run, one, told = made
    assert tuple(dict.fromkeys(stage for stage, *_ in told)) == project.STAGES
    for stage in project.STAGES:
        done = [d for s, d, *_ in told if s == stage]
        assert done == sorted(done) and done[0] == 0
        assert done[-1] == next(of for s, _, of, _ in told if s == stage)
    for stage, done, of, seen in told:
        assert (seen["stage"], seen["done"], seen["of"]) == (stage, done, of) and seen["parameters"] == one.parameters
        assert (seen["seconds_left"] is None) == (stage != "embedding" or done == 0)
    assert project.under_way(run) is None
    assert sorted(file.name for file in (run.path / "maps").iterdir()) == [".lock", one.path.name]


def test_a_map_that_is_there_is_not_made_again(copied):
    run, one = copied
    before, told = one.path.stat().st_mtime_ns, []
    assert project.umap_map(run, progress=lambda *at: told.append(at)) == one.path
    assert not told and one.path.stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_map_and_another_seed_another(copied):
    run, one = copied
    one.path.unlink()
    assert project.umap_map(run) == one.path
    other = project.umap_map(run, seed=1)
    again, another = project.maps(run)
    assert (again.path, another.path) == (one.path, other)
    assert again.xy.tobytes() == one.xy.tobytes() and again.anchors.tobytes() == one.anchors.tobytes()
    assert not np.allclose(another.xy, one.xy, atol=0.5)


def test_of_many_images_an_even_sample_is_taken(copied):
    run, _ = copied
    files = {project.umap_map(run, most=200, neighbours=5, seed=seed, dense=bool(seed)) for seed in (0, 1)}
    one, other = (found for found in project.maps(run) if found.path in files)
    assert len(one.xy) == 200 and one.images == 591
    assert np.array_equal(one.split, other.split) and np.array_equal(one.row, other.row)
    assert (np.diff(591 * one.split.astype(int) + one.row) > 0).all()
    assert np.bincount(one.split) == pytest.approx(200 / 591 * np.array([172, 359, 60]), rel=0.25)


def test_every_parameter_reaches_umap(copied):
    run, _ = copied
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as that neighbours do not fit what UMAP was asked for
        for changed in ({}, {"neighbours": 5}, {"min_dist": 0.8}, {"dense": True}):
            project.umap_map(run, most=200, **changed)
    found = [one for one in project.maps(run) if one.parameters["most"] == 200]
    assert len({one.xy.tobytes() for one in found}) == 4
    gap = {tuple(one.parameters.values())[:2]: np.median(_nearest_gap(one.xy)) for one in found}
    assert gap[15, 0.8] > 2 * gap[15, 0.1]


def _nearest_gap(places):
    d = np.linalg.norm(places[:, None] - places, axis=2)
    return np.partition(d, 1, 1)[:, 1]


def test_no_label_decides_where_an_image_lies(copied):
    run, one = copied
    rewritten(run, "test", labels=np.random.default_rng(0).permutation(run.outputs("test").labels))
    project.umap_map(run)
    (other,) = project.maps(run)  # the old one, of labels that are no more, is gone
    assert not one.path.exists() and other.path != one.path
    assert other.xy.tobytes() == one.xy.tobytes() and other.same_class["map"] < one.same_class["map"] - 0.2


def test_a_run_without_anchors_has_a_map_without_them(make_run):
    run = make_run(method="cross_entropy")
    project.umap_map(run, neighbours=5)
    (one,) = project.maps(run)
    assert one.anchors is None and one.means.shape == (4, 2) and len(one.xy) == 190


def rewritten(run, split, **changed):
    file = run.path / "outputs" / f"{split}.npz"
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    runs.write_npz(file, **(arrays | changed))


@pytest.mark.parametrize("split", ["train", "validation", "unknown-others"])
def test_a_map_is_stale_once_outputs_have_other_numbers(copied, split):
    run, _ = copied
    rewritten(run, split)
    assert [one.stale for one in project.maps(run)] == [False]  # the same numbers, at another time
    rewritten(run, split, logits=run.outputs(split).logits + 1)
    assert [one.stale for one in project.maps(run)] == [True]
    (run.path / "outputs" / f"{split}.npz").write_bytes(b"torn")
    assert [one.stale for one in project.maps(run)] == [True]


def test_outputs_that_came_since_leave_a_map_true_but_ask_for_another(copied):
    run, one = copied
    outputs = run.path / "outputs"
    shutil.copy(outputs / "unknown-others.npz", outputs / "unknown-more.npz")
    other = project.umap_map(run, neighbours=5, most=200)
    assert [found.stale for found in project.maps(run)] == [False, False]
    assert {len(found.splits) for found in project.maps(run)} == {3, 4}
    (outputs / "unknown-more.npz").unlink()
    assert [found.path for found in project.maps(run) if found.stale] == [other]
    assert project.maps(run)[0].path == one.path  # the stale ones last


def test_a_damaged_map_is_passed_over(copied):
    run, one = copied
    whole = one.path.read_bytes()
    for at, spoilt in enumerate((b"", b"no map", whole[: len(whole) // 2])):
        one.path.with_name(f"umap-{at}.npz").write_bytes(spoilt)
    np.savez(one.path.with_name("umap-x.npz"), xy=one.xy)
    assert [found.path for found in project.maps(run)] == [one.path]
    assert project.maps(Run(run.path / "none")) == []
    one.path.write_bytes(whole[:-100])
    assert project.umap_map(run) == one.path and len(project.maps(run)) == 1  # made again


def test_two_processes_do_not_make_maps_of_a_run_at_once(copied):
    run, _ = copied
    refused = []

    def told(stage, done, of):
        if not refused:
            with pytest.raises(ValueError, match=f"being made by another process \\({os.getpid()}\\)") as error:
                project.umap_map(run, seed=8)
            refused.append(error)

    project.umap_map(run, seed=9, neighbours=5, most=100, progress=told)
    assert refused and len(project.maps(run)) == 2


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_map_that_is_stopped_leaves_nothing_behind(copied, how):
    run, one = copied
    code = (
        "import time; from cac_core import runs; from cac_core.results import project; from pathlib import Path\n"
        "def told(stage, done, of):\n"
        "    while stage == 'embedding' and done == of: time.sleep(1)  # it does not end by itself\n"
        f"project.umap_map(runs.Run(Path({str(run.path)!r})), seed=5, progress=told)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    seen = wait_until(lambda: project.under_way(run), process=process)
    assert seen["parameters"]["seed"] == 5 and seen["pid"] == process.pid
    process.send_signal(how)
    process.communicate(timeout=LONG)
    assert process.returncode == (project.TERMINATED if how == signal.SIGTERM else -how)
    assert project.under_way(run) is None and [found.path for found in project.maps(run)] == [one.path]
    left = {file.name for file in (run.path / "maps").iterdir()} - {".lock", one.path.name}
    assert not left if how == signal.SIGTERM else ".progress.json" in left
    project.umap_map(run, seed=6, neighbours=5, most=100)  # what a kill has left is in nobody's way
    assert not (run.path / "maps" / ".progress.json").exists()


def test_a_map_of_a_run_that_is_gone_ends_and_does_not_bring_its_folder_back(make_run, tmp_path):
    run = make_run()
    with pytest.raises(FileNotFoundError, match="is not here any more"):
        project.umap_map(run, progress=lambda *_: run.path.exists() and run.path.rename(tmp_path / "trash"))
    assert not run.path.exists()


def test_a_stop_that_compiled_code_swallowed_is_told_at_the_next_step(make_run):
    run, before = make_run(), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, project._at_work(run, {}, None) as told:
        told("neighbours", 0, 1)
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
        assert project.under_way(run)["stage"] == "neighbours"
        told("neighbours", 1, 1)
        pytest.fail("it went on")
    assert ended.value.code == project.TERMINATED and signal.getsignal(signal.SIGTERM) is before
    assert not (run.path / "maps" / ".progress.json").exists()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"neighbours": 1}, "at least 2 and less than the 190 images of the map, not 1"),
        ({"neighbours": 190}, "less than the 190 images of the map, not 190"),
        ({"most": 15}, "less than the 15 images"),
        ({"most": 2}, "most must be a whole number of at least 3"),
        ({"most": -1}, "most must be a whole number of at least 3"),
        ({"min_dist": -0.1}, "min_dist must lie between 0 and 1, not -0.1"),
        ({"min_dist": 1.1}, "min_dist must lie between 0 and 1"),
        ({"min_dist": float("nan")}, "min_dist must lie between 0 and 1"),
        ({"seed": -1}, "seed must be a whole number between 0"),
        ({"seed": 2**32}, "seed must be a whole number between 0"),
    ],
)
def test_parameters_out_of_range_are_refused(make_run, parameters, said):
    run = make_run()
    with pytest.raises(ValueError, match=said):
        project.umap_map(run, **parameters)
    assert not (run.path / "maps").exists()


def test_a_run_without_outputs_is_told_how_to_get_them(make_run):
    run = make_run()
    shutil.rmtree(run.path / "outputs")
    with pytest.raises(FileNotFoundError, match="python -m cac_core eval"):
        project.umap_map(run)
    assert project.maps(run) == [] and project.under_way(run) is None


@pytest.mark.parametrize("split", ["train", "test"])
def test_logits_that_are_not_finite_are_refused(make_run, split):
    run = make_run()
    logits = run.outputs(split).logits
    logits[[3, 5], 1] = np.nan, np.inf
    rewritten(run, split, logits=logits)
    with pytest.raises(ValueError, match=f"2 of {len(logits)} {split} images are not finite"):
        project.umap_map(run)


def test_logits_that_are_all_equal_are_refused(make_run):
    run = make_run()
    for split in ("validation", "test"):
        rewritten(run, split, logits=np.ones_like(run.outputs(split).logits))
    with pytest.raises(ValueError, match="all images are equal"):
        project.umap_map(run)


@pytest.mark.parametrize("split", ["validation", "unknown-others"])
def test_damaged_outputs_are_named(copied, split):
    run, _ = copied
    (run.path / "outputs" / f"{split}.npz").write_bytes(b"torn")
    with pytest.raises(Broken, match=f"{split}.npz is damaged"):
        project.umap_map(run)


@pytest.mark.parametrize("dense", [False, True])
def test_images_that_are_all_at_an_anchor_have_a_map_the_same_each_time(make_run, dense):
    run = make_run()
    for split in ("train", "validation", "test"):
        rewritten(run, split, logits=10 * np.eye(5)[run.outputs(split).labels, :4])
    places = []
    for _ in range(3):
        project.umap_map(run, neighbours=5, dense=dense)
        (one,) = project.maps(run)
        assert one.same_class["map"] > 0.95
        places.append(one.xy)
        one.path.unlink()
    assert np.array_equal(places[0], places[1]) and np.array_equal(places[0], places[2])


# --- what is loaded, and where it is kept ----------------------------------------------------------------------------


def test_a_page_can_read_maps_without_umap_or_scikit_learn(made):
    run, _, _ = made
    code = (
        "from pathlib import Path\nfrom cac_core import runs\nfrom cac_core.results import project\n"
        "from cac_core.scoring.distances import class_means\n"
        f"run = runs.Run(Path({str(run.path)!r}))\ntrain = run.outputs('train')\n"
        "assert len(project.maps(run)) == 1 and project.under_way(run) is None\n"
        "means = class_means(train)\nproject.wheel_order(means)\n"
        "project.pca(train.logits, means)\nproject.nearest(train, means)"
    )
    assert heavy_after(code) == []


@pytest.mark.parametrize("said", [None, "elsewhere"])
def test_compiled_code_has_a_place_where_the_environment_cannot_be_written(tmp_path, monkeypatch, said):
    monkeypatch.setenv("NUMBA_CACHE_DIR", said or "")
    if not said:
        monkeypatch.delenv("NUMBA_CACHE_DIR")
    project._give_numba_a_place(tmp_path)
    assert os.environ.get("NUMBA_CACHE_DIR") == said  # this environment can be written
    source = importlib.util.find_spec("umap").submodule_search_locations[0]
    monkeypatch.setattr(os, "access", lambda path, how: path != source)
    project._give_numba_a_place(tmp_path)
    assert os.environ["NUMBA_CACHE_DIR"] == (said or str(tmp_path / ".numba"))
