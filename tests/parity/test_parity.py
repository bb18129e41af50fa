"""Vectors, names and preprocessing of exported models compared with Keras, through all layers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from lookalike_core.models.backbones import BACKBONES, Pooling
from lookalike_core.models.embedder import Embedder
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported, export_to
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings(
    # Keras turns TensorFlow's tensors into arrays in a way that NumPy 2 no longer likes.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)

COSINE_AT_LEAST = 0.99999
DIFFERENCE_AT_MOST = 1e-3
"""Relative to a vector's largest value.

The tolerance is wide: float32 sums in another order differ by less than 1e-4 after a hundred layers, and a
wrong border, epsilon or channel order by more than 1e-2.
"""

IMAGES_DIFFER_BY = 0.02
"""Relative to the largest value: least difference between images, twenty times the tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A tap, and the weights file to export it from."""

    backbone: str
    layer: str
    pooling: Pooling
    suffix: str


CASES = [
    Case(backbone=backbone, layer=layer, pooling=Pooling(pooling), suffix=suffix)
    for backbone, layer, pooling, suffix in (
        ("resnet101v2", "pool1_pool", "avg", ".h5"),
        ("resnet101v2", "conv3_block4_out", "avg", ".weights.h5"),
        ("resnet101v2", "conv4_block1_0_conv", "max", ".h5"),
        ("resnet101v2", "conv5_block3_2_relu", "flatten", ".weights.h5"),
        ("resnet101v2", "post_relu", "max", ".h5"),
        ("resnet101v2", "post_relu", "avg", ".weights.h5"),
        ("vgg16", "block3_conv2", "max", ".h5"),
        ("vgg16", "block5_pool", "avg", ".h5"),
        ("vgg16", "block5_pool", "flatten", ".h5"),
        ("vgg16", "fc1", "none", ".weights.h5"),
        ("vgg16", "fc2", "none", ".weights.h5"),
    )
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.backbone}-{case.layer}-{case.pooling}")
def case(request: pytest.FixtureRequest) -> Case:
    """Returns each tap in turn."""
    case: Case = request.param
    return case


@pytest.fixture(scope="module")
def judge(case: Case, get_judge: Callable[[str], Any]) -> Any:
    """Returns Keras' network for the tap."""
    return get_judge(case.backbone)


@pytest.fixture(scope="module")
def model(case: Case, judge: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelFile]:
    """Exports the tap from the file that Keras saved, and removes the model afterwards."""
    home = Settings(home=tmp_path_factory.mktemp("home"), provider="cpu")
    spec = ModelSpec.of(
        case.backbone,
        layer=case.layer,
        pooling=None if case.pooling is Pooling.NONE else case.pooling,
        weights=str(judge.files[case.suffix]),
    )
    model = ensure_exported(spec, settings=home)
    yield model
    model.path.unlink()


def test_vectors_are_those_of_keras(
    case: Case, judge: Any, model: ModelFile, images: NDArray[np.uint8], keras: Any
) -> None:
    """One image and five are compared through layer and pooling, by value and by direction."""
    embedder = Embedder.load(model.path, provider="cpu")
    for size in (1, len(images)):
        expected = _pool(keras, judge.features[case.layer, size], case.pooling)
        found = embedder.embed(images[:size])
        assert found.shape == expected.shape
        assert _cosines(expected, found).min() >= COSINE_AT_LEAST
        assert np.abs(expected - found).max() <= DIFFERENCE_AT_MOST * np.abs(expected).max()


def test_seeded_networks_distinguish_images(case: Case, judge: Any, keras: Any) -> None:
    """Vanished, exploded or constant values would agree with any reference."""
    vectors = _pool(keras, judge.features[case.layer, 5], case.pooling)
    assert 1e-2 < np.abs(vectors).max() < 1e4
    for i, vector in enumerate(vectors):
        for other in vectors[:i]:
            assert np.abs(vector - other).max() > IMAGES_DIFFER_BY * np.abs(vectors).max()


def test_nodes_and_initializers_carry_the_names_of_keras_layers(
    case: Case, judge: Any, model: ModelFile
) -> None:
    """The graph has exactly the layers up to the tap; a batch norm after a convolution is folded into it."""
    graph = onnx.load(model.path).graph
    layers = [name for name in judge.layers[case.layer] if judge.kinds[name] != "InputLayer"]
    folded = {n for n in layers if judge.kinds[n] == "BatchNormalization" and n in judge.behind_conv}
    nodes = {node.name.split("/")[0] for node in graph.node} - {"preprocessing", "embeddings"}
    assert nodes == set(layers) - folded

    initializers = {tensor.name for tensor in graph.initializer}
    with_weights = [name for name in layers if judge.kinds[name] in ("Conv2D", "Dense")]
    assert {f"{name}/{part}" for name in with_weights for part in ("kernel", "bias")} <= initializers
    assert {name.split("/")[0] for name in initializers} <= set(layers) - folded | {"preprocessing"}


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda backbone: backbone.name)
def test_both_file_formats_are_the_same_space(
    backbone: Any, get_judge: Callable[[str], Any], tmp_path: Path
) -> None:
    """The identity, fingerprint included, does not depend on the file format."""
    settings = Settings(home=tmp_path, provider="cpu")
    models = [
        export_to(tmp_path / "model.onnx", ModelSpec.of(backbone.name, weights=str(file)), settings=settings)
        for file in get_judge(backbone.name).files.values()
    ]
    first, second = (model.manifest for model in models)
    assert first.identity == second.identity
    assert first.weights.sha256 != second.weights.sha256


@pytest.mark.parametrize(("backbone", "layer"), [("resnet101v2", "conv1_conv"), ("vgg16", "block1_conv1")])
def test_preprocessing_is_that_of_keras(
    backbone: str,
    layer: str,
    get_judge: Callable[[str], Any],
    images: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    """The nodes before the first layer give the output of `preprocess_input` to the last bit."""
    judge = get_judge(backbone)
    spec = ModelSpec.of(backbone, layer=layer, weights=str(judge.files[".h5"]))
    settings = Settings(home=tmp_path, provider="cpu")
    model = export_to(tmp_path / "model.onnx", spec, settings=settings)
    onnx.utils.extract_model(model.path, tmp_path / "start.onnx", ["images"], ["preprocessing"])
    session = onnxruntime.InferenceSession(tmp_path / "start.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), judge.prepared)


def _pool(keras: Any, features: NDArray[Any], pooling: Pooling) -> NDArray[Any]:
    """Pools features with Keras' own layers."""
    layers = {
        Pooling.AVG: keras.layers.GlobalAveragePooling2D,
        Pooling.MAX: keras.layers.GlobalMaxPooling2D,
        Pooling.FLATTEN: keras.layers.Flatten,
    }
    if pooling is Pooling.NONE:
        return features
    return np.asarray(keras.ops.convert_to_numpy(layers[pooling]()(features)))


def _cosines(expected: NDArray[Any], found: NDArray[Any]) -> Any:
    a, b = expected.astype(np.float64), found.astype(np.float64)
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
