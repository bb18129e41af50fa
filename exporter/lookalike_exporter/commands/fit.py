"""`exporter fit`: fit a new last layer to a collection, to its classes or without labels."""

from typing import Annotated

import typer
from lookalike_core.cli.console import (
    Verbose,
    show,
    show_json,
)
from lookalike_core.cli.named_store import advised
from lookalike_core.cli.options import (
    JsonOption,
    StoreOption,
    seed_option,
    store_in_use,
)
from lookalike_core.settings import Settings
from lookalike_core.text import format_count

from lookalike_exporter.heads.fit import FitReport, FitRequest, fit_head
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.heads.layers import Method


def fit(
    collection: Annotated[
        list[str], typer.Option("--collection", metavar="NAME", help="Collection to fit to; may be repeated.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="HEAD", help="Name of the head.")],
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class", metavar="CLASS", help="Fit to this class only; may be repeated. Default: all."
        ),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option(
            "--dims",
            min=1,
            metavar="D",
            help="Dimension of the head's vectors; default: that of the collection's vectors.",
        ),
    ] = None,
    unlabelled: Annotated[
        bool,
        typer.Option("--unlabelled", help="Fit to all images and no classes, by Local Aggregation."),
    ] = False,
    principal: Annotated[
        int | None,
        typer.Option(
            "--principal",
            min=1,
            metavar="D",
            help="Fit no classes: keep the D principal values of the vectors alone.",
        ),
    ] = None,
    seed: Annotated[int, seed_option("of the held-out images")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing head of this name.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Fit a new last layer (head) to a collection.

    The layer learns the collection's classes, or learns without labels.
    """
    request = FitRequest(
        collections=collection,
        name=name,
        classes=class_name or (),
        dims=dims,
        unlabelled=unlabelled,
        principal=principal,
        seed=seed,
        force=force,
    )
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        report = fit_head(request, store=opened, settings=settings)
    if as_json:
        show_json(_fit_json(report))
    else:
        show(*_fit_lines(report))


def _fit_json(report: FitReport) -> dict[str, object]:
    head = report.head
    return {
        "schema": 1,
        "head": head.key,
        "path": report.path,
        "model": report.model,
        "made": report.made,
        "base": head.base.identity,
        "dimension": head.identity.dimension,
        "classes": list(head.classes),
        **head.record,
    }


def _fit_lines(report: FitReport) -> list[str]:
    head, record = report.head, report.head.record
    parts = record["split"]
    of = f"{len(head.classes)} classes" if head.classes else "without labels"
    lines = [f"{head.key}: {of}, {parts['training']} images", f"method: {_method(head)}"]
    before, after = (record["held_out_against_training"][side] for side in ("before", "after"))
    if before and after:
        said = f"{parts['held_out']} more, held out, among these"
        best = after["best_possible"]
        lines.append(f"{said:36}  before   after  best possible")
        lines += [
            f"{title:36}  {before[key]:.4f}  {after[key]:.4f}         {best[key]:.4f}"
            for key, title in _FIT_FIGURES.items()
        ]
    there = "" if report.made else ", which existed already"
    return [
        *lines,
        f"{report.path}{there}",
        f"{report.model}",
        f"next: {advised('ingest run')} DIR --head {head.name}",
    ]


def _method(head: Head) -> str:
    method, candidates = head.record["method"], head.record["candidates"]
    if method["method"] == Method.PRINCIPAL:
        return (
            f"{format_count(len(head.bias), 'principal value')}, "
            f"{head.record['kept_variance']:.1%} of the variance"
        )
    if method["method"] == Method.LOCAL_AGGREGATION:
        found = head.record["aggregation"]
        return (
            f"Local Aggregation, pull {method['pull']:g}, {found['clusterings']} clusterings of "
            f"{found['images']} images into {found['clusters']} clusters"
        )
    strength = "" if method["strength"] is None else f" {method['strength']:g}"
    return f"{method['method']}{strength}, pull {method['pull']:g}, the best of {len(candidates)} candidates"


_FIT_FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}
