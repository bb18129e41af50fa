"""An open collection of the embedded store: its shard, its lock or view, and its manifest."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lookalike_core.arrays import FloatVector
from lookalike_core.atomic import sync_folder, write_json
from lookalike_core.batched import batched
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.cache_mark import CacheValidity
from lookalike_core.stores.collection_manifest import CollectionManifest, new_revision
from lookalike_core.stores.edge_engine import EngineTuning, require_space
from lookalike_core.stores.edge_requests import filter_of, index_of, search_params, with_ids
from lookalike_core.stores.edge_shard import Shard, find_unindexed
from lookalike_core.stores.embedded_upkeep import EmbeddedUpkeep
from lookalike_core.stores.local_folder import BUILDING, MANIFEST, SHARD, UNFINISHED
from lookalike_core.stores.points import (
    EVERYTHING,
    ImagePoint,
    Payload,
    PointFilter,
    ScoredId,
    SearchHit,
    as_rows,
    as_values,
    check_queries,
    check_query,
    check_vectors,
    complete_tally,
    score_in_range,
)
from lookalike_core.stores.private_view import PrivateView

if TYPE_CHECKING:
    import qdrant_edge
    from filelock import BaseFileLock

_EVERY_VALUE = 2**31

_MOST_DROPPED = 100
"""If more points have excluded SHA-256, the engine leaves them out itself: a search would be too deep."""


class EmbeddedCollection:
    """A collection with its lock, or with a read-only private view; implements `Collection`.

    A view supports all reads, and refuses every write with a `StoreError`.
    """

    def __init__(
        self,
        folder: Path,
        manifest: CollectionManifest,
        lock: "BaseFileLock | PrivateView",
        tuning: EngineTuning,
        *,
        name: str | None = None,
    ) -> None:
        self.name = name or folder.name
        self.manifest = manifest
        self._folder = folder
        self._lock = lock
        view = lock.shard if isinstance(lock, PrivateView) else None
        self._cache = CacheValidity(folder, manifest, name=self.name, is_view=view is not None)
        self._shard = Shard(folder, view=view, tuning=tuning, on_load=self._cache.compare)
        self.upkeep = EmbeddedUpkeep(self._shard, self._cache, manifest)

    def load(self) -> None:
        """Loads the shard now; otherwise the first use loads it."""
        self._shard.load()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Syncs all writes to the disk, and renews the mark of a valid cache."""
        try:
            self._shard.close()
            self._cache.renew()  # loading alone touches some files
        finally:
            self._lock.release()

    def flush(self) -> None:
        """Closes the shard, which the next use loads again."""
        self._shard.close()

    def note_writes(self) -> None:
        """Does nothing, since only this process can write."""

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """Writes all points in one operation of the write-ahead log."""
        import qdrant_edge as edge

        vectors = check_vectors(points, dimension=self.manifest.identity.dimension)
        if points:
            spare = self._shard.tuning.spare_bytes + 2 * vectors.nbytes  # and in the log
            require_space(self._folder, spare)
            values = as_rows(vectors, self.manifest.distance)
            rows = [
                edge.Point(point.payload.id, row, point.payload.to_json())
                for point, row in zip(points, values, strict=True)
            ]
            last = Payload.from_json(points[-1].payload.to_json())  # as it will be read
            self._update(
                edge.UpdateOperation.upsert_points(rows), is_done=lambda: self._payload_of(last.id) == last
            )
            self.upkeep.upserted += len(points)

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Writes one operation per payload, by a filter: unlike an id, it may match nothing."""
        import qdrant_edge as edge

        for payload in payloads:
            operation = edge.UpdateOperation.overwrite_payload_by_filter(
                with_ids({payload.id}), payload.to_json()
            )
            self._update(operation, keeps_revision=same_classes)

    def delete(self, ids: Sequence[str]) -> None:
        """Removes all points in one operation."""
        import qdrant_edge as edge

        if ids:
            left = edge.CountRequest(exact=True, filter=with_ids(set(ids)))
            self._update(
                edge.UpdateOperation.delete_points(list(ids)),
                is_done=lambda: not self._shard.ask(lambda shard: shard.count(left)),
            )

    def complete_indexes(self) -> None:
        """Creates missing indexes; the points, their revision and the calibration stay."""
        for field in self._shard.ask(find_unindexed):
            self._update(index_of(field), keeps_revision=True)

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Yields payloads page by page, so that a large collection is never in memory as a whole."""
        for records in self._shard.pages(where):
            yield from map(self._payload, records)

    def scan_points(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields points page by page, as `scan` does; one that has lost its payload has an empty one."""
        for records in self._shard.pages():
            yield from ((str(record.id), record.payload or {}) for record in records)

    def scan_ids(
        self, where: PointFilter = EVERYTHING, *, start: str | None = None, stop: str | None = None
    ) -> Iterator[str]:
        """Yields ids page by page, as `scan` does."""
        for records in self._shard.pages(where, start=start, payloads=False):
            for record in records:
                if stop is not None and str(record.id) >= stop:
                    return
                yield str(record.id)

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns vectors, reading all of them at once."""
        return self._shard.vectors(ids)

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Returns payloads, reading all of them at once."""
        records = self._shard.retrieve(ids, vectors=False)
        return {str(record.id): self._payload(record) for record in records}

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Returns the exact count."""
        return self._shard.count(where)

    def count_without(self, field: str, where: PointFilter = EVERYTHING) -> int:
        """Returns the exact count."""
        return self._shard.count(where, lacking=field)

    def tally(self, field: str) -> dict[str, int]:
        """Counts by exact facets, corrected by `complete_tally`."""
        import qdrant_edge as edge

        request = edge.FacetRequest(field, limit=_EVERY_VALUE, exact=True)
        hits = self._shard.ask(lambda shard: shard.facet(request)).hits
        return complete_tally({str(hit.value): hit.count for hit in hits}, field=field, points=self.count())

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """Returns hits in the engine's own order: best first for both distances."""
        check_query(vector, dimension=self.manifest.identity.dimension)
        searched, dropped = self._drop_excluded(where)
        wanted = limit + len(dropped)
        [points] = self._search([vector], limit=wanted, where=searched, exact=exact, with_payload=True)
        hits = [point for point in points if str(point.id) not in dropped][:limit]
        return [SearchHit(score=self._score(point), payload=self._payload(point)) for point in hits]

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """Returns hits in batches short enough for Ctrl-C: the engine blocks all threads during a call."""
        check_queries(vectors, dimension=self.manifest.identity.dimension)
        searched, dropped = self._drop_excluded(where)
        found: list[list[ScoredId]] = []
        for points in self._search(vectors, limit=limit + len(dropped), where=searched, exact=exact):
            hits = [ScoredId(id=str(p.id), score=self._score(p)) for p in points]
            found.append([hit for hit in hits if hit.id not in dropped][:limit])
        return found

    def _search(
        self,
        vectors: Iterable[FloatVector],
        *,
        limit: int,
        where: PointFilter,
        exact: bool,
        with_payload: bool = False,
    ) -> "Iterator[list[qdrant_edge.ScoredPoint]]":
        """Yields the hits of each vector, best first.

        A search in the graph may begin at a point from which no link leads to others that match: one that
        finds fewer than it should is repeated exactly.
        """
        request = partial(self._request, limit=limit, where=where, with_payload=with_payload)
        count_matching = cache(partial(self._shard.count, where))
        for some in batched(vectors, self._shard.tuning.queries_at_once):
            found = self._shard.search([request(vector, exact=exact) for vector in some])
            for vector, points in zip(some, found, strict=True):
                is_short = len(points) < limit and not exact and where != EVERYTHING
                if is_short and len(points) < count_matching():
                    yield from self._shard.search([request(vector, exact=True)])
                else:
                    yield points

    def _drop_excluded(self, where: PointFilter) -> tuple[PointFilter, frozenset[str]]:
        """Returns a filter without the excluded SHA-256, and the ids of the hits to drop in their place.

        The engine would compare the SHA-256 of every candidate, which takes as long as the search itself.
        """
        if not where.excluded_sha256:
            return where, frozenset()
        same = PointFilter(only_sha256=where.excluded_sha256)
        ids = frozenset(islice(self.scan_ids(same), _MOST_DROPPED + 1))
        if len(ids) > _MOST_DROPPED:
            return where, frozenset()
        return replace(where, excluded_sha256=frozenset()), ids

    def _request(
        self, vector: FloatVector, *, limit: int, where: PointFilter, exact: bool, with_payload: bool
    ) -> "qdrant_edge.QueryRequest":
        import qdrant_edge as edge

        return edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(as_values(vector, self.manifest.distance)),
            filter=filter_of(where),
            with_payload=with_payload,
            params=search_params(self.manifest.vector_quantization, exact=exact),
        )

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Rewrites the manifest beside the shard."""
        self._write_manifest(self.manifest.with_dataset(name, root, rules))

    def forget_dataset(self, name: str) -> None:
        """Rewrites the manifest beside the shard."""
        self._write_manifest(self.manifest.without_dataset(name))

    def mark_revision(self) -> str:
        """Rewrites the manifest beside the shard, unless the points have a revision already."""
        revision = self.manifest.revision or new_revision()
        if revision != self.manifest.revision:
            self._write_manifest(self.manifest.with_revision(revision))
        return revision

    def record_calibration(self, calibration: Calibration) -> None:
        """Rewrites the manifest beside the shard."""
        self.manifest.require_revision(calibration.revision, name=self.name)
        self._write_manifest(self.manifest.with_calibration(calibration))

    def complete_copy(self, manifest: CollectionManifest) -> None:
        """Syncs the points, then writes the manifest in one step, which makes the collection whole."""
        self.flush()
        self._write_manifest(manifest.named(self.name))
        (self._folder / UNFINISHED).unlink(missing_ok=True)
        sync_folder(self._folder)

    @contextmanager
    def closed_files(self) -> Iterator[list[tuple[str, Path]]]:
        """Closes the shard, and yields the collection's files, which nobody changes during the block.

        Each is given with its path in the collection's folder. Caches and interrupted index builds are left
        out. Files of a view are those of the collection itself.

        Raises:
            StoreLockedError: a process on another machine changed them (of a view).
        """
        self.flush()
        yield list(_list_files(self._folder))
        if isinstance(self._lock, PrivateView):
            self._lock.require_unchanged()

    def indexed_count(self) -> int:
        """Returns the engine's count; segments that are too small for an index have none."""
        return self._shard.ask(lambda shard: shard.info().indexed_vectors_count)

    def lacks_index(self) -> bool:
        """Returns whether an ingest would build an index."""
        return self.upkeep.needs_index()

    def _score(self, point: "qdrant_edge.ScoredPoint") -> float:
        return score_in_range(point.score, self.manifest.distance)

    def _payload(self, point: "qdrant_edge.Record | qdrant_edge.ScoredPoint") -> Payload:
        try:
            return Payload.from_json(point.payload or {})
        except KeyError as error:
            raise StoreError(
                f"point {point.id} of {self.name} has lost its payload: files in {self._folder} are damaged",
                path=self._folder,
                hint=Hint(Action.INGEST_AGAIN),
            ) from error

    def _payload_of(self, point_id: str) -> Payload | None:
        """Returns a point's payload; None if it is missing or malformed."""
        for record in self._shard.retrieve([point_id], vectors=False):
            with suppress(KeyError):
                return Payload.from_json(record.payload or {})
        return None

    def _write_manifest(self, manifest: CollectionManifest) -> None:
        self._shard.require_writable()
        write_json(self._folder / MANIFEST, manifest.to_json())
        self.manifest = manifest

    def _update(
        self,
        operation: "qdrant_edge.UpdateOperation",
        *,
        keeps_revision: bool = False,
        is_done: Callable[[], bool] = lambda: True,
    ) -> None:
        """Writes, after deleting the cache's mark and, unless `keeps_revision`, the revision on the disk."""
        self._shard.require_writable()
        require_space(self._folder, self._shard.tuning.spare_to_open_bytes)
        self._cache.invalidate()
        if not keeps_revision and not self.manifest.is_unmarked:
            self._write_manifest(self.manifest.with_revision(None))
        self._shard.update(operation, is_done=is_done)


def _list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    yield MANIFEST, folder / MANIFEST
    for path in sorted((folder / SHARD).rglob("*")):
        inside = path.relative_to(folder)
        if BUILDING not in inside.parts and path.is_file():
            yield inside.as_posix(), path
