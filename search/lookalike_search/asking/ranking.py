"""Neighbours in an order that is the same whatever part of it is asked for, so that pages fit together.

An approximate index, short forms of vectors and equal scores may give another beginning to a deeper search.
So searches are made at fixed depths only, and what a deeper one finds comes behind what a shallower one did.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MAX_LIMIT = 10_000
"""Neighbours that an answer may have."""

MAX_OFFSET = 100_000
"""Neighbours that an answer may pass over."""

FIRST_DEPTH = 20
"""What is asked for as a rule: then one search is made, of ten scenes or of files in two datasets, too."""

_GROWTH = 4
_DEEPEST = MAX_OFFSET + MAX_LIMIT

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Generic[_Found]):
    """What a search found, best first, and whether that is all there is."""

    found: Sequence[_Found]
    is_all: bool


def ranked(
    search: Callable[[int], Search[_Found]],
    *,
    key: Callable[[_Found], Hashable],
    first_depth: int = FIRST_DEPTH,
) -> Iterator[Sequence[_Found]]:
    """Yields neighbours, best first, in parts: what each search adds, which is made when its part is wanted.

    `search` is asked for the nearest up to a depth. Of those that have the same `key` the first one stays.
    However far it is read, the order is the same, as long as the collection stays as it is.
    """
    known: set[Hashable] = set()
    depth = first_depth
    while True:
        answer = search(depth)
        part = []
        for each in answer.found:
            if key(each) not in known:
                known.add(key(each))
                part.append(each)
        yield part
        if answer.is_all or depth >= _DEEPEST:
            return
        depth = min(_GROWTH * depth, _DEEPEST)


def nearest(parts: Iterator[Sequence[_Found]], count: int) -> list[_Found]:
    """Returns of `ranked` neighbours the parts that hold the first `count`, or all where there are fewer."""
    found: list[_Found] = []
    for part in parts:
        found += part
        if len(found) >= count:
            break
    return found
