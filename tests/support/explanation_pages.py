"""Makes the page of an explanation of two images by two networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from lookalike_core.images.thumbnails import encode
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_search.analysis.attribution import explain
from lookalike_search.analysis.explanation import ComparedVector, Explained, SeenImage
from lookalike_search.reports.explanation import explanations_page

HOSTILE = '<script>alert("1")</script>\u202e.jpg'


def noise_image(name: str, width: int, height: int) -> SeenImage:
    """Returns a noise image of that size."""
    random = np.random.default_rng(width)
    shown = encode(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    return SeenImage(name=name, pixels=np.zeros((224, 224, 3), np.uint8), shown=shown)


def explain_noise(
    backbone: str, layer: str, distance: Distance = Distance.COSINE, low: float = 0.0
) -> Explained:
    """Returns the explanation of random features of seven by seven cells."""
    random = np.random.default_rng(0)
    manifest = CollectionManifest(
        identity=ModelIdentity(
            backbone=backbone,
            layer=layer,
            pooling=Pooling.AVG,
            preprocessing="p",
            precision_class="float32",
            weights_fingerprint="0" * 64,
            dimension=8,
        ),
        distance=distance,
        weights=WeightsSource(kind=WeightsKind.IMAGENET, official=True),
        exporter_version="0",
        graph_revision=1,
        provider="CPUExecutionProvider",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={},
    )
    maps = [random.uniform(low, 1, (7, 7, 8)).astype(np.float32) for _ in range(2)]
    maps[1][3, 5] *= 4
    compared = ComparedVector(vector=np.ones(8, np.float32), is_stored=True, agreement=0.9999123)
    return Explained(
        collection=manifest.collection,
        manifest=manifest,
        provider="cpu",
        explanation=explain(*maps),
        query=replace(compared, is_stored=False, agreement=1.0),
        neighbour=compared,
    )


IMAGES = (noise_image("cat.jpg", 120, 80), noise_image(HOSTILE, 60, 90))


def make_page(folder: Path) -> Path:
    """Writes the page of two networks; one compares by distance, and one image's name needs escaping."""
    path = folder / "explained.html"
    sections = [
        explain_noise("resnet101v2", "post_relu"),
        explain_noise("vgg16", "block5_pool", Distance.EUCLID),
    ]
    explanations_page(IMAGES, sections).write(path)
    return path
