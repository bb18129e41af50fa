"""One network is asked about one image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.vote import Verdict, VoteRule, vote, wants_voters
from lookalike_core.stores.points import PointFilter, SearchHit

from lookalike_search.asking.answers import Findings, Neighbour, QueryOptions
from lookalike_search.asking.ranking import Search, ranking
from lookalike_search.asking.searched_collection import Network
from lookalike_search.collection_choice import file_of
from lookalike_search.overlapping_roots import file_key


def nearest_neighbours(
    network: Network, vector: FloatVector, where: PointFilter, options: QueryOptions
) -> Findings:
    """Returns at least as many neighbours as are shown or vote, best first, and what they vote for."""
    search = _Nearest(network=network, vector=vector, options=options)
    hits = search.ranking(where, max(options.last, options.k))
    neighbours = [
        Neighbour(
            rank=rank,
            score=hit.score,
            payload=hit.payload,
            file=file_of(network.manifest, hit.payload.dataset, hit.payload.path),
        )
        for rank, hit in enumerate(hits, start=1)
    ]
    return Findings(hits=neighbours, verdict=_verdict(search, hits, where))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nearest:
    """One query of one network: what is the same whichever images are looked at."""

    network: Network
    vector: FloatVector
    options: QueryOptions

    def ranking(self, where: PointFilter, count: int) -> list[SearchHit]:
        """At least the `count` nearest, each file once."""

        def search(depth: int) -> Search[SearchHit]:
            hits = self.network.collection.query(
                self.vector, limit=depth, where=where, exact=self.options.exact
            )
            return Search(found=hits, is_all=len(hits) < depth)

        manifest = self.network.manifest
        return ranking(search, count, key=lambda hit: file_key(manifest, hit.payload))


def _verdict(search: _Nearest, hits: Sequence[SearchHit], where: PointFilter) -> Verdict | None:
    """What the k nearest with a class vote for, which are searched for where `hits` do not hold them all.

    Where each class' own nearest count, they are searched for, too. What is not near enough has no vote.
    """
    options, higher_is_nearer = search.options, search.network.manifest.distance.higher_is_nearer
    if options.class_name is not None:
        return None
    if wants_voters([hit.payload.class_name for hit in hits], k=options.k):
        hits = search.ranking(replace(where, labelled=True), options.k)
    voters = [hit for hit in hits if hit.payload.class_name][: options.k]
    if options.vote is VoteRule.NEAREST_CLASS:
        classes = {hit.payload.class_name for hit in voters}
        own = [search.ranking(replace(where, class_name=name), options.k)[: options.k] for name in classes]
        sign = -1 if higher_is_nearer else 1
        voters = sorted((hit for hits in own for hit in hits), key=lambda hit: sign * hit.score)
    voters = [hit for hit in voters if options.is_near_enough(hit.score)]
    return vote(
        [hit.payload.class_name or "" for hit in voters],
        [hit.score for hit in voters],
        rule=options.vote,
        k=options.k,
        higher_is_nearer=higher_is_nearer,
    )
