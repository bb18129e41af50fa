"""Marks of the points that an ingest has met, in a temporary SQLite database, which takes little memory."""

import sqlite3
from collections.abc import Iterable, Sequence
from enum import IntFlag

CACHE_KB = 16_384
"""SQLite's page cache in memory, in KiB."""


class Mark(IntFlag):
    """What is known of a point."""

    SEEN = 1
    """Its file was seen."""
    STORED = 2
    """It is in the collection, or will be once the ingest is applied."""
    CHANGED = 4
    """This ingest has written or deleted it, or would do so in a dry run."""


NO_MARK = Mark(0)


class PointMarks:
    """Marks by the id of a point, which is a UUID; takes about 40 bytes a point on the disk.

    Raises:
        sqlite3.Error: the temporary folder is full.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        self._database.execute(
            "CREATE TABLE points (id BLOB PRIMARY KEY, marks INTEGER NOT NULL) WITHOUT ROWID"
        )

    def set(self, ids: Iterable[str], marks: Mark, *, cleared: Mark = NO_MARK) -> None:
        """Sets marks of points, after those in `cleared` were removed."""
        self._database.executemany(
            "INSERT INTO points VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET marks = marks & ~?3 | ?2",
            [(_key(point), int(marks), int(cleared)) for point in ids],
        )

    def find(self, ids: Sequence[str]) -> dict[str, Mark]:
        """Returns the marks of those of a few hundred points that have any."""
        keys = {_key(point): point for point in ids}
        found = self._database.execute(
            f"SELECT id, marks FROM points WHERE id IN ({', '.join('?' * len(keys))})",  # noqa: S608 - question marks
            list(keys),
        )
        return {keys[key]: Mark(marks) for key, marks in found}

    def count(self, marks: Mark) -> int:
        """Returns how many points have all of these marks."""
        found = self._database.execute("SELECT COUNT(*) FROM points WHERE marks & ?1 = ?1", (int(marks),))
        return int(found.fetchone()[0])

    def close(self) -> None:
        """Removes the database."""
        self._database.close()


def _key(point: str) -> bytes:
    return bytes.fromhex(point.replace("-", ""))
