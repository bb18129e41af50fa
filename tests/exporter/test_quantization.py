"""Graphs in fp16 and int8: their agreement with fp32, what stays in fp32, and their vector spaces."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_core.errors import ManifestError, UsageError
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import FLOAT32, Precision
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.quantization import trial_images
from lookalike_exporter.recorded_models import get_feature_model
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.spec import ModelSpec, find_fp32_convolutions
from lookalike_exporter.verify import Comparison, Outcome, verify_model
from lookalike_ingest.target import new_manifest
from numpy.typing import NDArray
from onnx import numpy_helper

Draw = Callable[..., list[Path]]


@pytest.fixture
def spec(tiny_weights: Path) -> ModelSpec:
    """Returns the spec of VGG16's first two convolutions, the second of which int8 quantizes."""
    return ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))


@pytest.fixture
def images(tmp_path: Path, draw: Draw) -> Path:
    """Makes a folder of a dozen drawings, and one file that is not an image."""
    folder = tmp_path / "pictures"
    draw(folder, *(f"{name}.png" for name in "abcdefghijkl"))  # one more than ten neighbours and itself
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def int8(spec: ModelSpec, images: Path, home: Settings) -> ModelSpec:
    """Returns the spec in int8, calibrated on the drawings."""
    return _calibrated(spec, images, home)


def test_fp16_has_the_vector_space_of_fp32(spec: ModelSpec, home: Settings) -> None:
    """Both have one identity and nearly the same vectors; each precision has its own file."""
    whole, half = _ready(spec, home), _ready(replace(spec, precision=Precision.FP16), home)
    assert whole.manifest.identity == half.manifest.identity
    assert whole.manifest.identity.precision_class == FLOAT32
    assert (whole.manifest.graph_precision, half.manifest.graph_precision) == (Precision.FP32, Precision.FP16)
    assert whole.path != half.path
    assert "fp16" in half.path.name
    assert "fp32" not in whole.path.name
    assert _ready(spec, home) == whole
    graph = onnx.load(half.path).graph
    assert _initializers(graph)["block1_conv2/kernel"].dtype == np.float16
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert _cosines(_embed(whole), _embed(half)).min() >= 0.9999


def test_fp16_keeps_nodes_with_too_large_values_in_fp32(
    tmp_path: Path, write_weights: Callable[..., Path], home: Settings, said: list[str]
) -> None:
    """Such nodes are named, and the vectors are those of fp32."""
    spec = ModelSpec.of(
        "vgg", layer="block1_pool", weights=str(write_weights(tmp_path / "large.h5", kernel=70_000.0))
    )
    half = ensure_exported(replace(spec, precision=Precision.FP16), settings=home)
    assert any("block1_conv2" in line and "in fp32" in line for line in said)
    np.testing.assert_allclose(_embed(half), _embed(_ready(spec, home)), rtol=1e-5)


def test_fp16_on_a_processor_gives_a_notice(spec: ModelSpec, home: Settings) -> None:
    """The notice is one line, since fp32 would be faster; other precisions have none."""
    half, whole = _ready(replace(spec, precision=Precision.FP16), home), _ready(spec, home)
    assert "which is for GPUs" in (Embedder.load(half.path, provider="cpu").notice or "")
    assert Embedder.load(whole.path, provider="cpu").notice is None


def test_int8_weights_have_a_scale_for_each_channel(int8: ModelSpec, home: Settings) -> None:
    """They are signed; the first convolution stays in fp32."""
    arrays = _initializers(onnx.load(_ready(int8, home).path).graph)
    assert arrays["block1_conv2/kernel_quantized"].dtype == np.int8
    assert arrays["block1_conv2/kernel_scale"].shape == (64,)
    assert arrays["block1_conv1/kernel"].dtype == np.float32


def test_int8_vectors_are_near_those_of_fp32(spec: ModelSpec, int8: ModelSpec, home: Settings) -> None:
    """Errors of a 256th of the range are averaged over many cells."""
    assert _cosines(_embed(_ready(spec, home)), _embed(_ready(int8, home))).min() >= 0.999


def test_shortcuts_and_the_first_convolution_of_a_residual_network_stay_in_fp32() -> None:
    """Four shortcuts in ResNet101V2 have a convolution."""
    assert find_fp32_convolutions(resnet101v2().up_to("post_relu")) == [
        "conv1_conv",
        "conv2_block1_0_conv",
        "conv3_block1_0_conv",
        "conv4_block1_0_conv",
        "conv5_block1_0_conv",
    ]


def test_padding_within_int8_convolutions_changes_nothing(
    tmp_path: Path, save: Any, resnet_arrays: Any, home: Settings, images: Path
) -> None:
    """ResNet101V2 has a padding layer before its first convolution."""
    weights = str(save(tmp_path / "resnet.h5", resnet_arrays))
    spec = ModelSpec.of("resnet", layer="conv2_block1_1_relu", weights=weights)
    small = _ready(_calibrated(spec, images, home), home)
    kinds = [node.op_type for node in onnx.load(small.path).graph.node]
    assert kinds.count("Pad") == 1  # in front of the pooling
    assert _cosines(_embed(_ready(spec, home)), _embed(small)).min() >= 0.99


def test_the_activation_ranges_are_deterministic_and_recorded(
    spec: ModelSpec, int8: ModelSpec, images: Path, home: Settings
) -> None:
    """The images are chosen by their paths alone; unreadable ones do not count."""
    assert _calibrated(spec, images, home) == int8
    found = _ready(int8, home).manifest.activation_ranges
    assert found is not None
    assert found.images == 12
    assert all(low <= high for low, high in found.ranges.values())


def test_int8_is_exported_again_byte_for_byte_from_its_record(
    int8: ModelSpec, images: Path, home: Settings
) -> None:
    """Neither the model nor the images are needed."""
    model = _ready(int8, home)
    before, collection = model.path.read_bytes(), _collection(model)
    for path in (model.path, model.path.with_suffix(".json"), *images.iterdir()):
        path.unlink()
    stored = CollectionManifest.from_json(collection.to_json())
    again = get_model(stored, settings=home)
    assert again.manifest == model.manifest
    assert again.path.read_bytes() == before


def test_other_activation_ranges_are_another_space(
    spec: ModelSpec, int8: ModelSpec, tmp_path: Path, draw: Draw, home: Settings
) -> None:
    """The error names both collections."""
    draw(tmp_path / "others", "z.png", seed=5)
    other = _ready(_calibrated(spec, tmp_path / "others", home), home)
    ours = _collection(_ready(int8, home))
    sides = (ours.identity.precision_class, other.manifest.identity.precision_class)
    assert sides[0] != sides[1]
    assert all(side.startswith("int8-") for side in sides)
    with pytest.raises(ManifestError, match=f"precision_class is {sides[0]} there and {sides[1]} here"):
        ours.require(other.manifest.identity, ours.distance, name=ours.collection)


def test_a_recorded_space_is_kept_with_other_images_and_a_moved_weights_file(
    spec: ModelSpec, int8: ModelSpec, tmp_path: Path, draw: Draw, home: Settings
) -> None:
    """The same weights are identified by their values; for other weights, ranges are measured again."""
    recorded = _collection(_ready(int8, home))
    draw(tmp_path / "others", "z.png", seed=5)
    moved = tmp_path / "moved.h5"
    moved.write_bytes(Path(spec.weights).read_bytes())
    found = _calibrated(replace(spec, weights=str(moved)), tmp_path / "others", home, recorded)
    assert found.activation_ranges == int8.activation_ranges


def test_other_weights_do_not_take_over_a_recorded_space(
    int8: ModelSpec, tmp_path: Path, images: Path, home: Settings, write_weights: Callable[..., Path]
) -> None:
    """Their activations have other ranges."""
    weights = str(write_weights(tmp_path / "others.h5", seed=9))
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=weights)
    assert _calibrated(spec, images, home, _collection(_ready(int8, home))) != int8


def test_int8_collections_can_be_explained(int8: ModelSpec, home: Settings) -> None:
    """The int8 graph gives every value of the layer, and their mean is the vector."""
    model = _ready(int8, home)
    features = get_feature_model(_collection(model), settings=home)
    cells = Embedder.load(features.path, provider="cpu").embed(trial_images())
    means = cells.reshape(len(cells), -1, 64).mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(means, _embed(model), rtol=1e-3)  # float32 sums over 12,544 cells


def test_int8_without_images_or_without_anything_to_quantize_is_refused(
    spec: ModelSpec, tmp_path: Path, home: Settings
) -> None:
    """Nothing is exported."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="none of the images"):
        _calibrated(spec, tmp_path / "empty", home)
    with pytest.raises(UsageError, match="no other up to block1_conv1"):
        ModelSpec.of("vgg", layer="block1_conv1", precision="int8")
    assert not list(home.home.rglob("*.onnx"))


@pytest.mark.parametrize(("precision", "least"), [("fp16", "98%"), ("int8", "95%")])
def test_verify_compares_fp16_and_int8_with_fp32(
    precision: str, least: str, spec: ModelSpec, int8: ModelSpec, home: Settings, images: Path
) -> None:
    """It compares the neighbours among the given images, and reports cosines."""
    wanted = int8 if precision == "int8" else replace(spec, precision=Precision.FP16)
    comparison = Comparison(fp32=_ready(spec, home), images=images)
    (check,) = (
        check
        for check in verify_model(_ready(wanted, home), wanted, comparison).checks
        if check.name == "fp32 side by side"
    )
    assert check.outcome is Outcome.OK
    assert "cosine to fp32 at least" in check.detail
    assert f"of the 10 nearest are the same (at least {least})" in check.detail


def test_fp16_without_images_is_compared_by_its_vectors(spec: ModelSpec, home: Settings) -> None:
    """Noise images have no meaningful neighbours."""
    wanted = replace(spec, precision=Precision.FP16)
    comparison = Comparison(fp32=_ready(spec, home), images=None)
    checks = {check.name: check for check in verify_model(_ready(wanted, home), wanted, comparison).checks}
    assert checks["fp32 side by side"].outcome is Outcome.OK
    assert "(each at least 0.9999), 3 images of noise" in checks["fp32 side by side"].detail


def _calibrated(spec: ModelSpec, folder: Path, home: Settings, *recorded: CollectionManifest) -> ModelSpec:
    wanted = replace(spec, precision=Precision.INT8)
    return add_activation_ranges(wanted, folder, recorded=lambda: recorded, settings=home)


def _ready(spec: ModelSpec, home: Settings) -> ModelFile:
    return ensure_exported(spec, settings=home)


def _collection(model: ModelFile) -> CollectionManifest:
    return new_manifest(model, Distance.COSINE, provider="CPUExecutionProvider", datasets={})


def _embed(model: ModelFile) -> NDArray[np.float32]:
    return Embedder.load(model.path, provider="cpu").embed(trial_images())


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = one.astype(np.float64), other.astype(np.float64)
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def _initializers(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
