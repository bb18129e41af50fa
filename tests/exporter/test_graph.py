"""Graphs in ONNX Runtime against computations in NumPy, on the first layers of both networks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_exporter.export import export_to
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec

TOLERANCE = 1e-4
"""Relative: sums of a few hundred float32 products are in another order."""


@pytest.fixture
def pixels() -> Any:
    """Returns noise, uint8 `[2, 224, 224, 3]`."""
    return np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def test_zero_padding_before_max_pooling_counts_over_negative_values(
    tmp_path: Path, home: Settings, save: Any, resnet_arrays: Any, pixels: Any
) -> None:
    """The padding before ResNet101V2's first pooling is kept, although the runtime tends to optimise it away.

    If every value is -1, the windows of the first row and column include a zero of the padding.
    """
    resnet_arrays["conv1_conv"]["kernel"][:] = 0
    resnet_arrays["conv1_conv"]["bias"][:] = -1
    weights = save(tmp_path / "resnet.h5", resnet_arrays)
    largest = _embed(tmp_path, home, "resnet", "pool1_pool", Pooling.MAX, weights, pixels)
    mean = _embed(tmp_path, home, "resnet", "pool1_pool", Pooling.AVG, weights, pixels)
    np.testing.assert_array_equal(largest, np.zeros((2, 64)))
    np.testing.assert_allclose(mean, np.full((2, 64), -(55**2) / 56**2), rtol=TOLERANCE)


def test_colours_are_prepared_for_vgg(
    tmp_path: Path, home: Settings, save: Any, vgg_arrays: Any, pixels: Any
) -> None:
    """ImageNet's mean colour is subtracted from blue, green and red, as a kernel for one channel shows."""
    kernel, bias = vgg_arrays["block1_conv1"].values()
    kernel[:], bias[:] = 0, 200
    for channel in range(3):
        kernel[1, 1, channel, channel] = 1
    weights = save(tmp_path / "vgg.h5", vgg_arrays)
    found = _embed(tmp_path, home, "vgg", "block1_conv1", Pooling.AVG, weights, pixels)
    means = pixels.mean(axis=(1, 2))[:, ::-1] - [103.939, 116.779, 123.68] + 200
    np.testing.assert_allclose(found[:, :3], means, rtol=TOLERANCE)


def test_colours_are_prepared_for_resnet(
    tmp_path: Path, home: Settings, save: Any, resnet_arrays: Any, pixels: Any
) -> None:
    """Red, green and blue are scaled to -1 to 1, as every second pixel shows."""
    kernel, bias = resnet_arrays["conv1_conv"].values()
    kernel[:], bias[:] = 0, 0
    for channel in range(3):
        kernel[3, 3, channel, channel] = 1
    weights = save(tmp_path / "resnet.h5", resnet_arrays)
    found = _embed(tmp_path, home, "resnet", "conv1_conv", Pooling.AVG, weights, pixels)
    means = pixels[:, ::2, ::2].mean(axis=(1, 2)) / 127.5 - 1
    np.testing.assert_allclose(found[:, :3], means, rtol=TOLERANCE)


def test_a_batch_norm_is_folded_into_the_convolution_before_it(
    tmp_path: Path, home: Settings, save: Any, resnet_arrays: Any, pixels: Any
) -> None:
    """Average pooling commutes with it, so that NumPy can compute the expected values."""
    weights = save(tmp_path / "resnet.h5", resnet_arrays)
    plain = _embed(tmp_path, home, "resnet", "conv2_block1_1_conv", Pooling.AVG, weights, pixels)
    normed = _embed(tmp_path, home, "resnet", "conv2_block1_1_bn", Pooling.AVG, weights, pixels)
    gamma, beta, mean, variance = resnet_arrays["conv2_block1_1_bn"].values()
    expected = gamma * (plain - mean) / np.sqrt(variance + 1.001e-5) + beta
    np.testing.assert_allclose(normed, expected, rtol=TOLERANCE)


def test_a_folded_batch_norm_leaves_no_node(
    tmp_path: Path, home: Settings, save: Any, resnet_arrays: Any
) -> None:
    """One before an activation stays, because there is no convolution before it."""
    weights = save(tmp_path / "resnet.h5", resnet_arrays)
    model = _export(tmp_path, home, "resnet", "conv2_block1_1_relu", Pooling.AVG, weights)
    names = {node.name for node in onnx.load(model.path).graph.node}
    assert {"conv2_block1_preact_bn", "conv2_block1_1_conv", "conv2_block1_1_relu"} <= names
    assert "conv2_block1_1_bn" not in names


def test_flattening_keeps_the_order_of_keras(
    tmp_path: Path, home: Settings, save: Any, vgg_arrays: Any, pixels: Any
) -> None:
    """The order is height, width, channels: maximum and mean of every 64th value are those of its channel."""
    weights = save(tmp_path / "vgg.h5", vgg_arrays)
    pooled = ModelSpec.of("vgg", layer="block1_pool", weights=str(weights))
    too_long = replace(pooled, pooling=Pooling.FLATTEN)  # for Qdrant, not for ONNX
    model = export_to(tmp_path / "flat.onnx", too_long, settings=home)
    flat = Embedder.load(model.path, provider="cpu").embed(pixels)
    features = flat.reshape(2, 112, 112, 64)
    largest = _embed(tmp_path, home, "vgg", "block1_pool", Pooling.MAX, weights, pixels)
    mean = _embed(tmp_path, home, "vgg", "block1_pool", Pooling.AVG, weights, pixels)
    np.testing.assert_allclose(features.max(axis=(1, 2)), largest, rtol=TOLERANCE)
    np.testing.assert_allclose(features.mean(axis=(1, 2)), mean, rtol=TOLERANCE)


def test_an_image_has_the_same_vector_in_every_batch(
    tmp_path: Path, home: Settings, save: Any, vgg_arrays: Any
) -> None:
    """The batch dimension is free, and images do not affect each other."""
    pixels = np.random.default_rng(2).integers(0, 256, (7, 224, 224, 3), dtype=np.uint8)
    weights = save(tmp_path / "vgg.h5", vgg_arrays)
    model = _export(tmp_path, home, "vgg", "block2_pool", Pooling.AVG, weights)
    embedder = Embedder.load(model.path, provider="cpu")
    together = embedder.embed(pixels)
    assert together.shape == (7, 128)
    for image, vector in zip(pixels, together, strict=True):
        np.testing.assert_allclose(embedder.embed_one(image), vector, rtol=TOLERANCE)


def _export(
    folder: Path, home: Settings, backbone: str, layer: str, pooling: Pooling, weights: Path
) -> ModelFile:
    spec = ModelSpec.of(backbone, layer=layer, pooling=pooling, weights=str(weights))
    return export_to(folder / "model.onnx", spec, settings=home)


def _embed(
    folder: Path, home: Settings, backbone: str, layer: str, pooling: Pooling, weights: Path, pixels: Any
) -> Any:
    model = _export(folder, home, backbone, layer, pooling, weights)
    return Embedder.load(model.path, provider="cpu").embed(pixels)
