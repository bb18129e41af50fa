"""An open collection on a server.

Its calibration and the revision of its points are stored beside the manifest under separate keys, so that a
process that records a dataset never restores what another has dropped.

Two writers at once are allowed, as by Qdrant. A manifest is read and then written as a whole, so of two
processes that add a dataset in the same instant one may overwrite the other; that one notices, at the latest
when the collection is released, and adds its dataset again.

A server has no locks, so before each write, after each failure and at its release the collection is checked:
it must still be the one that was opened.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.collection_manifest import CollectionManifest, new_revision
from lookalike_core.stores.faults import TooLargeError
from lookalike_core.stores.points import (
    EVERYTHING,
    INDEXED_FIELDS,
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
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server_metadata import (
    CALIBRATION,
    COPIED_FROM,
    REVISION,
    UNFINISHED,
    find_info,
    manifest_json,
    require_same,
)
from lookalike_core.stores.server_reads import Fields, ModelReads, Offset, Page, Reads, StoredPoint
from lookalike_core.stores.server_requests import filter_of, make_index, search_params
from lookalike_core.stores.server_tuning import DEFAULT_SERVER_TUNING, ServerTuning
from lookalike_core.stores.strict_mode import NO_LIMITS, Limits, within

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

MAX_BODY_BYTES = 16 * 2**20
"""The approximate limit for the body of a request: half of Qdrant's default limit over HTTP."""

_VALUE_BYTES = 24  # one float32 in JSON, as the shortest text of its double, with the comma
_PAYLOAD_BYTES = 4096
_PAYLOADS_PER_REQUEST = 500
_IDS_PER_REQUEST = 10_000
_EVERY_VALUE = 2**31
_RECORD_TRIES = 5
_OPTIMIZING = ("yellow", "grey")  # the second waits for a write to begin

_Row = TypeVar("_Row")
_Answer = TypeVar("_Answer")


class ServerCollection:
    """A collection on a server; implements `Collection`. No lock is held, so none is released.

    Others may write to it at any time, so its points cannot be cached.
    """

    upkeep = None

    def __init__(
        self,
        client: "QdrantClient",
        name: str,
        manifest: CollectionManifest,
        *,
        requests: Requests,
        reads: Reads | None = None,
        limits: Limits = NO_LIMITS,
        replicas: int = 1,
        tuning: ServerTuning = DEFAULT_SERVER_TUNING,
        asked_as: str | None = None,
    ) -> None:
        self.name = name
        self._asked_as = asked_as or name
        """What the server calls the collection, if that is not its name (`ServerNames`)."""
        self.manifest = manifest
        self._client = client
        self._requests = requests
        self._reads = reads or ModelReads(client)
        self._limits = limits
        self._replicas = replicas
        self._tuning = tuning
        self._written = False
        self._has_changed_points = False
        """Whether vectors or classes were written, by requests that may still be in progress."""
        self._recorded: dict[str, tuple[str, FolderRules]] = {}
        self._fitting: dict[str, int] = {}
        self._rows = max(1, MAX_BODY_BYTES // (manifest.identity.dimension * _VALUE_BYTES + _PAYLOAD_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Does what `flush` does, unless the block ended with an error."""
        if kind is None:
            self.flush()

    def flush(self) -> None:
        """Checks after writes that this is still the opened collection, with the datasets recorded here."""
        if not self._written:
            return
        for _ in range(_RECORD_TRIES):
            if not self._look():
                break
        self._has_changed_points = False

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """Writes points in requests of a size that the server accepts.

        Each is on its disk before the next.
        """
        from qdrant_client import models

        def send(part: Sequence[ImagePoint]) -> None:
            vectors = np.stack([point.vector for point in part])
            rows = [
                models.PointStruct(id=point.payload.id, vector=row, payload=point.payload.to_json())
                for point, row in zip(part, as_rows(vectors, self.manifest.distance), strict=True)
            ]
            _require_completed(self._client.upsert(self._asked_as, rows, wait=True))

        check_vectors(points, dimension=self.manifest.identity.dimension)
        self._has_changed_points |= bool(points)
        at_once = within(self._rows, self._limits.written, self._limits.writes)
        self._write("writing points to", points, send, at_once=at_once)

    def note_writes(self) -> None:
        """Has the next check delete the revision and the calibration of the points."""
        self._written = self._has_changed_points = True

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Sends many operations per request, by id, and a last one by a filter, whose completion is awaited.

        When a request is answered, its operations are in the server's log, in order; ids that do not exist
        are skipped. An operation by a filter goes to every shard, and each shard executes earlier ones first,
        so waiting for the last one is waiting for all of them. Waiting for each takes five times as long.
        """
        from qdrant_client import models

        def overwrite(payload: Payload, **selected: Any) -> models.OverwritePayloadOperation:  # noqa: ANN401 - points or a filter
            overwritten = models.SetPayload(payload=payload.to_json(), **selected)
            return models.OverwritePayloadOperation(overwrite_payload=overwritten)

        def send(part: Sequence[Payload]) -> None:
            *first, last = part
            noted = [overwrite(payload, points=[payload.id]) for payload in first]
            if noted:
                self._client.batch_update_points(self._asked_as, noted, wait=False)
            this_one = models.Filter(must=[models.HasIdCondition(has_id=[last.id])])
            waited_for = [overwrite(last, filter=this_one)]
            _require_completed(*self._client.batch_update_points(self._asked_as, waited_for, wait=True))

        self._has_changed_points |= bool(payloads) and not same_classes
        at_once = within(_PAYLOADS_PER_REQUEST, self._limits.writes_a_second)
        self._write("writing payloads to", payloads, send, at_once=at_once)

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes points, sending thousands of ids per request."""
        from qdrant_client import models

        def send(part: Sequence[str]) -> None:
            selected = models.PointIdsList(points=list(part))
            _require_completed(self._client.delete(self._asked_as, selected, wait=True))

        self._has_changed_points |= bool(ids)
        at_once = within(_IDS_PER_REQUEST, self._limits.writes)
        self._write("deleting points from", ids, send, at_once=at_once)

    def complete_indexes(self) -> None:
        """Creates the indexes that the server does not list."""
        info = self._describe()
        for field in INDEXED_FIELDS:
            if field not in info.payload_schema:
                self._written = True
                self._ask("indexing the payload of", partial(make_index, self._client, self._asked_as, field))

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Yields payloads, reading page by page."""
        for payload in self._payloads_of("reading", where, fields=True):
            yield Payload.from_json(payload)

    def scan_points(self) -> Iterator[StoredPoint]:
        """Yields points, reading page by page."""
        return self._points_of("reading", EVERYTHING, fields=True)

    def scan_ids(
        self, where: PointFilter = EVERYTHING, *, start: str | None = None, stop: str | None = None
    ) -> Iterator[str]:
        """Yields ids, reading page by page; a server has them in this order."""
        for point, _ in self._points_of("reading", where, fields=False, start=start):
            if stop is not None and point >= stop:
                return
            yield point

    def _payloads_of(self, what: str, where: PointFilter, *, fields: Fields) -> Iterator[Mapping[str, Any]]:
        """Yields these fields of the payloads of all matching points, ordered by id."""
        return (payload for _, payload in self._points_of(what, where, fields=fields))

    def _points_of(
        self, what: str, where: PointFilter, *, fields: Fields, start: Offset = None
    ) -> Iterator[StoredPoint]:
        """Yields all matching points ordered by id, from `start` on, with these fields of their payloads."""
        offset, size = start, within(self._tuning.scan_page, self._limits.found)
        while True:
            asked = Page(where=filter_of(where, self._limits), limit=size, offset=offset, fields=fields)
            try:
                points, offset = self._ask(what, partial(self._reads.page, self._asked_as, asked))
            except TooLargeError:
                if size == 1:
                    raise
                size //= 2
                continue
            yield from points
            if offset is None:
                return

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """Returns vectors, requesting as many at a time as `upsert` sends."""
        found: dict[str, FloatVector] = {}
        at_once = within(self._rows, self._limits.reads)
        read = partial(self._reads.vectors, self._asked_as)
        for vectors in self._answers("reading vectors from", ids, read, at_once=at_once):
            found |= vectors
        return found

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Returns payloads, requesting thousands of ids at a time."""
        found: dict[str, Payload] = {}
        at_once = within(self._tuning.scan_page, self._limits.reads)
        read = partial(self._reads.payloads, self._asked_as)
        for payloads in self._answers("reading", ids, read, at_once=at_once):
            found |= {point: Payload.from_json(payload) for point, payload in payloads.items()}
        return found

    def find_unlike_replicas(self, ids: Sequence[str]) -> list[str]:
        """Returns those of the ids whose replicas differ in payload or vector; none without replicas.

        Qdrant returns what one replica has or, on request, the points that all of them have alike
        (https://qdrant.tech/documentation/scaling/consistency-guarantees/). Those that only one has are asked
        for again, since a write may have been on its way.
        """
        if self._replicas <= 1:
            return []
        alike = self._read_alike(ids)
        unlike = [point for point in ids if point not in alike]
        there = self._read_alike(unlike, everywhere=False)
        again = self._read_alike([point for point in unlike if point in there])
        return [point for point in unlike if point in there and point not in again]

    def _read_alike(self, ids: Sequence[str], *, everywhere: bool = True) -> set[str]:
        """Returns those of the ids that all replicas have alike, or that one has."""
        from qdrant_client import models

        consistency = models.ReadConsistencyType.ALL if everywhere else None

        def read(part: Sequence[str]) -> set[str]:
            found = self._client.retrieve(
                self._asked_as, part, with_payload=True, with_vectors=True, consistency=consistency
            )
            return {str(record.id) for record in found}

        at_once = within(self._rows, self._limits.reads)
        return set().union(*self._answers("comparing the replicas of", ids, read, at_once=at_once))

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Returns the exact count, counting the points themselves if the server only estimates."""
        if not self._limits.may_be_exact:
            return sum(1 for _ in self._payloads_of("counting", where, fields=False))
        return self._count(filter_of(where, self._limits))

    def count_without(self, field: str, where: PointFilter = EVERYTHING) -> int:
        """Returns the exact count; the points themselves are looked through if the server only estimates."""
        if not self._limits.may_be_exact:
            payloads = self._payloads_of("counting", where, fields=[field])
            return sum(not payload.get(field) for payload in payloads)
        return self._count(filter_of(where, self._limits, lacking=field))

    def _count(self, found: "models.Filter | None") -> int:
        return self._ask(
            "counting", lambda: self._client.count(self._asked_as, count_filter=found, exact=True).count
        )

    def tally(self, field: str) -> dict[str, int]:
        """Counts by exact facets, corrected by `complete_tally`, or from all points if facets are cut off."""
        values = self._facet(field) if self._limits.may_be_exact else None
        if values is not None:
            return complete_tally(values, field=field, points=self.count())
        counts: Counter[str] = Counter()
        points = 0
        for payload in self._payloads_of("counting", EVERYTHING, fields=[field]):
            value = payload.get(field) or ""
            counts.update(value if isinstance(value, list) else [value])
            points += 1
        return complete_tally(counts, field=field, points=points)

    def _facet(self, field: str) -> dict[str, int] | None:
        """Returns the server's facet counts; None if they may be incomplete."""
        limit = within(_EVERY_VALUE, self._limits.found)
        try:
            counts = self._ask("counting", partial(self._reads.facet, self._asked_as, field, limit=limit))
        except TooLargeError:
            return None
        return counts if len(counts) < limit else None

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """Returns hits in the server's own order: best first for both distances."""
        check_query(vector, dimension=self.manifest.identity.dimension)
        self._require_allowed(exact=exact)
        found: dict[str, SearchHit] = {}
        for start, size in self._pages(limit):
            search = partial(
                self._client.query_points,
                self._asked_as,
                query=as_values(vector, self.manifest.distance),
                limit=size,
                offset=start or None,
                query_filter=filter_of(where, self._limits),
                search_params=search_params(self.manifest.vector_quantization, self._limits, exact=exact),
                with_payload=True,
            )
            points = self._ask("searching", search).points
            for p in points:
                found.setdefault(
                    str(p.id), SearchHit(score=self._score(p), payload=Payload.from_json(p.payload or {}))
                )
            if len(points) < size:
                break
        return list(found.values())

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """Returns hits of many queries, in requests of a size that the server accepts."""
        from qdrant_client import models

        def search(start: int, size: int, part: Sequence[FloatVector]) -> "list[models.QueryResponse]":
            requests = [
                models.QueryRequest(
                    query=as_values(vector, self.manifest.distance),
                    limit=size,
                    offset=start or None,
                    filter=filter_of(where, self._limits),
                    params=search_params(self.manifest.vector_quantization, self._limits, exact=exact),
                )
                for vector in part
            ]
            return self._client.query_batch_points(self._asked_as, requests)

        check_queries(vectors, dimension=self.manifest.identity.dimension)
        self._require_allowed(exact=exact)
        found: list[dict[str, ScoredId]] = [{} for _ in vectors]
        at_once = within(
            self._rows, self._tuning.queries_per_request, self._limits.searches, self._limits.reads
        )
        for start, size in self._pages(limit):
            page = partial(search, start, size)
            answers = chain.from_iterable(self._answers("searching", list(vectors), page, at_once=at_once))
            for hits, answer in zip(found, answers, strict=True):
                for p in answer.points:
                    hits.setdefault(str(p.id), ScoredId(id=str(p.id), score=self._score(p)))
        return [list(hits.values()) for hits in found]

    def _score(self, point: "models.ScoredPoint") -> float:
        return score_in_range(point.score, self.manifest.distance)

    def _pages(self, limit: int) -> list[tuple[int, int]]:
        """Returns the offset and limit of each page of so many neighbours.

        In an HNSW search a later page may repeat points of an earlier one.
        """
        size = within(limit, self._limits.found)
        return [(start, min(size, limit - start)) for start in range(0, limit, size)]

    def _require_allowed(self, *, exact: bool) -> None:
        if exact and not self._limits.may_be_exact:
            raise StoreError(
                f"exact searches are not allowed in {self.name} on {self._requests.label} (strict mode, "
                "search_allow_exact); enable that setting",
                store=self._requests.label,
                hint=Hint(Action.LEAVE_OUT_INSTEAD, {Argument.EXACT: None}),
            )

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Adds a dataset to the server's present manifest, and verifies that it was not overwritten.

        Raises:
            StoreError: other processes keep overwriting the manifest.
        """
        self._written = True
        for _ in range(_RECORD_TRIES):
            self._look()
            wanted = self.manifest.with_dataset(name, root, rules)
            if self.manifest == wanted:
                self._recorded[name] = (root, wanted.rules_of(name))
                return
            self._ask("writing the manifest of", partial(self._put_manifest, wanted))
        raise StoreError(
            f"dataset {name} cannot be recorded in {self.name} on {self._requests.label}: other "
            "processes keep overwriting its manifest; wait until they are done",
            store=self._requests.label,
            hint=Hint(Action.REPEAT),
        )

    def forget_dataset(self, name: str) -> None:
        """Removes a dataset from the server's present manifest."""
        self._written = True
        self._recorded.pop(name, None)
        self._look()
        forgotten = partial(self._put_manifest, self.manifest.without_dataset(name))
        self._ask("writing the manifest of", forgotten)
        self._look()

    def mark_revision(self) -> str:
        """Returns the points' revision on the server.

        An existing one is kept, so that several may calibrate.
        """
        self._look()
        self._has_changed_points = False
        revision = self.manifest.revision or new_revision()
        if revision != self.manifest.revision:
            mark = partial(self._client.update_collection, self._asked_as, metadata={REVISION: revision})
            self._ask("writing the revision of", mark)
            self.manifest = self.manifest.with_revision(revision)
        return revision

    def record_calibration(self, calibration: Calibration) -> None:
        """Writes the calibration beside the manifest; a write in between makes it stale."""
        self._written = True
        self._look()
        self.manifest.require_revision(calibration.revision, name=self.name)
        self._has_changed_points = False
        data = {CALIBRATION: calibration.to_json()}
        record = partial(self._client.update_collection, self._asked_as, metadata=data)
        self._ask("writing the calibration of", record)
        self.manifest = self.manifest.with_calibration(calibration)

    def complete_copy(self, manifest: CollectionManifest) -> None:
        """Writes manifest, revision and calibration and removes the marks of a copy, in one request."""
        self._look()
        self._has_changed_points = False
        whole = manifest.named(self.name)
        learned = whole.calibration.to_json() if whole.calibration is not None else ""
        metadata = {
            METADATA_KEY: manifest_json(whole),
            REVISION: whole.revision or "",
            CALIBRATION: learned,
            UNFINISHED: "",
            COPIED_FROM: "",
        }
        complete = partial(self._client.update_collection, self._asked_as, metadata=metadata)
        self._ask("writing the manifest of", complete)
        self.manifest = whole

    def indexed_count(self) -> int:
        """Returns the server's count, which may lag behind; segments that are too small have no index."""
        return self._describe().indexed_vectors_count or 0

    def lacks_index(self) -> bool:
        """Returns whether the server optimizes the collection, or is to (it is `yellow` or `grey`)."""
        return str(self._describe().status) in _OPTIMIZING

    def _describe(self) -> "models.CollectionInfo":
        return self._ask("looking at", lambda: self._client.get_collection(self._asked_as))

    def _ask(self, what: str, request: Callable[[], _Answer]) -> _Answer:
        return self._requests.make(
            request,
            f"{what} {self.name}",
            collection=self.name,
            asked_as=self._asked_as,
            check=self._check,
        )

    def _look(self) -> bool:
        doing = f"checking {self.name}"
        return self._requests.make(self._check, doing, collection=self.name, asked_as=self._asked_as)

    def _write(
        self, what: str, rows: Sequence[_Row], send: Callable[[Sequence[_Row]], None], *, at_once: int
    ) -> None:
        if not rows:
            return
        self._written = True
        self._look()
        for _ in self._answers(what, rows, send, at_once=at_once):
            pass

    def _answers(
        self, what: str, rows: Sequence[_Row], request: Callable[[Sequence[_Row]], _Answer], *, at_once: int
    ) -> Iterator[_Answer]:
        """Yields answers to requests of so many rows each, or of fewer if the server accepts no more."""
        done = 0
        while done < len(rows):
            size = min(at_once, self._fitting.get(what, at_once))
            yield from self._halved(what, rows[done : done + size], request)
            done += size

    def _halved(
        self, what: str, rows: Sequence[_Row], request: Callable[[Sequence[_Row]], _Answer]
    ) -> Iterator[_Answer]:
        """Halves requests that are too large for the server, down to a single row, and those that follow."""
        try:
            answer = self._ask(what, lambda: request(rows))
        except TooLargeError:
            if len(rows) == 1:
                raise
        else:
            yield answer
            return
        size = self._fitting[what] = (len(rows) + 1) // 2
        for half in _parts(rows, size):
            yield from self._halved(what, half, request)

    def _check(self) -> bool:
        """Checks that the server still has the opened collection.

        Returns whether a dataset had to be added again. If vectors or classes are written, it also deletes
        the revision, even one that was set since.

        Raises:
            CollectionMissingError: it was deleted, or deleted and created again without our writes.
            ManifestError: another collection has its name now.
        """
        info = find_info(self._client, self._asked_as)
        manifest = require_same(info, self.manifest, f"collection {self.name} on {self._requests.label}")
        self._limits = NO_LIMITS if info is None else Limits.of(info)
        lost = {name: what for name, what in self._recorded.items() if name not in manifest.datasets}
        for name, (root, rules) in lost.items():
            manifest = manifest.with_dataset(name, root, rules)
        if lost:
            self._put_manifest(manifest)
        if self._has_changed_points and not manifest.is_unmarked:
            self._client.update_collection(self._asked_as, metadata={REVISION: "", CALIBRATION: ""})
            manifest = manifest.with_revision(None)
        self.manifest = manifest
        return bool(lost)

    def _put_manifest(self, manifest: CollectionManifest) -> None:
        self._client.update_collection(self._asked_as, metadata={METADATA_KEY: manifest_json(manifest)})


def _require_completed(*results: "models.UpdateResult") -> None:
    """Refuses an answer that an overloaded server gave before the change was made."""
    from qdrant_client import models

    for result in results:
        if result.status is not models.UpdateStatus.COMPLETED:
            raise TimeoutError(f"the server has not made the change yet ({result.status.value})")


def _parts(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
