"""The payloads of a collection as an ingest looks them up: the interface, and what it returns.

`payload_cache` implements it for a collection on this machine, `payload_lookups` for one on a server.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple, Protocol, Self

from lookalike_core.images.found_files import UNKNOWN_BYTES, FoundFile
from lookalike_core.stores.points import Payload

from lookalike_ingest.parts import Part


class Stamp(NamedTuple):
    """What tells whether a point's file is unchanged; `is_dated`: it says when the image was taken."""

    class_name: str | None
    synset: str | None
    bytes: int
    mtime_ns: int
    ctime_ns: int | None
    is_dated: bool
    missing_since: str | None = None

    @classmethod
    def of(cls, payload: Payload) -> Self:
        """Returns the stamp of a payload."""
        return cls(
            payload.class_name,
            payload.synset,
            payload.bytes,
            payload.mtime_ns,
            payload.ctime_ns,
            payload.taken_at is not None,
            payload.missing_since,
        )


def is_unchanged(stored: Stamp | Payload, found: FoundFile) -> bool:
    """Returns whether a file has the size and times that its point was stored with.

    Where the size is unknown, in a Parquet dataset, the time of its file decides. A point of an older version
    has no `ctime_ns`; then only size and `mtime_ns` are compared.
    """
    if stored.mtime_ns != found.mtime_ns or found.bytes not in (stored.bytes, UNKNOWN_BYTES):
        return False
    return stored.ctime_ns is None or stored.ctime_ns == found.ctime_ns


class KnownPayloads(Protocol):
    """The payloads of a collection's points, and which of their files were seen.

    `has_bytes` and `find_bytes` may be called from any thread, all else from one at a time.
    """

    hashed_at_once: int
    """How many files should be hashed before `prefetch_bytes`; 0 if bytes are found without."""

    def see(self, dataset: str, paths: Sequence[str]) -> dict[str, Stamp]:
        """Returns stamps by path, of those of a few hundred paths that have a point, and marks these seen."""

    def mark_seen(self, dataset: str, path: str, *, seen: bool = True) -> None:
        """Marks a file as seen, or, if `seen` is false, as vanished since; it may have no point."""

    def find_unseen(self, dataset: str, part: Part | None = None) -> Iterator[Payload]:
        """Yields the points of a dataset, or of one part of it, whose files were not seen."""

    def prefetch_paths(self, dataset: str, paths: Sequence[str]) -> None:
        """Looks up a few hundred paths that `find` will be asked for."""

    def prefetch_bytes(self, hashes: Collection[str]) -> None:
        """Looks up a few hundred SHA-256 that `has_bytes` and `find_bytes` will be asked for."""

    def find(self, dataset: str, path: str) -> Payload | None:
        """Returns the payload of a path; None if there is no such point."""

    def find_bytes(self, sha256: str) -> Iterator[Payload]:
        """Yields the payloads of points with this SHA-256 by dataset and path, reading a few at a time."""

    def find_unseen_bytes(self, dataset: str, sha256: str) -> Iterator[Payload]:
        """Yields those of one dataset whose files were not seen, by path.

        What it costs does not grow with the number of files that were seen.
        """

    def has_bytes(self, sha256: str) -> bool:
        """Returns whether any point has this SHA-256; False if it was not prefetched and must be."""

    def put(self, payload: Payload) -> None:
        """Inserts or replaces the payload of its path, after the point was written.

        `mark_seen` has to follow.
        """

    def drop(self, payload: Payload) -> None:
        """Deletes the payload of the same path, after the point was deleted."""

    def count_shared(self, dataset: str, other: str) -> tuple[int, int]:
        """Returns how many points a dataset has, and how many share their bytes with another dataset."""

    def list_folders(self, dataset: str) -> set[str]:
        """Returns the root-relative folders of a dataset's images, with "" for the root itself."""

    def close(self) -> None:
        """Releases what is open; must not be called while another thread reads."""
