"""`exporter fit`: fit a new last layer to the classes of a collection."""

from typing import Annotated

import typer
from lookalike_core.cli.console import (
    Verbose,
    show,
    show_json,
)
from lookalike_core.cli.options import (
    JsonOption,
    StoreOption,
    seed_option,
    store_in_use,
)
from lookalike_core.settings import Settings

from lookalike_exporter.heads.fit import FitReport, FitRequest, fit_head


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
    seed: Annotated[int, seed_option("of the held-out images")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing head of this name.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Fit a new last layer, a head, to the classes of a collection."""
    request = FitRequest(
        collections=collection,
        name=name,
        classes=class_name or (),
        dims=dims,
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
    parts, method = record["split"], record["method"]
    strength = "" if method["strength"] is None else f" {method['strength']:g}"
    count = len(record["candidates"])
    lines = [
        f"{head.key}: {len(head.classes)} classes, {parts['training']} images",
        f"method: {method['method']}{strength}, pull {method['pull']:g}, the best of {count} candidates",
    ]
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
    return [*lines, f"{report.path}{there}", f"{report.model}", f"next: ingest run DIR --head {head.name}"]


_FIT_FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}
