"""Splits a cosine similarity into the shares of image cells, exactly.

Pure. With average pooling an image's vector is the mean of the cells of its
last feature map, so the cosine similarity of two images is a sum over pairs of cells,

    cos(A, B) = sum_ij <a_i, b_j> / (|sum_i a_i| |sum_j b_j|),

in which a cell's share is the sum of all pairs that contain it. Nothing is estimated.

What a collection compares are vectors that may have been computed elsewhere, by another execution provider
in bfloat16 for instance, and differ a little from the sum of the cells computed here. That difference belongs
to no cell, and so all cells take the same part of it: then they sum up to the very vectors, and the shares to
the very score.
"""

from dataclasses import dataclass

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.cosine import clip_cosine
from numpy.typing import NDArray

FloatMatrix = NDArray[np.float64]
Features = NDArray[np.floating]

MOST_CELLS = 14
"""Cells a side at most; finer maps, of a network's early layers, are summed in blocks."""

_THIRDS = 3
_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "centre", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A cosine similarity in parts.

    `query` and `neighbour` float64 `[H, W]` are the shares of the cells of each image: each sums to
    `cosine`. `pairs` float64 `[H * W, H * W]` are the parts of the pairs of cells, the query's in rows:
    the sum of a row is that cell's share. Parts can be negative only at layers without a ReLU.
    """

    cosine: float
    query: FloatMatrix
    neighbour: FloatMatrix
    pairs: FloatMatrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A cell of each image (row and column, from 0 at the top left) and what they add to the cosine."""

    query: tuple[int, int]
    neighbour: tuple[int, int]
    part: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """Which part of an image has the largest shares.

    `place` is the ninth of the image with the largest part of their sum, `share` that part: a ninth where
    they are spread evenly. The `half` strongest of `cells` cells have half of the sum.
    """

    place: str
    share: float
    half: int
    cells: int


def explain(
    query: Features,
    neighbour: Features,
    *,
    query_vector: FloatVector | None = None,
    neighbour_vector: FloatVector | None = None,
) -> Explanation:
    """Returns the shares of the cells in the cosine similarity of two images, from features `[H, W, C]`.

    The cosine is that of the vectors `[C]` where they are given, else that of the features' own sums.

    Raises:
        ValueError: the features or vectors of an image are zero or not finite.
    """
    first, second = (_blocks(features.astype(np.float64)) for features in (query, neighbour))
    a, b = (
        _scale_to_sum(cells.reshape(-1, cells.shape[-1]), vector)
        for cells, vector in ((first, query_vector), (second, neighbour_vector))
    )
    pairs = a @ b.T
    return Explanation(
        cosine=clip_cosine(a.sum(axis=0) @ b.sum(axis=0)),
        query=pairs.sum(axis=1).reshape(first.shape[:2]),
        neighbour=pairs.sum(axis=0).reshape(second.shape[:2]),
        pairs=pairs,
    )


def share_among_cells(vector: FloatVector, features: Features, image_vector: FloatVector) -> FloatMatrix:
    """Returns the shares of an image's cells in its cosine similarity to any vector `[C]`, float64 `[H, W]`.

    `features` `[H, W, C]` are those of the image, and `image_vector` `[C]` is its vector. The shares sum to
    the cosine of the two vectors.

    Raises:
        ValueError: the features or one of the vectors are zero or not finite.
    """
    blocks = _blocks(features.astype(np.float64))
    cells = _scale_to_sum(blocks.reshape(-1, blocks.shape[-1]), image_vector)
    shares: FloatMatrix = (cells @ _direction(vector)).reshape(blocks.shape[:2])
    return shares


def has_direction(features: Features) -> bool:
    """Returns whether features `[H, W, C]` are finite and their sum is not zero, so that it has a cosine."""
    return bool(np.isfinite(features).all() and features.sum(axis=(0, 1)).any())


def agreement(features: Features, vector: FloatVector) -> float:
    """Returns the cosine between the sum of features `[H, W, C]` and a vector `[C]` of the same image."""
    return clip_cosine(_direction(features.astype(np.float64).sum(axis=(0, 1))) @ _direction(vector))


def strongest_pairs(explanation: Explanation, count: int) -> list[Pair]:
    """Returns the `count` pairs of cells that add most to the cosine, best first."""
    columns = explanation.query.shape[1], explanation.neighbour.shape[1]
    best = np.argsort(-explanation.pairs, axis=None, kind="stable")[:count]
    pairs = []
    for i, j in zip(*np.unravel_index(best, explanation.pairs.shape), strict=True):
        one, other = divmod(int(i), columns[0]), divmod(int(j), columns[1])
        pairs.append(Pair(query=one, neighbour=other, part=float(explanation.pairs[i, j])))
    return pairs


def find_focus(shares: FloatMatrix) -> Focus:
    """Returns the part of an image with the largest shares, of `[H, W]`; those below zero do not count."""
    positive = np.maximum(shares, 0)
    whole = float(positive.sum()) or 1.0
    rows, columns = (_thirds(cells) for cells in shares.shape)
    ninths = rows @ positive @ columns.T / whole
    row, column = divmod(int(ninths.argmax()), _THIRDS)
    grown = np.cumsum(np.sort(positive, axis=None)[::-1]) / whole
    return Focus(
        place=_place(row, column),
        share=float(ninths[row, column]),
        half=int(np.searchsorted(grown, 0.5 - _ROUNDING)) + 1,
        cells=shares.size,
    )


_ROUNDING = 1e-12


def _blocks(features: FloatMatrix) -> FloatMatrix:
    """Returns features of at most `MOST_CELLS` cells a side: neighbouring cells are summed, not averaged."""
    for axis, cells in enumerate(features.shape[:2]):
        size = -(-cells // MOST_CELLS)
        features = np.add.reduceat(features, np.arange(0, cells, size), axis=axis)
    return features


def _scale_to_sum(cells: FloatMatrix, vector: FloatVector | None) -> FloatMatrix:
    """Returns cells `[N, C]` that sum to the vector, or else to their own sum, scaled to length 1."""
    total = cells.sum(axis=0)
    direction = _direction(total)
    cells = cells / np.linalg.norm(total)
    if vector is None:
        return cells
    return cells + (_direction(vector) - direction) / len(cells)


def _direction(vector: NDArray[np.floating]) -> FloatMatrix:
    exact = vector.astype(np.float64)
    length = np.linalg.norm(exact)
    if not (np.isfinite(length) and length > 0):
        raise ValueError("the features are zero or not finite; their cosine is not defined")
    return np.asarray(exact / length)


def _thirds(cells: int) -> FloatMatrix:
    """Returns how much of each cell lies in each third of a side, `[3, cells]`."""
    edges = np.linspace(0, cells, _THIRDS + 1)
    low, high = edges[:-1, np.newaxis], edges[1:, np.newaxis]
    cell = np.arange(cells)
    within: FloatMatrix = np.minimum(high, cell + 1) - np.maximum(low, cell)
    return np.maximum(within, 0)


def _place(row: int, column: int) -> str:
    if row == column == 1:
        return "centre"
    return f"{_ROWS[row]} {_COLUMNS[column]}"
