"""Words: every phrase that the pages show goes through t, so that another language is one more catalogue.

The English phrase is the key, as it stands in the code; {name} in it takes a value. A catalogue is
words/<language>.json beside this file, {English phrase: translated}; where it lacks one, English is shown.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

HERE = Path(__file__).parent / "words"
ENGLISH = "en"
NAMES = {"en": "English", "zh": "中文", "ja": "日本語", "ko": "한국어"}
Table = TypeVar("Table")

# What reads a page aloud takes the right voice, and a copy of the address opens in the same language. Not Streamlit's
# own binding: that leaves out what is the default here, which elsewhere is another, and writes what the picker shows.
_spoken = st.components.v2.component(
    "anchorscope_language",
    js="""
    export default function ({ data, parentElement }) {
      parentElement.host?.closest("[data-testid=stElementContainer]")?.style.setProperty("position", "absolute");
      document.documentElement.lang = data.spoken;
      const url = new URL(window.location);
      if (data.told) url.searchParams.set("lang", data.spoken);
      else url.searchParams.delete("lang");
      if (url.href !== window.location.href) window.history.replaceState(window.history.state, "", url);
    }
    """,
)


def languages() -> list[str]:
    """The languages that there are, English first."""
    return [ENGLISH, *sorted(file.stem for file in HERE.glob("*.json"))]


@cache
def catalogue(language: str) -> dict[str, str]:
    file = HERE / f"{language}.json"
    return json.loads(file.read_text("utf-8")) if language != ENGLISH and file.is_file() else {}


def language() -> str:
    """The one chosen, else ?lang= in the address, else the browser's, where there is a catalogue; else English."""
    return _first(st.session_state.get("lang"), st.query_params.get("lang"), st.context.locale)


def _first(*asked: str | None) -> str:
    for name in asked:
        if name and (short := name.split("-")[0].lower()) in languages():
            return short
    return ENGLISH


def choose_language(page: str) -> None:
    """The picker, on the page with this url; a language other than the browser's stands in the address."""
    there = languages()
    st.selectbox(
        t("Language"), there, there.index(language()), key="lang", format_func=lambda name: NAMES.get(name, name)
    )
    told = language() != _first(st.context.locale)
    _spoken(key="spoken", data={"spoken": language(), "told": told, "page": page})


def phrases(table: Table) -> Table:
    """Marks text that is written in one place and shown, by t, in another: a phrase, or a table of them by name."""
    return table


def t(phrase: str, **values: Any) -> str:
    """The phrase in the reader's language, its {names} filled in."""
    said = catalogue(language()).get(phrase, phrase)
    return said.format(**values) if values else said
