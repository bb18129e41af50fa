"""Reads the files that must be read, ahead of the decisions about them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Protocol

from lookalike_core.batched import batched
from lookalike_core.prefetch import map_ahead

from lookalike_ingest.base_vectors import BaseVectors
from lookalike_ingest.image_reader import ReadFile, hash_image, read_image
from lookalike_ingest.planned_file import Candidate, PlannedFile
from lookalike_ingest.target import Target

ReadCandidate = tuple[Candidate, ReadFile]


class Reader(Protocol):
    """Reads candidates; planned files pass through in their place."""

    def read(
        self, files: Iterator[Candidate | PlannedFile], *, ahead: Callable[[], int]
    ) -> Generator[ReadCandidate | PlannedFile, None, None]:
        """Yields the files in order, the candidates with what was read of them.

        `files` are drawn, and results yielded, in the caller's thread.
        """

    def complete(self, candidate: Candidate, file: ReadFile) -> ReadFile:
        """Returns the file, read again if its vector was known and is overwritten meanwhile."""


class ThreadReader:
    """Reads, hashes and decodes files in threads of this process; implements `Reader`."""

    def __init__(
        self,
        targets: Sequence[Target],
        base_vectors: BaseVectors,
        *,
        max_pixels: int,
        workers: int | None = None,
    ) -> None:
        self._targets, self._base_vectors = targets, base_vectors
        self._max_pixels, self._workers = max_pixels, workers

    def read(
        self, files: Iterator[Candidate | PlannedFile], *, ahead: Callable[[], int]
    ) -> Generator[ReadCandidate | PlannedFile, None, None]:
        """Yields the files; those that must be read are read at most `ahead` files in advance."""
        with (
            closing(self._look_up_bytes(files)) as to_read,
            closing(map_ahead(self._read, to_read, ahead=ahead, workers=self._workers)) as read,
        ):
            yield from read

    def complete(self, candidate: Candidate, file: ReadFile) -> ReadFile:
        """Returns the file, decoded if the point with its bytes is overwritten meanwhile."""
        if file.problem is None and file.image is None and not self._is_known(file.sha256):
            return read_image(candidate.found, lambda _: False, max_pixels=self._max_pixels)
        return file

    def _look_up_bytes(
        self, files: Iterator[Candidate | PlannedFile]
    ) -> Generator[Candidate | PlannedFile, None, None]:
        """Yields the files, with their bytes looked up where points are not at hand: those on a server.

        Such files are hashed first, so that one request looks up many, and none is decoded in vain.
        """
        known = [target.known.payloads for target in self._targets]
        at_once = max(self._base_vectors.hashed_at_once, *(each.hashed_at_once for each in known))
        if not at_once:
            yield from files
            return
        with closing(map_ahead(self._hash, files, ahead=at_once, workers=self._workers)) as hashed:
            for some in batched(hashed, at_once):
                hashes = {sha256 for _, sha256 in some if sha256 is not None}
                self._base_vectors.prefetch_bytes(hashes)
                for each in known:
                    each.prefetch_bytes(hashes)
                yield from (file for file, _ in some)

    def _hash(self, file: Candidate | PlannedFile) -> tuple[Candidate | PlannedFile, str | None]:
        """Returns a file, with its SHA-256 if it must be read and can be. Runs in a thread."""
        if isinstance(file, PlannedFile):
            return file, None
        unread = self._base_vectors.find_unread(file.found)
        return file, hash_image(file.found) if unread is None else unread.sha256

    def _read(self, candidate: Candidate | PlannedFile) -> ReadCandidate | PlannedFile:
        """Reads and hashes a file in a thread, and decodes it unless a vector is stored for its bytes."""
        if isinstance(candidate, PlannedFile):
            return candidate
        found = candidate.found
        file = self._base_vectors.find_unread(found) or read_image(
            found, self._is_known, max_pixels=self._max_pixels
        )
        return candidate, file

    def _is_known(self, sha256: str) -> bool:
        return self._base_vectors.has_bytes(sha256) or all(
            target.known.has_bytes(sha256) for target in self._targets
        )
