"""Runs a TCP proxy that injects the faults of networks, proxies and dying servers into requests.

It stands between a real client and whatever answers behind it, a real server or a stand-in, and passes
bytes on until it is told otherwise. It looks at the first request of a connection; our client opens one
for each request to this machine.
"""

import json
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

_CHUNK = 65_536
_TLS_HANDSHAKE = b"\x16"
_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The complete first request of a connection; `line` is like `PUT /collections/x/points?wait=true`."""

    line: str
    data: bytes


Fault = Callable[["FaultyProxy", socket.socket, Request], None]


def passing(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
    """Passes the request and its answer on without a fault."""
    proxy.exchange(client, request)


def reset(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
    """Resets the connection before anything reaches the server."""
    _reset(client)


def lost_answer(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
    """Lets the server handle the request, and resets the connection before its answer is passed on."""
    proxy.exchange(client, request, answer_bytes=0)
    _reset(client)


def cut_answer(after: int) -> Fault:
    """Returns a fault that ends the connection after that many bytes of the answer."""

    def cut(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
        proxy.exchange(client, request, answer_bytes=after)

    return cut


def stall(seconds: float) -> Fault:
    """Returns a fault that delays a request without an answer, then passes it on and drops its answer."""

    def hold(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
        if not proxy.closing.wait(seconds):
            proxy.exchange(client, request)

    return hold


def answer(status: int, error: str = "said so", **headers: str) -> Fault:
    """Returns a fault that answers in Qdrant's format; `retry_after="1"` is a header."""

    def give(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
        body = json.dumps({"status": {"error": error}, "time": 0.0})
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        client.sendall(f"HTTP/1.1 {status} Fault\r\n{head}\r\n{body}".encode())

    return give


def after(action: Callable[[], object]) -> Fault:
    """Returns a fault that runs an action, then passes the request on."""

    def act(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
        action()
        proxy.exchange(client, request)

    return act


def before_answer(action: Callable[[], object]) -> Fault:
    """Returns a fault that passes the request on, then runs an action, then passes the answer on."""

    def act(proxy: "FaultyProxy", client: socket.socket, request: Request) -> None:
        proxy.exchange(client, request, meanwhile=action)

    return act


class FaultyProxy:
    """Listens on its own port and forwards to `target`, a host and a port."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = 0
        self.seen: list[str] = []
        self.body_limit: int | None = None
        """Requests with a longer body are answered with 413."""
        self.deaf_above: int | None = None
        """A longer body is answered with 400 at once and not read, as Qdrant does it."""
        self.closing = threading.Event()
        self._plans: list[tuple[str, list[Fault]]] = []
        self._lock = threading.Lock()
        self._listening: threading.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The URL that it listens on."""
        return f"http://127.0.0.1:{self.port}"

    def plan(self, pattern: str, *faults: Fault) -> None:
        """Plans the faults of the next requests whose line matches, one each; later requests pass."""
        with self._lock:
            self._plans.append((pattern, list(faults)))

    def count(self, pattern: str) -> int:
        """Returns the number of requests so far whose line matches."""
        return sum(re.search(pattern, line) is not None for line in self.seen)

    def open(self) -> None:
        """Starts to listen, on the same port as before."""
        listener = socket.create_server(("127.0.0.1", self.port))
        # a small buffer, so that a client notices when nothing is read
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
        self.port = listener.getsockname()[1]
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(listener, self._listening), daemon=True)
        self._thread.start()

    def refuse(self) -> None:
        """Stops listening: new connections are refused."""
        if self._listening is not None and self._thread is not None:
            self._listening.set()
            self._thread.join()
            self._listening = None

    def exchange(
        self,
        client: socket.socket,
        request: Request,
        *,
        answer_bytes: int | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Sends the request to the target and returns its answer, all of it or its first bytes."""
        try:
            server = socket.create_connection(self.target)
        except OSError:
            _reset(client)
            return
        with server:
            server.sendall(request.data)
            if answer_bytes is None and meanwhile is None:
                _pump(client, server)
                return
            data = _answer(server)
            if meanwhile is not None:
                meanwhile()
            client.sendall(data[:answer_bytes])

    def _serve(self, listener: socket.socket, ended: threading.Event) -> None:
        with listener:
            listener.settimeout(_POLL_S)
            while not ended.is_set():
                with suppress(TimeoutError):
                    client, _ = listener.accept()
                    client.settimeout(None)
                    threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            request = _read_request(client, self.deaf_above)
            if request is not None and not request.data:
                self.seen.append(request.line)
                answer(400, f"larger than allowed (limit: {self.deaf_above} bytes)")(self, client, request)
                self.closing.wait()
            elif request is not None:
                self.seen.append(request.line)
                self._fault_for(request)(self, client, request)

    def _fault_for(self, request: Request) -> Fault:
        with self._lock:
            for pattern, faults in self._plans:
                if faults and re.search(pattern, request.line):
                    return faults.pop(0)
        if self.body_limit is not None and len(request.data) > self.body_limit:
            return answer(413, f"the limit is {self.body_limit} bytes")
        return passing


@contextmanager
def running_proxy(target: tuple[str, int]) -> Iterator[FaultyProxy]:
    """Runs a proxy that listens until the block ends."""
    proxy = FaultyProxy(target)
    proxy.open()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        proxy.refuse()


def _read_request(client: socket.socket, most: int | None = None) -> Request | None:
    """Returns the first request or answer of a connection, without a body of more than `most` bytes."""
    data = b""
    for chunk in iter(partial(client.recv, _CHUNK), b""):
        data += chunk
        if data[:1] == _TLS_HANDSHAKE:
            return None
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator:
            continue
        found = re.search(rb"(?i)content-length: *(\d+)", head)
        length = int(found[1] if found else 0)
        line = head.partition(b"\r\n")[0].decode().rpartition(" ")[0]
        if most is not None and length > most:
            return Request(line=line, data=b"")
        if len(body) >= length:
            return Request(line=line, data=data)
    return None


def _answer(server: socket.socket) -> bytes:
    response: Any = _read_request(server)
    return response.data if response is not None else b""


def _pump(client: socket.socket, server: socket.socket) -> None:
    """Copies bytes both ways until one side closes."""
    other = {client: server, server: client}
    while True:
        ready, _, _ = select.select(list(other), [], [], 30)
        for side in ready:
            chunk = side.recv(_CHUNK)
            if not chunk:
                return
            other[side].sendall(chunk)
        if not ready:
            return


def _reset(client: socket.socket) -> None:
    """Closes a socket so that its connection is reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
