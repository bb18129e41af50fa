"""The `search evaluate` command."""

import csv
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from lookalike_core.atomic import atomic_path
from lookalike_core.cli.console import Reporter, StderrReporter, Verbose, show, show_json
from lookalike_core.cli.options import HtmlOption, JsonOption, StoreOption, store_in_use
from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.outputs import PAGE_SUFFIXES, check_apart, output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Store
from lookalike_core.text import cell_width, padded
from numpy.typing import NDArray

from lookalike_search.collection_choice import choose_both, choose_collection, fitting_collections, is_both
from lookalike_search.commands.head_parts import headed_parts, parts_json, parts_lines
from lookalike_search.commands.reliability import reliability_json, reliability_lines
from lookalike_search.commands.search_options import (
    BackbonesOption,
    CollectionsOption,
    DatasetOption,
    DistanceOption,
    HeadOption,
    VotersOption,
    similarity_option,
)
from lookalike_search.evaluation.calibration import Abstaining
from lookalike_search.evaluation.comparisons import Comparison
from lookalike_search.evaluation.head_splits import PartFigures
from lookalike_search.evaluation.index_recall import IndexFigures
from lookalike_search.evaluation.leave_one_out import NEAR_ABOVE, SHOWN, Estimate
from lookalike_search.evaluation.runs import EvaluationOptions, Plan, evaluated
from lookalike_search.evaluation.summary import ClassFigures, Evaluation, Fusion
from lookalike_search.reports.plots import PLOT_SUFFIXES, is_plot, write_plot

WHOLE_TABLE_CLASSES = 100
"""Up to which `--json` has all cells of the confusion: of 5,000 classes they would be 77 MB."""

FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_5": "precision@5",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
    "at_least_5_of_10": "queries with at least 5 of 10",
}


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
    near_above: Annotated[
        float,
        similarity_option(
            "--near-above", "From which cosine similarity on pictures count as near-identical."
        ),
    ] = NEAR_ABOVE,
    without_near: Annotated[
        bool, typer.Option("--without-near", help="Leave near-identical pictures out.")
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
    """Measure how good the neighbours are: every picture asks, and the classes tell."""
    table = output_path(csv_file, "--csv", (".csv",)) if csv_file is not None else None
    plot = output_path(plot_file, "--plot", PLOT_SUFFIXES, is_ours=is_plot) if plot_file is not None else None
    page = output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    check_apart({"--csv": table, "--plot": plot, "--html": page})
    settings, reporter = Settings.from_environment(), StderrReporter()
    options = EvaluationOptions(
        where=PointFilter(dataset=dataset),
        k=k,
        near_above=near_above,
        without_near=without_near,
        seed=seed,
        indexed=indexed,
    )
    done: list[Evaluation] = []
    gains: list[Sequence[Comparison]] = []
    seen: list[Sequence[PartFigures]] = []
    with store_in_use(store, settings, reporter) as opened:
        plan = _plan(
            opened,
            settings,
            reporter,
            collection or [],
            backbone,
            distance,
            fusion or [],
            every=every,
            head=head,
        )
        for setting in evaluated(opened, plan, options, reporter):
            parts = headed_parts(setting.evaluation, opened, settings, reporter, seed=seed)
            if as_json:
                found = _json(setting.evaluation, setting.differences, opened.label, k)
                show_json(found | parts_json(parts))
            else:
                show(*_lines(setting.evaluation, setting.differences, options), *parts_lines(parts))
            done.append(setting.evaluation)
            gains.append(setting.differences)
            seen.append(parts or ())
        manifests = [opened.manifest(_first_collection(each)) for each in done] if page else []
    if table is not None:
        _write_csv(table, done)
    if plot is not None:
        write_plot(plot, done, seed=seed)
    if page is not None:
        _write_page(page, done, gains, seen, manifests, k, reporter)


def _first_collection(evaluation: Evaluation) -> str:
    return evaluation.fusion.collections[0] if evaluation.fusion else evaluation.collection


def _write_page(
    path: Path,
    done: Sequence[Evaluation],
    gains: Sequence[Sequence[Comparison]],
    seen: Sequence[Sequence[PartFigures]],
    manifests: Sequence[CollectionManifest],
    k: int,
    reporter: Reporter,
) -> None:
    from lookalike_search.reports.evaluation import EvaluationReport, section_view, write_evaluation_page

    sections = [
        section_view(evaluation, number=number, manifest=manifest, differences=differences, parts=parts)
        for number, (evaluation, manifest, differences, parts) in enumerate(
            zip(done, manifests, gains, seen, strict=True)
        )
    ]
    write_evaluation_page(path, EvaluationReport(figures=FIGURES, k=k, sections=sections), reporter=reporter)


def _plan(
    store: Store,
    settings: Settings,
    reporter: StderrReporter,
    named: Sequence[str],
    backbone: str | None,
    distance: Distance | None,
    fusion: Sequence[FusionRule],
    *,
    every: bool,
    head: str | None,
) -> Plan:
    """What the options ask for, alone and fused."""
    named = list(dict.fromkeys(named))
    if head is not None and (every or is_both(backbone)):
        raise UsageError("--head is for one collection; leave --all and --backbone both out")
    both = is_both(backbone)
    if both and named:
        raise UsageError("--collection names what is evaluated; leave --backbone out")
    everywhere = every and (both or backbone is None)
    if fusion and not (everywhere or both or named[1:]):
        raise UsageError("--fusion is for several: add --backbone both, --all, or --collection twice")
    if both and not every:
        names = choose_both(store, settings=settings, reporter=reporter, distance=distance)
    else:
        network = None if both else backbone
        names = collections_meant(store, settings, reporter, named, network, distance, every=every, head=head)
    required = both or bool(fusion)
    pairs = [names] if required else []
    if everywhere:
        pairs = _every_pair(store, settings, reporter, distance, required=required)
    rules = list(dict.fromkeys(fusion)) or (list(FusionRule) if every else [FusionRule.RRF])
    return Plan(collections=names, pairs=pairs, rules=rules, pairs_may_fail=every)


def _every_pair(
    store: Store,
    settings: Settings,
    reporter: StderrReporter,
    distance: Distance | None,
    *,
    required: bool,
) -> list[list[str]]:
    """Of each distance that both networks have; if one is `required` and none is there, an error says why."""
    pairs = []
    for each in [distance] if distance else Distance:
        try:
            pairs.append(choose_both(store, settings=settings, reporter=reporter, distance=each))
        except CollectionMissingError:
            continue
        except UsageError as error:
            reporter.say(f"{each} is not fused: {error}")
    if required and not pairs:
        return [choose_both(store, settings=settings, reporter=reporter, distance=distance)]
    return pairs


def collections_meant(
    store: Store,
    settings: Settings,
    reporter: StderrReporter,
    named: Sequence[str],
    backbone: str | None,
    distance: Distance | None,
    *,
    every: bool,
    head: str | None = None,
) -> list[str]:
    """The collections to work on: those named, all that fit, or the one that a query would take."""
    if every:
        if named:
            raise UsageError("--all takes every collection; leave --collection out")
        return fitting_collections(
            store, settings=settings, reporter=reporter, backbone=backbone, distance=distance
        )
    return [
        choose_collection(
            store,
            settings=settings,
            reporter=reporter,
            name=name,
            backbone=backbone,
            distance=distance,
            head=head,
        )
        for name in dict.fromkeys(named) or [None]
    ]


def _lines(
    evaluation: Evaluation, differences: Sequence[Comparison], options: EvaluationOptions
) -> list[str]:
    count, classes = len(evaluation.pictures.payloads), len(evaluation.pictures.vectors.names)
    near = f"near-identical (similarity over {options.near_above:g}) for {evaluation.near_identical} queries"
    lines = [
        f"{evaluation.collection}: {count} pictures of {classes} classes, each asked for the others",
        f"left out: copies of the query's bytes, and {_left_out(evaluation)}",
        f"{near}; {'left out' if options.without_near else 'counted as any other'}",
        "",
        f"{'':30}   value   95 % interval",
        *(_row(title, evaluation.figures[key]) for key, title in FIGURES.items()),
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
    return [*lines, ""]


def _left_out(evaluation: Evaluation) -> str:
    if evaluation.fusion is None:
        return f"{evaluation.pictures.unlabelled} pictures without a class"
    return f"{evaluation.fusion.only_in_some} pictures that only one of the collections holds"


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


def _row(title: str, estimate: Estimate) -> str:
    return f"{title:30}  {_number(estimate.value):>6}   {_interval(estimate)}"


def _interval(estimate: Estimate) -> str:
    return "-" if isnan(estimate.low) else f"{estimate.low:.4f} - {estimate.high:.4f}"


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def _class_lines(classes: Sequence[ClassFigures]) -> Iterator[str]:
    """The worst class first."""
    width = max(map(cell_width, ("class", *(each.name for each in classes))))
    yield f"{'class':{width}}  pictures  precision@10   95 % interval   most wrong neighbours"
    for each in sorted(classes, key=lambda each: each.figures["precision_at_10"].value):
        found = each.figures["precision_at_10"]
        wrong = f"{each.mistaken_for} {each.mistaken_share:.1%}" if each.mistaken_for else "-"
        yield (
            f"{padded(each.name, width)}  {each.pictures:8}  {_number(found.value):>12}   "
            f"{_interval(found):15}   {wrong}"
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
        shared = f" over {each.pictures} shared pictures" if each.is_partial else ""
        yield (
            f"{FIGURES[each.figure]} against {each.one}{shared}: "
            f"{'-' if isnan(gain.value) else f'{gain.value:+.4f}'} ({interval}; p {each.p:.4f}): {verdict}"
        )


def _json(evaluation: Evaluation, differences: Sequence[Comparison], store: str, k: int) -> dict[str, Any]:
    names = evaluation.pictures.vectors.names
    return {
        "schema": 1,
        "collection": evaluation.collection,
        "store": store,
        "pictures": len(evaluation.pictures.payloads),
        "unlabelled": evaluation.pictures.unlabelled,
        "near_identical": evaluation.near_identical,
        **{key: _estimate_json(evaluation.figures[key]) for key in FIGURES},
        "k": k,
        "accuracy": {rule: _estimate_json(found) for rule, found in evaluation.accuracy.items()},
        "expected_calibration_error": reliability_json(evaluation.reliability),
        "abstaining": evaluation.abstaining
        and {
            "answered": _estimate_json(evaluation.abstaining.answered),
            "accuracy": _estimate_json(evaluation.abstaining.accuracy),
        },
        "classes": [
            {
                "class": each.name,
                "pictures": each.pictures,
                **{key: _estimate_json(each.figures[key]) for key in FIGURES},
            }
            for each in evaluation.classes
        ],
        "confusion": confusion_json(names, evaluation.confusion),
        "differences": [
            {
                "to": each.one,
                "figure": each.figure,
                "pictures": each.pictures,
                **_estimate_json(each.difference),
                "p": each.p,
                "certain": each.is_certain,
            }
            for each in differences
        ],
        "fusion": evaluation.fusion and _fusion_json(evaluation.fusion),
        "indexed": evaluation.indexed and _index_json(evaluation.indexed),
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
        "overlap": _estimate_json(found.overlap),
        "all_the_same": _estimate_json(found.complete),
        **{key: _estimate_json(each) for key, each in found.figures.items()},
    }


def _estimate_json(estimate: Estimate) -> dict[str, float | None]:
    """NaN, which is no JSON, is null: there is no figure."""
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {key: None if value != value else value for key, value in numbers.items()}  # noqa: PLR0124


def _write_csv(file: Path, evaluations: Sequence[Evaluation]) -> None:
    """One row a query, whole or not at all."""
    rules = [f"verdict_{rule.replace('-', '_')}" for rule in VoteRule]
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["collection", "dataset", "path", "class", *FIGURES, "near_identical", *rules])
        for evaluation in evaluations:
            names = evaluation.pictures.vectors.names
            for row, payload in enumerate(evaluation.pictures.payloads):
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
                    ]
                )
