"""Outputs of networks that were trained elsewhere, as files of several kinds, good and bad."""

import csv
import json
import re
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cac_core.__main__ import main
from cac_core.exchange import import_outputs
from cac_core.results import judge
from cac_core.runs import SPLITS, Run
from cac_core.scoring import metrics
from cac_core.scoring.scorers import judge_of, scorers_for

NAMES = ["cat", "dog", "eel", "fox"]
RNG = np.random.default_rng(7)
CENTRES = RNG.normal(size=(5, 6)) * 3  # the last is of unknowns


def images(known: int, unknown: int = 0) -> dict[str, np.ndarray]:
    labels = np.r_[RNG.integers(0, 4, known), np.full(unknown, -1)]
    features = (CENTRES[labels] + RNG.normal(size=(len(labels), 6))).astype(np.float32)
    return {"features": features, "logits": (features @ CENTRES[:4].T * 0.3 + 1).astype(np.float32), "labels": labels}


PARTS = {"train": images(160), "validation": images(60), "test": images(80, 40)}
HEAD = {"weight": (CENTRES[:4] * 0.3).astype(np.float32), "bias": np.ones(4, np.float32)}


def flat(parts=PARTS, **more) -> dict[str, np.ndarray]:
    return {f"{split}_{name}": array for split, part in parts.items() for name, array in part.items()} | more


@pytest.fixture
def npz(tmp_path):
    def write(name="outputs.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return write


def found(*files, classes=None) -> import_outputs.Read:
    return import_outputs.outputs_of(import_outputs.read(list(files)), classes)


def made(file, store, name="mine", classes=None) -> Run:
    return import_outputs.make(found(file, classes=classes), name, store, file.name)[0]


def table(part: dict, split: str | None = "test", lists: bool = False) -> pd.DataFrame:
    if lists:
        frame = pd.DataFrame({"logits": list(part["logits"]), "features": list(part["features"])})
    else:
        columns = {f"logit_{n}": part["logits"][:, n] for n in range(4)}
        frame = pd.DataFrame(columns | {f"feature_{n}": part["features"][:, n] for n in range(6)})
    frame["label"] = part["labels"]
    if split:
        frame.insert(0, "split", split)
    return frame


# --- what comes in whole ---------------------------------------------------------------------------------------------


def test_a_run_of_everything_is_judged_by_every_score(npz, store):
    file = npz(**flat(**HEAD, classes=np.array(NAMES)))
    run = made(file, store)
    assert run.known_names == NAMES and run.state == "finished" and not run.problem()
    for split in SPLITS:
        np.testing.assert_array_equal(run.outputs(split).logits, PARTS[split]["logits"])
        np.testing.assert_array_equal(run.outputs(split).labels, PARTS[split]["labels"])
    every = scorers_for(run.recipe.method)
    assert {"msp", "vim", "react", "knn", "gradnorm"} <= set(every) and "given" not in every
    aurocs = {
        name: judge.report(run, name)["auroc"] for name in every if name not in ("openmax", "ash_b", "ash_s", "scale")
    }
    assert min(aurocs[name] for name in ("knn", "mahalanobis", "vim")) > 0.95
    with pytest.raises(ValueError, match="none may be below 0"):
        judge.report(run, "scale")
    softmax = np.exp(PARTS["test"]["logits"].astype(float))
    softmax /= softmax.sum(1, keepdims=True)
    by_hand = metrics.Curve(1 - softmax.max(1)[:80], 1 - softmax.max(1)[80:]).auroc()
    assert run.report()["scorers"]["msp"]["auroc"] == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet", "lists", "npz"])
def test_every_kind_of_file_says_the_same(tmp_path, npz, store, kind):
    frame = pd.concat([table(part, split, kind == "lists") for split, part in PARTS.items()])
    file = tmp_path / f"x.{'csv' if kind == 'csv' else 'parquet'}"
    if kind == "csv":
        frame.to_csv(file, index=False)
    elif kind == "npz":
        file = npz(**flat())
    else:
        frame.to_parquet(file)
    read = found(file)
    for split, part in PARTS.items():
        np.testing.assert_allclose(read.outputs[split].logits, part["logits"], rtol=1e-6)
        np.testing.assert_allclose(read.outputs[split].features, part["features"], rtol=1e-6)
        np.testing.assert_array_equal(read.outputs[split].labels, part["labels"])
    assert read.notes == () and read.unknown == ("unknown",)


def test_files_whose_classes_stand_in_another_order_are_not_joined(npz):
    parts = [{name: array for name, array in flat().items() if name.startswith(split)} for split in ("test", "train")]
    files = [npz(f"{n}.npz", classes=np.array(names), **part)
             for n, (part, names) in enumerate(zip(parts, (NAMES, NAMES[::-1]), strict=True))]  # fmt: skip
    with pytest.raises(ValueError, match="do not name the same classes in one order"):
        import_outputs.read(files)


def test_a_file_behind_a_link_is_read(npz, tmp_path, store):
    (link := tmp_path / "latest.npz").symlink_to(npz(**flat(classes=np.array(NAMES)), name="of-today.npz"))
    assert len(made(link, store).outputs("test").labels) == 120


def test_the_same_again_is_there_already_and_other_outputs_are_refused(npz, store):
    file = npz(**flat())
    first, again = (import_outputs.make(found(file), "mine", store, "x.npz") for _ in range(2))
    assert (first[1], again[1]) == (True, False) and first[0] == again[0]
    other = npz("other.npz", **flat({"test": PARTS["test"]}))
    with pytest.raises(ValueError, match="Give another name"):
        made(other, store)
    for name in ("../x", "Mine", "", "digits"):
        with pytest.raises(ValueError, match=r"small letters|known by this name"):
            made(file, store, name)
    assert [path.name for path in store.iterdir() if not path.name.startswith(".")] == ["imported-mine"]


def test_unknown_classes_keep_their_names_and_labels_may_be_names(tmp_path, store):
    frame = table(PARTS["test"], None)
    frame["label"] = [
        NAMES[label] if label >= 0 else ("owl", "<b>ray</b>")[n % 2] for n, label in enumerate(frame.label)
    ]
    frame.to_csv(tmp_path / "t.csv", index=False)
    run = made(tmp_path / "t.csv", store, classes=NAMES)
    test = run.outputs("test")
    assert sorted(run.class_names[4:]) == ["<b>ray</b>", "owl"] and (test.labels < 0).sum() == 40
    assert {run.class_names[c] for c in test.classes[test.labels < 0]} == {"<b>ray</b>", "owl"}
    with pytest.raises(ValueError, match="--classes FILE"):
        found(tmp_path / "t.csv")


# --- what is missing costs what needs it -----------------------------------------------------------------------------


def test_test_images_alone_are_enough_for_theta_and_what_reads_logits(npz, store):
    run = made(npz(**PARTS["test"]), store)  # no part named: test
    assert (
        run.validated_on == "half of the test images"
        and "set aside for θ" in run.report()["scorers"]["msp"]["theta_rule"]
    )
    kept = [(run.outputs(split).labels >= 0).sum() for split in SPLITS]
    assert sum(kept) == 80 and abs(kept[2] - 40) <= 4 and abs(kept[0] - kept[1]) <= 4
    assert (run.outputs("test").labels < 0).sum() == 40
    assert all("auroc" in run.report()["scorers"][name] for name in ("energy", "knn", "gamma"))
    assert any("There is no training part" in note for note in run.record["notes"])
    every = np.concatenate([run.outputs(split).logits for split in SPLITS])
    assert sorted(every.tolist()) == sorted(PARTS["test"]["logits"].tolist())  # each once


def test_without_unknowns_theta_is_there_and_no_auroc(npz, store):
    known = {name: values[:80] for name, values in PARTS["test"].items()}
    run = made(npz(**flat(PARTS | {"test": known})), store)
    numbers = run.report()["scorers"]["msp"]
    assert numbers.get("auroc") is None and numbers["theta"] is not None and run.trial.unknown == ()


def test_a_head_that_does_not_fit_is_left_out_and_that_is_said(npz, store):
    for wrong in ({"weight": HEAD["weight"] * 2}, {"weight": HEAD["weight"], "bias": np.zeros(4, np.float32)}):
        read = found(npz(**flat(**wrong)))
        assert read.outputs["train"].head is None and "do not make the logits" in read.notes[0]


def test_openoods_score_files_as_they_are(npz, store):
    test = PARTS["test"]
    conf = test["logits"].max(1)
    known, unknown = (
        npz(f"{name}.npz", pred=test["logits"].argmax(1)[part], conf=conf[part], label=test["labels"][part])
        for name, part in (("cifar", slice(80)), ("texture", slice(80, None)))
    )
    read = found(known, unknown)
    run, _ = import_outputs.make(read, "scores", store, "cifar.npz, texture.npz")
    report = run.report()
    assert report["default"] == "given" and list(report["scorers"]) == ["given"]
    out = run.outputs("test")
    assert report["scorers"]["given"]["auroc"] == pytest.approx(
        metrics.Curve(out.given[out.labels >= 0], out.given[out.labels < 0]).auroc()
    )
    assert sorted(out.given[out.labels < 0]) == pytest.approx(sorted(-conf[80:]))
    with pytest.raises(ValueError, match="without features"):
        judge.report(run, "knn")


def test_pictures_are_kept_of_files_below_the_folder_alone(npz, store, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (9, 9), (200, 0, 0)).save(folder / "red.png")
    Image.new("RGB", (9, 9), (0, 0, 200)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "text.png").write_text("no image")
    names = ["red.png", "../secret.png", str(tmp_path / "secret.png"), "link.png", "text.png", "gone.png", "\0.png"]
    part = PARTS["test"] | {"files": np.array([names[n % 7] for n in range(120)])}
    file = npz(**flat(PARTS | {"test": part}))
    run, _ = import_outputs.make(found(file), "seen", store, file.name, folder)
    pixels = run.pictures()
    assert pixels.shape == (120, 32, 32, 3) and (pixels[::7] == (200, 0, 0)).all()
    assert not np.delete(pixels, np.arange(0, 120, 7), 0).any()
    assert ["51 files lie outside" in run.record["notes"][0], "51 files are not there" in run.record["notes"][1]] == [
        True
    ] * 2
    none, _ = import_outputs.make(found(file), "unseen", store, file.name, tmp_path / "nowhere")
    assert none.pictures() is None


# --- judge -----------------------------------------------------------------------------------------------------------


def test_theta_of_scores_alone_rests_on_all_that_are_set_aside_for_it(npz):
    """Nothing is fitted on training images there, so one a class is enough for them."""
    part, known = PARTS["test"], PARTS["test"]["labels"] >= 0
    file = npz(conf=part["logits"].max(1), pred=part["logits"].argmax(1), label=part["labels"])
    outputs = found(file).outputs
    half = sum(np.bincount(part["labels"][known]) // 2)
    assert (len(outputs["train"]), len(outputs["validation"])) == (4, half - 4)


@pytest.mark.parametrize("scorer", ["msp", "knn", "energy"])
def test_new_outputs_are_judged_by_a_threshold(npz, store, tmp_path, capsys, scorer):
    run = made(npz(**flat(**HEAD, classes=np.array(NAMES))), store)
    theta = metrics.theta_at(0.95, judge_of(scorer, run.outputs("train"))(run.outputs("validation")).score)
    threshold = judge.Threshold(run.id, scorer, {}, theta, "so")
    (tmp_path / "threshold.json").write_text(json.dumps(threshold.record(run)))
    new = images(10, 10)
    file = npz("new.npz", logits=new["logits"], features=new["features"])
    words = ["judge", str(run.path), str(file), "--threshold", str(tmp_path / "threshold.json")]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    by_run = threshold.judged(run, new["logits"], new["features"])
    assert [one["decision"] for one in said["images"]] == [one["decision"] for one in by_run]
    assert [one["score"] for one in said["images"]] == pytest.approx([one["score"] for one in by_run])
    assert said["unknown"] == sum(one["decision"] == "unknown" for one in by_run)
    assert main([*words, "--out", str(tmp_path / "verdicts.csv")]) == 0
    with open(tmp_path / "verdicts.csv", newline="") as written:
        assert [row["decision"] for row in csv.DictReader(written)] == [one["decision"] for one in by_run]


def test_outputs_of_another_network_are_not_judged(npz, store, tmp_path, capsys):
    run = made(npz(**flat()), store)
    (tmp_path / "threshold.json").write_text(json.dumps(judge.Threshold(run.id, "msp", {}, 0.5, "so").record(run)))
    for arrays, says in (
        ({"logits": np.zeros((3, 5), np.float32)}, "5 logits an image"),
        ({"logits": PARTS["test"]["logits"], "features": np.zeros((120, 3), np.float32)}, "3 features an image"),
        ({"features": np.zeros((3, 6), np.float32)}, "There are no logits of new images"),
    ):
        assert main(
            ["judge", str(run.path), str(npz("n.npz", **arrays)), "--threshold", str(tmp_path / "threshold.json")]
        )
        assert says in capsys.readouterr().err


def test_scores_alone_are_judged_too(npz, store, tmp_path, capsys):
    test = PARTS["test"]
    run = made(npz(scores=-test["logits"].max(1), predictions=test["logits"].argmax(1), labels=test["labels"]), store)
    (tmp_path / "threshold.json").write_text(json.dumps(judge.Threshold(run.id, "given", {}, -2.5, "so").record(run)))
    file = npz("new.npz", scores=np.array([-3.0, -2.0]), predictions=np.array([1, 0]))
    assert main(["judge", str(run.path), str(file), "--threshold", str(tmp_path / "threshold.json"), "--json"]) == 0
    assert [one["decision"] for one in json.loads(capsys.readouterr().out)["images"]] == ["1", "unknown"]


# --- bad input -------------------------------------------------------------------------------------------------------


def changed(split, name, change) -> dict:
    parts = {key: dict(part) for key, part in PARTS.items()}
    parts[split][name] = change(parts[split][name].copy())
    return flat(parts)


def with_nan(values):
    values[3, 1] = np.nan
    return values


def softmaxed(values):
    shares = np.exp(values - values.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("arrays, says", [
    (lambda: changed("test", "labels", lambda y: y[:-1]), r"test_labels must be number or str .Test=120."),
    (lambda: changed("test", "logits", with_nan), "1 of 120 images .* not finite, first those of image 3"),
    (lambda: changed("train", "logits", lambda z: z[:, :3]), "must be number"),
    (lambda: changed("test", "labels", lambda y: np.where(y < 0, -1, y + 1)), "count classes from 0"),
    (lambda: changed("test", "labels", lambda y: np.where(y < 0, 9, y)), "has the label 9"),
    (lambda: changed("test", "labels", lambda y: y + 0.5), "neither whole numbers nor names"),
    (lambda: changed("test", "logits", lambda z: np.eye(4, dtype=np.float32)[z.argmax(1)]), "they are decisions"),
    (lambda: changed("test", "features", lambda f: f * np.nan), "features are not finite"),
    (lambda: {"nothing": np.zeros(3)}, "it holds none of"),
    (lambda: {"test_logits": PARTS["test"]["logits"]}, "has no labels"),
    (lambda: flat({"train": PARTS["train"]}), "nothing for the part test"),
    (lambda: {"logits": np.zeros((5, 1), np.float32), "labels": np.zeros(5, int)}, "2 to 10000 classes"),
    (lambda: {"logits": np.zeros((5, 2), np.float32), "labels": np.full(5, -1)}, "too few images to judge by"),
    (lambda: flat(classes=np.array(["a", "a", "b", "c"])), "as many different class names"),
    (lambda: {"scores": np.zeros(5), "labels": np.zeros(5, int)}, "no scores .or conf. with predictions"),
    (lambda: {"test_label": np.zeros(5, int), "test_labels": np.zeros(5, int)}, "under two names"),
    (lambda: {"scores": np.array([np.inf]), "predictions": np.array([0]), "labels": np.array([0])}, "not finite"),
])  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_left(npz, store, tmp_path, capsys, arrays, says):
    file = npz(**arrays())
    assert main(["import-outputs", str(file), "--name", "mine", "--runs", str(store)]) == 1
    assert re.search(says, capsys.readouterr().err)
    assert not (store / "imported-mine").exists()


def test_probabilities_are_noticed_and_become_logarithms(npz, store):
    parts = {split: part | {"logits": softmaxed(part["logits"])} for split, part in PARTS.items()}
    read = found(npz(**flat(parts)))
    assert sum("taken for probabilities" in note for note in read.notes) == 3
    score = judge_of("msp", read.outputs["train"])(read.outputs["test"]).score
    np.testing.assert_allclose(score, 1 - parts["test"]["logits"].max(1), atol=1e-5)


def test_whole_numbers_and_halves_are_logits_too(npz):
    for kind in (np.int64, np.float16):
        parts = {split: part | {"logits": (part["logits"] * 10).astype(kind)} for split, part in PARTS.items()}
        read = found(npz(**flat(parts)))
        np.testing.assert_array_equal(read.outputs["test"].logits, parts["test"]["logits"].astype(np.float32))


def test_unknown_images_among_training_and_validation_are_left_out_and_counted(npz):
    read = found(npz(**flat(PARTS | {"train": images(100, 5), "validation": images(50, 7)})))
    assert [len(read.outputs[split]) for split in ("train", "validation")] == [100, 50]
    assert ["5 unknown" in read.notes[0], "7 unknown" in read.notes[1]] == [True, True]


@pytest.mark.parametrize(
    "content", [b"", b"junk, no table\n\0\1\2", b"PK\3\4 broken", b"PAR1 broken PAR1", b"a,b\n1,2\n"]
)
def test_what_is_no_table_of_outputs_is_refused(tmp_path, content):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.csv cannot be imported"):
        found(tmp_path / "x.csv")


def test_a_folder_is_named_that_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=f"^{tmp_path.name} cannot be imported"):
        found(tmp_path)


def test_pickled_arrays_are_not_run(tmp_path):
    np.savez(tmp_path / "x.npz", logits=np.array([{"a": 1}], object), labels=np.zeros(1, int))
    with pytest.raises(ValueError, match="more than numbers, which is not run"):
        found(tmp_path / "x.npz")


def test_a_file_that_says_more_than_may_be_held_is_refused_before_it_is_read(tmp_path):
    head = np.lib.format.magic(1, 0)
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 10), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as packed:
        packed.writestr("logits.npy", head + len(text).to_bytes(2, "little") + text)
    with pytest.raises(ValueError, match="is not as large as it says"):
        found(tmp_path / "x.npz")


@pytest.mark.parametrize("text, says", [
    ("split,label,logit_0,logit_1\nhold-out,0,1,2\n", "the column split says"),
    ("label,logit_0,logit_2\n0,1,2\n", "not numbered from 0 on"),
    ("label,logit_0,logit_1\n0,1,many\n", "something else than numbers"),
    ("name,value\nx,1\n", "it has no columns such as"),
    ("label,logit_0,logit_1\n", "it has no rows"),
    ("label,logit_0,logit_1\ncat,1,2\n,1,2\n", "1 of its images have no label"),
    ("label,logit_0,logit_1\n0,1,2\n,1,2\n", "1 of its images have no label"),
    ("label,labels,logit_0,logit_1\n0,1,1,2\n", "label and labels"),
    ("label,logit_0,logit_1,logit1\n0,1,1,2\n", "logit_1 and logit1"),
    ("label,logits,logit_0,logit_1\n0,1,1,2\n", "logits and logit_0"),
    ("split,label,logit_0,logit_1\ntest,0,1,2\n,0,1,2\nelse,0,1,2\n", "the column split says"),
    ("split,part,label,logit_0,logit_1\ntest,test,0,1,2\n", "split and part"),
])  # fmt: skip
def test_a_table_that_is_wrong_says_where(tmp_path, text, says):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        found(tmp_path / "x.csv")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_two_columns_of_one_name_are_the_same_thing(tmp_path, ending):
    """Also where who reads a table gives the second another name."""
    file = tmp_path / f"twice.{ending}"
    columns = {"label": [0, 1], "logit_0": [2.0, 1.0], "logit_1": [1.0, 2.0], "other": [1.0, 2.0]}
    names = [*columns, "logit_1"]
    if ending == "csv":
        file.write_text(",".join(names) + "\n0,2,1,1,3\n1,1,2,2,3\n")
    else:
        pq.write_table(pa.table([*columns.values(), [3.0, 3.0]], names=names), file)
    with pytest.raises(ValueError, match="its columns logit_1 and logit_1 are the same thing"):
        import_outputs.read([file])


def test_dates_are_no_logits(tmp_path):
    frame = table(PARTS["test"]).assign(logit_1=pd.Timestamp("2026-01-01"))
    frame.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"logit_1.*something else than numbers"):
        found(tmp_path / "x.parquet")


@pytest.mark.parametrize("name, how", [
    ("semicolons.csv", {"sep": ";"}), ("german.csv", {"sep": ";", "decimal": ","}), ("tabs.csv", {"sep": "\t"}),
    ("tabs.tsv", {"sep": "\t"}), ("mark.csv", {"encoding": "utf-8-sig"}),
    ("mark.tsv", {"sep": "\t", "encoding": "utf-8-sig"}),
])  # fmt: skip
def test_tables_as_spreadsheets_write_them(tmp_path, name, how):
    frame = pd.concat([table(part, split) for split, part in PARTS.items()])
    frame.to_csv(tmp_path / name, index=False, **how)
    read = found(tmp_path / name).outputs["test"]
    np.testing.assert_allclose(read.logits, PARTS["test"]["logits"], rtol=1e-5)
    np.testing.assert_array_equal(read.labels, PARTS["test"]["labels"])


def test_class_names_stay_whole_and_may_be_what_pandas_takes_for_nothing(tmp_path):
    names = ["NA", "None", "null", "n/a"]
    frame = table(PARTS["test"])
    frame["label"] = [names[label] if label >= 0 else "truck" for label in frame["label"]]
    frame.to_csv(tmp_path / "x.csv", index=False)
    read = found(tmp_path / "x.csv", classes=names)
    assert (read.known, read.unknown) == (tuple(names), ("truck",))


def test_a_hundred_classes_and_many_rows_are_read_in_pieces(tmp_path, monkeypatch, store):
    monkeypatch.setattr(import_outputs, "PIECE", 100)
    logits = RNG.normal(size=(1050, 100)).astype(np.float32)
    frame = pd.DataFrame({f"logit_{n}": logits[:, n] for n in range(100)})
    frame["label"] = np.where(np.arange(1050) < 1000, np.arange(1050) % 100, -1)
    frame.to_csv(tmp_path / "x.csv", index=False)
    run = made(tmp_path / "x.csv", store)
    assert len(run.trial.known) == 100 and len(run.outputs("test")) == 550
    monkeypatch.setattr(import_outputs, "MOST_ARRAYS", 10_000)
    with pytest.raises(ValueError, match="larger than"):
        found(tmp_path / "x.csv")


def test_there_is_no_network_and_that_is_said(npz, store, tmp_path, capsys):
    run = made(npz(**flat()), store)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    assert main(["predict", str(run.path), str(tmp_path / "x.png")]) == 1
    assert "outputs alone" in capsys.readouterr().err
    assert main(["eval", str(run.path), "--json"]) == 0 and json.loads(capsys.readouterr().out)["scorer"] == "msp"
