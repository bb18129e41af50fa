"""Files that Keras saves of whole models are read, and those of the tests' own writers equal them."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_files import Model, save_keras, save_legacy, save_weights_h5
from lookalike_core.models.model_manifest import WeightsKind
from lookalike_core.settings import Settings
from lookalike_exporter.export import export_to
from lookalike_exporter.network import SubNetwork
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.verify import Outcome, verify_model
from lookalike_exporter.vgg16 import vgg16
from lookalike_exporter.weights import fingerprint, open_weights, read_arrays

pytestmark = [
    # Keras turns TensorFlow's tensors into arrays in a way that NumPy 2 no longer likes.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]

NETWORKS = {"vgg16": vgg16, "resnet101v2": resnet101v2}
TAPS = {"vgg16": "block2_pool", "resnet101v2": "conv2_block1_1_relu"}
TITLES = {"vgg16": "VGG16", "resnet101v2": "ResNet101V2"}
SIZE = (32, 32, 3)

OURS = {
    "x.h5": partial(save_legacy, is_whole=True, suffix=""),
    "x.weights.h5": save_weights_h5,
    "x.keras": save_keras,
}


@pytest.fixture(scope="module", params=NETWORKS)
def backbone(request: pytest.FixtureRequest) -> str:
    """Returns each network by name."""
    return str(request.param)


@pytest.fixture(scope="module")
def base(keras: Any, backbone: str) -> Any:
    """Builds the first layers of Keras' own network, with distinct values in every array."""
    whole = getattr(keras.applications, TITLES[backbone])(weights=None, include_top=False, input_shape=SIZE)
    base = keras.Model(whole.input, whole.get_layer(TAPS[backbone]).output, name=backbone)
    random = np.random.default_rng(0)
    for layer in base.layers:
        layer.set_weights([random.uniform(0.1, 1, weight.shape) for weight in layer.weights])
    return base


def _sequential(keras: Any, base: Any) -> Any:
    return keras.Sequential([keras.Input(SIZE), base, keras.layers.Flatten(), keras.layers.Dense(3)])


def _functional(keras: Any, base: Any) -> Any:
    images = keras.Input(SIZE)
    x = keras.layers.Rescaling(1 / 127.5)(keras.layers.RandomFlip()(images))
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    return keras.Model(images, keras.layers.Dense(3)(x))


def _twofold(keras: Any, base: Any) -> Any:
    encoder = keras.Sequential([keras.Input(SIZE), keras.layers.Rescaling(1 / 255), base], name="encoder")
    return _sequential(keras, encoder)


def _over_time(keras: Any, base: Any) -> Any:
    pooled = keras.Sequential([base, keras.layers.GlobalAveragePooling2D()])
    frames = keras.Input((4, *SIZE))
    return keras.Model(frames, keras.layers.TimeDistributed(pooled)(frames))


def _flat(keras: Any, base: Any) -> Any:
    return keras.Model(base.input, keras.layers.Dense(3)(keras.layers.Flatten()(base.output)))


@pytest.mark.parametrize("build", [_sequential, _functional, _twofold, _over_time, _flat])
@pytest.mark.parametrize("name", OURS)
def test_nested_networks_are_read_like_standalone_ones(
    build: Callable[[Any, Any], Any],
    name: str,
    keras: Any,
    base: Any,
    backbone: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of the network is frozen, and the optimizer's state has the same names and shapes as the rest."""
    network = NETWORKS[backbone]().up_to(TAPS[backbone])
    for layer in base.layers[: len(base.layers) // 2]:
        monkeypatch.setattr(layer, "trainable", False)
    model = build(keras, base)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    _save(model, tmp_path / name)
    found = read_arrays(tmp_path / name, WeightsKind.FILE, network)
    assert fingerprint(network, found) == fingerprint(network, _arrays_in(base))
    assert bool(_place(tmp_path / name, network)) == (build is not _flat)


@pytest.mark.parametrize("name", OURS)
def test_our_writers_lay_files_out_as_keras_does(name: str, keras: Any, base: Any, tmp_path: Path) -> None:
    """Arrays, their lists and layer names are equal, for a network in a model in a model."""
    images, head = keras.Input(SIZE), keras.layers.Dense(3, name="head")
    inner = keras.Model(images, base(keras.layers.Rescaling(1 / 255)(images)), name="inner")
    head.build((None, base.output.shape[-1]))  # else its arrays are named after the model, too
    _save(keras.Sequential([images, inner, keras.layers.GlobalAveragePooling2D(), head]), tmp_path / name)
    layers = Model(inner=Model({base.name: Model(_arrays_in(base))}), head=_arrays_of(head))
    assert _contents(OURS[name](tmp_path / f"our-{name}", layers)) == _contents(tmp_path / name)


def test_layers_without_names_are_identified_by_their_order(
    backbone: str, get_judge: Callable[[str], Any], tmp_path: Path
) -> None:
    """The file is Keras' own of the whole network, without names, as Keras 2 writes it."""
    named, unnamed = get_judge(backbone).files[".weights.h5"], tmp_path / "unnamed.weights.h5"
    shutil.copyfile(named, unnamed)
    with h5py.File(unnamed, "r+") as file:
        for group in _groups(file):
            group.attrs.pop("name", None)
    whole = NETWORKS[backbone]()
    network = whole.up_to(next(reversed(whole.layers)))
    expected = fingerprint(network, read_arrays(named, WeightsKind.FILE, network))
    assert fingerprint(network, read_arrays(unnamed, WeightsKind.FILE, network)) == expected


@pytest.mark.parametrize(
    ("backbone", "name"),
    [*(("vgg16", name) for name in OURS), ("resnet101v2", "x.keras")],
    indirect=["backbone"],
    scope="module",
)
def test_verify_compares_a_nested_network_with_keras(
    name: str, keras: Any, base: Any, backbone: str, tmp_path: Path, home: Settings
) -> None:
    """Keras gets the weights from our reader, because it would find none in the file of either network."""
    _save(_sequential(keras, base), tmp_path / name)
    spec = ModelSpec.of(backbone, layer=TAPS[backbone], weights=str(tmp_path / name))
    checks = verify_model(export_to(tmp_path / "model.onnx", spec, settings=home), spec).checks
    (check,) = (check for check in checks if check.name == "Keras side by side")
    assert check.outcome is Outcome.OK, check.detail
    assert f"Keras cannot read {name} itself; its layers were set to what our reader read" in check.detail


def _save(model: Any, path: Path) -> None:
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


def _arrays_in(model: Any) -> dict[str, dict[str, Any]]:
    return {layer.name: _arrays_of(layer) for layer in model.layers if layer.weights}


def _arrays_of(layer: Any) -> dict[str, Any]:
    """Returns arrays by Keras' names of the variables."""
    return {weight.name: value for weight, value in zip(layer.weights, layer.get_weights(), strict=True)}


def _contents(path: Path) -> dict[str, Any]:
    """Returns all arrays of a file by path, with their values and the names stored around them."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            path = Path(archive.extract("model.weights.h5", path.parent / f"{path.name}.folder"))
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        for group in _groups(file):
            arrays = {
                name: item[()].tolist() for name, item in group.items() if isinstance(item, h5py.Dataset)
            }
            names = [_text(name) for name in group.attrs.get("weight_names", ())]
            if "optimizer" not in group.name and (arrays or names):
                found[group.name] = (arrays, names, group.attrs.get("name"))
        layers = (file.get("model_weights") or file).attrs.get("layer_names", ())
        kept = [_text(name) for name in layers if f"/model_weights/{_text(name)}" in found]
    return found | {"layer_names": kept}


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _groups(group: h5py.Group) -> Iterator[h5py.Group]:
    yield group
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from _groups(item)


def _place(path: Path, network: SubNetwork) -> tuple[str, ...]:
    with open_weights(path, WeightsKind.FILE, network) as reader:
        return reader.place
