"""Networks that were trained elsewhere, from ONNX files made here by torch's exporter and by hand."""

import io
import json
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cac_core.__main__ import main
from cac_core.data import datasets
from cac_core.exchange import import_network
from cac_core.networks import foreign
from cac_core.recipe import compose
from cac_core.results import evaluate, judge
from cac_core.runs import SPLITS

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install -e .[dev]")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e .[dev]")
pytestmark = pytest.mark.long


def exported(network: nn.Module, channels: int = 1, side: int = 16, batch: bool = True) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), torch.zeros(2, channels, side, side), content, dynamo=False, input_names=["image"],
            dynamic_axes={"image": {0: "batch"}} if batch else None,
        )  # fmt: skip
    return content.getvalue()


def small(classes: int = 6, channels: int = 1, side: int = 16) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, classes))


@pytest.fixture
def brought(store, tmp_path):
    """brought(content, **options): the run of a network's file on the digits."""

    def bring(content: bytes, name: str = "theirs", **options):
        (tmp_path / "theirs.onnx").write_bytes(content)
        options = {"trial": "0"} | options
        return import_network.import_network(
            tmp_path / "theirs.onnx", store, tmp_path / "data", options.pop("dataset", "digits"), name, **options
        )

    return bring


def test_it_puts_out_what_the_network_does_and_is_judged_by_every_score(brought, store, tmp_path):
    network = small()
    run, new = brought(exported(network), mean=(0.5,), std=(0.25,))
    assert new and run.state == "finished" and not run.problem() and run.validated_on == datasets.SET_ASIDE
    images, row = datasets.load("digits", tmp_path / "data"), run.row
    parts = datasets.parts_of(images, run.trial, 0, row, validated_on=datasets.SET_ASIDE)
    for split in SPLITS:
        x = torch.tensor(parts[split].pixels).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            features = network[:4]((x - 0.5) / 0.25)
            logits = network[4](features)
        out = run.outputs(split)
        np.testing.assert_allclose(out.logits, logits, atol=1e-4)
        np.testing.assert_allclose(out.features, features, atol=1e-2)
        np.testing.assert_array_equal(out.labels, parts[split].labels)
    head = run.outputs("train").head  # of the last linear layer, which nobody named
    np.testing.assert_allclose(head, torch.cat([network[4].weight, network[4].bias[:, None]], 1).detach(), atol=1e-6)
    assert "auroc" in judge.report(run, "vim") and "auroc" in run.report()["scorers"]["msp"]
    assert brought(exported(network), mean=(0.5,), std=(0.25,))[1] is False
    with pytest.raises(ValueError, match="another network"):
        brought(exported(network))


def test_a_softmax_at_the_end_is_left_out(brought):
    plain, _ = brought(exported(small()))
    shares, _ = brought(exported(nn.Sequential(*small(), nn.Softmax(1))), "shares")
    for split in SPLITS:
        np.testing.assert_allclose(shares.outputs(split).logits, plain.outputs(split).logits, atol=1e-5)
    assert shares.outputs("train").head is not None


def test_an_image_is_judged_by_it(brought, store, tmp_path, capsys):
    run, _ = brought(exported(small()))
    Image.fromarray(np.full((40, 30), 200, np.uint8)).save(tmp_path / "x.png")
    assert main(["predict", str(run.path), str(tmp_path / "x.png"), "--data", str(tmp_path / "data"), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["images"]
    assert said["label"] in run.known_names
    # with a step before the network it is not: that takes a gradient
    line = ["predict", str(run.path), str(tmp_path / "x.png"), "--data", str(tmp_path / "data"), "--magnitude", "0.01"]
    assert main(line) == 1 and "gives no gradient" in capsys.readouterr().err
    assert main(["train", "--resume", str(run.path), "--data", str(tmp_path / "data"), "--again"]) == 1
    assert "came from elsewhere" in capsys.readouterr().err and run.path.exists()
    (run.path / "best.safetensors").unlink()
    assert main(line) == 1
    said = capsys.readouterr().err
    assert f"Delete the run, and import {run.record['imported_from']} again." in said and "--resume" not in said


def test_logits_in_another_order_are_put_into_ours(brought, tmp_path):
    network = small()
    known = [str(c) for c in datasets.trial_of(compose(dataset="digits"), datasets.row_of("digits", tmp_path)).known]
    turned = small()
    turned[4].weight.data, turned[4].bias.data = network[4].weight.data.flip(0), network[4].bias.data.flip(0)
    one, _ = brought(exported(network), "one")
    two, _ = brought(exported(turned), "two", classes=known[::-1])
    np.testing.assert_allclose(one.outputs("test").logits, two.outputs("test").logits, atol=1e-5)
    np.testing.assert_allclose(one.outputs("train").head, two.outputs("train").head, atol=1e-6)


def test_one_that_knows_all_classes_is_a_run_without_unknowns(brought):
    run, _ = brought(exported(small(10)), trial="")
    assert len(run.trial.known) == 10 and run.trial.unknown == ()
    assert run.report()["scorers"]["msp"]["theta"] is not None


def test_a_graph_for_so_many_images_at_a_time_and_one_of_colour(brought, image_folder, tmp_path):
    image_folder("pets", {"cat": 30, "dog": 30, "eel": 30})
    network = small(3, channels=3)
    run, _ = brought(exported(network, 3, 16, batch=False), dataset="pets", trial="")
    assert run.row.size == 16 and run.recipe.size == 16
    loaded = evaluate.load(run, "cpu")
    x = torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        np.testing.assert_allclose(loaded.method(x)[0], network(x), atol=1e-5)


def test_features_by_name(brought):
    content = exported(small())
    names = [name for node in onnx.load_model_from_string(content).graph.node for name in node.output]
    run, _ = brought(content, features=names[2])  # before they are flattened
    assert run.outputs("test").features.shape[1] == 72 and run.outputs("train").head is None


@pytest.mark.parametrize("library", ["timm", "torchvision"])
@pytest.mark.parametrize("kind", ["safetensors", "pth", "nested"])
def test_weights_of_a_known_architecture(store, tmp_path, image_folder, library, kind):
    image_folder("pets", {"cat": 16, "dog": 16, "eel": 16})
    if library == "timm":
        import timm

        name, network = "timm/mobilenetv3_small_050", timm.create_model("mobilenetv3_small_050", num_classes=3)
    else:
        from torchvision import models

        name, network = "torchvision/shufflenet_v2_x0_5", models.shufflenet_v2_x0_5(num_classes=3)
    file = tmp_path / f"x.{kind}"
    if kind == "safetensors":
        save_file(network.state_dict(), file)
    else:
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 3} if kind == "nested" else network.state_dict(), file)
    given = {"size": 64, "architecture": name}
    run, new = import_network.import_network(file, store, tmp_path / "data", "pets", "mine", **given)
    assert new and import_network.import_network(file, store, tmp_path / "data", "pets", "mine", **given)[1] is False
    loaded, x = evaluate.load(run), torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        np.testing.assert_allclose(loaded.method(x)[0], network.eval()(x), atol=1e-4)
        logits, features = loaded.method(x)
    head = loaded.method.head()
    np.testing.assert_allclose(features.numpy() @ head[:, :-1].T + head[:, -1], logits, atol=1e-4)
    assert run.outputs("train").head is not None and loaded.method.learns  # so that ODIN works
    moved = evaluate.moved_images(
        loaded, np.zeros((1, 64, 64, 3), np.uint8), magnitude=0.1, temperature=1, centres=None
    )
    assert np.abs(moved).max() == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("architecture, says", [
    ("resnet18", "timm/NAME or torchvision/NAME"),
    ("timm/nothing-like-that", "no such network"),
    ("torchvision/nothing_like_that", "no such network"),
    ("timm/resnet18", "are not those of timm/resnet18"),
])  # fmt: skip
def test_weights_that_do_not_fit_are_refused(brought, store, tmp_path, architecture, says):
    content = io.BytesIO()
    torch.save({"fc.weight": torch.zeros(6, 4), "fc.bias": torch.zeros(6)}, content)
    with pytest.raises(ValueError, match=says):
        brought(content.getvalue(), architecture=architecture)
    for spoilt in (b"", b"PK junk", pickle.dumps({"a": print})):
        with pytest.raises(ValueError, match="cannot be read as weights"):
            brought(spoilt, architecture="timm/resnet18")
    content = io.BytesIO()
    torch.save({"fc.weight": torch.zeros(1).expand(10**6, 10**8), "fc.bias": torch.zeros(6)}, content)
    with pytest.raises(ValueError, match="holds no weights by name"):  # a file of a thousand bytes
        brought(content.getvalue(), architecture="timm/resnet18")
    assert not list(store.glob("*"))


# --- bad input -------------------------------------------------------------------------------------------------------


def graph(
    nodes, sides=("N", 1, 16, 16), kind=onnx.TensorProto.FLOAT, weights=(), inputs=(), outputs=("N", "K")
) -> bytes:
    helper = onnx.helper
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, sides), *inputs],
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, outputs)], list(weights),
    )  # fmt: skip
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("theirs", 1)]
    return helper.make_model(made, opset_imports=domains, ir_version=8).SerializeToString()


def outside() -> bytes:
    weight = onnx.numpy_helper.from_array(np.zeros((256, 6), np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    nodes = [onnx.helper.make_node("Flatten", ["x"], ["f"]), onnx.helper.make_node("MatMul", ["f", "w"], ["z"])]
    return graph(nodes, weights=[weight])


RELU = onnx.helper.make_node("Relu", ["x"], ["z"])
FLAT = onnx.helper.make_node("Flatten", ["x"], ["z"])


@pytest.mark.parametrize("content, says", [
    (lambda: b"", "no ONNX network|takes 0 inputs"),
    (lambda: b"junk" * 99, "no ONNX network"),
    (lambda: exported(small())[:500], "no ONNX network"),
    (outside, "lie in another file|no ONNX network"),
    (lambda: graph([onnx.helper.make_node("Magic", ["x"], ["z"], domain="theirs")]), "theirs.Magic|no ONNX network"),
    (lambda: graph([FLAT], kind=onnx.TensorProto.UINT8), "It takes uint8"),
    (lambda: graph([FLAT], ("N", 256)), "It takes float .N, 256."),
    (lambda: graph([FLAT], ("N", 1, 16, 24)), "16 x 24 pixels"),
    (lambda: graph([FLAT], ("N", 3, 16, 16)), "3 channels; those of digits have 1"),
    (lambda: graph([RELU], outputs=("N", 1, 16, 16)), r"not logits .1, classes."),
    (lambda: exported(small(7)), "7 logits, and 6 classes are known"),
])  # fmt: skip
def test_what_is_no_such_network_is_refused_and_leaves_nothing(brought, store, content, says):
    with pytest.raises(ValueError, match=says):
        brought(content())
    assert not list(store.glob("*")) and not list(store.glob(".making/*"))


@pytest.mark.parametrize("options, says", [
    ({"size": 32}, "16 pixels, not of 32"),
    ({"mean": (0.1, 0.2)}, "1 numbers each"),
    ({"std": (0.0,)}, "std above 0"),
    ({"classes": ["0", "1"]}, "as many different class names"),
    ({"classes": list("012345")}, "names not once|learnt classes"),
    ({"features": "nowhere"}, "no value 'nowhere'"),
    ({"trial": "9"}, "trials 0 to 4"),
    ({"name": "../x"}, "small letters"),
])  # fmt: skip
def test_wrong_options_are_named(brought, options, says):
    with pytest.raises(ValueError, match=says):
        brought(exported(small()), **options)


def test_a_larger_file_is_not_read(brought, monkeypatch):
    monkeypatch.setattr(foreign, "MOST", 1000)
    with pytest.raises(ValueError, match="larger than"):
        brought(exported(small()))


def test_a_run_whose_network_was_spoilt_says_so(brought):
    run, _ = brought(exported(small()))
    save_file({"graph": torch.zeros(9, dtype=torch.uint8)}, run.path / "best.safetensors",
              evaluate.weights_metadata(run.recipe, run.trial, 0))  # fmt: skip
    with pytest.raises(ValueError, match="no network that could run"):
        evaluate.load(run)


def test_the_command_says_what_came_of_it(store, tmp_path, capsys):
    (tmp_path / "n.onnx").write_bytes(exported(small()))
    where = ["--runs", str(store), "--data", str(tmp_path / "data")]
    line = ["import-network", str(tmp_path / "n.onnx"), "--dataset", "digits", "--name", "n", "--trial", "0", *where]
    assert main([*line, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["run"] == "onnx-n" and said["new"] and said["report"]["quality"]["word"]
