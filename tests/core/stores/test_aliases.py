"""Aliases on a server: an alias opens its collection, with that collection's manifest.

Qdrant's client in memory stands in for the server.
"""

from collections.abc import Callable

import pytest
from lookalike_core.errors import ManifestError
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.server import ServerStore
from qdrant_client import QdrantClient, models

pytestmark = pytest.mark.filterwarnings(
    "ignore:Payload indexes have no effect in the local Qdrant:UserWarning"
)


def test_a_collection_is_opened_by_its_alias_and_refused_with_anothers_manifest(
    manifest_of: Callable[..., CollectionManifest], point_of: Callable[..., ImagePoint]
) -> None:
    """The alias gives the same points; a swapped manifest is detected through it, too."""
    client = QdrantClient(":memory:")
    store = ServerStore(client, label="the client's in-memory mode")
    manifest, other = manifest_of(), manifest_of()
    for each in (manifest, other):
        store.create(each)
    alias = models.CreateAlias(collection_name=manifest.collection, alias_name="holiday")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    with store.open("holiday") as collection:
        collection.upsert([point_of("1.jpg", [1, 2, 3, 4])])
    assert store.manifest("holiday") == manifest
    with store.open(manifest.collection) as collection:
        assert collection.count() == 1
    client.update_collection(
        manifest.collection, metadata=client.get_collection(other.collection).config.metadata
    )
    with pytest.raises(
        ManifestError, match=f"has the manifest of {other.collection} and not that of {manifest.collection}"
    ):
        store.open("holiday")
    store.close()
