"""The one model of a real network and a head, against the head put on the network's vectors."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter import Head, ModelSpec, ready_model
from lookalike.console import Quiet
from lookalike.embedder import Embedder
from lookalike.pictures.decoding import decode
from lookalike.settings import Settings

PARITY = 0.99999
"""Least cosine between what the graph gives and what numpy makes of the base's vectors."""

OVERLAP = 0.99
"""Least share of the ten nearest that both find."""

PER_CLASS = 4


def test_pictures_and_stored_vectors_give_the_same(shared: Path, home: Settings) -> None:
    """With VGG16's real weights, raw and normalised vectors, on photos of every class."""
    weights = shared / "weights" / "vgg16_imagenet_notop.h5"
    folders = sorted(path for path in (shared / "photos").glob("*") if path.is_dir())
    if not weights.is_file() or not folders:
        pytest.skip("the shared weights and photos are not here")
    files = [file for folder in folders for file in sorted(folder.glob("*.jpg"))[:PER_CLASS]]
    pixels = np.stack([decode(io.BytesIO(file.read_bytes()), file.name).pixels for file in files])
    base = ready_model(ModelSpec.of("vgg", weights=str(weights)), settings=home, reporter=Quiet())
    random = np.random.default_rng(0)
    head = Head(
        name="pets",
        base=base.manifest,
        weight=(np.eye(512) + 0.1 * random.normal(size=(512, 512))).astype(np.float32),
        bias=(-0.02 * random.random(512)).astype(np.float32),
        classes=["cat"],
        trained=frozenset(),
        record={},
    )
    plain = Embedder.load(base.path, provider="cpu").embed(pixels)
    model = ready_model(head, settings=home, reporter=Quiet())
    found = Embedder.load(model.path, provider="cpu").embed(pixels)
    for stored in (plain, plain / np.linalg.norm(plain, axis=1, keepdims=True)):
        expected = head.apply(stored)
        assert (found * expected).sum(axis=1).min() >= PARITY
        ours, theirs = (_ten_nearest(vectors) for vectors in (found, expected))
        shares = [len({*one} & {*other}) / 10 for one, other in zip(ours, theirs, strict=True)]
        assert np.mean(shares) >= OVERLAP
    assert replace(head, bias=head.bias + 1).key != head.key


def _ten_nearest(vectors: np.ndarray) -> list[list[int]]:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    found: list[list[int]] = np.argsort(-similarity, axis=1)[:, :10].tolist()
    return found
