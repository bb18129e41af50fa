"""Reads candidates by an engine, a window of files at a time, so that memory stays bounded."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from lookalike_core.batched import batched
from lookalike_core.images.scan import FoundFile

from lookalike_ingest.base_vectors import BaseVectors
from lookalike_ingest.changes import LOOKED_UP_AT_ONCE
from lookalike_ingest.engines.engine import Engine, FileToEmbed
from lookalike_ingest.image_reader import EmbeddedImage, ReadFile
from lookalike_ingest.planned_file import Candidate, PlannedFile
from lookalike_ingest.reading import ReadCandidate
from lookalike_ingest.target import Target

WINDOW = 100_000
"""Files in a window; each starts the engine's workers anew, which load the models."""

DECIDED_AT_ONCE = 64
"""How many files are looked up at once before the decisions about them."""

_File = Candidate | PlannedFile


class WindowReader:
    """Has an engine hash and embed the files; implements `Reader`.

    Files are hashed first where collections hold points already, so that none is embedded in vain.
    """

    def __init__(self, engine: Engine, targets: Sequence[Target], base_vectors: BaseVectors) -> None:
        self._engine, self._targets, self._base_vectors = engine, targets, base_vectors

    def read(
        self,
        files: Iterator[_File],
        *,
        ahead: Callable[[], int],  # noqa: ARG002 - windows are what is read ahead
    ) -> Generator[ReadCandidate | PlannedFile, None, None]:
        """Yields the files, with what the engine has read of the candidates."""
        looked_at = (
            (file, self._find_unread(file)) for file in files
        )  # as they are drawn: paths are at hand
        for window in batched(looked_at, WINDOW):
            yield from self._read_window(window)

    def complete(self, candidate: Candidate, file: ReadFile) -> ReadFile:
        """Returns the file, embedded again if vectors are missing that no other point has any more."""
        if file.problem is not None or not self._list_missing(candidate, file):
            return file
        models = _list_models(self._list_undecided(candidate))
        wanted = [FileToEmbed(found=candidate.found, models=models)]
        with closing(_as_generator(self._engine.embed_files(wanted))) as read:
            return next(read)

    def _find_unread(self, file: _File) -> ReadFile | None:
        return None if isinstance(file, PlannedFile) else self._base_vectors.find_unread(file.found)

    def _read_window(
        self, window: Sequence[tuple[_File, ReadFile | None]]
    ) -> Generator[ReadCandidate | PlannedFile, None, None]:
        to_read = [file for file, unread in window if isinstance(file, Candidate) and unread is None]
        wanted = self._choose_models(to_read)
        results = self._engine.embed_files(wanted) if wanted else iter(())
        with closing(_as_generator(results)) as read:
            done = (
                file if isinstance(file, PlannedFile) else (file, unread or next(read))
                for file, unread in window
            )
            for some in batched(done, DECIDED_AT_ONCE):
                self._look_up(each for each in some if not isinstance(each, PlannedFile))
                yield from some

    def _look_up(self, files: Iterable[ReadCandidate]) -> None:
        """Looks up what the decisions about these files will ask for, by a few requests."""
        read = list(files)
        paths = [candidate.found.path for candidate, _ in read]
        self._look_up_bytes({file.sha256 for _, file in read if file.problem is None})
        for target in self._targets:
            target.known.payloads.prefetch_paths(target.known.dataset, paths)

    def _look_up_bytes(self, hashes: set[str]) -> None:
        self._base_vectors.prefetch_bytes(hashes)
        for target in self._targets:
            target.known.payloads.prefetch_bytes(hashes)

    def _choose_models(self, candidates: Sequence[Candidate]) -> list[FileToEmbed]:
        """Returns the files, each with the models of those targets that have no vector of its bytes."""
        known = [target.known.payloads for target in self._targets]
        is_hashed = self._base_vectors.hashed_at_once or any(each.hashed_at_once for each in known)
        hashes = self._hash([candidate.found for candidate in candidates]) if is_hashed else {}
        chosen: list[FileToEmbed] = []
        for some in batched(candidates, LOOKED_UP_AT_ONCE):
            if hashes:
                self._look_up_bytes({hashes[each.found.path] for each in some if each.found.path in hashes})
            chosen += [self._choose_models_of(each, hashes) for each in some]
        return chosen

    def _hash(self, files: Sequence[FoundFile]) -> dict[str, str]:
        """Returns the SHA-256 by path, of those that can be read."""
        if not files:
            return {}
        hashed = zip(files, self._engine.hash_files(files), strict=True)
        return {found.path: sha256 for found, sha256 in hashed if sha256 is not None}

    def _choose_models_of(self, candidate: Candidate, hashes: Mapping[str, str]) -> FileToEmbed:
        undecided, sha256 = self._list_undecided(candidate), hashes.get(candidate.found.path)
        if sha256 is not None:
            if self._base_vectors.has_bytes(sha256):
                undecided = []
            undecided = [each for each in undecided if not each.known.will_have_bytes(sha256, hashes)]
        models = _list_models(undecided)
        return FileToEmbed(found=candidate.found, models=models, known_sha256=None if models else sha256)

    def _list_undecided(self, candidate: Candidate) -> list[Target]:
        """Returns the targets that need the file's bytes."""
        decided = zip(self._targets, candidate.decisions, strict=True)
        return [target for target, decision in decided if decision is None]

    def _list_missing(self, candidate: Candidate, file: ReadFile) -> list[Target]:
        """Returns the targets for which the file has no vector, and no point has one of its bytes."""
        embedded = file.image.vectors if isinstance(file.image, EmbeddedImage) else {}
        without = [each for each in self._list_undecided(candidate) if each.model.path not in embedded]
        if not without or self._base_vectors.has_bytes(file.sha256):
            return []
        return [each for each in without if not each.known.has_bytes(file.sha256)]


def _list_models(targets: Sequence[Target]) -> list[Path]:
    return list(dict.fromkeys(target.model.path for target in targets))


def _as_generator(files: Iterator[ReadFile]) -> Generator[ReadFile, None, None]:
    """Yields the files; closing the generator ends the engine's work on them."""
    yield from files
