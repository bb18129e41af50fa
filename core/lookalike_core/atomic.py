"""Parsing of path arguments, and atomic writes: a file that exists under its name is always complete."""

import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument

_SUFFIX = ".partial"
PARTIALS = f".*{_SUFFIX}"
"""The glob pattern of the temporary files of `atomic_path` and folders of `atomic_files`."""


def parse_path(text: str, origin: Argument | str) -> Path:
    """Returns the absolute path that an argument, an option or a variable names; `~` is the user's home.

    Raises:
        UsageError: it cannot be a path: `~user` of an unknown user, or a name that is too long.
    """
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    try:
        path = Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError.of(
            origin, f"{shown} is in the home folder of an unknown user; write the absolute path", path=text
        ) from error
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError.of(
                origin, f"{shown} is longer than file names may be; shorten it", path=text
            ) from error
    return path


_MAX_SHOWN = 200


def probe_folder(target: Path, *, shown_as: Path) -> None:
    """Checks that a file can be created where `target` is to be, and leaves nothing behind.

    Raises:
        OSError: it cannot; the error names the path as the user wrote it.
    """
    folder = next(parent for parent in target.parents if parent.exists())
    probe = folder / _name_partial(target)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(shown_as)) from error


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target` that replaces it when the block ends without an error.

    The content is synced to the disk before the rename, and the rename before the block is left. After an
    error or a power cut `target` is either unchanged or complete.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(_name_partial(target))
    temporary.touch(exist_ok=False)  # mkstemp's files are for their owner alone, and so would be the target
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        if error.filename is None and error.errno is not None:  # a write knows no name
            raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_files(*targets: Path) -> Iterator[Path]:
    """Yields a temporary folder, files in which replace the targets of their names when the block ends.

    They do so one after the other, in the order of the targets, which are all in one folder. One that was not
    written is left out. A reader may meet files of two writings; the last one should say which others it
    belongs to. Contents and renames are synced as by `atomic_path`.
    """
    parent = targets[-1].parent
    parent.mkdir(parents=True, exist_ok=True)
    temporary = parent / _name_partial(targets[-1])
    temporary.mkdir()
    try:
        yield temporary
        for target in targets:
            written = temporary / target.name
            if written.exists():
                _sync(written)
                written.replace(target)
        sync_folder(parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def may_write(*paths: Path) -> bool:
    """Returns whether this process may write to all of those paths that exist."""
    return all(os.access(path, os.W_OK) for path in paths if path.exists())


def describe_read_only(path: Path) -> str:
    """Returns the system's message about why a path that exists cannot be written to."""
    is_mounted_so = hasattr(os, "statvfs") and os.statvfs(path).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if is_mounted_so else errno.EACCES)


def find_nearest_existing(path: Path) -> Path:
    """Returns the path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def is_write_refused(error: OSError) -> bool:
    """Returns whether an error is a refusal by the file system or its permissions, and not a disk fault."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def is_disk_full(error: OSError) -> bool:
    """Returns whether an error means that the disk, or the user's quota on it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with its content; does nothing if the path does not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep_partials(folder: Path, *, older_than_s: float | None = None) -> None:
    """Removes what killed processes left of `atomic_path` and `atomic_files` in a folder.

    Only the holder of the lock under which that folder is written may omit the minimum age.
    """
    for left_over in folder.glob(PARTIALS):
        if older_than_s is None or left_over.stat().st_mtime < time.time() - older_than_s:
            remove(left_over)


def sync_folder(folder: Path) -> None:
    """Syncs a folder's entries to the disk (files created, renamed or removed in it), where the system can.

    Raises:
        OSError: the disk is full or fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # on Windows, and where a folder may be written but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)
"""Error numbers of file systems that cannot sync a folder."""


def sync_tree(folder: Path) -> None:
    """Syncs all files and folders below a folder to the disk, and then the folder itself.

    Raises:
        OSError: the disk is full or fails.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(place, name))
        sync_folder(Path(place))


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401 - whatever is in it
    """Returns one parsed JSON document, of text or bytes.

    Raises:
        ValueError: it is malformed, or nested deeper than Python's recursion limit.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def write_json(target: Path, data: Any) -> None:  # noqa: ANN401 - whatever json takes
    """Writes one JSON document atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _name_partial(target: Path) -> str:
    """Returns the name of a temporary file for `target`, no longer than file names may be."""
    return f".{target.name[:_MAX_IN_PARTIAL]}.{secrets.token_hex(4)}{_SUFFIX}"


_MAX_IN_PARTIAL = 40


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
