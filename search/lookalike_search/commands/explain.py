"""The `search explain` command."""

from collections.abc import Iterator
from typing import Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import (
    HtmlOption,
    JsonOption,
    MaxPixelsOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    ThreadsOption,
    store_in_use,
)
from lookalike_core.images.decoding import MAX_PIXELS
from lookalike_core.images.region import Region
from lookalike_core.outputs import PAGE_SUFFIXES, check_output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance

from lookalike_search.analysis.attribution import FloatMatrix, find_focus, strongest_pairs
from lookalike_search.analysis.explanation import Explained, SeenImage, explain_pair, load_pair
from lookalike_search.analysis.explanation_json import PAIRS, explanation_json
from lookalike_search.collection_choice import CollectionSelector
from lookalike_search.commands.search_options import (
    BackbonesOption,
    CollectionOption,
    DistanceOption,
    RegionOption,
)
from lookalike_search.commands.standard_input import query_of, require_one_stdin


def explain(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help="An image file, - for stdin, or an indexed path or id.")
    ],
    neighbour: Annotated[str, typer.Argument(metavar="NEIGHBOUR", help="Another image, given likewise.")],
    collection: CollectionOption = None,
    backbone: BackbonesOption = None,
    distance: DistanceOption = None,
    html: HtmlOption = None,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
    region: RegionOption = None,
) -> None:
    """Show where a similarity comes from.

    For two images, cell by cell.
    """
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    require_one_stdin([query, neighbour], "name a file for one of the images")
    part = Region.parse(region) if region is not None else None
    settings = Settings.from_environment().with_provider(provider, require_gpu=require_gpu, threads=threads)
    selector = CollectionSelector(names=collection or (), backbone=backbone, distance=distance)
    with store_in_use(store, settings) as source:
        names = selector.resolve(source, settings=settings)
        pair = load_pair(
            query_of(query), query_of(neighbour), names, store=source, max_pixels=max_pixels, region=part
        )
        label = source.label
    explained = []
    for found in explain_pair(pair, settings=settings):
        explained.append(found)
        if as_json:
            show_json(explanation_json(found, pair.query, pair.neighbour, label))
        else:
            show(*_lines(found, pair.query, pair.neighbour))
    if page is not None:
        from lookalike_search.reports.explanation import explanations_page

        explanations_page((pair.query, pair.neighbour), explained).write(page)
        say(f"wrote {page}")


def _lines(explained: Explained, query: SeenImage, neighbour: SeenImage) -> Iterator[str]:
    explanation, layer = explained.explanation, explained.manifest.identity.layer
    rows, columns = explanation.query.shape
    yield f"{query.title} and {neighbour.name} in {explained.collection}"
    yield f"cosine similarity {explanation.cosine:.4f}, a sum over {rows} x {columns} cells of {layer}"
    if explained.manifest.distance is Distance.EUCLID:
        yield (
            f"(the collection compares by Euclidean distance, here {explained.score:.4f}; "
            "what is explained is the cosine similarity)"
        )
    yield from _arithmetic_lines(explained)
    for seen, shares in ((query, explanation.query), (neighbour, explanation.neighbour)):
        yield ""
        yield from _share_lines(seen.title, shares, explanation.cosine)
    yield ""
    yield "pairs of cells that add most (row, column):"
    for pair in strongest_pairs(explanation, PAIRS):
        yield f"{_cell(pair.query)} and {_cell(pair.neighbour)}: {pair.part:.4f}"
    yield ""


def _arithmetic_lines(explained: Explained) -> Iterator[str]:
    """Yields lines that say where vectors and cells come from, and how well the two agree."""
    query, neighbour = ("stored" if each.is_stored else "computed here" for each in explained.compared)
    filled = explained.manifest.provider or "an unrecorded provider"
    yield f"vectors: the query's {query}, the neighbour's {neighbour}; the collection was filled on {filled}"
    yield (
        f"cells: computed here on {explained.provider}; they agree with the vectors to a cosine of "
        f"{explained.agreement:.6f}, and the difference is spread evenly"
    )


def _share_lines(name: str, shares: FloatMatrix, cosine: float) -> Iterator[str]:
    found = find_focus(shares)
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
