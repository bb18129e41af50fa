"""Bounds on how many points of a collection are wrong, from a random sample of them. Pure."""

from math import ceil

CONFIDENCE = 0.95
"""The confidence of all bounds."""

_ROUNDING = 1e-12
"""Of probabilities in float64."""


def bound_wrong(wrong: int, sampled: int, population: int, *, confidence: float = CONFIDENCE) -> int:
    """Returns the most points of a population that are wrong, with this confidence.

    It is the one-sided bound of Clopper and Pearson ("The use of confidence or fiducial limits illustrated in
    the case of the binomial", Biometrika, 1934) for a sample without replacement: the largest number of wrong
    points with which so few, or fewer, are in the sample in at least `1 - confidence` of all samples. Where
    none of n is wrong, that is about 3 / n of a large population (the rule of three), and of a population
    that was sampled as a whole exactly the number found.
    """
    from scipy.stats import hypergeom

    if not sampled:
        return population
    fewest, most = wrong, population - (sampled - wrong)
    while fewest < most:  # the probability falls as more points are wrong
        middle = (fewest + most + 1) // 2
        if hypergeom.cdf(wrong, population, middle, sampled) >= 1 - confidence - _ROUNDING:
            fewest = middle
        else:
            most = middle - 1
    return fewest


def interval_of_share(
    successes: float, trials: int, *, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Returns the two-sided interval of Clopper and Pearson for a mean of so many values from 0 to 1.

    `successes` is the sum of the values, which need not be whole: of all values with one mean, those that are
    0 or 1 vary most, so that the interval is wide enough for others.
    """
    from scipy.stats import beta

    if not trials:
        return 0.0, 1.0
    tail, failures = (1 - confidence) / 2, trials - successes
    low = float(beta.ppf(tail, successes, failures + 1)) if successes > 0 else 0.0
    high = float(beta.ppf(1 - tail, successes + 1, failures)) if failures > 0 else 1.0
    return low, high


def sample_size(share: float, population: int) -> int:
    """Returns how many points a share of a population is, at least one."""
    return min(population, max(1, ceil(share * population)))
