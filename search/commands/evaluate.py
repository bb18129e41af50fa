"""The `search evaluate` command."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lookalike.console import StderrReporter, Verbose, one_line
from lookalike.errors import UsageError
from lookalike.files import atomic_path
from lookalike.manifest import Distance
from lookalike.options import JsonOption, StoreOption, store_in_use
from lookalike.settings import Settings
from lookalike.stores.points import PointFilter
from lookalike.stores.protocol import Store
from search.choice import choose_collection, fitting_collections
from search.commands.reliability import reliability_json, reliability_lines
from search.quality.evaluation import DEPTH, NEAR_ABOVE, Estimate, leave_one_out
from search.quality.labelled import load_labelled
from search.quality.summary import ClassFigures, Comparison, Evaluation, compared, summed_up
from search.quality.vote import VoteRule

FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_5": "precision@5",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
    "at_least_5_of_10": "queries with at least 5 of 10",
}
COMPARED = ("precision_at_1", "precision_at_10", "mean_average_precision")


def evaluate(
    collection: Annotated[
        list[str] | None, typer.Option("--collection", metavar="NAME", help="May be repeated, to compare.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="BACKBONE", help="resnet or vgg.")
    ] = None,
    distance: Annotated[Distance | None, typer.Option("--distance", help="cosine or euclid.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every collection that fits, compared.")] = False,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only pictures of this dataset.")
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, max=1_000, metavar="N", help="How many vote.")] = DEPTH,
    near_above: Annotated[
        float,
        typer.Option(
            "--near-above",
            min=0,
            max=1,
            metavar="SIMILARITY",
            help="From which cosine similarity on pictures count as near-identical.",
        ),
    ] = NEAR_ABOVE,
    without_near: Annotated[
        bool, typer.Option("--without-near", help="Leave near-identical pictures out.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the bootstrap.")] = 0,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a table of the queries here.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Measure how good the neighbours are: every picture asks, and the classes tell."""
    if csv_file is not None and csv_file.is_dir():
        raise UsageError(f"--csv: {csv_file} is a folder; name the file to write in it")
    settings, reporter = Settings.from_environment(), StderrReporter()
    where = PointFilter(dataset=dataset)
    done: list[Evaluation] = []
    with store_in_use(store, settings, reporter) as opened:
        names = collections_meant(
            opened, settings, reporter, collection or [], backbone, distance, every=every
        )
        for name in names:
            with opened.open(name) as source:
                pictures = load_labelled(source, where)
            with reporter.bar(name, unit="images", total=len(pictures.payloads)) as bar:
                results = leave_one_out(
                    pictures.vectors,
                    k=k,
                    near_above=near_above,
                    without_near=without_near,
                    on_done=bar.advance,
                )
            evaluation = summed_up(name, pictures, results, seed=seed)
            differences = list(_differences(done, evaluation, seed))
            done.append(evaluation)
            if as_json:
                typer.echo(json.dumps(_json(evaluation, differences, opened.label, k)))
            else:
                typer.echo(_text(evaluation, differences, k=k, near_above=near_above, without=without_near))
    if csv_file is not None:
        _write_csv(csv_file, done)


def collections_meant(
    store: Store,
    settings: Settings,
    reporter: StderrReporter,
    named: Sequence[str],
    backbone: str | None,
    distance: Distance | None,
    *,
    every: bool,
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
            store, settings=settings, reporter=reporter, name=name, backbone=backbone, distance=distance
        )
        for name in dict.fromkeys(named) or [None]
    ]


def _differences(before: Sequence[Evaluation], evaluation: Evaluation, seed: int) -> Iterator[Comparison]:
    for other in before:
        for figure in COMPARED:
            comparison = compared(other, evaluation, figure, seed=seed)
            if comparison is not None:
                yield comparison


def _text(
    evaluation: Evaluation,
    differences: Sequence[Comparison],
    *,
    k: int,
    near_above: float,
    without: bool,
) -> str:
    pictures, near = evaluation.pictures, "left out" if without else "counted as any other"
    count, classes = len(pictures.payloads), len(pictures.vectors.names)
    lines = [
        f"{evaluation.collection}: {count} pictures of {classes} classes, each asked for the others",
        f"left out: copies of the query's bytes, and {pictures.unlabelled} pictures without a class",
        f"near-identical (similarity over {near_above:g}) for {evaluation.near_identical} queries; {near}",
        "",
        f"{'':30}   value   95 % interval",
        *(_row(title, evaluation.figures[key]) for key, title in FIGURES.items()),
        "",
        f"{f'verdict of {k} neighbours':30}   right   95 % interval",
        *(_row(rule, evaluation.accuracy[rule]) for rule in VoteRule),
        "",
        *reliability_lines(evaluation.reliability),
        "",
        *_class_lines(evaluation.classes),
    ]
    if differences:
        lines += ["", *(_difference_line(comparison) for comparison in differences)]
    return "\n".join([*lines, ""])


def _row(title: str, estimate: Estimate) -> str:
    return f"{title:30}  {estimate.value:.4f}   {estimate.low:.4f} - {estimate.high:.4f}"


def _class_lines(classes: Sequence[ClassFigures]) -> Iterator[str]:
    """The worst class first."""
    width = max(len("class"), *(len(one_line(each.name)) for each in classes))
    yield f"{'class':{width}}  pictures  precision@10   95 % interval   most wrong neighbours"
    for each in sorted(classes, key=lambda each: each.figures["precision_at_10"].value):
        found = each.figures["precision_at_10"]
        wrong = f"{one_line(each.mistaken_for)} {each.mistaken_share:.1%}" if each.mistaken_for else "-"
        yield (
            f"{one_line(each.name):{width}}  {each.pictures:8}  {found.value:12.4f}   "
            f"{found.low:.4f} - {found.high:.4f}   {wrong}"
        )


def _difference_line(comparison: Comparison) -> str:
    gain = comparison.difference
    verdict = ("higher" if gain.value > 0 else "lower") if comparison.is_certain else "no certain difference"
    return (
        f"{FIGURES[comparison.figure]} against {comparison.one}: {gain.value:+.4f} "
        f"({gain.low:+.4f} to {gain.high:+.4f}): {verdict}"
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
        "classes": [
            {
                "class": each.name,
                "pictures": each.pictures,
                **{key: _estimate_json(each.figures[key]) for key in FIGURES},
            }
            for each in evaluation.classes
        ],
        "confusion": {"classes": list(names), "neighbours": evaluation.confusion.tolist()},
        "differences": [
            {
                "to": each.one,
                "figure": each.figure,
                **_estimate_json(each.difference),
                "certain": each.is_certain,
            }
            for each in differences
        ],
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
