"""The neighbours that an audit judges images by, and near-duplicates that are in other places.

Few images are compared with all others. Of many, which would take time that grows with the square of their
number, each is a query to the store.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from lookalike_core.neighbours.brute_force import IntVector, row_blocks
from lookalike_core.neighbours.cosine import paired_cosines
from lookalike_core.neighbours.near_duplicates import are_near
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.stores.bulk_reads import AT_ONCE
from lookalike_core.stores.points import Payload, PointFilter, ScoredId
from lookalike_core.stores.protocol import Collection
from numpy.typing import NDArray

from lookalike_search.analysis.label_noise import VOTERS
from lookalike_search.evaluation.labelled_vectors import FloatMatrix, LabelledVectors
from lookalike_search.evaluation.similarity_blocks import Block, nearest_rows, ranked_blocks

PAIRS_OF_ONE = 10
"""Near-duplicates of one image that are compared, the nearest."""

_SPARE = 28
"""Further hits of a first search, for the image itself, exact duplicates, and images that do not vote."""

_LAST_LIMIT = 1_024
"""The most hits of a search: without a maximum each of thousands of exact duplicates would find all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedImages:
    """The images of an audit: `vectors` with their classes, -1 without one; `places` int64 `[N]`.

    Near-duplicates, whose cosine similarity is over `near_above`, are pairs if they are in different places.
    """

    vectors: LabelledVectors
    places: IntVector
    near_above: float

    @property
    def votes(self) -> NDArray[np.bool_]:
        """Which images are neighbours, bool `[N]`.

        Of images with the same bytes and class the first alone is one, so that it votes once. Without any
        class all images are neighbours.
        """
        classes = self.vectors.classes
        _, first = np.unique(np.stack([self.vectors.copies, classes]), axis=1, return_index=True)
        votes = np.zeros(len(classes), dtype=bool)
        votes[first] = True
        return votes & ((classes >= 0) | (classes < 0).all())

    @property
    def depth(self) -> int:
        """How many neighbours each image gets."""
        return max(1, min(VOTERS, len(self.places) - 1))

    def same_bytes(self) -> IntVector:
        """Returns the first image of each content with exact duplicates in other places, int64 `[P, 2]`."""
        first: dict[int, int] = {}
        rows = [(first.setdefault(copy, row), row) for row, copy in enumerate(self.vectors.copies.tolist())]
        pairs = [(a, b) for a, b in rows if self.places[a] != self.places[b]]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearImages:
    """The nearest images with a class, and pairs of near-duplicates, int64 `[P, 2]`.

    `neighbours` int64 `[N, depth]` are -1 and `nearness` float `[N, depth]` NaN for missing ones.
    """

    neighbours: IntVector
    nearness: FloatMatrix
    pairs: IntVector


def compare_exactly(images: ComparedImages, on_done: Callable[[int], None]) -> NearImages:
    """Returns what is near each image, in one pass over all similarities."""
    votes, parts, pairs = images.votes, [], [images.same_bytes()]
    for block in ranked_blocks(
        [images.vectors],
        FusionRule.RRF,
        near_above=images.near_above,
        without_near=False,
        on_done=lambda _: None,
    ):
        pairs.append(_misplaced(block, images.places))
        block.similarity[:, ~votes] = -np.inf
        parts.append(nearest_rows(block.similarity, images.depth))
        on_done(len(block.rows))
    neighbours, nearness = (np.concatenate(each) for each in zip(*parts, strict=True))
    return NearImages(
        neighbours=neighbours, nearness=nearness, pairs=np.unique(np.concatenate(pairs), axis=0)
    )


def _misplaced(block: Block, places: IntVector) -> IntVector:
    """Returns a block's images with their nearest near-duplicates in other places, int64 `[P, 2]`."""
    found = block.near & (places[block.rows, np.newaxis] != places)
    pairs = []
    for at in np.flatnonzero(found.any(axis=1)):
        others = np.flatnonzero(found[at])
        nearest = others[np.argsort(-block.similarity[at, others], kind="stable")[:PAIRS_OF_ONE]]
        pairs.append(_pair(int(block.rows[at]), nearest))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)


def _pair(row: int, others: IntVector) -> IntVector:
    """Returns pairs of a row and each of the others, the lower row first, int64 `[P, 2]`."""
    return np.stack([np.minimum(row, others), np.maximum(row, others)], axis=1)


def compare_by_index(
    images: ComparedImages,
    payloads: Sequence[Payload],
    collection: Collection,
    where: PointFilter,
    *,
    at_once: int = AT_ONCE,
    on_done: Callable[[int], None],
) -> NearImages:
    """Returns what is near each image, by searching the collection with each of them.

    Near-duplicates are found among the nearest `VOTERS` and a few more. `payloads` are those of the images,
    `where` is what they were selected by.
    """
    rows = {payload.id: row for row, payload in enumerate(payloads)}
    search = _Search(
        images=images, payloads=payloads, rows=rows, votes=images.votes, collection=collection, where=where
    )
    count, depth = len(payloads), images.depth
    neighbours = np.full((count, depth), -1, dtype=np.int64)
    nearness = np.full((count, depth), np.nan, dtype=np.float32)
    pairs = [images.same_bytes()]
    for block in row_blocks(count, at_once):
        for row, found, scores in search.find(block):
            pairs.append(search.misplaced(row, found, scores))
            voters, near = search.voters(row, found, scores)
            neighbours[row, : len(voters)], nearness[row, : len(near)] = voters, near
        on_done(len(block))
    return NearImages(
        neighbours=neighbours, nearness=nearness, pairs=np.unique(np.concatenate(pairs), axis=0)
    )


_Found = tuple[IntVector, FloatMatrix]
"""Rows and their nearness, the nearest first, without the image itself and its exact duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    images: ComparedImages
    payloads: Sequence[Payload]
    rows: Mapping[str, int]
    votes: NDArray[np.bool_]
    collection: Collection
    where: PointFilter

    @property
    def first_limit(self) -> int:
        return min(self.images.depth + _SPARE, len(self.payloads))

    def find(self, block: IntVector) -> Iterator[tuple[int, IntVector, FloatMatrix]]:
        """Yields rows with what is near them, by one search for all."""
        answers = self.collection.query_many(
            self.images.vectors.vectors[block], limit=self.first_limit, where=self.where
        )
        for row, answer in zip(block.tolist(), answers, strict=True):
            yield row, *self._others(row, answer)

    def misplaced(self, row: int, found: IntVector, nearness: FloatMatrix) -> IntVector:
        """Returns a row with its nearest near-duplicates in other places, int64 `[P, 2]`."""
        apart = self.images.places[found] != self.images.places[row]
        cosines = nearness
        if not self.images.vectors.higher_is_nearer:
            cosines = np.zeros(len(found))
            vectors = self.images.vectors.vectors
            cosines[apart] = paired_cosines(vectors[found[apart]], vectors[row])
        return _pair(row, found[apart & are_near(cosines, self.images.near_above)][:PAIRS_OF_ONE])

    def voters(self, row: int, found: IntVector, nearness: FloatMatrix) -> _Found:
        """Returns the nearest that vote; searches among images with a class where the found ones are too few.

        Fewer than wanted are returned if there are no more, or too many are exact duplicates.
        """
        depth, limit = self.images.depth, self.first_limit
        others = replace(
            self.where,
            labelled=self.where.labelled or bool((self.images.vectors.classes >= 0).any()),
            excluded_sha256=frozenset({self.payloads[row].sha256}),
        )
        is_all = len(found) + 1 >= len(self.payloads)
        while (own := self.votes[found]).sum() < depth and not is_all and limit < _LAST_LIMIT:
            limit = min(2 * limit, _LAST_LIMIT)
            [answer] = self.collection.query_many(
                self.images.vectors.vectors[row : row + 1], limit=limit, where=others
            )
            is_all = len(answer) < limit
            found, nearness = self._others(row, answer)
        return found[own][:depth], nearness[own][:depth]

    def _others(self, row: int, answer: Sequence[ScoredId]) -> _Found:
        found = np.array([self.rows.get(hit.id, -1) for hit in answer], dtype=np.int64)
        sign = 1 if self.images.vectors.higher_is_nearer else -1
        nearness = sign * np.array([hit.score for hit in answer], dtype=np.float32)
        copies = self.images.vectors.copies
        there = (found >= 0) & (copies[found] != copies[row])
        return found[there], nearness[there]
