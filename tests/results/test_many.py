"""Two hundred classes and a thousand: every number is the definition's, and whatever a run holds can be read again."""

import json

import numpy as np
import pytest

from cac_core import runs
from cac_core.recipe import compose
from cac_core.results import judge, sweep
from cac_core.scoring import metrics
from cac_core.scoring.scorers import judge_of
from cac_core.training import loop
from tests import reference

pytestmark = pytest.mark.long


@pytest.mark.parametrize("classes", [200, 1000])
def test_every_number_of_a_report_is_the_definitions(many, classes):
    run = many(classes)
    said = json.loads(json.dumps(judge.plain(judge.report(run, "msp"))))
    outputs = run.outputs("test")
    verdict = judge_of("msp", run.outputs("train"))(outputs)
    score, label, truth = verdict.score.tolist(), verdict.label.tolist(), outputs.labels.tolist()
    assert said["knowns"] == classes and said["unknowns"] == 60
    assert said["confusion"] == reference.confusion(said["theta"], score, label, truth, classes)
    assert said["at_theta"]["macro_f1"] == pytest.approx(
        reference.macro_f1(said["theta"], score, label, truth, classes)
    )
    assert said["auroc"] == pytest.approx(reference.auroc(score, truth))
    assert 0 < said["at_theta"]["knowns_kept"] <= 1


def test_a_kept_report_of_many_classes_stays_small_and_whole(many):
    for classes, held in ((100, True), (101, False), (200, False)):
        run = many(classes)
        every = judge.plain(judge.report_all(run))
        runs.write_json(run.path / "report.json", every)
        assert (run.path / "report.json").stat().st_size < 2e6
        numbers = run.report()["scorers"]["gamma"]
        assert ("confusion" in numbers) is held and numbers["accuracy"] > 0.9
        assert "confusion" in judge.report(run, "gamma")


def test_each_of_many_classes_has_its_theta(many):
    """All too few for one of their own: each takes that of all, and says how many images are missing."""
    run = many(200)
    validation = judge_of("gamma", run.outputs("train"))(run.outputs("validation"))
    thetas = judge.thetas_at(0.95, validation, 200)
    assert thetas.shape == (200,) and set(thetas) == {metrics.theta_at(0.95, validation.score)}
    assert set(judge.too_few(0.95, validation, 200)) == set(range(200))


def test_many_classes_of_three_images_are_trained_and_evaluated_to_the_end(image_folder, tmp_path):
    """The whole way: train, report, sweep with its choice, at 200 classes of small images."""
    root = image_folder("signs", {f"sign {c:03}": 3 for c in range(202)}, side=8)
    given = compose(dataset="signs", family="custom", trial="t", known=tuple(range(200)), unknown=(200, 201),
                    backbone="small", epochs=1, batch=128, size=8)  # fmt: skip
    run = loop.train(given, tmp_path / "store", root, device="cpu")
    assert run.state == "finished" and run.report()["scorers"]["gamma"]["knowns"] == 200
    table = np.array(judge.report(run)["confusion"])
    assert table.shape == (201, 201) and table.sum() == 202 and table.sum(1)[:200].tolist() == [1] * 200
    swept = sweep.sweep(run, root, temperatures=(1.0,), magnitudes=(0.0, 0.01), device="cpu")
    assert len(swept["cells"]) == 2 and swept["choice"] == {"images": 200, "of": 200}
    assert np.isfinite(swept["chosen"]["gamma"]["pseudo_auroc"])
