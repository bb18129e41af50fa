"""Computes means over queries with bootstrap intervals. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
CONFIDENCE = 0.95
FEWEST_QUERIES = 5
"""Fewest queries that have an interval: one of fewer resampled values is far too narrow."""

_RESAMPLED_VALUES = 100_000
"""Values drawn at a time: a class of a few images takes one draw, not a thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over queries with a 95 % bootstrap interval: `low` and `high`, NaN for too few queries."""

    value: float
    """The mean."""
    low: float
    """The lower end of the interval."""
    high: float
    """The upper end of the interval."""


def estimate(values: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """Returns the mean of the finite values with the percentile bootstrap's interval over queries.

    The interval is NaN for fewer than `FEWEST_QUERIES` values, and so is the mean of no values. For
    differences of two settings over the same queries it is a paired bootstrap, which detects small
    differences. `scipy.stats.bootstrap` makes the same draws and so the same interval but for the last bit,
    and takes up to three times as long where classes are small, of which there are many.
    """
    mean, values = mean_of(values), values[np.isfinite(values)]
    if len(values) < FEWEST_QUERIES:
        return Estimate(value=mean, low=float("nan"), high=float("nan"))
    low, high = np.quantile(_resampled_means(values, seed), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=mean, low=float(low), high=float(high))


def mean_of(values: NDArray[np.float64]) -> float:
    """Returns the mean of the finite values; NaN if there are none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def _resampled_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    at_once = max(1, min(RESAMPLES, _RESAMPLED_VALUES // len(values)))
    draws = (min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once))
    means = [values[random.integers(0, len(values), (draw, len(values)))].mean(axis=1) for draw in draws]
    return np.concatenate(means)
