"""Running out of memory: told apart from damage, and prevented where it would hang the process.

The limit may be the machine's memory or one set by a shell, batch system or service (`ulimit -v`, `ulimit
-d`). Each library reports it in its own words. A container's limit is enforced by the kernel, which kills the
process without a message.
"""

import ctypes
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from lookalike_core.control_groups import GROUPS, OWN, read_groups

_OUT_OF_MEMORY = re.compile(
    r"out of memory|\(os error 12\)|cannot allocate memory|can't allocate|bad[_ ]alloc(ation)?\b"
    r"|not enough memory|failed to allocate|unable to allocate|memory allocation|alloc_failed"
    r"|failed to map segment|can't start new thread|thread pool.*\(os error 11\)",
    re.IGNORECASE | re.DOTALL,
)
"""Messages that mean memory ran out; a thread that cannot be started usually lacks memory for its stack."""


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether a library's error, or a cause of it, means that memory ran out, by type or message.

    To be called around the library call only: our own messages may contain any name.
    """
    return any(_is_memory_error(each) or _says_out_of_memory(each) for each in _causes_of(error))


def is_caused_by_memory_error(error: BaseException) -> bool:
    """Returns whether one of our errors was caused by one whose type, not message, means out of memory."""
    return any(_is_memory_error(each) for each in _causes_of(error))


def memory_error(error: BaseException, what: str) -> MemoryError:
    """Returns a library's error as a `MemoryError`; `what` names the operation."""
    said = (str(error).splitlines() or [""])[0][:200]
    return MemoryError(f"{what} ({said})" if said else what)


def require_address_space(size: int, what: str) -> None:
    """Refuses an operation that would take more address space, in bytes, than the process may use.

    For libraries that hang instead of raising when they get none.

    Raises:
        MemoryError: it would.
    """
    left = address_space_left()
    if left is not None and left < size:
        raise MemoryError(
            f"{what} takes {_format_mb(size)} of address space, but only {_format_mb(left)} is left"
        )


@cache
def share_arenas() -> None:
    """Makes threads share a few malloc arenas, if address space is limited.

    glibc reserves 64 MB of it for each thread that allocates, used or not.
    """
    if sys.platform == "linux" and any(limit is not None for limit in address_space_limits()):
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


_M_ARENA_MAX = -8
"""`M_ARENA_MAX` in glibc's malloc.h."""


def address_space_left() -> int | None:
    """Returns the bytes of address space that the process' limits leave; None without limits."""
    if sys.platform != "linux":
        return None
    limits = address_space_limits()
    if limits == (None, None):
        return None
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    used = [int(pages[column]) * os.sysconf("SC_PAGE_SIZE") for column in (0, 5)]
    return min(limit - size for limit, size in zip(limits, used, strict=True) if limit is not None)


def address_space_limits() -> tuple[int | None, int | None]:
    """Returns the limits on address space and data segment, which child processes inherit; None: no limit."""
    if sys.platform == "win32":
        return None, None
    import resource

    total, data = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return tuple(None if each == resource.RLIM_INFINITY else each for each in (total, data))  # type: ignore[return-value]


def available_memory(
    *, machine: Path = Path("/proc/meminfo"), groups: Path = GROUPS, own: Path = OWN
) -> int | None:
    """Returns the bytes that this process can get without swapping, pages of files included (Linux).

    A control group's limit counts if it is less. None if the system does not say.
    """
    with suppress(OSError, ValueError, IndexError):
        lines = machine.read_text(encoding="ascii").splitlines()
        [kilobytes] = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
        limits = read_groups("memory.max", groups=groups, own=own)
        return min([kilobytes * 1024, *(int(limit) for limit in limits if limit.isdecimal())])
    return None


def _causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and its causes, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_memory_error(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _says_out_of_memory(error: BaseException) -> bool:
    """Returns whether the message says so; not for system errors, which quote file names."""
    is_numbered = isinstance(error, OSError) and error.errno is not None
    return not is_numbered and _OUT_OF_MEMORY.search(str(error)) is not None


def _format_mb(size: int) -> str:
    return f"{max(size, 0) / 2**20:,.0f} MB"
