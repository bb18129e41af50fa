"""Folds near-duplicates among hits, so that an answer of ten neighbours shows ten scenes.

A hit that is a near-duplicate of a better ranked one is folded into that one: see `fold_near`. Folding
depends on better ranked hits alone, so that scenes have one order, and pages of them neither overlap nor
leave gaps. The query is no hit; its own near-duplicates are a scene like any other.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from lookalike_core.neighbours.near_duplicates import fold_near
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

from lookalike_search.asking.ranking import Search, search_deeper, take_nearest

FloatMatrix = NDArray[np.floating]
_Hit = TypeVar("_Hit")

_AT_ONCE = 64
"""Hits whose vectors are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene(Generic[_Hit]):
    """A hit, and the worse ranked ones that are folded into it, best first."""

    hit: _Hit
    near: Sequence[_Hit] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding(Generic[_Hit]):
    """Which hits are folded: those whose cosine similarity to a better ranked one is over `above`.

    `vectors_of` reads the vectors of some hits, float `[N, D]` for each network, zeros where it lacks one.
    """

    above: float
    vectors_of: Callable[[Sequence[_Hit]], Sequence[FloatMatrix]]


def find_scenes(
    search: Callable[[int], Search[_Hit]],
    count: int,
    *,
    key: Callable[[_Hit], Hashable],
    folding: Folding[_Hit] | None,
    first_depth: int,
) -> list[Scene[_Hit]]:
    """Returns the `count` nearest scenes of a ranking, where there are so many, best first.

    `search`, `key` and `first_depth` are as for `search_deeper`, which goes on until there are enough.
    A scene holds what is folded into it of all hits that rank before the first scene that is not returned.
    Without `folding` each hit is a scene, and there may be more than `count`.
    """
    parts = search_deeper(search, key=key, first_depth=first_depth)
    if folding is None:
        return [Scene(hit=hit) for hit in take_nearest(parts, count)]
    hits: list[_Hit] = []

    def blocks() -> Iterator[Sequence[FloatMatrix]]:
        for part in parts:
            hits.extend(part)
            for start in range(0, len(part), _AT_ONCE):
                yield folding.vectors_of(part[start : start + _AT_ONCE])

    near: dict[int, list[_Hit]] = {}
    for place, owner in enumerate(fold_near(blocks(), above=folding.above, limit=count)):
        members = near.setdefault(owner, [])
        if owner != place:
            members.append(hits[place])
    return [Scene(hit=hits[place], near=members) for place, members in near.items()]


def read_rows(collection: Collection, ids: Sequence[str]) -> FloatMatrix:
    """Returns the stored vectors of points, float32 `[N, D]`; zeros for a point that the collection lacks."""
    rows = np.zeros((len(ids), collection.manifest.identity.dimension), dtype=np.float32)
    stored = collection.vectors(ids)
    for row, id_ in enumerate(ids):
        if (vector := stored.get(id_)) is not None:
            rows[row] = vector
    return rows
