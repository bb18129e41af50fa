"""A model without an index: arguments, vectors and errors."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_files import Model, save_keras, save_legacy, save_weights_h5
from lookalike_core.images.decoding import decode
from lookalike_core.models.embedder import Embedder
from PIL import Image

import lookalike
from lookalike import errors

Draw = Callable[..., list[Path]]


def test_vectors_are_those_of_the_exported_model(
    tiny_model: lookalike.Model, draw: Draw, tmp_path: Path, library_home: Path
) -> None:
    """They are float32 `[N, D]` in the order of the images, for every type of input."""
    one, other = draw(tmp_path, "a.png", "b.png")
    found = tiny_model.embed([one, Image.open(other), one.read_bytes(), np.asarray(Image.open(other))])
    assert found.dtype == np.float32
    assert found.shape == (4, tiny_model.dimension) == (4, 64)
    [path] = library_home.glob("models/*.onnx")
    embedder = Embedder.load(path, provider="cpu")
    pixels = [decode(io.BytesIO(file.read_bytes()), file.name).pixels for file in (one, other)]
    np.testing.assert_array_equal(found, embedder.embed([*pixels, *pixels]))
    assert tiny_model.provider == "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("name", "save_as"), [("x.h5", save_legacy), ("x.weights.h5", save_weights_h5), ("x.keras", save_keras)]
)
def test_weights_of_a_fine_tuned_model_are_those_of_its_network(
    name: str, save_as: Callable[[Path, Model], Path], tmp_path: Path, images: Path
) -> None:
    """The network is a layer of another model, in each of Keras' formats."""
    random = np.random.default_rng(7)
    layers = Model(
        block1_conv1={
            "kernel": random.normal(0, 0.05, (3, 3, 3, 64)).astype(np.float32),
            "bias": np.zeros(64, np.float32),
        }
    )
    flat = save_legacy(tmp_path / "flat.h5", layers)
    tuned = save_as(tmp_path / name, Model(rescaling={}, base=Model(layers), dense={}))
    ours, expected = (
        lookalike.Model("vgg16", weights=file, layer="block1_conv1").embed([images / "1.png"])
        for file in (tuned, flat)
    )
    np.testing.assert_array_equal(ours, expected)


def test_vectors_do_not_depend_on_the_batch_size(tiny_model: lookalike.Model, images: Path) -> None:
    """Images may be any number, and come from an iterator."""
    files = sorted(images.rglob("*.png"))
    np.testing.assert_allclose(
        tiny_model.embed(iter(files), batch_size=4), tiny_model.embed(files), rtol=0, atol=1e-6
    )


def test_embedding_no_images_gives_an_empty_array(tiny_model: lookalike.Model) -> None:
    """Its shape is `[0, D]`, its type float32."""
    assert tiny_model.embed([]).shape == (0, 64)


def test_an_unreadable_image_is_an_error_with_its_reason(tiny_model: lookalike.Model, tmp_path: Path) -> None:
    """The error has the reason as data."""
    file = tmp_path / "empty.jpg"
    file.touch()
    with pytest.raises(errors.ImageError) as caught:
        tiny_model.embed([file])
    assert caught.value.reason is errors.SkipReason.EMPTY
    with pytest.raises(errors.ImageError) as absent:
        tiny_model.embed([tmp_path / "absent.jpg"])
    assert absent.value.reason is errors.SkipReason.VANISHED


def test_what_is_no_single_image_is_refused(tiny_model: lookalike.Model, tmp_path: Path) -> None:
    """A folder and a vector are refused."""
    for given in (tmp_path, np.ones(64, np.float32)):
        with pytest.raises(errors.UsageError):
            tiny_model.embed([given])


def test_an_error_of_a_missing_image_names_the_missing_folder(
    tiny_model: lookalike.Model, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model has no index to look the name up in."""
    monkeypatch.chdir(images)
    with pytest.raises(errors.ImageError) as refused:
        tiny_model.embed(["kitten/0.png"])
    assert str(refused.value) == f"kitten/0.png does not exist; the last of its folders that does is {images}"
    assert refused.value.path == Path("kitten/0.png")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "alexnet"},
        {"name": "vgg16", "layer": "block9"},
        {"name": "vgg16", "pooling": "avg", "layer": "fc1"},
        {"name": "vgg16", "provider": "tpu"},
        {"name": "vgg16", "head": "pets"},
        {"head": "not_there"},
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(wrong: dict[str, str]) -> None:
    """Nothing is downloaded or loaded before that."""
    with pytest.raises(errors.UsageError):
        lookalike.Model(**wrong)


def test_a_missing_weights_file_is_a_weights_error(tmp_path: Path) -> None:
    """It is raised when the model is first used."""
    model = lookalike.Model("vgg16", weights=tmp_path / "absent.h5")
    with pytest.raises(errors.WeightsError):
        model.embed([])


def test_names_alone_mean_the_official_weights() -> None:
    """Short and full names mean the default layer, too."""
    assert repr(lookalike.Model()) == "Model('resnet101v2', layer='post_relu')"
    assert repr(lookalike.Model("vgg")) == "Model('vgg16', layer='block5_pool')"
    assert (lookalike.Model().dimension, lookalike.Model("vgg").dimension) == (2048, 512)


@pytest.mark.slow  # every check of a model
def test_a_model_is_exported_and_verified(tiny_model: lookalike.Model, tmp_path: Path) -> None:
    """It is written to the model cache or to a given path; the check reads that file."""
    kept = tiny_model.export()
    assert kept.suffix == ".onnx"
    assert tiny_model.export() == kept
    own = tiny_model.export(tmp_path / "own.onnx")
    assert own == tmp_path / "own.onnx"
    assert own.read_bytes() == kept.read_bytes()
    report = tiny_model.verify()
    assert not report.failed
    assert report.checks
    with pytest.raises(errors.UsageError, match="onnx"):
        tiny_model.export(tmp_path / "own.txt")
