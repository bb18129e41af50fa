"""When a difference is called certain: against SciPy, plain loops and worked examples."""

from itertools import product

import numpy as np
import pytest
from lookalike_search.evaluation.comparisons import (
    COMPARED,
    Comparison,
    Contest,
    compare_settings,
    holm,
    sign_flip_p,
)
from numpy.typing import NDArray
from scipy.stats import binomtest

FloatVector = NDArray[np.float64]


def contest(one: FloatVector, other: FloatVector, **others: FloatVector) -> Contest:
    """Makes a contest of two settings that differ in the `others` of the second."""
    return Contest(
        one="one",
        other="other",
        one_values=dict.fromkeys(COMPARED, one),
        other_values=dict.fromkeys(COMPARED, other) | others,
        is_partial=False,
    )


def comparison(one: FloatVector, other: FloatVector) -> Comparison:
    """Compares settings that differ in one of three figures."""
    first, *_ = compare_settings([contest(one, one, **{COMPARED[0]: other})])
    return first


def discordant(better: int, worse: int, count: int = 1_000) -> tuple[FloatVector, FloatVector]:
    """Makes values of 0 or 1 that differ for given numbers of queries in either direction."""
    one, other = np.ones(count), np.ones(count)
    one[:better] = 0
    other[better : better + worse] = 0
    return one, other


@pytest.mark.parametrize("count", [1, 2, 4])
def test_too_few_queries_give_no_certain_difference(count: int) -> None:
    """There is no interval, and p is large, even for a clear difference."""
    found = comparison(np.zeros(count), np.ones(count))
    assert found.difference.value == 1
    assert np.isnan([found.difference.low, found.difference.high]).all()
    assert found.p == min(1, 3 * 2 / 2**count)
    assert not found.is_certain


def test_an_interval_without_zero_is_not_enough() -> None:
    """Four differing queries of a thousand: the interval excludes zero; by the exact sign test p is 0.125."""
    one, other = discordant(better=4, worse=0)
    found = comparison(one, other)
    assert found.difference.low > 0
    assert sign_flip_p(one, other) == 0.125
    assert not found.is_certain


def test_a_difference_on_many_queries_is_certain() -> None:
    """This holds in either direction, after Holm's correction."""
    for found in (comparison(*discordant(30, 2)), comparison(*discordant(2, 30))):
        assert found.is_certain
        assert found.p < 0.001


def test_the_exact_p_enumerates_all_signs() -> None:
    """Queries without a figure are ignored."""
    random = np.random.default_rng(0)
    one, other = random.random((2, 9))
    gains = other - one
    sums = [abs(np.dot(signs, gains)) for signs in product((-1, 1), repeat=9)]
    expected = np.mean([each >= abs(gains.sum()) - 1e-12 for each in sums])
    missing = np.array([np.nan])
    assert sign_flip_p(np.append(one, missing), np.append(other, missing)) == pytest.approx(expected)


@pytest.mark.parametrize(("better", "worse"), [(14, 6), (25, 15), (60, 35), (18, 18)])
def test_the_random_p_is_near_the_exact_one(better: int, worse: int) -> None:
    """SciPy's sign test is exact for values of 0 or 1; the same seed gives the same p."""
    one, other = discordant(better, worse)
    expected = binomtest(better, better + worse).pvalue
    assert sign_flip_p(one, other) == pytest.approx(expected, abs=0.02)
    assert sign_flip_p(one, other, seed=3) == sign_flip_p(one, other, seed=3)


def test_equal_settings_have_a_p_of_1() -> None:
    """No query differs, or none has a figure."""
    same = np.ones(50)
    assert sign_flip_p(same, same) == 1
    assert sign_flip_p(same, np.full(50, np.nan)) == 1
    assert sign_flip_p(np.empty(0), np.empty(0)) == 1


def test_holms_correction_of_an_example_worked_by_hand() -> None:
    """The smallest p is multiplied by the number of tests, the next by one less; values never decrease."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def test_holms_correction_grows_with_the_number_of_contests() -> None:
    """A difference that is certain alone is not certain in a large family of tests."""
    one, other = discordant(better=10, worse=1)
    clear, same = contest(one, one, **{COMPARED[0]: other}), contest(one, one)
    assert sign_flip_p(one, other) < 0.05 / 3
    assert compare_settings([clear])[0].is_certain
    assert not compare_settings([clear, *[same] * 9])[0].is_certain
