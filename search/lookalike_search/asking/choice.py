"""Chooses which hits of a ranking are shown: above the floors, one of each class or folder, diverse.

Pure but for the searches that it is given. The choice of the first hits never depends on how many are
wanted, so that pages of it neither overlap nor leave gaps.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress
from typing import Generic, TypeVar

import numpy as np
from lookalike_core.neighbours.diversity import (
    LARGEST_POOL,
    POOL,
    FloatMatrix,
    Floats,
    mean_cosines,
    negated_distances,
    pick_diverse,
    pool_size,
    scale_like,
)
from lookalike_core.stores.points import Payload

_Hit = TypeVar("_Hit")

_GROWTH = 4

DEEPEST = 20_480
"""How many of the nearest one hit of each class or folder is chosen from, at most: they take seconds."""


class OnePer(StrEnum):
    """What each shown hit has of its own."""

    CLASS = "class"
    FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class HitChoice:
    """The choice of hits: `min_chance` is the floor of their calibrated chance, above 0 and below 1.

    Of each class or folder (`one_per`) only the best hit is shown; an image without a class counts as a class
    of its own. `diverse`, 0 to 1, is the diversity of `pick_diverse`.
    """

    min_chance: float | None = None
    one_per: OnePer | None = None
    diverse: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether all hits are shown in their order."""
        return self.min_chance is None and self.one_per is None and not self.diverse

    def is_likely_enough(self, chance: float | None) -> bool:
        """Returns whether a hit of this chance is above the floor; an unknown chance is not."""
        return self.min_chance is None or (chance is not None and chance >= self.min_chance)

    def depth(self, count: int) -> int:
        """Returns how many of the nearest the first `count` hits are chosen from."""
        return max(count, pool_size(count)) if self.diverse else count


NO_CHOICE = HitChoice()
"""All hits in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """Which hits of a ranking are above all floors, and whether no deeper ones can be."""

    passes: Sequence[bool]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenHits(Generic[_Hit]):
    """The `shown` hits in their order, and those `below` a floor, which would follow them."""

    shown: Sequence[_Hit]
    below: Sequence[_Hit]

    def page(self, start: int, end: int) -> tuple[Sequence[_Hit], Sequence[_Hit]]:
        """Returns those of both that are in the places from `start` to `end`."""
        behind = slice(max(0, start - len(self.shown)), max(0, end - len(self.shown)))
        return self.shown[start:end], self.below[behind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked(Generic[_Hit]):
    """A ranking to choose from.

    `find` returns at least so many hits, best first, or all; `payload` that of a hit, and `passing` which of
    some hits are above the floors. `arrange` returns the first of some hits by `pick_diverse`.
    `count_classes` returns how many hits there can be where each has a class of its own.
    """

    find: Callable[[int], Sequence[_Hit]]
    payload: Callable[[_Hit], Payload]
    passing: Callable[[Sequence[_Hit]], Passing]
    arrange: Callable[[Sequence[_Hit], int], Sequence[_Hit]]
    count_classes: Callable[[], int]


def choose_hits(ranked: Ranked[_Hit], choice: HitChoice, count: int) -> ChosenHits[_Hit]:
    """Returns the first `count` hits of a choice, or all; without diversity there may be more of them.

    It searches deeper until there are enough to choose from, or no deeper hit can be shown.
    """
    wanted = choice.depth(count)
    depth, most = wanted if choice.one_per is None else min(wanted, DEEPEST), None
    while True:
        found = ranked.find(depth)
        passing = ranked.passing(found)
        above = list(compress(found, passing.passes))
        groups: set[Hashable] = set()
        shown = _first_of_groups(ranked, above, choice.one_per, groups)
        if len(shown) >= wanted or len(found) < depth or passing.is_complete:
            break
        if choice.one_per is OnePer.CLASS:
            most = ranked.count_classes() if most is None else most
            if len(shown) >= most:
                break
        if choice.one_per is not None and depth >= DEEPEST:
            break
        depth = depth * _GROWTH if choice.one_per is None else min(depth * _GROWTH, DEEPEST)
    below = list(compress(found, [not passes for passes in passing.passes]))
    return ChosenHits(
        shown=ranked.arrange(shown, count) if choice.diverse else shown,
        below=_first_of_groups(ranked, below, choice.one_per, groups),
    )


def _first_of_groups(
    ranked: Ranked[_Hit], hits: Sequence[_Hit], one_per: OnePer | None, groups: set[Hashable]
) -> list[_Hit]:
    """Returns the hits whose group is not among `groups` yet, and adds their groups to these."""
    if one_per is None:
        return list(hits)
    first = []
    for hit in hits:
        group = group_of(ranked.payload(hit), one_per)
        if group not in groups:
            groups.add(group)
            first.append(hit)
    return first


def group_of(payload: Payload, one_per: OnePer) -> Hashable:
    """Returns what an image shares with the others of its class, or of the folder that it lies in."""
    if one_per is OnePer.FOLDER:
        return payload.dataset, payload.path.rpartition("/")[0]
    return payload.class_name or (payload.dataset, payload.path)


def arrange_diversely(
    hits: Sequence[_Hit],
    count: int,
    *,
    diversity: float,
    score: Callable[[_Hit], float],
    vectors_of: Callable[[Sequence[_Hit]], Sequence[FloatMatrix]],
    queries: Sequence[FloatMatrix] = (),
    is_euclidean: bool = False,
) -> list[_Hit]:
    """Returns the first `count` hits by maximal marginal relevance, the others in their order.

    `vectors_of` returns the vectors of some hits, float `[N, D]` for each network, zero where it lacks the
    image; `queries` holds the float `[D]` that each of several was searched with. Hits of one network are
    compared by its distance; those of several by their mean cosine similarity, to whose range fused scores
    are scaled.
    """
    pool = hits[: pool_size(count)]
    vectors, scores = vectors_of(pool), np.array([score(hit) for hit in pool], dtype=np.float64)
    if is_euclidean:
        relevance, similarity = -scores, negated_distances(vectors[0])
    else:
        similarity = mean_cosines(vectors)
        relevance = _scale_fused(scores, vectors, queries) if len(queries) > 1 else scores
    rows = pick_diverse(relevance, similarity, diversity=diversity, count=min(count, LARGEST_POOL))
    return [*(pool[row] for row in rows), *hits[LARGEST_POOL:count]]


def _scale_fused(scores: Floats, vectors: Sequence[FloatMatrix], queries: Sequence[FloatMatrix]) -> Floats:
    """Returns fused scores on the scale of the mean cosine similarity to the query."""
    with_query = [np.vstack([query, rows]) for query, rows in zip(queries, vectors, strict=True)]
    return scale_like(scores, mean_cosines(with_query)(0)[1:], first=POOL)
