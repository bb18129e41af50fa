"""kNN votes: the class of an image by the classes of its nearest neighbours, by four rules. Pure.

Scores are Qdrant's own: the distance decides whether a higher score is nearer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 0.07
"""Temperature of the weighted vote in Wu et al. (2018) and Local Aggregation (Zhuang et al. 2019)."""


class VoteRule(StrEnum):
    """How neighbours vote."""

    MAJORITY = "majority"
    """The most frequent class of the k voters.

    A tie goes to the first class by name, regardless of scores.
    """
    NEARER_TIES = "nearer-ties"
    """The most frequent class of the k voters; a tie goes to the class whose voters are nearer on average."""
    NEAREST_CLASS = "nearest-class"
    """The class among the k voters whose own k nearest images are nearest on average."""
    WEIGHTED = "weighted"
    """The largest sum of exp(similarity / 0.07) over the k voters.

    For Euclidean distances the similarity is the negated distance divided by that of the kth neighbour, which
    makes it dimensionless.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The class that won the vote of `voters` neighbours, fewer than k if fewer of them have a class.

    `share` is its share of the voters, 0 to 1; for the weighted rule, of their weights.
    """

    class_name: str
    share: float
    voters: int


def needs_labelled_search(classes: Sequence[str | None], *, k: int) -> bool:
    """Returns whether a further search, for neighbours with a class, is needed to find the voters.

    The voters are the k nearest that have a class; others may have taken their places in the results.
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
    """Returns the verdict of neighbours, sorted nearest first; None if none has a class.

    Neighbours without a class (`""`) are skipped: see `needs_labelled_search`. The first `k` others vote;
    `NEAREST_CLASS` also uses further neighbours, up to `k` of each class among the voters.
    """
    named = [(name, float(score)) for name, score in zip(classes, scores, strict=True) if name]
    voters = named[:k]
    if not voters:
        return None
    nearness: dict[str, list[float]] = {name: [] for name, _ in voters}
    sign = 1.0 if higher_is_nearer else -1.0
    for name, score in voters:
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
            weights = _share_weights(voters, higher_is_nearer=higher_is_nearer)
            winner = min(weights, key=lambda name: (-weights[name], name))
            return Verdict(class_name=winner, share=weights[winner], voters=len(voters))
    return Verdict(class_name=winner, share=counts[winner] / len(voters), voters=len(voters))


def _share_weights(voters: Sequence[tuple[str, float]], *, higher_is_nearer: bool) -> dict[str, float]:
    """Returns each class's share of all weights."""
    scores = np.array([score for _, score in voters])
    similarity = scores if higher_is_nearer else -scores / (scores[-1] or 1.0)
    weights = np.exp((similarity - similarity.max()) / TEMPERATURE)
    shares: dict[str, float] = {}
    for (name, _), weight in zip(voters, weights / weights.sum(), strict=True):
        shares[name] = shares.get(name, 0.0) + float(weight)
    return shares


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
