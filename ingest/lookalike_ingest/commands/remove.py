"""`ingest remove`: take images out of the collections; the files stay."""

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
from lookalike_ingest.removal import Selection, holdings, remove_images


def remove(
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="NAME", help="Only images of this dataset; alone: all of them."),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="PATH",
            help="Only this image, or those below this folder; * is any characters. May be repeated.",
        ),
    ] = None,
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="Only images of this class; may be repeated."),
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option("--collection", metavar="NAME", help="Only from this collection; may be repeated."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Take a dataset, or images by path or class, out of the collections; the files stay."""
    selection = Selection(dataset=dataset, paths=path or (), classes=class_name or ())
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        found = holdings(selection, store=opened, among=collection or ())
        for holding in found:
            say(f"{holding.collection} holds {holding.points} points of {selection}")
        if not yes:
            _confirm("remove them?")
        removed = list(remove_images(selection, store=opened, among=found))
        for holding in removed:
            say_dropped_calibration(holding.collection, holding.calibration_dropped)
        if as_json:
            listing = [{"name": holding.collection, "removed": holding.points} for holding in removed]
            show_json(
                {
                    "schema": 1,
                    "dataset": dataset,
                    "paths": list(selection.paths),
                    "classes": list(selection.classes),
                    "store": opened.label,
                    "collections": listing,
                }
            )
            return
        for holding in removed:
            show(f"removed {holding.points} points of {selection} from {holding.collection}")


def _confirm(question: str) -> None:
    """Asks on the terminal.

    Raises:
        UsageError: there is no terminal to ask on.
        LookalikeError: the answer is no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("stdin is not a terminal; pass --yes to confirm")
    if not confirm(question):
        raise LookalikeError("nothing was changed")
