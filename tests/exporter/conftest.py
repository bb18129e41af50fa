"""Small weights files in Keras' legacy layout: the first layers of a network, with any values."""

from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from lookalike_exporter.network import Network
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.vgg16 import vgg16
from numpy.typing import NDArray

Arrays = dict[str, dict[str, NDArray[np.float32]]]


@pytest.fixture(scope="session")
def save() -> Callable[[Path, Mapping[str, Mapping[str, NDArray[np.float32]]]], Path]:
    """Returns a function that writes `{layer: {variable: array}}` like Keras' `.h5`, and returns the path."""

    def write(path: Path, arrays: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> Path:
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [name.encode() for name in arrays]
            for layer, variables in arrays.items():
                group = file.create_group(layer)
                names = [f"{layer}/{variable}:0" for variable in variables]
                group.attrs["weight_names"] = [name.encode() for name in names]
                for name, array in zip(names, variables.values(), strict=True):
                    group[name] = array
        return path

    return write


@pytest.fixture
def vgg_arrays() -> Arrays:
    """Returns weights of VGG16 up to `block2_pool`, a tap of 128 values."""
    return _random_arrays(vgg16(), "block2_pool")


@pytest.fixture
def resnet_arrays() -> Arrays:
    """Returns weights of ResNet101V2 up to `conv2_block1_1_relu`, a tap after two batch norms."""
    return _random_arrays(resnet101v2(), "conv2_block1_1_relu")


def _random_arrays(network: Network, tap: str) -> Arrays:
    random = np.random.default_rng(0)
    return {
        layer.name: {
            name: np.abs(random.normal(0, 0.1, shape)).astype(np.float32)
            for name, shape in layer.variables.items()
        }
        for layer in network.up_to(tap).layers
        if layer.variables
    }
