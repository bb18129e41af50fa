"""Conformal scores of a collection, as plain data: from a confidence to the threshold of a prediction set.

A collection's own images, each with the others as neighbours, have the nonconformity of their right class. A
set that holds every class whose nonconformity is at most the ceil((n + 1) * confidence)-th smallest of n such
scores holds the right class of another image of the same kind with at least that confidence (Vovk, Gammerman
and Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., Distribution-free predictive inference
for regression, JASA 2018).
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, Self

from lookalike_core.json_records import read_record
from lookalike_core.models.model_manifest import FIELD_NAMES

if TYPE_CHECKING:
    from fractions import Fraction

MAX_SCORES = 400
"""How many scores are kept; of more, those of some ranks only."""

_FINEST = 100
"""How many of the largest are always kept, since high confidences need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How prediction sets of a confidence did on held-out images."""

    confidence: float
    """The confidence, between 0 and 1."""
    coverage: float
    """The share of images whose right class was in their set, 0 to 1."""
    mean_classes: float
    """The mean number of classes of a set."""
    one_class: float
    """The share of sets of one class, 0 to 1."""

    def __post_init__(self) -> None:
        """Refuses a figure out of its range with a ValueError."""
        shares = (self.confidence, self.coverage, self.one_class)
        if not (all(0 <= share <= 1 for share in shares) and 1 <= self.mean_classes < float("inf")):
            raise ValueError("a figure of a coverage is out of its range")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformalScores:
    """The nonconformity of the right classes of a collection's images: the smallest ones of some `ranks`.

    Images with the same bytes and class count once. Images that are the only one of their class are left out.
    """

    images: int
    """The number of images that have such a score."""
    ranks: tuple[int, ...]
    """Rising ranks, the last of which is `images`; 1 is that of the smallest score."""
    scores: tuple[float, ...]
    """The score of each of these ranks."""
    coverages: tuple[Coverage, ...]
    """How sets of usual confidences did on held-out images; empty where those were too few."""

    def __post_init__(self) -> None:
        """Refuses what are no order statistics with a ValueError."""
        ranks, scores = self.ranks, self.scores
        rises = all(a < b for a, b in pairwise(ranks)) and all(a <= b for a, b in pairwise(scores))
        is_whole = (not ranks and not self.images) or (ranks and ranks[0] > 0 and ranks[-1] == self.images)
        if not (rises and is_whole and len(ranks) == len(scores) and all(map(isfinite, scores))):
            raise ValueError("not the smallest scores of these ranks")

    def threshold(self, confidence: float) -> float | None:
        """Returns the largest nonconformity of a class in the set; None where every class has to be in it.

        Between two ranks that are kept the higher one counts, so that the set is too large rather than too
        small. `confidence` is above 0 and below 1.
        """
        place = bisect_left(self.ranks, rank_of(confidence, self.images))
        return self.scores[place] if place < len(self.scores) else None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads the JSON object that `with_json_keys` makes of it.

        Raises:
            ValueError: a field is missing or malformed.
        """
        return read_record(cls, data, former_names=FIELD_NAMES)


def keep_scores(scores: Sequence[float], *, coverages: Sequence[Coverage] = ()) -> ConformalScores:
    """Returns the record of n scores, of which at most `MAX_SCORES` are kept: all, or every so many-th."""
    ordered, count = sorted(scores), len(scores)
    step = max(1, ceil((count - _FINEST) / (MAX_SCORES - _FINEST)))
    ranks = sorted({*range(step, count + 1, step), *range(max(1, count - _FINEST + 1), count + 1)})
    return ConformalScores(
        images=count,
        ranks=tuple(ranks),
        scores=tuple(float(ordered[rank - 1]) for rank in ranks),
        coverages=tuple(coverages),
    )


def rank_of(confidence: float, images: int) -> int:
    """Returns the rank of the threshold among the scores of so many images; more than these for too few."""
    return ceil((images + 1) * _exact(confidence))


def images_for(confidence: float) -> int:
    """Returns the least number of images with which a confidence has a threshold: 19 for 95 %."""
    exact = _exact(confidence)
    return ceil(exact / (1 - exact))


def _exact(confidence: float) -> "Fraction":
    """Returns the decimal number that was meant: 0.95 is 19/20, and not the float next to it."""
    from fractions import Fraction

    return Fraction(repr(float(confidence)))
