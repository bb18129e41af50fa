"""Defines options that subcommands of `search` share, and opens the collection that they select."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from math import nan
from typing import Annotated, Any

import typer
from lookalike_core.cli.options import refuse_nan, store_in_use
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.protocol import Collection, Store

from lookalike_search.asking.choice import OnePer
from lookalike_search.collection_choice import CollectionSelector

CollectionOption = Annotated[
    list[str] | None,  # so that a repeated one is refused; of a single value the last would be taken
    typer.Option("--collection", metavar="NAME", help="The collection."),
]
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
ClassesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help="Only images of this class; '' for images without a class. May be repeated: any of them.",
    ),
]
NotClassesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--not-class",
        metavar="CLASS",
        help="No images of this class; '' for images without a class. May be repeated.",
    ),
]
FoldersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        metavar="FOLDER/",
        help="Only images in this folder or below it; relative to the folder of their dataset. May be "
        "repeated: any of them.",
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="DATE",
        help="Only images taken then or later: 2024-05-31, or 2024-05-31T18:30, in UTC unless it ends with "
        "an offset.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="DATE", help="Only images taken then or earlier; a date is its whole day."
    ),
]
MinWidthOption = Annotated[
    int | None,
    typer.Option("--min-width", min=1, metavar="PIXELS", help="Only images at least PIXELS wide."),
]

MAX_VOTERS = 1_000
VotersOption = Annotated[
    int,
    typer.Option(
        "--k", min=1, max=MAX_VOTERS, metavar="N", help="Number of neighbours that vote on a class."
    ),
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
    return typer.Option(name, min=least, max=most, metavar=metavar, callback=refuse_nan, help=help_text)


def parse_confidence(text: str) -> float:
    """Returns the number between 0 and 1 that a percentage stands for: see `parse_percentage`."""
    return parse_percentage(text, example="95%")


def parse_chance(text: str) -> float:
    """Returns the number between 0 and 1 that a percentage stands for: see `parse_percentage`."""
    return parse_percentage(text, example="80%")


def parse_percentage(text: str, *, example: str) -> float:
    """Returns the number between 0 and 1 that `95%`, `95 %`, `95` or `0.95` stands for.

    Raises:
        BadParameter: it is no such number, or is one only before it is rounded; 1 could mean 1 % or 100 %.
    """
    number, is_percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        value = Decimal(number)
        share = float(value / 100 if is_percent or value > 1 else value)
    except (ArithmeticError, ValueError):
        share = nan
    if not 0 < share < 1:
        raise typer.BadParameter(f"it is {text!r}; use a percentage above 0 and below 100, such as {example}")
    return share


ConfidenceOption = Annotated[
    float | None,
    typer.Option(
        "--confidence",
        metavar="PERCENT",
        parser=parse_confidence,
        help="Also print the smallest set of classes that holds the right one in so many percent of cases, "
        "such as 95%. That holds for images of the same kind as the collection's. Their class must be among "
        "the indexed ones. Needs search calibrate.",
    ),
]

MinChanceOption = Annotated[
    float | None,
    typer.Option(
        "--min-chance",
        metavar="PERCENT",
        parser=parse_chance,
        help="Only neighbours whose chance to have the query's class is at least this, such as 80%. Only "
        "the nearest 10 with a class have one. Needs search calibrate.",
    ),
]
OnePerOption = Annotated[
    OnePer | None,
    typer.Option(
        "--one-per",
        help="Only the nearest of each class or folder; an image without a class counts as one of its own.",
    ),
]
DiverseOption = Annotated[
    float,
    number_option(
        "--diverse",
        "Prefer neighbours that are unlike those before them: 0 is nearest first, 1 as unlike as can be.",
        metavar="DIVERSITY",
        least=0,
        most=1,
    ),
]

NearAboveOption = Annotated[
    float, similarity_option("--near-above", "Cosine similarity above which images count as near-duplicates.")
]
FoldNearOption = Annotated[
    bool,
    typer.Option(
        "--without-near", help="Fold near-duplicates into the nearest of them, to show each scene once."
    ),
]
RegionOption = Annotated[
    str | None,
    typer.Option(
        "--region",
        metavar="X,Y,W,H",
        help="Only this part of the query, in pixels of the upright image (40,30,200,150) or in percent "
        "(10%,20%,50%,50%).",
    ),
]


@contextmanager
def open_chosen_collection(
    named_store: str | None,
    *,
    name: Sequence[str] | None,
    backbone: str | None,
    distance: Distance | None,
) -> Iterator[tuple[Store, Collection]]:
    """Yields the store, and the one collection that the options select, open for reading.

    Raises:
        UsageError: the options select several.
    """
    settings = Settings.from_environment()
    selector = CollectionSelector(names=name or (), backbone=backbone, distance=distance)
    with store_in_use(named_store, settings) as store:
        chosen = selector.resolve_one(store, settings=settings)
        with store.open(chosen) as collection:
            yield store, collection
