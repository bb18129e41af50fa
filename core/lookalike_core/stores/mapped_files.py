"""Maps what searches read of a shard's files ahead of them, on Linux.

Opening a shard reads no vectors, so that a process that asks once waits for those alone that it compares. One
that goes on asking touches page after page of the mapped files, and waits for each: a million vectors slow
down its first ten thousand queries. It has them mapped at once instead, by a thread beside it (ADR 51).
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from lookalike_core.memory import available_memory

SEVERAL = 10
"""Searches after which a process is expected to go on searching."""

_POPULATE_READ = 22
"""`MADV_POPULATE_READ` of Linux' mman.h, from Linux 5.14 on; earlier versions refuse it, without harm."""

_AT_ONCE = 32 * 2**20
"""Bytes that are mapped by one call, which delays the closing of the shard for so long."""


class MappingAhead:
    """A thread that maps the vectors of a shard's indexed segments, and their graphs, until it is stopped.

    Of quantized vectors the whole ones stay out: few of them are compared. Nothing is done if the files would
    take more than half of the memory that is available.
    """

    def __init__(self, shard: Path) -> None:
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        files = {str(path.resolve()) for path in _searched_files(shard)} if sys.platform == "linux" else set()
        if files and sum(map(os.path.getsize, files)) * 2 <= (available_memory() or 0):
            self._thread = threading.Thread(
                target=self._map, args=(files,), name="lookalike-map-ahead", daemon=True
            )
            with suppress(RuntimeError):  # no memory for its stack
                self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it is mapping now."""
        self._stopped.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until everything is mapped."""
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _map(self, files: set[str]) -> None:
        """Maps the files, piece by piece.

        Addresses that the engine has given back meanwhile are refused, or belong to something else, whose
        pages are then read as well.
        """
        with suppress(OSError):
            for file in sorted(files):
                _read_ahead(file)
            advise = ctypes.CDLL(None).madvise
            for start, end in list(_mapped_ranges(files)):
                for address in range(start, end, _AT_ONCE):
                    if self._stopped.is_set():
                        return
                    size = min(_AT_ONCE, end - address)
                    advise(ctypes.c_void_p(address), ctypes.c_size_t(size), _POPULATE_READ)


def _searched_files(shard: Path) -> Iterator[Path]:
    for segment in shard.glob("segments/*"):
        quantized, whole = (segment / "vector_storage" / name for name in ("quantized.data", "matrix.dat"))
        if whole.exists():
            yield quantized if quantized.exists() else whole
            yield from (segment / "vector_index").glob("links*.bin")


def _read_ahead(file: str) -> None:
    """Has the system begin to read a file in its order; page by page, it would do so by single pages."""
    opened = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(opened)


def _mapped_ranges(files: set[str]) -> Iterator[tuple[int, int]]:
    """Yields the addresses, from the first to beyond the last, at which this process has these files."""
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        addresses, *_, path = line.split(maxsplit=5)
        if path in files:
            start, end = addresses.split("-")
            yield int(start, 16), int(end, 16)
