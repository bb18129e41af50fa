"""Builds an ONNX graph from a network and its weights.

Nodes and initializers carry Keras' layer names. The input is pixels, `uint8 [N, 224, 224, 3]` RGB, which the
graph preprocesses; batch norm after a convolution is folded into it (in float64).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE
from lookalike_core.models.backbones import Normalization, Pooling

from lookalike_exporter.network import (
    INPUT,
    Add,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Relu,
    SubNetwork,
    ZeroPadding,
)
from lookalike_exporter.onnx_file import Array, OnnxModel
from lookalike_exporter.weights import FloatArray, LayerArrays

if TYPE_CHECKING:
    import onnx

OUTPUT = "embeddings"
OPSET = 17
IR_VERSION = 8
"""The version of ONNX 1.12, which every ONNX Runtime since 1.12 reads."""

CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
"""Source: `keras/src/applications/imagenet_utils.py`."""

_NCHW = [0, 3, 1, 2]
_NHWC = [0, 2, 3, 1]


def build_graph(
    network: SubNetwork,
    arrays: Mapping[str, LayerArrays],
    *,
    normalization: Normalization,
    pooling: Pooling,
    dimension: int,
    convs_pad: bool = False,
) -> OnnxModel:
    """Returns the whole model, from pixels to float32 `[N, dimension]`.

    `convs_pad` moves paddings into the convolutions after them, which int8 graphs need: ONNX Runtime does
    that itself only in other graphs.
    """
    from onnx import TensorProto, helper

    graph = _Graph(convs_pad=convs_pad)
    _add_preprocessing(graph, normalization)
    tensors = {INPUT: "preprocessing"}
    for layer in network.layers:
        tensors[layer.name] = _add_layer(graph, layer, network, arrays, tensors)
    _add_pooling(graph, tensors[network.tap], pooling)
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"{network.tap}-{pooling}",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", IMAGE_SIZE, IMAGE_SIZE, 3])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", dimension])],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lookalike",
    )
    return OnnxModel(proto=proto, initializers=graph.initializers)


class _Graph:
    """Collects nodes and initializers."""

    def __init__(self, *, convs_pad: bool) -> None:
        self.convs_pad = convs_pad
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, Array] = {}

    def add_node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:  # noqa: ANN401
        """Adds a node whose one output has the node's name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def add_constant(self, array: Array, name: str) -> str:
        """Adds an initializer; a view of an array is not copied until it is written."""
        self.initializers[name] = array
        return name


def _add_preprocessing(graph: _Graph, normalization: Normalization) -> None:
    """Adds Keras' `imagenet_utils.preprocess_input` in its modes `tf` and `caffe`, to NCHW."""
    from onnx import TensorProto

    x = graph.add_node("Cast", [INPUT], "preprocessing/float", to=TensorProto.FLOAT)
    x = graph.add_node("Transpose", [x], "preprocessing/nchw", perm=_NCHW)
    if normalization is Normalization.TF:
        half = graph.add_constant(np.array(127.5, dtype=np.float32), "preprocessing/half")
        one = graph.add_constant(np.array(1.0, dtype=np.float32), "preprocessing/one")
        x = graph.add_node("Div", [x, half], "preprocessing/scaled")
        graph.add_node("Sub", [x, one], "preprocessing")
    else:
        order = graph.add_constant(np.array([2, 1, 0], dtype=np.int64), "preprocessing/bgr_order")
        mean = np.array(CAFFE_MEAN_BGR, dtype=np.float32).reshape(1, 3, 1, 1)
        x = graph.add_node("Gather", [x, order], "preprocessing/bgr", axis=1)
        graph.add_node("Sub", [x, graph.add_constant(mean, "preprocessing/mean")], "preprocessing")


def _add_layer(  # noqa: PLR0911 - one case for each kind of layer
    graph: _Graph,
    layer: Layer,
    network: SubNetwork,
    arrays: Mapping[str, LayerArrays],
    tensors: Mapping[str, str],
) -> str:
    """Adds one Keras layer; returns the name of its output tensor."""
    inputs = [tensors[name] for name in layer.inputs]
    match layer:
        case Conv():
            folded = _find_batch_norm(layer, network)
            return _add_conv(graph, layer, inputs, arrays, folded, _find_padding(graph, layer, network))
        case BatchNorm():
            if _is_folded(layer, network):
                return inputs[0]
            return _add_batch_norm(graph, layer, inputs[0], arrays[layer.name])
        case Relu():
            return graph.add_node("Relu", inputs, layer.name)
        case ZeroPadding():
            return _add_zero_padding(graph, layer, inputs[0], network)
        case MaxPool():
            window, strides = [layer.size] * 2, [layer.stride] * 2
            return graph.add_node("MaxPool", inputs, layer.name, kernel_shape=window, strides=strides)
        case Add():
            return graph.add_node("Add", inputs, layer.name)
        case Flatten():
            return _add_flatten(graph, inputs[0], layer.name)
        case Dense():
            return _add_dense(graph, layer, inputs[0], arrays[layer.name])
        case _:
            raise AssertionError(f"no graph for {type(layer).__name__}")


def _add_zero_padding(graph: _Graph, layer: ZeroPadding, x: str, network: SubNetwork) -> str:
    """Adds zeros around the image; negative ones before a max pooling.

    ONNX Runtime moves a padding of zeros into the pooling behind it, which then pads with minus infinity
    (`onnxruntime/core/optimizer/pad_fusion.cc`): wrong where values are negative, as behind `conv1_conv`.
    It leaves -0.0 alone, and to a maximum -0.0 is zero.
    """
    if graph.convs_pad and _feeds_only_convs(layer, network):
        return x
    edges = np.array([0, 0, layer.pad, layer.pad] * 2, dtype=np.int64)
    operands = [x, graph.add_constant(edges, f"{layer.name}/pads")]
    if any(isinstance(other, MaxPool) and layer.name in other.inputs for other in network.layers):
        operands.append(graph.add_constant(np.array(-0.0, dtype=np.float32), f"{layer.name}/zero"))
    return graph.add_node("Pad", operands, layer.name)


def _feeds_only_convs(layer: ZeroPadding, network: SubNetwork) -> bool:
    takers = [other for other in network.layers if layer.name in other.inputs]
    return all(isinstance(other, Conv) for other in takers) and network.consumers[layer.name] == len(takers)


def _find_padding(graph: _Graph, conv: Conv, network: SubNetwork) -> int:
    """Returns what a convolution adds on each side, including a padding layer that it replaces."""
    before = next((layer for layer in network.layers if layer.name == conv.inputs[0]), None)
    if graph.convs_pad and isinstance(before, ZeroPadding) and _feeds_only_convs(before, network):
        return conv.same_pad + before.pad
    return conv.same_pad


def _find_batch_norm(conv: Conv, network: SubNetwork) -> BatchNorm | None:
    """Returns the batch norm that is the only consumer of a convolution's output; None otherwise."""
    for layer in network.layers:
        if isinstance(layer, BatchNorm) and layer.inputs == (conv.name,) and _is_folded(layer, network):
            return layer
    return None


def _is_folded(norm: BatchNorm, network: SubNetwork) -> bool:
    before = next((layer for layer in network.layers if layer.name == norm.inputs[0]), None)
    return isinstance(before, Conv) and not before.relu and network.consumers[before.name] == 1


def _add_conv(
    graph: _Graph,
    layer: Conv,
    inputs: Sequence[str],
    arrays: Mapping[str, LayerArrays],
    norm: BatchNorm | None,
    pad: int,
) -> str:
    kernel, bias = arrays[layer.name]["kernel"], arrays[layer.name].get("bias")
    if norm is not None:
        kernel, bias = _fold(kernel, bias, arrays[norm.name], norm.epsilon)
    operands = [*inputs, graph.add_constant(kernel.transpose(3, 2, 0, 1), f"{layer.name}/kernel")]
    if bias is not None:
        operands.append(graph.add_constant(bias, f"{layer.name}/bias"))
    x = graph.add_node(
        "Conv",
        operands,
        layer.name,
        kernel_shape=[layer.kernel] * 2,
        strides=[layer.stride] * 2,
        pads=[pad] * 4,
    )
    return graph.add_node("Relu", [x], f"{layer.name}/relu") if layer.relu else x


def _fold(
    kernel: FloatArray, bias: FloatArray | None, norm: LayerArrays, epsilon: float
) -> tuple[FloatArray, FloatArray]:
    """Returns kernel and bias for `gamma * (conv(x) + bias - mean) / sqrt(variance + epsilon) + beta`."""
    variance = norm["moving_variance"].astype(np.float64)
    scale = norm["gamma"].astype(np.float64) / np.sqrt(variance + epsilon)
    shift = (0.0 if bias is None else bias.astype(np.float64)) - norm["moving_mean"]
    return (kernel * scale).astype(np.float32), (norm["beta"] + shift * scale).astype(np.float32)


def _add_batch_norm(graph: _Graph, layer: BatchNorm, x: str, arrays: LayerArrays) -> str:
    operands = [
        graph.add_constant(arrays[variable], f"{layer.name}/{variable}") for variable in layer.variables
    ]
    return graph.add_node("BatchNormalization", [x, *operands], layer.name, epsilon=layer.epsilon)


def _add_flatten(graph: _Graph, x: str, name: str) -> str:
    """Adds Keras' flattening to height, width, channels; the graph's own order is channels first."""
    x = graph.add_node("Transpose", [x], f"{name}/nhwc", perm=_NHWC)
    return graph.add_node("Flatten", [x], name, axis=1)


def _add_dense(graph: _Graph, layer: Dense, x: str, arrays: LayerArrays) -> str:
    kernel = graph.add_constant(arrays["kernel"], f"{layer.name}/kernel")
    bias = graph.add_constant(arrays["bias"], f"{layer.name}/bias")
    return graph.add_node(
        "Relu", [graph.add_node("Gemm", [x, kernel, bias], layer.name)], f"{layer.name}/relu"
    )


def _add_pooling(graph: _Graph, x: str, pooling: Pooling) -> None:
    match pooling:
        case Pooling.NONE:
            graph.add_node("Identity", [x], OUTPUT)
        case Pooling.FLATTEN:
            _add_flatten(graph, x, OUTPUT)
        case Pooling.AVG | Pooling.MAX:
            kind = "ReduceMean" if pooling is Pooling.AVG else "ReduceMax"
            graph.add_node(kind, [x], OUTPUT, axes=[2, 3], keepdims=0)
