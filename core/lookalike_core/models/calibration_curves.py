"""How often a collection's neighbours and verdicts are right: what was learned, as plain data.

A score says how near two images are; a calibration says how often a neighbour of such a score was of the
query's class. `search calibrate` learns it, and the collection's manifest carries it. It names the revision
of the points that it was learned from, and is stale once they have another. Nearness is cosine similarity,
or the Euclidean distance negated: higher is nearer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lookalike_core.errors import ManifestError
from lookalike_core.models.model_manifest import text_or_none, with_field_names, with_json_keys

_SURE = 0.995


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A chance that never falls as its argument rises: straight between knots, level beyond them."""

    knots: tuple[float, ...]
    chances: tuple[float, ...]

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the chances at `values`, in their shape; NaN where they are NaN."""
        chances = np.interp(values, self.knots, self.chances)
        return np.asarray(np.where(np.isnan(values), np.nan, chances))

    def where_known(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the same, and NaN below the first knot: of anything that far nothing was ever seen."""
        return np.where(values < self.knots[0], np.nan, self(values))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `asdict` gave; a ValueError where it is no such curve."""
        knots = tuple(float(value) for value in data["knots"])
        chances = tuple(float(value) for value in data["chances"])
        rises = all(a < b for a, b in pairwise(knots)) and all(a <= b for a, b in pairwise(chances))
        fits = len(knots) == len(chances) > 0 and all(map(isfinite, knots))
        if not (rises and fits and chances[0] >= 0 and chances[-1] <= 1):
            raise ValueError("not a curve of chances that never fall")
        return cls(knots=knots, chances=chances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Expected calibration errors, 0 to 1, on images that were held out while the curves were learned.

    The chances are put into `bins`; the error is the mean of how far their average is from the share that
    was right, each bin counting by its size. Bins are equally wide (Guo et al., ICML 2017), or, for
    `neighbours_equal_mass`, equally full, which sees more where most chances are alike. `verdicts` has the
    error of each vote by name.
    """

    bins: int
    """How many bins the chances are put into."""
    neighbours: float
    """The error of the chances of neighbours, by bins that are equally wide."""
    neighbours_equal_mass: float
    """The same by bins that are equally full."""
    verdicts: Mapping[str, float]
    """The error of the chances of verdicts, by vote."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `asdict` gave; a ValueError where a figure is out of its range."""
        return cls(
            bins=_count(data["bins"]),
            neighbours=_share(data["neighbours"]),
            neighbours_equal_mass=_share(data["neighbours_equal_mass"]),
            verdicts={str(rule): _share(error) for rule, error in data["verdicts"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The nearness that the nearest image must have, or the query is unlike anything indexed.

    The evidence: `refused` is the share of the collection's own images that would be refused, `caught`
    the share of them that would be if none of their class were there.
    """

    nearness: float
    """The nearest image has to be at least as near: the similarity, or the negated distance."""
    refused: float
    """The share, 0 to 1, of the collection's own images that would be refused."""
    caught: float
    """The share, 0 to 1, of them that would be refused if none of their class were there."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `asdict` gave; a ValueError where a figure is out of its range."""
        nearness = float(data["nearness"])
        if not isfinite(nearness):
            raise ValueError("the threshold is not finite")
        return cls(nearness=nearness, refused=_share(data["refused"]), caught=_share(data["caught"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a collection's images taught, when each asked for all others.

    `identity` is the key of the model's identity and `points` what the collection held: of another space or
    another number of points it is stale. `revision` is that of the points, None where an older version
    learned it. `created_at` is ISO 8601 in UTC. It comes of `images` of `classes`, each with its `k` nearest
    neighbours, which makes `pairs`, and its `depth` nearest.

    `neighbours` is about the `k` nearest, which are shown; `candidates` about the `depth` nearest, from which
    rankings are fused. They differ, since an image that is among the nearest is more often right than
    another one of the same nearness. `verdicts` has for each vote by `k` neighbours the chance that a
    verdict of that share is right.
    """

    identity: str
    """The key of the model's identity."""
    distance: str
    """The distance of the collection."""
    created_at: str
    """When it was learned, ISO 8601 in UTC."""
    points: int
    """How many points the collection held."""
    images: int
    """How many images it was learned from."""
    classes: int
    """How many classes these have."""
    k: int
    """How many neighbours of each image are shown, and vote."""
    pairs: int
    """How many pairs of an image and one of its `k` nearest the chances were learned from."""
    depth: int
    """How many of the nearest are candidates of a fused ranking."""
    neighbours: Curve
    """The chance by nearness that one of the `k` nearest has the class of the query."""
    candidates: Curve
    """The same for one of the `depth` nearest, which is right less often."""
    verdicts: Mapping[str, Curve]
    """The chance by share of the vote that a verdict is right, for each vote."""
    threshold: Threshold
    """The nearness under which a query is out-of-distribution."""
    reliability: Reliability
    revision: str | None = None
    """What the collection's points were called when they were read; see `Collection.mark_revision`."""

    def chance(self, nearness: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the chance that each of the `k` nearest has the query's class; NaN where none is known."""
        return self.neighbours.where_known(nearness)

    def candidate_chance(self, nearness: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the chance that each of the `depth` nearest has the query's class; NaN for NaN."""
        return self.candidates(nearness)

    def verdict_chance(self, rule: str, share: float) -> float | None:
        """Returns the chance that a verdict of this share is right; None where none is known."""
        curve = self.verdicts.get(rule)
        chance = np.nan if curve is None else float(curve.where_known(np.array(share)))
        return None if np.isnan(chance) else float(chance)

    def is_unlike_anything(self, nearest: float) -> bool:
        """Returns whether a query whose nearest image is no nearer than this is unlike anything."""
        return nearest < self.threshold.nearness

    def fits(self, *, identity: str, distance: str, points: int) -> bool:
        """Returns whether it was learned from a collection of this identity key and so many points."""
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
        try:
            data = with_field_names(data)
            return cls(
                identity=str(data["identity"]),
                distance=str(data["distance"]),
                created_at=str(data["created_at"]),
                **{key: _count(data[key]) for key in ("points", "images", "classes", "k", "pairs", "depth")},
                neighbours=Curve.from_json(data["neighbours"]),
                candidates=Curve.from_json(data["candidates"]),
                verdicts={str(rule): Curve.from_json(curve) for rule, curve in data["verdicts"].items()},
                threshold=Threshold.from_json(data["threshold"]),
                reliability=Reliability.from_json(data["reliability"]),
                revision=text_or_none(data.get("revision")),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ManifestError(f"this is not a calibration that lookalike wrote ({error!r})") from error


def percent(chance: float) -> str:
    """Returns it as people are shown it: `≈ 87 %`, and never quite 0 or 100."""
    if chance >= _SURE:
        return "> 99 %"
    return f"≈ {chance * 100:.0f} %" if chance > 1 - _SURE else "< 1 %"


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return int(value)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is not between 0 and 1")
    return float(value)
