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
from lookalike_core.stores.protocol import Collection

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
    chances: list[float | None] = [None] * len(hits)
    if calibration is None:
        return Estimates(chances=chances)
    scores = np.array([hit.score for hit in hits])
    nearness = scores if calibration.distance == "cosine" else -scores
    if len(hits) and calibration.is_unlike_anything(float(nearness[0])):
        return Estimates(chances=chances, unlike_anything=True)
    read_off = calibration.chance(nearness).tolist()
    for i in [i for i, hit in enumerate(hits) if hit.payload.class_name][: calibration.k]:
        chances[i] = None if isnan(read_off[i]) else read_off[i]
    is_known = verdict is not None and verdict.voters == calibration.k
    return Estimates(
        chances=chances,
        verdict=calibration.verdict_chance(rule, verdict.share) if verdict and is_known else None,
        unlike_anything=False,
    )
