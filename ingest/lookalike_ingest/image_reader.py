"""Reads an image file: hashes it, and decodes it unless its vector is known."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike_core.arrays import FloatVector
from lookalike_core.errors import ImageError, MissingDecoderError, SkipReason
from lookalike_core.images.capture_time import time_taken
from lookalike_core.images.decoding import MAX_PIXELS, DecodedImage, decode
from lookalike_core.images.found_files import UNKNOWN_BYTES, FoundFile, open_found
from lookalike_core.images.open_image import hash_stream
from lookalike_core.sources.source_path import SourcePath

REMOTE_READERS = 16
"""How many images of an object store are read at once: each takes as long as its answer is on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedImage:
    """An image that was embedded where it was read; `width` and `height` are upright, in pixels.

    `vectors`, float32 `[D]`, and `providers`, which computed them, are by the path of the model.
    """

    width: int
    height: int
    vectors: Mapping[Path, FloatVector]
    providers: Mapping[Path, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """A file that was read; `image` is None if its vector is known, or if there was a `problem`.

    `taken_at` is as `time_taken` returns it. `needed` is the package to install to read it.
    """

    found: FoundFile
    sha256: str = ""
    taken_at: str = ""
    image: DecodedImage | EmbeddedImage | None = None
    problem: SkipReason | None = None
    needed: str | None = None


def read_image(
    found: FoundFile, is_known: Callable[[str], bool], *, max_pixels: int = MAX_PIXELS
) -> ReadFile:
    """Reads and hashes a file, wherever it is, and decodes it unless its SHA-256 `is_known`.

    Never raises an `ImageError`.
    """
    try:
        with open_found(found) as stream:
            sha256 = hash_stream(stream)
            if found.bytes == UNKNOWN_BYTES:
                found = replace(found, bytes=stream.seek(0, os.SEEK_END))
            image = None if is_known(sha256) else decode(stream, found.path, max_pixels=max_pixels)
            taken_at = time_taken(stream, mtime_ns=found.mtime_ns)
    except MissingDecoderError as error:
        return ReadFile(found=found, problem=error.reason, needed=error.needed)
    except ImageError as error:
        return ReadFile(found=found, problem=error.reason)
    return ReadFile(found=found, sha256=sha256, taken_at=taken_at, image=image)


def hash_image(found: FoundFile) -> str | None:
    """Returns a file's SHA-256; None if it cannot be read, as `read_image` will say."""
    try:
        with open_found(found) as stream:
            return hash_stream(stream)
    except ImageError:
        return None


def count_readers(root: Path) -> int | None:
    """Returns how many images of a dataset to read at once; None if the processor's cores decide."""
    return REMOTE_READERS if isinstance(root, SourcePath) and root.is_remote else None
