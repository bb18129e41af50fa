"""Prediction sets: the classes among which an image's own is, with a confidence that was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.conformal_scores import ConformalScores, images_for
from lookalike_core.neighbours.nonconformity import measure_nonconformity
from lookalike_core.stores.protocol import Collection

from lookalike_search.asking.answers import PredictionSet, QueryOptions
from lookalike_search.asking.calibration_use import find_obstacles, require_calibration
from lookalike_search.asking.candidates import Query, Request
from lookalike_search.asking.ranking import search_deeper, take_nearest
from lookalike_search.asking.searched_collection import SearchedCollection


def check_confidence(
    networks: Sequence[SearchedCollection], options: QueryOptions, *, has_examples: bool = False
) -> None:
    """Refuses a confidence for a search of another kind than calibrations are learned from.

    Raises:
        UsageError: several collections or examples are searched, or a part of a collection, or its
            calibration is missing, stale, or of a version that learned no prediction sets.
    """
    if options.confidence is None:
        return
    if len(networks) > 1:
        raise UsageError(
            "a prediction set is learned for each collection alone; search one collection",
            argument=Argument.CONFIDENCE,
        )
    for problem, hint in _find_obstacles(options, has_examples=has_examples):
        raise UsageError(
            f"prediction sets are learned from whole collections, and there is none {problem}",
            argument=Argument.CONFIDENCE,
            hint=hint,
        )
    require_conformal_scores(networks[0])


def _find_obstacles(options: QueryOptions, *, has_examples: bool) -> Iterator[tuple[str, Hint]]:
    """Yields what makes neighbours others than those of a prediction set, and what to leave out."""
    yield from find_obstacles(options, has_examples=has_examples)
    if options.min_score is not None:
        yield "with a cut-off", Hint(Action.LEAVE_OUT, {Argument.MIN_SCORE: None})
    if options.max_distance is not None:
        yield "with a cut-off", Hint(Action.LEAVE_OUT, {Argument.MAX_DISTANCE: None})


def require_conformal_scores(network: SearchedCollection) -> tuple[Calibration, ConformalScores]:
    """Returns the collection's calibration with its conformal scores.

    Raises:
        UsageError: there is none, or it is stale, or of a version that learned no prediction sets.
    """
    calibration = require_calibration(network.collection, network.calibration, Argument.CONFIDENCE)
    if calibration.conformal is not None:
        return calibration, calibration.conformal
    raise UsageError(
        f"the calibration of {network.name} is of an earlier version, which learned no prediction sets",
        argument=Argument.CONFIDENCE,
        hint=Hint(Action.RECALIBRATE, {Argument.COLLECTION: network.name}),
    )


def find_prediction_set(query: Query, confidence: float) -> PredictionSet:
    """Returns the classes among which the query's own is with this confidence, best first and never none.

    They are found by the nearest images with a class, as many as the calibration was learned from and by an
    exact search as there.

    Raises:
        UsageError: as `require_conformal_scores`.
    """
    [network] = query.networks
    calibration, learned = require_conformal_scores(network)
    threshold = learned.threshold(confidence)
    names, scores = _find_labelled(query, calibration.depth)
    chosen, has_others = choose_classes(
        names, scores, threshold=threshold, higher_is_nearer=query.higher_is_nearer
    )
    every = _class_names(network.collection) if has_others else []
    others = [name for name in every if name not in set(chosen)]
    return PredictionSet(
        confidence=confidence,
        classes=(*chosen, *others),
        is_every_class=has_others or len(chosen) == calibration.classes,
        images=learned.images,
        images_needed=images_for(confidence),
    )


def choose_classes(
    names: Sequence[str], scores: Sequence[float], *, threshold: float | None, higher_is_nearer: bool
) -> tuple[list[str], bool]:
    """Returns the classes of neighbours that are in the set, best first, and whether all others are, too.

    `names` and `scores` are those of the neighbours with a class, nearest first; without a threshold every
    class is in the set.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    measured = measure_nonconformity(
        np.array([[numbers[name] for name in names]], dtype=np.int64).reshape(1, -1),
        np.array([scores], dtype=np.float64).reshape(1, -1),
        higher_is_nearer=higher_is_nearer,
    )
    of_classes = dict(zip(names, measured.of_neighbours[0].tolist(), strict=True))
    limit = np.inf if threshold is None else threshold
    chosen = [name for name in numbers if of_classes[name] <= limit]
    return sorted(chosen, key=of_classes.__getitem__), bool(measured.of_others[0] <= limit)


def _find_labelled(query: Query, depth: int) -> tuple[list[str], list[float]]:
    """Returns the classes and scores of the nearest images with a class, each file once."""
    where = replace(query.where, labelled=True)
    exact = replace(query, options=replace(query.options, exact=True))
    parts = search_deeper(
        lambda limit: exact.search([Request(where=where, limit=limit)]),
        key=lambda each: each.key,
        first_depth=depth,
    )
    found = take_nearest(parts, depth)[:depth]
    return [each.payload.class_name or "" for each in found], [each.score for each in found]


def _class_names(collection: Collection) -> list[str]:
    return sorted(name for name in collection.tally("class") if name)
