"""The file written tensor by tensor equals that of ONNX' own library."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lookalike_exporter.onnx_file import OnnxModel, write_onnx
from onnx import TensorProto, helper, numpy_helper


@pytest.mark.parametrize("size", [0, 1, 31, 32, 4095, 4096, 600_000])
def test_tensors_of_any_size_are_read_back(size: int, tmp_path: Path) -> None:
    """Lengths are written with seven bits per byte, so sizes on both sides of each limit are tested."""
    model = _model({"weights": np.arange(size, dtype=np.float32)})
    assert _reread(model, tmp_path) == _whole(model)


def test_several_tensors_of_several_types_are_read_back(tmp_path: Path) -> None:
    """They keep their order, beside nodes, names and properties."""
    model = _model(
        {
            "scalar": np.array(-0.0, dtype=np.float32),
            "pads": np.array([0, 0, 1, 1] * 2, dtype=np.int64),
            "kernel": np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32),
        }
    )
    helper.set_model_props(model.proto, {"key": "value"})
    assert _reread(model, tmp_path) == _whole(model)


def test_a_transposed_view_is_written_transposed(tmp_path: Path) -> None:
    """The kernel is not copied before it is written."""
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    model = _model({"turned": kernel.transpose(2, 0, 1)})
    (turned,) = map(numpy_helper.to_array, _reread(model, tmp_path).graph.initializer)
    np.testing.assert_array_equal(turned, kernel.transpose(2, 0, 1))


def test_writing_does_not_change_the_model_in_memory(tmp_path: Path) -> None:
    """The same model can be written twice."""
    model = _model({"weights": np.arange(5, dtype=np.float32)})
    assert _reread(model, tmp_path) == _reread(model, tmp_path)


def _model(initializers: dict[str, Any]) -> OnnxModel:
    names = list(initializers)
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    nodes = [helper.make_node("Identity", [name], [f"{name}/copy"], name=name) for name in names]
    proto = helper.make_model(helper.make_graph(nodes, "graph", [value], [value]), producer_name="lookalike")
    return OnnxModel(proto=proto, initializers=initializers)


def _whole(model: OnnxModel) -> Any:
    """Returns the same model with its initializers inside, made with ONNX' own library."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model.proto)
    for name, array in model.initializers.items():
        whole.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return whole


def _reread(model: OnnxModel, folder: Path) -> Any:
    write_onnx(folder / "model.onnx", model)
    return onnx.load(folder / "model.onnx")
