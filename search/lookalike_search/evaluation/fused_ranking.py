"""How good the neighbours of several networks together are: one ranking, measured like any other.

`lookalike_core.neighbours.rank_fusion` fuses the rankings, as for a query: what is measured is served.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import CANDIDATES, Chance, FusionRule, fused, vote_unit
from lookalike_core.stores.points import Payload
from numpy.typing import NDArray

from lookalike_search.evaluation.calibration import crosswise, held_out
from lookalike_search.evaluation.labelled_vectors import MIN_IMAGES, LabelledImages
from lookalike_search.evaluation.leave_one_out import (
    SHOWN,
    Block,
    FloatMatrix,
    IntVector,
    LabelledVectors,
    QueryResults,
    answered,
    nearest,
    similarities,
    with_near_left_out,
)

_ROWS = 16
"""Queries fused at a time: what comes in between then stays in the processor's own memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedImages:
    """The images that all of several collections hold, in the same order in each of `networks`.

    `only_in_some` is how many images with a class there are that not all of them hold.
    """

    networks: Sequence[LabelledImages]
    only_in_some: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _CrossFitted:
    """The chances of each network for the queries of a half, bool `[N]`, and for the others.

    They were learned from the other side.
    """

    half: NDArray[np.bool_]
    chances: Sequence[Sequence[Chance]]


def shared_images(collections: Sequence[LabelledImages]) -> SharedImages:
    """Leaves out what is not in all of them with the same bytes and of the same class.

    Raises:
        UsageError: fewer than two images remain.
    """
    keys = [[_key(payload) for payload in images.payloads] for images in collections]
    common = set[tuple[str, ...]].intersection(*map(set, keys))
    if len(common) < MIN_IMAGES:
        raise UsageError(
            f"the collections share {len(common)} images with a class, too few to evaluate them together; "
            "ingest the same folder with both backbones"
        )
    parts = [
        _part(images, [row for row, key in enumerate(own) if key in common])
        for images, own in zip(collections, keys, strict=True)
    ]
    return SharedImages(networks=parts, only_in_some=len(set().union(*keys)) - len(common))


def _key(payload: Payload) -> tuple[str, ...]:
    return payload.dataset, payload.path, payload.sha256, payload.class_name or ""


def _part(images: LabelledImages, rows: Sequence[int]) -> LabelledImages:
    """Some of the images, which keep their order and have their classes numbered anew."""
    if len(rows) == len(images.payloads):
        return images
    kept, vectors = np.array(rows), images.vectors
    numbers, classes = np.unique(vectors.classes[kept], return_inverse=True)
    part = LabelledVectors(
        vectors=vectors.vectors[kept],
        classes=classes,
        copies=vectors.copies[kept],
        names=[vectors.names[number] for number in numbers],
        higher_is_nearer=vectors.higher_is_nearer,
    )
    return replace(images, vectors=part, payloads=[images.payloads[row] for row in rows])


def leave_one_out_fused(
    networks: Sequence[LabelledVectors],
    rule: FusionRule,
    *,
    k: int = SHOWN,
    near_above: float = NEAR_ABOVE,
    without_near: bool = False,
    seed: int = 0,
    on_done: Callable[[int], None] = lambda _: None,
) -> QueryResults:
    """As `leave_one_out`, by the fused similarity of several networks' vectors of the same images.

    - `scores` are fused similarities. Average precision is over the whole fused ranking: the candidates,
      which are the 100 nearest of each network, and behind them the rest by standardised similarity.
    - An image is near-identical where it is for one of the networks, so that what is left out for one alone
      is never found by both.
    - Chances (`CALIBRATED`) are learned from other queries than those they are applied to: those of one
      random half, drawn by `seed` and with copies together, serve the other.
    - The votes take the scores times `vote_unit`, which the weighted rule alone notices. The
      nearest of a class are those of the whole fused ranking; one that is no candidate is farther from the
      query, by 1 at least, than all candidates are: what counts first is how many of a class' own k are.
    - `on_done` is told of `passes` times as many queries as there are.
    """
    fitted = None
    if rule is FusionRule.CALIBRATED:
        limit = near_above if without_near else None
        blocks = [with_near_left_out(similarities(each, limit), without_near=True) for each in networks]
        fitted = _cross_fitted(networks, blocks, seed, on_done)
    blocks = [similarities(each, near_above) for each in networks]
    return answered(
        _fused_blocks(blocks, rule, fitted, without_near=without_near),
        networks[0].classes,
        k=k,
        higher_is_nearer=True,
        vote_unit=vote_unit(rule, networks=len(networks)),
        on_done=on_done,
    )


def leave_one_out_beside(
    own: LabelledVectors,
    others: Sequence[LabelledVectors],
    *,
    near_above: float = NEAR_ABOVE,
    on_done: Callable[[int], None] = lambda _: None,
) -> QueryResults:
    """As `leave_one_out` of `own`, without what is near-identical for it or for one of `others`.

    Those are of the same images in the same order. Only one neighbour votes: it is for the ranking.
    """
    blocks = [similarities(each, near_above) for each in (own, *others)]
    return answered(
        (first for first, *_ in _of_one_mind(blocks, without_near=True)),
        own.classes,
        k=1,
        higher_is_nearer=own.higher_is_nearer,
        on_done=on_done,
    )


def passes(networks: int, rule: FusionRule) -> int:
    """How often `leave_one_out_fused` goes through all queries."""
    return 1 + networks if rule is FusionRule.CALIBRATED else 1


def _fused_blocks(
    networks: Sequence[Iterator[Block]],
    rule: FusionRule,
    fitted: _CrossFitted | None,
    *,
    without_near: bool,
) -> Iterator[Block]:
    for blocks in _of_one_mind(networks, without_near=without_near):
        rows, parts = blocks[0].rows, [block.similarity for block in blocks]
        yield replace(blocks[0], similarity=_fused_rows(rows, parts, rule, fitted))


def _of_one_mind(networks: Sequence[Iterator[Block]], *, without_near: bool) -> Iterator[list[Block]]:
    """The networks' blocks of the same queries; what is near-identical for one of them is so for all."""
    for blocks in zip(*networks, strict=True):
        near = np.any([block.near for block in blocks], axis=0)
        agreed = (replace(block, near=near) for block in blocks)
        yield list(with_near_left_out(agreed, without_near=without_near))


def _fused_rows(
    rows: IntVector,
    similarity: Sequence[FloatMatrix],
    rule: FusionRule,
    fitted: _CrossFitted | None,
) -> FloatMatrix:
    """A few rows at a time, each by the chances that were not learned from it."""
    found = np.empty(similarity[0].shape)
    half = fitted.half[rows] if fitted else np.ones(len(rows), dtype=bool)
    for side, chances in zip((half, ~half), fitted.chances if fitted else ((), ()), strict=True):
        own = np.flatnonzero(side)
        for start in range(0, len(own), _ROWS):
            few = own[start : start + _ROWS]
            found[few] = fused([each[few] for each in similarity], rule, chances=chances, depth=CANDIDATES)
    return found


def _cross_fitted(
    networks: Sequence[LabelledVectors],
    blocks: Sequence[Iterator[Block]],
    seed: int,
    on_done: Callable[[int], None],
) -> _CrossFitted:
    half = held_out(networks[0].copies, seed=seed)
    pairs = []
    for images, own in zip(networks, blocks, strict=True):
        chances = crosswise(images, *_candidates(own, on_done), half)
        if chances is None:
            raise UsageError("there are too few different images to learn chances from")
        pairs.append(chances)
    return _CrossFitted(half=half, chances=list(zip(*pairs, strict=True)))


def _candidates(blocks: Iterator[Block], on_done: Callable[[int], None]) -> tuple[IntVector, FloatMatrix]:
    """Each query's, and how near they are, `[N, CANDIDATES]`; -1 and NaN where there are fewer."""
    parts = []
    for block in blocks:
        parts.append(nearest(block.similarity, CANDIDATES))
        on_done(len(block.rows))
    rows, similarity = zip(*parts, strict=True)
    return np.concatenate(rows), np.concatenate(similarity)
