"""A finished run as an MLflow run: its recipe, curves, numbers, weights and report. MLflow is optional.

The run directory stays the truth; what stands in MLflow is a copy, under the run's id, and the same run is not written
twice. Where it goes is MLflow's own affair: MLFLOW_TRACKING_URI, or its default.
"""

import importlib.util

from cac_core.runs import Run
from cac_core.sentences import say

EXPERIMENT = "anchorscope"
FILES = ("recipe.json", "report.json", "best.safetensors")


def check() -> None:
    """Raises ValueError with the command that mends it where MLflow is not installed."""
    if importlib.util.find_spec("mlflow") is None:
        raise ValueError(say("MLflow is not installed. Get it with:\n    pip install mlflow"))


def export(run: Run) -> str:
    """Write the run to MLflow, where it is not there yet; gives MLflow's own id of it."""
    check()
    import mlflow

    mlflow.set_experiment(EXPERIMENT)
    query = f"tags.`mlflow.runName` = '{run.id}'"  # an id is letters, digits and dashes
    there = mlflow.search_runs(experiment_names=[EXPERIMENT], filter_string=query, output_format="list")
    if there:
        return there[0].info.run_id
    recipe, report = run.recipe.to_json(), run.report()
    with mlflow.start_run(run_name=run.id) as started:
        flat = {**recipe, **recipe.pop("hyper"), **recipe.pop("trunk")}
        mlflow.log_params({name: value for name, value in flat.items() if name not in ("hyper", "trunk")})
        for event in run.epochs():
            curves = {
                f"{name}/{split}": value
                for split in ("train", "validation")
                for name, value in event.get(split, {}).items()
            }
            rate = {"lr": event["lr"]} if "lr" in event else {}
            mlflow.log_metrics(curves | rate, step=event["epoch"])
        for scorer, numbers in report.get("scorers", {}).items():
            values = {f"test/{scorer}/{name}": v for name, v in numbers.items() if isinstance(v, float)}
            mlflow.log_metrics(values)
        for name in FILES:
            if (run.path / name).exists():
                mlflow.log_artifact(str(run.path / name))
        return started.info.run_id
