"""Tests that docker-compose.yml's server matches the client, and runs its health check, a line of shell.

No container is started: a small HTTP server stands in for Qdrant's health page.
"""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash, as the container does")


@pytest.fixture
def qdrant() -> dict[str, Any]:
    """Returns the service of docker-compose.yml."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["qdrant"]


def unescape(argument: str) -> str:
    """Returns an argument as the container receives it: Compose turns `$$` into `$` and interpolates `$`."""
    assert not re.search(r"(?<!\$)\$(?!\$)", argument), "Compose would fill this in from the host"
    return argument.replace("$$", "$")


def test_the_server_is_pinned_to_the_client_s_minor_version(qdrant: dict[str, Any]) -> None:
    """The version is exact; a client warns of a server whose minor version differs by more than one."""
    pinned = re.fullmatch(r"qdrant/qdrant:v(\d+\.\d+)\.\d+-unprivileged", qdrant["image"])
    assert pinned
    assert pinned[1] == ".".join(client_version().split(".")[:2])


@pytest.fixture
def serve() -> dict[str, Any]:
    """Returns the service that serves searches."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["serve"]


def dockerfile() -> list[str]:
    """Returns the instructions of the Dockerfile, each on one line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_serving_container_may_do_little(serve: dict[str, Any]) -> None:
    """It is started only when asked for, is reached from this machine alone, and images are read-only."""
    assert serve["profiles"] == ["serve"]
    assert serve["ports"] == ["127.0.0.1:8756:8756"]
    assert (serve["cap_drop"], serve["read_only"]) == (["ALL"], True)
    assert [each["read_only"] for each in serve["volumes"] if isinstance(each, dict)] == [True]
    assert "LOOKALIKE_TOKEN" in serve["environment"]
    assert "USER lookalike" in dockerfile()


def test_the_dockerfile_names_files_and_options_that_exist(shell: Any) -> None:
    """What it copies is there, and its command is understood."""
    copied = [word for line in dockerfile() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    (entry,) = [line for line in dockerfile() if line.startswith("ENTRYPOINT")]
    words = json.loads(entry.removeprefix("ENTRYPOINT "))
    refused = shell(*words)
    assert (refused.code, "LOOKALIKE_TOKEN" in refused.err) == (2, True)


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_of_the_serving_container_tells_ready_from_not_ready(
    status: int, healthy: bool
) -> None:
    """Run as the container would, with the tests' Python."""
    (check,) = [line for line in dockerfile() if line.startswith("HEALTHCHECK")]
    _, *arguments = json.loads(check.partition("CMD ")[2])
    with serve_health_page(status) as port:
        command = [sys.executable, *(each.replace(":8756", f":{port}") for each in arguments)]
        done = subprocess.run(command, timeout=60, check=False, stderr=subprocess.DEVNULL)
    assert (done.returncode == 0) is healthy


def client_version() -> str:
    """Returns the client's version in the lock file, or the installed one where no lock file exists."""
    lock = ROOT / "requirements.lock"
    if lock.exists():
        locked = re.search(r"^qdrant-client==([\d.]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
        assert locked, "requirements.lock has no qdrant-client"
        return locked[1]
    return version("qdrant-client")


@needs_bash
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (401, False)])
def test_the_health_check_tells_ready_from_not_ready(
    qdrant: dict[str, Any], status: int, healthy: bool
) -> None:
    """Only a 200 from /readyz counts."""
    with serve_health_page(status) as port:
        assert is_healthy(qdrant, port) is healthy


@needs_bash
def test_the_health_check_fails_where_nothing_listens(qdrant: dict[str, Any]) -> None:
    """Nothing listens while the server starts, or after it stopped."""
    with serve_health_page(200) as port:
        pass
    assert not is_healthy(qdrant, port)


def is_healthy(qdrant: dict[str, Any], port: int) -> bool:
    """Runs the check as the container would, against a local port."""
    _, *command = [unescape(argument) for argument in qdrant["healthcheck"]["test"]]
    command[-1] = command[-1].replace("/6333", f"/{port}")
    return subprocess.run(command, timeout=60, check=False, stderr=subprocess.DEVNULL).returncode == 0


@contextmanager
def serve_health_page(status: int) -> Iterator[int]:
    """Serves `/readyz` with a status on its own port; any other page is a 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"all shards are ready"
            self.send_response(status if self.path == "/readyz" and self.headers["Host"] else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Logs nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
