"""What a benchmark ran on, in one line."""

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

PACKAGES = ("onnxruntime-gpu", "onnxruntime", "qdrant-edge-py", "qdrant-client")


def describe() -> str:
    """Processor, cores this process may use, memory, Python, and the versions of what is measured."""
    parts = [_processor(), f"{_cores()} cores", *_memory(), f"Python {platform.python_version()}"]
    return ", ".join([*parts, *_versions()])


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> list[str]:
    """Nothing where the system does not say."""
    with suppress(AttributeError, ValueError, OSError):
        gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return [f"{gigabytes:.0f} GB"]
    return []


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return found
