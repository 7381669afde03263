"""Many images: what is found, verdicts as predict's, rows that are neither lost nor doubled, and what goes wrong."""

import csv
import functools
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from cac_core import recipe, runs
from cac_core.__main__ import main
from cac_core.results import evaluate, judge, sweep
from cac_core.scoring import metrics
from cac_core.scoring.distances import moved_by
from cac_core.serving import deciders, score, sources, written
from cac_core.training import loop
from tests.waiting import LONG, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A data root, a store with a run of the digits, and a folder of pictures with one that is none."""
    place = tmp_path_factory.mktemp("score")
    loop.train(recipe.compose("quick", {}, dataset="digits", epochs=2), place / "runs", place / "data", device="cpu")
    made(place / "pictures", 40)
    (place / "pictures" / "deep" / "broken.png").write_text("no picture")
    return place


def made(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for n in range(count):
        file = folder / ("deep" if n % 3 else "") / f"{n:05}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)).save(file)


@pytest.fixture
def run(place):
    return next(iter(runs.every(place / "runs")))


def called(place, *words, code=0) -> int:
    assert main(["score", *map(str, words), "--runs", str(place / "runs"), "--data", str(place / "data"),
                 "--device", "cpu"]) == code  # fmt: skip


def table(file: Path) -> list[dict]:
    if file.suffix == ".parquet":
        return parquet.read_table(file).to_pylist()
    with open(file, encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened)) if file.suffix == ".csv" else list(map(json.loads, opened))


# --- what is found ---------------------------------------------------------------------------------------------------


def test_images_are_found_in_everything_that_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(Path("a"), 4)
    for name in (".hidden.png", "notes.txt", "__MACOSX/x.png"):
        (Path("a") / name).parent.mkdir(exist_ok=True)
        (Path("a") / name).touch()
    os.symlink("a", "loop")
    os.symlink(tmp_path / "a", "a/again")
    with zipfile.ZipFile("b.zip", "w") as archive:
        for name in ("one/2.png", "one/1.png", "readme.txt", "__MACOSX/._1.png"):
            archive.writestr(name, b"")

    def names(*said, lines=()):
        return [source.name for source in sources.found(said, lines)]

    every = ["a/00000.png", "a/00003.png", "a/deep/00001.png", "a/deep/00002.png"]
    assert names("a") == every
    assert names("a/**/*.png")[:1] == ["a/00000.png"] and set(every) <= set(names("a/**/*.png"))
    assert names("b.zip") == ["b.zip/one/2.png", "b.zip/one/1.png"]
    assert names("-", lines=["x y.png\n", "\n", "ü.jpg\r\n"]) == ["x y.png", "ü.jpg"]
    assert names("gone.png", "a/00000.png") == ["gone.png", "a/00000.png"]
    with pytest.raises(ValueError, match="No file is like"):
        names("a/*.gif")
    with pytest.raises(ValueError, match="zip cannot be read"):
        Path("c.zip").write_text("none")
        names("c.zip")


def test_an_image_that_is_named_in_many_ways_is_found_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made(Path("a"), 4)
    for name in ("a/.kept", "other", "a/deep/._"):
        Path(name).mkdir()
        shutil.copy("a/00000.png", f"{name}/x.png")
    os.symlink("a", "linked")
    os.symlink(tmp_path / "other", "a/away")
    os.symlink(tmp_path / "a/deep", "deep")
    with zipfile.ZipFile("a/b.zip", "w") as archive:
        archive.writestr("1.png", b"")

    def names(*said, lines=()):
        return [source.name for source in sources.found(said, lines)]

    every = ["a/00000.png", "a/00003.png", "a/deep/00001.png", "a/deep/00002.png"]
    for more in ("a", "./a/", "a/deep", "a/00000.png", "other/../a/deep/00001.png", "a/*.png", str(tmp_path / "a")):
        assert names("a", more) == every
    assert names("a/deep", "a/00000.png", "a") == every
    assert names("a", "-", lines=every) == names("-", lines=every + every) == names(*every, *every) == every
    # what the folder does not give
    for more in ("a/.kept/x.png", "a/deep/._/x.png", "a/gone.png", "a/away/x.png", "linked/00000.png"):
        assert names("a", more) == [*every, more]
    assert names("a", "deep/../00003.png") == every  # the way up from a linked folder
    assert names("a", "a/away") == [*every, "a/away/x.png"] and names("a", "a/.kept") == [*every, "a/.kept/x.png"]
    assert names("a", "a/b.zip", "./a/b.zip") == [*every, "a/b.zip/1.png"]
    assert names("gone.png", "gone.png", "a\0b", "a\0b") == ["gone.png", "a\0b"]


def test_a_zip_that_has_changed_since_it_was_listed_is_not_taken_for_the_old_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("1.png", b"one")
    (source,) = sources.found([str(tmp_path / "b.zip")])
    assert sources.Reader().content(source) == b"one"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("2.png", b"two")
    with pytest.raises(ValueError, match="has changed"):
        sources.Reader().content(source)


# --- verdicts --------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("scorer", ["gamma", "knn"])
def test_every_verdict_is_predicts_in_order(place, run, workers, scorer, capsys):
    pictures = sorted(map(str, (place / "pictures").rglob("*.png")))
    given = ["--scorer", scorer, "--runs", str(place / "runs"), "--data", str(place / "data"), "--device", "cpu"]
    assert main(["predict", run.id, *pictures, "--json", *given]) == 1  # one is no picture
    said = {one["image"]: one for one in json.loads(capsys.readouterr().out)["images"]}
    listed = list(sources.found([str(place / "pictures")]))
    threshold = judge.threshold_of(run, scorer, judge.scorer_options(scorer))
    decider = deciders.OfRun(run.path, threshold)
    rows = list(score.rows(decider, listed, workers=workers, chunk=7))
    assert [row["path"] for row in rows] == [one.name for one in listed] and len(rows) == 41
    for row in rows:
        theirs = said[row["path"]]
        if "error" in row:
            assert row["error"] == theirs["error"]
            continue
        assert (row["decision"], row["label"], row["notes"]) == (theirs["decision"], theirs["label"], theirs["notes"])
        assert row["score"] == pytest.approx(theirs["score"], rel=1e-4) and row["theta"] == theirs["theta"]
        assert row["gamma"] == pytest.approx(theirs["gamma"], rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 1])
def test_where_the_network_runs_here_and_processes_decode_the_verdicts_are_the_same(place, run, workers):
    """As on a graphics card."""
    listed = list(sources.found([str(place / "pictures")]))
    decider = deciders.OfRun(run.path, judge.threshold_of(run, "gamma", judge.scorer_options("gamma")))
    apart, here = (
        list(score.rows(decider, listed, workers=some, chunk=9, apart=way))
        for some, way in ((0, True), (workers, False))
    )
    assert [(row["path"], row.get("decision"), row.get("error")) for row in here] == [
        (row["path"], row.get("decision"), row.get("error")) for row in apart
    ]


@pytest.mark.long
@pytest.mark.parametrize("ending", written.FORMATS)
def test_a_file_has_a_row_for_each_and_is_gone_on_with(place, run, tmp_path, ending, capsys):
    folder, out = tmp_path / "new", tmp_path / f"verdicts{ending}"
    shutil.copytree(place / "pictures", folder)
    called(place, run.id, folder, "--out", out, "--json", "--gamma", code=1)
    said = json.loads(capsys.readouterr().out)
    rows = table(out)
    assert len(rows) == 41 == said["judged"] and (said["failed"], said["there_before"]) == (1, 0)
    assert said["accepted"] + said["rejected"] == 40 and sum(said["by_class"].values()) == said["accepted"]
    good = [row for row in rows if not row.get("error")]
    decided = [row["decision"] for row in good]
    assert decided.count("unknown") == said["rejected"]
    for row in good:
        assert (float(row["score"]) > float(row["theta"])) == (row["decision"] == "unknown")
        gammas = row["gamma"] if ending == ".jsonl" else {n: row[f"gamma {n}"] for n in run.known_names}
        assert min(gammas, key=lambda name: float(gammas[name])) == row["label"]
    before = out.read_bytes()
    called(place, run.id, folder, "--out", out, "--json", "--gamma")
    assert json.loads(capsys.readouterr().out)["judged"] == 0
    assert table(out) == rows and (ending == ".parquet" or out.read_bytes() == before)
    made(folder / "later", 3)
    called(place, run.id, folder, "--out", out, "--json", "--gamma")
    assert json.loads(capsys.readouterr().out)["judged"] == 3 and len(table(out)) == 44
    assert table(out)[:41] == rows
    assert {file.name for file in tmp_path.iterdir()} <= {
        "new", out.name, f".{out.name}.state", f".{out.name}.lock"
    }  # fmt: skip


@pytest.mark.long
def test_it_tells_how_far_it_is_while_it_runs_and_counts_one_image_as_one(place, run, tmp_path, monkeypatch, capsys):
    from cac_core import runs
    from cac_core.commands import serving

    monkeypatch.setattr(serving, "SHOWN", 0)
    made(tmp_path / "new", 5)
    out, seen = tmp_path / "o.jsonl", []
    add = written._Lines.add
    monkeypatch.setattr(
        written._Lines, "add", lambda self, row: (seen.append(runs.under_way(written.progress_of(out))), add(self, row))
    )
    called(place, run.id, tmp_path / "new", "--out", out)
    assert (
        seen[0] is None and [said["done"] for said in seen[1:]] == [2, 3, 4, 5] and {s["of"] for s in seen[1:]} == {5}
    )
    assert seen[-1]["per_second"] > 0 and seen[-1]["seconds_left"] == 0
    assert not written.progress_of(out).exists() and "5 images in" in capsys.readouterr().out
    made(tmp_path / "new" / "one", 1)
    called(place, run.id, tmp_path / "new", "--out", out)
    assert "1 image in" in capsys.readouterr().out


def test_the_speed_is_told_of_more_than_one_image_and_of_slow_ones_too(monkeypatch, capsys):
    from cac_core.commands import serving

    clock = iter((0.0, 20.0, 20.0, 44.0, 50.0))
    monkeypatch.setattr(serving.time, "monotonic", lambda: next(clock))
    told = serving._Told(4, 0, Counter(), quiet=False, file=None)
    for _ in range(3):
        told.saw({"decision": "known", "label": "0"})
    assert capsys.readouterr().err == "3 of 4, 12.0 s an image, 12 s left\n"
    assert told.lines()[0] == "3 images in 50 s, 16.7 s an image"


@pytest.mark.long
def test_images_of_kinds_that_are_not_read_are_counted_with_the_way_out(place, run, tmp_path, capsys):
    made(tmp_path / "new", 2)
    for name in ("a.HEIC", "b.heic", "c.gif", ".hidden.heic", "notes.txt"):
        (tmp_path / "new" / name).touch()
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("one/d.heic", b"")
        archive.writestr("__MACOSX/._d.heic", b"")
    what = (run.id, tmp_path / "new", tmp_path / "b.zip")
    called(place, *what, "--out", tmp_path / "o.csv", "--json")
    over = json.loads(capsys.readouterr().out)["passed_over"]
    assert {kind: said["count"] for kind, said in over.items()} == {"HEIC": 3, "GIF": 1}
    called(place, *what)
    said = capsys.readouterr().err
    assert "passed over 3: HEIC images are not read; save it as JPEG" in said and "passed over 1: GIF images" in said
    assert len(table(tmp_path / "o.csv")) == 2


@pytest.mark.long
def test_without_a_file_rows_come_as_they_are_made(place, run, capsys):
    called(place, run.id, place / "pictures" / "00000.png", place / "pictures" / "gone.png", "--json", code=1)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0]["decision"] and "no such file" in rows[1]["error"] and "softmax" not in rows[0]


@pytest.mark.long
def test_options_may_stand_anywhere(place, run, capsys):
    one, two = str(place / "pictures" / "00000.png"), str(place / "pictures" / "00003.png")
    ways = (
        [run.id, one, two, "--centres", "anchors"],
        [run.id, "--centres", "anchors", one, "--batch", "1", two],
        ["--centres=anchors", run.id, one, "--json", two],
    )
    for words in ways:
        called(place, *words, "--json")
        assert [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()] == [one, two]


@pytest.mark.long
@pytest.mark.parametrize("ending", written.FORMATS)
def test_lines_on_standard_input_may_be_anything(place, run, tmp_path, monkeypatch, ending):
    odd = os.fsencode(tmp_path) + b"/\xff.png"
    shutil.copy(place / "pictures" / "00000.png", odd)
    for code in (1, 0):  # it goes on with its output
        given = io.BytesIO(odd + b"\n" + 200_000 * b"x" + b"\n\x00.png\n")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given, "utf-8"))
        called(place, run.id, "-", "--out", tmp_path / f"o{ending}", code=code)
    one, *others = table(tmp_path / f"o{ending}")
    assert one["path"].endswith("/\\udcff.png") and one["decision"]
    assert len(others) == 2 and all(other["error"] for other in others)


def test_theta_for_perturbed_images_is_of_perturbed_validation_images(place, run, tmp_path, monkeypatch, capsys):
    root, out = place / "data", tmp_path / "o.jsonl"
    for _ in range(2):  # and is gone on with
        called(place, run.id, place / "pictures" / "00000.png", "--magnitude", "0.02", "--out", out)
    (row,) = table(out)
    network, centres = evaluate.load(run, "cpu"), moved_by(run.outputs("train"))
    images = evaluate.parts_of(run, root, evaluate.images_of(run, root))["validation"]
    threshold = judge.threshold_of(
        run, "gamma", {}, magnitude=0.02, moved=functools.partial(sweep.moved_validation, run, root)
    )
    said = threshold.judged(run, *network.outputs(images.pixels, magnitude=0.02, centres=centres))
    assert row["theta"] == threshold.theta == metrics.theta_at(0.95, np.array([one["score"] for one in said]))
    assert threshold.theta != judge.threshold_of(run, "gamma", {}).theta
    assert threshold.rule.endswith("images held out of training, moved first as ODIN does (ε = 0.02, T = 1)")

    shutil.copytree(run.path, tmp_path / "runs" / run.id)
    swept = runs.Run(tmp_path / "runs" / run.id)
    sweep.sweep(swept, root, temperatures=(1.0,), magnitudes=(0.0, 0.02), most=12, device="cpu")

    def gone(*_):
        raise FileNotFoundError("the digits are gone")

    monkeypatch.setattr(evaluate, "images_of", gone)
    theta = judge.threshold_of(
        swept, "gamma", {}, magnitude=0.02, moved=functools.partial(sweep.moved_validation, swept, root)
    ).theta
    assert theta == pytest.approx(threshold.theta, rel=1e-4)
    for words in ([], ["--odin-temperature", "2"]):
        called(place, run.id, place / "pictures" / "00000.png", "--magnitude", "0.02", *words, code=1)
        assert "the digits are gone" in (said := capsys.readouterr().err) and "--theta" in said
    called(place, run.id, place / "pictures" / "00000.png", "--magnitude", "0.02", "--theta", "1")


# --- what goes wrong -------------------------------------------------------------------------------------------------


def output(tmp_path, name="o.csv", **about):
    return written.opened(tmp_path / name, {"run": "toy", "theta": 1.0} | about)


def row(n: int) -> dict:
    return {"path": f"{n}.png", "decision": "a", "label": "a", "score": n / 7, "theta": 1.0, "notes": ["cut", "x,\ny"]}


@pytest.mark.parametrize("ending", written.FORMATS)
def test_whatever_a_kill_leaves_behind_no_row_is_lost_or_doubled(tmp_path, ending, monkeypatch):
    """Stopped at every step of writing that there is, and gone on with."""
    monkeypatch.setattr(written._Lines, "every", -1.0)
    monkeypatch.setattr(written._Parquet, "every", -1.0)
    steps = []

    class Killed(BaseException):
        pass

    def writes(stop_at: int | None):
        steps.clear()

        def counted(real):
            def step(*arguments, **named):
                if stop_at is not None and len(steps) == stop_at:
                    raise Killed
                steps.append(real.__name__)
                return real(*arguments, **named)

            return step

        with monkeypatch.context() as patched:
            for name in ("fsync", "replace", "unlink"):
                patched.setattr(os, name, counted(getattr(os, name)))
            with output(tmp_path, f"o{ending}") as out:
                known = out.known()
                for n in range(4):
                    (source,) = [sources.Source(f"{n}.png", "")]
                    for _ in written.unseen([source], known):
                        out.add(row(n))

    writes(None)
    count = len(steps)
    assert count > 8
    for stop_at in range(count):
        for file in tmp_path.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        with pytest.raises(Killed):
            writes(stop_at)
        if ending != ".parquet" and (tmp_path / f"o{ending}").exists():
            with open(tmp_path / f"o{ending}", "ab") as torn:  # what had not been made safe
                torn.write(b'{"path": "9')
        writes(None)
        assert [one["path"] for one in table(tmp_path / f"o{ending}")] == [f"{n}.png" for n in range(4)], stop_at


@pytest.mark.parametrize("ending", written.FORMATS)
def test_names_of_any_letters_are_known_again(tmp_path, ending):
    names = ["a,b.png", 'q"uote.png', "line\nbreak.png", "ü漢.png", b"\xff.png".decode("utf-8", "surrogateescape")]
    with output(tmp_path, f"o{ending}") as out:
        for name in names:
            out.add(row(0) | {"path": name})
    with output(tmp_path, f"o{ending}") as out:
        left = list(written.unseen([sources.Source(name, "") for name in [*names, "new.png"]], out.known()))
    assert [one.name for one in left] == ["new.png"] and len(table(tmp_path / f"o{ending}")) == 5


def test_what_somebody_else_wrote_is_left_as_it_is(tmp_path):
    (tmp_path / "o.csv").write_text("mine")
    with pytest.raises(ValueError, match="not written by score"), output(tmp_path):
        pass
    assert (tmp_path / "o.csv").read_text() == "mine"


def test_verdicts_of_two_thresholds_are_not_mixed(tmp_path):
    with output(tmp_path):
        pass
    with pytest.raises(ValueError, match="theta"), output(tmp_path, theta=2.0):
        pass
    with pytest.raises(ValueError, match="gamma"), \
            written.opened(tmp_path / "o.csv", {"run": "toy", "theta": 1.0}, ["a"]):  # fmt: skip
        pass


def test_verdicts_by_options_that_nobody_said_are_gone_on_with(tmp_path):
    by = {"scorer": "gamma", "options": {}}
    whole = by | {"options": judge.scorer_options("gamma")}
    for before, here in ((by, whole), (whole, by)):
        with output(tmp_path, f"{len(before['options'])}.csv", **before) as out:
            out.add(row(1))
        with output(tmp_path, f"{len(before['options'])}.csv", **here) as out:
            assert len(out.known()) == 1
    with pytest.raises(ValueError, match="options"), \
            output(tmp_path, "0.csv", **by | {"options": {"temperature": 2.0}}):  # fmt: skip
        pass


def test_two_writers_on_one_file_are_one(tmp_path):
    with output(tmp_path), pytest.raises(ValueError, match="Another process writes"), output(tmp_path):
        pass


def test_a_file_that_was_cut_short_is_not_added_to(tmp_path):
    with output(tmp_path) as out:
        out.add(row(0))
    os.truncate(tmp_path / "o.csv", 5)
    with pytest.raises(ValueError, match="cut short"), output(tmp_path):
        pass


@pytest.mark.parametrize("name, why", [("o.txt", "end in one of"), ("gone/o.csv", "no folder")])
def test_a_file_that_cannot_be_is_refused(tmp_path, name, why):
    with pytest.raises(ValueError, match=why):
        output(tmp_path, name)


@pytest.mark.parametrize("ending", written.FORMATS)
def test_on_a_full_disk_what_is_written_stays_and_it_goes_on(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(written._Lines, "every", -1.0)
    monkeypatch.setattr(written._Parquet, "every", -1.0)
    file = tmp_path / f"o{ending}"
    rows = [row(n) | {"notes": ["x" * 1000 + str(n)]} for n in range(40)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError) as caught, output(tmp_path, file.name) as out:
            resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, hard))
            for one in rows:
                out.add(one)
            if ending == ".parquet":
                raise OSError(27, "", str(file))  # its parts are small
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, heard)
    assert caught.value.filename == str(file)
    with output(tmp_path, file.name) as out:
        named = {one["path"]: one for one in rows}
        for source in written.unseen([sources.Source(name, "") for name in named], out.known()):
            out.add(named[source.name])
    assert [one["path"] for one in table(file)] == list(named)


@pytest.mark.long
def test_files_that_vanish_while_it_runs_are_rows_with_their_error(place, run, tmp_path):
    made(tmp_path / "pictures", 30)
    listed = list(sources.found([str(tmp_path / "pictures")]))
    (tmp_path / "pictures" / "00000.png").unlink()
    shutil.rmtree(tmp_path / "pictures" / "deep")
    decider = deciders.OfRun(run.path, judge.threshold_of(run, "gamma", judge.scorer_options("gamma")))
    rows = list(score.rows(decider, listed, chunk=8))
    assert len(rows) == 30 and sum("error" in one for one in rows) == 21


@pytest.mark.long
def test_a_run_that_is_rewritten_while_it_is_judged_by_is_not_mixed_in(place, run, tmp_path):
    """A process that is started later would load the other network."""
    shutil.copytree(run.path, tmp_path / run.id)
    made(tmp_path / "pictures", 3)
    own = judge.threshold_of(run, "gamma", judge.scorer_options("gamma"))
    decider = deciders.OfRun(tmp_path / run.id, own)
    before = decider.about["version"]
    weights = tmp_path / run.id / "best.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    assert decider.about["version"] == before
    for workers in (0, 1):
        with pytest.raises(ValueError, match="written anew"):
            list(score.rows(decider, sources.found([str(tmp_path / "pictures")]), workers=workers))


class Deadly:
    """A decider whose process dies over black images; defined here so that a process can find it."""

    names, about = ("a",), {}

    def __init__(self, run, always=False):
        self.inner, self.always = run, always
        self.row, self.way = run.row, run.way

    def looks(self, pixels):
        if self.always or (pixels == 0).all(axis=(1, 2, 3)).any():
            os._exit(9)
        return self.inner.looks(pixels)

    def says(self, looked):
        return self.inner.says(looked)


@pytest.mark.long
def test_the_script_that_calls_it_is_not_run_again_in_every_process(place, run, tmp_path):
    """Also one that does not ask whether it is the main one."""
    made(tmp_path / "pictures", 6)
    (tmp_path / "script.py").write_text(
        "from pathlib import Path\n"
        "from cac_core.results import judge\n"
        "from cac_core.runs import Run\n"
        "from cac_core.serving import deciders, score, sources\n"
        f"run = Run(Path({str(run.path)!r}))\n"
        "threshold = judge.threshold_of(run, 'gamma', judge.scorer_options('gamma'))\n"
        f"listed = sources.found([{str(tmp_path / 'pictures')!r}])\n"
        "print('begun')\n"
        "print(len(list(score.rows(deciders.OfRun(run.path, threshold), listed, workers=2, chunk=2))))\n"
    )
    said = subprocess.run(
        [sys.executable, tmp_path / "script.py"], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.split() == ["begun", "6"], said.stderr[-2000:]


@pytest.mark.long
def test_a_process_that_dies_over_an_image_costs_that_image_alone(place, run, tmp_path):
    made(tmp_path / "pictures", 12)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "pictures" / "00003.png")
    inner = deciders.OfRun(run.path, judge.threshold_of(run, "gamma", judge.scorer_options("gamma")))
    listed = list(sources.found([str(tmp_path / "pictures")]))
    rows = list(score.rows(Deadly(inner), listed, workers=2, chunk=4))
    assert [row["path"] for row in rows] == [one.name for one in listed]
    assert [Path(row["path"]).name for row in rows if "error" in row] == ["00003.png"]
    slow = []
    for row in score.rows(Deadly(inner), listed, workers=1, chunk=1):  # it dies while what was judged before is written
        slow.append(row)
        time.sleep(0.05)
    assert [(row["path"], row.get("decision")) for row in slow] == [(r["path"], r.get("decision")) for r in rows]
    with pytest.raises(ValueError, match="dies at once"):
        list(score.rows(Deadly(inner, always=True), listed, workers=1, chunk=4))


@pytest.mark.long
def test_a_kill_ends_its_processes_too_and_the_next_call_judges_the_rest(place, run, tmp_path):
    made(tmp_path / "pictures", 2000)
    out = tmp_path / "o.jsonl"
    words = [sys.executable, "-m", "cac_core", "score", run.id, str(tmp_path / "pictures"), "--out", str(out),
             "--runs", str(place / "runs"), "--data", str(place / "data"), "--device", "cpu", "--workers", "2",
             "--batch", "16"]  # fmt: skip
    import psutil

    for _ in range(2):
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = out.stat().st_size if out.exists() else 0
        wait_until(lambda before=before: out.exists() and out.stat().st_size > before + 1000)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        assert not psutil.wait_procs(children, timeout=LONG)[1]
    done = subprocess.run([*words, "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["there_before"] > 0 and said["judged"] + said["there_before"] == 2000
    paths = [one["path"] for one in table(out)]
    assert len(paths) == len(set(paths)) == 2000
