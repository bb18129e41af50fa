"""Text from outside, made safe to show on one line.

Names of files and classes, labels and servers' messages may contain control codes for a terminal. All output
through `console`, in drawings and in pages passes through here, so that no other code has to escape it.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any


def one_line(text: str, *, kept: str = "") -> str:
    """Returns text as one line without control codes for a terminal.

    Unprintable characters (both sets of control characters, line breaks of every kind, bidirectional
    controls, zero-width characters, lone surrogates) are escaped as in Python's `repr`, except for `kept`.
    Text that is one printable line is returned unchanged.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)


def valid_text(text: str) -> str:
    """Returns valid Unicode: U+FFFD replaces the bytes of a name that are not valid UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # halves of UTF-16 pairs, which Windows lets into names
        return _SURROGATE.sub("\ufffd", text)


def is_unicode(text: str) -> bool:
    """Returns whether a text is free of surrogates: no other name is stored, and stores refuse one."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def nfc(text: str) -> str:
    """Returns a text in Unicode's composed form (NFC), by which names are compared; ASCII costs nothing.

    "ü" may be one character or a "u" and a combining diaeresis: keyboards type the first, macOS stored the
    second.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def unicode_forms(text: str) -> list[str]:
    """Returns a name unchanged, composed (NFC) and decomposed (NFD), each form once."""
    if text.isascii():
        return [text]
    return list(dict.fromkeys([text, nfc(text), unicodedata.normalize("NFD", text)]))


def find_name(name: str, names: Iterable[str]) -> str | None:
    """Returns the name that matches exactly, else one that differs in its Unicode form only."""
    there = list(names)
    if name in there:
        return name
    return next((each for each in there if nfc(each) == nfc(name)), None)


def format_count(number: int, noun: str) -> str:
    """Returns a number with its noun, singular or plural, as `1 image` and `2 images`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def json_line(data: Any) -> str:  # noqa: ANN401 - whatever json takes
    """Returns one JSON document on one line of ASCII, valid for strict parsers.

    Invalid Unicode is replaced as in `valid_text`, and numbers that JSON lacks become null. A record (a
    dataclass) is written by its `to_json`, or else as its fields in order; a path as text.
    """
    try:
        line = json.dumps(data, allow_nan=False, default=_plain)
    except ValueError:
        line = json.dumps(_valid(data))
    if _ESCAPED_SURROGATE in line:
        line = json.dumps(_valid(data))
    return line.replace("\x7f", r"\u007f")


def _plain(value: Any) -> Any:  # noqa: ANN401 - as above
    """Returns a record, path or mapping as a type that JSON has."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        own = getattr(value, "to_json", None)
        return own() if own else {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} is no JSON")


_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = "\\ud"


def _valid(data: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(data, str):
        return valid_text(data)
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, dict):
        return {_valid(key): _valid(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_valid(value) for value in data]
    return data if data is None or isinstance(data, bool | int | float) else _valid(_plain(data))
