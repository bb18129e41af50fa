"""An open collection and the model that its vectors were made by, which is loaded when it is first needed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Self

from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.logs import logger_of
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.embedder import FEW, Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import usable_rows
from lookalike_core.stores.protocol import Collection, Store
from lookalike_exporter.model_resolver import get_model

from lookalike_search.asking.estimates import usable_calibration

_logger = logger_of("search")


class Network:
    """One side of a search, for any number of threads.

    `load_ms` is what opening and loading took and nobody was told of yet.
    """

    def __init__(self, collection: Collection, *, settings: Settings) -> None:
        self.collection = collection
        self.load_ms = 0.0
        self._settings = settings
        self._embedder: Embedder | None = None
        self._is_for_few = False
        self._loading = Lock()
        self._judged: tuple[Calibration | None, Calibration | None] = (None, None)
        self.calibration  # noqa: B018 - a stale one is said at once

    @classmethod
    @contextmanager
    def opened(cls, name: str, *, store: Store, settings: Settings) -> Iterator[Self]:
        """Opens the collection; its model is left alone until an image has to be embedded.

        Raises:
            CollectionMissingError: there is no such collection.
        """
        started = time.perf_counter()
        with store.open(name) as collection:
            network = cls(collection, settings=settings)
            network.load_ms = milliseconds_since(started)
            yield network

    @property
    def name(self) -> str:
        """Of the collection."""
        return self.collection.name

    @property
    def manifest(self) -> CollectionManifest:
        """Of the collection."""
        return self.collection.manifest

    @property
    def calibration(self) -> Calibration | None:
        """The collection's, where it has one that is not stale: judged once, for writing drops it."""
        known, usable = self._judged
        if (recorded := self.manifest.calibration) is not known:
            usable = usable_calibration(self.collection)
            self._judged = recorded, usable
        return usable

    @property
    def provider(self) -> str | None:
        """What the model runs on; None until it is loaded."""
        return self._embedder.provider if self._embedder else None

    def stored(self, id_: str) -> FloatVector | None:
        """The vector of an indexed image, float32 `[D]`; None where it is not in this collection."""
        return self.collection.vectors([id_]).get(id_)

    def embedded(self, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        """float32 `[D]` for each of uint8 `[224, 224, 3]` RGB, None where the network sees nothing.

        The model is exported again where it is missing.

        Raises:
            ManifestError: the collection's model cannot be had any more.
        """
        vectors = self._embedder_for(len(pixels)).embed(pixels)
        return [
            vector if usable else None for vector, usable in zip(vectors, usable_rows(vectors), strict=True)
        ]

    def _embedder_for(self, images: int) -> Embedder:
        with self._loading:
            if self._embedder is None or (self._is_for_few and images > FEW):
                self._embedder = self._loaded(images)
                self._is_for_few = images <= FEW
            return self._embedder

    def _loaded(self, images: int) -> Embedder:
        started = time.perf_counter()
        model = get_model(self.manifest, settings=self._settings)
        embedder = Embedder.as_set(model.path, self._settings, expected=model.manifest, images=images)
        if embedder.notice:
            _logger.warning("%s", embedder.notice)
        _logger.info("%s runs on %s", self.manifest.identity.backbone, embedder.provider)
        self.load_ms += milliseconds_since(started)
        return embedder


def milliseconds_since(started: float) -> float:
    """Since a moment of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
