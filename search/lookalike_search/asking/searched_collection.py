"""An open collection and the model that computed its vectors, which is loaded when it is first used."""

import time
from collections.abc import Sequence
from threading import Lock

import numpy as np
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.images.region import Part
from lookalike_core.logs import get_logger
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.embedder import SMALL_JOB, Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import usable_rows
from lookalike_core.stores.protocol import Collection
from lookalike_exporter.model_resolver import get_model
from numpy.typing import NDArray

from lookalike_search.asking.estimates import get_usable_calibration
from lookalike_search.asking.part_features import combine_features

_logger = get_logger("search")


class SearchedCollection:
    """An open collection and the model that embeds queries for it; threads may share it.

    `load_ms` is the time that loading the model has taken so far.
    """

    def __init__(self, collection: Collection, *, settings: Settings) -> None:
        self.collection = collection
        self.load_ms = 0.0
        self._settings = settings
        self._embedder: Embedder | None = None
        self._is_for_few = False
        self._unpooled: tuple[Embedder, tuple[int, int, int]] | None = None
        self._loading = Lock()
        self._judged = self._judge_calibration()  # at once, so that a stale one is logged when it is opened

    @property
    def name(self) -> str:
        """The name of the collection."""
        return self.collection.name

    @property
    def manifest(self) -> CollectionManifest:
        """The manifest of the collection."""
        return self.collection.manifest

    @property
    def calibration(self) -> Calibration | None:
        """The collection's calibration; None without one, or with a stale one. It is checked once."""
        recorded, usable = self._judged
        if self.manifest.calibration is not recorded:
            self._judged = recorded, usable = self._judge_calibration()
        return usable

    def _judge_calibration(self) -> tuple[Calibration | None, Calibration | None]:
        return self.manifest.calibration, get_usable_calibration(self.collection)

    @property
    def provider(self) -> str | None:
        """The execution provider of the model; None until it is loaded."""
        loaded = self._embedder or (self._unpooled and self._unpooled[0])
        return loaded.provider if loaded else None

    def load(self) -> None:
        """Loads the model now, for any number of images.

        Otherwise the first images do, and a few of them may choose a provider that starts sooner.

        Raises:
            ManifestError: the collection's model is not available any more.
        """
        with self._loading:
            if self._embedder is None or self._is_for_few:
                self._embedder = self._load(None)
                self._is_for_few = False

    def with_snapshot(self, collection: Collection) -> "SearchedCollection":
        """Returns a later snapshot of the collection, with this one's models if the space is the same."""
        later = SearchedCollection(collection, settings=self._settings)
        if later.manifest.identity == self.manifest.identity:
            later._embedder, later._is_for_few = self._embedder, self._is_for_few
            later._unpooled = self._unpooled
        return later

    def stored_vector(self, id_: str) -> FloatVector | None:
        """Returns the vector of an indexed image, float32 `[D]`; None where the collection lacks it."""
        return self.collection.vectors([id_]).get(id_)

    def embed(self, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        """Returns float32 `[D]` for each of uint8 `[224, 224, 3]` RGB; None for a vector of zeros or NaN.

        The model is exported again where it is missing.

        Raises:
            ManifestError: the collection's model is not available any more.
        """
        return _keep_usable(self._embedder_for(len(pixels)).embed(pixels))

    @property
    def averages_cells(self) -> bool:
        """Whether its vectors are the means of feature maps."""
        identity = self.manifest.identity
        return identity.pooling is Pooling.AVG and identity.head is None

    def embed_parts(
        self, crops: Sequence[Pixels], wholes: Sequence[Pixels], parts: Sequence[Part]
    ) -> list[FloatVector | None]:
        """Returns float32 `[D]` for parts of images: see `combine_features`; None for zeros or NaN.

        Crops and whole images are uint8 `[224, 224, 3]` RGB. Only for a collection that `averages_cells`.
        """
        rows = [
            combine_features(crop, whole, part).sum(axis=(0, 1))
            for crop, whole, part in zip(self.features(crops), self.features(wholes), parts, strict=True)
        ]
        return _keep_usable(np.array(rows, dtype=np.float32))

    def features(self, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
        """Returns the feature maps before the pooling, float32 `[N, H, W, C]`, of uint8 `[224, 224, 3]` RGB.

        Raises:
            UsageError: the collection's layer has no pooling.
            ManifestError: the collection's model is not available any more.
        """
        from lookalike_exporter.recorded_models import get_feature_model  # few queries need one

        with self._loading:
            if self._unpooled is None:
                started = time.perf_counter()
                model = get_feature_model(self.manifest, settings=self._settings)
                embedder = Embedder.from_settings(
                    model.path, self._settings, expected=model.manifest, images=len(pixels)
                )
                embedder.log_provider(_logger)
                self._unpooled = embedder, model.shape
                self.load_ms += milliseconds_since(started)
            embedder, shape = self._unpooled
        return embedder.embed(pixels).reshape(len(pixels), *shape)

    def _embedder_for(self, images: int) -> Embedder:
        with self._loading:
            if self._embedder is None or (self._is_for_few and images > SMALL_JOB):
                self._embedder = self._load(images)
                self._is_for_few = images <= SMALL_JOB
            return self._embedder

    def _load(self, images: int | None) -> Embedder:
        started = time.perf_counter()
        model = get_model(self.manifest, settings=self._settings)
        embedder = Embedder.from_settings(model.path, self._settings, expected=model.manifest, images=images)
        embedder.log_provider(_logger)
        self.load_ms += milliseconds_since(started)
        return embedder


def _keep_usable(vectors: NDArray[np.float32]) -> list[FloatVector | None]:
    return [vector if usable else None for vector, usable in zip(vectors, usable_rows(vectors), strict=True)]


def milliseconds_since(started: float) -> float:
    """Returns the milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
