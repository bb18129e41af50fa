"""The state of indexed images' files, and which of them could be deleted. Nothing is written."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import cast

from lookalike_core.errors import ImageError, UsageError
from lookalike_core.hints import Argument
from lookalike_core.images.open_image import hash_stream, open_file
from lookalike_core.missing_path import require_folder
from lookalike_core.sources.source_path import SourcePath, resolve_root
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload


class FileState(StrEnum):
    """The state of a file, compared with what was ingested."""

    PRESENT = "present"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A payload and the state of its file; `status` is `os.stat` of the file, following links."""

    payload: Payload
    file: Path | None
    state: FileState
    status: os.stat_result | None

    @property
    def identity(self) -> tuple[int, int] | None:
        """Device and inode: the same for all names and links of a file."""
        return (self.status.st_dev, self.status.st_ino) if self.status else None


def check_file(payload: Payload, manifest: CollectionManifest) -> ImageFile:
    """Returns the state of an image's file by its size, without reading it."""
    return _check_size(payload, file_of(manifest, payload.dataset, payload.path))


def verify_file(image: ImageFile) -> ImageFile:
    """Returns the state of an image's file now, by its SHA-256.

    Size and time do not prove that a file is what was ingested, and deleting others in its favour is final.
    """
    checked = _check_size(image.payload, image.file)
    if checked.state is FileState.PRESENT and not _has_its_hash(checked):
        return replace(checked, state=FileState.CHANGED)
    return checked


def _check_size(payload: Payload, file: Path | None) -> ImageFile:
    try:
        status = file.stat() if file else None
    except (OSError, ValueError):
        status = None
    if status is None:
        state = FileState.GONE
    else:
        is_same = stat.S_ISREG(status.st_mode) and status.st_size == payload.bytes
        state = FileState.PRESENT if is_same else FileState.CHANGED
    return ImageFile(payload=payload, file=file, state=state, status=status)


def _has_its_hash(image: ImageFile) -> bool:
    try:
        with open_file(cast("Path", image.file)) as stream:
            return hash_stream(stream) == image.payload.sha256
    except ImageError:
        return False


class ReferenceFolders:
    """Folders whose files are preferred to others and never offered for deletion; none by default."""

    def __init__(self, folders: Sequence[Path] = (), manifest: CollectionManifest | None = None) -> None:
        """Checks folders that hold files of a collection; links are followed.

        Raises:
            UsageError: a folder does not exist, or holds no files of the collection.
        """
        roots = manifest.datasets if manifest else {}
        self._roots = {name: resolve_root(root) for name, root in roots.items()}
        self._folders = [self._real(folder) for folder in folders]
        self._shown = dict(zip(self._folders, folders, strict=True))

    def holding(self, payload: Payload) -> Path | None:
        """Returns the folder that holds an image, as it was given; None if none does."""
        if not self._folders or payload.dataset not in self._roots:
            return None
        file = os.path.join(self._roots[payload.dataset], payload.path)  # noqa: PTH118 - of a million files
        return next((self._shown[each] for each in self._folders if _is_within(file, each)), None)

    def __contains__(self, image: ImageFile) -> bool:
        return self.holding(image.payload) is not None

    def _real(self, folder: Path) -> str:
        real = os.path.realpath(folder)
        require_folder(folder, Argument.KEEP_IN)
        if not any(_is_within(root, real) or _is_within(real, root) for root in self._roots.values()):
            there = ", ".join(self._roots.values()) or "none"
            raise UsageError(
                f"{folder} is in no dataset's folder; available: {there}",
                argument=Argument.KEEP_IN,
                path=folder,
            )
        return real


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class Offers:
    """Offers files for deletion, over all groups: none that another group keeps, and none twice."""

    def __init__(self, kept: Iterable[ImageFile], reference: ReferenceFolders) -> None:
        self._kept = {image.identity for image in kept}
        self._reference = reference
        self._paths: set[Path] = set()
        self._links: Counter[tuple[int, int] | None] = Counter()

    def offer(self, image: ImageFile, kept: ImageFile) -> tuple[bool, int]:
        """Returns whether a file could be deleted in favour of another, and how many bytes that frees.

        Of a file with several hard links the last one frees the bytes; a symbolic link frees none. What is no
        file of this machine is never offered.
        """
        file, status = image.file, image.status
        is_whole = image.state is FileState.PRESENT and kept.state is FileState.PRESENT
        if not is_whole or file is None or status is None or isinstance(file, SourcePath):
            return False, 0
        if image.identity in self._kept or file in self._paths or image in self._reference:
            return False, 0
        self._paths.add(file)
        if file.is_symlink():
            return True, 0
        self._links[image.identity] += 1
        is_last = self._links[image.identity] == status.st_nlink
        return True, status.st_size if is_last else 0
