"""Builds the JSON of the images behind confusions and wrong verdicts of `search evaluate`."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from lookalike_core.stores.points import Payload

from lookalike_search.evaluation.mistakes import RULE, find_confused_classes, find_wrong_queries
from lookalike_search.evaluation.summary import Evaluation

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

MOST_PAIRS = 1_000
"""The most pairs of images of all confusions together."""

MOST_WRONG = 1_000
"""The most queries with a wrong verdict."""


def mistakes_json(evaluation: Evaluation) -> "records.Mistakes":
    """Returns the JSON of confusions, the worst first, and of queries with a wrong verdict."""
    wrong = find_wrong_queries(evaluation)
    return {
        "confused": list(_confused(evaluation)),
        "wrong": {
            "total": len(wrong),
            "queries": [_wrong_query(evaluation, row) for row in islice(wrong, MOST_WRONG)],
        },
    }


def _confused(evaluation: Evaluation) -> Iterator["records.ConfusedClasses"]:
    names, pairs = evaluation.images.vectors.names, 0
    for found in find_confused_classes(evaluation, most=MOST_PAIRS):
        pairs += len(found.pairs)
        if pairs > MOST_PAIRS:
            return
        yield {
            "class": names[found.own],
            "neighbour_class": names[found.other],
            "neighbours": found.count,
            "share": found.share,
            "pairs": [_pair(evaluation, *pair) for pair in found.pairs],
        }


def _pair(evaluation: Evaluation, row: int, place: int) -> "records.ConfusedPair":
    results, payloads = evaluation.results, evaluation.images.payloads
    return {
        "query": _image(payloads[row]),
        "neighbour": _image(payloads[results.neighbours[row, place]]),
        "rank": place + 1,
        "score": float(results.scores[row, place]),
    }


def _wrong_query(evaluation: Evaluation, row: int) -> "records.WrongQuery":
    vectors = evaluation.images.vectors
    return {
        **_image(evaluation.images.payloads[row]),
        "class": vectors.names[vectors.classes[row]],
        "verdict": vectors.names[evaluation.results.verdicts[RULE][row]],
        "precision_at_10": float(evaluation.values["precision_at_10"][row]),
    }


def _image(payload: Payload) -> "records.IndexedImage":
    return {"id": payload.id, "dataset": payload.dataset, "path": payload.path}
