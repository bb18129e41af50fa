"""The number of cores that this process may use, which in a container can be fewer than the machine has."""

import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def count_cores(*, cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Returns the number of cores that CPU affinity and cgroup quotas allow this process, at least 1.

    Source: `cpu.max` in https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    total = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return max(1, min([allowed, *_read_quotas(cgroups, own)]))


def fewer_than_all() -> int | None:
    """Returns how many cores the process may use if that is fewer than the machine has, else None."""
    usable = count_cores()
    return usable if usable < (os.cpu_count() or 1) else None


def _read_quotas(cgroups: Path, own: Path) -> list[int]:
    """Returns the CPU quota of each cgroup of the process, rounded up to whole cores; empty if unlimited."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        [name] = [line[3:] for line in own.read_text(encoding="utf-8").splitlines() if line[:3] == "0::"]
        group = cgroups / name.lstrip("/")
        groups = [group, *group.parents] if ".." not in group.parts else [cgroups]
        found = [_read_quota(each / "cpu.max") for each in groups if each.is_relative_to(cgroups)]
        return [quota for quota in found if quota is not None]
    return []


def _read_quota(file: Path) -> int | None:
    with suppress(OSError, ValueError, ZeroDivisionError):
        allowed, period = file.read_text(encoding="utf-8").split()
        return -(-int(allowed) // int(period))
    return None
