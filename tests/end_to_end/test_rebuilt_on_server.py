"""A collection that was rebuilt on a server is behind an alias, which no command minds.

The server is a real one where `QDRANT_URL` says where it is, else a stand-in.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from lookalike_core.errors import LookalikeError
from lookalike_core.stores.connection import connect
from lookalike_core.stores.server import ServerStore


@pytest.fixture
def store(qdrant: Any, own_names: str) -> Iterator[ServerStore]:
    """Opens the server; the collection of the small model is deleted from it after the test."""
    key = os.environ.get("QDRANT_API_KEY") if qdrant.is_real else None
    one = connect(f"http://{qdrant.host}:{qdrant.port}", api_key=key)
    yield one
    with suppress(LookalikeError):
        one.delete(f"{own_names}cosine")
    one.close()


def test_every_command_takes_a_rebuilt_collection(
    shell: Any, draw: Any, qdrant: Any, store: ServerStore, own_names: str
) -> None:
    """It is listed, brought up to date, searched, verified, copied, backed up and restored as before."""
    draw(shell.folder / "album", *(f"{kind}/{n}.png" for kind in ("cat", "dog") for n in range(3)))
    key = os.environ.get("QDRANT_API_KEY", "") if qdrant.is_real else ""
    there = {"LOOKALIKE_STORE": store.label, **({"QDRANT_API_KEY": key} if key else {})}
    shell = replace(shell, environment={**shell.environment, **there})
    name = f"{own_names}cosine"

    def run(*words: str) -> Any:
        done = shell(*words)
        assert done.code == 0, done.err
        return done

    made = shell.ingest("album", "--json")
    assert made.code == 0, made.err
    for _ in range(2):
        rebuilt = run("ingest", "rebuild", name, "--json").json[0]
        assert (rebuilt["name"], rebuilt["points"], rebuilt["embedded"]) == (name, 6, 6)
    [status] = [
        one for one in run("ingest", "status", "--json").json[0]["collections"] if one["name"] == name
    ]
    assert (status["points"], status["rebuild_begun"], status["manifest"]["name"]) == (6, False, name)
    again = shell.ingest("album", "--json").json[0]["collections"][0]
    assert (again["name"], again["unchanged"]) == (name, 6)
    hits = run("search", "query", "album/cat/1.png", "--collection", name, "--json").json[0]["hits"]
    assert len(hits) == 5
    assert f"{name}: no fault found in 6 points" in run("ingest", "verify", name).out
    copied = run("ingest", "copy", name, "--to", "embedded:copy", "--json").json[0]
    assert (copied["name"], copied["new_name"], copied["points"]) == (name, name, 6)
    itself = shell("ingest", "copy", name, "--to", store.label)
    assert (itself.code, "copied to itself" in itself.err) == (2, True)
    assert run("ingest", "backup", name, "one.tar", "--json").json[0]["name"] == name
    taken = shell("ingest", "restore", "one.tar")
    assert (taken.code, "already" in taken.err) == (6, True)
    store.delete(name)
    assert run("ingest", "restore", "one.tar", "--json").json[0]["name"] == name
    assert store.manifest(name).collection == name
    assert run("ingest", "rebuild", name, "--json").json[0]["points"] == 6
    run("ingest", "remove", "--collection", name, "--class", "dog", "--yes")
    with store.open(name) as collection:
        assert collection.tally("class") == {"cat": 3}
