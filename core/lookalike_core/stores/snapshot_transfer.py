"""Snapshots of a server's collections: made, downloaded, uploaded, removed by its documented HTTP interface.

Source: https://qdrant.tech/documentation/snapshots/. A snapshot holds what one node has of a collection, with
its configuration and metadata, and without its aliases.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import quote

from lookalike_core.errors import StoreError
from lookalike_core.stores.faults import refuse_answer
from lookalike_core.stores.server_http import ServerHttp

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

    def __init__(self, http: ServerHttp) -> None:
        self._http = http
        self._ask = partial(http.ask, answer_timeout_s=_ANSWER_TIMEOUT_S)

    def make(self, collection: str) -> Snapshot:
        """Makes a snapshot on the server."""
        return Snapshot.from_json(self._ask("POST", f"/collections/{quote(collection)}/snapshots?wait=true"))

    def remove(self, collection: str, snapshot: str) -> None:
        """Removes a snapshot from the server."""
        path = f"/collections/{quote(collection)}/snapshots/{quote(snapshot)}"
        self._ask("DELETE", f"{path}?wait=true")

    def download(self, collection: str, snapshot: Snapshot, target: Path, on_bytes: OnBytes) -> str:
        """Downloads a snapshot to a file, and returns its SHA-256.

        Raises:
            StoreError: it is not the snapshot that the server described.
        """
        path = f"/collections/{quote(collection)}/snapshots/{quote(snapshot.name)}"
        digest, size = hashlib.sha256(), 0
        with (
            self._http.client(answer_timeout_s=_ANSWER_TIMEOUT_S) as client,
            client.stream("GET", path) as response,
            target.open("wb") as file,
        ):
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
                store=self._http.label,
            )
        return sha256

    def upload(self, collection: str, content: IO[bytes], *, sha256: str, on_bytes: OnBytes) -> None:
        """Uploads a snapshot, of which the server makes the collection after it has checked the SHA-256.

        The server keeps the file among the collection's snapshots; `remove_uploaded` removes it.
        """
        path = f"/collections/{quote(collection)}/snapshots/upload"
        content.seek(0)
        self._ask(
            "POST",
            f"{path}?wait=true&priority=snapshot&checksum={sha256}",
            files={"snapshot": (_uploaded_name(collection), _Counted(content, on_bytes))},
        )

    def remove_uploaded(self, collection: str) -> None:
        """Removes an uploaded snapshot from the server."""
        self.remove(collection, _uploaded_name(collection))


def _uploaded_name(collection: str) -> str:
    return f"{collection}.snapshot"


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
