"""The embedded engine: checks of memory and disk before calls, translation of errors, the index builder.

Source of its behaviour: https://qdrant.tech/documentation/edge/ and its type stubs.
"""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookalike_core.errors import LookalikeError, StoreError, StoreLockedError
from lookalike_core.memory import (
    address_space_limits,
    is_out_of_memory,
    memory_error,
    require_address_space,
    share_arenas,
)

ADDRESS_BYTES = 32 * 2**20
ADDRESS_TO_OPEN_BYTES = 192 * 2**20
ADDRESS_BYTES_A_CORE = 16 * 2**20
"""Address space that the engine needs per core: in any call for its threads and, besides its mapped files, to
open a shard. Without it, the process hangs and keeps its lock."""

_WAIT_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTuning:
    """When the engine uses a graph, its batch sizes, in rows, and the disk space to keep free."""

    indexed_above_kb: int = 80_000
    """The size of a collection's vectors, in KB, above which an HNSW graph is built; below, exact search is
    as fast."""

    exact_below_kb: int = 20_000
    """The size of the vectors that a filter selects, in KB, below which they are searched exactly."""

    spare_bytes: int = 128 * 2**20
    spare_to_open_bytes: int = 16 * 2**20
    """Disk space that must be free to open a shard.

    The engine writes through memory maps, and a full disk then kills the process without a message (SIGBUS);
    it grows its files by 32 MB at a time, several of them at once.
    """

    scan_page: int = 5_000
    queries_at_once: int = 64


DEFAULT_ENGINE_TUNING = EngineTuning()


@contextmanager
def engine_errors(folder: Path) -> Iterator[None]:
    """Translates the engine's errors: it raises plain `Exception` for everything.

    It must not be called when memory is short, which is checked first.

    Raises:
        StoreLockedError: another program has the shard of the collection in `folder` open.
        StoreError: the engine failed.
        OSError: the disk is full.
        MemoryError: memory is short.
    """
    require_address_space(ADDRESS_BYTES, f"the embedded engine on {folder}")
    try:
        yield
    except (LookalikeError, OSError, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if "WouldBlock" in str(error):
            raise StoreLockedError(
                f"{folder} is in use by another program; end it and try again", path=folder
            ) from error
        if "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        if is_out_of_memory(error):
            raise memory_error(error, f"the embedded engine on {folder}") from error
        raise StoreError(
            f"the embedded engine failed on {folder}: {error}; if it fails again the files are damaged: "
            "remove the folder and ingest again",
            path=folder,
        ) from error


def require_space(folder: Path, free_bytes: int) -> None:
    """Refuses to continue on a full disk: the engine writes through memory maps and would be killed.

    Raises:
        OSError: fewer bytes are free.
    """
    if shutil.disk_usage(folder).free < free_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def require_room(shard: Path, folder: Path) -> None:
    """Refuses to open the shard of the collection in `folder` if there is too little address space.

    Raises:
        MemoryError: there is too little.
    """
    share_arenas()
    require_address_space(_address_bytes(shard), f"opening {folder}")


def _address_bytes(shard: Path) -> int:
    """Returns the address space that a shard's files and the engine's threads take."""
    files = sum(path.stat().st_size for path in shard.rglob("*") if path.is_file())
    return files + ADDRESS_TO_OPEN_BYTES + ADDRESS_BYTES_A_CORE * (os.cpu_count() or 1)


_CHILD = """
import ctypes, os, sys
if sys.platform == "linux":  # when the parent is killed, this process must not keep the shard to itself
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
    if os.getppid() != int(sys.argv[2]):
        sys.exit(1)
import qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
shard.optimize()
shard.close()
"""


def build_index(shard: Path, on_wait: Callable[[], None]) -> None:
    """Runs the engine's optimizers over a closed shard in a child process, as they block their process.

    `on_wait` is called a few times a second; an exception that it raises ends the child.

    Raises:
        StoreError: the child failed; the shard is intact, and can be searched.
        MemoryError: there is too little address space to begin.
    """
    limits = [limit for limit in address_space_limits() if limit is not None]
    if limits and min(limits) < (needed := 2 * _address_bytes(shard)):  # segments are rewritten
        raise MemoryError(
            f"the index of {shard.parent} takes {needed // 2**20} MB of address space, more than is "
            "available; without it the collection can be searched, but slower"
        )
    child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
        [sys.executable, "-P", "-c", _CHILD, str(shard), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = _wait(child, on_wait)
    except BaseException:
        child.kill()  # it blocks in the engine, whose files survive a kill
        child.communicate()
        raise
    if child.returncode:
        reason = (said.strip().splitlines() or [f"it ended with {child.returncode}"])[-1]
        raise StoreError(
            f"the index of {shard.parent} was not finished ({reason}); the collection is intact and "
            "can be searched, but slower: free disk space and memory and ingest again",
            path=shard.parent,
        )


def _wait(child: "subprocess.Popen[str]", on_wait: Callable[[], None]) -> str:
    """Returns the child's stderr, which is read until its end so that the child never blocks."""
    while True:
        on_wait()
        try:
            return child.communicate(timeout=_WAIT_S)[1]
        except subprocess.TimeoutExpired:
            continue
