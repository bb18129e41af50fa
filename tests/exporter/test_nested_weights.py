"""Networks that Keras saved as a layer of another model, with or without the model, in every layout."""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_files import Model, save_keras, save_legacy, save_weights_h5
from lookalike_core.errors import WeightsError
from lookalike_core.hints import Action, Argument
from lookalike_core.models.model_manifest import WeightsKind
from lookalike_exporter import keras_archive
from lookalike_exporter.network import Network, SubNetwork
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.vgg16 import vgg16
from lookalike_exporter.weights import fingerprint, open_weights, read_arrays

VGG = vgg16().up_to("block2_pool")
RESNET = resnet101v2().up_to("conv2_block1_1_relu")

Save = Callable[[Path, Model], Path]

SAVED = {
    "weights.h5": save_legacy,
    "whole.h5": partial(save_legacy, is_whole=True),
    "keras3.h5": partial(save_legacy, is_whole=True, suffix=""),
    "x.weights.h5": save_weights_h5,
    "x.keras": save_keras,
    "deflated.keras": partial(save_keras, compression=zipfile.ZIP_DEFLATED),
}
HEAD = {"kernel": np.zeros((128, 3), np.float32), "bias": np.zeros(3, np.float32)}

saved = pytest.mark.parametrize(("name", "save_as"), SAVED.items(), ids=SAVED)


@pytest.fixture
def vgg(vgg_arrays: Any) -> Model:
    """Builds VGG16 as a model, up to `block2_pool`."""
    return Model(input_1={}, **vgg_arrays)


@pytest.fixture
def resnet(resnet_arrays: Any) -> Model:
    """Builds ResNet101V2 as a model, up to its second batch norm."""
    return Model(input_1={}, **resnet_arrays)


@saved
def test_a_nested_network_equals_the_standalone_one(
    name: str, save_as: Save, tmp_path: Path, vgg: Model, save: Any, vgg_arrays: Any
) -> None:
    """It has any name, layers before it and a head after it; its fingerprint is that of the flat file."""
    expected = _fingerprint(save(tmp_path / "flat.h5", vgg_arrays), VGG)
    for inner in ("vgg16", "my_base"):
        path = save_as(tmp_path / name, Model(rescaling={}, **{inner: vgg}, dense=HEAD))
        assert _fingerprint(path, VGG) == expected
        assert _place(path, VGG) == (inner,)


@saved
def test_a_network_is_found_at_any_depth(
    name: str, save_as: Save, tmp_path: Path, vgg: Model, save: Any, vgg_arrays: Any
) -> None:
    """Models may be nested; the legacy layout stores only the outermost name."""
    encoder = Model(augmentation={}, inner=Model(rescaling={}, vgg16=vgg, bottleneck=HEAD))
    path = save_as(tmp_path / name, Model(encoder=encoder, dense=HEAD))
    assert _fingerprint(path, VGG) == _fingerprint(save(tmp_path / "flat.h5", vgg_arrays), VGG)
    assert _place(path, VGG) in {("encoder",), ("encoder", "inner", "vgg16")}


@saved
def test_statistics_listed_after_all_trained_arrays_belong_to_their_layers(
    name: str, save_as: Save, tmp_path: Path, resnet: Model, save: Any, resnet_arrays: Any
) -> None:
    """Keras lists trained arrays first, so a batch norm's four arrays are apart."""
    path = save_as(tmp_path / name, Model(resnet101v2=resnet, dense=HEAD))
    assert _fingerprint(path, RESNET) == _fingerprint(save(tmp_path / "flat.h5", resnet_arrays), RESNET)


@saved
def test_a_network_that_is_the_whole_model_is_read(
    name: str, save_as: Save, tmp_path: Path, vgg: Model, save: Any, vgg_arrays: Any
) -> None:
    """Its layers are at the top, followed by a head."""
    path = save_as(tmp_path / name, Model(vgg, dense=HEAD))
    assert _fingerprint(path, VGG) == _fingerprint(save(tmp_path / "flat.h5", vgg_arrays), VGG)
    assert _place(path, VGG) == ()


@saved
def test_each_of_two_networks_in_a_model_is_found(
    name: str, save_as: Save, tmp_path: Path, vgg: Model, resnet: Model
) -> None:
    """The names of its layers identify it."""
    path = save_as(tmp_path / name, Model(a=vgg, b=resnet, dense=HEAD))
    assert (_place(path, VGG), _place(path, RESNET)) == (("a",), ("b",))


@saved
def test_two_networks_of_a_kind_are_refused_and_both_named(
    name: str, save_as: Save, tmp_path: Path, vgg: Model
) -> None:
    """The wanted one is ambiguous; after saving it alone, it is read."""
    path = save_as(tmp_path / name, Model(left=vgg, right=vgg, dense=HEAD))
    refused = _refusal(path, VGG)
    assert "holds 2 networks with a layer block1_conv1: left, right" in str(refused)
    assert "save the one to use alone" in str(refused)


@saved
def test_a_model_with_the_other_network_inside_is_refused_with_its_name(
    name: str, save_as: Save, tmp_path: Path, vgg: Model, resnet: Model
) -> None:
    """The message suggests to select that network."""
    refused = _refusal(save_as(tmp_path / name, Model(base=vgg, dense=HEAD)), RESNET)
    assert "inside base: layer conv1_conv is missing, and there are layers of VGG16" in str(refused)
    assert refused.hint is not None
    assert (refused.hint.action, refused.hint.values) == (Action.USE, {Argument.BACKBONE: "vgg"})
    other = _refusal(save_as(tmp_path / name, Model(base=resnet, dense=HEAD)), VGG)
    assert "inside base: layer block1_conv1 is missing, and there are layers of ResNet101V2" in str(other)


@saved
def test_a_model_without_any_known_network_is_refused_with_its_layers(
    name: str, save_as: Save, tmp_path: Path
) -> None:
    """The message lists the names that the user gave them."""
    path = save_as(tmp_path / name, Model(stem=HEAD, dense=HEAD))
    assert "layer block1_conv1 is missing, at the top and inside its models; it holds dense, " in str(
        _refusal(path, VGG)
    )


@saved
def test_a_missing_layer_of_a_nested_network_is_reported_with_its_place(
    name: str, save_as: Save, tmp_path: Path, vgg: Model
) -> None:
    """The message names the layer, and the model that holds the others."""
    del vgg["block2_conv1"]
    path = save_as(tmp_path / name, Model(base=vgg, dense=HEAD))
    assert f"{path}, inside base: layer block2_conv1 is missing among its" in str(_refusal(path, VGG))


@pytest.mark.parametrize(("network", "extra"), [("vgg", "block3_conv4"), ("resnet", "conv3_block5_1_conv")])
@saved
def test_a_larger_network_with_the_same_names_is_refused(
    name: str, save_as: Save, network: str, extra: str, tmp_path: Path, vgg: Model, resnet: Model
) -> None:
    """VGG19 and ResNet152V2 have every layer of VGG16 and ResNet101V2, and more between them."""
    base, wanted, title = (vgg, VGG, "VGG16") if network == "vgg" else (resnet, RESNET, "ResNet101V2")
    base[extra] = {"kernel": np.zeros((3, 3, 128, 128), np.float32), "bias": np.zeros(128, np.float32)}
    path = save_as(tmp_path / name, Model(base=base, dense=HEAD))
    assert f"inside base: there is a layer {extra}, which {title} does not have" in str(
        _refusal(path, wanted)
    )


def test_a_users_own_layers_after_a_network_are_ignored(tmp_path: Path, vgg: Model) -> None:
    """Names of layers after the end of the network do not make it another network."""
    vgg["block6_conv1"] = {"kernel": np.zeros((3, 3, 8, 8), np.float32), "bias": np.zeros(8, np.float32)}
    assert _place(save_legacy(tmp_path / "x.h5", vgg), VGG) == ()


@pytest.mark.parametrize("build", [vgg16, pytest.param(resnet101v2, marks=pytest.mark.slow)])  # 170 MB
@pytest.mark.parametrize("save_as", [save_weights_h5, save_keras])
def test_layers_without_names_are_identified_by_their_order(
    save_as: Any, build: Callable[[], Network], tmp_path: Path
) -> None:
    """Keras 2 numbers them by kind; every shape of the whole network must match."""
    network = _convolutions(build())
    base = _as_keras_orders(build(), network)
    unnamed = save_as(tmp_path / "unnamed.keras", Model(base=base, dense=HEAD), has_names=False)
    named = save_weights_h5(tmp_path / "named.weights.h5", base)
    assert _fingerprint(unnamed, network) == _fingerprint(named, network)
    assert _place(unnamed, network) == ("functional",)


def test_layers_without_names_in_other_shapes_are_refused(tmp_path: Path) -> None:
    """One more kernel anywhere makes it another network."""
    base = _as_keras_orders(vgg16(), _convolutions(vgg16()))
    front = Model(front={"kernel": np.zeros((1, 1, 1, 3), np.float32)}, **base)
    path = save_weights_h5(tmp_path / "x.weights.h5", Model(base=front), has_names=False)
    assert "not one of Keras' with layer names; save it with a current Keras" in str(_refusal(path, VGG))


def test_a_users_own_dense_layer_is_not_that_of_the_network(tmp_path: Path) -> None:
    """Without names, the shape of `dense` decides which one it is."""
    base = _as_keras_orders(vgg16(), _convolutions(vgg16()))
    path = save_weights_h5(tmp_path / "x.weights.h5", Model(base, dense=HEAD), has_names=False)
    assert _place(path, _convolutions(vgg16())) == ()
    assert "layer fc1 is missing" in str(_refusal(path, vgg16().up_to("fc1")))


def test_names_with_a_copy_number_of_tensorflow_1_are_read(
    tmp_path: Path, save: Any, vgg_arrays: Any
) -> None:
    """`block1_conv1_2/kernel:0` is an array of the third network of its kind in a program."""
    copy = Model({f"{name}_2": arrays for name, arrays in vgg_arrays.items()})
    path = save_legacy(tmp_path / "x.h5", Model(vgg16=copy, dense=HEAD))
    assert _fingerprint(path, VGG) == _fingerprint(save(tmp_path / "flat.h5", vgg_arrays), VGG)


def test_arrays_listed_in_another_order_are_identified_by_their_names(
    tmp_path: Path, vgg: Model, save: Any, vgg_arrays: Any
) -> None:
    """Tools that copy such files sort arrays alphabetically."""
    path = save_legacy(tmp_path / "x.h5", Model(vgg16=vgg, dense=HEAD))
    with h5py.File(path, "r+") as file:
        file["vgg16"].attrs["weight_names"] = sorted(file["vgg16"].attrs["weight_names"])
    assert _fingerprint(path, VGG) == _fingerprint(save(tmp_path / "flat.h5", vgg_arrays), VGG)


def _torch(path: Path, _: Model) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")


def _flipped_byte(path: Path, model: Model) -> None:
    save_keras(path, model)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path, model: Model) -> None:
    save_keras(path, model)
    path.write_bytes(path.read_bytes()[:-100])


def _no_hdf5(path: Path, _: Model) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", "layer,kernel\n" * 100)


def _compressed_otherwise(path: Path, model: Model) -> None:
    save_keras(path, model, compression=zipfile.ZIP_BZIP2)


def _start_before_the_file(path: Path, model: Model) -> None:
    """Changes the offset of an archive's file list so that it is before the file's start."""
    save_keras(path, model)
    data = path.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    path.write_bytes(data[: end + 12] + b"\xff\xff\xff\x0f" + data[end + 16 :])


def _link_outside(path: Path, _: Model) -> None:
    inner = path.with_suffix(".h5")
    with h5py.File(inner, "w") as file:
        file["layers/conv2d"] = h5py.ExternalLink("other.h5", "/")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "model.weights.h5")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_torch, "is a ZIP archive without model.weights.h5, so it is not a .keras file"),
        (_flipped_byte, "cannot be unpacked (Bad CRC-32"),
        (_cut, "cannot be unpacked (File is not a zip file)"),
        (_no_hdf5, "cannot be read as HDF5"),
        (_compressed_otherwise, "cannot be unpacked (model.weights.h5 is compressed with method 12)"),
        (_start_before_the_file, "cannot be unpacked ("),
        (_link_outside, "conv2d is a link to something else"),
    ],
)
def test_a_damaged_or_foreign_archive_is_refused(
    spoil: Callable[[Path, Model], None], reason: str, tmp_path: Path, vgg: Model
) -> None:
    """The message names the archive, and not the unpacked file."""
    path = tmp_path / "x.keras"
    spoil(path, vgg)
    assert reason in str(_refusal(path, VGG))


def test_an_archive_that_declares_too_much_is_not_unpacked(
    tmp_path: Path, vgg: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes may expand to terabytes."""
    path = save_keras(tmp_path / "x.keras", vgg)
    monkeypatch.setattr(keras_archive, "MAX_BYTES", 1_000)
    assert "at most 1,000 are read" in str(_refusal(path, VGG))


def _as_keras_orders(network: Network, part: SubNetwork) -> Model:
    """Builds a model with the layers of a part, in Keras' order, with distinct values."""
    needed = {layer.name for layer in part.layers}
    layers = [layer for layer in network.in_keras_order() if layer.name in needed]
    return Model(
        (layer.name, {name: np.full(shape, i / 1000, np.float32) for name, shape in layer.variables.items()})
        for i, layer in enumerate(layers, start=1)
    )


def _convolutions(network: Network) -> SubNetwork:
    return network.up_to("block5_pool" if "block5_pool" in network.layers else "post_relu")


def _fingerprint(path: Path, network: SubNetwork) -> str:
    return fingerprint(network, read_arrays(path, WeightsKind.FILE, network))


def _place(path: Path, network: SubNetwork) -> tuple[str, ...]:
    with open_weights(path, WeightsKind.FILE, network) as reader:
        return reader.place


def _refusal(path: Path, network: SubNetwork) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        read_arrays(path, WeightsKind.FILE, network)
    assert str(caught.value).startswith(str(path))
    assert caught.value.exit_code == 3
    return caught.value
