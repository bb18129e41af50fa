"""Requests beyond the limits are refused, and the others are served."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from lookalike_core.arrays import FloatVector, Pixels
from lookalike_search.analysis.explanation import ComparedImage
from lookalike_search.asking.searched_collection import SearchedCollection
from lookalike_search.serving import server, service
from lookalike_search.serving.limits import ServingLimits
from PIL import Image
from waiting import wait_until

QUERY = "/api/v1/query"
IMAGE = {"content-type": "image/png"}


@contextmanager
def connection(url: str) -> Iterator[socket.socket]:
    """Connects to a server without speaking HTTP yet."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as one:
        yield one


def answer_to(one: socket.socket) -> bytes:
    """Returns what a server sends until it closes the connection, in whatever way."""
    parts = []
    with suppress(ConnectionError):
        while part := one.recv(65536):
            parts.append(part)
    return b"".join(parts)


def read_until(one: socket.socket, end: bytes) -> bytes:
    """Returns what a server sends up to these bytes."""
    read = b""
    while not read.endswith(end) and (part := one.recv(65536)):
        read += part
    return read


class Gate:
    """Lets a model run only when it is opened; counts the images of each run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.runs = threading.Event(), []
        embed = SearchedCollection.embed

        def wait(network: SearchedCollection, pixels: list[Pixels]) -> list[FloatVector | None]:
            self.runs.append(len(pixels))
            assert self.opened.wait(120)
            return embed(network, pixels)

        monkeypatch.setattr(SearchedCollection, "embed", wait)


@pytest.fixture
def image(album: Any) -> bytes:
    """Returns an image of the collection."""
    return Path(album.folder / "album" / "cat" / "1.png").read_bytes()


def test_requests_beyond_the_queue_are_sent_away_at_once(
    album: Any, image: bytes, start_serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time after which to try again; those in the queue are answered, in shared runs."""
    limits = ServingLimits(waiting=4, gather_s=0.05, queue_s=120)
    with start_serving(album.folder / "home", limits=limits) as served, ThreadPoolExecutor(4) as pool:
        gate = Gate(monkeypatch)
        with served.client() as client:
            waiting = [pool.submit(client.post, QUERY, content=image, headers=IMAGE) for _ in range(4)]
            wait_for_waiting(client, 4)
            busy = client.get("/api/v1/collections")
            assert busy.status_code == 503
            assert (busy.json()["code"], busy.headers["retry-after"]) == ("busy", "1")
            assert client.get("/livez").status_code == 200
            gate.opened.set()
            assert [each.result().status_code for each in waiting] == [200] * 4
            assert sum(gate.runs) == 4
            assert 'rejected_requests_total{code="busy"}' in client.get("/metrics").text


def test_a_client_that_goes_away_gives_up_its_place(
    album: Any, image: bytes, start_serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image that waits for the model is not embedded any more."""
    limits = ServingLimits(waiting=2, gather_s=0, batch=1)
    with start_serving(album.folder / "home", limits=limits) as served:
        gate = Gate(monkeypatch)
        head = f"POST {QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(image) + image
        with served.client() as client, connection(served.url) as first:
            first.sendall(request)
            # images are decoded in parallel: the second could come to the model first
            wait_until(lambda: gate.runs)
            with connection(served.url) as second:
                second.sendall(request)
                wait_for_waiting(client, 2)
            wait_for_waiting(client, 1)
            gate.opened.set()
            assert first.recv(15) == b"HTTP/1.1 200 OK"
        assert gate.runs == [1]


def test_whoever_leaves_a_page_gives_up_its_place(
    album: Any, start_serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tab that is led from question to question waits for one of them, not for all."""
    held = threading.Event()
    read = service.read_image

    def wait(*arguments: Any, **options: Any) -> ComparedImage:
        assert held.wait(120)
        return read(*arguments, **options)

    limits = ServingLimits(waiting=2)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        query = {"path": "cat/1.png", "limit": 1}
        other = client.post(QUERY, json=query).json()["hits"][0]["id"]
        monkeypatch.setattr(service, "read_image", wait)
        head = f"GET /?path=cat/1.png&explain={other} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with connection(served.url) as one:
            one.sendall(head.encode())
            wait_for_waiting(client, 1)
        wait_for_waiting(client, 0)
        held.set()


def wait_for_waiting(client: httpx.Client, count: int) -> None:
    """Waits until so many requests wait or are worked on."""
    wait_until(lambda: f"lookalike_waiting_requests {count}.0" in client.get("/metrics").text)


def test_bodies_are_bounded_while_they_are_read(
    album: Any, image: bytes, start_serving: Callable[..., Any]
) -> None:
    """Whether their length is declared or not; the rest is not read."""
    limits = ServingLimits(body_bytes=2**20, pixels=100)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        large = b"x" * (2**20 + 1)
        declared = client.post(QUERY, content=large, headers=IMAGE)
        assert (declared.status_code, declared.json()["code"]) == (413, "too-large")
        streamed = client.post(QUERY, content=iter([large[:1000], large]), headers=IMAGE)
        assert (streamed.status_code, streamed.json()["code"]) == (413, "too-large")
        form = client.post(QUERY, files={"image": ("a", large)})
        assert (form.status_code, form.json()["code"]) == (413, "too-large")
        pixels = client.post(QUERY, content=image, headers=IMAGE)
        assert (pixels.status_code, pixels.json()["reason"]) == (413, "too-large")
        assert client.get("/readyz").status_code == 200


def test_a_body_that_comes_too_slowly_is_refused(album: Any, start_serving: Callable[..., Any]) -> None:
    """The server goes on serving."""
    limits = ServingLimits(body_s=0.5)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        with connection(served.url) as slow:
            slow.sendall(f"POST {QUERY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n".encode())
            slow.sendall(b"Content-Length: 1000\r\n\r\nx")
            assert b" 408 " in answer_to(slow)[:20]
        assert client.get("/readyz").status_code == 200


def test_heads_are_bounded(album: Any, start_serving: Callable[..., Any]) -> None:
    """A connection that says nothing, or not enough, or too much, is closed."""
    limits = ServingLimits(head_s=2.0, head_bytes=4096)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        with connection(served.url) as silent, connection(served.url) as slow, connection(served.url) as full:
            slow.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n")
            full.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 5000)
            assert answer_to(silent) == answer_to(slow) == b""
            assert b" 400 " in answer_to(full)[:20]
        with connection(served.url) as kept:
            for _ in range(2):
                kept.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert read_until(kept, b"ok\n").startswith(b"HTTP/1.1 200")
            assert answer_to(kept) == b""
        assert client.get("/livez").status_code == 200


def test_whoever_reads_nothing_is_disconnected(
    album: Any, start_serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are counted, so that a few hundred of these would keep all others out, even unasked."""
    request = b"GET /static/map.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    disconnected = watch_disconnections(monkeypatch)
    with start_serving(album.folder / "home", limits=ServingLimits(stall_s=0.3)) as served:
        with served.client() as client:
            whole = 1_000 * len(client.get("/static/map.js").content)
        parts = urlsplit(served.url)
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the system takes all of it
            one.settimeout(60)
            one.connect((parts.hostname, parts.port))
            one.sendall(1_000 * request)
            wait_until(lambda: one.getsockname() in disconnected)
            taken = 0
            with suppress(ConnectionError):
                while (part := one.recv(2**20)) and taken < whole:
                    taken += len(part)
        assert taken < whole


def watch_disconnections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Returns the list of the addresses of clients whose connections have ended at the server."""
    ended: list[Any] = []
    lose = server._ReaderTimed.connection_lost  # noqa: SLF001 - the client's system knows only later

    def note(protocol: Any, error: Exception | None) -> None:
        lose(protocol, error)
        ended.append(protocol.client)

    monkeypatch.setattr(server._ReaderTimed, "connection_lost", note)  # noqa: SLF001
    return ended


def test_a_slow_reader_has_all_of_it(album: Any, start_serving: Callable[..., Any]) -> None:
    """It takes some now and then."""
    request = b"GET /static/map.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with start_serving(album.folder / "home", limits=ServingLimits(stall_s=1.5)) as served:
        with served.client() as client:
            whole = 600 * len(client.get("/static/map.js").content)
        with connection(served.url) as one:
            one.sendall(600 * request)
            taken = 0
            while taken < whole and (part := one.recv(2**20)):
                taken += len(part)
                time.sleep(0.05)
        assert taken >= whole


def test_a_query_has_at_most_so_many_images(
    album: Any, image: bytes, start_serving: Callable[..., Any]
) -> None:
    """In a form and in JSON."""
    limits = ServingLimits(examples=3)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        files = [("image", ("a", image)), *[("and", ("b", image))] * 3]
        assert client.post(QUERY, files=files).json()["code"] == "usage"
        assert client.post(QUERY, files=files[:3]).status_code == 200
        many = client.post(QUERY, json={"path": "cat/1.png", "and": ["cat/2.png"] * 3})
        assert (many.status_code, many.json()["code"]) == (400, "usage")


def test_an_image_that_takes_too_long_is_refused(
    album: Any, tmp_path: Path, start_serving: Callable[..., Any]
) -> None:
    """The next one is decoded."""
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png", compress_level=1)
    limits = ServingLimits(decode_s=0.05)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        slow = client.post(QUERY, content=(tmp_path / "large.png").read_bytes(), headers=IMAGE)
        assert (slow.status_code, slow.json()["code"]) == (408, "too-slow")
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x16\x03\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://evil.example/livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"POST /api/v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\n\r\n",
        b"GET /api/v1/images/%ff%00/thumbnail HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_hostile_bytes_leave_the_server_serving(served: Any, client: httpx.Client, sent: bytes) -> None:
    """Also where the client stops sending, and waits."""
    with connection(served.url) as one:
        with suppress(OSError):  # it may be closed already
            one.sendall(sent)
            one.shutdown(socket.SHUT_WR)
        answer = answer_to(one)
        assert b" 500 " not in answer[:20]
        assert b"root:" not in answer
    assert client.get("/livez").status_code == 200
