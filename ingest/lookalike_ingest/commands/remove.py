"""`ingest remove`: take a dataset out of its collections."""

import sys
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, confirm, say, show, show_json
from lookalike_core.cli.options import (
    JsonOption,
    StoreOption,
    store_in_use,
)
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_core.settings import Settings

from lookalike_ingest.commands.notices import say_dropped_calibration
from lookalike_ingest.removal import holdings, remove_dataset


def remove(
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="NAME", help="Whose points go; the pictures stay.")
    ],
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", help="Only from this one; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Take a dataset out of the collections that hold it."""
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        found = holdings(dataset, store=opened, among=collection or ())
        for holding in found:
            say(f"{holding.collection} holds {holding.points} points of {dataset}")
        if not yes:
            _confirm("remove them?")
        removed = list(remove_dataset(dataset, store=opened, among=found))
        for holding in removed:
            say_dropped_calibration(holding.collection, holding.calibration_dropped)
        if as_json:
            listing = [{"name": holding.collection, "removed": holding.points} for holding in removed]
            answer = {"schema": 1, "dataset": dataset, "store": opened.label, "collections": listing}
            show_json(answer)
            return
        for holding in removed:
            show(f"removed {holding.points} points of {dataset} from {holding.collection}")


def _confirm(question: str) -> None:
    """Asks on the terminal.

    Raises:
        UsageError: there is no terminal to ask on.
        LookalikeError: the answer is no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; add --yes to go ahead")
    if not confirm(question):
        raise LookalikeError("nothing was changed")
