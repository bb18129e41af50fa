"""The `search calibrate` command."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import typer
from lookalike_core.cli.console import StderrReporter, Verbose, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, store_in_use
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.models.calibration_curves import Calibration, Curve, percent
from lookalike_core.neighbours.rank_fusion import CANDIDATES
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.protocol import Collection, Store

from lookalike_search.commands.evaluate import collections_meant
from lookalike_search.commands.reliability import reliability_json, reliability_lines
from lookalike_search.commands.search_options import BackboneOption, CollectionsOption, DistanceOption
from lookalike_search.evaluation.calibration import calibrated, shortage
from lookalike_search.evaluation.labelled_vectors import LabelledPictures, load_labelled
from lookalike_search.evaluation.leave_one_out import leave_one_out

ROWS = 8
"""Of the table of scores."""

SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the vote, in the table of verdicts."""


def calibrate(
    collection: CollectionsOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every collection that fits.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the halves held out.")] = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Learn how often neighbours of a score are right, and how often verdicts are, for queries to show."""
    settings, reporter = Settings.from_environment(), StderrReporter()
    with store_in_use(store, settings, reporter) as opened:
        names = collections_meant(
            opened, settings, reporter, collection or [], backbone, distance, every=every
        )
        for name in names:
            pictures, calibration = _calibrate(opened, name, reporter, seed=seed)
            if as_json:
                show_json(_json(name, opened.label, pictures, calibration))
            else:
                show(*_lines(name, pictures, calibration))


def _calibrate(
    store: Store, name: str, reporter: StderrReporter, *, seed: int
) -> tuple[LabelledPictures, Calibration]:
    """Reads, learns and records; the collection is free for others while it learns.

    Raises:
        UsageError: there are too few pictures with a class, or too few classes.
        LookalikeError: the collection has changed meanwhile; nothing was recorded.
    """
    with store.open(name) as source:
        manifest, points, pictures = source.manifest, source.count(), load_labelled(source)
    with reporter.bar(name, unit="images", total=len(pictures.payloads)) as bar:
        results = leave_one_out(pictures.vectors, depth=CANDIDATES, on_done=bar.advance)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    calibration = calibrated(pictures.vectors, results, manifest, points=points, created_at=now, seed=seed)
    if calibration is None:
        missing = shortage(pictures.vectors, results) or "its pictures have too few neighbours to calibrate"
        raise UsageError(
            f"{name}: {missing}; put more pictures into folders named after their classes, and ingest them"
        )
    with store.open(name) as source:
        if not _is_as_read(source, manifest, points, pictures):
            raise LookalikeError(f"{name} has changed while it was calibrated; run the same command again")
        source.record_calibration(calibration)
    return pictures, calibration


def _is_as_read(
    source: Collection, manifest: CollectionManifest, points: int, pictures: LabelledPictures
) -> bool:
    found = list(source.scan())
    read = {payload.id: payload for payload in pictures.payloads}
    same = {payload.id: payload for payload in found if payload.class_name} == read
    return same and len(found) == points and source.manifest.created_at == manifest.created_at


def _lines(name: str, pictures: LabelledPictures, calibration: Calibration) -> list[str]:
    count, classes = calibration.pictures, calibration.classes
    return [
        f"{name}: calibrated by {count} pictures of {classes} classes, each asked for the others",
        f"left out: copies of the query's bytes, and {pictures.unlabelled} pictures without a class",
        "",
        *reliability_lines(calibration.reliability),
        "",
        *_neighbour_lines(calibration, pictures),
        "",
        *_verdict_lines(calibration),
        "",
        *_threshold_lines(calibration, pictures),
        "",
    ]


def _neighbour_lines(calibration: Calibration, pictures: LabelledPictures) -> Iterator[str]:
    """The nearest first, at knots whose chances lie about as far from each other."""
    curve = calibration.neighbours
    levels = np.linspace(curve.chances[0], curve.chances[-1], ROWS)
    yield f"{_score_name(pictures):>10}  same class, of the {calibration.k} nearest"
    for row in np.unique(np.searchsorted(curve.chances, levels))[::-1]:
        yield f"{_score(pictures, curve.knots[row]):10.4f}  {percent(curve.chances[row])}"


def _verdict_lines(calibration: Calibration) -> Iterator[str]:
    title = "of the vote"
    yield "  ".join([title, *(f"{rule:>13}" for rule in VoteRule)])
    for share in SHARES:
        chances = (calibration.verdict_chance(rule, share) for rule in VoteRule)
        shown = (f"{percent(chance) if chance is not None else '-':>13}" for chance in chances)
        yield "  ".join([f"{share:>{len(title)}.0%}", *shown])


def _threshold_lines(calibration: Calibration, pictures: LabelledPictures) -> Iterator[str]:
    found, side = calibration.threshold, "under" if pictures.vectors.higher_is_nearer else "over"
    yield (
        f"unlike anything indexed: nearest picture's {_score_name(pictures)} {side} "
        f"{_score(pictures, found.nearness):.4f}"
    )
    yield (
        f"that refuses {found.refused:.1%} of the pictures here, and would refuse {found.caught:.1%} of them "
        "if none of their class were here"
    )


def _score_name(pictures: LabelledPictures) -> str:
    return "similarity" if pictures.vectors.higher_is_nearer else "distance"


def _score(pictures: LabelledPictures, nearness: float) -> float:
    return float(nearness if pictures.vectors.higher_is_nearer else -nearness)


def _json(name: str, store: str, pictures: LabelledPictures, calibration: Calibration) -> dict[str, Any]:
    threshold = calibration.threshold
    return {
        "schema": 1,
        "collection": name,
        "store": store,
        "created_at": calibration.created_at,
        "pictures": calibration.pictures,
        "unlabelled": pictures.unlabelled,
        "classes": calibration.classes,
        "k": calibration.k,
        "pairs": calibration.pairs,
        "expected_calibration_error": reliability_json(calibration.reliability),
        "neighbours": [
            {"score": _score(pictures, knot), "chance": chance}
            for knot, chance in _knots(calibration.neighbours)
        ],
        "verdicts": {
            rule: [{"share": knot, "chance": chance} for knot, chance in _knots(curve)]
            for rule, curve in calibration.verdicts.items()
        },
        "threshold": {
            "score": _score(pictures, threshold.nearness),
            "refused": threshold.refused,
            "caught": threshold.caught,
        },
    }


def _knots(curve: Curve) -> Iterator[tuple[float, float]]:
    return zip(curve.knots, curve.chances, strict=True)
