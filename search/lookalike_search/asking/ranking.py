"""Lists neighbours in one order for all pages, so that pages neither overlap nor leave gaps.

With an ANN index, quantized vectors or tied scores a deeper search may begin otherwise than a shallower one.
So searches are made at fixed depths only, and new hits of a deeper one rank behind those of a shallower one.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

MAX_LIMIT = 10_000
"""Neighbours that an answer may have."""

MAX_OFFSET = 100_000
"""Neighbours that an answer may pass over."""

FIRST_DEPTH = 20
"""How many hits the first search asks for: enough in one go for ten scenes, or files in two datasets."""

_GROWTH = 4
_DEEPEST = MAX_OFFSET + MAX_LIMIT

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Generic[_Found]):
    """The hits of a search, best first, and whether there are no others."""

    found: Sequence[_Found]
    is_all: bool


def search_deeper(
    search: Callable[[int], Search[_Found]],
    *,
    key: Callable[[_Found], Hashable],
    first_depth: int = FIRST_DEPTH,
) -> Iterator[Sequence[_Found]]:
    """Yields neighbours, best first, in parts: what each deeper search adds, made when its part is wanted.

    `search` returns the nearest up to a depth. Of hits with the same `key` the first one is kept. The order
    does not depend on how far it is read, as long as the collection does not change.
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


def take_nearest(parts: Iterator[Sequence[_Found]], count: int) -> list[_Found]:
    """Returns the parts of `search_deeper` that hold the first `count` hits, or all parts for fewer hits."""
    found: list[_Found] = []
    for part in parts:
        found += part
        if len(found) >= count:
            break
    return found
