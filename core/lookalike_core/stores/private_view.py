"""A view of a shard that this process must not write to: a folder in the system's temporary folder.

The engine writes even to a shard that is only searched: it maps files for writing, logs, and replaces its
settings. So files that it writes to are copied; vectors and graphs of indexed segments, which it never writes
to and which are nearly all of the size, are linked. The collection's folder is not changed, and others may
write to it once the engine has opened the view.

    TMPDIR/lookalike-view-xxxxxxxx/shard/     opened by the engine
    TMPDIR/lookalike-view-xxxxxxxx/in-use     locked by this process
"""

import os
import re
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from lookalike_core import locks
from lookalike_core.errors import StoreError, StoreLockedError
from lookalike_core.hints import Action, Hint
from lookalike_core.stores.cache_mark import fingerprint
from lookalike_core.stores.local_folder import BUILDING
from lookalike_core.stores.sparse_files import copy_sparse

_PREFIX = "lookalike-view-"
_SHARD = "shard"
_IN_USE = "in-use"
_ONLY_READ = re.compile(r"matrix\.dat|links.*\.bin|quantized\..*")
"""Files of an indexed segment that the engine opens read-only; a test verifies that."""

_NEW_S = 60.0
"""How old a view without a lock must be to count as abandoned: one being made has none yet."""


class PrivateView:
    """A read-only snapshot of a shard for this process; `release` removes it.

    Raises:
        StoreLockedError: the shard changes, so a writer does not hold a lock visible here.
        StoreError: the temporary folder has no room for the view.
    """

    def __init__(self, shard: Path) -> None:
        _sweep()
        self._source = shard
        self._before = fingerprint([shard])
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        except OSError as error:
            raise _no_place(shard, error) from error
        self.shard = self._folder / _SHARD
        self.copied_bytes = 0
        """Bytes copied for the view, on the disk, or in memory if temporary files are there."""
        try:
            self._lock = locks.acquire(self._folder, _IN_USE, what=str(self._folder), timeout_s=0)
            self._fill()
            self.require_unchanged()
        except BaseException:
            self.release()
            raise

    def require_unchanged(self) -> None:
        """Refuses a shard that changed since the view was begun, so that its files may not match.

        Raises:
            StoreLockedError: it changed.
        """
        if fingerprint([self._source]) != self._before:
            raise StoreLockedError(
                f"{self._source.parent} is being written to by another machine; wait for that to end",
                path=self._source.parent,
                hint=Hint(Action.REPEAT),
            )

    def release(self) -> None:
        """Removes the view; does nothing if called again."""
        lock = self.__dict__.pop("_lock", None)
        if lock is not None:
            lock.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fill(self) -> None:
        try:
            for place, folders, names in os.walk(self._source):
                folders[:] = [name for name in folders if name != BUILDING]
                target = self.shard / Path(place).relative_to(self._source)
                target.mkdir()
                for name in names:
                    self._take(Path(place, name), target / name)
        except FileNotFoundError:
            self.require_unchanged()
            raise
        except OSError as error:
            if error.filename is not None and str(error.filename).startswith(str(self._source)):
                raise StoreError(
                    f"{self._source.parent} cannot be read ({error.strerror}); make it readable",
                    path=self._source.parent,
                ) from error
            raise _no_place(self._source, error) from error

    def _take(self, source: Path, target: Path) -> None:
        if _ONLY_READ.fullmatch(source.name):
            with suppress(OSError, NotImplementedError):  # Windows lets not everyone make links
                target.symlink_to(source.absolute())
                return
        self.copied_bytes += copy_sparse(source, target)


def _no_place(shard: Path, error: OSError) -> StoreError:
    folder = tempfile.tempdir or "the temporary folder"
    return StoreError(
        f"parts of {shard.parent}, which is not to be written to, are copied to {folder}, which failed "
        f"({error.strerror or error}); set TMPDIR to a folder with more room",
        path=tempfile.tempdir,
    )


def _sweep() -> None:
    """Removes views left by killed processes of this user."""
    with suppress(OSError):
        for left_over in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):
                _sweep_one(left_over)


def _sweep_one(folder: Path) -> None:
    status = folder.lstat()
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == getattr(os, "getuid", lambda: 0)()
    if not is_own or status.st_mtime > time.time() - _NEW_S:
        return
    with suppress(StoreLockedError):
        locks.acquire(folder, _IN_USE, what=str(folder), timeout_s=0).release()
        shutil.rmtree(folder, ignore_errors=True)
