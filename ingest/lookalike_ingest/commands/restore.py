"""`ingest restore`: restore a collection from its backup, or only check the backup."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import parse_path
from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, store_in_use
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_core.settings import Settings
from lookalike_core.text import format_count

from lookalike_ingest.backup import BackupReport, check_backup
from lookalike_ingest.backup import restore as restore_backup
from lookalike_ingest.commands.json_records import backup_json


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that ingest backup wrote.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only compare the file's content with the SHA-256 in it.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Restore a collection from its backup."""
    path = parse_path(str(file), "FILE")
    if check:
        if store is not None:
            raise UsageError("--check reads only the file; leave the store out", argument=Argument.STORE)
        report = check_backup(path)
    else:
        settings = Settings.from_environment()
        with store_in_use(store, settings) as opened:
            report = restore_backup(path, store=opened, settings=settings)
    if as_json:
        show_json(backup_json(report))
    else:
        show(_text(report))


def _text(report: BackupReport) -> str:
    head = f" and the head {report.head}" if report.head is not None else ""
    points = format_count(report.points, "point")
    if report.store is None:
        return (
            f"{report.path}: sound, {points} of {report.name}{head}, of {report.created_at}, for "
            f"{'an embedded store' if report.kind == 'embedded' else 'a server'}"
        )
    return f"{report.name}: {points}{head} restored to {report.store} in {report.took_s:.1f} s"
