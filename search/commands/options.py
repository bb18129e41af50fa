"""Options that several subcommands of `search` share, each said once."""

from typing import Annotated

import typer

from lookalike.manifest import Distance

CollectionOption = Annotated[str | None, typer.Option("--collection", metavar="NAME", help="The collection.")]
CollectionsOption = Annotated[
    list[str] | None,
    typer.Option("--collection", metavar="NAME", help="The collection; may be repeated."),
]
BackboneOption = Annotated[str | None, typer.Option("--backbone", metavar="BACKBONE", help="resnet or vgg.")]
BackbonesOption = Annotated[
    str | None, typer.Option("--backbone", metavar="BACKBONE", help="resnet, vgg or both.")
]
DistanceOption = Annotated[Distance | None, typer.Option("--distance", help="cosine or euclid.")]
DatasetOption = Annotated[
    str | None, typer.Option("--dataset", metavar="NAME", help="Only pictures of this dataset.")
]
HeadOption = Annotated[
    str | None, typer.Option("--head", metavar="HEAD", help="The collection with this new last layer.")
]
ClassOption = Annotated[
    str | None,
    typer.Option("--class", metavar="CLASS", help="Only pictures of this class; '' for those without one."),
]
VotersOption = Annotated[
    int, typer.Option("--k", min=1, max=1_000, metavar="N", help="How many neighbours vote.")
]
