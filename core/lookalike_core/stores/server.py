"""The server store: collections of a Qdrant server, spoken to through qdrant-client.

The manifest is the collection's `metadata` under `METADATA_KEY`, so it is made with the collection and goes
with it. A collection without it is not ours and is never touched. Its calibration and the revision of its
points lie beside it under keys of their own, since the server replaces the value of each key as a whole: a
process that records a dataset never puts back what another has dropped. The server builds its search index by
itself. `connection` makes the store.

Two writers at once are allowed, as Qdrant allows them. A manifest is read and then written as a whole,
so of two that add a dataset in the same instant one may undo the other; whoever is undone notices, at the
latest when the collection is released, and adds its dataset again.

A server keeps nothing reserved for us, so before each write, after each failure and when it is released
an open collection is looked at: it must still be the one that was opened.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import CollectionMissingError, ManifestError, StoreError, StoreRefusedError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.address import NO_SECRETS, Secrets
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
from lookalike_core.stores.faults import FaultKind, TooLargeError, fault_of
from lookalike_core.stores.points import (
    EVERYTHING,
    KEYWORD_FIELDS,
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
)
from lookalike_core.stores.rebuild_lease import Lease
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server_reads import Fields, ModelReads, Reads
from lookalike_core.stores.server_requests import filter_of, quantization_of, search_params
from lookalike_core.stores.server_tuning import DEFAULT_SERVER_TUNING, ServerTuning
from lookalike_core.stores.strict_mode import NO_LIMITS, Limits, within

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

MAX_BODY_BYTES = 16 * 2**20
"""Of one request, roughly: half of what Qdrant takes over HTTP unless it is configured otherwise."""

_UNFINISHED = "lookalike-unfinished"
"""In the metadata of a collection that `replace` is copying to: a token of the process that does."""

_REBUILDER = "lookalike-rebuilder"
"""In the metadata of a collection that is rebuilt: who does it; see `lease`."""

_ALIASES = "lookalike-aliases"
"""In the metadata of a collection that `replace` is copying to: the aliases that the old one had."""

_CALIBRATION = "lookalike-calibration"
"""In the metadata of a collection that is calibrated."""

_REVISION = "lookalike-revision"
"""In the metadata of a collection whose points were asked for their revision, until the next write."""

_VALUE_BYTES = 24  # one float32 in JSON, as the shortest text of its double, with the comma
_PAYLOAD_BYTES = 4096
_PAYLOADS_PER_REQUEST = 500
_IDS_PER_REQUEST = 10_000
_EVERY_VALUE = 2**31
_RECORD_TRIES = 5

_Row = TypeVar("_Row")
_Answer = TypeVar("_Answer")


class ServerStore:
    """The collections of one server; implements `Store`. `label` holds no credentials."""

    local = None

    def __init__(
        self,
        client: "QdrantClient",
        *,
        label: str,
        secrets: Secrets = NO_SECRETS,
        reads: Reads | None = None,
        tuning: ServerTuning = DEFAULT_SERVER_TUNING,
    ) -> None:
        self.label = label
        self._client = client
        self._reads = reads
        self._tuning = tuning
        self._requests = Requests(label, secrets=secrets, policy=tuning.retries)
        self._leases: dict[str, Lease] = {}

    def names(self) -> list[str]:
        """One request a collection: the list of them comes without metadata."""
        found = self._requests.make(
            lambda: [collection.name for collection in self._client.get_collections().collections],
            "listing collections",
        )
        refusals = []
        ours = []
        for name in found:
            try:
                if not name.endswith(STAGED_SUFFIX) and _is_ours(self._info(name)):
                    ours.append(name)
            except StoreRefusedError as error:
                refusals.append(error)
        if refusals and not ours:  # perhaps a key that is out of date: not a store that is empty
            raise refusals[0]
        return sorted(ours)

    def __contains__(self, name: str) -> bool:
        """As far as the key may see: one for a single collection may not even look for another."""
        try:
            return _is_ours(self._info(name))
        except StoreRefusedError:
            return False

    def manifest(self, name: str) -> CollectionManifest:
        """As the server has it now."""
        return self._own_manifest(self._own(name), name)

    def create(self, manifest: CollectionManifest, *, name: str | None = None) -> None:
        """Makes the collection with its manifest in one request, then its payload indexes."""
        name = name or manifest.collection
        self._create(name, manifest, {METADATA_KEY: _manifest_json(manifest.named(name))})

    def _create(self, name: str, manifest: CollectionManifest, metadata: dict[str, Any]) -> None:
        if self._info(name) is not None:
            raise ManifestError(_taken(name, self.label), collection=name)
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
        return ServerCollection(
            self._client,
            name,
            manifest,
            requests=self._requests,
            limits=Limits.of(info),
            tuning=self._tuning,
        )

    def delete(self, name: str) -> None:
        """One request."""
        self._own(name)
        self._delete(name)

    def resolve(self, name: str) -> str:
        """Asks the server for its aliases, as far as the key may see them."""
        return self._behind(name) or name

    def _behind(self, name: str) -> str | None:
        """Returns the collection behind an alias; None where `name` is none."""
        try:
            known = self._requests.make(
                lambda: self._client.get_aliases().aliases, f"looking for the alias {name}"
            )
        except StoreRefusedError:
            return None
        return next((alias.collection_name for alias in known if alias.alias_name == name), None)

    @contextmanager
    def rebuilding(self, name: str) -> Iterator[None]:
        """Said in the metadata of the collection, or where that is gone of what is staged for it."""
        if self._info(name) is None and self._info(staged_name(name)) is None:
            yield  # there is nothing to rebuild, which is for whoever tries to say
            return

        def look() -> "tuple[str, models.CollectionInfo | None]":
            info = _found(self._client, name)
            there = staged_name(name) if info is None else name
            return there, info or _found(self._client, there)

        requests = self._requests.unheard()  # they go beside those of the rebuild, which say what is wrong

        def read() -> Mapping[str, Any]:
            _, info = requests.make(look, f"looking at {name}", collection=name)
            said = (info.config.metadata or {}).get(_REBUILDER) if info is not None else None
            return said if isinstance(said, Mapping) else {}

        def write(said: Mapping[str, Any]) -> None:
            there, _ = look()
            put = partial(self._client.update_collection, there, metadata={_REBUILDER: said or ""})
            requests.make(put, f"noting the rebuild of {name}", collection=name)

        lease = Lease(name, read=read, write=write, times=self._tuning.lease)
        with lease.held():
            self._leases[name] = lease
            try:
                yield
            finally:
                del self._leases[name]

    def replace(self, name: str) -> None:
        """Copies the points, since a server cannot rename; until all are there, the copy is refused.

        Aliases of the old collection, which go with it, are given to the new one.
        """
        lease = self._leases.get(name)
        if lease is not None:
            lease.require()
        with self.open(staged_name(name)) as staged:
            info = self._info(name)
            aliases: list[str] = []
            if info is not None:
                if not _copier(info):
                    self._own(name)
                aliases = sorted({*_noted_aliases(info), *self._aliases_of(name)})
                self._delete(name)
            token = secrets.token_hex(8)
            manifest = staged.manifest.named(name)
            metadata = {METADATA_KEY: _manifest_json(manifest), _UNFINISHED: token, _ALIASES: aliases}
            if lease is not None:
                metadata[_REBUILDER] = lease.said
            self._create(name, manifest, metadata)
            with ServerCollection(
                self._client, name, manifest, requests=self._requests, tuning=self._tuning
            ) as collection:
                self._give_aliases(name, aliases)
                collection.take_over(staged, token)
        self._delete(staged_name(name))

    def _aliases_of(self, name: str) -> list[str]:
        found = self._requests.make(
            lambda: self._client.get_collection_aliases(name), f"looking at {name}", collection=name
        )
        return [alias.alias_name for alias in found.aliases]

    def _give_aliases(self, name: str, aliases: Sequence[str]) -> None:
        from qdrant_client import models

        given = [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=name, alias_name=alias)
            )
            for alias in aliases
        ]
        if given:
            give = partial(self._client.update_collection_aliases, given)
            self._requests.make(give, f"giving {name} its aliases", collection=name)

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
                    on_disk=None if manifest.vector_quantization is VectorQuantization.NONE else True,
                ),
                quantization_config=quantization_of(manifest.vector_quantization),
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
                "it takes Qdrant 1.16 or newer (docker compose up qdrant)",
                store=self.label,
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
            raise CollectionMissingError(f"there is no collection {name} on {self.label}", collection=name)
        if _manifest_data(info) is None:
            raise ManifestError(
                f"{name} on {self.label} has no manifest of ours; it is left alone", collection=name
            )
        if _copier(info):
            raise ManifestError(
                f"{name} on {self.label} is not finished: it is being rebuilt, or that was cut off; wait for "
                "the rebuild to end",
                collection=name,
                hint=Hint(Action.CONTINUE_REBUILD_INSTEAD, {Argument.COLLECTION: name}),
            )
        return info

    def _own_manifest(self, info: "models.CollectionInfo", name: str) -> CollectionManifest:
        """The manifest of a collection, which must be its own; an alias stands for another's name."""
        manifest, place = _manifest(info, name, self.label), f"{name} on {self.label}"
        try:
            require_own_name(manifest, name, place=place)
        except ManifestError:
            behind = self._behind(name)
            if behind is None:
                raise
            require_own_name(manifest, behind, place=place)
        return manifest

    def _info(self, name: str) -> "models.CollectionInfo | None":
        if not is_collection_name(name):
            return None

        def look() -> "models.CollectionInfo | None":
            return _found(self._client, name) if self._client.collection_exists(name) else None

        return self._requests.make(look, f"looking for {name}", collection=name)


class ServerCollection:
    """A collection on a server; implements `Collection`. Nothing is held, so nothing is released.

    Others may write to it at any time, so that no cache of its points can be kept.
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
        tuning: ServerTuning = DEFAULT_SERVER_TUNING,
    ) -> None:
        self.name = name
        self.manifest = manifest
        self._client = client
        self._requests = requests
        self._reads = reads or ModelReads(client)
        self._limits = limits
        self._tuning = tuning
        self._written = False
        self._has_changed_points = False
        """Whether vectors or classes were written, by requests that may still be on their way."""
        self._recorded: dict[str, tuple[str, FolderRules]] = {}
        self._fitting: dict[str, int] = {}
        self._rows = max(1, MAX_BODY_BYTES // (manifest.identity.dimension * _VALUE_BYTES + _PAYLOAD_BYTES))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `flush`; nothing where the block was left by an error."""
        if kind is None:
            self.flush()

    def flush(self) -> None:
        """After writing, sees once more that this is what was opened, with the datasets that it recorded."""
        if not self._written:
            return
        for _ in range(_RECORD_TRIES):
            if not self._look():
                break
        self._has_changed_points = False

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
        self._has_changed_points |= bool(points)
        at_once = within(self._rows, self._limits.written, self._limits.writes)
        self._write("writing points to", points, send, at_once=at_once)

    def replace_payloads(self, payloads: Sequence[Payload], *, same_classes: bool = False) -> None:
        """Many operations a request, by id, and the last one by a filter, which is waited for.

        What is not waited for is in the server's log, in its order, when the request is answered; an id that
        is not there is passed over. What goes by a filter goes to every shard, and each shard carries out
        what it has before, so that waiting for the last one is waiting for all of them. To wait for each
        takes five times as long.
        """
        from qdrant_client import models

        def overwrite(payload: Payload, **selected: Any) -> models.OverwritePayloadOperation:  # noqa: ANN401 - points or a filter
            overwritten = models.SetPayload(payload=payload.to_json(), **selected)
            return models.OverwritePayloadOperation(overwrite_payload=overwritten)

        def send(part: Sequence[Payload]) -> None:
            *first, last = part
            noted = [overwrite(payload, points=[payload.id]) for payload in first]
            if noted:
                self._client.batch_update_points(self.name, noted, wait=False)
            this_one = models.Filter(must=[models.HasIdCondition(has_id=[last.id])])
            waited_for = [overwrite(last, filter=this_one)]
            _require_completed(*self._client.batch_update_points(self.name, waited_for, wait=True))

        self._has_changed_points |= bool(payloads) and not same_classes
        at_once = within(_PAYLOADS_PER_REQUEST, self._limits.writes_a_second)
        self._write("writing payloads to", payloads, send, at_once=at_once)

    def delete(self, ids: Sequence[str]) -> None:
        """Thousands a request."""
        from qdrant_client import models

        def send(part: Sequence[str]) -> None:
            selected = models.PointIdsList(points=list(part))
            _require_completed(self._client.delete(self.name, selected, wait=True))

        self._has_changed_points |= bool(ids)
        at_once = within(_IDS_PER_REQUEST, self._limits.writes)
        self._write("deleting points from", ids, send, at_once=at_once)

    def scan(self, where: PointFilter = EVERYTHING) -> Iterator[Payload]:
        """Page by page."""
        for payload in self._payloads_of("reading", where, fields=True):
            yield Payload.from_json(payload)

    def _payloads_of(self, what: str, where: PointFilter, *, fields: Fields) -> Iterator[Mapping[str, Any]]:
        """All matching points in the order of their ids, with these fields of their payloads."""
        offset, size = None, within(self._tuning.scan_page, self._limits.found)
        while True:
            asked = filter_of(where, self._limits)
            page = partial(self._reads.page, self.name, where=asked, limit=size, offset=offset, fields=fields)
            try:
                payloads, offset = self._ask(what, page)
            except TooLargeError:
                if size == 1:
                    raise
                size //= 2
                continue
            yield from payloads
            if offset is None:
                return

    def vectors(self, ids: Sequence[str]) -> dict[str, FloatVector]:
        """In answers about as large as what `upsert` sends."""
        found: dict[str, FloatVector] = {}
        at_once = within(self._rows, self._limits.reads)
        read = partial(self._reads.vectors, self.name)
        for vectors in self._answers("reading vectors from", ids, read, at_once=at_once):
            found |= vectors
        return found

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        """Thousands a request."""
        found: dict[str, Payload] = {}
        at_once = within(self._tuning.scan_page, self._limits.reads)
        read = partial(self._reads.payloads, self.name)
        for payloads in self._answers("reading", ids, read, at_once=at_once):
            found |= {point: Payload.from_json(payload) for point, payload in payloads.items()}
        return found

    def count(self, where: PointFilter = EVERYTHING) -> int:
        """Exact, also where the server may only estimate: then all matching points are gone through."""
        if not self._limits.may_be_exact:
            return sum(1 for _ in self._payloads_of("counting", where, fields=False))
        found = filter_of(where, self._limits)
        return self._ask(
            "counting", lambda: self._client.count(self.name, count_filter=found, exact=True).count
        )

    def tally(self, field: str) -> dict[str, int]:
        """Exact facets, mended by `tallied`; counted here where the server gives fewer values at once."""
        values = self._facet(field) if self._limits.may_be_exact else None
        if values is not None:
            return tallied(values, field=field, points=self.count())
        payloads = self._payloads_of("counting", EVERYTHING, fields=[field])
        counts = Counter(payload.get(field) or "" for payload in payloads)
        return tallied(counts, field=field, points=counts.total())

    def _facet(self, field: str) -> dict[str, int] | None:
        """The server's own counts; None where it may have left some out."""
        limit = within(_EVERY_VALUE, self._limits.found)
        try:
            counts = self._ask("counting", partial(self._reads.facet, self.name, field, limit=limit))
        except TooLargeError:
            return None
        return counts if len(counts) < limit else None

    def query(
        self, vector: FloatVector, *, limit: int, where: PointFilter = EVERYTHING, exact: bool = False
    ) -> list[SearchHit]:
        """The server's own order: best first for both distances."""
        check_query(vector, dimension=self.manifest.identity.dimension)
        self._require_allowed(exact=exact)
        found: dict[str, SearchHit] = {}
        for start, size in self._pages(limit):
            search = partial(
                self._client.query_points,
                self.name,
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
        """In requests of a size that the server takes, many searches each."""
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
            return self._client.query_batch_points(self.name, requests)

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
        """Where each page of so many neighbours starts, and how many are on it.

        In a graph a later page may repeat what an earlier one has.
        """
        size = within(limit, self._limits.found)
        return [(start, min(size, limit - start)) for start in range(0, limit, size)]

    def _require_allowed(self, *, exact: bool) -> None:
        if exact and not self._limits.may_be_exact:
            raise StoreError(
                f"exact searches are not allowed in {self.name} on {self._requests.label} (strict mode, "
                "search_allow_exact); have them allowed there",
                store=self._requests.label,
                hint=Hint(Action.LEAVE_OUT_INSTEAD, {Argument.EXACT: None}),
            )

    def record_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> None:
        """Adds to the manifest as it is on the server now, and reads back whether that has lasted.

        Raises:
            StoreError: others write the manifest at the same time and undo it again and again.
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
            f"dataset {name} cannot be recorded in {self.name} on {self._requests.label}: others write its "
            "manifest all the time; wait until they are done",
            store=self._requests.label,
            hint=Hint(Action.REPEAT),
        )

    def forget_dataset(self, name: str) -> None:
        """Takes it out of the manifest as it is on the server now."""
        self._written = True
        self._recorded.pop(name, None)
        self._look()
        forgotten = partial(self._put_manifest, self.manifest.without_dataset(name))
        self._ask("writing the manifest of", forgotten)
        self._look()

    def mark_revision(self) -> str:
        """Keeps the revision that the points have on the server, so that several may calibrate at once."""
        self._look()
        self._has_changed_points = False
        revision = self.manifest.revision or new_revision()
        if revision != self.manifest.revision:
            mark = partial(self._client.update_collection, self.name, metadata={_REVISION: revision})
            self._ask("writing the revision of", mark)
            self.manifest = self.manifest.with_revision(revision)
        return revision

    def record_calibration(self, calibration: Calibration) -> None:
        """Writes it beside the manifest; a write that comes between the look and that makes it stale."""
        self._written = True
        self._look()
        self.manifest.require_revision(calibration.revision, name=self.name)
        self._has_changed_points = False
        data = {_CALIBRATION: calibration.to_json()}
        record = partial(self._client.update_collection, self.name, metadata=data)
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
                f"{source.name} changed while it was copied",
                hint=Hint(Action.CONTINUE_REBUILD, {Argument.COLLECTION: self.name}),
            )
        finished = {METADATA_KEY: _manifest_json(self.manifest), _UNFINISHED: "", _ALIASES: ""}
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

        Where vectors or classes are written, it takes the revision away, also one that was marked meanwhile.

        Raises:
            CollectionMissingError: it was deleted, or deleted and made anew without what was written.
            ManifestError: another collection has taken its place.
        """
        info = _found(self._client, self.name)
        manifest = _same(info, self.manifest, f"collection {self.name} on {self._requests.label}")
        self._limits = NO_LIMITS if info is None else Limits.of(info)
        lost = {name: what for name, what in self._recorded.items() if name not in manifest.datasets}
        for name, (root, rules) in lost.items():
            manifest = manifest.with_dataset(name, root, rules)
        if lost:
            self._put_manifest(manifest)
        if self._has_changed_points and not manifest.is_unmarked:
            self._client.update_collection(self.name, metadata={_REVISION: "", _CALIBRATION: ""})
            manifest = manifest.with_revision(None)
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
        raise CollectionMissingError(
            f"{what} was deleted meanwhile", collection=opened.collection, hint=Hint(Action.INGEST)
        )
    size, dimension = getattr(info.config.params.vectors, "size", "other"), opened.identity.dimension
    if _manifest_data(info) is None or size != dimension:
        raise ManifestError(
            f"{what} was replaced meanwhile by one that is not ours: there {size} values a vector "
            f"and {'a' if _manifest_data(info) else 'no'} manifest, here {dimension} values and the manifest "
            f"of {opened.identity.backbone}, {opened.distance}; it is left alone",
            collection=opened.collection,
        )
    manifest = _manifest(info, opened.collection, what.rpartition(" on ")[2])
    if (manifest.identity, manifest.distance) != (opened.identity, opened.distance):
        manifest.require(opened.identity, opened.distance, name=opened.collection)
    if manifest.created_at != opened.created_at:
        raise CollectionMissingError(
            f"{what} was deleted and made anew meanwhile (at {manifest.created_at}; the one that was opened "
            f"is of {opened.created_at})",
            collection=opened.collection,
            hint=Hint(Action.FILL),
        )
    return manifest


def _manifest_data(info: "models.CollectionInfo") -> Mapping[str, Any] | None:
    data = (info.config.metadata or {}).get(METADATA_KEY)
    return data if isinstance(data, Mapping) else None


def _manifest_json(manifest: CollectionManifest) -> dict[str, Any]:
    """The manifest as it lies under its key, without what lies under others."""
    return manifest.with_revision(None).to_json()


def _is_ours(info: "models.CollectionInfo | None") -> bool:
    """Whether it is there, whole, and has a manifest."""
    return info is not None and _manifest_data(info) is not None and not _copier(info)


def _copier(info: "models.CollectionInfo") -> str:
    """Who is putting a collection together from a staged one; nobody as a rule."""
    return str((info.config.metadata or {}).get(_UNFINISHED) or "")


def _noted_aliases(info: "models.CollectionInfo") -> list[str]:
    """Of a copy that was cut off: those that the collection had that it replaces."""
    return [str(alias) for alias in (info.config.metadata or {}).get(_ALIASES) or ()]


def _manifest(info: "models.CollectionInfo", name: str, label: str) -> CollectionManifest:
    metadata = info.config.metadata or {}
    learned = {"calibration": metadata.get(_CALIBRATION), "revision": metadata.get(_REVISION)}
    try:
        return CollectionManifest.from_json({**(_manifest_data(info) or {}), **learned})
    except ManifestError as error:
        raise ManifestError(
            f"collection {name} on {label}: {error}", collection=name, hint=error.hint
        ) from error


def _taken(name: str, label: str) -> str:
    return f"there is a collection {name} on {label} already; it is left alone"
