"""Where to look first in a data set of one's own, against plain loops."""

import numpy as np
import pytest

from cac_core.results import look
from tests import reference


@pytest.mark.parametrize("counts", [(9, 7, 12), (1, 6, 2), (5, 5, 5)])
def test_doubts_are_those_of_plain_loops(counts, monkeypatch):
    monkeypatch.setattr(look, "BLOCK", 4)
    rng = np.random.default_rng(sum(counts))
    classes = np.repeat(np.arange(len(counts)), counts)
    features = rng.normal(size=(len(classes), 6)) + 2 * np.eye(6)[classes]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    found = look.doubts(features, classes)
    expected = reference.doubts(features.tolist(), classes.tolist(), look.NEIGHBOURS)
    np.testing.assert_array_equal(found.nearest, [one[0] for one in expected])
    np.testing.assert_allclose(found.distance, [one[1] for one in expected], atol=1e-5)
    np.testing.assert_array_equal(found.other, [one[2] for one in expected])
    np.testing.assert_allclose(found.doubt, [one[3] for one in expected], atol=1e-4)


def test_what_lies_among_another_class_comes_first_then_twins():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 1], 10)
    features = 0.1 * rng.normal(size=(20, 30)) + np.eye(30)[classes]
    features[13] = features[14]  # a twin
    features[3] = np.eye(30)[1] + 0.2 * np.eye(30)[7]  # labelled 0, and among the 1
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    first = look.doubts(features, classes).first()
    assert first[0] == 3 and set(first[1:3]) == {13, 14} and sorted(first) == list(range(20))


def test_images_that_are_all_the_same_or_of_one_class_are_no_error():
    same = look.doubts(np.tile([1.0, 0.0], (6, 1)), np.array([0, 0, 0, 1, 1, 1]))
    assert same.twin.all() and np.isfinite(same.doubt).all()
    one = look.doubts(np.eye(4), np.zeros(4, int))
    assert not one.doubt.any() and not one.twin.any()


def test_features_are_kept_by_the_mark_of_a_file(tmp_path):
    assert look.kept(tmp_path, "pets", ["a"]) is None
    file = look.file_of(tmp_path, "pets")
    file.parent.mkdir(parents=True)
    np.savez(file, marks=np.array(["a", "b"]), features=np.eye(2, dtype=np.float16))
    assert look.kept(tmp_path, "pets", ["b", "a"]).tolist() == [[0, 1], [1, 0]]
    assert look.kept(tmp_path, "pets", ["b", "c"]) is None
    file.write_bytes(file.read_bytes()[:40])
    assert look.kept(tmp_path, "pets", ["b"]) is None
