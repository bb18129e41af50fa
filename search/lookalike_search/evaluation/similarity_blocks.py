"""Computes how near every image is to every other, block by block, in one network or in several fused. Pure.

`lookalike_core.neighbours.rank_fusion` fuses the rankings, as for a query.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.brute_force import row_blocks, rows_at_once, top_k
from lookalike_core.neighbours.cosine import clip_cosines, normalise_rows, unit_rows
from lookalike_core.neighbours.near_duplicates import are_near
from lookalike_core.neighbours.rank_fusion import CANDIDATES, Chance, FusionRule, fuse_similarities
from numpy.typing import NDArray

from lookalike_search.evaluation.isotonic import cross_fit, draw_half, neighbour_cases
from lookalike_search.evaluation.labelled_vectors import FloatMatrix, IntVector, LabelledVectors

_ROWS = 16
"""Queries fused at a time, so that intermediate arrays stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some queries and every image: `rows` int64 `[B]` are the queries.

    `similarity` float `[B, N]` is higher for nearer, and -inf for images that do not count; `near` bool `[B,
    N]` marks near-duplicates of the query.
    """

    rows: IntVector
    similarity: FloatMatrix
    near: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CrossFitted:
    """The chances of each network for the queries of a half, bool `[N]`, and for the others.

    Each was fitted to the other half.
    """

    half: NDArray[np.bool_]
    chances: Sequence[Sequence[Chance]]


def ranked_blocks(
    networks: Sequence[LabelledVectors],
    rule: FusionRule,
    *,
    near_above: float,
    without_near: bool,
    near_in: Sequence[LabelledVectors] = (),
    queries: IntVector | None = None,
    seed: int = 0,
    on_done: Callable[[int], None],
) -> Iterator[Block]:
    """Yields the blocks that `leave_one_out` ranks; see there.

    `queries` int64 `[Q]`, ascending, are the images that are queries, by default all. `on_done` is called
    with the number of further queries that chances were learned from.

    Raises:
        UsageError: there are too few different images to learn a calibration from.
    """
    is_fused = len(networks) > 1
    fitted = None
    rows = np.arange(len(networks[0].classes)) if queries is None else queries
    if is_fused and rule is FusionRule.CALIBRATED:
        fitted = _cross_fit_chances(networks, rows, near_above if without_near else None, seed, on_done)
    for blocks in _shared_blocks([*networks, *near_in], rows, near_above, without_near=without_near):
        block, *others = blocks[: len(networks)]
        if is_fused:
            parts = [block.similarity, *(each.similarity for each in others)]
            block = replace(block, similarity=_fuse_rows(block.rows, parts, rule, fitted))
        yield block


def changed_blocks(
    images: LabelledVectors,
    rows: IntVector,
    vectors: FloatMatrix,
    *,
    near_above: float,
    without_near: bool,
) -> Iterator[Block]:
    """Yields blocks of the similarities of changed versions of some images to all images.

    `vectors` float `[Q, D]` are the changed versions, in the order of `rows` int64 `[Q]`. What is left out
    is the same as for the images themselves: an image, its exact duplicates and, with `without_near`, its
    near-duplicates by the stored vectors.
    """
    space = _Space(images)
    for places in row_blocks(len(rows), rows_at_once(len(images.vectors))):
        own, changed = rows[places], vectors[places].astype(space.units.dtype)
        if images.higher_is_nearer:
            similarity = space.cosines(normalise_rows(changed))
        else:
            changed = changed - space.mean
            similarity = space.negated_distances(changed, _squares(changed))
        copies = images.copies[own, np.newaxis] == images.copies
        near = are_near(space.cosines(space.units[own]), near_above) & ~copies
        similarity[copies | (near if without_near else False)] = -np.inf
        yield Block(rows=own, similarity=similarity, near=near)


def count_passes(networks: int, rule: FusionRule) -> int:
    """Returns the number of passes over all queries that `leave_one_out` makes for this many networks."""
    return 1 + networks if networks > 1 and rule is FusionRule.CALIBRATED else 1


def nearest_rows(similarity: FloatMatrix, depth: int) -> tuple[IntVector, FloatMatrix]:
    """Returns the rows and similarities of the nearest, best first, `[B, depth]`; -1 and NaN for missing."""
    found, values = top_k(similarity, depth)
    finite, missing = np.isfinite(values), ((0, 0), (0, depth - found.shape[1]))
    return (
        np.pad(np.where(finite, found, -1), missing, constant_values=-1),
        np.pad(np.where(finite, values, np.nan), missing, constant_values=np.nan),
    )


def spread_rows(values: NDArray[Any], rows: IntVector, count: int, *, missing: float) -> NDArray[Any]:
    """Returns `[count, ...]` with the values of some ascending rows, `[B, ...]`, and `missing` elsewhere."""
    if len(rows) == count:
        return values
    spread = np.full((count, *values.shape[1:]), missing, dtype=values.dtype)
    spread[rows] = values
    return spread


def _shared_blocks(
    networks: Sequence[LabelledVectors], rows: IntVector, near_above: float | None, *, without_near: bool
) -> Iterator[list[Block]]:
    """Yields the networks' blocks of the same queries; near-duplicates in one of them are so in all.

    `without_near` leaves near-duplicates out.
    """
    for blocks in zip(*(_blocks(each, rows, near_above) for each in networks), strict=True):
        near = reduce(np.logical_or, [block.near for block in blocks])
        if without_near:
            for block in blocks:
                block.similarity[near] = -np.inf
        yield [replace(block, near=near) for block in blocks]


def _blocks(images: LabelledVectors, queries: IntVector, near_above: float | None) -> Iterator[Block]:
    """Yields blocks of the exact similarities of some images, the queries, to all.

    Similarity is -inf for the query and its exact duplicates; a Euclidean distance is negated. Without
    `near_above` near-duplicates are not marked, which saves the cosines of Euclidean collections.
    """
    space = _Space(images)
    for places in row_blocks(len(queries), rows_at_once(len(images.vectors))):
        rows = queries[places]
        copies = images.copies[rows, np.newaxis] == images.copies
        near = np.zeros_like(copies)
        if near_above is not None or images.higher_is_nearer:
            similarity = space.cosines(space.units[rows])
        if near_above is not None:
            near = are_near(similarity, near_above) & ~copies
        if not images.higher_is_nearer:
            similarity = space.negated_distances(space.centred[rows], space.squares[rows])
        similarity[copies] = -np.inf
        yield Block(rows=rows, similarity=similarity, near=near)


class _Space:
    """The vectors of all images, prepared so that others can be compared with them."""

    def __init__(self, images: LabelledVectors) -> None:
        vectors = images.vectors
        self.units = unit_rows(vectors)
        self.mean = np.zeros((), vectors.dtype) if images.higher_is_nearer else vectors.mean(axis=0)
        self.centred = vectors if images.higher_is_nearer else vectors - self.mean  # smaller numbers
        self.squares = _squares(self.centred)

    def cosines(self, units: FloatMatrix) -> FloatMatrix:
        """Returns the cosine similarities of unit vectors `[B, D]` to all, `[B, N]`."""
        return clip_cosines(units @ self.units.T)

    def negated_distances(self, centred: FloatMatrix, squares: NDArray[np.float64]) -> FloatMatrix:
        """Returns the negated Euclidean distances of centred vectors `[B, D]` to all, `[B, N]`."""
        distances = squares[:, np.newaxis] - 2.0 * (centred @ self.centred.T) + self.squares
        return np.asarray(-np.sqrt(np.maximum(distances, 0))).astype(self.units.dtype)


def _squares(vectors: FloatMatrix) -> NDArray[np.float64]:
    return np.asarray(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def _fuse_rows(
    rows: IntVector,
    similarity: Sequence[FloatMatrix],
    rule: FusionRule,
    fitted: _CrossFitted | None,
) -> FloatMatrix:
    """Returns fused similarities, computed for a few queries at a time by chances not learned from them."""
    found = np.empty(similarity[0].shape)
    half = fitted.half[rows] if fitted else np.ones(len(rows), dtype=bool)
    for side, chances in zip((half, ~half), fitted.chances if fitted else ((), ()), strict=True):
        own = np.flatnonzero(side)
        for start in range(0, len(own), _ROWS):
            few = own[start : start + _ROWS]
            found[few] = fuse_similarities(
                [each[few] for each in similarity], rule, chances=chances, depth=CANDIDATES
            )
    return found


def _cross_fit_chances(
    networks: Sequence[LabelledVectors],
    queries: IntVector,
    near_above: float | None,
    seed: int,
    on_done: Callable[[int], None],
) -> _CrossFitted:
    """Returns each network's chances, learned from the queries' candidates; near-duplicates are left out."""
    half = draw_half(networks[0].copies, seed=seed)
    pairs = []
    for images in networks:
        candidates = []
        for [block] in _shared_blocks([images], queries, near_above, without_near=True):
            candidates.append(nearest_rows(block.similarity, CANDIDATES))
            on_done(len(block.rows))
        found, nearness = (np.concatenate(parts) for parts in zip(*candidates, strict=True))
        rows = spread_rows(found, queries, len(half), missing=-1)
        chances = cross_fit(
            neighbour_cases(images.classes, rows, spread_rows(nearness, queries, len(half), missing=np.nan)),
            half,
        )
        if chances is None:
            raise UsageError("there are too few different images to learn a calibration from")
        pairs.append(chances)
    return _CrossFitted(half=half, chances=list(zip(*pairs, strict=True)))
