"""From a backbone, a layer, a pooling and weights to a model file that is ready to run.

The embedder reads the manifest in the model; `models` finds it by the card beside it.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike_core import __version__, locks
from lookalike_core.atomic import atomic_path, named_path, parse_json, sweep_partials, write_json
from lookalike_core.cli.console import Reporter
from lookalike_core.errors import ManifestError, ModelError, UsageError, WeightsError
from lookalike_core.images.decoding import preprocessing_id
from lookalike_core.images.sampling import sample_of
from lookalike_core.models.backbones import (
    RESNET101V2,
    VGG16,
    Backbone,
    Pooling,
    backbone_named,
    check_pooling,
)
from lookalike_core.models.manifest import (
    FLOAT32,
    METADATA_KEY,
    CollectionManifest,
    ModelIdentity,
    ModelManifest,
    Precision,
    Quantization,
    WeightsKind,
    WeightsSource,
)
from lookalike_core.outputs import MODEL_SUFFIXES, is_onnx, output_path
from lookalike_core.settings import Settings
from lookalike_core.stores.points import MAX_DIMENSION

from lookalike_exporter import model_cache as models
from lookalike_exporter.graph import build_graph
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.model_cache import (
    ModelFile,
    known_models,
    model_at_hand,
    model_path,
    other_in,
    place_for,
    require_current,
)
from lookalike_exporter.network import Flatten, Network, SubNetwork
from lookalike_exporter.onnx_file import OnnxModel, write_onnx
from lookalike_exporter.quantization import calibration, has_int8, kept_in_fp32, write_fp16, write_int8
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.vgg16 import vgg16
from lookalike_exporter.weights import LayerArrays, fingerprint, read_arrays
from lookalike_exporter.weights_sources import WeightsFile, locate_weights, weights_kind, weights_path

CALIBRATED_ON = 64
"""Pictures of the folder, where it has so many; figures for so many are in benchmarks/README.md."""

EXPORT_TIMEOUT_S = 600.0
"""How long to wait for another process that makes a model, downloads included."""

PathFor = Callable[[ModelManifest], Path]
"""Where a model goes; most are named after their identity, which is known once the weights are read."""

NETWORKS = {RESNET101V2.name: resnet101v2, VGG16.name: vgg16}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What is wanted: `weights` is `imagenet`, `imagenet-wheel` or the path of a Keras file.

    An int8 model needs its `quantization`, which `calibrated` finds.
    """

    backbone: Backbone
    layer: str
    pooling: Pooling
    weights: str
    precision: Precision = Precision.FP32
    quantization: Quantization | None = None

    @classmethod
    def of(
        cls,
        backbone: str,
        *,
        layer: str | None = None,
        pooling: str | None = None,
        weights: str = WeightsKind.IMAGENET,
        precision: str = Precision.FP32,
    ) -> "ModelSpec":
        """Fills in the defaults of a backbone and refuses what does not fit together.

        Raises:
            UsageError: an unknown backbone or layer, a pooling that the layer does not take, vectors too long
                for Qdrant, or int8 where nothing would be of 8 bits.
        """
        record = backbone_named(backbone)
        tap = layer or record.default_layer
        _check_tap(record, tap)
        spec = cls(
            backbone=record,
            layer=tap,
            pooling=check_pooling(record, tap, Pooling(pooling) if pooling else None),
            weights=str(weights),
            precision=Precision(precision),
        )
        if spec.precision is Precision.INT8 and not has_int8(spec.network):
            raise UsageError(
                f"int8 leaves the first convolution as it is, and there is no other up to {tap}; "
                "use a later layer or --precision fp32"
            )
        if spec.dimension > MAX_DIMENSION:
            raise UsageError(
                f"{record.title} {tap} flattened gives {spec.dimension:,} values and Qdrant takes "
                f"{MAX_DIMENSION:,}; use --pooling avg or a later layer"
            )
        return spec

    @classmethod
    def of_collection(cls, manifest: CollectionManifest | ModelManifest) -> "ModelSpec":
        """What a collection was made with, its weights from where they came."""
        identity, source = manifest.identity, manifest.weights
        spec = cls.of(
            identity.backbone,
            layer=identity.layer,
            pooling=identity.pooling,
            weights=str(source.path) if source.kind is WeightsKind.FILE else source.kind,
            precision=manifest.precision,
        )
        return replace(spec, quantization=manifest.quantization)

    @property
    def space(self) -> str:
        """The precision in the identity: one for fp32 and fp16, and for int8 one for each quantization."""
        if self.precision is not Precision.INT8:
            return FLOAT32
        if self.quantization is None:
            raise UsageError("an int8 model has to be calibrated on pictures")
        return self.quantization.precision

    @property
    def unpooled(self) -> "ModelSpec":
        """The same layer, every value of it: to look into, not to be a collection.

        So its vectors may be longer than Qdrant takes.
        """
        return replace(self, pooling=Pooling.FLATTEN)

    @property
    def in_fp32(self) -> "ModelSpec":
        """The same in 32 bits: what fewer bits are compared with."""
        return replace(self, precision=Precision.FP32, quantization=None)

    @property
    def network(self) -> SubNetwork:
        """The part of the backbone that the tap needs."""
        return self.whole_network.up_to(self.layer)

    @property
    def whole_network(self) -> Network:
        """All layers of the backbone."""
        return NETWORKS[self.backbone.name]()

    @property
    def dimension(self) -> int:
        """How many values one vector has."""
        shape = self.network.shape
        if self.pooling is Pooling.FLATTEN:
            return shape[0] * shape[1] * shape[2]
        return shape[-1]


def _check_tap(backbone: Backbone, tap: str) -> None:
    """A layer that is there, and that is not another name for a layer and a pooling."""
    last = NETWORKS[backbone.name]().up_to(tap).layers[-1]
    if isinstance(last, Flatten):
        raise UsageError(
            f"{backbone.title}'s {tap} is {last.inputs[0]} as one row; "
            f"use --layer {last.inputs[0]} --pooling flatten"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureModel:
    """A model whose output `[N, H * W * C]` is a whole feature map in that order; `shape` is `(H, W, C)`."""

    path: Path
    manifest: ModelManifest
    shape: tuple[int, int, int]


def made_model(
    wanted: "ModelSpec | Head | CollectionManifest", *, settings: Settings, reporter: Reporter
) -> ModelFile:
    """The model of `ready_model`, which has not found it for a collection.

    Raises:
        WeightsError, ManifestError, StoreLockedError: as `ready_model`.
    """
    if isinstance(wanted, Head):
        from lookalike_exporter.heads.head_graph import ready_headed_model

        return ready_headed_model(wanted, settings=settings, reporter=reporter)
    if isinstance(wanted, CollectionManifest):
        if wanted.identity.head is not None:
            from lookalike_exporter.heads.head_graph import model_of_headed_collection

            return model_of_headed_collection(wanted, settings=settings, reporter=reporter)
        return _model_of_collection(wanted, _to_search_with(wanted), wanted.identity, settings, reporter)
    return _model_of_spec(wanted, settings, reporter)


def unpooled_model(wanted: CollectionManifest, *, settings: Settings, reporter: Reporter) -> FeatureModel:
    """The model that a collection was made with, less its pooling; exported where it is not here.

    Raises:
        UsageError: the collection's layer gives vectors, and there is nothing that was pooled.
        WeightsError, ManifestError, StoreLockedError: as `ready_model`.
    """
    require_current(wanted)
    spec = _to_search_with(wanted)
    if spec.pooling is Pooling.NONE:
        raise UsageError(f"{spec.backbone.title}'s {spec.layer} gives vectors; it has no pooling to undo")
    spec = spec.unpooled
    identity = replace(wanted.identity, pooling=spec.pooling, dimension=spec.dimension)
    model = _model_of_collection(wanted, spec, identity, settings, reporter)
    height, width, channels = spec.network.shape
    return FeatureModel(path=model.path, manifest=model.manifest, shape=(height, width, channels))


def calibrated(
    spec: ModelSpec,
    folder: Path,
    *,
    recorded: Callable[[], Iterable[CollectionManifest]] = tuple,
    settings: Settings,
    reporter: Reporter,
) -> ModelSpec:
    """The spec with its quantization, where it is one of int8 that lacks it.

    That of a recorded collection with the same weights, layer and pooling is taken over, so that its space
    goes on; else the pictures of a folder are looked at.

    Raises:
        UsageError: none of them can be read.
        WeightsError, StoreLockedError: as `ready_model`.
    """
    if spec.precision is not Precision.INT8 or spec.quantization is not None:
        return spec
    known = [manifest for manifest in recorded() if manifest.quantization is not None]
    for manifest in known:
        candidate = replace(spec, quantization=manifest.quantization)
        model = _known_model(candidate, settings)
        if model is not None and model.manifest.identity == manifest.identity:
            return candidate
    own_file = weights_kind(spec.weights) is WeightsKind.FILE
    with nullcontext() if own_file else _alone(settings, reporter):
        weights = _locate(spec, settings, reporter)
    network = spec.network
    arrays = read_arrays(weights.path, weights.source.kind, network)
    for manifest in known:
        candidate = replace(spec, quantization=manifest.quantization)
        if _manifest(candidate, weights.source, fingerprint(network, arrays)).identity == manifest.identity:
            return candidate
    reporter.say(f"calibrating {spec.backbone.name} for int8 on up to {CALIBRATED_ON} pictures of {folder}")
    with tempfile.TemporaryDirectory(prefix="lookalike-") as temporary:
        path = Path(temporary) / "fp32.onnx"
        write_onnx(path, _graph(spec, network, arrays))
        del arrays
        pictures = sample_of(folder, count=CALIBRATED_ON)
        quantization = calibration(path, pictures, backbone=spec.backbone.name)
    return replace(spec, quantization=quantization)


def export_to(path: Path, spec: ModelSpec, *, settings: Settings, reporter: Reporter) -> ModelFile:
    """Exports to a path of the user's choice, which ends in `.onnx`.

    Raises:
        UsageError: the path has another suffix, or what lies there is not to be replaced.
        OSError: no file can be written there.
        WeightsError: the weights cannot be had or do not fit.
    """
    _check_writable(path)
    path = output_path(path, "--output", MODEL_SUFFIXES, is_ours=is_onnx)
    own_file = weights_kind(spec.weights) is WeightsKind.FILE
    with nullcontext() if own_file else _alone(settings, reporter):
        return _export(spec, _locate(spec, settings, reporter), lambda _: path, reporter)


def _check_writable(path: Path) -> None:
    """As far as it can be known before weights are fetched and a model is built for nothing."""
    folder = next(parent for parent in named_path(str(path), "--output").parents if parent.exists())
    if not folder.is_dir():
        raise UsageError(f"{path} cannot be written: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path} cannot be written: you may not write to {folder}")


def _model_of_spec(spec: ModelSpec, settings: Settings, reporter: Reporter) -> ModelFile:
    """Found, or made; whoever waited for another process finds what that one made."""
    if (model := _known_model(spec, settings)) is not None:
        return model
    if weights_kind(spec.weights) is WeightsKind.FILE:
        weights_path(spec.weights)  # what cannot be need not wait, and leaves no folder behind
    with _alone(settings, reporter):
        if (model := _known_model(spec, settings)) is not None:
            return model
        weights = _locate(spec, settings, reporter)
        model = _export(spec, weights, lambda manifest: place_for(manifest, settings, reporter), reporter)
        card = {"manifest": model.manifest.to_json(), "weights_stat": _stat(weights.path)}
        write_json(model.path.with_suffix(".json"), card)
    return model


@contextmanager
def _alone(settings: Settings, reporter: Reporter) -> Iterator[None]:
    """One process at a time fetches weights and writes models; it clears what killed ones left."""

    def say_wait(holder: str) -> None:
        reporter.say(f"waiting up to {EXPORT_TIMEOUT_S:g} s for {holder}, which makes a model")

    folder = settings.models_dir
    with locks.held(folder, "export", what=str(folder), timeout_s=EXPORT_TIMEOUT_S, on_wait=say_wait):
        sweep_partials(folder)
        sweep_partials(settings.weights_dir)
        yield


def standing_model(spec: ModelSpec, settings: Settings) -> ModelFile | None:
    """What lies where the model of a spec should, whatever it is: to be looked into, not to be used."""
    return _known_model(spec, settings, by_card=True)


def _known_model(spec: ModelSpec, settings: Settings, *, by_card: bool = False) -> ModelFile | None:
    fitting = (model for model in known_models(settings, by_card=by_card) if _fits(model, spec))
    return next((model for model in fitting if _same_source(model, spec.weights)), None)


def _model_of_collection(
    wanted: CollectionManifest,
    spec: ModelSpec,
    identity: ModelIdentity,
    settings: Settings,
    reporter: Reporter,
) -> ModelFile:
    """The model with this identity, by the weights of a collection."""
    if (model := model_at_hand(identity, settings, precision=spec.precision)) is not None:
        return model
    if wanted.weights.kind is WeightsKind.FILE and not Path(spec.weights).is_file():
        raise WeightsError(
            f"the model of {wanted.collection} is not here any more{_instead(spec, identity, settings)}, and "
            f"neither are its weights {spec.weights}; put that file back, or ingest anew"
        )
    again = "again from" if identity == wanted.identity else "without its pooling from"
    reporter.say(f"exporting the model of {wanted.collection} {again} {spec.weights}")
    model = _model_of_spec(spec, settings, reporter)
    if model.manifest.identity != identity:
        raise ManifestError(
            f"{spec.weights} gives another space than {wanted.collection} was made with: "
            f"{_difference(identity, model.manifest.identity)}. "
            "Bring the old weights back, or ingest anew"
        )
    return model


def _instead(spec: ModelSpec, identity: ModelIdentity, settings: Settings) -> str:
    """What lies in a model's place, where something else does."""
    manifest = ModelManifest(
        identity=identity,
        weights=WeightsSource(kind=WeightsKind.FILE, official=False),
        graph_revision=models.GRAPH_REVISION,
        exporter_version=__version__,
        precision=spec.precision,
        quantization=spec.quantization,
    )
    path = model_path(manifest, settings)
    other = other_in(path, manifest) if path.exists() else ""
    return other and f" ({path} is another: {other})"


def _to_search_with(manifest: CollectionManifest) -> ModelSpec:
    """What one query is embedded with: fp16 is for many pictures on a GPU, and its space is that of fp32."""
    spec = ModelSpec.of_collection(manifest)
    return replace(spec, precision=Precision.FP32) if spec.precision is Precision.FP16 else spec


def _fits(model: ModelFile, spec: ModelSpec) -> bool:
    identity = model.manifest.identity
    return (
        (identity.backbone, identity.layer, identity.pooling, identity.preprocessing, identity.precision)
        == (spec.backbone.name, spec.layer, spec.pooling, preprocessing_id(spec.backbone), spec.space)
        and identity.head is None
    ) and (model.manifest.graph_revision, model.manifest.precision) == (models.GRAPH_REVISION, spec.precision)


def _same_source(model: ModelFile, weights: str) -> bool:
    """Whether a model was made from these weights: for files, as long as size and time are the same."""
    source = model.manifest.weights
    if source.kind != weights_kind(weights):
        return False
    if source.kind is not WeightsKind.FILE:
        return True
    card = parse_json(model.path.with_suffix(".json").read_text(encoding="utf-8"))
    path = named_path(weights, "--weights")
    return source.path == str(path) and path.is_file() and card.get("weights_stat") == _stat(path)


def _locate(spec: ModelSpec, settings: Settings, reporter: Reporter) -> WeightsFile:
    with_top = spec.layer in spec.backbone.top_layers
    return locate_weights(
        spec.backbone, spec.weights, with_top=with_top, settings=settings, reporter=reporter
    )


def _export(spec: ModelSpec, weights: WeightsFile, path_for: PathFor, reporter: Reporter) -> ModelFile:
    network = spec.network
    arrays = read_arrays(weights.path, weights.source.kind, network)
    manifest = _manifest(spec, weights.source, fingerprint(network, arrays))
    path = path_for(manifest)
    with atomic_path(path) as temporary:
        write_onnx(temporary, _model(spec, network, arrays, manifest))
        del arrays  # what follows loads the file, and both at once are not needed
        _lower(temporary, spec, reporter)
        _check(temporary, path)
    reporter.say(f"exported {path}")
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


def _lower(written: Path, spec: ModelSpec, reporter: Reporter) -> None:
    """Makes the fp32 model in a file what the spec asks for."""
    if spec.precision is Precision.FP16:
        kept = write_fp16(written)
        reporter.say(f"fp16, but for {len(kept)} nodes in fp32: {', '.join(kept)}")
    elif spec.quantization is not None:
        write_int8(written, spec.quantization, kept=kept_in_fp32(spec.network))


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
            precision=spec.space,
            weights_fingerprint=weights_fingerprint,
            dimension=spec.dimension,
        ),
        weights=source,
        graph_revision=models.GRAPH_REVISION,
        exporter_version=__version__,
        precision=spec.precision,
        quantization=spec.quantization,
    )


def _stat(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _difference(old: ModelIdentity, new: ModelIdentity) -> str:
    names = [name for name in old.__dataclass_fields__ if getattr(old, name) != getattr(new, name)]
    return "; ".join(f"{name} was {getattr(old, name)} and is {getattr(new, name)}" for name in names)
