"""Snapshots of a server's collections: made, downloaded, uploaded, removed by its documented HTTP interface.

Source: https://qdrant.tech/documentation/snapshots/. A snapshot holds what one node has of a collection, with
its configuration and metadata, and without its aliases.
"""

import hashlib
import io
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self
from urllib.parse import quote

from lookalike_core.errors import StoreError
from lookalike_core.stores.address import ServerAddress
from lookalike_core.stores.faults import refuse_answer

if TYPE_CHECKING:
    import httpx

_CHUNK_BYTES = 2**20
_ANSWER_TIMEOUT_S = 3_600.0
"""How long the server may take to make or to unpack a snapshot."""

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot on the server; `sha256` is None where the server does not say it."""

    name: str
    bytes: int
    sha256: str | None

    @classmethod
    def from_json(cls, data: Any) -> Self:  # noqa: ANN401 - what the server answered
        """Reads the server's description.

        Raises:
            StoreError: it is none.
        """
        try:
            return cls(name=str(data["name"]), bytes=int(data["size"]), sha256=data.get("checksum"))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise StoreError(f"the server's answer describes no snapshot ({data!r:.100})") from error


class SnapshotTransfer:
    """Requests about the snapshots of a server's collections; none is retried here."""

    def __init__(self, address: ServerAddress, *, api_key: str | None, timeout_s: float) -> None:
        self._address, self._api_key, self._timeout_s = address, api_key, timeout_s

    def make(self, collection: str) -> Snapshot:
        """Makes a snapshot on the server."""
        return Snapshot.from_json(self._ask("POST", f"/collections/{quote(collection)}/snapshots?wait=true"))

    def remove(self, collection: str, snapshot: str) -> None:
        """Removes a snapshot from the server."""
        path = f"/collections/{quote(collection)}/snapshots/{quote(snapshot)}"
        self._ask("DELETE", f"{path}?wait=true")

    def count_remote_shards(self, collection: str) -> int:
        """Returns how many shards of a collection other nodes hold, which a snapshot lacks."""
        found = self._ask("GET", f"/collections/{quote(collection)}/cluster")
        own = {each.get("shard_id") for each in found.get("local_shards") or ()}
        return len({each.get("shard_id") for each in found.get("remote_shards") or ()} - own)

    def count_nodes(self) -> int:
        """Returns how many nodes the server's cluster has; 1 for a server alone."""
        found = self._ask("GET", "/cluster")
        return max(1, len(found.get("peers") or ())) if found.get("status") == "enabled" else 1

    def download(self, collection: str, snapshot: Snapshot, target: Path, on_bytes: OnBytes) -> str:
        """Downloads a snapshot to a file, and returns its SHA-256.

        Raises:
            StoreError: it is not the snapshot that the server described.
        """
        path = f"/collections/{quote(collection)}/snapshots/{quote(snapshot.name)}"
        digest, size = hashlib.sha256(), 0
        with self._client() as client, client.stream("GET", path) as response, target.open("wb") as file:
            if not response.is_success:
                response.read()
                refuse_answer(response)
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                on_bytes(len(chunk))
        sha256 = digest.hexdigest()
        if size != snapshot.bytes or snapshot.sha256 not in (None, sha256):
            raise StoreError(
                f"the snapshot of {collection} arrived damaged: {size} bytes of {snapshot.bytes}, "
                f"SHA-256 {sha256[:16]}, not {(snapshot.sha256 or 'known')[:16]}",
                store=self._address.label,
            )
        return sha256

    def upload(self, collection: str, content: IO[bytes], *, sha256: str, on_bytes: OnBytes) -> None:
        """Uploads a snapshot, of which the server makes the collection after it has checked the SHA-256."""
        path = f"/collections/{quote(collection)}/snapshots/upload"
        content.seek(0)
        self._ask(
            "POST",
            f"{path}?wait=true&priority=snapshot&checksum={sha256}",
            files={"snapshot": (f"{collection}.snapshot", _Counted(content, on_bytes))},
        )

    def _ask(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - of httpx, and JSON
        with self._client() as client:
            response = client.request(method, path, **options)
            refuse_answer(response)
            return response.json().get("result")

    @contextmanager
    def _client(self) -> "Iterator[httpx.Client]":
        """Yields a client as `connection` configures qdrant-client's."""
        import httpx

        address, options = self._address, dict[str, Any]()
        if address.is_loopback:
            options["trust_env"] = False
        if address.scheme == "http":  # no certificates to load
            options["verify"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if address.user is not None:
            options["auth"] = (address.user, address.password or "")
        if self._api_key is not None:
            options["headers"] = {"api-key": self._api_key}
        timeout = httpx.Timeout(self._timeout_s, read=max(self._timeout_s, _ANSWER_TIMEOUT_S))
        with httpx.Client(base_url=address.label, timeout=timeout, **options) as client:
            yield client


class _Counted(io.RawIOBase):
    """A file whose read bytes are counted."""

    def __init__(self, content: IO[bytes], on_bytes: OnBytes) -> None:
        super().__init__()
        self._content, self._on_bytes = content, on_bytes

    def read(self, size: int = -1) -> bytes:
        """Returns so many bytes."""
        chunk = self._content.read(size)
        self._on_bytes(len(chunk))
        return chunk

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves in the file."""
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        """Returns the place in the file."""
        return self._content.tell()

    def seekable(self) -> bool:
        """Returns True."""
        return True

    def readable(self) -> bool:
        """Returns True."""
        return True
