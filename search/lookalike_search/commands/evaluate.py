"""The `search evaluate` command."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import atomic_path
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import HtmlOption, JsonOption, StoreOption, seed_option, store_in_use
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.outputs import PAGE_SUFFIXES, check_apart, check_output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import PointFilter

from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.evaluation_format import evaluation_json, evaluation_lines
from lookalike_search.commands.search_options import (
    AllOption,
    BackbonesOption,
    CollectionsOption,
    DatasetOption,
    DistanceOption,
    HeadOption,
    NearAboveOption,
    VotersOption,
)
from lookalike_search.evaluation.leave_one_out import SHOWN
from lookalike_search.evaluation.plan import plan_evaluation
from lookalike_search.evaluation.runs import EvaluationOptions, Setting, evaluate_settings
from lookalike_search.evaluation.summary import FIGURES, Evaluation
from lookalike_search.reports.plots import PLOT_SUFFIXES, is_plot, write_plot


def evaluate(
    collection: CollectionsOption = None,
    backbone: BackbonesOption = None,
    distance: DistanceOption = None,
    head: HeadOption = None,
    every: AllOption = False,
    fusion: Annotated[
        list[FusionRule] | None,
        typer.Option(
            "--fusion", help="How two rankings become one; may be repeated. Default: rrf; with --all: each."
        ),
    ] = None,
    indexed: Annotated[
        bool, typer.Option("--indexed", help="Also compare the index with exact search.")
    ] = False,
    dataset: DatasetOption = None,
    k: VotersOption = SHOWN,
    near_above: NearAboveOption = NEAR_ABOVE,
    without_near: Annotated[
        bool, typer.Option("--without-near", help="Leave near-duplicates of the query out.")
    ] = False,
    seed: Annotated[int, seed_option("of intervals and tests")] = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the figures of each query to FILE.")
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw the figures to FILE: .png, .svg or .pdf."),
    ] = None,
    html: HtmlOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Measure how good the neighbours are: every image is a query, and its class the truth."""
    table = check_output_path(csv_file, "--csv", (".csv",)) if csv_file is not None else None
    plot = (
        check_output_path(plot_file, "--plot", PLOT_SUFFIXES, is_ours=is_plot)
        if plot_file is not None
        else None
    )
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
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
        for setting in evaluate_settings(opened, plan, options, settings=settings):
            if as_json:
                show_json(evaluation_json(setting, opened.label, k))
            else:
                show(*evaluation_lines(setting, options))
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


def _write_csv(file: Path, evaluations: Sequence[Evaluation]) -> None:
    """Writes one row per query; the file appears once it is complete."""
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
