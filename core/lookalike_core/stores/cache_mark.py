"""The mark beside a list of points: of what files the list is true, and how many points they hold.

Whoever finds other files there, or other points in them, does not believe the list; see docs/adr/0014.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from lookalike_core.atomic import parse_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """`files` is the `fingerprint` of the files that hold `points` points; an empty one is none's."""

    points: int
    files: str

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The one at `path`; None where there is none that can be read, whatever is in its place."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            data = parse_json(path.read_bytes())
            return cls(points=int(data["points"]), files=str(data["files"]))
        return None

    def write(self, path: Path) -> None:
        """Puts it on the disk: after a power cut this one is there, or the one before."""
        write_json(path, asdict(self))

    def renew(self, path: Path) -> None:
        """Writes it without waiting for the disk, and gives up where it cannot be written.

        What a cut leaves of it is no mark, or none of these files: the list is made anew then.
        """
        with suppress(OSError):
            path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def fingerprint(paths: Iterable[Path]) -> str:
    """Of the names, sizes and times of files, and of all files below folders; empty where some are missing.

    It takes some 10 microseconds a file, and changes with every write.
    """
    digest = hashlib.sha256()
    try:
        for path in paths:
            for name, status in sorted(_files(path, path.name)):
                digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    except OSError:
        return ""
    return digest.hexdigest()


def _files(path: str | Path, name: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each file, by its name from the first folder on."""
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - of many entries, and twice as fast
    if not os.path.isdir(path):  # noqa: PTH112
        yield name, status
        return
    with os.scandir(path) as entries:
        for entry in entries:
            yield from _files(entry.path, f"{name}/{entry.name}")
