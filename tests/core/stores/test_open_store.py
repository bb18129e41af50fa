"""The choice of the store; a named store never falls back to another.

A small HTTP responder stands in for the server, and proves only how faults are handled.
"""

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import StoreError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.model_manifest import METADATA_KEY
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import find_other_store, open_store
from lookalike_core.stores.server import ServerStore

NewManifest = Callable[..., CollectionManifest]
Envelope = Callable[[Any], dict[str, Any]]
Responder = Any  # conftest's; tests are no package to import it from


def test_auto_uses_a_qdrant_on_this_machine(settings: Settings, responder: Responder) -> None:
    """No store is named and Qdrant answers; the label is its URL."""
    responder.be_qdrant()
    store = open_store(None, settings, local_port=responder.port)
    assert isinstance(store, ServerStore)
    assert store.label == responder.url
    store.close()


def test_auto_is_embedded_if_nothing_listens(settings: Settings, unused_port: int) -> None:
    """The store is in the home folder, and nothing is logged about servers."""
    store = open_store(None, settings, local_port=unused_port)
    assert isinstance(store, EmbeddedStore)
    assert store.directory == settings.qdrant_dir
    assert store.label == "embedded"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"title": "another service", "version": "1"}),
        (200, {"title": None}),
        (200, ["qdrant"]),
        (200, "<html>qdrant, the bird</html>"),
        (500, {"title": "qdrant - vector search engine"}),
        (401, "log in first"),
        (403, {"error": "forbidden"}),
        (302, ""),
    ],
)
def test_auto_is_embedded_if_another_service_answers(
    settings: Settings, responder: Responder, status: int, body: object
) -> None:
    """Only an answer in Qdrant's own form is accepted."""
    responder.answers["GET /"] = (status, body)
    assert isinstance(open_store(None, settings, local_port=responder.port), EmbeddedStore)


@pytest.mark.parametrize("status", [401, 403])
def test_auto_stops_if_qdrant_refuses(settings: Settings, responder: Responder, status: int) -> None:
    """Falling back would hide the server's collections."""
    responder.be_qdrant()
    responder.answers["GET /collections"] = (
        status,
        "Must provide an API key or an Authorization bearer token",
    )
    with pytest.raises(StoreError, match=rf"server at {responder.url} requires an API key") as caught:
        open_store(None, settings, local_port=responder.port)
    assert caught.value.exit_code == 5
    assert caught.value.hint == Hint(Action.NAME_SERVER, {Argument.STORE: responder.url})


@pytest.mark.parametrize(
    ("status", "body"), [(401, "Must provide an API key or an Authorization bearer token"), (403, "qdrant")]
)
def test_auto_stops_if_qdrant_hides_its_title(
    settings: Settings, responder: Responder, status: int, body: str
) -> None:
    """A Qdrant that hides its title is recognised by its refusal."""
    responder.answers["GET /"] = (status, body)
    with pytest.raises(StoreError, match="requires an API key"):
        open_store(None, settings, local_port=responder.port)


@pytest.mark.parametrize("said", [None, "auto"])
def test_a_server_that_was_only_found_is_not_sent_the_key(
    settings: Settings, responder: Responder, manifest_of: NewManifest, said: str | None
) -> None:
    """Any user of this machine could run a false Qdrant; searching for other stores sends no key either."""
    responder.be_qdrant()
    settings = replace(settings, qdrant_api_key="s3cret", qdrant_url=said and "http://127.0.0.1:1")
    open_store(said, settings, local_port=responder.port).close()
    find_other_store(
        manifest_of().collection, EmbeddedStore(settings.qdrant_dir), settings, local_port=responder.port
    )
    assert len(responder.seen) > 3
    assert "s3cret" not in str(responder.seen)


@pytest.mark.parametrize("origin", ["--store", "LOOKALIKE_STORE", "QDRANT_URL"])
def test_a_server_that_was_named_is_sent_the_key(
    settings: Settings, responder: Responder, origin: str
) -> None:
    """This holds for all ways of naming it, even for the server that would have been found."""
    responder.be_qdrant()
    settings = replace(
        settings,
        qdrant_api_key="s3cret",
        store=responder.url if origin == "LOOKALIKE_STORE" else None,
        qdrant_url=responder.url if origin == "QDRANT_URL" else None,
    )
    named = responder.url if origin == "--store" else None
    open_store(named, settings, local_port=responder.port).close()
    assert {seen.headers.get("api-key") for seen in responder.seen} == {"s3cret"}


@pytest.mark.parametrize("drip_s", [0.0, 0.02], ids=["silent", "dripping"])
def test_auto_stops_if_the_port_does_not_answer(
    settings: Settings, responder: Responder, drip_s: float
) -> None:
    """It may be Qdrant, suspended or busy: falling back would hide its collections."""
    responder.be_qdrant()
    responder.delay_s, responder.drip_s = 0.0 if drip_s else 60.0, drip_s
    with pytest.raises(
        StoreError, match=rf"listens at 127\.0\.0\.1:{responder.port} and does not answer"
    ) as caught:
        open_store(None, settings, local_port=responder.port, answer_timeout_s=0.2)
    assert caught.value.exit_code == 5
    assert (
        find_other_store("vgg16", EmbeddedStore(settings.qdrant_dir), settings, local_port=responder.port)
        is None
    )
    named = open_store("embedded", settings, local_port=responder.port)
    assert isinstance(named, EmbeddedStore)


def test_auto_waits_for_a_busy_qdrant(settings: Settings, responder: Responder) -> None:
    """The timeout is longer than a server needs while it builds an index."""
    responder.be_qdrant()
    responder.delay_s = 0.5
    store = open_store(None, settings, local_port=responder.port)
    assert isinstance(store, ServerStore)
    store.close()


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.9\r\n", b"J\0\0\0\n8.4.0 mysql", b""])
def test_auto_is_embedded_if_another_service_speaks_first(settings: Settings, greeting: bytes) -> None:
    """A service may speak first and wait for its own kind of client, or hang up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def greet() -> None:
            client, _ = listener.accept()
            client.sendall(greeting)
            if greeting:
                kept.append(client)
            else:
                client.close()

        thread = threading.Thread(target=greet)
        thread.start()
        store = open_store(None, settings, local_port=listener.getsockname()[1], answer_timeout_s=60)
        thread.join()
        for client in kept:
            client.close()
    assert isinstance(store, EmbeddedStore)


@pytest.mark.parametrize(
    ("named", "store", "qdrant_url", "expected"),
    [
        ("embedded", "{url}", "{url}", "embedded"),
        ("{url}", "embedded", None, "server"),
        (None, "embedded", "{url}", "embedded"),
        (None, "{url}", "http://127.0.0.1:1", "server"),
        (None, None, "{url}", "server"),
        ("auto", "embedded", "http://127.0.0.1:1", "server"),
        (None, "auto", "http://127.0.0.1:1", "server"),
    ],
)
def test_the_option_overrides_the_variables(
    settings: Settings,
    responder: Responder,
    named: str | None,
    store: str | None,
    qdrant_url: str | None,
    expected: str,
) -> None:
    """The order is `--store`, LOOKALIKE_STORE, QDRANT_URL, then detection."""
    responder.be_qdrant()
    named, store, qdrant_url = (
        text and text.format(url=responder.url) for text in (named, store, qdrant_url)
    )
    settings = replace(settings, store=store, qdrant_url=qdrant_url)
    taken = open_store(named, settings, local_port=responder.port)
    assert isinstance(taken, ServerStore if expected == "server" else EmbeddedStore)
    taken.close()


def test_a_folder_can_be_named(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path may be relative to the current folder or the user's home; the label shows it in full."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "user"))
    for said, folder in (("here", tmp_path / "here"), ("~/there", tmp_path / "user" / "there")):
        store = open_store(f"embedded:{said}", settings)
        assert isinstance(store, EmbeddedStore)
        assert store.directory == folder
        assert store.label == f"embedded:{folder}"


@pytest.mark.parametrize("origin", ["--store", "LOOKALIKE_STORE", "QDRANT_URL"])
def test_a_named_store_never_falls_back(
    settings: Settings, responder: Responder, unused_port: int, origin: str
) -> None:
    """It falls back neither to the embedded store nor to a Qdrant on this machine."""
    responder.be_qdrant()
    url = f"http://127.0.0.1:{unused_port}"
    settings = replace(
        settings,
        store=url if origin == "LOOKALIKE_STORE" else None,
        qdrant_url=url if origin == "QDRANT_URL" else None,
    )
    with pytest.raises(StoreError, match=url) as caught:
        open_store(url if origin == "--store" else None, settings, local_port=responder.port)
    assert caught.value.exit_code == 5
    assert "docker compose up qdrant" in str(caught.value)
    assert not responder.seen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "qdrant",
        "embedded:",
        "Embedded",
        "localhost:6333",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:6333?api_key=s3cret",
        "http://user:s3cret@",
        "http://user:s3/cret@127.0.0.1",
        "user:s3cret@127.0.0.1:6333",
    ],
)
@pytest.mark.parametrize("origin", ["--store", "LOOKALIKE_STORE", "QDRANT_URL"])
def test_a_malformed_store_is_a_usage_error(settings: Settings, text: str, origin: str) -> None:
    """The message names the source and the valid forms, and quotes no password."""
    settings = replace(
        settings,
        store=text if origin == "LOOKALIKE_STORE" else None,
        qdrant_url=text if origin == "QDRANT_URL" else None,
    )
    with pytest.raises(UsageError) as caught:
        open_store(text if origin == "--store" else None, settings)
    assert re.search(rf"^{origin}: .*embedded:DIR", full_message(caught.value))
    assert "s3" not in str(caught.value)


def test_qdrant_url_accepts_only_urls(settings: Settings) -> None:
    """QDRANT_URL names servers only; LOOKALIKE_STORE can name the embedded store."""
    with pytest.raises(UsageError, match="QDRANT_URL"):
        open_store(None, replace(settings, qdrant_url="embedded"))


def test_another_store_with_the_collection_is_suggested(
    settings: Settings, responder: Responder, manifest_of: NewManifest, enveloped: Envelope
) -> None:
    """A server suggests the embedded store and vice versa, a folder suggests both."""
    here, there, nowhere = manifest_of(), manifest_of(), manifest_of()
    default, elsewhere = EmbeddedStore(settings.qdrant_dir), EmbeddedStore(settings.home / "other")
    default.create(here)
    responder.be_qdrant()
    info = {"config": {"metadata": {METADATA_KEY: json.loads(json.dumps(there.to_json()))}}}
    responder.answers[f"GET /collections/{there.collection}"] = (200, enveloped(info))
    server = open_store(responder.url, settings)

    def found(manifest: CollectionManifest, store: EmbeddedStore | ServerStore) -> str | None:
        return find_other_store(manifest.collection, store, settings, local_port=responder.port)

    assert found(here, server) == "embedded"
    assert found(here, elsewhere) == "embedded"
    assert found(there, default) == responder.url
    assert found(there, elsewhere) == responder.url
    assert [found(nowhere, store) for store in (default, elsewhere, server)] == [None, None, None]
    server.close()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"result": {"config": {"metadata": {"owner": "somebody"}}}}),
        (200, {"result": {"config": {"metadata": None}}}),
        (200, {"result": {"config": {}}}),
        (200, "nonsense"),
        (401, "Must provide an API key"),
        (500, ""),
    ],
)
def test_looking_for_a_collection_in_other_stores_never_fails(
    settings: Settings, responder: Responder, manifest_of: NewManifest, answer: tuple[int, object]
) -> None:
    """Only collections that are proven to be ours are suggested."""
    name = manifest_of().collection
    responder.be_qdrant()
    responder.answers[f"GET /collections/{name}"] = answer
    store = EmbeddedStore(settings.qdrant_dir)
    assert find_other_store(name, store, settings, local_port=responder.port) is None
    broken = replace(settings, qdrant_api_key="line\nbreak")
    assert find_other_store(name, store, broken, local_port=responder.port) is None
    assert find_other_store("../x", store, settings, local_port=responder.port) is None


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_place_of_the_stores_folder_is_an_error(
    name: str, settings: Settings, tmp_path: Path
) -> None:
    """It does not count as an empty store, which the next ingest would create."""
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(StoreError, match=rf"{name} cannot hold collections \(Not a directory\)"):
        open_store(f"embedded:{tmp_path / name}", settings)
    with pytest.raises(StoreError, match="qdrant cannot hold collections"):
        open_store("embedded", replace(settings, home=tmp_path / name))


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "~nobody-of-this-name/x", "x" * 5_000])
def test_an_impossible_folder_is_a_usage_error(name: str, settings: Settings) -> None:
    """The message names the option, and no other store is tried."""
    with pytest.raises(UsageError) as refused:
        open_store(f"embedded:{name}", settings)
    assert refused.value.argument is Argument.STORE
