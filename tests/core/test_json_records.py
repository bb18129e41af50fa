"""Records from JSON by the annotations of their fields."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from lookalike_core.json_records import read_record
from lookalike_core.text import json_line


class Colour(StrEnum):
    """Something that is one of a few words."""

    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A record inside another."""

    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A record with a field of every type that is read."""

    text: str
    is_on: bool
    count: int
    colour: Colour
    part: Part
    names: tuple[str, ...]
    ends: tuple[float, float]
    parts: Mapping[str, Part]
    note: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


WHOLE = Whole(
    text="ü",
    is_on=True,
    count=3,
    colour=Colour.RED,
    part=Part(share=0.1 + 0.2),
    names=("a", "b"),
    ends=(-1.5, 2.0),
    parts={"x": Part(share=1.0)},
    note="n",
)
DATA = json.loads(json_line(WHOLE))


def test_a_record_survives_json() -> None:
    """A field of every type, to the last bit; keys that are no fields are ignored."""
    assert read_record(Whole, DATA | {"licence": "MIT"}) == WHOLE


def test_whole_numbers_may_be_written_as_fractions_and_the_other_way_round() -> None:
    """Servers give numbers back in the form that their language prints."""
    found = read_record(Whole, DATA | {"count": 3.0, "ends": [-1.5, 2]})
    assert found == WHOLE
    assert (type(found.count), type(found.ends[1])) == (int, float)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("text", 5, "text: 5"),
        ("text", None, "text: None"),
        ("is_on", 1, "is_on: 1"),
        ("count", True, "count: True"),
        ("count", 2.5, "count: 2.5"),
        ("count", float("inf"), "count: "),
        ("count", float("nan"), "count: "),
        ("colour", "blue", "colour: 'blue'"),
        ("colour", ["red"], "colour: "),
        ("part", None, "part: None"),
        ("part", {"share": "0.5"}, "part: share: '0.5'"),
        ("part", {}, "part: share is missing"),
        ("names", "ab", "names: 'ab'"),
        ("ends", [1], "ends: "),
        ("ends", [10**400, 1], "ends: "),
        ("parts", {"x": 0.5}, "parts: 0.5"),
        ("note", 5, "note: 5"),
        ("counts", None, "counts: None"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_field(
    key: str, value: object, named: str
) -> None:
    """Nothing is converted that was not written so."""
    with pytest.raises(ValueError, match=f"^{named}"):
        read_record(Whole, DATA | {key: value})


def test_missing_fields_have_their_defaults_unless_the_object_has_to_be_complete() -> None:
    """A field without a default is always required."""
    part = {key: value for key, value in DATA.items() if key not in ("note", "counts")}
    assert read_record(Whole, part).note is None
    with pytest.raises(ValueError, match="note is missing"):
        read_record(Whole, part, is_complete=True)
    with pytest.raises(ValueError, match="text is missing"):
        read_record(Whole, {})


def test_a_former_name_of_a_field_is_read_unless_that_of_today_is_there() -> None:
    """Files of former versions stay readable."""
    names = {"portion": "share"}
    assert read_record(Part, {"portion": 0.5}, former_names=names) == Part(share=0.5)
    assert read_record(Part, {"share": 0.25, "portion": 0.5}, former_names=names) == Part(share=0.25)
