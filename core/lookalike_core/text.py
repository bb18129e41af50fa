"""Text that others wrote, made safe to show on one line.

Names of files and classes, labels and what servers say may hold anything that a terminal acts on. Whatever
is shown in `console`, drawn or put on a page comes through here; nobody else has to think of it.
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
    """Returns text as one line that a terminal shows and does not obey.

    What cannot be printed (control characters of both sets, line breaks of every kind, what turns the
    direction of writing, what has no width, lone surrogates) stands as in Python's `repr`, but for `kept`.
    What is one line already comes back as it is.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in kept else repr(char)[1:-1] for char in text)


def valid_text(text: str) -> str:
    """Returns valid Unicode: U+FFFD stands where the bytes of a name were no UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # halves of UTF-16 pairs, which Windows lets into names
        return _SURROGATE.sub("\ufffd", text)


def nfc(text: str) -> str:
    """Returns a text in Unicode's composed form, by which names are compared; ASCII costs nothing.

    "ü" may be one character or a "u" and its two dots: a keyboard types the first, Macs left the second on
    disks.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def unicode_forms(text: str) -> list[str]:
    """Returns a name as it is, composed (NFC) and decomposed (NFD), each form once."""
    if text.isascii():
        return [text]
    return list(dict.fromkeys([text, nfc(text), unicodedata.normalize("NFD", text)]))


def find_name(name: str, names: Iterable[str]) -> str | None:
    """Returns which of the names is meant: the name itself, else one that differs in Unicode form alone."""
    there = list(names)
    if name in there:
        return name
    return next((each for each in there if nfc(each) == nfc(name)), None)


def format_count(number: int, noun: str) -> str:
    """Returns a number and what it counts, as `1 image` and `2 images`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def json_line(data: Any) -> str:  # noqa: ANN401 - whatever json takes
    """Returns one JSON document on one line of visible ASCII, as strict readers take it.

    What is no Unicode stands as in `valid_text`, and a number that JSON does not know is null.
    A record (a dataclass) is written by its `to_json`, or else by its fields in their order; a path as text.
    """
    try:
        line = json.dumps(data, allow_nan=False, default=_plain)
    except ValueError:
        line = json.dumps(_valid(data))
    if _ESCAPED_SURROGATE in line:
        line = json.dumps(_valid(data))
    return line.replace("\x7f", r"\u007f")


def _plain(value: Any) -> Any:  # noqa: ANN401 - as above
    """Returns a record, path or mapping as what JSON has."""
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
