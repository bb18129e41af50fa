"""Tests a server's faults at random moments of an ingest: running the same command again completes it.

Between them is a TCP proxy; behind it the real server that `QDRANT_URL` names, else a stand-in
(`tests/support`).
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty_proxy as wire
import numpy as np
import pytest
from faulty_proxy import FaultyProxy
from lookalike_core.stores.embedded import EmbeddedStore
from quick_retries import IMPATIENT_INGEST

IMAGES = 12
TRIES = 4
REPEATS = 4
REQUESTS = 16
"""Requests among which faults are placed: an undisturbed ingest makes about twenty."""

KEYS = {name: value for name, value in os.environ.items() if name == "QDRANT_API_KEY"}
"""The API key of a real server, which the shell removes from the environment."""
VECTOR_TOLERANCE = 1e-6

FAULTS = {
    "reset": wire.reset,
    "answer lost": wire.lost_answer,
    "answer cut": wire.cut_answer(40),
    "503": wire.answer(503),
    "429": wire.answer(429, retry_after="0"),
    "413": wire.answer(413),
}


@pytest.fixture
def own(own_names: str) -> str:
    """Returns the name of the collection that an ingest makes; the server may have others."""
    return f"{own_names}euclid"


@pytest.fixture
def images(shell: Any, draw: Any, qdrant: Any, own: str) -> Iterator[Path]:
    """Draws a folder of twelve images; removes their collections from the server at the end."""
    folder: Path = shell.folder / "pictures"
    draw(folder, *(f"{name}/{number}.png" for name in ("a", "b", "c") for number in range(4)))
    yield folder
    qdrant.client.delete_collection(own)


def stored_vectors(qdrant: Any, name: str) -> dict[str, Any]:
    """Returns path -> vector of all points; asserts that no path occurs twice."""
    records, _ = qdrant.client.scroll(name, limit=1000, with_vectors=True)
    assert len(records) == qdrant.client.count(name).count
    return {record.payload["path"]: np.asarray(record.vector, np.float32) for record in records}


def undisturbed(shell: Any) -> dict[str, Any]:
    """Returns path -> vector of an ingest into the embedded store."""
    folder = shell.folder / "undisturbed"
    assert shell.ingest("pictures", "--store", f"embedded:{folder}", "--distance", "euclid").code == 0
    store = EmbeddedStore(folder)
    with store.open(store.names()[0]) as collection:
        payloads = {payload.id: payload.path for payload in collection.scan()}
        return {payloads[point]: vector for point, vector in collection.vectors(list(payloads)).items()}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_at_random_moments_lose_nothing(
    shell: Any,
    proxy: FaultyProxy,
    qdrant: Any,
    own: str,
    images: Path,
    ledger: Any,
    full_length: bool,
    fault: str,
) -> None:
    """Two faults in a row hit any request; the run exits 0 or 5, and a later run completes."""
    if not full_length:
        pytest.skip("run at full length only: make torture")
    chance = random.Random(fault)  # noqa: S311 - repeatable, not secret
    expected = undisturbed(shell)
    met: list[str] = []

    def counted(*words: Any) -> None:
        met.append(fault)
        FAULTS[fault](*words)

    words = [
        "run",
        "pictures",
        "--store",
        proxy.url,
        "--batch-size",
        "4",
        "--distance",
        "euclid",
        *shell.model,
    ]
    for _ in range(TRIES):
        proxy.plan(".", *[wire.passing] * chance.randrange(REQUESTS), *[counted] * 2)
        for _ in range(REPEATS):
            done = shell("python", "-c", IMPATIENT_INGEST, *words, **KEYS)
            assert done.code in (0, 5), done.err
            assert "Traceback" not in done.err
            if done.code == 0:
                break
        assert done.code == 0, done.err
        found = stored_vectors(qdrant, own)
        lost = len(expected.keys() - found.keys())
        ledger.add(f"server, faults amid an ingest: {fault}", 0, lost)
        assert found.keys() == expected.keys()
        for path, vector in expected.items():
            np.testing.assert_allclose(found[path], vector, atol=VECTOR_TOLERANCE)
        qdrant.client.delete_collection(own)
    ledger.add(f"server, faults amid an ingest: {fault}", len(met), 0)
    assert len(met) == 2 * TRIES
