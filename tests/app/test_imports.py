"""Runs of outputs alone on every page; the form that brings them in; the scripts that it shows, run."""

import io
import json
import shlex

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import imports, plans
from cac_core.__main__ import main
from cac_core.exchange import import_network, import_outputs
from cac_core.results import judge
from cac_core.runs import Run
from tests.app.test_training_pages import HERE, text
from tests.exchange.test_import_network import exported, small
from tests.exchange.test_import_outputs import HEAD, NAMES, PARTS, flat, found
from tests.waiting import LONG

pytestmark = pytest.mark.long

PAGES = ("home", "space", "thresholds", "images", "sweep", "try", "data", "new", "live", "runs", "compare", "reproduce")
KINDS = {
    "whole": lambda: flat(**HEAD, classes=np.array(NAMES)),
    "test-alone": lambda: dict(PARTS["test"]),
    "logits-alone": lambda: {name: PARTS["test"][name] for name in ("logits", "labels")},
    "known-alone": lambda: {name: values[:80] for name, values in PARTS["test"].items()},
    "scores": lambda: {
        "conf": PARTS["test"]["logits"].max(1), "pred": PARTS["test"]["logits"].argmax(1),
        "label": PARTS["test"]["labels"],
    },
}  # fmt: skip


@pytest.fixture
def brought(store, tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(store))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANCHORSCOPE_READONLY", raising=False)

    def bring(kind: str, of: str = "") -> Run:
        np.savez(tmp_path / f"{kind}.npz", **KINDS[kind]())
        name = f"{kind}-of-{of}" if of else kind
        return import_outputs.make(found(tmp_path / f"{kind}.npz"), name, store, f"{kind}.npz", of=of)[0]

    return bring


def test_pictures_that_came_along_are_shown(brought, store, tmp_path):
    (tmp_path / "data").mkdir()
    Image.new("RGB", (9, 9), (200, 0, 0)).save(tmp_path / "data/red.png")
    part = PARTS["test"] | {"files": np.full(120, "red.png")}
    np.savez(tmp_path / "x.npz", **flat(PARTS | {"test": part}))
    run, _ = import_outputs.make(found(tmp_path / "x.npz"), "seen", store, "x.npz", tmp_path / "data")
    at = opened(run=run.id)
    for page in ("try", "thresholds", "space"):
        said = text(seen(at, page))
        assert "holds no images" not in said, page


def opened(page: str = "home", **query) -> AppTest:
    at = AppTest.from_file(str(HERE / "streamlit_app.py"), default_timeout=LONG)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    return seen(at, page)


def seen(at: AppTest, page: str) -> AppTest:
    at = at.switch_page(f"app/pages/{page}.py").run()
    assert not at.exception, (page, [(one.value, one.stack_trace) for one in at.exception])
    return at


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_stays(brought, kind):
    run = brought(kind)
    at = opened(run=run.id)
    said = {page: text(seen(at, page)) for page in PAGES}
    assert "cannot be read" not in "".join(said.values())
    assert "outputs alone" in said["try"]


@pytest.mark.parametrize("kind, scorer", [("whole", "vim"), ("test-alone", "energy"), ("scores", "given")])
def test_a_threshold_is_chosen_and_taken_along(brought, kind, scorer):
    run = brought(kind)
    at = opened("thresholds", run=run.id, scorer=scorer)
    assert at.session_state["scorer"] == scorer and "threshold.json" in [b.label for b in at.get("download_button")]
    assert "keeps" in text(at) and "of the knowns, catches" in text(at)
    assert "as they were reported" not in text(at)


@pytest.mark.parametrize("kind, scorer", [("whole", "vim"), ("scores", "given")])
def test_what_is_said_of_a_threshold_to_take_along_works_on_new_outputs(
    brought, kind, scorer, tmp_path, monkeypatch, capsys
):
    run = brought(kind)
    at = opened("thresholds", run=run.id, scorer=scorer)
    command, script = [one.value for one in at.code][-2:]
    threshold = judge.Threshold(run.id, scorer, {}, 0.0, "as a test says")
    (tmp_path / "threshold.json").write_text(json.dumps(threshold.record(run)))
    new = {name: PARTS["test"][name] for name in ("logits", "features")} if kind == "whole" else KINDS[kind]()
    np.savez(tmp_path / "new.npz", **{name: values for name, values in new.items() if name != "label"})
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    alone = capsys.readouterr().out.split()
    assert len(alone) == 120
    assert main([*command.split()[3:], "--json"]) == 0
    assert [one["decision"] for one in json.loads(capsys.readouterr().out)["images"]] == alone


def test_no_command_is_shown_that_needs_the_network(brought):
    run = brought("whole")
    at = opened("sweep", run=run.id)
    assert not [one.value for one in at.code if "cac_core sweep" in one.value]


def test_an_imported_run_is_compared_with_another(brought):
    one, two = brought("whole"), brought("scores")
    at = opened("compare", ids=f"{one.id},{two.id}")
    assert len(at.table) == 2 and not at.error  # of other images: each in a ranking of its own


def test_two_imports_on_the_same_images_are_compared_image_by_image(brought, store, tmp_path):
    runs = []
    for name, times in (("one", 1.0), ("two", 0.2)):
        parts = {split: part | {"logits": part["logits"] * times} for split, part in PARTS.items()}
        np.savez(tmp_path / f"{name}.npz", **flat(parts))
        runs.append(import_outputs.make(found(tmp_path / f"{name}.npz"), name, store, f"{name}.npz", of="ours")[0])
    other, _ = import_outputs.make(found(tmp_path / "two.npz"), "three", store, "two.npz")
    at = opened("compare", ids=f"{runs[0].id},{runs[1].id}")
    assert len(at.table) == 1 and "80 known and 40 unknown test images" in text(at)
    assert len(opened("compare", ids=f"{runs[0].id},{other.id}").table) == 2


def test_the_form_makes_a_run_and_says_what_was_noticed(brought, store):
    content = io.BytesIO()
    np.savez(content, **KINDS["test-alone"]())
    at = opened("runs")
    at.file_uploader(key="outputs_files_0").upload("My Outputs.npz", content.getvalue(), "application/zip").run()
    assert at.text_input(key="outputs_name_0_my-outputs").value == "my-outputs"
    at.text_area(key="outputs_classes_0").set_value("\n".join(NAMES))
    at.button(key="outputs_make").click().run()
    assert not at.exception
    run = Run(store / "imported-my-outputs")
    assert run.known_names == NAMES
    said = " ".join(one.value for one in at.success).replace("\\", "")
    assert "There is no training part" in said and "imported-my-outputs" in said


@pytest.mark.parametrize("content, says", [(b"junk", "cannot be imported"), (b"", "cannot be imported")])
def test_the_form_says_what_is_wrong_and_keeps_what_was_typed(brought, store, content, says):
    at = opened("runs")
    at.file_uploader(key="outputs_files_0").upload("x.csv", content, "text/csv").run()
    at.button(key="outputs_make").click().run()
    assert not at.exception and says in text(at) and at.file_uploader(key="outputs_files_0").value
    assert not list(store.glob("imported-*"))


def test_a_network_from_an_onnx_file_on_every_page_and_with_an_image_of_ones_own(brought, store, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e .[dev]")
    from cac_core.exchange import import_network
    from tests.exchange.test_import_network import exported, small

    (tmp_path / "n.onnx").write_bytes(exported(small()))
    where = (store, tmp_path / "data", "digits", "theirs")
    run, _ = import_network.import_network(tmp_path / "n.onnx", *where, trial="0")
    at = opened(run=run.id)
    said = {page: text(seen(at, page)) for page in PAGES}
    assert "gives no gradient" in said["sweep"] and "start_sweep" not in [b.key for b in seen(at, "sweep").button]
    picture = io.BytesIO()
    Image.new("L", (40, 40), 200).save(picture, "PNG")
    at = seen(at, "try")
    at.file_uploader(key="files").upload("x.png", picture.getvalue(), "image/png").run()
    at.session_state["why_0"] = True  # its place, its neighbours, its pixels
    at.run()
    assert not at.exception and not at.error and ("Known" in text(at) or "Unknown" in text(at))
    assert "gives no gradient" in text(at)


# --- the scripts -----------------------------------------------------------------------------------------------------


def ran(script: str, tmp_path, monkeypatch, **given) -> import_outputs.Read:
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "script", "exec"), given)
    return found(tmp_path / "outputs.npz")


def test_the_script_for_scikit_learn(tmp_path, monkeypatch):
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    names = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])[y]
    known = y < 6
    first = np.arange(len(y)) % 4
    parts = {"train": known & (first < 2), "validation": known & (first == 2), "test": first == 3}
    model = LogisticRegression(max_iter=200).fit(x[parts["train"]], names[parts["train"]])
    given = {name: (x[mask], names[mask]) for name, mask in parts.items()}
    read = ran(imports.SCRIPTS["scikit-learn"], tmp_path, monkeypatch, model=model, **given)
    assert read.notes == () and set(read.known) == set(names[known]) and set(read.unknown) == set(names[~known])
    assert (
        read.outputs["train"].head is not None
        and (read.outputs["test"].labels < 0).sum() == (~known & (first == 3)).sum()
    )
    accuracy = (read.outputs["test"].logits.argmax(1) == read.outputs["test"].labels)[read.outputs["test"].labels >= 0]
    assert accuracy.mean() > 0.9


def test_the_script_for_pytorch(tmp_path, monkeypatch):
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features, self.head = (
                torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU()),
                torch.nn.Linear(8, 4),
            )

    loaders = {
        name: [(torch.tensor(part["features"]), torch.tensor(part["labels"]))] * 2 for name, part in PARTS.items()
    }
    read = ran(imports.SCRIPTS["PyTorch"], tmp_path, monkeypatch, network=Network(), **loaders)
    assert read.notes == () and read.outputs["train"].head is not None and len(read.outputs["test"]) == 240


def test_the_command_that_is_shown_imports_the_same_again(brought, tmp_path, monkeypatch, capsys):
    runs = [brought("test-alone"), brought("test-alone", "letters")]
    (tmp_path / "the ir.onnx").write_bytes(exported(small()))
    store, root = runs[0].path.parent, tmp_path / "data"
    for name, options in {"theirs": {}, "scaled": {"mean": (0.5,), "std": (0.25,)}}.items():
        options = {"trial": "1", **options}
        runs.append(import_network.import_network(tmp_path / "the ir.onnx", store, root, "digits", name, **options)[0])
    monkeypatch.chdir(tmp_path)
    for run in runs:
        words = shlex.split(plans.import_command(run))[3:]
        assert main([*words, "--runs", str(tmp_path / "other"), "--data", str(root)]) == 0, capsys.readouterr()
        again = Run(tmp_path / "other" / run.id)
        assert again.recipe == run.recipe
        assert [again.record.get(name) for name in ("mean", "std")] == [run.record.get(n) for n in ("mean", "std")]
