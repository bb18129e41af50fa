"""Verifies made-up collections of both stores: what is checked without files and without a model."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Collection
from lookalike_ingest.integrity.collection_check import verify_collection
from lookalike_ingest.integrity.faults import Fault, Finding, Findings, Verification
from made_collections import STORES, collection_of, point_of, random_vectors, store_of

PATHS = tuple(f"{number}.jpg" for number in range(30))


@pytest.fixture(params=STORES)
def collection(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Collection]:
    """Makes a collection whose files are on a disk that is not mounted."""
    points = [
        point_of(path, vector, dataset="data")
        for path, vector in zip(PATHS, random_vectors(30, 8), strict=True)
    ]
    with (
        store_of(request.param, tmp_path / "store") as store,
        collection_of(store, points, dimension=8, datasets={"data": str(tmp_path / "away")}) as made,
    ):
        yield made


def verify(collection: Collection, home: Settings) -> Verification:
    """Verifies a collection; without files no model is needed."""
    return verify_collection(collection, settings=home)


def test_points_are_checked_without_their_files(collection: Collection, home: Settings) -> None:
    """Ids, payloads and vectors are sound; the model, which does not exist, is not needed."""
    found = verify(collection, home)
    assert found.is_sound
    assert (found.points, found.checked, found.away, found.reread) == (30, 30, 30, 0)
    assert (found.recall, found.provider, found.list_compared) == (None, None, False)
    assert (found.at_most_wrong, found.share_at_most_wrong) == (0, 0.0)


def test_every_point_has_its_id_and_payload(collection: Collection) -> None:
    """As they are stored, whatever they are."""
    stored = dict(collection.scan_points())
    assert stored.keys() == {payload.id for payload in collection.scan()}
    assert {data["path"] for data in stored.values()} == set(PATHS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sha256": "0"}, "SHA-256"),
        ({"bytes": -1}, "negative"),
        ({"taken_at": "yesterday"}, "taken_at is no time in UTC: yesterday"),
        ({"taken_at": "2024-05-31"}, "taken_at is no time in UTC"),
    ],
)
def test_a_payload_that_no_ingest_writes_is_found(
    collection: Collection, home: Settings, fields: dict[str, object], said: str
) -> None:
    """The finding names the image."""
    payload = next(payload for payload in collection.scan() if payload.path == "7.jpg")
    collection.replace_payloads([replace(payload, **fields)])  # type: ignore[arg-type] - of a field each
    [finding] = verify(collection, home).findings
    assert (finding.fault, finding.path, finding.dataset) == (Fault.PAYLOAD_DIFFERS, "7.jpg", "data")
    assert said in finding.detail


@pytest.mark.parametrize(("dataset", "path"), [("other", "1.jpg"), ("data", "../1.jpg"), ("data", "/1.jpg")])
def test_a_point_outside_of_the_datasets_is_found(
    collection: Collection, home: Settings, dataset: str, path: str
) -> None:
    """Nothing outside of a dataset's folder is read."""
    collection.upsert([point_of(path, np.ones(8), dataset=dataset)])
    [finding] = verify(collection, home).findings
    assert (finding.fault, finding.path) == (Fault.PAYLOAD_DIFFERS, path)


def test_findings_are_all_counted_and_not_all_listed() -> None:
    """A collection whose files have all changed has as many findings as points."""
    findings = Findings(listed=2)
    for number in range(5):
        findings.add(
            Finding(fault=Fault.FILE_CHANGED, detail="x", dataset="d", path=f"{number}", id=f"{number}")
        )
    findings.add(Finding(fault=Fault.VECTOR_DIFFERS, detail="x", dataset="d", path="0", id="0"))
    assert findings.counts == {Fault.VECTOR_DIFFERS: 1, Fault.FILE_CHANGED: 5}
    assert [one.fault for one in findings.listed] == [Fault.VECTOR_DIFFERS, *2 * [Fault.FILE_CHANGED]]
    assert len(findings.wrong_ids) == 5, "a point with two faults is one wrong point"
