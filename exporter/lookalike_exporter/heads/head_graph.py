"""The model of a base and a head: the base's ONNX graph, and three more steps behind it."""

import json
from pathlib import Path
from typing import Any

from lookalike_core import __version__, locks
from lookalike_core.atomic import atomic_path, write_json
from lookalike_core.errors import ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import logger_of
from lookalike_core.models.backbones import backbone_named
from lookalike_core.models.model_manifest import METADATA_KEY, ModelIdentity, ModelManifest
from lookalike_core.models.preprocessing import preprocessing_id
from lookalike_core.settings import Settings

from lookalike_exporter import model_cache
from lookalike_exporter.export import EXPORT_TIMEOUT_S, ready_model
from lookalike_exporter.graph import OUTPUT
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.model_cache import ModelFile, model_at_hand, place_for
from lookalike_exporter.spec import ModelSpec

_logger = logger_of("exporter")

HEAD_KEY = "lookalike-head"
"""Under which a model's metadata says what its head was learned from."""

_FEATURES = "head/features"


def get_wanted_model(wanted: ModelSpec | Head, *, settings: Settings) -> ModelFile:
    """Returns the model of a spec or of a head; exports it where it is not here.

    Raises:
        WeightsError, StoreLockedError: as `ready_model`.
        ManifestError: as `get_headed_model`.
    """
    if isinstance(wanted, Head):
        return get_headed_model(wanted, settings=settings)
    return ready_model(wanted, settings=settings)


def get_headed_model(head: Head, *, settings: Settings) -> ModelFile:
    """Returns the model of a head and its base; makes it where it is not here.

    Raises:
        WeightsError: the base's weights cannot be had.
        ManifestError: they are not what they were when the head was fitted, or images are prepared
            otherwise now.
    """
    _require_current(head)
    if (model := model_at_hand(head.identity, settings, precision=head.base.graph_precision)) is not None:
        return model
    base = ready_model(ModelSpec.of_collection(head.base), settings=settings)
    if base.manifest.identity != head.base.identity:
        raise ManifestError(
            f"the head {head.name} was fitted to vectors of {_shown(head.base.identity)}, and the weights "
            f"give {_shown(base.manifest.identity)} now; bring the old weights back, or fit it again"
        )
    manifest = ModelManifest(
        identity=head.identity,
        weights=base.manifest.weights,
        graph_revision=model_cache.GRAPH_REVISION,
        exporter_version=__version__,
        graph_precision=base.manifest.graph_precision,
        activation_ranges=base.manifest.activation_ranges,
    )
    folder = settings.models_dir
    model_cache.require_writable(folder, settings)
    with locks.held(folder, "export", what=str(folder), timeout_s=EXPORT_TIMEOUT_S):
        if (model := model_at_hand(head.identity, settings, precision=head.base.graph_precision)) is not None:
            return model
        path = place_for(manifest, settings)
        _write(path, base.path, head, manifest)
        card = json.loads(base.path.with_suffix(".json").read_text(encoding="utf-8"))
        write_json(path.with_suffix(".json"), card | {"manifest": manifest.to_json()})
    _logger.info("exported %s", path)
    return ModelFile(path=path, manifest=manifest)


def _require_current(head: Head) -> None:
    """A head belongs to the vectors that it was fitted to; of a base made anew it has to be fitted again."""
    then = head.base.identity.preprocessing
    now = preprocessing_id(backbone_named(head.base.identity.backbone))
    if then != now:
        raise ManifestError(
            f"the head {head.name} was fitted to images that were prepared as {then}, and this version "
            f"prepares them as {now}",
            hint=Hint(Action.REBUILD_AND_REFIT_HEAD, {Argument.NAME: head.name}),
        )


def _shown(identity: ModelIdentity) -> str:
    return f"{identity.backbone} {identity.layer} {identity.pooling} {identity.weights_fingerprint[:8]}"


def _write(path: Path, base: Path, head: Head, manifest: ModelManifest) -> None:
    """Length 1, the layer, and length 1 again; a vector of zeros becomes NaN, as in `Head.apply`."""
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
