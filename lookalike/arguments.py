"""Checks the library's arguments by the ranges of the commands' options."""

import os
from collections.abc import Iterable
from enum import StrEnum
from math import inf
from typing import TypeVar

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.stores.points import PointFilter
from lookalike_search.asking.ranking import MAX_LIMIT, MAX_OFFSET

_RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, 1_024),
    "count": (1, inf),
    "dims": (1, inf),
    "k": (1, 1_000),
    "limit": (1, MAX_LIMIT),
    "max_pixels": (1, inf),
    "offset": (0, MAX_OFFSET),
    "seed": (0, inf),
    "threads": (1, 1_024),
    "above": (0, 1),
    "max_distance": (0, inf),
    "min_score": (-1, 1),
    "near_above": (0, 1),
}
"""Argument -> its least and greatest value, unless a caller gives others."""

NEIGHBOURS_OF_EACH = (1, 10_000)
"""The range of `k` in `Index.neighbours`, where none of the neighbours votes."""

ON_A_MAP = (1, 10_000)
SEEDS_OF_A_MAP = (0, 2**32 - 1)

_Choice = TypeVar("_Choice", bound=StrEnum)


def check_whole(value: object, name: str, bounds: tuple[float, float] | None = None) -> int:
    """Returns a whole number as `int`; NumPy's integers are accepted, booleans are not.

    Raises:
        UsageError: the value is no whole number, or out of its range.
    """
    least, most = bounds or _RANGES[name]
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise _out_of_range(value, name, "a whole number", least, most)
    return int(value)


def check_number(value: object, name: str) -> float:
    """Returns a number as `float`; booleans and NaN are not accepted.

    Raises:
        UsageError: the value is no number, or out of its range.
    """
    least, most = _RANGES[name]
    if (
        not isinstance(value, int | float | np.integer | np.floating)
        or isinstance(value, bool)
        or not least <= value <= most
    ):
        raise _out_of_range(value, name, "a number", least, most)
    return float(value)


def check_choice(kind: type[_Choice], value: object, name: str) -> _Choice:
    """Returns the member of `kind` with this value.

    Raises:
        UsageError: no member has this value; the error's `choices` are the members' values.
    """
    if not isinstance(value, str) or value not in list(kind):
        raise UsageError(
            f"{name} is {value!r}; use one of {', '.join(kind)}", argument=name, choices=list(kind)
        )
    return kind(value)


def filter_by_dataset(dataset: str | None) -> PointFilter:
    """Returns the filter for the points of a dataset; None stands for all points.

    Raises:
        UsageError: the name is no text.
    """
    return PointFilter(dataset=None if dataset is None else check_text(dataset, "dataset"))


def check_text(value: object, name: str) -> str:
    """Returns a value that is text.

    Raises:
        UsageError: the value is no text.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text, not {value!r}", argument=name)
    return value


def list_texts(named: object, name: str, *, is_several: bool = False) -> list[str]:
    """Returns a text or path, or several of them, as texts; with `is_several` one alone is refused.

    Raises:
        UsageError: something is neither text nor a path.
    """
    is_one = isinstance(named, str | os.PathLike)
    each = [named] if is_one else named
    if isinstance(each, Iterable) and not (is_one and is_several):
        texts = [os.fspath(one) if isinstance(one, str | os.PathLike) else None for one in each]
        if all(isinstance(one, str) for one in texts):
            return [one for one in texts if isinstance(one, str)]
    wanted = "several texts or paths" if is_several else "a text or path, or several"
    raise UsageError(f"{name} must be {wanted}, not {named!r}", argument=name)


def _out_of_range(value: object, name: str, what: str, least: float, most: float) -> UsageError:
    ends = f"of at least {least:,}" if most == inf else f"from {least:,} to {most:,}"
    return UsageError(f"{name} is {value!r}; it must be {what} {ends}", argument=name, bounds=(least, most))
