"""The `search evaluate` command."""

import csv
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from lookalike_core.atomic import atomic_path
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import HtmlOption, JsonOption, StoreOption, store_in_use
from lookalike_core.cli.table import cell_width, padded
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.outputs import PAGE_SUFFIXES, check_apart, output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import PointFilter
from numpy.typing import NDArray

from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.head_parts import numbers_json, parts_json, parts_lines
from lookalike_search.commands.reliability import reliability_json, reliability_lines
from lookalike_search.commands.search_options import (
    BackbonesOption,
    CollectionsOption,
    DatasetOption,
    DistanceOption,
    HeadOption,
    NearAboveOption,
    VotersOption,
)
from lookalike_search.evaluation.calibration import Abstaining
from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.index_recall import IndexFigures
from lookalike_search.evaluation.leave_one_out import SHOWN, Estimate
from lookalike_search.evaluation.plan import plan_evaluation
from lookalike_search.evaluation.runs import EvaluationOptions, Setting, evaluated
from lookalike_search.evaluation.summary import FIGURES, ClassFigures, Evaluation, Fusion, worst_first
from lookalike_search.reports.plots import PLOT_SUFFIXES, is_plot, write_plot

WHOLE_TABLE_CLASSES = 100
"""Up to which `--json` has all cells of the confusion: of 5,000 classes they would be 77 MB."""


def evaluate(
    collection: CollectionsOption = None,
    backbone: BackbonesOption = None,
    distance: DistanceOption = None,
    head: HeadOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every collection that fits, compared.")] = False,
    fusion: Annotated[
        list[FusionRule] | None,
        typer.Option(
            "--fusion", help="How two rankings become one; may be repeated. Default: rrf, with --all each."
        ),
    ] = None,
    indexed: Annotated[
        bool, typer.Option("--indexed", help="Compare what the store's index finds with the exact ten, too.")
    ] = False,
    dataset: DatasetOption = None,
    k: VotersOption = SHOWN,
    near_above: NearAboveOption = NEAR_ABOVE,
    without_near: Annotated[
        bool, typer.Option("--without-near", help="Leave near-duplicates of the asking image out.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the bootstrap.")] = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table of the queries here.")
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the figures here: .png, .svg or .pdf."),
    ] = None,
    html: HtmlOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Measure how good the neighbours are: every image asks, and the classes tell."""
    table = output_path(csv_file, "--csv", (".csv",)) if csv_file is not None else None
    plot = output_path(plot_file, "--plot", PLOT_SUFFIXES, is_ours=is_plot) if plot_file is not None else None
    page = output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    check_apart({"--csv": table, "--plot": plot, "--html": page})
    settings = Settings.from_environment()
    options = EvaluationOptions(
        where=PointFilter(dataset=dataset),
        k=k,
        near_above=near_above,
        without_near=without_near,
        seed=seed,
        indexed=indexed,
    )
    selector = CollectionSelector(
        names=collection or (), backbone=backbone, distance=distance, head=head, all=every
    )
    done: list[Setting] = []
    with store_in_use(store, settings) as opened:
        plan = plan_evaluation(selector, fusion or (), store=opened, settings=settings)
        for setting in evaluated(opened, plan, options, settings=settings):
            if as_json:
                show_json(_json(setting, opened.label, k))
            else:
                show(*_lines(setting, options))
            done.append(setting)
        manifests = [opened.manifest(each.evaluation.collections[0]) for each in done] if page else []
    if table is not None:
        _write_csv(table, [each.evaluation for each in done])
    if plot is not None:
        write_plot(plot, [each.evaluation for each in done], seed=seed)
    if page is not None:
        _write_page(page, done, manifests, k)


def _write_page(path: Path, done: Sequence[Setting], manifests: Sequence[CollectionManifest], k: int) -> None:
    from lookalike_search.reports.evaluation import evaluation_page

    evaluation_page(done, manifests, k=k).write(path)


def _lines(setting: Setting, options: EvaluationOptions) -> list[str]:
    evaluation, differences = setting.evaluation, setting.differences
    count, classes = len(evaluation.images.payloads), len(evaluation.images.vectors.names)
    near = f"near-identical (similarity over {options.near_above:g}) for {evaluation.near_identical} queries"
    lines = [
        f"{evaluation.collection}: {count} images of {_classes(classes)}, each asked for the others",
        f"left out: copies of the query's bytes, and {_left_out(evaluation)}",
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
    return [*lines, "", *parts_lines(setting.parts)]


def _left_out(evaluation: Evaluation) -> str:
    if evaluation.fusion is None:
        return f"{evaluation.images.unlabelled} images without a class"
    return f"{evaluation.fusion.only_in_some} images that only one of the collections holds"


def _small_class_lines(evaluation: Evaluation) -> Iterator[str]:
    """What cannot be right however good the neighbours are, where there is anything of the kind."""
    alone, few = evaluation.alone, evaluation.in_small_classes
    if alone.any():
        counted = f"{_counted(evaluation, alone)}, for which nothing can be right"
        yield f"no other image of their class: {counted}; no figure counts them"
    if few.any():
        counted = _counted(evaluation, few)
        yield f"fewer than {SHOWN} others of their class: {counted}, of whose {SHOWN} not all can be right"


def _counted(evaluation: Evaluation, queries: NDArray[np.bool_]) -> str:
    count, classes = int(queries.sum()), evaluation.classes_of(queries)
    return f"{count} {'query' if count == 1 else 'queries'} of {_classes(classes)}"


def _classes(count: int) -> str:
    return f"{count} class{'' if count == 1 else 'es'}"


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
    yield _row("share of the exact ten", found.overlap)
    yield _row("queries with all of them", found.complete)
    yield from (_row(FIGURES[key], each) for key, each in found.figures.items())
    yield ""


def _row(title: str, estimate: Estimate, best: float | None = None) -> str:
    line = f"{title:30}  {_number(estimate.value):>6}   {_interval(estimate)}"
    return line if best is None else f"{line:55}   {_number(best):>13}"


def _interval(estimate: Estimate) -> str:
    return "-" if isnan(estimate.low) else f"{estimate.low:.4f} - {estimate.high:.4f}"


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def _class_lines(classes: Sequence[ClassFigures]) -> Iterator[str]:
    """Those first that are farthest from their best possible."""
    width = max(map(cell_width, ("class", *(each.name for each in classes))))
    heading = "images  precision@10   95 % interval     best possible   most wrong neighbours"
    yield f"{'class':{width}}  {heading}"
    for each in worst_first(classes):
        found, best = each.figures["precision_at_10"], each.best_possible["precision_at_10"]
        wrong = f"{each.mistaken_for} {each.mistaken_share:.1%}" if each.mistaken_for else "-"
        yield (
            f"{padded(each.name, width)}  {each.images:8}  {_number(found.value):>12}   "
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


def _json(setting: Setting, store: str, k: int) -> dict[str, Any]:
    evaluation, differences = setting.evaluation, setting.differences
    names = evaluation.images.vectors.names
    return {
        "schema": 1,
        "collection": evaluation.collection,
        "store": store,
        "pictures": len(evaluation.images.payloads),
        "unlabelled": evaluation.images.unlabelled,
        "near_identical": evaluation.near_identical,
        "alone": int(evaluation.alone.sum()),
        "in_small_classes": int(evaluation.in_small_classes.sum()),
        **{key: evaluation.figures[key].to_json() for key in FIGURES},
        "best_possible": numbers_json(evaluation.best_possible),
        "k": k,
        "accuracy": {rule: found.to_json() for rule, found in evaluation.accuracy.items()},
        "expected_calibration_error": reliability_json(evaluation.reliability),
        "abstaining": evaluation.abstaining
        and {
            "answered": evaluation.abstaining.answered.to_json(),
            "accuracy": evaluation.abstaining.accuracy.to_json(),
        },
        "classes": [
            {
                "class": each.name,
                "pictures": each.images,
                **{key: each.figures[key].to_json() for key in FIGURES},
                "best_possible": numbers_json(each.best_possible),
            }
            for each in evaluation.classes
        ],
        "confusion": confusion_json(names, evaluation.confusion),
        "differences": [
            {
                "to": each.one,
                "figure": each.figure,
                "pictures": each.images,
                **each.difference.to_json(),
                "p": each.p,
                "certain": each.is_certain,
            }
            for each in differences
        ],
        "fusion": evaluation.fusion and _fusion_json(evaluation.fusion),
        "indexed": evaluation.indexed and _index_json(evaluation.indexed),
        **parts_json(setting.parts),
    }


def confusion_json(names: Sequence[str], table: NDArray[np.int64]) -> dict[str, Any]:
    """The cells that are not 0, by row and column; of few classes the whole table, too."""
    rows, columns = np.nonzero(table)
    return {
        "classes": list(names),
        "cells": np.stack([rows, columns, table[rows, columns]], axis=1).tolist(),
        "neighbours": table.tolist() if len(names) <= WHOLE_TABLE_CLASSES else None,
    }


def _fusion_json(fusion: Fusion) -> dict[str, Any]:
    return {
        "rule": fusion.rule,
        "collections": list(fusion.collections),
        "only_in_some": fusion.only_in_some,
    }


def _index_json(found: IndexFigures) -> dict[str, Any]:
    return {
        "has_index": found.covered > 0,
        "indexed_vectors": found.covered,
        "points": found.points,
        "overlap": found.overlap.to_json(),
        "all_the_same": found.complete.to_json(),
        **{key: each.to_json() for key, each in found.figures.items()},
    }


def _write_csv(file: Path, evaluations: Sequence[Evaluation]) -> None:
    """One row a query, whole or not at all."""
    rules = [f"verdict_{rule.replace('-', '_')}" for rule in VoteRule]
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(
            ["collection", "dataset", "path", "class", *FIGURES, "near_identical", *rules, "others_of_class"]
        )
        for evaluation in evaluations:
            names = evaluation.images.vectors.names
            for row, payload in enumerate(evaluation.images.payloads):
                values = [evaluation.values[key][row] for key in FIGURES]
                verdicts = [evaluation.results.verdicts[rule][row] for rule in VoteRule]
                writer.writerow(
                    [
                        evaluation.collection,
                        payload.dataset,
                        payload.path,
                        payload.class_name,
                        *("" if value != value else value for value in values),  # noqa: PLR0124
                        evaluation.results.near_identical[row],
                        *(names[verdict] if verdict >= 0 else "" for verdict in verdicts),
                        evaluation.results.relevant[row],
                    ]
                )
