"""One theta for each class, and thresholds to take along."""

import functools
import json

import numpy as np
import pytest

from cac_core import records, runs
from cac_core.data import datasets
from cac_core.results import judge, sweep
from cac_core.results.judge import Threshold
from cac_core.scoring import metrics
from cac_core.scoring.outputs import Verdict
from cac_core.scoring.scorers import judge_of
from cac_core.serving import parted
from tests import reference
from tests.scoring.test_scorers import cross_validated


@pytest.fixture
def verdict():
    rng = np.random.default_rng(0)
    return Verdict(rng.gamma(2, 1, 400).round(1), rng.integers(0, 3, 400))


def test_each_class_keeps_its_share(verdict):
    thetas = judge.thetas_at(0.9, verdict, 4)
    for c in range(3):
        assert thetas[c] == reference.theta_at("0.9", verdict.score[verdict.label == c].tolist())
    assert thetas[3] == metrics.theta_at(0.9, verdict.score)  # nothing is nearest to it
    assert judge.too_few(0.9, verdict, 4) == {3: 9}


def test_a_class_of_too_few_images_takes_the_theta_of_all():
    verdict = Verdict(np.arange(50.0), np.r_[np.zeros(19, int), np.ones(18, int), np.full(13, 2)])
    thetas = judge.thetas_at(0.95, verdict, 3)
    assert thetas.tolist() == [18, 48, 48] and metrics.theta_at(0.95, verdict.score) == 48
    assert judge.too_few(0.95, verdict, 3) == {1: 1, 2: 6}


@pytest.mark.parametrize(
    ("kept", "n", "said"),
    [
        (0.95, 19, "keeps 95 % of new knowns on average, by 19 images held out of training"),
        (0.95, 8, "the largest score of 8 images held out of training: too few to keep 95 % of new knowns, which takes "
         "11 more"),
        (0.995, 8, "the largest score of 8 images held out of training: too few to keep 99.5 % of new knowns, which "
         "takes 191 more"),
        (1, 500, "the largest score of 500 images held out of training: no number of images promises 100 %"),
    ],
)  # fmt: skip
def test_the_rule_says_what_theta_promises_and_by_what(make_run, kept, n, said):
    assert judge.rule_of(make_run(), kept, n) == said


@pytest.mark.parametrize("trained_on", ["all", None])
@pytest.mark.parametrize("validated_on", [datasets.PUBLISHED, datasets.SET_ASIDE, None])
def test_theta_never_promises_anything_by_images_that_were_trained_on(make_run, trained_on, validated_on):
    run = make_run()
    more = {"trains_on": trained_on, "validated_on": validated_on}
    runs.write_json(run.path / "recipe.json", run.record | {k: v for k, v in more.items() if v})
    said = judge.report(run)["theta_rule"]
    seen = trained_on == "all" and not validated_on
    assert ("of new knowns on average" in said) != seen
    assert ("trained on, and fewer of new knowns" in said and f"eval {run.id} --again" in said) == seen
    record = Threshold(run.id, "gamma", {}, 1.5, said).record(run)
    assert record["validated_on"] == run.validated_on and record["rule"] == said


def test_beyond_zero_is_beyond_the_theta_of_ones_class(verdict):
    thetas = judge.thetas_at(0.9, verdict, 3)
    moved = judge.beyond(thetas, verdict)
    for i in range(400):
        assert (moved.score[i] > 0) == (verdict.score[i] > thetas[verdict.label[i]])


@pytest.mark.parametrize(
    ("scorer", "options"),
    [("gamma", {"temperature": 2.0}), ("distance", {"centres": "anchors"}), ("msp", {}), ("mahalanobis", {})],
)
def test_what_is_said_of_an_image_of_a_fold_is_what_it_is_judged_by(make_run, scorer, options):
    run = make_run()
    cross_validated(run)
    out = run.outputs("validation")
    verdict = judge_of(scorer, run.outputs("train"), **options)(out)
    said = judge.said_of(run, out.logits, out.features, scorer, fold=out.fold, **options)
    np.testing.assert_allclose([one["score"] for one in said], verdict.score, rtol=1e-9)
    assert {one["theta"] for one in said} == {metrics.theta_at(judge.KEPT, verdict.score)}
    own = {"gamma": "gamma", "distance": "distances", "msp": None, "mahalanobis": None}[scorer]
    for one in said:
        assert one["by_class"] is not None
        assert own is None or min(one[own].values()) == pytest.approx(one["score"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of what makes it none
def test_a_score_that_is_no_number_is_unknown(make_run):
    run = make_run()
    test = run.outputs("test")
    said = judge.said_of(run, test.logits[:5], test.features[:5], "msp", 0.5, temperature=1e-310)
    assert {one["decision"] for one in said} == {"unknown"} and all(np.isnan(one["score"]) for one in said)


@pytest.mark.parametrize("thetas", [None, (0.5, 3.0, 0.1, 2.0)])
def test_a_threshold_decides_as_said_after_a_round_trip(make_run, tmp_path, thetas):
    run = make_run()
    threshold = Threshold(
        run.id, "gamma", {"centres": "anchors", "temperature": 2.0}, 1.5, "by hand", thetas, 0.01, 3.0, way="picture"
    )
    file = tmp_path / "threshold.json"
    file.write_text(json.dumps(threshold.record(run)))
    again = judge.threshold_from(file, run)
    assert again == threshold
    test = run.outputs("test")
    said = again.judged(run, test.logits, test.features)
    verdict = judge_of("gamma", run.outputs("train"), **threshold.options)(test)
    for i, one in enumerate(said):
        limit = thetas[verdict.label[i]] if thetas else 1.5
        assert one["theta"] == limit and (one["decision"] == "unknown") == (verdict.score[i] > limit)


def test_a_threshold_file_tells_how_images_are_prepared_and_where_the_centres_lie(make_run):
    run = make_run()
    record = Threshold(run.id, "gamma", {"centres": "anchors", "temperature": 1.0}, 1.5, "by hand").record(run)
    assert record["classes"] == run.known_names and np.array_equal(record["centres"], 10 * np.eye(4))
    prepare = {"size": 16, "grain": 8, "channels": 1, "ink": True, "made": 8, "as": "drawing"}
    assert record["prepare"] == prepare and record["mean"] == [0.3]


def test_a_threshold_has_all_options_of_its_score_and_files_that_do_not_say_them_are_read(make_run, tmp_path):
    run, file = make_run(), tmp_path / "threshold.json"
    short, whole = (judge.threshold_of(run, "gamma", said) for said in ({}, judge.scorer_options("gamma")))
    assert short == whole and short.record(run)["centres"] is not None
    assert judge.threshold_of(run, "gen", {"top": 3}).options == {"power": 0.1, "top": 3}
    file.write_text(json.dumps(short.record(run) | {"options": {}, "centres": None}))  # as they once were
    assert judge.threshold_from(file, run).record(run) == whole.record(run)
    assert parted._threshold_file(tmp_path, run, whole) == tmp_path / "_threshold.json"
    file.replace(tmp_path / "_threshold.json")
    assert parted._threshold_file(tmp_path, run, whole) == tmp_path / "_threshold.json"


@pytest.mark.parametrize(
    ("validated_on", "scorer", "said"),
    [(datasets.FOLDS, "gamma", "learnt from all .* --theta"), (datasets.HELD_OUT, "knn", "knn goes by features")],
)
def test_no_theta_for_perturbed_images_where_there_is_none_to_be_had(make_run, validated_on, scorer, said):
    run = make_run()
    runs.write_json(run.path / "recipe.json", run.record | {"validated_on": validated_on})
    for moved in (functools.partial(sweep.moved_validation, run, None), None):
        with pytest.raises(ValueError, match=said if moved or scorer == "knn" else "give these"):
            judge.threshold_of(run, scorer, {}, magnitude=0.01, moved=moved)


def test_a_threshold_takes_along_what_pictures_are_taken_for(make_run, tmp_path):
    run, file = make_run(), tmp_path / "threshold.json"
    record = Threshold(run.id, "msp", {"temperature": 1.0}, 0.5, "by hand").record(run)
    for said, way in (("picture", "picture"), ("drawing", "drawing"), (None, "picture")):  # None: before it was said
        record["prepare"].pop("as", None)
        record["prepare"] |= {"as": said} if said else {}
        file.write_text(json.dumps(record))
        assert judge.threshold_from(file, run).way == way
    file.write_text(json.dumps(record | {"prepare": record["prepare"] | {"as": "scan"}}))
    with pytest.raises(ValueError, match="not as 'scan'"):
        judge.threshold_from(file, run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "else"}, "its format is 'else'"),
        ({"run": "other"}, "belongs to the run other"),
        ({"scorer": "magic"}, "no scorer 'magic'"),
        ({"options": {"k": 3}}, "no option k"),
        ({"options": {"temperature": 10**400}}, "options.temperature must be a whole number"),
        ({"options": {"temperature": []}}, "temperature must be a number"),
        ({"options": {"centres": "edges"}}, "no kind of centres"),
        ({"theta": "high"}, "theta must be a number, not 'high'"),
        ({"theta": "1.5"}, "theta must be a number, not '1.5'"),
        ({"theta": True}, "theta must be a number, not True"),
        ({"theta": None}, "theta must be a number, not None"),
        ({"theta": float("nan")}, "theta must be a number, not nan"),
        ({"theta": float("inf")}, "theta must be a number, not inf"),
        ({"theta": 10**400}, "theta must be a number, not 1000"),
        ({"thetas": [1.0]}, "its thetas by class are others"),
        ({"thetas": [1.0, "2", 3.0, 4.0]}, "thetas.1 must be a number"),
        ({"magnitude": -0.5}, "magnitude must be a number from 0 to 1"),
        ({"temperature": 0}, "temperature must be a number from"),
        ({"oracle": "no"}, "oracle must be true or false"),
        ({"classes": ["0", "1", "2", "7"]}, "class names, or their order, are others"),
        ({"classes": ["1", "0", "2", "3"]}, "class names, or their order, are others"),
        ({"classes": ["0", "1", "2"]}, "class names, or their order, are others"),
        ({"centres": None}, "its centres are others"),
        ({"centres": [[0, 0, 0, 0]] * 4}, "its centres are others"),
        ({"centres": [[1e300] * 4] * 4}, "its centres are others"),
        ({"centres": [[1], [2, 3], [], [4]]}, "its centres are others"),
        ({"mean": [0.4]}, "its mean and std are others"),
        ({"std": [0.4, 0.4, 0.4]}, "its mean and std are others"),
        ({"prepare": {"size": 32, "grain": 8, "channels": 1, "ink": True}}, "preparation of images are others"),
        ({"prepare": {"size": 16, "grain": 8, "channels": 1, "ink": False}}, "preparation of images are others"),
        ({"prepare": {"size": 16, "grain": 8, "channels": 1, "ink": True, "blur": 3}}, "of images are others"),
        ({"prepare": {}}, "prepare must be an object with channels, grain, ink, size"),
        ({"mean": None}, "mean must be a list"),
    ],
)
def test_a_wrong_threshold_file_is_refused(make_run, tmp_path, change, said):
    run, file = make_run(), tmp_path / "threshold.json"
    record = Threshold(run.id, "gamma", {"centres": "means", "temperature": 1.0}, 1.5, "by hand").record(run)
    file.write_text(json.dumps(record | change))
    with pytest.raises(ValueError, match=said):
        judge.threshold_from(file, run)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00\xff"])
def test_what_is_no_threshold_file_is_refused(make_run, tmp_path, text):
    file = tmp_path / "threshold.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="is no threshold of Anchorscope"):
        judge.threshold_from(file, make_run())
    with pytest.raises(FileNotFoundError, match="no threshold file"):
        judge.threshold_from(tmp_path / "none.json", make_run())


def test_a_report_of_every_score_reads_what_the_run_is_once(make_run, monkeypatch):
    run, asked = make_run(), []
    read = records.read

    def counted(file, *rest, **how):
        asked.append(file.name)
        return read(file, *rest, **how)

    monkeypatch.setattr(records, "read", counted)
    assert len(judge.report_all(run)["scorers"]) > 5
    assert asked.count("recipe.json") == 1
