"""What an ingest looks after in an embedded collection: its cache of payloads, damaged points, the index."""

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
from lookalike_core.stores.points import Payload, usable_rows

if TYPE_CHECKING:
    import qdrant_edge

_NEAR_ZERO = 1e-5
"""How far a score may be from that of a vector of zeros for the vector to be read; embeddings are farther."""

_BUILDING = "temp_segments"
"""Where the engine builds an index, inside the shard; it never clears what an interrupted build left."""


class EmbeddedUpkeep:
    """Implements `Upkeep`. `manifest` is that of the collection when it was opened."""

    def __init__(self, shard: Shard, cache: CacheValidity, manifest: CollectionManifest) -> None:
        self._shard, self._cache = shard, cache
        self._distance, self._quantization = manifest.distance, manifest.vector_quantization
        self._dimension = manifest.identity.dimension
        self.upserted = 0
        """Points since the index was built: the engine counts those that were replaced as indexed."""

    @property
    def cache_file(self) -> Path:
        """An SQLite database beside the shard."""
        return self._cache.file

    @property
    def is_cache_valid(self) -> bool:
        """Whether the mark beside the cache is that of the files."""
        return self._cache.is_valid

    def invalidate_cache(self) -> None:
        """Removes the mark, for good even if the power fails now; the cache itself may be open."""
        self._cache.invalidate()

    def validate_cache(self) -> None:
        """Writes the mark, once the points and the cache are on the disk."""
        self._shard.require_writable()
        is_counted = self._shard.points is not None and not self._shard.is_loaded
        points = self._shard.points if is_counted else self._shard.count()
        self._shard.close()
        self._cache.validate(points or 0)

    def find_damaged(self) -> list[str]:
        """Reads every point, where the mark is not that of the files; one whose vector is zeros has none."""
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
        """Closes the shard and has a child process build the index; the lock stays here meanwhile.

        Ctrl-C, or anything that `on_wait` raises, ends the child; the shard stays whole and searchable.
        """
        self._shard.require_writable()
        self._shard.points = self._shard.count()
        self._shard.close()
        self._shard.is_synced = False
        shutil.rmtree(self._shard.path / _BUILDING, ignore_errors=True)
        build_index(self._shard.path, on_wait)
        self.upserted = 0

    def _near_zero(self, ids: Sequence[str]) -> list[str]:
        """Returns those whose vectors may be zeros, by a search, which takes a hundredth of reading them."""
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
        """Returns those whose vectors cannot be read or searched by; asked by halves where some fail."""
        with suppress(StoreError):
            found = self._shard.vectors(ids)
            return [point for point in ids if not usable_rows(found[point][np.newaxis]).all()]
        half = len(ids) // 2
        return self._without_vector(ids[:half]) + self._without_vector(ids[half:]) if half else list(ids)


def _has_own_payload(record: "qdrant_edge.Record") -> bool:
    """Returns False where files of different times give a point another's payload, or none."""
    with suppress(KeyError):
        return Payload.from_json(record.payload or {}).id == str(record.id)
    return False
