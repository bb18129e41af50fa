"""Copies files with holes, as the engine's are: it grows them by 32 MB at a time."""

import errno
import os
from pathlib import Path

_CHUNK_BYTES = 2**24


def copy_sparse(source: Path, target: Path) -> int:
    """Copies a sparse file without its holes; returns the bytes copied."""
    copied = 0
    with source.open("rb", buffering=0) as old, target.open("xb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        for start, end in _written_parts(old.fileno(), size):
            old.seek(start)
            new.seek(start)
            while (left := end - old.tell()) > 0 and (chunk := old.read(min(left, _CHUNK_BYTES))):
                new.write(chunk)
                copied += len(chunk)
        new.truncate(size)
    return copied


def _written_parts(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Returns the data ranges of a sparse file, `(start, end)` each.

    The whole file if the system reports none.
    """
    if not hasattr(os, "SEEK_DATA"):
        return [(0, size)]
    parts, end = [], 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                break
            return [(0, size)]
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        parts.append((start, end))
    return parts


def allocated_bytes(file: Path) -> int:
    """Returns the bytes that a file has on the disk, without its holes, or its size if that is unknown."""
    status = file.stat()
    blocks: int | None = getattr(status, "st_blocks", None)  # of 512 bytes
    return status.st_size if blocks is None else min(status.st_size, 512 * blocks)
