"""Bootstrap intervals: their coverage, pairs, and too few values."""

import numpy as np
from lookalike_search.evaluation.bootstrap import estimate


def test_bootstrap_intervals_cover_the_true_mean_at_their_nominal_rate() -> None:
    """About 95 % of intervals contain the mean of the distribution."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        found = estimate((random.random(150) < 0.7).astype(np.float64))
        covered += found.low <= 0.7 <= found.high
    assert 0.89 <= covered / 200 <= 0.995


def test_a_paired_bootstrap_detects_small_differences() -> None:
    """The settings' intervals overlap; the interval of their difference excludes zero."""
    random = np.random.default_rng(2)
    one = random.random(400)
    other = one + 0.01 + 0.02 * random.random(400)
    assert estimate(other).low < estimate(one).high
    assert estimate(other - one).low > 0


def test_the_mean_of_no_values_is_nan() -> None:
    """It is not 0, which would be a figure."""
    assert np.isnan(estimate(np.array([np.nan])).value)


def test_fewer_than_five_queries_have_no_interval() -> None:
    """Resampling four values says little about the next one."""
    few, enough = estimate(np.ones(4)), estimate(np.array([0, 1, 1, 1, 1.0]))
    assert few.value == 1
    assert np.isnan([few.low, few.high]).all()
    assert enough.low < enough.value < enough.high


def test_the_same_seed_gives_the_same_interval() -> None:
    """Another seed gives another."""
    values = np.random.default_rng(3).random(50)
    assert estimate(values, seed=5) == estimate(values, seed=5) != estimate(values, seed=6)
