"""Keras as the reference: its own networks with seeded weights, the files they save and their outputs."""

import functools
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.decoding import decode
from lookalike_core.models.embedder import BATCH_SIZE, Embedder
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.model_cache import ModelFile
from lookalike_exporter.spec import ModelSpec
from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by TensorFlow when it is imported

SHARED = Path(__file__).parents[2].parent / "shared"
"""Folder of real weights and photos, which are not part of the project and may be missing."""

TAPS = {
    "resnet101v2": (
        "pool1_pool",
        "conv3_block4_out",
        "conv4_block1_0_conv",
        "conv5_block3_2_relu",
        "post_relu",
    ),
    "vgg16": ("block3_conv2", "block5_pool", "fc1", "fc2"),
}
"""Layers to compare: in the first block, in the middle, before an activation, and the last."""

BATCH_SIZES = (1, 5)

REAL = {
    "vgg16": ("block5_pool", "vgg16_imagenet_notop.h5"),
    "resnet101v2": ("conv5_block1_preact_relu", "resnet101v2_imagenet_conv1_to_conv4.h5"),
}
"""For each network with real weights: the layer up to which they go, and the file."""

PHOTOS_A_CLASS = 3

Images = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A Keras network with seeded weights: its files and its outputs.

    `files` are the same weights as `.h5` (VGG16's without its dense layers) and as `.weights.h5`.
    `layers[tap]` holds the names of the layers that the tap needs, `kinds` the class of each, `behind_conv`
    those that consume a convolution's output. `features[tap, n]` is the tap's output for the first `n`
    images, `prepared` Keras' preprocessing of all images.
    """

    files: Mapping[str, Path]
    layers: Mapping[str, Sequence[str]]
    kinds: Mapping[str, str]
    behind_conv: frozenset[str]
    features: Mapping[tuple[str, int], Floats]
    prepared: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A network with real weights, exported to `settings`' home, and its embeddings of photos.

    `files` are the photos, `pixels` their decoded uint8 `[N, 224, 224, 3]`, `vectors` the model's float32
    `[N, D]`.
    """

    spec: ModelSpec
    settings: Settings
    model: ModelFile
    files: Sequence[Path]
    pixels: Images
    vectors: NDArray[np.float32]

    def embed(self, model: ModelFile, some: slice = slice(None)) -> NDArray[np.float32]:
        """Returns the model's embeddings of some of the photos, float32 `[n, D]`."""
        embedder, pixels = Embedder.load(model.path, provider="cpu"), self.pixels[some]
        starts = range(0, len(pixels), BATCH_SIZE)
        return np.concatenate([embedder.embed(pixels[start : start + BATCH_SIZE]) for start in starts])


@pytest.fixture(scope="session")
def keras() -> Any:
    """Imports Keras; skips the test if it is not installed."""
    return pytest.importorskip("keras", reason="Keras is not installed; it comes with the dev dependencies")


@pytest.fixture(scope="session")
def photos(pytestconfig: pytest.Config) -> tuple[Sequence[Path], Images]:
    """Returns files and pixels of the first photos of every class, or of all of them with `--all-photos`."""
    folders = sorted(path for path in SHARED.glob("photos/*") if path.is_dir())
    if not folders:
        pytest.skip(f"no photos in {SHARED / 'photos'}")
    count = None if pytestconfig.getoption("--all-photos") else PHOTOS_A_CLASS
    files = [file for folder in folders for file in sorted(folder.glob("*.jpg"))[:count]]
    return files, np.stack([decode(io.BytesIO(file.read_bytes()), file.name).pixels for file in files])


@pytest.fixture(scope="session")
def shared_weights() -> Callable[[str], Path]:
    """Returns a function that gives the file of a network's real weights, or skips the test."""

    def find(backbone: str) -> Path:
        weights = SHARED / "weights" / REAL[backbone][1]
        if not weights.is_file():
            pytest.skip(f"no real weights in {weights}")
        return weights

    return find


@pytest.fixture(scope="session", params=REAL)
def real(
    request: pytest.FixtureRequest,
    photos: tuple[Sequence[Path], Images],
    shared_weights: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Real:
    """Exports each network that has real weights, and embeds the photos once."""
    layer, weights = REAL[request.param][0], shared_weights(request.param)
    settings = Settings(home=tmp_path_factory.mktemp("real"), provider="cpu")
    spec = ModelSpec.of(request.param, layer=layer, weights=str(weights))
    model = ensure_exported(spec, settings=settings)
    files, pixels = photos
    unused = np.empty((0, spec.dimension), np.float32)
    bare = Real(spec=spec, settings=settings, model=model, files=files, pixels=pixels, vectors=unused)
    return replace(bare, vectors=bare.embed(model))


@pytest.fixture(scope="session")
def images() -> Images:
    """Returns uint8 `[5, 224, 224, 3]`: photos of five classes, or drawn images if there are none."""
    folders = sorted(path for path in SHARED.glob("photos/*") if path.is_dir())
    if len(folders) < max(BATCH_SIZES):
        return _drawn_images()
    photos = [min(folder.glob("*.jpg")) for folder in folders[: max(BATCH_SIZES)]]
    return np.stack([decode(io.BytesIO(photo.read_bytes()), photo.name).pixels for photo in photos])


@pytest.fixture(scope="session")
def get_judge(keras: Any, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Judge]:
    """Returns a function that gives the judge of a backbone by name, made once."""

    @functools.cache
    def judge(backbone: str) -> Judge:
        return _judge(keras, backbone, images, tmp_path_factory.mktemp(backbone))

    return judge


def _judge(keras: Any, backbone: str, images: Images, folder: Path) -> Judge:
    keras.utils.clear_session()  # Keras numbers nameless layers from here on
    if backbone == "resnet101v2":
        network = keras.applications.ResNet101V2(weights=None, include_top=False, input_shape=(224, 224, 3))
        prepared = keras.applications.resnet_v2.preprocess_input(images.astype(np.float32))
    else:
        network = keras.applications.VGG16(weights=None)
        prepared = keras.applications.vgg16.preprocess_input(images.astype(np.float32))
    _seed(keras, network, prepared)
    taps = TAPS[backbone]
    convolutions = {layer.name for layer in network.layers if isinstance(layer, keras.layers.Conv2D)}
    return Judge(
        files=_save(keras, network, folder),
        layers={tap: _layers_up_to(keras, network, tap) for tap in taps},
        kinds={layer.name: type(layer).__name__ for layer in network.layers},
        behind_conv=frozenset(layer.name for layer in network.layers if _source(layer) in convolutions),
        features=_features(keras, network, taps, prepared),
        prepared=prepared,
    )


def _seed(keras: Any, network: Any, prepared: Floats) -> None:
    """Sets random weights under which values neither vanish nor explode.

    Kernels are scaled as in He et al. (2015). Batch norms get the statistics of the images, in one training
    pass with a momentum of zero, and are then perturbed.
    """
    random = np.random.default_rng(2016)
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in network.layers:
        if layer in norms:
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([_about(random, gamma, 1.0), _about(random, beta, 0.0), mean, variance])
            layer.momentum = 0.0
        elif layer.weights:
            layer.set_weights([_random_weight(random, weight.shape) for weight in layer.weights])
    if norms:
        network(prepared, training=True)
    for layer in norms:
        layer.set_weights(_perturb(random, layer.epsilon, *layer.get_weights()))


def _perturb(
    random: np.random.Generator, epsilon: float, gamma: Floats, beta: Floats, mean: Floats, variance: Floats
) -> list[Floats]:
    """Returns the weights of a batch norm with other statistics than those of the images.

    A tenth of the channels get a variance as small as epsilon, as in trained networks, and a gamma that
    compensates for it: there a wrong epsilon is visible.
    """
    moved = variance * random.uniform(0.7, 1.4, variance.shape)
    small = np.where(random.random(variance.shape) < 0.1, epsilon, moved)
    scaled = gamma * np.sqrt((small + epsilon) / (moved + epsilon))
    return [scaled, beta, mean + _about(random, mean, 0.0) * np.sqrt(variance), small]


def _random_weight(random: np.random.Generator, shape: Sequence[int]) -> Floats:
    values = random.standard_normal(shape, dtype=np.float32)
    values *= np.float32(0.1 if len(shape) == 1 else (2 / np.prod(shape[:-1])) ** 0.5)
    return values


def _about(random: np.random.Generator, like: Floats, centre: float) -> Floats:
    return random.normal(centre, 0.25, like.shape)


def _save(keras: Any, network: Any, folder: Path) -> dict[str, Path]:
    files = {".h5": folder / "seeded.h5", ".weights.h5": folder / "seeded.weights.h5"}
    last = network.layers[-1] if len(network.output.shape) == 4 else network.get_layer("block5_pool")
    keras.Model(network.input, last.output).save(files[".h5"])
    network.save_weights(files[".weights.h5"])
    return files


def _layers_up_to(keras: Any, network: Any, tap: str) -> list[str]:
    return [layer.name for layer in keras.Model(network.input, network.get_layer(tap).output).layers]


def _source(layer: Any) -> str | None:
    """Returns the name of the layer's only input layer; None if it has several."""
    tensor = layer.input
    return None if isinstance(tensor, list) else tensor._keras_history.operation.name  # noqa: SLF001


def _features(
    keras: Any, network: Any, taps: Sequence[str], prepared: Floats
) -> dict[tuple[str, int], Floats]:
    part = keras.Model(network.input, [network.get_layer(tap).output for tap in taps])
    features: dict[tuple[str, int], Floats] = {}
    for size in BATCH_SIZES:
        outputs = part(prepared[:size], training=False)
        features |= {
            (tap, size): keras.ops.convert_to_numpy(output) for tap, output in zip(taps, outputs, strict=True)
        }
    return features


def _drawn_images() -> Images:
    """Returns waves of several lengths and colours, with noise on them."""
    random, images = np.random.default_rng(5), []
    y, x = np.mgrid[0:224, 0:224][..., np.newaxis] / 224
    for _ in range(max(BATCH_SIZES)):
        along, across, phase = (random.uniform(1, 20, 3) for _ in range(3))
        waves = 128 + 100 * np.sin(along * x + across * y + phase) + random.normal(0, 10, (224, 224, 3))
        images.append(waves.clip(0, 255).astype(np.uint8))
    return np.stack(images)
