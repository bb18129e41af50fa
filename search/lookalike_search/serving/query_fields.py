"""The fields of a query, read from JSON, from a form or from the query string of an address."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any, Required, TypedDict, TypeVar

from lookalike_core.atomic import parse_json
from lookalike_core.errors import UsageError
from lookalike_core.images.region import EXAMPLES, Region
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.point_filters import make_filter
from lookalike_core.stores.points import PointFilter

from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.choice import HitChoice, OnePer
from lookalike_search.asking.ranking import MAX_LIMIT, MAX_OFFSET

_Choice = TypeVar("_Choice", bound=StrEnum)

MOST_VOTERS = 1_000

MOST_LOCATED = 100
"""The number of neighbours that one request may locate: each is decoded and embedded again."""

MOST_NAMES = 100
"""The number of classes or folders that a filter may name."""

MOST_PIXELS_WIDE = 2**31 - 1
"""The greatest width that can be asked for."""

LONGEST_REGION = 200
"""The number of characters that the text of a region may have."""

Where = TypedDict(
    "Where",
    {
        "class": str | list[str],
        "not_class": str | list[str],
        "dataset": str,
        "path": str | list[str],
        "since": str,
        "until": str,
        "min_width": int,
    },
    total=False,
)
"""Only images that meet all of these, as the options of `search query`; `""` is no class."""

QueryFields = TypedDict(
    "QueryFields",
    {
        "id": str,
        "path": str,
        "upload": str,
        "and": list[str],
        "not": list[str],
        "collection": list[str],
        "limit": int,
        "offset": int,
        "where": Where,
        "min_score": float,
        "max_distance": float,
        "fusion": FusionRule,
        "exact": bool,
        "include_self": bool,
        "without_near": bool,
        "near_above": float,
        "vote": VoteRule,
        "k": int,
        "confidence": float,
        "region": str | list[float],
        "locate": bool,
        "min_chance": float,
        "one_per": OnePer,
        "diverse": float,
    },
    total=False,
)
"""The fields of a query, as `search query` has options; its image is `id`, `path`, `upload` or the body."""


class ExplanationFields(TypedDict, total=False):
    """The fields of an explanation: its image is `id`, `path`, `upload` or the body."""

    id: str
    path: str
    upload: str
    neighbour: Required[str]
    """The id or the path of an indexed image."""
    collection: str
    """By default the one that queries search."""
    region: str | list[float]
    """The part of the image that is meant."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Upload:
    """An image that came with the request: the bytes of its file, and the name that the client gives it."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadId:
    """The id of an image that was uploaded before."""

    id: str


Example = Upload | UploadId | str
"""An image of a query: an upload or the id of an earlier one, or the id or path of an indexed image."""

UPLOAD_PREFIX = "upload:"
"""Tells the id of an upload from those of indexed images, in lists of both."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryRequest:
    """A query: its image, the other examples, and the collections that are searched; none is the default."""

    image: Example
    positives: Sequence[Example]
    negatives: Sequence[Example]
    collections: Sequence[str]
    options: QueryOptions

    @property
    def examples(self) -> list[Example]:
        """All images, that of the query first."""
        return [self.image, *self.positives, *self.negatives]

    @property
    def is_stored(self) -> bool:
        """Whether the vectors of all images are stored, as far as can be seen here."""
        are_indexed = all(isinstance(each, str) for each in self.examples)
        return are_indexed and self.options.region is None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExplanationRequest:
    """An explanation: its image and another one, and the collection whose network compares them.

    Without a collection it is the default one.
    """

    image: Example
    neighbour: str
    collection: str | None
    region: Region | None


def read_explanation(fields: "Fields", *, image: Upload | None = None) -> ExplanationRequest:
    """Returns the explanation that fields and an uploaded image describe.

    Raises:
        UsageError: a field is unknown or malformed, or there are not two images.
    """
    request = ExplanationRequest(
        image=_one_image(image, fields.text("id"), fields.text("path"), fields.text("upload")),
        neighbour=fields.text("neighbour") or "",
        collection=fields.text("collection") or None,
        region=fields.region("region"),
    )
    if not request.neighbour:
        raise UsageError(
            "neighbour is missing; give the id or path of an indexed image", argument="neighbour"
        )
    fields.require_all_read()
    return request


def read_query(
    fields: "Fields",
    *,
    pixels: int,
    image: Upload | None = None,
    positives: Sequence[Upload] = (),
    negatives: Sequence[Upload] = (),
) -> QueryRequest:
    """Returns the query that fields and uploaded images describe; images of more `pixels` are refused.

    Raises:
        UsageError: a field is unknown, malformed or out of range, or there is not one image.
    """
    where = fields.nested("where")
    near_above = fields.number("near_above", NEAR_ABOVE, low=0, high=1)
    request = QueryRequest(
        image=_one_image(image, fields.text("id"), fields.text("path"), fields.text("upload")),
        positives=[*positives, *map(_example, fields.texts("and"))],
        negatives=[*negatives, *map(_example, fields.texts("not"))],
        collections=list(dict.fromkeys(fields.texts("collection"))),
        options=QueryOptions(
            limit=fields.whole("limit", 10, low=1, high=MAX_LIMIT),
            offset=fields.whole("offset", 0, low=0, high=MAX_OFFSET),
            min_score=fields.optional_number("min_score", low=-1, high=1),
            max_distance=fields.optional_number("max_distance", low=0),
            where=read_where(where),
            exact=fields.flag("exact"),
            include_self=fields.flag("include_self"),
            without_near_above=near_above if fields.flag("without_near") else None,
            max_pixels=pixels,
            vote=fields.choice("vote", VoteRule) or VoteRule.NEARER_TIES,
            k=fields.whole("k", 10, low=1, high=MOST_VOTERS),
            fusion=fields.choice("fusion", FusionRule) or FusionRule.RRF,
            confidence=fields.share("confidence"),
            region=fields.region("region"),
            locate=fields.flag("locate"),
            choice=HitChoice(
                min_chance=fields.share("min_chance", example=0.8),
                one_per=fields.choice("one_per", OnePer),
                diverse=fields.number("diverse", 0.0, low=0, high=1),
            ),
        ),
    )
    if request.options.locate and request.options.limit > MOST_LOCATED:
        raise UsageError(
            f"locate is for at most {MOST_LOCATED} neighbours at a time; lower the limit", argument="limit"
        )
    if fields.has("fusion") and len(request.collections) < 2:  # noqa: PLR2004 - a fusion is of several
        raise UsageError("fusion is for several collections; name them", argument="fusion")
    where.require_all_read()
    fields.require_all_read()
    return request


def read_where(fields: "Fields") -> PointFilter:
    """Returns the filter that fields describe.

    Raises:
        UsageError: a field is malformed, or no image can meet two of them.
    """
    return make_filter(
        classes=fields.names("class"),
        not_classes=fields.names("not_class"),
        dataset=fields.text("dataset"),
        folders=fields.names("path"),
        since=fields.text("since"),
        until=fields.text("until"),
        min_width=fields.optional_whole("min_width", low=1, high=MOST_PIXELS_WIDE),
    )


def _one_image(image: Upload | None, id_: str | None, path: str | None, upload: str | None) -> Example:
    earlier = None if upload is None else UploadId(id=upload.removeprefix(UPLOAD_PREFIX))
    given: list[Example] = [each for each in (image, id_, path, earlier) if each is not None]
    if len(given) != 1:
        raise UsageError(
            "a query has one image; send its file, the id of an upload, or the id or path of an indexed one",
            argument="id",
        )
    if given[0] == "":
        raise UsageError("the id or path of the image is empty", argument="id")
    return given[0]


def _example(text: str) -> Example:
    """Returns what a name in a list means; a path may begin as an upload does."""
    is_upload = _UPLOAD.fullmatch(text) is not None
    return UploadId(id=text.removeprefix(UPLOAD_PREFIX)) if is_upload else text


_UPLOAD = re.compile(f"{UPLOAD_PREFIX}[0-9a-f]{{32}}")


class Fields:
    """Fields by name, each of which is read once; with `is_text` all values are lists of text.

    `prefix` is put before a name in messages.
    """

    def __init__(self, values: Mapping[str, Any], *, is_text: bool, prefix: str = "") -> None:
        self._values, self._is_text, self._prefix = values, is_text, prefix
        self._read: set[str] = set()

    @classmethod
    def of_json(cls, data: object) -> "Fields":
        """Returns the fields of a JSON document.

        Raises:
            UsageError: it is no object.
        """
        if not isinstance(data, dict):
            raise UsageError("the JSON is no object")
        return cls(data, is_text=False)

    def has(self, name: str) -> bool:
        """Returns whether a field is given."""
        return self._values.get(name) is not None

    def text(self, name: str) -> str | None:
        """Returns a text."""
        value = self._one(name)
        if value is not None and not isinstance(value, str):
            raise self._refuse(name, "is no text")
        return value

    def texts(self, name: str) -> list[str]:
        """Returns a list of texts; a single text is a list of one."""
        self._read.add(name)
        value = self._values.get(name)
        listed = [] if value is None else value if isinstance(value, list) else [value]
        if not all(isinstance(each, str) and each for each in listed):
            raise self._refuse(name, "is no list of texts, or one of them is empty")
        return list(listed)

    def names(self, name: str) -> list[str]:
        """Returns a list of texts, which may be empty ones; a single text is a list of one."""
        self._read.add(name)
        value = self._values.get(name)
        listed = [] if value is None else value if isinstance(value, list) else [value]
        if len(listed) > MOST_NAMES or not all(isinstance(each, str) for each in listed):
            raise self._refuse(name, f"is no list of at most {MOST_NAMES} texts")
        return list(listed)

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        """Returns a whole number within bounds."""
        value = self.optional_whole(name, low=low, high=high)
        return default if value is None else value

    def optional_whole(self, name: str, *, low: int, high: int) -> int | None:
        """Returns a whole number within bounds; None where none is given."""
        value = self._one(name)
        if value is None:
            return None
        if isinstance(value, str) and self._is_text:
            value = int(value) if value.removeprefix("-").isdecimal() and len(value) < _DIGITS else value
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refuse(name, "is no whole number")
        if not low <= value <= high:
            raise UsageError(
                f"{self._prefix}{name} is out of range; give {low} to {high}",
                argument=name,
                bounds=(low, high),
            )
        return value

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Returns a number within bounds."""
        value = self.optional_number(name, low=low, high=high)
        return default if value is None else value

    def optional_number(self, name: str, *, low: float, high: float | None = None) -> float | None:
        """Returns a number within bounds; None where none is given."""
        value = self._one(name)
        if value is None:
            return None
        if isinstance(value, str) and self._is_text:
            value = _parse_number(value)
        if not _is_number(value):
            raise self._refuse(name, "is no number")
        if value < low or (high is not None and value > high):
            bounds = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
            raise self._refuse(name, f"is out of range; give {bounds}")
        return float(value)

    def share(self, name: str, *, example: float = 0.95) -> float | None:
        """Returns a number above 0 and below 1; None where none is given. The message gives an example."""
        value = self.optional_number(name, low=0, high=1)
        if value in (0, 1):
            raise self._refuse(
                name, f"is out of range; give a number above 0 and below 1, such as {example:g}"
            )
        return value

    def region(self, name: str) -> Region | None:
        """Returns a region, of text or of four numbers in pixels; None where none is given.

        Raises:
            UsageError: it is neither, or as `Region.parse`.
        """
        value = self._one(name)
        if value is None:
            return None
        if isinstance(value, str) and len(value) <= LONGEST_REGION:
            return Region.parse(value)
        if isinstance(value, list) and all(_is_number(each) for each in value):
            return Region.of(value)
        raise self._refuse(name, f"is no region; give x,y,width,height, as {EXAMPLES}")

    def flag(self, name: str) -> bool:
        """Returns whether a flag is set."""
        value = self._one(name)
        if isinstance(value, str) and self._is_text:
            value = _FLAGS.get(value.lower(), value)
        if value is not None and not isinstance(value, bool):
            raise self._refuse(name, "is neither true nor false")
        return bool(value)

    def choice(self, name: str, kind: type[_Choice]) -> _Choice | None:
        """Returns one of a closed set; None where none is given."""
        value = self.text(name)
        if value is not None and value not in list(kind):
            raise UsageError(
                f"{self._prefix}{name} is none of {', '.join(kind)}", argument=name, choices=list(kind)
            )
        return None if value is None else kind(value)

    def nested(self, name: str) -> "Fields":
        """Returns the fields of an object; in a form or an address it is written as JSON."""
        value = self._one(name)
        if isinstance(value, str) and self._is_text:
            try:
                value = parse_json(value)
            except ValueError:
                raise self._refuse(name, "is no JSON") from None
        if value is not None and not isinstance(value, dict):
            raise self._refuse(name, 'is no object like {"class": "cat"}')
        return Fields(value or {}, is_text=False, prefix=f"{name}.")

    def require_all_read(self) -> None:
        """Refuses fields that nobody asked for, such as mistyped ones.

        Raises:
            UsageError: there are some.
        """
        for name in self._values:
            if name not in self._read:
                raise UsageError(f"{self._prefix}{name[:_SHOWN]} is unknown here", argument=name[:_SHOWN])

    def _one(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON has
        self._read.add(name)
        value = self._values.get(name)
        if not self._is_text or value is None:
            return value
        if len(value) > 1:
            raise self._refuse(name, "is given more than once")
        return value[0] if value else None

    def _refuse(self, name: str, what: str) -> UsageError:
        return UsageError(f"{self._prefix}{name} {what}", argument=name)


_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_DIGITS = 20
_SHOWN = 100


def _is_number(value: object) -> bool:
    """Returns whether a value is a finite number; a whole one may have thousands of digits."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


def _parse_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
