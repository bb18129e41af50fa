"""Metrics of rankings: precision@k, the best possible, R-precision and average precision. Pure.

A neighbour is right if it has the query's class. `relevant` counts, for each query, the other images of its
class that are not excluded. Without any, no neighbour can be right and the metrics are NaN, not 0.
"""

import numpy as np
from numpy.typing import NDArray

BoolMatrix = NDArray[np.bool_]
FloatVector = NDArray[np.float64]
IntVector = NDArray[np.int64]


def precision_at(k: int, right: BoolMatrix, relevant: IntVector) -> FloatVector:
    """Returns precision@k, float64 `[Q]`: the share of each query's first k neighbours that are right.

    `right` bool `[Q, K]` is in the order of the neighbours, best first; missing neighbours are False, and so
    count as wrong. `relevant` is int64 `[Q]`.
    """
    return np.where(relevant > 0, right[:, :k].sum(axis=1) / k, np.nan)


def best_precision_at(k: int, relevant: IntVector) -> FloatVector:
    """Returns the highest possible precision@k, float64 `[Q]`: below 1 where fewer than k are relevant."""
    return np.where(relevant > 0, np.minimum(relevant, k) / k, np.nan)


def r_precision(right: BoolMatrix, relevant: IntVector, *, at_most: int) -> FloatVector:
    """Returns R-precision, float64 `[Q]`: precision@R, where R is `relevant` or `at_most`, if that is less.

    Its best value is 1 however few are relevant, so it compares models by large and small classes alike
    (Musgrave, Belongie and Lim, "A Metric Learning Reality Check", 2020). It is precision@k where `at_most`
    is k and at least k are relevant.
    """
    depth = np.minimum(relevant, min(at_most, right.shape[1]))
    counted = np.arange(right.shape[1]) < depth[:, np.newaxis]
    return np.where(relevant > 0, (right & counted).sum(axis=1) / np.maximum(depth, 1), np.nan)


def average_precision(similarity: NDArray[np.floating], same: BoolMatrix) -> FloatVector:
    """Returns each query's average precision over its whole ranking, float64 `[Q]`.

    This is the mean over the relevant images of the precision among all that are at least as near, so it does
    not depend on the order of ties; it equals scikit-learn's `average_precision_score`. `similarity` float
    `[Q, N]` is -inf for excluded images, `same` bool `[Q, N]` says which images have the query's class.
    """
    return np.array([_average_precision(row, own) for row, own in zip(similarity, same, strict=True)])


def _average_precision(similarity: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    relevant = np.sort(similarity[same])
    relevant = relevant[np.isfinite(relevant)]
    if not len(relevant):
        return float("nan")
    ranked = np.sort(similarity)
    at_least = len(ranked) - np.searchsorted(ranked, relevant, side="left")
    hits = len(relevant) - np.searchsorted(relevant, relevant, side="left")
    return float(np.mean(hits / at_least))
