"""The reader of records: what it takes, what it refuses and in what words, and 500 runs that somebody has spoilt."""

import json
import math
import os
import random
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Required, TypedDict

import numpy as np
import pytest
import torch

from app import results
from cac_core import records, runs
from cac_core.records import Array, Unfit, Within
from cac_core.results import project, sweep
from cac_core.runs import Broken, Run
from tests import mutants

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "checkpoints" / "digits-osrci-0-cac-small-s0"


class Thing(TypedDict, total=False):
    name: Required[str]
    parts: list[int]
    share: records.Share
    curve: records.Curve
    kind: Literal["a", 1]
    maybe: float | None
    either: int | str
    by_name: dict[str, list[float]]


@dataclass(frozen=True)
class Made:
    store: Path
    size: Annotated[int, Within(1, 9)]
    words: tuple[str, ...] = ()
    pair: tuple[int, float] | None = None


@pytest.mark.parametrize("said", [
    {}, {"parts": [1, 2]}, {"share": 1}, {"share": 0.5}, {"curve": math.nan}, {"curve": -math.inf}, {"kind": "a"},
    {"kind": 1}, {"maybe": None}, {"maybe": 3}, {"either": 3}, {"either": "x"}, {"by_name": {"": [1.5, 2]}},
    {"more": {"a": [1, None, "é", 1e999]}},
])  # fmt: skip
def test_what_fits_comes_back_as_it_was(said):
    assert repr(records.parsed(json.dumps({"name": "n"} | said), Thing)) == repr({"name": "n"} | said)


@pytest.mark.parametrize(("text", "says"), [
    ("[]", r"it must be an object, not \[\]"),
    ("{}", "it must be an object with name, not {}"),
    ('{"name": 3}', "name must be a text, not 3"),
    ('{"name": "\\ud800"}', "name must be a text"),
    ('{"name": "n", "parts": {}}', "parts must be a list, not {}"),
    ('{"name": "n", "parts": [1, 2.0]}', "parts.1 must be a whole number, not 2.0"),
    ('{"name": "n", "parts": [true]}', "parts.0 must be a whole number, not True"),
    (f'{{"name": "n", "parts": [{10**400}]}}', "parts.0 must be a whole number, not 1000.*000"),
    ('{"name": "n", "share": 1.5}', "share must be a number from 0 to 1, not 1.5"),
    ('{"name": "n", "share": NaN}', "share must be a number, not nan"),
    ('{"name": "n", "curve": "1"}', "curve must be a number, not '1'"),
    ('{"name": "n", "kind": 1.0}', "kind must be one of a, 1, not 1.0"),
    ('{"name": "n", "maybe": 1e999}', "maybe must be a number, not inf"),
    ('{"name": "n", "either": []}', r"either must be a text, not \[\]"),
    ('{"name": "n", "by_name": {"x": [[]]}}', r"by_name.x.0 must be a number, not \[\]"),
    ('{"name": "n", "more": ' + "[" * 40 + "]" * 40 + "}", "more must be nested less deeply"),
    ('{"name": "n", "\\ud800": 1}', "must be a text"),
    ('{"name": "n", "more": [' + "9" * 30 + "]}", "more must be a whole number"),
    (f'{{"name": "n", "more": {"9" * 5000}}}', "it is no JSON"),
    ("[" * 100_000, "it is nested too deeply|it holds more than"),
    ("[" + "[]," * 300_000 + "[]]", "it holds more than any record does"),
    ("", "it is no JSON"), ("{", "it is no JSON"),
    (json.dumps({"name": "x" * 200_000}), "name must be a text, not 'xxx.*xxx'"),
])  # fmt: skip
def test_what_does_not_fit_is_said_with_its_place(text, says):
    with pytest.raises(Unfit, match=says) as error:
        records.parsed(text, Thing)
    assert len(str(error.value)) < 400


def test_a_dataclass_is_made(tmp_path):
    file = tmp_path / "made.json"
    file.write_text('{"size": 3, "words": ["a"], "pair": [1, 2]}', encoding="utf-8-sig")
    assert records.read(file, Made, store=tmp_path) == Made(tmp_path, 3, ("a",), (1, 2))
    for wrong, says in (
        ({"size": 10}, "size must be a whole number from 1 to 9, not 10"), ({}, "an object with size"),
        ({"size": 1, "store": "x"}, "an object of size, words, pair alone"), ({"size": 1, "pair": [1]}, "a list of 2"),
    ):  # fmt: skip
        with pytest.raises(Unfit, match=says):
            records.fitted(wrong, Made, store=tmp_path)


@pytest.mark.parametrize(("make", "says"), [
    (lambda file: os.mkfifo(file), "it is no plain file"),
    (lambda file: file.mkdir(), "it is no plain file"),
    (lambda file: file.symlink_to("/dev/zero"), "it is a link"),
    (lambda file: file.symlink_to(BUNDLED / "recipe.json"), "it is a link"),
    (lambda file: file.symlink_to(file.name), "it is a link"),
    (lambda file: (file.touch(), os.truncate(file, 100 << 20)), "it is larger than 32 MB"),
])  # fmt: skip
def test_what_is_no_plain_file_is_refused_at_once(tmp_path, make, says):
    file = tmp_path / "record.json"
    make(file)
    with pytest.raises(Unfit, match=says):
        records.read(file, object)
    with pytest.raises(Unfit, match=says):
        list(records.lines(file, object, most=records.MOST))
    if "MB" not in says:
        with pytest.raises(Unfit, match=says):
            records.copied(file, tmp_path / "copy")


def test_a_folder_that_is_a_link_is_not_gone_into_unless_a_user_named_it(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "record.json").write_text("3")
    (tmp_path / "here").symlink_to("there")
    with pytest.raises(Unfit, match="its folder is a link"):
        records.read(tmp_path / "here" / "record.json", int)
    assert records.read(tmp_path / "here" / "record.json", int, links=True) == 3
    with pytest.raises(FileNotFoundError):
        records.read(tmp_path / "none.json", int)


def test_lines_that_do_not_fit_are_passed_over(tmp_path):
    file = tmp_path / "lines"
    file.write_bytes(b'{"name": "a"}\n\n[]\n{"name": 3}\n\xff\n' + b"[" * 50_000 + b'\n{"name": "b"}\n{"name": "c')
    assert list(records.lines(file, Thing)) == [{"name": "a"}, {"name": "b"}]
    file.write_bytes(b"\n" * (records.MOST_LINES + 1))
    with pytest.raises(Unfit, match="more than 500000 lines"):
        list(records.lines(file, Thing))


# --- arrays ----------------------------------------------------------------------------------------------------------

SHAPES = {
    "x": Array("f", "N C"), "labels": Array("iu", "N", -1, "C"), "on": Array("b", "n", needed=False),
    "said": Array("U", needed=False),
}  # fmt: skip
GOOD = {"x": np.ones((5, 3), np.float16), "labels": np.arange(5) % 4 - 1}


def test_arrays_come_back(tmp_path):
    file = tmp_path / "a.npz"
    file.write_bytes(mutants.npz(GOOD | {"on": np.zeros(0, bool), "said": np.array("é"), "other": np.eye(2)}))
    found = records.arrays(file, SHAPES, C=3)
    assert list(found) == ["x", "labels", "on", "said"] and str(found["said"]) == "é" and found["x"].dtype == np.float16
    assert list(records.arrays(file, SHAPES, ("labels",))) == ["labels"]


@pytest.mark.parametrize(("change", "says"), [
    ({"x": None}, "it has no x"),
    ({"x": np.ones((5, 4))}, r"x must be float \[N=5, C=3\], not float64 \[5, 4\]"),
    ({"x": np.ones((5, 3), int)}, "x must be float"),
    ({"x": np.ones((5, 3), ">f4")}, "x must be float"),
    ({"x": np.ones((5, 3), complex)}, "x must be float"),
    ({"x": np.ones(5)}, "x must be float"),
    ({"x": np.ones((0, 3)), "labels": np.zeros(0, int)}, "x must be float"),
    ({"labels": np.zeros(4, int)}, r"labels must be int \[N=5\], not int64 \[4\]"),
    ({"labels": np.full(5, 3)}, "labels lie between -1 and 2; these go from 3 to 3"),
    ({"labels": np.full(5, -2)}, "labels lie between -1 and 2"),
    ({"x": np.array({"a": 1}, dtype=object)}, "x holds more than numbers, which is not run"),
    ({"on": np.zeros((2, 2), bool)}, r"on must be bool \[n=2\], not bool \[2, 2\]"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_said(tmp_path, change, says):
    file = tmp_path / "a.npz"
    file.write_bytes(mutants.npz({name: one for name, one in (GOOD | change).items() if one is not None}))
    with pytest.raises(Unfit, match=says):
        records.arrays(file, SHAPES, C=3)


@pytest.mark.parametrize(("content", "says"), [
    (mutants.with_header("x", "(1000000000000, 3)", "<f4"), "x is not as large as it says"),
    (mutants.with_header("x", "(-1, -3)", "<f4"), "x is not as large as it says"),
    (mutants.with_header("x", "(400000000, 3)", "<f4", claimed=4_800_000_128 % 2**32), "x is not as large as it says"),
    (mutants.with_header("x", "(300000000, 3)", "<f4", claimed=3_600_000_128), "larger than 1024 MB"),
    (mutants.with_header("x", "(" * 2000, "<f4"), "its content is not whole"),
    (b"", "its content is not whole"), (b"PK", "its content is not whole"),
    (mutants.npz(GOOD)[:-30], "its content is not whole"),
])  # fmt: skip
def test_headers_are_looked_at_before_anything_is_allocated(tmp_path, content, says):
    file = tmp_path / "a.npz"
    file.write_bytes(content)
    with pytest.raises(Unfit, match=says):
        records.arrays(file, {"x": Array("f", "N C")})


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "a.npz"
    file.write_bytes(mutants.bomb("x", 1 << 18, 64))
    assert file.stat().st_size < 1 << 20 and records.arrays(file, {"x": Array("f", "N 64")})["x"].shape == (1 << 18, 64)
    monkeypatch.setattr(records, "MOST_ARRAYS", 1 << 25)
    with pytest.raises(Unfit, match="larger than 32 MB"):
        records.arrays(file, {"x": Array("f", "N 64")})


# --- a run of somebody else ------------------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A store with a good run, and a bad one that is still whole: (bad, good row, the whole run, a folder outside)."""
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "")
    whole, outside = tmp_path / "whole", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text('{"state": "finished"}')
    for path in (whole, tmp_path / "runs" / "good", tmp_path / "runs" / "bad"):
        shutil.copytree(BUNDLED, path)
    return Run(tmp_path / "runs" / "bad"), results.row_of(Run(tmp_path / "runs" / "good")), whole, outside


_watched: list[Path] = []
_opened: list[str] = []


def _audit(event: str, args: tuple) -> None:
    """Note whatever is opened below a watched folder, by whatever way; what follows no link does not get there."""
    if _watched and event == "open" and isinstance(args[0], str | os.PathLike) and not args[2] & os.O_NOFOLLOW:
        path = os.path.realpath(args[0])
        _opened.extend(path for folder in _watched if path.startswith(str(folder)))


sys.addaudithook(_audit)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_of_500_spoilt_runs_none_is_read_in_part_and_none_hinders_the_good_one(beside, tmp_path, seed):
    bad, good, whole, outside = beside
    count = {"held": 0, "said": 0}
    for case in range(50):
        mutants.restored(bad.path, whole)
        what = mutants.mutant(bad.path, outside, random.Random(f"{seed} {case}"))
        _watched.append(outside)
        verdict, why = mutants.judged(bad, None if case % 5 else tmp_path / "shared")
        _watched.clear()
        assert verdict != "wrong" and not _opened, f"{what}: {why} {_opened}"
        assert results.row_of(good.run) == good, what
        count[verdict] += 1
    assert min(count.values()) > 5


def test_a_link_out_of_the_store_is_neither_read_nor_packed(beside, tmp_path):
    bad, _, whole, outside = beside
    for name in ("report.json", "outputs/test.npz", "maps/.lock", "log.txt"):
        mutants.restored(bad.path, whole)
        (bad.path / name).unlink(missing_ok=True)
        (bad.path / name).symlink_to(outside / "secret")
        with pytest.raises(Broken, match="is a link, and links are not followed"):
            _ = bad.record
        assert mutants.judged(bad, tmp_path / "shared")[0] == "said"
    mutants.restored(bad.path, whole)
    bad.path.rename(outside / "run")
    bad.path.symlink_to(outside / "run")
    assert "is a link" in bad.problem() and results.row_of(bad).state == "broken"


@pytest.mark.parametrize(("name", "content"), [
    ("status.json", "{}"), ("status.json", '{"state": "tired"}'), ("status.json", '{"state": "running", "pid": 1e30}'),
    ("status.json", "["), ("report.json", '{"scorers": {"gamma": {"auroc": NaN}}}'), ("events.jsonl", None),
])  # fmt: skip
def test_a_record_that_does_not_fit_breaks_its_run_and_says_which(beside, name, content):
    bad, good, *_ = beside
    (bad.path / name).unlink()
    (bad.path / name).write_text(content) if content else os.mkfifo(bad.path / name)
    row = results.row_of(bad)
    assert row.state == "broken" and name in row.problem and bad.status["state"]
    assert results.row_of(good.run) == good


def test_a_kept_sweep_that_is_not_whole_is_computed_again(beside):
    bad = beside[0]
    right = sweep.report(bad)
    file = bad.path / "sweep.json"
    for spoil in (
        lambda said: said["cells"].pop(), lambda said: said["cells"][0]["scores"].pop("gamma"),
        lambda said: said["chosen"]["gamma"].update(temperature=3.0), lambda said: said.pop("choice"),
        lambda said: said["cells"][0].update(magnitude="0"), lambda said: said["temperatures"].append(7.0),
    ):  # fmt: skip
        said = json.loads(json.dumps(right))
        spoil(said)
        file.write_text(json.dumps(said))
        again = sweep.report(bad)
        assert [cell["scores"].keys() for cell in again["cells"]] and len(again["cells"]) == len(
            list(again["temperatures"])
        ) * len(again["magnitudes"])


def test_a_map_whose_rows_are_no_images_is_passed_over(beside):
    bad = beside[0]
    (file,) = (bad.path / "maps").glob("*.npz")
    assert len(project.maps(bad)) == 1
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    for change in ({"row": arrays["row"] + 10_000}, {"split": arrays["split"] + 7}, {"xy": arrays["xy"] * np.nan}):
        file.unlink()
        runs.write_npz(file, **arrays | change)
        assert project.maps(bad) == []


# --- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [
    {"net": {3: torch.zeros(2)}}, {"net": {None: torch.zeros(2)}}, {7: 7},
    {"net": {"anchors": torch.zeros(1).expand(9**9)}},
    {"net": {"anchors": torch.zeros(3).to_sparse()}}, [torch.zeros(2)],
])  # fmt: skip
def test_weights_with_numbers_for_names_or_without_end_are_refused(tmp_path, state):
    from cac_core.exchange import import_weights

    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"no weight file|cannot be read as weights"):
        import_weights._read(tmp_path / "a.pth")
