"""Tags on the images of a data set: kept in one step, read by every run, never written in a show."""

import csv
import io
import json
import threading

import pytest

from cac_core.data import datasets
from cac_core.exchange import tags


def test_tags_are_kept_and_taken_off_again(tmp_path):
    assert tags.read(tmp_path, "digits") == {}
    tags.put(tmp_path, "digits", "mislabelled", ["test-3", "test-1"])
    tags.put(tmp_path, "digits", "  my \n word ", ["test-3"])
    tags.put(tmp_path, "digits", "mislabelled", ["test-3", "test-20"])
    assert tags.read(tmp_path, "digits") == {"mislabelled": {"test-1", "test-3", "test-20"}, "my word": {"test-3"}}
    assert tags.read(tmp_path, "MNIST") == {}
    tags.take(tmp_path, "digits", "my word", ["test-3", "test-4"])
    tags.take(tmp_path, "digits", "mislabelled", ["test-1"])
    assert tags.read(tmp_path, "digits") == {"mislabelled": {"test-3", "test-20"}}
    assert json.loads(tags.file_of(tmp_path, "digits").read_text()) == {"mislabelled": ["test-20", "test-3"]}
    assert datasets.folders(tmp_path) == []  # where they lie is no data set


@pytest.mark.parametrize("tag, why", [("", "empty"), (" \t\n", "empty"), ("\x00\u200b", "empty"), ("x" * 41, "41")])
def test_what_is_no_tag_is_said(tmp_path, tag, why):
    with pytest.raises(ValueError, match=why):
        tags.put(tmp_path, "digits", tag, ["test-1"])
    assert not tags.file_of(tmp_path, "digits").exists()


def test_there_is_an_end_to_tags(tmp_path):
    for n in range(tags.MOST):
        tags.put(tmp_path, "digits", f"tag {n}", ["test-1"])
    with pytest.raises(ValueError, match="at most"):
        tags.put(tmp_path, "digits", "one more", ["test-1"])
    tags.put(tmp_path, "digits", "tag 0", ["test-2"])  # one that is there is still given


@pytest.mark.parametrize("content", ["[]", '{"a": 1}', '{"a": [1]}', "{"])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, content):
    file = tags.file_of(tmp_path, "digits")
    file.parent.mkdir()
    file.write_text(content)
    for act in (lambda: tags.read(tmp_path, "digits"), lambda: tags.put(tmp_path, "digits", "a", ["test-1"])):
        with pytest.raises(ValueError, match="is no record of tags"):
            act()
    assert file.read_text() == content


def test_nothing_is_written_in_a_show(tmp_path, monkeypatch):
    tags.put(tmp_path, "digits", "interesting", ["test-1"])
    monkeypatch.setenv("ANCHORSCOPE_READONLY", "1")
    for act in (tags.put, tags.take):
        with pytest.raises(ValueError, match="change nothing"):
            act(tmp_path, "digits", "interesting", ["test-1", "test-2"])
    assert tags.read(tmp_path, "digits") == {"interesting": {"test-1"}}


def test_many_tag_at_once_and_nothing_is_lost(tmp_path):
    def tag(n):
        for i in range(5):
            tags.put(tmp_path, "digits", "interesting", [f"test-{10 * n + i}"])

    everyone = [threading.Thread(target=tag, args=(n,)) for n in range(6)]
    for one in everyone:
        one.start()
    for one in everyone:
        one.join()
    assert len(tags.read(tmp_path, "digits")["interesting"]) == 30


def test_tags_go_out_as_a_table():
    found = {"mislabelled": frozenset(["=cat/1.png", "test-1"]), "interesting": frozenset(["test-1"])}
    assert list(csv.reader(io.StringIO(tags.as_csv(found)))) == [
        ["image", "tag"], ["'=cat/1.png", "mislabelled"], ["test-1", "interesting"], ["test-1", "mislabelled"]
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["", "train"])
def test_images_of_a_folder_are_called_by_their_paths(image_folder, part):
    for one in [part, "test"] if part else [""]:
        root = image_folder("pets", {"cat": 9, "dog": 7}, part=one)
    found, images = datasets.paths("pets", root), datasets.load("pets", root)
    assert {name: len(some) for name, some in found.items()} == {name: len(some) for name, some in images.items()}
    for name, some in found.items():
        classes = [("cat", "dog")[c] for c in images[name].classes]
        assert [path.split("/")[-2] for path in some] == classes
        assert all((root / "pets" / path).is_file() for path in some)
    assert datasets.paths("digits", root) == {}


@pytest.mark.parametrize("name", ["", ".changes", "../elsewhere", "a/b", "a\\b", "c:d"])
def test_a_name_leads_nowhere_else(tmp_path, name):
    with pytest.raises(ValueError, match="no name of a data set"):
        tags.put(tmp_path, name, "interesting", ["test-1"])
    assert not list(tmp_path.iterdir())
