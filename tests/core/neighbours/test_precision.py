"""Metrics of rankings worked by hand, and against scikit-learn's."""

import numpy as np
from lookalike_core.neighbours.precision import (
    average_precision,
    best_precision_at,
    precision_at,
    r_precision,
)
from sklearn.metrics import average_precision_score

RIGHT = np.array([[True, False, True, False], [True, True, True, False], [False, False, False, False]])
RELEVANT = np.array([20, 3, 0])


def test_precision_is_the_share_of_the_first_k() -> None:
    """Missing neighbours count as wrong; a query without relevant images has NaN."""
    np.testing.assert_allclose(precision_at(1, RIGHT, RELEVANT), [1, 1, np.nan])
    np.testing.assert_allclose(precision_at(4, RIGHT, RELEVANT), [2 / 4, 3 / 4, np.nan])
    np.testing.assert_allclose(precision_at(10, RIGHT, RELEVANT), [2 / 10, 3 / 10, np.nan])


def test_best_possible_precision_is_that_of_a_perfect_ranking() -> None:
    """Three relevant images come first, and no other can be right."""
    np.testing.assert_allclose(best_precision_at(1, RELEVANT), [1, 1, np.nan])
    np.testing.assert_allclose(best_precision_at(10, RELEVANT), [1, 3 / 10, np.nan])
    perfect = np.arange(10) < RELEVANT[:, np.newaxis]
    for k in (1, 5, 10):
        np.testing.assert_allclose(precision_at(k, perfect, RELEVANT), best_precision_at(k, RELEVANT))


def test_r_precision_counts_as_many_neighbours_as_are_relevant() -> None:
    """With three relevant images the first three count; with twenty, no more than `at_most` do."""
    np.testing.assert_allclose(r_precision(RIGHT, RELEVANT, at_most=10), [2 / 4, 1, np.nan])
    np.testing.assert_allclose(r_precision(RIGHT, RELEVANT, at_most=2), [1 / 2, 1, np.nan])


def test_r_precision_equals_precision_from_k_relevant_images_on() -> None:
    """Each query has ten or more."""
    random = np.random.default_rng(0)
    right, relevant = random.random((50, 10)) < 0.5, random.integers(10, 30, 50)
    np.testing.assert_allclose(r_precision(right, relevant, at_most=10), precision_at(10, right, relevant))


def test_average_precision_equals_scikit_learns() -> None:
    """There are ties and excluded images."""
    random = np.random.default_rng(0)
    similarity = random.integers(0, 8, 40).astype(np.float64)
    same = random.random(40) < 0.3
    expected = average_precision_score(same, similarity)
    rows = np.stack([similarity, similarity]), np.stack([same, np.zeros(40, dtype=bool)])
    np.testing.assert_allclose(average_precision(*rows), [expected, np.nan])
    more, of_them = np.append(similarity, [-np.inf] * 3), np.append(same, [True] * 3)
    np.testing.assert_allclose(average_precision(more[np.newaxis], of_them[np.newaxis]), [expected])
