"""`search serve` as a process: its ready line, its end, and an ingest beside it."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from waiting import wait_until

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - nobody's
IMAGE = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def place(
    make_shell: Callable[[Path], Any], draw: Callable[..., object], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Returns a shell beside `album/`, which a collection holds."""
    shell = make_shell(tmp_path_factory.mktemp("serve"))
    draw(shell.folder / "album", *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(6)))
    assert shell.ingest("album").code == 0
    return shell


def metrics_of(url: str) -> str:
    """Returns the metrics of a server."""
    return httpx.get(f"{url}/metrics", timeout=120).text


@contextmanager
def running(shell: Any, *words: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Starts `search serve` on a free port; yields the process and its URL once it is ready."""
    with subprocess.Popen(
        [Path(sys.executable).parent / "search", "serve", "--port", "0", *words],
        cwd=shell.folder,
        env={**shell.environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("ready: http://127.0.0.1:"), process.communicate()
            yield process, ready.split()[1]
        finally:
            process.kill()


def draw_noise(folder: Path, count: int) -> None:
    """Draws images of noise."""
    folder.mkdir()
    random = np.random.default_rng(7)
    for number in range(count):
        pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_after_the_requests_in_hand(place: Any, number: signal.Signals) -> None:
    """A request whose body is still on its way is answered; the private copy is removed."""
    content = (place.folder / "album" / "cat" / "1.png").read_bytes()
    temporary = place.folder / f"temporary-{number}"
    temporary.mkdir()
    with running(place, TMPDIR=str(temporary)) as (process, url):
        assert len(list(temporary.iterdir())) == 1

        def slowly() -> Iterator[bytes]:
            yield content[:10]
            wait_until(
                lambda: "lookalike_waiting_requests 1.0" in httpx.get(f"{url}/metrics", timeout=120).text
            )
            process.send_signal(number)
            time.sleep(0.5)
            yield content[10:]

        answer = httpx.post(f"{url}/api/v1/query", content=slowly(), headers=IMAGE, timeout=120)
        assert answer.status_code == 200, answer.text
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, ""), err
        assert [line.partition(":")[0] for line in err.splitlines()[:1]] == ["store"]
        assert err.splitlines()[-1] == "stopped; all requests are answered"
        assert list(temporary.iterdir()) == []


def test_a_port_in_use_is_exit_1(place: Any) -> None:
    """With what to do; nothing was opened yet."""
    with running(place) as (_, url):
        port = url.rpartition(":")[2]
        done = place.process("search", "serve", "--port", port)
        assert (done.code, done.out) == (1, "")
        assert done.err == f"error: port {port} of 127.0.0.1 is in use; choose another, or 0 for a free one\n"


def test_wrong_usage_is_refused_before_anything_is_opened(place: Any) -> None:
    """Each with its exit code, and what to do."""
    open_to_all = place("search", "serve", "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert open_to_all.code == 2
    assert "LOOKALIKE_TOKEN" in open_to_all.err
    assert place("search", "serve", "--token", "two words").code == 2
    assert place("search", "serve", "--allow-origin", "example.org").code == 2
    assert place("search", "serve", "--port", "70000").code == 2
    missing = place("search", "serve", "--port", "0", "--collection", "vgg16-cosine")
    assert (missing.code, missing.out) == (6, "")


def test_a_token_of_the_environment_is_asked_for(place: Any) -> None:
    """In a header, or as the cookie of the login page; it is never shown."""
    with running(place, LOOKALIKE_TOKEN=TOKEN) as (process, url), httpx.Client(base_url=url) as client:
        refused = client.get("/api/v1/collections")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert client.get("/readyz").status_code == 200
        bearer = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/api/v1/collections", headers=bearer).status_code == 200
        page = client.get("/login")
        assert "script" not in page.text
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        assert client.post("/login", data={"token": "w" * 10_000}).status_code == 413
        assert client.post("/login", files={"token": b"x"}).status_code == 400
        assert client.post("/login", content=b"token").status_code == 401
        sent = client.post("/login", data={"token": TOKEN})
        cookie = sent.headers["set-cookie"]
        assert (sent.status_code, TOKEN in cookie) == (303, False)
        assert {"HttpOnly", "SameSite=lax"} <= set(cookie.split("; "))  # a followed link brings it along
        assert client.get(sent.headers["location"]).status_code == 200
        process.terminate()
        assert TOKEN not in "".join(process.communicate(timeout=120))


def test_an_ingest_runs_beside_the_server(place: Any) -> None:
    """It does not wait, every question meanwhile has an answer, and afterwards what is new is found."""
    draw_noise(place.folder / "album" / "bird", 300)
    query = (place.folder / "album" / "bird" / "7.png").read_bytes()
    with running(place) as (_, url), httpx.Client(base_url=url, timeout=120) as client:
        statuses: list[int] = []
        done = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=120) as other:
                while not done.is_set():
                    uploaded = other.post("/api/v1/query", content=query, headers=IMAGE)
                    indexed = other.post("/api/v1/query", json={"path": "cat/1.png"})
                    statuses.extend((uploaded.status_code, indexed.status_code))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            ingest = place.process("ingest", "run", "album", *place.model)
        finally:
            done.set()
            asking.join()
        assert ingest.code == 0, ingest.err
        assert len(statuses) > 2
        assert set(statuses) == {200}
        wait_until(
            lambda: client.get("/api/v1/collections").json()["collections"][0]["points"] == 312, every_s=0.1
        )
        found = client.post("/api/v1/query", content=query, headers=IMAGE).json()
        assert [each["path"] for each in found["left_out"]] == ["bird/7.png"]
        assert client.post("/api/v1/query", json={"path": "cat/1.png"}).status_code == 200
        assert place("search", "query", "cat/1.png", "--json").code == 0
