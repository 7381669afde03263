"""Sentences that the core says in English and that an app may say in another language. Standard library only.

An error, or a reason that is kept in a file, is an English sentence, filled in; beside it stand the phrase that it was
made of and the values of its {names}, so that the phrase can be looked up in a catalogue and filled in there.
"""

import ast
import os
import string
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any


class Sentence(str):
    """The English sentence, with the phrase and the values that it is made of.

    A value may be a sentence itself, or a list of texts, which commas set apart.
    """

    phrase: str
    values: dict[str, Any]

    def __new__(cls, phrase: str, values: dict[str, Any]) -> "Sentence":
        made = super().__new__(cls, filled_in(phrase, values))
        made.phrase, made.values = phrase, values
        return made

    def __str__(self) -> str:
        return self  # so that str(error) of an error that was raised with a sentence gives it back

    def __reduce__(self):
        return Sentence, (self.phrase, self.values)


class _Filling(string.Formatter):
    def __init__(self, comma: str):
        self.comma = comma

    def format_field(self, value: Any, spec: str) -> str:
        return (
            self.comma.join(map(str, value)) if isinstance(value, list | tuple) else super().format_field(value, spec)
        )


def filled_in(phrase: str, values: dict[str, Any], comma: str = ", ") -> str:
    """The phrase with its {names} replaced; comma stands between the texts of a list."""
    return _Filling(comma).vformat(phrase, (), values) if values else phrase


def say(phrase: str, /, **values: Any) -> Sentence:
    """The phrase with its {names} filled in; an error among the values is what it says."""
    return Sentence(phrase, {name: _told(value) for name, value in values.items()})


def _told(value: Any) -> Any:
    """A value that can be written anywhere: of a file whose name is no UTF-8, the bytes that are none are escaped."""
    if isinstance(value, list | tuple):
        return type(value)(map(_told, value))
    text = value if isinstance(value, Sentence) or not isinstance(value, BaseException | os.PathLike) else str(value)
    if not isinstance(text, str) or isinstance(text, Sentence):
        return text
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def together(parts: Iterable[str], between: str = " ") -> Sentence:
    """Several sentences as one; what stands between them may be one, too."""
    values = {f"part{number}": part for number, part in enumerate(parts)}
    return Sentence("{between}".join(f"{{{name}}}" for name in values), values | {"between": between})


def recognised(text: str, phrases: Iterable[str]) -> str:
    """The sentence that became this text in a file or on a terminal, if one of these phrases makes it; else the text.

    Of several phrases the one that says most itself. What is filled in may be a sentence again.
    """
    fits = [(phrase, values) for phrase in phrases if (values := _values_in(phrase, text)) is not None]
    for phrase, values in sorted(fits, key=lambda fit: len(_own(fit[0])), reverse=True):
        values = {
            name: recognised(value, phrases) if isinstance(value, str) and " " in value and value != text else value
            for name, value in values.items()
        }
        if any(map(str.isalpha, _own(phrase))) or any(isinstance(value, Sentence) for value in values.values()):
            return Sentence(phrase, values)
    return text


@cache
def _parts(phrase: str) -> list[tuple[str, str | None, str | None, str | None]]:
    """(text, name, format, conversion) by turns; the last has no name."""
    parts = list(string.Formatter().parse(phrase))
    return parts if parts and parts[-1][1] is None else [*parts, ("", None, None, None)]


def _own(phrase: str) -> str:
    """What a phrase says whatever is filled in."""
    return "".join(part[0] for part in _parts(phrase))


def _values_in(phrase: str, text: str) -> dict[str, Any] | None:
    """The values by which the phrase becomes the text, each as short as can be; None where it does not."""
    parts, values, at = _parts(phrase), {}, len(_parts(phrase)[0][0])
    if not text.startswith(parts[0][0]) or (len(parts) == 1 and text != phrase):
        return None
    for (_, name, spec, conversion), (after, following, *_) in pairwise(parts):
        end = text.find(after, at + 1) if following else len(text) - len(after)
        if end <= at or not text.startswith(after, end) or spec or name is None:
            return None
        value = text[at:end]
        if conversion:
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                return None
        if values.setdefault(name, value) != value:
            return None
        at = end + len(after)
    return values
