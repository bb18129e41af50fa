"""The marks of images, as a form sends them: a field for each, named after its id."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from lookalike_search.serving.query_fields import Fields

_PREFIX = "mark-"

_Mark = TypeVar("_Mark", bound=StrEnum)


def read_marks(fields: Fields, names: Iterable[str], kind: type[_Mark]) -> dict[str, _Mark]:
    """Returns the marks among the fields of these names, by the ids of their images.

    Raises:
        UsageError: one is no mark.
    """
    return {
        name.removeprefix(_PREFIX): mark
        for name in names
        if name.startswith(_PREFIX) and (mark := fields.choice(name, kind)) is not None
    }
