"""Recall of an index, on examples worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from lookalike_search.evaluation.index_recall import IndexedNeighbours, measure_index
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import QueryResults, leave_one_out


def ring(*degrees: float, cosine: bool = True, length: float = 1.0) -> LabelledVectors:
    """Makes vectors at angles; those over 90 degrees are of another class."""
    angles = np.deg2rad(degrees)
    return LabelledVectors(
        vectors=(length * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.float32),
        classes=(np.array(degrees) > 90).astype(np.int64),
        copies=np.arange(len(degrees)),
        names=["low", "high"],
        higher_is_nearer=cosine,
    )


def indexed(*rows: list[int]) -> IndexedNeighbours:
    """Makes an index's answers from the rows that each query found."""
    padded = [[*row, *[-1] * (10 - len(row))] for row in rows]
    return IndexedNeighbours(neighbours=np.array(padded), covered=4, points=4)


def exact(images: LabelledVectors, *rows: list[int]) -> QueryResults:
    """Makes results of exact search from the rows that each query found."""
    return replace(leave_one_out(images), neighbours=indexed(*rows).neighbours)


@pytest.mark.parametrize("cosine", [True, False])
def test_recall_is_the_share_of_exact_neighbours_found(cosine: bool) -> None:
    """Two of two, one of two and none of two: 1/2 on average, and one query in three is complete."""
    images = ring(0, 10, 20, 100, 140, 170, cosine=cosine)
    found = measure_index(
        images,
        exact(images, [1, 2], [0, 2], [1, 0], [], [], []),
        indexed([1, 2], [0, 5], [5, 4], [], [], []),
    )
    assert found.overlap.value == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert found.complete.value == pytest.approx(1 / 3)
    assert np.isnan(found.overlap.low), "three queries are too few for an interval"
    assert (found.covered, found.points) == (4, 4)


@pytest.mark.parametrize("cosine", [True, False])
def test_tied_neighbours_count_as_recalled(cosine: bool) -> None:
    """Images at 10 degrees on both sides are tied; one a degree farther, 0.003 in the score, is a miss."""
    images = ring(30, 20, 40, 41, cosine=cosine)
    one = exact(images, [1], [], [], [])
    tie, miss = (measure_index(images, one, indexed([row], [], [], [])) for row in (2, 3))
    assert tie.overlap.value == tie.complete.value == 1
    assert miss.overlap.value == miss.complete.value == 0


def test_ties_of_long_distances_are_relative() -> None:
    """Distances of 10,000 and of 1 are tied within the same hundred-thousandth of their value."""
    far = LabelledVectors(
        vectors=np.array([[0, 1], [10_000, 1], [10_000.05, 1], [10_001, 1]], dtype=np.float64),
        classes=np.zeros(4, dtype=np.int64),
        copies=np.arange(4),
        names=["one"],
        higher_is_nearer=False,
    )
    one = exact(far, [1], [], [], [])
    tie, miss = (measure_index(far, one, indexed([row], [], [], [])) for row in (2, 3))
    assert (tie.overlap.value, miss.overlap.value) == (1, 0)


def test_precision_by_index_is_of_the_neighbours_it_found() -> None:
    """It is one of one, two of five, two of ten; missing neighbours count as wrong."""
    images = ring(0, 10, 20, 100, 140)
    found = measure_index(
        images, exact(images, [1, 2, 3, 4], [], [], [], []), indexed([1, 3, 2], [0], [0], [4], [3])
    )
    assert found.figures["precision_at_1"].value == pytest.approx(1)
    assert found.figures["precision_at_5"].value == pytest.approx((2 / 5 + 4 * 1 / 5) / 5)
    assert found.figures["precision_at_10"].value == pytest.approx((2 / 10 + 4 * 1 / 10) / 5)


def test_a_query_alone_in_its_class_has_no_precision_by_index() -> None:
    """The same holds for exact search."""
    images = ring(0, 10, 140)
    found = measure_index(images, exact(images, [1], [0], [1]), indexed([1], [0], [1]))
    assert found.figures["precision_at_1"].value == 1


def test_recall_without_any_exact_neighbours_is_nan() -> None:
    """All images have the same bytes."""
    images = ring(0, 0)
    found = measure_index(images, exact(images, [], []), indexed([], []))
    assert np.isnan(found.overlap.value)
    assert np.isnan(found.complete.value)
