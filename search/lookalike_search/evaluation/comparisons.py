"""How much better one setting is than another, and whether that can be told from chance. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike_search.evaluation.bootstrap import CONFIDENCE, Estimate, estimate

COMPARED = ("precision_at_1", "precision_at_10", "mean_average_precision")

FLIPS = 10_000
"""Random signs that are tried where not all can be."""

_FLIPS_AT_ONCE = 250
_ALL_SIGNS_UP_TO = 13
"""Queries that differ, up to which every way of giving them signs is tried: 8,192."""

_ROUNDING = 1e-9
"""Sums of differences that are so near, relative to the sum of their sizes, are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Two settings' `values`, float64 `[N]` by figure, of the same N queries among the same images.

    `is_partial` says that one of the settings holds further images.
    """

    one: str
    other: str
    one_values: Mapping[str, NDArray[np.float64]]
    other_values: Mapping[str, NDArray[np.float64]]
    is_partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How much more `other` has of a figure than `one`, over the same `images`.

    `p` is that of the sign-flip test, corrected for all comparisons that were made with it.
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
        """Whether the interval leaves zero out, and the test says the same after its correction."""
        leaves_zero_out = self.difference.low > 0 or self.difference.high < 0
        return leaves_zero_out and self.p < 1 - CONFIDENCE


def compared(contests: Sequence[Contest], *, seed: int = 0) -> list[Comparison]:
    """Every figure of `COMPARED` in every contest; Holm's correction is over all of these together.

    The contests of one setting are one family, since they are told together: that any of its differences
    is called certain by chance alone has at most 5 %. Over several settings that adds up.
    """
    asked = [(contest, figure) for contest in contests for figure in COMPARED]
    pairs = [(contest.one_values[figure], contest.other_values[figure]) for contest, figure in asked]
    chances = holm([sign_flip_p(*pair, seed=seed) for pair in pairs])
    return [
        Comparison(
            one=contest.one,
            other=contest.other,
            figure=figure,
            images=len(pair[0]),
            is_partial=contest.is_partial,
            difference=estimate(pair[1] - pair[0], seed=seed),
            p=p,
        )
        for (contest, figure), pair, p in zip(asked, pairs, chances, strict=True)
    ]


def sign_flip_p(one: NDArray[np.float64], other: NDArray[np.float64], *, seed: int = 0) -> float:
    """Two-sided p of the paired randomisation test: how often random signs make as large a mean.

    Queries that do not differ, or have no figure, have no say. Where at most 13 do, all signs are tried and
    p is exact; else `FLIPS` random ones and the true one, so that p is never 0.
    """
    gains = other - one
    gains = gains[np.isfinite(gains) & (gains != 0)]
    least = abs(gains.sum()) - _ROUNDING * np.abs(gains).sum()
    if len(gains) <= _ALL_SIGNS_UP_TO:
        flipped = np.arange(2 ** len(gains))[:, np.newaxis] >> np.arange(len(gains)) & 1
        return float(np.mean(_sums(gains, flipped) >= least))
    random, reached = np.random.default_rng(seed), 0
    for _ in range(FLIPS // _FLIPS_AT_ONCE):
        flipped = random.integers(0, 2, (_FLIPS_AT_ONCE, len(gains)), dtype=np.uint8)
        reached += int((_sums(gains, flipped) >= least).sum())
    return (1 + reached) / (1 + FLIPS)


def _sums(gains: NDArray[np.float64], flipped: NDArray[np.integer]) -> NDArray[np.float64]:
    """The size of the sum, float64 `[M]`, with each of M rows of signs flipped."""
    return np.asarray(np.abs(gains.sum() - 2 * (flipped.astype(np.float64) @ gains)))


def holm(chances: Sequence[float]) -> list[float]:
    """The p of several tests, corrected for their number (Holm, 1979), in the same order."""
    order = np.argsort(chances, kind="stable")
    factors = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * np.array(chances)[order]))
    return [float(p) for p in corrected]
