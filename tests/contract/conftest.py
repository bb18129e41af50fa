"""Manifests, points and vectors for both stores."""

from collections.abc import Callable

import made_collections
import pytest
from lookalike_core.arrays import FloatVector
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.points import ImagePoint

DIMENSION = 4


@pytest.fixture
def manifest_of() -> Callable[..., CollectionManifest]:
    """Returns a factory of manifests: `manifest_of(distance, dimension)`."""

    def make(distance: Distance = Distance.COSINE, dimension: int = DIMENSION) -> CollectionManifest:
        return made_collections.manifest_of(distance, dimension, {})

    return make


@pytest.fixture
def point_of() -> Callable[..., ImagePoint]:
    """Returns a factory of points: `point_of(path, vector, class_name=..., dataset=..., sha256=...)`."""
    return made_collections.point_of


@pytest.fixture
def random_vectors() -> Callable[[int, int], list[FloatVector]]:
    """See `made_collections.random_vectors`."""
    return made_collections.random_vectors
