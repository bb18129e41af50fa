"""Runs a small model and a small store, and compares the results with numpy's."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from lookalike_core.arrays import IMAGE_SIZE, FloatVector, Pixels
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.models.providers import open_session
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_exporter.graph import CAFFE_MEAN_BGR, build_graph
from lookalike_exporter.onnx_file import write_onnx
from lookalike_exporter.spec import ModelSpec
from numpy.typing import NDArray

from lookalike.commands.checks.findings import Finding, ok, problem, warning

LEAST_COSINE = 0.999
"""Between a provider's embedding and numpy's; in bfloat16 it is above 0.9998."""

_LAYER = "block1_conv1"
_DIMENSION, _POINTS, _NEAREST = 64, 50, 10


def check_model(settings: Settings | None = None) -> Iterator[Finding]:
    """Yields whether the provider that would be used computes VGG16's first layer as numpy does."""
    settings = settings or Settings.from_environment()
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.05, (3, 3, 3, _DIMENSION)).astype(np.float32)
    bias = random.normal(0, 0.05, _DIMENSION).astype(np.float32)
    pixels = random.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    spec = ModelSpec.of("vgg", layer=_LAYER)
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        path = Path(folder) / "model.onnx"
        graph = build_graph(
            spec.network,
            {_LAYER: {"kernel": kernel, "bias": bias}},
            normalization=spec.backbone.normalization,
            pooling=spec.pooling,
            dimension=_DIMENSION,
        )
        write_onnx(path, graph)
        opened = open_session(path, settings.provider, threads=settings.threads)
        begun = time.perf_counter()
        ((vector,),) = opened.session.run(None, {"images": pixels[np.newaxis]})
        took_ms = 1000 * (time.perf_counter() - begun)
    yield compare(vector, embed_by_numpy(pixels, kernel, bias), f"{opened.provider} ({took_ms:.0f} ms)")
    if opened.notice:
        yield warning(opened.notice)


def embed_by_numpy(
    pixels: Pixels, kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns the average of VGG16's first layer, float32 `[64]`: a convolution as a sum of products."""
    x = pixels[..., ::-1].astype(np.float32) - np.array(CAFFE_MEAN_BGR, dtype=np.float32)
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = np.broadcast_to(bias, (IMAGE_SIZE, IMAGE_SIZE, len(bias))).copy()
    for row in range(3):
        for column in range(3):
            total += padded[row : row + IMAGE_SIZE, column : column + IMAGE_SIZE] @ kernel[row, column]
    return np.asarray(np.maximum(total, 0).mean(axis=(0, 1)), dtype=np.float32)


def compare(vector: FloatVector, expected: FloatVector, what: str) -> Finding:
    """Returns whether an embedding has the direction that it should have."""
    norms = float(np.linalg.norm(vector) * np.linalg.norm(expected))
    cosine = float(vector @ expected) / norms if norms else 0.0
    if cosine >= LEAST_COSINE:
        return ok(f"{what} embeds a test image as numpy does, cosine {cosine:.5f}")
    return problem(
        f"{what} embeds a test image differently from numpy, cosine {cosine:.5f}",
        "export LOOKALIKE_PROVIDER=cpu",
    )


def check_embedded_store() -> Iterator[Finding]:
    """Yields whether a temporary embedded store returns the nearest neighbours that numpy finds."""
    vectors = np.random.default_rng(0).normal(size=(_POINTS, _DIMENSION)).astype(np.float32)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lookalike-") as folder:
        store, manifest = EmbeddedStore(Path(folder)), _manifest()
        store.create(manifest)
        with store.open(manifest.collection) as collection:
            collection.upsert(
                [ImagePoint(payload=_payload(i), vector=each) for i, each in enumerate(vectors)]
            )
        with store.open(manifest.collection) as collection:
            hits = collection.query(vectors[0], limit=_NEAREST, exact=True)
        store.close()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = [_payload(int(i)).path for i in np.argsort(-(unit @ unit[0]))[:_NEAREST]]
    took_ms = 1000 * (time.perf_counter() - begun)
    if [hit.payload.path for hit in hits] == nearest:
        yield ok(f"a temporary embedded store is written and searched as it should be ({took_ms:.0f} ms)")
    else:
        yield problem("a temporary embedded store returns other neighbours than numpy finds")


def _payload(number: int) -> Payload:
    return Payload(
        dataset="test",
        path=f"{number}.png",
        class_name=None,
        sha256="0" * 64,
        width=1,
        height=1,
        bytes=1,
        mtime_ns=0,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


def _manifest() -> CollectionManifest:
    identity = ModelIdentity(
        backbone="vgg16",
        layer=_LAYER,
        pooling=Pooling.AVG,
        preprocessing="test",
        precision_class="float32",
        weights_fingerprint="0" * 64,
        dimension=_DIMENSION,
    )
    return CollectionManifest(
        identity=identity,
        distance=Distance.COSINE,
        weights=WeightsSource(kind=WeightsKind.FILE, official=False, path="test.h5", sha256="0" * 64),
        exporter_version="test",
        graph_revision=1,
        provider="test",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={"test": "/test"},
    )
