"""The catalogues: each holds every phrase of the app and no other, with the same values and marks in it; every page is
painted in every language, and says nothing in English that a catalogue could have said."""

import json
import re
import string

import pytest
from streamlit.testing.v1 import AppTest

from app import words
from tests.phrases import ROOT, every
from tests.waiting import LONG

LANGUAGES = [name for name in words.languages() if name != words.ENGLISH]
PAGES = ["home", "lessons", "anchors", "space", "thresholds", "sweep", "try", "data", "new", "live", "runs", "compare"]


def marks(phrase: str) -> dict[str, int]:
    """What a translation must keep: the names of values, Markdown, icons, code."""
    found = [f"{{{name}}}" for _, name, _, _ in string.Formatter().parse(phrase) if name]
    found += re.findall(r"\*\*|\n\n|\n- |\n    [^\n]*|`[^`]*`|:material/\w+:|\]\([^)]*\)|\$[^$]+\$", phrase)
    return {mark: found.count(mark) for mark in set(found)}


def test_there_are_catalogues_in_the_languages_that_are_promised():
    assert {"zh", "ja", "ko"} == set(LANGUAGES) == set(words.NAMES) - {words.ENGLISH}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_every_phrase_and_no_other(language):
    catalogue, wanted = words.catalogue(language), every()
    assert sorted(wanted - catalogue.keys()) == []
    assert sorted(catalogue.keys() - wanted) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_values_and_marks(language):
    wrong = {
        phrase: (marks(phrase), marks(said))
        for phrase, said in words.catalogue(language).items()
        if marks(phrase) != marks(said) or (not said.strip() and phrase.strip())
    }
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_is_one(language):
    """Few phrases read the same in two languages: names of methods, formulas."""
    same = [p for p, said in words.catalogue(language).items() if p == said and re.search(r"[a-z]{3,} [a-z]{3,}", p)]
    assert same == []


def test_the_check_of_marks_finds_what_it_is_for():
    assert marks("**{n}** of `x`") != marks("{n} of `x`") and marks("{a} {b}") == marks("{b}{a}")
    assert marks("Use `--data`") != marks("`--date`")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_painted_in_every_language(language, page, monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORSCOPE_RUNS", str(ROOT / "checkpoints"))
    monkeypatch.setenv("ANCHORSCOPE_DATA", str(tmp_path))
    missing, known = [], words.catalogue(language)
    monkeypatch.setattr(words, "catalogue", lambda _: Heard(known, missing))
    at = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=LONG)
    at.query_params["lang"] = language
    at.run()
    if page != "home":
        at.switch_page(f"app/pages/{page}.py").run()
    assert not at.exception, [e.value for e in at.exception]
    assert at.sidebar.selectbox(key="lang").value == language
    english = {name for name in missing if not name_of_something(name)}
    assert english == set()
    assert any(title.value == known[title_of(page)] for title in at.title)


class Heard(dict):
    """A catalogue that remembers what it was asked for in vain."""

    def __init__(self, held, missing):
        super().__init__(held)
        self.missing = missing

    def get(self, phrase, default=None):
        if phrase not in self:
            self.missing.append(phrase)
        return super().get(phrase, default)


def name_of_something(phrase: str) -> bool:
    """Names of terms and classes, which pages hand to t because others of their kind are translated."""
    return bool(re.fullmatch(r"[\w+-]+", phrase)) and phrase == phrase.lower() and phrase not in every()


def title_of(page: str) -> str:
    source = (ROOT / "streamlit_app.py").read_text("utf-8")
    address = "" if page == "home" else page
    return re.search(rf'"{address}": Place\(t\("[^"]+"\), "\w+", t\("([^"]+)"\)', source)[1]


def test_the_language_is_the_one_asked_for_then_the_browsers(monkeypatch):
    class Page:
        session_state, query_params, context = {}, {}, type("Context", (), {"locale": "ko-KR"})

    monkeypatch.setattr(words, "st", Page)
    assert words.language() == "ko"
    Page.query_params = {"lang": "zh-Hans"}
    assert words.language() == "zh"
    Page.session_state = {"lang": "ja"}
    assert words.language() == "ja"
    Page.session_state, Page.query_params, Page.context.locale = {}, {"lang": "<b>"}, "fr"
    assert words.language() == "en"


def test_the_catalogues_are_plain_files():
    for language in LANGUAGES:
        text = (words.HERE / f"{language}.json").read_text("utf-8")
        held = json.loads(text)
        assert list(held) == sorted(held) and all(isinstance(said, str) for said in held.values())
