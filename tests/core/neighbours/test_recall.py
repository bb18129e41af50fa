"""Recall of an approximate search: ties count as found, and nothing counts twice."""

from math import isnan

import numpy as np
import pytest
from lookalike_core.neighbours.recall import measure_recall


@pytest.mark.parametrize(
    ("exact", "found", "is_exact", "recall"),
    [
        ([3, 2, 1], [3, 2, 1], [True, True, True], 1),
        ([3, 2, 1], [3, 1, 0.5], [True, True, False], 2 / 3),
        ([3, 2, 1], [3, 2, 1 - 1e-6], [True, True, False], 1),
        ([3, 2, 1], [3, 2, 1 - 1e-4], [True, True, False], 2 / 3),
        ([-1, -2, -3000], [-1, -2, -3000.02], [True, True, False], 1),
        ([1], [1, 1, 1], [True, False, False], 1),
        ([3, 2], [], [], 0),
    ],
)
def test_neighbours_as_near_as_the_last_exact_one_are_found(
    exact: list[float], found: list[float], is_exact: list[bool], recall: float
) -> None:
    """A tie is relative to values over 1; distances are negative, as nearer ones are higher."""
    assert measure_recall(
        np.array(exact, dtype=float), np.array(found, dtype=float), np.array(is_exact, dtype=bool)
    ) == pytest.approx(recall)


def test_a_query_without_neighbours_has_no_recall() -> None:
    """It is neither right nor wrong."""
    none = np.zeros(0)
    assert isnan(measure_recall(none, none, none.astype(bool)))
