"""A finished run copied into MLflow, where that is installed; a sentence where it is not."""

import importlib.util

import pytest

from cac_core.exchange import to_mlflow
from cac_core.recipe import compose
from cac_core.training import loop

pytestmark = pytest.mark.long


def test_without_mlflow_the_error_names_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed(?s:.*)pip install mlflow"):
        to_mlflow.check()


def test_the_copy_holds_recipe_curves_numbers_and_weights_once(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed here: pip install mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    run = loop.train(
        compose(epochs=2, batch=128, options={"alpha": "8"}), tmp_path / "runs", tmp_path / "data", device="cpu"
    )
    name = to_mlflow.export(run)
    assert to_mlflow.export(run) == name  # not a second time
    found = mlflow.get_run(name)
    assert found.data.params["alpha"] == "8.0" and found.data.params["dataset"] == "digits"
    assert found.data.metrics["test/gamma/auroc"] == pytest.approx(run.report()["scorers"]["gamma"]["auroc"])
    history = mlflow.MlflowClient().get_metric_history(name, "total/train")
    assert [m.value for m in history] == pytest.approx([e["train"]["total"] for e in run.epochs()])
    assert {a.path for a in mlflow.MlflowClient().list_artifacts(name)} == set(to_mlflow.FILES)
