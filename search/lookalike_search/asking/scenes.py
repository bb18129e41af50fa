"""Near-duplicates among hits are folded, so that an answer of ten neighbours shows ten scenes.

A hit that is a near-duplicate of a better ranked one is folded into it: see `fold_near`. The query is no hit,
and its own near-duplicates are a scene like others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.near_duplicates import fold_near
from lookalike_core.stores.points import PointFilter, SearchHit
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

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
class Scenes(Generic[_Hit]):
    """The first of a ranking; `is_full` says that further ones would be scenes of their own."""

    scenes: Sequence[Scene[_Hit]]
    is_full: bool


def fold_hits(
    hits: Sequence[_Hit],
    vectors_of: Callable[[Sequence[_Hit]], Sequence[FloatMatrix]],
    *,
    above: float,
    limit: int,
) -> Scenes[_Hit]:
    """Returns at most `limit` scenes of ranked hits, best first, with all that comes before the next scene.

    `vectors_of` reads the vectors of some hits, float `[N, D]` for each network, zero where it lacks one.
    """
    blocks = (vectors_of(hits[start : start + _AT_ONCE]) for start in range(0, len(hits), _AT_ONCE))
    owners = fold_near(blocks, above=above, limit=limit)
    near: dict[int, list[_Hit]] = {}
    for place, owner in enumerate(owners):
        members = near.setdefault(owner, [])
        if owner != place:
            members.append(hits[place])
    scenes = [Scene(hit=hits[place], near=members) for place, members in near.items()]
    return Scenes(scenes=scenes, is_full=len(owners) < len(hits))


def nearest_scenes(
    collection: Collection,
    vector: FloatVector,
    *,
    limit: int,
    where: PointFilter,
    exact: bool,
    above: float | None,
) -> list[Scene[SearchHit]]:
    """Returns the `limit` nearest scenes, best first; without `above` each hit is one.

    The collection is asked for more hits until there are so many scenes, or nothing is left.
    """
    if above is None:
        hits = collection.query(vector, limit=limit, where=where, exact=exact)
        return [Scene(hit=hit) for hit in hits]
    for asked in _doubled(limit):
        hits = collection.query(vector, limit=asked, where=where, exact=exact)
        found = fold_hits(hits, lambda some: [stored_rows(collection, some)], above=above, limit=limit)
        if found.is_full or len(hits) < asked:
            break
    return list(found.scenes)


def _doubled(limit: int) -> Iterator[int]:
    asked = 2 * limit
    while True:
        yield asked
        asked *= 2


def stored_rows(collection: Collection, hits: Sequence[SearchHit]) -> FloatMatrix:
    """Returns the stored vectors of hits, float32 `[N, D]`; zero for what is not in the collection."""
    return rows_of(collection, [hit.payload.id for hit in hits])


def rows_of(collection: Collection, ids: Sequence[str]) -> FloatMatrix:
    """Returns the stored vectors of points, float32 `[N, D]`; zero for what is not in the collection."""
    rows = np.zeros((len(ids), collection.manifest.identity.dimension), dtype=np.float32)
    stored = collection.vectors(ids)
    for row, id_ in enumerate(ids):
        if (vector := stored.get(id_)) is not None:
            rows[row] = vector
    return rows
