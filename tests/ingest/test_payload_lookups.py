"""Payloads of a collection on a server, looked up in batches instead of read as a whole."""

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import StoreError
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.connection import connect
from lookalike_core.stores.points import ImagePoint, Payload
from lookalike_core.stores.protocol import Collection
from lookalike_core.stores.server import ServerStore
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest import payload_lookups
from lookalike_ingest.known_payloads import Stamp
from lookalike_ingest.payload_lookups import PayloadLookups, _Recent
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from made_collections import manifest_of
from qdrant_stand_in import QdrantStandIn, running_stand_in

IMAGES = 600
"""More than two batches of look-ups, and fewer than one page of a scan."""

POINT = Payload(
    dataset="data",
    path="cat/1.jpg",
    class_name="cat",
    sha256="a" * 64,
    width=640,
    height=480,
    bytes=1000,
    mtime_ns=111,
    ingested_at="2026-01-01T00:00:00+00:00",
    taken_at="2025-12-31T00:00:00+00:00",
)


@dataclass(kw_only=True)
class Counted:
    """A stand-in for a server, the store on it, and the requests that it has answered."""

    server: QdrantStandIn
    store: ServerStore
    requests: Counter[str]

    @property
    def reads(self) -> dict[str, int]:
        """Returns how often points were read since the last call: by ids, scrolled, or counted."""
        kinds = {"points": "by id", "points/scroll": "scrolled", "points/count": "counted"}
        seen = {kind: self.requests.get(f"POST {end}", 0) for end, kind in kinds.items()}
        self.requests.clear()
        return seen


@pytest.fixture
def counted() -> Iterator[Counted]:
    """Starts a stand-in that counts its requests by their last words."""
    requests: Counter[str] = Counter()
    with running_stand_in() as server:
        answer = server.answer

        def count(method: str, path: str, query: str, key: str | None, body: bytes) -> tuple[int, Any]:
            requests[f"{method} {'/'.join(path.split('/')[3:])}"] += 1
            return answer(method, path, query, key, body)

        server.answer = count  # type: ignore[method-assign]
        store = connect(server.url, api_key=None)
        yield Counted(server=server, store=store, requests=requests)
        store.close()


@pytest.fixture
def collection(counted: Counted) -> Iterator[Collection]:
    """Makes a collection of three points: two of the same bytes, and one of another dataset."""
    manifest = manifest_of(datasets={"data": "/data", "other": "/other"})
    counted.store.create(manifest)
    twin = replace(POINT, path="cat/2.jpg")
    other = replace(POINT, dataset="other", path="3.jpg", sha256="b" * 64)
    with counted.store.open(manifest.collection) as opened:
        opened.upsert([ImagePoint(payload=p, vector=np.ones(2, np.float32)) for p in (POINT, twin, other)])
        yield opened


@pytest.fixture
def lookups(collection: Collection) -> Iterator[PayloadLookups]:
    """Opens look-ups in the collection."""
    opened = PayloadLookups(lambda: collection)
    yield opened
    opened.close()


def test_points_are_found_by_path_and_by_bytes(lookups: PayloadLookups) -> None:
    """Payloads are those of the collection; a path without a point has none."""
    assert lookups.see("data", ["cat/1.jpg", "none.jpg"]) == {"cat/1.jpg": Stamp.of(POINT)}
    assert lookups.find("data", "cat/1.jpg") == POINT
    assert lookups.find("data", "none.jpg") is None
    assert {each.path for each in lookups.find_bytes("a" * 64)} == {"cat/1.jpg", "cat/2.jpg"}
    assert list(lookups.find_bytes("c" * 64)) == []


def test_a_question_is_asked_once(lookups: PayloadLookups, counted: Counted) -> None:
    """Paths and hashes are looked up together, and their answers are at hand afterwards."""
    _ = counted.reads
    lookups.see("data", ["cat/1.jpg", "cat/2.jpg", "none.jpg"])
    lookups.prefetch_bytes({"a" * 64, "c" * 64})
    assert counted.reads == {"by id": 1, "scrolled": 1, "counted": 0}
    assert [lookups.find("data", f"{name}.jpg") is None for name in ("cat/1", "none")] == [False, True]
    assert lookups.has_bytes("a" * 64)
    assert not lookups.has_bytes("c" * 64)
    assert len(list(lookups.find_bytes("a" * 64))) == 2
    assert counted.reads == {"by id": 0, "scrolled": 0, "counted": 0}


def test_what_this_ingest_writes_supersedes_earlier_answers(lookups: PayloadLookups) -> None:
    """Whether a dry run or not: nothing else keeps the payloads until the end."""
    lookups.see("data", ["cat/1.jpg", "cat/2.jpg"])
    lookups.prefetch_bytes({"a" * 64})
    updated, added = replace(POINT, sha256="c" * 64), replace(POINT, path="cat/4.jpg", sha256="d" * 64)
    lookups.put(updated)
    lookups.put(added)
    lookups.drop(replace(POINT, path="cat/2.jpg"))
    assert lookups.find("data", "cat/1.jpg") == updated
    assert lookups.find("data", "cat/2.jpg") is None
    assert list(lookups.find_bytes("a" * 64)) == []
    assert not lookups.has_bytes("a" * 64)
    assert list(lookups.find_bytes("d" * 64)) == [added]
    assert lookups.see("data", ["cat/2.jpg", "cat/4.jpg"]) == {"cat/4.jpg": Stamp.of(added)}


def test_points_whose_files_were_not_seen_are_found(lookups: PayloadLookups) -> None:
    """Those of other datasets are not asked for; a deleted point is none."""
    lookups.see("data", ["cat/1.jpg"])
    assert [each.path for each in lookups.find_unseen("data")] == ["cat/2.jpg"]
    lookups.mark_seen("data", "cat/1.jpg", seen=False)
    assert {each.path for each in lookups.find_unseen("data")} == {"cat/1.jpg", "cat/2.jpg"}
    lookups.drop(POINT)
    assert [each.path for each in lookups.find_unseen("data")] == ["cat/2.jpg"]


def test_no_id_is_read_where_the_number_of_points_says_that_all_were_seen(
    lookups: PayloadLookups, counted: Counted
) -> None:
    """One request counts them."""
    lookups.see("data", ["cat/1.jpg", "cat/2.jpg"])
    _ = counted.reads
    assert list(lookups.find_unseen("data")) == []
    assert counted.reads == {"by id": 0, "scrolled": 0, "counted": 1}


def test_a_dry_run_does_not_count_what_it_would_write(collection: Collection) -> None:
    """One image that it would add does not hide another that has vanished."""
    lookups = PayloadLookups(lambda: collection, dry_run=True)
    lookups.see("data", ["cat/1.jpg", "cat/4.jpg"])
    lookups.put(replace(POINT, path="cat/4.jpg"))
    lookups.mark_seen("data", "cat/4.jpg")
    assert [each.path for each in lookups.find_unseen("data")] == ["cat/2.jpg"]
    lookups.close()


def test_shared_bytes_are_counted_after_a_sample_has_any(
    lookups: PayloadLookups, collection: Collection, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset that shares none of a sample is not read to its end."""
    assert lookups.count_shared("other", "data") == (1, 0)
    shared = replace(POINT, dataset="other", path="5.jpg")
    collection.upsert([ImagePoint(payload=shared, vector=np.ones(2, np.float32))])
    assert lookups.count_shared("other", "data") == (2, 1)
    many = [replace(POINT, dataset="other", path=f"{n}.png", sha256=f"{n:064}") for n in range(600)]
    collection.upsert([ImagePoint(payload=each, vector=np.ones(2, np.float32)) for each in many])
    collection.delete([shared.id])
    monkeypatch.setattr(payload_lookups, "SAMPLE", 100)
    _ = counted.reads
    assert lookups.count_shared("other", "data") == (601, 0)
    assert counted.reads["counted"] == 1


def test_folders_are_those_of_the_images(lookups: PayloadLookups) -> None:
    """Those of images that were written just now are among them."""
    lookups.put(replace(POINT, path="dog/small/1.jpg"))
    assert lookups.list_folders("data") == {"cat", "dog/small"}
    assert lookups.list_folders("other") == {""}


def test_an_empty_collection_is_not_asked(counted: Counted) -> None:
    """The files of a first ingest are hashed once, and looked up in what it has written itself."""
    manifest = manifest_of()
    counted.store.create(manifest)
    with counted.store.open(manifest.collection) as empty:
        lookups = PayloadLookups(lambda: empty)
        assert lookups.hashed_at_once == 0
        _ = counted.reads
        assert lookups.see("data", ["cat/1.jpg"]) == {}
        lookups.put(POINT)
        assert list(lookups.find_bytes("a" * 64)) == [POINT]
        assert counted.reads == {"by id": 0, "scrolled": 0, "counted": 0}
        lookups.close()


def test_the_latest_answers_are_kept() -> None:
    """Memory does not grow with the folder."""
    recent: _Recent[int, str] = _Recent(2)
    recent.update({1: "a", 2: "b", 3: "c"})
    assert [recent.get(key) for key in (1, 2, 3)] == [None, "b", "c"]


def test_a_full_temporary_folder_is_said(lookups: PayloadLookups, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of SQLite become ours."""

    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is damaged")

    monkeypatch.setattr(lookups._marks, "set", fail)  # noqa: SLF001 - where the fault would be
    with pytest.raises(StoreError, match="the temporary folder: database or disk is damaged"):
        lookups.mark_seen("data", "cat/1.jpg")


@pytest.fixture
def folder(tmp_path: Path, draw: Callable[..., list[Path]]) -> Path:
    """Makes a folder of many files of a few images, by links, which need little of the disk."""
    drawn = draw(tmp_path / "drawn", *(f"{number}.png" for number in range(4)))
    (tmp_path / "data").mkdir()
    for number in range(IMAGES):
        os.link(drawn[number % 4], tmp_path / "data" / f"{number:04}.png")
    return tmp_path / "data"


def ingest(counted: Counted, folder: Path, home: Settings, spec: ModelSpec, **options: Any) -> IngestReport:
    """Ingests a folder into the server."""
    request = IngestRequest(
        dataset=Dataset(name="data", root=folder), specs=[spec], distances=[Distance.COSINE], **options
    )
    return run_ingest(request, store=counted.store, settings=home, stop=StopRequest())


def test_an_ingest_asks_only_for_the_files_at_hand(
    counted: Counted, folder: Path, home: Settings, tiny_spec: ModelSpec, draw: Callable[..., list[Path]]
) -> None:
    """One of many files has changed: each batch of files is one request, and nothing is read as a whole."""
    first = ingest(counted, folder, home, tiny_spec)
    assert (first.collections[0].counts["added"], first.embedded) == (IMAGES, 4)
    [changed] = draw(folder, "new.png", seed=1)
    changed.replace(folder / "0000.png")
    _ = counted.reads
    again = ingest(counted, folder, home, tiny_spec, prune=True)
    assert dict(again.collections[0].counts) == {"unchanged": IMAGES - 1, "updated": 1, "removed": 0}
    batches = -(-IMAGES // payload_lookups.AT_ONCE)
    assert counted.reads == {"by id": batches, "scrolled": 2, "counted": 1}


def test_moved_files_of_a_server_are_looked_up_together(
    counted: Counted, folder: Path, home: Settings, tiny_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image is decoded, and each request is for many hashes."""
    ingest(counted, folder, home, tiny_spec)
    shutil.move(folder, folder.with_name("moved"))
    folder.mkdir()
    shutil.move(folder.with_name("moved"), folder / "deeper")
    monkeypatch.setattr("lookalike_ingest.image_reader.decode", lambda *_, **__: pytest.fail("decoded"))
    _ = counted.reads
    report = ingest(counted, folder, home, tiny_spec)
    assert {word: n for word, n in report.collections[0].counts.items() if n} == {"moved": IMAGES}
    assert counted.reads["scrolled"] <= -(-IMAGES // PayloadLookups.hashed_at_once) + 1
