"""One network is asked about one image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike_core.arrays import FloatVector
from lookalike_core.neighbours.vote import Verdict, VoteRule, vote, wants_voters
from lookalike_core.stores.overlapping_roots import file_key, file_of, first_of_hits
from lookalike_core.stores.points import PointFilter, SearchHit

from lookalike_search.asking.answers import Findings, NearDuplicate, Neighbour, QueryOptions
from lookalike_search.asking.ranking import FIRST_DEPTH, Search
from lookalike_search.asking.scenes import (
    FloatMatrix,
    Folding,
    Scene,
    nearest_scenes,
    rows_of,
)
from lookalike_search.asking.searched_collection import Network


def nearest_neighbours(
    network: Network, vector: FloatVector, where: PointFilter, options: QueryOptions
) -> Findings:
    """Returns at least as many neighbours as are shown or vote, best first, and what they vote for."""
    search = _Nearest(network=network, vector=vector, where=where, options=options)
    scenes = search.scenes(where, max(options.last, options.k))
    neighbours = [
        Neighbour(
            rank=rank,
            score=scene.hit.score,
            payload=scene.hit.payload,
            file=search.file(scene.hit),
            near=[
                NearDuplicate(score=hit.score, payload=hit.payload, file=search.file(hit))
                for hit in scene.near
            ],
        )
        for rank, scene in enumerate(scenes, start=1)
    ]
    return Findings(hits=neighbours, verdict=_verdict(search, [scene.hit for scene in scenes], where))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nearest:
    """One query of one network: what is the same whichever of the images of `where` are looked at."""

    network: Network
    vector: FloatVector
    where: PointFilter
    options: QueryOptions

    def scenes(self, where: PointFilter, count: int) -> list[Scene[SearchHit]]:
        """At least the `count` nearest, each file once; each hit is one where none are folded."""
        above, collection = self.options.without_near_above, self.network.collection

        def search(depth: int) -> Search[SearchHit]:
            hits = collection.query(self.vector, limit=depth, where=where, exact=self.options.exact)
            found = first_of_hits(hits, collection, where, among=self.where)
            return Search(found=found, is_all=len(hits) < depth)

        return nearest_scenes(
            search,
            count,
            key=lambda hit: file_key(collection.manifest, hit.payload),
            folding=None if above is None else Folding(above=above, vectors_of=self._vectors),
            first_depth=FIRST_DEPTH,  # folded or not: of equally near hits the same one is first
        )

    def _vectors(self, hits: Sequence[SearchHit]) -> list[FloatMatrix]:
        return [rows_of(self.network.collection, [hit.payload.id for hit in hits])]

    def file(self, hit: SearchHit) -> Path | None:
        """Where it lies, as far as the collection knows."""
        return file_of(self.network.manifest, hit.payload.dataset, hit.payload.path)


def _verdict(search: _Nearest, hits: Sequence[SearchHit], where: PointFilter) -> Verdict | None:
    """What the k nearest with a class vote for, which are searched for where `hits` do not hold them all.

    Where each class' own nearest count, they are searched for, too. What is not near enough has no vote, and
    neither has what is folded.
    """
    options, higher_is_nearer = search.options, search.network.manifest.distance.higher_is_nearer
    if options.class_name is not None:
        return None
    first = hits if options.without_near_above is None else hits[: options.k]  # the same for every page
    if wants_voters([hit.payload.class_name for hit in first], k=options.k):
        hits = [scene.hit for scene in search.scenes(replace(where, labelled=True), options.k)]
    voters = [hit for hit in hits if hit.payload.class_name][: options.k]
    if options.vote is VoteRule.NEAREST_CLASS:
        classes = {hit.payload.class_name for hit in voters}
        own = [search.scenes(replace(where, class_name=name), options.k)[: options.k] for name in classes]
        sign = -1 if higher_is_nearer else 1
        voters = sorted((scene.hit for scenes in own for scene in scenes), key=lambda hit: sign * hit.score)
    voters = [hit for hit in voters if options.is_near_enough(hit.score)]
    return vote(
        [hit.payload.class_name or "" for hit in voters],
        [hit.score for hit in voters],
        rule=options.vote,
        k=options.k,
        higher_is_nearer=higher_is_nearer,
    )
