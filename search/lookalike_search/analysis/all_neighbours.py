"""Every picture of a collection asks for its neighbours: the store's index, or numpy, which misses none."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.brute_force import ExactSearch, FloatMatrix, IntVector
from lookalike_core.stores.bulk_reads import AT_ONCE, stored_vectors
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter, ScoredId, SearchHit
from lookalike_core.stores.protocol import Collection

from lookalike_search.asking.scenes import Scene, fold_hits, stored_rows
from lookalike_search.collection_choice import require_dataset

Neighbours = tuple[Payload, list[SearchHit]]
SceneList = tuple[Payload, Sequence[Scene[SearchHit]]]

EXACT_PICTURES = 50_000
EXACT_BYTES = 2**30
"""Up to so many pictures, and so much memory for their vectors, comparing all with all in numpy is as fast
as asking the embedded store's index for each (benchmarks/neighbours.py)."""

_SPARE = 8
"""So many copies are reckoned with; where a picture has more, it asks again."""


def is_small(collection: Collection, where: PointFilter = EVERYTHING) -> bool:
    """Whether exact comparison is at least as fast as the index, and fits into memory."""
    count = collection.count(where)
    return count <= EXACT_PICTURES and count * collection.manifest.identity.dimension * 4 <= EXACT_BYTES


def every_neighbours(
    collection: Collection,
    *,
    limit: int,
    where: PointFilter = EVERYTHING,
    include_copies: bool = False,
    exact: bool | None = None,
) -> Iterator[Neighbours]:
    """Each picture with its nearest, best first, in the order of datasets and paths.

    `where` says which pictures ask and which answer; it leaves `excluded_sha256` open. A picture is never
    its own neighbour, and neither are those with the same bytes unless `include_copies` says so. Scores
    are Qdrant's own. With `exact` all vectors are in memory and compared in numpy; None does so where they
    are few. Otherwise the store is asked, as a query asks it; then only payloads are all in memory, about
    1 KB each. What is written or deleted meanwhile may be left out.

    Raises:
        UsageError: the collection has no such dataset.
    """
    return _search(collection, where, include_copies=include_copies, exact=exact).every(limit)


def every_scenes(
    collection: Collection,
    *,
    limit: int,
    above: float | None,
    where: PointFilter = EVERYTHING,
    include_copies: bool = False,
    exact: bool | None = None,
) -> Iterator[SceneList]:
    """As `every_neighbours`, with near-duplicates folded: each picture with its `limit` nearest scenes.

    Hits whose cosine similarity to a better ranked one is over `above` are folded into that one. Where that
    leaves fewer scenes, more hits are asked for until there is nothing left. Without `above` each is one.
    """
    search = _search(collection, where, include_copies=include_copies, exact=exact)
    if above is None:
        return ((asks, [Scene(hit=hit) for hit in hits]) for asks, hits in search.every(limit))
    return ((asks, _scenes(search, asks, hits, limit, above)) for asks, hits in search.every(2 * limit))


def _scenes(
    search: "_Search", asks: Payload, hits: list[SearchHit], limit: int, above: float
) -> Sequence[Scene[SearchHit]]:
    asked = 2 * limit
    while True:
        found = fold_hits(hits, lambda some: [search.vectors(some)], above=above, limit=limit)
        if found.is_full or len(hits) < asked:
            return found.scenes
        asked *= 2
        hits = search.nearest(asks, asked)


class _Search(Protocol):
    """Answers each picture of a collection with others of it, never with itself."""

    def every(self, limit: int) -> Iterator[Neighbours]:
        """Each picture with its `limit` nearest, or fewer where there are no more."""

    def nearest(self, asks: Payload, limit: int) -> list[SearchHit]:
        """The same of one picture; `limit` is more than every one was asked for."""

    def vectors(self, hits: Sequence[SearchHit]) -> FloatMatrix:
        """The vectors of some hits, float32 `[N, D]`, of whatever length."""


def _search(
    collection: Collection, where: PointFilter, *, include_copies: bool, exact: bool | None
) -> _Search:
    require_dataset([collection.manifest], where.dataset)
    payloads = sorted(collection.scan(where), key=lambda payload: (payload.dataset, payload.path))
    if is_small(collection, where) if exact is None else exact:
        return _NumpySearch(collection, payloads, include_copies=include_copies)
    return _StoreSearch(collection, payloads, where, include_copies=include_copies)


class _NumpySearch:
    """By all vectors in memory; implements `_Search`."""

    def __init__(self, collection: Collection, payloads: Sequence[Payload], *, include_copies: bool) -> None:
        self._there, vectors = stored_vectors(collection, payloads)
        self._rows = {payload.id: row for row, payload in enumerate(self._there)}
        self._copies: dict[str, list[int]] = {}
        for row, payload in enumerate(self._there):
            self._copies.setdefault(payload.sha256, []).append(row)
        self._include_copies = include_copies
        self._exact = ExactSearch(vectors, cosine=collection.manifest.distance.higher_is_nearer)

    def every(self, limit: int) -> Iterator[Neighbours]:
        """Many at a time."""
        for rows in self._exact.blocks():
            yield from self._found(rows, limit)

    def nearest(self, asks: Payload, limit: int) -> list[SearchHit]:
        """Compares anew."""
        [(_, hits)] = self._found(np.array([self._rows[asks.id]]), limit)
        return hits

    def vectors(self, hits: Sequence[SearchHit]) -> FloatMatrix:
        """Those that are in memory."""
        return self._exact.vectors(np.array([self._rows[hit.payload.id] for hit in hits], dtype=np.int64))

    def _found(self, rows: IntVector, limit: int) -> Iterator[Neighbours]:
        left_out = [
            [row] if self._include_copies else self._copies[self._there[row].sha256] for row in rows.tolist()
        ]
        for found in self._exact.nearest(rows, limit=limit, left_out=left_out):
            pairs = zip(found.rows.tolist(), found.scores.tolist(), strict=True)
            yield (
                self._there[found.row],
                [SearchHit(score=score, payload=self._there[row]) for row, score in pairs],
            )


class _StoreSearch:
    """By the store's own search; implements `_Search`.

    Asks for a few more than are wanted, and by a filter, which takes longer, where that was too few.
    """

    def __init__(
        self,
        collection: Collection,
        payloads: Sequence[Payload],
        where: PointFilter,
        *,
        include_copies: bool,
    ) -> None:
        self._collection, self._payloads, self._where = collection, payloads, where
        self._include_copies = include_copies
        self._known = {payload.id: payload for payload in payloads}
        self._copies = Counter(payload.sha256 for payload in payloads)

    def every(self, limit: int) -> Iterator[Neighbours]:
        """Many at a time."""
        for start in range(0, len(self._payloads), AT_ONCE):
            part, vectors = stored_vectors(self._collection, self._payloads[start : start + AT_ONCE])
            copies = (self._copies[payload.sha256] for payload in part)
            wanted = limit + min(1 if self._include_copies else max(copies, default=1), _SPARE)
            answers = self._collection.query_many(vectors, limit=wanted, where=self._where)
            for payload, vector, answer in zip(part, vectors, answers, strict=True):
                hits = self._others(payload, answer)[:limit]
                if len(hits) < limit and len(answer) == wanted:
                    hits = self._filtered(payload, vector, limit)
                yield payload, hits

    def nearest(self, asks: Payload, limit: int) -> list[SearchHit]:
        """By the filter; none of what is gone meanwhile."""
        vector = self._collection.vectors([asks.id]).get(asks.id)
        return [] if vector is None else self._filtered(asks, vector, limit)

    def vectors(self, hits: Sequence[SearchHit]) -> FloatMatrix:
        """Those that are stored."""
        return stored_rows(self._collection, hits)

    def _filtered(self, asks: Payload, vector: FloatVector, limit: int) -> list[SearchHit]:
        excluded = frozenset(() if self._include_copies else (asks.sha256,))
        others = replace(self._where, excluded_sha256=excluded)
        [found] = self._collection.query_many(vector[np.newaxis], limit=limit + 1, where=others)
        return self._others(asks, found)[:limit]

    def _others(self, asks: Payload, found: Sequence[ScoredId]) -> list[SearchHit]:
        others = (each for each in found if each.id != asks.id and each.id in self._known)
        hits = [SearchHit(score=each.score, payload=self._known[each.id]) for each in others]
        return [hit for hit in hits if self._include_copies or hit.payload.sha256 != asks.sha256]
