"""An open collection and the model that computed its vectors, which is loaded when it is first used."""

import time
from collections.abc import Sequence
from threading import Lock

from lookalike_core.arrays import FloatVector, Pixels
from lookalike_core.logs import get_logger
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.embedder import SMALL_JOB, Embedder
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import usable_rows
from lookalike_core.stores.protocol import Collection
from lookalike_exporter.model_resolver import get_model

from lookalike_search.asking.estimates import get_usable_calibration

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
        return self._embedder.provider if self._embedder else None

    def stored_vector(self, id_: str) -> FloatVector | None:
        """Returns the vector of an indexed image, float32 `[D]`; None where the collection lacks it."""
        return self.collection.vectors([id_]).get(id_)

    def embed(self, pixels: Sequence[Pixels]) -> list[FloatVector | None]:
        """Returns float32 `[D]` for each of uint8 `[224, 224, 3]` RGB; None for a vector of zeros or NaN.

        The model is exported again where it is missing.

        Raises:
            ManifestError: the collection's model is not available any more.
        """
        vectors = self._embedder_for(len(pixels)).embed(pixels)
        return [
            vector if usable else None for vector, usable in zip(vectors, usable_rows(vectors), strict=True)
        ]

    def _embedder_for(self, images: int) -> Embedder:
        with self._loading:
            if self._embedder is None or (self._is_for_few and images > SMALL_JOB):
                self._embedder = self._load(images)
                self._is_for_few = images <= SMALL_JOB
            return self._embedder

    def _load(self, images: int) -> Embedder:
        started = time.perf_counter()
        model = get_model(self.manifest, settings=self._settings)
        embedder = Embedder.from_settings(model.path, self._settings, expected=model.manifest, images=images)
        embedder.log_provider(_logger)
        self.load_ms += milliseconds_since(started)
        return embedder


def milliseconds_since(started: float) -> float:
    """Returns the milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - started) * 1000
