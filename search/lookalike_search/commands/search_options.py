"""Defines options that subcommands of `search` share, and opens the collection that they select."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from typing import Annotated, Any

import typer
from lookalike_core.cli.options import store_in_use
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Collection, Store

from lookalike_search.collection_choice import CollectionSelector

CollectionOption = Annotated[str | None, typer.Option("--collection", metavar="NAME", help="The collection.")]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option("--collection", metavar="NAME", help="Name of a collection; may be repeated."),
]
BackboneOption = Annotated[str | None, typer.Option("--backbone", metavar="BACKBONE", help="resnet or vgg.")]
BackbonesOption = Annotated[
    str | None,
    typer.Option("--backbone", metavar="BACKBONE", help="A collection of this network: resnet, vgg or both."),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="Every collection that fits the other options, not only the first.")
]
DistanceOption = Annotated[Distance | None, typer.Option("--distance", help="cosine or euclid.")]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Only images of this dataset.")
]
HeadOption = Annotated[
    str | None, typer.Option("--head", metavar="HEAD", help="A collection with this head (see exporter fit).")
]
ClassOption = Annotated[
    str | None,
    typer.Option(
        "--class", metavar="CLASS", help="Only images of this class; '' for images without a class."
    ),
]

VotersOption = Annotated[
    int, typer.Option("--k", min=1, max=1_000, metavar="N", help="Number of neighbours that vote on a class.")
]


def similarity_option(name: str, help_text: str) -> Any:  # noqa: ANN401 - what typer.Option gives
    """Returns an option that takes a cosine similarity, 0 to 1."""
    return number_option(name, help_text, metavar="SIMILARITY", least=0, most=1)


def number_option(
    name: str,
    help_text: str,
    *,
    metavar: str,
    least: float,
    most: float | None = None,
) -> Any:  # noqa: ANN401 - as above
    """Returns an option that takes a number from `least` to `most`."""
    return typer.Option(name, min=least, max=most, metavar=metavar, callback=_refuse_nan, help=help_text)


def _refuse_nan(value: float | None) -> float | None:
    """Refuses NaN, which Typer accepts in any range."""
    if value is not None and isnan(value):
        raise typer.BadParameter("it must be a number")
    return value


NearAboveOption = Annotated[
    float, similarity_option("--near-above", "Cosine similarity above which images count as near-duplicates.")
]
FoldNearOption = Annotated[
    bool,
    typer.Option(
        "--without-near", help="Fold near-duplicates into the nearest of them, to show each scene once."
    ),
]


@contextmanager
def open_chosen_collection(
    named_store: str | None,
    *,
    name: str | None,
    backbone: str | None,
    distance: Distance | None,
) -> Iterator[tuple[Store, Collection]]:
    """Yields the store, and the one collection that the options select, open for reading."""
    settings = Settings.from_environment()
    selector = CollectionSelector(
        names=[name] if name is not None else (), backbone=backbone, distance=distance
    )
    with store_in_use(named_store, settings) as store:
        chosen = selector.resolve_one(store, settings=settings)
        with store.open(chosen) as collection:
            yield store, collection
