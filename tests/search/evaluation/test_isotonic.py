"""Isotonic curves worked by hand, calibration errors computed case by case, and held-out halves."""

import numpy as np
import pytest
from lookalike_search.evaluation.isotonic import (
    MAX_KNOTS,
    cross_fit,
    draw_half,
    expected_calibration_error,
    fit_isotonic,
    neighbour_cases,
)

TOLERANCE = 1e-9


def chances_at(values: list[float], right: list[int], at: list[float]) -> list[float]:
    """Returns the chances at some values by a curve fitted to these cases."""
    curve = fit_isotonic(np.array(values), np.array(right, dtype=bool))
    return curve(np.array(at)).tolist()


def test_isotonic_regression_pools_violators() -> None:
    """Worked by hand: 0 | 1 0 pooled to a half | 1 1, with a right case added at 0 and a wrong one at 5.

    At 0 are 1 (added) and 0, a half; 1 and 0 after them make a half, too; at 5 are 1 and 0 (added), a half,
    and before it 1, which would fall: the three are pooled to two thirds.
    """
    found = chances_at([0, 1, 2, 4, 5], [0, 1, 0, 1, 1], [0, 1, 2, 3, 4, 5])
    assert found == pytest.approx([1 / 2, 1 / 2, 1 / 2, (1 / 2 + 2 / 3) / 2, 2 / 3, 2 / 3])


def test_cases_of_equal_value_share_one_chance() -> None:
    """At 1, three of four with the added case are three of five; at 0, one of three becomes two of four."""
    found = chances_at([0, 0, 0, 1, 1, 1, 1], [1, 0, 0, 1, 1, 0, 1], [0, 0.5, 1])
    assert found == pytest.approx([2 / 4, (2 / 4 + 3 / 5) / 2, 3 / 5])


@pytest.mark.parametrize("count", [1, 9, 999])
def test_no_curve_reaches_0_or_1(count: int) -> None:
    """Where all n cases are right the chance is at most n / (n + 1); where none is, at least 1 / (n + 1)."""
    values = np.linspace(0.2, 0.9, count)
    sure = fit_isotonic(values, np.ones(count, dtype=bool))(values)
    never = fit_isotonic(values, np.zeros(count, dtype=bool))(values)
    assert sure.max() <= (count + 1) / (count + 2) + TOLERANCE
    assert never.min() >= 1 / (count + 2) - TOLERANCE
    assert sure.min() >= 0.5 - TOLERANCE
    np.testing.assert_allclose(never, 1 - sure[::-1])


def test_a_curve_keeps_at_most_100_knots() -> None:
    """It differs from scikit-learn's full curve by at most 0.04."""
    from sklearn.isotonic import IsotonicRegression

    random = np.random.default_rng(3)
    values = random.random(200_000)
    right = random.random(len(values)) < values**2
    curve = fit_isotonic(values, right)
    exact = IsotonicRegression().fit(values, right)
    asked = np.linspace(values.min(), values.max(), 5_000)
    assert len(exact.X_thresholds_) > MAX_KNOTS >= len(curve.knots)
    assert np.abs(curve(asked) - exact.predict(asked)).max() < 0.04
    assert np.abs(curve(asked) - asked**2).mean() < 0.02


def plain_error(chances: list[float], right: list[bool], edges: list[float]) -> float:
    """Computes the error over bins between edges, case by case; the last includes its upper edge."""
    total = 0.0
    for i in range(len(edges) - 1):
        last = i == len(edges) - 2
        inside = [k for k, c in enumerate(chances) if edges[i] <= c and (c < edges[i + 1] or last)]
        if inside:
            said = sum(chances[k] for k in inside) / len(inside)
            true = sum(right[k] for k in inside) / len(inside)
            total += len(inside) / len(chances) * abs(said - true)
    return total


@pytest.mark.parametrize("bins", [1, 7, 10])
def test_calibration_error_equals_a_computation_case_by_case(bins: int) -> None:
    """It is that of Guo et al. (2017), with bins of equal width and of equal mass."""
    random = np.random.default_rng(bins)
    chances = np.concatenate([random.random(997), [0.0, 1.0, 0.5]])
    right = random.random(1000) < 0.6
    width = plain_error(chances.tolist(), right.tolist(), np.linspace(0, 1, bins + 1).tolist())
    mass = plain_error(
        chances.tolist(), right.tolist(), np.quantile(chances, np.linspace(0, 1, bins + 1)).tolist()
    )
    assert expected_calibration_error(chances, right, bins=bins) == pytest.approx(width, abs=TOLERANCE)
    found = expected_calibration_error(chances, right, bins=bins, equal_mass=True)
    assert found == pytest.approx(mass, abs=TOLERANCE)


def test_calibration_error_of_an_example_worked_by_hand() -> None:
    """One of three is right at 0.9, none of one at 0.1: (3 * |0.9 - 1/3| + 0.1) / 4."""
    chances, right = np.array([0.9, 0.9, 0.9, 0.1]), np.array([True, False, False, False])
    expected = (3 * (0.9 - 1 / 3) + 0.1) / 4
    assert expected_calibration_error(chances, right) == pytest.approx(expected)
    assert expected_calibration_error(np.full(4, 0.25), right, equal_mass=True) == pytest.approx(0)


def test_overconfident_chances_have_their_known_error() -> None:
    """Chances of 90 % for cases that are right half of the time are 0.4 off, with either kind of bins."""
    random = np.random.default_rng(0)
    right = random.random(20_000) < 0.5
    said = random.uniform(0.85, 0.95, len(right))
    for equal_mass in (False, True):
        assert expected_calibration_error(said, right, equal_mass=equal_mass) == pytest.approx(0.4, abs=0.02)
        honest = expected_calibration_error(np.full(len(right), 0.5), right, equal_mass=equal_mass)
        assert honest < 0.01


def test_exact_duplicates_are_in_the_same_half() -> None:
    """This holds for every seed; halves are of equal size, and seeds draw different ones."""
    copies = np.random.default_rng(0).integers(0, 90, 200)
    halves = [draw_half(copies, seed=seed) for seed in range(20)]
    for half in halves:
        assert not set(copies[half]) & set(copies[~half])
        assert abs(len(set(copies[half])) - len(set(copies[~half]))) <= 1
    np.testing.assert_array_equal(halves[3], draw_half(copies, seed=3))
    assert len({half.tobytes() for half in halves}) == 20


def test_chances_are_learned_from_the_other_half() -> None:
    """A half whose neighbours are all right gets the low chances of the other, where all are wrong."""
    half = np.array([True, True, False, False])
    classes = np.array([0, 0, 1, 2])
    neighbours = np.array([[1], [0], [3], [2]])
    nearness = np.array([[0.9], [0.8], [0.9], [0.8]])
    found = cross_fit(neighbour_cases(classes, neighbours, nearness), half)
    assert found is not None
    for_half, for_others = (curve(np.array([0.85]))[0] for curve in found)
    assert for_half < 0.5 < for_others


def test_cross_fitting_leaves_out_pairs_measured_from_the_other_end() -> None:
    """Mutual neighbours 0 and 2 are left out; 1 and 3, neighbours in one direction only, are used."""
    half = np.array([True, True, False, False])
    classes = np.array([0, 1, 2, 1])
    nearness = np.array([[0.9], [0.9], [0.9], [0.9]])
    mutual, one_way = (
        neighbour_cases(classes, np.array(found), nearness)
        for found in ([[2], [3], [0], [1]], [[2], [3], [0], [0]])
    )
    assert cross_fit(mutual, half) is None
    found = cross_fit(one_way, half)
    assert found is not None
    learned_from = [float(curve(np.array([0.9]))[0]) for curve in found]
    # 3 -> 0, wrong, for the half; 1 -> 3, right, for the others; each with a right and a wrong case added.
    assert learned_from == pytest.approx([1 / 3, 2 / 3])
