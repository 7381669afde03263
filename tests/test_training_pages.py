"""Train's pages with an empty store, with what waits, runs, has ended and has failed.

Nothing is faked: jobs are submitted, runs are trained, and no worker is started but by the test that says so.
"""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import charts, training
from cac_core import __main__ as command_line
from cac_core import data, launch, own_data, recipe, runs, train
from cac_core.recipe import Recipe
from cac_core.runs import Run

HERE = Path(__file__).parent.parent
PAGES = {"data": "app/data_page.py", "new": "app/new_run.py", "live": "app/live_runs.py"}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A data root, and a store with a training of three epochs."""
    place = tmp_path_factory.mktemp("training")
    given = recipe.compose("quick", {}, dataset="digits", backbone="small", epochs=3)
    return place / "data", train.train(given, place / "runs", place / "data", device="cpu")


@pytest.fixture
def root(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANCHORSCOPE_READONLY", raising=False)
    training.look_again()
    training.devices.clear()
    return tmp_path / "data"


@pytest.fixture
def no_worker(monkeypatch):
    """Jobs stay where they are put."""
    monkeypatch.setattr(launch, "ensure_worker", lambda store: False)


@pytest.fixture
def opened(root, store, monkeypatch, no_worker):
    """opened(page) opens a page over the store."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))

    def open_page(page: str) -> AppTest:
        at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=60).run()
        return fine(at.switch_page(PAGES[page]).run())

    return open_page


@pytest.fixture
def finished(trained, store):
    run = trained[1]
    shutil.copytree(run.path, store / run.id)
    return Run(store / run.id)


def fine(at: AppTest) -> AppTest:
    assert not at.exception, [e.value for e in at.exception]
    return at


def text(at: AppTest) -> str:
    parts = [*at.title, *at.markdown, *at.caption, *at.info, *at.warning, *at.error, *at.success, *at.code,
             *at.subheader]  # fmt: skip
    return "\n".join(str(part.value) for part in parts).replace("\\", "")


def button(at: AppTest, label: str):
    return next(b for b in at.button if b.label == label)


def labels(at: AppTest) -> list[str]:
    return [b.label for b in at.button]


def job(store, n=0, **more) -> launch.Job:
    one = recipe.compose("quick", {}, dataset="digits", seed=n, **more)
    return launch.submit_recipe(store, one)


def made(job, **fields) -> launch.Job:
    """A job's record as a worker would have left it."""
    record = json.loads(job.path.read_text("utf-8"))
    runs.write_json(job.path, record | fields)
    return launch.find(job.store, job.id)


# --- every page, every state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["empty", "queued", "finished", "failed", "broken", "stopped", "running"])
def test_every_page_in_every_state(opened, store, page, state, request):
    if state == "queued":
        job(store)
    elif state == "failed":
        made(job(store), state="failed", reason="The disk <b>is full</b>.")
    elif state == "broken":
        (store / "broken").mkdir(parents=True)
        (store / "broken" / "recipe.json").write_text('{"recipe": ')
        (store / ".queue").mkdir()
        (store / ".queue" / "notes.json").write_text("{}")
    elif state != "empty":
        run = request.getfixturevalue("finished")
        if state == "stopped":
            runs.write_json(run.path / "status.json", {"state": "stopped", "reason": "Stopped when asked to."})
        if state == "running":
            runs.write_json(run.path / "status.json", {"state": "running", "device": "cpu", **runs.process_now()})
    at = opened(page)
    assert not at.error or (state == "failed" and page == "live")
    assert len(at.title) == 1
    assert "<b>" not in "".join(m.value for m in [*at.markdown, *at.caption, *at.error])


def test_nothing_here_computes_in_the_servers_process(opened, finished):
    import subprocess
    import sys

    script = (
        "import sys; from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file({str(HERE / 'streamlit_app.py')!r}, default_timeout=60).run()\n"
        f"for page in {list(PAGES.values())!r}:\n"
        "    at.switch_page(page).run(); assert not at.exception and not at.error, at.exception\n"
        "print([m for m in ('torch', 'torchvision', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0 and done.stdout.strip().endswith("[]"), done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("page", PAGES)
def test_a_show_offers_and_does_nothing(opened, store, finished, page, monkeypatch):
    made(job(store, 1), state="failed", reason="x")
    waits = job(store, 2)
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    at = opened(page)
    wrong = {"Download", "Save", "Start", "Stop", "Go on", "Remove", "Sooner", "Later", "Start what waits"}
    assert not wrong & set(labels(at))
    if page == "data":
        for view in ("trial", "own"):
            at = fine(at.segmented_control(key="data_view").set_value(view).run())
            assert not wrong & set(labels(at)) and not at.error
        assert not at.get("file_uploader")
    assert launch.find(store, waits.id).state == "queued"


# --- data and trials -------------------------------------------------------------------------------------------------


def test_a_download_is_a_job_and_a_second_click_is_none(opened, store, root):
    at = opened("data")
    assert "digits" in text(at) and at.button(key="fetch_MNIST").label == "Download"
    at = fine(at.button(key="fetch_MNIST").click().run())
    (one,) = launch.jobs(store)
    assert (one.kind, one.arguments) == ("fetch", ("fetch", "MNIST", "--data", str(root.absolute())))
    assert "MNIST: waits for its turn" in text(at).replace("*", "")
    assert at.button(key="fetch_MNIST").disabled
    made(one, state="failed", reason="No internet.")
    at = fine(at.run())
    assert any("No internet" in e.value for e in at.error)
    at = fine(at.button(key=f"dismiss_{one.id}").click().run())
    assert not at.error and not launch.jobs(store)


def test_a_trial_is_edited_saved_and_chosen(opened, root):
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("trial").run())
    published = data.trial_of(Recipe(), data.DIGITS)
    assert at.multiselect(key="trial_known").value == list(published.known)
    assert charts.percent(published.openness) in text(at)
    at = fine(at.multiselect(key="trial_unknown").set_value([*published.unknown, 0]).run())
    assert at.multiselect(key="trial_known").value == [c for c in published.known if c != 0]
    at = fine(at.multiselect(key="trial_known").set_value([1, 2]).run())
    assert at.multiselect(key="trial_out").value == [4, 5, 9]
    expected = data.Trial("digits", "custom", "mine", (1, 2), (0, 3, 6, 7, 8))
    assert charts.percent(expected.openness) in text(at)
    at.text_input(key="trial_name").set_value("No Name")
    at = fine(at.button(key="trial_save").click().run())
    assert "small letters" in text(at) and not (root / "trials").exists()
    at.text_input(key="trial_name").set_value("mine")
    at = fine(at.button(key="trial_save").click().run())
    assert own_data.trials(root, "digits", data.DIGITS) == {"mine": expected}
    at = fine(at.switch_page(PAGES["new"]).run())
    at = fine(at.multiselect(key="new_trials_digits").set_value([("custom", "mine")]).run())
    assert "learns 2 classes" in text(at) and "--trial" in text(at)
    at = fine(at.switch_page(PAGES["data"]).run())
    at = fine(at.multiselect(key="trial_known").set_value([1]).run())
    assert "at least two known" in text(at)


@pytest.mark.parametrize("family", ["osrci", "cac-2020"])
@pytest.mark.parametrize("name", ["digits", "MNIST", "CIFAR10", "CIFAR+10", "CIFAR+50"])
def test_the_editor_starts_from_every_published_trial(opened, name, family):
    at = opened("data")
    at.segmented_control(key="data_view").set_value("trial").run()
    at = fine(at.selectbox(key="trial_dataset").set_value(name).run())
    at = fine(at.selectbox(key="trial_start").set_value((family, "3")).run())
    trial = data.trial_of(Recipe(dataset=name, family=family, trial="3"), data.DATASETS[name])
    assert at.multiselect(key="trial_known").value == list(trial.known)
    assert sorted(at.multiselect(key="trial_unknown").value) == list(trial.unknown)
    assert charts.percent(trial.openness) in text(at)


def zip_of(counts: dict[str, int]) -> bytes:
    file, rng = io.BytesIO(), np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as archive:
        for cls, count in counts.items():
            for n in range(count):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(picture, "PNG")
                archive.writestr(f"{cls}/{n}.png", picture.getvalue())
        archive.writestr("cat/broken.png", b"no image")
    return file.getvalue()


def test_a_zip_becomes_a_data_set_that_can_be_trained_on(opened, root):
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("own").run())
    at = fine(at.file_uploader(key="own_zip").upload("pets.zip", zip_of({"cat": 4, "dog": 5}), "application/zip").run())
    assert any("1 files cannot be taken" in e.label for e in at.expander)
    at.text_input(key="own_name").set_value("Pets!")
    at = fine(button(at, "Make it a data set").click().run())
    assert any("small letters" in e.value for e in at.error) and not (root / "Pets!").exists()
    at.text_input(key="own_name").set_value("pets")
    at = fine(button(at, "Make it a data set").click().run())
    assert "Written to" in text(at) and data.folders(root) == ["pets"]
    at = fine(at.segmented_control(key="data_view").set_value("sets").run())
    assert "pets" in at.selectbox(key="data_look").options
    at = fine(at.selectbox(key="data_look").set_value("pets").run())
    assert "9 in all, a fifth of them for testing" in text(at)


def test_an_evil_zip_is_told_and_changes_nothing(opened, root):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../evil.png", b"x")
    at = opened("data")
    at = fine(at.segmented_control(key="data_view").set_value("own").run())
    at = fine(at.file_uploader(key="own_zip").upload("x.zip", file.getvalue(), "application/zip").run())
    assert len(at.error) == 1 and "lead out" in at.error[0].value and not list(root.glob("*evil*"))


# --- a new run -------------------------------------------------------------------------------------------------------


def test_what_is_started_is_what_the_command_line_would_train(opened, store, root):
    at = opened("new")
    at = fine(at.button(key="new_start").click().run())
    (one,) = launch.jobs(store)
    given = Recipe.from_json(json.loads((store / ".queue" / "recipes" / f"{one.run}.json").read_text()))
    assert given == recipe.compose("quick", {}, dataset="digits") and one.arguments[-1] == str(root.absolute())
    assert "In the queue already: 1." in text(at) and at.button(key="new_start").disabled
    fine(at.run())
    assert len(launch.jobs(store)) == 1


def test_many_runs_in_one_go(opened, store):
    at = opened("new")
    at = fine(at.multiselect(key="new_trials_digits").set_value([("osrci", "0"), ("osrci", "1")]).run())
    at.multiselect(key="new_methods").set_value(["cac", "cross_entropy"])
    at = fine(at.run())
    seeds = next(i for i in at.text_input if i.label == "Seeds")
    alpha = next(i for i in at.text_input if i.label == "cac: alpha")
    seeds.set_value("0-2")
    alpha.set_value("5, 10")
    at = fine(at.run())
    assert at.button(key="new_start").label == f"Start {2 * 3 * (2 + 1)} runs"
    seeds = next(i for i in at.text_input if i.label == "Seeds")
    at = fine(seeds.set_value("0-200").run())
    assert "more than 60 runs" in text(at) and "new_start" not in [b.key for b in at.button]
    at = fine(next(i for i in at.text_input if i.label == "Seeds").set_value("one").run())
    assert "“one” is no such number" in text(at)
    at = fine(next(i for i in at.text_input if i.label == "Seeds").set_value("0-2").run())
    fine(at.button(key="new_start").click().run())
    assert len({j.run for j in launch.jobs(store)}) == 18


def test_a_finished_run_is_not_trained_again_and_tells_how_long_others_take(opened, finished, store):
    at = opened("new")
    epochs = next(n for n in at.number_input if n.label == "Epochs")
    at = fine(epochs.set_value(3).run())
    assert at.button(key="new_start").disabled and "Finished already, and not trained again: 1." in text(at)
    at = fine(next(n for n in at.number_input if n.label == "Epochs").set_value(60).run())
    times = [e["time"] for e in finished.epochs()]
    seconds = 60 * float(np.median(np.diff(times)))
    assert f"About **{training.span(seconds)}**" in text(at) and finished.id in text(at)
    at = fine(at.multiselect(key="new_methods").set_value([]).run())
    assert "at least one method" in text(at)


def test_what_has_no_measure_has_no_estimate(opened, store):
    assert "No estimate yet" in text(opened("new"))


@pytest.mark.parametrize(
    "preset, fields, options",
    [
        ("quick", {}, {}),
        ("paper", {"dataset": "digits", "seed": 3, "epochs": 7}, {"alpha": 5.0, "dropout": 0.1}),
        ("quick", {"method": "cross_entropy", "schedule": "constant", "precision": "float32", "lr": 0.003}, {}),
        ("report-mnist", {"dataset": "digits", "trunk_rate": 0.1, "size": 24}, {"pretrained": True, "input_size": 96}),
    ],
)
def test_the_command_line_shown_makes_the_same_recipe(root, preset, fields, options):
    one = recipe.compose(preset, options, **{"dataset": "digits", **fields})
    words = training.command(preset, one).split()[3:]
    arguments, rest = command_line._parser().parse_known_args(words)
    assert command_line._recipe(arguments, command_line._options(rest), root) == one


def test_the_command_line_of_a_saved_trial_makes_the_same_recipe(root):
    trial = data.Trial("digits", "custom", "mine", (1, 2, 3), (7,))
    own_data.save_trial(trial, data.DIGITS, root)
    (one,) = training.product("quick", {}, [trial], ["cac"], [0], {}, {})
    arguments, rest = command_line._parser().parse_known_args(training.command("quick", one).split()[3:])
    assert command_line._recipe(arguments, command_line._options(rest), root) == one


NUMBERS = [
    ("0", int, [0]),
    ("1, 5 10", int, [1, 5, 10]),
    ("0-3,2", int, [0, 1, 2, 3]),
    ("0.1 1e-3", float, [0.1, 1e-3]),
]


@pytest.mark.parametrize("said, kind, values", NUMBERS)
def test_numbers_are_read_as_people_write_them(said, kind, values):
    assert training.numbers(said, kind) == values


@pytest.mark.parametrize("said", ["", "a", "1.5", "3-", "1;2", "0-99999"])
def test_what_is_no_number_is_named(said):
    with pytest.raises(ValueError):
        training.numbers(said, int)


# --- live ------------------------------------------------------------------------------------------------------------


def order(store) -> list[str]:
    return [one.id for one in training.waiting(launch.jobs(store))]


def test_the_queue_is_reordered_stopped_resumed_and_emptied(opened, store):
    a, b, c = (job(store, n) for n in range(3))
    at = opened("live")
    at = fine(at.button(key=f"up_{c.id}").click().run())
    assert order(store) == [a.id, c.id, b.id]
    at = fine(at.button(key=f"up_{c.id}").click().run())
    assert order(store) == [c.id, a.id, b.id] and at.button(key=f"up_{c.id}").disabled
    at = fine(at.button(key=f"down_{a.id}").click().run())
    assert order(store) == [c.id, b.id, a.id]
    at = fine(at.button(key=f"stop_{b.id}").click().run())
    assert launch.find(store, b.id).state == "stopped" and order(store) == [c.id, a.id]
    at = fine(at.button(key=f"again_{b.id}").click().run())
    assert launch.find(store, b.id).state == "queued"
    at = fine(at.button(key=f"stop_{a.id}").click().run())
    fine(at.button(key=f"remove_{a.id}").click().run())
    assert a.id not in [one.id for one in launch.jobs(store)]
    at = fine(at.run())
    fine(at.button(key="stop_waiting").click().run())
    assert {one.state for one in launch.jobs(store)} == {"stopped"}


def test_a_long_queue_is_listed_in_part(opened, store):
    jobs = [job(store, n) for n in range(13)]
    at = opened("live")
    assert "13 wait; the first 10 are listed" in text(at)
    assert f"stop_{jobs[9].id}" in [b.key for b in at.button] and f"stop_{jobs[10].id}" not in [
        b.key for b in at.button
    ]


def test_moving_in_the_queue_moves_one_job_only(store):
    jobs = [job(store, n) for n in range(5)]
    for by in (-4, -1, 1, 3):
        for one in jobs:
            queue = training.waiting(launch.jobs(store))
            ids = [j.id for j in queue]
            for name, priority in training.moved(queue, next(j for j in queue if j.id == one.id), by).items():
                launch.reorder(launch.find(store, name), priority)
            wanted = [name for name in ids if name != one.id]
            wanted.insert(max(ids.index(one.id) + by, 0), one.id)
            assert order(store) == wanted


def test_a_finished_training_shows_its_course(opened, finished):
    at = opened("live")
    last = finished.epochs()[-1]
    shown = {m.label: m.value for m in at.metric}
    assert shown["Accuracy, validation"] == charts.percent(last["validation"]["accuracy"])
    assert shown["Best epoch"] == str(last["best_epoch"]) and "Time left" not in shown
    at.session_state["course_table"] = True
    table = fine(at.run()).dataframe[0].value
    assert table["total, train"].tolist() == [e["train"]["total"] for e in finished.epochs()]
    assert table["learning rate"].tolist() == [e["lr"] for e in finished.epochs()]


def test_the_cloud_is_the_newest_snapshot_on_the_anchor_wheel(finished):
    said, stored = training.snapshot(finished), finished.snapshots()
    logits, turn = stored["logits"][-1].astype(float), 2 * np.pi * np.arange(6) / 6
    alpha = recipe.method_options("cac")["alpha"]
    for (x, y), z in zip(said.xy, logits, strict=True):
        assert x == pytest.approx(sum(z * np.cos(turn)) / alpha) and y == pytest.approx(sum(z * np.sin(turn)) / alpha)
    assert said.epoch == stored["epochs"][-1] and said.anchors
    spec = training.cloud(said, finished.known_names, charts.LIGHT)
    names = [s.get("name") for s in spec["series"]]
    assert not {charts.REJECTED, charts.ACCEPTED} & set(names)


def test_the_curves_hold_every_epoch_and_no_infinity(finished):
    said = training.course(finished)
    spec = training.loss_curves(said, charts.LIGHT, 3)
    drawn = {s["name"]: s["data"] for s in spec["series"]}
    for split in ("train", "validation"):
        for name in ("total", "tuplet", "anchor"):
            wanted = [(e["epoch"], e[split][name]) for e in finished.epochs()]
            assert [tuple(p) for p in drawn[f"{name}, {split}"]] == [pytest.approx(w, rel=1e-4) for w in wanted]
    runs.append(finished.path / "events.jsonl", {"kind": "epoch", "epoch": 4, "train": {"total": float("nan")}})
    spec = training.loss_curves(training.course(finished), charts.LIGHT, 4)
    assert json.loads(json.dumps(spec, allow_nan=False))
    assert dict(map(tuple, next(s for s in spec["series"] if s["name"] == "total, train")["data"]))[4] is None


def test_only_what_has_changed_is_read_again(finished, monkeypatch):
    first, reads = training.course(finished), []
    monkeypatch.setattr(Run, "events", lambda run: reads.append(run))
    assert training.course(finished) == first and not reads


def test_a_failed_run_says_why_and_what_to_do(opened, store, finished):
    reason = "Out of memory: it was full. Try a smaller batch (--batch 16)."
    runs.write_json(finished.path / "status.json", {"state": "failed", "device": "cpu", "reason": reason})
    (finished.path / "log.txt").write_text("line one\nline <two>\n")
    at = opened("live")
    assert reason in at.error[0].value.replace("\\", "") and "starts again from what was saved" in text(at)
    assert any("line <two>" in c.value for c in at.code)
    at = fine(at.button(key="run_again").click().run())
    (one,) = launch.jobs(store)
    assert one.run == finished.id and one.state == "queued"


def test_missing_images_lead_to_the_data_page(opened, store):
    reason = "MNIST is not under data. Get it with:\n    python -m cac_core fetch MNIST"
    made(job(store), state="failed", reason=reason)
    at = opened("live")
    assert "python -m cac_core fetch MNIST" in text(at) and any(
        "Data and trials" in link.proto.label for link in at.get("page_link")
    )


def test_a_job_gone_meanwhile_does_no_harm(opened, store):
    one = job(store)
    at = opened("live")
    launch.remove(one)
    at = fine(at.button(key=f"stop_{one.id}").click().run())
    assert "no job" in text(at)


def test_from_the_button_to_the_finished_run(root, store, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=60).run()
    monkeypatch.setattr(launch, "ensure_worker", lambda store: True)
    at = fine(at.switch_page(PAGES["new"]).run())
    at = fine(next(n for n in at.number_input if n.label == "Epochs").set_value(1).run())
    fine(at.button(key="new_start").click().run())
    launch.work(store, once=True, slots={"cpu": ""}, pause=0.1, say=lambda line: None)
    (one,) = launch.jobs(store)
    assert one.state == "finished" and Run(store / one.run).written
    at = fine(at.switch_page(PAGES["live"]).run())
    assert not at.error and "finished" in text(at)
