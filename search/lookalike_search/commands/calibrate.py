"""The `search calibrate` command."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, seed_option, store_in_use
from lookalike_core.models.calibration_curves import Calibration, Curve, percent
from lookalike_core.models.conformal_scores import ConformalScores, images_for
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.settings import Settings
from lookalike_core.text import format_count

from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.evaluation_format import reliability_json, reliability_lines
from lookalike_search.commands.search_options import (
    AllOption,
    BackbonesOption,
    CollectionsOption,
    DistanceOption,
)
from lookalike_search.evaluation.calibration_run import CalibrationRun, calibrate_collection

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

ROWS = 8
"""Rows of the table of scores."""

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the vote that the table of verdicts shows."""


def calibrate(
    collection: CollectionsOption = None,
    backbone: BackbonesOption = None,
    distance: DistanceOption = None,
    every: AllOption = False,
    seed: Annotated[int, seed_option("of the held-out halves")] = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Learn probabilities of neighbours and verdicts.

    Queries show them from then on.
    """
    settings = Settings.from_environment()
    selector = CollectionSelector(names=collection or (), backbone=backbone, distance=distance, all=every)
    with store_in_use(store, settings) as opened:
        for name in selector.resolve(opened, settings=settings):
            run = calibrate_collection(opened, name, seed=seed)
            if as_json:
                show_json(_json(run, opened.label))
            else:
                show(*_lines(run))


def _lines(run: CalibrationRun) -> list[str]:
    calibration = run.calibration
    count, classes = calibration.images, calibration.classes
    unlabelled = format_count(run.unlabelled, "image")
    return [
        f"{run.collection}: calibrated on {count} images of {classes} classes, each a query for the others",
        f"left out: exact duplicates of the query, and {unlabelled} without a class",
        "",
        *reliability_lines(calibration.reliability),
        "",
        *_neighbour_lines(run),
        "",
        *_verdict_lines(calibration),
        "",
        *_threshold_lines(run),
        "",
        *(_prediction_set_lines(calibration.conformal) if calibration.conformal else ()),
        "",
    ]


def _neighbour_lines(run: CalibrationRun) -> Iterator[str]:
    """Yields the rows of the curve from score to chance, nearest first, at about equal steps of chance."""
    curve = run.calibration.neighbours
    levels = np.linspace(curve.chances[0], curve.chances[-1], ROWS)
    yield f"{run.distance.score_name:>10}  same class, of the {run.calibration.k} nearest"
    for row in np.unique(np.searchsorted(curve.chances, levels))[::-1]:
        yield f"{run.score(curve.knots[row]):10.4f}  {percent(curve.chances[row])}"


def _verdict_lines(calibration: Calibration) -> Iterator[str]:
    title = "of the vote"
    yield "  ".join([title, *(f"{rule:>13}" for rule in VoteRule)])
    for share in SHARES:
        chances = (calibration.verdict_chance(rule, share) for rule in VoteRule)
        shown = (f"{percent(chance) if chance is not None else '-':>13}" for chance in chances)
        yield "  ".join([f"{share:>{len(title)}.0%}", *shown])


def _threshold_lines(run: CalibrationRun) -> Iterator[str]:
    found, side = run.calibration.threshold, "under" if run.distance.higher_is_nearer else "over"
    limit = f"{run.distance.score_name} {side} {run.score(found.nearness):.4f}"
    yield f"out-of-distribution: nearest image's {limit}"
    yield (
        f"this refuses {found.refused:.1%} of the indexed images, and would refuse {found.caught:.1%} "
        "of them if no other of their class were indexed"
    )


def _prediction_set_lines(learned: ConformalScores) -> Iterator[str]:
    yield f"prediction sets by {learned.images} images, measured on held-out halves of them"
    yield "confidence  right class in it  mean classes  of one class"
    for each in learned.coverages:
        needed = images_for(each.confidence)
        few = f"  needs {needed} images" * (learned.images < needed)
        if learned.images // 2 < needed <= learned.images:
            few = f"  every class, as halves have fewer than {needed} images"
        yield (
            f"{each.confidence:>10.0%}  {each.coverage:>17.1%}  {each.mean_classes:12.2f}  "
            f"{each.one_class:>12.1%}{few}"
        )


def _json(run: CalibrationRun, store: str) -> "records.CollectionCalibration":
    calibration, threshold = run.calibration, run.calibration.threshold
    return {
        "schema": 1,
        "collection": run.collection,
        "store": store,
        "created_at": calibration.created_at,
        "pictures": calibration.images,
        "unlabelled": run.unlabelled,
        "classes": calibration.classes,
        "k": calibration.k,
        "pairs": calibration.pairs,
        "expected_calibration_error": reliability_json(calibration.reliability),
        "neighbours": [
            {"score": run.score(knot), "chance": chance} for knot, chance in _knots(calibration.neighbours)
        ],
        "verdicts": {
            VoteRule(rule): [{"share": knot, "chance": chance} for knot, chance in _knots(curve)]
            for rule, curve in calibration.verdicts.items()
        },
        "threshold": {
            "score": run.score(threshold.nearness),
            "refused": threshold.refused,
            "caught": threshold.caught,
        },
        "prediction_sets": _prediction_sets_json(calibration.conformal) if calibration.conformal else None,
    }


def _prediction_sets_json(learned: ConformalScores) -> "records.PredictionSets":
    return {
        "pictures": learned.images,
        "coverage": [
            {
                "confidence": each.confidence,
                "coverage": each.coverage,
                "mean_classes": each.mean_classes,
                "one_class": each.one_class,
                "pictures_needed": images_for(each.confidence),
            }
            for each in learned.coverages
        ],
    }


def _knots(curve: Curve) -> Iterator[tuple[float, float]]:
    return zip(curve.knots, curve.chances, strict=True)
