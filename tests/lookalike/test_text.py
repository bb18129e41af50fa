"""Text from names of files, and JSON lines that strict readers take."""

import json
import os

import pytest

from lookalike.text import json_line, valid_text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain.jpg", "plain.jpg"),
        ("日本 \U0001f431.jpg", "日本 \U0001f431.jpg"),
        (b"caf\xe9.jpg".decode("utf-8", "surrogateescape"), "caf\ufffd.jpg"),
        (b"\xe2\x82-\xff\xff".decode("utf-8", "surrogateescape"), "\ufffd-\ufffd\ufffd"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
    ],
    ids=["ascii", "unicode", "latin-1", "cut-short", "half-a-pair"],
)
def test_text_that_is_no_unicode_is_shown_with_replacement_characters(name: str, shown: str) -> None:
    """As a folder's listing shows such names; what is valid stays as it is."""
    assert valid_text(name) == shown
    shown.encode()


def test_a_json_line_is_valid_unicode_wherever_a_name_stands() -> None:
    """In keys, in lists and in objects; everything else is kept."""
    odd = os.fsdecode(b"a\xff")
    line = json_line({odd: [odd, {"path": odd}], "cat": "\U0001f431", "n": 1, "none": None, "some": (1, 2)})
    assert line.isascii()
    assert "\n" not in line
    json.dumps(json.loads(line), ensure_ascii=False).encode()
    assert json.loads(line) == {
        "a\ufffd": ["a\ufffd", {"path": "a\ufffd"}],
        "cat": "\U0001f431",
        "n": 1,
        "none": None,
        "some": [1, 2],
    }


def test_a_json_line_holds_no_number_that_json_does_not_know() -> None:
    """Strict readers refuse NaN and Infinity."""
    assert json_line({"a": float("nan"), "b": [float("inf"), 0.5]}) == '{"a": null, "b": [null, 0.5]}'
