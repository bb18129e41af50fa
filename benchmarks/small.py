"""Makes what short forms of benchmarks need: random weights, a bare session, a small index."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from lookalike_core.settings import Settings
from lookalike_exporter.network import Network
from lookalike_exporter.vgg16 import vgg16
from numpy.typing import NDArray


def settings_in(folder: Path) -> Settings:
    """Returns settings with a home in the folder, on the CPU."""
    return Settings(home=folder / "home", provider="cpu")


_ONES = ("gamma", "moving_variance")
_ZEROS = ("beta", "moving_mean")


def write_weights(file: Path, layer: str, network: Network | None = None) -> Path:
    """Writes random weights of a network, VGG16 by default, up to a layer in Keras' layout.

    Their values do not affect its speed.
    """
    random = np.random.default_rng(0)
    with h5py.File(file, "w") as opened:
        layers = [each for each in (network or vgg16()).up_to(layer).layers if each.variables]
        opened.attrs["layer_names"] = [each.name.encode() for each in layers]
        for each in layers:
            group = opened.create_group(each.name)
            names = [f"{each.name}_{variable}:0" for variable in each.variables]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, (variable, shape) in zip(names, each.variables.items(), strict=True):
                group[name] = _draw(random, variable, shape)
    return file


def _draw(random: np.random.Generator, variable: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Returns values with which activations neither vanish nor overflow in a hundred layers."""
    if variable in _ONES:
        return np.ones(shape, np.float32)
    if variable in _ZEROS:
        return np.zeros(shape, np.float32)
    width = 0.05 if len(shape) == 1 else (2 / np.prod(shape[:-1])) ** 0.5
    return random.normal(0, width, shape).astype(np.float32)


def bare_session(model: Path, *, batch: int) -> Callable[[NDArray[np.uint8]], object]:
    """Returns a function that runs uint8 `[N, 224, 224, 3]` through a plain ONNX Runtime session."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())

    def embed(pixels: NDArray[np.uint8]) -> object:
        return [
            session.run(None, {name: pixels[start : start + batch]}) for start in range(0, len(pixels), batch)
        ]

    return embed
