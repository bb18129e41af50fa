"""Checks whether Qdrant runs on this machine, and what it stores, by HTTP to its port.

If nothing listens, that is known immediately. A server that has accepted a connection is given time to
answer: it may be building an index, or be suspended.

A plain socket is used, since importing a client library would take longer than the check may.
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
"""Time limit for the whole answer to whether Qdrant runs here, not for each step.

A server building an index took up to 0.3 s.
"""

LOOK_TIMEOUT_S = 0.3
"""The same for a check that only improves a message."""

LOCAL_HOST = "127.0.0.1"

_MAX_ANSWER_BYTES = 2**20
_HTTP = b"HTTP/"

_REFUSALS = ("qdrant", "must provide an api key", "invalid api key or jwt")
"""Answers of a Qdrant that requires a key, from its `src/common/auth/mod.rs`."""


def is_qdrant(port: int, *, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
    """Returns whether the port's answer is Qdrant's: its title, or a refusal in its words.

    No key is sent, here or when connecting: any user of this machine could answer so.

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
    """Returns whether a Qdrant that requires no key runs there and has a collection of ours of this name.

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
    """Returns this machine's answer at a port; None if nothing listens, or the answer is not HTTP."""
    deadline = time.monotonic() + timeout_s
    request = f"GET {path} HTTP/1.1\r\nHost: {LOCAL_HOST}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((LOCAL_HOST, port), timeout=timeout_s) as connection:
            connection.sendall(request.encode())
            return _answer(connection, deadline)
    except TimeoutError as error:
        raise StoreError(
            f"something listens at {LOCAL_HOST}:{port} and does not answer within {timeout_s:g} s; if it is "
            "Qdrant, restart it or let it finish",
            hint=Hint(Action.USE_EMBEDDED),
        ) from error
    except (OSError, ValueError):
        return None


def _answer(connection: socket.socket, deadline: float) -> _Answer | None:
    """Reads an answer with the standard library, imported only if something listens at the port."""
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
    """Reads from a socket until one deadline for the whole answer, however slowly it arrives."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._begin = b""

    @property
    def is_http(self) -> bool:
        """Whether the bytes so far, if any, can be the beginning of an HTTP answer."""
        return self._begin == _HTTP[: len(self._begin)]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Returns the file object that `HTTPResponse` asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Returns True."""
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
