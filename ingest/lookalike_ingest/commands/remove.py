"""`ingest remove`: remove images from the collections; the files stay."""

import sys
from collections.abc import Sequence
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
from lookalike_core.text import format_count

from lookalike_ingest.commands.json_records import Removal
from lookalike_ingest.commands.notices import SHOWN, say_dropped_calibration
from lookalike_ingest.removal import (
    Holding,
    Holdings,
    Selection,
    find_holdings,
    remove_images,
    require_removable,
)


def remove(
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            metavar="NAME",
            help="Only images of this dataset; if given alone, all of them and its name.",
        ),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="PATH",
            help="Only this image, or those below this folder: a path in the dataset, or that of a file. "
            "* matches any characters. May be repeated.",
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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Remove images from collections; files stay.

    The images of a dataset, or chosen by path or class: those that match all of --dataset, --path and --class
    that are given.
    """
    selection = Selection(dataset=dataset, paths=path or (), classes=class_name or ())
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        meant = find_holdings(selection, store=opened, among=collection or ())
        require_removable(store=opened, among=meant.found)
        _say_what_goes(selection, meant)
        if not yes:
            _confirm("remove them?")
        removed = list(remove_images(store=opened, among=meant.found))
        for holding in removed:
            say_dropped_calibration(holding.collection, holding.calibration_dropped)
        if as_json:
            show_json(_json(selection, removed, opened.label))
            return
        for holding in removed:
            show(f"removed {format_count(holding.points, 'point')} {selection} from {holding.collection}")


def _json(selection: Selection, removed: Sequence[Holding], store: str) -> Removal:
    return {
        "schema": 1,
        "dataset": selection.dataset,
        "paths": selection.paths,
        "classes": selection.classes,
        "store": store,
        "collections": [{"name": holding.collection, "removed": holding.points} for holding in removed],
    }


def _say_what_goes(selection: Selection, meant: Holdings) -> None:
    """Prints how many images will be removed, the first of them, and paths and classes without a match."""
    for each in meant.unmatched:
        say(f"warning: {each} matches no image here")
    for holding in meant.found:
        say(f"{holding.collection} holds {format_count(holding.points, 'point')} {selection}")
    images = {(image.dataset, image.path) for holding in meant.found for image in holding.images}
    _say_some([f"dataset {dataset}: {path!r}" for dataset, path in sorted(images)])


def _say_some(lines: Sequence[str]) -> None:
    for line in lines[:SHOWN]:
        say(f"  {line}")
    if len(lines) > SHOWN:
        say(f"  and {format_count(len(lines) - SHOWN, 'image')} more")


def _confirm(question: str) -> None:
    """Asks for confirmation on the terminal.

    Raises:
        UsageError: stdin is not a terminal.
        LookalikeError: the answer is no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("stdin is not a terminal; pass --yes to confirm")
    if not confirm(question):
        raise LookalikeError("nothing was changed")
