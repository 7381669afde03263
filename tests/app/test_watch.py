"""Watch: how to begin where nothing is kept, what is said of what is kept, drift, groups, and how all of it goes."""

import io
import zipfile

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import growing, watching
from cac_core.serving import watch
from tests.app.test_results_pages import app, fine, text  # noqa: F401

pytestmark = pytest.mark.long
PAGE = "app/pages/watch.py"


@pytest.fixture
def kept(make_run):
    """kept(rejected, version): a run of which so many images an hour were judged, the last 3 by 3 alike."""

    def make(hours=(0.1,) * 20, version="v1 gamma", each=30, name="toy") -> str:
        run = make_run(name)
        keeper, rng = watch.Keeper(run.path.parent, run.id, version, "serve", pictures=True), np.random.default_rng(0)
        for hour, share in enumerate(hours):
            rejected = rng.random(each) < share
            scores = np.where(rejected, 9, 1) + rng.random(each)
            keeper.keep([
                watch.Judged(f"{n}.png", "unknown" if no else "0", run.known_names[n % 2], float(score), 5.0,
                             np.full((4, 4, 1), 50 * (n % 2), np.uint8),
                             np.eye(4)[n % 2] + rng.normal(0, 0.01, 4))
                for n, (no, score) in enumerate(zip(rejected, scores, strict=True))
            ], when=3600.0 * hour)  # fmt: skip
        return run.id

    return make


def seen(app, **query) -> AppTest:  # noqa: F811
    return fine(app(PAGE, **query))


def test_where_nothing_is_kept_it_says_how_to_begin(app, make_run):  # noqa: F811
    run = make_run("toy")
    assert "weights are not here" in text(at := seen(app)) and not at.code  # no command that cannot work
    (run.path / "best.safetensors").touch()
    at = seen(app)
    assert "kept yet" in at.info[0].value
    assert f"serve {run.id}" in at.code[0].value and "--keep" in at.code[0].value


def test_numbers_and_no_drift_where_nothing_changes(app, kept):  # noqa: F811
    kept()
    at = seen(app)
    assert at.metric[0].value == "600" and at.metric[2].value == "1970-01-01"
    assert float(at.metric[1].value.split()[0]) == pytest.approx(10, abs=4)
    assert at.success and not at.warning


def test_a_change_is_told_with_its_time(app, kept):  # noqa: F811
    kept(hours=(0.1,) * 15 + (0.8,) * 15)
    at = seen(app)
    said = [one.value for one in at.warning]
    assert len(said) == 2 and all("Drift" in one and "1970-01-01" in one for one in said) and not at.success
    assert "look alike: a new class?" in text(at)


def test_versions_are_watched_apart(app, kept):  # noqa: F811
    kept(hours=(0.0,) * 5)
    kept(hours=(1.0,) * 2, version="v2 msp")
    at = seen(app)
    assert at.metric[0].value == "60" and at.metric[1].value == "100.0 %"
    at = at.selectbox(key="watch_version").set_value("v1 gamma").run()
    assert at.metric[0].value == "150" and at.metric[1].value == "0.0 %"


def test_scores_are_shown_beside_those_of_the_score_that_they_are_of(app, kept):  # noqa: F811
    kept(version="v1 msp temperature=2.0")
    assert "by msp at its defaults" in text(seen(app))


def test_what_came_of_adding_pictures_and_their_class_belong_to_one_run(app, kept, monkeypatch):  # noqa: F811
    def refused(*_):
        raise ValueError("There is no room.")

    monkeypatch.setattr(growing, "takes_images", lambda run: True)
    monkeypatch.setattr(growing, "add", refused)
    for name in ("one", "two"):
        kept(hours=(1.0,), name=name)
    at = seen(app, run="one")
    key = next(box.key for box in at.selectbox if box.label == "Into the class")
    at = fine(at.selectbox(key=key).set_value("2").run())
    at = fine(at.button(key=key.replace("class", "add")).click().run())
    assert "no room" in at.error[0].value
    at = fine(at.selectbox(key="run").set_value("two").run())
    assert not at.error and {box.value for box in at.selectbox if box.label == "Into the class"} == {None}
    assert "no room" in fine(at.selectbox(key="run").set_value("one").run()).error[0].value


def test_the_class_of_a_group_stays_with_it_when_another_becomes_the_largest(app, store, kept, monkeypatch):  # noqa: F811
    monkeypatch.setattr(growing, "takes_images", lambda run: True)
    run = kept(hours=(1.0,))
    at = seen(app)
    first, second = (box.key for box in at.selectbox if box.label == "Into the class")
    at = fine(at.selectbox(key=second).set_value("2").run())
    picture, vector = np.zeros((4, 4, 1), np.uint8), np.eye(4)[0]
    watch.Keeper(store, run, "v1 gamma", "serve", pictures=True).keep([
        watch.Judged("x.png", "unknown", "0", 9.0, 5.0, picture, vector) for _ in range(3)
    ], when=9e4)  # fmt: skip
    boxes = [(box.key, box.value) for box in fine(at.run()).selectbox if box.label == "Into the class"]
    assert boxes == [(second, "2"), (first, None)]


def test_all_of_it_is_deleted_at_a_click_and_not_in_a_show(app, store, kept, monkeypatch):  # noqa: F811
    run = kept()
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    assert "watch_delete" not in [button.key for button in seen(app).button]
    monkeypatch.delenv("ANCHORSCOPE_READONLY")
    at = seen(app).button(key="watch_delete").click().run()
    assert "kept yet" in at.info[0].value and watch.read(store, run) is None


def test_a_spoilt_file_takes_nothing_else_down(app, store, kept):  # noqa: F811
    run = kept()
    for file in (store / watch.FOLDER).iterdir():
        file.unlink()
    watch.file_of(store, run).write_bytes(b"no base" * 1000)
    at = app(PAGE)
    assert not at.exception and any("cannot be read" in one.value for one in at.error)


def test_a_group_is_taken_along_as_a_zip(store, kept):
    run = kept(hours=(1.0,))
    groups = watching.grouped(store, run, "v1 gamma")
    assert sorted(map(len, groups)) == [15, 15]
    content = watching.zipped(groups[0])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == 15 and all(n.startswith("rejected/") for n in archive.namelist())
