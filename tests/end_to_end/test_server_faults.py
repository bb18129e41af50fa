"""Tests the commands while their server restarts, stays away, or loses or replaces a collection.

Between them is a TCP proxy; behind it the real server that `QDRANT_URL` names, else a stand-in that
speaks Qdrant's REST interface on the client's in-memory mode. See `tests/support`.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty_proxy as wire
import numpy as np
import pytest
from faulty_proxy import FaultyProxy, running_proxy
from lookalike_core.stores.embedded import EmbeddedStore
from qdrant_stand_in import running_stand_in
from quick_retries import IMPATIENT_INGEST

Shell = Any  # conftest's classes; tests are no package, so they cannot be imported
Done = Any
Backend = Any

WRITES = r"PUT .*/points\b"
KEY = "s3cret-key-of-the-server"
KEYS = {name: value for name, value in os.environ.items() if name == "QDRANT_API_KEY"}
"""The API key of a real server, which the shell removes from the environment."""

EUCLID = ("--distance", "euclid")
IMAGES = 12
COLOURS = ("crimson", "seagreen", "royalblue", "goldenrod")


@pytest.fixture
def own(own_names: str) -> str:
    """Returns the name of the collection that an ingest makes; the server may have others."""
    return f"{own_names}euclid"


@pytest.fixture
def images(shell: Shell, draw: Any, qdrant: Backend, own: str) -> Iterator[Path]:
    """Draws a folder of twelve images; removes their collections from a real server at the end."""
    folder: Path = shell.folder / "pictures"
    draw(folder, *(f"{name}/{colour}.png" for name in ("a", "b", "c") for colour in COLOURS))
    yield folder
    qdrant.client.delete_collection(own)


def ingest(shell: Shell, proxy: FaultyProxy, *words: str) -> Done:
    """Ingests twelve images in batches of four; Euclidean, so that vectors are stored unchanged."""
    command = ["ingest", "run", "pictures", "--store", proxy.url, "--batch-size", "4", *EUCLID]
    return shell(*command, *shell.model, *words, **KEYS)


def ingest_with_short_waits(shell: Shell, proxy: FaultyProxy, *words: str) -> Done:
    """Ingests with short timeouts."""
    options = ["run", "pictures", "--store", proxy.url, "--batch-size", "4", *EUCLID]
    return shell("python", "-c", IMPATIENT_INGEST, *options, *shell.model, *words, **KEYS)


def stored_vectors(qdrant: Backend, name: str) -> dict[str, Any]:
    """Returns path -> vector of all points; asserts that no path occurs twice."""
    records, _ = qdrant.client.scroll(name, limit=1000, with_vectors=True)
    assert len(records) == qdrant.client.count(name).count
    assert len({record.payload["path"] for record in records}) == len(records)
    return {record.payload["path"]: np.asarray(record.vector, np.float32) for record in records}


def undisturbed(shell: Shell) -> dict[str, Any]:
    """Returns path -> vector of an ingest into the embedded store."""
    folder = shell.folder / "undisturbed"
    done = shell.ingest("pictures", "--store", f"embedded:{folder}", "--distance", "euclid")
    assert done.code == 0, done.err
    store = EmbeddedStore(folder)
    with store.open(store.names()[0]) as collection:
        payloads = {payload.id: payload.path for payload in collection.scan()}
        return {payloads[point]: vector for point, vector in collection.vectors(list(payloads)).items()}


def test_an_ingest_survives_a_restarted_server(
    shell: Shell, proxy: FaultyProxy, qdrant: Backend, own: str, images: Path
) -> None:
    """Between two batches the server is briefly away: one line reports it, and no point is missing."""

    def restart(server: FaultyProxy, client: socket.socket, request: wire.Request) -> None:
        server.refuse()
        wire.reset(server, client, request)
        server.open()

    proxy.plan(WRITES, wire.passing, restart)
    done = ingest(shell, proxy, "--json")
    assert done.code == 0, done.err
    assert f"failed on {proxy.url}" in done.err
    assert "(try 2 of 5)" in done.err
    assert done.json[0]["collections"][0]["added"] == IMAGES
    found, expected = stored_vectors(qdrant, own), undisturbed(shell)
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[path], expected[path], atol=1e-6) for path in expected)


def test_a_server_that_stays_away_exits_5_and_the_next_run_continues(
    shell: Shell, proxy: FaultyProxy, qdrant: Backend, own: str, images: Path
) -> None:
    """Acknowledged points stay, the second run writes the others, and none twice."""

    def go(server: FaultyProxy, client: socket.socket, request: wire.Request) -> None:
        server.refuse()
        wire.reset(server, client, request)

    proxy.plan(WRITES, wire.passing, go)
    done = ingest_with_short_waits(shell, proxy)
    assert done.code == 5, done.err
    assert all(f"(try {number} of 5)" in done.err for number in (2, 3, 4, 5))
    assert "(5 tries)" in done.err
    assert "docker compose up qdrant" in done.err
    assert "Traceback" not in done.err
    acknowledged = stored_vectors(qdrant, own)
    assert len(acknowledged) == 4
    proxy.open()
    done = ingest(shell, proxy, "--json")
    assert done.code == 0, done.err
    counts = done.json[0]["collections"][0]
    assert (counts["added"], counts["unchanged"]) == (IMAGES - 4, 4)
    found = stored_vectors(qdrant, own)
    assert len(found) == IMAGES
    assert all(np.array_equal(found[path], vector) for path, vector in acknowledged.items())


def test_a_collection_deleted_during_an_ingest_exits_6(
    shell: Shell, proxy: FaultyProxy, qdrant: Backend, own: str, images: Path
) -> None:
    """It is not made again silently; the next run makes it."""
    proxy.plan(WRITES, wire.passing, wire.after(lambda: qdrant.client.delete_collection(own)))
    done = ingest(shell, proxy)
    assert done.code == 6, done.err
    assert f"create it with: ingest run --store {proxy.url} DIR" in done.err
    assert not qdrant.client.collection_exists(own)
    assert ingest(shell, proxy).code == 0
    assert len(stored_vectors(qdrant, own)) == IMAGES


def test_a_replaced_collection_exits_6_unchanged(
    shell: Shell, proxy: FaultyProxy, qdrant: Backend, own: str, images: Path
) -> None:
    """It is deleted and made with another dimension during a batch; vectors are not mixed."""
    from qdrant_client import models

    def swap() -> None:
        qdrant.client.delete_collection(own)
        vectors = models.VectorParams(size=8, distance=models.Distance.EUCLID)
        qdrant.client.create_collection(own, vectors)

    def swap_and_reset(server: FaultyProxy, client: socket.socket, request: wire.Request) -> None:
        swap()
        wire.reset(server, client, request)

    proxy.plan(WRITES, wire.passing, swap_and_reset)
    done = ingest(shell, proxy)
    assert done.code == 6, done.err
    assert "it has 8 values a vector and no manifest, not 64 values" in done.err
    assert stored_vectors(qdrant, own) == {}


def test_a_copy_whose_original_is_removed_meanwhile_is_embedded(
    shell: Shell, proxy: FaultyProxy, qdrant: Backend, own: str, images: Path
) -> None:
    """The copy would reuse the stored vector of its original, which is gone when it is fetched."""
    from qdrant_client import models

    assert ingest(shell, proxy).code == 0
    original = images / "a" / "crimson.png"
    (images / "a" / "zcopy.png").write_bytes(original.read_bytes())

    def remove() -> None:
        of_path = models.FieldCondition(key="path", match=models.MatchValue(value="a/crimson.png"))
        selected = models.FilterSelector(filter=models.Filter(must=[of_path]))
        qdrant.client.delete(own, selected)

    proxy.plan(r"POST .*/points$", wire.passing, wire.after(remove))
    assert ingest(shell, proxy).code == 0
    found = stored_vectors(qdrant, own)
    assert len(found) == IMAGES
    np.testing.assert_allclose(found["a/zcopy.png"], undisturbed(shell)["a/zcopy.png"], atol=1e-6)
    assert ingest(shell, proxy).code == 0
    assert len(stored_vectors(qdrant, own)) == IMAGES + 1


def test_ctrl_c_ends_a_wait_at_once_with_exit_130(
    shell: Shell, proxy: FaultyProxy, qdrant: Backend, own: str, images: Path
) -> None:
    """It neither finishes the wait nor needs a second Ctrl-C."""
    proxy.plan(WRITES, wire.passing, wire.answer(503, Retry_After="60"))
    program = Path(sys.executable).parent / "ingest"
    process = subprocess.Popen(
        [program, "run", images, "--store", proxy.url, "--batch-size", "4", *EUCLID, *shell.model],
        cwd=shell.folder,
        env=shell.environment | KEYS,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert any("again in 60.0 s (try 2 of 5)" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=120) == 130
    assert "interrupted; run the same command again to continue" in rest
    assert len(stored_vectors(qdrant, own)) == 4


@pytest.fixture
def guarded() -> Iterator[FaultyProxy]:
    """Starts a proxy before a stand-in that requires an API key."""
    with running_stand_in(api_key=KEY) as server, running_proxy(("127.0.0.1", server.port)) as one:
        yield one


def test_secrets_are_in_no_output(shell: Shell, guarded: FaultyProxy, images: Path) -> None:
    """Key, user and password are redacted, even if the server echoes them and tracebacks are on."""
    url = guarded.url.replace("//", "//hugo:p4ssw0rd@")
    store, basic = ["--store", url, "--verbose"], "aHVnbzpwNHNzdzByZA=="
    echo = f"{KEY} {basic} hugo:p4ssw0rd"
    run = ["ingest", "run", "pictures", *shell.model, *store]

    def with_key(*words: str) -> Done:
        return shell(*words, QDRANT_API_KEY=KEY)

    guarded.plan(WRITES, wire.answer(429, echo, Retry_After="0"), wire.answer(403, echo))
    refused = with_key(*run)
    done = with_key(*run, "--json")
    status = with_key("ingest", "status", *store, "--json")
    query = with_key("search", "query", "pictures/a/crimson.png", *store, "--json")
    guarded.plan("GET /collections", wire.answer(401, echo), wire.answer(401, echo))
    locked_out = with_key("ingest", "status", *store)
    wrong = shell("ingest", "status", *store, QDRANT_API_KEY="wr0ng-key")
    runs = [refused, done, status, query, locked_out, wrong]
    assert [one.code for one in runs] == [5, 0, 0, 0, 5, 5], "\n".join(one.err for one in runs)
    assert all("Traceback" in one.err for one in (refused, locked_out, wrong))
    assert "try 2 of 5" in refused.err
    assert status.json[0]["store"] == query.json[0]["store"] == guarded.url
    shown = "".join(one.out + one.err for one in runs)
    for secret in (KEY, "s3cret", "p4ss", "hugo", basic, "wr0ng"):
        assert secret not in shown


def test_an_unreachable_server_exits_5_at_once(shell: Shell, proxy: FaultyProxy) -> None:
    """The first connection is not retried, nor one with a wrong URL scheme."""
    proxy.refuse()
    away = shell("ingest", "status", "--store", proxy.url, **KEYS)
    proxy.open()
    scheme = shell("ingest", "status", "--store", proxy.url.replace("http:", "https:"))
    assert (away.code, scheme.code) == (5, 5)
    assert "try 2" not in away.err
    assert f"write {proxy.url}" in scheme.err
