"""Run directories: whole, torn, foreign and lost; how they are written; and the report on one."""

import json
import math
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from cac_core import runs
from cac_core.results import judge
from cac_core.runs import Broken, Run, every, find
from cac_core.scoring import metrics
from cac_core.scoring.scorers import judge_of
from tests import reference
from tests.waiting import wait_until

# --- recipe.json -----------------------------------------------------------------------------------------------------


def test_a_whole_run_reads_as_it_was_written(make_run):
    run = make_run()
    assert run.id == "toy"
    assert (run.trial.known, run.trial.unknown) == ((0, 1, 2, 3), (4, 5))
    assert run.known_names == ["0", "1", "2", "3"]
    assert (run.row.size, run.row.grain, run.row.channels, run.row.ink) == (16, 8, 1, True)
    assert run.recipe.trial == "toy"
    assert run.problem() == ""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no recipe.json"),
        (b"", "recipe.json cannot be read"),
        (b'{"recipe": {"dataset": "dig', "recipe.json cannot be read .*Delete the run or train it again"),
        (b"[1, 2]", "it must be an object, not"),
        (b"null", "it must be an object, not None"),
        (b'{"name": "someone else\'s"}', "it must be an object with classes, prepare, recipe"),
        (b"\xff\xfe\x00", "recipe.json cannot be read"),
    ],
)
def test_a_recipe_json_that_is_none_is_named(make_run, content, says):
    run = make_run()
    (run.path / "recipe.json").unlink()
    if content is not None:
        (run.path / "recipe.json").write_bytes(content)
    for read in (lambda: run.record, lambda: run.recipe, lambda: run.trial, lambda: run.row, lambda: run.class_names):
        with pytest.raises(Broken, match=says):
            read()
    assert "recipe.json" in run.problem()


def test_a_run_that_was_killed_while_it_read_the_images_says_so(make_run):
    run = make_run()
    (run.path / "recipe.json").unlink()
    runs.write_json(run.path / "status.json", {"state": "lost", "reason": "It was killed for memory."})
    assert "before its training had begun (It was killed for memory.)" in run.problem()


def changed(run, **fields):
    record = json.loads((run.path / "recipe.json").read_text())
    runs.write_json(run.path / "recipe.json", record | fields)
    return run


@pytest.mark.parametrize(
    "fields",
    [
        {"recipe": {"from": "a newer version"}},
        {"recipe": None},
        {"recipe": {"lr": "x"}},
        {"classes": None},
        {"classes": {}},
        {"classes": {"known": [0, 1], "unknown": [2]}},
        {"classes": {"known": [0, 1], "unknown": [2], "names": ["a", "b"]}},
        {"classes": {"known": 3, "unknown": [2], "names": ["a", "b", "c"]}},
        {"classes": {"known": ["a", "b"], "unknown": [], "names": ["a", "b"]}},
        {"classes": {"known": [], "unknown": [], "names": []}},
        {"prepare": None},
        {"prepare": {"sise": 3}},
    ],
)
def test_a_foreign_record_is_a_problem_in_a_sentence_not_a_crash(make_run, fields):
    problem = changed(make_run(), **fields).problem()
    assert "recipe.json" in problem  # the reader learns which file it is


# --- status.json -----------------------------------------------------------------------------------------------------


def status(run, **fields):
    runs.write_json(run.path / "status.json", fields)
    return run.status


@pytest.fixture(scope="module")
def dead_process():
    """What process_now says, of a process that has ended since."""
    script = "import json; from cac_core.runs import process_now; print(json.dumps(process_now()))"
    return json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("state", ["starting", "running"])
def test_a_run_at_work_is_at_work(make_run, state):
    assert status(make_run(), state=state, **runs.process_now())["state"] == state


@pytest.mark.parametrize("state", ["starting", "running"])
def test_a_run_whose_process_is_gone_is_lost(make_run, dead_process, state):
    got = status(make_run(), state=state, device="cpu", **dead_process)
    assert got["state"] == "lost"
    assert "Train it again" in got["reason"]
    assert got["device"] == "cpu"


def test_a_pid_that_somebody_else_has_by_now_is_lost(make_run):
    me = runs.process_now()
    assert (
        status(make_run(), state="running", **{**me, "process_started": me["process_started"] - 60})["state"] == "lost"
    )


@pytest.mark.parametrize(
    "process", [{}, {"pid": None, "process_started": 1}, {"pid": 10**20, "process_started": 1}, {"pid": -1}]
)
def test_a_run_that_does_not_say_who_works_at_it_is_lost(make_run, process):
    assert status(make_run(), state="running", host=socket.gethostname(), **process)["state"] == "lost"


def test_a_process_that_nobody_waited_for_counts_as_gone(make_run):
    child = subprocess.Popen(
        [sys.executable, "-c", "import json; from cac_core.runs import process_now; print(json.dumps(process_now()))"],
        stdout=subprocess.PIPE,
    )
    who = json.loads(child.stdout.read())
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is a zombie
    assert status(make_run(), state="running", **who)["state"] == "lost"
    child.wait()
    child.stdout.close()


def test_of_another_machine_nothing_is_known_and_nothing_said(make_run, dead_process):
    assert status(make_run(), state="running", **{**dead_process, "host": "elsewhere"})["state"] == "running"


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_a_run_that_ended_stays_ended(make_run, dead_process, state):
    assert status(make_run(), state=state, **dead_process)["state"] == state


@pytest.mark.parametrize("content", [None, b"", b'{"state": "runn', b"[]", b"null", b"{}", b'"running"', b"\xff"])
def test_a_status_that_is_none_is_lost_with_a_reason(make_run, content):
    run = make_run()
    (run.path / "status.json").unlink()
    if content is not None:
        (run.path / "status.json").write_bytes(content)
    assert run.state == "lost"
    assert "Train it again" in run.status["reason"]


# --- events.jsonl ----------------------------------------------------------------------------------------------------


def epoch(n, **more):
    return {"kind": "epoch", "epoch": n, **more}


def logged(run, *events):
    for event in events:
        runs.append(run.path / "events.jsonl", event)
    return run


def test_a_run_without_events_has_none(make_run):
    assert make_run().events() == []


def test_events_come_back_with_their_time(make_run):
    run = logged(make_run(), {"kind": "start", "note": "größer\n\u2028"}, epoch(1, loss=0.5))
    start, first = run.events()
    assert start["note"] == "größer\n\u2028"
    assert first["loss"] == 0.5
    assert start["time"] > 1.7e9


def test_epochs_done_again_count_once_and_as_they_were_last(make_run):
    run = logged(make_run(), epoch(1, a=1), epoch(2, a=1), epoch(3, a=1), epoch(2, a=2), epoch(3, a=2), epoch(4, a=2))
    assert [(e["epoch"], e["a"]) for e in run.epochs()] == [(1, 1), (2, 2), (3, 2), (4, 2)]


@pytest.mark.parametrize(
    "torn", ['{"kind": "epo', '{"kind": "epoch", "epoch": 2', "\x00\x00\x00", "7", "[1]", "\ufffd"]
)
def test_a_torn_last_line_is_passed_over(make_run, torn):
    run = logged(make_run(), epoch(1))
    with open(run.path / "events.jsonl", "a") as file:
        file.write(torn)
    assert [e["epoch"] for e in run.epochs()] == [1]


def test_a_line_torn_inside_a_letter_is_passed_over(make_run):
    run = logged(make_run(), epoch(1))
    with open(run.path / "events.jsonl", "ab") as file:
        file.write('{"note": "ü'.encode()[:-1])
    assert len(run.events()) == 1


def test_what_follows_a_torn_line_is_not_torn_with_it(make_run):
    run = logged(make_run(), epoch(1))
    with open(run.path / "events.jsonl", "a") as file:
        file.write('{"kind": "epo')
    logged(run, epoch(2))
    assert [e["epoch"] for e in run.epochs()] == [1, 2]


@pytest.mark.parametrize(
    "foreign", [{}, {"kind": "epoch"}, {"epoch": 3}, {"kind": None}, {"kind": "epoch", "epoch": "x"}]
)
def test_an_event_of_another_make_does_no_harm(make_run, foreign):
    run = logged(make_run(), epoch(1), foreign, epoch(2))
    assert [e["epoch"] for e in run.epochs()] == [1, 2]


# --- outputs ---------------------------------------------------------------------------------------------------------


def test_outputs_come_back_as_they_were(make_run, toy_outputs):
    got, written = make_run().outputs("validation"), toy_outputs(seed=1, known=80, unknown=0)
    for name, array in vars(written).items():
        np.testing.assert_array_equal(getattr(got, name), array)


def test_half_precision_on_disk_is_single_in_memory(make_run):
    run = make_run()
    there = {name: np.asarray(value) for name, value in vars(run.outputs("test")).items() if value is not None}
    arrays = {k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in there.items()}
    runs.write_npz(run.path / "outputs/test.npz", **arrays, weights=np.array("abc"))
    assert run.outputs("test").logits.dtype == run.outputs("test").features.dtype == np.float32


def test_a_run_without_anchors_has_none(make_run):
    assert make_run(method="cross_entropy").outputs("train").anchors is None


def test_missing_outputs_name_the_command(make_run):
    run = make_run()
    (run.path / "outputs/test.npz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"toy has no outputs on 'test' yet(?s:.*)cac_core eval {run.path}"):
        run.outputs("test")
    assert run.written == ""


def test_written_changes_when_any_outputs_do(make_run):
    run = make_run()
    seen = {run.written}
    for split in runs.SPLITS:
        file = run.path / "outputs" / f"{split}.npz"
        stamp = file.stat().st_mtime_ns
        os.utime(file, ns=(stamp + 1000, stamp + 1000))
        seen.add(run.written)
    assert len(seen) == 4
    assert run.written == Run(run.path).written


def flip(content, at):
    return content[:at] + bytes([255 - content[at]]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b"PK",
        lambda b: b[:100],
        lambda b: b[: len(b) // 2],
        lambda b: b[:-1],
        lambda b: b[:-40],
        lambda b: flip(b, len(b) // 4),
        lambda b: flip(b, len(b) // 2),
        lambda b: flip(b, len(b) - 10),
        lambda b: flip(b, b.index(b"PK\x01\x02") + 10),  # the compression method, of which there is none such
        lambda b: b"\0" * len(b),
        lambda b: b"logits, features\n",
    ],
)
def test_damaged_outputs_name_the_command(make_run, damage):
    run = make_run()
    file = run.path / "outputs/test.npz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Broken, match=r"test\.npz is damaged(?s:.*)eval .* --again"):
        run.outputs("test")


@pytest.mark.parametrize(
    "change",
    [
        {"logits": None},
        {"labels": None},
        {"mirrored": None},
        {"logits": np.zeros(7)},
        {"logits": np.zeros((3, 4))},
        {"logits": np.array("words")},
        {"features": np.zeros((2, 2, 2))},
        {"features": np.float32(1)},
        {"labels": np.full(110, 9)},
        {"anchors": np.eye(3)},
        {"anchors": np.array({"a": 1}, dtype=object)},
    ],
)
def test_outputs_of_wrong_shapes_are_broken(make_run, change):
    run = make_run()
    arrays = {k: v for k, v in {**vars(run.outputs("test")), **change}.items() if v is not None}
    runs.write_npz(run.path / "outputs/test.npz", **arrays)
    with pytest.raises(Broken, match=r"test\.npz is damaged"):
        run.outputs("test")


@pytest.mark.parametrize("content", [None, b"", b"PK", b"PK\x03\x04 torn", b"{}"])
def test_snapshots_that_cannot_be_read_are_none(make_run, content):
    run = make_run()
    if content is not None:
        (run.path / "snapshots.npz").write_bytes(content)
    assert run.snapshots() is None


def test_snapshots_come_back(make_run):
    run = make_run()
    sample = {"labels": np.arange(3), "index": np.arange(3)}
    runs.write_npz(run.path / "snapshots.npz", epochs=np.arange(2), logits=np.ones((2, 3, 4)), **sample)
    assert run.snapshots()["logits"].shape == (2, 3, 4)


def test_no_report_is_an_empty_one(make_run):
    assert make_run().report() == {}


@pytest.mark.parametrize("content", [b"", b"{"])
def test_a_report_that_cannot_be_read_names_the_command(make_run, content):
    run = make_run()
    (run.path / "report.json").write_bytes(content)
    with pytest.raises(Broken, match=r"report\.json is damaged(?s:.*)eval .* --again"):
        run.report()
    assert "report.json is damaged" in run.problem()


# --- finding ---------------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_id_and_by_path(make_run, store, tmp_path):
    run = make_run("mine-1")
    assert find("mine-1", store) == run
    assert find(run.path, tmp_path / "elsewhere") == run
    assert find(f"{run.path}/", store).id == "mine-1"


@pytest.mark.parametrize(
    "name", ["../x", "/etc", "..", ".", "", "mine", "MINE-1", "mine-1/outputs", "a\0b", "x" * 300, "mine-1\n", "～"]
)
def test_what_is_no_run_is_not_found_and_the_ids_are_listed(make_run, store, name):
    make_run("mine-1")
    (store.parent / "x").mkdir()
    with pytest.raises(FileNotFoundError, match=r"There is no run(?s:.*)there are: mine-1\."):
        find(name, store)


def test_an_empty_store_says_so(store):
    with pytest.raises(FileNotFoundError, match="there are: none yet"):
        find("mine", store)


def test_every_run_is_listed_broken_ones_too_and_nothing_else(make_run, store):
    make_run("b")
    make_run("a")
    (store / "broken").mkdir()
    (store / "Not An Id").mkdir()
    (store / ".hidden").mkdir()
    (store / ("x" * 65)).mkdir()
    (store / "a-file").write_text("")
    (store / "dangling").symlink_to(store / "nowhere")
    (store / "loop").symlink_to(store / "loop")
    assert [run.id for run in every(store)] == ["a", "b", "broken"]
    assert [bool(run.problem()) for run in every(store)] == [False, False, True]


def test_of_a_run_that_is_gone_no_outputs_are_asked_for(make_run):
    run = make_run()
    run.path.rename(run.path.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError, match="toy is not here any more: it was deleted or moved"):
        run.outputs("test")


def test_a_run_begins_before_its_recipe_is_written(store):
    run = Run(store / "new")
    run.path.mkdir(parents=True)
    assert not run.beginning  # nobody is at work on it
    runs.write_json(run.path / "status.json", {"state": "starting", **runs.process_now()})
    assert run.beginning
    runs.write_json(run.path / "status.json", {"state": "starting", **runs.process_now(), "process_started": 0})
    assert not run.beginning
    runs.write_json(run.path / "status.json", {"state": "starting", **runs.process_now()})
    (run.path / "recipe.json").write_text("{}")
    assert not run.beginning and "recipe.json" in run.problem()


def test_a_store_that_is_not_there_or_a_file_has_no_runs(tmp_path):
    (tmp_path / "file").write_text("")
    assert every(tmp_path / "none") == every(tmp_path / "file") == []


def test_the_store_is_what_was_given_then_the_environment_then_checkpoints(monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(tmp_path))
    assert str(runs.store_of("here")) == "here"
    assert runs.store_of() == tmp_path
    monkeypatch.delenv("ANCHORSCOPE_RUNS")
    assert str(runs.store_of()) == "checkpoints"


# --- writing ---------------------------------------------------------------------------------------------------------


def test_writing_replaces_what_was_there_and_makes_the_folder(tmp_path):
    file = tmp_path / "a" / "b" / "note.json"
    runs.write_json(file, {"one": "ü"})
    runs.write_json(file, {"two": 2})
    assert json.loads(file.read_text("utf-8")) == {"two": 2}
    assert os.listdir(file.parent) == ["note.json"]


def test_outputs_of_a_run_that_is_gone_do_not_bring_its_folder_back(make_run, tmp_path):
    run = make_run()
    out = run.outputs("test")
    run.path.rename(tmp_path / "trash")
    with pytest.raises(FileNotFoundError, match="is not here any more"):
        runs.write_outputs(run, "test", out)
    assert not run.path.exists()


def test_a_write_that_fails_leaves_the_old_content_and_no_crumbs(tmp_path):
    file = tmp_path / "note.txt"
    runs.write(file, "old")

    def fill(handle):
        handle.write(b"half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.in_one_step(file, fill)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]


def test_what_a_kill_left_half_written_is_removed_and_what_is_being_written_stays(make_run):
    run = make_run()
    before = sorted(run.path.rglob("*"))
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    left = [f".last.pt.{gone.pid}-1.tmp", f"outputs/.train.npz.{gone.pid}-140480599739264.tmp"]
    others = [f".best.safetensors.{os.getpid()}-1.tmp", ".mine.tmp"]
    for name in (*left, *others):
        (run.path / name).write_bytes(b"half")
    runs.remove_half_written(run)
    assert sorted(run.path.rglob("*")) == sorted([*before, *(run.path / name for name in others)])


@pytest.mark.parametrize(
    "write",
    [
        lambda file: runs.write(file, "new" * 10_000),
        lambda file: runs.write_json(file, {"new": 1}),
        lambda file: runs.write_npz(file, new=np.random.default_rng(0).random(100_000)),
    ],
)
def test_a_full_disk_leaves_the_old_content_and_no_crumbs(tmp_path, write):
    file = tmp_path / "data.bin"
    file.write_bytes(b"old")
    # the kernel itself answers "no space left on device" to whoever writes into the file beside it
    (tmp_path / f".data.bin.{os.getpid()}-{threading.get_ident()}.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write(file)
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data.bin"]


def test_two_sessions_of_a_server_write_one_file_in_turns(tmp_path):
    file, wrong = tmp_path / "shelf.json", []
    texts = ["a" * 200_000, "b" * 200_000]

    def write(text):
        try:
            for _ in range(60):
                runs.write(file, text)
                assert file.read_text() in texts
        except (OSError, AssertionError) as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and os.listdir(tmp_path) == ["shelf.json"]


def test_of_two_who_make_one_run_one_is_first_and_it_is_whole(tmp_path):
    goal = Run(tmp_path / "a")
    with pytest.raises(FileExistsError, match="is there already"), runs.made_whole(goal) as slow:
        runs.write(slow.path / "recipe.json", "slow")
        with runs.made_whole(goal) as quick:
            assert not quick.path.exists()
            runs.write(quick.path / "recipe.json", "quick")
        assert (slow.path / "recipe.json").read_text() == "slow"
    assert (goal.path / "recipe.json").read_text() == "quick" and os.listdir(tmp_path / runs.MAKING) == []


def test_what_json_cannot_hold_is_not_half_written(tmp_path):
    runs.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError):
        runs.write_json(tmp_path / "a.json", {"new": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}


def test_a_reader_never_sees_half_a_file(tmp_path):
    file = tmp_path / "status.json"
    script = (
        "import itertools, sys; from pathlib import Path; from cac_core import runs\n"
        "for i in itertools.count():\n"
        "    runs.write_json(Path(sys.argv[1]), {'n': i, 'pad': 'x' * 20_000})\n"
        "    if Path(sys.argv[2]).exists(): break"
    )
    runs.write_json(file, {"n": -1, "pad": ""})
    seen = set()

    def enough():
        seen.update(json.loads(file.read_text())["n"] for _ in range(100))
        return len(seen) > 30

    with subprocess.Popen([sys.executable, "-c", script, str(file), str(tmp_path / "enough")]) as writer:
        try:
            wait_until(enough, process=writer)
        finally:
            (tmp_path / "enough").touch()
    assert writer.returncode == 0
    assert json.loads(file.read_text())["n"] >= max(seen)


# --- the report ------------------------------------------------------------------------------------------------------

PROMISED = {
    "accuracy", "auroc", "aupr_known", "aupr_unknown", "fpr_at_95_knowns_kept", "fpr_at_95_unknowns_caught", "oscr",
    "theta", "intervals", "at_theta", "confusion", "scorer", "options", "knowns", "unknowns",
}  # fmt: skip


def test_the_report_is_what_the_outputs_give(make_run):
    run = make_run()
    report = judge.report(run)
    assert set(report) >= PROMISED
    train, test = run.outputs("train"), run.outputs("test")
    means = reference.class_means(train.logits.tolist(), train.labels.tolist(), 4)
    rows = reference.cac_gamma(test.logits.tolist(), means)
    score, label, truth = [min(r) for r in rows], [r.index(min(r)) for r in rows], test.labels.tolist()
    assert report["scorer"] == "gamma"
    assert (report["knowns"], report["unknowns"]) == (80, 30)
    assert report["auroc"] == pytest.approx(reference.auroc(score, truth), abs=1e-9)
    assert report["oscr"] == pytest.approx(reference.oscr(score, label, truth), abs=1e-9)
    assert report["confusion"] == reference.confusion(report["theta"], score, label, truth, 4)
    assert report["intervals"]["accuracy"] == pytest.approx(reference.wilson(round(report["accuracy"] * 80), 80))


@pytest.mark.parametrize("scorer", [name for name in judge.SCORERS if name != "given"])  # which came with outputs
def test_theta_is_the_order_statistic_of_the_validation_knowns(make_run, scorer):
    run = make_run(latents=2)
    validation = run.outputs("validation")
    verdict = judge_of(scorer, run.outputs("train"), validation)(validation)
    report = judge.report(run, scorer)
    assert report["theta"] == sorted(verdict.score)[76]  # the 77th of 80: 0.95 * 81 is 76.95
    assert report["theta_rule"] == "keeps 95 % of new knowns on average, by 80 images held out of training"


def test_theta_does_not_depend_on_the_test_images(make_run):
    assert judge.report(make_run("a"))["theta"] == judge.report(make_run("b", unknown=7))["theta"]


def test_a_given_theta_is_taken(make_run):
    run = make_run()
    report = judge.report(run, theta=3.25)
    test = run.outputs("test")
    verdict = judge_of("gamma", run.outputs("train"))(test)
    assert (report["theta"], report["theta_rule"]) == (3.25, "given")
    assert report["at_theta"] == metrics.at(3.25, verdict, test.labels, 4)


@pytest.mark.parametrize("theta", [math.nan, math.inf, -math.inf])
def test_a_theta_that_is_no_number_is_refused(make_run, theta):
    with pytest.raises(ValueError, match="theta must be a finite number"):
        judge.report(make_run(), theta=theta)


def test_options_reach_the_scorer_and_the_report(make_run):
    run = make_run()
    report = judge.report(run, "energy", temperature=5.0)
    assert report["options"] == {"temperature": 5.0}
    assert report["theta"] != judge.report(run, "energy")["theta"]
    with pytest.raises(ValueError, match="energy has no option heat"):
        judge.report(run, "energy", heat=1)


@pytest.mark.parametrize("unknown", [30, 1, 0])
@pytest.mark.parametrize("method", ["cac", "cross_entropy"])
def test_every_report_is_json_and_what_does_not_exist_is_null(make_run, method, unknown):
    everything = judge.report_all(make_run(method=method, unknown=unknown))
    plain = json.loads(json.dumps(judge.plain(everything), allow_nan=False))
    assert plain["default"] == ("gamma" if method == "cac" else "msp")
    for report in plain["scorers"].values():
        assert report["accuracy"] > 0.5
        for name in ("auroc", "aupr_known", "aupr_unknown", "fpr_at_95_knowns_kept", "oscr"):
            assert (report[name] is None) == (unknown == 0)
        assert (report["at_theta"]["unknowns_caught"] is None) == (unknown == 0)
        assert report["intervals"]["auroc"] == [None, None] if unknown < 2 else None not in report["intervals"]["auroc"]
        assert bool(report["oracle_thetas"]) == (unknown > 0)


def test_plain_keeps_what_json_can_hold():
    given = {"a": (1, 2.5, math.nan), "b": [math.inf, None, "x"], "c": {"d": -math.inf, "e": True}}
    assert judge.plain(given) == {"a": [1, 2.5, None], "b": [None, None, "x"], "c": {"d": None, "e": True}}


@pytest.mark.parametrize("split", runs.SPLITS)
def test_a_report_without_outputs_names_the_command(make_run, split):
    run = make_run()
    (run.path / "outputs" / f"{split}.npz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"no outputs on '{split}' yet"):
        judge.report(run)


@pytest.mark.parametrize("name", ["head", "dummies"])
def test_arrays_of_one_file_that_do_not_belong_together_are_a_damaged_file(make_run, name):
    run = make_run()
    file = run.path / "outputs" / "train.npz"
    with np.load(file) as arrays:
        runs.write_npz(file, **dict(arrays) | {name: np.zeros((4, 9), np.float32)})
    with pytest.raises(runs.Broken, match=r"train\.npz is damaged .* not "):
        run.outputs("train")
