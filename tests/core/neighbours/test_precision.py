"""Precision on rankings that are worked by hand, and beside scikit-learn's."""

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
    """Missing neighbours count as wrong; where nothing is relevant there is no figure."""
    np.testing.assert_allclose(precision_at(1, RIGHT, RELEVANT), [1, 1, np.nan])
    np.testing.assert_allclose(precision_at(4, RIGHT, RELEVANT), [2 / 4, 3 / 4, np.nan])
    np.testing.assert_allclose(precision_at(10, RIGHT, RELEVANT), [2 / 10, 3 / 10, np.nan])


def test_the_best_possible_is_what_a_perfect_ranking_has() -> None:
    """With three relevant images all first, and not one more is possible."""
    np.testing.assert_allclose(best_precision_at(1, RELEVANT), [1, 1, np.nan])
    np.testing.assert_allclose(best_precision_at(10, RELEVANT), [1, 3 / 10, np.nan])
    perfect = np.arange(10) < RELEVANT[:, np.newaxis]
    for k in (1, 5, 10):
        np.testing.assert_allclose(precision_at(k, perfect, RELEVANT), best_precision_at(k, RELEVANT))


def test_r_precision_asks_for_as_many_as_are_relevant() -> None:
    """Of three the first three, of twenty no more than there are or than at most."""
    np.testing.assert_allclose(r_precision(RIGHT, RELEVANT, at_most=10), [2 / 4, 1, np.nan])
    np.testing.assert_allclose(r_precision(RIGHT, RELEVANT, at_most=2), [1 / 2, 1, np.nan])


def test_r_precision_of_large_classes_is_precision() -> None:
    """From k relevant images on."""
    random = np.random.default_rng(0)
    right, relevant = random.random((50, 10)) < 0.5, random.integers(10, 30, 50)
    np.testing.assert_allclose(r_precision(right, relevant, at_most=10), precision_at(10, right, relevant))


def test_average_precision_is_scikit_learns() -> None:
    """With ties, and without what does not count."""
    random = np.random.default_rng(0)
    similarity = random.integers(0, 8, 40).astype(np.float64)
    same = random.random(40) < 0.3
    expected = average_precision_score(same, similarity)
    rows = np.stack([similarity, similarity]), np.stack([same, np.zeros(40, dtype=bool)])
    np.testing.assert_allclose(average_precision(*rows), [expected, np.nan])
    more, of_them = np.append(similarity, [-np.inf] * 3), np.append(same, [True] * 3)
    np.testing.assert_allclose(average_precision(more[np.newaxis], of_them[np.newaxis]), [expected])
