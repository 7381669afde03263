"""Words: every phrase that the pages show goes through t, so that another language is one more catalogue.

The English phrase is the key, as it stands in the code; {name} in it takes a value. A catalogue is
words/<language>.json beside this file, {English phrase: translated}; where it lacks one, English is shown.
"""

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from cac_core.sentences import Sentence, filled_in, recognised

HERE = Path(__file__).parent / "words"
ENGLISH = "en"
NAMES = {"en": "English", "zh": "中文", "ja": "日本語", "ko": "한국어"}
Table = TypeVar("Table")


@cache
def languages() -> list[str]:
    """The languages that there are, English first."""
    return [ENGLISH, *sorted(file.stem for file in HERE.glob("*.json"))]


@cache
def catalogue(language: str) -> dict[str, str]:
    file = HERE / f"{language}.json"
    return json.loads(file.read_text("utf-8")) if language != ENGLISH and file.is_file() else {}


def language() -> str:
    """The one chosen, else ?lang= in the address, else the browser's, where there is a catalogue; else English."""
    return first_of(st.session_state.get("lang"), st.query_params.get("lang"), st.context.locale)


def first_of(*asked: str | None) -> str:
    """The first of these, such as zh or zh-Hans, that is a language here; else English."""
    for name in asked:
        if name and (short := name.split("-")[0].lower()) in languages():
            return short
    return ENGLISH


def phrases(table: Table) -> Table:
    """Marks text that is written in one place and shown, by t, in another: a phrase, or a table of them by name."""
    return table


def t(phrase: str, **values: Any) -> str:
    """The phrase in the reader's language, its {names} filled in."""
    said = catalogue(language()).get(phrase, phrase)
    return said.format(**values) if values else said


def said(what: Exception | str) -> str:
    """An error, or a reason that a file keeps, in the reader's language; text that no phrase makes stays as it is."""
    text = str(what)
    if language() == ENGLISH:
        return text
    return _said(text if isinstance(text, Sentence) else _recognised(language(), text))


@lru_cache(maxsize=4096)
def _recognised(language: str, text: str) -> str:
    return recognised(text, catalogue(language))


def _said(value: Any) -> Any:
    if isinstance(value, Sentence):
        phrase = catalogue(language()).get(value.phrase, value.phrase)
        return filled_in(phrase, {name: _said(v) for name, v in value.values.items()}, t(", "))
    return [_said(one) for one in value] if isinstance(value, list | tuple) else value
