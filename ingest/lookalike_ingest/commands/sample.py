"""`ingest sample`: draw a small labelled set of images."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.atomic import parse_path
from lookalike_core.cli.console import Verbose, show


def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to draw in; made if missing.")],
    query: Annotated[
        Path | None,
        typer.Option("--query", help="Also draw a query image that is not in the set, to this file."),
    ] = None,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Draw a small labelled set of images for a first try."""
    from lookalike_ingest.sample_images import CLASSES, check_query, draw_query, draw_sample

    folder = parse_path(str(folder), "DIR")
    if query is not None:
        query = parse_path(str(query), "--query")
        check_query(query, CLASSES[0], sample=folder)
    drawn = draw_sample(folder)
    show(f"drew {drawn.images} images of {len(drawn.classes)} classes in {drawn.directory}")
    if query is not None:
        draw_query(query, CLASSES[0])
        show(f"drew {query}, an image of class {CLASSES[0]} that is not in the set")
