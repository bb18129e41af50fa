"""Shards and replicas of collections that copies and imports make.

The cluster is the one that `QDRANT_CLUSTER_URLS` names, if any; a stand-in pretends to be one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from clusters import running_cluster
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.settings import Settings
from lookalike_core.stores.cluster_layout import ClusterLayout
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.protocol import Store
from lookalike_core.stores.server import ServerStore
from lookalike_core.tables.parquet import open_parquet
from lookalike_core.tables.rows import TableBatch
from lookalike_ingest.copying import copy_collection
from lookalike_ingest.request import StopRequest
from lookalike_ingest.table_import import import_table
from made_collections import manifest_of, point_of, random_vectors

LAYOUT = ClusterLayout(shards=4, replicas=2, write_consistency=2)
OTHER = ClusterLayout(shards=3)
COUNT = 5

MakeIn = Callable[[Store, ClusterLayout | None], int]


@pytest.fixture
def there() -> Iterator[ServerStore]:
    """Yields a store of a cluster."""
    with running_cluster() as cluster, cluster.store() as store:
        yield store


@pytest.fixture
def manifest(there: ServerStore) -> Iterator[CollectionManifest]:
    """Yields the manifest of a collection, which is deleted from the cluster after the test."""
    one = manifest_of(Distance.COSINE, 4)
    yield one
    if one.collection in there:
        there.delete(one.collection)


@pytest.fixture
def here(tmp_path: Path, manifest: CollectionManifest) -> EmbeddedStore:
    """Returns an embedded store that has the collection."""
    store = EmbeddedStore(tmp_path / "here")
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([point_of(f"{n}.png", vector) for n, vector in enumerate(random_vectors(COUNT, 4))])
    return store


@pytest.fixture(params=["copied", "imported"])
def make_in(
    request: pytest.FixtureRequest, here: EmbeddedStore, manifest: CollectionManifest, tmp_path: Path
) -> MakeIn:
    """Returns a function that makes the collection in another store, and returns how many points it has."""
    if request.param == "copied":
        return lambda store, layout: (
            copy_collection(manifest.collection, store=here, to=store, layout=layout).points
        )
    with here.open(manifest.collection) as collection:
        payloads = list(collection.scan())
        vectors = collection.vectors([payload.id for payload in payloads])
    rows = np.stack([vectors[payload.id] for payload in payloads])
    with open_parquet(tmp_path / "a.parquet", manifest, with_images=False) as writer:
        writer.write(TableBatch(payloads=payloads, vectors=rows))
    settings = Settings(home=tmp_path / "home", provider="cpu")
    return lambda store, layout: (
        import_table(
            tmp_path / "a.parquet", store=store, settings=settings, stop=StopRequest(), layout=layout
        ).points
    )


def test_a_new_collection_has_the_layout(
    make_in: MakeIn, there: ServerStore, manifest: CollectionManifest
) -> None:
    """The same call, and one without a layout, is accepted again; another layout changes nothing."""
    for layout in (LAYOUT, LAYOUT, None):
        assert make_in(there, layout) == COUNT
        assert there.cluster.find_layout(manifest.collection) == LAYOUT
    with pytest.raises(UsageError, match="with another layout, 4 shards, 2 replicas of each") as caught:
        make_in(there, OTHER)
    assert caught.value.hint == Hint(
        Action.CHANGE_LAYOUT, {Argument.COLLECTION: manifest.collection, Argument.SHARDS: "3"}
    )
    assert there.cluster.find_layout(manifest.collection) == LAYOUT


def test_a_layout_that_cannot_be_had_is_refused(
    make_in: MakeIn, there: ServerStore, tmp_path: Path, manifest: CollectionManifest
) -> None:
    """Nothing is made: of more replicas than peers, or in an embedded store."""
    with pytest.raises(UsageError, match="too few for 9 replicas") as caught:
        make_in(there, ClusterLayout(replicas=9))
    assert caught.value.argument is Argument.REPLICAS
    assert manifest.collection not in there
    embedded = EmbeddedStore(tmp_path / "embedded")
    with pytest.raises(UsageError, match="an embedded store has neither shards nor replicas"):
        make_in(embedded, OTHER)
    assert embedded.names() == []


def test_an_unfinished_copy_keeps_its_layout(
    here: EmbeddedStore, there: ServerStore, manifest: CollectionManifest
) -> None:
    """It is continued with the same layout or without, and cannot be rebuilt."""
    name = manifest.collection
    there.create_copy(manifest, name=name, source="here", layout=LAYOUT)
    with pytest.raises(UsageError, match="with another layout") as caught:
        copy_collection(name, store=here, to=there, layout=OTHER)
    assert caught.value.hint == Hint(Action.LEAVE_OUT, {Argument.SHARDS: None})
    assert copy_collection(name, store=here, to=there, layout=LAYOUT).points == COUNT
    assert there.cluster.find_layout(name) == LAYOUT


def test_a_copy_of_another_name_is_not_advised_to_be_rebuilt(
    here: EmbeddedStore, there: ServerStore, manifest: CollectionManifest
) -> None:
    """Only collections of a model's own name are rebuilt."""
    name = f"{manifest.collection}-twin"
    copy_collection(manifest.collection, store=here, to=there, as_name=name, layout=LAYOUT)
    with pytest.raises(UsageError, match="with another layout") as caught:
        copy_collection(manifest.collection, store=here, to=there, as_name=name, layout=OTHER)
    there.delete(name)
    assert caught.value.hint == Hint(Action.LEAVE_OUT, {Argument.SHARDS: None})
