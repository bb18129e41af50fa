"""Every vector compared with every other, in numpy and in blocks. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.cosine import clip_cosines

FloatMatrix = NDArray[np.float32]
IntVector = NDArray[np.int64]

BLOCK = 256
"""Rows that are compared at a time, unless there are so many that they would be too many values."""

BLOCK_VALUES = 2**23
"""Similarities that are in memory at a time: 32 MB, and about as much again where they are ordered."""

_SPARE = 8
"""So many more candidates are looked at where scores are computed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The nearest of one row, best first: `rows` int64 `[K]`, `scores` float32 `[K]`."""

    row: int
    rows: IntVector
    scores: FloatVector


class ExactSearch:
    """Vectors float32 `[N, D]`, none of them zero, and what is near to what.

    The array is taken over and changed in place, since there may be no room for two: made unit vectors
    for cosine similarity (`cosine`), and centred for Euclidean distances, which does not change them and
    makes the numbers smaller.
    """

    def __init__(self, vectors: FloatMatrix, *, cosine: bool, block: int = BLOCK) -> None:
        self._vectors = vectors
        self._cosine = cosine
        self._block = block
        if not len(vectors):
            return
        if cosine:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        else:
            vectors -= vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
            self._squares = np.einsum("nd,nd->n", vectors, vectors)

    def blocks(self) -> Iterator[IntVector]:
        """All rows in their order, as many at a time as are compared at once."""
        count = len(self._vectors)
        size = max(1, min(self._block, BLOCK_VALUES // max(count, 1)))
        for start in range(0, count, size):
            yield np.arange(start, min(start + size, count))

    def nearest(self, rows: IntVector, *, limit: int, left_out: Sequence[Sequence[int]]) -> Iterator[Nearest]:
        """The `limit` nearest of each of some rows, without those that are left out, row by row.

        Of two at the same score the one with the smaller number comes first.
        """
        similarity = self._similarity(rows, 0)
        for values, out in zip(similarity, left_out, strict=True):
            values[out] = -np.inf
        count = similarity.shape[1]
        depth = min(limit if self._cosine else limit + _SPARE, count)
        floors = np.partition(similarity, count - depth, axis=1)[:, count - depth]
        for row, values, floor in zip(rows.tolist(), similarity, floors, strict=True):
            found = np.flatnonzero((values >= floor) & (values > -np.inf))
            scores = clip_cosines(values[found]) if self._cosine else self._distances(row, found)
            order = np.lexsort((found, -scores if self._cosine else scores))[:limit]
            yield Nearest(row=row, rows=found[order], scores=scores[order])

    def above(self, rows: IntVector, threshold: float) -> Iterator[Nearest]:
        """For each of some ascending rows, those behind it that are more similar than that; cosine only.

        Similarity is at most 1, however it is rounded.
        """
        if not len(rows):
            return
        first = int(rows[0])
        similarity = clip_cosines(self._similarity(rows, first))
        for row, values in zip(rows.tolist(), similarity, strict=True):
            behind = values[row + 1 - first :]
            found = np.flatnonzero(behind > threshold)
            yield Nearest(row=row, rows=found + row + 1, scores=behind[found])

    def _similarity(self, rows: IntVector, first: int) -> FloatMatrix:
        """Of rows to all from `first` on, `[B, N - first]`; higher is nearer."""
        products: FloatMatrix = self._vectors[rows] @ self._vectors[first:].T
        if self._cosine:
            return products
        products *= 2
        products -= self._squares[first:]  # less the row's own square: the same for all, so the same order
        return products

    def _distances(self, row: int, others: IntVector) -> FloatVector:
        """From the vectors' difference: a difference of squares says little of what is close together."""
        return np.asarray(np.linalg.norm(self._vectors[others] - self._vectors[row], axis=1))
