"""Finds the images behind wrong neighbours and wrong verdicts of an evaluation. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from lookalike_core.neighbours.vote import VoteRule
from numpy.typing import NDArray

from lookalike_search.evaluation.leave_one_out import keep_countable
from lookalike_search.evaluation.summary import Evaluation

RULE = VoteRule.NEARER_TIES
"""The vote whose wrong verdicts are shown, as that of `search query`."""

EXAMPLES = 8
"""Pairs of images of each two classes, the nearest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusedClasses:
    """Neighbours of the class `other` that queries of the class `own` have; classes are numbers.

    `count` is their number and `share` that among the neighbours of the class. `pairs` are rows of queries
    and places of neighbours, counted from 0: of each query the nearest such neighbour, the first ones first.
    """

    own: int
    other: int
    count: int
    share: float
    pairs: Sequence[tuple[int, int]]


def row_shares(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the counts of a table as shares of their rows."""
    shares: NDArray[np.float64] = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    return shares


def find_confused_classes(evaluation: Evaluation, *, most: int) -> Iterator[ConfusedClasses]:
    """Yields the worst confusions of two classes, by the share of the second among neighbours of the first.

    Only as many neighbours of a query count as could all be right.
    """
    table, classes = evaluation.countable_confusion, evaluation.images.vectors.classes
    found = keep_countable(evaluation.results)
    intruders = np.where(found >= 0, classes[found], -1)
    shares = row_shares(table)
    for own, other in _worst_pairs(shares)[:most]:
        queries = np.flatnonzero(classes == own)
        found_by, places = np.nonzero(intruders[queries] == other)
        rows, first = np.unique(queries[found_by], return_index=True)
        places = places[first]
        nearest = np.argsort(places, kind="stable")[:EXAMPLES]
        yield ConfusedClasses(
            own=own,
            other=other,
            count=int(table[own, other]),
            share=float(shares[own, other]),
            pairs=[(int(rows[i]), int(places[i])) for i in nearest],
        )


def _worst_pairs(shares: NDArray[np.float64]) -> list[tuple[int, int]]:
    wrong = shares.copy()
    np.fill_diagonal(wrong, 0)
    pairs = np.argwhere(wrong > 0)
    order = np.argsort(-wrong[pairs[:, 0], pairs[:, 1]], kind="stable")
    return [(int(own), int(other)) for own, other in pairs[order]]


def find_wrong_queries(evaluation: Evaluation) -> list[int]:
    """Returns the rows of verdicts that are wrong and could be right.

    Those with the fewest right neighbours come first, then by average precision.
    """
    verdicts, classes = evaluation.results.verdicts[RULE], evaluation.images.vectors.classes
    rows = np.flatnonzero((verdicts >= 0) & (verdicts != classes) & ~evaluation.alone)
    precision = evaluation.values["precision_at_10"][rows]
    average = np.nan_to_num(evaluation.values["mean_average_precision"][rows])
    return [int(row) for row in rows[np.lexsort((rows, average, precision))]]
