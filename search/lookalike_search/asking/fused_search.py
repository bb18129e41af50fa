"""Several networks are asked about one image, and their neighbours become one ranking."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from lookalike_core.arrays import FloatVector
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.neighbours.cosine import clip_cosine
from lookalike_core.neighbours.rank_fusion import (
    CANDIDATES,
    Chance,
    FloatMatrix,
    FusionRule,
    fused,
    ranks,
    vote_unit,
)
from lookalike_core.neighbours.vote import Verdict, VoteRule, vote, wants_voters
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.overlapping_roots import (
    file_key,
    file_of,
    first_by_rule,
    first_of_hits,
    ids_of_file,
    overlap_together,
)
from lookalike_core.stores.points import Payload, PointFilter

from lookalike_search.asking.answers import NearDuplicate, Neighbour, Placing, QueryOptions
from lookalike_search.asking.ranking import Search
from lookalike_search.asking.scenes import Folding, nearest_scenes, rows_of
from lookalike_search.asking.searched_collection import Network


def check_fusion(networks: Sequence[Network], options: QueryOptions) -> None:
    """Says before anything is asked that networks cannot be fused as the options want it.

    Raises:
        UsageError: a calibration is missing, or is stale.
    """
    if len(networks) > 1 and options.fusion is FusionRule.CALIBRATED:
        _chances(networks)


def _chances(networks: Sequence[Network]) -> list[Chance]:
    """For each network what turns similarities (Euclidean distances negated) into chances."""
    missing = [network.name for network in networks if network.calibration is None]
    if missing:
        raise UsageError(
            "calibrated needs collections that are calibrated",
            argument=Argument.FUSION,
            hint=Hint(Action.CALIBRATE, {Argument.COLLECTION: tuple(missing)}),
        )
    return [network.calibration.candidate_chance for network in networks if network.calibration is not None]


def fused_neighbours(
    networks: Sequence[Network],
    vectors: Sequence[FloatVector],
    where: PointFilter,
    options: QueryOptions,
    *,
    candidates: int = CANDIDATES,
) -> tuple[list[Neighbour], Verdict | None]:
    """The neighbours by the fused score, best first, and what they vote for.

    Of each network the `candidates` nearest count, however many are asked for: what else is found comes
    behind them. One that a network did not find is looked up there and compared exactly. `vectors` holds one
    float32 `[D]` for each network.
    """
    asking = _Asking(
        networks=networks,
        vectors=vectors,
        where=where,
        options=options,
        candidates=candidates,
        overlap=overlap_together([network.manifest for network in networks]),
    )

    def search(depth: int) -> Search[Neighbour]:
        return asking.neighbours([_Request(where=where, limit=depth)])

    found = asking.scenes(search, max(options.last, options.k), first_depth=candidates)
    neighbours = [replace(each, rank=rank) for rank, each in enumerate(found, start=1)]
    return neighbours, _verdict(asking, neighbours, where)


def _verdict(asking: "_Asking", neighbours: Sequence[Neighbour], where: PointFilter) -> Verdict | None:
    """By the fused score of the k nearest with a class, which are searched for where they are not all there.

    Where each class' own nearest count, they are searched for, too. What is folded has no vote.
    """
    options = asking.options
    if options.class_name is not None:
        return None
    depth = max(asking.candidates, options.k)
    requests = [_Request(where=where, limit=depth)]
    first = neighbours if options.without_near_above is None else neighbours[: options.k]  # for every page
    if wants_voters([each.payload.class_name for each in first], k=options.k):
        labelled = replace(where, labelled=True)
        neighbours = asking.scenes(asking.labelled([labelled], beside=requests), options.k, first_depth=depth)
        requests.append(_Request(where=labelled, limit=depth))
    voters = [each for each in neighbours if each.payload.class_name]
    if options.vote is VoteRule.NEAREST_CLASS:
        classes = {each.payload.class_name for each in voters[: options.k]}
        wheres = [replace(where, class_name=name) for name in classes]
        search = cache(asking.labelled(wheres, beside=requests))
        own = [asking.scenes(_of_class(name, search), options.k, first_depth=options.k) for name in classes]
        nearest = [each for found in own for each in found[: options.k]]
        voters = sorted(nearest, key=lambda each: (-each.score, each.rank))
    unit = vote_unit(options.fusion, networks=len(asking.networks))
    return vote(
        [each.payload.class_name or "" for each in voters],
        [each.score * unit for each in voters],
        rule=options.vote,
        k=options.k,
        higher_is_nearer=True,
    )


_DeepSearch = Callable[[int], Search[Neighbour]]


def _of_class(name: str | None, search: _DeepSearch) -> _DeepSearch:
    """The same search, of which only what has a class counts."""

    def searched(depth: int) -> Search[Neighbour]:
        every = search(depth)
        return replace(every, found=[each for each in every.found if each.payload.class_name == name])

    return searched


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What each network is asked for."""

    where: PointFilter
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """One query: what is the same whichever of the images of `where` are asked for.

    `overlap` says that a file may have several ids, in one network or in different ones.
    """

    networks: Sequence[Network]
    vectors: Sequence[FloatVector]
    where: PointFilter
    options: QueryOptions
    candidates: int
    overlap: bool

    def scenes(self, search: _DeepSearch, count: int, *, first_depth: int) -> list[Neighbour]:
        """At least the `count` nearest; where near-duplicates are folded, each with its own.

        One network's near-duplicates are everybody's.
        """
        above = self.options.without_near_above
        scenes = nearest_scenes(
            search,
            count,
            key=lambda each: file_key(self.networks[0].manifest, each.payload),
            folding=None if above is None else Folding(above=above, vectors_of=self._vectors_of),
            first_depth=first_depth,
        )
        return [
            replace(
                scene.hit,
                near=[
                    NearDuplicate(score=each.score, payload=each.payload, file=each.file)
                    for each in scene.near
                ],
            )
            for scene in scenes
        ]

    def _vectors_of(self, neighbours: Sequence[Neighbour]) -> list[FloatMatrix]:
        payloads = [neighbour.payload for neighbour in neighbours]
        return [rows_of(network.collection, self._own_ids(network, payloads)) for network in self.networks]

    def _own_ids(self, network: Network, payloads: Sequence[Payload]) -> list[str]:
        """The id of each in a network, where it is there."""
        if not self.overlap:
            return [payload.id for payload in payloads]
        ids = [self._ids_in(network, payload) for payload in payloads]
        there = network.collection.payloads([id_ for each in ids for id_ in each])
        return [next((id_ for id_ in each if id_ in there), each[0]) for each in ids]

    def _ids_in(self, network: Network, payload: Payload) -> list[str]:
        """The ids that a file may have in a network, its own first."""
        file = _file([each.manifest for each in self.networks], payload) if self.overlap else None
        others = ids_of_file(file, network.manifest) if file else []
        return list(dict.fromkeys([payload.id, *others]))

    def _first(self, known: Payload | None, other: Payload) -> Payload:
        """The one of two payloads of a file that stands for it, in whichever network."""
        if known is None or not self.overlap:
            return known or other
        roots = {name: root for each in self.networks for name, root in each.manifest.datasets.items()}
        return first_by_rule([known, other], roots)

    def labelled(self, wheres: Sequence[PointFilter], *, beside: Sequence[_Request]) -> _DeepSearch:
        """A search for those with a class, in each of some parts, ranked together with other requests."""

        def search(depth: int) -> Search[Neighbour]:
            found = self.neighbours([_Request(where=where, limit=depth) for where in wheres], beside=beside)
            return replace(found, found=[each for each in found.found if each.payload.class_name])

        return search

    def neighbours(
        self, requests: Sequence[_Request], *, beside: Sequence[_Request] = ()
    ) -> Search[Neighbour]:
        """All that is found in any network, by the fused score; candidates come first.

        A file that several datasets hold is one image. It is all where `requests` have found all of theirs.
        """
        found = self._found(requests, beside)
        manifests = [network.manifest for network in self.networks]
        rule = self.options.fusion
        chances = _chances(self.networks) if rule is FusionRule.CALIBRATED else ()
        scores = fused(found.similarities, rule, chances=chances, depth=self.candidates)[0]
        places = [ranks(similarity, self.candidates)[0] for similarity in found.similarities]
        order = [int(row) for row in np.argsort(-scores, kind="stable") if scores[row] > -np.inf]
        neighbours = [
            Neighbour(
                rank=rank,
                score=float(scores[row]),
                payload=found.payloads[row],
                file=_file(manifests, found.payloads[row]),
                placings={
                    network.name: _placing(network, float(similarity[0, row]), float(place[row]))
                    for network, similarity, place in zip(
                        self.networks, found.similarities, places, strict=True
                    )
                },
            )
            for rank, row in enumerate(order, start=1)
        ]
        return Search(found=neighbours, is_all=found.is_all)

    def _found(self, requests: Sequence[_Request], beside: Sequence[_Request]) -> "_Found":
        payloads: dict[str, Payload] = {}
        ids: dict[str, str] = {}
        nearness: list[dict[str, float]] = []
        is_all = True
        for network, vector in zip(self.networks, self.vectors, strict=True):
            sign = 1 if network.manifest.distance.higher_is_nearer else -1
            near: dict[str, float] = {}
            for request in (*beside, *requests):
                hits = network.collection.query(
                    vector, limit=request.limit, where=request.where, exact=self.options.exact
                )
                is_all &= request in beside or len(hits) < request.limit
                for hit in first_of_hits(hits, network.collection, request.where, among=self.where):
                    id_ = ids.setdefault(file_key(network.manifest, hit.payload), hit.payload.id)
                    near.setdefault(id_, sign * hit.score)
                    payloads[id_] = self._first(payloads.get(id_), hit.payload)
            nearness.append(near)
        excluded = requests[0].where.excluded_sha256
        for network, vector, near in zip(self.networks, self.vectors, nearness, strict=True):
            missing = [id_ for id_ in payloads if id_ not in near]
            for start in range(0, len(missing), _AT_ONCE):
                some = {
                    id_: self._ids_in(network, payloads[id_]) for id_ in missing[start : start + _AT_ONCE]
                }
                there = _points_there(network, some)
                near.update(_looked_up(network, vector, there, excluded))
                for id_, payload in there.items():
                    if self.where.matches(payload):
                        payloads[id_] = self._first(payloads[id_], payload)
        return _Found(
            payloads=list(payloads.values()),
            similarities=[np.array([[near.get(id_, np.nan) for id_ in payloads]]) for near in nearness],
            is_all=is_all,
        )


_AT_ONCE = 100
"""Vectors that are read at a time, since they come as Python's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """M images; `similarities` holds a float64 `[1, M]` for each network, as `fused` wants them.

    `is_all` says that no network has any others that were asked for.
    """

    payloads: Sequence[Payload]
    similarities: Sequence[FloatMatrix]
    is_all: bool


def _points_there(network: Network, ids: Mapping[str, Sequence[str]]) -> dict[str, Payload]:
    """Id -> what this network's collection knows of the file, which may have any of some ids there."""
    there = network.collection.payloads([id_ for each in ids.values() for id_ in each])
    found = {id_: [there[each] for each in own if each in there] for id_, own in ids.items()}
    roots = network.manifest.datasets
    return {id_: first_by_rule(payloads, roots) for id_, payloads in found.items() if payloads}


def _looked_up(
    network: Network, vector: FloatVector, points: Mapping[str, Payload], excluded: frozenset[str]
) -> Mapping[str, float]:
    """Id -> how near its point in this network's collection is; -inf where it does not count."""
    one = vector.astype(np.float64)
    vectors = network.collection.vectors([payload.id for payload in points.values()])
    near = {}
    for id_, payload in points.items():
        if payload.id not in vectors:
            continue
        other = vectors[payload.id].astype(np.float64)
        if payload.sha256 in excluded:
            near[id_] = -np.inf
        elif network.manifest.distance is Distance.COSINE:
            near[id_] = clip_cosine(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
        else:
            near[id_] = -float(np.linalg.norm(one - other))
    return near


def _placing(network: Network, similarity: float, place: float) -> Placing | None:
    if np.isnan(similarity):
        return None
    score = similarity if network.manifest.distance.higher_is_nearer else -similarity
    return Placing(rank=int(place) if np.isfinite(place) else None, score=score)


def _file(manifests: Sequence[CollectionManifest], payload: Payload) -> Path | None:
    files = (file_of(manifest, payload.dataset, payload.path) for manifest in manifests)
    return next((file for file in files if file), None)
