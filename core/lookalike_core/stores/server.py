"""The server store: collections of a Qdrant server, by qdrant-client.

The manifest is stored in the collection's `metadata` under `METADATA_KEY`, so it is created and deleted with
the collection. A collection without it is not ours and is never changed. The server builds its search index
by itself. `connection` creates the store.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from lookalike_core.errors import (
    CollectionMissingError,
    LookalikeError,
    ManifestError,
    PeersMissingError,
    StoreError,
    StoreRefusedError,
    UsageError,
)
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.stores.address import NO_SECRETS, Secrets, ServerConnection
from lookalike_core.stores.bulk_reads import log_left_out
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, VectorQuantization
from lookalike_core.stores.collection_names import (
    STAGED_SUFFIX,
    is_collection_name,
    require_own_name,
    staged_name,
)
from lookalike_core.stores.faults import FaultKind, fault_of
from lookalike_core.stores.missing_peers import explain_missing_peers
from lookalike_core.stores.points import FIRST_INDEXED, INDEXED_FIELDS
from lookalike_core.stores.rebuild_lease import Lease
from lookalike_core.stores.retries import Requests
from lookalike_core.stores.server_cluster import ServerCluster, layout_of
from lookalike_core.stores.server_collection import ServerCollection
from lookalike_core.stores.server_http import ServerHttp
from lookalike_core.stores.server_metadata import (
    ALIASES,
    COPIED_FROM,
    GENERATION,
    REBUILDER,
    UNFINISHED,
    WHOLE,
    copier_of,
    find_info,
    generation_of,
    is_ours,
    is_whole,
    manifest_data,
    manifest_json,
    noted_aliases,
    read_manifest,
    source_of_copy,
)
from lookalike_core.stores.server_names import Found, ServerNames
from lookalike_core.stores.server_reads import Reads
from lookalike_core.stores.server_requests import make_index, quantization_of
from lookalike_core.stores.server_snapshots import ServerSnapshots
from lookalike_core.stores.server_tuning import DEFAULT_SERVER_TUNING, ServerTuning
from lookalike_core.stores.strict_mode import Limits
from lookalike_core.stores.unfinished_copy import UnfinishedCopy

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models


class ServerStore:
    """The collections of one server; implements `Store`. `label` has no credentials."""

    local = None

    def __init__(
        self,
        client: "QdrantClient",
        *,
        label: str,
        secrets: Secrets = NO_SECRETS,
        reads: Reads | None = None,
        tuning: ServerTuning = DEFAULT_SERVER_TUNING,
        http: ServerHttp | None = None,
        connection: ServerConnection | None = None,
    ) -> None:
        self.label = label
        self.connection = connection
        self._client = client
        self._reads = reads
        self._tuning = tuning
        self._requests = Requests(
            label,
            secrets=secrets,
            policy=tuning.retries,
            explain_peers=None if http is None else partial(explain_missing_peers, http),
        )
        self._leases: dict[str, Lease] = {}
        self._names = ServerNames(client, self._requests)
        self.cluster = ServerCluster(self._requests, http, self._info)
        self.snapshots = ServerSnapshots(self, self._requests, http)

    def version(self) -> str:
        """Returns the server's version."""
        return self._requests.make(lambda: self._client.info().version, "asking for the version")

    def names(self) -> list[str]:
        """Returns the names after one request per collection: their list has no metadata.

        Logs and leaves out collections that lack peers: whether they are ours is not known.
        """
        unread: dict[str, StoreError] = {}
        ours = []
        for name, asked_as in self._names.list_all():
            try:
                if is_collection_name(asked_as) and is_ours(self._names.look(asked_as)):
                    ours.append(name)
            except (StoreRefusedError, PeersMissingError) as error:
                unread[name] = error
        if unread and not ours:  # perhaps a key that is out of date: not a store that is empty
            raise next(iter(unread.values()))
        for name, fault in unread.items():
            if isinstance(fault, PeersMissingError):  # a key may well be limited to other collections
                log_left_out(name, fault)
        return sorted(ours)

    def __contains__(self, name: str) -> bool:
        """Returns False also if the API key is limited to other collections."""
        try:
            return is_ours(self._info(name))
        except StoreRefusedError:
            return False

    def manifest(self, name: str) -> CollectionManifest:
        """Returns the manifest that the server has now."""
        return self._own_manifest(self._own(name).info, name)

    def create(
        self, manifest: CollectionManifest, *, name: str | None = None, layout: ClusterLayout | None = None
    ) -> None:
        """Creates the collection with its manifest in one request, then its payload indexes.

        From the first request on other processes may open it and write to it, so it is deleted again only if
        the server cannot make what was asked for. If it is interrupted, `open` completes it.

        A staged collection has the layout of the one that it is to replace, unless another is given.
        """
        name = name or manifest.collection
        metadata: dict[str, Any] = {METADATA_KEY: manifest_json(manifest.named(name))}
        if layout is not None:
            self.cluster.require_layout(layout)
        if name.endswith(STAGED_SUFFIX):
            old = self._info(name.removesuffix(STAGED_SUFFIX))
            metadata[GENERATION] = 1 + (generation_of(old) if old is not None else 0)
            layout = layout or (layout_of(old) if old is not None else None)
        self._create(name, manifest, metadata, layout)

    def create_copy(
        self, manifest: CollectionManifest, *, name: str, source: str, layout: ClusterLayout | None = None
    ) -> None:
        """Creates the collection with its manifest and the marks of a copy in one request."""
        if layout is not None:
            self.cluster.require_layout(layout)
        marks = {UNFINISHED: secrets.token_hex(8), COPIED_FROM: source}
        self._create(name, manifest, {METADATA_KEY: manifest_json(manifest.named(name)), **marks}, layout)

    def find_copy(self, name: str) -> UnfinishedCopy | None:
        """Reads the marks in the collection's metadata."""
        info = self._info(name)
        source = source_of_copy(info) if info is not None else ""
        if info is None or not source:
            return None
        return UnfinishedCopy(source=source, manifest=read_manifest(info, name, self.label))

    def open_copy(self, name: str) -> "ServerCollection":
        """Opens the collection, and completes its payload indexes if its creation was interrupted."""
        found = self._names.find(name)
        if found is None or not source_of_copy(found.info):
            raise CollectionMissingError(
                f"there is no unfinished copy {name} on {self.label}", collection=name
            )
        return self._opened(name, found, read_manifest(found.info, name, self.label))

    def _create(
        self,
        name: str,
        manifest: CollectionManifest,
        metadata: dict[str, Any],
        layout: ClusterLayout | None = None,
    ) -> None:
        self.require_new(name)
        real = name
        if name.endswith(STAGED_SUFFIX):
            real = self._names.real_staged_name(name)
            if self._names.look(real) is not None:  # it was replaced, and its deletion was interrupted
                self._delete(real)
        make = partial(self._make, real, manifest, metadata, layout or ClusterLayout())
        is_made = self._requests.make(make, f"creating collection {name}", collection=name)
        unfit = self._find_unfit(real, name, layout)
        if unfit is not None:
            if is_made:
                self._delete_empty(real)
            raise unfit
        self._index(real, list(INDEXED_FIELDS))  # others may write by now: what is left, `open` completes

    def open(self, name: str) -> "ServerCollection":
        """Opens a collection, and completes its payload indexes if its creation was interrupted."""
        found = self._own(name)
        if found.asked_as != name and not name.endswith(STAGED_SUFFIX):
            with suppress(LookalikeError):  # to be completed, if the key allows it
                self._names.point({name, *noted_aliases(found.info)}, found.asked_as, ())
        return self._opened(name, found, self._own_manifest(found.info, name))

    def _opened(self, name: str, found: Found, manifest: CollectionManifest) -> "ServerCollection":
        info, asked_as = found.info, found.asked_as
        self._index(asked_as, [field for field in FIRST_INDEXED if field not in info.payload_schema])
        return ServerCollection(
            self._client,
            name,
            manifest,
            requests=self._requests,
            reads=self._reads,
            limits=Limits.of(info),
            replicas=layout_of(info).replicas or 1,
            tuning=self._tuning,
            asked_as=asked_as,
        )

    def delete(self, name: str) -> None:
        """Deletes the collection in one request, after what rebuilds have left of it."""
        found = self._own(name)
        if name.endswith(STAGED_SUFFIX):
            self._delete(found.asked_as)
            return
        for real in self._names.find_others(name):
            info = self._names.look(real)
            if real != found.asked_as and info is not None and is_whole(info):
                self._delete(real)
        self._delete(self._names.read_aliases().get(name, found.asked_as))

    def resolve(self, name: str) -> str:
        """Resolves an alias with the server, as far as the API key may list aliases."""
        return self._names.resolve(name)

    def real_name(self, name: str) -> str:
        """Returns what the server calls a collection of ours, behind an alias if there is one.

        Raises:
            CollectionError: there is none, or it is unfinished or not ours.
        """
        return self._names.find_behind(name) or self._own(name).asked_as

    def require_new(self, name: str) -> None:
        """Refuses a name that a collection has already.

        Raises:
            ManifestError: it has.
        """
        if self._info(name) is not None:
            raise ManifestError(
                f"there is a collection {name} on {self.label} already; it was not changed", collection=name
            )

    def discard(self, name: str) -> None:
        """Deletes what the server has under a name, if it can: an error is on its way already."""
        with suppress(Exception):
            self._client.delete_collection(name)

    def rebuilding(self, name: str) -> AbstractContextManager[None]:
        """Holds a lease in the metadata of the collection, or of the staged one if that is left alone."""
        return self._leased(name, "rebuilt")

    def copying(self, name: str) -> AbstractContextManager[None]:
        """Holds a lease in the metadata of the collection."""
        return self._leased(name, "copied to")

    @contextmanager
    def _leased(self, name: str, doing: str) -> Iterator[None]:
        if self._info(name) is None and self._info(staged_name(name)) is None:
            yield  # nothing to rebuild; `replace` raises the error
            return

        def look() -> "tuple[str, models.CollectionInfo | None]":
            if (info := find_info(self._client, name)) is not None:
                return name, info
            there = self._names.real_staged_name(name)
            return there, find_info(self._client, there)

        requests = (
            self._requests.without_log()
        )  # they go beside those of the rebuild, which say what is wrong

        def read() -> Mapping[str, Any]:
            _, info = requests.make(look, f"checking {name}", collection=name)
            said = (info.config.metadata or {}).get(REBUILDER) if info is not None else None
            return said if isinstance(said, Mapping) else {}

        def write(said: Mapping[str, Any]) -> None:
            there, _ = look()
            put = partial(self._client.update_collection, there, metadata={REBUILDER: said or ""})
            requests.make(put, f"recording who changes {name}", collection=name)

        lease = Lease(name, read=read, write=write, times=self._tuning.lease, doing=doing)
        with lease.held():
            self._leases[name] = lease
            try:
                yield
            finally:
                del self._leases[name]

    def replace(self, name: str) -> None:
        """Gives the staged collection the name, and the aliases of the old one, in one request.

        Only an old collection that has the name itself, and no alias, must be deleted before. From then on
        the staged one, which is marked as whole and has its aliases noted, is found under the name.
        """
        lease = self._leases.get(name)
        if lease is not None:
            lease.require()
        if (behind := self.resolve(name)) != name:
            raise ManifestError(f"{name} is an alias of {behind}; it was not changed", collection=name)
        staged = self._own(staged_name(name))
        self.open(staged_name(name))  # completes its payload indexes
        old, aliases = self._names.look(name), self._names.read_aliases()
        if old is not None and not copier_of(old):
            self._own(name)
        live = aliases.get(name, name)
        known = {alias for alias, real in aliases.items() if real == live} | {name}
        lost = {alias for each in (old, staged.info) if each is not None for alias in noted_aliases(each)}
        named = sorted(known | (lost - aliases.keys()))
        record = {} if lease is None else {REBUILDER: lease.said}
        self._note(staged, name, {WHOLE: True, ALIASES: named, **record})
        if old is not None and live == name:
            self._delete(name)
        self._names.point(named, staged.asked_as, aliases)
        if live not in (name, staged.asked_as):
            self._delete(live)
        manifest = read_manifest(self._own(name).info, name, self.label).named(name)
        self._note(staged, name, {METADATA_KEY: manifest_json(manifest), ALIASES: ""})

    def _note(self, found: Found, name: str, metadata: Mapping[str, Any]) -> None:
        note = partial(self._client.update_collection, found.asked_as, metadata=dict(metadata))
        self._requests.make(note, f"writing the metadata of {name}", collection=name)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _delete(self, name: str) -> None:
        self._requests.make(
            lambda: self._client.delete_collection(name), f"deleting collection {name}", collection=name
        )

    def _make(
        self, name: str, manifest: CollectionManifest, metadata: dict[str, Any], layout: ClusterLayout
    ) -> bool:
        """Creates the collection, and returns whether this request did.

        If an earlier answer was lost, or a process that began in the same second was faster, it is there with
        the same manifest.
        """
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
                shard_number=layout.shards,
                replication_factor=layout.replicas,
                write_consistency_factor=layout.write_consistency,
                metadata=metadata,
            )
        except Exception as error:
            refused = fault_of(error).kind in (FaultKind.EXISTS, FaultKind.UNFIT)
            there = find_info(self._client, name) if refused else None
            if there is None or manifest_data(there) != metadata[METADATA_KEY]:
                raise
            return False
        return True

    def _find_unfit(self, real: str, name: str, layout: ClusterLayout | None) -> LookalikeError | None:
        """Returns why a new collection cannot be used; None if it can be.

        An old server drops the manifest silently. One may make another layout than asked for, or too few
        replicas for it.
        """
        info = self._names.look(real)
        if info is None:
            return CollectionMissingError(f"{name} was deleted in the meantime", collection=name)
        if manifest_data(info) is None:
            return StoreError(
                f"the server at {self.label} does not store metadata of collections; "
                "use Qdrant 1.16 or newer (docker compose up qdrant)",
                store=self.label,
            )
        layout, made = layout or ClusterLayout(), layout_of(info)
        if layout.find_difference(made) is not None:
            return StoreError(f"{self.label} made {name} with {made}, not {layout}", store=self.label)
        asked, replicas = layout.write_consistency or 1, made.replicas or 1
        if asked > replicas:
            return UsageError(
                f"a write cannot be confirmed by {asked} replicas: {self.label} makes {replicas} of each "
                "shard unless told otherwise",
                argument=Argument.WRITE_CONSISTENCY,
                hint=Hint(Action.USE, {Argument.REPLICAS: str(asked)}),
            )
        return None

    def _delete_empty(self, name: str) -> None:
        """Deletes a collection that nobody has written to."""
        with suppress(Exception):
            if not self._client.count(name, exact=True).count:
                self.discard(name)

    def _index(self, name: str, fields: Sequence[str]) -> None:
        for field in fields:
            make = partial(make_index, self._client, name, field)
            self._requests.make(make, f"indexing the payload of {name}", collection=name)

    def _own(self, name: str) -> Found:
        found = self._names.find(name)
        if found is None:
            raise CollectionMissingError(
                f"there is no collection {name} on {self.label}",
                collection=name,
                hint=Hint(Action.LIST_COLLECTIONS),
            )
        info = found.info
        if manifest_data(info) is None:
            raise ManifestError(
                f"{name} on {self.label} has no manifest of lookalike's; it was not changed", collection=name
            )
        if source := source_of_copy(info):
            copy = UnfinishedCopy(source=source, manifest=read_manifest(info, name, self.label))
            raise copy.error(name, place=self.label)
        if copier_of(info):
            raise ManifestError(
                f"{name} on {self.label} is unfinished: it is being rebuilt, or a rebuild was "
                "interrupted; wait for the rebuild to end",
                collection=name,
                hint=Hint(Action.CONTINUE_REBUILD_INSTEAD, {Argument.COLLECTION: name}),
            )
        return found

    def _own_manifest(self, info: "models.CollectionInfo", name: str) -> CollectionManifest:
        """Returns the manifest of a collection, which must be for its own name; an alias has another's."""
        manifest, place = read_manifest(info, name, self.label), f"{name} on {self.label}"
        try:
            require_own_name(manifest, name, place=place)
        except ManifestError:
            known_as = self._names.resolve(name)
            if known_as == name:
                raise
            require_own_name(manifest, known_as, place=place)
        return manifest

    def _info(self, name: str) -> "models.CollectionInfo | None":
        found = self._names.find(name)
        return None if found is None else found.info
