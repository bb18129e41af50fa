"""The `exporter` command."""

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from exporter.export import ModelFile, ModelSpec, export_to, known_models, ready_model
from lookalike.backbones import BACKBONES
from lookalike.console import StderrReporter, Verbose, command_app, run_command
from lookalike.files import named_path
from lookalike.options import JsonOption, LayerOption, PoolingOption, WeightsOption
from lookalike.settings import Settings

app = command_app("Turn Keras' ResNet101V2 and VGG16 into ONNX models.")

BackboneOption = Annotated[
    str, typer.Option("--backbone", metavar="BACKBONE", help="resnet (ResNet101V2) or vgg (VGG16).")
]


@app.command("run")
def run(
    backbone: BackboneOption,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the model here and not among the others.")
    ] = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Export one model; nothing is done where it is there already."""
    spec = ModelSpec.of(backbone, layer=layer, pooling=pooling, weights=weights)
    settings, reporter = Settings.from_environment(), StderrReporter()
    if output is not None:
        model = export_to(named_path(str(output), "--output"), spec, settings=settings, reporter=reporter)
    else:
        model = ready_model(spec, settings=settings, reporter=reporter)
    typer.echo(json.dumps(_record(model)) if as_json else model.path)


@app.command("list")
def list_models(as_json: JsonOption = False, verbose: Verbose = False) -> None:  # noqa: ARG001
    """Show what can be exported and what is here."""
    models = known_models(Settings.from_environment())
    if as_json:
        for model in models:
            typer.echo(json.dumps(_record(model)))
        return
    typer.echo("can be exported:")
    for backbone in BACKBONES:
        spec = ModelSpec.of(backbone.name)
        tap = f"{spec.layer} {spec.pooling}"
        typer.echo(f"  {backbone.short_name:8}{backbone.title}, {tap}: {spec.dimension} values")
    typer.echo("here:" if models else "here: nothing yet")
    for model in models:
        source = model.manifest.weights
        weights = source.path if source.kind == "file" else source.kind
        megabytes = model.path.stat().st_size / 1e6
        typer.echo(
            f"  {model.path}  {megabytes:.0f} MB, {model.manifest.identity.dimension} values, from {weights}"
        )


@app.command("verify")
def verify(
    backbone: BackboneOption,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Check a model, and compare it with Keras."""
    from exporter.verify import verify_model

    spec = ModelSpec.of(backbone, layer=layer, pooling=pooling, weights=weights)
    settings, reporter = Settings.from_environment(), StderrReporter()
    model = ready_model(spec, settings=settings, reporter=reporter)
    report = verify_model(model, spec)
    if as_json:
        typer.echo(json.dumps({"schema": 1, "path": str(model.path), **report.to_json()}))
    else:
        for check in report.checks:
            typer.echo(f"{check.outcome:8}{check.name}: {check.detail}")
    if report.failed:
        raise typer.Exit(1)


def _record(model: ModelFile) -> dict[str, object]:
    return {"schema": 1, "path": str(model.path), **model.manifest.to_json()}


def main() -> NoReturn:
    """The console command."""
    run_command(app)
