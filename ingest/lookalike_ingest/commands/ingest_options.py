"""Options that several subcommands of `ingest` take."""

from typing import Annotated

import typer
from lookalike_core.stores.collection_manifest import VectorQuantization

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
