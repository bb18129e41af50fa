"""What has become of the files of indexed images, and which of them could go. Nothing is written."""

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
from lookalike_core.images.open_image import opened, sha256_of
from lookalike_core.missing_path import require_folder
from lookalike_core.stores.collection_manifest import CollectionManifest
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_core.stores.points import Payload


class FileState(StrEnum):
    """What has become of a file since it was ingested."""

    PRESENT = "present"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """A payload and what its file is now; `status` is that of the file itself, behind links."""

    payload: Payload
    file: Path | None
    state: FileState
    status: os.stat_result | None

    @property
    def identity(self) -> tuple[int, int] | None:
        """Of the file behind all names and links."""
        return (self.status.st_dev, self.status.st_ino) if self.status else None


def looked_at(payload: Payload, manifest: CollectionManifest) -> ImageFile:
    """At first sight, without reading it: present where there is a file of the same size."""
    return _seen(payload, file_of(manifest, payload.dataset, payload.path))


def looked_again(image: ImageFile) -> ImageFile:
    """What has become of it meanwhile, by all of its bytes.

    Size and time do not prove that a file is what was ingested, and what is deleted for it is gone.
    """
    seen = _seen(image.payload, image.file)
    if seen.state is FileState.PRESENT and not _has_its_bytes(seen):
        return replace(seen, state=FileState.CHANGED)
    return seen


def _seen(payload: Payload, file: Path | None) -> ImageFile:
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


def _has_its_bytes(image: ImageFile) -> bool:
    try:
        with opened(cast("Path", image.file)) as stream:
            return sha256_of(stream) == image.payload.sha256
    except ImageError:
        return False


class ReferenceFolders:
    """Folders whose files are to be kept before others, and are never offered; by default there are none."""

    def __init__(self, folders: Sequence[Path] = (), manifest: CollectionManifest | None = None) -> None:
        """Takes folders that hold files of a collection, by whatever names and links.

        Raises:
            UsageError: a folder is none, or no dataset of the collection lies in it or around it.
        """
        roots = manifest.datasets if manifest else {}
        self._roots = {name: os.path.realpath(root) for name, root in roots.items()}
        self._folders = [self._real(folder) for folder in folders]
        self._shown = dict(zip(self._folders, folders, strict=True))

    def holding(self, payload: Payload) -> Path | None:
        """The folder, as it was named, that an image lies in."""
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
                f"{folder} is not in the folder of a dataset; those are: {there}",
                argument=Argument.KEEP_IN,
                path=folder,
            )
        return real


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class Offers:
    """Which files could be deleted, over all groups: none that is kept somewhere, and none twice."""

    def __init__(self, kept: Iterable[ImageFile], reference: ReferenceFolders) -> None:
        self._kept = {image.identity for image in kept}
        self._reference = reference
        self._paths: set[Path] = set()
        self._links: Counter[tuple[int, int] | None] = Counter()

    def offer(self, image: ImageFile, kept: ImageFile) -> tuple[bool, int]:
        """Whether an image's file could go for the sake of another, and how many bytes that frees.

        The bytes of a file with several names (hard links) are freed with the last of them, and a symbolic
        link frees none.
        """
        file, status = image.file, image.status
        is_whole = image.state is FileState.PRESENT and kept.state is FileState.PRESENT
        if not is_whole or file is None or status is None:
            return False, 0
        if image.identity in self._kept or file in self._paths or image in self._reference:
            return False, 0
        self._paths.add(file)
        if file.is_symlink():
            return True, 0
        self._links[image.identity] += 1
        is_last = self._links[image.identity] == status.st_nlink
        return True, status.st_size if is_last else 0
