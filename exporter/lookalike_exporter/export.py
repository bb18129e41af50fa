"""Returns the model file of a spec: found in the cache, or exported.

The embedder reads the manifest in the model; `model_cache` finds the model by the card beside it.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lookalike_core.atomic import atomic_path, parse_json, parse_path, sweep_partials, write_json
from lookalike_core.errors import ModelError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.sampling import draw_sample
from lookalike_core.logs import get_logger
from lookalike_core.models.model_manifest import (
    METADATA_KEY,
    ModelIdentity,
    ModelManifest,
    Precision,
    WeightsKind,
)
from lookalike_core.models.preprocessing import preprocessing_id
from lookalike_core.outputs import MODEL_SUFFIXES, check_output_path, is_onnx
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_exporter.graph import build_graph
from lookalike_exporter.model_cache import (
    GRAPH_REVISION,
    WRITE_TIMEOUT_S,
    ModelFile,
    list_models,
    lock_for_writing,
    new_model,
    warn_of_replaced,
)
from lookalike_exporter.network import SubNetwork
from lookalike_exporter.onnx_file import OnnxModel, write_onnx
from lookalike_exporter.quantization import measure_activation_ranges, write_fp16, write_int8
from lookalike_exporter.spec import ModelSpec, find_fp32_convolutions
from lookalike_exporter.weights import LayerArrays, fingerprint, read_arrays
from lookalike_exporter.weights_sources import WeightsFile, find_weights_file, locate_weights

_logger = get_logger("exporter")

CALIBRATED_ON = 64
"""Most images of the folder to calibrate on; benchmarks/README.md has figures for this number."""


def ensure_exported(spec: ModelSpec, *, settings: Settings, timeout_s: float = WRITE_TIMEOUT_S) -> ModelFile:
    """Returns the model of a spec; exports it if it is not in the cache.

    Waits up to `timeout_s` for another process that exports, and uses the model which that one made.

    Raises:
        UsageError: the spec is of an int8 model without activation ranges.
        WeightsError: the weights cannot be obtained or do not fit.
        StoreLockedError: another process has held the lock for `timeout_s`.
    """

    def find() -> ModelFile | None:
        return find_by_spec(list_models(settings), spec)

    if (model := find()) is not None:
        return model
    if spec.weights_kind is WeightsKind.FILE:
        find_weights_file(spec.weights)  # refused before another process is waited for, and a folder made
    with lock_for_writing(settings.models_dir, *EXPORTING, settings, timeout_s=timeout_s):
        return find() or _export_to_cache(spec, settings)


EXPORTING = ("export", "is exporting a model")
"""The lock under which models are exported and weights fetched, and what its holder is reported to do."""


def add_activation_ranges(
    spec: ModelSpec,
    folder: Path | None,
    *,
    recorded: Callable[[], Iterable[CollectionManifest]] = tuple,
    settings: Settings,
) -> ModelSpec:
    """Returns the spec with its activation ranges, if it is an int8 spec without them.

    They come from a collection that recorded the same weights, layer and pooling, so that its vector space is
    kept; otherwise they are measured on the images of a folder.

    Raises:
        UsageError: no image can be read, or no folder is given.
        WeightsError, StoreLockedError: as `ensure_exported`.
    """
    if spec.precision is not Precision.INT8 or spec.activation_ranges is not None:
        return spec
    if folder is None:
        raise UsageError(
            "an int8 model needs a folder of images to measure activation ranges on",
            hint=Hint(Action.NAME_CALIBRATION_FOLDER),
        )
    known = [manifest for manifest in recorded() if manifest.activation_ranges is not None]
    for manifest in known:
        candidate = replace(spec, activation_ranges=manifest.activation_ranges)
        model = find_by_spec(list_models(settings), candidate)
        if model is not None and model.manifest.identity == manifest.identity:
            return candidate
    weights = _fetch_weights(spec, settings)
    network = spec.network
    arrays = read_arrays(weights.path, weights.source.kind, network)
    for manifest in known:
        candidate = replace(spec, activation_ranges=manifest.activation_ranges)
        if _identity(candidate, fingerprint(network, arrays)) == manifest.identity:
            return candidate
    _logger.info(
        "measuring activation ranges of %s for int8 on up to %s images of %s",
        spec.backbone.name,
        CALIBRATED_ON,
        folder,
    )
    with tempfile.TemporaryDirectory(prefix="lookalike-") as temporary:
        path = Path(temporary) / "fp32.onnx"
        write_onnx(path, _graph(spec, network, arrays))
        del arrays
        images = draw_sample(folder, count=CALIBRATED_ON)
        ranges = measure_activation_ranges(path, images, backbone=spec.backbone.name)
    return replace(spec, activation_ranges=ranges)


def export_to(path: Path, spec: ModelSpec, *, settings: Settings) -> ModelFile:
    """Exports to a path of the user's choice, which ends in `.onnx`.

    Raises:
        UsageError: the path has another suffix, or names something that must not be replaced.
        OSError: the file cannot be written.
        WeightsError: the weights cannot be obtained or do not fit.
    """
    _check_writable(path)
    path = check_output_path(path, Argument.OUTPUT, MODEL_SUFFIXES, is_ours=is_onnx)
    return _export(spec, _fetch_weights(spec, settings), settings, path=path)


def _check_writable(path: Path) -> None:
    """Refuses a path that cannot be written, before weights are fetched and a model is built."""
    folder = next(parent for parent in parse_path(str(path), Argument.OUTPUT).parents if parent.exists())
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: no permission to write to {folder}")


def find_by_spec(models: Iterable[ModelFile], spec: ModelSpec) -> ModelFile | None:
    """Returns the first model that this version made of a spec with the same weights, else None."""
    return next((model for model in models if _fits(model, spec) and _is_from(model, spec.weights)), None)


def _fits(model: ModelFile, spec: ModelSpec) -> bool:
    manifest, identity = model.manifest, model.manifest.identity
    is_of_layer = (identity.backbone, identity.layer, identity.pooling, identity.head) == (
        spec.backbone.name,
        spec.layer,
        spec.pooling,
        None,
    )
    is_prepared_so = identity.preprocessing == preprocessing_id(spec.backbone)
    is_same_graph = (manifest.graph_revision, manifest.graph_precision, identity.precision_class) == (
        GRAPH_REVISION,
        spec.precision,
        spec.precision_class,
    )
    return is_of_layer and is_prepared_so and is_same_graph


def _is_from(model: ModelFile, weights: str) -> bool:
    """Returns whether a model was made from these weights; a file must have the same size and time."""
    source = model.manifest.weights
    if source.kind != WeightsKind.of(weights):
        return False
    if source.kind is not WeightsKind.FILE:
        return True
    card = parse_json(model.path.with_suffix(".json").read_text(encoding="utf-8"))
    path = parse_path(weights, Argument.WEIGHTS)
    return source.path == str(path) and path.is_file() and card.get("weights_stat") == _stat(path)


def _locate(spec: ModelSpec, settings: Settings) -> WeightsFile:
    return locate_weights(spec.backbone, spec.weights, with_top=spec.needs_top, settings=settings)


def _fetch_weights(spec: ModelSpec, settings: Settings) -> WeightsFile:
    """Locates weights without exporting; holds the lock while it fetches official ones."""
    if spec.weights_kind is WeightsKind.FILE:
        return _locate(spec, settings)
    with lock_for_writing(settings.models_dir, *EXPORTING, settings):
        sweep_partials(settings.weights_dir)
        return _locate(spec, settings)


def _export_to_cache(spec: ModelSpec, settings: Settings) -> ModelFile:
    """Exports a model to its place in the cache, and writes its card; the caller holds the lock."""
    sweep_partials(settings.weights_dir)
    weights = _locate(spec, settings)
    model = _export(spec, weights, settings)
    card = {"manifest": model.manifest.to_json(), "weights_stat": _stat(weights.path)}
    write_json(model.path.with_suffix(".json"), card)
    return model


def _export(
    spec: ModelSpec, weights: WeightsFile, settings: Settings, *, path: Path | None = None
) -> ModelFile:
    """Writes a model to a path, by default to its place in the cache."""
    network = spec.network
    arrays = read_arrays(weights.path, weights.source.kind, network)
    identity = _identity(spec, fingerprint(network, arrays))
    model = new_model(identity, weights.source, spec.precision, spec.activation_ranges, settings)
    if path is None:
        warn_of_replaced(model)
    else:
        model = replace(model, path=path)
    with atomic_path(model.path) as temporary:
        write_onnx(temporary, _with_manifest(_graph(spec, network, arrays), model.manifest))
        del arrays  # the steps below load the file, and both at once are not needed
        _lower_precision(temporary, spec)
        _check(temporary, model.path)
    _logger.info("exported %s", model.path)
    return model


def _with_manifest(model: OnnxModel, manifest: ModelManifest) -> OnnxModel:
    from onnx import helper

    helper.set_model_props(model.proto, {METADATA_KEY: json.dumps(manifest.to_json(), sort_keys=True)})
    return model


def _graph(spec: ModelSpec, network: SubNetwork, arrays: Mapping[str, LayerArrays]) -> OnnxModel:
    return build_graph(
        network,
        arrays,
        normalization=spec.backbone.normalization,
        pooling=spec.pooling,
        dimension=spec.dimension,
        convs_pad=spec.precision is Precision.INT8,
    )


def _lower_precision(written: Path, spec: ModelSpec) -> None:
    """Converts the fp32 model in a file to the precision of the spec."""
    if spec.precision is Precision.FP16:
        kept = write_fp16(written)
        _logger.info("fp16, but for %s nodes in fp32: %s", len(kept), ", ".join(kept))
    elif spec.activation_ranges is not None:
        write_int8(written, spec.activation_ranges, kept=find_fp32_convolutions(spec.network))


def _check(written: Path, path: Path) -> None:
    """Runs ONNX's own checker on the file, before it is renamed into place."""
    import onnx

    try:
        onnx.checker.check_model(written, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"{path} was not written: ONNX's checker refuses the graph ({error}); please report this"
        ) from error


def _identity(spec: ModelSpec, weights_fingerprint: str) -> ModelIdentity:
    return ModelIdentity(
        backbone=spec.backbone.name,
        layer=spec.layer,
        pooling=spec.pooling,
        preprocessing=preprocessing_id(spec.backbone),
        precision_class=spec.precision_class,
        weights_fingerprint=weights_fingerprint,
        dimension=spec.dimension,
    )


def _stat(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
