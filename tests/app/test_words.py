"""Words: what a page shows goes through t, and t fills in, falls back and finds the reader's language."""

import ast
import json
import re
import string
from pathlib import Path

import pytest

from app import words
from cac_core.sentences import say, together

APP = Path(__file__).parents[2] / "app"
SHOWN = {
    "badge", "button", "camera_input", "caption", "checkbox", "download_button", "error", "expander", "file_uploader",
    "header", "info", "markdown", "metric", "multiselect", "number_input", "popover", "progress", "radio",
    "segmented_control", "select_slider", "selectbox", "slider", "spinner", "subheader", "success", "tabs", "text_area",
    "text_input", "toast", "toggle", "warning", "write",
}  # fmt: skip
NAMED = ("help", "label", "caption", "alt", "placeholder")


def english(node) -> str:
    """The words of a literal that a reader would read; empty for names, formats and symbols."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    elif isinstance(node, ast.JoinedStr):
        text = " ".join(part.value for part in node.values if isinstance(part, ast.Constant))
    else:
        return ""
    text = re.sub(r":[a-z_/-]+(\[|:)", " ", text)  # icons and badges
    return text.strip() if re.search(r"[a-z]{3,}", text) else ""


def unsaid(source: str) -> list[str]:
    found = []
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in SHOWN:
            parts = call.args[:1] + [k.value for k in call.keywords if k.arg in NAMED]
            found += [f"line {call.lineno}: {text}" for part in parts if (text := english(part))]
    return found


PLAIN = {"JSON", "CSV", "Parquet", "threshold.json", "network.onnx", "network.prepare.py"}  # names of formats and files


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda file: file.stem)
def test_what_a_page_shows_goes_through_t(file):
    assert [said for said in unsaid(file.read_text("utf-8")) if said.split(": ", 1)[1] not in PLAIN] == []


def test_the_check_finds_what_it_is_for():
    bad = (
        'st.markdown("Hello there")\nst.button(t("Fine"), help="not fine")\nst.caption(f"at {x} it keeps")\nst.badge(x)'
    )
    assert [said.split(": ")[0] for said in unsaid(bad)] == ["line 1", "line 2", "line 3"]


def phrases(source: str) -> list[str]:
    calls = [c for c in ast.walk(ast.parse(source)) if isinstance(c, ast.Call) and getattr(c.func, "id", "") == "t"]
    return [(c.args[0].value, {k.arg for k in c.keywords}) for c in calls if isinstance(c.args[0], ast.Constant)]


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda file: file.stem)
def test_every_phrase_is_given_the_values_that_it_names(file):
    for phrase, given in phrases(file.read_text("utf-8")):
        wanted = {name for _, name, _, _ in string.Formatter().parse(phrase) if name}
        assert given in (wanted, set(), {None}), phrase  # {None} is **values


def test_a_catalogue_translates_and_english_fills_its_gaps(tmp_path, monkeypatch):
    (tmp_path / "xx.json").write_text(json.dumps({"Keep {share} %": "{share} % x"}))
    monkeypatch.setattr(words, "HERE", tmp_path)
    words.catalogue.cache_clear()
    words.languages.cache_clear()
    monkeypatch.setattr(words, "language", lambda: "xx")
    assert words.t("Keep {share} %", share=95) == "95 % x" and words.t("Reject") == "Reject"
    assert words.languages() == ["en", "xx"]
    words.catalogue.cache_clear()
    words.languages.cache_clear()


# --- what the core says ----------------------------------------------------------------------------------------------


def shown_in_english(source: str) -> list[str]:
    """Where a call is handed str(error): what shows it must say it in the reader's language, by words.said."""
    tree, found = ast.parse(source), []
    names = {handler.name for handler in ast.walk(tree) if isinstance(handler, ast.ExceptHandler)}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            for part in [*call.args, *(keyword.value for keyword in call.keywords)]:
                if isinstance(part, ast.Call) and ast.unparse(part) in {f"str({name})" for name in names}:
                    found.append(f"line {part.lineno}: {ast.unparse(call)}")
    return found


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda file: file.stem)
def test_errors_are_shown_in_the_readers_language(file):
    assert shown_in_english(file.read_text("utf-8")) == []


def test_the_check_of_errors_finds_what_it_is_for():
    source = "try: f()\nexcept A as e:\n    g(plain(str(e)))\n    h = str(e)\n    plain(said(e))\n"
    assert shown_in_english(source) == ["line 3: plain(str(e))"]


@pytest.fixture
def half_spoken(tmp_path, monkeypatch):
    """A catalogue of a language that lacks some words, as the reader's."""
    held = {
        "{file} cannot be read ({error}). Remove it.": "{file} xx ({error}). Yy.", "it is empty": "zz", ", ": "、",
        "There are: {names}.": "Ww {names}.", "none": "nn", " and ": " & ",
    }  # fmt: skip
    (tmp_path / "xx.json").write_text(json.dumps(held))
    monkeypatch.setattr(words, "HERE", tmp_path)
    monkeypatch.setattr(words, "language", lambda: "xx")
    words.catalogue.cache_clear()
    words._recognised.cache_clear()
    yield
    words.catalogue.cache_clear()
    words._recognised.cache_clear()


def test_an_error_of_the_core_is_said_in_the_readers_language(half_spoken, monkeypatch):
    empty = ValueError(say("it is empty"))
    error = ValueError(say("{file} cannot be read ({error}). Remove it.", file=Path("a"), error=empty))
    assert words.said(error) == "a xx (zz). Yy." and str(error) == "a cannot be read (it is empty). Remove it."
    assert words.said(say("There are: {names}.", names=["b", "c"])) == "Ww b、c."
    assert words.said(say("There are: {names}.", names=say("none"))) == "Ww nn."
    assert words.said(together(["b", "c"], say(" and "))) == "b & c"
    assert words.said(say("Not said {so}.", so="yet")) == "Not said yet."
    monkeypatch.setattr(words, "language", lambda: "en")
    assert words.said(error) == str(error)


def test_a_reason_that_a_file_keeps_is_said_in_the_readers_language(half_spoken):
    assert words.said("a cannot be read (it is empty). Remove it.") == "a xx (zz). Yy."
    assert words.said("There are: b, c.") == "Ww b, c."
    assert words.said("No space left on device") == "No space left on device"
