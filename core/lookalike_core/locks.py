"""File locks that say which process holds them.

FOLDER/NAME.lock      locked by one process; released when that process dies
FOLDER/NAME.holder    describes that process, for the messages of others
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_core.errors import StoreLockedError

if TYPE_CHECKING:
    from filelock import BaseFileLock


def acquire(
    folder: Path, name: str, *, what: str, timeout_s: float, on_wait: Callable[[str], None] | None = None
) -> "BaseFileLock":
    """Acquires the lock, waiting up to `timeout_s`; the caller must release it.

    `what` names what the lock guards, for the message; `on_wait` is told the holder before a wait.

    Raises:
        StoreLockedError: it is still held after that time; the message names the holder.
        OSError: the folder cannot be created or written to.
    """
    from filelock import FileLock, Timeout

    holder = folder / f"{name}.holder"  # the lock file itself may be emptied, or unreadable
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait(_read_holder(holder))
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout as error:
            raise _locked_error(what, _read_holder(holder), timeout_s) from error
    try:
        holder.write_text(f"process {os.getpid()} ({Path(sys.argv[0]).name})\n", encoding="utf-8")
    except OSError as error:
        lock.release()
        raise OSError(error.errno, os.strerror(error.errno or 0), str(holder)) from error
    return lock


@contextmanager
def hold(
    folder: Path, name: str, *, what: str, timeout_s: float, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Holds the lock as by `acquire` for the length of a block."""
    lock = acquire(folder, name, what=what, timeout_s=timeout_s, on_wait=on_wait)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def hold_shared(folder: Path, name: str, *, what: str, timeout_s: float) -> Iterator[None]:
    """Keeps others from acquiring the lock for the length of a block, if its folder is read-only.

    Nothing is written. Others are not kept out if there is no readable lock file, or if the system or file
    system does not support shared locks.

    Raises:
        StoreLockedError: it is still held after `timeout_s`; the message names the holder.
    """
    try:
        descriptor = os.open(folder / f"{name}.lock", os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        until = time.monotonic() + timeout_s
        while not _try_share(descriptor):
            if time.monotonic() >= until:
                raise _locked_error(what, _read_holder(folder / f"{name}.holder"), timeout_s)
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def find_holder(folder: Path, name: str) -> str | None:
    """Returns the description that a lock's holder wrote; None if the lock is free, or that is unknown."""
    try:
        with hold_shared(folder, name, what=name, timeout_s=0):
            return None
    except StoreLockedError as error:
        return error.holder


_POLL_S = 0.05


def _try_share(descriptor: int) -> bool:
    """Takes a shared lock on an open lock file; returns False if another process holds the lock."""
    with suppress(ImportError):  # Windows has none, and a file that is locked there cannot be read
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return True


def _locked_error(what: str, holder: str, waited_s: float) -> StoreLockedError:
    return StoreLockedError(
        f"{what} is in use by {holder} (waited {waited_s:g} s); wait for it to end",
        holder=holder,
        waited_s=waited_s,
    )


def _read_holder(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"
