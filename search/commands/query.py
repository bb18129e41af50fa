"""The `search query` command."""

import json
from typing import Annotated, Any

import typer

from lookalike.console import StderrReporter, Verbose, one_line, say
from lookalike.errors import PictureError, UsageError
from lookalike.manifest import CollectionManifest, Distance
from lookalike.options import (
    JsonOption,
    MaxPixelsOption,
    ProviderOption,
    RequireGpuOption,
    StoreOption,
    store_in_use,
)
from lookalike.pictures.decoding import MAX_PIXELS
from lookalike.settings import Settings
from lookalike.stores.points import SearchHit
from lookalike.stores.protocol import Store
from search.choice import choose_collection, file_of
from search.quality.vote import VoteRule
from search.query import STDIN, Answer, QueryOptions, Searcher


def query(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Pictures; - reads one from stdin.")],
    collection: Annotated[
        str | None, typer.Option("--collection", metavar="NAME", help="The collection to search.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="BACKBONE", help="resnet or vgg.")
    ] = None,
    distance: Annotated[Distance | None, typer.Option("--distance", help="cosine or euclid.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, metavar="N", help="How many neighbours.")
    ] = 10,
    class_name: Annotated[
        str | None,
        typer.Option(
            "--class", metavar="CLASS", help="Only pictures of this class; '' for those without one."
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="Only pictures of this dataset.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every picture, past the index.")
    ] = False,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Keep pictures whose bytes equal the query's.")
    ] = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    vote: Annotated[
        VoteRule, typer.Option("--vote", help="How the neighbours' classes become a verdict.")
    ] = VoteRule.NEARER_TIES,
    k: Annotated[int, typer.Option("--k", min=1, max=1_000, metavar="N", help="How many vote.")] = 10,
    provider: ProviderOption = None,
    require_gpu: RequireGpuOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Print the nearest neighbours of each picture, best first."""
    if "" in images:
        raise UsageError("a picture's name is empty; name a file, or - for standard input")
    if images.count(STDIN) > 1:
        raise UsageError("standard input can be read once; name - once")
    options = QueryOptions(
        limit=limit,
        class_name=class_name,
        dataset=dataset,
        exact=exact,
        include_self=include_self,
        max_pixels=max_pixels,
        vote=vote,
        k=k,
    )
    settings, reporter = (
        Settings.from_environment().on_provider(provider, require_gpu=require_gpu),
        StderrReporter(),
    )
    with store_in_use(store, settings, reporter) as opened:
        name = choose_collection(
            opened,
            settings=settings,
            reporter=reporter,
            name=collection,
            backbone=backbone,
            distance=distance,
        )
        with Searcher.opened(name, store=opened, settings=settings, reporter=reporter) as searcher:
            reporter.say(f"collection: {name}, on {searcher.provider}")
            failed = [image for image in images if not _answer(searcher, image, options, opened, as_json)]
    if failed:
        raise typer.Exit(PictureError.exit_code)


def _answer(searcher: Searcher, image: str, options: QueryOptions, store: Store, as_json: bool) -> bool:
    try:
        answer = searcher.answer(image, options)
    except PictureError as error:
        if as_json:
            typer.echo(json.dumps({"schema": 1, "query": image, "error": error.reason}))
        say(f"error: {error}")
        return False
    if as_json:
        typer.echo(json.dumps(_json(answer, searcher, store, options)))
    else:
        _print_table(answer, searcher.manifest)
        if answer.verdict is not None:
            share = f"{answer.verdict.share:.0%} of {options.k} neighbours' votes"
            typer.echo(f"verdict: {one_line(answer.verdict.class_name)}, {share} ({options.vote})")
    return True


def _json(answer: Answer, searcher: Searcher, store: Store, options: QueryOptions) -> dict[str, Any]:
    manifest, verdict = searcher.manifest, answer.verdict
    return {
        "schema": 1,
        "query": answer.query,
        "collection": manifest.collection,
        "backbone": manifest.identity.backbone,
        "layer": manifest.identity.layer,
        "pooling": manifest.identity.pooling,
        "distance": manifest.distance,
        "provider": searcher.provider,
        "store": store.label,
        "took_ms": {
            "load": round(answer.load_ms, 1),
            "embed": round(answer.embed_ms, 1),
            "search": round(answer.search_ms, 1),
        },
        "verdict": verdict
        and {
            "rule": options.vote,
            "k": options.k,
            "class": verdict.class_name,
            "share": verdict.share,
        },
        "hits": [_hit_json(rank, hit, manifest) for rank, hit in enumerate(answer.hits, start=1)],
    }


def _hit_json(rank: int, hit: SearchHit, manifest: CollectionManifest) -> dict[str, Any]:
    payload = hit.payload
    file = file_of(manifest, payload.dataset, payload.path)
    return {
        "rank": rank,
        "score": hit.score,
        "class": payload.class_name,
        "dataset": payload.dataset,
        "path": payload.path,
        "file": str(file) if file else None,
        "id": payload.id,
    }


def _print_table(answer: Answer, manifest: CollectionManifest) -> None:
    """Plain columns: a path is never cut or wrapped, so that it can be copied and piped."""
    score = "similarity" if manifest.distance.higher_is_nearer else "distance"
    rows = [("rank", score, "class", "path")]
    for i, hit in enumerate(answer.hits, start=1):
        payload = hit.payload
        rows.append((str(i), f"{hit.score:.4f}", one_line(payload.class_name or "-"), one_line(payload.path)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    typer.echo(f"{one_line(answer.query)} in {manifest.collection}")
    for rank, value, class_name, path in rows:
        typer.echo(f"{rank:>{widths[0]}}  {value:>{widths[1]}}  {class_name:{widths[2]}}  {path}")
    if not answer.hits:
        typer.echo("no picture fits")
