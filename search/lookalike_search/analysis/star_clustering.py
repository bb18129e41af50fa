"""Which images are near enough to a better one, so that the better one stands for them.

`stars` is pure; what is near comes from numpy or from a store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.brute_force import IntVector, Nearest
from lookalike_core.stores.bulk_reads import AT_ONCE, stored_vectors
from lookalike_core.stores.points import Payload, PointFilter, ScoredId
from lookalike_core.stores.protocol import Collection

FIRST_LIMIT = 16
LAST_LIMIT = 1_024
"""So many neighbours a store is asked for first; twice as many as long as all of them are near enough, but no
more than so many, or of a thousand pages of text each would be asked about all."""


def stars(
    count: int,
    blocks: Iterable[IntVector],
    near: Callable[[IntVector], Iterable[Nearest]],
    on_done: Callable[[int], None] = lambda _: None,
    *,
    above: float = -np.inf,
    on_found: Callable[[Nearest], None] = lambda _: None,
) -> tuple[IntVector, FloatVector]:
    """Which row each of `count` rows belongs to, int64 `[count]`, and how similar it is to that, float32.

    Rows are in the order in which they are to be kept. Each that is not near to an earlier kept one is
    kept, and belongs to itself with similarity 1; the others belong to the nearest kept one before them.
    `near` gives for rows those that are near to them, all of which `on_found` is handed; earlier ones and
    those no more similar than `above` are passed over. A row about which it says nothing is kept.
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
    """What is near by a store's own search, to the rows of different images; cosine collections only.

    `rows` gives the row for each id; copies may share one. `where` says which points there are.
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
        """All rows in order, as many at a time as are asked at once."""
        for start in range(0, len(self._payloads), self._at_once):
            yield np.arange(start, min(start + self._at_once, len(self._payloads)))

    def near(self, rows: IntVector) -> Iterator[Nearest]:
        """All that is near to each of some rows; nothing for what was deleted meanwhile."""
        there, vectors = stored_vectors(self._collection, [self._payloads[row] for row in rows])
        answers = self._ask(vectors, FIRST_LIMIT) if there else []
        for payload, vector, first in zip(there, vectors, answers, strict=True):
            answer, limit = first, FIRST_LIMIT
            while len(answer) == limit < LAST_LIMIT and answer[-1].score > self._above:
                limit *= 2
                [answer] = self._ask(vector[np.newaxis], limit)
            row, scores = self._rows[payload.id], {}
            for each in reversed(answer):  # of copies the best score stays
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
