"""An open collection and the model that its vectors were made by, which is loaded when it is first needed."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.cli.console import Reporter
from lookalike_core.models.embedder import FEW, Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import usable_rows
from lookalike_core.stores.protocol import Collection, Store
from lookalike_exporter.collection_models import get_collection_model

from lookalike_search.asking.estimates import usable_calibration


class Network:
    """One side of a search. `load_ms` is what opening and loading took and nobody was told of yet.

    `calibration` is the collection's, where it has one that is not stale.
    """

    def __init__(self, collection: Collection, *, settings: Settings, reporter: Reporter) -> None:
        self.collection = collection
        self.calibration = usable_calibration(collection, reporter.say)
        self.load_ms = 0.0
        self._settings = settings
        self._reporter = reporter
        self._embedder: Embedder | None = None
        self._is_for_few = False

    @classmethod
    @contextmanager
    def opened(cls, name: str, *, store: Store, settings: Settings, reporter: Reporter) -> Iterator[Self]:
        """Opens the collection; its model is left alone until a picture has to be embedded.

        Raises:
            CollectionMissingError: there is no such collection.
        """
        started = time.perf_counter()
        with store.open(name) as collection:
            network = cls(collection, settings=settings, reporter=reporter)
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
    def provider(self) -> str | None:
        """What the model runs on; None until it is loaded."""
        return self._embedder.provider if self._embedder else None

    def stored(self, id_: str) -> FloatVector | None:
        """The vector of an indexed picture, float32 `[D]`; None where it is not in this collection."""
        return self.collection.vectors([id_]).get(id_)

    def embedded(self, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        """float32 `[D]` for each of uint8 `[224, 224, 3]` RGB, None where the network sees nothing.

        The model is exported again where it is missing.

        Raises:
            ManifestError: the collection's model cannot be had any more.
        """
        if self._embedder is None or (self._is_for_few and len(pixels) > FEW):
            self._embedder = self._loaded(len(pixels))
            self._is_for_few = len(pixels) <= FEW
        vectors = self._embedder.embed(pixels)
        return [
            vector if usable else None for vector, usable in zip(vectors, usable_rows(vectors), strict=True)
        ]

    def _loaded(self, pictures: int) -> Embedder:
        started = time.perf_counter()
        model = get_collection_model(self.manifest, settings=self._settings, reporter=self._reporter)
        embedder = Embedder.as_set(model.path, self._settings, expected=model.manifest, pictures=pictures)
        if embedder.notice:
            self._reporter.say(embedder.notice)
        self._reporter.say(f"{self.manifest.identity.backbone} runs on {embedder.provider}")
        self.load_ms += milliseconds_since(started)
        return embedder


def milliseconds_since(started: float) -> float:
    """Since a moment of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
