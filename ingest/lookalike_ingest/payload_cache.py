"""What the points of a collection carry, in an SQLite database: a million of them take next to no memory.

Kept beside the collection, it also spares the next ingest reading them from the store; see docs/adr/0014.
"""

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self
from zlib import crc32

from lookalike_core.atomic import atomic_path, is_full, may_write, remove
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection

CACHE_KB = 16_384
"""What of the database is held in memory; the rest is the operating system's to keep or to drop."""

_COLUMNS = tuple(field.name for field in fields(Payload))
_values = attrgetter(*_COLUMNS)
_INSERT = f"INSERT INTO points VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - no one else's words
VERSION = crc32(", ".join(_COLUMNS).encode()) >> 1
"""Of the table; a listing of another version is made anew."""

_STAMP = "dataset, path, class_name, synset, bytes, mtime_ns, ctime_ns"
"""What an unchanged file is known by; asked in the order of paths, the index alone answers."""

_LARGEST = 2**63 - 1


class ListingError(StoreError):
    """A listing that was kept cannot be read or written; it is a cache, and made anew from the store."""


class Stamp(NamedTuple):
    """A point's row, and what tells whether its file is as it was."""

    row: int
    class_name: str | None
    synset: str | None
    bytes: int
    mtime_ns: int
    ctime_ns: int | None


def is_unchanged(stored: Stamp | Payload, found: FoundFile) -> bool:
    """Tells whether a file has the size and times that its point was stored with.

    A point of an older version has no `ctime_ns`, and size and `mtime_ns` must do.
    """
    if (stored.bytes, stored.mtime_ns) != (found.bytes, found.mtime_ns):
        return False
    return stored.ctime_ns is None or stored.ctime_ns == found.ctime_ns


class Listing:
    """Payloads, found by dataset and path and by bytes; threads may ask at once.

    `file` is where it lies, None where it is gone when it is closed. What is not saved is taken back.

    Raises:
        ListingError: the file is damaged.
        OSError: the disk is full.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = Lock()
        with self._translated():
            self._database = sqlite3.connect(file or "", check_same_thread=False)
            self._database.execute(f"PRAGMA cache_size = -{CACHE_KB}")

    @classmethod
    def of(cls, payloads: Iterable[Payload], file: Path | None = None) -> Self:
        """A new one, in the place of what lies at `file`; a temporary one where nothing can be put there."""
        listing = cls._made_at(file)
        listing.fill(payloads)
        return listing

    @classmethod
    def _made_at(cls, file: Path | None) -> Self:
        try:
            for each in (file, file.with_name(f"{file.name}-journal")) if file is not None else ():
                remove(each)
            listing = cls(file)
            listing._make_table()
        except (OSError, ListingError) as error:
            if file is None or (isinstance(error, OSError) and is_full(error)):
                raise
            return cls._made_at(None)
        return listing

    def _make_table(self) -> None:
        with self._translated():
            self._database.execute(f"CREATE TABLE points ({', '.join(_COLUMNS)})")

    def fill(self, payloads: Iterable[Payload]) -> None:
        """Puts payloads into an empty one, and makes it fast to ask."""
        with self._translated():
            self._database.executemany(_INSERT, map(_row, payloads))
            self._database.execute(f"CREATE INDEX by_path ON points ({_STAMP})")
            self._database.execute("CREATE INDEX by_bytes ON points (sha256)")
            self._database.execute(f"PRAGMA user_version = {VERSION}")

    @classmethod
    def kept_of(cls, collection: Collection) -> Self | None:
        """What the last ingest has kept beside a collection, where that is still true."""
        upkeep = collection.upkeep
        return cls.kept(upkeep.cache_file) if upkeep is not None and upkeep.is_cache_valid else None

    @classmethod
    def kept(cls, file: Path) -> Self | None:
        """The one that lies at `file`; None where it cannot be read or is another version's."""
        if not file.is_file():
            return None
        with suppress(ListingError):
            is_writable = may_write(file, file.parent)
            listing = cls(file if is_writable else None)
            if not is_writable:
                listing._copy(file)
            if listing._one("PRAGMA user_version") == (VERSION,):
                return listing
            listing.close()
        return None

    def _copy(self, file: Path) -> None:
        """Takes over what lies in a file that may only be read, beside which SQLite can put no lock."""
        with self._translated():
            source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            try:
                source.backup(self._database)
            finally:
                source.close()

    def stamps(self, dataset: str, paths: Sequence[str]) -> dict[str, Stamp]:
        """What unchanged files are known by, as far as there are such points; of some hundred at a time."""
        found = self._all(
            "SELECT path, rowid, class_name, synset, bytes, mtime_ns, ctime_ns FROM points "  # noqa: S608 - question marks
            f"WHERE dataset = ? AND path IN ({', '.join('?' * len(paths))})",
            dataset,
            *paths,
        )
        with self._values_read():
            return {
                path: Stamp(row, class_name, synset, int(size), int(mtime_ns), _number(ctime_ns))
                for path, row, class_name, synset, size, mtime_ns, ctime_ns in found
            }

    def payload(self, row: int) -> Payload:
        """What the point of a row carries."""
        return self._payload(self._one("SELECT * FROM points WHERE rowid = ?", row))

    def at(self, dataset: str, path: str) -> Payload | None:
        """What the point of a path carries; None where there is none."""
        row = self._one("SELECT * FROM points WHERE dataset = ? AND path = ?", dataset, path)
        return None if row is None else self._payload(row)

    def with_bytes(self, sha256: str) -> list[Payload]:
        """The points of these bytes, those that came first before the others."""
        rows = self._all("SELECT * FROM points WHERE sha256 = ? ORDER BY rowid", sha256)
        return [self._payload(row) for row in rows]

    def has_bytes(self, sha256: str) -> bool:
        """Whether there are any."""
        return self._one("SELECT 1 FROM points WHERE sha256 = ?", sha256) is not None

    def shared(self, dataset: str, other: str) -> tuple[int, int]:
        """Returns how many points a dataset has, and how many of these have the bytes of another's point."""
        points, shared = self._one(
            "SELECT COUNT(*), COALESCE(SUM(sha256 IN (SELECT sha256 FROM points WHERE dataset = ?)), 0) "
            "FROM points WHERE dataset = ?",
            other,
            dataset,
        )
        return points, shared

    def put(self, payload: Payload) -> int:
        """In the place of what its path had; the row."""
        self.drop(payload)
        with self._translated():
            return self._database.execute(_INSERT, _row(payload)).lastrowid or 0

    def drop(self, payload: Payload) -> None:
        """Whatever its path has."""
        with self._translated():
            self._database.execute(
                "DELETE FROM points WHERE dataset = ? AND path = ?", (payload.dataset, payload.path)
            )

    def rows(self, dataset: str) -> Iterator[int]:
        """Of all points of a dataset."""
        with self._translated():
            for (row,) in self._database.execute("SELECT rowid FROM points WHERE dataset = ?", (dataset,)):
                yield row

    def folders(self, dataset: str) -> set[str]:
        """The root-relative folders that images of a dataset lie in, "" the root itself."""
        with self._translated():
            paths = self._database.execute("SELECT path FROM points WHERE dataset = ?", (dataset,))
            return {path.rpartition("/")[0] for (path,) in paths}

    def moved(self, dataset: str) -> list[Payload]:
        """The points of a dataset that say from where they were moved."""
        found = self._all("SELECT * FROM points WHERE dataset = ? AND moved_from IS NOT NULL", dataset)
        return [self._payload(row) for row in found]

    def save(self, file: Path) -> None:
        """Puts it on the disk, at `file`, as it is now.

        Raises:
            OSError: it cannot be written there.
        """
        with self._translated():
            self._database.commit()
        if file == self._file:
            return
        if file.is_dir():
            remove(file)
        with atomic_path(file) as temporary, self._translated():
            copy = sqlite3.connect(temporary)
            try:
                self._database.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Takes back what was not saved; no thread may be asking meanwhile, which would crash the process."""
        with self._lock:
            self._database.close()

    def _one(self, question: str, *values: object) -> Any:  # noqa: ANN401 - a row, or None
        with self._lock:  # asked once or twice a file, and so without a generator around it
            try:
                return self._database.execute(question, values).fetchone()
            except sqlite3.Error as error:
                raise self._ours(error) from error

    def _payload(self, row: tuple[Any, ...] | None) -> Payload:
        with self._values_read():
            return _payload(row or ())

    def _all(self, question: str, *values: object) -> list[Any]:
        with self._translated():
            return self._database.execute(question, values).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """One thread at a time, and the library's errors made ours."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._ours(error) from error

    @contextmanager
    def _values_read(self) -> Iterator[None]:
        """A cell that is missing or of another type is damage too; SQLite takes any value anywhere."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> Exception:
        where = self._file or "the temporary folder"
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
        return ListingError(f"{where}: {error}; remove it", path=self._file, hint=Hint(Action.REPEAT))


def _row(payload: Payload) -> tuple[Any, ...]:
    """As it is stored; SQLite's numbers have 64 bits, and the time of a file may have more."""
    return tuple(
        str(value) if isinstance(value, int) and abs(value) > _LARGEST else value
        for value in _values(payload)
    )


def _number(cell: object) -> int | None:
    return None if cell is None else int(cell)  # type: ignore[call-overload]


def _payload(row: tuple[Any, ...]) -> Payload:
    named = dict(zip(_COLUMNS, row, strict=True))
    numbers = {name: int(named[name]) for name in _NUMBERS} | {"ctime_ns": _number(named["ctime_ns"])}
    if not all(isinstance(named[name], str) for name in _TEXTS):
        raise TypeError("text was stored as something else")
    return Payload(**{**named, **numbers})


_NUMBERS = ("width", "height", "bytes", "mtime_ns")
_TEXTS = ("dataset", "path", "sha256", "ingested_at")
