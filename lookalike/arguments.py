"""Checks the library's arguments by the ranges of the commands' options."""

import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from math import inf
from typing import TypeVar

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.images.region import EXAMPLES, Region
from lookalike_core.stores.points import PointFilter
from lookalike_ingest.parts import Part
from lookalike_search.analysis.inversion_attack import FEWEST
from lookalike_search.analysis.privacy import MOST
from lookalike_search.asking.choice import HitChoice, OnePer
from lookalike_search.asking.ranking import MAX_LIMIT, MAX_OFFSET
from lookalike_search.evaluation.image_noise import MAX_NOISE
from lookalike_search.evaluation.vote_study import SAMPLE, StudyOptions, plan_study

_RANGES: dict[str, tuple[float, float]] = {
    "batch_size": (1, 1_024),
    "count": (1, inf),
    "dims": (1, inf),
    "k": (1, 1_000),
    "limit": (1, MAX_LIMIT),
    "sample": (1, inf),
    "max_pixels": (1, inf),
    "min_width": (1, inf),
    "offset": (0, MAX_OFFSET),
    "principal": (1, inf),
    "queries": (2, inf),
    "seed": (0, inf),
    "threads": (1, 1_024),
    "above": (0, 1),
    "diverse": (0, 1),
    "max_distance": (0, inf),
    "min_score": (-1, 1),
    "near_above": (0, 1),
    "noise": (0, MAX_NOISE),
    "poll_s": (1, 86_400),
}
"""Argument -> its least and greatest value, unless a caller gives others."""

NEIGHBOURS_OF_EACH = (1, 10_000)
"""The range of `k` in `Index.neighbours`, where none of the neighbours votes."""

ATTACKED = (FEWEST, MOST)
RECOGNISED_OF_EACH = (0, MOST)
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


def check_study(k: object, noise: object = (), sample: object = None) -> tuple[int, StudyOptions | None]:
    """Returns the number of voters, and what is studied: see `plan_study`.

    Raises:
        UsageError: there is no k, a value is no number or out of its range, or a sample has no noise.
    """
    ks, levels = (
        list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        for given in (k, noise)
    )
    if not ks:
        raise UsageError("k is empty; give a number of neighbours, or several", argument="k")
    if sample is not None and not levels:
        raise UsageError("a sample is for images with noise; give levels of noise, too", argument="sample")
    return plan_study(
        [check_whole(each, "k") for each in ks],
        [check_number(each, "noise") for each in levels],
        SAMPLE if sample is None else check_whole(sample, "sample"),
    )


def check_share(value: object, name: str, *, example: float) -> float:
    """Returns a share as `float`, above 0 and below 1; the message gives an example of one.

    Raises:
        UsageError: the value is no such number.
    """
    if not isinstance(value, float | np.floating) or not 0 < value < 1:
        raise UsageError(
            f"{name} is {value!r}; it must be a number above 0 and below 1, such as {example:g}",
            argument=name,
            bounds=(0, 1),
        )
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


def check_hit_choice(min_chance: object, one_per: object, diverse: object) -> HitChoice:
    """Returns which hits are shown.

    Raises:
        UsageError: a value is not of its kind, or out of its range.
    """
    return HitChoice(
        min_chance=None if min_chance is None else check_share(min_chance, "min_chance", example=0.8),
        one_per=None if one_per is None else check_choice(OnePer, one_per, "one_per"),
        diverse=check_number(diverse, "diverse"),
    )


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


def parse_part(value: object) -> Part:
    """Returns the part that two numbers mean: which one, from 1 on, and of how many.

    Raises:
        UsageError: the value is something else, or there is no such part.
    """
    numbers = list(value) if isinstance(value, tuple | list) else []
    if len(numbers) != _PAIR or not all(type(each) is int for each in numbers):
        raise UsageError(f"part is {value!r}; give two whole numbers, as (2, 8)", argument="part")
    return Part(number=numbers[0], total=numbers[1])


_PAIR = 2


def parse_region(value: object) -> Region:
    """Returns the region that a text, or four numbers in pixels, mean.

    Raises:
        UsageError: the value is neither, or no region of an image.
    """
    if isinstance(value, str):
        return Region.parse(value)
    numbers = list(value) if isinstance(value, Sequence | np.ndarray) else []
    if not numbers or not all(isinstance(each, int | float | np.number) for each in numbers):
        raise UsageError(f"region is {value!r}; give x,y,width,height, as {EXAMPLES}", argument="region")
    return Region.of(numbers)


def _out_of_range(value: object, name: str, what: str, least: float, most: float) -> UsageError:
    ends = f"of at least {least:,}" if most == inf else f"from {least:,} to {most:,}"
    return UsageError(f"{name} is {value!r}; it must be {what} {ends}", argument=name, bounds=(least, most))
