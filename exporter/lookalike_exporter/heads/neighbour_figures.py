"""Measures the neighbours of images with and without a layer, as `search evaluate` does. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from lookalike_core.neighbours.brute_force import BLOCK, row_blocks, top_k
from lookalike_core.neighbours.precision import average_precision, best_precision_at, precision_at
from numpy.typing import NDArray

from lookalike_exporter.heads.layers import FloatArray, IntArray, Layer

CUTOFF = 10
"""Number of nearest neighbours that precision is measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledUnits:
    """Images without duplicates: `vectors` float64 `[N, D]` of length 1, `classes` int64 `[N]`."""

    vectors: FloatArray
    classes: IntArray

    def of(self, rows: NDArray[Any]) -> "LabelledUnits":
        """Returns a subset, selected by rows or by a mask."""
        return LabelledUnits(vectors=self.vectors[rows], classes=self.classes[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The quality of neighbours: means over `queries` queries, and the best possible means."""

    precision_at_10: float
    precision_at_1: float
    mean_average_precision: float
    queries: int
    best_possible: "BestFigures"


@dataclass(frozen=True, slots=True, kw_only=True)
class BestFigures:
    """The figures of a perfect ranking; precision is below 1 if classes are small."""

    precision_at_10: float
    precision_at_1: float
    mean_average_precision: float


def measure_neighbours(
    queries: LabelledUnits,
    gallery: LabelledUnits,
    *,
    layer: Layer | None = None,
    at_once: int = BLOCK,
) -> Figures | None:
    """Measures the neighbours of queries among other images, as `search evaluate` does.

    Queries without an image of their class are left out; returns None if none remains. `at_once` queries are
    ranked together, which bounds the memory.
    """
    queries = queries.of(np.isin(queries.classes, gallery.classes))
    if not len(queries.classes):
        return None
    asked, there = (
        each.vectors if layer is None else layer.apply(each.vectors) for each in (queries, gallery)
    )
    found = [
        _rank_and_measure(asked[rows] @ there.T, queries.classes[rows], gallery.classes)
        for rows in row_blocks(len(asked), at_once)
    ]
    precision, first, average, relevant = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Figures(
        precision_at_10=float(precision.mean()),
        precision_at_1=float(first.mean()),
        mean_average_precision=float(average.mean()),
        queries=len(queries.classes),
        best_possible=BestFigures(
            precision_at_10=float(best_precision_at(CUTOFF, relevant).mean()),
            precision_at_1=float(best_precision_at(1, relevant).mean()),
            mean_average_precision=1.0,
        ),
    )


def _rank_and_measure(
    similarity: FloatArray, asking: IntArray, classes: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Returns precision@10, precision@1, average precision and the number of relevant images, each `[Q]`.

    `similarity` is float64 `[Q, N]`.
    """
    same = asking[:, np.newaxis] == classes
    relevant = same.sum(axis=1)
    nearest, _ = top_k(similarity, CUTOFF)
    right = np.take_along_axis(same, nearest, axis=1)
    return (
        precision_at(CUTOFF, right, relevant),
        precision_at(1, right, relevant),
        average_precision(similarity, same),
        relevant,
    )
