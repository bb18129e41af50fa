"""Calibration: the probability that a collection's neighbours and verdicts are right, as plain data.

A score says how near two images are; a calibration gives the probability that a neighbour with that score has
the query's class. `search calibrate` learns it, and the collection's manifest stores it. It records the
revision of the points that it was learned from, and is stale once they have another. Nearness is cosine
similarity, or the negated Euclidean distance: higher is nearer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lookalike_core.json_records import read_record
from lookalike_core.models.conformal_scores import ConformalScores
from lookalike_core.models.model_manifest import FIELD_NAMES, translate_errors, with_json_keys

_SURE = 0.995

_ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""How far scores of equal vectors differ, relative to the score: they are computed in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A probability that never falls with its argument: linear between knots, constant beyond them."""

    knots: tuple[float, ...]
    chances: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses chances that fall, and what is no curve, with a ValueError."""
        knots, chances = self.knots, self.chances
        rises = all(a < b for a, b in pairwise(knots)) and all(a <= b for a, b in pairwise(chances))
        fits = len(knots) == len(chances) > 0 and all(map(isfinite, knots))
        if not (rises and fits and chances[0] >= 0 and chances[-1] <= 1):
            raise ValueError("not a curve of chances that never fall")

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the probabilities at `values`, in their shape; NaN for NaN."""
        chances = np.interp(values, self.knots, self.chances)
        return np.asarray(np.where(np.isnan(values), np.nan, chances))

    def where_known(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the same, but NaN below the first knot, where there was no data."""
        return np.where(values < self.knots[0], np.nan, self(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Expected calibration errors, 0 to 1, on images held out while the curves were learned.

    Probabilities are grouped into `bins`; the error is the mean difference between their average and the
    share that was right, weighted by bin size. Bins are equally wide (Guo et al., ICML 2017), or, for
    `neighbours_equal_mass`, equally full, which resolves more where most probabilities are alike. `verdicts`
    has the error of each vote by name.
    """

    bins: int
    """The number of bins."""
    neighbours: float
    """The error of neighbours' probabilities, with equally wide bins."""
    neighbours_equal_mass: float
    """The same with equally full bins."""
    verdicts: Mapping[str, float]
    """The error of verdicts' probabilities, by vote."""

    def __post_init__(self) -> None:
        """Refuses a figure out of its range with a ValueError."""
        _require_counts(self.bins)
        _require_shares(self.neighbours, self.neighbours_equal_mass, *self.verdicts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The nearness below which a query's nearest image makes it out-of-distribution.

    Its evidence: `refused` is the share of the collection's own images that would be refused, `caught` the
    share that would be if their class were missing from the collection.
    """

    nearness: float
    """The least nearness of the nearest image: its similarity, or its negated distance."""
    refused: float
    """The share, 0 to 1, of the collection's own images that would be refused."""
    caught: float
    """The share, 0 to 1, of them that would be refused if their class were missing."""

    def __post_init__(self) -> None:
        """Refuses a figure out of its range with a ValueError."""
        if not isfinite(self.nearness):
            raise ValueError("the threshold is not finite")
        _require_shares(self.refused, self.caught)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was learned from a collection's images, each used as a query against all others.

    `identity` is the key of the model's identity and `points` the number of points: with another space or
    number of points it is stale. `revision` is that of the points, None if an older version learned it.
    `created_at` is ISO 8601 in UTC. It was learned from `images` of `classes`, each with its `k` nearest
    neighbours, which makes `pairs`, and its `depth` nearest.

    `neighbours` is about the `k` nearest, which are shown; `candidates` about the `depth` nearest, from which
    rankings are fused. They differ, since one of the nearest is right more often than another image of the
    same nearness. `verdicts` has, for each vote by `k` neighbours, the probability that a verdict with that
    share is right.
    """

    identity: str
    """The key of the model's identity."""
    distance: str
    """The distance of the collection."""
    created_at: str
    """When it was learned, ISO 8601 in UTC."""
    points: int
    """The number of points of the collection."""
    images: int
    """The number of images that it was learned from."""
    classes: int
    """The number of their classes."""
    k: int
    """The number of neighbours of each image that are shown, and vote."""
    pairs: int
    """The number of pairs of an image and one of its `k` nearest that it was learned from."""
    depth: int
    """The number of nearest images that are candidates of a fused ranking."""
    neighbours: Curve
    """The probability, by nearness, that one of the `k` nearest has the query's class."""
    candidates: Curve
    """The same for one of the `depth` nearest, which is right less often."""
    verdicts: Mapping[str, Curve]
    """The probability, by share of the vote, that a verdict is right, for each vote."""
    threshold: Threshold
    """The nearness under which a query is out-of-distribution."""
    reliability: Reliability
    """How far the chances are off on held-out images."""
    revision: str | None = None
    """The revision of the points that were read; see `Collection.mark_revision`."""
    conformal: ConformalScores | None = None
    """The scores that prediction sets are made by; None if an older version learned the calibration."""

    def __post_init__(self) -> None:
        """Refuses a figure out of its range with a ValueError."""
        _require_counts(self.points, self.images, self.classes, self.k, self.pairs, self.depth)

    def chance(self, nearness: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the probability that each of the `k` nearest has the query's class; NaN where unknown."""
        return self.neighbours.where_known(nearness)

    def candidate_chance(self, nearness: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the probability that each of the `depth` nearest has the query's class; NaN for NaN."""
        return self.candidates(nearness)

    def verdict_chance(self, rule: str, share: float) -> float | None:
        """Returns the probability that a verdict with this share is right; None if unknown."""
        curve = self.verdicts.get(rule)
        chance = np.nan if curve is None else float(curve.where_known(np.array(share)))
        return None if np.isnan(chance) else float(chance)

    def is_unlike_anything(self, nearest: float) -> bool:
        """Returns whether a query whose nearest image is at this nearness is out-of-distribution.

        Differences of rounding do not count: where all vectors are equal, the threshold is 1.
        """
        threshold = self.threshold.nearness
        return nearest < threshold - _ROUNDING * max(1.0, abs(threshold))

    def fits(self, *, identity: str, distance: str, points: int) -> bool:
        """Returns whether it was learned from a collection of this identity key and number of points."""
        return (self.identity, self.distance, self.points) == (identity, distance, points)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object; `from_json` reads it back."""
        return with_json_keys(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            ManifestError: a field is missing or malformed.
        """
        with translate_errors("calibration"):
            return read_record(cls, data, former_names=FIELD_NAMES)


def percent(chance: float) -> str:
    """Returns a probability as text: `≈ 87 %`, and never 0 or 100."""
    if chance >= _SURE:
        return "> 99 %"
    return f"≈ {chance * 100:.0f} %" if chance > 1 - _SURE else "< 1 %"


def _require_counts(*values: int) -> None:
    if min(values) < 0:
        raise ValueError("a count is negative")


def _require_shares(*values: float) -> None:
    if not all(0 <= value <= 1 for value in values):
        raise ValueError("a share is not between 0 and 1")
