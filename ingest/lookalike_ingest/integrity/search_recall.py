"""Measures recall@10 of a collection's search index, from some of its stored vectors."""

from collections.abc import Sequence

import numpy as np
from lookalike_core.errors import StoreError
from lookalike_core.neighbours.recall import measure_recall
from lookalike_core.stores.points import ScoredId
from lookalike_core.stores.protocol import Collection

from lookalike_ingest.integrity.bounds import interval_of_share
from lookalike_ingest.integrity.faults import IndexRecall

NEIGHBOURS = 10
QUERIES = 100
"""How many vectors are searched with."""

FLOOR = 0.95
"""An index whose recall is certainly lower is at fault; a sound one has 0.99 to 1 (benchmarks/store.py)."""


def measure_index_recall(collection: Collection, ids: Sequence[str]) -> IndexRecall | None:
    """Returns the recall for the stored vectors of these points; None without an index.

    Nor can it be measured where a server allows no exact search. A neighbour that is as near as the exact
    tenth counts as found: ties have no order.
    """
    if not ids or not collection.indexed_count():
        return None
    stored = collection.vectors(ids)
    vectors = np.array(list(stored.values()), dtype=np.float32)
    try:
        exact = collection.query_many(vectors, limit=NEIGHBOURS + 1, exact=True)
    except StoreError:
        if collection.upkeep is not None:
            raise
        return None
    indexed = collection.query_many(vectors, limit=NEIGHBOURS + 1)
    higher_is_nearer = collection.manifest.distance.higher_is_nearer
    recalls = [
        _recall(_others(right, id_), _others(found, id_), higher_is_nearer=higher_is_nearer)
        for id_, right, found in zip(stored, exact, indexed, strict=True)
    ]
    low, high = interval_of_share(sum(recalls), len(recalls))
    return IndexRecall(queries=len(recalls), value=sum(recalls) / len(recalls), low=low, high=high)


def _others(hits: Sequence[ScoredId], own: str) -> list[ScoredId]:
    return [hit for hit in hits if hit.id != own][:NEIGHBOURS]


def _recall(exact: Sequence[ScoredId], found: Sequence[ScoredId], *, higher_is_nearer: bool) -> float:
    """Returns the share of the exact neighbours that was found; 1 where there are none."""
    if not exact:
        return 1.0
    sign, ids = 1 if higher_is_nearer else -1, {hit.id for hit in exact}
    return measure_recall(
        np.array([sign * hit.score for hit in exact]),
        np.array([sign * hit.score for hit in found]),
        np.array([hit.id in ids for hit in found], dtype=bool),
    )
