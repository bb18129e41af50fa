"""Converts fp32 graphs to fp16 and int8 with ONNX Runtime's own tools.

Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html and
https://onnxruntime.ai/docs/performance/model-optimizations/float16.html
"""

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE, Pixels
from lookalike_core.errors import ModelError, UsageError
from lookalike_core.models.backbones import RESNET101V2, VGG16
from lookalike_core.models.model_manifest import ActivationRanges
from lookalike_core.models.providers import load_runtime

from lookalike_exporter.graph import OUTPUT
from lookalike_exporter.network import INPUT

if TYPE_CHECKING:
    import onnx

AVERAGED, OUTERMOST = "mean-minmax", "minmax"
METHODS = {RESNET101V2.name: AVERAGED, VGG16.name: OUTERMOST}
"""How the activation range of a tensor is found: from each image's lowest and highest value, averaged, so
that a rare outlier does not make every step coarser; or from those of all images, so that nothing is cut off.
The choice kept more neighbours in measurements (docs/adr/0012-precision.md).
"""

LARGEST_IN_FP16 = float(np.finfo(np.float16).max) / 4
"""Larger values stay in fp32; the limit leaves room for images with larger values than the measured ones."""

_QUANTIZED = ["Conv", "Relu", "MaxPool", "Gemm"]
"""Operators to quantize: not those on the main path of a residual network, additions and batch norms."""


def trial_images() -> Pixels:
    """Returns uint8 `[3, 224, 224, 3]`, always the same: fine noise, coarse noise, and large cells."""
    rng, images = np.random.default_rng(0), []
    for cell in (1, 8, 56):
        size = (IMAGE_SIZE // cell, IMAGE_SIZE // cell, 3)
        images.append(rng.integers(0, 256, size, dtype=np.uint8).repeat(cell, axis=0).repeat(cell, axis=1))
    return np.stack(images)


def measure_activation_ranges(path: Path, images: Iterable[Pixels], *, backbone: str) -> ActivationRanges:
    """Measures the activation ranges of an fp32 model on some images, uint8 `[224, 224, 3]` each.

    Raises:
        UsageError: there are no images.
        ModelError: values for these images are not finite.
    """
    method = METHODS[backbone]
    ranges, count = _measure_ranges(path, images, kinds=_QUANTIZED, averaged=method == AVERAGED)
    return ActivationRanges(method=method, images=count, ranges=ranges)


def write_int8(path: Path, ranges: ActivationRanges, *, kept: Sequence[str]) -> None:
    """Replaces the fp32 model at `path`: weights in int8 per channel, activations in uint8.

    This suits processors with VNNI, whose instruction multiplies unsigned activations by signed weights and
    adds without saturating. The nodes of the layers `kept` are unchanged.
    """
    load_runtime()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.ranges.items()
    }
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(onnx.load(path)),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[node for name in kept for node in (name, f"{name}/relu")],
        op_types_to_quantize=_QUANTIZED,
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    for tensor in quantizer.model.model.graph.initializer:
        tensor.ClearField("data_location")  # says what is so anyway, and a model may not speak of files
    onnx.save_model(quantizer.model.model, path)


def write_fp16(path: Path) -> list[str]:
    """Replaces the fp32 model at `path` by fp16 with the same input and output; returns nodes left in fp32.

    Those are preprocessing, pooling, and every node with a weight or, on trial images, a value that fp16
    cannot represent.
    """
    load_runtime()
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    ranges, _ = _measure_ranges(path, trial_images(), kinds=None, averaged=False)
    model = onnx.load(path)
    kept = list(_find_fp32_nodes(model, ranges))
    model = convert_float_to_float16(model, keep_io_types=True, op_block_list=[], node_block_list=kept)
    _remove_double_casts(model.graph)
    ordered = ONNXModel(model)
    ordered.topological_sort()
    onnx.save_model(ordered.model, path)
    return kept


def _remove_double_casts(graph: "onnx.GraphProto") -> None:
    """Removes casts to fp16 and back between fp32 nodes: the library adds them around every fp32 node."""
    from onnx import TensorProto

    def casts_to(kind: int) -> "list[onnx.NodeProto]":
        return [node for node in graph.node if node.op_type == "Cast" and node.attribute[0].i == kind]

    narrowing = {node.output[0]: node for node in casts_to(TensorProto.FLOAT16)}
    for widening in casts_to(TensorProto.FLOAT):
        if widening.input[0] in narrowing:
            widening.input[0] = narrowing[widening.input[0]].input[0]
    taken = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for name, node in narrowing.items():
        if name not in taken:
            graph.node.remove(node)


def _find_fp32_nodes(model: "onnx.ModelProto", ranges: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    from onnx import numpy_helper

    large = {name for name, sides in ranges.items() if max(map(abs, sides)) > LARGEST_IN_FP16}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.size and values.dtype == np.float32 and np.abs(values).max() > LARGEST_IN_FP16:
            large.add(tensor.name)
    for node in model.graph.node:
        is_edge = node.name.startswith("preprocessing") or OUTPUT in node.output
        if is_edge or large.intersection((*node.input, *node.output)):
            yield node.name


def _measure_ranges(
    path: Path, images: Iterable[Pixels], *, kinds: Sequence[str] | None, averaged: bool
) -> tuple[dict[str, tuple[float, float]], int]:
    """Returns the lowest and highest value of the tensors around some nodes, and the number of images.

    The graph computes them, so that it returns only single numbers.
    """
    load_runtime()
    from onnxruntime.quantization import MinMaxCalibrater

    reader = _Reader(images)
    if not reader.has_some:
        raise UsageError("none of the images to measure activation ranges on can be read")
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        augmented = str(Path(folder) / "augmented.onnx")
        own = Path(folder) / "model.onnx"  # the library writes beside it
        shutil.copyfile(path, own)
        calibrater = MinMaxCalibrater(
            own, op_types_to_calibrate=kinds, augmented_model_path=augmented, moving_average=averaged
        )
        calibrater.augment_graph()
        calibrater.create_inference_session()
        calibrater.collect_data(reader)
        found = calibrater.compute_data()
    ranges = {
        name: (float(data.lowest.item()), float(data.highest.item())) for name, data in sorted(found.items())
    }
    if not all(math.isfinite(side) for sides in ranges.values() for side in sides):
        raise ModelError("values of the network are not finite; its weights are not usable")
    return ranges, reader.count


class _Reader:
    """Provides images one by one, as the library requires; `count` is the number of them so far."""

    def __init__(self, images: Iterable[Pixels]) -> None:
        first, self.count = list(islice(rest := iter(images), 1)), 0
        self.has_some = bool(first)
        self._images = chain(first, rest)

    def get_next(self) -> dict[str, Any] | None:
        """Returns the next input of the session; None after the last."""
        pixels = next(self._images, None)
        if pixels is None:
            return None
        self.count += 1
        return {INPUT: pixels[np.newaxis]}
