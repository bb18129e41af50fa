"""Several networks are asked about one picture, and their neighbours become one ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.errors import UsageError
from lookalike.manifest import CollectionManifest, Distance
from lookalike.stores.points import FloatVector, Payload, PointFilter
from search.answers import Neighbour, Placing, QueryOptions
from search.choice import file_of
from search.fusion import DEPTH, Chance, FloatMatrix, FusionRule, fused, ranks
from search.network import Network
from search.quality.vote import Verdict, VoteRule, vote


def check_fusion(manifests: Sequence[CollectionManifest], options: QueryOptions) -> None:
    """Says before anything is asked what could not be answered.

    Raises:
        UsageError: a vote needs distances that a fused ranking has not, or a calibration is missing.
    """
    if len(manifests) == 1:
        return
    if options.vote is VoteRule.NEAREST_CLASS:
        raise UsageError(
            "--vote nearest-class compares distances, which a fused ranking does not have; "
            "choose another vote, or ask one collection"
        )
    if options.fusion is FusionRule.CALIBRATED:
        chances_of(manifests)


def chances_of(manifests: Sequence[CollectionManifest]) -> list[Chance]:
    """For each collection what turns similarities (Euclidean distances negated) into chances.

    Raises:
        UsageError: one of them is not calibrated.
    """
    names = ", ".join(manifest.collection for manifest in manifests)
    raise UsageError(f"--fusion calibrated needs calibrated collections ({names}); run: search calibrate")


def fused_neighbours(
    networks: Sequence[Network], vectors: Sequence[FloatVector], where: PointFilter, options: QueryOptions
) -> tuple[list[Neighbour], Verdict | None]:
    """The neighbours by the fused score, best first, and what they vote for.

    Candidates are the 100 nearest of each network, or as many as are asked for; one that a network did not
    find is looked up there and compared exactly. `vectors` holds one float32 `[D]` for each network.
    """
    depth = max(DEPTH, options.limit, options.k)
    found = _candidates(networks, vectors, where, depth=depth, exact=options.exact)
    manifests = [network.manifest for network in networks]
    chances = chances_of(manifests) if options.fusion is FusionRule.CALIBRATED else ()
    scores = fused(found.similarities, options.fusion, chances=chances, depth=depth)[0]
    order = [int(row) for row in np.argsort(-scores, kind="stable") if scores[row] > -np.inf]
    places = [ranks(similarity)[0] for similarity in found.similarities]
    neighbours = [
        Neighbour(
            rank=rank,
            score=float(scores[row]),
            payload=found.payloads[row],
            file=_file(manifests, found.payloads[row]),
            placings={
                network.name: _placing(network, float(similarity[0, row]), float(place[row]), depth)
                for network, similarity, place in zip(networks, found.similarities, places, strict=True)
            },
        )
        for rank, row in enumerate(order, start=1)
    ]
    return neighbours, _verdict(neighbours, networks, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidates:
    """M pictures; `similarities` holds a float64 `[1, M]` for each network, as `fused` wants them."""

    payloads: Sequence[Payload]
    similarities: Sequence[FloatMatrix]


def _candidates(
    networks: Sequence[Network],
    vectors: Sequence[FloatVector],
    where: PointFilter,
    *,
    depth: int,
    exact: bool,
) -> _Candidates:
    payloads: dict[str, Payload] = {}
    nearness: list[dict[str, float]] = []
    for network, vector in zip(networks, vectors, strict=True):
        hits = network.collection.query(vector, limit=depth, where=where, exact=exact)
        sign = 1 if network.manifest.distance.higher_is_nearer else -1
        nearness.append({hit.payload.id: sign * hit.score for hit in hits})
        payloads = {hit.payload.id: hit.payload for hit in hits} | payloads
    for network, vector, near in zip(networks, vectors, nearness, strict=True):
        missing = [id_ for id_ in payloads if id_ not in near]
        near.update(_looked_up(network, vector, missing, where.excluded_sha256))
    return _Candidates(
        payloads=list(payloads.values()),
        similarities=[np.array([[near.get(id_, np.nan) for id_ in payloads]]) for near in nearness],
    )


def _looked_up(
    network: Network, vector: FloatVector, ids: Sequence[str], excluded: frozenset[str]
) -> Mapping[str, float]:
    """Id -> how near it is, of those that are in this network's collection; -inf where it does not count."""
    one = vector.astype(np.float64)
    near = {}
    for id_, stored in network.collection.vectors(ids).items():
        other = stored.astype(np.float64)
        if network.manifest.distance is Distance.COSINE:
            near[id_] = float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
        else:
            near[id_] = -float(np.linalg.norm(one - other))
    for id_, payload in network.collection.payloads(ids).items():
        if payload.sha256 in excluded:
            near[id_] = -np.inf
    return near


def _placing(network: Network, similarity: float, place: float, depth: int) -> Placing | None:
    if np.isnan(similarity):
        return None
    score = similarity if network.manifest.distance.higher_is_nearer else -similarity
    return Placing(rank=int(place) if place <= depth else None, score=score)


def _file(manifests: Sequence[CollectionManifest], payload: Payload) -> Path | None:
    files = (file_of(manifest, payload.dataset, payload.path) for manifest in manifests)
    return next((file for file in files if file), None)


def _verdict(
    neighbours: Sequence[Neighbour], networks: Sequence[Network], options: QueryOptions
) -> Verdict | None:
    """By the fused score; where votes are weighted, by `_agreed` similarity."""
    if options.class_name is not None:
        return None
    voters = [each for each in neighbours if each.payload.class_name][: options.k]
    scores = [each.score for each in voters]
    if options.vote is VoteRule.WEIGHTED:
        scores = _agreed(voters, networks)
    return vote(
        [each.payload.class_name or "" for each in voters],
        scores,
        rule=options.vote,
        k=options.k,
        higher_is_nearer=True,
    )


def _agreed(voters: Sequence[Neighbour], networks: Sequence[Network]) -> list[float]:
    """How similar each is, as the mean of the networks that hold it.

    A sum of ranks or deviations has no temperature; cosine similarities have, and Euclidean distances too
    once they are negated and divided by that of the farthest voter.
    """
    columns = []
    for network in networks:
        placings = [voter.placings[network.name] for voter in voters]
        scores = np.array([placing.score if placing else np.nan for placing in placings])
        if not network.manifest.distance.higher_is_nearer:
            scores = -scores / (scores[~np.isnan(scores)].max(initial=0) or 1)
        columns.append(scores)
    return [float(mean) for mean in np.nanmean(columns, axis=0)] if voters else []
