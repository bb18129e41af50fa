"""`ingest copy`: the command's output, its refusals, and what other commands say about an unfinished copy."""

from pathlib import Path
from typing import Any

import pytest
from lookalike_core.stores.embedded import EmbeddedStore


@pytest.fixture
def name(shell: Any, draw: Any) -> str:
    """Ingests three images; returns the name of their collection."""
    draw(shell.folder / "album", "cat/1.png", "cat/2.png", "dog/1.png")
    [report] = shell.ingest("album", "--json").json
    found: str = report["collections"][0]["name"]
    return found


def store_of(folder: Path) -> EmbeddedStore:
    """Returns the embedded store of a folder."""
    return EmbeddedStore(folder)


def test_a_copy_is_searched_like_its_source(shell: Any, name: str) -> None:
    """In another store, by the same name."""
    done = shell("ingest", "copy", name, "--to", "embedded:other")
    assert done.code == 0, done.err
    assert (
        f"{name} in embedded:{shell.folder / 'other'}: 3 points copied and compared with {name}" in done.out
    )
    words = ("search", "query", "album/cat/1.png", "--json", "--include-self")
    [here] = shell(*words).json
    [there] = shell(*words, "--store", "embedded:other").json
    assert [hit["path"] for hit in there["hits"]] == [hit["path"] for hit in here["hits"]]
    again = shell("ingest", "copy", name, "--to", "embedded:other")
    assert (again.code, "the copy exists already; all 3 points are the same" in again.out) == (0, True)
    updated = shell.ingest("album", "--store", "embedded:other", "--json")
    assert updated.json[0]["collections"][0]["unchanged"] == 3


def test_several_collections_are_copied_at_once(shell: Any, name: str) -> None:
    """One line each."""
    shell.ingest("album", "--distance", "euclid")
    euclid = name.replace("-cosine", "-euclid")
    done = shell("ingest", "copy", name, euclid, "--to", "embedded:other", "--json")
    assert [(line["name"], line["points"]) for line in done.json] == [(name, 3), (euclid, 3)]


def test_a_copy_of_another_name_is_found_by_that_name_alone(shell: Any, name: str) -> None:
    """An ingest looks for the name of the model, and makes a collection of its own."""
    assert shell("ingest", "copy", name, "--to", "embedded:other", "--as", "holidays").code == 0
    words = ("--store", "embedded:other")
    found = shell("search", "query", "album/cat/1.png", "--collection", "holidays", "--json", *words)
    assert len(found.json[0]["hits"]) == 2
    [report] = shell.ingest("album", *words, "--json").json
    assert report["collections"][0]["added"] == 3
    rebuilt = shell("ingest", "rebuild", "holidays", *words)
    assert (rebuilt.code, "renamed or copied" in rebuilt.err) == (6, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--to", "embedded"], 2, "copied to itself; use --to STORE --as NAME"),
        (["--to", "auto"], 2, "the store to copy to has to be named; use --to STORE"),
        (["--to", "nonsense:/"], 2, "--to: "),
        (["--to", "embedded:other", "--as", "a/b"], 2, "--as: 'a/b' cannot be the name of a collection"),
        (["other", "--to", "embedded:other", "--as", "b"], 2, "copies of several collections need several"),
        (["--to", "http://127.0.0.1:9"], 5, "127.0.0.1:9"),
        ([], 2, "--to"),
    ],
)
def test_wrong_usage_is_refused(shell: Any, name: str, words: list[str], code: int, said: str) -> None:
    """Nothing is written."""
    done = shell("ingest", "copy", name, *words)
    assert (done.code, said in done.err) == (code, True), done.err
    assert not (shell.folder / "other").exists()


def test_a_missing_collection_is_said(shell: Any, name: str) -> None:
    """With the store that was looked in."""
    done = shell("ingest", "copy", "nothing", "--to", "embedded:other")
    assert (done.code, "there is no collection nothing in" in done.err) == (6, True)


def test_a_collection_with_other_content_is_refused(shell: Any, name: str, draw: Any) -> None:
    """Both sides are named, with the way out."""
    draw(shell.folder / "others", "cat/9.png")
    shell.ingest("others", "--store", "embedded:other")
    done = shell("ingest", "copy", name, "--to", "embedded:other")
    assert done.code == 6
    assert f"{name} exists in embedded:" in done.err
    assert f"differs from {name} in embedded: it has 1 points, not 3" in done.err
    assert done.err.rstrip().endswith("it was not changed, or use --as NAME")


def test_other_commands_say_that_a_copy_is_unfinished(shell: Any, name: str) -> None:
    """Neither a search nor an ingest takes it for a collection, and the copy itself continues it."""
    manifest = store_of(shell.folder / "home/qdrant").manifest(name)
    store_of(shell.folder / "other").create_copy(manifest, name=name, source=f"{name} in embedded")
    store = ("--store", "embedded:other")
    said = f"is an unfinished copy of {name} in embedded"
    for words in (
        ("search", "query", "album/cat/1.png", "--collection", name),
        ("ingest", "run", "album", *shell.model),
        ("ingest", "rebuild", name),
        ("search", "evaluate", "--collection", name),
    ):
        done = shell(*words, *store)
        assert (done.code, said in done.err) == (6, True), (words, done.err)
        assert "or continue it by running the same ingest copy again" in done.err
    status = shell("ingest", "status", *store)
    assert (status.code, said in status.err) == (0, True)
    assert shell("ingest", "copy", name, "--to", "embedded:other").code == 0
    assert said not in shell("ingest", "status", *store).err


def test_a_server_is_copied_to_and_from(shell: Any, name: str, qdrant: Any, own_names: str) -> None:
    """There and back, each compared; the key is that of QDRANT_API_KEY."""
    url = f"http://{qdrant.host}:{qdrant.port}"
    there = shell("ingest", "copy", name, "--to", url, "--json")
    assert (there.code, there.json[0]["new_store"]) == (0, url), there.err
    back = shell("ingest", "copy", name, "--store", url, "--to", "embedded:back", "--json")
    assert (back.code, back.json[0]["written"]) == (0, 3), back.err
    assert name.startswith(own_names)
    qdrant.client.delete_collection(name)
