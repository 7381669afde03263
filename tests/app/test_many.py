"""Many pictures: a zip or a folder becomes a pile that a job judges; what came of it is sorted, looked at, deleted."""

import csv
import io
import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from app import piles, uploads
from cac_core import recipe
from cac_core.__main__ import main
from cac_core.jobs import launch, queue, worker
from cac_core.results import judge
from cac_core.training import loop
from tests.app.test_results_pages import app, fine, text  # noqa: F401

pytestmark = pytest.mark.long
PAGE = "app/pages/many.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = tmp_path_factory.mktemp("many")
    return loop.train(recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=1), place / "runs",
                      place / "data", device="cpu")  # fmt: skip


@pytest.fixture
def run(trained, app, monkeypatch):  # noqa: F811
    """The run of a store in which nothing that is put into the queue begins by itself."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(trained.path.parent))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(trained.path.parents[1] / "data"))
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    yield trained
    for job in launch.jobs(trained.path.parent):
        launch.remove(launch.stop(job))
    for pile in piles.every(trained):
        piles.delete(pile)


@pytest.fixture
def opened(run, app):  # noqa: F811
    def open_page(**query):
        return fine(app(PAGE, run=run.id, **query))

    return open_page


def noise(n: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(n).integers(0, 256, (16, 16), np.uint8)).save(file, "PNG")
    return file.getvalue()


def packed(count: int, broken: int = 0) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for n in range(count):
            archive.writestr(f"{'even' if n % 2 == 0 else 'odd'}/{n:03}.png", noise(n))
        for n in range(broken):
            archive.writestr(f"odd/broken{n}.png", b"no picture")
    file.seek(0)
    return file


def threshold(run, theta=None, scorer="gamma"):
    return judge.threshold_of(run, scorer, judge.scorer_options(scorer), theta)


def judged(run) -> None:
    """What the worker would do with what is queued."""
    for job in launch.jobs(run.path.parent):
        assert (job.kind, job.device) == ("score", queue.USE)
        main([*job.arguments, "--workers", "0", "--device", "cpu"])
        launch.remove(launch.stop(job))


def test_a_zip_is_judged_by_a_job_and_its_rows_are_read(run):
    pile = piles.of_zip(run, threshold(run), "pets.zip", packed(9, broken=1), keep=False)
    assert pile.count == 10 and piles.every(run) == [pile] and len(piles.rows(pile)) == 0
    judged(run)
    rows = piles.rows(pile)
    assert len(rows) == 10 and rows.names[0] == "even/000.png" and [bool(e) for e in rows.errors].count(True) == 1
    assert (rows.nearest < 0).sum() == 1 and np.isnan(rows.scores).sum() == 1
    assert piles.picture(pile, "odd/001.png").pixels.shape == (16, 16, 1)
    assert piles.small(pile, "odd/001.png") and piles.small(pile, "odd/broken0.png") is None
    piles.delete(pile)
    assert piles.every(run) == []


def test_a_folder_is_judged_where_it_lies_and_stays(run, tmp_path, monkeypatch):
    monkeypatch.setattr(piles.holdings, "folders_allowed", lambda: None)
    for n in range(3):
        (tmp_path / f"{n}.png").write_bytes(noise(n))
    pile = piles.of_folder(run, threshold(run), str(tmp_path), keep=False)
    judged(run)
    assert piles.rows(pile).names == ("0.png", "1.png", "2.png")
    piles.delete(pile)
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_images_of_a_kind_that_is_not_read_are_counted(opened, run):
    content = packed(3)
    with zipfile.ZipFile(content, "a") as archive:
        for name in ("a.heic", "b.HEIC", "c.gif", "notes.txt"):
            archive.writestr(name, b"-")
    content.seek(0)
    pile = piles.of_zip(run, threshold(run), "pets.zip", content, keep=False)
    assert pile.count == 3 and piles.every(run)[0].passed_over == {"HEIC": 2, "GIF": 1}
    judged(run)
    said = [one.value.replace("\\", "") for one in opened().warning]
    assert any("2 images are passed over (HEIC)" in one and "save it as JPEG" in one for one in said)
    assert any("1 images are passed over (GIF)" in one for one in said)
    with zipfile.ZipFile(alone := io.BytesIO(), "w") as archive:
        archive.writestr("a.tiff", b"-")
    alone.seek(0)
    with pytest.raises(ValueError, match=r"no pictures in it.*1 images are passed over \(TIFF\): TIFF images are not"):
        piles.of_zip(run, threshold(run), "x.zip", alone, keep=False)


def test_files_of_one_name_and_names_that_lead_out_are_kept_apart(run):
    brought = [("a.png", noise(0)), ("A.png", noise(1)), ("../../x.png", noise(2)), (".hidden", noise(3))]
    pile = piles.of_files(run, threshold(run), brought)
    judged(run)
    rows = piles.rows(pile)
    assert len(rows) == 4 == pile.count and not any(rows.errors)
    assert all(Path(pile.source) == (Path(pile.source) / name).resolve().parent for name in rows.names)


@pytest.mark.parametrize(("content", "why"), [(io.BytesIO(b"no zip"), "zip"), (packed(0), "no pictures")])
def test_what_is_no_zip_of_pictures_is_refused_and_leaves_nothing(run, content, why):
    with pytest.raises(ValueError, match=why):
        piles.of_zip(run, threshold(run), "x.zip", content, keep=False)
    assert piles.every(run) == [] and not list((run.path / piles.FOLDER).iterdir())


def test_more_than_may_be_are_refused_with_the_command(run, monkeypatch, tmp_path):
    monkeypatch.setattr(piles, "MOST", 3)
    with pytest.raises(ValueError, match="more than 3 pictures"):
        piles.of_zip(run, threshold(run), "x.zip", packed(4), keep=False)
    with pytest.raises(ValueError, match="no folder"):
        piles.of_folder(run, threshold(run), "~nobody/pictures", keep=False)
    monkeypatch.setattr(piles.holdings, "folders_allowed", lambda: [tmp_path / "a"])
    with pytest.raises(ValueError, match="taken only from"):
        piles.of_folder(run, threshold(run), str(tmp_path), keep=False)


def test_which_are_chosen_and_how_they_are_sorted():
    nan = float("nan")
    rows = piles.Rows(("b", "a", "c", "d"), np.array([3.0, 1.0, nan, 2.0]), np.array([2.0, 2.0, nan, 2.0]),
                      np.array([0, 1, -1, 0]), ("",) * 4, ("", "", "broken", ""))  # fmt: skip

    def found(limits=None, **asked):
        no = piles.rejected(rows, limits)
        return piles.chosen(rows, no, limits, piles.Asked(**asked)).tolist()

    assert found() == [0, 1, 2, 3] and found(show="rejected") == [0] and found(show="accepted") == [1, 3]
    assert found(show="failed") == [2] and found(near=0) == [0, 3] and found(text="A") == [1]
    assert found(order="high") == [0, 3, 1, 2] and found(order="low") == [1, 3, 0, 2]
    assert found(order="name") == [1, 0, 2, 3] and found(order="near")[0] == 3
    limits = np.array([5.0, 0.5])
    assert found(limits, show="rejected") == [1]


def test_a_score_that_is_no_number_is_rejected_and_what_failed_is_not():
    nan = np.full(2, np.nan)
    rows = piles.Rows(("a", "b"), nan, np.array([2.0, np.nan]), np.array([1, -1]), ("",) * 2, ("", "broken"))
    for limits in (None, np.array([1.0, 2.0])):
        assert piles.rejected(rows, limits).tolist() == [True, False]
    said = [{"label": "a", "score": score} for score in (math.nan, 1.0)]
    assert [one["decision"] for one in uploads.decided(said, ["a"], np.array([1.0]))] == ["unknown", "a"]


def test_the_page_shows_counts_and_moves_them_with_theta(opened, run):
    pile = piles.of_zip(run, threshold(run), "pets.zip", packed(70, broken=1), keep=False)
    at = opened()
    assert "Waits for its turn" in text(at) and at.button(key="many_stop")
    judged(run)
    at = opened(pile=pile.id)
    rows = piles.rows(pile)
    no = int((rows.scores > rows.thetas).sum())
    assert [one.value for one in at.metric] == ["70", str(70 - no), str(no), "1"]
    lenient = float(np.nanmax(rows.scores))
    at = fine(at.number_input(key="theta").set_value(lenient).run())
    assert at.metric[2].value == "0"
    at = fine(at.selectbox(key="many_show").set_value("failed").run())
    assert "**1** images" in text(at)
    at = fine(at.selectbox(key="scorer").set_value("msp").run())
    assert "another score" in text(at) and at.metric[2].value == str(no)


def test_one_that_was_stopped_shows_what_there_is_and_goes_on(opened, run):
    pile = piles.of_zip(run, threshold(run), "pets.zip", packed(6), keep=False)
    judged(run)
    lines = pile.out.read_text().splitlines(keepends=True)
    state = pile.folder / ".verdicts.jsonl.state"
    kept = "".join(lines[:2])
    pile.out.write_text(kept)
    state.write_text(json.dumps(json.loads(state.read_text()) | {"bytes": len(kept.encode()), "rows": 2}))
    at = opened()
    assert "Judged: 2 of 6" in text(at) and at.metric[0].value == "2"
    at = fine(at.button(key="many_on").click().run())
    judged(run)
    assert len(piles.rows(pile)) == 6 and "Judged: " not in text(opened())


def test_all_of_them_go_along_as_csv_and_parquet(run):
    pile = piles.of_zip(run, threshold(run), "pets.zip", packed(5, broken=1), keep=False)
    judged(run)
    rows = piles.rows(pile)
    columns = piles.table(rows, np.arange(6), piles.rejected(rows, None), run.known_names, None)
    (_, *lines) = csv.reader(io.StringIO(piles.as_csv(columns)))
    assert len(lines) == 6
    read = parquet.read_table(io.BytesIO(piles.as_parquet(columns))).to_pylist()
    assert [one["file"] for one in read] == list(rows.names) and read[-1]["error"] and read[-1]["score"] is None
    assert read[0]["decision"] in (*run.known_names, "unknown")


def test_nothing_is_judged_in_a_show(opened, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened()
    assert "only shown" in at.info[0].value and not at.button


def test_more_files_than_try_judges_at_once_lead_here(opened, run, app):  # noqa: F811
    at = fine(app("app/pages/try.py"))
    at.file_uploader(key="files").set_value([(f"{n}.png", noise(n), "image/png") for n in range(201)])
    at = fine(at.run(timeout=900))
    assert "too many at a time" in text(at)
    at = fine(at.button(key="all_of_them").click().run(timeout=900))
    (pile,) = piles.every(run)
    assert pile.count == 201 and at.title[0].value == "Many pictures at once" and "Waits for its turn" in text(at)


def test_live_leads_from_the_job_to_its_page(run, app):  # noqa: F811
    piles.of_zip(run, threshold(run), "pets.zip", packed(3), keep=False)
    (job,) = launch.jobs(run.path.parent)
    queue.write(replace(job, state="finished"))
    at = fine(app("app/pages/live.py"))
    (link,) = [one.proto for one in at.get("page_link") if one.proto.label == "Open"]
    assert "many" in link.page and run.id in link.query_string


def test_without_the_weights_nothing_is_taken_and_it_is_said(opened, run, tmp_path):
    weights = run.path / "best.safetensors"
    kept = weights.rename(tmp_path / "kept")
    try:
        at = opened()
        assert "weights are not here" in text(at) and not [b for b in at.button if b.key == "many_judge"]
    finally:
        kept.rename(weights)
    assert [b for b in opened().button if b.key == "many_judge"]
