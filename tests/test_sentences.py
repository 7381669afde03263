"""Sentences of the core: English as ever, which still knows its phrase and values, and is found again in plain text."""

import ast
import copy
import json
import pickle
import string
from pathlib import Path

import pytest

from cac_core import sentences
from cac_core.runs import Broken
from cac_core.sentences import Sentence, filled_in, recognised, say, together

CORE = Path(sentences.__file__).parent
NAMED = "There is no data set {name!r}; there are: {names}."


def test_a_sentence_is_english_text_that_knows_its_phrase_and_values():
    said = say(NAMED, name="cats", names=["digits", "MNIST"])
    assert said == "There is no data set 'cats'; there are: digits, MNIST." and isinstance(said, str)
    assert said.phrase == NAMED and said.values == {"name": "cats", "names": ["digits", "MNIST"]}
    assert say("Nothing is {here}.") == "Nothing is {here}."  # without values nothing is filled in
    assert say("not {value!r}", value=(1, 2)) == "not (1, 2)"  # as Python writes it, no list of texts
    assert filled_in("a {b}", {"b": ["1", "2"]}, "、") == "a 1、2"


@pytest.mark.parametrize("again", [str, copy.deepcopy, lambda said: pickle.loads(pickle.dumps(said))])
def test_a_sentence_stays_one_where_it_is_copied_kept_or_taken_out_of_an_error(again):
    said = say("{file} cannot be read ({error}).", file=Path("a"), error=ValueError(say("it is empty")))
    for kept in (again(said), again(Broken(said)) if again is str else again(Broken(said)).args[0]):
        assert isinstance(kept, Sentence) and kept == said == "a cannot be read (it is empty)."
        assert kept.values["error"].phrase == "it is empty"
    assert f"{said} Go on." == "a cannot be read (it is empty). Go on." and json.loads(json.dumps(said)) == said


def test_sentences_together_are_one():
    said = together([say("One."), say("{n} more.", n=2)])
    assert said == "One. 2 more." and [part.phrase for part in list(said.values.values())[:2]] == ["One.", "{n} more."]
    assert together(["a", "b", "c"], say(" and ")) == "a and b and c"
    assert together([]) == ""


PHRASES = (
    NAMED, "There is no data set {name!r}; there are: {names}. {hint}", "A split: --trial FILE.json.",
    "{file}: {error}", "{file} cannot be read ({error}). Remove it.", "it is empty now", "{a} of {b} are not finite",
    "{s:.0f} s", "{folder} has no test. Add it to {folder}.", "{name}", "Get it with:\n    python -m fetch {name}",
)  # fmt: skip


@pytest.mark.parametrize(
    "text, phrase, values",
    [
        ("it is empty now", "it is empty now", {}),
        ("There is no data set 'a b'; there are: x, y.", NAMED, {"name": "a b", "names": "x, y"}),
        ("There is no data set 'a'; there are: x. A split: --trial FILE.json.", PHRASES[1],
         {"name": "a", "names": "x", "hint": "A split: --trial FILE.json."}),
        ("/x (1)/a cannot be read (it is empty now). Remove it.", PHRASES[4],
         {"file": "/x (1)/a", "error": "it is empty now"}),
        ("/x cannot be read (two\nlines). Remove it.", PHRASES[4], {"file": "/x", "error": "two\nlines"}),
        ("a.png: it is empty now", "{file}: {error}", {"file": "a.png", "error": "it is empty now"}),
        ("/d has no test. Add it to /d.", PHRASES[8], {"folder": "/d"}),
        ("Get it with:\n    python -m fetch MNIST", PHRASES[10], {"name": "MNIST"}),
    ],
)  # fmt: skip
def test_a_sentence_is_recognised_in_the_text_that_a_file_keeps(text, phrase, values):
    found = recognised(text, PHRASES)
    assert isinstance(found, Sentence) and found == text
    assert found.phrase == phrase and found.values == values


def test_what_is_filled_in_is_recognised_too():
    found = recognised("x cannot be read (it is empty now). Remove it.", PHRASES)
    assert found.values["error"].phrase == "it is empty now"


@pytest.mark.parametrize(
    "text",
    ["", "No space left on device", "Something else: that nobody knows", "40 s", "/d has no test. Add it to /e.",
     "There is no data set cats; there are: x.", "it is empty now, too", "any name"],
)  # fmt: skip
def test_other_text_stays_as_it_is(text):
    assert type(recognised(text, PHRASES)) is str and recognised(text, PHRASES) == text


# --- the core says all that a user can cause as sentences ------------------------------------------------------------

PLAIN = {  # raised and caught in one function, so that nobody reads it
    ("data/datasets.py", "Known and Unknown are lists"),
    ("recipe.py", "a fraction"),
}


def plainly(source: str) -> list[str]:
    """The messages that are raised as text and not as a sentence."""
    calls = [node.exc for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise)]
    said = [part for call in calls if isinstance(call, ast.Call) for part in call.args]
    return [
        node.value if isinstance(node, ast.Constant) else ast.unparse(node)
        for node in said
        if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TEXT)
    ]


TEXT = ("join", "format", "replace")


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_errors_are_raised_with_sentences(file):
    name = file.relative_to(CORE).as_posix()
    assert [text for text in plainly(file.read_text("utf-8")) if (name, text) not in PLAIN] == []


def test_the_check_of_errors_finds_what_it_is_for():
    source = (
        'raise A("a")\nraise A(f"{b}")\nraise A("a" + b)\nraise A(" ".join(c))\nraise A(say("d"))\nraise A(e)\nraise'
    )
    assert plainly(source) == ["a", "f'{b}'", "'a' + b", "' '.join(c)"]


def phrases_with_values(source: str) -> list[tuple[str, set[str]]]:
    calls = [c for c in ast.walk(ast.parse(source)) if isinstance(c, ast.Call) and getattr(c.func, "id", "") == "say"]
    return [(c.args[0].value, {k.arg for k in c.keywords}) for c in calls if isinstance(c.args[0], ast.Constant)]


@pytest.mark.parametrize("file", sorted(CORE.rglob("*.py")), ids=lambda file: str(file.relative_to(CORE)))
def test_every_phrase_is_given_its_values_and_can_be_recognised(file):
    for phrase, given in phrases_with_values(file.read_text("utf-8")):
        fields = [part for part in string.Formatter().parse(phrase) if part[1]]
        wanted = {name for _, name, _, _ in fields}
        assert given in (wanted, set()) or None in given, phrase  # None is **values
        assert all(name.isidentifier() and not spec for _, name, spec, _ in fields), phrase
        assert "{{" not in phrase and "}}" not in phrase, phrase  # an example is a value
