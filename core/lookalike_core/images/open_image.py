"""Opening of image files without blocking, so that hash and pixels come from the same bytes."""

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.hints import Action, Hint
from lookalike_core.missing_path import CHECK_PATH
from lookalike_core.sources.source_path import SourcePath

MAX_BYTES = 2**30
"""The size of a file above which it is not read."""

MAX_PIPED_BYTES = 128 * 2**20
"""The same for a pipe, which cannot be read twice and is buffered in memory."""

IN_MEMORY_BYTES = 16 * 2**20
"""The size up to which a file is read once into memory; larger ones are read from the disk as needed."""


@contextmanager
def open_file(
    path: Path, *, max_bytes: int = MAX_BYTES, in_memory_bytes: int = IN_MEMORY_BYTES
) -> Iterator[BinaryIO]:
    """Yields the file's content as a seekable stream; what is no file of this machine is read into memory.

    Never blocks on a FIFO or a device that has replaced the file since the scan. Image errors raised in the
    block get this file's path.

    Raises:
        ImageError: the file is gone, not regular, too large, unreadable, or changed while it was open.
    """
    if isinstance(path, SourcePath):
        with open_source(path, path.read_bytes, max_bytes=max_bytes) as stream:
            yield stream
        return
    try:
        descriptor = os.open(path, _FLAGS)
        with _open_checked(descriptor, path, max_bytes) as file:
            before = os.fstat(descriptor)
            if before.st_size <= in_memory_bytes:
                yield io.BytesIO(file.read(before.st_size))
                return
            yield file
            after = os.fstat(descriptor)
    except ImageError as error:
        error.path = error.path or path
        raise
    except FileNotFoundError as error:
        raise ImageError(
            f"{path} does not exist", reason=SkipReason.VANISHED, path=path, hint=CHECK_PATH
        ) from error
    except OSError as error:
        raise ImageError(
            f"{path}: {error.strerror or error}", reason=SkipReason.UNREADABLE, path=path
        ) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(f"{path} changed while it was read", reason=SkipReason.UNREADABLE, path=path)


@contextmanager
def open_source(path: Path, read: Callable[[], bytes], *, max_bytes: int = MAX_BYTES) -> Iterator[BinaryIO]:
    """Yields the content that `read` returns, of an image that is no file of this machine.

    Raises:
        ImageError: as `open_file`.
    """
    try:
        content = read()
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist", reason=SkipReason.VANISHED, path=path) from error
    except OSError as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImageError(f"{path}: {said}", reason=SkipReason.UNREADABLE, path=path) from error
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    try:
        yield io.BytesIO(content)
    except ImageError as error:
        error.path = error.path or path
        raise


def read_pipe(pipe: BinaryIO, name: str, *, max_bytes: int = MAX_PIPED_BYTES) -> BinaryIO:
    """Returns all of a stream that can be read once; `name` is for messages.

    Raises:
        ImageError: it holds more than `MAX_PIPED_BYTES`.
    """
    data = pipe.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ImageError(
            f"{name} holds more than {max_bytes // 2**20} MiB, the limit of a stream; name a file instead",
            reason=SkipReason.TOO_LARGE,
            limit=max_bytes,
        )
    return io.BytesIO(data)


def hash_stream(stream: BinaryIO) -> str:
    """Returns the hex digest over the whole stream, which is rewound afterwards."""
    stream.seek(0)
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    stream.seek(0)
    return digest.hexdigest()


_CHUNK = 2**20

_FLAGS = os.O_RDONLY
for _flag in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # each where the platform has it
    _FLAGS |= getattr(os, _flag, 0)


class _NamelessFile(io.FileIO):
    """A file that hides its descriptor.

    Pillow would pass it to libtiff, which maps the file into memory: if another process then truncated the
    file, the operating system would kill this one.
    """

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _open_checked(descriptor: int, path: Path, max_bytes: int) -> "io.BufferedReader[_NamelessFile]":
    """Returns the open file if it is a regular one and not too large; else closes it and raises."""
    try:
        _check(os.fstat(descriptor), path, max_bytes)
        return io.BufferedReader(_NamelessFile(descriptor))
    except BaseException:
        os.close(descriptor)
        raise


def _check(status: os.stat_result, path: Path, max_bytes: int) -> None:
    if stat.S_ISFIFO(status.st_mode):
        raise ImageError(
            f"{path} is a pipe",
            reason=SkipReason.UNREADABLE,
            path=path,
            hint=Hint(Action.PIPE),
        )
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a device"
        raise ImageError(f"{path} is {what}, not a file", reason=SkipReason.UNREADABLE, path=path)
    if status.st_size > max_bytes:
        raise _too_large(path, max_bytes)


def _too_large(path: Path, max_bytes: int) -> ImageError:
    return ImageError(
        f"{path} is larger than {max_bytes // 2**20} MiB, the limit",
        reason=SkipReason.TOO_LARGE,
        limit=max_bytes,
        path=path,
    )
