"""From what an evaluation found: how often a neighbour of a score is right, and how often a verdict is.

Pure: classes and results of `leave_one_out` in, a `Calibration` out. Isotonic regression (scikit-learn's)
finds the chance that rises with the nearness, or with a verdict's share of the vote, and fits best.

Which pairs of images it learns from decides what it is right for: one of the ten nearest has the query's
class more often than another image that is just as near to its query. Learned from the ten nearest, the
chances of the ten that are shown were wrong by 0.005 to 0.009 on held-out halves of four collections of
1,000 photos; learned from the hundred nearest by 0.008 to 0.14. On the hundred nearest, from which rankings
are fused, it is the other way round (0.03 to 0.2 against 0.004 to 0.02). So there is a curve for each.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from lookalike_core.models.calibration_curves import Calibration, Curve, Reliability, Threshold
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest
from numpy.typing import NDArray

from lookalike_search.evaluation.leave_one_out import (
    SHOWN,
    Estimate,
    FloatMatrix,
    IntVector,
    LabelledVectors,
    QueryResults,
    estimate,
)

FloatVector = NDArray[np.floating]
BoolVector = NDArray[np.bool_]

BINS = 10
MIN_IMAGES = 20
MIN_CLASSES = 2
REFUSED = 0.01
"""The share of the collection's own images that may be taken for unlike anything indexed."""

MAX_KNOTS = 100
_FINEST = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstaining:
    """What comes of giving no verdict on what is unlike anything indexed.

    `answered` is the share of queries that still get one, `accuracy` how often these are right, by the vote
    `nearer-ties`. Queries without another image of their class, which no verdict could be right for, are
    left out of both.
    """

    answered: Estimate
    accuracy: Estimate


def calibrated(
    images: LabelledVectors,
    results: QueryResults,
    manifest: CollectionManifest,
    *,
    points: int,
    created_at: str,
    seed: int = 0,
) -> Calibration | None:
    """What the results of a whole collection teach, with `SHOWN` voters; None where it is too little.

    `results` hold the `CANDIDATES` nearest, `points` is what the collection holds with images that have
    no class, `seed` draws the halves that are held out. The curves are then learned from every query that
    has another image of its class to find.
    """
    found = reliability(images, results, seed=seed)
    if found is None:
        return None
    shown, candidates = _nearest(images, results, SHOWN), _nearest(images, results, CANDIDATES)
    verdicts = {rule: _verdicts(images, results, rule) for rule in VoteRule}
    return Calibration(
        identity=manifest.identity.key,
        distance=manifest.distance.value,
        created_at=created_at,
        points=points,
        images=len(images.classes),
        classes=len(np.unique(images.classes)),
        k=SHOWN,
        pairs=len(shown.values),
        depth=CANDIDATES,
        neighbours=learned(shown.values, shown.right),
        candidates=learned(candidates.values, candidates.right),
        verdicts={rule.value: learned(cases.values, cases.right) for rule, cases in verdicts.items()},
        threshold=_threshold(images, results),
        reliability=found,
    )


def shortage(images: LabelledVectors, results: QueryResults) -> str | None:
    """What is missing for a calibration, in words; None where there is enough."""
    asked = results.neighbours[:, 0] >= 0
    count, classes = len(np.unique(images.copies[asked])), len(np.unique(images.classes[asked]))
    if count >= MIN_IMAGES and classes >= MIN_CLASSES:
        return None
    return (
        f"{count} different images of {classes} classes are too few to calibrate: "
        f"it takes {MIN_IMAGES} of {MIN_CLASSES}"
    )


def reliability(images: LabelledVectors, results: QueryResults, *, seed: int = 0) -> Reliability | None:
    """How far chances are off for images that they were not learned from; None where there are too few.

    They are learned from one half of the images and measured on the other, then the other way round; the
    errors are the mean of both. Copies are in one half. A pair that the other half has from its other end
    is not learned from.
    """
    if shortage(images, results):
        return None
    half = held_out(images.copies, seed=seed)
    neighbours = _errors(_nearest(images, results, SHOWN), half)
    verdicts = {rule: _errors(_verdicts(images, results, rule), half) for rule in VoteRule}
    if neighbours is None or None in verdicts.values():
        return None
    return Reliability(
        bins=BINS,
        neighbours=neighbours[0],
        neighbours_equal_mass=neighbours[1],
        verdicts={rule.value: errors[0] for rule, errors in verdicts.items() if errors is not None},
    )


def abstaining(images: LabelledVectors, results: QueryResults, *, seed: int = 0) -> Abstaining | None:
    """What a threshold does to images that it was not learned from; None where there are too few.

    It is learned from one half of the images and applied to the other, then the other way round, with
    copies in one half. A query without any neighbour is not answered. One without another image of its
    class teaches how near neighbours are, and is not counted.
    """
    if shortage(images, results):
        return None
    half = held_out(images.copies, seed=seed)
    nearest = _nearness(images, results.scores[:, 0])
    answered = np.zeros(len(half), dtype=bool)
    for measured in (half, ~half):
        learn = nearest[~measured & np.isfinite(nearest)]
        if not len(learn):
            return None
        answered[measured] = nearest[measured] >= _least(learn)
    right = (results.verdicts[VoteRule.NEARER_TIES] == images.classes).astype(np.float64)
    counted = results.relevant > 0
    return Abstaining(
        answered=estimate(answered[counted].astype(np.float64), seed=seed),
        accuracy=estimate(right[answered & counted], seed=seed),
    )


def held_out(copies: IntVector, *, seed: int) -> BoolVector:
    """One of two random halves, bool `[N]`; images with the same number in `copies` are in the same."""
    groups, group_of = np.unique(copies, return_inverse=True)
    chosen = np.random.default_rng(seed).permutation(len(groups)) < len(groups) // 2
    return np.asarray(chosen[group_of])


def crosswise(
    images: LabelledVectors, neighbours: IntVector, nearness: FloatMatrix, half: BoolVector
) -> tuple[Curve, Curve] | None:
    """The chances for the queries of a half, bool `[N]`, and for the others, each learned from the other.

    `neighbours` are those of each query, int64 `[N, depth]`, -1 where there is none, `nearness` how near they
    are. A pair that the other side has from its other end is not learned from. None where a side has nothing
    to learn from.
    """
    cases = _pairs(images, neighbours, nearness)
    sides = [learn for learn, _ in _split(cases, half)]
    if not all(side.any() for side in sides):
        return None
    one, other = (learned(cases.values[side], cases.right[side]) for side in sides)
    return one, other


def learned(values: FloatVector, right: BoolVector) -> Curve:
    """The rising curve that fits best how often cases of these values, `[M]` and not empty, are `right`.

    Two cases are made up, a wrong one at the highest value and a right one at the lowest: no curve says 0 or
    1 because of a few cases, and one of n right ones says about n / (n + 1), as Laplace's rule does.
    """
    from sklearn.isotonic import IsotonicRegression

    at = np.concatenate([values, [values.max(), values.min()]]).astype(np.float64)
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(at, np.concatenate([right, [False, True]]))
    return _thinned(fitted.X_thresholds_, fitted.y_thresholds_)


def expected_calibration_error(
    chances: FloatVector, right: BoolVector, *, bins: int = BINS, equal_mass: bool = False
) -> float:
    """How far chances `[M]` are from what came true, over bins; see `Reliability`.

    Chances on an edge belong to the bin above it, equal ones always to the same, so that there may be fewer
    bins of equal mass.
    """
    even = np.linspace(0, 1, bins + 1)
    edges = np.quantile(chances, even) if equal_mass else even
    number = np.clip(np.searchsorted(edges, chances, side="right") - 1, 0, bins - 1)
    gaps = np.bincount(number, weights=chances - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(chances))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cases:
    """What a chance is learned from, `[M]` each: a neighbour or verdict of a query, and whether it is right.

    `others` are the rows of the neighbours; those of verdicts, which have none, are the queries' own.
    """

    values: FloatVector
    right: BoolVector
    queries: IntVector
    others: IntVector


def _nearest(images: LabelledVectors, results: QueryResults, depth: int) -> _Cases:
    """The nearest of each query that could find its class: of others nothing can be right."""
    found, scores = results.neighbours[:, :depth], results.scores[:, :depth]
    counted = np.where(results.relevant[:, np.newaxis] > 0, found, -1)
    return _pairs(images, counted, _nearness(images, scores))


def _pairs(images: LabelledVectors, found: IntVector, nearness: FloatMatrix) -> _Cases:
    """The nearest of each query, and whether they have its class."""
    there = found >= 0
    queries = np.broadcast_to(np.arange(len(found))[:, np.newaxis], found.shape)[there]
    return _Cases(
        values=nearness[there],
        right=images.classes[queries] == images.classes[found[there]],
        queries=queries,
        others=found[there],
    )


def _verdicts(images: LabelledVectors, results: QueryResults, rule: VoteRule) -> _Cases:
    """Each verdict with its share of the vote, and whether it is the query's class, which could be found."""
    verdicts = results.verdicts[rule]
    queries = np.flatnonzero((verdicts >= 0) & (results.relevant > 0))
    return _Cases(
        values=results.shares[rule][queries],
        right=verdicts[queries] == images.classes[queries],
        queries=queries,
        others=queries,
    )


def _nearness(images: LabelledVectors, scores: FloatVector) -> FloatVector:
    return scores if images.higher_is_nearer else -scores


def _errors(cases: _Cases, half: BoolVector) -> tuple[float, float] | None:
    """The errors with bins of equal width and of equal mass; None where a half is empty."""
    errors = []
    for learn, measure in _split(cases, half):
        if not learn.any() or not measure.any():
            return None
        chances = learned(cases.values[learn], cases.right[learn])(cases.values[measure])
        right = cases.right[measure]
        errors.append(
            [
                expected_calibration_error(chances, right, equal_mass=equal_mass)
                for equal_mass in (False, True)
            ]
        )
    width, mass = np.mean(errors, axis=0)
    return float(width), float(mass)


def _split(cases: _Cases, half: BoolVector) -> Iterator[tuple[BoolVector, BoolVector]]:
    """Both ways: the cases to learn from and those to measure on, bool `[M]` each."""
    count = len(half)
    pair, turned = cases.queries * count + cases.others, cases.others * count + cases.queries
    has_both_ends = np.isin(turned, pair)
    for measured in (half, ~half):
        elsewhere = has_both_ends & measured[cases.others]
        yield ~measured[cases.queries] & ~elsewhere, measured[cases.queries]


def _threshold(images: LabelledVectors, results: QueryResults) -> Threshold:
    """At most `REFUSED` of the images have no other that is so near."""
    nearest = _nearness(images, results.scores[:, 0])
    nearest = nearest[np.isfinite(nearest)]
    strangers = _nearness(images, results.strangers)
    least = _least(nearest)
    return Threshold(
        nearness=least,
        refused=float(np.mean(nearest < least)),
        caught=float(np.mean(strangers[np.isfinite(strangers)] < least)),
    )


def _least(nearest: FloatVector) -> float:
    return float(np.quantile(nearest, REFUSED, method="lower"))


def _thinned(knots: FloatVector, chances: FloatVector) -> Curve:
    """At most `MAX_KNOTS` of the knots, such that chances change as little as possible, never by over 0.04.

    Of knots whose chances differ by less than a tolerance only the first and the last are kept.
    """
    kept, tolerance = list(range(len(knots))), _FINEST
    while len(kept) > MAX_KNOTS:
        kept, tolerance = _apart(chances, tolerance), 2 * tolerance
    return Curve(knots=tuple(float(knots[i]) for i in kept), chances=tuple(float(chances[i]) for i in kept))


def _apart(chances: FloatVector, tolerance: float) -> list[int]:
    first, kept = 0, [0]
    for i in range(1, len(chances)):
        if chances[i] - chances[first] > tolerance:
            kept += [i - 1, i]
            first = i
    return sorted({*kept, len(chances) - 1})
