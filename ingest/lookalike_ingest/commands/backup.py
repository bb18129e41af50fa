"""`ingest backup`: back a collection up to one file."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, store_in_use
from lookalike_core.settings import Settings
from lookalike_core.text import format_count

from lookalike_ingest.backup import back_up
from lookalike_ingest.commands.json_records import backup_json


def backup(
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection to back up.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, an uncompressed tar.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Back a collection up to one file."""
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        report = back_up(collection, file, store=opened, settings=settings)
    if as_json:
        show_json(backup_json(report))
        return
    head = f" and the head {report.head}" if report.head is not None else ""
    show(
        f"{report.name}: {format_count(report.points, 'point')}{head} backed up to {report.path}, "
        f"{report.bytes / 2**20:.1f} MB, and checked in {report.took_s:.1f} s"
    )
