"""A cache of a local collection's payloads in an SQLite database: a million of them take little memory.

It is saved beside the collection, so that the next ingest need not read the payloads from the store; see
docs/adr/0014.
"""

import errno
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import Any, Self
from zlib import crc32

from lookalike_core.atomic import atomic_path, may_write, remove
from lookalike_core.errors import StoreError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores import protocol
from lookalike_core.stores.points import Payload, point_id

from lookalike_ingest.known_payloads import Stamp
from lookalike_ingest.parts import Part
from lookalike_ingest.seen_fronts import FIRST_PAGE, SeenFronts, growing_pages

CACHE_KB = 16_384
"""SQLite's page cache in memory, in KiB; the operating system caches the rest."""

_COLUMNS = tuple(field.name for field in fields(Payload))
_values = attrgetter(*_COLUMNS)
_INSERT = f"INSERT INTO points VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - no one else's words
_BY_BYTES = "sha256, dataset, path"
"""Columns by which points with the same bytes are found, in order."""

VERSION = crc32(f"{', '.join(_COLUMNS)}; {_BY_BYTES}".encode()) >> 1
"""Version of the table and its index; a cache of another version is discarded and built again."""

_STAMP = "dataset, path, class_name, synset, bytes, mtime_ns, ctime_ns, taken_at, missing_since"
"""Columns that tell whether a file is unchanged; the index holds them all."""

_LARGEST = 2**63 - 1


class PayloadCacheError(StoreError):
    """The saved cache cannot be read or written, and has to be built again from the store."""


class PayloadCache:
    """Payloads, looked up by dataset and path or by SHA-256; implements `KnownPayloads`.

    Several threads may read at once. Which files were seen is not saved.

    `file` is the database, None if it is temporary. Changes that are not saved are rolled back.

    Raises:
        PayloadCacheError: the file is damaged.
        OSError: the disk is full.
    """

    hashed_at_once = 0

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._seen = bytearray()
        """One byte per row: 1 if the file was seen."""
        self._fronts = SeenFronts()
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
            cache._database.execute(f"CREATE INDEX by_bytes ON points ({_BY_BYTES})")
            cache._database.execute(f"PRAGMA user_version = {VERSION}")
        return cache

    @classmethod
    def load_beside(cls, collection: protocol.Collection) -> Self | None:
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

    def see(self, dataset: str, paths: Sequence[str]) -> dict[str, Stamp]:
        """Returns stamps by path, and marks their rows as seen."""
        found = self._all(
            "SELECT path, rowid, class_name, synset, bytes, mtime_ns, ctime_ns, taken_at IS NOT NULL, "  # noqa: S608 - question marks
            f"missing_since FROM points WHERE dataset = ? AND path IN ({', '.join('?' * len(paths))})",
            dataset,
            *paths,
        )
        stamps = {}
        with self._translate_bad_values():
            for path, row, class_name, synset, size, mtime, ctime, dated, since in found:
                self._mark(row, seen=True)
                stamps[path] = Stamp(
                    class_name, synset, int(size), int(mtime), _number(ctime), bool(dated), since
                )
        return stamps

    def mark_seen(self, dataset: str, path: str, *, seen: bool = True) -> None:
        """Marks the row of a path, if it has one."""
        if (row := self._row(dataset, path)) is not None:
            self._mark(row, seen=seen)
            if not seen:
                self._fronts.clear()

    def find_unseen(self, dataset: str, part: Part | None = None) -> Iterator[Payload]:
        """Yields the payloads of the rows that were not marked, in the order of their paths."""
        for row in [row for row in self._rows(dataset, part) if not self._is_marked(row)]:
            yield self._payload(self._one("SELECT * FROM points WHERE rowid = ?", row))

    def prefetch_paths(self, dataset: str, paths: Sequence[str]) -> None:
        """Does nothing: all payloads are here."""

    def prefetch_bytes(self, hashes: Collection[str]) -> None:
        """Does nothing: all payloads are here."""

    def find(self, dataset: str, path: str) -> Payload | None:
        """Returns the payload of a path; None if there is no such point."""
        row = self._one("SELECT * FROM points WHERE dataset = ? AND path = ?", dataset, path)
        return None if row is None else self._payload(row)

    def find_bytes(self, sha256: str) -> Iterator[Payload]:
        """Yields the payloads of points with this SHA-256 by dataset and path, reading page by page."""
        dataset = path = ""
        for size in growing_pages():
            rows = self._all(
                "SELECT * FROM points WHERE sha256 = ? AND (dataset, path) > (?, ?) "
                "ORDER BY dataset, path LIMIT ?",
                sha256,
                dataset,
                path,
                size,
            )
            for row in rows:
                payload = self._payload(row)
                dataset, path = payload.sort_key
                yield payload
            if len(rows) < size:
                return

    def find_unseen_bytes(self, dataset: str, sha256: str) -> Iterator[Payload]:
        """Yields the payloads of the rows with this SHA-256 that were not marked, reading page by page."""
        path, is_front = self._fronts.find(dataset, sha256), True
        for size in growing_pages():
            rows = self._all(
                "SELECT path, rowid FROM points WHERE sha256 = ? AND dataset = ? AND path > ? "
                "ORDER BY path LIMIT ?",
                sha256,
                dataset,
                path,
                size,
            )
            unseen = [row for _, row in rows if not self._is_marked(row)]
            path, is_front = rows[-1][0] if rows else path, is_front and not unseen
            if is_front and len(rows) > FIRST_PAGE:
                self._fronts.advance(dataset, sha256, path)
            for row in unseen:
                yield self._payload(self._one("SELECT * FROM points WHERE rowid = ?", row))
            if len(rows) < size:
                return

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

    def put(self, payload: Payload) -> None:
        """Inserts or replaces the payload of its path, which is a new row."""
        self.drop(payload)
        with self._translate_errors():
            row = self._database.execute(_INSERT, _to_row(payload)).lastrowid
        self._mark(row or 0, seen=False)

    def drop(self, payload: Payload) -> None:
        """Deletes the payload of the same path."""
        with self._translate_errors():
            self._database.execute(
                "DELETE FROM points WHERE dataset = ? AND path = ?", (payload.dataset, payload.path)
            )

    def list_folders(self, dataset: str) -> set[str]:
        """Returns the root-relative folders of a dataset's images, with "" for the root itself."""
        with self._translate_errors():
            paths = self._database.execute("SELECT path FROM points WHERE dataset = ?", (dataset,))
            return {path.rpartition("/")[0] for (path,) in paths}

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

    def _rows(self, dataset: str, part: Part | None) -> Iterator[int]:
        """Yields the row of each point of a dataset, or of its part; nothing may be asked in between."""
        with self._translate_errors():
            rows = self._database.execute(
                "SELECT rowid, path FROM points WHERE dataset = ? ORDER BY path", (dataset,)
            )
            for row, path in rows:
                if part is None or part.owns(point_id(dataset, path)):
                    yield row

    def _row(self, dataset: str, path: str) -> int | None:
        found = self._one("SELECT rowid FROM points WHERE dataset = ? AND path = ?", dataset, path)
        return None if found is None else found[0]

    def _is_marked(self, row: int) -> bool:
        return row < len(self._seen) and bool(self._seen[row])

    def _mark(self, row: int, *, seen: bool) -> None:
        if row >= len(self._seen):
            self._seen.extend(bytes(row + 1 - len(self._seen)))
        self._seen[row] = seen

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
        return translate_error(error, self._file)


def translate_error(error: Exception, file: Path | None = None) -> Exception:
    """Returns our error for one of SQLite; `file` is the database, None for a temporary one."""
    where = file or "the temporary folder"
    if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
    return PayloadCacheError(f"{where}: {error}; remove it", path=file, hint=Hint(Action.REPEAT))


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
