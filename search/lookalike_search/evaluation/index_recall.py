"""Measures recall@10 of a store's ANN index: its ten neighbours compared with the exact ten."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from lookalike_core.neighbours.cosine import paired_cosines
from lookalike_core.neighbours.near_duplicates import are_near
from lookalike_core.neighbours.precision import precision_at
from lookalike_core.neighbours.recall import measure_recall
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.labelled_vectors import IntVector, LabelledImages, LabelledVectors
from lookalike_search.evaluation.leave_one_out import CUTOFFS, SHOWN, QueryResults, right_of


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedNeighbours:
    """The store's answers to N queries: `neighbours` int64 `[N, SHOWN]`, best first, -1 for missing ones.

    The store's index covers `covered` of the `points` of the collection; where it covers none, every search
    is exact.
    """

    neighbours: IntVector
    covered: int
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFigures:
    """How good the index is: `overlap` is recall@10, `complete` the share of queries with a recall of 1.

    `figures` are `precision_at_1`, `_5` and `_10` of the neighbours by the index. `covered` and `points` are
    as in `IndexedNeighbours`.
    """

    covered: int
    points: int
    overlap: Estimate
    complete: Estimate
    figures: Mapping[str, Estimate]


def find_indexed_neighbours(
    collection: Collection,
    images: LabelledImages,
    where: PointFilter,
    *,
    queries: IntVector | None = None,
    without_near_above: float | None = None,
    on_done: Callable[[int], None] = lambda _: None,
) -> IndexedNeighbours:
    """Returns the ten neighbours of some images, by default of all, by the collection's index, if it has one.

    The image and its exact duplicates come first as a rule, so that many more hits are requested: a filter
    would measure another search. Further hits are requested where images without a class, or near-duplicates
    that do not count, are among these. `on_done` is called with the number of further queries that are
    answered; `queries` are rows, int64 `[Q]`.
    """
    rows = {payload.id: row for row, payload in enumerate(images.payloads)}
    copies = np.bincount(images.vectors.copies)[images.vectors.copies]
    found = np.full((len(rows), SHOWN), -1, dtype=np.int64)
    for query in range(len(rows)) if queries is None else queries.tolist():
        limit = SHOWN + int(copies[query])
        while True:
            hits = collection.query(images.vectors.vectors[query], limit=limit, where=where)
            named = np.array([rows.get(hit.payload.id, -1) for hit in hits], dtype=np.int64)
            kept = _countable_rows(images.vectors, query, named, without_near_above)
            if len(kept) >= SHOWN or len(hits) < limit:
                break
            limit *= 2
        found[query, : min(len(kept), SHOWN)] = kept[:SHOWN]
        on_done(1)
    return IndexedNeighbours(neighbours=found, covered=collection.indexed_count(), points=collection.count())


def _countable_rows(
    images: LabelledVectors, query: int, found: IntVector, without_near_above: float | None
) -> IntVector:
    """Returns the rows that count as neighbours, in their order."""
    found = found[found >= 0]
    found = found[images.copies[found] != images.copies[query]]
    if without_near_above is not None:
        found = found[
            ~are_near(paired_cosines(images.vectors[found], images.vectors[query]), without_near_above)
        ]
    return found


def measure_index(
    images: LabelledVectors, exact: QueryResults, indexed: IndexedNeighbours, *, seed: int = 0
) -> IndexFigures:
    """Compares the index's neighbours with the ten that `leave_one_out` found exactly.

    A neighbour that is as near as the exact tenth, within a rounding, counts as recalled: ties have no order.
    Where there are fewer than ten exact neighbours, recall is over those.
    """
    recalls = np.array(
        [
            _recall(images, query, own[own >= 0], found[found >= 0])
            for query, (own, found) in enumerate(
                zip(exact.neighbours[:, :SHOWN], indexed.neighbours, strict=True)
            )
        ]
    )
    complete = np.where(np.isnan(recalls), np.nan, recalls == 1)
    right = right_of(indexed.neighbours, images.classes)
    return IndexFigures(
        covered=indexed.covered,
        points=indexed.points,
        overlap=estimate(recalls, seed=seed),
        complete=estimate(complete, seed=seed),
        figures={
            f"precision_at_{k}": estimate(precision_at(k, right, exact.relevant), seed=seed) for k in CUTOFFS
        },
    )


def _recall(images: LabelledVectors, query: int, exact: IntVector, found: IntVector) -> float:
    """Returns the share of one query's exact neighbours that was found; NaN where it has none."""
    return measure_recall(
        _nearness(images, query, exact), _nearness(images, query, found), np.isin(found, exact)
    )


def _nearness(images: LabelledVectors, query: int, rows: IntVector) -> NDArray[np.float64]:
    """Returns how near rows are to a query by their vectors, float64 `[n]`: scores of stores are rounded."""
    if images.higher_is_nearer:
        return paired_cosines(images.vectors[rows], images.vectors[query])
    away = images.vectors[rows].astype(np.float64) - images.vectors[query]
    return np.asarray(-np.linalg.norm(away, axis=1))
