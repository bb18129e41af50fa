"""Real weights, real photos: the ten neighbours that Keras' vectors give are the ones that ours give."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from exporter.export import ModelSpec, export_to
from lookalike.console import Quiet
from lookalike.embedder import BATCH_SIZE, Embedder
from lookalike.pictures.decoding import decode
from lookalike.settings import Settings

pytestmark = pytest.mark.filterwarnings(
    # Keras turns TensorFlow's tensors into arrays in a way that NumPy 2 no longer likes.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)

NEIGHBOURS = 10
OVERLAP_AT_LEAST = 0.995
"""Of all neighbours; the rest is left to photos so equally near that the last digit decides."""

PHOTOS_A_CLASS = 10

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A tap for which there are real weights."""

    backbone: str
    layer: str
    weights: str


NETWORKS = [
    Network(backbone="vgg16", layer="block5_pool", weights="vgg16_imagenet_notop.h5"),
    Network(
        backbone="resnet101v2",
        layer="conv5_block1_preact_relu",
        weights="resnet101v2_imagenet_conv1_to_conv4.h5",
    ),
]


@pytest.fixture(scope="module")
def photos(shared: Path, request: pytest.FixtureRequest) -> Pictures:
    """uint8 `[N, 224, 224, 3]`: the first photos of every class, or all of them with `--all-photos`."""
    folders = sorted(path for path in shared.glob("photos/*") if path.is_dir())
    if not folders:
        pytest.skip(f"no photos in {shared / 'photos'}")
    count = None if request.config.getoption("--all-photos") else PHOTOS_A_CLASS
    files = [file for folder in folders for file in sorted(folder.glob("*.jpg"))[:count]]
    return np.stack([decode(io.BytesIO(file.read_bytes()), file.name).pixels for file in files])


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.backbone)
def test_neighbours_are_those_of_keras(
    network: Network, photos: Pictures, shared: Path, keras: Any, tmp_path: Path
) -> None:
    """Cosine over average-pooled vectors, each photo looked up among all the others."""
    weights = shared / "weights" / network.weights
    if not weights.is_file():
        pytest.skip(f"no real weights in {weights}")
    expected = _neighbours(_embed_with_keras(keras, network, weights, photos))
    found = _neighbours(_embed_with_ours(network, weights, photos, tmp_path))
    shared_ones = [len(set(a) & set(b)) for a, b in zip(expected, found, strict=True)]
    assert sum(shared_ones) / (NEIGHBOURS * len(photos)) >= OVERLAP_AT_LEAST


def _embed_with_keras(keras: Any, network: Network, weights: Path, photos: Pictures) -> Vectors:
    applications, options = keras.applications, {"include_top": False, "input_shape": photos.shape[1:]}
    if network.backbone == "vgg16":
        whole, prepare = applications.VGG16(weights=None, **options), applications.vgg16.preprocess_input
        whole.load_weights(weights)
    else:
        whole = applications.ResNet101V2(weights=None, **options)
        prepare = applications.resnet_v2.preprocess_input
        whole.load_weights(weights, by_name=True)
    features = whole.get_layer(network.layer).output
    part = keras.Model(whole.input, keras.layers.GlobalAveragePooling2D()(features))
    return np.concatenate(
        [part.predict_on_batch(prepare(batch.astype(np.float32))) for batch in _batches(photos)]
    )


def _embed_with_ours(network: Network, weights: Path, photos: Pictures, folder: Path) -> Vectors:
    spec = ModelSpec.of(network.backbone, layer=network.layer, weights=str(weights))
    settings = Settings(home=folder, provider="cpu")
    model = export_to(folder / "model.onnx", spec, settings=settings, reporter=Quiet())
    embedder = Embedder.load(model.path, provider="cpu")
    return np.concatenate([embedder.embed(batch) for batch in _batches(photos)])


def _batches(photos: Pictures) -> list[Pictures]:
    return [photos[start : start + BATCH_SIZE] for start in range(0, len(photos), BATCH_SIZE)]


def _neighbours(vectors: Vectors) -> NDArray[np.int64]:
    """For every photo the indices of the others nearest to it, int64 `[N, 10]`."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = directions.astype(np.float64) @ directions.T.astype(np.float64)
    np.fill_diagonal(cosines, -np.inf)
    return np.argsort(-cosines, axis=1)[:, :NEIGHBOURS]
