"""Which class an image has, by the classes of its nearest neighbours.

Four rules, each named. Scores are Qdrant's own, so that whether a higher one is nearer goes by the distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 0.07
"""Of the weighted vote, as Wu et al. (2018) and Local Aggregation (Zhuang et al. 2019) have it."""


class VoteRule(StrEnum):
    """How neighbours vote."""

    MAJORITY = "majority"
    """Most of the voters; a tie goes to the class whose name comes first."""
    NEARER_TIES = "nearer-ties"
    """Most of the voters; of tied classes the one whose neighbours are nearer, on average."""
    NEAREST_CLASS = "nearest-class"
    """The class among the voters whose own nearest are nearest, on average."""
    WEIGHTED = "weighted"
    """The largest sum of weights, which rise with the similarity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The class that won, and its share of the vote, 0 to 1, of how many `voters`.

    `share` is that of the voters, for the weighted rule that of their weights. There are fewer than k voters
    where fewer neighbours have a class.
    """

    class_name: str
    share: float
    voters: int


def wants_voters(classes: Sequence[str | None], *, k: int) -> bool:
    """Whether neighbours without a class took places, so that those with one have to be asked for alone.

    Who votes is the same everywhere: the k nearest that have a class.
    """
    return sum(map(bool, classes)) < min(k, len(classes))


def vote(
    classes: Sequence[str],
    scores: Sequence[float] | NDArray[np.floating],
    *,
    rule: VoteRule,
    k: int,
    higher_is_nearer: bool,
) -> Verdict | None:
    """The verdict of neighbours in the order of their nearness; None where there is none with a class.

    Neighbours without a class (`""`) have no vote, nor do they take a place: see `wants_voters`. The first
    `k` of the others are asked; `NEAREST_CLASS` asks on, for up to `k` of each class that is among those.

    - `MAJORITY`: most of the k; a tie goes to the class whose name comes first, by which the rule is
      plain, repeatable and blind to scores.
    - `NEARER_TIES`: most of the k; of tied classes the one whose neighbours are nearer, on average.
    - `NEAREST_CLASS`: the class among the k whose own k nearest are nearest, on average.
    - `WEIGHTED`: the largest sum of exp(similarity / 0.07) over the k. For Euclidean distances the
      similarity is the negated distance over that of the kth neighbour, which knows no unit.
    """
    named = [(name, float(score)) for name, score in zip(classes, scores, strict=True) if name]
    asked = named[:k]
    if not asked:
        return None
    nearness: dict[str, list[float]] = {name: [] for name, _ in asked}
    sign = 1.0 if higher_is_nearer else -1.0
    for name, score in asked:
        nearness[name].append(sign * score)
    counts = {name: len(values) for name, values in nearness.items()}
    match rule:
        case VoteRule.MAJORITY:
            winner = min(counts, key=lambda name: (-counts[name], name))
        case VoteRule.NEARER_TIES:
            winner = min(counts, key=lambda name: (-counts[name], -_mean(nearness[name]), name))
        case VoteRule.NEAREST_CLASS:
            own = {name: [sign * s for other, s in named if other == name][:k] for name in counts}
            winner = min(counts, key=lambda name: (-_mean(own[name]), name))
        case VoteRule.WEIGHTED:
            weights = _weights(asked, higher_is_nearer=higher_is_nearer)
            winner = min(weights, key=lambda name: (-weights[name], name))
            return Verdict(class_name=winner, share=weights[winner], voters=len(asked))
    return Verdict(class_name=winner, share=counts[winner] / len(asked), voters=len(asked))


def _weights(asked: Sequence[tuple[str, float]], *, higher_is_nearer: bool) -> dict[str, float]:
    """Class -> its share of all weights."""
    scores = np.array([score for _, score in asked])
    similarity = scores if higher_is_nearer else -scores / (scores[-1] or 1.0)
    weights = np.exp((similarity - similarity.max()) / TEMPERATURE)
    shares: dict[str, float] = {}
    for (name, _), weight in zip(asked, weights / weights.sum(), strict=True):
        shares[name] = shares.get(name, 0.0) + float(weight)
    return shares


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
