"""Makes what short forms of benchmarks need: random weights, a bare session, a small index."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from lookalike_core.settings import Settings
from lookalike_exporter.vgg16 import vgg16
from numpy.typing import NDArray


def settings_in(folder: Path) -> Settings:
    """Returns settings with a home in the folder, on the CPU."""
    return Settings(home=folder / "home", provider="cpu")


def write_weights(file: Path, layer: str) -> Path:
    """Writes random weights of VGG16 up to a layer in Keras' layout; their values do not affect its speed."""
    random = np.random.default_rng(0)
    with h5py.File(file, "w") as opened:
        layers = [each for each in vgg16().up_to(layer).layers if each.variables]
        opened.attrs["layer_names"] = [each.name.encode() for each in layers]
        for each in layers:
            group = opened.create_group(each.name)
            names = [f"{each.name}_{variable}:0" for variable in each.variables]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, shape in zip(names, each.variables.values(), strict=True):
                group[name] = random.normal(0, 0.05, shape).astype(np.float32)
    return file


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
