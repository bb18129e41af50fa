"""The `search export` command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption
from lookalike_core.stores.point_filters import make_filter
from lookalike_core.text import format_count

from lookalike_search.analysis.export import ExportFormat, ExportReport, check_export, export_collection
from lookalike_search.commands.search_options import (
    BackboneOption,
    ClassesOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    FoldersOption,
    MinWidthOption,
    NotClassesOption,
    SinceOption,
    UntilOption,
    open_chosen_collection,
)

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records


def export(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Write to FILE: .parquet (everything), .npy (vectors, and a .csv beside it), or .csv "
            "(everything but vectors).",
        ),
    ],
    thumbnails: Annotated[
        bool,
        typer.Option("--thumbnails", help="With .parquet: a column of thumbnails, read from the files."),
    ] = False,
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    classes: ClassesOption = None,
    not_classes: NotClassesOption = None,
    dataset: DatasetOption = None,
    folders: FoldersOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    min_width: MinWidthOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Write images, classes and vectors to a file.

    As Parquet, NumPy or CSV, by the suffix.
    """
    target = check_export(output, thumbnails=thumbnails)
    where = make_filter(
        classes=classes or (),
        not_classes=not_classes or (),
        dataset=dataset,
        folders=folders or (),
        since=since,
        until=until,
        min_width=min_width,
    )
    chosen = open_chosen_collection(store, name=collection, backbone=backbone, distance=distance)
    with chosen as (holder, source):
        report, label = export_collection(source, target, where=where), holder.label
    _warn(report)
    if as_json:
        show_json(_json(report, label))
    else:
        show(_line(report))


def _warn(report: ExportReport) -> None:
    if report.without_thumbnail:
        images = format_count(report.without_thumbnail, "image")
        say(f"warning: {images} without a thumbnail, since the file is gone, unreadable or has changed")
    if report.formula_names:
        images = format_count(report.formula_names, "image")
        say(
            f"warning: {images} with a name that begins with =, +, - or @, which spreadsheets take for a "
            "formula; import the columns as text there"
        )


def _line(report: ExportReport) -> str:
    images = format_count(report.images, "image")
    vectors = (
        ""
        if report.file.suffix.lower() == ExportFormat.CSV
        else f" with vectors of {report.dimension} values"
    )
    files = f"{report.file}" + (f" and {report.table}" if report.table else "")
    return (
        f"{report.collection}: wrote {images}{vectors} to {files} "
        f"({_size(report.bytes)}) in {report.took_s:.1f} s"
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= _MB_FROM else f"{count / 1e3:.0f} kB"


_MB_FROM = 100_000


def _json(report: ExportReport, store: str) -> "records.Export":
    return {
        "schema": 1,
        "collection": report.collection,
        "store": store,
        "output": report.file,
        "table": report.table,
        "images": report.images,
        "dimension": report.dimension,
        "without_thumbnail": report.without_thumbnail,
        "bytes": report.bytes,
        "took_ms": round(report.took_s * 1000),
    }
