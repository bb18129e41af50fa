"""Finds the neighbours of one query, by one network or by several, and the class that they vote for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from operator import eq

from lookalike_core.neighbours.rank_fusion import vote_unit
from lookalike_core.neighbours.vote import Verdict, VoteRule, needs_labelled_search, vote
from lookalike_core.stores.points import PointFilter

from lookalike_search.asking.answers import NearDuplicate, Neighbour
from lookalike_search.asking.candidates import Candidate, Query, Request
from lookalike_search.asking.ranking import Search
from lookalike_search.asking.scenes import Folding, Scene, find_scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All neighbours of a query in their order, and the verdict of the k nearest.

    `nearest` holds at least as many as are shown or vote, or all, best first; `search` returns at least so
    many of the same order, or all.
    """

    nearest: Sequence[Neighbour]
    search: Callable[[int], Sequence[Neighbour]]
    verdict: Verdict | None

    def find(self, count: int) -> Sequence[Neighbour]:
        """Returns at least the `count` nearest, or all; `nearest` is not searched again."""
        return self.nearest if count <= len(self.nearest) else self.search(count)


def rank_neighbours(query: Query) -> Ranking:
    """Returns the neighbours of a query, which are searched as deep as they are wanted."""
    options, searched = query.options, cache(_search([query.where], query))

    def find(count: int) -> list[Scene[Candidate]]:
        return _find_scenes(query, searched, count, first_depth=query.first_depth)

    scenes = find(max(options.last, options.k))
    return Ranking(
        nearest=_neighbours(query, scenes),
        search=lambda count: _neighbours(query, find(count)),
        verdict=_find_verdict(query, [scene.hit for scene in scenes]),
    )


def _neighbours(query: Query, scenes: Sequence[Scene[Candidate]]) -> list[Neighbour]:
    return [_neighbour(query, rank, scene) for rank, scene in enumerate(scenes, start=1)]


def _neighbour(query: Query, rank: int, scene: Scene[Candidate]) -> Neighbour:
    hit, names = scene.hit, [network.name for network in query.networks]
    return Neighbour(
        rank=rank,
        score=hit.score,
        payload=hit.payload,
        file=query.file_of(hit.payload),
        placings=dict(zip(names, hit.placings, strict=True)) if query.is_fused else {},
        near=[
            NearDuplicate(score=each.score, payload=each.payload, file=query.file_of(each.payload))
            for each in scene.near
        ],
    )


def _find_verdict(query: Query, hits: Sequence[Candidate]) -> Verdict | None:
    """Returns the vote of the k nearest with a class, which are searched for where `hits` lacks some.

    `NEAREST_CLASS` searches for the nearest of each class, too. Hits that are folded or beyond the cut-off
    have no vote.
    """
    options, where = query.options, query.where
    if options.where.is_of_one_class:
        return None
    depth = max(query.first_depth, options.k) if query.is_fused else query.first_depth
    beside = [Request(where=where, limit=depth)]
    first = hits if options.without_near_above is None else hits[: options.k]  # the same for every page
    if needs_labelled_search([hit.payload.class_name for hit in first], k=options.k):
        labelled = replace(where, labelled=True)
        search = _restrict_to_classes(bool, _search([labelled], query, beside))
        hits = [scene.hit for scene in _find_scenes(query, search, options.k, first_depth=depth)]
        beside.append(Request(where=labelled, limit=depth))
    voters = [hit for hit in hits if hit.payload.class_name][: options.k]
    if options.vote is VoteRule.NEAREST_CLASS:
        voters = _find_nearest_of_classes(query, [hit.payload.class_name for hit in voters], beside)
    voters = [hit for hit in voters if options.is_near_enough(hit.score)]
    unit = vote_unit(options.fusion, networks=len(query.networks)) if query.is_fused else 1.0
    return vote(
        [hit.payload.class_name or "" for hit in voters],
        [hit.score * unit for hit in voters],
        rule=options.vote,
        k=options.k,
        higher_is_nearer=query.higher_is_nearer,
    )


def _find_nearest_of_classes(
    query: Query, classes: Iterable[str | None], beside: Sequence[Request]
) -> list[Candidate]:
    """Returns the k nearest of each class, all by their nearness.

    A fused score depends on all images that are ranked together, so a fusion searches all classes together.
    """
    wheres = {name: replace(query.where, classes=frozenset({name or ""})) for name in classes}
    if query.is_fused:
        together = cache(_search(list(wheres.values()), query, beside))
        searches = [_restrict_to_classes(partial(eq, name), together) for name in wheres]
    else:
        searches = [_search([where], query) for where in wheres.values()]
    k = query.options.k
    first_depth = k if query.is_fused else query.first_depth
    scenes = [_find_scenes(query, search, k, first_depth=first_depth)[:k] for search in searches]
    sign = -1 if query.higher_is_nearer else 1
    return sorted(
        (scene.hit for of_class in scenes for scene in of_class), key=lambda hit: (sign * hit.score, hit.rank)
    )


_DeepSearch = Callable[[int], Search[Candidate]]
"""Searches to a depth: so many of each network."""


def _search(wheres: Sequence[PointFilter], query: Query, beside: Sequence[Request] = ()) -> _DeepSearch:
    return lambda depth: query.search([Request(where=where, limit=depth) for where in wheres], beside)


def _restrict_to_classes(is_wanted: Callable[[str | None], bool], search: _DeepSearch) -> _DeepSearch:
    """Returns the search restricted to candidates of some classes."""

    def searched(depth: int) -> Search[Candidate]:
        every = search(depth)
        return replace(every, found=[each for each in every.found if is_wanted(each.payload.class_name)])

    return searched


def _find_scenes(
    query: Query, search: _DeepSearch, count: int, *, first_depth: int
) -> list[Scene[Candidate]]:
    """Returns at least the `count` nearest, each file once; without folding each is a scene of its own.

    Near-duplicates in one network are folded in all.
    """
    above = query.options.without_near_above
    folding: Folding[Candidate] | None = None
    if above is not None:
        folding = Folding(above=above, vectors_of=query.vectors_of)
    return find_scenes(search, count, key=lambda each: each.key, folding=folding, first_depth=first_depth)
