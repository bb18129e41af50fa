"""Learns from an evaluation how large prediction sets must be to hold the right class so often. Pure.

Every image's own class gets its nonconformity with the other images as neighbours, exact duplicates left out.
Were the query added to those, too, and each class tried as its own, its own class would be exchangeable with
theirs, and the guarantee exact (full conformal prediction). Leaving that out changes scores only where the
query would be among an image's nearest; how little it matters is measured by `benchmarks/conformal.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from lookalike_core.models.conformal_scores import ConformalScores, Coverage, keep_scores
from lookalike_core.neighbours.nonconformity import Nonconformity, measure_nonconformity
from numpy.typing import NDArray

from lookalike_search.evaluation.isotonic import draw_half
from lookalike_search.evaluation.labelled_vectors import IntVector, LabelledVectors
from lookalike_search.evaluation.leave_one_out import QueryResults

LEVELS = (0.8, 0.9, 0.95, 0.99)
"""The confidences whose coverage is measured."""


def learn_conformal_scores(
    images: LabelledVectors, results: QueryResults, *, seed: int = 0
) -> ConformalScores:
    """Returns the scores of a whole collection by its leave-one-out `results`, which hold 100 neighbours.

    Left out are images that are the only one of their class, since their class would not be among the indexed
    ones, and all but one of those with the same bytes and class. Images that a calibration takes for
    out-of-distribution count as all others do: queries like them get a set, too.
    """
    cases = _measure_cases(images, results)
    coverages = _measure_coverages(cases, draw_half(cases.copies, seed=seed))
    return keep_scores(cases.own.tolist(), coverages=list(coverages))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cases:
    """M images: `own` float64 `[M]` is the nonconformity of their class.

    `of_classes` float64 `[M, depth]` is that of each class among their neighbours, NaN where a class is
    repeated; `of_others` float64 `[M]` that of each of `others` int64 `[M]` further classes. `copies` int64
    `[M]` are as those of `LabelledVectors`.
    """

    own: NDArray[np.float64]
    of_classes: NDArray[np.floating]
    of_others: NDArray[np.float64]
    others: IntVector
    copies: IntVector

    def count_classes(self, threshold: float | None) -> IntVector:
        """Returns the number of classes in each image's set, int64 `[M]`."""
        limit = np.inf if threshold is None else threshold
        near = (self.of_classes <= limit).sum(axis=1)
        return np.asarray(near + np.where(self.of_others <= limit, self.others, 0))


def _measure_cases(images: LabelledVectors, results: QueryResults) -> _Cases:
    _, first = np.unique(np.stack([images.copies, images.classes]), axis=1, return_index=True)
    rows = np.sort(first[results.relevant[first] > 0])
    found = results.neighbours[rows]
    classes = np.where(found >= 0, images.classes[found], -1)
    measured = measure_nonconformity(classes, results.scores[rows], higher_is_nearer=images.higher_is_nearer)
    of_classes = _without_repeats(classes, measured)
    return _Cases(
        own=measured.of_class(classes, images.classes[rows]),
        of_classes=of_classes,
        of_others=measured.of_others,
        others=len(images.names) - np.isfinite(of_classes).sum(axis=1),
        copies=images.copies[rows],
    )


def _without_repeats(classes: NDArray[np.int64], measured: Nonconformity) -> NDArray[np.floating]:
    """Returns the nonconformity of each class among the neighbours once, at its nearest; NaN elsewhere."""
    order = np.argsort(classes, axis=1, kind="stable")
    ordered = np.take_along_axis(classes, order, axis=1)
    repeats = np.zeros(classes.shape, dtype=bool)
    np.put_along_axis(repeats, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return np.where(repeats, np.nan, measured.of_neighbours)


def _measure_coverages(cases: _Cases, half: NDArray[np.bool_]) -> Iterator[Coverage]:
    """Yields the coverage of each level: thresholds are learned from one half and measured on the other."""
    for level in LEVELS:
        counts = np.zeros(len(half), dtype=np.int64)
        is_covered = np.zeros(len(half), dtype=bool)
        for measured in (half, ~half):
            threshold = keep_scores(cases.own[~measured].tolist()).threshold(level)
            counts[measured] = cases.count_classes(threshold)[measured]
            is_covered[measured] = True if threshold is None else cases.own[measured] <= threshold
        if len(half):
            yield Coverage(
                confidence=level,
                coverage=float(is_covered.mean()),
                mean_classes=float(counts.mean()),
                one_class=float((counts == 1).mean()),
            )
