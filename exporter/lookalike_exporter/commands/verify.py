"""`exporter verify`: check a model, and compare it with Keras."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from lookalike_core.cli.console import (
    Verbose,
    show,
    show_json,
)
from lookalike_core.cli.hint_words import full_message
from lookalike_core.cli.options import (
    HeadOption,
    JsonOption,
    LayerOption,
    PoolingOption,
    PrecisionOption,
    WeightsOption,
)
from lookalike_core.errors import UsageError
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings

from lookalike_exporter.commands.exporter_options import CalibrateOption, folder_option
from lookalike_exporter.spec import ModelSpec

if TYPE_CHECKING:
    from lookalike_exporter.commands.json_records import Verification


def verify(
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="BACKBONE", help="Network: resnet (ResNet101V2) or vgg (VGG16)."),
    ] = None,
    head: HeadOption = None,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    precision: PrecisionOption = Precision.FP32,
    calibrate: CalibrateOption = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", "--pictures", metavar="DIR", help="Compare fp16 or int8 with fp32 on these images."
        ),
    ] = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Compare a model with Keras, or with its fp32 model.

    The file is checked as well.
    """
    if (head is None) == (backbone is None):
        raise UsageError("give either --backbone or --head")
    if head is not None and (
        layer or pooling or calibrate or images or weights != "imagenet" or precision is not Precision.FP32
    ):
        raise UsageError("--head already determines the network; leave out --weights, --layer and --pooling")
    from lookalike_exporter.verification import verify_head, verify_spec

    settings = Settings.from_environment()
    if head is not None:
        found = verify_head(head, settings=settings)
    else:
        found = verify_spec(
            ModelSpec.of(backbone or "", layer=layer, pooling=pooling, weights=weights, precision=precision),
            calibrated_on=folder_option(calibrate, "--calibrate"),
            images=folder_option(images, "--images"),
            settings=settings,
        )
    model, report = found.model, found.report
    if as_json:
        data: Verification = {
            "schema": 1,
            "path": model.path,
            "failed": report.failed,
            "checks": report.checks,
        }
        show_json(data)
    else:
        for check in report.checks:
            show(f"{check.outcome:8}{check.name}: {full_message(check.detail)}")
    if report.failed:
        raise typer.Exit(1)
