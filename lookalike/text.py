"""Text that may hold names of files, which need not be valid Unicode, for readers that insist on it."""

import json
import math
import re
from typing import Any


def valid_text(text: str) -> str:
    """The text itself where it is valid Unicode; else with U+FFFD where the bytes of a name were no UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # halves of UTF-16 pairs, which Windows lets into names
        return _SURROGATE.sub("\ufffd", text)


def json_line(data: Any) -> str:  # noqa: ANN401 - whatever json takes
    """One JSON document on one line, as strict readers take it: valid Unicode, null for what is no number."""
    try:
        line = json.dumps(data, allow_nan=False)
    except ValueError:
        return json.dumps(_valid(data))
    return json.dumps(_valid(data)) if _ESCAPED_SURROGATE in line else line


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
    return data
