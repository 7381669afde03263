"""The shelf: what is put on runs, the trash, and zips of runs, whatever people and disks do to them."""

import io
import json
import os
import stat
import subprocess
import sys
import zipfile

import filelock
import numpy as np
import pytest

from cac_core import runs
from cac_core.exchange import shelf
from cac_core.exchange.shelf import Shelf
from cac_core.jobs import launch
from cac_core.results import judge
from cac_core.runs import Run

WILD = [
    "a/b\\c",
    "../../etc",
    "名前 标签",
    "🦆 emoji 👩‍👩‍👧",
    "<img src=x onerror=alert(1)>",
    "..",
    "'; DROP--",
    "%s {x}",
]


# --- titles, notes, tags ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", WILD)
def test_any_text_comes_back_as_it_went(make_run, text):
    run = make_run()
    before = sorted(p.name for p in run.path.parent.iterdir())
    put = Shelf(text, f"{text}\nsecond line", (text[:40], "plain"), True)
    assert shelf.write(run, put) == put == shelf.read(run)
    assert sorted(p.name for p in run.path.parent.iterdir()) == before


def test_a_run_without_a_shelf_has_nothing_on_it(make_run):
    assert shelf.read(make_run()) == Shelf()
    assert shelf.read(Run(make_run().path.parent / "gone")) == Shelf()


@pytest.mark.parametrize("torn", [b'{"title": "x', b"", b"[]", b"3", b"\xff\xfe\x00", b'{"title": 3, "tags": {"a": 1}}',
                                  b'{"note": null, "tags": [1, null], "archived": "yes"}'])  # fmt: skip
def test_a_damaged_shelf_is_an_empty_one_and_can_be_written_again(make_run, torn):
    run = make_run()
    (run.path / shelf.FILE).write_bytes(torn)
    assert shelf.read(run) == Shelf() and not run.problem()
    shelf.write(run, Shelf("again"))
    assert shelf.read(run).title == "again"


def test_the_reader_cuts_what_another_hand_wrote_too_long(make_run):
    run, many = make_run(), [f"{n:03}" + "x" * 90 for n in range(90)]
    runs.write_json(run.path / shelf.FILE, {"title": "t" * 999, "note": "n" * 9999, "tags": ["ok", "ok", " ", *many]})
    there = shelf.read(run)
    assert (len(there.title), len(there.note), len(there.tags)) == (shelf.TITLE, shelf.NOTE, shelf.TAGS)
    assert there.tags[:2] == ("ok", "000" + "x" * 37)


@pytest.mark.parametrize("put, words", [
    (Shelf(title="t" * 121), "at most 120"), (Shelf(note="n" * 2001), "at most 2000"),
    (Shelf(tags=tuple(map(str, range(21)))), "at most 20 tags"), (Shelf(tags=("x" * 41,)), "40 characters"),
])  # fmt: skip
def test_too_much_is_refused_and_what_was_there_stays(make_run, put, words):
    run = make_run()
    shelf.write(run, Shelf("before"))
    with pytest.raises(ValueError, match=words):
        shelf.write(run, put)
    assert shelf.read(run) == Shelf("before")


def test_the_limits_themselves_fit_and_doubles_count_once(make_run):
    full = Shelf("t" * 120, "n" * 2000, tuple("x" * 38 + f"{n:02}" for n in range(20)))
    assert shelf.write(make_run(), full) == full
    assert shelf.write(make_run(), Shelf(tags=("a", " a ", "", "b\x00\n"))).tags == ("a", "b")


def test_a_run_that_has_gone_is_not_made_again(store):
    with pytest.raises(ValueError, match="not there any more"):
        shelf.write(Run(store / "gone"), Shelf("x"))
    assert not (store / "gone").exists()


def test_what_the_disk_refuses_is_a_sentence(make_run):
    run = make_run()
    (run.path / shelf.FILE / "in the way").mkdir(parents=True)
    assert shelf.read(run) == Shelf()
    with pytest.raises(ValueError, match=r"cannot be written .*permissions"):
        shelf.write(run, Shelf("x"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(make_run):
    run = make_run()
    for act in (lambda: shelf.write(run, Shelf("x")), lambda: shelf.delete(run)):
        for folder in (run.path, run.path.parent):
            folder.chmod(0o555)
        try:
            with pytest.raises(ValueError, match="permissions"):
                act()
        finally:
            for folder in (run.path.parent, run.path):
                folder.chmod(0o755)
    assert not run.problem()


# --- the trash -------------------------------------------------------------------------------------------------------


def contents(run: Run) -> dict[str, bytes]:
    return {str(f.relative_to(run.path)): f.read_bytes() for f in sorted(run.path.rglob("*")) if f.is_file()}


def test_a_deleted_run_is_in_the_trash_and_comes_back_whole(make_run, store):
    run = make_run()
    shelf.write(run, Shelf("mine"))
    before = contents(run)
    gone = shelf.delete(run)
    assert not run.path.exists() and runs.every(store) == [] and shelf.trashed(store) == [gone]
    assert shelf.restore(gone) == run and contents(run) == before and shelf.trashed(store) == []
    with pytest.raises(ValueError, match="not in the trash any more"):
        shelf.restore(gone)


def test_a_run_of_the_same_id_is_never_overwritten(make_run, store):
    first = shelf.delete(make_run())
    second = shelf.delete(make_run())
    assert [one.id for one in shelf.trashed(store)] == ["toy", "toy"] and shelf.trashed(store)[0] == second
    run = make_run(unknown=7)
    before = contents(run)
    with pytest.raises(ValueError, match="There is a run toy again"):
        shelf.restore(first)
    assert contents(run) == before and len(shelf.trashed(store)) == 2


def test_only_purging_removes_for_good_and_only_what_is_in_the_trash(make_run, store):
    gone, kept = shelf.delete(make_run("a")), shelf.delete(make_run("b"))
    shelf.purge(gone)
    assert shelf.trashed(store) == [kept] and not gone.path.exists()
    outside = make_run("c")
    with pytest.raises(ValueError, match="not in the trash"):
        shelf.purge(shelf.Trashed(outside.path, "c", gone.when))
    assert outside.path.is_dir()


def test_what_else_lies_in_the_trash_is_left_alone(store):
    for name in ("notes", "a-b-c", "x-20261122T041500123456.tmp", "Ü-20261122T041500123456"):
        (store / shelf.TRASH / name).mkdir(parents=True)
    (store / shelf.TRASH / "file-20261122T041500123456").write_text("")
    assert shelf.trashed(store) == []


def test_a_run_that_a_process_works_on_stays(make_run, store):
    """A real process, alive; then it is gone, and so may the run."""
    run = make_run()
    for state in runs.ALIVE:
        script = (
            "import sys, time; from pathlib import Path; from cac_core import runs\n"
            "record = {'state': sys.argv[2], **runs.process_now()}\n"
            "runs.write_json(Path(sys.argv[1]), record); print('there', flush=True); time.sleep(3600)"
        )
        command = [sys.executable, "-c", script, str(run.path / "status.json"), state]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert worker.stdout.readline() == "there\n"
            with pytest.raises(ValueError, match="A process works on toy"):
                shelf.delete(run)
            assert run.path.is_dir()
        finally:
            worker.kill()
            worker.communicate()
    assert shelf.delete(run).path.is_dir()


def test_a_run_with_a_job_under_way_stays(make_run, store):
    run = make_run()
    job = launch.submit(store, "eval", ["eval", str(run.path)], run=run.id)
    runs.write_json(job.path, json.loads(job.path.read_text()) | {"state": "running"})
    with filelock.FileLock(job.beside(".lock")), pytest.raises(ValueError, match="A process works on toy"):
        shelf.delete(run)  # the lock is held as the job's process would hold it
    assert shelf.delete(run).path.is_dir()


@pytest.mark.parametrize("told", ["sweep/.progress.json", "maps/.progress.json"])
def test_a_run_that_is_swept_or_mapped_from_a_command_line_stays(make_run, told):
    run = make_run()
    at_work = {"stage": "perturbing", "done": 1, "of": 2, **runs.process_now()}
    runs.write_json(run.path / told, at_work)
    with pytest.raises(ValueError, match="A process works on toy"):
        shelf.delete(run)
    runs.write_json(run.path / told, at_work | {"process_started": 1})  # one that was killed
    assert shelf.delete(run).path.is_dir()


@pytest.mark.parametrize("name", ["名", "A", "a b", ".hidden"])
def test_only_a_run_can_be_deleted(store, name):
    (store / name).mkdir(parents=True)
    with pytest.raises(ValueError, match="There is no run"):
        shelf.delete(Run(store / name))
    assert (store / name).is_dir()


# --- read-only -------------------------------------------------------------------------------------------------------


def test_in_a_show_nothing_is_written(make_run, store, monkeypatch):
    run, gone = make_run("a"), shelf.delete(make_run("b"))
    packed = zipped(run)
    before = sorted(str(p) for p in store.rglob("*"))
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    acts = (lambda: shelf.write(run, Shelf("x")), lambda: shelf.delete(run), lambda: shelf.restore(gone),
            lambda: shelf.purge(gone), lambda: shelf.unpack(packed, store))  # fmt: skip
    for act in acts:
        with pytest.raises(ValueError, match="look at everything and change nothing"):
            act()
    assert sorted(str(p) for p in store.rglob("*")) == before
    assert shelf.read(run) == Shelf() and len(shelf.trashed(store)) == 1


# --- zips ------------------------------------------------------------------------------------------------------------


def zipped(run: Run, **more: bytes) -> io.BytesIO:
    """The folder of a run as a zip, made by hand; more files by their names in the zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents(run).items():
            packed.writestr(f"{run.id}/{name}", content)
        for name, content in more.items():
            packed.writestr(name, content)
    file.seek(0)
    return file


def refused(file: io.BytesIO, store, words: str):
    before = sorted(str(p) for p in store.parent.rglob("*"))
    with pytest.raises(ValueError, match=words):
        shelf.unpack(file, store)
    assert sorted(str(p) for p in store.parent.rglob("*")) == before


def test_packed_runs_come_back_and_say_the_same(make_run, store, tmp_path):
    made = [make_run("a"), make_run("b", method="cross_entropy")]
    for run in made:
        runs.write_json(run.path / "report.json", judge.plain(judge.report_all(run)))
    shelf.write(made[0], Shelf("<b>mine</b>", "note", ("tag",)))
    file = io.BytesIO()
    shelf.pack(made, file)
    file.seek(0)
    arrived = shelf.unpack(file, tmp_path / "elsewhere")
    assert [run.id for run in arrived] == ["a", "b"]
    for run, came in zip(made, arrived, strict=True):
        assert shelf.read(came) == shelf.read(run) and came.written and not came.problem()
        scorer = "gamma" if run.id == "a" else "msp"
        assert judge.report(came, scorer)["auroc"] == pytest.approx(judge.report(run, scorer)["auroc"], abs=1e-4)
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["a", "b"]


def test_a_taken_id_gets_a_number(make_run, store):
    run = make_run(unknown=5)
    before = contents(run)
    names = [shelf.unpack(zipped(run), store)[0].id for _ in range(2)]
    assert names == ["toy-2", "toy-3"] and contents(run) == before == contents(Run(store / "toy-3"))
    long = make_run("x" * 64)
    assert shelf.unpack(zipped(long), store)[0].id == "x" * 62 + "-2"


def test_what_only_this_machine_needs_is_left_out(make_run, store, tmp_path):
    extra = {"toy/last.pt": b"pickled", "toy/log.txt": b"x", "toy/stop": b"", "toy/.lock": b"", "__MACOSX/toy/._a": b"",
             "toy/maps/.progress.json": b"{}", "toy/.DS_Store": b"", "toy/.last.pt.12-345.tmp": b"half",
             "toy/outputs/.train.npz.12-345.tmp": b"half", "toy/sweep/0a1b/test-000000.npz": b"a batch"}  # fmt: skip
    (came,) = shelf.unpack(zipped(make_run(), **extra), tmp_path / "elsewhere")
    assert contents(came) == contents(make_run())


def test_a_run_that_comes_unfinished_is_not_taken_for_one_at_work(make_run, tmp_path):
    run = make_run()
    runs.write_json(run.path / "status.json", {"state": "running", "host": "elsewhere", "pid": 1, "process_started": 0})
    (came,) = shelf.unpack(zipped(run), tmp_path / "elsewhere")
    assert came.state == "stopped" and shelf.delete(came)


@pytest.mark.parametrize("name", [
    "../evil/recipe.json", "/etc/recipe.json", "toy/../../recipe.json", "toy/outputs/../../x.npz", "C:\\x\\recipe.json",
    "toy\\recipe.json", "TOY/recipe.json", "recipe.json", "toy/evil.py", "toy/outputs/a/b.npz", "toy/outputs/名.npz",
    "名/recipe.json", f"{'x' * 65}/recipe.json", "toy/recipe.json/x", "toy//recipe.json", "./toy/recipe.json",
])  # fmt: skip
def test_paths_that_no_run_has_are_refused(make_run, store, name):
    refused(zipped(make_run(), **{name: b"{}"}), store, "no file of a run")


def test_links_are_refused(make_run, store):
    run, file = make_run(), io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        link = zipfile.ZipInfo("toy/recipe.json")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    refused(file, store, "is a link")
    assert run.path.is_dir()


def test_the_same_name_twice_is_refused(make_run, store):
    file = zipped(make_run())
    with zipfile.ZipFile(file, "a") as packed, pytest.warns(UserWarning):
        packed.writestr("toy/recipe.json", "{}")
    refused(file, store, "twice")


def test_sizes_are_those_that_really_come(make_run, store, monkeypatch):
    monkeypatch.setattr(shelf, "MOST_BYTES", 3_000_000)
    bomb = zipped(make_run(), **{"toy/maps/umap-x.npz": bytes(5_000_000)})
    assert len(bomb.getvalue()) < 2_000_000
    refused(bomb, store, "larger than")
    monkeypatch.setattr(shelf, "MOST_JSON", 1000)
    refused(zipped(make_run(), **{"toy/events.jsonl": bytes(2000)}), store, "larger than")
    monkeypatch.setattr(shelf, "MOST_FILES", 4)
    refused(zipped(make_run()), store, "at most 4")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_what_is_no_zip_is_said(make_run, store, content):
    make_run()
    refused(io.BytesIO(content), store, "no zip file")


def test_a_zip_of_a_later_version_or_with_an_endless_list_of_files_is_said(make_run, store, monkeypatch):
    run = make_run()
    content = bytearray(zipped(run).getvalue())
    listed = content.index(b"PK\1\2")
    content[listed + 6 : listed + 8] = (99).to_bytes(2, "little")
    refused(io.BytesIO(bytes(content)), store, "no zip file, or a damaged one")
    monkeypatch.setattr(shelf, "DIRECTORY", 100)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # it is not come to
    refused(zipped_before := io.BytesIO(bytes(content)), store, "its list of files alone has")
    assert zipped_before.tell() > 0


def test_pictures_and_reconstructions_go_with_a_run_and_verdicts_stay(make_run, store, tmp_path):
    run = make_run("a")
    for name in ("pictures", "rebuilt"):
        np.savez(run.path / f"{name}.npz", pixels=np.zeros((1, 2, 2, 3), np.uint8))
    for name in ("judged", "exported"):
        (run.path / name).mkdir()
        (run.path / name / "some.csv").write_text("x")
    runs.write_json(run.path / "report.json", judge.plain(judge.report_all(run)))
    packed = io.BytesIO()
    shelf.pack([run], packed)
    for file in (packed, zipped(run)):
        file.seek(0)
        (came,) = shelf.unpack(file, tmp_path / "elsewhere")
        assert {"pictures.npz", "rebuilt.npz"} <= set(contents(came)) and not list(came.path.glob("*/some.csv"))


def test_a_damaged_zip_is_said(make_run, store):
    content = bytearray(zipped(make_run()).getvalue())
    content[200:260] = bytes(60)
    refused(io.BytesIO(bytes(content)), store, "damaged|no zip")


def test_an_empty_zip_and_one_without_a_recipe_are_said(make_run, store):
    make_run()
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    refused(empty, store, "holds no run")
    bare = io.BytesIO()
    with zipfile.ZipFile(bare, "w") as packed:
        packed.writestr("toy/report.json", "{}")
    refused(bare, store, "no run that can be shown")


@pytest.mark.parametrize("recipe", ["[]", "{", '{"recipe": {"dataset": 3}, "classes": {}, "prepare": {}}'])
def test_a_recipe_that_is_none_keeps_all_out(make_run, store, recipe):
    good = make_run("good")
    file = zipped(good)
    with zipfile.ZipFile(file, "a") as packed:
        packed.writestr("worse/recipe.json", recipe)
    refused(file, store, "worse in this zip")


def test_nothing_in_a_zip_is_unpickled(make_run, tmp_path):
    """An array of objects can only be read by running what it says; it stays unread."""
    run, trap = make_run(), tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    np.savez(run.path / "outputs" / "test.npz", logits=np.array([Trap()], object))
    (came,) = shelf.unpack(zipped(run), tmp_path / "elsewhere")
    with pytest.raises(runs.Broken):
        came.outputs("test")
    assert not trap.exists()
