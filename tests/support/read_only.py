"""Makes folders unwritable even for the superuser, and records their content for comparison."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(*folders: Path) -> Iterator[None]:
    """Makes folders and all that is in them read-only for the length of a block.

    The superuser may write whatever permissions say, so for him they are mounted read-only in their place;
    where he may not mount, the test is skipped.
    """
    if os.name == "nt":
        pytest.skip("folders have no such permissions on Windows")
    with ExitStack() as stack:
        for folder in folders:
            undo = _mount(folder) if os.geteuid() == 0 else _forbid(folder)
            stack.callback(subprocess.run, undo, check=True)
        yield


def _mount(folder: Path) -> list[str]:
    bind = ["mount", "--bind", str(folder), str(folder)]
    if sys.platform != "linux" or subprocess.run(bind, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)  # noqa: S607
    return ["umount", str(folder)]


def _forbid(folder: Path) -> list[str]:
    subprocess.run(["chmod", "-R", "a-w", folder], check=True)  # noqa: S607
    return ["chmod", "-R", "u+w", str(folder)]


def read_contents(folder: Path) -> dict[str, tuple[str, int]]:
    """Returns every file below a folder, with the hash of its bytes and its mtime in nanoseconds."""
    return {
        str(path.relative_to(folder)): (_sha256(path), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
