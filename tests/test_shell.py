"""Commands that are shown: each runs where it is copied to, whatever folders whoever shows it was given."""

import ast
import os
import re
import shlex
from pathlib import Path

import pytest

from cac_core import __main__, shell

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A store and a data root whose names a shell would take apart."""
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(tmp_path / "my store"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path / "my data"))
    return str(tmp_path / "my store"), str(tmp_path / "my data")


def given(line: str) -> tuple[str | None, str | None]:
    """The store and the data root that a command names."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "cac_core"]
    arguments, _ = __main__._parser().parse_known_args(words[3:])
    return arguments.runs, arguments.data


def test_a_command_names_the_folders_that_a_plain_shell_does_not_know(folders):
    store, root = folders
    assert given(shell.command("eval", "run", "--again")) == (store, root)
    assert given(shell.command("judge", "run", "FILE", "--threshold", "t.json")) == (store, None)
    assert given(shell.command("fetch", "MNIST")) == (None, root)
    assert given(shell.command("fetch", "MNIST", "--data", "there")) == (None, "there")
    assert given(shell.command("work", "--runs", "there")) == ("there", None)
    assert given(shell.command("serve", "run", "--keep")) == (store, root)


def test_a_run_by_its_path_and_an_exported_file_need_no_store(folders):
    store, root = folders
    assert given(shell.command("eval", Path(store) / "run")) == (None, root)
    assert shlex.split(shell.command("eval", Path(store) / "run"))[4] == f"{store}/run"
    assert shell.command("serve", "--onnx", "a.onnx") == "python -m cac_core serve --onnx a.onnx"
    assert given(shell.command("export", "run", "--onnx", "a.onnx")) == (store, root)


def test_the_usual_folders_are_not_named(monkeypatch):
    for name in ("ANCHORSCOPE_RUNS", "ANCHORSCOPE_DATA"):
        monkeypatch.delenv(name, raising=False)
    assert shell.command("eval", "run") == "python -m cac_core eval run"
    monkeypatch.setenv("ANCHORSCOPE_RUNS", os.path.abspath("checkpoints"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", "data")
    assert shell.command("eval", "run") == "python -m cac_core eval run"


def test_what_is_told_of_commands_is_true_of_those_that_there_are():
    (commands,) = (one for one in __main__._parser()._actions if one.dest == "command")
    assert {*shell.NO_DATA, *shell.NO_RUNS} <= set(commands.choices)


@pytest.mark.parametrize(
    "file", sorted({*ROOT.glob("app/**/*.py"), *ROOT.glob("cac_core/**/*.py")}), ids=lambda file: file.name
)
def test_no_command_is_written_out_elsewhere(file):
    tree = ast.parse(file.read_text("utf-8"))
    told = [ast.get_docstring(node, clean=False) for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]  # fmt: skip
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [text for text in texts if re.search("-m cac_core [a-z]", text) and text not in told]
