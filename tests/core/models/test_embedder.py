"""The embedder: a real model in a real session."""

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
"""Relative: a batch may be summed up in another order than a single image, in float32."""


@pytest.fixture(scope="module")
def model(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """VGG16's first block, exported from random weights."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), provider="cpu")
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))
    return ensure_exported(spec, settings=settings)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Callable[..., Path]:
    """Makes an ONNX model that gives back what it is given, with or without metadata."""

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
    """uint8 `[count, 224, 224, 3]`."""
    return np.random.default_rng(1).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


def test_an_image_has_one_vector_alone_and_in_a_batch(model: ModelFile) -> None:
    """Float32, of the dimension that the manifest says, and the same for what is the same."""
    embedder, pixels = Embedder.load(model.path, provider="cpu"), random_pixels(3)
    together = embedder.embed(pixels)
    assert together.shape == (3, 64)
    assert together.dtype == np.float32
    alone = [embedder.embed_one(image) for image in pixels]
    np.testing.assert_allclose(together, alone, rtol=BATCH_TOLERANCE)


def test_different_images_have_different_vectors(model: ModelFile) -> None:
    """The model really looks at its input, every image of a batch."""
    vectors = Embedder.load(model.path, provider="cpu").embed(random_pixels(3))
    assert len({vector.tobytes() for vector in vectors}) == 3


def test_a_list_of_images_is_a_batch_too(model: ModelFile) -> None:
    """Images come one by one from the threads that decode them."""
    embedder, pixels = Embedder.load(model.path, provider="cpu"), random_pixels(2)
    np.testing.assert_array_equal(embedder.embed(list(pixels)), embedder.embed(pixels))


def test_the_provider_is_what_the_session_says(model: ModelFile) -> None:
    """Read back, since the list of available providers names more than works."""
    embedder = Embedder.load(model.path, provider="cpu")
    assert embedder.provider == CPU
    assert embedder.notice is None


def test_the_manifest_comes_out_of_the_model_itself(model: ModelFile, tmp_path: Path) -> None:
    """A model file may be copied anywhere and still says what it is."""
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(model.path.read_bytes())
    assert Embedder.load(copy, provider="cpu").manifest == model.manifest


def test_a_missing_model_hints_at_exporting_it(tmp_path: Path) -> None:
    """Exit 3, and the hint."""
    with pytest.raises(ModelError, match=r"none\.onnx is not there$") as missed:
        Embedder.load(tmp_path / "none.onnx", provider="cpu")
    assert (missed.value.path, missed.value.hint) == (tmp_path / "none.onnx", Hint(Action.EXPORT))


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    """A download that was an error page, a file cut in half."""
    file = tmp_path / "page.onnx"
    file.write_text("<html>404</html>", encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"page\.onnx cannot be loaded .*; remove it and try again"
    ) as refused:
        Embedder.load(file, provider="cpu")
    assert "\n" not in str(refused.value)


def test_a_model_without_a_manifest_is_refused(onnx_file: Callable[..., Path]) -> None:
    """Without a manifest nobody knows what its vectors may be compared with."""
    with pytest.raises(ModelError, match=r"echo\.onnx: it carries no manifest$") as refused:
        Embedder.load(onnx_file(author="somebody"), provider="cpu")
    assert refused.value.hint == Hint(Action.EXPORT)


@pytest.mark.parametrize("manifest", ["not json", "[]", "{}", "[" * 100_000])
def test_a_model_with_a_malformed_manifest_is_refused(onnx_file: Callable[..., Path], manifest: str) -> None:
    """Whatever is wrong with it is a fault of the model: exit 3."""
    with pytest.raises(ModelError, match=r"echo\.onnx: "):
        Embedder.load(onnx_file(**{METADATA_KEY: manifest}), provider="cpu")


def test_a_model_that_takes_values_from_other_files_is_refused(model: ModelFile, tmp_path: Path) -> None:
    """ONNX Runtime would read them from beside it, and nobody would know what its vectors are made of."""
    proto = onnx.load(model.path)
    onnx.save_model(proto, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match=r"model\.onnx takes values from other files"):
        Embedder.load(tmp_path / "model.onnx", provider="cpu")


def test_what_the_session_refuses_to_run_is_one_of_our_errors(model: ModelFile) -> None:
    """This one is for its shape; a smaller batch would not help, and is not advised."""
    embedder = Embedder.load(model.path, provider="cpu")
    with pytest.raises(ModelError, match=r"CPUExecutionProvider failed on 2 images ") as refused:
        embedder.embed(np.zeros((2, 9, 9, 3), np.uint8))
    assert refused.value.hint == Hint(Action.CHANGE_PROVIDER)


def test_a_model_that_is_not_the_expected_one_is_refused(model: ModelFile) -> None:
    """Both sides are named; what is only recorded may differ."""
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
def test_a_provider_that_runs_out_of_memory_says_that(
    model: ModelFile, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of what may be damaged; a stand-in fails as the runtime does."""
    embedder = Embedder.load(model.path, provider="cpu")
    monkeypatch.setattr(embedder, "_session", Failing(RuntimeError(said)))
    with pytest.raises(MemoryError, match=f"{CPU} failed on 2 images"):
        embedder.embed(random_pixels(2))


class Failing:
    """In the place of a session: every run ends in an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: object) -> None:
        """Raises it."""
        raise self._error
