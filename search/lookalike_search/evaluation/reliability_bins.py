"""Compares estimated chances with how often they came true, bin by bin, for a reliability diagram. Pure.

The curves are those of `calibration.measure_reliability`: learned from one half of the images, and applied to
the other, then the other way round. Diagrams as in Guo et al., "On calibration of modern neural networks",
ICML 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lookalike_search.evaluation.isotonic import (
    BINS,
    BoolVector,
    Cases,
    FloatVector,
    fit_isotonic,
    split_cases,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Cases with similar chances: their number, their mean chance, and the share of them that was right."""

    cases: int
    chance: float
    right: float


def bin_held_out(cases: Cases, half: BoolVector, *, bins: int = BINS) -> list[ReliabilityBin]:
    """Returns the bins of equal width that hold cases, by chances learned from the other half of the images.

    `half` is bool `[N]`. There are none where a half has no cases.
    """
    chances, right = [], []
    for learn, measure in split_cases(cases, half):
        if not learn.any() or not measure.any():
            return []
        curve = fit_isotonic(cases.values[learn], cases.right[learn])
        chances.append(curve(cases.values[measure]))
        right.append(cases.right[measure])
    return bin_chances(np.concatenate(chances), np.concatenate(right), bins=bins)


def bin_chances(chances: FloatVector, right: BoolVector, *, bins: int = BINS) -> list[ReliabilityBin]:
    """Returns the bins of equal width that hold chances `[M]`; one on an edge belongs to the bin above it."""
    edges = np.linspace(0, 1, bins + 1)
    number = np.clip(np.searchsorted(edges, chances, side="right") - 1, 0, bins - 1)
    return [
        ReliabilityBin(
            cases=int(own.sum()), chance=float(chances[own].mean()), right=float(right[own].mean())
        )
        for own in (number == each for each in range(bins))
        if own.any()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBins:
    """The bins of neighbours' chances, and of verdicts' chances by the vote `nearer-ties`."""

    neighbours: Sequence[ReliabilityBin]
    verdicts: Sequence[ReliabilityBin]
