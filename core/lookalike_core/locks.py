"""One process at a time: OS locks that say who holds them.

FOLDER/NAME.lock      held by one process; a dead one's lock is free again
FOLDER/NAME.holder    who that is, for the message that another process shows
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lookalike_core.errors import StoreLockedError

if TYPE_CHECKING:
    from filelock import BaseFileLock


def acquire(
    folder: Path, name: str, *, what: str, timeout_s: float, on_wait: Callable[[str], None] | None = None
) -> "BaseFileLock":
    """Takes the lock, waiting up to `timeout_s`; whoever takes it releases it.

    `what` it guards stands in the message; `on_wait` is told who holds it where there is a wait at all.

    Raises:
        StoreLockedError: it is still held after that time; the message says by whom.
        OSError: the folder cannot be made or written to.
    """
    from filelock import FileLock, Timeout

    holder = folder / f"{name}.holder"  # the lock file itself may be emptied, or unreadable
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{name}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait(_said_by(holder))
        try:
            lock.acquire(timeout=timeout_s)
        except Timeout as error:
            said = _said_by(holder)
            raise StoreLockedError(
                f"{what} is in use by {said} (waited {timeout_s:g} s); wait for it to end",
                holder=said,
                waited_s=timeout_s,
            ) from error
    try:
        holder.write_text(f"process {os.getpid()} ({Path(sys.argv[0]).name})\n", encoding="utf-8")
    except OSError as error:
        lock.release()
        raise OSError(error.errno, os.strerror(error.errno or 0), str(holder)) from error
    return lock


@contextmanager
def held(
    folder: Path, name: str, *, what: str, timeout_s: float, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """`acquire` for the length of a block."""
    lock = acquire(folder, name, what=what, timeout_s=timeout_s, on_wait=on_wait)
    try:
        yield
    finally:
        lock.release()


def _said_by(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"
