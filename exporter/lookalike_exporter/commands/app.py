"""The `exporter` command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from lookalike_core.atomic import named_path
from lookalike_core.cli.console import (
    Verbose,
    command_app,
    run_command,
    show,
    show_json,
    show_path,
)
from lookalike_core.cli.hint_words import full_message
from lookalike_core.cli.options import (
    HeadOption,
    JsonOption,
    LayerOption,
    PoolingOption,
    PrecisionOption,
    StoreOption,
    WeightsOption,
    store_in_use,
)
from lookalike_core.errors import UsageError
from lookalike_core.missing_path import require_folder
from lookalike_core.models.backbones import BACKBONES
from lookalike_core.models.model_manifest import Precision
from lookalike_core.settings import Settings

from lookalike_exporter.export import calibrated, export_to, ready_model
from lookalike_exporter.model_cache import ModelFile, known_models
from lookalike_exporter.spec import ModelSpec

if TYPE_CHECKING:
    from lookalike_exporter.heads.fit import FitReport

CalibrateOption = Annotated[
    Path | None,
    typer.Option("--calibrate", metavar="DIR", help="Pictures that an int8 model is calibrated on."),
]

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
    precision: PrecisionOption = Precision.FP32,
    calibrate: CalibrateOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the model here and not among the others.")
    ] = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001 - acts by itself
) -> None:
    """Export one model; nothing is done where it is there already."""
    spec = ModelSpec.of(backbone, layer=layer, pooling=pooling, weights=weights, precision=precision)
    settings = Settings.from_environment()
    folder = _folder(calibrate, "--calibrate")
    spec = calibrated(spec, folder, settings=settings)
    if output is not None:
        model = export_to(output, spec, settings=settings)
    else:
        model = ready_model(spec, settings=settings)
    if as_json:
        show_json(_record(model))
    else:
        show_path(model.path)


@app.command("list")
def list_models(as_json: JsonOption = False, verbose: Verbose = False) -> None:  # noqa: ARG001
    """Show what can be exported and what is here."""
    models = known_models(Settings.from_environment())
    if as_json:
        for model in models:
            show_json(_record(model))
        return
    show("can be exported:")
    for backbone in BACKBONES:
        spec = ModelSpec.of(backbone.name)
        tap = f"{spec.layer} {spec.pooling}"
        show(f"  {backbone.short_name:8}{backbone.title}, {tap}: {spec.dimension} values")
    show("here:" if models else "here: nothing yet")
    for model in models:
        source = model.manifest.weights
        weights = source.path if source.kind == "file" else source.kind
        megabytes = model.path.stat().st_size / 1e6
        identity = model.manifest.identity
        head = f"head {identity.head}, " if identity.head else ""
        show(
            f"  {model.path}  {megabytes:.0f} MB, {model.manifest.graph_precision}, {head}"
            f"{identity.dimension} values, from {weights}"
        )


@app.command("verify")
def verify(
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="BACKBONE", help="resnet (ResNet101V2) or vgg (VGG16)."),
    ] = None,
    head: HeadOption = None,
    weights: WeightsOption = "imagenet",
    layer: LayerOption = None,
    pooling: PoolingOption = None,
    precision: PrecisionOption = Precision.FP32,
    calibrate: CalibrateOption = None,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", metavar="DIR", help="Compare fp16 or int8 with fp32 on these."),
    ] = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Check a model, and compare it with Keras; one of 16 or 8 bits is compared with that of 32."""
    if (head is None) == (backbone is None):
        raise UsageError("--backbone or --head says what to verify; give one of them")
    if head is not None and (
        layer or pooling or calibrate or pictures or weights != "imagenet" or precision is not Precision.FP32
    ):
        raise UsageError("--head says which network it belongs to; leave --weights and the like out")
    from lookalike_exporter.verification import verify_head, verify_spec

    settings = Settings.from_environment()
    if head is not None:
        found = verify_head(head, settings=settings)
    else:
        found = verify_spec(
            ModelSpec.of(backbone or "", layer=layer, pooling=pooling, weights=weights, precision=precision),
            calibrated_on=_folder(calibrate, "--calibrate"),
            pictures=_folder(pictures, "--pictures"),
            settings=settings,
        )
    model, report = found.model, found.report
    if as_json:
        show_json({"schema": 1, "path": str(model.path), **report.to_json()})
    else:
        for check in report.checks:
            show(f"{check.outcome:8}{check.name}: {full_message(check.detail)}")
    if report.failed:
        raise typer.Exit(1)


@app.command("fit")
def fit(
    collection: Annotated[
        list[str],
        typer.Option("--collection", metavar="NAME", help="Whose pictures and classes; may be repeated."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="HEAD", help="What the new layer is called.")],
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS", help="Only this class; may be repeated. Default: all."),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option(
            "--dims", min=1, metavar="D", help="Values that it gives; default: as many as the base."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of what is held out.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace another head of this name.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Fit a new last layer to the classes of a collection."""
    from lookalike_exporter.heads.fit import FitRequest, fit_head

    request = FitRequest(
        collections=collection,
        name=name,
        classes=class_name or (),
        dims=dims,
        seed=seed,
        force=force,
    )
    settings = Settings.from_environment()
    with store_in_use(store, settings) as opened:
        report = fit_head(request, store=opened, settings=settings)
    if as_json:
        show_json(_fit_json(report))
    else:
        show(*_fit_lines(report))


def _folder(named: Path | None, option: str) -> Path | None:
    folder = named_path(str(named), option) if named is not None else None
    if folder is not None:
        require_folder(folder, option)
    return folder


def _fit_json(report: "FitReport") -> dict[str, object]:
    head = report.head
    return {
        "schema": 1,
        "head": head.key,
        "path": str(report.path),
        "model": str(report.model),
        "made": report.made,
        "base": head.base.identity.to_json(),
        "dimension": head.identity.dimension,
        "classes": list(head.classes),
        **head.record,
    }


def _fit_lines(report: "FitReport") -> list[str]:
    head, record = report.head, report.head.record
    parts, method = record["split"], record["method"]
    strength = "" if method["strength"] is None else f" {method['strength']:g}"
    count = len(record["candidates"])
    lines = [
        f"{head.key}: {len(head.classes)} classes, {parts['training']} pictures",
        f"method: {method['method']}{strength}, pull {method['pull']:g}, the best of {count} candidates",
    ]
    before, after = (record["held_out_against_training"][side] for side in ("before", "after"))
    if before and after:
        said = f"{parts['held_out']} more, held out, among these"
        lines.append(f"{said:36}  before   after")
        lines += [f"{title:36}  {before[key]:.4f}  {after[key]:.4f}" for key, title in _FIT_FIGURES.items()]
    there = "" if report.made else ", which was there already"
    return [*lines, f"{report.path}{there}", f"{report.model}", f"next: ingest run DIR --head {head.name}"]


_FIT_FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}


def _record(model: ModelFile) -> dict[str, object]:
    return {"schema": 1, "path": str(model.path), **model.manifest.to_json()}


def main() -> NoReturn:
    """The console command."""
    run_command(app)
