"""A thousand hostile requests leave a server serving, and read nothing that is not indexed."""

import json
import logging
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from lookalike_search.serving.limits import ServingLimits
from waiting import wait_until

REQUESTS = 1_000

SECRET = b"a secret that no answer may hold"

NAMES = (
    "id",
    "path",
    "and",
    "not",
    "collection",
    "limit",
    "offset",
    "where",
    "fusion",
    "exact",
    "vote",
    "k",
    "region",
    "locate",
    "confidence",
    "upload",
    "neighbour",
    "after",
    "class",
    "x",
)

TEXTS = (
    "", "cat/1.png", "../secret.txt", "/etc/passwd", "\x00", "\ud800", "\u202e", "<script>", "a" * 5000,
    "~", "-", "{}", "null", "1e999", "-1", "NaN", "true", "rrf", "vgg16-cosine", "..",
    "file:///etc/passwd", "\r\nX-Y: 1", "upload:", f"upload:{'0' * 32}", f"upload:{'f' * 31}\n",
)  # fmt: skip

HOSTS = (
    "localhost",
    "127.0.0.1",
    "[::1]",
    "evil.example",
    "",
    "localhost\x0b",
    "127.0.0.1:99999999",
    "a" * 3000,
)

IMAGE, UPLOAD = "/api/v1/images/{}", "/api/v1/uploads/{}"

PATHS = (
    "/api/v1/query", "/api/v1/embed", "/api/v1/collections", IMAGE, f"{IMAGE}/thumbnail",
    f"{IMAGE}/neighbours", f"{IMAGE}/original", f"{IMAGE}/explain", "/api/v1/explain", "/api/v1/images",
    "/api/v1/uploads", UPLOAD, f"{UPLOAD}/thumbnail", f"{UPLOAD}/neighbours", "/api/v1/jobs",
    "/api/v1/jobs/{}", "/openapi.json", "/metrics", "/livez", "/login", "/", "//",
    "*", "/../../etc/passwd", "/api/v1/../../secret.txt", "/%2e%2e/secret.txt", "/api/v1/images/%00",
)  # fmt: skip

EDGES = ("64", "0", "x", "9e9")

ORIGINS = ("Origin: null", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site")

HEADERS = (
    f"Cookie: {'a=b; ' * 2000}",
    "Authorization: Bearer x",
    "Expect: 100-continue",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Content-Length: 7",
    "Connection: upgrade\r\nUpgrade: h2c",
    " folded: yes",
    "X-Bad\x00: y",
)

KINDS = ("text/plain", "application/json", "multipart/form-data")


class Attacker:
    """Makes requests that no client would, the same ones for the same seed."""

    def __init__(self, seed: int, image: bytes, ids: list[str]) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - no secret is made of it
        self.image, self.ids = image, ids

    def request(self) -> bytes:
        """Returns the bytes of one."""
        draw = self.draw
        body, kind = self._body()
        named = draw.choice([*self.ids, *map(quote_any, TEXTS)])
        path = draw.choice(PATHS).replace("{}", named)
        if draw.random() < 0.5:
            path += f"?{draw.choice(NAMES)}={quote_any(draw.choice(TEXTS))}&edge={draw.choice(EDGES)}"
        headers = [f"Host: {draw.choice(HOSTS)}", f"Content-Type: {kind}"]
        headers += [f"Content-Length: {draw.choice([len(body)] * 6 + [0, 3, len(body) + 9])}"]
        if draw.random() < 0.2:
            headers.append(draw.choice(ORIGINS))
        if draw.random() < 0.1:
            headers.append(draw.choice(HEADERS))
        method = draw.choice(["GET", "POST", "POST", "POST", "HEAD", "DELETE", "OPTIONS", "BREW"])
        head = f"{method} {path} HTTP/1.1\r\n" + "\r\n".join(headers) + "\r\nConnection: close\r\n\r\n"
        sent = head.encode("utf-8", "surrogatepass") + body
        return self._damage(sent) if draw.random() < 0.2 else sent

    def _body(self) -> tuple[bytes, str]:
        draw = self.draw
        match draw.randrange(5):
            case 0:
                return self._damage(self.image), "image/png"
            case 1:
                fields = {draw.choice(NAMES): self._value(3) for _ in range(draw.randrange(6))}
                return json.dumps(fields).encode(), "application/json"
            case 2:
                parts = b"".join(self._part() for _ in range(draw.randrange(5)))
                return parts + b"--b--\r\n", "multipart/form-data; boundary=b"
            case 3:
                part = draw.choice([b"--b\r\n\r\n", b"--b\r\nX: y\r\n", self._part(), b"\r\n--", b"\r"])
                return part * draw.randrange(2000), "multipart/form-data; boundary=b"
        return draw.randbytes(draw.randrange(200)), draw.choice(KINDS)

    def _part(self) -> bytes:
        name = self.draw.choice(["image", *NAMES])
        file = self.draw.choice(["", '; filename="../../x.png"', '; filename="\u202e<b>"'])
        value = self.image if file else self.draw.choice(TEXTS).encode("utf-8", "surrogatepass")
        return (
            f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + value + b"\r\n"
        )

    def _value(self, depth: int) -> Any:
        draw = self.draw
        if depth and draw.random() < 0.3:
            return draw.choice([[self._value(depth - 1)], {draw.choice(NAMES): self._value(depth - 1)}])
        return draw.choice([*TEXTS[:5], *self.ids[:2], None, True, 0, 3, -1, 1e300, 10**30])

    def _damage(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(self.draw.randrange(1, 5)):
            damaged[self.draw.randrange(len(damaged))] = self.draw.randrange(256)
        return bytes(damaged[: self.draw.randrange(1, len(damaged) + 1)])


def quote_any(text: str) -> str:
    """Returns a text as an address has it; halves of pairs stay out."""
    return quote(text.encode("utf-8", "replace"))


@pytest.mark.slow
def test_hostile_requests_leave_the_server_serving(album: Any, start_serving: Callable[..., Any]) -> None:
    """Half of the clients close their side early, or read no answer; no answer is a fault of the server."""
    (album.folder / "secret.txt").write_bytes(SECRET)
    image = Path(album.folder / "album" / "cat" / "1.png").read_bytes()
    limits = ServingLimits(body_s=0.15, head_s=0.15, head_bytes=8192)
    statuses: dict[bytes, int] = {}
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        found = answer_in_time(lambda: client.post("/api/v1/query", json={"path": "cat/1.png"}))
        upload = answer_in_time(lambda: client.post("/api/v1/uploads", files={"image": image}))["upload"]
        attacker = Attacker(18, image, [*(hit["id"] for hit in found["hits"]), upload])
        parts = urlsplit(served.url)
        for _ in range(REQUESTS):
            with socket.create_connection((parts.hostname, parts.port), timeout=60) as one:
                sent, way = attacker.request(), attacker.draw.randrange(8)
                with suppress(OSError):  # it may be closed before all is sent
                    one.sendall(sent)
                    if way == 1:
                        one.shutdown(socket.SHUT_WR)
                if way == 0:
                    continue
                answer = read_all(one)
            assert SECRET not in answer
            assert b"root:" not in answer
            status = answer[9:12]
            statuses[status] = statuses.get(status, 0) + 1
        after = answer_in_time(lambda: client.post("/api/v1/query", json={"path": "cat/1.png"}))
        assert after["hits"] == found["hits"]
        wait_until_all_places_are_free(served)
    assert b"500" not in statuses
    assert {b"200", b"400", b"404", b"421"} <= statuses.keys()


def answer_in_time(send: Callable[[], httpx.Response]) -> Any:
    """Returns the answer of a server that waits only for a moment: a busy machine may send too slowly."""
    answers: list[Any] = []

    def is_answered() -> bool:
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):  # closed just when it was to be used again
            response = send()
            if response.is_success:
                answers.append(response.json())
        return bool(answers)

    wait_until(is_answered)
    return answers[0]


def wait_until_all_places_are_free(served: Any) -> None:
    """Waits until no request waits or is worked on, each look by a connection of its own."""
    wait_until(
        lambda: "lookalike_waiting_requests 0.0" in httpx.get(f"{served.url}/metrics", timeout=120).text
    )


GET = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"

SMUGGLED = (
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
    b"Content-Length: 0, 60\r\n\r\n",
    b"Content-Length: +0\r\n\r\n",
    b"Content-Length: 0x0\r\n\r\n",
    b"Content-Length : 0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 30 + b"\r\n\r\n",
    b"X: a\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 60\r\n\r\n0\r\n\r\n",
)
"""Ends of a head, each with a body whose end a proxy might see elsewhere."""


@pytest.fixture(scope="module")
def impatient(album: Any, start_serving: Callable[..., Any]) -> Iterator[Any]:
    """Returns a server that waits for a head no longer than a moment."""
    with start_serving(album.folder / "home", limits=ServingLimits(head_s=0.3, body_s=0.3)) as one:
        yield one


@pytest.mark.parametrize("end", SMUGGLED)
def test_a_body_of_doubtful_length_hides_no_further_request(impatient: Any, end: bytes) -> None:
    """What follows it is not answered, since a proxy in front may have taken it for the body."""
    parts = urlsplit(impatient.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as one:
        one.sendall(b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n" + end)
        with suppress(ConnectionError):  # it may be closed already
            one.sendall(GET)
        answer = read_all(one)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"openapi" not in answer


@pytest.mark.parametrize("lengths", ["", "Content-Length: 9\r\n"])
@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("pause_s", [0, 0.1])
def test_a_malformed_body_is_no_fault_of_the_server(
    impatient: Any, caplog: pytest.LogCaptureFixture, method: str, lengths: str, pause_s: float
) -> None:
    """Nothing is logged as an error, whether the response has begun or not, and the connection is closed."""
    parts = urlsplit(impatient.url)
    head = f"{method} /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n{lengths}"
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as one:
        one.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".encode())
        time.sleep(pause_s)
        with suppress(ConnectionError):  # it may be closed already
            one.sendall(b"no length\r\n")
        answer = read_all(one)
    assert answer.count(b"HTTP/1.1 ") <= 1
    wait_until_all_places_are_free(impatient)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("path", ["query", "uploads", "explain", "embed"])
def test_a_slow_or_unfinished_body_takes_no_place(
    album: Any, start_serving: Callable[..., Any], path: str
) -> None:
    """It is refused in time, or its client is gone; then all places are free."""
    head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    for is_closed in (False, True):
        limits = ServingLimits(body_s=60 if is_closed else 0.3, waiting=2)
        with start_serving(album.folder / "home", limits=limits) as served:
            parts = urlsplit(served.url)
            with socket.create_connection((parts.hostname, parts.port), timeout=60) as one:
                one.sendall(head.encode() + b"Content-Length: 1000\r\n\r\n\x89PNG")
                if is_closed:
                    one.shutdown(socket.SHUT_WR)
                answer = read_all(one)
            assert answer == b"" if is_closed else b" 408 " in answer[:20]
            wait_until_all_places_are_free(served)


@pytest.mark.slow
def test_thousands_of_uploads_stay_within_their_bound(album: Any, start_serving: Callable[..., Any]) -> None:
    """The last ones are there, the others are not, and no id comes twice."""
    image = Path(album.folder / "album" / "cat" / "1.png").read_bytes()
    limits = ServingLimits(upload_bytes=2**21)
    with start_serving(album.folder / "home", limits=limits) as served, served.client() as client:
        sent = {"content": image, "headers": {"content-type": "image/png"}}
        ids = [client.post("/api/v1/uploads", **sent).json()["upload"] for _ in range(2_000)]
        assert len(set(ids)) == len(ids)
        text = client.get("/metrics").text
        [taken] = [
            float(line.split()[1]) for line in text.splitlines() if line.startswith("lookalike_upload")
        ]
        assert 0 < taken <= limits.upload_bytes
        there = [client.get(f"/api/v1/uploads/{id_}").status_code == 200 for id_ in ids[-30:]]
        assert there == [False] * (30 - sum(there)) + [True] * sum(there)
        assert 10 <= sum(there) <= 14


def test_a_form_of_very_many_parts_is_refused(served: Any, client: Any) -> None:
    """Fields as well as files, whatever they are called."""
    kind = {"content-type": "multipart/form-data; boundary=b"}
    for file in (b"", b'; filename="x"'):
        part = b'--b\r\nContent-Disposition: form-data; name="and"' + file + b"\r\n\r\nx\r\n"
        for path in ("query", "uploads", "explain"):
            sent = part * 20_000 + b"--b--\r\n"
            refused = client.post(f"/api/v1/{path}", content=sent, headers=kind)
            assert (refused.status_code, refused.json()["code"]) == (400, "usage")


def read_all(one: socket.socket) -> bytes:
    """Returns what a server sends until it closes the connection, in whatever way."""
    parts = []
    try:
        while part := one.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)
