"""An S3 server on this machine, by moto, which implements Amazon's API in memory."""

import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

_SIGNED = (
    "AWS4-HMAC-SHA256 Credential=somebody/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
"""Nobody checks a signature here, but objects are not replaced without one."""


class Bucket:
    """A bucket of a running server; `environment` leads any client to it."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self._port = port
        self.environment = CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        self._request("PUT", "")

    @property
    def url(self) -> str:
        """The URL of the whole bucket."""
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes) -> None:
        """Writes an object."""
        self._request("PUT", key, content)

    def delete(self, key: str) -> None:
        """Deletes an object."""
        self._request("DELETE", key)

    def upload(self, folder: Path, prefix: str) -> None:
        """Writes all files below a folder."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def _request(self, method: str, key: str, content: bytes | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            target = f"/{self.name}/{quote(key)}".rstrip("/")
            connection.request(method, target, body=content, headers={"Authorization": _SIGNED})
            answer = connection.getresponse()
            answer.read()
            assert answer.status < 300, (method, key, answer.status)
        finally:
            connection.close()


@contextmanager
def serve_bucket(name: str) -> Iterator[Bucket]:
    """Serves a new bucket on a free port, for the length of a block."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield Bucket(server.get_host_and_port()[1], name)
    finally:
        server.stop()
