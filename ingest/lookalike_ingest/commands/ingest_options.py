"""Options that several subcommands of `ingest` take."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.stores.cluster_layout import MAX_LAYOUT_NUMBER
from lookalike_core.stores.collection_manifest import Distance, VectorQuantization

FoldersArgument = Annotated[
    list[str], typer.Argument(metavar="DIR...", help="Folders of images; each is a dataset.")
]
SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="DIR...",
        help="Folders of images, also s3://BUCKET/DIR and gs://BUCKET/DIR, and Parquet files or folders of "
        "them; each is a dataset.",
    ),
]
BackboneOption = Annotated[
    list[str] | None,
    typer.Option("--backbone", metavar="BACKBONE", help="Network: resnet (default), vgg; may be repeated."),
]
DistanceOption = Annotated[
    list[Distance] | None, typer.Option("--distance", help="cosine (default) or euclid; may be repeated.")
]
DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="Name of the dataset; default: the folder's name."),
]
NewRootOption = Annotated[
    bool, typer.Option("--new-root", help="DIR is the new location of a dataset whose folder was moved.")
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", metavar="CSV", help="Classes of images: a table headed path,class."),
]
SynsetsOption = Annotated[
    Path | None,
    typer.Option("--synsets", metavar="FILE", help="Names of ImageNet's synsets, such as n01440764."),
]
ValSolutionOption = Annotated[
    Path | None,
    typer.Option("--val-solution", metavar="CSV", help="Classes of ImageNet's validation images."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Exclude files and folders that match a gitignore pattern; remembered, may be repeated.",
    ),
]
NoExcludeOption = Annotated[
    bool, typer.Option("--no-exclude", help="Forget the remembered patterns of --exclude.")
]
DefaultExcludesOption = Annotated[
    bool | None,
    typer.Option(
        "--default-excludes/--no-default-excludes",
        help="Exclude hidden files and system folders such as @eaDir (default), or include them.",
    ),
]
FollowLinksOption = Annotated[
    bool | None,
    typer.Option("--follow-links/--no-follow-links", help="Follow links to folders, or not (default)."),
]
ClassLevelOption = Annotated[
    int | None,
    typer.Option(
        "--class-level",
        metavar="N",
        help="Which folder names the class: 1 the first below DIR (default), -1 the image's own.",
    ),
]
PruneOption = Annotated[bool, typer.Option("--prune", help="Remove points whose files are gone.")]
PruneAfterOption = Annotated[
    str | None,
    typer.Option(
        "--prune-after",
        metavar="TIME",
        help="Remove points whose files have been gone for that long: 7d, 12h, 30m.",
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        max=1024,
        metavar="N",
        help="Images per batch; default: 16, on a GPU 128.",
    ),
]

QuantizeOption = Annotated[
    VectorQuantization | None,
    typer.Option("--quantize", help="Search by vectors quantized to fewer bits, which take less memory."),
]
ShardsOption = Annotated[
    int | None,
    typer.Option(
        "--shards",
        min=1,
        max=MAX_LAYOUT_NUMBER,
        metavar="N",
        help="Shards of a new collection on a server; default: the server's.",
    ),
]
ReplicasOption = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        min=1,
        max=MAX_LAYOUT_NUMBER,
        metavar="N",
        help="Copies of each shard, on different peers of a cluster; default: the server's.",
    ),
]
WriteConsistencyOption = Annotated[
    int | None,
    typer.Option(
        "--write-consistency",
        min=1,
        max=MAX_LAYOUT_NUMBER,
        metavar="N",
        help="Replicas that must confirm a write while one fails; default: the server's.",
    ),
]
