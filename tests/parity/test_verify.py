"""`exporter verify` with Keras: how Keras loads the weights, and the effect of a difference."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_core.settings import Settings
from lookalike_exporter.export import export_to
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verify import Check, Outcome, verify_model
from onnx import numpy_helper

pytestmark = [
    # Keras turns TensorFlow's tensors into arrays in a way that NumPy 2 no longer likes.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
    pytest.mark.usefixtures("keras"),
]


@pytest.mark.parametrize(
    ("backbone", "layer", "suffix"),
    [("resnet101v2", "conv2_block1_out", ".weights.h5"), ("vgg16", "block2_pool", ".h5")],
)
def test_keras_reads_its_own_files_itself(
    backbone: str, layer: str, suffix: str, get_judge: Callable[[str], Any], tmp_path: Path, home: Settings
) -> None:
    """Both formats are read, as whole networks."""
    check = _verify(backbone, layer, get_judge(backbone).files[suffix], tmp_path, home)
    assert check.outcome is Outcome.OK, check.detail
    assert check.detail.endswith(f"Keras read seeded{suffix} itself")


def test_keras_leaves_out_the_dense_layers_of_a_whole_file(
    get_judge: Callable[[str], Any], tmp_path: Path, home: Settings
) -> None:
    """The tap needs convolutions only, and Keras' network in the comparison has no other layers."""
    check = _verify("vgg16", "block1_pool", get_judge("vgg16").files[".weights.h5"], tmp_path, home)
    assert check.outcome is Outcome.OK, check.detail
    assert "Keras read seeded.weights.h5 itself" in check.detail


def test_keras_reads_a_partial_file_by_layer_name(tiny_weights: Path, tmp_path: Path, home: Settings) -> None:
    """Two of thirteen convolutions are enough for a tap after them."""
    check = _verify("vgg16", "block1_pool", tiny_weights, tmp_path, home)
    assert check.outcome is Outcome.OK, check.detail
    assert "Keras read tiny.h5 itself, by layer name" in check.detail


def test_a_file_that_keras_cannot_read_is_reported(
    tiny_weights: Path, tmp_path: Path, home: Settings
) -> None:
    """Keras relies on the suffix; it gets the weights from our reader, and the report says so."""
    renamed = tmp_path / "tiny.weights"
    renamed.write_bytes(tiny_weights.read_bytes())
    check = _verify("vgg16", "block1_pool", renamed, tmp_path, home)
    assert check.outcome is Outcome.OK, check.detail
    assert (
        "Keras cannot read tiny.weights itself; its layers were set to what our reader read" in check.detail
    )


def test_a_model_that_differs_from_keras_fails(tiny_weights: Path, tmp_path: Path, home: Settings) -> None:
    """One of 64 kernels is flipped; the report has the figures."""
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))
    model = export_to(tmp_path / "model.onnx", spec, settings=home)
    _turn_a_kernel(model.path)
    report = verify_model(model, spec)
    assert report.failed
    (check,) = (check for check in report.checks if check.outcome is Outcome.FAILED)
    assert check.name == "Keras side by side"
    assert "cosine 0." in check.detail


def _verify(backbone: str, layer: str, weights: Path, folder: Path, home: Settings) -> Check:
    spec = ModelSpec.of(backbone, layer=layer, weights=str(weights))
    return _compared(export_to(folder / "model.onnx", spec, settings=home), spec)


def _compared(model: ModelFile, spec: ModelSpec) -> Check:
    return next(check for check in verify_model(model, spec).checks if check.name == "Keras side by side")


def _turn_a_kernel(path: Path) -> None:
    proto = onnx.load(path)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "block1_conv2/kernel")
    kernel = np.array(numpy_helper.to_array(tensor))
    kernel[0] = kernel[0, :, ::-1]
    tensor.CopyFrom(numpy_helper.from_array(kernel, tensor.name))
    onnx.save_model(proto, path)
