"""Chooses the neighbours of a query that are shown, and refuses choices that make no sense."""

from collections.abc import Sequence
from dataclasses import replace

from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection
from lookalike_core.text import nfc

from lookalike_search.asking.answers import Neighbour, QueryOptions
from lookalike_search.asking.calibration_use import find_obstacles, require_calibration
from lookalike_search.asking.candidates import Query
from lookalike_search.asking.choice import (
    ChosenHits,
    HitChoice,
    OnePer,
    Passing,
    Ranked,
    arrange_diversely,
    choose_hits,
)
from lookalike_search.asking.estimates import estimate_chances
from lookalike_search.asking.neighbour_search import Ranking
from lookalike_search.asking.searched_collection import SearchedCollection


def check_choice(
    networks: Sequence[SearchedCollection], options: QueryOptions, *, has_examples: bool = False
) -> None:
    """Refuses a choice that makes no sense in such a search.

    Raises:
        UsageError: one hit of each class is wanted of a single class; or chances are wanted of several
            collections or examples, of a part of a collection, or without a usable calibration.
    """
    check_groups(options.choice, options.where)
    if options.choice.min_chance is None:
        return
    if len(networks) > 1:
        raise UsageError(
            "chances are learned for each collection alone; search one collection",
            argument=Argument.MIN_CHANCE,
        )
    require_chances(networks[0].collection, networks[0].calibration, options, has_examples=has_examples)


def require_chances(
    collection: Collection,
    calibration: Calibration | None,
    options: QueryOptions,
    *,
    has_examples: bool = False,
) -> Calibration:
    """Returns the calibration of a collection for a floor of chances; None is that of no usable one.

    Raises:
        UsageError: there is none, or the search is of another kind than it was learned from.
    """
    for problem, hint in find_obstacles(options, has_examples=has_examples):
        raise UsageError(
            f"chances are learned from whole collections, and there is none {problem}",
            argument=Argument.MIN_CHANCE,
            hint=hint,
        )
    return require_calibration(collection, calibration, Argument.MIN_CHANCE)


def check_groups(choice: HitChoice, where: PointFilter) -> None:
    """Refuses one hit of each class where a single class is searched.

    Raises:
        UsageError: it is so.
    """
    if choice.one_per is OnePer.CLASS and len(where.classes) == 1:
        raise UsageError(
            "one hit of each class is wanted, and a single class is searched",
            argument=Argument.ONE_PER,
            hint=Hint(Action.LEAVE_ONE_OUT, {Argument.ONE_PER: None, Argument.CLASS: None}),
        )


def choose_neighbours(
    query: Query, ranking: Ranking, calibration: Calibration | None
) -> ChosenHits[Neighbour]:
    """Returns the neighbours that are shown, each with its chance, and those below a floor.

    Chances are those of the places in the ranking, whatever is chosen of it.
    """
    options, choice = query.options, query.options.choice

    def find(count: int) -> Sequence[Neighbour]:
        hits = ranking.find(count)
        if calibration is None:
            return hits
        chances = estimate_chances(
            [hit.score for hit in hits], [hit.payload.class_name for hit in hits], calibration=calibration
        )
        return [replace(hit, chance=chance) for hit, chance in zip(hits, chances, strict=True)]

    def passing(hits: Sequence[Neighbour]) -> Passing:
        passes = [options.is_near_enough(hit.score) and choice.is_likely_enough(hit.chance) for hit in hits]
        is_beyond = bool(hits) and not options.is_near_enough(hits[-1].score)
        classes = [hit.payload.class_name for hit in hits]
        return Passing(passes=passes, is_complete=is_beyond or is_past_chances(choice, classes, calibration))

    def arrange(hits: Sequence[Neighbour], count: int) -> Sequence[Neighbour]:
        return arrange_diversely(
            hits,
            count,
            diversity=choice.diverse,
            score=lambda hit: hit.score,
            vectors_of=query.vectors_of,
            queries=query.vectors,
            is_euclidean=not query.higher_is_nearer,
        )

    ranked = Ranked(
        find=find,
        payload=lambda hit: hit.payload,
        passing=passing,
        arrange=arrange,
        count_classes=lambda: count_classes([each.collection for each in query.networks], options.where),
    )
    return choose_hits(ranked, choice, options.last)


def is_past_chances(
    choice: HitChoice, classes: Sequence[str | None], calibration: Calibration | None
) -> bool:
    """Returns whether no hit behind those of these classes can be above a floor of chances."""
    if choice.min_chance is None:
        return False
    return calibration is None or sum(map(bool, classes)) >= calibration.k


def count_classes(collections: Sequence[Collection], where: PointFilter) -> int:
    """Returns how many classes a search of these can find at most, each image without one being its own."""
    wanted, unwanted = set(map(nfc, where.classes)), set(map(nfc, where.not_classes))
    tallies = [collection.tally("class") for collection in collections]
    there = {name for tally in tallies for name in tally if name in wanted or not wanted} - unwanted
    without = sum(tally.get("", 0) for tally in tallies) if "" in there else 0
    return len(there - {""}) + without
