"""A cache of a collection's payloads in an SQLite database, so that a million of them take little memory.

It is saved beside the collection, so that the next ingest need not read the payloads from the store; see
docs/adr/0014.
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

from lookalike_core.atomic import atomic_path, may_write, remove
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.images.scan import FoundFile
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection

CACHE_KB = 16_384
"""SQLite's page cache in memory, in KiB; the operating system caches the rest."""

_COLUMNS = tuple(field.name for field in fields(Payload))
_values = attrgetter(*_COLUMNS)
_INSERT = f"INSERT INTO points VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - no one else's words
VERSION = crc32(", ".join(_COLUMNS).encode()) >> 1
"""Version of the table; a cache of another version is discarded and built again."""

_STAMP = "dataset, path, class_name, synset, bytes, mtime_ns, ctime_ns, taken_at, missing_since"
"""Columns that tell whether a file is unchanged; the index holds them all."""

_LARGEST = 2**63 - 1


class PayloadCacheError(StoreError):
    """The saved cache cannot be read or written, and has to be built again from the store."""


class Stamp(NamedTuple):
    """A point's row, and what tells whether its file is unchanged; `is_dated`: it says when it was taken."""

    row: int
    class_name: str | None
    synset: str | None
    bytes: int
    mtime_ns: int
    ctime_ns: int | None
    is_dated: bool
    missing_since: str | None = None


def is_unchanged(stored: Stamp | Payload, found: FoundFile) -> bool:
    """Returns whether a file has the size and times that its point was stored with.

    A point of an older version has no `ctime_ns`; then only size and `mtime_ns` are compared.
    """
    if (stored.bytes, stored.mtime_ns) != (found.bytes, found.mtime_ns):
        return False
    return stored.ctime_ns is None or stored.ctime_ns == found.ctime_ns


class PayloadCache:
    """Payloads, looked up by dataset and path or by SHA-256; several threads may read at once.

    `file` is the database, None if it is temporary. Changes that are not saved are rolled back.

    Raises:
        PayloadCacheError: the file is damaged.
        OSError: the disk is full.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = Lock()
        with self._translate_errors():
            self._database = sqlite3.connect(file or "", check_same_thread=False)
            self._database.execute(f"PRAGMA cache_size = -{CACHE_KB}")

    @classmethod
    def of(cls, payloads: Iterable[Payload]) -> Self:
        """Returns a new cache of these payloads, in a temporary file."""
        cache = cls()
        with cache._translate_errors():
            cache._database.execute(f"CREATE TABLE points ({', '.join(_COLUMNS)})")
            cache._database.executemany(_INSERT, map(_to_row, payloads))
            cache._database.execute(f"CREATE INDEX by_path ON points ({_STAMP})")
            cache._database.execute("CREATE INDEX by_bytes ON points (sha256)")
            cache._database.execute(f"PRAGMA user_version = {VERSION}")
        return cache

    @classmethod
    def load_beside(cls, collection: Collection) -> Self | None:
        """Returns the cache that the last ingest saved beside a collection; None if it is no longer valid."""
        upkeep = collection.upkeep
        return cls.load(upkeep.cache_file) if upkeep is not None and upkeep.is_cache_valid else None

    @classmethod
    def load(cls, file: Path, *, is_copied: bool = False) -> Self | None:
        """Opens the cache at `file`; returns None if it cannot be read or has another version.

        With `is_copied`, which a read-only file is anyway, nothing is ever written beside the file.
        """
        if not file.is_file():
            return None
        with suppress(PayloadCacheError):
            is_writable = not is_copied and may_write(file, file.parent)
            cache = cls(file if is_writable else None)
            if not is_writable:
                cache._copy(file)
            if cache._one("PRAGMA user_version") == (VERSION,):
                return cache
            cache.close()
        return None

    def _copy(self, file: Path) -> None:
        """Copies a read-only file, beside which SQLite can create no lock."""
        with self._translate_errors():
            source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            try:
                source.backup(self._database)
            finally:
                source.close()

    def __len__(self) -> int:
        """Returns the number of points."""
        return int(self._one("SELECT COUNT(*) FROM points")[0])

    def __bool__(self) -> bool:
        """Returns True: an empty cache is one, too."""
        return True

    def __iter__(self) -> Iterator[Payload]:
        """Yields every payload; nothing else may be asked in between."""
        with self._translate_errors():
            for row in self._database.execute("SELECT * FROM points ORDER BY dataset, path"):
                yield _payload(row)

    def find_stamps(self, dataset: str, paths: Sequence[str]) -> dict[str, Stamp]:
        """Returns stamps by path, for those of a few hundred paths that have a point."""
        found = self._all(
            "SELECT path, rowid, class_name, synset, bytes, mtime_ns, ctime_ns, taken_at IS NOT NULL, "  # noqa: S608 - question marks
            f"missing_since FROM points WHERE dataset = ? AND path IN ({', '.join('?' * len(paths))})",
            dataset,
            *paths,
        )
        with self._translate_bad_values():
            return {
                path: Stamp(
                    row, class_name, synset, int(size), int(mtime), _number(ctime), bool(dated), since
                )
                for path, row, class_name, synset, size, mtime, ctime, dated, since in found
            }

    def get(self, row: int) -> Payload:
        """Returns the payload in a row."""
        return self._payload(self._one("SELECT * FROM points WHERE rowid = ?", row))

    def find(self, dataset: str, path: str) -> Payload | None:
        """Returns the payload of a path; None if there is no such point."""
        row = self._one("SELECT * FROM points WHERE dataset = ? AND path = ?", dataset, path)
        return None if row is None else self._payload(row)

    def find_bytes(self, sha256: str) -> list[Payload]:
        """Returns the payloads of points with this SHA-256, oldest row first."""
        rows = self._all("SELECT * FROM points WHERE sha256 = ? ORDER BY rowid", sha256)
        return [self._payload(row) for row in rows]

    def has_bytes(self, sha256: str) -> bool:
        """Returns whether any point has this SHA-256."""
        return self._one("SELECT 1 FROM points WHERE sha256 = ?", sha256) is not None

    def count_shared(self, dataset: str, other: str) -> tuple[int, int]:
        """Returns how many points a dataset has, and how many share their bytes with another dataset."""
        points, shared = self._one(
            "SELECT COUNT(*), COALESCE(SUM(sha256 IN (SELECT sha256 FROM points WHERE dataset = ?)), 0) "
            "FROM points WHERE dataset = ?",
            other,
            dataset,
        )
        return points, shared

    def put(self, payload: Payload) -> int:
        """Inserts or replaces the payload of its path; returns its row."""
        self.drop(payload)
        with self._translate_errors():
            return self._database.execute(_INSERT, _to_row(payload)).lastrowid or 0

    def drop(self, payload: Payload) -> None:
        """Deletes the payload of the same path."""
        with self._translate_errors():
            self._database.execute(
                "DELETE FROM points WHERE dataset = ? AND path = ?", (payload.dataset, payload.path)
            )

    def list_rows(self, dataset: str) -> Iterator[int]:
        """Yields the row of each point of a dataset."""
        with self._translate_errors():
            for (row,) in self._database.execute("SELECT rowid FROM points WHERE dataset = ?", (dataset,)):
                yield row

    def list_folders(self, dataset: str) -> set[str]:
        """Returns the root-relative folders of a dataset's images, with "" for the root itself."""
        with self._translate_errors():
            paths = self._database.execute("SELECT path FROM points WHERE dataset = ?", (dataset,))
            return {path.rpartition("/")[0] for (path,) in paths}

    def find_moved(self, dataset: str) -> list[Payload]:
        """Returns the payloads of a dataset that record where they were moved from."""
        found = self._all("SELECT * FROM points WHERE dataset = ? AND moved_from IS NOT NULL", dataset)
        return [self._payload(row) for row in found]

    def save(self, file: Path) -> None:
        """Writes the current state to `file`.

        Raises:
            OSError: the file cannot be written.
        """
        with self._translate_errors():
            self._database.commit()
        if file == self._file:
            return
        for each in (file, file.with_name(f"{file.name}-journal")):  # a damaged one's
            if each != file or file.is_dir():
                remove(each)
        with atomic_path(file) as temporary, self._translate_errors():
            copy = sqlite3.connect(temporary)
            try:
                self._database.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Rolls back what was not saved; must not be called while another thread reads, which would crash."""
        with self._lock:
            self._database.close()

    def _one(self, question: str, *values: object) -> Any:  # noqa: ANN401 - a row, or None
        with self._lock:  # asked once or twice a file, and so without a generator around it
            try:
                return self._database.execute(question, values).fetchone()
            except sqlite3.Error as error:
                raise self._ours(error) from error

    def _payload(self, row: tuple[Any, ...] | None) -> Payload:
        with self._translate_bad_values():
            return _payload(row or ())

    def _all(self, question: str, *values: object) -> list[Any]:
        with self._translate_errors():
            return self._database.execute(question, values).fetchall()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Serializes access by threads, and translates SQLite's errors."""
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._ours(error) from error

    @contextmanager
    def _translate_bad_values(self) -> Iterator[None]:
        """Also translates missing cells and cells of the wrong type: SQLite accepts any value."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> Exception:
        where = self._file or "the temporary folder"
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
        return PayloadCacheError(f"{where}: {error}; remove it", path=self._file, hint=Hint(Action.REPEAT))


def _to_row(payload: Payload) -> tuple[Any, ...]:
    """Returns the cells of a payload; SQLite's integers have 64 bits, which a file's time may exceed."""
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
