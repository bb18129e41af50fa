"""What an ingest maintains in an embedded collection: the payload cache, damaged points, the index."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lookalike_core.errors import StoreError
from lookalike_core.stores.cache_mark import CacheValidity
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.edge_engine import build_index
from lookalike_core.stores.edge_requests import search_params, with_ids
from lookalike_core.stores.edge_shard import Shard
from lookalike_core.stores.local_folder import BUILDING
from lookalike_core.stores.points import Payload, usable_rows

if TYPE_CHECKING:
    import qdrant_edge

_NEAR_ZERO = 1e-5
"""Scores closer than this to a zero vector's have their vector read; those of embeddings are farther."""


class EmbeddedUpkeep:
    """The upkeep of an embedded collection; implements `Upkeep`.

    `manifest` is that of the collection when it was opened.
    """

    def __init__(self, shard: Shard, cache: CacheValidity, manifest: CollectionManifest) -> None:
        self._shard, self._cache = shard, cache
        self._distance, self._quantization = manifest.distance, manifest.vector_quantization
        self._dimension = manifest.identity.dimension
        self.upserted = 0
        """Points written since the index was built: the engine counts replaced ones as indexed."""

    @property
    def cache_file(self) -> Path:
        """An SQLite database beside the shard."""
        return self._cache.file

    @property
    def is_cache_valid(self) -> bool:
        """Whether the mark beside the cache is of the present files."""
        return self._cache.is_valid

    @property
    def points_before(self) -> int | None:
        """The number in the mark beside the cache."""
        return self._cache.points

    def invalidate_cache(self) -> None:
        """Removes the mark, and syncs that to the disk; the cache itself may be open."""
        self._cache.invalidate()

    def validate_cache(self) -> None:
        """Writes the mark, after the points and the cache were synced to the disk."""
        self._shard.require_writable()
        is_counted = self._shard.points is not None and not self._shard.is_loaded
        points = self._shard.points if is_counted else self._shard.count()
        self._shard.close()
        self._cache.validate(points or 0)

    def find_damaged(self) -> list[str]:
        """Reads every point if the mark is not of the present files; a zero vector counts as lost."""
        if not self._cache.is_outdated:
            return []
        lost: set[str] = set()
        for records in self._shard.pages():
            lost |= {str(record.id) for record in records if not _has_own_payload(record)}
            lost |= set(self._without_vector(self._near_zero([str(record.id) for record in records])))
        return sorted(lost)

    def needs_index(self) -> bool:
        """Returns False for a small collection, which is searched exactly."""
        info = self._shard.ask(lambda shard: shard.info())
        count = info.points_count
        unindexed = max(count - info.indexed_vectors_count, min(self.upserted, count))
        return unindexed * self._dimension * 4 / 1024 > self._shard.tuning.indexed_above_kb

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Closes the shard and builds the index in a child process, while this process keeps the lock.

        Ctrl-C, or an exception in `on_wait`, ends the child; the shard stays intact and searchable.
        """
        self._shard.require_writable()
        self._shard.points = self._shard.count()
        self._shard.close()
        self._shard.is_synced = False
        shutil.rmtree(self._shard.path / BUILDING, ignore_errors=True)
        build_index(self._shard.path, on_wait)
        self.upserted = 0

    def _near_zero(self, ids: Sequence[str]) -> list[str]:
        """Returns points whose vectors may be zero, by a search, which takes a hundredth of reading all."""
        import qdrant_edge as edge

        request = edge.QueryRequest(
            limit=max(1, len(ids)),
            query=edge.Query.Nearest([self._dimension**-0.5] * self._dimension),
            filter=with_ids(set(ids)),
            params=search_params(self._quantization, exact=True),
        )
        of_zeros = 0 if self._distance is Distance.COSINE else 1
        with suppress(StoreError):
            found = self._shard.ask(lambda shard: shard.query(request))
            far = {str(point.id) for point in found if abs(point.score - of_zeros) > _NEAR_ZERO}
            return [point for point in ids if point not in far]
        return list(ids)

    def _without_vector(self, ids: Sequence[str]) -> list[str]:
        """Returns points whose vectors cannot be read or searched with; halves the request if some fail."""
        with suppress(StoreError):
            found = self._shard.vectors(ids)
            return [point for point in ids if not usable_rows(found[point][np.newaxis]).all()]
        half = len(ids) // 2
        return self._without_vector(ids[:half]) + self._without_vector(ids[half:]) if half else list(ids)


def _has_own_payload(record: "qdrant_edge.Record") -> bool:
    """Returns False if a point has another's payload, or none, because files are of different times."""
    with suppress(KeyError):
        return Payload.from_json(record.payload or {}).id == str(record.id)
    return False
