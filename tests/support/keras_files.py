"""Writes files as Keras saves them, in every layout, without Keras; `tests/parity` compares them with Keras.

A model is `{name: layer}` in Keras' order. A layer is `{variable: array}`, empty where it has none, or
another `Model`. Beside the layers lies the state of an optimizer, which has their names and shapes.
"""

import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

STATISTICS = ("moving_mean", "moving_variance")
"""Variables that are not trained, which Keras lists last."""


class Model(dict[str, Any]):
    """A model that may be a layer of another model."""


def save_legacy(path: Path, model: Model, *, is_whole: bool = False, suffix: str = ":0") -> Path:
    """Writes a file like Keras 2's `save_weights("x.h5")`, or its `model.save("x.h5")` after training.

    Keras 3 does the latter with no `suffix`.
    """
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if is_whole else file
        root.attrs["layer_names"] = [name.encode() for name in model]
        for name, layer in model.items():
            group = root.create_group(name)
            arrays = {f"{array}{suffix}": value for array, value in _flatten(name, layer)}
            group.attrs["weight_names"] = [array.encode() for array in arrays]
            _fill(group, arrays)
        root.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
        if is_whole:
            _fill(file.create_group("optimizer_weights"), _moments(model))
            file.attrs["model_config"] = '{"class_name": "Sequential"}'
    return path


def save_weights_h5(path: Path, model: Model, *, has_names: bool = True) -> Path:
    """Writes a file like `save_weights("x.weights.h5")` does; without names, as Keras 2 does."""
    with h5py.File(path, "w") as file:
        _write_numbered(file, "functional", model, has_names=has_names)
        moments = enumerate(_moments(model).values())
        _fill(file.create_group("optimizer/vars"), {str(i): value for i, value in moments})
    return path


def save_keras(
    path: Path, model: Model, *, has_names: bool = True, compression: int = zipfile.ZIP_STORED
) -> Path:
    """Writes a file like `model.save("x.keras")`, with a configuration whose code Keras would run."""
    weights = save_weights_h5(path.with_suffix(".weights.h5"), model, has_names=has_names)
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps({"class_name": "Lambda", "config": {"function": code}}))
        archive.write(weights, "model.weights.h5")
    weights.unlink()
    return path


def _flatten(name: str, layer: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns the arrays of a layer, or of all layers of a model at any depth, as `LAYER/VARIABLE`."""
    if not isinstance(layer, Model):
        arrays = [(f"{name}/{variable}", value) for variable, value in layer.items()]
    else:
        arrays = [array for inner, each in layer.items() for array in _flatten(inner, each)]
    return sorted(arrays, key=lambda array: array[0].endswith(STATISTICS))


def _write_numbered(group: h5py.Group, name: str, layer: Mapping[str, Any], *, has_names: bool) -> None:
    variables = group.create_group("vars")
    if has_names:
        variables.attrs["name"] = name
    if not isinstance(layer, Model):
        _fill(variables, {str(i): value for i, value in enumerate(layer.values())})
        return
    counts: Counter[str] = Counter()
    for inner, each in layer.items():
        kind = _group_name(each)
        number = f"_{counts[kind]}" if counts[kind] else ""
        counts[kind] += 1
        _write_numbered(group.create_group(f"layers/{kind}{number}"), inner, each, has_names=has_names)


def _group_name(layer: Mapping[str, Any]) -> str:
    """Returns Keras' name of a group, by the class of the layer."""
    if isinstance(layer, Model):
        return "functional"
    if "gamma" in layer:
        return "batch_normalization"
    if "kernel" in layer:
        return "dense" if layer["kernel"].ndim == 2 else "conv2d"
    return "rescaling"


def _moments(model: Model) -> dict[str, Any]:
    return {f"Adam/v/{name}": np.zeros_like(value) for name, value in _flatten("", model)}


def _fill(group: h5py.Group, arrays: Mapping[str, Any]) -> None:
    for name, value in arrays.items():
        group[name] = value
