"""What two networks make of the same images, as one ranking.

Pure: similarities of candidates in each network in, one fused similarity out.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lookalike_core.neighbours.brute_force import top_k
from lookalike_core.neighbours.vote import TEMPERATURE

FloatMatrix = NDArray[np.floating]
Chance = Callable[[FloatMatrix], FloatMatrix]
"""The chance of the same class for similarities float `[n]`, each by itself."""

CANDIDATES = 100
"""How many of a network's nearest are candidates, and count in a sum of reciprocal ranks."""

RANK_CONSTANT = 60
"""Of reciprocal-rank fusion, as Cormack, Clarke and Buettcher (SIGIR 2009) have it."""


class FusionRule(StrEnum):
    """How several rankings become one."""

    RRF = "rrf"
    ZSCORE = "zscore"
    CALIBRATED = "calibrated"


def fused(
    similarities: Sequence[FloatMatrix],
    rule: FusionRule,
    *,
    chances: Sequence[Chance] = (),
    depth: int = CANDIDATES,
) -> NDArray[np.float64]:
    """The fused similarity of M images to B queries, float64 `[B, M]`; higher is nearer.

    `similarities` holds one float `[B, M]` a network, higher is nearer (Euclidean distances negated), with
    NaN where the image is not in that network's collection and -inf where it does not count, as it then
    does not in any. `chances` turns the similarities of each network into the chance of the same class.

    A candidate is among the `depth` nearest of at least one network. Others come behind all candidates.

    - `RRF`: the sum of 1 / (60 + rank) over the networks that have it among their `depth` nearest; a network
      whose collection lacks the image is taken to agree with the others.
    - `ZSCORE`: the mean, over the networks that hold the image, of its similarity in standard deviations
      above the mean of that network's `depth` nearest.
    - `CALIBRATED`: the mean, over those networks, of the chance that an image of this similarity has the
      query's class. Chances are flat in places; among equal ones the z-scores decide.
    """
    placed = [ranks(each, depth) for each in similarities]
    candidate = np.any([rank <= depth for rank in placed], axis=0)
    z = _mean([_standardised(each, rank <= depth) for each, rank in zip(similarities, placed, strict=True)])
    match rule:
        case FusionRule.RRF:
            found = [np.where(rank <= depth, 1 / (RANK_CONSTANT + rank), 0) for rank in placed]
            parts = [np.where(np.isnan(s), np.nan, r) for s, r in zip(similarities, found, strict=True)]
            score = len(parts) * _mean(parts)
        case FusionRule.ZSCORE:
            score = z
        case FusionRule.CALIBRATED:
            pairs = zip(chances, similarities, strict=True)
            score = _mean([_chances(of, each, candidate & np.isfinite(each)) for of, each in pairs])
    left_out = np.any([np.isneginf(each) for each in similarities], axis=0)
    return np.where(left_out, -np.inf, _in_order(score, z, candidate))


def vote_unit(rule: FusionRule, *, networks: int = 2) -> float:
    """By what fused similarities are multiplied for a vote, whose temperature of 0.07 has to mean something.

    The weighted vote alone notices. `RRF`: 1 is what an image has that all networks rank first, and the
    tenth of all has 0.87. `ZSCORE`: a standard deviation is one temperature. `CALIBRATED`: chances as they
    are.
    """
    units = {
        FusionRule.RRF: (RANK_CONSTANT + 1) / networks,
        FusionRule.ZSCORE: TEMPERATURE,
        FusionRule.CALIBRATED: 1.0,
    }
    return units[rule]


def ranks(similarity: FloatMatrix, depth: int) -> NDArray[np.float64]:
    """1 for the nearest of each row, then 2, ... up to `depth`; infinite for all others.

    Of equally near ones the first is taken for the nearer.
    """
    columns, near = top_k(np.where(np.isfinite(similarity), similarity, -np.inf), depth)
    places = np.full(similarity.shape, np.inf)
    counted = np.arange(1.0, columns.shape[1] + 1)
    np.put_along_axis(places, columns, np.where(np.isfinite(near), counted, np.inf), axis=1)
    return places


def _chances(of: Chance, similarity: FloatMatrix, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Where they are wanted; NaN elsewhere."""
    chances = np.full(similarity.shape, np.nan)
    chances[wanted] = of(similarity[wanted])
    return chances


def _standardised(similarity: FloatMatrix, nearest: NDArray[np.bool_]) -> NDArray[np.float64]:
    """In standard deviations above the mean of each row's nearest; NaN for what is not there."""
    rows, columns = np.nonzero(nearest)
    near = similarity[rows, columns].astype(np.float64)
    count = np.maximum(nearest.sum(axis=1), 1)
    mean = np.bincount(rows, near, minlength=len(similarity)) / count
    deviation = np.sqrt(np.bincount(rows, (near - mean[rows]) ** 2, minlength=len(similarity)) / count)
    values = np.where(np.isfinite(similarity), similarity, np.nan) - mean[:, np.newaxis]
    return np.asarray(values / np.where(deviation > 0, deviation, 1)[:, np.newaxis])


def _mean(parts: Sequence[FloatMatrix]) -> NDArray[np.float64]:
    """Over the networks that have a value; NaN where none has."""
    total, count = np.zeros(parts[0].shape), np.zeros(parts[0].shape)
    for part in parts:
        there = ~np.isnan(part)
        total += np.where(there, part, 0)
        count += there
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _in_order(score: FloatMatrix, z: FloatMatrix, candidate: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The score, with ties undone by less than 1e-9, and all that is no candidate behind those that are."""
    soft = z / (1 + np.abs(z))
    soft[np.isnan(soft)] = -1
    floor = np.where(candidate, score, np.inf).min(axis=1, keepdims=True, initial=0)
    return np.asarray(np.where(candidate, score + _TIE * soft, floor - 2 + soft))


_TIE = 1e-9
