"""Nonconformity: how badly each class fits an image, by the classes and scores of its neighbours. Pure.

Conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005) makes a set of
classes of any such score. This one is near that of Proedrou, Nouretdinov, Vovk and Gammerman (Transductive
confidence machines for pattern recognition, ECML 2002), who compare the distances of the k nearest images of
a class with those of all other classes; it needs no more than the neighbours of one search.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float64]
FloatMatrix = NDArray[np.floating]
IntMatrix = NDArray[np.int64]

NEAREST = 3
"""How many neighbours of a class count; of 1 to 10, three made the smallest sets (ADR 27)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonconformity:
    """The nonconformity of classes to N images, 0 for the class that fits best, at most 1.

    `of_neighbours` float64 `[N, depth]` is that of each neighbour's class, NaN where there is no neighbour;
    `of_others` float64 `[N]` is that of every class that none of the neighbours has.
    """

    of_neighbours: FloatMatrix
    of_others: FloatVector

    def of_class(self, classes: IntMatrix, wanted: NDArray[np.int64]) -> FloatVector:
        """Returns the nonconformity of one class to each image, float64 `[N]`.

        `classes` int64 `[N, depth]` are those of the neighbours, `wanted` int64 `[N]` the class.
        """
        is_wanted = classes == wanted[:, np.newaxis]
        rows, first = np.arange(len(classes)), is_wanted.argmax(axis=1)
        return np.where(is_wanted.any(axis=1), self.of_neighbours[rows, first], self.of_others)


def measure_nonconformity(
    classes: IntMatrix, scores: FloatMatrix, *, higher_is_nearer: bool
) -> Nonconformity:
    """Measures how badly each class fits, by the labelled neighbours of N images.

    `classes` int64 `[N, depth]` are those of the neighbours, best first and -1 for missing ones, `scores`
    their cosine similarities or Euclidean distances.

    A neighbour's closeness is 1 - d / D, with d its cosine distance or squared Euclidean distance and D that
    of the last neighbour, so that it has no unit; for vectors of unit length both distances give the same.
    The closeness of a class is the mean of its `NEAREST` nearest, where a missing one counts as 0, and its
    nonconformity is the closeness of the best class less its own.
    """
    there = classes >= 0
    closeness = np.where(there, _closeness(scores, there, higher_is_nearer=higher_is_nearer), 0.0)
    rows, columns = np.nonzero(there)
    keys = rows * (int(classes.max(initial=0)) + 1) + classes[rows, columns]
    groups, group_of, counts = np.unique(keys, return_inverse=True, return_counts=True)
    order = np.argsort(group_of, kind="stable")
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - np.repeat(counts.cumsum() - counts, counts)
    counted = np.where(places < NEAREST, closeness[rows, columns], 0.0)
    of_group = np.bincount(group_of, weights=counted, minlength=len(groups)) / NEAREST
    of_class = np.full(classes.shape, np.nan)
    of_class[rows, columns] = of_group[group_of]
    best = np.where(there, of_class, 0.0).max(axis=1, initial=0.0)
    return Nonconformity(of_neighbours=best[:, np.newaxis] - of_class, of_others=best)


def _closeness(scores: FloatMatrix, there: NDArray[np.bool_], *, higher_is_nearer: bool) -> FloatMatrix:
    """Returns 1 - d / D of each neighbour, float64 `[N, depth]`, 0 to 1."""
    exact = scores.astype(np.float64)
    distances = np.maximum(1 - exact, 0) if higher_is_nearer else exact**2
    farthest = np.where(there, distances, 0.0).max(axis=1, initial=0.0, keepdims=True)
    return np.asarray(1 - distances / np.where(farthest > 0, farthest, 1.0))
