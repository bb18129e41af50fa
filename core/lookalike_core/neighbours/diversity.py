"""Maximal marginal relevance: hits that are near the query and unlike each other. Pure.

Carbonell and Goldstein, The use of MMR, diversity-based reranking (SIGIR 1998).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lookalike_core.neighbours.cosine import normalise_rows

FloatMatrix = NDArray[np.floating]
Floats = NDArray[np.float64]
Similarity = Callable[[int], Floats]
"""Returns the similarity of one of N images to each of them, float64 `[N]`; higher is nearer."""

POOL = 100
"""How many of the nearest a hit is chosen from, at least."""

LARGEST_POOL = 1_000
"""How many of the nearest are reordered at most; others follow in their order."""

_POOL_PER_HIT = 10

_ROUNDING = 1e-5
"""How far float32 scores may be off, relative to the largest. Where the nearest has the query's own vector,
a diversity of 0.5 makes equals of all others."""


def pool_size(place: int) -> int:
    """Returns how many of the nearest the hit in this place, from 1, is chosen from.

    Ten times its place, but at least `POOL` and at most `LARGEST_POOL`. It does not depend on how many hits
    are wanted, so that a longer list begins with the shorter one.
    """
    return min(max(POOL, _POOL_PER_HIT * place), LARGEST_POOL)


def pick_diverse(relevance: Floats, similarity: Similarity, *, diversity: float, count: int) -> list[int]:
    """Returns the rows of the first `count` of N hits by maximal marginal relevance, all where N is less.

    `relevance` is the similarity of each hit to the query, float64 `[N]`, in the order of the ranking and on
    the scale of `similarity`. The nearest is the first. Each next hit has the largest
    `(1 - diversity) * relevance - diversity * repetition`, where repetition is its largest similarity to
    those before it; of equal ones, but for rounding, it is the better ranked. A diversity of 0 keeps the
    order. N is at least `pool_size(count)`, or all hits that there are.
    """
    total = len(relevance)
    if not diversity or not total:
        return list(range(min(count, total)))
    tie = _ROUNDING * float(np.abs(relevance[:POOL]).max())
    chosen, repetition, is_left = [0], np.full(total, -np.inf), np.ones(total, dtype=bool)
    for place in range(2, min(count, total) + 1):
        is_left[chosen[-1]] = False
        repetition = np.maximum(repetition, similarity(chosen[-1]))
        marginal = np.where(is_left, (1 - diversity) * relevance - diversity * repetition, -np.inf)
        pool = marginal[: pool_size(place)]
        chosen.append(int(np.argmax(pool >= pool.max() - tie)))
    return chosen[:count]


def mean_cosines(vectors: Sequence[FloatMatrix]) -> Similarity:
    """Returns the mean cosine similarity of N images in several networks, or that in one network.

    `vectors` holds float `[N, D]` for each network, zero where it lacks the image: such a network does not
    count. Where no network has both images, their similarity is 0.
    """
    units = [normalise_rows(np.asarray(each, dtype=np.float64)) for each in vectors]
    held = [np.asarray(each.any(axis=1)) for each in units]

    def similarity(row: int) -> Floats:
        sums, both = np.zeros(len(units[0])), np.zeros(len(units[0]))
        for rows, there in zip(units, held, strict=True):
            sums += (rows * rows[row]).sum(axis=1)  # a matrix product may differ between equal rows
            both += there & there[row]
        return sums / np.maximum(both, 1)

    return similarity


def negated_distances(vectors: FloatMatrix) -> Similarity:
    """Returns the negated Euclidean distance of N images, float `[N, D]`."""
    rows = np.asarray(vectors, dtype=np.float64)
    return lambda row: -np.sqrt(((rows - rows[row]) ** 2).sum(axis=1))


def scale_like(values: Floats, others: Floats, *, first: int) -> Floats:
    """Returns values float64 `[N]` on the scale of others: the `first` of both then have the same range.

    The map is linear and keeps the order of the values; without a range all become the others' lowest.
    """
    if not len(values):
        return values
    lowest, width = values[:first].min(), float(np.ptp(values[:first]))
    slope = float(np.ptp(others[:first])) / width if width else 0.0
    return np.asarray(others[:first].min() + slope * (values - lowest))
