"""Emulates a model in bfloat16 on any processor: what one with AMX or AVX512_BF16 computes.

It rounds every kernel to bfloat16, and the output of every convolution, matrix product, batch norm and
addition. Products of two such numbers are exact in fp32 and are summed up in fp32, as by the instructions
`tdpbf16ps` and `vdpbf16ps`. A library may keep more intermediate results in fp32; the emulation rounds
wherever one may round.

bfloat16 is fp32 truncated to 8 bits of significand, the first of which is implicit: rounding to the
nearest, ties to even, changes a value by at most 2**-8 of it.
Source: https://www.intel.com/content/www/us/en/docs/intrinsics-guide/index.html, `_tile_dpbf16ps`
"""

from collections import Counter

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ROUNDED = ("Conv", "Gemm", "MatMul", "BatchNormalization", "Add", "Relu")
"""Nodes whose output is rounded; max pooling and padding only pass values on."""


def convert_to_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rounds kernels and activations of a model in place to bfloat16, and returns it."""
    graph = model.graph
    uses = Counter(name for node in graph.node for name in node.input)
    relus = {node.input[0] for node in graph.node if node.op_type == "Relu"}
    kernels = {node.input[1] for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    for tensor in graph.initializer:
        if tensor.name in kernels:
            values = round_to_bfloat16(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    nodes: list[onnx.NodeProto] = []
    names: dict[str, str] = {}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        nodes.append(node)
        [output] = node.output
        is_followed_by_its_relu = output in relus and uses[output] == 1
        if (node.op_type in ROUNDED and not is_followed_by_its_relu) or node.name == "preprocessing":
            nodes += _rounding(output)
            names[output] = f"{output}/rounded"
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def round_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the nearest numbers that bfloat16 has, ties to even; the values are finite."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def _rounding(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [name], [f"{name}/bfloat16"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", [f"{name}/bfloat16"], [f"{name}/rounded"], to=TensorProto.FLOAT),
    ]
