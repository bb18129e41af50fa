"""Ranks what the networks of a query find: by the scores of one network, or by fused rankings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.neighbours.cosine import paired_cosines
from lookalike_core.neighbours.rank_fusion import Chance, FloatMatrix, FusionRule, fuse_similarities, ranks
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.overlapping_roots import (
    file_key,
    first_by_rule,
    first_of_hits,
    has_overlap,
    ids_of_file,
)
from lookalike_core.stores.points import Payload, PointFilter

from lookalike_search.asking.answers import Neighbour, Placing, QueryOptions
from lookalike_search.asking.query_sources import find_file
from lookalike_search.asking.ranking import FIRST_DEPTH, Search
from lookalike_search.asking.scenes import read_rows
from lookalike_search.asking.searched_collection import SearchedCollection


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A hit: its rank from 1 and its score, as in `Neighbour`.

    `key` identifies its file. `placings` has one for each of several networks, None where the network's
    collection lacks the image.
    """

    rank: int
    score: float
    payload: Payload
    key: str
    placings: Sequence[Placing | None] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to each network for its `limit` nearest among the points of `where`."""

    where: PointFilter
    limit: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query: `vectors` holds one float32 `[D]` for each network, `where` filters the points.

    In a fusion the `candidates` nearest of each network are ranked first, whatever the limit is; all other
    hits rank behind them.
    """

    networks: Sequence[SearchedCollection]
    vectors: Sequence[FloatVector]
    where: PointFilter
    options: QueryOptions
    candidates: int

    @property
    def is_fused(self) -> bool:
        """Whether several rankings become one."""
        return len(self.networks) > 1

    @property
    def first_depth(self) -> int:
        """The depth of the first search, independent of `limit`, so that ties always have the same order."""
        return self.candidates if self.is_fused else FIRST_DEPTH

    @property
    def higher_is_nearer(self) -> bool:
        """Whether the higher of two scores is the nearer one; fused scores are always so."""
        return self.is_fused or self.networks[0].manifest.distance.higher_is_nearer

    @cached_property
    def _manifests(self) -> list[CollectionManifest]:
        return [network.manifest for network in self.networks]

    @cached_property
    def _overlap(self) -> bool:
        """Whether a file may have several ids in the collections of a fusion."""
        return self.is_fused and has_overlap(self._manifests)

    def file_of(self, payload: Payload) -> Path | None:
        """Returns the path of an image's file; None where no collection knows it."""
        return find_file(payload, self._manifests)

    def vectors_of(self, candidates: Sequence[Candidate] | Sequence[Neighbour]) -> list[FloatMatrix]:
        """Returns the stored vectors, float32 `[N, D]` for each network; zeros where it lacks the image."""
        payloads = [candidate.payload for candidate in candidates]
        return [read_rows(network.collection, self._own_ids(network, payloads)) for network in self.networks]

    def search(self, requests: Sequence[Request], beside: Sequence[Request] = ()) -> Search[Candidate]:
        """Returns the hits of all networks, best first, each with the payload that represents its file.

        One network takes one request and ranks its hits by its own scores. Several rankings are fused, from
        the hits of `requests` and of `beside`, on which fused scores depend as well. An image that one
        network did not find is looked up in its collection and compared exactly. `is_all` is True where no
        request has more hits.
        """
        if self.is_fused:
            return self._search_fused(requests, beside)
        [request], [network], [vector] = requests, self.networks, self.vectors
        return self._search_one(network, vector, request)

    def _search_one(
        self, network: SearchedCollection, vector: FloatVector, request: Request
    ) -> Search[Candidate]:
        """Returns the hits of one network, with its own scores."""
        collection, exact = network.collection, self.options.exact
        hits = collection.query(vector, limit=request.limit, where=request.where, exact=exact)
        found = [
            Candidate(
                rank=rank, score=hit.score, payload=hit.payload, key=file_key(network.manifest, hit.payload)
            )
            for rank, hit in enumerate(
                first_of_hits(hits, collection, request.where, among=self.where), start=1
            )
        ]
        return Search(found=found, is_all=len(hits) < request.limit)

    def _search_fused(self, requests: Sequence[Request], beside: Sequence[Request]) -> Search[Candidate]:
        found = self._collect(requests, beside)
        rule = self.options.fusion
        chances = _chances(self.networks) if rule is FusionRule.CALIBRATED else ()
        scores = fuse_similarities(found.similarities, rule, chances=chances, depth=self.candidates)[0]
        places = [ranks(similarity, self.candidates)[0] for similarity in found.similarities]
        order = [int(row) for row in np.argsort(-scores, kind="stable") if scores[row] > -np.inf]
        candidates = [
            Candidate(
                rank=rank,
                score=float(scores[row]),
                payload=found.payloads[row],
                key=file_key(self._manifests[0], found.payloads[row]),
                placings=[
                    _placing(network, float(similarity[0, row]), float(place[row]))
                    for network, similarity, place in zip(
                        self.networks, found.similarities, places, strict=True
                    )
                ],
            )
            for rank, row in enumerate(order, start=1)
        ]
        return Search(found=candidates, is_all=found.is_all)

    def _collect(self, requests: Sequence[Request], beside: Sequence[Request]) -> "_Found":
        payloads: dict[str, Payload] = {}
        ids: dict[str, str] = {}
        nearness: list[dict[str, float]] = []
        is_all = True
        for network, vector in zip(self.networks, self.vectors, strict=True):
            sign = 1 if network.manifest.distance.higher_is_nearer else -1
            near: dict[str, float] = {}
            for request in (*beside, *requests):
                own = self._search_one(network, vector, request)
                is_all &= request in beside or own.is_all
                for each in own.found:
                    id_ = ids.setdefault(each.key, each.payload.id)
                    near.setdefault(id_, sign * each.score)
                    payloads[id_] = self._first(payloads.get(id_), each.payload)
            nearness.append(near)
        excluded = requests[0].where.excluded_sha256
        for network, vector, near in zip(self.networks, self.vectors, nearness, strict=True):
            self._look_up_others(network, vector, near, payloads, excluded)
        return _Found(
            payloads=list(payloads.values()),
            similarities=[np.array([[near.get(id_, np.nan) for id_ in payloads]]) for near in nearness],
            is_all=is_all,
        )

    def _look_up_others(
        self,
        network: SearchedCollection,
        vector: FloatVector,
        near: dict[str, float],
        payloads: dict[str, Payload],
        excluded: frozenset[str],
    ) -> None:
        """Adds to `near` the similarities of images that this network holds but did not find."""
        missing = [id_ for id_ in payloads if id_ not in near]
        for start in range(0, len(missing), _AT_ONCE):
            some = {id_: self._ids_in(network, payloads[id_]) for id_ in missing[start : start + _AT_ONCE]}
            there = _find_points(network, some)
            near.update(_similarities(network, vector, there, excluded))
            for id_, payload in there.items():
                if self.where.matches(payload):
                    payloads[id_] = self._first(payloads[id_], payload)

    def _own_ids(self, network: SearchedCollection, payloads: Sequence[Payload]) -> list[str]:
        """Returns the id of each file in a network's collection; the payload's own if it is missing there."""
        if not self._overlap:
            return [payload.id for payload in payloads]
        ids = [self._ids_in(network, payload) for payload in payloads]
        there = network.collection.payloads([id_ for each in ids for id_ in each])
        return [next((id_ for id_ in each if id_ in there), each[0]) for each in ids]

    def _ids_in(self, network: SearchedCollection, payload: Payload) -> list[str]:
        """Returns the ids that a file may have in a network's collection, its own first."""
        file = self.file_of(payload) if self._overlap else None
        others = ids_of_file(file, network.manifest) if file else []
        return list(dict.fromkeys([payload.id, *others]))

    def _first(self, known: Payload | None, other: Payload) -> Payload:
        """Returns the payload of two that represents the file in the whole fusion."""
        if known is None or not self._overlap:
            return known or other
        roots = {name: root for manifest in self._manifests for name, root in manifest.datasets.items()}
        return first_by_rule([known, other], roots)


_AT_ONCE = 100
"""Vectors that are read at a time: the stores return them as lists of Python numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """M images; `similarities` holds a float64 `[1, M]` for each network, for `fuse_similarities`.

    `is_all` says that no request has more hits.
    """

    payloads: Sequence[Payload]
    similarities: Sequence[FloatMatrix]
    is_all: bool


def _find_points(network: SearchedCollection, ids: Mapping[str, Sequence[str]]) -> dict[str, Payload]:
    """Returns by id the payload that represents the file in this collection, under any of its ids."""
    there = network.collection.payloads([id_ for each in ids.values() for id_ in each])
    found = {id_: [there[each] for each in own if each in there] for id_, own in ids.items()}
    roots = network.manifest.datasets
    return {id_: first_by_rule(payloads, roots) for id_, payloads in found.items() if payloads}


def _similarities(
    network: SearchedCollection, vector: FloatVector, points: Mapping[str, Payload], excluded: frozenset[str]
) -> Mapping[str, float]:
    """Returns by id the similarity of its point in this network's collection; -inf where it is excluded."""
    vectors = network.collection.vectors([payload.id for payload in points.values()])
    held = {id_: payload for id_, payload in points.items() if payload.id in vectors}
    if not held:
        return {}
    others = np.array([vectors[payload.id] for payload in held.values()], dtype=np.float64)
    if network.manifest.distance is Distance.COSINE:
        near = paired_cosines(others, vector)
    else:
        near = -np.linalg.norm(others - vector.astype(np.float64), axis=1)
    return {
        id_: -np.inf if payload.sha256 in excluded else float(similarity)
        for (id_, payload), similarity in zip(held.items(), near, strict=True)
    }


def _placing(network: SearchedCollection, similarity: float, place: float) -> Placing | None:
    if np.isnan(similarity):
        return None
    score = similarity if network.manifest.distance.higher_is_nearer else -similarity
    return Placing(rank=int(place) if np.isfinite(place) else None, score=score)


def check_fusion(networks: Sequence[SearchedCollection], options: QueryOptions) -> None:
    """Refuses a fusion that these networks cannot do.

    Raises:
        UsageError: a collection's calibration is missing, or is stale.
    """
    if len(networks) > 1 and options.fusion is FusionRule.CALIBRATED:
        _chances(networks)


def _chances(networks: Sequence[SearchedCollection]) -> list[Chance]:
    """Returns for each network what turns similarities (negated Euclidean distances) into chances."""
    missing = [network.name for network in networks if network.calibration is None]
    if missing:
        raise UsageError(
            "the fusion rule calibrated needs a calibration of each collection",
            argument=Argument.FUSION,
            hint=Hint(Action.CALIBRATE, {Argument.COLLECTION: tuple(missing)}),
        )
    return [network.calibration.candidate_chance for network in networks if network.calibration is not None]
