"""Fits chances of being right by isotonic regression, to one half of the images for the other. Pure.

A chance rises with a value: the nearness of a neighbour, or a verdict's share of the vote.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from lookalike_core.models.calibration_curves import Curve
from numpy.typing import NDArray

FloatVector = NDArray[np.floating]
BoolVector = NDArray[np.bool_]
IntVector = NDArray[np.int64]

BINS = 10
MAX_KNOTS = 100
_FINEST = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Cases that a curve is fitted to, `[M]` each: neighbours or verdicts of queries, right or wrong.

    `others` are the rows of the neighbours; for verdicts they are the rows of the queries.
    """

    values: FloatVector
    right: BoolVector
    queries: IntVector
    others: IntVector


def neighbour_cases(classes: IntVector, neighbours: IntVector, nearness: FloatVector) -> Cases:
    """Returns the neighbours of all queries as cases, right where they have the query's class.

    `neighbours` are int64 `[N, depth]`, -1 where there is none, `nearness` float `[N, depth]`, `classes`
    int64 `[N]`.
    """
    there = neighbours >= 0
    queries = np.broadcast_to(np.arange(len(neighbours))[:, np.newaxis], neighbours.shape)[there]
    return Cases(
        values=nearness[there],
        right=classes[queries] == classes[neighbours[there]],
        queries=queries,
        others=neighbours[there],
    )


def draw_half(copies: IntVector, *, seed: int) -> BoolVector:
    """Returns a random half of the images, bool `[N]`; equal numbers in `copies` stay together."""
    groups, group_of = np.unique(copies, return_inverse=True)
    chosen = np.random.default_rng(seed).permutation(len(groups)) < len(groups) // 2
    return np.asarray(chosen[group_of])


def split_cases(cases: Cases, half: BoolVector) -> Iterator[tuple[BoolVector, BoolVector]]:
    """Yields for each half the cases to learn from and those to measure on, bool `[M]`; `half` is bool `[N]`.

    A pair of images that is measured is not learned from in the other direction.
    """
    count = len(half)
    pair, turned = cases.queries * count + cases.others, cases.others * count + cases.queries
    has_both_ends = np.isin(turned, pair)
    for measured in (half, ~half):
        elsewhere = has_both_ends & measured[cases.others]
        yield ~measured[cases.queries] & ~elsewhere, measured[cases.queries]


def cross_fit(cases: Cases, half: BoolVector) -> tuple[Curve, Curve] | None:
    """Returns curves for the queries of a half, bool `[N]`, and for the others, each fitted to the opposite.

    Returns None where a half has no cases to learn from.
    """
    sides = [learn for learn, _ in split_cases(cases, half)]
    if not all(side.any() for side in sides):
        return None
    one, other = (fit_isotonic(cases.values[side], cases.right[side]) for side in sides)
    return one, other


def cross_validate_errors(cases: Cases, half: BoolVector) -> tuple[float, float] | None:
    """Returns the expected calibration error with bins of equal width and of equal mass, on held-out halves.

    Both are means over the halves; returns None where one of them has no cases.
    """
    errors = []
    for learn, measure in split_cases(cases, half):
        if not learn.any() or not measure.any():
            return None
        chances = fit_isotonic(cases.values[learn], cases.right[learn])(cases.values[measure])
        right = cases.right[measure]
        errors.append([expected_calibration_error(chances, right, equal_mass=mass) for mass in (False, True)])
    width, mass = np.mean(errors, axis=0)
    return float(width), float(mass)


def fit_isotonic(values: FloatVector, right: BoolVector) -> Curve:
    """Returns the rising curve of how often cases of these values, `[M]` and not empty, are `right`.

    Two cases are added, a wrong one at the highest value and a right one at the lowest: no curve reaches 0 or
    1 because of a few cases, and that of n right ones gives about n / (n + 1), as Laplace's rule does.
    """
    from sklearn.isotonic import IsotonicRegression

    at = np.concatenate([values, [values.max(), values.min()]]).astype(np.float64)
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(at, np.concatenate([right, [False, True]]))
    return _simplify(fitted.X_thresholds_, fitted.y_thresholds_)


def expected_calibration_error(
    chances: FloatVector, right: BoolVector, *, bins: int = BINS, equal_mass: bool = False
) -> float:
    """Returns how far chances `[M]` are from what came true, over bins; see `Reliability`.

    Chances on an edge belong to the bin above it, and equal chances to the same bin, so that there may be
    fewer bins of equal mass.
    """
    even = np.linspace(0, 1, bins + 1)
    edges = np.quantile(chances, even) if equal_mass else even
    number = np.clip(np.searchsorted(edges, chances, side="right") - 1, 0, bins - 1)
    gaps = np.bincount(number, weights=chances - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(chances))


def _simplify(knots: FloatVector, chances: FloatVector) -> Curve:
    """Returns the curve with at most `MAX_KNOTS` knots; chances change as little as possible, at most 0.04.

    Of knots whose chances differ by less than a tolerance only the first and the last are kept.
    """
    kept, tolerance = list(range(len(knots))), _FINEST
    while len(kept) > MAX_KNOTS:
        kept, tolerance = _knots_further_apart(chances, tolerance), 2 * tolerance
    return Curve(knots=tuple(float(knots[i]) for i in kept), chances=tuple(float(chances[i]) for i in kept))


def _knots_further_apart(chances: FloatVector, tolerance: float) -> list[int]:
    first, kept = 0, [0]
    for i in range(1, len(chances)):
        if chances[i] - chances[first] > tolerance:
            kept += [i - 1, i]
            first = i
    return sorted({*kept, len(chances) - 1})
