"""Bins of a reliability diagram."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_search.evaluation.isotonic import Cases, expected_calibration_error
from lookalike_search.evaluation.reliability_bins import ReliabilityBin, bin_chances, bin_held_out


def test_chances_are_binned_with_how_often_they_came_true() -> None:
    """A bin without chances is left out; 1 belongs to the last."""
    found = bin_chances(np.array([0.05, 0.11, 0.13, 1.0]), np.array([False, True, False, True]))
    assert found == [
        ReliabilityBin(cases=1, chance=0.05, right=0.0),
        ReliabilityBin(cases=2, chance=pytest.approx(0.12), right=0.5),
        ReliabilityBin(cases=1, chance=1.0, right=1.0),
    ]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_the_bins_have_the_expected_calibration_error(cases: list[tuple[float, bool]]) -> None:
    """It is the mean distance of bins from the diagonal, by their cases."""
    chances, right = np.array([chance for chance, _ in cases]), np.array([is_right for _, is_right in cases])
    bins = bin_chances(chances, right)
    assert sum(each.cases for each in bins) == len(cases)
    distance = sum(each.cases * abs(each.chance - each.right) for each in bins) / len(cases)
    assert distance == pytest.approx(expected_calibration_error(chances, right))


def test_every_case_is_measured_once_by_the_other_half() -> None:
    """Chances that are learned elsewhere are near what comes true; without cases in a half there are none."""
    random = np.random.default_rng(0)
    values, queries = random.random(2_000), np.arange(2_000)
    cases = Cases(values=values, right=random.random(2_000) < values, queries=queries, others=queries)
    bins = bin_held_out(cases, queries < 1_000)
    assert sum(each.cases for each in bins) == 2_000
    assert all(abs(each.chance - each.right) < 0.15 for each in bins)
    assert bin_held_out(cases, np.zeros(2_000, dtype=bool)) == []
