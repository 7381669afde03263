"""A data set of one's own that grows: images that are added on Data, a class out of what a run has rejected on Try, and
the run after it beside the run before."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import growing, holdings
from cac_core import recipe
from cac_core.data import datasets
from cac_core.data.datasets import Trial
from cac_core.exchange import changes, own_data
from cac_core.jobs import launch, worker
from cac_core.results import compare
from cac_core.runs import Run
from cac_core.training import loop, probe
from tests.waiting import LONG

pytestmark = pytest.mark.long

HERE = Path(__file__).parents[2]
PAGES = {name: f"app/pages/{name}.py" for name in ("data", "new", "live", "try", "compare")}
COLOURS = {"blue": (40, 80, 220), "fern": (60, 160, 60), "soot": (40, 35, 35)}
WRITTEN = {"try_class", "album_into"}
AMBER = (230, 160, 30)


def noise(colour: tuple[int, int, int], seed: int, kind: str = "PNG") -> bytes:
    rng, file = np.random.default_rng([seed, *colour]), io.BytesIO()
    pixels = np.clip(np.array(colour) + rng.integers(-40, 40, (16, 16, 3)), 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A data root with blue, fern and soot, and a run that knows the first two."""
    place = tmp_path_factory.mktemp("growing")
    files = {f"{cls}/{n}.png": noise(colour, n) for cls, colour in COLOURS.items() for n in range(24)}
    upload = own_data.Upload(tuple(files), lambda n: list(files.values())[n])
    own_data.write(own_data.check(upload), upload, place / "data", "hues", {"size": 16})
    row = datasets.row_of("hues", place / "data")
    trial = Trial("hues", "custom", "hues", (0, 1), (2,))
    own_data.save_trial(trial, row, place / "data")
    return place, loop.train(quick(trial), place / "runs", place / "data", device="cpu")


def quick(trial: Trial) -> recipe.Recipe:
    return recipe.compose("quick", {"alpha": 5.0}, dataset="hues", family="custom", trial=trial.index,
                          known=trial.known, unknown=trial.unknown, backbone="small", epochs=6, batch=16,
                          lr=0.03)  # fmt: skip


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    root = tmp_path / "data"
    for folder in ("hues", "trials"):
        shutil.copytree(made[0] / "data" / folder, root / folder)
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(root))
    monkeypatch.delenv("ANCHORSCOPE_READONLY", raising=False)
    monkeypatch.setattr(worker, "ensure_worker", lambda store: False)
    monkeypatch.setattr(probe, "busy", lambda store, device: "another-run")
    holdings.look_again()
    return root


@pytest.fixture
def run(made, store):
    shutil.copytree(made[1].path, store / made[1].id)
    return Run(store / made[1].id)


@pytest.fixture
def opened(root, run, store, monkeypatch):
    """opened(page, **query): a page over the store."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))

    def open_page(page: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG).run()
        for name, value in query.items():
            at.query_params[name] = value
        return fine(at.switch_page(PAGES[page]).run())

    return open_page


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    for key in WRITTEN & keys(at):  # AppTest knows no options that somebody writes
        box = at.selectbox(key=key)
        box.options += [box.value] if box.value not in (None, *box.options) else []
    return at


def text(at: AppTest) -> str:
    parts = [*at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.success, *at.subheader]
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def links(at: AppTest) -> dict[str, str]:
    return {link.proto.label: link.proto.query_string for link in at.get("page_link")}


def keys(at: AppTest) -> set[str]:
    return {one.key for one in (*at.button, *at.checkbox, *at.selectbox, *at.get("file_uploader")) if one.key}


def tried(at: AppTest, count: int = 8, *more: tuple[str, bytes, str]) -> AppTest:
    """Try with pictures of amber, and one of blue."""
    files = [(f"amber {n}.png", noise(AMBER, n), "image/png") for n in range(count)]
    at.file_uploader(key="files").set_value([*files, ("blue.png", noise(COLOURS["blue"], 99), "image/png"), *more])
    at.session_state["try_grow"] = True  # opened
    return fine(at.run())


def picks(at: AppTest) -> list:
    return [box for box in at.checkbox if (box.key or "").startswith("try_pick_")]


def named(at: AppTest, key: str, cls: str) -> AppTest:
    """A class chosen or written."""
    box = at.selectbox(key=key)
    box.options += [] if cls in box.options else [cls]
    return fine(box.set_value(cls).run())


def added_to(at: AppTest, cls: str, ticked: set[int]) -> AppTest:
    for n, box in enumerate(picks(at)):
        box.set_value(n in ticked)
    at = fine(at.run())
    at = named(at, "try_class", cls)
    return fine(at.button(key="try_add").click().run())


def counts(root) -> dict[str, int]:
    every = [photo.cls for photo in changes.photos(root, "hues")]
    return {cls: every.count(cls) for cls in sorted(set(every))}


def test_from_rejected_pictures_to_a_run_that_knows_them_beside_the_one_before(opened, root, run, store):
    at = tried(opened("try", run=run.id))
    assert [box.value for box in picks(at)] == [box.label == "unknown" for box in picks(at)] and len(picks(at)) == 9
    assert at.button(key="try_add").disabled
    at = added_to(at, "amber", set(range(8)))
    assert counts(root) == {"amber": 8, "blue": 24, "fern": 24, "soot": 24}
    assert "8 images added to amber." in text(at)
    row = datasets.row_of("hues", root)
    kept = own_data.trials(root, "hues", row)
    assert ({row.classes[c] for c in kept["hues-2"].known}, kept["hues-2"].unknown) == ({"amber", "blue", "fern"}, (3,))
    assert [row.classes[c] for c in kept["hues"].known] == ["blue", "fern"]  # that of the run before stays
    said = links(at)["Train a network that knows amber"]

    at = opened("new", **growing.form(run.recipe, "hues-2"))
    for name, value in growing.form(run.recipe, "hues-2").items():
        assert f"{name}=" in said and (name != "new_trials" or "hues-2" in said), value
    assert "knows amber, blue and fern; never sees soot" in text(at)
    at = fine(at.button(key="new_start").click().run())
    (job,) = launch.jobs(store)
    wanted = quick(kept["hues-2"])
    assert job.run == wanted.id != run.id

    launch.remove(launch.stop(job))
    fresh = loop.train(wanted, store, root, device="cpu")
    at = opened("live", watched=fresh.id)
    assert links(at)["Compare with the run before"].count(run.id) and growing.before(fresh).id == run.id
    assert growing.before(run) is None

    at = opened("compare", ids=f"{run.id},{fresh.id}", compare_together="false")
    shared = set(run.marks().tolist()) & set(fresh.marks().tolist())
    assert len(shared) == len(run.outputs("test")) and f"on {len(shared)} of the same images" in text(at).replace(
        "*", ""
    )
    amber = int((fresh.outputs("test").classes == 0).sum())
    assert 1 <= amber <= 2 and "has no test image of it" in text(at) and "cannot be compared" not in text(at)
    assert f"Of its {amber} test images" in text(at) and "known to" in text(at)
    (ask,) = [one for one in at.button if (one.key or "").startswith("ask_")]
    at = fine(ask.click().run())
    assert f"Of {amber} test images of it" in text(at)


def test_adding_can_be_taken_back_and_the_trial_goes_with_it(opened, root, run):
    before = counts(root)
    at = added_to(tried(opened("try", run=run.id)), "amber", set(range(8)))
    assert (root / "trials" / "hues-2.json").exists()
    at = fine(at.button(key="try_undo").click().run())
    assert counts(root) == before and not (root / "trials" / "hues-2.json").exists()
    assert "try_undo" not in keys(at)
    at = added_to(at, "amber", set(range(8)))
    changes.move(root, "hues", ["blue/00000.png"], "fern")  # in another tab: it would be taken back in its place
    at = fine(at.run())
    assert "try_undo" not in keys(at) and counts(root)["amber"] == 8


def test_pictures_of_a_class_that_is_known_go_into_it_and_the_run_before_stays(opened, root, run):
    at = added_to(tried(opened("try", run=run.id)), "blue", set(range(9)))
    assert counts(root)["blue"] == 24 + 9 and "Train a network that knows blue" in links(at)
    kept = own_data.trials(root, "hues", datasets.row_of("hues", root))
    assert (kept["hues-2"].known, kept["hues-2"].unknown) == ((0, 1), (2,))
    assert quick(kept["hues-2"]).id != run.id


def test_a_class_that_was_unknown_becomes_known(opened, root, run):
    added_to(tried(opened("try", run=run.id)), "soot", set(range(8)))
    kept = own_data.trials(root, "hues", datasets.row_of("hues", root))
    assert (kept["hues-2"].known, kept["hues-2"].unknown) == ((0, 1, 2), ())


def test_a_class_of_which_all_images_were_for_testing_lends_a_fifth_again_once_it_is_known(opened, root, run):
    own_data.never_learn(root, "hues", ["soot"])
    assert datasets.counts("hues", root).keys() == {0, 1}
    added_to(tried(opened("try", run=run.id)), "soot", set(range(8)))
    assert own_data.trials(root, "hues", datasets.row_of("hues", root))["hues-2"].known == (0, 1, 2)
    assert datasets.never_learnt("hues", root) == () and datasets.counts("hues", root)[2] > 20


def test_the_same_pictures_again_are_said_and_not_doubled(opened, root, run):
    at = added_to(tried(opened("try", run=run.id)), "amber", set(range(8)))
    at = added_to(at, "amber", set(range(8)))
    assert counts(root)["amber"] == 8 and "Nothing was added. 8 were in amber already." in text(at)
    assert sorted(file.stem for file in (root / "trials").iterdir()) == ["hues", "hues-2"]  # the same one again
    at = added_to(at, "ochre", {0, 8})
    assert counts(root)["ochre"] == 1 and "1 lie in amber" in text(at)
    assert "A class takes 3 images or more to be learnt and tested; ochre has 1 so far." in text(at)
    assert not [label for label in links(at) if label.startswith("Train a network that knows")]


@pytest.mark.parametrize("wrong", ["../x", "a/b", "CON", "Blue", "x" * 80])
def test_a_class_that_cannot_be_named_so_is_refused(opened, root, run, wrong):
    before = counts(root)
    at = added_to(tried(opened("try", run=run.id)), wrong, {0, 1, 2})
    assert at.error and counts(root) == before and list((root / "trials").iterdir()) == [root / "trials" / "hues.json"]


def test_what_cannot_be_stored_is_said_and_the_rest_goes_in(opened, root, run):
    at = tried(opened("try", run=run.id), 3, ("moving.gif", noise(AMBER, 50, "GIF"), "image/gif"))
    at = added_to(at, "amber", {0, 1, 2, 4})
    assert counts(root)["amber"] == 3 and "PNG or JPEG" in at.dataframe[0].value["why"][0]


def test_a_data_set_that_is_deleted_meanwhile_is_said_to_be_gone(opened, root, run):
    at = tried(opened("try", run=run.id))
    for n, box in enumerate(picks(at)):
        box.set_value(n < 8)
    at = named(at, "try_class", "amber")
    button = at.button(key="try_add")
    shutil.rmtree(root / "hues")
    at = fine(button.click().run())
    assert not (root / "hues").exists() and "try_add" not in keys(at)


def test_nothing_is_offered_in_a_show_or_to_runs_on_other_data(opened, root, run, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    assert not {"try_add", "try_class"} & keys(opened("try", run=run.id))
    assert "album_add" not in keys(opened("data", data_view="album", album="hues"))
    before = counts(root)
    growing.take_back(growing.Grown("hues", "amber", changes.Added(1, 0, {}), ()))
    with pytest.raises(ValueError, match="change nothing"):
        growing.add("hues", "amber", [("1.png", noise(AMBER, 1))], run)
    assert counts(root) == before
    assert not growing.takes_images(run)
    monkeypatch.delenv("ANCHORSCOPE_READONLY")
    assert growing.takes_images(run)
    shutil.rmtree(root / "hues")
    assert not growing.takes_images(run)


def zipped(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for n, name in enumerate(names):
            archive.writestr(name, noise(AMBER, 700 + n))
    return file.getvalue()


def test_images_are_added_on_data_as_files_and_out_of_a_zip(opened, root):
    at = opened("data", data_view="album", album="hues")
    assert at.button(key="album_add").disabled and at.get_by_key("album_known").value == ["blue", "fern"]
    before = counts(root)
    at = named(at, "album_into", "amber")
    assert at.button(key="album_add").disabled  # without a file
    content = zipped(["some/1.png", "some/2.png", "some/notes.txt", "__MACOSX/some/._1.png"])
    at.file_uploader(key="album_files_0").set_value(
        [("one.png", noise(AMBER, 1), "image/png"), ("two.png", noise(AMBER, 1), "image/png"),
         ("torn.png", noise(AMBER, 2)[:60], "image/png"), ("more.zip", content, "application/zip")]
    )  # fmt: skip
    at = fine(at.run())
    at = fine(at.button(key="album_add").click().run())
    assert counts(root) == before | {"amber": 3}
    assert "3 images added to amber. 1 were in amber already." in text(at)
    assert {"torn.png", "notes.txt"} == set(at.dataframe[0].value["file"])
    assert at.get_by_key("album_known").value == ["amber", "blue", "fern"]
    assert at.button(key="album_undo").label == "Undo: 3 images added to amber"
    at = fine(at.button(key="album_undo").click().run())
    assert counts(root) == before and "3 images added" not in text(at)
    assert at.get_by_key("album_known").value == ["blue", "fern"]


def test_a_zip_of_several_classes_is_none_of_one(opened, root):
    at = opened("data", data_view="album", album="hues")
    at = named(at, "album_into", "blue")
    content = zipped(["a/1.png", "b/1.png"])
    at.file_uploader(key="album_files_0").set_value([("two.zip", content, "application/zip")])
    at = fine(fine(at.run()).button(key="album_add").click().run())
    assert "several folders (a, b)" in at.error[0].value.replace("\\", "") and counts(root)["blue"] == 24
    shutil.copytree(root / "hues", root / "tints")
    holdings.look_again()
    at = fine(at.run())
    assert not fine(at.selectbox(key="album").set_value("tints").run()).error  # it was about the other


def test_a_training_that_is_under_way_keeps_to_its_images_and_that_is_said(opened, root, run, store, monkeypatch):
    """Images come in between the last epoch and the evaluation: the run is of those that it began with."""
    kept, finish = {}, loop._Training._finish

    def grows(self):
        growing.add("hues", "amber", [(f"{n}.png", noise(AMBER, n)) for n in range(5)])
        kept["said"] = text(self_told(opened))
        finish(self)

    def self_told(opened):
        at = opened("data", data_view="album", album="hues")
        at = named(at, "album_into", "blue")
        at.file_uploader(key="album_files_0").set_value([("one.png", noise(COLOURS["blue"], 400), "image/png")])
        return fine(fine(at.run()).button(key="album_add").click().run())

    monkeypatch.setattr(loop._Training, "_finish", grows)
    given = quick(Trial("hues", "custom", "hues", (0, 1), (2,)))
    fresh = loop.train(recipe.compose("quick", {"alpha": 5.0}, dataset="hues", family="custom", trial="hues",
                                      known=given.known, unknown=given.unknown, backbone="small", epochs=1, batch=16,
                                      seed=3), store, root, device="cpu")  # fmt: skip
    assert fresh.state == "finished" and fresh.made_of("test") == run.made_of("test") == fresh.record["data"]
    assert f"{fresh.id} is being trained: it keeps to the images that it began with" in kept["said"]
    assert fresh.marks().tolist() == run.marks().tolist()
    assert fresh.changed(*datasets.identity(datasets.load("hues", root))) is not None
    members = [compare.Member(one.id, (compare.scored(one),)) for one in (run, fresh)]
    assert {d.over for d in compare.differences(*members)} == {"images"}
