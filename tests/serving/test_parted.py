"""Images judged in parts: who takes which, and by several jobs under Slurm's own daemons."""

import os
import shutil
import signal
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

from cac_core.__main__ import main
from cac_core.jobs import clusters, launch
from cac_core.serving import parted, sources
from tests.serving.test_score import ROOT, called, made, place, run, table  # noqa: F401 (fixtures)
from tests.waiting import LONG, wait_until

ALONE = ("--batch", "1")  # the last digits of a score hang on how many images go through the network at once


def test_every_image_is_of_one_part_whatever_comes_to_it(tmp_path):
    made(tmp_path, 60)
    before = list(sources.found([str(tmp_path)]))
    parts = [list(parted.of_part(before, n, 7)) for n in range(1, 8)]
    assert sorted(one.name for part in parts for one in part) == sorted(one.name for one in before)
    assert min(map(len, parts)) > 0
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "00000b.png")
    (tmp_path / "00001.png").unlink(missing_ok=True)
    after = {n: {one.name for one in parted.of_part(sources.found([str(tmp_path)]), n, 7)} for n in range(1, 8)}
    for n, part in enumerate(parts, 1):
        assert {one.name for one in part if os.path.exists(one.file)} == after[n] - {str(tmp_path / "00000b.png")}


@pytest.mark.parametrize("said", ["0/3", "4/3", "3", "a/b", "1/100000", "-1/3", "1/1001"])
def test_what_is_no_part_is_refused(said):
    with pytest.raises(ValueError, match="is no part"):
        parted.part_of(said)


def test_parts_that_are_made_by_hand_are_together_what_one_call_gives(place, run, tmp_path):  # noqa: F811
    given = (run.id, place / "pictures", *ALONE)
    for n in (1, 2, 3):  # the image that is none is a row, and the part is done all the same
        called(place, *given, "--part", f"{n}/3", "--out", tmp_path / f"{n}.parquet")
    called(place, *given, "--out", tmp_path / "all.parquet", code=1)
    parts = [row for n in (1, 2, 3) for row in table(tmp_path / f"{n}.parquet")]
    assert sorted(parts, key=lambda row: row["path"]) == sorted(
        table(tmp_path / "all.parquet"), key=lambda row: row["path"]
    )


def handed_over(place, *words, code=0) -> int:  # noqa: F811
    return called(place, *words, "--on", "slurm", "--memory", "3000M", code=code)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["-"], "standard input"),
        (["{place}/nothing/*"], "No file is like"),
        (["{place}/empty"], "no pictures in it"),
        (["{place}/pictures", "--out", "{out}.csv"], "Parquet"),
        (["{place}/pictures", "--keep"], "neither --part nor --keep"),
        (["{place}/pictures", "--part", "1/3"], "neither --part nor --keep"),
        (["{place}/pictures", "--parts", "1001"], "1 to 1000"),
        (["{place}/pictures", "--cpus", "none"], "cpus"),
    ],
)
def test_what_cannot_be_judged_there_is_refused(place, run, tmp_path, monkeypatch, capsys, words, why):  # noqa: F811
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", "slurm")
    (place / "empty").mkdir(exist_ok=True)
    given = [word.format(place=place, out=tmp_path / "out") for word in words]
    handed_over(place, run.id, "--out", tmp_path / "out", *given, code=1)
    assert why in capsys.readouterr().err
    assert not launch.jobs(place / "runs")


@pytest.fixture
def mine(place, run, tmp_path):  # noqa: F811
    """The same place with a store of its own."""
    shutil.copytree(run.path, tmp_path / "runs" / run.id)
    (tmp_path / "data").symlink_to(place / "data")
    (tmp_path / "pictures").symlink_to(place / "pictures")
    return tmp_path


def states(place) -> list[str]:  # noqa: F811
    return [job.state for job in launch.settle(place / "runs", wait=LONG)]


@pytest.mark.long
def test_several_jobs_give_the_rows_that_one_call_gives(slurm, mine, run, capsys):  # noqa: F811
    words = (run.id, mine / "pictures", "--out", mine / "out", *ALONE)
    handed_over(mine, *words, "--parts", "3")
    assert "3 parts on slurm" in capsys.readouterr().out
    wait_until(lambda: states(mine) == ["finished"] * 3, "they do not finish")
    handed_over(mine, *words)
    assert "40 rows" not in (said := capsys.readouterr().out)
    assert "3 finished" in said
    assert "41 rows are safe" in said
    assert "failed 1" in said
    assert len(launch.jobs(mine / "runs")) == 3  # nothing was begun again
    called(mine, run.id, mine / "pictures", "--out", mine / "one.parquet", *ALONE, code=1)
    there = [row for n in (1, 2, 3) for row in table(parted.file_of(mine / "out", n, 3))]
    assert sorted(there, key=str) == sorted(table(mine / "one.parquet"), key=str)
    handed_over(mine, *words, "--parts", "4", code=1)
    assert "divided into 3 parts" in capsys.readouterr().err
    handed_over(mine, *words, "--theta", "0.123", code=1)
    assert "another threshold" in capsys.readouterr().err


# A job makes each row safe as it comes, and at its fifth one waits for as long as the gate is there.
GATE = """
import os, sys, time
if "score" in sys.orig_argv and os.path.exists({gate!r}):
    from cac_core.serving import written
    add, count = written._Output.add, 0
    def gated(self, row):
        global count
        add(self, row)
        self.save()
        count += 1
        while count == 5 and os.path.exists({gate!r}):
            time.sleep(0.05)
    written._Output.add = gated
"""


@pytest.mark.long
def test_a_part_that_was_killed_is_gone_on_with_and_no_row_is_lost_or_doubled(slurm, mine, run, monkeypatch):  # noqa: F811
    gate, python = mine / "gate", mine / "python"
    gate.touch()
    (mine / "sitecustomize.py").write_text(GATE.format(gate=str(gate)))
    python.write_text(f'#!/bin/sh\nPYTHONPATH={mine}:{ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (mine / "clusters.toml").write_text(f"[slurm]\nengine = 'slurm'\npython = '{python}'\n")
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", str(mine / "clusters.toml"))
    words = (run.id, mine / "pictures", "--out", mine / "out", "--workers", "0", "--batch", "4")
    handed_over(mine, *words, "--parts", "2")
    files = [parted.file_of(mine / "out", n, 2) for n in (1, 2)]
    wait_until(lambda: [parted.written.rows_in(file) for file in files] == [5, 5], "the rows are not safe")
    for process in psutil.process_iter(["cmdline"]):
        if str(files[0]) in (process.info["cmdline"] or []) and process.name().startswith("python"):
            process.send_signal(signal.SIGKILL)
    wait_until(lambda: states(mine) == ["lost", "running"], "the one is not lost, or the other is")
    gate.unlink()
    handed_over(mine, *words)
    wait_until(lambda: set(states(mine)) == {"finished"}, "it does not finish")
    rows = [row["path"] for file in files for row in table(file)]
    assert sorted(rows) == sorted(one.name for one in sources.found([str(mine / "pictures")]))


def test_a_cluster_that_is_not_there_is_said_and_nothing_is_left(mine, run, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("ANCHORSCOPE_CLUSTER", "http://127.0.0.1:9")
    monkeypatch.setattr(clusters, "EVERY", 0.0)
    given = [run.id, mine / "pictures", "--out", mine / "out", "--on", "ray", "--runs", mine / "runs"]
    assert main(["score", *map(str, given), "--data", str(mine / "data"), "--device", "cpu"]) == 1
    assert "does not answer" in capsys.readouterr().err
    assert not launch.jobs(mine / "runs")
    assert not list((mine / "out").glob(".parts-*"))  # how many parts there are is not settled by it
