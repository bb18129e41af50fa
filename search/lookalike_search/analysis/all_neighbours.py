"""Every picture of a collection asks for its neighbours: the store's index, or numpy, which misses none."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from lookalike_core.neighbours.brute_force import ExactSearch
from lookalike_core.stores.bulk_reads import AT_ONCE, stored_vectors
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter, ScoredId, SearchHit
from lookalike_core.stores.protocol import Collection

from lookalike_search.class_names import stored_class
from lookalike_search.collection_choice import in_collection
from lookalike_search.overlapping_roots import first_of_file

Neighbours = tuple[Payload, list[SearchHit]]

_SPARE = 8
"""So many copies are reckoned with; where a picture has more, it asks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLimits:
    """Up to what all images are compared with all, and how many vectors are read or asked about at once."""

    exact_images: int = 50_000
    exact_bytes: int = 2**30
    """Up to so many images, and so much memory for their vectors, comparing all with all in numpy is as fast
    as asking the embedded store's index for each (benchmarks/neighbours.py)."""

    at_once: int = AT_ONCE


COMPARISON_LIMITS = ComparisonLimits()


def is_small(
    collection: Collection,
    where: PointFilter = EVERYTHING,
    *,
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> bool:
    """Whether exact comparison is at least as fast as the index, and fits into memory."""
    count = collection.count(where)
    vector_bytes = count * collection.manifest.identity.dimension * 4
    return count <= limits.exact_images and vector_bytes <= limits.exact_bytes


def every_neighbours(
    collection: Collection,
    *,
    limit: int,
    where: PointFilter = EVERYTHING,
    include_copies: bool = False,
    exact: bool | None = None,
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> Iterator[Neighbours]:
    """Each picture with its nearest, best first, in the order of datasets and paths; a file once.

    `where` says which pictures ask and which answer; it leaves `excluded_sha256` open. A picture is never
    its own neighbour, and neither are those with the same bytes unless `include_copies` says so. Scores
    are Qdrant's own. With `exact` all vectors are in memory and compared in numpy; None does so where they
    are few. Otherwise the store is asked, as a query asks it; then only payloads are all in memory, about
    1 KB each. What is written or deleted meanwhile may be left out.

    Raises:
        UsageError: the collection has no such dataset or class.
    """
    where = in_collection(where, collection.manifest)
    where = replace(where, class_name=stored_class(where.class_name, [collection]))
    payloads = sorted(collection.scan(where), key=lambda payload: (payload.dataset, payload.path))
    known = first_of_file(payloads, collection.manifest)
    asking = [payload for payload in payloads if known[payload.id] is payload]
    at_once = limits.at_once
    if is_small(collection, where, limits=limits) if exact is None else exact:
        return _by_numpy(collection, asking, limit, include_copies=include_copies, at_once=at_once)
    return _by_store(collection, asking, known, limit, where, include_copies=include_copies, at_once=at_once)


def _by_numpy(
    collection: Collection, payloads: Sequence[Payload], limit: int, *, include_copies: bool, at_once: int
) -> Iterator[Neighbours]:
    there, vectors = stored_vectors(collection, payloads, at_once=at_once)
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
    known: Mapping[str, Payload],
    limit: int,
    where: PointFilter,
    *,
    include_copies: bool,
    at_once: int,
) -> Iterator[Neighbours]:
    """Asks for a few more than are wanted, and by a filter, which takes longer, where that was too few.

    `known` holds by the id of each point the image that it is of.
    """
    copies = Counter(payload.sha256 for payload in payloads)
    points_of_one = max(Counter(payload.id for payload in known.values()).values(), default=1)

    def counted(found: Sequence[ScoredId], asks: Payload) -> list[SearchHit]:
        hits: dict[str, SearchHit] = {}
        for each in found:
            payload = known.get(each.id, asks)
            if payload.id != asks.id and (include_copies or payload.sha256 != asks.sha256):
                hits.setdefault(payload.id, SearchHit(score=each.score, payload=payload))
        return list(hits.values())[:limit]

    for start in range(0, len(payloads), at_once):
        part, vectors = stored_vectors(collection, payloads[start : start + at_once])
        most = 1 if include_copies else max((copies[payload.sha256] for payload in part), default=1)
        wanted = points_of_one * (limit + min(most, _SPARE))
        answers = collection.query_many(vectors, limit=wanted, where=where)
        for payload, vector, answer in zip(part, vectors, answers, strict=True):
            hits = counted(answer, payload)
            if len(hits) < limit and len(answer) == wanted:
                others = replace(
                    where, excluded_sha256=frozenset(() if include_copies else (payload.sha256,))
                )
                more = points_of_one * (limit + 1)
                [again] = collection.query_many(vector[np.newaxis], limit=more, where=others)
                hits = counted(again, payload)
            yield payload, hits
