"""Thumbnails on the disk, within a bound: the ones that were not wanted for longest are removed."""

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

from lookalike_core.atomic import atomic_path

_FILLED = 0.8
"""The share of the bound that is left once it was reached."""


class ThumbnailCache:
    """Files of thumbnails below `folder`, by the SHA-256 of the image's bytes and the edge.

    Threads may share it. Together they take at most `most_bytes`. Where the folder cannot be written to,
    nothing is kept.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = Lock()
        self._bytes = sum(size for _, size, _ in _list_files(folder))

    def get(self, sha256: str, edge: int) -> bytes | None:
        """Returns the bytes of a thumbnail; None where it is not there."""
        path = self._path(sha256, edge)
        with suppress(OSError):
            data = path.read_bytes()
            os.utime(path)
            return data
        return None

    def put(self, sha256: str, edge: int, data: bytes) -> None:
        """Keeps a thumbnail, and removes others where there are too many; failures are ignored."""
        if len(data) > self._most_bytes:
            return
        path = self._path(sha256, edge)
        with suppress(OSError), self._lock:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
            self._bytes += len(data)
            if self._bytes > self._most_bytes:
                self._remove_oldest()

    def _remove_oldest(self) -> None:
        files = sorted(_list_files(self._folder))
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= _FILLED * self._most_bytes:
                return
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108 - of a path that is text
                self._bytes -= size

    def _path(self, sha256: str, edge: int) -> Path:
        return self._folder / sha256[:2] / f"{sha256}-{edge}"


def _list_files(folder: Path) -> list[tuple[int, int, str]]:
    """Returns time, size and path of each thumbnail."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.stat(f"{place}/{name}")  # noqa: PTH116 - of many files
                found.append((status.st_mtime_ns, status.st_size, f"{place}/{name}"))
    return found
