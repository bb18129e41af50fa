"""`exporter list`: show the models that can be exported, and those in the cache."""

from lookalike_core.cli.console import Verbose, show, show_json
from lookalike_core.cli.options import JsonOption
from lookalike_core.models.backbones import BACKBONES
from lookalike_core.settings import Settings

from lookalike_exporter.commands.model_record import model_json
from lookalike_exporter.model_cache import list_models
from lookalike_exporter.spec import ModelSpec


def list_(as_json: JsonOption = False, verbose: Verbose = False) -> None:  # noqa: ARG001
    """List models: those to export, those in the cache."""
    models = list_models(Settings.from_environment())
    if as_json:
        for model in models:
            show_json(model_json(model))
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
