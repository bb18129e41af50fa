"""Finds classes that neighbours cannot tell apart. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike_search.analysis.false_discoveries import rates_by_p_values
from lookalike_search.analysis.label_noise import Votes

IntVector = NDArray[np.int64]

TOLERATED = 0.25
"""The share of a class' images that may be taken for another class. Were classes the same, it would be a
half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A class whose images are taken for another class: `taken` of its `images`.

    `false_discovery_rate` is that of all pairs of classes that are at least as likely to be taken for each
    other more often than `TOLERATED`.
    """

    class_number: int
    other_number: int
    taken: int
    images: int
    false_discovery_rate: float


def find_overlaps(classes: IntVector, votes: Votes) -> list[Overlap]:
    """Returns the classes of which some images have more votes for another class, likeliest first.

    `classes` int64 `[N]` are those of the images that were voted on, all of which have one.
    """
    from scipy.stats import binom

    is_more = (votes.classes >= 0) & (votes.classes != classes[:, np.newaxis])
    is_more &= votes.shares > votes.own[:, np.newaxis]
    rows, places = np.nonzero(is_more)
    if not len(rows):
        return []
    sizes = np.bincount(classes)
    pairs, taken = np.unique(
        np.stack([classes[rows], votes.classes[rows, places]], axis=1), axis=0, return_counts=True
    )
    images, count = sizes[pairs[:, 0]], int((sizes > 0).sum())
    p_values = np.asarray(binom.sf(taken - 1, images, TOLERATED), dtype=np.float64)
    rates = rates_by_p_values(p_values, tests=count * (count - 1))
    return [
        Overlap(
            class_number=int(pairs[at, 0]),
            other_number=int(pairs[at, 1]),
            taken=int(taken[at]),
            images=int(images[at]),
            false_discovery_rate=float(rates[at]),
        )
        for at in np.lexsort((-taken / images, p_values, rates))
    ]
