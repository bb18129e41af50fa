"""Real weights and photos: Keras, lower precision and heads compared with the same fp32 vectors."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.embedder import BATCH_SIZE
from lookalike_core.models.model_manifest import Precision
from lookalike_exporter.export import add_activation_ranges, ensure_exported
from lookalike_exporter.heads.head_file import Head
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.verify import OVERLAP_AT_LEAST
from numpy.typing import NDArray

pytestmark = pytest.mark.filterwarnings(
    # Keras turns TensorFlow's tensors into arrays in a way that NumPy 2 no longer likes.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)

NEIGHBOURS = 10
SAME_AT_LEAST = 0.995
"""Share of all neighbours; the others are so equally near that the last digit decides."""

HEAD_COSINE_AT_LEAST = 0.99999
"""Between the graph's output and the head applied to the base's vectors in NumPy."""

FEW = 15
"""Fewest photos for comparisons of single photos; neighbours need twice as many."""

Vectors = NDArray[np.float32]


def test_neighbours_are_those_of_keras(real: Any, keras: Any) -> None:
    """They are the nearest by cosine over average-pooled vectors, for each photo among all others."""
    assert _same_neighbours(_embed_with_keras(keras, real), real.vectors) >= SAME_AT_LEAST


def test_fp16_keeps_neighbours(real: Any) -> None:
    """It keeps the share that `exporter verify` requires of the same vector space as fp32."""
    model = ensure_exported(replace(real.spec, precision=Precision.FP16), settings=real.settings)
    few = _some(real, 2 * FEW)
    assert _same_neighbours(real.vectors[few], real.embed(model, few)) >= OVERLAP_AT_LEAST[Precision.FP16]


def test_int8_keeps_neighbours(real: Any, tmp_path: Path) -> None:
    """It keeps the share that `exporter verify` requires, calibrated on every other photo."""
    few = _some(real, 2 * FEW)
    for number, photo in enumerate(real.files[few][::2]):
        shutil.copyfile(photo, tmp_path / f"{number}.jpg")
    spec = replace(real.spec, precision=Precision.INT8)
    spec = add_activation_ranges(spec, tmp_path, settings=real.settings)
    model = ensure_exported(spec, settings=real.settings)
    assert _same_neighbours(real.vectors[few], real.embed(model, few)) >= OVERLAP_AT_LEAST[Precision.INT8]


@pytest.mark.parametrize("real", ["vgg16"], indirect=True)
def test_a_head_gives_the_same_for_images_and_stored_vectors(real: Any) -> None:
    """The model of network and head agrees with the head applied to raw and to normalised vectors."""
    random = np.random.default_rng(0)
    head = Head(
        name="pets",
        base=real.model.manifest,
        weight=(np.eye(512) + 0.1 * random.normal(size=(512, 512))).astype(np.float32),
        bias=(-0.02 * random.random(512)).astype(np.float32),
        classes=["cat"],
        trained=frozenset(),
        record={},
    )
    few = _some(real, FEW)
    plain = real.vectors[few]
    found = real.embed(get_headed_model(head, settings=real.settings), few)
    for stored in (plain, plain / np.linalg.norm(plain, axis=1, keepdims=True)):
        expected = head.apply(stored)
        assert (found * expected).sum(axis=1).min() >= HEAD_COSINE_AT_LEAST
        assert _same_neighbours(expected, found) >= SAME_AT_LEAST
    assert replace(head, bias=head.bias + 1).key != head.key


def _some(real: Any, count: int) -> slice:
    """Returns a slice of so many photos or a few more, from every class."""
    return slice(None, None, max(1, len(real.files) // count))


def _embed_with_keras(keras: Any, real: Any) -> Vectors:
    applications, options = keras.applications, {"include_top": False, "input_shape": (224, 224, 3)}
    if real.spec.backbone.name == "vgg16":
        whole, prepare = applications.VGG16(weights=None, **options), applications.vgg16.preprocess_input
        whole.load_weights(real.spec.weights)
    else:
        whole = applications.ResNet101V2(weights=None, **options)
        prepare = applications.resnet_v2.preprocess_input
        whole.load_weights(real.spec.weights, by_name=True)
    features = whole.get_layer(real.spec.layer).output
    part = keras.Model(whole.input, keras.layers.GlobalAveragePooling2D()(features))
    batches = [real.pixels[start : start + BATCH_SIZE] for start in range(0, len(real.pixels), BATCH_SIZE)]
    return np.concatenate([part.predict_on_batch(prepare(batch.astype(np.float32))) for batch in batches])


def _same_neighbours(expected: Vectors, found: Vectors) -> float:
    """Returns the share of every photo's neighbours that both have."""
    pairs = zip(_neighbours(expected), _neighbours(found), strict=True)
    return sum(len({*one} & {*other}) for one, other in pairs) / (NEIGHBOURS * len(expected))


def _neighbours(vectors: Vectors) -> list[list[int]]:
    """Returns for every photo the indices of its nearest other photos."""
    directions = vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: list[list[int]] = np.argsort(-cosines, axis=1)[:, :NEIGHBOURS].tolist()
    return nearest
