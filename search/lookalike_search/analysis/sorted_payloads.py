"""The payloads of a whole collection in one order, without all of them in memory."""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from operator import attrgetter

from lookalike_core.stores.points import EVERYTHING, Payload, PointFilter
from lookalike_core.stores.protocol import Collection

CACHE_KB = 16_384
"""SQLite's page cache in memory, in KiB; what does not fit into it is in a temporary file."""

_FIELDS = tuple(field.name for field in fields(Payload))
_INSERT = f"INSERT INTO images VALUES ({', '.join('?' * len(_FIELDS))})"  # noqa: S608 - question marks
_values = attrgetter(*_FIELDS)


class SortedPayloads:
    """The payloads of a collection, sorted by dataset and path, in a temporary database.

    They are those at the time it is made. `close` removes it.

    Raises:
        OSError: the temporary folder is full, or cannot be written to.
    """

    def __init__(self, collection: Collection, where: PointFilter = EVERYTHING) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)
        try:
            with _translate_errors():
                self._database.execute(f"PRAGMA cache_size = -{CACHE_KB}")
                self._database.execute(f"CREATE TABLE images ({', '.join(_FIELDS)})")
                self._database.executemany(_INSERT, map(_values, collection.scan(where)))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        """Returns the number of payloads."""
        with _translate_errors():
            [count] = self._database.execute("SELECT count(*) FROM images").fetchone()
        return int(count)

    @property
    def datasets(self) -> set[str]:
        """The datasets that they are of."""
        with _translate_errors():
            return {name for (name,) in self._database.execute("SELECT DISTINCT dataset FROM images")}

    def batches(self, size: int) -> Iterator[list[Payload]]:
        """Yields the payloads in their order, `size` at a time."""
        query = "SELECT * FROM images ORDER BY dataset, path"
        with _translate_errors(), closing(self._database.execute(query)) as rows:
            while some := rows.fetchmany(size):
                yield [Payload(**dict(zip(_FIELDS, row, strict=True))) for row in some]

    def close(self) -> None:
        """Removes the database."""
        self._database.close()


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Turns SQLite's errors, which are of the disk, into the system's."""
    try:
        yield
    except sqlite3.Error as error:
        is_full = getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
        number = errno.ENOSPC if is_full else errno.EIO
        raise OSError(number, f"{os.strerror(number)} ({error})", tempfile.gettempdir()) from error
