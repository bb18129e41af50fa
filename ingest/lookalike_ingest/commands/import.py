"""`ingest import`: import a collection that `search export` wrote."""

from typing import Annotated

import typer
from lookalike_core.atomic import parse_path
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, store_in_use
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import choose_layout
from lookalike_core.text import format_count

from lookalike_ingest.commands.ingest_options import ReplicasOption, ShardsOption, WriteConsistencyOption
from lookalike_ingest.commands.interruption import stop_on_interrupt
from lookalike_ingest.commands.json_records import Import
from lookalike_ingest.commands.notices import say_dropped_calibration
from lookalike_ingest.table_import import ImportReport, import_table


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Parquet file that search export wrote.")],
    new_root: Annotated[
        bool,
        typer.Option("--new-root", help="If a dataset has another folder in the collection, use the file's."),
    ] = False,
    as_name: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="The collection to import into; default: that of the file."
        ),
    ] = None,
    shards: ShardsOption = None,
    replicas: ReplicasOption = None,
    write_consistency: WriteConsistencyOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Import a collection from a Parquet file.

    Nothing is embedded.
    """
    path = parse_path(file, "FILE")
    layout = choose_layout(shards=shards, replicas=replicas, write_consistency=write_consistency)
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened, stop_on_interrupt() as stop:
        report = import_table(
            path,
            store=opened,
            settings=settings,
            stop=stop,
            into=as_name,
            new_root=new_root,
            layout=layout,
        )
    say_dropped_calibration(report.collection, report.calibration_dropped)
    if report.missing_head is not None:
        say(
            f"warning: queries by new images need the head of {report.collection}; copy its file "
            f"{report.missing_head.name} from where it was fitted to {report.missing_head}"
        )
    if as_json:
        show_json(_json(report))
    else:
        show(_line(report))


def _line(report: ImportReport) -> str:
    points = format_count(report.points, "image")
    return (
        f"{report.collection}: {report.added} added, {report.replaced} replaced from {report.file}, "
        f"{points} now, in {report.took_s:.1f} s"
    )


def _json(report: ImportReport) -> Import:
    return {
        "schema": 1,
        "collection": report.collection,
        "store": report.store,
        "file": report.file,
        "added": report.added,
        "replaced": report.replaced,
        "points": report.points,
        "datasets": report.datasets,
        "calibration_imported": report.calibration_imported,
        "missing_head": report.missing_head,
        "took_ms": round(report.took_s * 1000),
    }
