"""Checks the folder of models and collections, and its disk."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lookalike_core.atomic import describe_read_only, find_nearest_existing, may_write
from lookalike_core.settings import Settings

from lookalike.commands.checks.findings import Finding, ok, problem, warning

ROOM_BYTES = 2 * 10**9
"""Weights, model and optimized graph of both networks, and a collection."""

LEAST_BYTES = 256 * 2**20
"""Below this, the embedded store refuses to write."""


def check_home(settings: Settings | None = None, *, free_bytes: int | None = None) -> Iterator[Finding]:
    """Yields whether the home can be written to, and whether its disk has room."""
    home = (settings or Settings.from_environment()).home
    there = find_nearest_existing(home)
    elsewhere = "export LOOKALIKE_HOME=FOLDER"
    if (why := _why_not_writable(there)) is not None:
        yield problem(f"{home} cannot be written to: {there}: {why}", elsewhere)
        return
    free = shutil.disk_usage(there).free if free_bytes is None else free_bytes
    text = f"{home} can be {'written to' if there == home else 'created'}, {free / 10**9:.1f} GB free"
    if free < LEAST_BYTES:
        yield problem(f"{text}: too little to write anything", f"make room, or: {elsewhere}")
    elif free < ROOM_BYTES:
        yield warning(f"{text}: little for models and collections", f"make room, or: {elsewhere}")
    else:
        yield ok(text)


def _why_not_writable(folder: Path) -> str | None:
    """Returns why no file can be made in a folder; permissions do not say all, as on network disks."""
    if not may_write(folder):
        return describe_read_only(folder)
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".lookalike-"):
            return None
    except OSError as error:
        return error.strerror or str(error)
