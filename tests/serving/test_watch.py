"""A watch: what is kept and how long, the test for drift against slow oracles, false alarms, groups of the rejected."""

import io
import json
import math
import random
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cac_core.serving import watch
from tests.serving.test_service import ROOT, asked, picture, place, run, serving  # noqa: F401 (fixtures)
from tests.waiting import wait_until


def judged(n: int, rejected=False, label="a", side=4) -> watch.Judged:
    rng = np.random.default_rng(n)
    return watch.Judged(
        f"{n}.png", "unknown" if rejected else label, label, float(n), 5.0,
        rng.integers(0, 256, (side, side, 1), np.uint8), rng.normal(size=3).astype(np.float32),
    )  # fmt: skip


def test_what_is_kept_comes_back(store):
    keeper = watch.Keeper(store, "toy", "v1", "serve", pictures=True)
    keeper.keep([judged(0), judged(1, rejected=True)], when=10.0)
    keeper.keep([judged(2, rejected=True, label="b")], when=20.0)
    kept = watch.read(store, "toy")
    assert kept.times.tolist() == [10, 10, 20] and kept.scores.tolist() == [0, 1, 2] and set(kept.thetas) == {5}
    assert kept.rejected.tolist() == [False, True, True] and kept.labels.tolist() == ["a", "a", "b"]
    newest, older = watch.pictures(store, "toy", "v1")
    assert (newest.name, older.name, newest.time) == ("2.png", "1.png", 20.0)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(newest.png))), judged(2).picture[..., 0])
    np.testing.assert_allclose(newest.vector, judged(2).vector, atol=2e-3)


def test_without_pictures_none_is_kept_and_nothing_is_kept_of_another_run(store):
    watch.Keeper(store, "toy", "v1", "score").keep([judged(1, rejected=True)])
    assert watch.pictures(store, "toy", "v1") == [] and watch.read(store, "other") is None
    assert watch.pictures(store, "other", "v1") == []


def test_versions_are_apart_and_the_newest_is_first(store):
    for version in ("v1", "v2", "v1"):
        watch.Keeper(store, "toy", version, "serve").keep([judged(1)])
    assert watch.read(store, "toy").versions == ("v1", "v2")
    assert len(watch.read(store, "toy")) == 2 and len(watch.read(store, "toy", "v2")) == 1


def test_the_oldest_go_first(store, monkeypatch):
    monkeypatch.setattr(watch, "MOST", 5)
    monkeypatch.setattr(watch, "PICTURES", 2)
    monkeypatch.setattr(watch, "SWEPT", 0)
    keeper = watch.Keeper(store, "toy", "v1", "serve", pictures=True)
    for n in range(9):
        keeper.keep([judged(n, rejected=True)])
    assert watch.read(store, "toy").scores.tolist() == [4, 5, 6, 7, 8]
    assert [one.name for one in watch.pictures(store, "toy", "v1")] == ["8.png", "7.png"]


def test_all_or_none_of_a_request_is_kept(store):
    keeper = watch.Keeper(store, "toy", "v1", "serve")
    with pytest.raises(sqlite3.Error):
        keeper.keep([judged(0), watch.Judged("x", None, "a", 1.0, 5.0)])
    assert watch.read(store, "toy") is None
    keeper.keep([judged(0)])
    assert len(watch.read(store, "toy")) == 1


def test_all_of_it_can_be_deleted(store):
    watch.Keeper(store, "toy", "v1", "serve", pictures=True).keep([judged(1, rejected=True)])
    watch.delete(store, "toy")
    assert watch.read(store, "toy") is None and watch.pictures(store, "toy", "v1") == []


def test_a_service_that_runs_goes_on_keeping_after_all_was_deleted(store):
    keeper = watch.Keeper(store, "toy", "v1", "serve", pictures=True)
    keeper.keep([judged(1, rejected=True)])
    secret = keeper.base.execute("select png from pictures").fetchone()[0]
    watch.delete(store, "toy")
    assert not any(secret in file.read_bytes() for file in (store / watch.FOLDER).iterdir())  # gone from the disk, too
    keeper.keep([judged(2, rejected=True)])
    assert watch.read(store, "toy").scores.tolist() == [2]


def test_a_score_that_is_no_number_costs_no_other(store):
    keeper = watch.Keeper(store, "toy", "v1", "serve")
    keeper.keep([judged(1), watch.Judged("nan.png", "a", "a", float("nan"), 5.0), judged(2)])
    assert watch.read(store, "toy").scores.tolist() == [1, 2]


def test_the_oldest_are_looked_for_now_and_then(store, monkeypatch):
    keeper, swept = watch.Keeper(store, "toy", "v1", "serve"), []
    keeper.base.set_trace_callback(lambda said: swept.append(said) if said.startswith("delete") else None)
    for n in range(50):
        keeper.keep([judged(n)])
    assert len(swept) == 2  # one for each table


def test_nothing_is_kept_into_what_is_no_base(store):
    file = watch.file_of(store, "toy")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no base" * 1000)
    with pytest.raises(ValueError, match="cannot be read"):
        watch.Keeper(store, "toy", "v1", "serve")
    watch.delete(store, "toy")
    watch.Keeper(store, "toy", "v1", "serve").keep([judged(1)])
    assert len(watch.read(store, "toy")) == 1


def test_a_version_is_of_all_that_a_score_hangs_on():
    about = {"version": "w", "scorer": "msp", "options": {}, "magnitude": 0.0, "temperature": 1.0}
    assert watch.version_in(about) == "w msp"
    assert watch.version_in(about | {"options": {"temperature": 1.0}}) == "w msp"  # as nobody said otherwise
    hot = {"options": {"temperature": 10.0}}
    others = (hot, {"magnitude": 0.01}, {"magnitude": 0.01, "temperature": 2.0}, hot | {"magnitude": 0.01})
    assert len({watch.version_in(about | other) for other in ({}, *others)}) == 5


@pytest.mark.parametrize("content", [b"", b"no base" * 1000])
def test_a_spoilt_file_says_so(store, content):
    file = watch.file_of(store, "toy")
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        watch.read(store, "toy")


@pytest.mark.parametrize("name", ["../x", "", "A/b", "x" * 65])
def test_a_name_that_leads_out_is_refused(store, name):
    with pytest.raises(ValueError, match="There is no run"):
        watch.file_of(store, name)


# --- drift -----------------------------------------------------------------------------------------------------------


def test_places_are_ranks_among_what_came_before():
    values = [3.0, 1.0, 2.0, 2.0, 5.0, 1.0]
    splits = np.random.default_rng(7).random(6)
    expected = []
    for n, value in enumerate(values):
        below = sum(other < value for other in values[:n])
        same = sum(other == value for other in values[: n + 1])
        expected.append((below + splits[n] * same) / (n + 1))
    found = watch.places(np.array(values), np.random.default_rng(7))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_capital_is_that_of_a_gambler_who_divides_it_anew_by_chance():
    """The simple jumper by its definition: the mean over every path of bets, each with its probability."""
    shares, count = [0.9, 0.2, 0.7, 0.95], len(watch.BETS)

    def paths(n):
        if n == 0:
            yield [], 1.0
            return
        for path, chance in paths(n - 1):
            for k in range(count):
                before = path[-1] if path else None
                stay = 1 / count if before is None else watch.JUMP / count + (1 - watch.JUMP) * (k == before)
                yield [*path, k], chance * stay

    for n in range(1, 5):
        expected = sum(
            chance * math.prod(1 + watch.BETS[k] * (s - 0.5) for k, s in zip(path, shares, strict=False))
            for path, chance in paths(n)
        )
        assert watch.martingale(np.array(shares[:n]))[-1] == pytest.approx(math.log(expected), rel=1e-9)


def test_an_alarm_is_as_rare_as_it_says_and_comes_when_something_changes():
    rng = np.random.default_rng(0)
    alarms = sum(watch.drift(rng.normal(size=400), n).alarm >= 0 for n in range(200))
    assert alarms <= 7  # of 200, where 1 % may: more than 7 come by chance once in 500
    late = [watch.drift(np.concatenate([rng.normal(size=300), rng.normal(1, 1, 400)]), n).alarm for n in range(20)]
    assert all(alarm > 290 for alarm in late) and np.median(late) < 400
    rejected = np.concatenate([rng.random(300) < 0.1, rng.random(700) < 0.5])
    assert 300 < watch.drift(rejected).alarm < 600
    assert watch.drift(np.zeros(0)).alarm == -1 and watch.drift(np.ones(50)).alarm == -1


def test_shares_are_counted_by_the_hour_in_which_anything_came(store):
    keeper = watch.Keeper(store, "toy", "v1", "serve")
    for hour, rejected in ((1, True), (1, False), (1, False), (5, True)):
        keeper.keep([judged(1, rejected)], when=3600 * hour + 10)
    one, five = watch.by_time(watch.read(store, "toy"), 3600)
    assert (one.begin, one.count, one.rejected) == (3600, 3, 1) and (five.begin, five.count, five.rejected) == (
        18000,
        1,
        1,
    )
    assert one.low < 1 / 3 < one.high and five.low < five.high == 1


# --- groups ----------------------------------------------------------------------------------------------------------


def test_what_lies_near_is_a_group_the_largest_first():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(2, 8)) * 5
    vectors = np.concatenate([directions[0] + rng.normal(size=(4, 8)) / 4, directions[1] + rng.normal(size=(9, 8)) / 4,
                              rng.normal(size=(2, 8))])  # fmt: skip
    found = [sorted(group.tolist()) for group in watch.groups(vectors.astype(np.float32))]
    assert found[0] == list(range(4, 13)) and found[1] == [0, 1, 2, 3] and len(found) == 2
    assert watch.groups(vectors[:2]) == [] and watch.groups(np.zeros((0, 8))) == []
    assert all(len(group) >= watch.FEWEST for group in watch.groups(np.zeros((5, 8))))


# --- with the service ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_what_the_service_judges_is_kept_and_a_kill_loses_no_answer(place, run, tmp_path):  # noqa: F811
    store = place / "runs"
    watch.delete(store, run.id)
    answered, rng = 0, random.Random(0)
    for turn in range(3):
        with serving(place, run.id, "--keep-pictures") as (process, port):
            for n in range(rng.randint(3, 8)):
                said = asked(port, "POST", "/v1/judge", picture(100 * turn + n), Content_Type="image/png")[1]
                answered += 1
            process.kill()
    kept = watch.read(store, run.id)
    assert len(kept) == answered and kept.versions == (f"{said['version']} gamma",)
    assert kept.scores[-1] == said["results"][0]["score"]
    assert len(watch.pictures(store, run.id, kept.versions[0])) == kept.rejected.sum()


@pytest.mark.long
def test_the_service_answers_also_where_nothing_can_be_kept(place, run):  # noqa: F811
    store = place / "runs"
    watch.delete(store, run.id)
    with serving(place, run.id, "--keep") as (_, port):
        wait_until(lambda: watch.file_of(store, run.id).exists())
        base = sqlite3.connect(watch.file_of(store, run.id))
        base.executescript("drop table pictures; drop table judged;")
        base.close()
        status, said = asked(port, "POST", "/v1/judge", picture(1), Content_Type="image/png")
        assert status == 200 and said["results"][0]["decision"]
        assert 'decision="not kept"} 1' in asked(port, "GET", "/metrics")[1]


@pytest.mark.long
def test_score_keeps_what_it_judges(place, run, tmp_path):  # noqa: F811
    watch.delete(place / "runs", run.id)
    for n in range(5):
        (tmp_path / f"{n}.png").write_bytes(picture(n))
    words = ["score", run.id, str(tmp_path), "--keep", "--out", str(tmp_path / "o.jsonl"), "--batch", "2", "--json",
             "--runs", str(place / "runs"), "--data", str(place / "data"), "--device", "cpu",
             "--workers", "0"]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "cac_core", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    kept = watch.read(place / "runs", run.id)
    assert kept.scores.tolist() == [row["score"] for row in rows]
    assert kept.rejected.tolist() == [row["decision"] == "unknown" for row in rows]


class Killed(BaseException):
    """As nothing catches it."""


@pytest.mark.long
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_whenever_score_is_killed_each_row_is_kept_once(place, run, tmp_path, monkeypatch, ending):  # noqa: F811
    from cac_core.__main__ import main
    from cac_core.serving import written

    store, out, keep = place / "runs", tmp_path / f"o{ending}", watch.Keeper.keep
    watch.delete(store, run.id)
    monkeypatch.setattr(written._Lines, "every", 0)
    monkeypatch.setattr(written._Parquet, "every", 0)
    for n in range(30):
        (tmp_path / f"{n:02}.png").write_bytes(picture(n))
    (tmp_path / "15.png").write_text("no picture")
    words = ["score", run.id, str(tmp_path), "--keep", "--out", str(out), "--batch", "4", "--json", "--runs",
             str(store), "--data", str(place / "data"), "--device", "cpu", "--workers", "0"]  # fmt: skip
    rng = random.Random(0)
    for _ in range(8):
        left, before = [rng.randint(1, 3)], rng.random() < 0.5

        def killed(self, *said, left=left, before=before, **more):
            left[0] -= 1
            if before and not left[0]:
                raise Killed
            keep(self, *said, **more)
            if not left[0]:
                raise Killed

        monkeypatch.setattr(watch.Keeper, "keep", killed)
        with pytest.raises(Killed):
            main(words)
    monkeypatch.setattr(watch.Keeper, "keep", keep)
    main(words)
    base = sqlite3.connect(watch.file_of(store, run.id))
    names = [name for (name,) in base.execute("select name from judged order by id")]
    base.close()
    assert names == [str(tmp_path / f"{n:02}.png") for n in range(30) if n != 15]


@pytest.mark.long
def test_what_a_file_holds_already_is_kept_when_it_is_asked_for_later(place, run, tmp_path):  # noqa: F811
    from cac_core.__main__ import main

    watch.delete(place / "runs", run.id)
    (tmp_path / "a.png").write_bytes(picture(1))
    words = ["score", run.id, str(tmp_path), "--out", str(tmp_path / "o.csv"), "--runs", str(place / "runs"), "--data",
             str(place / "data"), "--device", "cpu", "--workers", "0"]  # fmt: skip
    assert main(words) == 0 and watch.read(place / "runs", run.id) is None
    assert main([*words, "--keep"]) == 0 and len(watch.read(place / "runs", run.id)) == 1
    assert main([*words, "--keep"]) == 0 and len(watch.read(place / "runs", run.id)) == 1
