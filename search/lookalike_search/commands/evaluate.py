"""The `search evaluate` command."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import atomic_path
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import (
    HtmlOption,
    JsonOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    seed_option,
    store_in_use,
)
from lookalike_core.errors import UsageError
from lookalike_core.neighbours.near_duplicates import NEAR_ABOVE
from lookalike_core.neighbours.rank_fusion import FusionRule
from lookalike_core.neighbours.vote import VoteRule
from lookalike_core.outputs import PAGE_SUFFIXES, check_apart, check_output_path, is_table_of
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import PointFilter

from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.evaluation_format import evaluation_json, evaluation_lines
from lookalike_search.commands.number_lists import parse_numbers, parse_whole_numbers
from lookalike_search.commands.search_options import (
    MAX_VOTERS,
    AllOption,
    BackbonesOption,
    CollectionsOption,
    DatasetOption,
    DistanceOption,
    HeadOption,
    NearAboveOption,
)
from lookalike_search.evaluation.image_noise import MAX_NOISE
from lookalike_search.evaluation.leave_one_out import SHOWN
from lookalike_search.evaluation.plan import plan_evaluation
from lookalike_search.evaluation.runs import EvaluationOptions, Setting, evaluate_settings
from lookalike_search.evaluation.summary import FIGURES, Evaluation
from lookalike_search.evaluation.vote_study import SAMPLE, StudiedRule, StudyPart, plan_study
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
    queries: Annotated[
        int | None,
        typer.Option(
            "--queries",
            min=2,
            metavar="N",
            help="Only a random sample of N images are queries, among all; for large collections.",
        ),
    ] = None,
    k: Annotated[
        str,
        typer.Option(
            "--k",
            metavar="N[,N...]",
            help="Number of neighbours that vote on a class, 1 to 1,000; several, as 1,5,10, are compared.",
        ),
    ] = str(SHOWN),
    noise: Annotated[
        str | None,
        typer.Option(
            "--noise",
            metavar="LEVEL[,LEVEL...]",
            help="Standard deviations, 0 to 255, of Gaussian noise on a sample of the queries' pixels.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, metavar="N", help=f"Number of images with noise; default: {SAMPLE}."),
    ] = None,
    near_above: NearAboveOption = NEAR_ABOVE,
    without_near: Annotated[
        bool, typer.Option("--without-near", help="Leave near-duplicates of the query out.")
    ] = False,
    seed: Annotated[int, seed_option("of intervals, tests, samples and noise")] = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the figures of each query to FILE.")
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            help="Draw the figures, or what --k and --noise compare, to FILE: .png, .svg or .pdf.",
        ),
    ] = None,
    html: HtmlOption = None,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Measure how good the neighbours are, with intervals.

    Every image is a query, and its class the truth.
    """
    given = {"--sample": sample, "--provider": provider, "--threads": threads, "--require-gpu": require_gpu}
    _refuse_without_noise(noise, [name for name, value in given.items() if value])
    voters, study = plan_study(
        parse_whole_numbers(k, "--k", least=1, most=MAX_VOTERS),
        [] if noise is None else parse_numbers(noise, "--noise", least=0, most=MAX_NOISE),
        sample or SAMPLE,
    )
    table = (
        check_output_path(csv_file, "--csv", (".csv",), is_ours=is_table_of(_COLUMNS, and_more=True))
        if csv_file is not None
        else None
    )
    plot = (
        check_output_path(plot_file, "--plot", PLOT_SUFFIXES, is_ours=is_plot)
        if plot_file is not None
        else None
    )
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    check_apart({"--csv": table, "--plot": plot, "--html": page})
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    options = EvaluationOptions(
        where=PointFilter(dataset=dataset),
        queries=queries,
        k=voters,
        near_above=near_above,
        without_near=without_near,
        seed=seed,
        indexed=indexed,
        study=study,
    )
    selector = CollectionSelector(
        names=collection or (), backbone=backbone, distance=distance, head=head, all=every
    )
    done: list[Setting] = []
    with store_in_use(store, settings) as opened:
        plan = plan_evaluation(selector, fusion or (), store=opened, settings=settings)
        for setting in evaluate_settings(opened, plan, options, settings=settings):
            if as_json:
                show_json(evaluation_json(setting, opened.label, voters))
            else:
                show(*evaluation_lines(setting, options))
            done.append(setting)
        manifests = [opened.manifest(each.evaluation.collections[0]) for each in done] if page else []
    if table is not None:
        _write_csv(table, [each.evaluation for each in done])
    if plot is not None:
        _write_plot(plot, [each.evaluation for each in done], seed)
    if page is not None:
        _write_page(page, done, manifests, voters)


def _write_plot(path: Path, evaluations: Sequence[Evaluation], seed: int) -> None:
    """Draws the studies of votes where there are some, and otherwise the figures."""
    if not any(evaluation.vote_study for evaluation in evaluations):
        write_plot(path, evaluations, seed=seed)
        return
    from lookalike_search.reports.vote_plots import write_vote_plot

    write_vote_plot(path, evaluations)


def _refuse_without_noise(noise: str | None, options: Sequence[str]) -> None:
    """Refuses options about embedding the sample, since images are embedded for noise alone."""
    if noise is None and options:
        raise UsageError(f"{options[0]} is for images with noise; add --noise, or leave it out")


def _write_page(path: Path, done: Sequence[Setting], manifests: Sequence[CollectionManifest], k: int) -> None:
    from lookalike_search.reports.evaluation import evaluation_page

    evaluation_page(done, manifests, k=k).write(path)


_RULES = tuple(f"verdict_{rule.replace('-', '_')}" for rule in VoteRule)
_COLUMNS = (
    *("collection", "dataset", "path", "class", *FIGURES, "near_identical", *_RULES),
    "others_of_class",
)
"""The columns of each table; those of a study are behind them."""


def _write_csv(file: Path, evaluations: Sequence[Evaluation]) -> None:
    """Writes one row per query; the file appears once it is complete.

    A study adds a column for each of its votes, which is empty for queries that are not in the sample.
    """
    studied = _studied_columns(evaluations)
    with atomic_path(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow([*_COLUMNS, *studied])
        for evaluation in evaluations:
            names = evaluation.images.vectors.names
            votes = _studied_verdicts(evaluation)
            for row in evaluation.results.queries.tolist():
                payload = evaluation.images.payloads[row]
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
                        *(votes.get((column, row), "") for column in studied),
                    ]
                )


def _studied_columns(evaluations: Sequence[Evaluation]) -> list[str]:
    """Returns the columns of all studied votes, each once."""
    studies = [evaluation.vote_study for evaluation in evaluations if evaluation.vote_study]
    return list(
        dict.fromkeys(
            _studied_column(rule, k, part)
            for study in studies
            for part in study.parts
            for k in study.ks
            for rule in StudiedRule
        )
    )


def _studied_verdicts(evaluation: Evaluation) -> dict[tuple[str, int], str]:
    """Returns the verdicts of studied votes by column and row."""
    names = evaluation.images.vectors.names
    return {
        (_studied_column(rule, k, part), row): names[verdict]
        for part in (evaluation.vote_study.parts if evaluation.vote_study else ())
        for k, votes in part.votes.items()
        for rule, won in votes.verdicts.items()
        for row, verdict in zip(part.rows.tolist(), won.tolist(), strict=True)
        if verdict >= 0
    }


def _studied_column(rule: StudiedRule, k: int, part: StudyPart) -> str:
    noise = "" if part.noise is None else f"_noise_{part.noise:g}"
    return f"verdict_{rule.replace('-', '_')}_of_{k}{noise}"
