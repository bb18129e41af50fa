"""Every picture of a collection asks for its neighbours: the store's index, or numpy, which misses none."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from lookalike_core.neighbours.brute_force import ExactSearch
from lookalike_core.stores.bulk_reads import AT_ONCE, stored_vectors
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter, ScoredId, SearchHit
from lookalike_core.stores.protocol import Collection

from lookalike_search.collection_choice import in_collection

Neighbours = tuple[Payload, list[SearchHit]]

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
    where = in_collection(where, collection.manifest)
    payloads = sorted(collection.scan(where), key=lambda payload: (payload.dataset, payload.path))
    if is_small(collection, where) if exact is None else exact:
        return _by_numpy(collection, payloads, limit, include_copies=include_copies)
    return _by_store(collection, payloads, limit, where, include_copies=include_copies)


def _by_numpy(
    collection: Collection, payloads: Sequence[Payload], limit: int, *, include_copies: bool
) -> Iterator[Neighbours]:
    there, vectors = stored_vectors(collection, payloads)
    copies: dict[str, list[int]] = {}
    for row, payload in enumerate(there):
        copies.setdefault(payload.sha256, []).append(row)
    search = ExactSearch(vectors, cosine=collection.manifest.distance.higher_is_nearer)
    for rows in search.blocks():
        left_out = [[row] if include_copies else copies[there[row].sha256] for row in rows.tolist()]
        for found in search.nearest(rows, limit=limit, left_out=left_out):
            pairs = zip(found.rows.tolist(), found.scores.tolist(), strict=True)
            yield there[found.row], [SearchHit(score=score, payload=there[row]) for row, score in pairs]


def _by_store(
    collection: Collection,
    payloads: Sequence[Payload],
    limit: int,
    where: PointFilter,
    *,
    include_copies: bool,
) -> Iterator[Neighbours]:
    """Asks for a few more than are wanted, and by a filter, which takes longer, where that was too few."""
    known = {payload.id: payload for payload in payloads}
    copies = Counter(payload.sha256 for payload in payloads)

    def counted(found: Sequence[ScoredId], asks: Payload, its_id: str) -> list[SearchHit]:
        others = (each for each in found if each.id != its_id and each.id in known)
        hits = [SearchHit(score=each.score, payload=known[each.id]) for each in others]
        return [hit for hit in hits if include_copies or hit.payload.sha256 != asks.sha256][:limit]

    for start in range(0, len(payloads), AT_ONCE):
        part, vectors = stored_vectors(collection, payloads[start : start + AT_ONCE])
        most = 1 if include_copies else max((copies[payload.sha256] for payload in part), default=1)
        wanted = limit + min(most, _SPARE)
        answers = collection.query_many(vectors, limit=wanted, where=where)
        for payload, vector, answer in zip(part, vectors, answers, strict=True):
            its_id = payload.id
            hits = counted(answer, payload, its_id)
            if len(hits) < limit and len(answer) == wanted:
                others = replace(
                    where, excluded_sha256=frozenset(() if include_copies else (payload.sha256,))
                )
                [again] = collection.query_many(vector[np.newaxis], limit=limit + 1, where=others)
                hits = counted(again, payload, its_id)
            yield payload, hits
