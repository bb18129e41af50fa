"""Greedy star clustering: each image belongs to the nearest better one that is near enough.

`find_stars` is pure; near rows come from brute force or from a store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.brute_force import IntVector, Nearest
from lookalike_core.stores.bulk_reads import AT_ONCE, read_vectors
from lookalike_core.stores.points import Payload, PointFilter, ScoredId
from lookalike_core.stores.protocol import Collection

FIRST_LIMIT = 16
LAST_LIMIT = 1_024
"""The first and the largest number of neighbours that a store is asked for: it is doubled while all of them
are near enough. Without a maximum each of a thousand pages of text would be compared with all."""


def find_stars(
    count: int,
    blocks: Iterable[IntVector],
    near: Callable[[IntVector], Iterable[Nearest]],
    on_done: Callable[[int], None] = lambda _: None,
    *,
    above: float = -np.inf,
    on_found: Callable[[Nearest], None] = lambda _: None,
) -> tuple[IntVector, FloatVector]:
    """Returns the centre that each row belongs to, int64 `[count]`, and its similarity to it, float32.

    Rows are in order of preference. A row that is not near an earlier centre is a centre itself, with
    similarity 1; others belong to the nearest centre before them. `near` yields the neighbours of rows, which
    are passed on to `on_found`; rows before a row, and rows no more similar than `above`, are ignored. A row
    that `near` does not yield is a centre.
    """
    kept_of = np.full(count, -1, dtype=np.int64)
    similarity = np.full(count, -np.inf, dtype=np.float32)
    for rows in blocks:
        for found in near(rows):
            on_found(found)
            if kept_of[found.row] >= 0:
                continue
            kept_of[found.row], similarity[found.row] = found.row, 1
            floor = np.maximum(similarity[found.rows], above)
            behind = (found.rows > found.row) & (found.scores > floor)
            kept_of[found.rows[behind]] = found.row
            similarity[found.rows[behind]] = found.scores[behind]
        on_done(len(rows))
    alone = np.flatnonzero(kept_of < 0)
    kept_of[alone], similarity[alone] = alone, 1
    return kept_of, similarity


class StoreNearness:
    """Finds near rows by searching the store of a cosine collection.

    `rows` maps ids to rows, which exact duplicates share; `where` filters the points.
    """

    def __init__(
        self,
        collection: Collection,
        payloads: Sequence[Payload],
        rows: Mapping[str, int],
        *,
        above: float,
        where: PointFilter,
        at_once: int = AT_ONCE,
    ) -> None:
        self._collection = collection
        self._payloads = payloads
        self._rows = rows
        self._above = above
        self._where = where
        self._at_once = at_once

    def blocks(self) -> Iterator[IntVector]:
        """Yields all rows in order, in blocks of one request."""
        for start in range(0, len(self._payloads), self._at_once):
            yield np.arange(start, min(start + self._at_once, len(self._payloads)))

    def near(self, rows: IntVector) -> Iterator[Nearest]:
        """Yields the near rows of each row; skips rows whose points have been deleted."""
        there, vectors = read_vectors(self._collection, [self._payloads[row] for row in rows])
        answers = self._ask(vectors, FIRST_LIMIT) if there else []
        for payload, vector, first in zip(there, vectors, answers, strict=True):
            answer, limit = first, FIRST_LIMIT
            while len(answer) == limit < LAST_LIMIT and answer[-1].score > self._above:
                limit *= 2
                [answer] = self._ask(vector[np.newaxis], limit)
            row, scores = self._rows[payload.id], {}
            for each in reversed(answer):  # of exact duplicates the best score stays
                if each.id in self._rows and each.score > self._above:
                    scores[self._rows[each.id]] = each.score
            scores.pop(row, None)
            yield Nearest(
                row=row,
                rows=np.array(list(scores), dtype=np.int64),
                scores=np.array(list(scores.values()), dtype=np.float32),
            )

    def _ask(self, vectors: FloatVector, limit: int) -> list[list[ScoredId]]:
        return self._collection.query_many(vectors, limit=limit, where=self._where)
