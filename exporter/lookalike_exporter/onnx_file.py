"""Writes a model tensor by tensor, straight from the arrays that hold its weights.

`onnx.save_model` holds every tensor four times (VGG16 with its dense layers: 2.0 GB for 0.5 GB of weights).
The format does not require that: a message is the sequence of its fields, and a field that holds a message or
bytes is a tag, a length and the content.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lookalike_core.models.external_data import field_header
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A model whose weights are not in its proto; `initializers` are named arrays of any memory layout."""

    proto: "onnx.ModelProto"
    initializers: Mapping[str, Array]


def write_onnx(path: Path, model: OnnxModel) -> None:
    """Writes one ONNX file, equal to that of a proto with the initializers in it."""
    import onnx

    rest = onnx.ModelProto()
    rest.CopyFrom(model.proto)
    rest.ClearField("graph")
    graph = model.proto.graph.SerializeToString()
    headers = {name: _tensor_header(name, array) for name, array in model.initializers.items()}
    size = len(graph) + sum(len(headers[name]) + array.nbytes for name, array in model.initializers.items())
    with path.open("wb") as file:
        file.write(rest.SerializeToString())
        file.write(field_header(onnx.ModelProto.GRAPH_FIELD_NUMBER, size))
        file.write(graph)
        for name, array in model.initializers.items():
            file.write(headers[name])
            file.write(_little_endian(array).data)


def _tensor_header(name: str, array: Array) -> bytes:
    """Returns the bytes of an initializer before its values."""
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = onnx.TensorProto(name=name, dims=array.shape, data_type=kind).SerializeToString()
    tensor += field_header(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, array.nbytes)
    return field_header(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, len(tensor) + array.nbytes) + tensor


def _little_endian(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
