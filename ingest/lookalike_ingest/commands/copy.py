"""`ingest copy`: copy collections to another store."""

from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, store_in_use
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import choose_layout
from lookalike_core.stores.collection_names import check_new_name
from lookalike_core.stores.open_store import open_store
from lookalike_core.text import format_count

from lookalike_ingest.commands.ingest_options import ReplicasOption, ShardsOption, WriteConsistencyOption
from lookalike_ingest.commands.json_records import Copy
from lookalike_ingest.copying import CopyReport, copy_collection


def copy(
    collections: Annotated[
        list[str], typer.Argument(metavar="COLLECTION...", help="The collections to copy.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="STORE", help="Where to copy them: embedded, embedded:DIR or a Qdrant URL."
        ),
    ],
    as_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="The name of the copy; default: the same.")
    ] = None,
    shards: ShardsOption = None,
    replicas: ReplicasOption = None,
    write_consistency: WriteConsistencyOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Copy collections to another store.

    Every point is compared.
    """
    if as_name is not None:
        check_new_name(as_name)
        if len(collections) > 1:
            raise UsageError("copies of several collections need several names", argument=Argument.AS)
    if to == "auto":
        raise UsageError("the store to copy to has to be named", hint=Hint(Action.USE, {Argument.TO: None}))
    layout = choose_layout(shards=shards, replicas=replicas, write_consistency=write_consistency)
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        target = open_store(to, settings, argument=Argument.TO)
        try:
            say(f"copying to: {target.label}")
            for name in dict.fromkeys(collections):
                report = copy_collection(name, store=opened, to=target, as_name=as_name, layout=layout)
                if as_json:
                    show_json(_copy_json(report))
                else:
                    show(_copy_text(report))
        finally:
            target.close()


def _copy_text(report: CopyReport) -> str:
    points, named = format_count(report.points, "point"), f"{report.new_name} in {report.new_store}"
    if report.was_whole:
        return f"{named}: the copy exists already; all {points} are the same, nothing was written"
    earlier = report.points - report.written
    resumed = f" ({earlier} by an earlier run)" if earlier > 0 else ""
    return (
        f"{named}: {points} copied{resumed} and compared with {report.name} in {report.store} in "
        f"{report.took_s:.1f} s"
    )


def _copy_json(report: CopyReport) -> Copy:
    return {
        "schema": 1,
        "name": report.name,
        "store": report.store,
        "new_name": report.new_name,
        "new_store": report.new_store,
        "points": report.points,
        "written": report.written,
        "was_whole": report.was_whole,
        "compared_ms": round(report.compared_s * 1000),
        "indexed_ms": round(report.indexed_s * 1000),
        "took_ms": round(report.took_s * 1000),
    }
