"""Whether Qdrant runs on this machine, and what it holds: asked at its port.

Where nobody listens that is known at once. Who has accepted a connection is given time to answer: a server
that builds an index, or was stopped, is not absent.

A socket and not a client library: those take longer to import than this may take.
"""

import io
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from lookalike_core.atomic import parse_json
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.models.model_manifest import METADATA_KEY

if TYPE_CHECKING:
    from http.client import HTTPMessage

ANSWER_TIMEOUT_S = 3.0
"""For an answer to whether this machine runs Qdrant: all of it, not each step.

One that built an index took up to 0.3 s.
"""

LOOK_TIMEOUT_S = 0.3
"""The same where the answer only makes a message better."""

LOCAL_HOST = "127.0.0.1"

_MAX_ANSWER_BYTES = 2**20
_HTTP = b"HTTP/"

_REFUSALS = ("qdrant", "must provide an api key", "invalid api key or jwt")
"""What a Qdrant that lets nobody see its title says instead; from its `src/common/auth/mod.rs`."""


def is_qdrant(port: int, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Returns whether what listens there says that it is Qdrant, or refuses us in Qdrant's words.

    No key is sent, here or when connecting: anybody on this machine may say so.

    Raises:
        StoreError: something listens there and does not answer: it may be Qdrant.
    """
    answer = _get(port, "/", timeout_s=timeout_s)
    if answer is None:
        return False
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        said = f"{answer.headers}\n{answer.body.decode(errors='replace')}".lower()
        return any(words in said for words in _REFUSALS)
    title = answer.json().get("title")
    return answer.status == HTTPStatus.OK and isinstance(title, str) and "qdrant" in title.lower()


def qdrant_has(name: str, port: int) -> bool:
    """Returns whether a Qdrant that asks for no key listens there and has a collection of ours of this name.

    Raises:
        StoreError: something listens there and does not answer.
    """
    if not is_qdrant(port, timeout_s=LOOK_TIMEOUT_S):
        return False
    answer = _get(port, f"/collections/{quote(name, safe='')}", timeout_s=LOOK_TIMEOUT_S)
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


def _get(port: int, path: str, *, timeout_s: float) -> _Answer | None:
    """Returns what this machine answers at a port; None where nobody listens, or it is not HTTP."""
    deadline = time.monotonic() + timeout_s
    request = f"GET {path} HTTP/1.1\r\nHost: {LOCAL_HOST}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOCAL_HOST, port), timeout=timeout_s) as connection:
            connection.sendall(request.encode())
            return _answer(connection, deadline)
    except TimeoutError as error:
        raise StoreError(
            f"something listens at {LOCAL_HOST}:{port} and does not answer within {timeout_s:g} s; if it is "
            "Qdrant, start it again or let it finish",
            hint=Hint(Action.USE_EMBEDDED),
        ) from error
    except (OSError, ValueError):
        return None


def _answer(connection: socket.socket, deadline: float) -> _Answer | None:
    """Reads by the standard library, which is imported only where anything listens at all."""
    from http.client import HTTPException, HTTPResponse

    stream = _Stream(connection, deadline)
    response = HTTPResponse(cast("socket.socket", stream))
    try:
        response.begin()
        return _Answer(
            status=response.status, headers=response.headers, body=response.read(_MAX_ANSWER_BYTES)
        )
    except HTTPException:
        return None
    except TimeoutError:
        if stream.is_http:
            raise
        return None


class _Stream(io.RawIOBase):
    """Reads from a socket until one deadline, however slowly the other side drips."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._begin = b""

    @property
    def is_http(self) -> bool:
        """Returns whether what has come so far, if anything, may be the begin of an answer in HTTP."""
        return self._begin == _HTTP[: len(self._begin)]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Returns what `HTTPResponse` asks a socket for."""
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
        size = self._connection.recv_into(buffer)
        self._begin += bytes(buffer[: min(size, len(_HTTP) - len(self._begin))])
        return size
