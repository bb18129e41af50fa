"""What the address of the view `/` asks: read as a query, and changed for its links."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from lookalike_core.errors import UsageError
from starlette.datastructures import QueryParams

from lookalike_search.serving.query_fields import Fields

IMAGES = ("id", "path", "upload")
"""The image that is asked with: one of these."""

PANELS = ("explain", "large")
"""The neighbour whose similarity is explained, and the image that is shown large."""

CHOICE = ("min_chance", "one_per", "diverse")
"""Which neighbours are shown of those that fit."""

FILTERS = {
    "class": "class",
    "not_class": "not_class",
    "dataset": "dataset",
    "folder": "path",
    "since": "since",
    "until": "until",
    "min_width": "min_width",
}
"""The fields of filters, and what each is in a query's `where`; `path` is an image that is asked with."""

NARROWING = (*FILTERS, "min_score", "max_distance", "confidence", "fusion", "min_chance", "one_per")
"""What may not fit other collections or examples, and is left out then."""

KEPT = (
    "collection",
    "fusion",
    *FILTERS,
    "min_score",
    "max_distance",
    "limit",
    "exact",
    "include_self",
    "without_near",
    "confidence",
    *CHOICE,
)
"""What stays when another image is asked with."""

MOST_FIELDS = 100
"""The number of values in an address: each link of the page repeats them."""

NO_CLASS = "/"
"""The value of the field `class` for images without one: no folder has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The names and values of an address in their order; a field without a value is not asked."""

    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, params: QueryParams) -> "Question":
        """Returns the question of a request.

        Raises:
            UsageError: it has too many values.
        """
        pairs = tuple((name, value) for name, value in params.multi_items() if value)
        if len(pairs) > MOST_FIELDS:
            raise UsageError(f"the address has {len(pairs):,} values; a question has at most {MOST_FIELDS}")
        return cls(pairs=pairs)

    @property
    def is_asked(self) -> bool:
        """Whether there is an image to search with."""
        return any(name in IMAGES for name, _ in self.pairs)

    @property
    def address(self) -> str:
        """The address of the question on this server."""
        return f"/?{urlencode(self.pairs)}" if self.pairs else "/"

    def values(self, name: str) -> list[str]:
        """Returns the values of a field."""
        return [value for each, value in self.pairs if each == name]

    def value(self, name: str) -> str:
        """Returns the first value of a field, "" where it has none."""
        return next(iter(self.values(name)), "")

    def keeping(self, names: Iterable[str]) -> "Question":
        """Returns the question with these fields alone."""
        return Question(pairs=tuple(pair for pair in self.pairs if pair[0] in names))

    def leaving(self, *names: str) -> "Question":
        """Returns the question without these fields."""
        return Question(pairs=tuple(pair for pair in self.pairs if pair[0] not in names))

    def asking(self, name: str, value: str | float) -> "Question":
        """Returns the question with one value of a field."""
        return Question(pairs=(*self.leaving(name).pairs, (name, str(value))))

    def adding(self, name: str, value: str) -> "Question":
        """Returns the question with a further value of a field."""
        return Question(pairs=(*self.removing(name, value).pairs, (name, value)))

    def removing(self, name: str, value: str) -> "Question":
        """Returns the question without a value of a field."""
        return Question(pairs=tuple(pair for pair in self.pairs if pair != (name, value)))

    def to_fields(self) -> Fields:
        """Returns the fields of the query."""
        values: dict[str, list[str]] = {}
        for name, value in self.leaving(*PANELS, *FILTERS).pairs:
            values.setdefault(name, []).append(value)
        if where := self._where():
            values["where"] = [json.dumps(where)]
        return Fields(values, is_text=True)

    def _where(self) -> Mapping[str, object]:
        where: dict[str, object] = {}
        for field, name in FILTERS.items():
            values = ["" if value == NO_CLASS and "class" in field else value for value in self.values(field)]
            if values and name == "min_width":
                where[name] = _number(values[0])
            elif values:
                where[name] = values if name in _SEVERAL else values[0]
        return where


_SEVERAL = ("class", "not_class", "path")


def _number(text: str) -> int | str:
    """Returns a whole number; other text stays what it is, and is refused."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _DIGITS else text


_DIGITS = 20
