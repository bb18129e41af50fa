"""Bounds on the share of wrong points: exact, and kept as often as they claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookalike_ingest.integrity.bounds import bound_wrong, interval_of_share, sample_size
from scipy.stats import beta, hypergeom

TRIALS = 4_000


@pytest.mark.parametrize("sampled", [30, 300, 3_000])
def test_no_wrong_point_in_a_sample_gives_the_rule_of_three(sampled: int) -> None:
    """Of a large population at most 3 / n is wrong, a little less for small samples."""
    share = bound_wrong(0, sampled, 10_000_000) / 10_000_000
    assert share == pytest.approx(3 / sampled, rel=0.06)
    assert share <= 3 / sampled


@pytest.mark.parametrize(("wrong", "sampled"), [(0, 50), (1, 100), (7, 300), (50, 60), (20, 20)])
def test_the_bound_of_a_large_population_is_that_of_clopper_and_pearson(wrong: int, sampled: int) -> None:
    """Their bound is a quantile of the beta distribution."""
    expected = 1.0 if wrong == sampled else beta.ppf(0.95, wrong + 1, sampled - wrong)
    assert bound_wrong(wrong, sampled, 10_000_000) / 10_000_000 == pytest.approx(expected, abs=1e-5)


def test_a_population_that_was_sampled_whole_has_no_doubt() -> None:
    """Nothing is unknown then; without a sample everything is."""
    assert bound_wrong(3, 200, 200) == 3
    assert bound_wrong(0, 0, 200) == 200
    assert bound_wrong(0, 0, 0) == 0


@given(st.integers(1, 400), st.data())
def test_the_bound_is_the_largest_number_that_the_sample_does_not_contradict(
    population: int, data: st.DataObject
) -> None:
    """One more wrong point would give so few in the sample in less than 5 % of all samples."""
    sampled = data.draw(st.integers(1, population))
    wrong = data.draw(st.integers(0, sampled))
    most = bound_wrong(wrong, sampled, population)
    assert wrong <= most <= population - (sampled - wrong)
    assert hypergeom.cdf(wrong, population, most, sampled) >= 0.05 - 1e-12 or most == wrong
    if most < population - (sampled - wrong):
        assert hypergeom.cdf(wrong, population, most + 1, sampled) < 0.05


@pytest.mark.parametrize(("population", "share"), [(1_000, 0.002), (1_000, 0.01), (1_000, 0.1), (60, 0.5)])
def test_the_bound_holds_in_as_many_samples_as_it_claims(population: int, share: float) -> None:
    """Simulated: of 4,000 samples of known populations at most 5 % have a bound below the truth."""
    random, truth, sampled = np.random.default_rng(5), round(population * share), 40
    found = random.hypergeometric(truth, population - truth, sampled, TRIALS)
    bounds = {int(wrong): bound_wrong(int(wrong), sampled, population) for wrong in np.unique(found)}
    missed = np.mean([bounds[int(wrong)] < truth for wrong in found])
    assert missed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.1])
def test_a_sample_finds_a_share_of_wrong_points_with_its_confidence(share: float) -> None:
    """300 points find 1 % of wrong ones in 95 % of samples, and a larger share more often."""
    random, population = np.random.default_rng(6), 100_000
    found = random.hypergeometric(int(population * share), int(population * (1 - share)), 300, TRIALS) > 0
    expected = 1 - (1 - share) ** 300
    assert found.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / TRIALS) + 1e-3)
    assert found.mean() >= 0.94


@pytest.mark.parametrize("mean", [0.5, 0.95, 0.999])
def test_the_interval_of_a_mean_of_shares_holds_as_often_as_it_claims(mean: float) -> None:
    """Shares vary less than zeros and ones, so that it holds at least so often."""
    random, queries = np.random.default_rng(7), 100
    sums = random.binomial(10, mean, (1_000, queries)).sum(axis=1) / 10
    intervals = {float(each): interval_of_share(float(each), queries) for each in np.unique(sums)}
    held = np.mean([intervals[float(each)][0] <= mean <= intervals[float(each)][1] for each in sums])
    assert held >= 0.95
    assert interval_of_share(queries, queries) == (pytest.approx(0.025 ** (1 / queries)), 1.0)
    assert interval_of_share(0, 0) == (0.0, 1.0)


def test_a_share_of_a_population_is_at_least_one_point() -> None:
    """1 % of 50 points is one of them."""
    assert [sample_size(0.01, points) for points in (1, 50, 100, 101, 10_000)] == [1, 1, 1, 2, 100]
