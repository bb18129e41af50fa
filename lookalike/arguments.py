"""What callers give, checked before anything is done: within the ranges of the commands' options."""

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
"""The least and the greatest value by name of an argument, where a caller names no others."""

NEIGHBOURS_OF_EACH = (1, 10_000)
"""What `k` may be where it is how many neighbours each image has, and none of them votes."""

ON_A_MAP = (1, 10_000)
SEEDS_OF_A_MAP = (0, 2**32 - 1)

_Choice = TypeVar("_Choice", bound=StrEnum)


def whole(value: object, name: str, bounds: tuple[float, float] | None = None) -> int:
    """Returns a whole number, which NumPy's are too and True is not.

    Raises:
        UsageError: it is none, or out of its range.
    """
    least, most = bounds or _RANGES[name]
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not least <= value <= most:
        raise _out_of_range(value, name, "a whole number", least, most)
    return int(value)


def number(value: object, name: str) -> float:
    """Returns a number, which NaN and True are not.

    Raises:
        UsageError: it is none, or out of its range.
    """
    least, most = _RANGES[name]
    if (
        not isinstance(value, int | float | np.integer | np.floating)
        or isinstance(value, bool)
        or not least <= value <= most
    ):
        raise _out_of_range(value, name, "a number", least, most)
    return float(value)


def chosen(kind: type[_Choice], value: object, name: str) -> _Choice:
    """Returns one of a closed set.

    Raises:
        UsageError: it is none of them; they are its `choices`.
    """
    if not isinstance(value, str) or value not in list(kind):
        raise UsageError(
            f"{name} is {value!r}; use one of {', '.join(kind)}", argument=name, choices=list(kind)
        )
    return kind(value)


def points_of(dataset: str | None) -> PointFilter:
    """Returns the filter for a dataset's points, or for all.

    Raises:
        UsageError: its name is no text.
    """
    return PointFilter(dataset=None if dataset is None else text(dataset, "dataset"))


def text(value: object, name: str) -> str:
    """Returns what is text.

    Raises:
        UsageError: it is something else.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is or has {value!r}, which is no text", argument=name)
    return value


def listed(named: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], name: str) -> list[str]:
    """Returns one name, or several, as text.

    Raises:
        UsageError: something is neither text nor a path.
    """
    each = [named] if isinstance(named, str | os.PathLike) else named
    try:
        return [os.fspath(one) for one in each]
    except TypeError as error:
        raise UsageError(f"{name} is {named!r}; give a name, or several", argument=name) from error


def _out_of_range(value: object, name: str, what: str, least: float, most: float) -> UsageError:
    ends = f"of at least {least:,}" if most == inf else f"from {least:,} to {most:,}"
    return UsageError(f"{name} is {value!r}; it must be {what} {ends}", argument=name, bounds=(least, most))
