"""A model's protobuf messages, parsed without ONNX: no tensor may refer to another file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from lookalike_core.errors import ModelError
from lookalike_core.models.external_data import append_metadata, check_self_contained, read_metadata
from onnx import TensorProto, helper, numpy_helper


def external() -> TensorProto:
    """Returns a tensor whose values are in another file."""
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return tensor


def inline() -> TensorProto:
    """Returns a tensor with its values, among them bytes that resemble other messages."""
    return numpy_helper.from_array(np.frombuffer(bytes(range(256)), np.float32), "w")


def in_graph(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor as an initializer, like exported ones."""
    return onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(initializer=[inline(), tensor]))


def in_constant(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor in a node's attribute."""
    return onnx.ModelProto(
        graph=onnx.GraphProto(node=[helper.make_node("Constant", [], ["c"], value=tensor)])
    )


def in_list(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor in a list of tensors."""
    node = onnx.NodeProto(attribute=[onnx.AttributeProto(name="all", tensors=[inline(), tensor])])
    return onnx.ModelProto(graph=onnx.GraphProto(node=[node]))


def in_branch(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor in a subgraph of a node."""
    inner = in_graph(tensor).graph
    node = onnx.NodeProto(attribute=[onnx.AttributeProto(name="then_branch", g=inner)])
    return onnx.ModelProto(graph=onnx.GraphProto(node=[node]))


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor in one of its own functions."""
    return onnx.ModelProto(functions=[onnx.FunctionProto(node=in_constant(tensor).graph.node)])


def in_sparse(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor as values of a sparse one."""
    return onnx.ModelProto(graph=onnx.GraphProto(sparse_initializer=[onnx.SparseTensorProto(values=tensor)]))


def in_training(tensor: TensorProto) -> onnx.ModelProto:
    """Returns a model with the tensor in its training information."""
    return onnx.ModelProto(training_info=[onnx.TrainingInfoProto(initialization=in_graph(tensor).graph)])


@pytest.mark.parametrize(
    "holding", [in_graph, in_constant, in_list, in_branch, in_function, in_sparse, in_training]
)
def test_a_tensor_in_another_file_is_found_wherever_it_is(
    holding: Callable[[TensorProto], onnx.ModelProto], tmp_path: Path
) -> None:
    """The same model with inline values passes."""
    path = tmp_path / "model.onnx"
    path.write_bytes(holding(external()).SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx reads values from other files"):
        check_self_contained(path)
    path.write_bytes(holding(inline()).SerializeToString())
    check_self_contained(path)


def graph_in_graph(depth: int) -> bytes:
    """Returns a graph nested to this depth."""
    inner = onnx.GraphProto()
    for _ in range(depth):
        inner = onnx.GraphProto(node=[onnx.NodeProto(attribute=[onnx.AttributeProto(g=inner)])])
    return onnx.ModelProto(graph=inner).SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>404</html>",
        in_graph(inline()).SerializeToString()[:-5],
        b"\x3a" + b"\xff" * 20,
        b"\x0b",
        b"\x08",
        graph_in_graph(30),
    ],
    ids=["empty", "page", "cut", "endless-number", "group", "no-value", "deep"],
)
def test_files_that_are_no_models_are_refused(content: bytes, tmp_path: Path) -> None:
    """Every such file is refused with one line."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded \(it is not an ONNX file\)"):
        check_self_contained(path)


def test_metadata_is_read_past_the_graph_and_added_behind_it(tmp_path: Path) -> None:
    """ONNX reads appended metadata like any other, long and non-ASCII text included."""
    path = tmp_path / "model.onnx"
    model = in_graph(inline())
    helper.set_model_props(model, {"one": "1", "letters": "ä\n"})
    onnx.save_model(model, path)
    append_metadata(path, "long", "x" * 9000)
    wanted = {"one": "1", "letters": "ä\n", "long": "x" * 9000}
    assert read_metadata(path) == wanted
    assert {entry.key: entry.value for entry in onnx.load(path).metadata_props} == wanted


@pytest.mark.parametrize("size", [0, 1, 40, -1])
def test_metadata_of_a_truncated_file_is_an_error(tmp_path: Path, size: int) -> None:
    """A truncated file does not count as one without metadata."""
    path = tmp_path / "model.onnx"
    onnx.save_model(in_graph(inline()), path)
    content = path.read_bytes()[:size]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_metadata(path)
