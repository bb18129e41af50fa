"""What a collection's calibration says of one answer: the estimated accuracy of its neighbours and verdict.

Where there is no calibration, or the answer is not of the kind that it was learned from, nothing is said
rather than something wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan

import numpy as np
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import logger_of
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.protocol import Collection

_logger = logger_of("search")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """The chances that each neighbour has the query's class and that the verdict is right, where known.

    `unlike_anything` says that the query is too far from all that is indexed for a verdict to mean anything.
    """

    neighbours: Sequence[float | None] = field(default_factory=tuple)
    verdict: float | None = None
    unlike_anything: bool = False


def usable_calibration(collection: Collection) -> Calibration | None:
    """The collection's calibration; None where it has none, or, which is logged, a stale one."""
    manifest = collection.manifest
    calibration = manifest.calibration
    if calibration is None:
        return None
    points = collection.count()
    if calibration.fits(identity=manifest.identity.key, distance=manifest.distance, points=points):
        return calibration
    _logger.warning(
        "the calibration of %s is stale and left aside",
        collection.name,
        extra={"hint": Hint(Action.RECALIBRATE, {Argument.COLLECTION: collection.name})},
    )
    return None


def estimated(
    calibration: Calibration,
    *,
    scores: Sequence[float],
    classes: Sequence[str | None],
    verdict: Verdict | None,
    rule: VoteRule,
) -> Estimates:
    """The estimates for neighbours of one image, best first, of a whole collection.

    `scores` are Qdrant's own. Nothing is known of an image that is unlike anything, of what is farther than
    anything that was seen when the calibration was learned, of neighbours without a class, of others beyond
    the ten nearest that have one, and of verdicts by another number of voters than ten. It was learned from
    single images that ask for the others: searches within a class or a dataset, by several examples, or for
    copies too, are another matter.
    """
    nearness = np.array(scores) if calibration.distance == "cosine" else -np.array(scores)
    if len(nearness) and calibration.is_unlike_anything(float(nearness[0])):
        return Estimates(neighbours=[None] * len(nearness), unlike_anything=True)
    chances = calibration.chance(nearness).tolist()
    known = verdict if verdict and verdict.voters == calibration.k else None
    labelled = [i for i, class_name in enumerate(classes) if class_name]
    learned = set(labelled[: calibration.k])
    return Estimates(
        neighbours=[
            chance if i in learned and not isnan(chance) else None for i, chance in enumerate(chances)
        ],
        verdict=calibration.verdict_chance(rule, known.share) if known else None,
    )
