"""The server store: collections of a Qdrant server, spoken to through qdrant-client.

The manifest is the collection's `metadata` under `METADATA_KEY`, so it is made with the collection and
goes with it. A collection without it is not ours and is never touched. Its calibration lies beside it under a
key of its own, since the server replaces the value of each key as a whole: who records a dataset never puts
back a calibration that another has dropped. The server builds its search index by itself. `connection`
makes the store.

Two writers at once are allowed, as Qdrant allows them. A manifest is read and then written as a whole,
so of two that add a dataset in the same instant one may undo the other; whoever is undone notices, at the
latest when the collection is released, and adds its dataset again.

A server keeps nothing reserved for us, so before each write, after each failure and when it is released
an open collection is looked at: it must still be the one that was opened.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from lookalike.calibration import Calibration
from lookalike.errors import CollectionMissingError, ManifestError, StoreError
from lookalike.manifest import METADATA_KEY, CollectionManifest, Distance, StoredAs
from lookalike.stores.address import NO_SECRETS, Secrets
from lookalike.stores.faults import FaultKind, TooLargeError, fault_of
from lookalike.stores.points import (
    EVERYTHING,
    KEYWORD_FIELDS,
    OVERSAMPLING,
    SEARCH_EF,
    FloatVector,
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
    tallied,
)
from lookalike.stores.protocol import (
    STAGED_SUFFIX,
    Say,
    is_collection_name,
    require_own_name,
    staged_name,
    unheard,
)
from lookalike.stores.retries import Requests

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

MAX_BODY_BYTES = 16 * 2**20
"""Of one request, roughly: half of what Qdrant takes over HTTP unless it is configured otherwise."""

_UNFINISHED = "lookalike-unfinished"
"""In the metadata of a collection that `replace` is copying to: a token of the process that does."""

_CALIBRATION = "lookalike-calibration"
"""In the metadata of a collection that is calibrated."""

_VALUE_BYTES = 24  # one float32 in JSON, as the shortest text of its double, with the comma
_PAYLOAD_BYTES = 4096
_SCAN_PAGE = 2_000
_PAYLOADS_PER_REQUEST = 500
_IDS_PER_REQUEST = 10_000
_QUERIES_PER_REQUEST = 100
_EVERY_VALUE = 2**31
_RECORD_TRIES = 5

_Row = TypeVar("_Row")
_Answer = TypeVar("_Answer")


class ServerStore:
    """The collections of one server; implements `Store`. `label` holds no credentials."""

    def __init__(
        self,
        client: "QdrantClient",
        *,
        label: str,
        notices: tuple[str, ...] = (),
        say: Say = unheard,
        secrets: Secrets = NO_SECRETS,
    ) -> None:
        self.label = label
        self.notices = notices
        self._client = client
        self._requests = Requests(label, say=say, secrets=secrets)

    def names(self) -> list[str]:
        """One request a collection: the list of them comes without metadata."""
        found = self._requests.make(
            lambda: [collection.name for collection in self._client.get_collections().collections],
            "listing collections",
        )
        return sorted(name for name in found if not name.endswith(STAGED_SUFFIX) and name in self)

    def __contains__(self, name: str) -> bool:
        info = self._info(name)
        return info is not None and _manifest_data(info) is not None and not _copier(info)

    def manifest(self, name: str) -> CollectionManifest:
        """As the server has it now."""
        return self._own_manifest(self._own(name), name)

    def create(self, manifest: CollectionManifest, *, name: str | None = None) -> None:
        """Makes the collection with its manifest in one request, then its payload indexes."""
        name = name or manifest.collection
        self._create(name, manifest, {METADATA_KEY: _manifest_json(manifest.named(name))})

    def _create(self, name: str, manifest: CollectionManifest, metadata: dict[str, Any]) -> None:
        if self._info(name) is not None:
            raise ManifestError(_taken(name, self.label))
        self._requests.make(
            lambda: self._make(name, manifest, metadata), f"making collection {name}", collection=name
        )
        try:
            self._complete(name)
        except BaseException:
            with suppress(Exception):
                self._client.delete_collection(name)
            raise

    def open(self, name: str) -> "ServerCollection":
        """Also finishes a collection whose making was cut off before all payload indexes were there."""
        info = self._own(name)
        manifest = self._own_manifest(info, name)
        self._index(name, [keyword for keyword in KEYWORD_FIELDS if keyword not in info.payload_schema])
        return ServerCollection(self._client, name, manifest, requests=self._requests)

    def delete(self, name: str) -> None:
        """One request."""
        self._own(name)
        self._delete(name)

    def rebuilding(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """A server knows no locks; `replace` notices when two of them meet."""
        return nullcontext()

    def replace(self, name: str) -> None:
        """Copies the points, since a server cannot rename; until all are there, the copy is refused."""
        with self.open(staged_name(name)) as staged:
            info = self._info(name)
            if info is not None:
                if not _copier(info):
                    self._own(name)
                self._delete(name)
            token = secrets.token_hex(8)
            manifest = staged.manifest.named(name)
            metadata = {METADATA_KEY: _manifest_json(manifest), _UNFINISHED: token}
            self._create(name, manifest, metadata)
            with ServerCollection(self._client, name, manifest, requests=self._requests) as collection:
                collection.take_over(staged, token)
        self._delete(staged_name(name))

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _delete(self, name: str) -> None:
        self._requests.make(
            lambda: self._client.delete_collection(name), f"deleting collection {name}", collection=name
        )

    def _make(self, name: str, manifest: CollectionManifest, metadata: dict[str, Any]) -> None:
        """One try; where the answer to an earlier one was lost, what is there is known by its manifest."""
        from qdrant_client import models

        distances = {Distance.COSINE: models.Distance.COSINE, Distance.EUCLID: models.Distance.EUCLID}
        try:
            self._client.create_collection(
                name,
                vectors_config=models.VectorParams(
                    size=manifest.identity.dimension,
                    distance=distances[manifest.distance],
                    on_disk=None if manifest.quantize is StoredAs.NONE else True,
                ),
                quantization_config=_quantization(manifest.quantize),
                metadata=metadata,
            )
        except Exception as error:
            refused = fault_of(error).kind in (FaultKind.EXISTS, FaultKind.UNFIT)
            there = _found(self._client, name) if refused else None
            if there is None or _manifest_data(there) != metadata[METADATA_KEY]:
                raise

    def _complete(self, name: str) -> None:
        """Makes the indexes, and sees that the manifest was kept: an old server drops it silently."""
        self._index(name, KEYWORD_FIELDS)
        info = self._info(name)
        if info is None or _manifest_data(info) is None:
            raise StoreError(
                f"the server at {self.label} does not keep metadata of collections; "
                "it takes Qdrant 1.16 or newer (docker compose up qdrant)"
            )

    def _index(self, name: str, keywords: Sequence[str]) -> None:
        for keyword in keywords:
            make = partial(self._make_index, name, keyword)
            self._requests.make(make, f"indexing the payload of {name}", collection=name)

    def _make_index(self, name: str, keyword: str) -> None:
        from qdrant_client import models

        self._client.create_payload_index(name, keyword, models.PayloadSchemaType.KEYWORD, wait=True)

    def _own(self, name: str) -> "models.CollectionInfo":
        info = self._info(name)
        if info is None:
            raise CollectionMissingError(f"there is no collection {name} on {self.label}")
        if _manifest_data(info) is None:
            raise ManifestError(f"{name} on {self.label} has no manifest of ours; it is left alone")
        if _copier(info):
            raise ManifestError(
                f"{name} on {self.label} is not finished: it is being rebuilt, or that was cut off; wait for "
                f"the rebuild to end, or go on with: ingest rebuild {name}"
            )
        return info

    def _own_manifest(self, info: "models.CollectionInfo", name: str) -> CollectionManifest:
        """The manifest of a collection, which must be its own; an alias stands for another's name."""
        manifest, place = _manifest(info, name, self.label), f"{name} on {self.label}"
        try:
            require_own_name(manifest, name, place=place)
        except ManifestError:
            behind = self._behind_alias(name)
            if behind is None:
                raise
            require_own_name(manifest, behind, place=place)
        return manifest

    def _behind_alias(self, name: str) -> str | None:
        """The collection that an alias stands for; None where it is none, or the server does not tell."""
        with suppress(StoreError):
            found = self._requests.make(self._client.get_aliases, "listing aliases").aliases
            return next((each.collection_name for each in found if each.alias_name == name), None)
        return None

    def _info(self, name: str) -> "models.CollectionInfo | None":
        if not is_collection_name(name):
            return None

        def look() -> "models.CollectionInfo | None":
            return _found(self._client, name) if self._client.collection_exists(name) else None

        return self._requests.make(look, f"looking for {name}", collection=name)


class ServerCollection:
    """A collection on a server; implements `Collection`. Nothing is held, so nothing is released.

    Others may write to it at any time, so that no list of its points can be kept.
    """

    listing = None
    is_listed = False

    def __init__(
        self, client: "QdrantClient", name: str, manifest: CollectionManifest, *, requests: Requests
    ) -> None:
        self.name = name
        self.manifest = manifest
        self._client = client
        self._requests = requests
        self._written = False
        self._outdates = False
        self._recorded: dict[str, str] = {}
        self._fitting: dict[str, int] = {}
        self._rows = max(1, MAX_BODY_BYTES // (manifest.identity.dimension * _VALUE_BYTES + _PAYLOAD_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """After writing, sees once more that this is what was opened, with the datasets that it recorded."""
        if kind is not None or not self._written:
            return
        for _ in range(_RECORD_TRIES):
            if not self._look():
                return

    def drop_listing(self) -> None:
        """There is none."""

    def note_listing(self) -> None:
        """There is none."""

    def upsert(self, points: Sequence[ImagePoint]) -> None:
        """In requests of a size that the server takes; each is on its disk before the next."""
        from qdrant_client import models

        def send(part: Sequence[ImagePoint]) -> None:
            vectors = np.stack([point.vector for point in part])
            rows = [
                models.PointStruct(id=point.payload.id, vector=row, payload=point.payload.to_json())
                for point, row in zip(part, as_rows(vectors, self.manifest.distance), strict=True)
            ]
            _require_completed(self._client.upsert(self.name, rows, wait=True))

        checked_vectors(points, dimension=self.manifest.identity.dimension)
        self._outdates = self._outdates or bool(points)
        self._write("writing points to", points, send, at_once=self._rows)

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Many operations a request, each by a filter, which unlike an id may match nothing."""
        from qdrant_client import models

        def send(part: Sequence[Payload]) -> None:
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(
                        payload=payload.to_json(),
                        filter=models.Filter(must=[models.HasIdCondition(has_id=[payload.id])]),
                    )
                )
                for payload in part
            ]
            _require_completed(*self._client.batch_update_points(self.name, operations, wait=True))

        self._outdates = self._outdates or (bool(payloads) and not same_classes)
        self._write("writing payloads to", payloads, send, at_once=_PAYLOADS_PER_REQUEST)

    def delete(self, ids: Sequence[str]) -> None:
        """Thousands a request."""
        from qdrant_client import models

        def send(part: Sequence[str]) -> None:
            selected = models.PointIdsList(points=list(part))
            _require_completed(self._client.delete(self.name, selected, wait=True))

        self._outdates = self._outdates or bool(ids)
        self._write("deleting points from", ids, send, at_once=_IDS_PER_REQUEST)

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Page by page."""
        offset = None
        while True:
            page = partial(
                self._client.scroll,
                self.name,
                scroll_filter=_filter(where),
                limit=_SCAN_PAGE,
                offset=offset,
            )
            records, offset = self._ask("reading", page)
            for record in records:
                yield Payload.from_json(record.payload or {})
            if offset is None:
                return

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """In answers about as large as what `upsert` sends."""

        def read(part: Sequence[str]) -> "list[models.Record]":
            return self._client.retrieve(self.name, part, with_payload=False, with_vectors=True)

        found: dict[str, FloatVector] = {}
        for records in self._answers("reading vectors from", ids, read, at_once=self._rows):
            found |= {str(record.id): np.asarray(record.vector, dtype=np.float32) for record in records}
        return found

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Thousands a request."""

        def read(part: Sequence[str]) -> "list[models.Record]":
            return self._client.retrieve(self.name, part, with_payload=True, with_vectors=False)

        found: dict[str, Payload] = {}
        for records in self._answers("reading", ids, read, at_once=_SCAN_PAGE):
            found |= {str(record.id): Payload.from_json(record.payload or {}) for record in records}
        return found

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Exact."""
        return self._ask(
            "counting", lambda: self._client.count(self.name, count_filter=_filter(where), exact=True).count
        )

    def tally(self, field: str) -> dict[str, int]:
        """Exact facets, mended by `tallied`."""
        facet = self._ask(
            "counting", lambda: self._client.facet(self.name, field, limit=_EVERY_VALUE, exact=True)
        )
        return tallied({str(hit.value): hit.count for hit in facet.hits}, points=self.count())

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """The server's own order: best first for both distances."""
        check_query(vector, dimension=self.manifest.identity.dimension)
        answer = self._ask(
            "searching",
            lambda: self._client.query_points(
                self.name,
                query=as_values(vector, self.manifest.distance),
                limit=limit,
                query_filter=_filter(where),
                search_params=_params(self.manifest.quantize, exact=exact),
                with_payload=True,
            ),
        )
        return [SearchHit(score=p.score, payload=Payload.from_json(p.payload or {})) for p in answer.points]

    def query_many(
        self, vectors: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[list[ScoredId]]:
        """In requests of a size that the server takes, many searches each."""
        from qdrant_client import models

        def search(part: Sequence[FloatVector]) -> "list[models.QueryResponse]":
            requests = [
                models.QueryRequest(
                    query=as_values(vector, self.manifest.distance),
                    limit=limit,
                    filter=_filter(where),
                    params=_params(self.manifest.quantize, exact=exact),
                )
                for vector in part
            ]
            return self._client.query_batch_points(self.name, requests)

        check_queries(vectors, dimension=self.manifest.identity.dimension)
        found: list[list[ScoredId]] = []
        at_once = min(self._rows, _QUERIES_PER_REQUEST)
        for answers in self._answers("searching", list(vectors), search, at_once=at_once):
            found += [[ScoredId(id=str(p.id), score=p.score) for p in answer.points] for answer in answers]
        return found

    def record_dataset(self, name: str, root: str) -> None:
        """Adds to the manifest as it is on the server now, and reads back whether that has lasted.

        Raises:
            StoreError: others write the manifest at the same time and undo it again and again.
        """
        self._written = True
        for _ in range(_RECORD_TRIES):
            self._look()
            if self.manifest.datasets.get(name) == root:
                self._recorded[name] = root
                return
            added = partial(self._put_manifest, self.manifest.with_dataset(name, root))
            self._ask("writing the manifest of", added)
        raise StoreError(
            f"dataset {name} cannot be recorded in {self.name} on {self._requests.label}: others write its "
            "manifest all the time; run the same command again when they are done"
        )

    def forget_dataset(self, name: str) -> None:
        """Takes it out of the manifest as it is on the server now."""
        self._written = True
        self._recorded.pop(name, None)
        self._look()
        forgotten = partial(self._put_manifest, self.manifest.without_dataset(name))
        self._ask("writing the manifest of", forgotten)
        self._look()

    def record_calibration(self, calibration: Calibration | None) -> None:
        """Beside the manifest. What this object wrote before is taken to be what was calibrated."""
        self._written = True
        self._outdates = False
        self._look()
        data = calibration.to_json() if calibration is not None else ""
        record = partial(self._client.update_collection, self.name, metadata={_CALIBRATION: data})
        self._ask("writing the calibration of", record)
        self.manifest = self.manifest.with_calibration(calibration)

    def take_over(self, source: "ServerCollection", token: str) -> None:
        """Copies all points of another collection, then says that they are all here.

        Raises:
            StoreError: another process does the same, or points came or went meanwhile; what is here stays
                unfinished.
        """
        payloads = source.scan()
        while part := list(islice(payloads, self._rows)):
            self._require_copier(token)
            vectors = source.vectors([payload.id for payload in part])
            there = [payload for payload in part if payload.id in vectors]
            self.upsert([ImagePoint(payload=payload, vector=vectors[payload.id]) for payload in there])
        self._require_copier(token)
        if self.count() != source.count():
            raise StoreError(
                f"{source.name} changed while it was copied; go on with: ingest rebuild {self.name}"
            )
        finished = {METADATA_KEY: _manifest_json(self.manifest), _UNFINISHED: ""}
        self._ask(
            "writing the manifest of", lambda: self._client.update_collection(self.name, metadata=finished)
        )

    def _require_copier(self, token: str) -> None:
        info = self._ask("looking at", lambda: _found(self._client, self.name))
        if info is None or _copier(info) != token:
            raise StoreError(f"another process puts {self.name} together, too; let it end, then look again")

    def indexed_count(self) -> int:
        """As the server counts them, which may lag behind; segments that are too small have no index."""
        info = self._ask("looking at", lambda: self._client.get_collection(self.name))
        return info.indexed_vectors_count or 0

    def needs_index(self) -> bool:
        """The server indexes by itself."""
        return False

    def build_index(self, on_wait: Callable[[], None]) -> None:
        """Nothing to do, nothing to wait for."""

    def _ask(self, what: str, request: Callable[[], _Answer]) -> _Answer:
        return self._requests.make(request, f"{what} {self.name}", collection=self.name, check=self._check)

    def _look(self) -> bool:
        return self._requests.make(self._check, f"looking at {self.name}", collection=self.name)

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
        """The answers to requests of so many rows each, or of as few as the server is known to take."""
        done = 0
        while done < len(rows):
            size = min(at_once, self._fitting.get(what, at_once))
            yield from self._halved(what, rows[done : done + size], request)
            done += size

    def _halved(
        self, what: str, rows: Sequence[_Row], request: Callable[[Sequence[_Row]], _Answer]
    ) -> Iterator[_Answer]:
        """What is too large for the server goes in halves, down to a single row, and so does what follows."""
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
        """Sees that the server still has what was opened; whether a recorded dataset had to be put back.

        It drops a calibration that what is written outdates, also one that somebody has made meanwhile.

        Raises:
            CollectionMissingError: it was deleted, or deleted and made anew without what was written.
            ManifestError: another collection has taken its place.
        """
        info = _found(self._client, self.name)
        manifest = _same(info, self.manifest, f"collection {self.name} on {self._requests.label}")
        lost = {name: root for name, root in self._recorded.items() if name not in manifest.datasets}
        for name, root in lost.items():
            manifest = manifest.with_dataset(name, root)
        if lost:
            self._put_manifest(manifest)
        if self._outdates and manifest.calibration is not None:
            self._client.update_collection(self.name, metadata={_CALIBRATION: ""})
            manifest = manifest.with_calibration(None)
        self.manifest = manifest
        return bool(lost)

    def _put_manifest(self, manifest: CollectionManifest) -> None:
        self._client.update_collection(self.name, metadata={METADATA_KEY: _manifest_json(manifest)})


def _require_completed(*results: "models.UpdateResult") -> None:
    """A server that is short of time may answer a request that waits before the change is made."""
    from qdrant_client import models

    for result in results:
        if result.status is not models.UpdateStatus.COMPLETED:
            raise TimeoutError(f"the server has only noted the change ({result.status.value})")


def _parts(rows: Sequence[_Row], size: int) -> Iterator[Sequence[_Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _found(client: "QdrantClient", name: str) -> "models.CollectionInfo | None":
    """Asked in one request, whose "not found" is an answer."""
    try:
        return client.get_collection(name)
    except Exception as error:
        if fault_of(error).kind is not FaultKind.MISSING:
            raise
    return None


def _same(info: "models.CollectionInfo | None", opened: CollectionManifest, what: str) -> CollectionManifest:
    """The manifest that `info` holds, of the very collection whose manifest was `opened`."""
    if info is None:
        raise CollectionMissingError(f"{what} was deleted meanwhile; make it anew with: ingest run DIR")
    size, dimension = getattr(info.config.params.vectors, "size", "other"), opened.identity.dimension
    if _manifest_data(info) is None or size != dimension:
        raise ManifestError(
            f"{what} was replaced meanwhile by one that is not ours: there {size} values a vector "
            f"and {'a' if _manifest_data(info) else 'no'} manifest, here {dimension} values and the manifest "
            f"of {opened.identity.backbone}, {opened.distance}; it is left alone"
        )
    manifest = _manifest(info, opened.collection, what.rpartition(" on ")[2])
    if (manifest.identity, manifest.distance) != (opened.identity, opened.distance):
        manifest.require(opened.identity, opened.distance, name=opened.collection)
    if manifest.created_at != opened.created_at:
        raise CollectionMissingError(
            f"{what} was deleted and made anew meanwhile (at {manifest.created_at}; the one that was opened "
            f"is of {opened.created_at}); fill it with: ingest run DIR"
        )
    return manifest


def _manifest_data(info: "models.CollectionInfo") -> Mapping[str, Any] | None:
    data = (info.config.metadata or {}).get(METADATA_KEY)
    return data if isinstance(data, Mapping) else None


def _manifest_json(manifest: CollectionManifest) -> dict[str, Any]:
    """The manifest as it lies under its key, without what lies under another."""
    return manifest.with_calibration(None).to_json()


def _copier(info: "models.CollectionInfo") -> str:
    """Who is putting a collection together from a staged one; nobody as a rule."""
    return str((info.config.metadata or {}).get(_UNFINISHED) or "")


def _manifest(info: "models.CollectionInfo", name: str, label: str) -> CollectionManifest:
    calibration = (info.config.metadata or {}).get(_CALIBRATION)
    try:
        return CollectionManifest.from_json({**(_manifest_data(info) or {}), "calibration": calibration})
    except ManifestError as error:
        raise ManifestError(f"collection {name} on {label}: {error}") from error


def _quantization(quantize: StoredAs) -> "models.ScalarQuantization | models.TurboQuantization | None":
    """Source: https://qdrant.tech/documentation/guides/quantization/."""
    from qdrant_client import models

    if quantize is StoredAs.INT8:
        scalar = models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
        return models.ScalarQuantization(scalar=scalar)
    if quantize is StoredAs.INT4:
        turbo = models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS4, always_ram=True)
        return models.TurboQuantization(turbo=turbo)
    return None


def _params(quantize: StoredAs, *, exact: bool) -> "models.SearchParams":
    """An exact search looks at whole vectors only."""
    from qdrant_client import models

    oversampling = OVERSAMPLING.get(quantize)
    short = models.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=oversampling)
    return models.SearchParams(exact=exact, hnsw_ef=SEARCH_EF, quantization=short if oversampling else None)


def _filter(where: PointFilter) -> "models.Filter | None":
    from qdrant_client import models

    must: list[Any] = []
    if where.class_name is not None:
        must.append(
            models.FieldCondition(key="class", match=models.MatchValue(value=where.class_name))
            if where.class_name
            else models.IsEmptyCondition(is_empty=models.PayloadField(key="class"))
        )
    if where.dataset is not None:
        must.append(models.FieldCondition(key="dataset", match=models.MatchValue(value=where.dataset)))
    must_not: list[Any] = []
    if where.labelled:
        must_not.append(models.IsEmptyCondition(is_empty=models.PayloadField(key="class")))
    if where.excluded_sha256:
        any_of = models.MatchAny(any=sorted(where.excluded_sha256))
        must_not.append(models.FieldCondition(key="sha256", match=any_of))
    return models.Filter(must=must or None, must_not=must_not or None) if must or must_not else None


def _taken(name: str, label: str) -> str:
    return f"there is a collection {name} on {label} already; it is left alone"
