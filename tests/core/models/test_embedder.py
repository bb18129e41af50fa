"""The embedder with a real model in a real session."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from lookalike_core.errors import ModelError
from lookalike_core.hints import Action, Hint
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.models.providers import CPU
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from numpy.typing import NDArray
from onnx import TensorProto, helper

BATCH_TOLERANCE = 1e-6
"""Relative: a batch may be summed in another order than a single image, in float32."""


@pytest.fixture(scope="module")
def model(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """Yields VGG16's first block, exported from random weights."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), provider="cpu")
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))
    return ensure_exported(spec, settings=settings)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """Returns a factory of ONNX models that return their input, with or without metadata."""

    def make(**metadata: str) -> Path:
        value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        node = helper.make_node("Identity", ["x"], ["y"])
        graph = helper.make_graph([node], "echo", value[:1], value[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, metadata)
        onnx.save_model(model, tmp_path / "echo.onnx")
        return tmp_path / "echo.onnx"

    return make


def random_pixels(count: int) -> NDArray[np.uint8]:
    """Returns uint8 `[count, 224, 224, 3]`."""
    return np.random.default_rng(1).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


def test_an_image_has_one_vector_alone_and_in_a_batch(model: ModelFile) -> None:
    """It is float32 of the manifest's dimension."""
    embedder, pixels = Embedder.load(model.path, provider="cpu"), random_pixels(3)
    together = embedder.embed(pixels)
    assert together.shape == (3, 64)
    assert together.dtype == np.float32
    alone = [embedder.embed_one(image) for image in pixels]
    np.testing.assert_allclose(together, alone, rtol=BATCH_TOLERANCE)


def test_different_images_have_different_vectors(model: ModelFile) -> None:
    """The vector of each image of a batch depends on that image."""
    vectors = Embedder.load(model.path, provider="cpu").embed(random_pixels(3))
    assert len({vector.tobytes() for vector in vectors}) == 3


def test_a_list_of_images_is_a_batch_too(model: ModelFile) -> None:
    """Decoding threads yield images one by one."""
    embedder, pixels = Embedder.load(model.path, provider="cpu"), random_pixels(2)
    np.testing.assert_array_equal(embedder.embed(list(pixels)), embedder.embed(pixels))


def test_the_provider_is_what_the_session_says(model: ModelFile) -> None:
    """It is read from the session, since not every available provider works."""
    embedder = Embedder.load(model.path, provider="cpu")
    assert embedder.provider == CPU
    assert embedder.notice is None


def test_the_manifest_is_read_from_the_model_file(model: ModelFile, tmp_path: Path) -> None:
    """A copied model file needs no other file."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model.path.read_bytes())
    assert Embedder.load(copy, provider="cpu").manifest == model.manifest


def test_a_missing_model_hints_at_exporting_it(tmp_path: Path) -> None:
    """The exit code is 3."""
    with pytest.raises(ModelError, match=r"none\.onnx does not exist$") as missed:
        Embedder.load(tmp_path / "none.onnx", provider="cpu")
    assert (missed.value.path, missed.value.hint) == (tmp_path / "none.onnx", Hint(Action.EXPORT))


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    """Examples are an error page saved by a download, and a truncated file."""
    file = tmp_path / "page.onnx"
    file.write_text("<html>404</html>", encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"page\.onnx cannot be loaded .*; remove it and try again"
    ) as refused:
        Embedder.load(file, provider="cpu")
    assert "\n" not in str(refused.value)


def test_a_model_without_a_manifest_is_refused(onnx_file: Callable[..., Path]) -> None:
    """It is unknown what its vectors can be compared with."""
    with pytest.raises(ModelError, match=r"echo\.onnx: it has no manifest$") as refused:
        Embedder.load(onnx_file(author="somebody"), provider="cpu")
    assert refused.value.hint == Hint(Action.EXPORT)


@pytest.mark.parametrize("manifest", ["not json", "[]", "{}", "[" * 100_000])
def test_a_model_with_a_malformed_manifest_is_refused(onnx_file: Callable[..., Path], manifest: str) -> None:
    """The exit code is 3, whatever is malformed."""
    with pytest.raises(ModelError, match=r"echo\.onnx: "):
        Embedder.load(onnx_file(**{METADATA_KEY: manifest}), provider="cpu")


def test_a_model_that_takes_values_from_other_files_is_refused(model: ModelFile, tmp_path: Path) -> None:
    """ONNX Runtime would read them from beside it, so the file would not determine the vectors."""
    proto = onnx.load(model.path)
    onnx.save_model(proto, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match=r"model\.onnx reads values from other files"):
        Embedder.load(tmp_path / "model.onnx", provider="cpu")


def test_a_failing_session_is_a_model_error(model: ModelFile) -> None:
    """Here the input's shape is wrong, so no smaller batch is advised."""
    embedder = Embedder.load(model.path, provider="cpu")
    with pytest.raises(ModelError, match=r"CPUExecutionProvider failed on 2 images ") as refused:
        embedder.embed(np.zeros((2, 9, 9, 3), np.uint8))
    assert refused.value.hint == Hint(Action.CHANGE_PROVIDER)


def test_a_model_that_is_not_the_expected_one_is_refused(model: ModelFile) -> None:
    """Both models are named; fields that are only recorded may differ."""
    manifest = model.manifest
    other = replace(manifest, identity=replace(manifest.identity, pooling=Pooling.MAX), graph_revision=9)
    with pytest.raises(
        ModelError,
        match=r"is another model: pooling is avg there and max is wanted; graph revision is 1 there and 9 is",
    ):
        Embedder.load(model.path, provider="cpu", expected=other)
    newer = replace(manifest, exporter_version="9")
    assert Embedder.load(model.path, provider="cpu", expected=newer).manifest == manifest


@pytest.mark.parametrize("said", ["[E:onnxruntime] std::bad_alloc", "CUDA failure 2: out of memory"])
def test_a_provider_that_runs_out_of_memory_raises_memory_error(
    model: ModelFile, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message does not suggest damage; a stand-in fails as the runtime does."""
    embedder = Embedder.load(model.path, provider="cpu")
    monkeypatch.setattr(embedder, "_session", Failing(RuntimeError(said)))
    with pytest.raises(MemoryError, match=f"{CPU} failed on 2 images"):
        embedder.embed(random_pixels(2))


class Failing:
    """A stand-in for a session whose every run fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: object) -> None:
        """Raises it."""
        raise self._error
