"""Builds the model of a base and a head: the base's ONNX graph with three more steps at its end."""

import json
from pathlib import Path
from typing import Any

from lookalike_core.atomic import atomic_path, write_json
from lookalike_core.errors import ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.models.backbones import get_backbone
from lookalike_core.models.model_manifest import METADATA_KEY, ModelIdentity, ModelManifest
from lookalike_core.models.preprocessing import preprocessing_id
from lookalike_core.settings import Settings

from lookalike_exporter.export import EXPORTING, ensure_exported
from lookalike_exporter.graph import OUTPUT
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.model_cache import (
    ModelFile,
    find_by_identity,
    list_models,
    lock_for_writing,
    new_model,
    warn_of_replaced,
)
from lookalike_exporter.spec import ModelSpec

_logger = get_logger("exporter")

HEAD_KEY = "lookalike-head"
"""The metadata key for a record of a head's training data."""

_FEATURES = "head/features"


def get_headed_model(head: Head, *, settings: Settings) -> ModelFile:
    """Returns the model of a head and its base; exports it if it is not in the cache.

    Raises:
        WeightsError: the base's weights cannot be obtained.
        ManifestError: the weights have changed since the head was fitted, or this version prepares images
            differently.
    """
    _require_current(head)

    def find() -> ModelFile | None:
        return find_by_identity(list_models(settings), head.identity, precision=head.base.graph_precision)

    if (model := find()) is not None:
        return model
    base = ensure_exported(ModelSpec.from_manifest(head.base), settings=settings)
    if base.manifest.identity != head.base.identity:
        then, now = (_describe_identity(each.identity) for each in (head.base, base.manifest))
        raise ManifestError(
            f"the head {head.name} was fitted to vectors of {then}, and the weights give {now} now; "
            "restore the old weights, or fit it again"
        )
    with lock_for_writing(settings.models_dir, *EXPORTING, settings):
        return find() or _export_to_cache(head, base, settings)


def _export_to_cache(head: Head, base: ModelFile, settings: Settings) -> ModelFile:
    """Exports the model of a head to its place in the cache, with the renamed card of the base."""
    made_of = base.manifest
    model = new_model(
        head.identity, made_of.weights, made_of.graph_precision, made_of.activation_ranges, settings
    )
    warn_of_replaced(model)
    _write_headed(model.path, base.path, head, model.manifest)
    card = json.loads(base.path.with_suffix(".json").read_text(encoding="utf-8"))
    write_json(model.path.with_suffix(".json"), card | {"manifest": model.manifest.to_json()})
    _logger.info("exported %s", model.path)
    return model


def _require_current(head: Head) -> None:
    """Refuses a head whose base prepared images differently from this version."""
    then = head.base.identity.preprocessing
    now = preprocessing_id(get_backbone(head.base.identity.backbone))
    if then != now:
        raise ManifestError(
            f"the head {head.name} was fitted to images that were prepared as {then}, and this version "
            f"prepares them as {now}",
            hint=Hint(Action.REBUILD_AND_REFIT_HEAD, {Argument.NAME: head.name}),
        )


def _describe_identity(identity: ModelIdentity) -> str:
    return f"{identity.backbone} {identity.layer} {identity.pooling} {identity.weights_fingerprint[:8]}"


def _write_headed(path: Path, base: Path, head: Head, manifest: ModelManifest) -> None:
    """Writes the base followed by scaling to length 1, the layer, and scaling again, as `Head.apply`."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(base)
    graph = model.graph
    for node in graph.node:
        node.name = _FEATURES if node.name == OUTPUT else node.name
        node.output[:] = [_FEATURES if name == OUTPUT else name for name in node.output]
    kernel, bias = "head/weight", "head/bias"
    graph.initializer.extend(
        [numpy_helper.from_array(head.weight, kernel), numpy_helper.from_array(head.bias, bias)]
    )
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("ReduceL2", [_FEATURES], "head/length", {"axes": [1], "keepdims": 1}),
        ("Div", [_FEATURES, "head/length"], "head/unit", {}),
        ("Gemm", ["head/unit", kernel, bias], "head/mapped", {"transB": 1}),
        ("ReduceL2", ["head/mapped"], "head/mapped_length", {"axes": [1], "keepdims": 1}),
        ("Div", ["head/mapped", "head/mapped_length"], OUTPUT, {}),
    ]
    for kind, inputs, output, attributes in steps:
        graph.node.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(head.bias)
    said = {
        "name": head.name,
        "base": head.base.to_json(),
        "classes": list(head.classes),
        **head.record,
    }
    helper.set_model_props(
        model,
        {METADATA_KEY: json.dumps(manifest.to_json(), sort_keys=True), HEAD_KEY: json.dumps(said)},
    )
    with atomic_path(path) as temporary:
        onnx.save_model(model, temporary)
        onnx.checker.check_model(temporary, full_check=True)
