"""Neighbours in an order that is the same whatever part of it is asked for, so that pages fit together.

An approximate index, short forms of vectors and equal scores may give another beginning to a deeper search.
So searches are made at fixed depths only, and what a deeper one finds comes behind what a shallower one did.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MAX_LIMIT = 10_000
"""Neighbours that an answer may have."""

MAX_OFFSET = 100_000
"""Neighbours that an answer may pass over."""

FIRST_DEPTH = 10
"""What is asked for as a rule: then one search is made."""

_GROWTH = 4
_DEEPEST = MAX_OFFSET + MAX_LIMIT

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Generic[_Found]):
    """What a search found, best first, and whether that is all there is."""

    found: Sequence[_Found]
    is_all: bool


def ranking(
    search: Callable[[int], Search[_Found]],
    count: int,
    *,
    key: Callable[[_Found], Hashable],
    first_depth: int = FIRST_DEPTH,
) -> list[_Found]:
    """Returns at least the `count` nearest, where there are so many, best first.

    `search` is asked for the nearest up to a depth. Of those that have the same `key` the first one stays.
    For a smaller `count` the list begins as for a larger one, as long as the collection stays as it is.
    """
    ranked: dict[Hashable, _Found] = {}
    depth = first_depth
    while True:
        answer = search(depth)
        for each in answer.found:
            ranked.setdefault(key(each), each)
        if len(ranked) >= count or answer.is_all or depth >= _DEEPEST:
            return list(ranked.values())
        depth = min(_GROWTH * depth, _DEEPEST)
