"""The number of cores that this process may use, which in a container can be fewer than the machine has."""

import os
from contextlib import suppress
from pathlib import Path

from lookalike_core.control_groups import GROUPS, OWN, read_groups


def count_cores(*, groups: Path = GROUPS, own: Path = OWN) -> int:
    """Returns the number of cores that CPU affinity and the quotas of control groups allow, at least 1."""
    total = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    quotas = map(_cores_of, read_groups("cpu.max", groups=groups, own=own))
    return max(1, min([allowed, *(quota for quota in quotas if quota is not None)]))


def fewer_than_all() -> int | None:
    """Returns how many cores the process may use if that is fewer than the machine has, else None."""
    usable = count_cores()
    return usable if usable < (os.cpu_count() or 1) else None


def _cores_of(quota: str) -> int | None:
    """Returns a group's CPU quota, rounded up to whole cores; None if it has none, or is unreadable."""
    with suppress(ValueError, ZeroDivisionError):
        allowed, period = quota.split()
        return -(-int(allowed) // int(period))
    return None
