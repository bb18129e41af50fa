"""Estimates the chances that an answer's neighbours and verdict are right, by the collection's calibration.

There is no estimate without a calibration, or for answers of another kind than it was learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

from lookalike_search.asking.answers import Neighbour

_logger = get_logger("search")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """The `chances` that each neighbour has the query's class and that the verdict is right, None if unknown.

    `unlike_anything` says that the query is out-of-distribution: too far from all indexed images for a
    verdict.
    """

    chances: Sequence[float | None]
    verdict: float | None = None
    unlike_anything: bool | None = None


def get_usable_calibration(collection: Collection) -> Calibration | None:
    """Returns the collection's calibration; None where it has none, or a stale one, which is logged."""
    manifest = collection.manifest
    calibration = manifest.calibration
    if calibration is None:
        return None
    points = collection.count()
    if calibration.fits(identity=manifest.identity.key, distance=manifest.distance, points=points):
        return calibration
    _logger.warning(
        "the calibration of %s is stale and ignored",
        collection.name,
        extra={"hint": Hint(Action.RECALIBRATE, {Argument.COLLECTION: collection.name})},
    )
    return None


def estimate(
    hits: Sequence[Neighbour], verdict: Verdict | None, *, calibration: Calibration | None, rule: VoteRule
) -> Estimates:
    """Returns the estimates for the neighbours of one image, best first, and for their verdict.

    There is none for an out-of-distribution query, for neighbours farther than any in the calibration,
    without a class, or behind the k nearest with one, and for a verdict by another number of voters than k.
    Calibrations are learned from single images and unfiltered neighbours: there is none for a search within a
    class or a dataset, by several examples, or that includes exact duplicates.
    """
    scores, classes = [hit.score for hit in hits], [hit.payload.class_name for hit in hits]
    chances = estimate_chances(scores, classes, calibration=calibration)
    if calibration is None:
        return Estimates(chances=chances)
    if hits and calibration.is_unlike_anything(_nearness(scores[:1], calibration)[0]):
        return Estimates(chances=chances, unlike_anything=True)
    is_known = verdict is not None and verdict.voters == calibration.k
    return Estimates(
        chances=chances,
        verdict=calibration.verdict_chance(rule, verdict.share) if verdict and is_known else None,
        unlike_anything=False,
    )


def estimate_chances(
    scores: Sequence[float], classes: Sequence[str | None], *, calibration: Calibration | None
) -> list[float | None]:
    """Returns the chances that the hits of one image, best first, have its class: see `estimate`."""
    chances: list[float | None] = [None] * len(scores)
    if calibration is None or not scores:
        return chances
    rows = [row for row, name in enumerate(classes) if name][: calibration.k]
    nearness = _nearness([scores[0], *(scores[row] for row in rows)], calibration)
    if calibration.is_unlike_anything(nearness[0]):
        return chances
    for row, chance in zip(rows, calibration.chance(nearness[1:]).tolist(), strict=True):
        chances[row] = None if isnan(chance) else chance
    return chances


def _nearness(scores: Sequence[float], calibration: Calibration) -> NDArray[np.float64]:
    """Returns similarities, or negated Euclidean distances, of scores."""
    found = np.array(scores, dtype=np.float64)
    return found if calibration.distance == Distance.COSINE else -found
