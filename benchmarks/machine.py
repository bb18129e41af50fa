"""Describes the machine that a benchmark ran on in one line, and writes results."""

import json
import os
import platform
import resource
import shlex
import sys
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "onnxruntime-gpu",
    "onnxruntime",
    "onnxruntime-ep-openvino",
    "qdrant-edge-py",
    "qdrant-client",
    "keras",
    "tensorflow-cpu",
    "tensorflow",
    "torch",
    "openvino",
)

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
"""Bytes of the unit in which the system reports a peak: macOS in bytes, Linux in KiB."""


def write_results(path: Path | None, results: dict[str, Any]) -> None:
    """Writes one JSON object: results, machine, versions, command and day; None writes none."""
    if path is None:
        return
    words = [Path(sys.argv[0]).name, *(Path(word).name if "/" in word else word for word in sys.argv[1:])]
    record = {
        "command": f"python benchmarks/{shlex.join(words)}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(),
        **results,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def peak_bytes() -> int:
    """Returns the peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


def describe() -> str:
    """Returns processor, available cores, memory, Python, and the versions of what is measured."""
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
    """Returns the size of the memory; empty where the system does not tell."""
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
