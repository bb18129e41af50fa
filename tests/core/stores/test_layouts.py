"""Shards, replicas and write consistency of new collections, on a server alone and in a cluster of three.

The cluster is the one that `QDRANT_CLUSTER_URLS` names, if any; a stand-in pretends to be one.
"""

from collections.abc import Callable

import pytest
from clusters import ClusterOfThree
from lookalike_core.errors import StoreError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.stores.cluster_layout import ClusterLayout, choose_layout
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.collection_names import staged_name
from lookalike_core.stores.connection import connect
from qdrant_stand_in import running_stand_in

NewManifest = Callable[..., CollectionManifest]
LAYOUT = ClusterLayout(shards=4, replicas=2, write_consistency=2)


def test_a_collection_is_made_with_the_layout(cluster: ClusterOfThree, manifest_of: NewManifest) -> None:
    """Each shard has as many replicas, on different peers; what is left out is the server's own."""
    with cluster.store() as store:
        for layout in (LAYOUT, ClusterLayout(shards=2)):
            manifest = manifest_of()
            store.create(manifest, layout=layout)
            found = store.cluster.find_layout(manifest.collection)
            assert found is not None
            assert layout.find_difference(found) is None
            sharding = store.cluster.read_sharding(manifest.collection)
            assert sharding is not None
            places = [(one.shard, one.peer) for one in sharding.placed]
            assert len(set(places)) == len(places) == (found.shards or 0) * (found.replicas or 0)
            store.delete(manifest.collection)
        assert store.cluster.find_layout("not-there") is None


def test_too_few_peers_are_refused_before_anything_is_made(
    cluster: ClusterOfThree, manifest_of: NewManifest
) -> None:
    """A server would make three replicas of nine, and say nothing."""
    manifest = manifest_of()
    with cluster.store() as store:
        with pytest.raises(UsageError, match="has 3 peers, too few for 9 replicas") as caught:
            store.create(manifest, layout=ClusterLayout(replicas=9))
        assert manifest.collection not in store
    assert caught.value.argument is Argument.REPLICAS
    assert caught.value.hint == Hint(Action.USE, {Argument.REPLICAS: "3"})


def test_a_server_alone_has_shards_and_no_replicas(manifest_of: NewManifest) -> None:
    """It is asked for its peers only if there shall be replicas."""
    with running_stand_in() as server:
        store = connect(server.url, api_key=None)
        manifest = manifest_of()
        store.create(manifest, layout=ClusterLayout(shards=3, replicas=1))
        assert store.cluster.find_layout(manifest.collection) == ClusterLayout(
            shards=3, replicas=1, write_consistency=1
        )
        with pytest.raises(UsageError, match="is one server alone, not a cluster, too few for 2 replicas"):
            store.create(manifest_of(), layout=ClusterLayout(replicas=2))
        assert store.names() == [manifest.collection]
        store.close()


def test_a_write_cannot_be_confirmed_by_more_replicas_than_there_are(manifest_of: NewManifest) -> None:
    """A server would ask for no more than there are; its own number of replicas is known afterwards."""
    with pytest.raises(UsageError, match="confirmed by 3 replicas where each shard has 2"):
        choose_layout(shards=None, replicas=2, write_consistency=3)
    with running_stand_in() as server:
        store = connect(server.url, api_key=None)
        manifest = manifest_of()
        with pytest.raises(UsageError, match="makes 1 of each shard unless told otherwise"):
            store.create(manifest, layout=ClusterLayout(write_consistency=2))
        assert manifest.collection not in store
        store.close()


def test_another_layout_than_asked_for_is_refused(
    manifest_of: NewManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collection is deleted again."""
    with running_stand_in() as server:
        monkeypatch.setattr(server, "layout_of_new", {"shard_number": 1})
        store = connect(server.url, api_key=None)
        manifest = manifest_of()
        with pytest.raises(StoreError, match=r"made .* with 1 shard, 1 replica of each, .*not 2 shards"):
            store.create(manifest, layout=ClusterLayout(shards=2))
        assert store.names() == []
        store.close()


def test_a_staged_collection_has_the_layout_of_the_old_one(
    cluster: ClusterOfThree, manifest_of: NewManifest
) -> None:
    """A rebuild keeps shards and replicas, unless it is asked for others."""
    manifest = manifest_of()
    name, other = manifest.collection, ClusterLayout(shards=2)
    with cluster.store() as store:
        store.create(manifest, layout=LAYOUT)
        for asked, expected in ((None, LAYOUT), (other, other)):
            store.create(manifest, name=staged_name(name), layout=asked)
            found = store.cluster.find_layout(staged_name(name))
            assert found is not None
            assert expected.find_difference(found) is None
            store.delete(staged_name(name))
        store.delete(name)
