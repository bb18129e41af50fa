"""Formats a setting of `search evaluate` as tables and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING

import numpy as np
from lookalike_core.cli.table import cell_width, pad
from lookalike_core.models.calibration_curves import Reliability
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.text import format_count
from numpy.typing import NDArray

from lookalike_search.commands.interval_format import interval_json
from lookalike_search.commands.mistake_format import mistakes_json
from lookalike_search.commands.vote_study_format import studied_json, study_lines
from lookalike_search.evaluation.bootstrap import Estimate
from lookalike_search.evaluation.calibration import Abstaining
from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.head_splits import MEANINGS, PartFigures
from lookalike_search.evaluation.index_recall import IndexFigures
from lookalike_search.evaluation.leave_one_out import SHOWN
from lookalike_search.evaluation.reliability_bins import ReliabilityBin, ReliabilityBins
from lookalike_search.evaluation.runs import EvaluationOptions, Setting
from lookalike_search.evaluation.summary import FIGURES, ClassFigures, Evaluation, sort_worst_first

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

WHOLE_TABLE_CLASSES = 100
"""The most classes for which `--json` has the whole confusion table, which for 5,000 would be 77 MB."""

PART_FIGURES = ("precision_at_1", "precision_at_10", "mean_average_precision")
"""The figures that are shown of the images that a head was or was not fitted to."""


def evaluation_lines(setting: Setting, options: EvaluationOptions) -> list[str]:
    """Returns the lines of tables: figures overall and per class, and comparisons with other settings."""
    evaluation, differences = setting.evaluation, setting.differences
    count, classes = len(evaluation.images.payloads), len(evaluation.images.vectors.names)
    near = f"near-duplicates (similarity over {options.near_above:g}) of {evaluation.near_identical} queries"
    lines = [
        f"{evaluation.collection}: {count} images of {_classes(classes)}, {_queries_among(evaluation)}",
        f"left out: exact duplicates of the query, and {_left_out(evaluation)}",
        f"{near}; {'left out' if options.without_near else 'counted as any other'}",
        *_small_class_lines(evaluation),
        "",
        f"{'':30}   value   95 % interval     best possible",
        *(
            _row(title, evaluation.figures[key], evaluation.best_possible[key])
            for key, title in FIGURES.items()
        ),
        "",
        f"{f'verdict of {options.k} neighbours':30}   right   95 % interval",
        *(_row(rule, evaluation.accuracy[rule]) for rule in VoteRule),
        "",
        *(() if evaluation.fusion else [*reliability_lines(evaluation.reliability), ""]),
        *(_abstaining_lines(evaluation.abstaining) if evaluation.abstaining else ()),
        *(_index_lines(evaluation.indexed) if evaluation.indexed else ()),
        *_class_lines(evaluation.classes),
    ]
    if differences:
        lines += ["", *_difference_lines(differences)]
    if evaluation.vote_study:
        lines += ["", *study_lines(evaluation.vote_study)]
    return [*lines, "", *_parts_lines(setting.parts or ())]


def _queries_among(evaluation: Evaluation) -> str:
    if evaluation.queries == len(evaluation.images.payloads):
        return "each a query for the others"
    return f"a random sample of {evaluation.queries} of them queries for the others"


def _left_out(evaluation: Evaluation) -> str:
    if evaluation.fusion is None:
        return f"{evaluation.images.unlabelled} images without a class"
    return f"{evaluation.fusion.only_in_some} images that only one of the collections holds"


def _small_class_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yields lines about queries whose classes are too small for ten right neighbours."""
    alone, few = evaluation.alone, evaluation.in_small_classes
    if alone.any():
        queries = f"{_queries(evaluation, alone)}, for which no neighbour can be right"
        yield f"no other image of their class: {queries}; no figure counts them"
    if few.any():
        queries = f"{_queries(evaluation, few)}, whose {SHOWN} neighbours cannot all be right"
        yield f"fewer than {SHOWN} others of their class: {queries}"


def _queries(evaluation: Evaluation, queries: NDArray[np.bool_]) -> str:
    count, classes = int(queries.sum()), evaluation.classes_of(queries)
    return f"{count} {'query' if count == 1 else 'queries'} of {_classes(classes)}"


def _classes(count: int) -> str:
    return f"{count} class{'' if count == 1 else 'es'}"


def reliability_lines(found: Reliability | None) -> list[str]:
    """Returns a title, and a line with the calibration error of neighbours and of each vote."""
    if found is None:
        return ["expected calibration error: too few images or classes to tell"]
    verdicts = (f"{f'verdict, {rule}':30}  {error:.4f}" for rule, error in found.verdicts.items())
    return [
        f"expected calibration error, {found.bins} bins, on held-out halves",
        f"{'neighbours':30}  {found.neighbours:.4f}",
        f"{'neighbours, equally full bins':30}  {found.neighbours_equal_mass:.4f}",
        *verdicts,
    ]


def _abstaining_lines(found: Abstaining) -> Iterator[str]:
    yield f"{'abstaining past a threshold':30}   value   95 % interval   (learned from the other half)"
    yield _row("queries answered", found.answered)
    yield _row("right of these, nearer-ties", found.accuracy)
    yield ""


def _index_lines(found: IndexFigures) -> Iterator[str]:
    if found.covered:
        yield f"{f'by the index, of {found.covered} vectors':30}   value   95 % interval"
    else:
        yield f"{'by the store, without index':30}   value   95 % interval   (it searches exactly, too)"
    yield _row("recall@10", found.overlap)
    yield _row("queries with full recall", found.complete)
    yield from (_row(FIGURES[key], each) for key, each in found.figures.items())
    yield ""


def _parts_lines(parts: Sequence[PartFigures]) -> Iterator[str]:
    """Yields a table for each part of the images: those that a head was fitted to, and others."""
    for part in parts:
        yield f"{format_count(part.images, 'image')} of {_classes(part.classes)}: {MEANINGS[part.part]}"
        yield f"{'':30}   value   95 % interval     best possible"
        for key in PART_FIGURES:
            yield _row(f"  {FIGURES[key]}", part.figures[key], part.best_possible[key])
        yield ""


def _row(title: str, estimate: Estimate, best: float | None = None) -> str:
    line = f"{title:30}  {_number(estimate.value):>6}   {_interval(estimate)}"
    return line if best is None else f"{line:56}   {_number(best):>13}"


def _interval(estimate: Estimate) -> str:
    return "-" if isnan(estimate.low) else f"{estimate.low:.4f} - {estimate.high:.4f}"


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def _class_lines(classes: Sequence[ClassFigures]) -> Iterator[str]:
    """Yields the figures of each class, the classes farthest below their best possible ones first."""
    width = max(map(cell_width, ("class", *(each.name for each in classes))))
    heading = "images  precision@10   95 % interval     best possible   most wrong neighbours"
    yield f"{'class':{width}}  {heading}"
    for each in sort_worst_first(classes):
        found, best = each.figures["precision_at_10"], each.best_possible["precision_at_10"]
        wrong = f"{each.mistaken_for} {each.mistaken_share:.1%}" if each.mistaken_for else "-"
        yield (
            f"{pad(each.name, width)}  {each.images:8}  {_number(found.value):>12}   "
            f"{_interval(found):15}   {_number(best):>13}   {wrong}"
        )


def _difference_lines(differences: Sequence[Comparison]) -> Iterator[str]:
    yield (
        f"p by sign-flips, corrected (Holm) for these {len(differences)} comparisons; "
        "certain: p < 0.05 and an interval without 0"
    )
    for each in differences:
        gain = each.difference
        interval = "-" if isnan(gain.low) else f"{gain.low:+.4f} to {gain.high:+.4f}"
        verdict = ("higher" if gain.value > 0 else "lower") if each.is_certain else "no certain difference"
        shared = f" over {each.images} shared images" if each.is_partial else ""
        yield (
            f"{FIGURES[each.figure]} against {each.one}{shared}: "
            f"{'-' if isnan(gain.value) else f'{gain.value:+.4f}'} ({interval}; p {each.p:.4f}): {verdict}"
        )


def evaluation_json(setting: Setting, store: str, k: int) -> "records.Evaluation":
    """Returns the JSON of a setting."""
    evaluation = setting.evaluation
    return {
        "schema": 1,
        "collection": evaluation.collection,
        "store": store,
        "pictures": len(evaluation.images.payloads),
        "queries": evaluation.queries,
        "unlabelled": evaluation.images.unlabelled,
        "near_identical": evaluation.near_identical,
        "alone": int(evaluation.alone.sum()),
        "in_small_classes": int(evaluation.in_small_classes.sum()),
        **_figures_json(evaluation.figures, evaluation.best_possible),
        "k": k,
        "accuracy": {rule: interval_json(found) for rule, found in evaluation.accuracy.items()},
        "expected_calibration_error": reliability_json(evaluation.reliability)
        if evaluation.reliability
        else None,
        "abstaining": _abstaining_json(evaluation.abstaining) if evaluation.abstaining else None,
        "classes": [
            {
                "class": each.name,
                "pictures": each.images,
                **_figures_json(each.figures, each.best_possible),
            }
            for each in evaluation.classes
        ],
        "confusion": confusion_json(
            evaluation.images.vectors.names, evaluation.confusion, evaluation.countable_confusion
        ),
        **mistakes_json(evaluation),
        "reliability": _bins_json(evaluation.reliability_bins) if evaluation.reliability_bins else None,
        "differences": [_difference_json(each) for each in setting.differences],
        "fusion": evaluation.fusion,
        "indexed": _index_json(evaluation.indexed) if evaluation.indexed else None,
        "head": None if setting.parts is None else _parts_json(setting.parts),
        **studied_json(evaluation.vote_study),
    }


def _figures_json(figures: Mapping[str, Estimate], best: Mapping[str, float]) -> "records.Figures":
    return {
        "precision_at_1": interval_json(figures["precision_at_1"]),
        "precision_at_5": interval_json(figures["precision_at_5"]),
        "precision_at_10": interval_json(figures["precision_at_10"]),
        "mean_average_precision": interval_json(figures["mean_average_precision"]),
        "at_least_5_of_10": interval_json(figures["at_least_5_of_10"]),
        "best_possible": {
            "precision_at_1": best["precision_at_1"],
            "precision_at_5": best["precision_at_5"],
            "precision_at_10": best["precision_at_10"],
            "mean_average_precision": best["mean_average_precision"],
            "at_least_5_of_10": best["at_least_5_of_10"],
        },
    }


def reliability_json(found: Reliability) -> "records.CalibrationError":
    """Returns the JSON of calibration errors."""
    return {
        "bins": found.bins,
        "neighbours": found.neighbours,
        "neighbours_equal_mass": found.neighbours_equal_mass,
        "verdict": {VoteRule(rule): error for rule, error in found.verdicts.items()},
    }


def _abstaining_json(found: Abstaining) -> "records.Abstaining":
    return {"answered": interval_json(found.answered), "accuracy": interval_json(found.accuracy)}


def _difference_json(each: Comparison) -> "records.Difference":
    return {
        "to": each.one,
        "figure": each.figure,
        "pictures": each.images,
        **interval_json(each.difference),
        "p": each.p,
        "certain": each.is_certain,
    }


def _bins_json(found: ReliabilityBins) -> "records.ReliabilityBins":
    return {
        "neighbours": [_bin_json(each) for each in found.neighbours],
        "verdict": [_bin_json(each) for each in found.verdicts],
    }


def _bin_json(found: ReliabilityBin) -> "records.ReliabilityBin":
    return {"cases": found.cases, "chance": found.chance, "right": found.right}


def confusion_json(
    names: Sequence[str], table: NDArray[np.int64], countable: NDArray[np.int64]
) -> "records.Confusion":
    """Returns the JSON of a confusion matrix: the cells that are not 0, and for few classes all rows."""
    return {
        "classes": names,
        "cells": _cells(table),
        "countable_cells": _cells(countable),
        "neighbours": table.tolist() if len(names) <= WHOLE_TABLE_CLASSES else None,
    }


def _cells(table: NDArray[np.int64]) -> list[list[int]]:
    rows, columns = np.nonzero(table)
    cells: list[list[int]] = np.stack([rows, columns, table[rows, columns]], axis=1).tolist()
    return cells


def _index_json(found: IndexFigures) -> "records.Index":
    return {
        "has_index": found.covered > 0,
        "indexed_vectors": found.covered,
        "points": found.points,
        "overlap": interval_json(found.overlap),
        "all_the_same": interval_json(found.complete),
        "precision_at_1": interval_json(found.figures["precision_at_1"]),
        "precision_at_5": interval_json(found.figures["precision_at_5"]),
        "precision_at_10": interval_json(found.figures["precision_at_10"]),
    }


def _parts_json(parts: Sequence[PartFigures]) -> "list[records.HeadPart]":
    return [
        {
            "part": part.part,
            "pictures": part.images,
            "classes": part.classes,
            "precision_at_1": interval_json(part.figures["precision_at_1"]),
            "precision_at_10": interval_json(part.figures["precision_at_10"]),
            "mean_average_precision": interval_json(part.figures["mean_average_precision"]),
            "best_possible": {
                "precision_at_1": part.best_possible["precision_at_1"],
                "precision_at_10": part.best_possible["precision_at_10"],
                "mean_average_precision": part.best_possible["mean_average_precision"],
            },
        }
        for part in parts
    ]
