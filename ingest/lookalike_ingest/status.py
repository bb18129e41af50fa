"""Lists the collections of a store, with their counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lookalike_core.errors import CollectionMissingError
from lookalike_core.stores.bulk_reads import UNREADABLE, log_left_out
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.points import EVERYTHING
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server_cluster import Peer, ServerCluster, Sharding
from lookalike_exporter.compatibility import describe_outdated


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionStatus:
    """One collection; `datasets` and `classes` map names to numbers of points, with "" for no class.

    A dataset without points is listed with 0. `indexed` is how many points the search index has: others are
    compared one by one. `lacks_index` says that the server, or the next ingest, is to add some. `outdated`
    says how it differs from collections that this version makes, `rebuild_begun` that a rebuild is running or
    was interrupted. `sharding` is None unless the store is a server in a cluster, which may say it.
    """

    name: str
    manifest: CollectionManifest
    points: int
    datasets: Mapping[str, int]
    classes: Mapping[str, int]
    indexed: int
    lacks_index: bool
    outdated: Sequence[str]
    rebuild_begun: bool
    sharding: Sharding | None


def read_statuses(store: Store) -> Iterator[CollectionStatus]:
    """Yields every collection of ours, counted exactly; logs and leaves out those that cannot be read.

    A collection that is deleted in the meantime is left out silently.
    """
    cluster = store.cluster if find_peers(store) else None
    for name in store.names():
        try:
            yield _status(store, name, cluster)
        except CollectionMissingError:
            continue
        except UNREADABLE as error:
            log_left_out(name, error)


def find_peers(store: Store) -> list[Peer]:
    """Returns the peers of a server's cluster; none for a store that is in no cluster, or may not say it."""
    return [] if store.cluster is None else store.cluster.read_peers()


def _status(store: Store, name: str, cluster: ServerCluster | None) -> CollectionStatus:
    with store.open(name) as collection:
        points = collection.count(EVERYTHING)
        return CollectionStatus(
            name=name,
            manifest=collection.manifest,
            points=points,
            datasets=dict.fromkeys(collection.manifest.datasets, 0) | collection.tally("dataset"),
            classes=collection.tally("class"),
            indexed=min(collection.indexed_count(), points),
            lacks_index=collection.lacks_index(),
            outdated=describe_outdated(collection.manifest),
            rebuild_begun=staged_name(name) in store,
            sharding=None if cluster is None else cluster.read_sharding(name),
        )
