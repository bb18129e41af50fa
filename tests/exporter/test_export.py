"""Exporting a spec as a model file: what is written, when it is exported again, what a failure leaves."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from lookalike_core import locks
from lookalike_core.errors import ManifestError, ModelError, StoreLockedError, UsageError, WeightsError
from lookalike_core.models.backbones import VGG16, Pooling
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import METADATA_KEY, ModelManifest, WeightsKind
from lookalike_core.models.preprocessing import preprocessing_id
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_exporter.export import ensure_exported, export_to
from lookalike_exporter.model_cache import ModelFile, list_models, model_path
from lookalike_exporter.model_resolver import get_model
from lookalike_exporter.recorded_models import get_feature_model
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.vgg16 import vgg16

PEAK_BYTES_AT_MOST = 1.5e9
"""Peak memory in bytes for VGG16 with its first dense layer; the weights alone are 0.47e9."""


@pytest.fixture
def weights(tmp_path: Path, save: Any, vgg_arrays: Any) -> Path:
    """Writes weights of VGG16 up to `block2_pool`."""
    path: Path = save(tmp_path / "vgg.h5", vgg_arrays)
    return path


@pytest.fixture
def spec(weights: Path) -> ModelSpec:
    """Returns the spec of the tap `block2_pool` with these weights."""
    return ModelSpec.of("vgg", layer="block2_pool", weights=str(weights))


def test_a_model_passes_the_full_check_with_a_free_batch_dimension(spec: ModelSpec, home: Settings) -> None:
    """The input is pixels and the output vectors, for any number of images."""
    model = onnx.load(ensure_exported(spec, settings=home).path)
    onnx.checker.check_model(model, full_check=True)
    (images,), (embeddings,) = model.graph.input, model.graph.output
    assert (images.name, embeddings.name) == ("images", "embeddings")
    assert images.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert embeddings.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert _dimensions(images) == ["N", 224, 224, 3]
    assert _dimensions(embeddings) == ["N", 128]


def test_a_model_carries_its_manifest(spec: ModelSpec, home: Settings, weights: Path) -> None:
    """It is in the file and in the card, with all fields of the identity."""
    model = ensure_exported(spec, settings=home)
    inside = {entry.key: entry.value for entry in onnx.load(model.path).metadata_props}[METADATA_KEY]
    beside = json.loads(model.path.with_suffix(".json").read_text(encoding="utf-8"))["manifest"]
    assert ModelManifest.from_json(json.loads(inside)) == model.manifest == ModelManifest.from_json(beside)

    identity, source = model.manifest.identity, model.manifest.weights
    assert (identity.backbone, identity.layer, identity.pooling) == ("vgg16", "block2_pool", Pooling.AVG)
    assert (identity.preprocessing, identity.precision_class) == (preprocessing_id(VGG16), "float32")
    assert identity.dimension == 128
    assert (source.kind, source.official, source.path) == (WeightsKind.FILE, False, str(weights))


def test_a_cached_model_is_used_again(spec: ModelSpec, home: Settings, said: list[str]) -> None:
    """Nothing is logged or written."""
    first = ensure_exported(spec, settings=home)
    written = first.path.stat().st_mtime_ns
    said.clear()
    assert ensure_exported(spec, settings=home) == first
    assert first.path.stat().st_mtime_ns == written
    assert said == []


def test_a_changed_weights_file_is_exported_again(
    spec: ModelSpec, home: Settings, weights: Path, save: Any, vgg_arrays: Any
) -> None:
    """The old model is kept, because collections may have been made with it."""
    first = ensure_exported(spec, settings=home)
    vgg_arrays["block1_conv1"]["bias"] += 1
    _keep_time(weights, lambda: save(weights, vgg_arrays), later_ns=1)
    second = ensure_exported(spec, settings=home)
    assert second.manifest.identity.weights_fingerprint != first.manifest.identity.weights_fingerprint
    assert second.path != first.path
    assert first.path.is_file()


def test_another_tap_is_another_model(spec: ModelSpec, home: Settings, weights: Path) -> None:
    """Each has its own file in the cache."""
    other = ModelSpec.of("vgg", layer="block1_pool", pooling=Pooling.MAX, weights=str(weights))
    first, second = (ensure_exported(each, settings=home) for each in (spec, other))
    assert first.path != second.path
    assert [ensure_exported(each, settings=home) for each in (spec, other)] == [first, second]


def test_another_graph_revision_is_exported_again(spec: ModelSpec, home: Settings) -> None:
    """A model that an older version built differently is not used."""
    new = ensure_exported(spec, settings=home)
    manifest = replace(new.manifest, graph_revision=new.manifest.graph_revision - 1)
    old = ModelFile(path=model_path(manifest, home), manifest=manifest)
    graph = onnx.load(new.path)
    onnx.helper.set_model_props(graph, {METADATA_KEY: json.dumps(manifest.to_json())})
    onnx.save(graph, old.path)
    card = json.loads(new.path.with_suffix(".json").read_text(encoding="utf-8"))
    old_card = json.dumps(card | {"manifest": manifest.to_json()})
    old.path.with_suffix(".json").write_text(old_card, encoding="utf-8")
    for suffix in (".onnx", ".json"):
        new.path.with_suffix(suffix).unlink()
    assert list_models(home) == [old]
    again = ensure_exported(spec, settings=home)
    assert again.path == new.path != old.path
    assert again.manifest.identity == old.manifest.identity


def test_models_with_a_broken_card_are_exported_again(
    spec: ModelSpec, home: Settings, said: list[str]
) -> None:
    """This holds for any content of the card; afterwards the model is found."""
    model = ensure_exported(spec, settings=home)
    card = model.path.with_suffix(".json")
    for content in ("", "{}", "[]", "[" * 100_000, '{"manifest": {"identity": 3}}', "\ud800"):
        card.write_text(content, encoding="utf-8", errors="surrogatepass")
        assert list_models(home) == []
    said.clear()
    assert ensure_exported(spec, settings=home).path == model.path
    assert said == [f"exported {model.path}"]
    assert list_models(home) == [model]


def test_another_model_in_the_place_of_a_model_is_replaced(
    spec: ModelSpec, home: Settings, weights: Path, said: list[str]
) -> None:
    """It is exported again, and the warning names both; a card alone is not enough."""
    model = ensure_exported(spec, settings=home)
    own = model.path.read_bytes()
    other = ModelSpec.of("vgg", layer="block2_pool", pooling="max", weights=str(weights))
    shutil.copyfile(ensure_exported(other, settings=home).path, model.path)
    for get_again in (
        partial(ensure_exported, spec),
        partial(get_model, _collection(model.manifest)),
    ):
        said.clear()
        assert get_again(settings=home) == model
        assert model.path.read_bytes() == own
        named = f"{model.path} is another model: pooling is max there and avg is wanted; it is exported again"
        assert named in said
        shutil.copyfile(ensure_exported(other, settings=home).path, model.path)


def test_the_card_of_another_model_is_ignored(spec: ModelSpec, home: Settings, weights: Path) -> None:
    """It was copied beside the model."""
    model = ensure_exported(spec, settings=home)
    other = ModelSpec.of("vgg", layer="block2_pool", pooling="max", weights=str(weights))
    card = ensure_exported(other, settings=home).path.with_suffix(".json")
    shutil.copyfile(card, model.path.with_suffix(".json"))
    assert [each.path for each in list_models(home)] == [card.with_suffix(".onnx")]
    assert ensure_exported(spec, settings=home) == model
    assert len(list_models(home)) == 2


def test_a_truncated_model_is_exported_again(spec: ModelSpec, home: Settings, said: list[str]) -> None:
    """The cache repairs itself, and logs the fault."""
    model = ensure_exported(spec, settings=home)
    own = model.path.read_bytes()
    for size in (0, 50, len(own) - 1):
        model.path.write_bytes(own[:size])
        said.clear()
        assert ensure_exported(spec, settings=home) == model
        assert model.path.read_bytes() == own
        assert f"{model.path} is another model: not a complete model made by lookalike" in said[0]


def test_another_model_without_weights_to_export_again_is_refused(
    spec: ModelSpec, home: Settings, weights: Path
) -> None:
    """The message names the model that was found."""
    model = ensure_exported(spec, settings=home)
    other = ModelSpec.of("vgg", layer="block2_pool", pooling="max", weights=str(weights))
    shutil.copyfile(ensure_exported(other, settings=home).path, model.path)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"pooling is max there and avg is wanted.*so are its weights"):
        get_model(_collection(model.manifest), settings=home)


def test_a_collection_finds_the_model_it_was_made_with(
    spec: ModelSpec, home: Settings, weights: Path
) -> None:
    """The weights are not needed while the model is in the cache."""
    model = ensure_exported(spec, settings=home)
    weights.unlink()
    assert get_model(_collection(model.manifest), settings=home) == model


def test_a_collection_has_its_model_exported_again(spec: ModelSpec, home: Settings, said: list[str]) -> None:
    """The weights file is the one in its manifest."""
    model = ensure_exported(spec, settings=home)
    model.path.unlink()
    said.clear()
    again = get_model(_collection(model.manifest), settings=home)
    assert again == model
    assert again.path.is_file()
    assert f"again from {spec.weights}" in said[0]


def test_a_collection_refuses_other_weights_under_the_old_name(
    spec: ModelSpec, home: Settings, weights: Path, save: Any, vgg_arrays: Any
) -> None:
    """The message names both fingerprints and the remedies: the old weights, or another ingest."""
    model = ensure_exported(spec, settings=home)
    model.path.unlink()
    vgg_arrays["block1_conv1"]["bias"] += 1
    save(weights, vgg_arrays)
    with pytest.raises(ManifestError, match="Restore the old weights, or ingest again") as caught:
        get_model(_collection(model.manifest), settings=home)
    assert f"weights_fingerprint was {model.manifest.identity.weights_fingerprint} and is" in str(
        caught.value
    )
    assert caught.value.exit_code == 6


def test_a_collection_whose_weights_are_gone_too_is_refused(
    spec: ModelSpec, home: Settings, weights: Path
) -> None:
    """Without model and weights, the message names the missing file."""
    model = ensure_exported(spec, settings=home)
    model.path.unlink()
    weights.unlink()
    with pytest.raises(WeightsError, match=r"so are its weights .*vgg\.h5"):
        get_model(_collection(model.manifest), settings=home)


def test_a_collections_model_is_exported_without_its_pooling(spec: ModelSpec, home: Settings) -> None:
    """The output is the feature map by row, column and channel; its mean is the stored vector."""
    model = ensure_exported(spec, settings=home)
    unpooled = get_feature_model(_collection(model.manifest), settings=home)
    assert unpooled.shape == (56, 56, 128)
    pixels = np.random.default_rng(0).integers(0, 60, (1, 224, 224, 3), dtype=np.uint8)
    pixels[:, :56] = 255  # bright in the upper quarter
    [whole] = Embedder.load(unpooled.path, provider="cpu").embed(pixels)
    [pooled] = Embedder.load(model.path, provider="cpu").embed(pixels)
    features = whole.reshape(unpooled.shape)
    np.testing.assert_allclose(features.mean(axis=(0, 1)), pooled, rtol=1e-4)
    rows, columns = features.sum(axis=(1, 2)), features.sum(axis=(0, 2))
    assert rows[:12].min() > 2 * rows[20:].max()
    assert columns.max() < 2 * columns.min()
    assert get_feature_model(_collection(model.manifest), settings=home) == unpooled
    assert len(list_models(home)) == 2


def test_a_model_without_its_pooling_is_refused_for_other_weights(
    spec: ModelSpec, home: Settings, save: Any, vgg_arrays: Any, weights: Path
) -> None:
    """Its feature map would belong to another vector space."""
    model = ensure_exported(spec, settings=home)
    vgg_arrays["block2_conv1"]["bias"] += 1
    save(weights, vgg_arrays)
    with pytest.raises(ManifestError, match=r"weights_fingerprint was .* and is "):
        get_feature_model(_collection(model.manifest), settings=home)


def test_a_layer_without_pooling_has_no_unpooled_model(spec: ModelSpec, home: Settings) -> None:
    """VGG16's dense layers have no feature map."""
    manifest = _collection(ensure_exported(spec, settings=home).manifest)
    dense = replace(manifest, identity=replace(manifest.identity, layer="fc1", pooling=Pooling.NONE))
    with pytest.raises(UsageError, match="VGG16's fc1 gives vectors"):
        get_feature_model(dense, settings=home)


@pytest.mark.parametrize(
    "error",
    [onnx.checker.ValidationError("bad"), onnx.shape_inference.InferenceError("bad")],
    ids=["checker", "shapes"],
)
def test_a_model_that_fails_the_check_is_not_written(
    error: Exception, spec: ModelSpec, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a partial file nor a card is left."""
    monkeypatch.setattr("onnx.checker.check_model", _raising(error))
    with pytest.raises(ModelError, match="was not written: ONNX's checker refuses the graph"):
        ensure_exported(spec, settings=home)
    assert {path.name for path in home.models_dir.iterdir()} == {"export.lock", "export.holder"}


def test_models_are_exported_by_one_process_at_a_time(
    spec: ModelSpec, home: Settings, said: list[str]
) -> None:
    """The second process logs which one it waits for, and finally gives up."""
    us = f"process {os.getpid()} ({Path(sys.argv[0]).name})"
    with (
        locks.hold(home.models_dir, "export", what="models", timeout_s=0),
        pytest.raises(StoreLockedError, match=rf"models is in use by {re.escape(us)} \(waited 0\.2 s\)"),
    ):
        ensure_exported(spec, settings=home, timeout_s=0.2)
    assert said == [f"waiting up to 0.2 s for {us}, which is exporting a model"]
    assert ensure_exported(spec, settings=home).path.is_file()


def test_a_waiting_process_uses_the_model_that_the_other_exported(
    spec: ModelSpec, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It neither reads weights nor writes a model."""
    made: list[ModelFile] = []

    def other_process(*_: object, **__: object) -> AbstractContextManager[None]:
        monkeypatch.undo()
        made.append(ensure_exported(spec, settings=home))
        return nullcontext()

    monkeypatch.setattr(locks, "hold", other_process)
    before = ensure_exported(spec, settings=home)
    assert [before] == made
    assert len(list(home.models_dir.glob("*.onnx"))) == 1


def test_leftovers_of_a_killed_export_are_removed(spec: ModelSpec, home: Settings) -> None:
    """A partial model and a partial download are removed; complete weights stay."""
    for folder in (home.models_dir, home.weights_dir):
        folder.mkdir(parents=True)
        (folder / ".x.0123abcd.partial").write_text("half", encoding="utf-8")
        (folder / "whole.h5").write_text("whole", encoding="utf-8")
    ensure_exported(spec, settings=home)
    assert not list(home.home.rglob("*.partial"))
    assert len(list(home.home.rglob("whole.h5"))) == 2


def test_a_full_disk_leaves_the_old_model_unchanged(
    spec: ModelSpec, tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models are replaced atomically."""
    model = export_to(tmp_path / "out" / "model.onnx", spec, settings=home)
    before = model.path.read_bytes()

    def fill_the_disk(path: Path, _: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("lookalike_exporter.export.write_onnx", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        export_to(model.path, spec, settings=home)
    assert model.path.read_bytes() == before
    assert sorted(path.name for path in model.path.parent.iterdir()) == ["model.onnx"]


def test_weights_that_do_not_fit_leave_no_file(home: Settings, weights: Path, tmp_path: Path) -> None:
    """The message names the layer, and no file appears."""
    spec = ModelSpec.of("vgg", layer="block3_pool", weights=str(weights))
    with pytest.raises(WeightsError, match=r"vgg\.h5: layer block3_conv1 is missing"):
        export_to(tmp_path / "out" / "model.onnx", spec, settings=home)
    assert not (tmp_path / "out").exists()
    assert not list(home.models_dir.glob("*.onnx"))


@pytest.mark.parametrize("name", ["model", "model.json", "model.h5"])
def test_the_output_path_must_end_in_onnx(name: str, spec: ModelSpec, tmp_path: Path, home: Settings) -> None:
    """The card has the same name with `.json`; neither overwrites another kind of file."""
    with pytest.raises(UsageError, match=r"has to end in \.onnx"):
        export_to(tmp_path / name, spec, settings=home)
    assert not (tmp_path / name).exists()


@pytest.mark.slow  # VGG16's dense layers, in full size
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say how much memory a process had")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process' peak holds that of its parent")
def test_dense_layers_are_exported_in_little_more_memory_than_their_size(tmp_path: Path) -> None:
    """VGG16 up to `fc1` is the largest model; no tensor may be in memory several times."""
    weights = tmp_path / "sparse.h5"
    with h5py.File(weights, "w") as file:  # of fill values, which take no room on the disk
        layers = [layer for layer in vgg16().up_to("fc1").layers if layer.variables]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [name.encode() for name in layer.variables]
            for name, shape in layer.variables.items():
                group.create_dataset(name, shape, dtype=np.float32, fillvalue=0.01)
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from lookalike_exporter.commands.app import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1])\n"
    )
    options = ["--backbone", "vgg", "--layer", "fc1", "--output", str(tmp_path / "fc1.onnx")]
    done = subprocess.run(
        [sys.executable, "-c", program, "run", *options, "--weights", str(weights)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout.split()[-1]) * 1024 < PEAK_BYTES_AT_MOST


def _dimensions(value: Any) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _collection(manifest: ModelManifest) -> CollectionManifest:
    return CollectionManifest(
        identity=manifest.identity,
        distance=Distance.COSINE,
        weights=replace(manifest.weights),
        exporter_version=manifest.exporter_version,
        graph_revision=manifest.graph_revision,
        provider="CPUExecutionProvider",
        created_at="2025-01-01T00:00:00+00:00",
        datasets={},
    )


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def _keep_time(path: Path, change: Callable[[], object], *, later_ns: int) -> None:
    """Changes a file so quickly that its mtime differs by nanoseconds only."""
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later_ns))


def _into_a_folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").mkdir()
    return tmp_path / "model.onnx"


def _below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    return tmp_path / "file" / "models" / "model.onnx"


def _into_a_closed_folder(tmp_path: Path) -> Path:
    (tmp_path / "closed").mkdir(mode=0o500)
    return tmp_path / "closed" / "new" / "model.onnx"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (_into_a_folder, "is a folder; name the file to write in it"),
        (_below_a_file, "cannot be written: .*file is not a folder"),
        (_into_a_closed_folder, "cannot be written: no permission to write to .*closed"),
    ],
)
def test_an_unwritable_output_path_is_refused_before_weights_are_read(
    place: Callable[[Path], Path], said: str, tmp_path: Path, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the missing weights would be the error."""
    closed = tmp_path / "closed"
    monkeypatch.setattr("os.access", lambda path, _: path != closed)
    spec = ModelSpec.of("vgg", layer="block2_pool", weights=str(tmp_path / "missing.h5"))
    with pytest.raises(UsageError, match=said):
        export_to(place(tmp_path), spec, settings=home)
