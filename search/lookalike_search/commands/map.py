"""The `search map` command."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from lookalike_core.cli.console import Verbose, say, show, show_json
from lookalike_core.cli.options import JsonOption, StoreOption, seed_option
from lookalike_core.errors import UsageError
from lookalike_core.outputs import PAGE_SUFFIXES, check_output_path
from lookalike_core.stores.points import PointFilter

from lookalike_search.analysis.collection_map import MOST, CollectionMap, load_sample, map_collection
from lookalike_search.analysis.projection import NEIGHBOURS, Method
from lookalike_search.commands.search_options import (
    BackboneOption,
    CollectionOption,
    DatasetOption,
    DistanceOption,
    open_chosen_collection,
)

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

LIMIT = 2_000
MOST_SHOWN = 10_000
"""The most images on one page: more hide each other."""


def map_(
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the map to FILE, as a page.")
    ] = None,
    collection: CollectionOption = None,
    backbone: BackboneOption = None,
    distance: DistanceOption = None,
    dataset: DatasetOption = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST, metavar="N", help="At most N images, a random sample.")
    ] = LIMIT,
    seed: Annotated[int, seed_option("of the sample and of the layout", most=2**32 - 1)] = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Draw a collection as a map.

    Similar images are near each other, coloured by class.
    """
    if html is None and not as_json:
        raise UsageError("a map is a page or JSON; pass --html FILE, or --json for the places alone")
    if html is not None and limit > MOST_SHOWN:
        raise UsageError(
            f"a page shows at most {MOST_SHOWN:,} images; lower --limit, or leave out --html for --json alone"
        )
    page = check_output_path(html, "--html", PAGE_SUFFIXES) if html is not None else None
    chosen = open_chosen_collection(store, name=collection, backbone=backbone, distance=distance)
    with chosen as (holder, source):
        sampled = load_sample(source, limit=limit, seed=seed, where=PointFilter(dataset=dataset))
        name, label = source.name, holder.label
    say(f"placing {len(sampled.payloads):,} of {sampled.total:,} images of {name}")
    drawn = map_collection(sampled, seed=seed)
    if page is not None:
        _write_page(drawn, page, seed)
    if as_json:
        show_json(_json(drawn, label, page, seed))
    else:
        show(*_lines(drawn))


def _write_page(drawn: CollectionMap, page: Path, seed: int) -> None:
    from lookalike_search.reports.map import map_page

    rendered, without = map_page(drawn, seed=seed)
    rendered.write(page)
    if without:
        say(f"{without:,} images could not be read and are on the map without a thumbnail")
    say(f"wrote {page}")


def _lines(drawn: CollectionMap) -> Iterator[str]:
    sampled, projection, trust = drawn.sampled, drawn.projection, drawn.trust
    shown = f"{len(sampled.payloads):,} images"
    if len(sampled.payloads) < sampled.total:
        shown += f" of {sampled.total:,}, a random sample stratified by class"
    yield f"{sampled.collection}: {shown}, {_way(drawn)}"
    if projection.kl_divergence is not None:
        yield f"KL divergence {projection.kl_divergence:.4f}"
    if trust is None:
        yield f"too few images to measure how faithful the map is (needs more than {2 * NEIGHBOURS})"
        return
    on = "" if trust.measured == len(sampled.payloads) else f", measured on {trust.measured:,}"
    yield f"trustworthiness {trust.trustworthiness:.4f} (1 is perfect, {NEIGHBOURS} neighbours{on})"
    if trust.on_map is not None and trust.in_space is not None:
        yield (
            f"of the {NEIGHBOURS} nearest, {trust.on_map:.1%} on the map have the same class, "
            f"{trust.in_space:.1%} in the collection"
        )


def _way(drawn: CollectionMap) -> str:
    match drawn.projection.method:
        case Method.TSNE:
            return f"placed by t-SNE (perplexity {drawn.projection.perplexity:g})"
        case Method.PCA:
            return "placed by principal components: too few images for t-SNE"
        case Method.NONE:
            return "all with the same vector: their places mean nothing"


def _json(drawn: CollectionMap, store: str, page: Path | None, seed: int) -> "records.CollectionMap":
    sampled, projection, trust = drawn.sampled, drawn.projection, drawn.trust
    return {
        "schema": 1,
        "collection": sampled.collection,
        "store": store,
        "html": page,
        "pictures": len(sampled.payloads),
        "total": sampled.total,
        "seed": seed,
        "method": projection.method,
        "perplexity": projection.perplexity,
        "kl_divergence": projection.kl_divergence,
        "landmarks": projection.landmarks,
        "trustworthiness": trust.trustworthiness if trust else None,
        "same_class_on_map": trust.on_map if trust else None,
        "same_class_in_space": trust.in_space if trust else None,
        "places": [
            {
                "id": payload.id,
                "dataset": payload.dataset,
                "path": payload.path,
                "class": payload.class_name,
                "x": x,
                "y": y,
            }
            for payload, (x, y) in zip(sampled.payloads, projection.places.tolist(), strict=True)
        ],
    }
