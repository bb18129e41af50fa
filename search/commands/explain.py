"""The `search explain` command."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from lookalike.backbones import BACKBONES
from lookalike.console import StderrReporter, Verbose, one_line
from lookalike.errors import PictureError, SkipReason, UsageError
from lookalike.manifest import Distance
from lookalike.options import JsonOption, MaxPixelsOption, RequireGpuOption, StoreOption, store_in_use
from lookalike.pictures.decoding import MAX_PIXELS
from lookalike.pictures.files import opened, read_piped
from lookalike.settings import Settings
from lookalike.stores.protocol import Store
from search.choice import choose_collection, file_of
from search.explained import Explained, SeenPicture, explanation_by, require_average, see
from search.explanation import FloatMatrix, focus, strongest_pairs
from search.pages.page import page_path
from search.query import STDIN

BOTH = "both"
PAIRS = 5


def explain(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="A picture: a file, -, or an indexed one's path or id.")
    ],
    neighbour: Annotated[str, typer.Argument(metavar="NEIGHBOUR", help="Another, named in the same ways.")],
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="NAME", help="Whose network is asked.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="BACKBONE", help="resnet, vgg or both.")
    ] = None,
    distance: Annotated[Distance | None, typer.Option("--distance", help="cosine or euclid.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Draw it over both pictures, as a page.")
    ] = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Show where in two pictures their similarity comes from: what each cell adds to it."""
    page = page_path(html) if html is not None else None
    if query == neighbour == STDIN:
        raise UsageError("standard input can be read once; name a file for one of the pictures")
    settings, reporter = Settings.from_environment().requiring_gpu(require_gpu), StderrReporter()
    with store_in_use(store, settings, reporter) as source:
        names = _collections(source, settings, reporter, collection, backbone, distance)
        for name in names:
            require_average(name, source.manifest(name))
        pictures = [_picture(word, names, source, max_pixels) for word in (query, neighbour)]
        explained = []
        for name in names:
            found = explanation_by(name, *pictures, store=source, settings=settings, reporter=reporter)
            reporter.say(f"collection: {name}, its network on {found.provider}")
            explained.append(found)
            typer.echo(json.dumps(_json(found, pictures, source)) if as_json else _text(found, pictures))
    if page is not None:
        from search.pages.explained import write_explanations

        write_explanations(page, pictures, explained)
        reporter.say(f"wrote {page}")


def _collections(
    store: Store,
    settings: Settings,
    reporter: StderrReporter,
    name: str | None,
    backbone: str | None,
    distance: Distance | None,
) -> list[str]:
    wanted: Sequence[str | None] = [backbone]
    if backbone is not None and backbone.lower() == BOTH:
        wanted = [record.name for record in BACKBONES]
    return [
        choose_collection(
            store, settings=settings, reporter=reporter, name=name, backbone=each, distance=distance
        )
        for each in wanted
    ]


def _picture(word: str, collections: Sequence[str], store: Store, max_pixels: int) -> SeenPicture:
    with ExitStack() as stack:
        stream = _stream(word, collections, store, stack)
        return see(stream, word, max_pixels=max_pixels)


def _stream(word: str, collections: Sequence[str], store: Store, stack: ExitStack) -> BinaryIO:
    """A file, standard input, or an indexed picture's file, which is looked for where there is no other."""
    if word == STDIN:
        return read_piped(sys.stdin.buffer)
    path = Path(word).expanduser()
    if not path.exists():
        path = _indexed_file(word, collections, store)
    return stack.enter_context(opened(path))


def _indexed_file(word: str, collections: Sequence[str], store: Store) -> Path:
    for name in collections:
        with store.open(name) as source:
            for payload in source.scan():
                if word in (payload.id, payload.path):
                    file = file_of(source.manifest, payload.dataset, payload.path)
                    if file is not None:
                        return file
    there = " or ".join(collections)
    raise PictureError(
        f"{word} is no file, nor the path or id of a picture in {there}", reason=SkipReason.VANISHED
    )


def _text(explained: Explained, pictures: Sequence[SeenPicture]) -> str:
    explanation, layer = explained.explanation, explained.manifest.identity.layer
    rows, columns = explanation.query.shape
    names = [one_line(picture.name) for picture in pictures]
    lines = [
        f"{names[0]} and {names[1]} in {explained.collection}",
        f"cosine similarity {explanation.cosine:.4f}, a sum over {rows} x {columns} cells of {layer}",
    ]
    if explained.manifest.distance is Distance.EUCLID:
        lines.append("(the collection compares by distance; what is taken apart is the cosine similarity)")
    for name, shares in zip(names, (explanation.query, explanation.neighbour), strict=True):
        lines += ["", *_share_lines(name, shares, explanation.cosine)]
    lines += ["", "pairs of cells that add most (row, column):"]
    for pair in strongest_pairs(explanation, PAIRS):
        lines.append(f"{_cell(pair.query)} and {_cell(pair.neighbour)}: {pair.part:.4f}")
    return "\n".join([*lines, ""])


def _share_lines(name: str, shares: FloatMatrix, cosine: float) -> Iterator[str]:
    found = focus(shares)
    yield (
        f"{name}: {found.share:.0%} comes from the {found.place}, a ninth of it (11% if spread evenly); "
        f"half comes from {found.half} of {found.cells} cells"
    )
    unit, scale = ("per cent of the similarity", 100 / cosine) if cosine > 0 else ("hundredths", 100)
    yield f"each cell's share, in {unit}:"
    for row in shares * scale:
        yield " ".join(f"{value:5.1f}" for value in row)


def _cell(cell: tuple[int, int]) -> str:
    return f"({cell[0] + 1}, {cell[1] + 1})"


def _json(explained: Explained, pictures: Sequence[SeenPicture], store: Store) -> dict[str, Any]:
    explanation, manifest = explained.explanation, explained.manifest
    return {
        "schema": 1,
        "query": pictures[0].name,
        "neighbour": pictures[1].name,
        "collection": explained.collection,
        "backbone": manifest.identity.backbone,
        "layer": manifest.identity.layer,
        "pooling": manifest.identity.pooling,
        "distance": manifest.distance,
        "provider": explained.provider,
        "store": store.label,
        "cosine": explanation.cosine,
        "query_shares": explanation.query.tolist(),
        "neighbour_shares": explanation.neighbour.tolist(),
        "pairs": [
            {"query": pair.query, "neighbour": pair.neighbour, "part": pair.part}
            for pair in strongest_pairs(explanation, PAIRS)
        ],
    }
