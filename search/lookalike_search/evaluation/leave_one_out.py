"""How good neighbours are: every image of a collection asks for its own, and the classes tell.

Pure: vectors and classes in, figures out. An image is never its own neighbour, nor is one with the same
bytes; what is left out beyond that, the caller says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np
from lookalike_core.neighbours.cosine import clip_cosines
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE, are_near
from lookalike_core.neighbours.precision import average_precision
from lookalike_core.neighbours.vote import VoteRule, vote
from numpy.typing import NDArray

FloatMatrix = NDArray[np.floating]
IntVector = NDArray[np.int64]

CUTOFFS = (1, 5, 10)
SHOWN = max(CUTOFFS)
BLOCK = 256
"""Queries compared at a time: a block of similarities against 10,000 images is 10 MB."""

RESAMPLES = 1_000
CONFIDENCE = 0.95
FEWEST_QUERIES = 5
"""Of fewer a mean has no interval: one of resampled few values is far too narrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledVectors:
    """A collection in memory: `vectors` float `[N, D]`, `classes` and `copies` int64 `[N]`.

    Everything is computed in the precision of the vectors, float32 as a rule, so that of neighbours whose
    scores hardly differ either may come first. Cosine similarities are off by at most about 1e-6. Euclidean
    distances come of squares, whose error is about 1e-6 of the squared lengths (from the mean of all): a
    distance like these lengths is off by up to 1e-5 of itself, one of under a thousandth of them may be 0.

    `classes` index into `names`, which are sorted: numbers decide a vote's ties as names would. Images with
    the same number in `copies` have the same bytes.
    """

    vectors: FloatMatrix
    classes: IntVector
    copies: IntVector
    names: Sequence[str]
    higher_is_nearer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some queries and every image: `rows` int64 `[B]` are the queries.

    `similarity` float `[B, N]` is higher for nearer, and -inf for what does not count; `near` bool `[B, N]`
    says what is near-identical.
    """

    rows: IntVector
    similarity: FloatMatrix
    near: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResults:
    """What each of N queries found, one row or value each.

    `verdicts` gives for each rule of the vote the class that it chose, int64 `[N]`, -1 where it had none;
    `shares` float64 `[N]` its share of the vote, NaN there.
    `neighbours` int64 `[N, depth]` are the rows of the nearest, `scores` float `[N, depth]` their
    scores (cosine similarity or Euclidean distance), best first, -1 and NaN behind the last there is.
    `strangers` float `[N]` are the scores of the nearest of other classes, NaN where there is none.
    `relevant` int64 `[N]` says how many others of its class each could find: 0 for the only image of a
    class, whose `average_precision` float64 `[N]` is NaN. `near_identical` int64 `[N]` says how many others
    are nearly the same image.
    """

    neighbours: IntVector
    scores: FloatMatrix
    relevant: IntVector
    average_precision: NDArray[np.float64]
    near_identical: IntVector
    strangers: NDArray[np.floating]
    verdicts: Mapping[VoteRule, IntVector]
    shares: Mapping[VoteRule, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over queries, with a 95 % bootstrap interval: `low` and `high`, NaN where they are too few."""

    value: float
    """The mean."""
    low: float
    """The lower end of the interval."""
    high: float
    """The upper end of the interval."""

    def to_json(self) -> dict[str, float | None]:
        """Returns its three numbers; None for NaN, which is no JSON: there is no figure."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {key: None if isnan(number) else number for key, number in numbers.items()}


def leave_one_out(
    images: LabelledVectors,
    *,
    k: int = SHOWN,
    near_above: float = NEAR_ABOVE,
    without_near: bool = False,
    depth: int = SHOWN,
    on_done: Callable[[int], None] = lambda _: None,
) -> QueryResults:
    """Compares every image with all others, exactly, lets `k` neighbours vote and keeps `depth` of them.

    Images whose cosine similarity is over `near_above` count as near-identical, whatever the distance:
    the same photo at another size, as a rule. They are counted, and left out where that is asked for.
    `on_done` is told how many queries more are answered.

    Average precision is over the whole ranking.
    """
    blocks = with_near_left_out(similarities(images, near_above), without_near=without_near)
    return answered(
        blocks,
        images.classes,
        k=k,
        higher_is_nearer=images.higher_is_nearer,
        depth=depth,
        on_done=on_done,
    )


def similarities(images: LabelledVectors, near_above: float | None) -> Iterator[Block]:
    """What every image is to every other, `BLOCK` queries at a time and exactly.

    Similarity is -inf for the copies of a query, and a Euclidean distance is negated. Without `near_above`
    nothing is near-identical, which nobody has to find out then.
    """
    vectors = images.vectors
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centred = vectors if images.higher_is_nearer else vectors - vectors.mean(axis=0)  # smaller numbers
    squares = np.einsum("nd,nd->n", centred, centred, dtype=np.float64)
    for start in range(0, len(units), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(units)))
        copies = images.copies[rows, np.newaxis] == images.copies
        near = np.zeros_like(copies)
        if near_above is not None or images.higher_is_nearer:
            similarity = clip_cosines(units[rows] @ units.T)
        if near_above is not None:
            near = are_near(similarity, near_above) & ~copies
        if not images.higher_is_nearer:
            distances = squares[rows, np.newaxis] - 2.0 * (centred[rows] @ centred.T) + squares
            similarity = -np.sqrt(np.maximum(distances, 0)).astype(units.dtype)
        similarity[copies] = -np.inf
        yield Block(rows=rows, similarity=similarity, near=near)


def with_near_left_out(blocks: Iterator[Block], *, without_near: bool) -> Iterator[Block]:
    """The same blocks, with near-identical images out of the way where that is asked for."""
    for block in blocks:
        if without_near:
            block.similarity[block.near] = -np.inf
        yield block


def answered(
    blocks: Iterator[Block],
    classes: IntVector,
    *,
    k: int,
    higher_is_nearer: bool,
    vote_unit: float = 1.0,
    depth: int = SHOWN,
    on_done: Callable[[int], None] = lambda _: None,
) -> QueryResults:
    """What the queries of all blocks found, whatever their similarity is made of.

    `scores` are similarities, negated where lower scores are nearer; the votes take them times `vote_unit`.
    """
    asked = _Asked(classes=classes, k=k, higher_is_nearer=higher_is_nearer, vote_unit=vote_unit, depth=depth)
    parts = []
    for block in blocks:
        parts.append(_query_block(asked, block))
        on_done(len(block.rows))
    return QueryResults(
        neighbours=np.concatenate([part.neighbours for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        relevant=np.concatenate([part.relevant for part in parts]),
        average_precision=np.concatenate([part.average_precision for part in parts]),
        near_identical=np.concatenate([part.near_identical for part in parts]),
        strangers=np.concatenate([part.strangers for part in parts]),
        verdicts={rule: np.concatenate([part.verdicts[rule] for part in parts]) for rule in VoteRule},
        shares={rule: np.concatenate([part.shares[rule] for part in parts]) for rule in VoteRule},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is the same for all queries."""

    classes: IntVector
    k: int
    higher_is_nearer: bool
    vote_unit: float
    depth: int


def _query_block(asked: _Asked, block: Block) -> QueryResults:
    neighbours, values = nearest(block.similarity, max(asked.depth, asked.k))
    sign = 1 if asked.higher_is_nearer else -1
    verdicts = [
        _verdicts(asked, found, near, row)
        for found, near, row in zip(neighbours, values, block.similarity, strict=True)
    ]
    same = asked.classes[block.rows, np.newaxis] == asked.classes
    precision = [average_precision(row, own) for row, own in zip(block.similarity, same, strict=True)]
    strangers = np.where(same, -np.inf, block.similarity).max(axis=1)
    return QueryResults(
        neighbours=neighbours[:, : asked.depth],
        scores=sign * values[:, : asked.depth],
        relevant=(same & np.isfinite(block.similarity)).sum(axis=1),
        average_precision=np.array(precision),
        near_identical=block.near.sum(axis=1),
        strangers=sign * np.where(np.isfinite(strangers), strangers, np.nan),
        verdicts={rule: np.array([each[rule][0] for each in verdicts]) for rule in VoteRule},
        shares={rule: np.array([each[rule][1] for each in verdicts]) for rule in VoteRule},
    )


def nearest(similarity: FloatMatrix, depth: int) -> tuple[IntVector, FloatMatrix]:
    """Rows and similarities of the nearest, best first, `[B, depth]`; -1 and NaN behind the last."""
    there = min(depth, similarity.shape[1])
    found = np.argpartition(-similarity, there - 1, axis=1)[:, :there]
    values = np.take_along_axis(similarity, found, axis=1)
    order = np.lexsort((found, -values), axis=1)
    found, values = np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)
    finite, missing = np.isfinite(values), ((0, 0), (0, depth - there))
    return (
        np.pad(np.where(finite, found, -1), missing, constant_values=-1),
        np.pad(np.where(finite, values, np.nan), missing, constant_values=np.nan),
    )


def _verdicts(
    asked: _Asked, found: IntVector, values: FloatMatrix, similarity: FloatMatrix
) -> dict[VoteRule, tuple[int, float]]:
    """What each rule makes of one query's neighbours: the class's number and share, -1 and NaN for none."""
    found, values = found[found >= 0][: asked.k], values[found >= 0][: asked.k]
    unit = asked.vote_unit if asked.higher_is_nearer else -asked.vote_unit
    verdicts = {}
    for rule in VoteRule:
        rows, near = found, values
        if rule is VoteRule.NEAREST_CLASS:
            rows, near = _nearest_of_classes(asked, sorted(set(asked.classes[found].tolist())), similarity)
        verdict = vote(
            [_as_name(number) for number in asked.classes[rows]],
            unit * near,
            rule=rule,
            k=asked.k,
            higher_is_nearer=asked.higher_is_nearer,
        )
        verdicts[rule] = (int(verdict.class_name), verdict.share) if verdict else (-1, float("nan"))
    return verdicts


def _as_name(number: int) -> str:
    """A class's number for the vote, such that texts are in the order of numbers, which is that of names."""
    return f"{number:019d}"


def _nearest_of_classes(
    asked: _Asked, classes: Sequence[int], similarity: FloatMatrix
) -> tuple[IntVector, FloatMatrix]:
    """The k nearest of each of these classes, all of them best first."""
    parts = [np.empty(0, dtype=np.int64)]
    for number in classes:
        own = np.flatnonzero((asked.classes == number) & np.isfinite(similarity))
        parts.append(own[np.argsort(-similarity[own], kind="stable")[: asked.k]])
    rows = np.concatenate(parts)
    rows = rows[np.argsort(-similarity[rows], kind="stable")]
    return rows, similarity[rows]


def right_of(neighbours: IntVector, classes: IntVector) -> NDArray[np.bool_]:
    """Which of the neighbours int64 `[N, depth]` have the class of their query, bool `[N, depth]`.

    Where there is none, -1, none is right.
    """
    return np.asarray((classes[neighbours] == classes[:, np.newaxis]) & (neighbours >= 0))


def countable(results: QueryResults) -> IntVector:
    """The neighbours, int64 `[N, depth]`, but of each query only as many as could all be right, -1 behind.

    One that comes behind is of another class even in a perfect ranking, and tells of no confusion.
    """
    places = np.arange(results.neighbours.shape[1])
    return np.where(places < results.relevant[:, np.newaxis], results.neighbours, -1)


def confusion(found: IntVector, classes: IntVector, *, count: int) -> NDArray[np.int64]:
    """How many of the neighbours of queries of class i have class j, int64 `[count, count]`.

    `found` int64 `[N, depth]` are rows, -1 where there is none.
    """
    table = np.zeros((count, count), dtype=np.int64)
    queries = np.broadcast_to(classes[:, np.newaxis], found.shape)
    there = found >= 0
    np.add.at(table, (queries[there], classes[found[there]]), 1)
    return table


def estimate(values: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """The mean of the finite values, with the percentile bootstrap's interval over queries.

    There is no mean of none, and no interval of fewer than `FEWEST_QUERIES`: those are NaN.
    """
    mean, values = mean_of(values), values[np.isfinite(values)]
    if len(values) < FEWEST_QUERIES:
        return Estimate(value=mean, low=float("nan"), high=float("nan"))
    low, high = np.quantile(_resampled_means(values, seed), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=mean, low=float(low), high=float(high))


def mean_of(values: NDArray[np.float64]) -> float:
    """Returns the mean of the finite values; NaN of none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")


def difference(one: NDArray[np.float64], other: NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """The mean of `other - one` over the same queries: a paired bootstrap, which sees small differences."""
    return estimate(other - one, seed=seed)


def _resampled_means(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    at_once = max(1, min(RESAMPLES, _RESAMPLED_VALUES // len(values)))
    draws = (min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once))
    means = [values[random.integers(0, len(values), (draw, len(values)))].mean(axis=1) for draw in draws]
    return np.concatenate(means)


_RESAMPLED_VALUES = 100_000
"""Drawn at a time: a class of a few images takes one draw, not a thousand."""
