"""Rank fusion: similarities of the same images in several networks become one similarity. Pure."""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lookalike_core.neighbours.brute_force import top_k
from lookalike_core.neighbours.vote import TEMPERATURE

FloatMatrix = NDArray[np.floating]
Chance = Callable[[FloatMatrix], FloatMatrix]
"""Maps similarities float `[n]` to probabilities of the same class, elementwise."""

CANDIDATES = 100
"""How many of a network's nearest neighbours are candidates, and count in a sum of reciprocal ranks."""

RANK_CONSTANT = 60
"""The constant of reciprocal-rank fusion in Cormack, Clarke and Buettcher (SIGIR 2009)."""


class FusionRule(StrEnum):
    """How several rankings become one."""

    RRF = "rrf"
    ZSCORE = "zscore"
    CALIBRATED = "calibrated"


def fuse_similarities(
    similarities: Sequence[FloatMatrix],
    rule: FusionRule,
    *,
    chances: Sequence[Chance] = (),
    depth: int = CANDIDATES,
) -> NDArray[np.float64]:
    """Returns the fused similarity of M images to B queries, float64 `[B, M]`; higher is nearer.

    `similarities` holds one float `[B, M]` a network, higher is nearer (Euclidean distances negated), with
    NaN if the image is not in that network's collection and -inf if it is excluded, then for all networks.
    `chances` holds one function per network, for `CALIBRATED`.

    Candidates are among the `depth` nearest of at least one network. Other images rank behind them.

    - `RRF`: the sum of 1 / (60 + rank) over the networks that have it among their `depth` nearest; for a
      network whose collection lacks the image, the mean of the others is added.
    - `ZSCORE`: the mean, over the networks that hold the image, of its similarity in standard deviations
      above the mean of that network's `depth` nearest.
    - `CALIBRATED`: the mean, over those networks, of the chance that an image of this similarity has the
      query's class. Chances are flat in places; among equal ones the z-scores decide.
    """
    placed = [ranks(each, depth) for each in similarities]
    candidate = np.any([rank <= depth for rank in placed], axis=0)
    z = _mean([_standardise(each, rank <= depth) for each, rank in zip(similarities, placed, strict=True)])
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
    return np.where(left_out, -np.inf, _break_ties(score, z, candidate))


def vote_unit(rule: FusionRule, *, networks: int = 2) -> float:
    """Returns the factor that scales fused similarities to the temperature of the weighted vote.

    `RRF`: an image that all networks rank first then has 1, one that all rank tenth 0.87. `ZSCORE`: a
    standard deviation is one temperature. `CALIBRATED`: chances are not scaled.
    """
    units = {
        FusionRule.RRF: (RANK_CONSTANT + 1) / networks,
        FusionRule.ZSCORE: TEMPERATURE,
        FusionRule.CALIBRATED: 1.0,
    }
    return units[rule]


def ranks(similarity: FloatMatrix, depth: int) -> NDArray[np.float64]:
    """Returns the ranks of each row's `depth` nearest, from 1; infinity for all others.

    Of equally near ones the lower column ranks first.
    """
    columns, near = top_k(np.where(np.isfinite(similarity), similarity, -np.inf), depth)
    places = np.full(similarity.shape, np.inf)
    counted = np.arange(1.0, columns.shape[1] + 1)
    np.put_along_axis(places, columns, np.where(np.isfinite(near), counted, np.inf), axis=1)
    return places


def _chances(of: Chance, similarity: FloatMatrix, wanted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the chances of the wanted similarities; NaN for the others."""
    chances = np.full(similarity.shape, np.nan)
    chances[wanted] = of(similarity[wanted])
    return chances


def _standardise(similarity: FloatMatrix, nearest: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns similarities in standard deviations above the mean of each row's nearest; NaN for missing."""
    rows, columns = np.nonzero(nearest)
    near = similarity[rows, columns].astype(np.float64)
    count = np.maximum(nearest.sum(axis=1), 1)
    mean = np.bincount(rows, near, minlength=len(similarity)) / count
    deviation = np.sqrt(np.bincount(rows, (near - mean[rows]) ** 2, minlength=len(similarity)) / count)
    values = np.where(np.isfinite(similarity), similarity, np.nan) - mean[:, np.newaxis]
    return np.asarray(values / np.where(deviation > 0, deviation, 1)[:, np.newaxis])


def _mean(parts: Sequence[FloatMatrix]) -> NDArray[np.float64]:
    """Returns the mean over the networks that have a value; NaN where none has."""
    total, count = np.zeros(parts[0].shape), np.zeros(parts[0].shape)
    for part in parts:
        there = ~np.isnan(part)
        total += np.where(there, part, 0)
        count += there
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _break_ties(score: FloatMatrix, z: FloatMatrix, candidate: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Breaks ties of scores by z-scores, by less than 1e-9, and ranks all others behind the candidates."""
    soft = z / (1 + np.abs(z))
    soft[np.isnan(soft)] = -1
    floor = np.where(candidate, score, np.inf).min(axis=1, keepdims=True, initial=0)
    return np.asarray(np.where(candidate, score + _TIE * soft, floor - 2 + soft))


_TIE = 1e-9
