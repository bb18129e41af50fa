"""What an ingest, a copy and an import do at their end in an embedded store."""

from pathlib import Path

import pytest
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.edge_shard import find_unindexed
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import PointFilter, point_id
from lookalike_ingest.target import complete_written
from made_collections import manifest_of, point_of, random_vectors


def unindexed(collection: EmbeddedCollection) -> list[str]:
    """Returns the payload fields without an index."""
    return collection._shard.ask(find_unindexed)  # noqa: SLF001 - nothing that it finds depends on it


@pytest.mark.parametrize("indexed_above_kb", [1, 10_000])
def test_every_payload_field_has_an_index_in_the_end(tmp_path: Path, indexed_above_kb: int) -> None:
    """Whether the collection is large enough for a search index or not."""
    store = EmbeddedStore(tmp_path / "qdrant", tuning=EngineTuning(indexed_above_kb=indexed_above_kb))
    manifest = manifest_of(Distance.COSINE, 16, {"data": "/data"})
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        vectors = random_vectors(100, 16)
        collection.upsert([point_of(f"{n}.jpg", vector) for n, vector in enumerate(vectors)])
        assert unindexed(collection) == ["sha256", "width", "taken_at"]
        complete_written(collection)
        assert unindexed(collection) == []
        assert collection.indexed_count() == (100 if indexed_above_kb == 1 else 0)
        assert collection.upkeep.is_cache_valid
        [known] = list(collection.payloads([point_id("data", "7.jpg")]).values())
    with store.open(manifest.collection) as collection:
        assert unindexed(collection) == []
        same = PointFilter(only_sha256=frozenset({known.sha256}))
        assert [payload.path for payload in collection.scan(same)] == ["7.jpg"]
        assert collection.upkeep.is_cache_valid
