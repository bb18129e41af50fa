"""The nearest neighbours of every image of a collection, by brute force or by the store's index."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from operator import attrgetter
from typing import Protocol

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.neighbours.brute_force import ExactSearch, FloatMatrix, IntVector
from lookalike_core.stores.bulk_reads import AT_ONCE, read_vectors
from lookalike_core.stores.overlapping_roots import first_of_file
from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter, ScoredId, SearchHit
from lookalike_core.stores.protocol import Collection

from lookalike_search.asking.answers import QueryOptions
from lookalike_search.asking.choice import (
    NO_CHOICE,
    HitChoice,
    Passing,
    Ranked,
    arrange_diversely,
    choose_hits,
)
from lookalike_search.asking.chosen_neighbours import (
    check_groups,
    count_classes,
    is_past_chances,
    require_chances,
)
from lookalike_search.asking.estimates import estimate_chances, get_usable_calibration
from lookalike_search.asking.ranking import Search
from lookalike_search.asking.scenes import Folding, Scene, find_scenes, read_rows
from lookalike_search.collection_choice import resolve_filter

Neighbours = tuple[Payload, list[SearchHit]]
SceneList = tuple[Payload, Sequence[Scene[SearchHit]]]

_SPARE = 8
"""Exact duplicates that a first search leaves room for; an image with more is searched again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonLimits:
    """The largest collection for brute force, and the number of vectors read or searched at once."""

    exact_images: int = 50_000
    exact_bytes: int = 2**30
    """Up to `exact_images`, whose vectors take up to `exact_bytes`, brute force in numpy is as fast as the
    embedded store's index (benchmarks/neighbours.py)."""

    at_once: int = AT_ONCE


COMPARISON_LIMITS = ComparisonLimits()


def is_small(
    collection: Collection,
    where: PointFilter = EVERYTHING,
    *,
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> bool:
    """Returns whether brute force is at least as fast as the index, and its vectors fit into memory."""
    count = collection.count(where)
    vector_bytes = count * collection.manifest.identity.dimension * 4
    return count <= limits.exact_images and vector_bytes <= limits.exact_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenScenes:
    """An image and its neighbours, in the order in which they are shown.

    `cut_off` counts those of the next ones, at most as many as are wanted, that a floor of chances left out.
    """

    payload: Payload
    scenes: Sequence[Scene[SearchHit]]
    cut_off: int = 0


def find_all_scenes(
    collection: Collection,
    *,
    limit: int,
    above: float | None,
    where: PointFilter = EVERYTHING,
    include_copies: bool = False,
    exact: bool | None = None,
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> Iterator[SceneList]:
    """Yields each image with its `limit` nearest scenes: see `find_all_chosen`."""
    found = find_all_chosen(
        collection,
        limit=limit,
        above=above,
        where=where,
        include_copies=include_copies,
        exact=exact,
        limits=limits,
    )
    return ((each.payload, each.scenes) for each in found)


def find_all_chosen(
    collection: Collection,
    *,
    limit: int,
    above: float | None,
    choice: HitChoice = NO_CHOICE,
    where: PointFilter = EVERYTHING,
    include_copies: bool = False,
    exact: bool | None = None,
    limits: ComparisonLimits = COMPARISON_LIMITS,
) -> Iterator[ChosenScenes]:
    """Yields each image with its `limit` nearest scenes, best first, by dataset and path; each file once.

    Hits whose cosine similarity to a better ranked one is over `above` are folded into that one, and more
    hits are searched until there are `limit` scenes or no further hits. Without `above` each hit is a scene.

    `where` filters queries and hits alike; its `excluded_sha256` is not used. An image is never its own hit,
    and its exact duplicates are hits only with `include_copies`. Scores are Qdrant's own. `exact` is brute
    force, with all vectors in memory, and the default for small collections. Otherwise the store is searched
    as for a query, and only payloads are in memory, about 1 KB each. Points that are written or deleted
    during the search may be missing. By a `choice` others of them are shown, searched for as of a query.

    Raises:
        UsageError: the collection has no such dataset or class, or hits cannot be chosen so.
    """
    check_groups(choice, where)
    calibration = None
    if choice.min_chance is not None:
        options = QueryOptions(where=where, include_self=include_copies, without_near_above=above)
        calibration = require_chances(collection, get_usable_calibration(collection), options)
    images = _open_images(collection, where, include_copies=include_copies, exact=exact, limits=limits)
    if above is None and choice.is_plain:
        return (
            ChosenScenes(payload=asks, scenes=[Scene(hit=hit) for hit in hits])
            for asks, hits in images.search_all(limit)
        )
    folding: Folding[SearchHit] | None = None
    if above is not None:
        folding = Folding(above=above, vectors_of=lambda hits: [images.vectors(hits)])
    found = _FoundScenes(
        images=images,
        folding=folding,
        first_depth=choice.depth(limit) * (1 if above is None and choice.one_per is None else _FIRST),
        choice=choice,
        calibration=calibration,
        is_euclidean=not collection.manifest.distance.higher_is_nearer,
        count_classes=cache(partial(count_classes, [collection], where)),
    )
    return (found.choose(asks, hits, limit) for asks, hits in images.search_all(found.first_depth))


_FIRST = 2
"""Hits for each wanted scene in the first search, where some are folded or left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoundScenes:
    """Chooses the scenes of images whose first search, to `first_depth`, is known."""

    images: "_Images"
    folding: Folding[SearchHit] | None
    first_depth: int
    choice: HitChoice
    calibration: Calibration | None
    is_euclidean: bool
    count_classes: Callable[[], int]

    def choose(self, asks: Payload, hits: list[SearchHit], limit: int) -> ChosenScenes:
        """Returns the scenes of one image; `hits` are those of its first search."""

        @cache
        def search(depth: int) -> Search[SearchHit]:
            found = hits if depth == self.first_depth else self.images.nearest(asks, depth)
            return Search(found=found, is_all=len(found) < depth)

        def find(count: int) -> Sequence[Scene[SearchHit]]:
            return find_scenes(
                search,
                count,
                key=lambda hit: hit.payload.id,
                folding=self.folding,
                first_depth=self.first_depth,
            )

        ranked = Ranked(
            find=find,
            payload=lambda scene: scene.hit.payload,
            passing=self._passing,
            arrange=self._arrange,
            count_classes=self.count_classes,
        )
        scenes, below = choose_hits(ranked, self.choice, limit).page(0, limit)
        return ChosenScenes(payload=asks, scenes=scenes, cut_off=len(below))

    def _passing(self, scenes: Sequence[Scene[SearchHit]]) -> Passing:
        classes = [scene.hit.payload.class_name for scene in scenes]
        chances = estimate_chances(
            [scene.hit.score for scene in scenes], classes, calibration=self.calibration
        )
        return Passing(
            passes=[self.choice.is_likely_enough(chance) for chance in chances],
            is_complete=is_past_chances(self.choice, classes, self.calibration),
        )

    def _arrange(self, scenes: Sequence[Scene[SearchHit]], count: int) -> Sequence[Scene[SearchHit]]:
        return arrange_diversely(
            scenes,
            count,
            diversity=self.choice.diverse,
            score=lambda scene: scene.hit.score,
            vectors_of=lambda some: [self.images.vectors([scene.hit for scene in some])],
            is_euclidean=self.is_euclidean,
        )


class _Images(Protocol):
    """Searches a collection with each of its images; no image is its own hit, and each file is one image."""

    def search_all(self, limit: int) -> Iterator[Neighbours]:
        """Yields each image with its `limit` nearest, or with all others where they are fewer."""

    def nearest(self, asks: Payload, limit: int) -> list[SearchHit]:
        """Returns the `limit` nearest of one image, for more hits than `search_all` returned."""

    def vectors(self, hits: Sequence[SearchHit]) -> FloatMatrix:
        """Returns the vectors of some hits, float32 `[N, D]`, not normalised."""


def _open_images(
    collection: Collection,
    where: PointFilter,
    *,
    include_copies: bool,
    exact: bool | None,
    limits: ComparisonLimits,
) -> _Images:
    where = resolve_filter(where, collection)
    payloads = sorted(collection.scan(where), key=attrgetter("sort_key"))
    known = first_of_file(payloads, collection.manifest)
    at_once = limits.at_once
    if is_small(collection, where, limits=limits) if exact is None else exact:
        asking = [payload for payload in payloads if known[payload.id] is payload]
        return _ImagesInMemory(collection, asking, include_copies=include_copies, at_once=at_once)
    return _ImagesOfStore(collection, known, where, include_copies=include_copies, at_once=at_once)


class _ImagesInMemory:
    """Searches by brute force, with all vectors in memory; implements `_Images`."""

    def __init__(
        self, collection: Collection, payloads: Sequence[Payload], *, include_copies: bool, at_once: int
    ) -> None:
        self._there, vectors = read_vectors(collection, payloads, at_once=at_once)
        self._rows = {payload.id: row for row, payload in enumerate(self._there)}
        self._copies: dict[str, list[int]] = {}
        for row, payload in enumerate(self._there):
            self._copies.setdefault(payload.sha256, []).append(row)
        self._include_copies = include_copies
        self._exact = ExactSearch(vectors, cosine=collection.manifest.distance.higher_is_nearer)

    def search_all(self, limit: int) -> Iterator[Neighbours]:
        """Yields each image with its nearest, searching with many images at a time."""
        for rows in self._exact.blocks():
            yield from self._found(rows, limit)

    def nearest(self, asks: Payload, limit: int) -> list[SearchHit]:
        """Returns the `limit` nearest of one image from memory."""
        [(_, hits)] = self._found(np.array([self._rows[asks.id]]), limit)
        return hits

    def vectors(self, hits: Sequence[SearchHit]) -> FloatMatrix:
        """Returns vectors from memory."""
        return self._exact.vectors(np.array([self._rows[hit.payload.id] for hit in hits], dtype=np.int64))

    def _found(self, rows: IntVector, limit: int) -> Iterator[Neighbours]:
        left_out = [
            [row] if self._include_copies else self._copies[self._there[row].sha256] for row in rows.tolist()
        ]
        for found in self._exact.nearest(rows, limit=limit, left_out=left_out):
            pairs = zip(found.rows.tolist(), found.scores.tolist(), strict=True)
            yield (
                self._there[found.row],
                [SearchHit(score=score, payload=self._there[row]) for row, score in pairs],
            )


class _ImagesOfStore:
    """Searches by the store; implements `_Images`.

    Requests a few more hits than `limit`, since exact duplicates are left out afterwards; where too few
    remain it searches again with a filter, which is slower. `known` is the image of each point, by the
    point's id.
    """

    def __init__(
        self,
        collection: Collection,
        known: Mapping[str, Payload],
        where: PointFilter,
        *,
        include_copies: bool,
        at_once: int,
    ) -> None:
        self._collection, self._known, self._where = collection, known, where
        self._include_copies, self._at_once = include_copies, at_once
        self._payloads = [payload for id_, payload in known.items() if payload.id == id_]
        self._copies = Counter(payload.sha256 for payload in self._payloads)
        points = Counter(payload.id for payload in known.values())
        self._points_of_one = max(points.values(), default=1)

    def search_all(self, limit: int) -> Iterator[Neighbours]:
        """Yields each image with its nearest, searching with many images at a time."""
        for start in range(0, len(self._payloads), self._at_once):
            some = self._payloads[start : start + self._at_once]
            part, vectors = read_vectors(self._collection, some)
            copies = (self._copies[payload.sha256] for payload in part)
            most = 1 if self._include_copies else max(copies, default=1)
            wanted = self._points_of_one * (limit + min(most, _SPARE))
            answers = self._collection.query_many(vectors, limit=wanted, where=self._where)
            for payload, vector, answer in zip(part, vectors, answers, strict=True):
                hits = self._drop_duplicates(payload, answer)[:limit]
                if len(hits) < limit and len(answer) == wanted:
                    hits = self._filtered(payload, vector, limit)
                yield payload, hits

    def nearest(self, asks: Payload, limit: int) -> list[SearchHit]:
        """Returns the `limit` nearest of one image by a filtered search; none for a deleted image."""
        vector = self._collection.vectors([asks.id]).get(asks.id)
        return [] if vector is None else self._filtered(asks, vector, limit)

    def vectors(self, hits: Sequence[SearchHit]) -> FloatMatrix:
        """Returns vectors from the store."""
        return read_rows(self._collection, [hit.payload.id for hit in hits])

    def _filtered(self, asks: Payload, vector: FloatVector, limit: int) -> list[SearchHit]:
        excluded = frozenset(() if self._include_copies else (asks.sha256,))
        others = replace(self._where, excluded_sha256=excluded)
        wanted = self._points_of_one * (limit + 1)
        [found] = self._collection.query_many(vector[np.newaxis], limit=wanted, where=others)
        return self._drop_duplicates(asks, found)[:limit]

    def _drop_duplicates(self, asks: Payload, found: Sequence[ScoredId]) -> list[SearchHit]:
        """Returns each hit once, without the query and, unless they are included, its exact duplicates."""
        hits: dict[str, SearchHit] = {}
        for each in found:
            payload = self._known.get(each.id, asks)
            if payload.id != asks.id and (self._include_copies or payload.sha256 != asks.sha256):
                hits.setdefault(payload.id, SearchHit(score=each.score, payload=payload))
        return list(hits.values())
