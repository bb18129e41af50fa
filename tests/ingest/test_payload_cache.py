"""The payload cache beside a collection: it equals the store, or is not valid."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lookalike_core.errors import StoreError
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.embedded_collection import EmbeddedCollection
from lookalike_core.stores.points import Payload, PointFilter
from lookalike_ingest.payload_cache import PayloadCache
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from refusals import refuses

POINT = Payload(
    dataset="data",
    path="cat/1.jpg",
    class_name=None,
    sha256="a" * 64,
    width=640,
    height=480,
    bytes=1000,
    mtime_ns=2**63,
    ingested_at="2026-01-01T00:00:00+00:00",
    moved_from="cat/0.jpg",
    ctime_ns=2**63 + 1,
    taken_at="2262-04-12T00:00:00+00:00",
)
"""A payload with a time after the year 2262, which does not fit into a signed 64-bit integer."""

Ingest = Callable[..., IngestReport]


@pytest.fixture
def ingest(tmp_path: Path, home: Settings, tiny_spec: object, draw: Callable[..., list[Path]]) -> Ingest:
    """Brings a collection up to date with three images in `tmp_path/data`."""
    draw(tmp_path / "data", "a/1.png", "a/2.png", "b/3.png")

    def run(**options: bool) -> IngestReport:
        request = IngestRequest(
            dataset=Dataset(name="data", root=tmp_path / "data"),
            specs=[tiny_spec],  # type: ignore[list-item] - a fixture of ours
            distances=[Distance.COSINE],
            **options,  # type: ignore[arg-type] - flags alone
        )
        store = EmbeddedStore(home.qdrant_dir)
        return run_ingest(request, store=store, settings=home, stop=StopRequest())

    return run


@pytest.fixture
def opened(home: Settings) -> Callable[[], EmbeddedCollection]:
    """Returns a function that opens the only collection."""

    def open_it() -> EmbeddedCollection:
        store = EmbeddedStore(home.qdrant_dir)
        return store.open(store.names()[0])

    return open_it


def listed(collection: EmbeddedCollection) -> set[Payload]:
    """Returns the payloads in the cache beside a collection, read with SQLite alone."""
    with sqlite3.connect(collection.upkeep.cache_file) as database:
        found = database.execute("SELECT * FROM points")
        names = [column[0] for column in found.description]
        rows = found.fetchall()
    return {Payload(**dict(zip(names, row, strict=True))) for row in rows}


def test_a_payload_survives_the_round_trip() -> None:
    """Each field keeps its type, including integers beyond 64 bits."""
    assert list(PayloadCache.of([POINT]).find_bytes("a" * 64)) == [POINT]
    assert PayloadCache.of([POINT]).see("data", ["cat/1.jpg", "none.jpg"]) == {
        "cat/1.jpg": (None, None, 1000, 2**63, 2**63 + 1, True, None)
    }


def test_unsaved_changes_are_rolled_back(tmp_path: Path) -> None:
    """A dry run changes the same database file."""
    other = replace(POINT, path="cat/2.jpg")
    PayloadCache.of([POINT]).save(tmp_path / "points.db")
    cache = PayloadCache.load(tmp_path / "points.db")
    assert cache is not None
    cache.put(other)
    assert list(cache.find_bytes("a" * 64)) == [POINT, other]
    cache.close()
    again = PayloadCache.load(tmp_path / "points.db")
    assert again is not None
    assert list(again.find_bytes("a" * 64)) == [POINT]


def test_a_file_that_is_not_a_payload_cache_is_not_loaded(tmp_path: Path) -> None:
    """The ingest then builds the cache again from the store."""
    (tmp_path / "points.db").write_bytes(b"x" * 5000)
    assert PayloadCache.load(tmp_path / "points.db") is None
    assert PayloadCache.load(tmp_path / "missing.db") is None
    sqlite3.connect(tmp_path / "other.db").execute("PRAGMA user_version = 99").connection.commit()
    assert PayloadCache.load(tmp_path / "other.db") is None


def test_a_damaged_payload_cache_names_its_file(tmp_path: Path) -> None:
    """It raises our error, and not one of SQLite."""
    file = tmp_path / "points.db"
    PayloadCache.of([replace(POINT, path=f"{number}.jpg") for number in range(2000)]).save(file)
    with file.open("rb+") as stream:
        stream.seek(4096)
        stream.write(os.urandom(file.stat().st_size - 4096))
    cache = PayloadCache.load(file)
    assert cache is not None
    with refuses(StoreError, match=r"points\.db: .*remove it; run the same command again"):
        cache.see("data", ["7.jpg"])


def test_an_ingest_saves_what_the_store_holds(
    ingest: Ingest, opened: Callable[[], EmbeddedCollection]
) -> None:
    """This holds for the first ingest and for one with changes."""
    for _ in range(2):
        ingest()
        with opened() as collection:
            assert collection.upkeep.is_cache_valid
            assert listed(collection) == set(collection.scan())
        file = next(path for path in (collection.upkeep.cache_file.parents[3] / "data").rglob("1.png"))
        os.utime(file, ns=(1, 1))


def test_an_unchanged_ingest_does_not_load_the_shard(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes time and memory."""
    ingest()
    monkeypatch.setattr(EmbeddedCollection, "load", lambda _: pytest.fail("loaded"))
    monkeypatch.setattr("qdrant_edge.EdgeShard.load", lambda _: pytest.fail("loaded"))
    [collection] = ingest().collections
    assert collection.counts == {"unchanged": 3, "removed": 0}


def test_any_other_write_invalidates_the_payload_cache(
    ingest: Ingest, opened: Callable[[], EmbeddedCollection]
) -> None:
    """The next ingest reads the store, and adds the missing image."""
    ingest()
    with opened() as collection:
        gone = next(iter(collection.scan(PointFilter(classes=frozenset({"b"})))))
        collection.delete([gone.id])
        assert not collection.upkeep.is_cache_valid
    with opened() as collection:
        assert not collection.upkeep.is_cache_valid
    [report] = ingest().collections
    assert (report.counts["added"], report.counts["unchanged"]) == (1, 2)


def test_a_dry_run_leaves_the_payload_cache_as_it_was(
    ingest: Ingest, opened: Callable[[], EmbeddedCollection], tmp_path: Path
) -> None:
    """Its moves and additions are rolled back."""
    ingest()
    (tmp_path / "data/a/1.png").rename(tmp_path / "data/a/9.png")
    for _ in range(2):
        assert ingest(dry_run=True).collections[0].counts["moved"] == 1
    with opened() as collection:
        assert collection.upkeep.is_cache_valid
        assert listed(collection) == set(collection.scan())


def test_pruned_points_are_removed_from_the_payload_cache(
    ingest: Ingest, opened: Callable[[], EmbeddedCollection], tmp_path: Path
) -> None:
    """Otherwise every run would prune them again."""
    ingest()
    (tmp_path / "data/a/1.png").unlink()
    assert ingest(prune=True).collections[0].removed == ["a/1.png"]
    assert ingest(prune=True).collections[0].removed == []
    with opened() as collection:
        assert listed(collection) == set(collection.scan())
