"""Compares settings: how much better one is than another, and whether that is significant. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import CONFIDENCE, Estimate, estimate

COMPARED = ("precision_at_1", "precision_at_10", "mean_average_precision")

FLIPS = 10_000
"""Random assignments of signs that are tried where not all can be."""

_FLIPS_AT_ONCE = 250
_ALL_SIGNS_UP_TO = 13
"""Differing queries up to which all assignments of signs are tried: 8,192."""

_ROUNDING = 1e-9
"""Sums of differences that differ by less, relative to the sum of absolute differences, are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The values of two settings to compare, float64 `[N]` by figure, of the same N queries and images.

    `is_partial` says that one of the settings holds further images.
    """

    one: str
    other: str
    one_values: Mapping[str, NDArray[np.float64]]
    other_values: Mapping[str, NDArray[np.float64]]
    is_partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How much higher a figure of `other` is than that of `one`, over the same `images`.

    `p` is that of the sign-flip test, corrected for all comparisons of the same setting.
    """

    one: str
    other: str
    figure: str
    images: int
    is_partial: bool
    difference: Estimate
    p: float

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes zero and the corrected p is below 5 %."""
        return is_certain(self.difference, self.p)


def compare_settings(contests: Sequence[Contest], *, seed: int = 0) -> list[Comparison]:
    """Compares every figure of `COMPARED` in every contest, with Holm's correction over all of these.

    The contests of one setting are one family, since they are reported together: the chance that any
    difference is called certain by mistake is at most 5 %. Over several settings these chances add up.
    """
    asked = [(contest, figure) for contest in contests for figure in COMPARED]
    pairs = [(contest.one_values[figure], contest.other_values[figure]) for contest, figure in asked]
    return [
        Comparison(
            one=contest.one,
            other=contest.other,
            figure=figure,
            images=len(pair[0]),
            is_partial=contest.is_partial,
            difference=difference,
            p=p,
        )
        for (contest, figure), pair, (difference, p) in zip(
            asked, pairs, compare_pairs(pairs, seed=seed), strict=True
        )
    ]


def compare_pairs(
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], *, seed: int = 0
) -> list[tuple[Estimate, float]]:
    """Returns for each pair of values of the same queries how much larger the second are, and p.

    p is that of the sign-flip test, with Holm's correction over all pairs.
    """
    chances = holm([sign_flip_p(*pair, seed=seed) for pair in pairs])
    return [(estimate(other - one, seed=seed), p) for (one, other), p in zip(pairs, chances, strict=True)]


def is_certain(difference: Estimate, p: float) -> bool:
    """Returns whether the interval of a difference excludes zero and its corrected p is below 5 %."""
    excludes_zero = difference.low > 0 or difference.high < 0
    return excludes_zero and p < 1 - CONFIDENCE


def sign_flip_p(one: NDArray[np.float64], other: NDArray[np.float64], *, seed: int = 0) -> float:
    """Returns the two-sided p of a paired randomisation test: how often random signs give as large a mean.

    Queries that do not differ, or have no figure, do not count. Where at most 13 do, all signs are tried and
    p is exact; else `FLIPS` random ones and the true one, so that p is never 0.

    `scipy.stats.permutation_test` gives the same exact p, but draws other signs, and takes 50 times as long.
    """
    gains = other - one
    gains = gains[np.isfinite(gains) & (gains != 0)]
    least = abs(gains.sum()) - _ROUNDING * np.abs(gains).sum()
    if len(gains) <= _ALL_SIGNS_UP_TO:
        flipped = np.arange(2 ** len(gains))[:, np.newaxis] >> np.arange(len(gains)) & 1
        return float(np.mean(_absolute_sums(gains, flipped) >= least))
    random, reached = np.random.default_rng(seed), 0
    for _ in range(FLIPS // _FLIPS_AT_ONCE):
        flipped = random.integers(0, 2, (_FLIPS_AT_ONCE, len(gains)), dtype=np.uint8)
        reached += int((_absolute_sums(gains, flipped) >= least).sum())
    return (1 + reached) / (1 + FLIPS)


def _absolute_sums(gains: NDArray[np.float64], flipped: NDArray[np.integer]) -> NDArray[np.float64]:
    """Returns the absolute sum for each of M rows of flipped signs, float64 `[M]`."""
    return np.asarray(np.abs(gains.sum() - 2 * (flipped.astype(np.float64) @ gains)))


def holm(chances: Sequence[float]) -> list[float]:
    """Returns the p of several tests, corrected for their number (Holm, 1979), in the same order."""
    order = np.argsort(chances, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * np.array(chances)[order]))
    return [float(p) for p in corrected]
