"""Which store a command works on.

In this order: `--store`, `LOOKALIKE_STORE`, `QDRANT_URL`, else `auto`: a Qdrant server on this machine
where one runs, the embedded store where none does. A store that was named never falls back.
"""

import io
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from lookalike.errors import StoreError, UsageError
from lookalike.files import named_path, parse_json
from lookalike.manifest import METADATA_KEY
from lookalike.settings import Settings
from lookalike.stores.address import HTTP_PORT, ServerAddress, check_api_key
from lookalike.stores.connection import connect
from lookalike.stores.embedded import EmbeddedStore
from lookalike.stores.protocol import Store, is_collection_name
from lookalike.stores.retries import Say, unheard

PROBE_TIMEOUT_S = 0.3
"""For looking whether this machine runs Qdrant: all of it, not each step."""

_LOCAL_HOST = "127.0.0.1"
_FORMS = "use auto, embedded, embedded:DIR, or the URL of a server like http://127.0.0.1:6333"
_MAX_ANSWER_BYTES = 2**20

_REFUSALS = ("qdrant", "must provide an api key", "invalid api key or jwt")
"""What a Qdrant that lets nobody see its title says instead; from its `src/common/auth/mod.rs`."""


def open_store(
    named: str | None, settings: Settings, *, say: Say = unheard, local_port: int = HTTP_PORT
) -> Store:
    """The store to work on; a server among them has answered and accepted the key.

    `named` is what `--store` says: `auto`, `embedded`, `embedded:DIR` or a URL. `say` is told when a
    request to a server is made again.

    Raises:
        UsageError: what names the store is malformed.
        StoreError: the server or folder that was named, or the one that is here, cannot be used.
    """
    text, origin = (named, "--store") if named is not None else (settings.store, "LOOKALIKE_STORE")
    if text is None and settings.qdrant_url is not None:
        return _server(settings.qdrant_url, "QDRANT_URL", settings, say)
    if text is not None and text != "auto":
        return _named_store(text, origin, settings, say)
    if _is_qdrant(local_port):
        return connect(f"http://{_LOCAL_HOST}:{local_port}", api_key=settings.qdrant_api_key, say=say)
    return _embedded(settings.qdrant_dir, "embedded")


def where_else(name: str, store: Store, settings: Settings, *, local_port: int = HTTP_PORT) -> str | None:
    """What `--store` would have to say to reach a collection that `store` does not have.

    Looks into the embedded store and at a server on this machine, whichever `store` is not. None where
    it is not there either; never raises, and takes some tenths of a second at most.
    """
    with suppress(Exception):
        for said in _others(store, settings, local_port):
            if said == "embedded" and name in EmbeddedStore(settings.qdrant_dir):
                return said
            if said != "embedded" and _server_has(name, settings, local_port):
                return said
    return None


def _named_store(text: str, origin: str, settings: Settings, say: Say) -> Store:
    kind, separator, directory = text.partition(":")
    if kind != "embedded":
        return _server(text, origin, settings, say)
    if not separator:
        return _embedded(settings.qdrant_dir, "embedded")
    if not directory:
        raise UsageError(f"{origin}: {text!r} names no folder; {_FORMS}")
    folder = named_path(directory, origin)
    return _embedded(folder, f"embedded:{folder}")


def _embedded(folder: Path, label: str) -> EmbeddedStore:
    """A folder that is missing holds no collections yet; one that cannot be looked into may hold many."""
    try:
        with os.scandir(folder):
            pass
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(
            f"{folder} cannot hold collections ({error.strerror}); make it a folder that you may look into, "
            "or name another with --store embedded:DIR"
        ) from error
    return EmbeddedStore(folder, label=label)


def _server(url: str, origin: str, settings: Settings, say: Say) -> Store:
    try:
        ServerAddress.parse(url)
    except UsageError as error:
        raise UsageError(f"{origin}: {error}; {_FORMS}") from None
    return connect(url, api_key=settings.qdrant_api_key, say=say)


def _others(store: Store, settings: Settings, local_port: int) -> Iterator[str]:
    if not (isinstance(store, EmbeddedStore) and store.directory == settings.qdrant_dir):
        yield "embedded"
    if isinstance(store, EmbeddedStore):
        yield f"http://{_LOCAL_HOST}:{local_port}"


def _is_qdrant(port: int) -> bool:
    """Whether what listens there says that it is Qdrant, or refuses us in Qdrant's words.

    No key is sent: only who is known to be Qdrant gets one, when connecting.
    """
    answer = _get(port, "/")
    if answer is None:
        return False
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        said = f"{answer.headers}\n{answer.body.decode(errors='replace')}".lower()
        return any(words in said for words in _REFUSALS)
    title = answer.json().get("title")
    return answer.status == HTTPStatus.OK and isinstance(title, str) and "qdrant" in title.lower()


def _server_has(name: str, settings: Settings, port: int) -> bool:
    if not is_collection_name(name) or not _is_qdrant(port):
        return False
    check_api_key(settings.qdrant_api_key)
    answer = _get(port, f"/collections/{quote(name, safe='')}", api_key=settings.qdrant_api_key)
    return answer is not None and METADATA_KEY in answer.json()["result"]["config"]["metadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            data = parse_json(self.body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}


def _get(port: int, path: str, *, api_key: str | None = None) -> _Answer | None:
    """What this machine answers at a port; None where it is not HTTP or not there in time.

    A socket and not a client library: those take longer to import than this may take.
    """
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    key = f"api-key: {api_key}\r\n" if api_key else ""
    request = f"GET {path} HTTP/1.1\r\nHost: {_LOCAL_HOST}:{port}\r\n{key}Connection: close\r\n\r\n"
    try:
        with socket.create_connection((_LOCAL_HOST, port), timeout=PROBE_TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            response = HTTPResponse(cast("socket.socket", _Stream(connection, deadline)))
            response.begin()
            return _Answer(
                status=response.status, headers=response.headers, body=response.read(_MAX_ANSWER_BYTES)
            )
    except (OSError, HTTPException, ValueError):
        return None


class _Stream(io.RawIOBase):
    """Reads from a socket until one deadline, however slowly the other side drips."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `HTTPResponse` asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever can be written into
        """Raises `TimeoutError` past the deadline."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
