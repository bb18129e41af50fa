"""Whether Qdrant runs on this machine, and what it holds: asked at its port, within a moment.

A socket and not a client library: those take longer to import than this may take.
"""

import io
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from lookalike.files import parse_json
from lookalike.manifest import METADATA_KEY

if TYPE_CHECKING:
    from http.client import HTTPMessage

PROBE_TIMEOUT_S = 0.3
"""For looking whether this machine runs Qdrant: all of it, not each step."""

LOCAL_HOST = "127.0.0.1"

_MAX_ANSWER_BYTES = 2**20

_REFUSALS = ("qdrant", "must provide an api key", "invalid api key or jwt")
"""What a Qdrant that lets nobody see its title says instead; from its `src/common/auth/mod.rs`."""


def is_qdrant(port: int) -> bool:
    """Whether what listens there says that it is Qdrant, or refuses us in Qdrant's words.

    No key is sent, here or when connecting: anybody on this machine may say so.
    """
    answer = _get(port, "/")
    if answer is None:
        return False
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        said = f"{answer.headers}\n{answer.body.decode(errors='replace')}".lower()
        return any(words in said for words in _REFUSALS)
    title = answer.json().get("title")
    return answer.status == HTTPStatus.OK and isinstance(title, str) and "qdrant" in title.lower()


def qdrant_has(name: str, port: int) -> bool:
    """Whether a Qdrant that asks for no key listens there and holds a collection of ours with this name."""
    if not is_qdrant(port):
        return False
    answer = _get(port, f"/collections/{quote(name, safe='')}")
    return answer is not None and METADATA_KEY in answer.json()["result"]["config"]["metadata"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: "HTTPMessage"
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            data = parse_json(self.body)
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}


def _get(port: int, path: str) -> _Answer | None:
    """What this machine answers at a port; None where it is not HTTP or not there in time."""
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    request = f"GET {path} HTTP/1.1\r\nHost: {LOCAL_HOST}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOCAL_HOST, port), timeout=PROBE_TIMEOUT_S) as connection:
            connection.sendall(request.encode())
            return _answer(connection, deadline)
    except (OSError, ValueError):
        return None


def _answer(connection: socket.socket, deadline: float) -> _Answer | None:
    """Read by the standard library, which is imported only where anything listens at all."""
    from http.client import HTTPException, HTTPResponse

    response = HTTPResponse(cast("socket.socket", _Stream(connection, deadline)))
    try:
        response.begin()
        return _Answer(
            status=response.status, headers=response.headers, body=response.read(_MAX_ANSWER_BYTES)
        )
    except HTTPException:
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
