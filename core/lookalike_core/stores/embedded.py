"""The embedded store: Qdrant's own engine in this process, one folder a collection, nothing to start.

`local_folder` draws where the files lie. Where nothing may be written, a collection is opened for reading;
see `private_view`.

Source of the engine's behaviour: https://qdrant.tech/documentation/edge/ and its type stubs.
"""

import errno
import glob
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lookalike_core import locks
from lookalike_core.arrays import FloatVector
from lookalike_core.atomic import (
    forbids_writing,
    is_full,
    parse_json,
    remove,
    sweep_partials,
    sync_folder,
    sync_tree,
    write_json,
)
from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    StoreError,
    StoreLockedError,
)
from lookalike_core.hints import Action, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.logs import logger_of
from lookalike_core.memory import (
    address_space_limits,
    is_out_of_memory,
    memory_error,
    require_address_space,
    share_arenas,
)
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.stores.cache_mark import Mark, fingerprint
from lookalike_core.stores.collection_manifest import (
    CollectionManifest,
    Distance,
    VectorQuantization,
    new_revision,
)
from lookalike_core.stores.collection_names import (
    STAGED_SUFFIX,
    is_collection_name,
    require_own_name,
    staged_name,
)
from lookalike_core.stores.local_folder import LOG, MANIFEST, SHARD, WHOLE, LocalFolder, only_readable
from lookalike_core.stores.points import (
    EVERYTHING,
    KEYWORD_FIELDS,
    OVERSAMPLING,
    SEARCH_EF,
    ImagePoint,
    Payload,
    PointFilter,
    ScoredId,
    SearchHit,
    as_rows,
    as_values,
    check_queries,
    check_query,
    checked_vectors,
    score_in_range,
    tallied,
    usable_rows,
)
from lookalike_core.stores.private_view import PrivateView
from lookalike_core.text import unicode_forms

if TYPE_CHECKING:
    import qdrant_edge
    from filelock import BaseFileLock

_logger = logger_of("stores")

LOCK_TIMEOUT_S = 10.0

ADDRESS_BYTES = 32 * 2**20
ADDRESS_TO_OPEN_BYTES = 192 * 2**20
ADDRESS_BYTES_A_CORE = 16 * 2**20
"""Address space that the engine must find, in any call and, besides its mapped files, to open a shard, with
threads of its own for each core. Where it finds none, its process stands still for ever, with the lock."""

_LOOKS = 5
_WAIT_S = 0.2
_NEAR_ZERO = 1e-5
"""Of a score from that of a vector of zeros; embeddings are far from it, and those that are not are read."""

_EVERY_VALUE = 2**31
_NOBODY = "00000000-0000-0000-0000-000000000000"
"""No point has this id; an operation on it does nothing."""

_MOST_OPERATIONS = 2_000_000
"""Of a collection of a hundred million images; more is damage."""

_THE_VECTOR = ""
"""The name of the one vector that each point has."""

_OWNER = "lookalike.json"
"""Inside the shard, which the engine leaves alone: a shard that was put beside another manifest tells so."""

_CACHE = "points.db"
_CACHE_MARK = "points.listed"
_BUILDING = "temp_segments"
"""Where the engine builds an index, inside the shard; it never clears what an interrupted build left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTuning:
    """What the engine is asked for at once, in rows, and what it is left on the disk."""

    indexed_above_kb: int = 80_000
    """Vectors of one collection in KB from which an HNSW graph is built; below, exact search is as fast."""

    spare_bytes: int = 128 * 2**20
    spare_to_open_bytes: int = 16 * 2**20
    """Kept free on the disk. The engine writes through memory maps, and a disk that is full then ends the
    whole process without a word (SIGBUS); it grows its files by 32 MB at a time, several of them at once."""

    scan_page: int = 5_000
    queries_at_once: int = 64


DEFAULT_ENGINE_TUNING = EngineTuning()


class EmbeddedStore:
    """Collections as folders below `directory`; implements `Store`."""

    def __init__(
        self,
        directory: Path,
        *,
        label: str = "embedded",
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        tuning: EngineTuning = DEFAULT_ENGINE_TUNING,
    ) -> None:
        self.directory = directory
        self.label = label
        self.local = LocalFolder(directory, is_named=label == f"embedded:{directory}")
        self._lock_timeout_s = lock_timeout_s
        self._tuning = tuning

    def names(self) -> list[str]:
        """Those that `LocalFolder` finds."""
        return self.local.names()

    def __contains__(self, name: str) -> bool:
        """Also where its manifest is lost, as in `names`."""
        is_lost = is_collection_name(name) and (self.directory / name / SHARD).is_dir()
        return is_lost or self.local.folder_of(name) is not None

    def manifest(self, name: str) -> CollectionManifest:
        """Read without the lock: the file is only ever replaced whole, and its folder may be renamed."""
        for _ in range(_LOOKS):
            with suppress(FileNotFoundError):
                return read_manifest(self._own(name))
        raise self._missing(name)

    def create(self, manifest: CollectionManifest, *, name: str | None = None) -> None:
        """Builds the folder under a temporary name and renames it into place."""
        import qdrant_edge as edge

        name = name or manifest.collection
        folder = self.directory / name
        with self._locked(name):
            if folder.exists():
                raise ManifestError(
                    f"{folder} is there already; it is left alone", collection=name, path=folder
                )
            _require_space(self.directory, self._tuning.spare_bytes)
            partial = self._hidden(name)
            try:
                _require_room_for_engine(partial, folder)
                with _translated(folder):
                    shard = edge.EdgeShard.create(str(partial / SHARD), _config(manifest, self._tuning))
                    _index_payloads(shard)
                    shard.close()
                write_json(partial / SHARD / _OWNER, {"collection": manifest.collection})
                write_json(partial / MANIFEST, manifest.named(name).with_revision(None).to_json())
                sync_tree(partial)
                partial.rename(folder)
                sync_folder(self.directory)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def open(self, name: str) -> "EmbeddedCollection":
        """Locks the collection and loads its shard; what is listed may not be asked, and loads it later.

        One that may only be read is opened by a private view of it, which refuses to be written to.
        """
        if self.local.unwritable_part(self._own(name)) is not None:
            return self._open_view(name)
        lock = self._acquire(name)
        try:
            folder = self._own(name)  # again: it may have been deleted while we waited
            manifest = read_manifest(folder)
            _require_own_shard(folder, manifest)
            sweep_partials(folder)
            collection = EmbeddedCollection(folder, manifest, lock, self._tuning)
            if not collection.is_cache_valid:
                collection.load()
        except BaseException:
            lock.release()
            raise
        return collection

    def _open_view(self, name: str) -> "EmbeddedCollection":
        """Keeps writers out while the view is made; it is this process's alone then."""
        with (
            self._naming_holder(name),
            locks.shared(self.directory, name, what=f"collection {name}", timeout_s=self._lock_timeout_s),
        ):
            folder = self._own(name)
            manifest = read_manifest(folder)
            _require_own_shard(folder, manifest)
            view = PrivateView(folder / SHARD)
            try:
                collection = EmbeddedCollection(folder, manifest, view, self._tuning, name=name)
                try:
                    collection.load()
                finally:
                    view.require_unchanged()
            except BaseException:
                view.release()
                raise
            return collection

    def delete(self, name: str) -> None:
        """Takes the folder's name away, then its files; what a kill leaves of them is swept later."""
        self._own(name)
        with self._locked(name):
            hidden = self._hidden(name)
            self._own(name).rename(hidden / name)
            sync_folder(self.directory)
            shutil.rmtree(hidden)

    def resolve(self, name: str) -> str:
        """Returns the name itself: there are no aliases here."""
        return name

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """A lock of its own, so that the collection can be searched meanwhile."""
        self._make_directory()
        what = f"the rebuild of {name}"
        return locks.held(self.directory, f"{name}.rebuilding", what=what, timeout_s=self._lock_timeout_s)

    def replace(self, name: str) -> None:
        """Two renames; a mark lets whoever comes after a kill do the second.

        Each step is on the disk before the next, so that a power cut is no worse than a kill.
        """
        staged = staged_name(name)
        self._own(staged)
        with self._locked(staged), self._locked(name):
            folder, whole = self.directory / name, self._own(staged)
            sync_tree(whole)
            (whole / WHOLE).touch()
            sync_folder(whole)
            hidden = self._hidden(name)
            if folder.exists():
                self._own(name).rename(hidden / name)
            self._finish_replacement(name)
            shutil.rmtree(hidden)

    def close(self) -> None:
        """Nothing is held between collections."""

    def _finish_replacement(self, name: str) -> None:
        """Gives a whole staged collection its name where it is free."""
        folder, staged = self.directory / name, self.directory / staged_name(name)
        if (staged / WHOLE).is_file() and not folder.exists():
            staged.rename(folder)
            sync_folder(self.directory)
        if not name.endswith(STAGED_SUFFIX):
            (folder / WHOLE).unlink(missing_ok=True)

    def _hidden(self, name: str) -> Path:
        """A new folder beside the collection that nobody takes for one."""
        return Path(tempfile.mkdtemp(dir=self.directory, prefix=f".{name}."))

    def _sweep(self, name: str) -> None:
        """Clears the hidden folders of killed processes; the lock says that no other is at work."""
        for left_over in self.directory.glob(f".{glob.escape(name)}.????????"):
            shutil.rmtree(left_over, ignore_errors=True)

    def _own(self, name: str) -> Path:
        folder = self.local.folder_of(name)
        if folder is not None:
            return folder
        if is_collection_name(name) and (self.directory / name).exists():
            raise _no_manifest(self.directory / name)
        raise self._missing(name)

    def _missing(self, name: str) -> CollectionMissingError:
        return CollectionMissingError(
            f"there is no collection {name} in {self.directory}", collection=name, path=self.directory
        )

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        lock = self._acquire(name)
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, name: str) -> "BaseFileLock":
        """The one lock of a collection; what a killed process left of it is cleared or finished."""
        self._make_directory()
        try:
            with self._naming_holder(name):
                lock = locks.acquire(
                    self.directory, name, what=f"collection {name}", timeout_s=self._lock_timeout_s
                )
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._finish_replacement(name)
            self._sweep(name)
        except BaseException:
            lock.release()
            raise
        return lock

    @contextmanager
    def _naming_holder(self, name: str) -> Iterator[None]:
        """Says of a lock that is held by another process what else could be done."""
        try:
            yield
        except StoreLockedError as error:
            if error.holder is None:
                raise
            raise StoreLockedError(
                f"{error}, or use a server: docker compose up qdrant",
                holder=error.holder,
                waited_s=error.waited_s,
                path=self.directory / name,
            ) from error

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> Exception:
        if is_full(error):
            return error
        if forbids_writing(error) and self.directory.is_dir():
            return self.local.read_only(self.directory)
        return self.local.unusable(error.strerror)


class EmbeddedCollection:
    """A loaded shard with what it is held by, its lock or a view of it; implements `Collection`.

    Of a view everything can be asked, and every write is refused with a `StoreError`.
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
        self._tuning = tuning
        self._is_view = isinstance(lock, PrivateView)
        self._shard_folder = lock.shard if isinstance(lock, PrivateView) else folder / SHARD
        self.cache_file = folder / _CACHE
        self._mark = Mark.read(folder / _CACHE_MARK)
        self.is_cache_valid = self._mark is not None and self._mark.files == self._fingerprint() != ""
        self._points: int | None = None
        """As counted last."""
        self._is_synced = True
        self._upserted = 0
        """Points since the index was looked after: the engine counts those that were replaced as indexed."""

    @property
    def upkeep(self) -> Self:
        """The collection itself."""
        return self

    def load(self) -> None:
        """Loads the shard: 10 microseconds and 700 bytes a point. Whatever needs it does so by itself.

        Raises:
            StoreError: it cannot be loaded, or holds other points than its files should.
        """
        self._shard  # noqa: B018 - it is kept from then on

    @cached_property
    def _shard(self) -> "qdrant_edge.EdgeShard":
        import qdrant_edge as edge

        _require_space(self._shard_folder, self._tuning.spare_to_open_bytes)
        _require_room_for_engine(self._shard_folder, self._folder)
        has_log = any((self._shard_folder / LOG).glob("*"))
        with _translated(self._folder):
            shard = edge.EdgeShard.load(str(self._shard_folder))
        try:
            with _translated(self._folder):
                if not has_log:
                    self._is_synced = False
                    _count_on(shard, self._shard_folder)
                _index_payloads(shard)
                self._points = shard.count(edge.CountRequest(exact=True))
                with_vector = edge.Filter(must=[edge.HasVectorCondition(_THE_VECTOR)])
                usable = shard.count(edge.CountRequest(exact=True, filter=with_vector))
            self._compare(usable)
        except BaseException:
            shard.close()
            raise
        return shard

    def _compare(self, points: int) -> None:
        """Says what the files hold more or less than what the last ingest left.

        Raises:
            StoreError: they look as that ingest left them, and it is not known for how long they do not.
        """
        if self._mark is None or self._mark.points == points:
            return
        found = f"{self.name} holds {points} points, and {self._mark.points} were there after the last ingest"
        if self.is_cache_valid:
            self.is_cache_valid = False
            self._mark = replace(self._mark, files="")
            if not self._is_view:
                self._mark.write(self._folder / _CACHE_MARK)
            raise StoreError(f"{found}: its files are damaged", path=self._folder, hint=Hint(Action.REPEAT))
        roots = ", ".join(sorted(self.manifest.datasets.values()))
        _logger.warning(
            "warning: %s: files in %s were lost, damaged or put back from a backup; their images lie in %s",
            found,
            self._folder,
            roots,
            extra={"hint": Hint(Action.INGEST_AGAIN)},
        )

    def _close_shard(self) -> None:
        if "_shard" in self.__dict__:
            with _translated(self._folder):
                self.__dict__.pop("_shard").close()
        if not self._is_synced and not self._is_view:
            sync_tree(self._folder / SHARD)
        self._is_synced = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was written is on the disk by then; a list that was true is true of the files as they are."""
        try:
            self._close_shard()
            files = self._fingerprint() if self.is_cache_valid else ""
            if files and self._mark is not None and self._mark.files != files:  # loading alone touches some
                replace(self._mark, files=files).renew(self._folder / _CACHE_MARK)
        finally:
            self._lock.release()

    def flush(self) -> None:
        """Closes the shard, which is loaded again when it is next needed."""
        self._close_shard()

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """One write-ahead-logged operation a call."""
        import qdrant_edge as edge

        vectors = checked_vectors(points, dimension=self.manifest.identity.dimension)
        if points:
            spare = self._tuning.spare_bytes + 2 * vectors.nbytes  # and in the log
            _require_space(self._folder, spare)
            values = as_rows(vectors, self.manifest.distance)
            rows = [
                edge.Point(point.payload.id, row, point.payload.to_json())
                for point, row in zip(points, values, strict=True)
            ]
            last = Payload.from_json(points[-1].payload.to_json())  # as it will be read
            self._update(
                edge.UpdateOperation.upsert_points(rows), is_done=lambda: self._payload_of(last.id) == last
            )
            self._upserted += len(points)

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """One operation a payload, by a filter, which unlike an id may match nothing."""
        import qdrant_edge as edge

        for payload in payloads:
            only = edge.Filter(must=[edge.HasIdCondition({payload.id})])
            operation = edge.UpdateOperation.overwrite_payload_by_filter(only, payload.to_json())
            self._update(operation, keeps_revision=same_classes)

    def delete(self, ids: Sequence[str]) -> None:
        """One operation for all of them."""
        import qdrant_edge as edge

        if ids:
            only = edge.Filter(must=[edge.HasIdCondition(set(ids))])
            left = edge.CountRequest(exact=True, filter=only)
            self._update(
                edge.UpdateOperation.delete_points(list(ids)), is_done=lambda: not self._shard.count(left)
            )

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Page by page, so that a large collection is never whole in memory."""
        import qdrant_edge as edge

        offset = None
        while True:
            request = edge.ScrollRequest(
                offset=offset,
                limit=self._tuning.scan_page,
                filter=_filter(where),
                with_payload=True,
                with_vector=False,
            )
            with _translated(self._folder):
                records, offset = self._shard.scroll(request)
            for record in records:
                yield self._payload(record)
            if offset is None:
                return

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """By id; the engine takes the flags by position."""
        if not ids:
            return {}
        with _translated(self._folder):
            records = self._shard.retrieve(list(ids), False, True)
            return {str(record.id): np.asarray(record.vector, dtype=np.float32) for record in records}

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """By id; the engine takes the flags by position."""
        if not ids:
            return {}
        with _translated(self._folder):
            records = self._shard.retrieve(list(ids), True, False)
        return {str(record.id): self._payload(record) for record in records}

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Exact."""
        import qdrant_edge as edge

        with _translated(self._folder):
            return self._shard.count(edge.CountRequest(exact=True, filter=_filter(where)))

    def tally(self, field: str) -> dict[str, int]:
        """Exact facets, mended by `tallied`."""
        import qdrant_edge as edge

        request = edge.FacetRequest(field, limit=_EVERY_VALUE, exact=True)
        with _translated(self._folder):
            hits = self._shard.facet(request).hits
        return tallied({str(hit.value): hit.count for hit in hits}, field=field, points=self.count())

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """The engine's own order: best first for both distances."""
        import qdrant_edge as edge

        check_query(vector, dimension=self.manifest.identity.dimension)
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(as_values(vector, self.manifest.distance)),
            filter=_filter(where),
            with_payload=True,
            params=_params(self.manifest.vector_quantization, exact=exact),
        )
        with _translated(self._folder):
            points = self._shard.query(request)
        return [SearchHit(score=self._score(point), payload=self._payload(point)) for point in points]

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """In batches short enough for Ctrl-C: the engine lets nothing else run meanwhile."""
        import qdrant_edge as edge

        check_queries(vectors, dimension=self.manifest.identity.dimension)
        requests = [
            edge.QueryRequest(
                limit=limit,
                query=edge.Query.Nearest(as_values(vector, self.manifest.distance)),
                filter=_filter(where),
                params=_params(self.manifest.vector_quantization, exact=exact),
            )
            for vector in vectors
        ]
        found: list[list[ScoredId]] = []
        at_once = self._tuning.queries_at_once
        for start in range(0, len(requests), at_once):
            batch = edge.QueryBatchRequest(requests[start : start + at_once])
            with _translated(self._folder):
                answers = self._shard.query_batch(batch)
            found += [[ScoredId(id=str(p.id), score=self._score(p)) for p in points] for points in answers]
        return found

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Rewrites the manifest beside the shard."""
        self._write_manifest(self.manifest.with_dataset(name, root, rules))

    def forget_dataset(self, name: str) -> None:
        """Rewrites the manifest beside the shard."""
        self._write_manifest(self.manifest.without_dataset(name))

    def indexed_count(self) -> int:
        """As the engine counts them; segments that are too small for an index have none."""
        with _translated(self._folder):
            return self._shard.info().indexed_vectors_count

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

    def needs_index(self) -> bool:
        """Small collections are searched exactly and need none."""
        info = self._shard.info()
        count = info.points_count
        unindexed = max(count - info.indexed_vectors_count, min(self._upserted, count))
        return unindexed * self.manifest.identity.dimension * 4 / 1024 > self._tuning.indexed_above_kb

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Lets a child process optimize the closed shard, since the call freezes its whole process.

        The lock stays here meanwhile. Ctrl-C, or anything that `on_wait` raises, ends the child; the shard
        stays whole and searchable.
        """
        self._require_writable()
        self._points = self.count()
        self._close_shard()
        self._is_synced = False
        shutil.rmtree(self._folder / SHARD / _BUILDING, ignore_errors=True)
        _run_child(self._folder / SHARD, on_wait)
        self._upserted = 0

    def invalidate_cache(self) -> None:
        """Removes the mark, for good even if the power fails now; the file itself may be open."""
        self.is_cache_valid, self._mark = False, None
        if not self._is_view and os.path.lexists(self._folder / _CACHE_MARK):
            remove(self._folder / _CACHE_MARK)
            sync_folder(self._folder)

    def validate_cache(self) -> None:
        """A mark beside the file, once the points and the file are on the disk."""
        self._require_writable()
        points = self.count() if self._points is None or "_shard" in self.__dict__ else self._points
        self._close_shard()
        sync_folder(self._folder)
        self._mark = Mark(points=points, files=self._fingerprint())
        self._mark.write(self._folder / _CACHE_MARK)
        self.is_cache_valid = True

    def find_damaged(self) -> list[str]:
        """Reads every point, where the mark is not that of the files; one whose vector is zeros has none."""
        if self._mark is None or self.is_cache_valid:
            return []
        import qdrant_edge as edge

        lost: list[str] = []
        offset = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=self._tuning.scan_page, with_payload=True, with_vector=False
            )
            with _translated(self._folder):
                records, offset = self._shard.scroll(request)
            lost += [str(record.id) for record in records if not _has_own_payload(record)]
            lost += self._without_vector(self._near_zero([str(record.id) for record in records]))
            if offset is None:
                return sorted(set(lost))

    def _near_zero(self, ids: Sequence[str]) -> list[str]:
        """Those whose vectors may be zeros: a search tells, in a hundredth of the time that reading takes."""
        import qdrant_edge as edge

        dimension, is_cosine = self.manifest.identity.dimension, self.manifest.distance is Distance.COSINE
        request = edge.QueryRequest(
            limit=max(1, len(ids)),
            query=edge.Query.Nearest([dimension**-0.5] * dimension),
            filter=edge.Filter(must=[edge.HasIdCondition(set(ids))]),
            params=_params(self.manifest.vector_quantization, exact=True),
        )
        with suppress(StoreError), _translated(self._folder):
            far = {
                str(point.id)
                for point in self._shard.query(request)
                if abs(point.score - (0 if is_cosine else 1)) > _NEAR_ZERO
            }
            return [point for point in ids if point not in far]
        return list(ids)

    def _without_vector(self, ids: Sequence[str]) -> list[str]:
        """Those whose vectors cannot be read or are nothing to search by; asked by halves where some fail."""
        with suppress(StoreError):
            found = self.vectors(ids)
            return [point for point in ids if not usable_rows(found[point][np.newaxis]).all()]
        half = len(ids) // 2
        return self._without_vector(ids[:half]) + self._without_vector(ids[half:]) if half else list(ids)

    def _fingerprint(self) -> str:
        """Of the shard and of the list beside it; a journal of the list's is a change that was cut off."""
        lists = sorted(self._folder.glob(f"{_CACHE}*"))
        return fingerprint([self._folder / SHARD, *lists]) if self.cache_file in lists else ""

    def _score(self, point: "qdrant_edge.ScoredPoint") -> float:
        return score_in_range(point.score, self.manifest.distance)

    def _payload(self, point: "qdrant_edge.Record | qdrant_edge.ScoredPoint") -> Payload:
        try:
            return Payload.from_json(point.payload or {})
        except KeyError as error:
            raise StoreError(
                f"point {point.id} of {self.name} has lost what it carried: files in {self._folder} are "
                "damaged",
                path=self._folder,
                hint=Hint(Action.INGEST_AGAIN),
            ) from error

    def _require_writable(self) -> None:
        """Refuses to write to a view, which would be lost with it."""
        if self._is_view:
            raise only_readable(self._folder)

    def _write_manifest(self, manifest: CollectionManifest) -> None:
        self._require_writable()
        write_json(self._folder / MANIFEST, manifest.to_json())
        self.manifest = manifest

    def _payload_of(self, point_id: str) -> Payload | None:
        """What a point carries; None where there is nothing that can be read."""
        for record in self._shard.retrieve([point_id], True, False):
            with suppress(KeyError):
                return Payload.from_json(record.payload or {})
        return None

    def _update(
        self,
        operation: "qdrant_edge.UpdateOperation",
        *,
        keeps_revision: bool = False,
        is_done: Callable[[], bool] = lambda: True,
    ) -> None:
        """Writes, and looks whether it `is_done`: the engine passes over what it takes for an old operation.

        Raises:
            StoreError: nothing that is written takes effect.
        """
        self._require_writable()
        _require_space(self._folder, self._tuning.spare_to_open_bytes)
        self.invalidate_cache()
        self._is_synced = False
        if not keeps_revision and not self.manifest.is_unmarked:
            self._write_manifest(self.manifest.with_revision(None))  # first, for a kill may come in between
        with _translated(self._folder):
            self._shard.update(operation)
            if is_done():
                return
            _count_on(self._shard, self._folder / SHARD)
            self._shard.update(operation)
            if not is_done():
                raise StoreError(
                    f"what is written to {self._folder} takes no effect: its files are damaged; "
                    "remove the folder and ingest once more",
                    path=self._folder,
                )


def _count_on(shard: "qdrant_edge.EdgeShard", folder: Path) -> None:
    """Brings the number of the next operation above those that the segments have seen.

    A log that was lost begins anew at zero, and each point passes over operations older than its own last
    one: they would be lost without a word. These have nothing to do, and take 30 microseconds each.
    """
    import qdrant_edge as edge

    nobody = edge.UpdateOperation.delete_points([_NOBODY])
    for _ in range(_last_operation(folder) + 1):
        shard.update(nobody)


def _last_operation(folder: Path) -> int:
    """The highest number that a segment has seen; what cannot be read says nothing."""
    seen = [0]
    for file in folder.glob("segments/*/segment.json"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            seen.append(int(parse_json(file.read_bytes())["version"] or 0))
    return min(max(seen), _MOST_OPERATIONS)


def _index_payloads(shard: "qdrant_edge.EdgeShard") -> None:
    """Makes the indexes of payload fields that are not there: in a new shard, or lost with their files."""
    import qdrant_edge as edge

    there = shard.info().payload_schema
    for field in KEYWORD_FIELDS:
        if field not in there:
            shard.update(edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Keyword))


def _has_own_payload(record: "qdrant_edge.Record") -> bool:
    """Files of different times may give a point another's payload, or none."""
    with suppress(KeyError):
        return Payload.from_json(record.payload or {}).id == str(record.id)
    return False


def _no_manifest(folder: Path) -> ManifestError:
    what = f"{folder} has no manifest of ours; it is left alone"
    if (folder / SHARD).is_dir():
        return ManifestError(f"{what}: {_mend(folder)}", collection=folder.name, path=folder)
    return ManifestError(
        f"{what}: move it elsewhere", collection=folder.name, path=folder, hint=Hint(Action.CHANGE_STORE)
    )


def _mend(folder: Path) -> str:
    return f"put {MANIFEST} back from a backup, or remove {folder} and ingest once more"


def read_manifest(folder: Path) -> CollectionManifest:
    """The manifest beside a shard.

    Raises:
        FileNotFoundError: it is not there, or not any more.
        ManifestError: it cannot be read, is not ours, or is that of another collection.
    """
    path = folder / MANIFEST
    try:
        manifest = CollectionManifest.from_json(parse_json(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read: {error}; {_mend(folder)}", path=path) from error
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}", path=path, hint=error.hint) from error
    require_own_name(manifest, folder.name, place=str(folder))
    return manifest


def _require_own_shard(folder: Path, manifest: CollectionManifest) -> None:
    """Keeps a shard from being taken for another collection's; older ones do not say whose they are.

    Raises:
        ManifestError: the shard and the manifest beside it are of two collections.
    """
    try:
        owner = parse_json((folder / SHARD / _OWNER).read_bytes())["collection"]
    except (OSError, ValueError, TypeError, KeyError):
        return
    if owner != manifest.collection:
        raise ManifestError(
            f"{folder / SHARD} is that of {owner}, the manifest beside it that of {manifest.collection}: "
            "put back what belongs there, or remove the folder and ingest once more",
            collection=manifest.collection,
            path=folder,
        )


def _config(manifest: CollectionManifest, tuning: EngineTuning) -> "qdrant_edge.EdgeConfig":
    import qdrant_edge as edge

    distances = {Distance.COSINE: edge.Distance.Cosine, Distance.EUCLID: edge.Distance.Euclid}
    pinned, short = edge.Memory.Pinned, manifest.vector_quantization
    quantization = {
        VectorQuantization.NONE: None,
        VectorQuantization.INT8: edge.ScalarQuantizationConfig(edge.ScalarType.Int8, memory=pinned),
        VectorQuantization.INT4: edge.TurboQuantQuantizationConfig(
            bits=edge.TurboQuantBitSize.Bits4, memory=pinned
        ),
    }
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(
            size=manifest.identity.dimension,
            distance=distances[manifest.distance],
            quantization_config=quantization[short],
            memory=None if short is VectorQuantization.NONE else edge.Memory.Cold,
        ),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=tuning.indexed_above_kb),
    )


def _params(quantize: VectorQuantization, *, exact: bool) -> "qdrant_edge.SearchParams":
    """An exact search looks at whole vectors only."""
    import qdrant_edge as edge

    oversampling = OVERSAMPLING.get(quantize)
    short = edge.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=oversampling)
    return edge.SearchParams(exact=exact, hnsw_ef=SEARCH_EF, quantization=short if oversampling else None)


def _filter(where: PointFilter) -> "qdrant_edge.Filter | None":
    import qdrant_edge as edge

    must: list[Any] = []
    if where.class_name is not None:
        must.append(
            edge.FieldCondition("class", match=_match_class(where.class_name))
            if where.class_name
            else edge.IsEmptyCondition("class")
        )
    if where.dataset is not None:
        must.append(edge.FieldCondition("dataset", match=edge.MatchValue(where.dataset)))
    if where.only_sha256:
        must.append(edge.FieldCondition("sha256", match=edge.MatchAny(sorted(where.only_sha256))))
    must_not: list[Any] = [edge.IsEmptyCondition("class")] if where.labelled else []
    if where.excluded_sha256:
        any_of = edge.MatchAny(sorted(where.excluded_sha256))
        must_not.append(edge.FieldCondition("sha256", match=any_of))
    return edge.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def _match_class(name: str) -> "qdrant_edge.MatchAny | qdrant_edge.MatchValue":
    import qdrant_edge as edge

    forms = unicode_forms(name)
    return edge.MatchAny(forms) if len(forms) > 1 else edge.MatchValue(name)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """The engine raises plain `Exception` for everything, and may not be called where memory is short."""
    require_address_space(ADDRESS_BYTES, f"the embedded engine on {folder}")
    try:
        yield
    except (LookalikeError, OSError, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if "WouldBlock" in str(error):
            raise StoreLockedError(
                f"{folder} is in use by another program; end it and try again", path=folder
            ) from error
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        if is_out_of_memory(error):
            raise memory_error(error, f"the embedded engine on {folder}") from error
        raise StoreError(
            f"the embedded engine failed on {folder}: {error}; if it fails again the files are damaged: "
            "remove the folder and ingest once more",
            path=folder,
        ) from error


def _require_space(folder: Path, free_bytes: int) -> None:
    """The engine writes through memory maps: where the disk is full, it dies without a word."""
    if shutil.disk_usage(folder).free < free_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _require_room_for_engine(shard: Path, folder: Path) -> None:
    share_arenas()
    require_address_space(_address_bytes(shard), f"opening {folder}")


def _address_bytes(shard: Path) -> int:
    """What a shard's files and the engine's threads take."""
    files = sum(path.stat().st_size for path in shard.rglob("*") if path.is_file())
    return files + ADDRESS_TO_OPEN_BYTES + ADDRESS_BYTES_A_CORE * (os.cpu_count() or 1)


_CHILD = """
import ctypes, os, sys
if sys.platform == "linux":  # when the parent is killed, this process must not keep the shard to itself
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != int(sys.argv[2]):
        sys.exit(1)
import qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.close()
"""


def _run_child(shard: Path, on_wait: Callable[[], None]) -> None:
    """Runs the engine's optimizers over a closed shard in a process of their own."""
    limits = [limit for limit in address_space_limits() if limit is not None]
    if limits and min(limits) < (needed := 2 * _address_bytes(shard)):  # it writes its segments anew
        raise MemoryError(
            f"the index of {shard.parent} takes {needed // 2**20} MB of address space, which is not there; "
            "everything can be searched without it, only slower"
        )
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-P", "-c", _CHILD, str(shard), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = _wait(child, on_wait)
    except BaseException:
        child.kill()  # it stands still inside the engine; its files are made to survive that
        child.communicate()
        raise
    if child.returncode:
        reason = (said.strip().splitlines() or [f"it ended with {child.returncode}"])[-1]
        raise StoreError(
            f"the index of {shard.parent} was not finished ({reason}); everything is there and can be "
            "searched, only slower: make room on disk and in memory and ingest again",
            path=shard.parent,
        )


def _wait(child: "subprocess.Popen[str]", on_wait: Callable[[], None]) -> str:
    """What the child said on stderr until its end, which is read all along so that it never blocks."""
    while True:
        on_wait()
        try:
            return child.communicate(timeout=_WAIT_S)[1]
        except subprocess.TimeoutExpired:
            continue
