"""Learns from an evaluation how often neighbours and verdicts are right.

Pure: it makes a `Calibration` of classes and results of `leave_one_out`. Chances rise with the nearness of a
neighbour, or with a verdict's share of the vote: see `isotonic`.

Which pairs of images it learns from decides what it is right for: one of the ten nearest has the query's
class more often than another image that is just as near to its query. Learned from the ten nearest, the
chances of the ten that are shown were wrong by 0.005 to 0.009 on held-out halves of four collections of
1,000 photos; learned from the hundred nearest by 0.008 to 0.14. On the hundred nearest, from which rankings
are fused, it is the other way round (0.03 to 0.2 against 0.004 to 0.02). So there is a curve for each.
"""

from dataclasses import dataclass

import numpy as np
from lookalike_core.models.calibration_curves import Calibration, Reliability, Threshold
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_search.evaluation.bootstrap import Estimate, estimate
from lookalike_search.evaluation.conformal import learn_conformal_scores
from lookalike_search.evaluation.isotonic import (
    BINS,
    Cases,
    FloatVector,
    cross_validate_errors,
    draw_half,
    fit_isotonic,
    neighbour_cases,
)
from lookalike_search.evaluation.labelled_vectors import LabelledVectors
from lookalike_search.evaluation.leave_one_out import SHOWN, QueryResults
from lookalike_search.evaluation.reliability_bins import ReliabilityBins, bin_held_out

MIN_IMAGES = 20
MIN_CLASSES = 2
REFUSED = 0.01
"""Share of the collection's own images that the threshold may take for out-of-distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstaining:
    """How abstaining from verdicts on out-of-distribution queries changes their accuracy.

    `answered` is the share of queries that still get a verdict, `accuracy` the share of these that is right,
    by the vote `nearer-ties`. Both leave out queries without another image of their class, for which no
    verdict could be right.
    """

    answered: Estimate
    accuracy: Estimate


def learn_calibration(
    images: LabelledVectors,
    results: QueryResults,
    manifest: CollectionManifest,
    *,
    points: int,
    created_at: str,
    seed: int = 0,
) -> Calibration | None:
    """Fits a calibration's curves to the results of a whole collection; returns None for too few results.

    `results` hold the `CANDIDATES` nearest, and verdicts of `SHOWN` voters. `points` counts the collection's
    images with those without a class, `seed` draws the halves that are held out to measure the reliability.
    The curves are fitted to every query that has another image of its class to find.
    """
    found = measure_reliability(images, results, seed=seed)
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
        neighbours=fit_isotonic(shown.values, shown.right),
        candidates=fit_isotonic(candidates.values, candidates.right),
        verdicts={rule.value: fit_isotonic(cases.values, cases.right) for rule, cases in verdicts.items()},
        threshold=measure_threshold(images, results),
        reliability=found,
        conformal=learn_conformal_scores(images, results, seed=seed),
    )


def describe_shortage(images: LabelledVectors, results: QueryResults) -> str | None:
    """Returns a sentence about what a calibration needs and lacks; None if nothing is missing."""
    asked = results.neighbours[:, 0] >= 0
    count, classes = len(np.unique(images.copies[asked])), len(np.unique(images.classes[asked]))
    if count >= MIN_IMAGES and classes >= MIN_CLASSES:
        return None
    return (
        f"calibration needs {MIN_IMAGES} different images of {MIN_CLASSES} classes, "
        f"and there are {count} of {classes}"
    )


def measure_reliability(
    images: LabelledVectors, results: QueryResults, *, seed: int = 0
) -> Reliability | None:
    """Measures how far chances are off on held-out images; returns None for too few images.

    Curves are fitted to one half of the images and measured on the other, then the other way round; the
    errors are means of both. Images with the same bytes are in the same half.
    """
    if describe_shortage(images, results):
        return None
    half = draw_half(images.copies, seed=seed)
    neighbours = cross_validate_errors(_nearest(images, results, SHOWN), half)
    verdicts = {rule: cross_validate_errors(_verdicts(images, results, rule), half) for rule in VoteRule}
    if neighbours is None or None in verdicts.values():
        return None
    return Reliability(
        bins=BINS,
        neighbours=neighbours[0],
        neighbours_equal_mass=neighbours[1],
        verdicts={rule.value: errors[0] for rule, errors in verdicts.items() if errors is not None},
    )


def measure_reliability_bins(
    images: LabelledVectors, results: QueryResults, *, seed: int = 0
) -> ReliabilityBins | None:
    """Returns the bins of a reliability diagram, on held-out halves; None for too few images."""
    if describe_shortage(images, results):
        return None
    half = draw_half(images.copies, seed=seed)
    return ReliabilityBins(
        neighbours=bin_held_out(_nearest(images, results, SHOWN), half),
        verdicts=bin_held_out(_verdicts(images, results, VoteRule.NEARER_TIES), half),
    )


def measure_abstaining(images: LabelledVectors, results: QueryResults, *, seed: int = 0) -> Abstaining | None:
    """Measures a threshold on held-out images; returns None for too few images.

    It is learned from one half of the images and applied to the other, then the other way round, with images
    of the same bytes in the same half. A query without any neighbour is not answered. A query without another
    image of its class is learned from but not counted.
    """
    if describe_shortage(images, results):
        return None
    half = draw_half(images.copies, seed=seed)
    nearest = _nearness(images, results.scores[:, 0])
    answered = np.zeros(len(half), dtype=bool)
    for measured in (half, ~half):
        learn = nearest[~measured & np.isfinite(nearest)]
        if not len(learn):
            return None
        answered[measured] = nearest[measured] >= _learn_threshold(learn)
    right = (results.verdicts[VoteRule.NEARER_TIES] == images.classes).astype(np.float64)
    counted = results.relevant > 0
    return Abstaining(
        answered=estimate(answered[counted].astype(np.float64), seed=seed),
        accuracy=estimate(right[answered & counted], seed=seed),
    )


def _nearest(images: LabelledVectors, results: QueryResults, depth: int) -> Cases:
    """Returns the nearest neighbours of the queries that have another image of their class, as cases."""
    found, scores = results.neighbours[:, :depth], results.scores[:, :depth]
    counted = np.where(results.relevant[:, np.newaxis] > 0, found, -1)
    return neighbour_cases(images.classes, counted, _nearness(images, scores))


def _verdicts(images: LabelledVectors, results: QueryResults, rule: VoteRule) -> Cases:
    """Returns the verdicts on these queries with their shares of the vote, as cases."""
    verdicts = results.verdicts[rule]
    queries = np.flatnonzero((verdicts >= 0) & (results.relevant > 0))
    return Cases(
        values=results.shares[rule][queries],
        right=verdicts[queries] == images.classes[queries],
        queries=queries,
        others=queries,
    )


def _nearness(images: LabelledVectors, scores: FloatVector) -> FloatVector:
    return scores if images.higher_is_nearer else -scores


def measure_threshold(images: LabelledVectors, results: QueryResults) -> Threshold:
    """Learns the threshold, and measures it on the same images and on their nearest impostors."""
    nearest = _nearness(images, results.scores[:, 0])
    nearest = nearest[np.isfinite(nearest)]
    impostors = _nearness(images, results.nearest_impostors)
    least = _learn_threshold(nearest)
    return Threshold(
        nearness=least,
        refused=float(np.mean(nearest < least)),
        caught=float(np.mean(impostors[np.isfinite(impostors)] < least)),
    )


def _learn_threshold(nearest: FloatVector) -> float:
    """Returns the nearness that at most a share of `REFUSED` of nearest neighbours is below."""
    return float(np.quantile(nearest, REFUSED, method="lower"))
