"""`exporter run`: export one model."""

from pathlib import Path
from typing import Annotated

import typer
from lookalike_core.cli.console import (
    Verbose,
    show_json,
    show_path,
)
from lookalike_core.cli.options import (
    JsonOption,
    LayerOption,
    PoolingOption,
    PrecisionOption,
    WeightsOption,
)
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings

from lookalike_exporter.commands.exporter_options import BackboneOption, CalibrateOption, folder_option
from lookalike_exporter.commands.model_record import model_json
from lookalike_exporter.export import add_activation_ranges, ensure_exported, export_to
from lookalike_exporter.spec import ModelSpec


def run(
    backbone: BackboneOption,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    precision: PrecisionOption = Precision.FP32,
    calibrate: CalibrateOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the model to this file instead of the model cache.")
    ] = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Export a model, unless it is in the cache."""
    spec = ModelSpec.of(backbone, layer=layer, pooling=pooling, weights=weights, precision=precision)
    settings = Settings.from_environment()
    folder = folder_option(calibrate, "--calibrate")
    spec = add_activation_ranges(spec, folder, settings=settings)
    if output is not None:
        model = export_to(output, spec, settings=settings)
    else:
        model = ensure_exported(spec, settings=settings)
    if as_json:
        show_json(model_json(model))
    else:
        show_path(model.path)
