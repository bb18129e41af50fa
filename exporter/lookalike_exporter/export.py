"""From the spec of a model to a model file that is ready to run: found here, or exported.

The embedder reads the manifest in the model; `model_cache` finds it by the card beside it.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from lookalike_core import __version__, locks
from lookalike_core.atomic import atomic_path, named_path, parse_json, sweep_partials, write_json
from lookalike_core.errors import ModelError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.sampling import sample_of
from lookalike_core.logs import logger_of
from lookalike_core.models.model_manifest import (
    METADATA_KEY,
    ModelIdentity,
    ModelManifest,
    Precision,
    WeightsKind,
    WeightsSource,
)
from lookalike_core.models.preprocessing import preprocessing_id
from lookalike_core.outputs import MODEL_SUFFIXES, is_onnx, output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest

from lookalike_exporter import model_cache
from lookalike_exporter.graph import build_graph
from lookalike_exporter.model_cache import ModelFile, known_models, place_for
from lookalike_exporter.network import SubNetwork
from lookalike_exporter.onnx_file import OnnxModel, write_onnx
from lookalike_exporter.quantization import calibration, write_fp16, write_int8
from lookalike_exporter.spec import ModelSpec, kept_in_fp32
from lookalike_exporter.weights import LayerArrays, fingerprint, read_arrays
from lookalike_exporter.weights_sources import WeightsFile, locate_weights, weights_path

_logger = logger_of("exporter")

CALIBRATED_ON = 64
"""Images of the folder, where it has so many; figures for so many are in benchmarks/README.md."""

EXPORT_TIMEOUT_S = 600.0
"""How long to wait for another process that makes a model, downloads included."""

PathFor = Callable[[ModelManifest], Path]
"""Where a model goes; most are named after their identity, which is known once the weights are read."""


def ready_model(spec: ModelSpec, *, settings: Settings, timeout_s: float = EXPORT_TIMEOUT_S) -> ModelFile:
    """Returns the model of a spec; exports it where it is not here.

    Whoever has waited for another process, up to `timeout_s`, finds what that one made.

    Raises:
        UsageError: the spec is of an int8 model and lacks what `calibrated` finds.
        WeightsError: the weights cannot be had or do not fit.
        StoreLockedError: another process has been making a model all the while.
    """
    if (model := _known_model(spec, settings)) is not None:
        return model
    if spec.weights_kind is WeightsKind.FILE:
        weights_path(spec.weights)  # what cannot be need not wait, and leaves no folder behind
    with _alone(settings, timeout_s):
        if (model := _known_model(spec, settings)) is not None:
            return model
        weights = _locate(spec, settings)
        model = _export(spec, weights, lambda manifest: place_for(manifest, settings))
        card = {"manifest": model.manifest.to_json(), "weights_stat": _stat(weights.path)}
        write_json(model.path.with_suffix(".json"), card)
    return model


def calibrated(
    spec: ModelSpec,
    folder: Path | None,
    *,
    recorded: Callable[[], Iterable[CollectionManifest]] = tuple,
    settings: Settings,
) -> ModelSpec:
    """Returns the spec with its activation ranges, where it is one of int8 that lacks them.

    Those of a recorded collection with the same weights, layer and pooling are taken over, so that its space
    goes on; else the images of a folder are looked at.

    Raises:
        UsageError: none of them can be read, or there is no folder.
        WeightsError, StoreLockedError: as `ready_model`.
    """
    if spec.precision is not Precision.INT8 or spec.activation_ranges is not None:
        return spec
    if folder is None:
        raise UsageError(
            "an int8 model is calibrated on a folder of images", hint=Hint(Action.NAME_CALIBRATION_FOLDER)
        )
    known = [manifest for manifest in recorded() if manifest.activation_ranges is not None]
    for manifest in known:
        candidate = replace(spec, activation_ranges=manifest.activation_ranges)
        model = _known_model(candidate, settings)
        if model is not None and model.manifest.identity == manifest.identity:
            return candidate
    own_file = spec.weights_kind is WeightsKind.FILE
    with nullcontext() if own_file else _alone(settings):
        weights = _locate(spec, settings)
    network = spec.network
    arrays = read_arrays(weights.path, weights.source.kind, network)
    for manifest in known:
        candidate = replace(spec, activation_ranges=manifest.activation_ranges)
        if _manifest(candidate, weights.source, fingerprint(network, arrays)).identity == manifest.identity:
            return candidate
    _logger.info(
        "calibrating %s for int8 on up to %s images of %s", spec.backbone.name, CALIBRATED_ON, folder
    )
    with tempfile.TemporaryDirectory(prefix="lookalike-") as temporary:
        path = Path(temporary) / "fp32.onnx"
        write_onnx(path, _graph(spec, network, arrays))
        del arrays
        images = sample_of(folder, count=CALIBRATED_ON)
        ranges = calibration(path, images, backbone=spec.backbone.name)
    return replace(spec, activation_ranges=ranges)


def export_to(path: Path, spec: ModelSpec, *, settings: Settings) -> ModelFile:
    """Exports to a path of the user's choice, which ends in `.onnx`.

    Raises:
        UsageError: the path has another suffix, or what lies there is not to be replaced.
        OSError: no file can be written there.
        WeightsError: the weights cannot be had or do not fit.
    """
    _check_writable(path)
    path = output_path(path, Argument.OUTPUT, MODEL_SUFFIXES, is_ours=is_onnx)
    own_file = spec.weights_kind is WeightsKind.FILE
    with nullcontext() if own_file else _alone(settings):
        return _export(spec, _locate(spec, settings), lambda _: path)


def _check_writable(path: Path) -> None:
    """As far as it can be known before weights are fetched and a model is built for nothing."""
    folder = next(parent for parent in named_path(str(path), Argument.OUTPUT).parents if parent.exists())
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: you may not write to {folder}")


@contextmanager
def _alone(settings: Settings, timeout_s: float = EXPORT_TIMEOUT_S) -> Iterator[None]:
    """One process at a time fetches weights and writes models; it clears what killed ones left."""

    def say_wait(holder: str) -> None:
        _logger.info("waiting up to %g s for %s, which makes a model", timeout_s, holder)

    folder = settings.models_dir
    model_cache.require_writable(folder, settings)
    with locks.held(folder, "export", what=str(folder), timeout_s=timeout_s, on_wait=say_wait):
        sweep_partials(folder)
        sweep_partials(settings.weights_dir)
        yield


def standing_model(spec: ModelSpec, settings: Settings) -> ModelFile | None:
    """What lies where the model of a spec should, whatever it is: to be looked into, not to be used."""
    return _known_model(spec, settings, by_card=True)


def _known_model(spec: ModelSpec, settings: Settings, *, by_card: bool = False) -> ModelFile | None:
    fitting = (model for model in known_models(settings, by_card=by_card) if _fits(model, spec))
    return next((model for model in fitting if _same_source(model, spec.weights)), None)


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
        model_cache.GRAPH_REVISION,
        spec.precision,
        spec.precision_class,
    )
    return is_of_layer and is_prepared_so and is_same_graph


def _same_source(model: ModelFile, weights: str) -> bool:
    """Whether a model was made from these weights: for files, as long as size and time are the same."""
    source = model.manifest.weights
    if source.kind != WeightsKind.of(weights):
        return False
    if source.kind is not WeightsKind.FILE:
        return True
    card = parse_json(model.path.with_suffix(".json").read_text(encoding="utf-8"))
    path = named_path(weights, Argument.WEIGHTS)
    return source.path == str(path) and path.is_file() and card.get("weights_stat") == _stat(path)


def _locate(spec: ModelSpec, settings: Settings) -> WeightsFile:
    return locate_weights(spec.backbone, spec.weights, with_top=spec.needs_top, settings=settings)


def _export(spec: ModelSpec, weights: WeightsFile, path_for: PathFor) -> ModelFile:
    network = spec.network
    arrays = read_arrays(weights.path, weights.source.kind, network)
    manifest = _manifest(spec, weights.source, fingerprint(network, arrays))
    path = path_for(manifest)
    with atomic_path(path) as temporary:
        write_onnx(temporary, _model(spec, network, arrays, manifest))
        del arrays  # what follows loads the file, and both at once are not needed
        _lower(temporary, spec)
        _check(temporary, path)
    _logger.info("exported %s", path)
    return ModelFile(path=path, manifest=manifest)


def _model(
    spec: ModelSpec, network: SubNetwork, arrays: Mapping[str, LayerArrays], manifest: ModelManifest
) -> OnnxModel:
    from onnx import helper

    model = _graph(spec, network, arrays)
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


def _lower(written: Path, spec: ModelSpec) -> None:
    """Makes the fp32 model in a file what the spec asks for."""
    if spec.precision is Precision.FP16:
        kept = write_fp16(written)
        _logger.info("fp16, but for %s nodes in fp32: %s", len(kept), ", ".join(kept))
    elif spec.activation_ranges is not None:
        write_int8(written, spec.activation_ranges, kept=kept_in_fp32(spec.network))


def _check(written: Path, path: Path) -> None:
    """Lets ONNX's own checker read the file, before it gets its name."""
    import onnx

    try:
        onnx.checker.check_model(written, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"{path} was not written: ONNX's checker refuses the graph ({error}); please report this"
        ) from error


def _manifest(spec: ModelSpec, source: WeightsSource, weights_fingerprint: str) -> ModelManifest:
    return ModelManifest(
        identity=ModelIdentity(
            backbone=spec.backbone.name,
            layer=spec.layer,
            pooling=spec.pooling,
            preprocessing=preprocessing_id(spec.backbone),
            precision_class=spec.precision_class,
            weights_fingerprint=weights_fingerprint,
            dimension=spec.dimension,
        ),
        weights=source,
        graph_revision=model_cache.GRAPH_REVISION,
        exporter_version=__version__,
        graph_precision=spec.precision,
        activation_ranges=spec.activation_ranges,
    )


def _stat(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
