"""Brute-force nearest neighbours: every vector compared with every other, in numpy and in blocks. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.cosine import clip_cosines, normalise_rows

FloatMatrix = NDArray[np.float32]
IntVector = NDArray[np.int64]
_Float = TypeVar("_Float", bound=np.floating)

BLOCK = 256
"""Rows compared at a time."""

BLOCK_VALUES = 2**23
"""Similarities held at a time: 32 MB, and about as much again to rank them."""

_SPARE = 8
"""Further candidates whose Euclidean distances are computed from the vectors' difference."""


def row_blocks(count: int, size: int = BLOCK) -> Iterator[IntVector]:
    """Yields the numbers of `count` rows in order, at most `size` at a time, int64 `[B]`."""
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def rows_at_once(count: int, *, most: int = BLOCK) -> int:
    """Returns how many rows are compared with `count` others at a time, at most `most` and at least 1.

    However many the others are, their similarities stay within `BLOCK_VALUES`.
    """
    return max(1, min(most, BLOCK_VALUES // max(count, 1)))


def top_k(similarity: NDArray[_Float], k: int) -> tuple[IntVector, NDArray[_Float]]:
    """Returns each row's k largest values of float `[B, N]` without NaN: columns and values, best first.

    Both are `[B, min(k, N)]`; of equal values the lower column comes first.
    """
    columns = _largest(similarity, min(k, similarity.shape[1]))
    values = np.take_along_axis(similarity, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _largest(similarity: NDArray[_Float], k: int) -> IntVector:
    """Returns the columns of each row's k largest values, ascending, int64 `[B, k]`."""
    if k == similarity.shape[1]:
        return np.broadcast_to(np.arange(k), similarity.shape)
    floors = _kth_largest(similarity, k)
    chosen = similarity >= floors
    tied = np.flatnonzero(chosen.sum(axis=1) > k)
    equal = similarity[tied] == floors[tied]
    room = k - (similarity[tied] > floors[tied]).sum(axis=1, keepdims=True)
    chosen[tied] &= ~equal | (equal.cumsum(axis=1) <= room)
    return np.nonzero(chosen)[1].reshape(len(similarity), k)


def _kth_largest(similarity: NDArray[_Float], k: int) -> NDArray[_Float]:
    """Returns each row's kth largest value, `[B, 1]`, without sorting a row."""
    place = similarity.shape[1] - k
    return np.partition(similarity, place, axis=1)[:, place : place + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The nearest neighbours of one vector, best first: `rows` int64 `[K]`, `scores` float32 `[K]`."""

    row: int
    rows: IntVector
    scores: FloatVector


class ExactSearch:
    """Exact nearest neighbours of each of the vectors float32 `[N, D]` among all others.

    The array is changed in place, to save the memory of a copy: for cosine similarity (`cosine`) rows are
    normalised, for Euclidean distances centred, which keeps distances and improves their precision.
    """

    def __init__(self, vectors: FloatMatrix, *, cosine: bool, block: int = BLOCK) -> None:
        self._vectors = vectors
        self._cosine = cosine
        self._block = block
        if not len(vectors):
            return
        if cosine:
            normalise_rows(vectors, in_place=True)
        else:
            self._mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
            vectors -= self._mean
            self._squares = np.einsum("nd,nd->n", vectors, vectors)

    def vectors(self, rows: IntVector) -> FloatMatrix:
        """Returns the vectors of some rows, float32 `[K, D]`; they are normalised for cosine similarity."""
        return self._vectors[rows] if self._cosine else self._vectors[rows] + self._mean

    def blocks(self) -> Iterator[IntVector]:
        """Yields all row numbers in order, in blocks that can be compared at once."""
        count = len(self._vectors)
        return row_blocks(count, rows_at_once(count, most=self._block))

    def nearest(self, rows: IntVector, *, limit: int, left_out: Sequence[Sequence[int]]) -> Iterator[Nearest]:
        """Yields the `limit` nearest of each given row, without the rows that are excluded for it.

        Ties are broken by the lower row number.
        """
        similarity = self._similarity(rows, 0)
        for values, out in zip(similarity, left_out, strict=True):
            values[out] = -np.inf
        depth = min(limit if self._cosine else limit + _SPARE, similarity.shape[1])
        floors = _kth_largest(similarity, depth)
        for row, values, floor in zip(rows.tolist(), similarity, floors, strict=True):
            found = np.flatnonzero((values >= floor) & (values > -np.inf))
            scores = clip_cosines(values[found]) if self._cosine else self._distances(row, found)
            order = np.lexsort((found, -scores if self._cosine else scores))[:limit]
            yield Nearest(row=row, rows=found[order], scores=scores[order])

    def above(self, rows: IntVector, threshold: float) -> Iterator[Nearest]:
        """Yields for each of some ascending rows the later rows whose similarity exceeds a threshold."""
        if not len(rows):
            return
        first = int(rows[0])
        similarity = clip_cosines(self._similarity(rows, first))
        for row, values in zip(rows.tolist(), similarity, strict=True):
            behind = values[row + 1 - first :]
            found = np.flatnonzero(behind > threshold)
            yield Nearest(row=row, rows=found + row + 1, scores=behind[found])

    def _similarity(self, rows: IntVector, first: int) -> FloatMatrix:
        """Returns the similarity of rows to all rows from `first` on, `[B, N - first]`; higher is nearer."""
        products: FloatMatrix = self._vectors[rows] @ self._vectors[first:].T
        if self._cosine:
            return products
        products *= 2
        products -= self._squares[first:]  # less the row's own square: the same for all, so the same order
        return products

    def _distances(self, row: int, others: IntVector) -> FloatVector:
        """Returns distances computed from differences.

        The expanded square is too imprecise for vectors that are close to each other.
        """
        return np.asarray(np.linalg.norm(self._vectors[others] - self._vectors[row], axis=1))
