"""Measures peers that compute the same vectors, where installed: Keras, TensorFlow, PyTorch, OpenVINO itself.

Each peer is built from the same weights file up to the same layer, with the same pooling, and receives
decoded pixels. For Keras and TensorFlow these are also preprocessed, which our graph does itself; PyTorch's
network includes its preprocessing, as ours does. A peer with different vectors is not measured.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.models.backbones import VGG16, Normalization, Pooling
from lookalike_core.models.model_manifest import WeightsKind
from lookalike_exporter.network import INPUT, Add, BatchNorm, Conv, Layer, MaxPool, Relu, ZeroPadding
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.weights import LayerArrays, read_arrays
from numpy.typing import NDArray

AGREEMENT = 1e-3
"""Part of the largest value by which vectors of the same network may differ."""

Vectors = NDArray[np.float32]
Way = Callable[[], Vectors]


def peers(
    spec: ModelSpec, model: Path, pixels: NDArray[np.uint8], *, batch: int
) -> Iterator[tuple[str, Way]]:
    """Yields names and ways over all pixels, uint8 `[N, 224, 224, 3]`; prints which peer is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for build in (_keras_and_tensorflow, _torch, _openvino):
        try:
            yield from build(spec, model, pixels, batch)
        except ImportError as error:
            print(f"not measured: {build.__name__.strip('_').replace('_', ' ')} ({error})")


def disagreement(ours: Vectors, theirs: Vectors) -> float:
    """Returns the largest difference, as a part of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def _in_batches(run: Callable[[Any], Any], pixels: NDArray[Any], batch: int) -> Vectors:
    parts = [np.asarray(run(pixels[start : start + batch])) for start in range(0, len(pixels), batch)]
    return np.concatenate(parts)


def _keras_and_tensorflow(
    spec: ModelSpec, _model: Path, pixels: NDArray[np.uint8], batch: int
) -> Iterator[tuple[str, Way]]:
    import keras

    network, preprocess = _keras_model(spec)
    prepared = preprocess(pixels.astype(np.float32))
    backend = keras.backend.backend()
    print(f"Keras {keras.__version__} on {backend}")
    yield (
        "Keras predict",
        lambda: np.asarray(network.predict(prepared, batch_size=batch, verbose=0), dtype=np.float32),
    )
    if backend == "tensorflow":
        import tensorflow as tf

        devices = len(tf.config.list_physical_devices("GPU"))
        print(f"TensorFlow {tf.__version__} with {devices or 'no'} GPU")
        function = tf.function(lambda images: network(images, training=False), reduce_retracing=True)
        yield "tf.function", lambda: _in_batches(lambda part: function(tf.constant(part)), prepared, batch)


def _keras_model(spec: ModelSpec) -> tuple[Any, Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """Returns Keras' network up to the layer, pooled, with weights loaded by name, and its preprocessing."""
    from keras import Model, applications, layers

    if spec.backbone is VGG16:
        build, preprocess = applications.VGG16, applications.vgg16.preprocess_input
    else:
        build, preprocess = applications.ResNet101V2, applications.resnet_v2.preprocess_input
    network = build(
        weights=None, input_shape=(224, 224, 3), include_top=spec.layer in spec.backbone.top_layers
    )
    by_name = {} if spec.weights.endswith(".weights.h5") else {"by_name": True}
    network.load_weights(spec.weights, **by_name)
    pool = {
        Pooling.AVG: layers.GlobalAveragePooling2D(),
        Pooling.MAX: layers.GlobalMaxPooling2D(),
        Pooling.FLATTEN: layers.Flatten(),
        Pooling.NONE: layers.Identity(),
    }[spec.pooling]
    return Model(network.input, pool(network.get_layer(spec.layer).output)), preprocess


def _openvino(
    _spec: ModelSpec, model: Path, pixels: NDArray[np.uint8], batch: int
) -> Iterator[tuple[str, Way]]:
    """Yields OpenVINO's own runtime on our ONNX file."""
    import openvino

    compiled = openvino.Core().compile_model(str(model), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    print(f"OpenVINO {openvino.__version__}")
    yield "OpenVINO itself", lambda: _in_batches(lambda part: compiled(part)[0], pixels, batch)


def _torch(spec: ModelSpec, _model: Path, pixels: NDArray[np.uint8], batch: int) -> Iterator[tuple[str, Way]]:
    """Yields PyTorch, with each layer of ours as one of its modules; on the GPU where it has one."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = _torch_network(spec).to(device).eval()
    print(f"PyTorch {torch.__version__} on {device}")

    def run(part: NDArray[np.uint8]) -> Vectors:
        with torch.inference_mode():
            images = torch.from_numpy(part).to(device)
            vectors: Vectors = network(images).cpu().numpy()
            return vectors

    yield "PyTorch", lambda: _in_batches(run, pixels, batch)


def _torch_network(spec: ModelSpec) -> Any:  # noqa: ANN401 - an untyped library
    import torch

    arrays = read_arrays(Path(spec.weights), WeightsKind.FILE, spec.network)
    modules = torch.nn.ModuleDict()
    for layer in spec.network.layers:
        modules[layer.name] = _torch_module(layer, arrays)

    class Tapped(torch.nn.Module):  # type: ignore[misc, name-defined]
        """Runs the layers in their order and pools the output of the last."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = modules

        def forward(self, images: Any) -> Any:  # noqa: ANN401
            outputs = {INPUT: _torch_preprocess(images, spec.backbone.normalization)}
            for layer in spec.network.layers:
                inputs = [outputs[name] for name in layer.inputs]
                outputs[layer.name] = (
                    sum(inputs) if isinstance(layer, Add) else self.layers[layer.name](*inputs)
                )
            features = outputs[spec.layer]
            if spec.pooling is not Pooling.AVG:
                raise ImportError(f"{spec.pooling} pooling is not implemented for PyTorch here")
            return features.mean(dim=(2, 3))

    return Tapped().to(memory_format=torch.channels_last)


def _torch_preprocess(images: Any, normalization: Normalization) -> Any:  # noqa: ANN401
    """Applies `preprocess_input` to uint8 `[N, 224, 224, 3]`; NHWC in memory becomes channels last."""
    import torch
    from lookalike_exporter.graph import CAFFE_MEAN_BGR

    x = images.permute(0, 3, 1, 2).float()
    if normalization is Normalization.TF:
        return x / 127.5 - 1
    mean = torch.tensor(CAFFE_MEAN_BGR, device=x.device).view(1, 3, 1, 1)
    return x.flip(1) - mean


def _torch_module(layer: Layer, arrays: dict[str, LayerArrays]) -> Any:  # noqa: ANN401
    from torch import nn

    match layer:
        case Conv():
            return _torch_conv(layer, arrays[layer.name])
        case BatchNorm():
            return _torch_batch_norm(layer, arrays[layer.name])
        case Relu():
            return nn.ReLU()
        case ZeroPadding():
            return nn.ZeroPad2d(layer.pad)
        case MaxPool():
            return nn.MaxPool2d(layer.size, layer.stride)
        case Add():
            return nn.Identity()
        case _:
            raise ImportError(f"{type(layer).__name__} is not implemented for PyTorch here")


def _torch_conv(layer: Conv, arrays: LayerArrays) -> Any:  # noqa: ANN401
    import torch
    from torch import nn

    conv = nn.Conv2d(
        layer.channels, layer.shape[-1], layer.kernel, layer.stride, layer.same_pad, bias=layer.use_bias
    )
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(np.ascontiguousarray(arrays["kernel"].transpose(3, 2, 0, 1))))
        if conv.bias is not None:
            conv.bias.copy_(torch.from_numpy(arrays["bias"]))
    return nn.Sequential(conv, nn.ReLU()) if layer.relu else conv


def _torch_batch_norm(layer: BatchNorm, arrays: LayerArrays) -> Any:  # noqa: ANN401
    import torch
    from torch import nn

    norm = nn.BatchNorm2d(layer.shape[-1], eps=layer.epsilon)
    ours = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    with torch.no_grad():
        for theirs, variable in ours.items():
            getattr(norm, theirs).copy_(torch.from_numpy(arrays[variable]))
    return norm
