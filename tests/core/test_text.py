"""Text from outside, on one line for people, and in JSON for strict parsers."""

import json
import math
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_core.text import find_name, format_count, json_line, nfc, one_line, unicode_forms, valid_text

OBEYED = {
    "a bell": "\x07",
    "an escape": "\x1b[2J",
    "a carriage return": "\r",
    "a backspace": "\x08",
    "delete": "\x7f",
    "the other control characters": "\x9b2J",
    "Unicode's line breaks": "\u2028\u2029\x85",
    "what overrides the direction": "\u202a\u202b\u202c\u202d\u202e",
    "what isolates a direction": "\u2066\u2067\u2068\u2069",
    "marks of direction": "\u200e\u200f\u061c",
    "what has no width": "\u200b\u2060\ufeff",
    "half of a surrogate pair": "\udcff",
    "tags": "\U000e0041",
}


@pytest.mark.parametrize("text", OBEYED.values(), ids=OBEYED)
def test_control_codes_are_escaped(text: str) -> None:
    """Control codes are escaped as in Python's `repr`."""
    line = one_line(f"a{text}b")
    assert line.isprintable()
    assert line == f"a{text}b".encode("unicode_escape", "surrogatepass").decode().replace("\\\\", "\\")


@pytest.mark.parametrize(
    "text", ["plain.jpg", "Café Zürich", "猫/犬.png", "[bold]:smile:", r"C:\photos", "😀"]
)
def test_printable_text_is_unchanged(text: str) -> None:
    """All scripts, and characters that other programs take for markup, are unchanged."""
    assert one_line(text) == text


def test_named_characters_are_kept() -> None:
    """Pages keep joiners, for example."""
    assert one_line("a\u200db\u200ec", kept="\u200d") == "a\u200db\\u200ec"


@given(st.text(alphabet=st.characters(codec=None)))
def test_one_line_is_idempotent(text: str) -> None:
    """Text that was escaped before is unchanged."""
    line = one_line(text)
    assert one_line(line) == line
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in line)


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
    """Listings of folders show such names so; valid text is unchanged."""
    assert valid_text(name) == shown
    shown.encode()


def test_a_json_line_is_valid_unicode_wherever_a_name_stands() -> None:
    """Keys, lists and objects are covered; all else is unchanged."""
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


def test_numbers_that_json_lacks_become_null() -> None:
    """Strict parsers refuse NaN and Infinity."""
    assert json_line({"a": float("nan"), "b": [float("inf"), 0.5]}) == '{"a": null, "b": [null, 0.5]}'


@dataclass(frozen=True)
class Share:
    """A record."""

    file: Path
    share: float


def test_a_record_is_written_by_its_fields_in_their_order() -> None:
    """Paths are text, and NaN is null here too."""
    records = [Share(file=Path("a\udcff.png"), share=0.5), Share(file=Path("b.png"), share=math.nan)]
    assert json_line({"found": records}) == (
        '{"found": [{"file": "a\\ufffd.png", "share": 0.5}, {"file": "b.png", "share": null}]}'
    )
    assert json_line(MappingProxyType({"of": records[1:]})) == '{"of": [{"file": "b.png", "share": null}]}'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a\x1b\x7f\x9b", r'"a\u001b\u007f\u009b"'),
        ("q\udcff.jpg", r'"q\ufffd.jpg"'),
        ("\udcff😀\ud83d", r'"\ufffd\ud83d\ude00\ufffd"'),
        (r"\udcff", r'"\\udcff"'),
        ("\\\udcff", r'"\\\ufffd"'),
    ],
)
def test_json_is_ascii_for_strict_parsers(text: str, written: str) -> None:
    """Only Python accepts half a surrogate pair."""
    assert json_line(text) == written
    json.loads(written).encode()


COMPOSED, DECOMPOSED = "Schildkr\u00f6te", "Schildkro\u0308te"


@pytest.mark.parametrize("text", [COMPOSED, DECOMPOSED])
def test_a_name_is_compared_in_its_composed_form(text: str) -> None:
    """Both forms look alike and count as one name."""
    assert nfc(text) == COMPOSED
    assert sorted(unicode_forms(text)) == sorted([COMPOSED, DECOMPOSED])


def test_one_is_counted_in_the_singular() -> None:
    """Zero takes the plural."""
    assert [format_count(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_ascii_has_one_form() -> None:
    """No time is spent on it."""
    text = "cat/1.jpg"
    assert nfc(text) is text
    assert unicode_forms(text) == [text]


def test_a_name_of_mixed_forms_has_three_forms() -> None:
    """They are the name itself and both normal forms."""
    mixed = f"{COMPOSED} {DECOMPOSED}"
    assert set(unicode_forms(mixed)) == {mixed, f"{COMPOSED} {COMPOSED}", f"{DECOMPOSED} {DECOMPOSED}"}


def test_an_exact_name_precedes_another_unicode_form() -> None:
    """Both may exist if each was typed once."""
    assert find_name(DECOMPOSED, [COMPOSED, DECOMPOSED]) == DECOMPOSED
    assert find_name(DECOMPOSED, [COMPOSED]) == COMPOSED
    assert find_name("schildkröte", [COMPOSED]) is None
